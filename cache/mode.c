/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Changes of a volume as a whole: mode, eviction, removal, size, freeze. One at a time; each a sequence of steps
 * that wait for something, looked at again whenever that may have happened.
 *
 *	into bypass, eviction, removal [11][17]:
 *	  drain (changes go on) ─▶ shut ─▶ changes in flight end ─▶ drain ─▶ drop everything ─▶ fills and copies
 *	  in flight end ─▶ checkpoint: nothing of the volume is found after a crash ─▶ the row is durable ─▶
 *	  removal: marker cleared ─▶ open
 *	out of bypass: shut ─▶ changes end ─▶ store flush ─▶ row ─▶ open
 *	between the others: shut ─▶ changes end ─▶ row ─▶ open
 *	growth [24]: store flush, so that it is as large after a crash too ─▶ the row is durable ─▶ shown; it is
 *	never shut: nothing that is under way reaches beyond the old end
 *
 * A crash before the checkpoint finds the clean copies again, equal to what the store has; nothing went to
 * the store alone before. After it: nothing is found.
 *
 * An eviction may be of a range. Data over a record of zeros that isn't clean can't be dropped [6], wherever
 * that record reaches: so what is drained is widened to all records of zeros that overlap.
 */
#include "cache/cache_priv.h"

#include <errno.h>

enum step {
	IDLE,
	DRAIN,
	SHUT,
	DRAIN_SHUT,
	DROP,
	CHECKPOINT,
	STORE_FLUSH,
	ROW,
	MARKER,
	DONE,
};

static void run(struct cache_volume *v);

static void
finish(struct cache_volume *v, int result)
{
	cache_done_fn *done = v->chg.done;
	void *ctx = v->chg.ctx;
	bool is_gone = v->chg.remove && result == 0;
	v->chg.step = IDLE;
	v->chg.waiting = false;
	v->want_clean = v->mode == CACHE_WRITETHROUGH;
	if (!is_gone) {
		v->shut = v->frozen;
		cache_volume_release(v);
	}
	done(ctx, result);
}

/* The table can't be written: the volume stays what it was. What the SSD has of the row is repeated. */
static void
row_restore(struct cache_volume *v)
{
	struct cache *c = v->c;
	struct cache_volrow *row = cache_voltable_find(c, v->row.uuid);
	if (row == NULL)
		row = &c->vt.rows[c->vt.count++];
	*row = v->row = v->chg.row;
}

static void
waited(void *ctx, int result)
{
	struct cache_volume *v = ctx;
	v->chg.waiting = false;
	if (v->chg.step == MARKER) {
		v->chg.err = result; /* the volume is gone all the same: its row is */
	} else if (result < 0) {
		if (v->chg.step == ROW)
			row_restore(v);
		finish(v, result);
		return;
	}
	v->chg.step++;
	run(v);
}

/* A commit that failed may come back after a crash as long as its epoch hasn't ended durably: nothing
 * newer may be on the store alone before [4]. */
static void
ended_epoch(void *ctx, int result)
{
	const struct cache *c = ((struct cache_volume *)ctx)->c;
	waited(ctx, result == 0 && (c->epoch_ending || c->epoch_owed) ? -EIO : result);
}

static void
flushed(struct cache_io *x, int result)
{
	waited(x->ctx, result);
}

static bool
to_empty(const struct cache_volume *v)
{
	return v->chg.evict || v->chg.remove || v->chg.to == CACHE_BYPASS;
}

static bool
is_whole(const struct cache_volume *v)
{
	return v->chg.first == 0 && v->chg.end == v->blocks;
}

/* Dirty data that nobody wants any more. */
static uint8_t
forget(void *ctx, const struct cache_piece *p)
{
	struct cache_volume *v = ctx;
	if (!(p->flags & CACHE_EXT_DIRTY))
		return p->flags;
	if (p->kind == CACHE_ZERO) {
		cache_zero_clean(v, v->c->zeros[p->loc], p->count);
	} else {
		seg_of(v->c, p->loc)->dirty -= (uint32_t)p->count;
	}
	return p->flags & (uint8_t) ~(CACHE_EXT_DIRTY | CACHE_EXT_BAD);
}

/* False: something older is still on its way; later. */
static bool
drop_all(struct cache_volume *v)
{
	if (v->chg.discard)
		cache_index_change(&v->ix, 0, v->blocks, forget, v);
	cache_fill_cancel(v, v->chg.first, v->chg.end - 1);
	cache_zeros_drop(v);
	cache_drop(v, v->chg.first, v->chg.end - v->chg.first, LOC_NONE);
	cache_zeros_drop(v);
	struct cache_piece p;
	return !cache_index_next(&v->ix, v->chg.first, v->chg.end, 0, &p) &&
	       (list_empty(&v->fills) || MUTANT(FILL_NO_CANCEL)) && list_empty(&v->copies) &&
	       !v->d.running;
}

