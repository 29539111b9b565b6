/* SPDX-License-Identifier: BSD-2-Clause */
/* Units, views, SCSI ports, targets and sockets of a plan; and back. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "daemon/plan.h"
#include "daemon/srp.h"

static int make_targets(struct plan *p);

#define LISTEN_TRIES 30u
#define LISTEN_RETRY_US 100000u

static int
no_memory(struct plan *p)
{
	snprintf(p->reason, sizeof p->reason, "out of memory");
	return -ENOMEM;
}

/* ---- units and views ------------------------------------------------------------------------------ */

static int
make_units(struct plan *p)
{
	for (unsigned i = 0; i < p->lun_count; i++) {
		const struct plan_lun *pl = &p->luns[i];
		if (pl->after == NULL || pl->after == pl->before || pl->after->blk == NULL)
			continue;
		int rc = daemon_lun_create_unit(pl->after, p->reason, sizeof p->reason);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int
make_view(
    struct plan *p, struct daemon_view *v, const struct scsi_view_entry *entries, unsigned count)
{
	scsi_view_destroy(v->view);
	v->view = NULL;
	int rc = scsi_view_create(p->daemon->core, entries, count, &v->view);
	if (rc < 0)
		snprintf(p->reason, sizeof p->reason, "a view can't be made: %s", strerror(-rc));
	return rc;
}

/* New ones; those that stay change when the plan is applied. */
static int
make_views(struct plan *p)
{
	for (unsigned i = 0; i < p->view_count; i++) {
		struct plan_view *pv = &p->views[i];
		struct scsi_view_entry *entries;
		unsigned count;
		if (pv->before != NULL)
			continue;
		if (plan_view_entries(&p->next, pv->luns, pv->lun_count, &entries, &count) < 0)
			return no_memory(p);
		int rc = make_view(p, pv->after, entries, count);
		free(entries);
		if (rc < 0)
			return rc;
	}
	return 0;
}

int
plan_preview(struct plan *p)
{
	for (unsigned i = 0; i < p->view_count; i++) {
		int rc = p->views[i].before == NULL ? make_view(p, p->views[i].after, NULL, 0) : 0;
		if (rc < 0)
			return rc;
	}
	ASSERT(p->iscsi == NULL);
	return make_targets(p);
}

/* ---- SCSI ports --------------------------------------------------------------------------------------- */

static int
by_rel_id(const void *a, const void *b)
{
	const struct daemon_port *x = a, *y = b;
	return x->rel_id < y->rel_id ? -1 : x->rel_id > y->rel_id;
}

static bool
has_port(const struct daemon_objects *o, const struct daemon_port *port)
{
	return o->port_count > 0 && bsearch(port, o->ports, o->port_count, sizeof *port, by_rel_id);
}

static int
list_ports(struct plan *p)
{
	const struct conf *conf = p->config.conf;
	unsigned count = 0;

	for (unsigned i = 0; i < conf->target_count; i++)
		count += conf->targets[i].portal_count;
	p->next.ports = calloc(count + 1, sizeof *p->next.ports);
	if (p->next.ports == NULL)
		return no_memory(p);
	for (unsigned i = 0; i < conf->target_count; i++) {
		const struct conf_target *t = &conf->targets[i];
		for (unsigned k = 0; k < t->portal_count; k++) {
			const struct daemon_portal *portal =
			    names_find(&p->next.portal_names, t->portals[k]);
			ASSERT(portal != NULL); /* conf_build() checked the names */
			struct daemon_port *port = &p->next.ports[p->next.port_count++];
			port->rel_id = (uint16_t)(p->bases[i] + portal->tag - 1);
			port->tag = portal->tag;
			port->target = t->name;
		}
	}
	qsort(p->next.ports, p->next.port_count, sizeof *p->next.ports, by_rel_id);
	return 0;
}

/* SCSI target port names: RFC 7143 §4.2.7.4's form for iSCSI, the identifier for SRP (SPC-4 7.8.6.11). */
static void
port_name(const struct plan *p, const struct daemon_port *port, char *buf, size_t cap)
{
	const struct conf *conf = p->config.conf;
	bool srp = false;
	for (unsigned i = 0; i < p->next.portal_count; i++)
		srp = srp || (p->next.portals[i]->tag == port->tag &&
		                 p->next.portals[i]->protocol == CONF_PROTOCOL_SRP);
	snprintf(buf, cap, "%s,t,0x%04x", port->target, port->tag);
	for (unsigned i = 0; srp && i < conf->target_count; i++) {
		uint8_t id[SRP_PORT_ID_BYTES];
		char hex[2 * SRP_PORT_ID_BYTES + 1];
		if (strcmp(conf->targets[i].name, port->target) != 0)
			continue;
		daemon_srp_ids(&conf->targets[i], id);
		srp_hex_format(id, sizeof id, hex);
		snprintf(buf, cap, "eui.%s", hex);
	}
}

static int
make_ports(struct plan *p)
{
	for (unsigned i = 0; i < p->next.port_count; i++) {
		const struct daemon_port *port = &p->next.ports[i];
		char name[ISCSI_NAME_MAX + 16];
		if (has_port(&p->daemon->now, port))
			continue;
		port_name(p, port, name, sizeof name);
		int rc = scsi_core_add_port(
		    p->daemon->core, port->rel_id, port->tag, port->target, name);
		if (rc == 0)
			p->ports_made = i + 1;
		if (rc < 0) {
			snprintf(p->reason, sizeof p->reason, "target %s: %s", port->target,
			    strerror(-rc));
			return rc;
		}
	}
	return 0;
}

/* ---- targets, for each protocol ---------------------------------------------------------------------- */

static void
forget_targets(struct plan *p)
{
	iscsi_config_destroy(p->iscsi);
	srp_config_destroy(p->srp);
	p->iscsi = NULL;
	p->srp = NULL;
}

static int
make_targets(struct plan *p)
{
	int rc = target_config(
	    p->config.conf, &p->next, p->bases, &p->iscsi, p->reason, sizeof p->reason);
	if (rc == 0)
		rc = daemon_srp_config(
		    p->config.conf, &p->next, p->bases, &p->srp, p->reason, sizeof p->reason);
	return rc;
}

/* ---- the whole -------------------------------------------------------------------------------------- */

int
plan_make(struct plan *p)
{
	forget_targets(p); /* of plan_preview(); they have views that are made anew */
	int rc = make_units(p);
	if (rc == 0)
		rc = make_views(p);
	if (rc == 0)
		rc = list_ports(p);
	if (rc == 0)
		rc = make_ports(p);
	if (rc == 0)
		rc = make_targets(p);
	return rc;
}

void
plan_unmake(struct plan *p)
{
	ASSERT(!p->adopted);
	forget_targets(p);
	for (unsigned i = 0; i < p->ports_made; i++)
		if (!has_port(&p->daemon->now, &p->next.ports[i]))
			scsi_core_remove_port(p->daemon->core, p->next.ports[i].rel_id);
	p->ports_made = 0;
	for (unsigned i = 0; i < p->view_count; i++) {
		struct plan_view *pv = &p->views[i];
		if (pv->before == NULL) {
			scsi_view_destroy(pv->after->view);
			pv->after->view = NULL;
		}
	}
}

/* ---- sockets ---------------------------------------------------------------------------------------- */

/* The address that was listened on last. */
static void
real_address(const struct daemon *d, struct daemon_address *a)
{
	struct sockaddr_storage sa;
	for (unsigned i = 0; iscsi_server_portal(d->iscsi, i, &sa); i++)
		a->real = sa;
}

/*
 * A process that was killed may keep its port for a moment, until the kernel has ended its requests:
 * while the port is taken and nobody has it, a start tries again.
 */
static int
listen_iscsi(struct daemon *d, const struct plan_address *a)
{
	for (unsigned tries = 0;; tries++) {
		char holder[96];
		int rc = iscsi_server_listen(
		    d->iscsi, (const struct sockaddr *)&a->sa, a->sa_len, a->portal->tag);
		if (rc == 0)
			real_address(d, a->address);
		if (rc != -EADDRINUSE || tries == LISTEN_TRIES || loop_current() != NULL)
			return rc;
		holder_of_port((unsigned)atoi(a->port), holder, sizeof holder);
		if (holder[0] != '\0')
			return rc;
		usleep(LISTEN_RETRY_US);
	}
}

static int
listen_on(struct daemon *d, struct plan_address *a)
{
	int rc = a->portal->protocol == CONF_PROTOCOL_SRP
	             ? daemon_srp_listen(d, a, &a->address->real)
	             : listen_iscsi(d, a);
	if (rc == 0)
		a->address->listening = true;
	return rc;
}

static void
unlisten(struct daemon *d, const struct daemon_portal *portal, struct daemon_address *a)
{
	if (portal->protocol == CONF_PROTOCOL_SRP)
		daemon_srp_unlisten(d, &a->real, portal->tag);
	else
		(void)iscsi_server_unlisten(
		    d->iscsi, (const struct sockaddr *)&a->real, portal->tag);
	a->listening = false;
}

int
plan_listen(struct plan *p, const struct plan_address **ret_failed)
{
	for (unsigned i = 0; i < p->address_count; i++) {
		struct plan_address *a = &p->addresses[i];
		if (a->late)
			continue;
		int rc = listen_on(p->daemon, a);
		if (rc < 0) {
			*ret_failed = a;
			return rc;
		}
	}
	return 0;
}

void
plan_unlisten(struct plan *p)
{
	ASSERT(!p->adopted);
	for (unsigned i = 0; i < p->address_count; i++) {
		struct plan_address *a = &p->addresses[i];
		if (a->address->listening)
			unlisten(p->daemon, a->portal, a->address);
	}
}

static bool
still_listens(const struct daemon *d, const struct daemon_portal *portal, const char *text)
{
	const struct daemon_portal *now = daemon_portal_find(d, portal->name);
	if (now != NULL && now->protocol != portal->protocol)
		return false;
	for (unsigned i = 0; now != NULL && i < now->address_count; i++)
		if (strcmp(now->addresses[i].text, text) == 0)
			return true;
	return false;
}

void
plan_retire(struct plan *p)
{
	struct daemon *d = p->daemon;
	ASSERT(p->adopted);
	for (unsigned i = 0; i < p->next.port_count; i++)
		if (!has_port(&d->now, &p->next.ports[i]))
			scsi_core_remove_port(d->core, p->next.ports[i].rel_id);
	for (unsigned i = 0; i < p->next.portal_count; i++) {
		struct daemon_portal *portal = p->next.portals[i];
		for (unsigned k = 0; k < portal->address_count; k++) {
			struct daemon_address *a = &portal->addresses[k];
			if (a->listening && !still_listens(d, portal, a->text))
				unlisten(d, portal, a);
		}
	}
	/* An address that moved from one portal to another is free now. */
	for (unsigned i = 0; i < p->address_count; i++) {
		struct plan_address *a = &p->addresses[i];
		if (a->late)
			(void)listen_on(d, a);
	}
}
