/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A tiered cache: an SSD whose log makes writes durable before they are acknowledged and keeps what
 * was read, in front of slow stores. A volume of a cache is a block device over a block device: it is
 * used through store/blk.h and its user can't tell that there is a cache. Knows no SCSI, no files, no
 * configuration.
 *
 * Thread rule: all calls here on the home loop (loops[0] of the attach), but for cache_volume_blk()'s
 * I/O, which may come from any of the loops. Callbacks run on the home loop, exactly once, and never
 * before the call that asked for them returned.
 *
 * What a GOOD means is set by the mode; the rules that hold under every one of them, and what a crash
 * at each step leaves, are in docs/format/cache.md.
 */
#ifndef CACHE_CACHE_H
#define CACHE_CACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "cache/policy/policy.h"
#include "loop/loop.h"
#include "store/blk.h"

struct cache;
struct cache_volume;

typedef void cache_done_fn(void *ctx, int result);

/* ---- modes ------------------------------------------------------------------------------- */

enum cache_mode {
	CACHE_NV,           /* durable on the SSD */
	CACHE_WRITETHROUGH, /* durable on the store, and on the SSD */
	CACHE_VOLATILE,     /* as any disk with a volatile cache: BLK_CAP_VOLATILE is reported. This
	                       version makes each write durable on the SSD all the same */
	CACHE_BYPASS,       /* as the store says; nothing is cached */
	CACHE_MODE_COUNT
};

const char *cache_mode_to_string(enum cache_mode m);

/* ---- conditions: what needs a person ------------------------------------------------------- */

enum cache_condition {
	CACHE_COND_SSD_WRITE, /* a write to the SSD failed; a new epoch was begun */
	CACHE_COND_SSD_VOID,  /* the SSD takes no writes any more: writes fail, dirty data drains */
	CACHE_COND_SSD_READ,  /* blocks of the SSD couldn't be read or were damaged */
	CACHE_COND_DATA_LOST, /* of these some had data that the store lacks */
	CACHE_COND_STORE_WRITE, /* a store doesn't take its data; it waits on the SSD */
	CACHE_COND_LOG_FULL,    /* writes wait for room */
	CACHE_COND_DRIVE_LIED,  /* at start: the SSD had lost what it had said was durable */
	CACHE_COND_SSD_GONE,    /* it doesn't answer, or isn't the same one any more */
	CACHE_COND_COUNT
};

/* ---- format ------------------------------------------------------------------------------ */

#define CACHE_SEGMENTS_MIN 6u

struct cache_format_args {
	uint32_t segment_blocks; /* of 4 KiB; 0: 64 MiB, less on a small device */
	uint32_t volumes_max;    /* 0: 255 */
	uint8_t uuid[16];        /* of the new cache; random, never given before */
	bool force;              /* also over another cache */
};

/*
 * Writes an empty cache to `ssd`, on the current loop, which is one of the blk's. `done` gets 0;
 * -EEXIST: there is a cache already (without force); -ENOSPC: too small for
 * CACHE_SEGMENTS_MIN segments; -EINVAL; the device's error.
 */
void cache_format(
    struct blk *ssd, const struct cache_format_args *args, cache_done_fn *done, void *ctx);

/* ---- attach and detach --------------------------------------------------------------------- */

struct cache_tuning {
	uint32_t buf_bytes;         /* memory for partial blocks and fills */
	uint32_t destage_blocks;    /* of one batch of a volume, at most */
	uint32_t destage_idle_ms;   /* a volume without writes for so long is drained */
	uint32_t dirty_low_percent; /* of the log: above it all goes; 0: the controller decides */
	uint32_t free_low_segments; /* fewer free ones: clean segments are evicted */
	uint32_t checkpoint_ms;     /* at least so often while something changes; 0: on need only */
	uint32_t write_wait_ms;     /* a write that waits for room for so long ends in -EAGAIN */
	uint64_t index_bytes_max; /* beyond it clean data is evicted, nothing is filled, and writes
	                             wait when nothing is clean; 0: no bound */
	uint32_t fill_cutoff_bytes; /* reads longer than this aren't filled; 0: none are */
};
void cache_tuning_default(struct cache_tuning *t);

