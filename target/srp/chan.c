/* SPDX-License-Identifier: BSD-2-Clause */
/* A channel: its states, credits, messages of our own, its end. */
#include "srp/chan.h"

#include <stdlib.h>
#include <string.h>

#define NS_PER_MS 1000000ull
#define LEAVE_NS (1000 * NS_PER_MS)  /* for a last message to be taken */
#define DRAIN_NS (10000 * NS_PER_MS) /* for a queue to give everything back */
#define POSTING_NS (10 * NS_PER_MS)  /* until a helper that posts is looked at again */
#define MESSAGES 1u
#define SPARE_RECVS 2u /* CRED_RSP and AER_RSP take no credit */
#define RECV_ALIGN 512u

static void on_timer(struct loop_timer *tm);
static void on_end(struct loop_defer *d);

const char *
srp_chan_state_to_string(enum srp_chan_state s)
{
	static const char *const names[] = {
	    [SRP_CHAN_CONNECTING] = "connecting",
	    [SRP_CHAN_LIVE] = "live",
	    [SRP_CHAN_LEAVING] = "leaving",
	    [SRP_CHAN_DRAINING] = "draining",
	    [SRP_CHAN_CLOSED] = "closed",
	};
	return s < SRP_CHAN_STATE_COUNT ? names[s] : "?";
}

/* The one place; only forward. */
static void
set_state(struct srp_chan *c, enum srp_chan_state s)
{
	ASSERT(s > c->state);
	c->state = s;
	c->state_ns = loop_now_ns(c->loop);
}

/* ---- home --------------------------------------------------------------------------------------- */

/*
 * Twice as many tasks as credits: an answer whose completion is still to come has given its credit
 * back, and the next request needs a task.
 */
struct srp_chan *
srp_chan_create(const struct srp_limits *limits, uint32_t it_iu_len)
{
	struct srp_chan *c = calloc(1, sizeof *c);
	if (c == NULL)
		return NULL;
	c->depth = limits->queue_depth;
	c->recv_count = c->depth + SPARE_RECVS;
	c->recv_bytes = (it_iu_len + RECV_ALIGN - 1) / RECV_ALIGN * RECV_ALIGN;
	c->task_count = 2 * c->depth;
	c->message_idx = c->task_count;
	c->tasks = calloc(c->task_count, sizeof *c->tasks);
	c->parked = calloc(c->recv_count, sizeof *c->parked);
	list_init(&c->home_link);
	list_init(&c->link);
	list_init(&c->sends);
	list_init(&c->reads);
	list_init(&c->busy);
	list_init(&c->free);
	list_init(&c->message.link);
	list_init(&c->probe.link);
	if (c->tasks == NULL || c->parked == NULL) {
		srp_chan_free(c);
		return NULL;
	}
	for (uint32_t i = 0; i < c->task_count; i++) {
		struct srp_task *t = &c->tasks[i];
		t->chan = c;
		t->idx = i;
		list_push_back(&c->free, &t->link);
		list_init(&t->op.link);
	}
	return c;
}

void
srp_chan_queue_cfg(const struct srp_chan *c, struct srp_queue_cfg *ret)
{
	*ret = (struct srp_queue_cfg){
	    .recv_count = c->recv_count,
	    .recv_bytes = c->recv_bytes,
	    .send_count = c->task_count + MESSAGES,
	    .send_bytes = SRP_SEND_STRIDE,
	};
}

void
srp_chan_free(struct srp_chan *c)
{
	if (c == NULL)
		return;
	free(c->tasks);
	free(c->parked);
	free(c->chains);
	free(c);
}

int
srp_chan_fit(struct srp_chan *c)
{
	ASSERT(c->conn->queue_max > 0 && c->conn->reads_max > 0);
	ASSERT(c->conn->segments_max > 0 && c->conn->segments_max <= SRP_WR_SEGMENTS_MAX);
	c->chains = calloc(c->conn->queue_max, sizeof *c->chains);
	if (c->chains == NULL)
		return -1;
	c->sq_free = c->conn->queue_max;
	c->reads_free = c->conn->reads_max;
	return 0;
}

