/* SPDX-License-Identifier: BSD-2-Clause */
/* base/pool.h, base/bufpool.h, base/list.h */
#include "tests/cmocka_all.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bufpool.h"
#include "base/list.h"
#include "base/pool.h"

#define MIB ((size_t)1024 * 1024)

static uint32_t
next_rand(uint64_t *state)
{
	*state = *state * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(*state >> 33);
}

/* True if fn(ctx) ends the process by abort(). */
static bool
aborts(void (*fn)(void *ctx), void *ctx)
{
	fflush(NULL);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		if (!freopen("/dev/null", "w", stderr))
			_exit(2);
		fn(ctx);
		_exit(0);
	}
	int st;
	assert_int_equal(waitpid(pid, &st, 0), pid);
	return WIFSIGNALED(st) && WTERMSIG(st) == SIGABRT;
}

static void
pool_hands_out_each_object_once(void **state)
{
	(void)state;
	struct pool p = {.name = NULL};
	assert_int_equal(pool_init(&p, "t", 100, 50), 0);
	assert_int_equal(p.obj_bytes, 128);
	void *obj[50];
	for (unsigned i = 0; i < 50; i++) {
		obj[i] = pool_get(&p);
		assert_non_null(obj[i]);
		assert_int_equal((uintptr_t)obj[i] % 64, 0);
		memset(obj[i], (int)i, 100);
	}
	assert_null(pool_get(&p));
	assert_int_equal(pool_free_count(&p), 0);
	for (unsigned i = 0; i < 50; i++)
		for (unsigned j = 0; j < 100; j++)
			assert_int_equal(((uint8_t *)obj[i])[j], i);
	for (unsigned i = 0; i < 50; i++)
		pool_put(&p, obj[i]);
	assert_int_equal(pool_free_count(&p), 50);
	pool_fini(&p);
}

static void
pool_reuses_the_object_put_last(void **state)
{
	(void)state;
	struct pool p;
	assert_int_equal(pool_init(&p, "t", 8, 3), 0);
	void *a = pool_get(&p), *b = pool_get(&p);
	pool_put(&p, a);
	assert_ptr_equal(pool_get(&p), a);
	pool_put(&p, NULL);
	pool_put(&p, b);
	pool_put(&p, a);
	pool_fini(&p);
	pool_fini(&p);
}

static void
pool_too_large_is_enomem(void **state)
{
	(void)state;
	struct pool p = {.name = NULL};
	assert_int_equal(pool_init(&p, "t", SIZE_MAX / 2, UINT32_MAX), -ENOMEM);
	assert_int_equal(pool_init(&p, "t", SIZE_MAX - 3, 1), -ENOMEM);
	pool_fini(&p);
}

static void
fini_with_used(void *ctx)
{
	pool_fini(ctx);
}

static void
pool_fini_asserts_that_all_are_back(void **state)
{
	(void)state;
	struct pool p;
	assert_int_equal(pool_init(&p, "t", 8, 3), 0);
	void *a = pool_get(&p);
	assert_true(aborts(fini_with_used, &p));
	pool_put(&p, a);
	pool_fini(&p);
}

static void
bufpool_rounds_to_powers_of_two_of_frames(void **state)
{
	(void)state;
	assert_int_equal(bufpool_cost_bytes(1), 4096);
	assert_int_equal(bufpool_cost_bytes(4096), 4096);
	assert_int_equal(bufpool_cost_bytes(4097), 8192);
	assert_int_equal(bufpool_cost_bytes(12288), 16384);
	assert_int_equal(bufpool_cost_bytes(MIB / 2 + 1), MIB);
	assert_int_equal(bufpool_cost_bytes(MIB), MIB);
}

static void
bufpool_gives_all_of_its_memory(void **state)
{
	(void)state;
	struct bufpool *bp;
	assert_int_equal(bufpool_create(3 * MIB + 1, &bp), 0);
	assert_int_equal(bufpool_total_bytes(bp), 4 * MIB);
	void *buf[1024];
	for (unsigned i = 0; i < 1024; i++) {
		buf[i] = bufpool_get(bp, 4096);
		assert_non_null(buf[i]);
		assert_true(bufpool_owns(bp, buf[i]));
		assert_int_equal((uintptr_t)buf[i] % 4096, 0);
		memset(buf[i], (int)(i & 0xff), 4096);
	}
	assert_int_equal(bufpool_free_bytes(bp), 0);
	assert_null(bufpool_get(bp, 1));
	for (unsigned i = 0; i < 1024; i++)
		assert_int_equal(((uint8_t *)buf[i])[4095], i & 0xff);
	/* Put back in another order, it merges into whole blocks again. */
	for (unsigned i = 0; i < 1024; i++)
		bufpool_put(bp, buf[(i * 389u) % 1024], 4096);
	for (unsigned i = 0; i < 4; i++) {
		buf[i] = bufpool_get(bp, MIB);
		assert_non_null(buf[i]);
	}
	for (unsigned i = 0; i < 4; i++)
		bufpool_put(bp, buf[i], MIB);
	bufpool_destroy(bp);
}

