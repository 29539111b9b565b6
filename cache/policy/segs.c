/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * S3-FIFO where what is evicted is a segment: small holds what was written or filled, main what was
 * rewritten because it had been hit. Writing the hit blocks of a victim again costs SSD writes and
 * space, so a segment of which nearly all was hit keeps its place in the SSD and only changes its
 * place in the queue: its hit bits are cleared, so this ends after one round at most.
 *
 * Overwriting leaves holes. In small they go soon; in main, where data stays, a segment that is
 * mostly holes is emptied before its turn by moving all that is alive: each such victim gives back
 * two fifths of a segment at least. Without it a third of writes costs as much as half the SSD.
 */
#include "cache/policy/policy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "cache/policy/policy_priv.h"

#define SMALL_PERCENT 10u
#define KEEP_PERCENT 75u   /* of a segment's blocks hit: not worth copying */
#define SPARSE_PERCENT 60u /* of a segment's blocks alive: below it main is packed, not evicted */
#define BLOCKS_PER_SEG_MAX (1u << 20)
#define GHOST_SHIFT_MAX 12u
#define NIL UINT32_MAX

enum seg_state { SEG_FREE, SEG_OPEN, SEG_SEALED, SEG_EMPTYING };
/* Queues of sealed segments; the first two are the classes. */
enum { QUEUE_DEAD = POLICY_CLASS_COUNT, QUEUE_COUNT };

struct seg {
	uint32_t prev, next; /* towards older, younger; NIL at the ends */
	uint32_t live, dirty, hits;
	uint8_t state, class, queue;
	bool pack; /* emptying: for its holes, not for its age */
};

struct queue {
	uint32_t oldest, youngest;
	uint32_t count, clean; /* clean: without dirty blocks */
};

struct policy_segs {
	struct policy_segs_config cfg;
	struct seg *seg;
	uint64_t *hit; /* words_per_seg each */
	uint32_t words_per_seg;
	struct queue queue[QUEUE_COUNT];
	struct policy_ghost ghost;
	uint32_t free, open, emptying;
	struct policy_segs_stats stats;
};

static bool
config_ok(const struct policy_segs_config *cfg)
{
	return cfg->segs >= 2 && cfg->segs < NIL && cfg->blocks_per_seg >= 1 &&
	       cfg->blocks_per_seg <= BLOCKS_PER_SEG_MAX && cfg->ghost_shift <= GHOST_SHIFT_MAX;
}

int
policy_segs_create(const struct policy_segs_config *cfg, struct policy_segs **ret_segs)
{
	if (!config_ok(cfg))
		return -EINVAL;
	struct policy_segs *ps = calloc(1, sizeof *ps);
	if (!ps)
		return -ENOMEM;
	ps->cfg = *cfg;
	ps->words_per_seg = (cfg->blocks_per_seg + 63) / 64;
	ps->free = cfg->segs;
	for (unsigned q = 0; q < QUEUE_COUNT; q++)
		ps->queue[q] = (struct queue){.oldest = NIL, .youngest = NIL};
	ps->seg = calloc(cfg->segs, sizeof *ps->seg);
	ps->hit = calloc(cfg->segs, ps->words_per_seg * sizeof(uint64_t));
	uint64_t entries = ((uint64_t)cfg->segs * cfg->blocks_per_seg) >> cfg->ghost_shift;
	if (!ps->seg || !ps->hit || policy_ghost_init(&ps->ghost, entries ? entries : 1)) {
		policy_segs_destroy(ps);
		return -ENOMEM;
	}
	*ret_segs = ps;
	return 0;
}

void
policy_segs_destroy(struct policy_segs *ps)
{
	if (!ps)
		return;
	policy_ghost_fini(&ps->ghost);
	free(ps->hit);
	free(ps->seg);
	free(ps);
}

int
policy_segs_resize(struct policy_segs *ps, uint32_t segs)
{
	struct policy_segs_config cfg = ps->cfg;
	uint32_t had = cfg.segs;
	cfg.segs = segs;
	if (!config_ok(&cfg))
		return -EINVAL;
	if (segs > had) {
		struct seg *seg = calloc(segs, sizeof *seg);
		uint64_t *hit = calloc(segs, ps->words_per_seg * sizeof *hit);
		struct policy_ghost ghost;
		uint64_t entries = ((uint64_t)segs * cfg.blocks_per_seg) >> cfg.ghost_shift;
		if (!seg || !hit || policy_ghost_init(&ghost, entries ? entries : 1)) {
			free(seg);
			free(hit);
			return -ENOMEM;
		}
		memcpy(seg, ps->seg, had * sizeof *seg);
		memcpy(hit, ps->hit, had * ps->words_per_seg * sizeof *hit);
		free(ps->seg);
		free(ps->hit);
		policy_ghost_fini(&ps->ghost);
		ps->seg = seg;
		ps->hit = hit;
		ps->ghost = ghost;
	}
	for (uint32_t i = segs; i < had; i++)
		ASSERT(ps->seg[i].state == SEG_FREE);
	ps->cfg = cfg;
	ps->free = ps->free + segs - had;
	return 0;
}

