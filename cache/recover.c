/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Attaching: what a crash left becomes a cache again [5][7].
 *
 *	 1. flush of the SSD: what can be read after this stays
 *	 2. superblocks, volume tables, checkpoint headers, liveness slots
 *	 3. every segment: header, footer; without a footer, its records
 *	 4. the chain of each stream; a tail that nothing calls durable has its payload verified
 *	 5. unsealed segments get footers with what was accepted, durable
 *	 6. superblocks: where the epoch ended, and a new one, durable
 *	 7. served
 *
 * A crash before 5 finds the same as before. During 5: a sealed segment's footer says what was decided, and
 * its records are links of the same chain. After 6: nothing of the old epoch is unsealed. So a second
 * recovery decides as the first one did.
 */
#include "cache/recover.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"

#define SLOTS_AT_ONCE 256u

static void read_super(struct recovery *v, int result);
static void got_super(struct recovery *v, int result);
static void got_table(struct recovery *v, int result);
static void got_head(struct recovery *v, int result);
static void got_slots(struct recovery *v, int result);
static void chain(struct recovery *v);
static void seal_next(struct recovery *v, int result);
static void epoch_written(void *ctx, int result);

/* ---- steps ----------------------------------------------------------------------------------------- */

/* Later than the I/O that brought it, which is still in the pool's books. */
static void
ended(void *ctx, int result)
{
	struct recovery *v = ctx;
	struct cache *c = v->c;
	for (uint32_t i = 0; i < v->rec_count; i++)
		free(v->recs[i].bytes);
	for (uint32_t i = 0; v->segs != NULL && i < c->geo.segment_count; i++)
		free(v->segs[i].slot_bits);
	recovery_ahead_free(v);
	free(v->sorted);
	free(v->recs);
	free(v->segs);
	free(v->buf);
	if (result < 0) {
		cache_free(c);
		c = NULL;
	} else {
		cache_go(c);
	}
	v->done(v->ctx, result, c, result < 0 ? v->reason : NULL);
	free(v);
}

static void
end(struct recovery *v, int result)
{
	/* What is still being read ahead ends first. */
	v->result = result;
	v->ending = true;
	if (v->ahead_pending == 0)
		cache_later(v->c, ended, v, result);
}

void
recovery_ahead_ended(struct recovery *v)
{
	if (v->ending && v->ahead_pending == 0)
		cache_later(v->c, ended, v, v->result);
}

void
recovery_fail(struct recovery *v, int err, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(v->reason, sizeof v->reason, fmt, ap);
	va_end(ap);
	end(v, err);
}

static void
io_done(struct cache_io *x, int result)
{
	struct recovery *v = x->ctx;
	v->next(v, result);
}

/* Blocks that can't be read are as good as damaged: zeros. */
static void
read_done(struct cache_io *x, int result)
{
	struct recovery *v = x->ctx;
	if (result < 0) {
		memset(v->buf, 0, (size_t)x->b << CF_BLOCK_SHIFT);
		v->c->stats.ssd_errors++;
	}
	v->next(v, result);
}

static bool
buf_room(struct recovery *v, uint32_t blocks)
{
	if (blocks <= v->buf_blocks)
		return true;
	free(v->buf);
	v->buf = cache_pages_alloc((size_t)blocks << CF_BLOCK_SHIFT);
	v->buf_blocks = v->buf != NULL ? blocks : 0;
	return v->buf != NULL;
}

static void
no_memory(void *ctx, int result)
{
	struct recovery *v = ctx;
	recovery_fail(v, result, "%s: not enough memory for its recovery", blk_get_name(v->c->ssd));
}

void
recovery_read(
    struct recovery *v, uint64_t block, uint32_t count, void (*next)(struct recovery *, int))
{
	v->next = next;
	if (!buf_room(v, count)) {
		cache_later(v->c, no_memory, v, -ENOMEM);
		return;
	}
	struct cache_io *x = cache_io_get(v->c, read_done, v);
	x->b = count;
	cache_io_buf(x, v->buf, (uint64_t)count << CF_BLOCK_SHIFT);
	cache_ssd_read(x, block, count);
}

