/* SPDX-License-Identifier: BSD-2-Clause */
/* What goes wrong beyond single requests and crashes. See world_priv.h. */
#include <stdlib.h>
#include <string.h>

#include "tests/cachesim/world_priv.h"

void
faults_on(struct world *w)
{
	w->ssd->cfg.write_error = w->cfg.ssd_write_error;
	w->ssd->cfg.read_error = w->cfg.ssd_read_error;
	w->ssd->cfg.flush_error = w->cfg.ssd_flush_error;
	w->ssd->cfg.lie = w->cfg.lie;
	for (unsigned i = 0; i < VOLUMES; i++) {
		w->vols[i].store->cfg.write_error = w->cfg.store_write_error;
		w->vols[i].store->cfg.flush_error = w->cfg.store_flush_error;
	}
	/* One store takes nothing for a while. */
	if (rng_one_in(&w->rng, w->cfg.store_broken))
		w->vols[rng_below(&w->rng, VOLUMES)].store->broken = true;
}

void
faults_off(struct world *w)
{
	struct drive *all[] = {w->ssd, w->vols[0].store, w->vols[1].store};
	for (unsigned i = 0; i < 3; i++)
		all[i]->cfg.write_error = all[i]->cfg.read_error = all[i]->cfg.flush_error =
		    all[i]->cfg.lie = 0;
	for (unsigned i = 0; i < VOLUMES; i++)
		w->vols[i].store->broken = false;
}

void
faults_hog(void *ctx)
{
	struct world *w = ctx;
	struct bufpool *b = w->c->bufs;
	size_t leave = (2 + rng_below(&w->rng, 3)) * BUFPOOL_FRAME_BYTES;
	unsigned n = 0;
	for (size_t bytes = BUFPOOL_BUF_MAX_BYTES; bytes >= BUFPOOL_FRAME_BYTES; bytes /= 2) {
		while (n < sizeof w->hog / sizeof w->hog[0] &&
		       bufpool_free_bytes(b) >= leave + bytes) {
			void *mem = bufpool_get(b, bytes);
			if (mem == NULL)
				break;
			w->hog[n].mem = mem;
			w->hog[n++].bytes = bytes;
		}
	}
}

void
faults_unhog(void *ctx)
{
	struct world *w = ctx;
	for (unsigned n = 0; n < sizeof w->hog / sizeof w->hog[0]; n++)
		if (w->hog[n].mem != NULL)
			bufpool_put(w->c->bufs, w->hog[n].mem, w->hog[n].bytes);
	memset(w->hog, 0, sizeof w->hog);
}

/* A store grows, and nobody flushes it: a crash may take that again. */
static void
grow_store(struct vol *v)
{
	uint64_t sectors = v->store->cfg.size_bytes / 512, room = SECTORS_MAX - sectors;
	if (room == 0)
		return;
	sectors += 1 + rng_below(&v->w->rng, room < 12 ? room : 12);
	drive_grow_cached(v->store, sectors * 512);
}

void
faults_reopen(struct world *w)
{
	for (unsigned i = 0; i < VOLUMES; i++) {
		struct vol *v = &w->vols[i];
		if (v->v == NULL || w->c->is_void)
			continue;
		vol_close(w, v);
		if (w->cfg.grows) {
			grow_store(v);
			v->store->cfg.flush_error = 2;
		}
		vol_open(w, v);
		v->store->cfg.flush_error = 0;
		v->weak = v->mode == CACHE_BYPASS;
		if (v->v != NULL && v->mode != CACHE_BYPASS)
			vol_flush(w, v);
	}
	w->ops_left = w->cfg.ops / 4;
	world_work(w);
}

void
faults_evict(struct world *w, struct vol *v)
{
	uint64_t from = rng_below(&w->rng, 2 * v->sectors) * 512;
	if (from >= v->sectors * 512)
		cache_volume_evict(v->v, world_managed, v);
	else
		cache_volume_evict_range(
		    v->v, from, 1 + rng_below(&w->rng, v->sectors * 512), world_managed, v);
}

static void
to_bypass(void *ctx)
{
	struct vol *v = ctx;
	vol_manage_begins(v);
	cache_volume_set_mode(v->v, CACHE_BYPASS, world_managed, v);
}

