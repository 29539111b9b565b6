/* SPDX-License-Identifier: BSD-2-Clause */
/* See stamp.h. */
#include "tests/cachesim/stamp.h"

#include <string.h>

#include "cache/codec.h"

#define STAMP_MAGIC 0x5354414d50ull

struct stamp {
	uint64_t magic, number, sector, vol;
};

void
stamp_fill(unsigned vol, uint64_t number, uint64_t sector, uint8_t *p)
{
	uint64_t x = number * 1000003 + sector;
	for (unsigned i = 0; i < 512; i += 8) {
		/* One in four can't be compressed. */
		if (i == 0 || number % 4 == 0)
			x = x * 6364136223846793005ull + 1442695040888963407ull;
		memcpy(p + i, &x, 8);
	}
	struct stamp s = {STAMP_MAGIC, number, sector, vol};
	memcpy(p, &s, sizeof s);
}

uint64_t
stamp_read(unsigned vol, uint64_t sector, const uint8_t *p)
{
	uint8_t want[512];
	struct stamp s;
	if (cf_all_zero(p, 512))
		return 0;
	memcpy(&s, p, sizeof s);
	if (s.magic != STAMP_MAGIC || s.sector != sector || s.vol != vol)
		return UINT64_MAX;
	stamp_fill(vol, s.number, sector, want);
	return memcmp(want, p, 512) == 0 ? s.number : UINT64_MAX;
}
