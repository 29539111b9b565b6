#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
LUNs behind a cache, over iSCSI: what was acknowledged is there after restarts and on the store once it has
gone there; caches and stores that don't fit each other are refused with the cure; commands bring LUNs to a
cache and take them away; what breaks is a condition. Arguments: names of cases.
"""

import os
import signal
import struct
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from control import Control, Error, started, stop  # noqa: E402
from terracectl import TOOL  # noqa: E402
from iscsi import BUSY, CHECK, GOOD, Session  # noqa: E402
from terraced import TARGET, Daemon, Failed, Folder, check, run, run_each, same, wait_until  # noqa: E402

MIB = 1 << 20
ATTRIBUTE = "user.terrace.cache"
CONFIG = """
cache fast { ssd "SSD"; size 64MiB; ram none }
lun a { store "STORE"; size 16MiB; cache fast MORE }
portal p { listen 127.0.0.1:{port} }
target iqn.2026-11.example.terrace:test { portals p; open yes; lun 0 a }
"""
MEDIUM_ERROR = 3


def config(folder, ssd=None, store=None, more=""):
    return (CONFIG.replace("SSD", ssd or folder("ssd")).replace("STORE", store or folder("a.img"))
            .replace("MORE", "; " + more if more else ""))


def start(folder, text=None, wait=True):
    d = Daemon(config=text or config(folder), folder=folder)
    return started(d) if wait else d


def refused(folder, text, *words):
    """The start fails and says this."""
    d = start(folder, text, wait=False)
    before = len(d.log())
    try:
        d.start()
    except Failed:
        said = d.log()[before:]
        for word in words:
            check(word in said, f"'{word}' isn't in: {said}")
        return said
    d.stop()
    raise Failed(f"it started: {words}")


def lun(d):
    return d.control.call("lun.list")[0]


def cache(d):
    return d.control.call("cache.list")[0]


def marker(path):
    try:
        return os.getxattr(path, ATTRIBUTE).decode()
    except OSError:
        return None


def pattern(number):
    return struct.pack("<Q", number) * 512


def write(s, count, first=0):
    """4 KiB blocks that say which they are."""
    for i in range(first, first + count):
        same(s.write10(i * 8, pattern(i + 1)).status, GOOD, f"write {i}")


def read(s, count, first=0):
    for i in range(first, first + count):
        r = s.read10(i * 8, 8)
        same(r.status, GOOD, f"read {i}: {r}")
        check(r.data == pattern(i + 1), f"block {i} has other data")


def clean(d):
    wait_until(lambda: lun(d)["dirty_bytes"] == 0, "all is on the store", 20)


def raised(d, code, seconds=20):
    wait_until(lambda: code in d.control.conditions(), f"{code} holds", seconds)
    c = d.control.conditions()[code]
    check(c["action"] and c["effect"], "it says what to do")
    return c


# ---- the ordinary ------------------------------------------------------------------------------------

def case_written_restarted_read():
    folder = Folder()
    d = start(folder)
    same((lun(d)["mode"], lun(d)["cache"]), ("nv", "fast"), "the LUN")
    check(marker(folder("a.img")).startswith("terrace-cache 1 " + cache(d)["uuid"]), "the mark")
    check(not lun(d)["marker_is_local"], "the mark is with the file")
    with Session(d.port, TARGET) as s:
        s.ready()
        caching = s.execute(b"\x1a\x08\x08\0\xff\0", read=255).data
        same(caching[6] & 4, 0, "WCE")
        write(s, 512)
        read(s, 512)
        check(lun(d)["cache_hits"] > 0, "hits are counted")
    stop(d)
    d = start(folder)
    with Session(d.port, TARGET) as s:
        s.ready()
        read(s, 512)
    clean(d)
    same(cache(d)["state"], "ok", "state of the cache")
    stop(d)
    with open(folder("a.img"), "rb") as f:
        for i in range(512):
            check(f.read(4096) == pattern(i + 1), f"block {i} of the store")


def case_ssd_file_is_written_in_full():
    folder = Folder()
    d = start(folder)
    stop(d)
    st = os.stat(folder("ssd"))
    same(st.st_size, 64 * MIB, "size")
    check(st.st_blocks * 512 >= 64 * MIB, "no holes")
    same(st.st_mode & 0o777, 0o600, "mode of the file")


def case_a_place_that_is_swept_is_named():
    folder = Folder()
    d = start(folder)
    if folder.path.startswith("/tmp/"):
        check(f"{folder('ssd')}: files in that place may be removed" in d.log(), d.log())
    stop(d)


def case_sparse_file_is_filled():
    folder = Folder()
    with open(folder("ssd"), "wb") as f:
        f.truncate(64 * MIB)
    stop(start(folder))
    check(os.stat(folder("ssd")).st_blocks * 512 >= 64 * MIB, "no holes")


def case_lost_state_directory():
    """The cache outranks the catalogue: the LUN has its identity and its data again."""
    folder = Folder()
    d = start(folder)
    uuid = lun(d)["uuid"]
    with Session(d.port, TARGET) as s:
        s.ready()
        write(s, 64)
    d.control.close()
    d.kill()
    subprocess.run(["rm", "-r", d.state], check=True)
    d = start(folder)
    same(lun(d)["uuid"], uuid, "identity")
    with Session(d.port, TARGET) as s:
        s.ready()
        read(s, 64)
    stop(d)


def case_modes_follow():
    folder = Folder()
    d = start(folder)
    with Session(d.port, TARGET) as s:
        s.ready()
        write(s, 64)
        for mode in ("writethrough", "bypass", "nv"):
            folder.write("terrace.conf", config(folder, more=f"mode {mode}").replace(
                "{port}", str(d.port)))
            d.control.call("reload")
            wait_until(lambda m=mode: lun(d)["mode"] == m, f"mode {mode}", 20)
            read(s, 64)
            write(s, 64)
            if mode != "nv":
                same(lun(d)["dirty_bytes"], 0, f"dirty data in mode {mode}")
    stop(d)


def case_volatile_says_so():
    folder = Folder()
    d = start(folder, config(folder, more="mode volatile"))
    with Session(d.port, TARGET) as s:
        s.ready()
        same(s.execute(b"\x1a\x08\x08\0\xff\0", read=255).data[6] & 4, 4, "WCE")
        write(s, 64)
        same(s.execute(b"\x35" + bytes(9)).status, GOOD, "SYNCHRONIZE CACHE")
    stop(d)


def case_weaker_mode_waits():
    """Invariant 16: a weaker meaning of GOOD never reaches a session that was told the stronger one. The change is
    accepted and waits until everybody from before has logged out; who logs in meanwhile is told what holds."""
    folder = Folder()
    d = start(folder)
    first, second = ("iqn.2026-11.example.test:" + x for x in ("first", "second"))

    def wce(s):
        return s.execute(b"\x1a\x08\x08\0\xff\0", read=255).data[6] & 4

    def reload(mode):
        folder.write("terrace.conf", config(folder, more=f"mode {mode}").replace("{port}", str(d.port)))
        return d.control.call("reload")

    with Session(d.port, TARGET, name=first) as s:
        s.ready()
        write(s, 16)
        r = reload("volatile")
        check(r["applied"] and first in r["remarks"][-1], f"who is waited for: {r}")
        same(r["sessions"], [], "nobody loses anything")
        check(first in raised(d, "C208")["sentence"], "status says who it waits for")
        same(lun(d)["mode"], "nv", "the mode")
        same(wce(s), 0, "what the session is told")
        read(s, 16)
        other = Session(d.port, TARGET, name=second)
        other.ready()
        same(wce(other), 0, "what another one is told meanwhile")
    wait_until(lambda: first not in d.control.conditions()["C208"]["sentence"], "it is gone", 30)
    check(second in d.control.conditions()["C208"]["sentence"], "the other one is waited for")
    same(lun(d)["mode"], "nv", "the mode")
    write(other, 16, first=16)
    other.close()
    wait_until(lambda: lun(d)["mode"] == "volatile", "nobody is left", 30)
    wait_until(lambda: "C208" not in d.control.conditions(), "and nothing to be told", 30)
    with Session(d.port, TARGET, name=first) as s:
        s.ready()
        same(wce(s), 4, "who logs in anew is told")
        read(s, 32)
        # Back, which another disk is; and forth without waiting.
        folder.write("terrace.conf", config(folder, more="mode nv").replace("{port}", str(d.port)))
        d.control.call("reload", yes=True)
        s.ready()
        same(wce(s), 0, "stronger again")
        reload("volatile")
        same(lun(d)["mode"], "nv", "waits")
        d.control.call("reload", yes=True)
        same(lun(d)["mode"], "volatile", "forced")
        s.ready()
        same(wce(s), 4, "and told")
        read(s, 32)
    wait_until(lambda: "C208" not in d.control.conditions(), "nothing is waited for", 30)
    # What waits is no matter of this process: a start finds nobody who was told.
    with Session(d.port, TARGET, name=first) as s:
        d.control.call("reload")
        folder.write("terrace.conf", config(folder, more="mode nv").replace("{port}", str(d.port)))
        d.control.call("reload", yes=True)
        reload("volatile")
    d.control.close()
    d.kill()
    started(d)
    same(lun(d)["mode"], "volatile", "after a restart")
    stop(d)


def case_memory_is_new_each_time():
    folder = Folder()
    text = config(folder, store="ram:")
    for _ in range(2):
        d = start(folder, text)
        with Session(d.port, TARGET) as s:
            s.ready()
            same(s.read10(0, 8).data, bytes(4096), "new memory")
            write(s, 64)
            read(s, 64)
        stop(d)


# ---- refusals ----------------------------------------------------------------------------------------

def case_store_without_its_cache():
    folder = Folder()
    stop(start(folder))
    text = config(folder).replace("; cache fast", "")
    # Not served, and the daemon is there for the command that gives it back.
    d = start(folder, text)
    same(raised(d, "C201")["object"], "a", "the object")
    for words in "has its newest data in cache", "add cache NAME", "setfattr -x":
        check(words in lun(d)["why"], lun(d)["why"])
    stop(d)
    d = start(folder)
    same(lun(d)["state"], "ok", "with its cache")
    stop(d)
    subprocess.run(["rm", folder("ssd")], check=True)
    # A new SSD isn't the one that it was.
    refused(folder, config(folder), "on another cache than 'fast'", "setfattr -x")
    os.removexattr(folder("a.img"), ATTRIBUTE)
    stop(start(folder))


def case_old_copy_of_an_ssd():
    folder = Folder()
    stop(start(folder))
    subprocess.run(["cp", "--sparse=never", folder("ssd"), folder("copy")], check=True)
    stop(start(folder))
    stop(start(folder))
    os.rename(folder("copy"), folder("ssd"))
    refused(folder, config(folder), "don't fit each other")


def case_store_under_another_name():
    folder = Folder()
    d = start(folder)
    with Session(d.port, TARGET) as s:
        s.ready()
        write(s, 64)
    d.control.close()
    d.kill()
    os.rename(folder("a.img"), folder("b.img"))
    refused(folder, config(folder, store=folder("b.img")), "under another name")
    os.rename(folder("b.img"), folder("a.img"))
    d = start(folder)
    with Session(d.port, TARGET) as s:
        s.ready()
        read(s, 64)
    stop(d)


def case_what_is_no_ssd():
    folder = Folder()
    with open(folder("other"), "wb") as f:
        f.write(os.urandom(64 * MIB))
    before = os.stat(folder("other")).st_mtime_ns
    refused(folder, config(folder, ssd=folder("other")), "holds something that is no cache")
    same(os.stat(folder("other")).st_mtime_ns, before, "nothing was written")
    refused(folder, config(folder, ssd=folder("nowhere")).replace("; size 64MiB", ""),
            "give a size")
    refused(folder, config(folder, ssd=folder("no/such/folder")), "its folder can't be opened")
    refused(folder, config(folder, ssd=folder("small")).replace("64MiB", "1MiB"), "too small")
    check(not os.path.exists(folder("small")), "what a failed start made is gone")
    check(not os.path.exists(folder("a.img")), "and so is the store")
    refused(folder, config(folder, ssd="/dev/shm/terrace-test-ssd"), "in memory")
    check(not os.path.exists("/dev/shm/terrace-test-ssd"), "nothing was made there")


def case_ssd_with_holes():
    folder = Folder()
    stop(start(folder))
    subprocess.run(["cp", "--sparse=always", folder("ssd"), folder("holes")], check=True)
    os.rename(folder("holes"), folder("ssd"))
    refused(folder, config(folder), "has holes", "cp --sparse=never")


def case_truncated_ssd():
    folder = Folder()
    stop(start(folder))
    os.truncate(folder("ssd"), 32 * MIB)
    refused(folder, config(folder).replace("; size 64MiB", ""), "cache fast")


def case_two_daemons_one_ssd():
    folder = Folder()
    d = start(folder)
    other = Folder()
    refused(other, config(other, ssd=folder("ssd")), "in use by process")
    stop(d)


# ---- commands ----------------------------------------------------------------------------------------

def case_commands():
    folder = Folder()
    d = start(folder)
    d.control.call("lun.create", name="b", store=folder("b.img"), size="16MiB",
                   options={"cache": "fast"}, to="iqn.b:*")
    same([x["mode"] for x in d.control.call("lun.list")], ["nv", "nv"], "modes")
    with Session(d.port, TARGET, name="iqn.b:one") as s:
        s.ready()
        write(s, 64)
        # Taken away under its user: the data goes to the store first.
        d.control.call("lun.set", name="b", key="cache", value=None, yes=True)
        s.ready()
        read(s, 64)
        check(marker(folder("b.img")) is None, "the mark is gone")
        d.control.call("lun.set", name="b", key="cache", value="fast", yes=True)
        s.ready()
        read(s, 64)
        write(s, 64)
    check(marker(folder("b.img")) is not None, "the mark is back")
    d.control.call("lun.delete", name="b", yes=True)
    check(marker(folder("b.img")) is None, "the mark is gone")
    with open(folder("b.img"), "rb") as f:
        for i in range(64):
            check(f.read(4096) == pattern(i + 1), f"block {i} of the store")
    for value, word in (("fats", "did you mean 'fast'"), ("nv", "there is no cache")):
        try:
            d.control.call("lun.set", name="a", key="cache", value=value)
        except Error as e:
            check(word in e.message or "terrace.conf" in e.message, e.message)
    stop(d)


def case_cache_comes_and_goes():
    """While initiators work; what it had is on the stores when it has gone."""
    folder = Folder()
    d = start(folder)
    call = d.control.call
    with Session(d.port, TARGET) as s:
        s.ready()
        write(s, 64)
        answer = call("cache.add", name="other", ssd=folder("other"), size="32MiB", dry_run=True)
        same(answer["applied"], False, "a dry run")
        check(not os.path.exists(folder("other")), "made nothing")
        try:
            call("cache.add", name="other", ssd=folder("other"), size="1MiB")
            raise Failed("a cache of 1 MiB")
        except Error as e:
            check("too small" in e.message, e.message)
        check(not os.path.exists(folder("other")), "what failed left nothing")
        same([c["name"] for c in call("cache.list")], ["fast"], "caches")
        answer = call("cache.add", name="other", ssd=folder("other"), size="32MiB")
        same(answer["restart"], [], "no restart is needed")
        same([(c["name"], c["state"]) for c in call("cache.list")],
             [("fast", "ok"), ("other", "ok")], "caches")
        check("C104" not in d.control.conditions(), "nor asked for")
        call("lun.create", name="b", store=folder("b.img"), size="16MiB", to="iqn.b:*")
        with Session(d.port, TARGET, name="iqn.b:one") as b:
            b.ready()
            write(b, 64)
            call("cache.add", name="other", luns=["b"], yes=True)
            b.ready()
            read(b, 64)
            write(b, 128)
            same(marker(folder("b.img")).split()[2], call("cache.list")[1]["uuid"], "the mark")
            # One that doesn't come up undoes all of the change, also of its LUNs.
            with open(folder("junk"), "wb") as f:
                f.write(os.urandom(32 * MIB))
            try:
                call("cache.add", name="third", ssd=folder("junk"), luns=["b"], yes=True)
                raise Failed("a cache on what is no SSD")
            except Error as e:
                check("no cache" in e.message, e.message)
            b.ready()
            read(b, 128)
            for name, word in (("nowhere", "there is no cache"), ("fast", "terrace.conf")):
                try:
                    call("cache.remove", name=name, yes=True)
                    raise Failed("it was removed")
                except Error as e:
                    check(word in e.message, e.message)
            call("cache.remove", name="other", yes=True)
            b.ready()
            read(b, 128)
        same([c["name"] for c in call("cache.list")], ["fast"], "caches")
        check(marker(folder("b.img")) is None, "the mark is gone")
        with open(folder("b.img"), "rb") as f:
            for i in range(128):
                check(f.read(4096) == pattern(i + 1), f"block {i} of the store")
        read(s, 64)
        call("cache.add", name="memory", ram="32MiB", luns=["b"], yes=True)
        same(call("cache.list")[1]["ram_bytes"], 32 * MIB, "a cache in memory alone")
        call("cache.remove", name="memory", luns=["b"], yes=True)
        call("cache.remove", name="memory", yes=True)
    stop(d)
    d = start(folder)
    same([c["name"] for c in cache_list(d)], ["fast"], "caches after a restart")
    stop(d)


def case_killed_while_a_lun_leaves():
    """Its store takes nothing yet; then the power goes. It isn't served without its cache, and a command brings it back."""
    folder = Folder()
    os.mkdir(folder("conf.d"))
    line = "lun a { store STORE; size 16MiB; cache fast }\n"
    main = "".join(x for x in config(folder).splitlines(True) if not x.startswith("lun a "))
    folder.write("conf.d/lun-a.conf", line.replace("STORE", f"fault:1:write_error=1:file:{folder('a.img')}"))
    d = start(folder, main)
    with Session(d.port, TARGET) as s:
        s.ready()
        write(s, 64)
    d.control.send("cache.remove", name="fast", luns=["a"], yes=True)
    with Control(d) as c:
        wait_until(lambda: c.call("lun.list")[0]["cache"] != "fast" or
                   "cache fast" not in open(folder("conf.d/lun-a.conf"), encoding="utf-8").read(),
                   "it is leaving its cache", 30)
    d.control.close()
    d.kill()
    said = open(folder("conf.d/lun-a.conf"), encoding="utf-8").read()
    folder.write("conf.d/lun-a.conf", said.replace("write_error=1", ""))
    d = start(folder, main)
    check("has its newest data in cache" in lun(d)["why"], lun(d)["why"])
    check(d.control.call("cache.add", name="fast", luns=["a"], yes=True)["applied"], "the command")
    wait_until(lambda: lun(d)["state"] == "ok", "it is back", 30)
    with Session(d.port, TARGET) as s:
        s.ready()
        read(s, 64)
    stop(d)


