/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/cmocka_all.h"
#include "tests/unit/iscsi/login_fixture.h"

/* ---- exchanges as real initiators have them ------------------------------------------------------ */

/* open-iscsi 2.1, no CHAP: security stage with None, then one operational request. */
static void
open_iscsi_logs_in(void **state)
{
	(void)state;
	SAY(SEC_TO_OP, "InitiatorName=" INITIATOR "\0InitiatorAlias=host\0TargetName=" TARGET_GROUP
	               "\0SessionType=Normal\0AuthMethod=None");
	assert_int_equal(fx.verdict, LOGIN_RESPOND);
	assert_int_equal(fx.rsp.flags, SEC_TO_OP);
	assert_int_equal(status(), 0);
	assert_int_equal(be32_get(fx.rsp.stat_sn), 100);
	assert_int_equal(be16_get(fx.rsp.tsih), 0);
	assert_string_equal(answer("AuthMethod"), "None");
	assert_string_equal(answer("TargetPortalGroupTag"), "1");
	assert_null(answer("InitiatorAlias"));

	SAY(OP_TO_FULL,
	    "HeaderDigest=None\0DataDigest=None\0DefaultTime2Wait=2\0DefaultTime2Retain=0\0"
	    "IFMarker=No\0OFMarker=No\0ErrorRecoveryLevel=0\0InitialR2T=No\0ImmediateData=Yes\0"
	    "MaxBurstLength=16776192\0FirstBurstLength=262144\0MaxOutstandingR2T=1\0"
	    "MaxConnections=1\0DataPDUInOrder=Yes\0DataSequenceInOrder=Yes\0"
	    "MaxRecvDataSegmentLength=262144");
	assert_int_equal(fx.verdict, LOGIN_RESPOND);
	assert_int_equal(fx.rsp.flags, OP_TO_FULL);
	assert_int_equal(be32_get(fx.rsp.stat_sn), 101);
	assert_int_equal(be16_get(fx.rsp.tsih), 42);
	assert_string_equal(answer("HeaderDigest"), "None");
	assert_string_equal(answer("DefaultTime2Wait"), "2");
	assert_string_equal(answer("DefaultTime2Retain"), "0");
	assert_string_equal(answer("IFMarker"), "No");
	assert_string_equal(answer("InitialR2T"), "No");
	assert_string_equal(answer("MaxBurstLength"), "1048576");
	assert_string_equal(answer("FirstBurstLength"), "262144");
	assert_string_equal(answer("MaxRecvDataSegmentLength"), "262144");

	const struct iscsi_login_result *r = iscsi_login_result(fx.lg);
	assert_string_equal(r->initiator, INITIATOR);
	assert_string_equal(r->target->name, TARGET_GROUP);
	assert_string_equal(r->group->name, "host");
	assert_ptr_equal(r->view, r->group->view);
	assert_string_equal(r->user, "");
	assert_false(r->discovery);
	assert_int_equal(r->cmd_sn, 7);
	assert_int_equal(r->stat_sn, 102);
	assert_int_equal(r->params.max_recv_bytes, 262144);
	assert_int_equal(r->params.max_xmit_bytes, 262144);
	assert_int_equal(r->params.max_burst_bytes, 1048576);
	assert_false(r->params.initial_r2t);
}

