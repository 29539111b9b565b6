/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/fuzz/fuzz_iscsi.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct iscsi_login_env env;
static struct iscsi_limits limits = {
    .login_keys_max = 64, .login_text_max_bytes = 16384, .chap_value_max_bytes = 1024};
static struct iscsi_portal_addr portals[3];
static uint8_t random_next;
static int a_view;

static void
env_random(void *ctx, void *buf, size_t len)
{
	(void)ctx;
	for (size_t i = 0; i < len; i++)
		((uint8_t *)buf)[i] = random_next++;
}

void
fuzz_random_reset(void)
{
	random_next = 0;
}

static bool
env_challenge_known(void *ctx, const uint8_t *challenge, size_t len)
{
	(void)ctx;
	return len == 4 && memcmp(challenge, "same", 4) == 0;
}

static bool
env_session_known(void *ctx, const char *initiator, const uint8_t isid[6], uint16_t tsih)
{
	(void)ctx;
	(void)initiator;
	return isid[0] == 0 && tsih == 1;
}

static void
add(struct iscsi_config *c, struct iscsi_target_args args)
{
	char reason[256];
	args.offer = (struct iscsi_offer){.header_digest = ISCSI_DIGEST_NONE | ISCSI_DIGEST_CRC32C,
	    .data_digest = ISCSI_DIGEST_NONE | ISCSI_DIGEST_CRC32C,
	    .immediate_data = true,
	    .max_recv_bytes = 262144,
	    .max_burst_bytes = 1048576,
	    .first_burst_bytes = 262144,
	    .max_outstanding_r2t = 8};
	if (iscsi_config_add_target(c, &args, reason, sizeof reason) != 0) {
		fprintf(stderr, "%s\n", reason);
		abort();
	}
}

static struct sockaddr_storage
address(const char *host)
{
	struct sockaddr_storage ss = {0};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(3260)};
	if (inet_pton(AF_INET6, host, &in6.sin6_addr) != 1)
		abort();
	memcpy(&ss, &in6, sizeof in6);
	return ss;
}

const struct iscsi_login_env *
fuzz_env(void)
{
	if (env.config)
		return &env;
	struct iscsi_config *c = NULL;
	if (iscsi_config_create(&c) != 0)
		abort();
	struct scsi_view *view = (struct scsi_view *)(void *)&a_view;
	static const char *const any[] = {"iqn.*"}, *const alice[] = {"alice"};
	const struct iscsi_chap_user user = {
	    "alice", FUZZ_SECRET, strlen(FUZZ_SECRET), "me", "a secret of mine", 16};
	const struct iscsi_group_args group = {.name = "g",
	    .initiators = any,
	    .initiator_count = 1,
	    .users = alice,
	    .user_count = 1,
	    .view = view};
	add(c, (struct iscsi_target_args){
	           .name = "iqn.2024-01.x:open", .alias = "Open", .open_view = view});
	add(c, (struct iscsi_target_args){.name = "iqn.2024-01.x:chap",
	           .users = &user,
	           .user_count = 1,
	           .groups = &group,
	           .group_count = 1});
	for (unsigned i = 0; i < 100; i++) {
		char name[64];
		(void)snprintf(name, sizeof name, "iqn.2024-01.x:many-%u", i);
		add(c, (struct iscsi_target_args){.name = name, .open_view = view});
	}
	portals[0] = (struct iscsi_portal_addr){address("::"), 1};
	portals[1] = (struct iscsi_portal_addr){address("::ffff:192.0.2.1"), 1};
	portals[2] = (struct iscsi_portal_addr){address("2001:db8::1"), 2};
	env = (struct iscsi_login_env){.config = c,
	    .limits = &limits,
	    .peer = address("2001:db8::2"),
	    .local = address("2001:db8::1"),
	    .portal_tag = 1,
	    .portals = portals,
	    .portal_count = 3,
	    .random = env_random,
	    .challenge_known = env_challenge_known,
	    .session_known = env_session_known};
	return &env;
}

void
fuzz_check_text(const char *text, size_t len)
{
	char *copy = malloc(len + 1);
	if (!copy)
		abort();
	memcpy(copy, text, len);
	struct iscsi_text_iter it = {copy, copy + len};
	char *key, *value;
	int r;
	while ((r = iscsi_text_next(&it, &key, &value)) > 0)
		continue;
	ASSERT(r == 0);
	free(copy);
}
