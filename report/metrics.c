/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * OpenMetrics 1.0 text: families of samples, each family in one piece, "# EOF" at the end. A value that
 * isn't known has no sample; names of families and labels are only ever added.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "report/report.h"
#include "report/report_priv.h"

struct label {
	const char *name, *value;
};

static void
family(struct out *o, const char *name, const char *type, const char *unit, const char *help)
{
	out_add(o, "# TYPE %s %s\n", name, type);
	if (unit != NULL)
		out_add(o, "# UNIT %s %s\n", name, unit);
	out_add(o, "# HELP %s %s\n", name, help);
}

static void
value(struct out *o, double v)
{
	if (v == floor(v) && fabs(v) < 1e15)
		out_add(o, " %.0f\n", v);
	else
		out_add(o, " %.9g\n", v);
}

/* A counter is a number from 0 on; other values with a suffix are as well. */
static bool
can_be_told(const char *suffix, double v)
{
	return isfinite(v) && (suffix[0] == '\0' || v >= 0);
}

/* Labels end with a row without name. */
static void
sample(struct out *o, const char *name, const char *suffix, const struct label *labels, double v)
{
	if (!can_be_told(suffix, v))
		return;
	out_add(o, "%s%s", name, suffix);
	for (unsigned i = 0; labels[i].name != NULL; i++) {
		out_add(o, "%s%s=\"", i == 0 ? "{" : ",", labels[i].name);
		out_label(o, labels[i].value);
		out_add(o, "\"");
	}
	if (labels[0].name != NULL)
		out_add(o, "}");
	value(o, v);
}

/* ---- families of one number of each object ------------------------------------------------------------- */

struct number {
	const char *name, *type, *unit, *help;
	const char *object, *key; /* object: within each; NULL: of it itself */
	double factor;
};

static double
number_of(const json_t *each, const struct number *n)
{
	const json_t *o = n->object != NULL ? json_object_get(each, n->object) : each;
	return get_number(o, n->key) * n->factor;
}

/* `key` of each object of the list is the value of the label. */
static void
numbers(struct out *o, const json_t *list, const char *label, const char *key,
    const struct number *table, unsigned count)
{
	size_t i;
	const json_t *each;

	for (unsigned n = 0; n < count; n++) {
		const struct number *f = &table[n];
		family(o, f->name, f->type, f->unit, f->help);
		json_array_foreach(list, i, each)
		{
			const struct label labels[] = {{label, get_text(each, key)}, {NULL, NULL}};
			sample(o, f->name, strcmp(f->type, "counter") == 0 ? "_total" : "", labels,
			    number_of(each, f));
		}
	}
}

/* ---- the target ------------------------------------------------------------------------------------------- */

static void
stateset(struct out *o, const char *name, const struct label *of, const char *state,
    const char *const *states)
{
	for (unsigned i = 0; states[i] != NULL; i++) {
		struct label labels[3] = {{name, states[i]}, {NULL, NULL}, {NULL, NULL}};
		if (of != NULL) {
			labels[1] = labels[0];
			labels[0] = *of;
		}
		sample(o, name, "", labels, strcmp(state, states[i]) == 0 ? 1 : 0);
	}
}

static void
target(struct out *o, const json_t *stats)
{
	static const char *const states[] = {"ok", "degraded", "failed", NULL};
	static const struct label none[] = {{NULL, NULL}};
	const json_t *c;
	size_t i;

	family(o, "terrace", "info", NULL, "What runs.");
	const struct label what[] = {{"version", get_text(stats, "version")},
	    {"host", get_text(stats, "host")}, {NULL, NULL}};
	sample(o, "terrace", "_info", what, 1);
	family(o, "terrace_uptime_seconds", "gauge", "seconds", "Time since the start.");
	sample(o, "terrace_uptime_seconds", "", none, get_number(stats, "uptime_s"));
	family(o, "terrace_state", "stateset", NULL, "Health: the worst of the conditions.");
	stateset(o, "terrace_state", NULL, get_text(stats, "state"), states);
	family(o, "terrace_condition", "gauge", NULL, "A condition that needs a person: always 1.");
	json_array_foreach(json_object_get(stats, "conditions"), i, c)
	{
		if (get_text(c, "code")[0] == '\0')
			continue;
		const struct label labels[] = {{"code", get_text(c, "code")},
		    {"name", get_text(c, "name")}, {"severity", get_text(c, "severity")},
		    {"object", get_text(c, "object")}, {NULL, NULL}};
		sample(o, "terrace_condition", "", labels, 1);
	}
	family(o, "terrace_sessions", "gauge", NULL, "Sessions of initiators.");
	sample(o, "terrace_sessions", "", none,
	    (double)json_array_size(json_object_get(stats, "sessions")));
}

