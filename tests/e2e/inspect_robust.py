#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
What may go wrong around the tree of terrace-fuse: no /dev/fuse, dead and other mounts, unmounting under use,
ends of either process, LUNs that come and go under open files, thousands of open files, readers that stop.
Arguments: names of cases.
"""

import atexit
import errno
import json
import os
import random
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
# This file's own folder holds a module of a standard name.
sys.path[0] = os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib")
import tree  # noqa: E402
from change import Changes  # noqa: E402
from terraced import PROGRAM, Daemon, Folder, Skipped, check, run, run_each, same, wait_until  # noqa: E402
from tree import FUSE, Tree, error_of, is_mounted, unmount  # noqa: E402

MIB = 1 << 20
CONFIG = """
lun a {{ store "file:{dir}/a.img" ; size 32MiB }}
lun b {{ store ram: ; size 32MiB ; mode volatile }}
portal p {{ listen 127.0.0.1:{port} }}
target iqn.2026-11.example.terrace:test {{ portals p ; open yes ; lun 0 a ; lun 1 b }}
""".replace("{{", "{").replace("}}", "}")


APART = ["random_walkers"]  # a test of its own, for the sanitized builds as well


def daemon(*options):
    return Daemon("--unsafe-fs", *options, config=CONFIG).start()


def image(t, lun="a"):
    return t("luns", lun, "image")


def fails_in_time(what, *errors):
    """It fails with one of these within 5 s, and some more where everything is slow."""
    err, seconds = error_of(what)
    check(err in errors, f"errno {err}, not one of {errors}")
    check(seconds < 20, f"after {seconds:.1f} s")


def case_killed_daemon_and_restart():
    d = daemon()
    t = Tree(d).start()
    fd = os.open(image(t), os.O_RDONLY)
    same(len(os.pread(fd, MIB, 0)), MIB, "a read")
    d.kill()
    fails_in_time(lambda: os.pread(fd, MIB, 0), errno.EHOSTDOWN)
    fails_in_time(lambda: os.listdir(t("luns")), errno.EHOSTDOWN)
    fails_in_time(lambda: t.read("luns", "a", "size"), errno.EHOSTDOWN, errno.ENOENT)
    same(t.value("health").split()[0], "failed", "health says so")
    check(os.listdir(t.path) and t.read("README"), "what needs no daemon is there")
    d.start()
    wait_until(lambda: error_of(lambda: os.pread(fd, MIB, 0))[0] == 0,
               "the same open file reads again")
    same(t.value("health").split()[0], "ok", "health")
    # A restart under a reader goes unnoticed.
    done = []

    def read_slowly():
        for i in range(64):
            time.sleep(0.02)
            done.append(error_of(lambda: os.pread(fd, MIB // 2, i * MIB // 2))[0])

    reader = threading.Thread(target=read_slowly)
    reader.start()
    d.stop()
    d.start()
    reader.join(30)
    same(done, [0] * 64, "a reader over a restart")
    os.close(fd)
    t.stop()
    d.stop()


def case_stopped_daemon():
    """It is there, and doesn't answer."""
    d = daemon()
    t = Tree(d).start()
    fd = os.open(image(t), os.O_RDONLY)
    os.pread(fd, 4096, 0)
    d.process.send_signal(signal.SIGSTOP)
    try:
        fails_in_time(lambda: os.pread(fd, MIB, 0), errno.ETIMEDOUT)
        fails_in_time(lambda: t.read("luns", "a", "stats"), errno.ETIMEDOUT)
    finally:
        d.process.send_signal(signal.SIGCONT)
    wait_until(lambda: error_of(lambda: os.pread(fd, MIB, 0))[0] == 0, "it reads again")
    os.close(fd)
    t.stop()
    d.stop()


def case_killed_tree_and_stale_mount():
    d = daemon()
    t = Tree(d).start()
    fd = os.open(image(t), os.O_RDONLY)
    t.kill()
    same(error_of(lambda: os.listdir(t.path))[0], errno.ENOTCONN, "a dead mount")
    check(is_mounted(t.path), "it is still mounted")
    same(error_of(lambda: os.close(fd))[0], errno.ENOTCONN, "as close says")
    again = Tree(d).start()
    check(again.value("version"), "mounted where the dead one was")
    again.stop()
    check(d.alive(), "terraced doesn't mind")
    d.stop()


