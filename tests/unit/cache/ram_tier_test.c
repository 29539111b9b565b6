/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/cache/ram_fixture.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "store/fault.h"

#define BLOCK 4096u

/* ---- as any block device ---------------------------------------------------------------------- */

static void
it_is_the_lower_device(void **state)
{
	(void)state;
	static const uint32_t frames[] = {4, 16, 300, 4096};
	for (unsigned loops = 1; loops <= 3; loops++) {
		for (unsigned i = 0; i < 4; i++) {
			struct ram_fixture f;
			ram_setup(&f, world_sim(i + 1, loops, 32u << 20), frames[i],
			    i % 2 == 0 ? "fault:7:delay_us=0-300:ram:" : NULL);
			ram_set(&f, true, 128u << 10, 1u << 20);
			suite_all(f.w, f.b, i + 1);
			ram_teardown(&f);
		}
	}
}

static void
on_threads(void **state)
{
	(void)state;
	for (unsigned loops = 1; loops <= 3; loops++) {
		struct ram_fixture f;
		ram_setup(&f, world_real(loops, false), 200, NULL);
		ram_set(&f, true, 64u << 10, 1u << 20);
		suite_all(f.w, f.b, loops);
		ram_teardown(&f);
	}
}

/* ---- hits ------------------------------------------------------------------------------------- */

static void
fill_lower(struct ram_fixture *f, char *model, size_t len, uint64_t seed)
{
	pattern_fill(model, len, seed);
	assert_int_equal(io_write(f->w, 0, f->lower, 0, 0, len, model), 0);
}

static void
expect(struct ram_fixture *f, unsigned loop, uint64_t off, const char *want, size_t len)
{
	char *got = malloc(len);
	assert_int_equal(io_read(f->w, loop, f->b, off, len, got), 0);
	assert_memory_equal(got, want, len);
	free(got);
}

static struct req *
read_start(struct ram_fixture *f, unsigned loop, uint32_t flags, uint64_t off, uint64_t len)
{
	struct req *r = req_new(f->w, loop, f->b, BLK_READ, flags, off, len, NULL);
	req_start(r);
	return r;
}

static void
a_hit_lends_the_same_frames(void **state)
{
	(void)state;
	for (unsigned loops = 1; loops <= 2; loops++) {
		struct ram_fixture f;
		char model[8 * BLOCK];
		ram_setup(&f, world_sim(1, loops, 16u << 20), 64, NULL);
		fill_lower(&f, model, sizeof model, 1);
		expect(&f, 0, 0, model, sizeof model);
		uint64_t below = ram_lower_reads(&f);
		struct req *a = read_start(&f, 0, 0, BLOCK, BLOCK);
		struct req *b = read_start(&f, loops - 1, 0, BLOCK, BLOCK);
		assert_int_equal(req_wait(a), 0);
		assert_int_equal(req_wait(b), 0);
		assert_ptr_equal(a->sg.iov[0].iov_base, b->sg.iov[0].iov_base);
		assert_memory_equal(a->sg.iov[0].iov_base, model + BLOCK, BLOCK);
		assert_int_equal(ram_lower_reads(&f), below);
		assert_int_equal(ram_stats(&f).hits, 2);
		assert_int_equal(ram_stats(&f).misses, 8);
		req_put(a);
		req_put(b);
		ram_teardown(&f);
	}
}

static void
what_was_written_is_there(void **state)
{
	(void)state;
	struct ram_fixture f;
	char model[4 * BLOCK];
	ram_setup(&f, world_sim(1, 2, 16u << 20), 64, NULL);
	pattern_fill(model, sizeof model, 3);
	assert_int_equal(io_write(f.w, 1, f.b, 0, 8192, sizeof model, model), 0);
	uint64_t below = ram_lower_reads(&f);
	expect(&f, 0, 8192, model, sizeof model);
	assert_int_equal(ram_lower_reads(&f), below);
	assert_int_equal(ram_stats(&f).write_fills, 4);
	/* A part of a block: the whole is read anew. */
	pattern_fill(model + 512, 512, 4);
	assert_int_equal(io_write(f.w, 0, f.b, 0, 8192 + 512, 512, model + 512), 0);
	expect(&f, 1, 8192, model, sizeof model);
	assert_true(ram_lower_reads(&f) > below);
	ram_teardown(&f);
}

