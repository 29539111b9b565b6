/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Attaching the caches at the start, before any unit is made, and detaching them at the end, after the
 * last one is gone. Both run on the home loop while nothing else does.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/assert.h"
#include "base/log.h"
#include "base/text.h"
#include "ctl/ctl.h"
#include "daemon/caches.h"
#include "daemon/plan.h"

struct daemon_cache *
daemon_cache_find(const struct daemon *d, const char *name)
{
	for (unsigned i = 0; i < d->cache_count; i++)
		if (strcmp(d->caches[i]->name, name) == 0)
			return d->caches[i];
	return NULL;
}

/* ---- the home loop, alone -------------------------------------------------------------------------- */

struct phase {
	struct loop_msg msg;
	struct daemon *d;
	unsigned waits;
	void (*begin)(struct phase *p);
	void (*next)(struct phase *p); /* when nothing is awaited any more */
};

static void
hold(struct phase *p)
{
	p->waits++;
}

static void
release(struct phase *p)
{
	ASSERT(p->waits > 0);
	if (--p->waits == 0)
		p->next(p);
}

static void
phase_msg(struct loop_msg *m)
{
	struct phase *p = container_of(m, struct phase, msg);
	p->begin(p);
}

static void
phase_end(struct phase *p)
{
	loop_stop(p->d->loops[0]);
}

/* Returns when phase_end() was called. */
static void
phase_run(struct daemon *d, void (*begin)(struct phase *p))
{
	struct phase p = {.msg = {.run = phase_msg}, .d = d, .begin = begin};
	loop_send(d->loops[0], &p.msg);
	loop_run(d->loops[0]);
}

/* ---- attach ------------------------------------------------------------------------------------------- */

struct attach {
	struct daemon_cache *cache;
	struct cache_format_args format;
	void (*done)(void *ctx, int result);
	void *ctx;
};

static void
attach_end(struct attach *a, int result)
{
	a->done(a->ctx, result);
	free(a);
}

/* For people; the core says which LUN, or which error. */
static const char *const meanings[CACHE_COND_COUNT] = {
    [CACHE_COND_SSD_WRITE] = "a write to the SSD failed",
    [CACHE_COND_SSD_VOID] = "the SSD takes no writes any more",
    [CACHE_COND_SSD_READ] = "blocks of the SSD couldn't be read",
    [CACHE_COND_DATA_LOST] = "acknowledged data can't be read from the SSD",
    [CACHE_COND_STORE_WRITE] = "a store doesn't take its data",
    [CACHE_COND_LOG_FULL] = "it is full",
    [CACHE_COND_DRIVE_LIED] = "the SSD had lost what it had called durable",
    [CACHE_COND_SSD_GONE] = "the SSD is gone",
};

static void
on_condition(void *ctx, enum cache_condition k, bool set, const char *detail)
{
	struct daemon_cache *c = ctx;
	free(c->details[k]);
	c->details[k] = NULL;
	if (set && asprintf(&c->details[k], "%s%s%s%s", meanings[k], detail != NULL ? " (" : "",
	               detail != NULL ? detail : "", detail != NULL ? ")" : "") < 0)
		c->details[k] = strdup(meanings[k]);
	if (set)
		log_err("cache", "cache %s: %s cache=%s", c->name,
		    c->details[k] != NULL ? c->details[k] : meanings[k], c->name);
	monitor_soon(c->daemon->monitor);
}

static void
fail(struct daemon_cache *c, const char *reason)
{
	char text[1024];
	snprintf(text, sizeof text, "cache %s: %s", c->name, reason);
	free(c->why);
	c->why = strdup(text);
}

static void
on_lost(void *ctx, const struct cache_loss *l)
{
	struct daemon_cache *c = ctx;
	if (c->losses == NULL)
		c->losses = json_array();
	json_array_append_new(
	    c->losses, json_pack("{s:o, s:I, s:I, s:s}", "lun", ctl_string(l->name), "offset",
	                   (json_int_t)l->offset_bytes, "bytes", (json_int_t)l->bytes, "why",
	                   l->why != NULL ? l->why : ""));
}

static void
on_ssd_event(void *ctx, enum blk_event ev)
{
	struct daemon_cache *c = ctx;
	if (c->cache == NULL)
		return;
	cache_ssd_event(c->cache, ev == BLK_EVENT_GONE);
	if (ev == BLK_EVENT_SIZE)
		daemon_cache_sized(c);
}

