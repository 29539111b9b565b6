/* SPDX-License-Identifier: BSD-2-Clause */
/* What is asked of a store when a volume is opened. In simulated time. */
#include "tests/unit/cache/rig.h"

#include <errno.h>

static void
begin(struct rig *r)
{
	rig_init(r, 16 * RIG_MIB, 64);
	r->store[0] = (struct rig_device){.size_bytes = 64ull * RIG_MIB, .op_ns = RIG_MS / 5};
	rig_begin(r);
}

/* As an initiator asks for it: SYNCHRONIZE CACHE. */
static int
flush(struct rig *r)
{
	return io_range(r->w, 0, cache_volume_blk(r->vol[0]), BLK_FLUSH, 0, 0, 0);
}

/* [5]: what the process before left in the store's own cache can be read, so it has to stay. */
static void
the_store_is_flushed_before_it_is_served(void **state)
{
	struct rig r;
	(void)state;
	begin(&r);
	assert_int_equal(r.store[0].flushes, 1);
	rig_reopen(&r, 0, 0);
	assert_int_equal(r.store[0].flushes, 2);
	/* From here on what is acknowledged is on the SSD. */
	assert_int_equal(flush(&r), 0);
	assert_int_equal(r.store[0].flushes, 2);
	rig_end(&r);
}

/* A flush isn't answered by the SSD alone before the store has ended one well. */
static void
a_flush_that_failed_is_owed(void **state)
{
	struct rig r;
	(void)state;
	begin(&r);
	rig_reopen(&r, 0, -EIO);
	assert_int_equal(r.store[0].flushes, 1);
	assert_int_equal(rig_stats(&r, 0).store_errors, 1);
	r.store[0].err = -EIO;
	assert_int_equal(flush(&r), -EIO);
	r.store[0].err = 0;
	assert_int_equal(flush(&r), 0);
	assert_int_equal(r.store[0].flushes, 2);
	assert_int_equal(flush(&r), 0);
	assert_int_equal(r.store[0].flushes, 2);
	rig_end(&r);
}

/* What is destaged is flushed: that one counts too. */
static void
what_is_owed_is_paid_by_destaging(void **state)
{
	struct rig r;
	(void)state;
	begin(&r);
	rig_reopen(&r, 0, -EIO);
	assert_int_equal(rig_write(&r, 0, 3, 1), 0);
	assert_int_equal(rig_flush(&r, 0), 0);
	uint64_t flushes = r.store[0].flushes;
	assert_true(flushes > 1);
	assert_int_equal(flush(&r), 0);
	assert_int_equal(r.store[0].flushes, flushes);
	rig_end(&r);
}

/* Dirty data waits, the store is slow, and the volume can't be opened in the end: the store is its owner's again. */
static void
nothing_is_destaged_before_it_is_open(void **state)
{
	struct rig r;
	(void)state;
	begin(&r);
	assert_int_equal(rig_write(&r, 0, 3, 1), 0);
	rig_close(&r, 0);
	struct cache_volume *was = r.vol[0];
	uint64_t writes = r.store[0].writes;
	r.store[0].op_ns = 10000 * RIG_MS; /* by then the tick lets everything go */
	r.marker[0].err = -EIO;
	assert_int_equal(rig_open(&r, 0), -EIO);
	assert_null(r.vol[0]);
	rig_run(&r, 30000 * RIG_MS);
	assert_int_equal(r.store[0].writes, writes);
	r.store[0].op_ns = RIG_MS / 5;
	r.marker[0].err = 0;
	assert_int_equal(rig_open(&r, 0), 0);
	assert_ptr_equal(r.vol[0], was);
	assert_int_equal(rig_flush(&r, 0), 0);
	assert_int_equal(r.store[0].writes, writes + 1);
	rig_end(&r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_store_is_flushed_before_it_is_served),
	    cmocka_unit_test(a_flush_that_failed_is_owed),
	    cmocka_unit_test(what_is_owed_is_paid_by_destaging),
	    cmocka_unit_test(nothing_is_destaged_before_it_is_open),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