void
faults_void(struct world *w)
{
	uint64_t cut_at = w->cut_at;
	w->cut_at = UINT64_MAX;
	w->mend_at = w->events + 10 + rng_below(&w->rng, 150);
	w->ssd->broken = true;
	w->ssd->lands = rng_below(&w->rng, 4) != 0;
	w->ops_left = 12;
	world_work(w);
	w->ssd->broken = false;
	for (unsigned i = 0; i < VOLUMES; i++) {
		struct vol *v = &w->vols[i];
		if (v->v == NULL || v->mode == CACHE_BYPASS)
			continue;
		world_call(w, to_bypass, v);
		world_idle(w, "void to bypass");
	}
	w->ops_left = 12;
	world_work(w);
	for (int i = 0; i < 4; i++)
		world_cut(w, i == 0 ? LOSS_NONE : (enum loss)rng_below(&w->rng, LOSS_COUNT));
	w->cut_at = cut_at;
}

struct away {
	struct world *w;
	bool gone;
};

static void
tell(void *ctx)
{
	const struct away *a = ctx;
	cache_ssd_event(a->w->c, a->gone);
}

static void
look_ends(struct world *w)
{
	for (unsigned i = 0; w->c->away.looking || w->c->away.wants; i++)
		if (i > 10000 || !loop_sim_step(w->sim))
			world_lost(w, "whether the SSD is the same one is never told");
}

/* It goes under work and returns as it went; or as it was a while before, which mustn't be used. Then it
 * returns in truth, and a crash finds all of it. */
void
faults_away(struct world *w)
{
	struct drive *d = w->ssd;
	struct away a = {w, true};
	uint64_t cut_at = w->cut_at, at = d->cfg.size_bytes;
	uint32_t weight[OP_COUNT];
	uint8_t *old = malloc(at), *is = malloc(at);
	ASSERT(old != NULL && is != NULL);
	w->cut_at = UINT64_MAX;
	memcpy(old, d->now, at);
	uint8_t record[sizeof w->c->away.record];
	memcpy(record, w->c->away.record, sizeof record);
	w->ops_left = 8;
	world_work(w);
	/* What waits for the SSD isn't ordered while it isn't there. */
	memcpy(weight, w->cfg.weight, sizeof weight);
	w->cfg.weight[OP_FLUSH] = w->cfg.weight[OP_EVICT] = w->cfg.weight[OP_MODE] = 0;
	w->cfg.weight[OP_CHECKPOINT] = w->cfg.weight[OP_RESIZE] = 0;
	w->cfg.weight[OP_GROW] = 0;
	d->broken = d->deaf = true;
	world_call(w, tell, &a);
	w->ops_left = 12;
	world_work(w);
	memcpy(w->cfg.weight, weight, sizeof weight);
	a.gone = false;
	/* What was asked of it before has failed with it, and isn't asked of what comes in its place. */
	for (unsigned i = 0; !list_empty(&d->requests); i++)
		if (i > 10000 || !loop_sim_step(w->sim))
			world_lost(w, "the SSD that went keeps a request");
	bool differs = memcmp(record, w->c->away.record, sizeof record) != 0;
	memcpy(is, d->now, at);
	d->broken = d->deaf = false;
	if (differs) {
		memcpy(d->now, old, at);
		world_call(w, tell, &a);
		look_ends(w);
		if (!w->c->away.is_away)
			world_lost(w, "an old copy of the SSD is used");
		if (memcmp(d->now, old, at) != 0)
			world_lost(w, "an old copy of the SSD is written to");
		memcpy(d->now, is, at);
	}
	world_call(w, tell, &a);
	look_ends(w);
	if (w->c->away.is_away)
		world_lost(w, "the SSD is back, and isn't used");
	free(old);
	free(is);
	w->ops_left = 12;
	world_work(w);
	for (int i = 0; i < 3; i++)
		world_cut(w, i == 0 ? LOSS_NONE : (enum loss)rng_below(&w->rng, LOSS_COUNT));
	w->cut_at = cut_at;
}

static const void *
block_at(const struct world *w, uint64_t block)
{
	return w->ssd->durable + block * CF_BLOCK_BYTES;
}

/* ---- sizes -------------------------------------------------------------------------------------- */

