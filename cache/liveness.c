/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which units of the log are needed, and when an entry may leave the index [6].
 *
 * A unit dies when the index stops showing it: superseded by what is durable, or dropped while clean.
 * Dropping sets the dead bit, whatever the reason. An entry may be dropped, and a clean bit may be set,
 * only while nothing older that isn't dead lies under it: after a crash that would show through. Older
 * data blocks die when they are superseded; what can be older and alive is a record of zeros of which
 * other parts are still shown, and a copy on its way.
 *
 * A zero record is one unit for any number of blocks: it counts what of it is shown, and dies with the
 * last one. Zeros leave the index as soon as the store has them and nothing older is under them.
 */
#include "cache/cache_priv.h"

#include <stdlib.h>

static void
mark_dead(const struct cache *c, const struct segment *s, uint32_t loc)
{
	if (MUTANT(PACK_ONE_BIT) && is_packed(c, loc) && (loc & 1))
		return;
	bit_set(dead_map(c, s, loc), unit_of(c, loc));
}

static void
unit_dead(struct cache *c, uint32_t loc)
{
	struct segment *s = seg_of(c, loc);
	uint32_t u = unit_of(c, loc);
	ASSERT(s->live > 0 && (!bit_get(dead_map(c, s, loc), u) || MUTANT(EARLY_DEAD)));
	mark_dead(c, s, loc);
	s->live--;
	s->changed = true;
	if (s->live == 0 && c->loaded)
		cache_space_kick(c);
}

void
cache_zero_clean(struct cache_volume *v, struct cache_zero *z, uint64_t blocks)
{
	z->dirty -= blocks;
	v->dirty_zeros -= blocks;
	if (z->dirty == 0)
		seg_of(v->c, z->loc)->dirty--;
}

void
cache_gone(void *volume, const struct cache_piece *old)
{
	struct cache_volume *v = volume;
	struct cache *c = v->c;
	bool dirty = old->flags & CACHE_EXT_DIRTY;
	if (old->kind == CACHE_DATA) {
		if (dirty)
			seg_of(c, old->loc)->dirty -= (uint32_t)old->count;
		/* What is written over while it is here is hot: else it would look new for ever. A copy
		 * that takes over is as hot as it was. */
		if (v->over != NULL &&
		    (v->over->ver != old->ver || cache_tier_was_hit(c, old->loc)))
			cache_tier_hit(
			    c, v->over->loc + (uint32_t)(old->block - v->over->block), old->count);
		for (uint32_t i = 0; i < old->count; i++)
			unit_dead(c, old->loc + i);
		return;
	}
	struct cache_zero *z = c->zeros[old->loc];
	ASSERT(old->kind == CACHE_ZERO && z != NULL && z->ver == old->ver);
	ASSERT(z->live >= old->count && (!dirty || z->dirty >= old->count));
	z->live -= old->count;
	if (dirty)
		cache_zero_clean(v, z, old->count);
	if (z->live == 0) {
		unit_dead(c, z->loc);
		cache_zero_free(z);
	}
}

/* ---- records of zeros ---------------------------------------------------------------------- */

struct cache_zero *
cache_zero_make(struct cache_volume *v, uint64_t block, uint64_t count, uint64_t ver, uint32_t loc,
    bool no_unmap)
{
	struct cache *c = v->c;
	uint32_t id = c->zeros_free;
	while (id < c->zeros_cap && c->zeros[id] != NULL)
		id++;
	if (id == c->zeros_cap) {
		c->zeros_cap = c->zeros_cap != 0 ? c->zeros_cap * 2 : 64;
		c->zeros = realloc(c->zeros, c->zeros_cap * sizeof(struct cache_zero *));
		ASSERT(c->zeros != NULL);
		for (uint32_t i = id; i < c->zeros_cap; i++)
			c->zeros[i] = NULL;
	}
	c->zeros_free = id + 1;
	struct cache_zero *z = calloc(1, sizeof *z);
	ASSERT(z != NULL);
	*z = (struct cache_zero){
	    .vol = v,
	    .block = block,
	    .count = count,
	    .ver = ver,
	    .loc = loc,
	    .id = id,
	    .no_unmap = no_unmap,
	};
	c->zeros[id] = z;
	struct list *at = v->zeros.prev;
	while (at != &v->zeros && container_of(at, struct cache_zero, link)->ver > ver)
		at = at->prev;
	list_insert_after(at, &z->link);
	return z;
}

void
cache_zero_free(struct cache_zero *z)
{
	struct cache *c = z->vol->c;
	list_remove(&z->link);
	c->zeros[z->id] = NULL;
	if (z->id < c->zeros_free)
		c->zeros_free = z->id;
	free(z);
}

static bool
overlap(uint64_t a, uint64_t an, uint64_t b, uint64_t bn)
{
	return a < b + bn && b < a + an;
}

bool
cache_hides(const struct cache_volume *v, uint64_t block, uint64_t count, uint64_t ver)
{
	if (MUTANT(ZERO_DROP))
		return false;
	LIST_FOREACH (n, &v->zeros) {
		const struct cache_zero *z = container_of(n, struct cache_zero, link);
		if (z->ver >= ver)
			break;
		if (overlap(z->block, z->count, block, count))
			return true;
	}
	/* On their way to the log, or written and not applied yet. */
	LIST_FOREACH (n, &v->fills) {
		const struct cache_fill *f = container_of(n, struct cache_fill, link);
		if (overlap(f->block, f->count, block, count) && !MUTANT(FILL_NO_CANCEL))
			return true;
	}
	LIST_FOREACH (n, &v->copies) {
		const struct cache_copy *k = container_of(n, struct cache_copy, link);
		if (overlap(k->was.block, k->was.count, block, count))
			return true;
	}
	return false;
}

