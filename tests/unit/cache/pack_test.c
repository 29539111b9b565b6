/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Compression: units by themselves, hostile ones too; then a cache in simulated time over memory, whose SSD
 * holds more than its size, also after a restart and when what it holds is damaged.
 */
#include "tests/unit/store/harness.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/crc32c.h"
#include "cache/cache.h"
#include "cache/codec.h"
#include "cache/pack_unit.h"

#define MIB (1u << 20)
#define SSD_BYTES (40u * MIB)
#define STORE_BYTES (128u * MIB)
#define CHUNK (64u << 10)
#define BLOCK 4096u
#define UNIT (16u << 10)

/* What zstd 1.5.4 made of 200 bytes of text and a row of the same: whatever writes them, these are read for ever. */
static const uint8_t golden[] = {0x28, 0xb5, 0x2f, 0xfd, 0x60, 0x00, 0x3f, 0x7d, 0x03, 0x00, 0x02,
    0xc5, 0x0e, 0x12, 0xc0, 0x15, 0xda, 0xb0, 0x92, 0x8b, 0x44, 0xd6, 0x36, 0xe9, 0x95, 0x89, 0x01,
    0x46, 0x85, 0xae, 0x7b, 0x02, 0x83, 0x7a, 0xeb, 0x43, 0x8c, 0x2e, 0x2e, 0x48, 0xf7, 0x44, 0x22,
    0x70, 0xc0, 0xad, 0xa7, 0x2d, 0x4b, 0x96, 0xc5, 0x11, 0xb7, 0xd6, 0x4b, 0xf7, 0xd1, 0xf1, 0xab,
    0x8e, 0xe9, 0x0a, 0x28, 0x17, 0x38, 0xc4, 0x25, 0x0b, 0x0e, 0x4d, 0x5b, 0x06, 0x13, 0x00, 0x34,
    0x1f, 0xc7, 0x45, 0x57, 0x4f, 0x83, 0x8a, 0x80, 0xb0, 0x3c, 0x75, 0x14, 0x68, 0x98, 0x01, 0xa9,
    0x2e, 0xd0, 0xdc, 0x00, 0x19, 0x0c, 0x21, 0x0f, 0xa4, 0x19, 0x8d, 0x30, 0xf1, 0x72, 0x41, 0x0e,
    0x83, 0x80, 0x1b, 0xc0, 0x0a, 0x97, 0xa3, 0x86, 0x9b, 0xe5, 0x9e, 0x5b, 0xa7, 0x04};

static struct world *w;
static struct blk *ssd, *store;
static struct cache *cache;
static struct cache_volume *vol;
static struct cache_marker marker;
static bool is_done;
static int last;

/* ---- data -------------------------------------------------------------------------------------------- */

/* Text of a kind: words in an order of their own. */
static void
text_fill(uint64_t at, char *p, size_t len)
{
	static const char *const words[] = {"the ", "cache ", "holds ", "what ", "was ", "read ",
	    "from ", "stores ", "that ", "are ", "slow; ", "and ", "more ", "of ", "it\n",
	    "again "};
	uint64_t x = at * 0x9e3779b97f4a7c15ull + 1;
	for (size_t n = 0; n < len;) {
		x = x * 6364136223846793005ull + 1442695040888963407ull;
		for (const char *s = words[x >> 60]; *s != '\0' && n < len; s++)
			p[n++] = *s;
	}
}

static void
noise_fill(uint64_t at, char *p, size_t len)
{
	uint64_t x = at + 1;
	for (size_t n = 0; n < len; n += 8) {
		x = x * 6364136223846793005ull + 1442695040888963407ull;
		uint64_t y = x ^ x >> 29;
		memcpy(p + n, &y, 8);
	}
}

/* ---- units --------------------------------------------------------------------------------------------- */

static struct pack_ctx *
ctx(void)
{
	struct pack_ctx *p;
	assert_int_equal(pack_ctx_create(true, &p), 0);
	return p;
}

static void
a_unit_comes_back(void **state)
{
	static char src[UNIT], dst[UNIT], back[UNIT];
	struct pack_ctx *p = ctx();
	(void)state;
	for (uint32_t bytes = BLOCK; bytes <= UNIT; bytes += BLOCK) {
		text_fill(bytes, src, bytes);
		uint32_t n = pack_unit(p, src, bytes, dst);
		assert_in_range(n, 1, bytes / 512 * 7 / 8);
		memset(back, 0xaa, sizeof back);
		assert_int_equal(unpack_unit(p, dst, n * 512, back, bytes), 0);
		assert_memory_equal(back, src, bytes);
	}
	memset(src, 0, sizeof src);
	assert_int_equal(pack_unit(p, src, UNIT, dst), 1);
	pack_ctx_destroy(p);
}