void
daemon_cache_watch(struct daemon_cache *c, bool on)
{
	if (c->ssd == NULL)
		return;
	blk_set_events(c->ssd, on ? on_ssd_event : NULL, c);
	if (on && blk_get_state(c->ssd) == BLK_GONE)
		cache_ssd_event(c->cache, true);
}

static void
attached(void *ctx, int result, struct cache *cache, const char *reason)
{
	struct attach *a = ctx;
	struct daemon_cache *c = a->cache;
	struct cache_stats st;
	char uuid[37], size[32];

	if (result < 0) {
		char text[900];
		snprintf(text, sizeof text, "%s: %s", blk_get_name(c->ssd),
		    reason != NULL && reason[0] != '\0' ? reason : strerror(-result));
		fail(c, text);
		c->lied = result == -EUCLEAN;
	} else {
		free(c->why);
		c->why = NULL;
		c->lied = c->accept_loss = false;
		c->cache = cache;
		cache_get_stats(cache, &st);
		memcpy(c->identity.uuid, st.uuid, sizeof c->identity.uuid);
		c->identity.is_known = true;
		text_format_uuid(st.uuid, uuid);
		text_format_size(st.segment_bytes * st.segments, size, sizeof size);
		log_info("cache", "%s is cache %s, %s, uuid %s%s", blk_get_name(c->ssd), c->name,
		    size, uuid, c->is_new ? ", new" : "");
		c->is_new = false;
		daemon_cache_watch(c, true);
	}
	attach_end(a, result);
}

/* The machine, for the superblock. */
static void
host_id(const struct daemon *d, uint8_t ret[16])
{
	const char *id = statedir_machine_id(d->statedir);
	memset(ret, 0, 16);
	for (unsigned i = 0; i < 16 && strlen(id) >= 32; i++) {
		unsigned v;
		if (sscanf(id + 2 * (size_t)i, "%2x", &v) == 1)
			ret[i] = (uint8_t)v;
	}
}

static void
attach_start(struct attach *a)
{
	struct daemon *d = a->cache->daemon;
	struct cache_args args = {
	    .ssd = a->cache->ssd,
	    .loops = d->loops,
	    .loop_count = d->loop_count,
	    .accept_loss = a->cache->accept_loss,
	    .lost = on_lost,
	    .condition = on_condition,
	    .ctx = a->cache,
	};
	json_decref(a->cache->losses);
	a->cache->losses = NULL;
	host_id(d, args.host);
	cache_tuning_default(&args.tuning);
	args.tuning.index_bytes_max = a->cache->index_bytes_max;
	cache_attach(&args, attached, a);
}

static void
formatted(void *ctx, int result)
{
	struct attach *a = ctx;
	char size[32];

	if (result == -EEXIST) /* a test's store has one already */
		a->cache->is_new = false;
	if (result == 0 || result == -EEXIST) {
		attach_start(a);
		return;
	}
	text_format_size(blk_get_info(a->cache->ssd)->size_bytes, size, sizeof size);
	if (result == -ENOSPC || result == -EINVAL) {
		char text[200];
		snprintf(text, sizeof text, "%s is too small for a cache", size);
		fail(a->cache, text);
	} else {
		fail(a->cache, strerror(-result));
	}
	attach_end(a, result);
}

static void
format_start(struct attach *a)
{
	if (getrandom(a->format.uuid, sizeof a->format.uuid, 0) != (ssize_t)sizeof a->format.uuid) {
		fail(a->cache, "the system has no random numbers");
		attach_end(a, -EIO);
		return;
	}
	a->format.uuid[6] = (a->format.uuid[6] & 0x0f) | 0x40;
	a->format.uuid[8] = (a->format.uuid[8] & 0x3f) | 0x80;
	cache_format(a->cache->ssd, &a->format, formatted, a);
}

void
daemon_cache_attach(struct daemon_cache *c, void (*done)(void *ctx, int result), void *ctx)
{
	struct attach *a = calloc(1, sizeof *a);
	if (a == NULL) {
		fail(c, "out of memory");
		done(ctx, -ENOMEM);
		return;
	}
	*a = (struct attach){.cache = c, .done = done, .ctx = ctx};
	if (c->is_new)
		format_start(a);
	else
		attach_start(a);
}

struct lun_wait {
	struct phase *phase;
	struct daemon_lun *lun;
};

