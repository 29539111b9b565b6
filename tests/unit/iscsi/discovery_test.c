/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/cmocka_all.h"
#include "tests/unit/iscsi/login_fixture.h"

#define F 0x80u
#define C 0x40u

static struct iscsi_text_session ts;
static struct iscsi_text_who who;
static struct iscsi_params params;
static struct iscsi_text_req req;
static struct iscsi_text_rsp rsp;
static char all[1 << 20]; /* answer, collected */
static size_t all_len;
static unsigned parts;

static int
setup(void **state)
{
	fixture_setup(state);
	memset(&ts, 0, sizeof ts);
	iscsi_params_default(&params);
	who = (struct iscsi_text_who){.env = &fx.env,
	    .discovery = true,
	    .initiator = INITIATOR,
	    .user = "",
	    .params = &params};
	req = (struct iscsi_text_req){.opcode = ISCSI_OP_TEXT_REQ};
	be32_put(&req.itt, 5);
	be32_put(&req.ttt, ISCSI_TAG_NONE);
	return 0;
}

static int
teardown(void **state)
{
	iscsi_text_session_fini(&ts);
	return fixture_teardown(state);
}

/* One request; its answer is appended to `all`. */
static int
ask_len(uint8_t flags, const char *text, size_t len)
{
	const char *out;
	size_t out_len;
	char *data = malloc(len + 1);
	assert_non_null(data);
	memcpy(data, text, len);
	req.flags = flags;
	int r = iscsi_text_request(&ts, &who, &req, data, len, &rsp, &out, &out_len);
	free(data);
	if (r != 0)
		return r;
	assert_int_equal(rsp.opcode, ISCSI_OP_TEXT_RSP);
	assert_int_equal(be32_get(rsp.itt), be32_get(req.itt));
	assert_int_equal(be24_get(rsp.data_len), out_len);
	assert_true(all_len + out_len < sizeof all);
	/* F and a tag exclude each other, §11.11. */
	assert_true((rsp.flags == F) == (be32_get(rsp.ttt) == ISCSI_TAG_NONE));
	memcpy(all + all_len, out, out_len);
	all_len += out_len;
	all[all_len] = '\0';
	parts++;
	req.ttt = rsp.ttt;
	return 0;
}
#define ASK_PART(flags, literal) ask_len(flags, literal, sizeof(literal))

/* A whole exchange from the beginning. */
static int
ask(const char *text)
{
	all_len = parts = 0;
	be32_put(&req.ttt, ISCSI_TAG_NONE);
	int r = ask_len(F, text, strlen(text) + 1);
	while (r == 0 && (rsp.flags & C))
		r = ask_len(F, "", 0);
	return r;
}

static bool
shows(const char *pair)
{
	for (size_t at = 0; at < all_len; at += strlen(all + at) + 1)
		if (strcmp(all + at, pair) == 0)
			return true;
	return false;
}

static bool
names(const char *target)
{
	char pair[300];
	sprintf(pair, "TargetName=%s", target);
	return shows(pair);
}

static void
expect_exactly(const char *const *pairs, size_t count)
{
	size_t at = 0;
	for (size_t i = 0; i < count; i++) {
		assert_true(at < all_len);
		assert_string_equal(all + at, pairs[i]);
		at += strlen(all + at) + 1;
	}
	assert_int_equal(at, all_len);
}
#define EXPECT(...)                                                                                \
	do {                                                                                       \
		const char *const want[] = {__VA_ARGS__};                                          \
		expect_exactly(want, sizeof want / sizeof want[0]);                                \
	} while (0)

static void
all_shows_what_this_initiator_could_log_in_to(void **state)
{
	(void)state;
	assert_int_equal(ask("SendTargets=All"), 0);
	EXPECT("TargetName=" TARGET_OPEN, "TargetAddress=192.0.2.1:3260,1",
	    "TargetAddress=[2001:db8::1]:3261,2", "TargetName=" TARGET_GROUP,
	    "TargetAddress=192.0.2.1:3260,1", "TargetName=" TARGET_CHAP,
	    "TargetAddress=192.0.2.1:3260,1");
	assert_int_equal(rsp.flags, F);
}

static void
visibility_follows_name_address_and_portal(void **state)
{
	(void)state;
	who.initiator = "iqn.2000-01.x:stranger";
	assert_int_equal(ask("SendTargets=All"), 0);
	assert_true(names(TARGET_OPEN));
	assert_false(names(TARGET_GROUP) || names(TARGET_CHAP) || names(TARGET_FAR));
	who.initiator = OTHER;
	ask("SendTargets=All");
	assert_true(names(TARGET_CHAP));
	fx.env.peer = fixture_addr("198.51.100.1", 1);
	ask("SendTargets=All");
	assert_true(names(TARGET_DENIED));
	fx.env.portal_tag = 2;
	ask("SendTargets=All");
	assert_true(names(TARGET_FAR) && names(TARGET_OPEN));
	assert_false(names(TARGET_CHAP));
}

