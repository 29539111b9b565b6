/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/cache/rig.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "store/blk_driver.h"

/* ---- the device ------------------------------------------------------------------------------------- */

struct device {
	struct blk b; /* first */
	struct rig_device *d;
	char *mem;
	struct list waiting; /* blk_io, in the order they came */
	uint32_t working;
};

struct work {
	struct loop_timer timer;
	struct device *dev;
	struct blk_io *io;
};

static void device_next(struct device *dev);

static void
device_do(struct device *dev, struct blk_io *io)
{
	struct rig_device *d = dev->d;
	switch (io->op) {
	case BLK_READ:
		blk_sg_copy_in(io->sg, 0, dev->mem + io->offset_bytes, io->len_bytes);
		break;
	case BLK_WRITE:
		blk_sg_copy_out(io->sg, 0, dev->mem + io->offset_bytes, io->len_bytes);
		d->writes++;
		d->blocks += io->len_bytes / RIG_BLOCK;
		break;
	case BLK_FLUSH:
		d->flushes++;
		break;
	case BLK_EXTENTS:
		blk_extents_all_mapped(io);
		break;
	default:
		memset(dev->mem + io->offset_bytes, 0, io->len_bytes);
		d->writes++;
	}
}

static void
device_over(struct loop_timer *t)
{
	struct work *k = container_of(t, struct work, timer);
	struct device *dev = k->dev;
	struct blk_io *io = k->io;
	int err = dev->d->err;
	free(k);
	dev->working--;
	dev->d->reads -= io->op == BLK_READ;
	if (err == 0)
		device_do(dev, io);
	device_next(dev);
	blk_complete(io, err);
}

static void
device_next(struct device *dev)
{
	const struct rig_device *d = dev->d;
	while (
	    !d->holds && !list_empty(&dev->waiting) && (d->depth == 0 || dev->working < d->depth)) {
		struct work *k = calloc(1, sizeof *k);
		ASSERT(k != NULL);
		k->io = container_of(list_pop_front(&dev->waiting), struct blk_io, link);
		k->dev = dev;
		dev->working++;
		loop_timer_init(&k->timer, k->io->loop, device_over);
		loop_timer_set(&k->timer, d->op_ns);
	}
}

static void
device_submit(struct blk *b, struct blk_io *io)
{
	struct device *dev = container_of(b, struct device, b);
	struct rig_device *d = dev->d;
	bool changes = io->op != BLK_READ && io->op != BLK_EXTENTS;
	if (changes && d->logged < d->log_cap)
		d->log[d->logged++] = (struct rig_op){io->op, io->offset_bytes, io->len_bytes};
	d->reads += io->op == BLK_READ;
	d->reads_most = d->reads > d->reads_most ? d->reads : d->reads_most;
	list_push_back(&dev->waiting, &io->link);
	device_next(dev);
}

static void
device_close(struct blk *b)
{
	struct device *dev = container_of(b, struct device, b);
	assert_true(list_empty(&dev->waiting) && dev->working == 0);
	blk_fini(b);
	free(dev->mem);
	free(dev);
}

static const struct blk_ops device_ops = {
    .name = "rig",
    .submit = device_submit,
    .close = device_close,
};

static struct blk *
device_open(struct rig *r, struct rig_device *d, const char *name)
{
	struct device *dev = calloc(1, sizeof *dev);
	struct blk_info info = {
	    .driver = "rig",
	    .size_bytes = d->size_bytes,
	    .block_bytes = 512,
	    .physical_bytes = 4096,
	    .optimal_bytes = d->optimal_bytes,
	    .caps = d->is_rotational ? BLK_CAP_ROTATIONAL : 0,
	};
	struct blk_open_args args = {.loops = r->w->loops, .loop_count = r->w->loop_count};
	ASSERT(dev != NULL);
	dev->d = d;
	dev->mem = calloc(1, d->size_bytes);
	list_init(&dev->waiting);
	ASSERT(dev->mem != NULL && blk_init(&dev->b, &device_ops, &info, name, &args) == 0);
	return &dev->b;
}