/* ---- life on its loop ------------------------------------------------------------------------------ */

void
srp_chan_begin(struct srp_chan *c)
{
	uint64_t now = loop_now_ns(c->loop);
	c->recv_posted = c->recv_count;
	c->credits = c->depth;
	c->last_ns = c->state_ns = now;
	c->cmd_limits = (struct srp_cmd_limits){
	    .imm_data_offset = c->result.imm_data_offset,
	    .xfer_max_bytes = SCSI_XFER_MAX_BYTES,
	};
	loop_timer_init(&c->timer, c->loop, on_timer);
	loop_defer_init(&c->end_defer, on_end);
	srp_pump_init(c);
}

/* When silence is looked at next: after it may have become long, at a millisecond's resolution. */
static uint64_t
look_after(const struct srp_chan *c)
{
	const struct srp_limits *l = &c->server->limits;
	bool probe = l->keepalive_ms != 0 && c->chain_count == 0;
	uint64_t patience = (probe ? l->keepalive_ms : l->stall_ms) * NS_PER_MS;
	uint64_t silent = loop_now_ns(c->loop) - c->last_ns;
	uint64_t after = silent < patience ? patience - silent : NS_PER_MS;
	/* What waits now may be answered soon. */
	if (l->keepalive_ms != 0 && after > l->keepalive_ms * NS_PER_MS)
		after = l->keepalive_ms * NS_PER_MS;
	return after;
}

static void
set_timer(struct srp_chan *c)
{
	uint64_t after = 0;
	switch (c->state) {
	case SRP_CHAN_LIVE:
		after = look_after(c);
		break;
	case SRP_CHAN_LEAVING:
		after = LEAVE_NS;
		break;
	case SRP_CHAN_DRAINING:
		after = DRAIN_NS;
		break;
	default:
		break;
	}
	if (after != 0)
		loop_timer_set(&c->timer, after);
}

void
srp_chan_established(struct srp_chan *c)
{
	if (c->state != SRP_CHAN_CONNECTING)
		return;
	set_state(c, SRP_CHAN_LIVE);
	set_timer(c);
	if (c->logout_reason != NULL)
		srp_chan_logout(c, c->logout_code, c->logout_reason);
	srp_chan_unpark(c);
}

/* Silence is broken by a probe; what was posted has to complete. */
static void
look_alive(struct srp_chan *c)
{
	const struct srp_limits *l = &c->server->limits;
	uint64_t silent = loop_now_ns(c->loop) - c->last_ns;
	if (c->chain_count > 0 && silent >= l->stall_ms * NS_PER_MS) {
		srp_chan_end(c, "it does not answer", false);
		return;
	}
	if (l->keepalive_ms != 0 && c->chain_count == 0 && silent >= l->keepalive_ms * NS_PER_MS) {
		srp_op_queue(c, &c->probe, SRP_OP_PROBE, 0);
		srp_pump(c);
	}
	if (srp_chan_is_live(c))
		set_timer(c);
}

static void
drain(struct srp_chan *c)
{
	set_state(c, SRP_CHAN_DRAINING);
	if (!c->told_disc) {
		c->told_disc = true;
		c->disc_msg.run = srp_registry_disc;
		loop_send(c->server->home, &c->disc_msg);
	}
	c->ops->flush(c->conn);
	set_timer(c);
}

static void
on_timer(struct loop_timer *tm)
{
	struct srp_chan *c = container_of(tm, struct srp_chan, timer);
	switch (c->state) {
	case SRP_CHAN_LIVE:
		look_alive(c);
		break;
	case SRP_CHAN_LEAVING:
		drain(c);
		srp_chan_check(c);
		break;
	case SRP_CHAN_DRAINING:
		if (c->abandoning || (c->chain_count == 0 && c->recv_posted == 0))
			break; /* commands are left, in the store */
		if (c->ops->posting(c->conn)) {
			loop_timer_set(&c->timer, POSTING_NS);
			break;
		}
		c->abandoning = true;
		c->ops->detach(c->conn);
		c->abandon_msg.run = srp_registry_abandon;
		loop_send(c->server->home, &c->abandon_msg);
		break;
	default:
		break;
	}
}