static void
lun_attached(void *ctx, int result)
{
	struct lun_wait *w = ctx;
	if (result < 0)
		log_err("cache", "%s", w->lun->why != NULL ? w->lun->why : strerror(-result));
	release(w->phase);
	free(w);
}

static void
attach_luns(struct phase *p)
{
	const struct plan *plan = p->d->plan;
	p->next = phase_end;
	hold(p);
	for (unsigned i = 0; i < plan->lun_count; i++) {
		struct daemon_lun *l = plan->luns[i].after;
		if (l == NULL || l->blk == NULL || l->conf->cache == NULL)
			continue;
		struct lun_wait *w = malloc(sizeof *w);
		if (w == NULL) {
			daemon_lun_fail(l, "out of memory");
			continue;
		}
		*w = (struct lun_wait){p, l};
		hold(p);
		daemon_lun_attach(l, lun_attached, w);
	}
	release(p);
}

static void
phase_attached(void *ctx, int result)
{
	(void)result; /* the cache says why */
	release(ctx);
}

static void
attach_caches(struct phase *p)
{
	p->next = attach_luns;
	hold(p);
	for (unsigned i = 0; i < p->d->cache_count; i++) {
		struct daemon_cache *c = p->d->caches[i];
		if (c->ssd == NULL)
			continue;
		hold(p);
		daemon_cache_attach(c, phase_attached, p);
	}
	release(p);
}

/* ---- the start -------------------------------------------------------------------------------------------- */

static void
cache_destroy(struct daemon_cache *c)
{
	ASSERT(c->cache == NULL);
	ram_tier_destroy(c->ram);
	if (c->spec != NULL)
		daemon_ssd_close(c, !c->identity.is_known);
	for (unsigned i = 0; i < CACHE_COND_COUNT; i++)
		free(c->details[i]);
	free(c->name);
	free(c->spec);
	free(c->why);
	json_decref(c->losses);
	free(c);
}

static int
open_ram(struct daemon_cache *c, uint64_t bytes)
{
	char size[32], text[200];
	int rc = daemon_ram_create(c, bytes);
	if (rc == 0 || rc == -ENOMEM)
		return rc;
	text_format_size(bytes, size, sizeof size);
	snprintf(text, sizeof text, "%s of memory can't be had: give another size", size);
	fail(c, text);
	return rc;
}

/* As configured; what it opens itself stays in it also when it fails. */
static int
set_up(
    struct daemon_cache *c, struct daemon *d, const struct conf *conf, const struct conf_cache *x)
{
	c->daemon = d;
	c->size_bytes = x->size_bytes;
	c->index_bytes_max = x->index_bytes;
	c->name = strdup(x->name);
	c->spec = x->ssd != NULL ? strdup(x->ssd) : NULL;
	if (c->name == NULL || (x->ssd != NULL && c->spec == NULL))
		return -ENOMEM;
	return open_ram(c, daemon_ram_bytes(conf, x));
}

int
daemon_cache_create(struct daemon *d, const struct conf *conf, const struct conf_cache *x,
    struct daemon_cache **ret)
{
	struct daemon_cache **more =
	    reallocarray(d->caches, d->cache_count + 1u, sizeof(struct daemon_cache *));
	struct daemon_cache *c = calloc(1, sizeof *c);
	if (more != NULL)
		d->caches = more;
	if (more == NULL || c == NULL) {
		free(c);
		return -ENOMEM;
	}
	int rc = set_up(c, d, conf, x);
	if (rc < 0) {
		cache_destroy(c);
		return rc;
	}
	d->caches[d->cache_count++] = c;
	*ret = c;
	return 0;
}

void
daemon_cache_remove(struct daemon_cache *c)
{
	struct daemon *d = c->daemon;
	unsigned i = 0;
	while (d->caches[i] != c)
		i++;
	memmove(&d->caches[i], &d->caches[i + 1],
	    (--d->cache_count - i) * sizeof(struct daemon_cache *));
	for (unsigned k = HEALTH_CACHE_ABSENT; k <= HEALTH_CACHE_GONE; k++)
		health_clear(d->health, (enum health_code)k, c->name);
	cache_destroy(c);
}

