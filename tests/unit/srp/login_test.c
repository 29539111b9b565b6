/* SPDX-License-Identifier: BSD-2-Clause */
/* Who may log in, with which answer, and what a login becomes. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "srp/login.h"
#include "tests/cmocka_all.h"

#define VIEW(n) ((struct scsi_view *)(uintptr_t)(n))

static struct srp_config *config;
static struct srp_limits limits;
static struct srp_login_env env;
static struct srp_login req;
static uint8_t open_id[16], closed_id[16];

static struct sockaddr_storage
address(const char *text)
{
	struct sockaddr_storage ss = {0};
	struct sockaddr_in in = {.sin_family = AF_INET};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
	if (inet_pton(AF_INET, text, &in.sin_addr) == 1) {
		memcpy(&ss, &in, sizeof in);
	} else {
		assert_int_equal(inet_pton(AF_INET6, text, &in6.sin6_addr), 1);
		memcpy(&ss, &in6, sizeof in6);
	}
	return ss;
}

static int
setup(void **state)
{
	(void)state;
	static const uint16_t tags[] = {1, 2}, ports[] = {11, 12};
	static const char *const esx[] = {"srp.*0002c90300a34271"},
	                         *const rack[] = {"srp.*@192.0.2.0/24%8001", "srp.*@[fe80::]/64"},
	                         *const chap[] = {"*77"}, *const deny[] = {"203.0.113.0/24"};
	const struct srp_group_args groups[] = {
	    {.name = "esx", .initiators = esx, .initiator_count = 1, .view = VIEW(1)},
	    {.name = "rack", .initiators = rack, .initiator_count = 2, .view = VIEW(2)},
	    {.name = "chap",
	        .initiators = chap,
	        .initiator_count = 1,
	        .needs_chap = true,
	        .view = VIEW(3)},
	};
	struct srp_target_args t = {
	    .name = "iqn.2024-01.x:open",
	    .open_view = VIEW(9),
	    .portal_tags = tags,
	    .rel_port_ids = ports,
	    .portal_count = 2,
	};
	char why[200];
	assert_int_equal(srp_config_create(&config), 0);
	assert_int_equal(srp_config_set_access(config, NULL, 0, deny, 1, why, sizeof why), 0);
	srp_target_id_default(t.name, open_id);
	memcpy(t.port_id, open_id, 16);
	assert_int_equal(srp_config_add_target(config, &t, why, sizeof why), 0);
	assert_int_equal(srp_config_add_target(config, &t, why, sizeof why), -EEXIST);
	t.name = "iqn.2024-01.x:closed";
	assert_int_equal(srp_config_add_target(config, &t, why, sizeof why), -EEXIST);
	assert_non_null(strstr(why, "same SRP identifiers"));
	srp_target_id_default(t.name, closed_id);
	memcpy(t.port_id, closed_id, 16);
	t.open_view = NULL;
	t.groups = groups;
	t.group_count = 3;
	t.portal_count = 1;
	assert_int_equal(srp_config_add_target(config, &t, why, sizeof why), 0);
	srp_limits_default(&limits);
	env = (struct srp_login_env){.config = config, .limits = &limits, .portal_tag = 1};
	env.peer.addr = address("198.51.100.1");
	req = (struct srp_login){
	    .it_iu_len = 8260, .formats = 6, .flags = 0x80, .imm_data_offset = 68};
	memcpy(req.target_port, open_id, 16);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	srp_config_destroy(config);
	return 0;
}

static struct srp_login_result res;

static void
granted(void)
{
	enum srp_login_reason reason = 0;
	const char *why = srp_login_decide(&env, &req, &res, &reason);
	if (why != NULL)
		fail_msg("%s", why);
}

static void
refused(enum srp_login_reason expected, const char *word)
{
	enum srp_login_reason reason = 0;
	const char *why = srp_login_decide(&env, &req, &res, &reason);
	assert_non_null(why);
	assert_non_null(strstr(why, word));
	assert_int_equal(reason, expected);
}

static void
test_first_channel(void **state)
{
	(void)state;
	granted();
	assert_ptr_equal(res.grant.view, VIEW(9));
	assert_int_equal(res.grant.rel_port_id, 11);
	assert_false(res.joins || res.ends);
	assert_int_equal(res.imm_data_offset, 68);
	assert_int_equal(res.rsp_flags, SRP_LOGIN_RSP_NONE | SRP_LOGIN_IMMEDIATE);
	env.portal_tag = 2;
	granted();
	assert_int_equal(res.grant.rel_port_id, 12);
	env.portal_tag = 3;
	refused(SRP_REJ_NEXUS, "portal");
}

static void
test_channels_of_a_session(void **state)
{
	(void)state;
	env.channels = 1;
	granted(); /* single: the session ends */
	assert_true(res.ends && !res.joins);
	assert_int_equal(res.rsp_flags & 3, SRP_LOGIN_RSP_TERMINATED);
	req.flags = SRP_LOGIN_IMMEDIATE | SRP_LOGIN_MULTI;
	granted();
	assert_true(res.joins && !res.ends);
	assert_int_equal(res.rsp_flags & 3, SRP_LOGIN_RSP_MAINTAINED);
	env.channels = limits.channels_per_session_max;
	refused(SRP_REJ_CHANNELS, "channels");
	env.channels = 1;
	env.session_ending = true;
	refused(SRP_REJ_MULTI, "ending");
	env.session_ending = false;
	env.session_elsewhere = true;
	refused(SRP_REJ_MULTI, "another address");
	env.session_elsewhere = false;
	env.session_other_view = true;
	refused(SRP_REJ_MULTI, "something else");
	env.channels = 0;
	granted(); /* multi without a session: its first channel */
	assert_int_equal(res.rsp_flags & 3, SRP_LOGIN_RSP_NONE);
	req.flags = 2;
	refused(SRP_REJ_MULTI, "action");
}

