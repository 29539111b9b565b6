/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A volume as a block device: requests come from any loop, travel to the home loop as a message, and
 * their answers travel back. Changes wait while the volume is shut (a change of mode, a freeze); reads
 * never do.
 */
#include "cache/cache_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* blk_io.scratch of a volume's request */
#define RESULT 0
#define SINCE 1

static void start(struct cache_volume *v, struct blk_io *io);

/* ---- locks ----------------------------------------------------------------------------------- */

static bool
meets(const struct cache_lock *a, const struct cache_lock *b)
{
	return a->first <= b->last && b->first <= a->last;
}

static bool
first_of_its_range(const struct cache_volume *v, const struct cache_lock *k)
{
	for (struct list *n = k->link.prev; n != &v->locks; n = n->prev)
		if (meets(container_of(n, struct cache_lock, link), k))
			return false;
	return true;
}

static bool
is_wide(uint64_t first, uint64_t last)
{
	return (last >> CACHE_LOCK_SHIFT) - (first >> CACHE_LOCK_SHIFT) >= CACHE_LOCK_BUCKETS / 4;
}

static void
count_lock(struct cache_volume *v, const struct cache_lock *k, int by)
{
	if (is_wide(k->first, k->last)) {
		v->locked_wide += (uint32_t)by;
		return;
	}
	for (uint64_t b = k->first >> CACHE_LOCK_SHIFT; b <= k->last >> CACHE_LOCK_SHIFT; b++) {
		uint16_t *n = &v->locked[b % CACHE_LOCK_BUCKETS];
		*n = (uint16_t)(*n + by);
	}
}

/* False: no lock that was counted touches the range. */
static bool
may_meet(const struct cache_volume *v, uint64_t first, uint64_t last)
{
	if (list_empty(&v->locks))
		return false;
	if (v->locked_wide > 0 || is_wide(first, last))
		return true;
	for (uint64_t b = first >> CACHE_LOCK_SHIFT; b <= last >> CACHE_LOCK_SHIFT; b++)
		if (v->locked[b % CACHE_LOCK_BUCKETS] > 0)
			return true;
	return false;
}

void
cache_lock_take(struct cache_volume *v, struct cache_lock *k)
{
	bool alone = !may_meet(v, k->first, k->last);
	list_push_back(&v->locks, &k->link);
	count_lock(v, k, 1);
	if (alone || first_of_its_range(v, k)) {
		k->granted = true;
		k->grant(k);
	}
}

void
cache_lock_drop(struct cache_volume *v, struct cache_lock *k)
{
	list_remove(&k->link);
	count_lock(v, k, -1);
	if (!may_meet(v, k->first, k->last))
		return;
	/* A grant may end its request at once and change the list: from the start each time. */
	for (bool again = true; again;) {
		again = false;
		LIST_FOREACH (m, &v->locks) {
			struct cache_lock *o = container_of(m, struct cache_lock, link);
			if (o->granted || !meets(o, k) || !first_of_its_range(v, o))
				continue;
			o->granted = true;
			o->grant(o);
			again = true;
			break;
		}
	}
}

bool
cache_lock_overlaps(const struct cache_volume *v, uint64_t first, uint64_t last)
{
	const struct cache_lock k = {.first = first, .last = last};
	if (!may_meet(v, first, last))
		return false;
	LIST_FOREACH (n, &v->locks)
		if (meets(container_of(n, struct cache_lock, link), &k))
			return true;
	return false;
}

/* ---- the end of a request ----------------------------------------------------------------------- */

static void
answer_home(struct loop_msg *m)
{
	struct blk_io *io = container_of(m, struct blk_io, msg);
	blk_complete(io, (int)(int64_t)io->scratch[RESULT]);
}

static void
answer(struct cache *c, struct blk_io *io, int result)
{
	if (io->loop == c->home) {
		blk_complete_later(io, result);
		return;
	}
	io->scratch[RESULT] = (uint64_t)(int64_t)result;
	io->msg.run = answer_home;
	loop_send(io->loop, &io->msg);
}

/* The ops are shared: what another volume holds may have waited for this one's. */
static void
release_all(struct cache *c)
{
	c->ops_short = false;
	LIST_FOREACH (n, &c->volumes)
		cache_volume_release(container_of(n, struct cache_volume, link));
}

