#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# qemu-img copies a real ext4 image to a LUN and back, for each kind of store: identical, and clean
# for e2fsck; a file system made through the LUN is found in the backing file.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
requires qemu-img qemu-io mke2fs e2fsck python3
[ -e /usr/lib/x86_64-linux-gnu/qemu/block-iscsi.so ] ||
	qemu-img --help | grep -q 'iscsi' || skip "qemu's iSCSI driver is not installed"

mkdir "$T/files"
cp -r "$here" "$T/files/e2e"
head -c 3000000 /dev/urandom >"$T/files/random"
ln -s random "$T/files/link"
mke2fs -q -t ext4 -d "$T/files" "$T/image" 48M
size=$(stat -c %s "$T/image")

# image_round_trip LUN
image_round_trip() {
	timeout 60 qemu-img convert -n -t none -f raw -O raw "$T/image" "$(url "$1")" ||
		fail "qemu-img writes to LUN $1"
	timeout 60 qemu-img compare -f raw -F raw "$T/image" "$(url "$1")" >/dev/null ||
		fail "qemu-img compares with LUN $1"
	timeout 60 qemu-img convert -f raw -O raw "$(url "$1")" "$T/back" ||
		fail "qemu-img reads LUN $1"
	cmp "$T/image" "$T/back" || fail "what comes back from LUN $1 differs"
	e2fsck -fn "$T/back" >"$T/fsck" 2>&1 || fail "e2fsck: $(cat "$T/fsck")"
	rm -f "$T/back"
}

start_open --lun "ram:$size" --lun "$T/store:$size"
image_round_trip 0
image_round_trip 1
cmp "$T/image" "$T/store" || fail "the backing file differs from what was written"

# UNMAP and WRITE SAME through qemu: zeros, and space that goes back.
timeout 60 qemu-io -f raw -c 'write -z -u 0 32M' -c 'read -P 0 0 32M' "$(url 1)" |
	grep -q 'read 33554432/33554432' || fail "zeros are written and read"
before=$(stat -c %b "$T/store")
[ "$before" -lt $((size / 512 - 40000)) ] || fail "unmapped space stays allocated ($before blocks)"
cmp -n 33554432 "$T/store" /dev/zero || fail "unmapped blocks aren't zeros"
stop

# Volatile: the same over the page cache, with a flush at the end.
start_open --mode volatile --lun "$T/store"
timeout 60 qemu-img convert -n -t writeback -f raw -O raw "$T/image" "$(url)" ||
	fail "qemu-img writes to a volatile LUN"
stop
cmp "$T/image" "$T/store" || fail "after the end the backing file has all"
echo ok
