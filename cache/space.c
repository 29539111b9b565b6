/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Room in the log. When free segments are few: what is dead is freed by a checkpoint; a clean segment is
 * evicted, which the policy chooses (tier.c); when there is none, dirty data is pressed to the stores.
 * Eviction reads what a segment holds from its footer and drops what the index still shows of it, but for
 * what was hit: that is written again into another segment (copy.c) [6].
 *
 * What is written over leaves holes in segments whose other data is dirty. Stores take it in their time; so the
 * segment with the fewest dirty blocks is emptied by moving these together with others', while that makes room
 * with little work. Dirty data that nobody writes over is moved at most once or twice until its turn at the
 * store comes, and that comes later: the store is written to less often.
 */
#include "cache/cache_priv.h"

#include <stdlib.h>

#define REWRITES_AT_ONCE 16u /* pieces of up to a record */
#define GATHERS_LEAST 8u  /* mostly single blocks; what is written waits for the SSD behind them */
#define GATHERS_MOST 64u  /* …and longer where there is no room */
#define DESCS_A_TURN 256u /* half a millisecond: initiators wait for the turn */
#define SPARSE_EIGHTHS 5u /* dirty, at most: the rest is room gained */
#define SPARSE_MOST 7u    /* …where free segments are nearly gone */
#define SPARSE_SMALL 128u /* blocks: of a smaller segment, record headers take a good part */

static void
evict_end(struct cache *c)
{
	struct segment *s = &c->segs[c->space.victim];
	s->pins--;
	s->stuck = s->live > 0;
	cache_tier_emptied(c, c->space.victim);
	free(c->space.buf);
	c->space.buf = NULL;
	c->space.evicting = false;
	cache_space_kick(c);
}

/* What the policy judges alike is dropped, or rewritten, in one piece. */
static void
evict_piece(struct cache *c, struct cache_volume *v, const struct cache_piece *p)
{
	uint32_t most = cache_log_req_max(c);
	if (v->fill.compress && most > CACHE_PACK_REQ_BLOCKS)
		most = CACHE_PACK_REQ_BLOCKS;
	struct cache_piece run = *p;
	enum policy_verdict is = POLICY_DROP, next;
	for (uint64_t i = 0, n = 0; i <= p->count; i++) {
		next = POLICY_DROP;
		if (i < p->count && !c->index_full) /* [19] */
			next = cache_tier_judge(c, p->loc + (uint32_t)i, v, p->block + i);
		if (n > 0 && (i == p->count || next != is || n == most)) {
			run.count = n;
			if (is == POLICY_DROP || !cache_copy_hit(v, &run, is == POLICY_REWRITE_HIT))
				c->stats.evicted_blocks +=
				    cache_drop(v, run.block, run.count, run.loc);
			run.block += n;
			run.loc += (uint32_t)n;
			n = 0;
		}
		is = next;
		n++;
	}
}

static void
evict_desc(struct cache *c, const struct cache_desc *d)
{
	struct cache_volume *v = cache_volume_by_id(c, d->volume);
	uint32_t loc = loc_of_desc(c, c->space.victim, d);
	struct cache_piece p;
	if (v == NULL)
		return;
	if (c->space.how == SPACE_STRAND) {
		if (!(d->flags & CF_DESC_ZERO))
			c->stats.evicted_blocks += cache_drop(v, d->block, d->count, loc);
		cache_copy_desc(v, d, loc);
		return;
	}
	uint64_t at = d->block, end = d->block + d->count;
	for (; !(d->flags & CF_DESC_ZERO) && cache_index_next(&v->ix, at, end, 0, &p);
	     at = p.block + p.count)
		if (p.kind == CACHE_DATA && !(p.flags & (CACHE_EXT_DIRTY | CACHE_EXT_BAD)) &&
		    p.loc == loc + (uint32_t)(p.block - d->block))
			evict_piece(c, v, &p);
	if (c->space.how == SPACE_GATHER)
		cache_copy_desc(v, d, loc);
}

