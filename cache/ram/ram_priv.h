/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The RAM tier's inside. Every 1 MiB extent of every volume belongs to one loop (extent index modulo
 * loop count), and so does a range of frames: a shard. What a loop wants of another's shard it asks by
 * message. All of a request's blocks within one extent are a piece.
 *
 * Invariants (numbers in brackets are those of docs/format/cache.md)
 *   RT-1  A block that is cached has no change in flight, and holds what the lower blk holds: a change
 *         is registered with the shards of its range, which drops what they have of it, before it goes
 *         down, and stays registered until it came back. So a read may go either way at any time, and
 *         never shows less than one before it did. [1, 2]
 *   RT-2  A fill is inserted only if no change of its range was registered when it began or since. [10]
 *   RT-3  What was written is inserted only if it succeeded, and no other change overlapped it while it
 *         was registered: which of two is the newer, the lower blk alone knows. [1]
 *   RT-4  A frame in a list isn't written to until the list is put: new data takes another frame. [20]
 *   RT-5  Frames in lists or being read into for one are reserved when the list is got (`lend_left`,
 *         three quarters of a shard, divided among the loops), those read into otherwise are at most an
 *         eighth: so who has a reservation always gets a frame, and nobody waits for one. [18, 19]
 *   RT-6  A shard's frames, hash, policy, fills and registered changes are touched by its loop only.
 */
#ifndef CACHE_RAM_RAM_PRIV_H
#define CACHE_RAM_RAM_PRIV_H

#include "base/assert.h"
#include "base/pool.h"
#include "cache/ram/ram_tier.h"
#include "store/blk_driver.h"

#define RT_FRAME_SHIFT 12
#define RT_FRAME_BYTES 4096u
#define RT_EXTENT_SHIFT 20
#define RT_EXTENT_BLOCKS 256u /* frames of an extent, so of a piece */
#define RT_NIL UINT32_MAX

/* What a frame costs beside its 4 KiB: struct rt_frame, its places in hash and free stack, the ghost. */
#define RT_FRAME_META_BYTES 64u
#define RT_BUCKETS 256u         /* of extents with something in flight */
#define RT_LEASES (64u * 1024u) /* lists with frames of other shards that a loop has at once */
#define RT_OPS_MAX 65536u       /* requests that a loop has below; more wait */
#define RT_WRITE_FILL_BYTES (1u << 17) /* longer writes aren't kept: they are copies and backups */
#define RT_TURN_STEPS 4096u            /* frames or buckets looked at in one turn */
#define RT_BLOCK_BITS 40u              /* of a key; the volume's id is above them */
#define RT_BLOCK_MAX                                                                               \
	(1ull << RT_BLOCK_BITS)  /* beyond this the keys of volumes would meet: not cached */
#define RT_VOLUME_IDS (1u << 16) /* volumes open at once */

struct rt_shard;
struct rt_op;
struct rt_fill;

enum rt_state {
	RT_FREE,    /* on the free stack, or fresh */
	RT_CACHED,  /* in the hash and with the policy, which knows it as pinned while refs > 0 */
	RT_FILLING, /* a fill reads into it; `next` is the fill's index */
	RT_HELD,    /* in lists only */
	RT_BAD,     /* the same, and it couldn't be read */
	RT_RETIRED  /* beyond the shard's limit */
};

struct rt_frame {
	struct policy_s3_node node; /* node.key: of the block */
	uint32_t next;              /* CACHED: the next of its bucket, + 1 */
	uint32_t refs : 28;         /* by lists, misses, its fill */
	uint32_t state : 3;
	uint32_t is_ahead : 1; /* read ahead and not hit yet */
};

/* Blocks first..last of a volume that belong to the shard. */
struct rt_range {
	struct ram_volume *v;
	uint64_t first, last;
};

/* A change in flight, registered with a shard. */
struct rt_change {
	struct list link;
	struct rt_range range;
	bool overlapped; /* by another change since it was registered */
};

/* One read of the lower blk into frames; blocks of one extent. */
struct rt_fill {
	struct blk_io io;
	struct blk_sg sg;
	struct rt_shard *s;
	struct ram_volume *v;
	struct list link; /* its bucket's fills */
	struct list waiters;
	uint64_t first;
	uint32_t count;
	enum policy_s3_kind kind;
	bool keep;     /* RT-2: may be inserted, and others may join it */
	bool is_spare; /* nobody's reservation: counts in spare_busy */
	struct loop_defer fail;
	uint32_t frames[RT_EXTENT_BLOCKS];
	struct iovec iov[RT_EXTENT_BLOCKS];
};

