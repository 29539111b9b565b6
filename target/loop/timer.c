/* SPDX-License-Identifier: BSD-2-Clause */
/* Timers: a binary heap over (deadline, order of setting), slots numbered from 1. */
#include <errno.h>
#include <stdlib.h>

#include "loop/loop_priv.h"

#define HEAP_CAP_START 1024u

int
timer_heap_init(struct timer_heap *h)
{
	*h = (struct timer_heap){.cap = HEAP_CAP_START};
	h->slots = malloc(h->cap * sizeof *h->slots);
	return h->slots ? 0 : -ENOMEM;
}

void
timer_heap_fini(struct timer_heap *h)
{
	free(h->slots);
	*h = (struct timer_heap){.cap = 0};
}

static bool
before(const struct timer_slot *a, const struct timer_slot *b)
{
	if (a->deadline_ns != b->deadline_ns)
		return a->deadline_ns < b->deadline_ns;
	return a->seq < b->seq;
}

static void
place(struct timer_heap *h, uint32_t idx, const struct timer_slot *s)
{
	h->slots[idx] = *s;
	s->timer->heap_idx = idx;
}

static void
sift_up(struct timer_heap *h, uint32_t idx, struct timer_slot s)
{
	while (idx > 1 && before(&s, &h->slots[idx / 2])) {
		place(h, idx, &h->slots[idx / 2]);
		idx /= 2;
	}
	place(h, idx, &s);
}

static void
sift_down(struct timer_heap *h, uint32_t idx, struct timer_slot s)
{
	for (;;) {
		uint32_t child = idx * 2;
		if (child > h->count)
			break;
		if (child < h->count && before(&h->slots[child + 1], &h->slots[child]))
			child++;
		if (before(&s, &h->slots[child]))
			break;
		place(h, idx, &h->slots[child]);
		idx = child;
	}
	place(h, idx, &s);
}

static void
heap_remove(struct timer_heap *h, uint32_t idx)
{
	ASSERT(idx >= 1);
	ASSERT(idx <= h->count);
	h->slots[idx].timer->heap_idx = 0;
	struct timer_slot last = h->slots[h->count--];
	if (idx > h->count)
		return;
	if (idx > 1 && before(&last, &h->slots[idx / 2]))
		sift_up(h, idx, last);
	else
		sift_down(h, idx, last);
}

static void
heap_add(struct timer_heap *h, struct loop_timer *t)
{
	if (h->count + 1 == h->cap) {
		/* Doubles at most a few times in a loop's life; timers are per connection. */
		ASSERT(h->cap <= UINT32_MAX / 2);
		struct timer_slot *slots = realloc(h->slots, (size_t)h->cap * 2 * sizeof *slots);
		ASSERT(slots);
		h->slots = slots;
		h->cap *= 2;
	}
	struct timer_slot s = {.deadline_ns = t->deadline_ns, .seq = h->seq++, .timer = t};
	h->count++;
	sift_up(h, h->count, s);
}

uint64_t
timer_heap_next_ns(const struct timer_heap *h)
{
	return h->count ? h->slots[1].deadline_ns : UINT64_MAX;
}

struct loop_timer *
timer_heap_pop_due(struct timer_heap *h, uint64_t now_ns, uint64_t seq_limit)
{
	if (h->count == 0 || h->slots[1].deadline_ns > now_ns || h->slots[1].seq >= seq_limit)
		return NULL;
	struct loop_timer *t = h->slots[1].timer;
	heap_remove(h, 1);
	return t;
}

void
loop_timer_init(struct loop_timer *t, struct loop *l, void (*fire)(struct loop_timer *t))
{
	*t = (struct loop_timer){.loop = l, .fire = fire};
}

void
loop_timer_set(struct loop_timer *t, uint64_t after_ns)
{
	struct loop *l = t->loop;
	loop_assert_owner(l);
	ASSERT(t->fire);
	if (t->heap_idx)
		heap_remove(&l->timers, t->heap_idx);
	uint64_t now = loop_now_ns(l);
	t->deadline_ns = after_ns < UINT64_MAX - now ? now + after_ns : UINT64_MAX;
	heap_add(&l->timers, t);
}

void
loop_timer_cancel(struct loop_timer *t)
{
	if (!t->heap_idx)
		return;
	loop_assert_owner(t->loop);
	heap_remove(&t->loop->timers, t->heap_idx);
}
