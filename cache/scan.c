/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Recovery, step 3: every segment, in order; headers and footers are read ahead, many at a time. Without a
 * footer, the records of a segment are looked at one by one.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cache/recover.h"

#define AHEAD 16u
#define WINDOW_BLOCKS 64u
#define FOOTER_FIRST_BLOCKS 8u
#define FIRST_BLOCKS 16u /* of a segment: no record's header is longer */

/* The header and the footer of one segment, on their way. */
struct recovery_ahead {
	struct recovery *v;
	uint32_t seg, pending, foot_blocks;
	bool has_first;
	int head_result, foot_result;
	char *head, *foot;
};

static void run(struct recovery *v);
static void scan(struct recovery *v);
static void got_window(struct recovery *v, int result);

/* ---- reading ahead ---------------------------------------------------------------------------------- */

static bool
ahead_make(struct recovery *v)
{
	const struct cache_geometry *g = &v->c->geo;
	v->ahead_count = g->segment_count < AHEAD ? g->segment_count : AHEAD;
	v->ahead = calloc(v->ahead_count, sizeof *v->ahead);
	for (uint32_t i = 0; v->ahead != NULL && i < v->ahead_count; i++) {
		struct recovery_ahead *a = &v->ahead[i];
		a->v = v;
		a->head = cache_pages_alloc(CF_BLOCK_BYTES);
		a->foot = cache_pages_alloc((size_t)g->footer_blocks << CF_BLOCK_SHIFT);
		if (a->head == NULL || a->foot == NULL)
			return false;
	}
	return v->ahead != NULL;
}

void
recovery_ahead_free(struct recovery *v)
{
	for (uint32_t i = 0; v->ahead != NULL && i < v->ahead_count; i++) {
		free(v->ahead[i].head);
		free(v->ahead[i].foot);
	}
	free(v->ahead);
	v->ahead = NULL;
}

static void
ahead_read(struct recovery_ahead *a, void (*done)(struct cache_io *, int), uint64_t block,
    char *buf, uint32_t count)
{
	struct cache_io *x = cache_io_get(a->v->c, done, a);
	a->pending++;
	a->v->ahead_pending++;
	cache_io_buf(x, buf, (uint64_t)count << CF_BLOCK_SHIFT);
	cache_ssd_read(x, block, count);
}

static void
ahead_ended(struct recovery_ahead *a)
{
	struct recovery *v = a->v;
	a->pending--;
	v->ahead_pending--;
	if (v->ending)
		recovery_ahead_ended(v);
	else if (a->pending == 0 && a->seg == v->seg && v->waits)
		run(v);
}

static void
ahead_head(struct cache_io *x, int result)
{
	struct recovery_ahead *a = x->ctx;
	a->head_result = result;
	ahead_ended(a);
}

static void
ahead_foot(struct cache_io *x, int result)
{
	struct recovery_ahead *a = x->ctx;
	const struct cache *c = x->c;
	uint32_t have = a->foot_blocks;
	if (result < 0)
		a->foot_result = result;
	if (result == 0 && !a->has_first && !a->v->ending) {
		uint32_t bytes = cache_footer_bytes(&c->geo, c->uuid, a->seg, a->foot);
		uint32_t blocks = (bytes + CF_BLOCK_BYTES - 1) >> CF_BLOCK_SHIFT;
		a->has_first = true;
		if (blocks > have) {
			a->foot_blocks = blocks;
			ahead_read(a, ahead_foot, cache_footer_block(&c->geo, a->seg) + have,
			    a->foot + ((size_t)have << CF_BLOCK_SHIFT), blocks - have);
		}
	}
	ahead_ended(a);
}

static void
ahead_start(struct recovery *v)
{
	const struct cache_geometry *g = &v->c->geo;
	while (v->ahead_next < v->covered && v->ahead_next < v->seg + v->ahead_count) {
		uint32_t seg = v->ahead_next++;
		struct recovery_ahead *a = &v->ahead[seg % v->ahead_count];
		a->seg = seg;
		a->has_first = false;
		a->head_result = a->foot_result = 0;
		a->foot_blocks =
		    g->footer_blocks < FOOTER_FIRST_BLOCKS ? g->footer_blocks : FOOTER_FIRST_BLOCKS;
		ahead_read(a, ahead_head, cache_segment_block(g, seg), a->head, 1);
		ahead_read(a, ahead_foot, cache_footer_block(g, seg), a->foot, a->foot_blocks);
	}
}

