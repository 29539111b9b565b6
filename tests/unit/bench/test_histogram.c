/* SPDX-License-Identifier: BSD-2-Clause */
/* The load generator's histogram against exact percentiles. */
#include "bench/histogram.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SAMPLES 20000u

static struct histogram h;

static int
compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a;
	uint64_t y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

static uint64_t
next_random(uint64_t *state)
{
	*state = *state * 6364136223846793005ull + 1442695040888963407ull;
	return *state >> 20;
}

static void
test_empty_has_no_percentiles(void **state)
{
	(void)state;
	histogram_init(&h);
	assert_int_equal(histogram_percentile(&h, 500000), 0);
	assert_true(histogram_mean(&h) == 0);
}

static void
test_small_values_are_exact(void **state)
{
	(void)state;
	histogram_init(&h);
	for (uint64_t v = 1; v <= 50; v++)
		histogram_record(&h, v);
	assert_int_equal(histogram_percentile(&h, 500000), 25);
	assert_int_equal(histogram_percentile(&h, 980000), 49);
	assert_int_equal(histogram_percentile(&h, 0), 1);
	assert_int_equal(histogram_percentile(&h, 1000000), 50);
}

/* Each value lies in its bucket: not over its top, over the top of the one before. */
static void
test_buckets_cover_all_values_in_order(void **state)
{
	(void)state;
	for (uint32_t i = 1; i < HISTOGRAM_BUCKETS; i++) {
		uint64_t first = histogram_bucket_top(i - 1) + 1;
		assert_int_equal(histogram_bucket(first), i);
		assert_int_equal(histogram_bucket(histogram_bucket_top(i)), i);
	}
	assert_int_equal(
	    histogram_bucket_top(HISTOGRAM_BUCKETS - 1), (1ull << HISTOGRAM_VALUE_BITS) - 1);
	assert_int_equal(histogram_bucket(UINT64_MAX), HISTOGRAM_BUCKETS - 1);
}

static void
test_percentiles_are_within_a_64th_above_the_exact_ones(void **state)
{
	(void)state;
	static const uint32_t per_million[] = {1, 10000, 500000, 900000, 990000, 999000, 1000000};
	static uint64_t values[SAMPLES];
	uint64_t seed = 7;
	histogram_init(&h);
	for (uint32_t i = 0; i < SAMPLES; i++) {
		/* Magnitudes from nanoseconds to seconds. */
		values[i] = next_random(&seed) >> (next_random(&seed) % 30 + 14);
		histogram_record(&h, values[i]);
	}
	qsort(values, SAMPLES, sizeof values[0], compare);
	for (uint32_t i = 0; i < sizeof per_million / sizeof per_million[0]; i++) {
		uint64_t rank = ((uint64_t)SAMPLES * per_million[i] + 999999) / 1000000;
		uint64_t exact = values[rank ? rank - 1 : 0];
		uint64_t got = histogram_percentile(&h, per_million[i]);
		assert_true(got >= exact);
		assert_true(got <= exact + exact / 64);
	}
	assert_int_equal(h.max, values[SAMPLES - 1]);
	assert_int_equal(h.min, values[0]);
}

static void
test_huge_values_report_the_maximum(void **state)
{
	(void)state;
	histogram_init(&h);
	histogram_record(&h, 1ull << 50);
	assert_int_equal(histogram_percentile(&h, 500000), 1ull << 50);
}

static void
test_merge_equals_recording_in_one(void **state)
{
	(void)state;
	static struct histogram a, b, all;
	uint64_t seed = 3;
	histogram_init(&a);
	histogram_init(&b);
	histogram_init(&all);
	for (uint32_t i = 0; i < 1000; i++) {
		uint64_t v = next_random(&seed) >> 20;
		histogram_record(i % 3 ? &a : &b, v);
		histogram_record(&all, v);
	}
	histogram_merge(&a, &b);
	assert_memory_equal(&a, &all, sizeof all);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_empty_has_no_percentiles),
	    cmocka_unit_test(test_small_values_are_exact),
	    cmocka_unit_test(test_buckets_cover_all_values_in_order),
	    cmocka_unit_test(test_percentiles_are_within_a_64th_above_the_exact_ones),
	    cmocka_unit_test(test_huge_values_report_the_maximum),
	    cmocka_unit_test(test_merge_equals_recording_in_one),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
