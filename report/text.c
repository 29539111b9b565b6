/* SPDX-License-Identifier: BSD-2-Clause */
/* Statistics for people: aligned, with units. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report/report.h"
#include "report/report_priv.h"

static const int windows[] = {1, 10, 60};
#define WINDOWS (sizeof windows / sizeof windows[0])

static void
label(struct out *o, const char *text)
{
	out_add(o, "%-16s", text);
}

static void
field(struct out *o, const char *text, const char *value)
{
	label(o, text);
	out_plain(o, value[0] != '\0' ? value : "-");
	out_add(o, "\n");
}

/* ---- LUNs ------------------------------------------------------------------------------------------------ */

/* A row of numbers: one for each window. */
static void
row(struct out *o, const char *name, const json_t *lun, const char *key,
    struct short_text (*show)(double n))
{
	label(o, name);
	for (unsigned i = 0; i < WINDOWS; i++)
		out_add(o, " %10s", show(get_number(get_window(lun, windows[i]), key)).s);
	out_add(o, "\n");
}

static void
latency_row(struct out *o, const char *kind, const char *name, const json_t *lun,
    const char *object, const char *key)
{
	char text[32];

	snprintf(text, sizeof text, "%s %s ms", kind, name);
	label(o, text);
	for (unsigned i = 0; i < WINDOWS; i++) {
		const json_t *w = get_window(lun, windows[i]);
		out_add(o, " %10s", show_ms(get_number(json_object_get(w, object), key)).s);
	}
	out_add(o, " %10s\n", show_ms(get_number(json_object_get(lun, object), key)).s);
}

static void
latencies(struct out *o, const char *kind, const json_t *lun, const char *object)
{
	latency_row(o, kind, "p50", lun, object, "p50_us");
	latency_row(o, kind, "p95", lun, object, "p95_us");
	latency_row(o, kind, "p99", lun, object, "p99_us");
	latency_row(o, kind, "p99.9", lun, object, "p999_us");
	latency_row(o, kind, "max", lun, object, "max_us");
}

static void
tier_lines(struct out *o, const json_t *lun)
{
	size_t i;
	const json_t *t;

	json_array_foreach(json_object_get(lun, "tiers"), i, t)
	{
		double hits = get_number(t, "hits"), misses = get_number(t, "misses");
		bool ram = strcmp(get_text(t, "tier"), "ram") == 0;
		label(o, ram ? "RAM" : "SSD");
		out_add(
		    o, " %10s", show_percent(hits + misses > 0 ? hits / (hits + misses) : NAN).s);
		out_add(o, "  hits %s", show_count(hits).s);
		out_add(o, " of %s %s\n", show_count(hits + misses).s,
		    ram ? "blocks read" : "reads that came to it");
	}
}

static void
since_start(struct out *o, const json_t *lun)
{
	const json_t *c = json_object_get(lun, "counters");

	out_add(o, "since the start\n");
	label(o, "reads");
	out_add(o, " %10s  %s\n", show_count(get_number(c, "reads")).s,
	    show_bytes(get_number(c, "read_bytes")).s);
	label(o, "writes");
	out_add(o, " %10s  %s\n", show_count(get_number(c, "writes")).s,
	    show_bytes(get_number(c, "write_bytes")).s);
	tier_lines(o, lun);
	if (json_object_get(lun, "destaged_bytes") != NULL) {
		label(o, "destaged");
		out_add(o, " %10s\n", show_bytes(get_number(lun, "destaged_bytes")).s);
	}
	label(o, "errors");
	out_add(o, " %10s", show_count(get_number(c, "check_conditions")).s);
	out_add(o, "  check conditions, %s", show_count(get_number(c, "reservation_conflicts")).s);
	out_add(o, " reservation conflicts, %s", show_count(get_number(c, "aborts")).s);
	out_add(o, " aborted, %s of the store\n", show_count(get_number(c, "store_errors")).s);
}

char *
report_lun_text(const json_t *lun, size_t *ret_len)
{
	struct out o = {.text = NULL};
	bool cached = json_object_get(lun, "dirty_bytes") != NULL;

	field(&o, "LUN", get_text(lun, "name"));
	field(&o, "state", get_text(lun, "state"));
	if (get_text(lun, "why")[0] != '\0')
		field(&o, "why", get_text(lun, "why"));
	field(&o, "size", show_bytes(get_number(lun, "size_bytes")).s);
	field(&o, "store", get_text(lun, "store"));
	field(&o, "mode", get_text(lun, "mode"));
	field(&o, "profile", get_text(lun, "profile"));
	if (get_text(lun, "cache")[0] != '\0')
		field(&o, "cache", get_text(lun, "cache"));
	if (json_object_get(lun, "windows") == NULL)
		return out_take(&o, ret_len); /* it isn't served */
	field(&o, "queue depth", show_count(get_number(lun, "in_flight")).s);
	if (cached) {
		field(&o, "dirty", show_bytes(get_number(lun, "dirty_bytes")).s);
		field(&o, "on the SSD", show_bytes(get_number(lun, "cached_bytes")).s);
	}
	out_add(&o, "\n");
	label(&o, "over the last");
	out_add(&o, " %10s %10s %10s %10s\n", "1 s", "10 s", "60 s", "(start)");
	row(&o, "reads/s", lun, "reads_per_s", show_count);
	row(&o, "writes/s", lun, "writes_per_s", show_count);
	row(&o, "read B/s", lun, "read_bytes_per_s", show_bytes);
	row(&o, "write B/s", lun, "write_bytes_per_s", show_bytes);
	row(&o, "errors/s", lun, "errors_per_s", show_count);
	if (cached)
		row(&o, "destage B/s", lun, "destage_bytes_per_s", show_bytes);
	if (json_array_size(json_object_get(lun, "tiers")) > 0) {
		row(&o, "RAM hits", lun, "ram_hit_ratio", show_percent);
		row(&o, "SSD hits", lun, "ssd_hit_ratio", show_percent);
	}
	latencies(&o, "read", lun, "read_latency");
	latencies(&o, "write", lun, "write_latency");
	out_add(&o, "\n");
	since_start(&o, lun);
	return out_take(&o, ret_len);
}

