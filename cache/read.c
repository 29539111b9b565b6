/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reads: from the SSD what the index shows, zeros, and the rest from the store. The pieces of a request
 * are looked up one after the other, a few in flight at a time; a segment isn't reused while a read of it
 * runs [6]. A read shows only what is durable: the index has nothing else [2].
 *
 * What comes from the SSD is verified. If it is damaged: a clean block comes from the store; a dirty one
 * fails with a medium error, it alone [3].
 */
#include "cache/cache_priv.h"

#include <errno.h>
#include <string.h>

static void read_more(struct cache_op *op);

void
cache_read_start(struct cache_op *op)
{
	struct cache_volume *v = op->vol;
	v->stats.reads += !(op->io->flags & BLK_QUIET);
	op->filling = !(op->io->flags & (BLK_QUIET | BLK_NO_FILL)) &&
	              op->io->len_bytes <= v->c->tuning.fill_cutoff_bytes;
	bool quiet = op->io->flags & BLK_QUIET;
	uint64_t blocks = op->last - op->first + 1;
	v->stats.read_blocks += quiet ? 0 : blocks;
	if (op->filling && (!v->fill.on_read || cache_tier_scans(v, op->first, blocks))) {
		op->filling = false;
		v->stats.scan_blocks += v->fill.on_read ? blocks : 0;
	}
	if (!quiet)
		cache_tier_sample(
		    v, op->first, blocks, op->filling ? POLICY_MRC_READ : POLICY_MRC_PASS);
	op->pending = 1; /* until the first round was begun */
	read_more(op);
	if (--op->pending == 0)
		read_more(op);
}

static void
sub_end(struct cache_op *op)
{
	if (--op->pending == 0 || op->at < op->io->len_bytes)
		read_more(op);
}

/* ---- from the store --------------------------------------------------------------------------- */

static void
store_done(struct cache_io *x, int result)
{
	struct cache_op *op = x->ctx;
	struct destage *d = &op->vol->d;
	d->store_ops++;
	d->store_ns += loop_now_ns(x->c->home) - x->io.submit_ns;
	if (result < 0)
		op->err = result;
	if (x->fill != NULL && result == 0)
		cache_fill_data(x->fill, op->io->sg, x->b);
	else if (x->fill != NULL)
		cache_fill_abandon(x->fill);
	sub_end(op);
}

/* [at, at + len) of the request, straight into the caller's memory. */
static void
store_read(struct cache_op *op, uint64_t at, uint64_t len, bool fill)
{
	struct cache_volume *v = op->vol;
	struct cache_io *x = cache_io_get(v->c, store_done, op);
	uint64_t from = op->io->offset_bytes + at;
	op->missed = true;
	if (fill && op->filling) {
		uint64_t b0 = (from + CF_BLOCK_BYTES - 1) >> CF_BLOCK_SHIFT;
		uint64_t b1 = (from + len) >> CF_BLOCK_SHIFT;
		x->fill = b1 > b0 ? cache_fill_begin(v, b0, b1 - b0) : NULL;
		x->b = (b0 << CF_BLOCK_SHIFT) - op->io->offset_bytes;
	}
	cache_io_part(x, op->io->sg, at, len);
	op->pending++;
	cache_io_submit(x, v->store, BLK_READ, 0, from, len);
}

/* ---- from the SSD ------------------------------------------------------------------------------- */

struct bad {
	const struct cache_piece *p;
	uint64_t block;
};

static uint8_t
mark(void *ctx, const struct cache_piece *p)
{
	const struct bad *b = ctx;
	uint32_t loc = b->p->loc + (uint32_t)(b->block - b->p->block);
	bool same = p->kind == CACHE_DATA && p->ver == b->p->ver && p->loc == loc &&
	            (p->flags & CACHE_EXT_DIRTY);
	return same ? p->flags | CACHE_EXT_BAD : p->flags;
}

/* The SSD failed for this piece of [at, at + len). */
static void
ssd_failed(struct cache_op *op, const struct cache_piece *p, uint64_t at, uint64_t len,
    uint64_t bad_block, bool damaged)
{
	struct cache_volume *v = op->vol;
	struct cache *c = v->c;
	c->stats.ssd_errors++;
	cache_set_condition(c, CACHE_COND_SSD_READ, true, v->row.name);
	if (p->flags & CACHE_EXT_DIRTY) {
		op->err = -EIO;
		if (!damaged)
			return; /* a failed read may succeed the next time */
		struct bad b = {p, bad_block};
		c->stats.ssd_bad_blocks++;
		cache_set_condition(c, CACHE_COND_DATA_LOST, true, v->row.name);
		cache_index_change(&v->ix, bad_block, 1, mark, &b);
		return;
	}
	cache_drop(v, p->block, p->count, p->loc);
	store_read(op, at, len, false);
}

