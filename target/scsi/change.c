/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Changes of a unit, seen by all loops in the same order (INV-4).
 *
 *	origin: submit ─▶ home: queue, decide ─▶ every loop: apply, drain ─▶ home: all did ─▶ origin: done
 *
 * One change per unit is in force at a time. What a loop must drain are the tasks of the data classes
 * that run when it applies the change: those that were admitted under the older state (INV-2). They
 * never wait for a change themselves, so that a change always comes to its end.
 */
#include "scsi/scsi_priv.h"

#include <errno.h>
#include <stdlib.h>

static void change_at_home(struct loop_msg *m);
static void change_next(struct scsi_lu *lu);
static void change_go(struct scsi_change *c, enum scsi_decision d);
static void part_apply(struct loop_msg *m);
static void part_ack(struct scsi_change_part *p);
static void part_acked(struct loop_msg *m);
static void change_finish(struct scsi_change *c);
static void change_done(struct loop_msg *m);

void
scsi_change_submit(struct scsi_change *c)
{
	ASSERT(c->lu != NULL && c->apply != NULL && c->done != NULL);
	c->origin = loop_current();
	ASSERT(c->origin != NULL);
	c->refused = false;
	list_init(&c->link);
	c->msg.run = change_at_home;
	scsi_deliver(c->lu->core->loops[0], &c->msg);
}

static void
change_at_home(struct loop_msg *m)
{
	struct scsi_change *c = container_of(m, struct scsi_change, msg);
	list_push_back(&c->lu->changes, &c->link);
	change_next(c->lu);
}

static void
change_next(struct scsi_lu *lu)
{
	if (lu->change_active || list_empty(&lu->changes))
		return;
	lu->change_active = true;
	struct scsi_change *c = container_of(lu->changes.next, struct scsi_change, link);
	enum scsi_decision d = c->decide != NULL ? c->decide(c) : CHANGE_GO;
	if (d != CHANGE_PENDING)
		change_go(c, d);
}

void
scsi_change_decided(struct scsi_change *c, enum scsi_decision d)
{
	ASSERT(loop_is_current(c->lu->core->loops[0]));
	ASSERT(d != CHANGE_PENDING && c->lu->change_active && c->lu->changes.next == &c->link);
	change_go(c, d);
}

static void
change_go(struct scsi_change *c, enum scsi_decision d)
{
	if (d == CHANGE_REFUSED) {
		c->refused = true;
		change_finish(c);
		return;
	}
	struct scsi_lu *lu = c->lu;
	unsigned count = lu->core->loop_count;
	c->waiting = count;
	for (unsigned i = 0; i < count; i++) {
		struct scsi_change_part *p = &c->parts[i];
		p->change = c;
		p->ll = &lu->ll[i];
		p->msg.run = part_apply;
		scsi_deliver(lu->core->loops[i], &p->msg);
	}
}

/* The classes whose tasks touch data and wait for nothing but the store and range locks. */
static bool
drains(const struct scsi_task *t)
{
	return t->op->order >= ORD_READ && t->op->order <= ORD_FLUSH;
}

static void
part_apply(struct loop_msg *m)
{
	struct scsi_change_part *p = container_of(m, struct scsi_change_part, msg);
	struct scsi_lu_loop *ll = p->ll;
	ASSERT(ll->draining == NULL && ll->drain_left == 0);
	p->change->apply(p->change, ll);
	ll->epoch++;
	scsi_lu_refresh(ll);
	scsi_unblock(ll);
	if (p->change->drain) {
		LIST_FOREACH (l, &ll->running) {
			struct scsi_task *t = container_of(l, struct scsi_task, loop_link);
			if (drains(t)) {
				t->flags |= TASK_DRAIN;
				ll->drain_left++;
			}
		}
		LIST_FOREACH (l, &ll->guests) {
			container_of(l, struct scsi_guest, link)->drain = true;
			ll->drain_left++;
		}
	}
	ll->draining = p;
	scsi_change_drained(ll);
}

void
scsi_change_drained(struct scsi_lu_loop *ll)
{
	struct scsi_change_part *p = ll->draining;
	if (p == NULL || ll->drain_left > 0)
		return;
	if (p->change->wait_locks && ll->own_locks > 0)
		return;
	ll->draining = NULL;
	part_ack(p);
}

static void
part_ack(struct scsi_change_part *p)
{
	p->msg.run = part_acked;
	scsi_deliver(p->change->lu->core->loops[0], &p->msg);
}

static void
part_acked(struct loop_msg *m)
{
	struct scsi_change *c = container_of(m, struct scsi_change_part, msg)->change;
	ASSERT(c->waiting > 0);
	if (--c->waiting == 0)
		change_finish(c);
}

static void
change_finish(struct scsi_change *c)
{
	struct scsi_lu *lu = c->lu;
	ASSERT(lu->change_active && lu->changes.next == &c->link);
	list_remove(&c->link);
	lu->change_active = false;
	/* Always a message: done() never runs inside submit. `c` is the origin's from here on. */
	c->msg.run = change_done;
	loop_send(c->origin, &c->msg);
	change_next(lu);
}

static void
change_done(struct loop_msg *m)
{
	struct scsi_change *c = container_of(m, struct scsi_change, msg);
	c->done(c);
}

/* ---- ready-made: edits the state, raises a unit attention ---------------------------------- */

struct state_change {
	struct scsi_change change;
	void (*edit)(struct scsi_lu_state *st, void *arg);
	uint64_t arg;
	int ua;
	uint64_t except_nexus_id;
	void (*done)(void *ctx);
	void *done_ctx;
};

static void
state_apply(struct scsi_change *c, struct scsi_lu_loop *ll)
{
	struct state_change *sc = container_of(c, struct state_change, change);
	if (sc->edit != NULL)
		sc->edit(&ll->st, (void *)(uintptr_t)sc->arg);
	if (sc->ua < 0)
		return;
	LIST_FOREACH (l, &ll->nexus_lus) {
		struct scsi_nexus_lu *nlu = container_of(l, struct scsi_nexus_lu, lu_link);
		if (nlu->nexus->id != sc->except_nexus_id)
			scsi_ua_raise(nlu, (enum scsi_ua)sc->ua);
	}
}

static void
state_done(struct scsi_change *c)
{
	struct state_change *sc = container_of(c, struct state_change, change);
	void (*done)(void *ctx) = sc->done;
	void *ctx = sc->done_ctx;
	free(sc);
	if (done != NULL)
		done(ctx);
}

int
scsi_change_state(struct scsi_lu *lu, void (*edit)(struct scsi_lu_state *st, void *arg),
    uint64_t arg, int ua, uint64_t except_nexus_id, void (*done)(void *ctx), void *done_ctx)
{
	ASSERT(ua < UA_COUNT);
	struct state_change *sc = calloc(1, sizeof *sc);
	if (sc == NULL)
		return -ENOMEM;
	*sc = (struct state_change){
	    .change = {.lu = lu, .apply = state_apply, .done = state_done},
	    .edit = edit,
	    .arg = arg,
	    .ua = ua,
	    .except_nexus_id = except_nexus_id,
	    .done = done,
	    .done_ctx = done_ctx,
	};
	scsi_change_submit(&sc->change);
	return 0;
}
