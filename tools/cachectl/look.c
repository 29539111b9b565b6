/* SPDX-License-Identifier: BSD-2-Clause */
/* What caches have and how much it helps. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/text.h"
#include "cache/policy/policy.h"
#include "tools/cachectl/cachectl.h"

#define BLOCK 4096.0
#define ADVISE_SECONDS 2

static void
add_size(struct table *t, double bytes)
{
	char text[32];
	text_format_size((uint64_t)(bytes > 0 ? bytes : 0), text, sizeof text);
	table_add(t, text);
}

static void
sleep_s(unsigned s)
{
	struct timespec ts = {.tv_sec = s};
	while (nanosleep(&ts, &ts) < 0)
		;
}

/* ---- hits ---------------------------------------------------------------------------------------- */

static double
combine(double ram, double ssd)
{
	return 100 * (ram + (1 - ram) * ssd);
}

static double
tier_ratio(const json_t *lun, const char *name, bool *any)
{
	size_t i;
	const json_t *tier;

	json_array_foreach(json_object_get(lun, "tiers"), i, tier)
	{
		double hits = get_number(tier, "hits"), misses = get_number(tier, "misses");
		if (strcmp(get_text(tier, "tier"), name) != 0 || hits + misses <= 0)
			continue;
		*any = true;
		return hits / (hits + misses);
	}
	return 0;
}

/* `lun` is of lun.stats: the last minute; if nothing was read in it, all since the start. */
double
cache_hit_percent(const json_t *lun)
{
	size_t i;
	const json_t *w;
	bool any = false;

	json_array_foreach(json_object_get(lun, "windows"), i, w)
	{
		const json_t *ram = json_object_get(w, "ram_hit_ratio");
		const json_t *ssd = json_object_get(w, "ssd_hit_ratio");
		if (get_int(w, "window_s") == 60 && (json_is_number(ram) || json_is_number(ssd)))
			return combine(json_number_value(ram), json_number_value(ssd));
	}
	double ram = tier_ratio(lun, "ram", &any), ssd = tier_ratio(lun, "ssd", &any);
	return any ? combine(ram, ssd) : -1;
}

static void
add_hit(struct table *t, const json_t *stats, const char *lun)
{
	double hit = cache_hit_percent(find_named(stats, lun));
	if (hit < 0)
		table_add(t, "-");
	else
		table_addf(t, "%.0f%%", hit);
}

/* ---- status -------------------------------------------------------------------------------------- */

struct looked {
	json_t *caches, *luns, *stats;
};

static void
looked_fini(struct looked *x)
{
	json_decref(x->caches);
	json_decref(x->luns);
	json_decref(x->stats);
}

static bool
look(struct tool *t, struct looked *ret, int *status)
{
	*ret = (struct looked){0};
	ret->caches = tool_call(t, "cache.list", NULL, status);
	if (ret->caches != NULL)
		ret->luns = tool_call(t, "lun.list", json_pack("{s:b}", "stats", false), status);
	if (ret->luns != NULL)
		ret->stats = tool_call(t, "lun.stats", NULL, status);
	return ret->stats != NULL;
}

