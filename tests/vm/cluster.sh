#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# In both VMs; see cluster.py. Usage: cluster.sh PORT TARGET
. "$VM_LIB/guest.sh"
portal=10.0.2.2:$1 target=$2
me=${VM_NAME#node}
other=$((3 - me))
first() { [ "$me" = 1 ]; }

step "network and login" 120
ip addr add "192.168.90.$me/24" dev eth1
ip link set eth1 up
iscsi_start "iqn.2026-11.example.vm:$VM_NAME"
iscsi_login "$target" "$portal"
disk 0
barrier login

# ---- fence_scsi: each registers its key, one reserves; who is to be fenced is preempted

# number: what is in the first sector; may_write NUMBER
number() { dd if="$DISK" bs=512 count=1 iflag=direct status=none | tr -d '\0'; }
may_write() {
	printf '%-512s' "$1" | dd of="$DISK" bs=512 count=1 oflag=direct conv=notrunc status=none 2>/dev/null
}

step "fencing" 120
sg_turs --number=3 "$DISK" >/dev/null 2>&1 || :
expect_status 0 sg_persist -n -o -I -S "0x1000$me" "$DISK"
barrier registered
if first; then expect_status 0 sg_persist -n -o -R -T 5 -K 0x10001 "$DISK"; fi
barrier reserved
may_write 0 || fail "a registrant can't write"
barrier wrote
if first; then
	# Writes as fast as it can, until it can't.
	written=0
	while may_write $((written + 1)); do
		written=$((written + 1))
		[ $written -lt 100000 ] || fail "nobody fences"
	done
	[ $written -gt 5 ] || fail "fenced before it had written"
	if may_write 0; then fail "a fenced node writes"; fi
	dd if="$DISK" of=/dev/null bs=4k count=1 iflag=direct status=none
	expect "what was answered last is there" "$(($(number) >= written))" 1
else
	nap 4
	expect_status 0 sg_persist -n -o -A -T 5 -K 0x10002 -S 0x10001 "$DISK"
	before=$(number)
	nap 2
	expect "writes after the fencing" "$(number)" "$before"
	may_write 0 || fail "who fenced can't write"
	expect_match "keys" "$(sg_persist -n -i -k "$DISK")" '1 registered reservation key'
fi
barrier fenced
# Back after a reboot: it registers again.
if first; then expect_status 0 sg_persist -n -o -I -S 0x10001 "$DISK"; fi
barrier unfenced
may_write 0 || fail "who is registered again can't write"
barrier may-write
if first; then expect_status 0 sg_persist -n -o -C -K 0x10001 "$DISK"; fi
barrier cleared
sg_turs --number=3 "$DISK" >/dev/null 2>&1 || :

# ---- OCFS2 with its own heartbeat, on the LUN

step "OCFS2 made" 240
modprobe -a ocfs2 ocfs2_stack_o2cb ocfs2_dlmfs ocfs2_dlm ocfs2_nodemanager
mkdir -p /etc/ocfs2 /dlm /mnt/shared
{
	printf 'cluster:\n\theartbeat_mode = local\n\tnode_count = 2\n\tname = tc\n\n'
	for node in 1 2; do
		printf 'node:\n\tnumber = %s\n\tcluster = tc\n\tip_port = 7777\n' $node
		printf '\tip_address = 192.168.90.%s\n\tname = node%s\n\n' $node $node
	done
} >/etc/ocfs2/cluster.conf
mount -t ocfs2_dlmfs ocfs2_dlmfs /dlm
echo o2cb >/sys/fs/ocfs2/cluster_stack
o2cb register-cluster tc
if first; then
	mkfs.ocfs2 -F -q -N 2 -b 4k -C 4k -J size=8M --cluster-stack=o2cb --cluster-name=tc "$DISK"
fi
barrier made
blockdev --flushbufs "$DISK"

step "OCFS2 mounted on both" 240
mount -t ocfs2 "$DISK" /mnt/shared
barrier mounted

step "files of both" 240
echo "of node $me" >"/mnt/shared/of$me"
mkdir "/mnt/shared/folder$me"
fill "/mnt/shared/folder$me"
for i in {1..20}; do echo "$me $i" >>/mnt/shared/both; done
barrier filled
expect "the other's file" "$(cat "/mnt/shared/of$other")" "of node $other"
filled "/mnt/shared/folder$other"
expect "lines of both" "$(sort -u /mnt/shared/both | wc -l)" 40
barrier seen
umount /mnt/shared
barrier unmounted
if first; then
	fsck.ocfs2 -fn "$DISK" >/run/fsck 2>&1 || {
		cat /run/fsck
		fail "OCFS2 is damaged"
	}
fi
iscsi_stop
barrier end
