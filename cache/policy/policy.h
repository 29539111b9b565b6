/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the cache decides, apart from how it does it: which frame or segment goes, what is read
 * ahead, what is filled, what a larger cache would give, how fast and in which order dirty data is
 * destaged. Pure: no I/O, no loop, no clock, no randomness, no logging. Time comes in as an
 * argument; the same calls give the same answers. Knows no volumes, indexes or records: blocks are
 * keys and numbers. Nothing here may decide about safety: a wrong answer costs speed only.
 *
 * Thread rule: an object is used by one thread at a time; different objects are independent.
 *
 * Units: a block is 4 KiB; sizes are in blocks unless the name says bytes; times are nanoseconds.
 * Memory is taken in create and resize only, of a size that is fixed by the configuration.
 */
#ifndef CACHE_POLICY_POLICY_H
#define CACHE_POLICY_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"

#define POLICY_BLOCK_BYTES 4096u

/*
 * The key of a block. Neighbours have neighbouring keys, which is what lets the ghost of the SSD
 * remember 64 KiB at a time. Volumes beyond 2^24 or blocks beyond 2^40 may share keys: harmless.
 */
static inline uint64_t
policy_key(uint32_t volume, uint64_t lba_blocks)
{
	return ((uint64_t)volume << 40) + lba_blocks;
}

/* ---- S3-FIFO over embedded nodes: the RAM tier ---------------------------------------------- */

struct policy_s3;

/* Embedded in a frame. Zero-initialise; all fields are the policy's while it is inserted. */
struct policy_s3_node {
	struct list link;
	uint64_t key;
	uint32_t pins;
	uint8_t queue;
	uint8_t flags;
};

enum policy_s3_kind {
	POLICY_S3_DEMAND, /* somebody asked for it (or wrote it) */
	POLICY_S3_AHEAD,  /* read ahead: its first hit is its first use, and tells nothing */
	POLICY_S3_SCAN, /* of a stream beyond its cutoff: leaves first; first hit as AHEAD if so */
	POLICY_S3_SCAN_AHEAD,
	POLICY_S3_KIND_COUNT
};

struct policy_s3_stats {
	uint64_t inserted, evicted, removed;
	uint64_t ghost_hits;        /* inserted straight into main */
	uint64_t promoted;          /* small or scan → main */
	uint64_t reinserted;        /* main → main */
	uint64_t parked;            /* met by an eviction while pinned or dirty */
	uint64_t ahead_used;        /* read ahead, then hit */
	uint64_t ahead_wasted;      /* read ahead, evicted without a hit */
	uint64_t count, busy;       /* now: inserted; of these pinned or dirty */
	uint64_t small, main, scan; /* now, without the parked */
};

/*
 * For `capacity` entries (≥ 1): the small queue's share and the ghost follow from it. Nothing stops
 * the caller from inserting more; it calls policy_s3_evict() when it needs a frame.
 * 0, -EINVAL (capacity 0 or > 2^40), -ENOMEM. Uses about 8 bytes per entry of capacity.
 */
int policy_s3_create(uint64_t capacity, struct policy_s3 **ret_s3);
/* The nodes are the caller's: those still inserted may be freed after this. Accepts NULL. */
void policy_s3_destroy(struct policy_s3 *s3);
/* A new capacity while in use; the ghost starts empty. Evicts nothing. Errors as create. */
int policy_s3_resize(struct policy_s3 *s3, uint64_t capacity);

/* `node` must not be inserted; its pins and dirty mark start at zero. */
void policy_s3_insert(
    struct policy_s3 *s3, struct policy_s3_node *node, uint64_t key, enum policy_s3_kind kind);
/* A read or write met the entry. Sets a bit: no list is touched. */
void policy_s3_hit(struct policy_s3 *s3, struct policy_s3_node *node);
/* It is no longer cached (overwritten elsewhere, unmapped, deleted). Not busy. Forgotten wholly. */
void policy_s3_remove(struct policy_s3 *s3, struct policy_s3_node *node);

