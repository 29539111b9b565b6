/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Bytes of a client against an NBD server on simulated loops, in pieces of chance sizes. Input: a byte
 * of parameters (below), a byte that is the seed, then the stream. At the end everything must be back
 * where it came from, and a read-only export unchanged.
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nbd/nbd.h"
#include "nbd/wire.h"
#include "tests/fuzz/fuzz.h"

#define WRITABLE 1u   /* the export */
#define STRUCTURED 2u /* with both of these the stream begins after negotiation */
#define CHOSEN 4u
#define RELEASE 8u /* the export goes while the stream is handled */
#define DEAF 16u   /* nothing is taken */
#define FAILS 32u  /* the store, now and then */
#define STEPS_MAX 400000u
#define SIZE_BYTES (1u << 20)

#define CHECK(x)                                                                                   \
	do {                                                                                       \
		if (!(x)) {                                                                        \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x);                    \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

struct run {
	struct loop_sim *sim;
	struct loop *loops[2], *client;
	struct blk *blk;
	struct nbd_server *server;
	struct sock_listener *listener;
	struct nbd_release release;
	struct sock *sock;
	const uint8_t *at;
	size_t left;
	uint8_t flags;
	bool over, gone, stopped, released;
};

static const struct sockaddr_in address = {
    .sin_family = AF_INET,
    .sin_port = 10809,
    .sin_addr = {0x0100007f},
};

static void
list(void *ctx, bool (*each)(void *each_ctx, const char *name), void *each_ctx)
{
	const struct run *r = ctx;
	if (!r->gone)
		(void)each(each_ctx, "disk");
}

static int
open_export(void *ctx, const char *name, struct nbd_export *ret)
{
	const struct run *r = ctx;
	if (r->gone || (name[0] != '\0' && strcmp(name, "disk") != 0))
		return -ENOENT;
	*ret = (struct nbd_export){"disk", r->blk, (r->flags & WRITABLE) != 0};
	return 0;
}

static const struct nbd_ops ops = {.list = list, .open = open_export, .served = NULL};

static void
on_accept(void *ctx, struct sock *s)
{
	struct run *r = ctx;
	nbd_server_accept(r->server, s);
}

static void
up(void *ctx)
{
	struct run *r = ctx;
	char reason[256];
	const struct blk_open_args args = {
	    .spec = r->flags & FAILS ? "fault:1:read_error=0.1,write_error=0.1,delay_us=0-50:ram:"
	                             : "ram:",
	    .size_bytes = SIZE_BYTES,
	    .loops = r->loops,
	    .loop_count = 2,
	};
	const struct nbd_server_args server = {
	    .loops = r->loops, .loop_count = 2, .ops = &ops, .ctx = r};
	CHECK(blk_open(&args, &r->blk, reason, sizeof reason) == 0);
	CHECK(nbd_server_create(&server, &r->server, NULL, 0) == 0);
	CHECK(sock_listen(r->loops[0], (const struct sockaddr *)&address, sizeof address, on_accept,
	          r, &r->listener) == 0);
}

static void
close_it(struct run *r)
{
	if (r->sock != NULL)
		sock_close(r->sock);
	r->sock = NULL;
	r->over = true;
}

static void
on_event(void *ctx, unsigned events)
{
	struct run *r = ctx;
	uint8_t buf[16384];
	if ((r->flags & DEAF) && !(events & LOOP_HANGUP))
		return;
	while (!r->over) {
		struct iovec iov = {buf, sizeof buf};
		ssize_t n = sock_recv(r->sock, &iov, 1);
		if (n == -EAGAIN)
			return;
		if (n <= 0)
			close_it(r);
	}
}

static void
dial(void *ctx)
{
	struct run *r = ctx;
	CHECK(sock_connect(
	          r->client, (const struct sockaddr *)&address, sizeof address, &r->sock) == 0);
	sock_set_callback(r->sock, on_event, r);
}

static void
send_some(void *ctx)
{
	struct run *r = ctx;
	if (r->over)
		return;
	struct iovec iov = {(void *)(uintptr_t)r->at, r->left};
	ssize_t n = sock_send(r->sock, &iov, 1);
	if (n == -EAGAIN)
		return;
	if (n < 0) {
		close_it(r);
		return;
	}
	r->at += n;
	r->left -= (size_t)n;
}

static void
settle(struct run *r)
{
	uint64_t until = loop_sim_now_ns(r->sim) + 20000000u;
	CHECK(loop_sim_run(r->sim, until, STEPS_MAX) < STEPS_MAX);
}

/* A client that takes nothing may find that nothing is taken from it any more. */
static void
feed(struct run *r, const void *p, size_t len)
{
	r->at = p;
	r->left = len;
	for (unsigned idle = 0; !r->over && r->left > 0 && idle < 3;) {
		size_t before = r->left;
		loop_sim_call(r->client, send_some, r);
		loop_sim_run(r->sim, loop_sim_now_ns(r->sim) + 20000000u, 1 + before % 40);
		if (r->left < before) {
			idle = 0;
			continue;
		}
		settle(r);
		idle++;
		CHECK((r->flags & DEAF) || idle < 3 || r->over);
	}
}

static void
negotiate(struct run *r)
{
	uint8_t b[128] = {0};
	size_t at = 4;
	store_be32(b, NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES);
	if (r->flags & STRUCTURED) {
		store_be64(b + at, NBD_OPTION_MAGIC);
		store_be32(b + at + 8, NBD_OPT_STRUCTURED_REPLY);
		at += 16;
		store_be64(b + at, NBD_OPTION_MAGIC);
		store_be32(b + at + 8, NBD_OPT_SET_META_CONTEXT);
		store_be32(b + at + 12, 27);
		store_be32(b + at + 20, 1);
		store_be32(b + at + 24, 15);
		memcpy(b + at + 28, NBD_META_ALLOCATION, 15);
		at += 43;
	}
	store_be64(b + at, NBD_OPTION_MAGIC);
	store_be32(b + at + 8, NBD_OPT_EXPORT_NAME);
	feed(r, b, at + 16);
}

static void
on_released(void *ctx)
{
	struct run *r = ctx;
	r->released = true;
}

static void
release(void *ctx)
{
	struct run *r = ctx;
	r->gone = true;
	nbd_server_release(r->server, r->blk, &r->release, on_released, r);
}

static void
on_stopped(void *ctx)
{
	struct run *r = ctx;
	r->stopped = true;
}

static void
stop(void *ctx)
{
	struct run *r = ctx;
	nbd_server_stop(r->server, on_stopped, r);
}

static void
finish(void *ctx)
{
	close_it(ctx);
}

static void
down(void *ctx)
{
	struct run *r = ctx;
	struct blk_stats st;
	blk_get_stats(r->blk, &st);
	CHECK(st.in_flight == 0);
	if (!(r->flags & WRITABLE))
		CHECK(st.ops[BLK_WRITE] + st.ops[BLK_UNMAP] + st.ops[BLK_WRITE_ZEROES] == 0);
	sock_listener_close(r->listener);
	nbd_server_destroy(r->server);
	blk_close(r->blk);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct run r = {0};
	if (size < 2)
		return 0;
	r.flags = data[0];
	struct loop_sim_cfg cfg = {
	    .seed = data[1],
	    .loops = 3,
	    .buf_bytes = 1u << 20,
	    .net_delay_us_max = 5,
	    .net_chunk_max_bytes = data[1] & 3 ? 256u << (data[1] >> 2 & 7) : 0,
	};
	CHECK(loop_sim_create(&cfg, &r.sim) == 0);
	r.loops[0] = loop_sim_loop(r.sim, 0);
	r.loops[1] = loop_sim_loop(r.sim, 1);
	r.client = loop_sim_loop(r.sim, 2);
	loop_sim_call(r.loops[0], up, &r);
	loop_sim_call(r.client, dial, &r);
	settle(&r);
	if (r.flags & CHOSEN)
		negotiate(&r);
	feed(&r, data + 2, size - 2);
	if (r.flags & RELEASE) {
		loop_sim_call(r.loops[0], release, &r);
		loop_sim_run(r.sim, loop_sim_now_ns(r.sim) + 3 * NBD_LINGER_NS, STEPS_MAX);
		CHECK(r.released && nbd_server_conn_count(r.server) == 0);
	}
	if (!r.over && (data[1] & 1))
		loop_sim_call(r.client, finish, &r);
	loop_sim_call(r.loops[0], stop, &r);
	loop_sim_run(r.sim, loop_sim_now_ns(r.sim) + 3 * NBD_LINGER_NS, STEPS_MAX);
	CHECK(r.stopped && nbd_server_conn_count(r.server) == 0);
	if (!r.over)
		loop_sim_call(r.client, finish, &r);
	settle(&r);
	loop_sim_call(r.loops[0], down, &r);
	settle(&r);              /* a store of several loops closes on all of them */
	loop_sim_destroy(r.sim); /* every buffer is back: asserted there */
	return 0;
}
