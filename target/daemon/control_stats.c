/* SPDX-License-Identifier: BSD-2-Clause */
/* overview, lun.stats, lun.latency. What makes JSON: any thread. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "daemon/control.h"
#include "daemon/stats.h"

#define BLOCK_BYTES 4096.0 /* of caches */

/* ---- lun.stats ------------------------------------------------------------------------------------------ */

/* NULL without commands: then nothing is said. */
static json_t *
latency_json(const struct stats_latency *l)
{
	if (l->count == 0)
		return NULL;
	return json_pack("{s:I, s:f, s:f, s:f, s:f, s:f}", "count", (json_int_t)l->count, "p50_us",
	    l->p50_us, "p95_us", l->p95_us, "p99_us", l->p99_us, "p999_us", l->p999_us, "max_us",
	    l->max_us);
}

/* Null if nothing was asked for. */
static json_t *
ratio_json(double hits, double all)
{
	return all > 0 ? json_real(hits < all ? hits / all : 1) : json_null();
}

static json_t *
window_json(const struct stats_rates *r, unsigned window_s)
{
	const double *p = r->per_s;

	return json_pack("{s:i, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:o, s:o, s:o*, s:o*}",
	    "window_s", (int)window_s, "seconds", r->seconds, "reads_per_s", p[STATS_READS],
	    "writes_per_s", p[STATS_WRITES], "read_bytes_per_s", p[STATS_READ_BYTES],
	    "write_bytes_per_s", p[STATS_WRITE_BYTES], "errors_per_s",
	    p[STATS_CHECK_CONDITIONS] + p[STATS_CONFLICTS] + p[STATS_ABORTS], "destage_bytes_per_s",
	    p[STATS_DESTAGED] * BLOCK_BYTES, "ram_hit_ratio",
	    ratio_json(p[STATS_RAM_HITS], p[STATS_RAM_HITS] + p[STATS_RAM_MISSES]), "ssd_hit_ratio",
	    ratio_json(p[STATS_SSD_HITS], p[STATS_SSD_READS]), "read_latency",
	    latency_json(&r->reads), "write_latency", latency_json(&r->writes));
}

static json_t *
windows_json(const struct stats_summary *s)
{
	json_t *list = json_array();

	for (unsigned w = 0; list != NULL && w < STATS_WINDOW_COUNT; w++)
		json_array_append_new(list, window_json(&s->windows[w], stats_window_s[w]));
	return list;
}

static json_t *
counters_json(const struct stats_summary *s)
{
	const uint64_t *c = s->counters;

	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "reads",
	    (json_int_t)c[STATS_READS], "writes", (json_int_t)c[STATS_WRITES], "read_bytes",
	    (json_int_t)c[STATS_READ_BYTES], "write_bytes", (json_int_t)c[STATS_WRITE_BYTES],
	    "check_conditions", (json_int_t)c[STATS_CHECK_CONDITIONS], "reservation_conflicts",
	    (json_int_t)c[STATS_CONFLICTS], "aborts", (json_int_t)c[STATS_ABORTS], "store_errors",
	    (json_int_t)c[STATS_STORE_ERRORS]);
}

/* An object for each tier that there is, the fastest first. */
static json_t *
tiers_json(const struct stats_summary *s)
{
	const uint64_t *c = s->counters;
	json_t *list = json_array();

	if (list != NULL && s->has_ram)
		json_array_append_new(list,
		    json_pack("{s:s, s:I, s:I}", "tier", "ram", "hits",
		        (json_int_t)c[STATS_RAM_HITS], "misses", (json_int_t)c[STATS_RAM_MISSES]));
	if (list != NULL && s->has_ssd) {
		uint64_t reads = c[STATS_SSD_READS], hits = c[STATS_SSD_HITS];
		json_array_append_new(
		    list, json_pack("{s:s, s:I, s:I}", "tier", "ssd", "hits", (json_int_t)hits,
		              "misses", (json_int_t)(reads > hits ? reads - hits : 0)));
	}
	return list;
}

