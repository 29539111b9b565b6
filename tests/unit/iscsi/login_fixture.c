/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/iscsi/login_fixture.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/cmocka_all.h"

struct fixture fx;
static int views[3];
#define VIEW(i) ((struct scsi_view *)(void *)&views[i]) /* never looked into here */

static const struct iscsi_offer offer = {
    .header_digest = ISCSI_DIGEST_NONE | ISCSI_DIGEST_CRC32C,
    .data_digest = ISCSI_DIGEST_NONE | ISCSI_DIGEST_CRC32C,
    .immediate_data = true,
    .max_recv_bytes = 262144,
    .max_burst_bytes = 1048576,
    .first_burst_bytes = 262144,
    .max_outstanding_r2t = 8,
};

struct sockaddr_storage
fixture_addr(const char *host, uint16_t port)
{
	struct sockaddr_storage ss = {0};
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	if (inet_pton(AF_INET, host, &in.sin_addr) == 1) {
		memcpy(&ss, &in, sizeof in);
	} else {
		assert_int_equal(inet_pton(AF_INET6, host, &in6.sin6_addr), 1);
		memcpy(&ss, &in6, sizeof in6);
	}
	return ss;
}

/* Not random, so that exchanges repeat. */
static void
env_random(void *ctx, void *buf, size_t len)
{
	(void)ctx;
	for (size_t i = 0; i < len; i++)
		((uint8_t *)buf)[i] = fx.random_next++;
}

static bool
env_challenge_known(void *ctx, const uint8_t *challenge, size_t len)
{
	(void)ctx;
	return len == sizeof fx.known_challenge && memcmp(challenge, fx.known_challenge, len) == 0;
}

static bool
env_session_known(void *ctx, const char *initiator, const uint8_t isid[6], uint16_t tsih)
{
	(void)ctx;
	assert_string_equal(initiator, INITIATOR);
	assert_int_equal(isid[0], 0x80);
	assert_int_not_equal(tsih, 0);
	return fx.session_known;
}

static void
env_auth_failed(void *ctx)
{
	(void)ctx;
	fx.auth_failures++;
}

static void
add(const struct iscsi_target_args *args)
{
	char reason[256] = "";
	if (iscsi_config_add_target(fx.config, args, reason, sizeof reason) != 0)
		fail_msg("%s", reason);
}

static void
add_targets(void)
{
	static const char *const host[] = {INITIATOR}, *const other[] = {OTHER};
	static const char *const alice[] = {"alice", "mallory"}, *const bob[] = {"bob"};
	static const char *const here[] = {"192.0.2.0/24"};
	static const uint16_t two = 2, both[] = {1, 2};
	const struct iscsi_chap_user users[] = {
	    {"alice", ALICE_SECRET, strlen(ALICE_SECRET), "the target", MUTUAL_SECRET,
	        strlen(MUTUAL_SECRET)},
	    {"bob", BOB_SECRET, strlen(BOB_SECRET), NULL, NULL, 0},
	    {"mallory", "mallory's secret", 16, NULL, NULL, 0},
	};
	const struct iscsi_group_args chap[] = {
	    {"host", host, 1, alice, 2, VIEW(1)}, {"other", other, 1, bob, 1, VIEW(2)}};
	const struct iscsi_group_args plain = {"host", host, 1, NULL, 0, VIEW(1)};

	add(&(struct iscsi_target_args){.name = TARGET_OPEN,
	    .alias = "Open to all",
	    .open_view = VIEW(0),
	    .offer = offer,
	    .portal_tags = both,
	    .portal_tag_count = 2});
	add(&(struct iscsi_target_args){
	    .name = TARGET_GROUP, .groups = &plain, .group_count = 1, .offer = offer});
	add(&(struct iscsi_target_args){.name = TARGET_CHAP,
	    .groups = chap,
	    .group_count = 2,
	    .users = users,
	    .user_count = 3,
	    .offer = offer});
	add(&(struct iscsi_target_args){.name = TARGET_FAR,
	    .open_view = VIEW(0),
	    .offer = offer,
	    .portal_tags = &two,
	    .portal_tag_count = 1});
	add(&(struct iscsi_target_args){.name = TARGET_DENIED,
	    .open_view = VIEW(0),
	    .offer = offer,
	    .deny = here,
	    .deny_count = 1});
}