/* ---- end --------------------------------------------------------------------------------------------- */

static void
defer_end(struct srp_chan *c)
{
	if (!loop_defer_queued(&c->end_defer))
		loop_defer(c->loop, &c->end_defer);
}

static void
begin_end(struct srp_chan *c, const char *reason, bool orderly)
{
	c->reason = reason;
	c->orderly = orderly;
	defer_end(c);
}

/* Whoever finds that it must end may be in the middle of a command: the rest is done later. */
void
srp_chan_end(struct srp_chan *c, const char *reason, bool orderly)
{
	if (c->state >= SRP_CHAN_LEAVING)
		return;
	drain(c);
	begin_end(c, reason, orderly);
}

static void
message(struct srp_chan *c, enum srp_opcode opcode, uint32_t word)
{
	struct srp_short *m =
	    (void *)(c->conn->send_base + (size_t)c->message_idx * SRP_SEND_STRIDE);
	srp_short_build(m, opcode, word, 0);
	c->message_len = sizeof *m;
	c->message_kind = opcode;
	srp_op_queue(c, &c->message, SRP_OP_MESSAGE, 0);
}

void
srp_chan_logout(struct srp_chan *c, enum srp_logout_reason code, const char *reason)
{
	if (c->state >= SRP_CHAN_LEAVING)
		return;
	if (c->state == SRP_CHAN_CONNECTING) {
		/* The connection is complete, as something came by it; we haven't heard of it yet. */
		if (c->logout_reason == NULL) {
			c->logout_reason = reason;
			c->logout_code = code;
		}
		return;
	}
	if (c->message.busy) {
		srp_chan_end(c, reason, false);
		return;
	}
	set_state(c, SRP_CHAN_LEAVING);
	set_timer(c);
	begin_end(c, reason, false);
	message(c, SRP_T_LOGOUT, code);
	/* Nothing else is posted from now on. */
	list_remove(&c->message.link);
	list_push_front(&c->sends, &c->message.link);
	srp_pump(c);
}

/* A command that hears of the end may end others: the list is looked at from its start each time. */
static void
tell_tasks(struct srp_chan *c)
{
	uint64_t seq = 0;
	for (;;) {
		struct srp_task *next = NULL;
		LIST_FOREACH (l, &c->busy) {
			struct srp_task *t = container_of(l, struct srp_task, link);
			if (t->seq > seq && (next == NULL || t->seq < next->seq))
				next = t;
		}
		if (next == NULL)
			return;
		seq = next->seq;
		srp_cmd_chan_ends(next);
	}
}

static bool
is_over(const struct srp_chan *c)
{
	return c->state == SRP_CHAN_DRAINING && c->chain_count == 0 && c->recv_posted == 0 &&
	       c->busy_count == 0 && (c->abandoned || !c->abandoning);
}

static void
on_end(struct loop_defer *d)
{
	struct srp_chan *c = container_of(d, struct srp_chan, end_defer);
	if (c->state == SRP_CHAN_LEAVING && !c->message.busy)
		drain(c);
	if (c->state == SRP_CHAN_DRAINING && c->message.busy && c->message.in_flight == 0)
		(void)srp_op_cancel(c, &c->message);
	if (c->state == SRP_CHAN_DRAINING && c->probe.busy && c->probe.in_flight == 0)
		(void)srp_op_cancel(c, &c->probe);
	tell_tasks(c);
	srp_session_chan_ending(c->session, c->reason, c->orderly);
	if (!is_over(c))
		return;
	set_state(c, SRP_CHAN_CLOSED);
	loop_timer_cancel(&c->timer);
	loop_defer_cancel(&c->pump_defer);
	if (!c->abandoning)
		c->ops->detach(c->conn);
	srp_session_chan_closed(c->session, c);
	/* Home frees it. */
	c->gone_msg.run = srp_registry_gone;
	loop_send(c->server->home, &c->gone_msg);
}