static void
resized(void *ctx, int result)
{
	struct world *w = ctx;
	w->waiting--;
	w->resizing = false;
	if (result < 0)
		totals.resizes_failed++;
	else if (w->resize_to < w->ssd->cfg.size_bytes && rng_below(&w->rng, 2) == 0 &&
	         w->cfg.lie == 0)
		drive_cut(w->ssd, w->resize_to); /* or it stays as large, with all that is there */
}

void
faults_resize(void *ctx)
{
	struct world *w = ctx;
	const struct drive_cfg *d = &w->ssd->cfg;
	uint64_t most = d->room_bytes / CF_BLOCK_BYTES;
	if (w->resizing)
		return;
	uint64_t blocks = most / 3 + rng_below(&w->rng, most - most / 3 + 1);
	w->resize_to = blocks * CF_BLOCK_BYTES;
	*(w->resize_to > w->c->geo.size_blocks * CF_BLOCK_BYTES ? &totals.grown : &totals.shrunk) +=
	    1;
	if (w->resize_to > d->size_bytes)
		drive_grow(w->ssd, w->resize_to);
	w->resizing = true;
	w->waiting++;
	cache_resize(w->c, w->resize_to, resized, w);
}

/* What a request may reach follows what the volume shows. */
static void
on_event(void *ctx, enum blk_event ev)
{
	struct vol *v = ctx;
	if (ev == BLK_EVENT_SIZE)
		v->shown = v->sectors = blk_get_info(cache_volume_blk(v->v))->size_bytes / 512;
}

static void
grown(void *ctx, int result)
{
	struct vol *v = ctx;
	v->w->waiting--;
	*(result < 0 ? &totals.vols_not_grown : &totals.vols_grown) += 1;
	if (result == 0 && v->sectors * 512 != v->store->cfg.size_bytes)
		world_lost(v->w, "volume %u hasn't grown with its store", v->idx);
}

void
faults_grow(struct vol *v)
{
	uint64_t sectors = v->store->cfg.size_bytes / 512, room = SECTORS_MAX - sectors;
	if (v->v->chg.step != 0)
		return;
	if (room > 0)
		drive_grow_cached(
		    v->store, (sectors + 1 + rng_below(&v->w->rng, room < 12 ? room : 12)) * 512);
	blk_set_events(cache_volume_blk(v->v), on_event, v);
	v->w->waiting++;
	cache_volume_grow(v->v, grown, v);
}

/* A number that changes when one step of a growth follows another. */
static int
grow_step(const struct world *w)
{
	int step = 0;
	LIST_FOREACH (n, &w->c->volumes) {
		const struct cache_volume *v = container_of(n, struct cache_volume, link);
		if (v->chg.grow_to > 0)
			step = step * 100 + v->chg.step;
	}
	return step;
}

void
faults_step(struct world *w)
{
	if (w->c == NULL)
		return;
	if (w->cfg.cut_steps && w->c->resize.step != w->resize_step) {
		w->resize_step = w->c->resize.step;
		w->cut_at = w->events;
	}
	if (w->cfg.grows && grow_step(w) != w->grow_step) {
		w->grow_step = grow_step(w);
		w->cut_at = w->events;
	}
}

void
faults_look(const struct world *w)
{
	struct cache *c = w->c;
	for (uint32_t i = 0; c != NULL && i < c->geo.segment_count; i++) {
		struct cache_seghead h;
		if (c->segs[i].out &&
		    cache_seghead_decode(
		        &c->geo, c->uuid, i, block_at(w, cache_segment_block(&c->geo, i)), &h) &&
		    h.generation >= c->segs[i].generation)
			world_lost(w, "segment %u isn't covered, and could be found again", i);
	}
}

/* ---- decay -------------------------------------------------------------------------------------- */

enum rot {
	ROT_SEGMENT,
	ROT_SLOT,
	ROT_HEADER,
	ROT_SUPER,
	ROT_TABLE,
	ROT_FOOTER,
	ROT_RECORD,
	ROT_COUNT
};

