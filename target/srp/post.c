/* SPDX-License-Identifier: BSD-2-Clause */
/* The send queue: operations are cut into requests, posted in chains, and reported in order. */
#include "srp/chan.h"

#include <string.h>

static struct srp_task *
task_of(struct srp_op *op)
{
	return container_of(op, struct srp_task, op);
}

void
srp_op_queue(struct srp_chan *c, struct srp_op *op, enum srp_op_kind kind, uint64_t bytes)
{
	ASSERT(!op->busy && op->in_flight == 0 && list_empty(&op->link));
	op->kind = (uint8_t)kind;
	op->busy = true;
	op->failed = false;
	op->left = bytes;
	op->desc_at = op->desc_off = op->sg_at = 0;
	op->sg_off = 0;
	bool read = kind == SRP_OP_TABLE || kind == SRP_OP_DATA_OUT;
	list_push_back(read ? &c->reads : &c->sends, &op->link);
}

bool
srp_op_cancel(struct srp_chan *c, struct srp_op *op)
{
	(void)c;
	if (!op->busy)
		return true;
	if (!list_empty(&op->link)) {
		list_remove(&op->link);
		op->failed = true;
	}
	if (op->in_flight > 0)
		return false; /* CH-3: its last completion says so */
	op->busy = false;
	return true;
}

/* ---- requests ---------------------------------------------------------------------------------- */

/* One request: a piece of a descriptor, from as many segments as it takes. */
static void
fill(struct srp_chan *c, struct srp_op *op, struct srp_wr *wr)
{
	struct srp_task *t = task_of(op);
	uint32_t seg_count;
	const struct iovec *segs = srp_task_segments(t, &seg_count);
	struct srp_desc d = srp_task_remote(t, op->desc_at);
	ASSERT(d.len > op->desc_off);
	uint64_t room = d.len - op->desc_off;
	if (room > op->left)
		room = op->left;
	wr->remote = d.va + op->desc_off;
	wr->key = d.key;
	wr->iovcnt = 0;
	wr->solicited = false;
	while (room > 0 && wr->iovcnt < c->conn->segments_max) {
		ASSERT(op->sg_at < seg_count);
		const struct iovec *s = &segs[op->sg_at];
		size_t n = s->iov_len - op->sg_off;
		if (n > room)
			n = (size_t)room;
		if (n > 0)
			wr->iov[wr->iovcnt++] = (struct iovec){
			    .iov_base = (char *)s->iov_base + op->sg_off, .iov_len = n};
		room -= n;
		op->left -= n;
		op->desc_off += (uint32_t)n;
		op->sg_off += n;
		if (op->sg_off == s->iov_len) {
			op->sg_at++;
			op->sg_off = 0;
		}
	}
	if (op->desc_off == d.len) {
		op->desc_at++;
		op->desc_off = 0;
	}
}

/* The request that ends an operation of the sends. */
static void
fill_last(struct srp_chan *c, struct srp_op *op, struct srp_wr *wr)
{
	uint8_t *base = c->conn->send_base;
	wr->kind = SRP_WR_SEND;
	wr->iovcnt = 1;
	wr->remote = 0;
	wr->key = 0;
	wr->solicited = false;
	if (op->kind == SRP_OP_PROBE) {
		wr->kind = SRP_WR_WRITE; /* of nothing: neither address nor key is looked at */
		wr->iovcnt = 0;
	} else if (op->kind == SRP_OP_MESSAGE) {
		wr->iov[0] = (struct iovec){
		    .iov_base = base + c->message_idx * SRP_SEND_STRIDE, .iov_len = c->message_len};
	} else {
		struct srp_task *t = task_of(op);
		size_t len = srp_task_build_answer(t, &wr->solicited);
		wr->iov[0] =
		    (struct iovec){.iov_base = base + t->idx * SRP_SEND_STRIDE, .iov_len = len};
	}
}

