#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# In the VM; see srp.py. Logins, contents, file systems, and what must not be copied.
. "$VM_LIB/srp.sh"
srp_begin

ram_hits() { "${CTL[@]}" cache status --json | sed -n 's/^ *"ram_hits": \([0-9]*\),\?$/\1/p'; }

step "login, inquiry, sizes" 40
reload_srp
login
expect "sessions" "$(sessions)" 1
expect "protocol" "$(session protocol)" srp
expect "channels" "$(session channels)" 2
expect "size of LUN 0" "$(size_of "$DATA")" "$(size_of /dev/vda)"
expect "first credit" "$REQ_LIM" 128
sg_inq "$DATA" | grep -q TERRACE
sg_vpd -p di "$DATA" >/dev/null
same "$DATA" 8

step "refused logins, with reasons" 20
add_target "$CLOSED" 2>/dev/null && fail "it was admitted"
said "in no group of the target"
add_target "${LINE/0102030405060708/0102030405060709}" 2>/dev/null && fail "it was admitted"
said "no target has these identifiers"
kernel_said "SRP LOGIN REJECTED, reason 0x00010003"

step "RAM hits without a copy" 40
head -c 16M /dev/urandom >/run/random
dd if=/run/random of="$FAST" bs=1M oflag=direct status=none
before=$(ram_hits)
for _ in 1 2 3; do
	dd if="$FAST" of=/run/back bs=128k count=128 iflag=direct status=none
	cmp /run/random /run/back
done
hits=$(($(ram_hits) - before))
# The policy may leave some blocks out.
[ $hits -ge 12000 ] || fail "only $hits of 12288 blocks came from memory"
expect "copied bytes" "$(session copied_bytes)" 0

step "ext4" 60
on_fs "$DATA" ext4
step "fio" 60
fio_verify "$DATA" 16M
wait_for 30 at_rest


step "buffers in pieces" 40
python3 "$VM_LIB/../gaps.py" "$DATA"

step "logout" 30
logout
said "logout initiator=srp.*reason=\"the initiator disconnected\""

step "no immediate data, external tables, 4 MiB" 60
reload_srp use_imm_data=N never_register=Y cmd_sg_entries=4 indirect_sg_entries=2048 allow_ext_sg=1
login allow_ext_sg=1 sg_tablesize=2048 max_sect=8192
echo 4096 >"/sys/block/${DATA#/dev/}/queue/max_sectors_kb"
same "$DATA" 8
python3 "$VM_LIB/../gaps.py" "$DATA"
wait_for 30 at_rest
srp_end
