/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The login phase of one connection, RFC 7143 §6.3: requests in, answers and verdicts out. The
 * order of checks is part of the security: first who and where (a target that isn't for this
 * initiator answers like one that doesn't exist), then CHAP, then whether a session can be joined,
 * and only then anything that is negotiated.
 */
#include "iscsi/login.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

#define OUT_MAX 8192u /* MaxRecvDataSegmentLength of the other side while it isn't declared */

struct iscsi_login *
iscsi_login_create(const struct iscsi_login_env *env)
{
	ASSERT(env->config && env->limits && env->random);
	size_t pairs = env->limits->login_keys_max * sizeof(struct iscsi_pair);
	size_t text = env->limits->login_text_max_bytes;
	struct iscsi_login *lg = calloc(1, sizeof *lg + pairs + OUT_MAX + text);
	if (!lg)
		return NULL;
	lg->env = *env;
	lg->pairs = (struct iscsi_pair *)(void *)(lg + 1);
	lg->out = (struct iscsi_text_out){.buf = (char *)(lg + 1) + pairs, .cap = OUT_MAX};
	lg->in = lg->out.buf + OUT_MAX;
	iscsi_negotiation_init(&lg->neg, NULL);
	return lg;
}

void
iscsi_login_destroy(struct iscsi_login *lg)
{
	if (!lg)
		return;
	explicit_bzero(lg->in, lg->env.limits->login_text_max_bytes);
	explicit_bzero(lg->out.buf, OUT_MAX);
	explicit_bzero(&lg->chap, sizeof lg->chap);
	free(lg);
}

const char *
iscsi_login_text(const struct iscsi_login *lg, size_t *ret_len)
{
	*ret_len = lg->out.len;
	return lg->out.buf;
}

const struct iscsi_login_result *
iscsi_login_result(const struct iscsi_login *lg)
{
	ASSERT(lg->state == LS_PLACE || lg->state == LS_FULL || lg->state == LS_ENDED);
	return &lg->result;
}

const char *
iscsi_login_reason(const struct iscsi_login *lg)
{
	return lg->reason;
}

const char *
iscsi_login_initiator(const struct iscsi_login *lg)
{
	return lg->initiator;
}

const char *
iscsi_login_target(const struct iscsi_login *lg)
{
	return lg->target;
}

const uint8_t *
iscsi_login_challenge(const struct iscsi_login *lg, size_t *ret_len)
{
	*ret_len = lg->chap.state == CHAP_WANT_RESPONSE ? sizeof lg->chap.challenge : 0;
	return lg->chap.challenge;
}

bool
login_reason(struct iscsi_login *lg, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	(void)vsnprintf(lg->reason, sizeof lg->reason, fmt, ap);
	va_end(ap);
	return false;
}

/* The only place that changes the state. False: the event has no place in it. */
static bool
move(struct iscsi_login *lg, enum login_event event)
{
	enum login_state next = login_next_state(lg->state, event);
	if (next == LS_COUNT)
		return false;
	log_debug("iscsi", "login state=%s event=%d next=%s", login_state_to_string(lg->state),
	    (int)event, login_state_to_string(next));
	lg->state = next;
	return true;
}

/* ---- answers --------------------------------------------------------------------------------------- */

static void
fill_rsp(const struct iscsi_login *lg, struct iscsi_login_rsp *rsp)
{
	*rsp = (struct iscsi_login_rsp){.opcode = ISCSI_OP_LOGIN_RSP};
	memcpy(rsp->isid, lg->isid, sizeof rsp->isid);
	be16_put(&rsp->tsih, lg->tsih);
	be32_put(&rsp->itt, lg->itt);
}

static enum iscsi_login_verdict
refuse(struct iscsi_login *lg, struct iscsi_login_rsp *rsp, enum iscsi_login_status status)
{
	ASSERT(status != ISCSI_LOGIN_SUCCESS);
	(void)move(lg, LE_FAILED);
	lg->out.len = 0;
	fill_rsp(lg, rsp);
	rsp->status_class = (uint8_t)(status >> 8);
	rsp->status_detail = (uint8_t)status;
	return LOGIN_REFUSE;
}

static enum iscsi_login_verdict
drop(struct iscsi_login *lg)
{
	(void)move(lg, LE_FAILED);
	lg->out.len = 0;
	return LOGIN_DROP;
}

/* An answer with status 0; `flags` without T keep the stage. */
static enum iscsi_login_verdict
respond(struct iscsi_login *lg, struct iscsi_login_rsp *rsp, uint8_t flags)
{
	if (lg->out.overflow) {
		(void)login_reason(lg, "the answer would be too long");
		return refuse(lg, rsp, ISCSI_LOGIN_OUT_OF_RESOURCES);
	}
	fill_rsp(lg, rsp);
	rsp->flags = flags;
	be24_put(&rsp->data_len, (uint32_t)lg->out.len);
	be32_put(&rsp->stat_sn, lg->stat_sn++);
	return LOGIN_RESPOND;
}

/* ---- who and where ------------------------------------------------------------------------------------ */

static enum iscsi_login_status
identify_target(struct iscsi_login *lg)
{
	if (!lg->in_target) {
		(void)login_reason(lg, "TargetName is missing");
		return ISCSI_LOGIN_MISSING_PARAM;
	}
	char name[ISCSI_NAME_MAX + 1];
	const struct iscsi_target *t = NULL;
	if (iscsi_name_normalise(lg->in_target, false, name)) {
		memcpy(lg->target, name, sizeof lg->target);
		t = iscsi_config_find(lg->env.config, name);
	}
	const struct iscsi_group *g = NULL;
	/* Absent, elsewhere or not for this initiator: the peer can't tell, our log can. */
	if (!t || !iscsi_access_admits(&lg->env, t, lg->initiator, &g)) {
		(void)login_reason(lg, t ? "not admitted to the target" : "no such target");
		return ISCSI_LOGIN_NOT_FOUND;
	}
	lg->result.target = t;
	lg->result.group = g;
	lg->result.view = g ? g->view : t->open_view;
	lg->needs_auth = g && g->user_count > 0;
	iscsi_negotiation_offer(&lg->neg, &t->offer);
	/* §13.9: in the first answer of a session with a target. */
	iscsi_text_addf(&lg->out, "TargetPortalGroupTag", "%u", lg->env.portal_tag);
	return ISCSI_LOGIN_SUCCESS;
}

/*
 * TSIH says "join that session". With MaxConnections=1 there is never room in one. Asked only when
 * the peer is authenticated: it learns whether a session exists.
 */
static enum iscsi_login_status
check_joining(struct iscsi_login *lg)
{
	if (lg->tsih == 0)
		return ISCSI_LOGIN_SUCCESS;
	if (lg->env.session_known &&
	    lg->env.session_known(lg->env.ctx, lg->initiator, lg->isid, lg->tsih)) {
		(void)login_reason(lg, "a session has one connection");
		return ISCSI_LOGIN_TOO_MANY_CONNS;
	}
	(void)login_reason(lg, "no session to join");
	return ISCSI_LOGIN_NO_SESSION;
}

/* The first complete request: its early keys are in in_initiator, in_session_type, in_target. */
static enum iscsi_login_status
identify(struct iscsi_login *lg)
{
	ASSERT(!lg->identified);
	lg->identified = true;
	if (!lg->in_initiator) {
		(void)login_reason(lg, "InitiatorName is missing");
		return ISCSI_LOGIN_MISSING_PARAM;
	}
	if (!iscsi_name_normalise(lg->in_initiator, false, lg->initiator)) {
		(void)login_reason(lg, "InitiatorName is not an iSCSI name");
		return ISCSI_LOGIN_INITIATOR_ERROR;
	}
	bool discovery = lg->in_session_type && strcmp(lg->in_session_type, "Discovery") == 0;
	if (lg->in_session_type && !discovery && strcmp(lg->in_session_type, "Normal") != 0) {
		(void)login_reason(lg, "SessionType is neither Normal nor Discovery");
		return ISCSI_LOGIN_BAD_SESSION_TYPE;
	}
	lg->neg.discovery = lg->result.discovery = discovery;
	if (!discovery) {
		enum iscsi_login_status status = identify_target(lg);
		if (status != ISCSI_LOGIN_SUCCESS)
			return status;
	} else if (!subnet_list_allows(&lg->env.config->acl, &lg->env.peer)) {
		(void)login_reason(lg, "address not allowed");
		return ISCSI_LOGIN_FORBIDDEN;
	} else {
		lg->needs_auth = lg->env.config->discovery_user_count > 0;
	}
	if (lg->needs_auth && lg->state != LS_SECURITY) {
		(void)login_reason(lg, "authentication is required");
		return ISCSI_LOGIN_AUTH_FAILED;
	}
	return lg->needs_auth ? ISCSI_LOGIN_SUCCESS : check_joining(lg);
}

/* ---- keys ------------------------------------------------------------------------------------------------ */

/* Where the value of a key that isn't negotiated by the table is put; NULL: nobody needs it. */
static const char **
value_slot(struct iscsi_login *lg, enum iscsi_key key)
{
	switch (key) {
	case ISCSI_KEY_INITIATOR_NAME:
		return &lg->in_initiator;
	case ISCSI_KEY_TARGET_NAME:
		return &lg->in_target;
	case ISCSI_KEY_SESSION_TYPE:
		return &lg->in_session_type;
	case ISCSI_KEY_AUTH_METHOD:
		return &lg->in_auth;
	case ISCSI_KEY_CHAP_A:
		return &lg->chap.in_a;
	case ISCSI_KEY_CHAP_I:
		return &lg->chap.in_i;
	case ISCSI_KEY_CHAP_C:
		return &lg->chap.in_c;
	case ISCSI_KEY_CHAP_N:
		return &lg->chap.in_n;
	case ISCSI_KEY_CHAP_R:
		return &lg->chap.in_r;
	default:
		return NULL;
	}
}

/*
 * libiscsi says who it is again after AuthMethod=None was agreed. Saying the same again changes
 * nothing; saying something else is refused where keys are looked at.
 */
static bool
says_same_again(const struct iscsi_login *lg, const struct iscsi_pair *p)
{
	char name[ISCSI_NAME_MAX + 1];

	if (!lg->identified)
		return false;
	switch (iscsi_key_find(p->key)) {
	case ISCSI_KEY_INITIATOR_NAME:
		return iscsi_name_normalise(p->value, false, name) &&
		       strcmp(name, lg->initiator) == 0;
	case ISCSI_KEY_TARGET_NAME:
		return !lg->result.discovery && iscsi_name_normalise(p->value, false, name) &&
		       strcmp(name, lg->target) == 0;
	case ISCSI_KEY_SESSION_TYPE:
		return strcmp(p->value, lg->result.discovery ? "Discovery" : "Normal") == 0;
	case ISCSI_KEY_INITIATOR_ALIAS: /* nobody looks at it */
		return (lg->neg.seen & 1ull << ISCSI_KEY_INITIATOR_ALIAS) != 0;
	default:
		return false;
	}
}

static bool
take_rank(struct iscsi_login *lg, unsigned count, unsigned rank, unsigned at)
{
	for (unsigned i = 0; i < count; i++) {
		const struct iscsi_pair *p = &lg->pairs[i];
		if (iscsi_key_rank(p->key) != rank || says_same_again(lg, p))
			continue;
		enum iscsi_key key = ISCSI_KEY_COUNT;
		enum iscsi_negotiate r =
		    iscsi_negotiate_key(&lg->neg, at, p->key, p->value, &lg->out, &key);
		if (r == NEGOTIATE_ERROR)
			return login_reason(lg, "%s", lg->neg.reason);
		const char **slot = r == NEGOTIATE_VALUE ? value_slot(lg, key) : NULL;
		if (slot)
			*slot = p->value;
	}
	return true;
}

static enum iscsi_login_status
take_keys(struct iscsi_login *lg, char *text, size_t len)
{
	lg->in_initiator = lg->in_target = lg->in_session_type = lg->in_auth = NULL;
	lg->chap.in_a = lg->chap.in_i = lg->chap.in_c = lg->chap.in_n = lg->chap.in_r = NULL;

	ASSERT(lg->key_count <= lg->env.limits->login_keys_max);
	int count =
	    iscsi_text_pairs(text, len, lg->pairs, lg->env.limits->login_keys_max - lg->key_count);
	if (count < 0) {
		(void)login_reason(lg, count == -E2BIG ? "too many keys" : "malformed text");
		return ISCSI_LOGIN_INITIATOR_ERROR;
	}
	lg->key_count += (unsigned)count;
	unsigned at = lg->state == LS_SECURITY ? KEY_AT_SECURITY : KEY_AT_OPERATIONAL;
	if (!lg->identified)
		at |= KEY_AT_FIRST;
	for (unsigned rank = 0; rank < ISCSI_RANKS; rank++) {
		if (!take_rank(lg, (unsigned)count, rank, at))
			return ISCSI_LOGIN_INITIATOR_ERROR;
		if (lg->identified)
			continue;
		enum iscsi_login_status status = identify(lg);
		if (status != ISCSI_LOGIN_SUCCESS)
			return status;
	}
	return ISCSI_LOGIN_SUCCESS;
}

/* ---- security stage ---------------------------------------------------------------------------------------- */

static bool
list_has(const char *list, const char *word)
{
	size_t len = strlen(word);
	for (;;) {
		size_t n = strcspn(list, ",");
		if (n == len && memcmp(list, word, len) == 0)
			return true;
		if (list[n] == '\0')
			return false;
		list += n + 1;
	}
}

/* §12.1: of what is offered, CHAP where it is required, None where it isn't. */
static bool
choose_method(struct iscsi_login *lg)
{
	const char *method = lg->needs_auth ? "CHAP" : "None";
	if (!list_has(lg->in_auth, method))
		return login_reason(lg, "AuthMethod=%s was not offered", method);
	lg->method_agreed = true;
	if (lg->needs_auth)
		lg->chap.state = CHAP_WANT_ALGORITHM;
	iscsi_text_add(&lg->out, "AuthMethod", method);
	return true;
}

/*
 * LOGIN_RESPOND when the answer is ready; *ret_ready: the stage can be left. CHAP's keys first:
 * those in the same request as AuthMethod come before it was agreed, which is out of order.
 */
static enum iscsi_login_verdict
security(struct iscsi_login *lg, bool transit, struct iscsi_login_rsp *rsp, bool *ret_ready)
{
	struct login_chap *c = &lg->chap;
	bool any = c->in_a || c->in_i || c->in_c || c->in_n || c->in_r;
	enum login_chap_state before = c->state;
	if (any) {
		enum login_chap_verdict v = login_chap_step(lg);
		if (v != CHAP_GO_ON && lg->env.auth_failed)
			lg->env.auth_failed(lg->env.ctx);
		if (v == CHAP_REFLECTED)
			return drop(lg);
		if (v == CHAP_FAILED)
			return refuse(lg, rsp, ISCSI_LOGIN_AUTH_FAILED);
	}
	if (lg->in_auth && !choose_method(lg))
		return refuse(lg, rsp, ISCSI_LOGIN_AUTH_FAILED);

	*ret_ready = !lg->needs_auth || c->state == CHAP_DONE;
	if (transit && !*ret_ready && c->state == before) {
		(void)login_reason(lg, "authentication is required");
		return refuse(lg, rsp, ISCSI_LOGIN_AUTH_FAILED);
	}
	if (c->state == CHAP_DONE && before != CHAP_DONE) {
		enum iscsi_login_status status = check_joining(lg);
		if (status != ISCSI_LOGIN_SUCCESS)
			return refuse(lg, rsp, status);
	}
	return LOGIN_RESPOND;
}

/* ---- operational stage ---------------------------------------------------------------------------------------- */

static void
declare(struct iscsi_login *lg)
{
	if (lg->declared)
		return;
	lg->declared = true;
	iscsi_text_addf(
	    &lg->out, "MaxRecvDataSegmentLength", "%u", lg->neg.mine[ISCSI_KEY_MAX_RECV]);
	if (lg->result.target && lg->result.target->alias)
		iscsi_text_add(&lg->out, "TargetAlias", lg->result.target->alias);
}

/* Everything is agreed: what iscsi_login_result() shows. */
static bool
complete(struct iscsi_login *lg)
{
	struct iscsi_login_result *r = &lg->result;
	if (!iscsi_negotiation_finish(&lg->neg, &r->params))
		return login_reason(lg, "%s", lg->neg.reason);
	if (lg->declared)
		r->params.max_recv_bytes = lg->neg.mine[ISCSI_KEY_MAX_RECV];
	r->initiator = lg->initiator;
	if (!r->user)
		r->user = "";
	memcpy(r->isid, lg->isid, sizeof r->isid);
	r->tsih = lg->tsih;
	r->cid = lg->cid;
	r->itt = lg->itt;
	r->cmd_sn = lg->cmd_sn; /* Login Requests are immediate: CmdSN doesn't move */
	r->stat_sn = lg->stat_sn + 1;
	return true;
}

/* ---- one request ------------------------------------------------------------------------------------------------ */

/* A whole request, however many PDUs it came in. */
static enum iscsi_login_verdict
request(struct iscsi_login *lg, uint8_t flags, char *text, size_t len, struct iscsi_login_rsp *rsp)
{
	bool transit = flags & ISCSI_LOGIN_TRANSIT, ready = true;
	uint8_t csg = (uint8_t)(ISCSI_LOGIN_CSG(flags) << 2), nsg = ISCSI_LOGIN_NSG(flags);

	enum iscsi_login_status status = take_keys(lg, text, len);
	if (status != ISCSI_LOGIN_SUCCESS)
		return refuse(lg, rsp, status);
	if (lg->state == LS_SECURITY) {
		enum iscsi_login_verdict v = security(lg, transit, rsp, &ready);
		if (v != LOGIN_RESPOND)
			return v;
	} else {
		declare(lg);
	}
	if (!transit || !ready)
		return respond(lg, rsp, csg);

	uint8_t agreed = ISCSI_LOGIN_TRANSIT | csg | nsg;
	if (nsg == ISCSI_STAGE_OPERATIONAL) {
		bool moved = move(lg, LE_AGREED_OPERATIONAL);
		ASSERT(moved);
		return respond(lg, rsp, agreed);
	}
	if (!complete(lg))
		return refuse(lg, rsp, ISCSI_LOGIN_INITIATOR_ERROR);
	if (lg->out.overflow)
		return respond(lg, rsp, agreed);
	bool moved = move(lg, LE_AGREED_FULL);
	ASSERT(moved);
	lg->final_flags = agreed;
	fill_rsp(lg, rsp);
	return LOGIN_PLACE;
}

/* What must be the same in all requests of a login, §6.3.1, §11.12. */
static bool
check_header(struct iscsi_login *lg, const struct iscsi_login_req *req)
{
	if (lg->state == LS_FIRST) {
		memcpy(lg->isid, req->isid, sizeof lg->isid);
		lg->tsih = be16_get(req->tsih);
		lg->cid = be16_get(req->cid);
		lg->itt = be32_get(req->itt);
		lg->cmd_sn = be32_get(req->cmd_sn);
		/* §11.12.9: any start is right; the number it expects is the most helpful. */
		lg->stat_sn = be32_get(req->exp_stat_sn);
	} else if (memcmp(lg->isid, req->isid, sizeof lg->isid) != 0 ||
	           be16_get(req->tsih) != lg->tsih || be16_get(req->cid) != lg->cid ||
	           be32_get(req->itt) != lg->itt) {
		return login_reason(lg, "ISID, TSIH, CID or task tag changed");
	}
	if (lg->itt == ISCSI_TAG_NONE)
		return login_reason(lg, "reserved task tag");
	if (req->total_ahs_len != 0)
		return login_reason(lg, "additional header segments");
	return true;
}

static bool
collect(struct iscsi_login *lg, const char *data, size_t len)
{
	if (len > lg->env.limits->login_text_max_bytes - lg->in_len)
		return login_reason(lg, "too much text");
	if (len > 0)
		memcpy(lg->in + lg->in_len, data, len);
	lg->in_len += len;
	return true;
}

enum iscsi_login_verdict
iscsi_login_pdu(struct iscsi_login *lg, const struct iscsi_login_req *req, char *data, size_t len,
    struct iscsi_login_rsp *rsp)
{
	lg->out.len = 0;
	bool is_login = (req->opcode & ISCSI_OPCODE_MASK) == ISCSI_OP_LOGIN_REQ;
	if (lg->state >= LS_PLACE || (!is_login && lg->state == LS_FIRST)) {
		(void)login_reason(lg, "not a Login Request");
		return drop(lg);
	}
	if (!is_login) {
		(void)login_reason(lg, "not a Login Request");
		return refuse(lg, rsp, ISCSI_LOGIN_BAD_DURING_LOGIN);
	}
	if (!check_header(lg, req))
		return refuse(lg, rsp, ISCSI_LOGIN_INITIATOR_ERROR);
	if (req->version_min > 0) {
		(void)login_reason(lg, "unsupported version");
		return refuse(lg, rsp, ISCSI_LOGIN_BAD_VERSION);
	}
	if (!move(lg, login_event_of(req->flags))) {
		(void)login_reason(lg, "stage out of order");
		return refuse(lg, rsp, ISCSI_LOGIN_INITIATOR_ERROR);
	}
	if (!collect(lg, data, len))
		return refuse(lg, rsp, ISCSI_LOGIN_INITIATOR_ERROR);
	/* §6.2: the answer to a part is empty. */
	if (req->flags & ISCSI_LOGIN_CONTINUE)
		return respond(lg, rsp, (uint8_t)(ISCSI_LOGIN_CSG(req->flags) << 2));
	size_t in_len = lg->in_len;
	lg->in_len = 0;
	return request(lg, req->flags, lg->in, in_len, rsp);
}

enum iscsi_login_verdict
iscsi_login_finish(struct iscsi_login *lg, enum iscsi_login_status status, uint16_t tsih,
    struct iscsi_login_rsp *rsp)
{
	ASSERT(lg->state == LS_PLACE);
	if (status != ISCSI_LOGIN_SUCCESS) {
		(void)login_reason(lg, "the session can't be placed");
		return refuse(lg, rsp, status);
	}
	ASSERT(tsih != 0);
	bool moved = move(lg, LE_PLACED);
	ASSERT(moved);
	lg->tsih = tsih;
	return respond(lg, rsp, lg->final_flags);
}
