/* SPDX-License-Identifier: BSD-2-Clause */
/* See drive.h. */
#include "tests/cachesim/drive.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

#define SECTOR 512u

bool drive_verbose;

/* A write that isn't durable: sectors that a later durable one replaced are no longer its own. */
struct dwrite {
	struct list link;
	uint64_t number, sector, count;
	uint8_t *data;
	bool done;
	uint64_t done_at; /* event */
};

struct request {
	struct list link;
	struct drive *d;
	struct blk_io *io;
	struct loop_timer timer;
	struct dwrite *w;
	uint64_t after; /* FLUSH: event of its submission */
	bool held, fails;
};

uint64_t
rng_next(uint64_t *state)
{
	uint64_t x = *state += 0x9e3779b97f4a7c15ull;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
	return x ^ (x >> 31);
}

uint64_t
rng_below(uint64_t *state, uint64_t n)
{
	return rng_next(state) % n;
}

/* Bytes that there are, or may be. */
static uint64_t
room(const struct drive_cfg *cfg)
{
	return cfg->room_bytes > cfg->size_bytes ? cfg->room_bytes : cfg->size_bytes;
}

/* ---- writes ------------------------------------------------------------------------------------ */

static void
dwrite_free(struct dwrite *w)
{
	list_remove(&w->link);
	free(w->data);
	free(w);
}

static struct dwrite *
dwrite_make(struct drive *d, uint64_t at, uint64_t len)
{
	struct dwrite *w = calloc(1, sizeof *w);
	ASSERT(w != NULL);
	w->number = ++d->count;
	w->sector = at / SECTOR;
	w->count = len / SECTOR;
	w->data = calloc(1, len);
	ASSERT(w->data != NULL);
	list_push_back(&d->writes, &w->link);
	return w;
}

static void
sector_durable(struct drive *d, const struct dwrite *w, uint64_t i)
{
	uint64_t s = w->sector + i;
	if (d->stamp[s] > w->number)
		return;
	d->stamp[s] = w->number;
	memcpy(d->durable + s * SECTOR, w->data + i * SECTOR, SECTOR);
}

static void
dwrite_durable(struct drive *d, struct dwrite *w)
{
	for (uint64_t i = 0; i < w->count; i++)
		sector_durable(d, w, i);
	dwrite_free(w);
}

/* ---- requests ---------------------------------------------------------------------------------- */

static void
copy_in(const struct request *r, uint8_t *to)
{
	blk_sg_copy_out(r->io->sg, 0, to, r->io->len_bytes);
}

static int
end_write(struct request *r)
{
	struct drive *d = r->d;
	struct blk_io *io = r->io;
	struct dwrite *w = r->w;
	bool fua = (io->flags & BLK_FUA) || !d->cfg.is_volatile;
	bool bad = io->offset_bytes < d->bad_bytes || (d->no_zeros && io->op != BLK_WRITE);
	bool fail = d->broken || bad || rng_one_in(&d->rng, d->cfg.write_error);
	uint64_t keep = w->count;
	if (io->op == BLK_WRITE) {
		/* What is written must not change while it is being written. */
		uint8_t *now = malloc(io->len_bytes);
		ASSERT(now != NULL);
		copy_in(r, now);
		ASSERT(memcmp(now, w->data, io->len_bytes) == 0);
		free(now);
	}
	if (fail) {
		d->write_errors++;
		keep = d->broken ? (d->lands ? w->count : 0) : rng_below(&d->rng, w->count + 1);
		keep = bad ? 0 : keep;
		d->lands &= bad;
	}
	memcpy(d->now + w->sector * SECTOR, w->data, keep * SECTOR);
	w->count = keep;
	w->done = true;
	w->done_at = ++*d->events;
	w->number = ++d->count;
	list_remove(&w->link);
	list_push_back(&d->writes, &w->link);
	if (keep == 0)
		dwrite_free(w);
	else if (fua && !fail && !rng_one_in(&d->rng, d->cfg.lie))
		dwrite_durable(d, w);
	else if (fua && !fail)
		d->lies++;
	return fail ? -EIO : 0;
}

/* What the cache of the drive held is gone or durable, and nobody is told which. */
static void
flush_fails(struct drive *d)
{
	LIST_FOREACH_SAFE (n, &d->writes) {
		struct dwrite *w = container_of(n, struct dwrite, link);
		if (!w->done)
			continue;
		for (uint64_t i = 0; i < w->count; i++)
			if (rng_below(&d->rng, 2) == 0)
				sector_durable(d, w, i);
		dwrite_free(w);
	}
	memcpy(d->now, d->durable, room(&d->cfg));
}

