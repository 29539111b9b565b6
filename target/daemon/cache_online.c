/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Caches that come and go while initiators work.
 *
 *	comes    memory ─▶ the SSD is looked at and opened (worker) ─▶ formatted if it is empty ─▶ attached ─▶ LUNs
 *	goes     no LUN uses it any more ─▶ detached ─▶ closed
 *	is back  one that couldn't be attached at the start is tried again with the LUNs that wait for it
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/log.h"
#include "daemon/caches.h"
#include "daemon/change_priv.h"

#define GOES_AGAIN_NS 100000000ull

struct cache_start {
	struct daemon_cache *cache;
	struct daemon_cache trial; /* the worker's: name and spec are the cache's */
	struct loop_job job;
	char reason[1024];
	void (*done)(void *ctx, int result);
	void *ctx;
};

/* ---- one that comes -------------------------------------------------------------------------------------- */

static void
start_end(struct cache_start *x, int result)
{
	struct daemon_cache *c = x->cache;
	c->busy = false;
	monitor_soon(c->daemon->monitor);
	x->done(x->ctx, result); /* a change that failed takes the cache with it */
	free(x);
}

static void
start_attached(void *ctx, int result)
{
	struct cache_start *x = ctx;
	struct daemon_cache *c = x->cache;
	if (result < 0)
		daemon_ssd_close(c, !c->identity.is_known);
	start_end(x, result);
}

static int
ssd_work(struct loop_job *j)
{
	struct cache_start *x = container_of(j, struct cache_start, job);
	return daemon_ssd_open(&x->trial, x->reason, sizeof x->reason);
}

static void
ssd_done(struct loop_job *j, int result)
{
	struct cache_start *x = container_of(j, struct cache_start, job);
	struct daemon_cache *c = x->cache;

	if (result < 0) {
		free(c->why);
		c->why = strdup(x->reason);
		start_end(x, result);
		return;
	}
	c->ssd = x->trial.ssd;
	c->created = x->trial.created;
	c->is_new = x->trial.is_new;
	daemon_cache_attach(c, start_attached, x);
}

void
daemon_cache_start(
    struct daemon_cache *c, bool create, void (*done)(void *ctx, int result), void *ctx)
{
	ASSERT(c->cache == NULL && !c->busy);
	if (c->spec == NULL) {
		done(ctx, 0);
		return;
	}
	struct cache_start *x = calloc(1, sizeof *x);
	if (x == NULL) {
		done(ctx, -ENOMEM);
		return;
	}
	c->busy = true;
	*x = (struct cache_start){.cache = c, .done = done, .ctx = ctx};
	if (c->ssd != NULL) {
		daemon_cache_attach(c, start_attached, x);
		return;
	}
	x->trial = (struct daemon_cache){.daemon = c->daemon,
	    .name = c->name,
	    .spec = c->spec,
	    .size_bytes = create ? c->size_bytes : 0};
	x->job = (struct loop_job){.work = ssd_work, .done = ssd_done};
	loop_job_submit(c->daemon->loops[0], &x->job);
}

/* ---- those of a change ----------------------------------------------------------------------------------- */

struct change_cache {
	struct change *change;
	struct daemon_cache *cache;
};

static void
came(void *ctx, int result)
{
	struct change_cache *x = ctx;
	if (result < 0)
		(void)change_fail(x->change, CTL_FAILED, "%s",
		    x->cache->why != NULL ? x->cache->why : strerror(-result));
	change_release(x->change);
	free(x);
}

static int
begin_one(struct change *c, const struct conf_cache *conf)
{
	struct daemon_cache *cache;
	struct change_cache *x = calloc(1, sizeof *x);

	if (x == NULL)
		return change_no_memory(c);
	int rc = daemon_cache_create(c->daemon, c->plan->config.conf, conf, &cache);
	if (rc < 0) {
		free(x);
		return change_fail(c, CTL_FAILED, "cache %s: %s", conf->name,
		    rc == -ENOMEM ? "out of memory" : "this much memory can't be had");
	}
	cache->pending = true;
	*x = (struct change_cache){c, cache};
	change_hold(c);
	daemon_cache_start(cache, true, came, x);
	return 0;
}

