/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The ram store's inside. Memory is an arena of 4 KiB frames, numbered from 1; frame 0 stands for
 * zeros. Every 1 MiB extent of the device belongs to one loop (extent index modulo loop count), and
 * so does a range of frames: a shard. What a loop wants of another's shard it asks by message.
 *
 * Invariants
 *   RAM-1  map[], refs[], the free list of a shard are touched by its owner loop only.
 *   RAM-2  refs[f] = 1 if a map entry names f, + 1 for each scatter list that holds f.
 *   RAM-3  A frame with refs > 1 is never written: what was lent stays as it was.
 *   RAM-4  A frame is on the free list (or fresh) exactly when refs is 0.
 */
#ifndef STORE_RAM_PRIV_H
#define STORE_RAM_PRIV_H

#include "store/blk_driver.h"

#define RAM_FRAME_BYTES 4096u
/* Shorter writes are copied into the frames that are there: frames that took each other's places would
 * leave a device whose large reads are scattered. Transports copy so short a piece anyway. */
#define RAM_LAND_MIN_BYTES (16u * 1024u)
#define RAM_FRAME_SHIFT 12
#define RAM_EXTENT_SHIFT 20
/* Frames of the largest READ or WRITE, which may start within a frame. */
#define RAM_IO_FRAMES_MAX (BLK_IO_MAX_BYTES / RAM_FRAME_BYTES + 1)
/* Beyond the device's own: what readers may pin while it is overwritten, and data in flight. */
#define RAM_SLACK_FRAMES (16u * 1024u * 1024u / RAM_FRAME_BYTES + 2 * RAM_IO_FRAMES_MAX)
#define RAM_SIZE_MAX (8ull << 40) /* frame numbers are 32 bits, over all shards */
#define RAM_LEASES (64u * 1024u)  /* reads of other loops' data a loop holds at once */

struct ram;

/* How the list of a READ of other loops' frames goes back. Travels over the shards it names. */
struct ram_lease {
	struct loop_msg msg;
	struct ram *ram;
	struct ram_lease *next_free;
	struct loop *loop;   /* that got it; the array is its pool's memory */
	uint32_t shard_mask; /* shards that still hold pins of the list */
	uint32_t iovcnt, iovcap;
	struct iovec *iov;
	struct iovec inline_iov[BLK_SG_INLINE];
};

struct ram_shard {
	struct ram *ram;
	struct loop *loop;
	unsigned idx;
	/* frames */
	uint32_t *free; /* stack of free frames, the lowest of a run on top */
	uint32_t free_count;
	uint32_t fresh;     /* frames from here to frame_end were never used */
	uint32_t frame_end; /* exclusive; the frame after it is no shard's */
	/* ios that wait for frames, first come first served */
	struct list waiting;
	struct loop_defer wake;
	bool draining; /* the head of `waiting` runs now; it queues itself at the front again */
	bool stuck;    /* and did so */
	uint64_t lists_out; /* of this loop: got and not put; relaxed stores, read at close */
	/* of this loop as a reader of other shards */
	struct ram_lease *leases; /* RAM_LEASES, reserved address space */
	struct ram_lease *lease_free;
	uint32_t lease_fresh, lease_used;
	bool closing; /* the close message waits here for the leases to come back */
} __attribute__((aligned(64)));

struct ram {
	struct blk b;
	char *arena; /* frame f is at arena + f × RAM_FRAME_BYTES */
	size_t arena_bytes;
	uint32_t *map; /* frame by LBA-frame; 0: zeros */
	size_t map_bytes;
	uint32_t *refs;       /* by frame */
	uint32_t *free_store; /* the shards' free stacks, by frame */
	size_t refs_bytes;
	uint32_t shard_frames; /* stride of the shards' frame ranges */
	unsigned shard_count;
	struct ram_shard *shards;
	const char *zeros; /* to lend, RAM_ZEROS_BYTES */
	struct loop_msg close_msg;
	unsigned close_at;
};
#define RAM_ZEROS_BYTES (BLK_IO_MAX_BYTES + RAM_FRAME_BYTES)

static inline char *
ram_frame(const struct ram *r, uint32_t f)
{
	return r->arena + (size_t)f * RAM_FRAME_BYTES;
}

static inline uint32_t
ram_frames_avail(const struct ram_shard *s)
{
	return s->free_count + (s->frame_end - s->fresh);
}

/* The shard of the running loop. */
struct ram_shard *ram_own_shard(struct ram *r);
struct ram_shard *ram_shard_of(struct ram *r, uint64_t offset_bytes);

/* Frames that the range lies in, wholly or in part. */
uint32_t ram_frames_spanned(uint64_t offset_bytes, uint64_t len_bytes);
/* All of the range belongs to the running loop. */
bool ram_is_local(struct ram *r, uint64_t offset_bytes, uint64_t len_bytes);

/* A frame with refs 1, contents undefined; one is available (asserted). */
uint32_t ram_frame_get(struct ram_shard *s);
void ram_frame_unref(struct ram_shard *s, uint32_t f);

int ram_sg_get(
    struct blk *b, struct blk_sg *sg, enum blk_op op, uint64_t offset_bytes, uint64_t len_bytes);
/* True if the list is ours and empty, for a READ to be lent its frames. */
bool ram_sg_lends(const struct ram *r, const struct blk_io *io);
/* True if the list holds frames made for just this WRITE; they then may not be taken again. */
bool ram_sg_take_landing(const struct ram *r, struct blk_io *io);

/* 0 or -ENOMEM; on failure nothing is held. */
int ram_arena_create(struct ram *r, uint64_t size_bytes);
void ram_arena_destroy(struct ram *r);
/* Called on the loop whose last lease came back while `closing`. */
void ram_close_continue(struct ram *r);

#endif
