# SPDX-License-Identifier: BSD-2-Clause
"""A terrace-fuse of a test's own, and what is asked of its tree."""

import errno
import os
import shutil
import signal
import subprocess
import time

from terraced import PROGRAM, Failed, Skipped, check, wait_until

FUSE = os.environ.get("TERRACE_FUSE", os.path.join(os.path.dirname(PROGRAM), "terrace-fuse"))


def requires_fuse():
    """/dev/fuse, and the right to mount."""
    if not os.path.exists("/dev/fuse") or not os.access("/dev/fuse", os.R_OK | os.W_OK):
        raise Skipped("there is no /dev/fuse for this user")
    if os.geteuid() != 0 and shutil.which("fusermount3") is None:
        raise Skipped("fusermount3 isn't installed")
    if not os.access(FUSE, os.X_OK):
        raise Failed(f"{FUSE} is not there: build it first")


def is_mounted(path):
    with open("/proc/self/mounts", encoding="utf-8") as f:
        return any(line.split()[1] == os.path.realpath(os.path.dirname(path)) + "/" +
                   os.path.basename(path) for line in f)


def is_dead(path):
    """A mount whose process is gone."""
    return error_of(lambda: os.listdir(path))[0] == errno.ENOTCONN


def unmount(path):
    """Whatever state it is in."""
    for command in (["umount", "-l", path], ["fusermount3", "-u", "-z", path]):
        if subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode == 0:
            return


class Tree:
    """terrace-fuse for a daemon of the test; `prefix` runs it as somebody else."""

    running = []

    def __init__(self, daemon, name="tree", prefix=()):
        self.path = daemon.folder(name)
        self.log_path = daemon.folder(name + ".log")
        self.command = [*prefix, FUSE, "--control", os.path.join(daemon.state, "control.sock"),
                        self.path]
        self.process = None

    def __call__(self, *names):
        return os.path.join(self.path, *names)

    def launch(self):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log)
        Tree.running.append(self)

    def start(self):
        self.launch()
        wait_until(lambda: self.process.poll() is not None or
                   (is_mounted(self.path) and not is_dead(self.path)), "the mount")
        if self.process.poll() is not None:
            raise Failed(f"terrace-fuse ended with {self.process.returncode}: {self.log()}")
        return self

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as f:
            return f.read()

    def stop(self, status=0):
        """In order: without a sanitizer's report, and nothing is mounted any more."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        finally:
            Tree.running.remove(self)
            if is_mounted(self.path):
                unmount(self.path)
                raise Failed("still mounted after the end")
        check(self.process.returncode == status,
              f"terrace-fuse ended with {self.process.returncode}: {self.log()[-3000:]}")
        check("ERROR: " not in self.log() and "WARNING: " not in self.log(), self.log()[-3000:])

    def kill(self):
        self.process.kill()
        self.process.wait()
        Tree.running.remove(self)

    def read(self, *names):
        with open(self(*names), encoding="utf-8") as f:
            return f.read()

    def value(self, *names):
        return self.read(*names).strip()


def cleanup():
    for tree in list(Tree.running):
        if tree.process is not None and tree.process.poll() is None:
            tree.process.kill()
            tree.process.wait()
        unmount(tree.path)


def error_of(what):
    """(errno, seconds) of something that fails; (0, seconds) if it doesn't."""
    begin = time.monotonic()
    try:
        what()
    except OSError as e:
        return e.errno, time.monotonic() - begin
    return 0, time.monotonic() - begin


def extents(path):
    """[(begin, end), …] of data, by SEEK_DATA and SEEK_HOLE."""
    fd = os.open(path, os.O_RDONLY)
    found, at, size = [], 0, os.fstat(fd).st_size
    try:
        while at < size:
            try:
                begin = os.lseek(fd, at, os.SEEK_DATA)
            except OSError:
                break
            at = os.lseek(fd, begin, os.SEEK_HOLE)
            found.append((begin, at))
    finally:
        os.close(fd)
    return found
