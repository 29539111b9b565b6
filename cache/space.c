/*
 * Room in the log. When free segments are few: what is dead is freed by a checkpoint; the oldest clean
 * segment is evicted; when there is none, dirty data is pressed to the stores. Eviction reads what a
 * segment holds from its footer and drops what the index still shows of it [6].
 */
#include "cache/cache_priv.h"

#include <stdlib.h>

static void
evict_end(struct cache *c)
{
	struct segment *s = &c->segs[c->space.victim];
	s->pins--;
	s->stuck = s->live > 0;
	free(c->space.buf);
	c->space.buf = NULL;
	c->space.evicting = false;
	cache_space_kick(c);
}

static void
evict_desc(struct cache *c, const struct cache_desc *d)
{
	struct cache_volume *v = cache_volume_by_id(c, d->volume);
	uint32_t loc = loc_of(c, c->space.victim, d->place);
	if (v == NULL)
		return;
	if (!(d->flags & CF_DESC_ZERO))
		c->stats.evicted_blocks += cache_drop(v, d->block, d->count, loc);
	if (c->space.moving)
		cache_copy_desc(v, d, loc);
}

static void
evict_read(struct cache_io *x, int result)
{
	struct cache *c = x->c;
	uint32_t seg = c->space.victim, at = 0;
	struct segment *s = &c->segs[seg];
	struct cache_footer f;
	struct cache_record r;
	size_t cap = (size_t)c->geo.footer_blocks * CF_BLOCK_BYTES;
	if (result < 0 || !cache_footer_decode(&c->geo, c->uuid, seg, c->space.buf, cap, &f) ||
	    f.generation != s->generation) {
		c->stats.ssd_errors++;
		cache_set_condition(c, CACHE_COND_SSD_READ, true, "a footer can't be read");
		evict_end(c);
		return;
	}
	while (cache_footer_next(&c->geo, c->uuid, seg, c->space.buf, &f, &at, &r)) {
		for (uint32_t i = 0; i < r.desc_count; i++) {
			struct cache_desc d;
			cache_desc_get(&r.descs[i], &d);
			evict_desc(c, &d);
		}
	}
	evict_end(c);
}

static void
evict(struct cache *c, uint32_t seg, bool moving)
{
	struct segment *s = &c->segs[seg];
	c->space.moving = moving;
	c->space.moved |= moving;
	uint32_t blocks = c->geo.footer_blocks;
	c->space.buf = cache_pages_alloc((size_t)blocks * CF_BLOCK_BYTES);
	if (c->space.buf == NULL)
		return; /* the tick tries again */
	c->space.evicting = true;
	c->space.victim = seg;
	s->pins++;
	struct cache_io *x = cache_io_get(c, evict_read, NULL);
	cache_io_buf(x, c->space.buf, (uint64_t)blocks * CF_BLOCK_BYTES);
	cache_ssd_read(x, cache_footer_block(&c->geo, seg), blocks);
}

/* The oldest sealed segment without dirty data, or LOC_NONE. */
static uint32_t
victim(const struct cache *c)
{
	uint32_t best = LOC_NONE;
	for (uint32_t i = 0; i < c->geo.segment_count; i++) {
		const struct segment *s = &c->segs[i];
		if (s->state != SEG_SEALED || s->dirty > 0 || s->live == 0 || s->stuck)
			continue;
		if (best == LOC_NONE || s->order < c->segs[best].order)
			best = i;
	}
	return best;
}

/* The sealed segment with the least in it, if stores don't take it and moving it makes room. */
static uint32_t
stranded(const struct cache *c)
{
	uint32_t best = LOC_NONE;
	bool failing = false;
	LIST_FOREACH (n, &c->volumes)
		failing |= cache_volume_stuck(container_of(n, struct cache_volume, link));
	if (!failing || c->space.copying > 0 || c->space.moved || c->is_void)
		return LOC_NONE;
	for (uint32_t i = 0; i < c->geo.segment_count; i++) {
		const struct segment *s = &c->segs[i];
		if (s->state != SEG_SEALED || s->live == 0 || s->live > c->geo.data_blocks / 2)
			continue;
		if (best == LOC_NONE || s->live < c->segs[best].live)
			best = i;
	}
	return best;
}

static bool
any_dead(const struct cache *c)
{
	for (uint32_t i = 0; i < c->geo.segment_count; i++)
		if (cache_segment_all_dead(&c->segs[i]) && !c->segs[i].bad)
			return true;
	return false;
}

/* Nothing is dirty and nothing sealed is left: what is in open segments has to go too. */
static void
close_open(struct cache *c)
{
	static const enum cf_stream which[] = {CF_F, CF_W};
	LIST_FOREACH (n, &c->volumes)
		if (container_of(n, struct cache_volume, link)->ix.dirty_blocks > 0)
			return;
	for (unsigned i = 0; i < 2; i++) {
		struct cache_log *l = &c->logs[which[i]];
		if (l->seg != LOC_NONE && !l->busy && !l->opening && c->segs[l->seg].records > 0)
			cache_log_close(l);
	}
}

static void
press(struct cache *c, bool on)
{
	c->space.pressure = on;
	if (!on)
		return;
	for (uint32_t i = 0; i < c->geo.segment_count; i++)
		c->segs[i].stuck = false; /* what held it may have gone when data is clean */
	LIST_FOREACH (n, &c->volumes)
		cache_destage_kick(container_of(n, struct cache_volume, link));
}

/* The index has a bound; what is dirty is in it all the same [19]. */
static void
index_look(struct cache *c)
{
	uint64_t bytes = 0;
	bool was = c->index_full;
	LIST_FOREACH (n, &c->volumes)
		bytes += container_of(n, struct cache_volume, link)->ix.bytes;
	c->index_full = c->tuning.index_bytes_max > 0 && bytes > c->tuning.index_bytes_max;
	if (was && !c->index_full)
		cache_log_kick(c);
}

static void
space_run(struct cache *c)
{
	if (!c->loaded || c->stopping)
		return;
	index_look(c);
	uint32_t free_count = cache_segment_free_count(c);
	if (free_count >= c->tuning.free_low_segments && !c->index_full) {
		press(c, false);
		return;
	}
	if (any_dead(c) && !c->ck.running)
		cache_checkpoint_start(c);
	uint32_t dead = 0;
	for (uint32_t i = 0; i < c->geo.segment_count; i++)
		dead += cache_segment_all_dead(&c->segs[i]);
	if (c->space.evicting ||
	    (free_count + dead >= c->tuning.free_low_segments && !c->index_full))
		return;
	uint32_t v = victim(c);
	if (v != LOC_NONE)
		evict(c, v, false);
	else
		press(c, true);
	if (v == LOC_NONE && (c->index_full || free_count <= 1))
		close_open(c);
	if (v == LOC_NONE && free_count <= 1 && (v = stranded(c)) != LOC_NONE)
		evict(c, v, true);
}

void
cache_space_run(struct loop_defer *d)
{
	space_run(container_of(d, struct cache, space_defer));
}

void
cache_space_kick(struct cache *c)
{
	if (!loop_defer_queued(&c->space_defer))
		loop_defer(c->home, &c->space_defer);
}
