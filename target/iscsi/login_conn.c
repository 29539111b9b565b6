/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A connection in the login phase, on the home loop: collects Login PDUs, lets login.c judge them,
 * sends the answers. Bounded in time, number, and bytes. Nothing may be pipelined behind a Login
 * Request: the initiator waits for each answer (RFC 7143 §6.3), so that no bytes are left over when
 * the socket moves to its loop.
 */
#include "iscsi/conn.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LOGIN_DATA_MAX 8192u /* MaxRecvDataSegmentLength before it is negotiated, §13.12 */

struct iscsi_login_conn {
	struct list link; /* server->logins */
	struct iscsi_server *server;
	struct sock *sock;
	struct iscsi_login *login;
	struct iscsi_setup *setup; /* one reference */
	struct iscsi_login_env env;
	struct loop_timer timer;
	struct loop_defer close;
	size_t in_len;
	size_t out_len, out_at;
	bool closing; /* ends when the output is sent */
	bool over;
	uint8_t in[ISCSI_BHS_BYTES + LOGIN_DATA_MAX + 4];
	uint8_t out[ISCSI_BHS_BYTES + LOGIN_DATA_MAX + 4];
};

static void
destroy(struct iscsi_login_conn *lc)
{
	struct iscsi_server *s = lc->server;
	list_remove(&lc->link);
	s->login_count--;
	loop_timer_cancel(&lc->timer);
	loop_defer_cancel(&lc->close);
	if (lc->sock != NULL)
		sock_close(lc->sock);
	iscsi_login_destroy(lc->login);
	iscsi_setup_put(s, lc->setup);
	explicit_bzero(lc->in, sizeof lc->in);
	free(lc);
	iscsi_server_maybe_stopped(s);
}

static void
on_close(struct loop_defer *d)
{
	destroy(container_of(d, struct iscsi_login_conn, close));
}

/* From any of its callbacks: the object goes when they have returned. */
static void
end(struct iscsi_login_conn *lc)
{
	if (lc->over)
		return;
	lc->over = true;
	if (lc->sock != NULL) {
		sock_close(lc->sock);
		lc->sock = NULL;
	}
	loop_defer(lc->server->home, &lc->close);
}

static void
refused(struct iscsi_login_conn *lc, const char *reason, uint16_t status)
{
	iscsi_raise(lc->server, ISCSI_EVENT_REFUSED, iscsi_login_initiator(lc->login),
	    iscsi_login_target(lc->login), &lc->env.peer, "", reason, status, 0);
}

static void
flush(struct iscsi_login_conn *lc)
{
	while (lc->out_at < lc->out_len) {
		struct iovec iov = {lc->out + lc->out_at, lc->out_len - lc->out_at};
		ssize_t n = sock_send(lc->sock, &iov, 1);
		if (n == -EAGAIN)
			return;
		if (n < 0) {
			end(lc);
			return;
		}
		lc->out_at += (size_t)n;
	}
	lc->out_len = lc->out_at = 0;
	if (lc->closing)
		end(lc);
}

static void
answer(struct iscsi_login_conn *lc, struct iscsi_login_rsp *rsp, uint32_t cmd_sn)
{
	size_t len;
	const char *text = iscsi_login_text(lc->login, &len);

	ASSERT(len <= LOGIN_DATA_MAX);
	be24_put(&rsp->data_len, (uint32_t)len);
	be32_put(&rsp->exp_cmd_sn, cmd_sn);
	be32_put(&rsp->max_cmd_sn, cmd_sn);
	memcpy(lc->out, rsp, sizeof *rsp);
	if (len > 0)
		memcpy(lc->out + sizeof *rsp, text, len);
	size_t padded = (len + 3) & ~(size_t)3;
	memset(lc->out + sizeof *rsp + len, 0, padded - len);
	lc->out_len = sizeof *rsp + padded;
	lc->out_at = 0;
	flush(lc);
}

static void
place(struct iscsi_login_conn *lc, uint32_t cmd_sn)
{
	const char *reason = "";
	enum iscsi_login_status status =
	    iscsi_registry_place(lc->server, lc->login, &lc->env, lc->setup, lc->sock, &reason);
	if (status == ISCSI_LOGIN_SUCCESS) {
		lc->sock = NULL; /* all three belong to the session now */
		lc->login = NULL;
		lc->setup = NULL;
		end(lc);
		return;
	}
	struct iscsi_login_rsp rsp;
	(void)iscsi_login_finish(lc->login, status, 0, &rsp);
	refused(lc, reason, (uint16_t)status);
	lc->closing = true;
	answer(lc, &rsp, cmd_sn);
}

static void
pdu(struct iscsi_login_conn *lc, size_t data_len)
{
	struct iscsi_login_req req;
	struct iscsi_login_rsp rsp;

	memcpy(&req, lc->in, sizeof req);
	uint32_t cmd_sn = be32_get(req.cmd_sn);
	switch (
	    iscsi_login_pdu(lc->login, &req, (char *)lc->in + ISCSI_BHS_BYTES, data_len, &rsp)) {
	case LOGIN_RESPOND:
		answer(lc, &rsp, cmd_sn);
		break;
	case LOGIN_PLACE:
		place(lc, cmd_sn);
		break;
	case LOGIN_REFUSE:
		refused(lc, iscsi_login_reason(lc->login),
		    (uint16_t)(rsp.status_class << 8 | rsp.status_detail));
		lc->closing = true;
		answer(lc, &rsp, cmd_sn);
		break;
	case LOGIN_DROP:
		refused(lc, iscsi_login_reason(lc->login), 0);
		end(lc);
		break;
	}
}

