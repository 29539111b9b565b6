#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# In the VM, at the end of iscsi.sh or alone; see iscsi.py. SCST's files, imported and served: the kernel's
# initiator, under the names that they admit, sees the disks that they say. A guide for SCST, followed.
declare -F step >/dev/null || . "$VM_LIB/guest.sh"

iscsid_gone() { ! iscsi_ready; }

# seen NUMBER VENDOR PRODUCT SERIAL T10 READ_ONLY
seen() {
	local at=$1
	# From 256 on numbers are in the flat address format, which the kernel shows as it is.
	[ "$at" -lt 256 ] || at=$((at + 16384))
	disk "$at"
	[ -n "$2" ] || return 0
	expect_match "INQUIRY of LUN $1" "$(sg_inq "$DISK")" "Vendor identification: $2"
	expect_match "INQUIRY of LUN $1" "$(sg_inq "$DISK")" "Product identification: $3"
	[ -z "$4" ] || expect_match "serial number of LUN $1" "$(sg_vpd -p sn "$DISK")" "serial number: $4"
	expect_match "designator of LUN $1" "$(sg_vpd -p di "$DISK")" "vendor specific: $5"
	expect "write protection of LUN $1" "$(cat "/sys/block/${DISK#/dev/}/ro")" "$6"
}

for file in vmware cluster mixed old-howto old-vmware; do
	step "SCST's file $file" 300
	host imported $file >/run/imported
	{
		IFS='|' read -r at target initiator user secret
		mapfile -t luns
	} </run/imported
	wait_for 10 iscsid_gone
	iscsi_start "$initiator" "node.conn[0].iscsi.DataDigest = CRC32C,None"
	[ -z "$user" ] || iscsi_settings "node.session.auth.authmethod = CHAP" \
		"node.session.auth.username = $user" "node.session.auth.password = $secret"
	iscsi_login "$target" "10.0.2.2:$at"
	for lun in "${luns[@]}"; do
		IFS='|' read -r -a fields <<<"$lun|"
		seen "${fields[@]}"
	done
	found=(/sys/class/iscsi_session/session*/device/target*/*:*:*:*/block/*)
	expect "number of disks" "${#found[@]}" "${#luns[@]}"
	iscsi_stop
done

step "a guide for SCST, up to a mounted file system" 300
host guide >/run/guide
read -r at target </run/guide
wait_for 10 iscsid_gone
iscsi_start iqn.2026-11.example.vm:guide
iscsi_login "$target" "10.0.2.2:$at"
disk 0
mkfs.ext4 -q "$DISK"
mkdir -p /mnt/guide
mount "$DISK" /mnt/guide
cp -r /etc/iscsi /mnt/guide/
umount /mnt/guide
mount -o ro "$DISK" /mnt/guide
diff -r /etc/iscsi /mnt/guide/iscsi
umount /mnt/guide
e2fsck -fn "$DISK" >/dev/null
iscsi_stop
