#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
Hooks of a configuration: what a program gets, and that one that fails, hangs, floods or is in others'
hands harms nobody; nor does a helper process that is killed. Arguments: names of cases.
"""

import json
import os
import signal
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from control import started  # noqa: E402
from iscsi import Session  # noqa: E402
from terraced import TARGET, Daemon, Folder, check, run, run_each, same, wait_until  # noqa: E402

CONFIG = """
lun a { store "ram:" ; size 16MiB }
portal p { listen 127.0.0.1:{port} }
target iqn.2026-11.example.terrace:test { portals p ; open yes ; lun 0 a }
hooks {
%s
}
"""
SECONDS = 20


def script(folder, name, body, mode=0o755):
    return folder.write(name, f"#!/bin/sh\n{body}\n", mode)


def start(folder, *hooks):
    lines = "\n".join(f'    on {event} "{folder(name)}"' for event, name in hooks)
    return started(Daemon("--loops", "2", "--quiet", "--unsafe-fs", config=CONFIG % lines, folder=folder))


def stop(d, seconds=10):
    d.control.close()
    began = time.monotonic()
    d.stop()
    check(time.monotonic() - began < seconds, "the daemon ends without waiting for hooks")


def raised(d, code, words):
    def told():
        c = d.control.conditions().get(code)
        return c if c and words in c["sentence"] else None
    return wait_until(told, f"{code} says '{words}': {d.control.conditions().get(code)}", SECONDS)


def cleared(d, code):
    wait_until(lambda: code not in d.control.conditions(), f"{code} is over", SECONDS)


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
        found = f.read().split()
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as f:
            found += f.read().split()
    return sorted({int(c) for c in found})


def helper(d):
    """The helper process; there is but one child."""
    def found():
        for pid in children(d.process.pid):
            with open(f"/proc/{pid}/comm", encoding="ascii") as f:
                if f.read().strip() == "terrace-hook":
                    return pid
        return None
    return wait_until(found, "the helper runs")


def use(d):
    with Session(d.port, TARGET) as s:
        s.ready()
        s.write10(0, bytes(4096))
        s.logout()


def lines(path):
    try:
        with open(path, encoding="utf-8") as f:
            return f.read().splitlines()
    except FileNotFoundError:
        return []


def case_events_reach_their_programs():
    folder = Folder()
    script(folder, "all", f"cat >>{folder('all.out')}")
    script(folder, "login", f"cat >>{folder('login.out')}")
    d = start(folder, ("all", "all"), ("login", "login"))
    use(d)
    wait_until(lambda: len(lines(folder("all.out"))) >= 3, "start, login and logout are told", SECONDS)
    told = {e["event"]: e for e in map(json.loads, lines(folder("all.out")))}
    same(sorted(told), ["login", "logout", "start"], "events")
    same(told["login"]["data"]["target"], TARGET, "data of the event")
    same([json.loads(e)["event"] for e in lines(folder("login.out"))], ["login"], "only of its kind")
    same({e["id"]: e for e in d.control.call("events")["events"]}[told["login"]["id"]],
         told["login"], "the same as on the control socket")
    stop(d)
    wait_until(lambda: len(lines(folder("all.out"))) == 4, "the end is told too", SECONDS)


def case_helper_has_nothing_of_the_daemon():
    folder = Folder()
    script(folder, "h", "exit 0")
    d = start(folder, ("all", "h"))
    pid = helper(d)
    fds = {int(fd): os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}
    check(fds[3].startswith("socket:"), f"descriptor 3: {fds}")
    check(all(fd <= 3 or "signalfd" in name for fd, name in fds.items()), f"descriptors: {fds}")
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        status = dict(line.split(":\t", 1) for line in f.read().splitlines() if ":\t" in line)
    same(int(status["SigBlk"], 16), 1 << (signal.SIGCHLD - 1), "signals that it blocks")
    check(int(status["VmRSS"].split()[0]) < 20000 or d.sanitized(), f"memory {status['VmRSS']}")
    stop(d)
    wait_until(lambda: not os.path.exists(f"/proc/{pid}"), "it ends with the daemon", SECONDS)


def case_program_fails_and_succeeds():
    folder = Folder()
    script(folder, "h", f"test -e {folder('good')} && exit 0; echo 'no mail today' >&2; exit 7")
    d = start(folder, ("login", "h"))
    use(d)
    c = raised(d, "C502", "exit status 7: no mail today")
    same((c["object"], d.control.call("health")["state"]), (folder("h"), "degraded"), "condition")
    folder.write("good", "")
    use(d)
    cleared(d, "C502")
    stop(d)


def case_program_hangs_and_floods():
    folder = Folder()
    script(folder, "hang", "echo $$ >>" + folder("hung") + "; exec sleep 1000")
    script(folder, "flood", "yes flood 2>/dev/null | head -c 300000000 >&2; yes; exit 0")
    d = start(folder, ("login", "hang"), ("login", "flood"))
    use(d)
    wait_until(lambda: lines(folder("hung")), "it hangs", SECONDS)
    rss = d.rss_bytes()
    began = time.monotonic()
    for _ in range(20):
        use(d)
        d.control.call("health")
    check(time.monotonic() - began < 20, "initiators and commands aren't held up")
    time.sleep(2)
    check(d.rss_bytes() - rss < 32 << 20 or d.sanitized(), "the flood isn't in our memory")
    pid = helper(d)
    stop(d)
    check(os.path.exists(f"/proc/{pid}"), "the helper sees to what runs")
    for program in lines(folder("hung")):
        try:
            os.kill(int(program), signal.SIGKILL)
        except ProcessLookupError:
            pass  # its time was over
    wait_until(lambda: not os.path.exists(f"/proc/{pid}"), "the helper ends within a program's time", 45)


def case_program_in_others_hands():
    folder = Folder()
    script(folder, "h", f"echo ran >>{folder('ran')}", 0o777)
    d = start(folder, ("all", "h"))
    c = raised(d, "C501", "writable by others")
    check("chmod go-w" in c["action"], c["action"])
    use(d)
    time.sleep(0.5)
    same(lines(folder("ran")), [], "it isn't run")
    os.chmod(folder("h"), 0o755)
    use(d)
    cleared(d, "C501")
    wait_until(lambda: lines(folder("ran")), "it runs now", SECONDS)
    stop(d)


def case_helper_killed_is_started_again():
    folder = Folder()
    script(folder, "h", f"echo ran >>{folder('ran')}; sleep 1")
    d = start(folder, ("login", "h"))
    first = helper(d)
    use(d)
    wait_until(lambda: lines(folder("ran")), "it runs", SECONDS)
    os.kill(first, signal.SIGKILL)
    raised(d, "C504", "signal 9")
    raised(d, "C503", "1 events weren't handed")
    use(d)  # waits for the next helper
    cleared(d, "C504")
    check(helper(d) != first, "another process")
    wait_until(lambda: len(lines(folder("ran"))) == 2, "events that waited are handed over", SECONDS)
    told = [(e["event"], e.get("code")) for e in d.control.call("events")["events"]]
    check(("raised", "C504") in told and ("cleared", "C504") in told, f"events: {told}")
    stop(d)


if __name__ == "__main__":
    run(lambda: run_each(globals()))
