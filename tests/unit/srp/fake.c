/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/srp/fake.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/bufpool.h"
#include "srp/iu.h"
#include "store/fault.h"

static struct fake_conn *
of(struct srp_conn *c)
{
	return container_of(c, struct fake_conn, conn);
}

static struct fake *
fake_of(struct srp_backend *b)
{
	return container_of(b, struct fake, backend);
}

/* ---- the queue ------------------------------------------------------------------------------------ */

/* Address and key of the initiator's memory are right. */
static bool
remote_ok(const struct srp_wr *w)
{
	uint64_t bytes = 0;
	for (unsigned i = 0; i < w->iovcnt; i++)
		bytes += w->iov[i].iov_len;
	return w->key == FAKE_KEY && w->remote >= FAKE_MEM_VA &&
	       w->remote + bytes <= FAKE_MEM_VA + FAKE_MEM_BYTES;
}

static void
message(struct fake_conn *fc, const struct srp_wr *w)
{
	unsigned at = fc->inbox_count++ % FAKE_INBOX_MAX;
	size_t len = w->iov[0].iov_len;
	ASSERT(w->iovcnt == 1 && len <= sizeof fc->inbox[at]);
	memcpy(fc->inbox[at], w->iov[0].iov_base, len);
	fc->inbox_len[at] = len;
	uint8_t opcode = fc->inbox[at][0];
	if (opcode == SRP_RSP || opcode == SRP_CRED_REQ) {
		fc->credits += (int32_t)load_be32(fc->inbox[at] + 4);
		ASSERT(fc->credits <= fc->fake->limits.queue_depth);
	}
	if (fc->on_message != NULL)
		fc->on_message(fc, fc->inbox[at], len);
}

/* False: it fails, and the queue with it. */
static bool
execute(struct fake_conn *fc, const struct srp_wr *w)
{
	if (w->kind == SRP_WR_SEND) {
		message(fc, w);
		return true;
	}
	if (w->kind == SRP_WR_WRITE && w->iovcnt == 0) {
		fc->probes++;
		return true;
	}
	if (!remote_ok(w))
		return false;
	uint8_t *at = fc->mem + (w->remote - FAKE_MEM_VA);
	for (unsigned i = 0; i < w->iovcnt; i++) {
		if (w->kind == SRP_WR_READ)
			memcpy(w->iov[i].iov_base, at, w->iov[i].iov_len);
		else
			memcpy(at, w->iov[i].iov_base, w->iov[i].iov_len);
		at += w->iov[i].iov_len;
	}
	return true;
}

static void
complete(struct fake_conn *fc)
{
	struct fake_chain *ch = &fc->chains[fc->chain_head];
	bool ok = !fc->dead;
	for (unsigned i = 0; i < ch->count; i++) {
		if (ok && !execute(fc, &ch->wrs[i])) {
			ok = false;
			fc->dead = true;
		}
		fc->reads_out -= ch->wrs[i].kind == SRP_WR_READ;
	}
	fc->sq_used -= ch->count;
	fc->chain_head = (fc->chain_head + 1) % fc->chain_max;
	fc->chain_count--;
	fc->fake->events->sent(&fc->conn, ok);
}

static void
flush_recv(struct fake_conn *fc)
{
	uint32_t idx = fc->recvs[fc->recv_head];
	fc->recv_head = (fc->recv_head + 1) % FAKE_RECVS_MAX;
	fc->recv_count--;
	fc->fake->events->received(&fc->conn, idx, 0, false);
}

static void
on_timer(struct loop_timer *t)
{
	struct fake_conn *fc = container_of(t, struct fake_conn, timer);
	if (fc->dead && fc->holds_back)
		return;
	if (fc->chain_count > 0 && (fc->automatic || fc->dead))
		complete(fc);
	else if (fc->dead && fc->recv_count > 0)
		flush_recv(fc);
	/* What only the test completes is not looked at again and again. */
	bool more = (fc->chain_count > 0 && (fc->automatic || fc->dead)) ||
	            (fc->dead && fc->recv_count > 0);
	if (fc->loop != NULL && more)
		loop_timer_set(t, loop_rand(fc->loop) % 20000);
}

