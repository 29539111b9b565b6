#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
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
from iscsi import INITIATOR, Refused, Session  # noqa: E402
from terraced import ROOT, TARGET, Daemon, check, run, same, wait_until  # noqa: E402

TYPES = {"text": (str,), "integer": (int,), "real": (float, int, type(None)), "boolean": (bool,),
         "list": (list,), "object": (dict,), "any": (str, int, type(None))}
# Fields that hold lists and objects described under another heading.
INNER = {("cache.stats", "curve"): "point", ("cache.stats", "ssd_curve"): "point",
         ("lun.dirty", "ranges"): "range", ("cache.segments", "segments"): "segment",
         ("status", "luns"): "lun.list", ("status", "sessions"): "session.list",
         ("status", "loops"): "loop.list", ("status", "conditions"): "conditions",
         ("health", "conditions"): "conditions", ("events", "events"): "event",
         ("lun.list", "stats"): "stats", ("lun.list", "rates"): "rates",
         ("target.list", "luns"): "mapping", ("group.list", "luns"): "mapping",
         ("methods", "params"): "params", ("config.check", "errors"): "errors",
         ("config.diff", "changes"): "changes", ("config.diff", "sessions"): "affected",
         ("changes", "keys"): "keys",
         ("overview", "luns"): "lun.stats", ("overview", "caches"): "cache.list",
         ("overview", "sessions"): "session.list",
         ("srp.login_strings", "logins"): "srp.login", ("overview", "loops"): "loop.list",
         ("overview", "conditions"): "conditions", ("lun.stats", "windows"): "window",
         ("lun.stats", "counters"): "counters", ("lun.stats", "tiers"): "tier",
         ("lun.stats", "read_latency"): "percentiles",
         ("lun.stats", "write_latency"): "percentiles", ("window", "read_latency"): "percentiles",
         ("window", "write_latency"): "percentiles", ("lun.latency", "seconds"): "slots",
         ("lun.latency", "minutes"): "slots", ("cache.list", "resize"): "resize"}
LATENCIES = {"read_latency_us", "write_latency_us"}
# Fields that not every object of the kind has.
OPTIONAL = {"cache.stats": {"ram_" + k for k in ("bytes", "data_bytes", "used_bytes", "hits", "misses",
                                                  "fills", "evicted", "ahead", "ahead_wasted")},
            "lun.list": {"dirty_bytes", "cached_bytes", "cache_reads", "cache_hits",
                         "marker_is_local", "frozen"},
            "event": {"code", "severity", "data"}, "config.effective": {"target"}, "changes": {"target"},
            "stats": LATENCIES,
            "lun.stats": {"time", "in_flight", "windows", "read_latency", "write_latency", "counters",
                          "tiers", "dirty_bytes", "cached_bytes", "destaged_bytes"},
            "cache.list": {"resize"},
            "window": {"read_latency", "write_latency"}, "lun.heatmap": {"cached", "dirty"}}
# Lists that have nothing to tell here: nobody ordered anything.
EMPTY = {"history"}
CONFIG = """
cache fast {{ ssd "{{dir}}/ssd" ; size 64MiB }}
lun memory {{ store ram: ; size 64MiB ; mode volatile }}
lun nothing {{ store null: ; size 1GiB }}
lun odd {{ store "file:{{dir}}/disk\u00e4.img" ; size 16MiB ; cache fast }}
portal p {{ listen 127.0.0.1:{{port}} }}
portal rdma {{ listen 127.0.0.1:5000; protocol srp }}
discovery {{ chap look {{ secret "longer-than-it-looks" }} }}
target {target} {{
    portals p rdma
    chap c {{ user mia ; secret "a-secret-of-mia" }}
    group hosts {{ initiators {hosts}* ; lun 0 memory ; lun 1 nothing ; lun 2 odd read_only }}
    group locked {{ initiators iqn.2026-11.example.locked:* ; user c ; lun 0 nothing }}
}}
"""


MODIFYING = re.compile(r"^\.Sh METHODS THAT CHANGE SOMETHING\n(.*?)^\.Sh ", re.M | re.S)
COMMON = {"dry_run", "yes", "runtime"}


