/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What runs is served over NBD as well, to this machine's tools: LUNs by their names, read-only unless
 * their configuration says otherwise. A unit that ends ends the connections that read it first, a session
 * that sees a LUN those that may write to it.
 */
#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "daemon/cache_orders.h"

#define RUN_DIR "/run/terrace"
#define DEFAULT_STATE_DIR "/var/lib/terrace"
#define GROUP "terrace"
#define LOOK_NS 100000000ull           /* while somebody may write */
#define AUTO_RATE_PER_CPU (8ull << 20) /* bytes a second */

/* ---- exports ------------------------------------------------------------------------------------ */

static void
list(void *ctx, bool (*each)(void *each_ctx, const char *name), void *each_ctx)
{
	const struct daemon *d = ctx;
	for (unsigned i = 0; i < d->now.lun_count; i++)
		if (d->now.luns[i]->lu != NULL && !each(each_ctx, d->now.luns[i]->name))
			return;
}

/* The default export is the only LUN that is served, where there is only one. */
static const struct daemon_lun *
only_lun(const struct daemon *d)
{
	const struct daemon_lun *only = NULL;
	for (unsigned i = 0; i < d->now.lun_count; i++) {
		if (d->now.luns[i]->lu == NULL)
			continue;
		if (only != NULL)
			return NULL;
		only = d->now.luns[i];
	}
	return only;
}

/* A session that has logged in, or a nexus on its way: the view is in use. */
static bool
is_seen(const struct daemon_lun *l)
{
	const struct daemon *d = l->daemon;
	for (unsigned v = 0; v < d->now.view_count; v++) {
		const struct scsi_view *view = d->now.views[v]->view;
		if (view == NULL || scsi_view_users(view) == 0)
			continue;
		for (uint32_t i = 0; i < scsi_view_count(view); i++)
			if (scsi_view_entry(view, i)->lu == l->lu)
				return true;
	}
	return false;
}

bool
daemon_lun_nbd_writable(const struct daemon_lun *l)
{
	if (l->lu == NULL || l->conf->read_only || l->conf->nbd == CONF_NBD_READ_ONLY)
		return false;
	return l->conf->nbd == CONF_NBD_FORCE || !is_seen(l);
}

void
daemon_nbd_look(struct daemon *d)
{
	if (d->nbd == NULL || nbd_server_writer_count(d->nbd) == 0)
		return;
	for (unsigned i = 0; i < d->now.lun_count; i++) {
		const struct daemon_lun *l = d->now.luns[i];
		if (l->lu != NULL && !daemon_lun_nbd_writable(l))
			nbd_server_end_writers(d->nbd, scsi_lu_blk(l->lu));
	}
	if (nbd_server_writer_count(d->nbd) > 0)
		loop_timer_set(&d->nbd_writers, LOOK_NS);
}

/* Views come into use on their sessions' loops, and say nothing here. */
static void
on_look(struct loop_timer *t)
{
	daemon_nbd_look(container_of(t, struct daemon, nbd_writers));
}

static int
open_export(void *ctx, const char *name, struct nbd_export *ret)
{
	struct daemon *d = ctx;
	const struct daemon_lun *l = name[0] == '\0' ? only_lun(d) : daemon_lun_find(d, name);
	if (l == NULL || l->lu == NULL)
		return -ENOENT;
	bool writable = daemon_lun_nbd_writable(l);
	*ret =
	    (struct nbd_export){.name = l->name, .blk = scsi_lu_blk(l->lu), .writable = writable};
	if (writable && !loop_timer_armed(&d->nbd_writers))
		loop_timer_set(&d->nbd_writers, LOOK_NS);
	return 0;
}

static uint64_t
served(void *ctx)
{
	const struct daemon *d = ctx;
	return scsi_core_tasks(d->core);
}

static const struct nbd_ops ops = {.list = list, .open = open_export, .served = served};

/* ---- the rate ------------------------------------------------------------------------------------- */

