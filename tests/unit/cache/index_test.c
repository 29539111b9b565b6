/* SPDX-License-Identifier: BSD-2-Clause */
/* The index against an array of blocks, with random changes; chunks of 1 MiB and of four blocks. */
#include "tests/cmocka_all.h"

#include <stdlib.h>
#include <string.h>

#include "cache/index.h"

#define BLOCKS 3000u

struct block {
	enum cache_piece_kind kind;
	uint64_t ver;
	uint32_t loc;
	uint8_t mask, flags;
};

static struct block model[BLOCKS];
static struct cache_index ix;
static uint64_t rng = 42;
static uint64_t gone_blocks, gone_dirty;

static uint64_t
below(uint64_t n)
{
	rng = rng * 6364136223846793005ull + 1442695040888963407ull;
	return (rng >> 33) % n;
}

static bool
same(const struct block *m, const struct cache_piece *p, uint64_t at)
{
	if (m->kind != p->kind || m->kind == CACHE_HOLE)
		return m->kind == p->kind;
	uint32_t loc = p->kind == CACHE_ZERO ? p->loc : p->loc + (uint32_t)(at - p->block);
	return m->ver == p->ver && m->loc == loc && m->mask == p->mask && m->flags == p->flags;
}

static void
check(uint64_t from, uint64_t end)
{
	for (uint64_t at = from; at < end;) {
		struct cache_piece p;
		cache_index_lookup(&ix, at, end - at, &p);
		assert_int_equal(p.block, at);
		assert_true(p.count > 0 && at + p.count <= end);
		for (uint64_t i = 0; i < p.count; i++)
			assert_true(same(&model[at + i], &p, at + i));
		at += p.count;
	}
}

/* Each block that leaves is told once, as it was. */
static void
gone(void *ctx, const struct cache_piece *old)
{
	const struct block *before = ctx;
	for (uint64_t i = 0; i < old->count; i++)
		assert_true(same(&before[old->block + i], old, old->block + i));
	gone_blocks += old->count;
	if (old->flags & CACHE_EXT_DIRTY)
		gone_dirty += old->count;
}

static void
change(uint64_t ver)
{
	static struct block before[BLOCKS];
	uint64_t n = 1 + below(below(10) == 0 ? BLOCKS : 40), at = below(BLOCKS - n + 1);
	enum cache_piece_kind kind = (enum cache_piece_kind)below(3);
	struct cache_piece p = {
	    .block = at,
	    .count = n,
	    .ver = ver,
	    .loc = (uint32_t)below(1u << 20),
	    .mask = 0xff,
	    .kind = kind,
	};
	if (kind == CACHE_DATA && below(4) == 0) {
		p.count = n = 1;
		p.mask = (uint8_t)(1 + below(255));
	}
	if (kind != CACHE_HOLE && below(2) == 0)
		p.flags |= CACHE_EXT_DIRTY;
	if (kind == CACHE_ZERO)
		p.flags |= CACHE_EXT_ZERO;
	memcpy(before, model, sizeof before);
	uint64_t known = 0, dirty = 0;
	for (uint64_t i = at; i < at + n; i++) {
		known += model[i].kind != CACHE_HOLE;
		dirty += (model[i].flags & CACHE_EXT_DIRTY) != 0;
		model[i] = (struct block){.kind = kind};
		if (kind != CACHE_HOLE)
			model[i] = (struct block){kind, ver,
			    kind == CACHE_ZERO ? p.loc : p.loc + (uint32_t)(i - at), p.mask,
			    p.flags};
	}
	gone_blocks = gone_dirty = 0;
	/* What finds nothing there may go in the short way; within a chunk it does. */
	bool filled = kind == CACHE_DATA && below(2) == 0 && cache_index_fill(&ix, &p);
	if (filled)
		assert_int_equal(known, 0);
	else
		cache_index_set(&ix, &p, gone, before);
	assert_int_equal(gone_blocks, known);
	assert_int_equal(gone_dirty, dirty);
}

static uint8_t
no_longer_dirty(void *ctx, const struct cache_piece *p)
{
	uint64_t *seen = ctx;
	*seen += p->count;
	return p->flags & (uint8_t)~CACHE_EXT_DIRTY;
}

static void
counts_fit(void)
{
	uint64_t known = 0, dirty = 0, found = 0;
	for (uint64_t i = 0; i < BLOCKS; i++) {
		known += model[i].kind != CACHE_HOLE;
		dirty += (model[i].flags & CACHE_EXT_DIRTY) != 0;
	}
	assert_int_equal(ix.blocks, known);
	assert_int_equal(ix.dirty_blocks, dirty);
	struct cache_piece p;
	for (uint64_t at = 0; cache_index_next(&ix, at, BLOCKS, CACHE_EXT_DIRTY, &p);
	     at = p.block + p.count) {
		assert_true(p.flags & CACHE_EXT_DIRTY);
		found += p.count;
	}
	assert_int_equal(found, dirty);
	for (uint64_t at = 0; at < BLOCKS; at += CACHE_CHUNK_BLOCKS) {
		uint64_t has_data = 0, has_dirty = 0, data_is = 0, dirty_is = 0;
		for (uint64_t i = at; i < at + CACHE_CHUNK_BLOCKS && i < BLOCKS; i++) {
			data_is += model[i].kind == CACHE_DATA;
			dirty_is += (model[i].flags & CACHE_EXT_DIRTY) != 0;
		}
		cache_index_count(&ix, at, &has_data, &has_dirty);
		assert_int_equal(has_data, data_is);
		assert_int_equal(has_dirty, dirty_is);
	}
}

