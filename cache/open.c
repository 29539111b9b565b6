/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Opening and closing a volume, and the store's marker [15].
 *
 *	marker read, judged against the row ─▶ store flush [5] ─▶ row {gen, next = gen + 1} durable
 *	─▶ marker `next` durable on the store ─▶ row {next, next} durable ─▶ open
 *
 * A crash at each step leaves the store's marker at gen or next: both are accepted. An older or newer one
 * belongs to another time of this store or this SSD, and is refused. The marker goes with the volume's
 * removal only: as long as it has a row, the store isn't used without its cache.
 */
#include "cache/cache_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

extern const struct blk_ops cache_volume_ops;

#define CACHE_ID_MAX (UINT32_MAX / 2)

struct opening {
	struct list link; /* in the cache, until it ends */
	struct cache *c;
	struct cache_volume *v; /* NULL until it is made */
	struct cache_volume_args args;
	struct cache_volrow row;
	uint64_t had_bytes; /* by the row that there was; 0: none */
	bool is_new;
	cache_open_fn *done;
	void *ctx;
};

/* ---- the object -------------------------------------------------------------------------------- */

struct cache_volume *
cache_volume_by_id(struct cache *c, uint32_t id)
{
	LIST_FOREACH (n, &c->volumes) {
		struct cache_volume *v = container_of(n, struct cache_volume, link);
		if (v->row.id == id)
			return v;
	}
	return NULL;
}

uint64_t
cache_volume_blocks(uint64_t size_bytes)
{
	return (size_bytes + CF_BLOCK_BYTES - 1) >> CF_BLOCK_SHIFT;
}

struct cache_volume *
cache_volume_make(struct cache *c, const struct cache_volrow *row)
{
	struct cache_volume *v = calloc(1, sizeof *v);
	if (v == NULL)
		return NULL;
	v->c = c;
	v->row = *row;
	v->mode = row->mode < CACHE_MODE_COUNT ? row->mode : CACHE_NV;
	v->blocks = cache_volume_blocks(row->size_bytes);
	cache_index_init(&v->ix);
	struct list *lists[] = {&v->locks, &v->fills, &v->copies, &v->zeros, &v->held,
	    &v->clean_waiters, &v->idle_waiters};
	for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
		list_init(lists[i]);
	v->fill.on_read = true;
	cache_volume_slow_init(v);
	list_push_back(&c->volumes, &v->link);
	return v;
}

/* Nothing of it is in flight. What the index shows is forgotten, not dropped. */
void
cache_volume_free(struct cache_volume *v)
{
	ASSERT(v->running == 0 && !v->d.running && list_empty(&v->fills));
	ASSERT(list_empty(&v->copies) && list_empty(&v->clean_waiters));
	while (!list_empty(&v->zeros))
		cache_zero_free(container_of(v->zeros.next, struct cache_zero, link));
	loop_timer_cancel(&v->slow_timer);
	cache_index_fini(&v->ix);
	cache_destage_fini(v);
	if (v->b.loops != NULL)
		blk_fini(&v->b);
	list_remove(&v->link);
	free(v);
}

/* ---- opening ------------------------------------------------------------------------------------ */

static void
end(struct opening *o, int result)
{
	struct cache_volume *v = result == 0 ? o->v : NULL;
	list_remove(&o->link);
	if (result < 0 && o->v != NULL) {
		cache_destage_fini(o->v);
		if (o->v->b.loops != NULL)
			blk_fini(&o->v->b);
		o->v->b.loops = NULL;
		o->v->store = NULL;
		o->v->open = false;
	}
	o->done(o->ctx, result, v);
	free(o);
}

static void
row_put(struct opening *o)
{
	struct cache *c = o->c;
	struct cache_volrow *row = cache_voltable_find(c, o->row.uuid);
	if (row == NULL)
		row = &c->vt.rows[c->vt.count++];
	*row = o->row;
	if (o->v != NULL)
		o->v->row = o->row;
}

static void
opened(void *ctx, int result)
{
	struct opening *o = ctx;
	if (result == 0) {
		o->v->open = true;
		o->v->want_clean = o->v->mode == CACHE_WRITETHROUGH;
	}
	end(o, result);
}

static void
marker_set(void *ctx, int result)
{
	struct opening *o = ctx;
	if (result < 0) {
		end(o, result);
		return;
	}
	o->row.marker_gen = o->row.marker_next;
	o->row.dirty = true;
	row_put(o);
	cache_voltable_write(o->c, opened, o);
}

static void
row_written(void *ctx, int result)
{
	struct opening *o = ctx;
	if (result < 0) {
		end(o, result);
		return;
	}
	struct cache_marker m = {
	    .present = true, .volume = o->row.id, .generation = o->row.marker_next};
	memcpy(m.cache_uuid, o->c->uuid, sizeof m.cache_uuid);
	if (MUTANT(MARKER_LATE)) {
		marker_set(o, 0);
		return;
	}
	o->v->marker->set(o->v->marker_ctx, &m, marker_set, o);
}

