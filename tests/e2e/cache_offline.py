#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
cachectl with an SSD that no terraced has: format, check, dump. What is damaged is found and told apart: what the
cache can do without, and what loses data. Arguments: names of cases.
"""

import hashlib
import json
import os
import shutil
import struct
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from control import Control  # noqa: E402
from iscsi import GOOD, Session  # noqa: E402
from terracectl import DONE, FAILED, REFUSED, REMARKS, TOOL  # noqa: E402
from terraced import TARGET, Daemon, Folder, check, run, run_each, same  # noqa: E402

MIB = 1 << 20
BLOCK = 4096
CONFIG = """
cache fast { ssd "{dir}/ssd"; size 32MiB }
lun a { store "STORE{dir}/a.img"; size 8MiB; cache fast }
portal p { listen 127.0.0.1:{port} }
target iqn.2026-11.example.terrace:test { portals p; open yes; lun 0 a }
"""


def cachectl(*words, status=DONE, says=()):
    tool = os.path.join(os.path.dirname(TOOL), "cachectl")
    p = subprocess.run([tool, *words], capture_output=True, text=True, timeout=120, check=False,
                       stdin=subprocess.DEVNULL)
    text = p.stdout + p.stderr
    check("Sanitizer" not in text and "runtime error" not in text, text)
    same(p.returncode, status, f"status of cachectl {' '.join(words)}: {text}")
    for part in [says] if isinstance(says, str) else says:
        check(part in text, f"{part!r} isn't in: {text}")
    return p.stdout


def digest(path):
    with open(path, "rb") as f:
        return hashlib.sha256(f.read()).hexdigest()


def pattern(number):
    return struct.pack("<Q", number) * 512


def used(how, dirty=False, blocks=64):
    """An SSD with data: dirty or clean; its daemon was stopped or killed."""
    folder = Folder()
    text = CONFIG.replace("STORE", "fault:1:write_error=1:file:" if dirty else "")
    d = Daemon(config=text, folder=folder)
    d.start()
    with Session(d.port, TARGET) as s:
        s.ready()
        for i in range(blocks):
            same(s.write10(i * 8, pattern(i + 1)).status, GOOD, "write")
    if not dirty:
        with Control(d) as c:
            c.call("cache.flush", lun="a")
    if how == "stop":
        d.stop()
    else:
        d.kill()
    return folder("ssd")


def patch(path, at, data):
    with open(path, "r+b") as f:
        f.seek(at)
        f.write(data)


def structures(path, name):
    lines = json.loads(cachectl("dump", path, "--json"))["result"]
    return [x for x in lines if x["structure"] == name]


def spoil(path, number):
    """The data of a block."""
    with open(path, "rb") as f:
        at = f.read().find(pattern(number))
    check(at > 0, "it is on the SSD")
    patch(path, at, b"\xff" * BLOCK)


# ---- format ------------------------------------------------------------------------------------------


def case_format():
    folder = Folder()
    ssd = folder("new.ssd")
    cachectl("format", ssd, status=FAILED, says="give a size")
    cachectl("format", ssd, "--size", "1MiB", status=FAILED, says="too small")
    check(not os.path.exists(ssd), "what failed left nothing")
    cachectl("format", ssd, "--size", "32MiB", "--dry-run", says="would be made")
    check(not os.path.exists(ssd), "a dry run made nothing")
    cachectl("format", ssd, "--size", "32MiB", says="is an empty cache now, uuid ")
    same(os.stat(ssd).st_size, 32 * MIB, "size")
    cachectl("check", ssd, says=["0 LUNs", "lost 0", "Nothing is wrong."])
    before = digest(ssd)
    cachectl("format", ssd, status=REFUSED, says=["is a cache already", "--force"])
    cachectl("format", ssd, "--force", "--dry-run", says="is a cache already")
    same(digest(ssd), before, "nothing was written")
    cachectl("format", ssd, "--force", says="is an empty cache now")
    check(digest(ssd) != before, "another cache")


def case_format_leaves_others_alone():
    folder = Folder()
    other = folder("other")
    with open(other, "wb") as f:
        f.write(os.urandom(32 * MIB))
    before = digest(other)
    cachectl("format", other, status=REFUSED, says="holds something that is no cache")
    same(digest(other), before, "nothing was written")
    if shutil.which("mke2fs"):
        disk = folder("disk")
        with open(disk, "wb") as f:
            f.truncate(32 * MIB)
        subprocess.run(["mke2fs", "-q", "-F", disk], check=True)
        before = digest(disk)
        cachectl("format", disk, status=REFUSED, says=["there is ext2 on it", "wipefs -a"])
        same(digest(disk), before, "nothing was written")
    cachectl("format", "/dev/shm/terrace-test-offline", "--size", "32MiB", status=FAILED,
             says="in memory")
    check(not os.path.exists("/dev/shm/terrace-test-offline"), "nothing was made there")
    cachectl("format", other, "--force", says="is an empty cache now")


def case_daemon_takes_what_was_formatted():
    folder = Folder()
    cachectl("format", folder("ssd"), "--size", "32MiB")
    uuid = json.loads(cachectl("format", folder("ssd"), "--force", "--json"))["result"]["uuid"]
    d = Daemon(config=CONFIG.replace("STORE", ""), folder=folder)
    d.start()
    with Control(d) as c:
        same(c.call("cache.list")[0]["uuid"], uuid, "uuid")
    cachectl("format", folder("ssd"), "--force", status=FAILED, says="in use by process")
    cachectl("check", folder("ssd"), status=FAILED, says="is in use")
    d.stop()


def case_formatted_over_garbage():
    """Invariant 23: nothing depends on what free space holds, a former cache least of all."""
    folder = Folder()
    cachectl("format", folder("ssd"), "--size", "32MiB")
    for round_ in range(2):
        text = CONFIG.replace("STORE", "fault:1:write_error=1:file:")
        for end in ("kill", "stop"):
            d = Daemon(config=text, folder=folder)
            d.start()
            with Session(d.port, "iqn.2026-11.example.terrace:test") as s:
                s.ready()
                if end == "kill":
                    for i in range(256):
                        same(s.write10(i * 8, pattern(1000 * round_ + i + 1)).status, GOOD, f"write {i}")
                for i in range(256):
                    same(s.read10(i * 8, 8).data, pattern(1000 * round_ + i + 1), f"block {i}")
            getattr(d, end)()
        if round_ == 0:
            # Records of the old cache are left behind the new one's tables; the rest is noise.
            with open(folder("ssd"), "r+b") as f:
                f.seek(20 * MIB)
                f.write(os.urandom(12 * MIB))
            cachectl("format", folder("ssd"), "--force")
            after = Folder()  # its store knows of no cache
            os.rename(folder("ssd"), after("ssd"))
            folder = after


# ---- check -------------------------------------------------------------------------------------------


def case_check_after_a_stop():
    ssd = used("stop")
    before = digest(ssd)
    cachectl("check", ssd, says=["1 LUN,", "closed in order", "Nothing is wrong."])
    r = json.loads(cachectl("check", ssd, "--json"))["result"]
    same((r["in_order"], r["losses"], r["remarks"], r["dirty_blocks"]), (True, 0, 0, 0), "result")
    check(r["live_blocks"] >= 64, "its data")
    cachectl("check", ssd, "--quick", says="Nothing is wrong.")
    same(digest(ssd), before, "it only reads")


def case_check_after_a_kill():
    ssd = used("kill", dirty=True)
    before = digest(ssd)
    out = cachectl_any("check", ssd, "--json")
    r = json.loads(out)["result"]
    same((r["in_order"], r["losses"], r["dirty_blocks"]), (False, 0, 64), "result")
    same(digest(ssd), before, "it only reads")


def cachectl_any(*words):
    """A kill may leave a record torn, which is a remark."""
    tool = os.path.join(os.path.dirname(TOOL), "cachectl")
    p = subprocess.run([tool, *words], capture_output=True, text=True, timeout=120, check=False)
    check(p.returncode in (DONE, REMARKS), p.stdout + p.stderr)
    return p.stdout


def case_check_finds_damaged_data():
    ssd = used("stop")
    spoil(ssd, 10)
    cachectl("check", ssd, status=REMARKS, says=["1 block is damaged, of which 0", "nothing is lost"])
    cachectl("check", ssd, "--quick", says="Nothing is wrong.")
    ssd = used("stop", dirty=True)
    spoil(ssd, 10)
    cachectl("check", ssd, status=FAILED, says=["LOSS", "of which 1 may be the only copy"])


def case_check_finds_damaged_structures():
    ssd = used("stop", dirty=True)
    spare = ssd + ".whole"
    shutil.copyfile(ssd, spare)

    def damaged(blocks, status, *says):
        shutil.copyfile(spare, ssd)
        for b in blocks:
            patch(ssd, b * BLOCK + 100, b"\xa5")
        cachectl("check", ssd, status=status, says=says)

    tables = [x["block"] for x in structures(spare, "volume table")]
    heads = sorted({x["block"] for x in structures(spare, "checkpoint")})
    segment = next(x["block"] for x in structures(spare, "segment") if "stream W" in x["text"])
    number = int(next(x["text"] for x in structures(spare, "segment") if "stream W" in x["text"])
                 .split()[0])
    slots = [x["block"] for x in structures(spare, "slot") if x["text"].startswith(
        f"segment {number} ")]
    footer = next(x["block"] for x in structures(spare, "footer") if x["text"].startswith(
        f"segment {number} "))
    damaged([1], REMARKS, "superblock B is damaged")
    damaged([0, 1], FAILED, "is no cache of terraced")
    damaged(tables[:1], REMARKS, "volume table")
    damaged(tables, FAILED, "both volume tables are damaged")
    damaged(heads, FAILED, "both checkpoint headers are damaged")
    damaged(slots, FAILED, "liveness slot")
    damaged([segment], FAILED, f"segment {number}: its header is damaged")
    # Without its footer a segment is read record by record: nothing is lost.
    shutil.copyfile(spare, ssd)
    patch(ssd, footer * BLOCK + 100, b"\xa5")
    cachectl_any("check", ssd)
    shutil.copyfile(spare, ssd)
    os.truncate(ssd, 16 * MIB)
    cachectl("check", ssd, status=FAILED)


def case_check_finds_a_gap():
    ssd = used("kill", dirty=True)
    records = [x["block"] for x in structures(ssd, "record")]
    patch(ssd, records[len(records) // 2] * BLOCK + 60, b"\xa5")
    cachectl("check", ssd, status=FAILED, says="LOSS")


def case_dump():
    ssd = used("stop")
    text = cachectl("dump", ssd, "--descriptors")
    for name in ("superblock", "volume table", "volume", "checkpoint", "slot", "segment", "record",
                 "descriptor", "footer"):
        check(f" {name} " in text, f"a {name}: {text[:2000]}")
    check("lun a " in text and "mode nv" in text, "the LUN")
    check(" descriptor " not in cachectl("dump", ssd), "without what is in records")
    folder = Folder()
    with open(folder("nothing"), "wb") as f:
        f.write(bytes(MIB))
    cachectl("dump", folder("nothing"), status=FAILED, says="is no cache of terraced")
    cachectl("dump", folder("nowhere"), status=FAILED, says="No such file")


if __name__ == "__main__":
    run(lambda: run_each(globals()))
