/* SPDX-License-Identifier: BSD-2-Clause */
/* cache/policy/streams.c */
#include "tests/cmocka_all.h"

#include <errno.h>
#include <stdlib.h>

#include "cache/policy/policy.h"

#define SECOND 1000000000ull

static uint64_t
draw(uint64_t *s)
{
	*s = *s * 6364136223846793005ull + 1442695040888963407ull;
	return *s >> 33;
}

static struct policy_streams *
make(uint32_t ahead, uint32_t total, uint64_t cutoff)
{
	struct policy_streams *ps = NULL;
	struct policy_streams_config cfg = {
	    .ahead_max = ahead, .ahead_total_max = total, .cutoff = cutoff};
	assert_int_equal(policy_streams_create(&cfg, &ps), 0);
	return ps;
}

static struct policy_stream_answer
get(struct policy_streams *ps, uint64_t now, uint32_t volume, uint64_t lba, uint32_t blocks)
{
	struct policy_stream_answer a;
	policy_streams_read(ps, now, volume, lba, blocks, &a);
	return a;
}

static void
the_second_read_makes_a_stream(void **state)
{
	(void)state;
	struct policy_streams *ps = make(128, 0, 0);
	assert_false(get(ps, 0, 1, 1000, 8).sequential);
	assert_false(get(ps, 0, 2, 1008, 8).sequential); /* of another volume */
	struct policy_stream_answer a = get(ps, 0, 1, 1008, 8);
	assert_true(a.sequential);
	assert_int_equal(a.run_blocks, 16);
	assert_int_equal(a.ahead_lba, 1016);
	assert_true(a.ahead_blocks > 0 && a.ahead_blocks <= 128);
	policy_streams_destroy(ps);
}

/* What is read ahead is asked for once, without gaps, and never further than the window. */
static void
reads_ahead_everything_once(void **state)
{
	(void)state;
	for (uint32_t blocks = 1; blocks <= 64; blocks *= 4) {
		struct policy_streams *ps = make(128, 0, 0);
		uint64_t end = 0;
		for (uint64_t lba = 0; lba < 20000; lba += blocks) {
			struct policy_stream_answer a = get(ps, lba, 0, lba, blocks);
			if (!a.ahead_blocks)
				continue;
			assert_true(a.ahead_lba == end || (!end && a.ahead_lba == lba + blocks));
			end = a.ahead_lba + a.ahead_blocks;
			assert_true(end - (lba + blocks) <= 128);
		}
		assert_true(end >= 20000);
		policy_streams_destroy(ps);
	}
}

static void
window_of_all_streams_is_limited(void **state)
{
	(void)state;
	struct policy_streams *ps = make(1024, 2048, 0);
	uint64_t end[32] = {0}, next[32], rand = 3;
	for (unsigned s = 0; s < 32; s++)
		next[s] = s * 1000000ull;
	for (unsigned i = 0; i < 32 * 2000; i++) {
		unsigned s = (unsigned)draw(&rand) % 32;
		struct policy_stream_answer a = get(ps, i, 0, next[s], 8);
		next[s] += 8;
		if (a.ahead_blocks)
			end[s] = a.ahead_lba + a.ahead_blocks;
		uint64_t outstanding = 0;
		for (unsigned k = 0; k < 32; k++)
			outstanding += end[k] > next[k] ? end[k] - next[k] : 0;
		if (i > 32 * 500) /* once all are known */
			assert_true(outstanding <= 2048);
	}
	policy_streams_destroy(ps);
}

static void
random_reads_push_no_stream_out(void **state)
{
	(void)state;
	struct policy_streams *ps = make(0, 0, 1024);
	uint64_t next[40], rand = 9, missed = 0;
	for (unsigned s = 0; s < 40; s++)
		next[s] = s * 10000000ull + 5000000000ull;
	for (unsigned i = 0; i < 40 * 1000; i++) {
		unsigned s = i % 40;
		struct policy_stream_answer a = get(ps, i, 7, next[s], 4);
		missed += i >= 40 * 10 && !a.sequential;
		if (i >= 40 * 300)
			assert_true(a.scan);
		next[s] += 4;
		for (unsigned k = 0; k < 3; k++)
			get(ps, i, 7, draw(&rand) % 1000000000, 1 + (uint32_t)draw(&rand) % 8);
	}
	assert_int_equal(missed, 0);
	policy_streams_destroy(ps);
}

static void
random_reads_are_no_stream(void **state)
{
	(void)state;
	struct policy_streams *ps = make(128, 0, 1024);
	struct policy_streams_stats st;
	uint64_t rand = 11;
	for (unsigned i = 0; i < 1000000; i++)
		assert_false(get(ps, i, 0, draw(&rand) % 1000000000, 4).scan);
	policy_streams_stats(ps, &st);
	assert_true(st.sequential < 1000);
	assert_true(st.ahead_blocks < 100000);
	policy_streams_destroy(ps);
}