static void
add_summary(json_t *o, const struct picture *p, unsigned i)
{
	const struct stats_summary *s = &p->summaries[i];
	uint64_t age_ns = p->now_ns > s->at_ns ? p->now_ns - s->at_ns : 0;

	json_object_set_new(o, "time", json_integer(s->time_s));
	json_object_set_new(o, "age_ms", json_integer((json_int_t)(age_ns / 1000000)));
	json_object_set_new(o, "in_flight", json_integer((json_int_t)s->in_flight));
	json_object_set_new(o, "windows", windows_json(s));
	if (s->reads.count > 0)
		json_object_set_new(o, "read_latency", latency_json(&s->reads));
	if (s->writes.count > 0)
		json_object_set_new(o, "write_latency", latency_json(&s->writes));
	json_object_set_new(o, "counters", counters_json(s));
	json_object_set_new(o, "tiers", tiers_json(s));
	if (!s->has_ssd)
		return;
	json_object_set_new(o, "dirty_bytes", json_integer((json_int_t)s->dirty_bytes));
	json_object_set_new(o, "cached_bytes", json_integer((json_int_t)s->cached_bytes));
	json_object_set_new(o, "destaged_bytes",
	    json_integer((json_int_t)s->counters[STATS_DESTAGED] * (json_int_t)BLOCK_BYTES));
}

static json_t *
lun_json(const struct picture *p, unsigned i)
{
	const struct picture_lun *l = &p->luns[i];
	json_t *o = json_pack("{s:o, s:o, s:o, s:I, s:i, s:s, s:s, s:o, s:s, s:o, s:b}", "name",
	    ctl_string(l->conf->name), "uuid", control_uuid(l), "store", ctl_string(l->store),
	    "size_bytes", (json_int_t)l->size_bytes, "block_bytes", (int)l->conf->block_size,
	    "mode", l->mode, "profile", conf_profile_to_string(l->conf->profile), "cache",
	    ctl_string(l->conf->cache != NULL ? l->conf->cache : ""), "state", l->state, "why",
	    ctl_string(l->why), "read_only", l->conf->read_only);

	if (o != NULL && p->summaries[i].time_s != 0)
		add_summary(o, p, i);
	return o;
}

static json_t *
luns_json(const struct picture *p)
{
	json_t *list = json_array();

	for (unsigned i = 0; list != NULL && i < p->lun_count; i++)
		json_array_append_new(list, lun_json(p, i));
	return list;
}

const char *
control_lun_of(struct daemon *d, struct ctl_call *call, const json_t *params, bool *ret_ok)
{
	const char *lun = json_string_value(json_object_get(params, "lun"));

	*ret_ok = lun == NULL || (!d->stopping && daemon_lun_find(d, lun) != NULL);
	if (!*ret_ok)
		ctl_call_fail(call, CTL_NO_OBJECT, NULL, "there is no LUN \"%.64s\"", lun);
	return lun;
}

static const struct ctl_param lun_stats_params[] = {
    {"lun", CTL_STRING, false, "of this one only; all if not said"},
    {.name = NULL},
};

static void
lun_stats(void *ctx, struct ctl_call *call, const json_t *params)
{
	struct control_wish wish = {.parts = PICTURE_LUNS | PICTURE_SUMMARIES, .make = luns_json};
	bool ok;

	wish.lun = control_lun_of(ctx, call, params, &ok);
	if (ok)
		control_answer_wish(ctx, call, &wish);
}

/* ---- overview ------------------------------------------------------------------------------------------------ */

