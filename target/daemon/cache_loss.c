/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * accept-loss: a LUN that isn't served because acknowledged data of it is on a cache that is gone, or that has
 * lost it, is served without that from then on.
 *
 *	the cache is there and has lost something   it is attached all the same; what it has is kept
 *	it isn't there                              the store's mark goes: the store is what there is
 *
 * Either way the LUN comes by itself soon after, as one whose store is back.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "daemon/cache_orders.h"
#include "daemon/change_priv.h"

struct loss_order {
	struct daemon *daemon;
	struct ctl_call *call;
	char *name, *store;
	uint8_t uuid[16];
	bool confirmed;
	struct daemon_cache *cache; /* that has lost something; NULL: it isn't there */
	struct loop_job job;
	struct cache_marker found;
	char reason[1024];
};

static void
loss_free(struct loss_order *x)
{
	free(x->name);
	free(x->store);
	free(x);
}

static void
refuse(struct loss_order *x, int code, const char *text)
{
	ctl_call_fail(x->call, code, NULL, "LUN %s: %s", x->name, text);
	loss_free(x);
}

static json_t *
answer(const struct loss_order *x, bool done)
{
	json_t *ranges = x->cache != NULL && x->cache->losses != NULL
	                     ? json_deep_copy(x->cache->losses)
	                     : json_array();
	return json_pack("{s:b, s:s, s:b, s:o}", "applied", done, "lun", x->name, "known",
	    x->cache != NULL, "losses", ranges);
}

static void
done(struct loss_order *x)
{
	char command[400], uuid[37];

	text_format_uuid(x->uuid, uuid);
	snprintf(command, sizeof command, "cache accept-loss %.200s --cache %s --confirm %.100s",
	    x->name, uuid, x->name);
	log_warn("cache",
	    "what cache %s had of LUN %s and its store hasn't is given up lun=%s user=%s", uuid,
	    x->name, x->name, ctl_call_peer(x->call)->user);
	change_history(
	    x->daemon, ctl_call_peer(x->call)->uid, ctl_call_peer(x->call)->user, command, "done");
	ctl_call_done(x->call, answer(x, true));
	loss_free(x);
}

/* ---- the cache is there -------------------------------------------------------------------------------- */

static void
attached(void *ctx, int result)
{
	struct loss_order *x = ctx;
	if (result < 0)
		refuse(x, CTL_FAILED,
		    x->cache->why != NULL ? x->cache->why : "its cache can't be attached");
	else
		done(x);
}

static void
attach(struct loss_order *x)
{
	if (x->cache->cache != NULL || x->cache->busy) {
		refuse(x, CTL_BUSY, "its cache is being attached; look again");
		return;
	}
	x->cache->accept_loss = true;
	daemon_cache_start(x->cache, false, attached, x);
}

/* ---- it isn't ------------------------------------------------------------------------------------------ */

/* "file:/srv/a.img" of whatever the configuration says; NULL: no memory. */
static char *
canonical(const char *store)
{
	const char *path = daemon_lun_file(store);
	char *real = path != NULL ? realpath(path, NULL) : NULL, *name = NULL;
	if (real == NULL)
		return strdup(store);
	if (asprintf(&name, "file:%s", real) < 0)
		name = NULL;
	free(real);
	return name;
}

/* Which cache has the newest data; with `confirmed` the mark goes. */
static int
mark_work(struct loop_job *j)
{
	struct loss_order *x = container_of(j, struct loss_order, job);
	struct daemon_marker *m = NULL;
	char *name = canonical(x->store);
	int rc = name != NULL ? daemon_marker_create(x->daemon, name, &m) : -ENOMEM;

	free(name);
	if (rc == 0)
		rc = daemon_marker_read(m, &x->found);
	/* One that is damaged names nobody any more: it is taken for what is meant. */
	if (rc == -EINVAL)
		rc = 0, x->found = (struct cache_marker){.present = true};
	else if (rc == 0 && x->found.present && memcmp(x->found.cache_uuid, x->uuid, 16) != 0)
		rc = -ESTALE;
	if (rc == 0 && x->found.present && x->confirmed)
		rc = daemon_marker_clear(m);
	daemon_marker_destroy(m);
	return rc;
}

