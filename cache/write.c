/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Changes: WRITE, UNMAP, WRITE_ZEROES.
 *
 *	lock of the range, by arrival [1] ─▶ blocks that are written in part are merged with what the cache
 *	has of them [14] ─▶ one request to the log, several for a long write ─▶ applied ─▶ writethrough: destaged
 *	and flushed [11] ─▶ answer, lock dropped
 *
 * A crash at any point before the answer: some prefix of the requests, or nothing. After it: all of it.
 */
#include "cache/cache_priv.h"

#include <errno.h>
#include <string.h>

#include "base/crc32c.h"

static void write_locked(struct cache_lock *k);
static void write_merge(struct cache_op *op);
static void write_log(struct cache_op *op);

/* Sectors of `block` that exist: the volume may end within it. */
uint8_t
cache_valid_mask(const struct cache_volume *v, uint64_t block)
{
	uint64_t left = v->row.size_bytes - (block << CF_BLOCK_SHIFT);
	if (left >= CF_BLOCK_BYTES)
		return 0xff;
	return (uint8_t)((1u << (left / 512)) - 1u);
}

/* Sectors of `block` that the request covers. What lies beyond the volume's end is never among them: the
 * volume may grow, and then the store has it. */
static uint8_t
covered(const struct cache_op *op, uint64_t block)
{
	const struct blk_io *io = op->io;
	uint64_t base = block << CF_BLOCK_SHIFT, end = io->offset_bytes + io->len_bytes;
	uint8_t m = 0;
	for (unsigned s = 0; s < CF_SECTORS; s++) {
		uint64_t at = base + s * 512u;
		bool beyond = MUTANT(GROW_CLAIMS) && at >= op->vol->row.size_bytes;
		if (at >= io->offset_bytes && (at < end || beyond))
			m = (uint8_t)(m | 1u << s);
	}
	return m;
}

void
cache_write_start(struct cache_op *op)
{
	struct cache_volume *v = op->vol;
	v->last_write_ns = loop_now_ns(v->c->home);
	cache_fill_cancel(v, op->first, op->last);
	op->lock = (struct cache_lock){.first = op->first, .last = op->last, .grant = write_locked};
	cache_lock_take(v, &op->lock);
}

static void
write_locked(struct cache_lock *k)
{
	struct cache_op *op = container_of(k, struct cache_op, lock);
	op->mask[0] = covered(op, op->first);
	op->mask[1] = op->last != op->first ? covered(op, op->last) : 0xff;
	write_merge(op);
}

/* An edge of which sectors are missing goes by way of a frame. */
static bool
needs_frame(const struct cache_op *op, unsigned i)
{
	return op->mask[i] != 0xff && !(i == 1 && op->last == op->first);
}

/* ---- merging --------------------------------------------------------------------------------- */

static uint64_t
edge_block(const struct cache_op *op, unsigned i)
{
	return i == 0 ? op->first : op->last;
}

/* Puts the request's own sectors of an edge over what the frame has. */
static void
edge_fill(struct cache_op *op, unsigned i)
{
	struct blk_io *io = op->io;
	uint64_t base = edge_block(op, i) << CF_BLOCK_SHIFT;
	uint64_t from = io->offset_bytes > base ? io->offset_bytes : base;
	uint64_t to = io->offset_bytes + io->len_bytes;
	if (to > base + CF_BLOCK_BYTES)
		to = base + CF_BLOCK_BYTES;
	char *p = (char *)op->frame[i] + (from - base);
	if (io->op == BLK_WRITE)
		blk_sg_copy_out(io->sg, from - io->offset_bytes, p, to - from);
	else
		memset(p, 0, to - from);
	blk_sg_init(&op->frame_sg[i]);
	op->frame_sg[i].iov = op->frame_sg[i].inline_iov;
	blk_sg_append(&op->frame_sg[i], op->frame[i], CF_BLOCK_BYTES);
}

static void
merged(struct cache_op *op)
{
	if (op->err < 0) {
		cache_op_end(op, op->err);
		return;
	}
	for (unsigned i = 0; i < 2; i++)
		if (op->frame[i] != NULL)
			edge_fill(op, i);
	write_log(op);
}

static void
merge_read(struct cache_io *x, int result)
{
	struct cache_op *op = x->ctx;
	struct cache *c = x->c;
	const struct cache_piece *p = &x->piece;
	unsigned i = (unsigned)x->a;
	uint32_t want = seg_of(c, p->loc)->crc[unit_of(c, p->loc)];
	cache_segment_unpin(c, p->loc);
	if (result == 0 && crc32c(op->frame[i], CF_BLOCK_BYTES) == want) {
		op->mask[i] |= p->mask;
	} else {
		/* A clean block: the store has the rest. A dirty one: it would be lost unnoticed. */
		c->stats.ssd_errors++;
		cache_set_condition(c, CACHE_COND_SSD_READ, true, op->vol->row.name);
		memset(op->frame[i], 0, CF_BLOCK_BYTES);
		if (p->flags & CACHE_EXT_DIRTY)
			op->err = -EIO;
	}
	if (--op->pending == 0)
		merged(op);
}

