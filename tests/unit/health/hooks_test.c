/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Hooks with a real helper process: what a program gets, and that one that fails, hangs, floods or is
 * in the wrong hands, and a helper that dies, cost what they should and no more.
 */
#include "health/health.h"
#include "tests/cmocka_all.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_S 30

static struct loop *loop;
static struct health *health;
static char dir[64];

/* ---- the loop runs on a thread; the test asks it --------------------------------------------------- */

struct call {
	struct loop_msg msg;
	void (*fn)(void *ctx);
	void *ctx;
	sem_t done;
};

static void
run_call(struct loop_msg *m)
{
	struct call *c = container_of(m, struct call, msg);
	c->fn(c->ctx);
	sem_post(&c->done);
}

static void
call(void (*fn)(void *ctx), void *ctx)
{
	struct call c = {.msg.run = run_call, .fn = fn, .ctx = ctx};
	sem_init(&c.done, 0, 0);
	loop_send(loop, &c.msg);
	while (sem_wait(&c.done) < 0)
		;
	sem_destroy(&c.done);
}

static void
nap(void)
{
	nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
}

static void
get_json(void *ctx)
{
	*(json_t **)ctx = health_json(health);
}

/* The sentence of a condition, "" if it isn't raised; in a static buffer. */
static const char *
sentence(const char *code)
{
	static char buf[HEALTH_TEXT_MAX + 1];
	json_t *j = NULL, *c;
	size_t i;
	buf[0] = '\0';
	call(get_json, &j);
	json_array_foreach(json_object_get(j, "conditions"), i,
	    c) if (strcmp(json_string_value(json_object_get(c, "code")), code) == 0)
	    snprintf(buf, sizeof buf, "%s", json_string_value(json_object_get(c, "sentence")));
	json_decref(j);
	return buf;
}

static void
wait_for(const char *code, const char *words)
{
	time_t end = time(NULL) + PATIENCE_S;
	while (
	    strstr(sentence(code), words) == NULL || (*words == '\0' && *sentence(code) != '\0')) {
		if (time(NULL) > end)
			fail_msg("%s says '%s', not '%s'", code, sentence(code), words);
		nap();
	}
}

/* ---- files ------------------------------------------------------------------------------------------- */

static const char *
at(const char *name)
{
	static char buf[2][128];
	static unsigned turn;
	char *p = buf[turn++ % 2];
	snprintf(p, sizeof buf[0], "%s/%s", dir, name);
	return p;
}

static void
script(const char *name, const char *body)
{
	FILE *f = fopen(at(name), "w");
	assert_non_null(f);
	fprintf(f, "#!/bin/sh\n%s\n", body);
	fclose(f);
	assert_int_equal(chmod(at(name), 0755), 0);
}

static long
lines_in(const char *name)
{
	FILE *f = fopen(at(name), "r");
	long count = 0;
	for (int c; f != NULL && (c = getc(f)) != EOF;)
		count += c == '\n';
	if (f != NULL)
		fclose(f);
	return count;
}

static void
wait_for_lines(const char *name, long count)
{
	time_t end = time(NULL) + PATIENCE_S;
	while (lines_in(name) < count) {
		if (time(NULL) > end)
			fail_msg("%s has %ld lines, not %ld", name, lines_in(name), count);
		nap();
	}
}

/* ---- a health with hooks ------------------------------------------------------------------------------ */

static struct health_hook set[4];
static unsigned set_count;

static void
set_hooks(void *ctx)
{
	(void)ctx;
	assert_int_equal(health_set_hooks(health, set, set_count), 0);
}

static void
hook(int event, const char *name)
{
	static char path[128];
	snprintf(path, sizeof path, "%s", at(name));
	set[0] = (struct health_hook){.event = event, .path = path};
	set_count = 1;
	call(set_hooks, NULL);
}

static void
some_event(void *ctx)
{
	health_event(health, HEALTH_EVENT_LOGIN, "lun \"a\"", json_pack("{s:i}", "tsih", 7),
	    "initiator %s", (const char *)ctx);
}

