/* SPDX-License-Identifier: BSD-2-Clause */
/* A client of an NBD server in a simulated world: the server on loops 0 and 1, the client on loop 2. */
#ifndef TESTS_NBD_CLIENT_H
#define TESTS_NBD_CLIENT_H

#include "nbd/nbd_priv.h"
#include "tests/unit/store/harness.h"

#define EXPORTS_MAX 8u

struct bench {
	struct world *w;
	struct nbd_server *server;
	struct sock_listener *listener;
	struct nbd_export exports[EXPORTS_MAX];
	unsigned export_count;
	bool stopped;
	bool initiators_work;    /* commands of theirs come all the time */
	uint64_t served;         /* so many so far */
	uint64_t turn_max_bytes; /* moved in a turn of a loop, while a client waited */
};

struct client {
	struct bench *b;
	struct sock *sock;
	bool over;   /* the server closed */
	bool deaf;   /* takes nothing */
	uint8_t *in; /* what came */
	size_t in_at, in_len, in_cap;
	const uint8_t *out;
	size_t out_len;
};

/* `buf_bytes` a loop. */
struct bench *bench_new(uint64_t seed, size_t buf_bytes);
/* Takes over the blk: it is closed with the bench. */
void bench_export(struct bench *b, const char *name, struct blk *blk, bool writable);
/* Nothing must be left; ends the server. */
void bench_free(struct bench *b);
/* Calls on the home loop. */
void bench_release(struct bench *b, struct blk *blk, bool *ret_done);
void bench_stop(struct bench *b);
unsigned bench_conns(struct bench *b);
unsigned bench_half_open(struct bench *b);
/* So much time passes, even if nothing is to come. */
void bench_pass(struct bench *b, uint64_t ns);

/* Connected, nothing sent or taken. */
struct client *client_new(struct bench *b);
/* Greeted; `name` chosen by NBD_OPT_GO after the options of `flags`. */
#define CLIENT_STRUCTURED 1u
#define CLIENT_META 2u /* base:allocation; needs the one above */
struct client *client_go(struct bench *b, const char *name, unsigned flags);
void client_free(struct client *c);
void client_send(struct client *c, const void *p, size_t len);
/* The next `len` bytes, which have to come; valid until the next call. */
const uint8_t *client_need(struct client *c, size_t len);
/* All that comes within a while. */
size_t client_settle(struct client *c);
/* The server closes, and nothing more comes. */
void client_expect_end(struct client *c);
/* It closes, and of what came `len` bytes weren't looked at. */
void client_expect_end_after(struct client *c, size_t len);

void client_option(struct client *c, uint32_t option, const void *data, size_t len);
/* The type of a reply to an option; data in *ret, may be NULL. */
uint32_t client_option_reply(
    struct client *c, uint32_t option, const uint8_t **ret, size_t *ret_len);
void client_request(
    struct client *c, uint16_t type, uint16_t flags, uint64_t cookie, uint64_t at, uint32_t len);
/* A simple reply's error. */
uint32_t client_simple(struct client *c, uint64_t cookie);
/* A whole READ with structured replies: 0 or the error. */
uint32_t client_read(struct client *c, uint64_t at, uint32_t len, void *dst);
/* WRITE and its simple reply. */
uint32_t client_write(struct client *c, uint16_t flags, uint64_t at, const void *src, uint32_t len);

#endif
