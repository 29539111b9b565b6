/* SPDX-License-Identifier: BSD-2-Clause */
#include "suite.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "store/fault.h"

#define SIZE (8ull << 20)

static struct world *w;
static struct blk *b;

static void
start(uint64_t seed, unsigned loops, const char *spec)
{
	w = world_sim(seed, loops, 32u << 20);
	b = world_open(w, spec, SIZE, 0, 512);
}

static void
finish(void)
{
	world_close(w, b);
	world_destroy(w);
}

static void
without_faults_it_is_the_inner_store(void **state)
{
	(void)state;
	for (unsigned loops = 1; loops <= 2; loops++) {
		for (uint64_t seed = 1; seed <= 2; seed++) {
			start(seed, loops, "fault:7::ram:");
			suite_all(w, b, seed);
			finish();
			start(seed, loops, "fault:7:delay_us=0-300,answer_us=0-300:ram:");
			suite_basic(w, b);
			suite_random(w, b, seed, 50);
			suite_parallel(w, b, seed, 3);
			finish();
		}
	}
}

/* Which of 400 reads failed, as bits. */
static unsigned
failures(unsigned long *ret_hash)
{
	char buf[512];
	unsigned count = 0;
	unsigned long hash = 5381;
	for (unsigned i = 0; i < 400; i++) {
		int err = io_read(w, 0, b, i * 512ull, 512, buf);
		assert_true(err == 0 || err == -EIO);
		count += err != 0;
		hash = hash * 33 + (err != 0);
	}
	*ret_hash = hash;
	return count;
}

static void
the_same_seed_gives_the_same_faults(void **state)
{
	(void)state;
	unsigned long h1, h2, h3;
	start(1, 1, "fault:11:read_error=0.2:null:");
	unsigned n = failures(&h1);
	assert_in_range(n, 40, 130);
	finish();
	start(2, 1, "fault:11:read_error=0.2:null:");
	failures(&h2);
	finish();
	start(1, 1, "fault:12:read_error=0.2:null:");
	failures(&h3);
	finish();
	assert_int_equal(h1, h2);
	assert_int_not_equal(h1, h3);
}

static void
errors_stay_within_the_range(void **state)
{
	(void)state;
	char buf[4096] = {0};
	start(3, 1, "fault:1:read_error=1,write_error=1,range=1MiB-2MiB:ram:");
	assert_int_equal(io_read(w, 0, b, (1u << 20) - 4096, 4096, buf), 0);
	assert_int_equal(io_read(w, 0, b, 1u << 20, 4096, buf), -EIO);
	assert_int_equal(io_read(w, 0, b, (1u << 20) - 512, 1024, buf), -EIO);
	assert_int_equal(io_write(w, 0, b, 0, (2u << 20) - 512, 512, buf), -EIO);
	assert_int_equal(io_write(w, 0, b, 0, 2u << 20, 512, buf), 0);
	struct blk_stats s;
	blk_get_stats(b, &s);
	assert_int_equal(s.errors[BLK_READ], 2);
	assert_int_equal(s.errors[BLK_WRITE], 1);
	finish();
}

static void
the_nth_operation_fails_on_demand(void **state)
{
	(void)state;
	char buf[512] = {1};
	start(4, 2, "fault:1::ram:");
	for (unsigned nth = 0; nth < 5; nth++) {
		fault_fail(b, BLK_WRITE, nth, 2, -ENOSPC);
		for (unsigned i = 0; i < 10; i++) {
			bool fails = i == nth || i == nth + 1;
			assert_int_equal(
			    io_write(w, i % 2, b, 0, i * 512ull, 512, buf), fails ? -ENOSPC : 0);
			assert_int_equal(io_read(w, 0, b, 0, 512, buf), 0);
		}
	}
	fault_fail(b, BLK_FLUSH, 0, 1, -EIO);
	assert_int_equal(io_range(w, 0, b, BLK_FLUSH, 0, 0, 0), -EIO);
	assert_int_equal(io_range(w, 0, b, BLK_FLUSH, 0, 0, 0), 0);
	finish();
}

