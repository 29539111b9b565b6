/* SPDX-License-Identifier: BSD-2-Clause */
/* The cache as a whole: creation, tick, conditions, detach. Recovery is in recover.c. */
#include "cache/cache_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define TICK_NS 20000000ull
#define RETRY_NS 2000000000ull
#ifdef CACHE_SIM
#define OPS_MAX 4u
#else
#define OPS_MAX 16384u
#endif
/* An op has one more for a moment, when one ends and begins the next. The rest is for what the cache does
 * by itself: destage, copies, checkpoints, recovery. */
#define IOS_MAX (OPS_MAX * (CACHE_SUBS_MAX + 1) + 65536u)
#define REQS_MAX (OPS_MAX * 8u)
#define FILLS_MAX 4096u

#ifdef CACHE_SIM
enum cache_mutant cache_mutant;
#endif

const char *
cache_mode_to_string(enum cache_mode m)
{
	static const char *const names[CACHE_MODE_COUNT] = {
	    [CACHE_NV] = "nv",
	    [CACHE_WRITETHROUGH] = "writethrough",
	    [CACHE_VOLATILE] = "volatile",
	    [CACHE_BYPASS] = "bypass",
	};
	return (unsigned)m < CACHE_MODE_COUNT ? names[m] : "?";
}

void
cache_tuning_default(struct cache_tuning *t)
{
	*t = (struct cache_tuning){
	    .buf_bytes = 64u << 20,
	    .destage_blocks = 1024,
	    .destage_idle_ms = 2000,
	    .free_low_segments = 5,
	    .checkpoint_ms = 30000,
	    .write_wait_ms = 5000,
	    .fill_cutoff_bytes = 256u << 10,
	};
}

void
cache_set_condition(struct cache *c, enum cache_condition k, bool set, const char *detail)
{
	uint32_t bit = 1u << k;
	if (!(c->stats.conditions & bit) == !set)
		return;
	/* While the SSD isn't there nothing goes, and that says nothing of it nor of the stores. */
	if (set && c->away.is_away && k != CACHE_COND_SSD_GONE && k != CACHE_COND_DATA_LOST)
		return;
	c->stats.conditions ^= bit;
	if (c->condition != NULL)
		c->condition(c->ctx, k, set, detail);
}

/* ---- deferred work ------------------------------------------------------------------------------- */

static void
kick(struct loop_defer *d)
{
	cache_log_kick(container_of(d, struct cache, kick_defer));
}

static void
frames(struct loop_defer *d)
{
	struct cache *c = container_of(d, struct cache, frame_defer);
	struct list all = LIST_INIT(all);
	list_splice_back(&all, &c->frame_waiters);
	for (struct list *n; (n = list_pop_front(&all)) != NULL;) {
		struct cache_op *op = container_of(n, struct cache_op, link);
		op->again(op);
	}
}

static void
later(struct loop_defer *d)
{
	struct cache *c = container_of(d, struct cache, later_defer);
	struct list all = LIST_INIT(all);
	list_splice_back(&all, &c->later);
	for (struct list *n; (n = list_pop_front(&all)) != NULL;) {
		struct cache_waiter *w = container_of(n, struct cache_waiter, link);
		cache_done_fn *done = w->done;
		void *ctx = w->ctx;
		int result = (int)(int64_t)w->a;
		free(w);
		done(ctx, result);
	}
}

static void
tick(struct loop_timer *t)
{
	struct cache *c = container_of(t, struct cache, tick);
	loop_timer_set(t, TICK_NS);
	for (uint32_t i = 0; i < c->geo.segment_count; i++)
		if (c->segs[i].state == SEG_CLOSED && !c->gives_up)
			cache_segment_close(c, i);
	for (unsigned s = 0; s < CACHE_LOG_COUNT; s++) {
		c->logs[s].stalled = false;
		/* Nobody waits in it, so nobody asks again: there may be room now. */
		if (list_empty(&c->logs[s].queue))
			c->logs[s].blocked = false;
	}
	c->ck.put_off = false;
	cache_away_tick(c);
	cache_epoch_retry(c);
	if (!c->gives_up)
		cache_voltable_retry(c);
	uint64_t now = loop_now_ns(c->home), every = (uint64_t)c->tuning.checkpoint_ms * 1000000;
	bool due = every > 0 && now - c->ck.last_ns >= every && cache_checkpoint_needed(c);
	/* A detach writes its own; one that fails would be begun again before it is seen to have ended. */
	if ((c->ck.header_only && !c->gives_up) || (due && !c->ck.running && !c->stopping))
		cache_checkpoint_start(c);
	cache_pack_tick(c);
	cache_log_expire(c);
	cache_destage_tick(c);
	c->space.moved = c->space.again = false;
	cache_log_kick(c);
	cache_space_kick(c);
	cache_resize_run(c);
	cache_wake(&c->tick_waiters, 0);
}

/* ---- creation ------------------------------------------------------------------------------------ */

