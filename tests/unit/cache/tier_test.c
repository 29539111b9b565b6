/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the cache does with the answers of its policy: scans don't wash the SSD, what is hit stays, profiles fill
 * as they say, dirty data waits and goes, writes are slowed. In simulated time, over memory.
 */
#include "tests/unit/store/harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "cache/cache.h"

#define MIB (1u << 20)
#define SSD_BYTES (40u * MIB)
#define STORE_BYTES (192u * MIB)
#define HOT_BYTES (6u * MIB)
#define BLOCK 4096u

static struct world *w;
static struct blk *ssd, *store;
static struct cache *cache;
static struct cache_volume *vol;
static struct cache_marker marker;
static bool is_done;
static int last;
static uint64_t seed;
static uint64_t ssd_bytes = SSD_BYTES;

/* ---- calls ------------------------------------------------------------------------------------------- */

static void
ended(void *ctx, int result)
{
	(void)ctx;
	last = result;
	is_done = true;
}

static int
call(void (*fn)(void *ctx))
{
	is_done = false;
	world_call(w, 0, fn, NULL);
	for (unsigned i = 0; i < 1000000 && !is_done; i++)
		world_pass(w, 100000);
	assert_true(is_done);
	return last;
}

static void
do_format(void *ctx)
{
	struct cache_format_args a = {.uuid = {7}, .segment_blocks = 256};
	(void)ctx;
	cache_format(ssd, &a, ended, NULL);
}

static void
on_attached(void *ctx, int result, struct cache *c, const char *reason)
{
	(void)reason;
	cache = c;
	ended(ctx, result);
}

static void
do_attach(void *ctx)
{
	struct cache_args a = {.ssd = ssd, .loops = w->loops, .loop_count = w->loop_count};
	(void)ctx;
	cache_tuning_default(&a.tuning);
	a.tuning.buf_bytes = 8 * MIB;
	cache_attach(&a, on_attached, NULL);
}

static void
marker_get(
    void *ctx, void (*got)(void *ctx, int result, const struct cache_marker *m), void *got_ctx)
{
	(void)ctx;
	got(got_ctx, 0, &marker);
}

static void
marker_set(void *ctx, const struct cache_marker *m, cache_done_fn *set, void *set_ctx)
{
	(void)ctx;
	marker = *m;
	set(set_ctx, 0);
}

static const struct cache_marker_ops marker_ops = {marker_get, marker_set};

static void
on_opened(void *ctx, int result, struct cache_volume *v)
{
	vol = v;
	ended(ctx, result);
}

static void
do_open(void *ctx)
{
	struct cache_volume_args a = {
	    .uuid = {1}, .name = "lun", .store = store, .marker = &marker_ops};
	(void)ctx;
	cache_volume_open(cache, &a, on_opened, NULL);
}

static void
do_close(void *ctx)
{
	(void)ctx;
	cache_volume_close(vol, ended, NULL);
}

static void
do_flush(void *ctx)
{
	(void)ctx;
	cache_volume_flush(vol, ended, NULL);
}

static void
do_detach(void *ctx)
{
	(void)ctx;
	cache_detach(cache, ended, NULL);
}

static void
set_fill(void *ctx)
{
	cache_volume_set_fill(vol, ctx);
}

static void
fill_policy(bool on_read, uint64_t cutoff_bytes)
{
	struct cache_fill_policy p = {.on_read = on_read, .cutoff_bytes = cutoff_bytes};
	world_call(w, 0, set_fill, &p);
}

static struct cache_volume_stats
stats(void)
{
	struct cache_volume_stats s;
	cache_volume_get_stats(vol, &s);
	return s;
}

static struct cache_stats
all_stats(void)
{
	struct cache_stats s;
	cache_get_stats(cache, &s);
	return s;
}

/* ---- the world ---------------------------------------------------------------------------------------- */

static void
begin(const char *store_spec)
{
	memset(&marker, 0, sizeof marker);
	seed = 1;
	w = world_sim(7, 1, 16 * MIB);
	ssd = world_open(w, "ram:", ssd_bytes, 0, 512);
	store = world_open(w, store_spec, STORE_BYTES, 0, 512);
	assert_int_equal(call(do_format), 0);
	assert_int_equal(call(do_attach), 0);
	assert_int_equal(call(do_open), 0);
}

static void
end(void)
{
	assert_int_equal(call(do_close), 0);
	assert_int_equal(call(do_detach), 0);
	world_close(w, store);
	world_close(w, ssd);
	world_destroy(w);
}