void
cache_op_end(struct cache_op *op, int result)
{
	struct cache_volume *v = op->vol;
	struct cache *c = v->c;
	struct blk_io *io = op->io;
	bool change = op->is_change;
	ASSERT(op->pending == 0);
	if (!list_empty(&op->lock.link))
		cache_lock_drop(v, &op->lock);
	cache_frame_put(c, op->frame[0]);
	cache_frame_put(c, op->frame[1]);
	pool_put(&c->op_pool, op);
	answer(c, io, result);
	v->running--;
	if (change && --v->changes == 0)
		cache_wake(&v->idle_waiters, 0);
	cache_volume_release(v);
	if (c->ops_short)
		release_all(c);
	cache_mode_poke(v);
}

/* ---- requests that the store answers -------------------------------------------------------------- */

/* What was acknowledged is durable, but for what the SSD lost [21]. */
static int
flush_result(const struct cache_volume *v, int result)
{
	return result == 0 && v->ix.bad_blocks > 0 ? -EIO : result;
}

static void
passed_done(struct cache_io *x, int result)
{
	struct cache_op *op = x->ctx;
	op->pending--;
	if (op->io->op == BLK_EXTENTS)
		op->io->extent_count = x->io.extent_count;
	if (op->io->op == BLK_FLUSH)
		result = flush_result(op->vol, result);
	cache_op_end(op, result);
}

static void
pass(struct cache_op *op)
{
	struct cache_volume *v = op->vol;
	struct blk_io *io = op->io;
	struct cache_io *x = cache_io_get(v->c, passed_done, op);
	op->pending++;
	if (io->op == BLK_READ || io->op == BLK_WRITE)
		cache_io_part(x, io->sg, 0, io->len_bytes);
	x->io.extents = io->extents;
	x->io.extent_cap = io->extent_cap;
	cache_io_submit(x, v->store, io->op, io->flags, io->offset_bytes, io->len_bytes);
}

/* Changes in bypass keep their order too: one store operation at a time for a block [8]. */
static void
pass_locked(struct cache_lock *k)
{
	pass(container_of(k, struct cache_op, lock));
}

/* What the index has is mapped or zeros; of what it hasn't, the store knows. */
static void
extents(struct cache_op *op)
{
	struct cache_volume *v = op->vol;
	struct blk_io *io = op->io;
	uint64_t at = io->offset_bytes, end = at + io->len_bytes;
	uint32_t n = 0;
	while (at < end && n < io->extent_cap) {
		uint64_t block = at >> CF_BLOCK_SHIFT;
		struct cache_piece p;
		cache_index_lookup(&v->ix, block, op->last - block + 1, &p);
		uint64_t to = (p.block + p.count) << CF_BLOCK_SHIFT;
		to = to < end ? to : end;
		if (p.kind == CACHE_HOLE) {
			if (n > 0)
				break;
			struct cache_io *x = cache_io_get(v->c, passed_done, op);
			op->pending++;
			x->io.extents = io->extents;
			x->io.extent_cap = io->extent_cap;
			cache_io_submit(x, v->store, BLK_EXTENTS, 0, at, to - at);
			return;
		}
		io->extents[n++] = (struct blk_extent){at, to - at, p.kind == CACHE_DATA};
		at = to;
	}
	io->extent_count = n;
	cache_op_end(op, 0);
}

/* ---- slowing writes --------------------------------------------------------------------------------- */

/* A timer is late by some of this, and the rate is kept all the same: so much is made up for. */
#define SLOW_LATE_NS 2000000u

/* True: it is held until its time has come. Those that come later wait behind it, so order stays [1]. */
static bool
is_slowed(const struct cache_volume *v)
{
	return v->write_delay_ns > 0 && !v->bypass && v->slow_until_ns > loop_now_ns(v->c->home);
}

/* A write that begins moves the time of the next one. */
static void
slow_next(struct cache_volume *v, uint64_t blocks)
{
	uint64_t now = loop_now_ns(v->c->home), least = now > SLOW_LATE_NS ? now - SLOW_LATE_NS : 0;
	if (v->slow_until_ns < least)
		v->slow_until_ns = least;
	v->slow_until_ns += blocks * v->write_delay_ns;
}

