/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Logins, channels and sessions on the home loop.
 *
 *     request ─▶ setup (worker) ─▶ begin (its loop) ─▶ accept (worker) ─▶ established ─▶ live
 *                    └────────────────┴─▶ refuse (worker)                    … ─▶ gone ─▶ destroy (worker)
 *
 * One job at a time for a channel. A session that takes the place of another one waits until that is
 * gone: no command of the old one can land after one of the new one.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "srp/chan.h"

#define NS_PER_MS 1000000ull

static int job_work(struct loop_job *j);
static void job_done(struct loop_job *j, int result);
static void next_job(struct srp_chan *c);
static void chan_cmd(struct loop_msg *m);
static void chan_cmd_ack(struct loop_msg *m);
static void chan_start(struct loop_msg *m);
static void session_kill(struct loop_msg *m);
static void session_killed(struct loop_msg *m);

/* ---- refusals ----------------------------------------------------------------------------------- */

static void
raise_refused(struct srp_server *s, const struct srp_login *req, const struct srp_conn *conn,
    const char *reason, enum srp_login_reason status)
{
	char name[SRP_NAME_CAP] = "";
	const struct srp_target *t = NULL;
	if (req != NULL) {
		srp_initiator_name(req->initiator_port, name);
		t = srp_config_find(s->config, req->target_port);
	}
	struct srp_event e = {
	    .kind = SRP_EVENT_REFUSED,
	    .initiator = name,
	    .target = t != NULL ? t->name : "",
	    .device = conn->device,
	    .reason = reason,
	    .status = status,
	};
	srp_raise(s, &e, &conn->peer);
}

static void
refuse_request(struct srp_server *s, struct srp_conn *conn, const struct srp_login *req,
    const char *why, enum srp_login_reason reason)
{
	static const struct srp_login none;
	struct srp_login_rej rej;
	srp_login_rej_build(&rej, req != NULL ? req : &none, reason);
	raise_refused(s, req, conn, why, reason);
	s->ops->reject(conn, &rej, sizeof rej);
}

/* ---- sessions ------------------------------------------------------------------------------------ */

/* Addresses without their ports; IB peers by their GIDs. */
static bool
same_address(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
	char x[64], y[64];
	srp_format_addr(a, x, sizeof x);
	srp_format_addr(b, y, sizeof y);
	char *px = strrchr(x, ':'), *py = strrchr(y, ':');
	if (px == NULL || py == NULL)
		return strcmp(x, y) == 0;
	*px = *py = '\0';
	return strcmp(x, y) == 0;
}

/* The newest one: others of the same name wait for their end. */
static struct srp_session *
find_session(const struct srp_server *s, const struct srp_login *req)
{
	for (struct list *l = s->sessions.prev; l != &s->sessions; l = l->prev) {
		struct srp_session *x = container_of(l, struct srp_session, home_link);
		if (!x->gone_seen &&
		    memcmp(x->initiator_port, req->initiator_port, SRP_PORT_ID_BYTES) == 0 &&
		    memcmp(x->target_port, req->target_port, SRP_PORT_ID_BYTES) == 0)
			return x;
	}
	return NULL;
}

static unsigned
pick_loop(const struct srp_server *s)
{
	unsigned best = 0;
	for (unsigned i = 1; i < s->loop_count; i++)
		if (s->per_loop[i] < s->per_loop[best])
			best = i;
	return best;
}

static struct srp_session *
session_create(struct srp_server *s, const struct srp_login *req,
    const struct srp_login_result *res, const struct srp_conn *conn, uint16_t tag)
{
	struct srp_session *x = calloc(1, sizeof *x);
	if (x == NULL)
		return NULL;
	x->server = s;
	x->id = s->next_id++;
	memcpy(x->initiator_port, req->initiator_port, SRP_PORT_ID_BYTES);
	memcpy(x->target_port, req->target_port, SRP_PORT_ID_BYTES);
	srp_initiator_name(req->initiator_port, x->initiator);
	snprintf(x->target, sizeof x->target, "%s", res->grant.target->name);
	x->in_group = res->grant.group != NULL;
	if (x->in_group)
		snprintf(x->group, sizeof x->group, "%s", res->grant.group->name);
	x->immediate = res->imm_data_offset != 0;
	x->view = res->grant.view;
	x->rel_port_id = res->grant.rel_port_id;
	x->portal_tag = tag;
	x->peer = (struct srp_peer){.addr = conn->peer, .pkey = conn->pkey, .native = conn->native};
	x->local = conn->local;
	snprintf(x->device, sizeof x->device, "%s", conn->device);
	x->loop_idx = pick_loop(s);
	x->loop = s->loops[x->loop_idx];
	x->since_ns = loop_now_ns(s->home);
	x->born_epoch = s->epoch;
	list_init(&x->chans);
	list_init(&x->tmf_waits);
	list_push_back(&s->sessions, &x->home_link);
	s->session_count++;
	s->per_loop[x->loop_idx]++;
	return x;
}

