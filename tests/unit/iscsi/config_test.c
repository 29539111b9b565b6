/* SPDX-License-Identifier: BSD-2-Clause */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "iscsi/login.h"
#include "tests/cmocka_all.h"

#define NAME "iqn.2024-01.com.example:disk"
#define LEN(a) (unsigned)(sizeof(a) / sizeof((a)[0]))
static const struct iscsi_offer good_offer = {
    .header_digest = ISCSI_DIGEST_NONE | ISCSI_DIGEST_CRC32C,
    .data_digest = ISCSI_DIGEST_NONE | ISCSI_DIGEST_CRC32C,
    .immediate_data = true,
    .max_recv_bytes = 262144,
    .max_burst_bytes = 1048576,
    .first_burst_bytes = 262144,
    .max_outstanding_r2t = 8,
};
static struct iscsi_config *config;
static char reason[256];
static int a_view;
#define VIEW ((struct scsi_view *)(void *)&a_view) /* never looked into here */

static int
setup(void **state)
{
	(void)state;
	reason[0] = '\0';
	return iscsi_config_create(&config);
}

static int
teardown(void **state)
{
	(void)state;
	iscsi_config_destroy(config);
	return 0;
}

static int
add(struct iscsi_target_args args)
{
	if (args.offer.max_recv_bytes == 0)
		args.offer = good_offer;
	reason[0] = '\0';
	int r = iscsi_config_add_target(config, &args, reason, sizeof reason);
	assert_true(r == 0 || reason[0] != '\0');
	return r;
}

static void
target_names_are_checked(void **state)
{
	(void)state;
	static const char *const good[] = {"iqn.2001-04.com.example", NAME, "eui.02004567A425678D",
	    "naa.52004567BA64678D", "naa.62004567BA64678D0123456789ABCDEF",
	    "iqn.2001-12.com.example:a_b-c.d"};
	static const char *const bad[] = {"", "iqn.", "disk", "iqn.2001.com.example",
	    "iqn.2001-13.com.example", "iqn.2001-00.com.example", "iqn.2001-04.", "iqn.2001-04.:x",
	    "iqn.2001-04.com.example:a b", "iqn.2001-04.com.example:\xc3\xa4", "eui.0200",
	    "eui.02004567A425678G", "naa.52004567BA64678", "iqn.2001-04.com.example:/"};
	for (unsigned i = 0; i < LEN(good); i++)
		assert_int_equal(add((struct iscsi_target_args){.name = good[i]}), 0);
	for (unsigned i = 0; i < LEN(bad); i++)
		assert_int_equal(add((struct iscsi_target_args){.name = bad[i]}), -EINVAL);
	assert_int_equal(add((struct iscsi_target_args){0}), -EINVAL);
}

static void
names_have_at_most_223_bytes(void **state)
{
	(void)state;
	char name[ISCSI_NAME_MAX + 2];
	memset(name, 'a', sizeof name);
	memcpy(name, NAME, strlen(NAME));
	name[ISCSI_NAME_MAX] = '\0';
	assert_int_equal(add((struct iscsi_target_args){.name = name}), 0);
	name[ISCSI_NAME_MAX] = 'a';
	name[ISCSI_NAME_MAX + 1] = '\0';
	assert_int_equal(add((struct iscsi_target_args){.name = name}), -EINVAL);
}

static void
names_are_kept_in_lower_case_and_once(void **state)
{
	(void)state;
	assert_int_equal(
	    add((struct iscsi_target_args){.name = "IQN.2024-01.com.Example:Disk"}), 0);
	assert_non_null(iscsi_config_find(config, NAME));
	assert_int_equal(add((struct iscsi_target_args){.name = NAME}), -EEXIST);
}

static void
peers_names_are_checked_less_strictly(void **state)
{
	(void)state;
	char name[ISCSI_NAME_MAX + 1];
	assert_true(iscsi_name_normalise("iqn.Client", false, name));
	assert_string_equal(name, "iqn.client");
	assert_false(iscsi_name_normalise("iqn.client", true, name));
	assert_false(iscsi_name_normalise("iqn.cl\nient", false, name));
	assert_false(iscsi_name_normalise("client", false, name));
}

