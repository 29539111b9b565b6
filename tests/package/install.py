#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
The packages in a fresh Debian, without a service manager: installed, removed with and without data that stores
lack, purged, upgraded. As root. PACKAGES is the folder with them (build/package).
"""

import atexit
import glob
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from rootfs import packages, rootfs  # noqa: E402
from iscsi import GOOD, Session  # noqa: E402
from terraced import check, run, same, wait_until  # noqa: E402

PORT = 3260
TARGET = "iqn.2026-11.example.terrace:package"
CONFIG = f"""
cache fast {{ ssd "/srv/fast.ssd"; size 64MiB }}
lun a {{ store "STORE"; size 16MiB; cache fast }}
portal p {{ listen 127.0.0.1:PORT }}
target {TARGET} {{ portals p; open yes; lun 0 a }}
"""


class System:
    """A copy of the fresh Debian, and what runs in it."""

    def __init__(self):
        tree, self.debs = rootfs(), packages()
        self.path = tempfile.mkdtemp(prefix="terrace-package.", dir="/var/tmp")
        atexit.register(self.end)
        self.mounted, self.daemon = [], None
        os.chmod(self.path, 0o755)
        subprocess.run(["cp", "-a", tree + "/.", self.path], check=True)
        for kind, name in (("proc", "proc"), ("devtmpfs", "dev"), ("tmpfs", "run")):
            at = os.path.join(self.path, name)
            subprocess.run(["mount", "-t", kind, kind, at] if kind != "devtmpfs" else
                           ["mount", "--bind", "/dev", at], check=True)
            self.mounted.append(at)
        for deb in self.debs.values():
            shutil.copy(deb, self.path)

    def end(self):
        self.stop(signal.SIGKILL)
        for at in reversed(self.mounted):
            subprocess.run(["umount", "-l", at], check=False)
        shutil.rmtree(self.path, ignore_errors=True)

    def __call__(self, *words, status=0, says=(), env=None):
        r = subprocess.run(["chroot", self.path, *words], capture_output=True, text=True, timeout=300,
                           env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": "/root",
                                "DEBIAN_FRONTEND": "noninteractive", **(env or {})})
        said = r.stdout + r.stderr
        check((r.returncode == 0) == (status == 0), f"{words}: status {r.returncode}: {said}")
        for part in [says] if isinstance(says, str) else says:
            check(part in said, f"{words}: no '{part}' in: {said}")
        return said

    def file(self, name):
        return os.path.join(self.path, name.lstrip("/"))

    def exists(self, name):
        return os.path.lexists(self.file(name))

    def configure(self, store="/srv/a.img"):
        with open(self.file("/etc/terrace/terrace.conf"), "w", encoding="utf-8") as f:
            f.write(CONFIG.replace("STORE", store).replace("PORT", str(PORT)))

    def start(self):
        log = open(self.file("/var/log/terraced"), "wb")
        self.daemon = subprocess.Popen(
            ["chroot", self.path, "/usr/sbin/terraced", "--config", "/etc/terrace/terrace.conf", "--quiet"],
            stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        wait_until(lambda: self.daemon.poll() is not None or subprocess.run(
            ["chroot", self.path, "terracectl", "log-level"], capture_output=True, check=False).returncode == 0,
            "terraced answers", 60)
        with open(self.file("/var/log/terraced"), encoding="utf-8") as f:
            check(self.daemon.poll() is None, f"terraced ended: {f.read()}")

    def log(self):
        with open(self.file("/var/log/terraced"), encoding="utf-8") as f:
            return f.read()

    def stop(self, how=signal.SIGTERM):
        if self.daemon is not None and self.daemon.poll() is None:
            self.daemon.send_signal(how)
            self.daemon.wait(60)
        self.daemon = None


def write(s, number):
    for i in range(64):
        wait_until(lambda at=i: s.write10(at * 8, bytes([number]) * 4096).status == GOOD, f"write {i}", 30)


def free_port():
    global PORT
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        PORT = s.getsockname()[1]


def installs(sys_):
    said = sys_("dpkg", "-i", "/" + os.path.basename(sys_.debs["terrace"]),
                "/" + os.path.basename(sys_.debs["terrace-web"]))
    check("warning" not in said.lower() and "error" not in said.lower(), said)
    for unit in ("terraced", "terrace-inspect", "terrace-web"):
        same(sys_("systemctl", "is-enabled", unit).strip(), "enabled", unit)
    check("terrace-ro" in sys_("id", "-nG", "terrace-web").split(), "the page's user may ask")
    check("terrace-ro" in sys_("getent", "group", "terrace-ro"), "who may look")
    check("terrace" in sys_("getent", "group", "terrace"), "who may order")
    same(sys_("stat", "-c", "%a %U:%G", "/etc/terrace/terrace.conf").strip(), "644 root:root", "configuration")
    sys_("perl", "-c", "/etc/needrestart/conf.d/terrace.conf", says="syntax OK")
    for page in ("terraced.8", "terrace-web.8", "terrace-control.7", "terrace.conf.5"):
        check(glob.glob(sys_.file(f"/usr/share/man/man{page[-1]}/{page}.gz")), page)
    sys_.start()
    same(sys_("terracectl", "health").strip(), "OK", "health")
    sys_("terracectl", "status", says=["Nothing is served yet", "terracectl portal create san --listen"])
    check("warning" not in sys_.log() and "error" not in sys_.log(), sys_.log())
    sys_.stop()


def remove_empties_caches(sys_):
    sys_.configure()
    sys_.start()
    with Session(PORT, TARGET) as s:
        write(s, 7)
        sys_("dpkg", "-r", "terrace-web")
        sys_("dpkg", "-r", "terrace", status=1, says=["1 sessions of initiators", "Nothing was removed"])
    wait_until(lambda: '"tsih"' not in sys_("terracectl", "session", "list", "--json"), "nobody", 30)
    check(sys_.exists("/usr/sbin/terraced"), "it was refused")
    sys_("dpkg", "-r", "terrace", says=["Writing what caches have", "is on the stores"])
    check(not sys_.exists("/usr/sbin/terraced"), "the program")
    sys_.stop()
    with open(sys_.file("/srv/a.img"), "rb") as f:
        check(f.read(64 * 4096) == bytes([7]) * (64 * 4096), "the store lacks what was written")
    check(sys_.exists("/etc/terrace/terrace.conf") and sys_.exists("/var/lib/terrace"), "what stays")


def remove_refuses(sys_):
    """Where a store doesn't take its data, and where nobody runs who could write it."""
    sys_("dpkg", "-i", "/" + os.path.basename(sys_.debs["terrace"]))
    sys_.configure("fault:1:write_error=1:file:/srv/a.img")
    sys_.start()
    with Session(PORT, TARGET) as s:
        write(s, 8)
    wait_until(lambda: '"tsih"' not in sys_("terracectl", "session", "list", "--json"), "nobody", 30)
    sys_("dpkg", "-r", "terrace", status=1, says=["couldn't be written to the stores", "Nothing was removed"])
    sys_.stop(signal.SIGKILL)
    sys_("dpkg", "-r", "terrace", status=1, says=["/srv/fast.ssd has data that stores lack"])
    sys_.configure("fault:1:write_error=0:file:/srv/a.img")
    sys_.start()
    sys_("terracectl", "power-fail", says="is on the stores")
    sys_.stop()
    with open(sys_.file("/srv/a.img"), "rb") as f:
        check(f.read(64 * 4096) == bytes([8]) * (64 * 4096), "the store lacks what was written")


