# SPDX-License-Identifier: BSD-2-Clause
"""What the checks share: which files there are, and how to tell what is wrong."""
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def files(*suffixes):
    """Paths from the root of all sources, tracked or new, that end so (all without suffixes)."""
    try:
        out = subprocess.run(
            ["git", "-C", ROOT, "ls-files", "-co", "--exclude-standard"],
            check=True, capture_output=True, text=True).stdout.split("\n")
    except (OSError, subprocess.CalledProcessError):
        out = []
        for folder, folders, names in os.walk(ROOT):
            folders[:] = [f for f in folders if f not in (".git", "build", "state")]
            out += [os.path.relpath(os.path.join(folder, n), ROOT) for n in names]
    found = sorted(p for p in set(out) if p and os.path.isfile(os.path.join(ROOT, p)))
    return [p for p in found if not suffixes or p.endswith(suffixes)]


def text(path):
    with open(os.path.join(ROOT, path), encoding="utf-8", errors="replace") as f:
        return f.read()


def end(problems, checked):
    """Prints what is wrong and exits: 0 nothing, 1 something or nothing to look at."""
    for p in problems:
        print(p)
    print(f"{checked} checked, {len(problems)} wrong")
    sys.exit(1 if problems or checked == 0 else 0)