static void
print_caches(const json_t *caches)
{
	static const struct column columns[] = {{"CACHE", false, false}, {"STATE", false, false},
	    {"SIZE", true, false}, {"CACHED", true, false}, {"DIRTY", true, false},
	    {"FREE", true, false}, {"RAM", true, false}, {"USED", true, false},
	    {"LUNS", true, false}, {"SSD", false, false}};
	struct table *t = table_create(columns, sizeof columns / sizeof columns[0]);
	size_t i;
	const json_t *c;

	json_array_foreach(caches, i, c)
	{
		const char *state = get_text(c, "state");
		table_add(t, get_text(c, "name"));
		table_add(t, state);
		table_style(t, strcmp(state, "ok") == 0 ? STYLE_OK : STYLE_BAD);
		add_size(t, get_number(c, "size_bytes"));
		add_size(t, get_number(c, "cached_bytes"));
		add_size(t, get_number(c, "dirty_bytes"));
		double total = get_number(c, "segments");
		table_addf(
		    t, "%.0f%%", total > 0 ? 100 * get_number(c, "segments_free") / total : 0);
		add_size(t, get_number(c, "ram_bytes"));
		add_size(t, get_number(c, "ram_used_bytes"));
		table_addf(t, "%" JSON_INTEGER_FORMAT, get_int(c, "luns"));
		table_add(t, get_text(c, "ssd"));
	}
	if (table_rows(t) > 0)
		table_print(t, true);
	else
		puts("There are no caches. `cachectl add --help` says how to make one.");
	table_destroy(t);
	json_array_foreach(caches, i, c)
	{
		if (get_text(c, "why")[0] == '\0')
			continue;
		out_text(stdout, get_text(c, "why"));
		putchar('\n');
	}
}

static void
print_cached_luns(const struct looked *x)
{
	static const struct column columns[] = {{"LUN", false, false}, {"CACHE", false, false},
	    {"MODE", false, false}, {"PROFILE", false, false}, {"CACHED", true, false},
	    {"DIRTY", true, false}, {"HIT", true, false}, {"", false, true}};
	struct table *t = table_create(columns, sizeof columns / sizeof columns[0]);
	size_t i;
	const json_t *l;

	json_array_foreach(x->luns, i, l)
	{
		if (get_text(l, "cache")[0] == '\0')
			continue;
		table_add(t, get_text(l, "name"));
		table_add(t, get_text(l, "cache"));
		table_add(t, get_text(l, "mode"));
		table_add(t, get_text(l, "profile"));
		add_size(t, get_number(l, "cached_bytes"));
		add_size(t, get_number(l, "dirty_bytes"));
		add_hit(t, x->stats, get_text(l, "name"));
		table_add(t, get_bool(l, "frozen")                     ? "frozen"
		             : strcmp(get_text(l, "state"), "ok") == 0 ? get_text(l, "waits")
		                                                       : get_text(l, "state"));
	}
	if (table_rows(t) > 0) {
		putchar('\n');
		table_print(t, true);
	}
	table_destroy(t);
}

int
run_cache_status(struct tool *t, const struct verb *v, json_t *params)
{
	struct looked x;
	int status;

	(void)v;
	(void)params;
	if (look(t, &x, &status) && t->json) {
		json_t *o = json_pack(
		    "{s:O, s:O, s:O}", "caches", x.caches, "luns", x.luns, "stats", x.stats);
		tool_print_json(o, false);
		json_decref(o);
	} else if (x.stats != NULL) {
		print_caches(x.caches);
		print_cached_luns(&x);
	}
	looked_fini(&x);
	return status;
}

/* ---- one value ----------------------------------------------------------------------------------- */

/* Of a LUN or a cache; a list or an object as JSON. */
static int
print_value(const struct tool *t, const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);

	if (value == NULL)
		return tool_error(t, TOOL_FAILED,
		    "there is no value '%s' of it: --json shows those there are", key);
	if (t->json) {
		tool_print_json(value, false);
	} else if (json_is_string(value)) {
		out_text(stdout, json_string_value(value));
		putchar('\n');
	} else {
		json_dumpf(value, stdout, JSON_ENCODE_ANY | JSON_COMPACT);
		putchar('\n');
	}
	return TOOL_DONE;
}

int
run_cache_get(struct tool *t, const struct verb *v, json_t *params)
{
	const char *name = get_text(params, "name"), *key = get_text(params, "key");
	struct looked x;
	int status;

	(void)v;
	if (look(t, &x, &status)) {
		const json_t *lun = find_named(x.luns, name), *cache = find_named(x.caches, name);
		double hit = cache_hit_percent(find_named(x.stats, name));
		if (lun != NULL && strcmp(key, "hit_percent") == 0)
			printf(hit < 0 ? "-\n" : "%.0f\n", hit);
		else if (lun != NULL || cache != NULL)
			status = print_value(t, lun != NULL ? lun : cache, key);
		else
			status =
			    tool_error(t, TOOL_FAILED, "there is no LUN and no cache '%s'", name);
	}
	looked_fini(&x);
	return status;
}

