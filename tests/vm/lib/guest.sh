# SPDX-License-Identifier: BSD-2-Clause
# For scripts in the VM: source "$VM_LIB/guest.sh" first. Ends the script, naming the line, when a
# command fails.
# shellcheck shell=bash
set -Eeuo pipefail
trap 'echo "FAILED: ${BASH_SOURCE[0]##*/}:$LINENO: $BASH_COMMAND: status $?"; FAILURES=$((FAILURES + 1))' ERR
# With VM_GO_ON a script goes on after what failed, to see what else does, and fails at its end.
[ -z "${VM_GO_ON:-}" ] || set +e
FAILURES=0

mkfifo /run/vm-nothing 2>/dev/null || :
exec 8<>/run/vm-nothing

# nap SECONDS: sleeps without a process.
nap() { read -r -t "$1" -u 8 _ || :; }

# now: seconds since boot, in NOW.
now() { read -r NOW _ </proc/uptime; }

# step NAME SECONDS: what follows takes at most so long; four times what it takes on two CPUs that
# have nothing else to do. Prints what the step before took.
STEP=
step() {
	step_end
	now
	STEP=$1 STEP_BEGAN=$NOW STEP_MOST=$2
	echo "$((${NOW%.*} + $2 * VM_SLOW + 1)) $1" >/run/vm-deadline
}

step_end() {
	[ -n "$STEP" ] || return 0
	now
	printf '%-44s %6.1f s of %s\n' "$STEP" "$(bc <<<"$NOW - $STEP_BEGAN")" "$STEP_MOST"
	STEP=
	echo >/run/vm-deadline
}
at_exit() {
	local status=$?
	step_end
	[ "$FAILURES" = 0 ] || [ "$status" != 0 ] || exit 1
}
trap at_exit EXIT

fail() {
	local i=1
	while [[ ${BASH_SOURCE[i]:-} == "$VM_LIB/guest.sh" ]]; do i=$((i + 1)); done
	echo "FAILED: ${BASH_SOURCE[i]##*/}:${BASH_LINENO[i - 1]}: $*"
	FAILURES=$((FAILURES + 1))
	[ -n "${VM_GO_ON:-}" ] || exit 1
}

# expect WHAT GOT EXPECTED
expect() { [ "$2" = "$3" ] || fail "$1: expected '$3', got '$2'"; }

# expect_match WHAT TEXT PATTERN (extended)
expect_match() { grep -Eq -- "$3" <<<"$2" || fail "$1: nothing like '$3' in: $2"; }

# expect_status STATUS COMMAND...: it ends so; its output is in OUT.
expect_status() {
	local wanted=$1 got=0
	shift
	OUT=$("$@" 2>&1) || got=$?
	[ "$got" = "$wanted" ] || fail "$*: expected status $wanted, got $got: $OUT"
}

# wait_for SECONDS COMMAND...: until it succeeds.
wait_for() {
	local until
	now
	until=$((${NOW%.*} + $1 * VM_SLOW + 1))
	shift
	until "$@"; do
		now
		if [ "${NOW%.*}" -ge "$until" ]; then
			fail "not in time: $*"
			return 1
		fi
		nap 0.1
	done
}

# host VERB [ARGUMENT...]: asks the test on the host; prints its answer, has its status.
host() {
	local lock status text
	exec {lock}>/run/vm-host-lock
	flock "$lock"
	printf '%s\n' "$@" >/ctl/ask.new
	mv /ctl/ask.new /ctl/ask
	until [ -e /ctl/answer ]; do nap 0.05; done
	{
		read -r status
		text=$(cat)
	} </ctl/answer
	rm /ctl/answer
	exec {lock}>&-
	[ -z "$text" ] || echo "$text"
	return "$status"
}

# Other machines of the test have come here too.
barrier() { wait_for 240 barrier_reached "$1"; }
barrier_reached() { host barrier "$VM_NAME" "$1" >/dev/null; }

# ---- iSCSI with the kernel's initiator

