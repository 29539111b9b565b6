/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The cache's on-disk structures, version 1. docs/format/cache.md says what each means and when it is
 * believed; here are only bytes. Everything is little-endian and in units of 4 KiB blocks; every
 * structure begins with struct cf_head, whose CRC covers all of it.
 *
 *	[superblock A][superblock B][volume table A][volume table B][liveness slots 0][liveness slots 1]
 *	[checkpoint header A][checkpoint header B][segment 0][segment 1]…
 *
 * and, where it has grown, more areas: [liveness slots 0][liveness slots 1][segment][segment]…
 */
#ifndef CACHE_FORMAT_H
#define CACHE_FORMAT_H

#include <stddef.h>
#include <stdint.h>

#include "base/endian.h"

#define CF_BLOCK_BYTES 4096u
#define CF_BLOCK_SHIFT 12u
#define CF_SECTORS 8u        /* of 512 bytes in a block: the bits of a sector mask */
#define CF_MAGIC 0x43525254u /* "TRRC" */
#define CF_VERSION 1u

enum cf_type {
	CF_SUPER = 1,
	CF_VOLTABLE = 2,
	CF_SLOT = 3,
	CF_CHECKPOINT = 4,
	CF_SEGMENT = 5,
	CF_RECORD = 6,
	CF_FOOTER = 7,
};

/* First in every structure. */
struct cf_head {
	le32 magic;       /*  0 */
	le16 type;        /*  4  enum cf_type */
	le16 version;     /*  6 */
	le32 bytes;       /*  8  of the structure with its head; the CRC covers as many */
	le32 crc;         /* 12  CRC32C with this field zero */
	uint8_t uuid[16]; /* 16  of the cache */
	le64 place;       /* 32  own address in blocks: a misdirected write isn't believed */
	le64 generation;  /* 40  of the superblock, volume table, checkpoint; of the segment */
};

_Static_assert(sizeof(struct cf_head) == 48, "head");

enum cf_stream {
	CF_W, /* accepted writes: durable when acknowledged */
	CF_F, /* fills and clean data: believed with a footer only */
	CF_G, /* dirty data moved together: durable before it is the only copy */
	CF_STREAM_COUNT
};

/* Where a chain ends: the last good record of a stream. */
struct cf_position {
	le64 epoch; /* 0 */
	le64 seq;   /* 8   0: none yet */
	le32 crc;   /* 16  of that record's header */
	le32 zero;  /* 20 */
};

_Static_assert(sizeof(struct cf_position) == 24, "position");

#define CF_MEMBERS_MAX 4u
#define CF_AREAS_MAX 16u

#define CF_INCOMPAT_PACKED 0x1u  /* records of F may hold packed data */
#define CF_INCOMPAT_RESIZED 0x2u /* there are areas; checkpoint headers say what they cover */
/* Features without which nothing may be touched; …nothing may be written. */
#define CF_INCOMPAT_KNOWN (CF_INCOMPAT_PACKED | CF_INCOMPAT_RESIZED)
#define CF_RO_COMPAT_KNOWN 0u

struct cf_super {
	struct cf_head head;                     /*   0 */
	le64 incompat;                           /*  48 */
	le64 ro_compat;                          /*  56 */
	le64 compat;                             /*  64 */
	le64 size_blocks;                        /*  72  of the device that this cache uses */
	le32 segment_blocks;                     /*  80 */
	le32 segment_count;                      /*  84 */
	le32 footer_blocks;                      /*  88  at the end of each segment */
	le32 voltable_blocks;                    /*  92  of one copy */
	le64 voltable_block;                     /*  96  copy A; B follows */
	le64 liveness_block;                     /* 104  slots 0 of all segments, then slots 1 */
	le64 checkpoint_block;                   /* 112  A; B follows */
	le64 segment0_block;                     /* 120 */
	le64 epoch;                              /* 128  in force; grows */
	struct cf_position end[CF_STREAM_COUNT]; /* 136  where the epoch before ended */
	uint8_t host[16];                        /* 208  that opened it last */
	le32 state;                              /* 224  0: in use; 1: void for new writes */
	le32 member_count;                       /* 228  1 in this version */
	le32 member_index;                       /* 232 */
	uint8_t zero0[4];                        /* 236 */
	uint8_t members[CF_MEMBERS_MAX][16];     /* 240 */
	le32 area_count;                         /* 304  with RESIZED only, as the next */
	le32 area_slots[CF_AREAS_MAX];           /* 308  slots that each has, in each half */
	uint8_t zero[4096 - 372];                /* 372 */
};

_Static_assert(sizeof(struct cf_super) == CF_BLOCK_BYTES, "superblock");
_Static_assert(offsetof(struct cf_super, epoch) == 128, "superblock");
_Static_assert(offsetof(struct cf_super, zero) == 372, "superblock");

/* A volume table: this, then `count` entries. */
struct cf_voltable {
	struct cf_head head; /*  0 */
	le32 next_id;        /* 48  never given before; ids aren't reused */
	le32 count;          /* 52 */
	uint8_t zero[200];   /* 56 */
};

_Static_assert(sizeof(struct cf_voltable) == 256, "volume table");

#define CF_VOL_ACTIVE 1u
#define CF_VOL_DIRTY 0x0001u /* flags: may have data that its store lacks */

struct cf_volume {
	le32 id;          /*   0  1.. */
	uint8_t state;    /*   4  CF_VOL_ACTIVE */
	uint8_t mode;     /*   5  enum cache_mode */
	le16 flags;       /*   6 */
	uint8_t uuid[16]; /*   8  of the LUN */
	char name[64];    /*  24  zero-padded */
	char store[128];  /*  88  identity of the store, zero-padded */
	le64 size_bytes;  /* 216 */
	le64 marker_gen;  /* 224  the store's marker may be this one… */
	le64 marker_next; /* 232  …or this */
	uint8_t zero[16]; /* 240 */
};

