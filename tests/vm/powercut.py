#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
Power cuts at every flush. A terraced in the VM serves a LUN behind a cache in mode nv and one without a
cache, all of it on dm-log-writes: SSD, store, and the other store. The kernel's trace says in which
order the flushes and FUA writes of the three completed, and in between what the initiator had sent and
what had been answered. For each of those moments: the devices get what a drive has that loses all it
may, or none, or some of it; terraced starts on them; each block has to hold what was answered last or
was under way.

kill -9 alone can't show this: the kernel keeps what the dead process had written. There is one in the middle
of the load: what could be read after it has to be there after a power cut too.

Usage: powercut.py [SECONDS [POINTS [volatile]]]: of load, and moments to try (0: all). With "volatile"
both LUNs are in that mode: what was flushed, or written with FUA, has to be there.
"""

import os
import sys

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "lib"))
from vm import HERE as VM_FOLDER, Vm, run_vms  # noqa: E402
from terraced import run  # noqa: E402


def main():
    load = sys.argv[1] if len(sys.argv) > 1 else "4"
    points = sys.argv[2] if len(sys.argv) > 2 else "0"
    most = 120 + int(float(load)) * 10 + (int(points) or 5000) * 12
    run_vms(Vm("bash", os.path.join(VM_FOLDER, "powercut.sh"), load, points, *sys.argv[3:], memory_mib=1536,
               seconds=most, env={"SEED": os.environ.get("SEED", "")}))


run(main)
