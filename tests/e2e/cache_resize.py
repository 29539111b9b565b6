#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
The SSD of a cache becomes larger and smaller under a LUN that is used: by order, because its file has grown,
killed at any moment of it; what can't be is refused with the cure. Arguments: names of cases.
"""

import os
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from control import Control, Error, started, stop  # noqa: E402
from terracectl import TOOL  # noqa: E402
from iscsi import GOOD, Session  # noqa: E402
from terraced import TARGET, Daemon, Failed, Folder, check, run, run_each, same, wait_until  # noqa: E402

MIB = 1 << 20
BLOCKS = 512  # 2 MiB of the LUN
CONFIG = """
cache fast { ssd "SSD"; size 64MiB; ram none }
lun a { store "STORE"; size 16MiB; cache fast }
portal p { listen 127.0.0.1:{port} }
target iqn.2026-11.example.terrace:test { portals p; open yes; lun 0 a }
"""


def config(folder):
    return CONFIG.replace("SSD", folder("ssd")).replace("STORE", folder("a.img"))


def start(folder):
    return started(Daemon(config=config(folder), folder=folder), timeout=120)


def cache(d):
    return d.control.call("cache.list")[0]


def size(folder):
    return os.stat(folder("ssd")).st_size


def data(number):
    return number.to_bytes(8, "little") * 4096  # 32 KiB


def write(d, number):
    with Session(d.port, TARGET) as s:
        s.ready()
        for i in range(0, BLOCKS, 8):
            same(s.write10(i * 8, data(number + i)).status, GOOD, f"write {i}")


def read(d, number):
    with Session(d.port, TARGET) as s:
        s.ready()
        for i in range(0, BLOCKS, 8):
            r = s.read10(i * 8, 64)
            same(r.status, GOOD, f"read {i}: {r}")
            check(r.data == data(number + i), f"block {i} has other data")


def refused(d, words, **params):
    try:
        d.control.call("cache.resize", name="fast", **params)
    except Error as e:
        for word in words:
            check(word in e.message, f"'{word}' isn't in: {e.message}")
        return
    raise Failed(f"it was done: {params}")


def verified(folder):
    """What is on the SSD, as cachectl sees it."""
    r = subprocess.run([TOOL, "cache", "check", folder("ssd")], capture_output=True, text=True, timeout=60)
    check(r.returncode == 0 and "lost 0" in r.stdout, f"check: {r.stdout} {r.stderr}")


def case_larger_and_smaller():
    folder = Folder()
    d = start(folder)
    write(d, 1)
    before = cache(d)["size_bytes"]
    answer = d.control.call("cache.resize", name="fast", size="160MiB")
    same((answer["was_bytes"], answer["size_bytes"]), (64 * MIB, 160 * MIB), "the answer")
    check(cache(d)["size_bytes"] > before + 90 * MIB, "what the cache has")
    same(size(folder), 160 * MIB, "the file")
    read(d, 1)
    write(d, 5000)
    stop(d)
    verified(folder)
    d = start(folder)
    read(d, 5000)
    check(cache(d)["size_bytes"] > before + 90 * MIB, "after a restart")
    write(d, 9000)
    d.control.call("cache.resize", name="fast", size=40 * MIB)
    check(cache(d)["size_bytes"] < 40 * MIB, "what it has left")
    same(size(folder), 40 * MIB, "the file was cut")
    read(d, 9000)
    write(d, 12000)
    # The watch over the file looks once a second: that it is smaller is no surprise to it.
    d.control.call("cache.resize", name="fast", size=48 * MIB)
    check(d.control.conditions() == {} or "C609" not in str(d.control.conditions()), "nothing is gone")
    stop(d)
    verified(folder)
    d = start(folder)
    read(d, 12000)
    stop(d)


def case_file_that_has_grown():
    folder = Folder()
    d = start(folder)
    write(d, 1)
    before = cache(d)["size_bytes"]
    os.truncate(folder("ssd"), 96 * MIB)
    wait_until(lambda: cache(d)["size_bytes"] > before + 20 * MIB and "resize" not in cache(d),
               "the cache takes it", 60)
    read(d, 1)
    stop(d)
    d = start(folder)  # a file with a hole would be refused
    read(d, 1)
    stop(d)


def case_killed():
    """By turns larger and smaller; with another delay each time, so that another step is hit."""
    folder = Folder()
    d = start(folder)
    for turn in range(8):
        write(d, turn * 20000)
        with Control(d, timeout=120) as c:
            c.send("cache.resize", name="fast", size=(128 if turn % 2 == 0 else 44) * MIB)
            time.sleep(turn * 0.02)  # nothing depends on it
            d.control.close()
            d.kill()
        verified(folder)
        d = start(folder)
        read(d, turn * 20000)
    # What was interrupted is made whole by the same order.
    for mib in (128, 44):
        d.control.call("cache.resize", name="fast", size=mib * MIB)
        same(size(folder), mib * MIB, "the file")
        read(d, 7 * 20000)
    stop(d)
    verified(folder)


def case_refused():
    folder = Folder()
    d = start(folder)
    refused(d, ["too small", "6 segments"], size="2MiB")
    refused(d, ["no room"], size="900TiB")
    refused(d, ["size"], size="much")
    same(size(folder), 64 * MIB, "nothing was done")
    try:
        d.control.call("cache.resize", name="slow")
        raise Failed("there is no such cache")
    except Error as e:
        check("there is no cache 'slow'" in e.message, e.message)
    answer = d.control.call("cache.resize", name="fast", size="32MiB", dry_run=True)
    same((answer["was_bytes"], answer["size_bytes"]), (64 * MIB, 32 * MIB), "what would be done")
    same(size(folder), 64 * MIB, "a look alone")
    stop(d)


def case_cut_off_by_somebody():
    folder = Folder()
    d = start(folder)
    write(d, 1)
    wait_until(lambda: d.control.call("lun.list")[0]["dirty_bytes"] == 0, "all is on the store", 60)
    os.truncate(folder("ssd"), 32 * MIB)
    wait_until(lambda: cache(d)["state"] == "void", "it says so", 60)
    read(d, 1)  # from the store
    stop(d)
    try:
        start(folder)
        raise Failed("a cache without its end is served")
    except Failed as e:
        text = open(d.log_path).read() if hasattr(d, "log_path") else d.log()
        check("give it back its size" in text, f"{e}: {text[-800:]}")


def case_command():
    folder = Folder()
    d = start(folder)
    write(d, 1)
    socket = os.path.join(d.state, "control.sock")
    r = subprocess.run([TOOL, "--control", socket, "cache", "resize", "fast", "72MiB"], capture_output=True,
                       text=True, timeout=120)
    check(r.returncode == 0 and "from 64MiB to 72MiB" in r.stdout, f"{r.stdout} {r.stderr}")
    r = subprocess.run([TOOL, "--control", socket, "cache", "resize", "fast", "1MiB"], capture_output=True,
                       text=True, timeout=120)
    check(r.returncode != 0 and "too small" in r.stderr, f"{r.stdout} {r.stderr}")
    stop(d)


if __name__ == "__main__":
    run(lambda: run_each(globals()))
