/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/child.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/assert.h"

extern char **environ;

bool
child_find_beside(const char *name, char *buf, size_t cap)
{
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);

	if (n <= 0)
		return false;
	self[n] = '\0';
	int len = snprintf(buf, cap, "%s/%s", dirname(self), name);
	return len > 0 && (size_t)len < cap && access(buf, X_OK) == 0;
}

/* Signals that a daemon ignores are again what a program expects. */
static void
set_attributes(posix_spawnattr_t *attr)
{
	sigset_t none, defaults;

	sigemptyset(&none);
	sigemptyset(&defaults);
	sigaddset(&defaults, SIGPIPE);
	sigaddset(&defaults, SIGXFSZ);
	posix_spawnattr_setflags(
	    attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
	posix_spawnattr_setsigmask(attr, &none);
	posix_spawnattr_setsigdefault(attr, &defaults);
	posix_spawnattr_setpgroup(attr, 0);
}

/* 0 or an errno: of our descriptors only `fd`, as CHILD_FD. */
static int
set_files(posix_spawn_file_actions_t *files, const struct child_args *args, int fd)
{
	int rc = posix_spawn_file_actions_addopen(files, 0, "/dev/null", O_RDONLY, 0);

	if (rc == 0)
		rc = posix_spawn_file_actions_addopen(files, 1, "/dev/null", O_WRONLY, 0);
	if (rc == 0 && args->mute)
		rc = posix_spawn_file_actions_addopen(files, 2, "/dev/null", O_WRONLY, 0);
	if (rc == 0)
		rc = posix_spawn_file_actions_adddup2(files, fd, CHILD_FD);
	if (rc == 0)
		rc = posix_spawn_file_actions_addclosefrom_np(files, CHILD_FD + 1);
	return rc;
}

static int
spawn(const struct child_args *args, int fd, pid_t *ret)
{
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;

	int rc = posix_spawn_file_actions_init(&files);
	if (rc != 0)
		return -rc;
	rc = posix_spawnattr_init(&attr);
	if (rc == 0) {
		set_attributes(&attr);
		rc = set_files(&files, args, fd);
		if (rc == 0)
			rc = posix_spawnp(ret, args->program, &files, &attr, args->argv,
			    args->env != NULL ? args->env : environ);
		posix_spawnattr_destroy(&attr);
	}
	posix_spawn_file_actions_destroy(&files);
	return -rc;
}

/* With the child's end open, whose copy it gets. 0 or -errno: there is no child then. */
static int
start_with(const struct child_args *args, int theirs, struct child *c)
{
	/* dup2() of a descriptor onto itself would leave it close-on-exec */
	int far = fcntl(theirs, F_DUPFD_CLOEXEC, CHILD_FD + 1);

	if (far < 0)
		return -errno;
	int rc = spawn(args, far, &c->pid);
	close(far);
	if (rc < 0)
		return rc;
	c->pidfd = pidfd_open(c->pid, 0);
	if (c->pidfd >= 0)
		return 0;
	rc = -errno;
	kill(c->pid, SIGKILL);
	waitpid(c->pid, NULL, 0);
	return rc;
}

int
child_start(const struct child_args *args, struct child *ret)
{
	struct child c;
	int pair[2];

	ASSERT(args->program != NULL);
	ASSERT(args->argv != NULL && args->argv[0] != NULL);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	c.fd = pair[0];
	/* before there is a child, so that its failure leaves none */
	int rc = fcntl(c.fd, F_SETFL, O_NONBLOCK) < 0 ? -errno : start_with(args, pair[1], &c);
	close(pair[1]);
	if (rc < 0) {
		close(c.fd);
		return rc;
	}
	*ret = c;
	return 0;
}

void
child_abandon(const struct child *c)
{
	ASSERT(c->pid > 0);
	kill(c->pid, SIGKILL);
	waitpid(c->pid, NULL, 0);
	close(c->pidfd);
	close(c->fd);
}
