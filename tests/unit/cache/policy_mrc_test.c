/* SPDX-License-Identifier: BSD-2-Clause */
/* cache/policy/mrc.c, cache/policy/advise.c */
#include "tests/cmocka_all.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cache/policy/policy.h"

#define UNIVERSE 60000u

static uint64_t
draw(uint64_t *s)
{
	*s = *s * 6364136223846793005ull + 1442695040888963407ull;
	return *s >> 33;
}

/* Popularity falls with the square: no exact law is needed, only a curve with a bend. */
static uint64_t
some_key(uint64_t *rand)
{
	double u = (double)draw(rand) / 2147483648.0;
	return policy_key(1, (uint64_t)(u * u * u * UNIVERSE) * 7919 % UNIVERSE);
}

/* Hit ratio of the whole cache, not of a sample. */
static double
whole(uint64_t size, unsigned accesses, uint64_t seed)
{
	struct policy_s3 *s3;
	struct policy_s3_node *node = calloc(UNIVERSE, sizeof *node);
	uint64_t hits = 0, resident = 0, rand = seed;
	assert_non_null(node);
	assert_int_equal(policy_s3_create(size, &s3), 0);
	for (unsigned i = 0; i < accesses; i++) {
		uint64_t key = some_key(&rand);
		struct policy_s3_node *n = &node[key - policy_key(1, 0)];
		if (policy_s3_inserted(n)) {
			hits++;
			policy_s3_hit(s3, n);
			continue;
		}
		if (resident++ >= size)
			assert_non_null(policy_s3_evict(s3));
		policy_s3_insert(s3, n, key, POLICY_S3_DEMAND);
	}
	policy_s3_destroy(s3);
	free(node);
	return (double)hits / accesses;
}

static void
a_sample_tells_what_the_whole_cache_does(void **state)
{
	(void)state;
	struct policy_mrc_config cfg = {
	    .points = 4, .blocks = {1000, 4000, 12000, 30000}, .entries_max = 2000};
	struct policy_mrc_point points[POLICY_MRC_POINTS_MAX];
	for (uint64_t seed = 1; seed <= 3; seed++) {
		struct policy_mrc *m;
		uint64_t rand = seed;
		assert_int_equal(policy_mrc_create(&cfg, &m), 0);
		for (unsigned i = 0; i < 400000; i++)
			policy_mrc_access(m, some_key(&rand), POLICY_MRC_READ);
		assert_int_equal(policy_mrc_read(m, points), 4);
		for (unsigned i = 0; i < 4; i++) {
			assert_int_equal(points[i].blocks, cfg.blocks[i]);
			double off = points[i].hit_ratio - whole(cfg.blocks[i], 400000, seed);
			assert_true(fabs(off) < 0.03);
			assert_true(!i || points[i].hit_ratio >= points[i - 1].hit_ratio);
			assert_true(points[i].samples > 1000);
		}
		policy_mrc_destroy(m);
	}
}

/* ---- against an exact one: LRU by stack distances, every access counted --------------------- */

#define TRACE 300000u

/* How many times are later than `t`: Fenwick's tree over the times at which a key was last used. */
static uint32_t tree[TRACE + 1];

static void
tree_add(uint32_t t, int32_t n)
{
	for (t++; t <= TRACE; t += t & -t)
		tree[t] += (uint32_t)n;
}

static uint32_t
tree_before(uint32_t t)
{
	uint32_t sum = 0;
	for (; t > 0; t -= t & -t)
		sum += tree[t];
	return sum;
}

/* Hit ratios of LRU caches of `sizes`. */
static void
exact_lru(uint64_t seed, const uint64_t *sizes, unsigned n, double *ret_ratios)
{
	uint32_t *last = malloc(UNIVERSE * sizeof *last);
	uint64_t rand = seed, hits[POLICY_MRC_POINTS_MAX] = {0};
	uint32_t keys = 0;
	assert_non_null(last);
	memset(last, 0xff, UNIVERSE * sizeof *last);
	memset(tree, 0, sizeof tree);
	for (uint32_t t = 0; t < TRACE; t++) {
		uint64_t key = some_key(&rand) - policy_key(1, 0);
		if (last[key] != UINT32_MAX) {
			uint32_t distance = keys - tree_before(last[key]); /* itself included */
			for (unsigned i = 0; i < n; i++)
				hits[i] += distance <= sizes[i];
			tree_add(last[key], -1);
		} else {
			keys++;
		}
		last[key] = t;
		tree_add(t, 1);
	}
	for (unsigned i = 0; i < n; i++)
		ret_ratios[i] = (double)hits[i] / TRACE;
	free(last);
}