static void
later(struct fake_conn *fc)
{
	if (fc->loop != NULL && (fc->automatic || fc->dead) && !loop_timer_armed(&fc->timer))
		loop_timer_set(&fc->timer, loop_rand(fc->loop) % 20000);
}

static int
op_post(struct srp_conn *c, const struct srp_wr *wrs, unsigned count)
{
	struct fake_conn *fc = of(c);
	ASSERT(fc->loop != NULL && loop_is_current(fc->loop));
	ASSERT(count > 0 && count <= SRP_WR_CHAIN_MAX && fc->chain_count < fc->chain_max);
	struct fake_chain *ch = &fc->chains[(fc->chain_head + fc->chain_count) % fc->chain_max];
	ch->count = count;
	for (unsigned i = 0; i < count; i++) {
		ch->wrs[i] = wrs[i];
		ASSERT(wrs[i].iovcnt <= c->segments_max);
		fc->reads_out += wrs[i].kind == SRP_WR_READ;
		/* CH-2: the buffer for the next request is there before the credit for it is. */
		if (wrs[i].kind == SRP_WR_SEND && wrs[i].iov[0].iov_len >= 16) {
			const uint8_t *iu = wrs[i].iov[0].iov_base;
			int64_t delta = iu[0] == SRP_RSP || iu[0] == SRP_CRED_REQ
			                    ? (int32_t)load_be32(iu + 4)
			                    : 0;
			fc->promised += delta;
			ASSERT(fc->promised <= fc->fake->limits.queue_depth);
			ASSERT(delta == 0 || fc->recv_count >= fc->promised + 2);
		}
	}
	fc->sq_used += count;
	ASSERT(fc->sq_used <= c->queue_max);
	ASSERT(fc->reads_out <= c->reads_max); /* CH-5 */
	fc->chain_count++;
	later(fc);
	return 0;
}

static int
op_post_recv(struct srp_conn *c, uint32_t idx)
{
	struct fake_conn *fc = of(c);
	ASSERT(idx < fc->cfg.recv_count && fc->recv_count < fc->cfg.recv_count);
	fc->recvs[(fc->recv_head + fc->recv_count++) % FAKE_RECVS_MAX] = idx;
	return 0;
}

static void
op_flush(struct srp_conn *c)
{
	struct fake_conn *fc = of(c);
	fc->dead = true;
	later(fc);
}

static bool
op_is_local(struct srp_conn *c, const void *p, size_t len)
{
	(void)len;
	struct fake *f = of(c)->fake;
	for (unsigned i = 0; i < f->fx.loop_count; i++)
		if (bufpool_owns(loop_bufpool(f->fx.loops[i]), p))
			return true;
	return !f->nothing_is_local;
}

static int
op_attach(struct srp_conn *c, struct loop *l)
{
	struct fake_conn *fc = of(c);
	fc->loop = l;
	loop_timer_init(&fc->timer, l, on_timer);
	return 0;
}

static bool
op_posting(struct srp_conn *c)
{
	return of(c)->posting;
}

static void
op_detach(struct srp_conn *c)
{
	struct fake_conn *fc = of(c);
	ASSERT(!fc->posting);
	loop_timer_cancel(&fc->timer);
	fc->loop = NULL;
}

/* ---- connections -------------------------------------------------------------------------------------- */

static int
op_start(struct srp_backend *b, struct loop *const *loops, unsigned loop_count,
    const struct srp_backend_events *events, void *ctx)
{
	struct fake *f = fake_of(b);
	(void)loops;
	(void)loop_count;
	if (f->no_device)
		return -ENODEV;
	f->events = events;
	f->events_ctx = ctx;
	f->started = true;
	return 0;
}

static void
op_stop(struct srp_backend *b)
{
	fake_of(b)->started = false;
}

static int
op_listen(struct srp_backend *b, const struct sockaddr *addr, socklen_t addr_len,
    struct srp_listener **ret, struct sockaddr_storage *ret_bound)
{
	struct fake *f = fake_of(b);
	memset(ret_bound, 0, sizeof *ret_bound);
	memcpy(ret_bound, addr, addr_len);
	f->listeners++;
	*ret = (struct srp_listener *)f;
	return 0;
}

static void
op_unlisten(struct srp_listener *l)
{
	((struct fake *)(void *)l)->listeners--;
}

