/* SPDX-License-Identifier: BSD-2-Clause */
/* base/text.h */
#include "tests/cmocka_all.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/text.h"

static void
parse_size_knows_binary_units(void **state)
{
	(void)state;
	static const struct {
		const char *s;
		uint64_t bytes;
	} good[] = {
	    {"0", 0},
	    {"512", 512},
	    {"513B", 513},
	    {"64KiB", 65536},
	    {"512MiB", 512ull << 20},
	    {"10GiB", 10ull << 30},
	    {"2TiB", 2ull << 40},
	    {"1PiB", 1ull << 50},
	    {"8191PiB", 8191ull << 50},
	    {"9223372036854775807", INT64_MAX},
	};
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		uint64_t v;
		assert_int_equal(text_parse_size(good[i].s, &v), 0);
		assert_true(v == good[i].bytes);
	}
}

static void
parse_size_refuses_the_rest(void **state)
{
	(void)state;
	static const char *const bad[] = {"", "B", "-1", "+1", " 1", "1 ", "1.5GiB", "1 GiB", "1G",
	    "1GB", "1gib", "0x10", "GiB", "99999999999999999999x"};
	uint64_t v = 77;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_int_equal(text_parse_size(bad[i], &v), -EINVAL);
	static const char *const over[] = {"8192PiB", "9223372036854775808", "99999999999999999999",
	    "18446744073709551616", "99999999999999999999PiB"};
	for (size_t i = 0; i < sizeof over / sizeof over[0]; i++)
		assert_int_equal(text_parse_size(over[i], &v), -ERANGE);
	assert_true(v == 77);
}

static void
ranges_are_a_place_and_a_size(void **state)
{
	static const struct {
		const char *s;
		int rc;
		uint64_t from, bytes;
	} rows[] = {
	    {"0+1", 0, 0, 1},
	    {"1GiB+64MiB", 0, 1ull << 30, 64ull << 20},
	    {"4096+9223372036854771711", 0, 4096, INT64_MAX - 4096},
	    {"4096+9223372036854771712", -ERANGE, 0, 0},
	    {"9223372036854775808+1", -ERANGE, 0, 0},
	    {"0+9223372036854775808", -ERANGE, 0, 0},
	    {"0+0", -EINVAL, 0, 0},
	    {"1GiB", -EINVAL, 0, 0},
	    {"+1", -EINVAL, 0, 0},
	    {"1+", -EINVAL, 0, 0},
	    {"1+1+1", -EINVAL, 0, 0},
	    {"1-2", -EINVAL, 0, 0},
	    {"0000000000000000000000000000000001+1", -EINVAL, 0, 0},
	    {"", -EINVAL, 0, 0},
	};
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		uint64_t from = 77, bytes = 77;
		assert_int_equal(text_parse_range(rows[i].s, &from, &bytes), rows[i].rc);
		assert_true(from == (rows[i].rc == 0 ? rows[i].from : 77));
		assert_true(bytes == (rows[i].rc == 0 ? rows[i].bytes : 77));
	}
}

static void
format_size_is_exact_or_has_one_decimal(void **state)
{
	(void)state;
	static const struct {
		uint64_t bytes;
		const char *s;
	} rows[] = {
	    {0, "0B"},
	    {513, "513B"},
	    {1024, "1KiB"},
	    {10ull << 30, "10GiB"},
	    {3ull << 39, "1.5TiB"},
	    {1536, "1.5KiB"},
	    {1048575, "1.0MiB"},
	    {UINT64_MAX, "16384.0PiB"},
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		char buf[32];
		text_format_size(rows[i].bytes, buf, sizeof buf);
		assert_string_equal(buf, rows[i].s);
	}
}

static void
parse_u64_takes_the_whole_string(void **state)
{
	(void)state;
	uint64_t v = 5;
	assert_int_equal(text_parse_u64("18446744073709551615", UINT64_MAX, &v), 0);
	assert_true(v == UINT64_MAX);
	assert_int_equal(text_parse_u64("0", 0, &v), 0);
	assert_true(v == 0);
	v = 5;
	assert_int_equal(text_parse_u64("18446744073709551616", UINT64_MAX, &v), -ERANGE);
	assert_int_equal(text_parse_u64("65536", 65535, &v), -ERANGE);
	assert_int_equal(text_parse_u64("", 10, &v), -EINVAL);
	assert_int_equal(text_parse_u64("1x", 10, &v), -EINVAL);
	assert_int_equal(text_parse_u64("-1", 10, &v), -EINVAL);
	assert_int_equal(text_parse_u64(" 1", 10, &v), -EINVAL);
	assert_true(v == 5);
}

static void
uuid_round_trips(void **state)
{
	(void)state;
	const char *s = "01234567-89ab-cdef-0123-456789abcdef";
	uint8_t u[16];
	char buf[37];
	assert_int_equal(text_parse_uuid(s, u), 0);
	assert_int_equal(u[0], 0x01);
	assert_int_equal(u[15], 0xef);
	text_format_uuid(u, buf);
	assert_string_equal(buf, s);
	assert_int_equal(text_parse_uuid("01234567-89AB-CDEF-0123-456789ABCDEF", u), 0);
}

