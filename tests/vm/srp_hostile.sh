#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# In the VM; see srp.py. An initiator that sends what it likes, while another one works.
# Usage: srp_hostile.sh SRP_RAW
. "$VM_LIB/srp.sh"
srp_begin

step "an initiator that behaves" 40
reload_srp
login
same "$DATA" 4

step "hostile initiator" 240
"$1" $ADDR $PORT "${LINE%%,dest*}"
kill -0 $TERRACED_PID
same "$DATA" 4
wait_for 30 at_rest

# Of the process: descriptors, and memory that it has now, in KiB.
descriptors() { find "/proc/$TERRACED_PID/fd" -mindepth 1 | wc -l; }
memory() { sed -n 's/^VmRSS:[[:space:]]*\([0-9]*\) kB$/\1/p' "/proc/$TERRACED_PID/status"; }
only_us() { [ "$(sessions)" = 1 ]; }
as_before() { [ "$(descriptors)" -le "$fds" ]; }
step "many logins leave nothing" 240
"$1" $ADDR $PORT "${LINE%%,dest*}" 20 # what is allocated once
wait_for 30 only_us
nap 1
fds=$(descriptors) kib=$(memory)
"$1" $ADDR $PORT "${LINE%%,dest*}" 100
wait_for 30 only_us
wait_for 30 as_before
[ "$(memory)" -le $((kib + 4096)) ] || fail "memory grew from $kib KiB to $(memory) KiB"
srp_end
