/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Fills: reads of the lower blk into frames, on the loop that owns the extent. Whoever needs a block
 * that is being read anyway joins: it takes a reference on the frame and waits for the fill.
 */
#include "cache/ram/ram_priv.h"

#include <errno.h>
#include <string.h>

static bool
meets(const struct rt_fill *f, const struct rt_range *r)
{
	return f->v == r->v && f->first <= r->last && r->first < f->first + f->count;
}

static uint32_t
fill_index(const struct rt_shard *s, const struct rt_fill *f)
{
	return (uint32_t)((size_t)((const char *)f - s->fill_pool.base) / s->fill_pool.obj_bytes);
}

struct rt_fill *
rt_fill_of(const struct rt_shard *s, uint32_t f)
{
	ASSERT(s->frames[f].state == RT_FILLING);
	return (struct rt_fill *)(void *)(s->fill_pool.base +
	                                  s->fill_pool.obj_bytes * s->frames[f].next);
}

struct rt_fill *
rt_fill_find(struct rt_shard *s, const struct ram_volume *v, uint64_t block)
{
	struct rt_range r = {(struct ram_volume *)(uintptr_t)v, block, block};
	LIST_FOREACH (n, &rt_bucket_of(s, block)->fills) {
		struct rt_fill *f = container_of(n, struct rt_fill, link);
		if (f->keep && meets(f, &r))
			return f;
	}
	return NULL;
}

static void
cancel_in(struct rt_bucket *b, const struct rt_range *range)
{
	LIST_FOREACH (n, &b->fills) {
		struct rt_fill *f = container_of(n, struct rt_fill, link);
		if (meets(f, range))
			f->keep = false;
	}
}

void
rt_fills_cancel(struct rt_shard *s, const struct rt_range *range)
{
	const unsigned shift = RT_EXTENT_SHIFT - RT_FRAME_SHIFT;
	uint64_t extents = (range->last >> shift) - (range->first >> shift) + 1;
	if (extents >= RT_BUCKETS) {
		for (unsigned i = 0; i < RT_BUCKETS; i++)
			cancel_in(&s->buckets[i], range);
		return;
	}
	for (uint64_t i = 0; i < extents; i++) {
		uint64_t block = range->first + (i << shift);
		if (rt_shard_of_block(s->t, block) == s)
			cancel_in(rt_bucket_of(s, block), range);
	}
}

/* ---- the end -------------------------------------------------------------------------------- */

static void
wake(struct rt_fill *f)
{
	struct list waiters = LIST_INIT(waiters);
	list_splice_back(&waiters, &f->waiters);
	for (struct list *n; (n = list_pop_front(&waiters)) != NULL;)
		rt_miss_continue(container_of(n, struct rt_miss, link));
}

static void
settle_frame(struct rt_fill *f, uint32_t i, bool ok)
{
	struct rt_shard *s = f->s;
	uint32_t n = f->frames[i];
	if (ok && f->keep && n < s->limit)
		rt_frame_insert(s, n, rt_key(f->v, f->first + i), f->kind);
	else
		s->frames[n].state = ok ? RT_HELD : RT_BAD;
	rt_frame_unref(s, n);
}

static void
fill_end(struct rt_fill *f, int result)
{
	struct rt_shard *s = f->s;
	struct ram_volume *v = f->v;
	list_remove(&f->link);
	for (uint32_t i = f->count; i-- > 0;)
		settle_frame(f, i, result == 0);
	if (result == 0 && f->keep)
		RT_COUNT(s, v, fills, f->count);
	else if (result == 0)
		rt_count(&s->n.fills_cancelled, f->count);
	if (f->is_spare)
		s->spare_busy -= f->count;
	wake(f);
	pool_put(&s->fill_pool, f);
	v->per_loop[s->idx].fills--;
	rt_volume_idle(v, s);
}

static void
fill_done(struct blk_io *io)
{
	struct rt_fill *f = container_of(io, struct rt_fill, io);
	uint64_t got = f->sg.len_bytes, whole = (uint64_t)f->count << RT_FRAME_SHIFT;
	/* Beyond the end of the lower blk nothing is read: no rest of other data stays there. */
	if (io->result == 0 && f->keep && got < whole) {
		uint32_t tail = RT_FRAME_BYTES - (uint32_t)(whole - got);
		memset(rt_mem(f->s, f->frames[f->count - 1]) + tail, 0, whole - got);
	}
	fill_end(f, io->result);
}

static void
fill_failed(struct loop_defer *d)
{
	fill_end(container_of(d, struct rt_fill, fail), -EIO);
}

/* ---- the begin ------------------------------------------------------------------------------ */

/* Frames for the fill; its count is how many there were. */
static void
take_frames(struct rt_fill *f, const struct rt_fill_args *args)
{
	struct rt_shard *s = f->s;
	for (f->count = 0; f->count < args->count; f->count++) {
		if (args->is_spare && s->spare_busy == s->spare_max)
			break;
		uint32_t n = rt_frame_get(s);
		ASSERT(n != RT_NIL); /* RT-5 */
		s->spare_busy += args->is_spare;
		s->frames[n].state = RT_FILLING;
		s->frames[n].next = fill_index(s, f);
		f->frames[f->count] = n;
		if (args->frames == NULL)
			continue;
		rt_frame_ref(s, n);
		args->frames[f->count] = n;
	}
}

