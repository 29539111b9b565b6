/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The index of a volume: pages of 512 chunks, chunks with a sorted array of extents, ranges of zeros.
 * A change rebuilds the array of one chunk, at most 4 KiB.
 */
#include "cache/index.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

#define PAGE_SHIFT 9u
#define PAGE_CHUNKS (1u << PAGE_SHIFT)
#define RANGE_CHUNKS_MIN 2u /* fewer whole chunks of zeros aren't worth a range */
#define EXTS_MAX (CACHE_CHUNK_BLOCKS + 2u)
#define GROW_FAST 48u /* extents: a chunk of fewer grows by half, so that it moves seldom */
#define GUESS_OFF 8u  /* extents, by which a guess may be wrong; two cache lines */

struct cache_ext {
	uint8_t first, last; /* blocks of the chunk */
	uint8_t mask, flags;
	uint32_t loc;
	uint64_t ver;
};

_Static_assert(sizeof(struct cache_ext) == 16, "the memory bound counts on it");
_Static_assert(CACHE_CHUNK_SHIFT <= 8, "first and last are bytes");

struct chunk {
	uint16_t count, cap, dirty;
	struct cache_ext ext[];
};

struct cache_page {
	uint32_t used, dirty; /* chunks that exist; those of them with dirty blocks */
	struct chunk *chunks[PAGE_CHUNKS];
};

struct cache_zrange {
	uint64_t first, last; /* chunks */
	uint64_t ver;
	uint32_t loc;
	uint8_t flags;
};

static void *
must(void *p)
{
	ASSERT(p != NULL);
	return p;
}

static uint64_t
chunk_of(uint64_t block)
{
	return block >> CACHE_CHUNK_SHIFT;
}

void
cache_index_init(struct cache_index *ix)
{
	*ix = (struct cache_index){0};
}

void
cache_index_fini(struct cache_index *ix)
{
	for (uint64_t i = 0; i < ix->page_count; i++) {
		for (unsigned k = 0; ix->pages[i] != NULL && k < PAGE_CHUNKS; k++)
			free(ix->pages[i]->chunks[k]);
		free(ix->pages[i]);
	}
	free(ix->pages);
	free(ix->ranges);
	cache_index_init(ix);
}

static struct chunk *
chunk_get(const struct cache_index *ix, uint64_t c)
{
	uint64_t p = c >> PAGE_SHIFT;
	if (p >= ix->page_count || ix->pages[p] == NULL)
		return NULL;
	return ix->pages[p]->chunks[c & (PAGE_CHUNKS - 1)];
}

static struct cache_page *
page_make(struct cache_index *ix, uint64_t p)
{
	if (p >= ix->page_count) {
		uint64_t n = p + 1 + p / 4;
		ix->pages = must(realloc(ix->pages, n * sizeof *ix->pages));
		memset(ix->pages + ix->page_count, 0, (n - ix->page_count) * sizeof *ix->pages);
		ix->bytes += (n - ix->page_count) * sizeof *ix->pages;
		ix->page_count = n;
	}
	if (ix->pages[p] == NULL) {
		ix->pages[p] = must(calloc(1, sizeof **ix->pages));
		ix->bytes += sizeof **ix->pages;
	}
	return ix->pages[p];
}

/* ---- ranges ------------------------------------------------------------------------------ */

