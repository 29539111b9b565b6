/* SPDX-License-Identifier: BSD-2-Clause */
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
	/* See blk_copies_now(). May be NULL: never. */
	bool (*copies_now)(struct blk *b, uint64_t offset_bytes, uint64_t len_bytes);
	void (*close)(struct blk *b);
	/* Has got a listener, on loops[0]: BLK_OPEN_WATCH_LATER. May be NULL. */
	void (*watched)(struct blk *b);
	/* See blk_may_shrink(). May be NULL: it always may. */
	void (*may_shrink)(struct blk *b, uint64_t size_bytes);
	/* See blk_look(), blk_looks(). Both, or none: then those of the blk underneath count. */
	uint64_t (*look)(struct blk *b);
	uint64_t (*looks)(const struct blk *b);
	/* The blk underneath, whose space it is. May be NULL: its own. */
	const struct blk *(*below)(const struct blk *b);
};

/* Embedded first in the driver's own struct. */
struct blk {
	const struct blk_ops *ops;
	struct blk_info info;
	enum blk_state state;
	char *name;
	struct loop *const *loops; /* copied by blk_init() */
	unsigned loop_count;
	void (*event)(void *ctx, enum blk_event ev);
	void *event_ctx;
	struct blk_space space; /* home's */
	bool space_known;
	struct blk_loop_stats *stats; /* one per loop, cache-line aligned */
	uint64_t size_max_bytes; /* largest size so far: a range beyond it is the caller's bug */
	uint8_t loop_idx[LOOP_COUNT_MAX]; /* loop_id() → index in loops; 0xff: not ours */
};

/* info and loops are copied, name duplicated. 0 or -ENOMEM. */
int blk_init(struct blk *b, const struct blk_ops *ops, const struct blk_info *info,
    const char *name, const struct blk_open_args *args);
void blk_fini(struct blk *b);

/* On io->loop, from the loop (never inside submit). result: 0 or -errno. */
void blk_complete(struct blk_io *io, int result);
/* The same, deferred to later in this turn: for drivers that finish at once. On io->loop. */
void blk_complete_later(struct blk_io *io, int result);
/* On loops[0]. */
void blk_raise(struct blk *b, enum blk_event ev);
/* On loops[0]: what the other loops see from their next submit on. No event is raised. */
void blk_set_size(struct blk *b, uint64_t size_bytes);
void blk_set_state(struct blk *b, enum blk_state state);
void blk_set_space(struct blk *b, const struct blk_space *space);

/* Index in b->loops of `l`, which is one of them (asserted). */
unsigned blk_loop_idx(const struct blk *b, const struct loop *l);
/* The whole range as one mapped extent: EXTENTS of a driver that can't tell. */
void blk_extents_all_mapped(struct blk_io *io);

/* ---- scatter lists of drivers ------------------------------------------------------------ */

/* Makes room for `count` segments in an empty list. 0 or -ENOBUFS. */
int blk_sg_reserve(struct loop *l, struct blk_sg *sg, uint32_t count);
/* Adds a segment, merged with the last one where they are adjacent. Room is asserted. */
void blk_sg_append(struct blk_sg *sg, const void *p, size_t len);

/* A position within a list that moves on with each copy. */
struct blk_sg_cursor {
	const struct iovec *iov;
	uint32_t left; /* segments from iov on */
	size_t at;     /* within *iov */
};
void blk_sg_cursor_init(struct blk_sg_cursor *c, const struct blk_sg *sg, uint64_t at);
void blk_sg_cursor_out(struct blk_sg_cursor *c, void *dst, size_t len);
void blk_sg_cursor_in(struct blk_sg_cursor *c, const void *src, size_t len);

#endif
