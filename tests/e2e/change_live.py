#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
Changes while initiators work: what is added, changed and removed is seen by those whom it concerns and
disturbs nobody else; what would take something from a session is refused and names it. Arguments: names
of cases.
"""

import os
import socket
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from change import (BUSY, CONFIG, CONFIG_ERRORS, EXISTS, FAILED, INVALID_PARAMS,  # noqa: E402
                    NEEDS_YES, NO_OBJECT, Changes)
from control import Error  # noqa: E402
from iscsi import CHECK, GOOD, Closed, Refused, Session  # noqa: E402
from terraced import TARGET, Daemon, Failed, check, requires, run, run_each, same, wait_until  # noqa: E402

A, B = "iqn.a:one", "iqn.b:two"
MIB = 1 << 20
POWER_ON, CAPACITY_CHANGED, LUNS_CHANGED, MODE_CHANGED = 0x062900, 0x062A09, 0x063F0E, 0x062A01
NO_SUCH_LUN, WRITE_PROTECTED = 0x052500, 0x072700


class Work:
    """An initiator that reads and writes all the time and minds any error."""

    def __init__(self, d, name=A, lun=0):
        self.session = Session(d.port, TARGET, name=name)
        self.session.ready(lun)
        self.lun = lun
        self.count = 0
        self.error = None
        self.going_on = True
        self.expected = ()  # unit attentions that are no error
        self.seen = []
        self.thread = threading.Thread(target=self.main)
        self.thread.start()

    def main(self):
        try:
            while self.going_on:
                lba = self.count * 8 % 32768
                data = bytes([self.count & 255]) * 4096
                for result in (self.session.write10(lba, data, self.lun),
                               self.session.read10(lba, 8, self.lun)):
                    if result.status == CHECK and sense(result) in self.expected:
                        self.seen.append(sense(result))
                        continue
                    if result.status != GOOD:
                        raise AssertionError(f"status {result.status:#x} {result}")
                self.count += 1
        except Exception as e:  # told by end()
            self.error = e

    def more(self):
        """Waits until it has done some more work."""
        now = self.count
        wait_until(lambda: self.error or self.count > now + 2, "the initiator goes on")
        check(self.error is None, f"the initiator met {self.error!r}")

    def end(self):
        self.going_on = False
        self.thread.join(20)
        self.session.close()
        check(self.error is None, f"the initiator met {self.error!r}")
        check(self.count > 5, "the initiator has worked")


def sense(result):
    """Key, code and qualifier in one number; 0: none."""
    code = result.code()
    return code[0] << 16 | code[1] << 8 | code[2] if code else 0


def attentions(session, lun=0):
    """What TEST UNIT READY says until it is content."""
    found = []
    for _ in range(8):
        result = session.execute(bytes(6), lun)
        if result.status == GOOD:
            return found
        found.append(sense(result))
        if found[-1] == NO_SUCH_LUN:
            return found
    return found


def start(config=CONFIG, *options, folder=None, port=None):
    d = Daemon("--loops", "2", "--quiet", "--unsafe-fs", *options, config=config, folder=folder,
               port=port).start()
    return d, Changes(d)


def stop(d, c):
    c.close()
    d.stop()


def files(d):
    """The names in conf.d but for what is the program's own, with their contents."""
    folder = d.folder("conf.d")
    found = {}
    for name in os.listdir(folder) if os.path.isdir(folder) else ():
        if not name.startswith("."):
            with open(os.path.join(folder, name), encoding="utf-8") as f:
                found[name] = f.read()
    return found


# ---- LUNs ------------------------------------------------------------------------------------------------


