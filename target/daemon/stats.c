/* SPDX-License-Identifier: BSD-2-Clause */
/* Looks at every LUN once a second, a few of them in each turn. */
#include "daemon/stats.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "daemon/caches.h"
#include "daemon/daemon.h"
#include "daemon/stats_priv.h"

#define LUNS_A_TURN 32u     /* initiators wait for the turn */
#define HEAT_EVERY_TICKS 8u /* each LUN's; they take turns */

struct stats {
	struct daemon *d;
	struct loop *loop;
	struct loop_timer timer;
	struct loop_defer more;
	uint64_t start_ns;
	uint64_t tick; /* seconds since the start, of this round */
	bool looking;
	unsigned looked_at; /* of daemon->now.luns */
	uint64_t look_adopted;
	struct stats_entry **entries;
	unsigned count, cap;
	struct names names;
	struct stats_entry all;
	struct stats_sample all_now; /* grows during a round */
	struct stats_sample sample;  /* too big for the stack of a turn */
	struct scsi_lu_stats lu;
	struct scsi_heat heat;
};

/* ---- entries ------------------------------------------------------------------------------------------ */

static struct stats_entry *
entry_of(struct stats *s, const char *name)
{
	struct stats_entry *e = names_find(&s->names, name);

	if (e != NULL)
		return e;
	if (s->count == s->cap) {
		unsigned cap = s->cap == 0 ? 16 : s->cap * 2;
		struct stats_entry **more = realloc(s->entries, cap * sizeof(*more));
		if (more == NULL)
			return NULL;
		s->entries = more;
		s->cap = cap;
	}
	e = calloc(1, sizeof *e);
	if (e == NULL || (e->name = strdup(name)) == NULL || names_add(&s->names, e->name, e) < 0) {
		if (e != NULL)
			free(e->name);
		free(e);
		return NULL;
	}
	s->entries[s->count++] = e;
	return e;
}

static void
forget(struct stats *s, unsigned i)
{
	struct stats_entry *e = s->entries[i];

	(void)names_remove(&s->names, e->name);
	s->entries[i] = s->entries[--s->count];
	stats_track_fini(e);
	free(e->hot);
	free(e->name);
	free(e);
}

static const struct stats_entry *
find(const struct stats *s, const char *lun)
{
	return lun == NULL ? &s->all : names_find(&s->names, lun);
}

/* ---- a look at a LUN ------------------------------------------------------------------------------------ */

static void
sample_scsi(struct stats *s, const struct stats_entry *e, const struct daemon_lun *l)
{
	struct scsi_lu_stats *st = &s->lu;
	struct stats_sample *to = &s->sample;

	scsi_lu_get_counters(l->lu, st);
	if (st->reads != e->last.counters[STATS_READS] ||
	    st->writes != e->last.counters[STATS_WRITES]) {
		scsi_lu_get_stats(l->lu, st);
		to->reads = st->read_latency;
		to->writes = st->write_latency;
	} else {
		to->reads = e->last.reads;
		to->writes = e->last.writes;
	}
	to->counters[STATS_READS] = st->reads;
	to->counters[STATS_WRITES] = st->writes;
	to->counters[STATS_READ_BYTES] = st->read_bytes;
	to->counters[STATS_WRITE_BYTES] = st->write_bytes;
	to->counters[STATS_CHECK_CONDITIONS] = st->check_conditions;
	to->counters[STATS_CONFLICTS] = st->reservation_conflicts;
	to->counters[STATS_ABORTS] = st->aborts;
	to->in_flight = st->in_flight;
}

static void
sample_tiers(struct stats_sample *to, const struct daemon_lun *l)
{
	struct blk_stats blk;

	if (l->blk != NULL) {
		blk_get_stats(l->blk, &blk);
		for (unsigned i = 0; i < sizeof blk.errors / sizeof blk.errors[0]; i++)
			to->counters[STATS_STORE_ERRORS] += blk.errors[i];
	}
	if (l->ram != NULL) {
		struct ram_volume_stats ram;
		ram_volume_get_stats(l->ram, &ram);
		to->has_ram = true;
		to->counters[STATS_RAM_HITS] = ram.hits;
		to->counters[STATS_RAM_MISSES] = ram.misses;
	}
	if (l->volume != NULL) {
		struct cache_volume_stats v;
		cache_volume_get_stats(l->volume, &v);
		to->has_ssd = true;
		to->counters[STATS_SSD_READS] = v.reads;
		to->counters[STATS_SSD_HITS] = v.read_hits;
		to->counters[STATS_DESTAGED] = v.destaged_blocks;
		to->dirty_bytes = v.dirty_bytes;
		to->cached_bytes = v.cached_bytes;
	}
}

