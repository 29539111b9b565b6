#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
Measures terraced against Debian's tgtd and against bare TCP, in alternation in one run, so that what
the machine does besides hits all alike. Prints tables; writes iscsi.json and iscsi.svg.

Exit: 0 all limits hold, 1 some don't, 2 it could not be measured.
"""

import argparse
import contextlib
import datetime
import json
import os
import platform
import signal
import subprocess
import sys

sys.dont_write_bytecode = True
import bars as limits  # noqa: E402
import peers  # noqa: E402
import plot  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
REGION = "64MiB"

# key, title, options of the generator, who runs it.
WORKLOADS = [
    ("read-4k-q32", "4 KiB random read, depth 32", ["--mix", "100"], "us peer tcp"),
    ("write-4k-q32", "4 KiB random write, depth 32", ["--mix", "0"], "us peer tcp"),
    ("read-q1", "4 KiB random read, depth 1", ["--mix", "100", "--depth", "1"], "us peer tcp"),
    ("write-q1", "4 KiB random write, depth 1", ["--mix", "0", "--depth", "1"], "us peer tcp"),
    ("read-128k", "128 KiB sequential read, depth 32",
     ["--mix", "100", "--block", "128KiB", "--pattern", "seq"], "us peer tcp"),
    ("write-128k", "128 KiB sequential write, depth 32",
     ["--mix", "0", "--block", "128KiB", "--pattern", "seq"], "us peer tcp"),
    ("sessions-8", "8 sessions, depth 4 each", ["--sessions", "8", "--depth", "4"], "us peer"),
    ("sessions-64", "64 sessions, depth 32 each", ["--sessions", "64"], "us"),
    ("digests", "4 KiB random read, depth 32, digests", ["--digests", "header,data"], "us"),
    ("paced-20k", "4 KiB random read, paced 20 k IOPS", ["--pace", "20000"], "us peer tcp"),
]
ONLY = [w[0] for w in WORKLOADS] + ["idle", "loops-2"]
IDLE = ["--mode", "idle", "--sessions", "8", "--seconds", "5", "--warmup", "0.5"]
TWO_LOOPS = ["--sessions", "8", "--depth", "16", "--mix", "50"]
TCP_OPTIONS = {"--mix", "--block", "--depth", "--pace"}


class Bench:
    """The programs, the options, and what was measured."""

    def __init__(self, opt):
        self.opt = opt
        self.load = os.path.join(opt.bin, "terrace-bench-iscsi")
        self.tcp = os.path.join(opt.bin, "terrace-bench-tcp")
        self.rounds = limits.Rounds()
        self.problems = []
        for program in (self.load, self.tcp):
            if not os.access(program, os.X_OK):
                raise peers.Unavailable(f"{program} is not there: build the release preset first")

    def generate(self, command, seconds, what):
        """Runs a generator; its JSON object, or None with the problem noted."""
        try:
            run = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 90)
            result = json.loads(run.stdout)
        except (subprocess.TimeoutExpired, json.JSONDecodeError, OSError) as e:
            stderr = "" if not isinstance(e, json.JSONDecodeError) else run.stderr.strip()
            self.problem(f"{what}: no result ({stderr or e})")
            return None
        if run.returncode:
            first = result.get("errors", {}).get("first", run.stderr.strip())
            self.problem(f"{what}: {first}")
            return None
        return result

    def problem(self, text):
        print(f"  problem: {text}", file=sys.stderr)
        self.problems.append(text)

    def iscsi(self, who, target, key, options, timed=True):
        command = [self.load, "--portal", f"127.0.0.1:{target.port}", "--target", target.iqn,
                   "--lun", str(target.lun), "--target-pid", str(target.pid),
                   "--cpu", str(self.opt.client_cpu), "--region", REGION, "--json"]
        if timed:
            command += ["--seconds", str(self.opt.seconds), "--warmup", str(self.opt.warmup)]
        result = self.generate(command + options, self.opt.seconds, f"{target.name}, {key}")
        if result is not None:
            self.rounds.rounds[-1][(who, key)] = result
        return result

    def bare_tcp(self, key, options):
        pairs = [p for p in zip(options[::2], options[1::2]) if p[0] in TCP_OPTIONS]
        command = [self.tcp, "--server-cpu", str(self.opt.target_cpu),
                   "--cpu", str(self.opt.client_cpu), "--seconds", str(self.opt.seconds),
                   "--warmup", str(self.opt.warmup), "--json"]
        command += [word for pair in pairs for word in pair]
        result = self.generate(command, self.opt.seconds, f"bare TCP, {key}")
        if result is not None:
            result["latency_us"] = {"p50": result["p50_us"], "p99": result["p99_us"]}
            self.rounds.rounds[-1][("tcp", key)] = result

    def fill(self, target):
        """Writes the region once, so that no measured write meets memory that isn't there yet."""
        command = [self.load, "--portal", f"127.0.0.1:{target.port}", "--target", target.iqn,
                   "--lun", str(target.lun), "--region", REGION, "--mix", "0", "--block", "128KiB",
                   "--pattern", "seq", "--warmup", "0", "--seconds", "2", "--json",
                   "--cpu", str(self.opt.client_cpu)]
        result = self.generate(command, 2, f"{target.name}, filling")
        if result and result["writes"] * result["block"] < peers.FILL_BYTES:
            self.problem(f"{target.name}: the region was not filled within 2 s")

    def round(self, number, targets):
        self.rounds.rounds.append({})
        order = list(targets.items())
        if number % 2:
            order.reverse()
        for key, _, options, who_runs in WORKLOADS:
            if not self.opt.wants(key):
                continue
            for who, target in order:
                if who in who_runs.split():
                    self.iscsi(who, target, key, options)
            if "tcp" in who_runs.split():
                self.bare_tcp(key, options)


