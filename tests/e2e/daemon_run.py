#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
The life of a terraced: the end with sessions logged in, restart and kill -9, what is kept, stores that
change their size or go away, a start by a plain user. Arguments: names of cases.
"""

import os
import shutil
import signal
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
import iscsi  # noqa: E402
import terraced  # noqa: E402
from iscsi import CONFLICT, GOOD, Closed, Session  # noqa: E402
from terraced import (TARGET, Daemon, Failed, Folder, Skipped, check, free_ports, run, run_each,  # noqa: E402
                      same, wait_until)

MIB = 1 << 20


def login(d, **more):
    s = Session(d.port, TARGET, **more)
    s.ready()
    return s


def file_daemon(*options, size="16MiB", folder=None, **more):
    folder = folder or Folder()
    return Daemon("--lun", f"{folder('store')}:{size}", "--quiet", *options, folder=folder, **more)


# ---- the end ----------------------------------------------------------------------------------------

def case_sigterm_when_idle():
    d = file_daemon().start()
    began = time.monotonic()
    d.stop()
    check(time.monotonic() - began < 5, "it ends at once")


def case_sigterm_asks_for_logout():
    d = file_daemon().start()
    s = login(d)
    d.process.send_signal(signal.SIGTERM)
    p = s.wait_other(iscsi.ASYNC)
    same(p.header[36], 1, "event of the asynchronous message: logout is requested")
    same(s.logout(), 0, "logout")
    began = time.monotonic()
    d.process.wait(10)
    check(time.monotonic() - began < 3, "with the last session it ends")
    same(d.process.returncode, 0, "exit status")
    Daemon.running.remove(d)
    d.check_log()


def case_sigterm_with_sessions_that_stay():
    d = file_daemon("--loops", "2").start()
    sessions = [login(d, name=f"{iscsi.INITIATOR}-{i}") for i in range(10)]
    for i, s in enumerate(sessions):
        for k in range(10):
            s.command(b"\x2a\0\0\0" + bytes([i, k]) + b"\0\0\x08\0", write=bytes(4096))
    began = time.monotonic()
    d.stop()
    check(time.monotonic() - began < 20, "it doesn't wait for them for ever")
    for s in sessions:
        s.close()


def case_second_signal_ends_at_once():
    d = file_daemon().start()
    with login(d):
        d.process.send_signal(signal.SIGINT)
        wait_until(lambda: "signal" in d.log(), "the first signal is noticed")
        d.process.send_signal(signal.SIGINT)
        d.process.wait(5)
        check(d.process.returncode != 0, "exit status isn't 0")
    Daemon.running.remove(d)


def case_no_login_while_stopping():
    d = file_daemon().start()
    with login(d) as s:
        d.process.send_signal(signal.SIGTERM)
        s.wait_other(iscsi.ASYNC)
        try:
            Session(d.port, TARGET, name=iscsi.INITIATOR + "2").close()
        except (Closed, OSError, iscsi.Refused):
            pass
        else:
            raise Failed("a login was accepted while stopping")
        s.logout()
    d.process.wait(10)
    Daemon.running.remove(d)


# ---- restart -------------------------------------------------------------------------------------------

def identity(d):
    with login(d) as s:
        return [s.inquiry(page).data for page in (0x80, 0x83)] + [s.inquiry().data[8:36]]


def case_identity_is_kept():
    d = Daemon("--lun", "ram:8MiB", "--quiet")
    d.options[:0] = ["--lun", f"{d.folder('store')}:8MiB"]
    d.start()
    before = identity(d)
    d.stop()
    d.start()
    same(identity(d), before, "identity after a restart")
    d.kill()
    d.start()
    same(identity(d), before, "identity after kill -9")
    d.stop()
    shutil.rmtree(d.state)
    d.start()
    check(identity(d)[0] != before[0], "another state directory gives another identity")
    d.stop()


def case_reservations_with_aptpl_are_kept():
    d = file_daemon("--loops", "2").start()
    with login(d, isid_number=7) as s:
        same(s.pr_out(0, new=0x1234, aptpl=True).status, GOOD, "REGISTER with APTPL")
        same(s.pr_out(1, 0x1234, kind=5).status, GOOD, "RESERVE")
    d.kill()
    d.start()
    with login(d, isid_number=7) as s, login(d, name=iscsi.INITIATOR + "2") as other:
        same(s.pr_keys(), [0x1234], "keys after kill -9")
        same(s.pr_reservation(), (0x1234, 5), "reservation after kill -9")
        same(other.write10(0, bytes(512)).status, CONFLICT, "WRITE of another initiator")
        same(s.write10(0, bytes(512)).status, GOOD, "WRITE of the holder")
        same(s.pr_out(0, 0x1234, new=0x1234, aptpl=False).status, GOOD, "REGISTER without APTPL")
    d.stop()
    d.start()
    with login(d, isid_number=7) as s:
        same(s.pr_keys(), [], "keys without APTPL are gone after a restart")
    d.stop()


def case_flushed_data_is_kept():
    d = file_daemon("--mode", "volatile").start()
    data = os.urandom(65536)
    with login(d) as s:
        same(s.write10(100, data).status, GOOD, "WRITE")
        same(s.execute(b"\x35" + bytes(9), timeout=30).status, GOOD, "SYNCHRONIZE CACHE")
        check(s.execute(b"\x1a\x08\x08\0\xff\0", read=255).data[4 + 2] & 4, "WCE is set")
    d.kill()
    d.start()
    with login(d) as s:
        same(s.read10(100, 128).data, data, "data after kill -9")
    d.stop()


def case_an_initiator_comes_back_after_a_kill():
    d = file_daemon("--loops", "2").start()
    old = login(d, isid_number=9)
    d.kill()
    check(old.ended(), "the connection ends")
    d.start()
    with login(d, isid_number=9) as s:
        r = Session.execute(s, bytes(6))
        same(r.status, GOOD, "TEST UNIT READY of the same initiator port")
    d.stop()


def case_new_sessions_learn_of_the_restart():
    d = file_daemon().start()
    with Session(d.port, TARGET) as s:
        same(s.execute(bytes(6)).code()[:2], (6, 0x29), "unit attention of a new nexus")
        same(s.execute(bytes(6)).status, GOOD, "once")
    d.stop()


# ---- stores ------------------------------------------------------------------------------------------

def attention(s, code, what):
    """The code comes as a unit attention (others may come before it)."""
    def look():
        return s.execute(bytes(6)).code() == code
    wait_until(look, what, 15)


def case_a_store_that_grows():
    d = file_daemon().start()
    with login(d) as s:
        same(s.capacity(), (16 * 2048, 512), "capacity")
        os.truncate(d.folder("store"), 24 * MIB)
        attention(s, (6, 0x2A, 9), "CAPACITY DATA HAS CHANGED")
        same(s.capacity(), (24 * 2048, 512), "capacity afterwards")
        same(s.write10(24 * 2048 - 8, b"\x5a" * 4096).status, GOOD, "WRITE at the new end")
        same(s.read10(24 * 2048 - 8, 8).data, b"\x5a" * 4096, "its data")
    d.stop()


def case_a_store_that_is_cut_off():
    """What was behind the end is lost: nobody is told that the rest is a smaller disk."""
    d = file_daemon().start()
    with login(d) as s:
        os.truncate(d.folder("store"), 8 * MIB)
        wait_until(lambda: (s.execute(bytes(6)).code() or (0,))[0] == 2, "NOT READY", 15)
        os.truncate(d.folder("store"), 16 * MIB)
        wait_until(lambda: s.execute(bytes(6)).status == GOOD, "ready again", 15)
        same(s.capacity(), (16 * 2048, 512), "capacity")
    d.stop()


def case_a_store_that_goes_and_comes_back():
    d = file_daemon().start()
    store = d.folder("store")
    data = os.urandom(4096)
    with login(d) as s:
        same(s.write10(0, data).status, GOOD, "WRITE")
        os.rename(store, store + ".away")
        wait_until(lambda: (s.execute(bytes(6)).code() or (0,))[0] == 2, "NOT READY", 15)
        same(s.inquiry().status, GOOD, "INQUIRY works")
        check((s.read10(0, 8).code() or (0,))[0] in (2, 6), "READ isn't served")
        os.rename(store + ".away", store)
        wait_until(lambda: s.execute(bytes(6)).status == GOOD, "ready again", 15)
        same(s.read10(0, 8).data, data, "its data")
    check("is back" in d.log() and "doesn't answer" in d.log(), "both are logged")
    d.stop()


def case_a_store_that_is_full():
    """The file system has no more space: DATA PROTECT, SPACE ALLOCATION FAILED, and it goes on."""
    folder = Folder()
    os.mkdir(folder("small"))
    if os.geteuid() != 0 or os.system(
            f"truncate -s 8M {folder('fs')} && mke2fs -q -t ext4 {folder('fs')} 2>/dev/null && "
            f"mount -o loop {folder('fs')} {folder('small')} 2>/dev/null") != 0:
        raise Skipped("no loop mount here")
    try:
        d = Daemon("--lun", f"{folder('small/store')}:64MiB", "--quiet", folder=folder).start()
        with login(d) as s:
            full = None
            for lba in range(0, 64 * 2048, 512):
                r = s.write10(lba, b"\xaa" * 262144)
                if r.status != GOOD:
                    full = r.code()
                    break
            same(full, (7, 0x27, 7), "sense of a WRITE that finds no space")
            same(s.read10(0, 8).data, b"\xaa" * 4096, "what was written before")
        d.stop()
    finally:
        os.system(f"umount {folder('small')}")


# ---- a plain user -----------------------------------------------------------------------------------------

def case_start_by_a_plain_user():
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        raise Skipped("needs root and setpriv")
    folder = Folder()
    os.chmod(folder.path, 0o755)
    os.mkdir(folder("home"))
    os.chown(folder("home"), 65534, 65534)
    shutil.copy(terraced.PROGRAM, folder("terraced"))
    os.chmod(folder("terraced"), 0o755)
    d = Daemon("--lun", f"{folder('home/store')}:8MiB", "--quiet", folder=folder,
               prefix=["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "env",
                       f"HOME={folder('home')}", "XDG_STATE_HOME="])
    own = d.command()
    at = own.index("--state-dir")
    command = [folder("terraced") if a == terraced.PROGRAM else a
               for a in own[:at] + own[at + 2:]]
    d.command = lambda: command
    d.start()
    with login(d) as s:
        same(s.write10(0, bytes(4096)).status, GOOD, "WRITE")
    check(os.path.isdir(folder("home/.local/state/terrace")), "the state is in the user's home")
    same(os.stat(folder("home/.local/state/terrace")).st_mode & 0o077, 0, "others can't read it")
    d.stop()


def case_ipv6_and_several_portals():
    port6 = None
    try:
        port6 = free_ports(1, "::1")[0]
    except OSError:
        raise Skipped("no IPv6 here") from None
    d = file_daemon("--listen", f"[::1]:{port6}").start()
    with Session(port6, TARGET, address="::1") as s:
        same(s.ready().status, GOOD, "over IPv6")
        text = Session(d.port, None).send_targets()
        check(f"TargetAddress=[::1]:{port6}," in text and f"127.0.0.1:{d.port}," in text,
              "both portals are shown")
    d.stop()


if __name__ == "__main__":
    run(lambda: run_each(globals()))