/* A pinned or dirty entry is never returned by evict. Pins count; the dirty mark doesn't. */
void policy_s3_pin(struct policy_s3 *s3, struct policy_s3_node *node);
void policy_s3_unpin(struct policy_s3 *s3, struct policy_s3_node *node);
void policy_s3_set_dirty(struct policy_s3 *s3, struct policy_s3_node *node, bool dirty);
static inline bool
policy_s3_inserted(const struct policy_s3_node *node)
{
	return node->queue != 0;
}
bool policy_s3_busy(const struct policy_s3_node *node);

/*
 * Chooses an entry, takes it out and remembers its key. NULL: all that is inserted is busy. The work
 * per call is bounded, but for busy entries, each of which is looked at once per time it gets busy.
 */
struct policy_s3_node *policy_s3_evict(struct policy_s3 *s3);

void policy_s3_stats(const struct policy_s3 *s3, struct policy_s3_stats *ret);

/* ---- S3-FIFO by segment: the SSD ------------------------------------------------------------ */

/*
 * Each segment is free, open, sealed or being emptied. Sealed ones stand in one of two FIFO queues:
 * small (what was written or filled once) and main (what was hit and rewritten). The victim is the
 * oldest without dirty blocks; those of its blocks that were hit since they were placed are to be
 * rewritten into the open main segment. A segment most of which was hit isn't copied: it moves to
 * main as it is. One of main that is mostly holes is emptied out of turn, without losing anything.
 * At most three quarters of a segment are rewritten: each victim gains space.
 */
enum policy_class { POLICY_SMALL, POLICY_MAIN, POLICY_CLASS_COUNT };
/*
 * What becomes of a block of the victim. Dropping where rewriting is asked for (no time, no room, no
 * memory) is always right, it only costs hits.
 */
enum policy_verdict {
	POLICY_DROP,
	POLICY_REWRITE,    /* into the open main segment */
	POLICY_REWRITE_HIT /* the same, and policy_segs_hit() on its new place */
};

struct policy_segs;

struct policy_segs_config {
	uint32_t segs;           /* ≥ 2 */
	uint32_t blocks_per_seg; /* payload blocks, 1…2^20 */
	uint8_t ghost_shift;     /* log2 of the blocks that share a ghost entry, ≤ 12 */
};

struct policy_segs_stats {
	uint64_t victims, dropped, rewritten; /* segments, blocks, blocks */
	uint64_t promoted;                    /* segments that changed to main without copying */
	uint64_t packed;                      /* victims for their holes */
	uint64_t ghost_hits;
	uint32_t free, open, small, main, dead, emptying; /* segments now */
};

/* Memory: a bit per block and 5 bytes per ghost entry (segs × blocks_per_seg >> ghost_shift). */
int policy_segs_create(const struct policy_segs_config *cfg, struct policy_segs **ret_segs);
void policy_segs_destroy(struct policy_segs *ps);

/*
 * So many segments from now on; those that go are free. When more come, the ghost starts empty. 0, -EINVAL, -ENOMEM: it
 * is as it was; fewer never fail.
 */
int policy_segs_resize(struct policy_segs *ps, uint32_t segs);

/* free → open; its counts and hit bits are zero. */
void policy_segs_open(struct policy_segs *ps, uint32_t seg, enum policy_class class);
/* open → sealed, youngest of its class. */
void policy_segs_seal(struct policy_segs *ps, uint32_t seg);
/* A segment found at recovery: free → sealed. Called from the oldest to the youngest. */
void policy_segs_restore(
    struct policy_segs *ps, uint32_t seg, enum policy_class class, uint32_t live, uint32_t dirty);
/* sealed or emptying → free (reusable or not is the cache's business). */
void policy_segs_free(struct policy_segs *ps, uint32_t seg);
/* emptying → sealed, oldest of its class: the victim could not be emptied now. */
void policy_segs_keep(struct policy_segs *ps, uint32_t seg);

/* Blocks of `seg` that hold the newest version, and of these the dirty ones, became more or fewer. */
void policy_segs_count(struct policy_segs *ps, uint32_t seg, int32_t live, int32_t dirty);
uint32_t policy_segs_live(const struct policy_segs *ps, uint32_t seg);
uint32_t policy_segs_dirty(const struct policy_segs *ps, uint32_t seg);

