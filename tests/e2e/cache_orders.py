#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
Orders to caches while initiators work: flush, evict, freeze, and what cachectl makes of them. Arguments: names
of cases.
"""

import os
import struct
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from control import Control, Error, started, stop  # noqa: E402
from iscsi import BUSY, GOOD, Session  # noqa: E402
from terracectl import TOOL  # noqa: E402
from terraced import TARGET, Daemon, Failed, Folder, check, run, run_each, same, wait_until  # noqa: E402

MIB = 1 << 20
CONFIG = """
cache fast { ssd "SSD"; size 64MiB }
lun a { store "STORE"; size 16MiB; cache fast }
lun b { store "{dir}/b.img"; size 16MiB; cache fast }
lun plain { store "{dir}/plain.img"; size 1MiB }
portal p { listen 127.0.0.1:{port} }
target iqn.2026-11.example.terrace:test { portals p; open yes; lun 0 a; lun 1 b; lun 2 plain }
"""
WRITE10 = ">BBIBHB"


def config(folder, ssd=None, store=None):
    return CONFIG.replace("SSD", ssd or folder("ssd")).replace("STORE", store or folder("a.img"))


def start(folder, text=None):
    return started(Daemon(config=text or config(folder), folder=folder))


def lun(d, name="a"):
    return next(x for x in d.control.call("lun.list") if x["name"] == name)


def cache(d):
    return d.control.call("cache.list")[0]


def pattern(number):
    return struct.pack("<Q", number) * 512


def write(s, count, first=0, lun_number=0, version=0):
    for i in range(first, first + count):
        same(s.write10(i * 8, pattern(version + i + 1), lun=lun_number).status, GOOD, f"write {i}")


def run_tool(d, *words, status=0):
    tool = os.path.join(os.path.dirname(TOOL), "cachectl")
    p = subprocess.run([tool, "--control", os.path.join(d.state, "control.sock"), *words], capture_output=True, text=True, timeout=60, check=False,
                       stdin=subprocess.DEVNULL)
    same(p.returncode, status, f"status of cachectl {' '.join(words)}: {p.stdout}{p.stderr}")
    return p.stdout + p.stderr


def fails(d, code, *words, **order):
    try:
        d.control.call(order.pop("method"), **order)
    except Error as e:
        same(e.code, code, str(e))
        for word in words:
            check(word in e.message, f"'{word}' isn't in: {e.message}")
        return e
    raise Failed(f"it was done: {order}")


def on_store(folder, name, count, version=0, first=0):
    """The store has them, as another program reads it."""
    with open(folder(name), "rb") as f:
        f.seek(first * 4096)
        for i in range(first, first + count):
            check(f.read(4096) == pattern(version + i + 1), f"block {i} of {name}")


# ---- flush, evict ------------------------------------------------------------------------------------


def ready(s):
    for number in (0, 1):
        wait_until(lambda n=number: s.execute(bytes(6), n).status == GOOD, "the LUN is ready", 5)


def case_flush():
    folder = Folder()
    d = start(folder)
    with Session(d.port, TARGET) as s:
        ready(s)
        for version in (0, 1000):
            write(s, 256, version=version)
            write(s, 256, lun_number=1, version=version)
            answer = d.control.call("cache.flush", luns=["a", "b"])
            same([(x["name"], x["done"]) for x in answer["luns"]], [("a", True), ("b", True)], "who")
            on_store(folder, "a.img", 256, version)
            on_store(folder, "b.img", 256, version)
        same(lun(d)["dirty_bytes"], 0, "dirty data")
        check(lun(d)["cached_bytes"] > 0, "it stays in the cache")
        write(s, 16)
        d.control.call("cache.flush", cache="fast")
        on_store(folder, "a.img", 16)
    fails(d, -32004, "no LUN 'nowhere'", method="cache.flush", lun="nowhere")
    fails(d, -32004, "no cache 'slow'", method="cache.flush", cache="slow")
    fails(d, -32000, "has no cache", method="cache.flush", lun="plain")
    fails(d, -32602, "of which LUN", method="cache.flush")
    stop(d)


def case_flush_under_writes():
    """Invariant 21: a flush is of what was acknowledged before it; who goes on writing doesn't keep it from ending."""
    folder = Folder()
    d = start(folder)
    with Session(d.port, TARGET) as s:
        ready(s)
        write(s, 64)
        c = Control(d)
        ended = []

        def flush():
            ended.append(c.call("cache.flush", lun="a"))

        t = threading.Thread(target=flush)
        t.start()
        end, rounds = time.monotonic() + 120, 0
        while not ended and time.monotonic() < end:
            rounds += 1
            write(s, 64, version=64 * rounds)
        t.join(60)
        check(ended, f"the flush doesn't end while there are writes ({rounds} rounds)")
        c.close()
        with open(folder("a.img"), "rb") as f:
            for i in range(64):
                number = struct.unpack("<Q", f.read(4096)[:8])[0]
                check(number % 64 == (i + 1) % 64 and number > 0, f"block {i} of the store: {number}")
    stop(d)


