#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Each header compiles alone. Arguments: the compiler and its options."""
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from common import ROOT, end, files


def compiles(path):
    source = f'#include "{path}"\n'
    run = subprocess.run(
        sys.argv[1:] + ["-fsyntax-only", "-I", f"{ROOT}/target", "-I", ROOT, "-x", "c", "-"],
        input=source, capture_output=True, text=True, cwd=ROOT)
    return None if run.returncode == 0 else f"{path}: {run.stderr.strip()}"


def main():
    headers = files(".h")
    with ThreadPoolExecutor(2) as pool:
        problems = [p for p in pool.map(compiles, headers) if p]
    end(problems, len(headers))


main()