/* The first of the piece's blocks in `sg` from `at` that isn't what was written, or UINT64_MAX. */
static uint64_t
damaged(struct cache *c, const struct cache_piece *p, const struct blk_sg *sg, uint64_t at)
{
	const uint32_t *crc = seg_of(c, p->loc)->crc + unit_of(c, p->loc);
	for (uint64_t i = 0; i < p->count; i++)
		if (cache_crc_part(sg, at + (i << CF_BLOCK_SHIFT), CF_BLOCK_BYTES) != crc[i] &&
		    !MUTANT(READ_NO_CRC) && !MUTANT(FILL_NO_FLUSH))
			return p->block + i;
	return UINT64_MAX;
}

static void
blocks_done(struct cache_io *x, int result)
{
	struct cache_op *op = x->ctx;
	const struct cache_piece *p = &x->piece;
	uint64_t bad = result == 0 ? damaged(x->c, p, op->io->sg, x->a) : p->block;
	cache_segment_unpin(x->c, p->loc);
	if (bad != UINT64_MAX)
		ssd_failed(op, p, x->a, p->count << CF_BLOCK_SHIFT, bad, result == 0);
	sub_end(op);
}

static void
blocks_read(struct cache_op *op, uint64_t at, const struct cache_piece *p)
{
	struct cache *c = op->vol->c;
	struct cache_io *x = cache_io_get(c, blocks_done, op);
	x->a = at;
	x->piece = *p;
	if (!(op->io->flags & BLK_QUIET))
		cache_tier_hit(c, p->loc, p->count);
	cache_segment_pin(c, p->loc);
	cache_io_part(x, op->io->sg, at, p->count << CF_BLOCK_SHIFT);
	op->pending++;
	cache_ssd_read(x, block_of_loc(c, p->loc), (uint32_t)p->count);
}

/* One block of which the request or the SSD has only a part: by way of a frame. */

static void
part_done(struct cache_io *x, int result)
{
	struct cache_op *op = x->ctx;
	struct cache *c = x->c;
	const struct cache_piece *p = &x->piece;
	uint64_t base = p->block << CF_BLOCK_SHIFT, from = op->io->offset_bytes + x->a;
	struct blk_sg sg;
	blk_sg_init(&sg);
	sg.iov = sg.inline_iov;
	blk_sg_append(&sg, x->frame, CF_BLOCK_BYTES);
	uint64_t bad = result == 0 ? damaged(c, p, &sg, 0) : p->block;
	cache_segment_unpin(c, p->loc);
	if (bad != UINT64_MAX) {
		ssd_failed(op, p, x->a, x->b, bad, result == 0);
	} else {
		for (uint64_t at = from; at < from + x->b; at += 512)
			if (p->mask >> ((at - base) / 512) & 1)
				blk_sg_copy_in(op->io->sg, at - op->io->offset_bytes,
				    (char *)x->frame + (at - base), 512);
	}
	cache_frame_put(c, x->frame);
	sub_end(op);
}

static void
part_ssd(struct cache_op *op, uint64_t at, uint64_t len, const struct cache_piece *p, void *frame)
{
	struct cache *c = op->vol->c;
	struct cache_io *x = cache_io_get(c, part_done, op);
	x->a = at;
	x->b = len;
	x->piece = *p;
	x->frame = frame;
	cache_io_buf(x, frame, CF_BLOCK_BYTES);
	op->pending++;
	cache_ssd_read(x, block_of_loc(c, p->loc), 1);
}

/* The store's sectors are there; those of the SSD go over them. */
static void
part_store_done(struct cache_io *x, int result)
{
	struct cache_op *op = x->ctx;
	if (result < 0) {
		op->err = result;
		cache_segment_unpin(x->c, x->piece.loc);
		cache_frame_put(x->c, x->frame);
	} else {
		part_ssd(op, x->a, x->b, &x->piece, x->frame);
	}
	sub_end(op);
}

static bool
needs_store(const struct cache_op *op, uint64_t at, uint64_t len, const struct cache_piece *p)
{
	uint64_t base = p->block << CF_BLOCK_SHIFT, from = op->io->offset_bytes + at;
	for (uint64_t s = from; s < from + len; s += 512)
		if (!(p->mask >> ((s - base) / 512) & 1))
			return true;
	return false;
}

/* False: no frame; the request waits for one, unless something of it is in flight. */
static bool
part_read(struct cache_op *op, uint64_t at, uint64_t len, const struct cache_piece *p)
{
	struct cache_volume *v = op->vol;
	struct cache *c = v->c;
	void *frame = cache_frame_get(c);
	if (frame == NULL)
		return false;
	cache_segment_pin(c, p->loc);
	if (!needs_store(op, at, len, p)) {
		part_ssd(op, at, len, p, frame);
		return true;
	}
	op->missed = true;
	struct cache_io *x = cache_io_get(c, part_store_done, op);
	x->a = at;
	x->b = len;
	x->piece = *p;
	x->frame = frame;
	cache_io_part(x, op->io->sg, at, len);
	op->pending++;
	cache_io_submit(x, v->store, BLK_READ, 0, op->io->offset_bytes + at, len);
	return true;
}

