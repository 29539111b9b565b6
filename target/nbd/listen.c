/* SPDX-License-Identifier: BSD-2-Clause */
/* The socket in the file system: who may use it is its permissions. */
#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "nbd/nbd_priv.h"

static bool
somebody_listens(const struct sockaddr_un *un)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return false;
	int rc = connect(fd, (const struct sockaddr *)un, sizeof *un);
	bool full = rc < 0 && errno == EAGAIN; /* its queue is */
	close(fd);
	return rc == 0 || full;
}

static int
check_path(const char *path, struct sockaddr_un *un, char *reason, size_t cap)
{
	struct stat st;

	if (path[0] == '\0') { /* an abstract socket: it has no permissions */
		snprintf(reason, cap, "the path of the NBD socket is empty");
		return -EINVAL;
	}
	if (strlen(path) >= sizeof un->sun_path) {
		snprintf(reason, cap,
		    "the path of the NBD socket is longer than %zu bytes: %s; choose another with "
		    "--nbd",
		    sizeof un->sun_path - 1, path);
		return -ENAMETOOLONG;
	}
	strcpy(un->sun_path, path);
	if (lstat(path, &st) == 0 && !S_ISSOCK(st.st_mode)) {
		snprintf(reason, cap, "%s exists and is no socket: choose another path with --nbd",
		    path);
		return -EEXIST;
	}
	if (somebody_listens(un)) {
		snprintf(reason, cap,
		    "another process listens on the NBD socket %s: stop it, or choose another with "
		    "--nbd",
		    path);
		return -EADDRINUSE;
	}
	return 0;
}

/* Nobody but its owner can connect until the group is set. */
static int
give_to_group(const char *path, const char *group)
{
	const struct group *g = geteuid() == 0 && group != NULL ? getgrnam(group) : NULL;
	if (g == NULL)
		return 0;
	if (lchown(path, (uid_t)-1, g->gr_gid) < 0 || chmod(path, 0660) < 0)
		return -errno;
	return 0;
}

int
nbd_listen(struct loop *l, const char *path, const char *group, sock_accept_fn *accepted, void *ctx,
    struct sock_listener **ret, char *reason, size_t cap)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	int rc = check_path(path, &un, reason, cap);
	if (rc < 0)
		return rc;
	(void)unlink(path);
	mode_t old = umask(0177);
	rc = sock_listen(l, (const struct sockaddr *)&un, sizeof un, accepted, ctx, ret);
	umask(old);
	if (rc == 0) {
		rc = give_to_group(path, group);
		if (rc < 0) {
			sock_listener_close(*ret);
			*ret = NULL;
			(void)unlink(path);
		}
	}
	if (rc < 0)
		snprintf(reason, cap, "can't create the NBD socket %s: %s", path, strerror(-rc));
	return rc;
}
