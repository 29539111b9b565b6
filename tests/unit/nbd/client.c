/* SPDX-License-Identifier: BSD-2-Clause */
#include "client.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#define PORT 10809
#define STEPS_MAX 3000000u
#define SETTLE_NS 100000000u

static const struct sockaddr_in address = {
    .sin_family = AF_INET,
    .sin_port = PORT,
    .sin_addr = {0x0100007f},
};

/* ---- exports ------------------------------------------------------------------------------------- */

static void
list(void *ctx, bool (*each)(void *each_ctx, const char *name), void *each_ctx)
{
	struct bench *b = ctx;
	for (unsigned i = 0; i < b->export_count; i++)
		if (!each(each_ctx, b->exports[i].name))
			return;
}

static int
open_export(void *ctx, const char *name, struct nbd_export *ret)
{
	struct bench *b = ctx;
	for (unsigned i = 0; i < b->export_count; i++) {
		if (strcmp(b->exports[i].name, name) != 0)
			continue;
		*ret = b->exports[i];
		return 0;
	}
	return -ENOENT;
}

static uint64_t
served(void *ctx)
{
	struct bench *b = ctx;
	return b->initiators_work ? ++b->served : b->served;
}

static const struct nbd_ops ops = {.list = list, .open = open_export, .served = served};

/* ---- the server ------------------------------------------------------------------------------------ */

static void
on_accept(void *ctx, struct sock *s)
{
	struct bench *b = ctx;
	nbd_server_accept(b->server, s);
}

static void
create(void *ctx)
{
	struct bench *b = ctx;
	const struct nbd_server_args args = {
	    .loops = b->w->loops, .loop_count = 2, .ops = &ops, .ctx = b};
	assert_int_equal(nbd_server_create(&args, &b->server, NULL, 0), 0);
	assert_int_equal(sock_listen(b->w->loops[0], (const struct sockaddr *)&address,
	                     sizeof address, on_accept, b, &b->listener),
	    0);
}

struct bench *
bench_new(uint64_t seed, size_t buf_bytes)
{
	struct bench *b = calloc(1, sizeof *b);
	b->w = world_sim(seed, 3, buf_bytes);
	world_call(b->w, 0, create, b);
	return b;
}

void
bench_export(struct bench *b, const char *name, struct blk *blk, bool writable)
{
	assert_true(b->export_count < EXPORTS_MAX);
	b->exports[b->export_count++] = (struct nbd_export){name, blk, writable};
}

static void
on_stopped(void *ctx)
{
	struct bench *b = ctx;
	assert_false(b->stopped);
	b->stopped = true;
}

static void
stop(void *ctx)
{
	struct bench *b = ctx;
	nbd_server_stop(b->server, on_stopped, b);
	assert_false(b->stopped); /* never before it returns */
}

void
bench_stop(struct bench *b)
{
	world_call(b->w, 0, stop, b);
	for (unsigned i = 0; i < 100 && !b->stopped; i++)
		world_pass(b->w, SETTLE_NS);
	assert_true(b->stopped);
	assert_int_equal(nbd_server_conn_count(b->server), 0);
}

static void
destroy(void *ctx)
{
	struct bench *b = ctx;
	sock_listener_close(b->listener);
	nbd_server_destroy(b->server);
}

void
bench_free(struct bench *b)
{
	if (!b->stopped)
		bench_stop(b);
	world_call(b->w, 0, destroy, b);
	for (unsigned i = 0; i < b->export_count; i++)
		if (b->exports[i].blk != NULL)
			world_close(b->w, b->exports[i].blk);
	world_destroy(b->w);
	free(b);
}

struct releasing {
	struct nbd_release r;
	struct bench *b;
	struct blk *blk;
	bool *done;
};

static void
on_released(void *ctx)
{
	struct releasing *x = ctx;
	*x->done = true;
	free(x);
}

static void
release(void *ctx)
{
	struct releasing *x = ctx;
	bool *done = x->done;
	nbd_server_release(x->b->server, x->blk, &x->r, on_released, x);
	assert_false(*done);
}

void
bench_release(struct bench *b, struct blk *blk, bool *ret_done)
{
	struct releasing *x = calloc(1, sizeof *x);
	*x = (struct releasing){.b = b, .blk = blk, .done = ret_done};
	*ret_done = false;
	for (unsigned i = 0; i < b->export_count; i++)
		if (b->exports[i].blk == blk)
			b->exports[i].name = "no more";
	world_call(b->w, 0, release, x);
}

unsigned
bench_conns(struct bench *b)
{
	return nbd_server_conn_count(b->server);
}

unsigned
bench_half_open(struct bench *b)
{
	return nbd_server_half_open_count(b->server);
}

/* ---- the client -------------------------------------------------------------------------------------- */

static void
end(struct client *c)
{
	if (c->sock != NULL)
		sock_close(c->sock);
	c->sock = NULL;
	c->over = true;
}

