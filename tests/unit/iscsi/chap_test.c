/* SPDX-License-Identifier: BSD-2-Clause */
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/cmocka_all.h"
#include "tests/unit/iscsi/login_fixture.h"

/* H(0x27, "alice's secret", 00..0f) and H(0xff, 256 × 5a, 1024 bytes counting), by Python's hashlib. */
static const struct {
	enum iscsi_chap_alg alg;
	size_t len;
	const char *small, *large;
} vectors[] = {
    {CHAP_MD5, 16, "0xa954e73f187f88ea9ec46f8e08eaeaf7", "0x48ed96ac14de265c1ed528467fbbcd62"},
    {CHAP_SHA1, 20, "0x64c4265a462ba8e33a94bb78e74630277503308c",
        "0x5795451c6f81fdd726d5b32bb9c73edf72c71e40"},
    {CHAP_SHA256, 32, "0xe0c3b237cff4d5be37b197ada219120919263a197a40499d5c189b382d06113d",
        "0xe52fdc44210d8f79eb41cec0ef14c73aeaf33d7bc58c1ddbb7ff90fe89f2373a"},
    {CHAP_SHA3_256, 32, "0x412cf55c3688ece25b43f5cbe0f1e49614d954419998b0cc61ba30ee9987c5d3",
        "0x2a124505bc54a26cadd2c954234eeaad0a392dd1bc22ead93ed2880eb2596d6e"},
};
#define VECTORS (sizeof vectors / sizeof vectors[0])

static void
check_vector(const char *expected, size_t len, const uint8_t *hash)
{
	uint8_t bytes[ISCSI_CHAP_HASH_MAX];
	size_t n = 0;
	assert_int_equal(iscsi_text_binary(expected, bytes, sizeof bytes, &n), 0);
	assert_int_equal(n, len);
	assert_memory_equal(bytes, hash, len);
}

static void
hashes_match_their_vectors(void **state)
{
	(void)state;
	uint8_t challenge[1024], secret[256], hash[ISCSI_CHAP_HASH_MAX];
	for (size_t i = 0; i < sizeof challenge; i++)
		challenge[i] = (uint8_t)i;
	memset(secret, 0x5a, sizeof secret);
	for (size_t i = 0; i < VECTORS; i++) {
		size_t len =
		    iscsi_chap_hash(vectors[i].alg, 0x27, ALICE_SECRET, 14, challenge, 16, hash);
		assert_int_equal(len, vectors[i].len);
		check_vector(vectors[i].small, len, hash);
		len = iscsi_chap_hash(
		    vectors[i].alg, 0xff, secret, sizeof secret, challenge, sizeof challenge, hash);
		check_vector(vectors[i].large, len, hash);
	}
	assert_int_equal(iscsi_chap_hash(9, 0, "", 0, "", 0, hash), 0);
	assert_int_equal(iscsi_chap_hash(0, 0, "", 0, "", 0, hash), 0);
}

/* Up to our challenge. */
static void
start(const char *algorithms)
{
	char text[128];
	fixture_restart();
	SAY(SEC_TO_OP, NAMES TARGET_CHAP "\0AuthMethod=CHAP,None");
	assert_int_equal(fx.verdict, LOGIN_RESPOND);
	assert_int_equal(fx.rsp.flags, SEC);
	assert_string_equal(answer("AuthMethod"), "CHAP");
	int n = sprintf(text, "CHAP_A=%s", algorithms);
	say_len(SEC, text, (size_t)n + 1);
}

#define FAILED()                                                                                   \
	assert_int_equal(fx.verdict, LOGIN_REFUSE);                                                \
	assert_int_equal(status(), ISCSI_LOGIN_AUTH_FAILED);                                       \
	assert_int_equal(fx.text_len, 0)

static void
every_algorithm_logs_in(void **state)
{
	(void)state;
	char text[512], number[8];
	for (size_t i = 0; i < VECTORS; i++) {
		sprintf(number, "%d", (int)vectors[i].alg);
		start(number);
		assert_int_equal(fx.verdict, LOGIN_RESPOND);
		assert_string_equal(answer("CHAP_A"), number);
		assert_int_equal(strlen(answer("CHAP_C")), 2 + 2 * ISCSI_CHAP_CHALLENGE_BYTES);
		say_len(SEC_TO_OP, text, chap_response(text, "alice", ALICE_SECRET));
		assert_int_equal(fx.rsp.flags, SEC_TO_OP);
		SAY_NOTHING(OP_TO_FULL);
		assert_int_equal(fx.rsp.flags, OP_TO_FULL);
		assert_string_equal(iscsi_login_result(fx.lg)->user, "alice");
		assert_int_equal(fx.auth_failures, 0);
	}
}

