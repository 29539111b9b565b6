#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
LUNs over NBD, with other people's programs and with hostile bytes: what they read is what initiators
read, whatever happens to LUNs and clients meanwhile. Arguments: names of cases.
"""

import json
import os
import random
import socket
import stat
import struct
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
import nbd  # noqa: E402
from change import CONFIG, Changes  # noqa: E402
from iscsi import GOOD, Session  # noqa: E402
from nbd import Client, Closed, uri  # noqa: E402
from terraced import (TARGET, Daemon, Folder, check, requires, run, run_cases, same,  # noqa: E402
                      wait_until)

MIB = 1 << 20
A = "iqn.a:one"


def tool(*command, timeout=60):
    """Standard output of a program that has to succeed."""
    done = subprocess.run(command, capture_output=True, timeout=timeout, check=False)
    check(done.returncode == 0, f"{command}: {done.returncode} {done.stderr[-500:]}")
    return done.stdout.decode()


class Writer:
    """An initiator that writes the first MiB of LUN 0 all the time."""

    def __init__(self, d):
        self.session = Session(d.port, TARGET, name=A)
        self.session.ready()
        self.count = 0
        self.error = None
        self.going_on = True
        self.thread = threading.Thread(target=self.main)
        self.thread.start()

    def main(self):
        try:
            while self.going_on:
                result = self.session.write10(self.count * 8 % 2048, os.urandom(4096))
                if result.status != GOOD:
                    raise AssertionError(str(result))
                self.count += 1
        except Exception as e:  # told by end()
            self.error = e

    def end(self):
        self.going_on = False
        self.thread.join(20)
        check(self.error is None and self.count > 0, f"the initiator met {self.error!r}")
        self.session.close()


# ---- other people's programs ------------------------------------------------------------------------

def case_nbdinfo(d):
    requires("nbdinfo")
    found = json.loads(tool("nbdinfo", "--json", "--list", uri(d)))
    exports = {e["export-name"]: e for e in found["exports"]}
    same(sorted(exports), ["a"], "exports")
    e = exports["a"]
    same((e["export-size"], e["is_read_only"], e["can_multi_conn"]), (64 * MIB, True, True), "a")
    check("base:allocation" in e["contexts"], "base:allocation")
    same(tool("nbdinfo", "--size", uri(d)).strip(), str(64 * MIB), "size of the default export")
    pieces = json.loads(tool("nbdinfo", "--json", "--map", uri(d, "a")))
    same(sum(p["length"] for p in pieces), 64 * MIB, "the map covers all")
    check({p["type"] for p in pieces} == {0, 3}, f"data and holes: {pieces}")


def content(d):
    """The LUN's file, which the target has open and nobody writes at the moment."""
    with open(d.folder("a.img"), "rb") as f:
        return f.read()


def case_nbdcopy(d):
    requires("nbdcopy")
    out = d.folder("copy.img")
    tool("nbdcopy", uri(d, "a"), out)
    with open(out, "rb") as f:
        check(f.read() == content(d), "nbdcopy reads what is there")
    check(os.stat(out).st_blocks * 512 < 32 * MIB, "holes stay holes")
    os.unlink(out)


def case_qemu_img(d):
    requires("qemu-img")
    out = d.folder("convert.img")
    tool("qemu-img", "convert", "-O", "raw", uri(d, "a"), out)
    with open(out, "rb") as f:
        check(f.read() == content(d), "qemu-img reads what is there")
    tool("qemu-img", "compare", "-f", "raw", "-F", "raw", uri(d, "a"), out)
    os.unlink(out)
    pieces = json.loads(tool("qemu-img", "map", "--output", "json", uri(d, "a")))
    same(sum(p["length"] for p in pieces), 64 * MIB, "the map covers all")
    check(any(p["zero"] for p in pieces) and any(p["data"] for p in pieces), "data and holes")


