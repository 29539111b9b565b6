/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What may become an SSD of a cache [22]: file systems and mounts on which a durable write isn't durable, and what
 * belongs to somebody. What is refused keeps each of its bytes.
 */
#include "tests/cmocka_all.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ssd/ssd.h"

#define MIB (1u << 20)
#define SIZE (32u * MIB)
#define EXT4 0xef53L

static char dir[] = "/tmp/terrace-ssd-test-XXXXXX";
static char path[200], table[200];

static int
setup(void **state)
{
	(void)state;
	if (mkdtemp(dir) == NULL)
		return -1;
	snprintf(path, sizeof path, "%s/ssd", dir);
	snprintf(table, sizeof table, "%s/mountinfo", dir);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	(void)unlink(path);
	(void)unlink(table);
	return rmdir(dir);
}

static int
examine(const struct ssd_place *place, uint64_t size, char reason[600])
{
	struct ssd_args args = {.spec = path, .name = "fast", .size_bytes = size, .place = place};
	struct ssd_found found;
	reason[0] = '\0';
	return ssd_examine(&args, &found, reason, 600);
}

static void
says(const char *reason, const char *part)
{
	if (strstr(reason, part) == NULL)
		fail_msg("'%s' isn't in: %s", part, reason);
}

static void
make(const void *data, size_t len, off_t at)
{
	int fd = open(path, O_RDWR | O_CREAT, 0600);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, SIZE), 0);
	if (len > 0)
		assert_int_equal(pwrite(fd, data, len, at), len);
	close(fd);
}

/* All of a file, and the times that a write would change. */
struct seen {
	char *bytes;
	struct stat st;
};

static struct seen
look(void)
{
	struct seen s;
	int fd = open(path, O_RDONLY);
	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &s.st), 0);
	s.bytes = malloc((size_t)s.st.st_size + 1);
	assert_non_null(s.bytes);
	assert_int_equal(read(fd, s.bytes, (size_t)s.st.st_size), s.st.st_size);
	close(fd);
	return s;
}

static void
is_untouched(struct seen before)
{
	struct seen after = look();
	assert_int_equal(before.st.st_size, after.st.st_size);
	assert_int_equal(before.st.st_ino, after.st.st_ino);
	assert_memory_equal(&before.st.st_mtim, &after.st.st_mtim, sizeof before.st.st_mtim);
	assert_true(before.st.st_blocks == after.st.st_blocks);
	assert_memory_equal(before.bytes, after.bytes, (size_t)before.st.st_size);
	free(before.bytes);
	free(after.bytes);
}

static void
file_systems_that_keep_no_promise(void **state)
{
	static const struct {
		long type;
		const char *says;
	} rows[] = {
	    {TMPFS_MAGIC, "in memory"},
	    {RAMFS_MAGIC, "in memory"},
	    {0x9123683eL, "btrfs"}, /* and no file with chattr +C: the folder here has none */
	    {0x2fc12fc1L, "copies what is written"},
	    {0xca451a4eL, "copies what is written"},
	};
	char reason[600];
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		const struct ssd_place place = {.fs_type = rows[i].type};
		assert_int_equal(examine(&place, SIZE, reason), -ENOTSUP);
		says(reason, rows[i].says);
		says(reason, "cache fast");
		assert_int_equal(access(path, F_OK), -1); /* nothing was made */
		make(NULL, 0, 0);
		struct seen before = look();
		assert_int_equal(examine(&place, 0, reason), -ENOTSUP);
		is_untouched(before);
		(void)unlink(path);
	}
}

