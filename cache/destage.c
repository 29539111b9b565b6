/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Destage: dirty blocks go to the store, in batches, one batch of a volume at a time, so that at most one
 * store operation is in flight for a block [8].
 *
 *	pick (destage_pick.c) ─▶ read from the SSD, verify ─▶ write, neighbours merged; zero where zeros are
 *	─▶ flush the store ─▶ clean, where the index still has that version [9]
 *
 * Writes needn't be durable one by one: the flush is for all of the batch. How much of it, when, and how many
 * at once: destage_rate.c.
 *
 * A crash before the last step leaves the data dirty in the log: it is written again. A block turns clean
 * only by a flush that was issued after its write had completed; if the flush fails, the whole batch stays
 * dirty and is written again. What can't be read from the SSD is marked: reads of it fail [3].
 */
#include "cache/cache_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"

#define READS_AT_ONCE 16u /* of the SSD */
#define READS_IN_TIME 4u /* …where somebody writes, and nothing is urgent: he waits behind them */
#define DEPTH_MAX 32u    /* writes of the store */
#define ITEMS_MAX 2048u
#define HOLD_NS 100000000ull /* after an error, doubled each time up to HOLD_MAX_NS */
#define HOLD_MAX_NS 5000000000ull
#define STUCK_NS 10000000000ull /* a batch that runs for so long */

static void batch_read(struct cache_volume *v);
static void batch_write(struct cache_volume *v);
static void batch_end(struct cache_volume *v, bool durable, int err);

int
cache_destage_init(struct cache_volume *v)
{
	struct destage *d = &v->d;
	d->cap = ITEMS_MAX;
	d->blocks = v->c->tuning.destage_blocks;
	d->depth = DEPTH_MAX / 2;
	policy_destage_init(&d->policy, &(struct policy_destage_config){.depth_max = DEPTH_MAX});
	d->items = calloc(d->cap, sizeof *d->items);
	d->found = calloc(d->cap, sizeof *d->found);
	d->picks = calloc(d->cap, sizeof *d->picks);
	d->runs = calloc(d->cap, sizeof *d->runs);
	d->mem = cache_pages_alloc((size_t)d->blocks * CF_BLOCK_BYTES);
	bool ok = d->items != NULL && d->found != NULL && d->picks != NULL && d->runs != NULL;
	return ok && d->mem != NULL ? 0 : -ENOMEM;
}

void
cache_destage_fini(struct cache_volume *v)
{
	free(v->d.items);
	free(v->d.found);
	free(v->d.picks);
	free(v->d.runs);
	free(v->d.mem);
	v->d.items = v->d.found = NULL;
	v->d.picks = NULL;
	v->d.runs = NULL;
	v->d.mem = NULL;
}

/* ---- when -------------------------------------------------------------------------------- */

bool
cache_volume_stuck(const struct cache_volume *v)
{
	if (v->ix.dirty_blocks == 0)
		return false;
	return v->store == NULL || v->d.failures > 0 ||
	       (v->d.running && loop_now_ns(v->c->home) - v->d.begun_ns > STUCK_NS);
}

/* The batch goes on with this item, from its first sector. */
static void
go_on(struct destage *d, uint32_t item)
{
	d->next = item;
	d->sector = 0;
}

/* False: nothing is left to begin in this sweep. */
static bool
pick(struct cache_volume *v)
{
	struct destage *d = &v->d;
	bool more = cache_destage_pick(v);
	if (d->count > 0 || more || cache_destage_all(v))
		return more;
	/* The segments that were due are clean: the next ones. */
	cache_destage_due(v);
	more = cache_destage_pick(v);
	if (d->count > 0 || more || !cache_destage_drains(v))
		return more;
	/* The oldest are another volume's, whose store may be slow: that holds up nobody [18]. */
	d->due_order = UINT64_MAX;
	return cache_destage_pick(v);
}

static void
batch_start(struct cache_volume *v)
{
	struct destage *d = &v->d;
	bool more = pick(v);
	if (d->count == 0) {
		/* What is dirty is lost: whoever waits for it is told each time [21]. */
		if (!more && cache_destage_all(v))
			cache_wake(&v->clean_waiters, -EIO);
		return;
	}
	d->running = true;
	d->begun_ns = d->last_batch_ns = loop_now_ns(v->c->home);
	if (d->credit != UINT64_MAX)
		d->credit -= d->blocks_used < d->credit ? d->blocks_used : d->credit;
	d->reading = true;
	d->any = false;
	d->pending = 0;
	d->taken = 0;
	d->flush_failures = v->store_flush_failures;
	go_on(d, 0);
	batch_read(v);
}

/* ---- reading from the SSD -------------------------------------------------------------------- */

