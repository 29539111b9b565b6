#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
Two initiators fence each other with persistent reservations, as cluster nodes do: registration, type 5,
preemption of the other, with I/O of a real client (qemu-io) on both sides.
"""

import os
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
import iscsi  # noqa: E402
from iscsi import CONFLICT, GOOD, Session  # noqa: E402
from terraced import TARGET, Daemon, check, requires, run, same  # noqa: E402

REGISTER, RESERVE, RELEASE, PREEMPT, PREEMPT_ABORT = 0, 1, 2, 4, 5
WERO = 5  # write exclusive, registrants only


def qemu_io(d, name, command):
    """True: the command of a real initiator of this name succeeded."""
    done = subprocess.run(
        ["qemu-io", "-c", command, "--image-opts",
         f"driver=iscsi,transport=tcp,portal=127.0.0.1:{d.port},target={TARGET},lun=0,"
         f"initiator-name={name}"],
        capture_output=True, text=True, timeout=30, check=False)
    return done.returncode == 0 and "rror" not in done.stdout + done.stderr


def main():
    requires("qemu-io")
    d = Daemon("--lun", "ram:32MiB", "--loops", "2", "--quiet").start()
    names = ["iqn.2026-11.example.test:node1", "iqn.2026-11.example.test:node2"]
    with Session(d.port, TARGET, name=names[0]) as a, Session(d.port, TARGET, name=names[1]) as b:
        a.ready()
        b.ready()
        check(qemu_io(d, "iqn.2026-11.example.test:qemu", "write 0 64k"), "writing, unreserved")
        same(a.pr_out(REGISTER, new=0xA).status, GOOD, "node 1 registers")
        same(b.pr_out(REGISTER, new=0xB).status, GOOD, "node 2 registers")
        same(sorted(a.pr_keys()), [0xA, 0xB], "keys")
        same(a.pr_out(RESERVE, 0xA, kind=WERO).status, GOOD, "node 1 reserves")
        same(b.pr_reservation(), (0xA, WERO), "the reservation, as node 2 sees it")
        same(b.write10(0, bytes(512)).status, GOOD, "a registrant writes")
        check(not qemu_io(d, "iqn.2026-11.example.test:qemu", "write 0 64k"),
              "somebody who isn't registered can't write")
        check(qemu_io(d, "iqn.2026-11.example.test:qemu", "read 0 64k"), "but read")

        # Served before the abort or without an answer: TAS is 0.
        for _ in range(8):
            a.command(b"\x2a\0\0\0\1\0\0\0\x08\0", write=bytes(4096))
        same(b.pr_out(PREEMPT_ABORT, 0xB, 0xA, WERO).status, GOOD, "node 2 fences node 1")
        r = a.write10(0, bytes(512))
        while r.status == iscsi.CHECK and r.code()[0] == 6:
            r = a.write10(0, bytes(512))
        same(r.status, CONFLICT, "node 1 is fenced")
        same(b.pr_keys(), [0xB], "keys that are left")
        same(b.pr_reservation(), (0xB, WERO), "the reservation is node 2's")
        same(b.write10(0, bytes(512)).status, GOOD, "node 2 writes")

        same(a.pr_out(RESERVE, 0xA, kind=WERO).status, CONFLICT, "the fenced one can't reserve")
        same(a.pr_out(REGISTER, new=0xA2).status, GOOD, "it registers anew")
        same(a.write10(0, bytes(512)).status, GOOD, "and writes")
        same(a.pr_out(PREEMPT, 0xA2, 0xB, WERO).status, GOOD, "and takes over")
        r = b.execute(bytes(6))
        same(r.code()[0], 6, "node 2 is told by a unit attention")
        same(a.pr_out(RELEASE, 0xA2, kind=WERO).status, GOOD, "release")
    check(qemu_io(d, "iqn.2026-11.example.test:qemu", "write 0 64k"), "writing, released")
    d.stop()


if __name__ == "__main__":
    run(main)
