/* SPDX-License-Identifier: BSD-2-Clause */
/* The table of names against a plain list, through growth and removals from runs of collisions. */
#include "daemon/names.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/cmocka_all.h"

#define COUNT 2000u

static void
what_is_added_is_found_until_it_is_removed(void **state)
{
	static char names[COUNT][16];
	bool there[COUNT] = {false};
	struct names t = {0};
	unsigned seed = 1, count = 0;
	(void)state;

	for (unsigned i = 0; i < COUNT; i++)
		snprintf(names[i], sizeof names[i], "n%u", i);
	for (unsigned round = 0; round < 20000; round++) {
		seed = seed * 1103515245u + 12345u;
		unsigned i = seed / 65536u % COUNT;
		if (there[i]) {
			assert_ptr_equal(names_remove(&t, names[i]), names[i]);
			count--;
		} else {
			assert_int_equal(names_add(&t, names[i], names[i]), 0);
			count++;
		}
		there[i] = !there[i];
		assert_int_equal(t.count, count);
		if (round % 1000 != 0)
			continue;
		for (unsigned k = 0; k < COUNT; k++)
			assert_ptr_equal(names_find(&t, names[k]), there[k] ? names[k] : NULL);
	}
	names_fini(&t);
}

static void
a_name_is_there_once(void **state)
{
	struct names t = {0};
	int a, b;
	(void)state;
	assert_null(names_find(&t, "x"));
	assert_null(names_remove(&t, "x"));
	assert_int_equal(names_add(&t, "x", &a), 0);
	assert_int_equal(names_add(&t, "x", &b), -EEXIST);
	assert_ptr_equal(names_find(&t, "x"), &a);
	names_fini(&t);
	assert_null(names_find(&t, "x"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_is_added_is_found_until_it_is_removed),
	    cmocka_unit_test(a_name_is_there_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
