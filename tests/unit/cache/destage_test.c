/* SPDX-License-Identifier: BSD-2-Clause */
/* In which order dirty data goes to its store, and in which pieces. In simulated time. */
#include "tests/unit/cache/rig.h"

#include <stdlib.h>

#define LOG_CAP 65536u
#define SEGMENT 64u /* blocks */

static void
begin(struct rig *r, uint32_t optimal_bytes, bool is_rotational)
{
	rig_init(r, 16 * RIG_MIB, SEGMENT);
	r->store[0] = (struct rig_device){.size_bytes = 256ull * RIG_MIB,
	    .op_ns = RIG_MS / 5,
	    .optimal_bytes = optimal_bytes,
	    .is_rotational = is_rotational,
	    .log = calloc(LOG_CAP, sizeof(struct rig_op)),
	    .log_cap = LOG_CAP};
	rig_begin(r);
}

static void
end(struct rig *r)
{
	rig_end(r);
	free(r->store[0].log);
}

static uint32_t
writes_of(const struct rig *r)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < r->store[0].logged; i++)
		n += r->store[0].log[i].op == BLK_WRITE;
	return n;
}

/* When the store was asked to write that block; UINT32_MAX: never. */
static uint32_t
when(const struct rig *r, uint64_t block)
{
	for (uint32_t i = 0; i < r->store[0].logged; i++) {
		const struct rig_op *o = &r->store[0].log[i];
		if (o->op == BLK_WRITE && o->at <= block * RIG_BLOCK &&
		    block * RIG_BLOCK < o->at + o->len)
			return i;
	}
	return UINT32_MAX;
}

/*
 * Sixteen groups of blocks, one after the other, each more than half a segment; in the order of the store they lie
 * between each other. With nobody waiting for it, what was written first goes first; at most a quarter of the
 * segments at a time.
 */
static void
what_was_written_first_goes_first(void **state)
{
	enum { GROUPS = 32, EACH = 40 };
	struct rig r;
	(void)state;
	begin(&r, 0, false);
	for (unsigned g = 0; g < GROUPS; g++)
		for (unsigned i = 0; i < EACH; i++)
			assert_int_equal(
			    rig_write(&r, 0, 2ull * GROUPS * i + 2 * (GROUPS - 1 - g), 1), 0);
	assert_int_equal(writes_of(&r), 0);
	rig_run(&r, 10000 * RIG_MS);
	assert_int_equal(rig_stats(&r, 0).dirty_bytes, 0);
	assert_int_equal(writes_of(&r), GROUPS * EACH);
	uint32_t first_last = 0, last_first = UINT32_MAX;
	for (unsigned i = 0; i < EACH; i++) {
		uint32_t old = when(&r, 2ull * GROUPS * i + 2 * (GROUPS - 1));
		uint32_t young = when(&r, 2ull * GROUPS * i);
		first_last = old > first_last ? old : first_last;
		last_first = young < last_first ? young : last_first;
	}
	assert_true(first_last < last_first);
	/* Each piece of it upwards. */
	uint32_t down = 0;
	for (uint32_t i = 1; i < r.store[0].logged; i++)
		down += r.store[0].log[i].op == BLK_WRITE &&
		        r.store[0].log[i - 1].op == BLK_WRITE &&
		        r.store[0].log[i].at < r.store[0].log[i - 1].at;
	assert_in_range(down, 0, 8);
	end(&r);
}

/* Somebody waits for all of it: then one sweep over the store. */
static void
a_flush_sweeps(void **state)
{
	struct rig r;
	(void)state;
	begin(&r, 0, false);
	for (uint64_t i = 0; i < 500; i++)
		assert_int_equal(rig_write(&r, 0, i * 7919 % 4001 * 2, 1), 0);
	assert_int_equal(rig_flush(&r, 0), 0);
	assert_int_equal(writes_of(&r), 500);
	uint32_t down = 0;
	for (uint32_t i = 1; i < r.store[0].logged; i++)
		down += r.store[0].log[i].op == BLK_WRITE &&
		        r.store[0].log[i].at < r.store[0].log[i - 1].at;
	assert_in_range(down, 0, 2);
	end(&r);
}

