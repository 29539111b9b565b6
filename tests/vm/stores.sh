#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# In the VM; see stores.py.
. "$VM_LIB/stores.sh"

step "volumes" 300
modprobe brd rd_nr=8 rd_size=131072 max_part=0
modprobe -a dm_mod raid456 dm_flakey
lvm_start
pvcreate -q /dev/ram0 >/dev/null
vgcreate -q vg /dev/ram0 >/dev/null
lvcreate -y -q -n lv -L 32M vg >/dev/null
mdadm --create /dev/md0 --quiet --run --assume-clean --level=5 --raid-devices=3 --chunk=64 \
	/dev/ram1 /dev/ram2 /dev/ram3
store="0 $(sectors 32) linear /dev/ram4 0"
ssd="0 $(sectors 24) linear /dev/ram5 0"
dmsetup create --noudevsync store --table "$store"
dmsetup create --noudevsync ssd --table "$ssd"
dmsetup create --noudevsync holes --table "0 8192 linear /dev/ram6 0
8192 256 error
8448 $(($(sectors 32) - 8448)) linear /dev/ram6 8448"
dmsetup mknodes

step "served" 300
cat >terrace.conf <<END
portal local { listen 127.0.0.1:3260 }
cache fast { ssd block:/dev/mapper/ssd }
lun lv { store lvm:vg/lv }
lun md { store block:/dev/md0 }
lun holes { store block:/dev/mapper/holes }
lun nv { store block:/dev/mapper/store; cache fast }
target $target { portals local; open yes; lun 0 lv; lun 1 md; lun 2 holes; lun 3 nv }
END
serve
iscsi_start iqn.2026-11.example.vm:one "node.session.timeo.replacement_timeout = 120"
iscsi_login $target 127.0.0.1:3260
disk 0 && lv=$DISK
disk 1 && md=$DISK
disk 2 && holes=$DISK
disk 3 && nv=$DISK

step "a RAID's stripe is told" 300
limits=$(sg_vpd -p bl "$md")
expect_match "block limits" "$limits" 'Optimal transfer length: 256 blocks'
expect_match "block limits" "$limits" 'Optimal transfer length granularity: 128 blocks'
expect "part of a stripe" "$(cat "/sys/block/${md#/dev/}/queue/minimum_io_size")" 65536
expect "stripe" "$(cat "/sys/block/${md#/dev/}/queue/optimal_io_size")" 131072
fio_verify "$md" 12M
mdadm --wait /dev/md0 || :
echo check >/sys/block/md0/md/sync_action
mdadm --wait /dev/md0 || :
expect "stripes whose parity is wrong" "$(cat /sys/block/md0/md/mismatch_cnt)" 0

step "a volume grows" 300
mkfs.ext4 -q -F "$lv"
mkdir -p /mnt/lv
mount "$lv" /mnt/lv
fill /mnt/lv
lvextend -q -L +32M vg/lv >/dev/null 2>&1
noticed() {
	dd if="$lv" of=/dev/null bs=4k count=1 iflag=direct status=none
	dmesg | grep -q "Capacity data has changed"
}
wait_for 60 noticed
echo 1 >"/sys/block/${lv#/dev/}/device/rescan"
expect "size of the LUN" "$(size_of "$lv")" $((64 * MIB))
resize2fs "$lv" >/dev/null 2>&1
filled /mnt/lv
umount /mnt/lv
check_fs "$lv" ext4
check_fs /dev/vg/lv ext4

step "a volume is made, grows and goes with its LUN" 300
# order WORD...: done, perhaps with remarks
order() {
	local status=0
	control "$@" || status=$?
	[ $status = 0 ] || [ $status = 3 ] || fail "terracectl $*: $status: $(cat control.out)"
}
# volume NAME: its size in bytes
volume() { lvs --noheadings --nosuffix --units b -o lv_size "vg/$1" 2>/dev/null | tr -d ' '; }
order lun create made --vg vg --size 16MiB --to 'iqn.2026-11.example.vm:nobody'
expect "size of the volume" "$(volume made)" $((16 * MIB))
order lun list --json
expect_match "the LUN on it" "$(tr -d ' \n' <control.out)" '"name":"made","store":"[^"]*vg[/-]made","size_bytes":16777216'
order lun resize made 24MiB
expect_match "initiators' commands" "$(cat control.out)" 'esxcli'
expect "size of the volume" "$(volume made)" $((24 * MIB))
order lun list --json
expect_match "size of the LUN" "$(tr -d ' \n' <control.out)" '"name":"made",[^}]*"size_bytes":25165824'
if control lun create other --vg vg --size 1TiB; then fail "a volume larger than its group"; fi
order lun list --json
if grep -q '"other"' control.out; then fail "a LUN without its volume"; fi
order lun delete made
expect "the volume stays" "$(volume made)" $((24 * MIB))
order scstadmin -adddev guide -path /dev/mapper/vg/made -handler vdisk -options BLOCKIO
expect_match "and is served under that path" "$(cat control.out)" 'lvm:vg/made'
order lun delete guide --with-volume --yes
if lvs vg/made >/dev/null 2>&1; then fail "the volume is there after --with-volume"; fi

step "the SSD of a cache is a volume, which grows and shrinks" 300
# value NAME: of the cache on it
value() { control cache get quick "$1" && cat control.out; }
lvcreate -y -q -n fast -L 24M vg >/dev/null
cp terrace.conf without.conf
sed -i 's/^lun lv .*/cache quick { ssd lvm:vg\/fast }\nlun lv { store lvm:vg\/lv; cache quick }/' terrace.conf
order reload --yes
expect "the SSD" "$(value ssd)" block:/dev/mapper/vg-fast
fio_verify "$lv" 12M
small=$(value size_bytes)
lvextend -q -L +8M vg/fast >/dev/null 2>&1
order cache resize quick
expect "size of the cache" "$(value size_bytes)" $((small + 8 * MIB))
verified=(--offset=16M --randseed=8 --randrepeat=1)
fio_verify "$lv" 16M "${verified[@]}"
lvextend -q -L +8M vg/lv >/dev/null 2>&1
order lun resize lv
expect_match "the LUN behind it grows too" "$(cat control.out)" 'size 64MiB → 72MiB'
echo 1 >"/sys/block/${lv#/dev/}/device/rescan"
expect "size of the LUN" "$(size_of "$lv")" $((72 * MIB))
grown=(--offset=64M --randseed=9 --randrepeat=1)
fio_verify "$lv" 8M "${grown[@]}"
kill -KILL "$SERVER"
wait "$SERVER" 2>/dev/null || :
serve
expect "size of the cache after a restart" "$(value size_bytes)" $((small + 8 * MIB))
fio_verify "$lv" 16M "${verified[@]}" --verify_only
fio_verify "$lv" 8M "${grown[@]}" --verify_only
order cache resize quick 24MiB
expect "size of the cache" "$(value size_bytes)" "$small"
lvreduce -q -f -L 24M vg/fast >/dev/null 2>&1
fio_verify "$lv" 16M "${verified[@]}" --verify_only
fio_verify "$lv" 16M "${verified[@]}"
cp without.conf terrace.conf
order reload --yes
fio_verify "$lv" 16M "${verified[@]}" --verify_only
fio_verify "$lv" 8M "${grown[@]}" --verify_only
lvremove -q -f vg/fast >/dev/null

step "sectors that fail" 300
# block DISK READ_OR_WRITE KIB: 4 KiB there
block() {
	case $2 in
	read) dd if="$1" of=/dev/null bs=4k count=1 skip=$(($3 / 4)) iflag=direct status=none 2>/dev/null ;;
	write) dd if=/dev/zero of="$1" bs=4k count=1 seek=$(($3 / 4)) oflag=direct conv=notrunc status=none 2>/dev/null ;;
	esac
}
for how in read write; do
	block "$holes" $how 4092 || fail "$how before the hole fails"
	block "$holes" $how 4224 || fail "$how behind the hole fails"
	for at in 4096 4160 4220; do
		if block "$holes" $how $at; then fail "$how of a sector that fails succeeds"; fi
	done