def documented_changes():
    """Method → its own parameters: {name: (type, required)}."""
    with open(os.path.join(ROOT, "man/terrace-control.7"), encoding="utf-8") as f:
        text = MODIFYING.search(f.read()).group(1)
    found = {}
    for name, body in re.findall(r"^\.It Ic (\S+)\n(.*?)(?=^\.It Ic |\Z)", text, re.M | re.S):
        found[name] = {p: (kind, not optional) for p, kind, optional in re.findall(
            r"^\.It Fa (\w+) Pq Vt (\w+)( , optional)?$", body, re.M)}
    return found


def documented():
    """Heading → {field: type}, and the error codes."""
    with open(os.path.join(ROOT, "man/terrace-control.7"), encoding="utf-8") as f:
        text = f.read()
    fields = {}
    text = text.replace(MODIFYING.search(text).group(1), "")
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

    def call(self, method, **params):
        self.id += 1
        answer = self.raw(json.dumps({"jsonrpc": "2.0", "method": method, "id": self.id,
                                      "params": params}))
        same(answer["id"], self.id, "id")
        check("result" in answer, f"{method}: {answer}")
        return answer["result"]


def compare(what, value, fields):
    """An object, or each of a list, has exactly the documented fields."""
    for each in value if isinstance(value, list) else [value]:
        optional = OPTIONAL.get(what, set())
        same(sorted(set(each) - optional), sorted(set(fields[what]) - optional),
             f"fields of {what}")
        for name, kind in fields[what].items():
            if name in optional and name not in each:
                continue
            got = each[name]
            check(type(got) in TYPES[kind], f"{what}: {name} is {got!r}, documented as {kind}")
            if (what, name) in INNER:
                compare(INNER[what, name], got, fields)


def changes(client, daemon, fields):
    """What orders take and answer; nothing is changed but what is logged."""
    pages = documented_changes()
    methods = {m["name"]: m for m in client.call("methods") if m["changes"]}
    same(sorted(pages), sorted(methods), "documented methods that change something")
    for name, m in methods.items():
        same(pages[name], {p["name"]: (p["type"], p["required"]) for p in m["params"]
                           if p["name"] not in COMMON}, f"parameters of {name}")
    session = client.call("session.list")[0]
    for answer in (client.call("lun.create", name="new", store="ram:", size="16MiB", to="*:x",
                               dry_run=True),
                   client.call("session.drop", tsih=session["tsih"], dry_run=True)):
        check(answer["changes"] or answer["sessions"], f"nothing would change: {answer}")
        compare("config.diff", answer, fields)
    compare("cache.stats", client.call("cache.stats", name="fast"), fields)
    compare("lun.reservations", client.call("lun.reservations", lun="memory"), fields)
    compare("lun.dirty", client.call("lun.dirty", lun="odd"), fields)
    compare("cache.segments", client.call("cache.segments", name="fast"), fields)
    compare("log-level.get", client.call("log-level.set", level="info"), fields)
    refused = client.raw(json.dumps({"jsonrpc": "2.0", "method": "session.drop", "id": 1,
                                     "params": {"tsih": session["tsih"]}}))["error"]
    same(refused["code"], -32001, "code without yes")
    compare("affected", refused["data"]["sessions"], fields)
    with open(daemon.config, encoding="utf-8") as f:
        text = f.read()
    daemon.folder.write("terrace.conf", text + "portl x { listen 127.0.0.1 }\n")
    compare("config.check", client.call("config.check"), fields)
    wrong = client.raw('{"jsonrpc":"2.0","method":"reload","id":1}')["error"]
    same(wrong["code"], -32006, "code of a configuration with errors")
    compare("errors", wrong["data"], fields)
    daemon.folder.write("terrace.conf", text)


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


def answers(client, daemon, fields):
    """Of every method that only asks and needs nothing said."""
    methods = client.call("methods")
    inner = set(INNER.values()) - {m["name"] for m in methods}
    same(sorted(m["name"] for m in methods if not m["changes"]), sorted(set(fields) - inner),
         "documented methods")
    for m in methods:
        if m["changes"] or any(p["required"] for p in m["params"]):
            continue
        answer = client.call(m["name"])
        check(answer or m["name"] in EMPTY, f"{m['name']}: nothing in the answer")
        compare(m["name"], answer, fields)
    text = json.dumps([client.call(m["name"]) for m in methods
                       if not m["changes"] and not any(p["required"] for p in m["params"])])
    check("a-secret-of" not in text and "longer-than" not in text, "a secret is in an answer")