/* What has to be clean before the range can be dropped. */
static void
drain_range(const struct cache_volume *v, uint64_t *ret_first, uint64_t *ret_end)
{
	uint64_t first = v->chg.first, end = v->chg.end;
	bool grew = true;
	while (grew) {
		grew = false;
		LIST_FOREACH (n, &v->zeros) {
			const struct cache_zero *z = container_of(n, struct cache_zero, link);
			if (z->block >= end || z->block + z->count <= first ||
			    (z->block >= first && z->block + z->count <= end))
				continue;
			first = z->block < first ? z->block : first;
			end = z->block + z->count > end ? z->block + z->count : end;
			grew = true;
		}
	}
	*ret_first = first;
	*ret_end = end;
}

static void
marker_done(void *ctx, int result)
{
	waited(ctx, result);
}

static void
row_write(struct cache_volume *v)
{
	struct cache *c = v->c;
	struct cache_volrow *row = cache_voltable_find(c, v->row.uuid);
	ASSERT(row != NULL);
	v->chg.row = v->row;
	if (v->chg.remove) {
		*row = c->vt.rows[--c->vt.count];
	} else if (v->chg.grow_to > 0) {
		*row = v->row;
		row->size_bytes = v->chg.grow_to;
	} else {
		v->row.mode = (uint8_t)v->chg.to;
		*row = v->row;
	}
	cache_voltable_write(c, waited, v);
}

static void
caps_follow(struct cache_volume *v)
{
	uint32_t caps = v->b.info.caps & ~BLK_CAP_VOLATILE;
	if (v->mode == CACHE_VOLATILE)
		caps |= BLK_CAP_VOLATILE;
	if (v->mode == CACHE_BYPASS)
		caps |= v->store->info.caps & BLK_CAP_VOLATILE;
	__atomic_store_n(&v->b.info.caps, caps, __ATOMIC_RELAXED);
}

/* From here on requests may reach what has come. */
static void
show_size(struct cache_volume *v)
{
	uint64_t size = v->chg.grow_to;
	v->row.size_bytes = size;
	v->blocks = cache_volume_blocks(size);
	blk_set_size(&v->b, size);
	blk_raise(&v->b, BLK_EVENT_SIZE);
}

static void
take_effect(struct cache_volume *v)
{
	if (v->chg.grow_to > 0 && !MUTANT(GROW_SHOWN_EARLY))
		show_size(v);
	v->mode = v->chg.to;
	v->bypass = v->mode == CACHE_BYPASS;
	caps_follow(v);
	finish(v, 0);
}

/* Begins what the step waits for, or returns true when there is nothing to wait for. */
static bool
step(struct cache_volume *v)
{
	struct cache *c = v->c;
	bool empty = to_empty(v);
	uint64_t first, end;
	switch ((enum step)v->chg.step) {
	case DRAIN:
	case DRAIN_SHUT:
		if (!empty || v->bypass || v->chg.discard ||
		    (MUTANT(BYPASS_NO_DRAIN) && !v->chg.evict && !v->chg.remove))
			return true;
		/* Of a range it is enough that somebody waits. */
		v->want_clean = v->want_clean || !v->chg.evict || is_whole(v);
		drain_range(v, &first, &end);
		cache_clean_wait(v, first, end - first, waited, v);
		return false;
	case SHUT:
		if (v->chg.grow_to > 0)
			return true;
		v->shut = true;
		if (v->changes == 0)
			return true;
		cache_wait(&v->idle_waiters, waited, v);
		return false;
	case DROP:
		if (!empty || v->bypass || drop_all(v))
			return true;
		v->chg.waiting = false; /* poked */
		if (MUTANT(BYPASS_NO_DRAIN))
			return true;
		return false;
	case CHECKPOINT:
		if (!empty || v->bypass || MUTANT(BYPASS_NO_CHECKPOINT))
			return true;
		cache_checkpoint_wait(c, ended_epoch, v);
		return false;
	case STORE_FLUSH:
		if (!v->bypass && v->chg.grow_to == 0)
			return true;
		if (v->chg.grow_to > 0 && MUTANT(GROW_STORE_NO_FLUSH))
			return true;
		cache_io_submit(cache_io_get(c, flushed, v), v->store, BLK_FLUSH, 0, 0, 0);
		return false;
	case ROW:
		if (v->chg.evict)
			return true;
		if (v->chg.grow_to > 0 && MUTANT(GROW_SHOWN_EARLY))
			show_size(v);
		row_write(v);
		return false;
	case MARKER:
		if (!v->chg.remove)
			return true;
		v->marker->set(
		    v->marker_ctx, &(struct cache_marker){.present = false}, marker_done, v);
		return false;
	default:
		return true;
	}
}

static void
run(struct cache_volume *v)
{
	while (v->chg.step != IDLE && v->chg.step != DONE) {
		v->chg.waiting = true;
		if (!step(v))
			return;
		v->chg.waiting = false;
		v->chg.step++;
	}
	if (v->chg.step == DONE)
		take_effect(v);
}

void
cache_mode_poke(struct cache_volume *v)
{
	if (v->chg.step == DROP && !v->chg.waiting)
		run(v);
}

