/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From and to the bytes of format.h. Pure: no I/O, no state. Bytes that come in are hostile; what
 * a function here accepted may be relied on.
 */
#ifndef CACHE_CODEC_H
#define CACHE_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cache/format.h"

/* Segments that lie together, behind their slots: as formatted, or as the SSD grew. */
struct cache_area {
	uint64_t liveness_block, segment0_block;
	uint32_t first; /* number of its first segment */
	uint32_t slots; /* there is room for so many: not fewer than it has segments */
};

/* Where things are; all in blocks. */
struct cache_geometry {
	uint64_t size_blocks;
	uint32_t segment_blocks;
	uint32_t segment_count;
	uint32_t footer_blocks;
	uint32_t data_blocks; /* of a segment: without header and footer */
	uint32_t voltable_blocks;
	uint64_t voltable_block, liveness_block, checkpoint_block, segment0_block;
	uint32_t area_count; /* but for the last, each has as many segments as slots */
	struct cache_area area[CF_AREAS_MAX];
};

/*
 * The geometry of a device of size_bytes. segment_blocks 0: 64 MiB, smaller on a small device.
 * 0; -ENOSPC: fewer than CACHE_SEGMENTS_MIN segments.
 */
int cache_geometry_make(
    struct cache_geometry *ret, uint64_t size_bytes, uint32_t segment_blocks, uint32_t volumes_max);
/*
 * As `from` becomes when the device has, or is to have, another size: what is there stays where it is. Segments come
 * or go at the end; there are to be `most` at most (0: what the format allows). 0; -ENOSPC: fewer than CACHE_SEGMENTS_MIN
 * would be left. What can't be used of a larger one is left unused.
 */
int cache_geometry_resize(const struct cache_geometry *from, uint64_t size_bytes, uint32_t most,
    struct cache_geometry *ret);
/* Block behind the last segment. */
uint64_t cache_geometry_end(const struct cache_geometry *g);
uint32_t cache_geometry_volumes_max(const struct cache_geometry *g);

static inline const struct cache_area *
cache_area_of(const struct cache_geometry *g, uint32_t seg)
{
	uint32_t k = 0;
	while (k + 1 < g->area_count && seg >= g->area[k + 1].first)
		k++;
	return &g->area[k];
}
static inline uint64_t
cache_segment_block(const struct cache_geometry *g, uint32_t seg)
{
	const struct cache_area *a = cache_area_of(g, seg);
	return a->segment0_block + (uint64_t)(seg - a->first) * g->segment_blocks;
}
/* First block of the data area. */
static inline uint64_t
cache_data_block(const struct cache_geometry *g, uint32_t seg, uint32_t unit)
{
	return cache_segment_block(g, seg) + 1 + unit;
}
static inline uint64_t
cache_footer_block(const struct cache_geometry *g, uint32_t seg)
{
	return cache_segment_block(g, seg) + 1 + g->data_blocks;
}
static inline uint64_t
cache_slot_block(const struct cache_geometry *g, uint32_t seg, unsigned which)
{
	const struct cache_area *a = cache_area_of(g, seg);
	return a->liveness_block + (uint64_t)which * a->slots + (seg - a->first);
}
/* So many slots, of segments from this one on but below `end`, lie one after the other; `most` at most. */
static inline uint32_t
cache_slots_run(const struct cache_geometry *g, uint32_t seg, uint32_t end, uint32_t most)
{
	const struct cache_area *a = cache_area_of(g, seg);
	uint32_t n = end - a->first < a->slots ? end - seg : a->first + a->slots - seg;
	return n < most ? n : most;
}

/* Fills the head of a structure of `bytes` and computes its CRC, last of all. Returns the CRC. */
uint32_t cf_seal(void *buf, enum cf_type type, uint32_t bytes, const uint8_t uuid[16],
    uint64_t place, uint64_t generation);
/*
 * True if buf (of cap bytes) begins with an intact structure of this type, version, UUID (NULL: any)
 * and place, not longer than cap.
 */
bool cf_check(const void *buf, size_t cap, enum cf_type type, const uint8_t *uuid, uint64_t place);
bool cf_all_zero(const void *p, size_t len);

struct cache_position {
	uint64_t epoch, seq;
	uint32_t crc;
};

