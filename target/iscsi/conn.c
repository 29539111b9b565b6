/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A connection in the full feature phase: start, timers, end.
 *
 *   STARTING → FULL → LOGOUT → CLOSING → GONE        (LOGOUT only after a Logout Request)
 *
 * At CLOSING the socket is closed and the nexus is being destroyed: its tasks end without answer.
 * When the last of them is back, the object goes home to the registry, which frees it.
 */
#include "iscsi/conn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bufpool.h"

#define NS_PER_MS 1000000ull
#define SOCK_SEND_BUFFER_BYTES (256 * 1024) /* keeps the 99th percentile low at 128 KiB I/O */

/* iSCSI TransportID with initiator port, SPC-4 7.6.4.6: "<name>,i,0x<isid>". */
static size_t
transport_id(const struct iscsi_conn *c, uint8_t buf[SCSI_TRANSPORT_ID_MAX])
{
	const uint8_t *i = c->reg.isid;

	memset(buf, 0, SCSI_TRANSPORT_ID_MAX);
	buf[0] = 0x45; /* format 01b, protocol iSCSI */
	int len =
	    snprintf((char *)buf + 4, SCSI_TRANSPORT_ID_MAX - 4, "%s,i,0x%02x%02x%02x%02x%02x%02x",
	        c->reg.initiator, i[0], i[1], i[2], i[3], i[4], i[5]);
	ASSERT(len > 0 && len < (int)SCSI_TRANSPORT_ID_MAX - 4);
	size_t total = 4 + (((size_t)len + 1 + 3) & ~(size_t)3);
	if (total < 24)
		total = 24;
	store_be16(buf + 2, (uint16_t)(total - 4));
	return total;
}

/* RFC 7144 §4: what an initiator can ask for before iSCSIProtocolLevel 2. */
#define TMFS_LEVEL_1                                                                               \
	(1u << SCSI_TMF_ABORT_TASK | 1u << SCSI_TMF_ABORT_TASK_SET |                               \
	    1u << SCSI_TMF_CLEAR_TASK_SET | 1u << SCSI_TMF_LU_RESET | 1u << SCSI_TMF_TARGET_RESET)

static int
create_nexus(struct iscsi_conn *c, const struct iscsi_login_result *r)
{
	uint8_t tid[SCSI_TRANSPORT_ID_MAX];

	struct scsi_nexus_args args = {
	    .loop = c->il->loop,
	    .view = c->reg.view,
	    .rel_port_id = c->reg.rel_port_id,
	    .transport_id = tid,
	    .transport_id_len = transport_id(c, tid),
	    .initiator = c->reg.initiator,
	    .tmfs = r->params.protocol_level < 2 ? TMFS_LEVEL_1 : 0,
	};
	return scsi_nexus_create(c->server->core, &args, &c->nexus);
}

/* What the initiator may send unasked is promised from the loop's buffers. */
static void
reserve_window(struct iscsi_conn *c)
{
	struct iscsi_loop *il = c->il;
	uint64_t each = c->params.first_burst_bytes;
	if (c->params.initial_r2t && !c->params.immediate_data)
		each = 0;
	uint32_t window = ISCSI_WINDOW_START;
	if (each > 0 && il->window_bytes + window * each > il->window_bytes_max)
		window = ISCSI_WINDOW_MIN;
	if (window > c->limits->depth_max)
		window = c->limits->depth_max;
	c->window = window;
	c->window_bytes = window * each;
	il->window_bytes += c->window_bytes;
}

static void
on_event(void *ctx, unsigned events)
{
	struct iscsi_conn *c = ctx;

	if (events & LOOP_WRITABLE) {
		bool blocked = c->tx_blocked;
		c->tx_blocked = false;
		if (blocked)
			iscsi_tx_flush(c);
	}
	if (iscsi_conn_alive(c) && (events & LOOP_READABLE))
		iscsi_rx_event(c);
	if (iscsi_conn_alive(c) && (events & LOOP_HANGUP))
		iscsi_conn_end(c, "connection lost", false);
}

static void
on_rx_again(struct loop_defer *d)
{
	iscsi_rx_event(container_of(d, struct iscsi_conn, rx_again));
}

