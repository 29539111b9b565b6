/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which dirty blocks go next, in which order: those of the oldest segments, so that whole segments turn
 * clean, with their dirty neighbours, so that the store gets few and long writes; whole stripes first where
 * it tells its stripe. Nothing here decides about safety: what isn't picked stays dirty.
 *
 * The index is searched upwards from where the last batch ended. Dirty pieces that touch form a run, which
 * is taken if one of them is due. A few clean blocks that are cached between two of them are written once more
 * where operations of the store are dear: the store has the same there [9].
 */
#include "cache/cache_priv.h"

#include <string.h>

#define LOOKS_MAX 8192u          /* pieces of one batch: clients wait meanwhile */
#define FEW_BLOCKS 64u           /* are no batch for a store that drains */
#define GAP_MAX 4u               /* blocks */
#define GAP_FROM_NS 500000u      /* latency of the store from which on gaps are written */
#define RUN_BLOCKS 256u          /* of one store write, unless its stripe is longer */
#define ZERO_BLOCKS_MAX (65536u) /* 256 MiB in one operation */

struct search {
	struct cache_volume *v;
	uint32_t found, picks; /* used of d->found, of d->picks */
	uint32_t blocks, singles;
	uint32_t run_found, run_picks, run_blocks; /* the same, where the run began */
	uint64_t run_start, run_end;
	bool in_run, due, gaps, all; /* all: whatever is dirty is due */
	uint32_t stripe, limit;
};

/* In blocks; 0: it isn't known, or nothing that a write could fill. */
static uint32_t
stripe_of(const struct cache_volume *v)
{
	uint32_t bytes = blk_get_info(v->store)->optimal_bytes;
	if (bytes < 2 * CF_BLOCK_BYTES || bytes % CF_BLOCK_BYTES != 0 || bytes > BLK_IO_MAX_BYTES)
		return 0;
	return bytes >> CF_BLOCK_SHIFT;
}

static bool
gaps_pay(const struct cache_volume *v)
{
	return (blk_get_info(v->store)->caps & BLK_CAP_ROTATIONAL) || v->d.write_ns > GAP_FROM_NS;
}

/* ---- runs -------------------------------------------------------------------------------- */

static void
run_close(struct search *s)
{
	if (s->in_run && !s->due) {
		s->found = s->run_found;
		s->picks = s->run_picks;
		s->blocks = s->run_blocks;
	}
	s->in_run = s->due = false;
}

static void
run_open(struct search *s, uint64_t block)
{
	if (s->in_run && s->run_end == block)
		return;
	run_close(s);
	s->in_run = true;
	s->run_start = block;
	s->run_found = s->found;
	s->run_picks = s->picks;
	s->run_blocks = s->blocks;
}

static bool
has_room(const struct search *s, uint32_t picks, uint64_t blocks)
{
	const struct destage *d = &s->v->d;
	return s->found + s->singles + picks <= d->cap && s->blocks + blocks <= d->blocks;
}

/* Pieces don't cross stripes. False: no room, and nothing of it was taken. */
static bool
add(struct search *s, const struct cache_piece *p, enum policy_pick_kind kind)
{
	struct destage *d = &s->v->d;
	uint32_t parts = s->stripe != 0 ? (uint32_t)(p->count / s->stripe) + 2 : 1;
	if (!has_room(s, parts, p->count))
		return false;
	struct cache_piece left = *p;
	while (left.count > 0) {
		struct cache_piece part = left;
		if (s->stripe != 0 && part.count > s->stripe - part.block % s->stripe)
			part.count = s->stripe - part.block % s->stripe;
		d->picks[s->picks++] = (struct policy_pick_item){
		    .lba = part.block,
		    .blocks = (uint32_t)part.count,
		    .kind = (uint8_t)kind,
		    .ctx = &d->found[s->found],
		};
		d->found[s->found++] =
		    (struct destage_item){.piece = part, .gap = kind == POLICY_PICK_GAP};
		left.block += part.count;
		left.loc += (uint32_t)part.count;
		left.count -= part.count;
	}
	s->blocks += (uint32_t)p->count;
	s->run_end = p->block + p->count;
	s->due |= kind == POLICY_PICK_DUE;
	return true;
}

/* Clean blocks from the run's end to `block`, if all of them are here. */
static void
bridge(struct search *s, uint64_t block)
{
	uint64_t at = s->run_end;
	uint32_t found = s->found, picks = s->picks, blocks = s->blocks;
	if (!s->gaps || !s->in_run || block == at || block - at > GAP_MAX)
		return;
	while (at < block) {
		struct cache_piece p;
		cache_index_lookup(&s->v->ix, at, block - at, &p);
		if (p.kind != CACHE_DATA || p.mask != 0xff ||
		    (p.flags & (CACHE_EXT_DIRTY | CACHE_EXT_BAD)) || is_packed(s->v->c, p.loc) ||
		    !add(s, &p, POLICY_PICK_GAP)) {
			/* A run ends with what is dirty. */
			s->found = found;
			s->picks = picks;
			s->blocks = blocks;
			s->run_end = UINT64_MAX;
			return;
		}
		at += p.count;
	}
}

/* What goes by itself: zeros, blocks of which only some sectors are here. */
static bool
add_single(struct search *s, const struct cache_piece *p)
{
	struct destage *d = &s->v->d;
	uint32_t blocks = p->kind == CACHE_DATA ? 1 : 0;
	run_close(s);
	if (!has_room(s, 1, blocks))
		return false;
	/* From the end: the order of the rest isn't known yet. */
	d->found[d->cap - 1 - s->singles++] = (struct destage_item){.piece = *p};
	s->blocks += blocks;
	return true;
}

