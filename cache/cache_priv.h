/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Shared by the files of cache/. One home loop owns everything here: the log, the index, all state.
 * Other loops reach it by messages from the volumes' block interface only (volume.c).
 *
 * Numbers in brackets, [3], are the invariants of docs/format/cache.md.
 */
#ifndef CACHE_CACHE_PRIV_H
#define CACHE_CACHE_PRIV_H

#include "base/assert.h"
#include "base/bufpool.h"
#include "base/list.h"
#include "base/pool.h"
#include "cache/cache.h"
#include "cache/codec.h"
#include "cache/index.h"
#include "cache/pack_unit.h"
#include "cache/policy/policy.h"
#include "store/blk_driver.h"

/*
 * Guards that the simulation switches off one at a time, to see that it finds what they prevent. In the
 * product the condition is constant and false.
 */
#define CACHE_MUTANTS(X)                                                                           \
	X(NONE)                                                                                    \
	X(REUSE_NO_CHECKPOINT) /* [6] a segment is reused as soon as all in it is dead */          \
	X(SLOT_IN_FORCE)       /* [6] the slot in force is overwritten */                          \
	X(OTHER_FLUSH_FAILED) /* [9] another's failed flush of the SSD isn't taken as one's own */ \
	X(SLOTS_ABOVE_HEADER) /* [6] slots above the newest durable header are believed */         \
	X(NO_SLOT_FLUSH)      /* [6] header without a flush of the slots before */                 \
	X(STALE_SLOT_KEPT)    /* [6] a slot ignored at recovery stays */                           \
	X(NO_SLOTS_CRC)       /* [6] an older slot stands in for one that decayed */               \
	X(HEADER_ONCE)        /* [6] of a checkpoint's header there is one */                      \
	X(NO_USED)            /* [3] where records that were acknowledged end isn't known */       \
	X(NO_DEAD_BIT)        /* [6] dead bits aren't believed at recovery */                      \
	X(NO_GENERATION)      /* [6] bits apply whatever the generation */                         \
	X(PACK_ONE_BIT)       /* [6] of two packed blocks in a unit one has a bit */               \
	X(EARLY_DEAD)         /* [6] superseded blocks die before the newer record is durable */   \
	X(ZERO_DROP)          /* [6] entries are dropped above an older live record */             \
	X(REWRITE_NO_CHECK)   /* [6] what isn't durable takes over though older data would show */ \
	X(POS_WINS)           /* [1] at replay the last found wins */                              \
	X(FILL_NO_CANCEL)     /* [10] a write doesn't cancel fills in flight */                    \
	X(FILL_NEXT_VER)      /* [10] a fill takes the next ver */                                 \
	X(FILL_NO_FLUSH)      /* [6] no flush before an F footer, and reads unverified */          \
	X(OTHER_STORE_FLUSH)  /* [9] the same of a store's */                                      \
	X(CLEAN_NO_FLUSH)     /* [9] clean once written, without a flush of the store */           \
	X(CLEAN_NO_CHECK)     /* [9] clean though a newer version is in the index */               \
	X(FLUSH_FAIL_ASSUMED) /* [9] a failed flush counts as one */                               \
	X(COPY_NO_CHECK)      /* [9] a copy takes over though a newer version came */              \
	X(ACK_EARLY)          /* [2] GOOD before the record is durable */                          \
	X(NO_FUA)             /* [2] the commit isn't durable when it ends */                      \
	X(NO_PAYLOAD_CRC)     /* [3] a torn payload above the durable position is believed */      \
	X(NO_EPOCH)           /* [5] recovery neither seals nor begins a new epoch */              \
	X(NO_SEAL)            /* [5] recovery doesn't seal open segments */                        \
	X(RECOVERY_NO_FLUSH)  /* [5] recovery relies on what only the drive's cache has */         \
	X(AWAY_ANY)           /* [4] whatever is there when the SSD is back is taken for it */     \
	X(AWAY_NO_RECORD)     /* [4] …if superblocks and headers fit */                          \
	X(COMMIT_FAIL_GO_ON)  /* [4] after a failed commit the epoch goes on */                    \
	X(OWED_CHECKPOINT)    /* [4] a checkpoint while a failed record may count */               \
	X(PARTIAL_NO_UNION)   /* [14] a partial write's record holds only its own sectors */       \
	X(BYPASS_NO_DRAIN)    /* [11] bypass begins without draining */                            \
	X(OPEN_NO_FLUSH)      /* [5] what the store only has cached is shown as durable */         \
	X(BYPASS_NO_CHECKPOINT) /* [11] bypass begins before the invalidation is durable */        \
	X(REUSE_READ_IN_FLIGHT) /* [6] a segment is reused under a read */                         \
	X(NO_RESERVE)           /* [18] W and F leave no segment for those before them */          \
	X(STUCK_NO_CAP)         /* [18] whose store fails may have all of the log */               \
	X(FILL_KEEPS_LAST)      /* [18] fills keep a segment though G finds none */                \
	X(ID_REUSED)            /* [17] a new volume gets the id of a removed one */               \
	X(READ_NO_CRC)          /* [3] what the SSD returns isn't verified */                      \
	X(PACK_NO_CRC)          /* [3] nor what is unpacked */                                     \
	X(BYPASS_NO_LOCK)       /* [8] two writes of the store at once, of the same block */       \
	X(MARKER_LATE)          /* [15] GOOD before the store says whose its data is */            \
	X(FLUSH_EARLY)          /* [21] a flush ends before the data is on the store */            \
	X(GROW_CLAIMS)          /* [24] a record has sectors beyond the end of the volume */       \
	X(GROW_SHOWN_EARLY)     /* [24] a volume is larger before its row is */                    \
	X(GROW_STORE_NO_FLUSH)  /* [24] …and its row before the store is, for good */            \
	X(WRITETHROUGH_EARLY)   /* [11] GOOD in writethrough before the store was flushed */       \
	X(ZERO_NO_DESTAGE)      /* [12] zeros turn clean without zeroing the store */              \
	X(VER_FROM_HEADER)      /* [7] the ver counter goes on from the checkpoint alone */        \
	X(GROW_NO_CHECKPOINT)   /* [24] new segments are used before a checkpoint covers them */   \
	X(GROW_OLD_GENERATION)  /* [24] generations begin anew where there were some before */     \
	X(GROW_SAME_GENERATION) /* [24] …what a life that was cut off had there counts again */  \
	X(GROW_SUPER_LATE)      /* [24] a checkpoint covers more than the superblocks tell of */   \
	X(SHRINK_NOT_EMPTY)     /* [24] segments go while something is in them */                  \
	X(SHRINK_SUPER_FIRST)   /* [24] the superblocks tell of fewer than a checkpoint covers */

