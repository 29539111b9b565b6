/* SPDX-License-Identifier: BSD-2-Clause */
/* What there is of caches: their SSDs, how full they are, what holds. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "daemon/caches.h"
#include "daemon/control.h"

static const char *const condition_names[CACHE_COND_COUNT] = {
    [CACHE_COND_SSD_WRITE] = "ssd write",
    [CACHE_COND_SSD_VOID] = "ssd void",
    [CACHE_COND_SSD_READ] = "ssd read",
    [CACHE_COND_DATA_LOST] = "data lost",
    [CACHE_COND_STORE_WRITE] = "store write",
    [CACHE_COND_LOG_FULL] = "log full",
    [CACHE_COND_DRIVE_LIED] = "drive lied",
    [CACHE_COND_SSD_GONE] = "ssd gone",
};

/* Of the LUNs that use it now. */
static void
count(const struct daemon *d, const struct daemon_cache *c, unsigned *ret_luns, uint64_t *ret_reads,
    uint64_t *ret_hits)
{
	*ret_luns = 0;
	*ret_reads = *ret_hits = 0;
	for (unsigned i = 0; i < d->now.lun_count; i++) {
		struct cache_volume_stats st;
		if (d->now.luns[i]->cache != c)
			continue;
		++*ret_luns;
		if (d->now.luns[i]->volume == NULL)
			continue;
		cache_volume_get_stats(d->now.luns[i]->volume, &st);
		*ret_reads += st.reads;
		*ret_hits += st.read_hits;
	}
}

static const char *
state_of(const struct daemon_cache *c)
{
	if (c->spec == NULL)
		return "ok";
	if (c->cache == NULL)
		return "absent";
	if (c->details[CACHE_COND_SSD_VOID] != NULL || c->details[CACHE_COND_SSD_GONE] != NULL)
		return "void";
	for (unsigned k = 0; k < CACHE_COND_COUNT; k++)
		if (c->details[k] != NULL)
			return "degraded";
	return "ok";
}

static json_t *
cache_json(const struct daemon *d, const struct daemon_cache *c)
{
	struct cache_stats st = {0};
	struct ram_tier_stats ram = {0};
	char uuid[37] = "";
	unsigned luns;
	uint64_t reads, hits;
	json_t *conditions = json_array();

	if (c->cache != NULL)
		cache_get_stats(c->cache, &st);
	if (c->ram != NULL)
		ram_tier_get_stats(c->ram, &ram);
	if (c->identity.is_known)
		text_format_uuid(c->identity.uuid, uuid);
	json_t *resize = daemon_cache_resize_json(c);
	count(d, c, &luns, &reads, &hits);
	for (unsigned k = 0; conditions != NULL && k < CACHE_COND_COUNT; k++)
		if (c->details[k] != NULL)
			json_array_append_new(conditions, json_string(condition_names[k]));
	json_t *o =
	    json_pack("{s:o, s:o, s:s, s:s, s:o, s:I, s:I, s:I, s:I, s:i, s:i, s:i, s:i, s:I, s:I, "
	              "s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}",
	        "name", ctl_string(c->name), "ssd",
	        ctl_string(c->ssd != NULL    ? blk_get_name(c->ssd)
	                   : c->spec != NULL ? c->spec
	                                     : ""),
	        "uuid", uuid, "state", state_of(c), "why", ctl_string(c->why != NULL ? c->why : ""),
	        "size_bytes", (json_int_t)(st.segment_bytes * st.segments), "segment_bytes",
	        (json_int_t)st.segment_bytes, "cached_bytes", (json_int_t)st.cached_bytes,
	        "dirty_bytes", (json_int_t)st.dirty_bytes, "segments", (int)st.segments,
	        "segments_free", (int)st.segments_free, "segments_bad", (int)st.segments_bad,
	        "luns", (int)luns, "reads", (json_int_t)reads, "read_hits", (json_int_t)hits,
	        "ssd_errors", (json_int_t)st.ssd_errors, "bad_blocks",
	        (json_int_t)st.ssd_bad_blocks, "compress_in_bytes", (json_int_t)st.pack_in_bytes,
	        "compress_out_bytes", (json_int_t)st.pack_out_bytes, "compress_refused_bytes",
	        (json_int_t)st.pack_refused_bytes, "ram_bytes", (json_int_t)ram.size_bytes,
	        "ram_used_bytes", (json_int_t)(ram.frames_used * POLICY_BLOCK_BYTES), "ram_hits",
	        (json_int_t)ram.hits, "ram_misses", (json_int_t)ram.misses, "ram_ahead",
	        (json_int_t)ram.ahead, "ram_ahead_wasted", (json_int_t)ram.ahead_wasted,
	        "conditions", conditions);
	if (resize != NULL)
		json_object_set_new(o, "resize", resize);
	return o;
}

json_t *
control_caches(const struct daemon *d)
{
	json_t *list = json_array();

	for (unsigned i = 0; list != NULL && !d->stopping && i < d->cache_count; i++)
		json_array_append_new(list, cache_json(d, d->caches[i]));
	return list;
}

static json_t *
cache_list(void *ctx, const json_t *params, struct ctl_failure *failure)
{
	(void)params;
	(void)failure;
	return control_caches(ctx);
}

void
control_add_volume(json_t *o, const struct picture_lun *l)
{
	const struct cache_volume_stats *st = &l->volume;

	json_object_set_new(o, "cache", ctl_string(l->conf->cache != NULL ? l->conf->cache : ""));
	json_object_set_new(o, "profile", json_string(conf_profile_to_string(l->conf->profile)));
	json_object_set_new(o, "compress", json_boolean(conf_lun_compress(l->conf)));
	if (!l->has_volume)
		return;
	json_object_set_new(o, "frozen", json_boolean(l->frozen));
	json_object_set_new(o, "dirty_bytes", json_integer((json_int_t)st->dirty_bytes));
	json_object_set_new(o, "cached_bytes", json_integer((json_int_t)st->cached_bytes));
	json_object_set_new(o, "cache_reads", json_integer((json_int_t)st->reads));
	json_object_set_new(o, "cache_hits", json_integer((json_int_t)st->read_hits));
	json_object_set_new(o, "marker_is_local", json_boolean(l->marker_is_local));
}

const struct ctl_method control_cache_methods[] = {
    {.name = "cache.list",
        .help = "caches with their SSDs, states and counters",
        .call = cache_list},
    {.name = NULL},
};
