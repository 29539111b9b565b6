/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Writes that come faster than their stores take them: at the SSD's speed until 60 % of it are dirty, then evenly
 * slower, as fast as the store is; nobody pays for another's store. Rates and times are simulated ones.
 */
#include "tests/unit/cache/rig.h"

#include <math.h>

#define SLICE_NS (250 * RIG_MS)

static double
rate(struct rig_load *l, uint64_t ns)
{
	rig_load_reset(l);
	rig_run(l->r, ns);
	return (double)l->acked * 1e9 / (double)ns;
}

struct spread {
	double mean, deviation, least, most; /* the latter three of the mean */
};

static struct spread
measure(struct rig_load *l, unsigned slices)
{
	struct spread s = {.least = INFINITY};
	double squares = 0;
	for (unsigned i = 0; i < slices; i++) {
		double is = rate(l, SLICE_NS);
		assert_int_equal(l->busy + l->errors, 0);
		s.mean += is / slices;
		squares += is * is / slices;
		s.least = is < s.least ? is : s.least;
		s.most = is > s.most ? is : s.most;
	}
	s.deviation = sqrt(fmax(0, squares - s.mean * s.mean)) / s.mean;
	s.least /= s.mean;
	s.most /= s.mean;
	return s;
}

/* One slow store; the SSD may be told otherwise before rig_begin(). */
static void
init_slow(struct rig *r, uint32_t segment_blocks, uint64_t store_mib)
{
	rig_init(r, 128 * RIG_MIB, segment_blocks);
	r->store[0] = (struct rig_device){.size_bytes = store_mib * RIG_MIB, .op_ns = 5 * RIG_MS};
}

static void
begin_slow(struct rig *r)
{
	init_slow(r, 256, 1024);
	rig_begin(r);
}

/* As it is after so long. */
static void
begin_under(struct rig_load *l, uint64_t ns)
{
	rig_begin(l->r);
	rig_load_start(l);
	rig_run(l->r, ns);
}

static void
end_load(struct rig_load *l)
{
	rig_load_stop(l);
	rig_end(l->r);
}

static void
at_full_speed_until_60_percent_then_evenly(void **state)
{
	struct rig r;
	struct rig_load l = {.r = &r, .depth = 32, .blocks = 1024ull * RIG_MIB / RIG_BLOCK};
	(void)state;
	begin_slow(&r);
	rig_load_start(&l);
	double first = rate(&l, 10 * RIG_MS), is;
	while (is = rate(&l, 10 * RIG_MS), rig_dirty_percent(&r) <= 60)
		assert_true(is > 0.8 * first);
	rig_run(&r, 2000 * RIG_MS);
	uint64_t store = r.store[0].blocks;
	struct spread s = measure(&l, 12);
	print_message("slowed: %.0f/s, deviation %.2f, %.2f to %.2f of it; before %.0f/s\n", s.mean,
	    s.deviation, s.least, s.most, first);
	assert_true(s.deviation < 0.25);
	assert_true(s.least > 0.5 && s.most < 2);
	assert_true(l.latency_max_ns < 50 * RIG_MS);
	double taken = (double)(r.store[0].blocks - store) * 1e9 / (12. * (double)SLICE_NS);
	assert_true(s.mean > 0.7 * taken && s.mean < 2 * taken);
	assert_true(rig_dirty_percent(&r) > 62 && rig_dirty_percent(&r) < 80);
	end_load(&l);
}

/* Few segments, and much is written over: room ends before blocks do, and nobody may run into its end. */
static void
evenly_where_segments_come_to_an_end(void **state)
{
	struct rig r;
	struct rig_load l = {.r = &r, .depth = 32, .blocks = 512ull * RIG_MIB / RIG_BLOCK};
	(void)state;
	init_slow(&r, 1024, 512);
	r.ssd.op_ns = RIG_MS / 20;
	r.ssd.depth = 1;
	begin_under(&l, 5000 * RIG_MS);
	rig_load_reset(&l);
	uint64_t worst_ns = 0;
	struct spread s = measure(&l, 40);
	for (unsigned i = 0; i < 40; i++) {
		rate(&l, SLICE_NS);
		worst_ns = l.latency_max_ns > worst_ns ? l.latency_max_ns : worst_ns;
	}
	print_message(
	    "slowed: %.0f/s, deviation %.2f, %.2f to %.2f of it; the slowest write %.1f ms\n",
	    s.mean, s.deviation, s.least, s.most, (double)worst_ns / (double)RIG_MS);
	assert_true(s.deviation < 0.15);
	assert_true(s.least > 0.7 && s.most < 1.5);
	assert_true(worst_ns < 60 * RIG_MS);
	end_load(&l);
}

