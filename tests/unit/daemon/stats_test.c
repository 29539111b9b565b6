/* SPDX-License-Identifier: BSD-2-Clause */
/* Samples of counters become rates, percentiles, a history; counts of parts fade. */
#include "daemon/stats_priv.h"

#include <stdlib.h>
#include <string.h>

#include "tests/cmocka_all.h"

#define S STATS_TICK_NS

static struct stats_entry e;
static struct stats_sample now;
static uint64_t tick;

static void
begin(void)
{
	stats_track_fini(&e);
	memset(&e, 0, sizeof e);
	memset(&now, 0, sizeof now);
	tick = 0;
}

/* A second later there were so many reads more, each in this bucket. */
static void
second(unsigned reads, unsigned bucket)
{
	now.counters[STATS_READS] += reads;
	now.counters[STATS_READ_BYTES] += reads * 4096ull;
	now.reads.buckets[bucket] += reads;
	tick++;
	stats_track(&e, &now, 1000 * S + tick * S, tick);
}

static double
reads_per_s(enum stats_window w)
{
	return e.summary.windows[w].per_s[STATS_READS];
}

#define assert_near(a, b) assert_true((a) > (b)*0.999 - 1e-9 && (a) < (b)*1.001 + 1e-9)

static void
windows_hold_what_happened_in_them_and_nothing_else(void **state)
{
	(void)state;
	begin();
	second(0, 0);
	assert_null(e.active);
	for (unsigned i = 0; i < 200; i++)
		second(100, 8);
	assert_near(reads_per_s(STATS_1S), 100);
	assert_near(reads_per_s(STATS_10S), 100);
	assert_near(reads_per_s(STATS_60S), 100);
	assert_near(e.summary.windows[STATS_10S].seconds, 10);
	assert_true(e.summary.windows[STATS_60S].seconds >= 56 &&
	            e.summary.windows[STATS_60S].seconds <= 60.5);
	second(1100, 8);
	assert_near(reads_per_s(STATS_1S), 1100);
	assert_near(reads_per_s(STATS_10S), 200);
	for (unsigned i = 0; i < 9; i++) {
		second(0, 0);
		assert_near(reads_per_s(STATS_1S), 0);
		assert_true(reads_per_s(STATS_10S) > 100);
	}
	second(0, 0);
	assert_near(reads_per_s(STATS_10S), 0);
	assert_true(reads_per_s(STATS_60S) > 80);
	for (unsigned i = 0; i < 61; i++)
		second(0, 0);
	assert_near(reads_per_s(STATS_60S), 0);
	assert_int_equal(e.summary.windows[STATS_60S].reads.count, 0);
	assert_int_equal(e.summary.counters[STATS_READS], 21100);
	for (unsigned i = 0; i < 40; i++) /* nothing is computed any more, and stays right */
		second(0, 0);
	second(7, 3);
	assert_near(reads_per_s(STATS_1S), 7);
	assert_near(reads_per_s(STATS_10S), 0.7);
}

/* Soon after the start nothing is told as if it had lasted longer. */
static void
a_window_is_as_long_as_what_is_known(void **state)
{
	(void)state;
	begin();
	second(0, 0);
	second(0, 0);
	second(30, 5);
	assert_near(e.summary.windows[STATS_60S].seconds, 2);
	assert_near(reads_per_s(STATS_60S), 15);
	assert_near(reads_per_s(STATS_1S), 30);
}

static void
percentiles_are_the_ends_of_buckets(void **state)
{
	struct stats_latency *l = &e.summary.windows[STATS_1S].reads;
	(void)state;
	begin();
	second(0, 0);
	now.reads.buckets[10] += 500;
	now.reads.buckets[20] += 450;
	now.reads.buckets[30] += 40;
	now.reads.buckets[40] += 9;
	second(1, 50);
	assert_int_equal(l->count, 1000);
	assert_near(l->p50_us, (double)scsi_latency_floor_ns(11) / 1000);
	assert_near(l->p95_us, (double)scsi_latency_floor_ns(21) / 1000);
	assert_near(l->p99_us, (double)scsi_latency_floor_ns(31) / 1000);
	assert_near(l->p999_us, (double)scsi_latency_floor_ns(41) / 1000);
	assert_near(l->max_us, (double)scsi_latency_floor_ns(51) / 1000);
	assert_memory_equal(l, &e.summary.reads, sizeof *l);
	second(1, SCSI_LATENCY_BUCKETS - 1); /* which has no end */
	assert_near(l->max_us, (double)scsi_latency_floor_ns(SCSI_LATENCY_BUCKETS - 1) / 1000);
	assert_near(l->p50_us, l->max_us);
	assert_int_equal(e.summary.reads.count, 1001);
}

