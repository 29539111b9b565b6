#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
terrace-web: what it shows of a real target, to tools and to a browser; hostile requests, hostile names,
and a terraced that is away, silent, or talks rubbish. Arguments: names of cases.
"""

import html.parser
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
import xml.etree.ElementTree as ET

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "lib"), os.path.join(HERE, "../unit/report")]
from browser import Browser  # noqa: E402
from control import Control  # noqa: E402
from iscsi import Session  # noqa: E402
from openmetrics import parse  # noqa: E402
from outputs_answers import HOSTILE, history, overview, session  # noqa: E402
from terraced import ROOT, TARGET, Daemon, Failed, Folder, check, run, run_each, same, wait_until  # noqa: E402
from terracectl import FakeDaemon  # noqa: E402

WEB = os.environ["TERRACE_WEB"]
AS_ROOT = ["--user", "root"] if os.geteuid() == 0 else []
ROUTES = ["/", "/live", "/style.css", "/page.js", "/icon.svg", "/metrics", "/healthz", "/stats.json", "/latency.svg",
          "/activity.svg", "/heatmap.svg?lun=lun0"]


class Web:
    """One terrace-web."""

    def __init__(self, control, *options):
        self.process = subprocess.Popen(
            [WEB, "--control", control, "--listen", "127.0.0.1:0", *AS_ROOT, *options],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        line = self.process.stdout.readline()
        m = re.match(r"terrace-web: http://127\.0\.0\.1:(\d+)/$", line)
        check(m, f"terrace-web says {line!r}{self.process.stdout.read() if not m else ''}")
        self.port = int(m.group(1))
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            out, _ = self.process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        if kind is None:
            same([self.process.returncode, out], [0, ""], "the end of terrace-web")

    def raw(self, request, seconds=15):
        """What comes back for these bytes until the connection ends."""
        with socket.create_connection(("127.0.0.1", self.port), seconds) as s:
            try:
                s.sendall(request)
                s.shutdown(socket.SHUT_WR)
            except OSError:
                pass
            data = b""
            try:
                while piece := s.recv(65536):
                    data += piece
            except ConnectionResetError:
                pass
            return data

    def ask(self, path, method="GET", host="localhost", more=""):
        data = self.raw(f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n{more}"
                        "Connection: close\r\n\r\n".encode())
        head, _, body = data.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        check(lines[0].startswith("HTTP/1.1 "), f"{path}: {data[:100]}")
        headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines[1:])}
        return int(lines[0].split()[1]), headers, body.decode()


class Page(html.parser.HTMLParser):
    """What of a page runs, loads or leads somewhere, and its text."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.links, self.words = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        for name, value in attrs:
            check(not name.startswith("on") and name != "style", f"an attribute {name} of {tag}")
            if name in ("href", "src"):
                self.links.append(value)

    def handle_data(self, data):
        self.words.append(data)


# ---- a real target ---------------------------------------------------------------------------------

