/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The registry of sessions, on the home loop: placement, reinstatement, limits, the end of
 * sessions, and failures of authentication per address.
 *
 * A connection object is freed here when both its `gone` message has arrived and no kill message to
 * it is under way.
 */
#include "iscsi/conn.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AUTH_RECORDS 256u
#define AUTH_WINDOW_NS (60ull * 1000000000ull)

struct iscsi_auth_record {
	struct sockaddr_storage peer;
	uint64_t since_ns;
	uint32_t failures;
};

/* ---- addresses ---------------------------------------------------------------------------------- */

bool
iscsi_same_addr(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
	if (a->ss_family != b->ss_family)
		return false;
	if (a->ss_family == AF_INET)
		return memcmp(&((const struct sockaddr_in *)a)->sin_addr,
		           &((const struct sockaddr_in *)b)->sin_addr, 4) == 0;
	if (a->ss_family == AF_INET6)
		return memcmp(&((const struct sockaddr_in6 *)a)->sin6_addr,
		           &((const struct sockaddr_in6 *)b)->sin6_addr, 16) == 0;
	return true;
}

void
iscsi_format_addr(const struct sockaddr_storage *a, char *buf, size_t cap)
{
	char host[INET6_ADDRSTRLEN] = "?";
	if (a->ss_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)a;
		inet_ntop(AF_INET, &in->sin_addr, host, sizeof host);
		snprintf(buf, cap, "%s:%u", host, ntohs(in->sin_port));
	} else if (a->ss_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)a;
		inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof host);
		snprintf(buf, cap, "[%s]:%u", host, ntohs(in6->sin6_port));
	} else {
		snprintf(buf, cap, "local");
	}
}

/* ---- events --------------------------------------------------------------------------------------- */

/* Names come from the network: what isn't printable is shown as '?'. */
static void
printable(char *dst, size_t cap, const char *src)
{
	size_t i = 0;
	for (; src != NULL && src[i] != '\0' && i + 1 < cap; i++)
		dst[i] = src[i] >= 0x20 && src[i] < 0x7f ? src[i] : '?';
	dst[i] = '\0';
}

void
iscsi_raise(struct iscsi_server *s, enum iscsi_event_kind kind, const char *initiator,
    const char *target, const struct sockaddr_storage *peer, const char *user, const char *reason,
    uint16_t status, uint16_t tsih)
{
	char ini[ISCSI_NAME_MAX + 1], tgt[ISCSI_NAME_MAX + 1], usr[256], addr[64];

	if (s->event == NULL)
		return;
	printable(ini, sizeof ini, initiator);
	printable(tgt, sizeof tgt, target);
	printable(usr, sizeof usr, user);
	iscsi_format_addr(peer, addr, sizeof addr);
	struct iscsi_event e = {
	    .kind = kind,
	    .initiator = ini,
	    .target = tgt,
	    .address = addr,
	    .user = usr,
	    .reason = reason != NULL ? reason : "",
	    .status = status,
	    .tsih = tsih,
	};
	s->event(s->event_ctx, &e);
}

/* ---- authentication failures -------------------------------------------------------------------------- */

static struct iscsi_auth_record *
auth_record(struct iscsi_server *s, const struct sockaddr_storage *peer, bool create)
{
	uint64_t now = loop_now_ns(s->home);
	struct iscsi_auth_record *oldest = &s->auth_records[0];

	for (unsigned i = 0; i < AUTH_RECORDS; i++) {
		struct iscsi_auth_record *r = &s->auth_records[i];
		if (r->failures > 0 && iscsi_same_addr(&r->peer, peer)) {
			if (now - r->since_ns < AUTH_WINDOW_NS)
				return r;
			r->failures = 0;
		}
		if (r->failures == 0 || r->since_ns < oldest->since_ns)
			oldest = r;
	}
	if (!create)
		return NULL;
	oldest->peer = *peer;
	oldest->since_ns = now;
	oldest->failures = 0;
	return oldest;
}

bool
iscsi_auth_blocked(struct iscsi_server *s, const struct sockaddr_storage *peer)
{
	const struct iscsi_auth_record *r = auth_record(s, peer, false);
	return r != NULL && r->failures >= s->setup->limits.auth_failures_max;
}

void
iscsi_auth_failure(struct iscsi_server *s, const struct sockaddr_storage *peer)
{
	struct iscsi_auth_record *r = auth_record(s, peer, true);
	r->failures++;
	r->since_ns = loop_now_ns(s->home);
}

int
iscsi_registry_init(struct iscsi_server *s)
{
	list_init(&s->sessions);
	s->auth_records = calloc(AUTH_RECORDS, sizeof *s->auth_records);
	return s->auth_records != NULL ? 0 : -1;
}

void
iscsi_registry_fini(struct iscsi_server *s)
{
	free(s->auth_records);
	s->auth_records = NULL;
}

