/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Health: what needs a person (conditions), what happened (events) and what was ordered (history).
 * Each condition has a code, a sentence, its effect and an action; the table is known without a
 * daemon too (health_condition_find()). Events and history are kept over restarts in the state
 * directory, bounded, written by the loop's worker; events are handed to hooks by a helper process
 * (terrace-hook). It knows no LUN, no session, no configuration: who raises a condition says what it
 * is about.
 *
 * Thread rule: the condition table from anywhere; everything else on the loop that it was created
 * for, or before that loop runs and after it ended. Nothing here blocks but health_create() and
 * health_destroy().
 */
#ifndef HEALTH_HEALTH_H
#define HEALTH_HEALTH_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/list.h"
#include "loop/loop.h"

/* ---- the table of conditions ------------------------------------------------------------------- */

enum health_severity {
	HEALTH_REMARK,   /* worth knowing; the state stays "ok" */
	HEALTH_DEGRADED, /* it goes on, less safe or not as configured */
	HEALTH_FAILED,   /* initiators don't get what they should */
	HEALTH_SEVERITY_COUNT
};
/* "remark", "degraded", "failed". */
const char *health_severity_name(enum health_severity s);

/* In comments: what `object` is. Codes never change their meaning and are never used again. */
enum health_code {
	HEALTH_CONFIG_CHANGED,  /* C101, the configuration file */
	HEALTH_CONFIG_BROKEN,   /* C102, the configuration file */
	HEALTH_RELOAD_REFUSED,  /* C103, the configuration file */
	HEALTH_RESTART_NEEDED,  /* C104, the key */
	HEALTH_RUNTIME_CHANGES, /* C105, "" */
	HEALTH_STORE_UNOPENED,  /* C201, the LUN */
	HEALTH_STORE_ERRORS,    /* C202, the LUN */
	HEALTH_STORE_GONE,      /* C204, the LUN */
	HEALTH_STORE_VOLATILE,  /* C205, the LUN */
	HEALTH_STORE_SPACE,     /* C206, the LUN */
	HEALTH_SANITIZE_FAILED, /* C207, the LUN */
	HEALTH_MODE_WAITS,      /* C208, the LUN */
	HEALTH_LOGINS_REFUSED,  /* C301, "" */
	HEALTH_STATE_DIR_FULL,  /* C401, the state directory */
	HEALTH_CATALOG_FAILING, /* C402, the state directory */
	HEALTH_LOG_FAILING,     /* C403, the file: events.log or history.log */
	HEALTH_NO_URING,        /* C404, "" */
	HEALTH_HOOK_REFUSED,    /* C501, the hook's path */
	HEALTH_HOOK_FAILING,    /* C502, the hook's path */
	HEALTH_HOOK_DROPPED,    /* C503, "" */
	HEALTH_HOOK_HELPER,     /* C504, "" */
	HEALTH_INSPECT_DOWN,    /* C505, the folder */
	HEALTH_CACHE_ABSENT,    /* C601, the cache */
	HEALTH_CACHE_SSD_WRITE, /* C602, the cache */
	HEALTH_CACHE_SSD_VOID,  /* C603, the cache */
	HEALTH_CACHE_SSD_READ,  /* C604, the cache */
	HEALTH_CACHE_DATA_LOST, /* C605, the cache */
	HEALTH_CACHE_STORE,     /* C606, the cache */
	HEALTH_CACHE_FULL,      /* C607, the cache */
	HEALTH_CACHE_LIED,      /* C608, the cache */
	HEALTH_CACHE_GONE,      /* C609, the cache */
	HEALTH_CODE_COUNT
};

struct health_condition {
	const char *code; /* "C204" */
	const char *name; /* a word: "store-gone" */
	enum health_severity severity;
	const char *title;       /* what it is, in general: a sentence without its stop */
	const char *effect;      /* for the initiators and their data */
	const char *action;      /* what to do; {object} stands for the object */
	const char *explanation; /* paragraphs, an empty line between; no line breaks within one */
};
const struct health_condition *health_condition(enum health_code code);
/* By code or name, in any case of letters. NULL: there is none. */
const struct health_condition *health_condition_find(const char *word);

/* ---- events ------------------------------------------------------------------------------------ */

enum health_event_kind {
	HEALTH_EVENT_START,   /* the daemon serves */
	HEALTH_EVENT_STOP,    /* it was told to end */
	HEALTH_EVENT_RAISED,  /* a condition appeared */
	HEALTH_EVENT_CLEARED, /* a condition went away */
	HEALTH_EVENT_LOGIN,
	HEALTH_EVENT_LOGOUT,
	HEALTH_EVENT_LOST,    /* a session ended without logout */
	HEALTH_EVENT_REFUSED, /* a login was refused */
	HEALTH_EVENT_CHANGED, /* the configuration was changed: by command or reload */
	HEALTH_EVENT_SIZE,    /* a LUN has another size */
	HEALTH_EVENT_COUNT
};
/* "start" "stop" "raised" "cleared" "login" "logout" "lost" "refused" "changed" "size". */
const char *health_event_name(enum health_event_kind kind);
/* 0; -EINVAL: no such word (*ret untouched). */
int health_event_parse(const char *word, enum health_event_kind *ret);

/* ---- life cycle -------------------------------------------------------------------------------- */

#define HEALTH_EVENTS_MAX_DEFAULT 1000u /* kept; the files hold about as many twice */
#define HEALTH_EVENTS_MAX_MIN 100u
#define HEALTH_EVENTS_MAX_MAX 100000u
#define HEALTH_HISTORY_MAX 1000u
#define HEALTH_CONDITIONS_MAX 8192u /* at one time */
#define HEALTH_OBJECT_MAX 255u      /* bytes; longer ones are cut at a character */
#define HEALTH_TEXT_MAX 511u

