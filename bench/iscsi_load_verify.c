/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Integrity under load: every block that is written carries a stamp of its address, the write that
 * left it and the run's seed, and is filled from that stamp to its last byte. A table remembers what
 * each block must hold. Ranges in flight are exclusive, so that what a read must find is certain.
 * In the end the whole region is read once more.
 */
#include "bench/iscsi_load.h"

#include "base/assert.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define VERIFY_REGION_BYTES (64u << 20)
/* An entry of the table: 0 (never written, or unknown) or the generation; and in flight. */
#define VERIFY_BUSY 0x80000000u
/* Tries to find a range that isn't in flight, before the task waits for another turn. */
#define VERIFY_TRIES 16u

struct load_verify {
	uint32_t *table;
	uint32_t generation; /* of the last write */
	bool finishing;
	uint64_t finish_lba; /* next block of the final reading */
	uint64_t checked_blocks;
};

struct stamp {
	uint64_t lba;
	uint64_t seed;
	uint32_t generation;
	uint32_t offset; /* of this stamp in the block */
	uint64_t magic;
};

#define STAMP_MAGIC 0x5445525241434531ull
#define STAMP_STRIDE 512u

/* splitmix64: each word of the block differs from its neighbours and from other blocks' words. */
static uint64_t
mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15ull;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

static void
stamp_sector(uint8_t sector[STAMP_STRIDE], struct stamp stamp)
{
	memcpy(sector, &stamp, sizeof stamp);
	uint64_t base =
	    mix(stamp.lba * 131 + stamp.generation) ^ stamp.seed ^ (uint64_t)stamp.offset << 32;
	for (uint32_t at = sizeof stamp; at < STAMP_STRIDE; at += 8) {
		uint64_t word = mix(base + at);
		memcpy(sector + at, &word, sizeof word);
	}
}

void
load_verify_fill(
    uint8_t *block, uint32_t block_bytes, uint64_t lba, uint32_t generation, uint64_t seed)
{
	ASSERT(block_bytes % STAMP_STRIDE == 0);
	struct stamp stamp = {
	    .lba = lba, .seed = seed, .generation = generation, .magic = STAMP_MAGIC};
	for (; stamp.offset < block_bytes; stamp.offset += STAMP_STRIDE)
		stamp_sector(block + stamp.offset, stamp);
}

uint32_t
load_verify_check(
    const uint8_t *block, uint32_t block_bytes, uint64_t lba, uint32_t generation, uint64_t seed)
{
	ASSERT(block_bytes % STAMP_STRIDE == 0);
	struct stamp stamp = {
	    .lba = lba, .seed = seed, .generation = generation, .magic = STAMP_MAGIC};
	uint8_t expected[STAMP_STRIDE];
	for (; stamp.offset < block_bytes; stamp.offset += STAMP_STRIDE) {
		stamp_sector(expected, stamp);
		const uint8_t *sector = block + stamp.offset;
		if (memcmp(sector, expected, STAMP_STRIDE) == 0)
			continue;
		uint32_t at = 0;
		while (sector[at] == expected[at])
			at++;
		return stamp.offset + at;
	}
	return block_bytes;
}

int
load_verify_create(struct load_engine *e)
{
	uint64_t limit = VERIFY_REGION_BYTES / e->logical_block_bytes;
	if (e->opt->region_bytes == 0 && e->region_blocks > limit)
		e->region_blocks = limit;
	struct load_verify *v = calloc(1, sizeof *v);
	if (!v)
		return -ENOMEM;
	e->verify = v;
	v->table = calloc(e->region_blocks, sizeof v->table[0]);
	return v->table ? 0 : -ENOMEM;
}

void
load_verify_destroy(struct load_engine *e)
{
	if (!e->verify)
		return;
	free(e->verify->table);
	free(e->verify);
	e->verify = NULL;
}

uint64_t
load_verify_checked_blocks(const struct load_engine *e)
{
	return e->verify ? e->verify->checked_blocks : 0;
}

