/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The SSD of a cache becomes larger or smaller while initiators work: by order (cache.resize), or because the device
 * or file has grown.
 *
 *	larger   a file: zeros are written behind its end (worker), a piece at a time ─▶ the size is seen
 *	         ─▶ the cache takes it
 *	smaller  the cache gives it up ─▶ a file is cut (worker); a device is whoever's made it
 *
 * Ended in between, the cache is as large as it was, or as it is to be; what a file has beyond that nobody looks at:
 * the same order again makes it whole. The configured size is that of a file that isn't there yet, and stays.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/log.h"
#include "base/text.h"
#include "daemon/cache_orders.h"
#include "ssd/ssd.h"

#define PIECE_BYTES (16u << 20) /* the longest that an end waits for */
#define LOOK_NS 100000000ull
#define SEEN_NS 60000000000ull /* the watch over a store looks once a second */

enum phase { FILL, SEE, CACHE, CUT };

struct cache_resizing {
	struct daemon_cache *cache;
	struct ctl_call *call; /* NULL: by itself */
	enum phase phase;
	uint64_t from, to, at; /* bytes; at: the file is filled up to there */
	uint64_t since_ns, waits_since_ns;
	bool is_file, stop;
	char path[4096];
	int64_t result; /* the worker's */
	struct loop_job job;
	struct loop_timer timer;
};

static void cut(struct cache_resizing *x);
static void fill(struct cache_resizing *x);
static void see(struct cache_resizing *x);

static bool
any(const struct daemon *d)
{
	for (unsigned i = 0; i < d->cache_count; i++)
		if (d->caches[i]->resizing != NULL)
			return true;
	return false;
}

/* ---- the end --------------------------------------------------------------------------------------------- */

static uint64_t
size_of(const struct daemon_cache *c)
{
	struct cache_stats st;
	cache_get_stats(c->cache, &st);
	return st.size_bytes;
}

static const char *
reason(int result)
{
	switch (result) {
	case -ESHUTDOWN:
		return "it was ended; the same order again goes on with it";
	case -EAGAIN:
		return "too much on it isn't on the stores yet: cachectl flush --cache first";
	case -ETIMEDOUT:
		return "what lies at its end can't be moved: `cachectl status` tells of stores "
		       "that take nothing, "
		       "`cachectl flush` and `cachectl evict` of its LUNs empty it";
	case -EIO:
		return "the SSD takes no writes";
	case -ENOSPC:
		return "there is no room for it on its file system";
	default:
		return strerror(-result);
	}
}

static void
end(struct cache_resizing *x, int result)
{
	struct daemon_cache *c = x->cache;
	struct daemon *d = c->daemon;
	double seconds = (double)(loop_now_ns(d->loops[0]) - x->since_ns) / 1e9;
	char from[32], to[32];

	text_format_size(x->from, from, sizeof from);
	text_format_size(result == 0 ? size_of(c) : x->to, to, sizeof to);
	if (result == 0)
		log_info("cache", "cache %s has %s of its SSD now, and had %s cache=%s", c->name,
		    to, from, c->name);
	else
		log_warn("cache", "the SSD of cache %s can't become %s: %s cache=%s", c->name, to,
		    reason(result), c->name);
	if (x->call != NULL && result == 0)
		ctl_call_done(
		    x->call, json_pack("{s:o, s:I, s:I, s:f}", "name", ctl_string(c->name),
		                 "was_bytes", (json_int_t)x->from, "size_bytes",
		                 (json_int_t)size_of(c), "seconds", seconds));
	else if (x->call != NULL)
		ctl_call_fail(x->call, CTL_FAILED, NULL, "the SSD of cache %s can't become %s: %s",
		    c->name, to, reason(result));
	c->resizing = NULL;
	free(x);
	monitor_soon(d->monitor);
	if (d->resizing_stopped != NULL && !any(d)) {
		void (*done)(void *ctx) = d->resizing_stopped;
		d->resizing_stopped = NULL;
		done(d->resizing_stopped_ctx);
	}
}

static bool
is_stopped(const struct cache_resizing *x)
{
	return x->stop || x->cache->leaving || x->cache->daemon->stopping ||
	       x->cache->cache == NULL;
}

/* ---- files ----------------------------------------------------------------------------------------------- */

static int
fill_work(struct loop_job *j)
{
	struct cache_resizing *x = container_of(j, struct cache_resizing, job);
	x->result = ssd_extend(x->path, x->at, PIECE_BYTES, x->to);
	return 0;
}

static int
cut_work(struct loop_job *j)
{
	struct cache_resizing *x = container_of(j, struct cache_resizing, job);
	x->result = ssd_cut(x->path, x->to);
	return 0;
}

static int
undo_work(struct loop_job *j)
{
	struct cache_resizing *x = container_of(j, struct cache_resizing, job);
	(void)ssd_cut(x->path, x->from);
	return 0;
}

static void
undone(struct loop_job *j, int result)
{
	struct cache_resizing *x = container_of(j, struct cache_resizing, job);
	(void)result;
	end(x, (int)x->result);
}