done
wait_for 60 condition C202
[ "$(dmesg | grep -c 'Sense Key : Medium Error')" -ge 2 ] || fail "no medium error was told: $(dmesg | tail)"
table holes "0 $(sectors 32) linear /dev/ram6 0"
fio_verify "$holes" 8M --offset=2M

step "the store behind a cache fails for a while" 300
table store "0 $(sectors 32) error"
fio_verify "$nv" 6M --verify_state_save=0
control iostat
wait_for 60 condition C606
table store "$store"
wait_for 90 condition_over C606
fio_verify "$nv" 6M --offset=8M

step "it fails now and then" 300
table store "0 $(sectors 32) flakey /dev/ram4 0 2 2"
fio_verify "$nv" 12M --rate_iops=60
table store "$store"

step "a part of the SSD takes no writes" 300
pattern() { fio_verify "$nv" 8M --offset=16M --randseed=7 --randrepeat=1 "$@"; }
pattern
table ssd "0 16384 linear /dev/ram5 0
16384 4096 flakey /dev/ram5 16384 0 3600 1 error_writes
20480 $(($(sectors 24) - 20480)) linear /dev/ram5 20480"
# The log comes to that part in its own time.
for _ in 1 2 3 4 5 6; do
	fio_verify "$nv" 12M
	if condition C602; then break; fi
done
wait_for 60 condition C602

step "the SSD takes no writes at all" 300
table ssd "0 $(sectors 24) flakey /dev/ram5 0 0 3600 1 error_writes"
for _ in 1 2 3; do
	if block "$nv" write 15000; then fail "a write that can't be durable is answered"; fi
done
wait_for 60 condition C603
pattern --verify_only
table ssd "$ssd"

step "what was answered is there after a restart" 300
kill -TERM "$SERVER"
wait "$SERVER" || fail "terraced ended with $?"
serve
pattern --verify_only
fio_verify "$nv" 8M
kill -KILL "$SERVER"
wait "$SERVER" 2>/dev/null || :
serve
pattern --verify_only
condition C60 && fail "the SSD works again, but: $(cat control.out)"
grep -E 'AddressSanitizer|LeakSanitizer|runtime error:|assertion' $T/log && fail "a report in terraced's log"

step "a part of the SSD can't be read" 300
control cache flush --all || fail "flush: $(cat control.out)"
kill -TERM "$SERVER" # what memory has would hide it
wait "$SERVER" || fail "terraced ended with $?"
serve
table ssd "0 8192 linear /dev/ram5 0
8192 $(($(sectors 24) - 8192)) error"
pattern --verify_only
wait_for 60 condition C604
condition C605 && fail "the store has it all, but: $(cat control.out)"
table ssd "$ssd"
pattern --verify_only

step "end" 30
iscsi_stop
kill -TERM "$SERVER"
wait "$SERVER" || fail "terraced ended with $?"
