/* SPDX-License-Identifier: BSD-2-Clause */
/* Who holds what, read from trees made for the test. */
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "store/block_priv.h"
#include "store/refuse.h"

static char root[128];
static char got[256];

/* Writes a file below root, with its directories. */
static void
put(const char *path, const char *text)
{
	char full[400], cmd[600];
	snprintf(full, sizeof full, "%s%s", root, path);
	snprintf(cmd, sizeof cmd, "mkdir -p \"$(dirname '%s')\"", full);
	assert_int_equal(system(cmd), 0);
	FILE *f = fopen(full, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void
put_link(const char *path, const char *target)
{
	char full[400];
	put(path, "");
	snprintf(full, sizeof full, "%s%s", root, path);
	unlink(full);
	assert_int_equal(symlink(target, full), 0);
}

static int
fresh_root(void **state)
{
	(void)state;
	static unsigned n;
	snprintf(root, sizeof root, "%s/tree%u", test_dir(), n++);
	mkdir(root, 0700);
	got[0] = '\0';
	return 0;
}

static void
a_mount_is_named(void **state)
{
	(void)state;
	put("/proc/self/mountinfo",
	    "21 26 0:20 / /proc rw - proc proc rw\n"
	    "30 26 8:17 / /srv/my\\040data rw,relatime shared:1 - ext4 /dev/sdb1 rw\n");
	assert_true(refuse_device_holder(root, "/dev/sdb1", makedev(8, 17), got, sizeof got));
	assert_string_equal(got, "mounted at /srv/my data");
	assert_false(refuse_device_holder(root, "/dev/sdb2", makedev(8, 18), got, sizeof got));
}

/* btrfs mounts carry a number of their own: the source's path tells. */
static void
a_mount_is_found_by_its_source(void **state)
{
	(void)state;
	put("/proc/self/mountinfo", "30 26 0:44 /sub /pool rw - btrfs /dev/sdc rw\n");
	assert_true(refuse_device_holder(root, "/dev/sdc", makedev(8, 32), got, sizeof got));
	assert_string_equal(got, "mounted at /pool");
}

static void
swap_is_named(void **state)
{
	(void)state;
	put("/proc/swaps", "Filename\tType\tSize\tUsed\tPriority\n"
	                   "/dev/sdb2                       partition\t1000\t0\t-2\n"
	                   "/swap\\040file file 1000 0 -3\n");
	assert_true(refuse_device_holder(root, "/dev/sdb2", makedev(8, 18), got, sizeof got));
	assert_string_equal(got, "in use as swap");
	assert_true(refuse_file_use(root, "/swap file", got, sizeof got));
	assert_string_equal(got, "swap");
	assert_false(refuse_file_use(root, "/swap", got, sizeof got));
}

static void
md_and_lvm_holders_are_named(void **state)
{
	(void)state;
	put_link("/sys/dev/block/8:16", "../../devices/pci/ata1/sdb");
	put("/sys/class/block/sdb/holders/md0", "");
	assert_true(refuse_device_holder(root, "/dev/sdb", makedev(8, 16), got, sizeof got));
	assert_string_equal(got, "part of md0");
	put_link("/sys/dev/block/8:32", "../../devices/pci/ata2/sdc");
	put("/sys/class/block/sdc/holders/dm-3", "");
	put("/sys/class/block/dm-3/dm/name", "vg0-home\n");
	put("/sys/class/block/dm-3/dm/uuid", "LVM-abcdef\n");
	assert_true(refuse_device_holder(root, "/dev/sdc", makedev(8, 32), got, sizeof got));
	assert_string_equal(got, "used by LVM vg0-home (dm-3)");
	put("/sys/class/block/dm-3/dm/uuid", "CRYPT-LUKS2-1\n");
	assert_true(refuse_device_holder(root, "/dev/sdc", makedev(8, 32), got, sizeof got));
	assert_string_equal(got, "used by device mapper vg0-home (dm-3)");
}

static void
a_disk_is_held_by_its_partition(void **state)
{
	(void)state;
	put_link("/sys/dev/block/8:16", "../../devices/pci/ata1/sdb");
	put("/sys/class/block/sdb/queue/rotational", "1\n");
	put("/sys/class/block/sdb/sdb1/dev", "8:17\n");
	put("/proc/self/mountinfo", "30 26 8:17 / /boot rw - ext4 /dev/sdb1 rw\n");
	assert_true(refuse_device_holder(root, "/dev/sdb", makedev(8, 16), got, sizeof got));
	assert_string_equal(got, "mounted at /boot (partition sdb1)");
}

static void
a_lock_is_traced_to_its_process(void **state)
{
	(void)state;
	put("/proc/locks", "1: POSIX  ADVISORY  WRITE 77 08:01:130 0 EOF\n"
	                   "2: FLOCK  ADVISORY  WRITE 4711 08:01:131 0 EOF\n"
	                   "2: -> FLOCK  ADVISORY  WRITE 99 08:01:132 0 EOF\n"
	                   "3: OFDLCK ADVISORY  WRITE -1 08:01:133 0 EOF\n");
	/* One that was killed has requests under way still, or waits for its parent: it lets go. */
	assert_false(refuse_file_holder(root, makedev(8, 1), 131, got, sizeof got));
	put("/proc/4711/stat", "4711 (a (bad) S name) Z 1 4711\n");
	assert_false(refuse_file_holder(root, makedev(8, 1), 131, got, sizeof got));
	put("/proc/4711/stat", "4711 (a (bad) Z name) S 1 4711\n");
	put("/proc/4711/comm", "qemu-system-x86\n");
	assert_true(refuse_file_holder(root, makedev(8, 1), 131, got, sizeof got));
	assert_string_equal(got, "process 4711 (qemu-system-x86)");
	assert_false(refuse_file_holder(root, makedev(8, 2), 131, got, sizeof got));
	assert_false(
	    refuse_file_holder(root, makedev(8, 1), 132, got, sizeof got)); /* only waits */
	assert_false(refuse_file_holder(root, makedev(8, 1), 133, got, sizeof got));
}

/* A lock without a process: whoever has the file open. */
static void
an_open_file_is_traced_to_its_process(void **state)
{
	(void)state;
	char file[200];
	struct stat st;
	put("/data.img", "x");
	snprintf(file, sizeof file, "%s/data.img", root);
	put_link("/proc/815/fd/7", file);
	assert_int_equal(stat(file, &st), 0);
	assert_true(refuse_file_holder(root, st.st_dev, st.st_ino, got, sizeof got));
	assert_string_equal(got, "process 815");
}

static void
a_loop_device_over_a_file_is_named(void **state)
{
	(void)state;
	put("/sys/block/loop3/loop/backing_file", "/srv/a.img\n");
	put("/sys/block/sda/size", "1\n");
	assert_true(refuse_file_use(root, "/srv/a.img", got, sizeof got));
	assert_string_equal(got, "loop device /dev/loop3");
	assert_false(refuse_file_use(root, "/srv/b.img", got, sizeof got));
}

static void
garbage_in_the_tables_is_harmless(void **state)
{
	(void)state;
	static char line[40000];
	memset(line, 'a', sizeof line - 1);
	put("/proc/self/mountinfo", line);
	put("/proc/swaps", line);
	put("/proc/locks", line);
	put("/sys/block/loop0/loop/backing_file", line);
	assert_false(refuse_device_holder(root, "/dev/x", makedev(1, 1), got, sizeof got));
	assert_false(refuse_file_use(root, "/x", got, sizeof got));
	assert_false(refuse_file_holder(root, makedev(1, 1), 1, got, sizeof got));
	put("/proc/self/mountinfo", "\n - \n1 2 8:16\n1 2 8:16 / \n\\\n");
	assert_false(refuse_device_holder(root, "/dev/x", makedev(8, 16), got, sizeof got));
}

static void
the_nearest_name_is_found(void **state)
{
	(void)state;
	char path[200], want[200];
	put("/dev/sdb", "");
	put("/dev/sdb9", "");
	put("/dev/tty", "");
	snprintf(path, sizeof path, "%s/dev/sdb99", root);
	snprintf(want, sizeof want, "%s/dev/sdb9", root);
	assert_true(refuse_nearest(path, got, sizeof got));
	assert_string_equal(got, want);
	snprintf(path, sizeof path, "%s/dev/completely-different", root);
	assert_false(refuse_nearest(path, got, sizeof got));
	snprintf(path, sizeof path, "%s/no-dir/x", root);
	assert_false(refuse_nearest(path, got, sizeof got));
}

static void
the_queue_of_a_disk_is_read(void **state)
{
	(void)state;
	struct block_queue q;
	put("/sys/dev/block/8:16/queue/rotational", "1\n");
	put("/sys/dev/block/8:16/queue/discard_granularity", "4096\n");
	put("/sys/dev/block/8:16/queue/discard_max_bytes", "2147450880\n");
	put("/sys/dev/block/8:16/queue/write_zeroes_max_bytes", "nonsense\n");
	put("/sys/dev/block/8:16/queue/minimum_io_size", "65536\n");
	block_read_queue(root, makedev(8, 16), &q);
	assert_true(q.rotational);
	assert_int_equal(q.discard_granularity_bytes, 4096);
	assert_int_equal(q.discard_max_bytes, 2147450880u);
	assert_int_equal(q.write_zeroes_max_bytes, 0);
	assert_int_equal(q.optimal_io_bytes, 0);
	assert_int_equal(q.minimum_io_bytes, 65536);
}

/* /sys/dev/block/8:17 → …/sdb/sdb1: the queue is the disk's. */
static void
the_queue_of_a_partition_is_its_disks(void **state)
{
	(void)state;
	struct block_queue q;
	put("/sys/devices/sdb/queue/rotational", "1\n");
	put("/sys/devices/sdb/sdb1/dev", "8:17\n");
	put_link("/sys/dev/block/8:17", "../../devices/sdb/sdb1");
	block_read_queue(root, makedev(8, 17), &q);
	assert_true(q.rotational);
}

static void
the_stable_name_is_the_world_wide_one(void **state)
{
	(void)state;
	struct stat st;
	char want[200], dir[160];
	if (stat("/dev/loop0", &st) < 0 || !S_ISBLK(st.st_mode))
		skip();
	put_link("/by-id/ata-DISK_123", "/dev/loop0");
	put_link("/by-id/wwn-0x5000", "/dev/loop0");
	put_link("/by-id/nvme-other", "/dev/null");
	put_link("/by-id/dangling", "/dev/none");
	snprintf(dir, sizeof dir, "%s/by-id", root);
	snprintf(want, sizeof want, "%s/by-id/wwn-0x5000", root);
	assert_true(block_stable_name(dir, st.st_rdev, got, sizeof got));
	assert_string_equal(got, want);
	assert_false(block_stable_name(dir, makedev(99, 99), got, sizeof got));
	assert_false(block_stable_name("/nowhere", st.st_rdev, got, sizeof got));
}

static int
group_end(void **state)
{
	(void)state;
	test_dir_remove();
	return 0;
}

#define IN_TREE(f) cmocka_unit_test_setup(f, fresh_root)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    IN_TREE(a_mount_is_named),
	    IN_TREE(a_mount_is_found_by_its_source),
	    IN_TREE(swap_is_named),
	    IN_TREE(md_and_lvm_holders_are_named),
	    IN_TREE(a_disk_is_held_by_its_partition),
	    IN_TREE(a_lock_is_traced_to_its_process),
	    IN_TREE(an_open_file_is_traced_to_its_process),
	    IN_TREE(a_loop_device_over_a_file_is_named),
	    IN_TREE(garbage_in_the_tables_is_harmless),
	    IN_TREE(the_nearest_name_is_found),
	    IN_TREE(the_queue_of_a_disk_is_read),
	    IN_TREE(the_queue_of_a_partition_is_its_disks),
	    IN_TREE(the_stable_name_is_the_world_wide_one),
	};
	return cmocka_run_group_tests(tests, NULL, group_end);
}