static bool
change_begin(struct cache_volume *v, cache_done_fn *done, void *ctx)
{
	if (v->chg.step != IDLE || v->frozen) {
		cache_later(v->c, done, ctx, -EBUSY);
		return false;
	}
	v->chg.done = done;
	v->chg.ctx = ctx;
	v->chg.to = v->mode;
	v->chg.evict = v->chg.remove = v->chg.discard = false;
	v->chg.first = 0;
	v->chg.end = v->blocks;
	v->chg.grow_to = 0;
	v->chg.err = 0;
	v->chg.step = DRAIN;
	return true;
}

static void
run_later(void *ctx, int result)
{
	(void)result;
	run(ctx);
}

void
cache_volume_set_mode(struct cache_volume *v, enum cache_mode mode, cache_done_fn *done, void *ctx)
{
	ASSERT((unsigned)mode < CACHE_MODE_COUNT);
	if (!change_begin(v, done, ctx))
		return;
	v->chg.to = mode;
	cache_later(v->c, run_later, v, 0);
}

void
cache_volume_grow(struct cache_volume *v, cache_done_fn *done, void *ctx)
{
	uint64_t size = blk_get_info(v->store)->size_bytes;
	if (size <= v->row.size_bytes) {
		cache_later(v->c, done, ctx, 0);
		return;
	}
	if (cache_volume_blocks(size) >= CACHE_VOLUME_BLOCKS_MAX) {
		cache_later(v->c, done, ctx, -EFBIG);
		return;
	}
	if (!change_begin(v, done, ctx))
		return;
	v->chg.grow_to = size;
	cache_later(v->c, run_later, v, 0);
}

void
cache_volume_evict(struct cache_volume *v, cache_done_fn *done, void *ctx)
{
	cache_volume_evict_range(v, 0, UINT64_MAX, done, ctx);
}

/* The blocks that a range touches, cut to the volume. False: none. */
static bool
touched(const struct cache_volume *v, uint64_t from_bytes, uint64_t bytes, uint64_t *ret_first,
    uint64_t *ret_end)
{
	uint64_t left = UINT64_MAX - from_bytes;
	*ret_first = from_bytes >> CF_BLOCK_SHIFT;
	*ret_end = v->blocks;
	if (bytes == 0 || *ret_first >= v->blocks)
		return false;
	uint64_t last = (from_bytes + (bytes - 1 < left ? bytes - 1 : left)) >> CF_BLOCK_SHIFT;
	if (last < v->blocks)
		*ret_end = last + 1;
	return true;
}

void
cache_volume_evict_range(
    struct cache_volume *v, uint64_t from_bytes, uint64_t bytes, cache_done_fn *done, void *ctx)
{
	uint64_t first, end;
	if (!touched(v, from_bytes, bytes, &first, &end)) {
		cache_later(v->c, done, ctx, 0);
		return;
	}
	if (!change_begin(v, done, ctx))
		return;
	v->chg.evict = true;
	v->chg.first = first;
	v->chg.end = end;
	cache_later(v->c, run_later, v, 0);
}

static void
removed(void *ctx, int result)
{
	struct cache_volume *v = ctx;
	cache_done_fn *done = v->removed;
	void *dctx = v->removed_ctx;
	int err = result < 0 ? result : v->chg.err;
	if (result == 0)
		cache_volume_free(v);
	done(dctx, err);
}

void
cache_volume_remove(struct cache_volume *v, bool discard_dirty, cache_done_fn *done, void *ctx)
{
	if (v->chg.step != IDLE || v->frozen) {
		cache_later(v->c, done, ctx, -EBUSY);
		return;
	}
	v->removed = done;
	v->removed_ctx = ctx;
	change_begin(v, removed, v);
	v->chg.remove = true;
	v->chg.discard = discard_dirty;
	cache_later(v->c, run_later, v, 0);
}

void
cache_volume_flush(struct cache_volume *v, cache_done_fn *done, void *ctx)
{
	cache_volume_flush_range(v, 0, UINT64_MAX, done, ctx);
}

void
cache_volume_flush_range(
    struct cache_volume *v, uint64_t from_bytes, uint64_t bytes, cache_done_fn *done, void *ctx)
{
	uint64_t first, end;
	if (touched(v, from_bytes, bytes, &first, &end) && !MUTANT(FLUSH_EARLY))
		cache_clean_wait(v, first, end - first, done, ctx);
	else
		cache_later(v->c, done, ctx, 0);
}

void
cache_volume_freeze(struct cache_volume *v, cache_done_fn *done, void *ctx)
{
	if (v->frozen || v->chg.step != IDLE) {
		cache_later(v->c, done, ctx, -EBUSY);
		return;
	}
	v->frozen = v->shut = true;
	if (v->changes == 0)
		cache_later(v->c, done, ctx, 0);
	else
		cache_wait(&v->idle_waiters, done, ctx);
}

void
cache_volume_thaw(struct cache_volume *v)
{
	v->frozen = v->shut = false;
	cache_volume_release(v);
}
