#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
kill -9 at every call of a changing verb that changes files, one after another, until the verb survives:
after the restart the change is whole or absent, no file is left of one that is absent, the configuration
loads as it is, and identities are what they were. Arguments: names of steps (default: all).

$KILL_AT_LIBRARY is what is preloaded into terraced to count its calls (kill_at.c).
"""

import mmap
import os
import struct
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from change import CONFIG, Changes  # noqa: E402
from terraced import TARGET, Daemon, Failed, Folder, Skipped, check, run, same  # noqa: E402

LIBRARY = os.environ.get("KILL_AT_LIBRARY")
MIB = 1 << 20
SECOND = "iqn.2026-11.example.terrace:second"
CALLS_MAX = 400  # a verb needs far fewer


class Counter:
    """The memory that is shared with the program."""

    def __init__(self, path):
        with open(path, "wb") as f:
            f.write(bytes(16))
        with open(path, "r+b") as f:
            self.memory = mmap.mmap(f.fileno(), 16)

    def arm(self, kill_at):
        struct.pack_into("=QQ", self.memory, 0, 0, 0)
        struct.pack_into("=Q", self.memory, 8, kill_at)

    def count(self):
        return struct.unpack_from("=Q", self.memory)[0]


def state(c, folder):
    """What initiators and administrators can tell: objects, sizes, identities, files."""
    def listed(method, *keys):
        return sorted(tuple(str(o.get(k)) for k in keys) for o in c.call(method))
    luns = {n: (lun["size_bytes"], lun["mode"], lun["state"], lun["uuid"], lun["read_only"])
            for n, lun in c.luns().items()}
    return {
        "luns": luns,
        "groups": listed("group.list", "name", "target", "initiators", "users", "luns"),
        "portals": listed("portal.list", "name", "listen"),
        "targets": listed("target.list", "name", "alias", "portals"),
        "users": listed("chap.list", "name", "target", "user"),
        "images": sorted(n for n in os.listdir(folder.path) if n.endswith(".img")),
        "conf.d": sorted(os.listdir(folder("conf.d"))) if os.path.isdir(folder("conf.d")) else [],
    }


def comparable(s, known):
    """Without the identities of LUNs that a verb made anew: those are random."""
    luns = {n: v if n in known else v[:3] + v[4:] for n, v in s["luns"].items()}
    names = [n for n in s["conf.d"] if n != ".lock"]
    return {**s, "luns": luns, "conf.d": names}


class Bench:
    """One folder with a terraced that is killed and started again."""

    def __init__(self):
        self.folder = Folder()
        self.counter = Counter(self.folder("calls"))
        self.daemon = Daemon("--loops", "1", "--quiet", "--unsafe-fs", config=CONFIG,
                             folder=self.folder,
                             prefix=("env", f"LD_PRELOAD={LIBRARY}", f"KILL_AT={self.folder('calls')}"))
        self.starts = 0
        self.start()

    def start(self):
        self.daemon.start()
        self.starts += 1
        self.control = Changes(self.daemon)

    def do(self, calls):
        for method, params in calls:
            self.control.done(method, yes=True, **params)

    def shoot(self, call, kill_at):
        """True if the verb survived, and what is written behind its back: history and events."""
        method, params = call
        self.answered = False
        self.counter.arm(kill_at)
        try:
            self.control.done(method, yes=True, **params)
            self.answered = True
            time.sleep(0.2)
            survived = self.daemon.process.poll() is None
        except (Failed, OSError) as e:
            if self.daemon.process.poll() is None:
                try:
                    self.daemon.process.wait(5)
                except subprocess.TimeoutExpired:
                    raise Failed(f"{method}: {e}") from e
            survived = False
        self.counter.arm(0)
        return survived

    def restart(self):
        self.control.close()
        if self.daemon in Daemon.running:
            self.daemon.process.wait(10)
            Daemon.running.remove(self.daemon)
        self.start()
        check(self.control.call("config.check")["ok"], "the configuration has no mistakes")
        same(self.control.call("config.diff")["changes"], [], "files and what runs")


def step(bench, name, call, back):
    """
    `call` is the verb; `back` undoes what was done whole. With a function instead of parameters each
    attempt has others.
    """
    began, starts = time.monotonic(), bench.starts
    folder, wholes, absents = bench.folder, 0, 0
    for kill_at in range(1, CALLS_MAX):
        verb = call(kill_at) if callable(call) else call
        before = state(bench.control, folder)
        known = set(before["luns"])
        survived = bench.shoot(verb, kill_at)
        if survived:
            break
        bench.restart()
        found = state(bench.control, folder)
        for lun, value in before["luns"].items():
            if lun in found["luns"]:
                same(found["luns"][lun][3], value[3], f"identity of {lun}")
        if comparable(found, known) == comparable(before, known):
            check(not bench.answered, f"{verb} was answered, and then it was gone")
            absents += 1
            continue
        # Then it is whole: doing it again says that nothing is to be done, or that it is there.
        whole_is(bench, verb, before, found)
        wholes += 1
        for method, params in back:
            if method == "unlink":
                os.unlink(params)
            else:
                bench.do([(method, params)])
    else:
        raise Failed(f"{name} doesn't survive {CALLS_MAX} calls")
    bench.expected = state(bench.control, folder)
    print(f"{name:14} {kill_at - 1:3} kills: {absents} absent, {wholes} whole, "
          f"{bench.starts - starts} starts, {time.monotonic() - began:.1f} s", flush=True)
    check(kill_at > 5, f"{name}: only {kill_at - 1} calls were counted: is {LIBRARY} at work?")


def whole_is(bench, verb, before, found):
    """Compares with what the same verb makes of the same beginnings when nobody kills."""
    method, params = verb
    kind = method.split(".")[0]
    name = params.get("name") or params.get("group")
    where = {"lun": "luns", "group": "groups", "portal": "portals", "target": "targets",
             "chap": "users"}[kind]
    there = (name in found[where] if where == "luns" else
             any(o[0] == name for o in found[where]))
    if method.endswith(".delete"):
        check(not there, f"{verb}: half of it is done: {before} → {found}")
    else:
        check(there, f"{verb}: half of it is done: {before} → {found}")
    image = params.get("store", "").removeprefix("file:")
    if image:
        check(os.path.exists(image), f"{verb}: the store isn't there")
    if method == "lun.create":
        check(found["luns"][name][2] == "ok", f"{verb}: the LUN isn't served: {found}")
        check(any(name in str(g) for g in found["groups"]), f"{verb}: nobody sees it: {found}")
    if method == "lun.delete":
        check(not any(f"'{name}'" in str(g) for g in found["groups"]), f"{verb}: {found}")
    if method == "lun.resize":
        same(found["luns"][name][0], params["size"], f"{verb}: its size")
    if method == "target.delete":
        check(not any(name in str(g) for g in found["groups"]), f"{verb}: {found}")


def steps(folder):
    image = folder("b.img")
    make = ("lun.create", {"name": "b", "store": f"file:{image}", "size": 4 * MIB, "to": "iqn.b*"})
    unmake = [("lun.delete", {"name": "b"}), ("unlink", image)]
    yield "lun-create", make, unmake
    yield ("lun-resize", lambda n: ("lun.resize", {"name": "b", "size": (4 + n) * MIB}), [])
    yield "lun-set", ("lun.set", {"name": "b", "key": "mode", "value": "volatile"}), [
        ("lun.set", {"name": "b", "key": "mode", "value": None})]
    yield "group-map", ("group.map", {"group": "b", "lun": "a"}), [
        ("group.unmap", {"group": "b", "lun": "a"})]
    yield "group-unmap", ("group.unmap", {"group": "b", "lun": "a"}), [
        ("group.map", {"group": "b", "lun": "a"})]
    yield "portal-create", ("portal.create", {"name": "p", "listen": ["127.0.0.1:0"]}), [
        ("portal.delete", {"name": "p"})]
    yield "target-create", ("target.create", {"name": SECOND, "portals": ["p"]}), [
        ("target.delete", {"name": SECOND})]
    yield "group-create", ("group.create", {"name": "h", "target": SECOND, "initiators": ["x*"]}), [
        ("group.delete", {"name": "h"})]
    yield "chap-create", ("chap.create", {"name": "mia", "target": SECOND,
                                          "secret": "not-for-everybody"}), [
        ("chap.delete", {"name": "mia"})]
    # Three objects at once.
    yield "target-delete", ("target.delete", {"name": SECOND}), [
        ("target.create", {"name": SECOND, "portals": ["p"]}),
        ("group.create", {"name": "h", "target": SECOND, "initiators": ["x*"]}),
        ("chap.create", {"name": "mia", "target": SECOND, "secret": "not-for-everybody"})]
    yield "portal-delete", ("portal.delete", {"name": "p"}), [
        ("portal.create", {"name": "p", "listen": ["127.0.0.1:0"]})]
    yield "lun-delete", ("lun.delete", {"name": "b"}), [
        ("lun.create", {"name": "b", "store": f"file:{image}", "to": "iqn.b*"})]


def reload_step(bench):
    """A reload: after the restart what the files say is so, whatever was under way."""
    began = time.monotonic()
    plain = CONFIG.replace("{port}", str(bench.daemon.port)).replace("{dir}", bench.folder.path)
    more = plain + (f"lun r {{ store file:{bench.folder('r.img')} ; size 2MiB }}\n"
                    "lun s { store ram: ; size 1MiB }\n")
    uuid = bench.control.luns()["a"]["uuid"]
    for kill_at in range(1, CALLS_MAX):
        bench.folder.write("terrace.conf", more)
        if bench.shoot(("reload", {}), kill_at):
            break
        bench.restart()
        same(sorted(bench.control.luns()), ["a", "r", "s"], "LUNs")
        same(bench.control.luns()["a"]["uuid"], uuid, "identity of a")
        bench.folder.write("terrace.conf", plain)
        bench.control.done("reload")
        os.unlink(bench.folder("r.img"))
    print(f"{'reload':14} {kill_at - 1:3} kills, {time.monotonic() - began:.1f} s", flush=True)
    check(kill_at > 2, "reload: no calls were counted")


def main():
    if not LIBRARY or not os.path.exists(LIBRARY):
        raise Skipped("$KILL_AT_LIBRARY is not there")
    bench = Bench()
    if bench.daemon.sanitized():
        raise Skipped("a sanitized program can't have its calls counted")
    selected = sys.argv[1:]
    for name, call, back in steps(bench.folder):
        if not selected or name in selected:
            step(bench, name, call, back)
        else:
            bench.do([call(1) if callable(call) else call])
    if not selected or "reload" in selected:
        reload_step(bench)
    bench.control.close()
    bench.daemon.stop()


run(main)