#define CACHE_MUTANT_ENUM(name) CACHE_MUTANT_##name,
enum cache_mutant { CACHE_MUTANTS(CACHE_MUTANT_ENUM) CACHE_MUTANT_COUNT };
#ifdef CACHE_SIM
extern enum cache_mutant cache_mutant;
#define MUTANT(name) (cache_mutant == CACHE_MUTANT_##name)
#else
#define MUTANT(name) (false)
#endif

#define LOC_NONE UINT32_MAX
#define CACHE_VOLUME_BLOCKS_MAX (1ull << 40)
#define CACHE_REQ_ENTS 3u         /* head, middle, tail */
#define CACHE_RECORD_ZEROS_MAX 8u /* they take a header block each */
#ifdef CACHE_SIM
#define CACHE_SUBS_MAX 2u
#else
#define CACHE_SUBS_MAX 16u /* reads at once for one request */
#endif

/* Blocks that share a counter of the locks on them: without a count nothing has to be searched. */
#ifdef CACHE_SIM
#define CACHE_LOCK_SHIFT 0u
#define CACHE_LOCK_BUCKETS 16u
#else
#define CACHE_LOCK_SHIFT 3u
#define CACHE_LOCK_BUCKETS 1024u
#endif

struct cache_op;

/* ---- I/O to the SSD and the stores (io.c) -------------------------------------------------- */

/* Where a packed piece lies. */
struct cache_pack_at {
	uint32_t block, count; /* of the SSD's units, in the segment; verified as they are */
	uint32_t skip, bytes;  /* the unit in them */
	uint32_t unit_bytes;   /* unpacked */
	uint32_t first;        /* the piece in the unit, bytes */
};

/* One block I/O of the cache's own. Its list of memory may hold up to two segments, or borrow more. */
struct cache_io {
	struct blk_io io;
	struct blk_sg sg;
	struct cache *c;
	void (*done)(struct cache_io *x, int result);
	void *ctx;
	uint64_t a, b; /* the caller's */
	struct cache_piece piece;
	struct cache_fill *fill;
	void *frame;
	bool looks; /* whether the SSD is the same one */
	struct cache_pack_at at;
	struct iovec *iov; /* of a borrowed list */
};

struct cache_io *cache_io_get(struct cache *c, void (*done)(struct cache_io *, int), void *ctx);
void cache_io_put(struct cache_io *x);
/* Bytes of `buf`, or of the part of `sg` from `at`. The io goes back to the pool after `done`. */
void cache_io_buf(struct cache_io *x, void *buf, uint64_t len);
void cache_io_part(struct cache_io *x, const struct blk_sg *sg, uint64_t at, uint64_t len);
void cache_io_submit(struct cache_io *x, struct blk *b, enum blk_op op, uint32_t flags,
    uint64_t offset, uint64_t len);
/* The SSD, in blocks. A write without BLK_FUA is durable after a cache_ssd_flush() that was begun after its end. */
void cache_ssd_read(struct cache_io *x, uint64_t block, uint32_t count);
void cache_ssd_write(struct cache_io *x, uint64_t block, uint32_t count, uint32_t flags);
void cache_ssd_flush(struct cache_io *x);
/* Page-aligned memory for control structures; zeroed. */
void *cache_pages_alloc(size_t bytes);
uint32_t cache_crc_part(const struct blk_sg *sg, uint64_t at, size_t len);

/* 4 KiB frames for partial blocks and fills. NULL: none free; `wait` is run when one is. */
void *cache_frame_get(struct cache *c);
void cache_frame_put(struct cache *c, void *frame);
/* Memory went back to the pool: those who wait for frames try again. */
void cache_frames_free(struct cache *c);

