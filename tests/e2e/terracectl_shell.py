#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Completion in bash and zsh, with the names of a daemon's objects; and what is installed for them."""

import os
import shlex
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from terraced import ROOT, Folder, check, run, same  # noqa: E402
from terracectl import TOOL, FakeDaemon, environment  # noqa: E402

COMPLETION = os.path.join(ROOT, "tools/terracectl/completion")
LIBRARY = "/usr/share/bash-completion/bash_completion"
TARGET = "iqn.2026-11.example:san"


def bash(fake, words, library):
    """What bash has to offer for the last word."""
    typed = " ".join(["terracectl", *words])
    if library:  # what readline does with the colons in a line
        parts = [p for w in ["terracectl", *words] for p in split_colons(w)]
    else:
        parts = ["terracectl", *words]
    script = f"""
{f"source {LIBRARY}" if library else ""}
source {COMPLETION}/terracectl.bash
complete -p terracectl >/dev/null || exit 9
compopt() {{ :; }}
COMP_LINE={shlex.quote(typed)} COMP_POINT={len(typed)} COMP_CWORD={len(parts) - 1}
COMP_WORDS=({" ".join(map(shlex.quote, parts))})
_terracectl terracectl
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    env = environment({"TERRACE_CONTROL": fake.path,
                       "PATH": f"{os.path.dirname(TOOL)}:{os.environ['PATH']}"})
    p = subprocess.run(["bash", "--norc", "-c", script], capture_output=True, text=True, env=env,
                       timeout=60, check=False)
    same((p.returncode, p.stderr), (0, ""), f"bash for {words}")
    return p.stdout.split()


def split_colons(word):
    parts = []
    for i, part in enumerate(word.split(":")):
        parts += ([":"] if i > 0 else []) + ([part] if part else [])
    return parts or [""]


def in_bash(fake):
    for library in [False] + ([True] if os.path.exists(LIBRARY) else []):
        same(bash(fake, ["lun", "delete", "vm"], library), ["vm1", "vm2"], "LUNs")
        same(bash(fake, ["lun", "cr"], library), ["create"], "verbs")
        same(bash(fake, ["connect", "--os", ""], library), ["linux", "windows", "esxi"], "systems")
        same(bash(fake, ["nothing", ""], library), [], "nothing")
        folder = Folder()
        folder.write("secret file", "x")
        same(bash(fake, ["chap", "create", "a", "--secret-file", folder("se")], library),
             folder("secret file").split(), "files")
    same(bash(fake, ["connect", "iqn"], False), [TARGET], "targets")
    if os.path.exists(LIBRARY):
        same(bash(fake, ["connect", "iqn.2026-11.example:s"], True), ["san"], "behind the colon")


def in_zsh(fake):
    if shutil.which("zsh") is None:
        print("  zsh is not installed", flush=True)
        return
    script = f"""
compadd() {{ for w; do [[ $w == -* ]] || print -r -- $w; done }}
compset() {{ return 1 }}
words=(terracectl lun delete vm) CURRENT=4
source {COMPLETION}/_terracectl
"""
    env = environment({"TERRACE_CONTROL": fake.path,
                       "PATH": f"{os.path.dirname(TOOL)}:{os.environ['PATH']}"})
    p = subprocess.run(["zsh", "-f", "-c", script], capture_output=True, text=True, env=env,
                       timeout=60, check=False)
    same((p.returncode, p.stderr), (0, ""), "zsh")
    same([w for w in p.stdout.split() if w], ["vm1", "vm2"], "LUNs in zsh")


def installed():
    build = os.path.dirname(os.path.dirname(TOOL))
    if not os.path.exists(os.path.join(build, "cmake_install.cmake")):
        print(f"  {build} is no build folder", flush=True)
        return
    folder = Folder()
    script = os.path.join(build, "tools/terracectl/cmake_install.cmake")
    subprocess.run(["cmake", f"-DCMAKE_INSTALL_PREFIX={folder.path}", "-P", script], check=True,
                   stdout=subprocess.DEVNULL, timeout=60)
    found = {os.path.relpath(os.path.join(d, f), folder.path)
             for d, _, files in os.walk(folder.path) for f in files}
    for path in ("bin/terracectl", "share/bash-completion/completions/terracectl",
                 "share/zsh/site-functions/_terracectl", "share/man/man8/terracectl.8"):
        check(path in found, f"{path} isn't installed: {sorted(found)}")


def main():
    fake = FakeDaemon({"lun.list": [{"name": "vm1"}, {"name": "vm2"}, {"name": "other"}],
                       "target.list": [{"name": TARGET}]})
    for scene in (in_bash, in_zsh):
        print(scene.__name__, flush=True)
        scene(fake)
    installed()


run(main)
