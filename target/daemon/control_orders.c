/* SPDX-License-Identifier: BSD-2-Clause */
/* Methods about caches beyond the list: orders, and what is in them. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/cache_orders.h"

#define RANGES_MAX 1000
#define SEGMENTS_MAX 1000

/* A whole number of a parameter; `fallback` where it isn't given. -1: out of bounds. */
static json_int_t
number(const json_t *params, const char *name, json_int_t fallback, json_int_t max)
{
	const json_t *v = json_object_get(params, name);
	json_int_t n = v != NULL ? json_integer_value(v) : fallback;
	return n < 0 || n > max ? -1 : n;
}

__attribute__((format(printf, 3, 4))) static json_t *
refuse(struct ctl_failure *f, int code, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(f->message, sizeof f->message, fmt, ap);
	va_end(ap);
	f->code = code;
	return NULL;
}

/* ---- dirty ranges --------------------------------------------------------------------------------------- */

static json_t *
ranges_json(const struct daemon_lun *l, uint64_t from, uint32_t limit)
{
	struct cache_range *list = calloc(limit, sizeof *list);
	struct cache_volume_stats st;
	uint64_t next = 0;
	json_t *ranges = list != NULL ? json_array() : NULL;

	if (ranges == NULL) {
		free(list);
		return NULL;
	}
	uint32_t count = cache_volume_dirty(l->volume, from, list, limit, &next);
	for (uint32_t i = 0; i < count; i++)
		json_array_append_new(ranges,
		    json_pack("{s:I, s:I, s:b, s:b}", "offset", (json_int_t)list[i].offset_bytes,
		        "bytes", (json_int_t)list[i].bytes, "lost", list[i].is_lost, "zeros",
		        list[i].is_zeros));
	free(list);
	cache_volume_get_stats(l->volume, &st);
	return json_pack("{s:o, s:o, s:I}", "ranges", ranges, "next",
	    next == UINT64_MAX ? json_null() : json_integer((json_int_t)next), "dirty_bytes",
	    (json_int_t)st.dirty_bytes);
}

static json_t *
lun_dirty(void *ctx, const json_t *params, struct ctl_failure *failure)
{
	const char *name = json_string_value(json_object_get(params, "lun"));
	const struct daemon_lun *l = daemon_lun_find(ctx, name);
	json_int_t from = number(params, "from", 0, INT64_MAX);
	json_int_t limit = number(params, "limit", RANGES_MAX, RANGES_MAX);

	if (l == NULL)
		return refuse(failure, CTL_NO_OBJECT, "there is no LUN '%s'", name);
	if (from < 0 || limit < 1)
		return refuse(
		    failure, CTL_INVALID_PARAMS, "from is a place in bytes, limit 1 to 1000");
	if (l->volume == NULL) /* what isn't behind an SSD has nothing to catch up with */
		return json_pack("{s:[], s:n, s:i}", "ranges", "next", "dirty_bytes", 0);
	return ranges_json(l, (uint64_t)from, (uint32_t)limit);
}

/* ---- segments ------------------------------------------------------------------------------------------- */

static json_t *
segments_json(const struct daemon_cache *c, uint32_t from, uint32_t limit)
{
	struct cache_segment_info *list = calloc(limit, sizeof *list);
	struct cache_stats st;
	json_t *segments = list != NULL ? json_array() : NULL;

	if (segments == NULL) {
		free(list);
		return NULL;
	}
	cache_get_stats(c->cache, &st);
	uint32_t count = cache_segments(c->cache, from, list, limit);
	for (uint32_t i = 0; i < count; i++)
		json_array_append_new(segments,
		    json_pack("{s:i, s:s, s:s, s:I, s:i, s:i, s:i, s:i}", "number",
		        (int)list[i].number, "state", list[i].state, "stream", list[i].stream,
		        "generation", (json_int_t)list[i].generation, "used_blocks",
		        (int)list[i].used_blocks, "live_blocks", (int)list[i].live_blocks,
		        "dirty_blocks", (int)list[i].dirty_blocks, "errors", (int)list[i].errors));
	free(list);
	bool more = from + count < st.segments && count == limit;
	return json_pack("{s:o, s:o, s:i, s:I}", "segments", segments, "next",
	    more ? json_integer((json_int_t)(from + count)) : json_null(), "total",
	    (int)st.segments, "segment_bytes", (json_int_t)st.segment_bytes);
}