/* A callback to make once, kept in lists. */
struct cache_waiter {
	struct list link;
	cache_done_fn *done;
	void *ctx;
	uint64_t a, b, sweep;
	bool is_lost;
};
void cache_wait(struct list *l, cache_done_fn *done, void *ctx);
void cache_wake(struct list *l, int result);
/* Calls done(ctx, result) later in this turn. */
void cache_later(struct cache *c, cache_done_fn *done, void *ctx, int result);

/* ---- segments (segment.c) ------------------------------------------------------------------ */

enum seg_state {
	SEG_FREE,    /* a durable checkpoint says so */
	SEG_OPENING, /* its header is being written */
	SEG_OPEN,
	SEG_CLOSED, /* takes no more records; its footer isn't durable */
	SEG_SEALED,
	SEG_LOST, /* unreadable: neither believed nor reused */
};

/* How a segment is emptied (space.c). */
enum space_how {
	SPACE_EVICT,  /* of a clean one, what wasn't hit is dropped */
	SPACE_GATHER, /* the same of a sparse one, and what is dirty is moved together */
	SPACE_STRAND  /* what is dirty is moved, all at once: stores don't take it */
};

/* What the policy believes of it (tier.c). */
enum seg_tier { TIER_FREE, TIER_OPEN, TIER_SEALED, TIER_EMPTYING };

struct segment {
	uint64_t generation, epoch, order; /* order: of opening */
	enum seg_state state;
	enum cf_stream stream;
	uint8_t slot;         /* in force */
	uint64_t slot_number; /* its checkpoint; 0: none is */
	bool changed;   /* since the slot in force was written, or since its checkpoint began */
	bool in_ck;     /* has a slot in the running checkpoint */
	bool free_ck;   /* which says that it is free */
	bool out;       /* no durable checkpoint covers it: not opened */
	bool bad;       /* failed a write: not opened while there are others */
	uint8_t errors; /* commits that failed in it */
	bool sealing;   /* its footer is on the way */
	bool stuck;     /* eviction found something it had to leave */
	uint32_t unit;  /* next free one */
	uint32_t acked; /* …up to which records are acknowledged */
	uint32_t live, dirty; /* units that the index needs; zero records count as one */
	uint32_t pins;        /* reads in flight */
	uint32_t records, foot_bytes;
	uint8_t tier;          /* enum seg_tier */
	uint32_t skipped;      /* the next that can't be a victim now */
	uint8_t *dead, *clean; /* bitmaps of data_blocks */
	uint32_t *crc;         /* of each payload block */
	void *foot;            /* footer under construction, until sealed */
	struct pack_map *map;  /* where its packed units are, by half */
	uint32_t map_count, map_cap;
};

static inline bool
bit_get(const uint8_t *map, uint32_t i)
{
	return map[i / 8] >> (i % 8) & 1;
}
static inline void
bit_set(uint8_t *map, uint32_t i)
{
	map[i / 8] = (uint8_t)(map[i / 8] | 1u << (i % 8));
}

/* ---- the log (log.c) ----------------------------------------------------------------------- */

/* One descriptor to be. */
struct cache_ent {
	uint64_t block, count;
	uint64_t ver; /* 0: the log gives one */
	uint16_t flags;
	uint8_t mask;
	const struct blk_sg *sg; /* NULL for zeros */
	uint64_t sg_at;
	uint8_t units[CF_PACK_UNITS]; /* PACKED: their sectors, which lie together from sg_at on */
	uint32_t loc;                 /* out */
};

/* What goes into one record together. */
struct cache_req {
	struct list link;
	struct cache_volume *vol;
	struct cache_ent ent[CACHE_REQ_ENTS];
	uint32_t ents, blocks, zeros;
	uint32_t packed,
	    sectors; /* blocks that are packed, in so many sectors; not among `blocks` */
	/* Durable (W, G) or written (F), in the order of the log; or a failure: nothing of it counts. */
	void (*done)(struct cache_req *r, int result);
	void *ctx;
	uint64_t a;
	uint64_t since_ns;
};

#define CACHE_RECORD_IOVS 2304u

/* The logs are numbered as their streams; one more writes F records too, of clean data that was hit when its
 * segment was to go. They aren't chained to the others', nor need they be: F counts by its footers. */
#define CACHE_LOG_MAIN CF_STREAM_COUNT
#define CACHE_LOG_COUNT (CF_STREAM_COUNT + 1u)

struct cache_log {
	struct cache *c;
	enum cf_stream stream;
	uint32_t seg; /* open one, or LOC_NONE */
	bool opening, busy, blocked, capped;
	bool roomy;           /* the segment was opened when there were enough for all [18] */
	bool stalled;         /* a segment couldn't be opened: not before the next tick */
	struct list queue;    /* of cache_req, not in a record yet */
	struct list inflight; /* in the record that is being written */
	uint64_t seq;         /* of the last record that was built */
	struct cache_position acked;
	/* the record that is being written */
	struct cache_record rec;
	void *header;
	struct cache_desc *descs;
	uint32_t *crcs;
	struct iovec *iov;
	uint32_t iovcnt;
	char *packed; /* F: what is packed of the record */
};