def case_shows_a_target():
    daemon = Daemon("--lun", "ram:64MiB", "--lun", "null:2TiB", "--unsafe-fs").start()
    with Web(os.path.join(daemon.state, "control.sock")) as web, Session(daemon.port, TARGET) as s:
        s.ready()
        s.write10(0, bytes(4096))
        s.read10(0, 8)
        wait_until(lambda: json.loads(web.ask("/stats.json")[2])["luns"][0].get("counters", {}).get("reads"),
                   "the read is counted")
        types = {"/": "text/html", "/live": "text/html", "/style.css": "text/css", "/page.js": "text/javascript",
                 "/metrics": "application/openmetrics-text; version=1.0.0", "/healthz": "text/plain",
                 "/stats.json": "application/json"}
        for route in ROUTES:
            status, headers, body = web.ask(route)
            same(status, 200, route)
            check(headers["content-type"].startswith(types.get(route, "image/svg+xml")), f"{route}: {headers}")
            check(headers["content-security-policy"].startswith("default-src 'none'"), route)
            same([headers[h] for h in ("x-content-type-options", "cache-control", "x-frame-options")],
                 ["nosniff", "no-store", "DENY"], f"headers of {route}")
            head_status, head, nothing = web.ask(route, "HEAD")
            same([head_status, nothing, head["content-type"]], [200, "", headers["content-type"]], f"HEAD {route}")
            if route.startswith(("/latency", "/activity", "/heatmap")):
                ET.fromstring(body)
        families = parse(web.ask("/metrics")[2])
        samples = {(n, tuple(sorted(v.items()))): x for f in families.values() for n, v, x in f["samples"]}
        same(samples["terrace_lun_commands_total", (("kind", "read"), ("lun", "lun0"))], 1, "reads")
        same(samples["terrace_sessions", ()], 1, "sessions")
        check(web.ask("/healthz")[2].startswith("ok"), "health")
        page = Page(web.ask("/")[2])
        text = " ".join(page.words)
        for wanted in ("lun0", "lun1", "2TiB", TARGET, "iqn.2026-11.example.test:initiator"):
            check(wanted in text, f"no {wanted} on the page")
        check("latency.svg?lun=lun1" in Page(web.ask("/?lun=lun1")[2]).links, "plots of the LUN")
        same([web.ask(p)[0] for p in ("/heatmap.svg?lun=no", "/latency.svg?lun=no", "/heatmap.svg", "/etc/passwd",
                                      "/../etc/passwd", "/latency.svg?lun=a%00b", "/?lun=" + "x" * 1025)],
             [404, 404, 400, 404, 404, 400, 400], "what isn't there")
        daemon.stop()
        time.sleep(1)
        status, _, body = web.ask("/healthz")
        check(status == 503 and "terraced doesn't run" in body, f"{status} {body}")
        same([web.ask(p)[0] for p in ("/", "/live", "/metrics", "/latency.svg", "/style.css")],
             [503, 503, 503, 503, 200], "without terraced")
        check("terraced doesn't run" in " ".join(Page(web.ask("/")[2]).words), "the page says so")
        daemon.start()
        wait_until(lambda: web.ask("/healthz")[0] == 200, "it is back")
        daemon.stop()


def case_map_of_a_cache():
    folder = Folder()
    daemon = Daemon("--lun", folder("a.img") + ":64MiB", "--ssd", folder("ssd") + ":128MiB", "--unsafe-fs").start()
    path = os.path.join(daemon.state, "control.sock")
    with Session(daemon.port, TARGET) as s:
        s.ready()
        for mib in (0, 63):
            for i in range(16):
                s.write10(mib * 2048 + i * 128, bytes([1 + i]) * 65536)
        with Control(path) as control:
            heat = control.call("lun.heatmap", lun="lun0")
        same([heat["part_bytes"], len(heat["cached"]), len(heat["dirty"])], [65536, 1024, 1024], "parts")
        same(heat["cached"], [1.0] * 16 + [0.0] * 992 + [1.0] * 16, "what is on the SSD")
        check(all(0 <= d <= c for c, d in zip(heat["cached"], heat["dirty"])), f"dirty: {heat['dirty']}")
        check(all(w > 0.9 for w in heat["writes"][:16] + heat["writes"][-16:]), f"writes: {heat['writes']}")
    with Web(path) as web:
        status, _, body = web.ask("/heatmap.svg?lun=lun0")
        same(status, 200, "the map")
        check("On the SSD" in body and "Dirty" in body, "the map has the cache")
    daemon.stop()


# ---- hostile requests --------------------------------------------------------------------------------