/* A read hit block `block` of `seg` (on the SSD; a hit in RAM needs no call). */
void policy_segs_hit(struct policy_segs *ps, uint32_t seg, uint32_t block);
/*
 * Whether the block was hit since it was placed. A write that supersedes a cached block is a hit:
 * policy_segs_hit() on the new place, or hot data that is overwritten would look new for ever.
 */
bool policy_segs_was_hit(const struct policy_segs *ps, uint32_t seg, uint32_t block);

/* Into which class's open segment a fill of `key` goes: main if it was evicted not long ago. */
enum policy_class policy_segs_place(struct policy_segs *ps, uint64_t key);

/*
 * The next segment to empty: sealed → emptying. -EAGAIN: every sealed one has dirty blocks.
 * Segments with nothing alive come first. Looks at each sealed segment a few times at most.
 */
int policy_segs_victim(struct policy_segs *ps, uint32_t *ret_seg);
/* For each live block of the victim: drop it (and remember its key), or rewrite it into main. */
enum policy_verdict policy_segs_judge(
    struct policy_segs *ps, uint32_t seg, uint32_t block, uint64_t key);

void policy_segs_stats(const struct policy_segs *ps, struct policy_segs_stats *ret);

/* ---- sequential streams: read-ahead and fill cutoff ------------------------------------------ */

struct policy_streams;

struct policy_streams_config {
	uint32_t ahead_max; /* blocks to read ahead of one stream; 0: none */
	uint32_t
	    ahead_total_max;  /* of all streams together (a share of the RAM tier); 0: no limit */
	uint64_t cutoff;      /* blocks after which a stream no longer fills the SSD; 0: never */
	uint32_t streams_max; /* 1…1024; 0: 64 */
};

struct policy_stream_answer {
	bool sequential;       /* part of a known stream */
	bool scan;             /* beyond the cutoff: don't fill the SSD; POLICY_S3_SCAN in RAM */
	uint64_t run_blocks;   /* read in sequence so far, this request included */
	uint64_t ahead_lba;    /* read this too, in the background; the caller cuts it at the */
	uint32_t ahead_blocks; /* volume's end and leaves out what it has; 0: nothing */
};

struct policy_streams_stats {
	uint64_t requests, sequential, scan_blocks, ahead_blocks;
	uint32_t active;
};

/*
 * One object where the reads of a volume pass in the order in which they came: before they are
 * divided by extent, or a stream would be seen in pieces.
 */
int policy_streams_create(
    const struct policy_streams_config *cfg, struct policy_streams **ret_streams);
void policy_streams_destroy(struct policy_streams *ps);
/* Another profile; known streams stay. streams_max isn't changed. */
void policy_streams_set(struct policy_streams *ps, const struct policy_streams_config *cfg);
/* A read of `blocks` ≥ 1 at `lba`. Several interleaved streams per volume, slightly reordered
 * requests and small gaps are recognised. Constant time in the number of streams_max. */
void policy_streams_read(struct policy_streams *ps, uint64_t now_ns, uint32_t volume, uint64_t lba,
    uint32_t blocks, struct policy_stream_answer *ret);
/* Forgets the streams of a volume (closed, resized). */
void policy_streams_forget(struct policy_streams *ps, uint32_t volume);
void policy_streams_stats(const struct policy_streams *ps, struct policy_streams_stats *ret);

/* ---- miss-ratio curve ----------------------------------------------------------------------- */

/*
 * For each of up to POLICY_MRC_POINTS_MAX sizes a cache of this very policy in miniature, which
 * sees only the keys whose hash falls below a threshold (spatial sampling), with as much of the
 * size as it sees of the keys. The hit ratio counts what wasn't sampled of the expected number as
 * hits of hot keys, as SHARDS-adj does.
 */
#define POLICY_MRC_POINTS_MAX 16

struct policy_mrc;

struct policy_mrc_config {
	uint32_t points;
	uint64_t blocks[POLICY_MRC_POINTS_MAX]; /* sizes, ascending, ≥ 1 */
	uint32_t entries_max; /* of one miniature; 0: 4096. Memory: 56 bytes × points × this */
	uint8_t rate_shift;   /* at most one key in 2^this is sampled, ≤ 20 */
};