struct cache_super {
	uint8_t uuid[16];
	uint64_t generation;
	uint64_t incompat, ro_compat;
	struct cache_geometry geo;
	uint64_t epoch;
	struct cache_position end[CF_STREAM_COUNT];
	uint8_t host[16];
	bool is_void;
};

enum cf_verdict {
	CF_OK,
	CF_BAD,   /* not an intact structure of ours */
	CF_NEWER, /* a feature or version that isn't known here: leave it alone */
};

/* `which` 0 or 1: the copy, whose address is part of it. buf: a block. */
void cache_super_encode(const struct cache_super *s, unsigned which, void *buf);
enum cf_verdict cache_super_decode(
    const void *buf, unsigned which, uint64_t device_bytes, struct cache_super *ret);

#define CACHE_NAME_MAX 63u
#define CACHE_STORE_MAX 127u

struct cache_volrow {
	uint32_t id;
	uint8_t mode;
	bool dirty;
	uint8_t uuid[16];
	char name[CACHE_NAME_MAX + 1];
	char store[CACHE_STORE_MAX + 1];
	uint64_t size_bytes;
	uint64_t marker_gen, marker_next;
};

/* buf: voltable_blocks. */
void cache_voltable_encode(const struct cache_geometry *g, const uint8_t uuid[16], unsigned which,
    uint64_t generation, uint32_t next_id, const struct cache_volrow *rows, uint32_t count,
    void *buf);
/* The same table as the other copy. */
void cache_voltable_place(
    const struct cache_geometry *g, const uint8_t uuid[16], unsigned which, void *buf);
/* rows: room for cache_geometry_volumes_max(). False: not intact. */
bool cache_voltable_decode(const struct cache_geometry *g, const uint8_t uuid[16], unsigned which,
    const void *buf, uint64_t *ret_generation, uint32_t *ret_next_id, struct cache_volrow *rows,
    uint32_t *ret_count);

struct cache_slot {
	uint64_t checkpoint, generation;
	bool in_use;
	uint32_t used;               /* blocks of the data area that acknowledged records take */
	const uint8_t *dead, *clean; /* into the buffer at decode; borrowed at encode */
};
void cache_slot_encode(const struct cache_geometry *g, const uint8_t uuid[16], uint32_t seg,
    unsigned which, const struct cache_slot *s, void *buf);
bool cache_slot_decode(const struct cache_geometry *g, const uint8_t uuid[16], uint32_t seg,
    unsigned which, const void *buf, struct cache_slot *ret);

struct cache_ckhead {
	uint64_t number, ver;
	struct cache_position pos[CF_STREAM_COUNT];
	uint32_t slots_crc;
	uint32_t segments; /* that it covers; 0: those of the first area's slots */
};
/* Segments from the first one on. */
static inline uint32_t
cache_ckhead_covers(const struct cache_ckhead *h, const struct cache_geometry *g)
{
	return h->segments != 0 ? h->segments : g->area[0].slots;
}
/* slots_crc: begun with CRC32C_INIT, gone on with the checkpoint in the slot in force of each segment in
 * turn (0: it has none), ended by crc32c_final(). */
uint32_t cache_slots_crc(uint32_t crc, uint64_t checkpoint);
void cache_ckhead_encode(const struct cache_geometry *g, const uint8_t uuid[16], unsigned which,
    const struct cache_ckhead *c, void *buf);
bool cache_ckhead_decode(const struct cache_geometry *g, const uint8_t uuid[16], unsigned which,
    const void *buf, struct cache_ckhead *ret);

struct cache_seghead {
	uint64_t generation, epoch, first_seq;
	enum cf_stream stream;
};
void cache_seghead_encode(const struct cache_geometry *g, const uint8_t uuid[16], uint32_t seg,
    const struct cache_seghead *h, void *buf);
bool cache_seghead_decode(const struct cache_geometry *g, const uint8_t uuid[16], uint32_t seg,
    const void *buf, struct cache_seghead *ret);

#define CACHE_RECORD_DESCS_MAX 128u
#define CACHE_RECORD_BLOCKS_MAX 256u
#define CACHE_RECORD_HEADER_BLOCKS_MAX (CACHE_RECORD_DESCS_MAX + 1u)

struct cache_desc {
	uint32_t volume;
	uint16_t flags;
	uint8_t mask;
	uint64_t block, count, ver;
	uint32_t place;
	uint32_t sector; /* PACKED only, as the next */
	uint8_t units[CF_PACK_UNITS];
};

