#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""clang-format would change nothing. Exit status 77: it isn't there, or of another version."""
import re
import subprocess
import sys

from common import ROOT, end, files

VERSION = 14  # its output differs from version to version


def main():
    try:
        told = subprocess.run(["clang-format", "--version"], capture_output=True, text=True)
    except OSError:
        sys.exit(77)
    version = re.search(r"version (\d+)", told.stdout)
    if not version or int(version.group(1)) != VERSION:
        sys.exit(77)
    sources = files(".c", ".h")
    run = subprocess.run(["clang-format", "--dry-run", "--Werror"] + sources, cwd=ROOT,
                         capture_output=True, text=True)
    changed = sorted(set(re.findall(r"^(\S+?):\d+:\d+: error", run.stderr, re.M)))
    problems = [f"{path}: ./dev format would change it" for path in changed]
    if run.returncode != 0 and not problems:
        problems = [run.stderr.strip()]
    end(problems, len(sources))


main()
