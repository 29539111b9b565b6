#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
The bound of the memory for knowing what is where on the SSD: small writes from anywhere need more than it without one;
with it they stay below, also what was written before, and all of them are answered.
"""

import os
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from control import started, stop  # noqa: E402
from terraced import TARGET, Daemon, Folder, check, run, run_each, wait_until  # noqa: E402

ROOT = os.path.realpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
BENCH = os.environ.get("TERRACE_BENCH", os.path.join(ROOT, "build/dev/bin/terrace-bench-iscsi"))
MIB = 1 << 20
BOUND = 1 * MIB
SLACK = 128 << 10  # what is under way when it is seen
CONFIG = """
cache fast { ssd "SSD"; size 640MiB; ram none; INDEX }
lun a { store "STORE"; size 448MiB; cache fast }
portal p { listen 127.0.0.1:{port} }
target iqn.2026-11.example.terrace:test { portals p; open yes; lun 0 a }
"""


def start(folder, index):
    text = CONFIG.replace("SSD", folder("ssd")).replace("STORE", folder("a.img")).replace("INDEX", index)
    return started(Daemon(config=text, folder=folder))


def index_bytes(d):
    return d.control.call("cache.stats", name="fast")["index_bytes"]


def load(d, seconds, seed):
    """The most that the index took meanwhile; another seed writes elsewhere."""
    most = 0
    command = [BENCH, "--portal", f"127.0.0.1:{d.port}", "--target", TARGET, "--lun", "0", "--depth", "32",
               "--mix", "0", "--block", "4KiB", "--region", "448MiB", "--warmup", "0", "--seconds", str(seconds),
               "--seed", str(seed)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as p:
        while p.poll() is None:
            most = max(most, index_bytes(d))
            time.sleep(0.02)
        out = p.stdout.read()
        check(p.returncode == 0, f"the load ends well: {out}")
    return most


def case_bound_holds():
    folder = Folder()
    d = start(folder, "")
    for seed in range(1, 61):
        if load(d, 1, seed) > BOUND + SLACK:
            break
    before = index_bytes(d)
    check(before > BOUND + SLACK, f"without a bound it takes {before} bytes")
    stop(d)
    d = start(folder, "index 1MiB")
    wait_until(lambda: index_bytes(d) <= BOUND, "what was there before gets below the bound", 60)
    most = load(d, 2, 1)
    check(most <= BOUND + SLACK, f"{most} bytes with a bound of {BOUND}")
    wait_until(lambda: index_bytes(d) <= BOUND, "it is below the bound in the end", 60)
    print(f"index: {before} bytes without a bound, at most {most} with one of {BOUND}")
    stop(d)
    d.check_log()


if __name__ == "__main__":
    run(lambda: run_each(globals()))