static void
bufpool_does_not_own_what_is_outside(void **state)
{
	(void)state;
	struct bufpool *bp;
	assert_int_equal(bufpool_create(MIB, &bp), 0);
	char *buf = bufpool_get(bp, MIB);
	assert_true(bufpool_owns(bp, buf + MIB - 1));
	assert_false(bufpool_owns(bp, buf + MIB));
	assert_false(bufpool_owns(bp, buf - 1));
	assert_false(bufpool_owns(bp, &bp));
	bufpool_put(bp, buf, MIB);
	bufpool_destroy(bp);
	bufpool_destroy(NULL);
}

struct held {
	uint8_t *buf;
	size_t len;
	uint8_t stamp;
};

/* Random gets and puts; every buffer keeps its bytes. Returns a hash of the addresses given. */
static uint64_t
churn(uint64_t seed)
{
	struct bufpool *bp;
	assert_int_equal(bufpool_create(8 * MIB, &bp), 0);
	struct held held[64] = {{.buf = NULL}};
	uint8_t *base = bufpool_get(bp, MIB);
	bufpool_put(bp, base, MIB);
	uint64_t hash = 1469598103934665603ull;
	for (unsigned i = 0; i < 20000; i++) {
		struct held *h = &held[next_rand(&seed) % 64];
		if (h->buf) {
			assert_int_equal(h->buf[0], h->stamp);
			assert_int_equal(h->buf[h->len - 1], h->stamp);
			bufpool_put(bp, h->buf, h->len);
			h->buf = NULL;
			continue;
		}
		h->len = 1 + next_rand(&seed) % (4096u << (next_rand(&seed) % 9));
		h->buf = bufpool_get(bp, h->len);
		hash = (hash ^ (h->buf ? (uint64_t)(h->buf - base) : 1)) * 1099511628211ull;
		if (!h->buf)
			continue;
		h->stamp = (uint8_t)i;
		h->buf[0] = h->buf[h->len - 1] = h->stamp;
	}
	for (unsigned i = 0; i < 64; i++)
		if (held[i].buf)
			bufpool_put(bp, held[i].buf, held[i].len);
	assert_int_equal(bufpool_free_bytes(bp), 8 * MIB);
	bufpool_destroy(bp);
	return hash;
}

static void
bufpool_keeps_buffers_apart_under_churn(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 5; seed++)
		churn(seed);
}

static void
bufpool_is_deterministic(void **state)
{
	(void)state;
	assert_true(churn(42) == churn(42));
	assert_true(churn(42) != churn(43));
}

struct put_twice {
	struct bufpool *bp;
	void *buf;
};

static void
put_twice(void *ctx)
{
	struct put_twice *t = ctx;
	bufpool_put(t->bp, t->buf, 8192);
}

static void
bufpool_put_twice_asserts(void **state)
{
	(void)state;
	struct put_twice t;
	assert_int_equal(bufpool_create(MIB, &t.bp), 0);
	t.buf = bufpool_get(t.bp, 8192);
	bufpool_put(t.bp, t.buf, 8192);
	assert_true(aborts(put_twice, &t));
	bufpool_destroy(t.bp);
}

static void
bufpool_untouched_memory_costs_nothing(void **state)
{
	(void)state;
	struct bufpool *bp;
	assert_int_equal(bufpool_create(64 * MIB, &bp), 0);
	char *buf = bufpool_get(bp, MIB);
	unsigned char resident[256];
	assert_int_equal(mincore(buf, MIB, resident), 0);
	for (unsigned i = 0; i < 256; i++)
		assert_int_equal(resident[i] & 1, 0);
	bufpool_put(bp, buf, MIB);
	bufpool_destroy(bp);
}

struct item {
	struct list link;
	int n;
};

static void
list_keeps_order_and_splices(void **state)
{
	(void)state;
	struct list a = LIST_INIT(a), b = LIST_INIT(b);
	struct item it[6];
	for (int i = 0; i < 6; i++) {
		it[i].n = i;
		list_push_back(i < 3 ? &a : &b, &it[i].link);
	}
	list_splice_back(&a, &b);
	assert_true(list_empty(&b));
	list_splice_back(&a, &b);
	list_remove(&it[2].link);
	list_remove(&it[2].link);
	list_push_front(&a, &it[2].link);
	static const int want[] = {2, 0, 1, 3, 4, 5};
	int at = 0;
	LIST_FOREACH_SAFE (pos, &a) {
		assert_int_equal(container_of(pos, struct item, link)->n, want[at++]);
		list_remove(pos);
	}
	assert_int_equal(at, 6);
	assert_null(list_pop_front(&a));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(pool_hands_out_each_object_once),
	    cmocka_unit_test(pool_reuses_the_object_put_last),
	    cmocka_unit_test(pool_too_large_is_enomem),
	    cmocka_unit_test(pool_fini_asserts_that_all_are_back),
	    cmocka_unit_test(bufpool_rounds_to_powers_of_two_of_frames),
	    cmocka_unit_test(bufpool_gives_all_of_its_memory),
	    cmocka_unit_test(bufpool_does_not_own_what_is_outside),
	    cmocka_unit_test(bufpool_keeps_buffers_apart_under_churn),
	    cmocka_unit_test(bufpool_is_deterministic),
	    cmocka_unit_test(bufpool_put_twice_asserts),
	    cmocka_unit_test(bufpool_untouched_memory_costs_nothing),
	    cmocka_unit_test(list_keeps_order_and_splices),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
