/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The SSD of a cache, before it is one: whether what is there may be used, a new file, its blocks.
 *
 * A file is written in full before anything is kept in it: in a hole or in space that was only reserved,
 * a durable write isn't durable until the file system has written its own tables too. What looks like a
 * cache is never formatted here.
 */
#include <blkid/blkid.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/text.h"
#include "ssd/ssd.h"

#define BLOCK 4096u
#define CHUNK (1u << 20)
#define EXTENTS 128u
#define MAGIC "TRRC" /* each structure of a cache begins so: docs/format/cache.md */
#define BTRFS_MAGIC 0x9123683eL
#define BCACHEFS_MAGIC 0xca451a4eL
#define ZFS_MAGIC 0x2fc12fc1L
#define NOCOW 0x00800000 /* FS_NOCOW_FL */

struct opening {
	const struct ssd_args *args;
	struct ssd_found *found;
	char *reason;
	size_t cap;
	const char *path; /* NULL: no file and no device, a test's store */
	bool is_file;
};

static int
args_name(const struct ssd_args *args, char *buf, size_t cap)
{
	buf[0] = '\0';
	return args->name != NULL ? snprintf(buf, cap, "cache %s: ", args->name) : 0;
}

__attribute__((format(printf, 3, 4))) static int
refuse(struct opening *o, int err, const char *fmt, ...)
{
	va_list ap;
	int n = args_name(o->args, o->reason, o->cap);
	va_start(ap, fmt);
	if (n >= 0 && (size_t)n < o->cap)
		vsnprintf(o->reason + n, o->cap - (size_t)n, fmt, ap);
	va_end(ap);
	return err;
}

/* ---- where it lies ----------------------------------------------------------------------------- */

/* "… - ext4 /dev/sda1 rw,nobarrier": the options of the mount of a device. */
static bool
mount_without_barriers(const char *mountinfo, dev_t dev, char *ret_at, size_t cap)
{
	char *line = NULL;
	size_t size = 0;
	bool found = false;
	FILE *f = fopen(mountinfo, "re");

	while (f != NULL && !found && getline(&line, &size, f) > 0) {
		unsigned maj, min;
		char at[1024];
		const char *dash = strstr(line, " - ");
		if (dash == NULL || sscanf(line, "%*s %*s %u:%u %*s %1023s", &maj, &min, at) != 3 ||
		    makedev(maj, min) != dev)
			continue;
		found = strstr(dash, "nobarrier") != NULL || strstr(dash, "barrier=0") != NULL;
		if (found)
			snprintf(ret_at, cap, "%s", at);
	}
	free(line);
	if (f != NULL)
		fclose(f);
	return found;
}

static bool
is_zram(dev_t dev)
{
	char link[64], target[512];
	snprintf(link, sizeof link, "/sys/dev/block/%u:%u", major(dev), minor(dev));
	ssize_t n = readlink(link, target, sizeof target - 1);
	if (n <= 0)
		return false;
	target[n] = '\0';
	const char *slash = strrchr(target, '/');
	return strncmp(slash != NULL ? slash + 1 : target, "zram", 4) == 0;
}

