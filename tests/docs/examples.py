#!/usr/bin/env python3
"""
Every example of README, docs/ and the manual pages is tried: lines that begin with "$ " in indented,
fenced or literal text are run in their order against a daemon of the document's own; configurations
are checked; Python is run. Paths, addresses and devices are those of the test, nothing else is
changed. What begins with "terraced" is commands.py's.
"""

import glob
import os
import re
import shlex
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../e2e/lib"))
from terraced import PROGRAM, ROOT, Daemon, Failed, Folder, check, free_ports, run, same  # noqa: E402
from terracectl import DONE, REMARKS, TOOL, environment  # noqa: E402

# Run as they are written. Those that aren't installed are told.
RUN = {"terracectl", "echo", "cat", "ls", "grep", "socat", "jq", "iscsi-ls", "iscsi-inq", "kill"}
# Of initiators, of the build, of the system's administrator: nothing of Terrace's is shown by them.
ELSEWHERE = {"iscsiadm", "esxcli", "systemctl", "journalctl", "sudo", "apt", "git", "./dev", "cmake",
             "man", "mke2fs", "qemu-img", "mount", "lvcreate", "lvextend", "usermod", "groupadd",
             "install", "truncate", "vi", "$EDITOR", "source", "cd", "terraced"}
KEYWORDS = ("lun|portal|target|group|chap|loops|buffers|state_dir|control|events_max|limits|hooks|"
            "initiators|discovery|include")
SIZE = 16 << 20


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


def documents():
    return ["README.md", *sorted(os.path.relpath(p, ROOT) for p in
                                 glob.glob(os.path.join(ROOT, "docs/*.md")) +
                                 glob.glob(os.path.join(ROOT, "man/*.[1-9]")))]


def blocks(name):
    """The displays of a document, as lists of lines."""
    with open(os.path.join(ROOT, name), encoding="utf-8") as f:
        lines = f.read().splitlines()
    block, inside = [], False
    for line in lines + [""]:
        if name.endswith(".md"):
            fence = line.startswith("```")
            shown = inside and not fence or (not inside and line.startswith("    "))
            inside ^= fence
            text = line if inside else line[4:]
        else:
            if line.startswith(".Bd -literal"):
                inside = True
                continue
            if line.startswith(".Ed"):
                inside = False
            shown = inside
            text = line.replace("\\e", "\\").replace("\\&", "").replace("\\(dq", '"')
        if shown:
            block.append(text)
        elif block and (line.strip() or not name.endswith(".md") or not line):
            yield block
            block = []


def commands(block):
    """Its command lines, continued ones joined."""
    found, pending = [], None
    for line in block:
        if pending is not None:
            pending += " " + line.strip()
        elif line.lstrip().startswith("$ "):
            pending = line.lstrip()[2:].strip()
        else:
            continue
        if pending.endswith("\\"):
            pending = pending[:-1].rstrip()
        elif not pending.endswith("|"):
            found.append(pending)
            pending = None
    check(pending is None, f"a command goes on after the end: {pending}")
    return found


class Place:
    """A document's own folder and daemon."""

    def __init__(self, name, lines):
        self.folder = Folder()
        self.port = free_ports()[0]
        targets = re.findall(r"(?:--target|connect) (iqn\S+)", "\n".join(lines))
        self.target = targets[0] if targets else "iqn.2026-11.com.example:storage"
        self.name = name
        self.daemon = None

    def own(self, text):
        """Paths, stores and addresses of ours."""
        text = re.sub(r"\bblock:/", "file:/", text)
        text = re.sub(r"\blvm:(\w+/\w+)", r"file:/dev/\1", text)
        text = re.sub(r"(?<![\w.])/(srv|etc|var|run|dev|usr)/",
                      lambda m: f"{self.folder.path}/{m.group(1)}/", text)
        for path in set(re.findall(re.escape(self.folder.path) + r"/dev/[\w./-]+", text)):
            self.create(path, SIZE)
        for path in set(re.findall(re.escape(self.folder.path) + r"/etc/terrace/secrets/[\w.-]+",
                                   text)):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600), "w", encoding="ascii") as f:
                f.write(f"{os.path.basename(path)}-of-sixteen-bytes"[:16] + "\n")
        os.makedirs(self.folder("srv/terrace"), exist_ok=True)
        text = re.sub(r"\b127\.0\.0\.1:3260\b", f"127.0.0.1:{self.port}", text)
        return re.sub(r"(--listen )\S+", lambda m: f"{m.group(1)}127.0.0.1:{free_ports()[0]}", text)

    def create(self, path, size):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "ab") as f:
            f.truncate(size)

    def start(self):
        """What a machine of an administrator with a target would have."""
        if self.daemon is not None:
            return
        os.makedirs(self.folder("run/terrace"))
        os.makedirs(self.folder("etc/terrace"), exist_ok=True)
        self.create(self.folder("srv/disk0.img"), SIZE)
        self.daemon = Daemon("--unsafe-fs", "--control", self.folder("run/terrace/control.sock"),
                             folder=self.folder, port=self.port)
        self.daemon.config = self.folder.write("etc/terrace/terrace.conf", f"""
lun disk0 {{ store file:{self.folder("srv/disk0.img")} }}
portal san {{ listen 127.0.0.1:{self.port} }}
target {self.target} {{
    portals san
    group disk0 {{ initiators iqn.2004-10.com.ubuntu:* ; lun 0 disk0 }}
}}
""")
        self.daemon.start()

    def stop(self):
        if self.daemon is not None:
            self.daemon.stop()