/* Takes the range if no part of it is in flight. */
static bool
take_range(struct load_verify *v, uint64_t lba, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		if (v->table[lba + i] & VERIFY_BUSY)
			return false;
	for (uint32_t i = 0; i < count; i++)
		v->table[lba + i] |= VERIFY_BUSY;
	return true;
}

static bool
choose_random(struct load_engine *e, struct load_task *t)
{
	for (uint32_t i = 0; i < VERIFY_TRIES; i++) {
		/* Any length up to the option's, so that transfers overlap in every way. */
		uint64_t most = e->io_blocks < e->region_blocks ? e->io_blocks : e->region_blocks;
		t->block_count = (uint32_t)(load_random(e) % most) + 1;
		t->lba = load_random(e) % (e->region_blocks - t->block_count + 1);
		if (take_range(e->verify, t->lba, t->block_count)) {
			t->is_write = load_random(e) % 100 >= e->opt->read_percent;
			return true;
		}
	}
	return false;
}

static bool
choose_final(struct load_engine *e, struct load_task *t)
{
	struct load_verify *v = e->verify;
	uint64_t left = e->region_blocks - v->finish_lba;
	if (left == 0)
		return false;
	t->lba = v->finish_lba;
	t->block_count = left < e->io_blocks ? (uint32_t)left : e->io_blocks;
	t->is_write = false;
	if (!take_range(v, t->lba, t->block_count))
		return false; /* A write of the random part is still in flight. */
	v->finish_lba += t->block_count;
	return true;
}

bool
load_verify_next(struct load_session *s, struct load_task *t)
{
	struct load_engine *e = s->engine;
	struct load_verify *v = e->verify;
	t->start_ns = e->now_ns;
	if (!(v->finishing ? choose_final(e, t) : choose_random(e, t)))
		return false;
	if (!t->is_write)
		return true;
	v->generation = v->generation % (VERIFY_BUSY - 1) + 1;
	t->stamp_generation = v->generation;
	for (uint32_t i = 0; i < t->block_count; i++)
		load_verify_fill(t->data + (size_t)i * e->logical_block_bytes,
		    e->logical_block_bytes, t->lba + i, t->stamp_generation, e->opt->seed);
	return true;
}

static void
check_block(struct load_session *s, const struct load_task *t, uint32_t i)
{
	struct load_engine *e = s->engine;
	uint64_t lba = t->lba + i;
	uint32_t generation = e->verify->table[lba];
	if (generation == 0)
		return;
	const uint8_t *block = t->data + (size_t)i * e->logical_block_bytes;
	uint32_t at =
	    load_verify_check(block, e->logical_block_bytes, lba, generation, e->opt->seed);
	e->verify->checked_blocks++;
	if (at == e->logical_block_bytes)
		return;
	struct stamp found;
	memcpy(&found, block + at / STAMP_STRIDE * STAMP_STRIDE, sizeof found);
	bool ours = found.magic == STAMP_MAGIC;
	load_error(e, &e->errors.data,
	    "session %u: block %llu, byte %u: expected generation %u, found %s %u of block %llu",
	    s->idx, (unsigned long long)lba, at, generation,
	    ours ? "generation" : "no stamp:", ours ? found.generation : 0,
	    ours ? (unsigned long long)found.lba : 0);
}

void
load_verify_done(struct load_session *s, struct load_task *t, bool good)
{
	struct load_verify *v = s->engine->verify;
	for (uint32_t i = 0; i < t->block_count; i++) {
		uint32_t *entry = &v->table[t->lba + i];
		ASSERT(*entry & VERIFY_BUSY);
		*entry &= ~VERIFY_BUSY;
		/* A write that failed may have changed the block or not. */
		if (t->is_write)
			*entry = good ? t->stamp_generation : 0;
		else if (good)
			check_block(s, t, i);
	}
}

bool
load_verify_finish(struct load_engine *e)
{
	e->verify->finishing = true;
	return e->verify->finish_lba == e->region_blocks && e->busy_count == 0;
}