/* What is left of W's segment, where it was opened when there was room for all [18]. */
static uint32_t
own_room(const struct cache *c)
{
	const struct cache_log *w = &c->logs[CF_W];
	return w->roomy ? c->geo.data_blocks - c->segs[w->seg].unit : 0;
}

/* The less room the log has, the more: whoever writes no faster than a few blocks are moved has none of them before
 * his own, and whoever does is never stopped for want of a segment. */
static uint32_t
gathers_at_once(const struct cache *c)
{
	uint32_t low = c->tuning.free_low_segments, others = CACHE_FREE_FOR_OTHERS;
	uint32_t free_count = cache_segment_free_count(c);
	uint64_t all = (uint64_t)(low > others ? low - others : 1) * c->geo.data_blocks;
	uint64_t room = own_room(c);
	if (free_count > others)
		room += (uint64_t)(free_count - others) * c->geo.data_blocks;
	room = room < all ? 2 * room : 2 * all;
	room = room > all ? room - all : 0;
	return GATHERS_MOST - (uint32_t)((GATHERS_MOST - GATHERS_LEAST) * room / all);
}

/* The descriptors of the victim, as many as may be under way at once, and a turn takes; to its end. */
static void
evict_more(struct cache *c)
{
	uint32_t seg = c->space.victim, seen = 0;
	uint32_t most = c->space.how == SPACE_GATHER ? gathers_at_once(c) : REWRITES_AT_ONCE;
	while (c->space.copying < most || c->space.how == SPACE_STRAND) {
		struct cache_desc d;
		if (seen++ == DESCS_A_TURN) {
			if (!loop_defer_queued(&c->space_defer))
				loop_next_turn(c->home, &c->space_defer);
			return;
		}
		if (c->space.desc_at == c->space.record.desc_count) {
			c->space.desc_at = 0;
			c->space.record.desc_count = 0;
			if (!cache_footer_next(&c->geo, seg, c->space.buf, &c->space.footer,
			        &c->space.footer_at, &c->space.record))
				break;
			continue;
		}
		cache_desc_get(&c->space.record.descs[c->space.desc_at++], &d);
		evict_desc(c, &d);
	}
	bool all = c->space.desc_at == 0 && c->space.record.desc_count == 0;
	/* A stranded one is left to its copies, which may be slow; others are waited for. */
	if (all && (c->space.copying == 0 || c->space.how == SPACE_STRAND))
		evict_end(c);
}

static void
evict_read(struct cache_io *x, int result)
{
	struct cache *c = x->c;
	uint32_t seg = c->space.victim;
	struct segment *s = &c->segs[seg];
	size_t cap = (size_t)c->geo.footer_blocks * CF_BLOCK_BYTES;
	c->space.reading = false;
	if (result < 0 ||
	    !cache_footer_decode(&c->geo, c->uuid, seg, c->space.buf, cap, &c->space.footer) ||
	    c->space.footer.generation != s->generation) {
		c->stats.ssd_errors++;
		cache_set_condition(c, CACHE_COND_SSD_READ, true, "a footer can't be read");
		evict_end(c);
		return;
	}
	c->space.footer_at = c->space.desc_at = c->space.record.desc_count = 0;
	evict_more(c);
}

static void
evict(struct cache *c, uint32_t seg, enum space_how how)
{
	struct segment *s = &c->segs[seg];
	c->space.how = how;
	c->space.moved |= how == SPACE_STRAND;
	uint32_t blocks = c->geo.footer_blocks;
	c->space.buf = cache_pages_alloc((size_t)blocks * CF_BLOCK_BYTES);
	if (c->space.buf == NULL) {
		cache_tier_emptied(c, seg); /* the tick tries again */
		return;
	}
	c->space.evicting = c->space.reading = true;
	c->space.victim = seg;
	s->pins++;
	struct cache_io *x = cache_io_get(c, evict_read, NULL);
	cache_io_buf(x, c->space.buf, (uint64_t)blocks * CF_BLOCK_BYTES);
	cache_ssd_read(x, cache_footer_block(&c->geo, seg), blocks);
}

