/* SPDX-License-Identifier: BSD-2-Clause */
#include "suite.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SIZE (8ull * 1024 * 1024 + 512 * 3)

static void
on_sim(unsigned loops, uint64_t seeds, uint32_t block_bytes)
{
	for (uint64_t seed = 1; seed <= seeds; seed++) {
		struct world *w = world_sim(seed, loops, 32u << 20);
		struct blk *b =
		    world_open(w, "ram:", block_bytes == 512 ? SIZE : 8u << 20, 0, block_bytes);
		suite_all(w, b, seed);
		world_close(w, b);
		world_destroy(w);
	}
}

static void
behaves_on_one_loop(void **state)
{
	(void)state;
	on_sim(1, 3, 512);
}

static void
behaves_on_two_loops(void **state)
{
	(void)state;
	on_sim(2, 3, 512);
}

static void
behaves_on_three_loops_in_4k_blocks(void **state)
{
	(void)state;
	on_sim(3, 2, 4096);
}

static void
behaves_on_two_threads(void **state)
{
	(void)state;
	struct world *w = world_real(2, false);
	struct blk *b = world_open(w, "ram:", SIZE, 0, 512);
	suite_all(w, b, 42);
	suite_parallel(w, b, 43, 20);
	world_close(w, b);
	world_destroy(w);
}

static void
behaves_with_a_fragmented_pool(void **state)
{
	(void)state;
	struct world *w = world_sim(9, 2, 6u << 20); /* one big io at a time, the others wait */
	struct blk *b = world_open(w, "ram:", SIZE, 0, 512);
	suite_big(w, b);
	suite_parallel(w, b, 9, 4);
	world_close(w, b);
	world_destroy(w);
}

static void
lent_bytes_stay_while_overwritten(void **state)
{
	(void)state;
	for (unsigned loops = 1; loops <= 2; loops++) {
		struct world *w = world_sim(11, loops, 32u << 20);
		struct blk *b = world_open(w, "ram:", 8u << 20, 0, 512);
		size_t len = 2u << 20;
		char *first = malloc(len), *second = malloc(len), *got = malloc(len);
		pattern_fill(first, len, 1);
		pattern_fill(second, len, 2);
		assert_int_equal(io_write(w, 0, b, 0, 0, len, first), 0);
		struct req *r = req_new(w, 0, b, BLK_READ, 0, 0, len, NULL);
		req_start(r);
		assert_int_equal(req_wait(r), 0);
		assert_int_equal(io_write(w, loops - 1, b, 0, 0, len, second), 0);
		assert_int_equal(io_write(w, 0, b, 0, 512, 1024, second), 0);
		assert_int_equal(io_range(w, 0, b, BLK_UNMAP, 0, 4096, 65536), 0);
		assert_int_equal(
		    io_range(w, 0, b, BLK_WRITE_ZEROES, BLK_NO_UNMAP, 1u << 20, 65536), 0);
		req_copy_out(r, got);
		assert_memory_equal(got, first, len);
		req_put(r);
		assert_int_equal(io_read(w, 0, b, 65536 + 4096, 4096, got), 0);
		assert_memory_equal(got, second + 65536 + 4096, 4096);
		free(first);
		free(second);
		free(got);
		world_close(w, b);
		world_destroy(w);
	}
}

static void
a_whole_frame_write_is_not_copied(void **state)
{
	(void)state;
	struct world *w = world_sim(12, 1, 8u << 20);
	struct blk *b = world_open(w, "ram:", 8u << 20, 0, 512);
	char buf[65536];
	pattern_fill(buf, sizeof buf, 1);
	struct req *wr = req_new(w, 0, b, BLK_WRITE, 0, 1u << 20, sizeof buf, buf);
	req_start(wr);
	assert_int_equal(req_wait(wr), 0);
	assert_int_equal(wr->sg.iovcnt, 1);
	struct req *rd = req_new(w, 0, b, BLK_READ, 0, 1u << 20, sizeof buf, NULL);
	req_start(rd);
	assert_int_equal(req_wait(rd), 0);
	assert_int_equal(rd->sg.iovcnt, 1);
	assert_ptr_equal(rd->sg.iov[0].iov_base, wr->sg.iov[0].iov_base);
	req_put(wr);
	req_put(rd);
	world_close(w, b);
	world_destroy(w);
}

