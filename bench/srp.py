#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
SRP against the kernel's own target, ib_srpt: both in one throw-away VM, over soft-RoCE, with Linux's
ib_srp as the initiator, on disks in memory, measured in turns. Prints a table with medians; writes
srp.json. Speeds of an emulated machine mean nothing by themselves, their ratio does: and that only if
the VM has the CPUs for itself. Other programs here delay terraced, which has to be woken, more than
ib_srpt, which works in the initiator's softirqs.

Exit: 0 ours is at least 75 % of theirs everywhere, 1 it isn't, 2 it could not be measured, 77 no VM.
"""

import argparse
import json
import os
import resource
import statistics
import sys

sys.dont_write_bytecode = True
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests/vm/lib"))
from vm import HERE as VM_FOLDER, Vm  # noqa: E402
from terraced import Folder, Skipped  # noqa: E402

WORKLOADS = {
    "read-1m": "reads, 1 MiB, 4 at once",
    "write-1m": "writes, 1 MiB, 4 at once",
    "read-64k": "reads, 64 KiB, one at a time",
    "read-4k": "random reads, 4 KiB, 32 at once",
    "write-4k": "random writes, 4 KiB, 32 at once",
}
LEAST = 0.75
OTHERS_MOST = 0.1  # of the CPUs' time; beyond it the ratio isn't terraced's


def cpu_time():
    """Seconds that all CPUs had, that they were busy, and that we and what we ran and waited for kept them so."""
    with open("/proc/stat", encoding="ascii") as f:
        ticks = [int(word) for word in f.readline().split()[1:9]]
    idle = ticks[3] + ticks[4]
    own = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    hz = os.sysconf("SC_CLK_TCK")
    return sum(ticks) / hz, (sum(ticks) - idle) / hz, sum(u.ru_utime + u.ru_stime for u in own)


def share_of_others(before, after):
    total, busy, own = (b - a for a, b in zip(before, after))
    return max(0.0, busy - own) / total if total > 0 else 0.0


def measure(rounds, seconds, workloads):
    folder = Folder()
    disks = []
    for name in ("a.img", "b.img"):
        disks.append(folder(name))
        with open(disks[-1], "wb") as f:
            f.truncate(64 << 20)
    vm = Vm("bash", os.path.join(VM_FOLDER, "srp_bench.sh"), rounds, seconds, *workloads,
            memory_mib=1536, seconds=300 + rounds * seconds * len(workloads) * 8, disks=disks)
    vm.start()
    if vm.wait() != 0:
        print("\n".join(vm.messages().split("\n")[-40:]))
        sys.exit(2)
    found = {w: {"ours": [], "theirs": []} for w in workloads}
    for line in vm.read("log").split("\n"):
        words = line.split()
        if words[:1] == ["RESULT"]:
            found[words[1]][words[2]].append(float(words[3]))
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4, help="of each measurement")
    parser.add_argument("--only", choices=WORKLOADS, action="append", help="this workload")
    parser.add_argument("--out", default="build/bench", help="folder of srp.json")
    args = parser.parse_args()
    workloads = args.only or list(WORKLOADS)
    before = cpu_time()
    try:
        found = measure(args.rounds, args.seconds, workloads)
    except Skipped as e:
        print(f"skipped: {e}")
        sys.exit(77)
    others = share_of_others(before, cpu_time())
    worst, report = None, {}
    print(f"\n{'':34}{'terraced':>12}{'ib_srpt':>12}{'ratio':>8}   MiB/s, medians of {args.rounds}")
    for w in workloads:
        ours, theirs = (statistics.median(found[w][who]) for who in ("ours", "theirs"))
        ratio = ours / theirs if theirs else 0.0
        worst = ratio if worst is None else min(worst, ratio)
        report[w] = {"ours": found[w]["ours"], "theirs": found[w]["theirs"], "ratio": ratio}
        print(f"{WORKLOADS[w]:34}{ours / 2**20:12.1f}{theirs / 2**20:12.1f}{ratio:8.2f}"
              f"{'' if ratio >= LEAST else '   too slow'}")
    print(f"other programs had {others:.0%} of this machine's CPUs"
          f"{'' if others <= OTHERS_MOST else ': measure again when they are done'}")
    os.makedirs(args.out, exist_ok=True)
    with open(os.path.join(args.out, "srp.json"), "w", encoding="utf-8") as f:
        json.dump({"least": LEAST, "others": others, "workloads": report}, f, indent=1)
    sys.exit(0 if worst is not None and worst >= LEAST else 1)


if __name__ == "__main__":
    main()