static void
read_at(uint64_t at, uint64_t len)
{
	static char mem[64u << 10];
	assert_int_equal(io_read(w, 0, cache_volume_blk(vol), at, len, mem), 0);
}

static uint64_t
random_block(uint64_t bytes)
{
	return test_rand(&seed) % (bytes / BLOCK) * BLOCK;
}

static void
read_hot(unsigned times)
{
	for (unsigned i = 0; i < times * (HOT_BYTES / BLOCK); i++)
		read_at(random_block(HOT_BYTES), BLOCK);
}

/* Percent of the hot blocks that the SSD has. */
static unsigned
hot_here(void)
{
	struct cache_volume_stats before = stats();
	for (uint64_t at = 0; at < HOT_BYTES; at += 4 * BLOCK)
		read_at(at, BLOCK);
	struct cache_volume_stats after = stats();
	return (unsigned)((after.hit_blocks - before.hit_blocks) * 100 /
	                  (after.read_blocks - before.read_blocks));
}

/* ---- tests ---------------------------------------------------------------------------------------------- */

static void
a_scan_doesnt_wash_the_ssd(void **state)
{
	(void)state;
	begin("ram:");
	fill_policy(true, 4 * MIB);
	read_hot(4);
	assert_in_range(hot_here(), 90, 100);
	uint64_t filled = stats().filled_blocks;
	for (uint64_t at = HOT_BYTES; at < STORE_BYTES; at += 64u << 10)
		read_at(at, 64u << 10);
	struct cache_volume_stats s = stats();
	assert_in_range(s.filled_blocks - filled, 1, 5 * MIB / BLOCK);
	assert_in_range(s.scan_blocks, (STORE_BYTES - HOT_BYTES - 5 * MIB) / BLOCK, UINT32_MAX);
	assert_in_range(hot_here(), 90, 100);
	end();
}

/* Five times as much as fits is read once each; what is read again and again is written again. */
static void
what_is_hit_stays(void **state)
{
	(void)state;
	begin("ram:");
	read_hot(3);
	for (unsigned round = 0; round < 24; round++) {
		for (unsigned i = 0; i < 2048; i++)
			read_at(HOT_BYTES + random_block(STORE_BYTES - HOT_BYTES), BLOCK);
		read_hot(1);
	}
	assert_in_range(hot_here(), 75, 100);
	assert_in_range(all_stats().rewritten_blocks, HOT_BYTES / BLOCK / 4, UINT32_MAX);
	assert_in_range(all_stats().evicted_blocks, SSD_BYTES / BLOCK, UINT32_MAX);
	end();
}

static void
what_isnt_to_be_filled_isnt(void **state)
{
	(void)state;
	begin("ram:");
	fill_policy(false, 0);
	read_hot(2);
	assert_int_equal(stats().filled_blocks, 0);
	assert_int_equal(hot_here(), 0);
	fill_policy(true, 0);
	read_hot(4);
	assert_in_range(hot_here(), 90, 100);
	end();
}

/* Fills go on after there was no room for some. */
static void
fills_go_on_when_there_is_room_again(void **state)
{
	static char mem[64u << 10];
	(void)state;
	begin("ram:");
	for (uint64_t at = 0; at < 60 * MIB; at += sizeof mem)
		assert_int_equal(
		    io_write(w, 0, cache_volume_blk(vol), 0, 64 * MIB + at, sizeof mem, mem), 0);
	assert_int_equal(call(do_flush), 0);
	world_pass(w, 3000000000);
	uint64_t filled = stats().filled_blocks;
	read_hot(2);
	assert_in_range(stats().filled_blocks - filled, HOT_BYTES / BLOCK / 2, UINT32_MAX);
	end();
}

/* It may be written over, and its neighbours may come; then nobody writes, and it goes. */
static void
dirty_data_waits_and_an_idle_store_is_drained(void **state)
{
	static char mem[BLOCK];
	(void)state;
	begin("ram:");
	for (unsigned i = 0; i < 3000; i++) {
		uint64_t at = i % 64 * BLOCK;
		assert_int_equal(io_write(w, 0, cache_volume_blk(vol), 0, at, BLOCK, mem), 0);
		if (i % 10 == 0)
			world_pass(w, 1000000);
	}
	assert_in_range(stats().store_writes, 0, 8);
	assert_int_equal(stats().dirty_bytes, 64 * BLOCK);
	world_pass(w, 5000000000);
	assert_int_equal(stats().dirty_bytes, 0);
	/* One run, one flush. */
	assert_in_range(stats().store_writes, 1, 9);
	assert_in_range(stats().store_flushes, 1, 9);
	end();
}

