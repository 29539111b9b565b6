#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# In the VM; see srp.py. The network is lost for some seconds, under load. The initiator doesn't try to
# connect again before it is back: soft-RoCE would never let it in again, see docs/srp.md.
. "$VM_LIB/srp.sh"
srp_begin
busy() { [ "$(session writes)" -gt 20 ]; }

longest=3
for away in ${VM_LINK_AWAY:-3}; do
	[ "$away" -le $longest ] || longest=$away
done
reload_srp reconnect_delay=$((longest + 7))
for away in ${VM_LINK_AWAY:-3}; do
	step "link down for $away s, and up" 300
	login
	timeout_of "$DATA" 10
	load "$DATA" 8M --rate_iops=400 --iodepth=2
	wait_for 30 busy
	kernel_silent
	ip link set dummy0 down
	nap "$away"
	ip link set dummy0 up
	ip -6 addr add fd00::77/64 dev dummy0 nodad 2>/dev/null || :
	now
	up=$NOW
	load_ends "the link"
	now
	echo "  served again $(bc <<<"$NOW - $up") s after the link was there"
	same "$DATA" 4
	logout
done
srp_end
