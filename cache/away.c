/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An SSD that disappears while it is used, and returns.
 *
 *	gone ─▶ nothing is asked of it; void for writes [4] ─▶ answers again ─▶ superblocks, checkpoint headers and
 *	the last record that was acknowledged are read ─▶ all are what was left there: it goes on; what was owed
 *	                                                   (epoch.c, checkpoint.c, voltable.c) is made up for first
 *	                                               └─▶ one isn't: another SSD, or an old copy of this one
 *
 * On the latter not a byte is written, and none of it is believed: a block of it that differs would be taken for
 * decay of the only copy. That it lost what wasn't flushed before it went, a device says by failing the next
 * flush (store/blk.h).
 */
#include "cache/cache_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LOOK_BLOCKS 5u /* two superblocks, two headers, a record's first block */

static void look_next(struct cache *c);

void
cache_away_refuse(struct cache_io *x, struct blk *b)
{
	struct cache *c = x->c;
	x->io.blk = b;
	x->io.submit_ns = loop_now_ns(c->home);
	x->io.result = -ENODEV;
	list_push_back(&c->away.refused, &x->io.link);
	if (!loop_defer_queued(&c->away.defer))
		loop_defer(c->home, &c->away.defer);
}

static void
refused_run(struct loop_defer *d)
{
	struct cache *c = container_of(d, struct cache, away.defer);
	struct list all = LIST_INIT(all);
	list_splice_back(&all, &c->away.refused);
	for (struct list *n; (n = list_pop_front(&all)) != NULL;) {
		struct blk_io *io = container_of(n, struct blk_io, link);
		io->done(io);
	}
}

void
cache_away_init(struct cache *c)
{
	list_init(&c->away.refused);
	loop_defer_init(&c->away.defer, refused_run);
}

void
cache_away_note(struct cache_log *l)
{
	struct cache *c = l->c;
	if (l->stream != CF_W)
		return;
	c->away.has_record = true;
	c->away.record_seg = l->seg;
	c->away.record_unit = l->rec.unit;
	c->away.record_generation = l->rec.generation;
	memcpy(c->away.record, l->header, sizeof c->away.record);
}

/* ---- is it the same one? --------------------------------------------------------------------------------- */

static const void *
block(const struct cache *c, unsigned i)
{
	return (const char *)c->away.buf + (size_t)i * CF_BLOCK_BYTES;
}

static bool
same_position(const struct cache_position *a, const struct cache_position *b)
{
	return a->epoch == b->epoch && a->seq == b->seq && a->crc == b->crc;
}

static bool
same_super(const struct cache_super *a, const struct cache_super *b)
{
	bool same = a->generation == b->generation && a->epoch == b->epoch &&
	            memcmp(a->uuid, b->uuid, sizeof a->uuid) == 0 &&
	            memcmp(a->host, b->host, sizeof a->host) == 0;
	for (unsigned i = 0; i < CF_STREAM_COUNT; i++)
		same = same && same_position(&a->end[i], &b->end[i]);
	return same;
}

/* The newest is what was durable last, or what was being written. */
static bool
supers_fit(const struct cache *c)
{
	struct cache_super newest, s;
	bool have = false;
	for (unsigned k = 0; k < 2; k++)
		if (cache_super_decode(block(c, k), k, blk_get_info(c->ssd)->size_bytes, &s) ==
		        CF_OK &&
		    (!have || s.generation > newest.generation)) {
			newest = s;
			have = true;
		}
	return have && (same_super(&newest, &c->sb.durable) || same_super(&newest, &c->super));
}

static bool
headers_fit(const struct cache *c)
{
	struct cache_ckhead h;
	uint64_t newest = 0;
	for (unsigned k = 0; k < 2; k++)
		if (cache_ckhead_decode(&c->geo, c->uuid, k, block(c, 2 + k), &h) &&
		    h.number > newest)
			newest = h.number;
	return newest >= c->ck.durable && newest <= c->ck.number;
}