/* [20] */
static void
lent_frames_stay_as_they_were(void **state)
{
	(void)state;
	struct ram_fixture f;
	char old[2 * BLOCK], new[2 * BLOCK];
	ram_setup(&f, world_sim(1, 2, 16u << 20), 32, NULL);
	fill_lower(&f, old, sizeof old, 1);
	struct req *r = read_start(&f, 0, 0, 0, sizeof old);
	assert_int_equal(req_wait(r), 0);
	for (unsigned i = 0; i < 40; i++) { /* more frames than there are */
		pattern_fill(new, sizeof new, 100 + i);
		assert_int_equal(io_write(f.w, i % 2, f.b, 0, 0, sizeof new, new), 0);
		expect(&f, 1, 0, new, sizeof new);
	}
	char got[2 * BLOCK];
	req_copy_out(r, got);
	assert_memory_equal(got, old, sizeof old);
	req_put(r);
	ram_teardown(&f);
}

/* [18] A peer that doesn't take its data holds frames; the others read on, into memory of their own. */
static void
held_lists_stop_nobody(void **state)
{
	(void)state;
	struct ram_fixture f;
	char model[64 * BLOCK];
	ram_setup(&f, world_sim(1, 2, 16u << 20), 16, NULL);
	fill_lower(&f, model, sizeof model, 1);
	struct req *held[40];
	for (unsigned i = 0; i < 40; i++) {
		held[i] = read_start(&f, i % 2, 0, i * BLOCK, BLOCK);
		assert_int_equal(req_wait(held[i]), 0);
	}
	struct ram_tier_stats s = ram_stats(&f);
	assert_true(s.frames_lent <= s.frames * 3 / 4);
	assert_true(s.passed > 0);
	expect(&f, 0, 0, model, sizeof model);
	for (unsigned i = 0; i < 40; i++) {
		char got[BLOCK];
		req_copy_out(held[i], got);
		assert_memory_equal(got, model + i * BLOCK, BLOCK);
		req_put(held[i]);
	}
	world_pass(f.w, 1000000);
	assert_int_equal(ram_stats(&f).frames_lent, 0);
	ram_teardown(&f);
}

/* [19] Beyond its size a tier only gives up what is clean, and all of it is. */
static void
memory_stays_within_the_size(void **state)
{
	(void)state;
	struct ram_fixture f;
	char *model = malloc(4u << 20);
	ram_setup(&f, world_sim(1, 1, 16u << 20), 100, NULL);
	fill_lower(&f, model, 4u << 20, 1);
	for (uint64_t at = 0; at < 4u << 20; at += 16 * BLOCK) {
		expect(&f, 0, at, model + at, 16 * BLOCK);
		struct ram_tier_stats s = ram_stats(&f);
		assert_int_equal(s.frames, 100);
		assert_true(s.frames_used <= 100);
	}
	assert_true(ram_stats(&f).evicted >= 1024 - 100);
	free(model);
	ram_teardown(&f);
}

/* ---- changes and fills ------------------------------------------------------------------------ */

/* [10] */
static void
a_fill_that_a_write_overtook_is_not_kept(void **state)
{
	(void)state;
	for (unsigned loops = 1; loops <= 2; loops++) {
		struct ram_fixture f;
		char old[BLOCK], new[BLOCK];
		ram_setup(&f, world_sim(1, loops, 16u << 20), 32, NULL);
		fill_lower(&f, old, sizeof old, 1);
		pattern_fill(new, sizeof new, 2);
		/* Read below, held on its way back, as a slow store would. */
		struct req *r = read_start(&f, 0, 0, 0, BLOCK);
		assert_int_equal(req_wait(r), 0);
		req_put(r);
		ram_drop(&f);
		fault_hold(f.lower, 1u << BLK_READ);
		r = read_start(&f, 0, 0, 0, BLOCK);
		world_pass(f.w, 1000000);
		assert_int_equal(fault_held(f.lower), 1);
		assert_int_equal(io_write(f.w, loops - 1, f.b, 0, 0, BLOCK, new), 0);
		/* Written and kept; the held fill must not take its place. */
		uint64_t fills = ram_stats(&f).fills;
		fault_hold(f.lower, 0);
		assert_int_equal(req_wait(r), 0);
		req_put(r);
		assert_int_equal(ram_stats(&f).fills, fills);
		expect(&f, 0, 0, new, BLOCK);
		ram_teardown(&f);
	}
}

