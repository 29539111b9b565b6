/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/copy.h"

#include <stdint.h>
#include <string.h>

#include "tests/cmocka_all.h"

#define ROOM 9000u

/* Every alignment of both ends and lengths around the thresholds: the bytes, and nothing beside. */
static void
copies_exactly_what_memcpy_does(void **state)
{
	static const size_t lens[] = {0, 1, 63, 64, 2047, 2048, 2049, 4095, 4096, 4097, 8192};
	static uint8_t src[ROOM + 64], dst[ROOM + 64], want[ROOM + 64];
	(void)state;
	for (size_t i = 0; i < sizeof src; i++)
		src[i] = (uint8_t)(i * 7 + i / 251);
	for (size_t a = 0; a < 64; a += 3)
		for (size_t b = 0; b < 64; b += 7)
			for (size_t n = 0; n < sizeof lens / sizeof lens[0]; n++) {
				memset(dst, 0xee, sizeof dst);
				memset(want, 0xee, sizeof want);
				memcpy(want + a, src + b, lens[n]);
				copy_streaming(dst + a, src + b, lens[n]);
				assert_memory_equal(dst, want, sizeof dst);
			}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(copies_exactly_what_memcpy_does),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
