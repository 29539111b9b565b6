/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "health/health_priv.h"

#define LINKS_MAX 40u

static int refuse(int err, char *reason, size_t cap, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

static int
refuse(int err, char *reason, size_t cap, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(reason, cap, fmt, ap);
	va_end(ap);
	return err;
}

/* One component: of whom, and who may write. */
static int
check_one(const char *path, const struct stat *st, char *reason, size_t cap)
{
	if (st->st_uid != 0 && st->st_uid != geteuid())
		return refuse(-EPERM, reason, cap,
		    "%s belongs to user %u, neither to root nor to the user of the target", path,
		    st->st_uid);
	if (S_ISLNK(st->st_mode)) /* has no permissions of its own */
		return 0;
	if (S_ISDIR(st->st_mode) && (st->st_mode & S_ISVTX) != 0)
		return 0;
	if ((st->st_mode & 022) != 0)
		return refuse(-EPERM, reason, cap, "%s is writable by others (mode %04o)", path,
		    st->st_mode & 07777u);
	return 0;
}

/* Puts the link at path[0..at) in the place of its name: "…/LINK/rest" → "TARGET/rest". */
static int
follow(char path[PATH_MAX], size_t at)
{
	char target[PATH_MAX], joined[PATH_MAX];
	char rest[PATH_MAX];

	snprintf(rest, sizeof rest, "%s", path + at);
	path[at] = '\0';
	ssize_t n = readlink(path, target, sizeof target - 1);
	if (n < 0)
		return -errno;
	target[n] = '\0';
	size_t dir = target[0] == '/' ? 0 : (size_t)(strrchr(path, '/') + 1 - path);
	int len = snprintf(joined, sizeof joined, "%.*s%s%s", (int)dir, path, target, rest);
	if (len < 0 || (size_t)len >= sizeof joined)
		return -ENAMETOOLONG;
	memcpy(path, joined, (size_t)len + 1);
	return 0;
}

static int
walk(char path[PATH_MAX], char *reason, size_t cap)
{
	struct stat st;
	unsigned links = 0;
	size_t at = 1; /* behind the root's name */

	for (;;) {
		char saved = path[at];
		path[at] = '\0';
		int rc = lstat(path, &st) < 0 ? -errno : 0;
		if (rc < 0)
			return refuse(rc, reason, cap, "%s: %s", path, strerror(-rc));
		rc = check_one(path, &st, reason, cap);
		if (rc < 0)
			return rc;
		path[at] = saved;
		if (S_ISLNK(st.st_mode)) {
			rc = ++links > LINKS_MAX ? -ELOOP : follow(path, at);
			if (rc < 0)
				return refuse(rc, reason, cap, "%s: %s", path, strerror(-rc));
			at = 1;
			continue;
		}
		if (saved == '\0' && path[at] == '\0')
			break;
		at += strspn(path + at, "/");
		if (path[at] == '\0')
			break;
		at += strcspn(path + at, "/");
	}
	if (!S_ISREG(st.st_mode))
		return refuse(-EINVAL, reason, cap, "%s is no file", path);
	return 0;
}

int
hook_check(const char *path, char *resolved, char *reason, size_t reason_cap)
{
	if (path[0] != '/' || strlen(path) >= PATH_MAX)
		return refuse(-EINVAL, reason, reason_cap, "it isn't an absolute path");
	snprintf(resolved, PATH_MAX, "%s", path);
	int rc = walk(resolved, reason, reason_cap);
	if (rc == 0 && access(resolved, X_OK) < 0)
		rc = refuse(-errno, reason, reason_cap, "%s: %s", resolved,
		    errno == EACCES ? "not executable" : strerror(errno));
	return rc;
}
