/* SPDX-License-Identifier: BSD-2-Clause */
/* What a cache has, for people: where dirty data lies, how its segments are used. Looks only. */
#include "cache/cache_priv.h"

#include <string.h>

#define SHARE_CHUNKS_MAX 64u
#define PIECES_MAX 16384u /* of the index that one call looks at: initiators wait for it */

/* ---- dirty ranges -------------------------------------------------------------------------------- */

/* In bytes, no further than the volume reaches. */
static struct cache_range
range_of(const struct cache_volume *v, const struct cache_piece *p)
{
	uint64_t first = p->block * CF_BLOCK_BYTES, end = (p->block + p->count) * CF_BLOCK_BYTES;
	if (end > v->row.size_bytes)
		end = v->row.size_bytes;
	return (struct cache_range){
	    .offset_bytes = first,
	    .bytes = end > first ? end - first : 0,
	    .is_lost = (p->flags & CACHE_EXT_BAD) != 0,
	    .is_zeros = p->kind == CACHE_ZERO,
	};
}

static bool
continues(const struct cache_range *r, const struct cache_range *next)
{
	return r->offset_bytes + r->bytes == next->offset_bytes && r->is_lost == next->is_lost &&
	       r->is_zeros == next->is_zeros;
}

uint32_t
cache_volume_dirty(const struct cache_volume *v, uint64_t from_bytes, struct cache_range *ret,
    uint32_t cap, uint64_t *ret_next)
{
	uint64_t block = from_bytes / CF_BLOCK_BYTES;
	uint32_t count = 0, pieces = 0;
	struct cache_piece p;

	while (
	    block < v->blocks && cache_index_next(&v->ix, block, v->blocks, CACHE_EXT_DIRTY, &p)) {
		struct cache_range r = range_of(v, &p);
		bool joins = count > 0 && continues(&ret[count - 1], &r);
		if (++pieces > PIECES_MAX || (!joins && count == cap)) {
			*ret_next = p.block * CF_BLOCK_BYTES;
			return count;
		}
		if (joins)
			ret[count - 1].bytes += r.bytes;
		else
			ret[count++] = r;
		block = p.block + p.count;
	}
	*ret_next = UINT64_MAX;
	return count;
}

/* ---- shares --------------------------------------------------------------------------------------- */

void
cache_volume_share(
    const struct cache_volume *v, uint64_t from_bytes, uint64_t bytes, struct cache_share *ret)
{
	uint64_t first = from_bytes / CF_BLOCK_BYTES / CACHE_CHUNK_BLOCKS;
	uint64_t end_bytes = bytes < UINT64_MAX - from_bytes ? from_bytes + bytes : UINT64_MAX;
	uint64_t end_block = end_bytes / CF_BLOCK_BYTES;

	*ret = (struct cache_share){0};
	if (end_block > v->blocks)
		end_block = v->blocks;
	uint64_t end = (end_block + CACHE_CHUNK_BLOCKS - 1) / CACHE_CHUNK_BLOCKS;
	uint64_t step = end > first ? (end - first + SHARE_CHUNKS_MAX - 1) / SHARE_CHUNKS_MAX : 1;
	for (uint64_t c = first; c < end; c += step) {
		uint64_t left = v->blocks - c * CACHE_CHUNK_BLOCKS;
		ret->looked += left < CACHE_CHUNK_BLOCKS ? left : CACHE_CHUNK_BLOCKS;
		cache_index_count(&v->ix, c * CACHE_CHUNK_BLOCKS, &ret->cached, &ret->dirty);
	}
}

/* ---- segments ------------------------------------------------------------------------------------ */

static const char *
state_name(const struct segment *s)
{
	switch (s->state) {
	case SEG_FREE:
		return s->bad ? "bad" : "free";
	case SEG_OPENING:
		return "opening";
	case SEG_OPEN:
		return "open";
	case SEG_CLOSED:
		return "closed";
	case SEG_SEALED:
		return "sealed";
	case SEG_LOST:
		break;
	}
	return "lost";
}

static const char *
stream_name(const struct segment *s)
{
	static const char *const names[CF_STREAM_COUNT] = {"W", "F", "G"};
	return s->state != SEG_FREE && s->state != SEG_LOST && (unsigned)s->stream < CF_STREAM_COUNT
	           ? names[s->stream]
	           : "";
}

uint32_t
cache_segments(const struct cache *c, uint32_t first, struct cache_segment_info *ret, uint32_t cap)
{
	uint32_t count = 0;

	for (uint32_t i = first; i < c->geo.segment_count && count < cap; i++) {
		const struct segment *s = &c->segs[i];
		ret[count++] = (struct cache_segment_info){
		    .number = i,
		    .state = state_name(s),
		    .stream = stream_name(s),
		    .generation = s->generation,
		    .used_blocks = s->unit,
		    .live_blocks = s->live,
		    .dirty_blocks = s->dirty,
		    .errors = s->errors,
		};
	}
	return count;
}