static json_t *
overview_json(const struct picture *p)
{
	char host[HOST_NAME_MAX + 1] = "";
	json_t *health = health_copy_json(p->health);
	json_t *all = json_object();

	if (gethostname(host, sizeof host - 1) < 0)
		host[0] = '\0';
	if (all != NULL && p->summaries[p->lun_count].time_s != 0)
		add_summary(all, p, p->lun_count);
	json_t *o = json_pack("{s:s, s:i, s:o, s:I, s:O*, s:O*, s:o, s:o, s:O*, s:o, s:o}",
	    "version", TERRACE_VERSION, "schema", CONTROL_SCHEMA, "host", ctl_string(host),
	    "uptime_s", (json_int_t)p->uptime_s, "state", json_object_get(health, "state"),
	    "conditions", json_object_get(health, "conditions"), "all", all, "luns", luns_json(p),
	    "caches", p->caches, "sessions", control_sessions(p), "loops", control_loops(p));
	json_decref(health);
	return o;
}

static void
overview(void *ctx, struct ctl_call *call, const json_t *params)
{
	struct control_wish wish = {
	    .parts = PICTURE_HEALTH | PICTURE_LUNS | PICTURE_SUMMARIES | PICTURE_SESSIONS |
	             PICTURE_LOOPS | PICTURE_CACHES,
	    .make = overview_json,
	};

	(void)params;
	control_answer_wish(ctx, call, &wish);
}

/* ---- lun.latency ------------------------------------------------------------------------------------------- */

/* A column of a history. */
struct column {
	const char *name;
	json_t *(*get)(const struct stats_slot *s, double slot_s);
};

static json_t *
per_s(uint32_t n, double slot_s)
{
	/* Tenths do: there are thousands of them. */
	return json_real((double)(uint64_t)(n / slot_s * 10 + 0.5) / 10);
}

static json_t *
bucket_us(uint32_t commands, uint8_t bucket)
{
	unsigned end = bucket + 1u < SCSI_LATENCY_BUCKETS ? bucket + 1u : SCSI_LATENCY_BUCKETS - 1;
	return commands > 0 ? json_integer((json_int_t)(scsi_latency_floor_ns(end) / 1000))
	                    : json_null();
}

static json_t *
permille(uint32_t reads, uint16_t n)
{
	return reads > 0 && n != STATS_NO_RATIO ? json_real(n / 1000.0) : json_null();
}

static json_t *
get_reads(const struct stats_slot *s, double slot_s)
{
	return per_s(s->reads, slot_s);
}

static json_t *
get_writes(const struct stats_slot *s, double slot_s)
{
	return per_s(s->writes, slot_s);
}

static json_t *
get_read_bytes(const struct stats_slot *s, double slot_s)
{
	return json_integer((json_int_t)(s->read_kib * 1024.0 / slot_s));
}

static json_t *
get_write_bytes(const struct stats_slot *s, double slot_s)
{
	return json_integer((json_int_t)(s->write_kib * 1024.0 / slot_s));
}

#define LATENCY_COLUMN(kind, field)                                                                \
	static json_t *get_##field(const struct stats_slot *s, double slot_s)                      \
	{                                                                                          \
		(void)slot_s;                                                                      \
		return bucket_us(s->kind, s->field);                                               \
	}
LATENCY_COLUMN(reads, read_p50)
LATENCY_COLUMN(reads, read_p99)
LATENCY_COLUMN(reads, read_max)
LATENCY_COLUMN(writes, write_p50)
LATENCY_COLUMN(writes, write_p99)
LATENCY_COLUMN(writes, write_max)
#undef LATENCY_COLUMN

static json_t *
get_ram(const struct stats_slot *s, double slot_s)
{
	(void)slot_s;
	return permille(s->reads, s->ram_hits);
}

static json_t *
get_ssd(const struct stats_slot *s, double slot_s)
{
	(void)slot_s;
	return permille(s->reads, s->ssd_hits);
}

static json_t *
get_dirty(const struct stats_slot *s, double slot_s)
{
	(void)slot_s;
	return json_integer((json_int_t)s->dirty_mib << 20);
}

static json_t *
get_destaged(const struct stats_slot *s, double slot_s)
{
	return json_integer((json_int_t)(s->destaged_mib * 1048576.0 / slot_s));
}