def case_cache_by_reload():
    folder = Folder()
    d = start(folder)
    more = config(folder) + f"cache other {{ ssd {folder('other')}; size 64MiB }}\n"
    folder.write("terrace.conf", more.replace("{port}", str(d.port)))
    same(d.control.call("reload")["restart"], [], "restart")
    d.control.call("lun.create", name="b", store=folder("b.img"), size="16MiB",
                   options={"cache": "other"})
    d.control.call("lun.delete", name="b", yes=True)
    folder.write("terrace.conf", config(folder).replace("{port}", str(d.port)))
    d.control.call("reload")
    same([c["name"] for c in cache_list(d)], ["fast"], "caches")
    # Another SSD under the same name is a matter of a restart.
    folder.write("terrace.conf", config(folder, ssd=folder("x")).replace("{port}", str(d.port)))
    check(any("fast" in text for text in d.control.call("reload")["restart"]), "restart")
    raised(d, "C104")
    stop(d)


def cache_list(d):
    return d.control.call("cache.list")


# ---- what breaks -------------------------------------------------------------------------------------

def broken_store(folder, ssd=None):
    """Takes reads, no writes: what is acknowledged stays on the SSD."""
    return config(folder, ssd=ssd, store=f"fault:1:write_error=1:file:{folder('a.img')}")


