#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
Who gets in, and what it costs: limits of half-open connections and sessions, time limits, text of
logins, stages, CHAP, masking, reinstatement. Arguments: names of cases.

Each case that fills a limit comes from loopback addresses of its own.
"""

import os
import random
import struct
import sys
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
import iscsi  # noqa: E402
from iscsi import GOOD, Closed, Connection, Refused, Session  # noqa: E402
from terraced import Daemon, Failed, check, run, run_cases, same, wait_until  # noqa: E402

IQN = "iqn.2026-11.example.terrace:"
OPEN, SECRET, MASKED = IQN + "open", IQN + "secret", IQN + "masked"
NOT_FOUND, AUTH_FAILED, BAD_VERSION = 0x0203, 0x0201, 0x0205
CONFIG = f"""
    limits {{ login_timeout_ms 1500 }}
    lun a {{ store ram: ; size 64MiB }}
    lun b {{ store ram: ; size 64MiB }}
    portal p {{ listen 127.0.0.1:{{port}} }}
    target {OPEN} {{ portals p ; open yes ; lun 0 a }}
    target {SECRET} {{
        portals p
        chap alice {{ secret alice-secret-0123 }}
        chap bob {{ secret bob-secret-456789 ; mutual_user terrace ; mutual_secret our-own-secret-99 }}
        group users {{ user alice bob ; initiators iqn.2026-11.example.test:* ; lun 0 a ; lun 3 b }}
    }}
    target {MASKED} {{
        portals p
        group one {{ initiators iqn.2026-11.example.test:chosen ; lun 0 b }}
        group some {{ initiators iqn.2026-11.example.test:not* "!*" ; lun 1 b }}
    }}
