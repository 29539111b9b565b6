#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
terracectl import-scst: files of SCST in both grammars become what is written beside them; what can't be
read names file and line and imports nothing; and what was imported is served as SCST served it.
With --write the expected files are written anew. Arguments: names of cases.
"""

import json
import os
import re
import stat
import subprocess
import sys

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "lib"))
from iscsi import GOOD, Refused, Session  # noqa: E402
from terraced import Daemon, Failed, Folder, check, run, run_each, same  # noqa: E402
from terracectl import TOOL, Tool  # noqa: E402

TERRACECTL = TOOL
FILES = os.path.join(HERE, "..", "data", "scst")
DONE, FAILED, USAGE, LOST = 0, 1, 2, 3

# what is imported, the options, the exit status
GOLDEN = {
    "vmware": (["vmware.conf", "--ssd", "/var/lib/terrace/fast.ssd:2GiB"], LOST),
    "cluster": (["cluster.conf"], LOST),
    "mixed": (["mixed.conf"], LOST),
    "old-howto": (["old-howto.conf", "--target", "iqn.2026-11.example:howto"], LOST),
    "old-vmware": (["old-vmware.conf", "iscsi-scstd.conf", "initiators.allow", "initiators.deny"], LOST),
}


def ctl(*args, cwd=FILES):
    return subprocess.run([TERRACECTL, "import-scst", *args], cwd=cwd, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=30)


def case_files_become_what_is_expected():
    for name, (args, status) in GOLDEN.items():
        r = ctl(*args)
        same(r.returncode, status, f"{name}: exit status")
        # what this machine has is its own
        got = "".join(line for line in (r.stdout + "\n--- stderr ---\n" + r.stderr).splitlines(True)
                      if "isn't there now" not in line)
        path = os.path.join(FILES, name + ".expected")
        if WRITE:
            with open(path, "w") as f:
                f.write(got)
        with open(path) as f:
            expected = f.read()
        if got != expected:
            subprocess.run(["diff", "-u", path, "-"], input=got, text=True)
            check(False, f"{name}: not as expected")


BROKEN = [
    ("HANDLER vdisk_fileio {\n DEVICE a {\n filename /a\n }\n", "1: error: this block has no end"),
    ("HANDLER h {\n}\n}\n", "3: error: '}' can't be read here: expected no }, since no block is open"),
    ("HANDLER h {\n DEVICE\n}\n", "2: error: 'DEVICE' can't be read here: expected DEVICE NAME {"),
    ("HANDLER h {\n DEVICE a {\n }\n DEVICE a {\n }\n}\n", "4: error: device 'a' is there already"),
    ("TARGET_DRIVER iscsi {\n TARGET iqn.2024-05.net.example:a {\n LUN x y\n }\n}\n",
     "3: error: 'LUN' can't be read here: expected LUN NUMBER DEVICE"),
    ("TARGET_DRIVER iscsi {\n TARGET iqn.2024-05.net.example:a {\n LUN 16384 y\n }\n}\n", "3: error: 'LUN'"),
    ("TARGET_DRIVER iscsi {\n GROUP \"a\n}\n", "2: error: a quote (\") that doesn't end"),
    ("target iqn.a {\n}\n", "1: error: 'target' can't be read here: expected HANDLER NAME {"),
    ("[HANDLER vdisk]\nDEVICE a,/a,FAST,512\n", "2: error: option 'FAST' isn't known"),
    ("[HANDLER vdisk\n", "1: error: a section that doesn't end"),
    ("[GROUP g]\nDEVICE a\n", "2: error: 'DEVICE' can't be read here"),
    ("[ASSIGNMENT g]\nDEVICE a,b\n", "2: error: expected DEVICE NAME,LUN"),
    ("[DEVICES]\n", "1: error: this section isn't known"),
    ("lun a { store /a }\nbackstores\n", "1: error: 'lun' can't be read here"),
    ("backstores\n", "1: error: this begins like none of SCST's files"),
    ("a { " * 40 + "\n", "1: error"),
    ("HANDLER h {\n" * 40, "error: blocks nested too deep"),
    ("HANDLER h {\n DEVICE " + "w " * 90 + "\n}\n", "2: error: more than 64 words"),
]


def case_what_cannot_be_read_imports_nothing():
    folder = Folder()
    for text, expected in BROKEN:
        with open(folder("in.conf"), "w") as f:
            f.write(text)
        r = ctl(folder("in.conf"), "-o", folder("out"))
        check(expected in r.stderr, f"{text!r}: {r.stderr}")
        same((r.returncode, r.stdout, os.path.exists(folder("out"))), (FAILED, "", False), repr(text))
    with open(folder("in.conf"), "wb") as f:
        f.write(b"HANDLER \0 {\n")
    check("zero byte" in ctl(folder("in.conf")).stderr, "a zero byte")
    with open(folder("in.conf"), "wb") as f:
        f.write(b"#" * (5 << 20))
    check("larger than 4 MiB" in ctl(folder("in.conf")).stderr, "a large file")
    r = ctl(folder("none.conf"))
    check(r.returncode == FAILED and "none.conf:0: error: can't be read: No such file" in r.stderr, r.stderr)
    r = ctl(folder.path)
    check(r.returncode == FAILED and "can't be read" in r.stderr, r.stderr)


def case_every_byte_changed_is_no_crash():
    folder = Folder()
    for name in ("vmware.conf", "old-vmware.conf"):
        with open(os.path.join(FILES, name), "rb") as f:
            good = f.read()
        for i in range(0, len(good), 37):
            for byte in (b"{", b"}", b'"', b"\xff", b"#", b"\n"):
                with open(folder("in.conf"), "wb") as f:
                    f.write(good[:i] + byte + good[i + 1:])
                r = subprocess.run([TERRACECTL, "import-scst", folder("in.conf")], capture_output=True,
                                   timeout=30)
                check(r.returncode in (DONE, FAILED, LOST), f"{name}, byte {i} {byte}: {r}")


def case_options():
    folder = Folder()
    same(ctl().returncode, USAGE, "no file")
    same(ctl("mixed.conf", "--nv-cache=nv").returncode, USAGE, "nv without an SSD")
    same(ctl("mixed.conf", "--nv-cache=ups").returncode, USAGE, "another mode")
    r = ctl("mixed.conf", "--ssd", "/var/lib/x.ssd:1GiB", "--nv-cache=writethrough")
    check("mode writethrough" in r.stdout and "cache scst" not in r.stdout, r.stdout)
    r = ctl("vmware.conf", "-o", folder("out"))
    same(r.returncode, LOST, r.stderr)
    check(f"terraced --check --config {folder('out/terrace.conf')}" in r.stdout, r.stdout)
    same(stat.S_IMODE(os.stat(folder("out/terrace.conf")).st_mode), 0o600, "mode of a file with secrets")
    before = open(folder("out/terrace.conf")).read()
    r = ctl("cluster.conf", "-o", folder("out"))
    check(r.returncode == FAILED and "is there already and stays as it is" in r.stderr, r.stderr)
    same(open(folder("out/terrace.conf")).read(), before, "the file that was there")
    r = ctl("iscsi-scstd.conf", "initiators.allow")
    check("in initiators.deny every address was admitted" in r.stderr, r.stderr)
    check("allow" not in "".join(line for line in r.stdout.splitlines(True) if line[0] != "#"), r.stdout)
    r = json.loads(ctl("--json", "mixed.conf").stdout)["result"]
    check("target iqn.2024-05.net.example:mixed" in r["text"], r)
    check({"not carried over", "remark"} == {n["severity"] for n in r["notes"]}, r)


LIVE = """
HANDLER vdisk_fileio {
    DEVICE one {
        filename %(dir)s/one.img
        nv_cache 1
        t10_dev_id 7f3a91c2-one
        usn 7f3a91c2
        prod_id ONE
    }
    DEVICE two {
        filename %(dir)s/two.img
        naa_id 0x6001405a1b2c3d4e5f60718293a4b5c6
    }
}
TARGET_DRIVER iscsi {
    enabled 1
    TARGET iqn.2024-05.net.example:live {
        enabled 1
        allowed_portal 127.0.0.1
        LUN 0 two
        GROUP esx {
            LUN 0 one
            LUN 9 two {
                read_only 1
            }
            INITIATOR iqn.1998-01.com.vmware:esx?
        }
    }
}
"""


def designators(page):
    found, at = {}, 4
    while at < len(page):
        if page[at + 1] & 0x30 == 0:
            found[page[at + 1] & 15] = page[at + 4:at + 4 + page[at + 3]]
        at += 4 + page[at + 3]
    return found


def case_what_was_imported_is_served_as_before():
    folder = Folder()
    for name in ("one.img", "two.img"):
        with open(folder(name), "wb") as f:
            f.truncate(16 << 20)
    with open(folder("scst.conf"), "w") as f:
        f.write(LIVE % {"dir": folder.path})
    r = ctl(folder("scst.conf"))
    same(r.returncode, DONE, r.stderr)
    d = Daemon("--quiet", "--unsafe-fs", folder=folder,
               config=r.stdout.replace("listen 127.0.0.1", "listen 127.0.0.1:{port}")).start()
    target = "iqn.2024-05.net.example:live"
    with Session(d.port, target, name="iqn.1998-01.com.vmware:esx1") as s:
        s.ready(0)
        same(sorted(s.report_luns()), [0, 9], "LUNs of the group")
        ids = designators(s.inquiry(0x83, lun=0).data)
        same(ids.get(3), None, "no NAA, as before")
        same(ids[2], b"7f3a91c2", "EUI-64: the first bytes of t10_dev_id")
        same(ids[1], b"SCST_FIO7f3a91c2-one", "T10")
        same(s.inquiry(0x80, lun=0).data[4:], b"7f3a91c2", "serial")
        standard = s.inquiry(lun=0).data
        same((standard[8:16], standard[16:32]), (b"SCST_FIO", b"ONE".ljust(16)), "INQUIRY")
        s.ready(9)
        ids = designators(s.inquiry(0x83, lun=9).data)
        same(ids[3], bytes.fromhex("6001405a1b2c3d4e5f60718293a4b5c6"), "NAA")
        same(ids[1], b"SCST_FIOab538677-two", "T10, worked out")
        same(s.write10(0, bytes(512), lun=0).status, GOOD, "write")
        check(s.write10(0, bytes(512), lun=9).status != GOOD, "the second is read only for the group")
    with Session(d.port, target, name="iqn.2026-11.example:other") as s:
        s.ready(0)
        same(s.report_luns(), [0], "LUNs of everybody")
        same(s.inquiry(0x83, lun=0).data[4:24][4:], bytes.fromhex("6001405a1b2c3d4e5f60718293a4b5c6"),
             "the same disk")
    d.stop()


# Of each file: the initiators, and what they have to see as SCST's file says it (None: refused). A LUN is
# number → vendor, product, serial, what the T10 designator ends in, whether it can be written.
ESX, STORE = "iqn.1998-01.com.vmware:", "iqn.2024-05.net.example:store1"
ISO = ("SCST_FIO", "iso", None, "iso 99", False)
VMFS1 = ("SCST_BIO", "vmfs1", None, "vmfs1 1a2b3c4d", True)
SERVED = {
    "vmware": [
        (STORE, ESX + "esx1-a", ("esx", "12charsecret1"),
         {0: ("SCST_BIO", "VMFS", "7f3a91c2", "7f3a91c2-vmfs01", True),
          1: ("SCST_BIO", "vmfs02", "2a5d482bd", "2a5d482bd-vmfs02", False)}),
        (STORE, ESX + "esx12", ("esx", "12charsecret1"), None),
        (STORE, ESX + "esx1-a", None, None)],
    "cluster": [
        ("iqn.2024-05.net.example:cluster", "iqn.1991-05.com.microsoft:node2.example", None,
         {0: ("SCST_FIO", "quorum", "00c0ffee", "quorum-1", True),
          300: ("SCST_FIO", "data disk", "d982223f", "d982223f-data disk", True)}),
        ("iqn.2024-05.net.example:cluster", "iqn.1991-05.com.microsoft:node3.example", None, None)],
    "mixed": [
        ("iqn.2024-05.net.example:mixed", "iqn.2026-11.example:any", None,
         {0: ("SCST_FIO", "scratch", "c012a85", "c012a85-scratch", True)})],
    "old-howto": [("iqn.2026-11.example:howto", "iqn.2026-11.example:any", None, {0: None})],
    "old-vmware": [
        ("iqn.2010-01.org.example:one", ESX + "esx7", ("jim", "othersecret12"), {0: VMFS1, 1: ISO}),
        ("iqn.2010-01.org.example:one", ESX + "esx7", None, None),
        ("iqn.2010-01.org.example:two", ESX + "esx7", None, {0: VMFS1, 1: ISO}),
        ("iqn.2010-01.org.example:two", "iqn.2026-11.example:any", None, {5: ISO})],
}


def here(text, folder):
    """What was imported, with files in place of devices and one address of ours."""
    def store(m):
        path = folder(m.group(1).lstrip("/"))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "ab") as f:
            f.truncate(16 << 20)
        return f"store file:{path}"
    text = re.sub(r"store (?:block|file):(\S+)", store, text)
    text = re.sub(r"ssd /\S+\n    size \S+", f"ssd {folder('fast.ssd')}\n    size 64MiB", text)
    return re.sub(r"^(portal \S+ \{ listen) [^;}]*\}", r"\1 127.0.0.1:{port} }", text, flags=re.M)


def sees(daemon, target, name, chap, luns):
    options = {"keys": {"DataDigest": "CRC32C"}} if target.endswith(":cluster") else {}
    with Session(daemon.port, target, name=name, chap=chap, **options) as s:
        same(sorted(s.report_luns()), sorted(luns), f"{name} at {target}: numbers")
        for number, expected in luns.items():
            s.ready(number)
            if expected is None:  # the file doesn't say
                continue
            vendor, product, serial, t10, writable = expected
            standard = s.inquiry(lun=number).data
            same((standard[8:16], standard[16:32]), (vendor.ljust(8).encode(), product.ljust(16).encode()),
                 f"INQUIRY of {number}")
            if serial is not None:
                same(s.inquiry(0x80, lun=number).data[4:].decode(), serial, f"serial of {number}")
            same(designators(s.inquiry(0x83, lun=number).data)[1].decode(), vendor.ljust(8) + t10, f"T10 of {number}")
            block = 4096 if product == "data disk" else 512
            same(s.write10(0, bytes(block), lun=number, block=block).status == GOOD, writable, f"{number} can be written")


def case_each_file_is_served_with_its_identities_numbers_and_masking():
    for name, initiators in SERVED.items():
        folder = Folder()
        text = ctl(*GOLDEN[name][0]).stdout
        d = Daemon("--quiet", "--unsafe-fs", folder=folder, config=here(text, folder)).start()
        for target, initiator, chap, luns in initiators:
            if luns is not None:
                sees(d, target, initiator, chap, luns)
                continue
            try:
                Session(d.port, target, name=initiator, chap=chap).close()
            except Refused:
                continue
            raise Failed(f"{name}: {initiator} is admitted to {target}")
        if name == "mixed":
            tool = Tool(os.path.join(d.state, "control.sock"))
            same([(p["name"], p["protocol"], p["listen"]) for p in tool.result("portal", "list")][1:],
                 [("srp-1", "srp", ["ib:5010"]), ("srp-2", "srp", ["127.0.0.1:5010"])], "portals of SRP")
            tool("status", says="ib:5010: logins by the InfiniBand connection manager have never been")
            groups = tool.result("group", "list")
            same([g["initiators"] for g in groups],
                 [["srp.*0002c903*"],
                  ["srp.*0002c9030005f34c", "srp.????????????????0002c903*", "srp.00000000000000000002c9030005f34d",
                   "srp.*@192.0.2.0/24"]], "initiators of SRP")
            same(groups[1]["luns"], [{"number": 5, "lun": "scratch", "read_only": True}], "their LUNs")
        d.stop()


WRITE = "--write" in sys.argv


if __name__ == "__main__":
    if WRITE:
        sys.argv.remove("--write")
    run(lambda: run_each(globals()))
