/* SPDX-License-Identifier: BSD-2-Clause */
/* Each check: a machine on which it finds what it is for, and the same one mended. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tests/cmocka_all.h"
#include "tests/unit/doctor/machine.h"

static void
nothing_is_wrong(void **state)
{
	struct machine *m = *state;

	machine_look(m);
	assert_int_equal(m->report.worst, DOCTOR_OK);
	m->facts.unknown = true;
	machine_is_ok(m, "raid", "isn't known");
	m->facts.configuration = "";
	machine_finds(m, "configuration", DOCTOR_REMARK, "--config FILE");
	m->facts.daemon_pid = 7;
	machine_is_ok(m, "configuration", "without a file");
}

static void
configuration(void **state)
{
	struct machine *m = *state;

	doctor_add_trouble(&m->facts, "/etc/terrace/terrace.conf:3", "a secret of 17", true);
	machine_finds(m, "configuration", DOCTOR_REMARK, "terrace.conf:3: a secret of 17");
	doctor_add_trouble(&m->facts, "/etc/terrace/terrace.conf:9", "no such thing", false);
	machine_finds_among(m, "configuration", DOCTOR_BAD, "no such thing");
	assert_int_equal(m->report.worst, DOCTOR_BAD);
}

static void
names(void **state)
{
	struct machine *m = *state;

	machine_disk(m, "sdb", true, "write through", "0");
	doctor_add_lun(&m->facts, "vm1", "block:/dev/sdb", "writethrough", "", "x.conf:7");
	machine_finds(m, "names", DOCTOR_BAD, "ls -l /dev/disk/by-id");
	machine_finds(m, "names", DOCTOR_BAD, "/dev/sdb (x.conf:7)");
	machine_link(m, "/dev/disk/by-id/ata-DISK_1", "/dev/sdb");
	machine_link(m, "/dev/disk/by-id/wwn-0x5000", "/dev/sdb");
	machine_link(m, "/dev/disk/by-id/wwn-0x4000", "/dev/sdc");
	machine_finds(m, "names", DOCTOR_BAD, "block:/dev/disk/by-id/wwn-0x5000 ");
}

static void
names_that_stay(void **state)
{
	struct machine *m = *state;

	machine_disk(m, "sdb", true, "write through", "0");
	machine_link(m, "/dev/disk/by-id/wwn-0x5000", "/dev/sdb");
	doctor_add_lun(
	    &m->facts, "vm1", "block:/dev/disk/by-id/wwn-0x5000", "writethrough", "", "");
	doctor_add_lun(&m->facts, "vm2", "lvm:vg/vm2", "writethrough", "", "");
	doctor_add_lun(&m->facts, "vm3", "file:/srv/sdb.img", "writethrough", "", "");
	doctor_add_lun(&m->facts, "vm4", "ram:", "writethrough", "", "");
	machine_is_ok(m, "names", "stays");
	doctor_add_cache(&m->facts, "fast", "block:/dev/nvme0n1", "");
	machine_finds(m, "names", DOCTOR_BAD, "cache fast");
	doctor_add_lun(&m->facts, "vm5", "block:/dev/md127", "writethrough", "", "");
	machine_finds_among(m, "names", DOCTOR_REMARK, "/dev/md127");
}

static void
targets_that_share(void **state)
{
	struct machine *m = *state;

	machine_disk(m, "dm-3", true, "write through", "0");
	machine_link(m, "/dev/vg/vm1", "/dev/dm-3");
	machine_link(m, "/dev/mapper/vg-vm1", "/dev/dm-3");
	doctor_add_lun(&m->facts, "vm1", "lvm:vg/vm1", "writethrough", "", "");
	doctor_add_address(&m->facts, "san", "192.0.2.1:3260", false);
	machine_put(m, "/sys/kernel/config/target/core/iblock_0/other/udev_path", "/dev/vg/other");
	machine_finds(m, "targets", DOCTOR_REMARK, "LIO serves 1 disk");
	machine_put(
	    m, "/sys/kernel/config/target/core/iblock_0/other/udev_path", "/dev/mapper/vg-vm1");
	machine_finds(
	    m, "targets", DOCTOR_BAD, "LIO serves /dev/mapper/vg-vm1, which is under vm1");
	machine_folder(
	    m, "/sys/kernel/config/target/iscsi/iqn.2003-01.org:x/tpgt_1/np/0.0.0.0:3260");
	machine_finds_among(m, "targets", DOCTOR_BAD, "LIO listens on 0.0.0.0:3260");
	machine_put(m, "/sys/kernel/scst_tgt/devices/d1/filename", "/dev/vg/vm1");
	machine_finds_among(m, "targets", DOCTOR_BAD, "SCST serves /dev/vg/vm1");
}

static void
targets_that_run(void **state)
{
	struct machine *m = *state;

	doctor_add_lun(&m->facts, "vm1", "file:/srv/vm1.img", "writethrough", "", "");
	machine_put(m, "/srv/vm1.img", "x");
	machine_put(m, "/proc/42/comm", "bash");
	machine_is_ok(m, "targets", "no other");
	machine_put(m, "/proc/43/comm", "tgtd");
	machine_finds(m, "targets", DOCTOR_REMARK, "systemctl disable --now tgt");
	machine_folder(m, "/sys/module/scst");
	machine_finds_among(m, "targets", DOCTOR_REMARK, "import-scst");
	machine_put(m, "/etc/tgt/conf.d/a.conf",
	    "<target iqn.x>\n  # backing-store /srv/vm1.img\n  backing-store "
	    "/srv/vm2.img\n</target>");
	machine_look(m);
	assert_int_equal(m->report.worst, DOCTOR_REMARK);
	machine_put(m, "/etc/tgt/conf.d/b.conf", "\tbacking-store /srv/../srv/vm1.img");
	machine_finds_among(m, "targets", DOCTOR_REMARK, "/etc/tgt/conf.d/b.conf");
}

static void
targets_on_ports(void **state)
{
	struct machine *m = *state;
	/* 192.0.2.1:3260 and 127.0.0.1:22 on a machine with this byte order; then [::]:860. */
	const uint8_t address[4] = {192, 0, 2, 1};
	uint32_t word;
	char table[512];

	memcpy(&word, address, 4);
	snprintf(table, sizeof table,
	    "  sl  local_address rem_address   st tx_queue\n"
	    "   0: 0100007F:0016 00000000:0000 0A 00000000:00000000\n"
	    "   1: %08X:0CBC 00000000:0000 0A 00000000:00000000\n"
	    "   2: %08X:0CBC 020000C0:A000 01 00000000:00000000",
	    word, word);
	machine_put(m, "/proc/net/tcp", table);
	doctor_add_address(&m->facts, "san", "192.0.2.2", false);
	machine_is_ok(m, "targets", "no other");
	doctor_add_address(&m->facts, "san", "192.0.2.1", false);
	machine_finds(m, "targets", DOCTOR_BAD, "192.0.2.1, port 3260");
	m->facts.daemon_pid = 99; /* it is its own */
	machine_is_ok(m, "targets", "no other");
	m->facts.daemon_pid = 0;
	machine_put(m, "/proc/net/tcp", "");
	machine_put(m, "/proc/net/tcp6",
	    " 0: 00000000000000000000000000000000:0CBC 00000000000000000000000000000000:0000 0A 0");
	machine_finds_among(m, "targets", DOCTOR_BAD, "::, port 3260");
}