static void
start_chan(struct srp_chan *c)
{
	c->parked_home = false;
	c->session->touched = true;
	c->start_msg.run = chan_start;
	loop_send(c->loop, &c->start_msg);
}

/* What it was to be answered with doesn't come: a refusal instead. */
static void
refuse_chan(struct srp_chan *c, const char *why, enum srp_login_reason reason)
{
	if (c->refusing)
		return;
	c->refusing = true;
	c->parked_home = false;
	srp_login_rej_build(&c->rej, &c->login, reason);
	raise_refused(c->server, &c->login, c->conn, why, reason);
	next_job(c);
}

/* Sessions that wait for this one's end. */
static void
start_successor(struct srp_server *s, const struct srp_session *old)
{
	LIST_FOREACH (l, &s->sessions) {
		struct srp_session *x = container_of(l, struct srp_session, home_link);
		if (x->replaces != old)
			continue;
		x->replaces = old->replaces; /* that one's end isn't waited for in vain */
		if (x->replaces != NULL)
			continue;
		LIST_FOREACH_SAFE (k, &s->chans) {
			struct srp_chan *c = container_of(k, struct srp_chan, home_link);
			if (c->session != x || !c->parked_home)
				continue;
			if (x->ending)
				refuse_chan(c, "its session was ended", SRP_REJ_RESOURCES);
			else
				start_chan(c);
		}
	}
}

static void
session_maybe_free(struct srp_session *x)
{
	struct srp_server *s = x->server;
	bool gone = x->gone_seen || !x->touched;
	if (!gone || x->chans_home > 0 || x->kill_busy)
		return;
	/* One that never began stands in nobody's way but that of its own successor. */
	start_successor(s, x);
	list_remove(&x->home_link);
	s->session_count--;
	s->per_loop[x->loop_idx]--;
	free(x);
	srp_live_check(s);
	srp_server_maybe_stopped(s);
}

void
srp_session_end_soon(struct srp_server *s, struct srp_session *x, const char *reason)
{
	(void)s;
	if (x->ending || x->gone_seen)
		return;
	x->ending = true;
	snprintf(x->end_text, sizeof x->end_text, "%s", reason);
	/* Sent before any channel of it begins, it finds nothing to end: that is refused then. */
	x->kill_busy = true;
	x->kill_msg.run = session_kill;
	loop_send(x->loop, &x->kill_msg);
}

static void
session_kill(struct loop_msg *m)
{
	struct srp_session *x = container_of(m, struct srp_session, kill_msg);
	srp_session_end(x, x->end_text, false);
	m->run = session_killed;
	loop_send(x->server->home, m);
}

static void
session_killed(struct loop_msg *m)
{
	struct srp_session *x = container_of(m, struct srp_session, kill_msg);
	x->kill_busy = false;
	session_maybe_free(x);
}

void
srp_registry_session_gone(struct loop_msg *m)
{
	struct srp_session *x = container_of(m, struct srp_session, gone_msg);
	struct srp_server *s = x->server;
	x->gone_seen = true;
	x->touched = true;
	if (x->raised) {
		struct srp_event e = {
		    .kind = x->orderly ? SRP_EVENT_LOGOUT : SRP_EVENT_DROPPED,
		    .initiator = x->initiator,
		    .target = x->target,
		    .device = x->device,
		    .reason = x->end_reason,
		    .session = x->id,
		};
		srp_raise(s, &e, &x->peer.addr);
	}
	start_successor(s, x);
	session_maybe_free(x);
}

/* ---- a login ------------------------------------------------------------------------------------- */

static void
fill_env(struct srp_server *s, const struct srp_session *x, const struct srp_login *req,
    const struct srp_conn *conn, uint16_t tag, struct srp_login_env *env)
{
	*env = (struct srp_login_env){
	    .config = s->config,
	    .limits = &s->limits,
	    .peer = {.addr = conn->peer, .pkey = conn->pkey, .native = conn->native},
	    .portal_tag = tag,
	    .sessions = s->session_count,
	    .channels_all = s->chan_count,
	    .pending = s->pending_count,
	    .stopping = s->stopping,
	};
	LIST_FOREACH (l, &s->sessions)
		env->sessions_from_addr += same_address(
		    &container_of(l, struct srp_session, home_link)->peer.addr, &conn->peer);
	(void)req;
	if (x == NULL)
		return;
	env->channels = x->chans_home > 0 ? x->chans_home : 1;
	env->session_elsewhere = !same_address(&x->peer.addr, &conn->peer);
	env->session_ending = x->ending;
	struct srp_claim claim = srp_session_claim(x);
	env->session_other_view = srp_access_regrant(s->config, &claim) != NULL;
}