/* libiscsi 1.19: names and everything else in one operational request after the security stage. */
static void
libiscsi_logs_in(void **state)
{
	(void)state;
	SAY(SEC_TO_OP, "InitiatorName=iqn.2007-10.com.github:sahlberg:libiscsi:iscsi-test\0"
	               "TargetName=" TARGET_OPEN "\0SessionType=Normal\0InitiatorAlias=iscsi-test\0"
	               "AuthMethod=None");
	assert_int_equal(fx.rsp.flags, SEC_TO_OP);
	SAY(OP_TO_FULL,
	    "HeaderDigest=None,CRC32C\0DataDigest=None\0InitialR2T=No\0ImmediateData=Yes\0"
	    "MaxBurstLength=262144\0FirstBurstLength=262144\0MaxRecvDataSegmentLength=262144\0"
	    "DataPDUInOrder=Yes\0DefaultTime2Wait=2\0DefaultTime2Retain=0\0IFMarker=No\0"
	    "OFMarker=No\0ErrorRecoveryLevel=0\0MaxConnections=1\0MaxOutstandingR2T=1\0"
	    "DataSequenceInOrder=Yes\0iSCSIProtocolLevel=2\0TaskReporting=ResponseFence");
	assert_int_equal(fx.rsp.flags, OP_TO_FULL);
	assert_string_equal(answer("iSCSIProtocolLevel"), "2");
	assert_string_equal(answer("TaskReporting"), "ResponseFence");
	assert_string_equal(answer("HeaderDigest"), "None");
	assert_string_equal(answer("TargetAlias"), "Open to all");
	const struct iscsi_login_result *r = iscsi_login_result(fx.lg);
	assert_int_equal(r->params.protocol_level, 2);
	assert_null(r->group);
	assert_non_null(r->view);
}

/* Windows: digests with CRC32C first, markers with intervals, T only in a second operational request. */
static void
windows_logs_in(void **state)
{
	(void)state;
	SAY(SEC_TO_OP, "InitiatorName=iqn.1991-05.com.microsoft:HOST\0SessionType=Normal\0"
	               "TargetName=" TARGET_OPEN "\0AuthMethod=None");
	assert_int_equal(fx.rsp.flags, SEC_TO_OP);
	SAY(OP, "HeaderDigest=None,CRC32C\0DataDigest=None,CRC32C\0MaxConnections=8\0"
	        "InitialR2T=No\0ImmediateData=Yes\0MaxRecvDataSegmentLength=65536\0"
	        "MaxBurstLength=262144\0FirstBurstLength=65536\0DefaultTime2Wait=0\0"
	        "DefaultTime2Retain=60\0MaxOutstandingR2T=16\0DataPDUInOrder=Yes\0"
	        "DataSequenceInOrder=Yes\0ErrorRecoveryLevel=2\0OFMarker=No\0IFMarker=No\0"
	        "OFMarkInt=1~65535\0IFMarkInt=1~65535");
	assert_int_equal(fx.rsp.flags, OP);
	assert_string_equal(answer("MaxConnections"), "1");
	assert_string_equal(answer("ErrorRecoveryLevel"), "0");
	assert_string_equal(answer("OFMarkInt"), "Reject");
	SAY_NOTHING(OP_TO_FULL);
	assert_int_equal(fx.rsp.flags, OP_TO_FULL);
	assert_int_equal(fx.text_len, 0);
	assert_string_equal(iscsi_login_result(fx.lg)->initiator, "iqn.1991-05.com.microsoft:host");
}

/* ESXi: starts in the operational stage when no CHAP is set. */
static void
esxi_logs_in(void **state)
{
	(void)state;
	SAY(OP_TO_FULL,
	    "InitiatorName=iqn.1998-01.com.vmware:esx-1\0SessionType="
	    "Normal\0TargetName=" TARGET_OPEN
	    "\0HeaderDigest=None\0DataDigest=None\0InitialR2T=Yes\0ImmediateData=Yes\0"
	    "MaxRecvDataSegmentLength=131072\0MaxBurstLength=262144\0FirstBurstLength=262144\0"
	    "DefaultTime2Wait=0\0DefaultTime2Retain=0\0MaxOutstandingR2T=1\0ErrorRecoveryLevel=0\0"
	    "DataPDUInOrder=Yes\0DataSequenceInOrder=Yes\0MaxConnections=1");
	assert_int_equal(fx.rsp.flags, OP_TO_FULL);
	assert_string_equal(answer("TargetPortalGroupTag"), "1");
	assert_string_equal(answer("InitialR2T"), "Yes");
}