#define SLOT "/sys/devices/pci0000:00/0000:00:1c.0"
static void
pcie(void **state)
{
	struct machine *m = *state;

	machine_link(m, "/sys/bus/pci/devices/0000:03:00.0", SLOT "/0000:03:00.0");
	machine_link(m, "/sys/bus/pci/devices/0000:03:00.1", SLOT "/0000:03:00.1");
	for (unsigned f = 0; f < 2; f++) {
		char path[128];
		static const char *const files[][2] = {{"class", "0x020000"},
		    {"current_link_speed", "8.0 GT/s PCIe"}, {"current_link_width", "8"},
		    {"max_link_speed", "8.0 GT/s PCIe"}, {"max_link_width", "8"}};
		for (unsigned i = 0; i < 5; i++) {
			snprintf(path, sizeof path, SLOT "/0000:03:00.%u/%s", f, files[i][0]);
			machine_put(m, path, files[i][1]);
		}
	}
	machine_folder(m, SLOT "/0000:03:00.0/net/eth4");
	machine_put(m, SLOT "/max_link_speed", "8.0 GT/s PCIe");
	machine_put(m, SLOT "/max_link_width", "8");
	machine_is_ok(m, "pcie", "link");
	machine_put(m, SLOT "/0000:03:00.0/current_link_width", "4");
	machine_put(m, SLOT "/0000:03:00.1/current_link_width", "4");
	machine_finds(m, "pcie", DOCTOR_REMARK, "(eth4) has 8 GT/s over 4 lanes");
	machine_finds(m, "pcie", DOCTOR_REMARK, "seat the card anew");
	machine_put(m, SLOT "/max_link_width", "4");
	machine_finds(m, "pcie", DOCTOR_REMARK, "its slot has 8 GT/s over 4 lanes at most");
	/* What isn't linked, and what isn't of a SAN. */
	machine_put(m, SLOT "/0000:03:00.0/current_link_width", "0");
	machine_is_ok(m, "pcie", "link");
	machine_put(m, SLOT "/0000:03:00.0/current_link_width", "1");
	machine_put(m, SLOT "/0000:03:00.0/class", "0x030000");
	machine_is_ok(m, "pcie", "no card");
}

