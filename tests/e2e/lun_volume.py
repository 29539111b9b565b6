#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
terracectl lun create --vg, lun resize, lun delete --with-volume: which of LVM's programs are called, with
what, in which order with the daemon's methods, and what is left when one of them fails. LVM's programs and
the daemon are stand-ins that write down what they are asked; real ones are in tests/vm. Arguments: names of
cases.
"""

import json
import os
import sys

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "lib"))
from terraced import Folder, check, run, run_each, same  # noqa: E402
from terracectl import DONE, FAILED, REFUSED, UNREACHABLE, USAGE, FakeDaemon, Terminal, Tool  # noqa: E402

GIB = 1 << 30
APPLIED = {"applied": True, "changes": [], "sessions": [], "remarks": [], "restart": []}
STORES = [{"kind": "lun", "name": "vm", "key": "store", "value": "lvm:raid10/vm"},
          {"kind": "lun", "name": "img", "key": "store", "value": "file:/srv/img"},
          {"kind": "lun", "name": "odd", "key": "store", "value": "lvm:raid10/-y"}]
Error = FakeDaemon.Error


class Box:
    """One journal for all that happens, in its order."""

    def __init__(self, size=10 * GIB, fails=(), opened="", **answers):
        self.folder = Folder()
        self.journal = self.folder("journal")
        open(self.journal, "w").close()
        os.mkdir(self.folder("bin"))
        for name in ("lvcreate", "lvextend", "lvremove", "lvs"):
            says = f"  {size}" if name == "lvs" else f"{name} talks"
            self.folder.write(f"bin/{name}", "#!/bin/sh\n"
                              f'echo "{name} $*" >>{self.journal}\n'
                              f'[ "$*" = "${{*%lv_device_open*}}" ] && echo "{says}" || echo "{opened}"\n'
                              f'echo "{name} complains" >&2\nexit {5 if name in fails else 0}\n', 0o755)
        self.daemon = FakeDaemon({
            "config.effective": STORES, "lun.create": self.noted("lun.create", answers.get("create", APPLIED)),
            "lun.resize": self.noted("lun.resize", APPLIED),
            "lun.delete": self.noted("lun.delete", answers.get("delete", APPLIED))})
        self.tool = Tool(self.daemon.path, {"PATH": f"{self.folder('bin')}:{os.environ['PATH']}"})

    def noted(self, method, answer):
        def call(params):
            with open(self.journal, "a") as f:
                f.write(f"{method} {json.dumps(params, sort_keys=True)}\n")
            return answer(params) if callable(answer) else answer
        return call

    def did(self):
        with open(self.journal) as f:
            found = f.read().splitlines()
        open(self.journal, "w").close()
        return found

    def lun(self, *words, **more):
        return self.tool("lun", *words, **more)


def case_create():
    box = Box()
    box.lun("create", "new", "--vg", "raid10", "--size", "2TiB", "--to", "iqn.x:*", says="Runs: lvcreate")
    trial, made, asked = box.did()
    same(json.loads(trial.split(" ", 1)[1]), {"name": "new", "size": "2TiB", "to": "iqn.x:*", "store": "null:",
                                              "dry_run": True}, "the daemon is asked first whether it would")
    same(made, f"lvcreate --yes --wipesignatures y --name new --size {2 << 40}b raid10", "then it is made")
    same(json.loads(asked.split(" ", 1)[1]), {"name": "new", "to": "iqn.x:*", "store": "lvm:raid10/new"},
         "then it is served, with the size that it has")
    answer = box.lun("create", "new", "--vg", "raid10", "--size", "1GiB", "--json").json()
    same(answer["result"], APPLIED, "what LVM says isn't in the JSON")
    box.did()
    box.lun("create", "new", "--vg", "raid10", "--size", "1GiB", "--dry-run", says="Would run: lvcreate")
    same([line.split()[0] for line in box.did()], ["lun.create"], "a dry run makes no volume")


def case_create_fails():
    no = Error(-32000, "no")
    box = Box(create=no)
    box.lun("create", "new", "--vg", "raid10", "--size", "1GiB", status=FAILED, says="no")
    same([line.split()[0] for line in box.did()], ["lun.create"], "no volume where the daemon wouldn't")
    box = Box(fails=["lvcreate"])
    box.lun("create", "new", "--vg", "raid10", "--size", "1GiB", status=FAILED,
            says=["lvcreate complains", "lvcreate failed, so nothing was made"])
    same([line.split()[0] for line in box.did()], ["lun.create", "lvcreate"], "nothing is served without one")
    box = Box(create=lambda p: APPLIED if p.get("dry_run") else no)
    box.lun("create", "new", "--vg", "raid10", "--size", "1GiB", status=FAILED)
    same(box.did()[-1], "lvremove --yes raid10/new", "the volume goes again")
    box = Box(create=lambda p: APPLIED if p.get("dry_run") else b"")
    box.lun("create", "new", "--vg", "raid10", "--size", "1GiB", status=UNREACHABLE, says="raid10/new stays")
    check("lvremove" not in " ".join(box.did()), "a volume that may be served is removed")
    box = Box()
    for words, says in ((["new"], "--vg GROUP"), (["new", "--vg", "g"], "--vg needs --size"),
                        (["new", "--vg", "g", "--store", "ram:", "--size", "1GiB"], "exclude each other"),
                        (["a:b", "--vg", "g", "--size", "1GiB"], "can't be the name of a volume"),
                        (["new", "--vg", "-y", "--size", "1GiB"], "no name of a volume group"),
                        (["new", "--vg", "g/../x", "--size", "1GiB"], "no name of a volume group"),
                        (["new", "--vg", "g", "--size", "much"], "512MiB")):
        box.lun("create", *words, status=USAGE, says=says)
    same(box.did(), [], "wrong words do nothing")


def case_resize():
    box = Box(size=10 * GIB)
    box.lun("resize", "vm", "20GiB", says=["Runs: lvextend", "iscsiadm", "esxcli", "Update-HostStorageCache"])
    same([line for line in box.did() if "lvs" not in line],
         [f"lvextend --size {20 * GIB}b raid10/vm", 'lun.resize {"name": "vm"}'], "the volume, then the LUN")
    box.lun("resize", "vm", "10GiB")
    same([line for line in box.did() if "lvs" not in line], ['lun.resize {"name": "vm"}'],
         "it had grown already: only the LUN")
    box.lun("resize", "vm", "5GiB", status=FAILED, says="never shrinks")
    box.lun("resize", "vm", "20GiB", "--dry-run", says="Would run: lvextend")
    box.lun("resize", "vm", "20GiB", "--dry-run", "--json").json()
    check("lvextend" not in " ".join(box.did()), "a dry run grows it")
    box.lun("resize", "img", "20GiB")
    same(box.did(), ['lun.resize {"name": "img", "size": "20GiB"}'], "a file is the daemon's")
    box.lun("resize", "vm")
    same(box.did(), ['lun.resize {"name": "vm"}'], "without a size")
    box.lun("resize", "odd", "20GiB")
    same(box.did(), ['lun.resize {"name": "odd", "size": "20GiB"}'], "no word that is an option to LVM")
    box = Box(fails=["lvextend"])
    box.lun("resize", "vm", "20GiB", status=FAILED, says="nothing has grown")
    check("lun.resize" not in " ".join(box.did()), "the LUN doesn't grow without its volume")
    box = Box(fails=["lvs"])
    box.lun("resize", "vm", "20GiB", status=FAILED, says="are you root?")


def case_delete():
    box = Box()
    box.lun("delete", "vm")
    same(box.did(), ['lun.delete {"name": "vm"}'], "the volume stays")
    box.lun("delete", "vm", "--with-volume", status=REFUSED, says="raid10/vm")
    same(box.did(), [], "unless it is said")
    Terminal(box.tool, "lun", "delete", "vm", "--with-volume").expect("Remove volume raid10/vm").type("n\n").end(REFUSED)
    same(box.did(), [], "or a person says so")
    Terminal(box.tool, "lun", "delete", "vm", "--with-volume").expect("[y/N]").type("y\n").end(DONE)
    expected = ['lun.delete {"discard": true, "name": "vm"}', "lvremove --yes raid10/vm"]
    same([line for line in box.did() if "lvs" not in line], expected, "the LUN with its identity, then the volume")
    box.lun("delete", "vm", "--with-volume", "--yes")
    check(box.did()[-1] == expected[1], "--yes")
    box.lun("delete", "vm", "--with-volume", "--dry-run", says="Would run: lvremove")
    check("lvremove" not in " ".join(box.did()), "a dry run removes it")
    box.lun("delete", "img", "--with-volume", "--yes", status=FAILED, says="has no store lvm:")
    same(box.did(), [], "a file isn't a volume")
    box = Box(delete=Error(-32000, "no"))
    box.lun("delete", "vm", "--with-volume", "--yes", status=FAILED)
    check("lvremove" not in " ".join(box.did()), "the volume of a LUN that is still there is removed")
    box = Box(fails=["lvremove"])
    box.lun("delete", "vm", "--with-volume", "--yes", status=FAILED, says="the volume is still there")


if __name__ == "__main__":
    run(lambda: run_each(globals()))