/* [2] What isn't durable yet isn't kept; the lower device shows what may be seen. */
static void
reads_during_a_write_are_not_kept(void **state)
{
	(void)state;
	struct ram_fixture f;
	char old[BLOCK], new[BLOCK];
	ram_setup(&f, world_sim(1, 2, 16u << 20), 32, NULL);
	fill_lower(&f, old, sizeof old, 1);
	pattern_fill(new, sizeof new, 2);
	expect(&f, 0, 0, old, BLOCK);
	fault_hold(f.lower, 1u << BLK_WRITE);
	struct req *wr = req_new(f.w, 1, f.b, BLK_WRITE, 0, 0, BLOCK, new);
	req_start(wr);
	world_pass(f.w, 1000000);
	expect(&f, 0, 0, old, BLOCK);
	expect(&f, 1, 0, old, BLOCK);
	assert_int_equal(ram_stats(&f).fills, 1);
	assert_int_equal(ram_stats(&f).fills_cancelled, 2);
	fault_hold(f.lower, 0);
	assert_int_equal(req_wait(wr), 0);
	req_put(wr);
	expect(&f, 0, 0, new, BLOCK);
	ram_teardown(&f);
}

/* [1] */
static void
of_overlapping_writes_none_is_kept(void **state)
{
	(void)state;
	struct ram_fixture f;
	char a[2 * BLOCK], b[2 * BLOCK], got[3 * BLOCK];
	ram_setup(&f, world_sim(1, 2, 16u << 20), 32, NULL);
	pattern_fill(a, sizeof a, 1);
	pattern_fill(b, sizeof b, 2);
	fault_hold(f.lower, 1u << BLK_WRITE);
	struct req *ra = req_new(f.w, 0, f.b, BLK_WRITE, 0, 0, sizeof a, a);
	struct req *rb = req_new(f.w, 1, f.b, BLK_WRITE, 0, BLOCK, sizeof b, b);
	req_start(ra);
	req_start(rb);
	world_pass(f.w, 1000000);
	assert_int_equal(fault_held(f.lower), 2);
	fault_hold(f.lower, 0);
	assert_int_equal(req_wait(ra), 0);
	assert_int_equal(req_wait(rb), 0);
	req_put(ra);
	req_put(rb);
	assert_int_equal(ram_stats(&f).write_fills, 0);
	assert_int_equal(io_read(f.w, 0, f.lower, 0, sizeof got, got), 0);
	expect(&f, 0, 0, got, sizeof got);
	ram_teardown(&f);
}

static void
a_failed_write_leaves_nothing_behind(void **state)
{
	(void)state;
	struct ram_fixture f;
	char old[BLOCK], new[BLOCK];
	ram_setup(&f, world_sim(1, 2, 16u << 20), 32, NULL);
	fill_lower(&f, old, sizeof old, 1);
	pattern_fill(new, sizeof new, 2);
	expect(&f, 0, 0, old, BLOCK);
	fault_fail(f.lower, BLK_WRITE, 0, 1, -ENOSPC);
	assert_int_equal(io_write(f.w, 1, f.b, 0, 0, BLOCK, new), -ENOSPC);
	uint64_t below = ram_lower_reads(&f);
	expect(&f, 0, 0, old, BLOCK);
	assert_int_equal(ram_lower_reads(&f), below + 1);
	ram_teardown(&f);
}

static void
unmapped_and_zeroed_blocks_go(void **state)
{
	(void)state;
	for (unsigned loops = 1; loops <= 3; loops++) {
		struct ram_fixture f;
		size_t len = 3u << 20;
		char *model = malloc(len);
		ram_setup(&f, world_sim(1, loops, 32u << 20), 900, NULL);
		fill_lower(&f, model, len, 1);
		expect(&f, 0, 0, model, len);
		uint64_t off = (1u << 20) - 2 * BLOCK;
		assert_int_equal(io_range(f.w, 0, f.b, BLK_UNMAP, 0, off, 4 * BLOCK), 0);
		memset(model + off, 0, 4 * BLOCK);
		assert_int_equal(io_range(f.w, 0, f.b, BLK_WRITE_ZEROES, 0, 512, 1024), 0);
		memset(model + 512, 0, 1024);
		expect(&f, loops - 1, 0, model, len);
		/* More blocks than frames. */
		assert_int_equal(io_range(f.w, 0, f.b, BLK_WRITE_ZEROES, 0, 0, RAM_LOWER_BYTES), 0);
		memset(model, 0, len);
		world_pass(f.w, 1000000);
		assert_int_equal(ram_stats(&f).frames_used, 0);
		expect(&f, 0, 0, model, len);
		free(model);
		ram_teardown(&f);
	}
}

/* ---- errors ----------------------------------------------------------------------------------- */

