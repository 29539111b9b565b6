#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
terracectl and a real terraced: everything that can be looked at, everything that can be ordered, who
may, what is asked before something is taken from an initiator, and what is left after a restart.
"""

import json
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from iscsi import Session  # noqa: E402
from terraced import TARGET, Daemon, Failed, check, run, same, wait_until  # noqa: E402
from terracectl import (DONE, FAILED, REFUSED, REMARKS, UNREACHABLE, USAGE,  # noqa: E402
                        Terminal, Tool)

ESX = "iqn.1998-01.com.vmware:esx1"
CONFIG = f"""
portal san {{ listen 127.0.0.1:{{port}} }}
lun a {{ store file:{{dir}}/a.img ; size 16MiB }}
lun b {{ store ram: ; size 16MiB ; mode volatile }}
target {TARGET} {{
    portals san
    group esx {{ initiators iqn.1998-01.com.vmware:* ; lun 0 a ; lun 3 b read_only }}
}}
"""


def session(daemon, name=ESX, target=TARGET):
    s = Session(daemon.port, target, name=name)
    s.ready()
    return s


def looks(daemon, tool):
    with session(daemon) as s:
        for i in range(20):
            s.write10(i * 8, bytes(4096))
        s.read10(0, 8)
        out = tool("status").out
        check(re.match(r"\S+: OK\b.* terrace \d+\.\d+\.\d+, up \d+ s\n", out), out)
        check(re.search(r"^a +16MiB +writethrough +ok .* esx1$", out, re.M), out)
        check(re.search(r"^b +16MiB +volatile +ok .* esx1$", out, re.M), out)
        tree = tool("tree").out
        for part in (f"target {TARGET}", f"portal san  127.0.0.1:{daemon.port}",
                     "group esx  iqn.1998-01.com.vmware:*", "lun 3 b  16MiB  ok  read only",
                     f"session {s.tsih} {ESX}"):
            check(part in tree, f"{part!r} isn't in {tree}")
        listed = tool.result("session", "list")
        same([(x["tsih"], x["initiator"], x["group"]) for x in listed], [(s.tsih, ESX, "esx")],
             "sessions")
        tool("session", says=[ESX, str(s.tsih)])
        rates = tool.result("iostat", "1", "1")
        same([r["name"] for r in rates], ["a", "b"], "LUNs of iostat")
        tool("iostat", says=["r p99 ms", "queue"])
    tool("lun", says=["administrator", f"file:{daemon.folder('a.img')}"])
    tool("target", says=[TARGET, "esx"])
    tool("portal", says=f"127.0.0.1:{daemon.port}")
    tool("group", says="0:a 3:b(ro)")
    tool("chap", says="no CHAP users")
    tool("config", says=[f"{daemon.config}:3" if "/" in daemon.config else "terrace.conf:3", "default"])
    tool("check", says="no errors")
    tool("config", "--diff", says="Nothing differs")
    for os_name, part in (("linux", f"iscsiadm -m discovery -t sendtargets -p 127.0.0.1:{daemon.port}"),
                          ("windows", f"-TargetPortalPortNumber {daemon.port}"),
                          ("esxi", f"--address=127.0.0.1:{daemon.port}")):
        out = tool("connect", TARGET, "--os", os_name).out
        check(part in out and TARGET in out, out)
    tool("connect", "iqn.2026-11.example:none", status=FAILED, says="there is no target")
    tool("health", says="OK")
    tool("history")
    tool("events", says="start")
    tool("log-level", says="info")
    tool("log-level", "debug", says="debug")
    same(tool.result("log-level"), {"level": "debug"}, "level")
    tool("log-level", "info")
    tool("log-level", "loud", status=USAGE, says="error, warning, info or debug")
    for words in (["status"], ["health"], ["tree"], ["lun"], ["target"], ["portal"], ["group"],
                  ["chap"], ["session"], ["config"], ["check"], ["config", "--diff"], ["connect"],
                  ["refused"], ["events"], ["history"], ["explain"], ["explain", "C204"]):
        same(tool(*words, "--json").json()["schema"], 1, f"schema of {words}")


def refused(daemon, tool):
    stranger = "iqn.2026-11.example:stranger"
    try:
        Session(daemon.port, TARGET, name=stranger).close()
        raise Failed("a stranger was admitted")
    except Failed:
        raise
    except Exception:
        pass
    out = wait_until(lambda: stranger in tool("refused").out and tool("refused").out, "refused")
    command = re.search(r"to admit it: .*?(terracectl [^`\n]+)", out)
    check(command and stranger in command.group(1), f"no command that admits it: {out}")
    tool("events", says=stranger)


def orders(daemon, tool):
    """Every kind of object comes, changes, and goes; each step is in a file of its own."""
    confd = os.path.join(os.path.dirname(daemon.config), "conf.d")
    create = ["lun", "create", "vm1", "--store", f"file:{daemon.folder('vm1.img')}", "--size", "16MiB",
              "--to", "*:lin*", "--number", "5"]
    tool(*create, "--dry-run", says=["+ lun vm1", "+ group vm1", "Nothing was changed"])
    check(not os.path.exists(daemon.folder("vm1.img")), "a dry run made a file")
    same([x["name"] for x in tool.result("lun", "list")], ["a", "b"], "LUNs after a dry run")
    tool(*create, says=["+ lun vm1", "+ group vm1", "lun.5 vm1", "Done."])
    same(sorted(n for n in os.listdir(confd) if n[0] != "."), ["group-vm1.conf", "lun-vm1.conf"],
         "files")
    tool(*create, status=FAILED, says="vm1")
    with session(daemon, "iqn.2026-11.example:linux1") as s:
        check(s.tsih, "the new group logs in")
    tool("lun", "set", "vm1", "read_only", "yes", says="~ lun vm1")
    same(tool.result("lun", "list")[2]["read_only"], True, "read_only")
    tool("lun", "set", "vm1", "read_only", "--default", says="~ lun vm1")
    tool("lun", "resize", "vm1", "32MiB", says="16MiB → 32MiB")
    same(os.path.getsize(daemon.folder("vm1.img")), 32 << 20, "size of the file")
    tool("lun", "resize", "vm1", "8MiB", status=FAILED, says="shrink")
    tool("lun", "set", "vm1", "sise", "1", status=FAILED, says="size")
    tool("portal", "create", "lo2", "--listen", "127.0.0.2:0", status=REMARKS,
         says=["+ portal lo2", "no target is on portal"])
    real = next(p for p in tool.result("portal", "list") if p["name"] == "lo2")["addresses"]
    check(len(real) == 1 and not real[0].endswith(":0"), f"addresses {real}")
    second = "iqn.2026-11.example:second"
    tool("target", "create", second, "--portal", "san", "--portal", "lo2", "--alias", "the second",
         status=REMARKS, says=[f"+ target {second}", "admits nobody"])
    tool("target", "set", second, "alias", "other", status=REMARKS, says="the second → other")
    tool("lun", "create", "vm2", "--store", "ram:", "--size", "16MiB", "--to", "*", status=FAILED,
         says="target")
    secret = daemon.folder.write("secret", "a secret of 24 characters\n")
    tool("chap", "create", "esx", "--target", second, "--user", "anna", "--secret-file", secret,
         status=REMARKS, says=["+ chap esx", "remark: "])
    check("a secret of" not in tool("chap").out + tool("chap", "--json").out, "a secret was shown")
    tool("group", "create", "g2", "--target", second, "--initiator", "!*:bad*", "--initiator", "*:x",
         "--user", "esx", "--order", "7", status=REMARKS, says=["+ group g2", "shows no LUN"])
    tool("group", "map", "g2", "vm1", "--number", "0", "--read-only", says="lun.0")
    tool("group", "set", "g2", "order", "9", says="7 → 9")
    found = next(g for g in tool.result("group", "list") if g["name"] == "g2")
    same((found["luns"], found["order"], found["users"]),
         ([{"number": 0, "lun": "vm1", "read_only": True}], 9, ["esx"]), "the group")
    tool("history", says=["lun resize vm1", "done", "root" if os.geteuid() == 0 else ""])
    history = tool("history", "--json").out
    check("a secret of" not in history + daemon.log(), "a secret in history or log")
    before = tool("tree", "--json").json()["result"]
    daemon.stop()
    daemon.start()
    after = tool("tree", "--json").json()["result"]
    for kind in ("luns", "groups", "targets"):
        same([o["name"] for o in after[kind]], [o["name"] for o in before[kind]],
             f"{kind} after a restart")
    same([x["uuid"] for x in after["luns"]], [x["uuid"] for x in before["luns"]], "identities")
    # What is left alone on the way is remarked upon, or not: both are done.
    for words, part in ((["group", "unmap", "g2", "vm1"], "lun.0 vm1 read_only → (not set)"),
                        (["group", "delete", "g2"], "- group g2"),
                        (["chap", "delete", "esx"], "- chap esx"),
                        (["target", "delete", second], f"- target {second}"),
                        (["portal", "delete", "lo2"], "- portal lo2"),
                        (["group", "unmap", "vm1", "vm1"], "lun.5"),
                        (["group", "delete", "vm1"], "- group vm1"),
                        (["lun", "delete", "vm1"], "- lun vm1")):
        r = tool(*words, status=None, says=[part, "Done."])
        check(r.status in (DONE, REMARKS), str(r))
    same([n for n in os.listdir(confd) if n[0] != "."], [], "files that are left")
    check(os.path.exists(daemon.folder("vm1.img")), "the store stays")
    tool("lun", "delete", "vm1", status=FAILED, says="vm1")


def administrators(daemon, tool):
    """What stands in the administrator's file isn't changed, and the file is as it was."""
    with open(daemon.config, encoding="utf-8") as f:
        before = f.read()
    tool("lun", "set", "a", "read_only", "yes", status=FAILED,
         says=["terrace.conf:3", "read_only yes"])
    tool("group", "set", "esx", "initiators", "*:x", status=FAILED, says="terrace.conf:7")
    tool("lun", "delete", "a", status=FAILED, says="terrace.conf:3")
    with open(daemon.config, encoding="utf-8") as f:
        same(f.read(), before, "the administrator's file")
    # The administrator edits it.
    daemon.folder.write("terrace.conf", before.replace("mode volatile", "mode volatle"))
    tool("check", status=FAILED, says=["terrace.conf:4:", "volatile"])
    tool("reload", status=FAILED, says="terrace.conf:4:")
    tool("config", "--diff", status=FAILED)
    daemon.folder.write("terrace.conf", before.replace("lun 3 b read_only", "lun 3 b"))
    tool("config", "--diff", says=["~ group esx", "lun.3"])
    tool("reload", "--dry-run", says="Nothing was changed")
    tool("reload", says="Done.")
    tool("reload", says="Nothing differs")
    daemon.folder.write("terrace.conf", before)
    tool("reload")


def takes_away(daemon, tool):
    tool("lun", "create", "c", "--store", "ram:", "--size", "16MiB", "--to", "*:taken*", "--runtime",
         says="+ lun c")
    name = "iqn.2026-11.example:taken1"
    with session(daemon, name) as s:
        asked = tool("lun", "delete", "c", status=REFUSED, says=[f"session {s.tsih} of {name}", "--yes"])
        check("Nothing was changed" in asked.err, str(asked))
        error = tool("lun", "delete", "c", "--json", status=REFUSED).json()["error"]
        same((error["code"], error["data"]["sessions"][0]["tsih"]), (-32001, s.tsih), "refusal")
        tool("lun", "delete", "c", "--dry-run", says=[f"session {s.tsih} of {name}"])
        check("lun c" not in tool("lun").out and "runtime" in tool("lun").out, tool("lun").out)
        said = Terminal(tool, "lun", "delete", "c").expect("[y/N]").type("n\n").end(REFUSED)
        check("Nothing was changed" in said, said)
        said = Terminal(tool, "session", "drop", str(s.tsih)).expect("[y/N]").type("y\n").end(DONE)
        wait_until(lambda: tool.result("session", "list") == [], "the session ends", 30)
    tool("session", "drop", "60000", "--yes", status=FAILED, says="no session 60000")
    tool("lun", "delete", "c", says="- lun c")
    same([x["name"] for x in tool.result("lun", "list")], ["a", "b"], "LUNs")


def runtime(daemon, tool):
    """What is kept never needs what isn't: it could be loaded at any time."""
    memory = ["--store", "ram:", "--size", "16MiB"]
    tool("lun", "create", "r1", *memory, "--to", "*:run*", "--runtime", says=["+ lun r1", "Done."])
    tool("lun", "create", "r2", *memory, "--to", "*:run*", status=FAILED, says="--runtime")
    tool("group", "map", "r1", "a", status=FAILED, says="--runtime")
    tool("lun", "create", "r2", *memory, status=REMARKS, says=["+ lun r2", "no target shows"])
    tool("group", "map", "r1", "r2", "--runtime", says="lun.1 (not set) → r2")
    tool("check", status=REMARKS, says="no errors")
    tool("status", says=["[C105]", "runtime"])
    tool("reload", says="Nothing differs")
    daemon.stop()
    daemon.start()
    same([x["name"] for x in tool.result("lun", "list")], ["a", "b", "r2"], "what was kept")
    tool("lun", "delete", "r2", says="- lun r2")


