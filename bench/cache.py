#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
Measures the cache over iSCSI against fio on the same disk, in alternation in one run: durable writes, hits
on the SSD, writes over a slow store, destage, removal. Then what a hit in memory costs (cache_ram.py).
Prints tables; writes cache.json and cache.svg. Recovery has a bench of its own (recovery.py).

The SSD of the cache and fio's file lie side by side in --dir: a disk, not memory, with 12 GiB free.

Exit: 0 all limits hold, 1 some don't, 2 it could not be measured.
"""

import argparse
import contextlib
import importlib
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

sys.dont_write_bytecode = True
import bars as limits  # noqa: E402
import iscsi  # noqa: E402
import peers  # noqa: E402
import plot  # noqa: E402

MIB = 1 << 20
FILL_SECONDS = 120
SLOW_STORE_US = 5000
SLOW_LUN_MIB = 2048
BURST_SHARE = 0.50  # of the SSD: destage has begun, a fifth of the segments is free, writes aren't slowed yet
WRITES = ["--mix", "0", "--sleep"]
READS = ["--mix", "100"]
# Measured elsewhere, each a module with rows(), measure(bench) and print_table(rounds).
OTHERS = ["cache_ram"]
ZIPF_N_MIB = 256


def first(method, answer, key, kinds=(int, float)):
    """The first value of these kinds with that name anywhere in an answer."""
    todo = [answer]
    while todo:
        item = todo.pop(0)
        if isinstance(item, dict) and isinstance(item.get(key), kinds):
            return item[key]
        todo += item if isinstance(item, list) else item.values() if isinstance(item, dict) else []
    raise peers.Unavailable(f"{method} has no {key}")


class Control:
    """A connection to the control socket."""

    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(30)
        self.sock.connect(path)
        self.file = self.sock.makefile("rwb")

    def call(self, method, **params):
        request = {"jsonrpc": "2.0", "method": method, "params": params, "id": 1}
        self.file.write(json.dumps(request).encode() + b"\n")
        self.file.flush()
        answer = json.loads(self.file.readline())
        if "error" in answer:
            raise peers.Unavailable(f"{method}: {answer['error'].get('message')}")
        return answer["result"]

    def find(self, method, key, **params):
        """The first number of that name."""
        return first(method, self.call(method, **params), key)


class Cached(peers.Target):
    """terraced with one LUN behind a cache on a new SSD file; or, without a size, without a cache."""

    name = "terraced"
    iqn = "iqn.2026-11.example.terrace:default"

    def __init__(self, opt, store, ssd_mib, size=None):
        super().__init__(None)
        self.opt, self.store, self.ssd_mib = opt, store, ssd_mib
        self.size = f"\tsize {size}\n" if size else ""
        self.ssd = None

    def start(self):
        os.mkdir(os.path.join(self.folder, "state"), 0o700)
        self.control = os.path.join(self.folder, "control")
        self.ssd = tempfile.mkdtemp(prefix="terrace-bench-", dir=self.opt.dir)
        self.config = os.path.join(self.folder, "terrace.conf")
        with open(self.config, "w", encoding="utf-8") as f:
            cache = ""
            if self.ssd_mib:
                f.write(f"cache fast {{\n\tssd {self.ssd}/ssd\n\tsize {self.ssd_mib}MiB\n\tram none\n}}\n")
                cache = "\tcache fast\n"
            f.write(f"lun work {{\n\tstore {self.store}\n{self.size}{cache}}}\n")
            f.write(f"portal local {{ listen 127.0.0.1:{self.port} }}\n")
            f.write(f"target {self.iqn} {{\n\tportals local\n\topen yes\n\tlun 0 work\n}}\n")
        self.spawn([os.path.abspath(self.opt.terraced), "--config", self.config, "--unsafe-fs",
                    "--state-dir", os.path.join(self.folder, "state"), "--control", self.control,
                    "--nbd", "off", "--loops", "1", "--log-level", "warning"])

    def wait_for_port(self):
        peers.START_SECONDS, before = FILL_SECONDS, peers.START_SECONDS
        try:
            super().wait_for_port()
        finally:
            peers.START_SECONDS = before

    def stop(self):
        super().stop()
        if self.ssd:
            shutil.rmtree(self.ssd, ignore_errors=True)
            self.ssd = None

    def remove(self):
        """Seconds until the LUN has left the cache."""
        with open(self.config, encoding="utf-8") as f:
            text = f.read()
        with open(self.config, "w", encoding="utf-8") as f:
            f.write(text.replace("\tcache fast\n", ""))
        command = [os.path.join(self.opt.bin, "terracectl"), "--control", self.control, "reload", "--yes"]
        began = time.perf_counter()
        run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        # Remarks, as that nobody uses the cache now, are no failure.
        if "Done." not in run.stdout:
            raise peers.Unavailable(f"reload: {(run.stderr or run.stdout).strip()[-300:]}")
        return time.perf_counter() - began


class Bench(iscsi.Bench):
    """As of iscsi.py, with fio beside it."""

    def __init__(self, opt):
        super().__init__(opt)
        self.fio_file = None

    def run(self, who, target, key, options, seconds=None):
        command = [self.load, "--portal", f"127.0.0.1:{target.port}", "--target", target.iqn,
                   "--lun", str(target.lun), "--target-pid", str(target.pid), "--json",
                   "--seconds", str(seconds or self.opt.seconds), "--warmup", str(self.opt.warmup)]
        result = self.generate(command + options, seconds or self.opt.seconds, f"{who}, {key}")
        if result is not None:
            self.rounds.rounds[-1][(who, key)] = result
        return result

    def fio(self, key, rw, block, depth, durable=True):
        command = ["fio", "--name=bench", f"--filename={self.fio_file}", f"--rw={rw}", f"--bs={block}",
                   "--direct=1", "--ioengine=io_uring", f"--iodepth={depth}", "--time_based",
                   f"--runtime={self.opt.seconds}", "--output-format=json", "--randrepeat=0",
                   f"--size={self.opt.fio_mib}M"] + (["--sync=dsync"] if durable else [])
        result = self.generate(command, self.opt.seconds, f"fio, {key}")
        if result is None:
            return
        side = result["jobs"][0]["read" if "read" in rw else "write"]
        percentiles = side["clat_ns"]["percentile"]
        self.rounds.rounds[-1][("fio", key)] = {"iops": side["iops"], "latency_us": {
            "p50": percentiles["50.000000"] / 1000, "p99": percentiles["99.000000"] / 1000}}

    def fill_fio(self, folder):
        """A file written in full: in holes every durable write is one of the file system's tables too."""
        self.fio_file = os.path.join(folder, "fio")
        zeros = bytes(MIB)
        with open(self.fio_file, "wb") as f:
            for _ in range(self.opt.fio_mib):
                f.write(zeros)
            f.flush()
            os.fsync(f.fileno())