static void
an_authenticated_user_sees_only_its_targets(void **state)
{
	(void)state;
	who.user = "alice";
	ask("SendTargets=All");
	assert_true(names(TARGET_CHAP) && names(TARGET_GROUP));
	who.user = "bob";
	ask("SendTargets=All");
	assert_false(names(TARGET_CHAP));
	assert_true(names(TARGET_GROUP));
}

static void
one_target_can_be_asked_for(void **state)
{
	(void)state;
	assert_int_equal(ask("SendTargets=" TARGET_GROUP), 0);
	EXPECT("TargetName=" TARGET_GROUP, "TargetAddress=192.0.2.1:3260,1");
	assert_int_equal(ask("SendTargets=IQN.2024-01.com.example:GROUP"), 0);
	assert_true(names(TARGET_GROUP));
}

static void
hidden_and_absent_targets_answer_alike(void **state)
{
	(void)state;
	static const char *const rows[] = {ABSENT, TARGET_FAR, TARGET_DENIED, "nonsense"};
	for (unsigned i = 0; i < 4; i++) {
		char text[128];
		sprintf(text, "SendTargets=%s", rows[i]);
		assert_int_equal(ask(text), 0);
		assert_int_equal(all_len, 0);
		assert_int_equal(rsp.flags, F);
	}
}

static void
a_normal_session_learns_about_its_own_target_only(void **state)
{
	(void)state;
	who.discovery = false;
	who.target = iscsi_config_find(fx.config, TARGET_GROUP);
	ask("SendTargets=");
	EXPECT("TargetName=" TARGET_GROUP, "TargetAddress=192.0.2.1:3260,1");
	ask("SendTargets=" TARGET_GROUP);
	assert_true(names(TARGET_GROUP));
	ask("SendTargets=" TARGET_OPEN);
	assert_int_equal(all_len, 0);
	ask("SendTargets=All");
	EXPECT("SendTargets=Reject");
}

static void
a_discovery_session_has_no_own_target(void **state)
{
	(void)state;
	ask("SendTargets=");
	EXPECT("SendTargets=Reject");
}

/* ---- addresses ------------------------------------------------------------------------------------ */

static void
one_portal(const char *bound, const char *local, const char *expected)
{
	fx.portals[0] = (struct iscsi_portal_addr){fixture_addr(bound, 3260), 1};
	fx.env.portal_count = 1;
	fx.env.local = fixture_addr(local, 40000);
	char pair[128];
	ask("SendTargets=" TARGET_GROUP);
	if (!expected) {
		assert_int_equal(all_len, 0);
		return;
	}
	sprintf(pair, "TargetAddress=%s:3260,1", expected);
	EXPECT("TargetName=" TARGET_GROUP, pair);
}

static void
wildcard_portals_are_shown_as_the_connections_address(void **state)
{
	(void)state;
	one_portal("0.0.0.0", "192.0.2.1", "192.0.2.1");
	one_portal("0.0.0.0", "2001:db8::5", NULL);
	one_portal("::", "2001:db8::5", "[2001:db8::5]");
	one_portal("::", "::ffff:192.0.2.9", "192.0.2.9");
	one_portal("::", "192.0.2.9", NULL);
	one_portal("0.0.0.0", "127.0.0.1", "127.0.0.1");
}

static void
loopback_portals_are_shown_on_loopback_only(void **state)
{
	(void)state;
	one_portal("127.0.0.1", "127.0.0.1", "127.0.0.1");
	one_portal("127.0.0.1", "192.0.2.1", NULL);
	one_portal("::1", "::1", "[::1]");
	one_portal("::1", "2001:db8::1", NULL);
}

static void
an_address_is_shown_once(void **state)
{
	(void)state;
	fx.portals[0] = (struct iscsi_portal_addr){fixture_addr("0.0.0.0", 3260), 1};
	fx.portals[1] = (struct iscsi_portal_addr){fixture_addr("192.0.2.1", 3260), 1};
	fx.portals[2] = (struct iscsi_portal_addr){fixture_addr("192.0.2.1", 3261), 1};
	fx.env.portal_count = 3;
	ask("SendTargets=" TARGET_GROUP);
	EXPECT("TargetName=" TARGET_GROUP, "TargetAddress=192.0.2.1:3260,1",
	    "TargetAddress=192.0.2.1:3261,1");
}

/* ---- long answers, split requests ----------------------------------------------------------------------- */