/* Who writes waits behind what is read of the SSD: little at once, until somebody waits for all of it. */
static void
it_reads_little_at_once_beside_a_writer(void **state)
{
	struct rig r;
	(void)state;
	rig_init(&r, 128 * RIG_MIB, 1024);
	r.store[0] = (struct rig_device){.size_bytes = 512ull * RIG_MIB, .op_ns = 5 * RIG_MS};
	struct rig_load burst = {
	    .r = &r, .depth = 32, .blocks = 512ull * RIG_MIB / RIG_BLOCK, .writes_max = 18000};
	struct rig_load one = {.r = &r, .depth = 1, .blocks = burst.blocks};
	rig_begin(&r);
	rig_load_start(&burst);
	rig_load_wait(&burst);
	rig_load_stop(&burst);
	r.ssd.op_ns = RIG_MS;
	rig_load_start(&one);
	rig_run(&r, 100 * RIG_MS);
	r.ssd.reads_most = 0;
	uint64_t before = r.store[0].blocks;
	rig_run(&r, 2000 * RIG_MS);
	print_message("%u blocks destaged, %u read at once, %.0f %% dirty\n",
	    (unsigned)(r.store[0].blocks - before), r.ssd.reads_most, rig_dirty_percent(&r));
	assert_true(r.store[0].blocks - before > 2000);
	assert_true(rig_dirty_percent(&r) > 45);
	assert_in_range(r.ssd.reads_most, 1, 4);
	r.ssd.reads_most = 0;
	assert_int_equal(rig_flush(&r, 0), 0);
	assert_in_range(r.ssd.reads_most, 8, 32);
	rig_load_stop(&one);
	rig_end(&r);
}

/* Written in any order and block by block, they go as whole stripes, which go first. */
static void
whole_stripes_go_whole_and_first(void **state)
{
	enum { STRIPE = 16, STRIPES = 24 };
	struct rig r;
	(void)state;
	begin(&r, STRIPE * RIG_BLOCK, false);
	/* Ragged: five blocks at the beginning of each fourth stripe; the others whole. */
	for (uint64_t i = 0; i < STRIPE; i++)
		for (uint64_t s = 0; s < STRIPES; s++)
			if (s % 4 != 0 || i < 5)
				assert_int_equal(
				    rig_write(&r, 0,
				        (STRIPES - 1 - s) * STRIPE +
				            (i * 5 % STRIPE) * (s % 4 != 0) + i * (s % 4 == 0),
				        1),
				    0);
	assert_int_equal(rig_flush(&r, 0), 0);
	bool ragged = false;
	uint64_t whole = 0, blocks = 0;
	for (uint32_t i = 0; i < r.store[0].logged; i++) {
		const struct rig_op *o = &r.store[0].log[i];
		if (o->op != BLK_WRITE)
			continue;
		uint64_t at = o->at / RIG_BLOCK, n = o->len / RIG_BLOCK;
		blocks += n;
		if (at % STRIPE == 0 && n % STRIPE == 0) {
			assert_false(ragged);
			whole += n / STRIPE;
			continue;
		}
		ragged = true;
		assert_int_equal((STRIPES - 1 - at / STRIPE) % 4, 0);
		assert_int_equal(n, 5);
	}
	assert_int_equal(whole, STRIPES - STRIPES / 4);
	assert_int_equal(blocks, whole * STRIPE + STRIPES / 4 * 5);
	end(&r);
}

/* A block that is clean and cached joins its neighbours where an operation of the store is dear. */
static void
a_gap_is_written_where_operations_are_dear(void **state)
{
	(void)state;
	for (unsigned disk = 0; disk < 2; disk++) {
		struct rig r;
		begin(&r, 0, disk);
		assert_int_equal(rig_write(&r, 0, 100, 8), 0);
		assert_int_equal(rig_flush(&r, 0), 0);
		assert_int_equal(writes_of(&r), 1);
		assert_int_equal(rig_write(&r, 0, 100, 3), 0);
		assert_int_equal(rig_write(&r, 0, 105, 3), 0);
		assert_int_equal(rig_flush(&r, 0), 0);
		assert_int_equal(writes_of(&r), disk ? 2 : 3);
		assert_int_equal(rig_stats(&r, 0).gap_blocks, disk ? 2 : 0);
		end(&r);
	}
}

/* Neighbours of what is due go with it, whenever they were written. */
static void
neighbours_go_together(void **state)
{
	struct rig r;
	(void)state;
	begin(&r, 0, false);
	for (uint64_t half = 0; half < 2; half++)
		for (uint64_t i = 0; i < 300; i++)
			assert_int_equal(rig_write(&r, 0, i * 10 + half, 1), 0);
	rig_run(&r, 10000 * RIG_MS);
	assert_int_equal(rig_stats(&r, 0).dirty_bytes, 0);
	assert_int_equal(writes_of(&r), 300);
	end(&r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_was_written_first_goes_first),
	    cmocka_unit_test(a_flush_sweeps),
	    cmocka_unit_test(it_reads_little_at_once_beside_a_writer),
	    cmocka_unit_test(whole_stripes_go_whole_and_first),
	    cmocka_unit_test(a_gap_is_written_where_operations_are_dear),
	    cmocka_unit_test(neighbours_go_together),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
