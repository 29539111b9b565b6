# SPDX-License-Identifier: BSD-2-Clause
"""
A terraced of a test's own: temporary folder, free port, start, stop, and what the process uses. All
that a test starts ends with it, by its pid. Exit status of a test: 0, 1 failed, 77 skipped.

The program is $TERRACED, or that of the dev build.
"""

import atexit
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback

SKIP = 77
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
PROGRAM = os.environ.get("TERRACED", os.path.join(ROOT, "build/dev/bin/terraced"))
TARGET = "iqn.2026-11.example.terrace:test"
# What a sanitizer or an assertion leaves in the log.
REPORT = re.compile(r"AddressSanitizer|LeakSanitizer|ThreadSanitizer|runtime error:|assertion", re.I)


class Failed(Exception):
    """What was to be shown isn't so."""


class Skipped(Exception):
    """Something that this machine or build doesn't have."""


def check(condition, what):
    if not condition:
        raise Failed(what)


def same(got, expected, what):
    if got != expected:
        raise Failed(f"{what}: expected {expected!r}, got {got!r}")


def requires(*programs):
    """Skips the test where a program is missing."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    for program in programs:
        if shutil.which(program, path=path) is None:
            raise Skipped(f"{program} is not installed")


def wait_until(condition, what, seconds=30.0):
    """Polls until the condition is true; its value."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Failed(f"not within {seconds:g} s: {what}")
        time.sleep(0.02)


