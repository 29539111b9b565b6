/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Who holds a file or a device, for the sentence of a refusal. Everything is read below `root` ("" on
 * a live system; a tree of the test's own otherwise). Best effort: not finding anybody is normal.
 */
#ifndef STORE_REFUSE_H
#define STORE_REFUSE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* "process 1234 (qemu-img)". True if somebody other than this process was found. */
bool refuse_file_holder(const char *root, dev_t dev, ino_t ino, char *buf, size_t cap);
/* How many descriptors of this process are the file, or (rdev not 0) the device. */
unsigned refuse_own_count(dev_t dev, ino_t ino, dev_t rdev);
/*
 * A process that was killed keeps what it had open for a moment, until the kernel has ended its
 * requests: what is busy and has no holder is tried again this often, in this distance.
 */
#define REFUSE_TRIES 100u
#define REFUSE_RETRY_US 100000u
/* "swap" or "loop device /dev/loop0", by path: uses of a file that take no lock. */
bool refuse_file_use(const char *root, const char *path, char *buf, size_t cap);
/*
 * "mounted at /srv", "in use as swap", "part of md0", "used by LVM vg-lv (dm-0)", "mounted at /boot
 * (partition sda1)", or a process. True if a holder was found.
 */
bool refuse_device_holder(const char *root, const char *path, dev_t rdev, char *buf, size_t cap);
/* The entry of `path`'s directory with the nearest name. True if there is one. */
bool refuse_nearest(const char *path, char *buf, size_t cap);
/* Reads a short file below root into buf, without its newline. False if there is none. */
bool refuse_read_line(const char *root, const char *path, char *buf, size_t cap);

#endif
