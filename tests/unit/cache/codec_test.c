/* SPDX-License-Identifier: BSD-2-Clause */
/* From and to the cache's on-disk bytes: what goes in comes out, what is wrong isn't believed. */
#include "tests/cmocka_all.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "cache/codec.h"

/* Of version 1; they change with the format, never otherwise. */
#define GOLDEN_SUPER 0x966db77u
#define GOLDEN_TABLE 0x13510befu
#define GOLDEN_SLOT 0x68c2125u
#define GOLDEN_CHECKPOINT 0x6212eabbu
#define GOLDEN_SEGMENT 0xc8816edeu
#define GOLDEN_RECORD 0x6d982a85u
#define GOLDEN_PACKED 0xdabad469u

static const uint8_t uuid[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
static const uint8_t other[16] = {9};
static struct cache_geometry geo;
static uint8_t buf[8 * CF_BLOCK_BYTES];

static int
setup(void **state)
{
	(void)state;
	memset(buf, 0, sizeof buf);
	return cache_geometry_make(&geo, (114ull) * CF_BLOCK_BYTES, 16, 7);
}

static void
geometry_of_devices(void **state)
{
	struct cache_geometry g;
	(void)state;
	assert_int_equal(geo.segment_count, 6);
	assert_int_equal(geo.data_blocks, 14);
	assert_int_equal(cache_segment_block(&geo, 6), geo.size_blocks);
	assert_int_equal(cache_geometry_make(&g, 113ull * CF_BLOCK_BYTES, 16, 7), -ENOSPC);
	assert_int_equal(cache_geometry_make(&g, 0, 0, 7), -ENOSPC);
	assert_int_equal(cache_geometry_make(&g, 1ull << 30, 15, 7), -EINVAL);
	/* 64 MiB segments as soon as there are enough of them; every block of them has its bit. */
	assert_int_equal(cache_geometry_make(&g, 1ull << 40, 0, 255), 0);
	assert_int_equal(g.segment_blocks, 16384);
	assert_true(g.data_blocks <= CF_DATA_BLOCKS_MAX);
	assert_true(cache_segment_block(&g, g.segment_count) <= g.size_blocks);
	assert_int_equal(cache_geometry_make(&g, 2ull << 30, 0, 255), 0);
	assert_true(g.segment_count >= 30);
}

/* Nothing lies on anything else, nor beyond the device. */
static void
assert_whole(const struct cache_geometry *g)
{
	uint64_t end = g->voltable_block + 2ull * g->voltable_blocks;
	for (uint32_t k = 0; k < g->area_count; k++) {
		const struct cache_area *a = &g->area[k];
		uint32_t after = k + 1 < g->area_count ? g->area[k + 1].first : g->segment_count;
		assert_true(a->liveness_block == end);
		assert_true(after - a->first <= a->slots && after > a->first);
		assert_true(cache_slot_block(g, a->first, 0) == a->liveness_block);
		assert_true(
		    cache_slot_block(g, after - 1, 1) < a->liveness_block + 2ull * a->slots);
		end = a->liveness_block + 2ull * a->slots + (k == 0 ? 2 : 0);
		assert_true(cache_segment_block(g, a->first) == end);
		end += (uint64_t)(after - a->first) * g->segment_blocks;
		uint32_t run = after - a->first;
		assert_int_equal(cache_slots_run(g, a->first, g->segment_count, run + 1), run);
		assert_int_equal(cache_slots_run(g, a->first, g->segment_count, 1), 1);
	}
	assert_true(end == cache_geometry_end(g) && end <= g->size_blocks);
}

static void
assert_decodes(const struct cache_geometry *g)
{
	struct cache_super s = {.generation = 7,
	                       .geo = *g,
	                       .epoch = 3,
	                       .incompat = CF_INCOMPAT_RESIZED},
	                   r;
	memcpy(s.uuid, uuid, 16);
	cache_super_encode(&s, 0, buf);
	assert_int_equal(cache_super_decode(buf, 0, g->size_blocks * 4096, &r), CF_OK);
	assert_whole(&r.geo);
	assert_int_equal(r.geo.segment_count, g->segment_count);
	assert_int_equal(r.geo.area_count, g->area_count);
	assert_memory_equal(r.geo.area, g->area, sizeof g->area);
}

static void
sizes_change(void **state)
{
	struct cache_geometry g = geo, was, most;
	uint64_t seed = 5;
	(void)state;
	/* By one block nothing changes, by a segment and its slots there is one more. */
	assert_int_equal(cache_geometry_resize(&g, 115ull * 4096, 0, &g), 0);
	assert_int_equal(g.segment_count, 6);
	assert_int_equal(cache_geometry_resize(&geo, (114ull + 18) * 4096, 0, &g), 0);
	assert_int_equal(g.segment_count, 7);
	assert_int_equal(g.area_count, 2);
	assert_int_equal(cache_geometry_resize(&geo, (114ull + 100 * 18) * 4096, 9, &most), 0);
	assert_int_equal(most.segment_count, 9);
	assert_int_equal(cache_geometry_resize(&geo, 113ull * 4096, 0, &g), -ENOSPC);
	assert_int_equal(cache_geometry_resize(&geo, 4096, 0, &g), -ENOSPC);
	g = geo;
	for (int i = 0; i < 2000; i++) {
		seed = seed * 6364136223846793005ull + 1442695040888963407ull;
		uint64_t blocks = 114 + (seed >> 33) % 5000;
		was = g;
		assert_int_equal(cache_geometry_resize(&was, blocks * 4096, 0, &g), 0);
		assert_whole(&g);
		assert_decodes(&g);
		/* What stays is where it was. */
		uint32_t less =
		    g.segment_count < was.segment_count ? g.segment_count : was.segment_count;
		assert_true(blocks < was.size_blocks || g.segment_count >= was.segment_count);
		for (uint32_t seg = 0; seg < less; seg += 1 + less / 7)
			for (unsigned k = 0; k < 2; k++) {
				assert_true(
				    cache_segment_block(&g, seg) == cache_segment_block(&was, seg));
				assert_true(
				    cache_slot_block(&g, seg, k) == cache_slot_block(&was, seg, k));
			}
	}
	/* However often it grows by little, nearly all is used. */
	assert_int_equal(cache_geometry_make(&g, 8ull << 30, 0, 255), 0);
	for (uint64_t gib = 9; gib < 200; gib++)
		assert_int_equal(cache_geometry_resize(&g, gib << 30, 0, &g), 0);
	assert_whole(&g);
	assert_true((uint64_t)g.segment_count * g.segment_blocks * 100 > g.size_blocks * 98);
}

static void
hostile_areas_are_refused(void **state)
{
	static const uint32_t counts[] = {0, 17, UINT32_MAX},
	                      slots[] = {0, 1, UINT32_MAX, 0x10000000u};
	struct cache_super s = {.generation = 7, .epoch = 3, .incompat = CF_INCOMPAT_RESIZED}, r;
	struct cf_super *d = (struct cf_super *)(void *)buf;
	(void)state;
	memcpy(s.uuid, uuid, 16);
	assert_int_equal(cache_geometry_resize(&geo, (114ull + 36) * 4096, 0, &s.geo), 0);
	for (unsigned i = 0; i < 7; i++) {
		cache_super_encode(&s, 0, buf);
		if (i < 3)
			le32_put(&d->area_count, counts[i]);
		else
			le32_put(&d->area_slots[0], slots[i - 3]);
		cf_seal(buf, CF_SUPER, CF_BLOCK_BYTES, uuid, 0, 7);
		assert_int_equal(cache_super_decode(buf, 0, UINT64_MAX, &r), CF_BAD);
	}
}

static void
superblock_comes_back(void **state)
{
	struct cache_super s = {.generation = 7, .geo = geo, .epoch = 3, .is_void = true}, r;
	(void)state;
	memcpy(s.uuid, uuid, 16);
	s.end[CF_W] = (struct cache_position){2, 55, 0x1234};
	cache_super_encode(&s, 1, buf);
	assert_int_equal(cache_super_decode(buf, 1, geo.size_blocks * 4096, &r), CF_OK);
	assert_int_equal(r.generation, 7);
	assert_int_equal(r.epoch, 3);
	assert_true(r.is_void);
	assert_int_equal(r.end[CF_W].seq, 55);
	assert_int_equal(r.geo.segment0_block, geo.segment0_block);
	assert_int_equal(r.geo.segment_count, geo.segment_count);
	assert_int_equal(r.geo.data_blocks, geo.data_blocks);
	/* The other copy's place, a device that shrank. */
	assert_int_equal(cache_super_decode(buf, 0, geo.size_blocks * 4096, &r), CF_BAD);
	assert_int_equal(cache_super_decode(buf, 1, geo.size_blocks * 4096 - 1, &r), CF_BAD);
}

static void
any_flipped_bit_is_found(void **state)
{
	struct cache_super s = {.generation = 7, .geo = geo, .epoch = 3}, r;
	(void)state;
	cache_super_encode(&s, 0, buf);
	for (unsigned i = 0; i < 4096 * 8; i += 5) {
		buf[i / 8] ^= (uint8_t)(1u << (i % 8));
		assert_int_equal(cache_super_decode(buf, 0, geo.size_blocks * 4096, &r), CF_BAD);
		buf[i / 8] ^= (uint8_t)(1u << (i % 8));
	}
	assert_int_equal(cache_super_decode(buf, 0, geo.size_blocks * 4096, &r), CF_OK);
}

static void
reseal(void *p, uint32_t bytes)
{
	struct cf_head *h = p;
	le32_put(&h->crc, 0);
	uint32_t crc = crc32c(p, bytes);
	le32_put(&h->crc, crc);
}

static void
newer_superblocks_are_left_alone(void **state)
{
	struct cache_super s = {.generation = 7, .geo = geo, .epoch = 3}, r;
	struct cf_super *d = (void *)buf;
	(void)state;
	cache_super_encode(&s, 0, buf);
	le64_put(&d->incompat, 0x10);
	reseal(buf, 4096);
	assert_int_equal(cache_super_decode(buf, 0, geo.size_blocks * 4096, &r), CF_NEWER);
	cache_super_encode(&s, 0, buf);
	le16_put(&d->head.version, 2);
	reseal(buf, 4096);
	assert_int_equal(cache_super_decode(buf, 0, geo.size_blocks * 4096, &r), CF_NEWER);
	cache_super_encode(&s, 0, buf);
	le64_put(&d->ro_compat, 0x10);
	reseal(buf, 4096);
	assert_int_equal(cache_super_decode(buf, 0, geo.size_blocks * 4096, &r), CF_OK);
	assert_int_equal(r.ro_compat, 0x10);
	/* Geometry that doesn't fit itself. */
	cache_super_encode(&s, 0, buf);
	le32_put(&d->segment_count, 1000);
	reseal(buf, 4096);
	assert_int_equal(cache_super_decode(buf, 0, geo.size_blocks * 4096, &r), CF_BAD);
}

static void
volume_table_comes_back(void **state)
{
	struct cache_volrow rows[2] = {{.id = 4,
	                                   .mode = 1,
	                                   .dirty = true,
	                                   .name = "a",
	                                   .store = "file:/x",
	                                   .size_bytes = 1024,
	                                   .marker_gen = 5,
	                                   .marker_next = 6},
	    {.id = 9, .name = "b", .store = "file:/y", .size_bytes = 4096}};
	struct cache_volrow out[64];
	uint64_t generation;
	uint32_t next, count;
	(void)state;
	cache_voltable_encode(&geo, uuid, 1, 12, 10, rows, 2, buf);
	assert_true(cache_voltable_decode(&geo, uuid, 1, buf, &generation, &next, out, &count));
	assert_int_equal(generation, 12);
	assert_int_equal(next, 10);
	assert_int_equal(count, 2);
	assert_int_equal(out[0].id, 4);
	assert_string_equal(out[1].store, "file:/y");
	assert_int_equal(out[0].marker_next, 6);
	assert_false(cache_voltable_decode(&geo, uuid, 0, buf, &generation, &next, out, &count));
	assert_false(cache_voltable_decode(&geo, other, 1, buf, &generation, &next, out, &count));
	/* An id that next_id would give again [17], and two of one id. */
	cache_voltable_encode(&geo, uuid, 1, 12, 9, rows, 2, buf);
	assert_false(cache_voltable_decode(&geo, uuid, 1, buf, &generation, &next, out, &count));
	rows[1].id = 4;
	cache_voltable_encode(&geo, uuid, 1, 12, 10, rows, 2, buf);
	assert_false(cache_voltable_decode(&geo, uuid, 1, buf, &generation, &next, out, &count));
}

static void
slots_and_headers_know_their_place(void **state)
{
	uint8_t dead[2] = {0x81, 1}, clean[2] = {2, 0};
	struct cache_slot s = {5, 3, true, 9, dead, clean}, r;
	struct cache_ckhead c = {.number = 8, .ver = 99}, cr;
	struct cache_seghead h = {4, 2, 17, CF_G}, hr;
	(void)state;
	cache_slot_encode(&geo, uuid, 2, 1, &s, buf);
	assert_true(cache_slot_decode(&geo, uuid, 2, 1, buf, &r));
	assert_int_equal(r.checkpoint, 5);
	assert_int_equal(r.generation, 3);
	assert_true(r.in_use);
	assert_memory_equal(r.dead, dead, 2);
	assert_memory_equal(r.clean, clean, 2);
	assert_false(cache_slot_decode(&geo, uuid, 3, 1, buf, &r));
	assert_false(cache_slot_decode(&geo, uuid, 2, 0, buf, &r));
	cache_ckhead_encode(&geo, uuid, 0, &c, buf);
	assert_true(cache_ckhead_decode(&geo, uuid, 0, buf, &cr));
	assert_int_equal(cr.ver, 99);
	assert_false(cache_ckhead_decode(&geo, uuid, 1, buf, &cr));
	cache_seghead_encode(&geo, uuid, 1, &h, buf);
	assert_true(cache_seghead_decode(&geo, uuid, 1, buf, &hr));
	assert_int_equal(hr.stream, CF_G);
	assert_int_equal(hr.first_seq, 17);
	assert_false(cache_seghead_decode(&geo, uuid, 0, buf, &hr));
}

static struct cache_desc descs[3];
static const uint32_t crcs[3] = {11, 22, 33};

static void
record_make(struct cache_record *r)
{
	*r = (struct cache_record){
	    .generation = 2,
	    .epoch = 1,
	    .seq = 6,
	    .durable_seq = 5,
	    .prev_crc = 0xabcd,
	    .stream = CF_W,
	    .unit = 4,
	    .header_blocks = cache_record_header_blocks(3, 1, 3),
	    .payload_blocks = 3,
	    .desc_count = 3,
	};
	descs[0] = (struct cache_desc){1, 0, 0x0f, 100, 1, 41, 5, 0, {0}};
	descs[1] = (struct cache_desc){1, CF_DESC_ZERO, 0xff, 200, 1u << 30, 42, 4, 0, {0}};
	descs[2] = (struct cache_desc){2, 0, 0xff, 7, 2, 43, 6, 0, {0}};
	cache_record_encode(&geo, uuid, 1, r, descs, crcs, buf);
}

static void
record_comes_back(void **state)
{
	struct cache_record r, d;
	struct cache_desc e;
	(void)state;
	record_make(&r);
	assert_true(cache_record_decode(&geo, uuid, 1, 4, buf, sizeof buf, &d));
	assert_int_equal(d.seq, 6);
	assert_int_equal(d.crc, r.crc);
	assert_int_equal(d.prev_crc, 0xabcd);
	assert_int_equal(d.durable_seq, 5);
	assert_int_equal(le32_get(d.crcs[2]), 33);
	cache_desc_get(&d.descs[1], &e);
	assert_int_equal(e.volume, 1);
	assert_int_equal(e.flags, CF_DESC_ZERO);
	assert_int_equal(e.mask, 0xff);
	assert_int_equal(e.block, 200);
	assert_int_equal(e.count, 1u << 30);
	assert_int_equal(e.ver, 42);
	assert_int_equal(e.place, 4);
	assert_false(cache_record_decode(&geo, uuid, 1, 5, buf, sizeof buf, &d));
	assert_false(cache_record_decode(&geo, uuid, 0, 4, buf, sizeof buf, &d));
	assert_false(cache_record_decode(&geo, other, 1, 4, buf, sizeof buf, &d));
	assert_false(cache_record_decode(&geo, uuid, 1, 4, buf, r.bytes - 1, &d));
}

/* Descriptors that reach outside the record, with a good CRC. */
static void
a_record_says_nothing_of_others_blocks(void **state)
{
	static const struct cache_desc wrong[] = {
	    {0, 0, 0xff, 7, 2, 43, 6, 0, {0}},             /* no volume */
	    {2, 8, 0xff, 7, 2, 43, 6, 0, {0}},             /* unknown flag */
	    {2, 4, 0xff, 7, 2, 43, 6, 0, {0}},             /* packed, in W */
	    {2, 0, 0x00, 7, 2, 43, 6, 0, {0}},             /* no sector */
	    {2, 0, 0x01, 7, 2, 43, 6, 0, {0}},             /* sectors of two blocks */
	    {2, 0, 0xff, 7, 3, 43, 6, 0, {0}},             /* beyond the payload */
	    {2, 0, 0xff, 7, 1, 43, 6, 0, {0}},             /* not all of it */
	    {2, 0, 0xff, 7, 2, 43, 5, 0, {0}},             /* another's block */
	    {2, 0, 0xff, 7, 2, 0, 6, 0, {0}},              /* no ver */
	    {2, 0, 0xff, UINT64_MAX - 1, 2, 43, 6, 0, {0}} /* wraps */
	};
	struct cache_record r, d;
	(void)state;
	for (unsigned i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		record_make(&r);
		descs[2] = wrong[i];
		cache_record_encode(&geo, uuid, 1, &r, descs, crcs, buf);
		assert_false(cache_record_decode(&geo, uuid, 1, 4, buf, sizeof buf, &d));
	}
	record_make(&r);
	r.unit = 12; /* it doesn't fit into the segment */
	cache_record_encode(&geo, uuid, 1, &r, descs, crcs, buf);
	assert_false(cache_record_decode(&geo, uuid, 1, 12, buf, sizeof buf, &d));
}

/* A block as it is, then 7 and 2 packed ones: 20 and 9 sectors, and 3. */
static void
packed_make(struct cache_record *r, const struct cache_desc *with)
{
	const uint32_t sums[6] = {1, 2, 3, 4, 5, 6};
	*r = (struct cache_record){
	    .generation = 2,
	    .epoch = 1,
	    .seq = 6,
	    .durable_seq = 5,
	    .stream = CF_F,
	    .unit = 2,
	    .header_blocks = 1,
	    .payload_blocks = with != NULL && (with->flags & CF_DESC_ZERO) ? 5 : 6,
	    .desc_count = 3,
	};
	struct cache_desc d[3] = {
	    {1, 0, 0xff, 100, 1, 41, 3, 0, {0}},
	    {1, CF_DESC_PACKED, 0xff, 200, 7, 42, 8, 32, {20, 9}},
	    {2, CF_DESC_PACKED, 0xff, 7, 2, 40, 15, 61, {3}},
	};
	if (with != NULL)
		d[2] = *with;
	cache_record_encode(&geo, uuid, 1, r, d, sums, buf);
}

static void
packed_records_come_back(void **state)
{
	static const struct cache_desc wrong[] = {
	    {2, CF_DESC_PACKED, 0xff, 7, 2, 40, 14, 61, {3}},    /* a bit of another's */
	    {2, CF_DESC_PACKED, 0xff, 7, 2, 40, 16, 61, {3}},    /* a gap */
	    {2, CF_DESC_PACKED, 0xff, 7, 2, 40, 15, 60, {3}},    /* another's sector */
	    {2, CF_DESC_PACKED, 0xff, 7, 2, 40, 15, 61, {17}},   /* more than it unpacks to */
	    {2, CF_DESC_PACKED, 0xff, 7, 2, 40, 15, 61, {0}},    /* nothing */
	    {2, CF_DESC_PACKED, 0xff, 7, 2, 40, 15, 61, {3, 1}}, /* a unit without blocks */
	    {2, CF_DESC_PACKED, 0x0f, 7, 2, 40, 15, 61, {3}},    /* sectors of a block */
	    {2, CF_DESC_PACKED | CF_DESC_ZERO, 0xff, 7, 2, 40, 15, 61, {3}},
	    {2, CF_DESC_PACKED, 0xff, 7, 5, 40, 15, 61, {3, 3}}, /* more than two of a block */
	    {2, CF_DESC_PACKED, 0xff, 7, 33, 40, 15, 61, {3, 3, 3, 3, 3, 3, 3, 3}},
	    {2, 0, 0xff, 7, 1, 40, 8, 0, {0}}, /* behind what is packed */
	};
	struct cache_record r, d;
	struct cache_desc e;
	struct cache_pack_unit u;
	(void)state;
	packed_make(&r, NULL);
	assert_true(cache_record_decode(&geo, uuid, 1, 2, buf, sizeof buf, &d));
	cache_desc_get(&d.descs[1], &e);
	assert_true(cache_desc_unit(&e, 1, &u));
	assert_int_equal(u.half, 12);
	assert_int_equal(u.sector, 52);
	assert_int_equal(u.blocks, 3);
	assert_int_equal(u.sectors, 9);
	assert_false(cache_desc_unit(&e, 2, &u));
	for (unsigned i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		packed_make(&r, &wrong[i]);
		assert_false(cache_record_decode(&geo, uuid, 1, 2, buf, sizeof buf, &d));
	}
	/* Zeros in their right place, and such that say that they are packed as well. */
	struct cache_desc zeros = {2, CF_DESC_ZERO, 0xff, 7, 1, 40, 2, 0, {0}};
	packed_make(&r, &zeros);
	assert_true(cache_record_decode(&geo, uuid, 1, 2, buf, sizeof buf, &d));
	zeros.flags |= CF_DESC_PACKED;
	packed_make(&r, &zeros);
	assert_false(cache_record_decode(&geo, uuid, 1, 2, buf, sizeof buf, &d));
	/* Two bits for each block of payload: the even ones of the first map, the odd ones of the second. */
	const uint8_t dead[2] = {0x20, 0}, clean[2] = {0x40, 0};
	for (uint32_t k = 0; k < 7; k++)
		assert_int_equal(cache_desc_dead(&e, k, dead, clean), k == 2 || k == 5);
	assert_int_equal(cache_pack_payload(0, 0), 0);
	assert_int_equal(cache_pack_payload(7, 1), 4);
	assert_int_equal(cache_pack_payload(7, 33), 5);
}

static void
footer_comes_back(void **state)
{
	static uint8_t foot[CF_BLOCK_BYTES];
	struct cache_record r, d;
	struct cache_footer f = {.generation = 2,
	                        .epoch = 1,
	                        .stream = CF_W,
	                        .record_count = 1,
	                        .used_blocks = 8,
	                        .bytes = sizeof(struct cf_footer)},
	                    g;
	uint32_t at = 0;
	(void)state;
	record_make(&r);
	memcpy(foot + f.bytes, buf, r.bytes);
	f.bytes += cache_footer_need(r.bytes);
	cache_footer_encode(&geo, uuid, 1, &f, foot);
	assert_int_equal(cache_footer_bytes(&geo, uuid, 1, foot), f.bytes);
	assert_true(cache_footer_decode(&geo, uuid, 1, foot, sizeof foot, &g));
	assert_int_equal(g.record_count, 1);
	assert_true(cache_footer_next(&geo, 1, foot, &g, &at, &d));
	assert_int_equal(d.seq, 6);
	assert_int_equal(d.unit, 4);
	assert_false(cache_footer_next(&geo, 1, foot, &g, &at, &d));
	/* Says more than there is; is another segment's; has a record of another generation. */
	f.record_count = 2;
	cache_footer_encode(&geo, uuid, 1, &f, foot);
	assert_false(cache_footer_decode(&geo, uuid, 1, foot, sizeof foot, &g));
	f.record_count = 1;
	cache_footer_encode(&geo, uuid, 1, &f, foot);
	assert_false(cache_footer_decode(&geo, uuid, 0, foot, sizeof foot, &g));
	f.generation = 3;
	cache_footer_encode(&geo, uuid, 1, &f, foot);
	assert_false(cache_footer_decode(&geo, uuid, 1, foot, sizeof foot, &g));
}

/* What grows by one never wraps, whatever the SSD says. */
static void
numbers_leave_room(void **state)
{
	static const uint64_t good = UINT64_MAX / 2, bad = UINT64_MAX / 2 + 1;
	uint8_t none[2] = {0, 0};
	(void)state;
	for (unsigned i = 0; i < 14; i++) {
		uint64_t n[14];
		for (unsigned k = 0; k < 14; k++)
			n[k] = k == i ? bad : good;
		struct cache_super s = {.generation = n[0], .geo = geo, .epoch = n[1]}, s2;
		s.end[CF_G] = (struct cache_position){n[2], n[3], 0};
		memcpy(s.uuid, uuid, 16);
		cache_super_encode(&s, 0, buf);
		assert_int_equal(cache_super_decode(buf, 0, geo.size_blocks << CF_BLOCK_SHIFT, &s2),
		    i < 4 ? CF_BAD : CF_OK);
		struct cache_ckhead c = {.number = n[4], .ver = n[5]}, c2;
		c.pos[CF_W] = (struct cache_position){n[6], n[7], 0};
		cache_ckhead_encode(&geo, uuid, 0, &c, buf);
		assert_int_equal(cache_ckhead_decode(&geo, uuid, 0, buf, &c2), i < 4 || i > 7);
		struct cache_slot l = {n[8], n[9], true, 9, none, none}, l2;
		cache_slot_encode(&geo, uuid, 2, 1, &l, buf);
		assert_int_equal(cache_slot_decode(&geo, uuid, 2, 1, buf, &l2), i != 8 && i != 9);
		struct cache_seghead h = {n[10], n[11], n[12], CF_G}, h2;
		cache_seghead_encode(&geo, uuid, 1, &h, buf);
		assert_int_equal(cache_seghead_decode(&geo, uuid, 1, buf, &h2), i < 10 || i > 12);
		struct cache_volrow row = {.id = 1, .size_bytes = 512, .marker_next = n[13]},
		                    back[16];
		uint64_t generation;
		uint32_t next, count;
		cache_voltable_encode(&geo, uuid, 0, 1, 2, &row, 1, buf);
		assert_int_equal(
		    cache_voltable_decode(&geo, uuid, 0, buf, &generation, &next, back, &count),
		    i != 13);
	}
}

/* The bytes of version 1 stay what they are: a CRC over one of each structure. */
static void
bytes_stay_what_they_were(void **state)
{
	struct cache_super s = {.generation = 7, .geo = geo, .epoch = 3};
	struct cache_volrow row = {.id = 1, .name = "n", .store = "s", .size_bytes = 512};
	uint8_t dead[2] = {3, 0}, clean[2] = {4, 0};
	struct cache_slot slot = {5, 3, true, 9, dead, clean};
	struct cache_ckhead c = {.number = 8, .ver = 99, .slots_crc = 0x12345678};
	struct cache_seghead h = {4, 2, 17, CF_G};
	struct cache_record r;
	(void)state;
	memcpy(s.uuid, uuid, 16);
	cache_super_encode(&s, 0, buf);
	assert_int_equal(crc32c(buf, 4096), GOLDEN_SUPER);
	cache_voltable_encode(&geo, uuid, 0, 1, 2, &row, 1, buf);
	assert_int_equal(crc32c(buf, 4096), GOLDEN_TABLE);
	cache_slot_encode(&geo, uuid, 2, 1, &slot, buf);
	assert_int_equal(crc32c(buf, 4096), GOLDEN_SLOT);
	cache_ckhead_encode(&geo, uuid, 0, &c, buf);
	assert_int_equal(crc32c(buf, 4096), GOLDEN_CHECKPOINT);
	cache_seghead_encode(&geo, uuid, 1, &h, buf);
	assert_int_equal(crc32c(buf, 4096), GOLDEN_SEGMENT);
	record_make(&r);
	assert_int_equal(crc32c(buf, 4096), GOLDEN_RECORD);
	packed_make(&r, NULL);
	assert_int_equal(crc32c(buf, 4096), GOLDEN_PACKED);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(geometry_of_devices, setup),
	    cmocka_unit_test_setup(superblock_comes_back, setup),
	    cmocka_unit_test_setup(any_flipped_bit_is_found, setup),
	    cmocka_unit_test_setup(newer_superblocks_are_left_alone, setup),
	    cmocka_unit_test_setup(volume_table_comes_back, setup),
	    cmocka_unit_test_setup(slots_and_headers_know_their_place, setup),
	    cmocka_unit_test_setup(record_comes_back, setup),
	    cmocka_unit_test_setup(a_record_says_nothing_of_others_blocks, setup),
	    cmocka_unit_test_setup(packed_records_come_back, setup),
	    cmocka_unit_test_setup(footer_comes_back, setup),
	    cmocka_unit_test_setup(sizes_change, setup),
	    cmocka_unit_test_setup(hostile_areas_are_refused, setup),
	    cmocka_unit_test_setup(numbers_leave_room, setup),
	    cmocka_unit_test_setup(bytes_stay_what_they_were, setup),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