static int
end_flush(struct request *r)
{
	struct drive *d = r->d;
	++*d->events;
	if (d->broken || r->fails || rng_one_in(&d->rng, d->cfg.flush_error)) {
		d->flush_errors++;
		flush_fails(d);
		return -EIO;
	}
	if (rng_one_in(&d->rng, d->cfg.lie)) {
		d->lies++;
		return 0;
	}
	LIST_FOREACH_SAFE (n, &d->writes) {
		struct dwrite *w = container_of(n, struct dwrite, link);
		if (w->done && w->done_at <= r->after)
			dwrite_durable(d, w);
	}
	if (r->after > d->grown_at)
		d->size_kept = d->cfg.size_bytes;
	return 0;
}

static int
end_read(struct request *r)
{
	struct drive *d = r->d;
	if (d->deaf || rng_one_in(&d->rng, d->cfg.read_error))
		return -EIO;
	blk_sg_copy_in(r->io->sg, 0, d->now + r->io->offset_bytes, r->io->len_bytes);
	return 0;
}

static void
fires(struct loop_timer *t)
{
	struct request *r = container_of(t, struct request, timer);
	struct blk_io *io = r->io;
	int result = 0;
	switch (io->op) {
	case BLK_READ:
		result = end_read(r);
		break;
	case BLK_FLUSH:
		result = end_flush(r);
		break;
	case BLK_EXTENTS:
		blk_extents_all_mapped(io);
		break;
	default:
		result = end_write(r);
		break;
	}
	list_remove(&r->link);
	free(r);
	blk_complete(io, result);
}

/* Of two writes of a store in flight at once nobody knows which comes last: there are none [8]. */
static void
one_at_a_time(const struct drive *d, const struct request *r)
{
	LIST_FOREACH (n, &d->requests) {
		const struct request *o = container_of(n, struct request, link);
		if (o == r || o->w == NULL || d->cfg.is_ssd)
			continue;
		ASSERT(o->io->offset_bytes >= r->io->offset_bytes + r->io->len_bytes ||
		       r->io->offset_bytes >= o->io->offset_bytes + o->io->len_bytes);
	}
}

static const char *const names[BLK_OP_COUNT] = {
    [BLK_READ] = "read",
    [BLK_WRITE] = "write",
    [BLK_FLUSH] = "flush",
    [BLK_UNMAP] = "unmap",
    [BLK_WRITE_ZEROES] = "zero",
    [BLK_EXTENTS] = "extents",
};

static void
submit(struct blk *b, struct blk_io *io)
{
	struct drive *d = container_of(b, struct drive, b);
	struct request *r = calloc(1, sizeof *r);
	ASSERT(r != NULL);
	r->d = d;
	r->io = io;
	r->after = ++*d->events;
	if (drive_verbose)
		fprintf(stderr, "        %llu %s %s [%llu+%llu]%s\n",
		    (unsigned long long)*d->events, b->name, names[io->op],
		    (unsigned long long)io->offset_bytes / 512,
		    (unsigned long long)io->len_bytes / 512, io->flags & BLK_FUA ? " fua" : "");
	list_push_back(&d->requests, &r->link);
	bool writes = io->op == BLK_WRITE || io->op == BLK_UNMAP || io->op == BLK_WRITE_ZEROES;
	if (writes) {
		one_at_a_time(d, r);
		r->w = dwrite_make(d, io->offset_bytes, io->len_bytes);
		if (io->op == BLK_WRITE)
			copy_in(r, r->w->data);
	}
	loop_timer_init(&r->timer, io->loop, fires);
	r->held = d->holds && io->op == BLK_FLUSH;
	if (r->held)
		return;
	uint64_t us = 1 + rng_below(&d->rng, d->cfg.delay_us_max);
	us += io->op == BLK_READ ? d->read_us : writes ? d->write_us : 0;
	loop_timer_set(&r->timer, 1000 * us * (rng_one_in(&d->rng, d->cfg.slow) ? 50 : 1));
}

unsigned
drive_held(const struct drive *d)
{
	unsigned n = 0;
	LIST_FOREACH (l, &d->requests)
		n += container_of(l, struct request, link)->held;
	return n;
}

void
drive_flush_end(struct drive *d, bool fails)
{
	LIST_FOREACH (l, &d->requests) {
		struct request *r = container_of(l, struct request, link);
		if (!r->held)
			continue;
		r->fails = fails;
		fires(&r->timer);
		return;
	}
}

static void
never(struct blk *b)
{
	(void)b;
	ASSERT(false);
}

static const struct blk_ops ops = {.name = "drive", .submit = submit, .close = never};

/* ---- life cycle -------------------------------------------------------------------------------- */