#define MANY 400u

static void
add_many(void)
{
	char name[128], reason[256];
	for (unsigned i = 0; i < MANY; i++) {
		sprintf(name, "iqn.2024-01.com.example:many-%03u", i);
		struct iscsi_target_args args = {.name = name,
		    .open_view = (struct scsi_view *)(void *)&all,
		    .offer = iscsi_config_find(fx.config, TARGET_OPEN)->offer};
		assert_int_equal(
		    iscsi_config_add_target(fx.config, &args, reason, sizeof reason), 0);
	}
}

static void
long_answers_continue(void **state)
{
	(void)state;
	char name[128];
	add_many();
	params.max_xmit_bytes = 512;
	assert_int_equal(ask("SendTargets=All"), 0);
	assert_true(parts > 40);
	assert_int_equal(rsp.flags, F);
	for (unsigned i = 0; i < MANY; i++) {
		sprintf(name, "iqn.2024-01.com.example:many-%03u", i);
		assert_true(names(name));
	}
}

static void
parts_fit_the_initiator_and_end_with_a_pair(void **state)
{
	(void)state;
	add_many();
	params.max_xmit_bytes = 1000;
	all_len = 0;
	int r = ask_len(F, "SendTargets=All", sizeof "SendTargets=All");
	size_t before = 0;
	while (r == 0 && (rsp.flags & C)) {
		assert_true(all_len - before <= 1000 && all_len - before > 800);
		assert_int_equal(all[all_len - 1], '\0');
		before = all_len;
		r = ask_len(F, "", 0);
	}
	assert_int_equal(r, 0);
}

static void
a_pending_answer_takes_no_new_keys(void **state)
{
	(void)state;
	add_many();
	params.max_xmit_bytes = 512;
	all_len = 0;
	assert_int_equal(ASK_PART(F, "SendTargets=All"), 0);
	assert_int_equal(rsp.flags, C);
	assert_int_equal(ASK_PART(F, "SendTargets=All"), ISCSI_REJECT_PROTOCOL);
	/* The exchange is gone. */
	assert_int_equal(ask_len(F, "", 0), ISCSI_REJECT_PROTOCOL);
}

static void
an_abandoned_answer_makes_way_for_the_next(void **state)
{
	(void)state;
	add_many();
	params.max_xmit_bytes = 512;
	all_len = 0;
	assert_int_equal(ASK_PART(F, "SendTargets=All"), 0);
	be32 old = rsp.ttt;
	be32_put(&req.itt, 6);
	assert_int_equal(ask("SendTargets=" TARGET_GROUP), 0);
	EXPECT("TargetName=" TARGET_GROUP, "TargetAddress=192.0.2.1:3260,1");
	req.ttt = old;
	assert_int_equal(ask_len(F, "", 0), ISCSI_REJECT_PROTOCOL);
}

static void
requests_may_be_split_anywhere(void **state)
{
	(void)state;
	static const char text[] = "SendTargets=" TARGET_GROUP;
	for (size_t at = 0; at <= sizeof text; at++) {
		be32_put(&req.ttt, ISCSI_TAG_NONE);
		all_len = 0;
		assert_int_equal(ask_len(C, text, at), 0);
		assert_int_equal(all_len, 0);
		assert_int_equal(rsp.flags, 0);
		assert_int_equal(ask_len(F, text + at, sizeof text - at), 0);
		EXPECT("TargetName=" TARGET_GROUP, "TargetAddress=192.0.2.1:3260,1");
	}
}

static void
collected_requests_have_a_limit(void **state)
{
	(void)state;
	static char text[16384];
	memset(text, 'a', sizeof text);
	all_len = 0;
	assert_int_equal(ask_len(C, text, sizeof text), 0);
	assert_int_equal(ask_len(C, text, 1), ISCSI_REJECT_PROTOCOL);
}

static void
empty_requests_are_answered(void **state)
{
	(void)state;
	all_len = 0;
	assert_int_equal(ask_len(F, "", 0), 0);
	assert_int_equal(rsp.flags, F);
	assert_int_equal(all_len, 0);
}

static void
an_exchange_stays_open_until_f(void **state)
{
	(void)state;
	all_len = 0;
	assert_int_equal(ASK_PART(0, "X-a=1"), 0);
	assert_int_equal(rsp.flags, 0);
	assert_string_equal(all, "X-a=NotUnderstood");
	assert_int_equal(ask_len(F, "", 0), 0);
	assert_int_equal(rsp.flags, F);
	assert_int_equal(ask_len(F, "", 0), 0); /* the next exchange: no tag any more */
}

