# SPDX-License-Identifier: BSD-2-Clause
"""
A machine for a document: a folder in place of /, loopback addresses in place of those of the
documentation (192.0.2.0/24, 2001:db8::/32), free ports, files in place of devices, and back in what is
printed.
"""

import os
import pwd
import re
import socket
import subprocess

from iscsi import Session
from terraced import PROGRAM, Daemon, Failed, Folder, free_ports, wait_until

SIZE = 16 << 20
FOLDERS = "srv|etc|var|run|dev|usr"
ADDRESS = r"192\.0\.2\.(?P<host>\d+)|127\.0\.0\.1|localhost|\[2001:db8::[\da-f]*\]|\[::1\]"
HOST = "san1"  # of the documentation


class Place:
    def __init__(self, target):
        self.ports, self.paths = {}, {}
        self.target = target
        self.daemon, self.sessions = None, []
        self.folder = None
        self.fresh()

    # ---- there and back -----------------------------------------------------------------------------

    def port(self, number):
        if number not in self.ports:
            self.ports[number] = free_ports()[0]
        return self.ports[number]

    def address(self, m):
        """One of ours; to listen on, with the default port where the document has none."""
        text, port = m.group("address"), m.group("port")
        listens = re.search(r"listen [^;{}\n]*$", m.string[:m.start()]) is not None
        if m.group("host"):
            text = f"127.0.2.{m.group('host')}"
        elif "db8" in text:
            text = "[::1]"
        return f"{text}:{self.port(port or '3260')}" if port or listens else text

    def own(self, text):
        """Text of a document, for this machine."""
        text = re.sub(r"\blvm:([\w-]+/[\w-]+)", self.device("lvm:", "/dev/"), text)
        text = re.sub(r"\bblock:(/[\w/.-]+)", self.device("block:", ""), text)
        # A folder in front of it in a word: it is in our folder already.
        text = re.sub(rf"(?<![\w.])/({FOLDERS})/(?!null\b|u?random\b|bin/)",
                      lambda m: f"{self.folder.path}/{m.group(1)}/", text)
        for path in set(re.findall(re.escape(self.folder.path) + r"/dev/[\w./-]+", text)):
            self.create(path, SIZE)
        text = re.sub(r"\b192\.0\.2\.0/", "127.0.2.0/", text)
        return re.sub(rf"(?<![\w.:])(?P<address>{ADDRESS})(?::(?P<port>\d+))?(?![\d.]|/\d+\b)",
                      self.address, text)

    def device(self, kind, front):
        def replace(m):
            path = f"{self.folder.path}{front}{m.group(1)}"
            self.create(path, SIZE)
            self.paths[f"file:{path}"] = kind + m.group(1)
            return f"file:{path}"
        return replace

    def back(self, text):
        """What was printed here, as the document's machine would have printed it."""
        for ours in sorted(self.paths, key=len, reverse=True):
            text = text.replace(ours, self.paths[ours])
        text = text.replace(self.folder.path, "")
        text = re.sub(r"\b127\.0\.2\.(\d+)", r"192.0.2.\1", text)
        for theirs, ours in self.ports.items():
            text = re.sub(rf"\b{ours}\b", theirs, text)
        text = re.sub(rf"\b{re.escape(pwd.getpwuid(os.geteuid()).pw_name)}: ", "root: ", text)
        return re.sub(rf"\b{re.escape(socket.gethostname())}:", f"{HOST}:", text)

    def create(self, path, size):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "ab") as f:
            f.truncate(max(size, os.fstat(f.fileno()).st_size))

    def secrets(self, text):
        """Files of passwords that a configuration or command names, unless the document made them."""
        for path in set(re.findall(re.escape(self.folder.path) + r"/etc/terrace/secrets/[\w.-]+",
                                   text)):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            if not os.path.exists(path):
                with open(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600), "w",
                          encoding="ascii") as f:
                    f.write(f"{os.path.basename(path)}-of-sixteen-bytes"[:16] + "\n")

    # ---- the machine -----------------------------------------------------------------------------------

    def fresh(self):
        """Another machine, with nothing on it."""
        self.stop()
        self.folder = Folder()
        self.paths = {}
        for name in ("srv/terrace", "etc/terrace", "run/terrace", "var/log",
                     "usr/local/sbin", "work", "bin"):
            os.makedirs(self.folder(name))

    def write(self, path, text):
        path = self.own(path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        text = self.own(text)
        self.secrets(text)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text + "\n")
        os.chmod(path, 0o600)

    def control(self):
        return self.folder("run/terrace/control.sock")

    def options(self, words):
        """What a terraced of the document needs here."""
        more = ["--unsafe-fs"]
        if "--state-dir" not in words:
            more += ["--state-dir", self.folder("state")]
        if "--control" not in words:
            more += ["--control", self.control()]
        if "--config" not in words and "--listen" not in words:
            more += ["--listen", f"127.0.0.1:{self.port('3260')}"]
        return more

    def start(self, words):
        """A terraced with these options, in place of the one before; what it printed."""
        self.stop()
        text = " ".join(words)
        self.secrets(text)
        self.daemon = Server(self.folder, [*words, *self.options(words)])
        return self.daemon.start_serving()

    def start_configured(self):
        return self.start(["--config", self.folder("etc/terrace/terrace.conf")])

    def start_usual(self):
        """What a manual page finds: a target with a LUN."""
        self.write("/etc/terrace/terrace.conf", f"""
lun disk0 {{ store file:/srv/disk0.img ; size 16MiB }}
portal san {{ listen 127.0.0.1:3260 }}
target {self.target} {{
    portals san
    group disk0 {{ initiators iqn.2004-10.com.ubuntu:* ; lun 0 disk0 }}
}}""")
        self.start_configured()

    def login(self, name, target, chap=None):
        """An initiator whose session stays until the terraced ends."""
        s = Session(self.port("3260"), target, name=name, chap=chap)
        self.sessions.append(s)
        for lun in s.report_luns():
            s.ready(lun)

    def stop(self):
        for s in self.sessions:
            s.close()
        self.sessions = []
        if self.daemon is not None:
            daemon, self.daemon = self.daemon, None
            daemon.stop()


class Server(Daemon):
    """A terraced with the options of a document."""

    count = 0

    def __init__(self, folder, words):
        Server.count += 1
        super().__init__(folder=folder, port=0, name=f"server-{Server.count}")
        self.words = words

    def start_serving(self):
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen([PROGRAM, *self.words], stdin=subprocess.DEVNULL,
                                            cwd=self.folder("work"), stdout=log, stderr=log)
        Daemon.running.append(self)
        wait_until(lambda: self.process.poll() is not None or ": serving " in self.log(),
                   "terraced serves", 30)
        if self.process.poll() is not None:
            raise Failed(f"terraced {' '.join(self.words)} ended with {self.process.returncode}: "
                         f"{self.log()[-2000:]}")
        return self.log()
