#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
Linux's own initiator, in a VM, against a terraced on this machine: discovery, logins, file systems,
resets, changes under it, the daemon killed under load, and what SCST's files become. With the argument
"short", for builds with sanitizers, only what exercises most of terraced; with "imported" only the last.
"""

import os
import signal
import sys
import time

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "lib"))
sys.path.insert(0, os.path.join(HERE, "../e2e"))
from vm import HERE as VM_FOLDER, Vm, run_vms  # noqa: E402
from change import Changes  # noqa: E402
from import_scst import GOLDEN, SERVED, ctl, here  # noqa: E402
from scstadmin import IQN, Box  # noqa: E402
from terracectl import DONE, REMARKS  # noqa: E402
from terraced import TARGET, Daemon, Folder, run  # noqa: E402

CONFIG = """
portal san { listen 127.0.0.1:{port} }
cache fast { ssd file:{dir}/fast.ssd; size 96MiB }
lun data { store file:{dir}/data.img; size 320MiB; cache fast }
target """ + TARGET + """ { portals san }
target """ + TARGET + """-chap {
	portals san
	chap both {
		user initiator-user
		secret initiator-secret
		mutual_user target-user
		mutual_secret target-secret-1
	}
	group chap { user both; initiators iqn.2026-11.example.vm:one; lun 3 data }
}
"""


class Verbs:
    """What the guest has done on the host."""

    def __init__(self, daemon):
        self.daemon, self.imported_daemon = daemon, None
        self.table = {"resize": self.resize, "add": self.add, "remove": self.remove,
                      "restart": self.restart, "pause": self.pause, "users": self.users,
                      "imported": self.imported, "guide": self.guide}

    def begin(self):
        """What commands made can be changed by commands."""
        with Changes(self.daemon) as c:
            c.done("group.create", name="open", target=TARGET,
                   initiators=["iqn.2026-11.example.vm:one"])
            c.done("group.map", group="open", lun="data", number=0)
        self.add("small", "64MiB", 1)

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

    def users(self):
        """CHAP users of the sessions."""
        with Changes(self.daemon) as c:
            return " ".join(s["user"] or "-" for s in c.call("session.list"))

    def restart(self):
        """kill -9, and some time later a new start."""
        self.daemon.kill()
        time.sleep(1)
        self.daemon.start()

    def pause(self, seconds):
        """It neither answers nor takes anything meanwhile."""
        self.daemon.process.send_signal(signal.SIGSTOP)
        time.sleep(float(seconds))
        self.daemon.process.send_signal(signal.SIGCONT)

    def imported(self, name):
        """Serves what a file of SCST's becomes: port, target, initiator and CHAP of it, then its LUNs."""
        self.end_imported()
        folder = Folder()
        self.imported_daemon = Daemon("--quiet", "--unsafe-fs", folder=folder,
                                      config=here(ctl(*GOLDEN[name][0]).stdout, folder)).start()
        target, initiator, chap, luns = next(row for row in SERVED[name] if row[3] is not None)
        lines = ["|".join([str(self.imported_daemon.port), target, initiator, *(chap or ("", ""))])]
        for number, (vendor, product, serial, t10, writable) in (
                (n, lun or ("", "", None, "", True)) for n, lun in luns.items()):
            lines.append("|".join([str(number), vendor, product, serial or "", t10, str(int(not writable))]))
        return "\n".join(lines)

    def guide(self):
        """A terraced that has nothing, and what a classic guide for SCST has one type: port and target."""
        self.end_imported()
        box = Box()
        disk = box.disk("md0", 64)
        for words, status in (
                (["-clearConfig"], DONE),
                (["-adddev", "vdisk01", "-path", disk, "-handler", "vdisk", "-options", "BLOCKIO"], REMARKS),
                (["-add_target", IQN, "-driver", "iscsi"], DONE),
                (["-assigndev", "vdisk01", "-group", "Default", "-lun", "0"], REMARKS),
                (["-WriteConfig", "/etc/scst.conf"], DONE)):
            box(*words, status=status)
        self.imported_daemon = box.daemon
        return f"{box.daemon.port} {IQN}"

    def end_imported(self):
        daemon, self.imported_daemon = self.imported_daemon, None
        if daemon is not None:
            daemon.stop()


def main():
    short = sys.argv[1:] == ["short"]
    script = "imported.sh" if sys.argv[1:] == ["imported"] else "iscsi.sh"
    daemon = Daemon(config=CONFIG)
    daemon.start()
    verbs = Verbs(daemon)
    verbs.begin()
    vm = Vm("bash", os.path.join(VM_FOLDER, script), daemon.port, TARGET,
            *(["short"] if short else []), verbs=verbs.table, seconds=600)
    run_vms(vm)
    verbs.end_imported()
    daemon.stop()


run(main)