/* ---- LUNs ---------------------------------------------------------------------------------------------------- */

static const struct number lun_numbers[] = {
    {"terrace_lun_size_bytes", "gauge", "bytes", "Size of the LUN.", NULL, "size_bytes", 1},
    {"terrace_lun_in_flight", "gauge", NULL, "Commands under way.", NULL, "in_flight", 1},
    {"terrace_lun_check_conditions", "counter", NULL, "Commands answered CHECK CONDITION.",
        "counters", "check_conditions", 1},
    {"terrace_lun_reservation_conflicts", "counter", NULL,
        "Commands answered RESERVATION CONFLICT.", "counters", "reservation_conflicts", 1},
    {"terrace_lun_aborts", "counter", NULL, "Commands aborted.", "counters", "aborts", 1},
    {"terrace_lun_store_errors", "counter", NULL, "Operations that the store ended with an error.",
        "counters", "store_errors", 1},
    {"terrace_lun_dirty_bytes", "gauge", "bytes", "Data that waits on the SSD for its store.", NULL,
        "dirty_bytes", 1},
    {"terrace_lun_cached_bytes", "gauge", "bytes", "Data of the LUN on the SSD.", NULL,
        "cached_bytes", 1},
    {"terrace_lun_destaged_bytes", "counter", "bytes", "What went from the SSD to the store.", NULL,
        "destaged_bytes", 1},
};

static void
lun_info(struct out *o, const json_t *luns)
{
	const json_t *l;
	size_t i;

	family(o, "terrace_lun", "info", NULL, "What a LUN is.");
	json_array_foreach(luns, i, l)
	{
		const struct label labels[] = {{"lun", get_text(l, "name")},
		    {"uuid", get_text(l, "uuid")}, {"store", get_text(l, "store")},
		    {"mode", get_text(l, "mode")}, {"profile", get_text(l, "profile")},
		    {"cache", get_text(l, "cache")}, {NULL, NULL}};
		sample(o, "terrace_lun", "_info", labels, 1);
	}
	family(o, "terrace_lun_served", "gauge", NULL, "1 while the LUN's store answers, else 0.");
	json_array_foreach(luns, i, l)
	{
		const struct label labels[] = {{"lun", get_text(l, "name")}, {NULL, NULL}};
		sample(o, "terrace_lun_served", "", labels,
		    strcmp(get_text(l, "state"), "ok") == 0 ? 1 : 0);
	}
}

/* A counter of reads and one of writes, told apart by a label. */
static void
lun_pair(struct out *o, const json_t *luns, const char *name, const char *reads, const char *writes)
{
	const json_t *l;
	size_t i;

	json_array_foreach(luns, i, l)
	{
		const json_t *c = json_object_get(l, "counters");
		struct label labels[] = {
		    {"lun", get_text(l, "name")}, {"kind", "read"}, {NULL, NULL}};
		sample(o, name, "_total", labels, get_number(c, reads));
		labels[1].value = "write";
		sample(o, name, "_total", labels, get_number(c, writes));
	}
}

static void
quantiles(struct out *o, const json_t *lun, const char *kind, const char *object)
{
	static const struct label marks[] = {
	    {"0.5", "p50_us"}, {"0.95", "p95_us"}, {"0.99", "p99_us"}, {"0.999", "p999_us"}};
	const json_t *minute = json_object_get(get_window(lun, 60), object);
	struct label labels[] = {
	    {"lun", get_text(lun, "name")}, {"kind", kind}, {"quantile", NULL}, {NULL, NULL}};

	for (unsigned i = 0; i < sizeof marks / sizeof marks[0]; i++) {
		labels[2].value = marks[i].name;
		sample(o, "terrace_lun_latency_seconds", "", labels,
		    get_number(minute, marks[i].value) / 1e6);
	}
	labels[2].name = NULL;
	sample(o, "terrace_lun_latency_seconds", "_count", labels,
	    get_number(json_object_get(lun, object), "count"));
}

static void
greatest(struct out *o, const json_t *lun, const char *kind, const char *object)
{
	const struct label labels[] = {
	    {"lun", get_text(lun, "name")}, {"kind", kind}, {NULL, NULL}};
	const json_t *minute = json_object_get(get_window(lun, 60), object);

	sample(
	    o, "terrace_lun_latency_max_seconds", "", labels, get_number(minute, "max_us") / 1e6);
}

