/* SPDX-License-Identifier: BSD-2-Clause */
/* Samples of counters become rates, percentiles and a history. */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "daemon/stats_priv.h"

#define QUIET_TICKS 70u /* without a change all windows are empty after so many */
#define SHORTEST_S 0.2  /* rates over less mean nothing */

const unsigned stats_window_s[STATS_WINDOW_COUNT] = {1, 10, 60};

/* ---- percentiles ------------------------------------------------------------------------------------- */

/* What is counted in the buckets between two snapshots, or since the start. */
struct counts {
	uint64_t total;
	uint64_t n[SCSI_LATENCY_BUCKETS];
};

static void
counts_between(struct counts *c, const uint32_t *now, const uint32_t *before)
{
	c->total = 0;
	for (unsigned b = 0; b < SCSI_LATENCY_BUCKETS; b++) {
		c->n[b] = (uint32_t)(now[b] - before[b]);
		c->total += c->n[b];
	}
}

static void
counts_all(struct counts *c, const struct scsi_latency *l)
{
	c->total = 0;
	for (unsigned b = 0; b < SCSI_LATENCY_BUCKETS; b++) {
		c->n[b] = l->buckets[b];
		c->total += c->n[b];
	}
}

/* The end of a bucket; the last one has none: its beginning. */
static double
end_us(unsigned bucket)
{
	unsigned end = bucket + 1 < SCSI_LATENCY_BUCKETS ? bucket + 1 : bucket;
	return (double)scsi_latency_floor_ns(end) / 1000;
}

/* Buckets that hold the given fractions (parts of 1000, ascending) of what was counted. */
static void
find(const struct counts *c, const unsigned *permille, unsigned count, unsigned *ret)
{
	uint64_t below = 0;
	unsigned k = 0;

	for (unsigned b = 0; b < SCSI_LATENCY_BUCKETS && k < count; b++) {
		below += c->n[b];
		while (k < count && below > 0) {
			uint64_t want = c->total / 1000 * permille[k] +
			                (c->total % 1000 * permille[k] + 999) / 1000;
			if (below < want)
				break;
			ret[k++] = b;
		}
	}
	for (; k < count; k++)
		ret[k] = SCSI_LATENCY_BUCKETS - 1;
}

static struct stats_latency
latency_of(const struct counts *c)
{
	static const unsigned permille[] = {500, 950, 990, 999, 1000};
	unsigned at[5];

	if (c->total == 0)
		return (struct stats_latency){0};
	find(c, permille, 5, at);
	return (struct stats_latency){
	    .count = c->total,
	    .p50_us = end_us(at[0]),
	    .p95_us = end_us(at[1]),
	    .p99_us = end_us(at[2]),
	    .p999_us = end_us(at[3]),
	    .max_us = end_us(at[4]),
	};
}

/* ---- snapshots ----------------------------------------------------------------------------------------- */

static void
take(struct stats_snap *snap, const struct stats_sample *s, uint64_t ns)
{
	snap->ns = ns;
	memcpy(snap->counters, s->counters, sizeof snap->counters);
	for (unsigned b = 0; b < SCSI_LATENCY_BUCKETS; b++) {
		snap->reads[b] = (uint32_t)s->reads.buckets[b];
		snap->writes[b] = (uint32_t)s->writes.buckets[b];
	}
}

/* Both rings say that nothing has happened since the entry is known. */
static void
fill(struct stats_entry *e, uint64_t ns)
{
	struct stats_active *a = e->active;
	struct stats_snap snap;

	take(&snap, &e->last, ns);
	for (unsigned i = 0; i < STATS_FINE; i++) {
		uint64_t age = (STATS_FINE - 1 - i + 1) * STATS_TICK_NS;
		a->fine[i] = snap;
		a->fine[i].ns = ns > age && ns - age > e->first_ns ? ns - age : e->first_ns;
	}
	for (unsigned i = 0; i < STATS_COARSE; i++) {
		uint64_t age = (STATS_COARSE - i) * STATS_COARSE_TICKS * STATS_TICK_NS;
		a->coarse[i] = snap;
		a->coarse[i].ns = ns > age && ns - age > e->first_ns ? ns - age : e->first_ns;
	}
	a->fine_at = STATS_FINE - 1;
	a->coarse_at = STATS_COARSE - 1;
	a->minute = snap;
}

