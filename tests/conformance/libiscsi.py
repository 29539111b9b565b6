#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
libiscsi's conformance suite, iscsi-test-cu, against terraced.

The suite counts a test that it skips as passed, and some tests need a unit of their own kind. So each
test is judged on the unit that is made for it: every one of the suite has to pass somewhere and to
skip nothing there. Exempt is what concerns CRYPTO ERASE, which isn't offered.

usage: libiscsi.py [UNIT...]    (all units, at the same time)
"""

import os
import re
import subprocess
import sys
import threading

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../e2e/lib"))
from terraced import Daemon, Failed, check, requires, run  # noqa: E402

IQN = "iqn.2026-11.example.terrace:"

EXEMPT = re.compile(r"CRYPTO.?ERASE", re.I)
SECONDS = 400

# Which tests a unit is made for, its description, its configuration, the arguments of the suite.
# "main" has all tests that no other unit claims, and is the only one with two paths: some tests take
# the second path for a nexus that hasn't seen the resets of the tests before.
UNITS = {
    "main": (
        [], "512 B blocks, 4 KiB physical, thin, sanitize, two portals",
        "store ram: ; size 256MiB ; sanitize yes", ["ALL"]),
    "read_only": (
        ["ReadOnly."], "write protected",
        "store ram: ; size 128MiB ; read_only yes", ["ALL.ReadOnly"]),
    "removable": (
        ["NoMedia.", "PreventAllow.", "StartStopUnit."], "removable medium",
        "store ram: ; size 128MiB ; removable yes",
        ["ALL.NoMedia", "ALL.PreventAllow", "ALL.StartStopUnit"]),
    # Two things must still be under way when the suite looks: a WRITE that it aborts, SANITIZE.
    # The latter's test then sleeps for a minute, answers no ping meanwhile, and takes the unit
    # attention of the session that follows a lost one for a reason to sleep again: hence no pings.
    "slow": (
        ["Sanitize.Reset", "iSCSITMF.AbortTaskSimpleAsync"], "0.1 s for each operation",
        "store fault:1:delay_us=100000:ram: ; size 128MiB ; sanitize yes",
        ["ALL.iSCSITMF.AbortTaskSimpleAsync", "ALL.Sanitize.Reset"]),
    # This test asks for the status of block i + 1 and expects an answer about i plus the blocks of a
    # physical one, which is the same only where there is one.
    "fine": (
        ["GetLBAStatus.UnmapSingle"], "512 B blocks, logical and physical",
        "store ram: ; size 128MiB ; physical_exponent 0", ["ALL.GetLBAStatus"]),
}


def configuration(unit):
    _, _, lun, _ = UNITS[unit]
    # WRITE ATOMIC is offered by the memory store where one loop serves it.
    return f"""
        loops 1
        limits {{ nop_interval_ms 0 }}
        lun {unit} {{ {lun} }}
        portal one {{ listen 127.0.0.1:{{port}} }}
        portal two {{ listen 127.0.0.1:{{port2}} }}
        target {IQN}{unit} {{ portals one two ; open yes ; lun 0 {unit} }}
    """


class Outcome:
    """One test of the suite on one unit."""

    def __init__(self, name):
        self.name = name
        self.result = "no result"
        self.failed = []
        self.skipped = []

    def passed(self):
        return self.result == "passed" and not self.failed and not self.skipped


def parse(text):
    """
    CUnit's output: "Suite: S", "Test: T ...", what the test prints, "passed" or "FAILED" with the
    assertions that failed. Returns the outcomes and how many tests the summary says failed.
    """
    outcomes, suite, now = [], "", None
    for line in text.splitlines():
        m = re.match(r"Suite: (\S+)", line)
        if m:
            suite, now = m.group(1), None
            continue
        m = re.match(r"\s*Test: (\S+) \.\.\.(.*)", line)
        if m:
            now = Outcome(f"{suite}.{m.group(1)}")
            outcomes.append(now)
            line = m.group(2)
        if re.match(r"Run Summary:", line):
            break
        if now is None:
            continue
        if re.match(r"\s*passed", line):
            now.result = "passed"
        elif re.match(r"\s*FAILED", line):
            now.result = "failed"
        m = re.match(r"\s+\d+\. (\S+:\d+\s+- .*)", line)
        if m:
            now.failed.append(m.group(1).strip())
        elif "[FAILED]" in line:
            now.said = getattr(now, "said", [])
            now.said.append(line.strip())
        if "[SKIPPED]" in line and not EXEMPT.search(line):
            now.skipped.append(line[line.index("[SKIPPED]"):].strip())
    m = re.search(r"\btests\s+(\d+)\s+(\d+)\s+(\d+)\s+(\d+)\s+\d+", text)
    if not m:
        raise Failed(f"iscsi-test-cu printed no summary: {text[-500:]}")
    return outcomes, int(m.group(4))


def suite(daemon, unit, selection, second_port):
    """One run of the suite; its outcomes."""
    url = daemon.url(0, IQN + unit)
    other = f"iscsi://127.0.0.1:{second_port}/{IQN}{unit}/0"
    command = ["iscsi-test-cu", "-d", "-S", "-t", selection, url]
    if unit == "main":
        command.append(other)
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=SECONDS, check=False)
    text = done.stdout.decode("latin-1")
    with open(daemon.folder(f"suite-{selection}"), "w", encoding="latin-1") as f:
        f.write(text)
    outcomes, failed = parse(text)
    check(failed == sum(o.result != "passed" for o in outcomes),
          f"{unit}: the summary counts {failed} failures, the lines tell otherwise")
    return outcomes


def serve(unit, results, errors):
    """A target of its own for the unit, so that resets don't reach other units."""
    try:
        from terraced import Folder, free_ports
        folder, ports = Folder(), free_ports(2)
        config = configuration(unit).replace("{port2}", str(ports[1]))
        daemon = Daemon("--quiet", config=config, folder=folder, port=ports[0]).start()
        found = []
        for selection in UNITS[unit][3]:
            found += suite(daemon, unit, selection, ports[1])
        daemon.stop()
        results[unit] = found
    except (Failed, OSError, subprocess.SubprocessError) as e:
        errors[unit] = e