static json_t *
cache_segments_list(void *ctx, const json_t *params, struct ctl_failure *failure)
{
	const char *name = json_string_value(json_object_get(params, "name"));
	const struct daemon_cache *c = daemon_cache_find(ctx, name);
	json_int_t from = number(params, "from", 0, UINT32_MAX);
	json_int_t limit = number(params, "limit", SEGMENTS_MAX, SEGMENTS_MAX);

	if (c == NULL)
		return refuse(failure, CTL_NO_OBJECT, "there is no cache '%s'", name);
	if (c->cache == NULL)
		return refuse(failure, CTL_FAILED, "cache %s has no SSD that is in use", name);
	if (from < 0 || limit < 1)
		return refuse(failure, CTL_INVALID_PARAMS,
		    "from is the number of a segment, limit 1 to 1000");
	return segments_json(c, (uint32_t)from, (uint32_t)limit);
}

/* ---- the table ------------------------------------------------------------------------------------------ */

/* clang-format off */
#define LUNS                                                                                     \
	{"lun", CTL_STRING, false, "a LUN"},                                                        \
	{"luns", CTL_LIST, false, "several"},                                                       \
	{"cache", CTL_STRING, false, "all that use this cache"}
#define RANGE                                                                                    \
	{"from", CTL_INT, false, "of one LUN: from this byte on"},                                  \
	{"bytes", CTL_INT, false, "so many; else all from there on"}
#define END {NULL, CTL_ANY, false, NULL}

static const struct ctl_param luns_params[] = {LUNS, RANGE, END};
static const struct ctl_param freeze_params[] = {
	LUNS,
	{"limit_seconds", CTL_INT, false, "how long at most: 20, up to 300"},
	END};
static const struct ctl_param id_params[] = {
	{"id", CTL_INT, true, "of the freeze"},
	END};
static const struct ctl_param name_params[] = {
	{"name", CTL_STRING, true, "of the cache"},
	END};
static const struct ctl_param resize_params[] = {
	{"name", CTL_STRING, true, "of the cache"},
	{"size", CTL_ANY, false, "of its SSD: 10GiB, or bytes; without: what the SSD has"},
	{"dry_run", CTL_BOOL, false, "only say what would be done"},
	END};
static const struct ctl_param accept_params[] = {
	{"lun", CTL_STRING, true, "which"},
	{"cache", CTL_STRING, true, "UUID of the cache"},
	{"confirm", CTL_STRING, false, "the name of the LUN again: without it nothing is done"},
	END};
static const struct ctl_param dirty_params[] = {
	{"lun", CTL_STRING, true, "which"},
	{"from", CTL_INT, false, "from this byte on"},
	{"limit", CTL_INT, false, "how many ranges at most: up to 1000"},
	END};
static const struct ctl_param segments_params[] = {
	{"name", CTL_STRING, true, "of the cache"},
	{"from", CTL_INT, false, "from this segment on"},
	{"limit", CTL_INT, false, "how many at most: up to 1000"},
	END};

const struct ctl_method control_order_methods[] = {
	{.name = "cache.flush", .help = "what is acknowledged goes to the stores", .changes = true,
	    .params = luns_params, .start = order_flush},
	{.name = "cache.evict", .help = "the same, then caches forget it", .changes = true,
	    .params = luns_params, .start = order_evict},
	{.name = "cache.freeze", .help = "writes wait, the stores have everything", .changes = true,
	    .params = freeze_params, .start = order_freeze},
	{.name = "cache.hold", .help = "keeps a freeze, until the answer", .changes = true,
	    .params = id_params, .start = order_hold},
	{.name = "cache.thaw", .help = "writes go on", .changes = true, .params = id_params,
	    .start = order_thaw},
	{.name = "lun.dirty", .help = "which parts the store lacks", .params = dirty_params,
	    .call = lun_dirty},
	{.name = "cache.segments", .help = "how the SSD of a cache is used",
	    .params = segments_params, .call = cache_segments_list},
	{.name = "cache.stats", .help = "counters of a cache, and its miss-ratio curve",
	    .params = name_params, .start = order_stats},
	{.name = "cache.resize", .help = "the SSD of a cache becomes larger or smaller",
	    .changes = true, .params = resize_params, .start = order_resize},
	{.name = "cache.accept-loss", .help = "a LUN goes on without what its cache had",
	    .changes = true, .params = accept_params, .start = order_accept_loss},
	{.name = NULL},
};
