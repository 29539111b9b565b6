/* SPDX-License-Identifier: BSD-2-Clause */
/* What may be read: see struct oracle. */
#include <string.h>

#include "tests/cachesim/world.h"

void
zero_issued(struct oracle *o, uint64_t sector, uint64_t number)
{
	memmove(&o->zeros[sector][1], &o->zeros[sector][0], (ZEROS_KEPT - 1) * sizeof(uint64_t));
	o->zeros[sector][0] = number;
}

uint64_t
zero_value(const struct oracle *o, uint64_t sector, uint64_t floor)
{
	if (floor == 0)
		return 0;
	uint64_t best = UINT64_MAX;
	for (unsigned i = 0; i < ZEROS_KEPT; i++)
		if (o->zeros[sector][i] >= floor)
			best = o->zeros[sector][i];
	return best;
}

void
totals_add(const struct cache_stats *s)
{
	totals.epochs += s->conditions & (1u << CACHE_COND_SSD_WRITE) ? 1 : 0;
	totals.fills += s->fills;
	totals.checkpoints += s->checkpoints;
	totals.evicted += s->evicted_blocks;
	totals.copies += s->copies;
	totals.rewritten += s->rewritten_blocks;
	totals.pack_in += s->pack_in_bytes;
	totals.pack_out += s->pack_out_bytes;
	totals.pack_refused += s->pack_refused_bytes;
	totals.pack_skipped += s->pack_skipped_bytes;
}