static void
work(struct cache_resizing *x, int (*run)(struct loop_job *), void (*done)(struct loop_job *, int))
{
	x->job = (struct loop_job){.work = run, .done = done};
	loop_job_submit(x->cache->daemon->loops[0], &x->job);
}

static void
filled(struct loop_job *j, int result)
{
	struct cache_resizing *x = container_of(j, struct cache_resizing, job);
	(void)result;
	if (x->result >= 0 && is_stopped(x))
		x->result = -ESHUTDOWN;
	if (x->result < 0) {
		/* The room that was taken goes back. */
		blk_may_shrink(x->cache->ssd, x->from);
		work(x, undo_work, undone);
		return;
	}
	x->at += (uint64_t)x->result;
	if (x->at < x->to) {
		fill(x);
		return;
	}
	x->waits_since_ns = loop_now_ns(x->cache->daemon->loops[0]);
	see(x);
}

static void
fill(struct cache_resizing *x)
{
	x->phase = FILL;
	work(x, fill_work, filled);
}

static void
was_cut(struct loop_job *j, int result)
{
	struct cache_resizing *x = container_of(j, struct cache_resizing, job);
	(void)result;
	if (x->result < 0) /* it is only larger than it has to be */
		log_warn("cache", "%s can't be cut to its new size: %s", x->path,
		    strerror((int)-x->result));
	end(x, 0);
}

static void
cut(struct cache_resizing *x)
{
	x->phase = CUT;
	blk_may_shrink(x->cache->ssd, x->to);
	work(x, cut_work, was_cut);
}

/* ---- the cache ------------------------------------------------------------------------------------------- */

static void
resized(void *ctx, int result)
{
	struct cache_resizing *x = ctx;
	if (result == 0 && x->is_file && blk_get_info(x->cache->ssd)->size_bytes > x->to)
		cut(x);
	else
		end(x, result);
}

static void
on_look(struct loop_timer *t)
{
	see(container_of(t, struct cache_resizing, timer));
}

/* The device shows its size, then the cache takes it. */
static void
see(struct cache_resizing *x)
{
	struct loop *home = x->cache->daemon->loops[0];
	x->phase = SEE;
	if (is_stopped(x)) {
		end(x, -ESHUTDOWN);
	} else if (blk_get_info(x->cache->ssd)->size_bytes >= x->to) {
		x->phase = CACHE;
		cache_resize(x->cache->cache, x->to, resized, x);
	} else if (loop_now_ns(home) - x->waits_since_ns > SEEN_NS) {
		end(x, -ENODEV);
	} else {
		loop_timer_init(&x->timer, home, on_look);
		loop_timer_set(&x->timer, LOOK_NS);
	}
}

/* False: no memory. */
static bool
begin(struct daemon_cache *c, struct ctl_call *call, uint64_t to)
{
	struct loop *home = c->daemon->loops[0];
	struct cache_resizing *x = calloc(1, sizeof *x);
	char buf[4096];

	if (x == NULL)
		return false;
	*x = (struct cache_resizing){.cache = c,
	    .call = call,
	    .from = size_of(c),
	    .to = to / 4096 * 4096,
	    .is_file = ssd_is_file(c->spec),
	    .since_ns = loop_now_ns(home),
	    .waits_since_ns = loop_now_ns(home)};
	x->at = x->from;
	c->resizing = x;
	if (x->is_file)
		snprintf(x->path, sizeof x->path, "%s", ssd_path(c->spec, buf, sizeof buf));
	/* Whatever is behind the end: where it has a hole, a durable write wouldn't be durable. */
	if (x->is_file && x->to > x->from)
		fill(x);
	else
		see(x);
	return true;
}

void
daemon_cache_sized(struct daemon_cache *c)
{
	uint64_t has = blk_get_info(c->ssd)->size_bytes;
	uint64_t bytes;

	if (c->cache == NULL || c->resizing != NULL || c->leaving || c->daemon->stopping ||
	    !c->daemon->served || has <= size_of(c) ||
	    cache_resize_check(c->cache, has, &bytes) < 0)
		return;
	struct cache_stats st;
	cache_get_stats(c->cache, &st);
	if (bytes > st.segment_bytes * st.segments)
		(void)begin(c, NULL, has);
}

void
daemon_cache_stop_resizing(struct daemon_cache *c)
{
	if (c->resizing == NULL)
		return;
	c->resizing->stop = true;
	if (c->cache != NULL)
		cache_resize_stop(c->cache);
}

void
daemon_caches_stop_resizing(struct daemon *d, void (*done)(void *ctx), void *ctx)
{
	for (unsigned i = 0; i < d->cache_count; i++)
		daemon_cache_stop_resizing(d->caches[i]);
	if (!any(d)) {
		done(ctx);
		return;
	}
	d->resizing_stopped = done;
	d->resizing_stopped_ctx = ctx;
}