static struct stats_history h;

static const struct stats_slot *
second_of(uint64_t t)
{
	stats_track_history(&e, tick, &h);
	return &h.seconds[STATS_SECONDS - 1 - (tick - t)];
}

static void
the_history_has_a_slot_for_each_second(void **state)
{
	(void)state;
	begin();
	second(0, 0);
	second(0, 0);
	for (unsigned i = 0; i < 700; i++)
		second(i, 12);
	assert_int_equal(second_of(tick)->reads, 699);
	assert_int_equal(second_of(tick)->read_kib, 699 * 4);
	assert_int_equal(second_of(tick)->read_max, 12);
	assert_int_equal(second_of(tick - 599)->reads, 100);
	for (unsigned i = 0; i < 600; i++)
		second(0, 0);
	for (unsigned i = 0; i < STATS_SECONDS; i++)
		assert_int_equal(h.seconds[i].reads, 100 + i);
	stats_track_history(&e, tick, &h);
	for (unsigned i = 0; i < STATS_SECONDS; i++)
		assert_int_equal(h.seconds[i].reads, 0);
}

static void
a_late_look_is_spread_over_the_seconds_that_it_missed(void **state)
{
	(void)state;
	begin();
	second(0, 0);
	second(10, 4);
	tick += 3;
	second(400, 4);
	for (uint64_t t = tick - 3; t <= tick; t++)
		assert_int_equal(second_of(t)->reads, 100);
	assert_int_equal(second_of(tick - 4)->reads, 10);
	assert_near(reads_per_s(STATS_1S), 100);
	tick--; /* the same second again is no news */
	second(5, 4);
	assert_int_equal(second_of(tick)->reads, 100);
	second(5, 4);
	assert_int_equal(second_of(tick)->reads, 10);
}

static void
what_nobody_looked_at_is_unknown_and_what_was_idle_is_zero(void **state)
{
	(void)state;
	begin();
	tick = 100;
	second(0, 0);
	second(0, 0);
	stats_track_history(&e, tick, &h);
	assert_int_equal(h.seconds[STATS_SECONDS - 1].reads, 0);
	assert_int_equal(h.seconds[STATS_SECONDS - 2].reads, 0);
	assert_int_equal(h.seconds[STATS_SECONDS - 3].reads, STATS_UNKNOWN);
	assert_int_equal(h.seconds[0].reads, STATS_UNKNOWN);
	assert_int_equal(h.minutes[STATS_MINUTES - 1].reads, STATS_UNKNOWN);
	second(3, 0);
	stats_track_history(&e, tick, &h);
	assert_int_equal(h.seconds[STATS_SECONDS - 1].reads, 3);
	assert_int_equal(h.seconds[STATS_SECONDS - 2].reads, 0);
	assert_int_equal(h.seconds[STATS_SECONDS - 3].reads, 0);
	assert_int_equal(h.seconds[STATS_SECONDS - 4].reads, STATS_UNKNOWN);
}

static void
minutes_go_round_once_a_day(void **state)
{
	(void)state;
	begin();
	second(0, 0);
	while (tick < 3 * 3600) /* a minute of work in each three */
		second(tick / 60 % 3 == 1 ? 2 : 0, 9);
	assert_int_equal(tick, 3 * 3600);
	stats_track_history(&e, tick, &h);
	uint64_t reads = 0;
	unsigned unknown = 0;
	for (unsigned i = 0; i < STATS_MINUTES; i++) {
		if (h.minutes[i].reads == STATS_UNKNOWN) {
			unknown++;
			continue;
		}
		uint64_t minute = tick / 60 - (STATS_MINUTES - 1 - i);
		assert_int_equal(h.minutes[i].reads, minute % 3 == 2 ? 120 : 0);
		reads += h.minutes[i].reads;
	}
	assert_int_equal(unknown, STATS_MINUTES - 180);
	assert_int_equal(reads, now.counters[STATS_READS]);
	while (tick < 28 * 3600)
		second(0, 0);
	stats_track_history(&e, tick, &h);
	for (unsigned i = 0; i < STATS_MINUTES; i++)
		assert_int_equal(h.minutes[i].reads, 0);
}

