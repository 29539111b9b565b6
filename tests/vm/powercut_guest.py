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

    def numbers(self, data):
        """Of which write each sector is."""
        for i in range(self.sectors):
            got = data[i * SECTOR:(i + 1) * SECTOR]
            number = int.from_bytes(got[:8], "little") & (1 << 40) - 1
            check(got == (sector(self.index, number) if number else bytes(SECTOR)),
                  f"{self}: sector {i} is of no write as a whole: {got[:64].hex()}")
            yield number

    def verify(self, data, allowed):
        for i, number in enumerate(self.numbers(data)):
            check(number in allowed, f"{self}: sector {i} is of write {number}, allowed are {allowed}")

    def __str__(self):
        return f"LUN {LUNS[self.lun]}, slot {self.index} at LBA {self.lba}"


class Load:
    """
    What is written, and what of it the trace is told: "sent"; "answered", of a write that has to be durable
    then; in mode volatile "durable", for a write with FUA and for all that were answered before a
    SYNCHRONIZE CACHE was sent, when that is answered. After a kill -9, "seen": what can be read has to stay.
    """

    def __init__(self, slots):
        self.slots, self.number, self.answered, self.syncs = slots, 0, 0, 0
        self.trace = os.open(f"{TRACING}/trace_marker", os.O_WRONLY)
        self.in_memory = [{} for _ in LUNS]  # slot: number, of a volatile LUN: answered and no more
        self.end = 0
        self.under_way = {}  # tag: what to do when it is answered
        self.syncing = [False for _ in LUNS]

    def tell(self, what, slot=None, number=0):
        os.write(self.trace, f"{what} {slot.index if slot else 0} {number}".encode())

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

    def run(self, session, seconds, drain):
        """Without drain it ends with writes under way."""
        self.end = time.monotonic() + seconds
        more = True
        while more or (drain and self.under_way):
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

    def killed(self):
        check(self.under_way, "nothing was under way at the kill")
        self.tell("killed")
        self.under_way.clear()
        for slot in self.slots:
            slot.itt = None

    def look(self, session):
        self.tell("restarted")
        for slot in self.slots:
            for number in set(slot.numbers(read(session, slot))):
                self.tell("seen", slot, number)


def read(session, slot):
    result = session.read10(slot.lba, slot.sectors, lun=slot.lun)
    same(result.status, 0, f"read of {slot}")
    return result.data


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
                m = re.search(r": (sent|answered|durable|seen|killed|restarted) (\d+) (\d+)$", line)
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
        self.durable, self.since, self.before = {0}, [], {0}  # before: what a kill -9 could leave

    def restarted(self):
        self.before = self.allowed()  # each sector by itself: a write may have been cut
        self.durable, self.since = set(), []

    def take(self, what, number):
        if what == "sent":
            self.since.append(number)
        elif what == "seen":
            check(number in self.before, f"write {number} is seen after the kill, allowed are {self.before}")
            self.durable.add(number)
        elif number > max(self.durable):
            self.durable = {number}
            self.since = [n for n in self.since if n > number]

    def allowed(self):
        return {*(self.durable or self.before), *self.since}


class Moment:
    """After a barrier: how many each device had completed, what each slot may hold, starts of terraced so far."""

    def __init__(self, done, held, starts):
        self.done, self.starts = dict(done), starts
        self.allowed = {slot: h.allowed() for slot, h in held.items()}

    def is_just_before(self, other):
        return self.starts == other.starts and sum(other.done.values()) == sum(self.done.values()) + 1


def moments(events, replays):
    """Each since the load began, but for those of a start: between what it tells the SSD and its state directory."""
    done = dict.fromkeys(NAMES, 0)
    held, found, starts, serves = {}, [], 1, True
    for what, slot, number in events:
        if what == "killed":
            serves = False
        elif what == "restarted":
            serves, starts = True, starts + 1
            for h in held.values():
                h.restarted()
        elif slot is not None:
            held.setdefault(slot, Held()).take(what, number)
        else:
            done[what] += 1
            if held and serves:
                found.append(Moment(done, held, starts))
    for name in NAMES:
        same(done[name], replays[name].barriers, f"barriers of {name} in the trace and in its log")
    return found