/* A queue of 32 requests arrives shuffled within windows of eight. */
static void
reordered_requests_stay_one_stream(void **state)
{
	(void)state;
	struct policy_streams *ps = make(0, 0, 1000);
	uint64_t rand = 5, lost = 0, lba = 0;
	struct policy_stream_answer a = {0};
	for (unsigned round = 0; round < 200; round++, lba += 8 * 16) {
		unsigned order[8] = {0, 1, 2, 3, 4, 5, 6, 7};
		for (unsigned i = 8; round && i-- > 1;) {
			unsigned j = (unsigned)draw(&rand) % (i + 1), t = order[i];
			order[i] = order[j];
			order[j] = t;
		}
		for (unsigned i = 0; i < 8; i++) {
			a = get(ps, round, 0, lba + order[i] * 16, 16);
			lost += round && !a.sequential;
		}
	}
	assert_int_equal(lost, 0);
	assert_true(a.scan);
	assert_in_range(a.run_blocks, 200 * 8 * 16 * 9 / 10, 200 * 8 * 16);
	struct policy_streams_stats st;
	policy_streams_stats(ps, &st);
	assert_int_equal(st.active, 1);
	policy_streams_destroy(ps);
}

static void
more_gaps_than_data_is_no_stream(void **state)
{
	(void)state;
	struct policy_streams *ps = make(128, 0, 64);
	for (uint64_t i = 0; i < 2000; i++)
		assert_false(get(ps, i, 0, i * 20, 4).scan);
	policy_streams_destroy(ps);
}

static void
the_cutoff_is_exact_and_can_change(void **state)
{
	(void)state;
	struct policy_streams *ps = make(0, 0, 64);
	for (uint64_t i = 0; i < 32; i++)
		assert_int_equal(get(ps, i, 0, i * 4, 4).scan, (i + 1) * 4 > 64);
	policy_streams_set(ps, &(struct policy_streams_config){.cutoff = 0});
	assert_false(get(ps, 40, 0, 128, 4).scan);
	policy_streams_set(ps, &(struct policy_streams_config){.cutoff = 100});
	assert_true(get(ps, 41, 0, 132, 4).scan);
	policy_streams_destroy(ps);
}

static void
idle_and_forgotten_streams_go(void **state)
{
	(void)state;
	struct policy_streams *ps = make(0, 0, 0);
	struct policy_streams_stats st;
	for (uint32_t s = 0; s < 10; s++)
		for (uint64_t i = 0; i < 4; i++)
			get(ps, 0, s, 1000 + i, 1);
	policy_streams_forget(ps, 3);
	policy_streams_stats(ps, &st);
	assert_int_equal(st.active, 9);
	assert_false(get(ps, 0, 3, 1004, 1).sequential);
	for (uint64_t i = 0; i < 64; i++)
		get(ps, 11 * SECOND, 99, 1000000 * i + 7, 1);
	policy_streams_stats(ps, &st);
	assert_int_equal(st.active, 0);
	policy_streams_destroy(ps);
}

static void
the_table_is_bounded(void **state)
{
	(void)state;
	struct policy_streams *ps = NULL;
	struct policy_streams_config cfg = {.streams_max = 2000};
	assert_int_equal(policy_streams_create(&cfg, &ps), -EINVAL);
	cfg.streams_max = 4;
	assert_int_equal(policy_streams_create(&cfg, &ps), 0);
	for (uint64_t s = 0; s < 100; s++)
		for (uint64_t i = 0; i < 4; i++)
			get(ps, s, 0, s * 100000 + i, 1);
	struct policy_streams_stats st;
	policy_streams_stats(ps, &st);
	assert_int_equal(st.active, 4);
	assert_true(get(ps, 100, 0, 99 * 100000 + 4, 1).sequential);
	assert_false(get(ps, 100, 0, 4, 1).sequential);
	/* The end of the number space is no overflow. */
	get(ps, 101, 0, UINT64_MAX - 8, 4);
	assert_true(get(ps, 101, 0, UINT64_MAX - 4, 4).sequential);
	policy_streams_destroy(ps);
	policy_streams_destroy(NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_second_read_makes_a_stream),
	    cmocka_unit_test(reads_ahead_everything_once),
	    cmocka_unit_test(window_of_all_streams_is_limited),
	    cmocka_unit_test(random_reads_push_no_stream_out),
	    cmocka_unit_test(random_reads_are_no_stream),
	    cmocka_unit_test(reordered_requests_stay_one_stream),
	    cmocka_unit_test(more_gaps_than_data_is_no_stream),
	    cmocka_unit_test(the_cutoff_is_exact_and_can_change),
	    cmocka_unit_test(idle_and_forgotten_streams_go),
	    cmocka_unit_test(the_table_is_bounded),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
