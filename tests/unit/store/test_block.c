/* SPDX-License-Identifier: BSD-2-Clause */
/* Block devices, on loop devices over files; skipped where those can't be had. */
#include "suite.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define SIZE (16ull << 20)

static struct world *w;
static char image[128], device[64], reason[256];

static int
command(const char *fmt, const char *a, const char *b)
{
	char cmd[400];
	int n = snprintf(cmd, sizeof cmd, "%s %s %s >/dev/null 2>&1", fmt, a, b);
	assert_true(n > 0 && (size_t)n < sizeof cmd);
	return system(cmd);
}

/* Attaches `image` of SIZE bytes; the device's path goes to `device`. */
static bool
attach(unsigned sector)
{
	char cmd[300];
	static unsigned n;
	snprintf(image, sizeof image, "%s/disk%u.img", test_dir(), n++);
	int fd = open(image, O_RDWR | O_CREAT, 0600);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, SIZE), 0);
	close(fd);
	snprintf(cmd, sizeof cmd, "losetup --find --show -b %u %s 2>/dev/null", sector, image);
	FILE *p = popen(cmd, "r");
	bool ok = p != NULL && fgets(device, sizeof device, p) != NULL;
	if (p != NULL)
		ok = pclose(p) == 0 && ok;
	device[strcspn(device, "\n")] = '\0';
	return ok;
}

/* Also after a test that failed half-way. */
static int
detach(void **state)
{
	(void)state;
	char at[160];
	snprintf(at, sizeof at, "%s/mnt", test_dir());
	(void)umount2(at, MNT_DETACH);
	if (device[0] != '\0')
		(void)command("losetup -d", device, "");
	device[0] = '\0';
	return 0;
}

static int
try_open(const char *spec, uint64_t size, uint32_t flags, uint32_t block_bytes)
{
	struct blk_open_args args = {
	    .spec = spec, .size_bytes = size, .flags = flags, .block_bytes = block_bytes};
	struct blk *b = NULL;
	int err = world_open_reason(w, &args, &b, reason);
	if (err == 0)
		world_close(w, b);
	return err;
}

static void
on_device(unsigned loops, uint32_t flags, uint32_t block_bytes, unsigned sector)
{
	if (!attach(sector))
		skip();
	w = world_real(loops, false);
	struct blk *b = world_open(w, device, 0, flags, block_bytes);
	assert_string_equal(blk_get_info(b)->driver, "block");
	assert_int_equal(blk_get_info(b)->size_bytes, SIZE);
	assert_int_equal(
	    !!(blk_get_info(b)->caps & BLK_CAP_VOLATILE), !!(flags & BLK_OPEN_VOLATILE));
	suite_all(w, b, 8);
	world_close(w, b);
	world_destroy(w);
}

static void
behaves_durably(void **state)
{
	(void)state;
	on_device(2, 0, 512, 512);
}

static void
behaves_durably_in_4k_blocks(void **state)
{
	(void)state;
	on_device(1, 0, 4096, 4096);
}

static void
behaves_volatile(void **state)
{
	(void)state;
	on_device(2, BLK_OPEN_VOLATILE, 512, 512);
}

static void
blocks_smaller_than_a_sector_are_refused(void **state)
{
	(void)state;
	if (!attach(4096))
		skip();
	w = world_real(1, false);
	assert_int_equal(try_open(device, 0, 0, 512), -EINVAL);
	assert_non_null(strstr(reason, "4096"));
	assert_int_equal(try_open(device, 0, 0, 4096), 0);
	world_destroy(w);
}

static void
a_mounted_device_is_refused_with_its_mount(void **state)
{
	(void)state;
	char at[160];
	if (!attach(512))
		skip();
	snprintf(at, sizeof at, "%s/mnt", test_dir());
	mkdir(at, 0700);
	w = world_real(1, false);
	if (command("mkfs.ext4 -q", device, "") != 0 || mount(device, at, "ext4", 0, NULL) < 0) {
		world_destroy(w);
		skip();
	}
	assert_int_equal(try_open(device, 0, 0, 512), -EBUSY);
	assert_non_null(strstr(reason, "mounted at"));
	assert_non_null(strstr(reason, at));
	assert_int_equal(umount(at), 0);
	assert_int_equal(try_open(device, 0, 0, 512), 0);
	world_destroy(w);
}