static uint8_t
mark_bad(void *ctx, const struct cache_piece *p)
{
	const struct cache_piece *bad = ctx;
	bool same = p->kind == CACHE_DATA && p->ver == bad->ver &&
	            p->loc == bad->loc + (uint32_t)(p->block - bad->block);
	return same ? p->flags | CACHE_EXT_BAD : p->flags;
}

/* The SSD lost dirty data: exactly these blocks fail from here on. What is clean isn't written again. */
static void
lost(struct cache_volume *v, const struct cache_piece *p)
{
	if (!(p->flags & CACHE_EXT_DIRTY))
		return;
	struct cache *c = v->c;
	struct cache_piece bad = *p;
	c->stats.ssd_bad_blocks += p->count;
	cache_set_condition(c, CACHE_COND_DATA_LOST, true, v->row.name);
	cache_index_change(&v->ix, bad.block, bad.count, mark_bad, &bad);
}

static void
verify(struct cache_volume *v, struct destage_item *it)
{
	const struct segment *s = seg_of(v->c, it->piece.loc);
	uint32_t unit = unit_of(v->c, it->piece.loc);
	const char *mem = v->d.mem + (size_t)it->at * CF_BLOCK_BYTES;
	for (uint32_t i = 0; i < it->piece.count; i++) {
		if (crc32c(mem + (size_t)i * CF_BLOCK_BYTES, CF_BLOCK_BYTES) == s->crc[unit + i])
			continue;
		struct cache_piece one = it->piece;
		one.block += i;
		one.loc += i;
		one.count = 1;
		lost(v, &one);
		it->err = -EIO;
	}
}

static void
read_done(struct cache_io *x, int result)
{
	struct cache_volume *v = x->ctx;
	struct destage_item *it = &v->d.items[x->a];
	if (result < 0) {
		v->c->stats.ssd_errors++;
		cache_set_condition(v->c, CACHE_COND_SSD_READ, true, "dirty data can't be read");
		it->err = result;
	} else {
		verify(v, it);
	}
	v->d.pending--;
	batch_read(v);
}

static void
batch_read(struct cache_volume *v)
{
	struct destage *d = &v->d;
	bool in_time = d->credit != UINT64_MAX && !cache_destage_all(v);
	uint32_t most = in_time ? READS_IN_TIME : READS_AT_ONCE;
	while (d->next < d->count && d->pending < most) {
		uint32_t i = d->next++;
		const struct cache_piece *p = &d->items[i].piece;
		if (p->kind == CACHE_ZERO)
			continue;
		struct cache_io *x = cache_io_get(v->c, read_done, v);
		x->a = i;
		cache_io_buf(x, d->mem + (size_t)d->items[i].at * CF_BLOCK_BYTES,
		    p->count << CF_BLOCK_SHIFT);
		d->pending++;
		cache_ssd_read(x, block_of_loc(v->c, p->loc), (uint32_t)p->count);
	}
	if (d->pending > 0)
		return;
	/* From here on the batch knows its blocks by their ver. */
	for (uint32_t i = 0; i < d->count; i++)
		if (d->items[i].piece.kind == CACHE_DATA)
			cache_segment_unpin(v->c, d->items[i].piece.loc);
	d->reading = false;
	go_on(d, 0);
	batch_write(v);
}

/* ---- writing to the store ------------------------------------------------------------------- */

static void
write_done(struct cache_io *x, int result)
{
	struct cache_volume *v = x->ctx;
	struct destage *d = &v->d;
	uint64_t ns = loop_now_ns(v->c->home) - x->io.submit_ns;
	d->write_ns = (d->write_ns * 7 + ns) / 8;
	for (uint64_t i = x->a; i < x->b; i++) {
		if (result < 0)
			d->items[i].err = result;
		else
			d->any = true;
		if (result == 0 && d->items[i].piece.kind == CACHE_DATA && !d->items[i].gap) {
			d->sent += d->items[i].piece.count;
			d->taken += d->items[i].piece.count;
		}
	}
	if (result < 0)
		v->stats.store_errors++;
	d->pending--;
	batch_write(v);
}

/* The volume may end within a block. */
static uint64_t
bytes_until(const struct cache_volume *v, uint64_t from, uint64_t to)
{
	return (to < v->row.size_bytes ? to : v->row.size_bytes) - from;
}

