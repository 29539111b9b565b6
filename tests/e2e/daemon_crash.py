#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
kill -9 under load, again and again, with an oracle: what a writethrough LUN acknowledged is there after
the restart, on the wire and in the file; what was under way is there wholly or not at all, sector by
sector. With "cache" the LUN is behind one in mode nv, on an SSD so small that its log goes round; every third
round the catalogue is lost as well, and now and then the kill comes while the cache is being recovered. With
"orders" the kills also come while the cache is flushed, evicted or frozen, while its mode changes, and while the
LUN loses its cache or gets it back. Arguments: the number of rounds (default 6), "cache", "orders".
"""

import os
import random
import shutil
import struct
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
import iscsi  # noqa: E402
from control import Control, Error  # noqa: E402
from iscsi import GOOD, Closed, Session  # noqa: E402
from terraced import TARGET, Daemon, Failed, Folder, check, run, same  # noqa: E402

BLOCKS = 8192  # of 512 bytes: small, so that ranges are written again and again
DEPTH = 24
SSD_BYTES = 32 << 20
SEED = int.from_bytes(os.urandom(4), "big") if "SEED" not in os.environ else int(os.environ["SEED"])


def stamp(lba, number):
    """512 bytes that say where they belong and when they were written."""
    return struct.pack(">QQ", lba, number) * 32


class Oracle:
    """Per sector: the last acknowledged number, and those that were sent after it."""

    def __init__(self):
        self.acknowledged = [0] * BLOCKS
        self.sent = [[] for _ in range(BLOCKS)]
        self.number = 0

    def send(self, lba, count):
        self.number += 1
        for at in range(lba, lba + count):
            self.sent[at].append(self.number)
        return self.number

    def acknowledge(self, lba, count, number):
        for at in range(lba, lba + count):
            self.acknowledged[at] = max(self.acknowledged[at], number)

    def check(self, lba, sector, where):
        if not any(sector):
            got = 0
        else:
            place, got = struct.unpack_from(">QQ", sector)
            same(sector, stamp(lba, got), f"{where}: sector {lba} is of one piece")
            same(place, lba, f"{where}: sector {lba}")
        allowed = [n for n in self.sent[lba] if n > self.acknowledged[lba]]
        allowed.append(self.acknowledged[lba])
        check(got in allowed, f"{where}: sector {lba} has write {got}, acknowledged is "
              f"{self.acknowledged[lba]} (seed {SEED})")
        # What is there now stays: the next round begins with it.
        self.acknowledged[lba] = got
        self.sent[lba] = []


def load(s, oracle, rnd, seconds, kill, order=None):
    """
    Writes until the target is killed, DEPTH at a time and none over another that is under way. `order` comes
    a moment before the kill; what fails then may have been written.
    """
    under_way = {}
    busy = set()
    end = time.monotonic() + seconds
    order_at = end - rnd.uniform(0, 0.2)
    killed = False
    done = 0
    tolerant = False
    try:
        while True:
            while len(under_way) < DEPTH and not (s.max_cmd_sn - s.cmd_sn) & 0x80000000:
                count = rnd.choice((1, 8, 8, 16, 128))
                lba = rnd.randrange(BLOCKS - count)
                sectors = range(lba, lba + count)
                if not busy.isdisjoint(sectors):
                    break
                busy.update(sectors)
                number = oracle.send(lba, count)
                data = b"".join(stamp(at, number) for at in sectors)
                cdb = struct.pack(">BBIBHB", 0x2A, 0, lba, 0, count, 0)
                under_way[s.command(cdb, write=data)] = (lba, count, number)
            if order is not None and time.monotonic() > order_at:
                order()
                order, tolerant = None, True
            if not killed and time.monotonic() > end:
                kill()
                killed = True
            pump(s, 0.05 if tolerant else 10)
            for itt in [i for i in under_way if i in s.answers]:
                lba, count, number = under_way.pop(itt)
                status = s.answers.pop(itt).status
                check(status == GOOD or tolerant, f"status {status} of a WRITE")
                if status == GOOD:
                    oracle.acknowledge(lba, count, number)
                busy.difference_update(range(lba, lba + count))
                done += 1
    except (Closed, OSError):
        check(killed, "the connection ended before the kill")
    return done


def pump(s, seconds):
    """Writes may wait, as those of a LUN that is frozen: the kill comes all the same."""
    try:
        s.pump(seconds)
    except TimeoutError:
        pass


class Orders:
    """What is ordered just before a kill; nobody waits for the answer."""

    LUN = "lun a {{ store {store}; size {size}; {more} }}\n"

    def __init__(self, folder, store, rnd):
        self.folder, self.store, self.rnd = folder, store, rnd
        os.mkdir(folder("conf.d"))
        self.write("cache fast")

    def write(self, more):
        self.folder.write("conf.d/lun-a.conf",
                          self.LUN.format(store=self.store, size=BLOCKS * 512, more=more))

    def config(self):
        return (f"cache fast {{ ssd {self.folder('ssd')}; size {SSD_BYTES} }}\n"
                "portal p { listen 127.0.0.1:{port} }\n"
                f"target {TARGET} {{ portals p; open yes; lun 0 a }}\n")

    def next(self, d, number):
        orders = [("cache.flush", {"lun": "a"}), ("cache.evict", {"lun": "a"}),
                  ("lun.set", {"name": "a", "key": "mode", "value": "bypass"}),
                  ("cache.remove", {"name": "fast", "luns": ["a"], "yes": True}),
                  ("lun.set", {"name": "a", "key": "mode", "value": "writethrough"}),
                  ("cache.freeze", {"lun": "a"}),
                  ("lun.set", {"name": "a", "key": "mode", "value": "nv"})]
        method, params = orders[number % len(orders)]
        print(f"  {method} {params.get('value', '')}", flush=True)
        c = Control(d)
        return lambda: c.send(method, **params)

    def ready(self, d):
        """
        A LUN that was about to leave its cache when the kill came isn't served without it: give it back. Now and
        then the next kill comes while it gets it.
        """
        with Control(d) as c:
            killed = c.call("lun.list")[0]["cache"] == "" and self.rnd.random() < 0.5
            if killed:
                c.send("cache.add", name="fast", luns=["a"], yes=True)
                time.sleep(self.rnd.uniform(0, 0.15))
                print("  killed while it gets its cache", flush=True)
                d.kill()
        if killed:
            d.start()
        with Control(d) as c:
            lun = c.call("lun.list")[0]
            if lun["cache"] == "":
                print(f"  without its cache, {lun['state']}", flush=True)
                try:
                    c.call("cache.add", name="fast", luns=["a"], yes=True)
                except Error as e:
                    raise Failed(f"the cache can't be given back: {e.message}") from None
            end = time.monotonic() + 20
            while c.call("lun.list")[0]["state"] != "ok" and time.monotonic() < end:
                time.sleep(0.2)


def check_file(store, oracle):
    with open(store, "rb") as f:
        data = f.read()
    for lba in range(BLOCKS):
        sector = data[lba * 512:(lba + 1) * 512]
        got = struct.unpack_from(">QQ", sector)[1]
        check(got >= oracle.acknowledged[lba], f"sector {lba} of the file is not older than "
              f"what was acknowledged (seed {SEED})")


def die_early(d, rnd):
    """Killed within a moment of its start."""
    d.launch()
    time.sleep(rnd.uniform(0, 0.25))
    d.kill()


def main():
    rounds = int(sys.argv[1]) if sys.argv[1:] else 6
    cache = "cache" in sys.argv[2:]
    folder = Folder()
    store = folder("store")
    args = ["--lun", f"{store}:{BLOCKS * 512}", "--loops", "2", "--quiet"]
    if cache:
        args += ["--ssd", f"{folder('ssd')}:{SSD_BYTES}"]
    oracle, rnd = Oracle(), random.Random(SEED)
    orders = Orders(folder, store, rnd) if "orders" in sys.argv[2:] else None
    if orders is not None:
        d = Daemon("--loops", "2", "--quiet", config=orders.config(), folder=folder)
    else:
        d = Daemon(*args, folder=folder)
    print(f"seed {SEED}", flush=True)
    for i in range(rounds):
        if cache and i % 3 == 2:
            shutil.rmtree(d.state)
        if cache and i > 0 and rnd.random() < 0.5:
            die_early(d, rnd)
        d.start()
        if orders is not None:
            orders.ready(d)
        with Session(d.port, TARGET, isid_number=1, keys={"MaxOutstandingR2T": "4"}) as s:
            check(s.ready().status == GOOD, "the initiator port logs in again")
            for lba in range(0, BLOCKS, 1024):
                data = s.read10(lba, 1024).data
                for k in range(1024):
                    oracle.check(lba + k, data[k * 512:(k + 1) * 512], f"round {i}")
            order = orders.next(d, i) if orders is not None else None
            done = load(s, oracle, rnd, rnd.uniform(0.1, 0.6), d.kill, order)
        print(f"round {i}: {done} writes acknowledged, {oracle.number} sent so far", flush=True)
        check(done > 0, "something was written")
        if not cache:
            check_file(store, oracle)
    d.start()
    d.stop()


if __name__ == "__main__":
    run(main)
