/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The SRP frontend of the daemon. There is always a server where terraced was built with RDMA; it opens
 * no device before a portal wants to listen, and waits for one where there is none.
 */
#include "daemon/srp.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/log.h"
#include "cache/ram/ram_tier.h"
#include "daemon/caches.h"
#include "daemon/plan.h"

/* ---- events ------------------------------------------------------------------------------------ */

static void
log_event(const struct srp_event *e)
{
	switch (e->kind) {
	case SRP_EVENT_LOGIN:
		log_info("srp", "login initiator=%s target=%s address=%s device=%s session=%u",
		    e->initiator, e->target, e->address, e->device, e->session);
		break;
	case SRP_EVENT_CHANNEL:
		log_info("srp", "channel initiator=%s target=%s address=%s session=%u channels=%u",
		    e->initiator, e->target, e->address, e->session, e->channels);
		break;
	case SRP_EVENT_LOGOUT:
		log_info("srp", "logout initiator=%s target=%s address=%s session=%u reason=\"%s\"",
		    e->initiator, e->target, e->address, e->session, e->reason);
		break;
	case SRP_EVENT_DROPPED:
		log_warn("srp",
		    "session lost initiator=%s target=%s address=%s session=%u reason=\"%s\"",
		    e->initiator, e->target, e->address, e->session, e->reason);
		break;
	case SRP_EVENT_REFUSED: {
		static struct log_limit limit;
		uint32_t suppressed;
		if (log_limit_ok(&limit, loop_now_ns(loop_current()), &suppressed))
			log_warn("srp",
			    "login refused initiator=%s target=%s address=%s status=%08x "
			    "reason=\"%s\" suppressed=%u",
			    e->initiator[0] != '\0' ? e->initiator : "?",
			    e->target[0] != '\0' ? e->target : "?", e->address, e->status,
			    e->reason, suppressed);
		break;
	}
	case SRP_EVENT_DEVICE:
		log_info("srp", "device=%s %s", e->device[0] != '\0' ? e->device : "-", e->reason);
		break;
	case SRP_EVENT_COUNT:
		break;
	}
}

/* In the terms of the other frontend, for those who count logins. */
static void
on_event(void *ctx, const struct srp_event *e)
{
	static const struct {
		bool told;
		enum iscsi_event_kind kind;
	} kinds[SRP_EVENT_COUNT] = {
	    [SRP_EVENT_LOGIN] = {true, ISCSI_EVENT_LOGIN},
	    [SRP_EVENT_LOGOUT] = {true, ISCSI_EVENT_LOGOUT},
	    [SRP_EVENT_DROPPED] = {true, ISCSI_EVENT_DROPPED},
	    [SRP_EVENT_REFUSED] = {true, ISCSI_EVENT_REFUSED},
	};
	struct daemon *d = ctx;
	log_event(e);
	if (d->monitor == NULL || !kinds[e->kind].told)
		return;
	const struct iscsi_event same = {
	    .kind = kinds[e->kind].kind,
	    .initiator = e->initiator,
	    .target = e->target,
	    .address = e->address,
	    .user = "",
	    .reason = e->reason,
	    .status = (uint16_t)e->status,
	    .tsih = e->session != 0 ? DAEMON_SRP_SESSIONS + e->session : 0,
	};
	logins_event(monitor_logins(d->monitor), &same);
}

/* ---- the server ---------------------------------------------------------------------------------- */

int
daemon_create_srp(void *ctx)
{
	struct daemon *d = ctx;
	int rc = srp_verbs_create(&d->srp_backend);
	if (rc == -ENOTSUP)
		return 0;
	struct srp_server_args args = {
	    .core = d->core,
	    .loops = d->loops,
	    .loop_count = d->loop_count,
	    .config = d->srp_config,
	    .backend = d->srp_backend,
	    .event = on_event,
	    .event_ctx = d,
	};
	srp_limits_default(&args.limits);
	if (rc == 0)
		rc = srp_server_create(&args, &d->srp);
	if (rc < 0) {
		srp_verbs_destroy(d->srp_backend);
		d->srp_backend = NULL;
	}
	return rc;
}

void
daemon_destroy_srp(void *ctx)
{
	struct daemon *d = ctx;
	srp_server_destroy(d->srp);
	srp_verbs_destroy(d->srp_backend);
	d->srp = NULL;
	d->srp_backend = NULL;
}

void
daemon_end_srp(struct daemon *d, void (*done)(void *daemon))
{
	if (d->srp == NULL)
		done(d);
	else
		srp_server_stop(d->srp, done, d);
}

/* ---- portals --------------------------------------------------------------------------------------- */

bool
daemon_srp_resolve(const char *text, struct sockaddr_storage *ret, socklen_t *ret_len)
{
	unsigned port;
	char end;
	if (sscanf(text, "ib:%u%c", &port, &end) != 1 || port > 65535)
		return false;
	struct srp_ib_addr ib = {.family = AF_IB, .port = (uint16_t)port};
	memset(ret, 0, sizeof *ret);
	memcpy(ret, &ib, sizeof ib);
	*ret_len = sizeof ib;
	return true;
}

