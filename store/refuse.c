/* SPDX-License-Identifier: BSD-2-Clause */
#include "store/refuse.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/process.h"
#include "base/text.h"

#define PATH_BYTES 4096
#define NAMES_MAX 1024u /* directory entries looked at for a suggestion */
#define PIDS_MAX 65536u /* processes looked at for a descriptor */

bool
refuse_read_line(const char *root, const char *path, char *buf, size_t cap)
{
	char full[PATH_BYTES];
	snprintf(full, sizeof full, "%s%s", root, path);
	FILE *f = fopen(full, "re");
	if (f == NULL)
		return false;
	bool ok = fgets(buf, (int)cap, f) != NULL;
	fclose(f);
	if (ok)
		buf[strcspn(buf, "\n")] = '\0';
	return ok;
}

static void
describe_process(const char *root, long pid, char *buf, size_t cap)
{
	char path[64], comm[64];
	snprintf(path, sizeof path, "/proc/%ld/comm", pid);
	if (refuse_read_line(root, path, comm, sizeof comm))
		snprintf(buf, cap, "process %ld (%s)", pid, comm);
	else
		snprintf(buf, cap, "process %ld", pid);
}

/* One that was killed is named by its locks until the kernel has ended its requests, but holds them no more. */
static bool
is_running(const char *root, long pid)
{
	char state = process_state(root, (pid_t)pid);
	return state != 0 && state != 'Z' && state != 'X';
}

/* Fields of /proc/locks: "1: FLOCK ADVISORY WRITE 1234 08:01:131 0 EOF", device in hexadecimal. */
static bool
lock_holder(const char *root, dev_t dev, ino_t ino, long *ret_pid)
{
	char path[PATH_BYTES], line[256];
	snprintf(path, sizeof path, "%s/proc/locks", root);
	FILE *f = fopen(path, "re");
	bool found = false;
	while (f != NULL && !found && fgets(line, sizeof line, f) != NULL) {
		unsigned maj, min;
		unsigned long node;
		long pid;
		/* "->" stands before the kind of a lock that only waits. */
		if (strstr(line, "->") != NULL ||
		    sscanf(line, "%*s %*s %*s %*s %ld %x:%x:%lu", &pid, &maj, &min, &node) != 4)
			continue;
		found = pid > 0 && pid != getpid() && maj == major(dev) && min == minor(dev) &&
		        node == ino && is_running(root, pid);
		if (found)
			*ret_pid = pid;
	}
	if (f != NULL)
		fclose(f);
	return found;
}

/* How many descriptors of `pid` are the object: by device and inode, or for a device by its number. */
static unsigned
count_open(const char *root, const char *pid, dev_t dev, ino_t ino, dev_t rdev)
{
	char dir[PATH_BYTES];
	snprintf(dir, sizeof dir, "%s/proc/%s/fd", root, pid);
	DIR *d = opendir(dir);
	unsigned count = 0;
	for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) {
		struct stat st;
		if (e->d_name[0] == '.' || fstatat(dirfd(d), e->d_name, &st, 0) < 0)
			continue;
		count += rdev != 0 ? S_ISBLK(st.st_mode) && st.st_rdev == rdev
		                   : st.st_dev == dev && st.st_ino == ino;
	}
	if (d != NULL)
		closedir(d);
	return count;
}

unsigned
refuse_own_count(dev_t dev, ino_t ino, dev_t rdev)
{
	return count_open("", "self", dev, ino, rdev);
}

static bool
open_holder(const char *root, dev_t dev, ino_t ino, dev_t rdev, long *ret_pid)
{
	char dir[PATH_BYTES];
	snprintf(dir, sizeof dir, "%s/proc", root);
	DIR *d = opendir(dir);
	bool found = false;
	unsigned seen = 0;
	for (struct dirent *e;
	     d != NULL && !found && (e = readdir(d)) != NULL && seen < PIDS_MAX;) {
		char *end;
		long pid = strtol(e->d_name, &end, 10);
		if (*end != '\0' || pid <= 0 || pid == getpid())
			continue;
		seen++;
		found = count_open(root, e->d_name, dev, ino, rdev) > 0;
		if (found)
			*ret_pid = pid;
	}
	if (d != NULL)
		closedir(d);
	return found;
}

bool
refuse_file_holder(const char *root, dev_t dev, ino_t ino, char *buf, size_t cap)
{
	long pid;
	/* Locks of open file descriptions name no process: then whoever has it open is likely it. */
	if (!lock_holder(root, dev, ino, &pid) && !open_holder(root, dev, ino, 0, &pid))
		return false;
	describe_process(root, pid, buf, cap);
	return true;
}

