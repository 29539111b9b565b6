/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Changes while sessions work: configuration, limits, portals, and the end of single sessions.
 *
 * All that connections work by is one immutable struct iscsi_setup. A change makes a new one:
 *
 *	home: judge each session ─▶ its loop: uses the new one ─▶ home: lets go of the old one
 *	                         └▶ it may stay no longer: it is asked to log out, then ended
 *
 * LV-1  A setup lives while something refers to it: the server (the current one), logins under way,
 *       sessions (the one that its loop uses, and one on its way there).
 * LV-2  A configuration is done with when no setup has it. Since a session that may not stay keeps
 *       the setup that it had, no view of the old configuration is used any more then either.
 * LV-3  A session is judged by names. What its loop reads of the configuration (for Text requests)
 *       is replaced together: target and setup are always of one configuration.
 */
#include "iscsi/conn.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NS_PER_MS 1000000ull
#define END_RETRY_NS (100 * NS_PER_MS) /* the message that ends a session was still under way */

/* A configuration that was replaced. */
struct retired {
	struct list link; /* server->retired */
	struct iscsi_server *server;
	struct iscsi_config *config;
	struct loop_msg msg;
	bool told;
	void (*done)(void *ctx, struct iscsi_config *old);
	void *ctx;
};

static void on_end_timer(struct loop_timer *t);
static void setup_arrive(struct loop_msg *m);
static void setup_arrived(struct loop_msg *m);
static void retired_done(struct loop_msg *m);

/* ---- setups ---------------------------------------------------------------------------------- */

static struct iscsi_limits
limits_fit(struct iscsi_limits l)
{
	if (l.ahs_max_bytes > 64)
		l.ahs_max_bytes = 64;
	if (l.depth_max == 0)
		l.depth_max = 1;
	if (l.tmf_max == 0)
		l.tmf_max = 1;
	if (l.immediate_max == 0)
		l.immediate_max = 1;
	return l;
}

struct iscsi_setup *
iscsi_setup_create(struct iscsi_server *s, const struct iscsi_setup *from,
    struct iscsi_config *config, const struct iscsi_limits *limits, bool room)
{
	unsigned count = from != NULL ? from->portal_count : 0;
	struct iscsi_setup *u = calloc(1, sizeof *u + (count + room) * sizeof u->portals[0]);
	if (u == NULL)
		return NULL;
	u->refs = 1;
	u->config = config;
	u->limits = limits_fit(*limits);
	u->portal_count = count;
	if (count > 0)
		memcpy(u->portals, from->portals, count * sizeof u->portals[0]);
	list_push_back(&s->setups, &u->link);
	return u;
}

static bool
config_used(const struct iscsi_server *s, const struct iscsi_config *config)
{
	LIST_FOREACH (l, &s->setups)
		if (container_of(l, struct iscsi_setup, link)->config == config)
			return true;
	return false;
}

/* LV-2. */
static void
tell_retired(struct iscsi_server *s)
{
	LIST_FOREACH (l, &s->retired) {
		struct retired *r = container_of(l, struct retired, link);
		if (r->told || config_used(s, r->config))
			continue;
		r->told = true;
		r->msg.run = retired_done;
		loop_send(s->home, &r->msg);
	}
}

static void
retired_done(struct loop_msg *m)
{
	struct retired *r = container_of(m, struct retired, msg);
	struct iscsi_server *s = r->server;
	void (*done)(void *ctx, struct iscsi_config *old) = r->done;
	void *ctx = r->ctx;
	struct iscsi_config *config = r->config;
	list_remove(&r->link);
	free(r);
	if (done != NULL)
		done(ctx, config);
	iscsi_server_maybe_stopped(s);
}

void
iscsi_setup_put(struct iscsi_server *s, struct iscsi_setup *u)
{
	if (u == NULL)
		return;
	ASSERT(u->refs > 0);
	if (--u->refs > 0)
		return;
	ASSERT(u != s->setup);
	list_remove(&u->link);
	free(u);
	tell_retired(s);
}