static int
pools_init(struct cache *c)
{
	int err = pool_init(&c->io_pool, "cache io", sizeof(struct cache_io), IOS_MAX);
	if (err == 0)
		err = pool_init(&c->op_pool, "cache op", sizeof(struct cache_op), OPS_MAX);
	if (err == 0)
		err = pool_init(&c->req_pool, "cache request", sizeof(struct cache_req), REQS_MAX);
	if (err == 0)
		err = pool_init(&c->fill_pool, "cache fill", sizeof(struct cache_fill), FILLS_MAX);
	if (err == 0)
		err = bufpool_create(c->tuning.buf_bytes, &c->bufs);
	return err;
}

struct cache *
cache_alloc(const struct cache_args *args)
{
	struct cache *c = calloc(1, sizeof *c);
	if (c == NULL)
		return NULL;
	c->home = args->loops[0];
	c->loop_count = args->loop_count;
	c->ssd = args->ssd;
	c->tuning = args->tuning;
	c->condition = args->condition;
	c->ctx = args->ctx;
	struct list *lists[] = {&c->volumes, &c->openings, &c->frame_waiters, &c->later,
	    &c->tick_waiters, &c->ck.waiters, &c->ck.next_waiters, &c->vt.waiters,
	    &c->vt.next_waiters};
	for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
		list_init(lists[i]);
	loop_defer_init(&c->kick_defer, kick);
	loop_defer_init(&c->frame_defer, frames);
	loop_defer_init(&c->later_defer, later);
	cache_away_init(c);
	loop_defer_init(&c->space_defer, cache_space_run);
	cache_pack_begin(c);
	loop_timer_init(&c->tick, c->home, tick);
	c->loops_copy = calloc(c->loop_count, sizeof(struct loop *));
	c->loops = c->loops_copy;
	if (c->loops_copy == NULL || pools_init(c) < 0) {
		cache_free(c);
		return NULL;
	}
	memcpy(c->loops_copy, args->loops, c->loop_count * sizeof *args->loops);
	return c;
}

/* Once the geometry is known. */
int
cache_size(struct cache *c)
{
	int err = 0;
	c->keep = c->geo.segment_count;
	c->segs = calloc(c->geo.segment_count, sizeof *c->segs);
	c->sb.buf = cache_pages_alloc(CF_BLOCK_BYTES);
	c->ck.header_buf = cache_pages_alloc(CF_BLOCK_BYTES);
	c->vt.buf = cache_pages_alloc((size_t)c->geo.voltable_blocks * CF_BLOCK_BYTES);
	c->vt.rows = calloc(cache_geometry_volumes_max(&c->geo), sizeof *c->vt.rows);
	if (c->segs == NULL || c->sb.buf == NULL || c->ck.header_buf == NULL || c->vt.buf == NULL ||
	    c->vt.rows == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i < c->geo.segment_count && err == 0; i++)
		err = cache_segment_memory(c, &c->segs[i]);
	for (unsigned s = 0; s < CACHE_LOG_COUNT && err == 0; s++)
		err = cache_log_init(c, s);
	if (err == 0)
		err = cache_pack_init(c);
	return err == 0 ? cache_tier_init(c) : err;
}

void
cache_go(struct cache *c)
{
	c->loaded = true;
	c->pack.on = c->super.incompat & CF_INCOMPAT_PACKED;
	cache_tier_recovered(c);
	c->ck.last_ns = loop_now_ns(c->home);
	loop_timer_set(&c->tick, TICK_NS);
	if (c->ck.owed)
		cache_checkpoint_start(c);
	cache_space_kick(c);
}

void
cache_free(struct cache *c)
{
	if (c == NULL)
		return;
	loop_timer_cancel(&c->tick);
	loop_defer_cancel(&c->kick_defer);
	loop_defer_cancel(&c->space_defer);
	loop_defer_cancel(&c->frame_defer);
	loop_defer_cancel(&c->later_defer);
	while (!list_empty(&c->volumes))
		cache_volume_free(container_of(c->volumes.next, struct cache_volume, link));
	for (uint32_t i = 0; c->segs != NULL && i < c->geo.segment_count; i++) {
		free(c->segs[i].dead);
		free(c->segs[i].crc);
		free(c->segs[i].foot);
	}
	for (unsigned s = 0; s < CACHE_LOG_COUNT; s++)
		cache_log_fini(&c->logs[s]);
	cache_tier_fini(c);
	cache_pack_fini(c);
	free(c->segs);
	free(c->resize.zeros);
	free(c->sb.buf);
	free(c->ck.slots); /* its header could never be written */
	free(c->ck.segs);
	free(c->ck.header_buf);
	free(c->vt.buf);
	free(c->vt.rows);
	free(c->zeros);
	bufpool_destroy(c->bufs);
	pool_fini(&c->io_pool);
	pool_fini(&c->op_pool);
	pool_fini(&c->req_pool);
	pool_fini(&c->fill_pool);
	free(c->loops_copy);
	free(c);
}

/* ---- detach -------------------------------------------------------------------------------------- */

struct detach {
	struct cache *c;
	cache_done_fn *done;
	void *ctx;
	int result;
	uint64_t begun_ns;
};

