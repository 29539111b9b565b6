/* SPDX-License-Identifier: BSD-2-Clause */
/* The cache's own I/O, memory and callbacks. */
#include "cache/cache_priv.h"

#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"

struct cache_io *
cache_io_get(struct cache *c, void (*done)(struct cache_io *, int), void *ctx)
{
	struct cache_io *x = pool_get(&c->io_pool);
	ASSERT(x != NULL); /* requests are bounded by their pool, and each by its window */
	memset(x, 0, offsetof(struct cache_io, iov) + sizeof x->iov);
	x->c = c;
	x->done = done;
	x->ctx = ctx;
	return x;
}

void
cache_io_put(struct cache_io *x)
{
	free(x->iov);
	pool_put(&x->c->io_pool, x);
}

void
cache_io_buf(struct cache_io *x, void *buf, uint64_t len)
{
	blk_sg_init(&x->sg);
	x->sg.iov = x->sg.inline_iov;
	x->sg.loop = x->c->home;
	blk_sg_append(&x->sg, buf, len);
}

void
cache_io_part(struct cache_io *x, const struct blk_sg *sg, uint64_t at, uint64_t len)
{
	const struct iovec *v = sg->iov;
	ASSERT(at + len <= sg->len_bytes);
	for (; at >= v->iov_len; v++)
		at -= v->iov_len;
	uint32_t n = 1;
	for (uint64_t have = v->iov_len - at; have < len; n++)
		have += v[n].iov_len;
	blk_sg_init(&x->sg);
	x->sg.loop = x->c->home;
	x->sg.iov = x->sg.inline_iov;
	if (n > BLK_SG_INLINE) {
		x->sg.iov = x->iov = malloc(n * sizeof *v);
		ASSERT(x->iov != NULL);
		x->sg.iovcap = n;
	}
	for (; len > 0; v++, at = 0) {
		uint64_t part = v->iov_len - at < len ? v->iov_len - at : len;
		blk_sg_append(&x->sg, (char *)v->iov_base + at, part);
		len -= part;
	}
}

/*
 * One that failed may have taken with it what others had written and not flushed: they ask. One that is well pays
 * what the store owes since its volume was opened, whoever asked for it: before that flush has ended nobody else
 * asks for one, so what ends well here was begun after it, and covers what that one was to cover.
 */
static void
flush_ended(struct cache *c, const struct blk *b, bool is_well)
{
	if (b == c->ssd) {
		c->flush_failures += !is_well;
		return;
	}
	LIST_FOREACH (n, &c->volumes) {
		struct cache_volume *v = container_of(n, struct cache_volume, link);
		if (v->store != b)
			continue;
		v->store_flush_failures += !is_well;
		v->store_owed &= !is_well;
	}
}

static void
io_done(struct blk_io *io)
{
	struct cache_io *x = container_of(io, struct cache_io, io);
	if (io->op == BLK_FLUSH)
		flush_ended(x->c, io->blk, io->result == 0);
	x->done(x, io->result);
	cache_io_put(x);
}

void
cache_io_submit(struct cache_io *x, struct blk *b, enum blk_op op, uint32_t flags, uint64_t offset,
    uint64_t len)
{
	x->io.op = op;
	x->io.flags = flags;
	x->io.offset_bytes = offset;
	x->io.len_bytes = len;
	x->io.sg = &x->sg;
	x->io.done = io_done;
	bool beyond = offset + len > blk_get_info(b)->size_bytes; /* it became smaller by itself */
	if (b == x->c->ssd && ((x->c->away.is_away && !x->looks) || beyond))
		cache_away_refuse(x, b);
	else
		blk_submit(b, &x->io);
}

void
cache_ssd_read(struct cache_io *x, uint64_t block, uint32_t count)
{
	cache_io_submit(
	    x, x->c->ssd, BLK_READ, 0, block << CF_BLOCK_SHIFT, (uint64_t)count << CF_BLOCK_SHIFT);
}

void
cache_ssd_write(struct cache_io *x, uint64_t block, uint32_t count, uint32_t flags)
{
	/* The SSD is opened so that writes are durable at done, at a flush each: only where it is asked for. */
	uint32_t when = flags & BLK_FUA ? 0 : BLK_LAZY;
	cache_io_submit(x, x->c->ssd, BLK_WRITE, flags | when, block << CF_BLOCK_SHIFT,
	    (uint64_t)count << CF_BLOCK_SHIFT);
}

void
cache_ssd_flush(struct cache_io *x)
{
	cache_io_submit(x, x->c->ssd, BLK_FLUSH, 0, 0, 0);
}

void *
cache_pages_alloc(size_t bytes)
{
	bytes = (bytes + CF_BLOCK_BYTES - 1) & ~(size_t)(CF_BLOCK_BYTES - 1);
	void *p = aligned_alloc(CF_BLOCK_BYTES, bytes);
	if (p != NULL)
		memset(p, 0, bytes);
	return p;
}

uint32_t
cache_crc_part(const struct blk_sg *sg, uint64_t at, size_t len)
{
	const struct iovec *v = sg->iov;
	uint32_t crc = CRC32C_INIT;
	for (; at >= v->iov_len; v++)
		at -= v->iov_len;
	for (; len > 0; v++, at = 0) {
		size_t n = v->iov_len - at < len ? v->iov_len - at : len;
		crc = crc32c_update(crc, (const char *)v->iov_base + at, n);
		len -= n;
	}
	return crc32c_final(crc);
}

/* ---- frames ------------------------------------------------------------------------------ */

void *
cache_frame_get(struct cache *c)
{
	return bufpool_get(c->bufs, CF_BLOCK_BYTES);
}

void
cache_frame_put(struct cache *c, void *frame)
{
	if (frame == NULL)
		return;
	bufpool_put(c->bufs, frame, CF_BLOCK_BYTES);
	cache_frames_free(c);
}

void
cache_frames_free(struct cache *c)
{
	if (!list_empty(&c->frame_waiters) && !loop_defer_queued(&c->frame_defer))
		loop_defer(c->home, &c->frame_defer);
}

/* ---- waiters ----------------------------------------------------------------------------- */

void
cache_wait(struct list *l, cache_done_fn *done, void *ctx)
{
	struct cache_waiter *w = calloc(1, sizeof *w);
	ASSERT(w != NULL);
	w->done = done;
	w->ctx = ctx;
	list_push_back(l, &w->link);
}

void
cache_wake(struct list *l, int result)
{
	struct list all = LIST_INIT(all);
	list_splice_back(&all, l);
	for (struct list *n; (n = list_pop_front(&all)) != NULL;) {
		struct cache_waiter *w = container_of(n, struct cache_waiter, link);
		cache_done_fn *done = w->done;
		void *ctx = w->ctx;
		free(w);
		done(ctx, result);
	}
}

void
cache_later(struct cache *c, cache_done_fn *done, void *ctx, int result)
{
	struct cache_waiter *w = calloc(1, sizeof *w);
	ASSERT(w != NULL);
	*w = (struct cache_waiter){.done = done, .ctx = ctx, .a = (uint64_t)(int64_t)result};
	list_push_back(&c->later, &w->link);
	if (!loop_defer_queued(&c->later_defer))
		loop_defer(c->home, &c->later_defer);
}
