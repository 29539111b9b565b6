/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The marker of a store: which cache has its newest data. It is with the store wherever that can hold it, so
 * that the store is recognised on another machine as well:
 *
 *	a file          extended attribute user.terrace.cache
 *	anything else   STATE_DIR/markers/NAME, NAME being a hash of the store's: this host only
 *
 * "terrace-cache 1 UUID VOLUME GENERATION": text, so that getfattr(1) shows what it is. The LUN's bytes
 * are never touched.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/text.h"
#include "daemon/caches.h"

#define ATTRIBUTE "user.terrace.cache"
#define TEXT_MAX 160

struct daemon_marker {
	struct daemon *daemon;
	char *path;  /* of the file; NULL: the store is none */
	char *local; /* of the marker in the state directory */
	bool is_local;
	/* one call at a time */
	struct loop_job job;
	struct cache_marker value;
	void (*got)(void *ctx, int result, const struct cache_marker *m);
	cache_done_fn *set;
	void *ctx;
};

/* ---- text ------------------------------------------------------------------------------------------ */

static void
print(const struct cache_marker *m, char *buf, size_t cap)
{
	char uuid[37];
	text_format_uuid(m->cache_uuid, uuid);
	snprintf(
	    buf, cap, "terrace-cache 1 %s %" PRIu32 " %" PRIu64, uuid, m->volume, m->generation);
}

static int
parse(const char *text, struct cache_marker *ret)
{
	char uuid[37], again[TEXT_MAX];
	struct cache_marker m = {.present = true};

	if (sscanf(text, "terrace-cache 1 %36s %" SCNu32 " %" SCNu64, uuid, &m.volume,
	        &m.generation) != 3 ||
	    text_parse_uuid(uuid, m.cache_uuid) < 0)
		return -EINVAL;
	print(&m, again, sizeof again);
	if (strcmp(again, text) != 0)
		return -EINVAL;
	*ret = m;
	return 0;
}

/* ---- blocking ---------------------------------------------------------------------------------------- */

static int
read_local(const struct daemon_marker *m, char *buf, size_t cap)
{
	int fd = open(m->local, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ssize_t n = read(fd, buf, cap - 1);
	int rc = n < 0 ? -errno : 0;
	close(fd);
	if (n < 0)
		return rc;
	buf[n] = '\0';
	buf[strcspn(buf, "\n")] = '\0';
	return 0;
}

int
daemon_marker_read(const struct daemon_marker *m, struct cache_marker *ret)
{
	char text[TEXT_MAX];
	int rc;

	*ret = (struct cache_marker){0};
	if (m->is_local) {
		rc = read_local(m, text, sizeof text);
	} else {
		ssize_t n = getxattr(m->path, ATTRIBUTE, text, sizeof text - 1);
		rc = n < 0 ? -errno : 0;
		text[n > 0 ? n : 0] = '\0';
	}
	if (rc == -ENOENT || rc == -ENODATA)
		return 0;
	return rc < 0 ? (rc == -ERANGE ? -EINVAL : rc) : parse(text, ret);
}

static int
sync_path(const char *path, int flags)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | flags);
	if (fd < 0)
		return -errno;
	int rc = fsync(fd) < 0 ? -errno : 0;
	close(fd);
	return rc;
}

/* The folder of the markers. */
static int
sync_folder(const struct daemon_marker *m)
{
	char dir[4096];
	snprintf(dir, sizeof dir, "%.*s", (int)(strrchr(m->local, '/') - m->local), m->local);
	return sync_path(dir, O_DIRECTORY);
}

static int
write_local(const struct daemon_marker *m, const char *text)
{
	char tmp[4096];
	size_t len = strlen(text);
	int n = snprintf(tmp, sizeof tmp, "%s.new", m->local);

	if (n < 0 || (size_t)n >= sizeof tmp)
		return -ENAMETOOLONG;
	int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	int rc = write(fd, text, len) == (ssize_t)len ? 0 : errno != 0 ? -errno : -EIO;
	if (rc == 0 && fsync(fd) < 0)
		rc = -errno;
	close(fd);
	if (rc == 0 && rename(tmp, m->local) < 0)
		rc = -errno;
	if (rc < 0)
		(void)unlink(tmp);
	return rc == 0 ? sync_folder(m) : rc;
}