static void
lun_latency(struct out *o, const json_t *luns)
{
	const json_t *l;
	size_t i;

	family(o, "terrace_lun_latency_seconds", "summary", "seconds",
	    "How long commands took: quantiles over the last minute, count since the start.");
	json_array_foreach(luns, i, l)
	{
		quantiles(o, l, "read", "read_latency");
		quantiles(o, l, "write", "write_latency");
	}
	family(o, "terrace_lun_latency_max_seconds", "gauge", "seconds",
	    "How long the slowest command of the last minute took.");
	json_array_foreach(luns, i, l)
	{
		greatest(o, l, "read", "read_latency");
		greatest(o, l, "write", "write_latency");
	}
}

static void
lun_tiers(struct out *o, const json_t *luns, const char *name, const char *key, const char *help)
{
	const json_t *l, *t;
	size_t i, k;

	family(o, name, "counter", NULL, help);
	json_array_foreach(luns, i, l)
	{
		json_array_foreach(json_object_get(l, "tiers"), k, t)
		{
			const struct label labels[] = {{"lun", get_text(l, "name")},
			    {"tier", get_text(t, "tier")}, {NULL, NULL}};
			sample(o, name, "_total", labels, get_number(t, key));
		}
	}
}

static void
luns_all(struct out *o, const json_t *luns)
{
	lun_info(o, luns);
	family(o, "terrace_lun_commands", "counter", NULL, "READ and WRITE commands that ended.");
	lun_pair(o, luns, "terrace_lun_commands", "reads", "writes");
	family(o, "terrace_lun_data_bytes", "counter", "bytes", "What they returned and wrote.");
	lun_pair(o, luns, "terrace_lun_data_bytes", "read_bytes", "write_bytes");
	numbers(o, luns, "lun", "name", lun_numbers, sizeof lun_numbers / sizeof lun_numbers[0]);
	lun_latency(o, luns);
	lun_tiers(o, luns, "terrace_lun_tier_hits", "hits",
	    "Reads that a tier answered: blocks of 4 KiB in ram, commands in ssd.");
	lun_tiers(
	    o, luns, "terrace_lun_tier_misses", "misses", "Reads that a tier couldn't answer.");
}

/* ---- caches, sessions, loops ------------------------------------------------------------------------------------ */

static const struct number cache_numbers[] = {
    {"terrace_cache_size_bytes", "gauge", "bytes", "Room on the SSD.", NULL, "size_bytes", 1},
    {"terrace_cache_cached_bytes", "gauge", "bytes", "Data on the SSD.", NULL, "cached_bytes", 1},
    {"terrace_cache_dirty_bytes", "gauge", "bytes", "Of that, data that waits for its store.", NULL,
        "dirty_bytes", 1},
    {"terrace_cache_segments", "gauge", NULL, "Parts of the SSD.", NULL, "segments", 1},
    {"terrace_cache_segments_free", "gauge", NULL, "Those that are free.", NULL, "segments_free",
        1},
    {"terrace_cache_segments_bad", "gauge", NULL, "Those that aren't used after errors.", NULL,
        "segments_bad", 1},
    {"terrace_cache_reads", "counter", NULL, "Reads that came to the SSD.", NULL, "reads", 1},
    {"terrace_cache_read_hits", "counter", NULL, "Those that came wholly from it.", NULL,
        "read_hits", 1},
    {"terrace_cache_ssd_errors", "counter", NULL, "Errors of the SSD.", NULL, "ssd_errors", 1},
    {"terrace_cache_bad_blocks", "counter", NULL, "Blocks that the SSD lost.", NULL, "bad_blocks",
        1},
    {"terrace_cache_compress_in_bytes", "counter", "bytes", "Data that was compressed on the SSD.",
        NULL, "compress_in_bytes", 1},
    {"terrace_cache_compress_out_bytes", "counter", "bytes", "What that took there.", NULL,
        "compress_out_bytes", 1},
    {"terrace_cache_compress_refused_bytes", "counter", "bytes",
        "Data that didn't get smaller, and stayed as it was.", NULL, "compress_refused_bytes", 1},
    {"terrace_cache_ram_bytes", "gauge", "bytes", "Memory of the cache.", NULL, "ram_bytes", 1},
    {"terrace_cache_ram_used_bytes", "gauge", "bytes", "Memory that holds something.", NULL,
        "ram_used_bytes", 1},
    {"terrace_cache_ram_hits", "counter", NULL, "Blocks that came from memory.", NULL, "ram_hits",
        1},
    {"terrace_cache_ram_misses", "counter", NULL, "Blocks that didn't.", NULL, "ram_misses", 1},
};

