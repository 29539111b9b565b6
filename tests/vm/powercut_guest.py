#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""In the VM; see powercut.py. Usage: powercut_guest.py SECONDS POINTS [volatile]"""

import os
import random
import re
import shutil
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "lib"))
sys.path.insert(0, os.path.join(HERE, "../e2e/lib"))
from iscsi import Session  # noqa: E402
from logwrites import Replay, read_log  # noqa: E402
from terraced import TARGET, Daemon, Folder, check, run, same  # noqa: E402

TRACING = "/sys/kernel/tracing"
NAMES = ("ssd", "store", "plain")  # on /dev/ram0 to 2, to be put back on 3 to 5, logged on 6 to 8
SECTOR = 512
SLOTS = 96
SLOT_SECTORS_MAX = 128
LUNS = ("nv", "plain")
ANSWERS_MIN, SYNCS_MIN, LOAD_MORE_S = 20, 6, 60
VOLATILE = sys.argv[3:] == ["volatile"]
MODE = "; mode volatile" if VOLATILE else ""
CONFIG = """
portal local { listen 127.0.0.1:{port} }
cache fast { ssd block:/dev/mapper/ssd }
lun nv { store block:/dev/mapper/store; cache fast""" + MODE + """ }
lun plain { store block:/dev/mapper/plain""" + MODE + """ }
target """ + TARGET + """ { portals local; open yes; lun 0 nv; lun 1 plain }
loops 2
buffers 32MiB
"""


