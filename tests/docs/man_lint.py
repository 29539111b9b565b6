#!/usr/bin/env python3
"""The manual pages are well-formed, and refer to pages that are here or belong to others."""

import glob
import os
import re
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
OWN = re.compile(r"^\.Xr (terrace\S*) (\d)", re.M)


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
    return 1 if failed else 0


sys.exit(main())
