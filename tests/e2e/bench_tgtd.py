#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
The load generator against an independent target: it reads, writes, checks digests and verifies data
over a tgtd of its own, and reports a target that goes away. Exit 77: no tgtd here.

usage: bench_tgtd.py TERRACE_BENCH_ISCSI
"""

import json
import os
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../bench"))
import peers  # noqa: E402

SKIP = 77


def run(program, target, *options, iqn=None):
    """Exit status and result of one run."""
    command = [program, "--portal", f"127.0.0.1:{target.port}", "--target", iqn or target.iqn,
               "--lun", str(target.lun), "--target-pid", str(target.pid), "--warmup", "0.1",
               "--seconds", "1", "--region", "32MiB", "--json", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    print(done.stdout, done.stderr, sep="", end="", flush=True)
    return done.returncode, json.loads(done.stdout)


def check(condition, what):
    if not condition:
        sys.exit(f"FAILED: {what}")


def check_load(program, target):
    status, r = run(program, target, "--mix", "70", "--sessions", "2")
    check(status == 0, "a mixed load ends well")
    check(r["reads"] > 100 and r["writes"] > 10, "both directions were served")
    check(0.6 < r["reads"] / (r["reads"] + r["writes"]) < 0.8, "the mix is as asked")
    check(0 < r["latency_us"]["p50"] <= r["latency_us"]["p99"] <= r["latency_us"]["max"],
          "percentiles are in order")
    check(r["target_cpu"]["us_per_io"] > 0, "the target's CPU time was measured")


def check_pace(program, target):
    status, r = run(program, target, "--pace", "1000")
    # A busy machine makes it slower, and then what is behind follows at once; without a pace it is tens of thousands.
    check(status == 0 and 0 < r["iops"] <= 2000, f"a paced load keeps its pace: {r['iops']:.0f}")


def check_verify(program, target):
    for options in (["--block", "64KiB"], ["--block", "600KiB", "--sessions", "3"]):
        status, r = run(program, target, "--mode", "verify", *options)
        check(status == 0 and r["checked_blocks"] > 1000, "stamped data comes back whole")


def check_digests(program, target):
    status, r = run(program, target, "--digests", "header,data")
    check(status == 1 and r["errors"]["protocol"] == 1, "refused digests are an error")
    for name in ("HeaderDigest", "DataDigest"):
        target.run_admin("--op", "update", "--mode", "target", "--tid", "1",
                         "--name", name, "--value", "CRC32C")
    status, r = run(program, target, "--mode", "verify", "--digests", "header,data")
    check(status == 0 and r["negotiated"]["data_digest"], "digests agree with tgtd's")


def check_failures(program, target):
    status, r = run(program, target, iqn="iqn.2026-11.example.terrace:absent")
    check(status == 1 and "refused" in r["errors"]["first"], "an unknown target is an error")


def check_target_killed(program, target):
    command = [program, "--portal", f"127.0.0.1:{target.port}", "--target", target.iqn,
               "--lun", "1", "--seconds", "30", "--digests", "header,data", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as load:
        try:
            load.wait(1)
        except subprocess.TimeoutExpired:
            pass
        check(load.returncode is None, "the load still runs after a second")
        target.process.kill()
        out = load.communicate(timeout=20)[0]
        check(load.returncode == 1 and json.loads(out)["errors"]["protocol"] > 0,
              "a target that goes away is an error, at once")


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    program = sys.argv[1]
    try:
        with peers.Tgtd(None) as target:
            for step in (check_load, check_pace, check_verify, check_failures, check_digests,
                         check_target_killed):
                step(program, target)
    except peers.Missing as e:
        print(f"skipped: {e}")
        return SKIP
    except peers.Unavailable as e:
        sys.exit(f"FAILED: {e}")
    print("ok")
    return 0


if __name__ == "__main__":
    sys.exit(main())