struct drive *
drive_create(const struct drive_cfg *cfg, struct loop *const *loops, unsigned count,
    const char *name, uint64_t *events)
{
	struct drive *d = calloc(1, sizeof *d);
	ASSERT(d != NULL);
	d->cfg = *cfg;
	d->size_kept = cfg->size_bytes;
	d->rng = cfg->seed;
	d->events = events;
	d->now = calloc(1, room(cfg));
	d->durable = calloc(1, room(cfg));
	d->stamp = calloc(room(cfg) / SECTOR, sizeof *d->stamp);
	ASSERT(d->now != NULL && d->durable != NULL && d->stamp != NULL);
	list_init(&d->writes);
	list_init(&d->requests);
	struct blk_info info = {
	    .driver = "drive",
	    .size_bytes = cfg->size_bytes,
	    .block_bytes = 512,
	    .physical_bytes = 512,
	    .unmap_granularity_bytes = 512,
	    .caps = BLK_CAP_UNMAP | BLK_CAP_UNMAP_ZEROES | BLK_CAP_EXTENTS |
	            (cfg->is_volatile ? BLK_CAP_VOLATILE : 0),
	};
	struct blk_open_args args = {.loops = loops, .loop_count = count};
	int err = blk_init(&d->b, &ops, &info, name, &args);
	ASSERT(err == 0);
	return d;
}

void
drive_destroy(struct drive *d)
{
	if (d == NULL)
		return;
	ASSERT(list_empty(&d->requests));
	while (!list_empty(&d->writes))
		dwrite_free(container_of(d->writes.next, struct dwrite, link));
	blk_fini(&d->b);
	free(d->now);
	free(d->durable);
	free(d->stamp);
	free(d);
}

void
drive_grow(struct drive *d, uint64_t size_bytes)
{
	drive_grow_cached(d, size_bytes);
	d->size_kept = size_bytes;
}

void
drive_grow_cached(struct drive *d, uint64_t size_bytes)
{
	ASSERT(size_bytes >= d->cfg.size_bytes && size_bytes <= d->cfg.room_bytes);
	d->cfg.size_bytes = size_bytes;
	d->grown_at = *d->events;
	blk_set_size(&d->b, size_bytes);
}

void
drive_cut(struct drive *d, uint64_t size_bytes)
{
	LIST_FOREACH (n, &d->requests) {
		const struct blk_io *io = container_of(n, struct request, link)->io;
		ASSERT(io->op == BLK_FLUSH || io->offset_bytes + io->len_bytes <= size_bytes);
	}
	d->cfg.size_bytes = d->size_kept = size_bytes;
	blk_set_size(&d->b, size_bytes);
}

static bool
survives(enum loss loss, const struct dwrite *w, uint64_t *rng, bool whole)
{
	switch (loss) {
	case LOSS_NONE:
		return true;
	case LOSS_DONE:
		return w->done;
	case LOSS_WRITES:
		return whole;
	case LOSS_SECTORS:
		return rng_below(rng, 2) == 0;
	default:
		return false;
	}
}

/* A sector of `w` in the cache of another drive. */
static void
sector_cached(struct drive *n, const struct dwrite *w, uint64_t i)
{
	uint64_t s = w->sector + i;
	struct dwrite *k = dwrite_make(n, s * SECTOR, SECTOR);
	memcpy(k->data, w->data + i * SECTOR, SECTOR);
	k->done = true;
	memcpy(n->now + s * SECTOR, k->data, SECTOR);
}

struct drive *
drive_after_crash(struct drive *d, enum loss loss, uint64_t seed, struct loop *const *loops,
    unsigned count, uint64_t *events)
{
	struct drive_cfg cfg = d->cfg;
	uint64_t rng = seed;
	cfg.seed = seed;
	if (d->size_kept < cfg.size_bytes && loss != LOSS_KILL && loss != LOSS_NONE &&
	    rng_below(&rng, 2) == 0)
		cfg.size_bytes = d->size_kept;
	struct drive *n = drive_create(&cfg, loops, count, d->b.name, events);
	memcpy(n->durable, d->durable, room(&cfg));
	memcpy(n->now, d->durable, room(&cfg));
	n->size_kept = loss == LOSS_KILL ? d->size_kept : cfg.size_bytes;
	LIST_FOREACH (l, &d->writes) {
		const struct dwrite *w = container_of(l, struct dwrite, link);
		bool whole = rng_below(&rng, 2) == 0;
		if (loss == LOSS_KILL) {
			/* It stays in the drive's cache; what was in flight got there or not. */
			for (uint64_t i = 0; i < w->count && (w->done || whole); i++)
				if (d->stamp[w->sector + i] <= w->number)
					sector_cached(n, w, i);
			continue;
		}
		for (uint64_t i = 0; i < w->count; i++) {
			uint64_t s = w->sector + i;
			if (d->stamp[s] > w->number || !survives(loss, w, &rng, whole))
				continue;
			memcpy(n->durable + s * SECTOR, w->data + i * SECTOR, SECTOR);
			memcpy(n->now + s * SECTOR, w->data + i * SECTOR, SECTOR);
		}
	}
	return n;
}
