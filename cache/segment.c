/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Segments: opening, closing, sealing, freeing.
 *
 *	FREE ─▶ OPENING ─▶ OPEN ─▶ CLOSED ─▶ SEALED ─▶ (checkpoint) ─▶ FREE
 *
 * Opening: the generation goes up, the header is durable, then records follow. A crash before the header
 * leaves the old one: the slot says that the segment is free at that generation. After it: nothing is in
 * it yet.
 * Sealing: all records are durable (W, G: they were acknowledged; F: a flush), then the footer is. A crash
 * before the footer leaves a segment whose records are judged one by one (W, G) or that is empty (F).
 * Freeing [6]: only by a checkpoint that began after the last block died. Reuse waits for reads.
 */
#include "cache/cache_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Free segments that a stream leaves for others [18]: G must always find one, W goes before F. */
static const uint32_t reserve[CF_STREAM_COUNT] = {[CF_W] = 1, [CF_F] = 2, [CF_G] = 0};

#define ERRORS_MAX 3u /* commits */

uint32_t
cache_segment_free_count(const struct cache *c)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < c->keep; i++)
		n += c->segs[i].state == SEG_FREE && !c->segs[i].bad && !c->segs[i].out;
	return n;
}

bool
cache_segment_all_dead(const struct segment *s)
{
	return s->state == SEG_SEALED && s->live == 0;
}

int
cache_segment_memory(struct cache *c, struct segment *s)
{
	size_t bits = (c->geo.data_blocks + 7) / 8;
	if (s->dead != NULL)
		return 0;
	s->dead = calloc(2, bits);
	s->crc = calloc(c->geo.data_blocks, sizeof *s->crc);
	if (s->dead == NULL || s->crc == NULL)
		return -ENOMEM;
	s->clean = s->dead + bits;
	return 0;
}

void
cache_segment_reset(struct cache *c, struct segment *s)
{
	size_t bits = (c->geo.data_blocks + 7) / 8;
	memset(s->dead, 0, 2 * bits);
	s->unit = s->acked = s->live = s->dirty = s->records = 0;
	s->foot_bytes = sizeof(struct cf_footer);
	s->map_count = 0;
	s->stuck = false;
}

void
cache_segment_pin(struct cache *c, uint32_t loc)
{
	seg_of(c, loc)->pins++;
}

void
cache_segment_unpin(struct cache *c, uint32_t loc)
{
	struct segment *s = seg_of(c, loc);
	ASSERT(s->pins > 0);
	if (--s->pins == 0 && s->state == SEG_FREE)
		cache_log_kick(c);
}

/* The free segment that was used longest ago, or LOC_NONE. `bad`: of those that failed. */
static uint32_t
pick(const struct cache *c, bool bad)
{
	uint32_t best = LOC_NONE;
	for (uint32_t i = 0; i < c->keep; i++) {
		const struct segment *s = &c->segs[i];
		bool usable = (s->state == SEG_FREE && !s->out) ||
		              (MUTANT(REUSE_NO_CHECKPOINT) && cache_segment_all_dead(s));
		if (!usable || s->bad != bad || (s->pins > 0 && !MUTANT(REUSE_READ_IN_FLIGHT)))
			continue;
		if (best == LOC_NONE || s->order < c->segs[best].order)
			best = i;
	}
	return best;
}

/* The SSD takes writes: what failed a few times only may have been a glitch of all of it. */
static void
well_again(struct cache *c)
{
	for (uint32_t i = 0; i < c->geo.segment_count; i++)
		if (c->segs[i].errors < ERRORS_MAX)
			c->segs[i].bad = false;
}

static void
header_done(struct cache_io *x, int result)
{
	struct cache_log *l = x->ctx;
	struct cache *c = l->c;
	struct segment *s = &c->segs[l->seg];
	free((void *)(uintptr_t)x->a);
	l->opening = false;
	if (result < 0) {
		/* Its slot says free at a lower generation, and nothing was written to it. */
		c->stats.ssd_errors++;
		cache_set_condition(c, CACHE_COND_SSD_WRITE, true, "a segment can't be opened");
		s->bad = true;
		s->state = SEG_FREE;
		free(s->foot);
		s->foot = NULL;
		l->seg = LOC_NONE;
		l->roomy = false;
		l->stalled = true;
	} else {
		s->state = SEG_OPEN;
		s->bad = false;
		well_again(c);
	}
	cache_epoch_check(c);
	cache_log_kick(c);
}