static int
write_marker(const struct daemon_marker *m, const struct cache_marker *v)
{
	char text[TEXT_MAX];
	int rc = 0;

	print(v, text, sizeof text);
	if (m->is_local) {
		if (v->present)
			return write_local(m, text);
		if (unlink(m->local) < 0)
			return errno == ENOENT ? 0 : -errno;
		return sync_folder(m);
	}
	if (v->present)
		rc = setxattr(m->path, ATTRIBUTE, text, strlen(text), 0);
	else
		rc = removexattr(m->path, ATTRIBUTE);
	if (rc < 0 && !(errno == ENODATA && !v->present))
		return -errno;
	return sync_path(m->path, 0);
}

int
daemon_marker_clear(const struct daemon_marker *m)
{
	return write_marker(m, &(struct cache_marker){.present = false});
}

/* ---- for the cache ------------------------------------------------------------------------------------- */

static int
get_work(struct loop_job *j)
{
	struct daemon_marker *m = container_of(j, struct daemon_marker, job);
	return daemon_marker_read(m, &m->value);
}

static void
get_done(struct loop_job *j, int result)
{
	struct daemon_marker *m = container_of(j, struct daemon_marker, job);
	struct cache_marker value = m->value;
	m->got(m->ctx, result, &value);
}

static void
get(void *store_ctx, void (*done)(void *ctx, int result, const struct cache_marker *m), void *ctx)
{
	struct daemon_marker *m = store_ctx;
	m->got = done;
	m->ctx = ctx;
	m->job = (struct loop_job){.work = get_work, .done = get_done};
	loop_job_submit(m->daemon->loops[0], &m->job);
}

static int
set_work(struct loop_job *j)
{
	const struct daemon_marker *m = container_of(j, struct daemon_marker, job);
	return write_marker(m, &m->value);
}

static void
set_done(struct loop_job *j, int result)
{
	struct daemon_marker *m = container_of(j, struct daemon_marker, job);
	m->set(m->ctx, result);
}

static void
set(void *store_ctx, const struct cache_marker *v, cache_done_fn *done, void *ctx)
{
	struct daemon_marker *m = store_ctx;
	m->value = *v;
	m->set = done;
	m->ctx = ctx;
	m->job = (struct loop_job){.work = set_work, .done = set_done};
	loop_job_submit(m->daemon->loops[0], &m->job);
}

const struct cache_marker_ops daemon_marker_ops = {.get = get, .set = set};

/* ---- life cycle ------------------------------------------------------------------------------------------ */

/* A file system without attributes of users, as an old NFS: the state directory then. */
static bool
has_attributes(const char *path)
{
	char text[TEXT_MAX];
	return getxattr(path, ATTRIBUTE, text, sizeof text) >= 0 ||
	       (errno != ENOTSUP && errno != EPERM);
}

int
daemon_marker_create(struct daemon *d, const char *name, struct daemon_marker **ret)
{
	const char *dir = statedir_path(d->statedir);
	struct daemon_marker *m = calloc(1, sizeof *m);
	uint8_t hash[32];
	char hex[33], folder[4096];

	if (m == NULL || EVP_Digest(name, strlen(name), hash, NULL, EVP_sha256(), NULL) != 1) {
		free(m);
		return -ENOMEM;
	}
	for (unsigned i = 0; i < 16; i++)
		snprintf(hex + 2 * i, 3, "%02x", hash[i]);
	m->daemon = d;
	snprintf(folder, sizeof folder, "%s/markers", dir);
	if (strncmp(name, "file:", 5) == 0)
		m->path = strdup(name + 5);
	m->is_local = m->path == NULL || !has_attributes(m->path);
	if (asprintf(&m->local, "%s/%s", folder, hex) < 0)
		m->local = NULL;
	if (m->local == NULL || (strncmp(name, "file:", 5) == 0 && m->path == NULL)) {
		daemon_marker_destroy(m);
		return -ENOMEM;
	}
	if (m->is_local && mkdir(folder, 0700) == 0)
		(void)sync_path(dir, O_DIRECTORY);
	*ret = m;
	return 0;
}

void
daemon_marker_destroy(struct daemon_marker *m)
{
	if (m == NULL)
		return;
	free(m->path);
	free(m->local);
	free(m);
}

bool
daemon_marker_is_local(const struct daemon_marker *m)
{
	return m->is_local;
}

void
daemon_marker_describe(const struct daemon_marker *m, char *buf, size_t cap)
{
	if (m->is_local)
		snprintf(buf, cap, "rm %s", m->local);
	else
		snprintf(buf, cap, "setfattr -x " ATTRIBUTE " %s", m->path);
}
