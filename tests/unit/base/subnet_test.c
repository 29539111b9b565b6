/* SPDX-License-Identifier: BSD-2-Clause */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "base/subnet.h"
#include "tests/cmocka_all.h"

static struct sockaddr_storage
peer(const char *text)
{
	struct sockaddr_storage ss = {0};
	struct sockaddr_in in = {.sin_family = AF_INET};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
	if (inet_pton(AF_INET, text, &in.sin_addr) == 1)
		memcpy(&ss, &in, sizeof in);
	else if (inet_pton(AF_INET6, text, &in6.sin6_addr) == 1)
		memcpy(&ss, &in6, sizeof in6);
	else
		ss.ss_family = AF_UNIX;
	return ss;
}

static bool
has(const char *range, const char *address)
{
	struct subnet s;
	struct sockaddr_storage p = peer(address);
	assert_int_equal(subnet_parse(range, &s), 0);
	return subnet_has(&s, &p);
}

static void
test_range_has_what_it_says(void **state)
{
	(void)state;
	assert_true(has("192.0.2.0/24", "192.0.2.255"));
	assert_false(has("192.0.2.0/24", "192.0.3.0"));
	assert_true(has("192.0.2.0/24", "::ffff:192.0.2.7"));
	assert_true(has("::ffff:192.0.2.0/120", "192.0.2.7"));
	assert_true(has("[2001:db8::]/32", "2001:db8:ffff::1"));
	assert_false(has("2001:db8::/32", "2001:db9::1"));
	assert_false(has("0.0.0.0/0", "2001:db9::1"));
	assert_true(has("ALL", "somewhere else"));
	assert_false(has("0.0.0.0/0", "somewhere else"));
}

static void
test_what_is_no_range_is_refused(void **state)
{
	(void)state;
	static const char *const bad[] = {"", "192.0.2.1/24", "192.0.2.0/33", "[192.0.2.1]",
	    "2001:db8::1/32", "192.0.2.0/", "host", "[2001:db8::1", "2001:db8::/129"};
	struct subnet s;
	for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_int_equal(subnet_parse(bad[i], &s), -EINVAL);
}

static void
test_deny_first_allow_overrides(void **state)
{
	(void)state;
	static const char *const allow[] = {"192.0.2.7"}, *const deny[] = {"ALL"};
	struct sockaddr_storage in = peer("192.0.2.7"), out = peer("192.0.2.8");
	struct subnet_list l;
	const char *bad = NULL;
	assert_int_equal(subnet_list_init(&l, allow, 1, deny, 1, &bad), 0);
	assert_true(subnet_list_allows(&l, &in));
	assert_false(subnet_list_allows(&l, &out));
	subnet_list_fini(&l);
	assert_int_equal(subnet_list_init(&l, allow, 1, NULL, 0, &bad), 0);
	assert_false(subnet_list_allows(&l, &out));
	subnet_list_fini(&l);
	assert_int_equal(subnet_list_init(&l, NULL, 0, NULL, 0, &bad), 0);
	assert_true(subnet_list_allows(&l, &out));
	static const char *const broken[] = {"192.0.2.7", "nonsense"};
	assert_int_equal(subnet_list_init(&l, allow, 1, broken, 2, &bad), -EINVAL);
	assert_string_equal(bad, "nonsense");
	assert_int_equal(l.allow_count, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_range_has_what_it_says),
	    cmocka_unit_test(test_what_is_no_range_is_refused),
	    cmocka_unit_test(test_deny_first_allow_overrides),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
