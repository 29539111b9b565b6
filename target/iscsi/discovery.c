/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Text requests in the full feature phase, RFC 7143 §11.10, §11.11, and SendTargets, appendix C.
 *
 * An exchange begins with a request without target transfer tag and lives until both sides said F.
 * It is collected over C bits into `in`; its answer lies in `out` and leaves in parts that fit the
 * initiator's MaxRecvDataSegmentLength. A new request without tag abandons what was under way.
 *
 * What a discovery session is shown: targets that its initiator name, from its address, on its
 * portal could log in to. Where a target wants CHAP and the discovery session was authenticated, the
 * user must be one that the target knows for this initiator; a session without CHAP has no user to
 * compare.
 */
#include "iscsi/login.h"

#include <errno.h>
#include <netinet/in.h>
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OUT_START 8192u
#define OUT_MAX (16u << 20) /* ten thousands of targets */
#define PART_MAX 65536u     /* of an answer in one PDU */
#define PAIRS_MAX 64u
#define ADDRESS_MAX (INET6_ADDRSTRLEN + 16u) /* "[…]:65535,65535" */

/* ---- portal addresses ------------------------------------------------------------------------- */

/* An address as bytes; IPv4 where it is mapped into IPv6. */
struct address {
	int family;
	uint8_t bytes[16];
	uint16_t port;
};

static bool
address_of(const struct sockaddr_storage *ss, struct address *ret)
{
	static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
	*ret = (struct address){.family = ss->ss_family};
	if (ss->ss_family == AF_INET) {
		struct sockaddr_in in;
		memcpy(&in, ss, sizeof in);
		memcpy(ret->bytes, &in.sin_addr, 4);
		ret->port = ntohs(in.sin_port);
		return true;
	}
	if (ss->ss_family != AF_INET6)
		return false;
	struct sockaddr_in6 in6;
	memcpy(&in6, ss, sizeof in6);
	ret->port = ntohs(in6.sin6_port);
	memcpy(ret->bytes, &in6.sin6_addr, 16);
	if (memcmp(ret->bytes, mapped, sizeof mapped) == 0) {
		ret->family = AF_INET;
		memmove(ret->bytes, ret->bytes + 12, 4);
		memset(ret->bytes + 4, 0, 12);
	}
	return true;
}

static bool
is_any(const struct address *a)
{
	static const uint8_t zero[16];
	return memcmp(a->bytes, zero, sizeof zero) == 0;
}

static bool
is_loopback(const struct address *a)
{
	static const uint8_t one[16] = {[15] = 1};
	return a->family == AF_INET ? a->bytes[0] == 127 : memcmp(a->bytes, one, 16) == 0;
}

/*
 * A portal as this peer can use it. One bound to the wildcard address is shown as the address that
 * the connection came to, where that is of a family it accepts: `::` also takes IPv4. One on the
 * loopback is of no use to somebody who came over the network.
 */
static bool
portal_address(
    const struct iscsi_login_env *env, const struct iscsi_portal_addr *p, struct address *ret)
{
	struct address local, a;
	if (!address_of(&env->local, &local) || !address_of(&p->addr, &a))
		return false;
	if (is_any(&a)) {
		if (a.family == AF_INET && local.family != AF_INET)
			return false;
		if (a.family == AF_INET6 && local.family == AF_INET &&
		    env->local.ss_family != AF_INET6)
			return false;
		local.port = a.port;
		*ret = local;
		return true;
	}
	if (is_loopback(&a) && !is_loopback(&local))
		return false;
	*ret = a;
	return true;
}

static bool
same_address(const struct address *a, const struct address *b)
{
	return a->family == b->family && a->port == b->port && memcmp(a->bytes, b->bytes, 16) == 0;
}

/* Is portal `i` shown already by an earlier one (a wildcard and the address itself)? */
static bool
shown_before(const struct iscsi_login_env *env, unsigned i, const struct address *a)
{
	for (unsigned k = 0; k < i; k++) {
		struct address b;
		if (env->portals[k].tag == env->portals[i].tag &&
		    portal_address(env, &env->portals[k], &b) && same_address(a, &b))
			return true;
	}
	return false;
}

static void
add_address(struct iscsi_text_out *out, const struct address *a, uint16_t tag)
{
	char host[INET6_ADDRSTRLEN];
	const char *r = inet_ntop(a->family, a->bytes, host, sizeof host);
	ASSERT(r != NULL);
	char text[ADDRESS_MAX];
	int n = a->family == AF_INET6
	            ? snprintf(text, sizeof text, "[%s]:%u,%u", host, a->port, tag)
	            : snprintf(text, sizeof text, "%s:%u,%u", host, a->port, tag);
	ASSERT(n > 0 && (size_t)n < sizeof text);
	iscsi_text_add(out, "TargetAddress", text);
}