json_t *
daemon_cache_resize_json(const struct daemon_cache *c)
{
	static const char *const doing[] = {
	    [FILL] = "fill", [SEE] = "wait", [CACHE] = "move", [CUT] = "cut"};
	const struct cache_resizing *x = c->resizing;
	struct cache_stats st = {0};

	if (x == NULL)
		return NULL;
	if (c->cache != NULL)
		cache_get_stats(c->cache, &st);
	uint64_t left = x->phase == FILL ? x->to - x->at : st.resize_left_bytes;
	return json_pack("{s:I, s:I, s:s, s:I}", "was_bytes", (json_int_t)x->from, "to_bytes",
	    (json_int_t)x->to, "doing", doing[x->phase], "left_bytes", (json_int_t)left);
}

/* ---- the order ------------------------------------------------------------------------------------------- */

/* A device that has just been made larger shows it here before the watch over it has seen it; then it is waited for. */
static uint64_t
has_now(const struct daemon_cache *c)
{
	uint64_t seen = blk_get_info(c->ssd)->size_bytes, is = ssd_device_bytes(c->spec);
	return is > seen ? is : seen;
}

/* What it is to have. 0, or -1: the call was answered. */
static int
size_param(const struct daemon_cache *c, struct ctl_call *call, const json_t *size, uint64_t *ret)
{
	*ret = has_now(c);
	if (size == NULL)
		return 0;
	if (json_is_integer(size) && json_integer_value(size) > 0) {
		*ret = (uint64_t)json_integer_value(size);
		return 0;
	}
	if (json_is_string(size) && text_parse_size(json_string_value(size), ret) == 0 && *ret > 0)
		return 0;
	ctl_call_fail(
	    call, CTL_INVALID_PARAMS, NULL, "size: write it as 512MiB, 10GiB or a number of bytes");
	return -1;
}

/* 0, or -1: the call was answered. */
static int
judge(const struct daemon_cache *c, struct ctl_call *call, uint64_t to)
{
	uint64_t seen = blk_get_info(c->ssd)->size_bytes, has = has_now(c);
	uint64_t used, look = to < seen ? to : seen;
	struct cache_stats st;
	char want[32], is[32], dirty[32];
	int err = cache_resize_check(c->cache, look, &used);

	cache_get_stats(c->cache, &st);
	text_format_size(to, want, sizeof want);
	text_format_size(has, is, sizeof is);
	text_format_size(st.dirty_bytes, dirty, sizeof dirty);
	if (to > has && !ssd_is_file(c->spec))
		ctl_call_fail(call, CTL_FAILED, NULL,
		    "%s has %s: make the device larger first, as with lvextend",
		    blk_get_name(c->ssd), is);
	else if (err == -ENOSPC)
		ctl_call_fail(call, CTL_FAILED, NULL,
		    "%s is too small: cache %s needs %u segments of %llu KiB at least; to have it "
		    "smaller, "
		    "remove it and add another one",
		    want, c->name, CACHE_SEGMENTS_MIN, (unsigned long long)st.segment_bytes >> 10);
	else if (err == -EAGAIN)
		ctl_call_fail(call, CTL_FAILED, NULL,
		    "%s is too small for the %s on it that aren't on their stores yet: cachectl "
		    "flush --cache "
		    "%s, then try again",
		    want, dirty, c->name);
	else if (err < 0)
		ctl_call_fail(call, CTL_FAILED, NULL, "cache %s: %s", c->name,
		    err == -EBUSY ? "its SSD is being resized" : reason(err));
	else
		return 0;
	return -1;
}

/* One that began by itself, for the device had grown: it is what is asked for, and this waits for its end. */
static bool
joins(const struct daemon_cache *c, uint64_t to, bool dry_run)
{
	const struct cache_resizing *x = c->resizing;
	return x->call == NULL && x->to == to / 4096 * 4096 && !dry_run;
}

void
order_resize(void *daemon, struct ctl_call *call, const json_t *params)
{
	const char *name = json_string_value(json_object_get(params, "name"));
	struct daemon_cache *c = daemon_cache_find(daemon, name);
	bool dry_run = json_is_true(json_object_get(params, "dry_run"));
	uint64_t to;

	if (c == NULL || c->leaving) {
		order_no_cache(call, name);
	} else if (c->cache == NULL) {
		ctl_call_fail(call, CTL_FAILED, NULL, "cache %s has no SSD that is in use", name);
	} else if (c->daemon->stopping) {
		ctl_call_fail(call, CTL_FAILED, NULL, "terraced is ending");
	} else if (size_param(c, call, json_object_get(params, "size"), &to) < 0) {
		return;
	} else if (c->resizing != NULL && joins(c, to, dry_run)) {
		c->resizing->call = call;
	} else if (c->resizing != NULL) {
		ctl_call_fail(call, CTL_BUSY, NULL, "the SSD of cache %s is being resized", name);
	} else if (judge(c, call, to) == 0) {
		if (dry_run)
			ctl_call_done(
			    call, json_pack("{s:o, s:I, s:I, s:f}", "name", ctl_string(c->name),
			              "was_bytes", (json_int_t)size_of(c), "size_bytes",
			              (json_int_t)to, "seconds", 0.0));
		else if (!begin(c, call, to))
			ctl_call_fail(call, CTL_FAILED, NULL, "out of memory");
	}
}
