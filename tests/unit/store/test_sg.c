/* SPDX-License-Identifier: BSD-2-Clause */
#include "harness.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bufpool.h"
#include "store/blk_driver.h"

static struct world *w;

static void
run(void (*fn)(void *ctx))
{
	w = world_sim(1, 1, 4u << 20);
	world_call(w, 0, fn, w->loops[0]);
	world_destroy(w);
}

static void
one_run_per_mib(void *ctx)
{
	struct loop *l = ctx;
	struct blk_sg sg;
	blk_sg_init(&sg);
	assert_int_equal(blk_sg_get_plain(l, &sg, 700 * 1024), 0);
	assert_int_equal(sg.iovcnt, 1);
	assert_int_equal(sg.len_bytes, 700 * 1024);
	assert_int_equal((uintptr_t)sg.iov[0].iov_base % 4096, 0);
	blk_sg_put(&sg);
	assert_int_equal(blk_sg_get_plain(l, &sg, 4u << 20), 0);
	assert_int_equal(sg.iovcnt, 4);
	blk_sg_put(&sg);
	assert_int_equal(sg.len_bytes, 0);
	blk_sg_put(&sg); /* an empty list is accepted */
}

/* Every other frame taken: nothing longer than a frame is free. */
static void
a_fragmented_pool_gives_frames(void *ctx)
{
	struct loop *l = ctx;
	struct bufpool *bp = loop_bufpool(l);
	enum { FRAMES = 1024 };
	static void *frame[FRAMES];
	unsigned n = 0;
	while (n < FRAMES && (frame[n] = bufpool_get(bp, 4096)) != NULL)
		n++;
	assert_int_equal(n, FRAMES);
	struct blk_sg sg;
	blk_sg_init(&sg);
	struct blk_sg before = sg;
	assert_int_equal(blk_sg_get_plain(l, &sg, 512), -ENOBUFS);
	assert_memory_equal(&sg, &before, sizeof sg);
	for (unsigned i = 0; i < FRAMES; i++) {
		if (((uintptr_t)frame[i] / 4096) % 2 == 0) {
			bufpool_put(bp, frame[i], 4096);
			frame[i] = NULL;
		}
	}
	size_t free_bytes = bufpool_free_bytes(bp);
	assert_int_equal(blk_sg_get_plain(l, &sg, 200 * 1024), 0);
	assert_int_equal(sg.iovcnt, 50);
	assert_int_equal(sg.len_bytes, 200 * 1024);
	blk_sg_put(&sg);
	assert_int_equal(bufpool_free_bytes(bp), free_bytes);
	/* All or nothing: more than there is leaves the pool as it was. */
	assert_int_equal(blk_sg_get_plain(l, &sg, 3u << 20), -ENOBUFS);
	assert_int_equal(bufpool_free_bytes(bp), free_bytes);
	for (unsigned i = 0; i < FRAMES; i++) {
		if (frame[i] != NULL)
			bufpool_put(bp, frame[i], 4096);
	}
}

/* Lists over flat memory, cut at odd places. */
static void
make_list(struct blk_sg *sg, char *mem, size_t a, size_t b, size_t c)
{
	blk_sg_init(sg);
	sg->iov = sg->inline_iov;
	sg->iov[0] = (struct iovec){mem, a};
	sg->iov[1] = (struct iovec){mem + a, 0};
	sg->iov[2] = (struct iovec){mem + a, b};
	sg->iov[3] = (struct iovec){mem + a + b, c};
	sg->iovcnt = 4;
	sg->len_bytes = a + b + c;
}

static void
copies_cross_segments(void **state)
{
	(void)state;
	char mem[1000], src[1000], out[1000];
	struct blk_sg sg;
	make_list(&sg, mem, 13, 500, 487);
	pattern_fill(src, sizeof src, 1);
	for (size_t at = 0; at < 520; at += 7) {
		memset(mem, 0, sizeof mem);
		blk_sg_copy_in(&sg, at, src, 480);
		assert_memory_equal(mem + at, src, 480);
		blk_sg_copy_out(&sg, at + 1, out, 479);
		assert_memory_equal(out, src + 1, 479);
		blk_sg_fill(&sg, at, 9, 480);
		assert_int_equal(mem[at], 9);
		assert_int_equal(mem[at + 479], 9);
		assert_int_equal(mem[at + 480], 0);
	}
	blk_sg_copy_in(&sg, 1000, src, 0); /* nothing, at the very end */
}

static void
compare_finds_the_first_difference(void **state)
{
	(void)state;
	char a[1000], b[1100];
	struct blk_sg la, lb;
	pattern_fill(a, sizeof a, 1);
	memcpy(b + 100, a, sizeof a);
	make_list(&la, a, 10, 400, 590);
	make_list(&lb, b, 300, 1, 799);
	assert_true(blk_sg_compare(&la, 0, &lb, 100, 1000) == UINT64_MAX);
	for (unsigned at = 0; at < 1000; at += 37) {
		b[100 + at] ^= 1;
		assert_int_equal(blk_sg_compare(&la, 0, &lb, 100, 1000), at);
		assert_true(blk_sg_compare(&la, 0, &lb, 100, at) == UINT64_MAX);
		if (at >= 5 && at < 995)
			assert_int_equal(blk_sg_compare(&la, 5, &lb, 105, 990), at - 5);
		b[100 + at] ^= 1;
	}
}

static void
plain_memory_takes_one_run_per_mib(void **state)
{
	(void)state;
	run(one_run_per_mib);
}

static void
plain_memory_falls_back_to_frames_all_or_nothing(void **state)
{
	(void)state;
	run(a_fragmented_pool_gives_frames);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(plain_memory_takes_one_run_per_mib),
	    cmocka_unit_test(plain_memory_falls_back_to_frames_all_or_nothing),
	    cmocka_unit_test(copies_cross_segments),
	    cmocka_unit_test(compare_finds_the_first_difference),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
