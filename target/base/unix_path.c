/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/process.h"
#include "base/unix_path.h"

static bool
is_alive(pid_t pid)
{
	char state = process_state("", pid);
	return (kill(pid, 0) == 0 || errno == EPERM) && state != 'Z' && state != 'X';
}

/* Whether a process listens there; *ret_pid is 0 where its number can't be had. */
static bool
somebody_listens(const struct sockaddr_un *un, pid_t *ret_pid)
{
	struct ucred cred = {0};
	socklen_t len = sizeof cred;
	bool listens;

	*ret_pid = 0;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return false;
	if (connect(fd, (const struct sockaddr *)un, sizeof *un) < 0) {
		listens = errno == EAGAIN; /* its queue is full */
	} else if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0 || cred.pid == 0) {
		listens = true; /* of another PID namespace */
	} else {
		listens = is_alive(cred.pid);
		*ret_pid = cred.pid;
	}
	close(fd);
	return listens;
}

static int
refuse_busy(
    const char *path, const struct unix_path_name *name, pid_t pid, char *reason, size_t cap)
{
	char who[32] = "another process";

	if (pid != 0)
		snprintf(who, sizeof who, "process %d", (int)pid);
	snprintf(reason, cap, "%s listens on the %s %s: stop it, or choose another with %s", who,
	    name->what, path, name->option);
	return -EADDRINUSE;
}

int
unix_path_take(const char *path, const struct unix_path_name *name, struct sockaddr_un *ret,
    char *reason, size_t cap)
{
	struct stat st;
	pid_t pid;

	*ret = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (path[0] == '\0') {
		snprintf(reason, cap, "the path of the %s is empty", name->what);
		return -EINVAL;
	}
	if (strlen(path) >= sizeof ret->sun_path) {
		snprintf(reason, cap,
		    "the path of the %s is longer than %zu bytes: %s; choose another with %s",
		    name->what, sizeof ret->sun_path - 1, path, name->option);
		return -ENAMETOOLONG;
	}
	strcpy(ret->sun_path, path);
	if (lstat(path, &st) < 0)
		return 0; /* bind() says what is wrong with it */
	if (!S_ISSOCK(st.st_mode)) {
		snprintf(reason, cap, "%s exists and is no socket: choose another path with %s",
		    path, name->option);
		return -EEXIST;
	}
	if (somebody_listens(ret, &pid))
		return refuse_busy(path, name, pid, reason, cap);
	if (unlink(path) < 0 && errno != ENOENT) {
		int rc = -errno;
		snprintf(
		    reason, cap, "can't remove the old %s %s: %s", name->what, path, strerror(-rc));
		return rc;
	}
	return 0;
}
