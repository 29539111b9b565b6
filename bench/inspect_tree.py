#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
Measures the tree of terrace-fuse: reading an image from memory against nbdfuse over nbdkit's memory, nbdcopy
from the NBD socket against nbdcopy from nbdkit, what an iSCSI client notices of four readers, and of
somebody who reads the statistics of 1000 LUNs in a loop. All in one run on one machine, in turns. Prints a
table; writes inspect.json.

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
    ("p99-busy", "p99 with four processes that only copy zeros", "us", None, None),
    ("loops-alone", "CPU of the loops, 1000 LUNs, a client", "%", None, None),
    ("loops-stats", "the same, all stats read in a loop", "%", None, None),
    ("loops-more", "more, of a CPU", "%", "<=", 2.0),
    ("stats-rate", "stats files read a second", "", None, None),
    ("p99-quiet", "p99 of the client, nobody reads stats", "us", None, None),
    ("p99-stats", "p99 of the client meanwhile", "us", None, None),
    ("p99-stats-ratio", "the one / the other", "", "<=", 1.10),
    ("p99-files", "p99 while plain files are read in a loop", "us", None, None),
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
        except BaseException:
            self.end()
            raise

    def path(self, *names):
        return os.path.join(self.mount, "luns", *names)

    def uri(self):
        return f"nbd+unix:///a?socket={self.folder}/state/nbd.sock"

    def load(self, *options):
        out = subprocess.run(
            [os.path.join(self.opt.bin, "terrace-bench-iscsi"), "--portal",
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
    """Something that is done in threads until it is ended."""

    def __init__(self, what, count):
        self.going_on, self.count = True, 0
        self.threads = [threading.Thread(target=self.main, args=(what,)) for _ in range(count)]
        for t in self.threads:
            t.start()

    def main(self, what):
        while self.going_on:
            what()
            self.count += 1

    def end(self):
        self.going_on = False
        for t in self.threads:
            t.join()


BUSY = ["dd", "if=/dev/zero", "of=/dev/null", "bs=1M", f"count={8 * SIZE // MIB}", "status=none"]
CLIENT = ["--block", "4KiB", "--depth", "4", "--pace", "4000", "--sleep"]


def client(opt, t):
    return t.load(*CLIENT, "--seconds", str(opt.seconds))


def p99(result):
    value = result["latency_us"]["p99"] if "latency_us" in result else result["p99_us"]
    return float(value)


def readers(opt, results):
    t = Target(opt, f"lun a {{{{ store ram: ; size {SIZE} ; mode volatile }}}}\n")
    dd = ["dd", f"if={t.path('a', 'image')}", "of=/dev/null", "bs=1M", "status=none"]
    try:
        client(opt, t)
        for _ in range(opt.rounds):
            results.setdefault("p99-alone", []).append(p99(client(opt, t)))
            load = Meanwhile(lambda: subprocess.run(dd, check=True), READERS)
            try:
                results.setdefault("p99-readers", []).append(p99(client(opt, t)))
            finally:
                load.end()
            # What a busy machine costs the client, whoever keeps it busy.
            load = Meanwhile(lambda: subprocess.run(BUSY, check=True), READERS)
            try:
                results.setdefault("p99-busy", []).append(p99(client(opt, t)))
            finally:
                load.end()
    finally:
        t.end()
    results["p99-ratio"] = [b / a for a, b in zip(results["p99-alone"], results["p99-readers"])]


def stats(opt, results):
    luns = "".join(f"lun l{i} {{{{ store null: ; size 64MiB }}}}\n" for i in range(opt.luns - 1))
    t = Target(opt, f"lun a {{{{ store ram: ; size {64 * MIB} ; mode volatile }}}}\n" + luns)
    script = f"cd {t.path()} && exec cat */stats"
    files = os.path.join(t.folder, "files")
    for name in os.listdir(t.path()):
        os.makedirs(os.path.join(files, name))
        with open(os.path.join(files, name, "stats"), "w", encoding="ascii") as f:
            f.write("as long as those of a LUN\n" * 60)
    plain = f"cd {files} && exec cat */stats"

    def measure():
        cpu, begin = t.loops_cpu_s(), time.monotonic()
        latency = p99(client(opt, t))
        return (t.loops_cpu_s() - cpu) / (time.monotonic() - begin) * 100, latency

    try:
        client(opt, t)
        for _ in range(opt.rounds):
            cpu, latency = measure()
            results.setdefault("loops-alone", []).append(cpu)
            results.setdefault("p99-quiet", []).append(latency)
            load = Meanwhile(lambda: subprocess.run(["sh", "-c", script], check=True,
                                                    stdout=subprocess.DEVNULL), 1)
            begin = time.monotonic()
            try:
                cpu, latency = measure()
            finally:
                load.end()
            results.setdefault("loops-stats", []).append(cpu)
            results.setdefault("p99-stats", []).append(latency)
            results.setdefault("stats-rate", []).append(
                load.count * opt.luns / (time.monotonic() - begin))
            load = Meanwhile(lambda: subprocess.run(["sh", "-c", plain], check=True,
                                                    stdout=subprocess.DEVNULL), 1)
            try:
                results.setdefault("p99-files", []).append(measure()[1])
            finally:
                load.end()
    finally:
        t.end()
    results["loops-more"] = [b - a for a, b in zip(results["loops-alone"], results["loops-stats"])]
    results["p99-stats-ratio"] = [b / a for a, b in
                                  zip(results["p99-quiet"], results["p99-stats"])]


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
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5, help="of each load")
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
        for program in ("nbdkit", "nbdfuse", "nbdcopy"):
            if shutil.which(program) is None:
                raise Unavailable(f"{program} is missing (packages nbdkit, libnbd-bin)")
        for part in opt.parts or PARTS:
            PARTS[part](opt, results)
    except (Unavailable, OSError, subprocess.SubprocessError) as e:
        print(f"./dev bench inspect: {e}", file=sys.stderr)
        return 2
    ok = show(results)
    os.makedirs(opt.out, exist_ok=True)
    with open(os.path.join(opt.out, "inspect.json"), "w", encoding="utf-8") as f:
        json.dump(results, f, indent=1)
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
