#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
In the VM: blocks of 4 KiB that say who they are. Usage:

    blocks.py write DISK FROM COUNT SEED        makes them so
    blocks.py rewrite DISK SEED < NUMBERS       those that are named
    blocks.py check DISK FROM COUNT SEED        prints the numbers of those that can't be read for an
                                                error of the medium; any other error, and other
                                                contents, fail
"""

import errno
import mmap
import os
import sys

BLOCK = 4096
MANY = 32


def contents(number, seed):
    return (int(seed) << 48 | number).to_bytes(8, "little") * (BLOCK // 8)


def runs(numbers):
    """Of at most MANY that follow each other."""
    run = []
    for number in numbers:
        if run and (number != run[-1] + 1 or len(run) == MANY):
            yield run
            run = []
        run.append(number)
    if run:
        yield run


def write(fd, numbers, seed):
    memory = mmap.mmap(-1, MANY * BLOCK)
    for run in runs(numbers):
        memory[:len(run) * BLOCK] = b"".join(contents(number, seed) for number in run)
        assert os.pwritev(fd, [memoryview(memory)[:len(run) * BLOCK]], run[0] * BLOCK) == len(run) * BLOCK


def check(fd, run, seed, memory):
    """One by one, if they can't be read at once."""
    wanted = b"".join(contents(number, seed) for number in run)
    try:
        got = os.preadv(fd, [memoryview(memory)[:len(wanted)]], run[0] * BLOCK)
    except OSError as e:
        if e.errno != errno.ENODATA:  # the kernel's for MEDIUM ERROR
            sys.exit(f"block {run[0]}: {e}")
        if len(run) == 1:
            print(run[0])
        else:
            for number in run:
                check(fd, [number], seed, memory)
        return
    if got != len(wanted) or memory[:len(wanted)] != wanted:
        sys.exit(f"blocks {run[0]} to {run[-1]}: other contents came back")


def main():
    verb, disk, *rest = sys.argv[1:]
    fd = os.open(disk, os.O_RDWR | os.O_DIRECT)
    if verb == "rewrite":
        write(fd, [int(line) for line in sys.stdin], rest[0])
    else:
        numbers = range(int(rest[0]), int(rest[0]) + int(rest[1]))
        if verb == "write":
            write(fd, numbers, rest[2])
        else:
            memory = mmap.mmap(-1, MANY * BLOCK)
            for run in runs(numbers):
                check(fd, run, rest[2], memory)


main()