static void
network(void **state)
{
	struct machine *m = *state;

	doctor_add_address(&m->facts, "a", "192.0.2.1:3260", false);
	doctor_add_address(&m->facts, "b", "[2001:db8::1]:3260", false);
	doctor_add_interface(&m->facts, "eth0", "192.0.2.1");
	doctor_add_interface(&m->facts, "bond0", "2001:db8:0::1");
	doctor_add_interface(&m->facts, "eth9", "198.51.100.1");
	machine_put(m, "/sys/class/net/eth0/mtu", "9000");
	machine_put(m, "/sys/class/net/bond0/mtu", "9000");
	machine_put(m, "/sys/class/net/eth9/mtu", "1500");
	machine_is_ok(m, "network", "ping -M do -s 8972");
	machine_put(m, "/sys/class/net/eth0/mtu", "1500");
	machine_finds(
	    m, "network", DOCTOR_REMARK, "eth0 with an MTU of 1500 and on bond0 with 9000");
	machine_put(m, "/sys/class/net/eth0/mtu", "9000");
	machine_folder(m, "/sys/class/net/bond0/lower_eth1");
	machine_put(m, "/sys/class/net/eth1/mtu", "1500");
	machine_finds(m, "network", DOCTOR_BAD, "ip link set eth1 mtu 9000");
	machine_put(m, "/sys/class/net/eth1/mtu", "9000");
	machine_put(m, "/sys/class/net/bond0/carrier", "0");
	machine_finds(m, "network", DOCTOR_BAD, "bond0, where a portal listens, has no link");
	machine_put(m, "/sys/class/net/bond0/carrier", "1");
	machine_put(m, "/sys/class/net/eth0/duplex", "half");
	machine_finds(m, "network", DOCTOR_BAD, "half duplex");
	machine_put(m, "/sys/class/net/eth0/duplex", "full");
	doctor_add_address(&m->facts, "c", "192.0.2.77", false);
	machine_finds(m, "network", DOCTOR_BAD, "no interface has that address");
}

static void
network_everywhere(void **state)
{
	struct machine *m = *state;

	doctor_add_address(&m->facts, "a", "0.0.0.0:3260", false);
	doctor_add_interface(&m->facts, "lo", "127.0.0.1");
	doctor_add_interface(&m->facts, "eth0", "192.0.2.1");
	doctor_add_interface(&m->facts, "docker0", "172.17.0.1");
	machine_folder(m, "/sys/class/net/eth0/device");
	machine_put(m, "/sys/class/net/eth0/mtu", "1500");
	machine_put(m, "/sys/class/net/docker0/mtu", "65535");
	machine_is_ok(m, "network", "one MTU");
}