void
change_caches_come(struct change *c, void (*after)(struct change *c))
{
	const struct conf *conf = c->plan->config.conf;

	c->after_waits = after;
	change_hold(c);
	for (unsigned i = 0; c->code == 0 && i < conf->cache_count; i++)
		if (daemon_cache_find(c->daemon, conf->caches[i].name) == NULL)
			(void)begin_one(c, &conf->caches[i]);
	change_release(c);
}

/* ---- one that goes --------------------------------------------------------------------------------------- */

struct cache_end {
	struct daemon_cache *cache;
	struct loop_timer timer;
	void (*done)(void *ctx);
	void *ctx;
};

static void
end_detached(void *ctx, int result)
{
	struct cache_end *x = ctx;
	struct daemon_cache *c = x->cache;
	c->cache = NULL;
	if (result < 0)
		log_err("cache", "the last state of cache %s couldn't be written: %s", c->name,
		    strerror(-result));
	log_info("cache", "cache %s is gone", c->name);
	daemon_cache_remove(c);
	x->done(x->ctx);
	free(x);
}

/* Somebody looks at its curve, or its memory is being resized: that ends. */
static void
end_run(struct cache_end *x)
{
	struct daemon_cache *c = x->cache;
	daemon_cache_stop_resizing(c);
	if (c->curve_asked || c->ram_resizes || c->resizing != NULL) {
		loop_timer_set(&x->timer, GOES_AGAIN_NS);
	} else if (c->cache != NULL) {
		daemon_cache_watch(c, false);
		cache_detach(c->cache, end_detached, x);
	} else {
		end_detached(x, 0);
	}
}

static void
on_timer(struct loop_timer *t)
{
	end_run(container_of(t, struct cache_end, timer));
}

static void
end_begin(struct daemon_cache *c, void (*done)(void *ctx), void *ctx)
{
	struct cache_end *x = calloc(1, sizeof *x);
	ASSERT(x != NULL);
	*x = (struct cache_end){.cache = c, .done = done, .ctx = ctx};
	c->leaving = true;
	loop_timer_init(&x->timer, c->daemon->loops[0], on_timer);
	end_run(x);
}

static bool
is_used(const struct daemon *d, const struct daemon_cache *c)
{
	struct cache_volume *v;
	for (unsigned i = 0; i < d->now.lun_count; i++)
		if (d->now.luns[i]->cache == c)
			return true;
	return c->busy || c->leaving || (c->cache != NULL && cache_volumes(c->cache, &v, 1) > 0);
}

/* Until none is left that may go: each one that goes changes the table. */
void
change_caches_go(struct change *c, void (*after)(struct change *c))
{
	const struct daemon *d = c->daemon;

	c->after_waits = after;
	change_hold(c);
	for (unsigned i = d->cache_count; i > 0; i--) {
		struct daemon_cache *cache = d->caches[i - 1];
		bool wanted = false;
		for (unsigned k = 0; !cache->pending && k < d->conf->cache_count; k++)
			wanted = wanted || strcmp(d->conf->caches[k].name, cache->name) == 0;
		if (wanted || is_used(d, cache))
			continue;
		change_hold(c);
		end_begin(cache, change_released, c);
	}
	change_release(c);
}

void
change_caches_stay(struct change *c)
{
	for (unsigned i = 0; i < c->daemon->cache_count; i++)
		c->daemon->caches[i]->pending = false;
}

/* ---- one that is back ------------------------------------------------------------------------------------ */

void
daemon_caches_retry(
    struct daemon *d, void (*done)(void *ctx, int result), void *ctx, unsigned *waits)
{
	for (unsigned i = 0; i < d->cache_count; i++) {
		struct daemon_cache *c = d->caches[i];
		if (c->spec == NULL || c->cache != NULL || c->busy || c->leaving || c->lied)
			continue;
		++*waits;
		daemon_cache_start(c, false, done, ctx);
	}
}