void
srp_chan_check(struct srp_chan *c)
{
	if (is_over(c) || (c->state == SRP_CHAN_LEAVING && !c->message.busy))
		defer_end(c);
}

/* ---- credits ----------------------------------------------------------------------------------------- */

void
srp_chan_repost(struct srp_chan *c, uint32_t idx)
{
	if (c->state > SRP_CHAN_LIVE)
		return;
	if (c->ops->post_recv(c->conn, idx) < 0)
		srp_chan_end(c, "its queue failed", false);
	else
		c->recv_posted++;
}

void
srp_chan_check_owed(struct srp_chan *c)
{
	if (!srp_chan_is_live(c) || c->owed == 0 || c->busy_count > 0 || c->cred_req_out ||
	    c->message.busy)
		return;
	message(c, SRP_CRED_REQ, c->owed);
	c->credits += c->owed;
	c->owed = 0;
	c->cred_req_out = true;
	srp_pump_soon(c);
}

/* ---- what arrives -------------------------------------------------------------------------------------- */

static void
park(struct srp_chan *c, uint32_t idx, uint32_t len)
{
	ASSERT(c->parked_count < c->recv_count);
	c->parked[(c->parked_head + c->parked_count++) % c->recv_count] =
	    (struct srp_parked){.idx = idx, .len = len};
}

static void
answer_to_us(struct srp_chan *c, uint32_t idx, uint32_t len, uint8_t opcode)
{
	bool asked = opcode == SRP_CRED_RSP && c->cred_req_out && len >= sizeof(struct srp_short);
	srp_chan_repost(c, idx);
	if (!asked) {
		srp_chan_logout(c, SRP_LOGOUT_UNASKED_RSP, "it answered what nobody asked");
		return;
	}
	c->cred_req_out = false;
	srp_chan_check_owed(c);
}

/* A request that has its credit; else the channel ends. */
static bool
admit(struct srp_chan *c, const uint8_t *iu, uint32_t len)
{
	if (len < sizeof(struct srp_short)) {
		srp_chan_logout(c, SRP_LOGOUT_BAD_IU, "an information unit is too short");
		return false;
	}
	if (iu[0] != SRP_CMD && iu[0] != SRP_TSK_MGMT && iu[0] != SRP_I_LOGOUT) {
		srp_chan_logout(c, SRP_LOGOUT_BAD_IU, "an information unit is of no known kind");
		return false;
	}
	if (c->credits == 0) {
		srp_chan_logout(c, SRP_LOGOUT_NONE, "it sent more requests than it had credit for");
		return false;
	}
	c->credits--;
	return true;
}

static void
arrive(struct srp_chan *c, uint32_t idx, uint32_t len)
{
	const uint8_t *iu = srp_chan_recv_buf(c, idx);
	if (len > 0 && (iu[0] == SRP_CRED_RSP || iu[0] == SRP_AER_RSP)) {
		answer_to_us(c, idx, len, iu[0]);
		return;
	}
	if (!admit(c, iu, len))
		return;
	/* A connection may be complete before we have heard of it. */
	if (c->state == SRP_CHAN_CONNECTING || list_empty(&c->free) || c->parked_count > 0)
		park(c, idx, len);
	else
		srp_request_start(c, idx, len);
}

void
srp_chan_received(struct srp_conn *conn, uint32_t idx, uint32_t len, bool ok)
{
	struct srp_chan *c = conn->user;
	ASSERT(idx < c->recv_count && c->recv_posted > 0);
	c->recv_posted--;
	c->last_ns = loop_now_ns(c->loop);
	if (!ok)
		srp_chan_end(c, "its queue failed", false);
	else if (c->state <= SRP_CHAN_LIVE)
		arrive(c, idx, len);
	srp_chan_check(c);
}

void
srp_chan_unpark(struct srp_chan *c)
{
	while (srp_chan_is_live(c) && c->parked_count > 0 && !list_empty(&c->free)) {
		struct srp_parked p = c->parked[c->parked_head];
		c->parked_head = (c->parked_head + 1) % c->recv_count;
		c->parked_count--;
		srp_request_start(c, p.idx, p.len);
	}
}
