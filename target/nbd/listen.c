/* SPDX-License-Identifier: BSD-2-Clause */
/* The socket in the file system: who may use it is its permissions. */
#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/unix_path.h"
#include "nbd/nbd_priv.h"

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
	static const struct unix_path_name name = {"NBD socket", "--nbd"};
	struct sockaddr_un un;

	int rc = unix_path_take(path, &name, &un, reason, cap);
	if (rc < 0)
		return rc;
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
