/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The volume of a LUN.
 *
 *	attach   the cache says whose store it is, which outranks the catalogue ─▶ volume opened (marker
 *	         and volume table: cache/open.c) ─▶ mode
 *	detach   a change of mode that runs ends ─▶ removed or closed
 */
#include <errno.h>
#include <openssl/evp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/assert.h"
#include "base/log.h"
#include "base/text.h"
#include "daemon/cache_orders.h"

#define STORE_MAX 127u /* of the cache's name for a store */
#define NAME_MAX_BYTES 63u

struct lun_attach {
	struct daemon_lun *lun;
	struct daemon_cache *cache;
	struct loop_job job; /* the identity is the cache's */
	uint8_t uuid[16];
	char store[STORE_MAX + 1], name[NAME_MAX_BYTES + 1];
	bool is_new; /* to the cache */
	bool again;  /* memory: what the cache has of it is of a memory that is gone */
	char reason[1024];
	void (*done)(void *ctx, int result);
	void *ctx;
};

struct lun_detach {
	struct daemon_lun *lun;
	bool remove;
	int result;
	void (*done)(void *ctx, int result);
	void *ctx;
};

/* ---- modes -------------------------------------------------------------------------------------------- */

enum cache_mode
daemon_cache_mode(enum conf_mode m)
{
	switch (m) {
	case CONF_MODE_WRITETHROUGH:
		return CACHE_WRITETHROUGH;
	case CONF_MODE_VOLATILE:
		return CACHE_VOLATILE;
	case CONF_MODE_BYPASS:
		return CACHE_BYPASS;
	case CONF_MODE_NV:
	case CONF_MODE_DEFAULT:
		break;
	}
	return CACHE_NV;
}

const char *
daemon_lun_mode(const struct daemon_lun *l)
{
	struct cache_volume_stats st;
	if (l->volume == NULL)
		return conf_mode_to_string(
		    daemon_lun_mode_waits(l) ? CONF_MODE_WRITETHROUGH : conf_lun_mode(l->conf));
	cache_volume_get_stats(l->volume, &st);
	return cache_mode_to_string(st.mode);
}

struct blk *
daemon_lun_front(const struct daemon_lun *l)
{
	if (l->ram != NULL)
		return ram_volume_blk(l->ram);
	return l->volume != NULL ? cache_volume_blk(l->volume) : l->blk;
}

/* What of its reads goes to the SSD: by its profile, and up to which length of a sequential stream. */
static void
follow_fill(struct daemon_lun *l)
{
	static const struct cache_fill_policy profiles[] = {
	    [CONF_PROFILE_VMWARE] = {.on_read = true, .cutoff_bytes = 4u << 20},
	    [CONF_PROFILE_WINDOWS] = {.on_read = true, .cutoff_bytes = 4u << 20},
	    [CONF_PROFILE_DATABASE] = {.on_read = true},
	    [CONF_PROFILE_FILESERVER] = {.on_read = true, .cutoff_bytes = 4u << 20},
	    [CONF_PROFILE_ARCHIVE] = {.on_read = false}, /* memory only */
	    [CONF_PROFILE_UNCACHED] = {.on_read = false},
	};
	ASSERT((unsigned)l->conf->profile < sizeof profiles / sizeof profiles[0]);
	struct cache_fill_policy p = profiles[l->conf->profile];
	p.compress = conf_lun_compress(l->conf);
	cache_volume_set_fill(l->volume, &p);
}

static void detach_run(struct lun_detach *x);

/* Something of the volume as a whole has ended. True: the volume goes. */
static bool
goes_on(struct daemon_lun *l)
{
	struct lun_detach *x = l->detaching;
	l->mode_changes = false;
	l->detaching = NULL;
	if (x != NULL)
		detach_run(x);
	return x != NULL;
}

static void
mode_set(void *ctx, int result)
{
	struct daemon_lun *l = ctx;
	if (result < 0 && result != -ESHUTDOWN)
		log_err("cache", "LUN %s couldn't be brought to mode %s: %s lun=%s", l->name,
		    conf_mode_to_string(conf_lun_mode(l->conf)), strerror(-result), l->name);
	if (!goes_on(l) && result == 0)
		daemon_lun_follow_mode(l);
}

bool
daemon_lun_begin(struct daemon_lun *l)
{
	/* Without a unit it is about to leave its cache. */
	if (l->volume == NULL || l->lu == NULL || l->mode_changes || l->freeze != NULL)
		return false;
	l->mode_changes = true;
	return true;
}

void
daemon_lun_end(struct daemon_lun *l)
{
	ASSERT(l->mode_changes);
	if (!goes_on(l))
		daemon_lun_follow_mode(l);
}