/* What the cache has of an edge goes into its frame. */
static void
merge_edge(struct cache_op *op, unsigned i)
{
	struct cache_volume *v = op->vol;
	struct cache_piece p;
	memset(op->frame[i], 0, CF_BLOCK_BYTES);
	uint8_t valid = cache_valid_mask(v, edge_block(op, i));
	if ((op->mask[i] & valid) == valid)
		return;
	cache_index_lookup(&v->ix, edge_block(op, i), 1, &p);
	if (p.kind == CACHE_HOLE || MUTANT(PARTIAL_NO_UNION))
		return;
	if (p.kind == CACHE_ZERO) {
		op->mask[i] = 0xff;
		return;
	}
	if (p.flags & CACHE_EXT_BAD) {
		op->err = -EIO;
		return;
	}
	/* Clean: the store has it too, and that is less work. */
	if (is_packed(v->c, p.loc))
		return;
	struct cache_io *x = cache_io_get(v->c, merge_read, op);
	x->a = i;
	x->piece = p;
	cache_segment_pin(v->c, p.loc);
	cache_io_buf(x, op->frame[i], CF_BLOCK_BYTES);
	op->pending++;
	cache_ssd_read(x, block_of_loc(v->c, p.loc), 1);
}

static void
write_merge(struct cache_op *op)
{
	struct cache *c = op->vol->c;
	for (unsigned i = 0; i < 2; i++) {
		if (op->frame[i] != NULL || !needs_frame(op, i))
			continue;
		op->frame[i] = cache_frame_get(c);
		if (op->frame[i] == NULL) {
			/* With one in hand others could wait for ever for each other's. Nobody is
			 * woken: it was free before, and they would do the same in turn. */
			if (op->frame[0] != NULL)
				bufpool_put(c->bufs, op->frame[0], CF_BLOCK_BYTES);
			op->frame[0] = NULL;
			op->again = write_merge;
			list_push_back(&c->frame_waiters, &op->link);
			return;
		}
	}
	op->pending = 1;
	for (unsigned i = 0; i < 2; i++)
		if (op->frame[i] != NULL)
			merge_edge(op, i);
	if (--op->pending == 0)
		merged(op);
}

/* ---- logging --------------------------------------------------------------------------------- */

static void
write_clean(void *ctx, int result)
{
	cache_op_end(ctx, result);
}

static void
write_applied(struct cache_op *op)
{
	struct cache_volume *v = op->vol;
	if (op->err == 0 && v->mode == CACHE_WRITETHROUGH && !MUTANT(WRITETHROUGH_EARLY))
		cache_clean_wait(v, op->first, op->last - op->first + 1, write_clean, op);
	else
		cache_op_end(op, op->err);
}

static void
write_logged(struct cache_req *r, int result)
{
	struct cache_op *op = r->ctx;
	struct cache *c = op->vol->c;
	op->vol->d.written += result == 0 ? r->blocks + r->zeros : 0;
	for (uint32_t i = 0; result == 0 && i < r->ents; i++)
		cache_apply(op->vol, &r->ent[i], r->ent[i].ver, CACHE_EXT_DIRTY);
	if (result < 0)
		op->err = result;
	pool_put(&c->req_pool, r);
	if (--op->pending == 0)
		write_applied(op);
}

static struct cache_req *
req_make(struct cache_op *op)
{
	struct cache_req *r = pool_get(&op->vol->c->req_pool);
	ASSERT(r != NULL);
	*r = (struct cache_req){
	    .vol = op->vol, .done = write_logged, .ctx = op, .since_ns = op->since_ns};
	op->pending++;
	return r;
}

static void
req_add(struct cache_req *r, const struct cache_ent *e)
{
	ASSERT(r->ents < CACHE_REQ_ENTS);
	r->ent[r->ents++] = *e;
	if (e->flags & CF_DESC_ZERO)
		r->zeros++;
	else
		r->blocks += (uint32_t)e->count;
}

static struct cache_ent
edge_ent(const struct cache_op *op, unsigned i)
{
	return (struct cache_ent){
	    .block = edge_block(op, i),
	    .count = 1,
	    .mask = op->mask[i],
	    .sg = &op->frame_sg[i],
	};
}

/* The next part of the whole blocks in the middle, as much as fits into a request with what it has. */
static struct cache_ent
middle_ent(const struct cache_op *op, uint64_t from, uint64_t end, uint32_t room)
{
	const struct blk_io *io = op->io;
	struct cache_ent e = {.block = from, .count = end - from, .mask = 0xff};
	if (io->op != BLK_WRITE) {
		e.flags = CF_DESC_ZERO;
		if (io->flags & BLK_NO_UNMAP)
			e.flags |= CF_DESC_NO_UNMAP;
		return e;
	}
	if (e.count > room)
		e.count = room;
	e.sg = io->sg;
	e.sg_at = (from << CF_BLOCK_SHIFT) - io->offset_bytes;
	return e;
}

static void
write_log(struct cache_op *op)
{
	struct cache *c = op->vol->c;
	uint32_t most = cache_log_req_max(c);
	uint64_t from = op->first + (op->frame[0] != NULL);
	uint64_t end = op->last + 1 - (op->frame[1] != NULL);
	bool head = op->frame[0] != NULL, tail = op->frame[1] != NULL;
	struct list reqs = LIST_INIT(reqs);
	while (head || from < end || tail) {
		struct cache_req *r = req_make(op);
		if (head) {
			struct cache_ent e = edge_ent(op, 0);
			req_add(r, &e);
			head = false;
		}
		if (from < end && r->blocks < most) {
			struct cache_ent e = middle_ent(op, from, end, most - r->blocks);
			req_add(r, &e);
			from += e.count;
		}
		if (from >= end && tail && r->blocks < most) {
			struct cache_ent e = edge_ent(op, 1);
			req_add(r, &e);
			tail = false;
		}
		list_push_back(&reqs, &r->link);
	}
	for (struct list *n; (n = list_pop_front(&reqs)) != NULL;)
		cache_log_submit(c, CF_W, container_of(n, struct cache_req, link));
}