static void
no_cache(struct loop_defer *d)
{
	struct recovery *v = container_of(d, struct recovery, defer);
	v->done(v->ctx, -ENOMEM, NULL, "not enough memory for a cache");
	free(v);
}

void
cache_attach(const struct cache_args *args, cache_attach_fn *done, void *ctx)
{
	struct recovery *v = calloc(1, sizeof *v);
	ASSERT(v != NULL);
	*v = (struct recovery){.args = *args, .done = done, .ctx = ctx};
	v->c = cache_alloc(args);
	if (v->c == NULL) {
		loop_defer_init(&v->defer, no_cache);
		loop_defer(args->loops[0], &v->defer);
		return;
	}
	v->next = read_super;
	if (MUTANT(RECOVERY_NO_FLUSH)) {
		read_super(v, 0);
		return;
	}
	cache_ssd_flush(cache_io_get(v->c, io_done, v));
}

/* ---- the fixed structures ------------------------------------------------------------------------------ */

static void
read_super(struct recovery *v, int result)
{
	if (result < 0) {
		recovery_fail(v, result, "%s: can't be flushed: %s", blk_get_name(v->c->ssd),
		    strerror(-result));
		return;
	}
	recovery_read(v, 0, 2, got_super);
}

/* Neither is one of a cache that would fit here. */
static void
no_super(struct recovery *v, int result)
{
	const char *name = blk_get_name(v->c->ssd);
	struct cache_super s;
	for (unsigned k = 0; k < 2; k++) {
		const char *p = (char *)v->buf + k * CF_BLOCK_BYTES;
		if (cache_super_decode(p, k, UINT64_MAX, &s) != CF_OK)
			continue;
		recovery_fail(v, -ENOSPC,
		    "%s: has %llu MiB, and the cache on it %llu: give it back its size", name,
		    (unsigned long long)blk_get_info(v->c->ssd)->size_bytes >> 20,
		    (unsigned long long)s.geo.size_blocks >> (20 - CF_BLOCK_SHIFT));
		return;
	}
	recovery_fail(
	    v, result < 0 ? result : -EMEDIUMTYPE, "%s: holds no cache; format it first", name);
}

static void
got_super(struct recovery *v, int result)
{
	struct cache *c = v->c;
	const char *name = blk_get_name(c->ssd);
	for (unsigned k = 0; k < 2; k++) {
		struct cache_super s;
		enum cf_verdict is = cache_super_decode(
		    (char *)v->buf + k * CF_BLOCK_BYTES, k, blk_get_info(c->ssd)->size_bytes, &s);
		v->newer |= is == CF_NEWER;
		if (is == CF_OK && (!v->have_super || s.generation > c->super.generation)) {
			c->super = s;
			c->sb.which = k;
			v->have_super = true;
		}
	}
	if (v->newer || (v->have_super && (c->super.ro_compat & ~CF_RO_COMPAT_KNOWN) != 0)) {
		recovery_fail(v, -EPROTONOSUPPORT, "%s: was written by a newer version", name);
		return;
	}
	if (!v->have_super) {
		no_super(v, result);
		return;
	}
	memcpy(c->uuid, c->super.uuid, sizeof c->uuid);
	c->geo = c->super.geo;
	c->is_void = false;
	v->segs = calloc(c->geo.segment_count, sizeof *v->segs);
	if (v->segs == NULL || cache_size(c) < 0) {
		recovery_fail(v, -ENOMEM, "%s: not enough memory for its index", name);
		return;
	}
	recovery_read(v, c->geo.voltable_block, 2 * c->geo.voltable_blocks, got_table);
}

