#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
terracectl scstadmin: the steps of a classic guide for SCST, order by order, up to an initiator with a file
system; the orders of today; what is asked, refused, and answered with a cure. Arguments: names of cases.
"""

import os
import shlex
import shutil
import subprocess
import sys

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "lib"))
from iscsi import GOOD, Refused, Session  # noqa: E402
from terraced import Daemon, Folder, Skipped, Failed, check, requires, run, run_each, same  # noqa: E402
from terracectl import DONE, FAILED, REFUSED, REMARKS, USAGE, Terminal, Tool  # noqa: E402

IQN = "iqn.2008-07.com.example:storage.disk1"
ESX, OTHER = "iqn.1998-01.com.vmware:esx1", "iqn.2026-11.example:other"
T = ["-driver", "iscsi", "-target", IQN]


class Box:
    """A terraced with a portal and nothing else, and scstadmin for it."""

    def __init__(self, config="portal san { listen 127.0.0.1:{port} }\n"):
        self.folder = Folder()
        self.daemon = Daemon("--quiet", "--unsafe-fs", folder=self.folder, config=config).start()
        self.tool = Tool(os.path.join(self.daemon.state, "control.sock"))

    def __call__(self, *words, **more):
        return self.tool("scstadmin", *words, **more)

    def disk(self, name, mib=16):
        path = self.folder(name)
        with open(path, "ab") as f:
            f.truncate(mib << 20)
        return path

    def again(self):
        """After a restart all is as the orders left it."""
        self.daemon.stop()
        self.daemon.start()

    def luns(self, name, chap=None):
        with Session(self.daemon.port, IQN, name=name, chap=chap) as s:
            found = sorted(s.report_luns())
            for number in found:
                s.ready(number)
            return found

    def refused(self, name, chap=None):
        try:
            Session(self.daemon.port, IQN, name=name, chap=chap).close()
        except Refused:
            return
        raise Failed(f"{name} is admitted")


def case_a_classic_guide_order_by_order():
    """From -clearConfig to a file system that an initiator made, and what it wrote."""
    requires("mke2fs", "e2fsck", "qemu-img", "iscsi-ls", "iscsi-inq", "iscsi-readcapacity16")
    box = Box()
    disk = box.disk("md0", 48)
    box("-clearConfig", says=["(nothing)", "Nobody is connected"])
    box("-adddev", "vdisk01", "-path", disk, "-handler", "vdisk", "-options", "BLOCKIO", status=REMARKS,
        says=["is a file", f"Here: terracectl lun create vdisk01 --store file:{disk}"])
    # The target was in iscsi-scstd.conf then.
    box("-assigndev", "vdisk01", "-group", "Default", "-lun", "0", status=REMARKS, says="-add_target")
    box("-add_target", IQN, "-driver", "iscsi", says=f"Here: terracectl target create {IQN} --portal san")
    box("-assigndev", "vdisk01", "-group", "Default", "-lun", "0", status=REMARKS,
        says=["whoever reaches a portal", f"Here: terracectl group map {IQN} vdisk01 --number 0"])
    box("-WriteConfig", "/etc/scst.conf", says="conf.d at once")
    box("-sessions", says="There are no sessions")
    box.again()

    portal = f"iscsi://127.0.0.1:{box.daemon.port}"
    url = f"{portal}/{IQN}/0"

    def client(*words):
        r = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False,
                           env={**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"})
        check(r.returncode == 0, f"{words}: {r.returncode} {r.stdout}{r.stderr}")
        return r.stdout

    check(IQN in client("iscsi-ls", "-s", portal), "iscsi-ls lists the target and its LUN")
    check("Vendor:TERRACE" in client("iscsi-inq", url), "iscsi-inq")
    check("Total size:50331648" in client("iscsi-readcapacity16", url), "iscsi-readcapacity16")
    if not os.path.exists("/usr/lib/x86_64-linux-gnu/qemu/block-iscsi.so") and \
            "iscsi" not in client("qemu-img", "--help"):
        raise Skipped("qemu's iSCSI driver is not installed")
    image, back = box.folder("image"), box.folder("back")
    os.mkdir(box.folder("files"))
    shutil.copy(os.path.abspath(__file__), box.folder("files/here.py"))
    client("mke2fs", "-q", "-t", "ext4", "-d", box.folder("files"), image, "48M")
    client("qemu-img", "convert", "-n", "-t", "none", "-f", "raw", "-O", "raw", image, url)
    client("qemu-img", "convert", "-f", "raw", "-O", "raw", url, back)
    client("e2fsck", "-fn", back)
    found = client("debugfs", "-R", "cat /here.py", back)
    same(found, open(os.path.abspath(__file__), encoding="utf-8").read(), "the file in the file system")
    same(open(disk, "rb").read(), open(image, "rb").read(), "what is on the store")

    # Live: another disk for some of them.
    second = box.disk("md1")
    box("-addgroup", "esx", says="'!*'")
    same(box.luns(ESX), [0], "a group that names nobody changes nothing")
    box("-adddev", "vdisk02", "-path", second, "-handler", "vdisk")
    box("-assigndev", "vdisk02", "-group", "esx", "-lun", "3", "-options", "READ_ONLY")
    box("-adduser", "iqn.1998-01.com.vmware:*", "-group", "esx")
    same((box.luns(ESX), box.luns(OTHER)), ([3], [0]), "LUNs of the group, of the others")
    with Session(box.daemon.port, IQN, name=ESX) as s:
        s.ready(3)
        check(s.write10(0, bytes(512), lun=3).status != GOOD, "READ_ONLY")
        box("-sessions", says=ESX)
        out = box("-clearConfig", status=REFUSED, says=["vdisk01", "vdisk02", "group esx", ESX, "-noprompt"]).out
        check(f"target {IQN}" not in out, "the target stays in the old words")
        same(sorted(s.report_luns()), [3], "nothing has changed")
    box("-ReleaseDev", "vdisk02", "-group", "esx", says="group unmap esx vdisk02")
    box("-RemoveUser", "iqn.1998-01.com.vmware:*", "-group", "esx", says="'!*'")
    same(box.luns(ESX), [0], "back with the others")
    box("-ClearConfig", "-noprompt", says=["terracectl group delete esx", "lun delete vdisk01"])
    same((box.tool.result("lun", "list"), box.tool.result("group", "list")), ([], []), "all gone")
    same([t["name"] for t in box.tool.result("target", "list")], [IQN], "but for the target")
    check(os.path.getsize(disk) == 48 << 20, "the store stays")
    box.daemon.stop()


def case_the_orders_of_today():
    box = Box()
    one, two = box.disk("one"), box.disk("two")
    box("-add_target", IQN, "-driver", "iscsi")
    box("-open_dev", "one", "-handler", "vdisk_fileio", "-attributes",
        f"filename={one},usn=abc123,t10_dev_id=abc123-one,prod_id=ONE,threads_num=4,read_only=0")
    box("-open_dev", "two", "-handler", "vdisk_fileio", "-attributes",
        f"filename={two},nv_cache=1,naa_id=0x6001405a1b2c3d4e5f60718293a4b5c6", status=REMARKS,
        says=["NV_CACHE", "cachectl add"])
    box("-open_dev", "none", "-handler", "vdisk_nullio", "-attributes", "dummy=1", says="LUN 0 doesn't need")
    box("-add_group", "g1", *T, says="--order 1000")
    box("-add_group", "g2", *T, says="--order 1001")
    box("-add_init", "iqn.1998-01.com.vmware:esx?", *T, "-group", "g1")
    box("-add_init", "iqn.1998-01.com.vmware:*", *T, "-group", "g2")
    box("-add_init", "iqn.1998-01.com.vmware:*", *T, "-group", "g2", says="already")
    box("-add_lun", "0", *T, "-group", "g1", "-device", "one")
    box("-add_lun", "7", *T, "-group", "g1", "-device", "two", "-attributes", "read_only=1")
    box("-add_lun", "1", *T, "-group", "g2", "-device", "two")
    same(box.luns(ESX), [0, 7], "the first group that matches")
    same(box.luns(ESX + "0"), [1], "the second")
    box.refused(OTHER)
    with Session(box.daemon.port, IQN, name=ESX) as s:
        s.ready(0)
        same(s.inquiry(0x80, lun=0).data[4:], b"abc123", "usn")
        same(s.inquiry(lun=0).data[16:32], b"ONE".ljust(16), "prod_id")
        s.ready(7)
        check(bytes.fromhex("6001405a1b2c3d4e5f60718293a4b5c6") in s.inquiry(0x83, lun=7).data, "naa_id")
    box("-set_lun_attr", "7", *T, "-group", "g1", "-attributes", "read_only=0", says="group map g1 two --number 7")
    same([x["read_only"] for x in group(box, "g1")["luns"]], [False, False], "lines")
    box("-replace_lun", "1", *T, "-group", "g2", "-device", "one")
    same(group(box, "g2")["luns"], [{"number": 1, "lun": "one", "read_only": False}], "replaced")
    box("-rem_lun", "7", *T, "-group", "g1")
    box("-rem_lun", "7", *T, "-group", "g1", status=FAILED, says="shows no LUN 7")
    box("-add_lun", "4", *T, "-group", "g1", "-device", "two")
    box("-move_init", "iqn.1998-01.com.vmware:esx?", *T, "-group", "g1", "-to", "g2")
    same((group(box, "g1")["initiators"], len(group(box, "g2")["initiators"])), (["!*"], 2), "moved")
    box("-clear_inits", *T, "-group", "g2")
    same(group(box, "g2")["initiators"], ["!*"], "cleared")
    box("-clear_luns", *T, "-group", "g1")
    same(group(box, "g1")["luns"], [], "cleared")
    box("-rem_group", "g1", *T)
    box("-set_dev_attr", "one", "-attributes", "prod_id=UNO,read_only=1")
    same([x["read_only"] for x in box.tool.result("lun", "list") if x["name"] == "one"], [True], "read_only")
    with open(two, "ab") as f:
        f.truncate(32 << 20)
    box("-resync_dev", "two", says="terracectl lun resize two")
    box("-close_dev", "two", "-handler", "vdisk_fileio", says="lun delete two")
    box("-set_tgt_attr", IQN, "-driver", "iscsi", "-attributes", "HeaderDigest=CRC32C,Alias=store",
        says=["header_digest required", "alias store"])
    for words, says in ((["-list_device"], "one"), (["-list_target"], IQN), (["-list_group"], "g2"),
                        (["-list_sessions"], "no sessions"), (["-list_driver"], "san"),
                        (["-list_handler"], "vdisk_blockio"), (["-list_scst_attr"], "default"),
                        (["-enable_target", IQN, "-driver", "iscsi"], "as soon as it is there")):
        box(*words, says=says)
    commands = box.tool.result("scstadmin", "-rem_target", IQN, "-driver", "iscsi")["commands"]
    same(commands[0]["command"], f"terracectl target delete {IQN}", "as JSON")
    same(commands[0]["result"]["applied"], True, "and done")
    box.daemon.stop()


def group(box, name):
    return [g for g in box.tool.result("group", "list") if g["name"] == name][0]


def case_users():
    """IncomingUser closes a target that was open; nobody gets in without a password afterwards."""
    box = Box()
    box("-add_target", IQN, "-driver", "iscsi")
    box("-adddev", "d", "-path", box.disk("d"), "-handler", "vdisk")
    box("-add_lun", "2", *T, "-device", "d", status=REMARKS)
    box("-addgroup", "g")
    box("-adduser", ESX, "-group", "g")
    box("-assigndev", "d", "-group", "g", "-lun", "5")
    same((box.luns(ESX), box.luns(OTHER)), ([5], [2]), "before")
    r = box("-add_tgt_attr", IQN, "-driver", "iscsi", "-attributes", "IncomingUser=joe 12charsecret0",
            status=REMARKS, says=["can be seen by every user", "chap create joe", "group set g user joe"])
    check("12charsecret0" not in r.out + r.err, "a secret is printed")
    box.refused(ESX)
    box.refused(OTHER)
    joe = ("joe", "12charsecret0")
    same((box.luns(ESX, joe), box.luns(OTHER, joe)), ([5], [2]), "with the password")
    box("-add_lun", "3", *T, "-device", "d", status=FAILED, says="already")
    box("-rem_tgt_attr", IQN, "-driver", "iscsi", "-attributes", "IncomingUser=joe", status=REMARKS,
        says="the last user")
    box("-add_tgt_attr", IQN, "-driver", "iscsi", "-attributes", "IncomingUser=jim 12charsecret1", status=REMARKS)
    box("-rem_tgt_attr", IQN, "-driver", "iscsi", "-attributes", "IncomingUser=joe", says="chap delete joe")
    box.refused(ESX, joe)
    same(box.luns(ESX, ("jim", "12charsecret1")), [5], "the other user")
    box("-add_tgt_attr", IQN, "-driver", "iscsi", "-attributes", "IncomingUser=short x", status=None,
        says="12")
    box("-add_tgt_attr", IQN, "-driver", "iscsi", "-attributes", "OutgoingUser=a b", status=REMARKS,
        says="--mutual-user")
    box("-add_drv_attr", "iscsi", "-attributes", "IncomingUser=scan 12charsecret2", status=REMARKS,
        says="chap create scan --discovery")
    box.daemon.stop()


def case_several_targets():
    """Old orders are for every target; a group of one name is there for each."""
    box = Box()
    box("-add_target", IQN, "-driver", "iscsi")
    box("-add_target", IQN + ".b", "-driver", "iscsi")
    box("-adddev", "d", "-path", box.disk("d"), "-handler", "vdisk")
    box("-addgroup", "g")
    same(sorted(g["name"] for g in box.tool.result("group", "list")), ["g", "g-2"], "groups")
    box("-adduser", ESX, "-group", "g")
    box("-assigndev", "d", "-group", "g", "-lun", "1")
    same([(g["initiators"], len(g["luns"])) for g in box.tool.result("group", "list")], [([ESX], 1)] * 2,
         "both")
    box("-assigndev", "d", "-group", f"Default_{IQN}.b", "-lun", "9", status=REMARKS)
    same({t["name"]: t["open"] for t in box.tool.result("target", "list")}, {IQN: False, IQN + ".b": True},
         "one of them is open")
    box("-clear_config", "-noprompt", says=[f"target delete {IQN}", f"target delete {IQN}.b"])
    same(box.tool.result("target", "list"), [], "targets")
    box.daemon.stop()


def case_asked_on_a_terminal_only():
    box = Box()
    box("-adddev", "d", "-path", box.disk("d"), "-handler", "vdisk")
    box("-clear_config", status=REFUSED, says="-noprompt")
    box("-clear_config", "--json", status=REFUSED)
    Terminal(box.tool, "scstadmin", "-clear_config").expect("Shall all this go?").type("n\n").end(REFUSED)
    same(len(box.tool.result("lun", "list")), 1, "no")
    box("-clear_config", "--dry-run", says="lun delete d")
    same(len(box.tool.result("lun", "list")), 1, "a dry run")
    Terminal(box.tool, "scstadmin", "-clear_config").expect("Shall all this go?").type("y\n").end(DONE)
    same(box.tool.result("lun", "list"), [], "yes")
    box.daemon.stop()


def case_what_files_say_stays():
    box = Box(f"portal san {{ listen 127.0.0.1:{{port}} }}\nlun d {{ store ram: ; size 16MiB ; mode volatile }}\n"
              f"target {IQN} {{ portals san ; open yes ; lun 0 d }}\n")
    r = box("-clear_config", "-noprompt", status=REMARKS)
    check("LUN d is written in" in r.err and "terrace.conf:2" in r.err, str(r))
    same(box.luns(OTHER), [0], "what a file says")
    box("-close_dev", "d", status=FAILED, says="which no command changes")
    box("-add_group", "g", *T)
    box("-add_init", ESX, *T, "-group", "g", "--runtime", says="--runtime")
    box("-write_config", status=REMARKS, says="until the next start")
    box.daemon.stop()


def case_cures():
    """What can't be done is said with what to do, and changes nothing."""
    box = Box()
    for words, says in (
            ("-config /etc/scst.conf", "import-scst /etc/scst.conf -o /etc/terrace"),
            ("-add_dgrp dg", "no device groups"), ("-add_tgrp tg -dev_group dg", "no device groups"),
            ("-issue_lip", "Fibre Channel"), ("-set_scst_attr -attributes threads=4", "`loops`"),
            ("-set_grp_attr g -attributes cpu_mask=1", "processors"),
            ("-open_dev c -handler vcdrom -attributes filename=/x", "no CD-ROMs"),
            ("-open_dev c -handler dev_disk", "passed on"),
            ("-add_target 50:01 -driver qla2x00t", "iSCSI and SRP"),
            ("-add_target fe80::1 -driver ib_srpt", "protocol srp"),
            (f"-disable_target {IQN} -driver iscsi", "target delete"),
            ("-renamegroup a -to b", "group create"),
            ("-add_drv_attr iscsi -attributes iSNSServer=10.0.0.1", "iSNS")):
        box(*shlex.split(words), status=REMARKS, says=says)
    path = "/dev/mapper/no-such-group/vmfs1"
    for words in (["-adddev", "v", "-path", path, "-handler", "vdisk", "-options", "BLOCKIO"],
                  ["-open_dev", "v", "-handler", "vdisk_blockio", "-attributes", f"filename={path}"]):
        box(*words, status=FAILED, says=[f"{path} is no path", "/dev/no-such-group/vmfs1",
                                         "lvm:no-such-group/vmfs1"])
    for words, says in (
            ("-adddev v -path /nowhere/x -handler vdisk", "--size"), ("-adddev v -handler vdisk", "where is 'v'?"),
            ("-adddev v -path /dev/no-such -handler vdisk -options BLOCKIO", "lsblk"),
            ("-adddev v -path /tmp -handler vdisk", "neither a file"),
            ("-adddev v -path /x -handler vdisk -options FAST", "-options has no FAST"),
            ("-open_dev v -handler vdisk_fileio -attributes filename", "NAME=VALUE"),
            (f"-add_lun 0 {' '.join(T)} -device v", "there is no target"), ("-close_dev v", "there is no lun")):
        box(*shlex.split(words), status=FAILED, says=says)
    for words, says in (
            ("", "what is to be done?"), ("-adddev", "needs a value"), ("-addev v", "did you mean -adddev"),
            ("-adddev v", "-handler is missing"), ("-adddev v -handler", "needs a value"),
            ("-sessions -sessions", "one order"), ("-adddev v -handler a -handler b", "given twice"),
            ("-sessions more", "one word too many"), ("adddev v", "one word too many")):
        box(*shlex.split(words), status=USAGE, says=says)
    for bad in ("-add_lun 99999999", "-add_lun x"):
        box("-add_target", IQN, "-driver", "iscsi", status=None)
        box(*bad.split(), *T, "-device", "v", status=FAILED, says="goes from 0")
    box("-check_config", os.path.join(HERE, "../data/scst/mixed.conf"), status=REMARKS, says="not carried over")
    box("-check_config", box.folder("none"), status=FAILED, says="can't be read")
    r = box("--help", says=["-open_dev NAME", "-WriteConfig", "-issue_lip", "usage: terracectl scstadmin"])
    check("--dry-run" in r.out, r.out)
    r = box.tool("complete", "--", "scstadmin", "-add")
    check({"-adddev", "-add_lun", "-add_target"} <= set(r.out.split()), r.out)
    r = box.tool("complete", "--", "scstadmin", "-assigndev", "v", "-")
    check({"-group", "-lun"} <= set(r.out.split()), r.out)
    same(box.tool.result("lun", "list"), [], "nothing was made")
    box.daemon.stop()
    Tool("/nowhere/control.sock")("scstadmin", "-sessions", status=4)
    Tool("/nowhere/control.sock")("scstadmin", "-clear_config", status=4)


if __name__ == "__main__":
    run(lambda: run_each(globals()))
