#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
The packages under systemd, in a machine of their own with a fresh Debian: start at boot, readiness, watchdog,
sandbox, stop with data that stores lack, upgrade, removal. As root. PACKAGES is the folder with them
(build/package).
"""

import atexit
import os
import shutil
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "lib"), os.path.join(HERE, "../package")]
from rootfs import packages, rootfs  # noqa: E402
from vm import HERE as VM_FOLDER, Vm, run_vms  # noqa: E402
from terraced import run  # noqa: E402

MIB = 1 << 20


def upgraded(deb, folder):
    """The same package with a later version."""
    tree, new = os.path.join(folder, "tree"), os.path.join(folder, "terrace-next.deb")
    subprocess.run(["dpkg-deb", "-R", deb, tree], check=True)
    control = os.path.join(tree, "DEBIAN/control")
    with open(control, encoding="utf-8") as f:
        lines = [x + "+next" if x.startswith("Version: ") else x for x in f.read().split("\n")]
    with open(control, "w", encoding="utf-8") as f:
        f.write("\n".join(lines))
    subprocess.run(["dpkg-deb", "--root-owner-group", "-b", tree, new], check=True, capture_output=True)
    shutil.rmtree(tree)
    return new


def install(tree, debs):
    """Before the machine boots: then the service starts with it."""
    for deb in debs.values():
        shutil.copy(deb, tree)
    subprocess.run(["mount", "--bind", "/dev", tree + "/dev"], check=True)
    subprocess.run(["mount", "-t", "proc", "proc", tree + "/proc"], check=True)
    try:
        subprocess.run(["chroot", tree, "dpkg", "-i", *("/" + os.path.basename(d) for d in debs.values())], check=True,
                       capture_output=True, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"})
    finally:
        subprocess.run(["umount", tree + "/proc", tree + "/dev"], check=True)


def main():
    tree, debs = rootfs(), packages()
    folder = tempfile.mkdtemp(prefix="terrace-service.", dir="/var/tmp")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.chmod(folder, 0o755)
    system = os.path.join(folder, "root")
    subprocess.run(["cp", "-a", tree, system], check=True)
    install(system, debs)
    shutil.copy(upgraded(debs["terrace"], folder), system)
    disks = []
    for name, size in (("block", 64), ("lvm", 128), ("files", 512)):
        disks.append(os.path.join(folder, name))
        with open(disks[-1], "wb") as f:
            f.truncate(size * MIB)
    run_vms(Vm("bash", "/host" + os.path.join(VM_FOLDER, "service.sh"), root=system, memory_mib=1536, seconds=900,
               disks=disks))


run(main)
