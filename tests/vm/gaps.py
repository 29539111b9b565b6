#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
In the VM: direct I/O of buffers in pieces that don't fill their pages, so that what an initiator hands
to its card has gaps. Writes, reads back in other pieces, compares. Usage: gaps.py DISK
"""

import mmap
import os
import sys

PAGE = mmap.PAGESIZE


def pieces(memory, lengths, offsets):
    """One piece in each page of `memory`, at these offsets within."""
    view = memoryview(memory)
    return [view[i * PAGE + at:i * PAGE + at + n] for i, (n, at) in enumerate(zip(lengths, offsets))]


def check(fd, lengths, offsets, at):
    out, back = mmap.mmap(-1, len(lengths) * PAGE), mmap.mmap(-1, len(lengths) * PAGE)
    total = sum(lengths)
    data = os.urandom(total)
    done = 0
    for piece in pieces(out, lengths, offsets):
        piece[:] = data[done:done + len(piece)]
        done += len(piece)
    assert os.pwritev(fd, pieces(out, lengths, offsets), at) == total
    # The same pieces the other way round.
    turned = pieces(back, lengths[::-1], offsets[::-1])
    assert os.preadv(fd, turned, at) == total
    assert b"".join(turned) == data, f"{lengths} {offsets}: other data came back"
    assert os.pread(os.open(sys.argv[1], os.O_RDONLY), total, at) == data


def main():
    fd = os.open(sys.argv[1], os.O_RDWR | os.O_DIRECT)
    check(fd, [512] * 8, [0, 512, 1024, 3584, 0, 2048, 512, 1536], 0)
    check(fd, [512, 4096, 1024, 512, 2048], [3584, 0, 512, 0, 1024], 1 << 20)
    check(fd, [512] * 60, [i * 512 % 3584 for i in range(60)], 2 << 20)
    check(fd, [4096] * 200, [0] * 200, 3 << 20)


main()
