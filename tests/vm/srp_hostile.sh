#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# In the VM; see srp.py. An initiator that sends what it likes, while another one works.
# Usage: srp_hostile.sh SRP_RAW [LOGINS [PART...]]: LOGINS of the loop that must leave nothing, 100;
# PART of logins, access, units, peers, loop: all of them.
. "$VM_LIB/srp.sh"
raw=$1 logins=${2:-100}
parts=" ${*:3} "
[ $# -gt 2 ] || parts=" logins access units peers loop "
srp_begin

step "an initiator that behaves" 40
reload_srp
login
same "$DATA" 4
# It works all the time, and meets no error.
(
	until [ -e /run/enough ]; do
		fio_verify "$DATA" 2M --rate_iops=40 --allow_file_create=0
	done
) >/run/work 2>&1 &
LOAD_PID=$!

# What the other one may: nothing, the second LUN, what all may.
cp /run/terrace.conf /run/terrace.conf.all
cat >/run/access <<'END'
case $1 in
none) edit='s/group all { initiators [^;]*;/group all { initiators !srp.abab*;/' ;;
other) edit='s/^\tgroup all/\tgroup few { initiators srp.abab*; lun 0 fast }\n&/' ;;
all) edit= ;;
esac
sed "$edit" /run/terrace.conf.all >/run/terrace.conf.new
mv /run/terrace.conf.new /run/terrace.conf
"$TERRACECTL" --control /run/control.sock reload --yes >/run/access.out 2>&1 || [ $? = 3 ] || { cat /run/access.out; exit 1; }
END

# send WHAT [ARGUMENT]
send() { ASAN_OPTIONS=detect_leaks=0 "$raw" $ADDR $PORT "${LINE%%,dest*}" "$@"; }

# part NAME SECONDS [ARGUMENT...]
part() {
	[[ $parts == *" $1 "* ]] || return 0
	step "hostile: $1" "$2"
	send "$1" "${@:3}"
	kill -0 $TERRACED_PID
	kill -0 $LOAD_PID || fail "the other initiator met an error: $(cat /run/work)"
}
part logins 120
part access 60 "bash /run/access"
part units 240
part peers 240

step "the other initiator met no error" 60
touch /run/enough
load_ends "hostile initiators"
wait_for 30 at_rest

# Of the process: descriptors, and memory that it has now, in KiB.
descriptors() { find "/proc/$TERRACED_PID/fd" -mindepth 1 | wc -l; }
memory() { sed -n 's/^VmRSS:[[:space:]]*\([0-9]*\) kB$/\1/p' "/proc/$TERRACED_PID/status"; }
# A sanitizer keeps what was freed for a while, and looks for leaks itself.
sanitized() { grep -qaE '__(asan|tsan)_init' "$TERRACED"; }
only_us() { [ "$(sessions)" = 1 ]; }
as_before() { [ "$(descriptors)" -le "$fds" ]; }
wait_for 120 only_us
if [[ $parts == *" loop "* ]]; then
	step "many logins leave nothing" $((60 + logins * 2))
	send loop 20 # what is allocated once
	wait_for 30 only_us
	nap 1
	fds=$(descriptors) kib=$(memory)
	send loop "$logins"
	wait_for 30 only_us
	wait_for 30 as_before
	sanitized || [ "$(memory)" -le $((kib + 4096)) ] || fail "memory grew from $kib KiB to $(memory) KiB"
fi
srp_end
