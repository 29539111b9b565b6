/* SPDX-License-Identifier: BSD-2-Clause */
/* Volumes: opening, profiles, the lower blk's events, and the end. */
#include "cache/ram/ram_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct drop_waiter {
	struct list link;
	ram_done_fn *done;
	void *ctx;
};

static void close_begin(struct ram_volume *v);

static struct ram_volume *
volume_of(struct blk *b)
{
	return container_of(b, struct ram_volume, b);
}

static struct loop *
home(const struct ram_volume *v)
{
	return v->t->shards[0].loop;
}

/* ---- dropping ------------------------------------------------------------------------------- */

static void
request_drop_of(struct ram_volume *v, uint64_t first, uint64_t last)
{
	if (!v->drop_again || first < v->drop_first)
		v->drop_first = first;
	if (!v->drop_again || last > v->drop_last)
		v->drop_last = last;
	v->drop_again = true;
	if (!v->is_dropping && !loop_defer_queued(&v->drop_defer))
		loop_defer(home(v), &v->drop_defer);
}

static void
request_drop(struct ram_volume *v)
{
	request_drop_of(v, 0, RT_BLOCK_MAX - 1);
}

static uint64_t
size_of(const struct blk *b)
{
	return __atomic_load_n(&blk_get_info(b)->size_bytes, __ATOMIC_RELAXED);
}

/* Nothing from before the events is kept: they may be passed on. */
static void
pass_events(struct ram_volume *v)
{
	if (v->size_changed) {
		v->size_changed = false;
		blk_set_size(&v->b, size_of(v->lower));
		blk_raise(&v->b, BLK_EVENT_SIZE);
	}
	if (blk_get_state(&v->b) == BLK_GONE && blk_get_state(v->lower) == BLK_OK) {
		blk_set_state(&v->b, BLK_OK);
		blk_raise(&v->b, BLK_EVENT_BACK);
	}
}

static void
drop_done(struct rt_op *op)
{
	struct ram_volume *v = op->v;
	struct list waiters = LIST_INIT(waiters);
	v->is_dropping = false;
	list_splice_back(&waiters, &v->drop_now);
	if (v->drop_again)
		request_drop_of(v, v->drop_first, v->drop_last);
	else if (v->is_closing)
		close_begin(v);
	else
		pass_events(v);
	for (struct list *n; (n = list_pop_front(&waiters)) != NULL;) {
		struct drop_waiter *w = container_of(n, struct drop_waiter, link);
		w->done(w->ctx, 0);
		free(w);
	}
}

static void
drop_run(struct loop_defer *d)
{
	struct ram_volume *v = container_of(d, struct ram_volume, drop_defer);
	ASSERT(!v->is_dropping);
	v->is_dropping = true;
	v->drop_again = false;
	list_splice_back(&v->drop_now, &v->drop_next);
	v->drop->dropped = drop_done;
	rt_drop(v->drop, v->drop_first, v->drop_last);
}

static void
drop_wait(struct ram_volume *v, uint64_t first, uint64_t last, ram_done_fn *done, void *ctx)
{
	ASSERT(loop_is_current(home(v)) && !v->is_closing);
	struct drop_waiter *w = malloc(sizeof *w);
	ASSERT(w != NULL); /* as the kernel does it: who can't have this has been killed */
	*w = (struct drop_waiter){.done = done, .ctx = ctx};
	list_push_back(&v->drop_next, &w->link);
	request_drop_of(v, first, last);
}

void
ram_volume_drop(struct ram_volume *v, ram_done_fn *done, void *ctx)
{
	drop_wait(v, 0, RT_BLOCK_MAX - 1, done, ctx);
}

void
ram_volume_drop_range(
    struct ram_volume *v, uint64_t from_bytes, uint64_t bytes, ram_done_fn *done, void *ctx)
{
	uint64_t left = UINT64_MAX - from_bytes, first = from_bytes >> RT_FRAME_SHIFT;
	uint64_t end = bytes > 0 ? from_bytes + (bytes - 1 < left ? bytes - 1 : left) : from_bytes;
	uint64_t last = end >> RT_FRAME_SHIFT;
	if (first >= RT_BLOCK_MAX)
		first = RT_BLOCK_MAX - 1;
	if (last >= RT_BLOCK_MAX)
		last = RT_BLOCK_MAX - 1;
	drop_wait(v, first, last, done, ctx);
}