/* A durable write must be durable there. `fd` is the file, or its directory before it is made. */
static int
check_place(struct opening *o, int fd)
{
	struct statfs fs;
	struct stat st;
	char at[1024];
	int flags = 0;

	if (fstatfs(fd, &fs) < 0 || fstat(fd, &st) < 0)
		return refuse(o, -errno, "%s: %s", o->path, strerror(errno));
	if (o->args->unsafe_fs)
		return 0;
	const char *mountinfo = "/proc/self/mountinfo";
	if (o->args->place != NULL && o->args->place->fs_type != 0)
		fs.f_type = o->args->place->fs_type;
	if (o->args->place != NULL && o->args->place->mountinfo != NULL)
		mountinfo = o->args->place->mountinfo;
	if (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC || is_zram(st.st_dev))
		return refuse(o, -ENOTSUP,
		    "%s is on a file system in memory, where nothing that is acknowledged would "
		    "survive; use a path on an SSD",
		    o->path);
	if (mount_without_barriers(mountinfo, st.st_dev, at, sizeof at))
		return refuse(o, -ENOTSUP,
		    "%s: the file system at %s is mounted without barriers, so that a durable "
		    "write "
		    "isn't durable: mount -o remount,barrier=1 %s",
		    o->path, at, at);
	if (fs.f_type == ZFS_MAGIC || (fs.f_type == (typeof(fs.f_type))BCACHEFS_MAGIC))
		return refuse(o, -ENOTSUP,
		    "%s is on a file system that copies what is written to a new place each time; "
		    "use a block device, or a file on ext4 or XFS",
		    o->path);
	if (fs.f_type == (typeof(fs.f_type))BTRFS_MAGIC &&
	    (ioctl(fd, FS_IOC_GETFLAGS, &flags) < 0 || !(flags & NOCOW)))
		return refuse(o, -ENOTSUP,
		    "%s is on btrfs, which copies what is written to a new place each time: chattr "
		    "+C on its empty folder first, or use a block device",
		    o->path);
	if (strncmp(o->path, "/tmp/", 5) == 0 || strncmp(o->path, "/var/cache/", 11) == 0)
		log_warn("cache",
		    "%s: files in that place may be removed by the system, and with this one go "
		    "acknowledged writes; put it elsewhere",
		    o->path);
	return 0;
}

/* ---- what is in it ----------------------------------------------------------------------------- */

static bool
is_zero(const char *p, size_t len)
{
	return p[0] == 0 && memcmp(p, p + 1, len - 1) == 0;
}

/* The first two blocks: superblocks of a cache, whatever state they are in. */
static int
look_for_cache(struct opening *o, int fd, bool *ret)
{
	char *buf = aligned_alloc(BLOCK, 2 * BLOCK);
	ssize_t n = buf != NULL ? pread(fd, buf, 2 * BLOCK, 0) : -1;
	int rc = 0;

	if (n < 0)
		rc = refuse(o, buf != NULL ? -errno : -ENOMEM, "%s can't be read: %s", o->path,
		    strerror(buf != NULL ? errno : ENOMEM));
	else
		*ret = (n >= 4 && memcmp(buf, MAGIC, 4) == 0) ||
		       (n >= (ssize_t)BLOCK + 4 && memcmp(buf + BLOCK, MAGIC, 4) == 0);
	free(buf);
	return rc;
}

/* A file system, a partition table, a member of something. */
static int
check_signatures(struct opening *o, int fd)
{
	blkid_probe pr = blkid_new_probe();
	const char *type = NULL, *label = NULL;
	char text[200];
	int rc = 0;

	if (pr == NULL || blkid_probe_set_device(pr, fd, 0, 0) < 0) {
		blkid_free_probe(pr);
		return refuse(o, -EIO, "%s can't be looked at for what is on it", o->path);
	}
	blkid_probe_enable_superblocks(pr, 1);
	blkid_probe_set_superblocks_flags(
	    pr, BLKID_SUBLKS_TYPE | BLKID_SUBLKS_LABEL | BLKID_SUBLKS_MAGIC);
	blkid_probe_enable_partitions(pr, 1);
	int found = blkid_do_safeprobe(pr);
	if (found != 1) { /* 1: nothing; 0: one; -2: several */
		if (blkid_probe_lookup_value(pr, "TYPE", &type, NULL) < 0 &&
		    blkid_probe_lookup_value(pr, "PTTYPE", &type, NULL) < 0)
			type = NULL;
		if (blkid_probe_lookup_value(pr, "LABEL", &label, NULL) < 0)
			label = NULL;
		snprintf(text, sizeof text, "%s%s%s%s", type != NULL ? type : "something",
		    label != NULL ? " \"" : "", label != NULL ? label : "",
		    label != NULL ? "\"" : "");
		rc = refuse(o, -EEXIST,
		    "%s isn't empty: there is %s on it; choose another one, or, if nobody needs "
		    "that any more: wipefs -a %s",
		    o->path, text, o->path);
	}
	blkid_free_probe(pr);
	return rc;
}

