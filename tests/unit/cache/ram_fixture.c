/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/cache/ram_fixture.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "store/fault.h"

struct call {
	struct ram_fixture *f;
	struct blk *lower;
	struct ram_volume *v;
	struct ram_volume_cfg cfg;
	uint64_t size_bytes;
	int done; /* atomic */
	int *ret_done;
};

static void
finished(void *ctx, int result)
{
	struct call *c = ctx;
	__atomic_store_n(
	    c->ret_done != NULL ? c->ret_done : &c->done, 1 - result, __ATOMIC_RELEASE);
	if (c->ret_done != NULL)
		free(c);
}

static int
wait_done(struct ram_fixture *f, struct call *c)
{
	int d = 0;
	for (unsigned i = 0; i < 20000 && d == 0; i++) {
		world_pass(f->w, 1000000);
		d = __atomic_load_n(&c->done, __ATOMIC_ACQUIRE);
	}
	assert_int_not_equal(d, 0);
	return 1 - d;
}

static void
open_run(void *ctx)
{
	struct call *c = ctx;
	assert_int_equal(ram_volume_open(c->f->t, c->lower, &c->cfg, &c->v), 0);
}

struct ram_volume *
ram_open_volume(struct ram_fixture *f, struct blk *lower)
{
	struct call c = {.f = f, .lower = lower, .cfg = {.enabled = true}};
	world_call(f->w, 0, open_run, &c);
	return c.v;
}

static void
close_run(void *ctx)
{
	struct call *c = ctx;
	ram_volume_close(c->v, finished, c);
	assert_int_equal(c->done, 0);
}

void
ram_close_volume(struct ram_fixture *f, struct ram_volume *v)
{
	struct call c = {.f = f, .v = v};
	world_call(f->w, 0, close_run, &c);
	assert_int_equal(wait_done(f, &c), 0);
}

static void
create_run(void *ctx)
{
	struct call *c = ctx;
	struct world *w = c->f->w;
	struct ram_tier_args args = {.loops = w->loops,
	    .loop_count = w->loop_count,
	    .size_bytes = c->size_bytes * w->loop_count,
	    .size_max_bytes = 64u << 20,
	    .frames_min = 1};
	assert_int_equal(ram_tier_create(&args, &c->f->t), 0);
}

void
ram_setup(struct ram_fixture *f, struct world *w, uint32_t frames, const char *spec)
{
	struct call c = {.f = f, .size_bytes = (uint64_t)frames * RAM_COST_BYTES};
	*f = (struct ram_fixture){.w = w};
	f->lower = world_open(w, spec != NULL ? spec : "fault:7::ram:", RAM_LOWER_BYTES, 0, 512);
	world_call(w, 0, create_run, &c);
	f->v = ram_open_volume(f, f->lower);
	f->b = ram_volume_blk(f->v);
}

static void
destroy_run(void *ctx)
{
	ram_tier_destroy(ctx);
}

void
ram_teardown(struct ram_fixture *f)
{
	ram_close_volume(f, f->v);
	world_close(f->w, f->lower);
	world_call(f->w, 0, destroy_run, f->t);
	world_destroy(f->w);
}

static void
set_run(void *ctx)
{
	struct call *c = ctx;
	ram_volume_set(c->f->v, &c->cfg);
}

void
ram_set(struct ram_fixture *f, bool enabled, uint32_t ahead_bytes, uint64_t cutoff_bytes)
{
	struct call c = {.f = f,
	    .cfg = {.enabled = enabled, .ahead_bytes = ahead_bytes, .cutoff_bytes = cutoff_bytes}};
	world_call(f->w, 0, set_run, &c);
	world_pass(f->w, 5000000);
}

static void
drop_run(void *ctx)
{
	struct call *c = ctx;
	ram_volume_drop(c->f->v, finished, c);
	assert_int_equal(c->done, 0);
}

void
ram_drop(struct ram_fixture *f)
{
	struct call c = {.f = f};
	world_call(f->w, 0, drop_run, &c);
	assert_int_equal(wait_done(f, &c), 0);
}

static void
resize_run(void *ctx)
{
	struct call *c = ctx;
	ram_tier_resize(c->f->t, c->size_bytes, finished, c);
}

void
ram_resize_start(struct ram_fixture *f, uint32_t frames, int *ret_done)
{
	struct call *c = calloc(1, sizeof *c);
	c->f = f;
	c->size_bytes = (uint64_t)frames * RAM_COST_BYTES * f->w->loop_count;
	c->ret_done = ret_done;
	world_call(f->w, 0, resize_run, c);
}

int
ram_resize(struct ram_fixture *f, uint32_t frames)
{
	struct call c = {
	    .f = f, .size_bytes = (uint64_t)frames * RAM_COST_BYTES * f->w->loop_count};
	world_call(f->w, 0, resize_run, &c);
	return wait_done(f, &c);
}

struct ram_tier_stats
ram_stats(struct ram_fixture *f)
{
	struct ram_tier_stats s;
	ram_tier_get_stats(f->t, &s);
	assert_true(s.frames_used <= s.frames || s.frames_used < UINT32_MAX);
	return s;
}

uint64_t
ram_lower_reads(struct ram_fixture *f)
{
	struct blk_stats s;
	blk_get_stats(f->lower, &s);
	return s.ops[BLK_READ] + s.in_flight;
}