/* open-iscsi's discovery: operational only, Discovery session. */
static void
discovery_logs_in(void **state)
{
	(void)state;
	SAY(OP_TO_FULL, "InitiatorName=" INITIATOR "\0SessionType=Discovery\0HeaderDigest=None\0"
	                "DataDigest=None\0MaxRecvDataSegmentLength=32768\0DefaultTime2Wait=2\0"
	                "MaxBurstLength=262144");
	assert_int_equal(fx.rsp.flags, OP_TO_FULL);
	assert_null(answer("TargetPortalGroupTag"));
	assert_string_equal(answer("MaxBurstLength"), "Irrelevant");
	const struct iscsi_login_result *r = iscsi_login_result(fx.lg);
	assert_true(r->discovery);
	assert_null(r->target);
	assert_int_equal(r->params.max_xmit_bytes, 32768);
}

static void
security_may_lead_to_full_feature_at_once(void **state)
{
	(void)state;
	SAY(SEC_TO_FULL, NAMES TARGET_OPEN "\0AuthMethod=None");
	assert_int_equal(fx.rsp.flags, SEC_TO_FULL);
	/* Nothing was declared: the defaults hold for both sides. */
	assert_int_equal(iscsi_login_result(fx.lg)->params.max_recv_bytes, 8192);
	assert_int_equal(iscsi_login_result(fx.lg)->params.max_xmit_bytes, 8192);
}

/* ---- who and where --------------------------------------------------------------------------------- */

#define REFUSED(expected)                                                                          \
	assert_int_equal(fx.verdict, LOGIN_REFUSE);                                                \
	assert_int_equal(status(), expected);                                                      \
	assert_int_equal(fx.text_len, 0);                                                          \
	assert_int_equal(fx.rsp.flags, 0)

static void
names_must_be_there(void **state)
{
	(void)state;
	SAY(SEC, "SessionType=Normal\0TargetName=" TARGET_OPEN);
	REFUSED(ISCSI_LOGIN_MISSING_PARAM);
	fixture_restart();
	SAY(SEC, "InitiatorName=" INITIATOR "\0SessionType=Normal");
	REFUSED(ISCSI_LOGIN_MISSING_PARAM);
	fixture_restart();
	SAY_NOTHING(SEC);
	REFUSED(ISCSI_LOGIN_MISSING_PARAM);
	fixture_restart();
	SAY(SEC, "InitiatorName=nobody\0TargetName=" TARGET_OPEN);
	REFUSED(ISCSI_LOGIN_INITIATOR_ERROR);
	fixture_restart();
	SAY(SEC, "InitiatorName=" INITIATOR "\0SessionType=Other\0TargetName=" TARGET_OPEN);
	REFUSED(ISCSI_LOGIN_BAD_SESSION_TYPE);
}

static void
identity_is_given_once(void **state)
{
	(void)state;
	static const char *const again[] = {
	    "InitiatorName=" OTHER, "TargetName=" TARGET_CHAP, "SessionType=Discovery"};
	for (unsigned i = 0; i < 3; i++) {
		char text[512] = NAMES TARGET_OPEN;
		size_t len = sizeof(NAMES TARGET_OPEN);
		strcpy(text + len, again[i]);
		fixture_restart();
		say_len(SEC, text, len + strlen(again[i]) + 1);
		REFUSED(ISCSI_LOGIN_INITIATOR_ERROR);

		fixture_restart();
		SAY(SEC, NAMES TARGET_OPEN);
		assert_int_equal(fx.verdict, LOGIN_RESPOND);
		say_len(SEC, again[i], strlen(again[i]) + 1);
		REFUSED(ISCSI_LOGIN_INITIATOR_ERROR);
	}
}

static void
the_same_identity_may_be_said_again(void **state)
{
	(void)state;
	SAY(SEC, NAMES TARGET_OPEN "\0InitiatorAlias=me\0AuthMethod=CHAP,None");
	assert_int_equal(fx.verdict, LOGIN_RESPOND);
	SAY(SEC_TO_OP, NAMES TARGET_OPEN "\0InitiatorAlias=me");
	assert_int_equal(fx.verdict, LOGIN_RESPOND);
}

static void
a_later_key_can_declare_the_session_first(void **state)
{
	(void)state;
	/* SessionType decides about MaxBurstLength wherever it stands. */
	SAY(OP, "MaxBurstLength=512\0InitiatorName=" INITIATOR "\0SessionType=Discovery");
	assert_string_equal(answer("MaxBurstLength"), "Irrelevant");
}

