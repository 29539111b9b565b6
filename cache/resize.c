/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The SSD becomes larger, or is to become smaller, while it is used [24]. What is there stays where it is: segments
 * come or go at the end. The superblocks say which there are, a checkpoint's header which of these it covers; one
 * that it doesn't cover is free, whatever lies there. So at each instant what both say together is right:
 *
 *	larger   slots of the new segments wiped, durable ─▶ superblocks: there are more ─▶ a checkpoint covers them
 *	         ─▶ they may be opened
 *	smaller  nothing is opened beyond the end any more, what is dirty there is copied to the G stream, what is
 *	         clean dropped, a checkpoint frees them ─▶ a checkpoint doesn't cover them any more
 *	         ─▶ superblocks: there are fewer ─▶ whoever asked for it may cut the device
 *
 * A crash before the superblocks of the one leaves it as small as it was, and before those of the other as large: begun
 * anew, it does the same again. Between superblocks and checkpoint nothing is in the segments that aren't covered.
 * Their generations go on above all that ever were there, so that what is left of an earlier time, or comes back with a
 * file system's copy, is never taken for theirs [6].
 */
#include "cache/cache_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define WIPE_BLOCKS 256u           /* at once */
#define PATIENCE_NS 60000000000ull /* without getting on with emptying */

enum step {
	NONE,
	WIPE,
	GROW_SUPER,
	GROW_CHECKPOINT,
	EMPTY,
	FEATURE, /* the superblocks say that headers tell what they cover */
	UNCOVER,
	SHRINK_SUPER,
};

uint64_t
cache_resize_generation(const struct cache *c, bool now)
{
	if (MUTANT(GROW_OLD_GENERATION))
		return 0;
	/* A segment is opened less than 2^32 times between two superblocks, or given up once (loss.c). */
	return (c->super.generation + (now || MUTANT(GROW_SAME_GENERATION) ? 0 : 1)) << 32;
}

/* The cache ends: what has begun does so at its next step. */
static bool
is_stopping(const struct cache *c)
{
	return c->stopping || c->resize.stop;
}

void
cache_resize_stop(struct cache *c)
{
	c->resize.stop = true;
}

uint32_t
cache_resize_covers(const struct cache *c)
{
	return c->resize.covers != 0 ? c->resize.covers : c->geo.segment_count;
}

/* ---- whether it can be ----------------------------------------------------------------------------------- */

/* Blocks that the store lacks, and records of zeros. */
static uint64_t
dirty_units(const struct cache *c)
{
	uint64_t n = 0;
	for (uint32_t i = 0; i < c->geo.segment_count; i++)
		n += c->segs[i].dirty;
	return n;
}

/* What it would become. 0, or as cache_resize_check(). */
static int
look(const struct cache *c, uint64_t size_bytes, struct cache_geometry *ret)
{
	/* Packed places in memory have a bit less (pack.c). */
	uint32_t most = c->loc_packed != 0 ? (LOC_PACKED - 1) / 2 / c->geo.segment_blocks : 0;
	if (size_bytes > blk_get_info(c->ssd)->size_bytes)
		return -EINVAL;
	int err = cache_geometry_resize(&c->geo, size_bytes, most, ret);
	if (err < 0)
		return err;
	if (c->is_void || c->away.is_away)
		return -EIO;
	if (c->resize.step != NONE)
		return -EBUSY;
	bool shrinks = ret->segment_count < c->geo.segment_count;
	/* Room to write in while it is moved. */
	if (shrinks && dirty_units(c) > (uint64_t)ret->segment_count * ret->data_blocks / 2)
		return -EAGAIN;
	return 0;
}

int
cache_resize_check(const struct cache *c, uint64_t size_bytes, uint64_t *ret_used_bytes)
{
	struct cache_geometry to;
	int err = look(c, size_bytes, &to);
	if (err == 0)
		*ret_used_bytes = ((uint64_t)to.segment_count * to.segment_blocks)
		                  << CF_BLOCK_SHIFT;
	return err;
}

/* ---- the end --------------------------------------------------------------------------------------------- */

