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

#define SLOTS_AT_ONCE 64u
#define WINDOW_BLOCKS 64u
#define FOOTER_FIRST_BLOCKS 8u

static void read_super(struct recovery *v, int result);
static void got_super(struct recovery *v, int result);
static void got_table(struct recovery *v, int result);
static void got_head(struct recovery *v, int result);
static void got_slots(struct recovery *v, int result);
static void got_seghead(struct recovery *v, int result);
static void got_footer(struct recovery *v, int result);
static void got_footer_rest(struct recovery *v, int result);
static void got_window(struct recovery *v, int result);
static void next_segment(struct recovery *v);
static void scan(struct recovery *v);
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
	cache_later(v->c, ended, v, result);
}

static void __attribute__((format(printf, 3, 4)))
fail(struct recovery *v, int err, const char *fmt, ...)
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

static void
read_at(struct recovery *v, uint64_t block, uint32_t count, uint32_t skip,
    void (*next)(struct recovery *, int))
{
	v->next = next;
	if (skip + count > v->buf_blocks) {
		void *n = cache_pages_alloc((size_t)(skip + count) << CF_BLOCK_SHIFT);
		ASSERT(n != NULL);
		if (skip > 0)
			memcpy(n, v->buf, (size_t)skip << CF_BLOCK_SHIFT);
		free(v->buf);
		v->buf = n;
		v->buf_blocks = skip + count;
	}
	struct cache_io *x = cache_io_get(v->c, read_done, v);
	x->b = count;
	cache_io_buf(x, (char *)v->buf + ((size_t)skip << CF_BLOCK_SHIFT),
	    (uint64_t)count << CF_BLOCK_SHIFT);
	cache_ssd_read(x, block, count);
}

void
cache_attach(const struct cache_args *args, cache_attach_fn *done, void *ctx)
{
	struct recovery *v = calloc(1, sizeof *v);
	ASSERT(v != NULL);
	*v = (struct recovery){.args = *args, .done = done, .ctx = ctx};
	v->c = cache_alloc(args);
	ASSERT(v->c != NULL);
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
		fail(v, result, "%s: can't be flushed: %s", blk_get_name(v->c->ssd),
		    strerror(-result));
		return;
	}
	read_at(v, 0, 2, 0, got_super);
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
			v->have_super = true;
		}
	}
	if (v->newer || (v->have_super && (c->super.ro_compat & ~CF_RO_COMPAT_KNOWN) != 0)) {
		fail(v, -EPROTONOSUPPORT, "%s: was written by a newer version", name);
		return;
	}
	if (!v->have_super) {
		fail(v, result < 0 ? result : -EMEDIUMTYPE,
		    "%s: holds no cache (or a truncated one); format it first", name);
		return;
	}
	memcpy(c->uuid, c->super.uuid, sizeof c->uuid);
	c->geo = c->super.geo;
	c->is_void = false;
	v->segs = calloc(c->geo.segment_count, sizeof *v->segs);
	if (v->segs == NULL || cache_size(c) < 0) {
		fail(v, -ENOMEM, "%s: not enough memory for its index", name);
		return;
	}
	read_at(v, c->geo.voltable_block, 2 * c->geo.voltable_blocks, 0, got_table);
}

static void
got_table(struct recovery *v, int result)
{
	struct cache *c = v->c;
	uint32_t most = cache_geometry_volumes_max(&c->geo);
	struct cache_volrow *rows = calloc(most, sizeof *rows);
	ASSERT(rows != NULL);
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
		fail(v, -EUCLEAN, "%s: both volume tables are damaged", blk_get_name(c->ssd));
		return;
	}
	for (uint32_t i = 0; i < c->vt.count; i++)
		ASSERT(cache_volume_make(c, &c->vt.rows[i]) != NULL);
	read_at(v, c->geo.checkpoint_block, 2, 0, got_head);
}

static void
got_head(struct recovery *v, int result)
{
	struct cache *c = v->c;
	if (result < 0 && !v->args.accept_loss) {
		/* The one that can't be read may be the newer one: the older one would bring back what is dead. */
		fail(v, result, "%s: its checkpoints can't be read", blk_get_name(c->ssd));
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
		fail(v, -EUCLEAN, "%s: both checkpoint headers are damaged", blk_get_name(c->ssd));
		return;
	}
	c->ck.owed = number[0] != number[1];
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
	ASSERT(f->slot_bits != NULL);
	memcpy(f->slot_bits + k * 2 * bits, s.dead, bits);
	memcpy(f->slot_bits + (k * 2 + 1) * bits, s.clean, bits);
}