static void
push(struct client *c)
{
	while (!c->over && c->out_len > 0) {
		struct iovec iov = {(void *)(uintptr_t)c->out, c->out_len};
		ssize_t n = sock_send(c->sock, &iov, 1);
		if (n == -EAGAIN)
			return;
		if (n < 0) {
			end(c);
			return;
		}
		c->out += n;
		c->out_len -= (size_t)n;
	}
}

static void
pull(struct client *c)
{
	while (!c->over && !c->deaf) {
		if (c->in_cap - c->in_len < 65536) {
			c->in_cap = c->in_cap * 2 + 65536;
			c->in = realloc(c->in, c->in_cap);
		}
		struct iovec iov = {c->in + c->in_len, c->in_cap - c->in_len};
		ssize_t n = sock_recv(c->sock, &iov, 1);
		if (n == -EAGAIN)
			return;
		if (n <= 0) {
			end(c);
			return;
		}
		c->in_len += (size_t)n;
	}
}

static void
on_event(void *ctx, unsigned events)
{
	(void)events;
	pull(ctx);
	push(ctx);
}

static void
on_timer(struct loop_timer *t)
{
	(void)t;
}

struct alarm {
	struct loop_timer timer;
	uint64_t ns;
};

static void
set_alarm(void *ctx)
{
	struct alarm *a = ctx;
	loop_timer_set(&a->timer, a->ns);
}

void
bench_pass(struct bench *b, uint64_t ns)
{
	struct alarm a = {.ns = ns};
	loop_timer_init(&a.timer, b->w->loops[2], on_timer);
	world_call(b->w, 2, set_alarm, &a);
	world_pass(b->w, ns + NBD_ALONE_NS);
	assert_false(loop_timer_armed(&a.timer));
}

static void
connect_to(void *ctx)
{
	struct client *c = ctx;
	assert_int_equal(sock_connect(c->b->w->loops[2], (const struct sockaddr *)&address,
	                     sizeof address, &c->sock),
	    0);
	sock_set_callback(c->sock, on_event, c);
}

struct client *
client_new(struct bench *b)
{
	struct client *c = calloc(1, sizeof *c);
	c->b = b;
	world_call(b->w, 2, connect_to, c);
	return c;
}

static void
end_call(void *ctx)
{
	end(ctx);
}

void
client_free(struct client *c)
{
	world_call(c->b->w, 2, end_call, c);
	free(c->in);
	free(c);
}

static void
both(void *ctx)
{
	pull(ctx);
	push(ctx);
}

void
client_send(struct client *c, const void *p, size_t len)
{
	assert_int_equal(c->out_len, 0);
	c->out = p;
	c->out_len = len;
	world_call(c->b->w, 2, both, c);
	for (unsigned i = 0; i < STEPS_MAX && c->out_len > 0 && !c->over; i++)
		if (!loop_sim_step(c->b->w->sim))
			break;
	assert_true(c->out_len == 0 || c->over);
}

static bool
step(struct bench *b)
{
	bool any = loop_sim_step(b->w->sim);
	for (unsigned i = 0; i < b->server->loop_count; i++)
		if (b->server->loops[i].turn_bytes > b->turn_max_bytes)
			b->turn_max_bytes = b->server->loops[i].turn_bytes;
	return any;
}

const uint8_t *
client_need(struct client *c, size_t len)
{
	world_call(c->b->w, 2, both, c);
	for (unsigned i = 0; i < STEPS_MAX && c->in_len - c->in_at < len && !c->over; i++)
		if (!step(c->b))
			break;
	assert_true(c->in_len - c->in_at >= len);
	const uint8_t *p = c->in + c->in_at;
	c->in_at += len;
	return p;
}

size_t
client_settle(struct client *c)
{
	world_call(c->b->w, 2, both, c);
	world_pass(c->b->w, SETTLE_NS);
	return c->in_len - c->in_at;
}

void
client_expect_end(struct client *c)
{
	client_expect_end_after(c, 0);
}

void
client_expect_end_after(struct client *c, size_t len)
{
	for (unsigned i = 0; i < 100 && !c->over; i++)
		(void)client_settle(c);
	assert_true(c->over);
	assert_int_equal(c->in_len - c->in_at, len);
}

void
client_option(struct client *c, uint32_t option, const void *data, size_t len)
{
	struct nbd_option h;
	be64_put(&h.magic, NBD_OPTION_MAGIC);
	be32_put(&h.option, option);
	be32_put(&h.len, (uint32_t)len);
	client_send(c, &h, sizeof h);
	if (len > 0)
		client_send(c, data, len);
}

