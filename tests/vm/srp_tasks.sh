#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# In the VM; see srp.py. Logins and logouts under load, resets, aborts.
. "$VM_LIB/srp.sh"
step "a store that can be held" 20
modprobe dm_mod
echo "0 $(blockdev --getsz /dev/vda) linear /dev/vda 0" | dmsetup create held --noudevsync
dmsetup mknodes
srp_begin block:/dev/mapper/held

busy() { [ "$(session reads)" -gt 20 ] && [ "$(session writes)" -gt 20 ]; }
step "logins and logouts under load" 80
reload_srp
for _ in 1 2 3; do
	login
	fio --name=load --allow_file_create=0 --filename="$DATA" --size=32M --rw=randrw --bs=16k --direct=1 --ioengine=libaio --iodepth=8 \
		--runtime=60 --time_based --output=/run/load.log 2>/run/load.err &
	load=$!
	wait_for 30 busy
	logout
	wait $load || : # its disk is gone
done

step "LUN and device reset under load" 80
login
load "$DATA" 8M --rate_iops=300
for _ in 1 2; do
	wait_for 30 busy
	sg_reset -d "$DATA"
	nap 1
done
load_ends "resets"
wait_for 30 at_rest

step "abort, and its credit" 120
# The store holds what it has until the initiator has lost its patience with it.
timeout_of "$DATA" 2
kernel_silent
dmsetup suspend --noflush --nolockfs held
dd if="$DATA" of=/dev/null bs=4k count=1 skip=77 iflag=direct status=none &
reader=$!
dd if=/dev/zero of="$DATA" bs=4k count=1 seek=78 oflag=direct status=none &
writer=$!
wait_for 30 kernel_said "SRP abort called"
dmsetup resume held
wait $reader
wait $writer
timeout_of "$DATA" 30
same "$DATA" 4
wait_for 30 at_rest
srp_end
