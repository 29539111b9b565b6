#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
Measures what an administrator waits for with many LUNs: start, one more LUN, the list, a reload; and what
initiators wait for meanwhile: the longest turn of the loop that does it, which has their sessions too. The
LUNs are sparse files in a temporary folder. Prints a table; writes operate.json.

Exit: 0 all limits hold, 1 some don't, 2 it could not be measured.
"""

import argparse
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LUN_BYTES = 1 << 20
START_LIMIT_S = 30.0

# key, what is measured, milliseconds that it may take (None: shown only).
BARS = [
    ("start-file", "start, LUNs in terrace.conf", 2000),
    ("start-conf.d", "start, a file in conf.d for each LUN", 2000),
    ("create", "lun.create over the control socket", 50),
    ("create-command", "terracectl lun create", 50),
    ("list", "lun.list over the control socket", 100),
    ("list-command", "terracectl lun list", 100),
    ("reload-same", "terracectl reload, nothing changed", None),
    ("delete", "lun.delete over the control socket", None),
    ("stop", "stop", None),
    ("turn-rest", "longest turn: start", None),
    ("turn-list", "longest turn: lun.list", 5),
    ("turn-status", "longest turn: status", 5),
    ("turn-others", "longest turn: other lists, health, connect", 5),
    ("turn-effective", "longest turn: config.effective", 5),
    ("turn-reload", "longest turn: reload, nothing changed", 5),
    ("turn-create", "longest turn: lun.create", 5),
    ("turn-map", "longest turn: lun.create with a mapping", 5),
    ("turn-delete", "longest turn: lun.delete", 5),
]
TURN_CALLS = 10


class Unavailable(Exception):
    """Something that is needed isn't there, or doesn't work."""


class Control:
    """A connection to the control socket."""

    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(30)
        self.sock.connect(path)
        self.file = self.sock.makefile("rwb")
        self.id = 0

    def call(self, method, **params):
        self.id += 1
        request = {"jsonrpc": "2.0", "method": method, "params": params, "id": self.id}
        self.file.write(json.dumps(request).encode() + b"\n")
        self.file.flush()
        answer = json.loads(self.file.readline())
        if "error" in answer:
            raise Unavailable(f"{method}: {answer['error'].get('message')}")
        return answer["result"]


class Target:
    """A terraced with a configuration of `count` LUNs, one object a file or all in one."""

    def __init__(self, opt, split):
        self.folder = tempfile.mkdtemp(prefix="terrace-operate.", dir=opt.dir)
        self.opt = opt
        self.process = None
        self.control = os.path.join(self.folder, "control.sock")
        self.store_dir = os.path.join(self.folder, "stores")
        os.mkdir(self.store_dir)
        os.mkdir(os.path.join(self.folder, "conf.d"))
        luns = [self.lun_text(i) for i in range(opt.luns)]
        lines = "".join(f"\tlun {i} lun{i:05}\n" for i in range(opt.luns))
        if split:
            for i, text in enumerate(luns):
                with open(os.path.join(self.folder, "conf.d", f"lun-lun{i:05}.conf"), "w") as f:
                    f.write(text)
            luns = []
        self.config = os.path.join(self.folder, "terrace.conf")
        with open(self.config, "w", encoding="utf-8") as f:
            f.write("".join(luns))
            f.write("portal local { listen 127.0.0.1:%d }\n" % free_port())
            f.write("target iqn.2026-11.example.terrace:operate {\n\tportals local\n\topen yes\n"
                    + lines + "}\n")

    def store(self, name):
        path = os.path.join(self.store_dir, name)
        with open(path, "wb") as f:
            f.truncate(LUN_BYTES)
        return path

    def lun_text(self, i):
        name = f"lun{i:05}"
        return f"lun {name} {{\n\tstore file:{self.store(name)}\n}}\n"

    def start(self):
        """Milliseconds until the control socket answers."""
        log = open(os.path.join(self.folder, "log"), "ab")
        began = time.perf_counter()
        self.process = subprocess.Popen(
            [os.path.join(self.opt.bin, "terraced"), "--config", self.config, "--state-dir",
             os.path.join(self.folder, "state"), "--control", self.control, "--unsafe-fs"],
            stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        while True:
            try:
                Control(self.control).call("version")
                return (time.perf_counter() - began) * 1e3
            except (OSError, json.JSONDecodeError):
                pass
            if self.process.poll() is not None or time.perf_counter() - began > START_LIMIT_S:
                with open(os.path.join(self.folder, "log"), encoding="utf-8") as f:
                    raise Unavailable("terraced doesn't start: " + f.read()[-500:].strip())
            time.sleep(0.002)

    def stop(self):
        began = time.perf_counter()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)
        self.process = None
        return (time.perf_counter() - began) * 1e3

    def command(self, *words):
        began = time.perf_counter()
        run = subprocess.run([os.path.join(self.opt.bin, "terracectl"), "--control", self.control, *words],
                             capture_output=True, text=True, timeout=60)
        took = (time.perf_counter() - began) * 1e3
        if run.returncode not in (0, 3):
            raise Unavailable(f"terracectl {' '.join(words)}: {run.stderr.strip()}")
        return took

    def close(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def timed(call, *args, **params):
    began = time.perf_counter()
    call(*args, **params)
    return (time.perf_counter() - began) * 1e3


def measure(opt, split, results):
    """One start, and with conf.d also what is changed afterwards."""
    target = Target(opt, split)
    try:
        results["start-conf.d" if split else "start-file"].append(target.start())
        if split:
            control = Control(target.control)
            for n in range(opt.changes):
                name = f"more{n}"
                results["create"].append(
                    timed(control.call, "lun.create", name=name, store="file:" + target.store(name)))
                results["list"].append(timed(control.call, "lun.list"))
                results["delete"].append(timed(control.call, "lun.delete", name=name, yes=True))
                name = f"command{n}"
                results["create-command"].append(target.command(
                    "lun", "create", name, "--store", "file:" + target.store(name)))
                results["list-command"].append(target.command("lun", "list"))
                results["reload-same"].append(target.command("reload"))
        results["stop"].append(target.stop())
    finally:
        target.close()


def turns(opt, results):
    """The longest turn of the loop at home, a fresh daemon for each kind of work."""
    target = Target(opt, True)

    def call(control, n, method, **params):
        control.call(method, **params)

    def others(control, n):
        for method in ("target.list", "group.list", "portal.list", "chap.list", "session.list", "health",
                       "events", "history", "refused", "connect", "loop.list"):
            control.call(method)

    def create(control, n, **more):
        control.call("lun.create", name=f"turn{n}", store="file:" + target.store(f"turn{n}"), **more)

    def create_and_delete(control, n):
        create(control, n)
        control.call("lun.delete", name=f"turn{n}", yes=True)

    kinds = [
        ("turn-rest", lambda control, n: None),
        ("turn-list", lambda control, n: call(control, n, "lun.list")),
        ("turn-status", lambda control, n: call(control, n, "status")),
        ("turn-others", others),
        ("turn-effective", lambda control, n: call(control, n, "config.effective")),
        ("turn-reload", lambda control, n: call(control, n, "reload")),
        ("turn-create", create),
        ("turn-map", lambda control, n: create(control, n, to=f"iqn.2026-11.example.host:{n}")),
        ("turn-delete", create_and_delete),
    ]
    try:
        for key, work in kinds:
            target.start()
            control = Control(target.control)
            for n in range(TURN_CALLS):
                work(control, f"{key[5:]}{n}")
            results[key].append(control.call("loop.list")[0]["turn_max_ms"])
            target.stop()
    finally:
        target.close()


def report(opt, results):
    rows, failed = [], 0
    print(f"{opt.luns} LUNs, {opt.rounds} rounds; milliseconds")
    print(f"  {'':<42}{'median':>9}{'worst':>9}{'limit':>9}")
    for key, title, limit in BARS:
        values = results[key]
        median, worst = statistics.median(values), max(values)
        held = limit is None or median <= limit
        failed += not held
        print(f"  {title:<42}{median:>9.1f}{worst:>9.1f}{limit if limit else '-':>9}"
              f"{'' if held else '  over the limit'}")
        rows.append({"key": key, "title": title, "median_ms": median, "worst_ms": worst,
                     "limit_ms": limit, "samples_ms": values})
    os.makedirs(opt.out, exist_ok=True)
    path = os.path.join(opt.out, "operate.json")
    with open(path, "w", encoding="utf-8") as f:
        json.dump({"luns": opt.luns, "rounds": opt.rounds, "results": rows}, f, indent=1)
    print(path)
    return 1 if failed else 0


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--bin", default=os.path.join(ROOT, "build/release/bin"), help="where the programs are")
    p.add_argument("--out", default=os.path.join(ROOT, "build/bench"), help="folder for the results")
    p.add_argument("--dir", default="/var/tmp", help="folder on a disk for stores and state (%(default)s)")
    p.add_argument("--luns", type=int, default=1000)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--changes", type=int, default=10, help="changes in a round")
    opt = p.parse_args()
    results = {key: [] for key, _, _ in BARS}
    try:
        for _ in range(opt.rounds):
            measure(opt, False, results)
            measure(opt, True, results)
            turns(opt, results)
    except (Unavailable, OSError, subprocess.TimeoutExpired) as e:
        print(f"bench operate: {e}", file=sys.stderr)
        return 2
    return report(opt, results)


if __name__ == "__main__":
    sys.exit(main())