/* result 1: nothing was read yet. */
static void
got_slots(struct recovery *v, int result)
{
	struct cache *c = v->c;
	uint32_t n = c->geo.segment_count;
	if (result < 0 && !v->args.accept_loss) {
		/* As with the headers: the older slot of a segment says less of what is dead. */
		fail(v, result, "%s: what is live in it can't be read", blk_get_name(c->ssd));
		return;
	}
	if (result != 1) {
		uint32_t count = n - v->seg < SLOTS_AT_ONCE ? n - v->seg : SLOTS_AT_ONCE;
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
		v->slots_wrong = !recovery_slots_right(v);
		next_segment(v);
		return;
	}
	uint32_t count = n - v->seg < SLOTS_AT_ONCE ? n - v->seg : SLOTS_AT_ONCE;
	read_at(v, cache_slot_block(&c->geo, v->seg, v->which), count, 0, got_slots);
}

/* ---- segments ------------------------------------------------------------------------------------------- */

static void
next_segment(struct recovery *v)
{
	struct cache *c = v->c;
	if (v->no_memory || (v->seg == c->geo.segment_count && !recovery_sort(v))) {
		fail(v, -ENOMEM, "%s: not enough memory for its log", blk_get_name(c->ssd));
		return;
	}
	if (v->seg == c->geo.segment_count) {
		v->missing = !recovery_before(v, CF_W) + !recovery_before(v, CF_G);
		v->stream = CF_W;
		recovery_chain_start(v);
		chain(v);
		return;
	}
	read_at(v, cache_segment_block(&c->geo, v->seg), 1, 0, got_seghead);
}

static void
segment_done(struct recovery *v)
{
	v->seg++;
	next_segment(v);
}

static void
bits_apply(struct recovery *v, struct found_seg *f)
{
	struct cache *c = v->c;
	size_t bits = (c->geo.data_blocks + 7) / 8;
	struct segment *s = &c->segs[v->seg];
	cache_segment_reset(c, s);
	if (f->bits)
		memcpy(s->dead, f->slot_bits + (size_t)f->in_force * 2 * bits, 2 * bits);
	free(f->slot_bits);
	f->slot_bits = NULL;
}

static void
segment_lost(struct recovery *v)
{
	v->segs[v->seg].kind = FOUND_LOST;
	v->c->segs[v->seg].state = SEG_LOST;
	v->lost++;
}

/* The first record of the segment was read: is there one, of the generation expected or above? */
static bool
has_record(struct recovery *v, int result, uint64_t generation)
{
	struct cache *c = v->c;
	uint32_t most = c->geo.data_blocks < WINDOW_BLOCKS ? c->geo.data_blocks : WINDOW_BLOCKS;
	struct cache_record r;
	return result < 0 || (cache_record_decode(&c->geo, c->uuid, v->seg, 0, v->buf,
	                          (size_t)most << CF_BLOCK_SHIFT, &r) &&
	                         r.generation >= generation);
}

static void
first_read(struct recovery *v, void (*next)(struct recovery *, int))
{
	const struct cache_geometry *g = &v->c->geo;
	read_at(v, cache_data_block(g, v->seg, 0),
	    g->data_blocks < WINDOW_BLOCKS ? g->data_blocks : WINDOW_BLOCKS, 0, next);
}

/* Its header is damaged, and the slot says free. Torn while being opened, it has no record yet. */
static void
got_first(struct recovery *v, int result)
{
	if (has_record(v, result, v->c->segs[v->seg].generation))
		segment_lost(v);
	segment_done(v);
}