static void
hidden_targets_answer_like_absent_ones(void **state)
{
	(void)state;
	struct iscsi_login_rsp absent;
	SAY(SEC_TO_OP, NAMES ABSENT "\0AuthMethod=CHAP,None");
	REFUSED(ISCSI_LOGIN_NOT_FOUND);
	absent = fx.rsp;
	static const char *const hidden[] = {TARGET_FAR, TARGET_DENIED, "not-a-name"};
	for (unsigned i = 0; i < 3; i++) {
		char text[512] = NAMES;
		size_t len = sizeof(NAMES) - 1;
		strcpy(text + len, hidden[i]);
		len += strlen(hidden[i]) + 1;
		strcpy(text + len, "AuthMethod=CHAP,None");
		fixture_restart();
		say_len(SEC_TO_OP, text, len + sizeof "AuthMethod=CHAP,None");
		REFUSED(ISCSI_LOGIN_NOT_FOUND);
		assert_memory_equal(&fx.rsp, &absent, sizeof absent);
	}
	fixture_restart();
	SAY(SEC_TO_OP, "InitiatorName=iqn.2000-01.x:stranger\0TargetName=" TARGET_GROUP
	               "\0AuthMethod=CHAP,None");
	REFUSED(ISCSI_LOGIN_NOT_FOUND);
	assert_memory_equal(&fx.rsp, &absent, sizeof absent);
}

static void
targets_are_found_whatever_the_case(void **state)
{
	(void)state;
	SAY(SEC_TO_OP, NAMES "IQN.2024-01.COM.example:Open");
	assert_int_equal(fx.verdict, LOGIN_RESPOND);
	assert_string_equal(iscsi_login_target(fx.lg), TARGET_OPEN);
}

static void
refused_addresses_are_refused_everywhere(void **state)
{
	(void)state;
	char reason[128];
	const char *const all[] = {"ALL"};
	assert_int_equal(
	    iscsi_config_set_access(fx.config, NULL, 0, all, 1, reason, sizeof reason), 0);
	SAY(SEC, NAMES TARGET_OPEN);
	REFUSED(ISCSI_LOGIN_NOT_FOUND);
	fixture_restart();
	SAY(SEC, "InitiatorName=" INITIATOR "\0SessionType=Discovery");
	REFUSED(ISCSI_LOGIN_FORBIDDEN);
}

/* ---- headers -------------------------------------------------------------------------------------------- */

static void
joining_a_session_is_refused(void **state)
{
	(void)state;
	be16_put(&fx.req.tsih, 9);
	SAY(SEC_TO_OP, NAMES TARGET_OPEN);
	REFUSED(ISCSI_LOGIN_NO_SESSION);
	fixture_restart();
	fx.session_known = true;
	be16_put(&fx.req.tsih, 9);
	SAY(SEC_TO_OP, NAMES TARGET_OPEN);
	REFUSED(ISCSI_LOGIN_TOO_MANY_CONNS);
}

static void
joining_is_judged_after_authentication(void **state)
{
	(void)state;
	char text[512];
	fx.session_known = true;
	be16_put(&fx.req.tsih, 9);
	SAY(SEC_TO_OP, NAMES TARGET_CHAP "\0AuthMethod=CHAP");
	assert_int_equal(fx.verdict, LOGIN_RESPOND);
	SAY(SEC, "CHAP_A=7");
	say_len(SEC_TO_OP, text, chap_response(text, "alice", "not her secret"));
	REFUSED(ISCSI_LOGIN_AUTH_FAILED);
	fixture_restart();
	be16_put(&fx.req.tsih, 9);
	SAY(SEC_TO_OP, NAMES TARGET_CHAP "\0AuthMethod=CHAP");
	SAY(SEC, "CHAP_A=7");
	say_len(SEC_TO_OP, text, chap_response(text, "alice", ALICE_SECRET));
	REFUSED(ISCSI_LOGIN_TOO_MANY_CONNS);
}