def case_ssd_is_not_there():
    folder = Folder()
    text = config(folder).replace("target", f"lun plain {{ store {folder('b.img')}; size 1MiB }}\n"
                                  "target").replace("lun 0 a", "lun 0 a; lun 1 plain")
    stop(start(folder, text))
    os.rename(folder("ssd"), folder("away"))
    d = start(folder, text.replace("; size 64MiB", ""))
    c = raised(d, "C601")
    same(c["object"], "fast", "the object")
    same(cache(d)["state"], "absent", "state of the cache")
    same([x["state"] for x in d.control.call("lun.list")], ["store not open", "ok"], "LUNs")
    check("isn't served without its cache 'fast'" in lun(d)["why"], lun(d)["why"])
    # It comes back by itself.
    os.rename(folder("away"), folder("ssd"))
    wait_until(lambda: cache(d)["state"] == "ok", "the cache is back", 20)
    wait_until(lambda: [x["state"] for x in d.control.call("lun.list")] == ["ok", "ok"],
               "and so is its LUN", 20)
    wait_until(lambda: "C601" not in d.control.conditions(), "nothing needs a person", 20)
    stop(d)


def case_ssd_write_fails():
    folder = Folder()
    stop(start(folder))
    d = start(folder, config(folder, ssd="fault:1:write_error=1,range=4MiB-5MiB:file:"
                             + folder("ssd")))
    with Session(d.port, TARGET) as s:
        s.ready()
        for _ in range(4):
            write(s, 2048)
        same(raised(d, "C602")["object"], "fast", "the object")
        read(s, 2048)
    d.control.close()
    d.kill()
    d = start(folder)
    with Session(d.port, TARGET) as s:
        s.ready()
        read(s, 2048)
    stop(d)


