# SPDX-License-Identifier: BSD-2-Clause
"""Targets to measure: each starts a process of its own, says where its unit is, and ends it."""

import os
import shutil
import socket
import subprocess
import tempfile
import time

START_SECONDS = 15
FILL_BYTES = 512 << 20


class Unavailable(Exception):
    """This target can't be run here; the text says why."""


def free_port():
    """A TCP port of the loopback address that nobody listens on now."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def pin_to(cpus):
    """For preexec_fn: the child runs on these CPUs only (None: anywhere)."""
    def pin():
        if cpus is not None:
            os.sched_setaffinity(0, cpus)
    return pin


class Missing(Unavailable):
    """It isn't installed, or we may not run it."""


class Target:
    """Common life of a target process. Use as a context manager."""

    name = "?"
    lun = 0

    def __init__(self, cpus):
        self.cpus = cpus
        self.port = free_port()
        self.process = None
        self.folder = None

    def __enter__(self):
        self.folder = tempfile.mkdtemp(prefix="terrace-bench-")
        try:
            self.start()
            self.wait_for_port()
            self.set_up()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def spawn(self, command):
        log = open(os.path.join(self.folder, "log"), "wb")
        with log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                cwd=self.folder, preexec_fn=pin_to(self.cpus))

    def log_tail(self):
        try:
            with open(os.path.join(self.folder, "log"), errors="replace") as f:
                return "".join(f.readlines()[-5:]).strip()
        except OSError:
            return ""

    def wait_for_port(self):
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise Unavailable(f"{self.name} ended at once: {self.log_tail()}")
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise Unavailable(f"{self.name} does not listen after {START_SECONDS} s")

    def set_up(self):
        pass

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self.folder:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder = None

    @property
    def pid(self):
        return self.process.pid


class Terraced(Target):
    """Terrace over a unit in memory."""

    name = "terraced"
    iqn = "iqn.2026-11.example.terrace:default"
    more = []  # options of a kind

    def __init__(self, program, cpus, loops=1):
        super().__init__(cpus)
        self.program = program
        self.loops = loops
        if not os.access(program, os.X_OK):
            raise Unavailable(f"{program} is not there: build the release preset first")

    def start(self):
        os.mkdir(os.path.join(self.folder, "state"), 0o700)
        self.spawn([
            os.path.abspath(self.program), "--lun", "ram:1GiB",
            "--listen", f"127.0.0.1:{self.port}",
            "--state-dir", os.path.join(self.folder, "state"),
            "--control", os.path.join(self.folder, "control"),
            "--loops", str(self.loops)] + self.more)


class Tgtd(Target):
    """Debian's tgt over a file on tmpfs, with the same session parameters as ours."""

    name = "tgtd"
    iqn = "iqn.2026-11.example.terrace:peer"
    lun = 1
    count = 0
    parameters = {
        "MaxRecvDataSegmentLength": "262144",
        "FirstBurstLength": "262144",
        "MaxBurstLength": "262144",
        "InitialR2T": "No",
        "ImmediateData": "Yes",
    }

    def __init__(self, cpus):
        super().__init__(cpus)
        self.program = shutil.which("tgtd", path=os.environ.get("PATH", "") + ":/usr/sbin")
        self.admin = shutil.which("tgtadm", path=os.environ.get("PATH", "") + ":/usr/sbin")
        if not self.program or not self.admin:
            raise Missing("tgtd is not installed (package tgt)")
        if os.geteuid() != 0:
            raise Missing("tgtd needs root")
        # The number of its control socket (tgtd takes up to 32767): not the system's, nor another's.
        self.control = str(10000 + (os.getpid() * 8 + Tgtd.count) % 20000)
        Tgtd.count += 1
        self.store = None

    def start(self):
        shm = os.statvfs("/dev/shm")
        if shm.f_bavail * shm.f_frsize < 2 * FILL_BYTES:
            raise Unavailable("tgtd's file needs 1 GiB free in /dev/shm")
        self.store = tempfile.NamedTemporaryFile(prefix="terrace-bench-", dir="/dev/shm")
        self.store.truncate(1 << 30)
        self.spawn([self.program, "-f", "-C", self.control,
                    "--iscsi", f"portal=127.0.0.1:{self.port}"])

    def run_admin(self, *words):
        subprocess.run([self.admin, "-C", self.control, "--lld", "iscsi", *words],
                       check=True, capture_output=True, timeout=10)

    def set_up(self):
        try:
            self.run_admin("--op", "new", "--mode", "target", "--tid", "1", "-T", self.iqn)
            self.run_admin("--op", "new", "--mode", "logicalunit", "--tid", "1", "--lun", "1",
                           "-b", self.store.name, "--bstype", "rdwr")
            for name, value in self.parameters.items():
                self.run_admin("--op", "update", "--mode", "target", "--tid", "1",
                               "--name", name, "--value", value)
            self.run_admin("--op", "bind", "--mode", "target", "--tid", "1", "-I", "ALL")
        except subprocess.CalledProcessError as e:
            raise Unavailable(f"tgtadm: {e.stderr.decode(errors='replace').strip()}") from e

    def stop(self):
        # tgtd ignores SIGTERM as long as it has targets.
        if self.process and self.process.poll() is None:
            for words in (("--op", "delete", "--mode", "target", "--tid", "1", "--force"),
                          ("--op", "delete", "--mode", "system")):
                try:
                    self.run_admin(*words)
                except (subprocess.SubprocessError, OSError):
                    pass
        super().stop()
        if self.store:
            self.store.close()
            self.store = None
        # tgtd leaves the socket of its own control number behind.
        for suffix in ("", ".lock"):
            try:
                os.unlink(f"/var/run/tgtd/socket.{self.control}{suffix}")
            except OSError:
                pass