/* A file without signature may hold anything: only zeros, and what a format that was killed left, pass. */
static int
check_zeros(struct opening *o, int fd, uint64_t size)
{
	char *buf = aligned_alloc(BLOCK, CHUNK);
	int rc = buf != NULL ? 0 : -ENOMEM;

	for (uint64_t at = 0; rc == 0 && at < size;) {
		off_t data = lseek(fd, (off_t)at, SEEK_DATA);
		if (data < 0 && errno == ENXIO)
			break;
		if (data > (off_t)at)
			at = (uint64_t)data / BLOCK * BLOCK;
		ssize_t n = pread(fd, buf, CHUNK, (off_t)at);
		if (n <= 0)
			rc = n == 0 ? -EIO : -errno;
		for (ssize_t i = 0; rc == 0 && i < n; i += BLOCK) {
			size_t len = n - i < (ssize_t)BLOCK ? (size_t)(n - i) : BLOCK;
			if (!is_zero(buf + i, len) && memcmp(buf + i, MAGIC, 4) != 0)
				rc = -EEXIST;
		}
		at += n > 0 ? (uint64_t)n : 0;
	}
	free(buf);
	if (rc == -EEXIST)
		return refuse(o, rc,
		    "%s holds something that is no cache; choose another path, or remove the file "
		    "if nobody needs it",
		    o->path);
	return rc < 0 ? refuse(o, rc, "%s can't be read: %s", o->path, strerror(-rc)) : 0;
}

/* ---- filling a file ------------------------------------------------------------------------------ */

/* Signals are blocked since the start and wait. */
static bool
end_is_asked_for(void)
{
	sigset_t set;
	return sigpending(&set) == 0 && (sigismember(&set, SIGTERM) || sigismember(&set, SIGINT));
}

