/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How fast dirty data goes to the stores, and how writes are slowed when it comes faster than that: asks
 * cache/policy every 20 ms, for each store. Nothing here decides about safety.
 *
 * Three things let all of it go at full depth: somebody waits for it (flush, modes, removal, writethrough);
 * free segments are short and nothing clean can be evicted; nobody has written for a while.
 */
#include "cache/cache_priv.h"

#define BATCH_BLOCKS 256u          /* a flush of the store for fewer isn't worth it… */
#define BATCH_WAIT_NS 200000000ull /* …unless it is so long since the last one */
#define WINDOW_SHARE_MOST 4u       /* of the segments, that are due at once */
#define WINDOW_SHARE_LEAST 16u     /* fewer would be looked for in too much else */
#define WINDOW_MIN 2u
#define ROOM_LOW_SEGMENTS 3u /* beyond those that are for others */

/* What of it takes room of the log and isn't on its way out already: falls with each block that the store
 * takes, not with each batch. */
static uint64_t
dirty_of(const struct cache_volume *v)
{
	uint64_t n = v->ix.dirty_blocks - v->dirty_zeros;
	return n > v->d.taken ? n - v->d.taken : 0;
}

static uint64_t
all_dirty(const struct cache *c)
{
	uint64_t n = 0;
	LIST_FOREACH (l, &c->volumes)
		n += dirty_of(container_of(l, struct cache_volume, link));
	return n;
}

bool
cache_destage_all(const struct cache_volume *v)
{
	return v->want_clean || !list_empty(&v->clean_waiters) || v->c->is_void;
}

bool
cache_destage_drains(const struct cache_volume *v)
{
	const struct cache *c = v->c;
	if (cache_destage_all(v) || c->space.pressure)
		return true;
	/* Where a limit is set, it decides instead of the controller. */
	if (c->tuning.dirty_low_percent > 0 &&
	    all_dirty(c) * 100 > cache_log_blocks(c) * c->tuning.dirty_low_percent)
		return true;
	uint64_t idle = (uint64_t)c->tuning.destage_idle_ms * 1000000;
	return loop_now_ns(c->home) - v->last_write_ns >= idle;
}

bool
cache_destage_may(const struct cache_volume *v)
{
	const struct destage *d = &v->d;
	if (v->ix.dirty_blocks == 0 || v->store == NULL)
		return false;
	if (cache_destage_drains(v) || d->credit == UINT64_MAX)
		return true;
	if (d->credit == 0)
		return false;
	return d->credit >= BATCH_BLOCKS ||
	       loop_now_ns(v->c->home) - d->last_batch_ns >= BATCH_WAIT_NS;
}

/* The orders of opening of the oldest `n` segments with dirty data end with this one. */
static uint64_t
oldest_dirty(const struct cache *c, uint32_t n)
{
	uint64_t lo = 0, hi = c->orders;
	while (lo < hi) {
		uint64_t mid = lo + (hi - lo) / 2;
		uint32_t have = 0;
		for (uint32_t i = 0; i < c->geo.segment_count; i++)
			have += c->segs[i].dirty > 0 && c->segs[i].order <= mid;
		if (have >= n)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo;
}

/*
 * Where nobody waits for all of it, segments turn clean one after the other, and space comes early: a few
 * of them where it is short, a quarter of them otherwise, so that there are neighbours to go with them.
 */
static uint32_t
window_of(const struct cache *c, uint32_t asked)
{
	uint32_t least = c->geo.segment_count / WINDOW_SHARE_LEAST;
	uint32_t most = c->space.pressure ? least : c->geo.segment_count / WINDOW_SHARE_MOST;
	uint32_t n = asked < most ? asked : most;
	n = n > least ? n : least;
	return n > WINDOW_MIN ? n : WINDOW_MIN;
}

void
cache_destage_due(struct cache_volume *v)
{
	struct destage *d = &v->d;
	d->due_order = cache_destage_all(v) ? UINT64_MAX : oldest_dirty(v->c, d->window);
}

uint64_t
cache_destage_busy_ns(const struct destage *d, uint64_t now_ns)
{
	return now_ns - (d->begun_ns > d->ticked_ns ? d->begun_ns : d->ticked_ns);
}

static void
ask(struct cache_volume *v, const struct policy_destage_in *common)
{
	struct cache *c = v->c;
	struct destage *d = &v->d;
	struct policy_destage_in in = *common;
	struct policy_destage_out out;
	uint64_t now = loop_now_ns(c->home);
	in.elapsed_ns = d->ticked_ns != 0 ? now - d->ticked_ns : POLICY_DESTAGE_TICK_NS;
	in.dirty_blocks = dirty_of(v);
	uint64_t others = common->all_dirty_blocks - in.dirty_blocks;
	in.dirty_max_blocks = others < common->all_max_blocks ? common->all_max_blocks - others : 0;
	if (v->ix.dirty_blocks <= cache_log_capped_from(c))
		in.room_low_blocks = 0;
	in.written_blocks = d->written;
	in.destaged_blocks = d->sent;
	in.busy_ns = d->busy_ns;
	if (d->running)
		in.busy_ns += cache_destage_busy_ns(d, now);
	in.store_ops = d->store_ops < UINT32_MAX ? (uint32_t)d->store_ops : UINT32_MAX;
	in.store_ns = d->store_ns;
	in.drain = cache_destage_drains(v);
	in.store_failing = d->failures > 0;
	d->ticked_ns = now;
	d->written = d->sent = d->busy_ns = d->store_ops = d->store_ns = 0;
	policy_destage_tick(&d->policy, &in, &out);
	d->depth = out.depth;
	d->window = window_of(c, out.window_segs);
	cache_volume_slow(v, out.delay_ns);
	if (out.budget_blocks == UINT64_MAX)
		d->credit = UINT64_MAX;
	else if (d->credit == UINT64_MAX)
		d->credit = out.budget_blocks;
	else if (d->credit < d->blocks)
		d->credit += out.budget_blocks;
	if (!d->running && cache_destage_may(v))
		cache_destage_due(v);
}

void
cache_destage_rate(struct cache *c)
{
	struct policy_destage_in in = {.all_max_blocks = cache_log_blocks(c),
	    .all_dirty_blocks = all_dirty(c),
	    .room_blocks = cache_space_room(c),
	    .room_low_blocks = (uint64_t)ROOM_LOW_SEGMENTS * c->geo.data_blocks};
	LIST_FOREACH (n, &c->volumes)
		in.stores += dirty_of(container_of(n, struct cache_volume, link)) > 0;
	uint64_t between = 0; /* dirty blocks: to be had by moving these together */
	for (uint32_t i = 0; i < c->geo.segment_count; i++) {
		const struct segment *s = &c->segs[i];
		if (s->state == SEG_LOST || s->bad)
			continue;
		in.segs++;
		in.segs_free += s->state == SEG_FREE || (s->state == SEG_SEALED && s->dirty == 0);
		if (s->state == SEG_SEALED && s->dirty > 0 && s->dirty <= c->geo.data_blocks)
			between += c->geo.data_blocks - s->dirty;
	}
	in.segs_free += (uint32_t)(between / c->geo.data_blocks);
	LIST_FOREACH (n, &c->volumes) {
		struct cache_volume *v = container_of(n, struct cache_volume, link);
		if (v->store != NULL)
			ask(v, &in);
		else
			cache_volume_slow(v, 0);
	}
}