int cache_log_init(struct cache *c, unsigned log);
void cache_log_fini(struct cache_log *l);
void cache_log_submit(struct cache *c, unsigned log, struct cache_req *r);
void cache_log_kick(struct cache *c);
/* Writes wait for a free segment, and not only for a store that takes nothing. */
bool cache_log_hurries(const struct cache *c);
uint32_t cache_log_req_max(const struct cache *c);
/* Waiting longer than that: -EAGAIN. */
void cache_log_expire(struct cache *c);
/* The open segment takes no more. */
void cache_log_close(struct cache_log *l);
/* epoch.c: the commit of `l` failed. */
void cache_epoch_end(struct cache *c, struct cache_log *l);
/* Something that an ending epoch may have waited for has ended. */
void cache_epoch_check(struct cache *c);
/* The tick: the superblocks of an epoch's end that couldn't be written. */
void cache_epoch_retry(struct cache *c);
bool cache_log_idle(const struct cache *c);

void cache_segment_open(struct cache_log *l);
void cache_segment_close(struct cache *c, uint32_t seg);
void cache_segment_reset(struct cache *c, struct segment *s);
/* Free segments that a volume with much dirty data leaves: one for G, one for other volumes' writes [18]. */
#define CACHE_FREE_FOR_OTHERS 2u
uint32_t cache_segment_free_count(const struct cache *c);
bool cache_segment_all_dead(const struct segment *s);
void cache_segment_pin(struct cache *c, uint32_t loc);
void cache_segment_unpin(struct cache *c, uint32_t loc);
int cache_segment_memory(struct cache *c, struct segment *s);

/* ---- records of zeros (zeros.c) ------------------------------------------------------------ */

struct cache_zero {
	struct list link; /* in the volume, by ver */
	struct cache_volume *vol;
	uint64_t block, count, ver;
	uint64_t live, dirty; /* blocks that the index shows; those the store lacks */
	uint32_t loc, id;
	bool no_unmap;
};

/* ---- packed data (pack.c) -------------------------------------------------------------------- */

/* A request on its way to a log of F. */
struct cache_packing {
	struct cache_req *req;
	char *mem; /* its data, in one piece; packed in place */
	struct list link;
	unsigned log;
	uint32_t done, out; /* blocks; bytes that they take now */
	uint8_t units[CACHE_REQ_ENTS * CF_PACK_UNITS];
	bool any;
};

/* As cache_log_submit(), packed if that is worth it: `mem` is what the request's only entry writes. */
void cache_pack_submit(
    struct cache *c, unsigned log, struct cache_req *r, char *mem, struct cache_packing *k);
/* Blocks of a request that may be packed, at most. */
#define CACHE_PACK_REQ_BLOCKS (CACHE_REQ_ENTS * CACHE_PACK_DESC_BLOCKS)
bool cache_pack_idle(const struct cache *c);
void cache_pack_begin(struct cache *c);
int cache_pack_init(struct cache *c);
void cache_pack_fini(struct cache *c);
void cache_pack_tick(struct cache *c);
/* The segment, in which nothing is, ceases to be. */
void cache_pack_forget(struct cache *c, struct segment *s);
/* A packed descriptor of the segment counts. */
void cache_pack_learn(struct cache *c, struct segment *s, const struct cache_desc *d);
/* The record under construction: what is packed of it lies from `data` on. Returns its blocks. */
uint32_t cache_pack_place(struct cache_log *l, uint32_t data);

/* Memory for it, of which there is always some again; NULL: wait as for a frame. */
char *cache_pack_raw_get(struct cache *c);
void cache_pack_raw_put(struct cache *c, char *raw);
/* The first unit of the piece, which is cut to it. */
struct cache_pack_at cache_pack_find(struct cache *c, struct cache_piece *p);
void cache_pack_read(struct cache_io *x, uint32_t loc, const struct cache_pack_at *at, char *raw);
/* The piece's blocks out of what was read there; NULL: they are damaged. Valid until the next call. */
const char *cache_pack_open(
    struct cache *c, uint32_t loc, const struct cache_pack_at *at, const char *raw);

/* ---- volumes ------------------------------------------------------------------------------- */

/* A range of blocks that one change holds; granted in the order of arrival [1]. */
struct cache_lock {
	struct list link;
	uint64_t first, last;
	bool granted;
	void (*grant)(struct cache_lock *k);
};

/* A fill from its miss to its entry in the index [10]. */
struct cache_fill {
	struct list link; /* in the volume */
	struct cache_req req;
	struct cache_volume *vol;
	uint64_t block, count, ver;
	bool cancelled;
	struct blk_sg sg;
	void *mem;
	struct cache_packing packing;
};

/* Dirty data on its way to a G segment: durable there before it is the only copy. Or clean data that was hit on
 * its way to an F segment: not durable, so it takes over only where it could be dropped [6]. */
struct cache_copy {
	struct list link;
	struct cache_volume *vol;
	struct cache_piece was;
	struct cache_req req;
	struct blk_sg sg;
	char *mem;
	bool rewrite, hit; /* to F; the new place counts as hit */
	uint32_t read;     /* blocks; packed ones unit by unit… */
	char *raw;         /* …by way of this */
	struct cache_pack_at at;
	struct cache_packing packing;
};

struct destage_item {
	struct cache_piece piece;
	uint32_t at; /* in the batch's memory, blocks */
	int err;
	bool gap; /* clean: written once more, since it lies between what is dirty */
};