def statistics(client, fields):
    """What one READ and one WRITE of 4 KiB leave, a second later."""
    lun = wait_until(lambda: [x for x in client.call("lun.stats", lun="memory")
                              if "counters" in x and x["counters"]["writes"]],
                     "the commands are counted")[0]
    compare("lun.stats", lun, fields)
    same([lun["counters"][k] for k in ("reads", "writes", "read_bytes", "write_bytes")],
         [1, 1, 4096, 4096], "counters")
    same([w["window_s"] for w in lun["windows"]], [1, 10, 60], "windows")
    minute = lun["windows"][2]
    for kind in ("read", "write"):
        same(minute[kind + "_latency"], lun[kind + "_latency"], f"{kind} latency of all there was")
        same(minute[kind + "_latency"]["count"], 1, f"{kind}s")
        check(abs(minute[f"{kind}s_per_s"] * minute["seconds"] - 1) < 0.01, f"a {kind}: {minute}")
    heat = client.call("lun.heatmap", lun="memory")
    compare("lun.heatmap", heat, fields)
    same([heat["size_bytes"], heat["part_bytes"], len(heat["reads"]), len(heat["writes"])],
         [64 << 20, 64 << 10, 1024, 1024], "parts")
    for kind in ("reads", "writes"):
        check(0.9 <= heat[kind][0] <= 1 and sum(heat[kind]) == heat[kind][0], f"heat of {kind}")
    for params in ({"lun": "memory"}, {}):
        latency = client.call("lun.latency", **params)
        compare("lun.latency", latency, fields)
        slots = latency["seconds"]
        columns = [v for v in slots.values() if isinstance(v, list)]
        check(all(len(c) == slots["count"] > 0 for c in columns), "columns of different lengths")
        same([sum(x for x in slots[k] if x) for k in ("reads_per_s", "write_bytes_per_s")],
             [1, 4096], "the history")
    overview = client.call("overview")
    same(overview["all"]["counters"]["reads"], 1, "reads of all LUNs")
    answer = client.raw('{"jsonrpc":"2.0","method":"lun.stats","id":1,"params":{"lun":"no"}}')
    same(answer["error"]["code"], -32004, "code without such a LUN")


def main():
    fields, codes = documented()
    daemon = Daemon("--loops", "2", "--unsafe-fs",
                    config=CONFIG.format(target=TARGET, hosts=INITIATOR.rsplit(":", 1)[0])).start()
    path = os.path.join(daemon.state, "control.sock")
    same(oct(stat.S_IMODE(os.stat(path).st_mode)), "0o666" if os.geteuid() == 0 else "0o600",
         "mode of the socket")
    client = Client(path)
    with Session(daemon.port, TARGET) as session:
        session.ready()
        session.write10(0, bytes(4096))
        session.read10(0, 8)
        for name in ("iqn.2026-11.example.stranger:x", "iqn.1998-01.com.vmware:esx1"):
            try:
                Session(daemon.port, TARGET, name=name)
                check(False, f"{name} was let in")
            except Refused:
                pass
        wait_until(lambda: client.call("refused"), "somebody was refused")
        os.rename(daemon.folder("disk\u00e4.img"), daemon.folder("gone"))
        wait_until(lambda: client.call("health")["conditions"], "a store is gone")
        answers(client, daemon, fields)
        changes(client, daemon, fields)
        status = client.call("status")
        same([len(status[k]) for k in ("luns", "sessions", "loops")], [3, 1, 2], "counts")
        stats = status["luns"][0]["stats"]
        same([stats[k] for k in ("reads", "writes", "read_bytes", "write_bytes", "in_flight")],
             [1, 1, 4096, 4096, 0], "counters")
        check(not LATENCIES & set(stats), "latencies are told without being asked for")
        statistics(client, fields)
        stats = client.call("lun.list", latency=True, stats=False)[0]["stats"]
        same(sorted(stats), sorted({*fields["stats"], *LATENCIES}), "all counters")
        same([sum(n for _, n in stats[k]) for k in sorted(LATENCIES)], [1, 1], "commands in the buckets")
        same([lun["sessions"] for lun in status["luns"]], [1, 1, 1], "sessions of LUNs")
        same(status["sessions"][0]["target"], TARGET, "target of the session")
        same(status["sessions"][0]["group"], "hosts", "group of the session")
    errors(client, codes)
    daemon.stop()
    check(not os.path.exists(path), "the socket is gone with the daemon")


run(main)