def case_flush_to_a_store_that_fails():
    folder = Folder()
    d = start(folder, config(folder, store=f"fault:1:write_error=1:file:{folder('a.img')}"))
    with Session(d.port, TARGET) as s:
        ready(s)
        write(s, 16)
        write(s, 16, lun_number=1)
        e = fails(d, -32000, "LUN a", "isn't on its store", method="cache.flush", cache="fast")
        same({x["name"]: x["done"] for x in e.data["luns"]}, {"a": False, "b": True}, "of each")
        ranges = d.control.call("lun.dirty", lun="a")
        same(ranges["ranges"], [{"offset": 0, "bytes": 65536, "lost": False, "zeros": False}],
             "what the store lacks")
        fails(d, -32000, "couldn't be evicted", method="cache.evict", lun="a")
        same(lun(d)["dirty_bytes"], 65536, "nothing is forgotten")
        same(s.read10(0, 8).data, pattern(1), "it is there")
    stop(d)


def case_flush_waits_and_the_daemon_ends():
    """A store that hangs: the order is under way when the daemon is told to end."""
    folder = Folder()
    d = start(folder, config(folder, store=f"fault:1:write_error=1:file:{folder('a.img')}"))
    with Session(d.port, TARGET) as s:
        ready(s)
        write(s, 64)
    for _ in range(4):
        c = Control(d)
        c.send("cache.evict", cache="fast")
    stop(d)


def case_evict():
    folder = Folder()
    d = start(folder)
    with Session(d.port, TARGET) as s:
        ready(s)
        write(s, 256)
        answer = d.control.call("cache.evict", lun="a")
        same(answer["luns"][0]["cached_bytes"], MIB, "what it had")
        same((lun(d)["dirty_bytes"], lun(d)["cached_bytes"]), (0, 0), "what it has")
        on_store(folder, "a.img", 256)
        hits = lun(d)["cache_hits"]
        same(s.read10(0, 8).data, pattern(1), "the store's")
        same(lun(d)["cache_hits"], hits, "no hit")
        # Under writes it ends as well.
        itts = [s.command(struct.pack(WRITE10, 0x2A, 0, i * 8, 0, 8, 0), write=pattern(i + 1))
                for i in range(16)]
        d.control.call("cache.evict", lun="a")
        for itt in itts:
            same(s.wait(itt, 20).status, GOOD, "writes meanwhile")
    stop(d)


