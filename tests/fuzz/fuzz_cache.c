/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The decoders of the cache's on-disk structures. The first byte says which; what follows are its bytes,
 * whose magic, place and CRC are made right, so that the fuzzer gets behind them. 255: a unit of packed data,
 * with the second byte its size.
 */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/crc32c.h"
#include "cache/codec.h"
#include "cache/pack_unit.h"

static const uint8_t uuid[16] = {1, 2, 3};
static struct cache_geometry geo;
static uint8_t buf[8 * CF_BLOCK_BYTES];

static void
dress(enum cf_type type, uint64_t place, uint32_t cap)
{
	struct cf_head *h = (void *)buf;
	uint32_t bytes = le32_get(h->bytes);
	if (bytes < sizeof *h || bytes > cap)
		bytes = cap;
	cf_seal(buf, type, bytes, uuid, place, le64_get(h->generation));
}

/* Units within the payload, each block with a bit of its own. */
static void
check_packed(const struct cache_record *r, const struct cache_desc *d, uint32_t data, uint32_t end)
{
	struct cache_pack_unit u;
	uint64_t blocks = 0;
	ASSERT(r->stream == CF_F && d->count <= CACHE_PACK_DESC_BLOCKS);
	ASSERT(d->place >= 2 * data && d->place + d->count <= 2ull * end);
	for (unsigned i = 0; cache_desc_unit(d, i, &u); i++) {
		ASSERT(u.sectors > 0 && u.sectors <= u.blocks * CF_SECTORS);
		ASSERT(u.sector >= data * CF_SECTORS && u.sector + u.sectors <= end * CF_SECTORS);
		ASSERT(u.half == d->place + blocks && u.blocks <= CF_PACK_UNIT_BLOCKS);
		blocks += u.blocks;
	}
	ASSERT(blocks == d->count);
}

static void
try_unit(uint8_t kind, const uint8_t *data, size_t size)
{
	static struct pack_ctx *ctx;
	uint32_t blocks = kind % CF_PACK_UNIT_BLOCKS + 1, bytes = blocks * CF_BLOCK_BYTES;
	size = size < bytes - 1 ? size : bytes - 1;
	/* Of its own, so that what reaches beyond is seen. */
	uint8_t *src = malloc(size), *dst = malloc(bytes);
	ASSERT(dst != NULL && (size == 0 || src != NULL));
	if (ctx == NULL && pack_ctx_create(true, &ctx) < 0)
		abort();
	if (size > 0)
		memcpy(src, data, size);
	if (size > 0 && unpack_unit(ctx, src, (uint32_t)size, dst, bytes) == 0) {
		uint8_t *again = malloc(bytes), *back = malloc(bytes);
		ASSERT(again != NULL && back != NULL);
		uint32_t n = pack_unit(ctx, dst, bytes, again);
		if (n > 0) {
			int err = unpack_unit(ctx, again, n * PACK_SECTOR_BYTES, back, bytes);
			ASSERT(err == 0 && memcmp(back, dst, bytes) == 0);
		}
		free(again);
		free(back);
	}
	free(src);
	free(dst);
}

/* What an accepted record promises. */
static void
check_record(const struct cache_record *r)
{
	uint32_t data = r->unit + r->header_blocks, end = data + r->payload_blocks;
	ASSERT(end <= geo.data_blocks && r->desc_count > 0);
	for (uint32_t i = 0; i < r->desc_count; i++) {
		struct cache_desc d;
		cache_desc_get(&r->descs[i], &d);
		ASSERT(d.count > 0 && d.block + d.count > d.block && d.ver > 0 && d.mask != 0);
		if (d.flags & CF_DESC_PACKED) {
			check_packed(r, &d, data, end);
			continue;
		}
		if (d.flags & CF_DESC_ZERO)
			ASSERT(d.place >= r->unit && d.place < data);
		else
			ASSERT(d.place >= data && d.count <= end - d.place);
	}
}

