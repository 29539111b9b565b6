#!/bin/bash
# In the VM; see iscsi.py. Usage: iscsi.sh PORT TARGET [short]
. "$VM_LIB/guest.sh"
port=$1 target=$2 short=${3:-}
portal=10.0.2.2:$port

step "discovery" 30
iscsi_start iqn.2026-11.example.vm:one
found=$(iscsiadm -m discovery -t sendtargets -p "$portal")
expect_match "SendTargets" "$found" ":$port,[0-9]+ $target\$"
rm -rf /etc/iscsi/nodes

step "login" 30
iscsi_login "$target" "$portal"
disk 0 && data=$DISK
disk 1 && small=$DISK
expect "size of LUN 0" "$(size_of "$data")" $((320 << 20))
expect "size of LUN 1" "$(size_of "$small")" $((64 << 20))

step "ext4" 60
on_fs "$data" ext4

step "fio" 60
fio_verify "$small" 16M

step "logout" 20
iscsi_stop