def upgrade_restarts_nothing(sys_):
    sys_.start()
    before = os.stat(sys_.file("/usr/sbin/terraced")).st_ino
    new, deb = sys_.file("/new"), sys_.file("/terrace-new.deb")
    subprocess.run(["dpkg-deb", "-R", sys_.debs["terrace"], new], check=True)
    with open(new + "/DEBIAN/control", encoding="utf-8") as f:
        text = f.read()
    line = next(x for x in text.split("\n") if x.startswith("Version: "))
    with open(new + "/DEBIAN/control", "w", encoding="utf-8") as f:
        f.write(text.replace(line, line + "+next"))
    subprocess.run(["dpkg-deb", "--root-owner-group", "-b", new, deb], check=True, capture_output=True)
    shutil.rmtree(new)
    sys_("dpkg", "--force-confold", "-i", "/terrace-new.deb")
    check(os.stat(sys_.file("/usr/sbin/terraced")).st_ino != before, "it was replaced")
    check(sys_.daemon.poll() is None, "what runs goes on")
    same(sys_("terracectl", "health").strip(), "OK", "health")
    sys_.stop()


def purge_keeps_data(sys_):
    sys_("dpkg", "-P", "terrace", says=["/var/lib/terrace (identities, reservations) stays", "as they were"])
    check(os.listdir(sys_.file("/var/lib/terrace")), "identities and reservations stay")
    check(sys_.exists("/srv/a.img") and sys_.exists("/srv/fast.ssd"), "stores and SSDs stay")
    check(not sys_.exists("/etc/terrace"), "the configuration goes")
    sys_("dpkg", "-i", "/" + os.path.basename(sys_.debs["terrace"]))
    sys_("dpkg", "-P", "terrace", env={"TERRACE_PURGE_STATE": "yes"})
    check(not sys_.exists("/var/lib/terrace"), "and the state where that was asked")
    check(sys_.exists("/srv/a.img") and sys_.exists("/srv/fast.ssd"), "stores and SSDs stay all the same")


def main():
    free_port()
    system = System()
    for step in (installs, remove_empties_caches, remove_refuses, upgrade_restarts_nothing, purge_keeps_data):
        print(step.__name__, flush=True)
        step(system)


run(main)