/* A share of the processors, whatever their number: what is moved costs the reader a copy as well. */
static uint64_t
auto_rate(void)
{
	cpu_set_t set;
	unsigned cpus = sched_getaffinity(0, sizeof set, &set) == 0 ? (unsigned)CPU_COUNT(&set) : 1;
	return cpus * AUTO_RATE_PER_CPU;
}

void
daemon_nbd_follow_rate(struct daemon *d)
{
	uint64_t rate = d->conf->inspect_rate;

	if (d->nbd == NULL)
		return;
	if (rate == CONF_RATE_UNLIMITED)
		rate = 0;
	else if (rate == CONF_RATE_AUTO || rate == 0)
		rate = auto_rate();
	nbd_server_set_rate(d->nbd, rate);
}

/* ---- the server ----------------------------------------------------------------------------------- */

/* As the control socket: where everybody finds it as long as root uses the system's state directory. */
static const char *
default_path(const struct daemon *d, char *buf, size_t cap)
{
	if (geteuid() == 0 && strcmp(statedir_path(d->statedir), DEFAULT_STATE_DIR) == 0) {
		(void)mkdir(RUN_DIR, 0755);
		return RUN_DIR "/nbd.sock";
	}
	snprintf(buf, cap, "%s/nbd.sock", statedir_path(d->statedir));
	return buf;
}

int
daemon_open_nbd(void *ctx)
{
	struct daemon *d = ctx;
	char fallback[4096], reason[sizeof d->reason] = "out of memory";
	const char *path = d->options->nbd != NULL ? d->options->nbd : d->conf->nbd;

	loop_timer_init(&d->nbd_writers, d->loops[0], on_look);
	if (path != NULL && strcmp(path, "off") == 0)
		return 0;
	const struct nbd_server_args args = {
	    .loops = d->loops,
	    .loop_count = d->loop_count,
	    .ops = &ops,
	    .ctx = d,
	    .path = path != NULL ? path : default_path(d, fallback, sizeof fallback),
	    .group = GROUP,
	};
	int rc = nbd_server_create(&args, &d->nbd, reason, sizeof reason);
	if (rc < 0 && path != NULL) {
		memcpy(d->reason, reason, sizeof reason);
		return rc;
	}
	/* Nobody asked for it: initiators aren't kept waiting for that. */
	if (rc < 0)
		log_warn("daemon", "LUNs aren't served over NBD: %s", reason);
	else
		d->nbd_path = realpath(args.path, NULL);
	daemon_nbd_follow_rate(d);
	return 0;
}

void
daemon_close_nbd(void *ctx)
{
	struct daemon *d = ctx;
	loop_timer_cancel(&d->nbd_writers);
	nbd_server_destroy(d->nbd);
	d->nbd = NULL;
	free(d->nbd_path);
	d->nbd_path = NULL;
}

void
daemon_end_nbd(struct daemon *d, void (*done)(void *daemon))
{
	if (d->nbd == NULL)
		done(d);
	else
		nbd_server_stop(d->nbd, done, d);
}

/* ---- units ------------------------------------------------------------------------------------------ */

static void
on_unit_ended(void *ctx)
{
	struct daemon_lun *l = ctx;
	daemon_lun_ram_close(l, l->ended, l->ended_ctx);
}

static void
on_released(void *ctx)
{
	struct daemon_lun *l = ctx;
	struct scsi_lu *lu = l->ending;
	l->ending = NULL;
	scsi_lu_destroy(lu, on_unit_ended, l);
}

void
daemon_lun_end_unit(struct daemon_lun *l, struct scsi_lu *lu, void (*done)(void *ctx), void *ctx)
{
	daemon_lun_thaw(l); /* the writes that it holds end first */
	l->ending = lu;
	l->ended = done;
	l->ended_ctx = ctx;
	if (l->daemon->nbd == NULL)
		on_released(l);
	else
		nbd_server_release(
		    l->daemon->nbd, scsi_lu_blk(lu), &l->nbd_release, on_released, l);
}
