#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
What terraced takes: memory at rest and with 256 sessions under load, no CPU time at rest. The sizes are
those of a normal build; a sanitized one is skipped.
"""

import os
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from iscsi import GOOD, Session  # noqa: E402
from terraced import ROOT, TARGET, Daemon, Skipped, check, run, same, wait_until  # noqa: E402

BENCH = os.environ.get("TERRACE_BENCH", os.path.join(ROOT, "build/dev/bin/terrace-bench-iscsi"))
KIB, MIB = 1 << 10, 1 << 20
BUFFERS = 64 * MIB
SESSIONS = 256
CONFIG = f"""
    loops 2
    buffers 64MiB
    limits {{ sessions_per_addr_max 1024 ; sessions_per_initiator_max 1024 ;
              half_open_max 1024 ; half_open_per_addr_max 1024 }}
    lun a {{ store null: ; size 1GiB }}
    portal p {{ listen 127.0.0.1:{{port}} }}
    target {TARGET} {{ portals p ; open yes ; lun 0 a }}
"""


def at_rest():
    d = Daemon("--lun", "null:1GiB", "--quiet").start()
    with Session(d.port, TARGET) as s:
        s.ready()
        for _ in range(100):
            same(s.read10(0, 256).status, GOOD, "READ")
        time.sleep(1)
        rss = d.rss_bytes()
        print(f"one LUN, one session: {rss / MIB:.1f} MiB")
        check(rss < 64 * MIB, "one LUN takes less than 64 MiB")
        before = d.cpu_ticks()
        time.sleep(3)
        ticks = d.cpu_ticks() - before
        print(f"3 s at rest with a session: {ticks} ticks of CPU time")
        same(ticks, 0, "CPU time at rest")
        same(s.read10(0, 8).status, GOOD, "READ afterwards")
    d.stop()


def many_sessions():
    d = Daemon("--quiet", config=CONFIG).start()
    most = 0
    for options in (["--mix", "50", "--block", "4KiB", "--depth", "32"],
                    ["--mix", "0", "--block", "128KiB", "--depth", "16"],
                    ["--mix", "100", "--block", "128KiB", "--depth", "16"]):
        command = [BENCH, "--portal", f"127.0.0.1:{d.port}", "--target", TARGET, "--lun", "0",
                   "--sessions", str(SESSIONS), "--region", "512MiB", "--warmup", "0.2",
                   "--seconds", "3", *options]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True) as load:
            while load.poll() is None:
                most = max(most, d.rss_bytes())
                time.sleep(0.02)
            out = load.stdout.read()
            check(load.returncode == 0, f"the load ends well: {out}")
    bar = 64 * MIB + SESSIONS * 256 * KIB + BUFFERS
    print(f"{SESSIONS} sessions: {most / MIB:.1f} MiB, bar {bar / MIB:.0f} MiB")
    check(most < bar, "memory of many sessions is below the bar")
    fds = d.fds()
    wait_until(lambda: d.fds() < 40, f"all connections are closed ({fds} descriptors)")
    with Session(d.port, TARGET) as s:
        check(s.ready().status == GOOD, "it serves afterwards")
    d.stop()


def main():
    if Daemon().sanitized():
        raise Skipped("a sanitized build")
    at_rest()
    many_sessions()


if __name__ == "__main__":
    run(main)