def programs(line):
    """The programs that a line calls."""
    words = list(shlex.shlex(line, posix=True, punctuation_chars="|;&"))
    plain = shlex.split(line, comments=True)
    found, first = [plain[0]], False
    for word in words:
        if first:
            found.append(word)
        first = bool(word) and set(word) <= set("|;&")
    return found


def endless(line):
    return "--follow" in line or re.search(r"\biostat \d+$", line)


def try_line(place, line):
    called = programs(line)
    for program in called:
        check(program in RUN | ELSEWHERE,
              f"{place.name}: {line}\n  is {program} to be run here? Say so in {__file__}")
    if any(program in ELSEWHERE for program in called):
        return False
    missing = [p for p in called if p not in ("terracectl", "socat") and shutil.which(p) is None]
    if missing:
        print(f"  not run, {missing[0]} is not installed: {line}", flush=True)
        return False
    place.start()
    bin_dir = place.folder("bin")
    if not os.path.exists(bin_dir):
        os.makedirs(bin_dir)
        os.symlink(TOOL, os.path.join(bin_dir, "terracectl"))
        if shutil.which("socat") is None:
            place.folder.write("bin/socat", SOCAT, 0o755)
    env = environment({"PATH": f"{bin_dir}:{os.environ['PATH']}",
                       "TERRACE_CONTROL": place.folder("run/terrace/control.sock")})
    print(f"  {line}", flush=True)
    p = subprocess.Popen(["sh", "-c", "exec " + place.own(line) if len(called) == 1 else
                          place.own(line)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, text=True, env=env)
    if endless(line):
        time.sleep(1.5)
        check(p.poll() is None, f"{place.name}: {line}: it ended: {p.stdout.read()}")
        p.terminate()
    out, _ = p.communicate(timeout=60)
    if not endless(line):
        allowed = (DONE, 1, 2) if called[-1:] == ["terracectl"] and " health" in line else (DONE,
                                                                                              REMARKS)
        check(p.returncode in allowed, f"{place.name}: {line}: status {p.returncode}: {out}")
    return True


def try_config(place, block):
    """It has no errors. Parts of one, with an ellipsis, aren't tried."""
    path = place.folder.write("example.conf", place.own("\n".join(block)) + "\n")
    result = subprocess.run([PROGRAM, "--check", "--config", path], capture_output=True, text=True,
                            timeout=60, check=False)
    check(result.returncode in (DONE, REMARKS),
          f"{place.name}: {result.returncode}: {result.stderr}\n" + "\n".join(block))


def try_python(place, block):
    place.start()
    result = subprocess.run([sys.executable, "-c", place.own("\n".join(block))], timeout=60,
                            capture_output=True, text=True, check=False)
    check(result.returncode == 0, f"{place.name}: {result.stderr}\n" + "\n".join(block))


def try_document(name):
    found = list(blocks(name))
    lines = [line for block in found for line in commands(block)]
    place = Place(name, lines)
    counts = {"commands": 0, "configurations": 0, "programs": 0}
    for block in found:
        first = next((line for line in block if line.strip() and not line.startswith("#")), "")
        own = commands(block)
        if own:
            counts["commands"] += sum(try_line(place, line) for line in own)
        elif re.match(rf"({KEYWORDS})\b.*([;{{}}]|$)", first) and "…" not in "".join(block):
            try_config(place, block)
            counts["configurations"] += 1
        elif re.match(r"(import|from) \w", first):
            try_python(place, block)
            counts["programs"] += 1
    place.stop()
    print(f"{name}: {counts}", flush=True)
    return counts


def main():
    done = {name: try_document(name) for name in documents()}
    check(done["man/terracectl.8"]["commands"] > 10, "terracectl(8) has no examples")
    check(done["man/terrace.conf.5"]["configurations"] > 4, "terrace.conf(5) has no examples")
    same(done["man/terrace-control.7"]["programs"], 1, "programs of terrace-control(7)")


if not os.access(TOOL, os.X_OK):
    raise Failed(f"{TOOL} is not there: build it first")
run(main)