def case_ssd_is_void():
    folder = Folder()
    stop(start(folder))
    text = config(folder, ssd="fault:1:write_error=1,range=8KiB-256KiB:file:" + folder("ssd"))
    text = text.replace("target", f"lun plain {{ store {folder('b.img')}; size 1MiB }}\ntarget")
    d = start(folder, text.replace("lun 0 a", "lun 0 a; lun 1 plain"))
    raised(d, "C603")
    same(cache(d)["state"], "void", "state of the cache")
    stop(d)


def two_luns(folder, ssd=None):
    """LUN 0 keeps what is written on the SSD, LUN 1 has a store that takes it."""
    return broken_store(folder, ssd).replace(
        "target", f"lun c {{ store {folder('c.img')}; size 16MiB; cache fast }}\ntarget").replace(
            "lun 0 a", "lun 0 a; lun 1 c")


def dirty(d, name):
    return next(x["dirty_bytes"] for x in d.control.call("lun.list") if x["name"] == name)


def gone(d, words):
    wait_until(lambda: words in d.control.conditions().get("C609", {"sentence": ""})["sentence"], words, 60)
    c = d.control.conditions()["C609"]
    check(c["action"] and c["effect"], "it says what to do")
    same(cache(d)["state"], "void", "state of the cache")


def case_ssd_goes_and_comes():
    """Invariant 4, DESIGN 4.3: what the stores have is served, what only the SSD has fails and stays; when it
    is back, all of that is there. Another one under its name isn't touched."""
    folder = Folder()
    d = start(folder, two_luns(folder))
    with Session(d.port, TARGET) as s:
        s.ready()
        same(s.execute(bytes(6), 1).status, CHECK, "unit attention")
        write(s, 64)
        for i in range(64):
            same(s.write10(i * 8, pattern(i + 1), lun=1).status, GOOD, f"write {i}")
        wait_until(lambda: dirty(d, "c") == 0, "LUN c is clean", 60)
        subprocess.run(["cp", "--sparse=never", folder("ssd"), folder("old")], check=True)
        write(s, 32, first=64)
        os.rename(folder("ssd"), folder("away"))
        gone(d, "doesn't answer")
        for i in range(64):
            same(s.read10(i * 8, 8, lun=1).data, pattern(i + 1), f"block {i} of the store")
        same(s.read10(0, 8).status, CHECK, "what only the SSD has")
        same(s.write10(0, pattern(7)).status, CHECK, "a write")
        same(s.write10(0, pattern(7), lun=1).status, CHECK, "a write to the other one")
        same(dirty(d, "a"), 96 * 4096, "what waits")
        # An old copy: each block of it would be believed to be decay of the newest one.
        before = os.stat(folder("old"))
        os.rename(folder("old"), folder("ssd"))
        gone(d, "another one, or an old copy")
        same(s.read10(0, 8).status, CHECK, "nothing of it is believed")
        same(s.write10(0, pattern(7)).status, CHECK, "a write")
        after = os.stat(folder("ssd"))
        same((after.st_mtime_ns, after.st_ino), (before.st_mtime_ns, before.st_ino), "it isn't written to")
        os.rename(folder("away"), folder("ssd"))
        wait_until(lambda: "C609" not in d.control.conditions(), "it is back", 60)
        wait_until(lambda: s.write10(0, pattern(1)).status == GOOD, "writes go on", 60)
        read(s, 96)
        write(s, 16, first=96)
        same(cache(d)["bad_blocks"], 0, "damaged blocks")
    d.control.close()
    d.kill()
    d = start(folder, two_luns(folder))
    with Session(d.port, TARGET) as s:
        s.ready()
        read(s, 112)
    stop(d)