/* Where acknowledged data is lost, as far as the SSD still tells. */
struct cache_loss {
	char name[64];                /* of the LUN; "": which one isn't known */
	uint64_t offset_bytes, bytes; /* bytes 0: not known */
	const char *why;              /* static; for people */
};

struct cache_args {
	struct blk *ssd; /* open for all loops; stays the caller's, until detached */
	struct loop *const *loops;
	unsigned loop_count;
	uint8_t host[16];
	bool accept_loss; /* go on although acknowledged writes are known to be lost */
	struct cache_tuning tuning;
	/* Something that was acknowledged is lost, or may be; before the attach ends, whether it fails or
	 * goes on (accept_loss). Not again at the next attach, if this one went on. May be NULL. */
	void (*lost)(void *ctx, const struct cache_loss *l);
	/* A condition came (set) or went; `detail` is for people. May be NULL. */
	void (*condition)(void *ctx, enum cache_condition c, bool set, const char *detail);
	void *ctx;
};

/*
 * Recovers and opens the cache. On failure `reason` is a sentence for a person, valid during the
 * callback: -EMEDIUMTYPE: no cache of ours; -EPROTONOSUPPORT: of a newer version; -EUCLEAN: damaged so
 * that acknowledged writes may be lost (accept_loss goes on); -ENOMEM; the device's error.
 */
typedef void cache_attach_fn(void *ctx, int result, struct cache *c, const char *reason);
void cache_attach(const struct cache_args *args, cache_attach_fn *done, void *ctx);

/*
 * Ends what runs, writes a last checkpoint and frees `c`. All volumes are closed (asserted). Dirty data
 * stays on the SSD. The result tells whether the checkpoint was written; `c` is gone in any case.
 */
void cache_detach(struct cache *c, cache_done_fn *done, void *ctx);

/*
 * The SSD doesn't answer any more (gone), or does again. Meanwhile writes fail, and reads of what the stores
 * haven't; all else is answered by the stores. When it is back it is looked at before anything is asked of it:
 * another one, or an old copy, isn't used in this life. For all of the blk's events: one that has become too small
 * for the cache is taken for gone until it has its size again. Home loop.
 */
void cache_ssd_event(struct cache *c, bool gone);

/*
 * The cache is to use so many bytes of its SSD, which has as many already. Online: more segments are usable when done;
 * of those that go, what is dirty is moved and what is clean dropped first, and once done the SSD may be cut to that
 * size. `done`, never at once: 0, or -errno with the cache as it was: as cache_resize_check(), -ESHUTDOWN (it is
 * being detached), -ETIMEDOUT (what is to go doesn't get empty), -ENOMEM, -EIO. Home loop.
 */
void cache_resize(struct cache *c, uint64_t size_bytes, cache_done_fn *done, void *ctx);
/* Before a detach: one under way ends soon, with -ESHUTDOWN if it isn't whole, and none begins any more. */
void cache_resize_stop(struct cache *c);
/*
 * Whether it could begin now, and what would be of use to the cache then. 0; -EINVAL: the SSD isn't as large; -ENOSPC:
 * too small for CACHE_SEGMENTS_MIN; -EAGAIN: too much is dirty; -EBUSY: one is under way; -EIO: the SSD takes no
 * writes.
 */
int cache_resize_check(const struct cache *c, uint64_t size_bytes, uint64_t *ret_used_bytes);

/* ---- volumes ----------------------------------------------------------------------------- */

/* What the store remembers of the cache that has its newest data. */
struct cache_marker {
	bool present;
	uint8_t cache_uuid[16];
	uint32_t volume;
	uint64_t generation;
};

/* Where the marker of a store lives; durable at done. One call at a time. */
struct cache_marker_ops {
	void (*get)(void *store_ctx,
	    void (*done)(void *ctx, int result, const struct cache_marker *m), void *ctx);
	void (*set)(void *store_ctx, const struct cache_marker *m, cache_done_fn *done, void *ctx);
};

struct cache_volume_args {
	uint8_t uuid[16];  /* of the LUN */
	const char *name;  /* of the LUN, at most 63 bytes */
	struct blk *store; /* open for all loops; stays the caller's until the volume is closed */
	const char *store_identity; /* NULL: blk_get_name() */
	enum cache_mode mode;
	const struct cache_marker_ops *marker;
	void *marker_ctx;
};