static void
lost_writes_are_acknowledged_and_missing(void **state)
{
	(void)state;
	char buf[4096], got[4096], zeros[4096] = {0};
	pattern_fill(buf, sizeof buf, 1);
	start(5, 1, "fault:1::ram:");
	fault_lose_writes(b, 1);
	assert_int_equal(io_write(w, 0, b, 0, 0, 4096, buf), 0);
	assert_int_equal(io_write(w, 0, b, 0, 4096, 4096, buf), 0);
	assert_int_equal(io_read(w, 0, b, 0, 4096, got), 0);
	assert_memory_equal(got, zeros, 4096);
	assert_int_equal(io_read(w, 0, b, 4096, 4096, got), 0);
	assert_memory_equal(got, buf, 4096);
	finish();
}

static void
a_torn_write_fails_and_wrote_only_its_beginning(void **state)
{
	(void)state;
	static char buf[65536], got[65536], zeros[65536];
	pattern_fill(buf, sizeof buf, 1);
	start(6, 1, "fault:5:torn_write=1:ram:");
	assert_int_equal(blk_get_info(b)->atomic_max_bytes, 0);
	unsigned lengths_seen = 0;
	size_t previous = SIZE_MAX;
	for (unsigned i = 0; i < 10; i++) {
		uint64_t off = i * sizeof buf;
		assert_int_equal(io_write(w, 0, b, 0, off, sizeof buf, buf), -EIO);
		assert_int_equal(io_read(w, 0, b, off, sizeof got, got), 0);
		size_t n = 0;
		while (n < sizeof got && memcmp(got + n, buf + n, 512) == 0)
			n += 512;
		assert_true(n < sizeof got);
		assert_memory_equal(got + n, zeros, sizeof got - n);
		lengths_seen += n != previous;
		previous = n;
	}
	assert_true(lengths_seen > 3);
	finish();
}

static void
held_operations_wait_for_the_release(void **state)
{
	(void)state;
	char buf[512] = {7}, got[512];
	start(7, 2, "fault:1::ram:");
	fault_hold(b, 1u << BLK_WRITE);
	world_pass(w, 1000000);
	struct req *r[2];
	for (unsigned i = 0; i < 2; i++) {
		r[i] = req_new(w, i, b, BLK_WRITE, 0, i * 512, 512, buf);
		req_start(r[i]);
	}
	world_pass(w, 10000000);
	assert_false(req_is_done(r[0]) || req_is_done(r[1]));
	assert_int_equal(fault_held(b), 2);
	assert_int_equal(io_read(w, 0, b, 0, 512, got), 0);
	assert_int_equal(got[0], 0);
	fault_hold(b, 0);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(req_wait(r[i]), 0);
		req_put(r[i]);
	}
	assert_int_equal(fault_held(b), 0);
	assert_int_equal(io_read(w, 1, b, 0, 512, got), 0);
	assert_memory_equal(got, buf, 512);
	finish();
}

static unsigned events[BLK_EVENT_COUNT];

static void
count_event(void *ctx, enum blk_event ev)
{
	assert_ptr_equal(ctx, b);
	assert_ptr_equal(loop_current(), w->loops[0]);
	events[ev]++;
}

static void
go_away(void *ctx)
{
	fault_set_gone(ctx, true);
}

static void
come_back(void *ctx)
{
	fault_set_gone(ctx, false);
}

static void
shrink(void *ctx)
{
	fault_set_size(ctx, SIZE / 2);
}

