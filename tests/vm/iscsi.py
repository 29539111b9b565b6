#!/usr/bin/env python3
"""
Linux's own initiator, in a VM, against a terraced on this machine: discovery, logins, file systems,
resets, changes under it, and the daemon killed under load. With the argument "short", for builds with
sanitizers, only what exercises most of terraced.
"""

import os
import sys

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "lib"))
from vm import HERE as VM_FOLDER, Vm, run_vms  # noqa: E402
from change import Changes  # noqa: E402
from terraced import TARGET, Daemon, Folder, run  # noqa: E402

CHAP = ("initiator-user", "initiator-secret", "target-user", "target-secret-1")
CONFIG = """
portal san { listen 127.0.0.1:{port} }
lun data { store file:{dir}/data.img; size 320MiB }
lun small { store file:{dir}/small.img; size 64MiB }
target """ + TARGET + """ {
	portals san
	group open { initiators iqn.2026-11.example.vm:one; lun 0 data; lun 1 small }
	chap both {
		user initiator-user
		secret initiator-secret
		mutual_user target-user
		mutual_secret target-secret-1
	}
	group chap { user both; initiators iqn.2026-11.example.vm:chap; lun 3 data }
}
"""


class Verbs:
    """What the guest has done on the host."""

    def __init__(self, daemon):
        self.daemon = daemon
        self.table = {"resize": self.resize, "add": self.add, "remove": self.remove,
                      "restart": self.restart}

    def resize(self, lun, size):
        with Changes(self.daemon) as c:
            c.done("lun.resize", name=lun, size=size)

    def add(self, lun, size, number):
        store = f"file:{self.daemon.folder(lun)}.img"
        with Changes(self.daemon) as c:
            c.done("lun.create", name=lun, store=store, size=size, number=int(number),
                   group="open", target=TARGET)

    def remove(self, lun):
        with Changes(self.daemon) as c:
            c.done("lun.delete", name=lun, yes=True)

    def restart(self, *how):
        """kill -9 and a new start, which is asked for in words of its own: stop, start."""
        if "start" not in how:
            self.daemon.kill()
        if "stop" not in how:
            self.daemon.start()


def main():
    short = sys.argv[1:] == ["short"]
    daemon = Daemon(config=CONFIG)
    daemon.start()
    vm = Vm("bash", os.path.join(VM_FOLDER, "iscsi.sh"), daemon.port, TARGET,
            *(["short"] if short else []), verbs=Verbs(daemon).table, seconds=600)
    run_vms(vm)
    daemon.stop()


run(main)