/* ---- segments --------------------------------------------------------------------------------------- */

static void
segment_done(struct recovery *v)
{
	v->segs[v->seg].rec_end = v->rec_count;
	v->seg++;
	if (!v->in_run)
		run(v);
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

static uint32_t
first_blocks(const struct recovery *v)
{
	uint32_t n = v->c->geo.data_blocks;
	return n < FIRST_BLOCKS ? n : FIRST_BLOCKS;
}

static void
segment_lost(struct recovery *v)
{
	v->segs[v->seg].kind = FOUND_LOST;
	v->segs[v->seg].is_damaged = true;
	v->c->segs[v->seg].state = SEG_LOST;
	v->lost++;
}

/* The first blocks of the data area were read: the record there. False: there is none. */
static bool
first_record(struct recovery *v, int result, struct cache_record *r)
{
	struct cache *c = v->c;
	return result == 0 && cache_record_decode(&c->geo, c->uuid, v->seg, 0, v->buf,
	                          (size_t)first_blocks(v) << CF_BLOCK_SHIFT, r);
}

static void
first_read(struct recovery *v, void (*next)(struct recovery *, int))
{
	recovery_read(v, cache_data_block(&v->c->geo, v->seg, 0), first_blocks(v), next);
}

/* Without a footer, of an epoch long ended: empty, or its footer is gone. */
static void
got_old(struct recovery *v, int result)
{
	const struct found_seg *f = &v->segs[v->seg];
	struct cache_record r;
	bool any = first_record(v, result, &r) && r.generation >= f->head.generation;
	if (f->used > 0 || result < 0 || any)
		segment_lost(v);
	else
		v->segs[v->seg].kind = FOUND_EMPTY;
	segment_done(v);
}

/* Without a footer: what may be in such a segment? */
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
	v->beyond = false;
	scan(v);
}

static void
footer(struct recovery *v, const struct recovery_ahead *a)
{
	struct cache *c = v->c;
	struct found_seg *f = &v->segs[v->seg];
	struct cache_footer foot;
	size_t cap = (size_t)a->foot_blocks << CF_BLOCK_SHIFT;
	if (a->foot_result < 0 && f->head.stream != CF_F) {
		c->stats.ssd_errors++;
		recovery_fail(v, a->foot_result, "%s: the footer of segment %u can't be read",
		    blk_get_name(c->ssd), v->seg);
		return;
	}
	if (a->foot_result < 0 ||
	    !cache_footer_decode(&c->geo, c->uuid, v->seg, a->foot, cap, &foot) ||
	    foot.generation != f->head.generation || foot.stream != f->head.stream) {
		unsealed(v);
		return;
	}
	f->kind = FOUND_SEALED;
	recovery_footer(v, v->seg, a->foot, &foot);
	segment_done(v);
}

/* What lies where the slot in force says in use, or has opened since it said free. */
static bool
is_of_now(const struct found_slot *k, uint64_t generation)
{
	return k != NULL && (k->in_use ? generation == k->generation : generation > k->generation);
}

static void
segment(struct recovery *v)
{
	struct cache *c = v->c;
	const struct recovery_ahead *a = &v->ahead[v->seg % v->ahead_count];
	struct found_seg *f = &v->segs[v->seg];
	struct segment *s = &c->segs[v->seg];
	recovery_judge(v, v->seg);
	bits_apply(v, f);
	s->state = f->kind == FOUND_FREE ? SEG_FREE : SEG_SEALED;
	s->stream = f->head.stream;
	s->epoch = f->head.epoch;
	if (f->kind == FOUND_LOST)
		segment_lost(v);
	if (f->kind == FOUND_UNSEALED)
		footer(v, a);
	else
		segment_done(v);
}

