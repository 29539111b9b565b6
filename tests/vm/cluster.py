#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
Two machines and one LUN of a terraced on this one: a node fences the other as fence_scsi does, while
that writes; then both mount an OCFS2 on it and write the same files.
"""

import os
import sys

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "lib"))
from vm import HERE as VM_FOLDER, Vm, run_vms  # noqa: E402
from terraced import TARGET, Daemon, Failed, Folder, free_ports, requires, run  # noqa: E402


class Meeting:
    """Places where both have to arrive."""

    def __init__(self):
        self.there = {}

    def barrier(self, node, name):
        self.there.setdefault(name, set()).add(node)
        if len(self.there[name]) < 2:
            raise Failed("the other isn't there")


def main():
    requires("mkfs.ocfs2", "o2cb")
    folder = Folder()
    daemon = Daemon("--lun", folder("shared.img") + ":512MiB", "--ssd", folder("fast.ssd") + ":128MiB",
                    folder=folder)
    daemon.start()
    verbs = {"barrier": Meeting().barrier}
    (port,) = free_ports()
    run_vms(*(Vm("bash", os.path.join(VM_FOLDER, "cluster.sh"), daemon.port, TARGET, verbs=verbs,
                 name=name, cpus=1, seconds=900, link=(how, port))
              for name, how in (("node1", "listen"), ("node2", "connect"))))
    daemon.stop()


run(main)
