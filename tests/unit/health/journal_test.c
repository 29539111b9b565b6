/* SPDX-License-Identifier: BSD-2-Clause */
/* What is kept over restarts: whole, bounded, whatever happened to the files and the disk. */
#include "tests/unit/health/fixture.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static unsigned next_number;

static void
one_event(struct fixture *f)
{
	health_event(f->health, HEALTH_EVENT_SIZE, "lun", NULL, "number %u", next_number++);
}

static void
many_events(struct fixture *f)
{
	for (unsigned i = 0; i < 50; i++)
		one_event(f);
}

static const char *
text_at(const json_t *answer, size_t i)
{
	return json_string_value(
	    json_object_get(json_array_get(json_object_get(answer, "events"), i), "text"));
}

static size_t
count_of(const json_t *answer)
{
	return json_array_size(json_object_get(answer, "events"));
}

static json_int_t
number(const json_t *o, const char *key)
{
	assert_true(json_is_integer(json_object_get(o, key)));
	return json_integer_value(json_object_get(o, key));
}

static void
events_outlive_a_restart_and_ids_go_on(void **state)
{
	struct fixture *f = *state;
	next_number = 0;
	fixture_call(f, one_event, 1);
	fixture_call(f, one_event, 1);
	fixture_close(f);
	fixture_open(f);
	fixture_call(f, one_event, 1);
	json_t *a = health_events(f->health, 0, 100);
	assert_int_equal(count_of(a), 3);
	assert_string_equal(text_at(a, 0), "number 0");
	assert_string_equal(text_at(a, 2), "number 2");
	assert_int_equal(number(a, "next"), 3);
	json_decref(a);
}

static void
what_was_written_outlives_a_kill(void **state)
{
	struct fixture *f = *state;
	next_number = 0;
	fixture_call(f, one_event, 1);
	fixture_kill(f);
	fixture_open(f);
	json_t *a = health_events(f->health, 0, 100);
	assert_int_equal(count_of(a), 1);
	json_decref(a);
}

static void
events_before_the_loop_runs_are_kept(void **state)
{
	struct fixture *f = *state;
	next_number = 7;
	fixture_call(f, one_event, 0);
	fixture_close(f);
	size_t len;
	char *text = fixture_read(f, "events.log", &len);
	assert_non_null(text);
	assert_non_null(strstr(text, "number 7"));
	free(text);
}

/* Cuts the file at every length: all whole lines are there, and new ones can be added. */
static void
a_torn_end_costs_only_its_line(void **state)
{
	struct fixture *f = *state;
	size_t len;

	next_number = 0;
	fixture_call(f, one_event, 1);
	fixture_call(f, one_event, 1);
	fixture_close(f);
	char *whole = fixture_read(f, "events.log", &len);
	assert_non_null(whole);
	size_t first = (size_t)(strchr(whole, '\n') + 1 - whole);
	for (size_t cut = first; cut < len; cut++) {
		fixture_write(f, "events.log", whole, cut);
		next_number = 100;
		fixture_open(f);
		fixture_call(f, one_event, 1);
		fixture_close(f);
		fixture_open(f);
		json_t *a = health_events(f->health, 0, 100);
		size_t left = cut == len - 1 ? 2 : 1; /* only its end is missing: it is whole */
		assert_int_equal(count_of(a), left + 1);
		assert_string_equal(text_at(a, 0), "number 0");
		assert_string_equal(text_at(a, left), "number 100");
		json_decref(a);
		fixture_close(f);
	}
	free(whole);
}

static void
rubbish_in_the_files_is_skipped(void **state)
{
	static const char rubbish[] =
	    "\0\0\0\0\n[1,2]\nnull\n{\"id\":-3,\"event\":\"x\"}\n{\"id\":\"4\",\"event\":\"x\"}\n"
	    "{\"id\":5}\n{\"id\":9,\"time\":1,\"event\":\"size\",\"object\":\"\",\"text\":\"number "
	    "9\"}\n"
	    "{\"id\":8,\"event\":\"size\"}\n\xff\xfe{\n{\"id\":99999999999999999999,\"event\":"
	    "\"x\"}\n";
	struct fixture *f = *state;
	fixture_close(f);
	fixture_write(f, "events.log", rubbish, sizeof rubbish - 1);
	fixture_write(f, "history.log", rubbish, sizeof rubbish - 1);
	fixture_open(f);
	json_t *a = health_events(f->health, 0, 100);
	assert_int_equal(count_of(a), 1);
	assert_string_equal(text_at(a, 0), "number 9");
	json_decref(a);
	a = health_history(f->health, 100);
	assert_int_equal(json_array_size(a), 0);
	json_decref(a);
	assert_string_equal(health_state(f->health), "ok");
}

