# SPDX-License-Identifier: BSD-2-Clause
"""
What dm-log-writes has recorded of a block device: writes in the order in which they became durable.
A write is in the log once a flush that came after its completion has completed, or at once if it was
a FUA write. So the log up to a flush or FUA write is what a power cut at that moment leaves, if the
drive loses everything that it may lose.

Linux: drivers/md/dm-log-writes.c has the format.
"""

import random
import struct

MAGIC = 0x6A736677736872
FLUSH, FUA, DISCARD, MARK = 1, 2, 4, 8
BLOCK = 4096  # what a drive writes as a whole


class Entry:
    """`offset` and `length` in bytes; `data` None: discarded."""

    def __init__(self, offset, length, flags, data):
        self.offset, self.length, self.flags, self.data = offset, length, flags, data

    def is_barrier(self):
        return bool(self.flags & (FLUSH | FUA))

    def apply(self, image, keep=lambda: True):
        """Onto a bytearray, those blocks of it that `keep` says."""
        data = self.data if self.data is not None else bytes(self.length)
        at = 0
        while at < self.length:
            end = min(self.length, at + BLOCK - (self.offset + at) % BLOCK)
            if keep():
                image[self.offset + at:self.offset + end] = data[at:end]
            at = end


def read_log(path):
    """All entries of a log device that isn't in use any more."""
    found = []
    with open(path, "rb") as f:
        magic, version, count, sector = struct.unpack("<QQQI", f.read(28))
        if magic != MAGIC or version != 1:
            raise ValueError(f"{path} is no log of dm-log-writes")
        at = sector
        for _ in range(count):
            f.seek(at)
            first, sectors, flags, _ = struct.unpack("<QQQQ", f.read(32))
            at += sector
            data = None
            if not flags & DISCARD and sectors:
                f.seek(at)
                data = f.read(sectors * sector)
                at += sectors * sector
            if not flags & MARK:
                found.append(Entry(first * sector, sectors * sector, flags, data))
    return found


class Replay:
    """A device's contents after more and more of its barriers."""

    def __init__(self, entries, size):
        self.entries, self.image, self.at = entries, bytearray(size), 0
        self.barriers = sum(e.is_barrier() for e in entries)
        self.done = 0

    def forward(self, barriers):
        """Up to and with this many of them."""
        while self.done < barriers:
            entry = self.entries[self.at]
            entry.apply(self.image)
            self.at += 1
            self.done += entry.is_barrier()

    def with_some_of_the_next(self, how):
        """
        The contents just before the next flush completes, when a drive may have kept of the writes
        that it covers whatever it liked: "all", "random" (blocks of them), else none. For a FUA write
        it is that write alone.
        """
        image = bytearray(self.image)
        keep = {"all": lambda: True, "random": lambda: random.random() < 0.5}.get(how)
        at = self.at
        while keep and at < len(self.entries):
            entry = self.entries[at]
            if entry.length:
                entry.apply(image, keep)
            if entry.is_barrier():
                break
            at += 1
        return image