def case_lun_comes_and_goes():
    d, c = start()
    work = Work(d)
    image = d.folder("b.img")
    c.done("lun.create", name="b", store=f"file:{image}", size="32MiB", to="iqn.b*")
    same(os.path.getsize(image), 32 * MIB, "size of the new file")
    same(sorted(files(d)), ["group-b.conf", "lun-b.conf"], "files of the new objects")
    with Session(d.port, TARGET, name=B) as b:
        b.ready()
        same(b.capacity()[0], 32 * MIB // 512, "blocks of the new LUN")
        # One more for the same pattern: the next number of the same group; the session is told.
        c.done("lun.create", name="b2", store="ram:", size="16MiB", to="iqn.b*")
        same(attentions(b, 0), [LUNS_CHANGED], "unit attentions of the LUN that was there")
        same(attentions(b, 1), [POWER_ON], "unit attentions of the new LUN")
        same(b.report_luns(), [0, 1], "LUNs of the session")
        refusal = c.refused(NEEDS_YES, "lun.delete", name="b")
        names = [s["initiator"] for s in refusal.data["sessions"]]
        same(names, [B], "sessions that are named")
        check("LUN 0 (b)" in refusal.data["sessions"][0]["reason"], refusal.data)
        check(B in refusal.message and "--yes" in refusal.message, refusal.message)
        same(b.report_luns(), [0, 1], "LUNs after the refusal")
        answer = c.done("lun.delete", name="b", yes=True)
        same([s["initiator"] for s in answer["sessions"]], [B], "sessions in the answer")
        same(attentions(b, 0), [NO_SUCH_LUN], "the LUN that went")
        check(LUNS_CHANGED in attentions(b, 1), "the other LUN tells")
        same(b.report_luns(), [1], "LUNs after the deletion")
    check(os.path.exists(image), "the data stays")
    check("lun-b.conf" not in files(d), "its object is gone")
    work.more()
    work.end()
    stop(d, c)
    d.start()
    c = Changes(d)
    same(sorted(c.luns()), ["a", "b2"], "LUNs after a restart")
    stop(d, c)


def case_identity_after_deletion():
    """A store has its identity for ever; memory that is gone, and what is discarded, have none."""
    d, c = start()
    image = d.folder("b.img")
    def again(**how):
        uuid = c.luns()["b"]["uuid"]
        c.done("lun.delete", name="b", **how)
        return uuid
    c.done("lun.create", name="b", store=f"file:{image}", size="1MiB")
    first = again()
    c.done("lun.create", name="b", store=f"file:{image}")
    same(c.luns()["b"]["uuid"], first, "identity of the same file")
    again(discard=True)
    c.done("lun.create", name="b", store=f"file:{image}")
    check(again() != first, "a new identity after it was discarded")
    c.done("lun.create", name="b", store="ram:", size="1MiB")
    memory = again()
    c.done("lun.create", name="b", store="ram:", size="1MiB")
    check(again() != memory, "a new identity of other memory")
    stop(d, c)


def case_lun_grows():
    d, c = start()
    image = d.folder("b.img")
    c.done("lun.create", name="b", store=f"file:{image}", size="32MiB", to="iqn.b*")
    work = Work(d, B)
    work.expected = (CAPACITY_CHANGED,)
    answer = c.done("lun.resize", name="b", size="64MiB")
    same(answer["sessions"], [], "nobody loses anything")
    same(os.path.getsize(image), 64 * MIB, "size of the file")
    same(c.luns()["b"]["size_bytes"], 64 * MIB, "size of the LUN")
    wait_until(lambda: CAPACITY_CHANGED in work.seen, "the initiator is told")
    refusal = c.refused(FAILED, "lun.resize", name="b", size="32MiB")
    check("never shrinks" in refusal.message, refusal.message)
    refusal = c.refused(FAILED, "lun.set", name="b", key="size", value="16MiB")
    check("never shrinks" in refusal.message, refusal.message)
    same(os.path.getsize(image), 64 * MIB, "size after the refusals")
    # A file of terrace.conf: the line to write is shown.
    refusal = c.refused(FAILED, "lun.resize", name="a", size="128MiB")
    check("terrace.conf:3" in refusal.message and "size 134217728" in refusal.message,
          refusal.message)
    c.refused(INVALID_PARAMS, "lun.resize", name="b", size="much")
    c.refused(NO_OBJECT, "lun.resize", name="bb", size="64MiB")
    work.end()
    stop(d, c)


def case_device_that_grew():
    """Without a size: what the store has by now."""
    d, c = start()
    image = d.folder("b.img")
    with open(image, "wb") as f:
        f.truncate(16 * MIB)
    c.done("lun.create", name="b", store=f"file:{image}")
    with open(image, "r+b") as f:
        f.truncate(24 * MIB)
    # The watch over the store looks once a second: the answer comes when this size has been seen.
    for size in range(24, 64, 4):
        before = c.luns()["b"]["size_bytes"]
        with open(image, "r+b") as f:
            f.truncate(size * MIB)
        answer = c.call("lun.resize", name="b")
        same(answer["size_bytes"], size * MIB, "the size that is told")
        same(c.luns()["b"]["size_bytes"], size * MIB, "the size that is shown")
        if answer["applied"]:
            same([(x["kind"], x["name"], x["keys"]) for x in answer["changes"]],
                 [("lun", "b", [{"key": "size", "old": f"{before // MIB}MiB", "new": f"{size}MiB"}])], "what has grown")
        else:
            same(answer["changes"], [], "seen before it was asked for")
    answer = c.call("lun.resize", name="b")
    same((answer["applied"], answer["changes"], answer["size_bytes"]), (False, [], 60 * MIB), "nothing has grown")
    with open(image, "r+b") as f:
        f.truncate(64 * MIB)
    answer = c.call("lun.resize", name="b", dry_run=True)
    same((answer["applied"], answer["changes"]), (False, []), "only asked")
    stop(d, c)


def case_read_only():
    d, c = start()
    c.done("lun.create", name="b", store="ram:", size="16MiB", to="iqn.b*")
    with Session(d.port, TARGET, name=B) as b:
        b.ready()
        c.refused(NEEDS_YES, "lun.set", name="b", key="read_only", value=True)
        same(b.write10(0, bytes(512)).status, GOOD, "a write after the refusal")
        c.done("lun.set", name="b", key="read_only", value=True, yes=True)
        check(MODE_CHANGED in attentions(b), "the session is told")
        same(sense(b.write10(0, bytes(512))), WRITE_PROTECTED, "a write to what is read-only")
        # For one group only.
        c.done("lun.set", name="b", key="read_only", value=None)
    stop(d, c)


def case_another_unit():
    """What makes another disk of it is removal and addition: its sessions lose it."""
    d, c = start()
    c.done("lun.create", name="b", store=f"file:{d.folder('b.img')}", size="16MiB", to="iqn.b*")
    uuid = c.luns()["b"]["uuid"]
    with Session(d.port, TARGET, name=B) as b:
        b.ready()
        same(b.write10(0, b"x" * 512).status, GOOD, "a write")
        done = c.done("lun.set", name="b", key="mode", value="volatile")
        check("keeps its stronger mode" in done["remarks"][0] and B in done["remarks"][0], done)
        same(c.luns()["b"]["mode"], "writethrough", "the session was told so")
        c.done("lun.set", name="b", key="mode", value="volatile", yes=True)
        same(c.luns()["b"]["mode"], "volatile", "the new mode")
        same(c.luns()["b"]["uuid"], uuid, "the identity of the store")
        check(POWER_ON in attentions(b), "the session sees a new unit")
        same(b.read10(0, 1).data, b"x" * 512, "what was written")
        c.done("lun.create", name="b3", store="ram:", size="16MiB", to="iqn.b*", number=7)
        c.done("lun.set", name="b3", key="serial", value="0123456789", yes=True)
    refusal = c.refused(CONFIG_ERRORS, "lun.set", name="b", key="serial", value="0123456789")
    check("serial '0123456789' is there already" in refusal.message, refusal.message)
    stop(d, c)


def case_store_moves_to_another_name():
    """By reload: a LUN gets another name, the store and its identity are the same."""
    d, c = start()
    uuid = c.luns()["a"]["uuid"]
    text = CONFIG.replace("lun a ", "lun z ").replace("lun 0 a", "lun 0 z")
    with Session(d.port, TARGET, name=A) as a:
        a.ready()
        same(a.write10(8, b"y" * 512).status, GOOD, "a write")
        rewrite(d, text)
        c.refused(NEEDS_YES, "reload")
        c.done("reload", yes=True)
        check(POWER_ON in attentions(a), "another unit has the number")
        same(a.read10(8, 1).data, b"y" * 512, "what was written")
    same(sorted(c.luns()), ["z"], "LUNs")
    same(c.luns()["z"]["uuid"], uuid, "its identity")
    stop(d, c)


def case_names_numbers_stores():
    """What is taken is said to be taken, and nothing is left of what was refused."""
    d, c = start()
    c.done("lun.create", name="b", store="ram:", size="16MiB", to="iqn.b*")
    before = files(d)
    new = d.folder("new.img")
    c.refused(EXISTS, "lun.create", name="b", store=f"file:{new}", size="1MiB")
    e = c.refused(EXISTS, "lun.create", name="n", store=f"file:{new}", size="1MiB", group="b",
                  number=0)
    check("next free one is 1" in e.message, e.message)
    e = c.refused(CONFIG_ERRORS, "lun.create", name="n", store=f"file:{d.folder('a.img')}")
    check("a.img" in e.message, e.message)
    e = c.refused(CONFIG_ERRORS, "lun.create", name="n", store=f"file:{new}", size="1MiB",
                  options={"sice": 1})
    check("sice" in e.message and e.data[0]["line"] > 0, f"{e.message} {e.data}")
    c.refused(INVALID_PARAMS, "lun.create", name="n", store=f"file:{new}", size="1MiB", number=3)
    c.refused(NO_OBJECT, "lun.create", name="n", store=f"file:{new}", size="1MiB", group="bb")
    for number in (-1, 16384):
        c.refused(INVALID_PARAMS, "lun.create", name="n", store="ram:", size="1MiB", group="b",
                  number=number)
        c.refused(INVALID_PARAMS, "group.map", group="b", lun="b", number=number)
    c.refused(INVALID_PARAMS, "lun.set", name="b", key="include", value="/etc/passwd")
    e = c.refused(NO_OBJECT, "group.map", group="b", lun="bb")
    e = c.refused(NO_OBJECT, "target.set", name=TARGET + "x", key="alias", value="x")
    check(f"did you mean '{TARGET}'" in e.message, e.message)
    c.refused(FAILED, "lun.create", name="../n", store=f"file:{new}", size="1MiB")
    c.refused(FAILED, "lun.create", name="n", store=f"file:{d.folder('no/n.img')}", size="1MiB")
    # Another way to write the path of a store that is in use.
    os.symlink(d.folder("a.img"), d.folder("link"))
    e = c.refused(FAILED, "lun.create", name="n", store=f"file:{d.folder('link')}")
    check("another" in e.message, e.message)
    # An identity that is in use; the file that was made for it goes again.
    naa = "6001405a1b2c3d4e5f60718293a4b5c6"
    c.done("lun.set", name="b", key="naa", value=naa)
    before = files(d)
    e = c.refused(CONFIG_ERRORS, "lun.create", name="n", store=f"file:{new}", size="1MiB",
                  options={"naa": naa})
    check("naa" in e.message, e.message)
    serial = bytes.fromhex(c.luns()["a"]["uuid"].replace("-", "")[:16]).hex()
    e = c.refused(FAILED, "lun.create", name="n", store=f"file:{new}", size="1MiB",
                  options={"serial": serial})
    check("uuid, naa or serial of another" in e.message, e.message)
    same(files(d), before, "files after the refusals")
    check(not os.path.exists(new), "the file of a LUN that was refused is gone")
    same(sorted(c.luns()), ["a", "b"], "LUNs after the refusals")
    stop(d, c)


# ---- targets, portals, groups, users --------------------------------------------------------------------


def case_target_and_portal():
    d, c = start()
    work = Work(d)
    name = "iqn.2026-11.example.terrace:second"
    c.done("portal.create", name="p2", listen=["127.0.0.1:0"])
    port = next(p for p in c.call("portal.list") if p["name"] == "p2")
    port = int(port["addresses"][0].rsplit(":", 1)[1])
    c.refused(NO_OBJECT, "target.delete", name=name)
    c.done("target.create", name=name.upper(), portals=["p2"], alias="the second")
    c.refused(EXISTS, "target.create", name=name, portals=["p2"])
    c.done("group.create", name="h", target=name, initiators=["iqn.b*"])
    c.done("lun.create", name="b", store="ram:", size="16MiB", group="h")
    e = c.refused(FAILED, "lun.create", name="n", store="ram:", size="1MiB", to="iqn.n*")
    check("--target" in e.message and "2 targets" in e.message, e.message)
    with Session(port, name, name=B) as b:
        b.ready()
        e = c.refused(NEEDS_YES, "target.delete", name=name)
        check(B in e.message, e.message)
        c.refused(FAILED, "portal.delete", name="p2")
        c.done("target.delete", name=name, yes=True)
        wait_until(lambda: ended(b), "the session ends")
    c.done("portal.delete", name="p2")
    check(not listens(port), "the portal listens no more")
    same(sorted(files(d)), ["lun-b.conf"], "what is left of it")
    work.more()
    work.end()
    stop(d, c)


def ended(session):
    try:
        return session.execute(bytes(6)).status is None
    except (Closed, OSError):
        return True


def listens(port):
    wanted = f":{port:04X}"
    with open("/proc/net/tcp", encoding="ascii") as f:
        return any(line.split()[1].endswith(wanted) and line.split()[3] == "0A"
                   for line in f.readlines()[1:])


def case_open_target():
    d, c = start()
    name = "iqn.2026-11.example.terrace:open"
    c.done("target.create", name=name, portals=["san"], open=True)
    c.done("lun.create", name="b", store="ram:", size="16MiB")
    c.done("group.map", group=name, lun="b", number=5)
    with Session(d.port, name, name="iqn.x:y") as s:
        s.ready(5)
        same(s.report_luns(), [5], "LUNs of an open target")
        c.refused(NEEDS_YES, "group.unmap", group=name, lun="b")
        c.done("group.unmap", group=name, lun="b", yes=True)
        same(attentions(s, 5), [NO_SUCH_LUN], "the LUN that was taken away")
    stop(d, c)


def case_users():
    d, c = start()
    secret = "not-for-everybody"
    c.done("lun.create", name="b", store="ram:", size="16MiB", to="iqn.b*")
    c.done("chap.create", name="mia", target=TARGET, secret=secret)
    with Session(d.port, TARGET, name=B) as b:
        b.ready()
        e = c.refused(NEEDS_YES, "group.set", name="b", key="user", value="mia")
        check(B in e.message, e.message)
        c.done("group.set", name="b", key="user", value="mia", yes=True)
        wait_until(lambda: ended(b), "a session without password ends")
    try:
        Session(d.port, TARGET, name=B).close()
        raise Failed("a login without password is admitted")
    except Refused:
        pass
    with Session(d.port, TARGET, name=B, chap=("mia", secret)) as b:
        b.ready()
    c.refused(CONFIG_ERRORS, "chap.delete", name="mia")
    c.done("chap.set", name="mia", key="secret", value="another-long-secret", yes=True)
    with Session(d.port, TARGET, name=B, chap=("mia", "another-long-secret")) as b:
        b.ready()
    stop(d, c)
    told = d.log() + str(os.listdir(d.state))
    for name in ("history.log", "events.log"):
        path = os.path.join(d.state, name)
        if os.path.exists(path):
            with open(path, encoding="utf-8") as f:
                told += f.read()
    check(secret not in told and "another-long-secret" not in told, "a secret was told")
    same(os.stat(d.folder("conf.d/chap-mia.conf")).st_mode & 0o777, 0o600, "mode of its file")


# ---- reload ------------------------------------------------------------------------------------------------


def rewrite(d, text):
    text = text.replace("{port}", str(d.port)).replace("{dir}", d.folder.path)
    d.folder.write("terrace.conf", text)


TEN = """
portal san {{ listen 127.0.0.1:{{port}} }}
portal more {{ listen 127.0.0.1:0 }}
lun a {{ store file:{{dir}}/a.img ; size 64MiB }}
lun grows {{ store file:{{dir}}/grows.img ; size {grown} }}
{luns}
initiators {{ allow 127.0.0.0/8 }}
limits {{ depth_max 64 }}
target {target} {{
	portals san more
	alias changed
	chap mia {{ secret not-for-everybody }}
	group first {{ initiators iqn.c* ; lun 0 l0 ; lun 1 l1 read_only }}
	group g {{ initiators iqn.a* ; lun 0 a ; lun 3 l2 }}
}}
"""


def case_reload_with_ten_differences():
    start_text = CONFIG.replace("target ", "lun grows { store file:{dir}/grows.img ; size 16MiB }\n"
                                "lun goes { store ram: ; size 1MiB }\ntarget ", 1)
    d, c = start(start_text)
    luns = "\n".join(f"lun l{i} {{ store ram: ; size 16MiB }}" for i in range(3))
    text = TEN.format(grown="32MiB", luns=luns, target=TARGET)
    work = Work(d)
    work.expected = (LUNS_CHANGED,)
    same(c.call("config.diff")["changes"], [], "the difference before")
    rewrite(d, text)
    would = c.call("reload", dry_run=True)
    same(would, c.call("config.diff"), "two ways to ask for the difference")
    check(not would["applied"], "a dry run says so")
    kinds = sorted((k["kind"], k["what"], k["name"]) for k in would["changes"])
    check(len(kinds) >= 9, f"differences: {kinds}")
    for expected in (("lun", "add", "l0"), ("lun", "change", "grows"), ("lun", "remove", "goes"),
                     ("portal", "add", "more"), ("group", "add", "first"), ("group", "change", "g"),
                     ("chap", "add", "mia"), ("target", "change", TARGET),
                     ("settings", "change", "")):
        check(expected in kinds, f"{expected} isn't in {kinds}")
    same(sorted(c.luns()), ["a", "goes", "grows"], "LUNs after a dry run")
    same(os.path.getsize(d.folder("grows.img")), 16 * MIB, "a size after a dry run")
    done = c.done("reload")
    same(done["changes"], would["changes"], "what was done is what was said")
    same(sorted(c.luns()), ["a", "grows", "l0", "l1", "l2"], "LUNs after the reload")
    same(c.luns()["grows"]["size_bytes"], 32 * MIB, "a size after the reload")
    with Session(d.port, TARGET, name="iqn.c:x") as s:
        s.ready(0)
        s.ready(1)
        same(s.report_luns(), [0, 1], "LUNs of a new group")
        same(sense(s.write10(0, bytes(512), 1)), WRITE_PROTECTED, "a LUN that is read-only for it")
    work.more()
    work.end()
    same(c.call("reload")["applied"], False, "a second reload")
    # Back again: everything that came goes.
    rewrite(d, start_text.replace("16MiB", "32MiB", 1))
    c.done("reload")
    same(sorted(c.luns()), ["a", "goes", "grows"], "LUNs as before")
    stop(d, c)


def case_reload_that_fails_late():
    """Stores are open and units made when a port turns out to be taken: all of it is taken back."""
    d, c = start()
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        text = CONFIG.replace("target ", f"portal busy {{ listen 127.0.0.1:{s.getsockname()[1]} }}\n"
                              "lun n { store file:{dir}/n.img ; size 1MiB }\n"
                              "lun m { store ram: ; size 1MiB }\ntarget ", 1)
        rewrite(d, text)
        before = 0
        for i in range(4):
            if i == 1:
                time.sleep(1)  # the files of the history are open now
                before = d.fds()
            e = c.refused(FAILED, "reload")
            check("in use by" in e.message, e.message)
            check(not os.path.exists(d.folder("n.img")), "the file that was made is gone")
        wait_until(lambda: d.fds() <= before, "descriptors are closed")
    c.done("reload")
    same(sorted(c.luns()), ["a", "m", "n"], "LUNs when the port is free")
    stop(d, c)


def case_reload_of_mistakes():
    d, c = start()
    rewrite(d, CONFIG + "lun b { sice 1 }\nlun c { store ram: }\nwhat\n")
    e = c.refused(CONFIG_ERRORS, "reload")
    check(len(e.data) >= 3 and all(x["line"] and x["column"] and x["text"] for x in e.data), e.data)
    check(not c.call("config.check")["ok"], "config.check finds them too")
    # A command would apply them along: it doesn't.
    c.refused(CONFIG_ERRORS, "lun.create", name="n", store="ram:", size="1MiB")
    rewrite(d, CONFIG + "lun other { store ram: ; size 1MiB }\n")
    e = c.refused(FAILED, "lun.create", name="n", store="ram:", size="1MiB")
    check("lun other" in e.message and "reload" in e.message, e.message)
    same(sorted(c.luns()), ["a"], "LUNs")
    c.done("reload")
    c.done("lun.create", name="n", store="ram:", size="1MiB")
    # A file of a command that somebody has edited isn't overwritten.
    path = d.folder("conf.d/lun-n.conf")
    with open(path, "a", encoding="utf-8") as f:
        f.write("# mine\n")
    with open(path, encoding="utf-8") as f:
        text = f.read()
    with open(path, "w", encoding="utf-8") as f:
        f.write(text.replace("1MiB", "2MiB"))
    e = c.refused(FAILED, "lun.set", name="n", key="thin", value=False)
    check("lun-n.conf" in e.message and "reload" in e.message, e.message)
    stop(d, c)


def case_reload_by_signal():
    d, c = start()
    rewrite(d, CONFIG + "lun b { store ram: ; size 1MiB }\n")
    d.process.send_signal(1)
    wait_until(lambda: "b" in c.luns(), "SIGHUP loads it")
    with Session(d.port, TARGET, name=A) as a:
        a.ready()
        rewrite(d, CONFIG.replace("lun 0 a", "").replace("lun a ", "lun unseen "))
        d.process.send_signal(1)
        wait_until(lambda: "C103" in c.conditions(), "a condition says that it was refused")
        same(a.write10(0, bytes(512)).status, GOOD, "the session goes on")
    c.done("reload", yes=True)
    wait_until(lambda: "C103" not in c.conditions(), "the condition goes")
    stop(d, c)


def case_dry_run_changes_nothing():
    d, c = start()
    with open(os.path.join(d.state, "catalog.mdb"), "rb") as f:
        catalog = f.read()
    new = d.folder("n.img")
    portals = c.call("portal.list")
    for method, params in (
            ("lun.create", {"name": "n", "store": f"file:{new}", "size": "1MiB", "to": "iqn.n*"}),
            ("lun.resize", {"name": "a"}),
            ("portal.create", {"name": "p", "listen": ["127.0.0.1:0"]}),
            ("target.create", {"name": "iqn.2026-11.example:x", "portals": ["san"]}),
            ("group.create", {"name": "n", "target": TARGET, "initiators": ["iqn.n*"]}),
            ("chap.create", {"name": "n", "target": TARGET, "secret": "twelve-bytes-or-more"})):
        answer = c.call(method, dry_run=True, **params)
        check(not answer["applied"], f"{method} says that it did nothing")
        check(method == "lun.resize" or answer["changes"], f"{method} says what it would do")
        check("twelve-bytes" not in str(answer), "a secret was told")
    same(files(d), {}, "files of conf.d")
    check(not os.path.exists(new), "a file was made")
    same(c.call("portal.list"), portals, "portals")
    same(sorted(c.luns()), ["a"], "LUNs")
    with open(os.path.join(d.state, "catalog.mdb"), "rb") as f:
        same(f.read() == catalog, True, "the catalogue is as it was")
    stop(d, c)


# ---- two at once -------------------------------------------------------------------------------------------


def case_two_at_once():
    """Of two changes at the same moment one is done, the other one says whose the first is."""
    d, c = start()
    other = Changes(d)
    won = lost = 0
    for i in range(12):
        c.send("lun.create", name=f"x{i}", store=f"file:{d.folder(f'x{i}')}", size="1MiB")
        other.send("lun.create", name=f"y{i}", store=f"file:{d.folder(f'y{i}')}", size="1MiB")
        outcome = []
        for connection in (c, other):
            try:
                outcome.append(connection.receive()["applied"])
            except Error as e:
                same(e.code, BUSY, "why it lost")
                check("lun create" in e.message and "root" in e.message or os.geteuid() != 0,
                      e.message)
                outcome.append(False)
        check(any(outcome), "one of them is done")
        won += outcome.count(True)
        lost += outcome.count(False)
        made = c.luns()
        for name, done in zip((f"x{i}", f"y{i}"), outcome):
            same(name in made, done, f"{name} is there")
            same(os.path.exists(d.folder(name)), done, f"the file of {name} is there")
    check(lost > 0, "two changes never met")
    check(won >= 12, "one of two was done each time")
    other.close()
    stop(d, c)


# ---- without a file; for a while -----------------------------------------------------------------------------


def case_runtime():
    d, c = start()
    c.done("lun.create", name="b", store="ram:", size="16MiB", to="iqn.b*", runtime=True)
    same(files(d), {}, "files of conf.d")
    check(c.luns()["b"].get("runtime"), f"marked as such: {c.luns()['b']}")
    check("C105" in c.conditions(), "a condition tells")
    same(c.call("reload")["applied"], False, "a reload keeps it")
    with Session(d.port, TARGET, name=B) as b:
        b.ready()
    # Changed for good: it isn't for a while any more.
    c.done("lun.set", name="b", key="thin", value=False, yes=True)
    check("lun-b.conf" in files(d), f"its file: {files(d)}")
    stop(d, c)
    d.start()
    c = Changes(d)
    same(sorted(c.luns()), ["a", "b"], "LUNs after a restart")
    stop(d, c)


def case_command_line():
    d = Daemon("--lun", "ram:16MiB", "--loops", "1", "--quiet").start()
    c = Changes(d)
    e = c.refused(FAILED, "lun.create", name="b", store="ram:", size="1MiB")
    check("--runtime" in e.message and "--config" in e.message, e.message)
    e = c.refused(FAILED, "reload")
    check("without a configuration file" in e.message, e.message)
    c.done("lun.create", name="b", store="ram:", size="1MiB", to="iqn.b*", runtime=True)
    with Session(d.port, TARGET, name=B) as b:
        b.ready()
        c.refused(NEEDS_YES, "lun.delete", name="b", runtime=True)
        c.done("lun.delete", name="b", runtime=True, yes=True)
    e = c.refused(FAILED, "lun.delete", name="lun0", runtime=True)
    check("command line" in e.message, e.message)
    stop(d, c)


# ---- stores that can't be opened, ports that are taken ---------------------------------------------------


def case_store_that_comes_later():
    text = CONFIG.replace("target ", "lun late { store file:{dir}/late.img }\ntarget ", 1).replace(
        "lun 0 a", "lun 0 a ; lun 4 late")
    d, c = start(text)
    lun = c.luns()["late"]
    check(lun["state"] != "ok" and "late.img" in lun["why"], lun)
    with Session(d.port, TARGET, name=A) as a:
        a.ready()
        same(a.report_luns(), [0], "LUNs without the late one")
        with open(d.folder("late.img"), "wb") as f:
            f.truncate(MIB)
        wait_until(lambda: c.luns()["late"]["state"] == "ok", "it is served", 20)
        check(LUNS_CHANGED in attentions(a), "the session is told")
        same(a.report_luns(), [0, 4], "LUNs with the late one")
    stop(d, c)


def case_ports_in_use():
    d, c = start()
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        port = s.getsockname()[1]
        e = c.refused(FAILED, "portal.create", name="p", listen=[f"127.0.0.1:{port}"])
        check(f"port {port} is in use by" in e.message and str(os.getpid()) in e.message, e.message)
    e = c.refused(CONFIG_ERRORS, "portal.create", name="p", listen=[f"127.0.0.1:{d.port}"])
    check("is there already" in e.message, e.message)
    e = c.refused(FAILED, "portal.create", name="p", listen=[f"0.0.0.0:{d.port}"])
    check("in use by terraced" in e.message and str(d.process.pid) in e.message, e.message)
    e = c.refused(FAILED, "portal.create", name="p", listen=["192.0.2.77:3260"])
    check("ip address" in e.message, e.message)
    same(files(d), {}, "files after the refusals")
    stop(d, c)


def case_stores_of_others():
    requires("losetup")
    d, c = start()
    other = Daemon("--loops", "1", "--quiet", "--unsafe-fs", "--lun", f"{d.folder('o.img')}:1MiB").start()
    e = c.refused(FAILED, "lun.create", name="n", store=f"file:{d.folder('o.img')}")
    check("terraced" in e.message and str(other.process.pid) in e.message, e.message)
    other.stop()
    with open(d.folder("loop.img"), "wb") as f:
        f.truncate(MIB)
    made = subprocess.run(["losetup", "-f", "--show", d.folder("loop.img")], capture_output=True,
                          text=True, check=False)
    if made.returncode == 0:
        e = c.refused(FAILED, "lun.create", name="n", store=f"file:{d.folder('loop.img')}")
        check("loop" in e.message, e.message)
        subprocess.run(["losetup", "-d", made.stdout.strip()], check=True)
    same(files(d), {}, "files after the refusals")
    stop(d, c)


def case_session_drop():
    d, c = start()
    with Session(d.port, TARGET, name=A) as a:
        a.ready()
        tsih = c.sessions()[A]["tsih"]
        c.refused(NO_OBJECT, "session.drop", tsih=tsih + 1)
        e = c.refused(NEEDS_YES, "session.drop", tsih=tsih)
        check(A in e.message, e.message)
        check(not c.call("session.drop", tsih=tsih, dry_run=True)["applied"], "a dry run")
        c.done("session.drop", tsih=tsih, yes=True)
        wait_until(lambda: ended(a), "it ends")
    check(any("session drop" in h["command"] for h in c.call("history")), "it is in the history")
    stop(d, c)


def case_ports_keep_their_numbers():
    """Tags and relative port identifiers outlive what was before them in the configuration."""
    def rel_id(d, name):
        with Session(d.port, TARGET, name=name) as s:
            s.ready()
            page = s.inquiry(0x83).data
            at = 4
            while at < len(page):
                if page[at + 1] & 0x3F == 0x14:
                    return page[at + 6] << 8 | page[at + 7]
                at += 4 + page[at + 3]
        raise Failed("no relative port identifier in VPD page 83h")

    text = "portal first { listen 127.0.0.1:0 }\n" + CONFIG.replace("portals san", "portals first san")
    d, c = start(text)
    was = rel_id(d, A)
    rewrite(d, CONFIG)
    c.done("reload", yes=True)
    same(rel_id(d, A), was, "the identifier after the first portal has gone")
    stop(d, c)
    d.start()
    same(rel_id(d, A), was, "the identifier after a restart")
    d.stop()


run(lambda: run_each(globals()))