static void
only_version_0_is_spoken(void **state)
{
	(void)state;
	fx.req.version_max = 1;
	SAY(SEC, NAMES TARGET_OPEN);
	assert_int_equal(fx.verdict, LOGIN_RESPOND);
	assert_int_equal(fx.rsp.version_active, 0);
	fixture_restart();
	fx.req.version_min = fx.req.version_max = 1;
	SAY(SEC, NAMES TARGET_OPEN);
	REFUSED(ISCSI_LOGIN_BAD_VERSION);
}

static void
the_header_stays_the_same(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		fixture_restart();
		SAY(SEC, NAMES TARGET_OPEN);
		assert_int_equal(fx.verdict, LOGIN_RESPOND);
		struct iscsi_login_req changed = fx.req;
		struct iscsi_login_rsp rsp;
		if (i == 0)
			changed.isid[5]++;
		else if (i == 1)
			be16_put(&changed.tsih, 1);
		else if (i == 2)
			be16_put(&changed.cid, 1);
		else
			be32_put(&changed.itt, 1);
		char nothing[1];
		assert_int_equal(iscsi_login_pdu(fx.lg, &changed, nothing, 0, &rsp), LOGIN_REFUSE);
		assert_int_equal(rsp.status_class, 2);
	}
}

static void
other_pdus_have_no_place(void **state)
{
	(void)state;
	fx.req.opcode = ISCSI_OP_NOP_OUT;
	assert_int_equal(SAY_NOTHING(0x80), LOGIN_DROP);
	fixture_restart();
	SAY(SEC, NAMES TARGET_OPEN);
	fx.req.opcode = ISCSI_OP_SCSI_CMD;
	SAY_NOTHING(0x80);
	REFUSED(ISCSI_LOGIN_BAD_DURING_LOGIN);
	/* After a refusal there is nothing more to say. */
	fx.req.opcode = ISCSI_OP_LOGIN_REQ;
	assert_int_equal(SAY_NOTHING(SEC), LOGIN_DROP);
}

static void
the_reserved_tag_is_refused(void **state)
{
	(void)state;
	be32_put(&fx.req.itt, ISCSI_TAG_NONE);
	SAY(SEC, NAMES TARGET_OPEN);
	REFUSED(ISCSI_LOGIN_INITIATOR_ERROR);
}

/* ---- text over several PDUs ------------------------------------------------------------------------------ */

static void
text_may_be_split_anywhere(void **state)
{
	(void)state;
	static const char text[] = NAMES TARGET_OPEN "\0AuthMethod=None";
	for (size_t at = 0; at <= sizeof text; at++) {
		fixture_restart();
		say_len(SEC | MORE, text, at);
		assert_int_equal(fx.verdict, LOGIN_RESPOND);
		assert_int_equal(fx.rsp.flags, SEC);
		assert_int_equal(fx.text_len, 0);
		assert_int_equal(be32_get(fx.rsp.stat_sn), 100);
		say_len(SEC_TO_OP, text + at, sizeof text - at);
		assert_int_equal(fx.verdict, LOGIN_RESPOND);
		assert_int_equal(fx.rsp.flags, SEC_TO_OP);
		assert_string_equal(answer("AuthMethod"), "None");
		assert_int_equal(be32_get(fx.rsp.stat_sn), 101);
	}
}

static void
collected_text_has_a_limit(void **state)
{
	(void)state;
	static char text[8192];
	memset(text, 'a', sizeof text);
	memcpy(text, "X-a=", 4);
	assert_int_equal(say_len(SEC | MORE, text, sizeof text), LOGIN_RESPOND);
	assert_int_equal(say_len(SEC | MORE, text, sizeof text), LOGIN_RESPOND);
	say_len(SEC | MORE, text, 1);
	REFUSED(ISCSI_LOGIN_INITIATOR_ERROR);
}

/* 61 unknown keys beside the three names are 64. */
static size_t
flood(char *buf, unsigned keys)
{
	size_t len = sizeof(NAMES TARGET_OPEN);
	memcpy(buf, NAMES TARGET_OPEN, len);
	for (unsigned i = 0; i < keys; i++)
		len += (size_t)sprintf(buf + len, "X-k%u=1", i) + 1;
	return len;
}