def free_ports(count=1, address="127.0.0.1"):
    """Ports below the range that outgoing connections take."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    found = []
    while len(found) < count:
        port = random.randrange(12000, 31000)
        with socket.socket(family, socket.SOCK_STREAM) as s:
            try:
                s.bind((address, port))
            except OSError:
                continue
        if port not in found:
            found.append(port)
    return found


class Folder:
    """A temporary folder that goes with the test."""

    def __init__(self):
        self.path = tempfile.mkdtemp(prefix="terrace-test.", dir="/tmp")
        atexit.register(shutil.rmtree, self.path, ignore_errors=True)

    def __call__(self, *names):
        return os.path.join(self.path, *names)

    def write(self, name, text, mode=0o600):
        path = self(name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(path, mode)
        return path


class Daemon:
    """One terraced. With `config`, a text in which {port} and {dir} are replaced."""

    running = []

    def __init__(self, *options, config=None, folder=None, port=None, name=None, prefix=()):
        self.folder = folder or Folder()
        self.port = port or free_ports()[0]
        self.options = list(options)
        self.prefix = list(prefix)
        self.state = self.folder("state" if name is None else f"state-{name}")
        self.log_path = self.folder("log" if name is None else f"log-{name}")
        self.process = None
        self.config = None
        if config is not None:
            text = config.replace("{port}", str(self.port)).replace("{dir}", self.folder.path)
            self.config = self.folder.write("terrace.conf" if name is None else name, text)

    def command(self):
        own = ["--state-dir", self.state]
        if self.config is not None:
            own += ["--config", self.config]
        else:
            own += ["--listen", f"127.0.0.1:{self.port}", "--name", TARGET]
        return [*self.prefix, PROGRAM, *own, *self.options]

    def launch(self):
        """Without waiting for anything."""
        if not os.access(PROGRAM, os.X_OK):
            raise Failed(f"{PROGRAM} is not there: build it first")
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log)
        Daemon.running.append(self)

    def start(self, seconds=30):
        self.launch()
        wait_until(lambda: self.process.poll() is not None or self.listens(),
                   "terraced listens", seconds)
        if self.process.poll() is not None:
            raise Failed(f"terraced ended with {self.process.returncode}: {self.log()[-2000:]}")
        return self

    def listens(self):
        """
        Asks the kernel, not the server: no connection of ours stands in its way. A listener of a
        process that was killed may live on for a moment: it has to be ours.
        """
        wanted = f":{self.port:04X}"
        for table in ("/proc/net/tcp", "/proc/net/tcp6"):
            with open(table, encoding="ascii") as f:
                for line in f.readlines()[1:]:
                    fields = line.split()
                    if (fields[3] == "0A" and fields[1].endswith(wanted) and
                            f"socket:[{fields[9]}]" in self.open_files()):
                        return True
        return False

    def open_files(self):
        found = set()
        folder = f"/proc/{self.process.pid}/fd"
        try:
            for fd in os.listdir(folder):
                found.add(os.readlink(os.path.join(folder, fd)))
        except OSError:
            pass
        return found

    def log(self):
        try:
            with open(self.log_path, encoding="utf-8", errors="replace") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def end(self, sig, seconds):
        self.process.send_signal(sig)
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise Failed(f"terraced doesn't end within {seconds} s of signal {sig}") from None
        finally:
            Daemon.running.remove(self)

    def stop(self, seconds=30):
        """SIGTERM; it has to end in order and without a sanitizer's report."""
        if self.alive():
            self.end(signal.SIGTERM, seconds)
        check(self.process.returncode == 0,
              f"terraced ended with {self.process.returncode}: {self.log()[-3000:]}")
        self.check_log()

    def kill(self):
        self.end(signal.SIGKILL, 10)

    def check_log(self):
        found = REPORT.search(self.log())
        if found:
            at = max(0, found.start() - 200)
            raise Failed(f"a report in terraced's log: {self.log()[at:at + 4000]}")

    def fds(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def rss_bytes(self):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as f:
            return int(re.search(r"VmRSS:\s+(\d+) kB", f.read()).group(1)) * 1024

    def cpu_ticks(self):
        with open(f"/proc/{self.process.pid}/stat", encoding="ascii") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return int(fields[11]) + int(fields[12])

    def url(self, lun=0, target=TARGET, credentials="", address="127.0.0.1"):
        return f"iscsi://{credentials}{address}:{self.port}/{target}/{lun}"

    def sanitized(self):
        """Memory and time of a sanitized program say nothing about the real one."""
        with open(PROGRAM, "rb") as f:
            return b"__asan_init" in f.read() or b"__tsan_init" in open(PROGRAM, "rb").read()


def cleanup():
    for daemon in list(Daemon.running):
        if daemon.alive():
            daemon.process.kill()
            daemon.process.wait()


atexit.register(cleanup)


def run(main):
    """Runs a test's main function and turns what it raises into an exit status."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # with what atexit has to do
    try:
        main()
    except Skipped as e:
        print(f"skipped: {e}")
        sys.exit(SKIP)
    except Failed as e:
        print(f"FAILED: {e}")
        show_logs()
        sys.exit(1)
    except Exception:
        traceback.print_exc(file=sys.stdout)
        show_logs()
        sys.exit(1)
    print("ok")


def show_logs():
    for daemon in Daemon.running:
        print(f"---- end of {daemon.log_path}\n{daemon.log()[-4000:]}")


def run_cases(module, daemon, probe):
    """
    Runs every case_* of a module against one daemon. After each: the daemon lives, `probe` gets an
    answer, and the number of its descriptors is back where it was. Arguments select by name.
    """
    selected = sys.argv[1:]
    failed = []
    probe()
    time.sleep(0.2)
    fds = daemon.fds()
    for name, case in list(module.items()):
        if not name.startswith("case_") or (selected and name[5:] not in selected):
            continue
        began = time.monotonic()
        result = "ok"
        try:
            case(daemon)
            check(daemon.alive(), "terraced died")
            probe()
            wait_until(lambda: daemon.fds() <= fds,
                       f"descriptors of ended connections are closed (before: {fds})", 5)
        except Skipped as e:
            result = f"skipped: {e}"
        except Exception as e:  # whatever it is, the other cases are worth running
            result = f"FAILED: {type(e).__name__}: {e}"
            failed.append(name[5:])
        print(f"{name[5:]:44} {time.monotonic() - began:6.2f} s  {result}", flush=True)
        if not daemon.alive():
            raise Failed(f"terraced died in {name[5:]}: {daemon.log()[-3000:]}")
        if failed and failed[-1] == name[5:]:
            fds = max(fds, daemon.fds())  # a leak is reported once
    daemon.stop()
    if failed:
        raise Failed(f"{len(failed)} cases: {' '.join(failed)}")


def run_each(module, apart=()):
    """
    Runs every case_* of a module but those `apart`, or those that arguments name, each with daemons of its own, of
    which none is left behind; all of them, also when one fails. Skipped is the test when all of them are.
    """
    names = sys.argv[1:] or [n for n in module if n.startswith("case_") and n[5:] not in apart]
    failed, skipped = [], []
    for name in names:
        began = time.monotonic()
        result = "ok"
        first = len(Daemon.running)
        try:
            module[name if name.startswith("case_") else f"case_{name}"]()
        except Skipped as e:
            result = f"skipped: {e}"
            skipped.append(name)
        except Exception as e:  # whatever it is, the other cases are worth running
            result = f"FAILED: {type(e).__name__}: {e}"
            failed.append(name)
        for d in Daemon.running[first:]:
            if d.alive():
                d.kill()
            if name in failed:
                print(f"---- {d.log_path}\n{d.log()[-3000:]}")
        print(f"{name:44} {time.monotonic() - began:6.2f} s  {result}", flush=True)
    check(not failed, f"{len(failed)} cases: {' '.join(failed)}")
    if len(skipped) == len(names):
        raise Skipped(", ".join(skipped))
