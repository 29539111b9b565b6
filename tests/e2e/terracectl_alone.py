#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
terracectl against a daemon that says what the test has written down: exit statuses, questions,
secrets, colours, rubbish; and without any daemon.
"""

import json
import os
import re
import signal
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from terraced import Folder, check, run, same  # noqa: E402
from terracectl import (DONE, FAILED, REFUSED, REMARKS, UNREACHABLE, USAGE,  # noqa: E402
                        FakeDaemon, Terminal, Tool)

Error = FakeDaemon.Error
CHANGED = {"applied": True, "changes": [
    {"kind": "lun", "what": "add", "name": "vm1", "keys": [
        {"key": "store", "old": None, "new": "ram:"}]},
    {"kind": "group", "what": "change", "name": "esx", "target": "iqn.2026-11.example:san",
     "keys": [{"key": "initiators", "old": "a", "new": "a b"}]}],
    "sessions": [], "remarks": [], "restart": []}
AFFECTED = {"sessions": [{"tsih": 7, "initiator": "iqn.1998-01.com.vmware:esx1",
                          "address": "192.0.2.7:40000", "reason": "loses LUN vm1"}]}


def no_daemon():
    folder = Folder()
    alone = Tool(env={"HOME": folder.path, "XDG_STATE_HOME": folder("state")})
    if not os.path.exists("/run/terrace/control.sock"):
        alone("status", status=UNREACHABLE, says=["systemctl start terraced", "--control"])
    nobody = Tool(folder("nobody.sock"))
    nobody("status", status=UNREACHABLE, says=[folder("nobody.sock"), "--control"])
    nobody("lun", "create", "a", "--store", "ram:", "--size", "1GiB", status=UNREACHABLE)
    said = nobody("lun", "list", "--json", status=UNREACHABLE).json()
    check(folder("nobody.sock") in said["error"]["message"], str(said))
    # Something else is the environment's.
    Tool(env={"TERRACE_CONTROL": folder("other.sock")})(
        "status", status=UNREACHABLE, says=folder("other.sock"))
    Tool("x" * 200)("status", status=UNREACHABLE, says="path of a socket")
    # A socket that a daemon left behind.
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(folder("dead.sock"))
    Tool(folder("dead.sock"))("status", status=UNREACHABLE, says="nobody listens")
    nobody("health", status=3, says="UNKNOWN: ")
    same(nobody.result("health", status=3)["state"], "unknown", "state")
    # These need none.
    nobody("explain", "c204", says="[C204]")
    nobody("explain", says="C101")
    nobody("explain", "stor-gone", status=USAGE, says="did you mean store-gone?")
    nobody("--help", says="lun create")
    nobody("--version", says="terracectl ")
    same(nobody("complete", "--", "lun", "").out.split(), ["list", "create", "delete", "set",
                                                             "resize"], "completion")
    same(nobody("complete", "--", "lun", "delete", "").out, "", "completion without a daemon")


def usage():
    tool = Tool("/nonexistent/control.sock")
    wrong = [
        ([], "--help"), (["statsu"], 'did you mean "status"?'), (["lun", "creat"], "lun create"),
        (["--colour", "status"], "--colour"), (["lun", "create"], "NAME is missing"),
        (["lun", "create", "a"], "--store STORE, or --vg"),
        (["lun", "create", "a", "b"], "one word too many: b"),
        (["lun", "create", "a", "--store"], "--store needs a value"),
        (["lun", "create", "a", "--store", "x", "--store", "y"], "--store is given twice"),
        (["lun", "create", "a", "--stoer", "x"], "did you mean --store?"),
        (["lun", "create", "a", "--set", "x"], "KEY=VALUE"),
        (["lun", "create", "a", "--set", "x=1", "--set", "x=2"], "twice"),
        (["lun", "create", "a", "--number", "-1"], "whole number"),
        (["lun", "create", "a", "--read-only=yes"], "takes no value"),
        (["lun", "list", "--dry-run"], "no option --dry-run"),
        (["lun", "set", "a", "size"], "VALUE is missing"),
        (["lun", "set", "a", "size", "1", "--default"], "exclude"),
        (["lun", "create", b"\xff", "--store", "x"], "UTF-8"),
        (["chap", "create", "a", "--secret", "x"], "--secret-file"),
        (["chap", "create", "a", "--secret=x"], "every user"),
        (["chap", "create", "a", "--secret-file", "-"], "either --target IQN or --discovery"),
        (["chap", "set", "a", "secret", "abc"], "every user"),
        (["connect", "--os", "beos"], "linux, windows or esxi"),
        (["iostat", "0"], "at least 1"),
    ]
    for words, part in wrong:
        r = tool(*words, status=USAGE, says=part)
        same(r.out, "", f"output of {words}")
    # Nothing that was typed controls the terminal of who reads it.
    check("\033" not in tool("lun\033[31m", status=USAGE).err, "an escape sequence")


def changes():
    fake = FakeDaemon({"lun.create": CHANGED})
    tool = Tool(fake.path)
    words = ["lun", "create", "vm1", "--store", "ram:", "--size", "1GiB", "--set", "serial=7",
             "--set", "alias=a=b", "--to", "*esx*", "--number", "3", "--read-only"]
    r = tool(*words, says=["+ lun vm1", "store ram:", "~ group esx of iqn.2026-11.example:san",
                           "a → a b", "Done."])
    same(fake.asked[-1], ("lun.create", {
        "name": "vm1", "store": "ram:", "size": "1GiB", "to": "*esx*", "number": 3,
        "read_only": True, "options": {"serial": "7", "alias": "a=b"}}), "request")
    check("\033" not in r.out, "colours without a terminal")
    same(tool.result(*words, "--yes", "--dry-run", "--runtime"), CHANGED, "result")
    same([fake.asked[-1][1][k] for k in ("yes", "dry_run", "runtime")], [True] * 3, "flags")
    fake.answers["lun.create"] = {**CHANGED, "applied": False}
    tool(*words, "--dry-run", says="Nothing was changed")
    fake.answers["lun.create"] = {**CHANGED, "remarks": ["a secret of 17 bytes"]}
    tool(*words, status=REMARKS, says="remark: a secret of 17 bytes")
    fake.answers["lun.create"] = {**CHANGED, "restart": ["loops"]}
    tool(*words, "--json", status=REMARKS)
    for verb, method, params in [
            (["lun", "set", "a", "alias", "x"], "lun.set", {"name": "a", "key": "alias",
                                                              "value": "x"}),
            (["lun", "set", "a", "list", "x", "y"], "lun.set", {"name": "a", "key": "list",
                                                                "value": ["x", "y"]}),
            (["lun", "set", "a", "alias", "--default"], "lun.set", {"name": "a", "key": "alias",
                                                                     "value": None}),
            (["group", "create", "g", "--target", "t", "--initiator", "!a", "--initiator=*"],
             "group.create", {"name": "g", "target": "t", "initiators": ["!a", "*"]}),
            (["group", "map", "g", "--", "-odd"], "group.map", {"group": "g", "lun": "-odd"}),
            (["session", "drop", "7", "--yes"], "session.drop", {"tsih": 7, "yes": True}),
            (["reload"], "reload", {}), (["config", "--diff"], "config.diff", {})]:
        fake.answers[method] = CHANGED
        tool(*verb)
        same(fake.asked[-1], (method, params), f"request of {verb}")


def errors():
    fake = FakeDaemon({})
    tool = Tool(fake.path)

    def says(error, status, parts):
        fake.answers["lun.delete"] = error
        tool("lun", "delete", "vm1", status=status, says=parts)
        answer = tool("lun", "delete", "vm1", "--json", status=status).json()["error"]
        same(answer["code"], error.error["code"], "code")
        return answer

    says(Error(-32000, "no space"), FAILED, "terracectl: no space")
    says(Error(-32001, "vm1 is in use", AFFECTED), REFUSED,
         ["vm1 is in use", "session 7 of iqn.1998-01.com.vmware:esx1 (192.0.2.7:40000): loses LUN "
          "vm1", "Nothing was changed. With --yes"])
    says(Error(-32002, "root changes something (reload) since 2 s"), FAILED, "since 2 s")
    says(Error(-32003, "join group terrace"), FAILED, "join group terrace")
    says(Error(-32602, "no such key"), USAGE, "no such key")
    says(Error(-32601, "no such method"), FAILED, "older")
    says(Error(-32006, "2 errors", [
        {"file": "/etc/terrace/terrace.conf", "line": 3, "column": 7, "text": "unknown key \033[1m"},
        {"file": "b", "line": 1, "column": 1, "text": "x"}]), FAILED,
        ["/etc/terrace/terrace.conf:3:7: unknown key ?[1m", "b:1:1: x"])
    fake.answers["config.check"] = {"ok": True, "errors_total": 0, "errors": []}
    tool("check", says="no errors")
    found = [{"file": "a", "line": 1, "column": 2, "text": "long", "remark": True}]
    fake.answers["config.check"] = {"ok": True, "errors_total": 0, "errors": found}
    tool("check", status=REMARKS, says=["remark: a:1:2: long", "no errors"])
    found.append({"file": "b", "line": 3, "column": 4, "text": "wrong", "remark": False})
    fake.answers["config.check"] = {"ok": False, "errors_total": 5, "errors": found}
    tool("check", status=FAILED, says=["b:3:4: wrong", "5 errors in all"])
    tool("check", "--json", status=FAILED)


def questions():
    fake = FakeDaemon({"lun.delete": lambda p: CHANGED if p.get("yes") else
                       Error(-32001, "vm1 is in use", AFFECTED)})
    tool = Tool(fake.path)
    said = Terminal(tool, "lun", "delete", "vm1").expect("[y/N]").type("y\n").end(DONE)
    check("session 7 of" in said and "Done." in said, said)
    said = Terminal(tool, "lun", "delete", "vm1").expect("[y/N]").type("n\n").end(REFUSED)
    check("Nothing was changed" in said, said)
    Terminal(tool, "lun", "delete", "vm1").expect("[y/N]").type("\n").end(REFUSED)
    same(sum(1 for _, p in fake.asked if p.get("yes")), 1, "orders with yes")
    check("[y/N]" not in Terminal(tool, "lun", "delete", "vm1", "--yes").end(DONE), "no question")
    check("[y/N]" not in Terminal(tool, "lun", "delete", "vm1", "--json").end(REFUSED), "JSON")


def secrets():
    folder = Folder()
    fake = FakeDaemon({"chap.create": CHANGED, "chap.set": CHANGED})
    tool = Tool(fake.path)
    create = ["chap", "create", "esx", "--target", "iqn.2026-11.example:san"]
    tool(*create, status=USAGE, says="--secret-file")
    path = folder.write("secret", "twelve bytes\nmore\n")
    r = tool(*create, "--secret-file", path)
    same(fake.asked[-1][1]["secret"], "twelve bytes", "secret of a file")
    check("twelve" not in r.out + r.err, "a secret was printed")
    tool(*create, "--secret-file", "-", stdin="from a pipe\n")
    same(fake.asked[-1][1]["secret"], "from a pipe", "secret of standard input")
    tool(*create, "--secret-file", "-", "--mutual-user", "san", "--mutual-secret-file", "-",
         stdin="one of two\r\nthe other")
    same([fake.asked[-1][1][k] for k in ("secret", "mutual_secret")], ["one of two", "the other"],
         "two lines")
    os.chmod(path, 0o604)
    tool(*create, "--secret-file", path, status=FAILED, says="chmod 0600")
    tool(*create, "--secret-file", folder("none"), status=FAILED, says="none")
    tool(*create, "--secret-file", folder.write("empty", "\n"), status=FAILED, says="1 to 1024")
    tool(*create, "--secret-file", folder.write("long", "x" * 5000), status=FAILED)
    tool(*create, "--secret-file", folder.write("null", "a\0b\n"), status=FAILED)
    asked = len(fake.asked)
    t = Terminal(tool, *create, "--mutual-user", "san")
    t.expect("secret: ").type("typed blind!\n").expect("once more: ").type("typed blind!\n")
    t.expect("secret of the target: ").type("the other one\n")
    said = t.expect("once more: ").type("the other one\n").end(DONE)
    check("blind" not in said and "other one" not in said, f"echoed: {said}")
    same(fake.asked[asked][1], {"name": "esx", "target": "iqn.2026-11.example:san",
                                "secret": "typed blind!", "mutual_user": "san",
                                "mutual_secret": "the other one"}, "secrets that were typed")
    asked = len(fake.asked)
    t = Terminal(tool, "chap", "set", "esx", "secret")
    t.expect("secret: ").type("one\n").expect("once more: ").type("two\n")
    check("aren't the same" in t.end(FAILED), "different ones")
    t = Terminal(tool, "chap", "set", "esx", "secret")
    t.expect("secret: ").type("abc\003\n").end(FAILED)
    same(len(fake.asked), asked, "requests")
    tool("chap", "set", "esx", "user", "anna")
    same(fake.asked[-1][1], {"name": "esx", "key": "user", "value": "anna"}, "another key")


def colours():
    answer = {"state": "failed", "conditions": [
        {"code": "C204", "severity": "failed", "sentence": "store of vm1 is gone\033[2J",
         "effect": "it waits", "action": "bring it back", "object": "vm1"}], "luns": [],
        "sessions": [], "version": "1.0", "uptime_s": 12 * 86400 + 5}
    answer["host"] = "san1.example"
    fake = FakeDaemon({"status": answer, "group.list": [], "target.list": [], "lun.stats": [], "portal.list": [],
                       "health": answer})
    tool = Tool(fake.path)
    said = Terminal(tool, "status").end()
    check("san1: \033[1;31mFAILED\033[0m, 1 condition" in said, said)
    check("terrace 1.0, up 12 d" in said and "see: terracectl explain C204" in said and "\033[2J" not in said, said)
    check("running 1.0, installed " in said and "systemctl restart terraced" in said, said)
    check("portal create san --listen " in said and "lun create vm1" in said, said)
    check("\033" not in Terminal(tool, "status", NO_COLOR="1").end(), "NO_COLOR")
    check("\033" not in Terminal(tool, "status", TERM="dumb").end(), "a dumb terminal")
    check("\033" in Terminal(tool, "status", NO_COLOR="").end(), "an empty NO_COLOR")
    check("\033" not in tool("status").out, "a pipe")
    tool("health", status=2, says="FAILED: store of vm1 is gone?[2J [C204]")
    for state, status in (("ok", 0), ("degraded", 1), ("failed", 2), ("what", 3)):
        fake.answers["health"] = {"state": state, "conditions": []}
        r = tool("health", status=status)
        same(r.out, state.upper() + "\n", "line of health")
    fake.answers["health"] = Error(-32003, "join group terrace-ro")
    tool("health", status=3, says="UNKNOWN: join group terrace-ro")


def rubbish():
    """Whatever a daemon answers, the tool ends, says so, and with a status of its own."""
    fake = FakeDaemon({})
    tool = Tool(fake.path)
    for said in [b"", b"\n", b"{", b"{}\n", b"[]\n", b"nonsense\n", b'{"result":1}', b"\0\n",
                 b'{"jsonrpc":"2.0","id":99,"result":[]}\n', b'{"error":7}\n',
                 b'{"jsonrpc":"2.0","id":1,"error":{}}\n']:
        fake.answers["lun.list"] = said
        tool("lun", status=UNREACHABLE)
        tool("lun", "--json", status=UNREACHABLE).json()
    # Answers of other shapes than ours are no reason to end badly.
    for said in [None, 1, "a", [], {}, [None], [1, "a", [], {}], {"luns": 3, "conditions": [7]},
                 {"events": [[]], "changes": [1], "sessions": [2], "remarks": 5}]:
        for method in ("status", "group.list", "lun.list", "target.list", "portal.list",
                       "chap.list", "session.list", "events", "history", "refused", "connect",
                       "config.effective", "config.diff", "config.check", "log-level.get",
                       "reload", "cache.list", "lun.stats"):
            fake.answers[method] = said
        for words in (["lun"], ["target"], ["portal"], ["group"], ["chap"], ["session"], ["tree"],
                      ["events"], ["history"], ["refused"], ["connect"], ["config"],
                      ["config", "--diff"], ["check"], ["log-level"], ["reload"]):
            tool(*words)
    # A large answer comes whole.
    fake.answers["lun.list"] = [{"name": f"lun{i}", "size_bytes": 1 << 40, "state": "ok",
                                 "mode": "writethrough", "store": "file:/" + "x" * 300}
                                for i in range(20000)]
    same(len(tool("lun").out.splitlines()), 20001, "lines")


def follows():
    events = [{"id": i, "time": 1000000000 + i, "event": "login", "object": "", "text": f"event {i}"}
              for i in range(1, 6)]

    def answer(params):
        since = params.get("since", 0)
        if since >= 5 and params.get("wait_ms"):
            time.sleep(0.2)
        found = [e for e in events if e["id"] > since][:2]
        return {"events": found, "next": found[-1]["id"] if found else since, "lost": 0}

    fake = FakeDaemon({"events": answer})
    tool = Tool(fake.path)
    r = tool("events", "--limit", "2", says=["login", "event 1"])
    same(len(r.out.splitlines()), 2, "lines")
    t = Terminal(tool, "events", "--follow").expect("event 5")
    same([int(m) for m in re.findall(r"event (\d)", t.text)], [1, 2, 3, 4, 5], "events")
    t.type("\003")
    t.end(-signal.SIGINT)
    t = Terminal(tool, "events", "--follow", "--json").expect('"event 5"')
    for line in t.text.splitlines()[:5]:
        same(json.loads(line)["schema"], 1, "schema of an event")
    t.type("\003")
    t.end(-signal.SIGINT)


def completes():
    fake = FakeDaemon({"lun.list": [{"name": "vm1"}, {"name": "vm2"}, {"name": "other"}],
                       "target.list": [{"name": "iqn.2026-11.example:san"}],
                       "session.list": [{"tsih": 7}]})
    tool = Tool(env={"TERRACE_CONTROL": fake.path})

    def offers(words, expected):
        same(tool("complete", "--", *words).out.split(), expected, f"candidates for {words}")

    offers(["lun", "delete", "v"], ["vm1", "vm2"])
    offers(["lun", "delete", "vm1", ""], [])
    offers(["group", "create", "g", "--target", "iqn"], ["iqn.2026-11.example:san"])
    offers(["--json", "session", "drop", ""], ["7"])
    offers(["lun", "delete", "--d"], ["--discard", "--dry-run"])
    offers(["connect", "--os", "l"], ["linux"])
    offers(["expl"], ["explain"])
    offers(["explain", "C20"], ["C201", "C202", "C204", "C205", "C206", "C207", "C208"])
    offers(["no", "such", "verb"], [])
    tool.env = {}
    offers(["--control", fake.path, "lun", "delete", "o"], ["other"])
    offers(["lun", "delete", "--control", fake.path, "o"], ["other"])


def main():
    for scene in (no_daemon, usage, changes, errors, questions, secrets, colours, rubbish, follows,
                  completes):
        print(scene.__name__, flush=True)
        scene()


run(main)