static void
wrong_tags_are_rejected(void **state)
{
	(void)state;
	be32_put(&req.ttt, 77);
	assert_int_equal(ask_len(F, "", 0), ISCSI_REJECT_PROTOCOL);
	be32_put(&req.ttt, ISCSI_TAG_NONE);
	all_len = 0;
	assert_int_equal(ask_len(0, "", 0), 0);
	be32_put(&req.itt, 6);
	assert_int_equal(ask_len(F, "", 0), ISCSI_REJECT_PROTOCOL);
	be32_put(&req.itt, ISCSI_TAG_NONE);
	be32_put(&req.ttt, ISCSI_TAG_NONE);
	assert_int_equal(ask_len(F, "", 0), ISCSI_REJECT_PROTOCOL);
	be32_put(&req.itt, 5);
	assert_int_equal(ask_len(F | C, "", 0), ISCSI_REJECT_PROTOCOL);
}

/* ---- negotiation ------------------------------------------------------------------------------------------- */

static void
a_new_segment_length_holds_after_the_exchange(void **state)
{
	(void)state;
	all_len = 0;
	assert_int_equal(ASK_PART(0, "MaxRecvDataSegmentLength=65536"), 0);
	assert_int_equal(params.max_xmit_bytes, 8192);
	assert_int_equal(ASK_PART(0, "X-a=1"), 0);
	assert_int_equal(ask_len(F, "", 0), 0);
	assert_int_equal(params.max_xmit_bytes, 65536);
}

static void
a_failed_exchange_changes_nothing(void **state)
{
	(void)state;
	all_len = 0;
	assert_int_equal(ASK_PART(0, "MaxRecvDataSegmentLength=65536"), 0);
	assert_int_equal(ASK_PART(F, "MaxRecvDataSegmentLength=4096"), ISCSI_REJECT_PROTOCOL);
	assert_int_equal(params.max_xmit_bytes, 8192);
	assert_int_equal(ask("X-a=1"), 0);
	assert_int_equal(params.max_xmit_bytes, 8192);
}

static void
login_keys_are_rejected(void **state)
{
	(void)state;
	static const char *const rows[] = {"HeaderDigest=None", "ImmediateData=Yes", "CHAP_A=5",
	    ("InitiatorName=" INITIATOR), "AuthMethod=None", "MaxRecvDataSegmentLength=1",
	    "TargetAlias=x", "ErrorRecoveryLevel=0"};
	for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++)
		assert_int_equal(ask(rows[i]), ISCSI_REJECT_PROTOCOL);
	assert_int_equal(ask("InitiatorAlias=me"), 0);
	assert_int_equal(all_len, 0);
}

static void
malformed_and_flooding_requests_are_rejected(void **state)
{
	(void)state;
	char text[4096];
	size_t len = 0;
	all_len = 0;
	assert_int_equal(ask_len(F, "nonsense", 9), ISCSI_REJECT_PROTOCOL);
	be32_put(&req.ttt, ISCSI_TAG_NONE);
	assert_int_equal(ask_len(F, "A=1", 3), ISCSI_REJECT_PROTOCOL);
	for (unsigned i = 0; i < 65; i++)
		len += (size_t)sprintf(text + len, "X-k%u=1", i) + 1;
	be32_put(&req.ttt, ISCSI_TAG_NONE);
	assert_int_equal(ask_len(F, text, len), ISCSI_REJECT_PROTOCOL);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(all_shows_what_this_initiator_could_log_in_to),
	    TEST(visibility_follows_name_address_and_portal),
	    TEST(an_authenticated_user_sees_only_its_targets),
	    TEST(one_target_can_be_asked_for),
	    TEST(hidden_and_absent_targets_answer_alike),
	    TEST(a_normal_session_learns_about_its_own_target_only),
	    TEST(a_discovery_session_has_no_own_target),
	    TEST(wildcard_portals_are_shown_as_the_connections_address),
	    TEST(loopback_portals_are_shown_on_loopback_only),
	    TEST(an_address_is_shown_once),
	    TEST(long_answers_continue),
	    TEST(parts_fit_the_initiator_and_end_with_a_pair),
	    TEST(a_pending_answer_takes_no_new_keys),
	    TEST(an_abandoned_answer_makes_way_for_the_next),
	    TEST(requests_may_be_split_anywhere),
	    TEST(collected_requests_have_a_limit),
	    TEST(empty_requests_are_answered),
	    TEST(an_exchange_stays_open_until_f),
	    TEST(wrong_tags_are_rejected),
	    TEST(a_new_segment_length_holds_after_the_exchange),
	    TEST(a_failed_exchange_changes_nothing),
	    TEST(login_keys_are_rejected),
	    TEST(malformed_and_flooding_requests_are_rejected),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