def made_for(name):
    """The unit that this test is judged on."""
    for unit, (claims, _, _, _) in UNITS.items():
        if any(name == c or (c.endswith(".") and name.startswith(c)) for c in claims):
            return unit
    return "main"


def judge(results):
    """Prints a table; the number of tests that didn't pass."""
    bad = []
    print(f"{'unit':10} {'tests':>6} {'passed':>7} {'failed':>7} {'skipped':>8}  kind")
    for unit, outcomes in results.items():
        mine = [o for o in outcomes if made_for(o.name) == unit]
        failed = [o for o in mine if o.result != "passed" or o.failed]
        skipped = [o for o in mine if o.skipped and o not in failed]
        print(f"{unit:10} {len(mine):6} {len(mine) - len(failed) - len(skipped):7} "
              f"{len(failed):7} {len(skipped):8}  {UNITS[unit][1]}")
        bad += [(unit, o) for o in failed + skipped]
    for unit, o in bad:
        print(f"\n{unit}: {o.name}: {o.result}")
        for line in (getattr(o, "said", []) + o.failed + o.skipped)[:12]:
            print(f"    {line}")
    return len(bad)


def listed():
    """All tests that the suite has, by its own list."""
    out = subprocess.run(["iscsi-test-cu", "-l"], capture_output=True, text=True, timeout=30,
                         check=False).stdout
    return {m.group(1) for m in re.finditer(r"^ALL\.(\S+\.\S+)$", out, re.M)}


def main():
    requires("iscsi-test-cu")
    units = sys.argv[1:] or list(UNITS)
    results, errors = {}, {}
    threads = [threading.Thread(target=serve, args=(u, results, errors)) for u in units]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    bad = judge({u: results[u] for u in units if u in results})
    for unit, e in errors.items():
        raise Failed(f"{unit}: {e}")
    check(bad == 0, f"{bad} tests failed or were skipped")
    if not sys.argv[1:]:
        ran = {o.name for u in results for o in results[u] if made_for(o.name) == u}
        check(ran >= listed(), f"never ran: {sorted(listed() - ran)}")
        check(len(ran) > 200, f"only {len(ran)} tests ran")


if __name__ == "__main__":
    run(main)