def case_refuses_other_requests():
    with Web(FakeDaemon({"health": {"state": "ok", "conditions": []}}).path, "--host", "san1.example") as web:
        for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "get"):
            status, headers, _ = web.ask("/healthz", method)
            same([status, headers.get("allow")], [405, "GET, HEAD"], method)
        port = web.port
        for host in ("localhost", f"localhost:{port}", "127.0.0.1", f"127.0.0.1:{port}", "[::1]", f"[::1]:{port}",
                     "192.0.2.7", "LOCALHOST", "localhost.", "san1.example", f"San1.Example:{port}"):
            same(web.ask("/healthz", host=host)[0], 200, f"Host: {host}")
        for host in ("evil.example", f"evil.example:{port}", "127.0.0.1.evil.example", "localhost.evil.example",
                     "san1.example.evil", "localhost:port", "[::1", "[evil]", "a@localhost", "localhost/", "0x7f.1",
                     "x" * 3000, "localhost:999999"):
            status = web.ask("/healthz", host=host)[0]
            check(status in (421, 400), f"Host: {host[:40]}: {status}")
        same(web.ask("/healthz", more="Host: localhost\r\n")[0], 400, "two hosts")
        for more in ("Content-Length: 3\r\n", "Transfer-Encoding: chunked\r\n"):
            check(web.ask("/healthz", more=more)[0] in (413, 400), more)
        for bytes_ in (b"GET /healthz HTTP/1.1\r\n\r\n", b"GET /healthz\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00",
                       b"GET http://evil.example/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
                       b"\0" * 1000, b"\r\n" * 5000, b"GET /" + b"x" * 100000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
                       b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + b"X-A: b\r\n" * 10000 + b"\r\n",
                       b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 100000 + b"\r\n\r\n",
                       b"GET /healthz HTTP/9.9\r\nHost: localhost\r\n\r\n", b"", os.urandom(4096)):
            got = web.raw(bytes_)
            check(got == b"" or re.match(rb"HTTP/1\.[01] [45]\d\d ", got), f"{bytes_[:60]!r}: {got[:80]!r}")
        same(web.ask("/healthz")[0], 200, "it lives")


def case_idle_connections_go():
    with Web(FakeDaemon({"health": {"state": "ok", "conditions": []}}).path, "--connections", "8") as web:
        idle = [socket.create_connection(("127.0.0.1", web.port)) for _ in range(9)]
        for s in idle[::2]:
            s.send(b"GET /healthz HTTP/1.1\r\nHo")

        def served():
            try:
                return web.ask("/healthz")[0] == 200
            except (OSError, Failed):
                return False

        wait_until(served, "those who say nothing go", 25)
        for s in idle:
            s.close()


# ---- hostile names --------------------------------------------------------------------------------------

def case_names_are_text():
    answers = {"overview": overview(HOSTILE), "lun.latency": lambda p: history(p.get("lun", ""), 60),
               "target.list": [{"name": n, "alias": n, "portals": [n], "groups": [n, n], "sessions": 1}
                               for n in HOSTILE]}
    answers["overview"]["sessions"] = [session(n, i) for i, n in enumerate(HOSTILE)]
    with Web(FakeDaemon(answers).path) as web:
        for path in ["/", "/live"] + ["/?" + urllib.parse.urlencode({"lun": n}) for n in HOSTILE if "\ufffe" not in n]:
            status, _, body = web.ask(path)
            same(status, 200, path)
            page = Page(body)
            scripts = [a for t, a in page.elements if t == "script"]
            check(all(s == {"src": "page.js", "defer": None} for s in scripts), f"{path}: {scripts}")
            for link in page.links:
                check(re.match(r"(page\.js|style\.css|(latency|activity|heatmap)\.svg(\?lun=[\w.~%-]+)?|\?|"
                               r"\?lun=[\w.~%-]+#lun|icon\.svg)$", link), f"{path}: link {link!r}")
            check(not {t for t, _ in page.elements} & {"iframe", "object", "embed", "form", "base", "a:href"}, path)
        names = [urllib.parse.parse_qs(link[1:-4])["lun"][0] for link in Page(web.ask("/")[2]).links
                 if link.startswith("?lun=")]
        same(sorted(names), sorted(n for n in HOSTILE), "names come back from links")
        for n in HOSTILE:
            query = urllib.parse.urlencode({"lun": n})
            status, _, body = web.ask("/latency.svg?" + query)
            same(status, 200, f"picture of {n!r}")
            ET.fromstring(body)
        same(web.ask("/latency.svg?lun=%ff%fe")[0], 404, "a name that isn't UTF-8")
        parse(web.ask("/metrics")[2])