static struct seg *
at(const struct policy_segs *ps, uint32_t seg)
{
	ASSERT(seg < ps->cfg.segs);
	return &ps->seg[seg];
}

static uint64_t *
hits_of(const struct policy_segs *ps, uint32_t seg)
{
	return ps->hit + (size_t)seg * ps->words_per_seg;
}

static void
clear_hits(struct policy_segs *ps, uint32_t seg)
{
	memset(hits_of(ps, seg), 0, ps->words_per_seg * sizeof(uint64_t));
	ps->seg[seg].hits = 0;
}

/* ---- queues ------------------------------------------------------------------------------ */

static void
enqueue(struct policy_segs *ps, uint32_t n, unsigned q, bool as_oldest)
{
	struct queue *to = &ps->queue[q];
	struct seg *s = &ps->seg[n];
	s->queue = (uint8_t)q;
	s->prev = as_oldest ? NIL : to->youngest;
	s->next = as_oldest ? to->oldest : NIL;
	*(s->prev == NIL ? &to->oldest : &ps->seg[s->prev].next) = n;
	*(s->next == NIL ? &to->youngest : &ps->seg[s->next].prev) = n;
	to->count++;
	to->clean += !s->dirty;
}

static void
dequeue(struct policy_segs *ps, uint32_t n)
{
	struct seg *s = &ps->seg[n];
	struct queue *from = &ps->queue[s->queue];
	*(s->prev == NIL ? &from->oldest : &ps->seg[s->prev].next) = s->next;
	*(s->next == NIL ? &from->youngest : &ps->seg[s->next].prev) = s->prev;
	ASSERT(from->count > 0);
	from->count--;
	from->clean -= !s->dirty;
}

static void
seal(struct policy_segs *ps, uint32_t n, bool as_oldest)
{
	struct seg *s = &ps->seg[n];
	s->state = SEG_SEALED;
	enqueue(ps, n, s->live ? s->class : QUEUE_DEAD, as_oldest);
}

/* ---- life of a segment ------------------------------------------------------------------- */

void
policy_segs_open(struct policy_segs *ps, uint32_t seg, enum policy_class class)
{
	struct seg *s = at(ps, seg);
	ASSERT(s->state == SEG_FREE);
	ASSERT(class < POLICY_CLASS_COUNT);
	*s = (struct seg){.state = SEG_OPEN, .class = (uint8_t) class};
	clear_hits(ps, seg);
	ps->free--;
	ps->open++;
}

void
policy_segs_seal(struct policy_segs *ps, uint32_t seg)
{
	ASSERT(at(ps, seg)->state == SEG_OPEN);
	ps->open--;
	seal(ps, seg, false);
}

void
policy_segs_restore(
    struct policy_segs *ps, uint32_t seg, enum policy_class class, uint32_t live, uint32_t dirty)
{
	policy_segs_open(ps, seg, class);
	policy_segs_count(ps, seg, (int32_t)live, (int32_t)dirty);
	policy_segs_seal(ps, seg);
}

void
policy_segs_free(struct policy_segs *ps, uint32_t seg)
{
	struct seg *s = at(ps, seg);
	ASSERT(s->state == SEG_SEALED || s->state == SEG_EMPTYING);
	ASSERT(s->dirty == 0);
	if (s->state == SEG_SEALED)
		dequeue(ps, seg);
	else
		ps->emptying--;
	*s = (struct seg){.state = SEG_FREE};
	ps->free++;
}

void
policy_segs_keep(struct policy_segs *ps, uint32_t seg)
{
	ASSERT(at(ps, seg)->state == SEG_EMPTYING);
	ps->emptying--;
	seal(ps, seg, true);
}

void
policy_segs_count(struct policy_segs *ps, uint32_t seg, int32_t live, int32_t dirty)
{
	struct seg *s = at(ps, seg);
	ASSERT(s->state != SEG_FREE);
	ASSERT((int64_t)s->live + live >= 0 && (int64_t)s->dirty + dirty >= 0);
	ASSERT((int64_t)s->live + live <= ps->cfg.blocks_per_seg);
	ASSERT((int64_t)s->live + live >= (int64_t)s->dirty + dirty);
	bool queued = s->state == SEG_SEALED;
	bool died = queued && s->live && s->live + live == 0;
	bool revived = queued && !s->live && live > 0;
	if (died || revived)
		dequeue(ps, seg);
	else if (queued)
		ps->queue[s->queue].clean -= !s->dirty;
	s->live += (uint32_t)live;
	s->dirty += (uint32_t)dirty;
	if (died || revived)
		seal(ps, seg, false);
	else if (queued)
		ps->queue[s->queue].clean += !s->dirty;
}

uint32_t
policy_segs_live(const struct policy_segs *ps, uint32_t seg)
{
	return at(ps, seg)->live;
}

uint32_t
policy_segs_dirty(const struct policy_segs *ps, uint32_t seg)
{
	return at(ps, seg)->dirty;
}