def case_evict_range():
    """Of one LUN a part: what is around it stays, and is still what was written."""
    folder = Folder()
    d = start(folder)
    with Session(d.port, TARGET) as s:
        ready(s)
        write(s, 256)
        d.control.call("cache.flush", lun="a")
        write(s, 64, version=1000, first=96)
        d.control.call("cache.evict", lun="a", **{"from": 128 * 4096 - 1, "bytes": 16 * 4096})
        on_store(folder, "a.img", 16, 1000, first=128)
        same(lun(d)["cached_bytes"], MIB - 17 * 4096, "what stays")
        for i in range(256):
            same(s.read10(i * 8, 8).data, pattern(i + 1 + (1000 if 96 <= i < 160 else 0)), f"block {i}")
        # Zeros that begin before the range and end behind it.
        s.execute(struct.pack(">BBIBHB", 0x41, 0x08, 0, 0, 2048, 0), write=bytes(512))
        write(s, 64, version=2000)
        d.control.call("cache.evict", lun="a", **{"from": 0, "bytes": 8192})
        on_store(folder, "a.img", 2, 2000)
        same(s.read10(8, 8).data, pattern(2002), "written")
        same(s.read10(100 * 8, 8).data, bytes(4096), "zeros")
        run_tool(d, "evict", "a", "--range", "64KiB+1MiB")
        on_store(folder, "a.img", 48, 2000, first=16)
        same(lun(d)["dirty_bytes"], 0, "and the zeros")
    for params, word in (({"luns": ["a", "b"], "from": 0}, "of one LUN"),
                         ({"lun": "a", "from": -1}, "place in bytes"),
                         ({"lun": "a", "bytes": 0}, "at least 1"),
                         ({"lun": "a", "from": 1 << 60}, "beyond")):
        fails(d, -32602, word, method="cache.evict", **params)
    check("is no range" in run_tool(d, "evict", "a", "--range", "5", status=2), "no range")
    check("is of one LUN" in run_tool(d, "evict", "--cache", "fast", "--range", "0+5", status=2), "whose")
    stop(d)


# ---- freeze ------------------------------------------------------------------------------------------


def written(s, number, version):
    return s.command(struct.pack(WRITE10, 0x2A, 0, number * 8, 0, 8, 0),
                     write=pattern(version + number + 1))


def answered(s, itt, seconds):
    end = time.monotonic() + seconds
    while itt not in s.answers and time.monotonic() < end:
        try:
            s.pump(0.05)
        except TimeoutError:
            pass
    return itt in s.answers


def case_freeze():
    folder = Folder()
    d = start(folder)
    holder = Control(d)
    with Session(d.port, TARGET) as s:
        ready(s)
        write(s, 64)
        write(s, 64, lun_number=1)
        f = holder.call("cache.freeze", luns=["a", "b"])
        same((sorted(f["luns"]), f["limit_seconds"]), (["a", "b"], 20), "the answer")
        holder.send("cache.hold", id=f["id"])
        on_store(folder, "a.img", 64)
        on_store(folder, "b.img", 64)
        check(lun(d)["frozen"] and lun(d, "b")["frozen"], "state")
        itt = written(s, 0, 500)
        check(not answered(s, itt, 0.5), "a write waits")
        same(s.read10(8, 8).data, pattern(2), "reads go on")
        on_store(folder, "a.img", 64)
        fails(d, -32002, "frozen already", method="cache.freeze", lun="a")
        fails(d, -32000, "being changed", method="cache.evict", lun="a")
        d.control.call("cache.thaw", id=f["id"])
        same(holder.receive()["complete"], True, "it lasted")
        same(s.wait(itt, 20).status, GOOD, "the write")
        same(s.read10(0, 8).data, pattern(501), "its data")
        fails(d, -32004, "no freeze", method="cache.thaw", id=f["id"])
        fails(d, -32602, "1 to 300", method="cache.freeze", lun="a", limit_seconds=0)
    holder.close()
    stop(d)


def case_freeze_dry_run():
    folder = Folder()
    d = start(folder)
    with Session(d.port, TARGET) as s:
        ready(s)
        write(s, 16)
        mark = folder("ran")
        out = run_tool(d, "freeze", "a", "b", "--dry-run", "--", "touch", mark)
        check("a: " in out and "b: " in out and "Nothing was done" in out, out)
        check(not os.path.exists(mark) and not lun(d)["frozen"], "it did something")
        check("not all of these" in run_tool(d, "freeze", "nowhere", "--dry-run", "--", "true", status=1), "names")
        check("no SSD" in run_tool(d, "freeze", "plain", "--dry-run", "--", "true", status=1), "who can")
        run_tool(d, "freeze", "a", "--", "touch", mark)
        check(os.path.exists(mark), "the command ran")
    stop(d)


