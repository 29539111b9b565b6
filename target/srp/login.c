/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What becomes of a login: a table of checks in order, the first that fails is the answer. Names and
 * reasons: SRP r16a table 16, as Linux's initiator prints them.
 */
#include "srp/login.h"

#include <stddef.h>

/* What the checks look at and find. */
struct subject {
	const struct srp_login_env *env;
	const struct srp_login *req;
	struct srp_grant grant;
};

static bool
multi(const struct srp_login *req)
{
	return (req->flags & SRP_LOGIN_MULTI_MASK) == SRP_LOGIN_MULTI;
}

/* NULL: fine; else why not. */
typedef const char *check_fn(struct subject *s);

static const char *
check_stopping(struct subject *s)
{
	return s->env->stopping ? "the target is stopping" : NULL;
}

static const char *
check_target(struct subject *s)
{
	s->grant.target = srp_config_find(s->env->config, s->req->target_port);
	return s->grant.target == NULL ? "no target has these identifiers" : NULL;
}

static const char *
check_access(struct subject *s)
{
	char name[SRP_NAME_CAP];
	srp_initiator_name(s->req->initiator_port, name);
	return srp_access_grant(
	    s->env->config, s->grant.target, name, &s->env->peer, s->env->portal_tag, &s->grant);
}

static const char *
check_formats(struct subject *s)
{
	return s->req->formats & (SRP_FMT_BIT_DIRECT | SRP_FMT_BIT_INDIRECT)
	           ? NULL
	           : "it has no format of buffers that we know";
}

static const char *
check_iu_short(struct subject *s)
{
	return s->req->it_iu_len < SRP_IU_MIN_BYTES ? "its information units are too short" : NULL;
}

static const char *
check_iu_long(struct subject *s)
{
	return s->req->it_iu_len > s->env->limits->it_iu_max_bytes
	           ? "its information units are too long"
	           : NULL;
}

static const char *
check_multi(struct subject *s)
{
	return (s->req->flags & SRP_LOGIN_MULTI_MASK) > SRP_LOGIN_MULTI
	           ? "its multichannel action is not known"
	           : NULL;
}

static const char *
check_takeover(struct subject *s)
{
	const struct srp_login_env *e = s->env;
	if (e->channels == 0 || !e->session_elsewhere || !e->limits->same_address_only)
		return NULL;
	return "a session of this initiator port comes from another address";
}

static const char *
check_joinable(struct subject *s)
{
	const struct srp_login_env *e = s->env;
	if (e->channels == 0 || !multi(s->req))
		return NULL;
	if (e->session_ending)
		return "its session is ending";
	if (e->session_elsewhere)
		return "its session comes from another address";
	return e->session_other_view ? "its session was granted something else" : NULL;
}

static const char *
check_channels(struct subject *s)
{
	const struct srp_login_env *e = s->env;
	return multi(s->req) && e->channels >= e->limits->channels_per_session_max
	           ? "too many channels of this session"
	           : NULL;
}

static const char *
check_resources(struct subject *s)
{
	const struct srp_login_env *e = s->env;
	const struct srp_limits *l = e->limits;
	bool is_new = e->channels == 0;
	if (e->pending >= l->pending_max)
		return "too many logins under way";
	if (e->channels_all >= l->channels_max)
		return "too many channels";
	if (is_new && e->sessions >= l->sessions_max)
		return "too many sessions";
	if (is_new && e->sessions_from_addr >= l->sessions_per_addr_max)
		return "too many sessions from this address";
	return NULL;
}

static const struct {
	check_fn *check;
	enum srp_login_reason reason;
} checks[] = {
    {check_stopping, SRP_REJ_RESOURCES},
    {check_target, SRP_REJ_NEXUS},
    {check_access, SRP_REJ_NEXUS},
    {check_formats, SRP_REJ_FORMATS},
    {check_iu_short, SRP_REJ_UNSPECIFIED},
    {check_iu_long, SRP_REJ_IU_LEN},
    {check_multi, SRP_REJ_MULTI},
    {check_takeover, SRP_REJ_NEXUS},
    {check_joinable, SRP_REJ_MULTI},
    {check_channels, SRP_REJ_CHANNELS},
    {check_resources, SRP_REJ_RESOURCES},
};

/* An offset that makes no sense is no reason to refuse: there is no immediate data then. */
static uint16_t
immediate_offset(const struct srp_login *req)
{
	uint16_t at = req->imm_data_offset;
	if (!(req->flags & SRP_LOGIN_IMMEDIATE) || at < sizeof(struct srp_cmd) + 4 ||
	    at > SRP_IMM_OFFSET_MAX || at >= req->it_iu_len)
		return 0;
	return at;
}

const char *
srp_login_decide(const struct srp_login_env *env, const struct srp_login *req,
    struct srp_login_result *ret, enum srp_login_reason *ret_reason)
{
	struct subject s = {.env = env, .req = req};
	for (size_t i = 0; i < sizeof checks / sizeof checks[0]; i++) {
		const char *why = checks[i].check(&s);
		if (why != NULL) {
			*ret_reason = checks[i].reason;
			return why;
		}
	}
	*ret = (struct srp_login_result){
	    .grant = s.grant,
	    .joins = env->channels > 0 && multi(req),
	    .ends = env->channels > 0 && !multi(req),
	    .imm_data_offset = immediate_offset(req),
	};
	ret->rsp_flags = ret->joins  ? SRP_LOGIN_RSP_MAINTAINED
	                 : ret->ends ? SRP_LOGIN_RSP_TERMINATED
	                             : SRP_LOGIN_RSP_NONE;
	if (ret->imm_data_offset != 0)
		ret->rsp_flags |= SRP_LOGIN_IMMEDIATE;
	return NULL;
}