#define SECRET12 "abcdefghijkl"
static int
add_user(struct iscsi_chap_user u)
{
	return add((struct iscsi_target_args){.name = NAME, .users = &u, .user_count = 1});
}

static void
secrets_have_12_to_256_bytes(void **state)
{
	(void)state;
	char secret[257];
	memset(secret, 's', sizeof secret);
	assert_int_equal(
	    add_user((struct iscsi_chap_user){"u", secret, 11, NULL, NULL, 0}), -EINVAL);
	assert_int_equal(
	    add_user((struct iscsi_chap_user){"u", secret, 257, NULL, NULL, 0}), -EINVAL);
	assert_int_equal(
	    add_user((struct iscsi_chap_user){"u", secret, 12, "t", SECRET12, 11}), -EINVAL);
	assert_int_equal(add_user((struct iscsi_chap_user){"u", NULL, 0, NULL, NULL, 0}), -EINVAL);
	assert_int_equal(
	    add_user((struct iscsi_chap_user){"", secret, 12, NULL, NULL, 0}), -EINVAL);
	assert_int_equal(
	    add_user((struct iscsi_chap_user){"u", secret, 12, "t", NULL, 0}), -EINVAL);
	assert_int_equal(
	    add_user((struct iscsi_chap_user){"u", secret, 256, "t", SECRET12, 12}), 0);
}

static void
a_secret_serves_one_direction_only(void **state)
{
	(void)state;
	assert_int_equal(
	    add_user((struct iscsi_chap_user){"u", SECRET12, 12, "t", SECRET12, 12}), -EINVAL);
	const struct iscsi_chap_user crossed[] = {
	    {"a", SECRET12, 12, NULL, NULL, 0},
	    {"b", "0123456789ab", 12, "t", SECRET12, 12},
	};
	assert_int_equal(
	    add((struct iscsi_target_args){.name = NAME, .users = crossed, .user_count = 2}),
	    -EINVAL);
	const struct iscsi_chap_user other_way[] = {
	    {"a", "0123456789ab", 12, "t", SECRET12, 12},
	    {"b", SECRET12, 12, "t", "ba9876543210", 12},
	};
	assert_int_equal(
	    add((struct iscsi_target_args){.name = NAME, .users = other_way, .user_count = 2}),
	    -EINVAL);
	const struct iscsi_chap_user twice[] = {
	    {"a", SECRET12, 12, NULL, NULL, 0},
	    {"a", "0123456789ab", 12, NULL, NULL, 0},
	};
	assert_int_equal(
	    add((struct iscsi_target_args){.name = NAME, .users = twice, .user_count = 2}),
	    -EEXIST);
}

static void
discovery_users_are_checked_alike(void **state)
{
	(void)state;
	struct iscsi_chap_user u = {"u", SECRET12, 12, NULL, NULL, 0};
	assert_int_equal(iscsi_config_add_discovery_user(config, &u, reason, sizeof reason), 0);
	assert_int_equal(
	    iscsi_config_add_discovery_user(config, &u, reason, sizeof reason), -EEXIST);
	u = (struct iscsi_chap_user){"v", "x", 1, NULL, NULL, 0};
	assert_int_equal(
	    iscsi_config_add_discovery_user(config, &u, reason, sizeof reason), -EINVAL);
	assert_int_equal(config->discovery_user_count, 1);
}

static void
groups_are_checked(void **state)
{
	(void)state;
	const char *const initiators[] = {"iqn.*"};
	const char *const empty[] = {""};
	const char *const nobody[] = {"nobody"};
	struct iscsi_group_args g[2] = {
	    {.name = "g", .initiators = initiators, .initiator_count = 1, .view = VIEW},
	    {.name = "g", .initiators = initiators, .initiator_count = 1, .view = VIEW}};
	struct iscsi_target_args t = {.name = NAME, .groups = g, .group_count = 2};
	assert_int_equal(add(t), -EEXIST);
	t.group_count = 1;
	g[0].users = nobody;
	g[0].user_count = 1;
	assert_int_equal(add(t), -EINVAL);
	g[0].user_count = 0;
	g[0].view = NULL;
	assert_int_equal(add(t), -EINVAL);
	g[0].view = VIEW;
	g[0].initiators = empty;
	assert_int_equal(add(t), -EINVAL);
	g[0].initiators = initiators;
	assert_int_equal(add(t), 0);
}

