/* SPDX-License-Identifier: BSD-2-Clause */
/* The daemon's conditions and events: life cycle, and what only the wiring can see. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "daemon/control.h"
#include "daemon/stats.h"

int
daemon_open_health(void *ctx)
{
	struct daemon *d = ctx;
	list_init(&d->waiters);
	d->started_ns = loop_now_ns(d->loops[0]);
	struct health_args args = {
	    .loop = d->loops[0],
	    .dir = statedir_path(d->statedir),
	    .events_max = d->conf->events_max,
	};
	return health_create(&args, &d->health);
}

void
daemon_close_health(void *ctx)
{
	struct daemon *d = ctx;
	health_destroy(d->health);
	d->health = NULL;
}

int
daemon_open_monitor(void *ctx)
{
	struct daemon *d = ctx;
	return monitor_create(d, &d->monitor);
}

void
daemon_close_monitor(void *ctx)
{
	struct daemon *d = ctx;
	monitor_destroy(d->monitor);
	d->monitor = NULL;
}

int
daemon_open_stats(void *ctx)
{
	struct daemon *d = ctx;
	return stats_create(d, &d->stats);
}

void
daemon_close_stats(void *ctx)
{
	struct daemon *d = ctx;
	stats_destroy(d->stats);
	d->stats = NULL;
}

/* ---- end -------------------------------------------------------------------------------------------- */

static void
health_ended(void *ctx)
{
	struct daemon *d = ctx;
	d->health_ended(d);
}

static void
monitor_ended(void *ctx)
{
	struct daemon *d = ctx;
	health_stop(d->health, health_ended, d);
}

void
daemon_end_health(struct daemon *d, void (*done)(struct daemon *d))
{
	ASSERT(d->health_ended == NULL);
	control_end_waiters(d);
	d->health_ended = done;
	if (d->monitor != NULL)
		monitor_stop(d->monitor, monitor_ended, d);
	else
		monitor_ended(d);
}

/* ---- the catalogue ------------------------------------------------------------------------------------ */

struct save {
	struct daemon *d;
	void (*done)(void *ctx, int result);
	void *ctx;
};

static void
saved(void *ctx, int result)
{
	struct save s = *(struct save *)ctx;
	const char *dir = statedir_path(s.d->statedir);

	free(ctx);
	if (result < 0)
		health_raise(s.d->health, HEALTH_CATALOG_FAILING, dir,
		    "reservations and SANITIZE can't be kept in %s: %s", dir, strerror(-result));
	else
		health_clear(s.d->health, HEALTH_CATALOG_FAILING, dir);
	s.done(s.ctx, result);
}

static void
save(void *ctx, enum scsi_persist what, const uint8_t lu_uuid[16], const void *blob, size_t len,
    void (*done)(void *done_ctx, int result), void *done_ctx)
{
	struct daemon *d = ctx;
	struct scsi_persist_ops ops = catalog_persist_ops(d->catalog, d->loops[0]);
	struct save *s = malloc(sizeof *s);

	if (s == NULL) { /* it is saved all the same, only not looked at */
		ops.save(ops.ctx, what, lu_uuid, blob, len, done, done_ctx);
		return;
	}
	*s = (struct save){.d = d, .done = done, .ctx = done_ctx};
	ops.save(ops.ctx, what, lu_uuid, blob, len, saved, s);
}

struct scsi_persist_ops
daemon_persist_ops(struct daemon *d)
{
	/* the catalogue learns its loop now, before anything is saved */
	(void)catalog_persist_ops(d->catalog, d->loops[0]);
	return (struct scsi_persist_ops){.save = save, .ctx = d};
}
