/* SPDX-License-Identifier: BSD-2-Clause */
#include "harness.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/list.h"

/* ---- worlds ------------------------------------------------------------------------------ */

struct world *
world_sim(uint64_t seed, unsigned loops, size_t buf_bytes)
{
	struct world *w = calloc(1, sizeof *w);
	struct loop_sim_cfg cfg = {
	    .seed = seed, .loops = loops, .buf_bytes = buf_bytes, .op_delay_us_max = 200};
	assert_int_equal(loop_sim_create(&cfg, &w->sim), 0);
	w->loop_count = loops;
	for (unsigned i = 0; i < loops; i++)
		w->loops[i] = loop_sim_loop(w->sim, i);
	return w;
}

struct world *
world_real(unsigned loops, bool force_epoll)
{
	struct world *w = calloc(1, sizeof *w);
	w->loop_count = loops;
	for (unsigned i = 0; i < loops; i++) {
		struct loop_cfg cfg;
		loop_cfg_default(&cfg);
		cfg.id = i;
		cfg.force_epoll = force_epoll;
		assert_int_equal(loop_create(&cfg, &w->loops[i]), 0);
	}
	for (unsigned i = 0; i < loops; i++)
		assert_int_equal(loop_start_thread(w->loops[i]), 0);
	return w;
}

struct call {
	struct loop_msg msg;
	void (*fn)(void *ctx);
	void *ctx;
	sem_t sem;
};

static void
call_run(struct loop_msg *m)
{
	struct call *c = container_of(m, struct call, msg);
	c->fn(c->ctx);
	sem_post(&c->sem);
}

void
world_call(struct world *w, unsigned loop, void (*fn)(void *ctx), void *ctx)
{
	if (w->sim != NULL) {
		loop_sim_call(w->loops[loop], fn, ctx);
		return;
	}
	struct call c = {.msg = {.run = call_run}, .fn = fn, .ctx = ctx};
	sem_init(&c.sem, 0, 0);
	loop_send(w->loops[loop], &c.msg);
	while (sem_wait(&c.sem) < 0)
		;
	sem_destroy(&c.sem);
}

void
world_pass(struct world *w, uint64_t ns)
{
	if (w->sim != NULL) {
		loop_sim_run(w->sim, loop_sim_now_ns(w->sim) + ns, 10000000);
		return;
	}
	struct timespec ts = {(time_t)(ns / 1000000000), (long)(ns % 1000000000)};
	nanosleep(&ts, NULL);
}

static void
nothing(void *ctx)
{
	(void)ctx;
}

void
world_destroy(struct world *w)
{
	if (w->sim != NULL) {
		world_pass(w, 5000000000ull);
		loop_sim_destroy(w->sim);
		free(w);
		return;
	}
	/* What was put or closed last still travels: two rounds over all loops. */
	for (unsigned i = 0; i < 4 * w->loop_count; i++)
		world_call(w, i % w->loop_count, nothing, NULL);
	for (unsigned i = 0; i < w->loop_count; i++) {
		loop_stop(w->loops[i]);
		loop_join(w->loops[i]);
	}
	for (unsigned i = 0; i < w->loop_count; i++)
		loop_destroy(w->loops[i]);
	free(w);
}

/* ---- open and close ---------------------------------------------------------------------- */

struct open_call {
	struct blk_open_args args;
	struct blk *b;
	char *reason;
	int err;
};

static void
open_run(void *ctx)
{
	struct open_call *c = ctx;
	c->err = blk_open(&c->args, &c->b, c->reason, 256);
}

int
world_open_reason(struct world *w, const struct blk_open_args *args, struct blk **ret, char *reason)
{
	char own[256];
	struct open_call c = {.args = *args, .reason = reason != NULL ? reason : own};
	c.args.loops = w->loops;
	c.args.loop_count = w->loop_count;
	world_call(w, 0, open_run, &c);
	if (c.err == 0) {
		*ret = c.b;
		assert_string_equal(c.reason, "");
	} else {
		assert_true(strlen(c.reason) > 10);
		if (reason == NULL)
			print_message("%s\n", own);
	}
	return c.err;
}

struct blk *
world_open(
    struct world *w, const char *spec, uint64_t size_bytes, uint32_t flags, uint32_t block_bytes)
{
	struct blk_open_args args = {
	    .spec = spec, .size_bytes = size_bytes, .flags = flags, .block_bytes = block_bytes};
	struct blk *b = NULL;
	assert_int_equal(world_open_reason(w, &args, &b, NULL), 0);
	return b;
}

static void
close_run(void *ctx)
{
	blk_close(ctx);
}

void
world_close(struct world *w, struct blk *b)
{
	world_call(w, 0, close_run, b);
}

/* ---- requests ---------------------------------------------------------------------------- */

static void
io_done(struct blk_io *io)
{
	struct req *r = container_of(io, struct req, io);
	assert_false(r->done);
	assert_ptr_equal(loop_current(), r->w->loops[r->loop]);
	r->done = true;
	if (r->on_done != NULL)
		r->on_done(r);
	sem_post(&r->sem);
}

static void
req_go(struct req *r)
{
	bool data = r->io.op == BLK_READ || r->io.op == BLK_WRITE;
	if (data && r->foreign != NULL) {
		r->sg.iov = r->foreign_iov;
		r->sg.iovcnt = r->foreign_iov[1].iov_len > 0 ? 2 : 1;
		r->sg.len_bytes = r->io.len_bytes;
	} else if (data && r->sg.loop == NULL) {
		int err = blk_sg_get(r->b, &r->sg, r->io.op, r->io.offset_bytes, r->io.len_bytes);
		if (err == -ENOBUFS) {
			loop_bufwait_queue(loop_current(), &r->wait);
			return;
		}
		assert_int_equal(err, 0);
		if (r->io.op == BLK_WRITE)
			blk_sg_copy_in(&r->sg, 0, r->src, r->io.len_bytes);
	}
	r->io.sg = &r->sg;
	if (r->no_submit) {
		r->no_submit = false;
		sem_post(&r->sem);
		return;
	}
	blk_submit(r->b, &r->io);
	assert_false(r->done);
}