static void
the_strongest_common_algorithm_is_chosen(void **state)
{
	(void)state;
	static const char *const rows[][2] = {{"5", "5"}, {"5,6", "6"}, {"7,5", "7"},
	    {"5,6,7,8", "8"}, {"99,5,abc", "5"}, {",,6,", "6"}, {"0x7,5", "7"}};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		start(rows[i][0]);
		assert_string_equal(answer("CHAP_A"), rows[i][1]);
	}
}

static void
no_common_algorithm_fails(void **state)
{
	(void)state;
	static const char *const rows[] = {"9", "", "MD5", "55", "Reject"};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		start(rows[i]);
		assert_int_equal(fx.verdict, LOGIN_REFUSE);
		assert_int_equal(fx.rsp.status_class, 2);
	}
}

/* A library that has no approved provider refuses every hash: the login fails, nothing else. */
static void
a_library_without_the_hash_fails_the_login(void **state)
{
	(void)state;
	uint8_t hash[ISCSI_CHAP_HASH_MAX];
	assert_int_equal(EVP_set_default_properties(NULL, "fips=yes"), 1);
	size_t len = iscsi_chap_hash(CHAP_MD5, 0, "", 0, "", 0, hash);
	start("5");
	assert_int_equal(EVP_set_default_properties(NULL, ""), 1);
	assert_int_equal(len, 0);
	FAILED();
}

static void
wrong_secret_and_unknown_user_look_alike(void **state)
{
	(void)state;
	char text[512];
	struct iscsi_login_rsp wrong;
	start("7");
	say_len(SEC_TO_OP, text, chap_response(text, "alice", BOB_SECRET));
	FAILED();
	wrong = fx.rsp;
	start("7");
	say_len(SEC_TO_OP, text, chap_response(text, "nobody", ALICE_SECRET));
	FAILED();
	assert_memory_equal(&fx.rsp, &wrong, sizeof wrong);
	assert_int_equal(fx.auth_failures, 2);
}

static void
a_user_is_bound_to_its_group(void **state)
{
	(void)state;
	char text[512];
	/* bob is a user of the target, but not for this initiator name. */
	start("7");
	say_len(SEC_TO_OP, text, chap_response(text, "bob", BOB_SECRET));
	FAILED();
}

static void
malformed_responses_fail(void **state)
{
	(void)state;
	static const char *const rows[] = {"CHAP_N=alice\0CHAP_R=0x00", "CHAP_N=alice\0CHAP_R=12",
	    "CHAP_N=alice\0CHAP_R=", "CHAP_N=\0CHAP_R=0x00", "CHAP_N=alice\0CHAP_R=0b!!!!"};
	static const size_t lens[] = {26, 23, 21, 21, 28};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		char text[64] = {0};
		start("7");
		memcpy(text, rows[i], lens[i] - 1);
		say_len(SEC_TO_OP, text, lens[i]);
		FAILED();
	}
}

static void
a_truncated_hash_fails(void **state)
{
	(void)state;
	char text[512];
	start("7");
	size_t len = chap_response(text, "alice", ALICE_SECRET);
	text[len - 3] = '\0'; /* one byte less */
	say_len(SEC_TO_OP, text, len - 2);
	FAILED();
}

static void
keys_out_of_order_fail(void **state)
{
	(void)state;
	char text[512];
	/* Before the method is agreed, and with it. */
	fixture_restart();
	SAY(SEC, NAMES TARGET_CHAP "\0CHAP_A=7");
	FAILED();
	fixture_restart();
	SAY(SEC, NAMES TARGET_CHAP "\0AuthMethod=CHAP\0CHAP_A=7");
	FAILED();
	/* The response before the challenge. */
	fixture_restart();
	SAY(SEC, NAMES TARGET_CHAP "\0AuthMethod=CHAP");
	SAY(SEC, "CHAP_N=alice\0CHAP_R=0x00");
	FAILED();
	/* Half a response, half a challenge. */
	start("7");
	SAY(SEC, "CHAP_N=alice");
	FAILED();
	start("7");
	size_t len = chap_response(text, "alice", ALICE_SECRET);
	strcpy(text + len, "CHAP_I=1");
	say_len(SEC, text, len + 9);
	FAILED();
	/* Keys that nobody asked for. */
	fixture_restart();
	SAY(SEC, NAMES TARGET_OPEN "\0AuthMethod=None");
	SAY(SEC, "CHAP_A=7");
	FAILED();
	assert_int_equal(fx.auth_failures, 6);
}