"""
ALICE, BOB = ("alice", "alice-secret-0123"), ("bob", "bob-secret-456789")


def refused(what, status, *args, **more):
    """The login is answered with this status, or (None) the connection just ends."""
    try:
        Session(*args, **more).close()
    except Refused as e:
        check(status is None or e.status == status,
              f"{what}: expected status {status or 0:04x}, got {e.status:04x}")
        return
    except Closed:
        check(status is None, f"{what}: the connection ended without an answer")
        return
    raise Failed(f"{what}: admitted")


# ---- half-open connections -------------------------------------------------------------------------

def case_half_open_per_address(d):
    held = [Connection(d.port, source="127.1.0.1") for _ in range(8)]
    time.sleep(0.1)
    with Connection(d.port, source="127.1.0.1") as c:
        check(c.ended(1), "the ninth half-open connection of an address is closed")
    Session(d.port, OPEN, source="127.1.0.2").close()
    for c in held:
        c.close()
    wait_until(lambda: admitted(d, "127.1.0.1"), "the address is admitted again")


def admitted(d, address):
    try:
        Session(d.port, OPEN, source=address, timeout=2).close()
        return True
    except (Closed, OSError):
        return False


def case_half_open_in_all(d):
    held = []
    with Session(d.port, OPEN, source="127.1.1.200") as s:
        for i in range(64):
            held.append(Connection(d.port, source=f"127.1.1.{1 + i // 8}"))
        time.sleep(0.1)
        with Connection(d.port, source="127.1.1.100") as c:
            check(c.ended(1), "the 65th half-open connection is closed")
        check(s.ready().status == GOOD, "a session isn't disturbed")
    for c in held:
        c.close()
    wait_until(lambda: admitted(d, "127.1.1.1"), "logins are admitted again")


def case_login_takes_too_long(d):
    with Connection(d.port, source="127.1.2.1") as c:
        began = time.monotonic()
        check(c.ended(5), "a silent connection is closed")
        check(1.0 < time.monotonic() - began < 4.0, "after the login's time limit")
    with Connection(d.port, source="127.1.2.1") as c:
        began = time.monotonic()
        try:
            for _ in range(40):
                c.send_raw(b"\x43")
                time.sleep(0.1)
        except (Closed, OSError):
            pass
        check(time.monotonic() - began < 3.5, "bytes that trickle in don't extend the time")
    with Session(d.port, SECRET, login=False, source="127.1.2.1") as s:
        began = time.monotonic()
        try:
            while time.monotonic() - began < 4:
                s.login_step(0, 1, False, s.identity() if s.exp_stat_sn == 0 else {})
                time.sleep(0.2)
        except (Refused, Closed):
            pass
        check(time.monotonic() - began < 3.5, "endless login requests don't extend it either")


def case_login_flood(d):
    """Logins and half logins from many sides; an established session goes on."""
    stop = threading.Event()

    def flood(address):
        rnd = random.Random(address)
        while not stop.is_set():
            try:
                if rnd.random() < 0.3:
                    Session(d.port, OPEN, name=f"{iscsi.INITIATOR}-{address}", source=address,
                            timeout=2).close()
                else:
                    with Connection(d.port, source=address) as c:
                        c.send_raw(rnd.randbytes(rnd.choice((0, 10, 48, 200))))
            except (OSError, Closed, Refused, ValueError):
                pass

    with Session(d.port, OPEN, source="127.1.3.200") as s:
        s.ready()
        threads = [threading.Thread(target=flood, args=(f"127.1.3.{i}",)) for i in range(1, 5)]
        for t in threads:
            t.start()
        worst = 0
        end = time.monotonic() + 3
        while time.monotonic() < end:
            began = time.monotonic()
            same(s.read10(0, 8).status, GOOD, "a READ during the flood")
            worst = max(worst, time.monotonic() - began)
        stop.set()
        for t in threads:
            t.join()
        check(worst < 1.0, f"the slowest READ during the flood took {worst:.3f} s")


# ---- text --------------------------------------------------------------------------------------------

def case_text_of_logins(d):
    bad = [
        ("too many keys", {f"X-key{i}": "1" for i in range(100)}),
        ("a key without a name", [("", "x")]),
        ("a name of 200 characters", [("A" * 200, "x")]),
        ("InitiatorName twice", [("InitiatorName", iscsi.INITIATOR)]),
        ("TargetName twice", [("TargetName", OPEN)]),
        ("SessionType twice", [("SessionType", "Normal")]),
    ]
    for what, keys in bad:
        with Session(d.port, OPEN, login=False, source="127.1.4.1") as s:
            pairs = list(s.identity().items()) + list(keys.items() if isinstance(keys, dict)
                                                      else keys)
            try:
                s.login_step(1, 3, True, pairs)
            except (Refused, Closed):
                continue
            raise Failed(f"{what}: admitted")
    for key, value in (("MaxBurstLength", "many"), ("MaxBurstLength", "1"), ("MaxBurstLength", ""),
                       ("ImmediateData", "Perhaps"), ("HeaderDigest", "MD4"),
                       ("MaxRecvDataSegmentLength", "99999999999999999999")):
        # RFC 7143 §6.2: refused, or answered with Reject.
        try:
            with Session(d.port, OPEN, source="127.1.4.1", keys={key: value}) as s:
                same(s.agreed.get(key), "Reject", f"answer to {key}={value}")
        except (Refused, Closed):
            pass
    for missing in ("InitiatorName", "TargetName"):
        with Session(d.port, OPEN, login=False, source="127.1.4.1") as s:
            keys = s.identity()
            del keys[missing]
            try:
                s.login_step(1, 3, True, keys)
            except Refused as e:
                same(e.status, 0x0207, f"{missing} is missing")
                continue
            raise Failed(f"{missing} is missing: admitted")
    for name in ("", "iqn", "not-a-name", "iqn." + "x" * 300, "iqn.2026-11.a:\x01"):
        refused(f"InitiatorName {name[:20]!r}", None, d.port, OPEN, name=name, source="127.1.4.1")


def case_old_keys_are_answered(d):
    with Session(d.port, OPEN, source="127.1.4.1",
                 keys={"OFMarker": "No", "IFMarker": "No", "OFMarkInt": "2048~8192",
                       "X-com.example.whatever": "1", "SomethingNew": "yes"}) as s:
        same(s.agreed.get("SomethingNew"), "NotUnderstood", "an unknown key")
        check(s.agreed.get("OFMarker") == "No", "an old key is answered")
        check(s.ready().status == GOOD, "the session works")


def case_text_over_continue_bits(d):
    with Session(d.port, OPEN, login=False, source="127.1.4.2") as s:
        pairs = iscsi.pack_keys(s.identity())
        s.send(s.login_header(1, 3, False, cont=True), pairs[:30])
        same(len(s.recv().data), 0, "the answer to a part is empty")
        s.send(s.login_header(1, 3, True), pairs[30:] + iscsi.pack_keys(s.keys))
        s.login_answer()
    with Session(d.port, OPEN, login=False, source="127.1.4.2") as s:
        sent = 0
        try:
            for _ in range(100):
                s.send(s.login_header(1, 3, False, cont=True), b"A" * 4000)
                sent += 4000
                s.login_answer()
        except (Refused, Closed):
            pass
        check(sent < 40000, f"text over C bits is bounded ({sent} bytes went)")


def case_stages(d):
    """Stages that don't follow each other, and versions."""
    for csg, nsg, transit in ((1, 0, True), (3, 3, True), (2, 3, True), (1, 1, True), (1, 2, True),
                              (0, 0, True)):
        with Session(d.port, OPEN, login=False, source="127.1.5.1") as s:
            try:
                s.login_step(csg, nsg, transit, s.identity())
            except (Refused, Closed):
                continue
            raise Failed(f"stage {csg} to {nsg} was accepted")
    with Session(d.port, OPEN, login=False, source="127.1.5.1") as s:
        h = s.login_header(1, 3, True)
        h[2], h[3] = 5, 1
        s.send(h, iscsi.pack_keys(s.identity()))
        try:
            s.login_answer()
        except Refused as e:
            same(e.status, BAD_VERSION, "a version nobody knows")
        else:
            raise Failed("a version nobody knows was accepted")
    for opcode in (iscsi.SCSI_CMD, iscsi.TEXT_REQ, iscsi.NOP_OUT, iscsi.LOGOUT_REQ):
        with Session(d.port, OPEN, login=False, source="127.1.5.1") as s:
            s.send(s.request(opcode, immediate=True))
            check(s.ended(), f"opcode {opcode:02x} before the login ends the connection")


