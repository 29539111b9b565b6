/* SPDX-License-Identifier: BSD-2-Clause */
/* Parsing of what the kernel says about a block device; apart so that tests can feed it trees. */
#ifndef STORE_BLOCK_PRIV_H
#define STORE_BLOCK_PRIV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct block_queue {
	bool rotational;
	uint64_t discard_granularity_bytes, discard_max_bytes;
	uint64_t write_zeroes_max_bytes;
	uint64_t minimum_io_bytes, optimal_io_bytes;
};

/* From /sys/dev/block/M:m/queue below `root`, or the disk's for a partition; 0 where unknown. */
void block_read_queue(const char *root, dev_t rdev, struct block_queue *ret);
/* The best of the names in `dir` (/dev/disk/by-id) for a device. False if there is none. */
bool block_stable_name(const char *dir, dev_t rdev, char *buf, size_t cap);

#endif
