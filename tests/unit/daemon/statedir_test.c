/* SPDX-License-Identifier: BSD-2-Clause */
/* The state directory: who may use it, and what each refusal says. */
#include "daemon/statedir.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/cmocka_all.h"
#include "tests/unit/daemon/tmpdir.h"

#define ID_A "0123456789abcdef0123456789abcdef"
#define ID_B "fedcba9876543210fedcba9876543210"

static char reason[1024];

struct world {
	struct tmpdir tmp;
	char dir[128], id_file[128];
};

static int
setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	tmpdir_make(&w->tmp);
	snprintf(w->dir, sizeof(w->dir), "%s/a/b/state", w->tmp.path);
	snprintf(w->id_file, sizeof(w->id_file), "%s/machine-id", w->tmp.path);
	tmpdir_write(&w->tmp, "machine-id", ID_A "\n", 33);
	reason[0] = '\0';
	*state = w;
	return 0;
}

static int
teardown(void **state)
{
	struct world *w = *state;
	tmpdir_remove(&w->tmp);
	free(w);
	return 0;
}

static int
open_flags(struct world *w, unsigned flags, struct statedir **s)
{
	struct statedir_args args = {.dir = w->dir, .flags = flags, .machine_id_file = w->id_file};
	return statedir_open(&args, s, reason, sizeof(reason));
}

static void
must_open(struct world *w, unsigned flags, struct statedir **s)
{
	if (open_flags(w, flags, s) != 0)
		fail_msg("%s", reason);
}