static void
keys_have_a_limit(void **state)
{
	(void)state;
	char buf[4096];
	say_len(SEC, buf, flood(buf, 61));
	assert_int_equal(fx.verdict, LOGIN_RESPOND);
	assert_string_equal(answer("X-k60"), "NotUnderstood");
	SAY(SEC, "X-more=1");
	REFUSED(ISCSI_LOGIN_INITIATOR_ERROR);
	fixture_restart();
	say_len(SEC, buf, flood(buf, 62));
	REFUSED(ISCSI_LOGIN_INITIATOR_ERROR);
}

static void
the_longest_keys_still_fit_the_answer(void **state)
{
	(void)state;
	static char buf[8192];
	size_t len = sizeof(NAMES TARGET_OPEN);
	memcpy(buf, NAMES TARGET_OPEN, len);
	for (unsigned i = 0; i < 61; i++)
		len += (size_t)sprintf(buf + len, "X-%061u=1", i) + 1;
	say_len(SEC, buf, len);
	assert_int_equal(fx.verdict, LOGIN_RESPOND);
	assert_true(fx.text_len > 61 * 78);
}

static void
malformed_text_ends_the_login(void **state)
{
	(void)state;
	SAY(SEC, NAMES TARGET_OPEN "\0nonsense");
	REFUSED(ISCSI_LOGIN_INITIATOR_ERROR);
	fixture_restart();
	say_len(SEC, "InitiatorName=" INITIATOR, strlen("InitiatorName=" INITIATOR));
	REFUSED(ISCSI_LOGIN_INITIATOR_ERROR);
}

static void
a_key_sent_twice_ends_the_login(void **state)
{
	(void)state;
	SAY(SEC_TO_OP, NAMES TARGET_OPEN);
	SAY(OP, "MaxBurstLength=512");
	assert_int_equal(fx.verdict, LOGIN_RESPOND);
	SAY(OP, "MaxBurstLength=1024");
	REFUSED(ISCSI_LOGIN_INITIATOR_ERROR);
	assert_non_null(strstr(iscsi_login_reason(fx.lg), "MaxBurstLength"));
}

static void
operational_keys_wait_for_their_stage(void **state)
{
	(void)state;
	SAY(SEC, NAMES TARGET_OPEN "\0MaxBurstLength=512");
	REFUSED(ISCSI_LOGIN_INITIATOR_ERROR);
	fixture_restart();
	SAY(OP, NAMES TARGET_OPEN "\0AuthMethod=None");
	REFUSED(ISCSI_LOGIN_INITIATOR_ERROR);
}

static void
our_declarations_come_once(void **state)
{
	(void)state;
	SAY(SEC_TO_OP, NAMES TARGET_OPEN);
	SAY_NOTHING(OP);
	assert_string_equal(answer("MaxRecvDataSegmentLength"), "262144");
	SAY_NOTHING(OP);
	assert_null(answer("MaxRecvDataSegmentLength"));
	assert_null(answer("TargetAlias"));
}

static void
the_session_may_fail_to_be_placed(void **state)
{
	(void)state;
	char text[] = NAMES TARGET_OPEN;
	fx.req.flags = OP_TO_FULL;
	assert_int_equal(iscsi_login_pdu(fx.lg, &fx.req, text, sizeof text, &fx.rsp), LOGIN_PLACE);
	assert_int_equal(
	    iscsi_login_finish(fx.lg, ISCSI_LOGIN_OUT_OF_RESOURCES, 0, &fx.rsp), LOGIN_REFUSE);
	assert_int_equal(status(), ISCSI_LOGIN_OUT_OF_RESOURCES);
	assert_int_equal(fx.rsp.flags, 0);
}

/* ---- state × event ------------------------------------------------------------------------------------------ */