static void
the_exchange_is_not_run_twice(void **state)
{
	(void)state;
	char text[512];
	start("7");
	size_t len = chap_response(text, "alice", ALICE_SECRET);
	say_len(SEC, text, len);
	assert_int_equal(fx.verdict, LOGIN_RESPOND);
	SAY(SEC, "CHAP_A=7");
	assert_int_equal(fx.verdict, LOGIN_REFUSE);
	start("7");
	say_len(SEC, text, chap_response(text, "alice", ALICE_SECRET));
	SAY(SEC, "AuthMethod=None");
	assert_int_equal(fx.verdict, LOGIN_REFUSE);
}

static void
security_is_not_skipped_where_it_is_required(void **state)
{
	(void)state;
	SAY(OP_TO_FULL, NAMES TARGET_CHAP);
	FAILED();
	fixture_restart();
	SAY(SEC_TO_OP, NAMES TARGET_CHAP);
	FAILED();
	fixture_restart();
	SAY(SEC_TO_FULL, NAMES TARGET_CHAP "\0AuthMethod=None");
	FAILED();
	fixture_restart();
	SAY(SEC_TO_OP, NAMES TARGET_CHAP "\0AuthMethod=None,KRB5,CHAP2");
	FAILED();
	/* Agreed on CHAP, then no CHAP. */
	fixture_restart();
	SAY(SEC, NAMES TARGET_CHAP "\0AuthMethod=None,CHAP");
	assert_string_equal(answer("AuthMethod"), "CHAP");
	SAY_NOTHING(SEC_TO_OP);
	FAILED();
	start("7");
	SAY_NOTHING(SEC_TO_FULL);
	FAILED();
}

static void
chap_alone_fails_where_there_are_no_users(void **state)
{
	(void)state;
	SAY(SEC, NAMES TARGET_OPEN "\0AuthMethod=CHAP");
	FAILED();
}

/* Response of alice, with a challenge for us. */
static size_t
mutual(char *text, const char *user, const char *secret, const char *id, const char *challenge)
{
	size_t len = chap_response(text, user, secret);
	len += (size_t)sprintf(text + len, "CHAP_I=%s", id) + 1;
	len += (size_t)sprintf(text + len, "CHAP_C=%s", challenge) + 1;
	return len;
}

static void
the_target_proves_itself(void **state)
{
	(void)state;
	char text[512];
	uint8_t hash[ISCSI_CHAP_HASH_MAX], theirs[ISCSI_CHAP_HASH_MAX];
	size_t len = 0;
	start("6");
	say_len(SEC_TO_OP, text,
	    mutual(text, "alice", ALICE_SECRET, "200", "0xdeadbeef000102030405060708090a0b"));
	assert_int_equal(fx.rsp.flags, SEC_TO_OP);
	assert_string_equal(answer("CHAP_N"), "the target");
	assert_int_equal(iscsi_text_binary(answer("CHAP_R"), theirs, sizeof theirs, &len), 0);
	assert_int_equal(len, 20);
	assert_int_equal(
	    iscsi_chap_hash(CHAP_SHA1, 200, MUTUAL_SECRET, strlen(MUTUAL_SECRET),
	        "\xde\xad\xbe\xef\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b", 16, hash),
	    20);
	assert_memory_equal(theirs, hash, 20);
}

static void
challenges_in_base64_are_read(void **state)
{
	(void)state;
	char text[512];
	start("6");
	say_len(SEC_TO_OP, text,
	    mutual(text, "alice", ALICE_SECRET, "0x10", "0bAAECAwQFBgcICQoLDA0ODw=="));
	assert_int_equal(fx.verdict, LOGIN_RESPOND);
	assert_non_null(answer("CHAP_R"));
}

static void
the_target_proves_itself_to_nobody_else(void **state)
{
	(void)state;
	char text[512];
	start("7");
	say_len(SEC_TO_OP, text, mutual(text, "alice", BOB_SECRET, "1", "0x00112233"));
	FAILED();
	/* mallory may log in, but there is nothing to prove to her. */
	start("7");
	say_len(SEC_TO_OP, text, mutual(text, "mallory", "mallory's secret", "1", "0x00112233"));
	FAILED();
	start("7");
	say_len(SEC_TO_OP, text, mutual(text, "alice", ALICE_SECRET, "256", "0x00112233"));
	FAILED();
	start("7");
	say_len(SEC_TO_OP, text, mutual(text, "alice", ALICE_SECRET, "1", "nonsense"));
	FAILED();
}