/* Zeros that the store has, oldest first: one that goes may let the next one go. */
void
cache_zeros_drop(struct cache_volume *v)
{
	LIST_FOREACH_SAFE (n, &v->zeros) {
		struct cache_zero *z = container_of(n, struct cache_zero, link);
		if (z->dirty > 0 || cache_hides(v, z->block, z->count, z->ver))
			continue;
		uint64_t end = z->block + z->count, left = z->live, ver = z->ver;
		uint32_t id = z->id;
		struct cache_piece p;
		for (uint64_t at = z->block;
		     left > 0 && cache_index_next(&v->ix, at, end, CACHE_EXT_ZERO, &p);
		     at = p.block + p.count) {
			if (p.loc != id || p.ver != ver)
				continue;
			left -= p.count;
			struct cache_piece hole = {
			    .block = p.block, .count = p.count, .kind = CACHE_HOLE};
			cache_index_set(&v->ix, &hole, cache_gone, v); /* frees z with the last */
		}
		ASSERT(left == 0);
	}
}

void
cache_units_dead(struct cache *c, uint32_t loc, uint64_t count)
{
	struct segment *s = seg_of(c, loc);
	for (uint32_t i = 0; i < count; i++)
		mark_dead(c, s, loc + i);
	s->changed = true;
}

/* ---- entries ------------------------------------------------------------------------------- */

void
cache_apply(struct cache_volume *v, const struct cache_ent *e, uint64_t ver, uint8_t flags)
{
	struct cache *c = v->c;
	struct segment *s = seg_of(c, e->loc);
	struct cache_piece p = {
	    .block = e->block,
	    .count = e->count,
	    .ver = ver,
	    .loc = e->loc,
	    .mask = e->mask,
	    .flags = flags,
	    .kind = CACHE_DATA,
	};
	bool dirty = flags & CACHE_EXT_DIRTY;
	if (e->flags & CF_DESC_ZERO) {
		struct cache_zero *z = cache_zero_make(
		    v, e->block, e->count, ver, e->loc, e->flags & CF_DESC_NO_UNMAP);
		z->live = e->count;
		z->dirty = dirty ? e->count : 0;
		v->dirty_zeros += z->dirty;
		p.loc = z->id;
		p.flags |= CACHE_EXT_ZERO;
		p.kind = CACHE_ZERO;
		s->live++;
		s->dirty += dirty;
	} else {
		s->live += (uint32_t)e->count;
		if (dirty)
			s->dirty += (uint32_t)e->count;
		else if (!is_packed(c, e->loc) && !cache_hides(v, e->block, e->count, ver))
			for (uint32_t i = 0; i < e->count; i++)
				bit_set(s->clean, unit_of(c, e->loc) + i);
	}
	s->changed = true;
	v->over = dirty && p.kind == CACHE_DATA && c->loaded ? &p : NULL;
	cache_index_set(&v->ix, &p, cache_gone, v);
	v->over = NULL;
}

uint64_t
cache_drop(struct cache_volume *v, uint64_t block, uint64_t count, uint32_t loc)
{
	uint64_t first = block, end = block + count, dropped = 0;
	struct cache_piece p;
	for (; cache_index_next(&v->ix, block, end, 0, &p); block = p.block + p.count) {
		if ((p.flags & CACHE_EXT_DIRTY) || p.kind != CACHE_DATA)
			continue;
		if (loc != LOC_NONE && p.loc != loc + (uint32_t)(p.block - first))
			continue;
		if (cache_hides(v, p.block, p.count, p.ver))
			continue;
		struct cache_piece hole = {.block = p.block, .count = p.count, .kind = CACHE_HOLE};
		cache_index_set(&v->ix, &hole, cache_gone, v);
		dropped += p.count;
	}
	return dropped;
}

struct turn {
	struct cache_volume *v;
	const struct cache_piece *was;
};

static uint8_t
turn_one(void *ctx, const struct cache_piece *p)
{
	struct turn *t = ctx;
	struct cache *c = t->v->c;
	const struct cache_piece *was = t->was;
	if (!(p->flags & CACHE_EXT_DIRTY) || p->kind != was->kind)
		return p->flags;
	/* Wherever it lies by now: a copy has the ver of what it copies. Zeros have a number. */
	bool same = p->ver == was->ver && (p->kind == CACHE_DATA || p->loc == was->loc);
	if (!same && !MUTANT(CLEAN_NO_CHECK))
		return p->flags; /* a newer version came meanwhile [9] */
	if (p->kind == CACHE_ZERO) {
		cache_zero_clean(t->v, c->zeros[p->loc], p->count);
	} else {
		struct segment *s = seg_of(c, p->loc);
		s->dirty -= (uint32_t)p->count;
		s->changed = true;
		if (!cache_hides(t->v, p->block, p->count, p->ver))
			for (uint32_t i = 0; i < p->count; i++)
				bit_set(s->clean, unit_of(c, p->loc) + i);
	}
	return p->flags & (uint8_t)~CACHE_EXT_DIRTY;
}

void
cache_turn_clean(struct cache_volume *v, const struct cache_piece *was)
{
	struct turn t = {v, was};
	cache_index_change(&v->ix, was->block, was->count, turn_one, &t);
}