static void
op_reject(struct srp_conn *c, const void *data, size_t len)
{
	struct fake_conn *fc = of(c);
	ASSERT(len == 32);
	fc->rejected = fc->destroyed = true;
	fc->rej_reason = load_be32((const uint8_t *)data + 4);
}

static int
op_setup(struct srp_conn *c, const struct srp_queue_cfg *cfg, char *reason, size_t cap)
{
	struct fake_conn *fc = of(c);
	struct fake *f = fc->fake;
	if (f->setup_fails) {
		snprintf(reason, cap, "no memory for its queue");
		return -ENOMEM;
	}
	fc->cfg = *cfg;
	ASSERT(cfg->recv_count <= FAKE_RECVS_MAX);
	c->recv_base = calloc(cfg->recv_count, cfg->recv_bytes);
	c->send_base = calloc(cfg->send_count, cfg->send_bytes);
	fc->chain_max = f->queue_max; /* each takes a place of the queue at least */
	fc->chains = calloc(fc->chain_max, sizeof *fc->chains);
	fc->mem = calloc(1, FAKE_MEM_BYTES);
	ASSERT(c->recv_base && c->send_base && fc->chains && fc->mem);
	c->queue_max = f->queue_max;
	c->segments_max = f->segments_max;
	c->reads_max = f->reads_max;
	for (uint32_t i = 0; i < cfg->recv_count; i++)
		op_post_recv(c, i);
	return 0;
}

static int
op_accept(struct srp_conn *c, const void *data, size_t len)
{
	struct fake_conn *fc = of(c);
	ASSERT(len == sizeof fc->rsp && !fc->refused);
	if (fc->fake->accept_fails)
		return -EIO;
	memcpy(&fc->rsp, data, len);
	fc->accepted = true;
	fc->credits = fc->promised = (int32_t)be32_get(fc->rsp.req_lim_delta);
	return 0;
}

static void
op_refuse(struct srp_conn *c, const void *data, size_t len)
{
	struct fake_conn *fc = of(c);
	ASSERT(len == 32 && !fc->accepted);
	fc->refused = true;
	fc->rej_reason = load_be32((const uint8_t *)data + 4);
}

static void
op_disconnect(struct srp_conn *c)
{
	of(c)->left = true;
}

static bool
op_can_reach(struct srp_conn *c)
{
	return !of(c)->fake->port_down;
}

static void
op_abandon(struct srp_conn *c)
{
	struct fake_conn *fc = of(c);
	ASSERT(fc->loop == NULL);
	fc->abandoned = true;
	fc->chain_count = 0;
	fc->recv_count = 0;
}

/* Nothing of a queue is left that the frontend hasn't waited for. */
static void
op_destroy(struct srp_conn *c)
{
	struct fake_conn *fc = of(c);
	ASSERT(fc->loop == NULL && !fc->destroyed);
	ASSERT(fc->refused || (fc->chain_count == 0 && fc->recv_count == 0));
	fc->destroyed = true;
	free(c->recv_base);
	free(c->send_base);
	free(fc->chains);
	c->recv_base = c->send_base = NULL;
	fc->chains = NULL;
}

static const struct srp_backend_ops ops = {
    .start = op_start,
    .stop = op_stop,
    .listen = op_listen,
    .unlisten = op_unlisten,
    .reject = op_reject,
    .setup = op_setup,
    .accept = op_accept,
    .refuse = op_refuse,
    .disconnect = op_disconnect,
    .can_reach = op_can_reach,
    .abandon = op_abandon,
    .destroy = op_destroy,
    .attach = op_attach,
    .detach = op_detach,
    .post = op_post,
    .posting = op_posting,
    .post_recv = op_post_recv,
    .flush = op_flush,
    .is_local = op_is_local,
};

/* ---- the world ---------------------------------------------------------------------------------------- */

static void
on_event(void *ctx, const struct srp_event *e)
{
	struct fake *f = ctx;
	switch (e->kind) {
	case SRP_EVENT_LOGIN:
		f->logins++;
		break;
	case SRP_EVENT_CHANNEL:
		f->channels++;
		break;
	case SRP_EVENT_LOGOUT:
		f->logouts++;
		break;
	case SRP_EVENT_DROPPED:
		f->dropped++;
		break;
	case SRP_EVENT_REFUSED:
		f->refused++;
		break;
	case SRP_EVENT_DEVICE:
		f->devices++;
		break;
	case SRP_EVENT_COUNT:
		break;
	}
	snprintf(f->reason, sizeof f->reason, "%s", e->reason);
}

