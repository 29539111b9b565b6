/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The cache on real loops over real stores, used from two loops at once: what the simulation, whose drives
 * are its own, doesn't see. Crashes are the simulation's.
 */
#include "tests/unit/store/harness.h"

#include <errno.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "cache/cache.h"

#define SSD_BYTES (48u << 20)
#define STORE_BYTES (24u << 20)
#define IO_MAX (300u * 1024)
#define ROUNDS 400u

static struct world *w;
static struct blk *ssd, *store;
static struct cache *cache;
static struct cache_volume *vol, *open_vol;
static const char *identity;
static struct cache_marker marker;
static sem_t done;
static int last;
static uint8_t *model;

/* ---- calls that end later ---------------------------------------------------------------------- */

static void
ended(void *ctx, int result)
{
	(void)ctx;
	last = result;
	sem_post(&done);
}

static int
wait_ended(void)
{
	while (sem_wait(&done) < 0)
		;
	return last;
}

static int
call(void (*fn)(void *ctx))
{
	world_call(w, 0, fn, NULL);
	return wait_ended();
}

static void
do_format(void *ctx)
{
	struct cache_format_args a = {.uuid = {7}, .volumes_max = 10};
	a.force = ctx != NULL;
	cache_format(ssd, &a, ended, NULL);
}

static void
on_attached(void *ctx, int result, struct cache *c, const char *reason)
{
	if (reason != NULL)
		fprintf(stderr, "%s\n", reason);
	cache = c;
	ended(ctx, result);
}

static void
do_attach(void *ctx)
{
	struct cache_args a = {.ssd = ssd, .loops = w->loops, .loop_count = w->loop_count};
	(void)ctx;
	cache_tuning_default(&a.tuning);
	a.tuning.buf_bytes = 4u << 20;
	a.tuning.destage_idle_ms = 1;
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
	if (v != NULL)
		open_vol = v;
	ended(ctx, result);
}

