/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Before the power goes: everything that was acknowledged goes to where it stays, of all LUNs at once. What one
 * of them can't do keeps none of the others.
 *
 *	cache   behind an SSD: what it has goes to the store, which is flushed then (as cache.flush)
 *	store   a volatile store: what is in the page cache is written, by helper threads. They open the store
 *	        by its name for it, since the LUN may go meanwhile
 *	lost    not served: whether its cache has data of it, nobody can tell without the SSD and the store
 *
 * Other LUNs have nothing to be written. The service manager is told how much is left.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/text.h"
#include "daemon/cache_orders.h"
#include "daemon/caches.h"
#include "daemon/service.h"
#include "daemon/srp.h"

#define TELL_NS 1000000000ull

enum way { WAY_CACHE, WAY_STORE, WAY_LOST, WAY_COUNT };

static const char *const way_names[WAY_COUNT] = {
    [WAY_CACHE] = "cache", [WAY_STORE] = "store", [WAY_LOST] = "lost"};

struct part {
	struct power_fail *order;
	char *name;
	enum way way;
	uint64_t dirty_bytes; /* before */
	int result;
	char *why; /* WAY_LOST */
	/* WAY_STORE */
	struct loop_job job;
	char *path;
};

struct power_fail {
	struct daemon *daemon;
	struct ctl_call *call;
	uint64_t since_ns;
	struct part *parts;
	unsigned count, waits;
	struct loop_timer tell;
};

/* ---- what is to be done ------------------------------------------------------------------------------- */

/* Its path, if what was acknowledged may be in the page cache alone; else NULL. */
static const char *
volatile_path(const struct daemon_lun *l)
{
	if (l->blk == NULL || !(blk_get_info(l->blk)->caps & BLK_CAP_VOLATILE))
		return NULL;
	const char *path = strchr(blk_get_name(l->blk), ':');
	return path != NULL && path[1] == '/' ? path + 1 : NULL; /* ram: has nothing that stays */
}

/* Not served, and not for want of a store alone: the SSD of its cache may have data of it. */
static bool
may_be_lost(const struct daemon_lun *l)
{
	const struct daemon_cache *c =
	    l->conf->cache != NULL ? daemon_cache_find(l->daemon, l->conf->cache) : NULL;

	return l->lu == NULL && c != NULL && c->spec != NULL;
}

/* False: there is nothing to do, or (*ret_failed) no memory. */
static bool
part_init(struct part *p, struct power_fail *o, const struct daemon_lun *l, bool *ret_failed)
{
	struct cache_volume_stats st;
	const char *path = volatile_path(l);

	*p = (struct part){.order = o};
	if (l->volume != NULL) {
		cache_volume_get_stats(l->volume, &st);
		p->way = WAY_CACHE;
		p->dirty_bytes = st.dirty_bytes;
	} else if (path != NULL) {
		p->way = WAY_STORE;
		*ret_failed = (p->path = strdup(path)) == NULL;
	} else if (may_be_lost(l)) {
		p->way = WAY_LOST;
		p->result = -ENODEV;
		*ret_failed = (p->why = strdup(l->why != NULL ? l->why : "")) == NULL;
	} else {
		return false;
	}
	if (!*ret_failed)
		*ret_failed = (p->name = strdup(l->name)) == NULL;
	return true;
}

static void
order_free(struct power_fail *o)
{
	for (unsigned i = 0; i < o->count; i++) {
		free(o->parts[i].name);
		free(o->parts[i].path);
		free(o->parts[i].why);
	}
	free(o->parts);
	free(o);
}

static void on_tell(struct loop_timer *t);

/* NULL without memory. */
static struct power_fail *
order_new(struct daemon *d, struct ctl_call *call)
{
	struct power_fail *o = calloc(1, sizeof *o);
	bool failed = o == NULL;

	if (failed)
		return NULL;
	o->daemon = d;
	o->call = call;
	o->since_ns = loop_now_ns(d->loops[0]);
	loop_timer_init(&o->tell, d->loops[0], on_tell);
	o->parts = calloc(d->now.lun_count + 1u, sizeof *o->parts);
	failed = o->parts == NULL;
	for (unsigned i = 0; !failed && i < d->now.lun_count; i++)
		o->count += part_init(&o->parts[o->count], o, d->now.luns[i], &failed);
	if (!failed)
		return o;
	order_free(o);
	return NULL;
}

/* ---- how it goes ----------------------------------------------------------------------------------------- */

static uint64_t
dirty_bytes(const struct daemon *d)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < d->now.lun_count; i++) {
		struct cache_volume_stats st;
		if (d->now.luns[i]->volume == NULL)
			continue;
		cache_volume_get_stats(d->now.luns[i]->volume, &st);
		sum += st.dirty_bytes;
	}
	return sum;
}