static double
now_s(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void
tell_progress(const struct opening *o, uint64_t done, uint64_t size, double past_s)
{
	char of[32];
	double left = past_s * (double)(size - done) / (double)done;
	text_format_size(size, of, sizeof of);
	log_info("cache", "filling %s with zeros: %u%% of %s, %.0f s left", o->path,
	    (unsigned)(done * 100 / size), of, left);
}

static int
fill(struct opening *o, int fd, uint64_t size)
{
	char *zeros = aligned_alloc(BLOCK, CHUNK);
	double began = now_s(), told = began;
	int rc = zeros != NULL ? 0 : -ENOMEM;

	if (rc == 0)
		memset(zeros, 0, CHUNK);
	if (rc == 0 && fallocate(fd, 0, 0, (off_t)size) < 0 && errno != EOPNOTSUPP)
		rc = -errno; /* no room: known before the first minute, not after the last */
	for (uint64_t at = 0; rc == 0 && at < size;) {
		size_t len = size - at < CHUNK ? (size_t)(size - at) : CHUNK;
		ssize_t n = pwrite(fd, zeros, len, (off_t)at);
		if (n < 0)
			rc = -errno;
		else if (end_is_asked_for())
			rc = -EINTR;
		at += n > 0 ? (uint64_t)n : 0;
		if (rc == 0 && now_s() - told >= 2) {
			told = now_s();
			tell_progress(o, at, size, told - began);
		}
	}
	free(zeros);
	if (rc == 0 && fsync(fd) < 0)
		rc = -errno;
	if (rc == -EINTR)
		return refuse(o, rc, "ended by a signal while %s was filled with zeros", o->path);
	if (rc < 0)
		return refuse(o, rc, "%s can't be filled with zeros: %s", o->path, strerror(-rc));
	return 0;
}

enum extents { EXTENTS_GOOD, EXTENTS_BAD, EXTENTS_SHARED };

/* Holes, space that was never written, space that a snapshot or a copy shares. */
static int
look_at_extents(int fd, uint64_t size, enum extents *ret)
{
	struct fiemap *m = calloc(1, sizeof *m + EXTENTS * sizeof(struct fiemap_extent));
	uint64_t at = 0;
	bool last = false;
	int rc = m != NULL ? 0 : -ENOMEM;

	*ret = EXTENTS_GOOD;
	while (rc == 0 && !last && at < size && *ret == EXTENTS_GOOD) {
		*m = (struct fiemap){.fm_start = at,
		    .fm_length = size - at,
		    .fm_flags = FIEMAP_FLAG_SYNC,
		    .fm_extent_count = EXTENTS};
		if (ioctl(fd, FS_IOC_FIEMAP, m) < 0) {
			rc = -errno;
			break;
		}
		last = m->fm_mapped_extents == 0;
		for (uint32_t i = 0; i < m->fm_mapped_extents; i++) {
			const struct fiemap_extent *e = &m->fm_extents[i];
			if (e->fe_flags & FIEMAP_EXTENT_SHARED)
				*ret = EXTENTS_SHARED;
			else if (e->fe_logical > at ||
			         (e->fe_flags & (FIEMAP_EXTENT_UNWRITTEN | FIEMAP_EXTENT_DELALLOC)))
				*ret = EXTENTS_BAD;
			at = e->fe_logical + e->fe_length;
			last = last || (e->fe_flags & FIEMAP_EXTENT_LAST);
		}
	}
	if (rc == 0 && at < size && *ret == EXTENTS_GOOD)
		*ret = EXTENTS_BAD;
	free(m);
	return rc;
}

static int
check_extents(struct opening *o, int fd, uint64_t size, bool is_cache)
{
	enum extents x;
	int rc = look_at_extents(fd, size, &x);

	if (rc < 0 && o->args->unsafe_fs)
		return 0;
	if (rc < 0)
		return refuse(o, rc,
		    "%s: its file system doesn't tell whether the file is written in full (%s); "
		    "use a "
		    "block device, or a file on ext4 or XFS",
		    o->path, strerror(-rc));
	if (x == EXTENTS_GOOD)
		return 0;
	if (x == EXTENTS_SHARED)
		return refuse(o, -ENOTSUP,
		    "%s shares its blocks with a copy or a snapshot, so that writing to it isn't "
		    "writing in place: make it its own with cp --reflink=never --sparse=never",
		    o->path);
	if (!is_cache)
		return fill(o, fd, size);
	return refuse(o, -ENOTSUP,
	    "%s has holes, in which a durable write isn't durable: write it in full with cp "
	    "--sparse=never %s NEW && mv NEW %s",
	    o->path, o->path, o->path);
}

/* ---- files ---------------------------------------------------------------------------------------- */

static int
open_direct(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC | O_NOCTTY | O_DIRECT, 0600);
	if (fd < 0 && errno == EINVAL)
		fd = open(path, flags | O_CLOEXEC | O_NOCTTY, 0600);
	return fd < 0 ? -errno : fd;
}

