/* SPDX-License-Identifier: BSD-2-Clause */
/* cache.stats: counters of a cache, and what other sizes of its memory and of its SSD would have done. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/cache_orders.h"

#define BLOCK_BYTES 4096

struct stats_order {
	struct daemon *daemon;
	struct daemon_cache *cache;
	struct ctl_call *call;
};

static void
add(json_t *o, const char *key, uint64_t n)
{
	json_object_set_new(o, key, json_integer((json_int_t)n));
}

static void
add_ssd(json_t *o, const struct daemon *d, const struct daemon_cache *c)
{
	struct cache_volume_stats v, sum = {.destaged_blocks = 0};
	struct cache_stats st;

	cache_get_stats(c->cache, &st);
	for (unsigned i = 0; i < d->now.lun_count; i++) {
		if (d->now.luns[i]->volume == NULL || d->now.luns[i]->cache != c)
			continue;
		cache_volume_get_stats(d->now.luns[i]->volume, &v);
		sum.destaged_blocks += v.destaged_blocks;
		sum.store_writes += v.store_writes;
		sum.store_errors += v.store_errors;
		sum.store_flushes += v.store_flushes;
		sum.gap_blocks += v.gap_blocks;
		sum.scan_blocks += v.scan_blocks;
		sum.slowed_writes += v.slowed_writes;
		sum.destage_blocks_per_s += v.destage_blocks_per_s;
		if (v.write_delay_ns > sum.write_delay_ns)
			sum.write_delay_ns = v.write_delay_ns;
	}
	add(o, "size_bytes", st.segment_bytes * st.segments);
	add(o, "cached_bytes", st.cached_bytes);
	add(o, "dirty_bytes", st.dirty_bytes);
	add(o, "dirty_max_bytes", st.dirty_max_bytes);
	add(o, "index_bytes", st.index_bytes);
	add(o, "epoch", st.epoch);
	add(o, "commits", st.commits);
	add(o, "commit_blocks", st.commit_blocks);
	add(o, "commit_us", st.commits > 0 ? st.commit_ns / st.commits / 1000 : 0);
	add(o, "fills", st.fills);
	add(o, "scan_blocks", sum.scan_blocks);
	add(o, "evicted_blocks", st.evicted_blocks);
	add(o, "rewritten_blocks", st.rewritten_blocks);
	add(o, "copies", st.copies);
	add(o, "checkpoints", st.checkpoints);
	add(o, "destaged_blocks", sum.destaged_blocks);
	add(o, "destage_blocks_per_s", sum.destage_blocks_per_s);
	add(o, "gap_blocks", sum.gap_blocks);
	add(o, "store_writes", sum.store_writes);
	add(o, "store_flushes", sum.store_flushes);
	add(o, "slowed_writes", sum.slowed_writes);
	add(o, "write_delay_us", sum.write_delay_ns / 1000);
	add(o, "store_errors", sum.store_errors);
	add(o, "compress_in_bytes", st.pack_in_bytes);
	add(o, "compress_out_bytes", st.pack_out_bytes);
	add(o, "compress_refused_bytes", st.pack_refused_bytes);
	add(o, "compress_skipped_bytes", st.pack_skipped_bytes);
	json_object_set_new(o, "compress_ratio",
	    json_real(st.pack_out_bytes > 0 ? (double)st.pack_in_bytes / (double)st.pack_out_bytes
	                                    : 1.0));
	add(o, "ssd_errors", st.ssd_errors);
	add(o, "bad_blocks", st.ssd_bad_blocks);
}

static void
add_ram(json_t *o, const struct daemon_cache *c)
{
	struct ram_tier_stats st;

	ram_tier_get_stats(c->ram, &st);
	add(o, "ram_bytes", st.size_bytes);
	add(o, "ram_data_bytes", st.frames * BLOCK_BYTES);
	add(o, "ram_used_bytes", st.frames_used * BLOCK_BYTES);
	add(o, "ram_hits", st.hits);
	add(o, "ram_misses", st.misses);
	add(o, "ram_fills", st.fills);
	add(o, "ram_evicted", st.evicted);
	add(o, "ram_ahead", st.ahead);
	add(o, "ram_ahead_wasted", st.ahead_wasted);
}

static void
add_curve(json_t *o, const char *key, const struct policy_mrc_point *points, uint32_t n)
{
	json_t *curve = json_array();

	for (uint32_t i = 0; i < n; i++)
		json_array_append_new(
		    curve, json_pack("{s:I, s:f, s:I}", "bytes",
		               (json_int_t)(points[i].blocks * BLOCK_BYTES), "hit_ratio",
		               points[i].hit_ratio, "samples", (json_int_t)points[i].samples));
	json_object_set_new(o, key, curve);
}

static void
answer(struct stats_order *x, const struct policy_mrc_point *points, uint32_t n)
{
	json_t *o = json_object();
	struct policy_mrc_point ssd[POLICY_MRC_POINTS_MAX];
	uint32_t ssd_n = 0;

	json_object_set_new(o, "name", ctl_string(x->cache->name));
	if (x->cache->cache != NULL) {
		add_ssd(o, x->daemon, x->cache);
		ssd_n = cache_curve(x->cache->cache, ssd);
	}
	if (x->cache->ram != NULL)
		add_ram(o, x->cache);
	add_curve(o, "curve", points, n);
	add_curve(o, "ssd_curve", ssd, ssd_n);
	ctl_call_done(x->call, o);
	free(x);
}

static void
on_curve(void *ctx, const struct policy_mrc_point *points, uint32_t n)
{
	struct stats_order *x = ctx;
	x->cache->curve_asked = false;
	answer(x, points, n);
}

void
order_stats(void *daemon, struct ctl_call *call, const json_t *params)
{
	const char *name = json_string_value(json_object_get(params, "name"));
	struct daemon_cache *c = daemon_cache_find(daemon, name);
	struct stats_order *x;

	if (c == NULL || c->leaving) {
		order_no_cache(call, name);
	} else if ((x = calloc(1, sizeof *x)) == NULL) {
		ctl_call_fail(call, CTL_FAILED, NULL, "out of memory");
	} else {
		*x = (struct stats_order){daemon, c, call};
		if (c->ram != NULL && !c->curve_asked && !x->daemon->stopping) {
			c->curve_asked = true;
			ram_tier_curve(c->ram, on_curve, x);
		} else { /* somebody else has asked for the curve just now */
			answer(x, NULL, 0);
		}
	}
}
