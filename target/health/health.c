/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Conditions that hold, the last events and orders. What is kept on disk is lines of JSON
 * (docs/format/journal.md); the same lines are in memory, and go to the hooks.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/log.h"
#include "health/health_priv.h"

#define EVENT_BYTES 512u /* of a line, on average: bounds the files */
#define FILE_BYTES_MIN (64u * 1024)
#define HISTORY_FILE_BYTES (1u << 20)
#define DATA_BYTES_MAX 4096u /* of what a caller adds to an event */

struct active {
	struct list link;
	enum health_code code;
	char *object, *sentence;
	int64_t since_s;
};

/* ---- what was kept ------------------------------------------------------------------------------- */

static void
take_event(void *ctx, char *line, size_t len)
{
	struct health *h = ctx;
	json_t *e = json_loadb(line, len, 0, NULL);
	json_int_t id = json_integer_value(json_object_get(e, "id"));
	bool ok =
	    json_is_string(json_object_get(e, "event")) && id > 0 && (uint64_t)id > h->last_id;

	json_decref(e);
	char *copy = ok ? strdup(line) : NULL;
	if (copy == NULL)
		return;
	h->last_id = (uint64_t)id;
	ring_push(&h->events, h->last_id, copy);
}

static void
take_order(void *ctx, char *line, size_t len)
{
	struct health *h = ctx;
	json_t *o = json_loadb(line, len, 0, NULL);
	bool ok = json_is_string(json_object_get(o, "command"));

	json_decref(o);
	char *copy = ok ? strdup(line) : NULL;
	if (copy != NULL)
		ring_push(&h->history, 0, copy);
}

static void
log_trouble(struct health *h, const struct journal *j, int err, uint64_t dropped)
{
	if (dropped > 0)
		health_raise(h, HEALTH_LOG_FAILING, j->path,
		    "%s can't be kept: %s (%" PRIu64 " lines are lost)", j->path, strerror(-err),
		    dropped);
	else
		health_raise(h, HEALTH_LOG_FAILING, j->path, "%s can't be kept: %s", j->path,
		    strerror(-err));
}

static void
log_result(struct health *h, const struct journal *j, int err, uint64_t dropped)
{
	if (err < 0)
		log_trouble(h, j, err, dropped);
	else
		health_clear(h, HEALTH_LOG_FAILING, j->path);
}

static void
event_log_result(struct journal *j, int err, uint64_t dropped)
{
	log_result(container_of(j, struct health, event_log), j, err, dropped);
}

static void
history_log_result(struct journal *j, int err, uint64_t dropped)
{
	log_result(container_of(j, struct health, history_log), j, err, dropped);
}

/* ---- life cycle ---------------------------------------------------------------------------------- */

static void
stopped_one(void *ctx)
{
	struct health *h = ctx;
	ASSERT(h->stop_left > 0);
	if (--h->stop_left == 0)
		h->stopped(h->stopped_ctx);
}

static void
event_log_idle(struct journal *j)
{
	stopped_one(container_of(j, struct health, event_log));
}

static void
history_log_idle(struct journal *j)
{
	stopped_one(container_of(j, struct health, history_log));
}

static void
wake_waits(struct loop_defer *d)
{
	struct health *h = container_of(d, struct health, wake);
	struct list now;
	struct list *n;

	list_init(&now);
	list_splice_back(&now, &h->waits); /* who waits again is told of the next event */
	while ((n = list_pop_front(&now)) != NULL) {
		struct health_wait *w = container_of(n, struct health_wait, link);
		w->fire(w);
	}
}

static int
open_logs(struct health *h, const struct health_args *a, unsigned events_max)
{
	uint64_t bytes = (uint64_t)events_max * EVENT_BYTES;
	int rc = journal_init(&h->event_log, h->loop, a->dir, "events.log",
	    bytes < FILE_BYTES_MIN ? FILE_BYTES_MIN : bytes);
	if (rc == 0)
		rc = journal_init(
		    &h->history_log, h->loop, a->dir, "history.log", HISTORY_FILE_BYTES);
	if (rc < 0)
		return rc;
	h->event_log.result = event_log_result;
	h->event_log.idle = event_log_idle;
	h->history_log.result = history_log_result;
	h->history_log.idle = history_log_idle;
	rc = hooks_create(h, h->loop, a->hook_helper, &h->hooks);
	if (rc < 0)
		return rc;
	int err = journal_read(&h->event_log, take_event, h);
	if (err < 0)
		log_trouble(h, &h->event_log, err, 0);
	err = journal_read(&h->history_log, take_order, h);
	if (err < 0)
		log_trouble(h, &h->history_log, err, 0);
	return 0;
}