/* ---- stats --------------------------------------------------------------------------------------- */

static void
print_counter(const char *what, double n, bool bytes)
{
	char text[32];

	if (bytes)
		text_format_size((uint64_t)n, text, sizeof text);
	else
		snprintf(text, sizeof text, "%.0f", n);
	printf("  %-34s %s\n", what, text);
}

static void
print_curve(const json_t *curve, const char *of, double now_bytes)
{
	size_t i;
	const json_t *p;

	if (json_array_size(curve) == 0)
		return;
	printf("  hits that other sizes of %s would have had lately:\n", of);
	json_array_foreach(curve, i, p)
	{
		char size[32];
		double bytes = get_number(p, "bytes"), ratio = get_number(p, "hit_ratio");
		text_format_size((uint64_t)bytes, size, sizeof size);
		printf("  %10s %5.1f%% ", size, 100 * ratio);
		for (int k = 0; k < (int)(40 * ratio + 0.5); k++)
			putchar('#');
		puts(bytes > 0.99 * now_bytes && bytes < 1.01 * now_bytes ? "  now" : "");
	}
}

static void
print_stats(const json_t *s)
{
	static const struct {
		const char *key, *what;
		bool bytes;
	} rows[] = {
	    {"cached_bytes", "data on the SSD", true},
	    {"dirty_bytes", "of it not on a store yet", true},
	    {"index_bytes", "memory for finding it", true},
	    {"commits", "commits to the log", false},
	    {"commit_blocks", "blocks of 4 KiB in these", false},
	    {"fills", "fills after reads", false},
	    {"evicted_blocks", "blocks that made room", false},
	    {"copies", "blocks moved to make room", false},
	    {"checkpoints", "checkpoints", false},
	    {"destaged_blocks", "blocks written to stores", false},
	    {"store_writes", "writes that took", false},
	    {"compress_in_bytes", "data that was compressed", true},
	    {"compress_out_bytes", "what that took on the SSD", true},
	    {"compress_refused_bytes", "data that didn't get smaller", true},
	    {"compress_skipped_bytes", "data that wasn't tried", true},
	    {"ssd_errors", "errors of the SSD", false},
	    {"bad_blocks", "blocks it couldn't give back", false},
	    {"ram_used_bytes", "data in memory", true},
	    {"ram_hits", "blocks read from memory", false},
	    {"ram_misses", "blocks not found in memory", false},
	    {"ram_ahead", "blocks read ahead", false},
	    {"ram_ahead_wasted", "of these for nothing", false},
	};
	out_styled(STYLE_BOLD, get_text(s, "name"));
	putchar('\n');
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		if (json_object_get(s, rows[i].key) != NULL)
			print_counter(rows[i].what, get_number(s, rows[i].key), rows[i].bytes);
	print_curve(json_object_get(s, "curve"), "memory", get_number(s, "ram_data_bytes"));
	print_curve(json_object_get(s, "ssd_curve"),
	    json_array_size(json_object_get(s, "curve")) > 0 ? "the SSD, behind this memory,"
	                                                     : "the SSD",
	    get_number(s, "size_bytes"));
}

