/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <string.h>

#include "iscsi/login.h"
#include "tests/cmocka_all.h"

static int
split(const char *text, size_t len, char *buf, struct iscsi_pair *pairs, unsigned cap)
{
	memcpy(buf, text, len);
	return iscsi_text_pairs(buf, len, pairs, cap);
}
#define SPLIT(literal) split(literal, sizeof(literal) - 1, buf, pairs, 4)

static void
pairs_are_walked_in_order(void **state)
{
	(void)state;
	char buf[256];
	struct iscsi_pair pairs[4];
	assert_int_equal(SPLIT("InitiatorName=iqn.a\0CHAP_N=a=b\0Empty=\0"), 3);
	assert_string_equal(pairs[0].key, "InitiatorName");
	assert_string_equal(pairs[0].value, "iqn.a");
	assert_string_equal(pairs[1].key, "CHAP_N");
	assert_string_equal(pairs[1].value, "a=b");
	assert_string_equal(pairs[2].value, "");
}

static void
more_than_one_nul_separates_pairs(void **state)
{
	(void)state;
	char buf[256];
	struct iscsi_pair pairs[4];
	assert_int_equal(SPLIT("\0\0A=1\0\0\0B=2\0\0"), 2);
	assert_string_equal(pairs[1].key, "B");
	assert_int_equal(SPLIT(""), 0);
	assert_int_equal(SPLIT("\0\0\0"), 0);
}

static void
malformed_text_is_refused(void **state)
{
	(void)state;
	char buf[256];
	struct iscsi_pair pairs[4];
	assert_int_equal(SPLIT("A=1"), -EINVAL);
	assert_int_equal(SPLIT("A=1\0B=2"), -EINVAL);
	assert_int_equal(SPLIT("A\0"), -EINVAL);
	assert_int_equal(SPLIT("=1\0"), -EINVAL);
	assert_int_equal(SPLIT("A B=1\0"), -EINVAL);
	assert_int_equal(SPLIT("1A=1\0"), -EINVAL);
	assert_int_equal(SPLIT("A\x01=1\0"), -EINVAL);
	assert_int_equal(SPLIT("A=1\0B=1\0C=1\0D=1\0E=1\0"), -E2BIG);
}

static void
key_names_end_at_63_bytes(void **state)
{
	(void)state;
	char buf[256], text[128];
	struct iscsi_pair pairs[4];
	memset(text, 'K', sizeof text);
	memcpy(text + 63, "=v\0", 3);
	assert_int_equal(split(text, 66, buf, pairs, 4), 1);
	memset(text, 'K', sizeof text);
	memcpy(text + 64, "=v\0", 3);
	assert_int_equal(split(text, 67, buf, pairs, 4), -EINVAL);
}

static void
names_outside_the_capital_rule_are_keys(void **state)
{
	(void)state;
	char buf[256];
	struct iscsi_pair pairs[4];
	assert_int_equal(SPLIT("iSCSIProtocolLevel=2\0X#NodeArchitecture=x\0X-com.a.b=1\0"), 3);
}

static void
output_stops_at_its_limit_for_good(void **state)
{
	(void)state;
	char buf[8];
	struct iscsi_text_out o = {buf, 0, sizeof buf, false};
	iscsi_text_add(&o, "A", "12");
	assert_int_equal(o.len, 5);
	assert_memory_equal(buf, "A=12\0", 5);
	iscsi_text_add(&o, "B", "12");
	assert_true(o.overflow);
	iscsi_text_add(&o, "C", "");
	assert_int_equal(o.len, 5);
	o.overflow = false;
	iscsi_text_addf(&o, "D", "%s", "");
	assert_int_equal(o.len, 8);
	assert_false(o.overflow);
}

static void
numbers_follow_the_grammar(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		uint64_t max;
		int result;
		uint64_t value;
	} rows[] = {
	    {"0", 9, 0, 0},
	    {"262144", 1u << 24, 0, 262144},
	    {"0x1F", 100, 0, 31},
	    {"0X1f", 100, 0, 31},
	    {"18446744073709551615", UINT64_MAX, 0, UINT64_MAX},
	    {"0xffffffffffffffff", UINT64_MAX, 0, UINT64_MAX},
	    {"18446744073709551616", UINT64_MAX, -EINVAL, 0},
	    {"10", 9, -EINVAL, 0},
	    {"", 9, -EINVAL, 0},
	    {"007", 9, -EINVAL, 0},
	    {"+1", 9, -EINVAL, 0},
	    {"-1", 9, -EINVAL, 0},
	    {" 1", 9, -EINVAL, 0},
	    {"1 ", 9, -EINVAL, 0},
	    {"0x", 9, -EINVAL, 0},
	    {"1a", 99, -EINVAL, 0},
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		uint64_t v = 0;
		assert_int_equal(iscsi_text_number(rows[i].text, rows[i].max, &v), rows[i].result);
		assert_int_equal(v, rows[i].value);
	}
}

static void
check_binary(const char *text, int result, const char *bytes, size_t len)
{
	uint8_t buf[4] = {0};
	size_t got = 0;
	assert_int_equal(iscsi_text_binary(text, buf, sizeof buf, &got), result);
	if (result == 0) {
		assert_int_equal(got, len);
		assert_memory_equal(buf, bytes, len);
	}
}

static void
binary_values_in_hex_and_base64(void **state)
{
	(void)state;
	check_binary("0x00ffA5", 0, "\x00\xff\xa5", 3);
	check_binary("0Xabc", 0, "\x0a\xbc", 2);
	check_binary("0x0102030405", -EINVAL, NULL, 0);
	check_binary("0x", -EINVAL, NULL, 0);
	check_binary("0x0g", -EINVAL, NULL, 0);
	check_binary("0bAQID", 0, "\x01\x02\x03", 3);
	check_binary("0BAQI=", 0, "\x01\x02", 2);
	check_binary("0bAQ==", 0, "\x01", 1);
	check_binary("0b+/+/", 0, "\xfb\xff\xbf", 3);
	check_binary("0bAQIDBAU=", -EINVAL, NULL, 0);
	check_binary("0bAR==", -EINVAL, NULL, 0);
	check_binary("0bAQI", -EINVAL, NULL, 0);
	check_binary("0bA===", -EINVAL, NULL, 0);
	check_binary("0b====", -EINVAL, NULL, 0);
	check_binary("0bA=QI", -EINVAL, NULL, 0);
	check_binary("0b", -EINVAL, NULL, 0);
	check_binary("17", -EINVAL, NULL, 0);
	check_binary("", -EINVAL, NULL, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(pairs_are_walked_in_order),
	    cmocka_unit_test(more_than_one_nul_separates_pairs),
	    cmocka_unit_test(malformed_text_is_refused),
	    cmocka_unit_test(key_names_end_at_63_bytes),
	    cmocka_unit_test(names_outside_the_capital_rule_are_keys),
	    cmocka_unit_test(output_stops_at_its_limit_for_good),
	    cmocka_unit_test(numbers_follow_the_grammar),
	    cmocka_unit_test(binary_values_in_hex_and_base64),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
