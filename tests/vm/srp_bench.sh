#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# In the VM; see bench/srp.py. Linux's ib_srp against terraced and against the kernel's own ib_srpt, in
# turns, both on a disk in memory. Usage: srp_bench.sh ROUNDS SECONDS WORKLOAD...
. "$VM_LIB/srp.sh"
rounds=$1 seconds=$2
shift 2

step "disks in memory" 60
modprobe brd rd_nr=2 rd_size=131072 max_part=0
for disk in /dev/ram0 /dev/ram1; do
	dd if=/dev/zero of=$disk bs=1M count=128 status=none # pages are there
done
srp_begin block:/dev/ram0

# The other target: /dev/ram1 as its only LUN, for whoever comes from our address.
lio_up() {
	local c=/sys/kernel/config/target guid tpg
	modprobe -a ib_srpt target_core_iblock
	guid=$(cat /sys/class/infiniband/rxe0/node_guid)
	mkdir -p $c/core/iblock_0/ram
	echo "udev_path=/dev/ram1" >$c/core/iblock_0/ram/control
	echo /dev/ram1 >$c/core/iblock_0/ram/udev_path
	echo 1 >$c/core/iblock_0/ram/enable
	tpg=$c/srpt/$guid/$guid
	mkdir -p "$tpg/lun/lun_0" "$tpg/acls/$ADDR/lun_0"
	ln -s $c/core/iblock_0/ram "$tpg/lun/lun_0/ram"
	ln -s "$tpg/lun/lun_0" "$tpg/acls/$ADDR/lun_0/ram"
	echo 5555 >$c/srpt/discovery_auth/rdma_cm_port
	echo 1 >"$tpg/enable"
	guid=${guid//:/}
	LIO_LINE="id_ext=$guid,ioc_guid=$guid,dest=$ADDR:5555"
}

step "terraced's disk" 30
reload_srp
login ch_count=2
OURS=$DATA

step "ib_srpt and its disk" 60
lio_up
add_target "$LIO_LINE,ch_count=2"
theirs() {
	local b
	for b in /sys/class/scsi_host/host*/device/target*/*:*:*:0/block/*; do
		[ "/dev/${b##*/}" = "$OURS" ] || THEIRS=/dev/${b##*/}
	done
	[ -b "${THEIRS:-}" ]
}
wait_for 30 theirs
for disk in "$OURS" "$THEIRS"; do
	expect "size of $disk" "$(size_of "$disk")" 134217728
done

# measure DISK WORKLOAD: prints bytes a second.
measure() {
	local options
	case $2 in
	read-1m) options="--rw=read --bs=1m --iodepth=4" ;;
	write-1m) options="--rw=write --bs=1m --iodepth=4" ;;
	read-64k) options="--rw=read --bs=64k --iodepth=1" ;;
	read-4k) options="--rw=randread --bs=4k --iodepth=32" ;;
	write-4k) options="--rw=randwrite --bs=4k --iodepth=32" ;;
	esac
	# shellcheck disable=SC2086
	fio --name=bench --filename="$1" --direct=1 --ioengine=libaio --norandommap --runtime="$seconds" --time_based \
		--ramp_time=0.3 --output-format=terse --terse-version=3 $options | awk -F';' '{ print ($7 + $48) * 1024 }'
}

step "measuring" $((rounds * seconds * $# * 8 + 60))
for round in $(seq "$rounds"); do
	for workload in "$@"; do
		# In turns, and in turns who is first.
		order=("ours $OURS" "theirs $THEIRS")
		[ $((round % 2)) = 1 ] || order=("theirs $THEIRS" "ours $OURS")
		for who in "${order[@]}"; do
			echo "RESULT $workload ${who% *} $(measure "${who#* }" "$workload")"
		done
	done
done
expect "copied bytes" "$(session copied_bytes)" 0

step "end" 60
logout
stop_terraced
step_end
