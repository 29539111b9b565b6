/* SPDX-License-Identifier: BSD-2-Clause */
#include "harness.h"

#include <errno.h>
#include <string.h>

#define SIZE (64ull * 1024 * 1024)

static void
reads_are_zeros_lent_without_a_copy(void **state)
{
	(void)state;
	struct world *w = world_sim(1, 1, 8u << 20);
	struct blk *b = world_open(w, "null:", SIZE, 0, 512);
	struct req *r = req_new(w, 0, b, BLK_READ, 0, 512, BLK_IO_MAX_BYTES, NULL);
	req_start(r);
	assert_int_equal(req_wait(r), 0);
	assert_int_equal(r->sg.iovcnt, 1);
	static char got[BLK_IO_MAX_BYTES];
	req_copy_out(r, got);
	for (size_t i = 0; i < sizeof got; i++)
		assert_int_equal(got[i], 0);
	req_put(r);
	world_close(w, b);
	world_destroy(w);
}

static void
writes_succeed_and_leave_nothing(void **state)
{
	(void)state;
	struct world *w = world_sim(2, 2, 8u << 20);
	struct blk *b = world_open(w, "null:", SIZE, 0, 4096);
	char buf[8192], got[8192], zeros[8192] = {0};
	pattern_fill(buf, sizeof buf, 1);
	assert_int_equal(io_write(w, 1, b, BLK_FUA, 4096, sizeof buf, buf), 0);
	assert_int_equal(io_read(w, 0, b, 4096, sizeof got, got), 0);
	assert_memory_equal(got, zeros, sizeof got);
	assert_int_equal(io_range(w, 0, b, BLK_UNMAP, 0, 0, SIZE), 0);
	assert_int_equal(io_range(w, 0, b, BLK_WRITE_ZEROES, BLK_NO_UNMAP, 0, SIZE), 0);
	assert_int_equal(io_range(w, 0, b, BLK_FLUSH, 0, 0, 0), 0);
	world_close(w, b);
	world_destroy(w);
}

/* Data on its way to two writes at once may not meet in one memory. */
static void
two_writes_do_not_share_their_memory(void **state)
{
	(void)state;
	struct world *w = world_sim(3, 1, 8u << 20);
	struct blk *b = world_open(w, "null:", SIZE, 0, 512);
	char one[4096], two[4096];
	memset(one, 1, sizeof one);
	memset(two, 2, sizeof two);
	struct req *r1 = req_new(w, 0, b, BLK_WRITE, 0, 0, 4096, one);
	struct req *r2 = req_new(w, 0, b, BLK_WRITE, 0, 0, 4096, two);
	r1->no_submit = r2->no_submit = true;
	req_start(r1);
	req_start(r2);
	char got[4096];
	req_copy_out(r1, got);
	assert_memory_equal(got, one, 4096);
	req_put(r1);
	req_put(r2);
	world_close(w, b);
	world_destroy(w);
}

static void
everything_is_unmapped(void **state)
{
	(void)state;
	struct world *w = world_sim(4, 1, 8u << 20);
	struct blk *b = world_open(w, "null:", SIZE, 0, 512);
	struct blk_extent e;
	uint32_t n;
	assert_int_equal(io_extents(w, 0, b, 512, SIZE - 512, &e, 1, &n), 0);
	assert_int_equal(n, 1);
	assert_int_equal(e.offset_bytes, 512);
	assert_int_equal(e.len_bytes, SIZE - 512);
	assert_false(e.mapped);
	world_close(w, b);
	world_destroy(w);
}

static void
needs_a_size_and_nothing_else(void **state)
{
	(void)state;
	struct world *w = world_sim(5, 1, 8u << 20);
	struct blk *b;
	struct blk_open_args args = {.spec = "null:"};
	assert_int_equal(world_open_reason(w, &args, &b, NULL), -EINVAL);
	args.size_bytes = 1000;
	assert_int_equal(world_open_reason(w, &args, &b, NULL), -EINVAL);
	args.size_bytes = 4096;
	args.spec = "null:x";
	assert_int_equal(world_open_reason(w, &args, &b, NULL), -EINVAL);
	args.spec = "nul:";
	assert_int_equal(world_open_reason(w, &args, &b, NULL), -EINVAL);
	args.spec = "null:";
	args.block_bytes = 1024;
	assert_int_equal(world_open_reason(w, &args, &b, NULL), -EINVAL);
	world_destroy(w);
}

static void
a_read_only_store_refuses_changes(void **state)
{
	(void)state;
	struct world *w = world_sim(6, 1, 8u << 20);
	struct blk *b = world_open(w, "null:", SIZE, BLK_OPEN_READ_ONLY, 512);
	char buf[512] = {0};
	assert_int_equal(io_write(w, 0, b, 0, 0, 512, buf), -EROFS);
	assert_int_equal(io_range(w, 0, b, BLK_WRITE_ZEROES, 0, 0, 512), -EROFS);
	assert_int_equal(io_range(w, 0, b, BLK_UNMAP, 0, 0, 512), -EROFS);
	assert_int_equal(io_read(w, 0, b, 0, 512, buf), 0);
	world_close(w, b);
	world_destroy(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(reads_are_zeros_lent_without_a_copy),
	    cmocka_unit_test(writes_succeed_and_leave_nothing),
	    cmocka_unit_test(two_writes_do_not_share_their_memory),
	    cmocka_unit_test(everything_is_unmapped),
	    cmocka_unit_test(needs_a_size_and_nothing_else),
	    cmocka_unit_test(a_read_only_store_refuses_changes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