int
health_create(const struct health_args *args, struct health **ret)
{
	unsigned max = args->events_max == 0 ? HEALTH_EVENTS_MAX_DEFAULT : args->events_max;
	struct health *h = calloc(1, sizeof *h);

	if (h == NULL)
		return -ENOMEM;
	if (max < HEALTH_EVENTS_MAX_MIN)
		max = HEALTH_EVENTS_MAX_MIN;
	if (max > HEALTH_EVENTS_MAX_MAX)
		max = HEALTH_EVENTS_MAX_MAX;
	h->loop = args->loop;
	h->event_log.fd = h->history_log.fd = -1;
	list_init(&h->active);
	list_init(&h->waits);
	loop_defer_init(&h->wake, wake_waits);
	int rc = ring_init(&h->events, max);
	if (rc == 0)
		rc = ring_init(&h->history, HEALTH_HISTORY_MAX);
	if (rc == 0)
		rc = open_logs(h, args, max);
	if (rc < 0) {
		health_destroy(h);
		return rc;
	}
	*ret = h;
	return 0;
}

void
health_stop(struct health *h, void (*done)(void *ctx), void *ctx)
{
	ASSERT(h->stop_left == 0);
	h->stopped = done;
	h->stopped_ctx = ctx;
	h->stop_left = 4; /* one of our own: done is called last, once */
	hooks_stop(h->hooks, stopped_one, h);
	journal_stop(&h->event_log);
	journal_stop(&h->history_log);
	stopped_one(h);
}

static void
free_active(struct active *a)
{
	list_remove(&a->link);
	free(a->object);
	free(a->sentence);
	free(a);
}

void
health_destroy(struct health *h)
{
	if (h == NULL)
		return;
	ASSERT(list_empty(&h->waits));
	hooks_destroy(h->hooks);
	loop_defer_cancel(&h->wake);
	journal_fini(&h->event_log);
	journal_fini(&h->history_log);
	LIST_FOREACH_SAFE (n, &h->active)
		free_active(container_of(n, struct active, link));
	ring_fini(&h->events);
	ring_fini(&h->history);
	free(h);
}

/* ---- events --------------------------------------------------------------------------------------- */

struct happening {
	enum health_event_kind kind;
	const struct health_condition *condition; /* NULL: none */
	const char *object, *text;
	json_t *data; /* NULL: none */
};

/* The line of an event, or NULL without memory. */
static char *
event_line(const struct happening *e, uint64_t id, int64_t now_s)
{
	json_t *o =
	    json_pack("{s:I, s:I, s:s, s:s, s:s}", "id", (json_int_t)id, "time", (json_int_t)now_s,
	        "event", health_event_name(e->kind), "object", e->object, "text", e->text);
	if (o != NULL && e->condition != NULL) {
		json_object_set_new(o, "code", json_string(e->condition->code));
		json_object_set_new(
		    o, "severity", json_string(health_severity_name(e->condition->severity)));
	}
	if (o != NULL && e->data != NULL &&
	    json_dumpb(e->data, NULL, 0, JSON_COMPACT) <= DATA_BYTES_MAX)
		json_object_set(o, "data", e->data);
	char *line = json_dumps(o, JSON_COMPACT);
	json_decref(o);
	return line;
}

static void
happened(struct health *h, const struct happening *e)
{
	char *line = event_line(e, h->last_id + 1, loop_wall_s(h->loop));
	if (line == NULL) {
		log_err("health", "no memory to note: %s", e->text);
		return;
	}
	h->last_id++;
	journal_append(&h->event_log, line, strlen(line));
	/* A hook that fails on what it is told of itself would keep itself busy for ever. */
	bool of_hooks = e->condition != NULL && e->condition->code[1] == '5';
	ring_push(&h->events, h->last_id, line);
	if (!list_empty(&h->waits) && !loop_defer_queued(&h->wake))
		loop_defer(h->loop, &h->wake);
	if (!of_hooks)
		hooks_event(
		    h->hooks, e->kind, line); /* may raise conditions: events of their own */
}