/*
 * The cache isn't LRU: on requests that are independent it is up to some points better, and never much worse.
 * Where all fits it is the same, whatever the policy.
 */
static void
the_curve_is_near_that_of_exact_lru(void **state)
{
	(void)state;
	struct policy_mrc_config cfg = {
	    .points = 5, .blocks = {2000, 6000, 15000, 40000, 80000}, .entries_max = 4000};
	struct policy_mrc_point points[POLICY_MRC_POINTS_MAX];
	double lru[POLICY_MRC_POINTS_MAX];
	for (uint64_t seed = 1; seed <= 3; seed++) {
		struct policy_mrc *m;
		uint64_t rand = seed;
		assert_int_equal(policy_mrc_create(&cfg, &m), 0);
		for (unsigned i = 0; i < TRACE; i++)
			policy_mrc_access(m, some_key(&rand), POLICY_MRC_READ);
		exact_lru(seed, cfg.blocks, 5, lru);
		assert_int_equal(policy_mrc_read(m, points), 5);
		for (unsigned i = 0; i < 5; i++) {
			double better = points[i].hit_ratio - lru[i];
			if (better < -0.03 || better > 0.10)
				fail_msg("%u of seed %u: %.3f, exact LRU %.3f", i, (unsigned)seed,
				    points[i].hit_ratio, lru[i]);
		}
		assert_true(fabs(points[4].hit_ratio - lru[4]) < 0.02);
		policy_mrc_destroy(m);
	}
}

static void
what_passes_is_counted_and_not_kept(void **state)
{
	(void)state;
	struct policy_mrc_config cfg = {.points = 1, .blocks = {1000}};
	struct policy_mrc_point points[POLICY_MRC_POINTS_MAX];
	struct policy_mrc *m;
	assert_int_equal(policy_mrc_create(&cfg, &m), 0);
	for (unsigned round = 0; round < 4; round++)
		for (uint64_t k = 0; k < 500; k++)
			policy_mrc_access(m, k, POLICY_MRC_PASS);
	policy_mrc_read(m, points);
	assert_int_equal(points[0].samples, 2000);
	assert_true(points[0].hit_ratio < 0.001);
	for (uint64_t k = 0; k < 500; k++)
		policy_mrc_access(m, k, POLICY_MRC_WRITE);
	for (uint64_t k = 0; k < 500; k++)
		policy_mrc_access(m, k, POLICY_MRC_PASS); /* what is there is a hit */
	policy_mrc_read(m, points);
	assert_true(fabs(points[0].hit_ratio - 0.2) < 0.001);
	policy_mrc_destroy(m);
}

/* However often it is asked to forget: a curve of a huge cache is one of what was read since long. */
static void
decay_leaves_enough_to_go_by(void **state)
{
	(void)state;
	struct policy_mrc_config cfg = {.points = 2, .blocks = {64, 100000}, .entries_max = 1000};
	struct policy_mrc_point points[POLICY_MRC_POINTS_MAX];
	struct policy_mrc *m;
	assert_int_equal(policy_mrc_create(&cfg, &m), 0);
	for (uint64_t k = 0; k < 400000; k++) {
		policy_mrc_access(m, policy_key(1, k % 50000), POLICY_MRC_READ);
		if (k % 1000 == 0)
			policy_mrc_decay(m);
	}
	policy_mrc_read(m, points);
	assert_in_range(points[1].samples, 950, 2200);
	policy_mrc_destroy(m);
}

static void
writes_bring_in_but_do_not_count(void **state)
{
	(void)state;
	struct policy_mrc_config cfg = {.points = 1, .blocks = {1000}};
	struct policy_mrc_point points[POLICY_MRC_POINTS_MAX];
	struct policy_mrc *m;
	assert_int_equal(policy_mrc_create(&cfg, &m), 0);
	for (uint64_t k = 0; k < 500; k++)
		policy_mrc_access(m, k, POLICY_MRC_WRITE);
	policy_mrc_read(m, points);
	assert_int_equal(points[0].samples, 0);
	for (uint64_t k = 0; k < 500; k++)
		policy_mrc_access(m, k, POLICY_MRC_READ);
	policy_mrc_read(m, points);
	assert_int_equal(points[0].samples, 500);
	assert_true(points[0].hit_ratio > 0.999);
	policy_mrc_destroy(m);
}

