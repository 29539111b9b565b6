/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * I/O buffers: a buddy allocator over one reserved region, in units of 4 KiB frames, so that a
 * buffer is contiguous, page-aligned (O_DIRECT) and cheap to get. Memory is touched when first used.
 * One owner thread; no locks. Must know nothing of what the buffers carry.
 */
#ifndef BASE_BUFPOOL_H
#define BASE_BUFPOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BUFPOOL_FRAME_BYTES 4096u
#define BUFPOOL_BUF_MAX_BYTES (1024u * 1024u) /* largest single buffer */

struct bufpool;

/* `bytes` is rounded up to a multiple of BUFPOOL_BUF_MAX_BYTES. 0 or -ENOMEM. */
int bufpool_create(size_t bytes, struct bufpool **ret);
/* Accepts NULL. Every buffer must have been put back (asserted). */
void bufpool_destroy(struct bufpool *bp);

/*
 * A buffer of at least `len_bytes` (1..BUFPOOL_BUF_MAX_BYTES; rounded up to a power of two of
 * frames), contents undefined. NULL when no run of that size is free.
 */
void *bufpool_get(struct bufpool *bp, size_t len_bytes);
/* `buf` as returned by get; `len_bytes` as asked there. */
void bufpool_put(struct bufpool *bp, void *buf, size_t len_bytes);

/* The region that all buffers are in, for whoever has to tell a device of it. */
void *bufpool_region(const struct bufpool *bp, size_t *ret_bytes);
/* True if `p` lies within the pool's region. */
bool bufpool_owns(const struct bufpool *bp, const void *p);
size_t bufpool_free_bytes(const struct bufpool *bp);
size_t bufpool_total_bytes(const struct bufpool *bp);

/* What a request of `len_bytes` takes from the pool. */
size_t bufpool_cost_bytes(size_t len_bytes);

#endif
