/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The RAM tier: recently used blocks of block devices, in memory. A volume of it is a block device
 * over a block device, a cache's volume or a bare store, which is where every change goes first:
 * what is in memory is clean, and dropping all of it at any time loses nothing. Several volumes
 * share one arena of 4 KiB frames. Knows no SCSI, no files, no configuration, no SSD.
 *
 *     ram_tier_create() once            ─▶ ram_tier_destroy()
 *     ram_volume_open() over the lower blk, from then on ram_volume_blk() is used instead of it
 *     ram_volume_close(), then the lower blk may be closed
 *
 * A read that hits is lent the frames themselves; they stay as they were until the list is put. A
 * read that misses reads the lower blk into frames and is lent these. Writes, unmaps and flushes go
 * down at once; what they change is dropped before, and what was written is kept after they succeeded.
 * A read that overlaps a change in flight is answered by the lower blk, so it shows what that shows.
 *
 * Thread rule: all calls on the home loop (loops[0]), create, open, discard, follow and destroy also while no
 * loop runs; I/O on ram_volume_blk() may come from any of the loops, and any thread may call the two
 * *_get_stats(). Callbacks run on the home loop, exactly once, never before the call that asked returned.
 */
#ifndef CACHE_RAM_RAM_TIER_H
#define CACHE_RAM_RAM_TIER_H

#include <stdbool.h>
#include <stdint.h>

#include "cache/policy/policy.h"
#include "loop/loop.h"
#include "store/blk.h"

struct ram_tier;
struct ram_volume;

typedef void ram_done_fn(void *ctx, int result);

/* ---- the tier ------------------------------------------------------------------------------- */

/* Per loop; less isn't worth having, and one request's frames have to fit several times. */
#define RAM_TIER_LOOP_MIN_BYTES (16ull << 20)

struct ram_tier_args {
	struct loop *const *loops; /* loops[0] is the home loop */
	unsigned loop_count;
	/*
	 * All memory that grows with the size: frames, and what is kept for each of them. At least
	 * RAM_TIER_LOOP_MIN_BYTES per loop. Touched as it is used.
	 */
	uint64_t size_bytes;
	uint64_t size_max_bytes; /* of later resizes: address space only; 0: the machine's memory */
	uint32_t frames_min; /* tests: the least number of frames per loop instead; 0: as above */
};

/* 0, -EINVAL (a size), -ENOMEM. */
int ram_tier_create(const struct ram_tier_args *args, struct ram_tier **ret);
/* All volumes are closed and all lists put; while the loops run, no resize is under way and no curve
 * asked for (asserted). While they run it takes some messages
 * between them until the memory is free. Accepts NULL. */
void ram_tier_destroy(struct ram_tier *t);
/*
 * Another size while in use. Done when the memory above it is free, which waits for lists that hold
 * some of it. 0, -EINVAL (a size; it is unchanged). One at a time (asserted).
 */
void ram_tier_resize(struct ram_tier *t, uint64_t size_bytes, ram_done_fn *done, void *ctx);
/*
 * The memory of the frames of loop number `loop`, as far as the size of now goes, for whoever tells a
 * device of it: the region stays as long as the tier. From then on shrinking gives no memory back to
 * the system. False: no such loop.
 */
bool ram_tier_memory(struct ram_tier *t, unsigned loop, void **ret_base, size_t *ret_bytes);

/* ---- volumes -------------------------------------------------------------------------------- */

/* What a profile says. */
struct ram_volume_cfg {
	bool enabled;         /* false: nothing is kept (mode bypass, profile uncached) */
	uint32_t ahead_bytes; /* read ahead of a sequential stream; 0: none */
	uint64_t
	    cutoff_bytes; /* a stream longer than this is a scan: it leaves first, and isn't kept
	                          by the lower blk (BLK_NO_FILL); 0: never */
	bool lower_keeps_none; /* the lower blk keeps nothing that is read */
};

/*
 * `lower` is open for all loops of the tier and stays the caller's until the volume is closed; its
 * events are the tier's meanwhile. The volume's own (ram_volume_blk() with blk_set_events()) follow
 * them; that it is back is told after what was kept from before has been dropped.
 * 0, -ENOMEM (also with 65536 volumes open).
 */
int ram_volume_open(struct ram_tier *t, struct blk *lower, const struct ram_volume_cfg *cfg,
    struct ram_volume **ret);
/* Owned by the volume; blk_close() isn't for it. */
struct blk *ram_volume_blk(struct ram_volume *v);
/* Another profile; takes effect on each loop within a message. Not enabled: what is kept is dropped. */
void ram_volume_set(struct ram_volume *v, const struct ram_volume_cfg *cfg);
/* The lower blk has other capabilities than at open (its mode changed): so has the volume. */
void ram_volume_follow(struct ram_volume *v);
/* Drops what is kept of it. Done when all that was kept at the call is gone. Result 0. */
void ram_volume_drop(struct ram_volume *v, ram_done_fn *done, void *ctx);
/* The same of the blocks that a range touches (of 0 bytes: of the one there), and maybe of others. */
void ram_volume_drop_range(
    struct ram_volume *v, uint64_t from_bytes, uint64_t bytes, ram_done_fn *done, void *ctx);
/* A volume that no I/O ever came to (asserted): closed and freed at once. Accepts NULL. */
void ram_volume_discard(struct ram_volume *v);
/* No I/O of its user in flight (asserted). Done when the lower blk isn't used any more; `v` is freed
 * then. Lists got from it may be put later, as long as the tier is there. */
void ram_volume_close(struct ram_volume *v, ram_done_fn *done, void *ctx);

/* ---- looking -------------------------------------------------------------------------------- */

struct ram_tier_stats {
	uint64_t size_bytes;          /* as configured */
	uint64_t frames, frames_used; /* of 4 KiB: there are; hold something */
	uint64_t frames_lent;         /* of these in lists, or being read into */
	uint64_t hits, misses;        /* blocks of clients' reads */
	uint64_t fills, write_fills;  /* blocks inserted after a read; after a write */
	uint64_t fills_cancelled;     /* blocks read and not inserted: a change came between */
	uint64_t dropped;             /* blocks, for a change of them */
	uint64_t evicted;             /* blocks, for room */
	uint64_t ahead, ahead_used,
	    ahead_wasted; /* blocks read ahead; hit; evicted without a hit */
	uint64_t passed;  /* reads that the lower blk answered into the caller's own memory */
};
void ram_tier_get_stats(const struct ram_tier *t, struct ram_tier_stats *ret);

/* In blocks of 4 KiB, since the volume was opened, but for `kept`, which is now. */
struct ram_volume_stats {
	uint64_t hits, misses; /* of clients' reads */
	uint64_t kept;
	uint64_t fills, write_fills; /* inserted after a read, ahead of one too; after a write */
	uint64_t evicted, dropped;   /* for room; for a change of them */
	uint64_t ahead, ahead_used,
	    ahead_wasted; /* read ahead of streams; hit; evicted without a hit */
};
void ram_volume_get_stats(const struct ram_volume *v, struct ram_volume_stats *ret);

/*
 * Hit ratios that other sizes would have had lately: from a quarter to eight times this one, ascending;
 * `n` points, valid during the callback. For policy_advise().
 */
typedef void ram_curve_fn(void *ctx, const struct policy_mrc_point *points, uint32_t n);
/* One at a time (asserted). */
void ram_tier_curve(struct ram_tier *t, ram_curve_fn *done, void *ctx);

#endif
