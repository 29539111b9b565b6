#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
Measures the tree of terrace-fuse: reading an image from memory against nbdfuse over nbdkit's memory, nbdcopy
from the NBD socket against nbdcopy from nbdkit, what an iSCSI client notices of four readers, and of
somebody who reads the statistics of 1000 LUNs in a loop. All in one run on one machine, in turns. Prints a
table; writes inspect.json.

An initiator is another machine; here its part is played by a process, which readers would push aside whatever
the target does, also at nice -20: a slice that has begun is ended first. So it runs under SCHED_FIFO, and the
bars are for it. Floors are the same client beside processes that use as much processor time and never touch
the target. How a client fares that shares the processors as an equal is shown as well.

Exit: 0 all bars hold, 1 some don't, 2 it could not be measured.
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
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TARGET = "iqn.2026-11.example.bench:inspect"
MIB = 1 << 20
SIZE = 512 * MIB
READERS = 4

# key, what is measured, unit, how it is compared, bar (None: shown only)
BARS = [
    ("image", "read of image, RAM hits", "MB/s", None, None),
    ("image-store", "read of image, store in memory", "MB/s", None, None),
    ("nbdfuse", "the same of nbdfuse over nbdkit's memory", "MB/s", None, None),
    ("image-ratio", "image / nbdfuse", "", ">=", 0.8),
    ("nbdcopy", "nbdcopy from the NBD socket", "MB/s", None, None),
    ("nbdkit", "nbdcopy from nbdkit's memory", "MB/s", None, None),
    ("nbdcopy-ratio", "the one / the other", "", ">=", 0.6),
    ("p99-alone", "p99 of an iSCSI client alone", "us", None, None),
    ("p99-readers", "p99 with four readers of image", "us", None, None),
    ("p99-ratio", "the one / the other", "", "<=", 1.25),
    ("readers-cpu", "CPU that readers, tree, loops took for it", "%", None, None),
    ("p99-floor", "p99 beside as much CPU use of others", "us", None, None),
    ("p99-floor-ratio", "this / alone", "", None, None),
    ("p99-busy", "p99 with four processes that only copy zeros", "us", None, None),
    ("equal-p99-alone", "an equal client: p99 alone", "us", None, None),
    ("equal-p99-readers", "an equal client: with four readers", "us", None, None),
    ("equal-p99-ratio", "the one / the other", "", None, None),
    ("equal-p99-busy", "an equal client: four that copy zeros", "us", None, None),
    ("loops-alone", "CPU of the loops, 1000 LUNs, a client", "%", None, None),
    ("loops-stats", "the same, all stats read in a loop", "%", None, None),
    ("loops-more", "more, of a CPU", "%", "<=", 2.0),
    ("loops-files-more", "more, while plain files are read in a loop", "%", None, None),
    ("loops-floor-more", "more, beside as much CPU use of others", "%", None, None),
    ("stats-rate", "stats files read a second", "", None, None),
    ("p99-quiet", "p99 of the client, nobody reads stats", "us", None, None),
    ("p99-stats", "p99 of the client meanwhile", "us", None, None),
    ("p99-stats-ratio", "the one / the other", "", "<=", 1.10),
    ("stats-cpu", "CPU that reader, tree, helpers took for it", "%", None, None),
    ("p99-stats-floor", "p99 beside as much CPU use of others", "us", None, None),
    ("p99-stats-floor-ratio", "this / nobody reads", "", None, None),
    ("p99-files", "p99 while plain files are read in a loop", "us", None, None),
    ("p99-files-ratio", "this / nobody reads", "", None, None),
    ("equal-p99-quiet", "an equal client: nobody reads stats", "us", None, None),
    ("equal-p99-stats", "an equal client: stats are read", "us", None, None),
    ("equal-p99-stats-ratio", "the one / the other", "", None, None),
    ("equal-p99-files", "an equal client: plain files are read", "us", None, None),
]


class Unavailable(Exception):
    """Something that is needed isn't there, or doesn't work."""