/* The oldest snapshot that isn't older than the window, which `now` ends. */
static const struct stats_snap *
window_begin(const struct stats_active *a, enum stats_window w, uint64_t now_ns)
{
	uint64_t length = stats_window_s[w] * STATS_TICK_NS, slack = STATS_TICK_NS / 2;
	bool coarse = stats_window_s[w] >= STATS_FINE;
	const struct stats_snap *ring = coarse ? a->coarse : a->fine, *best = NULL;
	unsigned count = coarse ? STATS_COARSE : STATS_FINE;

	for (unsigned i = 0; i < count; i++) {
		const struct stats_snap *snap = &ring[i];
		if (snap->ns < now_ns && now_ns - snap->ns <= length + slack &&
		    (best == NULL || snap->ns < best->ns))
			best = snap;
	}
	if (best != NULL)
		return best;
	/* The look came late: since the one before. */
	return &a->fine[(a->fine_at + STATS_FINE - 1) % STATS_FINE];
}

static void
rates_between(struct stats_rates *r, const struct stats_snap *now, const struct stats_snap *before)
{
	double seconds = (double)(now->ns - before->ns) / 1e9;
	struct counts c;

	*r = (struct stats_rates){0};
	if (now->ns <= before->ns || seconds < SHORTEST_S)
		return;
	r->seconds = seconds;
	for (unsigned i = 0; i < STATS_COUNTER_COUNT; i++)
		if (now->counters[i] > before->counters[i])
			r->per_s[i] = (double)(now->counters[i] - before->counters[i]) / seconds;
	counts_between(&c, now->reads, before->reads);
	r->reads = latency_of(&c);
	counts_between(&c, now->writes, before->writes);
	r->writes = latency_of(&c);
}

/* ---- slots ---------------------------------------------------------------------------------------------- */

static const struct stats_slot nothing = {.ram_hits = STATS_NO_RATIO, .ssd_hits = STATS_NO_RATIO};
static const struct stats_slot unknown = {.reads = STATS_UNKNOWN};

static uint32_t
u32(uint64_t n)
{
	return n < STATS_UNKNOWN ? (uint32_t)n : STATS_UNKNOWN - 1;
}

static uint16_t
ratio(uint64_t hits, uint64_t all)
{
	if (all == 0)
		return STATS_NO_RATIO;
	return (uint16_t)(hits >= all ? 1000u : hits * 1000u / all);
}

static uint64_t
grown(const struct stats_snap *now, const struct stats_snap *before, enum stats_counter c)
{
	return now->counters[c] > before->counters[c] ? now->counters[c] - before->counters[c] : 0;
}

static void
slot_latency(const uint32_t *now, const uint32_t *before, uint8_t *p50, uint8_t *p99, uint8_t *max)
{
	static const unsigned permille[] = {500, 990, 1000};
	struct counts c;
	unsigned at[3] = {0};

	counts_between(&c, now, before);
	if (c.total > 0)
		find(&c, permille, 3, at);
	*p50 = (uint8_t)at[0];
	*p99 = (uint8_t)at[1];
	*max = (uint8_t)at[2];
}

/* What lies between two snapshots, as each of `parts` slots shows it. */
static struct stats_slot
slot_of(const struct stats_snap *now, const struct stats_snap *before, uint64_t dirty_bytes,
    uint64_t parts)
{
	uint64_t ram = grown(now, before, STATS_RAM_HITS);
	uint64_t ssd = grown(now, before, STATS_SSD_HITS);
	struct stats_slot s = {
	    .reads = u32(grown(now, before, STATS_READS) / parts),
	    .writes = u32(grown(now, before, STATS_WRITES) / parts),
	    .read_kib = u32(grown(now, before, STATS_READ_BYTES) / 1024 / parts),
	    .write_kib = u32(grown(now, before, STATS_WRITE_BYTES) / 1024 / parts),
	    .dirty_mib = u32((dirty_bytes + (1u << 20) - 1) >> 20),
	    .destaged_mib = u32(grown(now, before, STATS_DESTAGED) / 256 / parts),
	    .ram_hits = ratio(ram, ram + grown(now, before, STATS_RAM_MISSES)),
	    .ssd_hits = ratio(ssd, grown(now, before, STATS_SSD_READS)),
	};

	slot_latency(now->reads, before->reads, &s.read_p50, &s.read_p99, &s.read_max);
	slot_latency(now->writes, before->writes, &s.write_p50, &s.write_p99, &s.write_max);
	return s;
}