# ---- the parts ---------------------------------------------------------------------------------------


def wait_until_clean(control):
    end = time.monotonic() + 60
    while control.find("lun.list", "dirty_bytes") > 0:
        if time.monotonic() > end:
            raise peers.Unavailable("destage doesn't end")
        time.sleep(0.1)


def fill(bench, who, target, mib, options=()):
    """Writes the first of a LUN in order, and waits until its store has it: destage reads the SSD as well."""
    bench.run(who, target, "fill", ["--mix", "0", "--pattern", "seq", "--block", "128KiB",
                                    "--commands", str(mib * 8), "--sleep", *options], 60)
    wait_until_clean(Control(target.control))


def device_write_us(bench):
    """What the SSD's own durable write of 8 KiB takes, by a run before the others."""
    bench.rounds.rounds.append({})
    bench.fio("write-8k-q1", "write", "8k", 1)
    return round(bench.rounds.rounds.pop()[("fio", "write-8k-q1")]["latency_us"]["p50"])


def durable_writes(bench):
    """4 KiB random durable writes, over a store that costs nothing."""
    opt = bench.opt
    # Both ends sleep while the SSD writes, and have to be woken: what a store costs that only takes as long.
    late_spec = f"fault:1:delay_us={device_write_us(bench)}:null:"

    def write(cached, options, depth):
        wait_until_clean(Control(cached.control))  # what the last run left is destaged by the same SSD
        bench.run("us", cached, f"write-q{depth}", options)

    # Room for all that a run writes: what is destaged meanwhile is read from the SSD, by the same two CPUs.
    with Cached(opt, "null:", opt.durable_mib, "8GiB") as cached, Cached(opt, "null:", 0, "8GiB") as bare, \
            Cached(opt, late_spec, 0, "8GiB") as late:
        for i in range(opt.rounds):
            bench.rounds.rounds.append({})
            steps = []
            for depth in (1, 32, 128):
                options = WRITES + ["--depth", str(depth)]
                steps.append(lambda o=options, d=depth: write(cached, o, d))
            steps.append(lambda: bench.run("bare", bare, "write-q1", WRITES + ["--depth", "1"]))
            steps.append(lambda: bench.run("late", late, "write-q1", WRITES + ["--depth", "1"]))
            for depth in (32, 128):
                steps.append(lambda d=depth: bench.fio(f"write-q{d}", "randwrite", "4k", d))
            steps.append(lambda: bench.fio("write-8k-q1", "write", "8k", 1))
            # As the log writes them when many wait: no log gets more out of the disk than this.
            steps.append(lambda: bench.fio("write-256k-q2", "write", "256k", 2))
            for step in reversed(steps) if i % 2 else steps:
                step()


