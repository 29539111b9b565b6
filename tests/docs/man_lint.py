#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
The manual pages are well-formed, refer to pages that are here or belong to others, are installed, and
are named by terraced(8).
"""

import glob
import os
import re
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
OWN = re.compile(r"^\.Xr ((?:terrace|cachectl)\S*) (\d)", re.M)


def unreachable(pages):
    """Pages that nobody would find."""
    installed = ""
    for name in ("CMakeLists.txt", "tools/terracectl/CMakeLists.txt"):
        with open(os.path.join(ROOT, name), encoding="utf-8") as f:
            installed += " ".join(re.findall(r"install\(FILES ([^)]*)\)", f.read()))
    with open(os.path.join(ROOT, "man/terraced.8"), encoding="utf-8") as f:
        named = set(OWN.findall(f.read().split(".Sh SEE ALSO")[1]))
    for page in map(os.path.basename, pages):
        if f"man/{page} " not in installed:
            yield f"man/{page} isn't installed"
        name, section = page.rsplit(".", 1)
        if name != "terraced" and (name, section) not in named:
            yield f"terraced(8) doesn't refer to {name}({section})"


def main():
    if shutil.which("mandoc") is None:
        print("skipped: mandoc is not installed")
        return 77
    pages = sorted(glob.glob(os.path.join(ROOT, "man", "*.[1-9]")))
    if not pages:
        print("there are no pages")
        return 1
    result = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", *pages], text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    failed = result.returncode != 0
    print(result.stdout, end="")
    for page in pages:
        with open(page, encoding="utf-8") as f:
            for name, section in OWN.findall(f.read()):
                if not os.path.exists(os.path.join(ROOT, "man", f"{name}.{section}")):
                    print(f"{page}: there is no {name}({section})")
                    failed = True
    for problem in unreachable(pages):
        print(problem)
        failed = True
    return 1 if failed else 0


sys.exit(main())