static void
end(struct cache *c, int result)
{
	uint32_t had = c->geo.segment_count;
	for (uint32_t i = had; c->resize.segs != NULL && i < c->resize.to.segment_count; i++) {
		free(c->resize.segs[i].dead);
		free(c->resize.segs[i].crc);
	}
	free(c->resize.segs);
	free(c->resize.zeros);
	c->resize.segs = NULL;
	c->resize.zeros = NULL;
	c->resize.step = NONE;
	cache_log_kick(c);
	cache_space_kick(c);
	c->resize.done(c->resize.ctx, result);
}

/* Nothing of it is durable, or what is says the same as what was. */
static void
undo(struct cache *c, int result)
{
	c->keep = c->geo.segment_count;
	end(c, result);
}

static bool
supers_idle(const struct cache *c)
{
	return c->sb.done == NULL && !c->epoch_ending && !c->epoch_writing && !c->epoch_owed &&
	       !c->pack.writing && !c->is_void && !c->away.is_away;
}

/* ---- larger ---------------------------------------------------------------------------------------------- */

static int
memory(struct cache *c)
{
	uint32_t had = c->geo.segment_count, n = c->resize.to.segment_count;
	c->resize.segs = calloc(n, sizeof *c->resize.segs);
	c->resize.zeros = cache_pages_alloc(WIPE_BLOCKS * CF_BLOCK_BYTES);
	int err = c->resize.segs == NULL || c->resize.zeros == NULL ? -ENOMEM : 0;
	for (uint32_t i = had; i < n && err == 0; i++)
		err = cache_segment_memory(c, &c->resize.segs[i]);
	return err == 0 ? cache_tier_resize(c, n) : err;
}

static void wipe(struct cache *c);

static void
wiped(struct cache_io *x, int result)
{
	struct cache *c = x->c;
	c->resize.waits = false;
	if (result == 0 && x->a == 1)
		c->resize.next += (uint32_t)x->b;
	if (result < 0 || is_stopping(c)) {
		c->stats.ssd_errors += result < 0;
		undo(c, result < 0 ? result : -ESHUTDOWN);
		return;
	}
	if (x->a == 1) {
		wipe(c);
		return;
	}
	/* The same segments' other slots. */
	struct cache_io *y = cache_io_get(c, wiped, NULL);
	y->a = 1;
	y->b = x->b;
	c->resize.waits = true;
	cache_io_buf(y, c->resize.zeros, x->b << CF_BLOCK_SHIFT);
	cache_ssd_write(
	    y, cache_slot_block(&c->resize.to, c->resize.next, 1), (uint32_t)x->b, BLK_FUA);
}

/* What a smaller cache, or another one, left there isn't taken for slots that have decayed. */
static void
wipe(struct cache *c)
{
	const struct cache_geometry *to = &c->resize.to;
	if (c->resize.next == to->segment_count) {
		c->resize.step = GROW_SUPER;
		cache_resize_run(c);
		return;
	}
	uint32_t n = cache_slots_run(to, c->resize.next, to->segment_count, WIPE_BLOCKS);
	struct cache_io *x = cache_io_get(c, wiped, NULL);
	x->b = n;
	c->resize.waits = true;
	cache_io_buf(x, c->resize.zeros, (uint64_t)n << CF_BLOCK_SHIFT);
	cache_ssd_write(x, cache_slot_block(to, c->resize.next, 0), n, BLK_FUA);
}

static void
install(struct cache *c)
{
	uint32_t had = c->geo.segment_count;
	memcpy(c->resize.segs, c->segs, had * sizeof *c->segs);
	free(c->segs);
	c->segs = c->resize.segs;
	c->resize.segs = NULL;
	c->geo = c->resize.to;
	c->keep = c->geo.segment_count;
	for (uint32_t i = had; i < c->geo.segment_count; i++) {
		struct segment *s = &c->segs[i];
		s->state = SEG_FREE;
		s->generation = cache_resize_generation(c, true);
		s->changed = true;
		s->out = !MUTANT(GROW_NO_CHECKPOINT);
	}
}

static void
grow_super_written(void *ctx, int result)
{
	struct cache *c = ctx;
	c->resize.waits = false;
	if (result < 0) {
		/* One of them may say so: what it tells of more isn't covered, and the next one says less again. */
		c->super.geo = c->geo;
		c->stats.ssd_errors++;
		undo(c, result);
	} else {
		if (!MUTANT(GROW_SUPER_LATE))
			install(c);
		c->resize.step = GROW_CHECKPOINT;
		cache_resize_run(c);
	}
	cache_epoch_check(c);
}

