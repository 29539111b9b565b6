/* SPDX-License-Identifier: BSD-2-Clause */
/* loop/loop.h: deferred calls, timers, hooks, buffers, rest. */
#include "loop_fixture.h"

#include <sys/eventfd.h>
#include <unistd.h>

static char trace[256];
static struct loop *tl;

static void
note(char c)
{
	size_t n = strlen(trace);
	assert_true(n + 1 < sizeof trace);
	trace[n] = c;
	trace[n + 1] = '\0';
}

static void
reset(struct fixture *f)
{
	trace[0] = '\0';
	tl = f->l;
}

/* An action that notes a letter, then does what its test wants. */
struct act {
	struct loop_defer d;
	char c;
	void (*more)(struct act *a);
	struct act *next;
};

static void
act_run(struct loop_defer *d)
{
	struct act *a = container_of(d, struct act, d);
	note(a->c);
	if (a->more)
		a->more(a);
}

static void
act_init(struct act *a, char c, void (*more)(struct act *a))
{
	*a = (struct act){.c = c, .more = more};
	loop_defer_init(&a->d, act_run);
}

static void
act_stop(struct act *a)
{
	(void)a;
	loop_stop(tl);
}

static void
act_defer_next(struct act *a)
{
	loop_defer(tl, &a->next->d);
	note('(');
}

static void
deferred_calls_run_in_order_and_after_their_caller(void **state)
{
	struct fixture *f = *state;
	reset(f);
	struct act a, b, c;
	act_init(&a, 'a', act_defer_next);
	act_init(&b, 'b', NULL);
	act_init(&c, 'c', act_stop);
	a.next = &c;
	loop_defer(f->l, &a.d);
	assert_true(loop_defer_queued(&a.d));
	loop_defer(f->l, &b.d);
	fixture_run(f);
	assert_string_equal(trace, "a(bc");
	assert_false(loop_defer_queued(&a.d));
}

static void
cancelled_deferred_call_does_not_run(void **state)
{
	struct fixture *f = *state;
	reset(f);
	struct act a, b;
	act_init(&a, 'a', NULL);
	act_init(&b, 'b', act_stop);
	loop_defer(f->l, &a.d);
	loop_defer(f->l, &b.d);
	loop_defer_cancel(&a.d);
	loop_defer_cancel(&a.d);
	fixture_run(f);
	assert_string_equal(trace, "b");
}

static void
act_next_turn(struct act *a)
{
	struct loop_stats st;
	loop_get_stats(tl, &st);
	note((char)('0' + st.turns));
	if (a->next)
		loop_next_turn(tl, &a->next->d);
	else
		loop_stop(tl);
}

static void
next_turn_runs_one_turn_later_without_sleep(void **state)
{
	struct fixture *f = *state;
	reset(f);
	struct act a, b, c;
	act_init(&a, 'a', act_next_turn);
	act_init(&b, 'b', act_next_turn);
	act_init(&c, 'c', act_next_turn);
	a.next = &b;
	b.next = &c;
	loop_defer(f->l, &a.d);
	fixture_run(f);
	assert_string_equal(trace, "a1b2c3");
	struct loop_stats st;
	loop_get_stats(f->l, &st);
	assert_int_equal(st.sleeps, 0);
}

struct hook {
	struct loop_hook h;
	char c;
	unsigned runs;
	struct act *defer_once;
	struct hook *remove;
};

static void
hook_run(struct loop_hook *lh)
{
	struct hook *h = container_of(lh, struct hook, h);
	h->runs++;
	note(h->c);
	if (h->defer_once) {
		loop_defer(tl, &h->defer_once->d);
		h->defer_once = NULL;
	}
	if (h->remove)
		loop_hook_remove(&h->remove->h);
}

static void
hooks_run_at_the_end_and_again_for_what_they_defer(void **state)
{
	struct fixture *f = *state;
	reset(f);
	struct act a, b;
	act_init(&a, 'a', NULL);
	act_init(&b, 'b', act_stop);
	struct hook h = {.h.run = hook_run, .c = 'h', .defer_once = &b};
	loop_hook_add(f->l, &h.h);
	loop_defer(f->l, &a.d);
	fixture_run(f);
	assert_string_equal(trace, "ahbh");
	struct loop_stats st;
	loop_get_stats(f->l, &st);
	assert_int_equal(st.turns, 1);
	loop_hook_remove(&h.h);
}