static void
start_event(void *ctx)
{
	(void)ctx;
	health_event(health, HEALTH_EVENT_START, "", NULL, "begins");
}

static void
event_burst(void *ctx)
{
	for (unsigned i = 0; i < *(unsigned *)ctx; i++)
		health_event(health, HEALTH_EVENT_LOGIN, "", NULL, "number %u", i);
}

static int
setup(void **state)
{
	struct loop_cfg cfg;
	char body[256];
	(void)state;
	signal(SIGPIPE, SIG_IGN);
	umask(022);
	snprintf(dir, sizeof dir, "/tmp/terrace-hooks-test-XXXXXX");
	assert_non_null(mkdtemp(dir));
	/* programs have 2 s here */
	snprintf(body, sizeof body, "echo $$ >%s\nexec " HELPER " 2", at("helper.pid"));
	script("helper", body);
	loop_cfg_default(&cfg);
	cfg.buf_bytes = 1 << 20;
	assert_int_equal(loop_create(&cfg, &loop), 0);
	struct health_args args = {.loop = loop, .hook_helper = at("helper")};
	assert_int_equal(health_create(&args, &health), 0);
	assert_int_equal(loop_start_thread(loop), 0);
	return 0;
}

static void
on_stopped(void *ctx)
{
	(void)ctx;
	loop_stop(loop);
}

static void
stop(void *ctx)
{
	(void)ctx;
	health_stop(health, on_stopped, NULL);
}

static int
teardown(void **state)
{
	char command[128];
	(void)state;
	call(stop, NULL);
	loop_join(loop);
	health_destroy(health);
	loop_destroy(loop);
	snprintf(command, sizeof command, "rm -rf '%s'", dir);
	return system(command);
}

static pid_t
helper_pid(void)
{
	FILE *f = fopen(at("helper.pid"), "r");
	int pid = 0;
	if (f != NULL && fscanf(f, "%d", &pid) != 1)
		pid = 0;
	if (f != NULL)
		fclose(f);
	return pid;
}

/* ---- tests --------------------------------------------------------------------------------------------- */

static void
a_program_gets_the_event_on_its_standard_input(void **state)
{
	char body[512];
	(void)state;
	snprintf(body, sizeof body,
	    "(cat; echo \"$1 $TERRACE_EVENT $PATH $(pwd) $(ls /proc/self/fd | tr '\\n' ' ')\") "
	    ">%s.new"
	    " && mv %s.new %s",
	    at("got"), at("got"), at("got"));
	script("h", body);
	hook(HEALTH_EVENT_LOGIN, "h");
	call(start_event, NULL); /* not of its kind */
	call(some_event, (void *)(uintptr_t) "iqn.x");
	wait_for_lines("got", 2);
	char line[1024], more[256];
	FILE *f = fopen(at("got"), "r");
	assert_non_null(f);
	assert_non_null(fgets(line, sizeof line, f));
	assert_non_null(fgets(more, sizeof more, f));
	fclose(f);
	json_t *e = json_loads(line, 0, NULL);
	assert_string_equal(json_string_value(json_object_get(e, "event")), "login");
	assert_string_equal(json_string_value(json_object_get(e, "object")), "lun \"a\"");
	assert_string_equal(json_string_value(json_object_get(e, "text")), "initiator iqn.x");
	assert_int_equal(json_integer_value(json_object_get(e, "id")), 2);
	assert_int_equal(
	    json_integer_value(json_object_get(json_object_get(e, "data"), "tsih")), 7);
	json_decref(e);
	/* nothing of ours is open in it: 0, 1, 2 and that of ls itself */
	assert_non_null(strstr(more, "login login /usr/local/sbin"));
	assert_non_null(strstr(more, " / 0 1 2 3 \n"));
}