/* [3] A block whose second sector can't be read: the others of it, and its neighbours, can. */
static void
a_bad_sector_fails_alone(void **state)
{
	(void)state;
	for (unsigned loops = 1; loops <= 2; loops++) {
		struct ram_fixture f;
		char model[4 * BLOCK], got[4 * BLOCK];
		ram_setup(&f, world_sim(1, loops, 16u << 20), 32,
		    "fault:7:read_error=1,range=4608-5120:ram:");
		pattern_fill(model, sizeof model, 1);
		assert_int_equal(io_write(f.w, 0, f.lower, 0, 0, sizeof model, model), 0);
		assert_int_equal(io_read(f.w, 0, f.b, 4608, 512, got), -EIO);
		assert_int_equal(io_read(f.w, 0, f.b, 0, sizeof got, got), -EIO);
		expect(&f, loops - 1, 4096, model + 4096, 512);
		expect(&f, 0, 5120, model + 5120, sizeof model - 5120);
		expect(&f, 0, 0, model, 4608);
		world_pass(f.w, 1000000);
		assert_int_equal(ram_stats(&f).frames_lent, 0);
		ram_teardown(&f);
	}
}

struct watcher {
	unsigned events[BLK_EVENT_COUNT];
	struct ram_fixture *f;
	bool gone;
	uint64_t size;
};

static void
on_event(void *ctx, enum blk_event ev)
{
	struct watcher *x = ctx;
	x->events[ev]++;
}

static void
watch_run(void *ctx)
{
	struct watcher *x = ctx;
	blk_set_events(x->f->b, on_event, x);
}

static void
gone_run(void *ctx)
{
	struct watcher *x = ctx;
	fault_set_gone(x->f->lower, x->gone);
}

static void
size_run(void *ctx)
{
	struct watcher *x = ctx;
	fault_set_size(x->f->lower, x->size);
}

static void
what_is_gone_fails_and_is_read_anew(void **state)
{
	(void)state;
	struct ram_fixture f;
	char model[BLOCK], other[BLOCK];
	ram_setup(&f, world_sim(1, 2, 16u << 20), 32, NULL);
	struct watcher x = {.f = &f, .gone = true};
	world_call(f.w, 0, watch_run, &x);
	fill_lower(&f, model, sizeof model, 1);
	expect(&f, 0, 0, model, BLOCK);
	world_call(f.w, 0, gone_run, &x);
	assert_int_equal(blk_get_state(f.b), BLK_GONE);
	assert_int_equal(x.events[BLK_EVENT_GONE], 1);
	assert_int_equal(io_read(f.w, 1, f.b, 0, BLOCK, other), -ENODEV);
	x.gone = false;
	world_call(f.w, 0, gone_run, &x);
	/* Changed by somebody else meanwhile. */
	pattern_fill(other, sizeof other, 2);
	assert_int_equal(io_write(f.w, 0, f.lower, 0, 0, BLOCK, other), 0);
	world_pass(f.w, 1000000);
	assert_int_equal(x.events[BLK_EVENT_BACK], 1);
	assert_int_equal(blk_get_state(f.b), BLK_OK);
	expect(&f, 0, 0, other, BLOCK);
	ram_teardown(&f);
}

/* [24] What was cached beyond the end isn't there when it grows again. */
static void
a_new_size_forgets_the_tail(void **state)
{
	(void)state;
	struct ram_fixture f;
	char model[4 * BLOCK], zeros[4 * BLOCK] = {0};
	uint64_t cut = RAM_LOWER_BYTES - 2 * BLOCK - 512;
	uint64_t tail = RAM_LOWER_BYTES - sizeof model;
	ram_setup(&f, world_sim(1, 2, 16u << 20), 32, NULL);
	struct watcher x = {.f = &f, .size = cut};
	world_call(f.w, 0, watch_run, &x);
	pattern_fill(model, sizeof model, 1);
	assert_int_equal(io_write(f.w, 0, f.b, 0, tail, sizeof model, model), 0);
	expect(&f, 0, tail, model, sizeof model);
	world_call(f.w, 0, size_run, &x);
	assert_int_equal(blk_get_info(f.b)->size_bytes, cut);
	world_pass(f.w, 1000000);
	assert_int_equal(x.events[BLK_EVENT_SIZE], 1);
	expect(&f, 0, tail, model, cut - tail);
	assert_int_equal(io_read(f.w, 0, f.b, cut, 512, zeros), -EIO);
	x.size = RAM_LOWER_BYTES;
	world_call(f.w, 0, size_run, &x);
	assert_int_equal(
	    io_range(f.w, 0, f.lower, BLK_WRITE_ZEROES, 0, cut, RAM_LOWER_BYTES - cut), 0);
	world_pass(f.w, 1000000);
	assert_int_equal(blk_get_info(f.b)->size_bytes, RAM_LOWER_BYTES);
	memset(model + (cut - tail), 0, RAM_LOWER_BYTES - cut);
	expect(&f, 1, tail, model, sizeof model);
	ram_teardown(&f);
}

