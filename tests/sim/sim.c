/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/sim/sim.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

bool sim_verbose;
uint64_t sim_seed;

void
sim_fail(const char *fmt, ...)
{
	va_list ap;
	fprintf(stderr, "seed %" PRIu64 ": ", sim_seed);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\n");
	abort();
}

void
sim_say(uint64_t now_ns, const char *fmt, ...)
{
	va_list ap;
	if (!sim_verbose)
		return;
	fprintf(stderr, "%12.3f us  ", (double)now_ns / 1000);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\n");
}

uint64_t
sim_draw(struct sim_rng *r)
{
	/* splitmix64 */
	uint64_t x = r->state += 0x9e3779b97f4a7c15ull;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
	return x ^ (x >> 31);
}

uint32_t
sim_pick(struct sim_rng *r, uint32_t n)
{
	return (uint32_t)(sim_draw(r) % n);
}

bool
sim_chance(struct sim_rng *r, uint32_t percent)
{
	return sim_pick(r, 100) < percent;
}

uint32_t
sim_one_of(struct sim_rng *r, const uint32_t *values, uint32_t count)
{
	return values[sim_pick(r, count)];
}
