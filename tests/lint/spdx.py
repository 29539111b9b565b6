#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Every source says under which licence it is, in its first lines, and LICENSE is that one."""
import os
import re

from common import ROOT, end, files, text

LICENCE = "BSD-2-Clause"
TAG = re.compile(r"SPDX-License-Identifier: (\S+)")
LINES = 3  # after "#!", or in the first comment
SUFFIXES = (".c", ".h", ".py", ".sh", ".bash", ".in", ".cmake")
# Data that tests read, and what an administrator or the packager writes in.
NOT_SOURCES = ("docs/", "tests/data/", "tests/fuzz/corpus/", ".ci/", "packaging/etc/", "debian/")


def is_source(path):
    if path.startswith(NOT_SOURCES) or os.path.islink(os.path.join(ROOT, path)):
        return False
    if path.endswith(SUFFIXES) or os.path.basename(path) == "CMakeLists.txt" or path.startswith("man/"):
        return True
    with open(os.path.join(ROOT, path), "rb") as f:
        return f.read(2) == b"#!"


def main():
    problems, checked = [], 0
    if "Redistributions in binary form" not in text("LICENSE") or f"License: {LICENCE}" not in text("debian/copyright"):
        problems.append(f"LICENSE and debian/copyright: not {LICENCE}")
    for path in files():
        if not is_source(path):
            continue
        checked += 1
        found = TAG.findall("\n".join(text(path).split("\n")[:LINES]))
        if found != [LICENCE]:
            problems.append(f"{path}: no line SPDX-License-Identifier: {LICENCE} at its head")
    end(problems, checked)


main()
