/* SPDX-License-Identifier: BSD-2-Clause */
#include "suite.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static unsigned
other_loop(const struct world *w)
{
	return w->loop_count - 1;
}

static unsigned
pick(const struct world *w, uint64_t n)
{
	return (unsigned)(n % w->loop_count);
}

static void
expect_bytes(struct world *w, struct blk *b, uint64_t off, const void *want, size_t len)
{
	char *got = malloc(len);
	for (unsigned l = 0; l < w->loop_count; l++) {
		memset(got, 0x5a, len);
		assert_int_equal(io_read(w, l, b, off, len, got), 0);
		assert_memory_equal(got, want, len);
	}
	free(got);
}

static void
expect_zeros(struct world *w, struct blk *b, uint64_t off, size_t len)
{
	void *zeros = calloc(1, len);
	expect_bytes(w, b, off, zeros, len);
	free(zeros);
}

static void
clear_all(struct world *w, struct blk *b)
{
	assert_int_equal(io_range(w, 0, b, BLK_WRITE_ZEROES, 0, 0, blk_get_info(b)->size_bytes), 0);
}

void
suite_basic(struct world *w, struct blk *b)
{
	char buf[16384], got[16384];
	expect_zeros(w, b, 0, 16384);
	for (unsigned l = 0; l < w->loop_count; l++) {
		pattern_fill(buf, sizeof buf, 7 + l);
		assert_int_equal(io_write(w, l, b, 0, 8192, sizeof buf, buf), 0);
		expect_bytes(w, b, 8192, buf, sizeof buf);
	}
	pattern_fill(buf, sizeof buf, 99);
	assert_int_equal(io_write(w, 0, b, BLK_FUA, 4096, 4096, buf), 0);
	assert_int_equal(io_range(w, other_loop(w), b, BLK_FLUSH, 0, 0, 0), 0);
	assert_int_equal(io_read(w, other_loop(w), b, 4096, 4096, got), 0);
	assert_memory_equal(got, buf, 4096);
	clear_all(w, b);
}

/* Single blocks and ranges that begin and end within 4 KiB, next to data that must stay. */
void
suite_edges(struct world *w, struct blk *b)
{
	uint32_t bb = blk_get_info(b)->block_bytes;
	size_t len = 64 * 1024;
	char *model = malloc(len), *buf = malloc(len);
	pattern_fill(model, len, 1);
	assert_int_equal(io_write(w, 0, b, 0, 0, len, model), 0);
	for (uint32_t first = 0; first < 9; first++) {
		for (uint32_t count = 1; count < 20; count += 3) {
			uint64_t off = first * bb, n = count * bb;
			if (off + n > len)
				continue;
			pattern_fill(buf, n, first * 100 + count);
			memcpy(model + off, buf, n);
			assert_int_equal(io_write(w, first % w->loop_count, b, 0, off, n, buf), 0);
		}
		expect_bytes(w, b, 0, model, len);
	}
	assert_int_equal(io_range(w, 0, b, BLK_WRITE_ZEROES, 0, 3 * bb, 11 * bb), 0);
	memset(model + 3 * bb, 0, 11 * bb);
	expect_bytes(w, b, 0, model, len);
	uint64_t last = blk_get_info(b)->size_bytes - bb;
	pattern_fill(buf, bb, 5);
	assert_int_equal(io_write(w, other_loop(w), b, 0, last, bb, buf), 0);
	expect_bytes(w, b, last, buf, bb);
	free(model);
	free(buf);
	clear_all(w, b);
}

void
suite_big(struct world *w, struct blk *b)
{
	size_t len = BLK_IO_MAX_BYTES;
	char *buf = malloc(len);
	uint32_t bb = blk_get_info(b)->block_bytes;
	uint64_t offs[] = {0, 1024 * 1024, bb, 1024 * 1024 - 4096};
	for (size_t i = 0; i < sizeof offs / sizeof *offs; i++) {
		pattern_fill(buf, len, i);
		assert_int_equal(io_write(w, pick(w, i), b, 0, offs[i], len, buf), 0);
		expect_bytes(w, b, offs[i], buf, len);
	}
	free(buf);
	clear_all(w, b);
}