/* ---- timers ----------------------------------------------------------------------------------- */

static void
ping(struct iscsi_conn *c)
{
	struct iscsi_out *o = iscsi_out_get(c);
	if (o == NULL)
		return; /* the next timer tries again */
	struct iscsi_nop_in *p = (struct iscsi_nop_in *)(void *)o->hdr;
	p->opcode = ISCSI_OP_NOP_IN;
	p->flags = ISCSI_FLAG_FINAL;
	be32_put(&p->itt, ISCSI_TAG_NONE);
	c->ping_ttt = c->next_ttt++;
	if (c->ping_ttt == ISCSI_TAG_NONE)
		c->ping_ttt = c->next_ttt++;
	c->ping_ns = loop_now_ns(c->il->loop);
	be32_put(&p->ttt, c->ping_ttt);
	iscsi_out_queue(c, o, false); /* §11.19: StatSN isn't advanced by a ping */
}

void
iscsi_conn_tell_window(struct iscsi_conn *c)
{
	/* Open as far as the initiator knows, or something that will tell is on its way. */
	if (c->state != CONN_FULL || !iscsi_sn_lt(c->max_cmd_sn, c->exp_cmd_sn) ||
	    !iscsi_tx_empty(c))
		return;
	struct iscsi_out *o = iscsi_out_get(c);
	if (o == NULL)
		return; /* others send: the ping timer comes later */
	struct iscsi_nop_in *p = (struct iscsi_nop_in *)(void *)o->hdr;
	p->opcode = ISCSI_OP_NOP_IN;
	p->flags = ISCSI_FLAG_FINAL;
	be32_put(&p->itt, ISCSI_TAG_NONE);
	be32_put(&p->ttt, ISCSI_TAG_NONE); /* §11.19.2: no answer wanted */
	iscsi_out_queue(c, o, false);
}

/* Since when nothing came for the task that waits longest for its data; UINT64_MAX: none waits. */
static uint64_t
data_awaited_since(const struct iscsi_conn *c)
{
	uint64_t since = UINT64_MAX;
	if (c->awaited == 0)
		return since;
	LIST_FOREACH (l, &c->tasks) {
		const struct iscsi_task *t = container_of(l, struct iscsi_task, link);
		if (t->wants_data && t->data_ns < since)
			since = t->data_ns;
	}
	return since;
}

static void
on_timer(struct loop_timer *t)
{
	struct iscsi_conn *c = container_of(t, struct iscsi_conn, timer);
	const struct iscsi_limits *l = c->limits;
	uint64_t now = loop_now_ns(c->il->loop);

	if (!iscsi_conn_alive(c))
		return;
	if (c->tx_blocked && now - c->last_tx_ns >= l->send_stall_ms * NS_PER_MS) {
		iscsi_conn_end(c, "the initiator takes no data", false);
		return;
	}
	/* It holds buffers that others wait for. */
	uint64_t since = data_awaited_since(c);
	if (since != UINT64_MAX && now - since >= l->send_stall_ms * NS_PER_MS) {
		iscsi_conn_end(c, "data that was asked for doesn't come", false);
		return;
	}
	if (c->ping_ttt != ISCSI_TAG_NONE && now - c->ping_ns >= l->nop_timeout_ms * NS_PER_MS &&
	    now - c->last_rx_ns >= l->nop_timeout_ms * NS_PER_MS) {
		iscsi_conn_end(c, "no answer to NOP-In", false);
		return;
	}
	if (l->nop_interval_ms > 0 && c->ping_ttt == ISCSI_TAG_NONE && c->nexus != NULL &&
	    c->state == CONN_FULL && now - c->last_rx_ns >= l->nop_interval_ms * NS_PER_MS)
		ping(c);
	if (iscsi_conn_alive(c))
		iscsi_conn_timer(c);
}