/* Data waits in all segments, among what its store has taken: these are emptied at little cost, so nobody is slowed
 * for the few that are free. */
static void
what_the_store_keeps_up_with_is_not_slowed(void **state)
{
	enum { LOOKS = 15000 };
	struct rig r;
	struct rig_load l = {.r = &r, .depth = 1, .blocks = 512ull * RIG_MIB / RIG_BLOCK};
	(void)state;
	init_slow(&r, 1024, 512);
	r.ssd.op_ns = RIG_MS / 4;
	begin_under(&l, 15000 * RIG_MS);
	uint64_t before = rig_stats(&r, 0).slowed_writes, moved = rig_cache_stats(&r).copies;
	double is = 0;
	unsigned storms = 0;
	for (unsigned i = 0; i < LOOKS; i++) {
		is += rate(&l, RIG_MS) / LOOKS;
		storms += r.ssd.reads > 24;
	}
	struct cache_volume_stats now = rig_stats(&r, 0);
	moved = rig_cache_stats(&r).copies - moved;
	print_message("%.0f/s, %.0f %% dirty, %u writes slowed before, %u then; %u blocks moved, "
	              "many read at once in %.1f %% of the time\n",
	    is, rig_dirty_percent(&r), (unsigned)before, (unsigned)(now.slowed_writes - before),
	    (unsigned)moved, 100. * storms / LOOKS);
	assert_true(rig_dirty_percent(&r) > 40);
	assert_int_equal(now.slowed_writes, 0);
	assert_true(storms < LOOKS * 3 / 100); /* who writes waits behind them */
	end_load(&l);
}

/* All of it is written over again and again, as fast as the SSD takes it: room ends, and what was hit is no reason to
 * have writers wait for more. */
static void
writers_dont_wait_for_what_was_hit(void **state)
{
	enum { LOOKS = 100000 };
	struct rig r;
	struct rig_load l = {.r = &r, .depth = 128, .blocks = 68ull * RIG_MIB / RIG_BLOCK};
	(void)state;
	init_slow(&r, 1024, 68);
	r.ssd.op_ns = RIG_MS / 20;
	r.ssd.depth = 2;
	begin_under(&l, 4000 * RIG_MS);
	uint64_t rewritten = 0, meanwhile = 0;
	unsigned full = 0;
	for (unsigned i = 0; i < LOOKS; i++) {
		struct cache_stats before = rig_cache_stats(&r);
		rig_run(&r, RIG_MS / 10);
		struct cache_stats now = rig_cache_stats(&r);
		bool waits = before.conditions & now.conditions & 1u << CACHE_COND_LOG_FULL;
		uint64_t n = now.rewritten_blocks - before.rewritten_blocks;
		rewritten += n;
		meanwhile += waits ? n : 0;
		full += waits;
	}
	print_message(
	    "%u blocks rewritten, %u of them in the %.1f ms while writes waited for room\n",
	    (unsigned)rewritten, (unsigned)meanwhile, full / 10.);
	assert_true(full > LOOKS / 10);
	assert_true(rewritten > 1000);
	assert_true(meanwhile < rewritten / 6); /* what had begun before */
	end_load(&l);
}

static void
a_store_that_becomes_fast_is_followed(void **state)
{
	struct rig r;
	struct rig_load l = {.r = &r, .depth = 32, .blocks = 1024ull * RIG_MIB / RIG_BLOCK};
	(void)state;
	begin_slow(&r);
	rig_load_start(&l);
	rig_run(&r, 2000 * RIG_MS);
	double slow = rate(&l, SLICE_NS);
	r.store[0].op_ns = RIG_MS / 4;
	rig_run(&r, 1500 * RIG_MS);
	double fast = rate(&l, 4 * SLICE_NS); /* it goes up and down */
	print_message("of a store of 5 ms %.0f/s, of one of 0.25 ms %.0f/s\n", slow, fast);
	assert_true(fast > 4 * slow);
	end_load(&l);
}

/* Then nothing can be acknowledged for ever: writes wait and end in BUSY; all goes on when it is back. */
static void
a_store_that_stops(void **state)
{
	struct rig r;
	struct rig_load l = {.r = &r, .depth = 32, .blocks = 1024ull * RIG_MIB / RIG_BLOCK};
	(void)state;
	begin_slow(&r);
	rig_load_start(&l);
	rig_run(&r, 1500 * RIG_MS);
	r.store[0].holds = true;
	rig_load_reset(&l);
	rig_run(&r, 60000 * RIG_MS);
	assert_true(l.busy > 0);
	assert_int_equal(l.errors, 0);
	assert_true(l.latency_max_ns < 6000 * RIG_MS);
	assert_true(rig_dirty_percent(&r) < 100);
	rig_device_resume(&r, &r.store[0]);
	rig_run(&r, 3000 * RIG_MS);
	assert_true(rate(&l, 1000 * RIG_MS) > 1000);
	assert_int_equal(l.busy + l.errors, 0);
	rig_load_stop(&l);
	r.store[0].op_ns = RIG_MS / 10;
	assert_int_equal(rig_flush(&r, 0), 0);
	rig_end(&r);
}

