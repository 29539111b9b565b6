#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
Images against what qemu-img reads over iSCSI, byte by byte: behind a cache of memory, of an SSD, and of both,
in every mode, with data that is only in the store, data that is in the tiers as well, and data that the
tiers have and the store doesn't yet.
"""

import atexit
import os
import subprocess
import sys
import threading

sys.dont_write_bytecode = True
# This file's own folder holds a module of a standard name.
sys.path[0] = os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib")
import tree  # noqa: E402
from change import Changes  # noqa: E402
from iscsi import GOOD, Session  # noqa: E402
from terraced import TARGET, Daemon, check, requires, run, same, wait_until  # noqa: E402
from tree import Tree  # noqa: E402

MIB = 1 << 20
SIZE = 16 * MIB
A = "iqn.a:one"
CACHES = {"mem": "ram 64MiB", "fast": "ssd \"{dir}/ssd1\" ; size 192MiB",
          "two": "ssd \"{dir}/ssd2\" ; size 192MiB ; ram 64MiB"}
LUNS = [(f"{cache}-{mode}", cache, mode) for cache in CACHES
        for mode in ("nv", "writethrough", "volatile", "bypass") if (cache, mode) != ("mem", "nv")]
CONFIG = "".join(f"cache {name} {{ {how} }}\n" for name, how in CACHES.items()) + "".join(
    f"lun {name} {{ store \"file:{{dir}}/{name}.img\" ; size {SIZE} ; cache {cache} ; mode {mode} }}\n"
    for name, cache, mode in LUNS) + f"""
inspect_rate 64MiB
portal p {{ listen 127.0.0.1:{{port}} }}
target {TARGET} {{ portals p ; open yes
    {" ; ".join(f"lun {i} {name}" for i, (name, _, _) in enumerate(LUNS))} }}
"""
# Where what is: in bytes. The rest was never written.
OLD = (0, 2 * MIB)             # written, read, destaged, evicted: in the store only
READ = (4 * MIB, 5 * MIB)      # the same, then read: in the tiers as far as they take it
ANEW = (1 * MIB, 1 * MIB + 65536)  # over a part of what is old, kept dirty
ODD = 6 * MIB + 512            # a block that is no whole one of the cache, kept dirty


def write(s, lun, at, data):
    for i in range(0, len(data), 65536):
        part = data[i:i + 65536]
        result = s.write10((at + i) // 512, part, lun=lun)
        check(result.status == GOOD, f"write: {result}")


class Rewriter:
    """Writes the same data again and again: it stays dirty, and it stays the same."""

    def __init__(self, d, lun, parts):
        self.ending, self.error, self.rounds = False, None, 0
        self.parts = parts
        self.session = Session(d.port, TARGET, name=A + ":again")
        self.session.ready(lun)
        self.lun = lun
        self.thread = threading.Thread(target=self.main)
        self.thread.start()

    def main(self):
        try:
            while not self.ending:
                for at, data in self.parts:
                    write(self.session, self.lun, at, data)
                self.rounds += 1
        except BaseException as e:  # told by end()
            self.error = e

    def end(self):
        self.ending = True
        self.thread.join()
        self.session.close()
        check(self.error is None, f"rewriting: {self.error}")


def compare(d, t, lun, name, expected):
    """As the tree shows it, as qemu-img reads it over iSCSI, and as it was written."""
    copy = d.folder("copy.img")
    done = subprocess.run(["qemu-img", "convert", "-O", "raw", "--image-opts",
                           f"driver=raw,file.driver=iscsi,file.transport=tcp,"
                           f"file.portal=127.0.0.1:{d.port},file.target={TARGET},file.lun={lun},"
                           f"file.initiator-name={A}:qemu", copy],
                          capture_output=True, check=False, timeout=60)
    check(done.returncode == 0, f"{name}: {done.stderr}")
    done = subprocess.run(["cmp", copy, t("luns", name, "image")], capture_output=True, check=False)
    same(done.returncode, 0, f"{name}: the image and what initiators read: {done.stdout}")
    with open(t("luns", name, "image"), "rb") as f:
        check(f.read() == expected, f"{name}: the image and what was written")


def one(d, t, lun, name, cache, mode):
    s = Session(d.port, TARGET, name=A)
    s.ready(lun)
    expected = bytearray(SIZE)
    for begin, end in (OLD, READ):
        data = os.urandom(end - begin)
        write(s, lun, begin, data)
        expected[begin:end] = data
    check(s.execute(bytes([0x35]) + bytes(9), lun).status == GOOD, "SYNCHRONIZE CACHE")
    for verb in ("flush", "evict"):
        with open(t("luns", name, "control"), "w", encoding="utf-8") as f:
            f.write(verb + "\n")
    for _ in range(3):
        for at in range(*READ, 65536):
            check(s.read10(at // 512, 128, lun=lun).data == expected[at:at + 65536], "a read")
    parts = [(ANEW[0], os.urandom(ANEW[1] - ANEW[0])), (ODD, os.urandom(512))]
    rewriter = Rewriter(d, lun, parts)
    try:
        for at, data in parts:
            expected[at:at + len(data)] = data
        wait_until(lambda: rewriter.rounds > 1 or rewriter.error, "it was written", 30)
        if mode == "nv":
            wait_until(lambda: int(t.value("luns", name, "dirty_bytes")) > 0, "something is dirty", 30)
        compare(d, t, lun, name, expected)
    finally:
        rewriter.end()
    compare(d, t, lun, name, expected)
    with open(t("luns", name, "control"), "w", encoding="utf-8") as f:
        f.write("flush\n")
    compare(d, t, lun, name, expected)
    s.close()


def main():
    requires("qemu-img")
    tree.requires_fuse()
    atexit.register(tree.cleanup)
    d = Daemon("--unsafe-fs", config=CONFIG).start()
    t = Tree(d).start()
    same({x["name"]: x["mode"] for x in Changes(d).call("lun.list")},
         {name: mode for name, _, mode in LUNS}, "modes")
    for lun, (name, cache, mode) in enumerate(LUNS):
        one(d, t, lun, name, cache, mode)
        print(f"{name}: the same", flush=True)
    t.stop()
    d.stop()


if __name__ == "__main__":
    run(main)
