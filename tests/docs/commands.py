#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
The options of `terraced --help` and of terraced(8) are the same, and every command line of the manual
pages that begins with "terraced" serves, as printed but for folders, sizes that no test machine has, and
addresses. (README and docs/: examples.py.)
"""

import os
import re
import shlex
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../e2e/lib"))
from terraced import (PROGRAM, ROOT, Failed, Folder, check, free_ports, run, same,  # noqa: E402
                      wait_until)

SOURCES = ["man/terraced.8", "man/terrace.conf.5", "man/terrace-control.7", "man/terracectl.8", "man/cachectl.8"]
CREATED_BYTES = 16 << 20


def read(name):
    with open(os.path.join(ROOT, name), encoding="utf-8") as f:
        return f.read()


def compare_options():
    said = subprocess.run([PROGRAM, "--help"], capture_output=True, text=True, check=True).stdout
    in_help = set(re.findall(r"^  (?:-\w, )?--([a-z][a-z-]+)", said, re.M))
    items = re.findall(r"^\.It Fl (.*)$", read("man/terraced.8"), re.M)
    in_man = {m for item in items for m in re.findall(r"Fl ([a-z][a-z-]+)", item)}
    check(len(in_help) > 15, f"few options in --help: {sorted(in_help)}")
    same(sorted(in_man), sorted(in_help), "options of terraced(8)")
    short = set(re.findall(r"^  -(\w), ", said, re.M))
    same({item[0] for item in items if re.match(r"\w ,", item)}, short, "short options")


def unescape(line):
    """Escapes of mdoc as they stand in literal displays."""
    return line.replace("\\e", "\\").replace("\\&", "").replace("\\(dq", '"')


def commands(name):
    """Command lines in literal text, continued lines joined."""
    found, pending, literal = [], None, False
    for line in read(name).splitlines():
        if line.startswith(".Bd -literal"):
            literal = True
        elif line.startswith(".Ed"):
            literal = False
        shown = unescape(line.strip()) if literal else None
        if shown is None:
            check(pending is None, f"{name}: a line ends with a backslash: {pending}")
            continue
        if pending is not None:
            shown = f"{pending} {shown}"
        elif not re.match(r"(\$ )?terraced ", shown):
            continue
        pending = shown[:-1].strip() if shown.endswith("\\") else None
        if pending is None:
            found.append(shown[2:] if shown.startswith("$ ") else shown)
    return found


def create(path, size):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "ab") as f:
        f.truncate(size)


def localise_config(text, folder, port):
    """A configuration with its folders in `folder` and one address of ours."""
    text = re.sub(r"(?<![\w.])/(srv|etc|var|run|dev)/", lambda m: f"{folder.path}/{m.group(1)}/", text)
    os.makedirs(folder("srv/terrace"), exist_ok=True)
    return re.sub(r"^(portal local \{ listen) \S+", rf"\1 127.0.0.1:{port}", text, flags=re.M)


def localise(words, folder):
    """The command line with folders and addresses of ours; everything else as it is."""
    result, i = [], 1
    config = "--config" in words
    while i < len(words):
        word = words[i]
        value = words[i + 1] if i + 1 < len(words) else ""
        i += 2
        if word == "--lun":
            kind = value.startswith(("ram:", "null:"))
            if not kind:
                path, colon, size = value.partition(":")
                path = folder(path.lstrip("/"))
                os.makedirs(os.path.dirname(path), exist_ok=True)
                if not colon:
                    create(path, CREATED_BYTES)
                value = path + colon + size
        elif word == "--listen":
            check(re.fullmatch(r"([\d.]+|\[[0-9a-f:]+\])(:\d+)?", value), f"--listen {value}")
            value = f"127.0.0.1:{free_ports()[0]}"
        elif word == "--user" and ":@" in value:
            name, path = value.split(":@")
            path = folder(path.lstrip("/"))
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600), "w", encoding="ascii") as f:
                f.write("0123456789ab\n")
            value = f"{name}:@{path}"
        elif word == "--config":
            text = localise_config(read("docs/terrace.conf.sample"), folder, free_ports()[0])
            value = folder.write("terrace.conf", text)
        elif value.startswith("--") or not value:
            result.append(word)
            i -= 1
            continue
        result += [word, value]
    if not config and "--listen" not in words:
        result += ["--listen", f"127.0.0.1:{free_ports()[0]}"]
    return result + ["--state-dir", folder("state"), "--unsafe-fs"]


def try_command(line):
    """It ends with status 0 (--check), or serves until SIGTERM and then ends with 0."""
    words = shlex.split(line, comments=True)
    folder = Folder()
    command = [PROGRAM, *localise(words, folder)]
    if "--check" in words:
        result = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        check(result.returncode == 0, f"{line}: {result.returncode}: {result.stderr}")
        return
    with open(folder("out"), "w+", encoding="utf-8") as out:
        p = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)

        def said():
            with open(folder("out"), encoding="utf-8") as f:
                return f.read()

        try:
            wait_until(lambda: p.poll() is not None or "serving" in said(), line, 30)
            if p.poll() is not None:
                raise Failed(f"{line}\n  as {shlex.join(command)}\n  ended with {p.returncode}: "
                             f"{said()}")
            p.send_signal(signal.SIGTERM)
            same(p.wait(30), 0, f"exit status of {line}")
        finally:
            if p.poll() is None:
                p.kill()
                p.wait()


def main():
    compare_options()
    for name in SOURCES:
        lines = commands(name)
        for line in lines:
            print(f"{name}: {line}", flush=True)
            try_command(line)
        check(lines or name != "man/terraced.8", f"{name} has no examples")


run(main)
