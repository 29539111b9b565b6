# SPDX-License-Identifier: BSD-2-Clause
"""
An initiator for tests: it speaks iSCSI (RFC 7143) over a socket with an encoder of its own, and lets
a test say what no initiator should. Synchronous; one connection a session.
"""

import hashlib
import os
import socket
import struct
import time

NONE = 0xFFFFFFFF
NOP_OUT, SCSI_CMD, TMF_REQ, LOGIN_REQ, TEXT_REQ, DATA_OUT, LOGOUT_REQ, SNACK_REQ = (
    0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x10)
NOP_IN, SCSI_RSP, TMF_RSP, LOGIN_RSP, TEXT_RSP, DATA_IN, LOGOUT_RSP, R2T, ASYNC, REJECT = (
    0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x31, 0x32, 0x3F)
IMMEDIATE = 0x40
FINAL = 0x80
READ, WRITE = 0x40, 0x20
GOOD, CHECK, BUSY, CONFLICT = 0x00, 0x02, 0x08, 0x18
ABORT_TASK, ABORT_TASK_SET, CLEAR_ACA, CLEAR_TASK_SET, LU_RESET, WARM_RESET, COLD_RESET, REASSIGN = (
    range(1, 9))
QUERY_TASK, QUERY_TASK_SET, NEXUS_RESET, QUERY_ASYNC = range(9, 13)


class Closed(EOFError):
    """The target ended the connection."""


class Refused(Exception):
    """A login was answered with a status other than success."""

    def __init__(self, status, keys):
        super().__init__(f"login status {status:04x}")
        self.status = status
        self.keys = keys


CRC = []
for _i in range(256):
    _c = _i
    for _ in range(8):
        _c = _c >> 1 ^ (0x82F63B78 if _c & 1 else 0)
    CRC.append(_c)


def crc32c(data):
    c = 0xFFFFFFFF
    for byte in data:
        c = CRC[(c ^ byte) & 255] ^ c >> 8
    return struct.pack("<I", c ^ 0xFFFFFFFF)


def lun_bytes(lun):
    """Peripheral addressing below 256, flat above."""
    return struct.pack(">H6x", lun if lun < 256 else 0x4000 | lun)


class Pdu:
    """A received PDU."""

    def __init__(self, header, data):
        self.header = header
        self.data = data
        self.opcode = header[0] & 0x3F
        self.flags = header[1]
        self.itt, self.ttt, self.stat_sn, self.exp_cmd_sn, self.max_cmd_sn = struct.unpack_from(
            ">IIIII", header, 16)
        self.response, self.status = header[2], header[3]
        self.sn = struct.unpack_from(">I", header, 36)[0]
        self.offset = struct.unpack_from(">I", header, 40)[0]
        self.residual = struct.unpack_from(">I", header, 44)[0]


class Result:
    """How a SCSI command ended."""

    def __init__(self, status, data, sense, residual, flags):
        self.status, self.data, self.sense = status, data, sense
        self.residual, self.flags = residual, flags

    def code(self):
        """(key, asc, ascq), or None."""
        s = self.sense
        if len(s) < 4:
            return None
        if s[0] & 0x7F >= 0x72:
            return s[1] & 15, s[2], s[3]
        return s[2] & 15, s[12], s[13]

    def __str__(self):
        code = self.code()
        return f"status {self.status:02x}" + (
            f" sense {code[0]:x}/{code[1]:02x}/{code[2]:02x}" if code else "")


def header(opcode, flags=FINAL, lun=None, itt=0, ttt=0, cmd_sn=0, exp_stat_sn=0, data_len=0,
           ahs_len=0):
    h = bytearray(48)
    h[0], h[1], h[4] = opcode, flags, ahs_len
    h[5:8] = data_len.to_bytes(3, "big")
    h[8:16] = lun_bytes(lun) if isinstance(lun, int) else (lun or bytes(8))
    struct.pack_into(">IIII", h, 16, itt, ttt, cmd_sn, exp_stat_sn)
    return h


def pack_keys(keys):
    """A dict, or a list of pairs where a key comes twice."""
    pairs = keys.items() if isinstance(keys, dict) else keys
    return b"".join(f"{k}={v}".encode("latin-1") + b"\0" for k, v in pairs)


def unpack_keys(data):
    found = {}
    for part in data.split(b"\0"):
        if b"=" in part:
            k, v = part.split(b"=", 1)
            found.setdefault(k.decode("latin-1"), []).append(v.decode("latin-1"))
    return {k: v[0] if len(v) == 1 else v for k, v in found.items()}


