#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
Every condition of the table is raised and cleared by the program, and brought about by a test; every
command in its action is one that terracectl has.
"""

import glob
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def read(*patterns):
    found = {}
    for pattern in patterns:
        for path in glob.glob(os.path.join(ROOT, pattern), recursive=True):
            with open(path, encoding="utf-8") as f:
                found[os.path.relpath(path, ROOT)] = f.read()
    return found


def main():
    table = read("target/health/codes.c")["target/health/codes.c"]
    rows = re.findall(r'^\[(HEALTH_\w+)\] = \{\n\s*"(C\d{3})", "([\w-]+)"', table, re.M)
    if len(rows) < 10:
        print(f"only {len(rows)} conditions found in the table")
        return 1
    sources = read("target/**/*.c")
    del sources["target/health/codes.c"]
    program = "\n".join(sources.values())
    tests = "\n".join(read("tests/e2e/**/*.py", "tests/unit/**/*.c").values())
    wrong = []
    for name, code, word in rows:
        if not re.search(rf"\b{name}\b", program):
            wrong.append(f"{code} {word}: nothing in target/ raises {name}")
        if not re.search(rf'"{code}"', tests):
            wrong.append(f"{code} {word}: no test brings it about")
    for verb in set(re.findall(r"terracectl ([a-z-]+(?: (?:list|create|set|map))?)", table)):
        verbs = read("tools/terracectl/verbs.c")["tools/terracectl/verbs.c"]
        if f'.words = "{verb}"' not in verbs:
            wrong.append(f"an action or explanation says 'terracectl {verb}', which there isn't")
    print("\n".join(wrong) or f"{len(rows)} conditions")
    return 1 if wrong else 0


sys.exit(main())