/* The first range that ends at or after chunk c. */
static uint32_t
range_at(const struct cache_index *ix, uint64_t c)
{
	uint32_t lo = 0, hi = ix->range_count;
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		if (ix->ranges[mid].last < c)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static const struct cache_zrange *
range_of(const struct cache_index *ix, uint64_t c)
{
	uint32_t i = range_at(ix, c);
	return i < ix->range_count && ix->ranges[i].first <= c ? &ix->ranges[i] : NULL;
}

static void
range_insert(struct cache_index *ix, uint32_t at, const struct cache_zrange *r)
{
	if (ix->range_count == ix->range_cap) {
		ix->range_cap = ix->range_cap != 0 ? ix->range_cap * 2 : 8;
		ix->ranges = must(realloc(ix->ranges, ix->range_cap * sizeof *r));
	}
	memmove(ix->ranges + at + 1, ix->ranges + at, (ix->range_count - at) * sizeof *r);
	ix->ranges[at] = *r;
	ix->range_count++;
}

static void
range_remove(struct cache_index *ix, uint32_t at)
{
	ix->range_count--;
	memmove(ix->ranges + at, ix->ranges + at + 1, (ix->range_count - at) * sizeof *ix->ranges);
}

static void
count_blocks(struct cache_index *ix, uint64_t blocks, uint8_t flags, bool add)
{
	uint64_t n = add ? blocks : -blocks;
	ix->blocks += n;
	if (flags & CACHE_EXT_DIRTY)
		ix->dirty_blocks += n;
	if (flags & CACHE_EXT_BAD)
		ix->bad_blocks += n;
}

/* Takes chunks [from, to] out of the ranges; what leaves is told to `out` if there is one. */
static void
ranges_cut(struct cache_index *ix, uint64_t from, uint64_t to, cache_index_gone_fn *gone, void *ctx)
{
	for (uint32_t i = range_at(ix, from); i < ix->range_count;) {
		struct cache_zrange r = ix->ranges[i];
		if (r.first > to)
			break;
		uint64_t a = r.first > from ? r.first : from, b = r.last < to ? r.last : to;
		struct cache_piece p = {
		    .block = a << CACHE_CHUNK_SHIFT,
		    .count = (b - a + 1) << CACHE_CHUNK_SHIFT,
		    .ver = r.ver,
		    .loc = r.loc,
		    .mask = 0xff,
		    .flags = r.flags,
		    .kind = CACHE_ZERO,
		};
		count_blocks(ix, p.count, r.flags, false);
		range_remove(ix, i);
		if (b < r.last)
			range_insert(
			    ix, i, &(struct cache_zrange){b + 1, r.last, r.ver, r.loc, r.flags});
		if (r.first < a)
			range_insert(
			    ix, i++, &(struct cache_zrange){r.first, a - 1, r.ver, r.loc, r.flags});
		if (gone != NULL)
			gone(ctx, &p);
	}
}

/* ---- chunks ------------------------------------------------------------------------------ */

static void
piece_of_ext(
    uint64_t c, const struct cache_ext *e, unsigned first, unsigned last, struct cache_piece *ret)
{
	bool zero = e->flags & CACHE_EXT_ZERO;
	*ret = (struct cache_piece){
	    .block = (c << CACHE_CHUNK_SHIFT) + first,
	    .count = last - first + 1,
	    .ver = e->ver,
	    .loc = zero ? e->loc : e->loc + (first - e->first),
	    .mask = e->mask,
	    .flags = e->flags,
	    .kind = zero ? CACHE_ZERO : CACHE_DATA,
	};
}

struct build {
	struct cache_ext ext[EXTS_MAX];
	unsigned count;
};

/* `e` goes on where `p` ends. */
static bool
continues(const struct cache_ext *p, const struct cache_ext *e)
{
	uint32_t loc = (e->flags & CACHE_EXT_ZERO) ? p->loc : p->loc + (e->first - p->first);
	return p->last + 1u == e->first && p->ver == e->ver && p->flags == e->flags &&
	       p->mask == 0xff && e->mask == 0xff && e->loc == loc;
}

static void
build_add(struct build *b, struct cache_ext e)
{
	struct cache_ext *p = b->count > 0 ? &b->ext[b->count - 1] : NULL;
	if (p != NULL && continues(p, &e)) {
		p->last = e.last;
		return;
	}
	ASSERT(b->count < EXTS_MAX);
	b->ext[b->count++] = e;
}

static struct cache_ext
ext_part(const struct cache_ext *e, unsigned first, unsigned last)
{
	struct cache_ext r = *e;
	if (!(e->flags & CACHE_EXT_ZERO))
		r.loc += first - e->first;
	r.first = (uint8_t)first;
	r.last = (uint8_t)last;
	return r;
}

/* Room for so many extents, and some to come. */
static unsigned
cap_for(unsigned count)
{
	unsigned cap = count <= 2 ? count : count + count / 4;
	return cap < CACHE_CHUNK_BLOCKS ? cap : CACHE_CHUNK_BLOCKS;
}

static void
chunk_store(struct cache_index *ix, uint64_t c, const struct build *b)
{
	struct cache_page *page = page_make(ix, c >> PAGE_SHIFT);
	struct chunk **slot = &page->chunks[c & (PAGE_CHUNKS - 1)];
	struct chunk *old = *slot;
	bool was_dirty = old != NULL && old->dirty > 0;
	if (b->count == 0) {
		if (old != NULL) {
			ix->bytes -= sizeof *old + old->cap * sizeof old->ext[0];
			page->used--;
			page->dirty -= was_dirty;
		}
		free(old);
		*slot = NULL;
		return;
	}
	if (old == NULL || old->cap < b->count || old->cap > 2 * b->count + 2) {
		unsigned cap = cap_for(b->count);
		struct chunk *n = must(malloc(sizeof *n + cap * sizeof n->ext[0]));
		n->cap = (uint16_t)cap;
		ix->bytes += sizeof *n + cap * sizeof n->ext[0];
		if (old != NULL)
			ix->bytes -= sizeof *old + old->cap * sizeof old->ext[0];
		page->used += old == NULL;
		free(old);
		*slot = n;
	}
	struct chunk *n = *slot;
	n->count = (uint16_t)b->count;
	n->dirty = 0;
	for (unsigned i = 0; i < b->count; i++)
		if (b->ext[i].flags & CACHE_EXT_DIRTY)
			n->dirty = (uint16_t)(n->dirty + b->ext[i].last - b->ext[i].first + 1);
	memcpy(n->ext, b->ext, b->count * sizeof n->ext[0]);
	page->dirty += (uint32_t)(n->dirty > 0) - (uint32_t)was_dirty;
}

/* About where `at` is, if extents and holes are spread evenly: as after random writes. */
static unsigned
guess(const struct chunk *ch, unsigned at)
{
	return ch->count * at >> CACHE_CHUNK_SHIFT;
}

/*
 * First extent of `ch` that ends at or after `at`; ch->count: none. A large chunk is many cache lines: those
 * around the guess are looked at first, and they are the ones that were fetched.
 */
static unsigned
ext_index(const struct chunk *ch, unsigned at)
{
	unsigned lo = 0, hi = ch->count;
	if (hi > 2 * GUESS_OFF) {
		unsigned g = guess(ch, at), b = g + GUESS_OFF < hi ? g + GUESS_OFF : hi - 1;
		unsigned a = g > GUESS_OFF ? g - GUESS_OFF : 0;
		if (ch->ext[a].last >= at) {
			hi = a;
		} else if (ch->ext[b].last >= at) {
			lo = a + 1;
			hi = b;
		} else {
			lo = b + 1;
		}
	}
	while (lo < hi) {
		unsigned mid = (lo + hi) / 2;
		if (ch->ext[mid].last < at)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static unsigned
dirty_of(const struct cache_ext *e)
{
	return (e->flags & CACHE_EXT_DIRTY) ? e->last - e->first + 1u : 0;
}

static void
dirty_set(struct cache_index *ix, uint64_t c, struct chunk *ch, unsigned dirty)
{
	struct cache_page *page = ix->pages[c >> PAGE_SHIFT];
	page->dirty += (uint32_t)(dirty > 0) - (uint32_t)(ch->dirty > 0);
	ch->dirty = (uint16_t)dirty;
}

/* Chunk c, which may not exist yet, with room for another extent. */
static struct chunk *
chunk_grow(struct cache_index *ix, uint64_t c)
{
	struct cache_page *page = page_make(ix, c >> PAGE_SHIFT);
	struct chunk **slot = &page->chunks[c & (PAGE_CHUNKS - 1)], *ch = *slot;
	unsigned had = ch != NULL ? ch->cap : 0;
	unsigned cap = cap_for(had + 1 + (had < GROW_FAST ? had / 5 : 0));
	*slot = must(realloc(ch, sizeof *ch + cap * sizeof ch->ext[0]));
	if (ch == NULL) {
		(*slot)->count = (*slot)->dirty = 0;
		ix->bytes += sizeof *ch;
		page->used++;
	}
	(*slot)->cap = (uint16_t)cap;
	ix->bytes += (cap - had) * sizeof ch->ext[0];
	return *slot;
}

/* Into chunk c (`ch`; NULL: it doesn't exist), where nothing is, as extent i. */
static void
ext_insert(
    struct cache_index *ix, uint64_t c, struct chunk *ch, unsigned i, const struct cache_ext *with)
{
	if (i > 0 && continues(&ch->ext[i - 1], with)) {
		ch->ext[i - 1].last = with->last;
	} else {
		if (ch == NULL || ch->count == ch->cap)
			ch = chunk_grow(ix, c);
		struct cache_ext *e = &ch->ext[i];
		memmove(e + 1, e, (ch->count - i) * sizeof *e);
		*e = *with;
		ch->count++;
	}
	count_blocks(ix, with->last - with->first + 1u, with->flags, true);
	dirty_set(ix, c, ch, ch->dirty + dirty_of(with));
}

/*
 * The usual changes, in place: an extent takes exactly the place of another one, or of nothing. False: it
 * is neither.
 */
static bool
chunk_put_short(struct cache_index *ix, uint64_t c, const struct cache_ext *with,
    cache_index_gone_fn *gone, void *ctx)
{
	struct chunk *ch = chunk_get(ix, c);
	unsigned i = ch != NULL ? ext_index(ch, with->first) : 0;
	if (ch == NULL || i == ch->count || ch->ext[i].first > with->last) {
		ext_insert(ix, c, ch, i, with);
		return true;
	}
	struct cache_ext *e = &ch->ext[i];
	if (e->first != with->first || e->last != with->last)
		return false;
	unsigned blocks = with->last - with->first + 1u;
	struct cache_piece left;
	piece_of_ext(c, e, e->first, e->last, &left);
	count_blocks(ix, blocks, e->flags, false);
	count_blocks(ix, blocks, with->flags, true);
	dirty_set(ix, c, ch, ch->dirty - dirty_of(e) + dirty_of(with));
	*e = *with;
	if (gone != NULL)
		gone(ctx, &left);
	return true;
}

/* Puts `with` (NULL: nothing) over blocks first..last of chunk c, which is in no range. */
static void
chunk_put(struct cache_index *ix, uint64_t c, unsigned first, unsigned last,
    const struct cache_ext *with, cache_index_gone_fn *gone, void *ctx)
{
	if (with != NULL && chunk_put_short(ix, c, with, gone, ctx))
		return;
	const struct chunk *old = chunk_get(ix, c);
	struct build b; /* 4 KiB: not to be cleared each time */
	b.count = 0;
	struct cache_piece left[CACHE_CHUNK_BLOCKS];
	unsigned left_count = 0;
	bool done = with == NULL;
	for (unsigned i = 0; old != NULL && i < old->count; i++) {
		const struct cache_ext *e = &old->ext[i];
		if (e->first < first)
			build_add(&b, ext_part(e, e->first, e->last < first ? e->last : first - 1));
		if (e->last >= first && e->first <= last) {
			unsigned from = e->first > first ? e->first : first;
			unsigned to = e->last < last ? e->last : last;
			piece_of_ext(c, e, from, to, &left[left_count++]);
			count_blocks(ix, to - from + 1, e->flags, false);
		}
		if (!done && e->last >= first) {
			build_add(&b, *with);
			done = true;
		}
		if (e->last > last)
			build_add(&b, ext_part(e, e->first > last ? e->first : last + 1, e->last));
	}
	if (!done)
		build_add(&b, *with);
	if (with != NULL)
		count_blocks(ix, last - first + 1, with->flags, true);
	if (old != NULL || b.count > 0)
		chunk_store(ix, c, &b);
	for (unsigned i = 0; gone != NULL && i < left_count; i++)
		gone(ctx, &left[i]);
}

/* A chunk of a range becomes one with an extent of zeros. */
static void
materialize(struct cache_index *ix, uint64_t c)
{
	const struct cache_zrange *r = range_of(ix, c);
	if (r == NULL)
		return;
	struct cache_ext e = {
	    .last = CACHE_CHUNK_BLOCKS - 1,
	    .mask = 0xff,
	    .flags = r->flags,
	    .loc = r->loc,
	    .ver = r->ver,
	};
	ranges_cut(ix, c, c, NULL, NULL);
	chunk_put(ix, c, 0, CACHE_CHUNK_BLOCKS - 1, &e, NULL, NULL);
}

/* Everything in chunks [from, to] leaves. */
static void
chunks_clear(
    struct cache_index *ix, uint64_t from, uint64_t to, cache_index_gone_fn *gone, void *ctx)
{
	ranges_cut(ix, from, to, gone, ctx);
	for (uint64_t c = from; c <= to; c++) {
		uint64_t p = c >> PAGE_SHIFT;
		if (p >= ix->page_count)
			return;
		if (ix->pages[p] == NULL || ix->pages[p]->used == 0) {
			c |= PAGE_CHUNKS - 1;
			continue;
		}
		if (chunk_get(ix, c) != NULL)
			chunk_put(ix, c, 0, CACHE_CHUNK_BLOCKS - 1, NULL, gone, ctx);
	}
}

/* Blocks from..to of `p`, which are of one chunk. */
static struct cache_ext
ext_of_piece(const struct cache_piece *p, uint64_t from, uint64_t to)
{
	ASSERT((p->kind == CACHE_ZERO) == ((p->flags & CACHE_EXT_ZERO) != 0));
	return (struct cache_ext){
	    .first = (uint8_t)(from & (CACHE_CHUNK_BLOCKS - 1)),
	    .last = (uint8_t)(to & (CACHE_CHUNK_BLOCKS - 1)),
	    .mask = p->mask,
	    .flags = p->flags,
	    .loc = p->kind == CACHE_ZERO ? p->loc : p->loc + (uint32_t)(from - p->block),
	    .ver = p->ver,
	};
}

static void
set_within(struct cache_index *ix, const struct cache_piece *p, uint64_t from, uint64_t to,
    cache_index_gone_fn *gone, void *ctx)
{
	uint64_t c = chunk_of(from);
	struct cache_ext e = ext_of_piece(p, from, to);
	materialize(ix, c);
	chunk_put(ix, c, e.first, e.last, p->kind == CACHE_HOLE ? NULL : &e, gone, ctx);
}

void
cache_index_set(
    struct cache_index *ix, const struct cache_piece *p, cache_index_gone_fn *gone, void *ctx)
{
	uint64_t block = p->block, end = p->block + p->count;
	ASSERT(p->count > 0);
	/* Whole chunks in the middle, where they aren't to be filled one by one. */
	uint64_t c0 = chunk_of(block + CACHE_CHUNK_BLOCKS - 1), c1 = chunk_of(end);
	bool middle = p->kind != CACHE_DATA && c1 >= c0 + RANGE_CHUNKS_MIN;
	while (block < end) {
		if (middle && block == c0 << CACHE_CHUNK_SHIFT) {
			chunks_clear(ix, c0, c1 - 1, gone, ctx);
			if (p->kind == CACHE_ZERO) {
				struct cache_zrange r = {c0, c1 - 1, p->ver, p->loc, p->flags};
				range_insert(ix, range_at(ix, c0), &r);
				count_blocks(ix, (c1 - c0) << CACHE_CHUNK_SHIFT, p->flags, true);
			}
			block = c1 << CACHE_CHUNK_SHIFT;
			continue;
		}
		uint64_t to = block | (CACHE_CHUNK_BLOCKS - 1);
		to = to < end - 1 ? to : end - 1;
		set_within(ix, p, block, to, gone, ctx);
		block = to + 1;
	}
}

bool
cache_index_fill(struct cache_index *ix, const struct cache_piece *p)
{
	uint64_t c = chunk_of(p->block), to = p->block + p->count - 1;
	ASSERT(p->kind == CACHE_DATA && p->count > 0);
	struct chunk *ch = chunk_get(ix, c);
	if (chunk_of(to) != c || (ch == NULL && range_of(ix, c) != NULL))
		return false;
	struct cache_ext e = ext_of_piece(p, p->block, to);
	unsigned i = ch != NULL ? ext_index(ch, e.first) : 0;
	if (ch != NULL && i < ch->count && ch->ext[i].first <= e.last)
		return false;
	ext_insert(ix, c, ch, i, &e);
	return true;
}

/* ---- looking ----------------------------------------------------------------------------- */

static const struct cache_ext *
ext_at(const struct chunk *ch, unsigned at)
{
	unsigned i = ext_index(ch, at);
	return i < ch->count ? &ch->ext[i] : NULL;
}

static void
cut(struct cache_piece *p, uint64_t end)
{
	if (p->block + p->count > end)
		p->count = end - p->block;
}

static void
range_piece(const struct cache_zrange *r, uint64_t block, struct cache_piece *ret)
{
	*ret = (struct cache_piece){
	    .block = block,
	    .count = ((r->last + 1) << CACHE_CHUNK_SHIFT) - block,
	    .ver = r->ver,
	    .loc = r->loc,
	    .mask = 0xff,
	    .flags = r->flags,
	    .kind = CACHE_ZERO,
	};
}

/* The hole that begins at `block`, in a chunk that doesn't exist. */
static void
hole(const struct cache_index *ix, uint64_t block, uint64_t end, struct cache_piece *ret)
{
	uint64_t c = chunk_of(block), last = chunk_of(end - 1);
	uint32_t i = range_at(ix, c);
	if (i < ix->range_count && ix->ranges[i].first <= last)
		last = ix->ranges[i].first - 1;
	while (c < last) {
		uint64_t next = c + 1, p = next >> PAGE_SHIFT, page_end = next | (PAGE_CHUNKS - 1);
		if (p >= ix->page_count)
			c = last;
		else if (ix->pages[p] == NULL)
			c = page_end < last ? page_end : last;
		else if (ix->pages[p]->chunks[next & (PAGE_CHUNKS - 1)] == NULL)
			c = next;
		else
			break;
	}
	*ret = (struct cache_piece){
	    .block = block,
	    .count = ((c + 1) << CACHE_CHUNK_SHIFT) - block,
	    .kind = CACHE_HOLE,
	};
}

void
cache_index_prefetch(const struct cache_index *ix, uint64_t block, unsigned step)
{
	uint64_t c = chunk_of(block), p = c >> PAGE_SHIFT;
	if (p >= ix->page_count || ix->pages[p] == NULL)
		return;
	struct chunk *const *slot = &ix->pages[p]->chunks[c & (PAGE_CHUNKS - 1)];
	if (step == 0) {
		__builtin_prefetch(slot);
		return;
	}
	const struct chunk *ch = *slot;
	if (ch == NULL)
		return;
	if (step == 1) {
		__builtin_prefetch(ch, 1);
		return;
	}
	unsigned g = guess(ch, (unsigned)(block & (CACHE_CHUNK_BLOCKS - 1)));
	unsigned a = g > GUESS_OFF ? g - GUESS_OFF : 0,
	         b = g + GUESS_OFF < ch->count ? g + GUESS_OFF : ch->count - 1u;
	for (unsigned i = a; i <= b; i += 64 / sizeof ch->ext[0])
		__builtin_prefetch(&ch->ext[i], 1);
}

void
cache_index_lookup(
    const struct cache_index *ix, uint64_t block, uint64_t count, struct cache_piece *ret)
{
	uint64_t c = chunk_of(block), end = block + count;
	unsigned at = (unsigned)(block & (CACHE_CHUNK_BLOCKS - 1));
	ASSERT(count > 0);
	const struct chunk *ch = chunk_get(ix, c);
	if (ch == NULL) {
		const struct cache_zrange *r = range_of(ix, c);
		if (r != NULL)
			range_piece(r, block, ret);
		else
			hole(ix, block, end, ret);
		cut(ret, end);
		return;
	}
	const struct cache_ext *e = ext_at(ch, at);
	if (e != NULL && e->first <= at) {
		piece_of_ext(c, e, at, e->last, ret);
	} else {
		unsigned to = e != NULL ? e->first - 1u : CACHE_CHUNK_BLOCKS - 1;
		*ret =
		    (struct cache_piece){.block = block, .count = to - at + 1, .kind = CACHE_HOLE};
	}
	cut(ret, end);
}

/* First block at or after `block` in a chunk or range that may have what is looked for. */
static uint64_t
skip(const struct cache_index *ix, uint64_t block, uint64_t end, uint8_t flags)
{
	uint64_t c = chunk_of(block), last = chunk_of(end - 1);
	uint32_t i = range_at(ix, c);
	uint64_t range = i < ix->range_count ? ix->ranges[i].first : UINT64_MAX;
	for (; c <= last && c < range; c++) {
		uint64_t p = c >> PAGE_SHIFT;
		if (p >= ix->page_count) {
			c = range < last + 1 ? range : last + 1;
			break;
		}
		const struct cache_page *page = ix->pages[p];
		bool dirty = flags & CACHE_EXT_DIRTY;
		if (page == NULL || (dirty ? page->dirty : page->used) == 0) {
			c |= PAGE_CHUNKS - 1;
			continue;
		}
		const struct chunk *ch = page->chunks[c & (PAGE_CHUNKS - 1)];
		if (ch != NULL && (!dirty || ch->dirty > 0))
			break;
	}
	if (c > range)
		c = range;
	uint64_t at = c << CACHE_CHUNK_SHIFT;
	return at > block ? at : block;
}

bool
cache_index_next(const struct cache_index *ix, uint64_t block, uint64_t end, uint8_t flags,
    struct cache_piece *ret)
{
	while (block < end) {
		block = skip(ix, block, end, flags);
		if (block >= end)
			return false;
		struct cache_piece p;
		cache_index_lookup(ix, block, end - block, &p);
		if (p.kind != CACHE_HOLE && (p.flags & flags) == flags) {
			*ret = p;
			return true;
		}
		block += p.count;
	}
	return false;
}

void
cache_index_count(
    const struct cache_index *ix, uint64_t block, uint64_t *data_blocks, uint64_t *dirty_blocks)
{
	uint64_t c = chunk_of(block);
	const struct chunk *k = chunk_get(ix, c);
	const struct cache_zrange *r = k == NULL ? range_of(ix, c) : NULL;

	if (r != NULL && (r->flags & CACHE_EXT_DIRTY))
		*dirty_blocks += CACHE_CHUNK_BLOCKS;
	for (uint16_t i = 0; k != NULL && i < k->count; i++) {
		const struct cache_ext *e = &k->ext[i];
		uint64_t blocks = (uint64_t)e->last - e->first + 1;
		if (!(e->flags & CACHE_EXT_ZERO))
			*data_blocks += blocks;
		if (e->flags & CACHE_EXT_DIRTY)
			*dirty_blocks += blocks;
	}
}

void
cache_index_change(
    struct cache_index *ix, uint64_t block, uint64_t count, cache_index_flags_fn *f, void *ctx)
{
	uint64_t end = block + count;
	struct cache_piece p;
	for (; cache_index_next(ix, block, end, 0, &p); block = p.block + p.count) {
		uint8_t flags = f(ctx, &p);
		ASSERT(((flags ^ p.flags) & CACHE_EXT_ZERO) == 0);
		if (flags == p.flags)
			continue;
		p.flags = flags;
		cache_index_set(ix, &p, NULL, NULL);
	}
}
