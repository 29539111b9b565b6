/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A unit of packed data, compressed by itself with zstd. Pure: memory to memory, no allocation after
 * pack_ctx_create(). Packed bytes that come in are hostile: nothing is read or written beyond what is given.
 */
#ifndef CACHE_PACK_UNIT_H
#define CACHE_PACK_UNIT_H

#include <stdbool.h>
#include <stdint.h>

#define PACK_SECTOR_BYTES 512u

struct pack_ctx;

/* `compress` false: it is to unpack only, and much smaller. 0 or -ENOMEM. */
int pack_ctx_create(bool compress, struct pack_ctx **ret);
/* Accepts NULL. */
void pack_ctx_destroy(struct pack_ctx *p);

/*
 * `bytes`, at most 16 KiB, into `dst`, which has room for as many. Returns how many sectors they take, zeros
 * to the end of the last; 0: they don't get smaller by an eighth, and what `dst` holds means nothing. Data
 * that looks random isn't tried.
 */
uint32_t pack_unit(struct pack_ctx *p, const void *src, uint32_t bytes, void *dst);

/* The other way round: exactly `bytes` into `dst`. 0; -EIO: that isn't what `src` holds. */
int unpack_unit(struct pack_ctx *p, const void *src, uint32_t src_bytes, void *dst, uint32_t bytes);

#endif