static void
hook_may_remove_itself_and_others(void **state)
{
	struct fixture *f = *state;
	reset(f);
	struct act a;
	act_init(&a, 'a', act_stop);
	struct hook x = {.h.run = hook_run, .c = 'x'}, y = {.h.run = hook_run, .c = 'y'},
	            z = {.h.run = hook_run, .c = 'z'};
	y.remove = &z;
	x.remove = &x;
	loop_hook_add(f->l, &x.h);
	loop_hook_add(f->l, &y.h);
	loop_hook_add(f->l, &z.h);
	loop_defer(f->l, &a.d);
	fixture_run(f);
	assert_string_equal(trace, "axy");
	loop_hook_remove(&y.h);
}

/* ---- timers ---- */

struct tick {
	struct loop_timer t;
	char c;
	uint64_t fired_ns;
	bool last;
};

static void
tick_fire(struct loop_timer *t)
{
	struct tick *k = container_of(t, struct tick, t);
	note(k->c);
	k->fired_ns = loop_clock_ns(t->loop);
	assert_false(loop_timer_armed(t));
	if (k->last)
		loop_stop(t->loop);
}

static void
timers_fire_by_deadline_not_early(void **state)
{
	struct fixture *f = *state;
	reset(f);
	struct tick k[4];
	static const unsigned after_ms[4] = {30, 10, 20, 5};
	for (unsigned i = 0; i < 4; i++) {
		k[i] = (struct tick){.c = (char)('0' + i), .last = i == 0};
		loop_timer_init(&k[i].t, f->l, tick_fire);
		loop_timer_set(&k[i].t, after_ms[i] * MS);
		assert_true(loop_timer_armed(&k[i].t));
	}
	uint64_t deadline = k[0].t.deadline_ns;
	loop_timer_cancel(&k[3].t);
	assert_false(loop_timer_armed(&k[3].t));
	fixture_run(f);
	assert_string_equal(trace, "120");
	assert_true(k[0].fired_ns >= deadline);
}

static void
timer_set_again_moves(void **state)
{
	struct fixture *f = *state;
	reset(f);
	struct tick a = {.c = 'a', .last = true}, b = {.c = 'b'};
	loop_timer_init(&a.t, f->l, tick_fire);
	loop_timer_init(&b.t, f->l, tick_fire);
	loop_timer_set(&a.t, 1 * MS);
	loop_timer_set(&b.t, 2 * MS);
	loop_timer_set(&a.t, 4 * MS);
	fixture_run(f);
	assert_string_equal(trace, "ba");
}

static unsigned again_count;

static void
again_fire(struct loop_timer *t)
{
	struct loop_stats st;
	loop_get_stats(t->loop, &st);
	assert_int_equal(st.turns, ++again_count);
	if (again_count == 5)
		loop_stop(t->loop);
	else
		loop_timer_set(t, 0);
}

static void
timer_without_delay_waits_for_the_next_turn(void **state)
{
	struct fixture *f = *state;
	reset(f);
	again_count = 0;
	struct loop_timer t;
	loop_timer_init(&t, f->l, again_fire);
	loop_timer_set(&t, 0);
	fixture_run(f);
	assert_int_equal(again_count, 5);
}

#define MANY 5000
static uint64_t many_last_ns;
static unsigned many_left;

static void
many_fire(struct loop_timer *t)
{
	assert_true(t->deadline_ns >= many_last_ns);
	many_last_ns = t->deadline_ns;
	if (--many_left == 0)
		loop_stop(t->loop);
}

static void
many_timers_fire_in_order(void **state)
{
	struct fixture *f = *state;
	reset(f);
	static struct loop_timer t[MANY];
	many_last_ns = 0;
	many_left = 0;
	uint64_t x = 12345;
	for (unsigned i = 0; i < MANY; i++) {
		x = x * 6364136223846793005ull + 1442695040888963407ull;
		loop_timer_init(&t[i], f->l, many_fire);
		loop_timer_set(&t[i], (x >> 33) % (20 * MS));
	}
	for (unsigned i = 0; i < MANY; i += 3)
		loop_timer_cancel(&t[i]);
	for (unsigned i = 0; i < MANY; i++)
		many_left += loop_timer_armed(&t[i]);
	fixture_run(f);
	assert_int_equal(many_left, 0);
}

