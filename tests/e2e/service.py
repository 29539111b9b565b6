#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
What a service manager is told: starting, ready when portals listen, alive as long as every loop is,
stopping; and that the units are ones that systemd takes. Arguments: names of cases.
"""

import ctypes
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "lib"))
from iscsi import Session  # noqa: E402
from terraced import TARGET, Daemon, Folder, Skipped, check, run, run_each, same  # noqa: E402

PTRACE_DETACH, PTRACE_SEIZE, PTRACE_INTERRUPT = 17, 0x4206, 0x4207
UNITS = os.environ.get("UNITS", os.path.join(HERE, "..", "..", "build", "dev", "packaging"))
CONFIG = """
lun a { store "ram:" ; size 16MiB }
portal p { listen 127.0.0.1:{port} }
target iqn.2026-11.example.terrace:test { portals p ; open yes ; lun 0 a }
"""


class Manager:
    """The other end of $NOTIFY_SOCKET."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(path)
        self.path = "@" + path[1:] if path.startswith("\0") else path
        self.lines = []

    def next(self, seconds=10):
        self.socket.settimeout(seconds)
        try:
            self.lines = self.socket.recv(4096).decode().split("\n")
        except socket.timeout:
            self.lines = []
        return self.lines

    def wait(self, line, seconds=60):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if line in self.next(max(0.01, end - time.monotonic())):
                return self.lines
        check(False, f"{line} wasn't told")

    def drain(self):
        while self.next(0.01):
            pass


def start(manager, watchdog_s=None, loops=2):
    os.environ["NOTIFY_SOCKET"] = manager.path
    if watchdog_s is not None:
        os.environ["WATCHDOG_USEC"] = str(int(watchdog_s * 1e6))
    try:
        return Daemon("--quiet", "--loops", str(loops), config=CONFIG).start()
    finally:
        for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC"):
            os.environ.pop(name, None)


def case_ready_when_portals_listen():
    folder = Folder()
    for path in (folder("notify"), f"\0terrace-test-{os.getpid()}"):
        m = Manager(path)
        d = start(m)
        same(m.next(), ["STATUS=starting"], "the first words")
        same(m.next(), ["READY=1", "STATUS=serving 1 LUN"], "ready")
        with Session(d.port, TARGET) as s:
            s.ready()
        d.stop()
        check("STOPPING=1" in m.next(), f"stopping: {m.lines}")
        check(m.next()[0].startswith("STATUS=ending the LUNs"), f"what it does at the end: {m.lines}")


def case_alive_as_long_as_all_loops_are():
    m = Manager(Folder()("notify"))
    d = start(m, watchdog_s=0.8)
    m.wait("READY=1")
    for _ in range(4):
        m.wait("WATCHDOG=1")
    os.kill(d.process.pid, signal.SIGSTOP)
    m.drain()
    time.sleep(1)
    same(m.next(0.1), [], "a process that hangs says nothing")
    os.kill(d.process.pid, signal.SIGCONT)
    m.wait("WATCHDOG=1")
    # one of its threads alone
    main = d.process.pid
    for tid in sorted(int(t) for t in os.listdir(f"/proc/{main}/task")):
        with open(f"/proc/{main}/task/{tid}/comm", encoding="utf-8") as f:
            if tid == main or "loop" not in f.read():
                continue
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.ptrace(PTRACE_SEIZE, tid, None, None) < 0:
            raise Skipped("threads can't be stopped here")
        libc.ptrace(PTRACE_INTERRUPT, tid, None, None)
        os.waitpid(tid, 0x40000000)  # __WALL
        m.drain()
        time.sleep(1)
        same(m.next(0.1), [], "a loop that hangs is the end of being alive")
        libc.ptrace(PTRACE_DETACH, tid, None, None)
        m.wait("WATCHDOG=1")
        break
    else:
        check(False, "there is no second loop")
    d.stop()


def case_what_cannot_be_told_stops_nothing():
    folder = Folder()
    for path in ("relative", folder("nobody"), "/" + "x" * 200):
        m = Manager(folder("m" + str(len(path))))
        m.path = path
        d = start(m, watchdog_s=0.4)
        with Session(d.port, TARGET) as s:
            s.ready()
        time.sleep(0.5)
        d.stop()


def case_others_pid_is_not_watched():
    m = Manager(Folder()("notify"))
    os.environ["WATCHDOG_PID"] = "1"
    try:
        d = start(m, watchdog_s=0.4)
    finally:
        del os.environ["WATCHDOG_PID"]
    m.wait("READY=1")
    same(m.next(0.8), [], "the watchdog is another's")
    d.stop()


def case_units_are_valid():
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        raise Skipped("systemd-analyze is not installed")
    folder = Folder()
    for name in sorted(os.listdir(UNITS)):
        if not name.endswith(".service"):
            continue
        with open(os.path.join(UNITS, name), encoding="utf-8") as f:
            text = f.read()
        check(not re.search("@[A-Z_]+@", text), f"{name}: a name that wasn't filled in")
        # programs that aren't installed here
        path = folder.write(name, re.sub(r"^(Exec\w+=[-+]*)/\S+", r"\1/bin/true", text, flags=re.M), 0o644)
        r = subprocess.run([analyze, "verify", "--man=no", path], capture_output=True, text=True, timeout=60)
        own = [line for line in r.stderr.splitlines() if name in line]
        same(own, [], f"{name}: {r.stderr}")


if __name__ == "__main__":
    run(lambda: run_each(globals()))