def case_ssd_goes_for_good():
    """While nobody asks: it is told all the same. A LUN that has nothing on it goes on without its cache."""
    folder = Folder()
    d = start(folder, two_luns(folder))
    with Session(d.port, TARGET) as s:
        s.ready()
        write(s, 16)
        os.unlink(folder("ssd"))
        gone(d, "doesn't answer")
        same(s.execute(bytes(6), 1).status, CHECK, "unit attention")
        same(s.read10(4096, 8, lun=1).status, GOOD, "what the store has")
    stop_dirty(d)
    # Without it the LUN isn't served, and says how it is given up.
    d = start(folder, two_luns(folder).replace("; size 64MiB; ram none", "; ram none") +
              f"lun e {{ store {folder('e.img')}; size 1MiB }}\n")
    raised(d, "C601")
    check("isn't served without its cache" in lun(d)["why"], lun(d)["why"])
    d.control.close()
    d.kill()


def case_store_goes_and_comes():
    """DESIGN 4.3: a store that is gone under a cache with dirty data. Nothing is lost: writes are acknowledged, what
    the SSD has is served, and all of it goes to the store when that is back."""
    folder = Folder()
    d = start(folder)
    with Session(d.port, TARGET) as s:
        s.ready()
        write(s, 16)
        clean(d)
        os.rename(folder("a.img"), folder("away.img"))
        wait_until(lambda: "C204" in d.control.conditions(), "the store is gone", 60)
        c = d.control.conditions()["C204"]
        check(c["object"] == "a" and c["action"], "which, and what to do")
        write(s, 64)
        read(s, 64)
        same(s.read10(16384, 8).status, CHECK, "what only the store has")
        raised(d, "C606", 60)
        check(lun(d)["dirty_bytes"] > 0, "it waits")
        os.rename(folder("away.img"), folder("a.img"))
        wait_until(lambda: "C204" not in d.control.conditions(), "the store is back", 60)
        wait_until(lambda: lun(d)["dirty_bytes"] == 0, "all is on the store", 60)
        wait_until(lambda: "C606" not in d.control.conditions(), "it takes its data", 60)
        read(s, 64)
        same(s.read10(16384, 8).status, GOOD, "what only the store has")
    with open(folder("a.img"), "rb") as f:
        for i in range(64):
            check(f.read(4096) == pattern(i + 1), f"block {i} of the store")
    stop(d)


