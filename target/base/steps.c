/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/steps.h"

#include "base/assert.h"

/* Undo the completed steps, last first; `at` ends on the step to name in messages. */
static void
undo_from(struct steps *s, size_t done)
{
	while (done > 0) {
		done--;
		if (s->table[done].undo)
			s->table[done].undo(s->ctx);
	}
}

static int
finish(struct steps *s, int result)
{
	s->running = false;
	s->result = result;
	if (s->finished)
		s->finished(s, result);
	return result;
}

/* Runs steps from `at` on until the end, a failure or a pending one. */
static int
advance(struct steps *s)
{
	while (s->at < s->count) {
		int r = s->table[s->at].action(s->ctx);
		ASSERT(r <= STEPS_PENDING);
		if (r == STEPS_PENDING)
			return STEPS_PENDING;
		if (r < 0) {
			undo_from(s, s->at);
			return finish(s, r);
		}
		s->at++;
	}
	return finish(s, 0);
}

int
steps_start(struct steps *s, const struct step *table, size_t count, void *ctx,
    void (*finished)(struct steps *s, int result))
{
	*s = (struct steps){
	    .table = table,
	    .count = count,
	    .running = true,
	    .ctx = ctx,
	    .finished = finished,
	};
	return advance(s);
}

void
steps_continue(struct steps *s, int result)
{
	ASSERT(s->running);
	ASSERT(s->at < s->count);
	ASSERT(result <= 0);
	if (result < 0) {
		undo_from(s, s->at);
		finish(s, result);
		return;
	}
	s->at++;
	advance(s);
}

void
steps_undo(struct steps *s)
{
	ASSERT(!s->running);
	/* A run that failed has undone itself. */
	size_t done = s->result == 0 ? s->at : 0;
	s->at = 0;
	undo_from(s, done);
}

const char *
steps_name(const struct steps *s)
{
	return s->at < s->count ? s->table[s->at].name : "done";
}