static bool
is_due(const struct search *s, const struct cache_piece *p)
{
	const struct cache *c = s->v->c;
	if (s->all)
		return true;
	uint32_t loc = p->kind == CACHE_ZERO ? c->zeros[p->loc]->loc : p->loc;
	return c->segs[seg_index(c, loc)].order <= s->v->d.due_order;
}

/* False: the batch is full; the piece is the next one's. A piece that is too long is cut. */
static bool
take(struct search *s, struct cache_piece *p)
{
	const struct destage *d = &s->v->d;
	bool due = is_due(s, p);
	if (p->kind == CACHE_ZERO) {
		if (p->count > ZERO_BLOCKS_MAX)
			p->count = ZERO_BLOCKS_MAX;
		return !due || add_single(s, p);
	}
	if (p->mask != 0xff)
		return !due || add_single(s, p);
	bridge(s, p->block);
	if (s->blocks >= s->limit && !(s->in_run && s->run_end == p->block && s->due))
		return false;
	if (p->count > d->blocks - s->blocks)
		p->count = d->blocks - s->blocks;
	if (p->count == 0)
		return false;
	run_open(s, p->block);
	return add(s, p, due ? POLICY_PICK_DUE : POLICY_PICK_EXTRA);
}

/* What is lost can't be destaged, and what is written over it now may miss this round: who waits for the
 * range is told. */
static void
passed_over(struct cache_volume *v, const struct cache_piece *p)
{
	LIST_FOREACH (n, &v->clean_waiters) {
		struct cache_waiter *w = container_of(n, struct cache_waiter, link);
		w->is_lost |= p->block < w->a + w->b && w->a < p->block + p->count;
	}
}

/* ---- the batch ----------------------------------------------------------------------------- */

static void
append(struct cache_volume *v, const struct destage_item *from)
{
	struct destage *d = &v->d;
	struct destage_item *it = &d->items[d->count++];
	*it = *from;
	it->at = d->blocks_used;
	it->err = 0;
	if (it->piece.kind != CACHE_DATA)
		return;
	d->blocks_used += (uint32_t)it->piece.count;
	cache_segment_pin(v->c, it->piece.loc);
}

/* Puts what was found into the order of the store. */
static void
arrange(struct search *s, uint64_t cursor)
{
	struct cache_volume *v = s->v;
	struct destage *d = &v->d;
	struct policy_pick_config cfg = {
	    .run_max_blocks = d->run_blocks,
	    .stripe_blocks = s->stripe,
	    .cursor_lba = cursor,
	};
	d->count = d->blocks_used = 0;
	uint32_t runs = s->picks > 0 ? policy_pick(&cfg, d->picks, s->picks, d->runs, d->cap) : 0;
	for (uint32_t i = 0; i < runs; i++)
		for (uint32_t k = 0; k < d->runs[i].count; k++)
			append(v, d->picks[d->runs[i].first + k].ctx);
	for (uint32_t i = 0; i < s->singles; i++)
		append(v, &d->found[d->cap - 1 - i]);
	ASSERT(d->count <= d->cap && d->blocks_used <= d->blocks);
}

bool
cache_destage_pick(struct cache_volume *v)
{
	struct destage *d = &v->d;
	struct search s = {
	    .v = v,
	    .stripe = stripe_of(v),
	    .gaps = gaps_pay(v),
	    .all = cache_destage_all(v),
	    .run_end = UINT64_MAX,
	};
	uint64_t cursor = d->cursor, at = cursor, end = v->blocks;
	bool wrapped = at == 0, more = false, counted = false;
	bool drains = cache_destage_drains(v);
	s.limit = d->credit < d->blocks && !drains ? (uint32_t)d->credit : d->blocks;
	d->run_blocks = s.stripe > RUN_BLOCKS ? s.stripe : RUN_BLOCKS;
	d->sweeps += wrapped;
	for (uint32_t looks = 0;; looks++) {
		struct cache_piece p;
		if (looks == LOOKS_MAX && !s.all) {
			more = true;
			if (!drains || s.blocks >= FEW_BLOCKS)
				break;
			s.all = true; /* the due ones are elsewhere: room comes from here, too */
		}
		if (!cache_index_next(&v->ix, at, end, CACHE_EXT_DIRTY, &p)) {
			if (wrapped)
				break;
			wrapped = true;
			run_close(&s);
			d->sweeps++;
			counted = true;
			end = cursor;
			at = 0;
			continue;
		}
		if (p.flags & CACHE_EXT_BAD) {
			passed_over(v, &p);
			at = p.block + p.count;
			continue;
		}
		at = p.block;
		if (!take(&s, &p)) {
			more = true;
			break;
		}
		at = p.block + p.count;
	}
	/* The run that would begin anew with the next batch begins there whole. */
	if (more && s.in_run && !s.due && s.run_start < at)
		at = s.run_picks > 0 ? s.run_start : at;
	run_close(&s);
	d->cursor = at < v->blocks ? at : 0;
	/* The sweep that would have begun here begins with the next batch: it counts once [21]. */
	if (counted && d->cursor == 0)
		d->sweeps--;
	arrange(&s, cursor);
	return more;
}
