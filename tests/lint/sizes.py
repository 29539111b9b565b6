#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Files of at most 1000 lines, functions of at most 100, but for those listed with a reason."""
import re

from common import end, files, text

FILE_LINES_MAX = 1000
FUNCTION_LINES_MAX = 100
LISTED = "tests/lint/long.txt"


def listed():
    """Lines "path[:function]  reason"."""
    found = {}
    for line in text(LISTED).split("\n"):
        if line.strip() and not line.startswith("#"):
            name, _, reason = line.partition(" ")
            found[name] = reason.strip()
    return found


def functions(source):
    """Name and lines of each: with this project's style a body is from "{" to "}" in column 0."""
    name, start = None, 0
    for n, line in enumerate(source.split("\n"), 1):
        m = re.match(r"^([a-zA-Z_]\w*)\(", line)
        if m:
            name = m.group(1)
        elif line == "{":
            start = n
        elif line == "}" and start:
            yield name or "?", n - start - 1
            name, start = None, 0


def main():
    allowed, used, problems, checked = listed(), set(), [], 0
    for path in files(".c", ".h", ".py"):
        source = text(path)
        checked += 1
        long = [(path, source.count("\n"), FILE_LINES_MAX)]
        if path.endswith(".c"):
            long += [(f"{path}:{f}", n, FUNCTION_LINES_MAX) for f, n in functions(source)]
        for name, lines, most in long:
            if lines <= most:
                continue
            if allowed.get(name):
                used.add(name)
            else:
                problems.append(f"{name}: {lines} lines, at most {most}")
    problems += [f"{LISTED}: {name} isn't long (any more)" for name in allowed if name not in used]
    end(problems, checked)


main()
