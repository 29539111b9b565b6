/* SPDX-License-Identifier: BSD-2-Clause */
/* Files that aren't as they ought to be, and machines of any size: bounded, and nothing gets through. */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/cmocka_all.h"
#include "tests/unit/doctor/machine.h"

/* Everything that is read, on a machine that has all of it. */
static const char *const files[] = {
    "/etc/apt/apt.conf.d/20auto-upgrades",
    "/etc/needrestart/needrestart.conf",
    "/etc/dnf/automatic.conf",
    "/etc/tgt/targets.conf",
    "/etc/istgt/istgt.conf",
    "/proc/net/tcp",
    "/proc/net/tcp6",
    "/proc/self/mountinfo",
    "/proc/self/limits",
    "/proc/77/comm",
    "/proc/sys/kernel/io_uring_disabled",
    "/sys/bus/pci/devices/0000:03:00.0/class",
    "/sys/bus/pci/devices/0000:03:00.0/current_link_speed",
    "/sys/bus/pci/devices/0000:03:00.0/current_link_width",
    "/sys/bus/pci/devices/0000:03:00.0/max_link_speed",
    "/sys/bus/pci/devices/0000:03:00.0/max_link_width",
    "/sys/class/block/sda/md/degraded",
    "/sys/class/block/sda/md/level",
    "/sys/class/block/sda/md/raid_disks",
    "/sys/class/block/sda/queue/rotational",
    "/sys/class/block/sda/queue/write_cache",
    "/sys/class/block/sda/queue/fua",
    "/sys/class/block/sda/device/timeout",
    "/sys/class/block/sda/device/vendor",
    "/sys/class/block/sda/device/scsi_disk/0/cache_type",
    "/sys/class/infiniband/mlx/ports/1/state",
    "/sys/class/net/eth0/mtu",
    "/sys/class/net/eth0/duplex",
    "/sys/kernel/config/target/core/a/b/udev_path",
    "/sys/kernel/scst_tgt/devices/a/filename",
};
#define FILES (sizeof files / sizeof files[0])

static void
serve(struct machine *m)
{
	machine_put(m, "/dev/sda", "");
	machine_put(m, "/srv/a.img", "");
	doctor_add_lun(&m->facts, "a", "block:/dev/sda", "nv", "", "");
	doctor_add_lun(&m->facts, "b", "file:/srv/a.img", "nv", "", "");
	doctor_add_cache(&m->facts, "c", "block:/dev/sda", "");
	doctor_add_address(&m->facts, "p", "192.0.2.1", false);
	doctor_add_address(&m->facts, "q", "192.0.2.1:5555", true);
	doctor_add_interface(&m->facts, "eth0", "192.0.2.1");
	doctor_add_viewer(&m->facts, "b", "*", true, false);
}

static void
no_escape(const struct machine *m)
{
	for (unsigned i = 0; i < m->report.count; i++) {
		const struct doctor_finding *x = &m->report.list[i];
		const char *const texts[] = {x->object, x->text, x->action};
		for (unsigned k = 0; k < 3; k++)
			for (const char *p = texts[k]; *p != '\0'; p++)
				assert_true((unsigned char)*p >= 0x20 && *p != 0x7f);
	}
}

/* Bytes from a fixed sequence: all kinds, with the words that the checks look for in between. */
static size_t
rubbish(uint32_t *seed, char *buf, size_t cap)
{
	static const char *const words[] = {"raid5", "write back", "1", "-1",
	    "99999999999999999999", "/dev/sda", "\n", "\"", " - ", "0A", ":0CBC", "\033[31m",
	    "0x0107", "nan", "inf", "4: ", "\\040", "Max locked memory", "Unattended-Upgrade \"",
	    "$nrconf{restart} = 'a'", "8:16"};
	size_t at = 0;

	*seed = *seed * 1664525u + 1013904223u;
	size_t len = *seed >> 8 & 2047u;
	while (at < len) {
		*seed = *seed * 1664525u + 1013904223u;
		const char *w = words[(*seed >> 16) % (sizeof words / sizeof words[0])];
		size_t n = (*seed >> 8 & 3u) != 0 ? strlen(w) : 1;
		if (at + n > cap)
			break;
		if ((*seed >> 8 & 3u) != 0)
			memcpy(buf + at, w, n);
		else
			buf[at] = (char)(*seed >> 24);
		at += n;
	}
	return at;
}

static void
any_bytes(void **state)
{
	struct machine *m = *state;
	uint32_t seed = 7;
	char buf[4096];

	serve(m);
	for (unsigned turn = 0; turn < 150; turn++) {
		for (unsigned i = 0; i < FILES; i++)
			machine_put_bytes(m, files[i], buf, rubbish(&seed, buf, sizeof buf));
		machine_look(m);
		no_escape(m);
	}
}

static void
any_kind(void **state)
{
	struct machine *m = *state;
	char path[PATH_MAX];

	serve(m);
	/* Folders, FIFOs that nobody writes to, and links in a ring, in place of files. */
	for (unsigned i = 0; i < FILES; i++) {
		machine_put(m, files[i], "");
		snprintf(path, sizeof path, "%s%s", m->root, files[i]);
		assert_int_equal(unlink(path), 0);
		if (i % 3 == 0)
			assert_int_equal(mkdir(path, 0700), 0);
		else if (i % 3 == 1)
			assert_int_equal(mkfifo(path, 0600), 0);
		else
			machine_link(m, files[i], files[i]);
	}
	machine_look(m);
}

static void
rings_and_depths(void **state)
{
	struct machine *m = *state;
	char path[256], to[256];

	serve(m);
	/* A disk that is on itself, and a tower of disks. */
	machine_link(m, "/sys/class/block/sda/slaves/sda", "/sys/class/block/sda");
	for (unsigned i = 0; i < 100; i++) {
		snprintf(path, sizeof path, "/sys/class/block/sda%s%u", i == 0 ? "" : "x", i);
		machine_folder(m, path);
		snprintf(path, sizeof path, "/sys/class/block/sdax%u/slaves/sdax%u", i, i + 1);
		snprintf(to, sizeof to, "/sys/class/block/sdax%u", i + 1);
		machine_link(m, path, to);
	}
	machine_link(m, "/sys/class/block/sda/slaves/sdax1", "/sys/class/block/sdax1");
	machine_look(m);
}

static void
out_of_the_root(void **state)
{
	struct machine *m = *state;
	char path[PATH_MAX];

	/* A link to a name that the machine outside has doesn't count. */
	machine_put(m, "/sys/class/block/null/queue/rotational", "1");
	machine_folder(m, "/dev");
	snprintf(path, sizeof path, "%s/dev/ssd", m->root);
	assert_int_equal(symlink("/dev/null", path), 0);
	doctor_add_cache(&m->facts, "c", "block:/dev/ssd", "");
	machine_finds(m, "ssd", DOCTOR_REMARK, "can't be seen here");
}

static void
more_than_fits(void **state)
{
	struct machine *m = *state;
	char name[32];

	for (unsigned i = 0; i < 300; i++) {
		snprintf(name, sizeof name, "lun%u", i);
		doctor_add_lun(&m->facts, name, "block:/dev/sdb", "nv", "", "");
	}
	machine_finds_among(m, "names", DOCTOR_REMARK, "236 more");
	assert_int_equal(m->report.worst, DOCTOR_BAD);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, machine_setup, machine_teardown)
int
main(void)
{
	const struct CMUnitTest tests[] = {TEST(any_bytes), TEST(any_kind), TEST(rings_and_depths),
	    TEST(out_of_the_root), TEST(more_than_fits)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