void
iscsi_conn_timer(struct iscsi_conn *c)
{
	const struct iscsi_limits *l = c->limits;
	uint64_t now = loop_now_ns(c->il->loop), at = UINT64_MAX;

	if (c->tx_blocked)
		at = c->last_tx_ns + l->send_stall_ms * NS_PER_MS;
	uint64_t awaited = data_awaited_since(c);
	if (awaited != UINT64_MAX && awaited + l->send_stall_ms * NS_PER_MS < at)
		at = awaited + l->send_stall_ms * NS_PER_MS;
	if (c->ping_ttt != ISCSI_TAG_NONE) {
		uint64_t since = c->ping_ns > c->last_rx_ns ? c->ping_ns : c->last_rx_ns;
		if (since + l->nop_timeout_ms * NS_PER_MS < at)
			at = since + l->nop_timeout_ms * NS_PER_MS;
	} else if (l->nop_interval_ms > 0 && c->nexus != NULL &&
	           c->last_rx_ns + l->nop_interval_ms * NS_PER_MS < at) {
		at = c->last_rx_ns + l->nop_interval_ms * NS_PER_MS;
	}
	if (at == UINT64_MAX)
		return;
	/* Commands don't set it anew: it looks often enough to find those that wait for data. */
	if (at > now + l->send_stall_ms * NS_PER_MS)
		at = now + l->send_stall_ms * NS_PER_MS;
	loop_timer_set(&c->timer, at > now + NS_PER_MS ? at - now : NS_PER_MS);
}

/* ---- start -------------------------------------------------------------------------------------- */

static void
conn_init(struct iscsi_conn *c)
{
	loop_timer_init(&c->timer, c->il->loop, on_timer);
	loop_defer_init(&c->rx_again, on_rx_again);
	list_init(&c->tasks);
	list_init(&c->tmf_free);
	list_init(&c->ready);
	list_init(&c->out);
	list_init(&c->dirty_link);
	for (unsigned i = 0; i < ISCSI_FINISHED_RING; i++)
		c->finished[i].itt = ISCSI_TAG_NONE;
	for (unsigned i = 0; i < c->tmf_count; i++) {
		c->tmf[i].conn = c;
		list_push_back(&c->tmf_free, &c->tmf[i].link);
	}
	c->rx.hdr_need = ISCSI_BHS_BYTES;
	c->ping_ttt = ISCSI_TAG_NONE;
	c->last_rx_ns = c->last_tx_ns = loop_now_ns(c->il->loop);
	list_push_back(&c->il->conns, &c->link);
}

/* The last answer of the login: without digests, before the parameters take effect. */
static bool
answer_login(struct iscsi_conn *c, const struct iscsi_login_rsp *rsp)
{
	size_t len;
	const char *text = iscsi_login_text(c->login, &len);
	struct iscsi_out *o = iscsi_out_get_data(c, text, len);

	if (o == NULL)
		return false;
	memcpy(o->hdr, rsp, sizeof *rsp);
	c->stat_sn = be32_get(rsp->stat_sn);
	iscsi_out_queue(c, o, true);
	return true;
}

void
iscsi_conn_start(struct loop_msg *m)
{
	struct iscsi_conn *c = container_of(m, struct iscsi_conn, msg);
	struct iscsi_login_rsp rsp;
	enum iscsi_login_status status = ISCSI_LOGIN_SUCCESS;

	sock_attach(c->sock, c->il->loop);
	conn_init(c);
	c->state = CONN_FULL;
	const struct iscsi_login_result *r = iscsi_login_result(c->login);
	const char *failure = "out of resources at login";
	if (c->unfit != NULL) {
		failure = c->unfit;
		status = ISCSI_LOGIN_UNAVAILABLE;
	} else if (!r->discovery && create_nexus(c, r) < 0) {
		status = ISCSI_LOGIN_OUT_OF_RESOURCES;
	}
	enum iscsi_login_verdict v = iscsi_login_finish(c->login, status, c->reg.tsih, &rsp);
	iscsi_params_default(&c->params);
	c->params.max_xmit_bytes = 8192;
	c->exp_cmd_sn = r->cmd_sn;
	c->max_cmd_sn = r->cmd_sn - 1;
	c->window =
	    ISCSI_WINDOW_START < c->limits->depth_max ? ISCSI_WINDOW_START : c->limits->depth_max;
	bool answered = answer_login(c, &rsp);
	struct iscsi_params params = r->params;
	c->cid = r->cid;
	/* It goes before home hears of the start: home lets go of what it refers to then. */
	iscsi_login_destroy(c->login);
	c->login = NULL;
	c->start_failed = !answered || v != LOGIN_RESPOND;
	c->start_failure = failure;
	bool failed = c->start_failed; /* home's from here on */
	c->started_msg.run = iscsi_registry_started;
	loop_send(c->server->home, &c->started_msg);
	if (failed) {
		if (iscsi_conn_alive(c))
			iscsi_tx_flush(c);
		iscsi_conn_end(c, failure, false);
		return;
	}
	c->params = params;
	reserve_window(c);
	sock_set_buffers(c->sock, SOCK_SEND_BUFFER_BYTES, 0);
	sock_set_callback(c->sock, on_event, c);
	iscsi_tx_flush(c);
	if (iscsi_conn_alive(c))
		iscsi_conn_timer(c);
}

