#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
What a hit in memory costs: 4 KiB random reads over iSCSI of a unit in memory, without a cache and with
the memory of a cache in front of it, in alternation in one run. All that is read was read before, so
that all of it comes from the cache.

Exit: 0 all limits hold, 1 some don't, 2 it could not be measured.
"""

import contextlib
import os
import sys

sys.dont_write_bytecode = True
import bars  # noqa: E402
import iscsi  # noqa: E402
import peers  # noqa: E402

# Twice the region: nothing of it is evicted, on any number of loops.
RAM = "256MiB"
READS = ["--mix", "100"]
# Sessions are spread over the loops; half of what each reads is another loop's.
TWO_LOOPS = ["--mix", "100", "--sessions", "8", "--depth", "16"]
RUNS = [("hit", "one loop", 1, READS), ("hit-2", "two loops", 2, TWO_LOOPS),
        ("hit-q1", "one loop, depth 1", 1, ["--mix", "100", "--depth", "1"])]


class Cached(peers.Terraced):
    """The same unit behind the memory of a cache."""

    name = "cached"
    more = ["--ram", RAM]


class Bare(peers.Terraced):
    name = "bare"


def ratio(key, *path):
    return lambda r: r.ratio(("cached", key, *path), ("bare", key, *path))


def rows():
    return [
        bars.Bar("hit in memory, one loop, CPU per I/O of the store's", "x", False, 1.15, False,
                 ratio("hit", *bars.CPU)),
        bars.Bar("hit in memory, two loops, CPU per I/O of the store's", "x", False, 1.5, False,
                 ratio("hit-2", *bars.CPU)),
    ]


def measure(bench):
    """Fills bench.rounds; the rows' figures follow from them."""
    opt = bench.opt
    with contextlib.ExitStack() as stack:
        targets = {}
        for loops in {run[2] for run in RUNS}:
            cpus = {opt.target_cpu} if loops == 1 else None
            for kind in (Bare, Cached):
                target = stack.enter_context(kind(opt.terraced, cpus, loops))
                targets[(kind.name, loops)] = target
                bench.fill(target)
                bench.rounds.rounds.append({})
                bench.iscsi("warm", target, "warm", ["--mix", "100", "--pattern", "seq",
                                                     "--block", "64KiB"])
        del bench.rounds.rounds[:]
        for i in range(opt.rounds):
            bench.rounds.rounds.append({})
            for key, _, loops, options in RUNS:
                for kind in (Bare, Cached) if i % 2 else (Cached, Bare):
                    bench.iscsi(kind.name, targets[(kind.name, loops)], key, options)


def print_table(rounds):
    print(f"\n{'4 KiB random reads, all hits':28} {'':8} {'IOPS':>9} {'p50 us':>8} {'p99 us':>8} "
          f"{'CPU us/IO':>9}")
    for key, title, _, _ in RUNS:
        for who in ("bare", "cached"):
            def middle(*path):
                return rounds.middle(who, key, *path)
            print(f"{title:28} {who:8} {iscsi.number(middle('iops')):>9} "
                  f"{iscsi.number(middle(*bars.P50), 1):>8} {iscsi.number(middle(*bars.P99), 1):>8} "
                  f"{iscsi.number(middle(*bars.CPU), 2):>9}")
            title = ""


def main():
    opt = iscsi.options()
    try:
        bench = iscsi.Bench(opt)
        measure(bench)
    except peers.Unavailable as e:
        print(f"cache_ram.py: {e}", file=sys.stderr)
        return 2
    print_table(bench.rounds)
    failed = 0
    for bar in rows():
        value = bar.figure(bench.rounds)
        holds = value is not None and bar.holds(value)
        failed += not holds
        print(f"{bar.title:54} {'-' if value is None else bar.text(value):>8}  "
              f"{bar.limit_text():>9}  {'pass' if holds else 'FAIL'}")
    return 1 if failed or bench.problems else 0


if __name__ == "__main__":
    sys.exit(main())
