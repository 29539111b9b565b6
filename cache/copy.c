/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Data that its store hasn't taken is moved together, out of segments that hold little else [18]; so is what
 * is clean and can't be dropped, because something older lies under it [6].
 *
 *	read from the SSD, verify ─▶ G record with the ver that it has [1], durable ─▶ the index, where it still
 *	shows that place and ver; else the copy is dead when it lands [9]
 *
 * What is clean and was hit while its segment was in use goes to an F segment instead, when that is emptied. It
 * isn't durable until the footer is, and the original's dead bit may be before: so it takes over only where the
 * original could be dropped, for good [6]. If it can't be copied it is dropped.
 *
 * A crash before the record is durable: the original. After it: two equal copies, until the original's dead
 * bit is durable. While a copy is on its way it counts as something older that may be found [6].
 */
#include "cache/cache_priv.h"

#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"

static void
copy_free(struct cache_copy *k)
{
	struct cache_volume *v = k->vol;
	struct cache *c = v->c;
	list_remove(&k->link);
	if (k->mem != NULL)
		bufpool_put(c->bufs, k->mem, k->was.count << CF_BLOCK_SHIFT);
	free(k);
	c->space.copying--;
	cache_mode_poke(v);
	cache_space_kick(c);
	cache_frames_free(c);
}

/* The zeros of the record are the same; only its unit is another one. */
static void
zero_moved(struct cache_copy *k)
{
	struct cache *c = k->vol->c;
	uint32_t loc = k->req.ent[0].loc;
	struct cache_zero *z = c->zeros[k->was.loc];
	if (z == NULL || z->ver != k->was.ver) {
		cache_units_dead(c, loc, 1);
		return;
	}
	struct segment *from = seg_of(c, z->loc), *to = seg_of(c, loc);
	from->live--;
	cache_units_dead(c, z->loc, 1);
	to->live++;
	if (z->dirty > 0) {
		from->dirty--;
		to->dirty++;
	}
	to->changed = true;
	z->loc = loc;
}

/* What of a copy takes over. */
static bool
takes_over(const struct cache_copy *k, const struct cache_piece *is, uint32_t skip)
{
	const struct cache_piece *was = &k->was;
	bool same = is->kind == CACHE_DATA && is->ver == was->ver && is->loc == was->loc + skip;
	if (MUTANT(COPY_NO_CHECK))
		return is->kind == CACHE_DATA;
	if (!same || !k->rewrite || MUTANT(REWRITE_NO_CHECK))
		return same;
	return !(is->flags & (CACHE_EXT_DIRTY | CACHE_EXT_BAD)) &&
	       !cache_hides(k->vol, is->block, is->count, is->ver);
}

static void
blocks_moved(struct cache_copy *k)
{
	struct cache_volume *v = k->vol;
	const struct cache_piece *was = &k->was;
	uint64_t at = was->block, end = was->block + was->count;
	while (at < end) {
		struct cache_piece is;
		cache_index_lookup(&v->ix, at, end - at, &is);
		uint32_t skip = (uint32_t)(at - was->block);
		struct cache_ent e = k->req.ent[0];
		e.block = at;
		e.count = is.count;
		e.loc += skip;
		if (takes_over(k, &is, skip)) {
			cache_apply(v, &e, was->ver, is.flags & CACHE_EXT_DIRTY);
			if (k->hit)
				cache_tier_hit(v->c, e.loc, is.count);
		} else {
			cache_units_dead(v->c, e.loc, is.count);
		}
		at += is.count;
	}
	*(k->rewrite ? &v->c->stats.rewritten_blocks : &v->c->stats.copies) += was->count;
}

/* It can't be rewritten now: then it goes like the rest of its segment. */
static void
drop(struct cache_copy *k)
{
	struct cache *c = k->vol->c;
	c->stats.evicted_blocks += cache_drop(k->vol, k->was.block, k->was.count, k->was.loc);
}

