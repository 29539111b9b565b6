#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
Task management, floods, peers that don't read, and units that are hidden. Unit 1 takes 0.3 s for each
operation, so that tasks can be met while they run. Arguments: names of cases.
"""

import os
import struct
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
import iscsi  # noqa: E402
from iscsi import GOOD, NONE, Closed, Session  # noqa: E402
from terraced import Daemon, check, run, run_cases, same, wait_until  # noqa: E402

IQN = "iqn.2026-11.example.terrace:"
ALL, SOME = IQN + "all", IQN + "some"
COMPLETE, NO_TASK, NO_LUN, NO_REASSIGN, NOT_SUPPORTED, SUCCEEDED, REJECTED = 0, 1, 2, 4, 5, 7, 255
FAST, SLOW = 0, 1
LEVEL2 = {"iSCSIProtocolLevel": "2"}
REJECT_IMMEDIATE = 6
MIB = 1 << 20
CONFIG = f"""
    lun fast {{ store ram: ; size 64MiB }}
    lun slow {{ store fault:1:delay_us=300000:ram: ; size 64MiB }}
    lun far {{ store ram: ; size 64MiB }}
    portal p {{ listen 127.0.0.1:{{port}} }}
    target {ALL} {{ portals p ; open yes ; lun 0 fast ; lun 1 slow ; lun 300 far }}
    target {SOME} {{ portals p ; open yes ; lun 5 fast read_only }}
