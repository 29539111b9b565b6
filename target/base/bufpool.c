/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Buddy allocator. The region is cut into blocks of BUFPOOL_BUF_MAX_BYTES; a block splits into runs
 * of 2^order frames, each aligned to its size within the block. A run's state is kept at its first
 * frame's entry in `frames`, never in the run itself, so that free memory stays untouched.
 *
 * INV-1  A free run is in the list of its order, and its first frame says FREE and that order.
 * INV-2  A run handed out has USED and its order at its first frame.
 * INV-3  All other frames are INNER.
 * INV-4  The buddy of a free run below the largest order is not a free run of the same order.
 * INV-5  Blocks from `fresh` on have never been handed out and are in no list.
 */
#include "base/bufpool.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/assert.h"
#include "base/poison.h"

#define ORDER_MAX 8u /* 2^8 frames are 1 MiB */
#define ORDERS (ORDER_MAX + 1)
#define BLOCK_FRAMES (1u << ORDER_MAX)
#define NONE UINT32_MAX

_Static_assert(BLOCK_FRAMES *BUFPOOL_FRAME_BYTES == BUFPOOL_BUF_MAX_BYTES, "order of a block");

enum frame_state { FRAME_INNER, FRAME_FREE, FRAME_USED };

struct frame {
	uint32_t next, prev; /* neighbours in the free list, frame indices or NONE */
	uint8_t state;       /* enum frame_state */
	uint8_t order;
};

struct bufpool {
	char *base;
	size_t bytes;
	size_t free_bytes;
	struct frame *frames; /* one per frame; mapped, touched with the frames' first use */
	size_t frames_map_bytes;
	uint32_t blocks;
	uint32_t fresh; /* blocks below this index have been split or handed out at least once */
	uint32_t free[ORDERS]; /* heads, LIFO */
};

static void *
map_region(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	return p == MAP_FAILED ? NULL : p;
}

int
bufpool_create(size_t bytes, struct bufpool **ret)
{
	size_t blocks = bytes / BUFPOOL_BUF_MAX_BYTES + (bytes % BUFPOOL_BUF_MAX_BYTES != 0);
	if (blocks == 0)
		blocks = 1;
	if (blocks > NONE / BLOCK_FRAMES)
		return -ENOMEM;

	struct bufpool *bp = calloc(1, sizeof *bp);
	if (!bp)
		return -ENOMEM;
	bp->bytes = blocks * BUFPOOL_BUF_MAX_BYTES;
	bp->frames_map_bytes = blocks * BLOCK_FRAMES * sizeof(struct frame);
	bp->blocks = (uint32_t)blocks;
	bp->free_bytes = bp->bytes;
	for (unsigned o = 0; o < ORDERS; o++)
		bp->free[o] = NONE;

	bp->base = map_region(bp->bytes);
	if (!bp->base)
		goto err_free;
	bp->frames = map_region(bp->frames_map_bytes);
	if (!bp->frames)
		goto err_unmap;
	/* Runs of a block are aligned within it; huge pages are a help, not a need. */
	(void)madvise(bp->base, bp->bytes, MADV_HUGEPAGE);
	POISON(bp->base, bp->bytes);
	*ret = bp;
	return 0;

err_unmap:
	munmap(bp->base, bp->bytes);
err_free:
	free(bp);
	return -ENOMEM;
}

void
bufpool_destroy(struct bufpool *bp)
{
	if (!bp)
		return;
	ASSERT(bp->free_bytes == bp->bytes);
	UNPOISON(bp->base, bp->bytes);
	munmap(bp->frames, bp->frames_map_bytes);
	munmap(bp->base, bp->bytes);
	free(bp);
}

static unsigned
order_of(size_t len_bytes)
{
	ASSERT(len_bytes >= 1);
	ASSERT(len_bytes <= BUFPOOL_BUF_MAX_BYTES);
	uint32_t frames = (uint32_t)((len_bytes + BUFPOOL_FRAME_BYTES - 1) / BUFPOOL_FRAME_BYTES);
	return frames == 1 ? 0 : 32u - (unsigned)__builtin_clz(frames - 1);
}

