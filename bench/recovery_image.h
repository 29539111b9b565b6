/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A cache's SSD as a crash would leave it after days of work, made at once: only what a recovery reads is
 * written, the rest are holes. Knows no cache that runs.
 */
#ifndef BENCH_RECOVERY_IMAGE_H
#define BENCH_RECOVERY_IMAGE_H

#include <stdint.h>

struct recovery_image {
	uint64_t size_bytes;
	uint32_t extent_blocks; /* of 4 KiB, 1 to 32; the extents lie scattered over the volume */
	uint64_t tail_records;  /* newer than the last checkpoint */
	/* out */
	uint64_t volume_bytes, extents, records, written_bytes;
	uint32_t segments;
};

/* The volume's store is called "bench"; its marker is {cache UUID of 16 × 0x42, volume 1, generation 1}.
 * 0 or -errno. */
int recovery_image_make(const char *path, struct recovery_image *i);

#endif
