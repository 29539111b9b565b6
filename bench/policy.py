#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
Runs the cache's own policy code over synthetic traces and compares it with LRU, ARC and the offline
optimum. Prints tables; writes policy.json and policy.svg.

Exit: 0 all limits hold, 1 some don't, 2 it could not be measured.
"""

import argparse
import json
import os
import subprocess
import sys

sys.dont_write_bytecode = True
import policy_plot  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BEHIND_RAM = 2.0  # points of hit ratio behind the best of LRU and ARC, at most
BEHIND_SSD = 4.0
MERGED = 8.0      # written blocks for each store write, at least
EXEMPT = {"loop"}  # of the limits: no policy without a look ahead is good at it

COLUMNS = [("belady", "optimum"), ("lru", "LRU"), ("arc", "ARC"), ("s3", "S3-FIFO"),
           ("ram", "RAM tier"), ("ssd", "SSD tier"), ("ssd32", "32 segs")]


def measure(opt, writes):
    command = [os.path.join(opt.bin, "terrace-bench-policy"), "--accesses", str(opt.accesses),
               "--universe", str(opt.universe), "--seed", str(opt.seed), "--writes", str(writes)]
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=900)
        if run.returncode == 0:
            return json.loads(run.stdout)
        print(f"{command[0]}: {run.stderr.strip()}", file=sys.stderr)
    except (OSError, subprocess.TimeoutExpired, json.JSONDecodeError) as e:
        print(f"{command[0]}: {e}", file=sys.stderr)
    return None


def behind(size, who):
    """Points behind the better of LRU and ARC; negative: ahead."""
    best = max(size["lru"]["hits"], size["arc"]["hits"])
    return 100 * (best - size[who]["hits"])


def table(result):
    share = result["write_percent"]
    print(f"\nRead hits in % of all accesses, {share} % writes; in brackets: points behind the best "
          "of LRU and ARC")
    head = f"{'trace':<18}{'size':>6}" + "".join(f"{title:>16}" for _, title in COLUMNS)
    print(head + f"{'curve':>9}{'SSD writes':>12}")
    for trace in result["traces"]:
        for size in trace["sizes"]:
            line = f"{trace['title']:<18}{100 * size['share']:>5.0f}%"
            for key, _ in COLUMNS:
                hits = f"{100 * size[key]['hits']:.1f}"
                if key not in ("belady", "lru", "arc"):
                    hits += f" ({behind(size, key):+.1f})"
                line += f"{hits:>16}"
            print(line + f"{100 * size['curve']:>9.1f}"
                  f"{size['ssd']['ssd_writes_per_fill']:>11.2f}x")


def destage_table(result):
    print("\nDestage of zipf 0.99 writes, 4 × the volume, dirty limit half of it, store 5 ms × 32")
    print(f"{'SSD':>5}{'offered/s':>11}{'gaps':>6}{'written':>10}{'store writes':>14}{'merged':>8}"
          f"{'with drain':>12}{'slow from':>11}{'dirtiest':>10}{'stalled':>9}")
    for d in result["destage"]:
        print(f"{d['ssd_share']:>4.0f}×{d['offered_per_s']:>11}{d['gap_max']:>6}{d['written']:>10}"
              f"{d['store_writes']:>14}{merged(d):>7.1f}×{merged(d, True):>11.1f}×"
              f"{100 * d['slow_from']:>9.0f} %{100 * d['dirty_max']:>8.0f} %{d['stalled_s']:>7.1f} s")


def merged(d, drain=False):
    writes = d["store_writes"] + (d["drain_writes"] if drain else 0)
    return d["written"] / writes if writes else 0.0


def limits(result, mixed):
    """(title, figure, limit, whether more is better) of each."""
    found = []
    for trace in result["traces"]:
        if trace["name"] in EXEMPT:
            continue
        for who, title, most in (("ram", "RAM", BEHIND_RAM), ("ssd", "SSD", BEHIND_SSD)):
            worst = max(behind(size, who) for size in trace["sizes"])
            found.append((f"{trace['title']}: {title} tier, points behind", worst, most, False))
    for trace in mixed["traces"] if mixed else []:
        if trace["name"] not in EXEMPT:
            worst = max(behind(size, "ssd") for size in trace["sizes"])
            found.append((f"{trace['title']}, 30 % writes: SSD tier", worst, BEHIND_SSD, False))
    whole = [d for d in result["destage"] if d["ssd_share"] > 2]
    if whole:
        found.append(("written blocks for each store write", min(merged(d) for d in whole), MERGED,
                      True))
    return found


def verdicts(found):
    print()
    failed = 0
    for title, figure, limit, more in found:
        holds = figure >= limit if more else figure <= limit
        failed += not holds
        print(f"{'ok  ' if holds else 'MISS'} {title:<48} {figure:>6.1f}  "
              f"({'≥' if more else '≤'} {limit:g})")
    return failed


def write(opt, result, mixed, found):
    os.makedirs(opt.out, exist_ok=True)
    with open(os.path.join(opt.out, "policy.json"), "w", encoding="utf-8") as f:
        json.dump({"reads": result, "mixed": mixed,
                   "limits": [dict(zip(("title", "figure", "limit", "more_is_better"), x))
                              for x in found]}, f, indent=1)
    with open(os.path.join(opt.out, "policy.svg"), "w", encoding="utf-8") as f:
        f.write(policy_plot.svg(result))
    print(f"\n{opt.out}/policy.json, policy.svg")


def main():
    p = argparse.ArgumentParser(prog="./dev bench policy", description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--bin", default=os.path.join(ROOT, "build/release/bin"))
    p.add_argument("--out", default=os.path.join(ROOT, "build/bench"))
    p.add_argument("--accesses", type=int, default=2000000)
    p.add_argument("--universe", type=int, default=262144, help="blocks of the random part")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--quick", action="store_true", help="a quarter of the accesses and blocks")
    opt = p.parse_args()
    if opt.quick:
        opt.accesses //= 4
        opt.universe //= 4
    result = measure(opt, 0)
    mixed = measure(opt, 30) if result else None
    if not result or not mixed:
        return 2
    table(result)
    table(mixed)
    destage_table(result)
    found = limits(result, mixed)
    failed = verdicts(found)
    write(opt, result, mixed, found)
    return 1 if failed else 0


sys.exit(main())
