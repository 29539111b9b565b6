/* SPDX-License-Identifier: BSD-2-Clause */
/* Files: what can be read, include, and the order of errors over files. */
#include "tests/unit/conf/conf_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LUN(name) "lun " name " { store /srv/" name " }\n"

static void
expect_luns(const struct fixture *f, const char *names)
{
	char got[256] = "";
	assert_non_null(f->conf);
	for (unsigned i = 0; i < f->conf->lun_count; i++) {
		strcat(got, f->conf->luns[i].name);
		strcat(got, " ");
	}
	assert_string_equal(got, names);
}

static void
a_file_stands_where_it_is_included(void **state)
{
	struct fixture *f = *state;
	fixture_file(f, "b.conf", LUN("b"), 0644);
	fixture_file(f, "a.conf", LUN("a") "include b.conf\n" LUN("c"), 0644);
	fixture_path(f, "a.conf");
	expect_luns(f, "a b c ");
	assert_string_equal(strrchr(f->conf->luns[1].pos.file, '/'), "/b.conf");
}

static void
in_a_block_as_well(void **state)
{
	struct fixture *f = *state;
	fixture_file(f, "b.conf", "store /srv/x\nsize 1MiB", 0644);
	fixture_file(f, "a.conf", "lun a { include b.conf }", 0644);
	fixture_path(f, "a.conf");
	expect_luns(f, "a ");
	assert_int_equal(f->conf->luns[0].size_bytes, 1 << 20);
}

static void
a_pattern_is_sorted(void **state)
{
	struct fixture *f = *state;
	fixture_file(f, "d-2.conf", LUN("two"), 0644);
	fixture_file(f, "d-10.conf", LUN("ten"), 0644);
	fixture_file(f, "d-Z.conf", LUN("z"), 0644);
	fixture_file(f, "d-1.conf.bak", "rubbish", 0644);
	fixture_file(f, "a.conf", "include d-*.conf", 0644);
	fixture_path(f, "a.conf");
	expect_luns(f, "ten two z ");
}

static void
a_pattern_may_match_nothing(void **state)
{
	struct fixture *f = *state;
	fixture_file(f, "a.conf", "include nowhere/*.conf\ninclude *.none", 0644);
	fixture_path(f, "a.conf");
	assert_int_equal(f->built, 0);
}

static void
a_name_that_exists_is_no_pattern(void **state)
{
	struct fixture *f = *state;
	fixture_file(f, "[b].conf", LUN("right"), 0644);
	fixture_file(f, "b.conf", LUN("wrong"), 0644);
	fixture_file(f, "a.conf", "include [b].conf", 0644);
	fixture_path(f, "a.conf");
	expect_luns(f, "right ");
}

static void
mistakes_of_include(void **state)
{
	struct fixture *f = *state;
	char where[512];
	fixture_file(f, "a.conf",
	    "include\ninclude b c\ninclude b.conf { }\n  include b.conf\n"
	    "include \"b\\nc\"",
	    0644);
	fixture_path(f, "a.conf");
	snprintf(where, sizeof where,
	    "a.conf:1:1: include takes one path or pattern: include conf.d/*.conf\n"
	    "a.conf:2:1: include takes one path or pattern: include conf.d/*.conf\n"
	    "a.conf:3:1: include takes one path or pattern: include conf.d/*.conf\n"
	    "a.conf:4:11: can't read %s/b.conf: No such file or directory\n"
	    "a.conf:5:1: include takes one path or pattern: include conf.d/*.conf\n",
	    f->dir);
	assert_string_equal(f->messages, where);
}

static void
a_cycle_is_an_error(void **state)
{
	struct fixture *f = *state;
	char where[256];
	fixture_file(f, "b.conf", "\n include a.conf", 0644);
	fixture_file(f, "a.conf", "include b.conf", 0644);
	fixture_path(f, "a.conf");
	snprintf(where, sizeof where,
	    "b.conf:2:10: %s/a.conf includes itself: remove one of the two\n", f->dir);
	assert_string_equal(f->messages, where);
}

static void
twice_is_no_cycle(void **state)
{
	struct fixture *f = *state;
	fixture_file(f, "b.conf", "size 1MiB", 0644);
	fixture_file(f, "a.conf",
	    "lun a { store /srv/a; include b.conf }\nlun b { store /srv/b; include b.conf }", 0644);
	fixture_path(f, "a.conf");
	expect_luns(f, "a b ");
}

static void
eight_levels_are_read_nine_are_not(void **state)
{
	struct fixture *f = *state;
	char name[16], text[32];
	for (unsigned i = 0; i < 10; i++) {
		snprintf(name, sizeof name, "%u.conf", i);
		snprintf(text, sizeof text, "include %u.conf", i + 1);
		fixture_file(f, name, i < 9 ? text : "", 0644);
	}
	fixture_path(f, "1.conf");
	assert_int_equal(f->errors.count, 0);
	fixture_path(f, "0.conf");
	assert_string_equal(f->messages, "8.conf:1:9: include is nested too deep: at most 8\n");
}