static void
device_again(void *ctx)
{
	device_next(ctx);
}

void
rig_device_resume(struct rig *r, struct rig_device *d)
{
	d->holds = false;
	for (unsigned i = 0; i < RIG_VOLUMES; i++)
		if (d == &r->store[i])
			world_call(
			    r->w, 0, device_again, container_of(r->store_blk[i], struct device, b));
}

/* ---- calls -------------------------------------------------------------------------------------------- */

/* What a call on the loop needs and answers. */
struct call {
	struct rig *r;
	unsigned vol;
	bool is_done;
	int result;
};

static void
ended(void *ctx, int result)
{
	struct call *k = ctx;
	k->result = result;
	k->is_done = true;
}

static int
call(struct rig *r, unsigned vol, void (*fn)(void *ctx))
{
	struct call k = {.r = r, .vol = vol};
	world_call(r->w, 0, fn, &k);
	for (unsigned i = 0; i < 1000000 && !k.is_done; i++)
		world_pass(r->w, 100000);
	assert_true(k.is_done);
	return k.result;
}

static void
do_format(void *ctx)
{
	struct call *k = ctx;
	struct cache_format_args a = {.uuid = {7}, .segment_blocks = k->r->segment_blocks};
	cache_format(k->r->ssd_blk, &a, ended, k);
}

static void
on_attached(void *ctx, int result, struct cache *c, const char *reason)
{
	struct call *k = ctx;
	(void)reason;
	k->r->cache = c;
	ended(k, result);
}

static void
do_attach(void *ctx)
{
	struct call *k = ctx;
	struct cache_args a = {.ssd = k->r->ssd_blk,
	    .loops = k->r->w->loops,
	    .loop_count = k->r->w->loop_count,
	    .tuning = k->r->tuning};
	cache_attach(&a, on_attached, k);
}

static void
marker_get(
    void *ctx, void (*got)(void *ctx, int result, const struct cache_marker *m), void *got_ctx)
{
	struct rig_marker *m = ctx;
	got(got_ctx, 0, &m->now);
}

static void
marker_set(void *ctx, const struct cache_marker *m, cache_done_fn *set, void *set_ctx)
{
	struct rig_marker *mine = ctx;
	if (mine->err == 0)
		mine->now = *m;
	set(set_ctx, mine->err);
}

static const struct cache_marker_ops marker_ops = {marker_get, marker_set};

static void
on_opened(void *ctx, int result, struct cache_volume *v)
{
	struct call *k = ctx;
	k->r->vol[k->vol] = v;
	ended(k, result);
}

static void
do_open(void *ctx)
{
	struct call *k = ctx;
	struct cache_volume_args a = {
	    .uuid = {(uint8_t)(k->vol + 1)},
	    .name = k->vol == 0 ? "first" : "second",
	    .store = k->r->store_blk[k->vol],
	    .marker = &marker_ops,
	    .marker_ctx = &k->r->marker[k->vol],
	};
	cache_volume_open(k->r->cache, &a, on_opened, k);
}

static void
do_close(void *ctx)
{
	struct call *k = ctx;
	cache_volume_close(k->r->vol[k->vol], ended, k);
}

static void
do_flush(void *ctx)
{
	struct call *k = ctx;
	cache_volume_flush(k->r->vol[k->vol], ended, k);
}

static void
do_detach(void *ctx)
{
	struct call *k = ctx;
	cache_detach(k->r->cache, ended, k);
}

/* ---- the world ------------------------------------------------------------------------------------------ */

void
rig_init(struct rig *r, uint64_t ssd_bytes, uint32_t segment_blocks)
{
	*r = (struct rig){.segment_blocks = segment_blocks};
	r->ssd = (struct rig_device){.size_bytes = ssd_bytes, .op_ns = RIG_MS / 10, .depth = 32};
	cache_tuning_default(&r->tuning);
	r->tuning.buf_bytes = 16 * RIG_MIB;
}