static void
detached(void *ctx, int result)
{
	struct detach *d = ctx;
	(void)result;
	cache_free(d->c);
	d->done(d->ctx, d->result);
	free(d);
}

static bool
sealing(const struct cache *c)
{
	for (uint32_t i = 0; i < c->geo.segment_count; i++)
		if (c->segs[i].sealing)
			return true;
	return false;
}

static void detach_checkpoint(void *ctx, int result);

/* What can't be written is tried again for a while, not for ever. Recovery does without it. */
static void
look_at_clock(const struct detach *d)
{
	d->c->gives_up |= loop_now_ns(d->c->home) - d->begun_ns > RETRY_NS;
}

/* All I/O has ended, so that memory may go. */
static void
detach_idle(void *ctx, int result)
{
	struct detach *d = ctx;
	struct cache *c = d->c;
	look_at_clock(d);
	if (result < 0)
		d->result = result;
	if (c->ck.running && !c->ck.header_only) {
		cache_wait(&c->tick_waiters, detach_idle, d);
		return;
	}
	if (sealing(c) || !cache_log_idle(c) || c->vt.busy || c->epoch_writing || c->pack.writing ||
	    c->space.evicting || c->space.copying > 0 || c->away.looking || c->resize.step != 0) {
		cache_wait(&c->tick_waiters, detach_idle, d);
		return;
	}
	loop_timer_cancel(&c->tick);
	/* Not from within the tick's own list of waiters. */
	cache_later(c, detached, d, 0);
}

static void
detach_checkpoint(void *ctx, int result)
{
	struct detach *d = ctx;
	struct cache *c = d->c;
	(void)result;
	look_at_clock(d);
	if ((sealing(c) || !cache_log_idle(c)) && !c->is_void) {
		cache_wait(&c->tick_waiters, detach_checkpoint, d);
		return;
	}
	if (c->is_void || (c->ck.header_only && c->gives_up))
		detach_idle(d, -EIO);
	else
		cache_checkpoint_wait(c, detach_idle, d);
}

static void
detach_begin(void *ctx, int result)
{
	struct detach *d = ctx;
	struct cache *c = d->c;
	(void)result;
	if (!cache_log_idle(c) || c->resize.step != 0) { /* which ends, since the cache does */
		cache_wait(&c->tick_waiters, detach_begin, d);
		return;
	}
	/* Fills of an open segment are worth nothing without its footer. */
	for (unsigned s = 0; s < CACHE_LOG_COUNT && !c->is_void; s++)
		cache_log_close(&c->logs[s]);
	detach_checkpoint(d, 0);
}

void
cache_detach(struct cache *c, cache_done_fn *done, void *ctx)
{
	struct detach *d = calloc(1, sizeof *d);
	ASSERT(d != NULL);
	LIST_FOREACH (n, &c->volumes)
		ASSERT(container_of(n, struct cache_volume, link)->store == NULL);
	*d = (struct detach){.c = c, .done = done, .ctx = ctx, .begun_ns = loop_now_ns(c->home)};
	c->stopping = true;
	cache_later(c, detach_begin, d, 0);
}

void
cache_checkpoint(struct cache *c, cache_done_fn *done, void *ctx)
{
	cache_checkpoint_wait(c, done, ctx);
}

/* ---- looking ------------------------------------------------------------------------------------- */

void
cache_get_stats(const struct cache *c, struct cache_stats *ret)
{
	*ret = c->stats;
	memcpy(ret->uuid, c->uuid, sizeof ret->uuid);
	ret->epoch = c->super.epoch;
	ret->ver = c->ver;
	ret->checkpoint = c->ck.number;
	ret->segment_bytes = (uint64_t)c->geo.segment_blocks << CF_BLOCK_SHIFT;
	ret->segments = c->geo.segment_count;
	ret->size_bytes = c->geo.size_blocks << CF_BLOCK_SHIFT;
	cache_resize_stats(c, ret);
	ret->segments_free = cache_segment_free_count(c);
	for (uint32_t i = 0; i < c->geo.segment_count; i++) {
		ret->segments_bad += c->segs[i].bad || c->segs[i].state == SEG_LOST;
		ret->segments_dirty += c->segs[i].dirty > 0;
	}
	ret->dirty_max_bytes = cache_log_blocks(c) << CF_BLOCK_SHIFT;
	LIST_FOREACH (n, &c->volumes) {
		const struct cache_volume *v = container_of(n, struct cache_volume, link);
		ret->cached_bytes += v->ix.blocks << CF_BLOCK_SHIFT;
		ret->dirty_bytes += v->ix.dirty_blocks << CF_BLOCK_SHIFT;
		ret->index_bytes += v->ix.bytes;
	}
}

uint32_t
cache_volumes(struct cache *c, struct cache_volume **ret, uint32_t cap)
{
	uint32_t n = 0;
	LIST_FOREACH (l, &c->volumes) {
		struct cache_volume *v = container_of(l, struct cache_volume, link);
		if (v->open && n < cap)
			ret[n++] = v;
	}
	return n;
}