static void
on_tell(struct loop_timer *t)
{
	struct power_fail *o = container_of(t, struct power_fail, tell);
	char left[32];

	text_format_size(dirty_bytes(o->daemon), left, sizeof left);
	daemon_service_status(o->daemon, "writing what caches have to the stores: %s left", left);
	loop_timer_set(&o->tell, TELL_NS);
}

static json_t *
part_json(const struct part *p)
{
	const char *why = p->result == 0        ? ""
	                  : p->way == WAY_LOST  ? p->why
	                  : p->way == WAY_STORE ? strerror(-p->result)
	                                        : order_reason(p->result);

	return json_pack("{s:o, s:s, s:b, s:I, s:o}", "name", ctl_string(p->name), "way",
	    way_names[p->way], "done", p->result == 0, "dirty_bytes", (json_int_t)p->dirty_bytes,
	    "why", ctl_string(why));
}

/* LUNs whose next acknowledged writes are in the page cache again. */
static json_t *
volatile_luns(const struct daemon *d)
{
	json_t *list = json_array();

	for (unsigned i = 0; list != NULL && i < d->now.lun_count; i++)
		if (d->now.luns[i]->volume == NULL && volatile_path(d->now.luns[i]) != NULL)
			json_array_append_new(list, ctl_string(d->now.luns[i]->name));
	return list;
}

static void
order_answer(struct power_fail *o)
{
	struct daemon *d = o->daemon;
	double seconds = (double)(loop_now_ns(d->loops[0]) - o->since_ns) / 1e9;
	json_t *list = json_array();
	unsigned failed = 0;

	loop_timer_cancel(&o->tell);
	for (unsigned i = 0; i < o->count; i++) {
		failed += o->parts[i].result != 0;
		json_array_append_new(list, part_json(&o->parts[i]));
	}
	if (failed > 0)
		log_err("daemon", "power-fail: of %u LUNs not everything could be written", failed);
	else
		log_info("daemon",
		    "power-fail: everything that was acknowledged is on the stores seconds=%.1f",
		    seconds);
	if (!d->stopping)
		daemon_service_serving(d);
	ctl_call_done(o->call,
	    json_pack("{s:b, s:f, s:o, s:I, s:o}", "done", failed == 0, "seconds", seconds, "luns",
	        list, "sessions", (json_int_t)(d->stopping ? 0 : daemon_session_count(d)),
	        "volatile", volatile_luns(d)));
	order_free(o);
}

static void
part_ended(struct part *p, int result)
{
	struct power_fail *o = p->order;

	p->result = result;
	if (--o->waits == 0)
		order_answer(o);
}

static void
flushed(void *ctx, int result)
{
	part_ended(ctx, result);
}

/* On the worker: what is dirty of a file or a device is written, whoever made it so. */
static int
sync_work(struct loop_job *job)
{
	const struct part *p = container_of(job, struct part, job);
	int fd = open(p->path, O_RDONLY | O_CLOEXEC | O_NOCTTY);

	if (fd < 0)
		return -errno;
	int rc = fsync(fd) < 0 ? -errno : 0;
	close(fd);
	return rc;
}

static void
sync_done(struct loop_job *job, int result)
{
	struct part *p = container_of(job, struct part, job);
	struct daemon *d = p->order->daemon;

	d->answers--;
	part_ended(p, result);
	if (d->ended && d->answers == 0)
		daemon_stop_loops(d);
}

static void
part_begin(struct part *p)
{
	struct daemon *d = p->order->daemon;

	switch (p->way) {
	case WAY_CACHE:
		cache_volume_flush(daemon_lun_find(d, p->name)->volume, flushed, p);
		break;
	case WAY_STORE:
		p->job =
		    (struct loop_job){.loop = d->loops[0], .work = sync_work, .done = sync_done};
		d->answers++; /* the loop stays until it is back */
		loop_job_submit(d->loops[0], &p->job);
		break;
	case WAY_LOST:
	case WAY_COUNT:
		part_ended(p, p->result);
		break;
	}
}

static void
power_fail(void *ctx, struct ctl_call *call, const json_t *params)
{
	struct daemon *d = ctx;
	(void)params;

	if (d->stopping) {
		ctl_call_fail(call, CTL_FAILED, NULL, "the target ends");
		return;
	}
	struct power_fail *o = order_new(d, call);
	if (o == NULL) {
		ctl_call_fail(call, CTL_FAILED, NULL, "out of memory");
		return;
	}
	log_info("daemon", "power-fail: writing everything that was acknowledged to the stores");
	o->waits = o->count + 1;
	on_tell(&o->tell);
	for (unsigned i = 0, count = o->count; i < count; i++)
		part_begin(&o->parts[i]);
	if (--o->waits == 0)
		order_answer(o);
}

const struct ctl_method control_power_methods[] = {
    {.name = "power-fail",
        .help = "everything that was acknowledged goes to the stores",
        .changes = true,
        .start = power_fail},
    {.name = NULL},
};