static void
a_program_that_fails_is_a_condition_until_it_succeeds(void **state)
{
	char body[256];
	(void)state;
	snprintf(body, sizeof body, "[ -e %s ] && exit 0\necho one >&2\necho 'two  ' >&2\nexit 3",
	    at("good"));
	script("h", body);
	hook(-1, "h");
	call(some_event, (void *)(uintptr_t) "a");
	wait_for("C502", "exit status 3: two");
	script("good", "");
	call(some_event, (void *)(uintptr_t) "b");
	wait_for("C502", "");
}

static void
a_program_that_hangs_is_killed_with_its_children(void **state)
{
	char body[256];
	(void)state;
	snprintf(body, sizeof body, "sleep 60 & echo $! >%s; trap '' TERM; sleep 60; sleep 60",
	    at("child"));
	script("h", body);
	script("other", "exit 0");
	hook(HEALTH_EVENT_LOGIN, "h");
	call(some_event, (void *)(uintptr_t) "a");
	wait_for("C502", "killed after 2 s");
	FILE *f = fopen(at("child"), "r");
	int child = 0;
	assert_non_null(f);
	assert_int_equal(fscanf(f, "%d", &child), 1);
	fclose(f);
	for (unsigned i = 0; kill(child, 0) == 0 && i < 100; i++)
		nap();
	assert_int_not_equal(kill(child, 0), 0);
}

static void
a_program_that_floods_or_dies_or_never_reads_is_borne(void **state)
{
	(void)state;
	script("h", "yes flood 2>/dev/null | head -c 18000000 >&2; yes; kill -SEGV $$");
	hook(HEALTH_EVENT_LOGIN, "h");
	call(some_event, (void *)(uintptr_t) "a");
	wait_for("C502", "killed after 2 s: flood");
	script("h", "yes flood 2>/dev/null | head -c 18000000 >&2; kill -SEGV $$");
	call(some_event, (void *)(uintptr_t) "a");
	wait_for("C502", "ended by signal 11: flood");
}

static void
a_program_in_others_hands_is_refused(void **state)
{
	char body[128];
	(void)state;
	snprintf(body, sizeof body, "echo ran >>%s", at("ran"));
	script("h", body);
	assert_int_equal(chmod(at("h"), 0777), 0);
	hook(-1, "h");
	wait_for("C501", "writable by others"); /* without any event */
	call(some_event, (void *)(uintptr_t) "a");
	assert_int_equal(chmod(at("h"), 0755), 0);
	call(some_event, (void *)(uintptr_t) "a");
	wait_for("C501", "");
	wait_for_lines("ran", 1);
	/* and the condition of what is no hook any more goes */
	assert_int_equal(chmod(at("h"), 0777), 0);
	/* An earlier event may still be running, and its success would end the condition: asked again. */
	for (time_t end = time(NULL) + PATIENCE_S; strstr(sentence("C501"), "writable") == NULL;
	     nap()) {
		assert_true(time(NULL) <= end);
		call(some_event, (void *)(uintptr_t) "a");
	}
	set_count = 0;
	call(set_hooks, NULL);
	assert_string_equal(sentence("C501"), "");
	assert_true(lines_in("ran") <= 2);
}

static void
a_helper_that_is_killed_is_started_again(void **state)
{
	char body[128];
	(void)state;
	snprintf(body, sizeof body, "echo ran >>%s", at("ran"));
	script("h", body);
	hook(HEALTH_EVENT_LOGIN, "h");
	call(some_event, (void *)(uintptr_t) "a");
	wait_for_lines("ran", 1);
	pid_t first = helper_pid();
	assert_true(first > 1);
	assert_int_equal(kill(first, SIGKILL), 0);
	wait_for("C504", "signal 9");
	call(some_event, (void *)(uintptr_t) "b"); /* waits for the next one */
	wait_for("C504", "");
	wait_for_lines("ran", 2);
	assert_int_not_equal(helper_pid(), first);
}

