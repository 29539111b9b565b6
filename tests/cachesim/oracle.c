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
