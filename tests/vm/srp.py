#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
Linux's own SRP initiator, in a VM, over soft-RoCE, against a terraced in the same VM: one group of
checks, by the name of its script srp_GROUP.sh. Usage: srp.py GROUP [ARGUMENT...]
"""

import os
import sys

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "lib"))
from vm import HERE as VM_FOLDER, Vm, run_vms  # noqa: E402
from terraced import Folder, run  # noqa: E402


def image(folder, name, mib):
    path = folder(name)
    with open(path, "wb") as f:
        f.truncate(mib << 20)
    return path


def main():
    folder = Folder()
    group, *arguments = sys.argv[1:]
    disks = [image(folder, "a.img", 64), image(folder, "b.img", 64)]
    # A sanitized terraced takes more memory.
    memory_mib = int(os.environ.get("VM_MEMORY_MIB", "1280"))
    more = {k: os.environ[k] for k in ("TSAN_OPTIONS", "ASAN_OPTIONS") if k in os.environ}
    run_vms(Vm("bash", os.path.join(VM_FOLDER, f"srp_{group}.sh"), *arguments,
               memory_mib=memory_mib, seconds=900, disks=disks, env=more))


run(main)