void
health_event(struct health *h, enum health_event_kind kind, const char *object, json_t *data,
    const char *fmt, ...)
{
	char raw[HEALTH_TEXT_MAX * 2], text[HEALTH_TEXT_MAX + 1], name[HEALTH_OBJECT_MAX + 1];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(raw, sizeof raw, fmt, ap);
	va_end(ap);
	health_text(text, sizeof text, raw);
	health_text(name, sizeof name, object);
	struct happening e = {.kind = kind, .object = name, .text = text, .data = data};
	happened(h, &e);
	json_decref(data);
}

void
health_wait_init(struct health_wait *w, void (*fire)(struct health_wait *w))
{
	list_init(&w->link);
	w->fire = fire;
}

void
health_wait_add(struct health *h, struct health_wait *w)
{
	ASSERT(list_empty(&w->link));
	list_push_back(&h->waits, &w->link);
}

void
health_wait_remove(struct health_wait *w)
{
	list_remove(&w->link);
}

/* ---- conditions ------------------------------------------------------------------------------------ */

static struct active *
find_active(const struct health *h, enum health_code code, const char *object)
{
	LIST_FOREACH (n, &h->active) {
		struct active *a = container_of(n, struct active, link);
		if (a->code == code && strcmp(a->object, object) == 0)
			return a;
	}
	return NULL;
}

static void
tell(struct health *h, enum health_event_kind kind, enum health_code code, const char *object,
    const char *sentence)
{
	const struct health_condition *c = health_condition(code);
	const char *mark = object[0] != '\0' ? " object=" : "";

	if (kind == HEALTH_EVENT_CLEARED)
		log_info("health", "[%s] over: %s%s%s", c->code, sentence, mark, object);
	else if (c->severity == HEALTH_REMARK)
		log_info("health", "[%s] %s%s%s", c->code, sentence, mark, object);
	else
		log_warn("health", "[%s] %s%s%s", c->code, sentence, mark, object);
	struct happening e = {.kind = kind, .condition = c, .object = object, .text = sentence};
	happened(h, &e);
}

static struct active *
add_active(struct health *h, enum health_code code, const char *object, const char *sentence)
{
	struct active *a = h->active_count < HEALTH_CONDITIONS_MAX ? calloc(1, sizeof *a) : NULL;

	if (a == NULL)
		return NULL;
	list_init(&a->link);
	a->code = code;
	a->since_s = loop_wall_s(h->loop);
	a->object = strdup(object);
	a->sentence = strdup(sentence);
	if (a->object == NULL || a->sentence == NULL) {
		free_active(a);
		return NULL;
	}
	list_push_back(&h->active, &a->link);
	h->active_count++;
	return a;
}

bool
health_raise(struct health *h, enum health_code code, const char *object, const char *fmt, ...)
{
	char raw[HEALTH_TEXT_MAX * 2], sentence[HEALTH_TEXT_MAX + 1], name[HEALTH_OBJECT_MAX + 1];
	va_list ap;

	ASSERT(code < HEALTH_CODE_COUNT);
	va_start(ap, fmt);
	vsnprintf(raw, sizeof raw, fmt, ap);
	va_end(ap);
	health_text(sentence, sizeof sentence, raw);
	health_text(name, sizeof name, object);
	struct active *a = find_active(h, code, name);
	if (a != NULL) {
		char *copy = strcmp(a->sentence, sentence) != 0 ? strdup(sentence) : NULL;
		if (copy != NULL) {
			free(a->sentence);
			a->sentence = copy;
		}
		return false;
	}
	bool kept = add_active(h, code, name, sentence) != NULL;
	if (!kept)
		log_err("health", "no room to keep [%s]", health_condition(code)->code);
	tell(h, HEALTH_EVENT_RAISED, code, name, sentence);
	return kept;
}

