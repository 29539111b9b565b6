#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
Every example of README, docs/ and the manual pages is tried in its order, a machine for each document
(lib/place.py): commands and scripts are run and what they print is compared with what is shown (as
lib/documents.py says), configurations are checked, programs are run. A terraced that an example starts
is the one that the following ones find. What is marked as another machine's is listed and not run.
Command lines in manual pages that begin with "terraced" are commands.py's.

Directives in documents, <!-- test: … -->:
  fresh                            another machine, with nothing on it
  file PATH                        the next configuration is what is in this file
  start                            terraced serves /etc/terrace/terrace.conf
  initiator NAME TARGET [USER]     one logs in, USER with the secret in /etc/terrace/secrets/USER
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "../e2e/lib"), os.path.join(HERE, "lib")]
from documents import ELSEWHERE, blocks, commands, differs, documents  # noqa: E402
from place import Place  # noqa: E402
from terraced import PROGRAM, ROOT, Failed, check, run, same  # noqa: E402
from terracectl import DONE, REMARKS, TOOL, environment  # noqa: E402

# Run as they are written. Those that aren't installed are told.
RUN = {"terracectl", "cachectl", "echo", "cat", "ls", "grep", "socat", "jq", "iscsi-ls", "iscsi-inq", "mke2fs",
       "qemu-img", "mkdir", "install", "tee", "truncate", "rm", "sed", "head", "base64", "chmod", "du"}
NOT_FAILED = (DONE, REMARKS)

EVENT = ('{"id":7,"time":1795000000,"event":"raised","object":"vm1","code":"C204","severity":"failed",'
         '"text":"the store of vm1 is gone"}')

# In place of socat where it isn't installed: `socat - UNIX-CONNECT:PATH`.
SOCAT = f"""#!{sys.executable}
import socket, sys
with socket.socket(socket.AF_UNIX) as s:
    s.connect(sys.argv[2].split(":", 1)[1])
    s.sendall(sys.stdin.buffer.read())
    s.shutdown(socket.SHUT_WR)
    while data := s.recv(65536):
        sys.stdout.buffer.write(data)
"""


def programs(line):
    """The programs that a command line calls."""
    found, first = [], True
    for word in shlex.shlex(line, posix=True, punctuation_chars="|;&()<>"):
        if first and word not in ("sudo", "(", "umask", "{", "!") and not word.isdigit():
            found.append(word)
        first = bool(word) and set(word) <= set("|;&(") or (first and word in ("sudo", "umask"))
    return [p for p in found if not set(p) <= set("|;&()<>")]


def without_documents(script):
    """A script without its here documents, a command a line."""
    script = re.sub(r"<<'(\w+)'(.*?)\n.*?\n\1$", r"\2", script, flags=re.M | re.S)
    return [line for line in script.replace("\\\n", " ").splitlines()
            if line.strip() and not line.startswith("#")]


