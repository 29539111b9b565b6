#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# In the VM; see srp.py. Usage: srp.sh RAW
. "$VM_LIB/guest.sh"
raw=$1
ADDR=192.168.77.1 PORT=5000
NAME=iqn.2026-11.example.vm:srp
CTL=(terracectl --control /run/control.sock)
terracectl() { "$TERRACECTL" "$@"; }

# ---- the target, in this machine too

serve() {
	"$TERRACED" --config /run/terrace.conf --state-dir /run/state --control /run/control.sock \
		--nbd off --unsafe-fs --buffers 64MiB --quiet "$@" >>/run/terraced.log 2>&1 &
	TERRACED_PID=$!
	wait_for 20 listening
}
listening() { "${CTL[@]}" portal list --json 2>/dev/null | grep -A1 '"waiting"' | grep -q '\[\]'; }
said() { grep -q -- "$1" /run/terraced.log; }
# session FIELD: of the first one.
session() { "${CTL[@]}" session list --json | sed -n "s/^ *\"$1\": \"\\?\\([^\",]*\\)\"\\?,\\?\$/\\1/p" | head -n 1; }
sessions() { "${CTL[@]}" session list --json | grep -c '"tsih"' || :; }
no_session() { [ "$(sessions)" = 0 ]; }

step "soft-RoCE" 40
# ib_uverbs first: what came last is told first that a device goes, and only rdma_cm tells a process.
modprobe -a rdma_rxe ib_uverbs rdma_cm rdma_ucm ib_srp dummy sd_mod sg
ip link add dummy0 type dummy
ip addr add $ADDR/24 dev dummy0
ip link set dummy0 up mtu 4200
ip -6 addr add fd00::77/64 dev dummy0 nodad
rdma link add rxe0 type rxe netdev dummy0
ulimit -l unlimited

step "terraced" 40
mkdir -p /run/state
cat >/run/terrace.conf <<END
portal rdma { listen $ADDR:$PORT [fd00::77]:$PORT; protocol srp }
lun data { store block:/dev/vda }
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
line=$("${CTL[@]}" srp login-strings $NAME --json | sed -n "s/.*\"line\": \"\\(.*dest=$ADDR.*\\)\".*/\\1/p")
expect_match "login string" "$line" "^id_ext=0102030405060708,ioc_guid=[0-9a-f]{16},dest=$ADDR:$PORT\$"
closed=$("${CTL[@]}" srp login-strings $NAME-closed --json | sed -n "s/.*\"line\": \"\\(.*dest=$ADDR.*\\)\".*/\\1/p")

# ---- the initiator

