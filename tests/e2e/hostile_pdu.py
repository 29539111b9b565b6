#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
What no initiator should send in the full feature phase: sequence numbers, data, digests, lengths,
opcodes, text, cut and random streams. Arguments: names of cases.
"""

import os
import random
import struct
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
import iscsi  # noqa: E402
from iscsi import GOOD, NONE, Closed, Connection, Session  # noqa: E402
from terraced import TARGET, Daemon, check, run, run_cases, same, wait_until  # noqa: E402

REJECT_DATA_DIGEST, REJECT_SNACK, REJECT_PROTOCOL, REJECT_UNSUPPORTED = 2, 3, 4, 5
REJECT_TASK_IN_PROGRESS, REJECT_INVALID_FIELD = 7, 9
WRITE_WHOLE = {"ImmediateData": "No", "InitialR2T": "Yes", "MaxRecvDataSegmentLength": "8192"}
CRC = {"HeaderDigest": "CRC32C", "DataDigest": "CRC32C"}


def login(d, **more):
    s = Session(d.port, TARGET, **more)
    check(s.ready().status == GOOD, "the unit is ready")
    return s


def usable(s, what):
    check(s.ready().status == GOOD, f"the session goes on after {what}")


def write10(lba, blocks):
    return struct.pack(">BBIBHB", 0x2A, 0, lba, 0, blocks, 0)


# ---- command numbers ------------------------------------------------------------------------------

def case_cmd_sn_duplicate_is_ignored(d):
    with login(d) as s:
        s.send(s.command_header(bytes(6), cmd_sn=s.cmd_sn - 1))
        check(s.silent(), "a CmdSN used before gets no answer")
        usable(s, "a duplicate CmdSN")


def case_cmd_sn_beyond_window_is_ignored(d):
    with login(d) as s:
        for far in (1, 2, 1000, 0x7FFFFFF0):
            h = s.command_header(write10(0, 8), write=4096, cmd_sn=(s.max_cmd_sn + far) & NONE)
            s.send(h, b"\xee" * 4096)
        check(s.silent(), "a CmdSN outside the window gets no answer")
        usable(s, "CmdSNs outside the window")
        check(s.read10(0, 8).data != b"\xee" * 4096, "an ignored WRITE writes nothing")


def case_cmd_sn_gap_ends_the_connection(d):
    with login(d) as s:
        s.send(s.command_header(bytes(6), cmd_sn=s.cmd_sn + 1))
        check(s.ended(), "a gap that can't be filled ends the connection")


def case_window_never_moves_back(d):
    with login(d) as s:
        last = s.max_cmd_sn
        tags = []
        for _ in range(200):
            while (s.max_cmd_sn - s.cmd_sn) & 0x80000000:
                s.pump()
            tags.append(s.command(struct.pack(">BBIBHB", 0x28, 0, 0, 0, 8, 0), read=4096))
            check(not (s.max_cmd_sn - last) & 0x80000000, "MaxCmdSN doesn't move back")
            last = s.max_cmd_sn
        for t in tags:
            same(s.wait(t).status, GOOD, "status of a command within the window")
        check(s.max_cmd_sn - s.exp_cmd_sn < 1024, "the window is bounded")


def case_task_tags_in_use(d):
    with login(d, keys=WRITE_WHOLE) as s:
        itt = s.command(write10(0, 8), write=bytes(4096))
        del s.writes[itt]  # its R2T stays unanswered
        s.pump()
        s.send(s.command_header(bytes(6), itt=itt))
        same(s.wait_other(iscsi.REJECT).response, REJECT_TASK_IN_PROGRESS, "a tag that is in use")
        s.send(s.command_header(bytes(6), itt=NONE))
        same(s.wait_other(iscsi.REJECT).response, REJECT_INVALID_FIELD, "the reserved tag")
        usable(s, "wrong task tags")


# ---- data-out ---------------------------------------------------------------------------------------

def spoiled_data_out(d, spoil):
    """A solicited WRITE whose first Data-Out is what `spoil` makes of it doesn't end with GOOD."""
    old, new = b"\x11" * 65536, b"\x22" * 65536
    with login(d, keys=WRITE_WHOLE) as s:
        same(s.write10(64, old).status, GOOD, "the WRITE before")
        itt = s.command(write10(64, 128), write=new)
        del s.writes[itt]
        r2t = s.pump()
        same(r2t.opcode, iscsi.R2T, "a solicited WRITE is answered with R2T")
        try:
            spoil(s, r2t, new)
            r = s.wait(itt, 5)
            check(r.status != GOOD, "the command doesn't return GOOD")
            usable(s, "a wrong Data-Out")
        except Closed:
            pass  # allowed, RFC 7143 §7.8
    with login(d) as s:
        got = s.read10(64, 128).data
        check(set(got) <= {0x11, 0x22}, "nothing else was written")


