#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
Stores that only a kernel has, in the VM together with terraced and the initiator: a logical volume that
grows, a RAID whose stripes are told to initiators, and device mapper's faults under a store and under
the SSD of a cache. Usage: stores.py [dirty]: dirty: faults under what only the SSD has.
"""

import os
import sys

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "lib"))
from vm import HERE as VM_FOLDER, Vm, run_vms  # noqa: E402
from terracectl import TOOL  # noqa: E402
from terraced import PROGRAM, run  # noqa: E402


def main():
    script = "stores_dirty.sh" if sys.argv[1:] == ["dirty"] else "stores.sh"
    run_vms(Vm("bash", os.path.join(VM_FOLDER, script), memory_mib=1536, seconds=850,
               env={"TERRACED": PROGRAM, "TERRACECTL": TOOL}))


run(main)
