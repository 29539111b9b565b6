/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The end of an epoch while running [4]: a commit failed, and whether its record lies on the SSD is
 * unknown. It must never count.
 *
 *	stop committing ─▶ close the segment, seal it with what was accepted ─▶ superblocks: epoch + 1,
 *	where the last one ended ─▶ commit again, from what wasn't acknowledged, in new segments
 *
 * A crash before the superblocks: the record is the tail of the chain; if it is whole, recovery takes it
 * (its writes had no answer), else not; nothing was acknowledged after it. After them: it has the old
 * epoch, above where that ended, and doesn't count. If the superblocks can't be written, the SSD is void:
 * writes fail from here on, reads and destage go on. The end of the epoch is still owed then: a record that
 * failed may be whole, so nothing may go round the log to the store before its epoch has ended durably
 * (mode.c). The tick repeats it; when it succeeds, the SSD isn't void any more.
 */
#include "cache/cache_priv.h"

void
cache_give_up(struct cache *c, const char *why)
{
	c->is_void = true;
	cache_set_condition(c, CACHE_COND_SSD_VOID, true, why);
}

void
cache_give_up_end(struct cache *c)
{
	if (!c->is_void || c->epoch_owed || cache_voltable_fails(c) || c->away.is_away)
		return;
	c->is_void = false;
	cache_set_condition(c, CACHE_COND_SSD_VOID, false, "the SSD takes writes again");
	cache_log_kick(c);
}

static void
epoch_written(void *ctx, int result)
{
	struct cache *c = ctx;
	c->epoch_ending = c->epoch_writing = false;
	c->epoch_owed = result < 0;
	if (result < 0)
		cache_give_up(c, "a commit failed, and then the superblocks couldn't be written");
	cache_give_up_end(c);
	cache_log_kick(c);
	LIST_FOREACH (n, &c->volumes)
		cache_destage_kick(container_of(n, struct cache_volume, link));
}

static void
requeue(struct cache_log *l)
{
	while (!list_empty(&l->inflight)) {
		struct list *n = l->inflight.prev;
		struct cache_req *r = container_of(n, struct cache_req, link);
		list_remove(n);
		list_push_front(&l->queue, n);
		/* A new ver, in the same order; a copy keeps what it copies [1]. */
		for (uint32_t i = 0; l->stream == CF_W && i < r->ents; i++)
			r->ent[i].ver = 0;
	}
}

/* Two epochs back an unsealed segment isn't believed any more: there must be none. */
static bool
has_old_unsealed(const struct cache *c)
{
	for (uint32_t i = 0; i < c->geo.segment_count; i++) {
		const struct segment *s = &c->segs[i];
		if (s->state == SEG_CLOSED && s->stream != CF_F && s->epoch < c->super.epoch)
			return true;
	}
	return false;
}

/* All that was on the way has ended: the epoch ends at what was acknowledged. */
static void
epoch_end(struct cache *c)
{
	static const enum cf_stream chained[] = {CF_W, CF_G};
	bool old = has_old_unsealed(c);
	for (unsigned i = 0; i < 2; i++) {
		struct cache_log *l = &c->logs[chained[i]];
		requeue(l);
		l->seq = l->acked.seq;
		c->super.end[l->stream] = l->acked;
		cache_log_close(l);
	}
	if (old) {
		c->epoch_ending = false;
		c->epoch_owed = c->epoch_begun = true;
		cache_give_up(c, "footers can't be written");
		cache_log_kick(c);
		return;
	}
	c->super.epoch++;
	c->epoch_writing = true;
	cache_super_write(c, epoch_written, c);
}

void
cache_epoch_retry(struct cache *c)
{
	if (!c->epoch_owed || c->epoch_writing || c->stopping || c->away.is_away ||
	    c->sb.done != NULL)
		return;
	if (c->epoch_begun) {
		if (has_old_unsealed(c))
			return;
		c->epoch_begun = false;
		c->super.epoch++;
	}
	c->epoch_writing = true;
	cache_super_write(c, epoch_written, c);
}

void
cache_epoch_check(struct cache *c)
{
	const struct cache_log *w = &c->logs[CF_W], *g = &c->logs[CF_G];
	if (!c->epoch_ending || c->epoch_writing || w->busy || w->opening || g->busy ||
	    g->opening || c->sb.done != NULL)
		return;
	epoch_end(c);
}

void
cache_epoch_end(struct cache *c, struct cache_log *l)
{
	c->stats.ssd_errors++;
	cache_set_condition(c, CACHE_COND_SSD_WRITE, true, "a commit failed");
	c->epoch_ending = true;
	c->segs[l->seg].bad = true;
	c->segs[l->seg].errors++;
	cache_epoch_check(c);
}
