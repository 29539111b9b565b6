/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * LUNs that are configured and not served, because their store couldn't be opened: tried again every
 * few seconds, between changes. One that opens is shown at once to those who are to see it. So are those that
 * couldn't grow with their stores.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/log.h"
#include "daemon/caches.h"
#include "daemon/change_priv.h"

#define REOPEN_NS (5 * 1000000000ull)

static void
arm(struct change_engine *e)
{
	if (!e->stopping)
		loop_timer_set(&e->reopen_timer, REOPEN_NS);
}

static void
closed(struct change_engine *e)
{
	for (unsigned i = 0; i < e->reopen_count; i++) {
		if (e->reopen[i].lun->lu == NULL)
			daemon_lun_undo(e->reopen[i].lun);
		daemon_lun_destroy(e->reopen[i].trial);
	}
	free(e->reopen);
	e->reopen = NULL;
	e->reopen_count = 0;
	e->busy_itself = false;
	arm(e);
	change_engine_idle(e);
}

static void
released(struct change_engine *e)
{
	ASSERT(e->reopen_waits > 0);
	if (--e->reopen_waits == 0)
		e->reopen_next(e);
}

static void
shown(void *ctx)
{
	released(ctx);
}

/* Of a volume: the LUN says why it failed. */
static void
volume_done(void *ctx, int result)
{
	(void)result;
	released(ctx);
}

static void
ended(struct change_engine *e)
{
	e->reopen_next = closed;
	e->reopen_waits = 1;
	for (unsigned i = 0; i < e->reopen_count; i++) {
		struct daemon_lun *l = e->reopen[i].lun;
		if (l->lu != NULL || l->volume == NULL)
			continue;
		e->reopen_waits++;
		daemon_lun_detach(l, false, volume_done, e);
	}
	released(e);
}

static bool
line_shows(const struct change_engine *e, const struct conf_group_lun *luns, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		for (unsigned k = 0; k < e->reopen_count; k++)
			if (e->reopen[k].lun->lu != NULL &&
			    strcmp(e->reopen[k].lun->name, luns[i].lun) == 0)
				return true;
	return false;
}

/* Without memory the view stays as it is until the next time. */
static void
show_in(struct change_engine *e, const char *target, const char *group,
    const struct conf_group_lun *luns, unsigned count)
{
	struct scsi_view_entry *entries;
	unsigned entry_count;
	if (!line_shows(e, luns, count))
		return;
	const struct daemon_view *v = daemon_view_find(e->daemon, target, group);
	if (v == NULL ||
	    plan_view_entries(&e->daemon->now, luns, count, &entries, &entry_count) < 0) {
		log_err("daemon", "no memory to show a LUN again target=%s", target);
		return;
	}
	if (scsi_view_change(v->view, entries, entry_count, shown, e) == 0)
		e->reopen_waits++;
	else
		log_err("daemon", "no memory to show a LUN again target=%s", target);
	free(entries);
}

static void
show(struct change_engine *e)
{
	const struct conf *conf = e->daemon->conf;
	for (unsigned i = 0; i < conf->target_count; i++) {
		const struct conf_target *t = &conf->targets[i];
		for (unsigned g = 0; g < t->group_count; g++)
			show_in(e, t->name, t->groups[g].name, t->groups[g].luns,
			    t->groups[g].lun_count);
		if (t->open)
			show_in(e, t->name, NULL, t->luns, t->lun_count);
	}
}

static int
reopen_work(struct loop_job *j)
{
	struct change_engine *e = container_of(j, struct change_engine, reopen_job);
	for (unsigned i = 0; i < e->reopen_count; i++) {
		struct daemon_lun *l = e->reopen[i].trial;
		char reason[1024];
		if (daemon_lun_open(l, reason, sizeof reason) == 0 &&
		    daemon_luns_remember(e->daemon, &l, 1, reason, sizeof reason) < 0)
			daemon_lun_fail(l, reason);
	}
	return 0;
}

