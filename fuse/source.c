/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Answers of the control socket by what was asked, kept for CACHED_MS from when they came: an answer that
 * took longer than that to make and to read would otherwise be for one reader, and so would be the next.
 * Those who want the same at the same time get the same answer.
 *
 * What the daemon measures once a second is kept until it has measured again: asked before that, it would say
 * the same.
 *
 * An answer about a thousand objects costs the daemon's helper threads and us a tenth of a second of processor
 * time, if it has their statistics. Who reads these in a loop would keep a processor busy that initiators need:
 * they are asked for again only after a rest of several times that cost.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "fuse/terrace_fuse.h"

#define BUCKETS 1024u
#define SWEEP_MS 1000u
#define KEEP_MS 1000u /* as old as any wish allows, and any rest is long */
/* The rest: about three times what it costs, and never so long that a reader isn't answered in time. */
#define OBJECTS_PER_REST_MS 4u
#define REST_MAX_MS KEEP_MS
#define MEASURE_EVERY_MS 1000u /* the daemon, all LUNs */

struct asked {
	struct list link;
	struct source *source;
	char *key;
	char *method;
	json_t *params;
	struct rpc_call call;
	bool is_asking;
	uint64_t asked_ms;  /* when the last one was asked */
	uint64_t of_ms;     /* when the one was asked whose answer there is */
	uint64_t came_ms;   /* when that came */
	uint64_t rest_ms;   /* from then on, no other one is asked */
	uint64_t same_ms;   /* from of_ms on, another one would say the same */
	struct timer again; /* the end of the rest, if somebody waits for it */
	json_t *answer;     /* of it; NULL: none, or an error */
	struct list wishes; /* for what is being asked */
	struct list late;   /* for the next one: that was asked too long ago */
};

struct source {
	struct events *ev;
	struct rpc *rpc;
	struct timer sweep;
	uint64_t expired_ms; /* what was asked before is not given */
	struct list buckets[BUCKETS];
};

static unsigned
hash(const char *key)
{
	uint32_t h = 2166136261u;
	for (; *key != '\0'; key++)
		h = (h ^ (uint8_t)*key) * 16777619u;
	return h % BUCKETS;
}

/* ---- asking ---------------------------------------------------------------------------------------- */

static void ask(struct asked *a);
static void ask_after_rest(struct asked *a);

static void
forget(struct asked *a)
{
	list_remove(&a->link);
	timer_cancel(&a->again);
	json_decref(a->answer);
	json_decref(a->params);
	free(a->method);
	free(a->key);
	free(a);
}

/* How long the daemon may rest after an answer: by the longest list of statistics in it. */
static uint64_t
rest_of(const struct asked *a)
{
	static const char *const costly[] = {"lun.stats", "overview"};
	size_t most = json_array_size(a->answer);
	bool costs = false;
	const char *key;
	json_t *value;

	for (size_t i = 0; i < sizeof costly / sizeof costly[0]; i++)
		costs |= strcmp(a->method, costly[i]) == 0;
	json_object_foreach(a->answer, key, value) if (json_array_size(value) > most) most =
	    json_array_size(value);
	uint64_t rest_ms = costs ? most / OBJECTS_PER_REST_MS : 0;
	return rest_ms < REST_MAX_MS ? rest_ms : REST_MAX_MS;
}

/* How long it will be before all of these statistics have been measured anew: 0, where that isn't known. */
static uint64_t
same_for(const struct asked *a)
{
	json_int_t oldest_ms = -1;
	size_t i;
	json_t *o;

	/* Of one LUN there is more that people look at: whether it is well, for one. */
	if (strcmp(a->method, "lun.stats") != 0 || json_object_size(a->params) > 0)
		return 0;
	json_array_foreach(a->answer, i, o)
	{
		json_int_t age_ms = json_number(o, "age_ms", -1);
		if (age_ms > oldest_ms)
			oldest_ms = age_ms;
	}
	bool soon = oldest_ms < 0 || oldest_ms >= (json_int_t)MEASURE_EVERY_MS;
	return soon ? 0 : MEASURE_EVERY_MS - (uint64_t)oldest_ms;
}