/* ---- buffers ---- */

struct waiter {
	struct loop_bufwait w;
	char c;
	size_t want;
	void *got;
};

static void
waiter_retry(struct loop_bufwait *w)
{
	struct waiter *x = container_of(w, struct waiter, w);
	x->got = loop_buf_get(tl, x->want);
	note(x->c);
	if (!x->got)
		loop_bufwait_queue(tl, w);
}

static void *held[4];

static void
put_small_then_all(struct act *a)
{
	/* The first waiter wants 1 MiB: half of that isn't enough, and nobody overtakes it. */
	if (!a->next) {
		loop_buf_put(tl, held[0], 512 * 1024);
		assert_null(loop_buf_get(tl, 4096));
		static struct act again;
		act_init(&again, '|', put_small_then_all);
		again.next = a;
		loop_next_turn(tl, &again.d);
		return;
	}
	loop_buf_put(tl, held[1], 512 * 1024);
	loop_stop(tl);
}

static void
waiters_for_buffers_are_served_in_order(void **state)
{
	struct fixture *f = *state;
	reset(f);
	void *big[3];
	for (unsigned i = 0; i < 3; i++)
		big[i] = loop_buf_get(f->l, 1 << 20);
	held[0] = loop_buf_get(f->l, 512 * 1024);
	held[1] = loop_buf_get(f->l, 512 * 1024);
	assert_null(loop_buf_get(f->l, 4096));
	struct waiter x = {.c = 'x', .want = 1 << 20}, y = {.c = 'y', .want = 4096};
	loop_bufwait_init(&x.w, waiter_retry);
	loop_bufwait_init(&y.w, waiter_retry);
	loop_bufwait_queue(f->l, &x.w);
	loop_bufwait_queue(f->l, &y.w);
	struct act a;
	act_init(&a, 'a', put_small_then_all);
	loop_defer(f->l, &a.d);
	fixture_run(f);
	assert_string_equal(trace, "ax|xy");
	assert_non_null(x.got);
	assert_null(y.got);
	loop_bufwait_cancel(&y.w);
	loop_buf_put(f->l, x.got, 1 << 20);
	for (unsigned i = 0; i < 3; i++)
		loop_buf_put(f->l, big[i], 1 << 20);
}

static void
cancel_first_waiter(struct act *a)
{
	(void)a;
	loop_buf_put(tl, held[0], 512 * 1024);
}

static struct waiter *to_cancel;

static void
cancel_in_next_turn(struct act *a)
{
	(void)a;
	loop_bufwait_cancel(&to_cancel->w);
	loop_stop(tl);
}

static void
cancelled_waiter_lets_the_next_one_try(void **state)
{
	struct fixture *f = *state;
	reset(f);
	void *big[3];
	for (unsigned i = 0; i < 3; i++)
		big[i] = loop_buf_get(f->l, 1 << 20);
	held[0] = loop_buf_get(f->l, 512 * 1024);
	held[1] = loop_buf_get(f->l, 512 * 1024);
	struct waiter x = {.c = 'x', .want = 1 << 20}, y = {.c = 'y', .want = 4096};
	loop_bufwait_init(&x.w, waiter_retry);
	loop_bufwait_init(&y.w, waiter_retry);
	loop_bufwait_queue(f->l, &x.w);
	loop_bufwait_queue(f->l, &y.w);
	struct act a, b;
	act_init(&a, 'a', cancel_first_waiter);
	act_init(&b, 'b', cancel_in_next_turn);
	to_cancel = &x;
	loop_defer(f->l, &a.d);
	loop_next_turn(f->l, &b.d);
	fixture_run(f);
	/* b runs in the first turn too, before the waiters: only y is left to try. */
	assert_string_equal(trace, "bay");
	assert_non_null(y.got);
	loop_buf_put(f->l, y.got, 4096);
	loop_buf_put(f->l, held[1], 512 * 1024);
	for (unsigned i = 0; i < 3; i++)
		loop_buf_put(f->l, big[i], 1 << 20);
}

/* ---- watches ---- */

struct watched {
	struct loop_watch w;
	unsigned calls;
};

static void
on_readable(struct loop_watch *w)
{
	struct watched *x = container_of(w, struct watched, w);
	uint64_t n;
	assert_int_equal(read(w->fd, &n, sizeof n), sizeof n);
	if (++x->calls == 3) {
		int fd = w->fd;
		loop_watch_stop(w);
		memset(x, 0xee, sizeof *x);
		x->calls = 3;
		close(fd);
		loop_stop(tl);
	}
}