/* ---- placement ------------------------------------------------------------------------------------------- */

/* The session that this login reinstates (RFC 7143 §6.3.5), or NULL. */
static struct iscsi_conn *
find_same(struct iscsi_server *s, const struct iscsi_login_result *r)
{
	if (r->discovery)
		return NULL;
	LIST_FOREACH (l, &s->sessions) {
		struct iscsi_conn *c = container_of(l, struct iscsi_conn, reg.link);
		if (!c->reg.discovery && strcmp(c->reg.target, r->target->name) == 0 &&
		    memcmp(c->reg.isid, r->isid, sizeof r->isid) == 0 &&
		    strcmp(c->reg.initiator, r->initiator) == 0)
			return c;
	}
	return NULL;
}

bool
iscsi_registry_knows(
    const struct iscsi_server *s, const char *initiator, const uint8_t isid[6], uint16_t tsih)
{
	LIST_FOREACH (l, &s->sessions) {
		const struct iscsi_conn *c = container_of(l, struct iscsi_conn, reg.link);
		if (c->reg.tsih == tsih && memcmp(c->reg.isid, isid, sizeof c->reg.isid) == 0 &&
		    strcmp(c->reg.initiator, initiator) == 0)
			return true;
	}
	return false;
}

static enum iscsi_login_status
check_limits(struct iscsi_server *s, const struct iscsi_login_result *r,
    const struct sockaddr_storage *peer, const struct iscsi_conn *same, const char **ret_reason)
{
	const struct iscsi_limits *limits = &s->setup->limits;
	uint32_t by_name = 0, by_addr = 0;

	LIST_FOREACH (l, &s->sessions) {
		const struct iscsi_conn *c = container_of(l, struct iscsi_conn, reg.link);
		if (c == same)
			continue;
		by_name += strcmp(c->reg.initiator, r->initiator) == 0;
		by_addr += iscsi_same_addr(&c->reg.peer, peer);
	}
	*ret_reason = NULL;
	if (s->stopping)
		*ret_reason = "the target is stopping";
	else if (s->session_count >= limits->sessions_max)
		*ret_reason = "too many sessions";
	else if (by_name >= limits->sessions_per_initiator_max)
		*ret_reason = "too many sessions of this initiator";
	else if (by_addr >= limits->sessions_per_addr_max)
		*ret_reason = "too many sessions from this address";
	if (*ret_reason == NULL)
		return ISCSI_LOGIN_SUCCESS;
	return s->stopping ? ISCSI_LOGIN_UNAVAILABLE : ISCSI_LOGIN_OUT_OF_RESOURCES;
}

/*
 * Only whoever could have made the old session may end it: the same CHAP user and group, or, where
 * there is no CHAP, the same address.
 */
static bool
may_replace(const struct iscsi_conn *old, const struct iscsi_login_result *r,
    const struct sockaddr_storage *peer)
{
	/* It ends in any case, since it lost what it had: sooner is as good. */
	if (old->ending)
		return true;
	const char *group = r->group != NULL ? r->group->name : "";
	if (strcmp(old->reg.user, r->user) != 0 || old->reg.in_group != (r->group != NULL) ||
	    strcmp(old->reg.group, group) != 0)
		return false;
	return r->user[0] != '\0' || iscsi_same_addr(&old->reg.peer, peer);
}

static uint16_t
new_tsih(struct iscsi_server *s)
{
	for (;;) {
		uint16_t tsih = s->next_tsih++;
		bool used = tsih == 0;
		LIST_FOREACH (l, &s->sessions)
			used |= container_of(l, struct iscsi_conn, reg.link)->reg.tsih == tsih;
		if (!used)
			return tsih;
	}
}

static unsigned
pick_loop(const struct iscsi_server *s, bool discovery)
{
	unsigned best = 0;
	if (discovery)
		return 0;
	for (unsigned i = 1; i < s->loop_count; i++)
		if (s->per_loop[i] < s->per_loop[best])
			best = i;
	return best;
}

static void
fill_registration(struct iscsi_server *s, struct iscsi_registration *reg,
    const struct iscsi_login_result *r, const struct iscsi_login_env *env,
    const struct iscsi_grant *g)
{
	reg->tsih = new_tsih(s);
	memcpy(reg->isid, r->isid, sizeof reg->isid);
	reg->discovery = r->discovery;
	snprintf(reg->initiator, sizeof reg->initiator, "%s", r->initiator);
	snprintf(reg->user, sizeof reg->user, "%s", r->user);
	if (g->target != NULL)
		snprintf(reg->target, sizeof reg->target, "%s", g->target->name);
	reg->in_group = g->group != NULL;
	if (g->group != NULL)
		snprintf(reg->group, sizeof reg->group, "%s", g->group->name);
	reg->view = g->view;
	reg->rel_port_id = g->rel_port_id;
	reg->portal_tag = env->portal_tag;
	reg->peer = env->peer;
	reg->local = env->local;
	reg->header_digest = r->params.header_digest;
	reg->data_digest = r->params.data_digest;
	reg->since_ns = loop_now_ns(s->home);
}

