/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Changes, and what else goes down as it is. A change visits the shards of its range twice: before it
 * goes down it is registered and what is kept of its range is dropped; when it came back, what it wrote
 * is kept and it is no longer registered (RT-1, RT-3).
 */
#include "cache/ram/ram_priv.h"

#include <string.h>

static void visit_arrived(struct loop_msg *m);
static void op_next_waiting(struct rt_shard *s);

/* ---- visiting shards ------------------------------------------------------------------------ */

static void
visited_home(struct loop_msg *m)
{
	struct rt_op *op = container_of(m, struct rt_op, msg);
	op->visited(op);
}

void
rt_visit_next(struct rt_op *op)
{
	struct ram_tier *t = op->v->t;
	struct rt_shard *own = rt_own(t);
	if (op->mask == 0) {
		if (loop_is_current(op->loop)) {
			op->visited(op);
			return;
		}
		op->msg.run = visited_home;
		loop_send(op->loop, &op->msg);
		return;
	}
	if (op->mask & 1u << own->idx) {
		op->mask &= ~(1u << own->idx);
		op->visit(own, op);
		return;
	}
	op->msg.run = visit_arrived;
	loop_send(t->shards[__builtin_ctz(op->mask)].loop, &op->msg);
}

static void
visit_arrived(struct loop_msg *m)
{
	rt_visit_next(container_of(m, struct rt_op, msg));
}

/* Shards that have blocks of the op's range. */
static uint32_t
mask_of(const struct rt_op *op)
{
	const unsigned shift = RT_EXTENT_SHIFT - RT_FRAME_SHIFT;
	unsigned loops = op->v->t->loop_count;
	uint64_t first = op->first >> shift, last = op->last >> shift;
	if (last - first + 1 >= loops)
		return (uint32_t)((1ull << loops) - 1);
	uint32_t mask = 0;
	for (uint64_t e = first; e <= last; e++)
		mask |= 1u << e % loops;
	return mask;
}

/* ---- registering ---------------------------------------------------------------------------- */

static bool
meets(const struct rt_range *a, const struct rt_range *b)
{
	return a->v == b->v && a->first <= b->last && b->first <= a->last;
}

static bool
is_wide(const struct rt_range *r)
{
	return r->last > rt_extent_last(r->first);
}

static bool
any_meets(const struct list *changes, const struct rt_range *range)
{
	LIST_FOREACH (n, changes)
		if (meets(&container_of(n, struct rt_change, link)->range, range))
			return true;
	return false;
}

bool
rt_changing(struct rt_shard *s, const struct rt_range *range)
{
	return any_meets(&rt_bucket_of(s, range->first)->changes, range) ||
	       any_meets(&s->wide, range);
}

/* Which of two overlapping changes comes last is for the lower blk to know. */
static void
mark_overlaps(struct list *changes, struct rt_change *c)
{
	LIST_FOREACH (n, changes) {
		struct rt_change *o = container_of(n, struct rt_change, link);
		if (!meets(&o->range, &c->range))
			continue;
		o->overlapped = true;
		c->overlapped = true;
	}
}

static void
registered(struct rt_shard *s, struct rt_op *op)
{
	struct rt_change *c = &op->change[s->idx];
	c->range = (struct rt_range){op->v, op->first, op->last};
	c->overlapped = false;
	mark_overlaps(&s->wide, c);
	if (is_wide(&c->range)) {
		for (unsigned i = 0; i < RT_BUCKETS; i++)
			mark_overlaps(&s->buckets[i].changes, c);
		list_push_back(&s->wide, &c->link);
	} else {
		struct rt_bucket *b = rt_bucket_of(s, op->first);
		mark_overlaps(&b->changes, c);
		list_push_back(&b->changes, &c->link);
	}
	rt_fills_cancel(s, &c->range);
}

/* ---- dropping what is kept ------------------------------------------------------------------ */