/* Another unit of this name, or another cache: it counts from zero. */
static bool
is_another(const struct stats_entry *e, const struct stats_sample *now, const struct scsi_lu *lu)
{
	if (e->lu != lu)
		return true;
	for (unsigned c = 0; c < STATS_COUNTER_COUNT; c++)
		if (now->counters[c] < e->last.counters[c])
			return true;
	return false;
}

static void
add_to_all(
    struct stats_sample *all, const struct stats_sample *now, const struct stats_sample *before)
{
	bool io = now->counters[STATS_READS] != before->counters[STATS_READS] ||
	          now->counters[STATS_WRITES] != before->counters[STATS_WRITES];

	for (unsigned c = 0; c < STATS_COUNTER_COUNT; c++)
		all->counters[c] += now->counters[c] - before->counters[c];
	for (unsigned b = 0; io && b < SCSI_LATENCY_BUCKETS; b++) {
		all->reads.buckets[b] += now->reads.buckets[b] - before->reads.buckets[b];
		all->writes.buckets[b] += now->writes.buckets[b] - before->writes.buckets[b];
	}
	all->in_flight += now->in_flight;
	all->dirty_bytes += now->dirty_bytes;
	all->cached_bytes += now->cached_bytes;
	all->has_ram = all->has_ram || now->has_ram;
	all->has_ssd = all->has_ssd || now->has_ssd;
}

static void
look_at_heat(struct stats *s, struct stats_entry *e, const struct daemon_lun *l)
{
	if (e->hot == NULL)
		e->hot = calloc(1, sizeof *e->hot);
	if (e->hot != NULL && scsi_lu_get_heat(l->lu, &s->heat))
		stats_hot_look(e->hot, &s->heat, loop_now_ns(s->loop));
}

static void
look_at(struct stats *s, const struct daemon_lun *l, unsigned place)
{
	struct stats_entry *e = entry_of(s, l->name);

	if (e == NULL)
		return; /* no memory: the next look */
	e->there = true;
	if (l->lu == NULL)
		return;
	s->sample = (struct stats_sample){0};
	sample_scsi(s, e, l);
	sample_tiers(&s->sample, l);
	if (is_another(e, &s->sample, l->lu)) {
		stats_track_anew(e);
		if (e->hot != NULL && e->lu != l->lu)
			stats_hot_anew(e->hot);
		e->lu = l->lu;
	}
	add_to_all(&s->all_now, &s->sample, &e->last);
	stats_track(e, &s->sample, loop_now_ns(s->loop), s->tick);
	e->summary.time_s = loop_wall_s(s->loop);
	e->summary.at_ns = loop_now_ns(s->loop);
	if (e->active != NULL && (s->tick + place) % HEAT_EVERY_TICKS == 0)
		look_at_heat(s, e, l);
}

/* ---- rounds ------------------------------------------------------------------------------------------------- */

static void
begin_round(struct stats *s)
{
	s->looked_at = 0;
	s->look_adopted = s->d->changes_adopted;
	for (unsigned i = 0; i < s->count; i++)
		s->entries[i]->there = false;
	/* Gauges are summed anew, counters go on. */
	s->all_now.in_flight = s->all_now.dirty_bytes = s->all_now.cached_bytes = 0;
	s->all_now.has_ram = s->all_now.has_ssd = false;
}

static void
end_round(struct stats *s)
{
	for (unsigned i = 0; i < s->count;) {
		if (s->entries[i]->there)
			i++;
		else
			forget(s, i);
	}
	stats_track(&s->all, &s->all_now, loop_now_ns(s->loop), s->tick);
	s->all.summary.time_s = loop_wall_s(s->loop);
	s->all.summary.at_ns = loop_now_ns(s->loop);
	s->looking = false;
}

static void
look_on(struct stats *s)
{
	const struct daemon *d = s->d;
	unsigned end;

	if (d->stopping) {
		s->looking = false;
		return;
	}
	if (s->look_adopted != d->changes_adopted) /* others are served now */
		begin_round(s);
	end = s->looked_at + LUNS_A_TURN;
	for (; s->looked_at < d->now.lun_count && s->looked_at < end; s->looked_at++)
		look_at(s, d->now.luns[s->looked_at], s->looked_at);
	if (s->looked_at < d->now.lun_count)
		loop_next_turn(s->loop, &s->more);
	else
		end_round(s);
}