def case_freeze_ends_with_its_client():
    folder = Folder()
    d = start(folder)
    for how in ("client", "limit", "unheld", "lun"):
        holder = Control(d)
        with Session(d.port, TARGET) as s:
            ready(s)
            limit = 2 if how == "limit" else 60
            f = holder.call("cache.freeze", lun="a", limit_seconds=limit)
            if how != "unheld":
                holder.send("cache.hold", id=f["id"])
            itt = written(s, 1, 700)
            check(not answered(s, itt, 0.3), "a write waits")
            if how == "client":
                holder.close()
            elif how == "lun":
                with open(d.config, encoding="utf-8") as f:
                    text = f.read()
                folder.write("terrace.conf", text.replace("size 16MiB; cache fast }", "size 16MiB }",
                                                          1))
                d.control.call("reload", yes=True)
            if how != "lun":  # what waits for 5 s may end in BUSY
                check(s.wait(itt, 10).status in ((GOOD, BUSY) if how == "unheld" else (GOOD,)),
                      f"the write, when it ends by {how}")
                same(s.write10(8, pattern(2)).status, GOOD, f"writes after it ended by {how}")
            if how in ("limit", "lun"):
                r = holder.receive()
                same(r["complete"], False, f"complete, when it ends by {how}")
                check(r["why"], "why")
        if how != "client":
            holder.close()
    stop(d)


def case_freeze_and_the_daemon_ends():
    folder = Folder()
    d = start(folder)
    holder = Control(d)
    with Session(d.port, TARGET) as s:
        ready(s)
        f = holder.call("cache.freeze", cache="fast")
        holder.send("cache.hold", id=f["id"])
        written(s, 1, 0)
        stop(d)


# ---- looking -----------------------------------------------------------------------------------------


def case_dirty_ranges():
    folder = Folder()
    d = start(folder, config(folder, store=f"fault:1:write_error=1:file:{folder('a.img')}"))
    with Session(d.port, TARGET) as s:
        ready(s)
        for i in range(0, 40, 2):
            write(s, 1, first=i)
        same(s.write10(100 * 8, bytes(512)).status, GOOD, "a sector")
        got, at, asked = [], 0, 0
        while at is not None:
            r = d.control.call("lun.dirty", lun="a", limit=7, **{"from": at})
            got += r["ranges"]
            at = r["next"]
            asked += 1
        same(asked, 3, "pages of 7")
        same([(x["offset"], x["bytes"]) for x in got],
             [(i * 4096, 4096) for i in range(0, 40, 2)] + [(409600, 4096)], "ranges")
        same(d.control.call("lun.dirty", lun="plain")["ranges"], [], "without a cache")
    fails(d, -32004, "no LUN", method="lun.dirty", lun="x")
    fails(d, -32602, "limit 1 to 1000", method="lun.dirty", lun="a", limit=0)
    stop(d)


def case_segments():
    folder = Folder()
    d = start(folder)
    with Session(d.port, TARGET) as s:
        ready(s)
        write(s, 64)
    total = cache(d)["segments"]
    got, at = [], 0
    while at is not None:
        r = d.control.call("cache.segments", name="fast", limit=5, **{"from": at})
        got += r["segments"]
        at = r["next"]
    same([x["number"] for x in got], list(range(total)), "all of them")
    check(any(x["state"] == "open" and x["stream"] == "W" and x["live_blocks"] >= 64 for x in got),
          "what was written is in one")
    fails(d, -32004, "no cache", method="cache.segments", name="x")
    stop(d)


if __name__ == "__main__":
    run(lambda: run_each(globals()))
