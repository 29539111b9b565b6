#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
Conditions: each one is brought about as it comes about in life, is told on the control socket, and goes
when its cause goes. Events over restarts, and waiting for them. Arguments: names of cases.
"""

import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
import terraced  # noqa: E402
from control import Control, Error, started, stop  # noqa: E402
from iscsi import GOOD, INITIATOR, Refused, Session  # noqa: E402
from terraced import TARGET, Daemon, Folder, Skipped, check, run, run_each, same, wait_until  # noqa: E402

VMWARE = "iqn.1998-01.com.vmware:esx1"
SECONDS = 15  # the monitor looks every 2 s, at files every 4 s

CONFIG = """
lun a { store "file:{dir}/a.img" ; size 16MiB }
lun v { store "ram:" ; size 16MiB ; mode volatile }
portal p { listen 127.0.0.1:{port} }
target iqn.2026-11.example.terrace:test {
    portals p
    chap c { user mia ; secret "twelve-bytes-or-more" }
    group hosts { initiators iqn.2026-11.example.test:* ; lun 0 a }
    group esx { initiators iqn.1998-01.com.vmware:* ; lun 0 a ; lun 1 v }
    group locked { initiators iqn.2026-11.example.locked:* ; user c ; lun 0 a }
}
"""


def start(config=CONFIG, folder=None, prefix=(), options=()):
    return started(Daemon("--loops", "2", "--quiet", "--unsafe-fs", *options, config=config, folder=folder,
                          prefix=prefix))


def raised(d, code, seconds=SECONDS):
    """Waits for a condition; checks that it says all that it must, and that it is an event."""
    c = wait_until(lambda: d.control.conditions().get(code), f"{code} is raised", seconds)
    for key in ("name", "severity", "sentence", "effect", "action"):
        check(c[key], f"{code} has no {key}")
    check("{object}" not in c["action"], f"{code}: the action is {c['action']}")
    check(abs(c["since"] - time.time()) < 300, f"{code}: since {c['since']}")
    check(any(e.get("code") == code and e["event"] == "raised" for e in events(d)),
          f"{code} is no event")
    return c


def cleared(d, code, seconds=SECONDS):
    wait_until(lambda: code not in d.control.conditions(), f"{code} is over", seconds)
    check(any(e.get("code") == code and e["event"] == "cleared" for e in events(d)),
          f"the end of {code} is no event")


def events(d, **params):
    return d.control.call("events", **{"limit": 1000, **params})["events"]


def refused_login(d, name, **more):
    try:
        Session(d.port, TARGET, name=name, **more).close()
    except Refused as e:
        return e.status
    check(False, f"{name} was let in")


def state(d):
    return d.control.call("health")["state"]


# ---- stores -----------------------------------------------------------------------------------------

def case_store_gone_and_back():
    d = start()
    same(state(d), "ok", "state")
    os.rename(d.folder("a.img"), d.folder("away"))
    c = raised(d, "C204")
    same((c["object"], c["severity"]), ("a", "failed"), "the condition")
    same(state(d), "failed", "state")
    same(d.control.call("status")["luns"][0]["state"], "store gone", "state of the LUN")
    os.rename(d.folder("away"), d.folder("a.img"))
    cleared(d, "C204")
    same(state(d), "ok", "state")
    stop(d)


def case_store_truncated_is_an_event():
    d = start()
    os.truncate(d.folder("a.img"), 32 << 20)
    wait_until(lambda: [e for e in events(d) if e["event"] == "size"], "the size is an event", SECONDS)
    e = [e for e in events(d) if e["event"] == "size"][0]
    same((e["object"], e["data"]["size_bytes"]), ("a", 32 << 20), "the event")
    stop(d)


def case_store_errors():
    folder = Folder()
    d = start(CONFIG.replace('"file:{dir}/a.img"', '"fault:1:read_error=1:file:{dir}/a.img"'),
              folder=folder)
    with Session(d.port, TARGET) as s:
        s.ready()
        for _ in range(3):
            check(s.command(b"\x28\0\0\0\0\0\0\0\x01\0", read=512) is not None, "sent")
        r = s.execute(b"\x28\0\0\0\0\0\0\0\x01\0", read=512)
        check(r.status != GOOD, f"the read of a failing store: {r}")
        c = raised(d, "C202")
        check("a ended" in c["sentence"], c["sentence"])
        same(state(d), "degraded", "state")
    stop(d)


def case_store_that_cannot_be_opened():
    folder = Folder()
    d = start(CONFIG.replace("size 16MiB }\nlun v", "}\nlun v"), folder=folder)
    c = raised(d, "C201")
    same((c["object"], c["severity"]), ("a", "failed"), "the condition")
    lun = d.control.call("lun.list")[0]
    same(lun["state"], "store not open", "state of the LUN")
    check("a.img" in lun["why"], lun["why"])
    with open(folder("a.img"), "wb") as f:
        f.truncate(16 << 20)
    cleared(d, "C201", 60)
    with Session(d.port, TARGET) as s:
        s.ready()
    stop(d)


def case_volatile_lun_and_vmware():
    d = start()
    with Session(d.port, TARGET) as s:
        s.ready()
        time.sleep(2.5)
        check("C205" not in d.control.conditions(), "others may use it")
    with Session(d.port, TARGET, name=VMWARE) as s:
        s.ready(1)
        c = raised(d, "C205")
        same((c["object"], c["severity"]), ("v", "remark"), "the condition")
        check(VMWARE in c["sentence"], c["sentence"])
        same(state(d), "ok", "a remark leaves the state")
    cleared(d, "C205")
    stop(d)


def case_store_runs_out_of_space():
    """A thin LUN on a small file system: its initiators are told before writes fail, and that once."""
    folder = Folder()
    small = folder("small")
    os.mkdir(small)
    if ctypes.CDLL(None, use_errno=True).mount(b"none", small.encode(), b"tmpfs", 0, b"size=24m"):
        raise Skipped("no file system can be mounted here")
    try:
        d = start(CONFIG.replace("{dir}/a.img", small + "/a.img"), folder=folder)
        with Session(d.port, TARGET) as s:
            s.ready()
            # VPD B2h: thin; log page 0Ch: what is left
            page = s.execute(b"\x12\x01\xb2\0\xff\0", read=255)
            same((page.status, page.data[6] & 7), (GOOD, 2), "VPD B2h")
            fill = folder("small/other")
            with open(fill, "wb") as f:
                f.write(b"x" * ((24 << 20) - (512 << 10)))
            c = raised(d, "C206")
            same((c["object"], c["severity"]), ("a", "degraded"), "the condition")
            check("small/a.img" in c["sentence"], c["sentence"])
            same(s.execute(bytes(6)).code(), (6, 0x38, 0x07), "soft threshold reached")
            same(s.execute(bytes(6)).status, GOOD, "told once")
            left = s.execute(b"\x4d\0\x4c\0\0\0\0\0\xff\0", read=255).data
            same((left[0] & 0x3f, int.from_bytes(left[8:12], "big")), (0x0c, 0), "MiB left in the log page")
            wrote = [s.write10(i * 128, b"y" * 65536) for i in range(12)]
            same([w.status for w in wrote[:7]], [GOOD] * 7, "writes while there is room")
            same(wrote[-1].code(), (7, 0x27, 0x07), "SPACE ALLOCATION FAILED")
            os.unlink(fill)
            cleared(d, "C206")
            same(s.write10(12 * 128, b"z" * 65536).status, GOOD, "room again")
        stop(d)
    finally:
        ctypes.CDLL(None).umount2(small.encode(), 2)


# ---- logins -----------------------------------------------------------------------------------------

def case_sanitize():
    """kill -9 in the middle of a SANITIZE: the LUN shows nothing until one has succeeded."""
    config = CONFIG.replace("16MiB }\nlun v", "64MiB ; sanitize yes ;\n"
                            "  uuid 6f1d3c52-8a44-4d1e-9b1f-0a7d53c2e901 }\nlun v")
    config = config.replace("file:{dir}/a.img", "ram:")
    folder = Folder()
    d = start(config.replace('"ram:"', '"fault:1:delay_us=200000:ram:"', 1), folder=folder)
    with Session(d.port, TARGET) as s:
        s.ready()
        same(s.write10(0, b"x" * 65536).status, GOOD, "a write")
        same(s.execute(b"\x48\x82\0\0\0\0\0\0\0\0").status, GOOD, "SANITIZE, IMMED")
        d.kill()
    d.control.close()
    d = start(config, folder=folder)
    c = raised(d, "C207")
    same((c["object"], c["severity"]), ("a", "degraded"), "the condition")
    with Session(d.port, TARGET) as s:
        s.ready()
        same(s.read10(0, 1).code(), (3, 0x31, 0x03), "a read")
        same(s.write10(0, b"y" * 512).code(), (3, 0x31, 0x03), "a write")
        same(s.execute(b"\x48\x1f\0\0\0\0\0\0\0\0").code(), (3, 0x31, 0x03), "EXIT FAILURE MODE")
        same(s.execute(b"\x48\x02\0\0\0\0\0\0\0\0").status, GOOD, "another SANITIZE")
        same(s.read10(0, 1).data, bytes(512), "what was erased")
    cleared(d, "C207")
    stop(d)


def case_refused_logins_say_what_admits_them():
    d = start()
    stranger = "iqn.2026-11.example.stranger:host-1"
    refused_login(d, stranger)
    refused_login(d, stranger)
    refused_login(d, "iqn.2026-11.example.locked:x", chap=("mia", "not-the-secret"))
    found = {r["initiator"]: r for r in d.control.call("refused")}
    r = found[stranger]
    same((r["count"], r["address"], r["target"]), (2, "127.0.0.1", TARGET), "the first one")
    same(r["reason"], "not admitted to the target", "reason")
    # as a shell takes it
    words = subprocess.run(["sh", "-c", f"set -- {r['action'].split('&&')[0]}; printf '%s\\n' \"$@\""],
                           capture_output=True, text=True, check=True).stdout.split("\n")
    same(words[:3], ["terracectl", "group", "create"], "command")
    same(words[words.index("--initiator") + 1], stranger, "initiator of the command")
    same(words[words.index("--target") + 1], TARGET, "target of the command")
    locked = found["iqn.2026-11.example.locked:x"]
    check(locked["action"].startswith("terracectl chap set c secret"), locked["action"])
    check("twelve-bytes" not in json.dumps(d.control.call("refused")), "a secret is shown")
    told = [e for e in events(d) if e["event"] == "refused"]
    same(len(told), 2, "the same refusal is one event")
    stop(d)


def case_flood_of_refused_logins():
    d = start()
    for _ in range(31):
        refused_login(d, "iqn.2026-11.example.stranger:x")
    c = raised(d, "C301")
    check("stranger:x" in c["sentence"], c["sentence"])
    names = [f"iqn.2026-11.example.stranger:{i}" for i in range(100)]
    for name in names:
        refused_login(d, name)
    list_ = d.control.call("refused")
    same(len(list_), 64, "refused logins that are remembered")
    same(list_[0]["initiator"], names[-1], "the latest comes first")
    told = [e for e in events(d) if e["event"] == "refused"]
    check(len(told) <= 12, f"{len(told)} events of one peer")
    with Session(d.port, TARGET) as s:
        s.ready()
    stop(d)


# ---- configuration ----------------------------------------------------------------------------------

def case_configuration_on_disk_differs():
    d = start()
    with open(d.config, encoding="utf-8") as f:
        text = f.read()
    d.folder.write("terrace.conf", "# a comment\n" + text)
    time.sleep(5)
    same(d.control.conditions(), {}, "a comment is no difference")
    d.folder.write("terrace.conf", text.replace("lun 0 a }\n    group esx", "lun 5 a }\n    group esx"))
    c = raised(d, "C101")
    same(c["severity"], "remark", "severity")
    d.folder.write("terrace.conf", text + "\nlun b { stoer ram: }\n")
    c = raised(d, "C102")
    check("terrace.conf:" in c["sentence"] and "store" in c["sentence"], c["sentence"])
    same(state(d), "degraded", "state")
    check("C101" not in d.control.conditions(), "broken or different, not both")
    os.mkdir(d.folder("conf.d"))
    d.folder.write("terrace.conf", text)
    cleared(d, "C102")
    with open(d.folder("conf.d/lun-extra.conf"), "w", encoding="utf-8") as f:
        f.write("lun extra { store null: ; size 1GiB }\n")
    wait_until(lambda: "C101" in d.control.conditions(), "a file in conf.d is seen", SECONDS)
    os.unlink(d.folder("conf.d/lun-extra.conf"))
    cleared(d, "C101")
    stop(d)


def case_settings_that_need_a_restart():
    d = started(Daemon("--quiet", "--unsafe-fs", config="loops 1\n" + CONFIG))
    with open(d.config, encoding="utf-8") as f:
        text = f.read()
    d.folder.write("terrace.conf", text.replace("loops 1", "loops 2"))
    d.control.call("reload")
    c = raised(d, "C104")
    same((c["object"], c["severity"], state(d)), ("loops", "remark", "ok"), "the condition")
    same(len(d.control.call("loop.list")), 1, "loops until then")
    d.folder.write("terrace.conf", text)
    d.control.call("reload")
    cleared(d, "C104")
    stop(d)


def case_what_runs_only_is_no_difference_on_disk():
    d = start()
    d.control.call("lun.create", name="extra", store="null:", size="1GiB", runtime=True)
    same(raised(d, "C105")["severity"], "remark", "severity")
    d.control.call("lun.create", name="kept", store="null:", size="2GiB")
    time.sleep(9)  # the files are looked at twice
    same(sorted(d.control.conditions()), ["C105"], "conditions")
    same([h["result"] for h in d.control.call("history")], ["done"] * 2, "history")
    same(len([e for e in events(d) if e["event"] == "changed"]), 2, "changes are events")
    stop(d)
    started(d)
    same(d.control.conditions(), {}, "conditions after a restart")
    same([lun["name"] for lun in d.control.call("lun.list")], ["a", "v", "kept"], "LUNs")
    same(len(d.control.call("history")), 2, "history after a restart")
    stop(d)


# ---- the machine --------------------------------------------------------------------------------------

def limit_file_size(d, size):
    """No file of the process may grow beyond: as a disk that is full."""
    resource.prlimit(d.process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def case_catalogue_and_log_cannot_be_written():
    d = start()
    with Session(d.port, TARGET) as s:
        s.ready()
        limit_file_size(d, 0)
        r = s.pr_out(0, new=0x1234, aptpl=True)
        check(r.status != GOOD, "a reservation that isn't kept isn't acknowledged")
        same(raised(d, "C402")["severity"], "failed", "severity")
        c = raised(d, "C403")
        check("events.log" in c["sentence"], c["sentence"])
        limit_file_size(d, resource.RLIM_INFINITY)
        same(s.pr_out(0, new=0x1234, aptpl=True).status, GOOD, "with room again")
        cleared(d, "C402")
        cleared(d, "C403")
    stop(d)
    with open(os.path.join(d.state, "events.log"), encoding="utf-8") as f:
        ids = [json.loads(line)["id"] for line in f]
    same(ids, list(range(1, len(ids) + 1)), "nothing was lost, in order")


def case_state_directory_nearly_full():
    if os.geteuid() != 0:
        raise Skipped("only root can mount")
    folder = Folder()
    os.mkdir(folder("state"))
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m,mode=0700", "tmpfs",
                           folder("state")], capture_output=True, check=False)
    if done.returncode != 0:
        raise Skipped("no tmpfs can be mounted here")
    try:
        d = start(folder=folder)
        check("C401" not in d.control.conditions(), "there is room at first")
        free = os.statvfs(folder("state")).f_bavail * 4096
        with open(folder("state/filler"), "wb") as f:
            f.write(bytes(free - 8192))
        c = raised(d, "C401")
        same(c["object"], d.state, "object")
        os.unlink(folder("state/filler"))
        cleared(d, "C401")
        stop(d)
    finally:
        for daemon in list(Daemon.running):
            daemon.kill()
        subprocess.run(["umount", folder("state")], check=True)


WITHOUT_URING = """
import ctypes, os, struct, sys
# seccomp: io_uring_setup (425) is "no such call", everything else is allowed
program = struct.pack("HBBI", 0x20, 0, 0, 0) + struct.pack("HBBI", 0x15, 0, 1, 425) + \\
    struct.pack("HBBI", 0x06, 0, 0, 0x00050000 | 38) + struct.pack("HBBI", 0x06, 0, 0, 0x7fff0000)