static void
offers_and_tags_are_checked(void **state)
{
	(void)state;
	const struct iscsi_offer good = good_offer;
	struct iscsi_target_args t = {.name = NAME};
#define BAD(field, value)                                                                          \
	t.offer = good;                                                                            \
	t.offer.field = value;                                                                     \
	assert_int_equal(add(t), -EINVAL)
	BAD(header_digest, 0);
	BAD(data_digest, 4);
	BAD(max_recv_bytes, 511);
	BAD(max_burst_bytes, 1u << 24);
	BAD(first_burst_bytes, good.max_burst_bytes + 1);
	BAD(max_outstanding_r2t, 0);
	t.offer = good;
	const uint16_t zero = 0, tags[] = {2, 3};
	t.portal_tags = &zero;
	t.portal_tag_count = 1;
	assert_int_equal(add(t), -EINVAL);
	t.portal_tags = tags;
	t.portal_tag_count = 2;
	t.alias = "a\nb";
	assert_int_equal(add(t), -EINVAL);
	t.alias = "Disk";
	assert_int_equal(add(t), 0);
	const struct iscsi_target *target = iscsi_config_find(config, NAME);
	assert_true(iscsi_target_on_tag(target, 3));
	assert_false(iscsi_target_on_tag(target, 1));
}

static void
a_target_without_tags_listens_on_group_1(void **state)
{
	(void)state;
	assert_int_equal(add((struct iscsi_target_args){.name = NAME}), 0);
	assert_true(iscsi_target_on_tag(iscsi_config_find(config, NAME), 1));
}

/* ---- addresses ------------------------------------------------------------------------------- */

static struct sockaddr_storage
peer(const char *s)
{
	struct sockaddr_storage ss = {0};
	struct sockaddr_in in = {.sin_family = AF_INET};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
	if (inet_pton(AF_INET, s, &in.sin_addr) == 1) {
		memcpy(&ss, &in, sizeof in);
		return ss;
	}
	assert_int_equal(inet_pton(AF_INET6, s, &in6.sin6_addr), 1);
	memcpy(&ss, &in6, sizeof in6);
	return ss;
}

static void
address_ranges_are_parsed(void **state)
{
	(void)state;
	static const char *const good[] = {"ALL", "all", "192.0.2.1", "192.0.2.0/24", "0.0.0.0/0",
	    "2001:db8::/32", "2001:db8::1", "[2001:db8::1]", "[2001:db8::]/32", "::/0",
	    "::ffff:192.0.2.0/120"};
	static const char *const bad[] = {"", "x", "192.0.2", "192.0.2.1/24", "192.0.2.0/33",
	    "192.0.2.0/", "192.0.2.0/-1", "/24", "[192.0.2.1]", "[2001:db8::1", "[]",
	    "2001:db8::1/32", "2001:db8::/129", "192.0.2.1 ", "[2001:db8::]x"};
	struct subnet acl;
	for (unsigned i = 0; i < LEN(good); i++)
		assert_int_equal(subnet_parse(good[i], &acl), 0);
	for (unsigned i = 0; i < LEN(bad); i++)
		assert_int_equal(subnet_parse(bad[i], &acl), -EINVAL);
}

static bool
allowed(const char *const *allow, unsigned allow_count, const char *const *deny,
    unsigned deny_count, const char *who)
{
	assert_int_equal(iscsi_config_set_access(
	                     config, allow, allow_count, deny, deny_count, reason, sizeof reason),
	    0);
	struct sockaddr_storage ss = peer(who);
	return subnet_list_allows(&config->acl, &ss);
}