/* Its header is damaged, and there is no footer: its first record says as much. Torn while being opened, it
 * has none yet. */
static void
got_first(struct recovery *v, int result)
{
	struct found_seg *f = &v->segs[v->seg];
	struct cache_record r;
	if (result < 0 && !v->args.accept_loss) {
		recovery_fail(
		    v, result, "%s: segment %u can't be read", blk_get_name(v->c->ssd), v->seg);
		return;
	}
	if (first_record(v, result, &r) && is_of_now(recovery_slot(v, v->seg), r.generation)) {
		f->head_ok = true;
		f->head = (struct cache_seghead){
		    .generation = r.generation, .epoch = r.epoch, .stream = r.stream};
	}
	segment(v);
}

static void
segment_begin(struct recovery *v, const struct recovery_ahead *a)
{
	struct cache *c = v->c;
	struct found_seg *f = &v->segs[v->seg];
	struct cache_footer foot;
	f->rec_first = v->rec_count;
	if (a->head_result < 0)
		c->stats.ssd_errors++;
	/* A read error may pass. */
	if (a->head_result < 0 && !v->args.accept_loss) {
		recovery_fail(v, a->head_result, "%s: the header of segment %u can't be read",
		    blk_get_name(c->ssd), v->seg);
		return;
	}
	f->head_ok = a->head_result == 0 &&
	             cache_seghead_decode(&c->geo, c->uuid, v->seg, a->head, &f->head);
	if (f->head_ok) {
		segment(v);
		return;
	}
	if (a->foot_result == 0 &&
	    cache_footer_decode(&c->geo, c->uuid, v->seg, a->foot,
	        (size_t)a->foot_blocks << CF_BLOCK_SHIFT, &foot) &&
	    is_of_now(recovery_slot(v, v->seg), foot.generation)) {
		f->head_ok = true;
		f->head = (struct cache_seghead){
		    .generation = foot.generation, .epoch = foot.epoch, .stream = foot.stream};
		segment(v);
		return;
	}
	first_read(v, got_first);
}

/* One after the other as long as none has to wait. */
static void
run(struct recovery *v)
{
	v->in_run = true;
	v->waits = false;
	for (uint32_t at = v->seg; at < v->covered && !v->no_memory; at = v->seg) {
		ahead_start(v);
		const struct recovery_ahead *a = &v->ahead[at % v->ahead_count];
		v->waits = a->pending > 0;
		if (!v->waits)
			segment_begin(v, a);
		if (v->ending || v->seg == at) {
			v->in_run = false;
			return;
		}
	}
	v->in_run = false;
	recovery_chains(v);
}

void
recovery_segments(struct recovery *v)
{
	v->seg = v->ahead_next = 0;
	v->no_memory |= !ahead_make(v);
	for (uint32_t i = v->covered; i < v->c->geo.segment_count; i++)
		recovery_uncovered(v, i);
	run(v);
}

/* ---- records of an unsealed segment ----------------------------------------------------------------- */

static void
scan(struct recovery *v)
{
	const struct cache_geometry *g = &v->c->geo;
	uint32_t left = g->data_blocks - v->unit;
	if (left == 0) {
		segment_done(v);
		return;
	}
	v->window = v->unit;
	recovery_read(v, cache_data_block(g, v->seg, v->unit),
	    left < WINDOW_BLOCKS ? left : WINDOW_BLOCKS, got_window);
}

/* No record begins there. */
static void
no_record(struct recovery *v)
{
	struct found_seg *f = &v->segs[v->seg];
	/* Up to there all of it was acknowledged: here something has decayed. */
	if (!v->beyond && v->unit < f->used && !MUTANT(NO_USED)) {
		f->is_damaged = true;
		v->lost++;
	}
	v->beyond = true;
	v->unit++;
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
		no_record(v);
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
		recovery_fail(
		    v, result, "%s: segment %u can't be read", blk_get_name(v->c->ssd), v->seg);
		return;
	}
	while (v->unit < v->c->geo.data_blocks)
		if (!scan_one(v))
			break;
	scan(v);
}