static void
what_doesnt_get_smaller_stays(void **state)
{
	static char src[UNIT], dst[UNIT];
	struct pack_ctx *p = ctx();
	(void)state;
	for (unsigned i = 0; i < 200; i++) {
		noise_fill(i * 977, src, sizeof src);
		assert_int_equal(pack_unit(p, src, UNIT, dst), 0);
	}
	/* It looks like text where it is looked at. */
	noise_fill(1, src, sizeof src);
	for (unsigned i = 0; i < 8; i++)
		memset(src + i * (UNIT / 8), 'a', 64);
	assert_int_equal(pack_unit(p, src, UNIT, dst), 0);
	pack_ctx_destroy(p);
}

/* Cut, longer or shorter than it says, with bits flipped: an error or other bytes, in their bounds. */
static void
hostile_units_are_refused(void **state)
{
	static char src[UNIT], dst[UNIT];
	struct pack_ctx *p = ctx();
	uint64_t x = 7;
	(void)state;
	text_fill(5, src, UNIT);
	uint32_t n = pack_unit(p, src, UNIT, dst) * 512;
	char *back = malloc(UNIT);
	assert_int_equal(unpack_unit(p, dst, n, back, UNIT - 1), -EIO);
	assert_int_equal(unpack_unit(p, dst, n, back, BLOCK), -EIO);
	assert_int_equal(unpack_unit(p, dst, n - 512, back, UNIT), -EIO);
	assert_int_equal(unpack_unit(p, dst, 1, back, UNIT), -EIO);
	text_fill(5, src, BLOCK);
	uint32_t m = pack_unit(p, src, BLOCK, src + BLOCK) * 512;
	assert_int_equal(unpack_unit(p, src + BLOCK, m, back, UNIT), -EIO);
	for (unsigned i = 0; i < 20000; i++) {
		char *bad = malloc(n);
		memcpy(bad, dst, n);
		for (unsigned k = 0; k <= i % 3; k++) {
			x = x * 6364136223846793005ull + 1442695040888963407ull;
			bad[(x >> 33) % n] ^= (char)(1 << (x >> 61));
		}
		(void)unpack_unit(p, bad, n, back, UNIT);
		free(bad);
	}
	free(back);
	pack_ctx_destroy(p);
}

static void
units_of_before_are_read(void **state)
{
	static char want[UNIT], back[UNIT];
	uint8_t src[1024] = {0};
	struct pack_ctx *p;
	(void)state;
	assert_int_equal(pack_ctx_create(false, &p), 0);
	text_fill(1, want, 200);
	memset(want + 200, 'x', UNIT - 200);
	assert_true(sizeof golden <= sizeof src);
	memcpy(src, golden, sizeof golden);
	assert_int_equal(unpack_unit(p, src, sizeof src, back, UNIT), 0);
	assert_memory_equal(back, want, UNIT);
	pack_ctx_destroy(p);
}

/* ---- a cache --------------------------------------------------------------------------------------------- */

static void
ended(void *ctx, int result)
{
	(void)ctx;
	last = result;
	is_done = true;
}

static int
call(void (*fn)(void *ctx))
{
	is_done = false;
	world_call(w, 0, fn, NULL);
	for (unsigned i = 0; i < 1000000 && !is_done; i++)
		world_pass(w, 100000);
	assert_true(is_done);
	return last;
}

static void
do_format(void *ctx)
{
	struct cache_format_args a = {.uuid = {7}, .segment_blocks = 256};
	(void)ctx;
	cache_format(ssd, &a, ended, NULL);
}

static void
on_attached(void *ctx, int result, struct cache *c, const char *reason)
{
	(void)reason;
	cache = c;
	ended(ctx, result);
}

static void
do_attach(void *ctx)
{
	struct cache_args a = {.ssd = ssd, .loops = w->loops, .loop_count = w->loop_count};
	(void)ctx;
	cache_tuning_default(&a.tuning);
	a.tuning.buf_bytes = 8 * MIB;
	cache_attach(&a, on_attached, NULL);
}

static void
marker_get(
    void *ctx, void (*got)(void *ctx, int result, const struct cache_marker *m), void *got_ctx)
{
	(void)ctx;
	got(got_ctx, 0, &marker);
}