static void
follows_a_model(void **state)
{
	(void)state;
	memset(model, 0, sizeof model);
	cache_index_init(&ix);
	for (uint64_t i = 1; i <= 6000; i++) {
		change(i);
		if (i % 7 == 0) {
			uint64_t n = 1 + below(200), at = below(BLOCKS - n), seen = 0, want = 0;
			cache_index_change(&ix, at, n, no_longer_dirty, &seen);
			for (uint64_t b = at; b < at + n; b++) {
				want += model[b].kind != CACHE_HOLE;
				model[b].flags &= (uint8_t)~CACHE_EXT_DIRTY;
			}
			assert_int_equal(seen, want);
		}
		if (i % 50 == 0) {
			check(0, BLOCKS);
			counts_fit();
		} else {
			uint64_t at = below(BLOCKS);
			check(at, at + 1 + below(BLOCKS - at));
		}
	}
	cache_index_fini(&ix);
	assert_int_equal(ix.bytes, 0);
}

/* A terabyte unmapped is one range; a write in it costs a chunk. */
static void
zeros_over_all_cost_nothing(void **state)
{
	uint64_t blocks = 1ull << 28;
	struct cache_piece p = {.count = blocks,
	    .ver = 1,
	    .mask = 0xff,
	    .flags = CACHE_EXT_ZERO | CACHE_EXT_DIRTY,
	    .kind = CACHE_ZERO};
	(void)state;
	cache_index_init(&ix);
	cache_index_set(&ix, &p, NULL, NULL);
	assert_int_equal(ix.dirty_blocks, blocks);
	assert_true(ix.bytes < 4096);
	struct cache_piece w = {.block = blocks / 2 + 3,
	    .count = 1,
	    .ver = 2,
	    .loc = 9,
	    .mask = 0xff,
	    .kind = CACHE_DATA};
	cache_index_set(&ix, &w, NULL, NULL);
	assert_int_equal(ix.dirty_blocks, blocks - 1);
	cache_index_lookup(&ix, blocks / 2 + 3, 5, &p);
	assert_int_equal(p.kind, CACHE_DATA);
	assert_int_equal(p.count, 1);
	cache_index_lookup(&ix, blocks / 2 + 4, 5, &p);
	assert_int_equal(p.kind, CACHE_ZERO);
	cache_index_fini(&ix);
}

static void
put_one(uint64_t at, uint64_t ver)
{
	struct cache_piece p = {
	    .block = at,
	    .count = 1,
	    .ver = ver,
	    .loc = (uint32_t)below(1u << 20),
	    .mask = 0xff,
	    .kind = CACHE_DATA,
	};
	model[at] = (struct block){CACHE_DATA, ver, p.loc, p.mask, 0};
	for (unsigned step = 0; step < CACHE_PREFETCH_STEPS; step++)
		cache_index_prefetch(&ix, at, step);
	assert_true(cache_index_fill(&ix, &p));
	p.ver++;
	assert_false(cache_index_fill(&ix, &p));
}

/* Where in a chunk a block is, is guessed from how full the chunk is: here that is wrong, either way. */
static void
crowded_ends_are_found(void **state)
{
	const uint64_t blocks = 1024, step = 101; /* no factor in common: each block comes once */
	(void)state;
	for (uint64_t round = 0; round < 200; round++) {
		memset(model, 0, sizeof model);
		cache_index_init(&ix);
		uint64_t border = below(blocks), few = 1 + below(40);
		bool low = below(2) == 0;
		for (uint64_t i = 0; i < blocks; i++) {
			uint64_t at = i * step % blocks;
			if (below((at < border) == low ? 1 + round % 3 : few) == 0)
				put_one(at, i + 1);
		}
		for (uint64_t at = 0; at < blocks; at++)
			check(at, at + 1 + below(20));
		cache_index_fini(&ix);
		assert_int_equal(ix.bytes, 0);
	}
}

/* A chunk that grows by single blocks holds half as much again at most, a large one a quarter. */
static void
room_to_grow_stays_within_its_bound(void **state)
{
	(void)state;
	cache_index_init(&ix);
	put_one(0, 1);
	uint64_t others = ix.bytes - 24; /* pages; without a chunk of one extent */
	for (uint64_t n = 2; n <= CACHE_CHUNK_BLOCKS; n++) {
		put_one(n - 1, n * 2);
		uint64_t most = n <= 64 ? n * 3 / 2 + 1 : n * 5 / 4 + 1;
		assert_in_range(ix.bytes - others, 8 + 16 * n, 8 + 16 * most);
	}
	cache_index_fini(&ix);
	assert_int_equal(ix.bytes, 0);
}

/* CACHE.md's bound: 5 GiB of index for a TiB of single blocks. */
static void
dense_blocks_stay_within_their_bound(void **state)
{
	uint64_t blocks = 1u << 18; /* 1 GiB */
	(void)state;
	if (CACHE_CHUNK_SHIFT != 8)
		skip();
	cache_index_init(&ix);
	for (uint64_t i = 0; i < blocks; i++) {
		uint64_t at = (i * 40503u) & (blocks - 1);
		struct cache_piece p = {.block = at,
		    .count = 1,
		    .ver = i + 1,
		    .loc = (uint32_t)(at * 7),
		    .mask = 0xff,
		    .kind = CACHE_DATA};
		cache_index_set(&ix, &p, NULL, NULL);
	}
	assert_int_equal(ix.blocks, blocks);
	assert_true(ix.bytes <= 5u << 20);
	cache_index_fini(&ix);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(follows_a_model),
	    cmocka_unit_test(crowded_ends_are_found),
	    cmocka_unit_test(zeros_over_all_cost_nothing),
	    cmocka_unit_test(room_to_grow_stays_within_its_bound),
	    cmocka_unit_test(dense_blocks_stay_within_their_bound),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
