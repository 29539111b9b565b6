#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
terracectl doctor as it is used: what is served comes from the daemon that runs, else from the file; the text
and the JSON say the same; the exit status is the worst of it; nothing is written.
"""

import os
import re
import shutil
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from iscsi import Session  # noqa: E402
from terraced import TARGET, Daemon, Folder, check, run, same  # noqa: E402
from terracectl import DONE, FAILED, REMARKS, TOOL, USAGE, Tool  # noqa: E402

STATUS = {"ok": DONE, "remark": REMARKS, "bad": FAILED}
CONFIG = """
lun a { store "file:{dir}/a.img" ; size 16MiB }
lun b { store "file:{dir}/b.img" ; size 16MiB }
portal p { listen 127.0.0.1:{port} }
target iqn.2026-11.example.terrace:test {
    portals p
    group hosts { initiators iqn.2026-11.example.test:* ; lun 0 a ; lun 1 b read_only }
}
"""


def look(tool, *words):
    """Check → its findings; text and JSON agree."""
    result = tool.result("doctor", *words, status=None)
    found = {}
    for f in result["findings"]:
        check(sorted(f) == ["action", "check", "level", "object", "text"], f"a finding: {f}")
        same(f["action"] == "", f["level"] == "ok", f"the action of {f}")
        found.setdefault(f["check"], []).append(f)
    worst = max((f["level"] for fs in found.values() for f in fs), key=list(STATUS).index)
    same(result["worst"], worst, "worst")
    text = tool("doctor", *words, status=STATUS[worst])
    lines = [m.groups() for m in re.finditer(r"^(ok|remark|bad) +(\S+)  +(.*)$", text.out, re.M)]
    same([(f["level"], f["check"], f["text"]) for f in result["findings"]], lines, "text and JSON")
    same(text.out.count("action: "), sum(f["action"] != "" for f in result["findings"]), "actions")
    check("\033" not in text.out, "colours without a terminal")
    return found


def with_daemon():
    d = Daemon("--loops", "2", "--unsafe-fs", config=CONFIG).start()
    tool = Tool(os.path.join(d.state, "control.sock"))
    found = look(tool)
    # The file is the one that the daemon read.
    check("terrace.conf" in found["configuration"][0]["text"] or d.folder.path in
          found["configuration"][0]["text"], f"{found['configuration']}")
    same(found["names"][0]["level"], "ok", "names")
    same(found["file-systems"][0]["level"], "ok", "file systems before there is one")
    mke2fs = shutil.which("mke2fs", path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    if mke2fs:
        image = d.folder("a.img")
        subprocess.run([mke2fs, "-q", "-F", "-t", "ext4", image], check=True, timeout=60)
        before = os.stat(image).st_mtime_ns
        with open(image, "rb") as f:
            content = f.read()
        (f,) = look(tool)["file-systems"]
        check(f["level"] == "remark" and f["object"] == "a" and "ext4" in f["text"], f"a pattern: {f}")
        one = Session(d.port, TARGET, name="iqn.2026-11.example.test:one")
        two = Session(d.port, TARGET, name="iqn.2026-11.example.test:two")
        (f,) = look(tool)["file-systems"]
        check(f["level"] == "bad" and ":one" in f["text"] and ":two" in f["text"], f"two sessions: {f}")
        one.close()
        two.close()
        with open(image, "rb") as f:
            check(f.read() == content and os.stat(image).st_mtime_ns == before, "the store was written to")
    d.stop()
    return d


def without_daemon():
    folder = Folder()
    tool = Tool(folder("none.sock"))
    conf = folder.write("x.conf", "lun a { store block:/dev/sdq }\n"
                        "portal p { listen 0.0.0.0:3260 }\n"
                        "target iqn.2026-11.example.terrace:x { portals p ; group g { initiators * ; lun 0 a } }\n")
    found = look(tool, "--config", conf)
    (f,) = found["names"]
    check(f["level"] == "bad" and f"{conf}:1" in f["text"], f"a name that changes: {f}")
    check("names alone" in found["chap"][0]["text"] or "by name alone" in found["chap"][0]["text"], f"{found['chap']}")
    with open(conf, "a", encoding="ascii") as f:
        f.write("lun a { }\n")
    found = look(tool, "--config", conf)
    check(all(x["level"] == "bad" and f"{conf}:4" in x["text"] for x in found["configuration"][:1]),
          f"a wrong file: {found['configuration']}")
    same(found["raid"][0]["text"], "not looked at: what is served isn't known", "a check without facts")
    look(tool, "--config", folder("isn't.conf"))


def another_root():
    folder = Folder()
    tool = Tool(folder("none.sock"))
    for name, text in (("proc/sys/kernel/io_uring_disabled", "2\n"), ("proc/5/comm", "tgtd\n"),
                       ("etc/terrace/terrace.conf", "portal p { listen 127.0.0.1:3260 }\n")):
        os.makedirs(os.path.dirname(folder(name)), exist_ok=True)
        folder.write(name, text)
    found = look(tool, "--root", folder.path)
    check(folder("etc/terrace/terrace.conf") in found["configuration"][0]["text"], "its configuration")
    for name in ("io-uring", "targets", "fuse"):
        same(found[name][0]["level"], "remark", name)
    tool("doctor", "--root", folder("no/such"), status=USAGE, says="no folder")


def main():
    with_daemon()
    without_daemon()
    another_root()
    listed = subprocess.run([TOOL, "doctor", "--help"], capture_output=True, text=True, check=True).stdout
    check("3 remarks" in listed, listed)


run(main)