void
suite_zeroes(struct world *w, struct blk *b)
{
	const struct blk_info *info = blk_get_info(b);
	size_t len = 3 * 1024 * 1024;
	char *buf = malloc(len);
	static const uint32_t flags[] = {0, BLK_NO_UNMAP, BLK_FUA, BLK_FUA | BLK_NO_UNMAP};
	uint64_t off = 512 * 1024 + info->block_bytes, n = 2 * 1024 * 1024 - info->block_bytes * 3;
	for (size_t i = 0; i < 4; i++) {
		pattern_fill(buf, len, i);
		assert_int_equal(io_write(w, 0, b, 0, 0, len, buf), 0);
		assert_int_equal(
		    io_range(w, other_loop(w), b, BLK_WRITE_ZEROES, flags[i], off, n), 0);
		memset(buf + off, 0, n);
		expect_bytes(w, b, 0, buf, len);
	}
	pattern_fill(buf, len, 77);
	assert_int_equal(io_write(w, 0, b, 0, 0, len, buf), 0);
	int err = io_range(w, other_loop(w), b, BLK_UNMAP, 0, off, n);
	if (info->caps & BLK_CAP_UNMAP) {
		assert_int_equal(err, 0);
		if (info->caps & BLK_CAP_UNMAP_ZEROES) {
			memset(buf + off, 0, n);
			expect_bytes(w, b, 0, buf, len);
		}
		assert_int_equal(io_range(w, 0, b, BLK_UNMAP, BLK_FUA, 0, info->size_bytes), 0);
	} else {
		assert_int_equal(err, -EOPNOTSUPP);
		expect_bytes(w, b, 0, buf, len);
	}
	free(buf);
	clear_all(w, b);
}

/* Walks the whole store: extents join, cover everything, and what is unmapped reads as zeros. */
static uint64_t
walk_extents(struct world *w, struct blk *b, const char *model, uint64_t len)
{
	uint64_t at = 0, mapped = 0;
	char *got = malloc(BLK_IO_MAX_BYTES);
	while (at < len) {
		struct blk_extent ext[3];
		uint32_t count;
		assert_int_equal(
		    io_extents(w, pick(w, at / 4096), b, at, len - at, ext, 3, &count), 0);
		assert_true(count >= 1 && count <= 3);
		for (uint32_t i = 0; i < count; i++) {
			assert_int_equal(ext[i].offset_bytes, at);
			assert_true(ext[i].len_bytes > 0 && ext[i].len_bytes <= len - at);
			if (ext[i].mapped)
				mapped += ext[i].len_bytes;
			for (uint64_t k = 0;
			     model != NULL && !ext[i].mapped && k < ext[i].len_bytes; k++)
				assert_int_equal(model[at + k], 0);
			at += ext[i].len_bytes;
		}
	}
	assert_int_equal(at, len);
	free(got);
	return mapped;
}

void
suite_extents(struct world *w, struct blk *b)
{
	const struct blk_info *info = blk_get_info(b);
	char *model = calloc(1, SUITE_BYTES);
	clear_all(w, b);
	static const uint32_t at_kib[] = {64, 1020, 1024, 2048, 4100};
	for (size_t i = 0; i < sizeof at_kib / sizeof *at_kib; i++) {
		uint64_t off = at_kib[i] * 1024ull;
		pattern_fill(model + off, 65536, i);
		assert_int_equal(io_write(w, 0, b, 0, off, 65536, model + off), 0);
	}
	if (info->caps & BLK_CAP_VOLATILE)
		assert_int_equal(io_range(w, 0, b, BLK_FLUSH, 0, 0, 0), 0);
	uint64_t mapped = walk_extents(w, b, model, SUITE_BYTES);
	if (info->caps & BLK_CAP_EXTENTS)
		assert_true(mapped < SUITE_BYTES);
	assert_true(mapped >= 5 * 65536 - 60 * 1024);
	free(model);
	clear_all(w, b);
}