code = ctypes.create_string_buffer(program)
fprog = struct.pack("HxxxxxxQ", 4, ctypes.addressof(code))
libc = ctypes.CDLL(None, use_errno=True)
if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, ctypes.create_string_buffer(fprog), 0, 0):
    sys.exit("no seccomp")
os.execv(sys.argv[1], sys.argv[1:])
"""


def case_no_io_uring():
    d = start(prefix=[sys.executable, "-c", WITHOUT_URING])
    c = raised(d, "C404")
    same((c["severity"], state(d)), ("remark", "ok"), "severity, state")
    same({loop["backend"] for loop in d.control.call("loop.list")}, {"epoll"}, "backends")
    with Session(d.port, TARGET) as s:
        s.ready()
        s.write10(0, bytes(4096))
    stop(d)


# ---- events -------------------------------------------------------------------------------------------

def case_events_outlive_restart_and_kill():
    d = start()
    with Session(d.port, TARGET) as s:
        s.ready()
    wait_until(lambda: [e for e in events(d) if e["event"] == "lost"], "the end of the session")
    before = events(d)
    stop(d)
    started(d)
    after = events(d)
    same(after[:len(before)], before, "events of before")
    same([e["event"] for e in after[len(before):]], ["stop", "start"], "events since")
    time.sleep(0.5)
    d.control.close()
    d.kill()
    started(d)
    same(events(d)[:len(after)], after, "events of before the kill")
    ids = [e["id"] for e in events(d)]
    same(ids, list(range(1, len(ids) + 1)), "ids go on")
    stop(d)


def case_who_waits_is_told_at_once():
    d = start()
    at = d.control.call("events")["next"]
    same(d.control.call("events", since=at), {"events": [], "next": at, "lost": 0}, "nothing yet")
    began = time.monotonic()
    same(d.control.call("events", since=at, wait_ms=300)["events"], [], "nothing within 300 ms")
    check(0.25 < time.monotonic() - began < 5, "it waited")
    for bad in ({"limit": 0}, {"limit": 10001}, {"wait_ms": -1}, {"wait_ms": 60001}, {"since": -1},
                {"since": "x"}):
        try:
            d.control.call("events", **bad)
            check(False, f"{bad} was taken")
        except Error as e:
            same(e.code, -32602, f"code for {bad}")
    with Control(d) as gone:
        gone.send("events", since=at, wait_ms=60000)
    d.control.send("events", since=at, wait_ms=20000)
    time.sleep(0.2)
    began = time.monotonic()
    with Session(d.port, TARGET) as s:
        s.ready()
        answer = d.control.receive()
        check(time.monotonic() - began < 5, "it is told at once")
        same([e["event"] for e in answer["events"]], ["login"], "event")
    # the end of the daemon doesn't wait for who waits
    other = Control(d)
    other.send("events", since=1 << 40, wait_ms=60000, limit=1)
    other.receive()  # an id that was never given: the last ones
    d.control.send("events", since=answer["next"] + 100, wait_ms=60000)
    began = time.monotonic()
    stop(d)
    check(time.monotonic() - began < 10, "it ends at once")


if __name__ == "__main__":
    run(lambda: run_each(globals()))