# ---- a terraced that doesn't behave ----------------------------------------------------------------------

def case_terraced_is_silent_or_mad():
    state = {"health": {"state": "ok", "conditions": []}}

    def slow(_):
        time.sleep(30)

    with Web(FakeDaemon({"health": slow}).path) as web:
        began = time.monotonic()
        status, _, body = web.ask("/healthz")
        took = time.monotonic() - began
        check(status == 503 and "doesn't answer" in body and took < 6, f"{status} {body} {took}")
        began = time.monotonic()
        same(web.ask("/style.css")[0], 200, "what needs no terraced")
        check(time.monotonic() - began < 2, "the others wait")
    for said in (b"rubbish\n", b"\n", b"[]\n", b'{"jsonrpc":"2.0","id":99,"result":{}}\n',
                 b'{"jsonrpc":"2.0","id":1,"result":' + b"[" * 100000 + b"\n", b"\xff\xfe\n",
                 b'{"id":1,"error":{"code":-32003,"message":"uid 7 isn\'t permitted: join group terrace-ro"}}\n',
                 b'{"id":1,"error":5}\n', b""):
        with Web(FakeDaemon({"health": said}).path) as web:
            status, _, body = web.ask("/healthz")
            check(status in (502, 503) and body.strip(), f"{said[:40]}: {status} {body}")
            if b"permitted" in said:
                check("terrace-ro" in body, body)
    for answer, wanted in ((state["health"], 200), ({"state": "degraded", "conditions": []}, 200),
                           ({"state": "failed", "conditions": []}, 503), ({}, 503), ([], 503), ("ok", 503)):
        with Web(FakeDaemon({"health": answer}).path) as web:
            same(web.ask("/healthz")[0], wanted, f"healthz of {answer}")
    for answer in ({}, [], "x", {"luns": 5, "all": [], "caches": {}, "sessions": "y", "conditions": [1, {}]}):
        with Web(FakeDaemon({"overview": answer, "target.list": answer}).path) as web:
            Page(web.ask("/")[2])
            parse(web.ask("/metrics")[2])


def case_an_answer_is_shared():
    fake = FakeDaemon({"overview": overview(["a"]), "target.list": []})
    with Web(fake.path) as web:
        for _ in range(30):
            same(web.ask("/metrics")[0], 200, "metrics")
        asked = sum(m == "overview" for m, _ in fake.asked)
        check(1 <= asked <= 8, f"terraced was asked {asked} times for 30 requests")


# ---- options ----------------------------------------------------------------------------------------------

def case_options():
    def said(*options):
        done = subprocess.run([WEB, *options], capture_output=True, text=True, timeout=20)
        return done.returncode, done.stdout, done.stderr

    status, out, _ = said("--help")
    same(status, 0, "--help")
    with open(os.path.join(ROOT, "man/terrace-web.8"), encoding="utf-8") as f:
        page = f.read()
    same(sorted(set(re.findall(r"--([a-z]+)", out))), sorted(set(re.findall(r"^\.It Fl Fl ([a-z]+)", page, re.M))),
         "options of terrace-web(8)")
    same(said("--version")[0], 0, "--version")
    for options in (["--listen", "nowhere"], ["--listen", "127.0.0.1:70000"], ["--listen", "[::1:80"],
                    ["--listen", "127.0.0.1:"], ["--host", "a:1"], ["--host", ""], ["--connections", "0"], ["--connections", "9999"],
                    ["--nothing"], ["word"], ["--host", "a"] + ["--host", "b"] * 16):
        status, _, err = said(*options)
        check(status == 2 and err.startswith(("terrace-web", WEB)), f"{options}: {status} {err}")
    same(said("--control", "x" * 200, *AS_ROOT)[0], 1, "a path that is too long")
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        status, _, err = said("--listen", f"127.0.0.1:{s.getsockname()[1]}", *AS_ROOT)
        check(status == 1 and "can't listen" in err, f"{status} {err}")
    if os.geteuid() == 0:
        status, _, err = said("--listen", "127.0.0.1:0", "--user", "no-such-user")
        check(status == 1 and "no user no-such-user" in err, f"{status} {err}")
        with Web(Folder()("none.sock"), "--user", "nobody") as web:
            with open(f"/proc/{web.process.pid}/status", encoding="ascii") as f:
                status = f.read()
            check(re.search(r"^Uid:\s+65534\s+65534\s+65534\s+65534$", status, re.M) and
                  re.search(r"^CapEff:\s+0+$", status, re.M) and "NoNewPrivs:\t1" in status, status)