static size_t
order_bytes(unsigned order)
{
	return (size_t)BUFPOOL_FRAME_BYTES << order;
}

static void
free_push(struct bufpool *bp, uint32_t idx, unsigned order)
{
	struct frame *f = &bp->frames[idx];
	*f = (struct frame){
	    .next = bp->free[order],
	    .prev = NONE,
	    .state = FRAME_FREE,
	    .order = (uint8_t)order,
	};
	if (f->next != NONE)
		bp->frames[f->next].prev = idx;
	bp->free[order] = idx;
}

static void
free_remove(struct bufpool *bp, uint32_t idx)
{
	struct frame *f = &bp->frames[idx];
	ASSERT(f->state == FRAME_FREE);
	if (f->prev != NONE)
		bp->frames[f->prev].next = f->next;
	else
		bp->free[f->order] = f->next;
	if (f->next != NONE)
		bp->frames[f->next].prev = f->prev;
	f->state = FRAME_INNER;
}

/* Index of a free run of at least `order`, taken from its list, or NONE; its order in *ret_order. */
static uint32_t
take_run(struct bufpool *bp, unsigned order, unsigned *ret_order)
{
	for (unsigned o = order; o < ORDERS; o++) {
		uint32_t idx = bp->free[o];
		if (idx != NONE) {
			free_remove(bp, idx);
			*ret_order = o;
			return idx;
		}
	}
	if (bp->fresh == bp->blocks)
		return NONE;
	*ret_order = ORDER_MAX;
	return bp->fresh++ * BLOCK_FRAMES;
}

void *
bufpool_get(struct bufpool *bp, size_t len_bytes)
{
	unsigned order = order_of(len_bytes);
	unsigned have;
	uint32_t idx = take_run(bp, order, &have);
	if (idx == NONE)
		return NULL;
	/* The lower half is kept, upper halves become free runs. */
	while (have > order) {
		have--;
		free_push(bp, idx + (1u << have), have);
	}
	bp->frames[idx].state = FRAME_USED;
	bp->frames[idx].order = (uint8_t)order;
	bp->free_bytes -= order_bytes(order);
	char *buf = bp->base + (size_t)idx * BUFPOOL_FRAME_BYTES;
	UNPOISON(buf, order_bytes(order));
	return buf;
}

void
bufpool_put(struct bufpool *bp, void *buf, size_t len_bytes)
{
	unsigned order = order_of(len_bytes);
	ASSERT(bufpool_owns(bp, buf));
	size_t off = (size_t)((char *)buf - bp->base);
	ASSERT(off % order_bytes(order) == 0);
	uint32_t idx = (uint32_t)(off / BUFPOOL_FRAME_BYTES);
	ASSERT(bp->frames[idx].state == FRAME_USED);
	ASSERT(bp->frames[idx].order == order);

	POISON(buf, order_bytes(order));
	bp->free_bytes += order_bytes(order);
	bp->frames[idx].state = FRAME_INNER;
	while (order < ORDER_MAX) {
		uint32_t buddy = idx ^ (1u << order);
		const struct frame *f = &bp->frames[buddy];
		if (f->state != FRAME_FREE || f->order != order)
			break;
		free_remove(bp, buddy);
		idx &= ~(1u << order);
		order++;
	}
	free_push(bp, idx, order);
}

void *
bufpool_region(const struct bufpool *bp, size_t *ret_bytes)
{
	*ret_bytes = bp->bytes;
	return bp->base;
}

bool
bufpool_owns(const struct bufpool *bp, const void *p)
{
	uintptr_t a = (uintptr_t)p, base = (uintptr_t)bp->base;
	return a >= base && a - base < bp->bytes;
}

size_t
bufpool_free_bytes(const struct bufpool *bp)
{
	return bp->free_bytes;
}

size_t
bufpool_total_bytes(const struct bufpool *bp)
{
	return bp->bytes;
}

size_t
bufpool_cost_bytes(size_t len_bytes)
{
	return order_bytes(order_of(len_bytes));
}