def case_where_not_to_mount():
    d = daemon()
    full = d.folder("full")
    os.mkdir(full)
    d.folder.write("full/file", "x")
    for name, why in (("full", "isn't empty"), ("full/file", "is no folder"),
                      ("none/deeper", "No such file")):
        t = Tree(d, "again")
        t.command[-1] = d.folder(name)
        done = subprocess.run(t.command, capture_output=True, timeout=10, check=False)
        same(done.returncode, 1, f"status for {name}")
        check(why in done.stderr.decode(), f"{name}: {done.stderr}")
    t = Tree(d).start()
    done = subprocess.run(t.command, capture_output=True, timeout=10, check=False)
    check(done.returncode == 1 and b"another terrace-fuse is mounted" in done.stderr,
          f"twice: {done}")
    t.stop()
    check(not os.path.exists(t.path), "the folder that was made is gone")
    for bad in ([], ["a", "b"], ["--control", "/" + "x" * 200, d.folder("long")], ["--what"]):
        check(subprocess.run([FUSE, *bad], capture_output=True, timeout=10,
                             check=False).returncode in (1, 2), f"usage: {bad}")
    d.stop()


def case_no_dev_fuse():
    """The target serves, and says so."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        raise Skipped("needs root, to hide /dev/fuse")
    hide = Folder().write("hide.sh", "#!/bin/sh\nmount -t tmpfs none /dev/shm && "
                          "touch /dev/shm/none && mkdir /dev/shm/dev && "
                          "mount --bind /dev/shm/dev /dev/shm/dev && "
                          "for f in null zero urandom random; do touch /dev/shm/dev/$f && "
                          "mount --bind /dev/$f /dev/shm/dev/$f; done && "
                          "mount --rbind /dev/shm/dev /dev && exec \"$@\"\n", 0o755)
    d = Daemon("--unsafe-fs", config=CONFIG, prefix=["unshare", "-m", hide])
    d.options += ["--inspect", d.folder("shown")]
    d.start()
    try:
        c = Changes(d)
        found = wait_until(lambda: [x for x in c.call("health")["conditions"]
                                    if x["code"] == "C505"], "a condition")
        check("/dev/fuse" in found[0]["sentence"], found[0]["sentence"])
        same(c.call("health")["state"], "ok", "no more than a remark")
    finally:
        d.stop()


def case_unmounted_under_use():
    d = daemon()
    t = Tree(d).start()
    fd = os.open(image(t), os.O_RDONLY)
    if os.geteuid() == 0:
        done = subprocess.run(["umount", t.path], capture_output=True, check=False)
        check(done.returncode != 0 and b"busy" in done.stderr, f"umount under use: {done}")
    unmount(t.path)
    same(len(os.pread(fd, 4096, 0)), 4096, "who has it open reads on")
    os.close(fd)
    wait_until(lambda: t.process.poll() is not None, "terrace-fuse ends")
    t.stop()
    d.stop()


def case_luns_come_and_go():
    d = daemon()
    c = Changes(d)
    t = Tree(d).start()
    c.done("lun.create", name="new", store="ram:", size="16MiB")
    wait_until(lambda: os.path.exists(image(t, "new")), "a LUN that is new")
    fd = os.open(image(t, "new"), os.O_RDONLY)
    folder = os.open(t("luns", "new"), os.O_RDONLY)
    same(len(os.pread(fd, MIB, 0)), MIB, "a read")
    c.done("lun.delete", name="new")
    wait_until(lambda: not os.path.exists(t("luns", "new")), "it is gone")
    fails_in_time(lambda: os.pread(fd, MIB, 0), errno.ENODEV)
    c.done("lun.create", name="new", store="ram:", size="16MiB")
    wait_until(lambda: os.path.exists(image(t, "new")), "another one of that name")
    fails_in_time(lambda: os.pread(fd, MIB, 0), errno.ENODEV)
    with open(image(t, "new"), "rb") as f:
        same(len(f.read(4096)), 4096, "the new one reads")
    os.close(folder)
    os.close(fd)
    t.stop()
    d.stop()


def case_many_open_files():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = min(10000, hard - 100)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    d = daemon()
    t = Tree(d).start()
    files = []
    try:
        names = ("image", "stats", "size", "control", "dirty")
        for i in range(count):
            files.append(os.open(t("luns", "ab"[i % 2], names[i % len(names)]), os.O_RDONLY))
        for fd in files[::97]:
            os.pread(fd, 4096, 0)
    finally:
        for fd in files:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    check(d.alive() and t.value("version"), "both live")
    t.stop()
    d.stop()


def case_a_reader_that_stops():
    """In the middle of a copy, with signals of all kinds: the others go on."""
    d = daemon()
    t = Tree(d).start()
    with subprocess.Popen(["dd", f"if={image(t)}", "of=/dev/null", "bs=1M", "iflag=fullblock"],
                          stderr=subprocess.DEVNULL) as stopped, \
            subprocess.Popen(["cat", image(t, "b")], stdout=subprocess.PIPE) as cat:
        cat.stdout.read(100)
        stopped.send_signal(signal.SIGSTOP)
        with open(image(t, "b"), "rb") as f:
            same(len(f.read()), 32 * MIB, "somebody else reads")
        stopped.kill()
        cat.kill()
    t.stop()
    d.stop()


def case_a_child_of_the_daemon():
    folder = Folder()
    d = Daemon("--unsafe-fs", config=CONFIG.replace("portal", "inspect \"{dir}/shown\"\nportal", 1),
               folder=folder).start()
    shown = folder("shown")
    wait_until(lambda: is_mounted(shown), "it is mounted")
    wait_until(lambda: os.path.exists(os.path.join(shown, "luns", "a", "image")), "and shows LUNs")

    def child():
        with open(f"/proc/{d.process.pid}/task/{d.process.pid}/children", encoding="utf-8") as f:
            found = f.read().split()
        for tid in os.listdir(f"/proc/{d.process.pid}/task"):
            with open(f"/proc/{d.process.pid}/task/{tid}/children", encoding="utf-8") as f:
                found += f.read().split()
        for pid in found:
            with open(f"/proc/{pid}/comm", encoding="utf-8") as f:
                if f.read().strip() == "terrace-fuse":
                    return int(pid)
        return None

    first = child()
    os.kill(first, signal.SIGKILL)
    c = Changes(d)
    wait_until(lambda: [x for x in c.call("health")["conditions"] if x["code"] == "C505"],
               "a condition says so")
    wait_until(lambda: child() not in (None, first) and
               error_of(lambda: os.listdir(os.path.join(shown, "luns")))[0] == 0,
               "it is started again, over the dead mount", 10)
    wait_until(lambda: not c.call("health")["conditions"], "the condition ends")
    unmount(shown)
    wait_until(lambda: [x for x in c.call("health")["conditions"]
                        if "unmounted" in x["sentence"]], "who unmounts it has his way")
    time.sleep(1)
    check(not is_mounted(shown), "it stays so")
    d.stop()
    d.start()
    wait_until(lambda: is_mounted(shown), "and is there after the next start")
    d.kill()
    wait_until(lambda: not is_mounted(shown), "killed: the tree goes as well")
    d.start()
    wait_until(lambda: is_mounted(shown), "mounted")
    d.stop()
    check(not is_mounted(shown), "and goes with an orderly end")


def case_as_a_plain_user():
    """Neither allow_other nor default_permissions, and nobody else sees it."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None or shutil.which("fusermount3") is None:
        raise Skipped("needs root, to be somebody else, and fusermount3")
    folder = Folder()
    os.chmod(folder.path, 0o777)
    plain = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    programs = folder("bin")
    shutil.copytree(os.path.dirname(PROGRAM), programs,
                    ignore=lambda _, names: set(names) - {"terraced", "terrace-fuse"})
    d = Daemon("--unsafe-fs", config=CONFIG, folder=folder, prefix=plain)
    os.chmod(d.config, 0o644)
    d.start()
    t = Tree(d, prefix=plain)
    t.command[len(plain)] = os.path.join(programs, "terrace-fuse")
    t.start()

    def by_user(*command):
        return subprocess.run([*plain, *command], capture_output=True, check=False)

    same(by_user("ls", t("luns")).stdout.split(), [b"a", b"b"], "its user sees it")
    same(by_user("cmp", "-n", str(MIB), image(t), folder("a.img")).returncode, 0, "and reads")
    same(error_of(lambda: os.listdir(t.path))[0], errno.EACCES, "root doesn't")
    with open("/proc/self/mounts", encoding="utf-8") as f:
        line = [x for x in f if x.split()[1] == os.path.realpath(t.path)][0].split()
    same(line[2], "fuse.terrace", "type")
    check("allow_other" not in line[3] and "default_permissions" not in line[3], line[3])
    t.process.send_signal(signal.SIGTERM)
    t.stop()
    d.stop()