static void
got_table(struct recovery *v, int result)
{
	struct cache *c = v->c;
	uint32_t most = cache_geometry_volumes_max(&c->geo);
	struct cache_volrow *rows = calloc(most, sizeof *rows);
	if (rows == NULL) {
		no_memory(v, -ENOMEM);
		return;
	}
	(void)result;
	for (unsigned k = 0; k < 2; k++) {
		uint64_t generation;
		uint32_t next_id, count;
		const char *p =
		    (char *)v->buf + (size_t)k * c->geo.voltable_blocks * CF_BLOCK_BYTES;
		if (!cache_voltable_decode(
		        &c->geo, c->uuid, k, p, &generation, &next_id, rows, &count) ||
		    (v->have_table && generation < c->vt.generation))
			continue;
		v->have_table = true;
		c->vt.which = (uint8_t)k;
		c->vt.generation = generation;
		c->vt.next_id = next_id;
		c->vt.count = count;
		memcpy(c->vt.rows, rows, count * sizeof *rows);
	}
	free(rows);
	if (!v->have_table) {
		recovery_fail(
		    v, -EUCLEAN, "%s: both volume tables are damaged", blk_get_name(c->ssd));
		return;
	}
	for (uint32_t i = 0; i < c->vt.count; i++) {
		if (cache_volume_make(c, &c->vt.rows[i]) == NULL) {
			no_memory(v, -ENOMEM);
			return;
		}
	}
	recovery_read(v, c->geo.checkpoint_block, 2, got_head);
}

static void
got_head(struct recovery *v, int result)
{
	struct cache *c = v->c;
	if (result < 0 && !v->args.accept_loss) {
		/* The one that can't be read may be the newer one: the older one would bring back what is dead. */
		recovery_fail(v, result, "%s: its checkpoints can't be read", blk_get_name(c->ssd));
		return;
	}
	if (result < 0)
		memset(v->buf, 0, 2 * CF_BLOCK_BYTES);
	uint64_t number[2] = {0, 0};
	for (unsigned k = 0; k < 2; k++) {
		struct cache_ckhead h;
		if (!cache_ckhead_decode(
		        &c->geo, c->uuid, k, (char *)v->buf + k * CF_BLOCK_BYTES, &h))
			continue;
		number[k] = h.number;
		if (v->have_head && h.number < v->head.number)
			continue;
		v->have_head = true;
		v->head = h;
		c->ck.header = (uint8_t)k;
	}
	if (!v->have_head) {
		recovery_fail(
		    v, -EUCLEAN, "%s: both checkpoint headers are damaged", blk_get_name(c->ssd));
		return;
	}
	c->ck.owed = number[0] != number[1];
	v->covered = cache_ckhead_covers(&v->head, &c->geo);
	if (v->covered > c->geo.segment_count) {
		/* Superblocks are durable before a header that covers more, and after one that covers less. */
		v->covered = c->geo.segment_count;
		v->slots_wrong = true;
	}
	v->max_ver = v->head.ver;
	v->max_checkpoint = v->head.number;
	v->seg = 0;
	v->which = 0;
	got_slots(v, 1);
}

static void
slot_found(struct recovery *v, uint32_t seg, unsigned k, const void *block)
{
	struct cache *c = v->c;
	struct cache_slot s;
	struct found_seg *f = &v->segs[seg];
	size_t bits = (c->geo.data_blocks + 7) / 8;
	if (!cache_slot_decode(&c->geo, c->uuid, seg, k, block, &s)) {
		f->slot[k].is_torn = !cf_all_zero(block, CF_BLOCK_BYTES);
		return;
	}
	f->slot[k] = (struct found_slot){
	    .ok = true,
	    .in_use = s.in_use,
	    .used = s.used,
	    .checkpoint = s.checkpoint,
	    .generation = s.generation,
	};
	if (s.checkpoint > v->max_checkpoint)
		v->max_checkpoint = s.checkpoint;
	/* The bits of both are kept until it is known which is in force. */
	if (f->slot_bits == NULL)
		f->slot_bits = calloc(4, bits);
	if (f->slot_bits == NULL) {
		v->no_memory = true;
		return;
	}
	memcpy(f->slot_bits + k * 2 * bits, s.dead, bits);
	memcpy(f->slot_bits + (k * 2 + 1) * bits, s.clean, bits);
}