/* Its store may be another LUN's by now, under another name. */
static bool
is_double(const struct daemon *d, struct daemon_lun *l)
{
	for (unsigned i = 0; i < d->now.lun_count; i++) {
		const struct daemon_lun *o = d->now.luns[i];
		if (o != l && o->lu != NULL && strcmp(o->canonical, l->canonical) == 0) {
			daemon_lun_fail(l, "its store is another LUN's");
			return true;
		}
	}
	return false;
}

static void
end_failed_unit(struct change_engine *e, struct daemon_lun *l, const char *reason)
{
	struct scsi_lu *lu = l->lu;
	l->lu = NULL;
	daemon_lun_fail(l, reason);
	if (lu == NULL)
		return;
	e->reopen_waits++;
	daemon_lun_end_unit(l, lu, shown, e);
}

static void
make_units(struct change_engine *e)
{
	bool any = false;
	e->reopen_next = ended;
	e->reopen_waits = 1; /* a count of our own */
	for (unsigned i = 0; i < e->reopen_count; i++) {
		struct daemon_lun *l = e->reopen[i].lun;
		char reason[1024];
		if (l->blk == NULL || l->why != NULL)
			continue;
		if (daemon_lun_create_unit(l, reason, sizeof reason) < 0) {
			end_failed_unit(e, l, reason);
			continue;
		}
		log_info("store", "%s could be opened: LUN %s is served lun=%s", l->canonical,
		    l->name, l->name);
		any = true;
	}
	if (any)
		show(e);
	released(e);
}

static void
attach_all(struct change_engine *e)
{
	e->reopen_next = make_units;
	e->reopen_waits = 1;
	for (unsigned i = 0; i < e->reopen_count; i++) {
		struct daemon_lun *l = e->reopen[i].lun;
		daemon_lun_take(l, e->reopen[i].trial);
		if (l->blk == NULL || l->why != NULL || is_double(e->daemon, l))
			continue;
		e->reopen_waits++;
		daemon_lun_attach(l, volume_done, e);
	}
	released(e);
}

/* A cache whose SSD is back comes before its LUNs. */
static void
reopen_done(struct loop_job *j, int result)
{
	struct change_engine *e = container_of(j, struct change_engine, reopen_job);
	(void)result;
	e->reopen_next = attach_all;
	e->reopen_waits = 1;
	daemon_caches_retry(e->daemon, volume_done, e, &e->reopen_waits);
	released(e);
}

static void
on_timer(struct loop_timer *t)
{
	struct change_engine *e = container_of(t, struct change_engine, reopen_timer);
	const struct daemon_objects *now = &e->daemon->now;
	unsigned count = 0;

	for (unsigned i = 0; i < now->lun_count; i++) {
		daemon_lun_follow_size(now->luns[i]);
		count += now->luns[i]->lu == NULL;
	}
	if (count == 0 || e->current != NULL || e->busy_itself) {
		arm(e);
		return;
	}
	e->reopen = calloc(count, sizeof *e->reopen);
	for (unsigned i = 0; e->reopen != NULL && i < now->lun_count; i++) {
		struct daemon_lun *l = now->luns[i];
		struct reopen_lun *r = &e->reopen[e->reopen_count];
		if (l->lu == NULL && daemon_lun_create(e->daemon, l->conf, &r->trial) == 0) {
			r->lun = l;
			e->reopen_count++;
		}
	}
	e->busy_itself = true;
	e->reopen_job = (struct loop_job){.work = reopen_work, .done = reopen_done};
	loop_job_submit(e->daemon->loops[0], &e->reopen_job);
}

void
reopen_start(struct change_engine *e)
{
	loop_timer_init(&e->reopen_timer, e->daemon->loops[0], on_timer);
	arm(e);
}

void
reopen_stop(struct change_engine *e)
{
	loop_timer_cancel(&e->reopen_timer);
}
