/* SPDX-License-Identifier: BSD-2-Clause */
/* Conditions: raised once, cleared once, counted by the worst. */
#include "tests/unit/health/fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static size_t
event_count(struct fixture *f)
{
	json_t *a = health_events(f->health, 0, 1000);
	size_t n = json_array_size(json_object_get(a, "events"));
	json_decref(a);
	return n;
}

static void
raise_and_clear(struct fixture *f)
{
	struct health *h = f->health;
	assert_true(health_raise(h, HEALTH_STORE_GONE, "a", "a is gone"));
	assert_false(health_raise(h, HEALTH_STORE_GONE, "a", "a is gone for %d s", 5));
	assert_true(health_raise(h, HEALTH_STORE_GONE, "b", "b is gone"));
	assert_int_equal(event_count(f), 2);
	assert_true(health_clear(h, HEALTH_STORE_GONE, "a"));
	assert_false(health_clear(h, HEALTH_STORE_GONE, "a"));
	assert_false(health_clear(h, HEALTH_STORE_ERRORS, "b"));
	assert_int_equal(event_count(f), 3);
	assert_int_equal(health_worst(h), HEALTH_FAILED);
	assert_int_equal(health_clear_all(h, HEALTH_STORE_GONE), 1);
	assert_int_equal(health_clear_all(h, HEALTH_STORE_GONE), 0);
	assert_string_equal(health_state(h), "ok");
	assert_int_equal(event_count(f), 4);
}

static void
raise_and_clear_are_idempotent(void **state)
{
	fixture_call(*state, raise_and_clear, 1);
}

static void
states(struct fixture *f)
{
	struct health *h = f->health;
	assert_string_equal(health_state(h), "ok");
	health_raise(h, HEALTH_NO_URING, "", "no");
	assert_string_equal(health_state(h), "ok"); /* a remark */
	health_raise(h, HEALTH_HOOK_FAILING, "/x", "no");
	assert_string_equal(health_state(h), "degraded");
	health_raise(h, HEALTH_STORE_GONE, "a", "no");
	assert_string_equal(health_state(h), "failed");
	health_clear(h, HEALTH_STORE_GONE, "a");
	assert_string_equal(health_state(h), "degraded");
}

static void
the_worst_is_the_state(void **state)
{
	fixture_call(*state, states, 1);
}

static void
in_order(struct fixture *f)
{
	struct health *h = f->health;
	health_raise(h, HEALTH_NO_URING, "", "first");
	health_raise(h, HEALTH_HOOK_REFUSED, "/etc/a b", "hook %s\n\xff", "x");
	health_raise(h, HEALTH_STORE_GONE, "a", "last");
	json_t *j = health_json(h), *list = json_object_get(j, "conditions");
	assert_int_equal(json_array_size(list), 3);
	static const char *const codes[] = {"C204", "C501", "C404"};
	for (size_t i = 0; i < 3; i++)
		assert_string_equal(
		    json_string_value(json_object_get(json_array_get(list, i), "code")), codes[i]);
	const json_t *hook = json_array_get(list, 1);
	assert_string_equal(json_string_value(json_object_get(hook, "sentence")), "hook x??");
	assert_string_equal(json_string_value(json_object_get(hook, "action")),
	    "chown root /etc/a b && chmod go-w /etc/a b");
	assert_true(json_integer_value(json_object_get(hook, "since")) >= 0);
	json_decref(j);
}

static void
the_worst_comes_first_with_an_action_to_paste(void **state)
{
	fixture_call(*state, in_order, 1);
}

static void
flood(struct fixture *f)
{
	char name[32];
	unsigned kept = 0;
	for (unsigned i = 0; i < HEALTH_CONDITIONS_MAX + 10; i++) {
		snprintf(name, sizeof name, "lun%u", i);
		kept += health_raise(f->health, HEALTH_STORE_ERRORS, name, "errors");
	}
	assert_int_equal(kept, HEALTH_CONDITIONS_MAX);
	assert_int_equal(health_clear_all(f->health, HEALTH_STORE_ERRORS), HEALTH_CONDITIONS_MAX);
}

