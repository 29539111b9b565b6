#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# In the VM; see iscsi.py. Usage: iscsi.sh PORT TARGET [short]
. "$VM_LIB/guest.sh"
port=$1 target=$2 short=${3:-}
portal=10.0.2.2:$port
MIB=1048576

# said TEXT: the kernel has said it since the script began to look.
said() { dmesg | grep -q -- "$1"; }

# ---- who gets in, and how

step "discovery" 30
iscsi_start iqn.2026-11.example.vm:one
found=$(iscsiadm -m discovery -t sendtargets -p "$portal")
expect_match "SendTargets" "$found" ":$port,[0-9]+ $target\$"
expect_match "SendTargets" "$found" ":$port,[0-9]+ $target-chap\$"
rm -rf /etc/iscsi/nodes

# chap SECRET MUTUAL_SECRET
chap() {
	iscsi_settings "node.session.auth.authmethod = CHAP" \
		"node.session.auth.username = initiator-user" "node.session.auth.password = $1" \
		"node.session.auth.username_in = target-user" "node.session.auth.password_in = $2" \
		"node.conn[0].iscsi.HeaderDigest = CRC32C" "node.conn[0].iscsi.DataDigest = CRC32C"
}
NON_RETRYABLE=19 AUTH_FAILED=24

step "wrong secrets" 40
chap initiator-secret target-secret-2
expect_status $NON_RETRYABLE iscsi_login "$target-chap" "$portal"
rm -rf /etc/iscsi/nodes
chap initiator-wrong- target-secret-1
expect_status $AUTH_FAILED iscsi_login "$target-chap" "$portal"
rm -rf /etc/iscsi/nodes
iscsi_settings
expect_status $AUTH_FAILED iscsi_login "$target-chap" "$portal"
rm -rf /etc/iscsi/nodes

step "CHAP both ways, both digests, ext4" 90
chap initiator-secret target-secret-1
iscsi_login "$target-chap" "$portal"
disk 3
for digest in header data; do
	expect "$digest digest" "$(cat /sys/class/iscsi_connection/connection*/${digest}_digest)" 1
done
expect "CHAP user" "$(host users)" initiator-user
on_fs "$DISK" ext4
iscsi_logout
rm -rf /etc/iscsi/nodes

step "login" 20
iscsi_settings
iscsi_login "$target" "$portal"
disk 0 && data=$DISK
disk 1 && small=$DISK
sys=/sys/block/${data#/dev/}/device
expect "size of LUN 0" "$(size_of "$data")" $((320 * MIB))
expect "size of LUN 1" "$(size_of "$small")" $((64 * MIB))

if [ -z "$short" ]; then
	step "XFS" 60
	on_fs "$data" xfs
fi

step "fio" 60
fio_verify "$data" 16M --time_based=0

# ---- while it works

# work: fio on the small LUN in the background; worked: it met no error.
work() {
	fio_verify "$small" 64M --number_ios=100000 --rate_iops=400 --runtime=600 "$@" >/run/work 2>&1 &
	WORK=$!
	nap 2
}
worked() {
	wait "$WORK" || {
		cat /run/work
		fail "fio met an error during: $STEP"
	}
}

step "resets under I/O" 90
work --size=6M
for how in --device --target --device; do
	sg_reset "$how" "$small"
	nap 1
done
worked

step "abort" 120
echo 2 >"/sys/block/${small#/dev/}/device/timeout"
work --size=6M
host pause 7
worked
echo 30 >"/sys/block/${small#/dev/}/device/timeout"
sent=$(iscsiadm -m session -s | sed -n 's/.*tmfcmd_pdus: *//p')
[ "$sent" -gt 0 ] || fail "the initiator had nothing to abort: $(iscsiadm -m session -s)"

step "it grows" 60
mkfs.ext4 -q -F "$small"
mkdir -p /mnt/small
mount "$small" /mnt/small
fill /mnt/small
host resize small 96MiB
dd if="$small" of=/dev/null bs=4k count=1 iflag=direct status=none
wait_for 10 said "Capacity data has changed"
echo 1 >"/sys/block/${small#/dev/}/device/rescan"
expect "size of LUN 1" "$(size_of "$small")" $((96 * MIB))
resize2fs "$small" >/run/resize2fs 2>&1
expect "blocks of ext4" "$(($(stat -f -c '%b * %S' /mnt/small) > 80 * MIB))" 1
filled /mnt/small
umount /mnt/small
check_fs "$small" ext4

step "one comes, one goes" 60
host add extra 32MiB 5
dd if="$small" of=/dev/null bs=4k count=1 iflag=direct status=none
wait_for 10 said "LUN assignments on this target have changed"
iscsiadm -m session --rescan >/dev/null
disk 5 && extra=$DISK
fio_verify "$extra" 2M
host remove extra
expect_status 1 dd if="$extra" of=/dev/null bs=4k count=1 iflag=direct
echo 1 >"/sys/block/${extra#/dev/}/device/delete"
dd if="$small" of=/dev/null bs=4k count=1 iflag=direct status=none

step "killed under I/O" 150
mkfs.ext4 -q -F "$data"
mkdir -p /mnt/fs
mount "$data" /mnt/fs
fill /mnt/fs
work --size=12M
fio_verify /mnt/fs/fio 12M --rate_iops=300 --fsync=16 >/run/work2 2>&1 &
second=$!
for _ in 1 2 3; do
	host restart
	nap 2
done
worked
wait $second || {
	cat /run/work2
	fail "fio on ext4 met an error while terraced was killed"
}
filled /mnt/fs
umount /mnt/fs
check_fs "$data" ext4
grep -q running "$sys/state" || fail "the disk is $(cat "$sys/state")"

step "logout" 20
iscsi_stop
step_end

if [ -z "$short" ]; then
	. "${BASH_SOURCE[0]%/*}/imported.sh"
fi