struct destage {
	bool running;
	uint64_t cursor;
	uint64_t sweeps; /* times that it began at the first block */
	struct destage_item *items;
	uint32_t count, cap, blocks;
	uint32_t blocks_used; /* of this batch's memory */
	uint32_t run_blocks;  /* of one write of the store, at most */
	uint64_t write_ns;    /* latency of a write of the store, averaged */
	char *mem;
	/* how much and how fast (destage_rate.c) */
	struct policy_destage policy;
	uint64_t credit;    /* blocks that may be begun; UINT64_MAX: all */
	uint64_t due_order; /* what lies in segments opened later has time */
	uint32_t window;    /* so many of the oldest segments with dirty data are due */
	uint32_t depth;     /* store writes at once */
	uint64_t ticked_ns; /* 0: never */
	uint64_t last_batch_ns;
	uint64_t written, sent;       /* blocks since the last tick; sent: the store took them */
	uint64_t busy_ns;             /* …and the time of batches that ended */
	uint64_t taken;               /* of the running batch, by the store; not flushed yet */
	uint64_t store_ops, store_ns; /* …and misses that the store answered, and their latencies */
	/* scratch of collecting (destage_pick.c) */
	struct destage_item *found;
	struct policy_pick_item *picks;
	struct policy_pick_run *runs;
	uint32_t pending, next, sector; /* I/Os in flight; item and sector from which to go on */
	bool reading, any;
	uint64_t hold_until_ns; /* after an error */
	uint64_t begun_ns;
	uint64_t flush_failures; /* of the store, when the batch was begun */
	uint32_t failures;
};

struct cache_volume {
	struct blk b; /* first */
	struct list link;
	struct cache *c;
	struct cache_volrow row;
	struct blk *store;
	const struct cache_marker_ops *marker;
	void *marker_ctx;
	struct cache_index ix;
	uint64_t dirty_zeros; /* of its dirty blocks: they take no room of the log */
	enum cache_mode mode;
	uint64_t blocks;
	struct cache_fill_policy fill;
	const struct cache_piece *over;      /* being put over what the index has */
	bool open;                           /* its LUN has asked for it; else only recovered */
	struct list locks;                   /* cache_lock, by arrival */
	uint16_t locked[CACHE_LOCK_BUCKETS]; /* locks that touch it */
	uint32_t locked_wide;                /* those that touch too many to count */
	struct list fills;                   /* cache_fill */
	struct list copies;                  /* cache_copy in flight */
	struct list zeros;                   /* cache_zero, by ver */
	struct list held;                    /* blk_io that wait for an op or the gate */
	uint32_t changes;                    /* ops that change something, in flight */
	uint32_t running;                    /* ops, of any kind */
	bool bypass;                         /* everything goes to the store alone */
	bool shut;                           /* new changes are held */
	bool releasing;                      /* what was held is being begun */
	bool frozen;                         /* …by freeze */
	struct list clean_waiters;
	struct list idle_waiters;      /* until no change is in flight */
	uint64_t store_flush_failures; /* whoever asked for them */
	bool store_owed; /* a flush of it failed when it was opened, and none was well since */
	bool want_clean;
	uint64_t last_write_ns;
	struct {
		int step; /* of a change of mode, eviction or removal; 0: none */
		enum cache_mode to;
		bool evict, remove, discard, waiting;
		uint64_t first, end; /* blocks that an eviction drops; else all */
		int err;
		uint64_t grow_to;        /* bytes; 0: it keeps its size */
		struct cache_volrow row; /* as it was before step ROW */
		cache_done_fn *done;
		void *ctx;
	} chg;
	cache_done_fn *removed;
	void *removed_ctx;
	bool closing;
	bool store_fails;             /* its last batch did */
	uint32_t pack_refused;        /* units one after the other that didn't get smaller */
	struct loop_timer slow_timer; /* the next held change may begin */
	uint64_t slow_until_ns;       /* virtual clock of writes that are slowed */
	uint64_t write_delay_ns;      /* for each block; 0: none is */
	struct destage d;
	struct cache_volume_stats stats;
};

