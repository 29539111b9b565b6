/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Applying what is written. First what initiators see changes: limits, targets, views. What nobody
 * refers to any more ends then: units, their stores. Then comes what had to wait for that: units on
 * the same stores or with the same identities. Memory that is short is waited for.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/log.h"
#include "base/text.h"
#include "daemon/cache_orders.h"
#include "daemon/change_priv.h"
#include "daemon/srp.h"

#define RETRY_NS 100000000ull

static void late(struct change *c);
static void late_end(struct change *c);

static void
on_retry(struct loop_timer *t)
{
	struct change *c = container_of(t, struct change, retry);
	c->after_retry(c);
}

static void
again_later(struct change *c, void (*step)(struct change *c))
{
	c->after_retry = step;
	loop_timer_init(&c->retry, c->daemon->loops[0], on_retry);
	loop_timer_set(&c->retry, RETRY_NS);
}

/* ---- what initiators see ----------------------------------------------------------------------------- */

static bool
shows(const struct scsi_view *v, const struct scsi_view_entry *entries, uint32_t count)
{
	if (scsi_view_count(v) != count)
		return false;
	for (uint32_t i = 0; i < count; i++) {
		bool found = false;
		for (uint32_t k = 0; !found && k < count; k++) {
			/* Mostly in the same order. */
			const struct scsi_view_entry *e = scsi_view_entry(v, (i + k) % count);
			found = e->lun == entries[i].lun && e->lu == entries[i].lu &&
			        e->read_only == entries[i].read_only;
		}
		if (!found)
			return false;
	}
	return true;
}

