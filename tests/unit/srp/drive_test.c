/* SPDX-License-Identifier: BSD-2-Clause */
/* What the fuzzer of channels does, from seeds: any action at any time. */
#include <stdlib.h>

#include "tests/cmocka_all.h"
#include "tests/fuzz/fuzz.h"

#define SEEDS 250u
#define BYTES 600u

static void
test_any_order(void **state)
{
	(void)state;
	const char *only = getenv("SRP_SEED");
	unsigned from = only != NULL ? (unsigned)atoi(only) : 1;
	for (unsigned seed = from; seed < (only != NULL ? from + 1 : SEEDS); seed++) {
		uint8_t data[BYTES];
		uint64_t x = seed * 0x9e3779b97f4a7c15ull;
		print_message("seed %u\n", seed);
		for (unsigned i = 0; i < BYTES; i++) {
			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
			data[i] = (uint8_t)(x >> 32);
		}
		assert_int_equal(LLVMFuzzerTestOneInput(data, sizeof data), 0);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_any_order)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