def case_data_out_wrong_data_sn(d):
    spoiled_data_out(d, lambda s, p, w: s.data_out(p.itt, p.ttt, 0, w[:8192], 5, False))


def case_data_out_wrong_offset(d):
    spoiled_data_out(d, lambda s, p, w: s.data_out(p.itt, p.ttt, 512, w[:8192], 0, False))


def case_data_out_wrong_ttt(d):
    spoiled_data_out(d, lambda s, p, w: s.data_out(p.itt, p.ttt + 7, 0, w[:8192], 0, False))


def case_data_out_unsolicited_after_final(d):
    spoiled_data_out(d, lambda s, p, w: s.data_out(p.itt, NONE, 0, w[:8192], 0, True))


def case_data_out_early_final(d):
    spoiled_data_out(d, lambda s, p, w: s.data_out(p.itt, p.ttt, 0, w[:8192], 0, True))


def case_data_out_far_offset(d):
    spoiled_data_out(d, lambda s, p, w: s.data_out(p.itt, p.ttt, 0xFFFFF000, w[:8192], 0, False))


def case_data_out_for_nobody(d):
    with login(d) as s:
        s.data_out(0x7777, 1, 0, bytes(4096))
        same(s.wait_other(iscsi.REJECT).response, REJECT_PROTOCOL, "a Data-Out without a command")
        usable(s, "a Data-Out without a command")


def case_immediate_data_over_first_burst(d):
    with login(d, keys={"FirstBurstLength": "4096"}) as s:
        s.send(s.command_header(write10(0, 16), write=8192), bytes(8192))
        check(s.ended(), "more immediate data than FirstBurstLength ends the connection")


def case_immediate_data_against_agreement(d):
    with login(d, keys={"ImmediateData": "No"}) as s:
        s.send(s.command_header(write10(0, 8), write=4096), bytes(4096))
        check(s.ended(), "immediate data with ImmediateData=No ends the connection")


def case_unsolicited_data_against_agreement(d):
    with login(d, keys=WRITE_WHOLE) as s:
        s.send(s.command_header(write10(0, 8), write=4096, final=False))
        check(s.ended(), "unsolicited data with InitialR2T=Yes ends the connection")


def case_unsolicited_data_over_first_burst(d):
    with login(d, keys={"FirstBurstLength": "8192", "InitialR2T": "No"}) as s:
        h = s.command_header(write10(0, 128), write=65536, final=False)
        itt = struct.unpack_from(">I", h, 16)[0]
        s.reads[itt] = bytearray()
        s.send(h, bytes(4096))
        try:
            s.data_out(itt, NONE, 4096, bytes(8192), 0, True)
            check(s.wait(itt, 5).status != GOOD, "the command doesn't return GOOD")
        except Closed:
            pass


def case_more_data_than_expected(d):
    with login(d) as s:
        h = s.command_header(write10(0, 8), write=4096)
        s.send(h, bytes(8192))
        check(s.ended(), "more immediate data than the expected length ends the connection")


def case_expected_length_differs_from_the_cdb(d):
    with login(d) as s:
        r = s.execute(write10(0, 8), write=bytes(2048))
        check(r.status != GOOD or r.flags & 4, "a WRITE with too little data isn't simply GOOD")
        r = s.read10(0, 8)
        same(len(r.data), 4096, "a whole READ")
        r = s.execute(struct.pack(">BBIBHB", 0x28, 0, 0, 0, 8, 0), read=1024)
        check(r.flags & 4 and r.residual == 3072, "a READ into too short a buffer overflows by 3072")
        r = s.execute(struct.pack(">BBIBHB", 0x28, 0, 0, 0, 2, 0), read=4096)
        check(r.flags & 2 and r.residual == 3072, "a READ of less than expected underflows by 3072")
        usable(s, "wrong lengths")


# ---- digests ---------------------------------------------------------------------------------------

