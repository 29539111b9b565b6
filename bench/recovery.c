/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How long a cache takes from the start of its attach to its first answer, and how much memory it takes, on
 * a generated SSD (recovery_image.h), with real loops and a real file.
 *
 *	terrace-bench-recovery [--size-gib N] [--extent-kib N] [--tail N] [--keep] FILE
 *
 * One line of JSON. Exit: 0 measured, 1 it could not be.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bench/recovery_image.h"
#include "cache/cache.h"
#include "loop/loop.h"

struct bench {
	struct loop *loop;
	struct blk *ssd, *store;
	struct cache *cache;
	struct cache_volume *vol;
	struct cache_marker marker;
	struct blk_io io;
	struct blk_sg sg;
	char reason[256], spec[4096];
	uint64_t store_bytes;
	sem_t done;
	int result;
};

static uint64_t
now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* What the process has computed, which a busy machine changes less than the time it took. */
static double
cpu_s(void)
{
	struct timespec t;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static uint64_t
rss_bytes(void)
{
	unsigned long long size = 0, resident = 0;
	FILE *f = fopen("/proc/self/statm", "re");
	if (f == NULL)
		return 0;
	if (fscanf(f, "%llu %llu", &size, &resident) != 2)
		resident = 0;
	fclose(f);
	return (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* ---- calls on the loop ------------------------------------------------------------------------------- */

struct call {
	struct loop_msg msg;
	void (*fn)(struct bench *b);
	struct bench *b;
};

static void
call_run(struct loop_msg *m)
{
	struct call *c = container_of(m, struct call, msg);
	c->fn(c->b);
}

/* Until what `fn` began has ended. */
static int
call(struct bench *b, void (*fn)(struct bench *b))
{
	struct call c = {.msg = {.run = call_run}, .fn = fn, .b = b};
	loop_send(b->loop, &c.msg);
	while (sem_wait(&b->done) < 0)
		;
	return b->result;
}

static void
ended(void *ctx, int result)
{
	struct bench *b = ctx;
	b->result = result;
	sem_post(&b->done);
}

static void
do_stores(struct bench *b)
{
	struct blk_open_args a = {.spec = b->spec, .loops = &b->loop, .loop_count = 1};
	int err = blk_open(&a, &b->ssd, b->reason, sizeof b->reason);
	a.spec = "null:";
	a.size_bytes = b->store_bytes;
	if (err == 0)
		err = blk_open(&a, &b->store, b->reason, sizeof b->reason);
	ended(b, err);
}

static void
on_attached(void *ctx, int result, struct cache *c, const char *reason)
{
	struct bench *b = ctx;
	b->cache = c;
	if (reason != NULL)
		snprintf(b->reason, sizeof b->reason, "%s", reason);
	ended(b, result);
}

static void
do_attach(struct bench *b)
{
	struct cache_args a = {.ssd = b->ssd, .loops = &b->loop, .loop_count = 1, .ctx = b};
	cache_tuning_default(&a.tuning);
	cache_attach(&a, on_attached, b);
}

static void
marker_get(void *ctx, void (*got)(void *ctx, int result, const struct cache_marker *m), void *to)
{
	struct bench *b = ctx;
	got(to, 0, &b->marker);
}

static void
marker_set(void *ctx, const struct cache_marker *m, cache_done_fn *set, void *to)
{
	struct bench *b = ctx;
	b->marker = *m;
	set(to, 0);
}

static const struct cache_marker_ops marker_ops = {marker_get, marker_set};

static void
on_opened(void *ctx, int result, struct cache_volume *v)
{
	struct bench *b = ctx;
	b->vol = v;
	ended(b, result);
}

static void
do_open(struct bench *b)
{
	struct cache_volume_args a = {
	    .uuid = {1},
	    .name = "bench",
	    .store = b->store,
	    .store_identity = "bench",
	    .marker = &marker_ops,
	    .marker_ctx = b,
	};
	cache_volume_open(b->cache, &a, on_opened, b);
}

static void
io_done(struct blk_io *io)
{
	struct bench *b = container_of(io, struct bench, io);
	blk_sg_put(&b->sg);
	ended(b, io->result);
}

static void
do_read(struct bench *b)
{
	struct blk *v = cache_volume_blk(b->vol);
	blk_sg_init(&b->sg);
	int err = blk_sg_get(v, &b->sg, BLK_READ, 0, 4096);
	if (err < 0) {
		ended(b, err);
		return;
	}
	b->io = (struct blk_io){.op = BLK_READ, .len_bytes = 4096, .sg = &b->sg, .done = io_done};
	blk_submit(v, &b->io);
}

static void
do_close(struct bench *b)
{
	cache_volume_close(b->vol, ended, b);
}

static void
do_detach(struct bench *b)
{
	cache_detach(b->cache, ended, b);
}

static void
do_stores_close(struct bench *b)
{
	blk_close(b->ssd);
	blk_close(b->store);
	ended(b, 0);
}

/* ---- the measurement ----------------------------------------------------------------------------------- */

static int
failed(struct bench *b, const char *what, int err)
{
	fprintf(stderr, "%s: %s\n", what, b->reason[0] != '\0' ? b->reason : strerror(-err));
	return 1;
}

static int
measure(struct bench *b, const struct recovery_image *i)
{
	uint64_t rss = rss_bytes(), begin = now_ns();
	double cpu = cpu_s();
	int err = call(b, do_attach);
	uint64_t attached = now_ns();
	if (err < 0)
		return failed(b, "attach", err);
	if ((err = call(b, do_open)) < 0 || (err = call(b, do_read)) < 0)
		return failed(b, "first read", err);
	uint64_t first = now_ns();
	cpu = cpu_s() - cpu;
	rss = rss_bytes() - rss;
	struct cache_stats s;
	cache_get_stats(b->cache, &s);
	printf("{\"size_bytes\": %" PRIu64 ", \"extent_bytes\": %u, \"extents\": %" PRIu64
	       ", \"records\": %" PRIu64 ", \"read_bytes\": %" PRIu64 ", \"cached_bytes\": %" PRIu64
	       ", \"index_bytes\": %" PRIu64 ", \"rss_bytes\": %" PRIu64
	       ", \"attach_s\": %.3f, \"first_io_s\": %.3f, \"cpu_s\": %.3f}\n",
	    i->size_bytes, i->extent_blocks * 4096, i->extents, i->records, i->written_bytes,
	    s.cached_bytes, s.index_bytes, rss, (double)(attached - begin) / 1e9,
	    (double)(first - begin) / 1e9, cpu);
	if ((err = call(b, do_close)) < 0 || (err = call(b, do_detach)) < 0)
		return failed(b, "detach", err);
	return 0;
}

static int
run(struct bench *b, const struct recovery_image *i)
{
	struct loop_cfg cfg;
	loop_cfg_default(&cfg);
	int err = loop_create(&cfg, &b->loop);
	if (err == 0)
		err = loop_start_thread(b->loop);
	if (err < 0)
		return failed(b, "loop", err);
	sem_init(&b->done, 0, 0);
	int status = 1;
	if ((err = call(b, do_stores)) < 0)
		return failed(b, "open", err);
	b->marker = (struct cache_marker){.present = true, .volume = 1, .generation = 1};
	memset(b->marker.cache_uuid, 0x42, 16);
	status = measure(b, i);
	if (status == 0)
		call(b, do_stores_close);
	loop_stop(b->loop);
	loop_join(b->loop);
	if (status == 0)
		loop_destroy(b->loop);
	return status;
}

int
main(int argc, char **argv)
{
	static const struct option options[] = {{"size-gib", required_argument, NULL, 's'},
	    {"extent-kib", required_argument, NULL, 'e'}, {"tail", required_argument, NULL, 't'},
	    {"keep", no_argument, NULL, 'k'}, {NULL, 0, NULL, 0}};
	struct recovery_image i = {
	    .size_bytes = 64ull << 30, .extent_blocks = 4, .tail_records = 150000};
	bool keep = false;
	int opt;
	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (opt == 's')
			i.size_bytes = strtoull(optarg, NULL, 10) << 30;
		else if (opt == 'e')
			i.extent_blocks = (uint32_t)strtoul(optarg, NULL, 10) / 4;
		else if (opt == 't')
			i.tail_records = strtoull(optarg, NULL, 10);
		else if (opt == 'k')
			keep = true;
		else
			return 2;
	}
	if (optind + 1 != argc || i.extent_blocks == 0 || 32 % i.extent_blocks != 0) {
		fprintf(stderr,
		    "usage: %s [--size-gib N] [--extent-kib 4|8|16|32|64|128] "
		    "[--tail RECORDS] [--keep] FILE\n",
		    argv[0]);
		return 2;
	}
	const char *path = argv[optind];
	int err = recovery_image_make(path, &i);
	if (err < 0) {
		fprintf(stderr, "%s: %s\n", path, strerror(-err));
		return 1;
	}
	static struct bench b;
	b.store_bytes = i.volume_bytes;
	snprintf(b.spec, sizeof b.spec, "file:%s", path);
	int status = run(&b, &i);
	if (!keep)
		unlink(path);
	return status;
}