/* ---- sessions follow ----------------------------------------------------------------------------- */

struct iscsi_claim
iscsi_conn_claim(const struct iscsi_conn *c)
{
	const struct iscsi_registration *reg = &c->reg;
	return (struct iscsi_claim){
	    .discovery = reg->discovery,
	    .initiator = reg->initiator,
	    .user = reg->user,
	    .peer = &reg->peer,
	    .portal_tag = reg->portal_tag,
	    .target = reg->target,
	    .group = reg->in_group ? reg->group : NULL,
	    .view = reg->view,
	    .rel_port_id = reg->rel_port_id,
	};
}

/* What its loop reads. */
static void
use(struct iscsi_conn *c, const struct iscsi_setup *u, const struct iscsi_target *t)
{
	c->target = t;
	c->limits = &u->limits;
	c->env.config = u->config;
	c->env.limits = &u->limits;
	c->env.portals = u->portals;
	c->env.portal_count = u->portal_count;
}

void
iscsi_setup_use(struct iscsi_conn *c, struct iscsi_setup *u, const struct iscsi_target *t)
{
	ASSERT(!c->reg.started);
	iscsi_setup_put(c->server, c->setup);
	c->setup = u;
	use(c, u, t);
}

void
iscsi_conn_follow(struct iscsi_server *s, struct iscsi_conn *c)
{
	struct iscsi_claim claim = iscsi_conn_claim(c);
	struct iscsi_grant g;

	if (c->setup == s->setup || c->next_setup != NULL || c->gone_seen)
		return; /* or when what is on its way has arrived */
	const char *reason = iscsi_access_regrant(s->setup->config, &claim, &g);
	if (reason != NULL) {
		iscsi_conn_end_soon(s, c, reason);
		return;
	}
	if (!c->reg.started) {
		iscsi_setup_use(c, iscsi_setup_get(s->setup), g.target);
		return;
	}
	c->next_setup = iscsi_setup_get(s->setup);
	c->next_target = g.target;
	c->setup_msg.run = setup_arrive;
	loop_send(c->il->loop, &c->setup_msg);
}

/* On the session's loop, whatever state it is in. */
static void
setup_arrive(struct loop_msg *m)
{
	struct iscsi_conn *c = container_of(m, struct iscsi_conn, setup_msg);
	use(c, c->next_setup, c->next_target);
	if (iscsi_conn_alive(c))
		iscsi_conn_timer(c);
	m->run = setup_arrived;
	loop_send(c->server->home, m);
}

static void
setup_arrived(struct loop_msg *m)
{
	struct iscsi_conn *c = container_of(m, struct iscsi_conn, setup_msg);
	struct iscsi_server *s = c->server;
	struct iscsi_setup *old = c->setup;
	c->setup = c->next_setup;
	c->next_setup = NULL;
	iscsi_setup_put(s, old);
	iscsi_conn_follow(s, c);
	iscsi_registry_maybe_free(c);
}

void
iscsi_setup_publish(struct iscsi_server *s, struct iscsi_setup *u)
{
	struct iscsi_setup *old = s->setup;
	s->setup = u;
	/* Those whose last setup is still on its way are judged now, and follow when it has arrived. */
	LIST_FOREACH (l, &s->sessions) {
		struct iscsi_conn *c = container_of(l, struct iscsi_conn, reg.link);
		struct iscsi_claim claim = iscsi_conn_claim(c);
		struct iscsi_grant g;
		const char *reason = iscsi_access_regrant(u->config, &claim, &g);
		if (reason != NULL)
			iscsi_conn_end_soon(s, c, reason);
		else
			iscsi_conn_follow(s, c);
	}
	iscsi_setup_put(s, old);
}

/* ---- sessions end ---------------------------------------------------------------------------------- */