struct cache {
	struct loop *home;
	struct loop *const *loops;
	struct loop **loops_copy;
	unsigned loop_count;
	struct blk *ssd;
	struct cache_tuning tuning;
	void (*condition)(void *ctx, enum cache_condition c, bool set, const char *detail);
	void *ctx;
	uint8_t uuid[16];
	struct cache_super super;
	struct cache_geometry geo;
	uint32_t keep; /* segments that may be used: all, but for those that are to go (resize.c) */
	uint64_t ver;  /* last one given [1] */
	uint64_t orders;
	uint64_t flush_failures; /* of the SSD: what was written without FUA before may be gone */
	bool index_full;         /* [19] */
	bool ops_short;          /* a request is held for want of an op */
	bool loaded, is_void, epoch_ending, epoch_writing, stopping;
	bool gives_up;    /* at the end: what couldn't be written isn't tried again */
	bool epoch_owed;  /* its end isn't durable: what failed in it may still count */
	bool epoch_begun; /* …and the new one has no number yet: footers first */
	struct segment *segs;
	struct cache_log logs[CACHE_LOG_COUNT];
	struct policy_segs *tier;
	struct policy_streams *streams;
	struct policy_mrc *mrc; /* of the SSD; NULL: no memory for it */
	uint64_t mrc_blocks, mrc_decay_ns;
	struct list volumes, openings;
	struct cache_zero **zeros; /* by id */
	uint32_t zeros_cap, zeros_free;
	struct pool io_pool, op_pool, req_pool, fill_pool;
	struct bufpool *bufs;
	struct list frame_waiters; /* cache_op */
	struct list tick_waiters;
	struct loop_defer frame_defer, kick_defer, space_defer;
	struct loop_timer tick;
	struct list later;
	struct loop_defer later_defer;
	/* checkpoint.c */
	struct {
		bool running, header_only;
		bool owed;        /* recovery found only one of the headers */
		bool put_off;     /* the last one failed: the tick lets the next one begin */
		unsigned written; /* of the header's two copies */
		uint64_t number;  /* last one used */
		uint64_t durable; /* of the last header that is; 0: none in this life */
		uint8_t header;   /* place in force */
		struct cache_ckhead head;
		void *header_buf;
		char *slots; /* one block for each segment in it */
		uint32_t *segs;
		uint32_t count, next, pending;
		int err;
		struct list waiters, next_waiters;
		uint64_t last_ns, flush_failures;
	} ck;
	/* voltable.c */
	struct {
		uint64_t generation;
		uint32_t next_id;
		uint8_t which;
		bool busy, retry;
		unsigned failures, written; /* in a row; copies of this write */
		void *buf;
		struct cache_volrow *rows;
		uint32_t count;
		struct list waiters, next_waiters;
	} vt;
	/* away.c */
	struct {
		bool is_away; /* nothing is asked of the SSD */
		bool there;   /* it answers; whether it is the same one isn't known yet */
		bool wants;   /* to look, when nothing is on its way to it */
		bool looking, again;
		unsigned next;
		void *buf;
		struct list refused; /* blk_io */
		struct loop_defer defer;
		/* the last record of W that was acknowledged in this life */
		bool has_record;
		uint32_t record_seg, record_unit;
		uint64_t record_generation;
		uint8_t record[sizeof(struct cf_record)];
	} away;
	/* superblock.c */
	struct {
		struct cache_super durable;
		void *buf;
		unsigned which, written; /* in force; copies of this write */
		cache_done_fn *done;
		void *ctx;
	} sb;
	/* space.c */
	struct {
		bool evicting;
		enum space_how how;
		bool moved;   /* what is stranded, in this tick */
		bool again;   /* what was stuck is tried, in this tick */
		bool reading; /* the victim's footer */
		uint32_t victim, copying;
		void *buf;
		struct cache_footer footer; /* in buf, with what is next in it */
		struct cache_record record;
		uint32_t footer_at, desc_at;
		bool pressure;
	} space;
	/* resize.c */
	struct {
		int step; /* 0: none */
		struct cache_geometry to;
		struct segment *segs; /* the new array, until it is the one */
		uint32_t next;        /* segment whose slots are wiped next */
		void *zeros;
		uint32_t covers; /* checkpoints to come; 0: all segments there are */
		bool stop;
		bool waits;              /* for an I/O, a superblock or a checkpoint */
		uint64_t left, since_ns; /* units to move when it got on last, and when that was */
		cache_done_fn *done;
		void *ctx;
	} resize;
	/* pack.c */
	struct {
		struct pack_ctx *ctx;
		char *unit;           /* unpacked */
		struct bufpool *bufs; /* for reads */
		uint32_t raw_free;
		struct list queue; /* of cache_packing */
		struct loop_defer defer;
		uint32_t budget; /* units that may be tried until the next tick */
		bool on, want, writing,
		    found;      /* on: the superblocks say so; found: there are some */
		uint32_t hold;  /* ticks, after the superblocks couldn't be written */
		uint64_t bytes; /* of memory for maps */
	} pack;
	uint32_t loc_packed; /* LOC_PACKED; 0: the SSD is too large for it */
	struct cache_stats stats;
};

/* Of packed blocks: two of them share a unit of the segment, as far as bits of liveness and hits go. */
#define LOC_PACKED 0x80000000u
static inline bool
is_packed(const struct cache *c, uint32_t loc)
{
	return (loc & c->loc_packed) != 0;
}
static inline uint32_t
raw_loc(const struct cache *c, uint32_t loc)
{
	return is_packed(c, loc) ? (loc & ~LOC_PACKED) / 2 : loc;
}
static inline uint32_t
seg_index(const struct cache *c, uint32_t loc)
{
	return raw_loc(c, loc) / c->geo.segment_blocks;
}
static inline struct segment *
seg_of(struct cache *c, uint32_t loc)
{
	return &c->segs[seg_index(c, loc)];
}
static inline uint32_t
unit_of(const struct cache *c, uint32_t loc)
{
	return raw_loc(c, loc) % c->geo.segment_blocks;
}
/* The map with the dead bit of unit_of(). */
static inline uint8_t *
dead_map(const struct cache *c, const struct segment *s, uint32_t loc)
{
	return is_packed(c, loc) && (loc & 1) ? s->clean : s->dead;
}
static inline uint32_t
loc_of(const struct cache *c, uint32_t seg, uint32_t unit)
{
	return seg * c->geo.segment_blocks + unit;
}
static inline uint32_t
loc_of_desc(const struct cache *c, uint32_t seg, const struct cache_desc *d)
{
	if (d->flags & CF_DESC_PACKED)
		return LOC_PACKED | (2 * seg * c->geo.segment_blocks + d->place);
	return loc_of(c, seg, d->place);
}
static inline uint64_t
block_of_loc(const struct cache *c, uint32_t loc)
{
	return cache_data_block(&c->geo, seg_index(c, loc), unit_of(c, loc));
}