/* The next run of sectors of a block of which only some are here. False: no more. */
static bool
write_sectors(struct cache_volume *v, struct destage_item *it, uint64_t idx)
{
	struct destage *d = &v->d;
	uint32_t s = d->sector, e;
	while (s < CF_SECTORS && !(it->piece.mask >> s & 1))
		s++;
	for (e = s; e < CF_SECTORS && (it->piece.mask >> e & 1);)
		e++;
	d->sector = e;
	uint64_t from = (it->piece.block << CF_BLOCK_SHIFT) + s * 512ull;
	if (s == CF_SECTORS || from >= v->row.size_bytes)
		return false;
	uint64_t len = bytes_until(v, from, from + (e - s) * 512ull);
	struct cache_io *x = cache_io_get(v->c, write_done, v);
	x->a = idx;
	x->b = idx + 1;
	cache_io_buf(x, d->mem + (size_t)it->at * CF_BLOCK_BYTES + s * 512u, len);
	d->pending++;
	v->stats.store_writes++;
	cache_io_submit(x, v->store, BLK_WRITE, BLK_LAZY, from, len);
	return true;
}

static void
write_zeros(struct cache_volume *v, uint64_t idx)
{
	const struct cache_piece *p = &v->d.items[idx].piece;
	const struct cache_zero *z = v->c->zeros[p->loc];
	bool keep = z != NULL && z->ver == p->ver && z->no_unmap;
	uint64_t from = p->block << CF_BLOCK_SHIFT;
	uint64_t len = bytes_until(v, from, (p->block + p->count) << CF_BLOCK_SHIFT);
	struct cache_io *x = cache_io_get(v->c, write_done, v);
	x->a = idx;
	x->b = idx + 1;
	v->d.pending++;
	v->stats.store_writes++;
	cache_io_submit(
	    x, v->store, BLK_WRITE_ZEROES, BLK_LAZY | (keep ? BLK_NO_UNMAP : 0), from, len);
}

/* Whole blocks, together with those behind them that are neighbours on the store. */
static uint32_t
write_blocks(struct cache_volume *v, uint32_t idx)
{
	struct destage *d = &v->d;
	const struct destage_item *it = &d->items[idx];
	uint64_t end = it->piece.block + it->piece.count;
	uint32_t to = idx + 1;
	const uint64_t most = d->run_blocks;
	for (; to < d->count; to++) {
		const struct destage_item *n = &d->items[to];
		if (n->piece.kind != CACHE_DATA || n->err < 0 || n->piece.mask != 0xff ||
		    n->piece.block != end || end + n->piece.count - it->piece.block > most)
			break;
		end += n->piece.count;
	}
	uint64_t from = it->piece.block << CF_BLOCK_SHIFT;
	uint64_t len = bytes_until(v, from, end << CF_BLOCK_SHIFT);
	struct cache_io *x = cache_io_get(v->c, write_done, v);
	x->a = idx;
	x->b = to;
	cache_io_buf(x, d->mem + (size_t)it->at * CF_BLOCK_BYTES, len);
	d->pending++;
	v->stats.store_writes++;
	cache_io_submit(x, v->store, BLK_WRITE, BLK_LAZY, from, len);
	return to;
}

static void
flush_done(struct cache_io *x, int result)
{
	struct cache_volume *v = x->ctx;
	if (result < 0)
		v->stats.store_errors++;
	/* One that somebody else had asked for failed: that may have taken these writes with it, and who was
	 * told is he, not we. */
	if (result == 0 && v->store_flush_failures != v->d.flush_failures &&
	    !MUTANT(OTHER_STORE_FLUSH))
		result = -EIO;
	if (MUTANT(FLUSH_FAIL_ASSUMED))
		result = 0;
	batch_end(v, result == 0, result);
}

static void
batch_write(struct cache_volume *v)
{
	struct destage *d = &v->d;
	uint32_t depth = cache_destage_drains(v) ? DEPTH_MAX : d->depth > 0 ? d->depth : 1;
	while (d->next < d->count && d->pending < depth) {
		const uint32_t at = d->next;
		struct destage_item *it = &d->items[at];
		if (it->err < 0) { /* perhaps in the middle of it */
			go_on(d, at + 1);
		} else if (it->piece.kind == CACHE_ZERO && MUTANT(ZERO_NO_DESTAGE)) {
			d->any = true;
			go_on(d, at + 1);
		} else if (it->piece.kind == CACHE_ZERO) {
			write_zeros(v, at);
			go_on(d, at + 1);
		} else if (it->piece.mask != 0xff) {
			if (!write_sectors(v, it, at))
				go_on(d, at + 1);
		} else {
			go_on(d, write_blocks(v, at));
		}
	}
	if (d->pending > 0)
		return;
	if (!d->any || MUTANT(CLEAN_NO_FLUSH)) {
		batch_end(v, d->any, -EIO);
		return;
	}
	v->stats.store_flushes++;
	cache_io_submit(cache_io_get(v->c, flush_done, v), v->store, BLK_FLUSH, 0, 0, 0);
}

