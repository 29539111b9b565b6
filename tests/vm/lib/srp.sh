# SPDX-License-Identifier: BSD-2-Clause
# For the scripts of SRP: source "$VM_LIB/srp.sh" instead of guest.sh. Brings up soft-RoCE, a terraced
# in this machine, and has what logs in and out of it.
# shellcheck shell=bash
. "$VM_LIB/guest.sh"

ADDR=192.168.77.1 PORT=5000
NAME=iqn.2026-11.example.vm:srp
CTL=(terracectl --control /run/control.sock)
terracectl() { "$TERRACECTL" "$@"; }

# What failed is seldom seen in the script's own output.
srp_exit() {
	local status=$?
	trap - ERR
	set +e
	if [ "$status" != 0 ] || [ "$FAILURES" != 0 ]; then
		echo "---- end of terraced's log"
		tail -n 40 /run/terraced.log
	fi
	(exit "$status")
	at_exit
}
trap srp_exit EXIT

# ---- the target, in this machine too

start_terraced() {
	"$TERRACED" --config /run/terrace.conf --state-dir /run/state --control /run/control.sock \
		--nbd off --unsafe-fs --buffers 64MiB --quiet "$@" >>/run/terraced.log 2>&1 &
	TERRACED_PID=$!
}
serve() {
	start_terraced "$@"
	wait_for 30 listening
}
stop_terraced() {
	kill "$TERRACED_PID"
	wait "$TERRACED_PID"
	expect "status of terraced" $? 0
}
listening() { "${CTL[@]}" portal list --json 2>/dev/null | grep -A1 '"waiting"' | grep -q '\[\]'; }
said() { grep -q -- "$1" /run/terraced.log; }
# kernel_said TEXT: since kernel_silent.
kernel_said() { dmesg | grep -q -- "$1"; }
kernel_silent() { dmesg -C; }
# session FIELD: of the first one.
session() { "${CTL[@]}" session list --json | sed -n "s/^ *\"$1\": \"\\?\\([^\",]*\\)\"\\?,\\?\$/\\1/p" | head -n 1; }
sessions() { "${CTL[@]}" session list --json | grep -c '"tsih"' || :; }
no_session() { [ "$(sessions)" = 0 ]; }

# rdma_up: soft-RoCE on a network interface of its own.
rdma_up() {
	# ib_uverbs first: what came last is told first that a device goes, and only rdma_cm tells a process.
	modprobe -a rdma_rxe ib_uverbs rdma_cm rdma_ucm ib_srp dummy sd_mod sg
	ip link add dummy0 type dummy
	ip addr add $ADDR/24 dev dummy0
	ip link set dummy0 up mtu 4200
	ip -6 addr add fd00::77/64 dev dummy0 nodad
	rdma link add rxe0 type rxe netdev dummy0
	ulimit -l unlimited
}

# srp_target [STORE]: serves two LUNs, the first one STORE, and one in front of which is memory. LINE
# is what the initiator logs in by, CLOSED that of a target that admits nobody.
srp_target() {
	mkdir -p /run/state
	cat >/run/terrace.conf <<END
portal rdma { listen $ADDR:$PORT [fd00::77]:$PORT; protocol srp }
lun data { store ${1:-block:/dev/vda} }
lun fast { store block:/dev/vdb; cache ram }
cache ram { ram 64MiB }
target $NAME {
	portals rdma
	srp_id_ext 0102030405060708
	group all { initiators srp.*@$ADDR srp.*@fd00::/64; lun 0 data; lun 1 fast }
}
target $NAME-closed {
	portals rdma
	group one { initiators srp.ffff*; lun 0 data }
}
END
	serve
	LINE=$(login_string $NAME)
	expect_match "login string" "$LINE" "^id_ext=0102030405060708,ioc_guid=[0-9a-f]{16},dest=$ADDR:$PORT\$"
	CLOSED=$(login_string $NAME-closed)
}
login_string() { "${CTL[@]}" srp login-strings "$1" --json | sed -n "s/.*\"line\": \"\\(.*dest=$ADDR.*\\)\".*/\\1/p"; }