static void
do_open(void *ctx)
{
	struct cache_volume_args a = {
	    .uuid = {1}, .name = "lun", .store = store, .marker = &marker_ops};
	a.store_identity = identity;
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
do_close_first(void *ctx)
{
	(void)ctx;
	cache_volume_close(open_vol, ended, NULL);
}

static void
do_flush(void *ctx)
{
	(void)ctx;
	cache_volume_flush(vol, ended, NULL);
}

static void
do_remove(void *ctx)
{
	(void)ctx;
	cache_volume_remove(vol, false, ended, NULL);
}

static void
do_detach(void *ctx)
{
	(void)ctx;
	cache_detach(cache, ended, NULL);
}

/* ---- I/O ----------------------------------------------------------------------------------------- */

struct request {
	struct blk *b;
	struct blk_io io;
	struct blk_sg sg;
	uint8_t *mem;
};

static void
io_done(struct blk_io *io)
{
	struct request *r = container_of(io, struct request, io);
	if (io->op == BLK_READ && io->result == 0)
		blk_sg_copy_out(&r->sg, 0, r->mem, io->len_bytes);
	blk_sg_put(&r->sg);
	ended(NULL, io->result);
}

static void
io_start(void *ctx)
{
	struct request *r = ctx;
	blk_sg_init(&r->sg);
	if (r->io.op == BLK_READ || r->io.op == BLK_WRITE) {
		int err = blk_sg_get(r->b, &r->sg, r->io.op, r->io.offset_bytes, r->io.len_bytes);
		assert_int_equal(err, 0);
	}
	if (r->io.op == BLK_WRITE)
		blk_sg_copy_in(&r->sg, 0, r->mem, r->io.len_bytes);
	r->io.sg = &r->sg;
	r->io.done = io_done;
	blk_submit(r->b, &r->io);
}

static int
io(struct blk *b, unsigned loop, enum blk_op op, uint64_t at, uint64_t len, uint8_t *mem)
{
	struct request r = {.b = b, .mem = mem};
	r.io.op = op;
	r.io.offset_bytes = at;
	r.io.len_bytes = len;
	world_call(w, loop, io_start, &r);
	return wait_ended();
}

static void
verify(struct blk *b)
{
	static uint8_t mem[1u << 20];
	for (uint64_t at = 0; at < STORE_BYTES; at += sizeof mem) {
		assert_int_equal(io(b, 1, BLK_READ, at, sizeof mem, mem), 0);
		assert_memory_equal(mem, model + at, sizeof mem);
	}
}

static void
random_io(uint64_t seed)
{
	static uint8_t mem[IO_MAX];
	uint64_t x = seed;
	for (unsigned i = 0; i < ROUNDS; i++) {
		x = x * 6364136223846793005ull + 1442695040888963407ull;
		uint64_t len = 512 * (1 + (x >> 20) % (IO_MAX / 512));
		uint64_t at = 512 * ((x >> 40) % ((STORE_BYTES - len) / 512 + 1));
		unsigned kind = (unsigned)(x >> 60), loop = (unsigned)(x >> 59) & 1;
		struct blk *b = cache_volume_blk(vol);
		if (kind < 8) {
			memset(mem, (int)(i + 1), len);
			memset(model + at, (int)(i + 1), len);
			assert_int_equal(io(b, loop, BLK_WRITE, at, len, mem), 0);
		} else if (kind < 10) {
			memset(model + at, 0, len);
			assert_int_equal(io(b, loop, BLK_WRITE_ZEROES, at, len, NULL), 0);
		} else {
			assert_int_equal(io(b, loop, BLK_READ, at, len, mem), 0);
			assert_memory_equal(mem, model + at, len);
		}
	}
}

static void
story(const char *ssd_spec)
{
	char reason[256] = "";
	memset(&marker, 0, sizeof marker);
	sem_init(&done, 0, 0);
	model = calloc(1, STORE_BYTES);
	assert_non_null(model);
	w = world_real(2, false);
	struct blk_open_args a = {.spec = ssd_spec,
	    .size_bytes = SSD_BYTES,
	    .flags = BLK_OPEN_CREATE | BLK_OPEN_UNSAFE_FS};
	assert_int_equal(world_open_reason(w, &a, &ssd, reason), 0);
	store = world_open(w, "ram:", STORE_BYTES, 0, 512);
	assert_int_equal(call(do_attach), -EMEDIUMTYPE);
	assert_int_equal(call(do_format), 0);
	assert_int_equal(call(do_format), -EEXIST);
	for (unsigned life = 0; life < 3; life++) {
		assert_int_equal(call(do_attach), 0);
		assert_int_equal(call(do_open), 0);
		assert_true(marker.present);
		verify(cache_volume_blk(vol));
		random_io(life + 1);
		if (life == 1) {
			assert_int_equal(call(do_flush), 0);
			verify(store);
		}
		verify(cache_volume_blk(vol));
		if (life == 2) {
			assert_int_equal(call(do_remove), 0);
			assert_false(marker.present);
			verify(store);
		} else {
			assert_int_equal(call(do_close), 0);
		}
		assert_int_equal(call(do_detach), 0);
	}
	world_close(w, store);
	world_close(w, ssd);
	world_destroy(w);
	free(model);
	sem_destroy(&done);
}

static void
over_memory(void **state)
{
	(void)state;
	story("ram:");
}

static void
over_a_file(void **state)
{
	char path[] = "/tmp/terrace-cache-XXXXXX", spec[64];
	(void)state;
	int fd = mkstemp(path);
	assert_true(fd >= 0);
	close(fd);
	unlink(path);
	snprintf(spec, sizeof spec, "file:%s", path);
	story(spec);
	unlink(path);
}

/* ---- what doesn't fit is refused [15] ---------------------------------------------------------- */

static void
begin(void)
{
	memset(&marker, 0, sizeof marker);
	sem_init(&done, 0, 0);
	w = world_real(2, false);
	ssd = world_open(w, "ram:", SSD_BYTES, 0, 512);
	store = world_open(w, "ram:", STORE_BYTES, 0, 512);
	assert_int_equal(call(do_format), 0);
	assert_int_equal(call(do_attach), 0);
}

static void
end(void)
{
	assert_int_equal(call(do_detach), 0);
	world_close(w, store);
	world_close(w, ssd);
	world_destroy(w);
	sem_destroy(&done);
}

static void
stores_of_another_time_are_refused(void **state)
{
	(void)state;
	begin();
	/* Of another cache. */
	marker = (struct cache_marker){.present = true, .cache_uuid = {8}, .volume = 1};
	assert_int_equal(call(do_open), -EBUSY);
	assert_null(vol);
	/* Of a volume that this SSD doesn't have yet: the SSD is an old copy. */
	marker = (struct cache_marker){.present = true, .cache_uuid = {7}, .volume = 200};
	assert_int_equal(call(do_open), -ESTALE);
	marker.present = false;
	assert_int_equal(call(do_open), 0);
	struct cache_marker now = marker;
	assert_true(now.present && now.cache_uuid[0] == 7 && now.volume > 0);
	assert_int_equal(call(do_open), -EBUSY); /* twice */
	assert_null(vol);
	assert_int_equal(call(do_close_first), 0);
	/* Another generation, and none. */
	marker.generation = now.generation - 1;
	assert_int_equal(call(do_open), -ESTALE);
	marker.generation = now.generation + 1;
	assert_int_equal(call(do_open), -ESTALE);
	marker.present = false;
	assert_int_equal(call(do_open), -ESTALE);
	marker = now;
	assert_int_equal(call(do_open), 0);
	assert_int_equal(marker.generation, now.generation + 1);
	assert_int_equal(call(do_close), 0);
	end();
}

static void
stores_that_are_not_the_volumes_are_refused(void **state)
{
	struct blk *other, *right;
	(void)state;
	begin();
	identity = "one";
	assert_int_equal(call(do_open), 0);
	assert_int_equal(call(do_close), 0);
	identity = "two";
	assert_int_equal(call(do_open), -ENXIO);
	identity = "one";
	right = store;
	other = world_open(w, "ram:", STORE_BYTES / 2, 0, 512);
	store = other;
	assert_int_equal(call(do_open), -EINVAL);
	world_close(w, other);
	/* One that has grown is taken, and keeps what it had. */
	other = world_open(w, "ram:", STORE_BYTES * 2, 0, 512);
	store = other;
	assert_int_equal(call(do_open), 0);
	assert_int_equal(blk_get_info(cache_volume_blk(vol))->size_bytes, STORE_BYTES * 2);
	assert_int_equal(call(do_close), 0);
	store = right;
	assert_int_equal(call(do_open), -EINVAL);
	world_close(w, other);
	identity = NULL;
	end();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(stores_of_another_time_are_refused),
	    cmocka_unit_test(stores_that_are_not_the_volumes_are_refused),
	    cmocka_unit_test(over_memory),
	    cmocka_unit_test(over_a_file),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