_Static_assert(sizeof(struct cf_volume) == 256, "volume");

/* One of the two liveness slots of a segment: what of it is dead and what is clean. A bit is a block
 * of the segment's data area; head.generation is the segment's. */
#define CF_SLOT_BITMAP_BYTES 2008u
#define CF_DATA_BLOCKS_MAX (CF_SLOT_BITMAP_BYTES * 8u)
#define CF_SLOT_FREE 0u
#define CF_SLOT_IN_USE 1u

struct cf_slot {
	struct cf_head head;                /*  0 */
	le64 checkpoint;                    /* 48  valid once this checkpoint's header is durable */
	le32 segment;                       /* 56 */
	uint8_t which;                      /* 60  slot 0 or 1 */
	uint8_t state;                      /* 61 */
	le16 zero0;                         /* 62 */
	uint8_t dead[CF_SLOT_BITMAP_BYTES]; /* 64 */
	uint8_t clean[CF_SLOT_BITMAP_BYTES]; /* 2072 */
	le32 used;        /* 4080  blocks up to the end of the last acknowledged record */
	uint8_t zero[12]; /* 4084 */
};

_Static_assert(offsetof(struct cf_slot, used) == 4080, "slot");
_Static_assert(sizeof(struct cf_slot) == CF_BLOCK_BYTES, "slot");

/* head.generation is the checkpoint's number. */
struct cf_checkpoint {
	struct cf_head head;                     /*  0 */
	le64 ver;                                /* 48  last one given at its begin */
	struct cf_position pos[CF_STREAM_COUNT]; /* 56  last acknowledged record at its begin */
	le32 slots_crc;           /* 128  of the numbers (le64) of all segments' slots in force */
	le32 segments;            /* 132  that it covers; 0: those of the first area's slots */
	uint8_t zero[4096 - 136]; /* 136 */
};

_Static_assert(offsetof(struct cf_checkpoint, slots_crc) == 128, "checkpoint");
_Static_assert(sizeof(struct cf_checkpoint) == CF_BLOCK_BYTES, "checkpoint");

/* First block of a segment; head.generation is the segment's. */
struct cf_segment {
	struct cf_head head;     /*  0 */
	le32 segment;            /* 48 */
	uint8_t stream;          /* 52  enum cf_stream */
	uint8_t zero0[3];        /* 53 */
	le64 epoch;              /* 56 */
	le64 first_seq;          /* 64 */
	uint8_t zero[4096 - 72]; /* 72 */
};

_Static_assert(sizeof(struct cf_segment) == CF_BLOCK_BYTES, "segment");

/*
 * A record: this, desc_count descriptors, payload_blocks CRCs (CRC32C, le32) of its blocks in order,
 * zeros to the end of header_blocks; then the payload. head.generation is the segment's.
 */
struct cf_record {
	struct cf_head head; /*  0 */
	le32 segment;        /* 48 */
	uint8_t stream;      /* 52 */
	uint8_t zero0;       /* 53 */
	le16 desc_count;     /* 54  1.. */
	le64 epoch;          /* 56 */
	le64 seq;            /* 64  within stream and cache, 1.. */
	le32 prev_crc;       /* 72  head.crc of record seq − 1 of the stream */
	le16 header_blocks;  /* 76 */
	le16 zero1;          /* 78 */
	le32 payload_blocks; /* 80 */
	le32 zero2;          /* 84 */
	le64 durable_seq;    /* 88  all records up to it were acknowledged when this was built */
};

_Static_assert(sizeof(struct cf_record) == 96, "record");

#define CF_DESC_ZERO 0x0001u     /* reads as zeros; no payload, one unit */
#define CF_DESC_NO_UNMAP 0x0002u /* with ZERO: the store's space stays allocated */
#define CF_DESC_PACKED 0x0004u   /* only in F: its payload is compressed */
#define CF_DESC_KNOWN 0x0007u

/* Packed data: units of up to so many blocks, each compressed by itself into sectors of 512 bytes. */
#define CF_PACK_UNIT_BLOCKS 4u
#define CF_PACK_UNITS 8u /* of a descriptor */

struct cf_desc {
	le32 volume;   /*  0 */
	le16 flags;    /*  4 */
	uint8_t mask;  /*  6  sectors that count; not 0xff only for single blocks */
	uint8_t zero0; /*  7 */
	le64 block;    /*  8  of the volume */
	le64 count;    /* 16  blocks */
	le64 ver;      /* 24 */
	le32
	    place; /* 32  first payload block, or the unit of a ZERO, in the data area; PACKED: half */
	le32 sector; /* 36  PACKED: of the data area, where its first unit begins */
	uint8_t units[CF_PACK_UNITS]; /* 40  PACKED: sectors of each unit */
};

_Static_assert(sizeof(struct cf_desc) == 48, "descriptor");

/* First of the footer's blocks: this, then each accepted record's header as it was written, each
 * head.bytes long and padded with zeros to a multiple of 8. head.generation is the segment's. */
struct cf_footer {
	struct cf_head head; /*  0 */
	le32 segment;        /* 48 */
	uint8_t stream;      /* 52 */
	uint8_t zero0[3];    /* 53 */
	le64 epoch;          /* 56 */
	le32 record_count;   /* 64 */
	le32 used_blocks;    /* 68  of the data area */
	uint8_t zero[24];    /* 72 */
};

_Static_assert(sizeof(struct cf_footer) == 96, "footer");

#endif