/* ---- caches ------------------------------------------------------------------------------------------------ */

static struct short_text
show_share(double part, double whole)
{
	return show_percent(whole > 0 ? part / whole : NAN);
}

static void
share(struct out *o, const char *name, double bytes, double of)
{
	label(o, name);
	out_add(o, "%-10s", show_bytes(bytes).s);
	out_add(o, " %s\n", show_share(bytes, of).s);
}

char *
report_cache_text(const json_t *cache, size_t *ret_len)
{
	struct out o = {.text = NULL};
	double size = get_number(cache, "size_bytes"), ram = get_number(cache, "ram_bytes");
	double reads = get_number(cache, "reads"), hits = get_number(cache, "read_hits");
	double ram_hits = get_number(cache, "ram_hits");
	double ram_all = ram_hits + get_number(cache, "ram_misses");
	const json_t *c;
	size_t i;

	field(&o, "cache", get_text(cache, "name"));
	field(&o, "state", get_text(cache, "state"));
	if (get_text(cache, "why")[0] != '\0')
		field(&o, "why", get_text(cache, "why"));
	json_array_foreach(json_object_get(cache, "conditions"), i, c)
	{
		const char *text = json_string_value(c);
		field(&o, "condition", text != NULL ? text : "");
	}
	field(&o, "LUNs", show_count(get_number(cache, "luns")).s);
	if (get_text(cache, "ssd")[0] != '\0') {
		out_add(&o, "\n");
		field(&o, "SSD", get_text(cache, "ssd"));
		field(&o, "size", show_bytes(size).s);
		share(&o, "cached", get_number(cache, "cached_bytes"), size);
		share(&o, "dirty", get_number(cache, "dirty_bytes"), size);
		label(&o, "segments");
		out_add(&o, "%s of ", show_count(get_number(cache, "segments_free")).s);
		out_add(&o, "%s free, ", show_count(get_number(cache, "segments")).s);
		out_add(&o, "%s bad\n", show_count(get_number(cache, "segments_bad")).s);
		label(&o, "hits");
		out_add(&o, "%-10s", show_share(hits, reads).s);
		out_add(&o, " of %s reads that came to it\n", show_count(reads).s);
		label(&o, "errors");
		out_add(&o, "%s, ", show_count(get_number(cache, "ssd_errors")).s);
		out_add(&o, "%s blocks lost\n", show_count(get_number(cache, "bad_blocks")).s);
	}
	if (ram > 0) {
		out_add(&o, "\n");
		field(&o, "RAM", show_bytes(ram).s);
		share(&o, "used", get_number(cache, "ram_used_bytes"), ram);
		label(&o, "hits");
		out_add(&o, "%-10s", show_share(ram_hits, ram_all).s);
		out_add(&o, " of %s blocks read\n", show_count(ram_all).s);
	}
	return out_take(&o, ret_len);
}

/* ---- sessions, health -------------------------------------------------------------------------------------- */

char *
report_session_text(const json_t *session, size_t *ret_len)
{
	struct out o = {.text = NULL};

	field(&o, "initiator", get_text(session, "initiator"));
	field(&o, "target", get_text(session, "target"));
	field(&o, "address", get_text(session, "address"));
	field(&o, "group", get_text(session, "group"));
	field(&o, "user", get_text(session, "user"));
	field(&o, "connected", show_duration(get_number(session, "connected_s")).s);
	label(&o, "reads");
	out_add(&o, "%-10s", show_count(get_number(session, "reads")).s);
	out_add(&o, " %s\n", show_bytes(get_number(session, "read_bytes")).s);
	label(&o, "writes");
	out_add(&o, "%-10s", show_count(get_number(session, "writes")).s);
	out_add(&o, " %s\n", show_bytes(get_number(session, "write_bytes")).s);
	field(&o, "others", show_count(get_number(session, "others")).s);
	return out_take(&o, ret_len);
}

static void
indented(struct out *o, const char *name, const char *text)
{
	if (text[0] == '\0')
		return;
	out_add(o, "  %s: ", name);
	out_plain(o, text);
	out_add(o, "\n");
}

char *
report_health_text(const json_t *health, size_t *ret_len)
{
	struct out o = {.text = NULL};
	const char *state = get_text(health, "state");
	const json_t *c;
	size_t i;

	out_plain(&o, state[0] != '\0' ? state : "unknown");
	out_add(&o, "\n");
	json_array_foreach(json_object_get(health, "conditions"), i, c)
	{
		out_add(&o, "\n[");
		out_plain(&o, get_text(c, "code"));
		out_add(&o, "] ");
		out_plain(&o, get_text(c, "sentence"));
		out_add(&o, "\n");
		indented(&o, "since", show_date(get_number(c, "since")).s);
		indented(&o, "effect", get_text(c, "effect"));
		indented(&o, "action", get_text(c, "action"));
	}
	return out_take(&o, ret_len);
}

/* ---- JSON --------------------------------------------------------------------------------------------------- */

char *
report_json(const json_t *answer, size_t *ret_len)
{
	struct out o = {.text = NULL};
	char *text = json_dumps(answer, JSON_INDENT(1) | JSON_ENCODE_ANY);

	if (text == NULL)
		return NULL;
	out_bytes(&o, text, strlen(text));
	out_bytes(&o, "\n", 1);
	free(text);
	return out_take(&o, ret_len);
}