static void
rdma(void **state)
{
	struct machine *m = *state;

	doctor_add_address(&m->facts, "ib", "192.0.2.1:5555", false);
	machine_is_ok(m, "rdma", "no portal is SRP's");
	m->facts.addresses[0].srp = true;
	machine_finds_among(m, "rdma", DOCTOR_BAD, "modprobe rdma_ucm");
	machine_folder(m, "/sys/module/ib_core");
	machine_folder(m, "/sys/module/ib_uverbs");
	machine_folder(m, "/sys/module/rdma_cm");
	machine_folder(m, "/sys/module/rdma_ucm");
	machine_finds(m, "rdma", DOCTOR_BAD, "there is no RDMA device");
	machine_put(m, "/sys/class/infiniband/mlx5_0/ports/1/state", "4: ACTIVE");
	machine_is_ok(m, "rdma", "active");
	machine_put(m, "/sys/class/infiniband/mlx5_0/ports/2/state", "2: INIT");
	machine_finds(m, "rdma", DOCTOR_REMARK, "opensm");
	machine_put(m, "/sys/class/infiniband/mlx5_0/ports/2/state", "4: ACTIVE");
	m->facts.daemon_pid = 12;
	machine_put(m, "/proc/12/limits",
	    "Limit                     Soft Limit           Hard Limit           Units\n"
	    "Max locked memory         8388608              8388608              bytes");
	machine_finds(m, "rdma", DOCTOR_BAD, "LimitMEMLOCK=infinity");
	machine_put(m, "/proc/12/limits",
	    "Max locked memory         unlimited            unlimited            bytes");
	machine_is_ok(m, "rdma", "locked");
}

static void
raid(void **state)
{
	struct machine *m = *state;
	static const char *const disks[] = {"sda", "sdb", "sdc", NULL};

	for (unsigned i = 0; disks[i] != NULL; i++)
		machine_disk(m, disks[i], true, "write through", "0");
	machine_array(m, "md0", "raid10", disks);
	/* A volume on it. */
	machine_disk(m, "dm-0", true, "write through", "0");
	machine_link(m, "/sys/class/block/dm-0/slaves/md0", "/sys/class/block/md0");
	machine_link(m, "/dev/vg/vm1", "/dev/dm-0");
	doctor_add_lun(&m->facts, "vm1", "lvm:vg/vm1", "writethrough", "", "");
	machine_is_ok(m, "raid", "random writes");
	machine_put(m, "/sys/class/block/md0/md/level", "raid5");
	machine_finds(
	    m, "raid", DOCTOR_REMARK, "raid5 of 3 disks: a small random write costs it 4");
	machine_put(m, "/sys/class/block/md0/md/level", "raid6");
	machine_finds(m, "raid", DOCTOR_REMARK, "costs it 6");
	machine_put(m, "/sys/class/block/md0/md/level", "raid10");
	machine_put(m, "/sys/class/block/md0/md/degraded", "1");
	machine_finds(m, "raid", DOCTOR_BAD, "md0 (raid10, under vm1) lacks 1 disk");
}

static void
ssd(void **state)
{
	struct machine *m = *state;

	machine_is_ok(m, "ssd", "no cache has an SSD");
	machine_disk(m, "nvme0n1", false, "write through", "1");
	doctor_add_cache(&m->facts, "fast", "block:/dev/nvme0n1", "");
	machine_is_ok(m, "ssd", "healthy");
	machine_put(m, "/sys/class/block/nvme0n1/queue/write_cache", "write back");
	machine_finds(m, "ssd", DOCTOR_REMARK, "look for PLP");
	machine_put(m, "/sys/class/block/nvme0n1/queue/write_cache", "write through");
	m->health[5] = 85; /* percentage used */
	machine_finds(m, "ssd", DOCTOR_REMARK, "used 85 %");
	m->health[5] = 130;
	machine_finds(m, "ssd", DOCTOR_BAD, "used 130 %");
	m->health[5] = 2;
	m->health[0] = 0x10; /* critical warning: volatile memory backup failed */
	machine_finds(m, "ssd", DOCTOR_BAD, "power-loss protection failed");
	m->health[0] = 0;
	m->health[3] = 9;
	machine_finds(m, "ssd", DOCTOR_BAD, "9 % of its spare");
	m->health_rc = -EACCES;
	machine_finds(m, "ssd", DOCTOR_REMARK, "can't be read");
	m->health_rc = 0;
	m->health[3] = 100;
	machine_put(m, "/sys/class/block/nvme0n1/queue/rotational", "1");
	machine_finds(m, "ssd", DOCTOR_BAD, "rotates");
}