static void
files_and_memory_are_bounded(void **state)
{
	struct fixture *f = *state;
	struct stat st;
	next_number = 0;
	for (unsigned i = 0; i < 60; i++) {
		fixture_call(f, many_events, 1);
		assert_int_equal(stat(fixture_path(f, "events.log"), &st), 0);
		assert_in_range(st.st_size, 1, 64 * 1024);
	}
	assert_int_equal(stat(fixture_path(f, "events.log.1"), &st), 0);
	assert_in_range(st.st_size, 1, 64 * 1024);
	for (unsigned restart = 0; restart < 2; restart++) {
		json_t *a = health_events(f->health, 0, 100000);
		assert_int_equal(count_of(a), 100);
		assert_string_equal(text_at(a, 99), "number 2999");
		json_decref(a);
		fixture_close(f);
		fixture_open(f);
	}
}

static void
since_gives_what_came_after_and_counts_what_is_lost(void **state)
{
	struct fixture *f = *state;
	next_number = 1;
	fixture_call(f, many_events, 1);
	json_t *a = health_events(f->health, 47, 2);
	assert_int_equal(count_of(a), 2);
	assert_string_equal(text_at(a, 0), "number 48");
	assert_int_equal(number(a, "next"), 49);
	assert_int_equal(number(a, "lost"), 0);
	json_decref(a);
	a = health_events(f->health, 50, 10);
	assert_int_equal(count_of(a), 0);
	assert_int_equal(number(a, "next"), 50);
	json_decref(a);
	fixture_call(f, many_events, 1);
	fixture_call(f, many_events, 1);
	a = health_events(f->health, 10, 1000); /* 51 is the oldest */
	assert_int_equal(count_of(a), 100);
	assert_int_equal(number(a, "lost"), 40);
	json_decref(a);
	a = health_events(f->health, 1000, 3); /* of another state directory */
	assert_int_equal(count_of(a), 3);
	assert_string_equal(text_at(a, 2), "number 150");
	assert_int_equal(number(a, "next"), 150);
	json_decref(a);
}

static void
a_file_that_was_removed_is_made_again(void **state)
{
	struct fixture *f = *state;
	struct stat st;
	fixture_call(f, one_event, 1);
	assert_int_equal(unlink(fixture_path(f, "events.log")), 0);
	fixture_call(f, one_event, 1);
	assert_int_equal(stat(fixture_path(f, "events.log"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
}

static bool
is_raised(struct fixture *f, const char *code)
{
	json_t *h = health_json(f->health);
	bool found = false;
	size_t i;
	json_t *c;
	json_array_foreach(json_object_get(h, "conditions"), i, c) found |=
	    strcmp(json_string_value(json_object_get(c, "code")), code) == 0;
	json_decref(h);
	return found;
}

/* As a full disk: the file may not grow. */
static void
limit_files(rlim_t bytes)
{
	struct rlimit rl;
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &rl), 0);
	rl.rlim_cur = bytes;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &rl), 0);
}

static void
a_full_disk_is_a_condition_and_lines_wait(void **state)
{
	struct fixture *f = *state;
	size_t len, before;

	signal(SIGXFSZ, SIG_IGN);
	next_number = 0;
	fixture_call(f, one_event, 1);
	char *text = fixture_read(f, "events.log", &before);
	free(text);
	limit_files(before + 30); /* a part of the next line has room */
	fixture_call(f, one_event, 1);
	assert_true(is_raised(f, "C403"));
	text = fixture_read(f, "events.log", &len);
	free(text);
	assert_int_equal(len, before); /* cut back: no part of a line */
	fixture_call(f, one_event, 20);
	assert_true(is_raised(f, "C403"));
	limit_files(RLIM_INFINITY);
	fixture_call(f, one_event, 20);
	assert_false(is_raised(f, "C403"));
	fixture_close(f);
	fixture_open(f);
	json_t *a = health_events(f->health, 0, 100);
	/* four of ours, the condition raised and cleared: in this order */
	assert_int_equal(count_of(a), 6);
	assert_string_equal(text_at(a, 1), "number 1");
	assert_string_equal(text_at(a, 3), "number 2");
	assert_string_equal(text_at(a, 4), "number 3");
	json_decref(a);
}

