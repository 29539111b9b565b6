/* SPDX-License-Identifier: BSD-2-Clause */
/* See pack_unit.h. */
#define ZSTD_STATIC_LINKING_ONLY /* contexts in memory that is ours */
#include <zstd.h>

#include "cache/pack_unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LEVEL 1
#define SAMPLES 8u
#define SAMPLE_BYTES 64u
/* Of 512 random bytes about 221 different values are to be expected, give or take 5; of text 60 to 80, of
 * programs up to 170. */
#define RANDOM_VALUES 205u

struct pack_ctx {
	ZSTD_CCtx *c;
	ZSTD_DCtx *d;
	void *cmem, *dmem;
};

int
pack_ctx_create(bool compress, struct pack_ctx **ret)
{
	struct pack_ctx *p = calloc(1, sizeof *p);
	size_t csize = ZSTD_estimateCCtxSize(LEVEL), dsize = ZSTD_estimateDCtxSize();
	if (p == NULL)
		return -ENOMEM;
	p->dmem = malloc(dsize);
	if (p->dmem != NULL)
		p->d = ZSTD_initStaticDCtx(p->dmem, dsize);
	if (compress)
		p->cmem = malloc(csize);
	if (p->cmem != NULL)
		p->c = ZSTD_initStaticCCtx(p->cmem, csize);
	if (p->d == NULL || (compress && p->c == NULL)) {
		pack_ctx_destroy(p);
		return -ENOMEM;
	}
	*ret = p;
	return 0;
}

void
pack_ctx_destroy(struct pack_ctx *p)
{
	if (p == NULL)
		return;
	free(p->cmem);
	free(p->dmem);
	free(p);
}

/* A look at some of it, which costs a hundredth of trying. */
static bool
looks_random(const uint8_t *src, uint32_t bytes)
{
	uint64_t seen[4] = {0};
	uint32_t values = 0;
	if (bytes < SAMPLES * SAMPLE_BYTES)
		return false;
	for (uint32_t i = 0; i < SAMPLES; i++) {
		const uint8_t *at = src + (uint64_t)(bytes / SAMPLES) * i;
		for (uint32_t k = 0; k < SAMPLE_BYTES; k++)
			seen[at[k] / 64] |= 1ull << (at[k] % 64);
	}
	for (uint32_t i = 0; i < 4; i++)
		values += (uint32_t)__builtin_popcountll(seen[i]);
	return values >= RANDOM_VALUES;
}

uint32_t
pack_unit(struct pack_ctx *p, const void *src, uint32_t bytes, void *dst)
{
	if (looks_random(src, bytes))
		return 0;
	size_t most = bytes - bytes / 8;
	size_t n = ZSTD_compressCCtx(p->c, dst, most, src, bytes, LEVEL);
	if (ZSTD_isError(n))
		return 0; /* it has no more room */
	uint32_t sectors = (uint32_t)((n + PACK_SECTOR_BYTES - 1) / PACK_SECTOR_BYTES);
	memset((char *)dst + n, 0, sectors * PACK_SECTOR_BYTES - n);
	return sectors;
}

int
unpack_unit(struct pack_ctx *p, const void *src, uint32_t src_bytes, void *dst, uint32_t bytes)
{
	/* Behind the frame are zeros to the end of its sector. */
	size_t frame = ZSTD_findFrameCompressedSize(src, src_bytes);
	if (ZSTD_isError(frame) || frame > src_bytes)
		return -EIO;
	size_t n = ZSTD_decompressDCtx(p->d, dst, bytes, src, frame);
	return !ZSTD_isError(n) && n == bytes ? 0 : -EIO;
}