static void
ssd_in_a_file(void **state)
{
	struct machine *m = *state;

	/* A partition of a stick, found by the mount that the file is on. */
	machine_folder(m, "/sys/devices/usb1/block/sdz/sdz1");
	machine_put(m, "/sys/devices/usb1/block/sdz/sdz1/partition", "1");
	machine_link(m, "/sys/class/block/sdz", "/sys/devices/usb1/block/sdz");
	machine_link(m, "/sys/class/block/sdz1", "/sys/devices/usb1/block/sdz/sdz1");
	machine_link(m, "/sys/dev/block/8:17", "/sys/devices/usb1/block/sdz/sdz1");
	machine_put(m, "/proc/self/mountinfo",
	    "20 1 254:0 / / rw - ext4 /dev/root rw\n"
	    "21 20 8:17 / /var/my\\040cache rw,noatime shared:1 - ext4 /dev/sdz1 rw");
	doctor_add_cache(&m->facts, "fast", "file:/var/my cache/fast.ssd", "");
	machine_finds_among(m, "ssd", DOCTOR_BAD, "on USB");
	machine_put(m, "/proc/self/mountinfo", "20 1 0:30 / / rw - tmpfs tmpfs rw");
	machine_finds(m, "ssd", DOCTOR_REMARK, "can't be seen");
}

static void
write_cache(void **state)
{
	struct machine *m = *state;

	machine_disk(m, "sda", true, "write back", "0");
	doctor_add_lun(&m->facts, "vm1", "block:/dev/sda", "nv", "fast", "");
	machine_is_ok(m, "write-cache", "cheap"); /* a flush ends a batch there */
	doctor_add_lun(&m->facts, "vm2", "block:/dev/sda", "writethrough", "", "");
	machine_finds(m, "write-cache", DOCTOR_REMARK, "hdparm -W0 /dev/sda");
	machine_put(m, "/sys/class/block/sda/queue/fua", "1");
	machine_is_ok(m, "write-cache", "cheap");
	machine_put(m, "/sys/class/block/sda/queue/write_cache", "write through");
	machine_put(m, "/sys/class/block/sda/device/scsi_disk/0:0:0:0/cache_type", "write back");
	machine_finds(m, "write-cache", DOCTOR_BAD, "flushes don't reach it");
}

static void
timeouts(void **state)
{
	struct machine *m = *state;
	static const char *const disks[] = {"sda", "sdb", NULL};

	for (unsigned i = 0; disks[i] != NULL; i++)
		machine_disk(m, disks[i], true, "write through", "0");
	machine_array(m, "md0", "raid1", disks);
	doctor_add_lun(&m->facts, "vm1", "block:/dev/disk/by-id/md-uuid-md0", "nv", "", "");
	machine_is_ok(m, "timeouts", "give up");
	machine_put(m, "/sys/class/block/sdb/device/timeout", "180");
	machine_finds(m, "timeouts", DOCTOR_REMARK, "sdb (under vm1) may take 180 s");
	machine_put(m, "/sys/class/block/sdb/device/timeout", "5");
	machine_finds(m, "timeouts", DOCTOR_REMARK, "given up after 5 s");
	machine_put(m, "/sys/class/block/sdb/device/timeout", "30");
	machine_put(m, "/sys/class/block/sdb/device/vendor", "ATA     ");
	machine_finds(m, "timeouts", DOCTOR_REMARK, "smartctl -l scterc /dev/sdb");
}