static void
req_retry(struct loop_bufwait *bw)
{
	req_go(container_of(bw, struct req, wait));
}

static void
req_arrived(struct loop_msg *m)
{
	req_go(container_of(m, struct req, msg));
}

static void
req_go_ctx(void *ctx)
{
	req_go(ctx);
}

struct req *
req_new(struct world *w, unsigned loop, struct blk *b, enum blk_op op, uint32_t flags,
    uint64_t offset_bytes, uint64_t len_bytes, const void *src)
{
	struct req *r = calloc(1, sizeof *r);
	r->w = w;
	r->loop = loop;
	r->b = b;
	r->src = src;
	r->io = (struct blk_io){.op = op,
	    .flags = flags,
	    .offset_bytes = offset_bytes,
	    .len_bytes = len_bytes,
	    .done = io_done};
	blk_sg_init(&r->sg);
	loop_bufwait_init(&r->wait, req_retry);
	sem_init(&r->sem, 0, 0);
	return r;
}

void
req_start(struct req *r)
{
	if (r->w->sim != NULL) {
		loop_sim_call(r->w->loops[r->loop], req_go_ctx, r);
		return;
	}
	r->msg.run = req_arrived;
	loop_send(r->w->loops[r->loop], &r->msg);
}

int
req_wait(struct req *r)
{
	if (r->w->sim != NULL) {
		while (sem_trywait(&r->sem) < 0)
			assert_true(loop_sim_step(r->w->sim));
	} else {
		struct timespec ts;
		clock_gettime(CLOCK_REALTIME, &ts);
		ts.tv_sec += 20;
		while (sem_timedwait(&r->sem, &ts) < 0)
			assert_int_not_equal(errno, ETIMEDOUT);
	}
	return r->io.result;
}

bool
req_is_done(struct req *r)
{
	int v;
	sem_getvalue(&r->sem, &v);
	return v > 0;
}

void
req_copy_out(struct req *r, void *dst)
{
	assert_int_equal(r->sg.len_bytes, r->io.len_bytes);
	blk_sg_copy_out(&r->sg, 0, dst, r->io.len_bytes);
}

static void
put_run(void *ctx)
{
	struct req *r = ctx;
	if (r->foreign == NULL)
		blk_sg_put(&r->sg);
}

void
req_put(struct req *r)
{
	world_call(r->w, r->loop, put_run, r);
	sem_destroy(&r->sem);
	free(r);
}

int
io_write(struct world *w, unsigned loop, struct blk *b, uint32_t flags, uint64_t offset_bytes,
    uint64_t len_bytes, const void *src)
{
	struct req *r = req_new(w, loop, b, BLK_WRITE, flags, offset_bytes, len_bytes, src);
	req_start(r);
	int err = req_wait(r);
	req_put(r);
	return err;
}

int
io_read(struct world *w, unsigned loop, struct blk *b, uint64_t offset_bytes, uint64_t len_bytes,
    void *dst)
{
	struct req *r = req_new(w, loop, b, BLK_READ, 0, offset_bytes, len_bytes, NULL);
	req_start(r);
	int err = req_wait(r);
	if (err == 0)
		req_copy_out(r, dst);
	req_put(r);
	return err;
}

int
io_range(struct world *w, unsigned loop, struct blk *b, enum blk_op op, uint32_t flags,
    uint64_t offset_bytes, uint64_t len_bytes)
{
	struct req *r = req_new(w, loop, b, op, flags, offset_bytes, len_bytes, NULL);
	req_start(r);
	int err = req_wait(r);
	req_put(r);
	return err;
}

int
io_extents(struct world *w, unsigned loop, struct blk *b, uint64_t offset_bytes, uint64_t len_bytes,
    struct blk_extent *ext, uint32_t cap, uint32_t *ret_count)
{
	struct req *r = req_new(w, loop, b, BLK_EXTENTS, 0, offset_bytes, len_bytes, NULL);
	r->io.extents = ext;
	r->io.extent_cap = cap;
	req_start(r);
	int err = req_wait(r);
	*ret_count = r->io.extent_count;
	req_put(r);
	return err;
}

/* ---- data -------------------------------------------------------------------------------- */

uint64_t
test_rand(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15ull);
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

void
pattern_fill(void *buf, size_t len, uint64_t seed)
{
	char *p = buf;
	while (len > 0) {
		uint64_t v = test_rand(&seed) | 0x0101010101010101ull; /* no byte is zero */
		size_t n = len < sizeof v ? len : sizeof v;
		memcpy(p, &v, n);
		p += n;
		len -= n;
	}
}

static char dir_path[64];

const char *
test_dir(void)
{
	if (dir_path[0] == '\0') {
		strcpy(dir_path, "/tmp/terrace-store-XXXXXX");
		assert_non_null(mkdtemp(dir_path));
	}
	return dir_path;
}

void
test_dir_remove(void)
{
	if (dir_path[0] == '\0')
		return;
	char cmd[128];
	snprintf(cmd, sizeof cmd, "rm -rf %s", dir_path);
	if (system(cmd) != 0)
		print_message("could not remove %s\n", dir_path);
	dir_path[0] = '\0';
}