static void
blk_describe(const struct cache_volume *v, struct blk_info *info)
{
	const uint32_t keep =
	    BLK_CAP_READ_ONLY | BLK_CAP_ROTATIONAL | BLK_CAP_THIN | BLK_CAP_UNMAP | BLK_CAP_EXTENTS;
	*info = v->store->info;
	info->driver = "cache";
	info->caps &= keep;
	if (info->caps & BLK_CAP_UNMAP)
		info->caps |= BLK_CAP_UNMAP_ZEROES; /* zeros are recorded, then written [12] */
	if (v->mode == CACHE_VOLATILE)
		info->caps |= BLK_CAP_VOLATILE;
	if (v->mode == CACHE_BYPASS)
		info->caps |= v->store->info.caps & BLK_CAP_VOLATILE;
	if (info->physical_bytes < CF_BLOCK_BYTES)
		info->physical_bytes = CF_BLOCK_BYTES;
	info->atomic_max_bytes = 0;
}

static int
volume_ready(struct opening *o)
{
	struct cache *c = o->c;
	struct cache_volume *v = cache_volume_by_id(c, o->row.id);
	if (v == NULL)
		v = cache_volume_make(c, &o->row);
	if (v == NULL)
		return -ENOMEM;
	o->v = v;
	v->row = o->row;
	v->blocks = cache_volume_blocks(v->row.size_bytes);
	v->store = o->args.store;
	v->marker = o->args.marker;
	v->marker_ctx = o->args.marker_ctx;
	v->mode = o->args.mode;
	v->bypass = v->mode == CACHE_BYPASS;
	v->last_write_ns = loop_now_ns(c->home);
	/* It may have been open before, and closed. */
	v->closing = v->shut = v->frozen = v->want_clean = false;
	v->d.hold_until_ns = 0;
	v->d.failures = 0;
	v->d.cursor = 0;
	struct blk_info info;
	blk_describe(v, &info);
	struct blk_open_args a = {.loops = c->loops, .loop_count = c->loop_count};
	int err = blk_init(&v->b, &cache_volume_ops, &info, blk_get_name(v->store), &a);
	return err < 0 ? err : cache_destage_init(v);
}

static const struct cache_volrow *
row_by_id(const struct cache *c, uint32_t id)
{
	for (uint32_t i = 0; i < c->vt.count; i++)
		if (c->vt.rows[i].id == id)
			return &c->vt.rows[i];
	return NULL;
}

/* Does what the store remembers fit what this SSD knows? */
static int
judge(const struct opening *o, const struct cache_marker *m)
{
	const struct cache_volrow *row = &o->row;
	if (!m->present)
		return row->dirty ? -ESTALE : 0;
	if (memcmp(m->cache_uuid, o->c->uuid, 16) != 0)
		return -EBUSY;
	if (m->volume != row->id && row_by_id(o->c, m->volume) != NULL)
		return -ENXIO; /* it has one, under another name or LUN: with its data */
	/* Of a volume that was removed, and a crash came before its marker went: fine until this one's
	 * has been set. One that this SSD never had means that it is an old copy. */
	if (m->volume < row->id && !row->dirty)
		return 0;
	bool fits = m->volume == row->id &&
	            (m->generation == row->marker_gen || m->generation == row->marker_next);
	return fits ? 0 : -ESTALE;
}

/*
 * A process that was killed in bypass leaves writes in the store's own cache: what can be read has to stay,
 * whatever the mode is now [5]. If it can't be flushed, flushes that are asked for ask the store again.
 */
static void
store_flushed(struct cache_io *x, int result)
{
	struct opening *o = x->ctx;
	o->v->store_owed = result < 0;
	o->v->stats.store_errors += result < 0;
	if (result < 0 && o->had_bytes > 0 && !MUTANT(GROW_STORE_NO_FLUSH)) {
		/* Nor may what it has grown by be there after a crash: that is for cache_volume_grow(). */
		o->row.size_bytes = o->had_bytes;
		o->v->blocks = cache_volume_blocks(o->had_bytes);
		blk_set_size(&o->v->b, o->had_bytes);
	}
	row_put(o);
	cache_voltable_write(o->c, row_written, o);
}