void
iscsi_conn_end_soon(struct iscsi_server *s, struct iscsi_conn *c, const char *reason)
{
	if (c->ending || c->gone_seen)
		return;
	c->ending = true;
	snprintf(c->end_text, sizeof c->end_text, "%s", reason);
	if (!c->reg.started) {
		c->unfit = c->end_text;
		return;
	}
	uint64_t grace_ns = s->setup->limits.logout_grace_ms * NS_PER_MS;
	c->end_at_ns = loop_now_ns(s->home) + grace_ns;
	iscsi_registry_kill(s, c, c->end_text, grace_ns > 0);
	uint64_t in_ns = grace_ns > 0 ? grace_ns : NS_PER_MS;
	if (!loop_timer_armed(&s->end_timer) ||
	    s->end_timer.deadline_ns > loop_now_ns(s->home) + in_ns)
		loop_timer_set(&s->end_timer, in_ns);
}

static void
on_end_timer(struct loop_timer *t)
{
	struct iscsi_server *s = container_of(t, struct iscsi_server, end_timer);
	uint64_t now = loop_now_ns(s->home), next = UINT64_MAX;

	LIST_FOREACH (l, &s->sessions) {
		struct iscsi_conn *c = container_of(l, struct iscsi_conn, reg.link);
		if (!c->ending || !c->reg.started || c->end_forced)
			continue;
		if (now < c->end_at_ns) {
			next = c->end_at_ns < next ? c->end_at_ns : next;
		} else if (c->kill_sent) {
			next = now + END_RETRY_NS < next ? now + END_RETRY_NS : next;
		} else {
			c->end_forced = true;
			iscsi_registry_kill(s, c, c->end_text, false);
		}
	}
	if (next != UINT64_MAX)
		loop_timer_set(t, next - now);
}

int
iscsi_server_drop(struct iscsi_server *s, uint16_t tsih, const char *reason)
{
	LIST_FOREACH (l, &s->sessions) {
		struct iscsi_conn *c = container_of(l, struct iscsi_conn, reg.link);
		if (c->reg.tsih == tsih) {
			iscsi_conn_end_soon(s, c, reason);
			return 0;
		}
	}
	return -ENOENT;
}

/* ---- what is set -------------------------------------------------------------------------------------- */

int
iscsi_server_set_config(struct iscsi_server *s, struct iscsi_config *config,
    void (*done)(void *ctx, struct iscsi_config *old), void *ctx)
{
	LIST_FOREACH (l, &s->retired)
		if (container_of(l, struct retired, link)->config == config)
			return -EALREADY;
	if (config == s->setup->config)
		return -EALREADY;
	struct retired *r = calloc(1, sizeof *r);
	struct iscsi_setup *u = iscsi_setup_create(s, s->setup, config, &s->setup->limits, false);
	if (r == NULL || u == NULL) {
		free(r);
		iscsi_setup_put(s, u);
		return -ENOMEM;
	}
	r->server = s;
	r->config = s->setup->config;
	r->done = done;
	r->ctx = ctx;
	list_push_back(&s->retired, &r->link);
	iscsi_setup_publish(s, u);
	return 0;
}

int
iscsi_server_set_limits(struct iscsi_server *s, const struct iscsi_limits *limits)
{
	struct iscsi_setup *u = iscsi_setup_create(s, s->setup, s->setup->config, limits, false);
	if (u == NULL)
		return -ENOMEM;
	iscsi_setup_publish(s, u);
	return 0;
}

/* ---- life cycle --------------------------------------------------------------------------------------- */

void
iscsi_live_init(struct iscsi_server *s)
{
	list_init(&s->setups);
	list_init(&s->retired);
	loop_timer_init(&s->end_timer, s->home, on_end_timer);
}

bool
iscsi_live_idle(const struct iscsi_server *s)
{
	return list_empty(&s->retired);
}

void
iscsi_live_fini(struct iscsi_server *s)
{
	ASSERT(list_empty(&s->retired));
	loop_timer_cancel(&s->end_timer);
	struct iscsi_setup *u = s->setup;
	s->setup = NULL;
	iscsi_setup_put(s, u);
	ASSERT(list_empty(&s->setups));
}