def case_pipelined_login(d):
    """Nothing may follow a Login Request before its answer: no byte of it is taken for a command."""
    with Session(d.port, OPEN, login=False, source="127.1.5.2") as s:
        first = s.encode(s.login_header(1, 3, True), iscsi.pack_keys({**s.identity(), **s.keys}))
        s.agreed = {}
        s.send_raw(first + s.encode(s.command_header(bytes(6))))
        try:
            s.login_answer()
            s.pump(2)
        except (Closed, Refused, OSError):
            pass


def case_joining_a_session(d):
    """MaxConnections is 1: TSIH of another session, and of none."""
    with Session(d.port, OPEN, source="127.1.5.3", isid_number=77) as s:
        for tsih, status in ((s.tsih, 0x0206), (s.tsih + 1000, 0x020A)):
            with Session(d.port, OPEN, source="127.1.5.3", isid_number=77, login=False) as other:
                other.tsih = tsih & 0xFFFF
                try:
                    other.login()
                except Refused as e:
                    same(e.status, status, f"status of TSIH {tsih}")
                else:
                    raise Failed("a second connection was accepted")
        check(s.ready().status == GOOD, "the session isn't disturbed")


# ---- CHAP ----------------------------------------------------------------------------------------------

def case_chap(d):
    for algorithm in (5, 6, 7, 8):
        with Session(d.port, SECRET, chap=ALICE, algorithm=algorithm, source="127.1.6.1") as s:
            same(s.report_luns(), [0, 3], "LUNs of the group")
    with Session(d.port, SECRET, chap=BOB, mutual=("terrace", "our-own-secret-99"),
                 source="127.1.6.1") as s:
        check(s.ready().status == GOOD, "mutual CHAP")