static void
gone_and_back_and_size_are_told(void **state)
{
	(void)state;
	char buf[512] = {0};
	start(8, 2, "fault:1::ram:");
	memset(events, 0, sizeof events);
	blk_set_events(b, count_event, b);
	world_call(w, 0, go_away, b);
	assert_int_equal(events[BLK_EVENT_GONE], 1);
	assert_int_equal(blk_get_state(b), BLK_GONE);
	for (unsigned op = 0; op < BLK_EXTENTS; op++) {
		int err = op == BLK_READ    ? io_read(w, 1, b, 0, 512, buf)
		          : op == BLK_WRITE ? io_write(w, 1, b, 0, 0, 512, buf)
		                            : io_range(w, 1, b, (enum blk_op)op, 0, 0, 512);
		assert_int_equal(err, -ENODEV);
	}
	world_call(w, 0, come_back, b);
	assert_int_equal(events[BLK_EVENT_BACK], 1);
	assert_int_equal(io_read(w, 1, b, 0, 512, buf), 0);
	world_call(w, 0, shrink, b);
	assert_int_equal(events[BLK_EVENT_SIZE], 1);
	assert_int_equal(blk_get_info(b)->size_bytes, SIZE / 2);
	assert_int_equal(io_read(w, 0, b, SIZE / 2 - 512, 512, buf), 0);
	assert_int_equal(io_read(w, 0, b, SIZE / 2, 512, buf), -EIO);
	finish();
}

static void
delays_pass_in_the_worlds_time(void **state)
{
	(void)state;
	char buf[512];
	start(9, 1, "fault:1:delay_us=5000:null:");
	uint64_t t0 = loop_sim_now_ns(w->sim);
	assert_int_equal(io_read(w, 0, b, 0, 512, buf), 0);
	assert_in_range(loop_sim_now_ns(w->sim) - t0, 5000000, 6000000);
	finish();
	/* The answer only: what was written is there before it comes. */
	char got[512];
	pattern_fill(buf, sizeof buf, 1);
	start(10, 1, "fault:1:answer_us=5000:ram:");
	struct req *wr = req_new(w, 0, b, BLK_WRITE, 0, 0, sizeof buf, buf);
	t0 = loop_sim_now_ns(w->sim);
	req_start(wr);
	world_pass(w, 1000000);
	struct req *rd = req_new(w, 0, b, BLK_READ, 0, 0, sizeof got, NULL);
	req_start(rd);
	assert_int_equal(req_wait(wr), 0);
	assert_in_range(loop_sim_now_ns(w->sim) - t0, 5000000, 6000000);
	assert_int_equal(req_wait(rd), 0);
	req_copy_out(rd, got);
	assert_memory_equal(got, buf, sizeof got);
	req_put(wr);
	req_put(rd);
	finish();
}

static void
bad_options_are_refused(void **state)
{
	(void)state;
	static const char *const bad[] = {"fault:", "fault:1", "fault:1:", "fault:1::",
	    "fault:x::ram:", "fault:1:read_error=2:ram:", "fault:1:read_error=-1:ram:",
	    "fault:1:read_error=nan:ram:", "fault:1:read_error:ram:", "fault:1:bogus=1:ram:",
	    "fault:1:delay_us=9-3:ram:", "fault:1:delay_us=x:ram:", "fault:1:range=5:ram:",
	    "fault:1:range=2MiB-1MiB:ram:", "fault:1::nosuch:", "fault:1::fault:1:x=y:ram:"};
	w = world_sim(10, 1, 8u << 20);
	struct blk_open_args args = {.size_bytes = SIZE};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		args.spec = bad[i];
		assert_int_equal(world_open_reason(w, &args, &b, NULL), -EINVAL);
	}
	world_destroy(w);
}

static void
faults_stack(void **state)
{
	(void)state;
	char buf[512];
	start(11, 1, "fault:1:delay_us=10-20:fault:2:read_error=1:ram:");
	assert_int_equal(io_read(w, 0, b, 0, 512, buf), -EIO);
	finish();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(without_faults_it_is_the_inner_store),
	    cmocka_unit_test(the_same_seed_gives_the_same_faults),
	    cmocka_unit_test(errors_stay_within_the_range),
	    cmocka_unit_test(the_nth_operation_fails_on_demand),
	    cmocka_unit_test(lost_writes_are_acknowledged_and_missing),
	    cmocka_unit_test(a_torn_write_fails_and_wrote_only_its_beginning),
	    cmocka_unit_test(held_operations_wait_for_the_release),
	    cmocka_unit_test(gone_and_back_and_size_are_told),
	    cmocka_unit_test(delays_pass_in_the_worlds_time),
	    cmocka_unit_test(bad_options_are_refused),
	    cmocka_unit_test(faults_stack),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