void
fake_run_ms(struct fake *f, uint64_t ms)
{
	loop_sim_run(f->fx.world, loop_sim_now_ns(f->fx.world) + ms * 1000000u, 50000000u);
}

void
fake_on_home(struct fake *f, void (*fn)(void *ctx), void *ctx)
{
	fx_on_loop(&f->fx, 0, fn, ctx);
}

static void
create_view(void *ctx)
{
	struct fake *f = ctx;
	const struct scsi_view_entry e = {.lun = 0, .lu = f->lu};
	assert_int_equal(scsi_view_create(f->fx.core, &e, 1, &f->view), 0);
}

static void
create_server(void *ctx)
{
	struct fake *f = ctx;
	const struct srp_server_args args = {
	    .core = f->fx.core,
	    .loops = f->fx.loops,
	    .loop_count = f->fx.loop_count,
	    .limits = f->limits,
	    .config = f->config,
	    .backend = &f->backend,
	    .event = on_event,
	    .event_ctx = f,
	};
	assert_int_equal(srp_server_create(&args, &f->server), 0);
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(5000)};
	int rc = srp_server_listen(f->server, (const void *)&in, sizeof in, 1);
	assert_int_equal(rc, f->no_device ? -ENODEV : 0);
}

void
fake_up(struct fake *f, unsigned loops, uint64_t seed)
{
	fake_up_with(f, loops, seed, 32u << 20);
}

void
fake_up_with(struct fake *f, unsigned loops, uint64_t seed, size_t buf_bytes)
{
	memset(f, 0, sizeof *f);
	fx_up_with(&f->fx, loops, seed, buf_bytes);
	f->lu = fx_add_lu(&f->fx, "fault:1::ram:", NULL);
	f->blk = scsi_lu_blk(f->lu);
	fake_on_home(f, create_view, f);
	static const uint16_t tag = 1;
	struct srp_target_args t = {
	    .name = "iqn.2024-01.x:t",
	    .open_view = f->view,
	    .portal_tags = &tag,
	    .rel_port_ids = &tag,
	    .portal_count = 1,
	};
	char why[200];
	memset(t.port_id, 0x11, sizeof t.port_id);
	assert_int_equal(srp_config_create(&f->config), 0);
	assert_int_equal(srp_config_add_target(f->config, &t, why, sizeof why), 0);
	f->backend.ops = &ops;
	f->queue_max = 64;
	f->segments_max = 4;
	f->reads_max = 4;
	srp_limits_default(&f->limits);
	f->limits.queue_depth = 16;
}

void
fake_serve(struct fake *f)
{
	fake_on_home(f, create_server, f);
	fake_run_ms(f, 10);
}

static void
on_stopped(void *ctx)
{
	((struct fake *)ctx)->stopped = true;
}

static void
stop_server(void *ctx)
{
	struct fake *f = ctx;
	srp_server_stop(f->server, on_stopped, f);
}

static void
destroy_view(void *ctx)
{
	struct fake *f = ctx;
	srp_server_destroy(f->server);
	scsi_view_destroy(f->view);
}

void
fake_down(struct fake *f)
{
	for (unsigned i = 0; i < f->conn_count; i++) {
		f->conns[i]->automatic = true;
		f->conns[i]->holds_back = false;
	}
	fault_hold(f->blk, 0);
	fake_on_home(f, stop_server, f);
	fake_run_ms(f, 30000);
	assert_true(f->stopped);
	assert_int_equal(f->listeners, 0);
	assert_false(f->started);
	fake_on_home(f, destroy_view, f);
	srp_config_destroy(f->config);
	for (unsigned i = 0; i < f->conn_count; i++) {
		assert_true(f->conns[i]->destroyed);
		free(f->conns[i]->mem);
		free(f->conns[i]);
	}
	fx_down(&f->fx);
}

/* ---- initiators --------------------------------------------------------------------------------------- */

struct request {
	struct fake *f;
	struct fake_conn *fc;
	const void *private;
	size_t len;
};