def case_ended_while_the_ssd_is_made():
    """SIGTERM while a new SSD is filled with zeros: the start ends, and leaves no file that looks whole."""
    folder = Folder()
    d = start(folder, config(folder).replace("64MiB", "8GiB"), wait=False)
    d.launch()
    try:
        wait_until(lambda: os.path.exists(folder("ssd")) or not d.alive(), "it is being made", 60)
        os.kill(d.process.pid, signal.SIGTERM)
        d.process.wait(60)
    finally:
        if d.alive():
            d.kill()
    said = d.log()
    if "No space left" in said:
        print("no room for a file of 8 GiB here")
        return
    check("ended by a signal while" in said, said)
    check(not os.path.exists(folder("ssd")), "the file is gone")
    check(marker(folder("a.img")) is None, "no LUN was promised anything")


def case_killed_while_a_cache_is_added():
    """cache.add killed at any instant: what is left at the SSD's place is taken by the next one, or is named."""
    folder = Folder()
    d = start(folder)
    for delay in (0, 0.02, 0.1, 0.3):
        d.control.send("cache.add", name="other", ssd=folder("other"), size="96MiB")
        wait_until(lambda: os.path.exists(folder("other")) or delay == 0, "it is being made", 60)
        time.sleep(delay)
        d.control.close()
        d.kill()
        left = os.path.exists(folder("other"))
        d = start(folder)
        if "other" in [c["name"] for c in cache_list(d)]: # killed behind the commit
            same(next(c["state"] for c in cache_list(d) if c["name"] == "other"), "ok", "the cache")
        else:
            answer = d.control.call("cache.add", name="other", ssd=folder("other"), size="96MiB")
            check(answer["applied"], f"after {delay} s, file left: {left}")
        same(next(c["state"] for c in cache_list(d) if c["name"] == "other"), "ok", "the cache")
        d.control.call("cache.remove", name="other", yes=True)
        check(os.path.exists(folder("other")), "its file is the administrator's")
        os.unlink(folder("other"))
    stop(d)