static bool
slot_is_empty(const struct stats_slot *s)
{
	return s->reads == 0 && s->writes == 0 && s->dirty_mib == 0 && s->destaged_mib == 0;
}

static struct stats_slot *
minute_slot(struct stats_active *a, uint64_t minute, bool make)
{
	uint64_t at = minute % STATS_MINUTES;
	struct stats_slot **hour = &a->hours[at / STATS_HOUR_SLOTS];

	if (*hour == NULL && make) {
		*hour = calloc(STATS_HOUR_SLOTS, sizeof **hour);
		for (unsigned i = 0; *hour != NULL && i < STATS_HOUR_SLOTS; i++)
			(*hour)[i] = nothing;
	}
	return *hour != NULL ? &(*hour)[at % STATS_HOUR_SLOTS] : NULL;
}

/* Minutes end at ticks that are multiples of 60. */
static void
end_minutes(
    struct stats_entry *e, const struct stats_snap *now, uint64_t tick, uint64_t dirty_bytes)
{
	struct stats_active *a = e->active;
	uint64_t first = e->tick / 60 + 1, last = tick / 60;

	if (first > last)
		return;
	if (last - first >= STATS_MINUTES)
		first = last - STATS_MINUTES + 1;
	struct stats_slot s = slot_of(now, &a->minute, dirty_bytes, last - first + 1);
	for (uint64_t m = first; m <= last; m++) {
		struct stats_slot *to = minute_slot(a, m, !slot_is_empty(&s));
		if (to != NULL) /* else there is no memory, or it is zeros already */
			*to = s;
	}
	a->minute = *now;
}

static void
end_seconds(
    struct stats_entry *e, const struct stats_snap *now, uint64_t tick, uint64_t dirty_bytes)
{
	struct stats_active *a = e->active;
	uint64_t first = e->tick + 1;

	ASSERT(tick >= first);
	struct stats_slot s = slot_of(now, &a->fine[a->fine_at], dirty_bytes, tick - first + 1);
	if (tick - first >= STATS_SECONDS)
		first = tick - STATS_SECONDS + 1;
	for (uint64_t t = first; t <= tick; t++)
		a->seconds[t % STATS_SECONDS] = s;
}

/* ---- samples ----------------------------------------------------------------------------------------------- */

static bool
is_used(const struct stats_sample *s)
{
	return s->counters[STATS_READS] > 0 || s->counters[STATS_WRITES] > 0 || s->dirty_bytes > 0;
}

static void
activate(struct stats_entry *e, uint64_t ns)
{
	e->active = calloc(1, sizeof *e->active);
	if (e->active == NULL)
		return; /* the next look */
	e->active->begin_tick = e->tick + 1;
	fill(e, ns);
}

static void
summarize(struct stats_entry *e, const struct stats_sample *s, uint64_t ns)
{
	struct stats_summary *sum = &e->summary;
	const struct stats_active *a = e->active;
	struct counts c;

	memcpy(sum->counters, s->counters, sizeof sum->counters);
	sum->in_flight = s->in_flight;
	sum->dirty_bytes = s->dirty_bytes;
	sum->cached_bytes = s->cached_bytes;
	sum->has_ram = s->has_ram;
	sum->has_ssd = s->has_ssd;
	for (unsigned w = 0; a != NULL && w < STATS_WINDOW_COUNT; w++) {
		if (e->quiet_ticks < QUIET_TICKS)
			rates_between(&sum->windows[w], &a->fine[a->fine_at],
			    window_begin(a, (enum stats_window)w, ns));
	}
	if (a == NULL) /* nothing has happened in any window */
		for (unsigned w = 0; w < STATS_WINDOW_COUNT; w++) {
			double known = (double)(ns - e->first_ns) / 1e9;
			double length = stats_window_s[w];
			sum->windows[w] =
			    (struct stats_rates){.seconds = known < length ? known : length};
		}
	if (a != NULL && e->quiet_ticks == 0) {
		counts_all(&c, &s->reads);
		sum->reads = latency_of(&c);
		counts_all(&c, &s->writes);
		sum->writes = latency_of(&c);
	}
}