static void
lower_event(void *ctx, enum blk_event ev)
{
	struct ram_volume *v = ctx;
	uint64_t size = size_of(v->lower), was = size_of(&v->b);
	switch (ev) {
	case BLK_EVENT_SIZE:
		v->size_changed = true;
		if (size < was)
			blk_set_size(&v->b, size);
		if (size <= was)
			break;
		/* What is kept stays as it was, but for a block within which it ended. */
		request_drop_of(v, was >> RT_FRAME_SHIFT, RT_BLOCK_MAX - 1);
		return;
	case BLK_EVENT_GONE:
		blk_set_state(&v->b, BLK_GONE);
		blk_raise(&v->b, BLK_EVENT_GONE);
		break;
	default:
		break;
	}
	request_drop(v);
}

/* ---- profiles ------------------------------------------------------------------------------- */

static void
set_hop(struct loop_msg *m)
{
	struct ram_volume *v = container_of(m, struct ram_volume, set_msg);
	if (v->set_at < v->t->loop_count) {
		v->per_loop[v->set_at].cfg = v->cfg_travelling;
		v->set_at++;
		loop_send(v->t->shards[v->set_at % v->t->loop_count].loop, &v->set_msg);
		return;
	}
	v->is_setting = false;
	if (v->set_again)
		ram_volume_set(v, &v->cfg_wanted);
	else if (!v->cfg_travelling.enabled)
		request_drop(v);
	else if (v->is_closing && !v->is_dropping && !v->drop_again)
		close_begin(v);
}

void
ram_volume_set(struct ram_volume *v, const struct ram_volume_cfg *cfg)
{
	ASSERT(loop_is_current(home(v)));
	v->cfg_wanted = *cfg;
	v->set_again = v->is_setting;
	if (v->is_setting)
		return;
	v->is_setting = true;
	v->cfg_travelling = v->cfg_wanted;
	v->set_at = 0;
	v->set_msg.run = set_hop;
	loop_send(home(v), &v->set_msg);
}

void
ram_volume_follow(struct ram_volume *v)
{
	ASSERT(loop_current() == NULL || loop_is_current(home(v)));
	uint32_t caps = __atomic_load_n(&blk_get_info(v->lower)->caps, __ATOMIC_RELAXED);
	__atomic_store_n(&v->b.info.caps, caps, __ATOMIC_RELAXED);
}

/* ---- the block device ----------------------------------------------------------------------- */

static void
submit(struct blk *b, struct blk_io *io)
{
	struct ram_volume *v = volume_of(b);
	struct rt_shard *s = &v->t->shards[blk_loop_idx(b, io->loop)];
	switch (io->op) {
	case BLK_READ:
		rt_read(s, v, io);
		break;
	case BLK_WRITE:
	case BLK_UNMAP:
	case BLK_WRITE_ZEROES:
		rt_change(s, v, io);
		break;
	default:
		rt_pass(s, v, io);
		break;
	}
}

static void
close_never(struct blk *b)
{
	(void)b;
	ASSERT(false && "ram_volume_close() closes it");
}

static void
watched(struct blk *b)
{
	struct ram_volume *v = volume_of(b);
	blk_set_events(v->lower, lower_event, v);
}

static const struct blk *
below(const struct blk *b)
{
	return ((const struct ram_volume *)(const void *)b)->lower; /* `b` is its first */
}

static const struct blk_ops ram_volume_ops = {
    .name = "ram tier",
    .below = below,
    .submit = submit,
    .sg_get = rt_sg_get,
    .close = close_never,
    .watched = watched,
};

struct blk *
ram_volume_blk(struct ram_volume *v)
{
	return &v->b;
}

/* ---- open and close ------------------------------------------------------------------------- */

static void
volume_free(struct ram_volume *v)
{
	if (v->t != NULL && v->t->by_id[v->id] == v)
		v->t->by_id[v->id] = NULL;
	free(v->per_loop);
	free(v->drop);
	free(v);
}

/* An id that no open volume has; what a closed one left was dropped. */
static bool
take_id(struct ram_volume *v)
{
	struct ram_tier *t = v->t;
	for (uint32_t i = 0; i < RT_VOLUME_IDS; i++) {
		v->id = t->next_id++ % RT_VOLUME_IDS;
		if (t->by_id[v->id] == NULL) {
			t->by_id[v->id] = v;
			return true;
		}
	}
	return false;
}