/* ---- SendTargets ---------------------------------------------------------------------------------- */

/* A target and where it is reached; one that isn't reached anywhere isn't named. */
static void
add_target(
    struct iscsi_text_out *out, const struct iscsi_login_env *env, const struct iscsi_target *t)
{
	bool named = false;
	for (unsigned i = 0; i < env->portal_count; i++) {
		struct address a;
		const struct iscsi_portal_addr *p = &env->portals[i];
		if (!iscsi_target_on_tag(t, p->tag) || !portal_address(env, p, &a) ||
		    shown_before(env, i, &a))
			continue;
		if (!named)
			iscsi_text_add(out, "TargetName", t->name);
		named = true;
		add_address(out, &a, p->tag);
	}
}

static bool
visible(const struct iscsi_text_who *who, const struct iscsi_target *t)
{
	const struct iscsi_group *g = NULL;
	if (!who->discovery)
		return t == who->target;
	if (!iscsi_access_admits(who->env, t, who->initiator, &g))
		return false;
	return !g || g->user_count == 0 || who->user[0] == '\0' ||
	       iscsi_group_has_user(g, who->user);
}

static void
send_targets(struct iscsi_text_out *out, const struct iscsi_text_who *who, const char *value)
{
	bool all = strcmp(value, "All") == 0, own = value[0] == '\0';
	/* Appendix C: All is for discovery sessions, nothing for the others. */
	if (who->discovery ? own : all) {
		iscsi_text_add(out, "SendTargets", "Reject");
		return;
	}
	char name[ISCSI_NAME_MAX + 1] = "";
	if (!all && !own && !iscsi_name_normalise(value, false, name))
		return;
	LIST_FOREACH (l, &who->env->config->targets) {
		const struct iscsi_target *t = container_of(l, struct iscsi_target, link);
		if ((all || own || strcmp(t->name, name) == 0) && visible(who, t))
			add_target(out, who->env, t);
	}
}

/* ---- one exchange ------------------------------------------------------------------------------------ */

void
iscsi_text_session_fini(struct iscsi_text_session *ts)
{
	free(ts->out);
	free(ts->in);
	*ts = (struct iscsi_text_session){.ttt = ts->ttt};
}

static void
free_answer(struct iscsi_text_session *ts)
{
	free(ts->out);
	ts->out = NULL;
	ts->out_len = ts->out_at = 0;
}

/* The exchange fails: nothing of it is in force, §7.12. */
static int
reject(struct iscsi_text_session *ts, enum iscsi_reject_reason reason)
{
	iscsi_text_session_fini(ts);
	return (int)reason;
}

/* All keys of a request into `out`; 0 or a reject reason. `n` starts with what was seen before. */
static int
answer_keys(const struct iscsi_text_who *who, struct iscsi_negotiation *n,
    const struct iscsi_pair *pairs, int count, struct iscsi_text_out *out)
{
	for (int i = 0; i < count; i++) {
		enum iscsi_key key = ISCSI_KEY_COUNT;
		enum iscsi_negotiate r =
		    iscsi_negotiate_key(n, KEY_AT_FULL, pairs[i].key, pairs[i].value, out, &key);
		if (r == NEGOTIATE_ERROR)
			return ISCSI_REJECT_PROTOCOL;
		if (r == NEGOTIATE_VALUE && key == ISCSI_KEY_SEND_TARGETS)
			send_targets(out, who, pairs[i].value);
	}
	return 0;
}

/* Builds ts->out from a whole request. 0, a reject reason, or -ECONNRESET (memory). */
static int
build_answer(
    struct iscsi_text_session *ts, const struct iscsi_text_who *who, char *text, size_t len)
{
	struct iscsi_pair pairs[PAIRS_MAX];
	unsigned keys_max = who->env->limits->login_keys_max;
	if (keys_max > PAIRS_MAX)
		keys_max = PAIRS_MAX;
	if (ts->key_count > keys_max)
		return ISCSI_REJECT_PROTOCOL;
	int count = iscsi_text_pairs(text, len, pairs, keys_max - ts->key_count);
	if (count < 0)
		return ISCSI_REJECT_PROTOCOL;
	ts->key_count += (unsigned)count;
	if (count == 0)
		return 0;

	struct iscsi_negotiation n;
	struct iscsi_text_out out = {.cap = OUT_START};
	for (;; out.cap *= 2) {
		out.buf = out.cap <= OUT_MAX ? malloc(out.cap) : NULL;
		if (!out.buf)
			return -ECONNRESET;
		out.len = 0;
		out.overflow = false;
		iscsi_negotiation_init(&n, NULL);
		n.seen = ts->seen;
		int r = answer_keys(who, &n, pairs, count, &out);
		if (r != 0) {
			free(out.buf);
			return r;
		}
		if (!out.overflow)
			break;
		free(out.buf);
	}
	uint64_t fresh = n.seen & ~ts->seen;
	ts->seen = n.seen;
	if (fresh & 1ull << ISCSI_KEY_MAX_RECV)
		ts->max_xmit_next = n.theirs[ISCSI_KEY_MAX_RECV];
	ts->out = out.buf;
	ts->out_len = out.len;
	return 0;
}

