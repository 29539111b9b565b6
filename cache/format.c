/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An empty cache. The old superblocks go first, the new ones come last: a crash in between leaves a device
 * without a cache.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "cache/cache_priv.h"

#define VOLUMES_MAX_DEFAULT 255u
#define AT_ONCE_BLOCKS 256u

struct formatting {
	struct blk *ssd;
	struct cache_format_args args;
	cache_done_fn *done;
	void *ctx;
	struct cache_geometry geo;
	struct blk_io io;
	struct blk_sg sg;
	char *buf;
	uint32_t seg; /* slots written so far, of both areas */
	void (*next)(struct formatting *f);
	struct loop_defer defer;
	int result;
};

static void wipe(struct formatting *f);
static void tables(struct formatting *f);
static void table_b(struct formatting *f);
static void slots(struct formatting *f);
static void flush(struct formatting *f);
static void super_b(struct formatting *f);
static void finished(struct formatting *f);

static void
end(struct formatting *f, int result)
{
	f->done(f->ctx, result);
	free(f->buf);
	free(f);
}

static void
io_done(struct blk_io *io)
{
	struct formatting *f = container_of(io, struct formatting, io);
	if (io->result < 0)
		end(f, io->result);
	else
		f->next(f);
}

static void
run(struct formatting *f, enum blk_op op, uint64_t block, uint32_t count,
    void (*next)(struct formatting *))
{
	f->next = next;
	blk_sg_init(&f->sg);
	f->sg.iov = f->sg.inline_iov;
	f->sg.iov[0] = (struct iovec){f->buf, (size_t)count << CF_BLOCK_SHIFT};
	f->sg.iovcnt = 1;
	f->sg.len_bytes = (uint64_t)count << CF_BLOCK_SHIFT;
	f->io = (struct blk_io){
	    .op = op,
	    .flags = op == BLK_WRITE ? BLK_FUA : 0,
	    .offset_bytes = block << CF_BLOCK_SHIFT,
	    .len_bytes = (uint64_t)count << CF_BLOCK_SHIFT,
	    .sg = &f->sg,
	    .done = io_done,
	};
	blk_submit(f->ssd, &f->io);
}

static void
looked(struct formatting *f)
{
	struct cache_super s;
	uint64_t size = blk_get_info(f->ssd)->size_bytes;
	bool ours = false;
	for (unsigned k = 0; k < 2; k++)
		ours |= cache_super_decode(f->buf + k * CF_BLOCK_BYTES, k, size, &s) != CF_BAD;
	if (ours && !f->args.force)
		end(f, -EEXIST);
	else
		wipe(f);
}

static void
wipe(struct formatting *f)
{
	memset(f->buf, 0, 2 * CF_BLOCK_BYTES);
	run(f, BLK_WRITE, 0, 2, tables);
}

static void
tables(struct formatting *f)
{
	const struct cache_geometry *g = &f->geo;
	cache_voltable_encode(g, f->args.uuid, 0, 1, 1, NULL, 0, f->buf);
	run(f, BLK_WRITE, g->voltable_block, g->voltable_blocks, table_b);
}

static void
table_b(struct formatting *f)
{
	const struct cache_geometry *g = &f->geo;
	cache_voltable_place(g, f->args.uuid, 1, f->buf);
	run(f, BLK_WRITE, g->voltable_block + g->voltable_blocks, g->voltable_blocks, slots);
}

/* Slot 0 of each segment says free since checkpoint 1; slot 1 is nothing. */
static void
slots(struct formatting *f)
{
	const struct cache_geometry *g = &f->geo;
	uint32_t at = f->seg, n = 2 * g->segment_count - at;
	if (n == 0) {
		struct cache_ckhead h = {.number = 1, .slots_crc = CRC32C_INIT};
		for (uint32_t i = 0; i < g->segment_count; i++)
			h.slots_crc = cache_slots_crc(h.slots_crc, 1);
		h.slots_crc = crc32c_final(h.slots_crc);
		for (unsigned k = 0; k < 2; k++)
			cache_ckhead_encode(
			    g, f->args.uuid, k, &h, f->buf + (size_t)k * CF_BLOCK_BYTES);
		run(f, BLK_WRITE, g->checkpoint_block, 2, flush);
		return;
	}
	n = n < AT_ONCE_BLOCKS ? n : AT_ONCE_BLOCKS;
	memset(f->buf, 0, (size_t)n << CF_BLOCK_SHIFT);
	for (uint32_t i = 0; i < n && at + i < g->segment_count; i++) {
		struct cache_slot s = {.checkpoint = 1};
		cache_slot_encode(
		    g, f->args.uuid, at + i, 0, &s, f->buf + (size_t)i * CF_BLOCK_BYTES);
	}
	f->seg += n;
	run(f, BLK_WRITE, g->liveness_block + at, n, slots);
}

static void
super_encode(struct formatting *f, unsigned which)
{
	struct cache_super s = {.generation = 1, .geo = f->geo, .epoch = 1};
	memcpy(s.uuid, f->args.uuid, sizeof s.uuid);
	cache_super_encode(&s, which, f->buf);
}

static void
flush(struct formatting *f)
{
	super_encode(f, 0);
	run(f, BLK_WRITE, 0, 1, super_b);
}

static void
super_b(struct formatting *f)
{
	super_encode(f, 1);
	run(f, BLK_WRITE, 1, 1, finished);
}

static void
finished(struct formatting *f)
{
	end(f, 0);
}

static void
refused(struct loop_defer *d)
{
	struct formatting *f = container_of(d, struct formatting, defer);
	end(f, f->result);
}

void
cache_format(struct blk *ssd, const struct cache_format_args *args, cache_done_fn *done, void *ctx)
{
	struct formatting *f = calloc(1, sizeof *f);
	ASSERT(f != NULL);
	*f = (struct formatting){.ssd = ssd, .args = *args, .done = done, .ctx = ctx};
	uint32_t volumes = args->volumes_max != 0 ? args->volumes_max : VOLUMES_MAX_DEFAULT;
	f->result = volumes > 4000 ? -EINVAL
	                           : cache_geometry_make(&f->geo, blk_get_info(ssd)->size_bytes,
	                                 args->segment_blocks, volumes);
	f->buf = cache_pages_alloc(AT_ONCE_BLOCKS * CF_BLOCK_BYTES);
	if (f->result == 0 && f->buf == NULL)
		f->result = -ENOMEM;
	if (f->result < 0) {
		loop_defer_init(&f->defer, refused);
		loop_defer(loop_current(), &f->defer);
		return;
	}
	run(f, BLK_READ, 0, 2, looked);
}