void
rig_begin(struct rig *r)
{
	static const char *const names[RIG_VOLUMES] = {"rig:first", "rig:second"};
	r->w = world_sim(7, 1, 32 * RIG_MIB);
	r->ssd_blk = device_open(r, &r->ssd, "rig:ssd");
	assert_int_equal(call(r, 0, do_format), 0);
	assert_int_equal(call(r, 0, do_attach), 0);
	for (unsigned i = 0; i < RIG_VOLUMES && r->store[i].size_bytes > 0; i++) {
		r->store_blk[i] = device_open(r, &r->store[i], names[i]);
		assert_int_equal(call(r, i, do_open), 0);
	}
}

void
rig_end(struct rig *r)
{
	for (unsigned i = 0; i < RIG_VOLUMES && r->vol[i] != NULL; i++)
		assert_int_equal(call(r, i, do_close), 0);
	assert_int_equal(call(r, 0, do_detach), 0);
	for (unsigned i = 0; i < RIG_VOLUMES && r->vol[i] != NULL; i++)
		world_close(r->w, r->store_blk[i]);
	world_close(r->w, r->ssd_blk);
	world_destroy(r->w);
}

void
rig_run(struct rig *r, uint64_t ns)
{
	uint64_t until = loop_sim_now_ns(r->w->sim) + ns;
	while (loop_sim_now_ns(r->w->sim) < until)
		loop_sim_run(r->w->sim, until, 1000000);
}

int
rig_flush(struct rig *r, unsigned vol)
{
	return call(r, vol, do_flush);
}

int
rig_open(struct rig *r, unsigned vol)
{
	return call(r, vol, do_open);
}

void
rig_close(struct rig *r, unsigned vol)
{
	assert_int_equal(call(r, vol, do_close), 0);
}

void
rig_reopen(struct rig *r, unsigned vol, int err)
{
	rig_close(r, vol);
	r->store[vol].err = err;
	assert_int_equal(rig_open(r, vol), 0);
	r->store[vol].err = 0;
}

struct cache_volume_stats
rig_stats(const struct rig *r, unsigned vol)
{
	struct cache_volume_stats s;
	cache_volume_get_stats(r->vol[vol], &s);
	return s;
}

struct cache_stats
rig_cache_stats(const struct rig *r)
{
	struct cache_stats s;
	cache_get_stats(r->cache, &s);
	return s;
}

double
rig_dirty_percent(const struct rig *r)
{
	struct cache_stats s = rig_cache_stats(r);
	return 100. * (double)s.dirty_bytes / (double)s.dirty_max_bytes;
}

int
rig_write(struct rig *r, unsigned vol, uint64_t block, uint32_t blocks)
{
	static const char mem[64 * RIG_BLOCK];
	assert_true(blocks <= 64);
	return io_write(r->w, 0, cache_volume_blk(r->vol[vol]), 0, block * RIG_BLOCK,
	    (uint64_t)blocks * RIG_BLOCK, mem);
}

/* ---- initiators ------------------------------------------------------------------------------------------ */

struct rig_write {
	struct blk_io io; /* first */
	struct rig_load *l;
	struct blk_sg sg;
	struct loop_timer again; /* after BUSY */
};

static char payload[RIG_BLOCK];

static uint64_t
draw(struct rig_load *l)
{
	if (l->zipf == NULL)
		return test_rand(&l->seed) % l->blocks;
	double at = (double)(test_rand(&l->seed) >> 11) * 0x1p-53;
	uint64_t lo = 0, hi = l->blocks - 1;
	while (lo < hi) {
		uint64_t mid = (lo + hi) / 2;
		if (l->zipf[mid] < at)
			lo = mid + 1;
		else
			hi = mid;
	}
	return l->order[lo];
}

