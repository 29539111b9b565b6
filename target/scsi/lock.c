/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Range locks over all loops, for read-modify-write (COMPARE AND WRITE, ORWRITE, WRITE ATOMIC…).
 *
 *	origin: acquire ─▶ home: order ─▶ every loop: enter ─▶ (clear here) ─▶ origin: all clear, granted
 *	origin: release ─▶ every loop: leave ─▶ origin: all left, back to the pool
 *
 * Home only puts the locks into one order, by the order of its messages. A lock that has entered a
 * loop holds back new tasks whose range it overlaps. It is clear there when no overlapping task runs
 * and no earlier overlapping lock is in the list. Since the lists have the same order everywhere,
 * overlapping locks are granted in that order.
 *
 * No deadlock: a lock waits for running tasks that own no lock (they wait only for the store) and
 * for earlier locks; several ranges of one task are got in ascending order of (unit, lba).
 */
#include "scsi/scsi_priv.h"

static void lock_order(struct loop_msg *m);
static void part_enter(struct loop_msg *m);
static void parts_check(struct scsi_lu_loop *ll);
static void part_clear(struct loop_msg *m);
static void lock_granted(struct loop_defer *d);
static void parts_leave(struct scsi_lock *k);
static void part_leave(struct loop_msg *m);
static void part_left(struct loop_msg *m);

struct scsi_lock *
scsi_lock_acquire(struct scsi_task *t, struct scsi_lu *lu, uint64_t lba, uint64_t blocks,
    void (*granted)(struct scsi_lock *k))
{
	struct scsi_core *core = lu->core;
	ASSERT(loop_is_current(t->nexus->loop) && blocks > 0);
	struct scsi_lock *k = pool_get(&t->nexus->cl->locks);
	if (k == NULL)
		return NULL;
	k->lu = lu;
	k->owner = t;
	k->lba = lba;
	k->blocks = blocks;
	k->granted = granted;
	k->origin = t->nexus->loop;
	k->held = false;
	k->released = false;
	k->waiting = core->loop_count;
	list_init(&k->link);
	loop_defer_init(&k->defer, lock_granted);
	scsi_lu_here(lu)->own_locks++;
	/* Others' locks don't wait for a task that waits for its own. */
	if ((t->flags & TASK_LOCKS) == 0) {
		t->flags |= TASK_LOCKS;
		if (t->nlu != NULL)
			scsi_lock_task_done(t->nlu->ll, t);
	}
	k->msg.run = lock_order;
	scsi_deliver(core->loops[0], &k->msg);
	return k;
}

static void
lock_order(struct loop_msg *m)
{
	struct scsi_lock *k = container_of(m, struct scsi_lock, msg);
	struct scsi_core *core = k->lu->core;
	unsigned count = core->loop_count;
	for (unsigned i = 0; i < count; i++) {
		struct scsi_lock_part *p = &k->parts[i];
		p->lock = k;
		p->acked = false;
		p->msg.run = part_enter;
		scsi_deliver(core->loops[i], &p->msg);
	}
}

static void
part_enter(struct loop_msg *m)
{
	struct scsi_lock_part *p = container_of(m, struct scsi_lock_part, msg);
	struct scsi_lu_loop *ll = scsi_lu_here(p->lock->lu);
	list_push_back(&ll->locks, &p->link);
	ll->lock_count++;
	parts_check(ll);
}

static bool
overlaps(uint64_t a, uint64_t a_len, uint64_t b, uint64_t b_len)
{
	return a < b + b_len && b < a + a_len;
}

/*
 * A write without a range is one whose ranges are in its parameter list (UNMAP): it may touch
 * anything. A read without a range reads nothing.
 */
static bool
touches(const struct scsi_task *t, const struct scsi_lock *k)
{
	switch (t->op->order) {
	case ORD_READ:
		return overlaps(t->lba, t->blocks, k->lba, k->blocks);
	case ORD_WRITE:
		return t->blocks == 0 || overlaps(t->lba, t->blocks, k->lba, k->blocks);
	default:
		return false;
	}
}