class Connection:
    """PDUs over a socket."""

    def __init__(self, port, address="127.0.0.1", source=None, timeout=10, recv_buffer=None):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            if recv_buffer:
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, recv_buffer)
            if source:
                self.sock.bind((source, 0))
            self.sock.settimeout(timeout)
            self.sock.connect((address, port))
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError:
            self.sock.close()
            raise
        self.header_digest = self.data_digest = False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def encode(self, h, data=b"", ahs=b"", spoil=None):
        """spoil: "header" or "data", whose digest is wrong then."""
        h = bytearray(h)
        if data and h[5:8] == b"\0\0\0":
            h[5:8] = len(data).to_bytes(3, "big")
        if ahs and h[4] == 0:
            h[4] = len(ahs) // 4
        out = bytes(h) + ahs
        if self.header_digest:
            crc = crc32c(out)
            out += bytes(b ^ 0x10 for b in crc) if spoil == "header" else crc
        if data:
            body = data + bytes(-len(data) % 4)
            out += body
            if self.data_digest:
                crc = crc32c(body)
                out += bytes(b ^ 0x10 for b in crc) if spoil == "data" else crc
        return out

    def send(self, h, data=b"", ahs=b"", spoil=None):
        self.send_raw(self.encode(h, data, ahs, spoil))

    def send_raw(self, data):
        try:
            self.sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError) as e:
            raise Closed(str(e)) from None

    def read(self, count):
        out = bytearray()
        while len(out) < count:
            try:
                part = self.sock.recv(count - len(out))
            except ConnectionResetError:
                part = b""
            if not part:
                raise Closed(f"after {len(out)} of {count} bytes")
            out += part
        return bytes(out)

    def recv(self, timeout=None):
        if timeout is not None:
            old = self.sock.gettimeout()
            self.sock.settimeout(timeout)
        try:
            h = self.read(48 + (4 if self.header_digest else 0))
            if self.header_digest and crc32c(h[:48]) != h[48:]:
                raise ValueError("header digest of the target is wrong")
            length = int.from_bytes(h[5:8], "big")
            data = b""
            if length:
                padded = length + -length % 4
                body = self.read(padded + (4 if self.data_digest else 0))
                if self.data_digest and crc32c(body[:padded]) != body[padded:]:
                    raise ValueError("data digest of the target is wrong")
                data = body[:length]
            return Pdu(h[:48], data)
        finally:
            if timeout is not None:
                self.sock.settimeout(old)

    def silent(self, seconds=0.3):
        """True: nothing comes, and the connection stays."""
        try:
            self.recv(seconds)
        except (TimeoutError, socket.timeout):
            return True
        except Closed:
            return False
        return False

    def ended(self, seconds=5):
        """True: the target closes the connection; what it sends before is dropped."""
        end = time.monotonic() + seconds
        self.sock.settimeout(seconds)
        try:
            while time.monotonic() < end:
                if not self.sock.recv(65536):
                    return True
        except ConnectionResetError:
            return True
        except (TimeoutError, socket.timeout):
            pass
        return False


KEYS = {
    "HeaderDigest": "None", "DataDigest": "None", "InitialR2T": "No", "ImmediateData": "Yes",
    "MaxBurstLength": "262144", "FirstBurstLength": "65536", "MaxRecvDataSegmentLength": "262144",
    "DefaultTime2Wait": "0", "DefaultTime2Retain": "0", "MaxOutstandingR2T": "1",
    "ErrorRecoveryLevel": "0",
}
INITIATOR = "iqn.2026-11.example.test:initiator"
HASHES = {5: hashlib.md5, 6: hashlib.sha1, 7: hashlib.sha256, 8: hashlib.sha3_256}


def isid(number):
    """A random-format ISID (RFC 7143 §11.12.5) from a number."""
    return b"\x80" + number.to_bytes(5, "big")