static void
deny_is_read_first_and_allow_overrides(void **state)
{
	(void)state;
	const char *const all[] = {"ALL"}, *const net[] = {"192.0.2.0/25", "2001:db8::/33"};
	assert_true(allowed(NULL, 0, NULL, 0, "192.0.2.1"));
	assert_false(allowed(NULL, 0, all, 1, "192.0.2.1"));
	assert_true(allowed(net, 2, all, 1, "192.0.2.127"));
	assert_false(allowed(net, 2, all, 1, "192.0.2.128"));
	assert_true(allowed(net, 2, all, 1, "2001:db8:7fff::1"));
	assert_false(allowed(net, 2, all, 1, "2001:db8:8000::1"));
	assert_false(allowed(NULL, 0, net, 2, "192.0.2.1"));
	assert_true(allowed(NULL, 0, net, 2, "198.51.100.1"));
}

static void
allow_alone_refuses_the_others(void **state)
{
	(void)state;
	const char *const net[] = {"192.0.2.0/24"};
	assert_true(allowed(net, 1, NULL, 0, "192.0.2.9"));
	assert_false(allowed(net, 1, NULL, 0, "198.51.100.1"));
	assert_false(allowed(net, 1, NULL, 0, "2001:db8::1"));
}

static void
mapped_addresses_count_as_ipv4(void **state)
{
	(void)state;
	const char *const net[] = {"192.0.2.0/24"}, *const mapped[] = {"::ffff:192.0.2.0/120"};
	assert_true(allowed(net, 1, NULL, 0, "::ffff:192.0.2.9"));
	assert_true(allowed(mapped, 1, NULL, 0, "192.0.2.9"));
	assert_false(allowed(mapped, 1, NULL, 0, "192.0.3.9"));
}

static void
a_bad_list_leaves_the_old_one(void **state)
{
	(void)state;
	const char *const net[] = {"192.0.2.0/24"}, *const bad[] = {"192.0.2.0/24", "nonsense"};
	assert_true(allowed(net, 1, NULL, 0, "192.0.2.9"));
	assert_int_equal(
	    iscsi_config_set_access(config, net, 1, bad, 2, reason, sizeof reason), -EINVAL);
	assert_non_null(strstr(reason, "nonsense"));
	assert_int_equal(config->acl.deny_count, 0);
	assert_int_equal(config->acl.allow_count, 1);
}

static void
the_first_matching_group_wins(void **state)
{
	(void)state;
	const char *const one[] = {"iqn.2024-01.com.example:a"}, *const most[] = {"!*:evil"};
	const char *const any[] = {"*"};
	const struct iscsi_group_args groups[] = {
	    {.name = "one", .initiators = one, .initiator_count = 1, .view = VIEW},
	    {.name = "most", .initiators = most, .initiator_count = 1, .view = VIEW},
	    {.name = "any", .initiators = any, .initiator_count = 1, .view = VIEW},
	};
	assert_int_equal(
	    add((struct iscsi_target_args){.name = NAME, .groups = groups, .group_count = 3}), 0);
	const struct iscsi_target *t = iscsi_config_find(config, NAME);
	assert_string_equal(iscsi_access_group(t, "iqn.2024-01.com.example:a")->name, "one");
	assert_string_equal(iscsi_access_group(t, "iqn.2024-01.com.example:b")->name, "most");
	assert_string_equal(iscsi_access_group(t, "iqn.2024-01.com.example:evil")->name, "any");
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(target_names_are_checked),
	    TEST(names_have_at_most_223_bytes),
	    TEST(names_are_kept_in_lower_case_and_once),
	    TEST(peers_names_are_checked_less_strictly),
	    TEST(secrets_have_12_to_256_bytes),
	    TEST(a_secret_serves_one_direction_only),
	    TEST(discovery_users_are_checked_alike),
	    TEST(groups_are_checked),
	    TEST(offers_and_tags_are_checked),
	    TEST(a_target_without_tags_listens_on_group_1),
	    TEST(address_ranges_are_parsed),
	    TEST(deny_is_read_first_and_allow_overrides),
	    TEST(allow_alone_refuses_the_others),
	    TEST(mapped_addresses_count_as_ipv4),
	    TEST(a_bad_list_leaves_the_old_one),
	    TEST(the_first_matching_group_wins),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