/* Views whose LUNs, or their units, are others now. 0 or -ENOMEM: the rest is still to be done. */
static int
change_views(struct change *c)
{
	const struct plan *p = c->plan;
	for (unsigned i = 0; i < p->view_count; i++) {
		const struct plan_view *pv = &p->views[i];
		struct scsi_view_entry *entries;
		unsigned count;
		if (pv->after == NULL)
			continue;
		if (plan_view_entries(&c->daemon->now, pv->luns, pv->lun_count, &entries, &count) <
		    0)
			return -ENOMEM;
		int rc = 0;
		if (!shows(pv->after->view, entries, count)) {
			rc = scsi_view_change(pv->after->view, entries, count, change_released, c);
			if (rc == 0)
				change_hold(c);
		}
		free(entries);
		ASSERT(rc == 0 || rc == -ENOMEM); /* conf_build() has refused doubles */
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int
change_read_only(struct change *c)
{
	for (unsigned i = 0; i < c->plan->lun_count; i++) {
		const struct plan_lun *pl = &c->plan->luns[i];
		if (pl->after == NULL || pl->after != pl->before || pl->after->lu == NULL)
			continue;
		bool wanted = pl->conf->read_only ||
		              (blk_get_info(pl->after->blk)->caps & BLK_CAP_READ_ONLY) != 0;
		if (scsi_lu_read_only(pl->after->lu) == wanted)
			continue;
		int rc = scsi_lu_set_read_only(pl->after->lu, wanted, change_released, c);
		if (rc < 0)
			return rc;
		change_hold(c);
	}
	return 0;
}

/* In its own time: what it means is the same for initiators. */
static void
change_modes(struct change *c)
{
	for (unsigned i = 0; i < c->plan->lun_count; i++) {
		const struct plan_lun *pl = &c->plan->luns[i];
		if (pl->after != NULL && pl->after == pl->before)
			daemon_lun_follow_mode(pl->after);
	}
	daemon_ram_follow(c->daemon);
	daemon_nbd_look(c->daemon);
	daemon_nbd_follow_rate(c->daemon);
}

static int
change_limits(struct change *c)
{
	struct iscsi_limits limits;
	bool differs = false;
	for (unsigned i = 0; i < c->diff->count; i++)
		for (unsigned k = 0; k < c->diff->list[i].key_count; k++)
			differs = differs ||
			          (c->diff->list[i].kind == CONF_KIND_SETTINGS &&
			              strncmp(c->diff->list[i].keys[k].key, "limits.", 7) == 0);
	if (!differs)
		return 0;
	daemon_limits(c->daemon->conf, &limits);
	return iscsi_server_set_limits(c->daemon->iscsi, &limits);
}

static void
config_released(void *ctx, struct iscsi_config *old)
{
	struct change *c = ctx;
	iscsi_config_destroy(old);
	change_release(c);
}

static void
srp_config_released(void *ctx, struct srp_config *old)
{
	struct change *c = ctx;
	srp_config_destroy(old);
	change_release(c);
}

/* LUNs alone need no other targets: their views stay the same objects. */
static bool
targets_differ(const struct change *c)
{
	for (unsigned i = 0; i < c->diff->count; i++)
		if (c->diff->list[i].kind != CONF_KIND_LUN &&
		    c->diff->list[i].kind != CONF_KIND_CACHE)
			return true;
	return false;
}

static int
change_targets(struct change *c)
{
	struct daemon *d = c->daemon;
	if (c->plan->iscsi != NULL && targets_differ(c)) {
		int rc = iscsi_server_set_config(d->iscsi, c->plan->iscsi, config_released, c);
		if (rc < 0)
			return rc;
		change_hold(c);
		d->iscsi_config = c->plan->iscsi;
		c->plan->iscsi = NULL;
	}
	if (c->plan->srp == NULL || d->srp == NULL || !targets_differ(c))
		return 0;
	int rc = srp_server_set_config(d->srp, c->plan->srp, srp_config_released, c);
	if (rc < 0)
		return rc;
	change_hold(c);
	d->srp_config = c->plan->srp;
	c->plan->srp = NULL;
	return 0;
}

static void units_end(struct change *c);

/* Writes that wait would hold up what goes. */
static void
thaw(struct change *c)
{
	for (unsigned i = 0; i < c->plan->lun_count; i++) {
		const struct plan_lun *pl = &c->plan->luns[i];
		if (pl->before != NULL && pl->before != pl->after)
			daemon_lun_thaw(pl->before);
	}
}

/* Each part can be done again: what is so already isn't touched. */
static void
show(struct change *c)
{
	thaw(c);
	c->after_waits = units_end;
	change_hold(c);
	int rc = change_limits(c);
	if (rc == 0)
		rc = change_targets(c);
	if (rc == 0)
		rc = change_read_only(c);
	change_drop_modes(c);
	if (rc == 0)
		rc = change_views(c);
	if (rc == 0) {
		change_modes(c);
		change_release(c);
		return;
	}
	log_warn("daemon", "applying a change waits for memory: %s", strerror(-rc));
	again_later(c, show);
	/* The hold above is given back, without going on: others may come while it waits. */
	c->waits--;
}

/* ---- what goes ------------------------------------------------------------------------------------------ */

static void
volumes_closed(struct change *c)
{
	struct plan *p = c->plan;
	/* The stores close with their objects. */
	for (unsigned i = 0; i < p->lun_count; i++) {
		struct plan_lun *pl = &p->luns[i];
		if (pl->before == NULL || pl->before == pl->after)
			continue;
		daemon_lun_destroy(pl->before);
		pl->before = NULL;
		if (pl->after == NULL)
			*pl = (struct plan_lun){0};
	}
	change_caches_go(c, late);
}

/* Where the store isn't behind this cache any more, all that the cache has goes to it. */
static bool
leaves_cache(const struct plan_lun *pl)
{
	const struct daemon_lun *l = pl->before;
	return pl->after == NULL || pl->after->conf->cache == NULL ||
	       strcmp(pl->after->conf->cache, l->cache->name) != 0 ||
	       strcmp(pl->after->conf->store, l->conf->store) != 0;
}

static void
volume_closed(void *ctx, int result)
{
	struct change *c = ctx;
	if (result < 0)
		change_remark(c, "what a cache has couldn't go to its store, and stays there (%s)",
		    strerror(-result));
	change_release(c);
}

static void
units_ended(struct change *c)
{
	c->after_waits = volumes_closed;
	change_hold(c);
	for (unsigned i = 0; i < c->plan->lun_count; i++) {
		struct plan_lun *pl = &c->plan->luns[i];
		if (pl->before == NULL || pl->before == pl->after || pl->before->volume == NULL)
			continue;
		change_hold(c);
		daemon_lun_detach(pl->before, leaves_cache(pl), volume_closed, c);
	}
	change_release(c);
}

static void
units_end(struct change *c)
{
	struct plan *p = c->plan;
	if (loop_timer_armed(&c->retry))
		return; /* show() comes again */
	/* Nobody refers to views that went any more. */
	for (unsigned i = 0; i < p->view_count; i++) {
		if (p->views[i].after != NULL)
			continue;
		daemon_view_destroy(p->views[i].before);
		p->views[i].before = NULL;
	}
	plan_retire(p);
	c->after_waits = units_ended;
	change_hold(c);
	for (unsigned i = 0; i < p->lun_count; i++) {
		struct daemon_lun *l = p->luns[i].before;
		if (l == NULL || l == p->luns[i].after || l->lu == NULL)
			continue;
		struct scsi_lu *lu = l->lu;
		l->lu = NULL;
		daemon_lun_unwatch(l);
		change_hold(c);
		daemon_lun_end_unit(l, lu, change_released, c);
	}
	change_release(c);
}

/* ---- what had to wait -------------------------------------------------------------------------------------- */

static int
late_work(struct loop_job *j)
{
	struct change *c = container_of(j, struct change, job);
	for (unsigned i = 0; i < c->plan->lun_count; i++) {
		const struct plan_lun *pl = &c->plan->luns[i];
		char reason[1024];
		if (!pl->late)
			continue;
		if (daemon_lun_open(pl->trial, reason, sizeof reason) == 0 &&
		    daemon_luns_remember(c->daemon, &pl->trial, 1, reason, sizeof reason) < 0)
			daemon_lun_fail(pl->trial, reason);
	}
	return 0;
}

/* A unit that mustn't be shown; its store closes when it has ended. */
static void
end_failed_unit(struct change *c, struct daemon_lun *l, const char *reason)
{
	struct scsi_lu *lu = l->lu;
	l->lu = NULL;
	daemon_lun_fail(l, reason);
	if (lu == NULL)
		return;
	change_hold(c);
	daemon_lun_end_unit(l, lu, change_released, c);
}

static void
late_show(struct change *c)
{
	c->after_waits = late_end;
	change_hold(c);
	if (change_views(c) == 0) {
		change_release(c);
		return;
	}
	again_later(c, late_show);
	c->waits--;
}

static void
late_units(struct change *c)
{
	c->after_waits = late_end;
	change_hold(c);
	for (unsigned i = 0; i < c->plan->lun_count; i++) {
		const struct plan_lun *pl = &c->plan->luns[i];
		char reason[1024];
		if (!pl->late)
			continue;
		if (pl->after->why == NULL &&
		    daemon_lun_create_unit(pl->after, reason, sizeof reason) < 0)
			end_failed_unit(c, pl->after, reason);
		if (pl->after->lu == NULL)
			change_remark(c, "%s: it is tried again from time to time", pl->after->why);
	}
	late_show(c);
	change_release(c);
}

static void
late_attached(void *ctx, int result)
{
	(void)result; /* the LUN says why */
	change_release(ctx);
}

static void
late_done(struct change *c, int rc)
{
	(void)rc;
	c->after_waits = late_units;
	change_hold(c);
	for (unsigned i = 0; i < c->plan->lun_count; i++) {
		const struct plan_lun *pl = &c->plan->luns[i];
		if (!pl->late)
			continue;
		daemon_lun_take(pl->after, pl->trial);
		if (pl->after->why != NULL)
			continue;
		change_hold(c);
		daemon_lun_attach(pl->after, late_attached, c);
	}
	change_release(c);
}

static void
late(struct change *c)
{
	bool any = false;
	for (unsigned i = 0; i < c->plan->lun_count; i++)
		any = any || c->plan->luns[i].late;
	if (any)
		change_work(c, late_work, late_done);
	else
		late_end(c);
}

/* Those that failed have no unit: their stores close. */
static void
late_ended(struct change *c)
{
	for (unsigned i = 0; i < c->plan->lun_count; i++)
		if (c->plan->luns[i].late && c->plan->luns[i].after->lu == NULL)
			daemon_lun_undo(c->plan->luns[i].after);
	change_sizes(c);
}

static void
late_end(struct change *c)
{
	if (loop_timer_armed(&c->retry))
		return; /* late_show() comes again */
	c->after_waits = late_ended;
	change_hold(c);
	for (unsigned i = 0; i < c->plan->lun_count; i++) {
		struct daemon_lun *l = c->plan->luns[i].after;
		if (!c->plan->luns[i].late || l->lu != NULL || l->volume == NULL)
			continue;
		change_hold(c);
		daemon_lun_detach(l, l->volume_is_new, volume_closed, c);
	}
	change_release(c);
}

void
change_apply(struct change *c, void (*done)(struct change *c))
{
	c->done = done;
	plan_adopt(c->plan);
	change_caches_stay(c);
	show(c);
}
