#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
Time from the attach of a cache to its first answer, and memory, on generated SSDs. Prints a table.

Exit: 0 all limits hold, 1 some don't, 2 it could not be measured.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TIB = 1 << 40
# An upgrade's restart: a cache of 16 GiB answers within this.
UPGRADE_GIB, UPGRADE_S = 16, 1.0
# extent in KiB, size in GiB, limit of the index in GiB for each TiB cached, whether the time has a limit
RUNS = [(16, UPGRADE_GIB, None, True), (16, 64, None, True), (64, 64, 0.5, False), (4, 8, 5.0, False)]


def measure(opt, extent, size):
    with tempfile.TemporaryDirectory(dir=opt.dir, prefix="terrace-recovery-") as d:
        run = subprocess.run([os.path.join(opt.bin, "terrace-bench-recovery"), "--size-gib", str(size),
                              "--extent-kib", str(extent), os.path.join(d, "ssd")],
                             capture_output=True, text=True, timeout=900)
    if run.returncode != 0:
        raise RuntimeError(run.stderr.strip())
    return json.loads(run.stdout)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--bin", default=os.path.join(ROOT, "build", "release", "bin"))
    p.add_argument("--dir", default="/var/tmp", help="where the SSDs are made (up to 1.5 GiB)")
    p.add_argument("--quick", action="store_true", help="an eighth of the size")
    opt = p.parse_args()
    ok = True
    print(f"{'extent':>8} {'SSD':>8} {'extents':>10} {'read':>9} {'first I/O':>10} {'limit':>8} "
          f"{'index/TiB':>10} {'limit':>8}")
    for extent, size, index_limit, timed in RUNS:
        size = max(size // 8, 2) if opt.quick else size
        try:
            m = measure(opt, extent, size)
        except (OSError, RuntimeError, ValueError, subprocess.TimeoutExpired) as e:
            print(f"terrace-bench-recovery: {e}", file=sys.stderr)
            return 2
        limit = UPGRADE_S if size <= UPGRADE_GIB else 5 * m["size_bytes"] / TIB + 1
        index = m["index_bytes"] / m["cached_bytes"] * 1024
        ok &= not timed or m["first_io_s"] <= limit
        ok &= index_limit is None or index <= index_limit
        print(f"{extent:>4} KiB {size:>4} GiB {m['extents']:>10} {m['read_bytes'] >> 20:>5} MiB "
              f"{m['first_io_s']:>8.2f} s {f'{limit:.2f} s' if timed else '-':>8} {index:>6.2f} GiB "
              f"{f'{index_limit} GiB' if index_limit else '-':>8}")
    print("all limits hold" if ok else "over a limit")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