int
fixture_setup(void **state)
{
	(void)state;
	memset(&fx, 0, sizeof fx);
	assert_int_equal(iscsi_config_create(&fx.config), 0);
	add_targets();
	fx.limits = (struct iscsi_limits){
	    .login_keys_max = 64, .login_text_max_bytes = 16384, .chap_value_max_bytes = 1024};
	memset(fx.known_challenge, 0xee, sizeof fx.known_challenge);
	fx.portals[0] = (struct iscsi_portal_addr){fixture_addr("192.0.2.1", 3260), 1};
	fx.portals[1] = (struct iscsi_portal_addr){fixture_addr("2001:db8::1", 3261), 2};
	fx.env = (struct iscsi_login_env){
	    .config = fx.config,
	    .limits = &fx.limits,
	    .peer = fixture_addr("192.0.2.77", 50000),
	    .local = fixture_addr("192.0.2.1", 3260),
	    .portal_tag = 1,
	    .portals = fx.portals,
	    .portal_count = 2,
	    .random = env_random,
	    .challenge_known = env_challenge_known,
	    .session_known = env_session_known,
	    .auth_failed = env_auth_failed,
	};
	fixture_restart();
	return 0;
}

int
fixture_teardown(void **state)
{
	(void)state;
	iscsi_login_destroy(fx.lg);
	iscsi_config_destroy(fx.config);
	return 0;
}

void
fixture_restart(void)
{
	iscsi_login_destroy(fx.lg);
	fx.lg = iscsi_login_create(&fx.env);
	assert_non_null(fx.lg);
	fx.req = (struct iscsi_login_req){
	    .opcode = ISCSI_OP_LOGIN_REQ | ISCSI_OPCODE_IMMEDIATE, .isid = {0x80, 1, 2, 3, 4, 5}};
	be32_put(&fx.req.itt, 0x1234);
	be32_put(&fx.req.cmd_sn, 7);
	be32_put(&fx.req.exp_stat_sn, 100);
}

static void
take_answer(void)
{
	const char *text = iscsi_login_text(fx.lg, &fx.text_len);
	assert_true(fx.text_len <= 8192);
	memset(fx.text, 0, sizeof fx.text);
	memcpy(fx.text, text, fx.text_len);
}

/* The data is exactly as long as said, so that a read behind it is seen by a sanitizer. */
enum iscsi_login_verdict
say_len(uint8_t flags, const char *text, size_t len)
{
	char *data = malloc(len + 1);
	assert_non_null(data);
	memcpy(data, text, len);
	fx.req.flags = flags;
	be24_put(&fx.req.data_len, (uint32_t)len);
	memset(&fx.rsp, 0xcc, sizeof fx.rsp);
	fx.verdict = iscsi_login_pdu(fx.lg, &fx.req, data, len, &fx.rsp);
	free(data);
	take_answer();
	if (fx.verdict == LOGIN_PLACE) {
		fx.verdict = iscsi_login_finish(fx.lg, ISCSI_LOGIN_SUCCESS, 42, &fx.rsp);
		take_answer();
	}
	if (fx.verdict != LOGIN_DROP) {
		assert_int_equal(fx.rsp.opcode, ISCSI_OP_LOGIN_RSP);
		assert_int_equal(be32_get(fx.rsp.itt), be32_get(fx.req.itt));
		assert_memory_equal(fx.rsp.isid, fx.req.isid, 6);
		assert_int_equal(be24_get(fx.rsp.data_len), fx.text_len);
	}
	assert_true((fx.verdict == LOGIN_RESPOND) == (iscsi_login_reason(fx.lg)[0] == '\0'));
	return fx.verdict;
}

uint16_t
status(void)
{
	return (uint16_t)(fx.rsp.status_class << 8 | fx.rsp.status_detail);
}

const char *
answer(const char *key)
{
	size_t key_len = strlen(key);
	for (size_t at = 0; at < fx.text_len; at += strlen(fx.text + at) + 1)
		if (strncmp(fx.text + at, key, key_len) == 0 && fx.text[at + key_len] == '=')
			return fx.text + at + key_len + 1;
	return NULL;
}

size_t
chap_response(char *buf, const char *user, const char *secret)
{
	uint8_t challenge[64], hash[ISCSI_CHAP_HASH_MAX];
	size_t challenge_len = 0;
	const char *alg = answer("CHAP_A"), *id = answer("CHAP_I"), *c = answer("CHAP_C");
	assert_true(alg && id && c);
	assert_int_equal(iscsi_text_binary(c, challenge, sizeof challenge, &challenge_len), 0);
	size_t len = iscsi_chap_hash((enum iscsi_chap_alg)atoi(alg), (uint8_t)atoi(id), secret,
	    strlen(secret), challenge, challenge_len, hash);
	assert_true(len > 0);
	int at = sprintf(buf, "CHAP_N=%s", user) + 1;
	at += sprintf(buf + at, "CHAP_R=0x");
	for (size_t i = 0; i < len; i++)
		at += sprintf(buf + at, "%02x", hash[i]);
	return (size_t)at + 1;
}