static struct srp_chan *
chan_create(struct srp_server *s, struct srp_session *x, struct srp_conn *conn,
    const struct srp_login *req, const struct srp_login_result *res)
{
	struct srp_chan *c = srp_chan_create(&s->limits, req->it_iu_len);
	if (c == NULL)
		return NULL;
	c->server = s;
	c->conn = conn;
	c->ops = s->ops;
	c->session = x;
	c->loop = x->loop;
	c->login = *req;
	c->result = *res;
	c->pending = true;
	c->deadline_ns = loop_now_ns(s->home) + s->limits.login_timeout_ms * NS_PER_MS;
	srp_login_rsp_build(
	    &c->rsp, req, c->depth, s->limits.it_iu_max_bytes, SRP_RSP_MAX_BYTES, res->rsp_flags);
	conn->user = c;
	x->chans_home++;
	s->chan_count++;
	s->pending_count++;
	list_push_back(&s->chans, &c->home_link);
	srp_server_tick(s);
	return c;
}

void
srp_registry_request(
    void *ctx, struct srp_listener *l, struct srp_conn *conn, const void *private, size_t len)
{
	struct srp_listening *li = NULL;
	struct srp_server *s = ctx;
	struct srp_login req;
	struct srp_login_env env;
	struct srp_login_result res;
	enum srp_login_reason reason = SRP_REJ_UNSPECIFIED;

	LIST_FOREACH (k, &s->listenings)
		if (container_of(k, struct srp_listening, link)->listener == l)
			li = container_of(k, struct srp_listening, link);
	if (li == NULL || srp_login_parse(private, len, !conn->native, &req) < 0) {
		refuse_request(s, conn, NULL, "its login is malformed", reason);
		return;
	}
	struct srp_session *x = find_session(s, &req);
	fill_env(s, x, &req, conn, li->tag, &env);
	const char *why = srp_login_decide(&env, &req, &res, &reason);
	if (why != NULL) {
		refuse_request(s, conn, &req, why, reason);
		return;
	}
	struct srp_session *old = res.ends ? x : NULL;
	if (!res.joins)
		x = session_create(s, &req, &res, conn, li->tag);
	struct srp_chan *c = x != NULL ? chan_create(s, x, conn, &req, &res) : NULL;
	if (c == NULL) {
		refuse_request(s, conn, &req, "out of memory", SRP_REJ_RESOURCES);
		if (x != NULL)
			session_maybe_free(x);
		return;
	}
	if (old != NULL) {
		x->replaces = old;
		srp_session_end_soon(s, old, "a new login took its place");
	}
	next_job(c);
}

/* ---- jobs ------------------------------------------------------------------------------------------ */

/* What is to be done next on the worker, if nothing is being done. */
static enum srp_job
which_job(const struct srp_chan *c)
{
	if (!c->setup_done)
		return SRP_JOB_SETUP;
	if (c->refusing)
		return c->refused ? SRP_JOB_DESTROY : SRP_JOB_REFUSE;
	if (c->abandon_wanted && !c->abandon_done)
		return SRP_JOB_ABANDON;
	if (c->cut_off && !c->removed && !c->server->stopping)
		return SRP_JOB_NONE;
	if (c->gone_seen)
		return SRP_JOB_DESTROY;
	if (c->leave_wanted)
		return SRP_JOB_LEAVE;
	if (c->begun && !c->accepted && !c->left && c->home_reason == NULL)
		return SRP_JOB_ACCEPT;
	return SRP_JOB_NONE;
}

static void
next_job(struct srp_chan *c)
{
	if (c->job_busy)
		return;
	enum srp_job kind = which_job(c);
	if (kind == SRP_JOB_NONE)
		return;
	if (kind == SRP_JOB_DESTROY && c->cmd_busy)
		return; /* its loop still has a message of it */
	c->job_kind = kind;
	c->must_go = c->refusing || c->removed || c->server->stopping;
	c->job_busy = true;
	c->job.work = job_work;
	c->job.done = job_done;
	loop_job_submit(c->server->home, &c->job);
}

