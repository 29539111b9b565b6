#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
terracectl(8) and the program, cachectl(8) and its, say the same: verbs, their arguments and options, exit statuses; and
each verb stands for a method that the daemon has, with parameters that it takes.
"""

import json
import os
import re
import socket
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../e2e/lib"))
from terraced import ROOT, Daemon, check, run, same  # noqa: E402
from terracectl import TOOL, FakeDaemon, Tool  # noqa: E402

CACHECTL = os.path.join(os.path.dirname(TOOL), "cachectl")
EVERYWHERE = {"control", "json", "help"}


def said(*words, tool=TOOL):
    return subprocess.run([tool, *words], capture_output=True, text=True, check=True).stdout


def manual(tool=TOOL):
    with open(os.path.join(ROOT, f"man/{os.path.basename(tool)}.8"), encoding="utf-8") as f:
        return f.read()


def documented(tool):
    """Verb → options and arguments by position, with whether they may be left out."""
    verbs = {}
    for head in re.findall(r"^\.It Xo\n(.*?)^\.Xc$", manual(tool), re.M | re.S):
        first, *lines = head.splitlines()
        name = re.fullmatch(r"\.Ic ([a-z -]+)", first)
        check(name and name.group(1) not in verbs, f"a verb's item begins with {first}")
        found = set()
        for line in lines:
            option = re.fullmatch(r"\.(Op )?Fl Fl ([a-z-]+)(?: Ar .*)?", line)
            argument = re.fullmatch(r"\.(Op )?Ar ([a-z]+)(?: \.\.\.)?", line)
            check(option or argument, f"{name.group(1)}: {line}")
            optional, word = (option or argument).groups()
            found.add(("--" if option else "") + word + ("?" if optional else ""))
        verbs[name.group(1)] = found
    return verbs


def by_help(tool=TOOL):
    verbs = {}
    for line in said("--help", tool=tool).splitlines():
        m = re.match(r"  ([a-z]+(?: [a-z]+)?(?:-[a-z]+)?)  +\S", line)
        if m is None:
            continue
        words = m.group(1).split()
        text = said(*words, "--help", tool=tool)
        usage = re.match(r"usage: (.*?)\n\n", text, re.S).group(1)
        usage = " ".join(usage.split()).replace(f"{os.path.basename(tool)} {m.group(1)}", "", 1)
        usage = usage.partition(" -- ")[0]
        found = set()
        for optional, option, argument in re.findall(
                r"(\[)?(?:(--[a-z-]+)(?: [A-Z=+]+)?|([A-Z]+))\]?…?", usage):
            found.add((option or argument.lower()) + ("?" if optional else ""))
        verbs[m.group(1)] = found
        listed = set(re.findall(r"^  --([a-z-]+)", text, re.M)) - EVERYWHERE
        same(sorted(listed), sorted(f.strip("-?") for f in found if f.startswith("--")),
             f"options of {m.group(1)} in usage and help")
        check(EVERYWHERE <= set(re.findall(r"^  --([a-z-]+)", text, re.M)), f"{words}: {text}")
    return verbs


def compare_verbs(tool, least):
    program, page = by_help(tool), documented(tool)
    check(len(program) > least, f"few verbs: {sorted(program)}")
    same(sorted(page), sorted(program), f"verbs of {os.path.basename(tool)}(8)")
    for verb, args in program.items():
        same(sorted(page[verb]), sorted(args), f"arguments of {verb}")
    statuses = re.search(r"^\.Sh EXIT STATUS\n(.*?)^\.Sh", manual(tool), re.M | re.S).group(1)
    same(re.findall(r"^\.It (\d)$", statuses, re.M), list("012345"), "exit statuses")
    same(sorted(set(re.findall(r"\b(\d) [a-z]", said("--help", tool=tool).split("Exit status:")[1]))),
         list("012345"), "exit statuses in --help")


def methods():
    """Name → parameters, by the daemon."""
    daemon = Daemon("--lun", "ram:64MiB", "--unsafe-fs").start()
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(20)
        s.connect(os.path.join(daemon.state, "control.sock"))
        with s.makefile("rw", encoding="utf-8") as f:
            f.write('{"jsonrpc":"2.0","method":"methods","id":1}\n')
            f.flush()
            found = json.loads(f.readline())["result"]
    daemon.stop()
    return {m["name"]: {p["name"]: p for p in m["params"]} for m in found}


# What asks no daemon.
OFFLINE = {"help", "explain", "import-scst", "doctor", "cache format", "cache check", "cache dump"}
# What follows from what others answer: the end of a freeze; pages for programs.
LATER = {"cache.hold", "cache.thaw", "lun.dirty", "cache.segments", "lun.heatmap", "lun.latency",
         "lun.reservations", "overview"}
# What a value looks like, where any word won't do.
VALUES = {"N": "1", "ID": "1", "COUNT": "1", "SECONDS": "1", "SESSION": "1", "KEY=VALUE": "a=b",
          "LEVEL": "info", "UUID": "00000000-0000-4000-8000-000000000000", "SYSTEM": "linux"}


def example_of(verb):
    """The verb with all that it takes."""
    text = said(*verb.split(), "--help")
    usage = " ".join(re.match(r"usage: (.*?)\n\n", text, re.S).group(1).split())
    words = verb.split()
    for option, value, argument in re.findall(
            r"(?:(--[a-z-]+)(?: ([A-Z=+]+))?|([A-Z]+))\]?…?",
            usage.replace("terracectl " + verb, "", 1)):
        if option in ("--all", "--default", "--follow", "--effective", "--diff", "--discovery", "--dry-run",
                      "--vg", "--with-volume", "--range"):
            continue  # exclude other arguments, or never end
        if argument:
            words.append(VALUES.get(argument, "word"))
        else:
            words += [option] + ([VALUES.get(value, "word")] if value else [])
    return words


def compare_methods():
    """What the program sends has the names and types that the daemon's methods want."""
    real = methods()
    types = {"text": str, "integer": int, "boolean": bool, "list": list, "object": dict}
    asked = set()
    for verb in [*by_help(), *("cache " + v for v in by_help(CACHECTL))]:
        if verb in OFFLINE:
            continue
        fake = FakeDaemon({name: [] for name in real})
        words = example_of(verb)
        if verb == "scstadmin":  # has words of its own; what they become is tried by e2e_scstadmin
            words = ["scstadmin", "-close_dev", "word"]
        if verb == "cache freeze":
            words += ["--", "true"]
        if verb == "chap set":  # the option goes with one key only
            words = ["chap", "set", "word", "secret", "--secret-file", "-"]
        for i, word in enumerate(words):
            if word.endswith("secret-file"):
                words[i + 1] = "-"
        Tool(fake.path)(*words, stdin="a secret of 24 characters\nanother\n", status=None)
        check(fake.asked, f"{verb} asks nothing")
        for method, params in fake.asked:
            asked.add(method)
            check(method in real, f"{verb}: the daemon has no method {method}")
            for name, value in params.items():
                check(name in real[method], f"{verb}: {method} has no parameter {name}")
                kind = real[method][name]["type"]
                check(kind == "any" or type(value) is types[kind],
                      f"{verb}: {name} of {method} is {value!r}, and ought to be of type {kind}")
            for name, param in real[method].items():
                check(not param["required"] or name in params, f"{verb}: {method} needs {name}")
    # Nothing that can be ordered is out of the administrator's reach; what these tell is in status, too.
    reached = asked | LATER | {"methods", "version", "loop.list", "cache.list", "config.diff", "log-level.get"}
    same(sorted(set(real) - reached), [], "methods that no verb stands for")


def compare_checks():
    """The checks of `doctor`, in their order."""
    with tempfile.TemporaryDirectory() as root:
        p = subprocess.run([TOOL, "doctor", "--json", "--root", root], capture_output=True, text=True, check=False)
    findings = json.loads(p.stdout)["result"]["findings"]
    checks = list(dict.fromkeys(f["check"] for f in findings))
    item = re.search(r"^\.Ic doctor\n.*?^\.El$", manual(), re.M | re.S).group(0)
    same(re.findall(r"^\.It Li (\S+)$", item, re.M), checks, "checks in terracectl(8)")
    with open(os.path.join(ROOT, "docs/doctor.md"), encoding="utf-8") as f:
        same(re.findall(r"^\| `([a-z-]+)` \|", f.read(), re.M), checks, "checks in docs/doctor.md")


def main():
    compare_checks()
    compare_verbs(TOOL, 30)
    compare_verbs(CACHECTL, 9)
    compare_methods()


run(main)