static void
try_record(uint8_t unit)
{
	struct cache_record r;
	uint32_t at = unit % geo.data_blocks;
	dress(CF_RECORD, cache_data_block(&geo, 1, at), sizeof buf);
	if (cache_record_decode(&geo, uuid, 1, at, buf, sizeof buf, &r))
		check_record(&r);
}

static void
try_footer(void)
{
	struct cache_footer f;
	struct cache_record r;
	uint32_t at = sizeof(struct cf_footer), cap = geo.footer_blocks * CF_BLOCK_BYTES;
	/* The records within it too. */
	while (at + sizeof(struct cf_record) < cap) {
		struct cf_head *h = (void *)(buf + at);
		uint32_t bytes = le32_get(h->bytes);
		if (bytes < sizeof(struct cf_record) || bytes > cap - at)
			break;
		cf_seal(h, CF_RECORD, bytes, uuid,
		    cache_data_block(&geo, 1, (uint32_t)(le64_get(h->place) % geo.data_blocks)),
		    le64_get(h->generation));
		at += cache_footer_need(bytes);
	}
	dress(CF_FOOTER, cache_footer_block(&geo, 1), cap);
	uint32_t bytes = cache_footer_bytes(&geo, uuid, 1, buf);
	ASSERT(bytes <= cap);
	if (!cache_footer_decode(&geo, uuid, 1, buf, cap, &f))
		return;
	uint32_t n = 0;
	for (at = 0; cache_footer_next(&geo, 1, buf, &f, &at, &r); n++)
		check_record(&r);
	ASSERT(n == f.record_count);
}

static void
try_fixed(uint8_t kind)
{
	struct cache_super s;
	struct cache_slot slot;
	struct cache_ckhead c;
	struct cache_seghead h;
	struct cache_volrow rows[64];
	uint64_t generation;
	uint32_t next, count;
	switch (kind) {
	case 0:
		dress(CF_SUPER, 0, CF_BLOCK_BYTES);
		if (cache_super_decode(buf, 0, 1ull << 40, &s) == CF_OK)
			ASSERT(
			    cache_segment_block(&s.geo, s.geo.segment_count) <= s.geo.size_blocks);
		break;
	case 1:
		dress(CF_SLOT, cache_slot_block(&geo, 1, 0), CF_BLOCK_BYTES);
		cache_slot_decode(&geo, uuid, 1, 0, buf, &slot);
		break;
	case 2:
		dress(CF_CHECKPOINT, geo.checkpoint_block, CF_BLOCK_BYTES);
		cache_ckhead_decode(&geo, uuid, 0, buf, &c);
		break;
	case 3:
		dress(CF_SEGMENT, cache_segment_block(&geo, 1), CF_BLOCK_BYTES);
		if (cache_seghead_decode(&geo, uuid, 1, buf, &h))
			ASSERT(h.stream < CF_STREAM_COUNT);
		break;
	default:
		dress(CF_VOLTABLE, geo.voltable_block, geo.voltable_blocks * CF_BLOCK_BYTES);
		if (!cache_voltable_decode(&geo, uuid, 0, buf, &generation, &next, rows, &count))
			break;
		for (uint32_t i = 0; i < count; i++)
			ASSERT(rows[i].id < next && strlen(rows[i].name) <= CACHE_NAME_MAX);
		break;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int err = cache_geometry_make(&geo, 4096ull * 1024, 64, 15);
	ASSERT(err == 0);
	if (size < 2)
		return 0;
	memset(buf, 0, sizeof buf);
	memcpy(buf, data + 2, size - 2 < sizeof buf ? size - 2 : sizeof buf);
	if (data[0] == 255)
		try_unit(data[1], data + 2, size - 2);
	else if (data[0] % 7 == 5)
		try_record(data[1]);
	else if (data[0] % 7 == 6)
		try_footer();
	else
		try_fixed(data[0] % 7);
	return 0;
}
