#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# In the VM; see srp.py. The target is killed under load, and a device goes and returns.
. "$VM_LIB/srp.sh"
# librdmacm keeps a little of each device that was removed, got when an address was bound. Only whole stacks tell that
# from what is ours.
echo leak:bind_addr >/run/known-leaks
export ASAN_OPTIONS=fast_unwind_on_malloc=0 LSAN_OPTIONS=suppressions=/run/known-leaks
srp_begin
busy() { [ "$(session writes)" -gt 20 ]; }

step "kill -9 and a new start" 120
reload_srp
login
load "$DATA" 16M --rate_iops=400
wait_for 30 busy
kill -9 $TERRACED_PID
wait $TERRACED_PID 2>/dev/null || :
nap 2
serve
load_ends "kill -9"
wait_for 30 at_rest
same "$DATA" 4

step "the device goes" 90
kernel_silent
load "$DATA" 8M --rate_iops=400
wait_for 30 busy
rdma link delete rxe0
wait_for 30 no_session
wait $LOAD_PID || : # its disk is gone
wait_for 30 no_host
said "the device was removed"
kill -0 $TERRACED_PID

step "the device returns" 90
rdma link add rxe0 type rxe netdev dummy0
wait_for 30 listening
login
same "$DATA" 4
expect "copied bytes" "$(session copied_bytes)" 0

step "it goes while nobody is logged in" 60
logout
rdma link delete rxe0
rdma link add rxe0 type rxe netdev dummy0
wait_for 30 listening
login
same "$DATA" 4
srp_end