void
daemon_lun_follow_mode(struct daemon_lun *l)
{
	struct cache_volume_stats st;
	enum cache_mode wanted = daemon_cache_mode(conf_lun_mode(l->conf));

	daemon_lun_ram_follow(l);
	if (l->volume == NULL)
		return;
	follow_fill(l);
	if (l->mode_changes || l->detaching != NULL || l->freeze != NULL)
		return;
	cache_volume_get_stats(l->volume, &st);
	if (st.mode == wanted || daemon_lun_mode_waits(l)) {
		daemon_lun_follow_size(l);
		return;
	}
	l->mode_changes = true;
	cache_volume_set_mode(l->volume, wanted, mode_set, l);
}

/* ---- attach -------------------------------------------------------------------------------------------- */

static void volume_opened(void *ctx, int result, struct cache_volume *v);

__attribute__((format(printf, 3, 4))) static void
attach_end(struct lun_attach *a, int result, const char *fmt, ...)
{
	struct daemon_lun *l = a->lun;
	va_list ap;

	if (result < 0) {
		va_start(ap, fmt);
		vsnprintf(a->reason, sizeof a->reason, fmt, ap);
		va_end(ap);
		daemon_lun_fail(l, a->reason);
		l->cache = NULL;
	}
	a->done(a->ctx, result);
	free(a);
}

static void
refused(struct lun_attach *a, int result)
{
	const struct daemon_lun *l = a->lun;
	const char *name = l->name, *cache = a->cache->name, *store = l->canonical;
	char undo[4200] = "";

	daemon_marker_describe(l->marker, undo, sizeof undo);
	switch (result) {
	case -EBUSY:
		attach_end(a, result,
		    "LUN %s: the newest data of %s is on another cache than '%s': use that one; if "
		    "it "
		    "is lost, this gives up what it had and the store hasn't: %s",
		    name, store, cache, undo);
		return;
	case -ESTALE:
		attach_end(a, result,
		    "LUN %s: %s and cache '%s' don't fit each other: one of them is an old copy, "
		    "or the "
		    "store was used without the cache, or isn't the one that it was; nothing was "
		    "changed: bring back the one that belongs to the other",
		    name, store, cache);
		return;
	case -ENXIO:
		attach_end(a, result,
		    "LUN %s: cache '%s' has data of this LUN or store under another name than %s: "
		    "give "
		    "the store its old path again",
		    name, cache, store);
		return;
	case -EINVAL:
		attach_end(a, result,
		    "LUN %s: %s is smaller than it was, as cache '%s' knows: something of it is "
		    "lost; "
		    "bring it back",
		    name, store, cache);
		return;
	case -ENOSPC:
		attach_end(a, result,
		    "LUN %s: cache '%s' has as many LUNs as it can hold: use another cache", name,
		    cache);
		return;
	default:
		attach_end(a, result, "LUN %s: its data in cache '%s' can't be opened: %s", name,
		    cache, strerror(-result));
	}
}

static void
open_volume(struct lun_attach *a)
{
	struct daemon_lun *l = a->lun;
	struct cache_volume_args args = {
	    .name = a->name,
	    .store = l->blk,
	    .store_identity = a->store,
	    .mode = daemon_cache_mode(conf_lun_mode(l->conf)),
	    .marker = &daemon_marker_ops,
	    .marker_ctx = l->marker,
	};
	memcpy(args.uuid, l->id.uuid, sizeof args.uuid);
	cache_volume_open(a->cache->cache, &args, volume_opened, a);
}

static void
old_removed(void *ctx, int result)
{
	struct lun_attach *a = ctx;
	if (result < 0)
		refused(a, result);
	else
		open_volume(a);
}

static void
volume_opened(void *ctx, int result, struct cache_volume *v)
{
	struct lun_attach *a = ctx;
	struct daemon_lun *l = a->lun;

	if (result < 0) {
		refused(a, result);
		return;
	}
	if (a->again) {
		a->again = false;
		cache_volume_remove(v, true, old_removed, a);
		return;
	}
	l->volume = v;
	l->volume_is_new = a->is_new;
	l->cache = a->cache;
	daemon_lun_follow_mode(l);
	attach_end(a, 0, " ");
}

static int
adopt_work(struct loop_job *j)
{
	struct lun_attach *a = container_of(j, struct lun_attach, job);
	struct daemon_lun *l = a->lun;
	int rc = catalog_lu_adopt(l->daemon->catalog, l->canonical, a->uuid,
	    blk_get_info(l->blk)->size_bytes, (int64_t)time(NULL));
	if (rc < 0) {
		snprintf(a->reason, sizeof a->reason,
		    "LUN %s: its identity can't be kept in the state directory: %s", l->name,
		    strerror(-rc));
		return rc;
	}
	return daemon_luns_remember(l->daemon, &l, 1, a->reason, sizeof a->reason);
}