/* result 1: nothing was read yet. */
static void
got_slots(struct recovery *v, int result)
{
	struct cache *c = v->c;
	uint32_t n = c->geo.segment_count;
	uint32_t count = cache_slots_run(&c->geo, v->seg, n, SLOTS_AT_ONCE);
	if (result < 0 && !v->args.accept_loss) {
		/* As with the headers: the older slot of a segment says less of what is dead. */
		recovery_fail(
		    v, result, "%s: what is live in it can't be read", blk_get_name(c->ssd));
		return;
	}
	if (result != 1) {
		if (result < 0)
			memset(v->buf, 0xff, (size_t)count * CF_BLOCK_BYTES);
		for (uint32_t i = 0; i < count; i++)
			slot_found(
			    v, v->seg + i, v->which, (char *)v->buf + (size_t)i * CF_BLOCK_BYTES);
		v->seg += count;
		if (v->seg == n) {
			v->seg = 0;
			v->which++;
		}
	}
	if (v->which == 2) {
		v->slots_wrong |= !recovery_slots_right(v);
		recovery_segments(v);
		return;
	}
	count = cache_slots_run(&c->geo, v->seg, n, SLOTS_AT_ONCE);
	recovery_read(v, cache_slot_block(&c->geo, v->seg, v->which), count, got_slots);
}

/* ---- the chains -------------------------------------------------------------------------------------------- */

static void
link_taken(struct recovery *v, const struct found_rec *f)
{
	v->last[v->stream] = (struct cache_position){f->r.epoch, f->r.seq, f->r.crc};
}

static void seal_start(struct recovery *v);

/* All segments were looked at. */
void
recovery_chains(struct recovery *v)
{
	if (v->no_memory || !recovery_sort(v)) {
		no_memory(v, -ENOMEM);
		return;
	}
	v->missing = !recovery_before(v, CF_W) + !recovery_before(v, CF_G);
	v->stream = CF_W;
	recovery_chain_start(v);
	chain(v);
}

static void
accepted(struct recovery *v)
{
	recovery_accept(v);
	seal_start(v);
}

/* What is known to be lost was told. */
static void
losses_told(struct recovery *v)
{
	struct cache *c = v->c;
	const char *name = blk_get_name(c->ssd);
	if (v->lied)
		cache_set_condition(c, CACHE_COND_DRIVE_LIED, true, name);
	if (v->lost > 0 || v->missing > 0 || v->slots_wrong || v->old_table)
		cache_set_condition(c, CACHE_COND_DATA_LOST, true, name);
	if (v->args.accept_loss) {
		/* Once: the first checkpoint calls free what is lost, and its header fits again. */
		c->ck.owed = true;
		recovery_settle(v);
		accepted(v);
	} else if (v->lied) {
		recovery_fail(v, -EUCLEAN,
		    "%s: lost writes that it had called durable (records %llu to %llu)", name,
		    (unsigned long long)v->last[CF_W].seq + 1,
		    (unsigned long long)v->durable[CF_W]);
	} else if (v->old_table) {
		recovery_fail(v, -EUCLEAN, "%s: its volume table is older than its records", name);
	} else if (v->slots_wrong) {
		recovery_fail(v, -EUCLEAN, "%s: what it knows of its segments is damaged", name);
	} else if (v->missing > 0) {
		recovery_fail(v, -EUCLEAN, "%s: acknowledged records are damaged", name);
	} else {
		recovery_fail(v, -EUCLEAN, "%s: %u segments are damaged", name, v->lost);
	}
}

static void
chain_end(struct recovery *v)
{
	if (v->durable[v->stream] > v->last[v->stream].seq)
		v->lied = true;
	if (v->stream == CF_W) {
		v->stream = CF_G;
		recovery_chain_start(v);
		chain(v);
		return;
	}
	if (v->lied || v->lost > 0 || v->missing > 0 || v->slots_wrong || v->old_table)
		recovery_losses(v, losses_told);
	else
		accepted(v);
}

static void
got_payload(struct recovery *v, int result)
{
	const struct found_rec *f = recovery_next(v);
	ASSERT(f != NULL);
	bool good = result == 0;
	for (uint32_t i = 0; good && i < f->r.payload_blocks; i++)
		good = crc32c((char *)v->buf + (size_t)i * CF_BLOCK_BYTES, CF_BLOCK_BYTES) ==
		       le32_get(f->r.crcs[i]);
	if (!good && !MUTANT(NO_PAYLOAD_CRC)) {
		chain_end(v);
		return;
	}
	link_taken(v, f);
	chain(v);
}

