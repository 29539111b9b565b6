/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * LUNs that are held at a point: writes wait, everything that was acknowledged is on the stores, which
 * were flushed. So a snapshot of the stores is what the LUNs were at one instant, all of them together.
 *
 *	flush, while writes go on ─▶ hold: new writes wait, those under way end ─▶ flush ─▶ answered ─▶ thaw
 *
 * Who ordered it keeps it by a call of its own ("hold"), which is under way for as long. It ends when that
 * call's client is gone, when nobody holds it soon after it began, at its time limit, and when one of the
 * LUNs is about to lose its unit. Initiators lose patience: a freeze can't last.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/log.h"
#include "daemon/cache_orders.h"

#define LOOK_NS 100000000ull          /* whether the client is still there */
#define UNHELD_NS (5 * 1000000000ull) /* then somebody has to hold it */

enum phase { FLUSHING, HOLDING, FLUSHING_HELD, FROZEN, ENDING };

struct freeze_part {
	struct lun_freeze *freeze;
	struct daemon_lun *lun; /* NULL: it isn't concerned any more */
	bool held;              /* its volume is frozen, or about to be */
	bool waits;             /* for a callback of the volume */
};

struct lun_freeze {
	struct list link;
	struct daemon *daemon;
	uint64_t id;
	enum phase phase;
	struct ctl_call *call; /* of the order, until it is answered */
	struct ctl_call *hold; /* of who keeps it */
	struct loop_timer timer;
	uint64_t frozen_ns, limit_ns; /* since when writes wait; how long at most */
	bool was_held;
	char *user;
	struct freeze_part *parts;
	unsigned count, waits;
	char why[256]; /* it ends before its time; "" */
};

static void next(struct lun_freeze *f);

static struct lun_freeze *
find(struct daemon *d, json_int_t id)
{
	LIST_FOREACH (n, &d->freezes) {
		struct lun_freeze *f = container_of(n, struct lun_freeze, link);
		if (f->id == (uint64_t)id && f->phase == FROZEN)
			return f;
	}
	return NULL;
}

static double
held_s(const struct lun_freeze *f)
{
	return (double)(loop_now_ns(f->daemon->loops[0]) - f->frozen_ns) / 1e9;
}

/* ---- the end --------------------------------------------------------------------------------------------- */

static void
freeze_free(struct lun_freeze *f)
{
	loop_timer_cancel(&f->timer);
	list_remove(&f->link);
	free(f->user);
	free(f->parts);
	free(f);
}

static void
part_thaw(struct freeze_part *p)
{
	struct daemon_lun *l = p->lun;

	if (l == NULL)
		return;
	p->lun = NULL;
	l->freeze = NULL;
	if (p->held)
		cache_volume_thaw(l->volume);
	p->held = false;
	if (l->lu != NULL)
		daemon_lun_follow_mode(l);
}

static void
answer(struct lun_freeze *f)
{
	if (f->call != NULL)
		ctl_call_fail(f->call, CTL_FAILED, NULL, "not frozen: %s", f->why);
	if (f->hold != NULL)
		ctl_call_done(f->hold, json_pack("{s:b, s:s, s:f}", "complete", f->why[0] == '\0',
		                           "why", f->why, "seconds", held_s(f)));
	f->call = f->hold = NULL;
}

/* Writes go on; it is freed when no volume is going to call back any more. */
static void
end(struct lun_freeze *f, const char *why)
{
	if (f->phase == ENDING)
		return;
	snprintf(f->why, sizeof f->why, "%s", why);
	if (f->phase == FROZEN)
		log_info("cache", "writes to %u LUN%s go on after %.1f s%s%s", f->count,
		    f->count == 1 ? "" : "s", held_s(f), why[0] != '\0' ? ": " : "", why);
	f->phase = ENDING;
	loop_timer_cancel(&f->timer);
	/* One whose volume is about to say that it is frozen thaws then. */
	for (unsigned i = 0; i < f->count; i++)
		if (!f->parts[i].waits)
			part_thaw(&f->parts[i]);
	answer(f);
	if (f->waits == 0)
		freeze_free(f);
}