/* ---- mounts and swap --------------------------------------------------------------------- */

/* Undoes the octal escapes (\040) of the tables in /proc. */
static void
unescape(char *s)
{
	char *d = s;
	for (; *s != '\0'; s++) {
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' &&
		    s[3] >= '0' && s[3] <= '7') {
			*d++ = (char)((s[1] - '0') * 64 + (s[2] - '0') * 8 + (s[3] - '0'));
			s += 3;
		} else {
			*d++ = *s;
		}
	}
	*d = '\0';
}

/* First field of a line that is `path`. */
static bool
first_field_is(char *line, const char *path)
{
	char field[PATH_BYTES];
	if (sscanf(line, "%4095s", field) != 1)
		return false;
	unescape(field);
	return strcmp(field, path) == 0;
}

static bool
is_swap(const char *root, const char *path)
{
	char full[PATH_BYTES], line[2 * PATH_BYTES];
	snprintf(full, sizeof full, "%s/proc/swaps", root);
	FILE *f = fopen(full, "re");
	bool found = false;
	while (f != NULL && !found && fgets(line, sizeof line, f) != NULL)
		found = first_field_is(line, path);
	if (f != NULL)
		fclose(f);
	return found;
}

/* /proc/self/mountinfo: "36 35 98:0 /root /mnt opts … - type source opts". */
static bool
mounted_at(const char *root, const char *path, dev_t rdev, char *ret_at)
{
	char full[PATH_BYTES], line[4 * PATH_BYTES], at[PATH_BYTES], source[PATH_BYTES];
	snprintf(full, sizeof full, "%s/proc/self/mountinfo", root);
	FILE *f = fopen(full, "re");
	bool found = false;
	while (f != NULL && !found && fgets(line, sizeof line, f) != NULL) {
		unsigned maj, min;
		if (sscanf(line, "%*s %*s %u:%u %*s %4095s", &maj, &min, at) != 3)
			continue;
		found = maj == major(rdev) && min == minor(rdev);
		const char *dash = strstr(line, " - ");
		if (!found && dash != NULL && sscanf(dash, " - %*s %4095s", source) == 1) {
			unescape(source);
			found = strcmp(source, path) == 0;
		}
	}
	if (f != NULL)
		fclose(f);
	if (found) {
		unescape(at);
		strcpy(ret_at, at);
	}
	return found;
}

bool
refuse_file_use(const char *root, const char *path, char *buf, size_t cap)
{
	if (is_swap(root, path)) {
		snprintf(buf, cap, "swap");
		return true;
	}
	char dir[PATH_BYTES], file[PATH_BYTES], backing[PATH_BYTES];
	snprintf(dir, sizeof dir, "%s/sys/block", root);
	DIR *d = opendir(dir);
	bool found = false;
	for (struct dirent *e; d != NULL && !found && (e = readdir(d)) != NULL;) {
		if (strncmp(e->d_name, "loop", 4) != 0)
			continue;
		snprintf(file, sizeof file, "/sys/block/%s/loop/backing_file", e->d_name);
		found = refuse_read_line(root, file, backing, sizeof backing) &&
		        strcmp(backing, path) == 0;
		if (found)
			snprintf(buf, cap, "loop device /dev/%s", e->d_name);
	}
	if (d != NULL)
		closedir(d);
	return found;
}

/* ---- block devices ----------------------------------------------------------------------- */

/* "md0" → part of md0; "dm-3" with a name → LVM or another device mapper. */
static void
describe_stacked(const char *root, const char *name, char *buf, size_t cap)
{
	char path[PATH_BYTES], dm_name[256], uuid[256];
	snprintf(path, sizeof path, "/sys/class/block/%s/dm/name", name);
	if (refuse_read_line(root, path, dm_name, sizeof dm_name)) {
		snprintf(path, sizeof path, "/sys/class/block/%s/dm/uuid", name);
		bool lvm = refuse_read_line(root, path, uuid, sizeof uuid) &&
		           strncmp(uuid, "LVM-", 4) == 0;
		snprintf(
		    buf, cap, "used by %s %s (%s)", lvm ? "LVM" : "device mapper", dm_name, name);
	} else {
		snprintf(buf, cap, "part of %s", name);
	}
}

/* First entry of a directory below root whose name passes; "" if none does. */
static bool
first_entry(const char *root, const char *path, char *ret_name, size_t cap)
{
	char dir[PATH_BYTES];
	snprintf(dir, sizeof dir, "%s%s", root, path);
	DIR *d = opendir(dir);
	bool found = false;
	for (struct dirent *e; d != NULL && !found && (e = readdir(d)) != NULL;) {
		found = e->d_name[0] != '.';
		if (found)
			snprintf(ret_name, cap, "%s", e->d_name);
	}
	if (d != NULL)
		closedir(d);
	return found;
}