def number(value, digits=0):
    return "-" if value is None else f"{value:,.{digits}f}".replace(",", " ")


def print_workloads(bench, names):
    rounds = bench.rounds
    print(f"\n{'workload':38} {'':9} {'IOPS':>9} {'MB/s':>7} {'p50 us':>8} {'p99 us':>9} "
          f"{'CPU us/IO':>9} {'core %':>6}")
    for key, title, _, who_runs in WORKLOADS + [
            ("idle", "idle, 8 sessions", None, "us peer"),
            ("loops-2", "2 loops, 8 sessions, reads and writes", None, "us")]:
        for who in who_runs.split():
            if who not in names:
                continue
            def middle(*path):
                return rounds.middle(who, key, *path)
            print(f"{title:38} {names[who]:9} {number(middle('iops')):>9} "
                  f"{number(middle('mb_s')):>7} {number(middle('latency_us', 'p50'), 1):>8} "
                  f"{number(middle('latency_us', 'p99'), 1):>9} "
                  f"{number(middle('target_cpu', 'us_per_io'), 2):>9} "
                  f"{number(middle('target_cpu', 'percent'), 1):>6}")
            title = ""
    floor = rounds.ratio(("us", "paced-20k", "target_cpu", "percent"),
                         ("tcp", "paced-20k", "target_cpu", "percent"))
    if floor is not None:
        print(f"paced 20 k IOPS: {floor:.2f} x the CPU of a server that only polls, receives and sends")
    for who in ("us", "peer"):
        rss = rounds.middle(who, "idle", "target_cpu", "rss_bytes")
        if rss is not None:
            print(f"memory of {names[who]} at rest, 8 sessions: {rss / 1048576:.1f} MiB resident")


def print_bars(values):
    print(f"\n{'limit':50} {'measured':>10}  {'asked':>12}")
    failed = 0
    for bar, value in zip(limits.BARS, values):
        if value is None:
            verdict = "not measured"
        else:
            verdict = "pass" if bar.holds(value) else "FAIL"
            failed += not bar.holds(value)
        print(f"{bar.title:50} {'-' if value is None else bar.text(value):>10}  "
              f"{bar.limit_text():>12}  {verdict}")
    return failed


def machine():
    model = ""
    with open("/proc/cpuinfo") as f:
        for line in f:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    return {"cpu": model, "cores": os.cpu_count(), "kernel": platform.release(),
            "load_average": os.getloadavg()[0],
            "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")}


def write_files(bench, names, values, host):
    os.makedirs(bench.opt.out, exist_ok=True)
    document = {
        "machine": host, "rounds": len(bench.rounds.rounds), "seconds": bench.opt.seconds,
        "names": names, "problems": bench.problems,
        "limits": [{"title": b.title, "unit": b.unit, "at_least": b.at_least, "limit": b.limit,
                    "measured": v, "holds": None if v is None else b.holds(v)}
                   for b, v in zip(limits.BARS, values)],
        "results": [{f"{who}/{key}": value for (who, key), value in r.items()}
                    for r in bench.rounds.rounds],
    }
    with open(os.path.join(bench.opt.out, "iscsi.json"), "w") as f:
        json.dump(document, f, indent=1)
    subtitle = (f"{names['us']} against {names.get('peer', 'no peer')}, medians of "
                f"{document['rounds']} rounds of {bench.opt.seconds:g} s; {host['cpu']}, "
                f"{host['cores']} cores, Linux {host['kernel']}")
    with open(os.path.join(bench.opt.out, "iscsi.svg"), "w") as f:
        f.write(plot.svg(limits.BARS, values, subtitle))
    print(f"\nwritten: {bench.opt.out}/iscsi.json, {bench.opt.out}/iscsi.svg")