static void
copy_logged(struct cache_req *r, int result)
{
	struct cache_copy *k = r->ctx;
	list_remove(&k->link); /* itself isn't older than itself */
	if (result == 0 && k->was.kind == CACHE_ZERO)
		zero_moved(k);
	else if (result == 0)
		blocks_moved(k);
	else if (k->rewrite)
		drop(k);
	copy_free(k);
}

static void
copy_log(struct cache_copy *k)
{
	bool zero = k->was.kind == CACHE_ZERO;
	uint64_t bytes = k->was.count << CF_BLOCK_SHIFT;
	k->req = (struct cache_req){
	    .vol = k->vol,
	    .ents = 1,
	    .blocks = zero ? 0 : (uint32_t)k->was.count,
	    .zeros = zero,
	    .done = copy_logged,
	    .ctx = k,
	};
	struct cache_ent *e = &k->req.ent[0];
	*e = (struct cache_ent){
	    .block = k->was.block,
	    .count = k->was.count,
	    .ver = k->was.ver,
	    .mask = k->was.mask,
	};
	if (zero) {
		const struct cache_zero *z = k->vol->c->zeros[k->was.loc];
		e->flags = CF_DESC_ZERO | (z->no_unmap ? CF_DESC_NO_UNMAP : 0);
	} else {
		blk_sg_init(&k->sg);
		k->sg.iov = k->sg.inline_iov;
		blk_sg_append(&k->sg, k->mem, bytes);
		e->sg = &k->sg;
	}
	if (k->rewrite)
		cache_pack_submit(k->vol->c, CACHE_LOG_MAIN, &k->req, k->mem, &k->packing);
	else
		cache_log_submit(k->vol->c, CF_G, &k->req);
}

static void
was_read(struct cache_copy *k, bool good)
{
	struct cache *c = k->vol->c;
	cache_segment_unpin(c, k->was.loc);
	if (k->raw != NULL)
		cache_pack_raw_put(c, k->raw);
	if (good) {
		copy_log(k);
		return;
	}
	/* It stays where it is; whoever reads it next finds out and says so. */
	c->stats.ssd_errors++;
	copy_free(k);
}

static void
copy_read(struct cache_io *x, int result)
{
	struct cache_copy *k = x->ctx;
	struct cache *c = x->c;
	const uint32_t *crc = seg_of(c, k->was.loc)->crc + unit_of(c, k->was.loc);
	bool good = result == 0;
	for (uint64_t i = 0; good && i < k->was.count; i++)
		good = crc32c(k->mem + i * CF_BLOCK_BYTES, CF_BLOCK_BYTES) == crc[i];
	was_read(k, good);
}

static void unit_next(struct cache_copy *k);

static void
unit_read(struct cache_io *x, int result)
{
	struct cache_copy *k = x->ctx;
	const char *data = result == 0 ? cache_pack_open(x->c, x->piece.loc, &k->at, k->raw) : NULL;
	if (data == NULL) {
		was_read(k, false);
		return;
	}
	memcpy(k->mem + (size_t)k->read * CF_BLOCK_BYTES, data, x->piece.count << CF_BLOCK_SHIFT);
	k->read += (uint32_t)x->piece.count;
	if (k->read < k->was.count)
		unit_next(k);
	else
		was_read(k, true);
}

static void
unit_next(struct cache_copy *k)
{
	struct cache *c = k->vol->c;
	struct cache_io *x = cache_io_get(c, unit_read, k);
	x->piece = k->was;
	x->piece.loc += k->read;
	x->piece.count -= k->read;
	k->at = cache_pack_find(c, &x->piece);
	cache_pack_read(x, x->piece.loc, &k->at, k->raw);
}