struct policy_mrc_point {
	uint64_t blocks;
	double hit_ratio; /* of the reads, 0…1, not falling with size */
	uint64_t samples; /* it rests on; below some hundreds don't show it */
};

int policy_mrc_create(const struct policy_mrc_config *cfg, struct policy_mrc **ret_mrc);
void policy_mrc_destroy(struct policy_mrc *m);
enum policy_mrc_kind {
	POLICY_MRC_READ,
	POLICY_MRC_SCAN, /* a read beyond the cutoff, as the streams say */
	POLICY_MRC_PASS, /* a read that isn't kept if it wasn't there */
	POLICY_MRC_WRITE /* brings the block in, but isn't counted: it would have been fast anyway */
};
/*
 * A client's access to a block, whether it hit or not. Mostly two multiplications and a comparison.
 */
void policy_mrc_access(struct policy_mrc *m, uint64_t key, enum policy_mrc_kind kind);
/*
 * Halves what was counted, so that the curve follows the last few periods of calling this. Not where a point
 * would be left with too little to go by: the larger the sizes, the fewer keys are sampled, and the longer
 * "lately" is.
 */
void policy_mrc_decay(struct policy_mrc *m);
/* Fills `points` entries in the order of the sizes; returns how many there are. */
uint32_t policy_mrc_read(
    const struct policy_mrc *m, struct policy_mrc_point points[POLICY_MRC_POINTS_MAX]);

/* ---- advice --------------------------------------------------------------------------------- */

struct policy_advise_in {
	/*
	 * Curves of RAM and SSD sizes; one point of each is the size now. points 0: no such tier. The SSD's
	 * is of the reads that the RAM doesn't answer.
	 */
	uint32_t ram_points, ssd_points;
	struct policy_mrc_point ram[POLICY_MRC_POINTS_MAX], ssd[POLICY_MRC_POINTS_MAX];
	uint64_t ram_blocks, ssd_blocks; /* now */
	double
	    ram_hit_ratio; /* of all reads: for the SSD, as long as the RAM's curve says nothing */
	double written_per_s;  /* blocks that turn dirty */
	double destaged_per_s; /* blocks that turn clean */
	uint64_t dirty_blocks, dirty_max_blocks;
};

enum policy_tier_advice {
	POLICY_TIER_NONE,    /* there is no such tier */
	POLICY_TIER_UNKNOWN, /* too few samples */
	POLICY_TIER_GROW,    /* `more_blocks` more gives `then_ratio` */
	POLICY_TIER_SHRINK,  /* `more_blocks` fewer loses next to nothing */
	POLICY_TIER_KEEP     /* neither helps */
};

struct policy_tier_result {
	enum policy_tier_advice what;
	/* Of all reads, those that the RAM answers; of the SSD, those that either answers: the store needn't. */
	double now_ratio, then_ratio;
	uint64_t more_blocks;
};

struct policy_advise_out {
	struct policy_tier_result ram, ssd;
	bool fills;      /* dirty data grows at this rate */
	uint64_t full_s; /* seconds until the dirty limit; valid with `fills` */
	char text[512];  /* one sentence a part, joined by "; ", without a newline */
};

void policy_advise(const struct policy_advise_in *in, struct policy_advise_out *ret);

/* ---- destage: how fast ---------------------------------------------------------------------- */

/*
 * One per store, asked every POLICY_DESTAGE_TICK_NS. Dirty pressure is the store's share of dirty blocks
 * in what the others' leave of the log; where more than nine tenths of the segments can't be had
 * without the stores, these press, and more from there on. Up to 45 % only what an idle store takes
 * is destaged, since what waits may be overwritten and its neighbours come; from there the rate
 * grows so as to hold 55 %; from 60 % writes are slowed smoothly, so that they settle at the
 * store's speed at 66 %: beyond 72 % more is moved to make room than is written. Of several stores
 * each is slowed to a rate by its own speed, and the less the smaller its part of all that is dirty.
 * The number of store writes in flight follows the store's latency; the less is free, the less
 * latency counts.
 */
#define POLICY_DESTAGE_TICK_NS 20000000ull

struct policy_destage_config {
	uint32_t depth_max;         /* store writes in flight, ≥ 1; 0: 32 */
	uint64_t latency_target_ns; /* 0: twice the lowest lately seen */
	uint64_t delay_max_ns;      /* per written block; 0: 10 ms */
};