struct health;

struct health_args {
	struct loop *loop;
	const char *dir;     /* events.log and history.log are kept here; NULL: nowhere */
	unsigned events_max; /* 0: the default; put into the bounds */
	const char
	    *hook_helper; /* path of terrace-hook; NULL: beside the program, else installed */
};
/*
 * Reads what was kept; a torn or damaged line is skipped. Files that can't be read are as none, with
 * the condition HEALTH_LOG_FAILING. Strings are copied. Blocking. 0, -ENOMEM.
 */
int health_create(const struct health_args *args, struct health **ret);
/*
 * Before the loop stops: hooks get no more events, what the worker does is awaited, then `done`.
 * Not if the loop never runs.
 */
void health_stop(struct health *h, void (*done)(void *ctx), void *ctx);
/* The loop never ran, or health_stop() is done. Writes what is still unwritten. Accepts NULL. */
void health_destroy(struct health *h);

/* ---- conditions -------------------------------------------------------------------------------- */

/*
 * The condition holds for `object` ("" for none), in words of a sentence that names what happened
 * (no stop at its end, no secret). Again for the same object: the sentence is replaced, nothing
 * else happens. True if it is new (which is an event, and a line in the log).
 */
bool health_raise(struct health *h, enum health_code code, const char *object, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* It holds no more. True if it did. */
bool health_clear(struct health *h, enum health_code code, const char *object);
/* The same for every object; returns how many. */
unsigned health_clear_all(struct health *h, enum health_code code);

struct health_active {
	const struct health_condition *condition;
	const char *object;   /* "" */
	const char *sentence; /* of health_raise() */
	char *action;         /* with the object in it */
	int64_t since_s;      /* seconds since 1970 */
};
/* Worst first, then the oldest; nothing is raised or cleared meanwhile. Returns how many. */
unsigned health_each(
    const struct health *h, void (*each)(void *ctx, const struct health_active *a), void *ctx);
/* The worst that holds; HEALTH_REMARK means "ok". */
enum health_severity health_worst(const struct health *h);
/* "ok", "degraded" or "failed". */
const char *health_state(const struct health *h);
/*
 * {"state", "conditions": [{"code", "name", "severity", "object", "since", "sentence", "effect",
 * "action"}]}; a new reference, NULL without memory.
 */
json_t *health_json(const struct health *h);

/* ---- events and history ------------------------------------------------------------------------ */

/*
 * Something happened. `data` is an object with more about it, taken, or NULL. Events that a peer can
 * cause are the caller's to limit.
 */
void health_event(struct health *h, enum health_event_kind kind, const char *object, json_t *data,
    const char *fmt, ...) __attribute__((format(printf, 5, 6)));

/*
 * {"events": [{"id", "time", "event", "object", "text", "code"?, "severity"?, "data"?}], "next",
 * "lost"}: those after the id `since` (ids grow by one and go on over restarts), oldest first, at
 * most `limit`, and then the last ones when `since` is 0. `next` is the `since` to ask with again,
 * `lost` how many after `since` are kept no more. A new reference, NULL without memory.
 */
json_t *health_events(const struct health *h, uint64_t since, unsigned limit);

/* Called once, later, when an event has happened. Embedded; init before the first add. */
struct health_wait {
	struct list link;
	void (*fire)(struct health_wait *w);
};
void health_wait_init(struct health_wait *w, void (*fire)(struct health_wait *w));
void health_wait_add(struct health *h, struct health_wait *w);
void health_wait_remove(struct health_wait *w); /* or nothing, if it isn't added */

struct health_order {
	uid_t uid;
	const char *user;
	const char *command; /* as a person would have typed it; no secret */
	const char *result;  /* "done", or why not */
};
/* Somebody ordered a change: it was done, or not. Strings are copied, cut at HEALTH_TEXT_MAX. */
void health_history_add(struct health *h, const struct health_order *o);
/* [{"time", "uid", "user", "command", "result"}], oldest first: the last `limit`. */
json_t *health_history(const struct health *h, unsigned limit);

/* ---- for another thread ------------------------------------------------------------------------ */

/*
 * The same answers in two parts: what they are made of is copied here, JSON is made of the copy by
 * any thread. NULL without memory.
 */
struct health_copy;
struct health_copy *health_copy_conditions(const struct health *h);
struct health_copy *health_copy_events(const struct health *h, uint64_t since, unsigned limit);
struct health_copy *health_copy_history(const struct health *h, unsigned limit);
unsigned health_copy_count(const struct health_copy *c);
json_t *health_copy_json(const struct health_copy *c);
void health_copy_destroy(struct health_copy *c); /* accepts NULL */

/* ---- hooks ------------------------------------------------------------------------------------- */

#define HEALTH_HOOKS_MAX 32u

struct health_hook {
	int event;        /* enum health_event_kind; -1: all */
	const char *path; /* absolute */
};
/*
 * The programs that get events, instead of those before; copied. The helper process is started when
 * there is a first one and the loop runs, and goes with the daemon. Each program runs with the event
 * as JSON on its standard input, at most 30 s, at most four at a time. Events about hooks (C5xx) are
 * given to none. 0; -EINVAL: too many, or a path isn't absolute or over HEALTH_OBJECT_MAX; -ENOMEM.
 */
int health_set_hooks(struct health *h, const struct health_hook *hooks, unsigned count);

#endif
