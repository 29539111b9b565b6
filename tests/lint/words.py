#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""No leftovers in the sources, and no path of somebody's own checkout."""
import re

from common import ROOT, end, files, text

# In pieces, so that this file isn't its own first finding.
LEFTOVERS = re.compile(
    "|".join([r"\bTO" r"DO\b", r"\bFIX" r"ME\b", r"\bX" r"XX\b", r"\bfor " r"now\b", r"\bha" r"ck\b"]))
PATHS = re.compile("|".join([re.escape(ROOT) + r"\b", "/ho" r"me/\w+/", "/Us" r"ers/\w+/"]))
BINARY = (".png", ".svg", ".bin", ".gz", ".raw")


def main():
    problems, checked = [], 0
    for path in files():
        if path.endswith(BINARY) or "/corpus/" in path:
            continue
        checked += 1
        for n, line in enumerate(text(path).split("\n"), 1):
            for pattern in (LEFTOVERS, PATHS):
                m = pattern.search(line)
                if m:
                    problems.append(f'{path}:{n}: "{m.group(0)}"')
    end(problems, checked)


main()