static void
mounts_without_barriers(void **state)
{
	static const struct {
		const char *options;
		int rc;
	} rows[] = {
	    {"rw,nobarrier", -ENOTSUP},
	    {"rw,barrier=0,data=ordered", -ENOTSUP},
	    {"rw,barrier=1", -EEXIST}, /* then what is in it matters */
	    {"rw", -EEXIST},
	};
	const struct ssd_place place = {.fs_type = EXT4, .mountinfo = table};
	char reason[600];
	struct stat st;
	(void)state;
	make("somebody's", 10, 12345);
	assert_int_equal(stat(path, &st), 0);
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		FILE *f = fopen(table, "w");
		assert_non_null(f);
		fprintf(f,
		    "1 0 0:1 / /proc rw - proc proc rw,nobarrier\nnonsense\n"
		    "22 1 %u:%u / /srv/fast rw,noatime shared:1 - ext4 /dev/sda1 %s\n",
		    major(st.st_dev), minor(st.st_dev), rows[i].options);
		fclose(f);
		struct seen before = look();
		assert_int_equal(examine(&place, 0, reason), rows[i].rc);
		if (rows[i].rc == -ENOTSUP) {
			says(reason, "without barriers");
			says(reason, "mount -o remount,barrier=1 /srv/fast");
		}
		is_untouched(before);
	}
	/* No table: nobody says that there are none. */
	const struct ssd_place none = {.fs_type = EXT4, .mountinfo = "/nowhere/at/all"};
	assert_int_equal(examine(&none, 0, reason), -EEXIST);
	(void)unlink(path);
}

/* Runs a tool that makes something; false: it isn't there. */
static bool
tool(const char *name, const char *a, const char *b)
{
	pid_t pid = fork();
	if (pid == 0) {
		int null = open("/dev/null", O_RDWR);
		dup2(null, 0);
		dup2(null, 1);
		dup2(null, 2);
		if (setenv("PATH", "/usr/sbin:/sbin:/usr/bin:/bin", 1) == 0)
			execlp(name, name, a, b, path, (char *)NULL);
		_exit(127);
	}
	int status = 0;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void
refused_as(const char *what)
{
	const struct ssd_place place = {.fs_type = EXT4};
	char reason[600];
	struct seen before = look();
	assert_int_equal(examine(&place, 0, reason), -EEXIST);
	says(reason, what);
	assert_int_equal(examine(&place, SIZE, reason), -EEXIST); /* nor is it made anew */
	is_untouched(before);
	(void)unlink(path);
}

static void
what_belongs_to_somebody(void **state)
{
	static const uint8_t boot[66] = {[0] = 0x80,
	    [4] = 0x83,
	    [9] = 0x08,
	    [13] = 0xf0,
	    [64] = 0x55,
	    [65] = 0xaa}; /* one partition, from sector 2048 on */
	(void)state;
	make(NULL, 0, 0);
	if (tool("mke2fs", "-q", "-F"))
		refused_as("ext");
	make(NULL, 0, 0);
	if (tool("mkswap", "-L", "mine"))
		refused_as("swap \"mine\"");
	make(boot, sizeof boot, 446);
	refused_as("dos");
	/* An LVM label without volume group: PVs are told by it alone. */
	make("LABELONE\1\0\0\0\0\0\0\0\0\0\0\0 \0\0\0LVM2 001", 32, 512);
	refused_as("holds something");
	make("x", 1, SIZE - 1);
	refused_as("holds something");
}

static void
sizes(void **state)
{
	char reason[600];
	const struct ssd_place place = {.fs_type = EXT4};
	(void)state;
	assert_int_equal(examine(&place, 0, reason), -ENOENT);
	says(reason, "give a size");
	make(NULL, 0, 0);
	assert_int_equal(truncate(path, SIZE - 512), 0);
	struct seen before = look();
	assert_int_equal(examine(&place, 0, reason), -EINVAL);
	says(reason, "no whole number of 4 KiB blocks");
	is_untouched(before);
	assert_int_equal(truncate(path, 0), 0);
	assert_int_equal(examine(&place, 0, reason), -EINVAL);
	/* What a kill may leave of one that is being made is made to the end. */
	struct stat st;
	assert_int_equal(examine(&place, SIZE, reason), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, SIZE);
	assert_true(st.st_blocks * 512 >= SIZE);
	(void)unlink(path);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(examine(&place, 0, reason), -EINVAL);
	says(reason, "neither a file nor a block device");
	assert_int_equal(rmdir(path), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(file_systems_that_keep_no_promise),
	    cmocka_unit_test(mounts_without_barriers),
	    cmocka_unit_test(what_belongs_to_somebody),
	    cmocka_unit_test(sizes),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