static int
open_dir(const char *path)
{
	char dir[4096];
	const char *slash = strrchr(path, '/');
	size_t len = slash == NULL ? 0 : slash == path ? 1 : (size_t)(slash - path);
	if (len >= sizeof dir)
		return -ENAMETOOLONG;
	snprintf(dir, sizeof dir, "%.*s", slash == NULL ? 1 : (int)len, slash == NULL ? "." : path);
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int
make_file(struct opening *o)
{
	uint64_t size = o->args->size_bytes;
	int dir = open_dir(o->path), fd = -1;

	if (dir < 0)
		return refuse(
		    o, dir, "%s: its folder can't be opened: %s", o->path, strerror(-dir));
	int rc = check_place(o, dir);
	if (rc == 0 && (fd = open_direct(o->path, O_RDWR | O_CREAT | O_EXCL)) < 0)
		rc = refuse(o, fd, "%s can't be made: %s", o->path, strerror(-fd));
	if (rc == 0) {
		o->found->created = true;
		rc = fill(o, fd, size);
		if (rc == 0 && fsync(dir) < 0)
			rc = refuse(o, -errno, "%s can't be made: %s", o->path, strerror(errno));
		close(fd);
	}
	close(dir);
	if (rc < 0 && o->found->created)
		(void)unlink(o->path);
	return rc;
}

/* That a disk's image is one is more than that it isn't empty. */
static int
name_signature(struct opening *o)
{
	int fd = open(o->path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return refuse(o, -errno, "%s can't be opened: %s", o->path, strerror(errno));
	int rc = check_signatures(o, fd);
	close(fd);
	return rc;
}

static int
examine_file(struct opening *o, const struct stat *st, bool *ret_cache)
{
	uint64_t size = (uint64_t)st->st_size;
	int fd = open_direct(o->path, O_RDWR);

	if (fd < 0)
		return refuse(o, fd, "%s can't be opened: %s", o->path, strerror(-fd));
	int rc = check_place(o, fd);
	/* Nothing in it: one that was being made when its maker was killed, or made for this. */
	if (rc == 0 && size == 0 && (size = o->args->size_bytes) != 0)
		rc = fill(o, fd, size);
	if (rc == 0 && (size == 0 || size % BLOCK != 0))
		rc = refuse(o, -EINVAL,
		    "%s has %" PRIu64
		    " bytes, which is no whole number of 4 KiB blocks: remove it, "
		    "and give a size to have it made",
		    o->path, size);
	if (rc == 0)
		rc = look_for_cache(o, fd, ret_cache);
	if (rc == 0 && !*ret_cache && !o->args->force)
		rc = name_signature(o);
	if (rc == 0 && !*ret_cache && !o->args->force)
		rc = check_zeros(o, fd, size);
	if (rc == 0)
		rc = check_extents(o, fd, size, *ret_cache && !o->args->force);
	close(fd);
	return rc;
}

static int
examine_device(struct opening *o, const struct stat *st, bool *ret_cache)
{
	int fd = open(o->path, O_RDONLY | O_CLOEXEC | O_NOCTTY);

	if (fd < 0)
		return refuse(o, -errno, "%s can't be opened: %s", o->path, strerror(errno));
	int rc = 0;
	if (is_zram(st->st_rdev) && !o->args->unsafe_fs)
		rc = refuse(o, -ENOTSUP,
		    "%s is memory, where nothing that is acknowledged would survive", o->path);
	if (rc == 0)
		rc = look_for_cache(o, fd, ret_cache);
	if (rc == 0 && !*ret_cache && !o->args->force)
		rc = check_signatures(o, fd);
	close(fd);
	return rc;
}

/* ---- the whole ------------------------------------------------------------------------------------- */

/* Of "file:PATH", "block:PATH", "lvm:VG/LV", PATH; NULL: of a test's store. */
static const char *
path_of(const char *spec, char *buf, size_t cap)
{
	if (strncmp(spec, "fault:", 6) == 0)
		return NULL;
	if (strncmp(spec, "lvm:", 4) == 0) {
		snprintf(buf, cap, "/dev/%s", spec + 4);
		return buf;
	}
	return strncmp(spec, "file:", 5) == 0 || strncmp(spec, "block:", 6) == 0
	           ? strchr(spec, ':') + 1
	           : spec;
}

static int
examine(struct opening *o)
{
	bool is_cache = false;
	struct stat st;
	int rc;

	if (o->path == NULL) {
		o->found->is_new =
		    true; /* cache_format() looks for itself, and leaves a cache alone */
		return 0;
	}
	if (stat(o->path, &st) == 0) {
		rc = S_ISBLK(st.st_mode) ? examine_device(o, &st, &is_cache)
		     : S_ISREG(st.st_mode)
		         ? examine_file(o, &st, &is_cache)
		         : refuse(o, -EINVAL, "%s is neither a file nor a block device", o->path);
	} else if (errno != ENOENT) {
		rc = refuse(o, -errno, "%s: %s", o->path, strerror(errno));
	} else if (o->args->size_bytes == 0) {
		rc = refuse(o, -ENOENT,
		    "there is no %s; give a size to have the file made, as in %s:10GiB", o->path,
		    o->path);
	} else {
		rc = make_file(o);
	}
	o->found->is_new = !is_cache;
	return rc;
}

const char *
ssd_path(const char *spec, char *buf, size_t cap)
{
	return path_of(spec, buf, cap);
}

bool
ssd_is_file(const char *spec)
{
	char buf[4096];
	struct stat st;
	const char *path = path_of(spec, buf, sizeof buf);
	return path != NULL && stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

uint64_t
ssd_device_bytes(const char *spec)
{
	char buf[4096];
	struct stat st;
	unsigned long long sectors = 0; /* of 512 bytes, whatever the device's are */
	const char *path = path_of(spec, buf, sizeof buf);
	if (path == NULL || stat(path, &st) < 0 || !S_ISBLK(st.st_mode))
		return 0;
	snprintf(
	    buf, sizeof buf, "/sys/dev/block/%u:%u/size", major(st.st_rdev), minor(st.st_rdev));
	FILE *f = fopen(buf, "re");
	if (f == NULL)
		return 0;
	if (fscanf(f, "%llu", &sectors) != 1 || sectors > UINT64_MAX / 512)
		sectors = 0;
	fclose(f);
	return (uint64_t)sectors * 512;
}

/* Asked before it is taken: others need the last of it. */
static bool
has_room(int fd, uint64_t from_bytes, uint64_t whole)
{
	struct statfs fs;
	struct stat st;
	if (fstatfs(fd, &fs) < 0 || fstat(fd, &st) < 0)
		return true; /* then writing tells */
	uint64_t is = (uint64_t)st.st_size > from_bytes ? (uint64_t)st.st_size : from_bytes;
	return whole <= is || (whole - is) / (uint64_t)fs.f_bsize < (uint64_t)fs.f_bavail;
}

int64_t
ssd_extend(const char *path, uint64_t from_bytes, uint64_t most, uint64_t whole)
{
	char *zeros = aligned_alloc(BLOCK, CHUNK);
	uint64_t end = whole - from_bytes > most ? from_bytes + most : whole, at = from_bytes;
	int fd = zeros != NULL ? open_direct(path, O_RDWR) : -ENOMEM;
	int rc = fd < 0 ? fd : has_room(fd, from_bytes, whole) ? 0 : -ENOSPC;

	if (rc == 0)
		memset(zeros, 0, CHUNK);
	/* The size stays: what isn't written yet is no part of the file. */
	if (rc == 0 &&
	    fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)from_bytes, (off_t)(whole - from_bytes)) <
	        0 &&
	    errno != EOPNOTSUPP)
		rc = -errno;
	while (rc == 0 && at < end) {
		size_t len = end - at < CHUNK ? (size_t)(end - at) : CHUNK;
		ssize_t n = pwrite(fd, zeros, len, (off_t)at);
		rc = n < 0 ? -errno : 0;
		at += n > 0 ? (uint64_t)n : 0;
	}
	if (rc == 0 && fsync(fd) < 0)
		rc = -errno;
	if (fd >= 0)
		close(fd);
	free(zeros);
	return rc < 0 ? rc : (int64_t)(at - from_bytes);
}

int
ssd_cut(const char *path, uint64_t size_bytes)
{
	int fd = open(path, O_RDWR | O_CLOEXEC | O_NOCTTY);
	int rc = fd < 0 ? -errno : 0;
	if (rc == 0 && (ftruncate(fd, (off_t)size_bytes) < 0 || fsync(fd) < 0))
		rc = -errno;
	if (fd >= 0)
		close(fd);
	return rc;
}

int
ssd_examine(const struct ssd_args *args, struct ssd_found *ret, char *reason, size_t cap)
{
	char path[4096];
	struct opening o = {.args = args, .found = ret, .reason = reason, .cap = cap};

	*ret = (struct ssd_found){.created = false};
	o.path = path_of(args->spec, path, sizeof path);
	return examine(&o);
}
