/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdio.h>
#include <string.h>

#include "iscsi/login.h"
#include "tests/cmocka_all.h"

static struct iscsi_negotiation n;
static char answer[512];
static struct iscsi_text_out out;

static int
setup(void **state)
{
	(void)state;
	static const struct iscsi_offer offered = {
	    .header_digest = ISCSI_DIGEST_NONE | ISCSI_DIGEST_CRC32C,
	    .data_digest = ISCSI_DIGEST_NONE | ISCSI_DIGEST_CRC32C,
	    .immediate_data = true,
	    .max_recv_bytes = 262144,
	    .max_burst_bytes = 1048576,
	    .first_burst_bytes = 262144,
	    .max_outstanding_r2t = 8,
	};
	iscsi_negotiation_init(&n, &offered);
	out = (struct iscsi_text_out){answer, 0, sizeof answer, false};
	memset(answer, 0, sizeof answer);
	return 0;
}

/* One key at a stage; the answer is in `answer`, NUL-terminated. */
static enum iscsi_negotiate
offer(unsigned at, const char *key, const char *value)
{
	enum iscsi_key got;
	out.len = 0;
	memset(answer, 0, sizeof answer);
	enum iscsi_negotiate r = iscsi_negotiate_key(&n, at, key, value, &out, &got);
	assert_false(out.overflow);
	return r;
}

#define ERR "error"
#define NONE ""
struct row {
	const char *key, *value, *answer; /* answer: value of the answer, NONE, ERR */
};

/* Each in a negotiation of its own, at the operational stage, with the default offer. */
/* clang-format off */
static const struct row normal[] = {
    {"HeaderDigest", "None", "None"}, {"HeaderDigest", "CRC32C", "CRC32C"},
    {"HeaderDigest", "CRC32C,None", "CRC32C"}, {"HeaderDigest", "None,CRC32C", "None"},
    {"HeaderDigest", "SHA1,CRC32C", "CRC32C"}, {"HeaderDigest", "crc32c", "Reject"},
    {"HeaderDigest", "", "Reject"}, {"HeaderDigest", ",,", "Reject"}, {"HeaderDigest", "Reject", ERR},
    {"DataDigest", "None", "None"}, {"DataDigest", "CRC32C,None", "CRC32C"}, {"DataDigest", "CRC", "Reject"},
    {"MaxConnections", "1", "1"}, {"MaxConnections", "8", "1"}, {"MaxConnections", "0", "Reject"},
    {"MaxConnections", "65536", "Reject"}, {"MaxConnections", "one", "Reject"},
    {"InitialR2T", "Yes", "Yes"}, {"InitialR2T", "No", "No"}, {"InitialR2T", "yes", "Reject"},
    {"InitialR2T", "NotUnderstood", ERR},
    {"ImmediateData", "Yes", "Yes"}, {"ImmediateData", "No", "No"}, {"ImmediateData", "", "Reject"},
    {"MaxRecvDataSegmentLength", "262144", NONE}, {"MaxRecvDataSegmentLength", "512", NONE},
    {"MaxRecvDataSegmentLength", "511", ERR}, {"MaxRecvDataSegmentLength", "16777216", ERR},
    {"MaxRecvDataSegmentLength", "0x40000", NONE}, {"MaxRecvDataSegmentLength", "x", ERR},
    {"MaxBurstLength", "262144", "262144"}, {"MaxBurstLength", "16776192", "1048576"},
    {"MaxBurstLength", "16777216", "Reject"}, {"MaxBurstLength", "511", "Reject"},
    {"FirstBurstLength", "65536", "65536"}, {"FirstBurstLength", "1048576", "262144"},
    {"FirstBurstLength", "1", "Reject"}, {"FirstBurstLength", "Irrelevant", ERR},
    {"DefaultTime2Wait", "0", "2"}, {"DefaultTime2Wait", "2", "2"}, {"DefaultTime2Wait", "3600", "3600"},
    {"DefaultTime2Wait", "3601", "Reject"},
    {"DefaultTime2Retain", "0", "0"}, {"DefaultTime2Retain", "20", "0"}, {"DefaultTime2Retain", "9999", "Reject"},
    {"MaxOutstandingR2T", "1", "1"}, {"MaxOutstandingR2T", "16", "8"}, {"MaxOutstandingR2T", "0", "Reject"},
    {"MaxOutstandingR2T", "65536", "Reject"},
    {"DataPDUInOrder", "Yes", "Yes"}, {"DataPDUInOrder", "No", "Yes"}, {"DataPDUInOrder", "1", "Reject"},
    {"DataSequenceInOrder", "Yes", "Yes"}, {"DataSequenceInOrder", "No", "Yes"}, {"DataSequenceInOrder", "-", "Reject"},
    {"ErrorRecoveryLevel", "0", "0"}, {"ErrorRecoveryLevel", "2", "0"}, {"ErrorRecoveryLevel", "3", "Reject"},
    {"TaskReporting", "RFC3720", "RFC3720"}, {"TaskReporting", "ResponseFence,RFC3720", "ResponseFence"},
    {"TaskReporting", "FastAbort,ResponseFence,RFC3720", "ResponseFence"}, {"TaskReporting", "FastAbort", "Reject"},
    {"iSCSIProtocolLevel", "1", "1"}, {"iSCSIProtocolLevel", "2", "2"}, {"iSCSIProtocolLevel", "31", "2"},
    {"iSCSIProtocolLevel", "0", "0"}, {"iSCSIProtocolLevel", "32", "Reject"},
    {"OFMarker", "No", "No"}, {"OFMarker", "Yes", "No"}, {"IFMarker", "No", "No"}, {"IFMarker", "Yes", "No"},
    {"OFMarkInt", "2048~8192", "Reject"}, {"IFMarkInt", "2048", "Reject"},
    {"X-com.example.key", "1", "NotUnderstood"}, {"Unknown", "1", "NotUnderstood"},
    {"X-com.example.key", "NotUnderstood", NONE}, {"maxburstlength", "512", "NotUnderstood"},
    {"TargetAlias", "x", ERR}, {"TargetAddress", "x", ERR}, {"TargetPortalGroupTag", "1", ERR},
    {"SendTargets", "All", ERR}, {"AuthMethod", "None", ERR}, {"CHAP_A", "5", ERR}, {"CHAP_I", "5", ERR},
    {"CHAP_C", "0x00", ERR}, {"CHAP_N", "a", ERR}, {"CHAP_R", "0x00", ERR},
    {"InitiatorName", "iqn.a", ERR}, {"TargetName", "iqn.a", ERR}, {"SessionType", "Normal", ERR},
};
/* clang-format on */