/* Runs stay contiguous however often they are replaced. */
static void
rewriting_keeps_runs_in_one_piece(void **state)
{
	(void)state;
	struct world *w = world_sim(13, 1, 8u << 20);
	struct blk *b = world_open(w, "ram:", 8u << 20, 0, 512);
	static char buf[131072];
	for (unsigned i = 0; i < 100; i++) {
		struct req *r =
		    req_new(w, 0, b, BLK_WRITE, 0, (i * 7 % 8) * sizeof buf, sizeof buf, buf);
		req_start(r);
		assert_int_equal(req_wait(r), 0);
		assert_true(r->sg.iovcnt <= 2);
		req_put(r);
	}
	world_close(w, b);
	world_destroy(w);
}

/* A list that was submitted once and is submitted again must not make two places share a frame. */
static void
a_list_submitted_twice_is_copied_the_second_time(void **state)
{
	(void)state;
	struct world *w = world_sim(14, 1, 8u << 20);
	struct blk *b = world_open(w, "ram:", 8u << 20, 0, 512);
	char buf[4096], other[4096], got[4096];
	pattern_fill(buf, sizeof buf, 1);
	pattern_fill(other, sizeof other, 2);
	struct req *r = req_new(w, 0, b, BLK_WRITE, 0, 0, 4096, buf);
	req_start(r);
	assert_int_equal(req_wait(r), 0);
	for (unsigned i = 0; i < 3; i++) { /* the same place, then others */
		r->done = false;
		r->io.offset_bytes = i * 8192;
		req_start(r);
		assert_int_equal(req_wait(r), 0);
	}
	req_put(r);
	assert_int_equal(io_write(w, 0, b, 0, 0, 512, other), 0);
	for (unsigned i = 1; i < 3; i++) {
		assert_int_equal(io_read(w, 0, b, i * 8192, 4096, got), 0);
		assert_memory_equal(got, buf, 4096);
	}
	world_close(w, b);
	world_destroy(w);
}

struct copy_now {
	struct blk *b;
	uint64_t offset_bytes, len_bytes;
	bool can, done;
	int result;
	struct blk_io io;
	struct blk_sg sg;
};

static void
ask_copies_now(void *ctx)
{
	struct copy_now *cn = ctx;
	cn->can = blk_copies_now(cn->b, cn->offset_bytes, cn->len_bytes);
}

static bool
copies_now(struct world *w, unsigned loop, struct blk *b, uint64_t offset_bytes, uint64_t len_bytes)
{
	struct copy_now cn = {.b = b, .offset_bytes = offset_bytes, .len_bytes = len_bytes};
	world_call(w, loop, ask_copies_now, &cn);
	return cn.can;
}

/* All slack is pinned by readers: a write waits, and goes on when one of them lets go. */
static void
a_write_waits_for_frames_and_goes_on(void **state)
{
	(void)state;
	struct world *w = world_sim(15, 1, 256u << 20);
	struct blk *b = world_open(w, "ram:", 4u << 20, 0, 512);
	size_t len = 4u << 20;
	char *buf = malloc(len), *got = malloc(len);
	struct req *readers[64], *writer = NULL;
	unsigned count = 0;
	for (;; count++) {
		assert_true(count < 64);
		pattern_fill(buf, len, count);
		/* Memory of the test's own, so that the store has to find the frames. */
		writer = req_new(w, 0, b, BLK_WRITE, 0, 0, len, NULL);
		writer->foreign = buf;
		writer->foreign_iov[0] = (struct iovec){buf, len};
		req_start(writer);
		world_pass(w, 1000000);
		if (!req_is_done(writer))
			break;
		assert_int_equal(req_wait(writer), 0);
		req_put(writer);
		readers[count] = req_new(w, 0, b, BLK_READ, 0, 0, len, NULL);
		req_start(readers[count]);
		assert_int_equal(req_wait(readers[count]), 0);
	}
	assert_true(count >= 4);                   /* 16 MiB of slack at least */
	assert_false(copies_now(w, 0, b, 0, 512)); /* nobody overtakes it */
	req_copy_out(readers[0], got);
	assert_int_equal(io_read(w, 0, b, 0, 4096, got), 0); /* reads don't wait */
	req_put(readers[0]);
	assert_int_equal(req_wait(writer), 0);
	req_put(writer);
	assert_true(copies_now(w, 0, b, 0, 512));
	assert_int_equal(io_read(w, 0, b, 0, len, got), 0);
	assert_memory_equal(got, buf, len);
	for (unsigned i = 1; i < count; i++) {
		char *want = malloc(len);
		pattern_fill(want, len, i);
		req_copy_out(readers[i], got);
		assert_memory_equal(got, want, len);
		free(want);
		req_put(readers[i]);
	}
	free(buf);
	free(got);
	world_close(w, b);
	world_destroy(w);
}