static void
got_seghead(struct recovery *v, int result)
{
	struct cache *c = v->c;
	struct found_seg *f = &v->segs[v->seg];
	struct segment *s = &c->segs[v->seg];
	f->head_ok =
	    result == 0 && cache_seghead_decode(&c->geo, c->uuid, v->seg, v->buf, &f->head);
	recovery_judge(v, v->seg);
	bits_apply(v, f);
	s->state = f->kind == FOUND_FREE ? SEG_FREE : SEG_SEALED;
	s->stream = f->head.stream;
	s->epoch = f->head.epoch;
	/* A read error may pass. */
	if (result < 0 && !v->args.accept_loss) {
		fail(v, result, "%s: the header of segment %u can't be read", blk_get_name(c->ssd),
		    v->seg);
		return;
	}
	if (f->kind == FOUND_LOST || result < 0)
		segment_lost(v);
	if (f->kind == FOUND_FREE && !f->head_ok) {
		first_read(v, got_first);
		return;
	}
	if (f->kind != FOUND_UNSEALED) {
		segment_done(v);
		return;
	}
	uint32_t n =
	    c->geo.footer_blocks < FOOTER_FIRST_BLOCKS ? c->geo.footer_blocks : FOOTER_FIRST_BLOCKS;
	read_at(v, cache_footer_block(&c->geo, v->seg), n, 0, got_footer);
}

static void
got_footer(struct recovery *v, int result)
{
	struct cache *c = v->c;
	uint32_t have =
	    c->geo.footer_blocks < FOOTER_FIRST_BLOCKS ? c->geo.footer_blocks : FOOTER_FIRST_BLOCKS;
	uint32_t bytes = cache_footer_bytes(&c->geo, c->uuid, v->seg, v->buf);
	uint32_t blocks = (bytes + CF_BLOCK_BYTES - 1) >> CF_BLOCK_SHIFT;
	if (result == 0 && blocks > have)
		read_at(v, cache_footer_block(&c->geo, v->seg) + have, blocks - have, have,
		    got_footer_rest);
	else
		got_footer_rest(v, result);
}

/* Without a footer: what may be in such a segment? */
/* Of an epoch long ended: empty, or its footer is gone. */
static void
got_old(struct recovery *v, int result)
{
	const struct found_seg *f = &v->segs[v->seg];
	if (f->used > 0 || has_record(v, result, f->head.generation))
		segment_lost(v);
	else
		v->segs[v->seg].kind = FOUND_EMPTY;
	segment_done(v);
}

static void
unsealed(struct recovery *v)
{
	struct cache *c = v->c;
	struct found_seg *f = &v->segs[v->seg];
	if (f->head.stream == CF_F) {
		f->kind = FOUND_EMPTY;
		segment_done(v);
		return;
	}
	/* Recovery seals, and so does the end of an epoch: an older one had a footer. */
	if (f->head.epoch + 1 < c->super.epoch && !MUTANT(NO_SEAL) && !MUTANT(NO_EPOCH)) {
		first_read(v, got_old);
		return;
	}
	v->unit = v->window = 0;
	v->beyond = v->decayed = false;
	scan(v);
}

static void
got_footer_rest(struct recovery *v, int result)
{
	struct cache *c = v->c;
	struct found_seg *f = &v->segs[v->seg];
	struct cache_footer foot;
	size_t cap = (size_t)v->buf_blocks << CF_BLOCK_SHIFT;
	if (result < 0 && f->head.stream != CF_F) {
		fail(v, result, "%s: the footer of segment %u can't be read", blk_get_name(c->ssd),
		    v->seg);
		return;
	}
	size_t most = (size_t)c->geo.footer_blocks << CF_BLOCK_SHIFT;
	cap = cap < most ? cap : most;
	if (!cache_footer_decode(&c->geo, c->uuid, v->seg, v->buf, cap, &foot) ||
	    foot.generation != f->head.generation || foot.stream != f->head.stream) {
		unsealed(v);
		return;
	}
	f->kind = FOUND_SEALED;
	recovery_footer(v, v->seg, v->buf, &foot);
	segment_done(v);
}

/* ---- records of an unsealed segment ---------------------------------------------------------------------- */

static void
window_read(struct recovery *v)
{
	struct cache *c = v->c;
	uint32_t left = c->geo.data_blocks - v->unit;
	v->window = v->unit;
	read_at(v, cache_data_block(&c->geo, v->seg, v->unit),
	    left < WINDOW_BLOCKS ? left : WINDOW_BLOCKS, 0, got_window);
}

static void
scan(struct recovery *v)
{
	if (v->unit < v->c->geo.data_blocks) {
		window_read(v);
		return;
	}
	if (v->decayed)
		segment_lost(v);
	segment_done(v);
}