static void
list_frames(struct rt_fill *f, uint64_t from, uint64_t to)
{
	blk_sg_init(&f->sg);
	f->sg.loop = f->s->loop;
	f->sg.iov = f->iov;
	f->sg.iovcap = RT_EXTENT_BLOCKS; /* never put: the array is the fill's */
	for (uint32_t i = 0; i < f->count; i++) {
		uint64_t at = (f->first + i) << RT_FRAME_SHIFT;
		uint64_t lo = from > at ? from - at : 0;
		uint64_t hi = to < at + RT_FRAME_BYTES ? to - at : RT_FRAME_BYTES;
		blk_sg_append(&f->sg, rt_mem(f->s, f->frames[i]) + lo, hi - lo);
	}
}

/* What the fill asks of the lower blk. False: the blk has shrunk, and there is nothing to ask for. */
static bool
place_io(struct rt_fill *f, const struct rt_fill_args *args)
{
	const struct blk_info *info = blk_get_info(f->v->lower);
	uint64_t size = __atomic_load_n(&info->size_bytes, __ATOMIC_RELAXED);
	uint64_t from = args->to != 0 ? args->from : f->first << RT_FRAME_SHIFT;
	uint64_t to = args->to != 0 ? args->to : (f->first + f->count) << RT_FRAME_SHIFT;
	if (args->to != 0 ? size < to : size <= (f->first + f->count - 1) << RT_FRAME_SHIFT)
		return false;
	to = to < size ? to : size;
	list_frames(f, from, to);
	bool is_scan = args->kind == POLICY_S3_SCAN || args->kind == POLICY_S3_SCAN_AHEAD;
	bool fills = !is_scan && !f->v->per_loop[f->s->idx].cfg.lower_keeps_none;
	f->io = (struct blk_io){.op = BLK_READ,
	    .flags = (fills ? 0 : BLK_NO_FILL) | (args->is_quiet ? BLK_QUIET : 0),
	    .offset_bytes = from,
	    .len_bytes = to - from,
	    .sg = &f->sg,
	    .done = fill_done};
	return true;
}

uint32_t
rt_fill_start(struct rt_shard *s, const struct rt_fill_args *args)
{
	ASSERT(args->count > 0 && args->count <= RT_EXTENT_BLOCKS);
	struct rt_fill *f = pool_get(&s->fill_pool);
	ASSERT(f != NULL); /* each holds a frame at least, and there are as many as frames */
	f->s = s;
	f->v = args->v;
	f->first = args->first;
	f->kind = args->kind;
	f->is_spare = args->is_spare;
	take_frames(f, args);
	if (f->count == 0) {
		pool_put(&s->fill_pool, f);
		return 0;
	}
	struct rt_range r = {args->v, args->first, args->first + f->count - 1};
	f->keep = args->keep && args->v->per_loop[s->idx].cfg.enabled && !rt_changing(s, &r);
	list_init(&f->waiters);
	list_push_back(&rt_bucket_of(s, f->first)->fills, &f->link);
	f->v->per_loop[s->idx].fills++;
	if (place_io(f, args)) {
		blk_submit(f->v->lower, &f->io);
	} else {
		loop_defer_init(&f->fail, fill_failed);
		loop_defer(s->loop, &f->fail);
	}
	return f->count;
}

/* ---- read-ahead ----------------------------------------------------------------------------- */

void
rt_ahead_run(struct rt_shard *s, const struct rt_range *range, enum policy_s3_kind kind)
{
	struct ram_volume *v = range->v;
	uint64_t block = range->first;
	while (block <= range->last) {
		uint64_t end = block;
		while (end <= range->last && rt_lookup(s, rt_key(v, end)) == RT_NIL &&
		       rt_fill_find(s, v, end) == NULL)
			end++;
		if (end == block) {
			block++;
			continue;
		}
		struct rt_range run = {v, block, end - 1};
		if (rt_changing(s, &run))
			return;
		struct rt_fill_args args = {.v = v,
		    .first = block,
		    .count = (uint32_t)(end - block),
		    .kind = kind,
		    .keep = true,
		    .is_spare = true};
		uint32_t n = rt_fill_start(s, &args);
		RT_COUNT(s, v, ahead, n);
		if (n < end - block)
			return;
		block = end;
	}
}

static void
ahead_home(struct loop_msg *m)
{
	struct rt_ahead *a = container_of(m, struct rt_ahead, msg);
	struct ram_volume *v = a->range.v;
	struct rt_shard *s = rt_own(v->t);
	pool_put(&s->ahead_pool, a);
	v->per_loop[s->idx].ahead_out--;
	rt_volume_idle(v, s);
}

static void
ahead_arrived(struct loop_msg *m)
{
	struct rt_ahead *a = container_of(m, struct rt_ahead, msg);
	rt_ahead_run(rt_own(a->range.v->t), &a->range, a->kind);
	a->msg.run = ahead_home;
	loop_send(a->loop, &a->msg);
}

void
rt_ahead(struct rt_shard *s, const struct rt_range *range, enum policy_s3_kind kind)
{
	struct ram_volume *v = range->v;
	for (uint64_t first = range->first; first <= range->last;) {
		uint64_t last = rt_extent_last(first);
		last = last < range->last ? last : range->last;
		struct rt_range part = {v, first, last};
		struct rt_shard *owner = rt_shard_of_block(s->t, first);
		first = last + 1;
		if (owner == s) {
			rt_ahead_run(s, &part, kind);
			continue;
		}
		struct rt_ahead *a = pool_get(&s->ahead_pool);
		if (a == NULL)
			return; /* the reader will find it missing, no more */
		a->range = part;
		a->kind = kind;
		a->loop = s->loop;
		v->per_loop[s->idx].ahead_out++;
		a->msg.run = ahead_arrived;
		loop_send(owner->loop, &a->msg);
	}
}