static void
decay_lets_the_present_win(void **state)
{
	(void)state;
	struct policy_mrc_config cfg = {.points = 1, .blocks = {100}};
	struct policy_mrc_point points[POLICY_MRC_POINTS_MAX];
	struct policy_mrc *m;
	assert_int_equal(policy_mrc_create(&cfg, &m), 0);
	for (uint64_t k = 0; k < 100000; k++)
		policy_mrc_access(m, k, POLICY_MRC_READ); /* misses all */
	for (unsigned i = 0; i < 20; i++) {
		for (uint64_t k = 0; k < 1000; k++)
			policy_mrc_access(m, (uint64_t)1 << 30 | k % 50, POLICY_MRC_READ);
		policy_mrc_decay(m);
	}
	policy_mrc_read(m, points);
	assert_true(points[0].hit_ratio > 0.8);
	policy_mrc_destroy(m);
}

static void
bad_curves_are_refused(void **state)
{
	(void)state;
	struct policy_mrc *m = NULL;
	const struct policy_mrc_config bad[] = {{.points = 0}, {.points = 17},
	    {.points = 2, .blocks = {5, 5}}, {.points = 1, .blocks = {0}},
	    {.points = 1, .blocks = {1}, .rate_shift = 21},
	    {.points = 1, .blocks = {1}, .entries_max = UINT32_MAX}};
	for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_int_equal(policy_mrc_create(&bad[i], &m), -EINVAL);
	assert_null(m);
	policy_mrc_destroy(NULL);
	/* The extremes work: a terabyte, one block, one key in a million. */
	struct policy_mrc_config cfg = {
	    .points = 2, .blocks = {1, (uint64_t)1 << 28}, .rate_shift = 20, .entries_max = 64};
	struct policy_mrc_point points[POLICY_MRC_POINTS_MAX];
	assert_int_equal(policy_mrc_create(&cfg, &m), 0);
	for (uint64_t k = 0; k < 100000; k++)
		policy_mrc_access(m, k * k, POLICY_MRC_SCAN);
	policy_mrc_read(m, points);
	assert_true(points[0].hit_ratio >= 0 && points[1].hit_ratio <= 1);
	policy_mrc_destroy(m);
}

/* ---- advice ------------------------------------------------------------------------------- */

#define GIB ((uint64_t)1 << 18) /* in blocks */

static void
set_curve(struct policy_mrc_point *points, uint32_t *n, uint64_t samples, const double *ratios)
{
	static const uint64_t sizes[] = {4 * GIB, 8 * GIB, 16 * GIB, 32 * GIB};
	*n = 4;
	for (uint32_t i = 0; i < 4; i++)
		points[i] = (struct policy_mrc_point){
		    .blocks = sizes[i], .hit_ratio = ratios[i], .samples = samples};
}

static struct policy_advise_out
advise_ram(uint64_t now, uint64_t samples, const double *ratios)
{
	struct policy_advise_in in = {.ram_blocks = now};
	struct policy_advise_out out;
	set_curve(in.ram, &in.ram_points, samples, ratios);
	policy_advise(&in, &out);
	return out;
}

static void
says_what_more_ram_gives(void **state)
{
	(void)state;
	const double bent[] = {0.60, 0.71, 0.83, 0.84}, flat[] = {0.70, 0.702, 0.704, 0.704};
	const double steep[] = {0.2, 0.4, 0.6, 0.8};
	struct policy_advise_out out = advise_ram(8 * GIB, 10000, bent);
	assert_string_equal(out.text, "8 GiB more RAM: 71 → 83 % hits");
	assert_int_equal(out.ram.what, POLICY_TIER_GROW);
	assert_int_equal(out.ram.more_blocks, 8 * GIB);
	assert_string_equal(
	    advise_ram(8 * GIB, 10000, steep).text, "24 GiB more RAM: 40 → 80 % hits");
	assert_string_equal(
	    advise_ram(12 * GIB, 10000, steep).text, "20 GiB more RAM: 50 → 80 % hits");
	assert_string_equal(
	    advise_ram(8 * GIB, 10000, flat).text, "4 GiB less RAM: 70 → 70 % hits");
	assert_string_equal(
	    advise_ram(4 * GIB, 10000, flat).text, "more RAM would not help: 70 % hits");
	assert_string_equal(
	    advise_ram(8 * GIB, 100, bent).text, "RAM: too few reads so far to tell");
	assert_string_equal(advise_ram(0, 10000, bent).text, "");
}