/* ---- end ------------------------------------------------------------------------------------------ */

static void
on_nexus_gone(void *ctx)
{
	struct iscsi_conn *c = ctx;
	c->nexus = NULL;
	iscsi_conn_maybe_gone(c);
}

void
iscsi_conn_maybe_gone(struct iscsi_conn *c)
{
	if (c->state != CONN_CLOSING || c->nexus != NULL || c->tmf_busy > 0)
		return;
	ASSERT(list_empty(&c->tasks) && list_empty(&c->ready) && list_empty(&c->out));
	/* It ended during a logout whose nexus was gone first: nothing is left to close. */
	loop_defer_cancel(&c->close_defer);
	c->state = CONN_GONE;
	c->il->window_bytes -= c->window_bytes;
	list_remove(&c->link);
	iscsi_text_session_fini(&c->text);
	iscsi_login_destroy(c->login);
	c->login = NULL;
	c->msg.run = iscsi_registry_gone;
	loop_send(c->server->home, &c->msg);
}

static void
on_close(struct loop_defer *d)
{
	struct iscsi_conn *c = container_of(d, struct iscsi_conn, close_defer);
	if (c->nexus == NULL)
		iscsi_conn_maybe_gone(c);
	else if (!c->nexus_ending) {
		c->nexus_ending = true;
		scsi_nexus_destroy(c->nexus, on_nexus_gone, c);
	}
}

void
iscsi_conn_end(struct iscsi_conn *c, const char *reason, bool orderly)
{
	if (!iscsi_conn_alive(c))
		return;
	c->state = CONN_CLOSING;
	c->end_reason = reason;
	c->orderly = orderly;
	loop_timer_cancel(&c->timer);
	sock_close(c->sock);
	c->sock = NULL;
	iscsi_rx_fini(c);
	iscsi_tx_fini(c);
	/* The caller may be in the middle of a task: the nexus goes when it has returned. */
	loop_defer_init(&c->close_defer, on_close);
	loop_defer(c->il->loop, &c->close_defer);
}

static void
ask_for_logout(struct iscsi_conn *c)
{
	struct iscsi_out *o = iscsi_out_get(c);
	if (o == NULL)
		return;
	struct iscsi_async *p = (struct iscsi_async *)(void *)o->hdr;
	p->opcode = ISCSI_OP_ASYNC;
	p->flags = ISCSI_FLAG_FINAL;
	be32_put(&p->itt, ISCSI_TAG_NONE);
	p->event = ISCSI_ASYNC_LOGOUT_REQUEST;
	be16_put(&p->parameter3, 2); /* seconds, §11.9.1 */
	iscsi_out_queue(c, o, true);
}

void
iscsi_conn_kill(struct loop_msg *m)
{
	struct iscsi_conn *c = container_of(m, struct iscsi_conn, kill_msg);
	if (iscsi_conn_alive(c)) {
		if (c->kill_logout && c->state == CONN_FULL && c->nexus != NULL)
			ask_for_logout(c);
		else
			iscsi_conn_end(c, c->kill_reason, c->kill_logout);
	}
	m->run = iscsi_registry_kill_ack;
	loop_send(c->server->home, m);
}
