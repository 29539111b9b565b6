#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
LUNs behind a cache grow while they are used: by order, because their device has grown, in each mode, with memory
and without, frozen, killed at any moment of it. Arguments: names of cases.
"""

import os
import sys
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from change import Changes  # noqa: E402
from control import Control, started, stop  # noqa: E402
from iscsi import GOOD, Session  # noqa: E402
from nbd import Client  # noqa: E402
from terraced import TARGET, Daemon, Folder, check, run, run_each, same, wait_until  # noqa: E402

MIB = 1 << 20
ODD = 16 * MIB + 5 * 512  # the last block of the cache is there in part
MODES = ("nv", "writethrough", "volatile", "bypass")
CAPACITY_CHANGED = (6, 0x2A, 0x09)
CONFIG = """
cache fast { ssd "{dir}/ssd"; size 96MiB; ram RAM }
portal p { listen 127.0.0.1:{port} }
target iqn.2026-11.example.terrace:test { portals p; open yes }
"""


def start(folder, ram):
    return started(Daemon(config=CONFIG.replace("RAM", ram), folder=folder), timeout=120)


def create(d, name, number, mode="nv", size=ODD):
    with Changes(d, timeout=120) as c:
        c.done("lun.create", name=name, store=f"file:{d.folder(name)}.img", size=size, mode=mode,
               options={"cache": "fast"}, to="iqn.2*", number=number)


def lun(d, name):
    return next(x for x in d.control.call("lun.list") if x["name"] == name)


def block(number):
    return number.to_bytes(8, "little") * 64  # 512 bytes


class Work:
    """An initiator that writes the blocks of a range, one after the other and again, and notes how often each."""

    def __init__(self, d, number, first, count):
        self.session = Session(d.port, TARGET)
        self.session.ready(number)
        self.lun, self.first, self.written = number, first, [0] * count
        self.error, self.going_on, self.told = None, True, []
        self.thread = threading.Thread(target=self.main)
        self.thread.start()

    def main(self):
        at = 0
        try:
            while self.going_on:
                lba = self.first + at
                result = self.session.write10(lba, block(lba + self.written[at] + 1), self.lun)
                if result.code() == CAPACITY_CHANGED:
                    self.told.append(result)
                    continue
                same(result.status, GOOD, f"write of {lba}: {result}")
                self.written[at] += 1
                at = (at + 7) % len(self.written)
        except Exception as e:  # told by end()
            self.error = e

    def end(self):
        self.going_on = False
        self.thread.join(20)
        check(self.error is None, f"the initiator met {self.error!r}")
        check(sum(self.written) > 20, "the initiator has worked")
        self.session.close()

    def verify(self, d):
        with Session(d.port, TARGET) as s:
            s.ready(self.lun)
            for at, times in enumerate(self.written):
                lba = self.first + at
                got = s.read10(lba, 1, self.lun)
                same(got.status, GOOD, f"read of {lba}: {got}")
                check(got.data == (block(lba + times) if times else bytes(512)), f"block {lba} has other data")


def fill(d, number, first, count, seed):
    with Session(d.port, TARGET) as s:
        s.ready(number)
        for lba in range(first, first + count):
            r = s.write10(lba, block(seed + lba), number)
            same(r.status, GOOD, f"write of {lba}: {r}")


def filled(d, number, first, count, seed):
    with Session(d.port, TARGET) as s:
        s.ready(number)
        for lba in range(first, first + count):
            got = s.read10(lba, 1, number)
            same(got.status, GOOD, f"read of {lba}: {got}")
            check(got.data == block(seed + lba), f"block {lba} has other data")


def capacity(d, number):
    with Session(d.port, TARGET) as s:
        s.ready(number)
        return s.capacity(number)[0] * 512


def in_mode(d, mode, number):
    create(d, mode, number, mode)
    last = ODD // 512
    work = Work(d, number, last - 21, 21)  # the part of a block at the end is among them
    with Changes(d, timeout=120) as c:
        for turn in range(1, 4):
            size = ODD + turn * (3 * MIB + 512)
            answer = c.done("lun.resize", name=mode, size=size)
            same((answer["size_bytes"], answer["remarks"], answer["sessions"]), (size, [], []), f"{mode}: the answer")
            same(lun(d, mode)["size_bytes"], size, f"{mode}: shown")
            wait_until(lambda: len(work.told) == turn or work.error, f"{mode}: the initiator is told")
            fill(d, number, size // 512 - 19, 19, turn * 1000000)
            filled(d, number, size // 512 - 19, 19, turn * 1000000)
    work.end()
    work.verify(d)
    same(lun(d, mode)["mode"], mode, "its mode")
    return work


def in_modes(ram):
    folder = Folder()
    d = start(folder, ram)
    works = [in_mode(d, mode, number) for number, mode in enumerate(MODES)]
    for ends in (Daemon.kill, Daemon.stop):
        d.control.close()
        ends(d)
        d = start(folder, ram)
        for number, work in enumerate(works):
            work.verify(d)
            for turn in range(1, 4):
                size = ODD + turn * (3 * MIB + 512)
                filled(d, number, size // 512 - 19, 19, turn * 1000000)
            same(capacity(d, number), ODD + 3 * (3 * MIB + 512), f"{MODES[number]}: size after a restart")
    stop(d)


def case_each_mode():
    in_modes("none")


def case_each_mode_with_memory():
    in_modes("16MiB")


def case_device_that_grew():
    """Nobody says anything: the watch over the store sees it."""
    folder = Folder()
    d = start(folder, "16MiB")
    create(d, "a", 0)
    fill(d, 0, ODD // 512 - 19, 19, 5)
    # What comes behind the end isn't hidden by what was kept of the last block.
    with open(folder("a.img"), "r+b") as f:
        f.truncate(20 * MIB)
        f.seek(ODD)
        f.write(b"x" * 1536)
    wait_until(lambda: lun(d, "a")["size_bytes"] == 20 * MIB, "the LUN grows")
    filled(d, 0, ODD // 512 - 19, 19, 5)
    with Session(d.port, TARGET) as s:
        s.ready()
        same(s.read10(ODD // 512, 4).data, b"x" * 1536 + bytes(512), "what the device has behind the old end")
    with Client(d, "a") as x:
        same(x.size, 20 * MIB, "size of the NBD export")
        same(x.pread(ODD, 4), b"xxxx", "what it shows there")
    d.control.call("cache.evict", lun="a")
    filled(d, 0, ODD // 512 - 19, 19, 5)
    stop(d)


def case_while_it_is_frozen():
    folder = Folder()
    d = start(folder, "none")
    create(d, "a", 0)
    fill(d, 0, 0, 9, 5)
    with Control(d, timeout=60) as holder, Changes(d, timeout=60) as c:
        f = holder.call("cache.freeze", luns=["a"], limit_seconds=300)
        holder.send("cache.hold", id=f["id"])
        answer = c.done("lun.resize", name="a", size=20 * MIB)
        check("freeze" in str(answer["remarks"]) and "tried again" in str(answer["remarks"]), f"remarks: {answer}")
        same(answer["size_bytes"], ODD, "it stays as large")
        same(os.path.getsize(folder("a.img")), 20 * MIB, "its file doesn't")
        d.control.call("cache.thaw", id=f["id"])
        wait_until(lambda: lun(d, "a")["size_bytes"] == 20 * MIB, "the LUN grows")
    fill(d, 0, 20 * MIB // 512 - 9, 9, 5)
    filled(d, 0, 0, 9, 5)
    stop(d)


def case_killed():
    """With another delay each time, so that another step is hit."""
    folder = Folder()
    d = start(folder, "none")
    create(d, "a", 0)
    size = ODD
    for turn in range(10):
        fill(d, 0, size // 512 - 9, 9, turn)
        wanted = size + 2 * MIB + 512
        with Control(d, timeout=120) as c:
            c.send("lun.resize", name="a", size=wanted)
            time.sleep(turn * 0.003)  # nothing depends on it
            d.control.close()
            d.kill()
        d = start(folder, "none")
        got = lun(d, "a")["size_bytes"]
        check(got in (size, wanted), f"size {got} after {size} → {wanted}")
        filled(d, 0, size // 512 - 9, 9, turn)
        size = got
    check(size > ODD, "some of them were done")
    stop(d)


if __name__ == "__main__":
    run(lambda: run_each(globals()))