def wait_for(condition, what, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise Unavailable(what)
        time.sleep(0.02)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Target:
    def __init__(self, opt, luns, loops=2, more=()):
        self.opt = opt
        self.folder = tempfile.mkdtemp(prefix="terrace-inspect.", dir=opt.dir)
        self.port = free_port()
        config = os.path.join(self.folder, "terrace.conf")
        with open(config, "w", encoding="utf-8") as f:
            f.write(f"portal p {{ listen 127.0.0.1:{self.port} }}\n" + luns.format(dir=self.folder))
            f.write(f"target {TARGET} {{ portals p ; open yes ; lun 0 a }}\n")
        self.mount = os.path.join(self.folder, "mount")
        self.process = subprocess.Popen(
            [os.path.join(opt.bin, "terraced"), "--config", config, "--state-dir",
             os.path.join(self.folder, "state"), "--unsafe-fs", "--loops", str(loops), "--inspect",
             self.mount, "--log-level", "error", "-q", *more], stderr=subprocess.DEVNULL)
        try:
            wait_for(lambda: os.path.exists(os.path.join(self.mount, "luns", "a", "image")) or
                     self.process.poll() is not None, "terraced and its tree")
            if self.process.poll() is not None:
                raise Unavailable("terraced doesn't start")
            self.tree = self.tree_pid()
        except BaseException:
            self.end()
            raise

    def path(self, *names):
        return os.path.join(self.mount, "luns", *names)

    def uri(self):
        return f"nbd+unix:///a?socket={self.folder}/state/nbd.sock"

    def load(self, *options, before=()):
        out = subprocess.run(
            [*before, os.path.join(self.opt.bin, "terrace-bench-iscsi"), "--portal",
             f"127.0.0.1:{self.port}", "--target", TARGET, "--json", *options],
            capture_output=True, timeout=80, check=False)
        if out.returncode != 0:
            raise Unavailable("terrace-bench-iscsi: " + out.stderr.decode()[-300:])
        return json.loads(out.stdout)

    def loops_cpu_s(self):
        """CPU time of the threads that are loops: terraced's own one, and the others it began with."""
        ticks = 0
        for tid in os.listdir(f"/proc/{self.process.pid}/task"):
            with open(f"/proc/{self.process.pid}/task/{tid}/stat", encoding="utf-8") as f:
                name, rest = f.read().split("(", 1)[1].rsplit(")", 1)
            if name.startswith(("terraced", "loop")):
                fields = rest.split()
                ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def tree_pid(self):
        """terrace-fuse: it left the process that started it."""
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/cmdline", encoding="utf-8") as f:
                    words = f.read().split("\0")
            except OSError:
                continue  # has ended
            if os.path.basename(words[0]) == "terrace-fuse" and self.mount in words:
                return int(pid)
        raise Unavailable("terrace-fuse isn't there")

    def inside_cpu_s(self):
        """CPU time of all that we are, loops, helpers and terrace-fuse."""
        ticks = 0
        for pid in (self.process.pid, self.tree):
            with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
                ticks += sum(int(x) for x in f.read().rsplit(")", 1)[1].split()[11:13])
        return ticks / os.sysconf("SC_CLK_TCK")

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        subprocess.run(["umount", "-l", self.mount], stderr=subprocess.DEVNULL, check=False)
        shutil.rmtree(self.folder, ignore_errors=True)


def read_all(path, block=MIB):
    """MB/s of reading a file once."""
    fd = os.open(path, os.O_RDONLY)
    buffer = bytearray(block)
    begin, total = time.monotonic(), 0
    while True:
        n = os.preadv(fd, [buffer], total)
        if n == 0:
            break
        total += n
    past = time.monotonic() - begin
    os.close(fd)
    if total != SIZE:
        raise Unavailable(f"{path}: {total} bytes of {SIZE}")
    return total / past / 1e6


def timed(*command):
    begin = time.monotonic()
    if subprocess.run(command, stdout=subprocess.DEVNULL, check=False, timeout=80).returncode != 0:
        raise Unavailable(" ".join(command))
    return SIZE / (time.monotonic() - begin) / 1e6


class Nbdkit:
    """nbdkit's memory plugin with data in it, which it has to give out."""

    def __init__(self, opt):
        self.folder = tempfile.mkdtemp(prefix="terrace-nbdkit.", dir=opt.dir)
        self.socket = os.path.join(self.folder, "sock")
        self.process = subprocess.Popen(["nbdkit", "-f", "-U", self.socket, "memory", str(SIZE)])
        wait_for(lambda: os.path.exists(self.socket), "nbdkit")
        self.uri = f"nbd+unix:///?socket={self.socket}"
        source = os.path.join(self.folder, "source")
        fill(source)
        timed("nbdcopy", source, self.uri)
        os.unlink(source)

    def nbdfuse(self):
        """A fresh mount each time: the page cache shall have none of it."""
        place = os.path.join(self.folder, "mount")
        os.makedirs(place, exist_ok=True)
        file = os.path.join(place, "disk")
        process = subprocess.Popen(["nbdfuse", file, self.uri])
        try:
            wait_for(lambda: os.path.exists(file), "nbdfuse")
            return read_all(file)
        finally:
            subprocess.run(["fusermount3", "-u", place], check=False)
            process.wait(20)

    def end(self):
        self.process.terminate()
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def fill(path):
    """No zeros: holes would be left out."""
    chunk = os.urandom(MIB)
    with open(path, "wb") as f:
        for _ in range(SIZE // MIB):
            f.write(chunk)


def bandwidth(opt, results):
    kit = Nbdkit(opt)
    mem = hit = None
    try:
        mem = Target(opt, f"lun a {{{{ store ram: ; size {SIZE} ; mode volatile }}}}\n")
        hit = Target(opt, f"cache c {{{{ ram {2 * SIZE} }}}}\n"
                     f"lun a {{{{ store \"file:{{dir}}/a\" ; size {SIZE} ; cache c }}}}\n")
        for t in (mem, hit):  # data, and in memory
            t.load("--pattern", "seq", "--mix", "0", "--block", "1MiB", "--depth", "4",
                   "--commands", str(SIZE // MIB), "--seconds", "30", "--warmup", "0")
            t.load("--pattern", "seq", "--block", "128KiB", "--depth", "4",
                   "--commands", str(SIZE // (128 << 10)), "--seconds", "30", "--warmup", "0")
        for _ in range(opt.rounds):
            results.setdefault("image", []).append(read_all(hit.path("a", "image")))
            results.setdefault("image-store", []).append(read_all(mem.path("a", "image")))
            results.setdefault("nbdfuse", []).append(kit.nbdfuse())
            results.setdefault("nbdcopy", []).append(timed("nbdcopy", mem.uri(), "null:"))
            results.setdefault("nbdkit", []).append(timed("nbdcopy", kit.uri, "null:"))
    finally:
        for x in (hit, mem, kit):
            if x is not None:
                x.end()
    results["image-ratio"] = [a / b for a, b in zip(results["image"], results["nbdfuse"])]
    results["nbdcopy-ratio"] = [a / b for a, b in zip(results["nbdcopy"], results["nbdkit"])]


class Meanwhile:
    """Something that is done in threads until it is ended: it returns the CPU time that it took."""

    def __init__(self, what, count):
        self.going_on, self.count, self.cpu_s = True, 0, 0.0
        self.threads = [threading.Thread(target=self.main, args=(what,)) for _ in range(count)]
        for t in self.threads:
            t.start()

    def main(self, what):
        while self.going_on:
            self.cpu_s += what() or 0
            self.count += 1

    def end(self):
        self.going_on = False
        for t in self.threads:
            t.join()


BUSY = ["dd", "if=/dev/zero", "of=/dev/null", "bs=1M", f"count={2 * SIZE // MIB}", "status=none"]
CLIENT = ["--block", "4KiB", "--depth", "4", "--pace", "4000", "--sleep", "--warmup", "0.2"]
FIRST = ["chrt", "-f", "1"]

# Copies zeros, so much of a CPU as it is told.
COMPETITOR = """
import os, sys, time
share, zero, buffer = float(sys.argv[1]), os.open("/dev/zero", os.O_RDONLY), bytearray(1 << 20)
while True:
    used, begin = time.thread_time(), time.monotonic()
    os.preadv(zero, [buffer], 0)
    rest = (time.thread_time() - used) / share - (time.monotonic() - begin)
    if rest > 0:
        time.sleep(rest)
"""


class Competitors:
    def __init__(self, cpu_share):
        share = str(max(0.001, min(1, cpu_share / READERS)))
        self.processes = [subprocess.Popen([sys.executable, "-c", COMPETITOR, share])
                          for _ in range(READERS)]

    def end(self):
        for p in self.processes:
            p.kill()
            p.wait()


def run_counted(command):
    """Runs it; the CPU time that it took, in seconds."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise Unavailable(" ".join(command))
    return usage.ru_utime + usage.ru_stime


def may_be_first():
    return subprocess.run([*FIRST, "true"], stderr=subprocess.PIPE, check=False).stderr == b""


def client(opt, t, first=True):
    return t.load(*CLIENT, "--seconds", str(opt.seconds), before=FIRST if first else ())


def p99(result):
    value = result["latency_us"]["p99"] if "latency_us" in result else result["p99_us"]
    return float(value)


def while_copying(opt, t, command, first):
    """p99 while four copy, and the share of CPUs that they took."""
    load, begin = Meanwhile(lambda: run_counted(command), READERS), time.monotonic()
    try:
        latency = p99(client(opt, t, first))
    finally:
        load.end()
    return latency, load.cpu_s / (time.monotonic() - begin)


def readers_round(opt, t, add):
    dd = ["dd", f"if={t.path('a', 'image')}", "of=/dev/null", "bs=1M", "status=none"]
    begin, inside = time.monotonic(), t.inside_cpu_s()
    add("p99-alone", p99(client(opt, t)))
    alone = (t.inside_cpu_s() - inside) / (time.monotonic() - begin)
    begin, inside = time.monotonic(), t.inside_cpu_s()
    latency, cpu = while_copying(opt, t, dd, True)
    cpu += (t.inside_cpu_s() - inside) / (time.monotonic() - begin) - alone
    add("p99-readers", latency)
    add("readers-cpu", cpu * 100)
    load = Competitors(cpu)
    try:
        add("p99-floor", p99(client(opt, t)))
    finally:
        load.end()
    add("p99-busy", while_copying(opt, t, BUSY, True)[0])
    add("equal-p99-alone", p99(client(opt, t, False)))
    add("equal-p99-readers", while_copying(opt, t, dd, False)[0])
    add("equal-p99-busy", while_copying(opt, t, BUSY, False)[0])


def ratios(results, name, one, other):
    results[name] = [a / b for a, b in zip(results[one], results[other])]


def readers(opt, results):
    t = Target(opt, f"lun a {{{{ store ram: ; size {SIZE} ; mode volatile }}}}\n")
    try:
        client(opt, t)
        for _ in range(opt.rounds):
            readers_round(opt, t, lambda key, value: results.setdefault(key, []).append(value))
    finally:
        t.end()
    ratios(results, "p99-ratio", "p99-readers", "p99-alone")
    ratios(results, "p99-floor-ratio", "p99-floor", "p99-alone")
    ratios(results, "equal-p99-ratio", "equal-p99-readers", "equal-p99-alone")


def make_files(t):
    """Plain files beside the LUNs' ones, as many and as long."""
    files = os.path.join(t.folder, "files")
    for name in os.listdir(t.path()):
        os.makedirs(os.path.join(files, name))
        with open(os.path.join(files, name, "stats"), "w", encoding="ascii") as f:
            f.write("as long as those of a LUN\n" * 60)
    return files


def stats_round(opt, t, files, add):
    def measure(first):
        """Shares of a CPU that loops, and all of ours, took; p99."""
        loops, inside, begin = t.loops_cpu_s(), t.inside_cpu_s(), time.monotonic()
        latency = p99(client(opt, t, first))
        past = time.monotonic() - begin
        return (t.loops_cpu_s() - loops) / past, (t.inside_cpu_s() - inside) / past, latency

    def while_reading(place, first):
        """The same; the share of the reader, and how many files it read in a second."""
        script = ["sh", "-c", f"cd {place} && exec cat */stats"]
        load, begin = Meanwhile(lambda: run_counted(script), 1), time.monotonic()
        try:
            result = measure(first)
        finally:
            load.end()
        past = time.monotonic() - begin
        return *result, load.cpu_s / past, load.count * opt.luns / past

    loops, inside, latency = measure(True)
    add("p99-quiet", latency)
    more, inside_more, latency, reader, rate = while_reading(t.path(), True)
    cpu = inside_more - inside + reader
    add("p99-stats", latency)
    loops_files, _, latency, _, _ = while_reading(files, True)
    add("p99-files", latency)
    add("loops-files-more", (loops_files - loops) * 100)
    add("loops-alone", loops * 100)
    add("loops-stats", more * 100)
    add("stats-rate", rate)
    add("stats-cpu", cpu * 100)
    others = Competitors(cpu)
    try:
        loops_floor, _, latency = measure(True)
        add("p99-stats-floor", latency)
        add("loops-floor-more", (loops_floor - loops) * 100)
    finally:
        others.end()
    add("equal-p99-quiet", measure(False)[2])
    add("equal-p99-stats", while_reading(t.path(), False)[2])
    add("equal-p99-files", while_reading(files, False)[2])


def stats(opt, results):
    luns = "".join(f"lun l{i} {{{{ store null: ; size 64MiB }}}}\n" for i in range(opt.luns - 1))
    t = Target(opt, f"lun a {{{{ store ram: ; size {64 * MIB} ; mode volatile }}}}\n" + luns)
    try:
        files = make_files(t)
        client(opt, t)
        for _ in range(opt.rounds):
            stats_round(opt, t, files,
                        lambda key, value: results.setdefault(key, []).append(value))
    finally:
        t.end()
    results["loops-more"] = [b - a for a, b in zip(results["loops-alone"], results["loops-stats"])]
    ratios(results, "p99-stats-ratio", "p99-stats", "p99-quiet")
    ratios(results, "p99-stats-floor-ratio", "p99-stats-floor", "p99-quiet")
    ratios(results, "p99-files-ratio", "p99-files", "p99-quiet")
    ratios(results, "equal-p99-stats-ratio", "equal-p99-stats", "equal-p99-quiet")


PARTS = {"bandwidth": bandwidth, "readers": readers, "stats": stats}


def show(results):
    ok = True
    for key, what, unit, compare, bar in BARS:
        if key not in results:
            continue
        value = statistics.median(results[key])
        verdict = ""
        if bar is not None:
            good = value >= bar if compare == ">=" else value <= bar
            ok = ok and good
            verdict = f"{compare} {bar:g}  {'ok' if good else 'MISSED'}"
        print(f"{what:44} {value:9.2f} {unit:5} {verdict}")
    return ok


def main():
    parser = argparse.ArgumentParser(prog="./dev bench inspect")
    parser.add_argument("parts", nargs="*", help="of: " + " ".join(PARTS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2, help="of each load")
    parser.add_argument("--luns", type=int, default=1000)
    parser.add_argument("--dir", default=None, help="for files (the system's temporary folder)")
    parser.add_argument("--bin", default=os.path.join(ROOT, "build/release/bin"))
    parser.add_argument("--out", default=os.path.join(ROOT, "build/bench"))
    opt = parser.parse_args()
    unknown = [p for p in opt.parts if p not in PARTS]
    if unknown:
        parser.error(f"there is no part {unknown[0]}; there are: {' '.join(PARTS)}")
    results = {}
    try:
        if not os.path.exists("/dev/fuse"):
            raise Unavailable("there is no /dev/fuse")
        if not may_be_first():
            raise Unavailable("the client has to run at SCHED_FIFO, which isn't permitted here: run as root")
        for program in ("nbdkit", "nbdfuse", "nbdcopy"):
            if shutil.which(program) is None:
                raise Unavailable(f"{program} is missing (packages nbdkit, libnbd-bin)")
        for part in opt.parts or PARTS:
            PARTS[part](opt, results)
    except (Unavailable, OSError, subprocess.SubprocessError) as e:
        print(f"./dev bench inspect: {e}", file=sys.stderr)
        return 2
    print("The client runs under SCHED_FIFO, as an initiator is another machine; but for the equal ones.")
    ok = show(results)
    os.makedirs(opt.out, exist_ok=True)
    with open(os.path.join(opt.out, "inspect.json"), "w", encoding="utf-8") as f:
        json.dump(results, f, indent=1)
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
