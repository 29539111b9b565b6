/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Tests of stores: a world of loops, simulated from a seed or real threads, driven from the test's
 * own thread by synchronous calls.
 */
#ifndef TESTS_STORE_HARNESS_H
#define TESTS_STORE_HARNESS_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <semaphore.h>

#include "loop/loop.h"
#include "store/blk.h"

struct world {
	struct loop_sim *sim; /* NULL: real loops */
	struct loop *loops[LOOP_COUNT_MAX];
	unsigned loop_count;
};

struct world *world_sim(uint64_t seed, unsigned loops, size_t buf_bytes);
struct world *world_real(unsigned loops, bool force_epoll);
void world_destroy(struct world *w);

/* Runs fn on a loop and waits for its return. */
void world_call(struct world *w, unsigned loop, void (*fn)(void *ctx), void *ctx);
/* Lets `ns` of the world's time pass. */
void world_pass(struct world *w, uint64_t ns);

/* Opens on the home loop; the reason goes to `reason` (256 bytes) when that isn't NULL. */
int world_open_reason(
    struct world *w, const struct blk_open_args *args, struct blk **ret, char *reason);
/* The same, which has to work. */
struct blk *world_open(
    struct world *w, const char *spec, uint64_t size_bytes, uint32_t flags, uint32_t block_bytes);
void world_close(struct world *w, struct blk *b);

/* One io, from blk_sg_get() to done; the list stays until req_put(). */
struct req {
	struct world *w;
	unsigned loop;
	struct blk *b;
	struct blk_io io;
	struct blk_sg sg;
	struct loop_bufwait wait;
	struct loop_msg msg;
	const void *src; /* WRITE */
	void *foreign;   /* WRITE: submit this memory, not the driver's */
	struct iovec foreign_iov[2];
	bool no_submit; /* stop after the get */
	bool done;
	sem_t sem;
	void (*on_done)(struct req *r); /* on the loop; may be NULL */
};
struct req *req_new(struct world *w, unsigned loop, struct blk *b, enum blk_op op, uint32_t flags,
    uint64_t offset_bytes, uint64_t len_bytes, const void *src);
void req_start(struct req *r);
int req_wait(struct req *r);
bool req_is_done(struct req *r);
void req_copy_out(struct req *r, void *dst);
void req_put(struct req *r); /* puts the list and frees the request */

/* The three in one. */
int io_write(struct world *w, unsigned loop, struct blk *b, uint32_t flags, uint64_t offset_bytes,
    uint64_t len_bytes, const void *src);
int io_read(struct world *w, unsigned loop, struct blk *b, uint64_t offset_bytes,
    uint64_t len_bytes, void *dst);
int io_range(struct world *w, unsigned loop, struct blk *b, enum blk_op op, uint32_t flags,
    uint64_t offset_bytes, uint64_t len_bytes);
int io_extents(struct world *w, unsigned loop, struct blk *b, uint64_t offset_bytes,
    uint64_t len_bytes, struct blk_extent *ext, uint32_t cap, uint32_t *ret_count);

/* Bytes that differ at every offset and by seed. */
void pattern_fill(void *buf, size_t len, uint64_t seed);
uint64_t test_rand(uint64_t *state);

/* A directory of the test's own under /tmp; removed with all in it by test_dir_remove(). */
const char *test_dir(void);
void test_dir_remove(void);

#endif
