# SPDX-License-Identifier: BSD-2-Clause
# For the scripts of stores: source "$VM_LIB/stores.sh" instead of guest.sh. A terraced in this machine, on
# devices whose tables change under it.
# shellcheck shell=bash
. "$VM_LIB/guest.sh"
MIB=1048576
target=iqn.2026-11.example.terrace:stores
T=/var/tmp/stores
mkdir -p $T
cd $T

# sectors MIB
sectors() { echo $(($1 * 2048)); }

# table NAME TABLE: of a device under use, from one moment to the next
table() {
	dmsetup suspend --noudevsync --nolockfs --noflush "$1"
	dmsetup load --noudevsync "$1" --table "$2"
	dmsetup resume --noudevsync "$1"
}

# serve: by terrace.conf of this folder. stop_server: as an administrator does.
serve() {
	"$TERRACED" --config $T/terrace.conf --state-dir $T/state >>$T/log 2>&1 &
	SERVER=$!
	wait_for 30 control status
}
control() { "$TERRACECTL" --control $T/state/control.sock "$@" >$T/control.out 2>&1; }

# condition CODE: there is one; condition_over CODE: there is none
condition() { control status && grep -q "$1" $T/control.out; }
condition_over() { control status && ! grep -q "$1" $T/control.out; }
stop_server() {
	kill -TERM "$SERVER"
	wait "$SERVER" || fail "terraced ended with $?"
	if grep -E 'AddressSanitizer|LeakSanitizer|runtime error:|assertion' $T/log; then fail "a report in terraced's log"; fi
}