def case_chap_refusals(d):
    for what, chap in (("a wrong secret", ("alice", "wrong-secret-000")),
                       ("an unknown user", ("mallory", "alice-secret-0123")),
                       ("another's secret", ("alice", "bob-secret-456789"))):
        refused(what, AUTH_FAILED, d.port, SECRET, chap=chap, source="127.1.6.2")
    refused("no CHAP", AUTH_FAILED, d.port, SECRET, source="127.1.6.2")
    with Session(d.port, SECRET, login=False, source="127.1.6.3") as s:
        try:
            s.login_step(0, 1, True, {**s.identity(), "AuthMethod": "None"})
        except Refused as e:
            same(e.status, AUTH_FAILED, "AuthMethod=None")
        else:
            raise Failed("AuthMethod=None was accepted")
    with Session(d.port, SECRET, login=False, source="127.1.6.3") as s:
        s.login_step(0, 1, False, {**s.identity(), "AuthMethod": "CHAP"})
        try:
            s.login_step(1, 3, True, {})
        except (Refused, Closed):
            pass
        else:
            raise Failed("the security stage was skipped")
    with Session(d.port, SECRET, login=False, source="127.1.6.3") as s:
        s.login_step(0, 1, False, {**s.identity(), "AuthMethod": "CHAP"})
        s.login_step(0, 1, False, {"CHAP_A": "5"})
        try:
            s.login_step(0, 3, True, {"CHAP_N": "alice", "CHAP_R": "0x"})
        except (Refused, Closed):
            pass
        else:
            raise Failed("an empty response was accepted")


def case_chap_reflection(d):
    """The target isn't made to answer its own challenge, on the same connection or another."""
    for own in (True, False):
        with Session(d.port, SECRET, login=False, source="127.1.6.4") as a, \
                Session(d.port, SECRET, login=False, source="127.1.6.4") as b:
            challenges = []
            for s in (a, b):
                s.login_step(0, 1, False, {**s.identity(), "AuthMethod": "CHAP"})
                challenges.append(s.login_step(0, 1, False, {"CHAP_A": "5"})[1]["CHAP_C"])
            check(challenges[0] != challenges[1], "challenges differ")
            check(len(challenges[0]) >= 2 + 32, "a challenge has 16 bytes or more")
            try:
                a.login_step(0, 1, True, {"CHAP_N": "bob", "CHAP_R": "0x" + "00" * 16,
                                          "CHAP_I": "5", "CHAP_C": challenges[0 if own else 1]})
            except Closed:
                continue
            except Refused:
                raise Failed("a reflected challenge was answered") from None
            raise Failed("a reflected challenge was accepted")


def case_chap_failures_are_limited(d):
    statuses = []
    for _ in range(14):
        try:
            Session(d.port, SECRET, chap=("alice", "wrong-secret-000"), source="127.1.6.9").close()
            statuses.append(0)
        except Refused as e:
            statuses.append(e.status)
        except Closed:
            statuses.append(None)
    check(0 not in statuses, "nobody gets in")
    same(statuses[:10], [AUTH_FAILED] * 10, "answers to the first failures")
    same(statuses[-1], None, "the address is turned away after too many failures")
    Session(d.port, SECRET, chap=ALICE, source="127.1.6.10").close()


# ---- masking --------------------------------------------------------------------------------------------

def case_hidden_and_absent_targets_answer_alike(d):
    stranger = "iqn.2026-11.example.other:stranger"
    for target in (MASKED, SECRET, IQN + "absent"):
        refused(target, NOT_FOUND, d.port, target, name=stranger, source="127.1.7.1")
    with Session(d.port, MASKED, name="iqn.2026-11.example.test:chosen", source="127.1.7.1") as s:
        same(s.report_luns(), [0], "LUNs of the first group")
    with Session(d.port, MASKED, name="iqn.2026-11.example.test:nothing", source="127.1.7.1") as s:
        same(s.report_luns()[-1], 1, "LUN of the second group")


def case_discovery_shows_what_can_be_used(d):
    def shown(name):
        with Session(d.port, None, name=name, source="127.1.7.2") as s:
            text = s.send_targets()
            return {t.split("=", 1)[1] for t in text.split("\0") if t.startswith("TargetName=")}

    same(shown("iqn.2026-11.example.other:stranger"), {OPEN}, "targets that a stranger sees")
    same(shown("iqn.2026-11.example.test:chosen"), {OPEN, SECRET, MASKED},
         "targets that a known initiator sees")
    with Session(d.port, None, name="iqn.2026-11.example.other:s", source="127.1.7.2") as s:
        same(s.send_targets(MASKED), "", "a hidden target, asked for by name")
        same(s.send_targets(IQN + "absent"), "", "an absent one")


def case_discovery_session_serves_no_commands(d):
    for send in (lambda s: s.send(s.command_header(bytes(6))),
                 lambda s: s.send(s.request(iscsi.TMF_REQ, iscsi.FINAL | iscsi.LU_RESET, 0))):
        with Session(d.port, None, source="127.1.7.3") as s:
            send(s)
            check(s.ended(), "the discovery session is dropped")
    with Session(d.port, None, source="127.1.7.3") as s:
        same(s.logout(), 0, "logout of a discovery session")