/* Of data, that the log may hold. */
static inline uint64_t
cache_log_blocks(const struct cache *c)
{
	return (uint64_t)c->keep * c->geo.data_blocks;
}
/* A volume with more dirty blocks doesn't get the last segments [18]. */
static inline uint64_t
cache_log_capped_from(const struct cache *c)
{
	return cache_log_blocks(c) / 3;
}

void cache_set_condition(struct cache *c, enum cache_condition k, bool set, const char *detail);

/* superblock.c: both copies of c->super, one after the other, each durable before the next. */
void cache_super_write(struct cache *c, cache_done_fn *done, void *ctx);
/* No writes to the SSD from here on [4]. */
void cache_give_up(struct cache *c, const char *why);
/* …unless nothing is owed any more. */
void cache_give_up_end(struct cache *c);
/* voltable.c: the rows as they are now, durable at done. Fails only when the SSD is void: what a failed
 * write left is unknown, so it is repeated. */
void cache_voltable_write(struct cache *c, cache_done_fn *done, void *ctx);
void cache_voltable_retry(struct cache *c);
bool cache_voltable_fails(const struct cache *c);
struct cache_volrow *cache_voltable_find(struct cache *c, const uint8_t uuid[16]);
struct cache_volume *cache_volume_by_id(struct cache *c, uint32_t id);
/* How many blocks a volume of this size has; it may end within the last one. */
uint64_t cache_volume_blocks(uint64_t size_bytes);
struct cache_volume *cache_volume_make(struct cache *c, const struct cache_volrow *row);
void cache_volume_free(struct cache_volume *v);

/* liveness.c */
/* The index no longer shows these blocks; gone callback, ctx the volume. */
void cache_gone(void *volume, const struct cache_piece *old);
/* True if something older than ver that isn't dead lies under the range [6]. */
bool cache_hides(const struct cache_volume *v, uint64_t block, uint64_t count, uint64_t ver);
/* Puts what a durable record says into the index. */
void cache_apply(struct cache_volume *v, const struct cache_ent *e, uint64_t ver, uint8_t flags);
/* Takes clean blocks out of the index where that is allowed; returns how many. loc LOC_NONE: any. */
uint64_t cache_drop(struct cache_volume *v, uint64_t block, uint64_t count, uint32_t loc);
/* The store has this version, flushed. */
void cache_turn_clean(struct cache_volume *v, const struct cache_piece *p);
struct cache_zero *cache_zero_make(struct cache_volume *v, uint64_t block, uint64_t count,
    uint64_t ver, uint32_t loc, bool no_unmap);
void cache_zeros_drop(struct cache_volume *v);
void cache_zero_free(struct cache_zero *z);
/* So many of its dirty blocks are dirty no longer. */
void cache_zero_clean(struct cache_volume *v, struct cache_zero *z, uint64_t blocks);

/* checkpoint.c */
void cache_checkpoint_start(struct cache *c);
bool cache_checkpoint_needed(const struct cache *c);
void cache_checkpoint_wait(struct cache *c, cache_done_fn *done, void *ctx);

/* space.c */
void cache_space_kick(struct cache *c);
/* Blocks that may be written before writers have to wait for a segment: in those that are free, or are emptied with
 * little work, and without a store; less what is for others [18]. */
uint64_t cache_space_room(const struct cache *c);
void cache_space_run(struct loop_defer *d);

/* resize.c */
/* Something that a resize waits for may have come. */
void cache_resize_run(struct cache *c);
/* A segment that is to go, to be emptied now; LOC_NONE: there is none. */
uint32_t cache_resize_victim(const struct cache *c);
/*
 * Above each that a segment of this cache can have had before the superblocks as they are (now), or since they are so: a
 * life that ended took its new segments from the former, and may have written no superblock since.
 */
uint64_t cache_resize_generation(const struct cache *c, bool now);
void cache_resize_stats(const struct cache *c, struct cache_stats *ret);
/* Header and superblocks as of now: segments that a checkpoint covers. */
uint32_t cache_resize_covers(const struct cache *c);

/* tier.c */
/* The policy knows so many segments from now on. 0 or -ENOMEM. */
int cache_tier_resize(struct cache *c, uint32_t segments);
int cache_tier_init(struct cache *c);
void cache_tier_fini(struct cache *c);
void cache_tier_recovered(struct cache *c);
void cache_tier_opened(struct cache *c, uint32_t seg, bool main);
void cache_tier_hit(struct cache *c, uint32_t loc, uint64_t blocks);
bool cache_tier_was_hit(const struct cache *c, uint32_t loc);
/* Into which log a fill goes. */
unsigned cache_tier_place(struct cache *c, const struct cache_volume *v, uint64_t block);
/* A read; true: it is part of a scan, which isn't filled. */
bool cache_tier_scans(struct cache_volume *v, uint64_t block, uint64_t blocks);
/* What the curve of other sizes is made of: a read or write of a client. */
void cache_tier_sample(
    struct cache_volume *v, uint64_t block, uint64_t blocks, enum policy_mrc_kind kind);
