#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# In the VM; see scsi.py. Usage: scsi.sh FIRST_PORT SECOND_PORT TARGET
. "$VM_LIB/guest.sh"
first=10.0.2.2:$1 second=10.0.3.2:$2 target=$3
MISCOMPARE=14 CONFLICT=24 INVALID_OPCODE=9 OUT_OF_RANGE=22
mkdir -p /run/t
cd /run/t

step "login to the first portal" 60
ip addr add 10.0.3.15/24 dev eth1
ip link set eth1 up
iscsi_start iqn.2026-11.example.vm:one "node.session.timeo.replacement_timeout = 5" \
	"node.conn[0].timeo.noop_out_interval = 3" "node.conn[0].timeo.noop_out_timeout = 6"
iscsi_login "$target" "$first"
disk 0 && one=$DISK
disk 1 && two=$DISK

# letters CHARACTER BYTES
letters() { head -c "$2" /dev/zero | tr '\0' "$1"; }

# block_is DISK LBA BLOCKS FILE: read past the page cache
block_is() {
	dd if="$1" bs=64k skip="$(($2 * 512))" count="$(($3 * 512))" \
		iflag=direct,skip_bytes,count_bytes status=none | cmp - "$4" ||
		fail "$1: blocks from $2 on differ from $4"
}

# ---- what it says of itself

step "inquiry, pages, commands" 90
expect_match "sg_inq" "$(sg_inq "$one")" 'Vendor identification: TERRACE'
pages=$(sg_vpd --raw --page=0 "$one" | od -An -v -tx1 -w1 -j4)
[ "$(wc -w <<<"$pages")" -ge 8 ] || fail "VPD pages: $pages"
for page in $pages; do
	expect_status 0 sg_vpd --page="0x$page" "$one"
	expect_status 0 sg_vpd --page="0x$page" --hex "$one"
done
expect_status 0 sg_vpd --all "$one"
expect_match "unit attention" "$(sg_turs --number=2 "$one" 2>&1)" '^(|Completed.*)$'
commands=$(sg_opcodes --rctd "$one")
for name in 'Compare and write' 'Write same\(16\)' 'Unmap' 'Get LBA status' 'Extended copy' \
	'Persistent reserve out, Preempt and abort' 'Report target port groups' 'Synchronize cache\(16\)'; do
	expect_match "sg_opcodes" "${commands,,}" "${name,,}"
done
expect_match "task management" "$(sg_opcodes --tmf "$one")" 'Logical unit reset'
expect_match "sg_luns" "$(sg_luns "$one")" 'imply 2 luns|Lun list length = 16'
expect_match "sg_readcap" "$(sg_readcap --long "$one")" 'Last LBA=131071 '
expect_match "sg_rtpg" "$(sg_rtpg --decode "$one")" 'active/optimized'
for command in "sg_modes --all" "sg_logs --all" sg_requests "sg_start --start" sg_sync \
	"sg_senddiag --test" "sg_verify --lba=0 --count=256" "sg_prevent --allow"; do
	# shellcheck disable=SC2086
	expect_status 0 $command "$one"
done
expect_status $INVALID_OPCODE sg_raw "$one" ff 00 00 00 00 00
expect_status $OUT_OF_RANGE sg_verify --lba=131072 --count=1 "$one"

# ---- commands of one unit

step "compare and write" 20
letters A 512 >a
letters B 4096 >b
letters C 4096 >c
head -c 512 /dev/zero | cat - a >zero-a
cat b c >b-c
expect_status 0 sg_compare_and_write --in=zero-a --lba=100 "$one"
block_is "$one" 100 1 a
expect_status $MISCOMPARE sg_compare_and_write --in=zero-a --lba=100 --quiet "$one"
block_is "$one" 100 1 a
expect_status $MISCOMPARE sg_compare_and_write --in=b-c --lba=200 --num=8 --xferlen=8192 --quiet "$one"
dd if=b of="$one" bs=512 seek=200 oflag=direct conv=notrunc status=none
expect_status 0 sg_compare_and_write --in=b-c --lba=200 --num=8 --xferlen=8192 "$one"
block_is "$one" 200 8 c

# status_of LBA: of GET LBA STATUS, 0 mapped, 1 deallocated
status_of() { sg_get_lba_status -bb --lba="$1" "${2:-$one}"; }

step "write same, unmap, LBA status" 40
letters A 524288 >many-a
head -c 524288 /dev/zero >many-zero
for disk in "$one" "$two"; do
	expect_status 0 sg_write_same --16 --in=a --lba=2048 --num=1024 "$disk"
	block_is "$disk" 2048 1024 many-a
	expect "LBA status of what was written" "$(status_of 2048 "$disk")" 0
	expect_status 0 sg_unmap --lba=2048 --num=1024 --force "$disk"
	block_is "$disk" 2048 1024 many-zero
	expect_status 0 sg_write_same --10 --in=a --lba=4096 --num=1024 "$disk"
	block_is "$disk" 4096 1024 many-a
	expect_status 0 sg_write_same --16 --unmap --lba=4096 --num=1024 "$disk"
	block_is "$disk" 4096 1024 many-zero
	expect_status 0 sg_write_same --16 --ndob --lba=4096 --num=1024 "$disk"
done
expect "LBA status of what was unmapped" "$(status_of 2048)" 1