/* Appends a part to ts->in. */
static int
collect(
    struct iscsi_text_session *ts, const struct iscsi_text_who *who, const char *data, size_t len)
{
	/* The limit may change between two parts: what counts is the memory that is there. */
	if (!ts->in) {
		ts->in_cap = who->env->limits->login_text_max_bytes;
		ts->in = malloc(ts->in_cap > 0 ? ts->in_cap : 1);
	}
	if (!ts->in)
		return -ECONNRESET;
	if (len > ts->in_cap - ts->in_len)
		return ISCSI_REJECT_PROTOCOL;
	if (len > 0)
		memcpy(ts->in + ts->in_len, data, len);
	ts->in_len += len;
	return 0;
}

/* How much of the answer goes out now: whole pairs where one fits. */
static size_t
part_len(const struct iscsi_text_session *ts, size_t max)
{
	size_t left = ts->out_len - ts->out_at;
	if (left <= max)
		return left;
	const char *from = ts->out + ts->out_at;
	const char *nul = memrchr(from, '\0', max);
	return nul ? (size_t)(nul - from) + 1 : max;
}

static int
send_part(struct iscsi_text_session *ts, const struct iscsi_text_who *who, bool final,
    struct iscsi_text_rsp *rsp, const char **ret_text, size_t *ret_len)
{
	size_t max =
	    who->params->max_xmit_bytes < PART_MAX ? who->params->max_xmit_bytes : PART_MAX;
	size_t len = part_len(ts, max);
	*ret_text = ts->out ? ts->out + ts->out_at : "";
	*ret_len = len;
	ts->out_at += len;
	ASSERT(ts->out_at <= ts->out_len);

	*rsp = (struct iscsi_text_rsp){.opcode = ISCSI_OP_TEXT_RSP};
	be24_put(&rsp->data_len, (uint32_t)len);
	be32_put(&rsp->itt, ts->itt);
	be32_put(&rsp->ttt, ts->ttt);
	if (ts->out_at < ts->out_len) {
		rsp->flags = ISCSI_TEXT_CONTINUE;
		return 0;
	}
	if (!final)
		return 0;
	rsp->flags = ISCSI_FLAG_FINAL;
	be32_put(&rsp->ttt, ISCSI_TAG_NONE);
	ts->active = false;
	if (ts->max_xmit_next != 0)
		who->params->max_xmit_bytes = ts->max_xmit_next;
	return 0;
}

/* A request without tag: forgets the exchange before, takes a new tag. */
static void
begin(struct iscsi_text_session *ts, uint32_t itt)
{
	iscsi_text_session_fini(ts);
	ts->ttt = ts->ttt + 1 == ISCSI_TAG_NONE ? 0 : ts->ttt + 1;
	ts->itt = itt;
	ts->active = true;
}

int
iscsi_text_request(struct iscsi_text_session *ts, const struct iscsi_text_who *who,
    const struct iscsi_text_req *req, char *data, size_t len, struct iscsi_text_rsp *rsp,
    const char **ret_text, size_t *ret_len)
{
	bool final = req->flags & ISCSI_FLAG_FINAL, more = req->flags & ISCSI_TEXT_CONTINUE;
	uint32_t itt = be32_get(req->itt), ttt = be32_get(req->ttt);

	/* §11.10.2: a part can't be the last. §11.2.1.8: the reserved tag names no task. */
	if ((final && more) || itt == ISCSI_TAG_NONE)
		return reject(ts, ISCSI_REJECT_PROTOCOL);
	if (ttt == ISCSI_TAG_NONE)
		begin(ts, itt);
	else if (!ts->active || ttt != ts->ttt || itt != ts->itt)
		return ISCSI_REJECT_PROTOCOL;

	if (ts->out_at < ts->out_len) {
		/* §11.10.4: asks for the next part of the answer, and for nothing else. */
		if (len > 0 || more)
			return reject(ts, ISCSI_REJECT_PROTOCOL);
		return send_part(ts, who, final, rsp, ret_text, ret_len);
	}
	free_answer(ts);
	int r = more || ts->in_len > 0 ? collect(ts, who, data, len) : 0;
	if (r == 0 && !more) {
		bool collected = ts->in_len > 0;
		r = build_answer(ts, who, collected ? ts->in : data, collected ? ts->in_len : len);
		ts->in_len = 0;
	}
	if (r > 0)
		return reject(ts, (enum iscsi_reject_reason)r);
	if (r < 0)
		return r;
	return send_part(ts, who, final, rsp, ret_text, ret_len);
}