def stop_dirty(d):
    """What can't be written any more doesn't hold up the end."""
    stop(d)


def payload(folder, number):
    """Where a block is on the SSD."""
    with open(folder("ssd"), "rb") as f:
        data = f.read()
    at = data.find(pattern(number))
    check(at >= 0, f"block {number} isn't on the SSD")
    return at, data


def spoil(folder, number):
    at, _ = payload(folder, number)
    with open(folder("ssd"), "r+b") as f:
        f.seek(at)
        f.write(b"\xff" * 4096)


def case_clean_block_is_damaged():
    folder = Folder()
    d = start(folder)
    with Session(d.port, TARGET) as s:
        s.ready()
        write(s, 64)
    clean(d)
    stop(d)
    spoil(folder, 10)
    d = start(folder)
    with Session(d.port, TARGET) as s:
        s.ready()
        read(s, 64)
        raised(d, "C604")
    stop(d)


def case_dirty_block_is_damaged():
    folder = Folder()
    text = broken_store(folder)
    d = start(folder, text)
    with Session(d.port, TARGET) as s:
        s.ready()
        write(s, 64)
    stop(d)
    spoil(folder, 10)
    d = start(folder, text)
    with Session(d.port, TARGET) as s:
        s.ready()
        r = s.read10(9 * 8, 8)
        same((r.status, r.sense[2] & 15), (CHECK, MEDIUM_ERROR), "the read of what is lost")
        raised(d, "C605")
        read(s, 9)
        read(s, 54, first=10)
        same(s.write10(9 * 8, pattern(10)).status, GOOD, "written again")
        read(s, 64)
    stop(d)


def case_store_takes_nothing():
    folder = Folder()
    d = start(folder, broken_store(folder))
    with Session(d.port, TARGET) as s:
        s.ready()
        write(s, 64)
        raised(d, "C606")
        read(s, 64)
    stop(d)


def case_full():
    folder = Folder()
    text = broken_store(folder).replace("size 64MiB", "size 12MiB")
    d = start(folder, text)
    with Session(d.port, TARGET, timeout=30) as s:
        s.ready()
        status, done = GOOD, 0
        while status == GOOD and done < 4096:
            r = s.write10(done * 8, pattern(done + 1))
            status, done = r.status, done + 1
        same(status, BUSY, f"the answer when there is no room, after {done} writes")
        itt = s.command(struct.pack(">BBIBHB", 0x2A, 0, done * 8, 0, 8, 0), write=pattern(1))
        raised(d, "C607", 30)
        same(s.wait(itt, 20).status, BUSY, "what waited")
        read(s, done - 1)
    stop(d)