static void
made_with_parents_for_the_owner_alone(void **state)
{
	struct world *w = *state;
	struct statedir *s;
	struct stat st;

	must_open(w, 0, &s);
	assert_string_equal(statedir_path(s), w->dir);
	assert_string_equal(statedir_machine_id(s), ID_A);
	assert_int_equal(stat(w->dir, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	statedir_close(s);
}

static void
opens_again(void **state)
{
	struct world *w = *state;
	struct statedir *s;

	for (int i = 0; i < 3; i++) {
		must_open(w, 0, &s);
		statedir_close(s);
	}
}

static void
second_daemon_is_refused_and_told_the_pid(void **state)
{
	struct world *w = *state;
	struct statedir *s, *other;
	char pid[32];

	must_open(w, 0, &s);
	/* flock belongs to the open file: this process's second attempt is as good as another's. */
	assert_int_equal(open_flags(w, 0, &other), -EBUSY);
	snprintf(pid, sizeof(pid), "process %ld:", (long)getpid());
	assert_non_null(strstr(reason, pid));
	statedir_close(s);
	must_open(w, 0, &s);
	statedir_close(s);
}

static void
lock_of_a_killed_daemon_is_no_obstacle(void **state)
{
	struct world *w = *state;
	struct statedir *s;
	int ready[2];
	char byte;

	assert_int_equal(pipe(ready), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		if (open_flags(w, 0, &s) == 0 && write(ready[1], "x", 1) == 1)
			pause();
		_exit(1);
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	assert_int_equal(open_flags(w, 0, &s), -EBUSY);
	assert_int_equal(kill(pid, 9), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	must_open(w, 0, &s);
	statedir_close(s);
	close(ready[0]);
	close(ready[1]);
}

static void
another_machines_directory_is_refused_with_both_ways_on(void **state)
{
	struct world *w = *state;
	struct statedir *s;

	must_open(w, 0, &s);
	statedir_close(s);
	tmpdir_write(&w->tmp, "machine-id", ID_B "\n", 33);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(open_flags(w, 0, &s), -EXDEV);
		assert_non_null(strstr(reason, w->dir));
		assert_non_null(strstr(reason, ID_A));
		assert_non_null(strstr(reason, "--state-dir-moved"));
		assert_non_null(strstr(reason, "rm -r"));
	}
	/* Refusing changed nothing: at home it still opens. */
	tmpdir_write(&w->tmp, "machine-id", ID_A "\n", 33);
	must_open(w, 0, &s);
	statedir_close(s);
}

static void
moved_directory_is_taken_over_once_and_for_good(void **state)
{
	struct world *w = *state;
	struct statedir *s;

	must_open(w, 0, &s);
	statedir_close(s);
	tmpdir_write(&w->tmp, "machine-id", ID_B "\n", 33);
	must_open(w, STATEDIR_MOVED, &s);
	statedir_close(s);
	must_open(w, 0, &s);
	statedir_close(s);
	tmpdir_write(&w->tmp, "machine-id", ID_A "\n", 33);
	assert_int_equal(open_flags(w, 0, &s), -EXDEV);
}

static void
machine_without_id_is_none(void **state)
{
	struct world *w = *state;
	struct statedir *s;

	tmpdir_write(&w->tmp, "machine-id", "uninitialized\n", 14);
	must_open(w, 0, &s);
	assert_string_equal(statedir_machine_id(s), "none");
	statedir_close(s);
	must_open(w, 0, &s);
	statedir_close(s);
}

static void
damaged_marker_is_refused(void **state)
{
	static const char *const bad[] = {"", "terrace-state 2\nmachine-id x\n",
	    "terrace-state 1\n", "terrace-state 1\nmachine-id \n",
	    "terrace-state 1\nmachine-id " ID_A, "terrace-state 1\nmachine-id " ID_A "\nmore\n"};
	struct world *w = *state;
	struct statedir *s;

	must_open(w, 0, &s);
	statedir_close(s);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		tmpdir_write(&w->tmp, "a/b/state/state", bad[i], strlen(bad[i]));
		assert_int_equal(open_flags(w, 0, &s), -EINVAL);
		assert_non_null(strstr(reason, "damaged"));
	}
	must_open(w, STATEDIR_MOVED, &s);
	statedir_close(s);
}

static void
catalog_without_marker_is_refused(void **state)
{
	struct world *w = *state;
	struct statedir *s;

	must_open(w, 0, &s);
	statedir_close(s);
	tmpdir_write(&w->tmp, "a/b/state/catalog.mdb", "x", 1);
	assert_int_equal(unlink(tmpdir_file(&w->tmp, "a/b/state/state")), 0);
	assert_int_equal(open_flags(w, 0, &s), -EINVAL);
	assert_non_null(strstr(reason, "whose it is"));
}

static void
directory_that_others_can_write_is_refused(void **state)
{
	struct world *w = *state;
	struct statedir *s;

	must_open(w, 0, &s);
	statedir_close(s);
	assert_int_equal(chmod(w->dir, 0770), 0);
	assert_int_equal(open_flags(w, 0, &s), -EPERM);
	assert_non_null(strstr(reason, "chmod go-rwx"));
}

static void
file_in_the_way_is_refused(void **state)
{
	struct world *w = *state;
	struct statedir *s;

	snprintf(w->dir, sizeof(w->dir), "%s/machine-id", w->tmp.path);
	assert_int_equal(open_flags(w, 0, &s), -ENOTDIR);
	assert_non_null(strstr(reason, w->dir));
}

static void
empty_name_is_refused(void **state)
{
	struct world *w = *state;
	struct statedir *s;

	w->dir[0] = '\0';
	assert_int_equal(open_flags(w, 0, &s), -EINVAL);
	assert_true(reason[0] != '\0');
}

static void
user_directory_follows_xdg(void **state)
{
	struct world *w = *state;
	struct statedir_args args = {.dir = NULL, .machine_id_file = w->id_file};

	/* In a child, as nobody: root has a directory of its own. */
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct statedir *s;
		char want[256];
		int bad = chmod(w->tmp.path, 0777) + chmod(w->id_file, 0644);
		if (geteuid() == 0)
			bad += setuid(65534);
		setenv("XDG_STATE_HOME", w->tmp.path, 1);
		bad += statedir_open(&args, &s, reason, sizeof(reason));
		snprintf(want, sizeof(want), "%s/terrace", w->tmp.path);
		if (bad != 0 || strcmp(statedir_path(s), want) != 0)
			_exit(1);
		statedir_close(s);
		unsetenv("XDG_STATE_HOME");
		setenv("HOME", w->tmp.path, 1);
		bad = statedir_open(&args, &s, reason, sizeof(reason));
		snprintf(want, sizeof(want), "%s/.local/state/terrace", w->tmp.path);
		if (bad != 0 || strcmp(statedir_path(s), want) != 0)
			_exit(2);
		statedir_close(s);
		unsetenv("HOME");
		_exit(statedir_open(&args, &s, reason, sizeof(reason)) == -EINVAL ? 0 : 3);
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    T(made_with_parents_for_the_owner_alone),
	    T(opens_again),
	    T(second_daemon_is_refused_and_told_the_pid),
	    T(lock_of_a_killed_daemon_is_no_obstacle),
	    T(another_machines_directory_is_refused_with_both_ways_on),
	    T(moved_directory_is_taken_over_once_and_for_good),
	    T(machine_without_id_is_none),
	    T(damaged_marker_is_refused),
	    T(catalog_without_marker_is_refused),
	    T(directory_that_others_can_write_is_refused),
	    T(file_in_the_way_is_refused),
	    T(empty_name_is_refused),
	    T(user_directory_follows_xdg),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
