/* SPDX-License-Identifier: BSD-2-Clause */
/* Every command that is served has a row in docs/spec-coverage.md. */
#include "tests/cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scsi/scsi_priv.h"

/* `name` as a whole: in front of and behind it is neither letter nor digit. */
static bool
named(const char *text, const char *name)
{
	size_t len = strlen(name);
	static const char word[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789(";

	for (const char *at = text; (at = strstr(at, name)) != NULL; at += len)
		if ((at == text || at[-1] == ' ') &&
		    (at[len] == '\0' || strchr(word, at[len]) == NULL))
			return true;
	return false;
}

static void
every_command_is_named(void **state)
{
	char *text = NULL;
	size_t cap = 0;
	unsigned count = 0;
	FILE *f = fopen(SPEC_COVERAGE, "re");

	(void)state;
	assert_non_null(f);
	assert_true(getdelim(&text, &cap, '\0', f) > 0);
	fclose(f);
	for (size_t i = 0; scsi_op_families[i] != NULL; i++) {
		for (const struct scsi_opcode *op = scsi_op_families[i]; op->name != NULL; op++) {
			count++;
			if (!named(text, op->name))
				fail_msg("%s isn't in %s", op->name, SPEC_COVERAGE);
		}
	}
	assert_true(count > 50);
	free(text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_command_is_named),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