def case_same_as_iscsi(d):
    """While an initiator writes elsewhere, and when nobody does."""
    requires("qemu-img", "nbdcopy")
    w = Writer(d)
    out = d.folder("while.img")
    for _ in range(3):
        tool("nbdcopy", uri(d, "a"), out)
        with open(out, "rb") as f:
            f.seek(MIB)
            check(f.read() == content(d)[MIB:], "the part that nobody writes")
    w.end()
    os.unlink(out)
    try:
        tool("qemu-img", "compare", "-f", "raw", "-F", "raw", uri(d, "a"),
             "json:" + json.dumps({"driver": "raw", "file": {
                 "driver": "iscsi", "transport": "tcp", "portal": f"127.0.0.1:{d.port}",
                 "target": TARGET, "lun": 0, "initiator-name": A}}))
    except Exception as e:
        if "Unknown driver" not in str(e):
            raise
        print("qemu-img has no iSCSI: not compared", flush=True)


# ---- what initiators do -------------------------------------------------------------------------------

def case_writes_are_seen(d):
    with Session(d.port, TARGET, name=A) as s, Client(d, "a") as c:
        s.ready()
        for i in range(50):
            data = os.urandom(4096)
            same(s.write10(40000 + i, data).status, GOOD, "the write")
            check(c.pread((40000 + i) * 512 + 1, 4000) == data[1:4001], "the next read sees it")


def case_nobody_may_write(d):
    before = content(d)
    with Client(d, "a") as c:
        check(c.flags & 2, "the export says that it is read-only")
        for i, (command, size) in enumerate([(nbd.WRITE, 4096), (nbd.TRIM, MIB),
                                             (nbd.WRITE_ZEROES, MIB)]):
            c.request(command, 0, size, cookie=i)
            if command == nbd.WRITE:
                c.send(b"\xee" * size)
            same(c.answer(), (nbd.EPERM, i), "a command that writes")
    check(content(d) == before, "nothing was written")


def case_statistics_are_those_of_initiators(d):
    def stats():
        with Changes(d) as c:
            lun = c.luns()["a"]
        return {k: v for k, v in lun.items() if k in ("stats", "latency", "io")}
    before = stats()
    check(before, "a LUN has statistics")
    with Client(d, "a") as c:
        for i in range(200):
            c.pread(i * 4096, 4096)
    same(stats(), before, "statistics after reads over NBD")


# ---- what an administrator does --------------------------------------------------------------------------

def case_lun_comes_and_goes(d):
    """A LUN that goes ends its connections, with requests under way, and nobody else's."""
    with Changes(d) as c, Client(d, "a") as other:
        c.done("lun.create", name="b", store=f"file:{d.folder('b.img')}", size="32MiB")
        with Client(d) as x:
            x.send(struct.pack(">I", 3))
            same(sorted(x.names()), ["a", "b"], "exports with the new one")
        clients = [Client(d, "b") for _ in range(6)]
        for i, x in enumerate(clients[:4]):
            for k in range(20):
                x.request(nbd.READ, 0, 32 * MIB, cookie=k)
            if i % 2:
                x.read(MIB)
        began = time.monotonic()
        c.done("lun.delete", name="b", yes=True)
        check(time.monotonic() - began < 15, "readers that take nothing don't keep a LUN")
        check(d.folder("b.img") not in d.open_files(), "the store is closed")
        for x in clients:
            check(x.ended(), "its connections end")
            x.close()
        check(len(other.pread(0, 4096)) == 4096, "others go on")
        with Client(d) as x:
            x.send(struct.pack(">I", 3))
            same(x.names(), ["a"], "exports")
            try:
                x.go("b")
                check(False, "an export that is gone can be opened")
            except LookupError:
                pass


def case_size_follows(d):
    with Changes(d) as c, Client(d, "a") as old:
        c.done("lun.create", name="grows", store=f"file:{d.folder('g.img')}", size="8MiB")
        with Client(d, "grows") as x:
            same(x.size, 8 * MIB, "size")
        c.done("lun.resize", name="grows", size="16MiB")
        with Client(d, "grows") as x:
            same(x.size, 16 * MIB, "size after it has grown")
            same(x.pread(16 * MIB - 5, 5), bytes(5), "its new end")
        c.done("lun.delete", name="grows", yes=True)
        check(len(old.pread(5, 5)) == 5, "others go on")