static int
job_work(struct loop_job *j)
{
	struct srp_chan *c = container_of(j, struct srp_chan, job);
	struct srp_queue_cfg cfg;
	switch (c->job_kind) {
	case SRP_JOB_SETUP:
		srp_chan_queue_cfg(c, &cfg);
		return c->ops->setup(c->conn, &cfg, c->job_reason, sizeof c->job_reason);
	case SRP_JOB_ACCEPT:
		return c->ops->accept(c->conn, &c->rsp, sizeof c->rsp);
	case SRP_JOB_REFUSE:
		c->ops->refuse(c->conn, &c->rej, sizeof c->rej);
		break;
	case SRP_JOB_LEAVE:
		if (!c->must_go && !c->ops->can_reach(c->conn))
			return -EAGAIN;
		c->ops->disconnect(c->conn);
		break;
	case SRP_JOB_ABANDON:
		c->ops->abandon(c->conn);
		break;
	case SRP_JOB_DESTROY:
		if (!c->must_go && !c->ops->can_reach(c->conn))
			return -EAGAIN;
		c->ops->destroy(c->conn);
		break;
	case SRP_JOB_NONE:
		break;
	}
	return 0;
}

static void
setup_done(struct srp_chan *c, int result)
{
	c->setup_done = true;
	if (result == 0 && srp_chan_fit(c) < 0)
		result = -ENOMEM;
	if (result < 0)
		refuse_chan(c, c->job_reason[0] != '\0' ? c->job_reason : strerror(-result),
		    SRP_REJ_RESOURCES);
	else if (c->session->ending || c->server->stopping)
		refuse_chan(c, "its session was ended", SRP_REJ_RESOURCES);
	else if (c->cmd_next & SRP_TELL_END)
		refuse_chan(c, "it went away", SRP_REJ_RESOURCES);
	else if (c->session->replaces != NULL)
		c->parked_home = true;
	else
		start_chan(c);
}

static void
tell(struct srp_chan *c, uint8_t what)
{
	c->cmd_next |= what;
	if (c->cmd_busy || !c->begun || c->gone_seen || c->cmd_next == 0)
		return;
	c->cmd_busy = true;
	c->cmd = c->cmd_next;
	c->cmd_next = 0;
	c->cmd_msg.run = chan_cmd;
	loop_send(c->loop, &c->cmd_msg);
}

static void
not_pending(struct srp_chan *c)
{
	if (c->pending)
		c->server->pending_count--;
	c->pending = false;
}

static void
destroyed(struct srp_chan *c)
{
	struct srp_server *s = c->server;
	struct srp_session *x = c->session;
	not_pending(c);
	if (c->established)
		x->chans_up--;
	x->chans_home--;
	s->chan_count--;
	list_remove(&c->home_link);
	srp_chan_free(c);
	session_maybe_free(x);
	srp_server_maybe_stopped(s);
}

static void
job_done(struct loop_job *j, int result)
{
	struct srp_chan *c = container_of(j, struct srp_chan, job);
	c->job_busy = false;
	if (result == -EAGAIN && (c->job_kind == SRP_JOB_LEAVE || c->job_kind == SRP_JOB_DESTROY)) {
		c->cut_off = true;
		srp_server_tick(c->server);
		next_job(c);
		return;
	}
	switch (c->job_kind) {
	case SRP_JOB_SETUP:
		setup_done(c, result);
		break;
	case SRP_JOB_ACCEPT:
		c->accepted = true;
		if (result < 0) {
			c->home_reason = "it could not be accepted";
			tell(c, SRP_TELL_END);
		}
		break;
	case SRP_JOB_REFUSE:
		c->refused = true;
		break;
	case SRP_JOB_LEAVE:
		c->leave_wanted = false;
		c->left = true;
		break;
	case SRP_JOB_ABANDON:
		c->abandon_done = true;
		tell(c, SRP_TELL_ABANDONED);
		break;
	case SRP_JOB_DESTROY:
		destroyed(c);
		return;
	case SRP_JOB_NONE:
		break;
	}
	next_job(c);
}

/* ---- between home and the channel ------------------------------------------------------------------- */

static void
chan_start(struct loop_msg *m)
{
	struct srp_chan *c = container_of(m, struct srp_chan, start_msg);
	srp_chan_begin(c);
	c->start_failed = srp_session_join(c->session, c) < 0;
	if (!c->start_failed && c->ops->attach(c->conn, c->loop) < 0) {
		c->start_failed = true;
		struct srp_session *x = c->session;
		c->state = SRP_CHAN_CLOSED;
		list_remove(&c->link);
		srp_session_chan_ending(x, "out of memory", false);
	}
	c->ready_msg.run = srp_registry_ready;
	loop_send(c->server->home, &c->ready_msg);
}