/* False: no memory. */
static bool
copy_start(struct cache_volume *v, const struct cache_piece *p, bool rewrite, bool hit)
{
	struct cache *c = v->c;
	struct cache_copy *k = calloc(1, sizeof *k);
	if (k == NULL)
		return false;
	k->vol = v;
	k->was = *p;
	k->rewrite = rewrite;
	k->hit = hit;
	if (p->kind == CACHE_DATA) {
		k->mem = bufpool_get(c->bufs, p->count << CF_BLOCK_SHIFT);
		bool packed = is_packed(c, p->loc);
		if (packed)
			k->raw = cache_pack_raw_get(c);
		if (k->mem == NULL || (packed && k->raw == NULL)) {
			if (k->mem != NULL)
				bufpool_put(c->bufs, k->mem, p->count << CF_BLOCK_SHIFT);
			if (k->raw != NULL)
				cache_pack_raw_put(c, k->raw);
			free(k);
			return false;
		}
	}
	list_push_back(&v->copies, &k->link);
	c->space.copying++;
	if (p->kind == CACHE_ZERO) {
		copy_log(k);
		return true;
	}
	cache_segment_pin(c, p->loc);
	if (k->raw != NULL) {
		unit_next(k);
		return true;
	}
	struct cache_io *x = cache_io_get(c, copy_read, k);
	cache_io_buf(x, k->mem, p->count << CF_BLOCK_SHIFT);
	cache_ssd_read(x, block_of_loc(c, p->loc), (uint32_t)p->count);
	return true;
}

static bool
copied_already(const struct cache_volume *v, const struct cache_piece *p)
{
	LIST_FOREACH (n, &v->copies) {
		const struct cache_copy *k = container_of(n, struct cache_copy, link);
		if (k->was.kind == p->kind && k->was.ver == p->ver && k->was.loc == p->loc)
			return true;
	}
	return false;
}

static void
copy_zero(struct cache_volume *v, const struct cache_desc *d, uint32_t loc)
{
	LIST_FOREACH (n, &v->zeros) {
		const struct cache_zero *z = container_of(n, struct cache_zero, link);
		if (z->loc != loc || z->ver != d->ver)
			continue;
		struct cache_piece p = {
		    .block = z->block,
		    .count = z->count,
		    .ver = z->ver,
		    .loc = z->id,
		    .mask = 0xff,
		    .kind = CACHE_ZERO,
		};
		if (!copied_already(v, &p))
			copy_start(v, &p, false, false);
		return;
	}
}

void
cache_copy_desc(struct cache_volume *v, const struct cache_desc *d, uint32_t loc)
{
	struct cache *c = v->c;
	uint64_t at = d->block, end = d->block + d->count;
	if (d->flags & CF_DESC_ZERO) {
		copy_zero(v, d, loc);
		return;
	}
	struct cache_piece p;
	for (; cache_index_next(&v->ix, at, end, 0, &p); at = p.block + p.count) {
		if (p.kind != CACHE_DATA || (p.flags & CACHE_EXT_BAD) ||
		    p.loc != loc + (uint32_t)(p.block - d->block))
			continue;
		if (p.count > cache_log_req_max(c))
			p.count = cache_log_req_max(c);
		if (!copied_already(v, &p) && !copy_start(v, &p, false, false))
			return;
	}
}

bool
cache_copy_hit(struct cache_volume *v, const struct cache_piece *p, bool hit)
{
	const struct cache_log *l = &v->c->logs[CACHE_LOG_MAIN];
	ASSERT(p->kind == CACHE_DATA && p->count <= cache_log_req_max(v->c));
	if (v->c->is_void || v->c->stopping || v->bypass || v->chg.step != 0 || l->blocked)
		return false;
	/* A store has it: that its next reader waits is less than that all writers do. */
	if (cache_log_hurries(v->c))
		return false;
	if (copied_already(v, p))
		return true;
	/* It couldn't take over, and would be written again and again for as long as room is wanted. */
	if (cache_hides(v, p->block, p->count, p->ver) && !MUTANT(REWRITE_NO_CHECK))
		return false;
	return copy_start(v, p, true, hit);
}