static void
says_when_the_ssd_is_full(void **state)
{
	(void)state;
	const double bent[] = {0.60, 0.71, 0.83, 0.84};
	struct policy_advise_in in = {.ram_blocks = 8 * GIB,
	    .ssd_blocks = 8 * GIB,
	    .written_per_s = 10000,
	    .destaged_per_s = 2000,
	    .dirty_blocks = 280000,
	    .dirty_max_blocks = 7000000};
	struct policy_advise_out out;
	set_curve(in.ram, &in.ram_points, 10000, bent);
	policy_advise(&in, &out);
	assert_string_equal(
	    out.text, "8 GiB more RAM: 71 → 83 % hits; SSD full in 14 min at this rate");
	assert_true(out.fills);
	assert_int_equal(out.full_s, 840);
	set_curve(in.ssd, &in.ssd_points, 10000, bent);
	in.ram_points = 0;
	in.destaged_per_s = 10000;
	policy_advise(&in, &out);
	assert_string_equal(out.text,
	    "8 GiB more SSD: 71 → 83 % of reads without the store; the store keeps up with "
	    "the writes");
	assert_false(out.fills);
	in.destaged_per_s = 0;
	in.dirty_blocks = in.dirty_max_blocks + 5;
	policy_advise(&in, &out);
	assert_non_null(strstr(out.text, "SSD is full of dirty data"));
	in.dirty_blocks = 0;
	in.written_per_s = 30;
	policy_advise(&in, &out);
	assert_non_null(strstr(out.text, "full in 2 days"));
	in.written_per_s = 300;
	policy_advise(&in, &out);
	assert_non_null(strstr(out.text, "full in 6 h"));
	in.written_per_s = 70000;
	policy_advise(&in, &out);
	assert_non_null(strstr(out.text, "full in 100 s"));
}

/* The SSD's curve is of what the memory leaves; a person asks what the store is spared. */
static void
says_what_a_larger_ssd_gives_behind_the_memory(void **state)
{
	(void)state;
	const double bent[] = {0.60, 0.71, 0.83, 0.84}, half[] = {0.40, 0.50, 0.60, 0.61};
	const double flat[] = {0.50, 0.501, 0.501, 0.501};
	struct policy_advise_in in = {.ram_blocks = 8 * GIB, .ssd_blocks = 8 * GIB};
	struct policy_advise_out out;
	set_curve(in.ram, &in.ram_points, 10000, bent);
	set_curve(in.ssd, &in.ssd_points, 10000, half);
	policy_advise(&in, &out);
	/* 0.71 + 0.29 × 0.5 and 0.71 + 0.29 × 0.6 */
	assert_string_equal(out.text,
	    "8 GiB more RAM: 71 → 83 % hits; 8 GiB more SSD: 86 → 88 % of reads "
	    "without the store");
	/* As long as the memory's curve says nothing its counters do. */
	set_curve(in.ram, &in.ram_points, 100, bent);
	in.ram_hit_ratio = 0.2;
	policy_advise(&in, &out);
	assert_string_equal(out.text,
	    "RAM: too few reads so far to tell; 8 GiB more SSD: 60 → 68 % of "
	    "reads without the store");
	/* Its hits alone don't say that it is too large. */
	set_curve(in.ssd, &in.ssd_points, 10000, flat);
	in.ram_points = 0;
	in.ram_hit_ratio = 0;
	policy_advise(&in, &out);
	assert_int_equal(out.ssd.what, POLICY_TIER_KEEP);
	assert_string_equal(out.text, "more SSD would not help: 50 % of reads without the store");
	in.ssd_points = POLICY_MRC_POINTS_MAX + 1;
	policy_advise(&in, &out);
	assert_int_equal(out.ssd.what, POLICY_TIER_NONE);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_sample_tells_what_the_whole_cache_does),
	    cmocka_unit_test(the_curve_is_near_that_of_exact_lru),
	    cmocka_unit_test(what_passes_is_counted_and_not_kept),
	    cmocka_unit_test(decay_leaves_enough_to_go_by),
	    cmocka_unit_test(writes_bring_in_but_do_not_count),
	    cmocka_unit_test(decay_lets_the_present_win),
	    cmocka_unit_test(bad_curves_are_refused),
	    cmocka_unit_test(says_what_more_ram_gives),
	    cmocka_unit_test(says_when_the_ssd_is_full),
	    cmocka_unit_test(says_what_a_larger_ssd_gives_behind_the_memory),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