void
srp_registry_ready(struct loop_msg *m)
{
	struct srp_chan *c = container_of(m, struct srp_chan, ready_msg);
	if (c->start_failed) {
		refuse_chan(c, "its session has ended, or memory is short", SRP_REJ_RESOURCES);
		return;
	}
	c->begun = true;
	tell(c, 0); /* what came meanwhile */
	next_job(c);
}

static void
chan_cmd(struct loop_msg *m)
{
	struct srp_chan *c = container_of(m, struct srp_chan, cmd_msg);
	if (c->cmd & SRP_TELL_ESTABLISHED)
		srp_chan_established(c);
	if (c->cmd & SRP_TELL_END)
		srp_chan_end(c, c->home_reason, c->cmd_orderly);
	if (c->cmd & SRP_TELL_ABANDONED)
		srp_chan_on_abandoned(c);
	m->run = chan_cmd_ack;
	loop_send(c->server->home, m);
}

static void
chan_cmd_ack(struct loop_msg *m)
{
	struct srp_chan *c = container_of(m, struct srp_chan, cmd_msg);
	c->cmd_busy = false;
	tell(c, 0);
	next_job(c);
}

void
srp_registry_disc(struct loop_msg *m)
{
	struct srp_chan *c = container_of(m, struct srp_chan, disc_msg);
	c->leave_wanted = true;
	next_job(c);
}

void
srp_registry_abandon(struct loop_msg *m)
{
	struct srp_chan *c = container_of(m, struct srp_chan, abandon_msg);
	c->abandon_wanted = true;
	next_job(c);
}

void
srp_registry_gone(struct loop_msg *m)
{
	struct srp_chan *c = container_of(m, struct srp_chan, gone_msg);
	c->gone_seen = true;
	not_pending(c);
	if (!c->established)
		raise_refused(c->server, &c->login, c->conn,
		    c->home_reason != NULL ? c->home_reason : "its connection failed",
		    SRP_REJ_UNSPECIFIED);
	next_job(c);
}

/* ---- events of the connection manager ----------------------------------------------------------------- */

static void
raise_login(struct srp_chan *c)
{
	struct srp_session *x = c->session;
	struct srp_event e = {
	    .kind = x->raised ? SRP_EVENT_CHANNEL : SRP_EVENT_LOGIN,
	    .initiator = x->initiator,
	    .target = x->target,
	    .device = x->device,
	    .reason = "",
	    .session = x->id,
	    .channels = x->chans_up,
	};
	x->raised = true;
	srp_raise(c->server, &e, &c->conn->peer);
}

void
srp_registry_event(struct srp_conn *conn, enum srp_conn_event ev)
{
	struct srp_chan *c = conn->user;
	if (c != NULL && ev == SRP_CONN_REMOVED) {
		c->removed = true;
		next_job(c);
	}
	if (c == NULL || c->gone_seen || c->refusing)
		return;
	if (ev == SRP_CONN_ESTABLISHED) {
		if (c->established)
			return;
		c->established = true;
		not_pending(c);
		c->session->chans_up++;
		raise_login(c);
		tell(c, SRP_TELL_ESTABLISHED);
		return;
	}
	if (c->home_reason == NULL) {
		c->home_reason = ev == SRP_CONN_REMOVED ? "its device was removed"
		                                        : "the initiator disconnected";
		c->cmd_orderly = ev == SRP_CONN_DISCONNECTED && c->established;
	}
	if (c->parked_home)
		refuse_chan(c, "it went away", SRP_REJ_RESOURCES);
	else
		tell(c, SRP_TELL_END);
}

void
srp_registry_retry(struct srp_server *s)
{
	LIST_FOREACH (l, &s->chans) {
		struct srp_chan *c = container_of(l, struct srp_chan, home_link);
		if (!c->cut_off)
			continue;
		c->cut_off = false;
		next_job(c);
	}
}

/* Connections that were accepted but are never completed. */
void
srp_registry_timeouts(struct srp_server *s)
{
	uint64_t now = loop_now_ns(s->home);
	LIST_FOREACH (l, &s->chans) {
		struct srp_chan *c = container_of(l, struct srp_chan, home_link);
		if (!c->pending || !c->accepted || c->home_reason != NULL || now < c->deadline_ns)
			continue;
		c->home_reason = "its login was never completed";
		tell(c, SRP_TELL_END);
	}
}