/* The device itself, not its partitions. `name` is the kernel's ("sda1"). */
static bool
one_device_holder(
    const char *root, const char *path, const char *name, dev_t rdev, char *buf, size_t cap)
{
	char at[PATH_BYTES], holder[256], dir[PATH_BYTES];
	if (mounted_at(root, path, rdev, at)) {
		snprintf(buf, cap, "mounted at %s", at);
		return true;
	}
	if (is_swap(root, path)) {
		snprintf(buf, cap, "in use as swap");
		return true;
	}
	snprintf(dir, sizeof dir, "/sys/class/block/%s/holders", name);
	if (first_entry(root, dir, holder, sizeof holder)) {
		describe_stacked(root, holder, buf, cap);
		return true;
	}
	return false;
}

/* A whole disk is held when a partition of it is. */
static bool
partition_holder(const char *root, const char *name, char *buf, size_t cap)
{
	char dir[PATH_BYTES];
	snprintf(dir, sizeof dir, "%s/sys/class/block/%s", root, name);
	DIR *d = opendir(dir);
	bool found = false;
	for (struct dirent *e; d != NULL && !found && (e = readdir(d)) != NULL;) {
		char file[PATH_BYTES], number[32], dev[300], held[256];
		unsigned maj, min;
		if (strncmp(e->d_name, name, strlen(name)) != 0)
			continue;
		snprintf(file, sizeof file, "/sys/class/block/%s/%s/dev", name, e->d_name);
		if (!refuse_read_line(root, file, number, sizeof number) ||
		    sscanf(number, "%u:%u", &maj, &min) != 2)
			continue;
		snprintf(dev, sizeof dev, "/dev/%s", e->d_name);
		found =
		    one_device_holder(root, dev, e->d_name, makedev(maj, min), held, sizeof held);
		if (found)
			snprintf(buf, cap, "%s (partition %s)", held, e->d_name);
	}
	if (d != NULL)
		closedir(d);
	return found;
}

/* The kernel's name of a device number: the last part of where /sys/dev/block/M:m points. */
static bool
kernel_name(const char *root, dev_t rdev, char *buf, size_t cap)
{
	char link[PATH_BYTES], target[PATH_BYTES];
	snprintf(link, sizeof link, "%s/sys/dev/block/%u:%u", root, major(rdev), minor(rdev));
	ssize_t n = readlink(link, target, sizeof target - 1);
	if (n <= 0)
		return false;
	target[n] = '\0';
	const char *slash = strrchr(target, '/');
	const char *name = slash != NULL ? slash + 1 : target;
	if (strlen(name) >= cap)
		return false;
	strcpy(buf, name);
	return true;
}

bool
refuse_device_holder(const char *root, const char *path, dev_t rdev, char *buf, size_t cap)
{
	char name[256];
	long pid;
	if (!kernel_name(root, rdev, name, sizeof name)) {
		const char *slash = strrchr(path, '/');
		snprintf(name, sizeof name, "%.*s", (int)sizeof name - 1,
		    slash != NULL ? slash + 1 : path);
	}
	if (one_device_holder(root, path, name, rdev, buf, cap) ||
	    partition_holder(root, name, buf, cap))
		return true;
	if (!open_holder(root, 0, 0, rdev, &pid))
		return false;
	describe_process(root, pid, buf, cap);
	return true;
}

bool
refuse_nearest(const char *path, char *buf, size_t cap)
{
	const char *slash = strrchr(path, '/');
	if (slash == NULL || slash[1] == '\0')
		return false;
	char dir[PATH_BYTES];
	snprintf(dir, sizeof dir, "%.*s/", (int)(slash - path), path);
	DIR *d = opendir(dir);
	if (d == NULL)
		return false;
	char **names = calloc(NAMES_MAX + 1, sizeof *names);
	size_t count = 0;
	for (struct dirent *e; names != NULL && count < NAMES_MAX && (e = readdir(d)) != NULL;) {
		if (e->d_name[0] == '.')
			continue;
		names[count] = strdup(e->d_name);
		if (names[count] != NULL)
			count++;
	}
	closedir(d);
	const char *near =
	    names != NULL ? text_nearest(slash + 1, (const char *const *)names) : NULL;
	if (near != NULL)
		snprintf(buf, cap, "%s%s", dir, near);
	for (size_t i = 0; i < count; i++)
		free(names[i]);
	free(names);
	return near != NULL;
}
