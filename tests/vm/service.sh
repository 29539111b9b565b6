#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# In the machine, under systemd: the service as the package made it.
. "$VM_LIB/guest.sh"

# What was said before it failed.
at_end() {
	local status=$?
	[ "$status" = 0 ] || journalctl -q -b -n 60 --no-pager -o short-monotonic
	at_exit
}
trap at_end EXIT

IQN=iqn.2026-11.example.terrace:service
pid() { systemctl show -p MainPID --value "${1:-terraced}"; }
status_text() { systemctl show -p StatusText --value terraced; }
active() { [ "$(systemctl is-active "${1:-terraced}")" = active ]; }
listens() { (: </dev/tcp/127.0.0.1/3260) 2>/dev/null; }
# Another process than OLD serves.
serves_again() { [ "$(pid)" != "$1" ] && [ "$(pid)" != 0 ] && active; }
web() {
	exec 7<>/dev/tcp/127.0.0.1/9260
	printf 'GET %s HTTP/1.0\r\nHost: localhost\r\n\r\n' "$1" >&7
	cat <&7
	exec 7>&-
}
# written DISK BYTE: a MiB of it, past the page cache.
written() { head -c 1M /dev/zero | tr '\0' "$2" | dd of="$1" bs=64k iflag=fullblock oflag=direct status=none; }
reads() { dd if="$1" bs=64k count=16 iflag=direct status=none | tr -d "$2" | cmp - /dev/null; }
# The store itself, which another program reads.
stored() { head -c 1M "$1" | tr -d "$2" | cmp - /dev/null; }

step "started at boot, and warns of nothing" 60
wait_for 30 active
wait_for 30 active terrace-web
expect "health" "$(terracectl health)" OK
expect_match "the next command" "$(terracectl status)" 'terracectl portal create san --listen'
expect "warnings" "$(journalctl -q -b -u terraced -u terrace-inspect -u terrace-web -p warning -o cat)" ""
expect "status for systemctl" "$(status_text)" "serving 0 LUNs"
[ "$(id -u terrace-web)" = "$(stat -c %u "/proc/$(pid terrace-web)")" ] || fail "terrace-web isn't its user"

step "rights and limits" 30
P=/proc/$(pid)
CAPS=$(sed -n 's/^CapBnd:\t//p' "$P/status")
for cap in 12 13 16 17 21 22; do # net_admin, net_raw, sys_module, sys_rawio, sys_admin, sys_boot
	[ $((0x$CAPS >> cap & 1)) = 0 ] || fail "capability $cap is there: $CAPS"
done
expect "no new privileges" "$(sed -n 's/^NoNewPrivs:\t//p' "$P/status")" 1
expect "system calls are filtered" "$(sed -n 's/^Seccomp:\t//p' "$P/status")" 2
expect "the OOM killer takes others first" "$(cat "$P/oom_score_adj")" -900
expect_match "locked memory" "$(cat "$P/limits")" 'Max locked memory +unlimited +unlimited'
[ "$(readlink "$P/ns/mnt")" != "$(readlink /proc/self/ns/mnt)" ] || fail "no mount namespace of its own"
expect "the page's capabilities" "$(sed -n 's/^CapBnd:\t//p' "/proc/$(pid terrace-web)/status")" 0000000000000000
for unit in terraced terrace-inspect terrace-web; do
	echo "$unit: $(systemd-analyze security --no-pager "$unit" | tail -n 1)"
done

# What lvm is told of descriptors that aren't its own.
export LVM_SUPPRESS_FD_WARNINGS=1

step "stores: a file, a device, a logical volume, behind a cache" 120
modprobe -a virtio_blk dm_mod ext4 iscsi_tcp sd_mod
mkfs.ext4 -q /dev/vdc
# Nothing that is in use by somebody becomes a cache, and it is named.
expect_status 5 cachectl format /dev/vdc
expect_match "a device with a file system" "$OUT" "isn't empty: there is ext4 on it"
mount /dev/vdc /srv
pvcreate -q /dev/vdb
expect_status 5 cachectl format /dev/vdb
expect_match "a device of LVM" "$OUT" "isn't empty: there is LVM2_member on it"
vgcreate -q vg /dev/vdb
lvcreate -q -y -n vol -L 64M vg
# Status 3 is a remark: nobody is admitted yet.
terracectl portal create san --listen 127.0.0.1 || [ $? = 3 ]
terracectl target create $IQN --portal san || [ $? = 3 ]
terracectl lun create file --store file:/srv/file.img --size 32MiB --to '*'
terracectl lun create block --store block:/dev/vda --to '*'
terracectl lun create vol --store lvm:vg/vol --to '*'
terracectl cache add fast file --ssd file:/srv/fast.ssd --size 64MiB
expect "health" "$(terracectl health)" OK
echo InitiatorName=iqn.2026-11.example:vm >/etc/iscsi/initiatorname.iscsi
systemctl restart iscsid
iscsi_login $IQN 127.0.0.1:3260
for i in 0 1 2; do
	disk $i
	written "$DISK" "$i"
	reads "$DISK" "$i"
