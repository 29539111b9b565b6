#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# libiscsi's tools: list, inquiry, capacity, write protection, performance; IPv6, several portals,
# discovery with masking, CHAP one way and mutual, header digests.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
requires iscsi-ls iscsi-inq iscsi-readcapacity16 iscsi-swp iscsi-perf python3

port6=$(free_port ::1 2>/dev/null) || port6=
listen="127.0.0.1:$PORT"
[ -z "$port6" ] || listen="$listen [::1]:$port6"
B=iqn.2026-11.example.terrace
umask 077
cat >"$T/conf" <<END
lun disk { store $T/disk ; size 64MiB ; serial abc123 ; vendor ACME ; product "BIG DISK" }
lun other { store ram: ; size 32MiB ; block_size 4096 }
portal p { listen $listen }
target $TARGET { portals p ; open yes ; lun 0 disk ; lun 1 other ; lun 260 other2 }
lun other2 { store ram: ; size 16MiB }
target $B:private {
	portals p
	chap me { secret my-own-secret-1 ; mutual_user terrace ; mutual_secret its-own-secret-2 }
	group g { user me ; initiators iqn.2026-11.example.test:me ; lun 0 disk }
}
target $B:digests { portals p ; open yes ; lun 0 disk ; header_digest required }
END
start --config "$T/conf"

out=$(iscsi-ls -s "iscsi://127.0.0.1:$PORT" 2>&1) || fail "iscsi-ls: $out"
expect_match "iscsi-ls" "$out" "Target:$TARGET Portal:127.0.0.1:$PORT,1"
expect_match "LUN 0" "$out" 'Lun:0 .*Size:63M|Lun:0 .*Size:64M'
# It shows a LUN's two bytes as they are, flat addressing included.
expect_match "LUN 260" "$out" "Lun:$((0x4000 + 260)) "
if grep -q ":private" <<<"$out"; then fail "a target that isn't for this initiator is shown"; fi
out=$(iscsi-ls -i iqn.2026-11.example.test:me "iscsi://127.0.0.1:$PORT" 2>&1) || true
expect_match "discovery by name" "$out" "Target:$B:private"

out=$(iscsi-inq "$(url)")
expect_match "vendor" "$out" 'Vendor:ACME'
expect_match "product" "$out" 'Product:BIG DISK'
expect_match "serial" "$(iscsi-inq -e 1 -c 128 "$(url)")" 'abc123'
expect_match "NAA" "$(iscsi-inq -e 1 -c 131 "$(url)")" 'NAA|Designator'
out=$(iscsi-readcapacity16 "$(url)")
expect_match "capacity" "$out" 'Total size:67108864'
expect_match "block length" "$(iscsi-readcapacity16 "$(url 1)")" 'LENGTH IN BYTES:4096'

iscsi-swp --swp on "$(url)" >/dev/null || fail "iscsi-swp on"
expect_match "software write protection" "$(iscsi-swp "$(url)")" 'SWP:1'
iscsi-swp --swp off "$(url)" >/dev/null || fail "iscsi-swp off"
expect_match "no write protection" "$(iscsi-swp "$(url)")" 'SWP:0'
# It runs until it's told to stop.
timeout -s INT 3 iscsi-perf -r -m 32 "$(url)" >"$T/perf" 2>&1 || true
expect_match "iscsi-perf" "$(tr '\r' '\n' <"$T/perf")" 'iops.*[1-9][0-9]{2}'

if [ -n "$port6" ]; then
	iscsi-readcapacity16 "iscsi://[::1]:$port6/$TARGET/0" >/dev/null || fail "IPv6"
	expect_match "IPv6 portal" "$(iscsi-ls "iscsi://[::1]:$port6")" "Portal:\[::1\]:$port6"
fi

# chap_inq USER SECRET [TARGET-USER TARGET-SECRET]
chap_inq() {
	local more=
	[ $# -le 2 ] || more="?target_user=$3&target_password=$4"
	timeout 20 iscsi-inq -i iqn.2026-11.example.test:me \
		"iscsi://$1%$2@127.0.0.1:$PORT/$B:private/0$more" 2>&1 || true
}
expect_match "CHAP" "$(chap_inq me my-own-secret-1)" 'Vendor:ACME'
expect_match "mutual CHAP" "$(chap_inq me my-own-secret-1 terrace its-own-secret-2)" 'Vendor:ACME'
for credentials in "me my-own-secret-2" "you my-own-secret-1" "me its-own-secret-2" \
	"me my-own-secret-1 terrace not-the-secret-3"; do
	# shellcheck disable=SC2086
	if chap_inq $credentials | grep -q Vendor; then fail "admitted: $credentials"; fi
done
out=$(iscsi-inq "iscsi://me%my-own-secret-1@127.0.0.1:$PORT/$B:private/0" 2>&1 || true)
if grep -q Vendor <<<"$out"; then fail "an initiator of another name is admitted"; fi

if command -v qemu-io >/dev/null; then
	# digest_read HEADER-DIGEST
	digest_read() {
		timeout 20 qemu-io -r -c 'read 0 1M' --image-opts "driver=iscsi,transport=tcp,\
portal=127.0.0.1:$PORT,target=$B:digests,lun=0,initiator-name=iqn.2026-11.example.test:d,\
header-digest=$1" 2>&1
	}
	expect_match "header digest" "$(digest_read crc32c)" 'read 1048576/1048576'
	if digest_read none | grep -q 'read 1048576'; then fail "a required digest is left out"; fi
fi
stop
echo ok