static void
test_takeover(void **state)
{
	(void)state;
	env.channels = 2;
	env.session_elsewhere = true;
	granted();
	limits.same_address_only = true;
	refused(SRP_REJ_NEXUS, "another address");
	env.session_elsewhere = false;
	granted();
}

static void
test_lengths_and_formats(void **state)
{
	(void)state;
	static const uint32_t too_short[] = {0, 1, 63}, fits[] = {64, 276, 4096, 8448},
	                      too_long[] = {8449, UINT32_MAX};
	for (unsigned i = 0; i < 3; i++) {
		req.it_iu_len = too_short[i];
		refused(SRP_REJ_UNSPECIFIED, "short");
	}
	for (unsigned i = 0; i < 4; i++) {
		req.it_iu_len = fits[i];
		granted();
		assert_int_equal(res.imm_data_offset, fits[i] > 68 ? 68 : 0);
	}
	for (unsigned i = 0; i < 2; i++) {
		req.it_iu_len = too_long[i];
		refused(SRP_REJ_IU_LEN, "long");
	}
	req.it_iu_len = 8260;
	static const struct {
		uint16_t formats;
		bool ok;
	} formats[] = {{0, false}, {1, false}, {2, true}, {4, true}, {6, true}, {8, false}};
	for (unsigned i = 0; i < 6; i++) {
		req.formats = formats[i].formats;
		if (formats[i].ok)
			granted();
		else
			refused(SRP_REJ_FORMATS, "format");
	}
}

static void
test_immediate_offset(void **state)
{
	(void)state;
	static const struct {
		uint8_t flags;
		uint16_t at, granted;
	} rows[] = {{0x80, 0, 0}, {0x80, 47, 0}, {0x80, 51, 0}, {0x80, 52, 52}, {0x80, 512, 512},
	    {0x80, 513, 0}, {0x80, 65535, 0}, {0x00, 68, 0}};
	for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		req.flags = rows[i].flags;
		req.imm_data_offset = rows[i].at;
		granted();
		assert_int_equal(res.imm_data_offset, rows[i].granted);
		assert_int_equal((res.rsp_flags & SRP_LOGIN_IMMEDIATE) != 0, rows[i].granted != 0);
	}
}

static void
test_groups(void **state)
{
	(void)state;
	static const uint8_t esx[8] = {0x00, 0x02, 0xc9, 0x03, 0x00, 0xa3, 0x42, 0x71};
	memcpy(req.target_port, closed_id, 16);
	refused(SRP_REJ_NEXUS, "no group");
	memcpy(req.initiator_port + 8, esx, 8);
	granted();
	assert_string_equal(res.grant.group->name, "esx");
	req.initiator_port[15] = 0x70;
	env.peer.addr = address("192.0.2.9");
	refused(SRP_REJ_NEXUS, "no group"); /* the partition isn't known */
	env.peer.pkey = 0x0001;             /* a limited member of 8001 */
	granted();
	assert_string_equal(res.grant.group->name, "rack");
	env.peer.pkey = 0x8002;
	refused(SRP_REJ_NEXUS, "no group");
	env.peer.addr = address("fe80::2:c903:a3:4271");
	granted();
	assert_ptr_equal(res.grant.view, VIEW(2));
	env.peer.addr = address("198.51.100.1");
	req.initiator_port[15] = 0x77;
	refused(SRP_REJ_NEXUS, "CHAP");
	env.peer.addr = address("203.0.113.5");
	refused(SRP_REJ_NEXUS, "address");
}