static void
caches_all(struct out *o, const json_t *caches)
{
	static const char *const states[] = {"ok", "degraded", "void", "absent", NULL};
	const json_t *c;
	size_t i;

	family(o, "terrace_cache_state", "stateset", NULL, "How a cache is.");
	json_array_foreach(caches, i, c)
	{
		const struct label of = {"cache", get_text(c, "name")};
		stateset(o, "terrace_cache_state", &of, get_text(c, "state"), states);
	}
	numbers(o, caches, "cache", "name", cache_numbers,
	    sizeof cache_numbers / sizeof cache_numbers[0]);
}

static void
session_pair(
    struct out *o, const json_t *sessions, const char *name, const char *reads, const char *writes)
{
	const json_t *s;
	size_t i;

	json_array_foreach(sessions, i, s)
	{
		struct out number = {.text = NULL};
		out_add(&number, "%.0f", get_number(s, "tsih"));
		char *tsih = out_take(&number, NULL);
		if (tsih == NULL) {
			o->failed = true;
			return;
		}
		struct label labels[] = {{"initiator", get_text(s, "initiator")},
		    {"target", get_text(s, "target")}, {"tsih", tsih}, {"kind", "read"},
		    {NULL, NULL}};
		sample(o, name, "_total", labels, get_number(s, reads));
		labels[3].value = "write";
		sample(o, name, "_total", labels, get_number(s, writes));
		free(tsih);
	}
}

static const struct number loop_numbers[] = {
    {"terrace_loop_turns", "counter", NULL, "Turns of an event loop.", NULL, "turns", 1},
    {"terrace_loop_sleeps", "counter", NULL, "How often it slept.", NULL, "sleeps", 1},
    {"terrace_loop_messages", "counter", NULL, "Messages of other loops.", NULL, "messages", 1},
    {"terrace_loop_operations", "counter", NULL, "Operations on files.", NULL, "ops", 1},
    {"terrace_loop_turn_max_seconds", "gauge", "seconds", "The longest turn since the start.", NULL,
        "turn_max_ms", 0.001},
    {"terrace_loop_nbd_bytes", "counter", "bytes", "What it moved over NBD.", NULL, "nbd_bytes", 1},
    {"terrace_loop_nbd_paused_seconds", "counter", "seconds",
        "How long NBD connections waited for inspect_rate.", NULL, "nbd_paused_s", 1},
};

/* Loops are numbered. */
static void
loops_all(struct out *o, const json_t *loops)
{
	const json_t *l;
	size_t i;

	for (unsigned n = 0; n < sizeof loop_numbers / sizeof loop_numbers[0]; n++) {
		const struct number *f = &loop_numbers[n];
		family(o, f->name, f->type, f->unit, f->help);
		json_array_foreach(loops, i, l)
		{
			double v = number_of(l, f);
			const char *suffix = strcmp(f->type, "counter") == 0 ? "_total" : "";
			if (!can_be_told(suffix, v) || !isfinite(get_number(l, "loop")))
				continue;
			out_add(o, "%s%s{loop=\"%.0f\"}", f->name, suffix, get_number(l, "loop"));
			value(o, v);
		}
	}
}

char *
report_metrics(const json_t *stats, size_t *ret_len)
{
	struct out o = {.text = NULL};
	json_t *luns = json_object_get(stats, "luns");

	if (luns != NULL) {
		const json_t *sessions = json_object_get(stats, "sessions");
		target(&o, stats);
		luns_all(&o, luns);
		caches_all(&o, json_object_get(stats, "caches"));
		family(&o, "terrace_session_commands", "counter", NULL,
		    "READ and WRITE commands of a session.");
		session_pair(&o, sessions, "terrace_session_commands", "reads", "writes");
		family(&o, "terrace_session_data_bytes", "counter", "bytes",
		    "What they returned and wrote.");
		session_pair(
		    &o, sessions, "terrace_session_data_bytes", "read_bytes", "write_bytes");
		loops_all(&o, json_object_get(stats, "loops"));
	} else { /* of one LUN */
		json_t *one = json_array();
		if (one == NULL || json_array_append_new(one, json_deep_copy(stats)) < 0)
			o.failed = true;
		luns_all(&o, one);
		json_decref(one);
	}
	out_add(&o, "# EOF\n");
	return out_take(&o, ret_len);
}