class Recovery:
    """Starts terraced on what a power cut has left, and looks."""

    def __init__(self, states, slots):
        self.states, self.slots = states, slots
        self.count = 0

    def check(self, moment):
        folder = Folder()
        shutil.copytree(self.states[moment.starts - 1], folder("state"))
        daemon = Daemon(config=CONFIG, folder=folder)
        daemon.start(120)
        with Session(daemon.port, TARGET, timeout=120) as session:
            for lun in range(len(LUNS)):
                session.ready(lun)
            for slot in self.slots:
                slot.verify(read(session, slot), moment.allowed.get(slot.index, {0}))
        daemon.kill()
        daemon.check_log()
        shutil.rmtree(folder.path)
        self.count += 1


class Recording:
    """The load, with a kill -9 in its middle unless writes may be lost by one."""

    def __init__(self, slots, folder):
        self.load, self.folder = Load(slots), folder
        self.daemon = Daemon(config=CONFIG, folder=folder)
        self.states = []  # the state directory as it was after each start

    def serve(self, seconds, drain, look):
        self.daemon.start(120)
        with Session(self.daemon.port, TARGET, timeout=120) as session:
            for lun in range(len(LUNS)):
                session.ready(lun)
            self.states.append(self.folder(f"state-{len(self.states)}"))
            shutil.copytree(self.daemon.state, self.states[-1], ignore=shutil.ignore_patterns("*.sock"))
            if look:
                self.load.look(session)
            self.load.run(session, seconds, drain)
            self.daemon.kill()
        if not drain:
            self.load.killed()
        self.daemon.check_log()
        self.compare_markers()

    def compare_markers(self):
        """They must not have changed since the start."""
        for path, _, names in os.walk(os.path.join(self.states[-1], "markers")):
            for name in names:
                with open(os.path.join(path, name), "rb") as a, \
                        open(os.path.join(self.daemon.state, "markers", name), "rb") as b:
                    same(a.read(), b.read(), "the marker of a store after the load")

    def run(self, seconds):
        if not VOLATILE:
            self.serve(seconds / 2, False, False)
            seconds /= 2
        self.serve(seconds, True, not VOLATILE)
        load = self.load
        check(load.answered > ANSWERS_MIN, f"only {load.answered} writes were answered")
        check(load.syncs > SYNCS_MIN or not VOLATILE, f"only {load.syncs} SYNCHRONIZE CACHE were answered")


def main():
    seconds, most = float(sys.argv[1]), int(sys.argv[2])
    random.seed(seed := int(os.environ.get("SEED") or time.time()))
    print(f"seed {seed}", flush=True)
    slots = [Slot(i) for i in range(SLOTS)]
    devices, trace, folder = Devices(), Trace(), Folder()
    began = time.monotonic()
    recording = Recording(slots, folder)
    recording.run(seconds)
    events = trace.events()
    devices.put_back()
    replays = devices.replays
    found = moments(events, replays)
    counts = ", ".join(f"{n} {replays[n].barriers}" for n in NAMES)
    print(f"recorded in {time.monotonic() - began:.1f} s: {recording.load.answered} writes answered, "
          f"{len(found)} flushes and FUA writes under load, {sum(m.starts > 1 for m in found)} of them after a "
          f"kill -9 (in all: {counts})", flush=True)
    check(len(found) > 20, "too few flushes to cut the power at")
    step = max(1, len(found) // most) if most else 1
    recovery = Recovery(recording.states, slots)
    began = time.monotonic()
    for i in range(random.randrange(step), len(found), step):
        moment = found[i]
        for name in NAMES:
            replays[name].forward(moment.done[name])
        after = found[i + 1] if i + 1 < len(found) else moment
        how = "none"
        if moment.is_just_before(after) and random.random() < 0.5:
            # Just before the next one: of its device anything may be there.
            how = random.choice(("all", "random", "random"))
        try:
            devices.fill({n: replays[n].with_some_of_the_next(how if after.done[n] > moment.done[n] else "none")
                          for n in NAMES})
            # Nothing was answered between the two, or it was durable.
            recovery.check(moment if how == "none" else after)
        except Exception:
            print(f"power cut after barrier {i} ({moment.done}), {how} of what was not flushed; seed {seed}")
            raise
    print(f"{recovery.count} power cuts, {(time.monotonic() - began) / recovery.count:.2f} s each")


run(main)