static void
do_request(void *ctx)
{
	struct request *r = ctx;
	r->f->events->request(
	    r->f->events_ctx, (struct srp_listener *)r->f, &r->fc->conn, r->private, r->len);
}

struct fake_conn *
fake_request_raw(struct fake *f, const void *private, size_t len, bool native, const char *address)
{
	struct fake_conn *fc = calloc(1, sizeof *fc);
	assert_non_null(fc);
	assert_true(f->conn_count < FAKE_CONNS_MAX);
	f->conns[f->conn_count++] = fc;
	fc->fake = f;
	fc->automatic = true;
	fc->conn.backend = &f->backend;
	fc->conn.native = native;
	snprintf(fc->conn.device, sizeof fc->conn.device, "fake0");
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(40000)};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
	if (native) {
		inet_pton(AF_INET6, address, &in6.sin6_addr);
		memcpy(&fc->conn.peer, &in6, sizeof in6);
		fc->conn.pkey = 0xffff;
	} else {
		inet_pton(AF_INET, address, &in.sin_addr);
		memcpy(&fc->conn.peer, &in, sizeof in);
	}
	struct request r = {.f = f, .fc = fc, .private = private, .len = len};
	fake_on_home(f, do_request, &r);
	return fc;
}

struct fake_conn *
fake_request(struct fake *f, unsigned n, bool multi, uint32_t it_iu_len)
{
	struct srp_login_req_rdma w = {.flags = SRP_LOGIN_IMMEDIATE | (multi ? 1 : 0)};
	be16_put(&w.formats, 6);
	be32_put(&w.it_iu_len, it_iu_len);
	be16_put(&w.imm_data_offset, 68);
	store_be32(w.initiator_port + 12, n);
	memset(w.target_port, 0x11, sizeof w.target_port);
	return fake_request_raw(f, &w, sizeof w, false, "192.0.2.1");
}

struct event {
	struct fake_conn *fc;
	enum srp_conn_event ev;
};

static void
do_event(void *ctx)
{
	struct event *e = ctx;
	e->fc->fake->events->event(&e->fc->conn, e->ev);
}

void
fake_event(struct fake_conn *fc, enum srp_conn_event ev)
{
	struct event e = {.fc = fc, .ev = ev};
	if (!fc->destroyed)
		fake_on_home(fc->fake, do_event, &e);
}

struct fake_conn *
fake_login(struct fake *f, unsigned n, bool multi)
{
	struct fake_conn *fc = fake_request(f, n, multi, 8260);
	fake_run_ms(f, 100);
	assert_true(fc->accepted);
	fake_event(fc, SRP_CONN_ESTABLISHED);
	fake_run_ms(f, 10);
	return fc;
}

static void
do_receive(void *ctx)
{
	struct fake_conn *fc = ctx;
	for (unsigned i = 0; i < fc->arrived_count; i++)
		fc->fake->events->received(&fc->conn, fc->arrived[i].idx, fc->arrived[i].len, true);
	fc->arrived_count = 0;
}

static void
do_complete(void *ctx)
{
	complete(ctx);
}

static bool
arrive(struct fake_conn *fc, const void *iu, size_t len)
{
	if (fc->recv_count == 0 || fc->dead || fc->loop == NULL || len > fc->cfg.recv_bytes)
		return false;
	uint32_t idx = fc->recvs[fc->recv_head];
	fc->recv_head = (fc->recv_head + 1) % FAKE_RECVS_MAX;
	fc->recv_count--;
	uint8_t op = len > 0 ? *(const uint8_t *)iu : 0xff;
	if (op == SRP_CMD || op == SRP_TSK_MGMT || op == SRP_I_LOGOUT) {
		fc->credits--;
		fc->promised--;
	}
	memcpy(fc->conn.recv_base + (size_t)idx * fc->cfg.recv_bytes, iu, len);
	ASSERT(fc->arrived_count < sizeof fc->arrived / sizeof fc->arrived[0]);
	fc->arrived[fc->arrived_count].idx = idx;
	fc->arrived[fc->arrived_count++].len = (uint32_t)len;
	return true;
}

bool
fake_send_more(struct fake_conn *fc, const void *iu, size_t len)
{
	return arrive(fc, iu, len);
}

