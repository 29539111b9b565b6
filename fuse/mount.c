/* SPDX-License-Identifier: BSD-2-Clause */
/* Is this a place to mount at? What a dead process left there is taken away first. */
#include <errno.h>
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fuse/terrace_fuse.h"

#define LOOK_TIMEOUT_MS 2000

extern char **environ;

/* "\040" and the like of /proc/self/mountinfo (proc(5)). */
static void
unescape(char *s)
{
	char *to = s;
	for (; *s != '\0'; s++) {
		unsigned code;
		if (*s == '\\' && sscanf(s + 1, "%3o", &code) == 1) {
			*to++ = (char)code;
			s += 3;
		} else {
			*to++ = *s;
		}
	}
	*to = '\0';
}

/* The type of the file system that is mounted last at `path`; "" for none. */
static void
type_of_mount(const char *path, char *ret, size_t cap)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	char *line = NULL;
	size_t room = 0;

	ret[0] = '\0';
	while (f != NULL && getline(&line, &room, f) > 0) {
		char *place = NULL, *save = NULL, *type = strstr(line, " - ");
		if (type == NULL)
			continue;
		*type = '\0';
		place = strtok_r(line, " ", &save);
		for (unsigned i = 0; i < 4 && place != NULL; i++)
			place = strtok_r(NULL, " ", &save);
		if (place == NULL)
			continue;
		unescape(place);
		type += 3;
		if (strcmp(place, path) == 0)
			snprintf(ret, cap, "%.*s", (int)strcspn(type, " "), type);
	}
	free(line);
	if (f != NULL)
		fclose(f);
}

/*
 * errno of open(2), which no kernel answers from what it keeps, in a process of its own, since a file system
 * may hang; -1: it does.
 */
static int
look(const char *path)
{
	pid_t pid = fork();

	if (pid < 0)
		return errno;
	if (pid == 0)
		_exit(open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) >= 0 ? 0 : errno);
	int fd = pidfd_open(pid, 0), status = 0;
	struct pollfd p = {.fd = fd, .events = POLLIN};
	bool ended = fd < 0 || poll(&p, 1, LOOK_TIMEOUT_MS) > 0;
	if (fd >= 0)
		close(fd);
	if (!ended)
		kill(pid, SIGKILL);
	/* One that hangs in the kernel isn't waited for: init has it when we end. */
	if (waitpid(pid, &status, ended ? 0 : WNOHANG) != pid || !WIFEXITED(status))
		return -1;
	return WEXITSTATUS(status);
}

/* As root, or by the helper of fuse3 that everybody may use. */
static int
unmount(const char *path)
{
	char *const argv[] = {(char *)(uintptr_t) "fusermount3", (char *)(uintptr_t) "-u",
	    (char *)(uintptr_t) "-z", (char *)(uintptr_t) "--", (char *)(uintptr_t)path, NULL};
	pid_t pid;
	int status;

	if (umount2(path, MNT_DETACH) == 0)
		return 0;
	if (posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ) != 0)
		return -EPERM;
	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
		return -EPERM;
	return 0;
}

static bool
is_empty(const char *path)
{
	DIR *d = opendir(path);
	const struct dirent *e;
	unsigned count = 0;

	while (d != NULL && (e = readdir(d)) != NULL)
		count += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
	if (d != NULL)
		closedir(d);
	return count == 0;
}

/* What is mounted there. 0: nothing any more. */
static int
clean(const char *path, char *reason, size_t cap)
{
	for (unsigned i = 0; i < 16; i++) { /* several may lie upon each other */
		char type[64];
		type_of_mount(path, type, sizeof type);
		if (type[0] == '\0')
			return 0;
		if (strcmp(type, "fuse.terrace") != 0) {
			snprintf(reason, cap,
			    "something is mounted at %s already (%s): give another folder", path,
			    type);
			return -EBUSY;
		}
		int err = look(path);
		if (err == -1) {
			snprintf(reason, cap,
			    "a terrace-fuse that doesn't answer is mounted at %s: end it first",
			    path);
			return -EBUSY;
		}
		if (err != ENOTCONN && err != ECONNABORTED) {
			snprintf(reason, cap, "another terrace-fuse is mounted at %s", path);
			return -EBUSY;
		}
		if (unmount(path) < 0) {
			snprintf(reason, cap,
			    "a dead mount lies at %s and can't be removed: umount -l %s", path,
			    path);
			return -EBUSY;
		}
	}
	snprintf(reason, cap, "many dead mounts lie at %s: umount -l %s", path, path);
	return -EBUSY;
}

/* The path as the kernel writes it; the folder itself isn't looked at, it may be a dead mount. */
static int
canonical(const char *dir, char ret[PATH_MAX])
{
	char parent[PATH_MAX], real[PATH_MAX];
	size_t len = strlen(dir);

	while (len > 1 && dir[len - 1] == '/')
		len--;
	if (len == 0 || len >= PATH_MAX)
		return -ENAMETOOLONG;
	snprintf(parent, sizeof parent, "%.*s", (int)len, dir);
	char *slash = strrchr(parent, '/');
	const char *last = slash != NULL ? slash + 1 : parent;
	if (strcmp(last, ".") == 0 || strcmp(last, "..") == 0 || strcmp(last, "") == 0)
		return -EINVAL;
	char name[NAME_MAX + 1];
	if (strlen(last) > NAME_MAX)
		return -ENAMETOOLONG;
	strcpy(name, last);
	if (slash == NULL)
		strcpy(parent, ".");
	else if (slash == parent)
		parent[1] = '\0';
	else
		*slash = '\0';
	if (realpath(parent, real) == NULL)
		return -errno;
	int n = snprintf(ret, PATH_MAX, "%s%s%s", strcmp(real, "/") == 0 ? "" : real, "/", name);
	return n < PATH_MAX ? 0 : -ENAMETOOLONG;
}

int
mount_prepare(const char *dir, char ret_path[PATH_MAX], bool *ret_made, char *reason, size_t cap)
{
	struct stat st;

	*ret_made = false;
	if (access("/dev/fuse", F_OK) < 0) {
		snprintf(reason, cap,
		    "there is no /dev/fuse: load the module fuse, or give the "
		    "container that device");
		return -ENODEV;
	}
	int rc = canonical(dir, ret_path);
	if (rc < 0) {
		snprintf(reason, cap, "%s can't be mounted at: %s", dir, strerror(-rc));
		return rc;
	}
	rc = clean(ret_path, reason, cap);
	if (rc < 0)
		return rc;
	if (mkdir(ret_path, 0755) == 0)
		*ret_made = true;
	else if (errno != EEXIST) {
		snprintf(reason, cap, "can't make the folder %s: %s", ret_path, strerror(errno));
		return -EACCES;
	}
	if (lstat(ret_path, &st) < 0 || !S_ISDIR(st.st_mode)) {
		snprintf(reason, cap, "%s is no folder", ret_path);
		return -ENOTDIR;
	}
	if (!is_empty(ret_path)) {
		snprintf(reason, cap, "%s isn't empty: what is in it would be hidden", ret_path);
		return -ENOTEMPTY;
	}
	return 0;
}
