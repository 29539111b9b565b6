/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A volume whose store takes nothing leaves the others room [18]: whether the store fails from the beginning, or
 * after its volume had taken all that a slow one may have. Each is also seen to fail without its guard. In
 * simulated time; small numbers at once, since the simulated cache has only four requests under way.
 */
#include "tests/unit/cache/rig.h"

#include <errno.h>

#include "cache/cache_priv.h"

/* What the healthy volume gets in five seconds, of writes that wait five seconds at most. */
struct got {
	uint64_t acked, busy;
	double dirty_percent; /* when the store failed for good */
};

static struct got
beside_a_failed_store(enum cache_mutant mutant, bool fails_first)
{
	struct rig r;
	struct rig_load failed = {.r = &r, .depth = 1, .blocks = 64ull * RIG_MIB / RIG_BLOCK};
	struct rig_load well = {
	    .r = &r, .vol = 1, .depth = 3, .blocks = 64ull * RIG_MIB / RIG_BLOCK};
	struct got got;
	cache_mutant = mutant;
	rig_init(&r, 8 * RIG_MIB, 64);
	r.ssd.op_ns = RIG_MS;
	r.store[0] =
	    (struct rig_device){.size_bytes = 64ull * RIG_MIB, .op_ns = 10 * RIG_MS, .depth = 1};
	r.store[1] = (struct rig_device){.size_bytes = 64ull * RIG_MIB, .op_ns = RIG_MS / 2};
	r.store[0].err = fails_first ? -EIO : 0;
	rig_begin(&r);
	rig_load_start(&failed);
	rig_run(&r, 6000 * RIG_MS);
	r.store[0].err = -EIO;
	rig_run(&r, 1000 * RIG_MS);
	got.dirty_percent = rig_dirty_percent(&r);
	rig_load_start(&well);
	rig_run(&r, 8000 * RIG_MS);
	rig_load_reset(&well);
	rig_run(&r, 8000 * RIG_MS);
	got.acked = well.acked;
	got.busy = well.busy;
	assert_int_equal(well.errors + failed.errors, 0);
	rig_load_stop(&failed);
	rig_load_stop(&well);
	r.store[0].err = 0;
	r.store[0].op_ns = RIG_MS / 10;
	rig_run(&r, 3000 * RIG_MS); /* what had begun before may still fail, and tells who waits */
	assert_int_equal(rig_flush(&r, 0), 0);
	rig_end(&r);
	cache_mutant = CACHE_MUTANT_NONE;
	print_message("%s, %s: %.0f %% dirty, %u written, %u BUSY\n",
	    fails_first ? "fails from the beginning" : "fails when it is behind",
	    mutant == CACHE_MUTANT_NONE ? "guarded" : "without the guard", got.dirty_percent,
	    (unsigned)got.acked, (unsigned)got.busy);
	return got;
}

static void
a_store_that_fails_leaves_room(void **state)
{
	(void)state;
	struct got got = beside_a_failed_store(CACHE_MUTANT_NONE, true);
	assert_true(got.acked > 5000);
	assert_int_equal(got.busy, 0);
	got = beside_a_failed_store(CACHE_MUTANT_STUCK_NO_CAP, true);
	assert_int_equal(got.acked, 0);
	assert_true(got.busy > 0);
}

static void
one_that_fails_when_behind_leaves_room(void **state)
{
	(void)state;
	struct got got = beside_a_failed_store(CACHE_MUTANT_NONE, false);
	assert_true(got.dirty_percent > 45);
	assert_true(got.acked > 5000);
	assert_int_equal(got.busy, 0);
	got = beside_a_failed_store(CACHE_MUTANT_STUCK_NO_CAP, false);
	assert_int_equal(got.acked, 0);
	assert_true(got.busy > 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_store_that_fails_leaves_room),
	    cmocka_unit_test(one_that_fails_when_behind_leaves_room),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