class Document:
    def __init__(self, name):
        self.name = name
        self.blocks = blocks(ROOT, name)
        text = "\n".join(b.text for b in self.blocks)
        targets = re.findall(r"(?:--target|connect) (iqn\S+)", text)
        self.place = Place(targets[0] if targets else "iqn.2026-11.com.example:storage")
        self.counts = {"commands": 0, "configurations": 0, "programs": 0, "elsewhere": 0}
        self.before, self.path = "", None  # the configuration in front, where it goes

    def run(self):
        for block in self.blocks:
            kind = "elsewhere" if block.kind in ELSEWHERE else block.kind.replace(" ", "_")
            getattr(self, f"try_{kind}")(block)
        self.place.stop()
        print(f"{self.name}: {self.counts}", flush=True)
        return self.counts

    # ---- what isn't run ---------------------------------------------------------------------------

    def try_text(self, block):
        pass

    try_json = try_terraced = try_text

    def try_elsewhere(self, block):
        self.counts["elsewhere"] += 1
        for line in filter(None, map(str.strip, block.lines)):
            print(f"  elsewhere: {line}", flush=True)

    # ---- directives ---------------------------------------------------------------------------------

    def try_test(self, block):
        word, *rest = block.lines[0].split()
        place = self.place
        if word == "fresh":
            place.fresh()
        elif word == "file":
            (self.path,) = rest
        elif word == "start":
            place.start_configured()
        elif word == "initiator":
            name, target, *user = rest
            chap = None
            if user:
                with open(place.folder("etc/terrace/secrets", user[0]), encoding="ascii") as f:
                    chap = (user[0], f.readline().strip())
            place.login(name, target, chap)
        else:
            raise Failed(f"{block.where}: what is '{word}'?")

    # ---- configurations, programs -------------------------------------------------------------------

    def try_conf(self, block):
        self.before = ""
        self.try_conf_more(block)

    def try_conf_more(self, block):
        """It has no errors."""
        self.counts["configurations"] += 1
        self.before += block.text + "\n"
        path, self.path = self.path or "/etc/example.conf", None
        self.place.write(path, self.before)
        result = subprocess.run([PROGRAM, "--check", "--config", self.place.own(path)],
                                capture_output=True, text=True, timeout=60, check=False)
        check(result.returncode in NOT_FAILED,
              f"{block.where}: {result.returncode}: {self.place.back(result.stderr)}")

    def try_python(self, block):
        self.counts["programs"] += 1
        self.served()
        result = subprocess.run([sys.executable, "-c", self.place.own(block.text)], timeout=60,
                                capture_output=True, text=True, check=False)
        check(result.returncode == 0, f"{block.where}: {result.stderr}")

    def try_hook(self, block):
        """It takes an event."""
        for line in block.lines[1:]:
            if not self.runnable(block.where, line.removeprefix("exec ")):
                return
        self.counts["programs"] += 1
        path = self.place.folder.write("work/hook", self.place.own(block.text) + "\n", 0o755)
        result = subprocess.run([path, "raised"], input=EVENT + "\n", capture_output=True, text=True,
                                env=self.environment(), timeout=60, check=False)
        check(result.returncode == 0 and not result.stderr, f"{block.where}: {result}")

    # ---- commands ------------------------------------------------------------------------------------

    def served(self):
        if self.place.daemon is None:
            self.place.start_usual()

    def runnable(self, where, line):
        """False if a program isn't there."""
        called = programs(line)
        for program in called:
            check(program in RUN or (program == "terraced" and "--check" in line),
                  f"{where}: {line}\n  is {program} to be run here? See {__file__}")
        own = {"terracectl", "cachectl", "terraced", "socat"}
        missing = [p for p in called if p not in own and
                   shutil.which(p, path=os.environ["PATH"] + ":/usr/sbin:/sbin") is None]
        if missing:
            print(f"  not run, {missing[0]} isn't installed: {line}", flush=True)
        if {"terracectl", "cachectl", "socat"} & set(called):
            self.served()
        return not missing

    def environment(self):
        place = self.place
        if not os.path.lexists(place.folder("bin/terracectl")):
            os.symlink(TOOL, place.folder("bin/terracectl"))
            os.symlink(TOOL, place.folder("bin/cachectl"))
            os.symlink(PROGRAM, place.folder("bin/terraced"))
            with open(os.open(place.folder("bin/sudo"), os.O_CREAT | os.O_WRONLY, 0o755), "w",
                      encoding="ascii") as f:
                f.write('#!/bin/sh\nexec "$@"\n')
            if shutil.which("socat") is None:
                place.folder.write("bin/socat", SOCAT, 0o755)
        return environment({"PATH": f"{place.folder('bin')}:{os.environ['PATH']}:/usr/sbin:/sbin",
                            "TERRACE_CONTROL": place.control()})

    def shell(self, script, endless=False):
        """Status and output, as the document's machine would have printed it."""
        script = self.place.own(script)
        self.place.secrets(script)
        p = subprocess.Popen(["sh", "-ec", f"exec {script}" if endless else script],
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True, env=self.environment(),
                             cwd=self.place.folder("work"))
        if endless:
            time.sleep(1.5)
            check(p.poll() is None, f"{self.name}: {script}: it ended")
            p.terminate()
        out, _ = p.communicate(timeout=60)
        return DONE if endless else p.returncode, self.place.back(out)

    def try_terraced_line(self, where, line):
        """It serves from now on, or checks. What it printed."""
        words = shlex.split(line.removeprefix("sudo "))
        words = [self.place.own(w) if "=" not in w else w for w in words[1:]]
        # `--listen ADDRESS` is told by both words.
        for i in range(1, len(words)):
            if words[i - 1] == "--listen":
                words[i] = self.place.own(f"listen {words[i]}")[len("listen "):]
        if not {"--check", "--version", "--help"} & set(words):
            return self.place.back(self.place.start(words))
        result = subprocess.run([PROGRAM, *words], text=True, timeout=60, check=False,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        check(result.returncode in NOT_FAILED, f"{where}: {line}: {result.stdout}")
        return self.place.back(result.stdout)

    def try_console(self, block):
        for line, shown in commands(block.lines, block.where):
            self.try_line(block.where, line, shown)

    def try_line(self, where, line, shown):
        print(f"  {line}", flush=True)
        self.counts["commands"] += 1
        if re.match(r"(sudo )?terraced ", line):
            out = self.try_terraced_line(where, line)
        else:
            if not self.runnable(where, line):
                return
            endless = "--follow" in line or re.search(r"\biostat \d+$", line)
            status, out = self.shell(line, endless)
            refused = any(s.startswith("terracectl: ") for s in shown)
            allowed = {1, 2, 5} if refused else set(NOT_FAILED)
            if " health" in line or " doctor" in line:
                allowed |= {1, 2}  # as monitoring programs have it; what this machine is like
            check(status in allowed, f"{where}: {line}: status {status}: {out}")
        if any(s.strip() for s in shown):
            wrong = differs(shown, out.splitlines())
            check(wrong is None, f"{where}: {line}\n  shown, but not printed: {wrong}\n{out}")

    def try_sh(self, block):
        lines = without_documents(block.text)
        if re.match(r"(sudo )?terraced ", lines[0]) and len(lines) == 1:
            self.try_line(block.where, lines[0], [])
            return
        for line in lines:
            print(f"  {line}", flush=True)
        # Each is asked: all that is missing is told.
        if not all([self.runnable(block.where, line) for line in lines]):
            return
        self.counts["commands"] += len(lines)
        status, out = self.shell(block.text)
        check(status in NOT_FAILED, f"{block.where}: status {status}: {out}")


def check_comparison():
    """What is shown is found where it is printed, and missed where it isn't."""
    printed = ["san1: OK   terrace 0.1.0, up 3 s", "LUN   SIZE  r/s", "vm1  20GiB   17", ""]
    for shown, fits in ((printed, True), (["…"], True), (["san1: OK terrace 9.9, up 12 min", "…"], True),
                        (["…", "vm1 20GiB -"], True), (["san1: …", "LUN SIZE r/s", "vm1 20GiB 0.5"], True),
                        (printed[:2], False), (["…", "vm1 21GiB 17"], False), (["…", "vm2 20GiB 17"], False),
                        ([*printed, "more"], False), (["san1: FAILED …", "…"], False),
                        (["…", "vm1 20GiB many"], False)):
        same(differs(shown, printed) is None, fits, f"{shown} for {printed}")
    same(commands(["$ a \\", "  b", "c", "", "$ d |", "e"], "here"),
         [["a b", ["c", ""]], ["d | e", []]], "commands")
    same(programs("sudo a -x | b 'c; d' && (umask 077; e > f)"), ["a", "b", "e"], "programs")


def compare_install():
    """What the README has built is what an installation needs."""
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as f:
        built = set(re.search(r"\./dev build release (.*?)(?: *&&|\n)", f.read()).group(1).split())
    needed = set()
    for folder in ("target/daemon", "target/health", "tools/terracectl", "web"):
        with open(os.path.join(ROOT, folder, "CMakeLists.txt"), encoding="utf-8") as f:
            needed |= set(re.findall(r"install\(TARGETS (\S+)", f.read()))
    same(sorted(built), sorted(needed), "programs to be built before an installation")


def main():
    check_comparison()
    compare_install()
    chosen = sys.argv[1:] or documents(ROOT)
    done = {name: Document(name).run() for name in chosen}
    if sys.argv[1:]:
        return
    for name in ("README.md", "docs/configuration.md", "man/terracectl.8"):
        check(done[name]["commands"] > 8, f"{name} has no examples")
    for name in ("docs/configuration.md", "man/terrace.conf.5"):
        check(done[name]["configurations"] > 4, f"{name} has no configurations")
    same(done["man/terrace-control.7"]["programs"], 1, "programs of terrace-control(7)")


if not os.access(TOOL, os.X_OK):
    raise Failed(f"{TOOL} is not there: build it first")
run(main)
