/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What is ordered of caches while LUNs are used: flush, evict. An order is for LUNs by name or for all that
 * a cache has; it goes to each at once, and is answered when the last has ended. What ends a LUN's use of its
 * cache meanwhile ends the order for it.
 *
 *	flush   what was acknowledged before goes to the stores, which are flushed
 *	evict   the same ─▶ memory is dropped ─▶ the SSD's copies are dropped
 *
 * Of one LUN it may be a range.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/log.h"
#include "daemon/cache_orders.h"
#include "daemon/change.h"

struct order_part {
	struct order *order;
	struct daemon_lun *lun;
	char *name;
	uint64_t dirty_bytes, cached_bytes; /* before */
	int result;
};

struct order {
	struct daemon *daemon;
	struct ctl_call *call;
	bool evict;
	uint64_t from_bytes, bytes; /* of each; UINT64_MAX: all */
	uint64_t since_ns;
	struct order_part *parts;
	unsigned count, waits;
};

/* ---- which LUNs ------------------------------------------------------------------------------------------ */

static int
no_lun(struct ctl_call *call, const char *name)
{
	ctl_call_fail(call, CTL_NO_OBJECT, NULL,
	    "there is no LUN '%s': `terracectl lun list` shows those there are", name);
	return -1;
}

void
order_no_cache(struct ctl_call *call, const char *name)
{
	ctl_call_fail(call, CTL_NO_OBJECT, NULL,
	    "there is no cache '%s': `cachectl status` shows those there are", name);
}

static bool
add_lun(struct order_luns *x, struct daemon_lun *l)
{
	for (unsigned i = 0; i < x->count; i++)
		if (x->list[i] == l)
			return true;
	struct daemon_lun **more = reallocarray(x->list, x->count + 1, sizeof(struct daemon_lun *));
	if (more == NULL)
		return false;
	x->list = more;
	x->list[x->count++] = l;
	return true;
}

static int
add_name(struct daemon *d, struct ctl_call *call, const json_t *name, struct order_luns *x)
{
	const char *text = json_string_value(name);
	struct daemon_lun *l = text != NULL ? daemon_lun_find(d, text) : NULL;

	if (text == NULL) {
		ctl_call_fail(call, CTL_INVALID_PARAMS, NULL, "luns: a list of names");
		return -1;
	}
	if (l == NULL)
		return no_lun(call, text);
	if (l->lu == NULL || (l->volume == NULL && l->ram == NULL)) {
		ctl_call_fail(call, CTL_FAILED, NULL, "LUN %s %s%s%s", l->name,
		    l->lu == NULL ? "isn't served" : "has no cache", l->why != NULL ? ": " : "",
		    l->why != NULL ? l->why : "");
		return -1;
	}
	if (add_lun(x, l))
		return 0;
	ctl_call_fail(call, CTL_FAILED, NULL, "out of memory");
	return -1;
}

static int
add_cache(struct daemon *d, struct ctl_call *call, const char *name, struct order_luns *x)
{
	const struct daemon_cache *c = daemon_cache_find(d, name);

	if (c == NULL) {
		order_no_cache(call, name);
		return -1;
	}
	for (unsigned i = 0; i < d->now.lun_count; i++) {
		struct daemon_lun *l = d->now.luns[i];
		if (l->cache == c && l->lu != NULL && (l->volume != NULL || l->ram != NULL) &&
		    !add_lun(x, l)) {
			ctl_call_fail(call, CTL_FAILED, NULL, "out of memory");
			return -1;
		}
	}
	return 0;
}

int
order_luns(struct daemon *d, struct ctl_call *call, const json_t *params, struct order_luns *ret)
{
	const json_t *lun = json_object_get(params, "lun"), *luns = json_object_get(params, "luns");
	const char *cache = json_string_value(json_object_get(params, "cache"));
	int rc = 0;

	*ret = (struct order_luns){0};
	if (lun == NULL && json_array_size(luns) == 0 && cache == NULL) {
		ctl_call_fail(
		    call, CTL_INVALID_PARAMS, NULL, "of which LUN? Give lun, luns or cache");
		return -1;
	}
	if (lun != NULL)
		rc = add_name(d, call, lun, ret);
	for (size_t i = 0; rc == 0 && i < json_array_size(luns); i++)
		rc = add_name(d, call, json_array_get(luns, i), ret);
	if (rc == 0 && cache != NULL)
		rc = add_cache(d, call, cache, ret);
	if (rc < 0)
		order_luns_fini(ret);
	return rc;
}

void
order_luns_fini(struct order_luns *x)
{
	free(x->list);
	*x = (struct order_luns){0};
}

/* ---- the end ----------------------------------------------------------------------------------------------- */

static void
order_free(struct order *o)
{
	for (unsigned i = 0; i < o->count; i++)
		free(o->parts[i].name);
	free(o->parts);
	free(o);
}

const char *
order_reason(int result)
{
	switch (result) {
	case -ESHUTDOWN:
		return "it left its cache meanwhile";
	case -EBUSY:
		return "its cache is being changed; try again";
	case -EIO:
		return "the store or the SSD fails: `terracectl status` says which";
	default:
		return strerror(-result);
	}
}

