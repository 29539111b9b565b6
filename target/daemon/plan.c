/* SPDX-License-Identifier: BSD-2-Clause */
/* What a configuration asks for, compared with what is served. */
#include "daemon/caches.h"
#include "daemon/change_priv.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/text.h"
#include "daemon/srp.h"

__attribute__((format(printf, 3, 4))) static int
refuse(struct plan *p, int err, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(p->reason, sizeof p->reason, fmt, ap);
	va_end(ap);
	return err;
}

static int
no_memory(struct plan *p)
{
	return refuse(p, -ENOMEM, "out of memory");
}

/* ---- LUNs ----------------------------------------------------------------------------------------- */

static bool
same_text(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/*
 * Whether the unit can stay: what initiators know it by, how its store was opened. Size,
 * mode and read_only are looked at apart.
 */
static bool
same_unit(const struct conf_lun *a, const struct conf_lun *b)
{
	return same_text(a->store, b->store) && same_text(a->cache, b->cache) &&
	       a->block_size == b->block_size && a->physical_exponent == b->physical_exponent &&
	       a->removable == b->removable && a->rotational == b->rotational &&
	       a->rotational_set == b->rotational_set && a->sanitize == b->sanitize &&
	       a->thin == b->thin && same_text(a->uuid, b->uuid) && same_text(a->naa, b->naa) &&
	       same_text(a->eui64, b->eui64) && same_text(a->serial, b->serial) &&
	       same_text(a->t10_id, b->t10_id) && same_text(a->vendor, b->vendor) &&
	       same_text(a->product, b->product) && same_text(a->revision, b->revision);
}

/* A weaker meaning of GOOD waits until nobody is left who was told the stronger one. */
static bool
same_mode(const struct plan *p, const struct daemon_lun *l, const struct conf_lun *after)
{
	bool is_volatile = conf_lun_mode(after) == CONF_MODE_VOLATILE;
	if (l->is_volatile == is_volatile)
		return true;
	return is_volatile && l->lu != NULL && p->by != NULL && !change_forces(p->by, l->name) &&
	       daemon_lun_users(l, NULL, 0) > 0;
}

/* A store that was opened for reading only can't be written to without opening it again. */
static bool
must_reopen(const struct daemon_lun *l, const struct conf_lun *after)
{
	return l->conf->read_only && !after->read_only && l->blk != NULL &&
	       (blk_get_info(l->blk)->caps & BLK_CAP_READ_ONLY) != 0;
}

/* The size of a LUN that stays: it may grow. */
static int
plan_size(struct plan *p, struct plan_lun *pl)
{
	const struct conf_lun *c = pl->conf;
	uint64_t before = pl->before->conf->size_bytes, is;
	char want[32], have[32];

	if (c->size_bytes == 0 || c->size_bytes == before || pl->before->blk == NULL)
		return 0;
	is = blk_get_info(pl->before->blk)->size_bytes;
	if (c->size_bytes == is)
		return 0;
	text_format_size(c->size_bytes, want, sizeof want);
	text_format_size(is, have, sizeof have);
	if (daemon_is_memory(c->store))
		return refuse(p, -EINVAL,
		    "LUN %s: memory keeps its size (%s): delete the LUN and create it again",
		    c->name, have);
	if (c->size_bytes < is)
		return refuse(p, -EINVAL,
		    "LUN %s has %s, %s would cut off its end: a LUN never shrinks", c->name, have,
		    want);
	if (strncmp(blk_get_info(pl->before->blk)->driver, "file", 4) != 0)
		return refuse(p, -EINVAL,
		    "LUN %s: %s has %s, not %s: grow the device first, as with lvextend", c->name,
		    c->store, have, want);
	pl->grow_to = c->size_bytes;
	return 0;
}

static bool
shares_identity(const struct conf_lun *a, const struct conf_lun *b)
{
	return (a->uuid != NULL && same_text(a->uuid, b->uuid)) ||
	       (a->naa != NULL && strcmp(a->naa, "none") != 0 && same_text(a->naa, b->naa)) ||
	       (a->eui64 != NULL && same_text(a->eui64, b->eui64)) ||
	       (a->serial != NULL && same_text(a->serial, b->serial)) ||
	       strcmp(a->store, b->store) == 0;
}

/* True if one that goes has what the new one needs. */
static bool
waits_for_another(const struct plan *p, const struct plan_lun *pl)
{
	for (unsigned i = 0; i < p->lun_count; i++) {
		const struct plan_lun *o = &p->luns[i];
		if (o->before != NULL && o->after != o->before && o->before->blk != NULL &&
		    shares_identity(pl->conf, o->before->conf))
			return true;
	}
	return false;
}

static int
plan_lun(struct plan *p, struct plan_lun *pl, const struct conf_lun *c)
{
	struct daemon_lun *before = names_find(&p->daemon->now.lun_names, c->name);
	*pl = (struct plan_lun){.before = before, .conf = c};
	if (before != NULL && same_unit(before->conf, c) && same_mode(p, before, c) &&
	    !must_reopen(before, c)) {
		pl->after = before;
		return plan_size(p, pl);
	}
	return daemon_lun_create(p->daemon, c, &pl->after) < 0 ? no_memory(p) : 0;
}

static int
plan_luns(struct plan *p)
{
	const struct conf *conf = p->config.conf;
	const struct daemon_objects *now = &p->daemon->now;
	struct daemon_objects *next = &p->next;
	bool goes = false;

	p->luns = calloc(conf->lun_count + now->lun_count + 1, sizeof *p->luns);
	next->luns = calloc(conf->lun_count + 1, sizeof(struct daemon_lun *));
	if (p->luns == NULL || next->luns == NULL ||
	    names_reserve(&next->lun_names, conf->lun_count) < 0)
		return no_memory(p);
	for (unsigned i = 0; i < conf->lun_count; i++) {
		struct plan_lun *pl = &p->luns[p->lun_count++];
		int rc = plan_lun(p, pl, &conf->luns[i]);
		if (rc < 0)
			return rc;
		next->luns[next->lun_count++] = pl->after;
		rc = names_add(&next->lun_names, pl->after->name, pl->after);
		ASSERT(rc == 0); /* conf_build() has refused doubles */
		goes = goes || (pl->before != NULL && pl->before != pl->after);
	}
	for (unsigned i = 0; i < now->lun_count; i++) {
		if (names_find(&next->lun_names, now->luns[i]->name) != NULL)
			continue;
		p->luns[p->lun_count++] = (struct plan_lun){.before = now->luns[i]};
		goes = true;
	}
	for (unsigned i = 0; goes && i < conf->lun_count; i++)
		if (p->luns[i].after != p->luns[i].before)
			p->luns[i].late = waits_for_another(p, &p->luns[i]);
	for (unsigned i = 0; i < p->lun_count; i++)
		if (p->luns[i].late &&
		    daemon_lun_create(p->daemon, p->luns[i].conf, &p->luns[i].trial) < 0)
			return no_memory(p);
	return 0;
}

/* ---- views ------------------------------------------------------------------------------------------ */

static int
plan_view(struct plan *p, const char *target, const char *group, const struct conf_group_lun *luns,
    unsigned lun_count)
{
	struct plan_view *more = reallocarray(p->views, p->view_count + 1, sizeof *more);
	struct daemon_view **list =
	    reallocarray(p->next.views, p->next.view_count + 1, sizeof(struct daemon_view *));
	char *key = daemon_view_key(target, group);
	if (more != NULL)
		p->views = more;
	if (list != NULL)
		p->next.views = list;
	if (more == NULL || list == NULL || key == NULL) {
		free(key);
		return no_memory(p);
	}
	struct plan_view *pv = &p->views[p->view_count];
	*pv = (struct plan_view){.luns = luns, .lun_count = lun_count};
	pv->before = pv->after = names_find(&p->daemon->now.view_names, key);
	if (pv->after == NULL) {
		pv->after = calloc(1, sizeof *pv->after);
		if (pv->after == NULL) {
			free(key);
			return no_memory(p);
		}
		pv->after->key = key;
	} else {
		free(key);
	}
	p->view_count++;
	p->next.views[p->next.view_count++] = pv->after;
	return names_add(&p->next.view_names, pv->after->key, pv->after) < 0 ? no_memory(p) : 0;
}

static int
plan_views(struct plan *p)
{
	const struct conf *conf = p->config.conf;
	const struct daemon_objects *now = &p->daemon->now;
	int rc = 0;

	for (unsigned i = 0; rc == 0 && i < conf->target_count; i++) {
		const struct conf_target *t = &conf->targets[i];
		for (unsigned g = 0; rc == 0 && g < t->group_count; g++)
			rc = plan_view(p, t->name, t->groups[g].name, t->groups[g].luns,
			    t->groups[g].lun_count);
		if (rc == 0 && t->open)
			rc = plan_view(p, t->name, NULL, t->luns, t->lun_count);
	}
	for (unsigned i = 0; rc == 0 && i < now->view_count; i++) {
		if (names_find(&p->next.view_names, now->views[i]->key) != NULL)
			continue;
		struct plan_view *more = reallocarray(p->views, p->view_count + 1, sizeof *more);
		if (more == NULL)
			return no_memory(p);
		p->views = more;
		p->views[p->view_count++] = (struct plan_view){.before = now->views[i]};
	}
	return rc;
}

int
plan_view_entries(const struct daemon_objects *o, const struct conf_group_lun *luns,
    unsigned lun_count, struct scsi_view_entry **ret, unsigned *ret_count)
{
	struct scsi_view_entry *entries = calloc(lun_count + 1, sizeof *entries);
	unsigned count = 0;
	if (entries == NULL)
		return -ENOMEM;
	for (unsigned i = 0; i < lun_count; i++) {
		const struct daemon_lun *l = names_find(&o->lun_names, luns[i].lun);
		ASSERT(l != NULL); /* conf_build() checked the names */
		if (l->lu == NULL)
			continue;
		entries[count++] = (struct scsi_view_entry){
		    .lun = (uint16_t)luns[i].number,
		    .read_only = luns[i].read_only,
		    .lu = l->lu,
		};
	}
	*ret = entries;
	*ret_count = count;
	return 0;
}

/* ---- portals ------------------------------------------------------------------------------------------ */

static struct daemon_address *
find_address(const struct daemon_portal *p, const char *text)
{
	for (unsigned i = 0; p != NULL && i < p->address_count; i++)
		if (strcmp(p->addresses[i].text, text) == 0)
			return &p->addresses[i];
	return NULL;
}

static bool
listened_elsewhere(const struct daemon *d, const struct daemon_portal *own, const char *text)
{
	for (unsigned i = 0; i < d->now.portal_count; i++)
		if (d->now.portals[i] != own && find_address(d->now.portals[i], text) != NULL)
			return true;
	return false;
}

static int
plan_addresses(struct plan *p, const struct conf_portal *c, struct daemon_portal *portal)
{
	const struct daemon_portal *before = names_find(&p->daemon->now.portal_names, c->name);

	portal->addresses = calloc(c->listen_count + 1, sizeof *portal->addresses);
	if (portal->addresses == NULL)
		return no_memory(p);
	for (unsigned i = 0; i < c->listen_count; i++) {
		struct daemon_address *a = &portal->addresses[i];
		const struct daemon_address *old = find_address(before, c->listen[i]);
		a->text = strdup(c->listen[i]);
		portal->address_count++;
		if (a->text == NULL)
			return no_memory(p);
		if (old != NULL && old->listening && before->protocol == c->protocol) {
			a->real = old->real;
			a->listening = true;
			continue;
		}
		struct plan_address *more =
		    reallocarray(p->addresses, p->address_count + 1, sizeof *more);
		if (more == NULL)
			return no_memory(p);
		p->addresses = more;
		p->addresses[p->address_count++] = (struct plan_address){
		    .portal = portal,
		    .address = a,
		    .late = listened_elsewhere(p->daemon, before, c->listen[i]),
		};
	}
	return 0;
}

static int
plan_portals(struct plan *p)
{
	const struct conf *conf = p->config.conf;
	struct daemon_objects *next = &p->next;

	next->portals = calloc(conf->portal_count + 1, sizeof(struct daemon_portal *));
	if (next->portals == NULL || names_reserve(&next->portal_names, conf->portal_count) < 0)
		return no_memory(p);
	for (unsigned i = 0; i < conf->portal_count; i++) {
		struct daemon_portal *portal = calloc(1, sizeof *portal);
		if (portal == NULL)
			return no_memory(p);
		next->portals[next->portal_count++] = portal;
		portal->name = strdup(conf->portals[i].name);
		portal->protocol = conf->portals[i].protocol;
		if (portal->name == NULL)
			return no_memory(p);
		int rc = names_add(&next->portal_names, portal->name, portal);
		ASSERT(rc == 0);
		rc = plan_addresses(p, &conf->portals[i], portal);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* ---- the whole -------------------------------------------------------------------------------------- */

int
plan_create(struct daemon *d, struct daemon_config config, bool tolerant, const struct change *by,
    struct plan **ret, char *reason, size_t reason_cap)
{
	struct plan *p = calloc(1, sizeof *p);
	if (p == NULL) {
		daemon_config_fini(&config);
		snprintf(reason, reason_cap, "out of memory");
		return -ENOMEM;
	}
	p->daemon = d;
	p->config = config;
	p->tolerant = tolerant;
	p->by = by;
	int rc = plan_luns(p);
	if (rc == 0)
		rc = plan_views(p);
	if (rc == 0)
		rc = plan_portals(p);
	if (rc < 0) {
		snprintf(reason, reason_cap, "%s", p->reason);
		plan_destroy(p);
		return rc;
	}
	*ret = p;
	return 0;
}

/* What the plan has for itself: what comes, before it is adopted; what went, afterwards. */
static void
destroy_objects(struct plan *p)
{
	for (unsigned i = 0; i < p->lun_count; i++) {
		const struct plan_lun *pl = &p->luns[i];
		daemon_lun_destroy(pl->trial);
		if (pl->before == pl->after)
			continue;
		daemon_lun_destroy(p->adopted ? pl->before : pl->after);
	}
	for (unsigned i = 0; i < p->view_count; i++) {
		const struct plan_view *pv = &p->views[i];
		if (pv->before != pv->after)
			daemon_view_destroy(p->adopted ? pv->before : pv->after);
	}
	/* Portals are always new objects. */
	for (unsigned i = 0; i < p->next.portal_count; i++)
		daemon_portal_destroy(p->next.portals[i]);
	daemon_objects_forget(&p->next);
}

void
plan_destroy(struct plan *p)
{
	if (p == NULL)
		return;
	destroy_objects(p);
	free(p->views);
	free(p->luns);
	free(p->addresses);
	free(p->bases);
	iscsi_config_destroy(p->iscsi);
	srp_config_destroy(p->srp);
	if (p->adopted && daemon_is_pinned(p->daemon, p->config.conf)) {
		struct plan kept = {.daemon = p->daemon, .config = p->config, .adopted = true};
		*p = kept;
		list_push_back(&p->daemon->retired, &p->retired);
		return;
	}
	daemon_config_fini(&p->config);
	free(p);
}

void
plan_adopt(struct plan *p)
{
	struct daemon *d = p->daemon;
	struct daemon_objects was = d->now;
	struct daemon_config config = d->config;

	ASSERT(!p->adopted);
	d->now = p->next;
	p->next = was;
	d->config = p->config;
	p->config = config;
	d->conf = d->config.conf;
	d->changes_adopted++;
	for (unsigned i = 0; i < p->lun_count; i++)
		if (p->luns[i].after != NULL)
			p->luns[i].after->conf = p->luns[i].conf;
	p->adopted = true;
}
