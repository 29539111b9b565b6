/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * CHAP within the login, RFC 7143 §12.1.3, RFC 1994:
 *
 *   I: AuthMethod=CHAP,…              T: AuthMethod=CHAP
 *   I: CHAP_A=8,7,5                   T: CHAP_A=8 CHAP_I=<id> CHAP_C=<challenge>
 *   I: CHAP_N=<user> CHAP_R=<hash>    (one way: done)
 *      CHAP_I=<id> CHAP_C=<challenge> T: CHAP_N=<target's name> CHAP_R=<hash>
 *
 * Whatever is wrong is answered alike, and an unknown user costs the same work as a wrong secret.
 */
#include "iscsi/login.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"

#define CHALLENGE_IN_MAX 1024u /* RFC 7143 §12.1.3: binary values */
#define DUMMY_SECRET_BYTES 16u

static enum login_chap_verdict
failed(struct iscsi_login *lg, const char *why)
{
	(void)login_reason(lg, "CHAP: %s", why);
	return CHAP_FAILED;
}

/* Adds a binary value as 0x…; §6.1. */
static void
add_binary(struct iscsi_text_out *out, const char *key, const uint8_t *bytes, size_t len)
{
	char hex[2 + 2 * 64 + 1] = "0x";
	ASSERT(len > 0 && len <= 64);
	for (size_t i = 0; i < len; i++)
		(void)snprintf(hex + 2 + 2 * i, 3, "%02x", bytes[i]);
	iscsi_text_add(out, key, hex);
}

/* Is `alg` among the comma separated numbers? */
static bool
offered(const char *list, unsigned alg)
{
	for (;;) {
		size_t n = strcspn(list, ",");
		char number[8];
		uint64_t v;
		if (n > 0 && n < sizeof number) {
			memcpy(number, list, n);
			number[n] = '\0';
			if (iscsi_text_number(number, 255, &v) == 0 && v == alg)
				return true;
		}
		if (list[n] == '\0')
			return false;
		list += n + 1;
	}
}

/* The strongest that both know. The library may lack some: it is asked. */
static bool
choose_algorithm(struct login_chap *c)
{
	static const enum iscsi_chap_alg order[] = {
	    CHAP_SHA3_256, CHAP_SHA256, CHAP_SHA1, CHAP_MD5};
	uint8_t hash[ISCSI_CHAP_HASH_MAX];
	for (unsigned i = 0; i < sizeof order / sizeof order[0]; i++) {
		if (offered(c->in_a, order[i]) &&
		    iscsi_chap_hash(order[i], 0, "", 0, "", 0, hash) > 0) {
			c->alg = order[i];
			return true;
		}
	}
	return false;
}

static enum login_chap_verdict
send_challenge(struct iscsi_login *lg)
{
	struct login_chap *c = &lg->chap;
	if (!c->in_a || c->in_i || c->in_c || c->in_n || c->in_r)
		return failed(lg, "keys out of order");
	if (!choose_algorithm(c))
		return failed(lg, "no algorithm in common");
	lg->env.random(lg->env.ctx, &c->id, 1);
	lg->env.random(lg->env.ctx, c->challenge, sizeof c->challenge);
	c->state = CHAP_WANT_RESPONSE;
	iscsi_text_addf(&lg->out, "CHAP_A", "%d", (int)c->alg);
	iscsi_text_addf(&lg->out, "CHAP_I", "%u", c->id);
	add_binary(&lg->out, "CHAP_C", c->challenge, sizeof c->challenge);
	return CHAP_GO_ON;
}

/* Among those that may log in here; looks at all of them in any case. */
static const struct iscsi_user *
find_user(const struct iscsi_login *lg, const char *name)
{
	const struct iscsi_group *g = lg->result.group;
	const struct iscsi_config *config = lg->env.config;
	unsigned count = g ? g->user_count : config->discovery_user_count;
	ASSERT(g || lg->result.discovery);
	const struct iscsi_user *found = NULL;
	size_t len = strlen(name);
	for (unsigned i = 0; i < count; i++) {
		const struct iscsi_user *u = g ? g->users[i] : &config->discovery_users[i];
		if (strlen(u->name) == len && text_equal_const_time(u->name, name, len))
			found = u;
	}
	return found;
}