static void
uuid_of_another_shape_is_refused(void **state)
{
	(void)state;
	static const char *const bad[] = {"", "0123456789abcdef0123456789abcdef",
	    "01234567-89ab-cdef-0123-456789abcde", "01234567-89ab-cdef-0123-456789abcdef0",
	    "01234567-89ab-cdef-0123-456789abcdeg", "{1234567-89ab-cdef-0123-456789abcdef",
	    "0123456-789ab-cdef-0123-456789abcdef", "01234567-"};
	uint8_t u[16];
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_int_equal(text_parse_uuid(bad[i], u), -EINVAL);
}

static void
match_follows_shell_stars_and_marks(void **state)
{
	(void)state;
	static const struct {
		const char *pattern, *s;
		bool match;
	} rows[] = {
	    {"", "", true},
	    {"", "a", false},
	    {"abc", "abc", true},
	    {"abc", "abd", false},
	    {"abc", "ab", false},
	    {"ab", "abc", false},
	    {"ABC", "abc", true},
	    {"iqn.2003-01.com.X:*", "iqn.2003-01.com.x:disk", true},
	    {"a?c", "abc", true},
	    {"a?c", "ac", false},
	    {"*", "", true},
	    {"*", "anything", true},
	    {"a*", "a", true},
	    {"*c", "abc", true},
	    {"*c", "abcd", false},
	    {"a*c*e", "abcde", true},
	    {"a*c*e", "abcdef", false},
	    {"*ab", "aab", true},
	    {"*a*b*a", "xaybza", true},
	    {"**a**", "a", true},
	    {"*?", "", false},
	    {"*?", "x", true},
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		assert_int_equal(text_match(rows[i].pattern, rows[i].s), rows[i].match);
}

static void
match_inverts_the_rest_at_an_exclamation_mark(void **state)
{
	(void)state;
	static const struct {
		const char *pattern, *s;
		bool match;
	} rows[] = {
	    {"!abc", "abc", false},
	    {"!abc", "abd", true},
	    {"!*", "x", false},
	    {"!", "", false},
	    {"!", "x", true},
	    {"a!b*", "ab1", false},
	    {"a!b*", "ac1", true},
	    {"a!b*", "xc1", false},
	    {"!!abc", "abc", true},
	    {"!a!b", "ab", true},
	    {"!a!b", "ac", false},
	    {"iqn.*.com:!evil", "iqn.2020.com:evil", false},
	    {"iqn.*.com:!evil", "iqn.2020.com:good", true},
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		assert_int_equal(text_match(rows[i].pattern, rows[i].s), rows[i].match);
}

static void
match_of_many_stars_stays_fast(void **state)
{
	(void)state;
	char pattern[401], s[2001];
	for (size_t i = 0; i < 400; i += 2)
		memcpy(pattern + i, "*a", 2);
	pattern[399] = 'b';
	pattern[400] = '\0';
	memset(s, 'a', 2000);
	s[2000] = '\0';
	assert_false(text_match(pattern, s));
}

static void
nearest_finds_typing_errors_only(void **state)
{
	(void)state;
	static const char *const words[] = {"portal", "target", "lun", "cache", NULL};
	assert_string_equal(text_nearest("portl", words), "portal");
	assert_string_equal(text_nearest("tragets", words), "target");
	assert_string_equal(text_nearest("CACHE", words), "cache");
	assert_string_equal(text_nearest("lum", words), "lun");
	assert_null(text_nearest("initiator", words));
	assert_null(text_nearest("", words));
	assert_null(text_nearest("x", words));
}

static void
const_time_comparison_compares(void **state)
{
	(void)state;
	assert_true(text_equal_const_time("abcd", "abcd", 4));
	assert_false(text_equal_const_time("abcd", "abce", 4));
	assert_false(text_equal_const_time("xbcd", "abcd", 4));
	assert_true(text_equal_const_time("x", "y", 0));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(parse_size_knows_binary_units),
	    cmocka_unit_test(parse_size_refuses_the_rest),
	    cmocka_unit_test(ranges_are_a_place_and_a_size),
	    cmocka_unit_test(format_size_is_exact_or_has_one_decimal),
	    cmocka_unit_test(parse_u64_takes_the_whole_string),
	    cmocka_unit_test(uuid_round_trips),
	    cmocka_unit_test(uuid_of_another_shape_is_refused),
	    cmocka_unit_test(match_follows_shell_stars_and_marks),
	    cmocka_unit_test(match_inverts_the_rest_at_an_exclamation_mark),
	    cmocka_unit_test(match_of_many_stars_stays_fast),
	    cmocka_unit_test(nearest_finds_typing_errors_only),
	    cmocka_unit_test(const_time_comparison_compares),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
