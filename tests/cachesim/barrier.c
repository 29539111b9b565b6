/* SPDX-License-Identifier: BSD-2-Clause */
/* A volume is told to bring everything to its store, which is looked at. See world_priv.h. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tests/cachesim/stamp.h"
#include "tests/cachesim/world_priv.h"

struct barrier {
	struct vol *v;
	uint64_t at[SECTORS_MAX];
};

/* All that was acknowledged before is on the store, and nobody needs the SSD for it. */
static void
on_flushed(void *ctx, int result)
{
	struct barrier *b = ctx;
	struct vol *v = b->v;
	bool promised = v->w->cfg.lie == 0 && !v->w->forgiven;
	for (uint64_t s = 0; result == 0 && promised && s < v->sectors; s++) {
		const uint8_t *p = v->store->durable + s * 512;
		uint64_t x = stamp_read(v->idx, s, p);
		uint64_t value = x == 0 ? zero_value(&v->o, s, b->at[s]) : x;
		if (x == UINT64_MAX || value == UINT64_MAX || value < b->at[s])
			world_lost(v->w,
			    "flush: volume %u sector %" PRIu64 ": the store has %" PRIu64
			    ", %" PRIu64 " was acknowledged",
			    v->idx, s, x, b->at[s]);
	}
	v->w->waiting--;
	free(b);
}

void
vol_flush_begin(void *vol)
{
	struct vol *v = vol;
	struct barrier *b = malloc(sizeof *b);
	ASSERT(b != NULL);
	b->v = v;
	memcpy(b->at, v->o.durable, sizeof b->at);
	v->w->waiting++;
	cache_volume_flush(v->v, on_flushed, b);
}

void
vol_flush(struct world *w, struct vol *v)
{
	world_call(w, vol_flush_begin, v);
	world_idle(w, "flush");
}