static struct iscsi_conn *
conn_create(struct iscsi_server *s, struct iscsi_login *lg, const struct iscsi_login_env *env,
    const struct iscsi_grant *g, struct sock *sock)
{
	const struct iscsi_login_result *r = iscsi_login_result(lg);
	struct iscsi_conn *c = calloc(1, sizeof *c);
	if (c == NULL)
		return NULL;
	c->tmf_count = s->setup->limits.tmf_max;
	c->tmf = calloc(c->tmf_count, sizeof *c->tmf);
	if (c->tmf == NULL) {
		free(c);
		return NULL;
	}
	unsigned idx = pick_loop(s, r->discovery);
	s->per_loop[idx]++;
	c->server = s;
	c->il = &s->il[idx];
	c->sock = sock;
	c->login = lg;
	c->env = *env;
	iscsi_setup_use(c, iscsi_setup_get(s->setup), g->target);
	c->state = CONN_STARTING;
	list_init(&c->link);
	fill_registration(s, &c->reg, r, env, g);
	list_push_back(&s->sessions, &c->reg.link);
	s->session_count++;
	s->conn_count++;
	return c;
}

static void
start(struct iscsi_conn *c)
{
	c->reg.started = true;
	c->msg.run = iscsi_conn_start;
	loop_send(c->il->loop, &c->msg);
}

/* What the login was granted, by the configuration of now: it may have changed since it began. */
static const char *
grant_now(const struct iscsi_server *s, const struct iscsi_login_result *r,
    const struct iscsi_login_env *env, struct iscsi_grant *ret)
{
	struct iscsi_claim claim = {
	    .discovery = r->discovery,
	    .initiator = r->initiator,
	    .user = r->user,
	    .peer = &env->peer,
	    .portal_tag = env->portal_tag,
	    .target = r->target != NULL ? r->target->name : "",
	    .group = r->group != NULL ? r->group->name : NULL,
	};
	return iscsi_access_regrant(s->setup->config, &claim, ret);
}

enum iscsi_login_status
iscsi_registry_place(struct iscsi_server *s, struct iscsi_login *lg,
    const struct iscsi_login_env *env, struct iscsi_setup *login_setup, struct sock *sock,
    const char **ret_reason)
{
	const struct iscsi_login_result *r = iscsi_login_result(lg);
	struct iscsi_conn *same = find_same(s, r);
	struct iscsi_grant g;

	/* It may try again: then it is told what holds now. */
	*ret_reason = grant_now(s, r, env, &g);
	if (*ret_reason != NULL)
		return ISCSI_LOGIN_UNAVAILABLE;
	if (same != NULL && (!may_replace(same, r, &env->peer) || same->replaced)) {
		*ret_reason = "another session of this initiator port is established";
		return ISCSI_LOGIN_FORBIDDEN;
	}
	enum iscsi_login_status status = check_limits(s, r, &env->peer, same, ret_reason);
	if (status != ISCSI_LOGIN_SUCCESS)
		return status;
	struct iscsi_conn *c = conn_create(s, lg, env, &g, sock);
	if (c == NULL) {
		*ret_reason = "out of memory";
		return ISCSI_LOGIN_OUT_OF_RESOURCES;
	}
	c->login_setup = login_setup;
	sock_detach(sock);
	if (same != NULL) {
		c->replaces = same;
		same->replaced = true;
		iscsi_registry_kill(s, same, "reinstated by a new login", false);
	} else {
		start(c);
	}
	return ISCSI_LOGIN_SUCCESS;
}

/* ---- end ------------------------------------------------------------------------------------------------- */

void
iscsi_registry_maybe_free(struct iscsi_conn *c)
{
	struct iscsi_server *s = c->server;
	if (!c->gone_seen || c->kill_sent || !c->started_seen || c->next_setup != NULL)
		return;
	LIST_FOREACH (l, &s->sessions) {
		struct iscsi_conn *other = container_of(l, struct iscsi_conn, reg.link);
		if (other->replaces == c) {
			other->replaces = NULL;
			start(other);
			break;
		}
	}
	iscsi_setup_put(s, c->setup);
	free(c->tmf);
	free(c);
	s->conn_count--;
	iscsi_server_maybe_stopped(s);
}