static void
marker_got(void *ctx, int result, const struct cache_marker *m)
{
	struct opening *o = ctx;
	if (result == 0)
		result = judge(o, m);
	/* A bypass with data in the cache would go round it: it is entered by a change of mode. */
	if (result == 0 && o->args.mode == CACHE_BYPASS && !o->is_new &&
	    o->row.mode != CACHE_BYPASS)
		o->args.mode = o->row.mode < CACHE_MODE_COUNT ? o->row.mode : CACHE_NV;
	if (result == 0) {
		o->row.marker_gen = m->present ? m->generation : o->row.marker_gen;
		o->row.marker_next = o->row.marker_gen + 1;
		o->row.mode = (uint8_t)o->args.mode;
		result = volume_ready(o);
	}
	if (result < 0) {
		end(o, result);
		return;
	}
	struct cache_io *x = cache_io_get(o->c, store_flushed, o);
	if (!MUTANT(OPEN_NO_FLUSH)) {
		cache_io_submit(x, o->v->store, BLK_FLUSH, 0, 0, 0);
		return;
	}
	store_flushed(x, 0);
	cache_io_put(x);
}

static bool
is_opening(struct cache *c, const uint8_t uuid[16])
{
	LIST_FOREACH (n, &c->openings)
		if (memcmp(container_of(n, struct opening, link)->args.uuid, uuid, 16) == 0)
			return true;
	return false;
}

static void
refused(void *ctx, int result)
{
	end(ctx, result);
}

static int
row_make(struct opening *o)
{
	struct cache *c = o->c;
	const struct cache_volume_args *a = &o->args;
	const char *store = a->store_identity != NULL ? a->store_identity : blk_get_name(a->store);
	uint64_t size = blk_get_info(a->store)->size_bytes;
	const struct cache_volrow *row = cache_voltable_find(c, a->uuid);
	if (strlen(a->name) > CACHE_NAME_MAX || strlen(store) > CACHE_STORE_MAX || size == 0 ||
	    size >> CF_BLOCK_SHIFT >= CACHE_VOLUME_BLOCKS_MAX)
		return -EINVAL;
	if (row != NULL) {
		const struct cache_volume *v = cache_volume_by_id(c, row->id);
		o->row = *row;
		o->had_bytes = row->size_bytes;
		if (v != NULL && (v->open || v->store != NULL))
			return -EBUSY;
		if (strcmp(row->store, store) != 0)
			return -ENXIO;
		/* What it has grown by has never been here [24]. */
		o->row.size_bytes = size;
		return size >= row->size_bytes ? 0 : -EINVAL;
	}
	/* Two LUNs over one store would write it behind each other's back. */
	for (uint32_t i = 0; i < c->vt.count; i++)
		if (strcmp(c->vt.rows[i].store, store) == 0)
			return -ENXIO;
	if (c->vt.count == cache_geometry_volumes_max(&c->geo) || c->vt.next_id >= CACHE_ID_MAX)
		return -ENOSPC;
	o->is_new = true;
	o->row = (struct cache_volrow){.id = c->vt.next_id++, .size_bytes = size};
	if (MUTANT(ID_REUSED))
		o->row.id = 1, c->vt.next_id = 2;
	memcpy(o->row.uuid, a->uuid, sizeof o->row.uuid);
	memcpy(o->row.name, a->name, strlen(a->name));
	memcpy(o->row.store, store, strlen(store));
	return 0;
}

void
cache_volume_open(
    struct cache *c, const struct cache_volume_args *args, cache_open_fn *done, void *ctx)
{
	struct opening *o = calloc(1, sizeof *o);
	ASSERT(o != NULL);
	*o = (struct opening){.c = c, .args = *args, .done = done, .ctx = ctx};
	int err = is_opening(c, args->uuid) ? -EBUSY : c->is_void ? -EIO : row_make(o);
	list_push_back(&c->openings, &o->link);
	if (err < 0) {
		cache_later(c, refused, o, err);
		return;
	}
	args->marker->get(args->marker_ctx, marker_got, o);
}

/* ---- closing ------------------------------------------------------------------------------------ */

/* What runs of it has ended: the store may be closed by its owner. */
static void
closing(void *ctx, int result)
{
	struct cache_volume *v = ctx;
	(void)result;
	if (v->d.running || !list_empty(&v->fills) || !list_empty(&v->copies)) {
		cache_wait(&v->c->tick_waiters, closing, v);
		return;
	}
	cache_done_fn *done = v->removed;
	void *dctx = v->removed_ctx;
	cache_wake(&v->clean_waiters, -ESHUTDOWN);
	cache_destage_fini(v);
	blk_fini(&v->b);
	v->b.loops = NULL;
	v->store = NULL;
	v->open = false;
	done(dctx, 0);
}

void
cache_volume_close(struct cache_volume *v, cache_done_fn *done, void *ctx)
{
	ASSERT(v->running == 0 && list_empty(&v->held) && v->chg.step == 0);
	v->removed = done;
	v->removed_ctx = ctx;
	v->closing = true;
	cache_fill_cancel(v, 0, UINT64_MAX);
	cache_later(v->c, closing, v, 0);
}
