/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Fills: what a read brought from the store goes to the F stream [10].
 *
 *	miss: the last ver given; nothing in flight on the range ─▶ store read ─▶ F record (not durable) ─▶
 *	into the index, if no change to the range was accepted since the miss
 *
 * A write that is accepted cancels the fills of its range; that the range is absent now as it was then is
 * no proof. A fill that isn't inserted leaves dead units. Until then it counts as something older that
 * may be found after a crash: what lies above it stays known. In bypass none begins: a read from before
 * the change of mode may still be under way then.
 */
#include "cache/cache_priv.h"

#include <errno.h>
#include <stdlib.h>

struct cache_fill *
cache_fill_begin(struct cache_volume *v, uint64_t block, uint64_t count)
{
	struct cache *c = v->c;
	uint64_t bytes = count << CF_BLOCK_SHIFT;
	if (count == 0 || count > cache_log_req_max(c) || bytes > BUFPOOL_BUF_MAX_BYTES ||
	    c->is_void || c->index_full || c->stopping || v->shut || v->bypass ||
	    v->chg.step != 0 || c->logs[CF_F].blocked ||
	    cache_lock_overlaps(v, block, block + count - 1))
		return NULL;
	void *mem = bufpool_get(c->bufs, bytes);
	if (mem == NULL)
		return NULL;
	struct cache_fill *f = pool_get(&c->fill_pool);
	if (f == NULL) {
		bufpool_put(c->bufs, mem, bytes);
		return NULL;
	}
	*f = (struct cache_fill){
	    .vol = v,
	    .block = block,
	    .count = count,
	    .ver = c->ver + (MUTANT(FILL_NEXT_VER) ? 1 : 0),
	    .mem = mem,
	};
	/* 0 is no ver: before the first write nothing can be older or newer. */
	if (f->ver == 0)
		f->ver = ++c->ver;
	list_push_back(&v->fills, &f->link);
	return f;
}

void
cache_fill_abandon(struct cache_fill *f)
{
	struct cache_volume *v = f->vol;
	struct cache *c = v->c;
	list_remove(&f->link);
	bufpool_put(c->bufs, f->mem, f->count << CF_BLOCK_SHIFT);
	pool_put(&c->fill_pool, f);
	cache_mode_poke(v);
	cache_frames_free(c);
}

static void
fill_logged(struct cache_req *r, int result)
{
	struct cache_fill *f = r->ctx;
	struct cache_volume *v = f->vol;
	struct cache_piece p;
	struct cache_ent e = r->ent[0]; /* …of several, which follow each other */
	e.count = f->count;
	bool absent = !cache_index_next(&v->ix, f->block, f->block + f->count, 0, &p);
	if (result == 0) {
		bool cancelled =
		    f->cancelled || cache_lock_overlaps(v, f->block, f->block + f->count - 1);
		if (absent && (!cancelled || MUTANT(FILL_NO_CANCEL))) {
			/* Itself isn't older than itself: out of the list first. */
			list_remove(&f->link);
			cache_apply(v, &e, f->ver, 0);
			v->c->stats.fills += f->count;
			v->stats.filled_blocks += f->count;
		} else {
			cache_units_dead(v->c, e.loc, e.count);
		}
	}
	cache_fill_abandon(f);
}

void
cache_fill_data(struct cache_fill *f, const struct blk_sg *sg, uint64_t at)
{
	if (f->cancelled && !MUTANT(FILL_NO_CANCEL)) {
		cache_fill_abandon(f);
		return;
	}
	uint64_t bytes = f->count << CF_BLOCK_SHIFT;
	blk_sg_copy_out(sg, at, f->mem, bytes);
	blk_sg_init(&f->sg);
	f->sg.iov = f->sg.inline_iov;
	blk_sg_append(&f->sg, f->mem, bytes);
	f->req = (struct cache_req){
	    .vol = f->vol,
	    .ents = 1,
	    .blocks = (uint32_t)f->count,
	    .done = fill_logged,
	    .ctx = f,
	};
	f->req.ent[0] = (struct cache_ent){
	    .block = f->block,
	    .count = f->count,
	    .ver = f->ver,
	    .mask = 0xff,
	    .sg = &f->sg,
	};
	cache_pack_submit(
	    f->vol->c, cache_tier_place(f->vol->c, f->vol, f->block), &f->req, f->mem, &f->packing);
}

void
cache_fill_cancel(struct cache_volume *v, uint64_t first, uint64_t last)
{
	LIST_FOREACH (n, &v->fills) {
		struct cache_fill *f = container_of(n, struct cache_fill, link);
		if (f->block <= last && first < f->block + f->count)
			f->cancelled = true;
	}
}