/*
 * Packed data. Its blocks have two bits of liveness for each block of payload: the first half of a block is
 * told by the bit of that block in the slot's `dead`, the second by that in `clean`, which F doesn't need. So
 * there are at most twice as many of them, and their places count halves.
 */
#define CACHE_PACK_DESC_BLOCKS (CF_PACK_UNITS * CF_PACK_UNIT_BLOCKS)
struct cache_pack_unit {
	uint32_t half, sector; /* in the data area */
	uint32_t blocks,
	    sectors; /* unpacked; packed: as many as the blocks have if it is stored as it was */
};
/* Payload of so many blocks that take so many sectors. */
uint32_t cache_pack_payload(uint32_t blocks, uint32_t sectors);
/* Whether block k of a descriptor is dead, by the bitmaps of its segment's slot. */
static inline bool
cache_desc_dead(const struct cache_desc *d, uint32_t k, const uint8_t *dead, const uint8_t *clean)
{
	uint32_t at = d->place + k;
	if (d->flags & CF_DESC_PACKED)
		return (at & 1 ? clean : dead)[at / 16] >> (at / 2 % 8) & 1;
	return dead[at / 8] >> (at % 8) & 1;
}
/* Unit i of a PACKED descriptor. False: it has no more. */
bool cache_desc_unit(const struct cache_desc *d, unsigned i, struct cache_pack_unit *ret);

struct cache_record {
	uint64_t generation, epoch, seq, durable_seq;
	uint32_t crc, prev_crc; /* of this header and of the one before */
	uint32_t bytes;         /* of the header */
	enum cf_stream stream;
	uint32_t unit; /* its first block in the data area */
	uint32_t header_blocks, payload_blocks;
	uint32_t desc_count;
	const struct cf_desc *descs; /* in the buffer */
	const le32 *crcs;            /* payload_blocks of them */
};

/* Header bytes and blocks for so many descriptors (`zeros` of them without payload) and blocks. */
uint32_t cache_record_bytes(uint32_t descs, uint32_t blocks);
uint32_t cache_record_header_blocks(uint32_t descs, uint32_t zeros, uint32_t blocks);
/* r->crc and r->bytes come out; descriptors and CRCs go in. buf: header_blocks, zeroed past the end. */
void cache_record_encode(const struct cache_geometry *g, const uint8_t uuid[16], uint32_t seg,
    struct cache_record *r, const struct cache_desc *descs, const uint32_t *crcs, void *buf);
/*
 * Accepts the header of a record of segment `seg` that says it lies at `unit` (UINT32_MAX: anywhere,
 * as in a footer): magic, UUID, place, CRC, counts, and every descriptor within the record's own
 * blocks. Generation, epoch and chain are the caller's to judge.
 */
bool cache_record_decode(const struct cache_geometry *g, const uint8_t uuid[16], uint32_t seg,
    uint32_t unit, const void *buf, size_t cap, struct cache_record *ret);
void cache_desc_get(const struct cf_desc *d, struct cache_desc *ret);

struct cache_footer {
	uint64_t generation, epoch;
	enum cf_stream stream;
	uint32_t record_count, used_blocks;
	uint32_t bytes; /* with the records behind it */
};
/* buf: footer_blocks, with the records already behind the header; f->bytes says how much is used. */
void cache_footer_encode(const struct cache_geometry *g, const uint8_t uuid[16], uint32_t seg,
    const struct cache_footer *f, void *buf);
/* Length that a footer's first block claims, or 0 if it can't be one: how much more to read. */
uint32_t cache_footer_bytes(
    const struct cache_geometry *g, const uint8_t uuid[16], uint32_t seg, const void *block);
/* All of the footer, and every record in it. */
bool cache_footer_decode(const struct cache_geometry *g, const uint8_t uuid[16], uint32_t seg,
    const void *buf, size_t cap, struct cache_footer *ret);
/* Record at *at (start with 0), which is moved on. False at the end. Of a footer that was decoded from this
 * very buffer: nothing is judged again. */
bool cache_footer_next(const struct cache_geometry *g, uint32_t seg, const void *buf,
    const struct cache_footer *f, uint32_t *at, struct cache_record *ret);

static inline uint32_t
cache_footer_need(uint32_t record_bytes)
{
	return (record_bytes + 7u) & ~7u;
}

#endif