/* How fast the second LUN's writes go, whose store is fast, while the first one's store is as it is told to. */
static double
beside(const struct rig_device *first, bool first_works, bool first_holds)
{
	struct rig r;
	struct rig_load a = {.r = &r, .depth = 32, .blocks = 256ull * RIG_MIB / RIG_BLOCK};
	struct rig_load b = {.r = &r, .vol = 1, .depth = 4, .blocks = 256ull * RIG_MIB / RIG_BLOCK};
	rig_init(&r, 64 * RIG_MIB, 256);
	r.store[0] = *first;
	r.store[1] = (struct rig_device){.size_bytes = 256ull * RIG_MIB, .op_ns = RIG_MS / 2};
	rig_begin(&r);
	r.store[0].holds = first_holds;
	if (first_works)
		rig_load_start(&a);
	rig_run(&r, 14000 * RIG_MS);
	rig_load_start(&b);
	rig_run(&r, 500 * RIG_MS);
	double is = rate(&b, 1000 * RIG_MS);
	assert_int_equal(b.busy + b.errors, 0);
	struct cache_volume_stats of = rig_stats(&r, 0);
	assert_true(of.dirty_bytes <= rig_cache_stats(&r).dirty_max_bytes * 9 / 10);
	rig_load_stop(&b);
	if (first_works)
		rig_load_stop(&a);
	rig_device_resume(&r, &r.store[0]);
	r.store[0].op_ns = r.store[1].op_ns;
	r.store[0].depth = 0;
	assert_int_equal(rig_flush(&r, 0), 0);
	assert_int_equal(rig_flush(&r, 1), 0);
	rig_end(&r);
	return is;
}

static void
a_slow_or_dead_store_slows_no_other(void **state)
{
	struct rig_device disk = {.size_bytes = 256ull * RIG_MIB, .op_ns = 10 * RIG_MS, .depth = 2};
	(void)state;
	double alone = beside(&disk, false, false), slow = beside(&disk, true, false),
	       no = beside(&disk, true, true);
	print_message("alone %.0f/s, beside a slow store %.0f/s, beside a dead one %.0f/s\n", alone,
	    slow, no);
	assert_true(slow > alone / 2);
	assert_true(no > alone / 4); /* it has little room */
}

/* Half of the blocks may be dirty; what is written over and over goes to the store once in a while. */
static void
what_is_written_over_stays(void **state)
{
	enum { BLOCKS = 16384 };
	struct rig r;
	struct rig_load l = {.r = &r,
	    .depth = 32,
	    .blocks = BLOCKS,
	    .zipf_theta = 0.99,
	    .writes_max = 4ull * BLOCKS};
	(void)state;
	rig_init(&r, (uint64_t)(BLOCKS / 2 / 0.6) * RIG_BLOCK + 4 * RIG_MIB, 512);
	r.store[0] =
	    (struct rig_device){.size_bytes = (uint64_t)BLOCKS * RIG_BLOCK, .op_ns = 5 * RIG_MS};
	rig_begin(&r);
	rig_load_start(&l);
	rig_load_wait(&l);
	assert_int_equal(l.acked, l.writes_max);
	uint64_t during = r.store[0].writes;
	rig_load_stop(&l);
	assert_int_equal(rig_flush(&r, 0), 0);
	print_message("%u blocks written, %u store writes meanwhile, %u in all\n",
	    (unsigned)l.acked, (unsigned)during, (unsigned)r.store[0].writes);
	assert_true(l.acked >= 16 * during);
	assert_true(l.acked >= 8 * r.store[0].writes);
	rig_end(&r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(at_full_speed_until_60_percent_then_evenly),
	    cmocka_unit_test(evenly_where_segments_come_to_an_end),
	    cmocka_unit_test(what_the_store_keeps_up_with_is_not_slowed),
	    cmocka_unit_test(writers_dont_wait_for_what_was_hit),
	    cmocka_unit_test(a_store_that_becomes_fast_is_followed),
	    cmocka_unit_test(a_store_that_stops),
	    cmocka_unit_test(a_slow_or_dead_store_slows_no_other),
	    cmocka_unit_test(what_is_written_over_stays),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