static void
marker_set(void *ctx, const struct cache_marker *m, cache_done_fn *set, void *set_ctx)
{
	(void)ctx;
	marker = *m;
	set(set_ctx, 0);
}

static const struct cache_marker_ops marker_ops = {marker_get, marker_set};

static void
on_opened(void *ctx, int result, struct cache_volume *v)
{
	vol = v;
	ended(ctx, result);
}

static void
do_open(void *ctx)
{
	struct cache_volume_args a = {
	    .uuid = {1}, .name = "lun", .store = store, .marker = &marker_ops};
	(void)ctx;
	cache_volume_open(cache, &a, on_opened, NULL);
}

static void
do_close(void *ctx)
{
	(void)ctx;
	cache_volume_close(vol, ended, NULL);
}

static void
do_detach(void *ctx)
{
	(void)ctx;
	cache_detach(cache, ended, NULL);
}

static void
do_fill(void *ctx)
{
	struct cache_fill_policy p = {.on_read = true, .compress = *(bool *)ctx};
	cache_volume_set_fill(vol, &p);
}

static bool
has_feature(void)
{
	static char block[BLOCK];
	struct cache_super s;
	assert_int_equal(io_read(w, 0, ssd, 0, BLOCK, block), 0);
	assert_int_equal(cache_super_decode(block, 0, SSD_BYTES, &s), CF_OK);
	return s.incompat & CF_INCOMPAT_PACKED;
}

/* Compression is on when the superblocks say so. */
static void
fill(bool compress)
{
	world_call(w, 0, do_fill, &compress);
	for (unsigned i = 0; compress && i < 100000 && !has_feature(); i++)
		world_pass(w, 1000000);
	assert_true(!compress || has_feature());
	world_pass(w, 100000000);
}

static void
open_all(void)
{
	assert_int_equal(call(do_attach), 0);
	assert_int_equal(call(do_open), 0);
}

static void
close_all(void)
{
	assert_int_equal(call(do_close), 0);
	assert_int_equal(call(do_detach), 0);
}

static void
begin(void (*data)(uint64_t at, char *p, size_t len))
{
	static char mem[CHUNK];
	memset(&marker, 0, sizeof marker);
	w = world_sim(7, 1, 16 * MIB);
	ssd = world_open(w, "ram:", SSD_BYTES, 0, 512);
	store = world_open(w, "ram:", STORE_BYTES, 0, 512);
	for (uint64_t at = 0; at < STORE_BYTES; at += CHUNK) {
		data(at, mem, CHUNK);
		assert_int_equal(io_write(w, 0, store, 0, at, CHUNK, mem), 0);
	}
	assert_int_equal(call(do_format), 0);
	open_all();
	assert_false(has_feature());
}

static void
end(void)
{
	close_all();
	world_close(w, store);
	world_close(w, ssd);
	world_destroy(w);
}

static struct cache_volume_stats
stats(void)
{
	struct cache_volume_stats s;
	cache_volume_get_stats(vol, &s);
	return s;
}

static struct cache_stats
all_stats(void)
{
	struct cache_stats s;
	cache_get_stats(cache, &s);
	return s;
}

/* Reads it, which must be what the store has; in pieces of `step`. Returns the percentage of hits. */
static unsigned
read_all(uint64_t bytes, uint32_t step, void (*data)(uint64_t at, char *p, size_t len))
{
	static char mem[CHUNK], want[CHUNK];
	struct cache_volume_stats before = stats();
	for (uint64_t at = 0; at < bytes; at += step) {
		if (at % CHUNK == 0)
			data(at, want, CHUNK);
		assert_int_equal(io_read(w, 0, cache_volume_blk(vol), at, step, mem), 0);
		assert_memory_equal(mem, want + at % CHUNK, step);
		if (at % CHUNK == 0)
			world_pass(w, 20000000);
	}
	struct cache_volume_stats after = stats();
	return (unsigned)((after.hit_blocks - before.hit_blocks) * 100 /
	                  (after.read_blocks - before.read_blocks));
}

#define MUCH (56u * MIB) /* more than the SSD has */

