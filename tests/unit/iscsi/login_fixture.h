/* SPDX-License-Identifier: BSD-2-Clause */
/* A target side with known users and targets, and an initiator that talks to it PDU by PDU. */
#ifndef TESTS_ISCSI_LOGIN_FIXTURE_H
#define TESTS_ISCSI_LOGIN_FIXTURE_H

#include "iscsi/login.h"

#define INITIATOR "iqn.1993-08.org.debian:01:host"
#define OTHER "iqn.1993-08.org.debian:01:other"
#define TARGET_OPEN "iqn.2024-01.com.example:open"   /* everybody */
#define TARGET_GROUP "iqn.2024-01.com.example:group" /* INITIATOR, no CHAP */
#define TARGET_CHAP "iqn.2024-01.com.example:chap" /* INITIATOR as alice or mallory, OTHER as bob */
#define TARGET_FAR "iqn.2024-01.com.example:far"   /* everybody, but on portal group 2 */
#define TARGET_DENIED "iqn.2024-01.com.example:denied" /* everybody, but not from 192.0.2.0/24 */
#define ABSENT "iqn.2024-01.com.example:absent"
#define NAMES "InitiatorName=" INITIATOR "\0SessionType=Normal\0TargetName="

#define ALICE_SECRET "alice's secret"
#define BOB_SECRET "bob's secret!"
#define MUTUAL_SECRET "the target's secret"

/* T and C bits, CSG, NSG. */
#define SEC 0x00u
#define SEC_TO_OP 0x81u
#define SEC_TO_FULL 0x83u
#define OP 0x04u
#define OP_TO_FULL 0x87u
#define MORE 0x40u

struct fixture {
	struct iscsi_config *config;
	struct iscsi_limits limits;
	struct iscsi_login_env env;
	struct iscsi_portal_addr portals[4];
	struct iscsi_login *lg;
	struct iscsi_login_req req; /* the next request; `say` sets flags */
	struct iscsi_login_rsp rsp;
	char text[8192 + 1]; /* of the answer */
	size_t text_len;
	enum iscsi_login_verdict verdict;
	unsigned auth_failures;
	uint8_t random_next;
	uint8_t known_challenge[32]; /* outstanding on another login */
	bool session_known;
};

extern struct fixture fx;

struct sockaddr_storage fixture_addr(const char *host, uint16_t port);
/* cmocka's setup and teardown. */
int fixture_setup(void **state);
int fixture_teardown(void **state);
/* A fresh login on the same configuration. */
void fixture_restart(void);
/* Sends `len` bytes of text; the answer is in fx.rsp, fx.text. */
enum iscsi_login_verdict say_len(uint8_t flags, const char *text, size_t len);
#define SAY(flags, literal) say_len(flags, literal, sizeof(literal))
#define SAY_NOTHING(flags) say_len(flags, "", 0)
uint16_t status(void);
/* Value of a key in the answer, NULL if it isn't there. */
const char *answer(const char *key);
/* "CHAP_N=…", "CHAP_R=…" for the challenge in the answer before. */
size_t chap_response(char *buf, const char *user, const char *secret);

#endif
