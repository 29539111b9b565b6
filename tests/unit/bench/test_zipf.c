/* SPDX-License-Identifier: BSD-2-Clause */
/* Zipf in the load generator: shares of the ranks, places. */
#include "bench/iscsi_load.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define COUNT 10000u
#define DRAWS 1000000u

static uint64_t
next_random(uint64_t *x)
{
	*x += 0x9e3779b97f4a7c15ull;
	uint64_t z = *x;
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

/* With parameter 0.99 of 10000 ranks: the first has 1 / 10.2 of all, the first hundred a half. */
static void
test_shares(void **state)
{
	(void)state;
	struct load_zipf z;
	load_zipf_init(&z, COUNT, 0.99);
	uint64_t seed = 1, first = 0, hundred = 0;
	for (uint32_t i = 0; i < DRAWS; i++) {
		uint64_t rank = load_zipf_rank(&z, next_random(&seed));
		assert_true(rank < COUNT);
		first += rank == 0;
		hundred += rank < 100;
	}
	assert_in_range(first, DRAWS / 100 * 9, DRAWS / 100 * 11);
	assert_in_range(hundred, DRAWS / 100 * 45, DRAWS / 100 * 58);
	assert_int_equal(load_zipf_rank(&z, 0), 0);
	assert_true(load_zipf_rank(&z, UINT64_MAX) < COUNT);
}

/* The same with the numbers that the engine itself draws. */
static void
test_shares_of_the_engine(void **state)
{
	(void)state;
	struct load_engine *e = calloc(1, sizeof *e);
	struct load_zipf z;
	uint64_t first = 0, hundred = 0;
	assert_non_null(e);
	e->random_state = 88172645463325252ull;
	load_zipf_init(&z, COUNT, 0.99);
	for (uint32_t i = 0; i < DRAWS; i++) {
		uint64_t rank = load_zipf_rank(&z, load_random(e));
		first += rank == 0;
		hundred += rank < 100;
	}
	assert_in_range(first, DRAWS / 100 * 9, DRAWS / 100 * 11);
	assert_in_range(hundred, DRAWS / 100 * 45, DRAWS / 100 * 58);
	free(e);
}

static void
test_each_rank_has_a_place_of_its_own(void **state)
{
	static const uint64_t counts[] = {2, 3, 10, 4096, COUNT};
	(void)state;
	for (unsigned n = 0; n < sizeof counts / sizeof counts[0]; n++) {
		struct load_zipf z;
		load_zipf_init(&z, counts[n], 0.99);
		char *seen = calloc(1, counts[n]);
		assert_non_null(seen);
		for (uint64_t i = 0; i < counts[n]; i++) {
			uint64_t place = load_zipf_place(&z, i);
			assert_true(place < counts[n]);
			assert_int_equal(seen[place]++, 0);
		}
		free(seen);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_shares),
	    cmocka_unit_test(test_shares_of_the_engine),
	    cmocka_unit_test(test_each_rank_has_a_place_of_its_own),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