static void
chain(struct recovery *v)
{
	struct cache *c = v->c;
	struct found_rec *f;
	while ((f = recovery_next(v)) != NULL) {
		if (!f->sealed && f->r.seq > v->durable[v->stream] && f->r.payload_blocks > 0) {
			uint32_t unit = f->r.unit + f->r.header_blocks;
			recovery_read(v, cache_data_block(&c->geo, f->seg, unit),
			    f->r.payload_blocks, got_payload);
			return;
		}
		link_taken(v, f);
	}
	chain_end(v);
}

/* ---- sealing, and the new epoch -------------------------------------------------------------------------------- */

static void
seal_start(struct recovery *v)
{
	v->seg = 0;
	seal_next(v, 0);
}

/* The footer of what was accepted in the segment. */
static uint32_t
footer_make(struct recovery *v)
{
	struct cache *c = v->c;
	const struct found_seg *fs = &v->segs[v->seg];
	struct segment *s = &c->segs[v->seg];
	struct cache_footer foot = {
	    .generation = fs->head.generation,
	    .epoch = fs->head.epoch,
	    .stream = fs->head.stream,
	    .used_blocks = s->unit,
	    .bytes = sizeof(struct cf_footer),
	};
	if (!buf_room(v, c->geo.footer_blocks))
		return 0;
	memset(v->buf, 0, (size_t)c->geo.footer_blocks << CF_BLOCK_SHIFT);
	for (uint32_t i = fs->rec_first; i < fs->rec_end; i++) {
		const struct found_rec *f = &v->recs[i];
		if (!f->accepted)
			continue;
		memcpy((char *)v->buf + foot.bytes, f->bytes, f->r.bytes);
		foot.bytes += cache_footer_need(f->r.bytes);
		foot.record_count++;
	}
	s->records = foot.record_count;
	s->changed = true;
	cache_footer_encode(&c->geo, c->uuid, v->seg, &foot, v->buf);
	return (foot.bytes + CF_BLOCK_BYTES - 1) >> CF_BLOCK_SHIFT;
}

static void
sealed_one(struct recovery *v, int result)
{
	v->seg++;
	seal_next(v, result);
}

static void
seal_next(struct recovery *v, int result)
{
	struct cache *c = v->c;
	if (result < 0) {
		recovery_fail(v, result, "%s: a footer can't be written", blk_get_name(c->ssd));
		return;
	}
	while (v->seg < c->geo.segment_count &&
	       (v->segs[v->seg].kind != FOUND_UNSEALED || MUTANT(NO_SEAL) || MUTANT(NO_EPOCH)))
		v->seg++;
	if (v->seg == c->geo.segment_count) {
		c->super.end[CF_W] = v->last[CF_W];
		c->super.end[CF_G] = v->last[CF_G];
		if (!MUTANT(NO_EPOCH))
			c->super.epoch++;
		if (!c->pack.found)
			c->super.incompat &= ~(uint64_t)CF_INCOMPAT_PACKED;
		memcpy(c->super.host, v->args.host, sizeof c->super.host);
		cache_super_write(c, epoch_written, v);
		return;
	}
	uint32_t blocks = footer_make(v);
	if (blocks == 0) {
		no_memory(v, -ENOMEM);
		return;
	}
	v->next = sealed_one;
	struct cache_io *x = cache_io_get(c, io_done, v);
	cache_io_buf(x, v->buf, (uint64_t)blocks << CF_BLOCK_SHIFT);
	cache_ssd_write(x, cache_footer_block(&c->geo, v->seg), blocks, BLK_FUA);
}

static void
epoch_written(void *ctx, int result)
{
	struct recovery *v = ctx;
	struct cache *c = v->c;
	if (result < 0) {
		recovery_fail(
		    v, result, "%s: the superblocks can't be written", blk_get_name(c->ssd));
		return;
	}
	for (unsigned s = 0; s < CF_STREAM_COUNT; s++) {
		struct cache_log *l = &c->logs[s];
		l->acked = s == CF_F ? v->head.pos[s] : v->last[s];
		l->seq = l->acked.seq;
	}
	c->ver = MUTANT(VER_FROM_HEADER) ? v->head.ver : v->max_ver;
	c->orders = v->max_ver + 1;
	c->ck.number = v->max_checkpoint;
	end(v, 0);
}