class Reader:
    """Reads the first MiBs of a LUN all the time."""

    def __init__(self, d):
        self.going_on = True
        self.d = d
        self.thread = threading.Thread(target=self.main)
        self.thread.start()

    def main(self):
        try:
            with Client(self.d, "a", timeout=60) as c:
                while self.going_on:
                    c.pread(0, 4 * MIB)
        except Closed:
            pass

    def end(self):
        self.going_on = False
        self.thread.join(60)


def rates():
    """The key inspect_rate: by default, changed while somebody is held up by it, at the end."""
    folder = Folder()
    with open(folder("a.img"), "wb") as f:
        f.truncate(64 * MIB)
    auto = 8 * MIB * len(os.sched_getaffinity(0))
    d = Daemon("--loops", "2", "--buffers", "64MiB", config=CONFIG, folder=folder).start()
    control = Changes(d)

    def reload(key):
        text = CONFIG.replace("{port}", str(d.port)).replace("{dir}", folder.path)
        folder.write("terrace.conf", text + key)
        same(control.call("reload")["restart"], [], f"'{key}' needs no restart")

    def rate():
        return control.call("status")["inspect_rate"]

    def total(key):
        return sum(loop[key] for loop in control.call("loop.list"))

    same(rate(), auto, "the rate by default")
    reload("inspect_rate 1MiB\n")
    same(rate(), MIB, "the rate that was set")
    with Client(d, "a") as c:
        check(len(c.pread(0, 8 * MIB)) == 8 * MIB, "a reader while nobody works")
    w, r = Writer(d), Reader(d)
    wait_until(lambda: w.error or total("nbd_paused_s") > 0.1, "a reader is held up", 60)
    reload("inspect_rate unlimited\n")
    same(rate(), 0, "no rate")
    before = total("nbd_bytes")
    wait_until(lambda: w.error or total("nbd_bytes") > before + 32 * MIB, "it goes on", 60)
    reload("inspect_rate auto\n")
    same(rate(), auto, "the rate by default, as it was asked for")
    reload("inspect_rate 1MiB\n")
    held = total("nbd_paused_s")
    wait_until(lambda: w.error or total("nbd_paused_s") > held + 0.1, "a reader is held up again", 60)
    control.close()
    w.end()
    r.going_on = False
    d.stop()
    r.end()


# ---- hostile ---------------------------------------------------------------------------------------------

def streams(seed):
    r = random.Random(seed)
    go = nbd.OPTION_MAGIC + struct.pack(">II", nbd.GO, 7) + struct.pack(">I", 1) + b"a" + bytes(2)
    for _ in range(60):
        yield r.randbytes(r.randrange(1, 3000))
        yield bytes([0, 0, 0, 3]) + nbd.OPTION_MAGIC + r.randbytes(r.randrange(8, 200))
        yield (bytes([0, 0, 0, 3]) + nbd.OPTION_MAGIC +
               struct.pack(">II", r.choice([1, 2, 3, 6, 7, 8, 9, 10, 77]),
                           r.randrange(0, 1 << r.randrange(1, 33))) +
               r.randbytes(r.randrange(0, 300)))
        yield bytes([0, 0, 0, 3]) + go + b"".join(
            struct.pack(">IHHQQI", nbd.REQUEST, r.choice([0, 0, 0, 1, 0xFFFF]), r.randrange(0, 9),
                        i, r.choice([r.randrange(0, 64 * MIB), 1 << 63, (1 << 64) - 1]),
                        r.choice([0, 1, 511, 4096, MIB, 32 * MIB, (1 << 32) - 1]))
            for i in range(r.randrange(1, 40)))


def case_streams(d):
    w = Writer(d)
    seed = int(time.time())
    print(f"seed {seed}", flush=True)
    for data in streams(seed):
        with Client(d) as c:
            try:
                c.send(data)
                c.socket.shutdown(socket.SHUT_WR)
                c.socket.settimeout(0.05)
                while c.socket.recv(1 << 16):
                    pass
            except (Closed, OSError):
                pass
    w.end()


