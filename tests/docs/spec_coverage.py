#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
docs/spec-coverage.md: every function and test that it names exists; every page of the page tables is
named in it. (Commands: opcodes_test.c.) docs/format/cache.md: each invariant has guards or tests, which exist,
and each guard of the simulation is named with its invariant.
"""

import fnmatch
import glob
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PAGE = "docs/spec-coverage.md"
TABLES = [("target/scsi/spc_vpd.c", "VPD page", r"^    \{0x([0-9a-f]{2})(), \"S[PB]C"),
          ("target/scsi/spc_mode.c", "mode page", r"^    \{0x([0-9a-f]{2}), 0x([0-9a-f]{2}), \"S"),
          ("target/scsi/spc_log.c", "log page", r"^    \{0x([0-9a-f]{2})(), \"SPC")]


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        return f.read()


def rows(text):
    """Cells of tables whose header names function, test and deviation."""
    wanted = False
    for number, line in enumerate(text.splitlines(), 1):
        if not line.startswith("|"):
            wanted = False
            continue
        cells = [c.strip() for c in line.strip("|").split("|")]
        if cells[2:] == ["function", "test", "deviation"]:
            wanted = True
        elif wanted and not set(line) <= set("|-"):
            yield number, cells


def test_functions():
    """Test file without its ending → names in it."""
    found = {}
    for path in glob.glob(os.path.join(ROOT, "tests", "**", "*.[cp]*"), recursive=True):
        name, ending = os.path.splitext(os.path.basename(path))
        if ending in (".c", ".py"):
            names = re.findall(r"^(?:def (?:case_)?)?([a-z]\w+)\(", read(path), re.M)
            found.setdefault(name, set()).update(names)
    for folder in ("sim", "conformance"):
        if os.path.isdir(os.path.join(ROOT, "tests", folder)):
            found.setdefault({"conformance": "libiscsi"}.get(folder, folder), set())
    found["cachesim"] = found["faults"] | found["world"] | found["drive"]
    return found


def check_tests(number, cell, tests, errors):
    for part in filter(None, (p.strip() for p in cell.split(";"))):
        file, _, names = part.partition(":")
        if file.strip() not in tests:
            errors.append(f"{PAGE}:{number}: there is no test {file}")
            continue
        for name in filter(None, (n.strip() for n in names.split(","))):
            if not fnmatch.filter(tests[file.strip()], name):
                errors.append(f"{PAGE}:{number}: {file} has no {name}")


def check_invariants(tests, errors):
    page = "docs/format/cache.md"
    text, source = read(page), read("cache/cache_priv.h")
    guards = dict(re.findall(r"X\((\w+)\)\s*/\*\s*\[(\d+)\]", source))
    found = {}
    part = text[text.index("## Where that is shown"):]
    for line in part.splitlines():
        cells = [c.strip() for c in line.strip("|").split("|")]
        if line.startswith("|") and cells[0].isdigit():
            found[cells[0]] = cells
            named = re.findall(r"`(\w+)`", cells[1])
            for name in named:
                if guards.get(name) != cells[0]:
                    errors.append(f"{page}: {name} isn't a guard of invariant {cells[0]}")
            if not named and not cells[2]:
                errors.append(f"{page}: nothing shows invariant {cells[0]}")
            check_tests(cells[0], cells[2], tests, errors)
    numbers = {str(i) for i in range(1, 25)}
    if set(found) != numbers:
        errors.append(f"{page}: invariants without a row: {sorted(numbers - set(found), key=int)}")
    for name, number in guards.items():
        if f"`{name}`" not in found.get(number, ["", ""])[1]:
            errors.append(f"{page}: guard {name} isn't named at invariant {number}")
    if len(guards) < 30:
        errors.append("cache/cache_priv.h: the guards aren't found any more")


def main():
    errors, count = [], 0
    text = read(PAGE)
    sources = "".join(read(p) for p in glob.glob(os.path.join(ROOT, "target", "**", "*.[ch]"),
                                                 recursive=True))
    known = set(re.findall(r"\b[a-z]\w+\b", sources))
    tests = test_functions()
    for number, cells in rows(text):
        count += 1
        if len(cells) != 5:
            errors.append(f"{PAGE}:{number}: {len(cells)} cells")
            continue
        for name in re.findall(r"`(\w+)`", cells[2]):
            if name not in known:
                errors.append(f"{PAGE}:{number}: there is no function {name}")
        check_tests(number, cells[3], tests, errors)
    for path, kind, pattern in TABLES:
        pages = re.findall(pattern, read(path), re.M)
        if len(pages) < 3:
            errors.append(f"{path}: the table isn't found any more")
        for code, sub in pages:
            name = f"{kind} {code.upper()}h" + (f"/{sub.upper()}h" if sub not in ("", "00") else "")
            if not re.search(re.escape(name) + r"(?!/)", text):
                errors.append(f"{PAGE}: no {name}")
    check_invariants(tests, errors)
    if count < 80:
        errors.append(f"{PAGE}: only {count} rows were understood")
    print("\n".join(errors) or f"{count} rows")
    return 1 if errors else 0


sys.exit(main())