static void
on_more(struct loop_defer *d)
{
	look_on(container_of(d, struct stats, more));
}

static void
on_tick(struct loop_timer *t)
{
	struct stats *s = container_of(t, struct stats, timer);
	uint64_t past = loop_now_ns(s->loop) - s->start_ns;

	loop_timer_set(t, STATS_TICK_NS - past % STATS_TICK_NS);
	if (s->looking || s->d->stopping)
		return; /* a round took a whole second: this one is left out */
	s->looking = true;
	s->tick = past / STATS_TICK_NS + 1;
	begin_round(s);
	look_on(s);
}

/* ---- answers ------------------------------------------------------------------------------------------------ */

bool
stats_get(const struct stats *s, const char *lun, struct stats_summary *ret)
{
	const struct stats_entry *e = find(s, lun);

	*ret = e != NULL ? e->summary : (struct stats_summary){0};
	return e != NULL && e->summary.time_s != 0;
}

int
stats_get_history(const struct stats *s, const char *lun, struct stats_history **ret)
{
	const struct stats_entry *e = find(s, lun);
	struct stats_history *h;
	uint64_t tick, past;

	if (e == NULL)
		return -ENOENT;
	h = malloc(sizeof *h);
	if (h == NULL)
		return -ENOMEM;
	/* A round that is under way has been at some LUNs and not at others. */
	tick = s->looking && s->tick > 0 ? s->tick - 1 : s->tick;
	stats_track_history(e, tick, h);
	past = (loop_now_ns(s->loop) - s->start_ns) / STATS_TICK_NS + 1;
	h->second_s = loop_wall_s(s->loop) - (int64_t)(past - tick);
	h->minute_s = h->second_s - (int64_t)(tick % 60);
	*ret = h;
	return 0;
}

int
stats_get_heat(struct stats *s, const char *lun, struct stats_heat **ret)
{
	struct stats_entry *e = names_find(&s->names, lun);
	const struct daemon_lun *l = daemon_lun_find(s->d, lun);
	struct stats_heat *h;
	uint64_t blocks;

	if (e == NULL || l == NULL || l->lu == NULL)
		return -ENOENT;
	h = calloc(1, sizeof *h);
	if (h == NULL)
		return -ENOMEM;
	if (e->lu == l->lu && !s->d->stopping)
		look_at_heat(s, e, l);
	blocks = blk_get_info(l->blk)->size_bytes / l->conf->block_size;
	if (e->hot != NULL && e->hot->ns != 0) {
		h->part_blocks = 1ull << e->hot->last.shift;
		memcpy(h->reads, e->hot->reads, sizeof h->reads);
		memcpy(h->writes, e->hot->writes, sizeof h->writes);
	} else { /* no memory, or growing just now: nothing is known of it */
		h->part_blocks = (blocks + SCSI_HEAT_PARTS - 1) / SCSI_HEAT_PARTS;
	}
	uint64_t parts = h->part_blocks > 0 ? (blocks + h->part_blocks - 1) / h->part_blocks : 0;
	h->parts = parts < SCSI_HEAT_PARTS ? (uint32_t)parts : SCSI_HEAT_PARTS;
	*ret = h;
	return 0;
}

/* ---- life cycle --------------------------------------------------------------------------------------------- */

int
stats_create(struct daemon *d, struct stats **ret)
{
	struct stats *s = calloc(1, sizeof *s);

	if (s == NULL)
		return -ENOMEM;
	s->d = d;
	s->loop = d->loops[0];
	s->start_ns = loop_now_ns(s->loop);
	loop_timer_init(&s->timer, s->loop, on_tick);
	loop_defer_init(&s->more, on_more);
	loop_timer_set(&s->timer, 0);
	*ret = s;
	return 0;
}

void
stats_destroy(struct stats *s)
{
	if (s == NULL)
		return;
	loop_timer_cancel(&s->timer);
	loop_defer_cancel(&s->more);
	while (s->count > 0)
		forget(s, s->count - 1);
	free(s->entries);
	names_fini(&s->names);
	stats_track_fini(&s->all);
	free(s);
}