void
daemon_lun_thaw(struct daemon_lun *l)
{
	struct lun_freeze *f = l->freeze;
	char why[200];

	if (f == NULL)
		return;
	snprintf(why, sizeof why, "LUN %.100s was about to be changed or to end", l->name);
	for (unsigned i = 0; i < f->count; i++)
		if (f->parts[i].lun == l)
			part_thaw(&f->parts[i]);
	end(f, why);
}

void
daemon_thaw_all(struct daemon *d)
{
	LIST_FOREACH_SAFE (n, &d->freezes)
		end(container_of(n, struct lun_freeze, link), "terraced ends");
}

/* ---- the steps ------------------------------------------------------------------------------------------- */

static void
part_ended(struct freeze_part *p, int result)
{
	struct lun_freeze *f = p->freeze;
	struct daemon_lun *l = p->lun;
	char why[256];

	ASSERT(p->waits && f->waits > 0);
	p->waits = false;
	f->waits--;
	if (f->phase == ENDING) {
		part_thaw(p);
		if (f->waits == 0)
			freeze_free(f);
		return;
	}
	if (result < 0) {
		if (f->phase == HOLDING)
			p->held = false;
		snprintf(why, sizeof why, "LUN %.100s: %s", l != NULL ? l->name : "",
		    order_reason(result));
		end(f, why);
	} else if (f->waits == 0) {
		next(f);
	}
}

static void
part_done(void *ctx, int result)
{
	part_ended(ctx, result);
}

/* For each LUN: what the phase says. */
static void
each(struct lun_freeze *f, enum phase phase)
{
	f->phase = phase;
	f->waits = f->count;
	for (unsigned i = 0; i < f->count; i++)
		f->parts[i].waits = true;
	for (unsigned i = 0; i < f->count; i++) {
		struct freeze_part *p = &f->parts[i];
		if (phase == HOLDING) {
			p->held = true;
			cache_volume_freeze(p->lun->volume, part_done, p);
		} else {
			cache_volume_flush(p->lun->volume, part_done, p);
		}
	}
}

static void
on_time(struct loop_timer *t)
{
	struct lun_freeze *f = container_of(t, struct lun_freeze, timer);
	uint64_t past = loop_now_ns(f->daemon->loops[0]) - f->frozen_ns;
	const struct ctl_call *holder = f->hold != NULL ? f->hold : f->call;

	if (past >= f->limit_ns)
		end(f, f->phase == FROZEN ? "its time limit was reached"
		                          : "the stores didn't take what was acknowledged in time");
	else if (holder != NULL && ctl_call_client_gone(holder))
		end(f, "who ordered it is gone");
	else if (holder == NULL && past >= UNHELD_NS && !f->was_held)
		end(f, "nobody holds it");
	else
		loop_timer_set(&f->timer, LOOK_NS);
}

static void
frozen(struct lun_freeze *f)
{
	json_t *names = json_array();

	f->phase = FROZEN;
	for (unsigned i = 0; i < f->count; i++)
		json_array_append_new(names, ctl_string(f->parts[i].lun->name));
	log_info("cache", "writes to %u LUN%s wait, by order of %s", f->count,
	    f->count == 1 ? "" : "s", f->user);
	struct ctl_call *call = f->call;
	f->call = NULL;
	ctl_call_done(call, json_pack("{s:I, s:o, s:f}", "id", (json_int_t)f->id, "luns", names,
	                        "limit_seconds", (double)f->limit_ns / 1e9));
}

static void
next(struct lun_freeze *f)
{
	switch (f->phase) {
	case FLUSHING:
		if (ctl_call_client_gone(f->call)) {
			end(f, "who ordered it is gone");
			return;
		}
		f->frozen_ns = loop_now_ns(f->daemon->loops[0]);
		loop_timer_set(&f->timer, LOOK_NS);
		each(f, HOLDING);
		return;
	case HOLDING:
		each(f, FLUSHING_HELD);
		return;
	case FLUSHING_HELD:
		frozen(f);
		return;
	case FROZEN:
	case ENDING:
		break;
	}
}

