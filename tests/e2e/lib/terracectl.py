# SPDX-License-Identifier: BSD-2-Clause
"""
terracectl of the build: run, run on a terminal, and a daemon that only says what a test has written
down, for answers that a real one gives rarely.
"""

import json
import os
import pty
import select
import signal
import socket
import subprocess
import threading
import time

from terraced import PROGRAM, Failed, Folder, check, same

TOOL = os.environ.get("TERRACECTL", os.path.join(os.path.dirname(PROGRAM), "terracectl"))
DONE, FAILED, USAGE, REMARKS, UNREACHABLE, REFUSED = range(6)


def environment(extra=None):
    """Of a person without settings: no socket is named, no terminal."""
    env = {k: v for k, v in os.environ.items() if k not in ("TERRACE_CONTROL", "NO_COLOR", "TERM")}
    env["LC_ALL"] = "C.UTF-8"
    env.update(extra or {})
    return env


class Result:
    def __init__(self, words, status, out, err):
        self.words, self.status, self.out, self.err = words, status, out, err

    def __str__(self):
        return f"terracectl {' '.join(map(str, self.words))}: {self.status}\n{self.out}{self.err}"

    def json(self):
        answer = json.loads(self.out)
        same(answer["schema"], 1, "schema")
        return answer


class Tool:
    """terracectl with one control socket."""

    def __init__(self, control=None, env=None):
        self.control, self.env = control, env or {}

    def command(self, words):
        return [TOOL, *(["--control", self.control] if self.control else []), *words]

    def __call__(self, *words, status=DONE, says=(), stdin=None, timeout=60, **env):
        """Runs it; the exit status and what it says (on either output) are checked."""
        p = subprocess.run(self.command(words), input=stdin, capture_output=True, text=True,
                           env=environment({**self.env, **env}), timeout=timeout, check=False,
                           stdin=None if stdin is not None else subprocess.DEVNULL)
        r = Result(words, p.returncode, p.stdout, p.stderr)
        if status is not None and r.status != status:
            raise Failed(f"expected status {status}: {r}")
        for part in [says] if isinstance(says, str) else says:
            check(part in r.out + r.err, f"{part!r} isn't in {r}")
        check("runtime error" not in r.err and "Sanitizer" not in r.err, str(r))
        return r

    def result(self, *words, **more):
        """The result of --json."""
        return self(*words, "--json", **more).json()["result"]


class Terminal:
    """terracectl on a terminal of its own."""

    def __init__(self, tool, *words, **env):
        self.text, self.words, self.at = "", words, 0
        pid, self.fd = pty.fork()
        if pid == 0:
            command = tool.command(words)
            try:
                os.execve(command[0], command, environment({"TERM": "xterm", **tool.env, **env}))
            finally:
                os._exit(127)
        self.pid = pid

    def more(self, until):
        """Reads what comes; False at its end. At the time `until` it is taken for hanging."""
        ready, _, _ = select.select([self.fd], [], [], max(0, until - time.monotonic()))
        if not ready:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            raise Failed(f"terracectl {' '.join(self.words)} waits: {self.text!r}")
        try:
            data = os.read(self.fd, 65536)
        except OSError:  # the other side is gone
            return False
        self.text += data.decode("utf-8", "replace")
        return bool(data)

    def expect(self, part, seconds=30):
        """Waits for it, after what was expected before."""
        until = time.monotonic() + seconds
        while part not in self.text[self.at:]:
            if not self.more(until) and part not in self.text[self.at:]:
                raise Failed(f"terracectl {' '.join(self.words)} doesn't say {part!r}: {self.text!r}")
        self.at = self.text.index(part, self.at) + len(part)
        return self

    def type(self, text):
        os.write(self.fd, text.encode())
        return self

    def end(self, status=DONE):
        until = time.monotonic() + 30
        while self.more(until):
            pass
        _, how = os.waitpid(self.pid, 0)
        os.close(self.fd)
        same(os.waitstatus_to_exitcode(how), status,
             f"status of {' '.join(self.words)}: {self.text!r}")
        return self.text


class FakeDaemon:
    """
    Answers method → what is in `answers`: a result, or an Error, or a function of the parameters.
    What was asked is in `asked`.
    """

    class Error(Exception):
        def __init__(self, code, message, data=None):
            super().__init__(message)
            self.error = {"code": code, "message": message}
            if data is not None:
                self.error["data"] = data

    def __init__(self, answers):
        self.answers, self.asked = answers, []
        self.path = Folder()("control.sock")
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(self.path)
        self.socket.listen(8)
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            client, _ = self.socket.accept()
            threading.Thread(target=self.client, args=(client,), daemon=True).start()

    def client(self, client):
        try:
            self.answer(client)
        except OSError:
            pass  # the tool has ended

    def answer(self, client):
        with client, client.makefile("rw", encoding="utf-8", newline="\n") as f:
            for line in f:
                request = json.loads(line)
                self.asked.append((request["method"], request["params"]))
                answer = {"jsonrpc": "2.0", "id": request["id"]}
                said = self.answers.get(request["method"],
                                        self.Error(-32601, "no such method"))
                if callable(said):
                    said = said(request["params"])
                if isinstance(said, self.Error):
                    answer["error"] = said.error
                elif isinstance(said, bytes):
                    client.sendall(said)
                    return
                else:
                    answer["result"] = said
                f.write(json.dumps(answer) + "\n")
                f.flush()