static void
conditions_are_bounded(void **state)
{
	fixture_call(*state, flood, 1);
}

static unsigned fired;
static struct fixture *waiting;

static void
on_wait(struct health_wait *w)
{
	fired++;
	if (fired == 1)
		health_wait_add(waiting->health, w); /* again: of the next event */
}

static struct health_wait wait_a, wait_b;

static void
wait_two(struct fixture *f)
{
	waiting = f;
	health_wait_init(&wait_a, on_wait);
	health_wait_init(&wait_b, on_wait);
	health_wait_add(f->health, &wait_a);
	health_wait_add(f->health, &wait_b);
	health_wait_remove(&wait_b);
	health_wait_remove(&wait_b);
	health_event(f->health, HEALTH_EVENT_START, "", NULL, "one");
	health_event(f->health, HEALTH_EVENT_STOP, "", NULL, "two");
	assert_int_equal(fired, 0); /* never from inside */
}

static void
one_more(struct fixture *f)
{
	health_event(f->health, HEALTH_EVENT_START, "", NULL, "three");
}

static void
who_waits_is_called_once_and_later(void **state)
{
	fired = 0;
	fixture_call(*state, wait_two, 1);
	assert_int_equal(fired, 1);
	fixture_call(*state, one_more, 1);
	assert_int_equal(fired, 2);
	fixture_call(*state, one_more, 1);
	assert_int_equal(fired, 2);
}

static void
bad_hooks(struct fixture *f)
{
	struct health_hook many[HEALTH_HOOKS_MAX + 1];
	char longer[HEALTH_OBJECT_MAX + 3];
	for (unsigned i = 0; i <= HEALTH_HOOKS_MAX; i++)
		many[i] = (struct health_hook){.event = -1, .path = "/bin/true"};
	assert_int_equal(health_set_hooks(f->health, many, HEALTH_HOOKS_MAX + 1), -22);
	many[1].path = "bin/true";
	assert_int_equal(health_set_hooks(f->health, many, 2), -22);
	memset(longer, '/', sizeof longer - 1);
	longer[sizeof longer - 1] = '\0';
	many[1].path = longer;
	assert_int_equal(health_set_hooks(f->health, many, 2), -22);
	assert_int_equal(health_set_hooks(f->health, NULL, 0), 0);
}

static void
hooks_are_checked(void **state)
{
	fixture_call(*state, bad_hooks, 1);
}

static void
set_one_hook(struct fixture *f)
{
	struct health_hook hook = {.event = HEALTH_EVENT_SIZE, .path = "/bin/true"};
	assert_int_equal(health_set_hooks(f->health, &hook, 1), 0);
}

static void
too_many_events(struct fixture *f)
{
	for (unsigned i = 0; i < 1100; i++)
		health_event(f->health, HEALTH_EVENT_SIZE, "", NULL, "one");
}

static bool
is_raised(struct fixture *f, const char *code)
{
	json_t *j = health_json(f->health), *c;
	size_t i;
	bool found = false;
	json_array_foreach(json_object_get(j, "conditions"), i, c) found |=
	    strcmp(json_string_value(json_object_get(c, "code")), code) == 0;
	json_decref(j);
	return found;
}

/* There is no helper here: it is tried again and again, events wait, and then they are dropped. */
static void
dropped_events_are_told_for_ten_minutes(void **state)
{
	struct fixture *f = *state;
	fixture_call(f, set_one_hook, 1);
	assert_true(is_raised(f, "C504"));
	fixture_call(f, too_many_events, 500);
	assert_true(is_raised(f, "C503"));
	fixture_call(f, one_more, 200); /* not for the hook */
	assert_false(is_raised(f, "C503"));
	assert_true(is_raised(f, "C504"));
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
	const struct CMUnitTest tests[] = {
	    TEST(raise_and_clear_are_idempotent),
	    TEST(the_worst_is_the_state),
	    TEST(the_worst_comes_first_with_an_action_to_paste),
	    TEST(conditions_are_bounded),
	    TEST(who_waits_is_called_once_and_later),
	    TEST(hooks_are_checked),
	    TEST(dropped_events_are_told_for_ten_minutes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