/* ---- methods --------------------------------------------------------------------------------------------- */

/* 0, or -1: the call was answered. */
static int
check_luns(struct ctl_call *call, const struct order_luns *luns)
{
	for (unsigned i = 0; i < luns->count; i++) {
		const struct daemon_lun *l = luns->list[i];
		const char *why = NULL;
		if (l->volume == NULL)
			why = "has no SSD, so nothing of it waits on one: stop its initiators "
			      "instead";
		else if (l->freeze != NULL)
			why = "is frozen already";
		else if (l->mode_changes || l->detaching != NULL)
			why = "is being changed; try again";
		if (why == NULL)
			continue;
		ctl_call_fail(call, CTL_BUSY, NULL, "LUN %s %s", l->name, why);
		return -1;
	}
	return 0;
}

static struct lun_freeze *
freeze_new(struct daemon *d, struct ctl_call *call, const struct order_luns *luns)
{
	struct lun_freeze *f = calloc(1, sizeof *f);
	if (f == NULL)
		return NULL;
	f->parts = calloc(luns->count + 1u, sizeof *f->parts);
	f->user = strdup(ctl_call_peer(call)->user);
	if (f->parts == NULL || f->user == NULL) {
		free(f->parts);
		free(f->user);
		free(f);
		return NULL;
	}
	f->daemon = d;
	f->call = call;
	f->id = ++d->freezes_made;
	loop_timer_init(&f->timer, d->loops[0], on_time);
	list_push_back(&d->freezes, &f->link);
	for (; f->count < luns->count; f->count++) {
		struct daemon_lun *l = luns->list[f->count];
		f->parts[f->count] = (struct freeze_part){.freeze = f, .lun = l};
		l->freeze = f;
	}
	return f;
}

void
order_freeze(void *daemon, struct ctl_call *call, const json_t *params)
{
	struct daemon *d = daemon;
	const json_t *limit = json_object_get(params, "limit_seconds");
	json_int_t seconds = limit != NULL ? json_integer_value(limit) : FREEZE_SECONDS_DEFAULT;
	struct order_luns luns;

	if (seconds < 1 || seconds > FREEZE_SECONDS_MAX) {
		ctl_call_fail(
		    call, CTL_INVALID_PARAMS, NULL, "limit_seconds: 1 to %d", FREEZE_SECONDS_MAX);
		return;
	}
	if (order_luns(d, call, params, &luns) < 0)
		return;
	if (luns.count == 0) {
		ctl_call_fail(call, CTL_NO_OBJECT, NULL, "no LUN uses this cache");
	} else if (check_luns(call, &luns) == 0) {
		struct lun_freeze *f = freeze_new(d, call, &luns);
		if (f == NULL) {
			ctl_call_fail(call, CTL_FAILED, NULL, "out of memory");
		} else {
			f->limit_ns = (uint64_t)seconds * 1000000000u;
			each(f, FLUSHING);
		}
	}
	order_luns_fini(&luns);
}

static void
no_freeze(struct ctl_call *call, json_int_t id)
{
	ctl_call_fail(call, CTL_NO_OBJECT, NULL,
	    "there is no freeze %lld (any more): writes go on since", (long long)id);
}

void
order_hold(void *daemon, struct ctl_call *call, const json_t *params)
{
	json_int_t id = json_integer_value(json_object_get(params, "id"));
	struct lun_freeze *f = find(daemon, id);

	if (f == NULL) {
		no_freeze(call, id);
	} else if (f->hold != NULL) {
		ctl_call_fail(call, CTL_BUSY, NULL, "somebody holds it already");
	} else {
		f->hold = call;
		f->was_held = true;
	}
}

void
order_thaw(void *daemon, struct ctl_call *call, const json_t *params)
{
	json_int_t id = json_integer_value(json_object_get(params, "id"));
	struct lun_freeze *f = find(daemon, id);

	if (f == NULL) {
		no_freeze(call, id);
		return;
	}
	json_t *answer = json_pack("{s:f}", "seconds", held_s(f));
	end(f, "");
	ctl_call_done(call, answer);
}