static void drop_more(struct rt_shard *s, struct rt_op *op);

static void
drop_next_turn(struct loop_defer *d)
{
	struct rt_op *op = container_of(d, struct rt_op, defer);
	drop_more(rt_own(op->v->t), op);
}

static void
drop_pause(struct rt_shard *s, struct rt_op *op)
{
	loop_defer_init(&op->defer, drop_next_turn);
	loop_next_turn(s->loop, &op->defer);
}

/* Block by block, the shard's extents of the range. False: more remains for the next turn. */
static bool
drop_blocks(struct rt_shard *s, struct rt_op *op)
{
	unsigned steps = RT_TURN_STEPS;
	while (op->at <= op->last) {
		if (steps == 0)
			return false;
		if (rt_shard_of_block(s->t, op->at) != s) {
			op->at = rt_extent_last(op->at) + 1;
			continue;
		}
		steps--;
		uint32_t f = rt_lookup(s, rt_key(op->v, op->at++));
		if (f != RT_NIL)
			rt_frame_drop(s, f);
	}
	return true;
}

/* Frame by frame, for ranges with more blocks than there are frames. */
static bool
drop_frames(struct rt_shard *s, struct rt_op *op)
{
	uint64_t low = rt_key(op->v, op->first), high = rt_key(op->v, op->last);
	for (unsigned i = 0; i < RT_TURN_STEPS && op->at < s->fresh; i++, op->at++) {
		const struct rt_frame *fr = &s->frames[op->at];
		if (fr->state == RT_CACHED && fr->node.key >= low && fr->node.key <= high)
			rt_frame_drop(s, (uint32_t)op->at);
	}
	return op->at >= s->fresh;
}

static void
drop_more(struct rt_shard *s, struct rt_op *op)
{
	if (op->by_frame ? drop_frames(s, op) : drop_blocks(s, op))
		rt_visit_next(op);
	else
		drop_pause(s, op);
}

/* From here on nothing of the range is inserted by a fill: it may be dropped in several turns. */
static void
visit_accept(struct rt_shard *s, struct rt_op *op)
{
	registered(s, op);
	op->by_frame = op->last - op->first >= s->limit;
	op->at = op->by_frame ? 0 : op->first;
	drop_more(s, op);
}

/* ---- keeping what was written --------------------------------------------------------------- */

static void
keep_block(struct rt_shard *s, const struct rt_op *op, uint64_t block)
{
	uint32_t f = rt_frame_get(s);
	if (f == RT_NIL)
		return;
	uint64_t at = (block << RT_FRAME_SHIFT) - op->io.offset_bytes;
	blk_sg_copy_out(op->io.sg, at, rt_mem(s, f), RT_FRAME_BYTES);
	rt_frame_insert(s, f, rt_key(op->v, block), POLICY_S3_DEMAND);
	rt_frame_unref(s, f);
	RT_COUNT(s, op->v, write_fills, 1);
	if (s->mrc != NULL)
		policy_mrc_access(s->mrc, rt_key(op->v, block), POLICY_MRC_WRITE);
}

static void
visit_settle(struct rt_shard *s, struct rt_op *op)
{
	struct rt_change *c = &op->change[s->idx];
	bool keep = op->io.op == BLK_WRITE && op->result == 0 && !c->overlapped &&
	            op->io.len_bytes <= RT_WRITE_FILL_BYTES && op->v->per_loop[s->idx].cfg.enabled;
	list_remove(&c->link);
	if (keep) {
		uint64_t first = (op->io.offset_bytes + RT_FRAME_BYTES - 1) >> RT_FRAME_SHIFT;
		uint64_t end = (op->io.offset_bytes + op->io.len_bytes) >> RT_FRAME_SHIFT;
		for (uint64_t b = first; b < end && b < RT_BLOCK_MAX; b++)
			if (rt_shard_of_block(s->t, b) == s)
				keep_block(s, op, b);
	}
	rt_visit_next(op);
}