/* A piece of a READ that isn't all there. */
struct rt_miss {
	struct rt_shard *s;
	struct blk_io *io;
	struct list link;  /* waiters of a fill */
	uint64_t from, to; /* bytes */
	uint32_t count;
	bool is_exact; /* the second attempt: just from..to, kept by nobody */
	uint64_t own[RT_EXTENT_BLOCKS / 64];
	uint32_t frames[RT_EXTENT_BLOCKS];
};

/* How a list with frames of other shards goes back. Travels over the shards it names. */
struct rt_lease {
	struct loop_msg msg;
	struct ram_tier *t;
	struct rt_lease *next_free;
	struct loop *loop;
	uint64_t place; /* sg.priv[1] */
	uint32_t shard_mask;
	uint32_t iovcnt, iovcap;
	struct iovec *iov;
	struct iovec inline_iov[BLK_SG_INLINE];
};

/* Blocks to be read ahead by another loop's shard. */
struct rt_ahead {
	struct loop_msg msg;
	struct rt_range range;
	enum policy_s3_kind kind;
	struct loop *loop; /* where it came from and goes back to */
};

/* A request below, or a drop. The changes' array is as long as there are loops. */
struct rt_op {
	struct blk_io io; /* the lower blk's */
	struct blk_io *outer;
	struct ram_volume *v;
	struct loop *loop;
	struct loop_msg msg;
	struct loop_defer defer;
	uint64_t first, last;
	uint64_t at;   /* where a long walk goes on */
	bool by_frame; /* …through the shard's frames, not the range's blocks */
	uint32_t mask;
	int result;
	void (*visit)(struct rt_shard *s, struct rt_op *op);
	void (*visited)(struct rt_op *op); /* at home, when all shards were */
	void (*dropped)(struct rt_op *op); /* of a drop: the end */
	struct rt_change change[];
};

struct rt_counters {
	uint64_t hits, misses, fills, write_fills, fills_cancelled, dropped, evicted, ahead,
	    ahead_used, ahead_wasted, passed, frames_used, frames_lent;
};

struct rt_bucket {
	struct list fills, changes;
};

struct rt_shard {
	struct ram_tier *t;
	struct loop *loop;
	unsigned idx;
	/* frames, numbered from 0 within the shard */
	char *arena;
	bool known_to_device; /* atomic; ram_tier_memory() */
	struct rt_frame *frames;
	uint32_t *free;
	uint32_t free_count, fresh; /* from `fresh` on none was used yet */
	uint32_t limit;             /* none from here on is used */
	uint32_t *hash;             /* frame + 1; 0: empty */
	uint32_t hash_count;
	struct policy_s3 *s3;
	struct policy_mrc *mrc;
	uint64_t mrc_decay_ns;
	/* in flight */
	struct rt_bucket buckets[RT_BUCKETS];
	struct list wide; /* changes of more than one extent */
	struct pool fill_pool, miss_pool;
	uint32_t spare_busy, spare_max;
	/* of this loop as a client */
	struct policy_streams *streams;
	struct pool op_pool, ahead_pool;
	struct list op_waiting;
	struct rt_lease *leases, *lease_free;
	uint32_t lease_fresh, lease_used;
	uint64_t lists_out; /* relaxed stores, read at destroy */
	bool is_closing;    /* the destroy message waits here for the leases to come back */
	uint32_t lend_max;  /* of each shard's frames for lists of this loop */
	int64_t lend_left[LOOP_COUNT_MAX];
	bool lend_waited; /* a resize waits for lists to come back */
	/* resizing */
	struct loop_defer hash_defer, shrink_defer;
	uint32_t shrink_at, shrink_end, retired;
	bool is_shrinking;
	struct rt_counters n; /* relaxed stores, any thread reads */
} __attribute__((aligned(64)));

struct rt_volume_loop {
	struct ram_volume_cfg cfg;
	uint32_t fills, ahead_out;
	struct rt_op *waiting;     /* to visit the loop when both are 0 */
	struct ram_volume_stats n; /* relaxed stores */
} __attribute__((aligned(64)));

struct ram_volume {
	struct blk b;
	struct ram_tier *t;
	struct blk *lower;
	uint32_t id;
	struct list link;
	struct rt_volume_loop *per_loop;
	/* the rest is the home loop's */
	struct rt_op *drop; /* the volume's own, for one drop at a time */
	bool is_dropping, drop_again, is_closing;
	uint64_t drop_first, drop_last; /* blocks that the next drop concerns */
	struct list drop_now,
	    drop_next; /* struct drop_waiter: of the drop that runs, of the next */
	struct loop_defer drop_defer;
	bool size_changed;
	struct loop_msg set_msg;
	struct ram_volume_cfg cfg_wanted, cfg_travelling;
	unsigned set_at;
	bool is_setting, set_again;
	ram_done_fn *close_done;
	void *close_ctx;
};