static struct ram_volume_stats
volume_stats(const struct ram_fixture *f)
{
	struct ram_volume_stats s;
	ram_volume_get_stats(f->v, &s);
	return s;
}

/* Growth by itself: what was kept is, but for the block within which the end was. */
static void
what_grows_keeps_what_it_has(void **state)
{
	(void)state;
	struct ram_fixture f;
	char model[4 * BLOCK];
	uint64_t cut = RAM_LOWER_BYTES - BLOCK - 512, tail = RAM_LOWER_BYTES - sizeof model;
	ram_setup(&f, world_sim(1, 2, 16u << 20), 32, NULL);
	struct watcher x = {.f = &f, .size = cut};
	world_call(f.w, 0, watch_run, &x);
	world_call(f.w, 0, size_run, &x);
	world_pass(f.w, 1000000);
	fill_lower(&f, model, sizeof model, 1);
	pattern_fill(model, sizeof model, 2);
	assert_int_equal(io_write(f.w, 0, f.b, 0, tail, cut - tail, model), 0);
	expect(&f, 0, tail, model, cut - tail);
	expect(&f, 0, tail, model, cut - tail);
	uint64_t kept = volume_stats(&f).kept, dropped = volume_stats(&f).dropped;
	x.size = RAM_LOWER_BYTES;
	world_call(f.w, 0, size_run, &x);
	world_pass(f.w, 1000000);
	assert_int_equal(blk_get_info(f.b)->size_bytes, RAM_LOWER_BYTES);
	assert_int_equal(x.events[BLK_EVENT_SIZE], 2);
	assert_true(kept >= 2);
	assert_in_range(volume_stats(&f).kept, kept - 1, kept);
	assert_in_range(volume_stats(&f).dropped, dropped, dropped + 1);
	/* What came behind the old end is the store's. */
	assert_int_equal(
	    io_write(f.w, 0, f.lower, 0, cut, RAM_LOWER_BYTES - cut, model + (cut - tail)), 0);
	expect(&f, 1, tail, model, sizeof model);
	ram_teardown(&f);
}

/* ---- profiles --------------------------------------------------------------------------------- */

static void
streams_are_read_ahead(void **state)
{
	(void)state;
	for (unsigned loops = 1; loops <= 2; loops++) {
		struct ram_fixture f;
		size_t len = 4u << 20;
		char *model = malloc(len);
		ram_setup(&f, world_sim(1, loops, 32u << 20), 2048, NULL);
		fill_lower(&f, model, len, 1);
		ram_set(&f, true, 256u << 10, 0);
		for (uint64_t at = 0; at < len; at += 32u << 10) {
			expect(&f, 0, at, model + at, 32u << 10);
			world_pass(f.w, 1000000);
		}
		struct ram_tier_stats s = ram_stats(&f);
		assert_true(s.hits > 7 * s.misses);
		assert_true(s.ahead_used > 900);
		struct ram_volume_stats v;
		ram_volume_get_stats(f.v, &v);
		assert_int_equal(v.ahead, s.ahead);
		assert_int_equal(v.ahead_used, s.ahead_used);
		assert_int_equal(v.ahead_wasted, s.ahead_wasted);
		assert_int_equal(v.evicted, s.evicted);
		assert_int_equal(v.kept, s.frames_used);
		/* Without it nothing is, from now on. */
		ram_drop(&f);
		ram_set(&f, true, 0, 0);
		for (uint64_t at = 0; at < len; at += 32u << 10)
			expect(&f, 0, at, model + at, 32u << 10);
		assert_int_equal(ram_stats(&f).ahead, s.ahead);
		free(model);
		ram_teardown(&f);
	}
}

