# SPDX-License-Identifier: BSD-2-Clause
"""An NBD client of our own, as rude as a test wants it."""

import os
import socket
import struct

MAGIC, OPTION_MAGIC, REPLY_MAGIC = b"NBDMAGIC", b"IHAVEOPT", 0x3E889045565A9
REQUEST, SIMPLE, CHUNK = 0x25609513, 0x67446698, 0x668E33EF
EXPORT_NAME, ABORT, LIST, INFO, GO, STRUCTURED = 1, 2, 3, 6, 7, 8
ACK, SERVER, REP_INFO, ERR_UNKNOWN, ERR_POLICY = 1, 2, 3, 1 << 31 | 6, 1 << 31 | 2
READ, WRITE, DISC, FLUSH, TRIM, WRITE_ZEROES, BLOCK_STATUS = 0, 1, 2, 3, 4, 6, 7
EPERM, EIO, EINVAL = 1, 5, 22


def path(daemon):
    return os.path.join(daemon.state, "nbd.sock")


def uri(daemon, name=""):
    return f"nbd+unix:///{name}?socket={path(daemon)}"


class Closed(Exception):
    """The server ended the connection."""


class Client:
    """Greeted; with `name` it is in the transmission phase, with simple replies."""

    def __init__(self, daemon, name=None, timeout=10):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(timeout)
        self.socket.connect(path(daemon))
        self.size = self.flags = None
        if self.read(18)[:16] != MAGIC + OPTION_MAGIC:
            raise AssertionError("no greeting of NBD")
        if name is not None:
            self.send(struct.pack(">I", 3))
            self.go(name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def send(self, data):
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            raise Closed from None

    def read(self, count):
        data = b""
        while len(data) < count:
            try:
                more = self.socket.recv(count - len(data))
            except ConnectionResetError:
                more = b""
            if not more:
                raise Closed
            data += more
        return data

    def ended(self, seconds=5):
        """True when the server has closed; what it sent before is dropped."""
        self.socket.settimeout(seconds)
        try:
            while self.read(1):
                pass
        except Closed:
            return True
        except TimeoutError:
            return False

    def option(self, option, data=b""):
        """The replies: (type, data)."""
        self.send(OPTION_MAGIC + struct.pack(">II", option, len(data)) + data)
        replies = []
        while True:
            magic, _, kind, size = struct.unpack(">QIII", self.read(20))
            if magic != REPLY_MAGIC:
                raise AssertionError("no reply to an option")
            replies.append((kind, self.read(size)))
            if kind == ACK or kind >> 31:
                return replies

    def names(self):
        return [data[4:].decode() for kind, data in self.option(LIST) if kind == SERVER]

    def go(self, name):
        name = name.encode()
        replies = self.option(GO, struct.pack(">I", len(name)) + name + bytes(2))
        if replies[-1][0] != ACK:
            raise LookupError(f"{replies[-1][0]:#x} {replies[-1][1]}")
        for _, data in replies[:-1]:
            if data[:2] == b"\0\0":
                self.size, self.flags = struct.unpack(">QH", data[2:])

    def request(self, command, offset=0, size=0, flags=0, cookie=1):
        self.send(struct.pack(">IHHQQI", REQUEST, flags, command, cookie, offset, size))

    def answer(self):
        """Error and cookie of a simple reply."""
        magic, error, cookie = struct.unpack(">IIQ", self.read(16))
        if magic != SIMPLE:
            raise AssertionError("no simple reply")
        return error, cookie

    def pread(self, offset, size):
        self.request(READ, offset, size)
        error, _ = self.answer()
        if error:
            raise OSError(error, os.strerror(error))
        return self.read(size)