struct ram_tier {
	unsigned loop_count;
	uint32_t stride; /* frames of address space per shard */
	uint64_t size_bytes, size_max_bytes;
	uint32_t frames_min;
	char *arena;
	size_t arena_bytes;
	struct rt_shard *shards;
	uint8_t loop_idx[LOOP_COUNT_MAX];
	struct list volumes;
	uint32_t next_id;
	struct ram_volume **by_id; /* home's; others read the entry of a volume they know */
	/* destroy */
	struct loop_msg msg;
	unsigned at;
	/* resize: home's */
	struct loop_msg resize_msg;
	uint32_t resize_limit;
	unsigned resize_at;
	bool is_resizing, resize_is_shrink;
	ram_done_fn *resize_done;
	void *resize_ctx;
	uint64_t resize_bytes;
	int resize_result;
	/* curve */
	struct loop_msg curve_msg;
	unsigned curve_at;
	bool curve_asked;
	ram_curve_fn *curve_done;
	void *curve_ctx;
	uint32_t curve_points;
	double curve_hits[POLICY_MRC_POINTS_MAX];
	struct policy_mrc_point curve[POLICY_MRC_POINTS_MAX];
};

static inline void
rt_count(uint64_t *counter, uint64_t n)
{
	__atomic_store_n(counter, *counter + n, __ATOMIC_RELAXED);
}

static inline struct rt_shard *
rt_own(const struct ram_tier *t)
{
	return &t->shards[t->loop_idx[loop_id(loop_current())]];
}

static inline struct rt_shard *
rt_shard_of(const struct ram_tier *t, uint64_t offset_bytes)
{
	uint64_t extent = offset_bytes >> RT_EXTENT_SHIFT;
	return &t->shards[t->loop_count == 1 ? 0 : extent % t->loop_count];
}

static inline struct rt_shard *
rt_shard_of_block(const struct ram_tier *t, uint64_t block)
{
	return rt_shard_of(t, block << RT_FRAME_SHIFT);
}

static inline char *
rt_mem(const struct rt_shard *s, uint32_t f)
{
	return s->arena + ((size_t)f << RT_FRAME_SHIFT);
}

static inline uint64_t
rt_key(const struct ram_volume *v, uint64_t block)
{
	return policy_key(v->id, block);
}

/* Whose a cached block is: open as long as it is cached. */
static inline struct ram_volume *
rt_volume_of_key(const struct ram_tier *t, uint64_t key)
{
	return t->by_id[key >> RT_BLOCK_BITS];
}

static inline struct rt_bucket *
rt_bucket_of(struct rt_shard *s, uint64_t block)
{
	uint64_t extent = block >> (RT_EXTENT_SHIFT - RT_FRAME_SHIFT);
	return &s->buckets[extent / s->t->loop_count % RT_BUCKETS];
}

static inline uint64_t
rt_extent_last(uint64_t block)
{
	return block | (RT_EXTENT_BLOCKS - 1);
}

/* Of the shard and of the volume. */
#define RT_COUNT(s, v, field, count)                                                               \
	do {                                                                                       \
		rt_count(&(s)->n.field, count);                                                    \
		rt_count(&(v)->per_loop[(s)->idx].n.field, count);                                 \
	} while (0)

/* ---- frames.c ------------------------------------------------------------------------------- */

/* RT_NIL: not cached. */
uint32_t rt_lookup(const struct rt_shard *s, uint64_t key);
/*
 * A lookup of `key` is coming: its two places in memory are sought meanwhile, the bucket first, the
 * frame some hundred instructions later. Both are speed only.
 */