static const struct column columns[] = {
    {"reads_per_s", get_reads},
    {"writes_per_s", get_writes},
    {"read_bytes_per_s", get_read_bytes},
    {"write_bytes_per_s", get_write_bytes},
    {"read_p50_us", get_read_p50},
    {"read_p99_us", get_read_p99},
    {"read_max_us", get_read_max},
    {"write_p50_us", get_write_p50},
    {"write_p99_us", get_write_p99},
    {"write_max_us", get_write_max},
    {"ram_hit_ratio", get_ram},
    {"ssd_hit_ratio", get_ssd},
    {"dirty_bytes", get_dirty},
    {"destage_bytes_per_s", get_destaged},
};

static json_t *
column_json(const struct column *c, const struct stats_slot *slots, unsigned count, double slot_s)
{
	json_t *list = json_array();

	for (unsigned i = 0; list != NULL && i < count; i++)
		json_array_append_new(list,
		    slots[i].reads == STATS_UNKNOWN ? json_null() : c->get(&slots[i], slot_s));
	return list;
}

/* Slots before the first that is known aren't told. */
static json_t *
slots_json(const struct stats_slot *slots, unsigned count, unsigned slot_s, int64_t end_s)
{
	unsigned first = 0;

	while (first < count && slots[first].reads == STATS_UNKNOWN)
		first++;
	json_t *o = json_pack("{s:i, s:I, s:i}", "slot_s", (int)slot_s, "end", (json_int_t)end_s,
	    "count", (int)(count - first));
	for (unsigned i = 0; o != NULL && i < sizeof columns / sizeof columns[0]; i++)
		json_object_set_new(o, columns[i].name,
		    column_json(&columns[i], slots + first, count - first, slot_s));
	return o;
}

static json_t *
history_json(const struct picture *p)
{
	const struct stats_history *h = p->extra;

	return json_pack("{s:o, s:o, s:o}", "name", ctl_string(p->lun != NULL ? p->lun : ""),
	    "seconds", slots_json(h->seconds, STATS_SECONDS, 1, h->second_s), "minutes",
	    slots_json(h->minutes, STATS_MINUTES, 60, h->minute_s));
}

void
control_fail_lun(struct ctl_call *call, const char *lun, int rc)
{
	if (rc == -ENOENT)
		ctl_call_fail(
		    call, CTL_NO_OBJECT, NULL, "nothing is known of LUN \"%.64s\" yet", lun);
	else
		ctl_call_fail(call, CTL_FAILED, NULL, "out of memory");
}

static const struct ctl_param lun_latency_params[] = {
    {"lun", CTL_STRING, false, "which; all together if not said"},
    {.name = NULL},
};

static void
lun_latency(void *ctx, struct ctl_call *call, const json_t *params)
{
	struct daemon *d = ctx;
	struct control_wish wish = {.make = history_json};
	struct stats_history *h = NULL;
	bool ok;

	wish.lun = control_lun_of(d, call, params, &ok);
	if (!ok)
		return;
	int rc = d->stats != NULL ? stats_get_history(d->stats, wish.lun, &h) : -ENOENT;
	if (rc < 0) {
		control_fail_lun(call, wish.lun != NULL ? wish.lun : "", rc);
		return;
	}
	wish.extra = h;
	control_answer_wish(d, call, &wish);
}

const struct ctl_method control_stats_methods[] = {
    {.name = "overview",
        .help = "health, LUNs with rates and latencies, caches, sessions and loops in one answer",
        .start = overview},
    {.name = "lun.stats",
        .help = "rates, latencies and hit ratios of LUNs over 1 s, 10 s and 60 s",
        .params = lun_stats_params,
        .start = lun_stats},
    {.name = "lun.latency",
        .help = "latencies, rates and dirty data over ten minutes and a day",
        .params = lun_latency_params,
        .start = lun_latency},
    {.name = "lun.heatmap",
        .help = "where a LUN is read, written, cached and dirty",
        .params = control_heatmap_params,
        .start = control_lun_heatmap},
    {.name = NULL},
};