uint32_t
client_option_reply(struct client *c, uint32_t option, const uint8_t **ret, size_t *ret_len)
{
	struct nbd_option_reply r;
	memcpy(&r, client_need(c, sizeof r), sizeof r);
	assert_true(be64_get(r.magic) == NBD_OPTION_REPLY_MAGIC);
	assert_int_equal(be32_get(r.option), option);
	const uint8_t *p = client_need(c, be32_get(r.len));
	if (ret != NULL)
		*ret = p;
	if (ret_len != NULL)
		*ret_len = be32_get(r.len);
	return be32_get(r.type);
}

static void
choose_meta(struct client *c, const char *name)
{
	uint8_t data[512];
	size_t len = strlen(name), at = 0;
	store_be32(data, (uint32_t)len);
	memcpy(data + 4, name, len);
	at = 4 + len;
	store_be32(data + at, 1);
	store_be32(data + at + 4, (uint32_t)strlen(NBD_META_ALLOCATION));
	memcpy(data + at + 8, NBD_META_ALLOCATION, strlen(NBD_META_ALLOCATION));
	client_option(c, NBD_OPT_SET_META_CONTEXT, data, at + 8 + strlen(NBD_META_ALLOCATION));
	assert_int_equal(
	    client_option_reply(c, NBD_OPT_SET_META_CONTEXT, NULL, NULL), NBD_REP_META_CONTEXT);
	assert_int_equal(client_option_reply(c, NBD_OPT_SET_META_CONTEXT, NULL, NULL), NBD_REP_ACK);
}

struct client *
client_go(struct bench *b, const char *name, unsigned flags)
{
	struct client *c = client_new(b);
	static const uint8_t client_flags[4] = {0, 0, 0, 3};
	uint8_t data[512];
	size_t len = strlen(name);

	(void)client_need(c, sizeof(struct nbd_greeting));
	client_send(c, client_flags, sizeof client_flags);
	if (flags & CLIENT_STRUCTURED) {
		client_option(c, NBD_OPT_STRUCTURED_REPLY, NULL, 0);
		assert_int_equal(
		    client_option_reply(c, NBD_OPT_STRUCTURED_REPLY, NULL, NULL), NBD_REP_ACK);
	}
	if (flags & CLIENT_META)
		choose_meta(c, name);
	store_be32(data, (uint32_t)len);
	memcpy(data + 4, name, len);
	store_be16(data + 4 + len, 0);
	client_option(c, NBD_OPT_GO, data, 6 + len);
	while (client_option_reply(c, NBD_OPT_GO, NULL, NULL) == NBD_REP_INFO)
		;
	return c;
}

/* ---- transmission --------------------------------------------------------------------------------------- */

void
client_request(
    struct client *c, uint16_t type, uint16_t flags, uint64_t cookie, uint64_t at, uint32_t len)
{
	struct nbd_request h;
	be32_put(&h.magic, NBD_REQUEST_MAGIC);
	be16_put(&h.flags, flags);
	be16_put(&h.type, type);
	be64_put(&h.cookie, cookie);
	be64_put(&h.offset_bytes, at);
	be32_put(&h.len_bytes, len);
	client_send(c, &h, sizeof h);
}

uint32_t
client_simple(struct client *c, uint64_t cookie)
{
	struct nbd_simple_reply r;
	memcpy(&r, client_need(c, sizeof r), sizeof r);
	assert_int_equal(be32_get(r.magic), NBD_SIMPLE_REPLY_MAGIC);
	assert_true(be64_get(r.cookie) == cookie);
	return be32_get(r.error);
}

uint32_t
client_read(struct client *c, uint64_t at, uint32_t len, void *dst)
{
	static uint64_t cookie = 1000;
	uint64_t got = 0;
	uint32_t error = 0;

	client_request(c, NBD_CMD_READ, 0, ++cookie, at, len);
	for (bool last = false; !last;) {
		struct nbd_chunk h;
		memcpy(&h, client_need(c, sizeof h), sizeof h);
		assert_int_equal(be32_get(h.magic), NBD_CHUNK_MAGIC);
		assert_true(be64_get(h.cookie) == cookie);
		last = be16_get(h.flags) == NBD_CHUNK_DONE;
		uint32_t chunk_len = be32_get(h.len);
		const uint8_t *p = client_need(c, chunk_len);
		if (be16_get(h.type) == NBD_CHUNK_OFFSET_DATA) {
			uint64_t pos = load_be64(p);
			assert_true(chunk_len > 8 && pos >= at && pos + chunk_len - 8 <= at + len);
			memcpy((uint8_t *)dst + (pos - at), p + 8, chunk_len - 8);
			got += chunk_len - 8;
		} else {
			assert_true(be16_get(h.type) & 1u << 15);
			error = load_be32(p);
		}
	}
	assert_true(error != 0 || got == len);
	return error;
}

uint32_t
client_write(struct client *c, uint16_t flags, uint64_t at, const void *src, uint32_t len)
{
	static uint64_t cookie = 1u << 20;
	client_request(c, NBD_CMD_WRITE, flags, ++cookie, at, len);
	client_send(c, src, len);
	return client_simple(c, cookie);
}
