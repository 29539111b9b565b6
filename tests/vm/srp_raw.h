/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An SRP initiator that sends what it likes, over librdmacm. srp_raw_conn.c has its connections,
 * srp_raw_login.c, srp_raw_unit.c and srp_raw_peer.c what it does with them: logins, information units,
 * and behaviour, that are malformed, that lie, or that want too much. After each the target must have
 * answered as it should, and still serve. One thread; whatever is not as it should be ends the process.
 */
#ifndef TESTS_VM_SRP_RAW_H
#define TESTS_VM_SRP_RAW_H

#include <rdma/rdma_cma.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "srp/wire.h"

#define RAW_RECVS 160u
#define RAW_RECV_BYTES 512u
#define RAW_SENDS 512u
#define RAW_SEND_BYTES 16384u
#define RAW_DATA_BYTES (256u << 10)
#define RAW_WAIT_MS 120000
#define RAW_LBA 81920u /* on, for 4 MiB: nobody else reads or writes there */

extern struct sockaddr_storage raw_target;
extern uint8_t raw_target_port[16];
extern uint8_t raw_initiator; /* each byte of its port's identifier */
extern const char *raw_what;  /* what is being tried, for raw_fail() */

struct raw_conn {
	struct rdma_event_channel *channel;
	struct rdma_cm_id *id;
	struct ibv_pd *pd;
	struct ibv_cq *cq;
	struct ibv_mr *mr;
	uint8_t *mem; /* RAW_RECVS buffers, one to send from, then data */
	uint8_t *send, *data;
	bool connected, over; /* over: the target let go */
	int rej_len;
	struct srp_login_rej rej;
	struct srp_login_rsp rsp;
	struct {
		uint8_t bytes[RAW_RECV_BYTES];
		uint32_t len;
	} last;
	bool failed; /* the queue */
};

/* raw_what, of a text that is made for it. It may name the one before. */
void raw_name(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void raw_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

/* ---- connections ------------------------------------------------------------------------------ */

/* An identifier whose way to the target is known, and with raw_prepare() a queue, with so many buffers
 * to receive into. */
struct raw_conn *raw_resolve(void);
struct raw_conn *raw_prepare(unsigned recvs);
/* The next event within `ms`; -1: none. What it says of the end is remembered. */
int raw_event(struct raw_conn *c, int ms);
void raw_login_unit(struct srp_login_req_rdma *w);
void raw_connect(struct raw_conn *c, const void *unit, uint8_t len);
/* Logs in; NULL: refused, with *ret_reason. */
struct raw_conn *raw_try_login(uint8_t flags, uint32_t *ret_reason);
struct raw_conn *raw_login_as(uint8_t flags, uint32_t it_iu_len, uint16_t imm_data_offset);
struct raw_conn *raw_login(void);
void raw_release(struct raw_conn *c);
/* The target lets go of the connection. */
void raw_wait_end(struct raw_conn *c);
/* Takes what has come; true: a message, in `last`. */
bool raw_take(struct raw_conn *c);
bool raw_wait_message(struct raw_conn *c, int ms);
/* The first `len` bytes of c->send. */
void raw_send(struct raw_conn *c, size_t len);

/* ---- units: each puts one into c->send and returns its length --------------------------------- */

size_t raw_command(struct raw_conn *c, uint8_t formats, uint64_t tag);
size_t raw_add_desc(struct raw_conn *c, size_t at, uint64_t va, uint32_t key, uint32_t len);
/* READ of blocks of LUN 0 from `lba` on, to `to`. */
size_t raw_read(
    struct raw_conn *c, uint64_t tag, uint32_t lba, uint16_t blocks, const void *to, uint32_t key);
size_t raw_write(struct raw_conn *c, uint64_t tag, uint32_t lba, uint16_t blocks, const void *from,
    uint32_t key);
/* Commands until one is answered with GOOD: the unit attention of the login is over. */
void raw_ready(struct raw_conn *c);
/* The next message is the answer to this tag; its status. */
uint8_t raw_answer(struct raw_conn *c, uint64_t tag);
/* Whoever logs in now is served. */
void raw_still_serves(void);

/* ---- what is tried ---------------------------------------------------------------------------- */

void raw_logins(void);
/* `command` with an argument changes what the initiator may: "none", "other", "all". */
void raw_access(const char *command);
void raw_units(void);
void raw_peers(void);

#endif