/* Of the RAM tiers, which are there from the start to the end. Told once, when somebody listens. */
static void
tell_memory(struct daemon *d)
{
	void *base;
	size_t len;
	if (d->srp_memory_told)
		return;
	d->srp_memory_told = true;
	for (unsigned i = 0; i < d->cache_count; i++)
		for (unsigned k = 0; d->caches[i]->ram != NULL &&
		                     ram_tier_memory(d->caches[i]->ram, k, &base, &len);
		     k++)
			(void)srp_verbs_add_memory(d->srp_backend, base, len);
}

int
daemon_srp_listen(struct daemon *d, const struct plan_address *a, struct sockaddr_storage *ret)
{
	const char *text = a->address->text;
	*ret = a->sa;
	if (d->srp == NULL) {
		log_warn("srp", "listen=%s this terraced was built without RDMA: not served there",
		    text);
		return 0;
	}
	tell_memory(d);
	if (a->sa.ss_family == AF_IB)
		log_warn(
		    "srp", "listen=%s logins of the IB CM have never been tried on hardware", text);
	int rc =
	    srp_server_listen(d->srp, (const struct sockaddr *)&a->sa, a->sa_len, a->portal->tag);
	if (rc == -ENODEV) {
		log_warn("srp", "listen=%s no RDMA device has this address: waiting for one", text);
		return 0;
	}
	struct srp_portal_info info;
	for (unsigned i = 0; rc == 0 && srp_server_portal(d->srp, i, &info); i++)
		*ret = info.addr;
	return rc;
}

void
daemon_srp_unlisten(struct daemon *d, const struct sockaddr_storage *sa, uint16_t tag)
{
	if (d->srp != NULL)
		(void)srp_server_unlisten(d->srp, (const struct sockaddr *)sa, tag);
}

/* ---- targets ---------------------------------------------------------------------------------------- */

static struct scsi_view *
view_of(const struct daemon_objects *o, const char *target, const char *group)
{
	char *key = daemon_view_key(target, group);
	if (key == NULL)
		return NULL;
	const struct daemon_view *v = names_find(&o->view_names, key);
	free(key);
	ASSERT(v != NULL && v->view != NULL);
	return v->view;
}

void
daemon_srp_ids(const struct conf_target *t, uint8_t ret[SRP_PORT_ID_BYTES])
{
	srp_target_id_default(t->name, ret);
	/* conf_build() has checked the digits. */
	if (t->srp_id_ext != NULL)
		(void)srp_hex_parse(t->srp_id_ext, ret, 8);
	if (t->srp_ioc_guid != NULL)
		(void)srp_hex_parse(t->srp_ioc_guid, ret + 8, 8);
}

/* The target's portals that speak SRP. */
static unsigned
fill_portals(const struct conf_target *t, const struct daemon_objects *o, uint16_t base,
    uint16_t *tags, uint16_t *ids)
{
	unsigned n = 0;
	for (unsigned i = 0; i < t->portal_count; i++) {
		const struct daemon_portal *portal = names_find(&o->portal_names, t->portals[i]);
		ASSERT(portal != NULL && portal->tag != 0);
		if (portal->protocol != CONF_PROTOCOL_SRP)
			continue;
		tags[n] = portal->tag;
		ids[n++] = (uint16_t)(base + portal->tag - 1);
	}
	return n;
}

static int
add_target(struct srp_config *config, const struct conf_target *t, const struct daemon_objects *o,
    uint16_t base, char *reason, size_t cap)
{
	uint16_t *tags = calloc(2 * (size_t)t->portal_count + 1, sizeof *tags);
	struct srp_group_args *groups = calloc(t->group_count + 1, sizeof *groups);
	int rc = tags == NULL || groups == NULL ? -ENOMEM : 0;
	struct srp_target_args args = {
	    .name = t->name,
	    .groups = groups,
	    .group_count = t->group_count,
	    .allow = (const char *const *)t->allow,
	    .allow_count = t->allow_count,
	    .deny = (const char *const *)t->deny,
	    .deny_count = t->deny_count,
	};
	for (unsigned i = 0; rc == 0 && i < t->group_count; i++) {
		const struct conf_group *g = &t->groups[i];
		groups[i] = (struct srp_group_args){
		    .name = g->name,
		    .initiators = (const char *const *)g->initiators,
		    .initiator_count = g->initiator_count,
		    .needs_chap = g->user_count > 0,
		    .view = view_of(o, t->name, g->name),
		};
		rc = groups[i].view == NULL ? -ENOMEM : 0;
	}
	if (rc == 0 && t->open && (args.open_view = view_of(o, t->name, NULL)) == NULL)
		rc = -ENOMEM;
	if (rc == 0) {
		args.portal_tags = tags;
		args.rel_port_ids = tags + t->portal_count;
		args.portal_count = fill_portals(t, o, base, tags, tags + t->portal_count);
		daemon_srp_ids(t, args.port_id);
		if (args.portal_count > 0)
			rc = srp_config_add_target(config, &args, reason, cap);
	}
	free(tags);
	free(groups);
	return rc;
}