/* Two files that include each other's copies double at each level: bounded by their number. */
static void
a_bomb_is_bounded(void **state)
{
	struct fixture *f = *state;
	char name[16], text[256];
	for (unsigned i = 0; i < 9; i++) {
		snprintf(name, sizeof name, "%u.conf", i);
		text[0] = '\0';
		for (unsigned k = 0; k < 12; k++)
			sprintf(text + strlen(text), "include %u.conf\n", i + 1);
		fixture_file(f, name, i < 8 ? text : "", 0644);
	}
	fixture_path(f, "0.conf");
	assert_int_equal(f->errors.count, 1);
	assert_non_null(strstr(f->messages, "too many included files: at most 8192"));
}

static void
what_is_no_file_is_refused(void **state)
{
	struct fixture *f = *state;
	char name[128];
	fixture_file(f, "a.conf", "include d\ninclude fifo\ninclude /dev/zero\n", 0644);
	snprintf(name, sizeof name, "%s/d", f->dir);
	assert_int_equal(mkdir(name, 0755), 0);
	snprintf(name, sizeof name, "%s/fifo", f->dir);
	assert_int_equal(mkfifo(name, 0644), 0);
	fixture_path(f, "a.conf");
	assert_int_equal(f->errors.count, 3);
	assert_non_null(strstr(f->messages, "a.conf:1:9: "));
	assert_non_null(strstr(f->messages, "/d is a folder: name its files"));
	assert_non_null(strstr(f->messages, "/fifo is no regular file"));
	assert_non_null(strstr(f->messages, "a.conf:3:9: /dev/zero is no regular file"));
}

static void
a_file_that_is_not_there_has_a_position(void **state)
{
	struct fixture *f = *state;
	fixture_file(f, "other", "", 0644);
	fixture_path(f, "a.conf");
	assert_int_equal(f->parsed, -EINVAL);
	assert_int_equal(f->errors.count, 1);
	assert_non_null(strstr(f->messages, "a.conf:1:1: can't read "));
}

static void
a_big_file_is_refused(void **state)
{
	struct fixture *f = *state;
	char *text = malloc((1u << 20) + 2);
	assert_non_null(text);
	memset(text, '\n', (1u << 20) + 1);
	text[(1u << 20) + 1] = '\0';
	fixture_file(f, "big.conf", text, 0644);
	fixture_file(f, "a.conf", "include big.conf", 0644);
	free(text);
	fixture_path(f, "a.conf");
	assert_int_equal(f->errors.count, 1);
	assert_non_null(strstr(f->messages, "is over 1024 KiB"));
}

static void
errors_stand_in_the_order_of_reading(void **state)
{
	struct fixture *f = *state;
	fixture_file(f, "b.conf", "lun b {\n", 0644);
	fixture_file(f, "c.conf", "x\nlun a { store /srv/a }\n", 0644);
	fixture_file(
	    f, "a.conf", "lun a { size 1 }\ninclude c.conf\nlun { }\ninclude b.conf\n}\n", 0644);
	fixture_path(f, "a.conf");
	char expected[1024];
	snprintf(expected, sizeof expected,
	    "a.conf:1:1: a lun needs 'store': add store STORE\n"
	    "a.conf:1:14: '1' is out of range: size is 512B to 4096PiB\n"
	    "c.conf:1:1: 'x' isn't known by this version in the top level (terrace.conf(5) lists "
	    "what is)\n"
	    "c.conf:2:5: lun 'a' is there already (%s/a.conf:1)\n"
	    "a.conf:3:1: a lun needs a name: write lun NAME { ... }\n"
	    "a.conf:3:1: a lun needs 'store': add store STORE\n"
	    "b.conf:1:1: a lun needs 'store': add store STORE\n"
	    "b.conf:1:7: this '{' is never closed: a '}' is missing\n"
	    "a.conf:5:1: '}' closes nothing: remove it, or look for a missing '{' above\n",
	    f->dir);
	assert_string_equal(f->messages, expected);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_file_stands_where_it_is_included),
	    TEST(in_a_block_as_well),
	    TEST(a_pattern_is_sorted),
	    TEST(a_pattern_may_match_nothing),
	    TEST(a_name_that_exists_is_no_pattern),
	    TEST(mistakes_of_include),
	    TEST(a_cycle_is_an_error),
	    TEST(twice_is_no_cycle),
	    TEST(eight_levels_are_read_nine_are_not),
	    TEST(a_bomb_is_bounded),
	    TEST(what_is_no_file_is_refused),
	    TEST(a_file_that_is_not_there_has_a_position),
	    TEST(a_big_file_is_refused),
	    TEST(errors_stand_in_the_order_of_reading),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
