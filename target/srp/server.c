/* SPDX-License-Identifier: BSD-2-Clause */
/* The server: portals, limits, life cycle, what it shows. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "srp/chan.h"

#define TICK_NS 1000000000ull

static void on_tick(struct loop_timer *t);

/* ---- addresses and events -------------------------------------------------------------------------- */

void
srp_format_addr(const struct sockaddr_storage *a, char *buf, size_t cap)
{
	char host[INET6_ADDRSTRLEN] = "?";
	if (a->ss_family == AF_INET) {
		struct sockaddr_in in;
		memcpy(&in, a, sizeof in);
		inet_ntop(AF_INET, &in.sin_addr, host, sizeof host);
		snprintf(buf, cap, "%s:%u", host, ntohs(in.sin_port));
	} else if (a->ss_family == AF_INET6) {
		struct sockaddr_in6 in6;
		memcpy(&in6, a, sizeof in6);
		inet_ntop(AF_INET6, &in6.sin6_addr, host, sizeof host);
		snprintf(buf, cap, "[%s]:%u", host, ntohs(in6.sin6_port));
	} else if (a->ss_family == AF_IB) {
		struct srp_ib_addr ib;
		memcpy(&ib, a, sizeof ib);
		snprintf(buf, cap, "ib:%u", ib.port);
	} else {
		snprintf(buf, cap, "local");
	}
}

void
srp_raise(struct srp_server *s, struct srp_event *e, const struct sockaddr_storage *peer)
{
	char addr[64] = "";
	if (s->event == NULL)
		return;
	if (peer != NULL)
		srp_format_addr(peer, addr, sizeof addr);
	e->address = addr;
	if (e->initiator == NULL)
		e->initiator = "";
	if (e->target == NULL)
		e->target = "";
	if (e->device == NULL)
		e->device = "";
	if (e->reason == NULL)
		e->reason = "";
	s->event(s->event_ctx, e);
}

static void
on_device(void *ctx, const char *device, const char *what)
{
	struct srp_event e = {.kind = SRP_EVENT_DEVICE, .device = device, .reason = what};
	srp_raise(ctx, &e, NULL);
}

static void
on_unlistened(void *ctx, struct srp_listener *l)
{
	struct srp_server *s = ctx;
	LIST_FOREACH (k, &s->listenings) {
		struct srp_listening *li = container_of(k, struct srp_listening, link);
		if (li->listener == l)
			li->listener = NULL;
	}
	srp_server_tick(s);
}

static const struct srp_backend_events backend_events = {
    .request = srp_registry_request,
    .event = srp_registry_event,
    .device = on_device,
    .unlistened = on_unlistened,
    .sent = srp_chan_sent,
    .received = srp_chan_received,
};

/* ---- life cycle -------------------------------------------------------------------------------------- */

static struct srp_limits
limits_fit(struct srp_limits l)
{
#define FIT(field, min, max) l.field = l.field < (min) ? (min) : l.field > (max) ? (max) : l.field
	FIT(queue_depth, 4u, 1024u);
	FIT(it_iu_max_bytes, 512u, 12288u);
	FIT(channels_per_session_max, 1u, SRP_CHANNELS_MAX);
	FIT(stall_ms, 1000u, 3600000u);
	FIT(login_timeout_ms, 100u, 3600000u);
#undef FIT
	return l;
}

int
srp_server_create(const struct srp_server_args *args, struct srp_server **ret)
{
	struct srp_server *s = calloc(1, sizeof *s);
	if (s == NULL)
		return -ENOMEM;
	s->core = args->core;
	s->loops = args->loops;
	s->loop_count = args->loop_count;
	s->home = args->loops[0];
	s->limits = limits_fit(args->limits);
	s->config = args->config;
	s->backend = args->backend;
	s->ops = args->backend->ops;
	s->event = args->event;
	s->event_ctx = args->event_ctx;
	s->next_id = 1;
	list_init(&s->listenings);
	list_init(&s->chans);
	list_init(&s->sessions);
	list_init(&s->retired);
	loop_timer_init(&s->timer, s->home, on_tick);
	*ret = s;
	return 0;
}

void
srp_server_set_limits(struct srp_server *s, const struct srp_limits *limits)
{
	s->limits = limits_fit(*limits);
}

/* Devices come and go: the backend is started when somebody listens, and asked again. */
static int
try_listen(struct srp_listening *li)
{
	struct srp_server *s = li->server;
	struct sockaddr_storage bound;
	if (!s->backend_started) {
		int rc = s->ops->start(s->backend, s->loops, s->loop_count, &backend_events, s);
		if (rc < 0)
			return rc;
		s->backend_started = true;
	}
	int rc = s->ops->listen(
	    s->backend, (const void *)&li->addr, li->addr_len, &li->listener, &bound);
	if (rc == 0)
		li->addr = bound;
	return rc;
}

static void
on_tick(struct loop_timer *t)
{
	struct srp_server *s = container_of(t, struct srp_server, timer);
	srp_registry_timeouts(s);
	srp_registry_retry(s);
	LIST_FOREACH (l, &s->listenings) {
		struct srp_listening *li = container_of(l, struct srp_listening, link);
		if (li->listener != NULL || try_listen(li) < 0)
			continue;
		char addr[64], what[128];
		srp_format_addr(&li->addr, addr, sizeof addr);
		snprintf(what, sizeof what, "listening on %s now", addr);
		on_device(s, "", what);
	}
	srp_server_tick(s);
}