/* ---- the end of a batch ----------------------------------------------------------------------- */

/* One that is well says nothing of the others. */
static void
store_condition(struct cache *c)
{
	LIST_FOREACH (n, &c->volumes) {
		const struct cache_volume *v = container_of(n, struct cache_volume, link);
		if (!v->store_fails)
			continue;
		cache_set_condition(c, CACHE_COND_STORE_WRITE, true, v->row.name);
		return;
	}
	cache_set_condition(c, CACHE_COND_STORE_WRITE, false, "");
}

static void
batch_end(struct cache_volume *v, bool durable, int err)
{
	struct destage *d = &v->d;
	struct cache *c = v->c;
	bool failed = !durable;
	for (uint32_t i = 0; i < d->count; i++) {
		const struct destage_item *it = &d->items[i];
		failed |= it->err < 0 && !it->gap;
		if (!durable || it->err < 0)
			continue;
		cache_turn_clean(v, &it->piece);
		if (it->gap)
			v->stats.gap_blocks += it->piece.count;
		else if (it->piece.kind == CACHE_DATA)
			v->stats.destaged_blocks += it->piece.count;
	}
	d->busy_ns += cache_destage_busy_ns(d, loop_now_ns(c->home));
	d->taken = 0;
	d->running = false;
	cache_zeros_drop(v);
	v->store_fails = failed;
	store_condition(c);
	if (failed) {
		uint64_t hold = HOLD_NS << (d->failures < 6 ? d->failures : 6);
		d->failures++;
		d->hold_until_ns = loop_now_ns(c->home) + (hold < HOLD_MAX_NS ? hold : HOLD_MAX_NS);
		/* Those who asked are told each time [21]; what waits stays dirty. */
		cache_wake(&v->clean_waiters, err < 0 ? err : -EIO);
	} else {
		d->failures = 0;
	}
	cache_clean_check(v);
	cache_space_kick(c);
	cache_mode_poke(v);
	cache_destage_kick(v);
}

void
cache_destage_kick(struct cache_volume *v)
{
	/* While it is being opened that may still fail, and its store is gone then. */
	if (v->d.running || !v->open || v->closing || v->c->stopping || !cache_destage_may(v) ||
	    loop_now_ns(v->c->home) < v->d.hold_until_ns)
		return;
	batch_start(v);
}

void
cache_destage_tick(struct cache *c)
{
	cache_destage_rate(c);
	LIST_FOREACH (n, &c->volumes) {
		struct cache_volume *v = container_of(n, struct cache_volume, link);
		cache_zeros_drop(v);
		cache_destage_kick(v);
	}
}

/* ---- waiting until it is clean ------------------------------------------------------------------ */

static bool
is_dirty(const struct cache_volume *v, uint64_t block, uint64_t count)
{
	struct cache_piece p;
	return cache_index_next(&v->ix, block, block + count, CACHE_EXT_DIRTY, &p);
}

static bool
is_lost(const struct cache_volume *v, uint64_t block, uint64_t count)
{
	struct cache_piece p;
	uint64_t at = block, end = block + count;
	for (; cache_index_next(&v->ix, at, end, CACHE_EXT_DIRTY, &p); at = p.block + p.count)
		if (p.flags & CACHE_EXT_BAD)
			return true;
	return false;
}

void
cache_clean_wait(
    struct cache_volume *v, uint64_t block, uint64_t count, cache_done_fn *done, void *ctx)
{
	if (!is_dirty(v, block, count)) {
		cache_later(v->c, done, ctx, 0);
		return;
	}
	cache_wait(&v->clean_waiters, done, ctx);
	struct cache_waiter *w = container_of(v->clean_waiters.prev, struct cache_waiter, link);
	w->a = block;
	w->b = count;
	w->sweep = v->d.sweeps;
	v->d.hold_until_ns = 0;
	cache_destage_kick(v);
}

/* After a batch that succeeded. Whoever is written to all the time is never clean: it is enough that
 * destage has begun at the first block after the call, and come round again since. The batch that came
 * round may hold blocks of the sweep after it; it has ended all the same. */
void
cache_clean_check(struct cache_volume *v)
{
	struct list ready = LIST_INIT(ready), lost = LIST_INIT(lost);
	LIST_FOREACH_SAFE (n, &v->clean_waiters) {
		const struct cache_waiter *w = container_of(n, struct cache_waiter, link);
		if (is_dirty(v, w->a, w->b) && (v->d.running || v->d.sweeps < w->sweep + 2))
			continue;
		list_remove(n);
		list_push_back(w->is_lost || is_lost(v, w->a, w->b) ? &lost : &ready, n);
	}
	cache_wake(&ready, 0);
	cache_wake(&lost, -EIO);
}
