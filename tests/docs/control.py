#!/usr/bin/env python3
"""
terrace-control(7) and the control socket say the same: methods, fields of every answer and their
types, error codes, permissions.
"""

import json
import os
import re
import socket
import stat
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../e2e/lib"))
from iscsi import Session  # noqa: E402
from terraced import ROOT, TARGET, Daemon, check, run, same  # noqa: E402

TYPES = {"text": str, "integer": int, "boolean": bool, "list": list, "object": dict}
# Fields that hold lists and objects described under another heading.
INNER = {"luns": "lun.list", "sessions": "session.list", "loops": "loop.list", "stats": "stats",
         "params": "params"}


def documented():
    """Heading → {field: type}, and the error codes."""
    with open(os.path.join(ROOT, "man/terrace-control.7"), encoding="utf-8") as f:
        text = f.read()
    fields = {}
    for heading, body in re.findall(r"^\.Ss (\S+)\n(.*?)(?=^\.S[sh] )", text, re.M | re.S):
        found = re.findall(r"^\.It Fa (\w+) Pq Vt (\w+)$", body, re.M)
        check(found, f"terrace-control(7) has no fields under {heading}")
        fields[heading] = dict(found)
    codes = [int(c) for c in re.findall(r"^\.It (-32\d+) Ta", text, re.M)]
    return fields, codes


class Client:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(20)
        self.socket.connect(path)
        self.file = self.socket.makefile("rw", encoding="utf-8", newline="\n")
        self.id = 0

    def raw(self, line):
        self.file.write(line + "\n")
        self.file.flush()
        return json.loads(self.file.readline())

    def call(self, method):
        self.id += 1
        answer = self.raw(json.dumps({"jsonrpc": "2.0", "method": method, "id": self.id}))
        same(answer["id"], self.id, "id")
        check("result" in answer, f"{method}: {answer}")
        return answer["result"]


def compare(what, value, fields):
    """An object, or each of a list, has exactly the documented fields."""
    for each in value if isinstance(value, list) else [value]:
        same(sorted(each), sorted(fields[what]), f"fields of {what}")
        for name, kind in fields[what].items():
            got = each[name]
            check(type(got) is TYPES[kind], f"{what}: {name} is {got!r}, documented as {kind}")
            if name in INNER:
                compare(INNER[name], got, fields)


def errors(client, codes):
    request = '{"jsonrpc":"2.0","method":"%s","id":1%s}'
    seen = []
    for line in ["{", request % ("none", ""), request % ("version", ',"params":[]'),
                 '{"jsonrpc":"2.0","id":1}', "[]"]:
        answer = client.raw(line)
        same(sorted(answer["error"]), ["code", "message"], "fields of an error")
        seen.append(answer["error"]["code"])
    check(set(seen) <= set(codes), f"codes {seen}, documented: {codes}")
    same(sorted(set(seen)), [-32700, -32602, -32601, -32600], "codes")


def main():
    fields, codes = documented()
    daemon = Daemon("--lun", "ram:64MiB", "--lun", "null:1GiB", "--loops", "2", "--unsafe-fs")
    odd = os.path.join(os.fsencode(daemon.folder.path), b"disk\xff.img")
    daemon.options += ["--lun", odd + b":16MiB"]
    daemon.start()
    path = os.path.join(daemon.state, "control.sock")
    same(oct(stat.S_IMODE(os.stat(path).st_mode)), "0o666" if os.geteuid() == 0 else "0o600",
         "mode of the socket")
    client = Client(path)

    names = [m["name"] for m in client.call("methods")]
    same(sorted(names), sorted(set(fields) - {"stats", "params"}), "documented methods")
    with Session(daemon.port, TARGET) as session:
        session.ready()
        session.write10(0, bytes(4096))
        session.read10(0, 8)
        for name in names:
            answer = client.call(name)
            check(answer, f"{name}: nothing in the answer")
            compare(name, answer, fields)
        status = client.call("status")
        same([len(status[k]) for k in ("luns", "sessions", "loops")], [3, 1, 2], "counts")
        stats = status["luns"][0]["stats"]
        same([stats[k] for k in ("reads", "writes", "read_bytes", "write_bytes", "in_flight")],
             [1, 1, 4096, 4096, 0], "counters")
        check(status["luns"][2]["store"].endswith("disk\ufffd.img"), "a name that isn't UTF-8")
        same(status["sessions"][0]["target"], TARGET, "target of the session")
    errors(client, codes)
    daemon.stop()
    check(not os.path.exists(path), "the socket is gone with the daemon")


run(main)
