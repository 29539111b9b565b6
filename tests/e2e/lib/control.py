# SPDX-License-Identifier: BSD-2-Clause
"""The control socket of a terraced, for tests."""

import json
import os
import socket

from terraced import Failed


class Error(Exception):
    """A request was answered with an error."""

    def __init__(self, error):
        super().__init__(f"{error['code']}: {error['message']}")
        self.code, self.message, self.data = error["code"], error["message"], error.get("data")


class Control:
    """One connection; of a Daemon or a path."""

    def __init__(self, daemon, timeout=30):
        path = daemon if isinstance(daemon, str) else os.path.join(daemon.state, "control.sock")
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(timeout)
        self.socket.connect(path)
        self.lines = self.socket.makefile("r", encoding="utf-8", newline="\n")
        self.id = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.lines.close()
        self.socket.close()

    def send(self, method, **params):
        """Asks; the answer is receive()d later."""
        self.id += 1
        request = {"jsonrpc": "2.0", "method": method, "id": self.id, "params": params}
        self.socket.sendall(json.dumps(request).encode() + b"\n")
        return self.id

    def receive(self):
        line = self.lines.readline()
        if not line:
            raise Failed("the control socket was closed")
        answer = json.loads(line)
        if "error" in answer:
            raise Error(answer["error"])
        return answer["result"]

    def call(self, method, **params):
        self.send(method, **params)
        return self.receive()

    def conditions(self):
        """Code → condition; of several with one code the first."""
        found = {}
        for c in self.call("health")["conditions"]:
            found.setdefault(c["code"], c)
        return found


def started(daemon, timeout=30):
    """Starts it; `control` is a connection to it. Ended by stop()."""
    daemon.start()
    daemon.control = Control(daemon, timeout)
    return daemon


def stop(daemon):
    daemon.control.close()
    daemon.stop()