def lose_a_record(folder):
    at, data = payload(folder, 60)
    while data[at:at + 4] != b"TRRC":
        at -= 4096
    with open(folder("ssd"), "r+b") as f:
        f.seek(at)
        f.write(bytes(8192))


def case_drive_that_lied():
    """A write in the middle of the log is missing although later ones are there."""
    folder = Folder()
    text = broken_store(folder)
    d = start(folder, text)
    with Session(d.port, TARGET) as s:
        s.ready()
        write(s, 64)
    d.control.close()
    d.kill()
    lose_a_record(folder)
    plain = text.replace("target", f"lun plain {{ store {folder('b.img')}; size 1MiB }}\ntarget")
    d = start(folder, plain.replace("lun 0 a", "lun 0 a; lun 1 plain"))
    raised(d, "C608")
    same(lun(d)["state"], "store not open", "state of the LUN")
    stop(d)


def tool(d, *words, status=0):
    """cachectl of the build."""
    path = os.path.join(os.path.dirname(TOOL), "cachectl")
    p = subprocess.run([path, "--control", os.path.join(d.state, "control.sock"), *words],
                       capture_output=True, text=True, timeout=60, check=False,
                       stdin=subprocess.DEVNULL)
    same(p.returncode, status, f"cachectl {' '.join(words)}: {p.stdout}{p.stderr}")
    return p.stdout + p.stderr


def served(d):
    wait_until(lambda: lun(d)["state"] == "ok", "the LUN is served", 20)


def case_accept_loss_of_a_cache_that_is_gone():
    folder = Folder()
    plain = f"lun plain {{ store {folder('p.img')}; size 1MiB }}\ntarget"
    text = config(folder).replace("target", plain).replace("lun 0 a", "lun 0 a; lun 1 plain")
    d = start(folder, text)
    uuid = cache(d)["uuid"]
    fails = "nothing is missing"
    check(fails in tool(d, "accept-loss", "a", "--cache", uuid, "--confirm", "a", status=1), fails)
    stop(d)
    os.unlink(folder("ssd"))
    d = start(folder, text.replace("cache fast", "cache gone", 1).replace("ssd \"" + folder("ssd"),
                                                                         "ssd \"" + folder("new"))
              .replace("; cache fast", ""))
    raised(d, "C201")
    other = "00000000-0000-4000-8000-000000000000"
    check(uuid in tool(d, "accept-loss", "a", "--cache", other, "--confirm", "a", status=2),
          "it names the right one")
    tool(d, "accept-loss", "a", "--cache", uuid, status=5)
    tool(d, "accept-loss", "a", "--cache", uuid, "--yes", status=5)
    tool(d, "accept-loss", "a", "--cache", uuid, "--confirm", "b", status=2)
    check("can't be told" in tool(d, "accept-loss", "a", "--cache", uuid, "--dry-run"), "what it is")
    check(marker(folder("a.img")) is not None, "nothing was done")
    tool(d, "accept-loss", "a", "--cache", uuid, "--confirm", "a")
    check(marker(folder("a.img")) is None, "the mark is gone")
    served(d)
    check(any("accept-loss a" in h["command"] for h in d.control.call("history")), "the history")
    stop(d)


def case_accept_loss_of_what_a_drive_lost():
    folder = Folder()
    text = broken_store(folder)
    text = text.replace("target", f"lun plain {{ store {folder('b.img')}; size 1MiB }}\ntarget")
    text = text.replace("lun 0 a", "lun 0 a; lun 1 plain")
    d = start(folder, text)
    uuid = cache(d)["uuid"]
    with Session(d.port, TARGET) as s:
        s.ready()
        write(s, 64)
    d.control.close()
    d.kill()
    lose_a_record(folder)
    d = start(folder, text)
    raised(d, "C608")
    print(tool(d, "accept-loss", "a", "--cache", uuid, "--dry-run"))
    tool(d, "accept-loss", "a", "--cache", uuid, "--confirm", "a")
    served(d)
    with Session(d.port, TARGET) as s:
        s.ready()
        read(s, 32)
    wait_until(lambda: "C201" not in d.control.conditions(), "the LUN is served", 20)
    stop(d)
    # What was accepted isn't told again.
    d = start(folder, text)
    same(lun(d)["state"], "ok", "state of the LUN")
    stop(d)


if __name__ == "__main__":
    run(lambda: run_each(globals()))
