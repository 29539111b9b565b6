#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
What sg3_utils and dm-multipath in a VM make of a terraced on this machine, over two portals: every page
and command that the tools know, persistent reservations between two initiator ports, ALUA, and paths
that are lost under I/O.
"""

import os
import sys
import time

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "lib"))
from vm import HERE as VM_FOLDER, Vm, run_vms  # noqa: E402
from change import Changes  # noqa: E402
from terraced import TARGET, Daemon, free_ports, run  # noqa: E402

# The second path is a network card of its own; the host's 127.0.0.1 is 10.0.3.2 there.
SECOND_CARD = ("-netdev", "user,id=second,net=10.0.3.0/24",
               "-device", "virtio-net-pci,netdev=second,romfile=,mac=52:54:00:12:34:57")
CONFIG = """
cache fast { ssd file:{dir}/fast.ssd; size 64MiB }
lun one { store file:{dir}/one.img; size 64MiB }
lun two { store file:{dir}/two.img; size 64MiB; cache fast }
portal a { listen 127.0.0.1:{port} }
"""


class Paths:
    """What ends sessions."""

    def __init__(self, daemon, port):
        self.daemon = daemon
        self.table = {"restart": self.restart, "drop": self.drop}
        with Changes(daemon) as c:
            c.done("portal.create", name="b", listen=[f"127.0.0.1:{port}"])
            c.done("target.create", name=TARGET, portals=["a", "b"], open=True)
            c.done("group.map", group=TARGET, lun="one", number=0)
            c.done("group.map", group=TARGET, lun="two", number=1)

    def restart(self, seconds):
        """kill -9, and so many seconds later a new start."""
        self.daemon.kill()
        time.sleep(float(seconds))
        self.daemon.start()

    def drop(self):
        """The session that began last is asked to log out."""
        with Changes(self.daemon) as c:
            last = max(s["tsih"] for s in c.call("session.list"))
            c.done("session.drop", tsih=last, yes=True)


def main():
    first, second = free_ports(2)
    daemon = Daemon(config=CONFIG, port=first)
    daemon.start()
    paths = Paths(daemon, second)
    run_vms(Vm("bash", os.path.join(VM_FOLDER, "scsi.sh"), first, second, TARGET,
               verbs=paths.table, seconds=600, options=SECOND_CARD))
    daemon.stop()


run(main)