step "extended copy" 30
head -c 1M /dev/urandom >random
dd if=random of="$one" bs=64k seek=256 oflag=direct conv=notrunc status=none
# The tool wants the other kind of device.
generic() { echo /dev/"$(ls "/sys/block/${1#/dev/}/device/scsi_generic")"; }
expect_status 0 sg_xcopy if="$(generic "$one")" of="$(generic "$two")" bs=512 skip=32768 seek=65536 count=2048
block_is "$two" 65536 2048 random
expect_status 0 sg_xcopy if="$(generic "$two")" of="$(generic "$two")" bs=512 skip=65536 seek=69632 count=2048
block_is "$two" 69632 2048 random
expect_match "operating parameters" "$(sg_copy_results --params "$one")" 'Maximum (target|CSCD) descriptor count'

# ---- two initiator ports

second_path() { [ "$(disks 0 | wc -l)" = 2 ] && [ "$(disks 1 | wc -l)" = 2 ]; }

step "second path" 40
iscsi_login "$target" "$second"
wait_for 10 second_path
other=/dev/$(disks 0 | grep -vx "${one#/dev/}")
# naa DISK: its NAA designator
naa() { sg_vpd -p di "$1" | sed -n 's/^ *0x\([0-9a-f]\{32\}\)$/\1/p' | head -n 1; }
expect "identity over both paths" "$(naa "$other")" "$(naa "$one")"
expect_match "target port" "$(sg_vpd -p di "$one")" 'Relative target port: 0x1$'
expect_match "target port" "$(sg_vpd -p di "$other")" 'Relative target port: 0x2$'

# May write: over this path.
may_write() {
	local disk=$1
	sg_turs --number=3 "$disk" >/dev/null 2>&1 || :
	dd if=/dev/zero of="$disk" bs=4k count=1 oflag=direct conv=notrunc status=none 2>/dev/null
}

# The sequence of fence_scsi: register, reserve for registrants, preempt and abort the other.
step "fenced" 60
for path in "$one" "$other"; do sg_turs --number=3 "$path" >/dev/null 2>&1 || :; done
expect_status 0 sg_persist -n -o -I -S 0x1 "$one"
expect_status 0 sg_persist -n -o -I -S 0x2 "$other"
expect_status 0 sg_persist -n -o -R -T 5 -K 0x1 "$one"
expect_match "keys" "$(sg_persist -n -i -k "$other" | tr '\n' ' ')" '0x1 .*0x2'
expect_match "reservation" "$(sg_persist -n -i -r "$other")" 'Write Exclusive, registrants only'
may_write "$one" || fail "the holder can't write"
may_write "$other" || fail "a registrant can't write"
expect_status 0 sg_persist -n -o -A -T 5 -K 0x2 -S 0x1 "$other"
may_write "$one" && fail "the fenced path writes"
may_write "$other" || fail "the path that fenced can't write"
dd if="$one" of=/dev/null bs=4k count=1 iflag=direct status=none
expect_status $CONFLICT sg_persist -n -o -R -T 5 -K 0x1 "$one"
expect_status 0 sg_persist -n -i -s "$other"
expect_match "capabilities" "$(sg_persist -n -i -c "$one")" 'PTPL_C.: 1'
expect_status 0 sg_persist -n -o -C -K 0x2 "$other"
may_write "$one" || fail "the path isn't free again"

# ---- dm-multipath

# paths STATE COUNT: so many paths of the first LUN are in it
paths() { [ "$(multipath -ll "$map" 2>/dev/null | grep -c "$1")" = "$2" ]; }

step "multipath" 120
/lib/systemd/systemd-udevd --daemon
udevadm trigger --subsystem-match=block --action=add
udevadm settle
modprobe -a dm_multipath dm_service_time scsi_dh_alua
cat >/etc/multipath.conf <<'END'
defaults {
	find_multipaths no
	user_friendly_names no
	polling_interval 1
	max_polling_interval 2
	no_path_retry queue
	path_grouping_policy group_by_prio
	prio alua
}
END
multipathd >/run/multipathd.log 2>&1
map=3$(naa "$one")
wait_for 20 test -b "/dev/mapper/$map"
wait_for 20 paths 'active ready running' 2
expect_match "multipath -ll" "$(multipath -ll "$map")" "hwhandler='1 alua'"
expect_match "multipath -ll" "$(multipath -ll "$map")" "prio=50"
mkfs.ext4 -q -F "/dev/mapper/$map"
mkdir -p /mnt/fs
mount "/dev/mapper/$map" /mnt/fs

step "paths are lost under I/O" 180
fio_verify /mnt/fs/fio 24M --rate_iops=30 --fsync=16 >/run/work 2>&1 &
work=$!
ip link set eth1 down
wait_for 60 paths 'failed' 1
kill -0 "$work" || fail "fio has ended already"
ip link set eth1 up
wait_for 60 paths 'active ready running' 2
host drop
host restart 8
wait_for 60 paths 'active ready running' 2
wait "$work" || {
	cat /run/work
	fail "fio met an error while paths were lost"
}
umount /mnt/fs
check_fs "/dev/mapper/$map" ext4

step "end" 40
multipathd shutdown >/dev/null || : # it may be gone before it has answered
wait_for 10 eval '! pidof multipathd >/dev/null'
# What has just been unmounted and checked may still be open: udev looks at it.
wait_for 10 eval 'multipath -F >/dev/null 2>&1'
iscsi_stop
