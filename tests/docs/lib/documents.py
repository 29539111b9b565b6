# SPDX-License-Identifier: BSD-2-Clause
"""
What documents show in a display: commands, configurations, programs; and what a test shall do in
between, which HTML comments say: <!-- test: WORDS -->.

Markdown: the word behind a fence says what is in it.
  sh                 a script, run as a whole
  console            "$ " commands with what they print
  console elsewhere, sh elsewhere
                     the same on another machine, or of another project: not run
  powershell         likewise
  conf               a configuration; conf more: goes with the one before
  python, json       programs; data of an example
  text               neither
Manual pages: a literal display is what it looks like ("#!" begins a hook); ".\\" elsewhere" in front of it says that it is
not to be run.
"""

import glob
import os
import re

KINDS = {"sh", "sh elsewhere", "console", "console elsewhere", "powershell", "conf", "conf more",
         "python", "json", "text"}
ELSEWHERE = {"console elsewhere", "sh elsewhere", "powershell", "elsewhere"}
KEYWORDS = ("lun|portal|target|group|chap|loops|buffers|state_dir|control|events_max|limits|hooks|"
            "initiators|discovery|include")


class Wrong(Exception):
    """A document that isn't written like this."""


class Block:
    """A display; of kind "test" for a directive, whose words are its one line."""

    def __init__(self, kind, lines, where):
        self.kind, self.lines, self.where = kind, lines, where

    @property
    def text(self):
        return "\n".join(self.lines)


def documents(root):
    """README, docs/ and the manual pages."""
    found = ["README.md"]
    for pattern in ("docs/*.md", "man/*.[1-9]"):
        found += sorted(os.path.relpath(p, root) for p in glob.glob(os.path.join(root, pattern)))
    return found


def blocks(root, name):
    with open(os.path.join(root, name), encoding="utf-8") as f:
        lines = f.read().splitlines()
    return list(markdown(name, lines) if name.endswith(".md") else manual(name, lines))


def markdown(name, lines):
    kind, shown, began = None, [], 0
    for number, line in enumerate(lines, 1):
        if kind is None:
            directive = re.fullmatch(r"\s*<!-- test: (.*) -->", line)
            if directive:
                yield Block("test", [directive.group(1)], f"{name}:{number}")
            elif line.startswith("```"):
                kind, shown, began = line[3:].strip(), [], number
                if kind not in KINDS:
                    raise Wrong(f"{name}:{number}: a fence says what is in it: {sorted(KINDS)}")
            elif re.match(r"(    |\t)\$ ", line):
                raise Wrong(f"{name}:{number}: a command outside of a fence isn't tried")
        elif line == "```":
            yield Block(kind, shown, f"{name}:{began}")
            kind = None
        else:
            shown.append(line)
    if kind is not None:
        raise Wrong(f"{name}:{began}: the fence isn't closed")


def manual(name, lines):
    shown, began, elsewhere = None, 0, False
    for number, line in enumerate(lines, 1):
        if line.startswith(".Bd -literal"):
            shown, began = [], number
        elif line.startswith(".Ed") and shown is not None:
            yield Block("elsewhere" if elsewhere else guess(name, began, shown), shown,
                        f"{name}:{began}")
            shown, elsewhere = None, False
        elif shown is not None:
            shown.append(line.replace("\\e", "\\").replace("\\&", "").replace("\\(dq", '"'))
        else:
            elsewhere = line == '.\\" elsewhere'


def guess(name, number, lines):
    if lines[0].startswith("#!"):
        return "hook"
    first = next((line for line in lines if line.strip() and not line.startswith("#")), "")
    if first.startswith("$ "):
        return "console"
    if first.startswith("terraced "):
        return "terraced"
    if re.match(rf"({KEYWORDS})\b.*([;{{}}]|$)", first):
        return "conf"
    if re.match(r"(import|from) \w", first):
        return "python"
    raise Wrong(f"{name}:{number}: what is this? ({first})")


def commands(lines, where):
    """[command, lines that it prints] of a console; continued lines are joined."""
    found, pending = [], None
    for line in lines:
        if pending is not None:
            pending += " " + line.strip()
        elif line.startswith("$ "):
            pending = line[2:].strip()
        elif found:
            found[-1][1].append(line)
            continue
        elif line.strip():
            raise Wrong(f"{where}: no command prints {line!r}")
        else:
            continue
        if pending.endswith("\\"):
            pending = pending[:-1].rstrip()
        elif not pending.endswith("|"):
            found.append([pending, []])
            pending = None
    if pending is not None:
        raise Wrong(f"{where}: a command goes on after the end: {pending}")
    return found


# ---- what is printed --------------------------------------------------------------------------------

NUMBER = r"\d+(?:[.:-]\d+)*|-"


def shape(line):
    """
    A pattern for a printed line: blanks are as wide as they like, "…" is any text, a number that
    stands alone (an amount, a time, a version, an id, or "-" where there is none) is any other, and so
    is how long it has been up.
    """
    result = []
    parts = re.split(rf"(…|(?<=\bup )\d+ [a-z]+|\s+|(?<![\w.:/-])(?:{NUMBER})(?![\w:/-]))", line.strip())
    for i, part in enumerate(parts):
        if i % 2 == 0:
            result.append(re.escape(part))
        elif part == "…":
            result.append(".*?")
        elif part[-1].isalpha():
            result.append(r"\d+ [a-z]+")
        else:
            result.append(r"\s+" if part.isspace() else f"(?:{NUMBER})")
    return re.compile("".join(result))


def differs(shown, printed):
    """The first line that isn't as it is shown, or None. A "…" alone is any number of lines."""
    shown = [line for line in shown if line.strip()]
    printed = [line for line in printed if line.strip()]

    def fit(s, p):
        if s == len(shown):
            return p == len(printed)
        if shown[s].strip() == "…":
            return any(fit(s + 1, at) for at in range(p, len(printed) + 1))
        return (p < len(printed) and shape(shown[s]).fullmatch(printed[p].strip()) is not None and
                fit(s + 1, p + 1))

    if fit(0, 0):
        return None
    # Mostly it is found without what "…" would allow.
    for s, line in enumerate(shown):
        if line.strip() == "…":
            break
        if s >= len(printed) or not shape(line).fullmatch(printed[s].strip()):
            return line
    return shown[-1] if shown else printed[0]