/* Ticks while there is something to look at. */
void
srp_server_tick(struct srp_server *s)
{
	bool wanted = s->pending_count > 0;
	LIST_FOREACH (l, &s->chans)
		wanted |= container_of(l, struct srp_chan, home_link)->cut_off;
	LIST_FOREACH (l, &s->listenings)
		wanted |= container_of(l, struct srp_listening, link)->listener == NULL;
	if (wanted && !s->stopping && !loop_timer_armed(&s->timer))
		loop_timer_set(&s->timer, TICK_NS);
}

int
srp_server_listen(
    struct srp_server *s, const struct sockaddr *addr, socklen_t addr_len, uint16_t tag)
{
	if (addr_len > sizeof(struct sockaddr_storage))
		return -EINVAL;
	struct srp_listening *li = calloc(1, sizeof *li);
	if (li == NULL)
		return -ENOMEM;
	li->server = s;
	li->tag = tag;
	li->addr_len = addr_len;
	memcpy(&li->addr, addr, addr_len);
	int rc = try_listen(li);
	if (rc < 0 && rc != -ENODEV) {
		free(li);
		return rc;
	}
	list_push_back(&s->listenings, &li->link);
	srp_server_tick(s);
	return rc;
}

static bool
same_endpoint(const struct sockaddr_storage *a, const struct sockaddr *b)
{
	struct sockaddr_storage other = {0};
	char x[64], y[64];
	memcpy(&other, b,
	    b->sa_family == AF_INET6  ? sizeof(struct sockaddr_in6)
	    : b->sa_family == AF_INET ? sizeof(struct sockaddr_in)
	                              : sizeof(struct srp_ib_addr));
	srp_format_addr(a, x, sizeof x);
	srp_format_addr(&other, y, sizeof y);
	return strcmp(x, y) == 0;
}

static void
listening_free(struct srp_listening *li)
{
	list_remove(&li->link);
	if (li->listener != NULL)
		li->server->ops->unlisten(li->listener);
	free(li);
}

int
srp_server_unlisten(struct srp_server *s, const struct sockaddr *addr, uint16_t tag)
{
	LIST_FOREACH (l, &s->listenings) {
		struct srp_listening *li = container_of(l, struct srp_listening, link);
		if (li->tag == tag && same_endpoint(&li->addr, addr)) {
			listening_free(li);
			return 0;
		}
	}
	return -ENOENT;
}

bool
srp_server_portal(const struct srp_server *s, unsigned i, struct srp_portal_info *ret)
{
	LIST_FOREACH (l, &s->listenings) {
		const struct srp_listening *li = container_of(l, struct srp_listening, link);
		if (i-- > 0)
			continue;
		*ret = (struct srp_portal_info){
		    .addr = li->addr, .tag = li->tag, .listening = li->listener != NULL};
		return true;
	}
	return false;
}

static void
stop_listening(struct srp_server *s)
{
	for (struct list *l; (l = s->listenings.next) != &s->listenings;)
		listening_free(container_of(l, struct srp_listening, link));
}

void
srp_server_maybe_stopped(struct srp_server *s)
{
	if (!s->stopping || s->stopped == NULL || s->chan_count > 0 || s->session_count > 0 ||
	    !list_empty(&s->retired) || s->stop_msg_busy)
		return;
	if (s->backend_started)
		s->ops->stop(s->backend);
	s->backend_started = false;
	void (*stopped)(void *ctx) = s->stopped;
	s->stopped = NULL;
	stopped(s->stopped_ctx);
}

static void
on_stop_msg(struct loop_msg *m)
{
	struct srp_server *s = container_of(m, struct srp_server, stop_msg);
	s->stop_msg_busy = false;
	srp_server_maybe_stopped(s);
}

void
srp_server_stop(struct srp_server *s, void (*done)(void *ctx), void *ctx)
{
	ASSERT(!s->stopping);
	s->stopping = true;
	s->stopped = done;
	s->stopped_ctx = ctx;
	stop_listening(s);
	loop_timer_cancel(&s->timer);
	LIST_FOREACH (l, &s->sessions)
		srp_session_end_soon(
		    s, container_of(l, struct srp_session, home_link), "the target stops");
	srp_registry_retry(s);
	s->stop_msg_busy = true;
	s->stop_msg.run = on_stop_msg;
	loop_send(s->home, &s->stop_msg);
}

void
srp_server_destroy(struct srp_server *s)
{
	if (s == NULL)
		return;
	ASSERT(s->chan_count == 0 && s->session_count == 0);
	stop_listening(s);
	loop_timer_cancel(&s->timer);
	if (s->backend_started)
		s->ops->stop(s->backend);
	free(s);
}

int
srp_server_drop(struct srp_server *s, uint32_t session, const char *reason)
{
	LIST_FOREACH (l, &s->sessions) {
		struct srp_session *x = container_of(l, struct srp_session, home_link);
		if (x->id == session && !x->gone_seen) {
			srp_session_end_soon(s, x, reason);
			return 0;
		}
	}
	return -ENOENT;
}
