/* What goes wrong beyond single requests and crashes. See world_priv.h. */
#include <string.h>

#include "tests/cachesim/world_priv.h"

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

void
faults_reopen(struct world *w)
{
	for (unsigned i = 0; i < VOLUMES; i++) {
		struct vol *v = &w->vols[i];
		if (v->v == NULL || w->c->is_void)
			continue;
		vol_close(w, v);
		vol_open(w, v);
		v->weak = v->mode == CACHE_BYPASS;
		if (v->v != NULL && v->mode != CACHE_BYPASS)
			vol_flush(w, v);
	}
	w->ops_left = w->cfg.ops / 4;
	world_work(w);
}

static void
to_bypass(void *ctx)
{
	struct vol *v = ctx;
	v->managed = v->weak = true;
	v->changes++;
	v->w->waiting++;
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

void
faults_rot(struct world *w)
{
	uint64_t segs = w->cfg.segments, first = 2 + 2 + 2 * segs + 2;
	uint64_t block = first + rng_below(&w->rng, segs) * w->cfg.segment_blocks;
	uint64_t at = block * CF_BLOCK_BYTES + rng_below(&w->rng, 80);
	w->ssd->durable[at] ^= 0x10;
	w->ssd->now[at] = w->ssd->durable[at];
}