/* Nothing on this loop stands against the lock. */
static bool
is_clear(const struct scsi_lu_loop *ll, const struct scsi_lock_part *p)
{
	const struct scsi_lock *k = p->lock;
	LIST_FOREACH (l, &ll->locks) {
		if (l == &p->link)
			break;
		const struct scsi_lock *e = container_of(l, struct scsi_lock_part, link)->lock;
		if (overlaps(e->lba, e->blocks, k->lba, k->blocks))
			return false;
	}
	LIST_FOREACH (l, &ll->running) {
		const struct scsi_task *t = container_of(l, struct scsi_task, loop_link);
		if (t != k->owner && (t->flags & TASK_LOCKS) == 0 && touches(t, k))
			return false;
	}
	return true;
}

static void
parts_check(struct scsi_lu_loop *ll)
{
	LIST_FOREACH (l, &ll->locks) {
		struct scsi_lock_part *p = container_of(l, struct scsi_lock_part, link);
		if (p->acked || !is_clear(ll, p))
			continue;
		p->acked = true;
		p->msg.run = part_clear;
		scsi_deliver(p->lock->origin, &p->msg);
	}
}

static void
part_clear(struct loop_msg *m)
{
	struct scsi_lock *k = container_of(m, struct scsi_lock_part, msg)->lock;
	ASSERT(loop_is_current(k->origin) && k->waiting > 0);
	if (--k->waiting == 0)
		loop_defer(k->origin, &k->defer);
}

static void
lock_granted(struct loop_defer *d)
{
	struct scsi_lock *k = container_of(d, struct scsi_lock, defer);
	if (k->released) {
		parts_leave(k);
		return;
	}
	k->held = true;
	k->granted(k);
}

void
scsi_lock_release(struct scsi_lock *k)
{
	ASSERT(loop_is_current(k->origin) && !k->released);
	/* The owner stays named (other loops read it): who is taken for it passes a lock that no longer
	 * protects anything. */
	k->released = true;
	/* While it waits its parts are under way: it leaves when it would have been granted. */
	if (k->held)
		parts_leave(k);
}

static void
parts_leave(struct scsi_lock *k)
{
	struct scsi_core *core = k->lu->core;
	unsigned count = core->loop_count;
	k->waiting = count;
	for (unsigned i = 0; i < count; i++) {
		struct scsi_lock_part *p = &k->parts[i];
		p->msg.run = part_leave;
		scsi_deliver(core->loops[i], &p->msg);
	}
}

static void
part_leave(struct loop_msg *m)
{
	struct scsi_lock_part *p = container_of(m, struct scsi_lock_part, msg);
	struct scsi_lu_loop *ll = scsi_lu_here(p->lock->lu);
	list_remove(&p->link);
	ASSERT(ll->lock_count > 0);
	ll->lock_count--;
	parts_check(ll);
	scsi_unblock(ll);
	m->run = part_left;
	scsi_deliver(p->lock->origin, m);
}

static void
part_left(struct loop_msg *m)
{
	struct scsi_lock *k = container_of(m, struct scsi_lock_part, msg)->lock;
	ASSERT(loop_is_current(k->origin) && k->waiting > 0);
	if (--k->waiting > 0)
		return;
	struct scsi_lu_loop *ll = scsi_lu_here(k->lu);
	pool_put(&k->lu->core->per_loop[scsi_loop_index(k->lu->core)].locks, k);
	ASSERT(ll->own_locks > 0);
	if (--ll->own_locks == 0)
		scsi_change_drained(ll);
}

bool
scsi_lock_blocks(const struct scsi_lu_loop *ll, const struct scsi_task *t)
{
	LIST_FOREACH (l, &ll->locks) {
		const struct scsi_lock *k = container_of(l, struct scsi_lock_part, link)->lock;
		if (k->owner != t && touches(t, k))
			return true;
	}
	return false;
}

void
scsi_lock_task_done(struct scsi_lu_loop *ll, const struct scsi_task *t)
{
	(void)t;
	/* Looks at all that still wait, whatever the range was: a handler may have narrowed it. */
	if (ll->lock_count > 0)
		parts_check(ll);
}