/* A long stream leaves what was there before. */
static void
a_scan_leaves_the_rest(void **state)
{
	(void)state;
	struct ram_fixture f;
	size_t len = 8u << 20;
	char *model = malloc(len);
	ram_setup(&f, world_sim(1, 1, 32u << 20), 512, NULL);
	fill_lower(&f, model, 4u << 20, 1);
	assert_int_equal(io_write(f.w, 0, f.lower, 0, 4u << 20, 4u << 20, model), 0);
	memcpy(model + (4u << 20), model, 4u << 20);
	ram_set(&f, true, 64u << 10, 256u << 10);
	for (unsigned round = 0; round < 3; round++)
		for (unsigned i = 0; i < 200; i++) { /* each in an order of its own: no stream */
			uint64_t at = (i * 77 + round * 31) % 200 * 2 * BLOCK;
			expect(&f, 0, at, model + at, BLOCK);
		}
	for (uint64_t at = 2u << 20; at < len; at += 64u << 10)
		expect(&f, 0, at, model + at, 64u << 10);
	struct ram_tier_stats a = ram_stats(&f);
	for (unsigned i = 0; i < 200; i++)
		expect(&f, 0, i * 77 % 200 * 2 * BLOCK, model + i * 77 % 200 * 2 * BLOCK, BLOCK);
	struct ram_tier_stats b = ram_stats(&f);
	assert_true(b.hits - a.hits >= 180);
	free(model);
	ram_teardown(&f);
}

static void
quiet_reads_change_nothing(void **state)
{
	(void)state;
	for (unsigned loops = 1; loops <= 2; loops++) {
		struct ram_fixture f;
		char model[64 * BLOCK], got[16 * BLOCK];
		ram_setup(&f, world_sim(1, loops, 16u << 20), 128, NULL);
		ram_set(&f, true, 64u << 10, 0);
		fill_lower(&f, model, sizeof model, 1);
		expect(&f, 0, 0, model, BLOCK);
		struct ram_tier_stats a = ram_stats(&f);
		for (unsigned i = 0; i < 4; i++) {
			struct req *r =
			    read_start(&f, loops - 1, BLK_QUIET, i * sizeof got, sizeof got);
			assert_int_equal(req_wait(r), 0);
			req_copy_out(r, got);
			assert_memory_equal(got, model + i * sizeof got, sizeof got);
			req_put(r);
		}
		world_pass(f.w, 1000000);
		struct ram_tier_stats b = ram_stats(&f);
		assert_int_equal(b.fills, a.fills);
		assert_int_equal(b.ahead, 0);
		assert_int_equal(b.hits, a.hits);
		assert_int_equal(b.misses, a.misses);
		assert_int_equal(b.frames_used, 1);
		ram_teardown(&f);
	}
}

/* Of a full tier, none of what others use. */
static void
a_quiet_read_evicts_nothing(void **state)
{
	(void)state;
	for (unsigned loops = 1; loops <= 2; loops++) {
		struct ram_fixture f;
		static char model[1024 * BLOCK], got[16 * BLOCK];
		ram_setup(&f, world_sim(1, loops, 16u << 20), 128, NULL);
		fill_lower(&f, model, sizeof model, 1);
		for (unsigned round = 0; round < 2; round++)
			for (unsigned i = 0; i < 512; i++)
				expect(&f, 0, i * BLOCK, model + i * BLOCK, BLOCK);
		struct ram_tier_stats a = ram_stats(&f);
		assert_int_equal(a.frames_used, a.frames);
		for (unsigned i = 0; i < 64; i++) {
			struct req *r =
			    read_start(&f, i % loops, BLK_QUIET, i * sizeof got, sizeof got);
			assert_int_equal(req_wait(r), 0);
			req_copy_out(r, got);
			assert_memory_equal(got, model + i * sizeof got, sizeof got);
			req_put(r);
		}
		struct ram_tier_stats b = ram_stats(&f);
		assert_int_equal(b.evicted, a.evicted);
		assert_int_equal(b.frames_used, a.frames);
		assert_int_equal(b.frames_lent, 0);
		assert_true(b.passed > a.passed);
		ram_teardown(&f);
	}
}

/* [11] In bypass. */
static void
a_volume_that_keeps_nothing_passes_all_on(void **state)
{
	(void)state;
	struct ram_fixture f;
	char model[4 * BLOCK];
	ram_setup(&f, world_sim(1, 2, 16u << 20), 32, NULL);
	fill_lower(&f, model, sizeof model, 1);
	expect(&f, 0, 0, model, sizeof model);
	/* A list that was got before the change. */
	struct req *r = req_new(f.w, 1, f.b, BLK_READ, 0, 0, sizeof model, NULL);
	r->no_submit = true;
	req_start(r);
	(void)req_wait(r);
	ram_set(&f, false, 64u << 10, 0);
	assert_int_equal(ram_stats(&f).frames_used, 0);
	expect(&f, 1, 0, model, sizeof model);
	assert_int_equal(io_write(f.w, 0, f.b, 0, 0, sizeof model, model), 0);
	req_start(r);
	assert_int_equal(req_wait(r), 0);
	req_put(r);
	world_pass(f.w, 1000000);
	assert_int_equal(ram_stats(&f).frames_used, 0);
	ram_set(&f, true, 0, 0);
	expect(&f, 1, 0, model, sizeof model);
	assert_int_equal(ram_stats(&f).frames_used, 4);
	ram_teardown(&f);
}