static void
another_unit_begins_anew_without_a_jump(void **state)
{
	(void)state;
	begin();
	for (unsigned i = 0; i < 30; i++)
		second(100, 8);
	stats_track_anew(&e);
	memset(&now, 0, sizeof now);
	second(50, 8);
	assert_near(reads_per_s(STATS_1S), 50);
	assert_int_equal(e.summary.counters[STATS_READS], 50);
	assert_int_equal(e.summary.windows[STATS_1S].reads.count, 50);
	assert_int_equal(second_of(tick - 1)->reads, 100);
	assert_int_equal(second_of(tick)->reads, 50);
}

/* ---- heat ------------------------------------------------------------------------------------------- */

static void
counts_of_parts_fade(void **state)
{
	static struct stats_hot hot;
	static struct scsi_heat heat;
	(void)state;
	heat.shift = 3;
	heat.reads[7] = 100;
	heat.writes[1023] = 8;
	stats_hot_look(&hot, &heat, 5 * S);
	assert_near((double)hot.reads[7], 100);
	stats_hot_look(&hot, &heat, (5 + STATS_HEAT_HALF_LIFE_S) * S);
	assert_near((double)hot.reads[7], 50);
	assert_near((double)hot.writes[1023], 4);
	heat.reads[7] += 10;
	stats_hot_look(&hot, &heat, (5 + 2 * STATS_HEAT_HALF_LIFE_S) * S);
	assert_near((double)hot.reads[7], 35);
	heat.shift = 5; /* it grew: parts are four of the old ones */
	stats_hot_look(&hot, &heat, (5 + 2 * STATS_HEAT_HALF_LIFE_S) * S + 1);
	assert_near((double)hot.reads[1], 35);
	assert_near((double)hot.writes[255], 2);
	assert_true(hot.reads[7] == 0);
	stats_hot_look(&hot, &heat, (5 + 80 * STATS_HEAT_HALF_LIFE_S) * S);
	assert_true(hot.reads[1] == 0);
}

/* Counters go round after 2^32 commands. */
static void
what_is_added_is_a_difference(void **state)
{
	static struct stats_hot hot;
	static struct scsi_heat heat;
	(void)state;
	hot.ns = S;
	hot.last.reads[0] = heat.reads[0] = UINT32_MAX - 3;
	heat.reads[0] += 10;
	stats_hot_look(&hot, &heat, S + 1);
	assert_near((double)hot.reads[0], 10);
	stats_hot_anew(&hot);
	heat.reads[0] = 5; /* another unit */
	stats_hot_look(&hot, &heat, S + 2);
	assert_near((double)hot.reads[0], 15);
}

static int
end(void **state)
{
	(void)state;
	stats_track_fini(&e);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(windows_hold_what_happened_in_them_and_nothing_else),
	    cmocka_unit_test(a_window_is_as_long_as_what_is_known),
	    cmocka_unit_test(percentiles_are_the_ends_of_buckets),
	    cmocka_unit_test(the_history_has_a_slot_for_each_second),
	    cmocka_unit_test(a_late_look_is_spread_over_the_seconds_that_it_missed),
	    cmocka_unit_test(what_nobody_looked_at_is_unknown_and_what_was_idle_is_zero),
	    cmocka_unit_test(minutes_go_round_once_a_day),
	    cmocka_unit_test(another_unit_begins_anew_without_a_jump),
	    cmocka_unit_test(counts_of_parts_fade),
	    cmocka_unit_test(what_is_added_is_a_difference),
	};
	return cmocka_run_group_tests(tests, NULL, end);
}