static void
lines_that_wait_are_bounded_and_counted(void **state)
{
	struct fixture *f = *state;

	signal(SIGXFSZ, SIG_IGN);
	limit_files(0);
	next_number = 0;
	for (unsigned i = 0; i < 100; i++)
		fixture_call(f, many_events, 1); /* about 500 KiB */
	fixture_call(f, one_event, 10);
	json_t *h = health_json(f->health);
	const char *sentence = json_string_value(
	    json_object_get(json_array_get(json_object_get(h, "conditions"), 0), "sentence"));
	assert_non_null(strstr(sentence, "lines are lost"));
	json_decref(h);
	limit_files(RLIM_INFINITY);
	fixture_call(f, one_event, 10);
	assert_false(is_raised(f, "C403"));
}

static void
a_file_that_cannot_be_read_is_a_condition(void **state)
{
	struct fixture *f = *state;
	fixture_close(f);
	(void)unlink(fixture_path(f, "history.log"));
	assert_int_equal(mkdir(fixture_path(f, "history.log"), 0700), 0);
	fixture_open(f);
	assert_true(is_raised(f, "C403"));
	assert_string_equal(health_state(f->health), "degraded");
}

static void
two_orders(struct fixture *f)
{
	struct health_order o = {
	    .uid = 1000, .user = "mia", .command = "lun create a", .result = "done"};
	health_history_add(f->health, &o);
	o.command = "lun create \xff\n";
	o.result = "there is one";
	health_history_add(f->health, &o);
}

static void
orders_outlive_a_restart(void **state)
{
	struct fixture *f = *state;
	fixture_call(f, two_orders, 1);
	fixture_close(f);
	fixture_open(f);
	json_t *a = health_history(f->health, 100);
	assert_int_equal(json_array_size(a), 2);
	const json_t *o = json_array_get(a, 1);
	assert_int_equal(number(o, "uid"), 1000);
	assert_string_equal(json_string_value(json_object_get(o, "user")), "mia");
	assert_string_equal(json_string_value(json_object_get(o, "command")), "lun create ??");
	assert_string_equal(json_string_value(json_object_get(o, "result")), "there is one");
	json_decref(a);
	a = health_history(f->health, 1);
	assert_int_equal(json_array_size(a), 1);
	json_decref(a);
}

static void
big_data(struct fixture *f)
{
	char big[5000];
	memset(big, 'x', sizeof big - 1);
	big[sizeof big - 1] = '\0';
	health_event(f->health, HEALTH_EVENT_LOGIN, big, json_pack("{s:s}", "big", big), "%s", big);
}

static void
a_long_event_is_cut(void **state)
{
	struct fixture *f = *state;
	fixture_call(f, big_data, 1);
	fixture_close(f);
	fixture_open(f);
	json_t *a = health_events(f->health, 0, 100);
	assert_int_equal(count_of(a), 1);
	assert_int_equal(strlen(text_at(a, 0)), HEALTH_TEXT_MAX);
	assert_null(json_object_get(json_array_get(json_object_get(a, "events"), 0), "data"));
	json_decref(a);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
	const struct CMUnitTest tests[] = {
	    TEST(events_outlive_a_restart_and_ids_go_on),
	    TEST(what_was_written_outlives_a_kill),
	    TEST(events_before_the_loop_runs_are_kept),
	    TEST(a_torn_end_costs_only_its_line),
	    TEST(rubbish_in_the_files_is_skipped),
	    TEST(files_and_memory_are_bounded),
	    TEST(since_gives_what_came_after_and_counts_what_is_lost),
	    TEST(a_file_that_was_removed_is_made_again),
	    TEST(a_full_disk_is_a_condition_and_lines_wait),
	    TEST(lines_that_wait_are_bounded_and_counted),
	    TEST(a_file_that_cannot_be_read_is_a_condition),
	    TEST(orders_outlive_a_restart),
	    TEST(a_long_event_is_cut),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
