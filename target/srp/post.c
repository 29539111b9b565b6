/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The send queue: operations are cut into requests, posted in chains, and reported in order. What a turn
 * of the loop has to post goes out in one chain, as far as it fits: to post costs a system call or a
 * doorbell, and a completion, however much is posted.
 */
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

/* A chain in the making: requests, and whose they are. */
struct batch {
	struct srp_wr wrs[SRP_WR_CHAIN_MAX];
	struct srp_chain parts[SRP_WR_CHAIN_MAX];
	unsigned count, part_count;
};

static void
part_of(struct batch *b, struct srp_op *op, unsigned from)
{
	ASSERT(b->count > from && b->part_count < SRP_WR_CHAIN_MAX);
	b->parts[b->part_count++] =
	    (struct srp_chain){.op = op, .count = (uint16_t)(b->count - from)};
}

/* False: the queue is dead. */
static bool
post(struct srp_chan *c, struct batch *b, bool reads)
{
	ASSERT(b->count > 0 && b->count <= c->sq_free);
	ASSERT(c->chain_count + b->part_count <= c->conn->queue_max);
	if (c->ops->post(c->conn, b->wrs, b->count) < 0) {
		for (unsigned i = 0; i < b->part_count; i++)
			b->parts[i].op->failed = true;
		srp_chan_end(c, "its queue failed", false);
		return false;
	}
	b->parts[b->part_count - 1].last = true;
	for (unsigned i = 0; i < b->part_count; i++) {
		struct srp_chain *p = &b->parts[i];
		if (reads)
			p->reads = p->count;
		p->op->in_flight++;
		c->chains[(c->chain_head + c->chain_count++) % c->conn->queue_max] = *p;
	}
	c->sq_free -= b->count;
	if (reads)
		c->reads_free -= b->count;
	return true;
}

static unsigned
least(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

/* Of the first operation of the sends, what there is room for. False: nothing more goes into the chain. */
static bool
add_send(struct srp_chan *c, struct batch *b, unsigned cap)
{
	unsigned from = b->count;
	if (list_empty(&c->sends) || b->count == cap)
		return false;
	struct srp_op *op = container_of(c->sends.next, struct srp_op, link);
	if (c->state != SRP_CHAN_LIVE && (c->state != SRP_CHAN_LEAVING || op != &c->message))
		return false;
	while (b->count < cap && op->left > 0) {
		b->wrs[b->count].kind = SRP_WR_WRITE;
		fill(c, op, &b->wrs[b->count++]);
	}
	bool whole = b->count < cap;
	if (whole) {
		fill_last(c, op, &b->wrs[b->count++]);
		list_remove(&op->link);
	}
	part_of(b, op, from);
	return whole;
}

static bool
add_read(struct srp_chan *c, struct batch *b, unsigned cap)
{
	unsigned from = b->count;
	if (list_empty(&c->reads) || b->count == cap || c->state != SRP_CHAN_LIVE)
		return false;
	struct srp_op *op = container_of(c->reads.next, struct srp_op, link);
	while (b->count < cap && op->left > 0) {
		b->wrs[b->count].kind = SRP_WR_READ;
		fill(c, op, &b->wrs[b->count++]);
	}
	if (op->left == 0)
		list_remove(&op->link);
	part_of(b, op, from);
	return true;
}

/* False: there is nothing to post, or no room. */
static bool
pump_sends(struct srp_chan *c)
{
	struct batch b;
	b.count = b.part_count = 0;
	while (add_send(c, &b, least(SRP_WR_CHAIN_MAX, c->sq_free)))
		;
	return b.count > 0 && post(c, &b, false);
}

static bool
pump_reads(struct srp_chan *c)
{
	struct batch b;
	b.count = b.part_count = 0;
	/* CH-5 */
	while (add_read(c, &b, least(least(SRP_WR_CHAIN_MAX, c->sq_free), c->reads_free)))
		;
	return b.count > 0 && post(c, &b, true);
}

void
srp_pump(struct srp_chan *c)
{
	c->gathered = 0;
	loop_defer_cancel(&c->pump_defer);
	while (pump_sends(c))
		;
	while (pump_reads(c))
		;
}

static void
on_pump(struct loop_defer *d)
{
	srp_pump(container_of(d, struct srp_chan, pump_defer));
}

void
srp_pump_init(struct srp_chan *c)
{
	loop_defer_init(&c->pump_defer, on_pump);
}

void
srp_pump_soon(struct srp_chan *c)
{
	if (++c->gathered >= SRP_WR_CHAIN_MAX)
		srp_pump(c);
	else if (!loop_defer_queued(&c->pump_defer))
		loop_defer(c->loop, &c->pump_defer);
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
	bool last;
	do {
		ASSERT(c->chain_count > 0);
		last = c->chains[c->chain_head].last;
		chain_done(c, ok);
	} while (!last);
	if (!list_empty(&c->sends) || !list_empty(&c->reads))
		srp_pump_soon(c);
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