/* The whole matrix as docs/spec-coverage.md has it: '.' is refused. */
static void
every_state_meets_every_event(void **state)
{
	(void)state;
	static const char *const matrix[LS_COUNT] = {
	    /* requests: sec, sec→op, sec→full, op, op→full, bad; ours: op, full, placed, failed */
	    [LS_FIRST] = "SSSOO....E",
	    [LS_SECURITY] = "SSS...OP.E",
	    [LS_OPERATIONAL] = "...OO..P.E",
	    [LS_PLACE] = "........FE",
	    [LS_FULL] = ".........E",
	    [LS_ENDED] = ".........E",
	};
	static const char letters[LS_COUNT + 1] = {'1', 'S', 'O', 'P', 'F', 'E', '.'};
	for (unsigned s = 0; s < LS_COUNT; s++)
		for (unsigned e = 0; e < LE_COUNT; e++)
			assert_int_equal(
			    letters[login_next_state((enum login_state)s, (enum login_event)e)],
			    matrix[s][e]);
}

static void
flags_name_their_event(void **state)
{
	(void)state;
	for (unsigned flags = 0; flags < 256; flags++) {
		enum login_event expected = LE_MALFORMED;
		unsigned transit = flags & 0x80, more = flags & 0x40;
		unsigned csg = flags >> 2 & 3, nsg = flags & 3;
		if (!transit && csg == 0)
			expected = LE_SECURITY;
		else if (!transit && csg == 1)
			expected = LE_OPERATIONAL;
		else if (transit && !more && csg == 0 && nsg == 1)
			expected = LE_SECURITY_TO_OPERATIONAL;
		else if (transit && !more && csg == 0 && nsg == 3)
			expected = LE_SECURITY_TO_FULL;
		else if (transit && !more && csg == 1 && nsg == 3)
			expected = LE_OPERATIONAL_TO_FULL;
		assert_int_equal(login_event_of((uint8_t)flags), expected);
	}
}

static void
stages_are_not_left_backwards_or_skipped(void **state)
{
	(void)state;
	SAY(SEC, NAMES TARGET_OPEN);
	SAY_NOTHING(OP);
	REFUSED(ISCSI_LOGIN_INITIATOR_ERROR);
	fixture_restart();
	SAY(SEC_TO_OP, NAMES TARGET_OPEN);
	SAY_NOTHING(SEC);
	REFUSED(ISCSI_LOGIN_INITIATOR_ERROR);
	fixture_restart();
	SAY(SEC_TO_OP | MORE, NAMES TARGET_OPEN);
	REFUSED(ISCSI_LOGIN_INITIATOR_ERROR);
	fixture_restart();
	SAY(0x82, NAMES TARGET_OPEN);
	REFUSED(ISCSI_LOGIN_INITIATOR_ERROR);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
	const struct CMUnitTest tests[] = {
	    TEST(open_iscsi_logs_in),
	    TEST(libiscsi_logs_in),
	    TEST(windows_logs_in),
	    TEST(esxi_logs_in),
	    TEST(discovery_logs_in),
	    TEST(security_may_lead_to_full_feature_at_once),
	    TEST(names_must_be_there),
	    TEST(identity_is_given_once),
	    TEST(the_same_identity_may_be_said_again),
	    TEST(a_later_key_can_declare_the_session_first),
	    TEST(hidden_targets_answer_like_absent_ones),
	    TEST(targets_are_found_whatever_the_case),
	    TEST(refused_addresses_are_refused_everywhere),
	    TEST(joining_a_session_is_refused),
	    TEST(joining_is_judged_after_authentication),
	    TEST(only_version_0_is_spoken),
	    TEST(the_header_stays_the_same),
	    TEST(other_pdus_have_no_place),
	    TEST(the_reserved_tag_is_refused),
	    TEST(text_may_be_split_anywhere),
	    TEST(collected_text_has_a_limit),
	    TEST(keys_have_a_limit),
	    TEST(the_longest_keys_still_fit_the_answer),
	    TEST(malformed_text_ends_the_login),
	    TEST(a_key_sent_twice_ends_the_login),
	    TEST(operational_keys_wait_for_their_stage),
	    TEST(our_declarations_come_once),
	    TEST(the_session_may_fail_to_be_placed),
	    TEST(every_state_meets_every_event),
	    TEST(flags_name_their_event),
	    TEST(stages_are_not_left_backwards_or_skipped),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