void
cache_volume_slow(struct cache_volume *v, uint64_t delay_ns)
{
	uint64_t now = loop_now_ns(v->c->home), was_ns = v->write_delay_ns;
	v->write_delay_ns = delay_ns;
	if (delay_ns >= was_ns || v->slow_until_ns <= now)
		return;
	/* What the last write is waited for was reckoned by the delay of then. */
	uint64_t left =
	    (uint64_t)((double)(v->slow_until_ns - now) * (double)delay_ns / (double)was_ns);
	v->slow_until_ns = now + left;
	if (!list_empty(&v->held) && !v->shut)
		cache_volume_release(v);
}

static void
slow_over(struct loop_timer *t)
{
	cache_volume_release(container_of(t, struct cache_volume, slow_timer));
}

void
cache_volume_slow_init(struct cache_volume *v)
{
	loop_timer_init(&v->slow_timer, v->c->home, slow_over);
}

/* ---- the beginning of a request -------------------------------------------------------------------- */

static bool
changes(const struct blk_io *io)
{
	return io->op == BLK_WRITE || io->op == BLK_UNMAP || io->op == BLK_WRITE_ZEROES;
}

/* False: it has to wait. */
static bool
begin(struct cache_volume *v, struct blk_io *io)
{
	struct cache *c = v->c;
	if (changes(io) && v->shut)
		return false;
	if (changes(io) && is_slowed(v)) {
		loop_timer_set(&v->slow_timer, v->slow_until_ns - loop_now_ns(c->home));
		return false;
	}
	struct cache_op *op = pool_get(&c->op_pool);
	if (op == NULL) {
		c->ops_short = true;
		return false;
	}
	memset(op, 0, sizeof *op);
	list_init(&op->link);
	list_init(&op->lock.link);
	op->io = io;
	op->vol = v;
	op->is_change = changes(io);
	op->since_ns = io->scratch[SINCE];
	op->first = io->offset_bytes >> CF_BLOCK_SHIFT;
	op->last = (io->offset_bytes + io->len_bytes - 1) >> CF_BLOCK_SHIFT;
	v->running++;
	v->changes += op->is_change;
	if (op->is_change && v->write_delay_ns > 0)
		slow_next(v, io->op == BLK_WRITE ? op->last - op->first + 1 : 1);
	v->stats.writes += io->op == BLK_WRITE;
	if (io->op == BLK_WRITE && !v->bypass)
		cache_tier_sample(v, op->first, op->last - op->first + 1, POLICY_MRC_WRITE);
	v->stats.unmaps += op->is_change && io->op != BLK_WRITE;
	if (v->bypass && op->is_change && !MUTANT(BYPASS_NO_LOCK)) {
		cache_fill_cancel(v, op->first, op->last);
		op->lock =
		    (struct cache_lock){.first = op->first, .last = op->last, .grant = pass_locked};
		cache_lock_take(v, &op->lock);
	} else if (v->bypass || (io->op == BLK_FLUSH && v->store_owed))
		pass(op);
	else if (op->is_change)
		cache_write_start(op);
	else if (io->op == BLK_READ)
		cache_read_start(op);
	else if (io->op == BLK_EXTENTS)
		extents(op);
	else
		cache_op_end(op, flush_result(v, 0));
	return true;
}

static void
start(struct cache_volume *v, struct blk_io *io)
{
	/* What waits goes first; a read may overtake changes that are held. */
	bool reads_wait = false;
	LIST_FOREACH (n, &v->held)
		reads_wait |= !changes(container_of(n, struct blk_io, link));
	bool wait = changes(io) ? !list_empty(&v->held) : reads_wait;
	io->scratch[SINCE] = loop_now_ns(v->c->home);
	if (wait || !begin(v, io)) {
		v->stats.slowed_writes += changes(io) && !v->shut && v->write_delay_ns > 0;
		list_push_back(&v->held, &io->link);
	}
}

/* The first that may begin now, or NULL. */
static struct blk_io *
next_held(struct cache_volume *v)
{
	if (!list_empty(&v->held) && pool_free_count(&v->c->op_pool) == 0) {
		v->c->ops_short = true;
		return NULL;
	}
	LIST_FOREACH (n, &v->held) {
		struct blk_io *io = container_of(n, struct blk_io, link);
		if (!changes(io) || !(v->shut || is_slowed(v)))
			return io;
	}
	return NULL;
}

