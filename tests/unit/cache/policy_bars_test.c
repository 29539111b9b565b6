/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The policies as a whole, on small traces of the bench: how far behind LRU and ARC they may be. The
 * full sizes are in bench/policy.py.
 */
#include "tests/cmocka_all.h"

#include <string.h>

#include "bench/policy.h"

static double
better_of(const struct trace *t, uint32_t blocks)
{
	struct run_result lru, arc;
	assert_int_equal(run_lru(t, blocks, &lru), 0);
	assert_int_equal(run_arc(t, blocks, &arc), 0);
	return lru.hit_ratio > arc.hit_ratio ? lru.hit_ratio : arc.hit_ratio;
}

static void
check_size(const struct trace *t, uint32_t blocks)
{
	struct run_result ram, ssd, optimum;
	double best = better_of(t, blocks);
	assert_int_equal(run_belady(t, blocks, &optimum), 0);
	assert_int_equal(run_s3(t, blocks, &ram), 0);
	assert_int_equal(ram.resident_max, blocks);
	assert_true(ram.hit_ratio <= optimum.hit_ratio);
	assert_int_equal(run_s3_streams(t, blocks, &ram), 0);
	assert_int_equal(run_segs(t, blocks, 128, &ssd), 0);
	assert_true(ssd.resident_max <= blocks);
	assert_true(ssd.writes_per_fill < 2);
	if (!strcmp(t->name, "loop"))
		return;
	assert_true(best - ram.hit_ratio <= 0.02);
	assert_true(best - ssd.hit_ratio <= 0.04);
}

static void
no_trace_is_far_behind_lru_and_arc(void **state)
{
	(void)state;
	for (unsigned seed = 1; seed <= 2; seed++) {
		struct trace_config cfg = {.universe = 65536, .accesses = 250000, .seed = seed};
		for (unsigned n = 0; n < trace_count(); n++) {
			struct trace t;
			assert_int_equal(trace_make(n, &cfg, &t), 0);
			check_size(&t, t.unique / 20);
			check_size(&t, t.unique / 4);
			trace_fini(&t);
		}
	}
}

static void
references_know_their_business(void **state)
{
	(void)state;
	/* A B C A B D A B C with room for three: LRU hits 4, MIN 5 or the same trace at 4: 5. */
	struct trace_req req[] = {{0, 1, 0}, {1, 1, 0}, {2, 1, 0}, {0, 1, 0}, {1, 1, 0}, {3, 1, 0},
	    {0, 1, 0}, {1, 1, 0}, {2, 1, 0}};
	struct trace t = {.req = req, .reqs = 9, .accesses = 9, .universe = 4, .unique = 4};
	struct run_result r;
	assert_int_equal(run_lru(&t, 3, &r), 0);
	assert_true(r.hit_ratio * 9 > 3.9 && r.hit_ratio * 9 < 4.1);
	assert_int_equal(run_belady(&t, 4, &r), 0);
	assert_true(r.hit_ratio * 9 > 4.9 && r.hit_ratio * 9 < 5.1);
	assert_int_equal(run_arc(&t, 4, &r), 0);
	assert_true(r.hit_ratio * 9 > 4.9 && r.hit_ratio * 9 < 5.1);
	assert_int_equal(run_belady(&t, 2, &r), 0);
	assert_true(r.hit_ratio * 9 > 1.9 && r.hit_ratio * 9 < 2.1);
}

static void
destage_merges_eightfold_and_slows_from_60_percent(void **state)
{
	(void)state;
	struct destage_config cfg = {.blocks = 16384,
	    .ssd_blocks = 4 * 16384,
	    .dirty_max = 8192,
	    .theta = 0.99,
	    .offered_per_s = 100000,
	    .seed = 3};
	struct destage_result r;
	assert_int_equal(run_destage(&cfg, &r), 0);
	assert_int_equal(r.written, 4 * 16384);
	assert_true(r.store_writes * 8 <= r.written);
	assert_true(r.slow_from > 0.55);
	assert_true(r.dirty_max < 0.95);
	assert_true(r.stalled_s == 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(references_know_their_business),
	    cmocka_unit_test(no_trace_is_far_behind_lru_and_arc),
	    cmocka_unit_test(destage_merges_eightfold_and_slows_from_60_percent),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