bool
fake_send(struct fake_conn *fc, const void *iu, size_t len)
{
	if (!arrive(fc, iu, len))
		return false;
	fx_on_loop(&fc->fake->fx, loop_id(fc->loop), do_receive, fc);
	return true;
}

bool
fake_complete(struct fake_conn *fc)
{
	if (fc->chain_count == 0 || fc->loop == NULL)
		return false;
	fx_on_loop(&fc->fake->fx, loop_id(fc->loop), do_complete, fc);
	return true;
}

const uint8_t *
fake_message(const struct fake_conn *fc, unsigned back, size_t *ret_len)
{
	if (back >= fc->inbox_count || back >= FAKE_INBOX_MAX)
		return NULL;
	unsigned at = (fc->inbox_count - 1 - back) % FAKE_INBOX_MAX;
	if (ret_len != NULL)
		*ret_len = fc->inbox_len[at];
	return fc->inbox[at];
}

/* ---- units ---------------------------------------------------------------------------------------------- */

size_t
fake_cmd(uint8_t *iu, uint64_t tag, const uint8_t *cdb, unsigned cdb_len)
{
	memset(iu, 0, sizeof(struct srp_cmd));
	iu[0] = SRP_CMD;
	store_be64(iu + 8, tag);
	memcpy(iu + 32, cdb, cdb_len);
	return sizeof(struct srp_cmd);
}

size_t
fake_add_direct(uint8_t *iu, size_t at, bool out, uint32_t offset, uint32_t bytes)
{
	iu[5] = (uint8_t)(out ? SRP_FMT_DIRECT << 4 : SRP_FMT_DIRECT);
	store_be64(iu + at, FAKE_MEM_VA + offset);
	store_be32(iu + at + 8, FAKE_KEY);
	store_be32(iu + at + 12, bytes);
	return at + 16;
}

size_t
fake_add_indirect(struct fake_conn *fc, uint8_t *iu, size_t at, bool out, uint32_t offset,
    uint32_t bytes, uint32_t count, uint32_t in_iu, uint32_t table)
{
	uint8_t *list = fc->mem + table;
	uint32_t left = bytes, from = offset;
	iu[5] = (uint8_t)(out ? SRP_FMT_INDIRECT << 4 : SRP_FMT_INDIRECT);
	iu[out ? 6 : 7] = (uint8_t)in_iu;
	for (uint32_t i = 0; i < count; i++) {
		uint32_t n = i + 1 == count ? left : bytes / count - (i % 3 == 0 ? 1 : 0);
		store_be64(list + 16 * (size_t)i, FAKE_MEM_VA + from);
		store_be32(list + 16 * (size_t)i + 8, FAKE_KEY);
		store_be32(list + 16 * (size_t)i + 12, n);
		from += n;
		left -= n;
	}
	store_be64(iu + at, FAKE_MEM_VA + table);
	store_be32(iu + at + 8, FAKE_KEY);
	store_be32(iu + at + 12, 16 * count);
	store_be32(iu + at + 16, bytes);
	memcpy(iu + at + 20, list, 16 * (size_t)in_iu);
	return at + 20 + 16 * (size_t)in_iu;
}

size_t
fake_add_immediate(uint8_t *iu, const void *data, uint32_t bytes)
{
	iu[5] = SRP_FMT_IMMEDIATE << 4;
	store_be32(iu + 48, bytes);
	memset(iu + 52, 0, 16);
	memcpy(iu + 68, data, bytes);
	return 68 + bytes;
}

size_t
fake_tmf(uint8_t *iu, uint64_t tag, uint8_t function, uint64_t task_tag)
{
	memset(iu, 0, sizeof(struct srp_tsk_mgmt));
	iu[0] = SRP_TSK_MGMT;
	store_be64(iu + 8, tag);
	iu[30] = function;
	store_be64(iu + 32, task_tag);
	return sizeof(struct srp_tsk_mgmt);
}

void
fake_rw_cdb(uint8_t cdb[16], bool write, uint32_t lba, uint16_t blocks)
{
	memset(cdb, 0, 16);
	cdb[0] = write ? 0x2a : 0x28;
	store_be32(cdb + 2, lba);
	store_be16(cdb + 7, blocks);
}
