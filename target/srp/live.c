/* SPDX-License-Identifier: BSD-2-Clause */
/* Changes of the configuration while sessions work, and snapshots of them. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "srp/chan.h"

/*
 * LV-1  Sessions hold names and their view, and nothing else of a configuration.
 * LV-2  A configuration that was replaced is told when no session is left that it, or one before it,
 *       gave a view which the next one doesn't: those that were ended by then.
 */
struct retired {
	struct list link;
	struct srp_server *server;
	struct srp_config *config;
	uint64_t epoch;
	struct loop_msg msg;
	bool told;
	void (*done)(void *ctx, struct srp_config *old);
	void *ctx;
};

struct srp_claim
srp_session_claim(const struct srp_session *x)
{
	return (struct srp_claim){
	    .initiator = x->initiator,
	    .peer = &x->peer,
	    .portal_tag = x->portal_tag,
	    .rel_port_id = x->rel_port_id,
	    .target = x->target,
	    .target_port = x->target_port,
	    .group = x->in_group ? x->group : NULL,
	    .view = x->view,
	};
}

static void
on_retired(struct loop_msg *m)
{
	struct retired *r = container_of(m, struct retired, msg);
	struct srp_server *s = r->server;
	void (*done)(void *ctx, struct srp_config *old) = r->done;
	void *ctx = r->ctx;
	struct srp_config *config = r->config;
	list_remove(&r->link);
	free(r);
	if (done != NULL)
		done(ctx, config);
	srp_server_maybe_stopped(s);
}

/* Does a session of before this change still end? */
static bool
some_end(const struct srp_server *s, uint64_t epoch)
{
	LIST_FOREACH (l, &s->sessions) {
		const struct srp_session *x = container_of(l, struct srp_session, home_link);
		if (x->ending && !x->gone_seen && x->born_epoch < epoch)
			return true;
	}
	return false;
}

void
srp_live_check(struct srp_server *s)
{
	LIST_FOREACH (l, &s->retired) {
		struct retired *r = container_of(l, struct retired, link);
		if (r->told || some_end(s, r->epoch))
			continue;
		r->told = true;
		r->msg.run = on_retired;
		loop_send(s->home, &r->msg);
	}
}

int
srp_server_set_config(struct srp_server *s, struct srp_config *config,
    void (*done)(void *ctx, struct srp_config *old), void *ctx)
{
	struct retired *r = calloc(1, sizeof *r);
	if (r == NULL)
		return -ENOMEM;
	*r = (struct retired){.server = s, .config = s->config, .done = done, .ctx = ctx};
	r->epoch = ++s->epoch;
	list_push_back(&s->retired, &r->link);
	s->config = config;
	LIST_FOREACH (l, &s->sessions) {
		struct srp_session *x = container_of(l, struct srp_session, home_link);
		struct srp_claim claim = srp_session_claim(x);
		const char *why = srp_access_regrant(config, &claim);
		if (why != NULL)
			srp_session_end_soon(s, x, why);
	}
	srp_live_check(s);
	return 0;
}

/* ---- snapshots ----------------------------------------------------------------------------------- */

static void
snapshot(const struct srp_session *x, struct srp_session_info *i)
{
	memset(i, 0, sizeof *i);
	i->id = x->id;
	i->portal_tag = x->portal_tag;
	i->rel_port_id = x->rel_port_id;
	memcpy(i->initiator_port, x->initiator_port, SRP_PORT_ID_BYTES);
	memcpy(i->target_port, x->target_port, SRP_PORT_ID_BYTES);
	snprintf(i->initiator, sizeof i->initiator, "%s", x->initiator);
	snprintf(i->target, sizeof i->target, "%s", x->target);
	snprintf(i->group, sizeof i->group, "%s", x->group);
	snprintf(i->device, sizeof i->device, "%s", x->device);
	srp_format_addr(&x->peer.addr, i->address, sizeof i->address);
	srp_format_addr(&x->local, i->local_address, sizeof i->local_address);
	i->channels = x->chans_up;
	i->immediate = x->immediate;
	i->ending = x->ending;
	i->view = x->view;
	i->connected_s = (loop_now_ns(x->server->home) - x->since_ns) / 1000000000u;
#define COUNT(field) i->field = __atomic_load_n(&x->counts.field, __ATOMIC_RELAXED)
	COUNT(reads);
	COUNT(writes);
	COUNT(others);
	COUNT(read_bytes);
	COUNT(write_bytes);
	COUNT(immediate_bytes);
	COUNT(copied_bytes);
#undef COUNT
	i->loop = x->loop_idx;
}

uint32_t
srp_server_session_count(const struct srp_server *s)
{
	return s->session_count;
}

uint32_t
srp_server_sessions(const struct srp_server *s, struct srp_session_info *ret, uint32_t cap)
{
	uint32_t n = 0;
	LIST_FOREACH (l, &s->sessions) {
		const struct srp_session *x = container_of(l, struct srp_session, home_link);
		if (n == cap)
			break;
		if (x->raised && !x->gone_seen)
			snapshot(x, &ret[n++]);
	}
	return n;
}

uint32_t
srp_server_affected(const struct srp_server *s, const struct srp_config *config,
    struct srp_session_info *ret, uint32_t cap)
{
	uint32_t n = 0;
	LIST_FOREACH (l, &s->sessions) {
		const struct srp_session *x = container_of(l, struct srp_session, home_link);
		struct srp_claim claim = srp_session_claim(x);
		const char *why = srp_access_regrant(config, &claim);
		if (x->ending || x->gone_seen || why == NULL)
			continue;
		if (n < cap) {
			snapshot(x, &ret[n]);
			ret[n].reason = why;
		}
		n++;
	}
	return n;
}