/* Of the cache that is named, or of each. */
static json_t *
fetch_stats(struct tool *t, const json_t *params, int *status)
{
	const char *name = get_text(params, "name");
	json_t *list = json_array(), *caches;
	size_t i;
	const json_t *c;

	if (name[0] != '\0')
		caches = json_pack("[{s:s}]", "name", name);
	else
		caches = tool_call(t, "cache.list", NULL, status);
	json_array_foreach(caches, i, c)
	{
		json_t *s = tool_call(
		    t, "cache.stats", json_pack("{s:s}", "name", get_text(c, "name")), status);
		if (s == NULL)
			break;
		json_array_append_new(list, s);
	}
	bool whole = caches != NULL && json_array_size(list) == json_array_size(caches);
	json_decref(caches);
	if (whole)
		return list;
	json_decref(list);
	return NULL;
}

int
run_cache_stats(struct tool *t, const struct verb *v, json_t *params)
{
	size_t i;
	const json_t *s;
	int status;

	(void)v;
	json_t *list = fetch_stats(t, params, &status);
	if (list == NULL)
		return status;
	if (t->json)
		tool_print_json(list, false);
	else
		json_array_foreach(list, i, s) print_stats(s);
	if (!t->json && json_array_size(list) == 0)
		puts("There are no caches.");
	json_decref(list);
	return TOOL_DONE;
}

/* ---- advise -------------------------------------------------------------------------------------- */

static uint32_t
curve_points(const json_t *curve, struct policy_mrc_point *ret)
{
	uint32_t n = 0;
	size_t i;
	const json_t *p;

	json_array_foreach(curve, i, p)
	{
		if (n == POLICY_MRC_POINTS_MAX)
			break;
		ret[n++] = (struct policy_mrc_point){
		    .blocks = (uint64_t)(get_number(p, "bytes") / BLOCK),
		    .hit_ratio = get_number(p, "hit_ratio"),
		    .samples = (uint64_t)get_number(p, "samples"),
		};
	}
	return n;
}

/* What turned dirty and clean between two looks. */
static void
advise(const json_t *before, const json_t *after, double seconds, struct policy_advise_out *ret)
{
	double destaged =
	    get_number(after, "destaged_blocks") - get_number(before, "destaged_blocks");
	double dirty =
	    (get_number(after, "dirty_bytes") - get_number(before, "dirty_bytes")) / BLOCK;
	struct policy_advise_in in = {
	    .ram_blocks = (uint64_t)(get_number(after, "ram_data_bytes") / BLOCK),
	    .ssd_blocks = (uint64_t)(get_number(after, "size_bytes") / BLOCK),
	    .dirty_blocks = (uint64_t)(get_number(after, "dirty_bytes") / BLOCK),
	    .dirty_max_blocks = (uint64_t)(get_number(after, "size_bytes") / BLOCK),
	};
	in.destaged_per_s = destaged > 0 ? destaged / seconds : 0;
	in.written_per_s = dirty + destaged > 0 ? (dirty + destaged) / seconds : 0;
	double hits = get_number(after, "ram_hits"), reads = hits + get_number(after, "ram_misses");
	in.ram_hit_ratio = reads > 0 ? hits / reads : 0;
	in.ram_points = curve_points(json_object_get(after, "curve"), in.ram);
	in.ssd_points = curve_points(json_object_get(after, "ssd_curve"), in.ssd);
	policy_advise(&in, ret);
}

int
run_cache_advise(struct tool *t, const struct verb *v, json_t *params)
{
	int status;
	json_t *before = fetch_stats(t, params, &status), *out = json_array();
	double began = progress_now_s();

	(void)v;
	if (before != NULL)
		sleep_s(ADVISE_SECONDS);
	json_t *after = before != NULL ? fetch_stats(t, params, &status) : NULL;
	double seconds = progress_now_s() - began;
	for (size_t i = 0; after != NULL && i < json_array_size(after); i++) {
		const json_t *a = json_array_get(after, i);
		struct policy_advise_out r;
		advise(json_array_get(before, i), a, seconds, &r);
		json_array_append_new(
		    out, json_pack("{s:s, s:s}", "name", get_text(a, "name"), "text", r.text));
		if (t->json)
			continue;
		out_styled(STYLE_BOLD, get_text(a, "name"));
		printf(": %s\n", r.text);
	}
	if (after != NULL && t->json)
		tool_print_json(out, false);
	else if (after != NULL && json_array_size(after) == 0)
		puts("There are no caches.");
	json_decref(before);
	json_decref(after);
	json_decref(out);
	return status;
}