static void
a_device_is_not_opened_twice_nor_its_file(void **state)
{
	(void)state;
	if (!attach(512))
		skip();
	w = world_real(1, false);
	struct blk *b = world_open(w, device, 0, 0, 512);
	assert_int_equal(try_open(device, 0, 0, 512), -EBUSY);
	assert_int_equal(try_open(image, 0, 0, 512), -EBUSY);
	assert_non_null(strstr(reason, "loop device"));
	world_close(w, b);
	assert_int_equal(try_open(device, 0, BLK_OPEN_READ_ONLY, 512), 0);
	world_destroy(w);
}

static unsigned sized;

static void
count_size(void *ctx, enum blk_event ev)
{
	(void)ctx;
	if (ev == BLK_EVENT_SIZE)
		__atomic_fetch_add(&sized, 1, __ATOMIC_RELEASE);
}

static void
listen_run(void *ctx)
{
	sized = 0;
	blk_set_events(ctx, count_size, NULL);
}

static void
a_grown_device_is_noticed(void **state)
{
	(void)state;
	char buf[512];
	if (!attach(512))
		skip();
	w = world_real(2, false);
	struct blk *b = world_open(w, device, 0, 0, 512);
	world_call(w, 0, listen_run, b);
	assert_int_equal(truncate(image, SIZE * 2), 0);
	assert_int_equal(command("losetup -c", device, ""), 0);
	for (unsigned i = 0; i < 60 && __atomic_load_n(&sized, __ATOMIC_ACQUIRE) == 0; i++)
		world_pass(w, 50000000);
	assert_int_equal(sized, 1);
	assert_int_equal(blk_get_info(b)->size_bytes, SIZE * 2);
	assert_int_equal(io_read(w, 1, b, SIZE * 2 - 512, 512, buf), 0);
	world_close(w, b);
	world_destroy(w);
}

static void
wrong_names_are_refused_with_a_cure(void **state)
{
	(void)state;
	w = world_real(1, false);
	assert_int_equal(try_open("block:", 0, 0, 512), -EINVAL);
	assert_int_equal(try_open("block:/dev/null", 0, 0, 512), -EINVAL);
	assert_int_equal(try_open("block:/dev/nosuchdevice", 0, 0, 512), -ENOENT);
	assert_int_equal(try_open("/dev/nosuchdevice", 0, BLK_OPEN_CREATE, 512), -ENOENT);
	assert_int_equal(try_open("lvm:nosuch/volume", 0, 0, 512), -ENOENT);
	assert_non_null(strstr(reason, "lvchange"));
	static const char *const bad[] = {
	    "lvm:", "lvm:vg", "lvm:/lv", "lvm:vg/", "lvm:vg/lv/x", "lvm:../sda", "lvm:vg/.."};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_int_equal(try_open(bad[i], 0, 0, 512), -EINVAL);
	world_destroy(w);
}

static int
group_end(void **state)
{
	(void)state;
	test_dir_remove();
	return 0;
}

#define DETACHED(f) cmocka_unit_test_teardown(f, detach)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    DETACHED(behaves_durably),
	    DETACHED(behaves_durably_in_4k_blocks),
	    DETACHED(behaves_volatile),
	    DETACHED(blocks_smaller_than_a_sector_are_refused),
	    DETACHED(a_mounted_device_is_refused_with_its_mount),
	    DETACHED(a_device_is_not_opened_twice_nor_its_file),
	    DETACHED(a_grown_device_is_noticed),
	    DETACHED(wrong_names_are_refused_with_a_cure),
	};
	return cmocka_run_group_tests(tests, NULL, group_end);
}