/* How much may be dirty of what is emptied: more, the nearer the end is, or writers would run into it. */
static uint32_t
sparse_eighths(uint32_t free_count)
{
	if (free_count <= CACHE_FREE_FOR_OTHERS)
		return SPARSE_MOST;
	uint32_t more = free_count - CACHE_FREE_FOR_OTHERS;
	return more < SPARSE_MOST - SPARSE_EIGHTHS ? SPARSE_MOST - more : SPARSE_EIGHTHS;
}

/* Dirty blocks, at most, of a segment that is emptied. */
static uint32_t
sparse_most(const struct cache *c, uint32_t eighths)
{
	if (c->geo.data_blocks < SPARSE_SMALL)
		return c->geo.data_blocks / 2;
	return c->geo.data_blocks / 8 * eighths;
}

uint64_t
cache_space_room(const struct cache *c)
{
	uint64_t blocks = 0, others = (uint64_t)CACHE_FREE_FOR_OTHERS * c->geo.data_blocks;
	uint32_t most = sparse_most(c, SPARSE_EIGHTHS);
	for (uint32_t i = 0; i < c->geo.segment_count; i++) {
		const struct segment *s = &c->segs[i];
		if (s->bad || s->out)
			continue;
		if (s->state == SEG_FREE)
			blocks += c->geo.data_blocks;
		else if (s->state == SEG_SEALED && s->dirty <= most)
			blocks += c->geo.data_blocks - s->dirty;
	}
	return (blocks > others ? blocks - others : 0) + own_room(c);
}

/* The one that is emptied with the least work, or LOC_NONE. */
static uint32_t
sparsest(const struct cache *c, uint32_t free_count)
{
	uint32_t best = LOC_NONE, most = sparse_most(c, sparse_eighths(free_count));
	if (c->is_void || c->logs[CF_G].blocked || c->logs[CF_G].stalled)
		return LOC_NONE;
	for (uint32_t i = 0; i < c->geo.segment_count; i++) {
		const struct segment *s = &c->segs[i];
		if (s->state != SEG_SEALED || s->dirty == 0 || s->dirty > most || s->stuck)
			continue;
		if (best == LOC_NONE || s->dirty < c->segs[best].dirty)
			best = i;
	}
	return best;
}

/* The sealed segment with the least in it, if stores don't take it and moving it makes room. */
static uint32_t
stranded(const struct cache *c)
{
	uint32_t best = LOC_NONE;
	bool failing = false;
	LIST_FOREACH (n, &c->volumes)
		failing |= cache_volume_stuck(container_of(n, struct cache_volume, link));
	if (!failing || c->space.copying > 0 || c->space.moved || c->is_void)
		return LOC_NONE;
	for (uint32_t i = 0; i < c->geo.segment_count; i++) {
		const struct segment *s = &c->segs[i];
		if (s->state != SEG_SEALED || s->live == 0 || s->live > c->geo.data_blocks / 2)
			continue;
		if (best == LOC_NONE || s->live < c->segs[best].live)
			best = i;
	}
	return best;
}

static bool
any_dead(const struct cache *c)
{
	for (uint32_t i = 0; i < c->geo.segment_count; i++)
		if (cache_segment_all_dead(&c->segs[i]) && !c->segs[i].bad)
			return true;
	return false;
}

/* Nothing sealed is left to empty: what is in open segments has to go too, W's where nothing is dirty. What is clean
 * never keeps a segment while G has none and finds none [18]: else what is dirty couldn't be moved together, and where
 * its store takes nothing, nobody could write any more. */
