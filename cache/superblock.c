/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The two superblocks: written one after the other, each durable before the next, so that a crash leaves
 * at least one of them whole; the one that isn't in force first. The newest intact one counts. One write at a
 * time.
 */
#include "cache/cache_priv.h"

static void super_next(struct cache *c);

static void
super_done(struct cache_io *x, int result)
{
	struct cache *c = x->c;
	if (result == 0) {
		c->sb.which ^= 1; /* in force now */
		c->sb.durable = c->super;
	}
	if (result == 0 && ++c->sb.written < 2) {
		super_next(c);
		return;
	}
	cache_done_fn *done = c->sb.done;
	c->sb.done = NULL;
	done(c->sb.ctx, result);
}

static void
super_next(struct cache *c)
{
	unsigned which = c->sb.which ^ 1u;
	cache_super_encode(&c->super, which, c->sb.buf);
	struct cache_io *x = cache_io_get(c, super_done, NULL);
	cache_io_buf(x, c->sb.buf, CF_BLOCK_BYTES);
	cache_ssd_write(x, which, 1, BLK_FUA);
}

void
cache_super_write(struct cache *c, cache_done_fn *done, void *ctx)
{
	ASSERT(c->sb.done == NULL);
	c->sb.done = done;
	c->sb.ctx = ctx;
	c->sb.written = 0;
	c->super.generation++;
	super_next(c);
}