static void
adopt_done(struct loop_job *j, int result)
{
	struct lun_attach *a = container_of(j, struct lun_attach, job);
	char why[sizeof a->reason];

	if (result < 0) {
		snprintf(why, sizeof why, "%s", a->reason);
		attach_end(a, result, "%s", why);
		return;
	}
	log_info("cache", "LUN %s has its identity back from cache %s lun=%s", a->lun->name,
	    a->cache->name, a->lun->name);
	open_volume(a);
}

/* What a cache has room for: a long name is known by its hash. */
static bool
store_name(const char *canonical, char buf[STORE_MAX + 1])
{
	uint8_t hash[32];
	size_t len = strlen(canonical), at = 7;

	if (len <= STORE_MAX) {
		memcpy(buf, canonical, len + 1);
		return true;
	}
	if (EVP_Digest(canonical, len, hash, NULL, EVP_sha256(), NULL) != 1)
		return false;
	memcpy(buf, "sha256:", at);
	for (unsigned i = 0; i < sizeof hash; i++, at += 2)
		snprintf(buf + at, 3, "%02x", hash[i]);
	return true;
}

void
daemon_lun_attach(struct daemon_lun *l, void (*done)(void *ctx, int result), void *ctx)
{
	ASSERT(l->volume == NULL && l->lu == NULL && l->blk != NULL);
	if (l->conf->cache == NULL) {
		done(ctx, 0);
		return;
	}
	struct lun_attach *a = calloc(1, sizeof *a);
	if (a == NULL) {
		daemon_lun_fail(l, "out of memory");
		done(ctx, -ENOMEM);
		return;
	}
	*a = (struct lun_attach){.lun = l,
	    .cache = daemon_cache_find(l->daemon, l->conf->cache),
	    .done = done,
	    .ctx = ctx};
	snprintf(a->name, sizeof a->name, "%s", l->name);
	if (a->cache == NULL) {
		attach_end(a, -ENODEV,
		    "LUN %s: cache '%s' is new, and attached at the next start of terraced: "
		    "systemctl restart terraced",
		    l->name, l->conf->cache);
	} else if (a->cache->spec == NULL) {
		l->cache = a->cache;
		attach_end(a, 0, " ");
	} else if (a->cache->cache == NULL) {
		attach_end(a, -ENODEV,
		    "LUN %s isn't served without its cache '%s', which may have its newest data: "
		    "%s",
		    l->name, l->conf->cache, a->cache->why != NULL ? a->cache->why : "");
	} else if (!store_name(l->canonical, a->store)) {
		attach_end(a, -ENOMEM, "out of memory");
	} else if (cache_volume_find(a->cache->cache, a->store, a->uuid) < 0) {
		a->is_new = true;
		open_volume(a);
	} else {
		a->again = daemon_is_memory(l->conf->store);
		if (memcmp(a->uuid, l->id.uuid, sizeof a->uuid) == 0) {
			open_volume(a);
			return;
		}
		a->job = (struct loop_job){.work = adopt_work, .done = adopt_done};
		loop_job_submit(l->daemon->loops[0], &a->job);
	}
}

/* ---- detach ---------------------------------------------------------------------------------------------- */

static void
detached(void *ctx, int result)
{
	struct lun_detach *x = ctx;
	struct daemon_lun *l = x->lun;
	l->volume = NULL;
	l->cache = NULL;
	if (x->result == 0)
		x->result = result;
	x->done(x->ctx, x->result);
	free(x);
}

static void
removed(void *ctx, int result)
{
	struct lun_detach *x = ctx;
	struct daemon_lun *l = x->lun;
	char why[512];

	if (result == 0) {
		log_info("cache", "the data of LUN %s is on its store lun=%s", l->name, l->name);
		detached(x, 0);
		return;
	}
	snprintf(why, sizeof why,
	    "LUN %s: its data couldn't go from cache '%s' to %s (%s), and stays in the cache",
	    l->name, l->cache->name, l->canonical, strerror(-result));
	log_err("cache", "%s", why);
	daemon_lun_fail(l, why);
	x->result = result;
	cache_volume_close(l->volume, detached, x);
}

static void
detach_run(struct lun_detach *x)
{
	if (x->remove)
		cache_volume_remove(x->lun->volume, false, removed, x);
	else
		cache_volume_close(x->lun->volume, detached, x);
}

void
daemon_lun_detach(struct daemon_lun *l, bool remove, void (*done)(void *ctx, int result), void *ctx)
{
	ASSERT(l->lu == NULL && l->detaching == NULL);
	if (l->volume == NULL) {
		l->cache = NULL;
		done(ctx, 0);
		return;
	}
	struct lun_detach *x = calloc(1, sizeof *x);
	ASSERT(x != NULL);
	*x = (struct lun_detach){.lun = l, .remove = remove, .done = done, .ctx = ctx};
	if (l->mode_changes)
		l->detaching = x; /* mode_set() goes on */
	else
		detach_run(x);
}
