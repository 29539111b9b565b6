/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Block devices, LVM volumes among them. O_EXCL keeps out mounts, md, device mapper and other
 * targets; O_DIRECT keeps out the page cache, unless the mode is volatile. UNMAP is fallocate's
 * PUNCH_HOLE and not BLKDISCARD: only the former promises zeros afterwards.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/text.h"
#include "store/block_priv.h"
#include "store/raw_priv.h"
#include "store/refuse.h"

#define PATH_BYTES 4096

/* ---- what sysfs knows -------------------------------------------------------------------- */

/* A number of /sys/dev/block/M:m/queue; a partition has none of its own, its disk's is one up. */
static uint64_t
queue_number(const char *root, dev_t rdev, const char *attr)
{
	static const char *const where[] = {"queue", "../queue"};
	for (size_t i = 0; i < sizeof where / sizeof *where; i++) {
		char path[256], line[64];
		uint64_t v;
		snprintf(path, sizeof path, "/sys/dev/block/%u:%u/%s/%s", major(rdev), minor(rdev),
		    where[i], attr);
		if (refuse_read_line(root, path, line, sizeof line) &&
		    text_parse_u64(line, UINT64_MAX, &v) == 0)
			return v;
	}
	return 0;
}

void
block_read_queue(const char *root, dev_t rdev, struct block_queue *ret)
{
	ret->rotational = queue_number(root, rdev, "rotational") != 0;
	ret->discard_granularity_bytes = queue_number(root, rdev, "discard_granularity");
	ret->discard_max_bytes = queue_number(root, rdev, "discard_max_bytes");
	ret->write_zeroes_max_bytes = queue_number(root, rdev, "write_zeroes_max_bytes");
	ret->minimum_io_bytes = queue_number(root, rdev, "minimum_io_size");
	ret->optimal_io_bytes = queue_number(root, rdev, "optimal_io_size");
}

/* The better a name says what it is, the lower: the world-wide ones don't change with the slot. */
static unsigned
name_rank(const char *name)
{
	static const char *const best_first[] = {"dm-name-", "lvm-", "wwn-", "nvme-eui.",
	    "nvme-uuid.", "nvme-", "scsi-", "ata-", "virtio-"};
	for (unsigned i = 0; i < sizeof best_first / sizeof *best_first; i++) {
		if (strncmp(name, best_first[i], strlen(best_first[i])) == 0)
			return i;
	}
	return UINT32_MAX - 1;
}

bool
block_stable_name(const char *dir, dev_t rdev, char *buf, size_t cap)
{
	DIR *d = opendir(dir);
	unsigned best = UINT32_MAX;
	char best_name[256] = "";
	for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) {
		struct stat st;
		if (e->d_name[0] == '.' || fstatat(dirfd(d), e->d_name, &st, 0) < 0 ||
		    !S_ISBLK(st.st_mode) || st.st_rdev != rdev)
			continue;
		unsigned rank = name_rank(e->d_name);
		if (rank < best || (rank == best && strcmp(e->d_name, best_name) < 0)) {
			best = rank;
			snprintf(best_name, sizeof best_name, "%s", e->d_name);
		}
	}
	if (d != NULL)
		closedir(d);
	if (best_name[0] == '\0')
		return false;
	snprintf(buf, cap, "%s/%s", dir, best_name);
	return true;
}

/* ---- the watch --------------------------------------------------------------------------- */

static uint64_t
device_size(int fd, uint32_t block_bytes)
{
	uint64_t bytes = 0;
	if (ioctl(fd, BLKGETSIZE64, &bytes) < 0)
		return 0;
	return bytes / block_bytes * block_bytes;
}

/* A removed device keeps its descriptor, but its number disappears from sysfs. */
static bool
is_registered(int fd)
{
	struct stat st;
	char path[64];
	if (fstat(fd, &st) < 0)
		return false;
	snprintf(path, sizeof path, "/sys/dev/block/%u:%u", major(st.st_rdev), minor(st.st_rdev));
	return access(path, F_OK) == 0 || access("/sys/dev/block", F_OK) < 0;
}

static enum raw_verdict
block_check(struct raw_probe *p)
{
	uint64_t size = device_size(p->fd, p->raw->b.info.block_bytes);
	if (size == 0 || !is_registered(p->fd))
		return RAW_LOST;
	if (size == p->size_bytes)
		return RAW_SAME;
	p->ret_size_bytes = size;
	return RAW_SIZE;
}