void
cache_segment_open(struct cache_log *l)
{
	struct cache *c = l->c;
	ASSERT(l->seg == LOC_NONE && !l->opening);
	l->blocked = false;
	if (c->epoch_ending || c->is_void || l->stalled)
		return;
	uint32_t free_count = cache_segment_free_count(c);
	bool few =
	    free_count <= reserve[l->stream] && !MUTANT(REUSE_NO_CHECKPOINT) && !MUTANT(NO_RESERVE);
	uint32_t seg = few ? LOC_NONE : pick(c, false);
	/* Others have failed: all of the SSD may have. One of them is tried again, once a tick. */
	if (seg == LOC_NONE && free_count == 0)
		seg = pick(c, true);
	if (seg == LOC_NONE) {
		l->blocked = true;
		return;
	}
	struct segment *s = &c->segs[seg];
	void *foot = cache_pages_alloc((size_t)c->geo.footer_blocks * CF_BLOCK_BYTES);
	void *head = cache_pages_alloc(CF_BLOCK_BYTES);
	ASSERT(foot != NULL && head != NULL);
	cache_segment_reset(c, s);
	s->generation++;
	s->epoch = c->super.epoch;
	s->order = ++c->orders;
	s->stream = l->stream;
	s->state = SEG_OPENING;
	s->changed = true;
	s->free_ck = false; /* a checkpoint under way speaks of the generation before */
	s->foot = foot;
	l->seg = seg;
	l->opening = true;
	l->roomy = free_count > CACHE_FREE_FOR_OTHERS;
	cache_tier_opened(c, seg, l == &c->logs[CACHE_LOG_MAIN] || l->stream == CF_G);
	struct cache_seghead h = {s->generation, s->epoch, l->seq + 1, l->stream};
	cache_seghead_encode(&c->geo, c->uuid, seg, &h, head);
	struct cache_io *x = cache_io_get(c, header_done, l);
	x->a = (uintptr_t)head;
	cache_io_buf(x, head, CF_BLOCK_BYTES);
	cache_ssd_write(x, cache_segment_block(&c->geo, seg), 1, BLK_FUA);
}

/* ---- sealing ----------------------------------------------------------------------------- */

static void seal(struct cache *c, uint32_t seg);

static void
seal_done(struct cache_io *x, int result)
{
	struct cache *c = x->c;
	struct segment *s = &c->segs[x->a];
	s->sealing = false;
	if (result < 0) {
		/* It stays as it is; the tick tries again. */
		c->stats.ssd_errors++;
		cache_set_condition(c, CACHE_COND_SSD_WRITE, true, "a footer can't be written");
		return;
	}
	s->state = SEG_SEALED;
	s->changed = true;
	free(s->foot);
	s->foot = NULL;
	cache_space_kick(c);
}

static void
seal_write(struct cache *c, uint32_t seg)
{
	struct segment *s = &c->segs[seg];
	struct cache_footer f = {
	    .generation = s->generation,
	    .epoch = s->epoch,
	    .stream = s->stream,
	    .record_count = s->records,
	    .used_blocks = s->unit,
	    .bytes = s->foot_bytes,
	};
	cache_footer_encode(&c->geo, c->uuid, seg, &f, s->foot);
	struct cache_io *x = cache_io_get(c, seal_done, NULL);
	x->a = seg;
	uint32_t blocks = (s->foot_bytes + CF_BLOCK_BYTES - 1) >> CF_BLOCK_SHIFT;
	cache_io_buf(x, s->foot, (uint64_t)blocks << CF_BLOCK_SHIFT);
	cache_ssd_write(x, cache_footer_block(&c->geo, seg), blocks, BLK_FUA);
}

static void
seal_flushed(struct cache_io *x, int result)
{
	if (result < 0)
		seal_done(x, result);
	else
		seal_write(x->c, (uint32_t)x->a);
}

static void
seal(struct cache *c, uint32_t seg)
{
	struct segment *s = &c->segs[seg];
	ASSERT(s->state == SEG_CLOSED && !s->sealing);
	s->sealing = true;
	if (s->stream != CF_F || MUTANT(FILL_NO_FLUSH)) {
		seal_write(c, seg);
		return;
	}
	struct cache_io *x = cache_io_get(c, seal_flushed, NULL);
	x->a = seg;
	cache_ssd_flush(x);
}

void
cache_segment_close(struct cache *c, uint32_t seg)
{
	struct segment *s = &c->segs[seg];
	if (s->state == SEG_OPEN)
		s->state = SEG_CLOSED;
	if (s->state == SEG_CLOSED && !s->sealing)
		seal(c, seg);
}