static void
events_in_a_dead_helpers_hands_are_counted(void **state)
{
	unsigned count = 10;
	(void)state;
	script("h", "sleep 1");
	hook(HEALTH_EVENT_LOGIN, "h");
	call(event_burst, &count);
	while (helper_pid() == 0)
		nap();
	for (unsigned i = 0; i < 10; i++)
		nap();
	assert_int_equal(kill(helper_pid(), SIGKILL), 0);
	wait_for("C503", "10 events weren't handed to hooks");
}

static void
a_queue_that_is_full_drops_and_counts(void **state)
{
	unsigned count = 3000;
	(void)state;
	script("h", "exit 0");
	hook(HEALTH_EVENT_LOGIN, "h");
	call(event_burst, &count);
	wait_for("C503", "the queue is full");
}

static void
a_helper_that_cannot_be_started_is_a_condition(void **state)
{
	(void)state;
	script("h", "exit 0");
	assert_int_equal(unlink(at("helper")), 0);
	hook(HEALTH_EVENT_LOGIN, "h");
	wait_for("C504", "can't be started (No such file or directory)");
}

static void
a_helper_that_speaks_nonsense_is_ended(void **state)
{
	(void)state;
	script("helper", "echo '{\"path\":\"/x\",\"result\":\"ok\"}' >&3; sleep 20");
	script("h", "exit 0");
	hook(HEALTH_EVENT_LOGIN, "h");
	wait_for("C504", "signal 9");
	script("helper", "head -c 100000 /dev/zero >&3; sleep 20");
	wait_for("C504", "signal 9");
}

static int
count_hung(void)
{
	return lines_in("began") - lines_in("ended") > 0;
}

static void
the_helper_finishes_when_the_daemon_ends(void **state)
{
	char body[256];
	(void)state;
	snprintf(body, sizeof body, "echo 1 >>%s; sleep 1; echo 1 >>%s", at("began"), at("ended"));
	script("h", body);
	hook(HEALTH_EVENT_STOP, "h");
	while (helper_pid() == 0)
		nap();
	wait_for("C504", "");
	set[0].event = -1;
	call(set_hooks, NULL);
	call(some_event, (void *)(uintptr_t) "a");
	wait_for_lines("began", 1);
	pid_t pid = helper_pid();
	call(stop, NULL);
	loop_join(loop);
	health_destroy(health);
	health = NULL;
	wait_for_lines("ended", 1);
	assert_false(count_hung());
	for (unsigned i = 0; kill(pid, 0) == 0 && i < 200; i++) {
		char path[64], comm[256] = "";
		snprintf(path, sizeof path, "/proc/%d/stat", pid);
		FILE *f = fopen(path, "r");
		if (f != NULL && fgets(comm, sizeof comm, f) != NULL &&
		    strstr(comm, ") Z ") != NULL)
			i = 200; /* ours to reap, which a daemon leaves to init */
		if (f != NULL)
			fclose(f);
		if (i == 200)
			break;
		assert_true(i < 199);
		nap();
	}
}

static int
teardown_ended(void **state)
{
	char command[128];
	(void)state;
	loop_destroy(loop);
	snprintf(command, sizeof command, "rm -rf '%s'", dir);
	return system(command);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(a_program_gets_the_event_on_its_standard_input),
	    TEST(a_program_that_fails_is_a_condition_until_it_succeeds),
	    TEST(a_program_that_hangs_is_killed_with_its_children),
	    TEST(a_program_that_floods_or_dies_or_never_reads_is_borne),
	    TEST(a_program_in_others_hands_is_refused),
	    TEST(a_helper_that_is_killed_is_started_again),
	    TEST(events_in_a_dead_helpers_hands_are_counted),
	    TEST(a_queue_that_is_full_drops_and_counts),
	    TEST(a_helper_that_cannot_be_started_is_a_condition),
	    TEST(a_helper_that_speaks_nonsense_is_ended),
	    cmocka_unit_test_setup_teardown(
	        the_helper_finishes_when_the_daemon_ends, setup, teardown_ended),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