int
ram_volume_open(struct ram_tier *t, struct blk *lower, const struct ram_volume_cfg *cfg,
    struct ram_volume **ret)
{
	ASSERT(loop_current() == NULL || loop_is_current(t->shards[0].loop));
	ASSERT(lower->loop_count == t->loop_count && lower->loops[0] == t->shards[0].loop);
	struct ram_volume *v = calloc(1, sizeof *v);
	if (v == NULL)
		return -ENOMEM;
	size_t bytes = t->loop_count * sizeof *v->per_loop;
	v->per_loop = aligned_alloc(_Alignof(struct rt_volume_loop), bytes);
	v->drop = calloc(1, rt_op_bytes(t));
	struct blk_open_args args = {.loops = lower->loops, .loop_count = lower->loop_count};
	v->t = t;
	if (v->per_loop == NULL || v->drop == NULL || !take_id(v) ||
	    blk_init(&v->b, &ram_volume_ops, blk_get_info(lower), blk_get_name(lower), &args) < 0) {
		volume_free(v);
		return -ENOMEM;
	}
	memset(v->per_loop, 0, bytes);
	for (unsigned i = 0; i < t->loop_count; i++)
		v->per_loop[i].cfg = *cfg;
	v->lower = lower;
	v->drop->v = v;
	blk_set_state(&v->b, blk_get_state(lower));
	list_init(&v->drop_now);
	list_init(&v->drop_next);
	loop_defer_init(&v->drop_defer, drop_run);
	list_push_back(&t->volumes, &v->link);
	blk_set_events(lower, lower_event, v);
	*ret = v;
	return 0;
}

void
ram_volume_discard(struct ram_volume *v)
{
	if (v == NULL)
		return;
	struct blk_stats s;
	blk_get_stats(&v->b, &s);
	for (unsigned op = 0; op < BLK_OP_COUNT; op++)
		ASSERT(s.ops[op] == 0);
	ASSERT(s.in_flight == 0 && !v->is_dropping && !v->drop_again && !v->is_setting);
	blk_set_events(v->lower, NULL, NULL);
	list_remove(&v->link);
	blk_fini(&v->b);
	volume_free(v);
}

void
rt_volume_idle(struct ram_volume *v, struct rt_shard *s)
{
	struct rt_volume_loop *l = &v->per_loop[s->idx];
	struct rt_op *op = l->waiting;
	if (op == NULL || l->fills > 0 || l->ahead_out > 0)
		return;
	l->waiting = NULL;
	rt_visit_next(op);
}

static void
visit_idle(struct rt_shard *s, struct rt_op *op)
{
	policy_streams_forget(s->streams, op->v->id);
	op->v->per_loop[s->idx].waiting = op;
	rt_volume_idle(op->v, s);
}

static void
close_end(struct rt_op *op)
{
	struct ram_volume *v = op->v;
	ram_done_fn *done = v->close_done;
	void *ctx = v->close_ctx;
	for (unsigned i = 0; i < v->t->loop_count; i++)
		ASSERT(v->per_loop[i].n.kept == 0);
	list_remove(&v->link);
	blk_fini(&v->b);
	volume_free(v);
	done(ctx, 0);
}

static void
close_dropped(struct rt_op *op)
{
	op->visit = visit_idle;
	op->visited = close_end;
	rt_visit_all(op);
}

static void
close_quiet(struct rt_op *op)
{
	op->dropped = close_dropped;
	rt_drop(op, 0, RT_BLOCK_MAX - 1);
}

/* No more is asked of it: first what was asked ahead comes to its shards, then all is dropped, then
 * what was being read has been. */
static void
close_begin(struct ram_volume *v)
{
	if (v->is_setting)
		return; /* comes back here */
	v->drop->loop = home(v);
	v->drop->visit = visit_idle;
	v->drop->visited = close_quiet;
	rt_visit_all(v->drop);
}

void
ram_volume_close(struct ram_volume *v, ram_done_fn *done, void *ctx)
{
	ASSERT(loop_is_current(home(v)) && !v->is_closing);
	struct blk_stats s;
	blk_get_stats(&v->b, &s);
	ASSERT(s.in_flight == 0);
	blk_set_events(v->lower, NULL, NULL);
	v->b.event = NULL;
	v->is_closing = true;
	v->close_done = done;
	v->close_ctx = ctx;
	request_drop(v); /* its end begins the close: not within this call */
}

void
ram_volume_get_stats(const struct ram_volume *v, struct ram_volume_stats *ret)
{
	*ret = (struct ram_volume_stats){0};
	for (unsigned i = 0; i < v->t->loop_count; i++) {
		const struct rt_volume_loop *l = &v->per_loop[i];
#define SUM(field) ret->field += __atomic_load_n(&l->n.field, __ATOMIC_RELAXED)
		SUM(hits);
		SUM(misses);
		SUM(kept);
		SUM(fills);
		SUM(write_fills);
		SUM(evicted);
		SUM(dropped);
		SUM(ahead);
		SUM(ahead_used);
		SUM(ahead_wasted);
#undef SUM
	}
}