/* The user whose secret made the response, or NULL. */
static const struct iscsi_user *
verify(struct iscsi_login *lg)
{
	struct login_chap *c = &lg->chap;
	uint8_t response[ISCSI_CHAP_HASH_MAX] = {0}, hash[ISCSI_CHAP_HASH_MAX] = {0};
	uint8_t dummy[DUMMY_SECRET_BYTES];
	size_t response_len = 0;
	lg->env.random(lg->env.ctx, dummy, sizeof dummy);

	const struct iscsi_user *u = find_user(lg, c->in_n);
	bool well_formed =
	    iscsi_text_binary(c->in_r, response, sizeof response, &response_len) == 0;
	size_t len = iscsi_chap_hash(c->alg, c->id, u ? u->secret : dummy,
	    u ? u->secret_len : sizeof dummy, c->challenge, sizeof c->challenge, hash);
	bool equal = text_equal_const_time(response, hash, sizeof hash);
	explicit_bzero(hash, sizeof hash);
	return equal && well_formed && len > 0 && response_len == len ? u : NULL;
}

/* The initiator wants to know who we are. `theirs` is its challenge. */
static enum login_chap_verdict
prove_ourselves(
    struct iscsi_login *lg, const struct iscsi_user *u, const uint8_t *theirs, size_t theirs_len)
{
	struct login_chap *c = &lg->chap;
	uint8_t hash[ISCSI_CHAP_HASH_MAX];
	uint64_t id;
	if (iscsi_text_number(c->in_i, 255, &id) < 0)
		return failed(lg, "malformed identifier");
	if (!u->mutual_secret)
		return failed(lg, "the initiator wants mutual CHAP, none is configured");
	size_t len = iscsi_chap_hash(
	    c->alg, (uint8_t)id, u->mutual_secret, u->mutual_secret_len, theirs, theirs_len, hash);
	if (len == 0)
		return failed(lg, "the hash can't be computed");
	iscsi_text_add(&lg->out, "CHAP_N", u->mutual_name);
	add_binary(&lg->out, "CHAP_R", hash, len);
	return CHAP_GO_ON;
}

static enum login_chap_verdict
check_response(struct iscsi_login *lg)
{
	struct login_chap *c = &lg->chap;
	if (c->in_a || !c->in_n || !c->in_r || !c->in_i != !c->in_c)
		return failed(lg, "keys out of order");

	uint8_t theirs[CHALLENGE_IN_MAX];
	size_t theirs_len = 0, cap = lg->env.limits->chap_value_max_bytes;
	if (cap > sizeof theirs)
		cap = sizeof theirs;
	if (c->in_c) {
		if (iscsi_text_binary(c->in_c, theirs, cap, &theirs_len) < 0)
			return failed(lg, "malformed challenge");
		/* §9.2.1: else somebody could let us answer our own question. */
		bool ours = theirs_len == sizeof c->challenge &&
		            memcmp(theirs, c->challenge, theirs_len) == 0;
		if (ours || (lg->env.challenge_known &&
		                lg->env.challenge_known(lg->env.ctx, theirs, theirs_len))) {
			(void)failed(lg, "reflected challenge");
			return CHAP_REFLECTED;
		}
	}
	/* Before anything is computed with the secret that proves us. */
	const struct iscsi_user *u = verify(lg);
	if (!u)
		return failed(lg, "unknown user or wrong secret");
	if (c->in_c) {
		enum login_chap_verdict v = prove_ourselves(lg, u, theirs, theirs_len);
		if (v != CHAP_GO_ON)
			return v;
	}
	c->state = CHAP_DONE;
	explicit_bzero(c->challenge, sizeof c->challenge);
	lg->result.user = u->name;
	return CHAP_GO_ON;
}

enum login_chap_verdict
login_chap_step(struct iscsi_login *lg)
{
	switch (lg->chap.state) {
	case CHAP_WANT_ALGORITHM:
		return send_challenge(lg);
	case CHAP_WANT_RESPONSE:
		return check_response(lg);
	case CHAP_OFF:
	case CHAP_DONE:
		break;
	}
	return failed(lg, "keys out of order");
}