static void
the_ssd_holds_more_than_its_size(void **state)
{
	(void)state;
	begin(text_fill);
	fill(true);
	read_all(MUCH, CHUNK, text_fill);
	assert_in_range(read_all(MUCH, CHUNK, text_fill), 99, 100);
	assert_in_range(read_all(2 * MIB, 2048, text_fill), 99, 100);
	struct cache_stats s = all_stats();
	assert_in_range(s.cached_bytes, MUCH - MIB, MUCH);
	assert_in_range(s.pack_in_bytes, MUCH - MIB, 2ull * MUCH);
	assert_in_range(s.pack_out_bytes, s.pack_in_bytes / 2, s.pack_in_bytes * 6 / 10);
	assert_int_equal(s.ssd_errors, 0);
	/* The same after a restart. */
	close_all();
	open_all();
	assert_true(has_feature());
	fill(true);
	assert_in_range(all_stats().cached_bytes, MUCH - MIB, MUCH);
	assert_in_range(read_all(MUCH, CHUNK, text_fill), 98, 100);
	end();
}

static void
without_it_the_ssd_holds_what_it_can(void **state)
{
	(void)state;
	begin(text_fill);
	fill(false);
	read_all(MUCH, CHUNK, text_fill);
	struct cache_stats s = all_stats();
	assert_in_range(s.cached_bytes, MIB, SSD_BYTES);
	assert_int_equal(s.pack_in_bytes + s.pack_refused_bytes + s.pack_skipped_bytes, 0);
	assert_false(has_feature());
	end();
}

static void
noise_isnt_packed(void **state)
{
	(void)state;
	begin(noise_fill);
	fill(true);
	read_all(16 * MIB, CHUNK, noise_fill);
	assert_in_range(read_all(16 * MIB, CHUNK, noise_fill), 99, 100);
	struct cache_stats s = all_stats();
	assert_int_equal(s.pack_in_bytes, 0);
	assert_int_equal(s.pack_refused_bytes + s.pack_skipped_bytes, 16 * MIB);
	assert_in_range(s.pack_refused_bytes, MIB, 2 * MIB); /* after a while one in 16 is tried */
	/* Nothing is packed: the next attach takes the feature back. */
	close_all();
	open_all();
	assert_false(has_feature());
	end();
}

static void
what_is_damaged_comes_from_the_store(void **state)
{
	static char junk[BLOCK];
	(void)state;
	begin(text_fill);
	fill(true);
	read_all(8 * MIB, CHUNK, text_fill);
	/* Behind the superblocks and slots; where footers are nobody looks while it runs. */
	noise_fill(3, junk, sizeof junk);
	for (uint64_t at = 2 * MIB; at < 6 * MIB; at += 5 * BLOCK)
		assert_int_equal(io_write(w, 0, ssd, 0, at, BLOCK, junk), 0);
	read_all(8 * MIB, BLOCK, text_fill);
	assert_in_range(all_stats().ssd_errors, 1, UINT32_MAX);
	assert_int_equal(all_stats().conditions & (1u << CACHE_COND_DATA_LOST), 0);
	end();
}

/* Written over block by block: the others of the unit stay, before and after a restart. */
static void
blocks_of_a_unit_die_alone(void **state)
{
	static char mem[BLOCK], want[CHUNK], got[CHUNK];
	(void)state;
	begin(text_fill);
	fill(true);
	read_all(4 * MIB, CHUNK, text_fill);
	uint64_t filled = stats().filled_blocks;
	memset(mem, 0x5a, sizeof mem);
	for (uint64_t at = BLOCK; at < 4 * MIB; at += 4 * BLOCK)
		assert_int_equal(io_write(w, 0, cache_volume_blk(vol), 0, at, BLOCK, mem), 0);
	for (unsigned round = 0; round < 2; round++) {
		for (uint64_t at = 0; at < 4 * MIB; at += CHUNK) {
			text_fill(at, want, CHUNK);
			for (uint64_t b = BLOCK; b < CHUNK; b += 4 * BLOCK)
				memcpy(want + b, mem, BLOCK);
			assert_int_equal(io_read(w, 0, cache_volume_blk(vol), at, CHUNK, got), 0);
			assert_memory_equal(got, want, CHUNK);
		}
		assert_int_equal(all_stats().cached_bytes, 4 * MIB);
		if (round == 0) {
			assert_int_equal(stats().filled_blocks, filled);
			close_all();
			open_all();
		}
	}
	end();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_unit_comes_back),
	    cmocka_unit_test(what_doesnt_get_smaller_stays),
	    cmocka_unit_test(hostile_units_are_refused),
	    cmocka_unit_test(units_of_before_are_read),
	    cmocka_unit_test(the_ssd_holds_more_than_its_size),
	    cmocka_unit_test(without_it_the_ssd_holds_what_it_can),
	    cmocka_unit_test(noise_isnt_packed),
	    cmocka_unit_test(what_is_damaged_comes_from_the_store),
	    cmocka_unit_test(blocks_of_a_unit_die_alone),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