static void
on_answer(struct rpc_call *c)
{
	struct asked *a = container_of(c, struct asked, call);
	struct list wishes;

	a->is_asking = false;
	events_look_at_clock(a->source->ev); /* reading it may have taken long */
	a->came_ms = a->source->ev->now_ms;
	a->of_ms = a->asked_ms;
	json_decref(a->answer);
	a->answer = c->err == 0 ? json_incref(c->result) : NULL;
	a->rest_ms = a->answer != NULL ? rest_of(a) : 0;
	a->same_ms = a->answer != NULL ? same_for(a) : 0;
	json_t *answer = json_incref(a->answer);
	list_init(&wishes);
	list_splice_back(&wishes, &a->wishes);
	/* Without an answer the others wouldn't get one either. */
	if (c->err == 0)
		list_splice_back(&a->wishes, &a->late);
	else
		list_splice_back(&wishes, &a->late);
	if (!list_empty(&a->wishes))
		ask_after_rest(a);
	int err = c->err; /* the call may be under way again */
	struct list *n;
	while ((n = list_pop_front(&wishes)) != NULL) {
		struct wish *w = container_of(n, struct wish, link);
		w->done(w, err, answer);
	}
	json_decref(answer);
	if (!a->is_asking && json_object_get(a->params, "from") != NULL) {
		json_decref(a->answer);
		a->answer = NULL;
	}
}

static void
ask(struct asked *a)
{
	ASSERT(!a->is_asking);
	a->is_asking = true;
	a->asked_ms = a->source->ev->now_ms;
	a->call.done = on_answer;
	rpc_submit(a->source->rpc, &a->call, a->method, json_incref(a->params), ANSWER_TIMEOUT_MS);
}

static void
on_rest_end(struct timer *t)
{
	struct asked *a = container_of(t, struct asked, again);

	if (!a->is_asking && !list_empty(&a->wishes))
		ask(a);
}

/* At once, if it rested long enough, or something has been changed since. */
static void
ask_after_rest(struct asked *a)
{
	struct source *s = a->source;
	uint64_t from_ms = a->came_ms + a->rest_ms;

	if (s->ev->now_ms >= from_ms || a->asked_ms < s->expired_ms) {
		timer_cancel(&a->again);
		ask(a);
	} else if (list_empty(&a->again.link)) {
		timer_set(s->ev, &a->again, (unsigned)(from_ms - s->ev->now_ms));
	}
}

static void
on_sweep(struct timer *t)
{
	struct source *s = container_of(t, struct source, sweep);

	for (unsigned i = 0; i < BUCKETS; i++) {
		LIST_FOREACH_SAFE (n, &s->buckets[i]) {
			struct asked *a = container_of(n, struct asked, link);
			if (!a->is_asking && list_empty(&a->wishes) &&
			    s->ev->now_ms - a->came_ms > KEEP_MS)
				forget(a);
		}
	}
	for (unsigned i = 0; i < BUCKETS; i++)
		if (!list_empty(&s->buckets[i]))
			timer_set(s->ev, &s->sweep, SWEEP_MS);
}

/* The question: takes `params`. NULL: no memory. */
static struct asked *
find(struct source *s, const char *method, json_t *params)
{
	char *text =
	    params != NULL ? json_dumps(params, JSON_COMPACT | JSON_SORT_KEYS) : strdup("");
	size_t cap = text != NULL ? strlen(method) + strlen(text) + 2 : 0;
	char *key = text != NULL ? malloc(cap) : NULL;
	struct asked *found = NULL;

	if (key != NULL) {
		snprintf(key, cap, "%s %s", method, text);
		LIST_FOREACH (n, &s->buckets[hash(key)]) {
			struct asked *a = container_of(n, struct asked, link);
			if (strcmp(a->key, key) == 0)
				found = a;
		}
	}
	free(text);
	if (key != NULL && found == NULL && (found = calloc(1, sizeof *found)) != NULL) {
		found->source = s;
		found->key = key;
		found->method = strndup(method, strcspn(method, " "));
		found->params = json_incref(params);
		list_init(&found->wishes);
		list_init(&found->late);
		list_init(&found->link);
		timer_init(&found->again, on_rest_end);
		list_push_back(&s->buckets[hash(key)], &found->link);
		key = NULL;
		if (list_empty(&s->sweep.link))
			timer_set(s->ev, &s->sweep, SWEEP_MS);
	}
	free(key);
	json_decref(params);
	if (found != NULL && found->method == NULL) {
		forget(found);
		return NULL;
	}
	return found;
}

