/* SPDX-License-Identifier: BSD-2-Clause */
/* The markers of the stores: durable when they say so, after a while. See world_priv.h. */
#include "tests/cachesim/world_priv.h"

static void
marker_fires(struct loop_timer *t)
{
	struct marker *m = container_of(t, struct marker, timer);
	m->busy = false;
	if (m->got != NULL) {
		void (*got)(void *, int, const struct cache_marker *) = m->got;
		struct cache_marker copy = m->now;
		m->got = NULL;
		got(m->ctx, 0, &copy);
		return;
	}
	m->now = m->next;
	m->w->events++;
	m->done(m->ctx, 0);
}

static void
marker_start(struct marker *m)
{
	ASSERT(!m->busy);
	m->busy = true;
	loop_timer_init(&m->timer, m->w->loops[0], marker_fires);
	loop_timer_set(&m->timer, 1000 * (1 + rng_below(&m->w->rng, 50)));
}

static void
marker_get(
    void *ctx, void (*done)(void *ctx, int result, const struct cache_marker *m), void *done_ctx)
{
	struct marker *m = ctx;
	m->got = done;
	m->ctx = done_ctx;
	marker_start(m);
}

static void
marker_set(void *ctx, const struct cache_marker *n, cache_done_fn *done, void *done_ctx)
{
	struct marker *m = ctx;
	m->next = *n;
	m->done = done;
	m->ctx = done_ctx;
	marker_start(m);
}

const struct cache_marker_ops marker_ops = {marker_get, marker_set};
