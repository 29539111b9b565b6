/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a cache knows of one volume: for each 4 KiB block, where its newest version lies. Pure memory:
 * no I/O, no loop, no judgement about what may be dropped.
 *
 * A volume is cut into chunks of 1 MiB; a chunk's extents are a sorted array of 16 bytes each, so that
 * a dense volume of single blocks costs 4 GiB per TiB. Zeros over whole chunks are kept as ranges of
 * chunks, so that unmapping a volume costs nothing. A chunk is in a range or has extents, never both.
 */
#ifndef CACHE_INDEX_H
#define CACHE_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifndef CACHE_CHUNK_SHIFT
#define CACHE_CHUNK_SHIFT 8u /* blocks in a chunk; the simulation takes less, for more borders */
#endif
#define CACHE_CHUNK_BLOCKS (1u << CACHE_CHUNK_SHIFT)

#define CACHE_EXT_DIRTY 0x01u /* the store doesn't have it yet */
#define CACHE_EXT_ZERO 0x02u  /* loc names a zero record */
#define CACHE_EXT_BAD 0x04u   /* the SSD lost it: reads fail with a medium error */
#define CACHE_EXT_HIT 0x08u   /* read since it came */

enum cache_piece_kind { CACHE_HOLE, CACHE_DATA, CACHE_ZERO };

struct cache_piece {
	uint64_t block, count;
	uint64_t ver;
	uint32_t loc; /* DATA: of its first block; ZERO: number of the zero record */
	uint8_t mask; /* sectors that are here; not 0xff only for single blocks */
	uint8_t flags;
	enum cache_piece_kind kind;
};

struct cache_index {
	struct cache_page **pages;
	uint64_t page_count;
	struct cache_zrange *ranges; /* sorted, disjoint, of whole chunks */
	uint32_t range_count, range_cap;
	uint64_t blocks, dirty_blocks; /* known; known and dirty */
	uint64_t bad_blocks;           /* that the SSD lost */
	uint64_t bytes;                /* of memory */
};

void cache_index_init(struct cache_index *ix);
void cache_index_fini(struct cache_index *ix);

/* The first piece of [block, block + count), cut to it. Holes and zeros may be reported in parts. */
void cache_index_lookup(
    const struct cache_index *ix, uint64_t block, uint64_t count, struct cache_piece *ret);
/*
 * The block will be looked up soon: what that reads is fetched, in steps 0, 1, … of this many. Each reads
 * what the one before it fetched.
 */
#define CACHE_PREFETCH_STEPS 3u
void cache_index_prefetch(const struct cache_index *ix, uint64_t block, unsigned step);
/*
 * The first piece at or after `block` and below `end` that has all of `flags` set; false: none.
 * Chunks without dirty blocks are skipped at once when flags has CACHE_EXT_DIRTY.
 */
bool cache_index_next(const struct cache_index *ix, uint64_t block, uint64_t end, uint8_t flags,
    struct cache_piece *ret);

/*
 * Adds what the chunk that holds `block` has: blocks with data, and dirty ones, zeros among these. Costs
 * one pass over its extents.
 */
void cache_index_count(
    const struct cache_index *ix, uint64_t block, uint64_t *data_blocks, uint64_t *dirty_blocks);

/* Called for each piece that leaves the index; it may look, not change. NULL: nobody. */
typedef void cache_index_gone_fn(void *ctx, const struct cache_piece *old);
/* Puts `p` (DATA or ZERO) over whatever is there; HOLE: takes it away. Ends the process when memory
 * is short: what was promised is in the log. */
void cache_index_set(
    struct cache_index *ix, const struct cache_piece *p, cache_index_gone_fn *gone, void *ctx);
/* Puts `p`, which is DATA and of one chunk, where nothing is. False: something is there, or it is of several
 * chunks; nothing was done. */
bool cache_index_fill(struct cache_index *ix, const struct cache_piece *p);
/* Changes the flags of what is in the range: for each piece `f` returns the new ones. */
typedef uint8_t cache_index_flags_fn(void *ctx, const struct cache_piece *p);
void cache_index_change(
    struct cache_index *ix, uint64_t block, uint64_t count, cache_index_flags_fn *f, void *ctx);

#endif