static int
open_ssds(struct daemon *d, const struct conf *conf)
{
	char reason[1024];

	d->caches = calloc(conf->cache_count + 1u, sizeof(struct daemon_cache *));
	if (d->caches == NULL)
		return -ENOMEM;
	for (unsigned i = 0; i < conf->cache_count; i++) {
		struct daemon_cache *c = calloc(1, sizeof *c);
		if (c == NULL)
			return -ENOMEM;
		d->caches[d->cache_count++] = c;
		int rc = set_up(c, d, conf, &conf->caches[i]);
		if (rc < 0)
			return rc;
		if (c->spec == NULL)
			continue;
		rc = daemon_ssd_open(c, reason, sizeof reason);
		if (rc == 0)
			continue;
		c->why = strdup(reason);
		if (rc == -EINTR || c->why == NULL)
			return rc;
	}
	return 0;
}

/* Why the start can't go on, if it can't. */
static int
judge(struct daemon *d)
{
	bool tolerant = d->options->config_file != NULL;
	const char *first = NULL;
	unsigned served = 0;

	if (d->stopping) {
		snprintf(d->reason, sizeof d->reason, "ended by a signal while it was starting");
		return -EINTR;
	}
	for (unsigned i = 0; first == NULL && i < d->cache_count; i++)
		first = d->caches[i]->why;
	for (unsigned i = 0; i < d->plan->lun_count; i++) {
		struct daemon_lun *l = d->plan->luns[i].after;
		bool failed =
		    l != NULL && l->blk != NULL && l->conf->cache != NULL && l->cache == NULL;
		if (failed && first == NULL)
			first = l->why;
		if (failed)
			daemon_lun_undo(l);
		served += l != NULL && l->blk != NULL;
	}
	if (first == NULL || (tolerant && (served > 0 || d->plan->lun_count == 0)))
		return 0;
	snprintf(d->reason, sizeof d->reason, "%s", first);
	return -ENODEV;
}

int
daemon_open_caches(void *ctx)
{
	struct daemon *d = ctx;
	const struct conf *conf = d->plan->config.conf;

	if (conf->cache_count == 0)
		return 0;
	int rc = open_ssds(d, conf);
	if (rc == 0)
		phase_run(d, attach_caches);
	else
		snprintf(d->reason, sizeof d->reason, "%s",
		    rc == -ENOMEM ? "out of memory" : d->caches[d->cache_count - 1]->why);
	if (rc == 0)
		rc = judge(d);
	if (rc < 0)
		daemon_close_caches(d);
	return rc;
}

/* ---- the end ---------------------------------------------------------------------------------------------- */

struct detach {
	struct phase *phase;
	struct daemon_cache *cache;
};

static void
detached(void *ctx, int result)
{
	struct detach *x = ctx;
	x->cache->cache = NULL;
	if (result < 0)
		log_err("cache",
		    "the last state of cache %s couldn't be written (%s): the next start recovers "
		    "it",
		    x->cache->name, strerror(-result));
	release(x->phase);
	free(x);
}

static void
detach_caches(struct phase *p)
{
	p->next = phase_end;
	hold(p);
	for (unsigned i = 0; i < p->d->cache_count; i++) {
		struct daemon_cache *c = p->d->caches[i];
		if (c->cache == NULL)
			continue;
		struct detach *x = calloc(1, sizeof *x);
		ASSERT(x != NULL);
		*x = (struct detach){p, c};
		hold(p);
		daemon_cache_watch(c, false);
		cache_detach(c->cache, detached, x);
	}
	release(p);
}

static void
lun_detached(void *ctx, int result)
{
	(void)result;
	release(ctx);
}

/* A start that failed leaves nothing behind in a cache either. */
static void
detach_lun(struct phase *p, struct daemon_lun *l)
{
	if (l == NULL || l->volume == NULL)
		return;
	hold(p);
	daemon_lun_detach(l, !p->d->served && l->volume_is_new, lun_detached, p);
}

static void
detach_luns(struct phase *p)
{
	const struct daemon *d = p->d;
	p->next = detach_caches;
	hold(p);
	for (unsigned i = 0; d->plan != NULL && !d->plan->adopted && i < d->plan->lun_count; i++)
		detach_lun(p, d->plan->luns[i].after);
	for (unsigned i = 0; i < d->now.lun_count; i++)
		detach_lun(p, d->now.luns[i]);
	release(p);
}

void
daemon_close_caches(void *ctx)
{
	struct daemon *d = ctx;
	bool any = false;

	for (unsigned i = 0; i < d->cache_count; i++)
		any = any || d->caches[i]->cache != NULL;
	if (any)
		phase_run(d, detach_luns);
	for (unsigned i = 0; i < d->cache_count; i++)
		cache_destroy(d->caches[i]);
	free(d->caches);
	d->caches = NULL;
	d->cache_count = 0;
}
