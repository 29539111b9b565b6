/* SPDX-License-Identifier: BSD-2-Clause */
/* Stamps of the verify mode: any change of any byte is found, where it is. */
#include "bench/iscsi_load.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static uint8_t block[4096];

static void
test_an_untouched_block_passes(void **state)
{
	(void)state;
	load_verify_fill(block, sizeof block, 77, 5, 9);
	assert_int_equal(load_verify_check(block, sizeof block, 77, 5, 9), sizeof block);
}

static void
test_each_changed_byte_is_found(void **state)
{
	(void)state;
	load_verify_fill(block, sizeof block, 77, 5, 9);
	for (uint32_t i = 0; i < sizeof block; i++) {
		block[i] ^= 0x20;
		assert_int_equal(load_verify_check(block, sizeof block, 77, 5, 9), i);
		block[i] ^= 0x20;
	}
}

static void
test_another_address_generation_or_seed_fails(void **state)
{
	(void)state;
	load_verify_fill(block, sizeof block, 77, 5, 9);
	assert_true(load_verify_check(block, sizeof block, 78, 5, 9) < sizeof block);
	assert_true(load_verify_check(block, sizeof block, 77, 6, 9) < sizeof block);
	assert_true(load_verify_check(block, sizeof block, 77, 5, 8) < sizeof block);
}

static void
test_swapped_sectors_of_one_block_fail(void **state)
{
	(void)state;
	uint8_t other[512];
	load_verify_fill(block, sizeof block, 77, 5, 9);
	memcpy(other, block + 512, 512);
	memcpy(block + 512, block + 1024, 512);
	memcpy(block + 1024, other, 512);
	assert_in_range(load_verify_check(block, sizeof block, 77, 5, 9), 512, 1023);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_an_untouched_block_passes),
	    cmocka_unit_test(test_each_changed_byte_is_found),
	    cmocka_unit_test(test_another_address_generation_or_seed_fails),
	    cmocka_unit_test(test_swapped_sectors_of_one_block_fail),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