# iscsi_settings [LINE...]: of the sessions to come.
iscsi_settings() {
	{
		echo "node.startup = manual"
		echo "node.session.initial_login_retry_max = 1"
		echo "node.conn[0].timeo.login_timeout = 60"
		echo "node.conn[0].timeo.noop_out_interval = 20"
		echo "node.conn[0].timeo.noop_out_timeout = 60"
		echo "node.session.timeo.replacement_timeout = 240"
		echo "node.session.scan = auto"
		[ $# = 0 ] || printf '%s\n' "$@"
	} >/etc/iscsi/iscsid.conf
}

# iscsi_start NAME [LINE...]: iscsid under this name, with iscsi_settings.
iscsi_start() {
	modprobe -a iscsi_tcp sd_mod sg
	mkdir -p /run/lock/iscsi /etc/iscsi
	rm -rf /etc/iscsi/nodes /etc/iscsi/send_targets
	echo "InitiatorName=$1" >/etc/iscsi/initiatorname.iscsi
	iscsi_settings "${@:2}"
	# Of its own process group: it signals that when it ends.
	setsid iscsid -f >/run/iscsid.log 2>&1 &
	wait_for 10 iscsi_ready
}
iscsi_ready() { grep -q ISCSIADM_ABSTRACT_NAMESPACE /proc/net/unix; }

iscsi_logout() { iscsiadm -m node -u >/dev/null; }

iscsi_stop() {
	iscsi_logout
	iscsiadm -k 0
}

# iscsi_login TARGET PORTAL: by a record made here, since the address that the target tells is one of
# the host's.
iscsi_login() {
	iscsiadm -m node -o new -T "$1" -p "$2" >/dev/null
	iscsiadm -m node -T "$1" -p "$2" --login >/dev/null
}

# disks LUN: names of the disks with this number, of all sessions.
disks() {
	local found=(/sys/class/iscsi_session/session*/device/target*/*:*:*:"$1"/block/*)
	[ -e "${found[0]}" ] || return 1
	printf '%s\n' "${found[@]##*/}"
}

# disk LUN: waits for the first of them; /dev/NAME in DISK.
disk() {
	wait_for 10 disk_there "$1"
	DISK=/dev/$(disks "$1" | head -n 1)
}
disk_there() {
	local name
	name=$(disks "$1") && [ -b "/dev/${name%%$'\n'*}" ]
}

# size_of DISK in bytes
size_of() { blockdev --getsize64 "$1"; }

# lvm_start: without udev LVM makes its nodes itself.
lvm_start() {
	mkdir -p /etc/lvm /run/lvm
	cat >/etc/lvm/lvmlocal.conf <<'END'
activation {
	udev_sync = 0
	udev_rules = 0
	verify_udev_operations = 0
}
devices {
	obtain_device_list_from_udev = 0
	external_device_info_source = "none"
}
END
	export LVM_SUPPRESS_FD_WARNINGS=1
}

# ---- contents

# fio_verify FILE SIZE [OPTION...]: writes in random order, reads it back, compares.
fio_verify() {
	local file=$1 size=$2
	shift 2
	fio --name=verify --filename="$file" --size="$size" --rw=randwrite --bs=4k-64k --direct=1 \
		--ioengine=libaio --iodepth=16 --verify=crc32c --do_verify=1 --verify_fatal=1 \
		--randrepeat=0 --output=/run/fio.log "$@" || {
		cat /run/fio.log
		fail "fio $file"
	}
}

# fill FOLDER: some files, small and large, with their sums.
fill() {
	local i
	cp -r /usr/share/common-licenses "$1/"
	head -c 8M /dev/urandom >"$1/random"
	for i in {1..40}; do echo "file $i" >"$1/small$i"; done
	(cd "$1" && find . -type f ! -name sums -exec md5sum {} + >/run/sums && mv /run/sums sums)
	sync -f "$1"
}

# filled FOLDER: they are as they were.
filled() { (cd "$1" && md5sum --quiet -c sums); }

# on_fs DISK TYPE: made, filled, checked, mounted again, still so; stays unmounted.
on_fs() {
	mkdir -p /mnt/fs
	case $2 in
	ext4) mkfs.ext4 -q -F -J size=4 "$1" ;;
	xfs) mkfs.xfs -q -f "$1" ;;
	esac
	mount -t "$2" "$1" /mnt/fs
	fill /mnt/fs
	umount /mnt/fs
	check_fs "$1" "$2"
	mount -t "$2" "$1" /mnt/fs
	filled /mnt/fs
	umount /mnt/fs
}

# check_fs DISK TYPE: its own checker finds nothing.
check_fs() {
	case $2 in
	ext4) e2fsck -fn "$1" >/run/fsck 2>&1 ;;
	xfs) xfs_repair -n "$1" >/run/fsck 2>&1 ;;
	esac || {
		cat /run/fsck
		fail "$1: $2 is damaged"
	}
}
