#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
Before the power goes: everything that was acknowledged goes to the stores, what can't be is named, and the
service manager sees how far it is. Arguments: names of cases.
"""

import os
import re
import socket
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from control import started, stop  # noqa: E402
from iscsi import GOOD, Session  # noqa: E402
from terraced import ROOT, TARGET, Daemon, Folder, check, run, run_each, same, wait_until  # noqa: E402
from terracectl import DONE, FAILED, TOOL, FakeDaemon, Tool  # noqa: E402

CONFIG = """
cache fast { ssd "SSD"; size 64MiB }
lun a { store "STORE"; size 16MiB; cache fast }
lun scratch { store "VOLATILE"; size 4MiB; mode volatile }
lun plain { store "PLAIN"; size 1MiB }
lun memory { store ram: ; size 1MiB ; mode volatile }
portal p { listen 127.0.0.1:{port} }
target iqn.2026-11.example.terrace:test { portals p; open yes; lun 0 a; lun 1 scratch; lun 2 plain }
"""


def config(folder, a=None):
    text = CONFIG
    for word, path in (("SSD", "ssd"), ("VOLATILE", "v.img"), ("PLAIN", "p.img")):
        text = text.replace(word, folder(path))
    return text.replace("STORE", a or folder("a.img"))


def start(folder, **more):
    d = started(Daemon(config=config(folder, **more), folder=folder))
    d.tool = Tool(os.path.join(d.state, "control.sock"))
    return d


def write(s, number, lun, blocks=64):
    data = bytes([number]) * 4096
    for i in range(blocks):
        wait_until(lambda at=i: s.write10(at * 8, data, lun=lun).status == GOOD, f"write {i}", 30)


def dirty(d):
    return sum(x.get("dirty_bytes", 0) for x in d.control.call("lun.list"))


def case_everything_is_on_the_stores():
    folder = Folder()
    d = start(folder)
    with Session(d.port, TARGET) as s:
        write(s, 7, 0)
        write(s, 9, 1)
        r = d.tool("power-fail", status=DONE, says=[
            "a: ", "went to the store", "scratch: what was in memory went to the disk",
            "Everything that was acknowledged is on the stores", "1 session goes on",
            "but for writes of scratch (mode volatile)", "systemctl stop terraced"])
        check("plain" not in r.out and "memory:" not in r.out, f"what had nothing to do: {r.out}")
        for name, number in (("a.img", 7), ("v.img", 9)):
            with open(folder(name), "rb") as f:
                check(f.read(64 * 4096) == bytes([number]) * (64 * 4096), f"{name} lacks what was written")
        same(dirty(d), 0, "dirty data")
        answer = d.tool.result("power-fail")
        same((answer["done"], answer["sessions"], answer["volatile"]), (True, 1, ["scratch"]), "the answer")
        same([(x["name"], x["way"], x["done"]) for x in answer["luns"]],
             [("a", "cache", True), ("scratch", "store", True)], "LUNs")
    wait_until(lambda: "No initiator is connected." in d.tool("power-fail").out, "nobody", 30)
    stop(d)


def case_what_fails_keeps_nobody_else():
    folder = Folder()
    d = start(folder, a=f"fault:1:write_error=1:file:{folder('a.img')}")
    with Session(d.port, TARGET) as s:
        write(s, 3, 0)
        write(s, 5, 1)
        d.tool("power-fail", status=FAILED, says=[
            "a: NOT all of", "durable on the SSD", "scratch: what was in memory went to the disk",
            "NOT everything"])
        os.rename(folder("v.img"), folder("gone.img"))
        d.tool("power-fail", status=FAILED, says="scratch: NOT durable (No such file")
        os.rename(folder("gone.img"), folder("v.img"))
        write(s, 4, 0, 1)  # it goes on
    stop(d)


def case_the_manager_is_told_how_far_it_is():
    folder = Folder()
    told, end = [], threading.Event()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(folder("notify"))
        manager.settimeout(0.2)

        def listen():
            while not end.is_set():
                try:
                    told.append(manager.recv(4096).decode())
                except socket.timeout:
                    pass

        thread = threading.Thread(target=listen)
        thread.start()
        os.environ["NOTIFY_SOCKET"] = folder("notify")
        try:
            d = start(folder, a=f"fault:1:delay_us=20000:file:{folder('a.img')}")
        finally:
            del os.environ["NOTIFY_SOCKET"]
        with Session(d.port, TARGET) as s:
            write(s, 7, 0)
            d.tool("power-fail", status=DONE)
        wait_until(lambda: "STATUS=serving 4 LUNs" in told, "what it does afterwards", 30)
        at = next(i for i, x in enumerate(told) if x.startswith("STATUS=writing what caches have"))
        check(told[at].endswith(" left") and at < told.index("STATUS=serving 4 LUNs"), str(told))
        stop(d)
        end.set()
        thread.join()


def case_a_daemon_that_ends_meanwhile():
    folder = Folder()
    d = start(folder, a=f"fault:1:delay_us=50000:file:{folder('a.img')}")
    with Session(d.port, TARGET) as s:
        write(s, 7, 0)
        write(s, 8, 1)
        with socket.socket(socket.AF_UNIX) as c:
            c.connect(os.path.join(d.state, "control.sock"))
            for i in range(20):
                c.sendall(b'{"jsonrpc":"2.0","method":"power-fail","id":%d}\n' % i)
            stop(d)
    d = start(folder)
    with Session(d.port, TARGET) as s:
        wait_until(lambda: s.execute(bytes(6), 0).status == GOOD, "the LUN is ready", 30)
    d.tool("power-fail", status=DONE)
    with open(folder("a.img"), "rb") as f:
        same(f.read(4096), bytes([7]) * 4096, "what was written before")
    stop(d)


def case_the_limit():
    go = threading.Event()

    def never(_):
        go.wait(60)
        return {}

    fake = FakeDaemon({"power-fail": never, "lun.list": [{"name": "a", "dirty_bytes": 3 << 20}]})
    tool = Tool(fake.path)
    began = time.monotonic()
    tool("power-fail", "--limit", "1", status=FAILED, says=["after 1 s 3MiB isn't on the stores", "SSDs"])
    check(time.monotonic() - began >= 1, "it waited")
    go.set()
    fake.answers["power-fail"] = {
        "done": False, "seconds": 1.5, "sessions": 2, "volatile": [], "luns": [
            {"name": "x\033[2J", "way": "lost", "done": False, "dirty_bytes": 0, "why": "no SSD"}]}
    r = tool("power-fail", status=FAILED, says=["x?[2J: not served", "(no SSD)", "2 sessions go on"])
    check("\033" not in r.out, "what would control a terminal")
    old = FakeDaemon({"lun.list": []})
    Tool(old.path)("power-fail", status=FAILED, says="older")


def case_hooks_as_documented():
    """The scripts of docs/power.md for NUT and apcupsd, with what those give them."""
    with open(os.path.join(ROOT, "docs/power.md"), encoding="utf-8") as f:
        scripts = re.findall(r"^```sh elsewhere\n(#!/bin/sh\n.*?)^```$", f.read(), re.M | re.S)
    same(len(scripts), 2, "hooks in docs/power.md")
    fake = FakeDaemon({"lun.list": [], "health": {"state": "ok", "conditions": []}, "power-fail": {
        "done": True, "seconds": 0, "sessions": 0, "volatile": [], "luns": []}})
    folder = Folder()
    os.mkdir(folder("bin"))
    os.symlink(TOOL, folder("bin/terracectl"))
    folder.write("bin/logger", f"#!/bin/sh\necho \"logger $*\" >>{folder('log')}\ncat >>{folder('log')}\n", 0o755)
    nut, apcupsd = (folder.write(f"hook{i}", text, 0o755) for i, text in enumerate(scripts))
    for hook, event, method in ((nut, "ONBATT", "power-fail"), (nut, "LOWBATT", "power-fail"),
                                (nut, "ONLINE", "health"), (nut, "COMMBAD", None), (apcupsd, "", "power-fail")):
        fake.asked.clear()
        subprocess.run([hook], check=True, timeout=60, env={
            "PATH": f"{folder('bin')}:/usr/bin:/bin", "TERRACE_CONTROL": fake.path, "NOTIFYTYPE": event})
        same([m for m, _ in fake.asked if m != "lun.list"], [method] if method else [], f"{hook} {event}")
    with open(folder("log"), encoding="utf-8") as f:
        check("logger -t ups\nEverything that was acknowledged is on the stores" in f.read(), "what was logged")


if __name__ == "__main__":
    run(lambda: run_each(globals()))