static void
check_rows(const struct row *rows, size_t count, bool discovery)
{
	for (size_t i = 0; i < count; i++) {
		setup(NULL);
		n.discovery = discovery;
		const struct row *r = &rows[i];
		char expected[128] = "";
		if (r->answer[0] != '\0' && strcmp(r->answer, ERR) != 0)
			(void)snprintf(expected, sizeof expected, "%s=%s", r->key, r->answer);
		enum iscsi_negotiate got = offer(KEY_AT_OPERATIONAL, r->key, r->value);
		if (strcmp(r->answer, ERR) == 0) {
			if (got != NEGOTIATE_ERROR)
				fail_msg("%s=%s was accepted", r->key, r->value);
			assert_true(n.reason[0] != '\0');
			continue;
		}
		if (got != NEGOTIATE_DONE || strcmp(answer, expected) != 0)
			fail_msg("%s=%s: \"%s\", not \"%s\"", r->key, r->value, answer, expected);
	}
}

static void
every_key_is_answered_by_its_rule(void **state)
{
	(void)state;
	check_rows(normal, sizeof normal / sizeof normal[0], false);
}

static void
discovery_finds_session_keys_irrelevant(void **state)
{
	(void)state;
	static const struct row rows[] = {
	    {"MaxConnections", "1", "Irrelevant"},
	    {"InitialR2T", "Yes", "Irrelevant"},
	    {"ImmediateData", "Yes", "Irrelevant"},
	    {"MaxBurstLength", "512", "Irrelevant"},
	    {"FirstBurstLength", "512", "Irrelevant"},
	    {"MaxOutstandingR2T", "1", "Irrelevant"},
	    {"DataPDUInOrder", "Yes", "Irrelevant"},
	    {"DataSequenceInOrder", "Yes", "Irrelevant"},
	    {"TaskReporting", "RFC3720", "Irrelevant"},
	    {"iSCSIProtocolLevel", "2", "Irrelevant"},
	    {"HeaderDigest", "None", "None"},
	    {"ErrorRecoveryLevel", "0", "0"},
	    {"DefaultTime2Wait", "2", "2"},
	};
	check_rows(rows, sizeof rows / sizeof rows[0], true);
}

