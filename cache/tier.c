/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which segments go, and what of them is kept: S3-FIFO by segment, of cache/policy. Nothing here decides about
 * safety: what may be dropped, and when a copy takes over, is in liveness.c and copy.c.
 *
 * The policy learns of hits and of opened segments at once, of all else when a victim is wanted: counts, what
 * was sealed, what has become free. A segment of which everything is dead is no victim: a checkpoint frees it.
 */
#include "cache/cache_priv.h"

#include <stdlib.h>

#ifdef CACHE_SIM
#define GHOST_SHIFT 0u
#else
#define GHOST_SHIFT 4u /* 64 KiB share an entry */
#endif

#ifdef CACHE_SIM
#define MRC_ENTRIES 32u
#else
#define MRC_ENTRIES 8192u /* 3 MiB for all points */
#endif
#define MRC_DECAY_NS 600000000000ull

/* Without a curve the cache works as well. */
static void
mrc_create(struct cache *c)
{
	struct policy_mrc_config cfg = {.entries_max = MRC_ENTRIES};
	c->mrc_blocks = (uint64_t)c->geo.segment_count * c->geo.segment_blocks;
	for (unsigned quarters = 1; quarters <= 32; quarters *= 2)
		cfg.blocks[cfg.points++] = c->mrc_blocks * quarters / 4;
	c->mrc = NULL;
	if (policy_mrc_create(&cfg, &c->mrc) < 0)
		c->mrc = NULL;
}

int
cache_tier_init(struct cache *c)
{
	struct policy_segs_config cfg = {
	    .segs = c->geo.segment_count,
	    .blocks_per_seg = c->geo.data_blocks,
	    .ghost_shift = GHOST_SHIFT,
	};
	int err = policy_segs_create(&cfg, &c->tier);
	if (err == 0)
		err = policy_streams_create(&(struct policy_streams_config){0}, &c->streams);
	if (err == 0)
		mrc_create(c);
	return err;
}

void
cache_tier_fini(struct cache *c)
{
	policy_segs_destroy(c->tier);
	policy_streams_destroy(c->streams);
	policy_mrc_destroy(c->mrc);
}

/* ---- what the policy knows ------------------------------------------------------------------ */

static void
count(struct cache *c, uint32_t seg, uint32_t live, uint32_t dirty)
{
	int64_t more = (int64_t)live - policy_segs_live(c->tier, seg);
	int64_t more_dirty = (int64_t)dirty - policy_segs_dirty(c->tier, seg);
	if (more != 0 || more_dirty != 0)
		policy_segs_count(c->tier, seg, (int32_t)more, (int32_t)more_dirty);
}

static void
forget(struct cache *c, uint32_t seg)
{
	struct segment *s = &c->segs[seg];
	if (s->tier == TIER_FREE)
		return;
	count(c, seg, 0, 0);
	if (s->tier == TIER_OPEN)
		policy_segs_seal(c->tier, seg);
	policy_segs_free(c->tier, seg);
	s->tier = TIER_FREE;
}

int
cache_tier_resize(struct cache *c, uint32_t segments)
{
	for (uint32_t i = segments; i < c->geo.segment_count; i++)
		forget(c, i);
	return policy_segs_resize(c->tier, segments);
}

void
cache_tier_opened(struct cache *c, uint32_t seg, bool main)
{
	forget(c, seg); /* it was free meanwhile */
	policy_segs_open(c->tier, seg, main ? POLICY_MAIN : POLICY_SMALL);
	c->segs[seg].tier = TIER_OPEN;
}

static void
learn(struct cache *c, uint32_t seg)
{
	struct segment *s = &c->segs[seg];
	if (s->state == SEG_FREE || s->state == SEG_LOST) {
		forget(c, seg);
		return;
	}
	if (s->tier == TIER_FREE)
		cache_tier_opened(c, seg, s->stream == CF_G); /* found at recovery */
	/* Packed blocks may be more than it has room for. */
	count(c, seg, s->live < c->geo.data_blocks ? s->live : c->geo.data_blocks, s->dirty);
	if (s->tier == TIER_OPEN && s->state == SEG_SEALED) {
		policy_segs_seal(c->tier, seg);
		s->tier = TIER_SEALED;
	}
}

static int
by_order(const void *a, const void *b)
{
	const struct segment *x = *(struct segment *const *)a, *y = *(struct segment *const *)b;
	return x->order < y->order ? -1 : x->order > y->order;
}

