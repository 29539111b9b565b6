/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/unix_path.h"
#include "tests/cmocka_all.h"

static const struct unix_path_name name = {"test socket", "--test"};
static char folder[] = "/tmp/terrace-unix-path-XXXXXX";

static const char *
in_folder(const char *file)
{
	static char path[200];

	snprintf(path, sizeof path, "%s/%s", folder, file);
	return path;
}

static int
bound(const char *path)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};

	strcpy(un.sun_path, path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (const struct sockaddr *)&un, sizeof un), 0);
	return fd;
}

static void
expect(const char *path, int rc, const char *says)
{
	struct sockaddr_un un;
	char reason[400] = "";

	assert_int_equal(unix_path_take(path, &name, &un, reason, sizeof reason), rc);
	if (says == NULL)
		assert_string_equal(reason, "");
	else if (strstr(reason, says) == NULL)
		fail_msg("not in the reason: %s", reason);
	if (rc == 0) {
		assert_string_equal(un.sun_path, path);
		assert_int_equal(access(path, F_OK), -1);
	}
}

static void
bad_paths_are_refused(void **state)
{
	(void)state;
	char lengthy[200];

	memset(lengthy, 'x', sizeof lengthy - 1);
	lengthy[sizeof lengthy - 1] = '\0';
	expect("", -EINVAL, "the path of the test socket is empty");
	expect(lengthy, -ENAMETOOLONG, "choose another with --test");
	expect(folder, -EEXIST, "exists and is no socket");
	assert_int_equal(symlink("nowhere", in_folder("link")), 0);
	expect(in_folder("link"), -EEXIST, "exists and is no socket");
	assert_int_equal(unlink(in_folder("link")), 0);
}

static void
a_free_path_is_taken(void **state)
{
	(void)state;
	expect(in_folder("free"), 0, NULL);
	expect(in_folder("no/folder"), 0, NULL);
}

static void
an_old_socket_is_removed(void **state)
{
	(void)state;
	const char *path = in_folder("old");
	close(bound(path));
	expect(path, 0, NULL);
}

static void
who_listens_is_named(void **state)
{
	(void)state;
	const char *path = in_folder("busy");
	char says[40];
	int fd = bound(path);

	assert_int_equal(listen(fd, 1), 0);
	snprintf(says, sizeof says, "process %d listens on the test socket", (int)getpid());
	expect(path, -EADDRINUSE, says);
	assert_int_equal(access(path, F_OK), 0);
	close(fd);
	unlink(path);
}

/* A full queue: nobody can tell whose it is, but it is somebody's. */
static void
a_full_queue_is_somebody_s(void **state)
{
	(void)state;
	const char *path = in_folder("full");
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	int fd = bound(path), clients[64];
	unsigned n = 0;

	strcpy(un.sun_path, path);
	assert_int_equal(listen(fd, 0), 0);
	do {
		assert_true(n < 64);
		clients[n] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		assert_true(clients[n] >= 0);
	} while (connect(clients[n++], (const struct sockaddr *)&un, sizeof un) == 0);
	assert_int_equal(errno, EAGAIN);
	expect(path, -EADDRINUSE, "another process listens on the test socket");
	while (n > 0)
		close(clients[--n]);
	close(fd);
	unlink(path);
}

/* The kernel keeps a socket open for the requests of a process that has ended: here this one does. */
static void
who_has_ended_does_not_count(void **state)
{
	(void)state;
	const char *path = in_folder("ended");
	siginfo_t info;
	int status;
	int fd = bound(path);

	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(listen(fd, 8) == 0 ? 0 : 1);
	/* A zombie first. */
	assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
	expect(path, 0, NULL);
	close(fd);

	fd = bound(path);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(listen(fd, 8) == 0 ? 0 : 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	expect(path, 0, NULL);
	close(fd);
}

static int
set_up(void **state)
{
	(void)state;
	return mkdtemp(folder) == NULL;
}

static int
tear_down(void **state)
{
	(void)state;
	return rmdir(folder);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(bad_paths_are_refused),
	    cmocka_unit_test(a_free_path_is_taken),
	    cmocka_unit_test(an_old_socket_is_removed),
	    cmocka_unit_test(who_listens_is_named),
	    cmocka_unit_test(a_full_queue_is_somebody_s),
	    cmocka_unit_test(who_has_ended_does_not_count),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