static void
every_row_of_the_table_is_complete(void **state)
{
	(void)state;
	for (enum iscsi_key k = 0; k < ISCSI_KEY_COUNT; k++) {
		const struct iscsi_key_row *row = iscsi_key_row(k);
		assert_true(row->at != 0);
		assert_true(row->min <= row->max);
		assert_int_equal(iscsi_key_find(row->name), k);
		if (row->kind == KEY_LIST)
			assert_non_null(row->choices);
	}
}

static void
no_key_is_negotiated_twice(void **state)
{
	(void)state;
	for (enum iscsi_key k = 0; k < ISCSI_KEY_COUNT; k++) {
		setup(NULL);
		const struct iscsi_key_row *row = iscsi_key_row(k);
		if (row->kind == KEY_TARGET_SENDS)
			continue;
		const char *value = row->kind == KEY_DECLARE ? "512" : "1";
		assert_int_not_equal(offer(row->at, row->name, value), NEGOTIATE_ERROR);
		assert_int_equal(offer(row->at, row->name, value), NEGOTIATE_ERROR);
	}
}

static void
operational_keys_are_out_of_place_elsewhere(void **state)
{
	(void)state;
	assert_int_equal(offer(KEY_AT_SECURITY, "MaxBurstLength", "512"), NEGOTIATE_ERROR);
	assert_int_equal(offer(KEY_AT_FULL, "ImmediateData", "Yes"), NEGOTIATE_ERROR);
	assert_int_equal(offer(KEY_AT_FULL, "MaxRecvDataSegmentLength", "65536"), NEGOTIATE_DONE);
}

static void
text_values_end_at_255_bytes(void **state)
{
	(void)state;
	char value[257];
	memset(value, 'a', sizeof value);
	value[255] = '\0';
	assert_int_equal(offer(KEY_AT_SECURITY, "InitiatorAlias", value), NEGOTIATE_VALUE);
	setup(NULL);
	value[255] = 'a';
	value[256] = '\0';
	assert_int_equal(offer(KEY_AT_SECURITY, "InitiatorAlias", value), NEGOTIATE_ERROR);
}

static void
first_burst_is_irrelevant_without_unsolicited_data(void **state)
{
	(void)state;
	offer(KEY_AT_OPERATIONAL, "InitialR2T", "Yes");
	offer(KEY_AT_OPERATIONAL, "ImmediateData", "No");
	offer(KEY_AT_OPERATIONAL, "FirstBurstLength", "65536");
	assert_string_equal(answer, "FirstBurstLength=Irrelevant");
	/* So it doesn't matter either that the preset is above the burst. */
	struct iscsi_params p;
	offer(KEY_AT_OPERATIONAL, "MaxBurstLength", "512");
	assert_true(iscsi_negotiation_finish(&n, &p));
	assert_int_equal(iscsi_key_rank("FirstBurstLength"), 2);
	assert_int_equal(iscsi_key_rank("SessionType"), 0);
	assert_int_equal(iscsi_key_rank("X-unknown"), 1);
}

static void
first_burst_stays_within_the_burst(void **state)
{
	(void)state;
	struct iscsi_params p;
	offer(KEY_AT_OPERATIONAL, "MaxBurstLength", "65536");
	offer(KEY_AT_OPERATIONAL, "FirstBurstLength", "262144");
	assert_string_equal(answer, "FirstBurstLength=65536");
	assert_true(iscsi_negotiation_finish(&n, &p));
	assert_int_equal(p.first_burst_bytes, 65536);

	setup(NULL);
	offer(KEY_AT_OPERATIONAL, "FirstBurstLength", "262144");
	offer(KEY_AT_OPERATIONAL, "MaxBurstLength", "65536");
	assert_false(iscsi_negotiation_finish(&n, &p));

	setup(NULL);
	offer(KEY_AT_OPERATIONAL, "MaxBurstLength", "4096");
	assert_true(iscsi_negotiation_finish(&n, &p));
	assert_int_equal(p.first_burst_bytes, 4096);
}

static void
digests_can_be_preferred(void **state)
{
	(void)state;
	n.prefer_digests = true;
	offer(KEY_AT_OPERATIONAL, "HeaderDigest", "None,CRC32C");
	assert_string_equal(answer, "HeaderDigest=CRC32C");
	offer(KEY_AT_OPERATIONAL, "DataDigest", "None");
	assert_string_equal(answer, "DataDigest=None");
}