/* Whether the answer that there is will do. */
static bool
has_answer(const struct source *s, const struct asked *a, unsigned max_age_ms)
{
	uint64_t limit_ms = max_age_ms > CACHED_MS ? max_age_ms : CACHED_MS;

	if (a->answer == NULL || a->of_ms < s->expired_ms)
		return false;
	return s->ev->now_ms - a->came_ms <= limit_ms || s->ev->now_ms - a->of_ms < a->same_ms;
}

/* Whether the one that is being asked for will. */
static bool
will_have_answer(const struct source *s, const struct asked *a)
{
	return s->ev->now_ms - a->asked_ms <= CACHED_MS && a->asked_ms >= s->expired_ms;
}

void
source_get(struct source *s, struct wish *w, const struct gather_need *need)
{
	struct asked *a = find(s, need->method, need->params);

	list_init(&w->link);
	if (a == NULL) {
		w->done(w, -ENOMEM, NULL);
	} else if (has_answer(s, a, need->max_age_ms)) {
		json_t *answer = json_incref(a->answer);
		w->done(w, 0, answer);
		json_decref(answer);
	} else if (a->is_asking) {
		list_push_back(will_have_answer(s, a) ? &a->wishes : &a->late, &w->link);
	} else {
		list_push_back(&a->wishes, &w->link);
		ask_after_rest(a);
	}
}

void
source_forget(struct wish *w)
{
	list_remove(&w->link);
}

void
source_expire(struct source *s)
{
	s->expired_ms = s->ev->now_ms + 1;
}

int
source_create(struct events *ev, struct rpc *rpc, struct source **ret)
{
	struct source *s = calloc(1, sizeof *s);
	if (s == NULL)
		return -ENOMEM;
	s->ev = ev;
	s->rpc = rpc;
	timer_init(&s->sweep, on_sweep);
	for (unsigned i = 0; i < BUCKETS; i++)
		list_init(&s->buckets[i]);
	*ret = s;
	return 0;
}

void
source_destroy(struct source *s)
{
	if (s == NULL)
		return;
	timer_cancel(&s->sweep);
	for (unsigned i = 0; i < BUCKETS; i++) {
		LIST_FOREACH_SAFE (n, &s->buckets[i]) {
			struct asked *a = container_of(n, struct asked, link);
			if (a->is_asking)
				rpc_cancel(s->rpc, &a->call);
			forget(a);
		}
	}
	free(s);
}

/* ---- several at once ------------------------------------------------------------------------------- */

static void
gather_end(struct gather *g)
{
	json_t *answers[GATHER_MAX];
	unsigned count = g->count;

	for (unsigned i = 0; i < count; i++)
		answers[i] = g->parts[i].answer;
	g->done(g); /* it may be gone now */
	for (unsigned i = 0; i < count; i++)
		json_decref(answers[i]);
}

static void
on_part(struct wish *w, int err, json_t *answer)
{
	struct part *p = container_of(w, struct part, wish);
	struct gather *g = p->gather;

	p->answer = json_incref(answer);
	if (err < 0 && g->err == 0)
		g->err = err;
	if (--g->left == 0)
		gather_end(g);
}

void
gather_init(struct gather *g, void (*done)(struct gather *g))
{
	*g = (struct gather){.done = done};
	for (unsigned i = 0; i < GATHER_MAX; i++) {
		list_init(&g->parts[i].wish.link);
		g->parts[i].gather = g;
		g->parts[i].wish.done = on_part;
	}
}

void
gather_start(struct gather *g, struct source *s, const struct gather_need *needs, unsigned count)
{
	ASSERT(count <= GATHER_MAX);
	g->count = count;
	g->left = count + 1; /* of our own: done runs once, whatever comes at once */
	for (unsigned i = 0; i < count; i++)
		source_get(s, &g->parts[i].wish, &needs[i]);
	if (--g->left == 0)
		gather_end(g);
}

void
gather_cancel(struct gather *g)
{
	for (unsigned i = 0; i < g->count; i++) {
		source_forget(&g->parts[i].wish);
		json_decref(g->parts[i].answer);
		g->parts[i].answer = NULL;
	}
}