# srp_begin [STORE]
srp_begin() {
	step "soft-RoCE" 40
	rdma_up
	step "terraced" 40
	srp_target "$@"
}
srp_end() {
	step "end" 40
	logout
	stop_terraced
	said "ended"
	if grep -E 'Sanitizer|runtime error:|assertion' /run/terraced.log; then fail "a report in terraced's log"; fi
	step_end
}

# ---- the initiator

# reload_srp [PARAMETER...]: ib_srp with these.
reload_srp() {
	modprobe -r ib_srp
	modprobe ib_srp reconnect_delay=2 fast_io_fail_tmo=off dev_loss_tmo=120 "$@"
}
add_target() { echo "$1" >/sys/class/infiniband_srp/srp-rxe0-1/add_target; }
# login [OPTION...]: HOST is its SCSI host, DATA and FAST its disks, REQ_LIM its first credit.
login() {
	local options=$LINE
	[ $# = 0 ] || options=$LINE,$(IFS=,; echo "$*")
	HOST=
	wait_for 30 added "$options"
	wait_for 30 logged_in
	REQ_LIM=0 SAME=0
	wait_for 30 credit_known
}
# added OPTIONS: the initiator's list has the last login for a moment longer than there is a host of it.
added() {
	add_target "$1" 2>/run/refused && return
	grep -q "File exists" /run/refused || cat /run/refused >&2
	false
}
# credit_known: the disks are there before the kernel has looked at them, and its commands take credit: the most that
# was seen, when a second has brought no more.
credit_known() {
	local now
	now=$(cat "$HOST/req_lim")
	SAME=$((now > REQ_LIM ? 0 : SAME + 1))
	[ "$now" -le "$REQ_LIM" ] || REQ_LIM=$now
	[ $SAME -ge 10 ]
}
logged_in() {
	local h
	for h in /sys/class/scsi_host/host*; do
		[ -e "$h/ioc_guid" ] && HOST=$h
	done
	[ -n "${HOST:-}" ] && [ -e "$HOST" ] && DATA=$(disk_of 0) && FAST=$(disk_of 1)
}
disk_of() {
	local found=("$HOST"/device/target*/*:*:*:"$1"/block/*)
	[ -b "/dev/${found[0]##*/}" ] && echo "/dev/${found[0]##*/}"
}
logout() {
	local port
	for port in /sys/class/srp_remote_ports/*; do
		[ -e "$port" ] && echo 1 >"$port/delete"
	done
	HOST=
	wait_for 30 no_session
	wait_for 30 no_host
}
no_host() { [ -z "$(ls /sys/class/srp_remote_ports)" ]; }
# at_rest: every credit is back at the initiator.
at_rest() { [ "$(cat "$HOST/req_lim")" -ge "$REQ_LIM" ]; }
# timeout_of DISK SECONDS: of its commands.
timeout_of() { echo "$2" >"/sys/block/${1#/dev/}/device/timeout"; }

# same DISK MIB: random data written and read back, in blocks as large as the host takes.
same() {
	head -c "$2M" /dev/urandom >/run/random
	dd if=/run/random of="$1" bs=4M oflag=direct status=none
	dd if="$1" of=/run/back bs=4M count=$(($2 / 4)) iflag=direct status=none
	cmp /run/random /run/back
	dd if=/run/random of="$1" bs=4k count=64 oflag=direct status=none
	dd if="$1" of=/run/back bs=4k count=64 iflag=direct status=none
	cmp -n 262144 /run/random /run/back
}

# load DISK SIZE [OPTION...]: fio_verify in the background; load_ends waits for it, without an error.
load() {
	# It would make a file in place of a disk that is gone.
	fio_verify "$@" --number_ios=100000 --runtime=600 --allow_file_create=0 >/run/work 2>&1 &
	LOAD_PID=$!
}
load_ends() {
	wait $LOAD_PID && return
	cat /run/work
	dmesg | tail -n 30
	fail "fio met an error: $1"
}