int
daemon_srp_config(const struct conf *conf, const struct daemon_objects *o, const uint16_t *bases,
    struct srp_config **ret, char *reason, size_t cap)
{
	struct srp_config *config;
	snprintf(reason, cap, "out of memory");
	int rc = srp_config_create(&config);
	if (rc < 0)
		return rc;
	for (unsigned i = 0; rc == 0 && i < conf->target_count; i++)
		rc = add_target(config, &conf->targets[i], o, bases[i], reason, cap);
	if (rc == 0)
		rc = srp_config_set_access(config, (const char *const *)conf->allow,
		    conf->allow_count, (const char *const *)conf->deny, conf->deny_count, reason,
		    cap);
	if (rc < 0) {
		srp_config_destroy(config);
		return rc;
	}
	*ret = config;
	return 0;
}

/* ---- sessions ---------------------------------------------------------------------------------------- */

static void
convert(const struct srp_session_info *x, struct daemon_session *s)
{
	struct iscsi_session_info *i = &s->info;
	*s = (struct daemon_session){
	    .srp = true,
	    .number = DAEMON_SRP_SESSIONS + x->id,
	    .channels = x->channels,
	    .immediate_bytes = x->immediate_bytes,
	    .copied_bytes = x->copied_bytes,
	};
	i->portal_tag = x->portal_tag;
	i->rel_port_id = x->rel_port_id;
	snprintf(i->initiator, sizeof i->initiator, "%s", x->initiator);
	snprintf(i->target, sizeof i->target, "%s", x->target);
	snprintf(i->address, sizeof i->address, "%s", x->address);
	snprintf(i->local_address, sizeof i->local_address, "%s", x->local_address);
	snprintf(i->group, sizeof i->group, "%s", x->group);
	i->ending = x->ending;
	i->view = x->view;
	i->connected_s = x->connected_s;
	i->reads = x->reads;
	i->writes = x->writes;
	i->others = x->others;
	i->read_bytes = x->read_bytes;
	i->write_bytes = x->write_bytes;
	i->reason = x->reason;
	i->loop = x->loop;
}

uint32_t
daemon_session_count(const struct daemon *d)
{
	return iscsi_server_session_count(d->iscsi) +
	       (d->srp != NULL ? srp_server_session_count(d->srp) : 0);
}

/* Appends up to cap - n of SRP's: all, or those that `config` would end. */
static uint32_t
append_srp(const struct daemon *d, const struct srp_config *config, struct daemon_session *ret,
    uint32_t n, uint32_t cap)
{
	if (d->srp == NULL || n >= cap)
		return n;
	uint32_t count = srp_server_session_count(d->srp);
	struct srp_session_info *list = calloc(count + 1u, sizeof *list);
	if (list == NULL)
		return n;
	count = config != NULL ? srp_server_affected(d->srp, config, list, count)
	                       : srp_server_sessions(d->srp, list, count);
	for (uint32_t i = 0; i < count && n < cap; i++)
		convert(&list[i], &ret[n++]);
	free(list);
	return n;
}

static uint32_t
append_iscsi(const struct daemon *d, const struct iscsi_config *config, struct daemon_session *ret,
    uint32_t cap)
{
	uint32_t count = iscsi_server_session_count(d->iscsi);
	struct iscsi_session_info *list = calloc(count + 1u, sizeof *list);
	if (list == NULL)
		return 0;
	count = config != NULL ? iscsi_server_affected(d->iscsi, config, list, count)
	                       : iscsi_server_sessions(d->iscsi, list, count);
	uint32_t n = 0;
	for (; n < count && n < cap; n++)
		ret[n] =
		    (struct daemon_session){.number = list[n].tsih, .info = list[n], .channels = 1};
	free(list);
	return n;
}

uint32_t
daemon_sessions(const struct daemon *d, struct daemon_session *ret, uint32_t cap)
{
	return append_srp(d, NULL, ret, append_iscsi(d, NULL, ret, cap), cap);
}

uint32_t
daemon_sessions_affected(
    const struct daemon *d, const struct plan *p, struct daemon_session *ret, uint32_t cap)
{
	uint32_t n = p->iscsi != NULL ? append_iscsi(d, p->iscsi, ret, cap) : 0;
	return p->srp != NULL ? append_srp(d, p->srp, ret, n, cap) : n;
}

int
daemon_session_drop(struct daemon *d, const struct daemon_session *s, const char *reason)
{
	if (s->srp)
		return srp_server_drop(d->srp, s->number - DAEMON_SRP_SESSIONS, reason);
	return iscsi_server_drop(d->iscsi, s->info.tsih, reason);
}