static void
order_answer(struct order *o)
{
	uint64_t past = loop_now_ns(o->daemon->loops[0]) - o->since_ns;
	const struct order_part *failed = NULL;
	json_t *list = json_array();

	for (unsigned i = 0; i < o->count; i++) {
		const struct order_part *p = &o->parts[i];
		if (p->result < 0 && failed == NULL)
			failed = p;
		json_array_append_new(
		    list, json_pack("{s:o, s:b, s:I, s:I, s:s}", "name", ctl_string(p->name),
		              "done", p->result == 0, "dirty_bytes", (json_int_t)p->dirty_bytes,
		              "cached_bytes", (json_int_t)p->cached_bytes, "why",
		              p->result < 0 ? order_reason(p->result) : ""));
	}
	if (failed != NULL)
		ctl_call_fail(o->call, CTL_FAILED, json_pack("{s:o}", "luns", list),
		    o->evict ? "LUN %s couldn't be evicted: %s"
		             : "the data of LUN %s isn't on its store: %s",
		    failed->name, order_reason(failed->result));
	else
		ctl_call_done(
		    o->call, json_pack("{s:o, s:f}", "luns", list, "seconds", (double)past / 1e9));
	order_free(o);
}

static void
part_ended(struct order_part *p, int result)
{
	struct order *o = p->order;
	p->lun = NULL;
	p->result = result;
	if (--o->waits == 0)
		order_answer(o);
}

/* ---- the steps of a LUN ------------------------------------------------------------------------------------ */

static void
evicted(void *ctx, int result)
{
	struct order_part *p = ctx;
	struct daemon_lun *l = p->lun;
	if (result == 0)
		log_info("cache", "LUN %s was evicted lun=%s", l->name, l->name);
	part_ended(p, result);
	daemon_lun_end(l);
}

static void
dropped(void *ctx, int result)
{
	struct order_part *p = ctx;
	struct daemon_lun *l = p->lun;

	(void)result;
	if (l->volume == NULL) /* memory only; or all of it has gone meanwhile */
		part_ended(p, 0);
	else if (!daemon_lun_begin(l))
		part_ended(p, -EBUSY);
	else
		cache_volume_evict_range(
		    l->volume, p->order->from_bytes, p->order->bytes, evicted, p);
}

static void
flushed(void *ctx, int result)
{
	struct order_part *p = ctx;
	const struct daemon_lun *l = p->lun;
	const struct order *o = p->order;

	if (result < 0 || !o->evict)
		part_ended(p, result);
	else if (l->ram != NULL)
		ram_volume_drop_range(l->ram, o->from_bytes, o->bytes, dropped, p);
	else
		dropped(p, 0);
}

static void
part_begin(struct order_part *p)
{
	struct daemon_lun *l = p->lun;
	struct cache_volume_stats st = {0};

	if (l->volume == NULL) {
		flushed(p, 0);
		return;
	}
	cache_volume_get_stats(l->volume, &st);
	p->dirty_bytes = st.dirty_bytes;
	p->cached_bytes = st.cached_bytes;
	cache_volume_flush_range(l->volume, p->order->from_bytes, p->order->bytes, flushed, p);
}

/* ---- methods ----------------------------------------------------------------------------------------------- */

static struct order *
order_new(struct daemon *d, struct ctl_call *call, const struct order_luns *luns)
{
	struct order *o = calloc(1, sizeof *o);
	if (o == NULL)
		return NULL;
	o->daemon = d;
	o->call = call;
	o->since_ns = loop_now_ns(d->loops[0]);
	o->parts = calloc(luns->count + 1u, sizeof *o->parts);
	for (; o->parts != NULL && o->count < luns->count; o->count++) {
		struct order_part *p = &o->parts[o->count];
		*p = (struct order_part){.order = o, .lun = luns->list[o->count]};
		if ((p->name = strdup(p->lun->name)) == NULL)
			break;
	}
	if (o->parts != NULL && o->count == luns->count)
		return o;
	order_free(o);
	return NULL;
}

/* "from" and "bytes": of one LUN. False: the call was answered. */
static bool
range_of(struct ctl_call *call, const json_t *params, const struct order_luns *luns,
    uint64_t *ret_from, uint64_t *ret_bytes)
{
	const json_t *from = json_object_get(params, "from");
	const json_t *bytes = json_object_get(params, "bytes");
	json_int_t at = json_integer_value(from), len = json_integer_value(bytes);

	*ret_from = 0;
	*ret_bytes = UINT64_MAX;
	if (from == NULL && bytes == NULL)
		return true;
	const char *wrong = NULL;
	if (luns->count != 1)
		wrong = "from and bytes are of one LUN";
	else if (at < 0 || (bytes != NULL && len < 1) || len > INT64_MAX - at)
		wrong = "from is a place in bytes, bytes is at least 1";
	else if ((uint64_t)at >= blk_get_info(luns->list[0]->blk)->size_bytes)
		wrong = "from is beyond the LUN's end";
	if (wrong != NULL) {
		ctl_call_fail(call, CTL_INVALID_PARAMS, NULL, "%s", wrong);
		return false;
	}
	*ret_from = (uint64_t)at;
	if (bytes != NULL)
		*ret_bytes = (uint64_t)len;
	return true;
}

static void
start(struct daemon *d, struct ctl_call *call, const json_t *params, bool evict)
{
	struct order_luns luns;
	uint64_t from, bytes;

	if (order_luns(d, call, params, &luns) < 0)
		return;
	if (!range_of(call, params, &luns, &from, &bytes)) {
		order_luns_fini(&luns);
		return;
	}
	struct order *o = order_new(d, call, &luns);
	order_luns_fini(&luns);
	if (o == NULL) {
		ctl_call_fail(call, CTL_FAILED, NULL, "out of memory");
		return;
	}
	o->evict = evict;
	o->from_bytes = from;
	o->bytes = bytes;
	o->waits = o->count + 1;
	for (unsigned i = 0, count = o->count; i < count; i++)
		part_begin(&o->parts[i]);
	if (--o->waits == 0)
		order_answer(o);
}

void
order_flush(void *daemon, struct ctl_call *call, const json_t *params)
{
	start(daemon, call, params, false);
}

void
order_evict(void *daemon, struct ctl_call *call, const json_t *params)
{
	start(daemon, call, params, true);
}