struct policy_destage_in {
	uint64_t elapsed_ns;       /* since the last tick */
	uint32_t segs, segs_free;  /* free: reusable at once, or to be had without a store */
	uint64_t dirty_blocks;     /* of this store; less what it has taken and not flushed yet */
	uint64_t dirty_max_blocks; /* …and what the other stores' leave for it */
	uint64_t all_dirty_blocks, all_max_blocks; /* of all stores; max 0: there is one only */
	uint32_t stores;                           /* with dirty blocks */
	/* What may be written before writers have to wait for a segment, where less than room_low_blocks is
	 * little; that 0: room is no matter. */
	uint64_t room_blocks, room_low_blocks;
	uint64_t written_blocks;  /* accepted in this tick for this store */
	uint64_t destaged_blocks; /* taken by the store in this tick */
	uint64_t busy_ns; /* of this tick, in which the store was given something to write */
	uint32_t
	    store_ops; /* clients' own operations on the store (misses) that ended in this tick… */
	uint64_t store_ns;  /* …and the sum of their latencies */
	bool drain;         /* flush, mode change, removal: all out at full depth */
	bool store_failing; /* its last destage write failed: one at a time until it works */
};

struct policy_destage_out {
	uint32_t depth; /* store writes in flight at most; 0: none to start */
	uint64_t
	    budget_blocks; /* to start within the coming tick; what begins within it may end beyond */
	uint64_t delay_ns;    /* per written block, kept as a virtual clock; 0: at full speed */
	uint32_t window_segs; /* pick among this many of the oldest dirty segments */
};

struct policy_destage {
	struct policy_destage_config cfg;
	double written_per_s, dirtied_per_s;
	double destaged_per_s;             /* while it has something to do… */
	double drain_blocks, drain_s;      /* …which are these, fading */
	double latency_ns, latency_low_ns; /* of clients' operations on the store; 0: none yet */
	double depth;
	uint64_t idle_ns, delay_ns;
	uint64_t budget_blocks, dirty_blocks; /* of the last tick */
};

/* Embedded; needs no fini. */
void policy_destage_init(struct policy_destage *d, const struct policy_destage_config *cfg);
void policy_destage_tick(
    struct policy_destage *d, const struct policy_destage_in *in, struct policy_destage_out *ret);

/* ---- destage: in which order ---------------------------------------------------------------- */

enum policy_pick_kind {
	POLICY_PICK_DUE,   /* dirty, of the oldest segments */
	POLICY_PICK_EXTRA, /* dirty, younger: goes only in one run with one that is due */
	POLICY_PICK_GAP    /* clean and cached: written once more where that joins two runs */
};

/*
 * Gaps are worth giving for stores where an operation costs more than a few blocks (rotating, over a
 * network), and if short: up to 4 blocks, with every one between two dirty ones cached.
 */
struct policy_pick_item {
	uint64_t lba;    /* of one volume; items don't overlap */
	uint32_t blocks; /* ≥ 1; doesn't cross a stripe where stripes are given */
	uint8_t kind;    /* enum policy_pick_kind */
	void *ctx;       /* the caller's */
};

struct policy_pick_config {
	uint32_t
	    run_max_blocks; /* of one store write, ≥ 1; a single larger item makes its own run */
	uint32_t stripe_blocks; /* 0: unknown. Stripes start at LBA 0 */
	uint64_t cursor_lba;    /* where the last batch ended: the sweep goes on there */
};

struct policy_pick_run {
	uint64_t lba;
	uint32_t blocks;
	uint32_t first, count; /* its items, as sorted */
	bool full;             /* whole stripes */
};

/*
 * Sorts `items` by LBA and makes runs of neighbours: whole stripes first, then the rest, each as one
 * upward sweep that starts at the cursor. Returns the number of runs, at most `cap` (n always
 * suffices; with less, the first `cap` of the order). No memory is taken.
 */
uint32_t policy_pick(const struct policy_pick_config *cfg, struct policy_pick_item *items,
    uint32_t n, struct policy_pick_run *runs, uint32_t cap);

#endif