/* False: the queue is dead. */
static bool
post(
    struct srp_chan *c, struct srp_op *op, const struct srp_wr *wrs, unsigned count, unsigned reads)
{
	ASSERT(count > 0 && count <= c->sq_free && reads <= c->reads_free);
	ASSERT(c->chain_count < c->conn->queue_max);
	if (c->ops->post(c->conn, wrs, count) < 0) {
		op->failed = true;
		srp_chan_end(c, "its queue failed", false);
		return false;
	}
	uint32_t at = (c->chain_head + c->chain_count++) % c->conn->queue_max;
	c->chains[at] =
	    (struct srp_chain){.op = op, .count = (uint16_t)count, .reads = (uint16_t)reads};
	c->sq_free -= count;
	c->reads_free -= reads;
	op->in_flight++;
	return true;
}

static unsigned
least(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

/* False: the rest waits. */
static bool
pump_send(struct srp_chan *c)
{
	struct srp_wr wrs[SRP_WR_CHAIN_MAX];
	struct srp_op *op = container_of(c->sends.next, struct srp_op, link);
	unsigned n = 0, cap = least(SRP_WR_CHAIN_MAX, c->sq_free);
	if (cap == 0 || (c->state == SRP_CHAN_LEAVING && op != &c->message))
		return false;
	while (n < cap && op->left > 0) {
		wrs[n].kind = SRP_WR_WRITE;
		fill(c, op, &wrs[n++]);
	}
	bool last = n < cap && op->left == 0;
	if (last) {
		fill_last(c, op, &wrs[n++]);
		list_remove(&op->link);
	}
	return post(c, op, wrs, n, 0);
}

static bool
pump_read(struct srp_chan *c)
{
	struct srp_wr wrs[SRP_WR_CHAIN_MAX];
	struct srp_op *op = container_of(c->reads.next, struct srp_op, link);
	unsigned n = 0, cap = least(least(SRP_WR_CHAIN_MAX, c->sq_free), c->reads_free);
	if (cap == 0)
		return false; /* CH-5 */
	while (n < cap && op->left > 0) {
		wrs[n].kind = SRP_WR_READ;
		fill(c, op, &wrs[n++]);
	}
	if (op->left == 0)
		list_remove(&op->link);
	return post(c, op, wrs, n, n);
}

void
srp_pump(struct srp_chan *c)
{
	while ((c->state == SRP_CHAN_LIVE || c->state == SRP_CHAN_LEAVING) &&
	       !list_empty(&c->sends) && pump_send(c))
		;
	while (c->state == SRP_CHAN_LIVE && !list_empty(&c->reads) && pump_read(c))
		;
}

/* ---- completions -------------------------------------------------------------------------------- */

static void
op_done(struct srp_chan *c, struct srp_op *op)
{
	op->busy = false;
	if (op == &c->probe)
		return;
	if (op != &c->message) {
		srp_cmd_op_done(task_of(op));
		return;
	}
	if (c->state == SRP_CHAN_LEAVING)
		srp_chan_check(c);
}

static void
chain_done(struct srp_chan *c, bool ok)
{
	ASSERT(c->chain_count > 0);
	struct srp_chain *ch = &c->chains[c->chain_head];
	struct srp_op *op = ch->op;
	c->chain_head = (c->chain_head + 1) % c->conn->queue_max;
	c->chain_count--;
	c->sq_free += ch->count;
	c->reads_free += ch->reads;
	ASSERT(op->in_flight > 0);
	op->in_flight--;
	if (!ok) {
		op->failed = true;
		list_remove(&op->link);
		srp_chan_end(c, "its queue failed", false);
	}
	if (op->in_flight == 0 && list_empty(&op->link))
		op_done(c, op);
}

void
srp_chan_sent(struct srp_conn *conn, bool ok)
{
	struct srp_chan *c = conn->user;
	c->last_ns = loop_now_ns(c->loop);
	chain_done(c, ok);
	srp_pump(c);
	srp_chan_check(c);
}

void
srp_chan_on_abandoned(struct srp_chan *c)
{
	c->abandoned = true;
	c->recv_posted = 0;
	while (c->chain_count > 0)
		chain_done(c, false);
	srp_chan_check(c);
}
