#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# In the VM; see stores.py. The SSD of a cache fails for blocks that only it has: these and no others are
# an error of the medium, of one LUN, as long as it lasts.
. "$VM_LIB/stores.sh"

step "devices" 120
modprobe brd rd_nr=4 rd_size=32768 max_part=0
modprobe -a dm_mod dm_flakey
store="0 $(sectors 32) linear /dev/ram0 0"
ssd="0 $(sectors 24) linear /dev/ram1 0"
dmsetup create --noudevsync store --table "$store"
dmsetup create --noudevsync ssd --table "$ssd"
dmsetup mknodes

step "served" 120
cat >terrace.conf <<END
portal local { listen 127.0.0.1:3260 }
cache fast { ssd block:/dev/mapper/ssd; ram none }
lun nv { store block:/dev/mapper/store; cache fast }
lun other { store block:/dev/ram2; cache fast }
lun plain { store block:/dev/ram3 }
target $target { portals local; open yes; lun 0 nv; lun 1 other; lun 2 plain }
END
serve
iscsi_start iqn.2026-11.example.vm:one "node.session.timeo.replacement_timeout = 120"
iscsi_login $target 127.0.0.1:3260
disk 0 && nv=$DISK
disk 1 && other=$DISK
disk 2 && plain=$DISK

blocks() { python3 -B "$VM_LIB/../blocks.py" "$@"; }
# others: of the LUNs whose stores have it all no block fails.
others() {
	expect "blocks of the LUN that is clean" "$(blocks check "$other" 0 512 1)" ""
	expect "blocks of the LUN without a cache" "$(blocks check "$plain" 0 64 2)" ""
}
# hole TABLE...: what /dev/mapper/ssd is from MiB $at on, for 4 MiB: TABLE, with its first sector behind it.
hole() {
	table ssd "0 $(sectors "$at") linear /dev/ram1 0
$(sectors "$at") $(sectors 4) $*
$(sectors $((at + 4))) $(sectors $((20 - at))) linear /dev/ram1 $(sectors $((at + 4)))"
}

step "blocks that only the SSD has" 120
blocks write "$other" 0 512 1
blocks write "$plain" 0 64 2
control cache flush --all || fail "flush: $(cat control.out)"
table store "0 $(sectors 32) flakey /dev/ram0 0 0 3600 1 error_writes"
blocks write "$nv" 0 1024 3
wait_for 60 condition C606
expect "blocks that fail" "$(blocks check "$nv" 0 1024 3)" ""

step "a part of the SSD can't be read" 300
total=0
for at in 4 8 12 16; do
	hole error
	blocks check "$nv" 0 1024 3 >failing
	count=$(wc -l <failing)
	total=$((total + count))
	[ "$count" -gt "${most:-0}" ] && most=$count worst=$at
	others
	table ssd "$ssd"
done
# Each block is in one of these parts at most, and some are in each of them or none.
[ $total -gt 0 ] || fail "no block failed"
[ $total -le 1024 ] || fail "$total of 1024 blocks failed"
wait_for 60 condition C604
condition C605 && fail "nothing is lost, but: $(cat control.out)"
step "it can be read again" 120
expect "blocks that fail" "$(blocks check "$nv" 0 1024 3)" ""

step "a part of the SSD has other contents" 300
at=$worst
hole flakey /dev/ram1 "$(sectors "$at")" 0 3600 5 corrupt_bio_byte 32 r 255 0
blocks check "$nv" 0 1024 3 >lost
count=$(wc -l <lost)
[ "$count" -gt 0 ] || fail "no block failed"
[ "$count" -le "$most" ] || fail "$count blocks failed, $most are there"
others
wait_for 60 condition C605
table ssd "$ssd"
step "what was lost stays lost, and nothing else" 300
blocks check "$nv" 0 1024 3 >failing
cmp lost failing || fail "other blocks fail: $(diff lost failing | head)"
others
blocks rewrite "$nv" 3 <lost
expect "blocks that fail" "$(blocks check "$nv" 0 1024 3)" ""

step "the store takes them" 120
table store "$store"
wait_for 90 condition_over C606
control cache flush --all || fail "flush: $(cat control.out)"
expect "blocks that fail" "$(blocks check "$nv" 0 1024 3)" ""
iscsi_stop
stop_server
# Without the cache: the store has it all.
expect "blocks of the store" "$(blocks check /dev/mapper/store 0 1024 3)" ""
expect "blocks of the other store" "$(blocks check /dev/ram2 0 512 1)" ""
step_end