static void
space(void **state)
{
	struct machine *m = *state;

	machine_sparse(m, "/srv/a.img", 40ull << 30);
	machine_sparse(m, "/srv/b.img", 60ull << 30);
	doctor_add_lun(&m->facts, "a", "file:/srv/a.img", "writethrough", "", "");
	doctor_add_lun(&m->facts, "b", "file:/srv/b.img", "writethrough", "", "");
	m->free_bytes = 101ull << 30;
	machine_is_ok(m, "space", "can grow");
	m->free_bytes = 50ull << 30;
	machine_finds(m, "space", DOCTOR_REMARK, "may grow by 100GiB, and it has 50GiB left");
	m->free_bytes = 1ull << 30;
	machine_finds(m, "space", DOCTOR_BAD, "1GiB left");
}

/* What libblkid takes for one: its magic, and a version and a block size that it believes. */
static void
put_ext2(const struct machine *m, const char *path)
{
	uint8_t disk[65536] = {0}, *super = disk + 1024;

	super[4] = 64;    /* s_blocks_count */
	super[56] = 0x53; /* s_magic */
	super[57] = 0xef;
	super[76] = 1;                /* s_rev_level */
	super[88] = 0, super[89] = 1; /* s_inode_size: 256 */
	machine_put_bytes(m, path, disk, sizeof disk);
}

static void
file_systems(void **state)
{
	struct machine *m = *state;

	put_ext2(m, "/srv/a.img");
	doctor_add_lun(&m->facts, "a", "file:/srv/a.img", "writethrough", "", "");
	doctor_add_viewer(&m->facts, "a", "iqn.x:1", true, true);
	doctor_add_viewer(&m->facts, "a", "iqn.x:1", true, true); /* another path */
	doctor_add_viewer(&m->facts, "a", "iqn.x:2", false, true);
	doctor_add_viewer(&m->facts, "b", "iqn.x:3", true, true);
	machine_is_ok(m, "file-systems", "none");
	doctor_add_viewer(&m->facts, "a", "iqn.x:[ab]*", true, false);
	machine_finds(m, "file-systems", DOCTOR_REMARK, "others like it may log in and write");
	doctor_add_viewer(&m->facts, "a", "iqn.x:4", true, true);
	machine_finds(m, "file-systems", DOCTOR_BAD, "a has ext2 on it");
	machine_finds(m, "file-systems", DOCTOR_BAD, "iqn.x:1 and iqn.x:4 are connected");
	m->file_system = "VMFS_volume_member";
	machine_is_ok(m, "file-systems", "none");
	m->file_system = "LVM2_member";
	machine_finds(m, "file-systems", DOCTOR_REMARK, "unless a cluster decides");
}

static void
chap(void **state)
{
	struct machine *m = *state;

	machine_is_ok(m, "chap", "from elsewhere");
	doctor_add_address(&m->facts, "san", "127.0.0.1:3260", false);
	doctor_add_target(&m->facts, "iqn.x:t", false);
	machine_is_ok(m, "chap", "from elsewhere");
	doctor_add_address(&m->facts, "san", "192.0.2.1:3260", false);
	machine_finds(m, "chap", DOCTOR_REMARK, "admits by name alone");
	m->facts.targets[0].has_chap = true;
	doctor_add_chap(&m->facts, "esx", "iqn.x:t", "esx", "Kq7vXw2ZpL9r", "");
	machine_is_ok(m, "chap", "long enough");
	doctor_add_chap(&m->facts, "win", "iqn.x:t", "win", "tooshort", "");
	machine_finds(m, "chap", DOCTOR_BAD, "the secret of win has 8 bytes");
	doctor_add_chap(&m->facts, "lin", "iqn.x:t", "lin", "aaaaaaaaaaaa", "Kq7vXw2ZpL9r");
	machine_finds_among(m, "chap", DOCTOR_REMARK, "easily guessed");
	machine_finds_among(m, "chap", DOCTOR_BAD, "proves itself to lin is also that of esx");
	doctor_add_chap(&m->facts, "esx2", "iqn.x:t", "esx2", "Kq7vXw2ZpL9r", "");
	machine_finds_among(m, "chap", DOCTOR_REMARK, "esx and esx2 have the same secret");
	for (unsigned i = 0; i < m->report.count; i++) { /* and none is told */
		assert_null(strstr(m->report.list[i].text, "Kq7vXw2ZpL9r"));
		assert_null(strstr(m->report.list[i].action, "Kq7vXw2ZpL9r"));
	}
}