/* ---- packed, from the SSD -------------------------------------------------------------------------- */

static void
packed_done(struct cache_io *x, int result)
{
	struct cache_op *op = x->ctx;
	struct cache *c = x->c;
	const struct cache_piece *p = &x->piece;
	const char *data = result == 0 ? cache_pack_open(c, p->loc, &x->at, x->frame) : NULL;
	cache_segment_unpin(c, p->loc);
	if (data != NULL)
		blk_sg_copy_in(op->io->sg, x->a,
		    data + (op->io->offset_bytes + x->a - (p->block << CF_BLOCK_SHIFT)), x->b);
	cache_pack_raw_put(c, x->frame);
	if (data == NULL)
		ssd_failed(op, p, x->a, x->b, p->block, result == 0);
	sub_end(op);
}

/* [at, at + len) of the request, as far as the piece's first unit has it: returns how much. 0: no frame. */
static uint64_t
packed_read(struct cache_op *op, uint64_t at, uint64_t len, struct cache_piece *p)
{
	struct cache *c = op->vol->c;
	struct cache_pack_at where = cache_pack_find(c, p);
	uint64_t from = op->io->offset_bytes + at;
	uint64_t have = ((p->block + p->count) << CF_BLOCK_SHIFT) - from;
	char *raw = cache_pack_raw_get(c);
	if (raw == NULL)
		return 0;
	len = len < have ? len : have;
	struct cache_io *x = cache_io_get(c, packed_done, op);
	x->a = at;
	x->b = len;
	x->piece = *p;
	x->at = where;
	x->frame = raw;
	if (!(op->io->flags & BLK_QUIET))
		cache_tier_hit(c, p->loc, p->count);
	cache_segment_pin(c, p->loc);
	op->pending++;
	cache_pack_read(x, p->loc, &where, raw);
	return len;
}

/* ---- the pieces of a request ---------------------------------------------------------------------- */

/* Begins the next piece. False: it can't be begun now. */
static bool
read_piece(struct cache_op *op)
{
	struct cache_volume *v = op->vol;
	struct blk_io *io = op->io;
	uint64_t from = io->offset_bytes + op->at, end = io->offset_bytes + io->len_bytes;
	uint64_t block = from >> CF_BLOCK_SHIFT;
	struct cache_piece p;
	cache_index_lookup(&v->ix, block, op->last - block + 1, &p);
	uint64_t to = (p.block + p.count) << CF_BLOCK_SHIFT, at = op->at;
	to = to < end ? to : end;
	if (p.kind == CACHE_HOLE) {
		store_read(op, at, to - from, true);
	} else if (p.kind == CACHE_ZERO) {
		blk_sg_fill(io->sg, at, 0, to - from);
	} else if (p.flags & CACHE_EXT_BAD) {
		op->err = -EIO;
	} else if (is_packed(v->c, p.loc)) {
		uint64_t got = packed_read(op, at, to - from, &p);
		if (got == 0)
			return false;
		to = from + got;
	} else {
		bool whole = (from & (CF_BLOCK_BYTES - 1)) == 0 && to - from >= CF_BLOCK_BYTES;
		if (whole && p.mask == 0xff) {
			p.count = (to - from) >> CF_BLOCK_SHIFT;
			to = from + (p.count << CF_BLOCK_SHIFT);
			blocks_read(op, at, &p);
		} else {
			p.count = 1;
			uint64_t stop = (block + 1) << CF_BLOCK_SHIFT;
			to = to < stop ? to : stop;
			if (!part_read(op, at, to - from, &p))
				return false;
		}
	}
	if (p.kind != CACHE_HOLE && !(io->flags & BLK_QUIET))
		v->stats.hit_blocks += (to - from + CF_BLOCK_BYTES - 1) >> CF_BLOCK_SHIFT;
	op->at += to - from;
	return true;
}

static void
read_more(struct cache_op *op)
{
	struct cache *c = op->vol->c;
	while (op->err == 0 && op->at < op->io->len_bytes && op->pending < CACHE_SUBS_MAX) {
		if (read_piece(op))
			continue;
		if (op->pending > 0)
			return;
		op->again = read_more;
		list_push_back(&c->frame_waiters, &op->link);
		return;
	}
	if (op->pending > 0)
		return;
	if (op->err == 0 && !op->missed && !(op->io->flags & BLK_QUIET))
		op->vol->stats.read_hits++;
	cache_op_end(op, op->err);
}
