# SPDX-License-Identifier: BSD-2-Clause
"""A headless Chromium, told what to do over its debugging socket (WebSocket, RFC 6455)."""
import base64
import json
import os
import shutil
import socket
import struct
import subprocess
import time
import urllib.request

from terraced import Failed, Folder, Skipped, check, wait_until

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


class Browser:
    """Use as a context: it ends with it."""

    def __init__(self):
        program = next((p for p in map(shutil.which, PROGRAMS) if p), None)
        if program is None:
            raise Skipped("chromium is not installed")
        self.folder = Folder()
        port_file = self.folder("DevToolsActivePort")
        self.process = subprocess.Popen(
            [program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
             "--hide-scrollbars", "--no-first-run", "--disable-background-networking",
             "--remote-debugging-port=0", f"--user-data-dir={self.folder.path}", "about:blank"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.id, self.events = 0, []
        try:
            wait_until(lambda: os.path.exists(port_file) and open(port_file, encoding="ascii").read().count("\n"),
                       "chromium starts", 40)
            with open(port_file, encoding="ascii") as f:
                port = int(f.readline())
            pages = wait_until(lambda: [p for p in self.pages(port) if p["type"] == "page"], "a page", 20)
            self.connect(port, pages[0]["webSocketDebuggerUrl"].split(str(port), 1)[1])
        except Failed:
            self.close()
            raise

    @staticmethod
    def pages(port):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=5) as f:
                return json.load(f)
        except OSError:
            return []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.process.kill()
        self.process.wait()

    # ---- WebSocket ----

    def connect(self, port, path):
        self.socket = socket.create_connection(("127.0.0.1", port), 20)
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall((f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
                             f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
                             "Sec-WebSocket-Version: 13\r\n\r\n").encode())
        self.file = self.socket.makefile("rb")
        check(b" 101 " in self.file.readline(), "no WebSocket")
        while self.file.readline().strip():
            pass

    def send(self, message):
        data, mask = json.dumps(message).encode(), os.urandom(4)
        length = len(data)
        head = (struct.pack(">BB", 0x81, 0x80 | length) if length < 126 else
                struct.pack(">BBH", 0x81, 0x80 | 126, length) if length < 65536 else
                struct.pack(">BBQ", 0x81, 0x80 | 127, length))
        self.socket.sendall(head + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(data)))

    def receive(self):
        data = b""
        while True:
            first, length = self.file.read(2)
            length &= 0x7f
            if length == 126:
                length = struct.unpack(">H", self.file.read(2))[0]
            elif length == 127:
                length = struct.unpack(">Q", self.file.read(8))[0]
            data += self.file.read(length)
            if first & 0x80:
                return json.loads(data)

    # ---- what it is told ----

    def call(self, method, **params):
        self.id += 1
        self.send({"id": self.id, "method": method, "params": params})
        while True:
            message = self.receive()
            if message.get("id") != self.id:
                self.events.append(message)
                continue
            check("result" in message, f"{method}: {message}")
            return message["result"]

    def evaluate(self, expression):
        said = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        check("exceptionDetails" not in said, f"{expression}: {said}")
        return said["result"].get("value")

    def open(self, url, width, height):
        """Of a screen of this size; waits until all is there."""
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1,
                  mobile=width < 600)
        self.call("Page.navigate", url=url)
        wait_until(lambda: self.evaluate("document.readyState") == "complete" and
                   self.evaluate("location.href") == url, f"{url} is loaded", 20)

    def problems(self):
        """What the browser complained of: errors of scripts, what a policy forbade, what didn't load."""
        found = []
        for e in self.events:
            if e.get("method") == "Log.entryAdded" and e["params"]["entry"]["level"] == "error":
                found.append(e["params"]["entry"]["text"])
            elif e.get("method") == "Runtime.exceptionThrown":
                found.append(str(e["params"]["exceptionDetails"]))
        return found

    def requested(self):
        return [e["params"]["request"]["url"] for e in self.events
                if e.get("method") == "Network.requestWillBeSent"]

    def screenshot(self):
        return base64.b64decode(self.call("Page.captureScreenshot", format="png",
                                          captureBeyondViewport=True)["data"])

    def settle(self, seconds):
        """Lets it work, and takes what it tells meanwhile."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.evaluate("1")
            time.sleep(0.1)
