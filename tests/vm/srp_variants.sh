#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# In the VM; see srp.py. ib_srp with other parameters.
. "$VM_LIB/srp.sh"
srp_begin

# variant WHAT MODULE_PARAMETERS LOGIN_OPTION...
variant() {
	local what=$1 parameters=$2
	shift 2
	step "$what" 40
	# shellcheck disable=SC2086
	reload_srp $parameters
	login "$@"
	same "$DATA" 4
	wait_for 30 at_rest
}
# expect_host FIELD VALUE: as the initiator's host says.
expect_host() { expect "$1" "$(cat "$HOST/$1")" "$2"; }

variant "no immediate data" "use_imm_data=N"
logout
variant "external tables" "never_register=Y cmd_sg_entries=4 indirect_sg_entries=256 allow_ext_sg=1" \
	allow_ext_sg=1 sg_tablesize=256
expect_host allow_ext_sg true
logout
variant "queue of 32, 4 MiB" "" queue_size=32 cmd_sg_entries=255 max_sect=8192
expect "sectors of a request" "$(cat "/sys/block/${DATA#/dev/}/queue/max_hw_sectors_kb")" 4096
echo 4096 >"/sys/block/${DATA#/dev/}/queue/max_sectors_kb"
same "$DATA" 8
[ "$(session write_bytes)" -gt 0 ]
logout
variant "one channel" "" ch_count=1
expect "channels" "$(session channels)" 1
logout
variant "two channels" "" ch_count=2
expect "channels" "$(session channels)" 2
logout
variant "four channels" "" ch_count=4
expect_match "channels" "$(session channels)" '^[24]$' # one per CPU at most
logout
variant "register_always=N" "register_always=N"
logout
variant "never_register=Y" "never_register=Y"
logout
variant "long tables" "never_register=Y" cmd_sg_entries=255 allow_ext_sg=1 sg_tablesize=2048 max_sect=8192
logout
variant "short units" "" max_it_iu_size=512
logout
variant "queue of one" "" queue_size=1
expect_host can_queue 1
logout
variant "queue of 1024" "" queue_size=1024
fio_verify "$DATA" 8M --iodepth=200
wait_for 30 at_rest
logout

step "IPv6" 40
reload_srp
line4=$LINE
LINE=${LINE/$ADDR:/[fd00::77]:}
login
same "$DATA" 4
expect_match "address" "$(session address)" '^\[fd00::77\]:'
logout
LINE=$line4
srp_end