static void
receive(struct iscsi_login_conn *lc)
{
	while (!lc->over && !lc->closing) {
		struct iovec iov = {lc->in + lc->in_len, sizeof lc->in - lc->in_len};
		ssize_t n = sock_recv(lc->sock, &iov, 1);
		if (n == -EAGAIN)
			return;
		if (n <= 0) {
			end(lc);
			return;
		}
		lc->in_len += (size_t)n;
		if (lc->in_len < ISCSI_BHS_BYTES)
			continue;
		struct iscsi_login_req req;
		memcpy(&req, lc->in, sizeof req);
		size_t data_len = be24_get(req.data_len);
		size_t total = ISCSI_BHS_BYTES + ((data_len + 3) & ~(size_t)3);
		if (req.total_ahs_len != 0 || data_len > LOGIN_DATA_MAX || lc->in_len > total) {
			refused(lc, "malformed login PDU", 0);
			end(lc);
			return;
		}
		if (lc->in_len < total)
			continue;
		lc->in_len = 0;
		pdu(lc, data_len);
	}
}

static void
on_event(void *ctx, unsigned events)
{
	struct iscsi_login_conn *lc = ctx;
	if (!lc->over && (events & LOOP_WRITABLE) && lc->out_at < lc->out_len)
		flush(lc);
	if (!lc->over && (events & LOOP_READABLE))
		receive(lc);
	if (!lc->over && (events & LOOP_HANGUP))
		end(lc);
}

static void
on_timer(struct loop_timer *t)
{
	struct iscsi_login_conn *lc = container_of(t, struct iscsi_login_conn, timer);
	refused(lc, "login took too long", 0);
	end(lc);
}

/* ---- what login.c asks ------------------------------------------------------------------------ */

static void
env_random(void *ctx, void *buf, size_t len)
{
	struct iscsi_login_conn *lc = ctx;
	loop_random_bytes(lc->server->home, buf, len);
}

static bool
env_challenge_known(void *ctx, const uint8_t *challenge, size_t len)
{
	struct iscsi_login_conn *self = ctx;
	LIST_FOREACH (l, &self->server->logins) {
		struct iscsi_login_conn *lc = container_of(l, struct iscsi_login_conn, link);
		size_t have;
		if (lc->login == NULL)
			continue;
		const uint8_t *ours = iscsi_login_challenge(lc->login, &have);
		if (have > 0 && have == len && memcmp(ours, challenge, len) == 0)
			return true;
	}
	return false;
}

static bool
env_session_known(void *ctx, const char *initiator, const uint8_t isid[6], uint16_t tsih)
{
	const struct iscsi_login_conn *self = ctx;
	return iscsi_registry_knows(self->server, initiator, isid, tsih);
}

static void
env_auth_failed(void *ctx)
{
	struct iscsi_login_conn *lc = ctx;
	iscsi_auth_failure(lc->server, &lc->env.peer);
}

static bool
admitted(struct iscsi_server *s, const struct sockaddr_storage *peer, const char **ret_reason)
{
	uint32_t same = 0;
	LIST_FOREACH (l, &s->logins)
		same += iscsi_same_addr(
		    &container_of(l, struct iscsi_login_conn, link)->env.peer, peer);
	*ret_reason = NULL;
	const struct iscsi_limits *limits = &s->setup->limits;
	if (!subnet_list_allows(&s->setup->config->acl, peer))
		*ret_reason = "address not allowed";
	else if (s->login_count >= limits->half_open_max)
		*ret_reason = "too many logins under way";
	else if (same >= limits->half_open_per_addr_max)
		*ret_reason = "too many logins under way from this address";
	else if (iscsi_auth_blocked(s, peer))
		*ret_reason = "too many failed authentications from this address";
	return *ret_reason == NULL;
}

void
iscsi_login_conn_accept(struct iscsi_server *s, struct sock *sock, uint16_t tag)
{
	struct sockaddr_storage peer;
	const char *reason;

	sock_peer_addr(sock, &peer);
	if (s->stopping || !admitted(s, &peer, &reason)) {
		if (!s->stopping)
			iscsi_raise(s, ISCSI_EVENT_REFUSED, "", "", &peer, "", reason, 0, 0);
		sock_close(sock);
		return;
	}
	struct iscsi_login_conn *lc = calloc(1, sizeof *lc);
	if (lc == NULL) {
		sock_close(sock);
		return;
	}
	lc->server = s;
	lc->sock = sock;
	lc->setup = iscsi_setup_get(s->setup);
	lc->env = (struct iscsi_login_env){
	    .config = lc->setup->config,
	    .limits = &lc->setup->limits,
	    .peer = peer,
	    .portal_tag = tag,
	    .portals = lc->setup->portals,
	    .portal_count = lc->setup->portal_count,
	    .random = env_random,
	    .challenge_known = env_challenge_known,
	    .session_known = env_session_known,
	    .auth_failed = env_auth_failed,
	    .ctx = lc,
	};
	sock_local_addr(sock, &lc->env.local);
	loop_timer_init(&lc->timer, s->home, on_timer);
	loop_defer_init(&lc->close, on_close);
	list_push_back(&s->logins, &lc->link);
	s->login_count++;
	lc->login = iscsi_login_create(&lc->env);
	if (lc->login == NULL) {
		end(lc);
		return;
	}
	loop_timer_set(&lc->timer, lc->setup->limits.login_timeout_ms * 1000000ull);
	sock_set_callback(sock, on_event, lc);
}

void
iscsi_login_conn_end_all(struct iscsi_server *s)
{
	LIST_FOREACH (l, &s->logins)
		end(container_of(l, struct iscsi_login_conn, link));
}
