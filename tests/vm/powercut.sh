#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# In the VM; see powercut.py. Usage: powercut.sh SECONDS POINTS [volatile]
. "$VM_LIB/guest.sh"
step "devices" 30
modprobe -a dm_log_writes brd
# Three devices, where they are put back, and three logs.
modprobe -r brd 2>/dev/null || :
modprobe brd rd_nr=9 rd_size=262144 max_part=0
n=0
for name in ssd store plain; do
	[ $name = ssd ] && size=8 || size=16
	dmsetup create --noudevsync $name --table \
		"0 $((size * 2048)) log-writes /dev/ram$n /dev/ram$((n + 6))"
	n=$((n + 1))
done
dmsetup mknodes
step_end
python3 -B "$VM_LIB/../powercut_guest.py" "$@"