/* A WRITE's data may lie anywhere, in pieces of any length. */
void
suite_foreign_memory(struct world *w, struct blk *b)
{
	char *mem = malloc(3 * 65536);
	for (unsigned shift = 0; shift < 3; shift++) {
		size_t split = 1000 + shift;
		pattern_fill(mem, 3 * 65536, shift);
		struct req *r = req_new(w, other_loop(w), b, BLK_WRITE, 0, 4096, 65536, NULL);
		r->foreign = mem;
		r->foreign_iov[0] = (struct iovec){mem + 1, split};
		r->foreign_iov[1] = (struct iovec){mem + 70000 + shift, 65536 - split};
		req_start(r);
		assert_int_equal(req_wait(r), 0);
		char *want = malloc(65536);
		memcpy(want, mem + 1, split);
		memcpy(want + split, mem + 70000 + shift, 65536 - split);
		expect_bytes(w, b, 4096, want, 65536);
		free(want);
		req_put(r);
	}
	free(mem);
	clear_all(w, b);
}

void
suite_stats(struct world *w, struct blk *b)
{
	struct blk_stats s0, s1;
	char buf[8192];
	pattern_fill(buf, sizeof buf, 3);
	blk_get_stats(b, &s0);
	assert_int_equal(io_write(w, other_loop(w), b, 0, 0, 8192, buf), 0);
	assert_int_equal(io_read(w, 0, b, 0, 4096, buf), 0);
	assert_int_equal(io_range(w, 0, b, BLK_FLUSH, 0, 0, 0), 0);
	blk_get_stats(b, &s1);
	assert_int_equal(s1.in_flight, 0);
	assert_int_equal(s1.ops[BLK_WRITE] - s0.ops[BLK_WRITE], 1);
	assert_int_equal(s1.bytes[BLK_WRITE] - s0.bytes[BLK_WRITE], 8192);
	assert_int_equal(s1.ops[BLK_READ] - s0.ops[BLK_READ], 1);
	assert_int_equal(s1.bytes[BLK_READ] - s0.bytes[BLK_READ], 4096);
	assert_int_equal(s1.ops[BLK_FLUSH] - s0.ops[BLK_FLUSH], 1);
	assert_int_equal(s1.errors[BLK_WRITE], s0.errors[BLK_WRITE]);
	clear_all(w, b);
}

/* A random range of blocks; mostly small, sometimes big, often near a MiB border. */
static void
random_range(uint64_t *rng, uint32_t bb, uint64_t len, uint64_t *off, uint64_t *n)
{
	uint64_t max = test_rand(rng) % 8 == 0 ? 2 * 1024 * 1024 : 20000;
	*n = (test_rand(rng) % max / bb + 1) * bb;
	*off = test_rand(rng) % (len / bb) * bb;
	if (test_rand(rng) % 4 == 0)
		*off = (1 + test_rand(rng) % 4) * 1024 * 1024 - test_rand(rng) % 8 * bb;
	if (*off + *n > len)
		*off = len - *n;
}

static void
random_change(struct world *w, struct blk *b, char *model, uint64_t *rng)
{
	uint64_t off, n;
	random_range(rng, blk_get_info(b)->block_bytes, SUITE_BYTES, &off, &n);
	unsigned loop = pick(w, test_rand(rng));
	uint32_t fua = test_rand(rng) % 8 == 0 ? BLK_FUA : 0;
	bool can_unmap = blk_get_info(b)->caps & BLK_CAP_UNMAP_ZEROES;
	switch (test_rand(rng) % 8) {
	case 0:
		memset(model + off, 0, n);
		assert_int_equal(
		    io_range(w, loop, b, can_unmap ? BLK_UNMAP : BLK_WRITE_ZEROES, fua, off, n), 0);
		break;
	case 1:
		memset(model + off, 0, n);
		fua |= test_rand(rng) % 2 == 0 ? BLK_NO_UNMAP : 0;
		assert_int_equal(io_range(w, loop, b, BLK_WRITE_ZEROES, fua, off, n), 0);
		break;
	default:
		pattern_fill(model + off, n, test_rand(rng));
		assert_int_equal(io_write(w, loop, b, fua, off, n, model + off), 0);
		break;
	}
}

