/* SPDX-License-Identifier: BSD-2-Clause */
/* What is told of health as JSON: put aside on the loop, turned into JSON wherever there is time. */
#include <stdlib.h>
#include <string.h>

#include "health/health_priv.h"

enum what { CONDITIONS, EVENTS, HISTORY };

struct health_copy {
	enum what what;
	unsigned count;
	/* of events and orders */
	char **lines;
	uint64_t next, lost;
	/* of conditions */
	const char *state;
	struct health_active *active; /* with strings of their own */
};

static struct health_copy *
create(enum what what, unsigned count)
{
	struct health_copy *c = calloc(1, sizeof *c);
	if (c == NULL)
		return NULL;
	c->what = what;
	if (what == CONDITIONS)
		c->active = calloc(count + 1u, sizeof *c->active);
	else
		c->lines = calloc(count + 1u, sizeof(char *));
	if (c->active != NULL || c->lines != NULL)
		return c;
	free(c);
	return NULL;
}

void
health_copy_destroy(struct health_copy *c)
{
	if (c == NULL)
		return;
	for (unsigned i = 0; i < c->count; i++) {
		if (c->lines != NULL) {
			free(c->lines[i]);
			continue;
		}
		free((char *)(uintptr_t)c->active[i].object);
		free((char *)(uintptr_t)c->active[i].sentence);
		free(c->active[i].action);
	}
	free(c->lines);
	free(c->active);
	free(c);
}

unsigned
health_copy_count(const struct health_copy *c)
{
	return c->count;
}

/* ---- lines -------------------------------------------------------------------------------------- */

static struct health_copy *
copy_lines(enum what what, const struct ring *r, unsigned first, unsigned limit)
{
	unsigned count = r->count - first < limit ? r->count - first : limit;
	struct health_copy *c = create(what, count);

	for (unsigned i = 0; c != NULL && i < count; i++) {
		const struct ring_line *l = ring_at(r, first + i);
		c->lines[i] = strdup(l->text);
		if (c->lines[i] == NULL) {
			health_copy_destroy(c);
			return NULL;
		}
		c->count++;
		c->next = l->id;
	}
	return c;
}

/* Where to begin for `since`, and how many are lost. Ids grow: the place is searched by halves. */
static unsigned
first_after(const struct health *h, uint64_t since, unsigned limit, uint64_t *ret_lost)
{
	unsigned low = 0, high = h->events.count;

	*ret_lost = 0;
	if (since == 0 || since > h->last_id)
		return high > limit ? high - limit : 0;
	if (high > 0 && ring_at(&h->events, 0)->id > since + 1)
		*ret_lost = ring_at(&h->events, 0)->id - since - 1;
	while (low < high) {
		unsigned middle = low + (high - low) / 2;
		if (ring_at(&h->events, middle)->id <= since)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct health_copy *
health_copy_events(const struct health *h, uint64_t since, unsigned limit)
{
	uint64_t lost;
	unsigned first = first_after(h, since, limit, &lost);
	struct health_copy *c = copy_lines(EVENTS, &h->events, first, limit);

	if (c == NULL)
		return NULL;
	c->lost = lost;
	if (c->count == 0)
		c->next = since > h->last_id ? 0 : since;
	return c;
}

struct health_copy *
health_copy_history(const struct health *h, unsigned limit)
{
	unsigned count = h->history.count;
	return copy_lines(HISTORY, &h->history, count > limit ? count - limit : 0, limit);
}

/* ---- conditions ------------------------------------------------------------------------------------ */

struct copying {
	struct health_copy *c;
	bool failed;
};

static void
copy_one(void *ctx, const struct health_active *a)
{
	struct copying *k = ctx;
	if (k->failed)
		return;
	struct health_active *to = &k->c->active[k->c->count++];
	*to = *a;
	to->object = strdup(a->object);
	to->sentence = strdup(a->sentence);
	to->action = a->action != NULL ? strdup(a->action) : NULL;
	k->failed =
	    to->object == NULL || to->sentence == NULL || (a->action != NULL && to->action == NULL);
}

struct health_copy *
health_copy_conditions(const struct health *h)
{
	struct copying k = {.c = create(CONDITIONS, h->active_count)};

	if (k.c == NULL)
		return NULL;
	k.c->state = health_state(h);
	health_each(h, copy_one, &k);
	if (k.failed) {
		health_copy_destroy(k.c);
		return NULL;
	}
	return k.c;
}

static json_t *
condition_json(const struct health_active *a)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:I, s:s, s:s, s:s}", "code", a->condition->code,
	    "name", a->condition->name, "severity", health_severity_name(a->condition->severity),
	    "object", a->object, "since", (json_int_t)a->since_s, "sentence", a->sentence, "effect",
	    a->condition->effect, "action", a->action != NULL ? a->action : a->condition->action);
}

/* ---- JSON ------------------------------------------------------------------------------------------ */

json_t *
health_copy_json(const struct health_copy *c)
{
	json_t *list = json_array();

	for (unsigned i = 0; list != NULL && i < c->count; i++)
		json_array_append_new(list, c->what == CONDITIONS
		                                ? condition_json(&c->active[i])
		                                : json_loads(c->lines[i], 0, NULL));
	if (c->what == CONDITIONS)
		return json_pack("{s:s, s:o}", "state", c->state, "conditions", list);
	if (c->what == EVENTS)
		return json_pack("{s:o, s:I, s:I}", "events", list, "next", (json_int_t)c->next,
		    "lost", (json_int_t)c->lost);
	return list;
}

/* Takes the copy. */
static json_t *
json_of(struct health_copy *c)
{
	json_t *j = c != NULL ? health_copy_json(c) : NULL;
	health_copy_destroy(c);
	return j;
}

json_t *
health_events(const struct health *h, uint64_t since, unsigned limit)
{
	return json_of(health_copy_events(h, since, limit));
}

json_t *
health_history(const struct health *h, unsigned limit)
{
	return json_of(health_copy_history(h, limit));
}

json_t *
health_json(const struct health *h)
{
	return json_of(health_copy_conditions(h));
}
