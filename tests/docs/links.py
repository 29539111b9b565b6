#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Links between documents lead somewhere, headings too; every page can be reached from docs/README.md."""

import glob
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def anchors(text):
    """As GitHub and others make them of headings."""
    return {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-")
            for h in re.findall(r"^#+ (.*)$", text, re.M)}


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        return f.read()


def main():
    problems, links, leads = [], 0, {}
    pages = [os.path.relpath(p, ROOT) for p in
             [f"{ROOT}/README.md", *glob.glob(f"{ROOT}/docs/*.md"), *glob.glob(f"{ROOT}/docs/format/*.md")]]
    for page in pages:
        text = re.sub(r"^```.*?^```$", "", read(page), flags=re.M | re.S)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if re.match(r"[a-z]+:", target):
                continue
            links += 1
            path, _, anchor = target.partition("#")
            full = os.path.normpath(os.path.join(os.path.dirname(page), path)) if path else page
            if not os.path.exists(os.path.join(ROOT, full)):
                problems.append(f"{page}: there is no {target}")
            elif anchor and anchor not in anchors(read(full)):
                problems.append(f"{page}: {full} has no heading for #{anchor}")
            leads.setdefault(page, []).append(full)
    reached, todo = set(), ["docs/README.md"]
    while todo:
        page = todo.pop()
        if page not in reached:
            reached.add(page)
            todo += leads.get(page, [])
    problems += [f"nothing leads from docs/README.md to {page}" for page in pages if page not in reached]
    print("\n".join(problems + [f"{links} links, {len(problems)} wrong"]))
    return 1 if problems or links < 30 else 0


sys.exit(main())