static void
write_next(struct rig_write *k)
{
	struct rig_load *l = k->l;
	if (l->stops || (l->writes_max > 0 && l->begun == l->writes_max)) {
		l->running--;
		return;
	}
	l->begun++;
	blk_sg_borrow(&k->sg, payload, sizeof payload);
	k->io.op = BLK_WRITE;
	k->io.offset_bytes = draw(l) * RIG_BLOCK;
	k->io.len_bytes = RIG_BLOCK;
	k->io.sg = &k->sg;
	blk_submit(cache_volume_blk(l->r->vol[l->vol]), &k->io);
}

static void
write_again(struct loop_timer *t)
{
	write_next(container_of(t, struct rig_write, again));
}

static void
write_done(struct blk_io *io)
{
	struct rig_write *k = container_of(io, struct rig_write, io);
	struct rig_load *l = k->l;
	uint64_t ns = loop_now_ns(io->loop) - io->submit_ns;
	blk_sg_put(&k->sg);
	blk_sg_init(&k->sg);
	if (ns > l->latency_max_ns)
		l->latency_max_ns = ns;
	if (io->result == 0 && l->acked < RIG_LATENCIES)
		l->latency_ns[l->acked] = ns;
	l->acked += io->result == 0;
	l->busy += io->result == -EAGAIN;
	l->errors += io->result < 0 && io->result != -EAGAIN;
	if (io->result == 0) {
		write_next(k);
		return;
	}
	loop_timer_init(&k->again, io->loop, write_again);
	loop_timer_set(&k->again, 100 * RIG_MS);
}

static void
make_zipf(struct rig_load *l)
{
	double sum = 0;
	l->zipf = calloc(l->blocks, sizeof *l->zipf);
	l->order = calloc(l->blocks, sizeof *l->order);
	ASSERT(l->zipf != NULL && l->order != NULL);
	for (uint32_t i = 0; i < l->blocks; i++) {
		sum += 1 / pow(i + 1, l->zipf_theta);
		l->zipf[i] = sum;
		uint32_t j = (uint32_t)(test_rand(&l->seed) % (i + 1));
		l->order[i] = l->order[j];
		l->order[j] = i;
	}
	for (uint32_t i = 0; i < l->blocks; i++)
		l->zipf[i] /= sum;
}

static void
load_go(void *ctx)
{
	struct rig_load *l = ctx;
	for (uint32_t i = 0; i < l->depth; i++) {
		struct rig_write *k = &l->writes[i];
		*k = (struct rig_write){.l = l, .io = {.done = write_done}};
		blk_sg_init(&k->sg);
		l->running++;
		write_next(k);
	}
}

void
rig_load_start(struct rig_load *l)
{
	l->seed = 11 + l->vol;
	l->stops = false;
	l->begun = l->running = 0;
	l->writes = calloc(l->depth, sizeof *l->writes);
	l->latency_ns = calloc(RIG_LATENCIES, sizeof *l->latency_ns);
	ASSERT(l->writes != NULL && l->latency_ns != NULL);
	if (l->zipf_theta > 0)
		make_zipf(l);
	rig_load_reset(l);
	world_call(l->r->w, 0, load_go, l);
}

void
rig_load_wait(struct rig_load *l)
{
	for (unsigned i = 0; i < 10000 && l->running > 0; i++)
		rig_run(l->r, 10 * RIG_MS);
	assert_int_equal(l->running, 0);
}

void
rig_load_stop(struct rig_load *l)
{
	l->stops = true;
	rig_load_wait(l);
	free(l->writes);
	free(l->latency_ns);
	free(l->zipf);
	free(l->order);
}

void
rig_load_reset(struct rig_load *l)
{
	l->acked = l->busy = l->errors = l->latency_max_ns = 0;
}

static int
by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

uint64_t
rig_load_p99_ns(struct rig_load *l)
{
	uint64_t n = l->acked < RIG_LATENCIES ? l->acked : RIG_LATENCIES;
	if (n == 0)
		return 0;
	qsort(l->latency_ns, n, sizeof *l->latency_ns, by_size);
	return l->latency_ns[n * 99 / 100];
}
