#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
LUNs behind memory, over iSCSI: what was read once comes from memory, with an SSD behind it and without; what
was written is on the store; its size changes while initiators work. Arguments: names of cases.
"""

import json
import os
import random
import struct
import subprocess
import sys
import threading

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from control import started, stop  # noqa: E402
from iscsi import CHECK, GOOD, Closed, Session  # noqa: E402
from nbd import Client, uri  # noqa: E402
from terraced import (PROGRAM, TARGET, Daemon, Failed, Folder, check, requires, run, run_each, same,  # noqa: E402
                      wait_until)

MIB = 1 << 20
CONFIG = """
cache memory { ram SIZE SSD }
lun a { store "STORE"; size 64MiB; cache memory; MORE }
loops 2
portal p { listen 127.0.0.1:{port} }
target iqn.2026-11.example.terrace:test { portals p; open yes; lun 0 a }
"""


def config(folder, size="32MiB", ssd=None, more="", store=None):
    return (CONFIG.replace("SIZE", size).replace("STORE", store or folder("a.img"))
            .replace("SSD", f'; ssd "{ssd}"; size 64MiB' if ssd else "").replace("MORE", more))


def start(folder, text=None, *options):
    return started(Daemon(*options, config=text, folder=folder))


def again(d, text):
    """The configuration is another one from now on."""
    d.folder.write("terrace.conf", text.replace("{port}", str(d.port)))
    d.control.call("reload", yes=True)


def cache(d):
    return d.control.call("cache.list")[0]


def lun(d):
    return d.control.call("lun.list")[0]


def pattern(number):
    return struct.pack("<Q", number) * 512


def write(s, blocks):
    for i in blocks:
        same(s.write10(i * 8, pattern(i + 1)).status, GOOD, f"write {i}")


def read(s, blocks):
    for i in blocks:
        r = s.read10(i * 8, 8)
        same(r.status, GOOD, f"read {i}: {r}")
        check(r.data == pattern(i + 1), f"block {i} has other data")


def scattered(count, step=37, size=4096):
    return [i * step % size for i in range(count)]


def hits_again(d, s, blocks):
    """All of them come from memory."""
    before = cache(d)
    read(s, blocks)
    after = cache(d)
    same(after["ram_hits"] - before["ram_hits"], len(blocks), "hits")
    same(after["ram_misses"], before["ram_misses"], "misses")


# ---- the ordinary ------------------------------------------------------------------------------------

def case_without_ssd():
    folder = Folder()
    d = start(folder, config(folder))
    same((lun(d)["mode"], lun(d)["cache"]), ("writethrough", "memory"), "the LUN")
    same((cache(d)["state"], cache(d)["ssd"], cache(d)["luns"]), ("ok", "", 1), "the cache")
    same(cache(d)["ram_bytes"], 32 * MIB, "its memory")
    blocks = scattered(500)
    with Session(d.port, TARGET) as s:
        s.ready()
        write(s, blocks)
        hits_again(d, s, blocks)
    stop(d)
    with open(folder("a.img"), "rb") as f:
        for i in blocks:
            f.seek(i * 4096)
            check(f.read(4096) == pattern(i + 1), f"block {i} of the store")
    d = start(folder, config(folder))
    with Session(d.port, TARGET) as s:
        s.ready()
        read(s, blocks)
        hits_again(d, s, blocks)
        same(s.read10(64 * MIB // 512, 8).status, CHECK, "beyond the end")
        used = cache(d)["ram_used_bytes"]
        check(500 * 4096 <= used <= 32 * MIB, f"used: {used}")
    stop(d)


def case_in_front_of_an_ssd():
    folder = Folder()
    text = config(folder, ssd=folder("ssd"))
    d = start(folder, text)
    same(lun(d)["mode"], "nv", "mode")
    blocks = scattered(500)
    with Session(d.port, TARGET) as s:
        s.ready()
        write(s, blocks)
        before = cache(d)["reads"]
        hits_again(d, s, blocks)
        same(cache(d)["reads"], before, "nothing was asked of the SSD")
    d.kill()
    d.control.close()
    d = start(folder, text)
    with Session(d.port, TARGET) as s:
        s.ready()
        read(s, blocks)
        hits_again(d, s, blocks)
    wait_until(lambda: lun(d)["dirty_bytes"] == 0, "all is on the store", 20)
    stop(d)
    with open(folder("a.img"), "rb") as f:
        for i in blocks:
            f.seek(i * 4096)
            check(f.read(4096) == pattern(i + 1), f"block {i} of the store")


def case_streams_are_read_ahead():
    folder = Folder()
    with open(folder("a.img"), "wb") as f:
        for i in range(64 * MIB // 4096):
            f.write(pattern(i + 1))
    d = start(folder, config(folder, more="profile fileserver"))
    with Session(d.port, TARGET) as s:
        s.ready()
        read(s, range(2048))
        check(cache(d)["ram_hits"] > 1900, f"hits: {cache(d)}")
        again(d, config(folder, more="profile database"))
        ahead = cache(d)["ram_ahead"]
        read(s, range(4096, 4500))
        same(cache(d)["ram_ahead"], ahead, "nothing is read ahead for a database")
    stop(d)


def case_resized_while_in_use():
    folder = Folder()
    d = start(folder, config(folder, size="48MiB"))
    with Session(d.port, TARGET) as s:
        s.ready()
        write(s, scattered(4096, step=1))
        for size in ("16MiB", "200MiB", "20MiB", "64MiB"):
            again(d, config(folder, size=size))
            wait_until(lambda: cache(d)["ram_bytes"] == int(size[:-3]) * MIB, f"it is {size}", 20)
            read(s, scattered(3000))
            used = cache(d)["ram_used_bytes"]
            check(used <= int(size[:-3]) * MIB, f"{used} of {size} are used")
        blocks = scattered(3000)
        hits_again(d, s, blocks)
    stop(d)


def case_bypass_keeps_nothing():
    folder = Folder()
    d = start(folder, config(folder))
    with Session(d.port, TARGET) as s:
        s.ready()
        write(s, scattered(100))
        check(cache(d)["ram_used_bytes"] > 0, "it is used")
        again(d, config(folder, more="mode bypass"))
        wait_until(lambda: cache(d)["ram_used_bytes"] == 0, "nothing is kept", 5)
        read(s, scattered(100))
        same(cache(d)["ram_used_bytes"], 0, "nothing is kept")
        again(d, config(folder))
        read(s, scattered(100))
        hits_again(d, s, scattered(100))
    stop(d)


# ---- what others do to it --------------------------------------------------------------------------------

def fill_store(folder, size=64 * MIB):
    with open(folder("a.img"), "wb") as f:
        for i in range(size // 4096):
            f.write(pattern(i + 1))


def case_a_scan_leaves_the_hot_set():
    """Four times as much as there is memory, read in sequence, and then what was used before."""
    folder = Folder()
    fill_store(folder)
    d = start(folder, config(folder, size="16MiB", more="profile windows"))
    hot = scattered(1024, step=5, size=1280)
    with Session(d.port, TARGET) as s:
        s.ready()
        for _ in range(3):
            read(s, hot)
        hits_again(d, s, hot)
        before = cache(d)
        for lba in range(0, 64 * MIB // 512, 256):
            same(s.read10(lba, 256).status, GOOD, f"the scan at {lba}")
        after = cache(d)
        hits = after["ram_hits"] - before["ram_hits"]
        check(hits > 0.9 * 64 * MIB / 4096, f"the scan is read ahead: {hits} hits, {after}")
        before = after
        read(s, hot)
        hits = cache(d)["ram_hits"] - before["ram_hits"]
        check(hits >= 0.95 * len(hot), f"{hits} of {len(hot)} are still there")
    stop(d)


def case_looking_changes_nothing():
    """Over NBD: what is read is what initiators wrote, and neither tier notices."""
    folder = Folder()
    fill_store(folder)
    d = start(folder, config(folder, size="16MiB", ssd=folder("ssd")))
    hot = scattered(200)
    with Session(d.port, TARGET) as s, Client(d, "a") as c:
        s.ready()
        read(s, hot)
        hits_again(d, s, hot)
        wait_until(lambda: cache(d)["cached_bytes"] >= 200 * 4096, "the SSD has them", 10)
        before = cache(d)
        for at in range(0, 64 * MIB, MIB):
            data = c.pread(at, MIB)
            check(data == b"".join(pattern((at >> 12) + i + 1) for i in range(256)), f"MiB at {at}")
        after = cache(d)
        for key in ("ram_used_bytes", "ram_hits", "ram_misses", "ram_ahead", "reads", "read_hits",
                    "cached_bytes"):
            same(after[key], before[key], key)
        hits_again(d, s, hot)
        for i in range(100):
            block = hot[i]
            same(s.write10(block * 8, pattern(7000 + i)).status, GOOD, "a write")
            check(c.pread(block * 4096, 4096) == pattern(7000 + i), "the next look sees it")
    stop(d)


def tool(*command):
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    check(done.returncode == 0, f"{command}: {done.returncode} {done.stderr[-500:]}")


def case_images_are_identical():
    """More than there is memory, by qemu-img over iSCSI, with an SSD and without."""
    requires("qemu-img")
    if "iscsi" not in subprocess.run(["qemu-img", "--help"], capture_output=True, text=True,
                                     timeout=20, check=False).stdout:
        print("qemu-img has no iSCSI: not tried", flush=True)
        return
    for ssd in (None, "ssd"):
        folder = Folder()
        image, back = folder("image"), folder("back")
        rnd = random.Random(3)
        with open(image, "wb") as f:
            for i in range(64):
                f.write(bytes(MIB) if i % 5 == 0 else rnd.randbytes(MIB))
        d = start(folder, config(folder, size="16MiB", ssd=ssd and folder(ssd)))
        lun = "json:" + json.dumps({"driver": "raw", "file": {
            "driver": "iscsi", "transport": "tcp", "portal": f"127.0.0.1:{d.port}",
            "target": TARGET, "lun": 0}})
        tool("qemu-img", "convert", "-n", "-t", "none", "-f", "raw", "-O", "raw", image, lun)
        tool("qemu-img", "compare", "-f", "raw", "-F", "raw", image, lun)
        tool("qemu-img", "convert", "-f", "raw", "-O", "raw", lun, back)
        tool("cmp", image, back)
        tool("qemu-img", "compare", "-f", "raw", "-F", "raw", image, uri(d, "a"))
        check(cache(d)["ram_used_bytes"] <= 16 * MIB, "no more memory than that")
        stop(d)


class Traffic:
    """One initiator writes blocks with growing numbers, another reads them: what each of them knows."""

    BLOCKS = 64

    def __init__(self, port):
        self.port = port
        self.acknowledged = [0] * self.BLOCKS
        self.sent = [0] * self.BLOCKS
        self.read = [0] * self.BLOCKS
        self.threads = [threading.Thread(target=self.run, args=(f,)) for f in (self.write, self.look)]

    def run(self, act):
        try:
            with Session(self.port, TARGET) as s:
                s.ready()
                while True:
                    act(s, random.randrange(self.BLOCKS))
        except (Closed, OSError):
            pass  # it was killed

    def write(self, s, block):
        self.sent[block] += 1
        number = self.sent[block]
        r = s.write10(block * 8, pattern(number))
        if r.status == GOOD:
            self.acknowledged[block] = number

    def look(self, s, block):
        r = s.read10(block * 8, 8)
        if r.status == GOOD:
            self.read[block] = max(self.read[block], struct.unpack_from("<Q", r.data)[0])


def case_killed_nothing_read_is_lost():
    """Invariants 2 and 1: what was read or acknowledged is there after kill -9, and nothing older."""
    for ssd in (None, "ssd"):
        folder = Folder()
        text = config(folder, size="16MiB", ssd=ssd and folder(ssd))
        known = [0] * Traffic.BLOCKS
        for _ in range(3):
            d = start(folder, text)
            t = Traffic(d.port)
            t.sent = list(known)
            t.acknowledged = list(known)
            for thread in t.threads:
                thread.start()
            wait_until(lambda: sum(t.acknowledged) > sum(known) + 150, "writes", 20)
            d.kill()
            d.control.close()
            for thread in t.threads:
                thread.join(20)
            check(any(t.read), "something was read")
            d = start(folder, text)
            with Session(d.port, TARGET) as s:
                s.ready()
                for again_ in range(2):  # from below, and from memory
                    for i in range(t.BLOCKS):
                        got = struct.unpack_from("<Q", s.read10(i * 8, 8).data)[0]
                        check(max(t.acknowledged[i], t.read[i]) <= got <= t.sent[i],
                              f"block {i} is {got}; acknowledged {t.acknowledged[i]}, read "
                              f"{t.read[i]}, sent {t.sent[i]}")
                        known[i] = got
            stop(d)


def case_luns_come_and_go():
    folder = Folder()
    d = start(folder, config(folder))
    d.control.call("lun.create", name="b", store=folder("b.img"), size="16MiB",
                   options={"cache": "memory"}, to="iqn.b:*")
    same(cache(d)["luns"], 2, "LUNs")
    blocks = scattered(50, size=4000)
    with Session(d.port, TARGET, name="iqn.b:one") as s:
        s.ready()
        write(s, blocks)
        hits_again(d, s, blocks)
        # Taken away and given back under its user.
        d.control.call("lun.set", name="b", key="cache", value=None, yes=True)
        same(cache(d)["luns"], 1, "LUNs")
        same(cache(d)["ram_used_bytes"], 0, "nothing is kept of a LUN that went")
        s.ready()
        read(s, blocks)
        d.control.call("lun.set", name="b", key="cache", value="memory", yes=True)
        s.ready()
        read(s, blocks)
        hits_again(d, s, blocks)
        d.control.call("lun.resize", name="b", size="24MiB")
        s.ready()
        write(s, [5000])
        read(s, blocks + [5000])
    d.control.call("lun.delete", name="b", yes=True)
    same((cache(d)["luns"], cache(d)["ram_used_bytes"]), (1, 0), "all of it went")
    stop(d)


def case_command_line():
    folder = Folder()
    d = start(folder, None, "--lun", folder("a.img") + ":16MiB", "--ram", "64MiB", "--quiet")
    same((cache(d)["name"], cache(d)["ram_bytes"]), ("ram", 64 * MIB), "the cache")
    with Session(d.port, TARGET) as s:
        s.ready()
        write(s, scattered(50, size=2048))
        hits_again(d, s, scattered(50, size=2048))
    stop(d)
    # Where nothing is said: an eighth of what there is, with an SSD.
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for more, least, most in (([], 16 * MIB, max(memory // 8, 16 * MIB)), (["--ram", "none"], 0, 0)):
        folder = Folder()
        d = start(folder, None, "--lun", "ram:16MiB", "--ssd", folder("ssd") + ":64MiB", "--quiet",
                  *more)
        check(least <= cache(d)["ram_bytes"] <= most, f"memory: {cache(d)}")
        stop(d)
    for arg, said in (("15MiB", "at least 16MiB"), ("x", "give a size")):
        p = subprocess.run([PROGRAM, "--lun", "ram:16MiB", "--ram", arg], capture_output=True,
                           text=True, timeout=20, check=False)
        same(p.returncode, 2, "status")
        check(said in p.stderr, p.stderr)


def case_configuration_is_checked():
    folder = Folder()
    for text, said in (
            (config(folder).replace("ram 32MiB", ""), "needs an SSD, memory, or both"),
            (config(folder, size="none"), "needs an SSD, memory, or both"),
            (config(folder).replace("ram 32MiB", "ram 32MiB; size 1GiB"), "size is the SSD's"),
            (config(folder, more="mode nv"), "with an SSD"),
            (config(folder, size="1MiB"), "16MiB")):
        d = Daemon(config=text, folder=folder)
        try:
            d.start()
        except Failed:
            check(said in d.log(), f"'{said}' isn't in: {d.log()}")
            os.unlink(d.log_path)
            continue
        d.stop()
        raise Failed(f"it started: {said}")


if __name__ == "__main__":
    run(lambda: run_each(globals()))