def history(tool):
    """What was ordered stands there as it can be typed again, and who ordered it."""
    commands = [h["command"] for h in tool.result("history", "--limit", "1000")]
    for command in ("lun resize vm1 32MiB", "lun set vm1 read_only yes", "lun set vm1 read_only --default",
                    "portal create lo2 --listen 127.0.0.2:0", "group set g2 order 9",
                    "group map g2 vm1 --number 0 --read-only", "group unmap vm1 vm1",
                    'group create g2 --target iqn.2026-11.example:second --initiator "!*:bad*" '
                    '--initiator "*:x" --user esx --order 7'):
        check(command in commands, f"{command!r} isn't in {commands}")


def follows(daemon, tool):
    t = Terminal(tool, "events", "--follow", "--limit", "1")
    t.expect("\n")
    session(daemon).close()
    t.expect(ESX).type("\003")
    t.end(-2)


def completes(tool):
    same(tool("complete", "--", "lun", "delete", "").out.split(), ["a", "b"], "LUNs")
    same(tool("complete", "--", "group", "map", "").out.split(), ["esx"], "groups")
    same(tool("complete", "--", "connect", "iqn").out.split(), [TARGET], "targets")


def rights(daemon, tool):
    """Somebody who is in neither group is told which to join; state and socket are as they were."""
    if os.geteuid() != 0:
        print("  not as root: nobody else to be", flush=True)
        return
    os.chmod(daemon.folder.path, 0o755)

    def become():
        os.setgroups([])
        os.setresgid(65534, 65534, 65534)
        os.setresuid(4242, 4242, 4242)

    import subprocess  # only here: another user's process
    from terracectl import environment
    for words in (["status"], ["lun", "delete", "a"], ["lun", "list"]):
        try:
            p = subprocess.run(tool.command(words), preexec_fn=become, capture_output=True, text=True,
                               env=environment(), stdin=subprocess.DEVNULL, timeout=60, check=False)
        except PermissionError:
            print("  the program isn't in reach of other users", flush=True)
            return
        same(p.returncode, FAILED, f"status for a stranger: {p.stderr}")
        check("uid 4242" in p.stderr and "terrace-ro" in p.stderr and "terrace to change" in p.stderr,
              p.stderr)


def main():
    daemon = Daemon("--unsafe-fs", config=CONFIG)
    os.chmod(daemon.folder.path, 0o755)
    control = daemon.folder("control.sock")
    daemon.options += ["--control", control]
    daemon.start()
    tool = Tool(control)
    for scene in (looks, refused, orders, administrators, takes_away, runtime, follows):
        print(scene.__name__, flush=True)
        scene(daemon, tool)
    history(tool)
    completes(tool)
    rights(daemon, tool)
    daemon.stop()
    tool("status", status=UNREACHABLE)

    # Without a file only what runs can be changed.
    daemon = Daemon("--lun", "ram:16MiB", "--unsafe-fs").start()
    tool = Tool(os.path.join(daemon.state, "control.sock"))
    create = ["lun", "create", "x", "--store", "ram:", "--size", "16MiB", "--to", "*"]
    tool(*create, status=FAILED, says="--runtime")
    tool(*create, "--runtime", says="+ lun x")
    check(any(x["runtime"] for x in tool.result("lun", "list")), "marked")
    json.loads(tool("status", "--json").out)
    daemon.stop()


run(main)