static void
watch_reports_as_long_as_readable(void **state)
{
	struct fixture *f = *state;
	reset(f);
	/* A semaphore counts down: one edge, three reads. */
	int fd = eventfd(3, EFD_SEMAPHORE | EFD_CLOEXEC);
	assert_true(fd >= 0);
	struct watched x = {.calls = 0};
	assert_int_equal(loop_watch_start(f->l, &x.w, fd, on_readable), 0);
	fixture_run(f);
	assert_int_equal(x.calls, 3);
}

/* ---- rest ---- */

static struct loop_stats rest_before;
static struct tick rest_end;

static void
rest_begin(struct loop_timer *t)
{
	loop_get_stats(t->loop, &rest_before);
	loop_timer_set(&rest_end.t, 300 * MS);
}

/* A loop with nothing to do takes no turns: no timer of its own, no polling. */
static void
resting_loop_sleeps_once(void **state)
{
	struct fixture *f = *state;
	reset(f);
	/* Traffic first, so that it wants to spin. */
	struct loop_timer busy;
	again_count = 0;
	loop_timer_init(&busy, f->l, again_fire);
	loop_timer_set(&busy, 0);
	fixture_run(f);
	struct loop_timer begin;
	rest_end = (struct tick){.c = 'e', .last = true};
	loop_timer_init(&rest_end.t, f->l, tick_fire);
	loop_timer_init(&begin, f->l, rest_begin);
	loop_timer_set(&begin, 0);
	fixture_run(f);
	struct loop_stats st;
	loop_get_stats(f->l, &st);
	/* One sleep to the end; one more turn if the kernel woke it a little early. */
	assert_in_range(st.sleeps - rest_before.sleeps, 1, 3);
	assert_in_range(st.turns - rest_before.turns, 1, 4);
	assert_in_range(st.spins_missed - rest_before.spins_missed, 0, 1);
}

static void
act_take_long(struct act *a)
{
	uint64_t end_ns = loop_clock_ns(tl) + 20 * MS;
	while (loop_clock_ns(tl) < end_ns)
		;
	loop_timer_set(&rest_end.t, 300 * MS);
	(void)a;
}

/* What it does counts, not how long it sleeps in between or stands still. */
static void
longest_turn_is_known(void **state)
{
	struct fixture *f = *state;
	reset(f);
	struct act a;
	struct loop_stats st;
	act_init(&a, 'a', act_take_long);
	rest_end = (struct tick){.c = 'e', .last = true};
	loop_timer_init(&rest_end.t, f->l, tick_fire);
	loop_defer(f->l, &a.d);
	fixture_run(f);
	loop_get_stats(f->l, &st);
	assert_in_range(st.turn_max_ns, 20 * MS, 300 * MS - 1);
	uint64_t longest_ns = st.turn_max_ns;
	usleep(400000);
	act_init(&a, 'b', act_stop);
	loop_defer(f->l, &a.d);
	fixture_run(f);
	loop_get_stats(f->l, &st);
	assert_in_range(st.turn_max_ns, longest_ns, 400 * MS - 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    LOOP_TEST(deferred_calls_run_in_order_and_after_their_caller),
	    LOOP_TEST(cancelled_deferred_call_does_not_run),
	    LOOP_TEST(next_turn_runs_one_turn_later_without_sleep),
	    LOOP_TEST(hooks_run_at_the_end_and_again_for_what_they_defer),
	    LOOP_TEST(hook_may_remove_itself_and_others),
	    LOOP_TEST(timers_fire_by_deadline_not_early),
	    LOOP_TEST(timer_set_again_moves),
	    LOOP_TEST(timer_without_delay_waits_for_the_next_turn),
	    LOOP_TEST(many_timers_fire_in_order),
	    LOOP_TEST(waiters_for_buffers_are_served_in_order),
	    LOOP_TEST(cancelled_waiter_lets_the_next_one_try),
	    LOOP_TEST(watch_reports_as_long_as_readable),
	    LOOP_TEST(resting_loop_sleeps_once),
	    LOOP_TEST(longest_turn_is_known),
	};
	return RUN_ON_BOTH_BACKENDS(tests);
}