void
iscsi_registry_started(struct loop_msg *m)
{
	struct iscsi_conn *c = container_of(m, struct iscsi_conn, started_msg);
	c->started_seen = true;
	iscsi_setup_put(c->server, c->login_setup);
	c->login_setup = NULL;
	if (c->start_failed)
		iscsi_raise(c->server, ISCSI_EVENT_REFUSED, c->reg.initiator, c->reg.target,
		    &c->reg.peer, c->reg.user, c->start_failure, ISCSI_LOGIN_UNAVAILABLE, 0);
	else if (!c->reg.discovery)
		iscsi_raise(c->server, ISCSI_EVENT_LOGIN, c->reg.initiator, c->reg.target,
		    &c->reg.peer, c->reg.user, NULL, 0, c->reg.tsih);
	iscsi_registry_maybe_free(c);
}

void
iscsi_registry_gone(struct loop_msg *m)
{
	struct iscsi_conn *c = container_of(m, struct iscsi_conn, msg);
	struct iscsi_server *s = c->server;

	c->gone_seen = true;
	list_remove(&c->reg.link);
	s->session_count--;
	s->per_loop[c->il->idx]--;
	if (!c->reg.discovery && !c->start_failed)
		iscsi_raise(s, c->orderly ? ISCSI_EVENT_LOGOUT : ISCSI_EVENT_DROPPED,
		    c->reg.initiator, c->reg.target, &c->reg.peer, c->reg.user, c->end_reason, 0,
		    c->reg.tsih);
	iscsi_registry_maybe_free(c);
}

void
iscsi_registry_kill(
    struct iscsi_server *s, struct iscsi_conn *c, const char *reason, bool logout_first)
{
	(void)s;
	if (c->kill_sent || c->gone_seen || !c->reg.started)
		return;
	c->kill_sent = true;
	c->kill_reason = reason;
	c->kill_logout = logout_first;
	c->kill_msg.run = iscsi_conn_kill;
	loop_send(c->il->loop, &c->kill_msg);
}

void
iscsi_registry_kill_ack(struct loop_msg *m)
{
	struct iscsi_conn *c = container_of(m, struct iscsi_conn, kill_msg);
	c->kill_sent = false;
	iscsi_registry_maybe_free(c);
}

/* ---- snapshot ---------------------------------------------------------------------------------------------- */

uint32_t
iscsi_server_session_count(const struct iscsi_server *s)
{
	return s->session_count;
}

static void
snapshot(const struct iscsi_conn *c, struct iscsi_session_info *i)
{
	const struct iscsi_registration *reg = &c->reg;
	memset(i, 0, sizeof *i);
	i->tsih = reg->tsih;
	memcpy(i->isid, reg->isid, sizeof i->isid);
	i->portal_tag = reg->portal_tag;
	i->rel_port_id = reg->rel_port_id;
	printable(i->initiator, sizeof i->initiator, reg->initiator);
	printable(i->target, sizeof i->target, reg->target);
	printable(i->user, sizeof i->user, reg->user);
	printable(i->group, sizeof i->group, reg->group);
	iscsi_format_addr(&reg->peer, i->address, sizeof i->address);
	iscsi_format_addr(&reg->local, i->local_address, sizeof i->local_address);
	i->discovery = reg->discovery;
	i->header_digest = reg->header_digest;
	i->data_digest = reg->data_digest;
	i->ending = c->ending;
	i->view = reg->view;
	i->connected_s = (loop_now_ns(c->server->home) - reg->since_ns) / 1000000000u;
#define COUNT(field) i->field = __atomic_load_n(&c->counts.field, __ATOMIC_RELAXED)
	COUNT(reads);
	COUNT(writes);
	COUNT(others);
	COUNT(read_bytes);
	COUNT(write_bytes);
#undef COUNT
	i->loop = c->il->idx;
}

uint32_t
iscsi_server_affected(const struct iscsi_server *s, const struct iscsi_config *config,
    struct iscsi_session_info *ret, uint32_t cap)
{
	uint32_t n = 0;
	LIST_FOREACH (l, &s->sessions) {
		const struct iscsi_conn *c = container_of(l, struct iscsi_conn, reg.link);
		struct iscsi_claim claim = iscsi_conn_claim(c);
		struct iscsi_grant g;
		const char *reason = iscsi_access_regrant(config, &claim, &g);
		if (reason == NULL || c->reg.discovery || c->ending)
			continue;
		if (n < cap) {
			snapshot(c, &ret[n]);
			ret[n].reason = reason;
		}
		n++;
	}
	return n;
}

uint32_t
iscsi_server_sessions(const struct iscsi_server *s, struct iscsi_session_info *ret, uint32_t cap)
{
	uint32_t n = 0;
	LIST_FOREACH (l, &s->sessions) {
		const struct iscsi_conn *c = container_of(l, struct iscsi_conn, reg.link);
		if (n == cap)
			break;
		struct iscsi_session_info *i = &ret[n++];
		snapshot(c, i);
	}
	return n;
}