# reload_srp [PARAMETER...]: ib_srp with these.
reload_srp() {
	modprobe -r ib_srp
	modprobe ib_srp reconnect_delay=2 fast_io_fail_tmo=off dev_loss_tmo=120 "$@"
}
# login [OPTION...]: HOST is its SCSI host, DATA and FAST its disks.
login() {
	local options=$line
	[ $# = 0 ] || options=$line,$(IFS=,; echo "$*")
	echo "$options" >/sys/class/infiniband_srp/srp-rxe0-1/add_target
	wait_for 20 logged_in
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
	wait_for 20 no_session
	wait_for 20 no_host
}
no_host() { [ -z "$(ls /sys/class/srp_remote_ports)" ]; }
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
# at_rest: every credit is back at the initiator.
at_rest() { [ "$(cat "$HOST/req_lim")" = "$REQ_LIM" ]; }

step "login, inquiry, sizes" 40
login
expect "sessions" "$(sessions)" 1
expect "protocol" "$(session protocol)" srp
expect "channels" "$(session channels)" 2
expect "size of LUN 0" "$(size_of "$DATA")" "$(size_of /dev/vda)"
REQ_LIM=$(cat "$HOST/req_lim")
expect "first credit" "$REQ_LIM" 128
sg_inq "$DATA" | grep -q TERRACE
sg_vpd -p di "$DATA" >/dev/null
same "$DATA" 8

step "refused logins, with reasons" 20
echo "$closed" >/sys/class/infiniband_srp/srp-rxe0-1/add_target 2>/dev/null && fail "it was admitted"
said "in no group of the target"
echo "${line/0102030405060708/0102030405060709}" >/sys/class/infiniband_srp/srp-rxe0-1/add_target 2>/dev/null &&
	fail "it was admitted"
said "no target has these identifiers"
dmesg | grep -q "SRP LOGIN REJECTED, reason 0x00010003"

step "RAM hits without a copy" 40
head -c 16M /dev/urandom >/run/random
dd if=/run/random of="$FAST" bs=1M oflag=direct status=none
for i in 1 2 3; do
	dd if="$FAST" of=/run/back bs=128k count=128 iflag=direct status=none
	cmp /run/random /run/back
done
expect "copied bytes" "$(session copied_bytes)" 0
expect_match "RAM tier" "$("${CTL[@]}" --json status)" '"hits": [1-9]|"ram'

step "ext4" 60
on_fs "$DATA" ext4
step "fio" 60
fio_verify "$DATA" 16M --time_based=0
wait_for 10 at_rest

# ---- ib_srp's variants

step "logout" 20
logout
said "logout initiator=srp.*reason=\"the initiator disconnected\""
variant() {
	local what=$1 parameters=$2
	shift 2
	step "$what" 40
	# shellcheck disable=SC2086
	reload_srp $parameters
	login "$@"
	same "$DATA" 4
	REQ_LIM=$(cat "$HOST/req_lim")
	wait_for 10 at_rest
	logout
}
variant "one channel" "" ch_count=1
variant "four channels" "" ch_count=4
variant "no immediate data" "use_imm_data=N"
variant "register_always=N" "register_always=N"
variant "never_register=Y" "never_register=Y"
variant "external tables" "never_register=Y cmd_sg_entries=4 indirect_sg_entries=256 allow_ext_sg=1" \
	allow_ext_sg=1 sg_tablesize=256
variant "long tables" "never_register=Y" cmd_sg_entries=255 allow_ext_sg=1 sg_tablesize=2048 max_sect=8192
variant "short units" "" max_it_iu_size=512
variant "queue of one" "" queue_size=1
variant "queue of 32, 4 MiB" "" queue_size=32 cmd_sg_entries=255 max_sect=8192
variant "queue of 1024" "" queue_size=1024

step "IPv6" 40
reload_srp
line4=$line
line=${line/$ADDR:/[fd00::77]:}
login
same "$DATA" 4
expect_match "address" "$(session address)" '^\[fd00::77\]:'
logout
line=$line4

step "logins and logouts under load" 60
reload_srp
for i in 1 2 3; do
	login
	fio --name=load --allow_file_create=0 --filename="$DATA" --size=32M --rw=randrw --bs=16k --direct=1 --ioengine=libaio --iodepth=8 \
		--runtime=20 --time_based --output=/run/load.log 2>/run/load.err &
	load=$!
	nap 1
	logout
	wait $load || :
done

# ---- task management

step "LUN and device reset under load" 60
reload_srp
login
REQ_LIM=$(cat "$HOST/req_lim")
fio_verify "$DATA" 8M --number_ios=100000 --rate_iops=300 --runtime=600 >/run/work 2>&1 &
work=$!
for i in 1 2; do
	sg_reset -d "$DATA"
	nap 1
done
wait $work || {
	cat /run/work
	fail "fio met an error during resets"
}
wait_for 10 at_rest

step "abort, and its credit" 90
# The target stops answering for longer than the initiator waits; what it aborts is gone then.
echo 2 >"/sys/block/${DATA#/dev/}/device/timeout"
host_state() { cat "$HOST/device/scsi_host/"*/state 2>/dev/null || cat "$HOST/state"; }
kill -STOP $TERRACED_PID
dd if="$DATA" of=/dev/null bs=4k count=1 skip=77 iflag=direct status=none &
reader=$!
nap 4
kill -CONT $TERRACED_PID
wait $reader || :
same "$DATA" 4
wait_for 30 at_rest

# ---- losses

step "kill -9 and a new start" 120
echo 30 >"/sys/block/${DATA#/dev/}/device/timeout"
fio_verify "$DATA" 16M --number_ios=100000 --rate_iops=400 --runtime=600 >/run/work 2>&1 &
work=$!
nap 2
kill -9 $TERRACED_PID
wait $TERRACED_PID 2>/dev/null || :
nap 2
serve
wait $work || {
	cat /run/work
	dmesg | tail -n 20
	fail "fio met an error after kill -9"
}
wait_for 30 at_rest

# soft-RoCE may lose the queue for good: then commands have to time out and aborts to fail, one by one.
step "link down and up" 300
echo 10 >"/sys/block/${DATA#/dev/}/device/timeout"
fio_verify "$DATA" 8M --number_ios=100000 --rate_iops=400 --runtime=600 --iodepth=2 >/run/work 2>&1 &
work=$!
nap 1
ip link set dummy0 down
nap 3
ip link set dummy0 up
ip -6 addr add fd00::77/64 dev dummy0 nodad 2>/dev/null || :
wait $work || {
	cat /run/work
	dmesg | tail -n 20
	fail "fio met an error when the link went"
}
same "$DATA" 4

# rxe of Linux 6.1 waits until every process has closed the device, which librdmacm does at its end only.
step "the device goes and returns" 90
logout
login
rdma link delete rxe0 &
gone=$!
wait_for 30 no_session
kill $TERRACED_PID
wait $TERRACED_PID
wait $gone
"$TERRACED" --config /run/terrace.conf --state-dir /run/state --control /run/control.sock \
	--nbd off --unsafe-fs --buffers 64MiB --quiet >>/run/terraced.log 2>&1 &
TERRACED_PID=$!
wait_for 20 said "no RDMA device has this address: waiting for one"
rdma link add rxe0 type rxe netdev dummy0
wait_for 20 listening
HOST=
login
same "$DATA" 4

# ---- an initiator that sends what it likes

if [ -n "$raw" ]; then
	step "hostile initiator" 120
	"$raw" $ADDR $PORT "${line%%,dest*}"
	same "$DATA" 4
	expect "the process" "$(kill -0 $TERRACED_PID && echo there)" there
fi

step "end" 30
logout
kill $TERRACED_PID
wait $TERRACED_PID
expect "status" $? 0
said "ended"
step_end