/* Frames on their way to be written don't starve a write that has to be copied. */
static void
landing_leaves_room_for_copies(void **state)
{
	(void)state;
	struct world *w = world_sim(16, 1, 64u << 20);
	struct blk *b = world_open(w, "ram:", 4u << 20, 0, 512);
	size_t len = 4u << 20;
	char *buf = malloc(len), *got = malloc(len);
	pattern_fill(buf, len, 1);
	assert_int_equal(io_write(w, 0, b, 0, 0, len, buf), 0);
	struct req *landing[12];
	for (unsigned i = 0; i < 12; i++) {
		landing[i] = req_new(w, 0, b, BLK_WRITE, 0, 0, len, buf);
		landing[i]->no_submit = true;
		req_start(landing[i]);
	}
	struct req *pin = req_new(w, 0, b, BLK_READ, 0, 0, len, NULL);
	req_start(pin);
	assert_int_equal(req_wait(pin), 0);
	pattern_fill(buf, len, 2);
	assert_int_equal(io_write(w, 0, b, 0, 512, len - 512, buf), 0);
	assert_int_equal(io_read(w, 0, b, 512, len - 512, got), 0);
	assert_memory_equal(got, buf, len - 512);
	req_put(pin);
	for (unsigned i = 0; i < 12; i++)
		req_put(landing[i]);
	free(buf);
	free(got);
	world_close(w, b);
	world_destroy(w);
}

static void
a_sparse_store_is_larger_than_memory(void **state)
{
	(void)state;
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
	skip(); /* its shadow leaves no terabyte of address space */
#endif
#endif
	for (unsigned loops = 1; loops <= 2; loops++) {
		struct world *w = world_sim(17, loops, 8u << 20);
		struct blk *b = world_open(w, "ram:", 1ull << 40, 0, 4096);
		char buf[4096], got[4096];
		pattern_fill(buf, sizeof buf, 3);
		uint64_t at = (1ull << 40) - 4096;
		assert_int_equal(io_write(w, 0, b, 0, at, 4096, buf), 0);
		assert_int_equal(io_read(w, loops - 1, b, at, 4096, got), 0);
		assert_memory_equal(got, buf, 4096);
		assert_int_equal(
		    io_range(w, 0, b, BLK_UNMAP, 0, at - (1ull << 34), (1ull << 34) + 4096), 0);
		struct blk_extent e;
		uint32_t n;
		assert_int_equal(io_extents(w, 0, b, at, 4096, &e, 1, &n), 0);
		assert_false(e.mapped);
		world_close(w, b);
		world_destroy(w);
	}
}

/* A torn write would show both patterns in one read. */
static void
a_write_within_the_atomic_limit_is_never_seen_half_done(void **state)
{
	(void)state;
	struct world *w = world_sim(18, 1, 64u << 20);
	struct blk *b = world_open(w, "ram:", 8u << 20, 0, 512);
	assert_int_equal(blk_get_info(b)->atomic_max_bytes, BLK_IO_MAX_BYTES);
	size_t len = 3u << 20;
	char *one = malloc(len), *two = malloc(len), *got = malloc(len);
	memset(one, 1, len);
	memset(two, 2, len);
	assert_int_equal(io_write(w, 0, b, 0, 512, len, one), 0);
	for (unsigned i = 0; i < 10; i++) {
		struct req *wr = req_new(w, 0, b, BLK_WRITE, 0, 512, len, i & 1 ? one : two);
		struct req *rd = req_new(w, 0, b, BLK_READ, 0, 512, len, NULL);
		req_start(wr);
		req_start(rd);
		assert_int_equal(req_wait(wr), 0);
		assert_int_equal(req_wait(rd), 0);
		req_copy_out(rd, got);
		assert_true(memcmp(got, one, len) == 0 || memcmp(got, two, len) == 0);
		req_put(wr);
		req_put(rd);
	}
	free(one);
	free(two);
	free(got);
	world_close(w, b);
	world_destroy(w);
}

static void
copied(struct blk_io *io)
{
	struct copy_now *cn = container_of(io, struct copy_now, io);
	cn->result = io->result;
	cn->done = true;
}