def read_hits(bench):
    """4 KiB random reads of what lies on the SSD; the cache has no memory of its own."""
    opt = bench.opt
    region = ["--region", f"{opt.ssd_mib // 2}MiB"]
    # Beside it the same disk without a cache: what the way from an initiator to a file and back leaves of fio's.
    # The initiator looks for answers all the time, as in bench iscsi: one that sleeps has to be woken by the target,
    # which is a row of its own. (Durable writes need its CPU: the kernel ends them on that of the interrupt.)
    with Cached(opt, "null:", opt.ssd_mib, "8GiB") as cached, \
            Cached(opt, bench.fio_file, 0, f"{opt.fio_mib}MiB") as plain:
        bench.rounds.rounds.append({})
        fill(bench, "fill", cached, opt.ssd_mib // 2, region)
        for i in range(opt.rounds):
            bench.rounds.rounds.append({})
            steps = []
            for depth in (32, 128):
                options = READS + ["--depth", str(depth)] + region
                steps.append(lambda o=options, d=depth: bench.run("us", cached, f"read-q{d}", o))
                steps.append(lambda d=depth: bench.fio(f"read-q{d}", "randread", "4k", d, durable=False))
            depth_32 = READS + ["--depth", "32"]
            steps.append(lambda o=depth_32 + ["--sleep"] + region: bench.run("us", cached, "read-q32-sleep", o))
            steps.append(lambda o=depth_32: bench.run("plain", plain, "read-q32", o))
            for step in reversed(steps) if i % 2 else steps:
                step()


def worst_but_one_in_100(before, now):
    """The 99th percentile of the writes between two histograms, [[upper end in us, count], ...]; None: no write."""
    old = dict(map(tuple, before))
    counts = [(end, count - old.get(end, 0)) for end, count in now]
    left = sum(count for _, count in counts) / 100
    for end, count in sorted(counts, reverse=True):
        left -= count
        if count > 0 and left < 0:
            return end
    return None


class Series:
    """What a LUN does while a load runs: a line each quarter of a second."""

    def __init__(self, control, dirty_max):
        self.control, self.dirty_max, self.lines = control, dirty_max, []
        self.began = time.monotonic()
        self.last = self.look()

    def look(self):
        method = "lun.list"
        answer = self.control.call(method, latency=True)
        return (time.monotonic(), first(method, answer, "writes"),
                first(method, answer, "write_latency_us", list),
                first(method, answer, "dirty_bytes") / self.dirty_max)

    def step(self):
        time.sleep(0.25)
        now, last = self.look(), self.last
        self.lines.append({"seconds": now[0] - self.began, "dirty": now[3],
                           "iops": (now[1] - last[1]) / (now[0] - last[0]),
                           "p99_us": worst_but_one_in_100(last[2], now[2])})
        self.last = now

    def smooth(self):
        """How even the rate is, once it has been slowed for two seconds; None: it wasn't for long enough."""
        slowed = [line for line in self.lines if line["dirty"] >= 0.6]
        late = [line for line in self.lines if slowed and line["seconds"] > slowed[0]["seconds"] + 2]
        early = [line["iops"] for line in self.lines if line["dirty"] < 0.55 and line["iops"] > 0]
        if len(late) < 8 or not early:
            return None
        rates = [line["iops"] for line in late]
        mean = statistics.mean(rates)
        if mean == 0:
            return None
        return {"early": statistics.median(early), "late": mean, "least": min(rates) / mean,
                "most": max(rates) / mean, "deviation": statistics.pstdev(rates) / mean}


def slow_store(bench):
    """A store of 5 ms per I/O: paced writes before and under destage, then one load as fast as it gets, then
    paced ones again, where no segment is left that has nothing dirty."""
    opt = bench.opt
    spec = f"fault:1:delay_us={SLOW_STORE_US}:ram:"
    pace = WRITES + ["--pace", "3000"]
    with Cached(opt, spec, opt.slow_mib, f"{SLOW_LUN_MIB}MiB") as cached:
        control = Control(cached.control)
        results = bench.rounds.rounds[-1]
        # What a disk doesn't do: memory that nobody has written to is found by the kernel, page by page.
        fill(bench, "slow", cached, SLOW_LUN_MIB)
        control.call("cache.evict", cache="fast")  # or all segments are in use, by what is clean
        dirty_max = control.find("cache.stats", "dirty_max_bytes", name="fast")
        quiet = bench.run("slow", cached, "quiet", pace, 2 * opt.seconds)
        bench.run("slow", cached, "burst", WRITES + ["--depth", "32", "--commands",
                                                     str(int(BURST_SHARE * dirty_max) // 4096)], 60)
        begun = control.find("cache.stats", "store_writes", name="fast")
        busy = bench.run("slow", cached, "busy", pace, 2 * opt.seconds)
        under_way = control.find("cache.stats", "store_writes", name="fast") > begun
        free = control.find("cache.list", "segments_free") / control.find("cache.list", "segments")
        results[("slow", "free")] = {"share": free}
        series = Series(control, dirty_max)
        load = threading.Thread(target=bench.run, args=("slow", cached, "flood", WRITES,
                                                        opt.slow_seconds))
        load.start()
        while load.is_alive():
            series.step()
        series.lines.pop()  # in which it ended
        smooth = series.smooth()
        while series.last[3] > 0.54 and time.monotonic() < series.began + 3 * opt.slow_seconds:
            series.step()
        bench.run("slow", cached, "full", pace, 2 * opt.seconds)
        results[("slow", "series")] = {"lines": series.lines}
        if smooth:
            results[("slow", "smooth")] = smooth
        if quiet and busy and under_way and free >= 0.2:
            results[("slow", "p99")] = {
                "ratio": busy["latency_us"]["p99"] / quiet["latency_us"]["p99"]}


def destage(bench):
    """Zipf 0.99, four writes for each of N blocks; half of them may be dirty."""
    opt = bench.opt
    blocks = ZIPF_N_MIB * MIB // 4096
    ssd_mib = int(ZIPF_N_MIB / 2 / 0.6) + 8
    with Cached(opt, f"fault:1:delay_us={SLOW_STORE_US}:ram:", ssd_mib, f"{ZIPF_N_MIB}MiB") as cached:
        control = Control(cached.control)
        result = bench.run("zipf", cached, "zipf", WRITES + ["--pattern", "zipf", "--warmup", "0",
                            "--commands", str(4 * blocks)], 120)
        if result is None:
            return
        results = bench.rounds.rounds[-1]
        written = result["writes"]
        results[("zipf", "destage")] = {"written": written, "dirty": control.find("lun.list", "dirty_bytes")}
        wrote = control.find("cache.stats", "store_writes", name="fast")
        results[("zipf", "destage")]["store_writes"] = wrote
        if wrote == 0:
            raise peers.Unavailable("no write of the store was counted")
        results[("zipf", "destage")]["ratio"] = written / wrote
        end = time.monotonic() + 60
        while control.find("lun.list", "dirty_bytes") > 0 and time.monotonic() < end:
            time.sleep(0.2)
        if control.find("lun.list", "dirty_bytes") == 0:
            results[("removal", "clean")] = {"seconds": cached.remove()}


# ---- what is asked -----------------------------------------------------------------------------------


def depth_one(rounds):
    """What a durable write at depth 1 takes beyond its two parts, in microseconds."""
    extra = []
    for r in rounds.rounds:
        parts = [r.get(k, {}).get("latency_us", {}).get("p50")
                 for k in (("us", "write-q1"), ("fio", "write-8k-q1"), ("bare", "write-q1"))]
        if None not in parts:
            extra.append(parts[0] - parts[1] - parts[2])
    return statistics.median(extra) if extra else None


ROWS = [
    limits.Bar("durable 4 KiB writes q32, IOPS of fio's", "x", True, 2, False,
               lambda r: r.ratio(("us", "write-q32", "iops"), ("fio", "write-q32", "iops"))),
    limits.Bar("durable 4 KiB writes q128, IOPS of fio's", "x", True, 4, False,
               lambda r: r.ratio(("us", "write-q128", "iops"), ("fio", "write-q128", "iops"))),
    limits.Bar("durable write q1, p50 beyond its parts", "us", False, 30, False, depth_one),
    limits.Bar("4 KiB read q32 from the SSD, IOPS of fio's", "%", True, 85, False, limits.percent(
        lambda r: r.ratio(("us", "read-q32", "iops"), ("fio", "read-q32", "iops")))),
    limits.Bar("slow store, p99 under destage of that without", "x", False, 2, False,
               lambda r: r.middle("slow", "p99", "ratio")),
    limits.Bar("slow store, deviation of the slowed rate", "%", False, 25, False, limits.percent(
        lambda r: r.middle("slow", "smooth", "deviation"))),
    limits.Bar("slow store, least of the slowed rate", "x", True, 0.5, False,
               lambda r: r.middle("slow", "smooth", "least")),
    limits.Bar("destage of Zipf 0.99, blocks for each store write", "x", True, 8, False,
               lambda r: r.middle("zipf", "destage", "ratio")),
    limits.Bar("removal of a clean cache", "s", False, 1, False,
               lambda r: r.middle("removal", "clean", "seconds")),
]

TABLE = [("us", "write-q1", "cache: durable write, depth 1"),
         ("fio", "write-8k-q1", "fio: 8 KiB sequential dsync, depth 1"),
         ("bare", "write-q1", "a store that takes no time, depth 1"),
         ("late", "write-q1", "a store that takes as long as fio's, depth 1"),
         ("us", "write-q32", "cache: durable write, depth 32"), ("fio", "write-q32", "fio: dsync, depth 32"),
         ("us", "write-q128", "cache: durable write, depth 128"), ("fio", "write-q128", "fio: dsync, depth 128"),
         ("fio", "write-256k-q2", "fio: 256 KiB sequential dsync, depth 2"),
         ("us", "read-q32", "cache: read from the SSD, depth 32"),
         ("us", "read-q32-sleep", "  the same, an initiator that sleeps while it waits"),
         ("fio", "read-q32", "fio: read, depth 32"),
         ("plain", "read-q32", "fio's file as a LUN without a cache, depth 32"),
         ("us", "read-q128", "cache: read from the SSD, depth 128"), ("fio", "read-q128", "fio: read, depth 128"),
         ("slow", "quiet", "slow store: paced, before destage"), ("slow", "busy", "slow store: paced, under destage"),
         ("slow", "full", "slow store: the same, dirty data everywhere"),
         ("zipf", "zipf", "Zipf writes over the slow store")]


def print_table(rounds):
    print(f"\n{'4 KiB, random':52} {'IOPS':>9} {'p50 us':>9} {'p99 us':>9} {'CPU us/IO':>9}")
    for who, key, title in TABLE:
        def middle(*path):
            return rounds.middle(who, key, *path)
        if middle("iops") is None:
            continue
        print(f"{title:52} {iscsi.number(middle('iops')):>9} {iscsi.number(middle(*limits.P50), 1):>9} "
              f"{iscsi.number(middle(*limits.P99), 1):>9} {iscsi.number(middle(*limits.CPU), 2):>9}")
    share = rounds.ratio(("us", "write-q128", "iops"), ("fio", "write-256k-q2", "iops"))
    if share is not None:
        print(f"  durable writes at depth 128 move {share * 4 / 256:.2f} x the bytes of fio's 256 KiB sequential ones")
    for r in rounds.rounds:
        for line in r.get(("slow", "series"), {}).get("lines", []):
            print(f"  slow store, {line['seconds']:6.2f} s {100 * line['dirty']:4.0f} % of the SSD dirty "
                  f"{iscsi.number(line['iops']):>10} IOPS {iscsi.number(line['p99_us'] or 0):>9} us p99")
        found = r.get(("zipf", "destage"))
        if found:
            print(f"  Zipf: {found['written']} blocks written, {found.get('store_writes', '-')} store writes")


def print_rows(rows, values):
    failed = 0
    print(f"\n{'limit':56} {'measured':>11}  {'asked':>10}")
    for bar, value in zip(rows, values):
        verdict = "not measured" if value is None else "pass" if bar.holds(value) else "FAIL"
        failed += verdict == "FAIL"
        print(f"{bar.title:56} {'-' if value is None else bar.text(value):>11}  "
              f"{bar.limit_text():>10}  {verdict}")
    return failed


def write_files(opt, rows, values, documents, host):
    os.makedirs(opt.out, exist_ok=True)
    with open(os.path.join(opt.out, "cache.json"), "w", encoding="utf-8") as f:
        json.dump({"machine": host, "seconds": opt.seconds, "limits": [
            {"title": b.title, "unit": b.unit, "at_least": b.at_least, "limit": b.limit, "measured": v,
             "holds": None if v is None else b.holds(v)} for b, v in zip(rows, values)],
                   "parts": documents}, f, indent=1)
    subtitle = (f"medians of {opt.rounds} rounds of {opt.seconds:g} s; {host['cpu']}, {host['cores']} cores, "
                f"Linux {host['kernel']}")
    with open(os.path.join(opt.out, "cache.svg"), "w", encoding="utf-8") as f:
        f.write(plot.svg(rows, values, subtitle).replace("iSCSI benchmark", "cache benchmark"))
    written = [f"{opt.out}/cache.json", f"{opt.out}/cache.svg"]
    lines = [line for r in documents["cache"] for line in r.get("slow/series", {}).get("lines", [])]
    if len(lines) > 1:
        written.append(f"{opt.out}/slow.svg")
        with open(written[-1], "w", encoding="utf-8") as f:
            f.write(plot.course("Writes over a store of 5 ms", lines))
    print(f"\nwritten: {', '.join(written)}")


def options():
    p = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--seconds", type=float, default=2.0, help="measured time of each workload")
    p.add_argument("--warmup", type=float, default=0.3)
    p.add_argument("--quick", action="store_true", help="one round of 0.5 s, small files: a smoke test")
    p.add_argument("--only", action="append", metavar="PART",
                   help="durable, reads, slow, destage, " + ", ".join(OTHERS) + "; may be repeated")
    p.add_argument("--dir", help="a folder on the disk that is the SSD (build/bench)")
    p.add_argument("--bin", default=os.path.join(iscsi.ROOT, "build/release/bin"))
    p.add_argument("--out", default=os.path.join(iscsi.ROOT, "build/bench"))
    p.add_argument("--target-cpu", type=int, default=0)
    p.add_argument("--client-cpu", type=int, default=1)
    opt = p.parse_args()
    opt.terraced = os.path.join(opt.bin, "terraced")
    opt.dir = opt.dir or opt.out
    os.makedirs(opt.dir, exist_ok=True)
    opt.durable_mib, opt.ssd_mib, opt.fio_mib, opt.slow_mib, opt.slow_seconds = 8192, 2048, 1024, 512, 20
    if opt.quick:
        opt.rounds, opt.seconds, opt.warmup = 1, 0.5, 0.1
        opt.durable_mib, opt.ssd_mib, opt.fio_mib, opt.slow_mib, opt.slow_seconds = 1024, 512, 256, 128, 5
    if opt.rounds < 1 or opt.seconds <= 0:
        p.error("--rounds and --seconds must be positive")
    return opt


def measure_others(opt, wanted):
    """(rows, values, print, rounds) of the modules that are here."""
    for name in OTHERS:
        if not wanted(name):
            continue
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError:
            print(f"not measured: {name}, which isn't here")
            continue
        bench = iscsi.Bench(opt)
        module.measure(bench)
        rows = module.rows()
        yield name, rows, [b.figure(bench.rounds) for b in rows], module.print_table, bench


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(2))
    opt = options()
    def wanted(part):
        return not opt.only or part in opt.only
    if not shutil.which("fio"):
        print("cache.py: fio is not installed", file=sys.stderr)
        return 2
    host = iscsi.machine()
    if host["load_average"] > 0.7:
        print(f"the machine is busy (load {host['load_average']:.1f}): figures will be noisy")
    tables, documents, problems = [], {}, []
    try:
        bench = Bench(opt)
        with contextlib.ExitStack() as stack:
            folder = tempfile.mkdtemp(prefix="terrace-bench-", dir=opt.dir)
            stack.callback(shutil.rmtree, folder, True)
            bench.fill_fio(folder)
            bench.rounds.rounds.append({})
            for name, part in (("durable", durable_writes), ("reads", read_hits), ("slow", slow_store),
                               ("destage", destage)):
                if wanted(name):
                    print(f"measuring: {name}", flush=True)
                    try:
                        part(bench)
                    except peers.Unavailable as e:
                        bench.problem(f"{name}: {e}")
        rows, values = list(ROWS), [b.figure(bench.rounds) for b in ROWS]
        tables.append((print_table, bench.rounds))
        documents["cache"] = [{f"{w}/{k}": v for (w, k), v in r.items()} for r in bench.rounds.rounds]
        problems += bench.problems
        for name, more, figures, show, other in measure_others(opt, wanted):
            rows += more
            values += figures
            tables.append((show, other.rounds))
            documents[name] = [{f"{w}/{k}": v for (w, k), v in r.items()} for r in other.rounds.rounds]
            problems += other.problems
    except peers.Unavailable as e:
        print(f"cache.py: {e}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 2
    for show, rounds in tables:
        show(rounds)
    failed = print_rows(rows, values)
    write_files(opt, rows, values, documents, host)
    if problems:
        print(f"{len(problems)} problems, the first: {problems[0]}")
    return 1 if failed or problems else 0


if __name__ == "__main__":
    sys.exit(main())