static void
mark_done(struct loop_job *j, int result)
{
	struct loss_order *x = container_of(j, struct loss_order, job);
	char uuid[37];

	if (result == -ESTALE) {
		text_format_uuid(x->found.cache_uuid, uuid);
		snprintf(x->reason, sizeof x->reason,
		    "its newest data is on cache %s, not on that one", uuid);
		refuse(x, CTL_INVALID_PARAMS, x->reason);
	} else if (result < 0) {
		refuse(x, CTL_FAILED, strerror(-result));
	} else if (!x->found.present) {
		refuse(x, CTL_FAILED, "its store has no mark of a cache: nothing is missing");
	} else if (x->confirmed) {
		done(x);
	} else {
		ctl_call_done(x->call, answer(x, false));
		loss_free(x);
	}
}

/* ---- the order ----------------------------------------------------------------------------------------- */

static struct loss_order *
order_new(struct daemon *d, struct ctl_call *call, const struct daemon_lun *l, const json_t *params)
{
	const char *confirm = json_string_value(json_object_get(params, "confirm"));
	struct loss_order *x = calloc(1, sizeof *x);
	if (x == NULL)
		return NULL;
	x->daemon = d;
	x->call = call;
	x->name = strdup(l->name);
	x->store = strdup(l->canonical != NULL ? l->canonical : l->conf->store);
	x->confirmed = confirm != NULL && strcmp(confirm, l->name) == 0;
	struct daemon_cache *c =
	    l->conf->cache != NULL ? daemon_cache_find(d, l->conf->cache) : NULL;
	if (c != NULL && c->cache == NULL && c->lied)
		x->cache = c;
	if (x->name != NULL && x->store != NULL)
		return x;
	loss_free(x);
	return NULL;
}

void
order_accept_loss(void *daemon, struct ctl_call *call, const json_t *params)
{
	struct daemon *d = daemon;
	const char *name = json_string_value(json_object_get(params, "lun"));
	const char *uuid = json_string_value(json_object_get(params, "cache"));
	const json_t *confirm = json_object_get(params, "confirm");
	const struct daemon_lun *l = daemon_lun_find(d, name);
	uint8_t bytes[16];

	if (l == NULL) {
		ctl_call_fail(call, CTL_NO_OBJECT, NULL, "there is no LUN '%s'", name);
		return;
	}
	if (text_parse_uuid(uuid, bytes) < 0) {
		ctl_call_fail(call, CTL_INVALID_PARAMS, NULL, "'%s' is no UUID", uuid);
		return;
	}
	if (l->lu != NULL) {
		ctl_call_fail(call, CTL_FAILED, NULL, "LUN %s is served: nothing is missing", name);
		return;
	}
	if (confirm != NULL && strcmp(json_string_value(confirm), name) != 0) {
		ctl_call_fail(call, CTL_INVALID_PARAMS, NULL,
		    "'%s' isn't the name of the LUN: nothing was done", json_string_value(confirm));
		return;
	}
	struct loss_order *x = order_new(d, call, l, params);
	if (x == NULL) {
		ctl_call_fail(call, CTL_FAILED, NULL, "out of memory");
		return;
	}
	memcpy(x->uuid, bytes, sizeof x->uuid);
	if (x->cache != NULL && x->confirmed) {
		attach(x);
	} else if (x->cache != NULL) {
		ctl_call_done(call, answer(x, false));
		loss_free(x);
	} else {
		x->job = (struct loop_job){.work = mark_work, .done = mark_done};
		loop_job_submit(d->loops[0], &x->job);
	}
}
