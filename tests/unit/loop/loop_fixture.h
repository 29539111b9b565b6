/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A loop on the test's own thread, over io_uring or epoll: each test of a group runs on both. A
 * watchdog timer ends a test that hangs.
 */
#ifndef TESTS_UNIT_LOOP_FIXTURE_H
#define TESTS_UNIT_LOOP_FIXTURE_H

#include "tests/cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loop/loop.h"

#define MS 1000000ull
#define TEST_TIMEOUT_NS (20000 * MS)

struct fixture {
	struct loop *l;
	struct loop_timer watchdog;
	bool timed_out;
};

/* The backend for the loops that fixture_setup() makes. */
static bool fixture_epoll;

static inline struct loop *
make_loop(unsigned id, uint32_t spin_us_max)
{
	struct loop_cfg cfg;
	loop_cfg_default(&cfg);
	cfg.id = id;
	cfg.spin_us_max = spin_us_max;
	cfg.buf_bytes = (size_t)4 << 20;
	cfg.force_epoll = fixture_epoll;
	struct loop *l;
	assert_int_equal(loop_create(&cfg, &l), 0);
	if (fixture_epoll)
		assert_false(loop_is_uring(l));
	return l;
}

static inline void
on_watchdog(struct loop_timer *t)
{
	struct fixture *f = container_of(t, struct fixture, watchdog);
	f->timed_out = true;
	loop_stop(t->loop);
}

static inline int
fixture_setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);
	assert_non_null(f);
	f->l = make_loop(0, 50);
	loop_timer_init(&f->watchdog, f->l, on_watchdog);
	*state = f;
	return 0;
}

static inline int
fixture_teardown(void **state)
{
	struct fixture *f = *state;
	loop_timer_cancel(&f->watchdog);
	loop_destroy(f->l);
	free(f);
	return 0;
}

/* Runs until something calls loop_stop(). */
static inline void
fixture_run(struct fixture *f)
{
	f->timed_out = false;
	loop_timer_set(&f->watchdog, TEST_TIMEOUT_NS);
	loop_run(f->l);
	loop_timer_cancel(&f->watchdog);
	assert_false(f->timed_out);
}

/* Runs the group on both backends; the number of failed tests. */
#define RUN_ON_BOTH_BACKENDS(tests)                                                                \
	({                                                                                         \
		fixture_epoll = false;                                                             \
		int failed_ = cmocka_run_group_tests_name("io_uring", tests, NULL, NULL);          \
		fixture_epoll = true;                                                              \
		failed_ += cmocka_run_group_tests_name("epoll", tests, NULL, NULL);                \
		failed_;                                                                           \
	})

#define LOOP_TEST(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)

#endif