void rt_prefetch_bucket(const struct rt_shard *s, uint64_t key);
void rt_prefetch_frame(const struct rt_shard *s, uint64_t key);
/* A frame in state HELD with one reference, or RT_NIL: all are busy. */
uint32_t rt_frame_get(struct rt_shard *s);
void rt_frame_ref(struct rt_shard *s, uint32_t f);
void rt_frame_unref(struct rt_shard *s, uint32_t f);
/* HELD or FILLING → CACHED; the block isn't cached (asserted). */
void rt_frame_insert(struct rt_shard *s, uint32_t f, uint64_t key, enum policy_s3_kind kind);
/* A client met it. */
void rt_frame_hit(struct rt_shard *s, uint32_t f);
/* CACHED → HELD or FREE. */
void rt_frame_drop(struct rt_shard *s, uint32_t f);
/* Some steps towards a hash as large as the limit. */
void rt_hash_adapt(struct rt_shard *s);
/* Lowers or raises the limit; for a shrink, goes on until rt_shrunk(). */
void rt_frames_limit(struct rt_shard *s, uint32_t limit);
/* 0 or -ENOMEM; fini accepts what init left half done. */
int rt_frames_init(struct rt_shard *s, char *arena, uint32_t stride, uint32_t limit);
void rt_frames_fini(struct rt_shard *s, uint32_t stride);

/* ---- lists.c -------------------------------------------------------------------------------- */

int rt_sg_get(
    struct blk *b, struct blk_sg *sg, enum blk_op op, uint64_t offset_bytes, uint64_t len_bytes);
/* True if the list is ours and empty, for a READ to be lent frames. */
bool rt_sg_lends(const struct ram_tier *t, const struct blk_io *io);
/* Another share for the lists of this loop; with `wait` true if some must come back before. */
bool rt_lend_limit(struct rt_shard *s, uint32_t frames_per_shard);
bool rt_lend_over(const struct rt_shard *s);

/* ---- fill.c --------------------------------------------------------------------------------- */

/*
 * Reads blocks first..first+count-1, of one extent, into frames, or exactly bytes from..to of them if
 * `to` isn't 0 (then nothing is kept). With `spare` as many as there is room for, perhaps none.
 * frames[] gets one reference each for the caller, unless NULL. Returns how many blocks are read.
 */
struct rt_fill_args {
	struct ram_volume *v;
	uint64_t first;
	uint32_t count;
	enum policy_s3_kind kind;
	bool keep, is_spare;
	bool is_quiet; /* for a reader who changes nothing, here or below */
	uint64_t from, to;
	uint32_t *frames;
};
uint32_t rt_fill_start(struct rt_shard *s, const struct rt_fill_args *args);
/* The fill in flight that one may join for `block`, or NULL. */
struct rt_fill *rt_fill_find(struct rt_shard *s, const struct ram_volume *v, uint64_t block);
struct rt_fill *rt_fill_of(const struct rt_shard *s, uint32_t f);
/* A change of blocks first..last came: RT-2. */
void rt_fills_cancel(struct rt_shard *s, const struct rt_range *range);
/* Reads ahead what the shard doesn't have of the range. */
void rt_ahead_run(struct rt_shard *s, const struct rt_range *range, enum policy_s3_kind kind);
/* The same for all shards, from the loop where the client is. */
void rt_ahead(struct rt_shard *s, const struct rt_range *range, enum policy_s3_kind kind);

/* ---- read.c --------------------------------------------------------------------------------- */

void rt_read(struct rt_shard *s, struct ram_volume *v, struct blk_io *io);
/* The fill that the miss waited for has ended. */
void rt_miss_continue(struct rt_miss *m);

/* ---- change.c ------------------------------------------------------------------------------- */

/* Passes the io down as it is. */
void rt_pass(struct rt_shard *s, struct ram_volume *v, struct blk_io *io);
/* WRITE, UNMAP, WRITE_ZEROES. */
void rt_change(struct rt_shard *s, struct ram_volume *v, struct blk_io *io);
/* Is there a change in flight in this part of an extent? */
bool rt_changing(struct rt_shard *s, const struct rt_range *range);
/* Drops what is kept of op->v, from block `first` to `last`, at home; then op->dropped. */
void rt_drop(struct rt_op *op, uint64_t first, uint64_t last);
/* op->visit on all loops, then op->visited at home. */
void rt_visit_all(struct rt_op *op);
size_t rt_op_bytes(const struct ram_tier *t);
/* Each of op->mask: op->visit on its loop, which ends with rt_visit_next(). */
void rt_visit_next(struct rt_op *op);

/* ---- volume.c ------------------------------------------------------------------------------- */

/* A fill ended, or an ahead message came back: perhaps somebody waits for that. */
void rt_volume_idle(struct ram_volume *v, struct rt_shard *s);

/* ---- tier.c --------------------------------------------------------------------------------- */

/* The shard has vacated what is above its limit. On its loop. */
void rt_shrunk(struct rt_shard *s);
/* Lists came back that a resize waits for. */
void rt_lend_settled(struct rt_shard *s);
/* The last lease came back while destroying. */
void rt_destroy_continue(struct ram_tier *t);

#endif