/* A WRITE of memory that is gone when the submit returns. */
static void
write_passing(void *ctx)
{
	struct copy_now *cn = ctx;
	char *passing = malloc(cn->len_bytes);
	pattern_fill(passing, cn->len_bytes, cn->offset_bytes);
	assert_true(blk_copies_now(cn->b, cn->offset_bytes, cn->len_bytes));
	blk_sg_init(&cn->sg);
	blk_sg_borrow(&cn->sg, passing, cn->len_bytes);
	cn->io = (struct blk_io){
	    .op = BLK_WRITE,
	    .offset_bytes = cn->offset_bytes,
	    .len_bytes = cn->len_bytes,
	    .sg = &cn->sg,
	    .done = copied,
	};
	blk_submit(cn->b, &cn->io);
	assert_false(cn->done);
	memset(passing, 0xee, cn->len_bytes);
	free(passing);
	blk_sg_init(&cn->sg);
}

static void
a_short_write_is_copied_at_once(void **state)
{
	(void)state;
	struct world *w = world_sim(20, 2, 8u << 20);
	struct blk *b = world_open(w, "ram:", 8u << 20, 0, 512);
	/* Within an extent of its own, starting anywhere; not over the border, not of the other. */
	const struct {
		uint64_t offset_bytes, len_bytes;
	} own[] = {{0, 4096}, {512, 512}, {4096 - 512, 8192}, {(1u << 20) - 512, 512}};
	for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
		struct copy_now cn = {
		    .b = b,
		    .offset_bytes = own[i].offset_bytes,
		    .len_bytes = own[i].len_bytes,
		};
		world_call(w, 0, write_passing, &cn);
		world_pass(w, 1000000);
		assert_true(cn.done);
		assert_int_equal(cn.result, 0);
		char want[8192], got[8192];
		pattern_fill(want, cn.len_bytes, cn.offset_bytes);
		assert_int_equal(io_read(w, 1, b, cn.offset_bytes, cn.len_bytes, got), 0);
		assert_memory_equal(got, want, cn.len_bytes);
		assert_false(copies_now(w, 1, b, cn.offset_bytes, cn.len_bytes));
	}
	assert_false(copies_now(w, 0, b, (1u << 20) - 512, 1024));
	assert_true(copies_now(w, 1, b, 1u << 20, 4096));
	assert_false(copies_now(w, 0, b, 0, 64u << 10)); /* lands in frames: nothing to copy */
	world_close(w, b);
	world_destroy(w);
}

static void
needs_a_size_that_fits(void **state)
{
	(void)state;
	struct world *w = world_sim(19, 1, 8u << 20);
	struct blk *b;
	struct blk_open_args args = {.spec = "ram:"};
	assert_int_equal(world_open_reason(w, &args, &b, NULL), -EINVAL);
	args.size_bytes = 513;
	assert_int_equal(world_open_reason(w, &args, &b, NULL), -EINVAL);
	args.size_bytes = 1ull << 60;
	assert_int_equal(world_open_reason(w, &args, &b, NULL), -EINVAL);
	args.spec = "ram:10GiB";
	args.size_bytes = 4096;
	assert_int_equal(world_open_reason(w, &args, &b, NULL), -EINVAL);
	world_destroy(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(behaves_on_one_loop),
	    cmocka_unit_test(behaves_on_two_loops),
	    cmocka_unit_test(behaves_on_three_loops_in_4k_blocks),
	    cmocka_unit_test(behaves_on_two_threads),
	    cmocka_unit_test(behaves_with_a_fragmented_pool),
	    cmocka_unit_test(lent_bytes_stay_while_overwritten),
	    cmocka_unit_test(a_whole_frame_write_is_not_copied),
	    cmocka_unit_test(rewriting_keeps_runs_in_one_piece),
	    cmocka_unit_test(a_list_submitted_twice_is_copied_the_second_time),
	    cmocka_unit_test(a_write_waits_for_frames_and_goes_on),
	    cmocka_unit_test(landing_leaves_room_for_copies),
	    cmocka_unit_test(a_sparse_store_is_larger_than_memory),
	    cmocka_unit_test(a_write_within_the_atomic_limit_is_never_seen_half_done),
	    cmocka_unit_test(a_short_write_is_copied_at_once),
	    cmocka_unit_test(needs_a_size_that_fits),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