void
policy_segs_hit(struct policy_segs *ps, uint32_t seg, uint32_t block)
{
	struct seg *s = at(ps, seg);
	ASSERT(s->state != SEG_FREE && block < ps->cfg.blocks_per_seg);
	uint64_t *word = &hits_of(ps, seg)[block / 64], bit = 1ull << (block % 64);
	s->hits += !(*word & bit);
	*word |= bit;
}

bool
policy_segs_was_hit(const struct policy_segs *ps, uint32_t seg, uint32_t block)
{
	ASSERT(seg < ps->cfg.segs && block < ps->cfg.blocks_per_seg);
	return hits_of(ps, seg)[block / 64] >> (block % 64) & 1;
}

/* ---- choosing ---------------------------------------------------------------------------- */

enum policy_class
policy_segs_place(struct policy_segs *ps, uint64_t key)
{
	if (!policy_ghost_has(&ps->ghost, key >> ps->cfg.ghost_shift))
		return POLICY_SMALL;
	if (ps->cfg.ghost_shift == 0)
		policy_ghost_forget(&ps->ghost, key);
	ps->stats.ghost_hits++;
	return POLICY_MAIN;
}

static bool
worth_keeping(const struct policy_segs *ps, const struct seg *s)
{
	return (uint64_t)s->hits * 100 > (uint64_t)ps->cfg.blocks_per_seg * KEEP_PERCENT;
}

/* The oldest clean segment of a queue, or NIL. */
static uint32_t
oldest_clean(const struct policy_segs *ps, unsigned q)
{
	if (!ps->queue[q].clean)
		return NIL;
	uint32_t n = ps->queue[q].oldest;
	while (ps->seg[n].dirty)
		n = ps->seg[n].next;
	return n;
}

/* The clean segment of main with the least alive, if that is little enough to pack it; or NIL. */
static uint32_t
sparsest(const struct policy_segs *ps)
{
	uint64_t limit = (uint64_t)ps->cfg.blocks_per_seg * SPARSE_PERCENT;
	uint32_t best = NIL;
	for (uint32_t n = ps->queue[POLICY_MAIN].oldest; n != NIL; n = ps->seg[n].next)
		if (!ps->seg[n].dirty && (uint64_t)ps->seg[n].live * 100 < limit &&
		    (best == NIL || ps->seg[n].live < ps->seg[best].live))
			best = n;
	return best;
}

static uint32_t
choose(const struct policy_segs *ps, bool promoted, bool *ret_pack)
{
	const struct queue *small = &ps->queue[POLICY_SMALL], *main = &ps->queue[POLICY_MAIN];
	*ret_pack = false;
	if (ps->queue[QUEUE_DEAD].clean)
		return oldest_clean(ps, QUEUE_DEAD);
	uint32_t sparse = sparsest(ps);
	*ret_pack = sparse != NIL;
	if (sparse != NIL)
		return sparse;
	uint64_t small_max = (uint64_t)(small->clean + main->clean) * SMALL_PERCENT / 100;
	if (!small_max) /* with a handful of segments: or what is in main would stay for ever */
		small_max = 1;
	/* Nor may what was promoted for its hits be the next to go from a main that was empty. */
	bool from_small = small->clean > small_max || !main->clean || (promoted && small->clean);
	return oldest_clean(ps, from_small ? POLICY_SMALL : POLICY_MAIN);
}

int
policy_segs_victim(struct policy_segs *ps, uint32_t *ret_seg)
{
	bool promoted = false;
	for (;;) {
		bool pack;
		uint32_t n = choose(ps, promoted, &pack);
		if (n == NIL)
			return -EAGAIN;
		struct seg *s = &ps->seg[n];
		dequeue(ps, n);
		if (pack || !worth_keeping(ps, s)) {
			s->state = SEG_EMPTYING;
			s->pack = pack;
			ps->stats.packed += pack;
			ps->emptying++;
			ps->stats.victims++;
			*ret_seg = n;
			return 0;
		}
		ps->stats.promoted++;
		promoted |= s->class == POLICY_SMALL;
		s->class = POLICY_MAIN;
		clear_hits(ps, n);
		enqueue(ps, n, POLICY_MAIN, false);
	}
}

enum policy_verdict
policy_segs_judge(struct policy_segs *ps, uint32_t seg, uint32_t block, uint64_t key)
{
	ASSERT(at(ps, seg)->state == SEG_EMPTYING);
	bool hit = policy_segs_was_hit(ps, seg, block);
	if (hit || ps->seg[seg].pack) {
		ps->stats.rewritten++;
		return hit && ps->seg[seg].pack ? POLICY_REWRITE_HIT : POLICY_REWRITE;
	}
	ps->stats.dropped++;
	if (ps->seg[seg].class == POLICY_SMALL)
		policy_ghost_add(&ps->ghost, key >> ps->cfg.ghost_shift);
	return POLICY_DROP;
}

void
policy_segs_stats(const struct policy_segs *ps, struct policy_segs_stats *ret)
{
	*ret = ps->stats;
	ret->free = ps->free;
	ret->open = ps->open;
	ret->emptying = ps->emptying;
	ret->small = ps->queue[POLICY_SMALL].count;
	ret->main = ps->queue[POLICY_MAIN].count;
	ret->dead = ps->queue[QUEUE_DEAD].count;
}
