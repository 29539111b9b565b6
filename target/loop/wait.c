/* SPDX-License-Identifier: BSD-2-Clause */
/* Between turns: the adaptive spin, then sleep. */
#include "loop/loop_priv.h"

/* A gap this many times the cap may still end within the cap once we spin: the wake-up from sleep
 * of this thread and, where the peer waits for us, of the peer's is part of it. */
#define GAP_FACTOR 4u
/* After misses the spin is left out 1, 3, 7 … this many times. */
#define SPIN_SKIP_MAX 255u
#define SPIN_CHECKS_PER_CLOCK 16u

static bool
want_spin(const struct loop *l, struct loop_gaps *g)
{
	if (l->spin_ns_max == 0 || g->last_ns / GAP_FACTOR >= l->spin_ns_max)
		return false;
	if (g->skip > 0) {
		g->skip--;
		return false;
	}
	return true;
}

static inline void
cpu_relax(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

/* Looks for arrivals without a system call. True when the next turn is due. */
static bool
spin(struct loop *l, uint64_t from_ns)
{
	uint64_t timer_ns = timer_heap_next_ns(&l->timers);
	uint64_t until_ns = from_ns + l->spin_ns_max;
	for (;;) {
		for (unsigned i = 0; i < SPIN_CHECKS_PER_CLOCK; i++) {
			if (mailbox_waiting(&l->mailbox) || l->ops->peek(l)) {
				return true;
			}
			cpu_relax();
		}
		uint64_t now = l->ops->clock_ns(l);
		if (now >= timer_ns)
			return true;
		if (now >= until_ns)
			break;
	}
	return false;
}

/*
 * Was it worth it? A spin of more than half the cap costs more than a sleep and a wake-up, whether or
 * not something came in the end: a paced load would otherwise keep a core busy with waiting.
 */
static void
judge_spin(struct loop *l, struct loop_gaps *g, bool hit, uint64_t took_ns)
{
	if (hit)
		LOOP_STAT_ADD(l, spins_hit);
	else
		LOOP_STAT_ADD(l, spins_missed);
	if (hit && took_ns <= l->spin_ns_max / 2) {
		g->skip_len = 0;
		return;
	}
	g->skip_len = g->skip_len * 2 + 1;
	if (g->skip_len > SPIN_SKIP_MAX)
		g->skip_len = SPIN_SKIP_MAX;
	g->skip = g->skip_len;
}

/*
 * Nothing is left to do. Spinning pays where the next arrival is nearer than a sleep and a wake-up
 * cost, so it is tried when the last gap was short, and less often the more attempts were in vain.
 * A loop at rest has long gaps: it sleeps at once, and for ever when no timer is armed. What a device
 * takes is known apart: an SSD that is too slow to be waited for says nothing of an initiator that
 * sends its next command as soon as it has the answer.
 */
void
loop_wait(struct loop *l)
{
	struct loop_gaps *g = &l->gaps[l->ops_busy > 0];
	uint64_t from_ns = l->ops->clock_ns(l);
	loop_note_turn(l, from_ns);
	if (want_spin(l, g)) {
		l->ops->submit(l);
		bool hit = spin(l, from_ns);
		uint64_t took_ns = l->ops->clock_ns(l) - from_ns;
		judge_spin(l, g, hit, took_ns);
		if (hit) {
			g->last_ns = took_ns;
			return;
		}
	}
	uint64_t timer_ns = timer_heap_next_ns(&l->timers);
	uint64_t now = l->ops->clock_ns(l);
	uint64_t timeout = UINT64_MAX;
	if (timer_ns != UINT64_MAX)
		timeout = timer_ns > now ? timer_ns - now : 0;
	if (timeout == 0 || !mailbox_sleep_begin(&l->mailbox)) {
		l->ops->submit(l);
		return;
	}
	LOOP_STAT_ADD(l, sleeps);
	l->ops->sleep(l, timeout);
	mailbox_sleep_end(&l->mailbox);
	g->last_ns = l->ops->clock_ns(l) - from_ns;
}