static void
updates(void **state)
{
	struct machine *m = *state;

	machine_put(m, "/etc/apt/apt.conf.d/20auto-upgrades",
	    "APT::Periodic::Update-Package-Lists \"1\";\nAPT::Periodic::Unattended-Upgrade \"1\";");
	machine_is_ok(m, "updates", "nothing"); /* it isn't installed */
	machine_put(m, "/usr/bin/unattended-upgrade", "");
	machine_finds(m, "updates", DOCTOR_REMARK, "Package-Blacklist");
	machine_put(m, "/etc/apt/apt.conf.d/50unattended-upgrades",
	    "//Unattended-Upgrade::Automatic-Reboot \"true\";\n");
	machine_finds(m, "updates", DOCTOR_REMARK, "Package-Blacklist");
	machine_put(m, "/etc/apt/apt.conf.d/50unattended-upgrades",
	    "Unattended-Upgrade::Automatic-Reboot \"true\";\n");
	machine_finds_among(m, "updates", DOCTOR_BAD, "reboots");
	machine_put(m, "/etc/apt/apt.conf.d/99terrace",
	    "Unattended-Upgrade::Automatic-Reboot \"false\";\n"
	    "Unattended-Upgrade::Package-Blacklist { \"terrace\"; };");
	machine_is_ok(m, "updates", "nothing");
	machine_put(m, "/etc/needrestart/needrestart.conf", "#$nrconf{restart} = 'a';");
	machine_is_ok(m, "updates", "nothing");
	machine_put(m, "/etc/needrestart/needrestart.conf", "$nrconf{restart} = 'a';");
	machine_finds(m, "updates", DOCTOR_REMARK, "needrestart restarts");
	machine_put(
	    m, "/etc/needrestart/conf.d/terrace.conf", "$nrconf{override_rc}{qr(^terraced)} = 0;");
	machine_is_ok(m, "updates", "nothing");
	machine_put(m, "/etc/dnf/automatic.conf", "apply_updates = yes");
	machine_finds(m, "updates", DOCTOR_REMARK, "dnf-automatic");
}

static void
kernel(void **state)
{
	struct machine *m = *state;

	machine_put(m, "/proc/sys/kernel/io_uring_disabled", "2");
	machine_finds(m, "io-uring", DOCTOR_REMARK, "sysctl kernel.io_uring_disabled=0");
	machine_put(m, "/proc/sys/kernel/io_uring_disabled", "1");
	machine_finds(m, "io-uring", DOCTOR_REMARK, "one group only");
	machine_link(m, "/dev/fuse", "/nowhere");
	machine_is_ok(m, "fuse", "is there"); /* a node is enough, whatever it is */
}

static void
kernel_without(void **state)
{
	struct machine *m = *state;

	doctor_facts_fini(&m->facts);
	m->facts = (struct doctor_facts){.root = "/nonexistent", .configuration = "x"};
	machine_finds(m, "fuse", DOCTOR_REMARK, "modprobe fuse");
	machine_is_ok(m, "io-uring", "no switch");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, machine_setup, machine_teardown)
int
main(void)
{
	const struct CMUnitTest tests[] = {TEST(nothing_is_wrong), TEST(configuration), TEST(names),
	    TEST(names_that_stay), TEST(targets_that_share), TEST(targets_that_run),
	    TEST(targets_on_ports), TEST(pcie), TEST(network), TEST(network_everywhere), TEST(rdma),
	    TEST(raid), TEST(ssd), TEST(ssd_in_a_file), TEST(write_cache), TEST(timeouts),
	    TEST(space), TEST(file_systems), TEST(chap), TEST(updates), TEST(kernel),
	    TEST(kernel_without)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
