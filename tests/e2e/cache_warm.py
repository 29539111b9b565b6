#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
What a cache holds is as warm after the process was killed as before: the same reads hit its SSD again, but for
what was just being filled. Arguments: names of cases.
"""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from control import started, stop  # noqa: E402
from iscsi import GOOD, Session  # noqa: E402
from terraced import TARGET, Daemon, Folder, check, run, run_each, same, wait_until  # noqa: E402

MIB = 1 << 20
PIECE = 64 << 10
READ = 24 * MIB // PIECE  # of the LUN, in the order of a prime, so that it isn't taken for a scan
PRIME = 149
CONFIG = """
cache fast { ssd "SSD"; size 64MiB; ram none }
lun a { store "STORE"; size 32MiB; cache fast }
portal p { listen 127.0.0.1:{port} }
target iqn.2026-11.example.terrace:test { portals p; open yes; lun 0 a }
"""


def start(folder):
    text = CONFIG.replace("SSD", folder("ssd")).replace("STORE", folder("a.img"))
    return started(Daemon(config=text, folder=folder))


def lun(d):
    return d.control.call("lun.list")[0]


def hits(d):
    """Share of the reads of one round that the SSD answers."""
    before = lun(d)
    with Session(d.port, TARGET) as s:
        s.ready()
        for i in range(READ):
            at = i * PRIME % READ
            r = s.read10(at * PIECE // 512, PIECE // 512)
            same(r.status, GOOD, f"read {at}: {r}")
            check(r.data == at.to_bytes(8, "little") * (PIECE // 8), f"piece {at} has other data")
    after = lun(d)
    reads = after["cache_reads"] - before["cache_reads"]
    check(reads >= READ, f"{reads} reads were counted")
    return (after["cache_hits"] - before["cache_hits"]) / reads


def case_warm_after_a_kill():
    folder = Folder()
    with open(folder("a.img"), "wb") as f:
        for i in range(READ):
            f.write(i.to_bytes(8, "little") * (PIECE // 8))
        f.truncate(32 * MIB)
    d = start(folder)
    # What was filled counts once it is applied: until a round hits all of it.
    wait_until(lambda: hits(d) > 0.99, "it is warm", 120)
    before = hits(d)
    segment = d.control.call("cache.list")[0]["segment_bytes"]
    d.control.close()
    d.kill()
    d = start(folder)
    after = hits(d)
    # The two segments that were being filled had no footer yet: what is in them is nobody's promise.
    lost = 2 * segment / (READ * PIECE)
    check(after >= before - lost - 0.01, f"{before:.3f} of the reads hit before, {after:.3f} after")
    print(f"hits: {before:.3f} before, {after:.3f} after a kill; {lost:.3f} may be lost")
    stop(d)


if __name__ == "__main__":
    run(lambda: run_each(globals()))
