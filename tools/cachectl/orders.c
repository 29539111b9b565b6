/* SPDX-License-Identifier: BSD-2-Clause */
/* flush and evict */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "tools/cachectl/cachectl.h"

/* True if the order concerns this LUN. */
static bool
is_meant(const json_t *order, const json_t *lun)
{
	const char *name = get_text(lun, "name");
	size_t i;
	const json_t *e;

	json_array_foreach(json_object_get(order, "luns"), i, e)
	{
		if (json_is_string(e) && strcmp(json_string_value(e), name) == 0)
			return true;
	}
	const char *cache = get_text(order, "cache");
	return cache[0] != '\0' && strcmp(get_text(lun, "cache"), cache) == 0;
}

static json_t *
list_luns(struct tool *t, int *ret_exit)
{
	return tool_call(t, "lun.list", json_pack("{s:b}", "stats", false), ret_exit);
}

static double
dirty_of(const json_t *luns, const json_t *order)
{
	double sum = 0;
	size_t i;
	const json_t *l;

	json_array_foreach(luns, i, l)
	{
		if (is_meant(order, l))
			sum += get_number(l, "dirty_bytes");
	}
	return sum;
}

/* What would be done; 0 bytes is as good an answer. */
static void
print_dry(const json_t *luns, const json_t *order, bool evict)
{
	size_t i;
	const json_t *l;

	json_array_foreach(luns, i, l)
	{
		char dirty[32], cached[32];
		if (!is_meant(order, l))
			continue;
		text_format_size((uint64_t)get_int(l, "dirty_bytes"), dirty, sizeof dirty);
		text_format_size((uint64_t)get_int(l, "cached_bytes"), cached, sizeof cached);
		out_text(stdout, get_text(l, "name"));
		printf(": %s would go to ", dirty);
		out_text(stdout, get_text(l, "store"));
		if (evict)
			printf(", %s be forgotten", cached);
		putchar('\n');
	}
	puts("Nothing was done.");
}

static void
print_done(const json_t *result, bool evict)
{
	char took[32];
	size_t i;
	const json_t *l;

	json_array_foreach(json_object_get(result, "luns"), i, l)
	{
		char dirty[32], cached[32];
		text_format_size((uint64_t)get_int(l, "dirty_bytes"), dirty, sizeof dirty);
		text_format_size((uint64_t)get_int(l, "cached_bytes"), cached, sizeof cached);
		out_text(stdout, get_text(l, "name"));
		printf(evict ? ": %s went to the store, %s left the SSD\n"
		             : ": %s went to the store\n",
		    dirty, cached);
	}
	text_duration((uint64_t)(get_number(result, "seconds") + 0.5), took, sizeof took);
	printf("Done in %s.\n", took);
}

static double
left_of(struct tool *t, const json_t *order)
{
	int ignored;
	json_t *now = list_luns(t, &ignored);
	double left = now != NULL ? dirty_of(now, order) : -1;
	json_decref(now);
	return left;
}

/* `luns`: as they were. */
static int
order(struct tool *t, const struct verb *v, json_t *params, const json_t *luns, bool evict)
{
	struct progress p;
	int status;

	progress_begin(&p, t, evict ? "evict" : "flush", dirty_of(luns, params));
	json_t *r = progress_call(&p, t, v->method, params, left_of, &status);
	if (r != NULL && t->json)
		tool_print_json(r, false);
	else if (r != NULL)
		print_done(r, evict);
	json_decref(r);
	return status;
}

/* The LUNs of all caches by name; false: there are none. */
static bool
name_all(const json_t *luns, json_t *params)
{
	json_t *names = json_array();
	size_t i;
	const json_t *l;

	json_array_foreach(luns, i, l)
	{
		if (get_text(l, "cache")[0] != '\0')
			json_array_append_new(names, json_string(get_text(l, "name")));
	}
	bool any = json_array_size(names) > 0;
	json_object_set_new(params, "luns", names);
	return any;
}

/* --range into parameters; false: it is none, and was said. */
static bool
add_range(struct tool *t, json_t *params)
{
	const char *text = get_text(t->local, "range");
	uint64_t from, bytes;

	if (text[0] == '\0')
		return true;
	if (json_array_size(json_object_get(params, "luns")) != 1 ||
	    json_object_get(params, "cache") != NULL) {
		tool_error(t, TOOL_USAGE, "--range is of one LUN: name it");
		return false;
	}
	if (text_parse_range(text, &from, &bytes) < 0) {
		tool_error(t, TOOL_USAGE,
		    "'%s' is no range: where it begins and how long it is, like 1GiB+64MiB", text);
		return false;
	}
	json_object_set_new(params, "from", json_integer((json_int_t)from));
	json_object_set_new(params, "bytes", json_integer((json_int_t)bytes));
	return true;
}

int
run_cache_order(struct tool *t, const struct verb *v, json_t *params)
{
	bool evict = strcmp(v->method, "cache.evict") == 0;
	int status;

	bool all = get_bool(params, "all");

	json_object_del(params, "all");
	if (!all && json_array_size(json_object_get(params, "luns")) == 0 &&
	    json_object_get(params, "cache") == NULL)
		return tool_error(t, TOOL_USAGE,
		    "of which LUN? Name some, or --cache CACHE for all of one, or --all");
	if (!add_range(t, params))
		return TOOL_USAGE;
	json_t *luns = list_luns(t, &status);
	if (luns == NULL)
		return status;
	if (all && !name_all(luns, params)) {
		/* Nothing has a cache: what was ordered is so. */
		if (t->json)
			tool_print_json(json_null(), false);
	} else if (t->dry_run && t->json)
		tool_print_json(luns, false);
	else if (t->dry_run)
		print_dry(luns, params, evict);
	else
		status = order(t, v, params, luns, evict);
	json_decref(luns);
	return status;
}