void
suite_random(struct world *w, struct blk *b, uint64_t seed, unsigned ops)
{
	char *model = calloc(1, SUITE_BYTES), *got = malloc(2 * 1024 * 1024 + 4096);
	clear_all(w, b);
	for (unsigned i = 0; i < ops; i++) {
		random_change(w, b, model, &seed);
		uint64_t off, n;
		random_range(&seed, blk_get_info(b)->block_bytes, SUITE_BYTES, &off, &n);
		assert_int_equal(io_read(w, pick(w, test_rand(&seed)), b, off, n, got), 0);
		assert_memory_equal(got, model + off, n);
		if (i % 64 == 0)
			walk_extents(w, b, model, SUITE_BYTES);
	}
	for (uint64_t at = 0; at < SUITE_BYTES; at += 1024 * 1024) {
		assert_int_equal(io_read(w, 0, b, at, 1024 * 1024, got), 0);
		assert_memory_equal(got, model + at, 1024 * 1024);
	}
	free(model);
	free(got);
	clear_all(w, b);
}

#define PARALLEL 24u
#define SLOT_BYTES (SUITE_BYTES / PARALLEL)

void
suite_parallel(struct world *w, struct blk *b, uint64_t seed, unsigned rounds)
{
	uint32_t bb = blk_get_info(b)->block_bytes;
	char *model = calloc(1, SUITE_BYTES), *got = malloc(SLOT_BYTES);
	clear_all(w, b);
	for (unsigned round = 0; round < rounds; round++) {
		struct req *reqs[PARALLEL];
		for (unsigned i = 0; i < PARALLEL; i++) {
			uint64_t n = (test_rand(&seed) % (SLOT_BYTES / bb) + 1) * bb;
			uint64_t off =
			    i * SLOT_BYTES + test_rand(&seed) % ((SLOT_BYTES - n) / bb + 1) * bb;
			pattern_fill(model + off, n, test_rand(&seed));
			reqs[i] = req_new(
			    w, pick(w, test_rand(&seed)), b, BLK_WRITE, 0, off, n, model + off);
			req_start(reqs[i]);
		}
		for (unsigned i = 0; i < PARALLEL; i++) {
			assert_int_equal(req_wait(reqs[i]), 0);
			req_put(reqs[i]);
		}
		for (unsigned i = 0; i < PARALLEL; i++) {
			reqs[i] = req_new(w, pick(w, test_rand(&seed)), b, BLK_READ, 0,
			    i * SLOT_BYTES, SLOT_BYTES, NULL);
			req_start(reqs[i]);
		}
		for (unsigned i = 0; i < PARALLEL; i++) {
			assert_int_equal(req_wait(reqs[i]), 0);
			req_copy_out(reqs[i], got);
			assert_memory_equal(got, model + i * SLOT_BYTES, SLOT_BYTES);
			req_put(reqs[i]);
		}
	}
	free(model);
	free(got);
	clear_all(w, b);
}

void
suite_all(struct world *w, struct blk *b, uint64_t seed)
{
	suite_basic(w, b);
	suite_edges(w, b);
	suite_big(w, b);
	suite_zeroes(w, b);
	suite_extents(w, b);
	suite_foreign_memory(w, b);
	suite_stats(w, b);
	suite_random(w, b, seed, 200);
	suite_parallel(w, b, seed, 4);
}