/* Something ended: what was held is looked at again. A request that is begun may end at once, which comes
 * here again: only the outermost call takes from the list, from its front each time. */
void
cache_volume_release(struct cache_volume *v)
{
	if (v->releasing)
		return;
	v->releasing = true;
	for (struct blk_io *io; (io = next_held(v)) != NULL;) {
		list_remove(&io->link);
		bool begun = begin(v, io);
		ASSERT(begun);
	}
	v->releasing = false;
	if (!list_empty(&v->held) && !v->shut && is_slowed(v))
		loop_timer_set(&v->slow_timer, v->slow_until_ns - loop_now_ns(v->c->home));
}

/* A change that has waited too long, and of which nothing has begun; or NULL. */
static struct cache_op *
late_op(struct cache_volume *v, uint64_t before)
{
	LIST_FOREACH (n, &v->locks) {
		struct cache_lock *k = container_of(n, struct cache_lock, link);
		struct cache_op *op = container_of(k, struct cache_op, lock);
		if (!k->granted && op->since_ns < before)
			return op;
	}
	return NULL;
}

/* Whoever waits for another's range, for memory, or for the volume to open again ends in BUSY [18]. */
void
cache_volume_expire(struct cache_volume *v, uint64_t before)
{
	for (struct cache_op *op; (op = late_op(v, before)) != NULL;)
		cache_op_end(op, -EAGAIN);
	LIST_FOREACH_SAFE (n, &v->held) {
		struct blk_io *io = container_of(n, struct blk_io, link);
		if (!changes(io) || io->scratch[SINCE] >= before)
			continue;
		list_remove(&io->link);
		answer(v->c, io, -EAGAIN);
	}
}

void
cache_frames_expire(struct cache *c, uint64_t before)
{
	struct list late = LIST_INIT(late);
	LIST_FOREACH_SAFE (n, &c->frame_waiters) {
		struct cache_op *op = container_of(n, struct cache_op, link);
		if (!op->is_change || op->since_ns >= before)
			continue;
		list_remove(n);
		list_push_back(&late, n);
	}
	for (struct list *n; (n = list_pop_front(&late)) != NULL;)
		cache_op_end(container_of(n, struct cache_op, link), -EAGAIN);
}

static void
arrives(struct loop_msg *m)
{
	struct blk_io *io = container_of(m, struct blk_io, msg);
	start(container_of(io->blk, struct cache_volume, b), io);
}

static void
submit(struct blk *b, struct blk_io *io)
{
	struct cache_volume *v = container_of(b, struct cache_volume, b);
	if (io->loop == v->c->home) {
		start(v, io);
		return;
	}
	io->msg.run = arrives;
	loop_send(v->c->home, &io->msg);
}

static void
close_never(struct blk *b)
{
	(void)b;
	ASSERT(false); /* the volume is closed, not its block device */
}

const struct blk_ops cache_volume_ops = {
    .name = "cache",
    .submit = submit,
    .close = close_never,
};

struct blk *
cache_volume_blk(struct cache_volume *v)
{
	return &v->b;
}

void
cache_volume_set_fill(struct cache_volume *v, const struct cache_fill_policy *p)
{
	v->fill = *p;
	v->c->pack.want |= p->compress;
	v->pack_refused = 0;
}

void
cache_volume_get_stats(const struct cache_volume *v, struct cache_volume_stats *ret)
{
	*ret = v->stats;
	memcpy(ret->name, v->row.name, sizeof ret->name);
	ret->id = v->row.id;
	ret->mode = v->mode;
	ret->size_bytes = v->row.size_bytes;
	ret->cached_bytes = v->ix.blocks << CF_BLOCK_SHIFT;
	ret->dirty_bytes = v->ix.dirty_blocks << CF_BLOCK_SHIFT;
	ret->destage_blocks_per_s = (uint64_t)v->d.policy.destaged_per_s;
	ret->destage_depth = v->d.depth;
	ret->write_delay_ns = v->write_delay_ns;
}