static enum raw_verdict
block_reopen(struct raw_probe *p)
{
	int fd = open(p->raw->path, p->raw->open_flags);
	if (fd < 0)
		return RAW_LOST;
	uint64_t size = device_size(fd, p->raw->b.info.block_bytes);
	struct stat st;
	if (fstat(fd, &st) < 0 || !S_ISBLK(st.st_mode) || size != p->size_bytes) {
		close(fd);
		return RAW_LOST;
	}
	p->ret_fd = fd;
	p->ret_size_bytes = size;
	return RAW_FOUND;
}

static const struct raw_kind block_kind = {
    .check = block_check, .reopen = block_reopen, .close_lost = true};

/* ---- opening ----------------------------------------------------------------------------- */

static int
refuse_open(const char *path, dev_t rdev, int err, const struct blk_reason *why)
{
	char holder[256];
	switch (err) {
	case -EBUSY:
		if (refuse_device_holder("", path, rdev, holder, sizeof holder))
			return blk_refuse(why, err,
			    "%s is %s; release it there or choose another device", path, holder);
		return blk_refuse(why, err,
		    "%s is in use by another program or kernel driver; release it there first",
		    path);
	case -EACCES:
	case -EPERM:
		return blk_refuse(why, -EACCES,
		    "%s: permission denied; add the service's user to the group of the device",
		    path);
	case -EROFS:
		return blk_refuse(why, err, "%s is write-protected; open it read-only", path);
	case -ENOMEDIUM:
	case -ENXIO:
		return blk_refuse(
		    why, -ENXIO, "%s: there is no device or medium behind this name", path);
	default:
		return blk_refuse(why, err, "%s: %s", path, strerror(-err));
	}
}

/* Sizes and capabilities of the open device. */
static int
examine(const struct blk_open_args *args, const char *path, dev_t rdev, struct raw_setup *su,
    const struct blk_reason *why)
{
	int sector = 512;
	unsigned physical = 512;
	uint32_t bb = args->block_bytes != 0 ? args->block_bytes : 512;
	struct block_queue q;
	char have[32], want[32];
	if (ioctl(su->fd, BLKSSZGET, &sector) < 0)
		return blk_refuse(why, -errno, "%s: no sector size: %s", path, strerror(errno));
	(void)ioctl(su->fd, BLKPBSZGET, &physical);
	if (sector < 1 || (uint32_t)sector > bb)
		return blk_refuse(why, -EINVAL,
		    "%s has sectors of %d bytes, smaller blocks (%u) can't be served; use a block "
		    "size of "
		    "4096",
		    path, sector, bb);
	uint64_t size = device_size(su->fd, bb);
	if (size == 0)
		return blk_refuse(why, -ENXIO, "%s has size 0; there is no medium", path);
	text_format_size(size, have, sizeof have);
	text_format_size(args->size_bytes, want, sizeof want);
	if (args->size_bytes != 0 && args->size_bytes != size)
		return blk_refuse(
		    why, -EINVAL, "%s is %s, %s was asked for; remove the size", path, have, want);
	block_read_queue("", rdev, &q);
	uint64_t gran = q.discard_granularity_bytes > bb ? q.discard_granularity_bytes : bb;
	bool unmap = q.write_zeroes_max_bytes > 0 && q.discard_max_bytes > 0 && gran <= 1u << 30 &&
	             !(args->flags & BLK_OPEN_READ_ONLY);
	su->mem_align = 4096; /* buffers are; anything else is copied */
	su->len_align = (uint32_t)sector;
	su->info = (struct blk_info){
	    .driver = "block",
	    .size_bytes = size,
	    .block_bytes = bb,
	    .physical_bytes = physical > bb && physical <= 65536 ? physical : bb,
	    .optimal_bytes = q.optimal_io_bytes <= UINT32_MAX ? (uint32_t)q.optimal_io_bytes : 0,
	    .minimum_bytes = q.minimum_io_bytes <= UINT32_MAX ? (uint32_t)q.minimum_io_bytes : 0,
	    .unmap_granularity_bytes = unmap ? (uint32_t)gran : 0,
	};
	if (unmap)
		su->info.caps |= BLK_CAP_UNMAP | BLK_CAP_UNMAP_ZEROES;
	if (q.rotational)
		su->info.caps |= BLK_CAP_ROTATIONAL | BLK_CAP_SANITIZE;
	if (args->flags & BLK_OPEN_READ_ONLY)
		su->info.caps |= BLK_CAP_READ_ONLY;
	if (su->is_volatile)
		su->info.caps |= BLK_CAP_VOLATILE;
	return 0;
}

