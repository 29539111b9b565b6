/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/child.h"
#include "tests/cmocka_all.h"

#define PATIENCE_MS 60000

static struct child_args
shell(char **argv, char *script)
{
	static char sh[] = "sh", c[] = "-c";

	argv[0] = sh;
	argv[1] = c;
	argv[2] = script;
	argv[3] = NULL;
	return (struct child_args){.program = "/bin/sh", .argv = argv};
}

static unsigned
open_files(void)
{
	unsigned n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

/* Until the other end is closed: all that it wrote. */
static void
read_all(int fd, char *buf, size_t cap)
{
	size_t at = 0;

	for (;;) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
		ssize_t n = read(fd, buf + at, cap - 1 - at);
		if (n <= 0)
			break;
		at += (size_t)n;
	}
	buf[at] = '\0';
}

static int
wait_end(const struct child *c)
{
	struct pollfd p = {.fd = c->pidfd, .events = POLLIN};
	int status = 0;

	assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
	assert_int_equal(waitpid(c->pid, &status, WNOHANG), c->pid);
	close(c->pidfd);
	close(c->fd);
	return status;
}

static void
talks_over_its_descriptor_and_its_end_is_told(void **state)
{
	char *argv[4], script[] = "read line <&3; echo \"got $line\" >&3; exit 7", buf[100];
	struct child_args args = shell(argv, script);
	struct child c;

	(void)state;
	assert_int_equal(child_start(&args, &c), 0);
	assert_int_equal(read(c.fd, buf, sizeof buf), -1);
	assert_int_equal(errno, EAGAIN);
	assert_int_equal(write(c.fd, "hello\n", 6), 6);
	read_all(c.fd, buf, sizeof buf);
	assert_string_equal(buf, "got hello\n");
	int status = wait_end(&c);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 7);
}

static void
inherits_no_descriptor_no_signal_and_no_group(void **state)
{
	char *argv[4],
	    script[] = "told=$(ls -l /proc/$$/fd | sed -n 's/.* \\([0-9]*\\) -> /\\1 /p'; "
	               "grep -E 'Sig(Blk|Ign)' /proc/$$/status; cut -d' ' -f1,5 /proc/$$/stat); "
	               "echo \"$told\" >&3";
	char buf[2000], group[40];
	struct child_args args = shell(argv, script);
	struct child c;
	sigset_t all, old;

	(void)state;
	args.mute = true;
	int extra = open("/dev/null", O_RDONLY); /* not close-on-exec */
	int high = fcntl(extra, F_DUPFD, 200);
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &old);
	void (*was)(int) = signal(SIGPIPE, SIG_IGN);
	assert_int_equal(child_start(&args, &c), 0);
	signal(SIGPIPE, was);
	sigprocmask(SIG_SETMASK, &old, NULL);
	read_all(c.fd, buf, sizeof buf);
	assert_non_null(strstr(buf, "0 /dev/null\n"));
	assert_non_null(strstr(buf, "1 /dev/null\n"));
	assert_non_null(strstr(buf, "2 /dev/null\n"));
	assert_non_null(strstr(buf, "3 socket:"));
	assert_null(strstr(buf, "\n200 "));
	assert_non_null(strstr(buf, "SigBlk:\t0000000000000000\n"));
	const char *ignored = strstr(buf, "SigIgn:\t");
	assert_non_null(ignored);
	assert_int_equal(strtoull(ignored + 8, NULL, 16) >> (SIGPIPE - 1) & 1, 0);
	snprintf(group, sizeof group, "%d %d\n", (int)c.pid, (int)c.pid);
	assert_non_null(strstr(buf, group));
	assert_int_equal(wait_end(&c), 0);
	close(high);
	close(extra);
}

static void
has_the_environment_it_is_given(void **state)
{
	char *argv[4], script[] = "echo \"$CHILD_TEST,$OTHER\" >&3", own[] = "CHILD_TEST=given",
	               buf[100];
	char *env[] = {own, NULL};
	struct child_args args = shell(argv, script);
	struct child c;

	(void)state;
	setenv("CHILD_TEST", "ours", 1);
	setenv("OTHER", "also", 1);
	assert_int_equal(child_start(&args, &c), 0);
	read_all(c.fd, buf, sizeof buf);
	assert_string_equal(buf, "ours,also\n");
	assert_int_equal(wait_end(&c), 0);
	args.env = env;
	assert_int_equal(child_start(&args, &c), 0);
	read_all(c.fd, buf, sizeof buf);
	assert_string_equal(buf, "given,\n");
	assert_int_equal(wait_end(&c), 0);
}

static void
leaves_nothing_when_it_fails(void **state)
{
	char *argv[4], script[] = "exit 0";
	struct child_args args = shell(argv, script);
	struct child c = {.pid = 42, .pidfd = 43, .fd = 44};
	struct rlimit was, few;
	unsigned before = open_files();

	(void)state;
	args.program = "/nonexistent/program";
	assert_int_equal(child_start(&args, &c), -ENOENT);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
	args.program = "/bin/sh";
	/* the socket, its copy, the pidfd: each may be the one that there is no room for */
	int rc = -1;
	for (rlim_t room = 3; rc != 0 && room < 64; room++) {
		few = (struct rlimit){room, was.rlim_max};
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
		rc = child_start(&args, &c);
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
		if (rc == 0)
			break;
		assert_true(rc == -EMFILE || rc == -EINVAL || rc == -EBADF);
		assert_int_equal(c.pid, 42);
		assert_int_equal(open_files(), before);
		assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
		assert_int_equal(errno, ECHILD);
	}
	assert_int_equal(rc, 0);
	assert_int_equal(wait_end(&c), 0);
	assert_int_equal(open_files(), before);
}

static void
is_abandoned(void **state)
{
	char *argv[4], script[] = "exec sleep 1000";
	struct child_args args = shell(argv, script);
	struct child c;
	unsigned before = open_files();

	(void)state;
	assert_int_equal(child_start(&args, &c), 0);
	child_abandon(&c);
	assert_int_equal(open_files(), before);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

static void
is_looked_for_beside_our_program(void **state)
{
	char path[PATH_MAX], self[PATH_MAX], small[8];
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);

	(void)state;
	assert_true(n > 0);
	self[n] = '\0';
	const char *name = strrchr(self, '/') + 1;
	assert_true(child_find_beside(name, path, sizeof path));
	assert_string_equal(path, self);
	assert_false(child_find_beside("no-such-program", path, sizeof path));
	assert_false(child_find_beside(name, small, sizeof small));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(talks_over_its_descriptor_and_its_end_is_told),
	    cmocka_unit_test(inherits_no_descriptor_no_signal_and_no_group),
	    cmocka_unit_test(has_the_environment_it_is_given),
	    cmocka_unit_test(leaves_nothing_when_it_fails),
	    cmocka_unit_test(is_abandoned),
	    cmocka_unit_test(is_looked_for_beside_our_program),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