# ---- sessions ----------------------------------------------------------------------------------------------

def case_sessions_per_initiator(d):
    held = [Session(d.port, OPEN, source="127.1.8.1") for _ in range(8)]
    refused("the ninth session of an initiator", 0x0302, d.port, OPEN, source="127.1.8.2")
    with Session(d.port, OPEN, name=iscsi.INITIATOR + "2", source="127.1.8.1") as s:
        check(s.ready().status == GOOD, "another initiator is admitted")
    for s in held:
        s.close()


def case_reinstatement_replaces_the_old_session(d):
    with Session(d.port, OPEN, isid_number=500, source="127.1.9.1") as old:
        check(old.ready().status == GOOD, "the old session works")
        with Session(d.port, OPEN, isid_number=500, source="127.1.9.1", login=False) as half:
            half.login_step(1, 1, False, {**half.identity(), **half.keys})
            check(old.ready().status == GOOD, "a login under way doesn't end the old session")
        check(old.ready().status == GOOD, "nor does one that was given up")
        with Session(d.port, OPEN, isid_number=500, source="127.1.9.1") as new:
            check(new.ready().status == GOOD, "the new session works")
            check(old.ended(), "the old session has ended")


def case_reinstatement_from_elsewhere(d):
    with Session(d.port, OPEN, isid_number=501, source="127.1.9.1") as old:
        refused("the same name and ISID from another address", None, d.port, OPEN,
                isid_number=501, source="127.1.9.2")
        check(old.ready().status == GOOD, "the session isn't disturbed")
        with Session(d.port, OPEN, isid_number=502, source="127.1.9.2") as other:
            check(other.ready().status == GOOD, "another ISID is admitted")
        with Session(d.port, MASKED, name="iqn.2026-11.example.test:chosen", isid_number=501,
                     source="127.1.9.1") as other:
            check(other.ready().status == GOOD, "and the same at another target")
        check(old.ready().status == GOOD, "the session isn't disturbed")


def case_reinstatement_with_chap(d):
    with Session(d.port, SECRET, isid_number=503, chap=ALICE, source="127.1.9.3") as old:
        check(old.ready().status == GOOD, "alice's session works")
        refused("bob as alice's initiator", None, d.port, SECRET, isid_number=503, chap=BOB,
                source="127.1.9.3")
        refused("somebody without the secret", AUTH_FAILED, d.port, SECRET, isid_number=503,
                chap=("alice", "wrong-secret-000"), source="127.1.9.4")
        check(old.ready().status == GOOD, "alice's session isn't disturbed")
        with Session(d.port, SECRET, isid_number=503, chap=ALICE, source="127.1.9.5") as new:
            check(new.ready().status == GOOD, "alice may come from another address")
            check(old.ended(), "her old session has ended")


def case_reinstatement_storm(d):
    """One initiator port from four threads; at the end exactly one session lives."""
    def storm():
        for _ in range(25):
            try:
                Session(d.port, OPEN, isid_number=504, source="127.1.9.6", timeout=5).close()
            except (Refused, Closed, OSError):
                pass

    threads = [threading.Thread(target=storm) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    wait_until(lambda: admitted(d, "127.1.9.6"), "logins are admitted")


def case_reinstatement_with_io_under_way(d):
    for _ in range(10):
        old = Session(d.port, OPEN, isid_number=505, source="127.1.9.7")
        for i in range(20):
            cdb = struct.pack(">BBIBHB", 0x2A, 0, i * 256, 0, 256, 0)
            old.command(cdb, write=bytes(131072))
        with Session(d.port, OPEN, isid_number=505, source="127.1.9.7") as new:
            check(new.ready().status == GOOD, "the new session works")
        old.close()


def main():
    d = Daemon("--loops", "2", "--quiet", config=CONFIG).start()

    def probe():
        with Session(d.port, OPEN, source="127.1.250.1") as s:
            check(s.ready().status == GOOD, "a fresh session")
            s.logout()

    run_cases(globals(), d, probe)


if __name__ == "__main__":
    run(main)