/* ---- top ----------------------------------------------------------------------------------------- */

static const json_t *
second_window(const json_t *lun)
{
	return json_array_get(json_object_get(lun, "windows"), 0);
}

static void
add_rate(struct table *t, double per_s)
{
	char text[32];
	text_rate(per_s, text, sizeof text);
	table_add(t, text);
}

static void
add_ratio(struct table *t, const json_t *w, const char *key)
{
	if (json_is_number(json_object_get(w, key)))
		table_addf(t, "%.0f%%", 100 * get_number(w, key));
	else
		table_add(t, "-");
}

static int
by_use(const void *a, const void *b)
{
	const json_t *x = second_window(*(json_t *const *)a),
	             *y = second_window(*(json_t *const *)b);
	double d = get_number(y, "reads_per_s") + get_number(y, "writes_per_s") -
	           get_number(x, "reads_per_s") - get_number(x, "writes_per_s");
	return d > 0 ? 1 : d < 0 ? -1 : 0;
}

static void
print_top(const json_t *luns)
{
	static const struct column columns[] = {{"LUN", false, false}, {"r/s", true, false},
	    {"w/s", true, false}, {"RAM HIT", true, false}, {"SSD HIT", true, false},
	    {"CACHED", true, false}, {"DIRTY", true, false}};
	struct table *t = table_create(columns, sizeof columns / sizeof columns[0]);
	size_t n = json_array_size(luns);
	const json_t **sorted = calloc(n + 1, sizeof *sorted);

	for (size_t i = 0; sorted != NULL && i < n; i++)
		sorted[i] = json_array_get(luns, i);
	if (sorted != NULL)
		qsort(sorted, n, sizeof *sorted, by_use);
	for (size_t i = 0; sorted != NULL && i < n; i++) {
		const json_t *w = second_window(sorted[i]);
		if (json_array_size(json_object_get(sorted[i], "tiers")) == 0)
			continue;
		table_add(t, get_text(sorted[i], "name"));
		add_rate(t, get_number(w, "reads_per_s"));
		add_rate(t, get_number(w, "writes_per_s"));
		add_ratio(t, w, "ram_hit_ratio");
		add_ratio(t, w, "ssd_hit_ratio");
		add_size(t, get_number(sorted[i], "cached_bytes"));
		add_size(t, get_number(sorted[i], "dirty_bytes"));
	}
	free(sorted);
	if (table_rows(t) > 0)
		table_print(t, true);
	else
		puts("No LUN has a cache.");
	table_destroy(t);
}

/* Again every so often, on a terminal in the same place. */
int
run_cache_top(struct tool *t, const struct verb *v, json_t *params)
{
	json_int_t seconds = get_int(params, "seconds"), count = get_int(params, "count");
	bool again = json_object_get(params, "seconds") != NULL;
	int status = TOOL_DONE;

	(void)v;
	if (again && seconds == 0)
		return tool_error(t, TOOL_USAGE, "SECONDS is 1 or more");
	if (again && count == 0)
		count = INT64_MAX;
	for (json_int_t i = 0; i < (again ? count : 1); i++) {
		json_t *luns = tool_call(t, "lun.stats", NULL, &status);
		if (luns == NULL)
			return status;
		if (i > 0 && !t->json)
			fputs(term_colour() ? "\033[H\033[J" : "\n", stdout);
		if (t->json)
			tool_print_json(luns, again);
		else
			print_top(luns);
		json_decref(luns);
		fflush(stdout);
		if (i + 1 < (again ? count : 1))
			sleep_s((unsigned)seconds);
	}
	return status;
}
