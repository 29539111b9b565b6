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

step "hostile initiator" 160
"$1" $ADDR $PORT "${LINE%%,dest*}"
kill -0 $TERRACED_PID
same "$DATA" 4
wait_for 30 at_rest
srp_end