def make_subject(opt, cpus, loops=1):
    return peers.Tgtd(cpus) if opt.noise else peers.Terraced(opt.terraced, cpus, loops)


def measure(bench, stack):
    """All rounds; the names of those who took part."""
    opt = bench.opt
    targets = {"us": stack.enter_context(make_subject(opt, {opt.target_cpu}))}
    names = {"us": targets["us"].name, "tcp": "bare TCP"}
    if opt.peer == "tgt":
        try:
            targets["peer"] = stack.enter_context(peers.Tgtd({opt.target_cpu}))
            names["peer"] = "peer tgtd" if opt.noise else "tgtd"
        except peers.Unavailable as e:
            print(f"no peer, so no ratios to it: {e}")
    for target in targets.values():
        bench.fill(target)
    for i in range(opt.rounds):
        print(f"round {i + 1} of {opt.rounds}", flush=True)
        bench.round(i, targets)
    for who, target in targets.items() if opt.wants("idle") else ():
        bench.iscsi(who, target, "idle", IDLE, timed=False)
    return names


def measure_two_loops(bench):
    """A target of its own; it may use every CPU, since the generator needs one of two."""
    with make_subject(bench.opt, None, loops=2) as target:
        bench.fill(target)
        bench.iscsi("us", target, "loops-2", TWO_LOOPS)


def options():
    p = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--only", metavar="KEY,…", type=lambda text: text.split(","),
                   help="these workloads only: " + ", ".join(ONLY))
    p.add_argument("--seconds", type=float, default=2.0, help="measured time of each workload")
    p.add_argument("--warmup", type=float, default=0.3)
    p.add_argument("--quick", action="store_true", help="one round of 0.5 s: a smoke test")
    p.add_argument("--peer", choices=["tgt", "none"], default="tgt")
    p.add_argument("--noise", action="store_true",
                   help="tgtd against itself: what the machine alone does to the ratios")
    p.add_argument("--bin", default=os.path.join(ROOT, "build/release/bin"))
    p.add_argument("--terraced", help="the target to measure (default: in --bin)")
    p.add_argument("--out", default=os.path.join(ROOT, "build/bench"))
    p.add_argument("--target-cpu", type=int, default=0)
    p.add_argument("--client-cpu", type=int, default=1)
    opt = p.parse_args()
    if opt.quick:
        opt.rounds, opt.seconds, opt.warmup = 1, 0.5, 0.1
    if opt.only and not set(opt.only) <= set(ONLY):
        p.error("--only takes " + ", ".join(ONLY))
    opt.wants = lambda key: not opt.only or key in opt.only
    if opt.rounds < 1 or opt.seconds <= 0:
        p.error("--rounds and --seconds must be positive")
    opt.terraced = opt.terraced or os.path.join(opt.bin, "terraced")
    available = os.sched_getaffinity(0)
    if not {opt.target_cpu, opt.client_cpu} <= available or opt.target_cpu == opt.client_cpu:
        p.error(f"target and client need a CPU each; there are {sorted(available)}")
    return opt


def main():
    # Ending by a signal runs the same clean-up as ending by an error.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(2))
    opt = options()
    host = machine()
    if host["load_average"] > 0.7:
        print(f"the machine is busy (load {host['load_average']:.1f}): figures will be noisy")
    try:
        bench = Bench(opt)
        with contextlib.ExitStack() as stack:
            names = measure(bench, stack)
        if opt.wants("loops-2"):
            measure_two_loops(bench)
    except peers.Unavailable as e:
        print(f"iscsi.py: {e}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 2
    values = [b.figure(bench.rounds) if "peer" in names or not b.needs_peer else None
              for b in limits.BARS]
    print_workloads(bench, names)
    failed = print_bars(values)
    write_files(bench, names, values, host)
    if bench.problems:
        print(f"{len(bench.problems)} problems, the first: {bench.problems[0]}")
    return 1 if failed or bench.problems else 0


if __name__ == "__main__":
    sys.exit(main())
