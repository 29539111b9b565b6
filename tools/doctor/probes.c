/* SPDX-License-Identifier: BSD-2-Clause */
/* What a live system answers by calls: the health of an NVMe drive, space, the type of a file system. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <blkid/blkid.h>
#include <linux/nvme_ioctl.h>

#include "tools/doctor/doctor_priv.h"

/* NVM Express 1.4: Get Log Page (§5.14), SMART / Health Information (02h). */
#define NVME_GET_LOG_PAGE 0x02u
#define NVME_LOG_HEALTH 0x02u
#define NVME_ALL_NAMESPACES 0xffffffffu
#define NVME_TIMEOUT_MS 5000u

static int
live_nvme_health(void *ctx, const char *path, uint8_t ret[512])
{
	struct nvme_admin_cmd cmd = {
	    .opcode = NVME_GET_LOG_PAGE,
	    .nsid = NVME_ALL_NAMESPACES,
	    .addr = (uint64_t)(uintptr_t)ret,
	    .data_len = 512,
	    .cdw10 = NVME_LOG_HEALTH | (512u / 4 - 1) << 16, /* dwords, from 0 */
	    .timeout_ms = NVME_TIMEOUT_MS,
	};
	struct stat st;
	int rc = 0;

	(void)ctx;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0 || !S_ISCHR(st.st_mode))
		rc = -ENOTTY;
	else if ((rc = ioctl(fd, NVME_IOCTL_ADMIN_CMD, &cmd)) != 0)
		rc = rc < 0 ? -errno : -EIO; /* above 0: the drive's status */
	close(fd);
	return rc;
}

static int
live_space(void *ctx, const char *path, uint64_t *ret_id, uint64_t *ret_free_bytes)
{
	struct statvfs fs;
	struct stat st;

	(void)ctx;
	if (stat(path, &st) < 0 || statvfs(path, &fs) < 0)
		return -errno;
	*ret_id = (uint64_t)st.st_dev;
	*ret_free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
	return 0;
}

/* The type of what begins at `offset`, "" if it is nothing known. 0 or -errno. */
static int
probe_at(int fd, int64_t offset, int64_t size, char *ret, size_t cap)
{
	blkid_probe p = blkid_new_probe();
	const char *type = NULL;

	if (p == NULL)
		return -ENOMEM;
	int rc = blkid_probe_set_device(p, fd, offset, size) == 0 ? 0 : -EIO;
	if (rc == 0) {
		blkid_probe_enable_superblocks(p, 1);
		blkid_probe_set_superblocks_flags(p, BLKID_SUBLKS_TYPE);
		if (blkid_do_safeprobe(p) == 0 &&
		    blkid_probe_lookup_value(p, "TYPE", &type, NULL) == 0 && type != NULL)
			snprintf(ret, cap, "%s", type);
	}
	blkid_free_probe(p);
	return rc;
}

/* Of the first partition that has one. */
static int
probe_partitions(int fd, char *ret, size_t cap)
{
	blkid_probe p = blkid_new_probe();
	int rc = 0;

	if (p == NULL)
		return -ENOMEM;
	blkid_partlist list = NULL;
	if (blkid_probe_set_device(p, fd, 0, 0) == 0 && blkid_probe_enable_partitions(p, 1) == 0)
		list = blkid_probe_get_partitions(p);
	int count = list != NULL ? blkid_partlist_numof_partitions(list) : 0;
	for (int i = 0; i < count && rc == 0 && ret[0] == '\0'; i++) {
		blkid_partition part = blkid_partlist_get_partition(list, i);
		if (part == NULL || blkid_partition_is_extended(part))
			continue;
		rc = probe_at(fd, (int64_t)blkid_partition_get_start(part) * 512,
		    (int64_t)blkid_partition_get_size(part) * 512, ret, cap);
	}
	blkid_free_probe(p);
	return rc;
}

static int
live_file_system(void *ctx, const char *path, char *ret, size_t cap)
{
	struct stat st;
	int rc;

	(void)ctx;
	ret[0] = '\0';
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0 || (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))) {
		close(fd);
		return -EINVAL;
	}
	rc = probe_at(fd, 0, 0, ret, cap);
	if (rc == 0 && ret[0] == '\0')
		rc = probe_partitions(fd, ret, cap);
	close(fd);
	return rc;
}

const struct doctor_probes doctor_live_probes = {
    .nvme_health = live_nvme_health,
    .space = live_space,
    .file_system = live_file_system,
};
