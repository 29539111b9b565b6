/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Looking at a cache that nobody has open: are its structures whole, do its records follow each other, is
 * its data what it was? Nothing is written. It reads by a function of its caller's, at once, and needs no
 * loop; the codec is the one that the cache itself uses. Any thread, one call at a time for one device.
 *
 * It judges as recovery does (docs/format/cache.md), but goes on after what would end that.
 */
#ifndef CACHE_CHECK_H
#define CACHE_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cache_check_args {
	/* Whole blocks of 4 KiB. 0 or -errno. */
	int (*read)(void *ctx, uint64_t offset, void *buf, size_t len);
	uint64_t size_bytes; /* of the device */
	/* Something isn't as it should be. `is_loss`: acknowledged data is, or may be, gone; else the
	 * cache can do without. Only the first CACHE_CHECK_TOLD_MAX are told. */
	void (*problem)(void *ctx, bool is_loss, const char *text);
	/* NULL, or a line for each structure, with its block. `descriptors`: also for what is in records. */
	void (*line)(void *ctx, uint64_t block, const char *structure, const char *text);
	bool descriptors;
	bool payload; /* read all data, and compare it with its checksums */
	/* May be NULL; `left` blocks are still to be looked at. */
	void (*progress)(void *ctx, uint64_t left, uint64_t total);
	void *ctx;
};
#define CACHE_CHECK_TOLD_MAX 100u

struct cache_check_result {
	uint8_t uuid[16];
	uint64_t size_bytes, generation, epoch, checkpoint;
	bool is_void;
	bool in_order; /* the last one who had it closed it: nothing has to be recovered */
	uint32_t volumes, segments, free, sealed, open, empty, lost;
	uint64_t records, payload_blocks, live_blocks,
	    dirty_blocks;       /* dirty: the store lacks it, at most */
	uint64_t packed_blocks; /* of the live ones */
	uint64_t read_blocks, bad_blocks,
	    bad_dirty_blocks;     /* with `payload`; of those that aren't dead */
	uint32_t remarks, losses; /* problems */
};

/*
 * 0; -EMEDIUMTYPE: no cache of ours; -EPROTONOSUPPORT: one of a newer version; -ENOMEM; what `read` said of
 * the superblocks. What can't be read elsewhere is a problem.
 */
int cache_check(const struct cache_check_args *args, struct cache_check_result *ret);

#endif