void
stats_track(struct stats_entry *e, const struct stats_sample *now, uint64_t ns, uint64_t tick)
{
	bool same = memcmp(now->counters, e->last.counters, sizeof now->counters) == 0 &&
	            now->dirty_bytes == e->last.dirty_bytes;

	if (e->first_ns == 0) {
		e->first_ns = ns;
		e->first_tick = tick;
		e->tick = tick - 1;
	}
	if (tick <= e->tick)
		return;
	e->quiet_ticks = same ? e->quiet_ticks + (e->quiet_ticks < QUIET_TICKS) : 0;
	if (e->active == NULL && is_used(now))
		activate(e, ns);
	if (e->active != NULL) {
		struct stats_active *a = e->active;
		struct stats_snap snap;
		take(&snap, now, ns);
		end_seconds(e, &snap, tick, now->dirty_bytes);
		end_minutes(e, &snap, tick, now->dirty_bytes);
		a->fine_at = (a->fine_at + 1) % STATS_FINE;
		a->fine[a->fine_at] = snap;
		if (ns - a->coarse[a->coarse_at].ns >=
		    STATS_COARSE_TICKS * STATS_TICK_NS - STATS_TICK_NS / 2) {
			a->coarse_at = (a->coarse_at + 1) % STATS_COARSE;
			a->coarse[a->coarse_at] = snap;
		}
	}
	e->tick = tick;
	e->last = *now;
	summarize(e, now, ns);
}

void
stats_track_anew(struct stats_entry *e)
{
	e->last = (struct stats_sample){0};
	if (e->active != NULL && e->first_ns != 0)
		fill(e, e->active->fine[e->active->fine_at].ns + STATS_TICK_NS);
}

void
stats_track_fini(struct stats_entry *e)
{
	for (unsigned i = 0; e->active != NULL && i < STATS_HOURS; i++)
		free(e->active->hours[i]);
	free(e->active);
	e->active = NULL;
}

/* ---- history ------------------------------------------------------------------------------------------------- */

void
stats_track_history(const struct stats_entry *e, uint64_t tick, struct stats_history *ret)
{
	const struct stats_active *a = e->active;
	uint64_t last = tick < e->tick ? tick : e->tick;

	for (unsigned i = 0; i < STATS_SECONDS; i++) {
		uint64_t t = tick + i + 1; /* that tick, and so many seconds too much */
		bool known = t > STATS_SECONDS && t - STATS_SECONDS <= last &&
		             t - STATS_SECONDS >= e->first_tick;
		bool has = known && a != NULL && t - STATS_SECONDS >= a->begin_tick;
		ret->seconds[i] = !known ? unknown : has ? a->seconds[t % STATS_SECONDS] : nothing;
	}
	for (unsigned i = 0; i < STATS_MINUTES; i++) {
		uint64_t m = tick / 60 + i + 1;
		const struct stats_slot *hour = NULL;
		bool known = m > STATS_MINUTES && (m - STATS_MINUTES) * 60 <= last &&
		             (m - STATS_MINUTES) * 60 > e->first_tick;
		bool has = known && a != NULL && (m - STATS_MINUTES) * 60 >= a->begin_tick;
		if (has)
			hour = a->hours[m % STATS_MINUTES / STATS_HOUR_SLOTS];
		ret->minutes[i] = !known         ? unknown
		                  : hour != NULL ? hour[m % STATS_MINUTES % STATS_HOUR_SLOTS]
		                                 : nothing;
	}
}
