/*
 * For drivers only (and the cache): the operations behind a blk. Every call comes through the
 * checked wrappers of store/blk.c, which have verified range, alignment, flags and loop.
 */
#ifndef STORE_BLK_DRIVER_H
#define STORE_BLK_DRIVER_H

#include "store/blk.h"

struct blk_ops {
	const char *name;
	/* Ends in blk_complete() on io->loop, exactly once, not before submit returned. */
	void (*submit)(struct blk *b, struct blk_io *io);
	/* May be NULL: plain buffers of the loop for both directions. */
	int (*sg_get)(struct blk *b, struct blk_sg *sg, enum blk_op op, uint64_t offset_bytes,
	    uint64_t len_bytes);
	void (*close)(struct blk *b);
};

/* Embedded first in the driver's own struct. */
struct blk {
	const struct blk_ops *ops;
	struct blk_info info;
	enum blk_state state;
	char *name;
	struct loop *const *loops;   /* copied by blk_init() */
	unsigned loop_count;
	void (*event)(void *ctx, enum blk_event ev);
	void *event_ctx;
	struct blk_loop_stats *stats; /* one per loop, cache-line aligned */
};

/* info and loops are copied, name duplicated. 0 or -ENOMEM. */
int blk_init(struct blk *b, const struct blk_ops *ops, const struct blk_info *info, const char *name,
    const struct blk_open_args *args);
void blk_fini(struct blk *b);

/* On io->loop, from the loop (never inside submit). result: 0 or -errno. */
void blk_complete(struct blk_io *io, int result);
/* The same, deferred to later in this turn: for drivers that finish at once. On io->loop. */
void blk_complete_later(struct blk_io *io, int result);
/* On loops[0]. */
void blk_raise(struct blk *b, enum blk_event ev);

#endif
