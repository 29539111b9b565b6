/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Between turns: when waiting is worth it, and for how long. On a backend of the test's own: its clock moves
 * when it is read and when the loop sleeps, and arrivals come when the test says.
 */
#include "tests/cmocka_all.h"

#include <stdlib.h>

#include "loop/loop_priv.h"

#define US 1000ull
#define SPIN_NS (50 * US)
#define LOOK_NS 200ull /* between two looks at the clock */

static struct world {
	struct loop *l;
	uint64_t now_ns, arrival_ns;
	uint64_t spun_ns, slept;
} w;

static uint64_t
world_clock_ns(const struct loop *l)
{
	(void)l;
	return w.now_ns;
}

static bool
world_peek(struct loop *l)
{
	(void)l;
	w.now_ns += LOOK_NS / 16;
	w.spun_ns += LOOK_NS / 16;
	return w.now_ns >= w.arrival_ns;
}

static void
world_sleep(struct loop *l, uint64_t timeout_ns)
{
	(void)l;
	assert_int_equal(timeout_ns, UINT64_MAX);
	w.slept++;
	if (w.now_ns < w.arrival_ns)
		w.now_ns = w.arrival_ns;
}

static void
world_submit(struct loop *l)
{
	(void)l;
}

static const struct loop_ops world_ops = {
    .name = "test",
    .peek = world_peek,
    .sleep = world_sleep,
    .submit = world_submit,
    .clock_ns = world_clock_ns,
};

static int
setup(void **state)
{
	(void)state;
	w = (struct world){
	    .l = aligned_alloc(_Alignof(struct loop), sizeof *w.l), .now_ns = 1000 * US};
	assert_non_null(w.l);
	assert_int_equal(loop_init(w.l, &world_ops, 0, (size_t)1 << 20), 0);
	w.l->sim = true; /* no thread's: it is moved from here */
	w.l->spin_ns_max = SPIN_NS;
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	loop_fini(w.l);
	free(w.l);
	return 0;
}

/* The next arrival is so far from now; true if it was met without sleep. */
static bool
wait_for(uint64_t gap_ns)
{
	uint64_t slept = w.slept;
	w.arrival_ns = w.now_ns + gap_ns;
	loop_wait(w.l);
	assert_true(w.now_ns >= w.arrival_ns);
	return w.slept == slept;
}

static void
arrivals_in_quick_succession_are_waited_for(void **state)
{
	(void)state;
	(void)wait_for(10 * US); /* the first gap was for ever */
	for (int i = 0; i < 1000; i++)
		assert_true(wait_for(10 * US));
}

static void
a_pace_costs_hardly_any_spinning(void **state)
{
	(void)state;
	for (int i = 0; i < 1000; i++)
		(void)wait_for(49 * US);
	w.spun_ns = 0;
	uint64_t from_ns = w.now_ns;
	for (int i = 0; i < 10000; i++)
		(void)wait_for(49 * US);
	assert_true(w.spun_ns < (w.now_ns - from_ns) / 200);
}

/* What came late comes at once, and looks like arrivals that are worth waiting for. */
static void
a_pace_with_bursts_costs_little(void **state)
{
	(void)state;
	for (int i = 0; i < 1000; i++)
		(void)wait_for(49 * US);
	w.spun_ns = 0;
	uint64_t from_ns = w.now_ns;
	for (int i = 0; i < 10000; i++)
		(void)wait_for(i % 100 < 3 ? 2 * US : 49 * US);
	assert_true(w.spun_ns < (w.now_ns - from_ns) / 50);
}

/* And a load that becomes worth it is found out within some hundred arrivals. */
static void
a_quick_load_after_a_pace_is_waited_for_again(void **state)
{
	(void)state;
	for (int i = 0; i < 1000; i++)
		(void)wait_for(49 * US);
	for (int i = 0; i < 520; i++)
		(void)wait_for(10 * US);
	for (int i = 0; i < 1000; i++)
		assert_true(wait_for(10 * US));
}

/* One command at a time, whose answer waits for a device. */
static void
a_device_says_nothing_of_the_initiator(void **state)
{
	(void)state;
	for (int i = 0; i < 1000; i++) {
		w.l->ops_busy = 1;
		bool met = wait_for(90 * US);
		w.l->ops_busy = 0;
		bool next = wait_for(15 * US);
		assert_false(i > 600 && met);
		assert_true(i == 0 || next);
	}
}

static void
a_loop_at_rest_sleeps_at_once(void **state)
{
	(void)state;
	for (int i = 0; i < 100; i++)
		assert_false(wait_for(1000 * 1000 * US));
	assert_int_equal(w.spun_ns, 0);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    T(arrivals_in_quick_succession_are_waited_for),
	    T(a_pace_costs_hardly_any_spinning),
	    T(a_pace_with_bursts_costs_little),
	    T(a_quick_load_after_a_pace_is_waited_for_again),
	    T(a_device_says_nothing_of_the_initiator),
	    T(a_loop_at_rest_sleeps_at_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
