/* SPDX-License-Identifier: BSD-2-Clause */
/* limits { } and the bounds of the iSCSI frontend are one list with one set of defaults. */
#include "tests/unit/conf/conf_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "daemon/daemon.h"

static void
without_limits_the_defaults_hold(void **state)
{
	struct fixture *f = *state;
	struct iscsi_limits expected, got;
	fixture_text(f, "");
	iscsi_limits_default(&expected);
	daemon_limits(f->conf, &got);
	assert_memory_equal(&expected, &got, sizeof got);
}

/* Number `i` of the table: its key and its default. */
static const struct conf_option *
limit_option(unsigned i)
{
	unsigned count;
	const struct conf_option *o = conf_options(&count);
	for (unsigned k = 0; k < count; k++)
		if (strcmp(o[k].object, "limits") == 0 && i-- == 0)
			return &o[k];
	return NULL;
}

static void
written_defaults_are_the_defaults(void **state)
{
	struct fixture *f = *state;
	struct iscsi_limits expected, got;
	char text[2048] = "limits {\n";
	unsigned count = 0;
	for (; limit_option(count) != NULL; count++) {
		const struct conf_option *o = limit_option(count);
		sprintf(text + strlen(text), "%s %s\n", o->key, o->fallback);
	}
	strcat(text, "}\n");
	fixture_text(f, text);
	assert_string_equal(f->messages, "");
	assert_int_equal(count, sizeof expected / sizeof(uint32_t));
	iscsi_limits_default(&expected);
	daemon_limits(f->conf, &got);
	assert_memory_equal(&expected, &got, sizeof got);
}

/* Each key changes one field, and each another one. */
static void
each_key_changes_its_own_field(void **state)
{
	struct fixture *f = *state;
	struct iscsi_limits defaults;
	uint32_t before[sizeof defaults / sizeof(uint32_t)], after[sizeof before / sizeof *before];
	bool seen[sizeof before / sizeof *before] = {false};

	iscsi_limits_default(&defaults);
	memcpy(before, &defaults, sizeof before);
	for (unsigned i = 0; limit_option(i) != NULL; i++) {
		const struct conf_option *o = limit_option(i);
		struct iscsi_limits got;
		char text[128];
		uint64_t value;
		assert_int_equal(text_parse_size(o->fallback, &value), 0);
		/* One less is within every range. */
		snprintf(text, sizeof text, "limits { %s %u }", o->key, (unsigned)value - 1);
		fixture_text(f, text);
		assert_string_equal(f->messages, "");
		daemon_limits(f->conf, &got);
		memcpy(after, &got, sizeof after);
		unsigned changed = 0;
		for (unsigned k = 0; k < sizeof after / sizeof *after; k++) {
			if (after[k] == before[k])
				continue;
			changed++;
			assert_int_equal(after[k], value - 1);
			assert_false(seen[k]);
			seen[k] = true;
		}
		assert_int_equal(changed, 1);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(without_limits_the_defaults_hold),
	    TEST(written_defaults_are_the_defaults),
	    TEST(each_key_changes_its_own_field),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