/* ---- requests ------------------------------------------------------------------------------- */

size_t
rt_op_bytes(const struct ram_tier *t)
{
	return sizeof(struct rt_op) + t->loop_count * sizeof(struct rt_change);
}

static void
op_end(struct rt_op *op)
{
	struct rt_shard *s = rt_own(op->v->t);
	struct blk_io *outer = op->outer;
	int result = op->result;
	outer->extent_count = op->io.extent_count;
	pool_put(&s->op_pool, op);
	op_next_waiting(s);
	blk_complete(outer, result);
}

static void
pass_done(struct blk_io *io)
{
	struct rt_op *op = container_of(io, struct rt_op, io);
	op->result = io->result;
	op_end(op);
}

static void
change_done(struct blk_io *io)
{
	struct rt_op *op = container_of(io, struct rt_op, io);
	op->result = io->result;
	op->mask = mask_of(op);
	op->visit = visit_settle;
	op->visited = op_end;
	rt_visit_next(op);
}

static void
accepted(struct rt_op *op)
{
	blk_submit(op->v->lower, &op->io);
}

static bool
changes(const struct blk_io *io)
{
	return io->op == BLK_WRITE || io->op == BLK_UNMAP || io->op == BLK_WRITE_ZEROES;
}

static void
op_start(struct rt_shard *s, struct ram_volume *v, struct blk_io *io)
{
	struct rt_op *op = pool_get(&s->op_pool);
	if (op == NULL) {
		list_push_back(&s->op_waiting, &io->link);
		return;
	}
	op->v = v;
	op->outer = io;
	op->loop = s->loop;
	op->io = (struct blk_io){.op = io->op,
	    .flags = io->flags,
	    .offset_bytes = io->offset_bytes,
	    .len_bytes = io->len_bytes,
	    .sg = io->sg,
	    .extents = io->extents,
	    .extent_cap = io->extent_cap,
	    .done = pass_done};
	if (!changes(io)) {
		blk_submit(v->lower, &op->io);
		return;
	}
	op->io.done = change_done;
	op->first = io->offset_bytes >> RT_FRAME_SHIFT;
	op->last = (io->offset_bytes + io->len_bytes - 1) >> RT_FRAME_SHIFT;
	op->mask = mask_of(op);
	op->visit = visit_accept;
	op->visited = accepted;
	rt_visit_next(op);
}

static void
op_next_waiting(struct rt_shard *s)
{
	struct list *n = list_pop_front(&s->op_waiting);
	if (n == NULL)
		return;
	struct blk_io *io = container_of(n, struct blk_io, link);
	op_start(s, container_of(io->blk, struct ram_volume, b), io);
}

void
rt_pass(struct rt_shard *s, struct ram_volume *v, struct blk_io *io)
{
	op_start(s, v, io);
}

void
rt_change(struct rt_shard *s, struct ram_volume *v, struct blk_io *io)
{
	op_start(s, v, io);
}

/* ---- a drop of what is kept of a volume -------------------------------------------------------- */

static void
drop_accepted(struct rt_op *op)
{
	op->mask = mask_of(op);
	op->visit = visit_settle;
	op->visited = op->dropped;
	rt_visit_next(op);
}

void
rt_drop(struct rt_op *op, uint64_t first, uint64_t last)
{
	op->loop = op->v->t->shards[0].loop;
	op->first = first;
	op->last = last;
	op->io.op = BLK_FLUSH; /* nothing that could be kept */
	op->result = 0;
	op->mask = mask_of(op);
	op->visit = visit_accept;
	op->visited = drop_accepted;
	rt_visit_next(op);
}

void
rt_visit_all(struct rt_op *op)
{
	op->first = 0;
	op->last = RT_BLOCK_MAX - 1;
	op->mask = mask_of(op);
	rt_visit_next(op);
}