/* `shown` is what the name becomes: a path that stays the same over reboots. */
static void
choose_path(const char *real, dev_t rdev, char *ret_path, size_t cap)
{
	if (!block_stable_name("/dev/disk/by-id", rdev, ret_path, cap) &&
	    !block_stable_name("/dev/mapper", rdev, ret_path, cap))
		snprintf(ret_path, cap, "%s", real);
}

/* A descriptor or -errno; waits a little for a device that nobody has any more. */
static int
open_exclusive(const char *path, dev_t rdev, int flags)
{
	char holder[256];
	for (unsigned tries = 0;; tries++) {
		int fd = open(path, flags);
		int err = -errno;
		if (fd >= 0)
			return fd;
		if (err != -EBUSY || tries == REFUSE_TRIES || refuse_own_count(0, 0, rdev) > 0 ||
		    refuse_device_holder("", path, rdev, holder, sizeof holder))
			return err;
		(void)usleep(REFUSE_RETRY_US);
	}
}

static int
open_device(const struct blk_open_args *args, const char *given, struct blk **ret,
    const struct blk_reason *why)
{
	char real[PATH_BYTES], path[PATH_BYTES], near[PATH_BYTES], name[PATH_BYTES + 8];
	struct raw_setup su = {.kind = &block_kind, .path = path, .name = name};
	struct stat st;
	if (realpath(given, real) == NULL || stat(real, &st) < 0) {
		int err = -errno;
		bool found = refuse_nearest(given, near, sizeof near);
		return blk_refuse(why, err == -EACCES ? err : -ENOENT, "%s: %s%s%s%s", given,
		    strerror(-err), found ? "; did you mean " : "; lsblk lists the devices",
		    found ? near : "", found ? "?" : "");
	}
	if (!S_ISBLK(st.st_mode))
		return blk_refuse(
		    why, -EINVAL, "%s is not a block device; lsblk lists them", given);
	bool read_only = args->flags & BLK_OPEN_READ_ONLY;
	su.is_volatile = args->flags & BLK_OPEN_VOLATILE;
	su.is_direct = !su.is_volatile;
	su.open_flags = (read_only ? O_RDONLY : O_RDWR) | O_EXCL | O_CLOEXEC;
	if (su.is_direct)
		su.open_flags |= O_DIRECT;
	su.fd = open_exclusive(real, st.st_rdev, su.open_flags);
	if (su.fd < 0)
		return refuse_open(real, st.st_rdev, su.fd, why);
	int err = examine(args, real, st.st_rdev, &su, why);
	if (err < 0) {
		close(su.fd);
		return err;
	}
	choose_path(real, st.st_rdev, path, sizeof path);
	snprintf(name, sizeof name, "block:%s", path);
	err = raw_create(&su, args, ret);
	if (err < 0) {
		close(su.fd);
		return blk_refuse(why, err, "%s: out of memory", real);
	}
	return 0;
}

int
block_open(const struct blk_open_args *args, const char *rest, struct blk **ret,
    const struct blk_reason *why)
{
	if (rest[0] == '\0')
		return blk_refuse(why, -EINVAL, "block: needs the path of a device");
	return open_device(args, rest, ret, why);
}

int
lvm_open(const struct blk_open_args *args, const char *rest, struct blk **ret,
    const struct blk_reason *why)
{
	char path[PATH_BYTES];
	const char *slash = strchr(rest, '/');
	if (slash == NULL || slash == rest || slash[1] == '\0' || strchr(slash + 1, '/') != NULL ||
	    rest[0] == '.' || slash[1] == '.' || strlen(rest) > 256)
		return blk_refuse(why, -EINVAL,
		    "lvm:%s: give a volume group and a volume as lvm:VG/LV; lvs lists them", rest);
	snprintf(path, sizeof path, "/dev/%s", rest);
	if (access(path, F_OK) < 0) {
		char near[PATH_BYTES];
		bool found = refuse_nearest(path, near, sizeof near);
		return blk_refuse(why, -ENOENT,
		    "lvm:%s does not exist or isn't active%s%s%s; activate it with lvchange -ay %s",
		    rest, found ? " (did you mean lvm:" : "", found ? near + strlen("/dev/") : "",
		    found ? "?)" : "", rest);
	}
	return open_device(args, path, ret, why);
}