static void
required_digests_are_insisted_on(void **state)
{
	(void)state;
	struct iscsi_params p;
	n.mine[ISCSI_KEY_HEADER_DIGEST] = ISCSI_DIGEST_CRC32C;
	offer(KEY_AT_OPERATIONAL, "HeaderDigest", "None");
	assert_string_equal(answer, "HeaderDigest=Reject");
	assert_false(iscsi_negotiation_finish(&n, &p));

	setup(NULL);
	n.mine[ISCSI_KEY_HEADER_DIGEST] = ISCSI_DIGEST_CRC32C;
	assert_false(iscsi_negotiation_finish(&n, &p));
	offer(KEY_AT_OPERATIONAL, "HeaderDigest", "None,CRC32C");
	assert_true(iscsi_negotiation_finish(&n, &p));
	assert_true(p.header_digest);
	assert_false(p.data_digest);
}

static void
nothing_negotiated_means_the_defaults(void **state)
{
	(void)state;
	struct iscsi_params p, preset;
	iscsi_params_default(&preset);
	assert_true(iscsi_negotiation_finish(&n, &p));
	assert_int_equal(p.header_digest || p.data_digest, 0);
	assert_int_equal(p.initial_r2t, preset.initial_r2t);
	assert_int_equal(p.immediate_data, preset.immediate_data);
	assert_int_equal(p.max_recv_bytes, preset.max_recv_bytes);
	assert_int_equal(p.max_xmit_bytes, preset.max_xmit_bytes);
	assert_int_equal(p.max_burst_bytes, preset.max_burst_bytes);
	assert_int_equal(p.first_burst_bytes, preset.first_burst_bytes);
	assert_int_equal(p.max_outstanding_r2t, preset.max_outstanding_r2t);
	assert_int_equal(p.default_time2wait, preset.default_time2wait);
	assert_int_equal(p.protocol_level, preset.protocol_level);
}

static void
mine_theirs_and_active_are_kept_apart(void **state)
{
	(void)state;
	struct iscsi_params p;
	offer(KEY_AT_OPERATIONAL, "MaxBurstLength", "524288");
	offer(KEY_AT_OPERATIONAL, "MaxOutstandingR2T", "64");
	offer(KEY_AT_OPERATIONAL, "MaxRecvDataSegmentLength", "131072");
	offer(KEY_AT_OPERATIONAL, "TaskReporting", "ResponseFence");
	assert_int_equal(n.mine[ISCSI_KEY_MAX_BURST], 1048576);
	assert_int_equal(n.theirs[ISCSI_KEY_MAX_BURST], 524288);
	assert_int_equal(n.active[ISCSI_KEY_MAX_BURST], 524288);
	assert_int_equal(n.theirs[ISCSI_KEY_MAX_R2T], 64);
	assert_true(iscsi_negotiation_finish(&n, &p));
	assert_int_equal(p.max_outstanding_r2t, 8);
	assert_int_equal(p.max_xmit_bytes, 131072);
	assert_int_equal(p.max_recv_bytes, 8192);
	assert_true(p.task_reporting_responsefence);
	assert_false(p.task_reporting_fastabort);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(every_key_is_answered_by_its_rule, setup),
	    cmocka_unit_test_setup(discovery_finds_session_keys_irrelevant, setup),
	    cmocka_unit_test_setup(every_row_of_the_table_is_complete, setup),
	    cmocka_unit_test_setup(no_key_is_negotiated_twice, setup),
	    cmocka_unit_test_setup(operational_keys_are_out_of_place_elsewhere, setup),
	    cmocka_unit_test_setup(text_values_end_at_255_bytes, setup),
	    cmocka_unit_test_setup(first_burst_is_irrelevant_without_unsolicited_data, setup),
	    cmocka_unit_test_setup(first_burst_stays_within_the_burst, setup),
	    cmocka_unit_test_setup(digests_can_be_preferred, setup),
	    cmocka_unit_test_setup(required_digests_are_insisted_on, setup),
	    cmocka_unit_test_setup(nothing_negotiated_means_the_defaults, setup),
	    cmocka_unit_test_setup(mine_theirs_and_active_are_kept_apart, setup),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