static void
close_open(struct cache *c, uint32_t free_count)
{
	static const unsigned which[] = {CF_F, CACHE_LOG_MAIN, CF_W};
	bool dirty = false, none_for_g = free_count == 0 && c->logs[CF_G].seg == LOC_NONE;
	LIST_FOREACH (n, &c->volumes)
		dirty |= container_of(n, struct cache_volume, link)->ix.dirty_blocks > 0;
	for (unsigned i = 0; i < 3; i++) {
		struct cache_log *l = &c->logs[which[i]];
		bool must = none_for_g && l->stream == CF_F && !MUTANT(FILL_KEEPS_LAST);
		if (l->seg == LOC_NONE || l->busy || l->opening)
			continue;
		if (must || (!dirty && c->segs[l->seg].records > 0))
			cache_log_close(l);
	}
}

static void
press(struct cache *c, bool on)
{
	c->space.pressure = on;
	if (!on)
		return;
	/* What held them may have gone when data is clean. Once a tick: what can't be read holds them for good. */
	for (uint32_t i = 0; i < c->geo.segment_count && !c->space.again; i++)
		c->segs[i].stuck = false;
	c->space.again = true;
	LIST_FOREACH (n, &c->volumes)
		cache_destage_kick(container_of(n, struct cache_volume, link));
}

/* The index has a bound; what is dirty is in it all the same [19]. */
static void
index_look(struct cache *c)
{
	uint64_t bytes = c->pack.bytes;
	bool was = c->index_full;
	LIST_FOREACH (n, &c->volumes)
		bytes += container_of(n, struct cache_volume, link)->ix.bytes;
	c->index_full = c->tuning.index_bytes_max > 0 && bytes > c->tuning.index_bytes_max;
	if (was && !c->index_full)
		cache_log_kick(c);
}

/* With the least work that there is. */
static void
empty_one(struct cache *c, uint32_t free_count)
{
	uint32_t seg = cache_tier_victim(c);
	if (seg != LOC_NONE) {
		evict(c, seg, SPACE_EVICT);
		return;
	}
	seg = c->index_full ? LOC_NONE : sparsest(c, free_count);
	if (seg != LOC_NONE) {
		evict(c, seg, SPACE_GATHER);
		return;
	}
	press(c, true);
	if (c->index_full || free_count <= 1)
		close_open(c, free_count);
	seg = free_count <= 1 ? stranded(c) : LOC_NONE;
	if (seg != LOC_NONE)
		evict(c, seg, SPACE_STRAND);
}

static void
space_run(struct cache *c)
{
	if (c->space.evicting && !c->space.reading) {
		evict_more(c); /* also when the cache ends: what is under way is */
		/* Its end has asked for another run: this one would take what had to be left for
		 * something new, and that one would begin with it at once. */
		if (!c->space.evicting)
			return;
	}
	if (!c->loaded || c->stopping)
		return;
	index_look(c);
	uint32_t free_count = cache_segment_free_count(c), leaving = cache_resize_victim(c);
	uint32_t low = c->tuning.free_low_segments;
	/* Copies need somewhere to go; until there is room it is made as ever. */
	if (leaving != LOC_NONE && !c->space.evicting && c->space.copying == 0 && free_count > 1) {
		evict(c, leaving, SPACE_GATHER);
		return;
	}
	if (c->logs[CF_W].capped && low <= CACHE_FREE_FOR_OTHERS)
		low = CACHE_FREE_FOR_OTHERS + 1;
	if (free_count >= low && !c->index_full) {
		press(c, false);
		return;
	}
	if (any_dead(c) && !c->ck.running && !c->ck.put_off)
		cache_checkpoint_start(c);
	uint32_t dead = 0;
	for (uint32_t i = 0; i < c->geo.segment_count; i++)
		dead += cache_segment_all_dead(&c->segs[i]);
	if (c->space.evicting || (free_count + dead >= low && !c->index_full))
		return;
	empty_one(c, free_count);
}

void
cache_space_run(struct loop_defer *d)
{
	space_run(container_of(d, struct cache, space_defer));
}

void
cache_space_kick(struct cache *c)
{
	if (!loop_defer_queued(&c->space_defer))
		loop_defer(c->home, &c->space_defer);
}