class Pretender:
    """A control socket that answers what a test wants: `answers` is METHOD -> function of parameters."""

    def __init__(self, folder, answers):
        self.folder, self.state, self.answers = folder, folder.path, answers
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(folder("control.sock"))
        self.listener.listen()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                peer = self.listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=self.serve, args=(peer,), daemon=True).start()

    def serve(self, peer):
        with peer, peer.makefile("rwb") as f:
            for line in f:
                call = json.loads(line)
                answer = {"jsonrpc": "2.0", "id": call["id"]}
                if call["method"] in self.answers:
                    answer["result"] = self.answers[call["method"]](call.get("params") or {})
                else:
                    answer["error"] = {"code": -32601, "message": "there is none"}
                f.write(json.dumps(answer).encode() + b"\n")
                f.flush()


def peak_kib(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as f:
        return int([x for x in f if x.startswith("VmHWM")][0].split()[1])


def skip_to(fd, at):
    """A read in the middle: what is before it has to be made. Where that takes long it goes on there."""
    end = time.monotonic() + 60
    while True:
        try:
            return os.pread(fd, 1000, at)
        except TimeoutError:
            check(time.monotonic() < end, f"no read from {at}")


def case_long_lists():
    """However long a list is, it is shown whole, and a page of it is what it takes in memory."""
    page, pages = 100, 200

    def dirty(params):
        first = params["from"] // 8192
        last = min(first + page, page * pages)
        ranges = [{"offset": i * 8192, "bytes": 4096, "zeros": i % 2 == 0} for i in range(first, last)]
        return {"ranges": ranges, "next": last * 8192 if last < page * pages else None}

    def never_ends(params):
        return {"segments": [{"number": params["from"], "state": "open"}], "next": params["from"]}

    folder = Folder()
    d = Pretender(folder, {
        "lun.list": lambda _: [{"name": "a", "size_bytes": 1 << 40}],
        "cache.list": lambda _: [{"name": "c", "state": "ok"}],
        "lun.dirty": dirty,
        "cache.segments": never_ends,
    })
    t = Tree(d).start()
    t.read("README")
    before = peak_kib(t.process.pid)
    expected = "".join(f"{i * 8192} 4096{' zeros' if i % 2 == 0 else ''}\n" for i in range(page * pages))
    same(t.read("luns", "a", "dirty") == expected, True, "all of it, in order")
    if "san" not in subprocess.run(["ldd", FUSE], capture_output=True, check=False).stdout.decode():
        grown = peak_kib(t.process.pid) - before
        check(grown < 32 << 10, f"it took {grown} KiB")
    fd = os.open(t("luns", "a", "dirty"), os.O_RDONLY)
    for at in (0, 5, 1 << 18, 100, len(expected) - 10, 0):
        got = skip_to(fd, at).decode()
        check(got and expected[at:at + len(got)] == got, f"from {at}")
    same(skip_to(fd, len(expected)), b"", "the end")
    same(skip_to(fd, len(expected) + 10000), b"", "behind the end")
    texts = []
    readers = [threading.Thread(target=lambda: texts.append(t.read("luns", "a", "dirty")))
               for _ in range(3)]
    at_once = [threading.Thread(target=lambda at: error_of(lambda: os.pread(fd, 1000, at)),
                                args=(i << 16,)) for i in range(4)]
    for x in readers + at_once:
        x.start()
    for x in readers + at_once:
        x.join(60)
    same([x == expected for x in texts], [True] * 3, "several readers")
    os.close(fd)
    same(len(t.read("caches", "c", "segments").splitlines()), 2, "pages that lead nowhere end")
    t.stop()
    d.listener.close()


def walk_once(t, rng, until):
    names = ["a", "b", "none"]
    while time.monotonic() < until:
        lun = rng.choice(names)
        what = rng.randrange(8)
        try:
            if what == 0:
                for folder, _, files in os.walk(t.path):
                    for f in files:
                        os.stat(os.path.join(folder, f))
            elif what == 1:
                for f in os.listdir(t("luns", lun)):
                    if f not in ("image", "sessions"):
                        with open(t("luns", lun, f), "rb") as x:
                            x.read()
            elif what == 2:
                with open(t("luns", lun, "control"), "r+b", buffering=0) as x:
                    x.write(rng.choice([b"flush\n", b"evict\n", b"?", b"x" * 4096]))
            elif what == 3:
                fd = os.open(t("luns", lun, "image"), os.O_RDONLY)
                for _ in range(20):
                    os.pread(fd, rng.choice([1, 512, 4096, MIB]), rng.randrange(33 * MIB))
                    os.lseek(fd, rng.randrange(32 * MIB), rng.choice([os.SEEK_DATA, os.SEEK_HOLE]))
                os.close(fd)
            elif what == 4:
                child = subprocess.Popen(["cat", t("luns", lun, "image")],
                                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
                child.stdout.read(rng.randrange(MIB))
                child.kill()
                child.stdout.close()
                child.wait()
            elif what == 5:
                for f in ("metrics", "stats.json", "events", "health"):
                    t.read(f)
            elif what == 6:
                os.stat(t("luns", lun, rng.choice(["image", "nothing", "stats"])))
            else:
                fds = [os.open(t("luns", lun, "stats"), os.O_RDONLY) for _ in range(20)]
                for fd in fds:
                    os.close(fd)
        except OSError as e:
            check(e.errno in (errno.ENOENT, errno.EINVAL, errno.EIO, errno.ENODEV, errno.ENXIO,
                              errno.EHOSTDOWN, errno.EBUSY, errno.EOPNOTSUPP), f"{what}: {e}")


def case_random_walkers():
    """Four at once, while LUNs come and go and terraced is started anew."""
    seconds = float(os.environ.get("TERRACE_WALK_S", "4"))
    seed = int(os.environ.get("TERRACE_SEED", str(random.randrange(1 << 30))))
    print(f"  seed {seed}")
    d = daemon()
    t = Tree(d).start()
    until = time.monotonic() + seconds
    failures = []

    def walker(n):
        try:
            walk_once(t, random.Random(seed + n), until)
        except BaseException as e:  # told below
            failures.append(e)

    threads = [threading.Thread(target=walker, args=(n,)) for n in range(4)]
    for x in threads:
        x.start()
    rng, count = random.Random(seed), 0
    while time.monotonic() < until:
        time.sleep(rng.random() * 0.3)
        count += 1
        if count % 12 == 0:
            d.stop()
            d.start()
        elif count % 3 == 0:
            Changes(d).call("lun.create", name=f"walk{count}", store="ram:", size="16MiB",
                            runtime=True)
        elif count % 3 == 1 and count > 3:
            try:
                Changes(d).call("lun.delete", name=f"walk{count - 1}", yes=True, runtime=True)
            except Exception:  # it went with a restart
                pass
    for x in threads:
        x.join(120)
    check(not [x for x in threads if x.is_alive()], "somebody still walks")
    check(not failures, f"seed {seed}: {failures}")
    check(t.process.poll() is None, t.log())
    t.stop()
    d.stop()


def main():
    tree.requires_fuse()
    atexit.register(tree.cleanup)
    run_each(globals(), APART)


if __name__ == "__main__":
    run(main)