/* Its first bytes have the CRC of the others, and its number. */
static bool
record_fits(const struct cache *c)
{
	return !c->away.has_record || MUTANT(AWAY_NO_RECORD) ||
	       memcmp(block(c, 4), c->away.record, sizeof c->away.record) == 0;
}

static void
look_end(struct cache *c, const char *wrong)
{
	bool again = c->away.again;
	c->away.looking = c->away.again = false;
	free(c->away.buf);
	c->away.buf = NULL;
	if (again) { /* it went, or came, meanwhile */
		if (c->away.there)
			cache_ssd_event(c, false);
		return;
	}
	if (wrong != NULL) {
		cache_set_condition(c, CACHE_COND_SSD_GONE, false, NULL);
		cache_set_condition(c, CACHE_COND_SSD_GONE, true, wrong);
		return;
	}
	c->away.is_away = false;
	cache_set_condition(c, CACHE_COND_SSD_GONE, false, NULL);
	cache_give_up_end(c);
	cache_log_kick(c);
	LIST_FOREACH (n, &c->volumes)
		cache_destage_kick(container_of(n, struct cache_volume, link));
}

static void
looked(struct cache_io *x, int result)
{
	struct cache *c = x->c;
	if (result < 0 || c->away.again) {
		look_end(c, "it is back and can't be read");
		return;
	}
	if (++c->away.next < LOOK_BLOCKS) {
		look_next(c);
		return;
	}
	if (MUTANT(AWAY_ANY) || (supers_fit(c) && headers_fit(c) && record_fits(c)))
		look_end(c, NULL);
	else
		look_end(c, "what is there now is another one, or an old copy of it");
}

static void
look_next(struct cache *c)
{
	unsigned i = c->away.next;
	uint64_t at = i < 2 ? i : c->geo.checkpoint_block + i - 2;
	if (i == 4)
		at = c->away.has_record
		         ? cache_data_block(&c->geo, c->away.record_seg, c->away.record_unit)
		         : 0;
	struct cache_io *x = cache_io_get(c, looked, NULL);
	x->looks = true;
	cache_io_buf(x, (char *)c->away.buf + (size_t)i * CF_BLOCK_BYTES, CF_BLOCK_BYTES);
	cache_ssd_read(x, at, 1);
}

/* The segment of the last record may have been used for something else since. */
static void
record_check(struct cache *c)
{
	if (c->away.has_record &&
	    c->segs[c->away.record_seg].generation != c->away.record_generation)
		c->away.has_record = false;
}

/* Nothing of the cache's may be on its way to it: what is read would be of no one instant. */
static bool
writing(const struct cache *c)
{
	return c->logs[CF_W].busy || c->epoch_writing || c->sb.done != NULL;
}

static void
look(struct cache *c)
{
	if (writing(c)) {
		c->away.wants = true; /* the tick */
		return;
	}
	c->away.wants = false;
	c->away.buf = cache_pages_alloc(LOOK_BLOCKS * CF_BLOCK_BYTES);
	if (c->away.buf == NULL) {
		c->away.wants = true;
		return;
	}
	record_check(c);
	c->away.looking = true;
	c->away.next = 0;
	look_next(c);
}

void
cache_away_tick(struct cache *c)
{
	if (c->away.wants && !c->away.looking && c->away.there && !c->stopping)
		look(c);
}

void
cache_ssd_event(struct cache *c, bool gone)
{
	/* Cut off under the cache, it is as good as gone: what is left isn't used without the rest. */
	bool cut = !gone && blk_get_info(c->ssd)->size_bytes >> CF_BLOCK_SHIFT < c->geo.size_blocks;
	gone |= cut;
	c->away.there = !gone;
	if (c->away.looking) {
		c->away.again = true;
		return;
	}
	if (gone) {
		c->away.is_away = c->is_void = true;
		c->away.wants = false;
		cache_set_condition(c, CACHE_COND_SSD_GONE, false, NULL);
		cache_set_condition(c, CACHE_COND_SSD_GONE, true,
		    cut ? "it has become smaller than the cache on it: give it back its size"
		        : "it doesn't answer any more");
	} else if (c->away.is_away && !c->stopping) {
		look(c);
	}
}