static struct cache_geometry
geometry(const struct world *w)
{
	struct cache_super newest = {0}, s;
	for (unsigned k = 0; k < 2; k++)
		if (cache_super_decode(block_at(w, k), k, w->ssd->cfg.size_bytes, &s) == CF_OK &&
		    s.generation > newest.generation)
			newest = s;
	ASSERT(newest.generation > 0);
	return newest.geo;
}

/* Up to there something else on the SSD knows that the stream's records were acknowledged. What comes after
 * has no witness: that it has decayed nobody can tell from a write that was torn. */
static uint64_t
witnessed(const struct world *w, const struct cache_geometry *g, unsigned stream)
{
	uint8_t uuid[16];
	uint64_t most = 0;
	memset(uuid, 0x42, sizeof uuid);
	for (unsigned k = 0; k < 2; k++) {
		struct cache_ckhead h;
		if (cache_ckhead_decode(g, uuid, k, block_at(w, g->checkpoint_block + k), &h) &&
		    h.pos[stream].seq > most)
			most = h.pos[stream].seq;
		struct cache_super s;
		if (cache_super_decode(block_at(w, k), k, w->ssd->cfg.size_bytes, &s) == CF_OK &&
		    s.end[stream].seq > most)
			most = s.end[stream].seq;
	}
	for (uint32_t i = 0; i < g->segment_count; i++) {
		for (uint32_t u = 0; u < g->data_blocks; u++) {
			struct cache_record r;
			if (cache_record_decode(g, uuid, i, u,
			        block_at(w, cache_data_block(g, i, u)),
			        (g->data_blocks - u) * CF_BLOCK_BYTES, &r) &&
			    r.stream == stream && r.durable_seq > most)
				most = r.durable_seq;
		}
	}
	return most;
}

/* A block of a record that somebody would miss; 0: there is none. */
static uint64_t
pick_record(struct world *w, const struct cache_geometry *g)
{
	uint64_t all[CF_STREAM_COUNT], found = 0;
	uint32_t n = 0;
	uint8_t uuid[16];
	memset(uuid, 0x42, sizeof uuid);
	for (unsigned s = 0; s < CF_STREAM_COUNT; s++)
		all[s] = witnessed(w, g, s);
	for (uint32_t i = 0; i < g->segment_count; i++) {
		for (uint32_t u = 0; u < g->data_blocks; u++) {
			struct cache_record r;
			uint64_t block = cache_data_block(g, i, u);
			if (!cache_record_decode(g, uuid, i, u, block_at(w, block),
			        (g->data_blocks - u) * CF_BLOCK_BYTES, &r) ||
			    r.seq > all[r.stream])
				continue;
			if (rng_one_in(&w->rng, ++n))
				found =
				    block + rng_below(&w->rng, r.header_blocks + r.payload_blocks);
		}
	}
	return found;
}

void
faults_rot(struct world *w)
{
	struct cache_geometry g = geometry(w);
	uint32_t seg = (uint32_t)rng_below(&w->rng, g.segment_count);
	uint64_t two = rng_below(&w->rng, 2), block = 0;
	enum rot kind = (enum rot)rng_below(&w->rng, ROT_COUNT);
	/* Slots matter most: they alone aren't there twice. */
	if (rng_below(&w->rng, 3) == 0)
		kind = ROT_SLOT;
	switch (kind) {
	case ROT_SEGMENT:
		block = cache_segment_block(&g, seg);
		break;
	case ROT_SLOT:
		block = cache_slot_block(&g, seg, (unsigned)two);
		break;
	case ROT_HEADER:
		block = g.checkpoint_block + two;
		break;
	case ROT_SUPER:
		block = two;
		break;
	case ROT_TABLE:
		block = g.voltable_block + two * g.voltable_blocks;
		break;
	case ROT_FOOTER:
		block = cache_footer_block(&g, seg);
		break;
	default:
		block = pick_record(w, &g);
		break;
	}
	if (block == 0 && kind != ROT_SUPER)
		return;
	uint64_t at = block * CF_BLOCK_BYTES + rng_below(&w->rng, 80);
	w->ssd->durable[at] ^= 0x10;
	w->ssd->now[at] = w->ssd->durable[at];
	w->rotten = true;
	totals.rotten++;
	SAY("%*sdecay of kind %u, segment %u, copy %u\n", (int)w->level * 2, "", kind, seg,
	    (unsigned)two);
}