static void
clear_one(struct health *h, struct active *a)
{
	/* out of the list first: what tell() causes may raise it again */
	list_remove(&a->link);
	h->active_count--;
	tell(h, HEALTH_EVENT_CLEARED, a->code, a->object, a->sentence);
	free_active(a);
}

bool
health_clear(struct health *h, enum health_code code, const char *object)
{
	char name[HEALTH_OBJECT_MAX + 1];

	ASSERT(code < HEALTH_CODE_COUNT);
	health_text(name, sizeof name, object);
	struct active *a = find_active(h, code, name);
	if (a == NULL)
		return false;
	clear_one(h, a);
	return true;
}

unsigned
health_clear_all(struct health *h, enum health_code code)
{
	struct list mine;
	struct list *n;
	unsigned count = 0;

	ASSERT(code < HEALTH_CODE_COUNT);
	list_init(&mine);
	LIST_FOREACH_SAFE (pos, &h->active) {
		if (container_of(pos, struct active, link)->code != code)
			continue;
		list_remove(pos);
		list_push_back(&mine, pos);
	}
	while ((n = list_pop_front(&mine)) != NULL) {
		clear_one(h, container_of(n, struct active, link));
		count++;
	}
	return count;
}

/* The action of a condition with its object; NULL without memory. */
static char *
action_for(const struct health_condition *c, const char *object)
{
	static const char mark[] = "{object}";
	const char *at = strstr(c->action, mark);
	char *text;

	if (at == NULL)
		return strdup(c->action);
	/* two at most, as a test of the table says */
	const char *rest = at + sizeof mark - 1, *again = strstr(rest, mark);
	int rc = again == NULL
	             ? asprintf(&text, "%.*s%s%s", (int)(at - c->action), c->action, object, rest)
	             : asprintf(&text, "%.*s%s%.*s%s%s", (int)(at - c->action), c->action, object,
	                   (int)(again - rest), rest, object, again + sizeof mark - 1);
	return rc < 0 ? NULL : text;
}

unsigned
health_each(
    const struct health *h, void (*each)(void *ctx, const struct health_active *a), void *ctx)
{
	unsigned count = 0;

	for (int s = HEALTH_SEVERITY_COUNT - 1; s >= 0; s--) {
		LIST_FOREACH (n, &h->active) {
			const struct active *a = container_of(n, struct active, link);
			const struct health_condition *c = health_condition(a->code);
			if (c->severity != (enum health_severity)s)
				continue;
			struct health_active out = {
			    .condition = c,
			    .object = a->object,
			    .sentence = a->sentence,
			    .action = action_for(c, a->object),
			    .since_s = a->since_s,
			};
			each(ctx, &out);
			free(out.action);
			count++;
		}
	}
	return count;
}

enum health_severity
health_worst(const struct health *h)
{
	enum health_severity worst = HEALTH_REMARK;

	LIST_FOREACH (n, &h->active) {
		enum health_severity s =
		    health_condition(container_of(n, struct active, link)->code)->severity;
		if (s > worst)
			worst = s;
	}
	return worst;
}

const char *
health_state(const struct health *h)
{
	enum health_severity worst = health_worst(h);
	return worst == HEALTH_REMARK ? "ok" : health_severity_name(worst);
}

/* ---- history --------------------------------------------------------------------------------------- */

void
health_history_add(struct health *h, const struct health_order *o)
{
	char user[HEALTH_OBJECT_MAX + 1], command[HEALTH_TEXT_MAX + 1], result[HEALTH_TEXT_MAX + 1];

	health_text(user, sizeof user, o->user);
	health_text(command, sizeof command, o->command);
	health_text(result, sizeof result, o->result);
	json_t *line =
	    json_pack("{s:I, s:I, s:s, s:s, s:s}", "time", (json_int_t)loop_wall_s(h->loop), "uid",
	        (json_int_t)o->uid, "user", user, "command", command, "result", result);
	char *text = json_dumps(line, JSON_COMPACT);
	json_decref(line);
	if (text == NULL) {
		log_err("health", "no memory to note an order of %s: %s", user, command);
		return;
	}
	journal_append(&h->history_log, text, strlen(text));
	ring_push(&h->history, 0, text);
}

int
health_set_hooks(struct health *h, const struct health_hook *hooks, unsigned count)
{
	return hooks_set(h->hooks, hooks, count);
}
