/* SPDX-License-Identifier: BSD-2-Clause */
/* How it is, and what happened: version, status, health, events, history, refused logins. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include "daemon/control.h"

#define LIMIT_DEFAULT 100
#define LIMIT_MAX 10000
#define WAIT_MAX_MS 60000

static json_t *
version(void *ctx, const json_t *params, struct ctl_failure *failure)
{
	const struct daemon *d = ctx;
	(void)params;
	(void)failure;
	return json_pack("{s:s, s:i, s:o}", "version", TERRACE_VERSION, "schema", CONTROL_SCHEMA,
	    "nbd", ctl_string(d->nbd != NULL && d->nbd_path != NULL ? d->nbd_path : ""));
}

static json_t *
status_json(const struct picture *p)
{
	char host[HOST_NAME_MAX + 1] = "";
	json_t *health = health_copy_json(p->health);

	if (gethostname(host, sizeof host - 1) < 0)
		host[0] = '\0';
	json_t *o = json_pack("{s:s, s:i, s:o, s:i, s:I, s:O*, s:O*, s:o, s:o, s:o, s:I}",
	    "version", TERRACE_VERSION, "schema", CONTROL_SCHEMA, "host", ctl_string(host), "pid",
	    (int)getpid(), "uptime_s", (json_int_t)p->uptime_s, "state",
	    json_object_get(health, "state"), "conditions", json_object_get(health, "conditions"),
	    "luns", control_luns(p), "sessions", control_sessions(p), "loops", control_loops(p),
	    "inspect_rate", (json_int_t)p->inspect_rate);
	json_decref(health);
	return o;
}

static void
status(void *ctx, struct ctl_call *call, const json_t *params)
{
	(void)params;
	control_answer(ctx, call,
	    PICTURE_HEALTH | PICTURE_LUNS | PICTURE_STATS | PICTURE_SESSIONS | PICTURE_LOOPS, NULL,
	    status_json);
}

/* What the picture was given: conditions, events or orders. */
static json_t *
copy_json(const struct picture *p)
{
	return health_copy_json(p->health);
}

static void
health(void *ctx, struct ctl_call *call, const json_t *params)
{
	(void)params;
	control_answer(ctx, call, PICTURE_HEALTH, NULL, copy_json);
}

/* Takes the copy; NULL: there was no memory for it. */
static void
answer_copy(struct daemon *d, struct ctl_call *call, struct health_copy *copy)
{
	if (copy != NULL)
		control_answer(d, call, 0, copy, copy_json);
	else
		ctl_call_fail(call, CTL_FAILED, NULL, "out of memory");
}

/* ---- events --------------------------------------------------------------------------------------------- */

static const struct ctl_param events_params[] = {
    {"since", CTL_INT, false, "only those after this id; 0: the last ones"},
    {"limit", CTL_INT, false, "at most so many, 1 to 10000; 100 if not said"},
    {"wait_ms", CTL_INT, false, "when there is none after `since`: wait for one, up to 60000"},
    {.name = NULL},
};

/* A client that waits; freed with its answer. */
struct waiter {
	struct health_wait wait;
	struct loop_timer timer;
	struct list link; /* in d->waiters */
	struct daemon *d;
	struct ctl_call *call;
	uint64_t since;
	unsigned limit;
};

static void
answer_waiter(struct waiter *w)
{
	health_wait_remove(&w->wait);
	loop_timer_cancel(&w->timer);
	list_remove(&w->link);
	answer_copy(w->d, w->call, health_copy_events(w->d->health, w->since, w->limit));
	free(w);
}

static void
on_event(struct health_wait *wait)
{
	answer_waiter(container_of(wait, struct waiter, wait));
}

static void
on_time(struct loop_timer *t)
{
	answer_waiter(container_of(t, struct waiter, timer));
}

void
control_end_waiters(struct daemon *d)
{
	while (!list_empty(&d->waiters))
		answer_waiter(container_of(d->waiters.next, struct waiter, link));
}

/* True and *ret if it is between; otherwise the call has failed. */
static bool
get_int(struct ctl_call *call, const json_t *params, const char *name, json_int_t fallback,
    json_int_t min, json_int_t max, json_int_t *ret)
{
	const json_t *v = json_object_get(params, name);

	*ret = json_is_integer(v) ? json_integer_value(v) : fallback;
	if (*ret >= min && *ret <= max)
		return true;
	ctl_call_fail(call, CTL_INVALID_PARAMS, NULL,
	    "%s is %" JSON_INTEGER_FORMAT " to %" JSON_INTEGER_FORMAT, name, min, max);
	return false;
}

static void
events(void *ctx, struct ctl_call *call, const json_t *params)
{
	struct daemon *d = ctx;
	json_int_t since, limit, wait_ms;

	if (!get_int(call, params, "since", 0, 0, INT64_MAX, &since) ||
	    !get_int(call, params, "limit", LIMIT_DEFAULT, 1, LIMIT_MAX, &limit) ||
	    !get_int(call, params, "wait_ms", 0, 0, WAIT_MAX_MS, &wait_ms))
		return;
	struct health_copy *now = health_copy_events(d->health, (uint64_t)since, (unsigned)limit);
	bool wait = now != NULL && health_copy_count(now) == 0 && wait_ms > 0 && !d->stopping;
	struct waiter *w = wait ? calloc(1, sizeof *w) : NULL;
	if (w == NULL) {
		answer_copy(d, call, now);
		return;
	}
	health_copy_destroy(now);
	w->d = d;
	w->call = call;
	w->since = (uint64_t)since;
	w->limit = (unsigned)limit;
	list_push_back(&d->waiters, &w->link);
	health_wait_init(&w->wait, on_event);
	health_wait_add(d->health, &w->wait);
	loop_timer_init(&w->timer, d->loops[0], on_time);
	loop_timer_set(&w->timer, (uint64_t)wait_ms * 1000000ull);
}

/* ---- history, refused --------------------------------------------------------------------------------------- */

static const struct ctl_param history_params[] = {
    {"limit", CTL_INT, false, "the last so many, 1 to 10000; 100 if not said"},
    {.name = NULL},
};

static void
history(void *ctx, struct ctl_call *call, const json_t *params)
{
	struct daemon *d = ctx;
	json_int_t limit;

	if (get_int(call, params, "limit", LIMIT_DEFAULT, 1, LIMIT_MAX, &limit))
		answer_copy(d, call, health_copy_history(d->health, (unsigned)limit));
}

static json_t *
refused(void *ctx, const json_t *params, struct ctl_failure *failure)
{
	const struct daemon *d = ctx;
	(void)params;
	(void)failure;
	return d->monitor != NULL ? logins_refused(monitor_logins(d->monitor), d->conf)
	                          : json_array();
}

const struct ctl_method control_health_methods[] = {
    {.name = "version", .help = "version of the daemon and of these answers", .call = version},
    {.name = "status", .help = "health, LUNs, sessions and loops in one answer", .start = status},
    {.name = "health", .help = "the state, and the conditions that need a person", .start = health},
    {.name = "events",
        .help = "what happened, oldest first",
        .params = events_params,
        .start = events},
    {.name = "history",
        .help = "who ordered what, oldest first",
        .params = history_params,
        .start = history},
    {.name = "refused",
        .help = "logins that were refused, and what would admit them",
        .call = refused},
    {.name = NULL},
};