done
disk 0
FILE=$DISK

step "what is served, as files, outside of the service" 60
wait_for 30 test -e /run/target-fuse/luns/file
expect "a LUN's size" "$(stat -c %s /run/target-fuse/luns/file/image)" $((32 << 20))
stored /run/target-fuse/luns/file/image 0
expect_match "its health" "$(head -n 1 /run/target-fuse/health)" '^ok'

step "ready means that portals listen" 120
for i in 1 2 3; do
	systemctl restart terraced
	listens || fail "systemd believed it to be ready"
done
reads "$FILE" 0

step "one that hangs is started again" 240
OLD=$(pid)
kill -STOP "$OLD"
wait_for 60 serves_again "$OLD"
expect "who ended it" "$(journalctl -q -b -u terraced -o cat | grep -c 'Watchdog timeout')" 1
written "$FILE" a
reads "$FILE" a

step "one that fails is started again, however often" 240
for i in {1..8}; do
	OLD=$(pid)
	kill -KILL "$OLD"
	wait_for 15 serves_again "$OLD"
done
written "$FILE" b
reads "$FILE" b

step "the stop writes what stores lack, and says how far it is" 240
written "$FILE" c
systemctl stop terraced
stored /srv/file.img c
expect_match "dirty blocks" "$(cachectl check --quick --json /srv/fast.ssd)" '"dirty_blocks": *0,'
systemctl start terraced
reads "$FILE" c
iscsi_logout
terracectl lun create slow --store "fault:1:delay_us=8000000:file:/srv/slow.img" --size 32MiB --to '*'
terracectl cache add fast slow
iscsiadm -m node -T $IQN -p 127.0.0.1:3260 --login >/dev/null
disk 0
FILE=$DISK
disk 3
SLOW=$DISK
# Each operation of this store takes eight seconds. Written in the background: the kernel's own reads of the disk keep
# dd from closing it until the data has long been on the store.
written "$SLOW" d &
WRITER=$!
wait_for 60 eval '[ "$(terracectl cache get slow dirty_bytes)" -gt 0 ]'
systemctl stop --no-block terraced
wait_for 30 eval 'status_text | grep -q "writing what caches have to the stores: .* left"'
wait_for 60 eval '[ "$(systemctl is-active terraced)" = inactive ]'
expect "how it ended" "$(systemctl show -p Result --value terraced)" success
systemctl start terraced
wait "$WRITER"
reads "$SLOW" d

step "an upgrade restarts nothing but what looks" 240
reads "$FILE" c
OLD=$(pid) LOOKS=$(pid terrace-inspect)
dpkg --force-confold --force-depends -i /terrace-next.deb >/run/upgrade 2>&1 || fail "$(cat /run/upgrade)"
expect "the target" "$(pid)" "$OLD"
[ "$(pid terrace-inspect)" != "$LOOKS" ] || fail "terrace-inspect goes on as it was"
expect_match "needrestart" "$(needrestart -b -r l 2>/dev/null || :)" 'NEEDRESTART'
expect "the target" "$(pid)" "$OLD"
written "$FILE" e
now
BEGAN=$NOW
systemctl restart terraced
written "$FILE" f
now
echo "restarted with an initiator: its writes waited $(bc <<<"$NOW - $BEGAN") s"
reads "$FILE" f

step "removal: not from under initiators; then without a trace of what stores lack" 240
expect_match "the page" "$(web /healthz)" '^(ok|degraded)'
dpkg -r terrace-web >/dev/null
expect_status 1 dpkg -r terrace
expect_match "why" "$OUT" 'sessions of initiators use this target'
active || fail "it was stopped"
written "$FILE" g
iscsi_logout
wait_for 30 eval '! terracectl session list --json | grep -q tsih'
dpkg -r terrace >/run/remove 2>&1 || fail "$(cat /run/remove)"
expect_match "progress" "$(cat /run/remove)" 'is on the stores'
stored /srv/file.img g
! active || fail "it runs on"
dpkg -i /terrace-next.deb >/run/install 2>&1 || fail "$(cat /run/install)"
wait_for 30 active
wait_for 30 listens
expect "its LUNs" "$(terracectl lun list --json | grep -c '"store"')" 4