/* Looks at one place. False: the window has to move first. */
static bool
scan_one(struct recovery *v)
{
	struct cache *c = v->c;
	const struct found_seg *f = &v->segs[v->seg];
	uint32_t left = c->geo.data_blocks - v->window;
	uint32_t have = left < WINDOW_BLOCKS ? left : WINDOW_BLOCKS;
	uint32_t at = v->unit - v->window;
	if (at >= have)
		return false;
	const char *p = (char *)v->buf + (size_t)at * CF_BLOCK_BYTES;
	struct cache_record r;
	bool ok = cache_record_decode(&c->geo, c->uuid, v->seg, v->unit, p,
	              (size_t)(have - at) * CF_BLOCK_BYTES, &r) &&
	          r.generation == f->head.generation && r.stream == f->head.stream;
	/* A header may reach into the next window. */
	if (!ok && at > 0 && have < left && have - at < CACHE_RECORD_HEADER_BLOCKS_MAX / 2 &&
	    !v->beyond)
		return false;
	if (!ok) {
		/* Up to there all of it was acknowledged: here something has decayed. */
		if (!v->beyond && v->unit < f->used && !MUTANT(NO_USED))
			v->decayed = true;
		v->beyond = true;
		v->unit++;
		return true;
	}
	if (r.epoch == c->super.epoch && r.durable_seq > v->durable[r.stream])
		v->durable[r.stream] = r.durable_seq;
	if (!v->beyond)
		recovery_add(v, v->seg, &r, false);
	v->unit += r.header_blocks + r.payload_blocks;
	return true;
}

static void
got_window(struct recovery *v, int result)
{
	if (result < 0) {
		fail(v, result, "%s: segment %u can't be read", blk_get_name(v->c->ssd), v->seg);
		return;
	}
	while (v->unit < v->c->geo.data_blocks)
		if (!scan_one(v))
			break;
	scan(v);
}

/* ---- the chains -------------------------------------------------------------------------------------------- */

static void
link_taken(struct recovery *v, const struct found_rec *f)
{
	v->last[v->stream] = (struct cache_position){f->r.epoch, f->r.seq, f->r.crc};
}

static void seal_start(struct recovery *v);

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
	const char *name = blk_get_name(v->c->ssd);
	if (v->lied)
		cache_set_condition(v->c, CACHE_COND_DRIVE_LIED, true, name);
	if (v->lied && !v->args.accept_loss) {
		fail(v, -EUCLEAN,
		    "%s: lost writes that it had called durable (records %llu to %llu)", name,
		    (unsigned long long)v->last[CF_W].seq + 1,
		    (unsigned long long)v->durable[CF_W]);
		return;
	}
	if (v->lost > 0 || v->missing > 0 || v->slots_wrong)
		cache_set_condition(v->c, CACHE_COND_DATA_LOST, true, name);
	if ((v->slots_wrong || v->missing > 0) && !v->args.accept_loss) {
		fail(v, -EUCLEAN,
		    v->slots_wrong ? "%s: what it knows of its segments is damaged"
		                   : "%s: acknowledged records are damaged",
		    name);
		return;
	}
	if (v->lost > 0 && !v->args.accept_loss) {
		fail(v, -EUCLEAN, "%s: %u segments are damaged", name, v->lost);
		return;
	}
	recovery_accept(v);
	seal_start(v);
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
			read_at(v, cache_data_block(&c->geo, f->seg, unit), f->r.payload_blocks, 0,
			    got_payload);
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
	if (v->buf_blocks < c->geo.footer_blocks) {
		free(v->buf);
		v->buf = cache_pages_alloc((size_t)c->geo.footer_blocks << CF_BLOCK_SHIFT);
		ASSERT(v->buf != NULL);
		v->buf_blocks = c->geo.footer_blocks;
	}
	memset(v->buf, 0, (size_t)c->geo.footer_blocks << CF_BLOCK_SHIFT);
	for (uint32_t i = 0; i < v->rec_count; i++) {
		const struct found_rec *f = &v->recs[i];
		if (f->seg != v->seg || !f->accepted)
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
		fail(v, result, "%s: a footer can't be written", blk_get_name(c->ssd));
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
		memcpy(c->super.host, v->args.host, sizeof c->super.host);
		cache_super_write(c, epoch_written, v);
		return;
	}
	uint32_t blocks = footer_make(v);
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
		fail(v, result, "%s: the superblocks can't be written", blk_get_name(c->ssd));
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