/*
 * Opens the LUN's volume, or makes it. -ENOSPC: table full; -EBUSY: open already, or the store's marker
 * names another cache; -ESTALE: the store's marker doesn't fit this SSD: one of them is an old copy, or
 * the store was used without it; -ENXIO: the row names another store, or another
 * LUN has this one; -EINVAL: the store is
 * smaller than the volume was (it may have grown); the device's error. `v` is NULL on failure.
 */
typedef void cache_open_fn(void *ctx, int result, struct cache_volume *v);
void cache_volume_open(
    struct cache *c, const struct cache_volume_args *args, cache_open_fn *done, void *ctx);
/* The LUN that a store's volume belongs to, open or not. 0, or -ENOENT: it has none here. */
int cache_volume_find(struct cache *c, const char *store_identity, uint8_t ret_uuid[16]);
/* What of a volume's reads goes to the SSD. At once; may be changed at any time. */
struct cache_fill_policy {
	bool on_read;
	uint64_t
	    cutoff_bytes; /* of one sequential stream: what follows isn't filled; 0: no cutoff */
	bool compress;    /* what is filled, or written again for its hits */
};
void cache_volume_set_fill(struct cache_volume *v, const struct cache_fill_policy *p);
/* What SCSI uses. Owned by the volume. */
struct blk *cache_volume_blk(struct cache_volume *v);
/* No I/O of its user in flight (asserted). Dirty data stays on the SSD, the marker on the store. */
void cache_volume_close(struct cache_volume *v, cache_done_fn *done, void *ctx);
/* Destages everything, forgets the volume, clears the store's marker, closes. On failure it stays open.
 * With discard_dirty nothing is destaged. */
void cache_volume_remove(
    struct cache_volume *v, bool discard_dirty, cache_done_fn *done, void *ctx);

/* All that was acknowledged before is on the store and the store was flushed. 0 or the store's error. */
void cache_volume_flush(struct cache_volume *v, cache_done_fn *done, void *ctx);
/* The same, then the SSD's copies are dropped. */
void cache_volume_evict(struct cache_volume *v, cache_done_fn *done, void *ctx);
/* Both of the blocks that a range touches; what lies beyond the volume isn't there. An eviction may have more
 * than the range go to the store. */
void cache_volume_flush_range(
    struct cache_volume *v, uint64_t from_bytes, uint64_t bytes, cache_done_fn *done, void *ctx);
void cache_volume_evict_range(
    struct cache_volume *v, uint64_t from_bytes, uint64_t bytes, cache_done_fn *done, void *ctx);
/*
 * Becomes as large as its store is by now, and raises BLK_EVENT_SIZE. Requests go on meanwhile. 0, also where
 * the store hasn't grown; -EBUSY (another change); -EFBIG; the store's or the SSD's error: it keeps its size.
 */
void cache_volume_grow(struct cache_volume *v, cache_done_fn *done, void *ctx);
/*
 * Done when every later write is acknowledged under the new mode. That a weaker meaning doesn't reach a
 * nexus which was told the stronger one is the caller's care. One change at a time (-EBUSY).
 */
void cache_volume_set_mode(
    struct cache_volume *v, enum cache_mode mode, cache_done_fn *done, void *ctx);
/* New changes wait until thaw; done when those that run have ended. */
void cache_volume_freeze(struct cache_volume *v, cache_done_fn *done, void *ctx);
void cache_volume_thaw(struct cache_volume *v);

/* Everything changed so far in what is dead or clean is durable; frees segments. */
void cache_checkpoint(struct cache *c, cache_done_fn *done, void *ctx);

/* ---- looking ----------------------------------------------------------------------------- */