# ---- a browser ----------------------------------------------------------------------------------------------

def case_browser():
    daemon = Daemon("--lun", "ram:64MiB", "--lun", "null:2TiB", "--unsafe-fs").start()
    with Browser() as browser, Web(os.path.join(daemon.state, "control.sock")) as web, \
            Session(daemon.port, TARGET) as s:
        s.ready()
        for i in range(50):
            s.write10(i * 8, bytes(4096))
            s.read10(i * 8, 8)
        for width, height in ((1280, 900), (390, 844)):
            browser.events.clear()
            browser.open(f"{web.url}/?lun=lun0", width, height)
            before = browser.evaluate("document.querySelector('header .m').textContent")
            wait_until(lambda: browser.evaluate("document.querySelector('header .m').textContent") != before,
                       "the page goes on by itself", 15)
            same(browser.evaluate("document.getElementById('stale').hidden"), True, "the page is fresh")
            same(browser.evaluate("[...document.images].map(i => i.complete && i.naturalWidth > 300)"),
                 [True] * 3, f"pictures at {width}")
            wide = browser.evaluate(
                "[...document.querySelectorAll('body, body *:not(pre)')].filter(e => "
                "e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 80))")
            same(wide, [], f"what is wider than {width}")
            check(browser.evaluate("document.documentElement.scrollWidth") <= width, f"{width}: it scrolls sideways")
            smallest = browser.evaluate(
                "Math.min(...[...document.querySelectorAll('td, th, dd, h2, a, .tile span')].filter("
                "e => e.offsetParent).map(e => parseFloat(getComputedStyle(e).fontSize)))")
            check(smallest >= 12, f"text of {smallest} px at {width}")
            check(len(browser.screenshot()) > 20000, f"an empty picture at {width}")
            wait_until(lambda: browser.evaluate("1") and any("t=" in u for u in browser.requested()),
                       "pictures are drawn anew", 20)
            browser.settle(0.5)
            same(browser.problems(), [], f"what the browser complained of at {width}")
            outside = [u for u in browser.requested() if not u.startswith(web.url + "/")]
            same(outside, [], "requests that go elsewhere")
        daemon.stop()
        wait_until(lambda: "terraced doesn't run" in browser.evaluate("document.body.textContent"),
                   "the page says that terraced is away", 15)
    # Names that would run as a script don't.
    answers = {"overview": overview(HOSTILE + ["<img src=x onerror=document.title='run'>"]), "target.list": [],
               "lun.latency": lambda p: history(p.get("lun", ""), 10)}
    with Browser() as browser, Web(FakeDaemon(answers).path) as web:
        browser.open(f"{web.url}/", 390, 844)
        browser.settle(3)
        check(browser.evaluate("document.title").startswith("Terrace"), "a script of a name ran")
        same(browser.problems(), [], "what the browser complained of")
        check(browser.evaluate("document.documentElement.scrollWidth") <= 390, "it scrolls sideways")


if __name__ == "__main__":
    run(lambda: run_each(globals()))