def case_digests_agree(d):
    with login(d, keys=CRC) as s:
        data = random.Random(3).randbytes(70000 // 512 * 512)
        same(s.write10(9, data).status, GOOD, "a WRITE with digests")
        check(s.read10(9, len(data) // 512).data == data, "the data comes back")
        same(s.nop(b"abc"), b"abc", "an odd number of bytes comes back")


def case_header_digest_error(d):
    with login(d, keys=CRC) as s:
        s.send(s.command_header(bytes(6)), spoil="header")
        check(s.ended(), "a header digest error ends the connection")


def case_data_digest_error(d):
    with login(d, keys=CRC) as s:
        s.send(s.command_header(write10(0, 8), write=4096), b"\xdd" * 4096, spoil="data")
        same(s.wait_other(iscsi.REJECT).response, REJECT_DATA_DIGEST, "reason of the Reject")
        check(s.ended(), "a data digest error ends the connection")
    with login(d) as s:
        check(s.read10(0, 8).data != b"\xdd" * 4096, "data with a wrong digest isn't written")


# ---- opcodes, lengths, AHS ---------------------------------------------------------------------------

def case_snack(d):
    with login(d) as s:
        s.send(s.request(iscsi.SNACK_REQ, immediate=True, ttt=NONE))
        same(s.wait_other(iscsi.REJECT).response, REJECT_SNACK, "reason of the Reject")
        usable(s, "SNACK")


def case_unknown_opcodes(d):
    with login(d) as s:
        for opcode in [*range(0x07, 0x10), *range(0x11, 0x40)]:
            h = s.request(opcode, immediate=True)
            s.send(h, b"data")
            p = s.wait_other(iscsi.REJECT)
            check(p.response in (REJECT_UNSUPPORTED, REJECT_PROTOCOL), "reason of the Reject")
            h[7] = 4
            same(p.data, bytes(h), "the header that the Reject quotes")
        usable(s, "unknown opcodes")


def case_login_request_in_full_feature_phase(d):
    with login(d) as s:
        s.send(s.login_header(1, 3, True), iscsi.pack_keys(s.identity()))
        check(s.ended(), "a Login Request ends the connection")


def case_data_segment_too_long(d):
    for length in (262144 + 4, 0xFFFFFF):
        with login(d) as s:
            h = s.request(iscsi.NOP_OUT, immediate=True, ttt=NONE)
            h[5:8] = length.to_bytes(3, "big")
            try:
                s.send_raw(bytes(h) + bytes(100000))
            except OSError:
                pass
            check(s.ended(), f"a data segment of {length} bytes ends the connection")


def case_extended_cdb_is_refused(d):
    with login(d) as s:
        ahs = struct.pack(">HBB", 13, 1, 0) + bytes(12)
        h = s.command_header(b"\x7f" + bytes(15))
        s.send(h, ahs=ahs)
        r = s.wait(struct.unpack_from(">I", h, 16)[0])
        same((r.status, r.code()), (2, (5, 0x20, 0)), "an extended CDB")
        usable(s, "an extended CDB")


def case_bidirectional_is_refused(d):
    with login(d) as s:
        h = s.command_header(b"\x53" + bytes(15), read=512)
        h[1] |= iscsi.WRITE
        s.send(h, ahs=struct.pack(">HBBI", 5, 2, 0, 512))
        r = s.wait(struct.unpack_from(">I", h, 16)[0])
        same((r.status, r.code()), (2, (5, 0x20, 0)), "a bidirectional command")
        usable(s, "a bidirectional command")


def case_ahs_too_long(d):
    with login(d) as s:
        try:
            s.send(s.command_header(bytes(6)), ahs=bytes(255 * 4))
        except Closed:
            return
        check(s.ended(), "1020 bytes of AHS end the connection")


def case_ahs_malformed(d):
    for ahs in (struct.pack(">HBB", 0xFFFF, 1, 0), struct.pack(">HBB", 60, 2, 0) + bytes(8),
                bytes(4) + struct.pack(">HBB", 9, 9, 9)):
        with login(d) as s:
            s.send(s.command_header(bytes(6)), ahs=ahs)
            try:
                p = s.pump(3)
                check(p.opcode in (iscsi.REJECT, iscsi.SCSI_RSP), "it is rejected or answered")
                usable(s, "a malformed AHS")
            except Closed:
                pass


# ---- NOP, text, logout ---------------------------------------------------------------------------------

def case_nop_data(d):
    with login(d) as s:
        same(s.nop(b"x" * 4096), b"x" * 4096, "4 KiB come back")
        echo = s.nop(b"y" * 100000)
        check(len(echo) <= 4096 and set(echo) == {ord("y")}, "of more data at most 4 KiB come back")
        h = s.request(iscsi.NOP_OUT, itt=NONE, ttt=NONE, immediate=True)
        s.send(h)
        check(s.silent(), "a NOP-Out without a tag isn't answered")
        s.send(s.request(iscsi.NOP_OUT, itt=NONE, ttt=0x1234, immediate=True))
        usable(s, "a NOP-Out that answers nothing")


def case_text_malformed(d):
    for raw in (b"=x\0", b"NoEquals\0", b"A" * 100 + b"=b\0", b"SendTargets=All", b"\xff\xfe=1\0",
                b"X=" + b"y" * 9000 + b"\0"):
        with login(d) as s:
            s.send(s.request(iscsi.TEXT_REQ, ttt=NONE), raw)
            try:
                p = s.pump(3)
                check(p.opcode in (iscsi.REJECT, iscsi.TEXT_RSP), "it is rejected or answered")
                usable(s, f"text {raw[:20]!r}")
            except Closed:
                pass


def case_text_without_end(d):
    with login(d) as s:
        rss = d.rss_bytes()
        ttt, sent = NONE, 0
        try:
            for i in range(2000):
                h = s.request(iscsi.TEXT_REQ, 0x40, ttt=ttt)
                s.send(h, f"X-{i}=".encode() + b"v" * 4000)
                p = s.pump(3)
                if p.opcode == iscsi.REJECT:
                    break
                ttt, sent = p.ttt, sent + 4000
        except Closed:
            pass
        check(sent < 128 * 1024, f"text over C bits is bounded ({sent} bytes went)")
        check(d.rss_bytes() - rss < 4 << 20, "no memory is piled up")


def case_text_too_long(d):
    with login(d) as s:
        s.send(s.request(iscsi.TEXT_REQ, ttt=NONE), b"A=b\0" * 10000)
        try:
            check(s.pump(3).opcode == iscsi.REJECT, "it is rejected")
        except Closed:
            pass


def case_text_wrong_tag(d):
    with login(d) as s:
        s.send(s.request(iscsi.TEXT_REQ, ttt=0x5555), b"SendTargets=\0")
        try:
            p = s.pump(3)
            same(p.opcode, iscsi.REJECT, "answer to a target transfer tag that was never given")
            usable(s, "a wrong target transfer tag")
        except Closed:
            pass


def case_logout_reasons(d):
    with login(d) as s:
        same(s.logout(1, cid=99), 1, "logout of a connection that isn't there: CID not found")
        same(s.logout(2), 2, "logout for recovery: not supported")
        s.send(s.request(iscsi.LOGOUT_REQ, iscsi.FINAL | 5))
        s.wait_other(iscsi.REJECT)
        usable(s, "refused logouts")
        same(s.logout(0), 0, "logout of the session")
        check(s.ended(), "the connection ends after it")


def case_logout_with_commands_under_way(d):
    with login(d, keys=WRITE_WHOLE) as s:
        for _ in range(5):
            del s.writes[s.command(write10(0, 8), write=bytes(4096))]
        same(s.logout(0), 0, "logout while writes wait for their data")
        check(s.ended(), "the connection ends after it")


def case_requests_behind_a_logout(d):
    with login(d) as s:
        out = s.encode(s.request(iscsi.LOGOUT_REQ, iscsi.FINAL))
        for _ in range(50):
            out += s.encode(s.command_header(bytes(6)))
        s.send_raw(out)
        check(s.ended(), "the connection ends")


# ---- streams ---------------------------------------------------------------------------------------------

def login_bytes(d):
    s = Session.__new__(Session)
    s.isid, s.tsih, s.cid, s.cmd_sn, s.exp_stat_sn = iscsi.isid(0xABCDEF), 0, 0, 1, 0
    s.name, s.target, s.header_digest, s.data_digest = iscsi.INITIATOR, TARGET, False, False
    keys = {**s.identity(), **iscsi.KEYS}
    return s.encode(s.login_header(1, 3, True), iscsi.pack_keys(keys))


def case_byte_by_byte(d):
    with Connection(d.port) as c:
        for b in login_bytes(d):
            c.send_raw(bytes([b]))
        p = c.recv()
        same((p.opcode, p.header[36]), (iscsi.LOGIN_RSP, 0), "a login in single bytes")
    with login(d, keys=CRC) as s:
        data = os.urandom(1024)
        h = s.command_header(write10(5, 2), write=1024)
        itt = struct.unpack_from(">I", h, 16)[0]
        for b in s.encode(h, data):
            s.send_raw(bytes([b]))
        same(s.wait(itt).status, GOOD, "a WRITE in single bytes")
        same(s.read10(5, 2).data, data, "its data")


def case_many_in_one_segment(d):
    with login(d) as s:
        count = min(30, s.max_cmd_sn - s.cmd_sn + 1)
        tags, out = [], b""
        for i in range(count):
            h = s.command_header(write10(i, 1), write=512)
            tags.append(struct.unpack_from(">I", h, 16)[0])
            out += s.encode(h, bytes([i]) * 512)
        for at in range(0, len(out), 1009):
            s.send_raw(out[at:at + 1009])
        for t in tags:
            same(s.wait(t).status, GOOD, "status of each")
        same(s.read10(0, count).data, b"".join(bytes([i]) * 512 for i in range(count)), "data")


def case_cut_at_every_byte_of_a_login(d):
    whole = login_bytes(d)
    for at in [*range(0, 64), *range(64, len(whole), 7), len(whole) - 1]:
        with Connection(d.port, source=f"127.2.{at >> 8}.{at & 255 or 1}") as c:
            c.send_raw(whole[:at])


def case_cut_in_data_out(d):
    for at in (1, 47, 48, 49, 4000, 8000):
        with login(d, keys=WRITE_WHOLE) as s:
            itt = s.command(write10(0, 128), write=bytes(65536))
            del s.writes[itt]
            p = s.pump()
            h = iscsi.header(iscsi.DATA_OUT, 0, 0, itt, p.ttt)
            s.send_raw(s.encode(h, bytes(8192))[:at])


def case_cut_with_reset(d):
    for _ in range(20):
        s = login(d)
        for _ in range(10):
            s.command(struct.pack(">BBIBHB", 0x28, 0, 0, 0, 255, 0), read=255 * 512)
        s.sock.setsockopt(1, 13, struct.pack("ii", 1, 0))  # SO_LINGER 0: RST
        s.close()


def case_garbage_at_once(d):
    for seed in range(40):
        rnd = random.Random(seed)
        with Connection(d.port, timeout=3, source=f"127.2.0.{1 + seed}") as c:
            try:
                c.send_raw(rnd.randbytes(rnd.choice((48, 100, 5000, 100000))))
            except OSError:
                pass
            except Closed:
                continue


def case_garbage_in_full_feature_phase(d):
    for seed in range(60):
        rnd = random.Random(1000 + seed)
        with login(d) as s:
            s.sock.settimeout(2)
            try:
                for _ in range(20):
                    data = rnd.randbytes(rnd.choice((0, 0, 4, 48, 512, 4096)))
                    h = bytearray(rnd.randbytes(48))
                    h[0] = rnd.choice((0, 1, 2, 4, 5, 6, 0x10, 0x40, 0x41, 0x42, 0x44, 0x46))
                    h[4] = rnd.choice((0, 0, 0, 1, 3))
                    h[5:8] = len(data).to_bytes(3, "big")
                    if rnd.random() < 0.8:
                        struct.pack_into(">I", h, 24, s.take_sn() if h[0] < 0x40 else s.cmd_sn)
                    if rnd.random() < 0.7:
                        h[8:16] = bytes(8)
                    if h[0] & 0x3F == 6 and rnd.random() < 0.9:
                        continue
                    s.send_raw(s.encode(h, data, rnd.randbytes(4 * h[4])))
                s.sock.settimeout(0.02)
                while True:
                    s.recv()
            except (Closed, OSError, ValueError):
                pass


def case_flipped_bits(d):
    for seed in range(60):
        rnd = random.Random(2000 + seed)
        with login(d) as s:
            s.sock.settimeout(2)
            try:
                for _ in range(12):
                    h = s.command_header(rnd.choice((write10(rnd.randrange(100), 8), bytes(6),
                                                     b"\x12" + bytes(5))), write=4096)
                    out = bytearray(s.encode(h, bytes(4096)))
                    if rnd.random() < 0.3:
                        bit = rnd.randrange(48 * 8)
                        out[bit // 8] ^= 1 << bit % 8
                    s.send_raw(bytes(out))
                s.sock.settimeout(0.02)
                while True:
                    s.recv()
            except (Closed, OSError, ValueError):
                pass


def admitted(d):
    try:
        Session(d.port, TARGET).close()
        return True
    except Closed:
        return False


def main():
    d = Daemon("--lun", "ram:64MiB", "--lun", "ram:64MiB", "--loops", "2", "--quiet").start()

    def probe():
        # After a storm of connections the limit of half-open ones may hold for a moment.
        wait_until(lambda: admitted(d), "a fresh session is admitted", 3)
        with login(d) as s:
            data = os.urandom(4096)
            same(s.write10(1000, data).status, GOOD, "a WRITE of a fresh session")
            same(s.read10(1000, 8).data, data, "its data")
            s.logout()

    run_cases(globals(), d, probe)


if __name__ == "__main__":
    run(main)
