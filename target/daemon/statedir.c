/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * DIR/lock    flock()ed while a daemon runs, holds its pid
 * DIR/state   the marker: "terrace-state 1\nmachine-id ID\n", written before anything else is
 *
 * The kernel drops the lock of a process however it ends, so that no lock is ever stale.
 */
#include "daemon/statedir.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"

#define MACHINE_ID_MAX 64
#define MARKER_MAX 256
#define MARKER_HEAD "terrace-state 1\nmachine-id "

struct statedir {
	char path[PATH_MAX];
	char machine_id[MACHINE_ID_MAX + 1];
	int dir_fd;
	int lock_fd;
};

static int fail(int err, char *reason, size_t cap, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

static int
fail(int err, char *reason, size_t cap, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(reason, cap, fmt, ap);
	va_end(ap);
	return err;
}

static bool
join(char *buf, size_t cap, const char *a, const char *b)
{
	int n = snprintf(buf, cap, "%s%s", a, b);
	return n > 0 && (size_t)n < cap;
}

static int
choose_path(const char *wanted, char path[PATH_MAX], char *reason, size_t cap)
{
	const char *state_home = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
	bool fits;

	if (wanted) {
		if (wanted[0] == '\0')
			return fail(-EINVAL, reason, cap,
			    "the state directory's name is empty: name one, or leave the option "
			    "out");
		fits = join(path, PATH_MAX, wanted, "");
	} else if (geteuid() == 0) {
		fits = join(path, PATH_MAX, "/var/lib/terrace", "");
	} else if (state_home && state_home[0] == '/') {
		fits = join(path, PATH_MAX, state_home, "/terrace");
	} else if (home && home[0] == '/') {
		fits = join(path, PATH_MAX, home, "/.local/state/terrace");
	} else {
		return fail(-EINVAL, reason, cap,
		    "there is no place for the state directory, since neither XDG_STATE_HOME nor "
		    "HOME is"
		    " set: name one with --state-dir");
	}
	if (!fits)
		return fail(-ENAMETOOLONG, reason, cap,
		    "the state directory's path is too long: name a shorter one with --state-dir");
	return 0;
}

/* mkdir -p; what is made is for the owner alone. */
static int
make_dirs(const char *path)
{
	char part[PATH_MAX];

	for (const char *p = path + 1;; p++) {
		if (*p != '/' && *p != '\0')
			continue;
		size_t len = (size_t)(p - path);
		memcpy(part, path, len);
		part[len] = '\0';
		if (mkdir(part, 0700) < 0 && errno != EEXIST)
			return -errno;
		if (*p == '\0')
			return 0;
	}
}

static int
open_dir(struct statedir *s, char *reason, size_t cap)
{
	struct stat st;

	int err = make_dirs(s->path);
	if (err < 0)
		return fail(err, reason, cap,
		    "cannot make the state directory %s (%s): make it, or name another with "
		    "--state-dir",
		    s->path, strerror(-err));
	s->dir_fd = open(s->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->dir_fd < 0 || fstat(s->dir_fd, &st) < 0) {
		err = -errno;
		return fail(err, reason, cap,
		    "cannot open the state directory %s (%s): name another with --state-dir",
		    s->path, strerror(-err));
	}
	if (st.st_uid != geteuid())
		return fail(-EPERM, reason, cap,
		    "the state directory %s belongs to uid %u: run as that user, or `chown -R %u "
		    "%s`",
		    s->path, st.st_uid, geteuid(), s->path);
	if (st.st_mode & 0022)
		return fail(-EPERM, reason, cap,
		    "the state directory %s can be written by others: `chmod go-rwx %s`", s->path,
		    s->path);
	return 0;
}

static int
take_lock(struct statedir *s, char *reason, size_t cap)
{
	char pid[32];

	s->lock_fd = openat(s->dir_fd, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (s->lock_fd < 0) {
		int err = -errno;
		return fail(err, reason, cap,
		    "cannot open %s/lock (%s): check the directory's permissions", s->path,
		    strerror(-err));
	}
	if (flock(s->lock_fd, LOCK_EX | LOCK_NB) < 0) {
		int err = -errno;
		if (err != -EWOULDBLOCK)
			return fail(err, reason, cap,
			    "cannot lock %s/lock (%s): use a local file system", s->path,
			    strerror(-err));
		ssize_t n = pread(s->lock_fd, pid, sizeof(pid) - 1, 0);
		size_t digits = n > 0 ? strspn((pid[n] = '\0', pid), "0123456789") : 0;
		return fail(-EBUSY, reason, cap,
		    "the state directory %s is in use by process %.*s: stop it, or name another "
		    "directory"
		    " with --state-dir",
		    s->path, digits ? (int)digits : 7, digits ? pid : "unknown");
	}
	int len = snprintf(pid, sizeof(pid), "%ld\n", (long)getpid());
	if (ftruncate(s->lock_fd, 0) < 0 || pwrite(s->lock_fd, pid, (size_t)len, 0) != len) {
		int err = errno ? -errno : -EIO;
		return fail(err, reason, cap,
		    "cannot write %s/lock (%s): make room on its file system", s->path,
		    strerror(-err));
	}
	return 0;
}

static void
read_machine_id(struct statedir *s, const char *file)
{
	char buf[MACHINE_ID_MAX + 1] = "";

	int fd = open(file ? file : "/etc/machine-id", O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		ssize_t n = read(fd, buf, sizeof(buf) - 1);
		buf[n > 0 ? n : 0] = '\0';
		close(fd);
	}
	/* "uninitialized" stands there before the first boot is through. */
	size_t len = strspn(buf, "0123456789abcdef");
	buf[len] = '\0';
	snprintf(s->machine_id, sizeof(s->machine_id), "%s", len >= 8 ? buf : "none");
}

/* The machine id in the marker. -ENOENT: no marker. */
static int
read_marker(const struct statedir *s, char id[MACHINE_ID_MAX + 1])
{
	char buf[MARKER_MAX + 1];
	const size_t head = strlen(MARKER_HEAD);

	int fd = openat(s->dir_fd, "state", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ssize_t n = read(fd, buf, sizeof(buf) - 1);
	int err = -errno;
	close(fd);
	if (n < 0)
		return err;
	buf[n] = '\0';
	if (strlen(buf) != (size_t)n || strncmp(buf, MARKER_HEAD, head) != 0)
		return -EINVAL;
	size_t len = strcspn(buf + head, "\n");
	if (len == 0 || len > MACHINE_ID_MAX || strcmp(buf + head + len, "\n") != 0)
		return -EINVAL;
	memcpy(id, buf + head, len);
	id[len] = '\0';
	return 0;
}

/* Whole or not at all: a new file takes the name when it is durable. */
static int
write_marker(const struct statedir *s)
{
	char buf[MARKER_MAX];

	int len = snprintf(buf, sizeof(buf), "%s%s\n", MARKER_HEAD, s->machine_id);
	ASSERT(len > 0 && (size_t)len < sizeof(buf));
	int fd = openat(s->dir_fd, "state.new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	ssize_t n = write(fd, buf, (size_t)len);
	int err = n == len ? 0 : n < 0 ? -errno : -ENOSPC;
	if (err == 0 && fsync(fd) < 0)
		err = -errno;
	close(fd);
	if (err == 0 && renameat(s->dir_fd, "state.new", s->dir_fd, "state") < 0)
		err = -errno;
	if (err == 0 && fsync(s->dir_fd) < 0)
		err = -errno;
	if (err < 0)
		unlinkat(s->dir_fd, "state.new", 0);
	return err;
}

static int
check_marker(const struct statedir *s, unsigned flags, char *reason, size_t cap)
{
	char id[MACHINE_ID_MAX + 1];
	bool moved = flags & STATEDIR_MOVED;

	int err = read_marker(s, id);
	if (err == 0 && strcmp(id, s->machine_id) == 0)
		return 0;
	if (err == 0 && !moved)
		return fail(-EXDEV, reason, cap,
		    "the state directory %s comes from another machine (machine-id %s, this one is "
		    "%s): if it"
		    " was moved here, start once with --state-dir-moved; if it was copied, remove "
		    "it with"
		    " `rm -r %s`, or two targets will claim the same identities",
		    s->path, id, s->machine_id, s->path);
	if (err == -ENOENT && !moved && faccessat(s->dir_fd, "catalog.mdb", F_OK, 0) == 0)
		return fail(-EINVAL, reason, cap,
		    "the state directory %s holds a catalog but no file `state` that says whose it "
		    "is:"
		    " restore the file, or start once with --state-dir-moved to take the directory "
		    "over",
		    s->path);
	if (err == -EINVAL && !moved)
		return fail(err, reason, cap,
		    "%s/state is damaged: restore it, or start once with --state-dir-moved to "
		    "write it anew",
		    s->path);
	if (err < 0 && err != -ENOENT && err != -EINVAL)
		return fail(err, reason, cap, "cannot read %s/state (%s): check its permissions",
		    s->path, strerror(-err));
	err = write_marker(s);
	if (err < 0)
		return fail(err, reason, cap,
		    "cannot write %s/state (%s): make room on its file system", s->path,
		    strerror(-err));
	return 0;
}

int
statedir_open(
    const struct statedir_args *args, struct statedir **ret, char *reason, size_t reason_cap)
{
	struct statedir *s = calloc(1, sizeof(*s));

	if (!s)
		return fail(-ENOMEM, reason, reason_cap, "out of memory");
	s->dir_fd = s->lock_fd = -1;
	int err = choose_path(args->dir, s->path, reason, reason_cap);
	if (err == 0)
		err = open_dir(s, reason, reason_cap);
	if (err == 0)
		err = take_lock(s, reason, reason_cap);
	if (err == 0) {
		read_machine_id(s, args->machine_id_file);
		err = check_marker(s, args->flags, reason, reason_cap);
	}
	if (err < 0) {
		statedir_close(s);
		return err;
	}
	*ret = s;
	return 0;
}

void
statedir_close(struct statedir *s)
{
	if (!s)
		return;
	if (s->lock_fd >= 0)
		close(s->lock_fd);
	if (s->dir_fd >= 0)
		close(s->dir_fd);
	free(s);
}

const char *
statedir_path(const struct statedir *s)
{
	return s->path;
}

const char *
statedir_machine_id(const struct statedir *s)
{
	return s->machine_id;
}