struct cache_stats {
	uint8_t uuid[16];
	uint64_t epoch, ver, checkpoint;
	uint64_t segment_bytes;
	uint32_t segments, segments_free, segments_bad;
	uint64_t size_bytes; /* of the SSD, as far as it is used */
	bool resizing;       /* to so many segments; the next: until they are empty, or wiped */
	uint32_t resize_segments;
	uint64_t resize_left_bytes;
	uint64_t cached_bytes, dirty_bytes, index_bytes;
	uint64_t dirty_max_bytes; /* of all volumes: writes are slowed from 60 % of it on */
	uint32_t segments_dirty;  /* hold what a store lacks */
	uint64_t commits, commit_blocks, commit_ns; /* the latter: the sum of their latencies */
	uint64_t fills, evicted_blocks,
	    rewritten_blocks;         /* blocks filled; dropped; kept for their hits */
	uint64_t checkpoints, copies; /* copies: blocks that were moved */
	uint64_t ssd_errors, ssd_bad_blocks;
	uint64_t pack_in_bytes, pack_out_bytes; /* compressed data: of the LUNs; on the SSD */
	uint64_t pack_refused_bytes;            /* didn't get smaller */
	uint64_t pack_skipped_bytes; /* not tried: too much at once, or all before was refused */
	uint32_t conditions;         /* bits 1 << enum cache_condition */
};
void cache_get_stats(const struct cache *c, struct cache_stats *ret);

/*
 * Share of the reads that came to the cache lately which the SSD would have answered at other sizes: from a
 * quarter to eight times this one, ascending, this one (segments × segment_bytes) among them; for
 * policy_advise(). What is compressed counts as if it weren't. Returns how many points; 0: no memory for it.
 */
uint32_t cache_curve(struct cache *c, struct policy_mrc_point ret[POLICY_MRC_POINTS_MAX]);

struct cache_volume_stats {
	char name[64];
	uint32_t id;
	enum cache_mode mode;
	uint64_t size_bytes, cached_bytes, dirty_bytes;
	uint64_t reads, read_hits, writes, unmaps; /* requests; a hit came wholly from the SSD */
	uint64_t read_blocks, hit_blocks; /* asked for; of these, from the SSD or known as zeros */
	uint64_t filled_blocks,
	    scan_blocks; /* came to the SSD by a read; not, since part of a scan */
	uint64_t destaged_blocks, store_writes, store_errors;
	uint64_t store_flushes, gap_blocks; /* the latter: written once more, to join two writes */
	uint64_t destage_blocks_per_s;      /* lately */
	uint32_t destage_depth;             /* store writes at once; 0: it waits */
	uint64_t write_delay_ns; /* for each block written, now; 0: writes aren't slowed */
	uint64_t slowed_writes;  /* requests that waited for that */
};
void cache_volume_get_stats(const struct cache_volume *v, struct cache_volume_stats *ret);

/* Up to `cap` volumes that are open; returns how many. */
uint32_t cache_volumes(struct cache *c, struct cache_volume **ret, uint32_t cap);

/* Data that the store lacks. */
struct cache_range {
	uint64_t offset_bytes, bytes;
	bool is_lost;  /* the SSD can't give it back either */
	bool is_zeros; /* unmapped or zeroed: it has no payload */
};
/*
 * Ranges of dirty data at `from_bytes` and after it, ascending, in whole blocks, neighbours of one kind as
 * one; at most `cap`, of which the first may begin before `from_bytes`, in its block. *ret_next: where to
 * go on, or UINT64_MAX after the last.
 */
uint32_t cache_volume_dirty(const struct cache_volume *v, uint64_t from_bytes,
    struct cache_range *ret, uint32_t cap, uint64_t *ret_next);

/* Of a piece of a volume, in blocks of 4 KiB. */
struct cache_share {
	uint64_t looked;        /* at so many of its blocks */
	uint64_t cached, dirty; /* of these: with data on the SSD; that the store lacks */
};
/*
 * How much of a piece is on the SSD: of all its chunks of 1 MiB, or of 64 of them spread over it. Takes
 * microseconds; for many pieces take several turns. What lies beyond the volume isn't looked at.
 */
void cache_volume_share(
    const struct cache_volume *v, uint64_t from_bytes, uint64_t bytes, struct cache_share *ret);

struct cache_segment_info {
	uint32_t number;
	const char *state;  /* static: free opening open closed sealed bad lost */
	const char *stream; /* static: W accepted, F fills, G moved; "": none */
	uint64_t generation;
	uint32_t used_blocks, live_blocks, dirty_blocks; /* of its data area */
	uint32_t errors;                                 /* commits that failed in it */
};
/* From number `first` on, at most `cap`; returns how many. */
uint32_t cache_segments(
    const struct cache *c, uint32_t first, struct cache_segment_info *ret, uint32_t cap);

#endif