class Session(Connection):
    """
    Logs in and serves commands. `target` None: a discovery session. keys: changes to the offered
    ones; None as a value leaves a key out.
    """

    counter = 0

    def __init__(self, port, target, name=INITIATOR, isid_number=None, keys=None, chap=None,
                 algorithm=5, mutual=None, login=True, **connection):
        super().__init__(port, **connection)
        if isid_number is None:
            Session.counter += 1
            isid_number = (os.getpid() << 16 | Session.counter) & 0xFFFFFFFFFF
        self.isid = isid(isid_number)
        self.target, self.name = target, name
        self.keys = dict(KEYS)
        if target is None:
            for k in ("InitialR2T", "ImmediateData", "MaxBurstLength", "FirstBurstLength",
                      "MaxOutstandingR2T"):
                del self.keys[k]
        for k, v in (keys or {}).items():
            self.keys.pop(k, None)
            if v is not None:
                self.keys[k] = v
        self.chap, self.algorithm, self.mutual = chap, algorithm, mutual
        self.tsih = 0
        self.cid = 0
        self.next_itt = 1
        self.cmd_sn = 1
        self.exp_stat_sn = 0
        self.exp_cmd_sn, self.max_cmd_sn = 1, 1
        self.answers = {}
        self.writes = {}
        self.reads = {}
        self.sns = {}
        self.other = []
        if login:
            try:
                self.login()
            except BaseException:
                self.close()
                raise

    # ---- login ----

    def identity(self):
        keys = {"InitiatorName": self.name,
                "SessionType": "Normal" if self.target else "Discovery"}
        if self.target:
            keys["TargetName"] = self.target
        return keys

    def login_header(self, csg, nsg, transit, cont=False):
        flags = (0x80 if transit else 0) | (0x40 if cont else 0) | csg << 2 | (nsg if transit else 0)
        h = header(LOGIN_REQ | IMMEDIATE, flags, itt=0, cmd_sn=self.cmd_sn,
                   exp_stat_sn=self.exp_stat_sn)
        h[8:14] = self.isid
        struct.pack_into(">H", h, 14, self.tsih)
        struct.pack_into(">H", h, 20, self.cid)
        return h

    def login_step(self, csg, nsg, transit, keys):
        """One request and its answer: (flags, keys)."""
        self.send(self.login_header(csg, nsg, transit), pack_keys(keys))
        return self.login_answer()

    def login_answer(self):
        p = self.recv()
        if p.opcode != LOGIN_RSP:
            raise ValueError(f"opcode {p.opcode:02x} answers a login")
        found = unpack_keys(p.data)
        status = struct.unpack_from(">H", p.header, 36)[0]
        if status != 0:
            raise Refused(status, found)
        self.exp_stat_sn = p.stat_sn + 1
        self.exp_cmd_sn, self.max_cmd_sn = p.exp_cmd_sn, p.max_cmd_sn
        self.tsih = struct.unpack_from(">H", p.header, 14)[0]
        return p.flags, found

    def login(self):
        if self.chap:
            self.login_chap()
            keys = {}
        else:
            keys = self.identity()
        _, answer = self.login_step(1, 3, True, {**keys, **self.keys})
        self.agreed = answer
        self.header_digest = answer.get("HeaderDigest") == "CRC32C"
        self.data_digest = answer.get("DataDigest") == "CRC32C"

    def login_chap(self):
        user, secret = self.chap
        self.login_step(0, 1, False, {**self.identity(), "AuthMethod": "CHAP"})
        _, k = self.login_step(0, 1, False, {"CHAP_A": str(self.algorithm)})
        if "CHAP_C" not in k:
            raise ValueError(f"no challenge in {k}")
        ident, challenge = int(k["CHAP_I"]), bytes.fromhex(k["CHAP_C"][2:])
        digest = HASHES[self.algorithm](bytes([ident]) + secret.encode() + challenge).hexdigest()
        keys = {"CHAP_N": user, "CHAP_R": "0x" + digest}
        ours = os.urandom(16)
        if self.mutual:
            keys.update(CHAP_I="77", CHAP_C="0x" + ours.hex())
        _, k = self.login_step(0, 1, True, keys)
        if self.mutual:
            name, secret = self.mutual
            expected = HASHES[self.algorithm](bytes([77]) + secret.encode() + ours).hexdigest()
            if k.get("CHAP_N") != name or k.get("CHAP_R", "").lower() != "0x" + expected:
                raise ValueError(f"the target's answer to our challenge is wrong: {k}")

    # ---- requests ----

    def tag(self):
        self.next_itt += 1
        return self.next_itt

    def take_sn(self):
        sn = self.cmd_sn
        self.cmd_sn = (self.cmd_sn + 1) & NONE
        return sn

    def request(self, opcode, flags=FINAL, lun=None, itt=None, ttt=0, immediate=False, cmd_sn=None):
        """The header of a request that takes the next CmdSN, unless it's immediate or given one."""
        if cmd_sn is None:
            cmd_sn = self.cmd_sn if immediate else self.take_sn()
        return header(opcode | (IMMEDIATE if immediate else 0), flags, lun,
                      self.tag() if itt is None else itt, ttt, cmd_sn, self.exp_stat_sn)

    def command_header(self, cdb, lun=0, read=0, write=0, attr=1, final=True, **request):
        flags = (FINAL if final else 0) | (READ if read else 0) | (WRITE if write else 0) | attr
        h = self.request(SCSI_CMD, flags, lun, **request)
        struct.pack_into(">I", h, 20, write or read)
        h[32:32 + len(cdb)] = cdb
        return h

    def command(self, cdb, lun=0, read=0, write=None, immediate_bytes=None, **request):
        """Sends a command, with as much immediate data as agreed; its tag."""
        n = len(write) if write else 0
        now = 0
        if n and self.agreed.get("ImmediateData", self.keys.get("ImmediateData")) == "Yes":
            first = int(self.agreed.get("FirstBurstLength", 65536))
            segment = int(self.agreed.get("MaxRecvDataSegmentLength", 8192))
            now = min(n, first, segment)
        if immediate_bytes is not None:
            now = immediate_bytes
        h = self.command_header(cdb, lun, read, n, **request)
        itt = struct.unpack_from(">I", h, 16)[0]
        if n:
            self.writes[itt] = write
        self.reads[itt] = bytearray(read)
        self.send(h, write[:now] if n else b"")
        return itt

    def data_out(self, itt, ttt, offset, data, sn=0, final=True, lun=0, **send):
        h = header(DATA_OUT, FINAL if final else 0, lun, itt, ttt, 0, self.exp_stat_sn)
        h[24:28] = bytes(4)
        struct.pack_into(">II", h, 36, sn, offset)
        self.send(h, data, **send)

    def serve_r2t(self, p):
        """Answers an R2T with the data that it asks for."""
        data = self.writes.get(p.itt)
        if data is None:
            return
        segment = int(self.agreed.get("MaxRecvDataSegmentLength", 8192))
        offset, end, sn = p.offset, p.offset + p.residual, 0
        while offset < end:
            n = min(segment, end - offset)
            self.data_out(p.itt, p.ttt, offset, data[offset:offset + n], sn, offset + n == end,
                          lun=p.header[8:16])
            offset += n
            sn += 1

    def pump(self, timeout=None):
        """Receives one PDU and files it."""
        p = self.recv(timeout)
        if p.opcode != R2T and not (p.opcode == DATA_IN and not p.flags & 1):
            if p.stat_sn != NONE and not (p.opcode == NOP_IN and p.itt == NONE):
                self.exp_stat_sn = (p.stat_sn + 1) & NONE
        self.exp_cmd_sn, self.max_cmd_sn = p.exp_cmd_sn, p.max_cmd_sn
        if p.opcode == R2T:
            self.serve_r2t(p)
        elif p.opcode == DATA_IN:
            if p.sn != self.sns.get(p.itt, 0):
                raise ValueError(f"DataSN {p.sn} instead of {self.sns.get(p.itt, 0)}")
            self.sns[p.itt] = p.sn + 1
            into = self.reads[p.itt]
            into[p.offset:p.offset + len(p.data)] = p.data
            if p.flags & 1:
                self.finish(p, p.status, b"")
        elif p.opcode == SCSI_RSP:
            self.finish(p, p.status, p.data[2:])
        elif p.opcode == NOP_IN and p.itt == NONE:
            if p.ttt != NONE:
                h = header(NOP_OUT | IMMEDIATE, FINAL, p.header[8:16], NONE, p.ttt, self.cmd_sn,
                           self.exp_stat_sn)
                self.send(h)
        elif p.itt != NONE and p.opcode in (NOP_IN, TMF_RSP, TEXT_RSP, LOGOUT_RSP):
            self.answers[p.itt] = p
        else:
            self.other.append(p)
        return p

    def finish(self, p, status, sense):
        data = bytes(self.reads.pop(p.itt, b""))
        if p.flags & 2:
            data = data[:len(data) - p.residual] if p.residual <= len(data) else b""
        self.writes.pop(p.itt, None)
        self.sns.pop(p.itt, None)
        self.answers[p.itt] = Result(status, data, sense, p.residual, p.flags)

    def wait(self, itt, timeout=10):
        end = time.monotonic() + timeout
        while itt not in self.answers:
            left = end - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"no answer within {timeout} s")
            self.pump(left)
        return self.answers.pop(itt)

    def wait_other(self, opcode, timeout=5):
        """The next PDU of this kind that answers no request by its tag (Reject, Async)."""
        end = time.monotonic() + timeout
        while True:
            for p in self.other:
                if p.opcode == opcode:
                    self.other.remove(p)
                    return p
            self.pump(max(0.01, end - time.monotonic()))

    def execute(self, cdb, lun=0, read=0, write=None, timeout=10, **request):
        return self.wait(self.command(cdb, lun, read, write, **request), timeout)

    # ---- commands ----

    def ready(self, lun=0):
        """TEST UNIT READY until no unit attention is left."""
        for _ in range(8):
            r = self.execute(bytes(6), lun)
            if r.code() is None or r.code()[0] != 6:
                break
        return r

    def write10(self, lba, data, lun=0, block=512, **more):
        cdb = struct.pack(">BBIBHB", 0x2A, 0, lba, 0, len(data) // block, 0)
        return self.execute(cdb, lun, write=data, **more)

    def read10(self, lba, blocks, lun=0, block=512, **more):
        cdb = struct.pack(">BBIBHB", 0x28, 0, lba, 0, blocks, 0)
        return self.execute(cdb, lun, read=blocks * block, **more)

    def inquiry(self, page=None, lun=0, length=255):
        cdb = struct.pack(">BBBHB", 0x12, 0 if page is None else 1, page or 0, length, 0)
        return self.execute(cdb, lun, read=length)

    def capacity(self, lun=0):
        """(blocks, block bytes)"""
        r = self.execute(struct.pack(">BB8xIBB", 0x9E, 0x10, 32, 0, 0), lun, read=32)
        if r.status != GOOD:
            raise ValueError(f"READ CAPACITY: {r}")
        last, size = struct.unpack_from(">QI", r.data)
        return last + 1, size

    def report_luns(self):
        r = self.execute(struct.pack(">BBB3xIBB", 0xA0, 0, 0, 4096, 0, 0), read=4096)
        n = struct.unpack_from(">I", r.data)[0] // 8
        return [struct.unpack_from(">H", r.data, 8 + 8 * i)[0] & 0x3FFF for i in range(n)]

    def pr_out(self, action, key=0, new=0, kind=0, lun=0, aptpl=False):
        cdb = struct.pack(">BBB2xIB", 0x5F, action, kind, 24, 0)
        data = struct.pack(">QQ4xB3x", key, new, 1 if aptpl else 0)
        return self.execute(cdb, lun, write=data)

    def pr_keys(self, lun=0):
        r = self.execute(struct.pack(">BB5xHB", 0x5E, 0, 1024, 0), lun, read=1024)
        n = struct.unpack_from(">I", r.data, 4)[0] // 8
        return [struct.unpack_from(">Q", r.data, 8 + 8 * i)[0] for i in range(n)]

    def pr_reservation(self, lun=0):
        """(key, type) or None"""
        r = self.execute(struct.pack(">BB5xHB", 0x5E, 1, 1024, 0), lun, read=1024)
        if struct.unpack_from(">I", r.data, 4)[0] == 0:
            return None
        return struct.unpack_from(">Q", r.data, 8)[0], r.data[21] & 15

    # ---- other requests ----

    def tmf(self, function, lun=0, ref=NONE, ref_sn=0, immediate=True, timeout=10):
        """The response code."""
        h = self.request(TMF_REQ, FINAL | function, lun, immediate=immediate)
        struct.pack_into(">I", h, 20, ref)
        struct.pack_into(">I", h, 32, ref_sn)
        self.send(h)
        return self.wait(struct.unpack_from(">I", h, 16)[0], timeout).response

    def nop(self, data=b"", immediate=False):
        h = self.request(NOP_OUT, immediate=immediate, ttt=NONE)
        self.send(h, data)
        return self.wait(struct.unpack_from(">I", h, 16)[0]).data

    def text(self, keys, flags=FINAL, ttt=NONE, raw=None):
        h = self.request(TEXT_REQ, flags, ttt=ttt)
        self.send(h, pack_keys(keys) if raw is None else raw)
        return self.wait(struct.unpack_from(">I", h, 16)[0])

    def send_targets(self, what="All"):
        """Text of the whole answer, however many PDUs it takes."""
        p = self.text({"SendTargets": what})
        data = p.data
        while p.flags & 0x40 or not p.flags & FINAL:
            p = self.text({}, ttt=p.ttt)
            data += p.data
        return data.decode("latin-1")

    def logout(self, reason=0, cid=None):
        h = self.request(LOGOUT_REQ, FINAL | reason)
        struct.pack_into(">H", h, 20, self.cid if cid is None else cid)
        self.send(h)
        return self.wait(struct.unpack_from(">I", h, 16)[0]).response
