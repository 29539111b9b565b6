/* SPDX-License-Identifier: BSD-2-Clause */
/* Secrets: where they may come from, what they may be, and that no message shows one. */
#include "tests/unit/conf/conf_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FROM_FILE "discovery { chap c { secret_file s } }"

static void
expect_secret(struct fixture *f, const char *content, unsigned mode, const char *secret)
{
	fixture_file(f, "s", content, mode);
	fixture_file(f, "a.conf", FROM_FILE, 0644);
	fixture_path(f, "a.conf");
	assert_string_equal(f->messages, "");
	assert_string_equal(f->conf->discovery_chaps[0].secret, secret);
}

static void
expect_refused(struct fixture *f, const char *content, unsigned mode, const char *why)
{
	fixture_file(f, "s", content, mode);
	fixture_file(f, "a.conf", FROM_FILE, 0644);
	fixture_path(f, "a.conf");
	assert_int_equal(f->errors.count, 1);
	assert_memory_equal(f->messages, "a.conf:1:34: secret_file: ", 26);
	if (strstr(f->messages, why) == NULL)
		fail_msg("%s, not %s", f->messages, why);
	if (content[0] != '\0')
		assert_null(strstr(f->messages, content));
}

static void
one_line_end_is_cut(void **state)
{
	expect_secret(*state, "abcdefghijkl", 0600, "abcdefghijkl");
	expect_secret(*state, "abcdefghijkl\n", 0600, "abcdefghijkl");
	expect_secret(*state, "abcdefghijkl\r\n", 0600, "abcdefghijkl");
	expect_secret(*state, " abc def#\"\\ \n", 0600, " abc def#\"\\ ");
	expect_refused(*state, "abcdefghijkl\n\n", 0600, "one line without control characters");
	expect_refused(*state, "abcdefghijkl\nx", 0600, "one line without control characters");
}

static void
modes(void **state)
{
	static const unsigned good[] = {0600, 0640, 0400, 0440};
	static const unsigned bad[] = {0644, 0604, 0660, 0620, 0602, 0601, 0700, 0666};
	for (unsigned i = 0; i < sizeof good / sizeof good[0]; i++) {
		expect_secret(*state, "abcdefghijkl", good[i], "abcdefghijkl");
		/* Who isn't root can't write to a file of mode 0400 again. */
		unlink(fixture_file_path(*state, "s"));
	}
	for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		char mode[64];
		snprintf(mode, sizeof mode, "(mode %04o): chmod 0600 or 0640 it", bad[i]);
		expect_refused(*state, "abcdefghijkl", bad[i], mode);
	}
}

static void
the_owner_is_root_or_we(void **state)
{
	struct fixture *f = *state;
	if (geteuid() != 0)
		skip();
	const char *path = fixture_file(f, "s", "abcdefghijkl", 0600);
	assert_int_equal(chown(path, 12345, 0), 0);
	fixture_file(f, "a.conf", FROM_FILE, 0644);
	fixture_path(f, "a.conf");
	assert_int_equal(f->errors.count, 1);
	assert_non_null(strstr(f->messages, "belongs to user 12345: chown it to root"));
}

static void
lengths(void **state)
{
	char secret[400];
	expect_refused(*state, "elevenbytes", 0600, "a secret has 12 to 256 bytes, this one 11");
	expect_refused(*state, "", 0600, "a secret has 12 to 256 bytes, this one 0");
	memset(secret, 'x', sizeof secret);
	secret[257] = '\0';
	expect_refused(*state, secret, 0600, "a secret has 12 to 256 bytes, this one has more");
	memset(secret, 'x', sizeof secret);
	secret[399] = '\0';
	expect_refused(*state, secret, 0600, "this one has more");
}

static void
the_longest_secret_with_its_line_end(void **state)
{
	struct fixture *f = *state;
	char secret[300];
	memset(secret, 'x', sizeof secret);
	strcpy(secret + 256, "\r\n");
	fixture_file(f, "s", secret, 0600);
	fixture_file(f, "a.conf", FROM_FILE, 0644);
	fixture_path(f, "a.conf");
	assert_int_equal(f->built, 0);
	assert_int_equal(strlen(f->conf->discovery_chaps[0].secret), 256);
}

static void
what_is_no_secret_file(void **state)
{
	struct fixture *f = *state;
	fixture_file(f, "a.conf", "discovery { chap c { secret_file nothing } }", 0644);
	fixture_path(f, "a.conf");
	assert_int_equal(f->errors.count, 1);
	assert_non_null(strstr(f->messages, "/nothing: No such file or directory"));
	fixture_text(f, "discovery { chap c { secret_file /dev/null } }");
	assert_string_equal(f->messages, "1:34: secret_file: /dev/null is no regular file\n");
}

static void
windows_takes_sixteen_characters(void **state)
{
	struct fixture *f = *state;
	fixture_text(f, "discovery { chap c { secret 0123456789abcdef } }");
	assert_string_equal(f->messages, "");
	fixture_text(f, "discovery { chap c { secret 0123456789abcdefg } }");
	assert_string_equal(f->messages,
	    "1:29: remark: Windows takes secrets of 12 to 16 characters, this one has 17\n");
	assert_int_equal(f->built, 0);
}

static void
a_secret_in_a_file_that_others_read(void **state)
{
	struct fixture *f = *state;
	static const char text[] = "discovery { chap c { secret abcdefghijkl } }";
	fixture_file(f, "a.conf", text, 0640);
	fixture_path(f, "a.conf");
	assert_string_equal(f->messages, "");
	fixture_file(f, "a.conf", text, 0644);
	fixture_path(f, "a.conf");
	assert_string_equal(f->messages,
	    "a.conf:1:29: others may read this secret: chmod o= the file, or put the secret in a "
	    "file of its own (secret_file)\n");
	/* It is the included file that counts. */
	fixture_file(f, "b.conf", "include a.conf", 0600);
	fixture_path(f, "b.conf");
	assert_int_equal(f->errors.count, 1);
}

static void
one_secret_each(void **state)
{
	expect_messages(*state,
	    "discovery { chap c { secret abcdefghijkl; secret_file /etc/passwd } }",
	    "1:43: the secret is there already: remove it, or this 'secret_file'\n");
}

static void
no_message_shows_a_secret(void **state)
{
	static const char *const texts[] = {
	    "discovery { chap c { secret hushhush } }",
	    "discovery { chap c { secret hushhush hushhushhush } }",
	    "discovery { chap c { secret \"hushhush } }",
	    "discovery { chap c { secret hush\"hush\" } }",
	    "discovery { chap c { secret hush\\nhush; secret hushhushhush } }",
	    "discovery { chap c { secret hushhushhush { } } }",
	    "discovery { chap c { secret \"hushhush\\qhushhush\" } }",
	    "discovery { chap c { secret \"hushhush\\nhushhush\" } }",
	    "discovery { chap c {mutual_user m; secret hushhushhush\nmutual_secret hushhushhush}}",
	};
	for (unsigned i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		struct fixture *f = *state;
		fixture_text(f, texts[i]);
		assert_true(f->errors.wrong > 0);
		assert_null(strstr(f->messages, "hush"));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(one_line_end_is_cut),
	    TEST(modes),
	    TEST(the_owner_is_root_or_we),
	    TEST(lengths),
	    TEST(the_longest_secret_with_its_line_end),
	    TEST(what_is_no_secret_file),
	    TEST(windows_takes_sixteen_characters),
	    TEST(a_secret_in_a_file_that_others_read),
	    TEST(one_secret_each),
	    TEST(no_message_shows_a_secret),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