/* ---- size and volumes ------------------------------------------------------------------------- */

/* Pages of a region that are in memory. */
static size_t
resident(void *base, size_t len)
{
	unsigned char pages[2048];
	size_t count = len / 4096, n = 0;
	assert_true(count <= sizeof pages);
	assert_int_equal(mincore(base, len, pages), 0);
	for (size_t i = 0; i < count; i++)
		n += pages[i] & 1;
	return n;
}

/* A device goes on using the pages that it was told of: none may be changed for another. */
static void
what_a_device_knows_stays_where_it_is(void **state)
{
	(void)state;
	for (unsigned told = 0; told < 2; told++) {
		struct ram_fixture f;
		size_t len = 2u << 20, bytes = 500 * BLOCK;
		char *model = malloc(len);
		void *base;
		ram_setup(&f, world_sim(1, 1, 32u << 20), 500, NULL);
		fill_lower(&f, model, len, 1);
		if (told) {
			assert_true(ram_tier_memory(f.t, 0, &base, &bytes));
			assert_int_equal(bytes, 500 * BLOCK);
		}
		assert_false(ram_tier_memory(f.t, 1, &base, &bytes));
		for (size_t at = 0; at < len; at += 16 * BLOCK)
			expect(&f, 0, at, model + at, 16 * BLOCK);
		uint64_t used = ram_stats(&f).frames_used;
		assert_true(used > 100);
		assert_int_equal(ram_resize(&f, 40), 0);
		if (told)
			assert_true(resident(base, bytes) >= used);
		assert_int_equal(ram_resize(&f, 500), 0);
		expect(&f, 0, 0, model, len);
		free(model);
		ram_teardown(&f);
	}
}

static void
it_is_resized_while_in_use(void **state)
{
	(void)state;
	for (unsigned loops = 1; loops <= 3; loops++) {
		struct ram_fixture f;
		size_t len = 4u << 20;
		char *model = malloc(len);
		ram_setup(&f, world_sim(1, loops, 32u << 20), 500, NULL);
		fill_lower(&f, model, len, 1);
		expect(&f, 0, 0, model, len);
		struct req *r = read_start(&f, 0, 0, 64 * BLOCK, 64 * BLOCK);
		assert_int_equal(req_wait(r), 0);
		int done = 0;
		ram_resize_start(&f, 40, &done);
		world_pass(f.w, 10000000);
		assert_int_equal(done, 0); /* it waits for the list */
		expect(&f, 0, 0, model, len);
		char got[64 * BLOCK];
		req_copy_out(r, got);
		assert_memory_equal(got, model + 64 * BLOCK, sizeof got);
		req_put(r);
		world_pass(f.w, 10000000);
		assert_int_equal(done, 1);
		assert_int_equal(ram_stats(&f).frames, 40 * loops);
		assert_true(ram_stats(&f).frames_used <= 40 * loops);
		expect(&f, loops - 1, 0, model, len);
		assert_int_equal(ram_resize(&f, 0), -EINVAL);
		assert_int_equal(ram_resize(&f, 3000), 0);
		expect(&f, loops - 1, 0, model, len);
		uint64_t below = ram_lower_reads(&f);
		expect(&f, 0, 0, model, len);
		assert_int_equal(ram_lower_reads(&f), below);
		assert_int_equal(ram_resize(&f, 30), 0);
		assert_int_equal(ram_resize(&f, 60), 0);
		expect(&f, 0, 0, model, len);
		assert_true(ram_stats(&f).frames_used <= 60 * loops);
		free(model);
		ram_teardown(&f);
	}
}

