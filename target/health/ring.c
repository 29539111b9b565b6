/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdlib.h>

#include "base/assert.h"
#include "health/health_priv.h"

int
ring_init(struct ring *r, unsigned cap)
{
	ASSERT(cap > 0);
	*r = (struct ring){.cap = cap};
	r->lines = calloc(cap, sizeof *r->lines);
	return r->lines != NULL ? 0 : -ENOMEM;
}

void
ring_fini(struct ring *r)
{
	for (unsigned i = 0; i < r->count; i++)
		free(r->lines[(r->first + i) % r->cap].text);
	free(r->lines);
	*r = (struct ring){0};
}

void
ring_push(struct ring *r, uint64_t id, char *text)
{
	unsigned at = (r->first + r->count) % r->cap;

	if (r->count == r->cap) {
		free(r->lines[at].text);
		r->first = (r->first + 1) % r->cap;
	} else {
		r->count++;
	}
	r->lines[at] = (struct ring_line){.id = id, .text = text};
}

const struct ring_line *
ring_at(const struct ring *r, unsigned i)
{
	ASSERT(i < r->count);
	return &r->lines[(r->first + i) % r->cap];
}