def case_deaf_readers(d):
    """Who asks for much and takes nothing: everybody else is served as ever, over NBD too."""
    rss = d.rss_bytes()
    deaf = [Client(d, "a") for _ in range(12)]
    for c in deaf:
        c.socket.setblocking(False)
        try:
            for k in range(5000):
                c.socket.send(struct.pack(">IHHQQI", nbd.REQUEST, 0, nbd.READ, k, 0, 32 * MIB))
        except BlockingIOError:
            pass
    w = Writer(d)
    with Client(d, "a") as c:
        for i in range(40):
            check(len(c.pread(i * MIB + 3, MIB)) == MIB, "a reader beside them")
    wait_until(lambda: w.error or w.count > 100, "the initiator goes on")
    w.end()
    if not d.sanitized():
        check(d.rss_bytes() - rss < 96 * MIB, "memory is bounded")
    for c in deaf:
        c.close()


def case_crowd(d):
    """More that don't negotiate than there are places: one that does is served."""
    crowd = [Client(d) for _ in range(80)]
    with Client(d, "a") as c:
        check(len(c.pread(0, 512)) == 512, "a client in the crowd")
    check(crowd[0].ended(), "the oldest went")
    for c in crowd:
        c.close()


# ---- starting and ending ---------------------------------------------------------------------------------

def options():
    folder = Folder()
    # Off, and elsewhere.
    d = Daemon("--lun", "ram:8MiB", "--nbd", "off", folder=folder, name="off").start()
    check(not os.path.exists(nbd.path(d)), "--nbd off: no socket")
    d.stop()
    elsewhere = folder("elsewhere.sock")
    d = Daemon("--lun", "ram:8MiB", "--nbd", elsewhere, folder=folder, name="one").start()
    mode = os.stat(elsewhere)
    check(stat.S_ISSOCK(mode.st_mode) and not mode.st_mode & 0o007, "not for everybody")
    # A second one is told who is in its way; a file stays what it is.
    for path, says in ((elsewhere, f"process {d.process.pid} listens"), (folder("file"), "is no socket")):
        if path != elsewhere:
            folder.write("file", "content")
        other = Daemon("--lun", "ram:8MiB", "--nbd", path, folder=folder, name="two")
        other.launch()
        same(other.process.wait(30), 1, "exit status")
        Daemon.running.remove(other)
        check(says in other.log(), f"it says why: {other.log()}")
    with open(folder("file"), encoding="ascii") as f:
        same(f.read(), "content", "the file")
    # Killed, it leaves a socket, which the next start replaces.
    d.kill()
    check(os.path.exists(elsewhere), "a killed one leaves its socket")
    d = Daemon("--lun", "ram:8MiB", "--nbd", elsewhere, folder=folder, name="one").start()
    # It ends in order whatever clients do.
    stuck = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    stuck.connect(elsewhere)
    began = time.monotonic()
    d.stop()
    check(time.monotonic() - began < 10, "a client doesn't keep it")
    check(not os.path.exists(elsewhere), "an ended one takes its socket with it")
    stuck.close()
    # A default that can't be isn't worth a refusal.
    deep = folder("d" * 100)
    os.mkdir(deep)
    d = Daemon("--lun", "ram:8MiB", "--control", folder("c.sock"), folder=folder, name="deep")
    d.state = os.path.join(deep, "state")
    d.start()
    check("LUNs aren't served over NBD" in d.log(), "it says so")
    d.stop()


def main():
    if len(sys.argv) == 1:
        options()
        rates()
    folder = Folder()
    with open(folder("a.img"), "wb") as f:
        f.write(os.urandom(2 * MIB))
        f.seek(5 * MIB + 4096)
        f.write(os.urandom(3 * MIB))
        f.seek(33 * MIB)
        f.write(os.urandom(MIB))
        f.truncate(64 * MIB)
    d = Daemon("--loops", "2", "--buffers", "64MiB", config=CONFIG, folder=folder).start()
    with Changes(d) as c:  # the history of changes stays open from the first one on
        c.done("lun.create", name="first", store="ram:", size="1MiB")
        c.done("lun.delete", name="first", yes=True)

    def probe():
        with Client(d, "a") as c:
            check(len(c.pread(1, 1000)) == 1000, "the NBD server answers")
        with Session(d.port, TARGET, name=A) as s:
            same(s.ready().status, GOOD, "the unit")

    run_cases(globals(), d, probe)


run(main)