static void
volumes_share_the_arena(void **state)
{
	(void)state;
	struct ram_fixture f;
	char a[16 * BLOCK], b[16 * BLOCK], got[16 * BLOCK];
	ram_setup(&f, world_sim(1, 2, 16u << 20), 64, NULL);
	struct blk *lower = world_open(f.w, "ram:", RAM_LOWER_BYTES, 0, 512);
	struct ram_volume *v = ram_open_volume(&f, lower);
	struct blk *second = ram_volume_blk(v);
	fill_lower(&f, a, sizeof a, 1);
	pattern_fill(b, sizeof b, 2);
	assert_int_equal(io_write(f.w, 0, second, 0, 0, sizeof b, b), 0);
	for (unsigned i = 0; i < 3; i++) {
		expect(&f, i % 2, 0, a, sizeof a);
		assert_int_equal(io_read(f.w, i % 2, second, 0, sizeof got, got), 0);
		assert_memory_equal(got, b, sizeof b);
	}
	struct ram_volume_stats s;
	ram_volume_get_stats(v, &s);
	assert_int_equal(s.hits, 48);
	assert_int_equal(s.misses, 0);
	assert_int_equal(s.write_fills, 16);
	assert_int_equal(s.kept, 16);
	ram_volume_get_stats(f.v, &s);
	assert_int_equal(s.hits, 32);
	assert_int_equal(s.misses, 16);
	assert_int_equal(s.fills, 16);
	assert_int_equal(s.kept, 16);
	assert_int_equal(ram_stats(&f).frames_used, 32);
	/* A list outlives its volume. */
	struct req *r = req_new(f.w, 1, second, BLK_READ, 0, 0, sizeof b, NULL);
	req_start(r);
	assert_int_equal(req_wait(r), 0);
	ram_close_volume(&f, v);
	world_close(f.w, lower);
	req_copy_out(r, got);
	assert_memory_equal(got, b, sizeof b);
	req_put(r);
	world_pass(f.w, 1000000);
	assert_int_equal(ram_stats(&f).frames_used, 16);
	ram_teardown(&f);
}

static void
on_curve(void *ctx, const struct policy_mrc_point *p, uint32_t n)
{
	struct ram_fixture *f = ctx;
	assert_int_equal(n, 6);
	assert_int_equal(p[2].blocks, ram_stats(f).frames);
	for (uint32_t i = 1; i < n; i++)
		assert_true(p[i].hit_ratio >= p[i - 1].hit_ratio - 1e-9);
	assert_true(p[5].hit_ratio > 0.5 && p[0].hit_ratio < 0.5);
	f->v = NULL; /* seen */
}

static void
curve_run(void *ctx)
{
	struct ram_fixture *f = ctx;
	ram_tier_curve(f->t, on_curve, f);
}

static void
the_curve_tells_of_other_sizes(void **state)
{
	(void)state;
	struct ram_fixture f;
	char *model = malloc(RAM_LOWER_BYTES), got[BLOCK];
	uint64_t rng = 1;
	ram_setup(&f, world_sim(1, 2, 16u << 20), 250, NULL);
	for (unsigned i = 0; i < 12000;
	     i++) /* 1800 blocks, by chance: all fit in eight times as much */
		assert_int_equal(
		    io_read(f.w, i % 2, f.b, test_rand(&rng) % 1800 * BLOCK, BLOCK, got), 0);
	struct ram_volume *v = f.v;
	world_call(f.w, 0, curve_run, &f);
	world_pass(f.w, 1000000);
	assert_null(f.v);
	f.v = v;
	free(model);
	ram_teardown(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(it_is_the_lower_device),
	    cmocka_unit_test(on_threads),
	    cmocka_unit_test(a_hit_lends_the_same_frames),
	    cmocka_unit_test(what_was_written_is_there),
	    cmocka_unit_test(lent_frames_stay_as_they_were),
	    cmocka_unit_test(held_lists_stop_nobody),
	    cmocka_unit_test(memory_stays_within_the_size),
	    cmocka_unit_test(a_fill_that_a_write_overtook_is_not_kept),
	    cmocka_unit_test(reads_during_a_write_are_not_kept),
	    cmocka_unit_test(of_overlapping_writes_none_is_kept),
	    cmocka_unit_test(a_failed_write_leaves_nothing_behind),
	    cmocka_unit_test(unmapped_and_zeroed_blocks_go),
	    cmocka_unit_test(a_bad_sector_fails_alone),
	    cmocka_unit_test(what_is_gone_fails_and_is_read_anew),
	    cmocka_unit_test(a_new_size_forgets_the_tail),
	    cmocka_unit_test(what_grows_keeps_what_it_has),
	    cmocka_unit_test(streams_are_read_ahead),
	    cmocka_unit_test(a_scan_leaves_the_rest),
	    cmocka_unit_test(quiet_reads_change_nothing),
	    cmocka_unit_test(a_quiet_read_evicts_nothing),
	    cmocka_unit_test(a_volume_that_keeps_nothing_passes_all_on),
	    cmocka_unit_test(it_is_resized_while_in_use),
	    cmocka_unit_test(what_a_device_knows_stays_where_it_is),
	    cmocka_unit_test(volumes_share_the_arena),
	    cmocka_unit_test(the_curve_tells_of_other_sizes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