static void
grow_super(struct cache *c)
{
	if (is_stopping(c)) {
		undo(c, -ESHUTDOWN);
		return;
	}
	if (!supers_idle(c))
		return;
	c->resize.waits = true;
	c->super.incompat |= CF_INCOMPAT_RESIZED;
	if (MUTANT(GROW_SUPER_LATE)) {
		install(c);
		grow_super_written(c, 0);
		return;
	}
	c->super.geo = c->resize.to;
	cache_super_write(c, grow_super_written, c);
}

static void
covered(void *ctx, int result)
{
	struct cache *c = ctx;
	c->resize.waits = false;
	if (result == 0) /* else the tick tries again */
		end(c, 0);
}

static void
grow_checkpoint(struct cache *c)
{
	if (is_stopping(c)) {
		end(c, 0); /* its last checkpoint, or the next start's first one */
		return;
	}
	c->resize.waits = true;
	cache_checkpoint_wait(c, covered, c);
}

/* ---- smaller --------------------------------------------------------------------------------------------- */

uint32_t
cache_resize_victim(const struct cache *c)
{
	if (c->resize.step != EMPTY)
		return LOC_NONE;
	uint32_t n = c->geo.segment_count - c->keep;
	for (uint32_t i = 0; i < n; i++) {
		uint32_t seg = c->keep + (c->resize.next + i) % n;
		const struct segment *s = &c->segs[seg];
		if (s->state == SEG_SEALED && s->live > 0 && !s->stuck)
			return seg;
	}
	return LOC_NONE;
}

/* Units that are still in what is to go; a segment counts as one more until it is free and nobody reads it. */
static uint64_t
left(const struct cache *c)
{
	uint64_t n = 0;
	for (uint32_t i = c->keep; i < c->geo.segment_count; i++) {
		const struct segment *s = &c->segs[i];
		if (s->state != SEG_FREE || s->pins > 0)
			n += 1 + s->live;
	}
	return n;
}

static void
close_logs(struct cache *c)
{
	for (unsigned i = 0; i < CACHE_LOG_COUNT; i++) {
		struct cache_log *l = &c->logs[i];
		if (l->seg != LOC_NONE && l->seg >= c->keep && !l->busy && !l->opening)
			cache_log_close(l);
	}
}

static void
empty(struct cache *c)
{
	uint64_t now = loop_now_ns(c->home), n = left(c);
	bool dead = false;
	if (is_stopping(c)) {
		undo(c, -ESHUTDOWN);
		return;
	}
	close_logs(c);
	if (n == 0 || MUTANT(SHRINK_NOT_EMPTY)) {
		c->resize.step = FEATURE;
		cache_resize_run(c);
		return;
	}
	if (n < c->resize.left) {
		c->resize.left = n;
		c->resize.since_ns = now;
	} else if (now - c->resize.since_ns > PATIENCE_NS) {
		undo(c, -ETIMEDOUT);
		return;
	}
	c->resize.next++;
	for (uint32_t i = c->keep; i < c->geo.segment_count; i++) {
		dead |= cache_segment_all_dead(&c->segs[i]);
		c->segs[i].stuck = false; /* once a tick: memory, or the SSD, may be well again */
	}
	if (dead && !c->ck.running)
		cache_checkpoint_start(c);
	cache_space_kick(c);
}

static void
feature_written(void *ctx, int result)
{
	struct cache *c = ctx;
	c->resize.waits = false;
	if (result < 0) {
		c->stats.ssd_errors++;
		undo(c, result);
	} else {
		c->resize.step = UNCOVER;
		cache_resize_run(c);
	}
	cache_epoch_check(c);
}

static void
feature(struct cache *c)
{
	if (is_stopping(c)) {
		undo(c, -ESHUTDOWN);
		return;
	}
	if (c->super.incompat & CF_INCOMPAT_RESIZED) {
		c->resize.step = UNCOVER;
		cache_resize_run(c);
	} else if (supers_idle(c)) {
		c->resize.waits = true;
		c->super.incompat |= CF_INCOMPAT_RESIZED;
		cache_super_write(c, feature_written, c);
	}
}

/* From here on there is no way back in this life: it may be durable, whoever says that it failed. */
static void
uncovered(void *ctx, int result)
{
	struct cache *c = ctx;
	c->resize.waits = false;
	if (result == 0) {
		c->resize.step = SHRINK_SUPER;
		cache_resize_run(c);
	}
}