"""


def login(d, target=ALL, **more):
    s = Session(d.port, target, **more)
    for lun in s.report_luns():
        s.ready(lun)
    return s


def read10(lba=0, blocks=8):
    return struct.pack(">BBIBHB", 0x28, 0, lba, 0, blocks, 0)


def write10(lba=0, blocks=8):
    return struct.pack(">BBIBHB", 0x2A, 0, lba, 0, blocks, 0)


# ---- abort and query -------------------------------------------------------------------------------

def case_abort_of_a_running_task(d):
    with login(d) as s:
        itt = s.command(write10(), SLOW, write=b"\xab" * 4096)
        began = time.monotonic()
        same(s.tmf(iscsi.ABORT_TASK, SLOW, itt, s.cmd_sn - 1), COMPLETE, "ABORT TASK")
        check(time.monotonic() - began < 3, "it doesn't take long")
        check(itt not in s.answers and s.silent(0.8), "the aborted task isn't answered")
        same(s.read10(0, 8, SLOW).status, GOOD, "the unit works")


def case_abort_while_data_is_awaited(d):
    with login(d, keys={"ImmediateData": "No", "InitialR2T": "Yes"}) as s:
        itt = s.command(write10(0, 128), FAST, write=bytes(65536))
        data = s.writes.pop(itt)
        r2t = s.pump()
        same(s.tmf(iscsi.ABORT_TASK, FAST, itt, s.cmd_sn - 1), COMPLETE, "ABORT TASK")
        s.data_out(itt, r2t.ttt, 0, data[:4096], 0, False)
        s.data_out(itt, r2t.ttt, 4096, data[4096:8192], 1, True)
        check(s.silent(), "data of the aborted task is dropped without an answer")
        same(s.write10(0, bytes(4096)).status, GOOD, "the session works")


def case_abort_of_a_finished_task(d):
    with login(d) as s:
        sn = s.cmd_sn
        itt = s.command(bytes(6), FAST)
        same(s.wait(itt).status, GOOD, "TEST UNIT READY")
        s.nop()
        same(s.tmf(iscsi.ABORT_TASK, FAST, itt, sn), COMPLETE,
             "ABORT TASK of a task whose response is acknowledged")


def case_abort_of_an_unknown_task(d):
    with login(d) as s:
        same(s.tmf(iscsi.ABORT_TASK, FAST, 0x99999, (s.exp_cmd_sn - 1000) & NONE), NO_TASK,
             "ABORT TASK of a task that never was, with a CmdSN of long ago")


def case_abort_of_a_task_never_received(d):
    """RFC 7143 §11.6.1: its CmdSN counts as received; the command must not be executed later."""
    with login(d) as s:
        sn = s.take_sn()
        same(s.tmf(iscsi.ABORT_TASK, FAST, 0x4242, sn), COMPLETE, "ABORT TASK")
        check(s.ready().status == GOOD, "the next CmdSN is served")
        h = s.command_header(write10(500), FAST, write=4096, itt=0x4242, cmd_sn=sn)
        s.send(h, b"\x77" * 4096)
        check(s.silent(), "the command that comes late is ignored")
        check(s.read10(500, 8).data != b"\x77" * 4096, "and writes nothing")


def case_abort_names_the_wrong_unit(d):
    with login(d) as s:
        itt = s.command(read10(), SLOW, read=4096)
        check(s.tmf(iscsi.ABORT_TASK, FAST, itt, s.cmd_sn - 1) != COMPLETE,
              "ABORT TASK with another LUN than the task's isn't complete")
        same(s.wait(itt).status, GOOD, "the task")


def case_abort_task_set(d):
    with login(d) as s, login(d) as other:
        mine = [s.command(read10(), SLOW, read=4096) for _ in range(4)]
        theirs = other.command(read10(), SLOW, read=4096)
        same(s.tmf(iscsi.ABORT_TASK_SET, SLOW), COMPLETE, "ABORT TASK SET")
        check(not any(t in s.answers for t in mine) and s.silent(0.5), "no task is answered")
        same(other.wait(theirs).status, GOOD, "the task of another initiator")


def case_lu_reset(d):
    with login(d) as s, login(d) as other:
        theirs = other.command(read10(), SLOW, read=4096)
        time.sleep(0.05)
        same(s.tmf(iscsi.LU_RESET, SLOW), COMPLETE, "LOGICAL UNIT RESET")
        check(theirs not in other.answers, "tasks of all initiators end")
        same(other.execute(bytes(6), SLOW).code()[0], 6, "the other one gets a unit attention")
        same(other.execute(bytes(6), FAST).status, GOOD, "other units aren't touched")


def case_functions_that_are_not_offered(d):
    with login(d) as s:
        same(s.tmf(iscsi.CLEAR_ACA, FAST), NOT_SUPPORTED, "CLEAR ACA")
        check(s.tmf(iscsi.REASSIGN, FAST, 5) in (NO_REASSIGN, NOT_SUPPORTED), "TASK REASSIGN")
        for f in (iscsi.QUERY_TASK, iscsi.QUERY_TASK_SET, iscsi.NEXUS_RESET, iscsi.QUERY_ASYNC):
            same(s.tmf(f, FAST, 5), NOT_SUPPORTED, f"function {f} at protocol level 1")
        for f in (0, 13, 64, 127):
            check(s.tmf(f, FAST, 5) in (NOT_SUPPORTED, REJECTED), f"function {f}")


def case_query_task(d):
    with login(d, keys=LEVEL2) as s:
        same(s.agreed.get("iSCSIProtocolLevel"), "2", "protocol level")
        itt = s.command(read10(), SLOW, read=4096)
        same(s.tmf(iscsi.QUERY_TASK, SLOW, itt, s.cmd_sn - 1), SUCCEEDED, "QUERY TASK of a running task")
        same(s.tmf(iscsi.QUERY_TASK_SET, SLOW), SUCCEEDED, "QUERY TASK SET of a busy unit")
        same(s.wait(itt).status, GOOD, "the task isn't disturbed")
        same(s.tmf(iscsi.QUERY_TASK_SET, SLOW), COMPLETE, "QUERY TASK SET of an idle unit")
        same(s.tmf(iscsi.QUERY_TASK, SLOW, 0x98765, 1), COMPLETE, "QUERY TASK of none")
        same(s.tmf(iscsi.NEXUS_RESET, SLOW), COMPLETE, "I_T NEXUS RESET")


def case_cold_reset_ends_the_session(d):
    with login(d) as s, login(d) as other:
        same(s.tmf(iscsi.COLD_RESET), COMPLETE, "TARGET COLD RESET")
        check(s.ended(), "the session ends")
        same(other.execute(bytes(6), FAST).code()[0], 6, "another one gets a unit attention")


# ---- hidden units -----------------------------------------------------------------------------------

def case_unmapped_lun_0(d):
    with login(d, SOME) as s:
        same(s.report_luns(), [5], "REPORT LUNS")
        r = s.inquiry()
        same((r.status, r.data[0] >> 5), (GOOD, 1), "peripheral qualifier")
        same(s.execute(struct.pack(">BBxxBx", 3, 0, 252), 0, read=252).status, GOOD, "REQUEST SENSE")
        same(s.execute(bytes(6)).code(), (5, 0x25, 0), "TEST UNIT READY")
        same(s.read10(0, 8).code(), (5, 0x25, 0), "READ")


def case_other_unmapped_luns(d):
    with login(d, SOME) as s:
        for lun in (1, 7, 255, 300, 16383):
            r = s.inquiry(lun=lun)
            same((r.status, r.data[0]), (GOOD, 0x7F), f"INQUIRY of LUN {lun}: qualifier 3")
            same(s.execute(bytes(6), lun).code(), (5, 0x25, 0), f"TEST UNIT READY of LUN {lun}")
            same(s.tmf(iscsi.LU_RESET, lun), NO_LUN, f"LOGICAL UNIT RESET of LUN {lun}")


def case_lun_addressing(d):
    with login(d) as s:
        for lun in (struct.pack(">H6x", 0x4001), struct.pack(">H6x", 0x0001)):
            h = s.command_header(bytes(6), lun)
            s.send(h)
            same(s.wait(struct.unpack_from(">I", h, 16)[0]).status, GOOD, f"LUN {lun.hex()}")
        same(s.execute(bytes(6), 300).status, GOOD, "LUN 300, flat")
        for lun in (b"\x80" + bytes(7), b"\xc1" + bytes(7), b"\xff" * 8, b"\0\1\0\0\0\0\0\1",
                    b"\1\0" + bytes(6)):
            h = s.command_header(bytes(6), lun)
            s.send(h)
            r = s.wait(struct.unpack_from(">I", h, 16)[0])
            same(r.code(), (5, 0x25, 0), f"LUN {lun.hex()}")


def case_read_only_in_a_group(d):
    with login(d, SOME) as s:
        same(s.write10(0, bytes(512), 5).code(), (7, 0x27, 0), "WRITE")
        same(s.read10(0, 1, 5).status, GOOD, "READ")


def case_resets_stay_within_the_view(d):
    with login(d, SOME) as s, login(d) as other:
        itt = other.command(read10(), SLOW, read=4096)
        same(s.tmf(iscsi.WARM_RESET), COMPLETE, "TARGET WARM RESET")
        same(other.wait(itt).status, GOOD, "a task of a unit that the resetting one doesn't see")


# ---- floods -----------------------------------------------------------------------------------------

def case_immediate_commands(d):
    """Eight at once, the rest is rejected; nothing else suffers."""
    with login(d) as s:
        tags = [s.command(read10(), SLOW, read=4096, immediate=True) for _ in range(40)]
        rejected = sum(s.wait_other(iscsi.REJECT).response == REJECT_IMMEDIATE
                       for _ in range(32))
        same(rejected, 32, "rejects with the reason of too many immediate commands")
        served = 0
        end = time.monotonic() + 10
        while served < 8 and time.monotonic() < end:
            s.pump()
            served = sum(t in s.answers for t in tags)
        same(served, 8, "immediate commands that were served")
        check(s.ready().status == GOOD, "the session goes on")


def case_tmf_flood(d):
    """Functions that wait for the slow unit fill a session's; another one's abort gets through."""
    with login(d) as s, login(d) as other:
        for _ in range(4):
            s.command(read10(), SLOW, read=4096)
        for _ in range(200):
            s.send(s.request(iscsi.TMF_REQ, iscsi.FINAL | iscsi.LU_RESET, SLOW, immediate=True))
        itt = other.command(read10(), SLOW, read=4096)
        began = time.monotonic()
        check(other.tmf(iscsi.ABORT_TASK, SLOW, itt, other.cmd_sn - 1) in (COMPLETE, NO_TASK),
              "ABORT TASK of another session")
        check(time.monotonic() - began < 5, "it comes through")
        got = 0
        while got < 200:
            p = s.pump(10)
            got += p.opcode in (iscsi.TMF_RSP, iscsi.REJECT)
        check(s.ready(FAST).status == GOOD, "the session goes on")
    wait_until(lambda: ready(d, SLOW), "the unit is ready again")


def ready(d, lun):
    with login(d) as s:
        return s.ready(lun).status == GOOD


def case_nop_flood_without_reading(d):
    rss = d.rss_bytes()
    with login(d) as s:
        s.sock.settimeout(0.5)
        data = s.encode(s.request(iscsi.NOP_OUT, immediate=True, ttt=NONE), b"n" * 4096)
        sent = 0
        try:
            while sent < 256 * MIB:
                s.sock.sendall(data * 16)
                sent += 16 * len(data)
        except OSError:
            pass
        check(sent < 128 * MIB, f"the target stops reading (it took {sent >> 20} MiB)")
        check(d.rss_bytes() - rss < 24 * MIB,
              f"memory is bounded (it grew by {(d.rss_bytes() - rss) >> 20} MiB)")
        with login(d) as other:
            check(other.ready().status == GOOD, "another session is served")


def case_reads_that_nobody_takes(d):
    """A session that asks for much and takes nothing: others keep their speed."""
    with login(d, recv_buffer=65536) as s, login(d) as other:
        def speed():
            began = time.monotonic()
            for _ in range(300):
                same(other.read10(0, 8).status, GOOD, "READ of the other session")
            return time.monotonic() - began

        before = speed()
        rss = d.rss_bytes()
        s.sock.settimeout(0.5)
        try:
            for _ in range(min(100, s.max_cmd_sn - s.cmd_sn + 1)):
                s.command(read10(0, 2048), FAST, read=MIB)
        except OSError:
            pass
        time.sleep(0.2)
        after = min(speed(), speed())
        check(after < 5 * before + 0.2,
              f"300 READs took {before:.3f} s before and {after:.3f} s with the other stalled")
        check(d.rss_bytes() - rss < 160 * MIB, "memory is bounded")


def case_writes_that_never_come(d):
    """Sessions that announce data and send none hold buffers; others are still served."""
    held = []
    for i in range(4):
        s = login(d, name=f"{iscsi.INITIATOR}-hold{i}",
                  keys={"ImmediateData": "No", "InitialR2T": "Yes"})
        for _ in range(min(100, s.max_cmd_sn - s.cmd_sn + 1)):
            itt = s.command(write10(0, 2048), FAST, write=bytes(MIB))
            del s.writes[itt]
        held.append(s)
    time.sleep(0.3)
    try:
        with login(d) as other:
            began = time.monotonic()
            same(other.write10(0, bytes(4096)).status, GOOD, "WRITE of another session")
            same(other.read10(0, 8).status, GOOD, "READ of another session")
            check(time.monotonic() - began < 5, "they don't wait for the others")
    finally:
        for s in held:
            s.close()


def case_buffers_come_back_from_those_that_send_nothing(_):
    """All buffers are promised to writes whose data never comes: in the end others get them."""
    own = Daemon("--loops", "1", "--quiet", "--buffers", "8MiB", config=CONFIG +
                 "limits { send_stall_ms 1500 ; nop_interval_ms 0 }").start()
    held = []
    for i in range(4):
        s = login(own, name=f"{iscsi.INITIATOR}-hold{i}",
                  keys={"ImmediateData": "No", "InitialR2T": "Yes"})
        for _ in range(16):
            del s.writes[s.command(write10(0, 2048), FAST, write=bytes(MIB))]
        held.append(s)
    time.sleep(0.3)
    with Session(own.port, ALL) as other:
        same(other.execute(write10(), FAST, write=bytes(4096), timeout=15).code()[0], 6,
             "unit attention of a WRITE")
        began = time.monotonic()
        same(other.write10(0, bytes(4096), timeout=15).status, GOOD, "WRITE of another session")
        check(time.monotonic() - began < 15, "it doesn't wait for ever")
        wait_until(lambda: "asked for doesn't come" in own.log(), "those that held them are told")
        same(other.write10(0, bytes(4096), timeout=15).status, GOOD, "WRITE afterwards")
    for s in held:
        s.close()
    own.stop()


def case_reset_while_much_is_under_way(d):
    for i in range(10):
        with login(d, name=f"{iscsi.INITIATOR}-{i}") as s:
            try:
                for k in range(20):
                    s.command(read10(0, 256), SLOW if k % 2 else FAST, read=131072)
                    s.command(write10(0, 8), SLOW if k % 3 else FAST, write=bytes(4096))
                s.send(s.request(iscsi.TMF_REQ, iscsi.FINAL | iscsi.WARM_RESET, 0,
                                 immediate=True))
            except Closed:
                pass  # 40 commands pass the window; a gap in CmdSN ends the session
    wait_until(lambda: ready(d, SLOW), "the unit is ready again")


def case_many_sessions_come_and_go(d):
    for i in range(150):
        with login(d, name=f"{iscsi.INITIATOR}-{i}") as s:
            s.command(read10(0, 64), FAST, read=32768)


def main():
    d = Daemon("--loops", "2", "--quiet", config=CONFIG).start()

    def probe():
        with login(d) as s:
            same(s.read10(0, 8).status, GOOD, "a READ of a fresh session")
            s.logout()

    run_cases(globals(), d, probe)


if __name__ == "__main__":
    run(main)