/* Slower and slower, never stopped: as the store takes it. */
static void
writes_are_slowed_to_the_speed_of_the_store(void **state)
{
	static char mem[BLOCK];
	uint64_t most = 0;
	(void)state;
	begin("fault:1:delay_us=5000:ram:");
	for (unsigned i = 0; i < 24000; i++) {
		assert_int_equal(
		    io_write(w, 0, cache_volume_blk(vol), 0, random_block(STORE_BYTES), BLOCK, mem),
		    0);
		struct cache_volume_stats s = stats();
		most = s.dirty_bytes > most ? s.dirty_bytes : most;
	}
	struct cache_volume_stats s = stats();
	assert_in_range(s.slowed_writes, 100, UINT32_MAX);
	assert_in_range(s.destaged_blocks, 1000, UINT32_MAX);
	assert_in_range(
	    most, all_stats().dirty_max_bytes * 40 / 100, all_stats().dirty_max_bytes * 95 / 100);
	assert_int_equal(all_stats().conditions, 0);
	end();
}

static void
get_curve(void *ctx)
{
	assert_int_equal(cache_curve(cache, ctx), 6);
}

/* Percent of the reads that the SSD answers, after it is warm; and its curve. */
static double
read_skewed(struct policy_mrc_point *ret_curve)
{
	struct cache_volume_stats before = {.reads = 0};
	for (unsigned i = 0; i < 60000; i++) {
		if (i == 20000)
			before = stats();
		double u = (double)(test_rand(&seed) % 1000003) / 1000003.0;
		read_at((uint64_t)(u * u * u * (STORE_BYTES / BLOCK)) * BLOCK, BLOCK);
	}
	struct cache_volume_stats after = stats();
	world_call(w, 0, get_curve, ret_curve);
	return 100. * (double)(after.hit_blocks - before.hit_blocks) /
	       (double)(after.read_blocks - before.read_blocks);
}

/* What the curve of one SSD says of another, twice as large: that one does it. */
static void
the_curve_foretells_a_larger_ssd(void **state)
{
	struct policy_mrc_point curve[POLICY_MRC_POINTS_MAX], larger[POLICY_MRC_POINTS_MAX];
	(void)state;
	begin("ram:");
	fill_policy(true, 0);
	double small = read_skewed(curve);
	assert_int_equal(curve[2].blocks * BLOCK, all_stats().segment_bytes * all_stats().segments);
	end();
	ssd_bytes = 2 * SSD_BYTES;
	begin("ram:");
	ssd_bytes = SSD_BYTES;
	fill_policy(true, 0);
	double large = read_skewed(larger);
	end();
	for (unsigned i = 0; i < 6; i++)
		printf("  %u MiB: %.1f %% of %u samples\n", (unsigned)(curve[i].blocks >> 8),
		    100 * curve[i].hit_ratio, (unsigned)curve[i].samples);
	printf("  really %.1f %%, of twice as much %.1f %%\n", small, large);
	assert_true(large > small + 5); /* or it would tell nothing */
	/* Of so small an SSD the segments that are kept free are a part that shows. */
	assert_true(curve[2].hit_ratio * 100 > small - 4 && curve[2].hit_ratio * 100 < small + 9);
	assert_true(curve[3].hit_ratio * 100 > large - 6 && curve[3].hit_ratio * 100 < large + 6);
}

/* Reads that don't fill, and a scan, show as misses that no size would mend. */
static void
the_curve_knows_what_isnt_filled(void **state)
{
	struct policy_mrc_point curve[POLICY_MRC_POINTS_MAX];
	(void)state;
	begin("ram:");
	fill_policy(false, 0);
	read_hot(4);
	world_call(w, 0, get_curve, curve);
	assert_int_equal(curve[0].samples, 4 * HOT_BYTES / BLOCK); /* so small that it sees all */
	assert_true(curve[0].hit_ratio < 0.001);
	assert_in_range(curve[5].samples, 100, 4 * HOT_BYTES / BLOCK);
	assert_true(curve[5].hit_ratio < 0.2); /* of a sample */
	end();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_scan_doesnt_wash_the_ssd),
	    cmocka_unit_test(what_is_hit_stays),
	    cmocka_unit_test(what_isnt_to_be_filled_isnt),
	    cmocka_unit_test(the_curve_foretells_a_larger_ssd),
	    cmocka_unit_test(the_curve_knows_what_isnt_filled),
	    cmocka_unit_test(fills_go_on_when_there_is_room_again),
	    cmocka_unit_test(dirty_data_waits_and_an_idle_store_is_drained),
	    cmocka_unit_test(writes_are_slowed_to_the_speed_of_the_store),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