static void
uncover(struct cache *c)
{
	c->resize.covers = c->keep;
	if (is_stopping(c)) {
		end(c, -ESHUTDOWN);
		return;
	}
	c->resize.waits = true;
	if (MUTANT(SHRINK_SUPER_FIRST)) {
		c->resize.covers = 0;
		uncovered(c, 0);
		return;
	}
	cache_checkpoint_wait(c, uncovered, c);
}

static void
cut(struct cache *c)
{
	uint32_t n = c->resize.to.segment_count;
	for (uint32_t i = n; i < c->geo.segment_count; i++) {
		struct segment *s = &c->segs[i];
		ASSERT((s->state == SEG_FREE && s->pins == 0) || MUTANT(SHRINK_NOT_EMPTY));
		cache_pack_forget(c, s);
		free(s->dead);
		free(s->crc);
	}
	if (c->away.record_seg >= n)
		c->away.has_record = false;
	(void)cache_tier_resize(c, n);
	c->geo = c->resize.to;
	c->resize.covers = 0;
}

static void
shrink_super_written(void *ctx, int result)
{
	struct cache *c = ctx;
	c->resize.waits = false;
	if (result == 0) {
		cut(c);
		end(c, 0);
	} else {
		c->stats.ssd_errors++; /* the tick tries again: one of them may say so */
	}
	cache_epoch_check(c);
}

static void
shrink_super(struct cache *c)
{
	if (is_stopping(c)) {
		end(c, -ESHUTDOWN);
		return;
	}
	if (!supers_idle(c))
		return;
	c->resize.waits = true;
	c->super.geo = c->resize.to;
	cache_super_write(c, shrink_super_written, c);
}

/* ---- steps ----------------------------------------------------------------------------------------------- */

void
cache_resize_run(struct cache *c)
{
	static void (*const steps[])(struct cache *) = {
	    [GROW_SUPER] = grow_super,
	    [GROW_CHECKPOINT] = grow_checkpoint,
	    [EMPTY] = empty,
	    [FEATURE] = feature,
	    [UNCOVER] = uncover,
	    [SHRINK_SUPER] = shrink_super,
	};
	if (c->resize.step != NONE && !c->resize.waits && steps[c->resize.step] != NULL)
		steps[c->resize.step](c);
}

static void
begin(void *ctx, int result)
{
	struct cache *c = ctx;
	c->resize.waits = false;
	if (result == 0 && c->resize.step == WIPE)
		result = memory(c);
	if (result < 0)
		undo(c, result);
	else if (c->resize.step == WIPE)
		wipe(c);
	else
		cache_resize_run(c);
}

void
cache_resize(struct cache *c, uint64_t size_bytes, cache_done_fn *done, void *ctx)
{
	struct cache_geometry to;
	int err = look(c, size_bytes, &to);
	ASSERT(c->loaded);
	if (err == 0 && is_stopping(c))
		err = -ESHUTDOWN;
	if (err < 0) {
		cache_later(c, done, ctx, err);
		return;
	}
	uint32_t had = c->geo.segment_count;
	c->resize.step = to.segment_count > had   ? WIPE
	                 : to.segment_count < had ? EMPTY
	                                          : SHRINK_SUPER;
	c->resize.to = to;
	c->resize.next = c->resize.step == WIPE ? had : 0;
	c->resize.waits = true;
	c->resize.left = UINT64_MAX;
	c->resize.since_ns = loop_now_ns(c->home);
	c->resize.done = done;
	c->resize.ctx = ctx;
	if (c->resize.step == EMPTY)
		c->keep = to.segment_count;
	cache_later(c, begin, c, 0);
}

void
cache_resize_stats(const struct cache *c, struct cache_stats *ret)
{
	const struct cache_geometry *to = &c->resize.to;
	if (c->resize.step == NONE)
		return;
	ret->resizing = true;
	ret->resize_segments = to->segment_count;
	if (c->resize.step == EMPTY)
		ret->resize_left_bytes = left(c) << CF_BLOCK_SHIFT;
	if (c->resize.step == WIPE)
		ret->resize_left_bytes =
		    ((uint64_t)(to->segment_count - c->resize.next) * to->segment_blocks)
		    << CF_BLOCK_SHIFT;
}