static void
test_unknown_target(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 16; i++) {
		memcpy(req.target_port, open_id, 16);
		req.target_port[i] ^= 1;
		refused(SRP_REJ_NEXUS, "identifiers");
	}
}

static void
test_limits(void **state)
{
	(void)state;
	env.sessions = limits.sessions_max;
	refused(SRP_REJ_RESOURCES, "sessions");
	env.channels = 1; /* one takes the place of another */
	granted();
	env.channels = 0;
	env.sessions = 0;
	env.sessions_from_addr = limits.sessions_per_addr_max;
	refused(SRP_REJ_RESOURCES, "address");
	env.sessions_from_addr = 0;
	env.channels_all = limits.channels_max;
	refused(SRP_REJ_RESOURCES, "channels");
	env.channels_all = 0;
	env.pending = limits.pending_max;
	refused(SRP_REJ_RESOURCES, "under way");
	env.pending = 0;
	env.stopping = true;
	refused(SRP_REJ_RESOURCES, "stopping");
}

static void
test_patterns(void **state)
{
	(void)state;
	static const char *const bad[] = {"", "srp.*@", "srp.*@host", "srp.*%", "srp.*%12345",
	    "srp.*%0000", "srp.*%80g1", "srp.* x"},
	                         *const good[] = {"srp.*", "!srp.*", "*", "iqn.2024-01.x:h@x%y"};
	struct srp_pattern p;
	for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_int_equal(srp_pattern_parse(bad[i], &p), -EINVAL);
	for (unsigned i = 0; i < sizeof good / sizeof good[0]; i++) {
		assert_int_equal(srp_pattern_parse(good[i], &p), 0);
		srp_pattern_fini(&p);
	}
}

static void
test_regrant(void **state)
{
	(void)state;
	struct srp_claim claim = {.initiator = "srp.00000000000000000000000000000001",
	    .peer = &env.peer,
	    .portal_tag = 1,
	    .rel_port_id = 11,
	    .target = "iqn.2024-01.x:open",
	    .target_port = open_id,
	    .view = VIEW(9)};
	assert_null(srp_access_regrant(config, &claim));
	claim.view = VIEW(8);
	assert_non_null(strstr(srp_access_regrant(config, &claim), "replaced"));
	claim.view = VIEW(9);
	claim.rel_port_id = 12;
	assert_non_null(strstr(srp_access_regrant(config, &claim), "number"));
	claim.rel_port_id = 11;
	claim.group = "esx";
	assert_non_null(strstr(srp_access_regrant(config, &claim), "another group"));
	claim.group = NULL;
	claim.target_port = closed_id;
	assert_non_null(strstr(srp_access_regrant(config, &claim), "other SRP identifiers"));
	claim.target_port = open_id;
	claim.target = "iqn.2024-01.x:none";
	assert_non_null(strstr(srp_access_regrant(config, &claim), "gone"));
}

static void
test_identifiers(void **state)
{
	(void)state;
	uint8_t id[16], again[16];
	char hex[33];
	/* They go into files of initiators: they may never change. */
	srp_target_id_default("iqn.2024-01.org.example:disks", id);
	srp_hex_format(id, 16, hex);
	assert_string_equal(hex, "9ac8d40301a8eb434a146767393dd5a4");
	assert_int_equal(srp_hex_parse(hex, again, 16), 0);
	assert_memory_equal(id, again, 16);
	assert_int_equal(srp_hex_parse("0x0002:c903:00a3:4271", again, 8), 0);
	assert_int_equal(again[1], 2);
	assert_int_equal(srp_hex_parse("0002c90300a3427", again, 8), -EINVAL);
	assert_int_equal(srp_hex_parse("0002c90300a342711", again, 8), -EINVAL);
	assert_int_equal(srp_hex_parse("0002c90300a3427x", again, 8), -EINVAL);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(test_first_channel),
	    TEST(test_channels_of_a_session),
	    TEST(test_takeover),
	    TEST(test_lengths_and_formats),
	    TEST(test_immediate_offset),
	    TEST(test_groups),
	    TEST(test_unknown_target),
	    TEST(test_limits),
	    TEST(test_patterns),
	    TEST(test_regrant),
	    TEST(test_identifiers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