/* The next segment to empty, without dirty data; LOC_NONE: there is none. */
uint32_t cache_tier_victim(struct cache *c);
enum policy_verdict cache_tier_judge(
    struct cache *c, uint32_t loc, const struct cache_volume *v, uint64_t block);
/* What could be dropped or rewritten of the victim was. */
void cache_tier_emptied(struct cache *c, uint32_t seg);

/* copy.c: clean data that was hit goes to the F stream. False: no memory, or too much at once. */
bool cache_copy_hit(struct cache_volume *v, const struct cache_piece *p, bool hit);
/* copy.c: what the index shows of this descriptor goes to the G stream. */
void cache_copy_desc(struct cache_volume *v, const struct cache_desc *d, uint32_t loc);

/* destage_rate.c: how fast; after a tick of the controllers. */
void cache_destage_rate(struct cache *c);
/* Everything dirty may go, at full depth: somebody waits for it, or its space is needed. */
bool cache_destage_drains(const struct cache_volume *v);
/* Of the running batch, since the last tick. */
uint64_t cache_destage_busy_ns(const struct destage *d, uint64_t now_ns);
/* …in the order of the store, since somebody waits for all of it; else the oldest segments first. */
bool cache_destage_all(const struct cache_volume *v);
/* Which segments are due now. */
void cache_destage_due(struct cache_volume *v);
/* A batch may begin now. */
bool cache_destage_may(const struct cache_volume *v);

/* destage_pick.c: fills v->d.items with the next batch; what it has is pinned. False: nothing is left to
 * begin in this sweep; true with no item: it has only looked. */
bool cache_destage_pick(struct cache_volume *v);

/* destage.c */
int cache_destage_init(struct cache_volume *v);
void cache_destage_fini(struct cache_volume *v);
void cache_destage_kick(struct cache_volume *v);
void cache_destage_tick(struct cache *c);
/* Its dirty data doesn't leave: the store fails, doesn't answer, or isn't there [18]. */
bool cache_volume_stuck(const struct cache_volume *v);
/* Done when the store has, flushed, every block of the range that is dirty now, or a newer version of it;
 * -EIO if one is lost or the store fails. */
void cache_clean_wait(
    struct cache_volume *v, uint64_t block, uint64_t count, cache_done_fn *done, void *ctx);
void cache_clean_check(struct cache_volume *v);

/* volume.c, read.c, write.c */
struct cache_op {
	struct list link;
	struct blk_io *io;
	struct cache_volume *vol;
	struct cache_lock lock;
	uint64_t first, last; /* blocks of the range */
	uint64_t since_ns;    /* of its arrival */
	uint32_t pending;
	int err;
	bool is_change, missed, filling;
	uint64_t at;    /* READ: bytes of the request that are under way */
	void *frame[2]; /* changes: head and tail, merged with what is there [14] */
	uint8_t mask[2];
	struct blk_sg frame_sg[2];
	void (*again)(struct cache_op *op); /* when a frame is free */
};
void cache_op_end(struct cache_op *op, int result);
void cache_read_start(struct cache_op *op);
void cache_write_start(struct cache_op *op);
void cache_bypass_start(struct cache_op *op);
void cache_volume_release(struct cache_volume *v);
/* Changes that came before that time and wait: -EAGAIN. */
void cache_volume_expire(struct cache_volume *v, uint64_t before);
void cache_frames_expire(struct cache *c, uint64_t before);
void cache_volume_slow_init(struct cache_volume *v);
/* From now on each block written takes so long; what waits is the sooner for it. */
void cache_volume_slow(struct cache_volume *v, uint64_t delay_ns);
uint8_t cache_valid_mask(const struct cache_volume *v, uint64_t block);

void cache_lock_take(struct cache_volume *v, struct cache_lock *k);
void cache_lock_drop(struct cache_volume *v, struct cache_lock *k);
bool cache_lock_overlaps(const struct cache_volume *v, uint64_t first, uint64_t last);

/* fill.c */
/* The store is about to be asked for this hole. NULL: it isn't to be filled. */
struct cache_fill *cache_fill_begin(struct cache_volume *v, uint64_t block, uint64_t count);
/* The store's answer; f is the log's from here on. */
void cache_fill_data(struct cache_fill *f, const struct blk_sg *sg, uint64_t at);
void cache_fill_abandon(struct cache_fill *f);
void cache_fill_cancel(struct cache_volume *v, uint64_t first, uint64_t last);
/* Units of a record that the index doesn't take: nothing of them may be found after a crash [6]. */
void cache_units_dead(struct cache *c, uint32_t loc, uint64_t count);

/* away.c */
void cache_away_init(struct cache *c);
/* Ends with -ENODEV, later. */
void cache_away_refuse(struct cache_io *x, struct blk *b);
/* A record of the log is acknowledged. */
void cache_away_note(struct cache_log *l);
void cache_away_tick(struct cache *c);

/* mode.c: something that a change of mode may wait for has happened. */
void cache_mode_poke(struct cache_volume *v);

/* recover.c */
struct cache *cache_alloc(const struct cache_args *args);
int cache_size(struct cache *c);
void cache_go(struct cache *c);
void cache_free(struct cache *c);

#endif