/* After recovery: from the oldest to the youngest, so that they stand in the queue as before. */
void
cache_tier_recovered(struct cache *c)
{
	struct segment **all = calloc(c->geo.segment_count, sizeof *all);
	for (uint32_t i = 0; i < c->geo.segment_count && all != NULL; i++)
		all[i] = &c->segs[i];
	if (all != NULL)
		qsort(all, c->geo.segment_count, sizeof *all, by_order);
	for (uint32_t i = 0; i < c->geo.segment_count; i++)
		learn(c, all != NULL ? (uint32_t)(all[i] - c->segs) : i);
	free(all);
}

void
cache_tier_hit(struct cache *c, uint32_t loc, uint64_t blocks)
{
	uint32_t seg = seg_index(c, loc);
	if (c->segs[seg].tier == TIER_FREE)
		return; /* while it is being recovered */
	for (uint32_t i = 0; i < blocks; i++)
		policy_segs_hit(c->tier, seg, unit_of(c, loc + i));
}

bool
cache_tier_was_hit(const struct cache *c, uint32_t loc)
{
	uint32_t seg = seg_index(c, loc);
	return c->segs[seg].tier != TIER_FREE && policy_segs_was_hit(c->tier, seg, unit_of(c, loc));
}

unsigned
cache_tier_place(struct cache *c, const struct cache_volume *v, uint64_t block)
{
	bool main = policy_segs_place(c->tier, policy_key(v->row.id, block)) == POLICY_MAIN;
	return main && !c->logs[CACHE_LOG_MAIN].blocked ? CACHE_LOG_MAIN : CF_F;
}

bool
cache_tier_scans(struct cache_volume *v, uint64_t block, uint64_t blocks)
{
	struct cache *c = v->c;
	struct policy_stream_answer a;
	policy_streams_read(
	    c->streams, loop_now_ns(c->home), v->row.id, block, (uint32_t)blocks, &a);
	return v->fill.cutoff_bytes > 0 && a.sequential &&
	       a.run_blocks > v->fill.cutoff_bytes >> CF_BLOCK_SHIFT;
}

/* ---- what other sizes would do --------------------------------------------------------------- */

void
cache_tier_sample(
    struct cache_volume *v, uint64_t block, uint64_t blocks, enum policy_mrc_kind kind)
{
	struct cache *c = v->c;
	if (c->mrc == NULL)
		return;
	for (uint64_t i = 0; i < blocks; i++)
		policy_mrc_access(c->mrc, policy_key(v->row.id, block + i), kind);
	uint64_t now = loop_now_ns(c->home);
	if (now - c->mrc_decay_ns > MRC_DECAY_NS) {
		c->mrc_decay_ns = now;
		policy_mrc_decay(c->mrc);
	}
}

uint32_t
cache_curve(struct cache *c, struct policy_mrc_point ret[POLICY_MRC_POINTS_MAX])
{
	ASSERT(loop_is_current(c->home));
	if (c->mrc_blocks != (uint64_t)c->geo.segment_count * c->geo.segment_blocks) {
		policy_mrc_destroy(c->mrc); /* its size changed */
		mrc_create(c);
	}
	return c->mrc != NULL ? policy_mrc_read(c->mrc, ret) : 0;
}

/* ---- the next to go ------------------------------------------------------------------------- */

uint32_t
cache_tier_victim(struct cache *c)
{
	uint32_t found = LOC_NONE, seg, skipped = LOC_NONE;
	for (uint32_t i = 0; i < c->geo.segment_count; i++)
		learn(c, i);
	while (found == LOC_NONE && policy_segs_victim(c->tier, &seg) == 0) {
		struct segment *s = &c->segs[seg];
		s->tier = TIER_EMPTYING;
		if (s->live == 0)
			continue; /* a checkpoint frees it */
		if (!s->stuck && s->state == SEG_SEALED) {
			found = seg;
			break;
		}
		s->skipped = skipped;
		skipped = seg;
	}
	while (skipped != LOC_NONE) {
		struct segment *s = &c->segs[skipped];
		uint32_t next = s->skipped;
		policy_segs_keep(c->tier, skipped);
		s->tier = TIER_SEALED;
		skipped = next;
	}
	return found;
}

enum policy_verdict
cache_tier_judge(struct cache *c, uint32_t loc, const struct cache_volume *v, uint64_t block)
{
	uint32_t seg = seg_index(c, loc);
	if (c->segs[seg].tier != TIER_EMPTYING) /* it is gathered, before its time */
		return cache_tier_was_hit(c, loc) ? POLICY_REWRITE : POLICY_DROP;
	return policy_segs_judge(c->tier, seg, unit_of(c, loc), policy_key(v->row.id, block));
}

void
cache_tier_emptied(struct cache *c, uint32_t seg)
{
	struct segment *s = &c->segs[seg];
	if (s->tier != TIER_EMPTYING || s->live == 0)
		return;
	policy_segs_keep(c->tier, seg);
	s->tier = TIER_SEALED;
}