static void
a_long_challenge_has_a_limit(void **state)
{
	(void)state;
	static char challenge[2 + 2 * 1025 + 1], text[4096];
	memset(challenge, '0', sizeof challenge - 1);
	challenge[1] = 'x';
	challenge[2 + 2 * 1024] = '\0';
	start("7");
	say_len(SEC_TO_OP, text, mutual(text, "alice", ALICE_SECRET, "1", challenge));
	assert_int_equal(fx.verdict, LOGIN_RESPOND);
	challenge[2 + 2 * 1024] = '0';
	start("7");
	say_len(SEC_TO_OP, text, mutual(text, "alice", ALICE_SECRET, "1", challenge));
	FAILED();
}

static void
a_reflected_challenge_ends_the_connection(void **state)
{
	(void)state;
	char text[512], ours[128], others[2 + 64 + 1] = "0x";
	start("7");
	strcpy(ours, answer("CHAP_C"));
	say_len(SEC_TO_OP, text, mutual(text, "alice", ALICE_SECRET, "1", ours));
	assert_int_equal(fx.verdict, LOGIN_DROP);
	assert_int_equal(fx.text_len, 0);
	memset(others + 2, 'e', 64);
	start("7");
	say_len(SEC_TO_OP, text, mutual(text, "alice", ALICE_SECRET, "1", others));
	assert_int_equal(fx.verdict, LOGIN_DROP);
	assert_int_equal(fx.auth_failures, 2);
}

static void
a_challenge_is_outstanding_until_it_is_answered(void **state)
{
	(void)state;
	char text[512];
	size_t len;
	fixture_restart();
	(void)iscsi_login_challenge(fx.lg, &len);
	assert_int_equal(len, 0);
	start("7");
	const uint8_t *c = iscsi_login_challenge(fx.lg, &len);
	assert_int_equal(len, ISCSI_CHAP_CHALLENGE_BYTES);
	uint8_t sent[64];
	size_t sent_len;
	assert_int_equal(iscsi_text_binary(answer("CHAP_C"), sent, sizeof sent, &sent_len), 0);
	assert_memory_equal(c, sent, len);
	say_len(SEC, text, chap_response(text, "alice", ALICE_SECRET));
	(void)iscsi_login_challenge(fx.lg, &len);
	assert_int_equal(len, 0);
}

static void
discovery_users_guard_discovery(void **state)
{
	(void)state;
	char text[512], reason[128];
	struct iscsi_chap_user u = {"finder", "finder's secret", 15, NULL, NULL, 0};
	assert_int_equal(iscsi_config_add_discovery_user(fx.config, &u, reason, sizeof reason), 0);
	SAY(OP_TO_FULL, "InitiatorName=" INITIATOR "\0SessionType=Discovery");
	FAILED();
	fixture_restart();
	SAY(SEC, "InitiatorName=" INITIATOR "\0SessionType=Discovery\0AuthMethod=CHAP");
	SAY(SEC, "CHAP_A=8");
	say_len(SEC_TO_OP, text, chap_response(text, "alice", ALICE_SECRET));
	FAILED();
	fixture_restart();
	SAY(SEC, "InitiatorName=" INITIATOR "\0SessionType=Discovery\0AuthMethod=CHAP");
	SAY(SEC, "CHAP_A=8");
	say_len(SEC_TO_FULL, text, chap_response(text, "finder", "finder's secret"));
	assert_int_equal(fx.rsp.flags, SEC_TO_FULL);
	assert_string_equal(iscsi_login_result(fx.lg)->user, "finder");
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(hashes_match_their_vectors),
	    TEST(every_algorithm_logs_in),
	    TEST(the_strongest_common_algorithm_is_chosen),
	    TEST(no_common_algorithm_fails),
	    TEST(a_library_without_the_hash_fails_the_login),
	    TEST(wrong_secret_and_unknown_user_look_alike),
	    TEST(a_user_is_bound_to_its_group),
	    TEST(malformed_responses_fail),
	    TEST(a_truncated_hash_fails),
	    TEST(keys_out_of_order_fail),
	    TEST(the_exchange_is_not_run_twice),
	    TEST(security_is_not_skipped_where_it_is_required),
	    TEST(chap_alone_fails_where_there_are_no_users),
	    TEST(the_target_proves_itself),
	    TEST(challenges_in_base64_are_read),
	    TEST(the_target_proves_itself_to_nobody_else),
	    TEST(a_long_challenge_has_a_limit),
	    TEST(a_reflected_challenge_ends_the_connection),
	    TEST(a_challenge_is_outstanding_until_it_is_answered),
	    TEST(discovery_users_guard_discovery),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