def sector(slot, number):
    return (slot << 40 | number).to_bytes(8, "little") * (SECTOR // 8)


class Slot:
    """A range of one LUN with at most one write under way."""

    def __init__(self, index):
        self.index, self.lun = index, 0 if index % 4 else 1
        self.lba = index * 340  # spread over the 16 MiB
        # Enough behind the cache that it has to write back.
        self.sectors = random.choice((1, 8, 64, SLOT_SECTORS_MAX, SLOT_SECTORS_MAX))
        self.itt = None

    def write(self, session, number, fua):
        cdb = bytes((0x2a, fua << 3)) + self.lba.to_bytes(4, "big") + b"\0" + self.sectors.to_bytes(2, "big") + b"\0"
        self.itt = session.command(cdb, lun=self.lun, write=sector(self.index, number) * self.sectors)

    def verify(self, data, allowed):
        for i in range(self.sectors):
            got = data[i * SECTOR:(i + 1) * SECTOR]
            check(any(got == (sector(self.index, n) if n else bytes(SECTOR)) for n in allowed),
                  f"LUN {LUNS[self.lun]}, slot {self.index}, LBA {self.lba + i}: write "
                  f"{int.from_bytes(got[:8], 'little') & (1 << 40) - 1}, allowed are {allowed}")


class Load:
    """
    What is written, and what of it the trace is told: "sent"; "answered", of a write that has to be durable
    then; in mode volatile "durable", for a write with FUA and for all that were answered before a
    SYNCHRONIZE CACHE was sent, when that is answered.
    """

    def __init__(self, slots):
        self.slots, self.number, self.answered, self.syncs = slots, 0, 0, 0
        self.trace = os.open(f"{TRACING}/trace_marker", os.O_WRONLY)
        self.in_memory = [{} for _ in LUNS]  # slot: number, of a volatile LUN: answered and no more
        self.end = 0
        self.under_way = {}  # tag: what to do when it is answered
        self.syncing = [False for _ in LUNS]

    def tell(self, what, slot, number):
        os.write(self.trace, f"{what} {slot.index} {number}".encode())

    def write(self, session, slot):
        self.number += 1
        number, fua = self.number, VOLATILE and random.random() < 0.1
        self.tell("sent", slot, number)
        slot.write(session, number, fua)

        def answered():
            if not VOLATILE:
                self.tell("answered", slot, number)
            elif fua:
                self.tell("durable", slot, number)
                self.in_memory[slot.lun].pop(slot, None)
            else:
                self.in_memory[slot.lun][slot] = number
            slot.itt = None
            self.answered += 1
        self.under_way[slot.itt] = answered, f"write of slot {slot.index}"

    def sync(self, session, lun):
        covered = dict(self.in_memory[lun])
        self.syncing[lun] = True

        def answered():
            for slot, number in covered.items():
                self.tell("durable", slot, number)
            self.syncing[lun] = False
            self.syncs += 1
        itt = session.command(b"\x35" + bytes(9), lun=lun)
        self.under_way[itt] = answered, f"SYNCHRONIZE CACHE of {LUNS[lun]}"

    def goes_on(self, now):
        """For its time, and until enough was answered that there is something to cut between."""
        enough = self.answered > ANSWERS_MIN and (self.syncs > SYNCS_MIN or not VOLATILE)
        return now < self.end or (not enough and now < self.end + LOAD_MORE_S)

    def run(self, session, seconds):
        self.end = time.monotonic() + seconds
        more = True
        while more or self.under_way:
            more = self.goes_on(time.monotonic())
            # Before the writes, which take all the room there is.
            for lun in range(len(LUNS)):
                room = (session.max_cmd_sn - session.cmd_sn) & 0xFFFFFFFF < 0x80000000
                if more and VOLATILE and room and not self.syncing[lun] and random.random() < 0.2:
                    self.sync(session, lun)
            for slot in self.slots:
                room = (session.max_cmd_sn - session.cmd_sn) & 0xFFFFFFFF < 0x80000000
                if more and slot.itt is None and room and random.random() < 0.5:
                    self.write(session, slot)
            if self.under_way:
                session.pump(30)
            for itt in [i for i in self.under_way if i in session.answers]:
                result, (answered, what) = session.answers.pop(itt), self.under_way.pop(itt)
                same(result.status, 0, what)
                answered()


class Trace:
    """Completions of flushes and FUA writes of our devices, and what the load told, in their order."""

    def __init__(self):
        self.devices = {}
        for name in NAMES:
            number = os.stat(f"/dev/mapper/{name}").st_rdev
            self.devices[f"{os.major(number)},{os.minor(number)}"] = name
        wanted = " || ".join(f"dev == {os.major(n) << 20 | os.minor(n)}" for n in
                             (os.stat(f"/dev/mapper/{name}").st_rdev for name in NAMES))
        self.set("buffer_size_kb", "16384")
        self.set("trace_clock", "global")
        self.set("events/block/block_bio_complete/filter", wanted)
        self.set("events/block/block_bio_complete/enable", "1")
        self.set("tracing_on", "1")

    @staticmethod
    def set(name, value):
        with open(f"{TRACING}/{name}", "w", encoding="ascii") as f:
            f.write(value)

    def events(self):
        """(name of a device, None, None) and (what Load tells, slot, number)."""
        self.set("tracing_on", "0")
        found = []
        with open(f"{TRACING}/trace", encoding="ascii", errors="replace") as f:
            for line in f:
                m = re.search(r"block_bio_complete: (\d+,\d+) (\S+) ", line)
                if m and m.group(1) in self.devices and "F" in m.group(2):
                    found.append((self.devices[m.group(1)], None, None))
                m = re.search(r": (sent|answered|durable) (\d+) (\d+)$", line)
                if m:
                    found.append((m.group(1), int(m.group(2)), int(m.group(3))))
                check("LOST" not in line, f"the trace has gaps: {line}")
        return found


def command(*words):
    subprocess.run(words, check=True, timeout=60)


def size_of(path):
    with open(path, "rb") as f:
        return f.seek(0, os.SEEK_END)


class Devices:
    """The three, first recorded, later put back as they were."""

    def __init__(self):
        self.sizes = {n: size_of(f"/dev/mapper/{n}") for n in NAMES}
        self.replays = {}

    def put_back(self):
        """The same names on other memory, so that terraced finds them as they were called."""
        for i, name in enumerate(NAMES):
            command("dmsetup", "remove", "--noudevsync", name)
            self.replays[name] = Replay(read_log(f"/dev/ram{i + 6}"), self.sizes[name])
            command("dmsetup", "create", "--noudevsync", name, "--table",
                    f"0 {self.sizes[name] // SECTOR} linear /dev/ram{i + 3} 0")
        command("dmsetup", "mknodes")

    def fill(self, images):
        for name, image in images.items():
            with open(f"/dev/mapper/{name}", "wb", buffering=0) as f:
                f.write(image)
                os.fsync(f.fileno())


class Held:
    """
    What a slot may hold after a power cut: what was durable last, or what was sent since, which may be
    several in mode volatile.
    """

    def __init__(self):
        self.durable, self.since = 0, []

    def take(self, what, number):
        if what == "sent":
            self.since.append(number)
        elif number > self.durable:
            self.durable = number
            self.since = [n for n in self.since if n > number]

    def allowed(self):
        return {self.durable, *self.since}


def moments(events, replays):
    """
    After each barrier since the load began: how many barriers each device had completed, and what
    each slot may hold.
    """
    done = dict.fromkeys(NAMES, 0)
    held = {}
    found = []
    for what, slot, number in events:
        if slot is not None:
            held.setdefault(slot, Held()).take(what, number)
        else:
            done[what] += 1
            if held:
                found.append((dict(done), {s: h.allowed() for s, h in held.items()}))
    for name in NAMES:
        same(done[name], replays[name].barriers, f"barriers of {name} in the trace and in its log")
    return found


class Recovery:
    """Starts terraced on what a power cut has left, and looks."""

    def __init__(self, state, slots):
        self.state, self.slots = state, slots
        self.count = 0

    def check(self, allowed):
        folder = Folder()
        shutil.copytree(self.state, folder("state"))
        daemon = Daemon(config=CONFIG, folder=folder)
        daemon.start(120)
        with Session(daemon.port, TARGET, timeout=120) as session:
            for lun in range(len(LUNS)):
                session.ready(lun)
            for slot in self.slots:
                data = session.read10(slot.lba, slot.sectors, lun=slot.lun)
                same(data.status, 0, f"read of slot {slot.index}")
                slot.verify(data.data, allowed.get(slot.index, {0}))
        daemon.kill()
        daemon.check_log()
        shutil.rmtree(folder.path)
        self.count += 1


def record(slots, seconds, trace, folder):
    """The load; the state directory as it was before it, which must not change meanwhile."""
    daemon = Daemon(config=CONFIG, folder=folder)
    daemon.start(120)
    load = Load(slots)
    with Session(daemon.port, TARGET, timeout=120) as session:
        for lun in range(len(LUNS)):
            session.ready(lun)
        shutil.copytree(daemon.state, folder("before"), ignore=shutil.ignore_patterns("*.sock"))
        load.run(session, seconds)
    daemon.kill()
    daemon.check_log()
    for path, _, names in os.walk(folder("before", "markers")):
        for name in names:
            with open(os.path.join(path, name), "rb") as a, \
                    open(os.path.join(daemon.state, "markers", name), "rb") as b:
                same(a.read(), b.read(), "the marker of a store after the load")
    check(load.answered > ANSWERS_MIN, f"only {load.answered} writes were answered")
    check(load.syncs > SYNCS_MIN or not VOLATILE, f"only {load.syncs} SYNCHRONIZE CACHE were answered")
    return load.answered, trace.events()


def main():
    seconds, most = float(sys.argv[1]), int(sys.argv[2])
    random.seed(seed := int(os.environ.get("SEED") or time.time()))
    print(f"seed {seed}", flush=True)
    slots = [Slot(i) for i in range(SLOTS)]
    devices, trace, folder = Devices(), Trace(), Folder()
    began = time.monotonic()
    answered, events = record(slots, seconds, trace, folder)
    devices.put_back()
    replays = devices.replays
    found = moments(events, replays)
    counts = ", ".join(f"{n} {replays[n].barriers}" for n in NAMES)
    print(f"recorded in {time.monotonic() - began:.1f} s: {answered} writes answered, "
          f"{len(found)} flushes and FUA writes under load (in all: {counts})", flush=True)
    check(len(found) > 20, "too few flushes to cut the power at")
    step = max(1, len(found) // most) if most else 1
    recovery = Recovery(folder("before"), slots)
    began = time.monotonic()
    for i in range(random.randrange(step), len(found), step):
        done, allowed = found[i]
        for name in NAMES:
            replays[name].forward(done[name])
        try:
            if random.random() < 0.5 or i + 1 == len(found):
                how = "none"
                devices.fill({n: replays[n].image for n in NAMES})
                recovery.check(allowed)
            else:
                # Just before the next one: of its device anything may be there.
                how = random.choice(("all", "random", "random"))
                after, allowed = found[i + 1]  # nothing was answered since, or it was durable
                devices.fill({n: replays[n].with_some_of_the_next(how if after[n] > done[n] else "none")
                              for n in NAMES})
                recovery.check(allowed)
        except Exception:
            print(f"power cut after barrier {i} ({done}), {how} of what was not flushed; seed {seed}")
            raise
    print(f"{recovery.count} power cuts, {(time.monotonic() - began) / recovery.count:.2f} s each")


run(main)
