/* SPDX-License-Identifier: BSD-2-Clause */
/* Zipf: a few blocks get most of the writes, as under databases. */
#include "bench/iscsi_load.h"

#include "base/assert.h"

#include <math.h>

#define SUMMED_MAX 1000000u /* of the sum exactly; an integral for the rest */

static uint64_t
common_divisor(uint64_t a, uint64_t b)
{
	while (b != 0) {
		uint64_t r = a % b;
		a = b;
		b = r;
	}
	return a;
}

void
load_zipf_init(struct load_zipf *z, uint64_t count, double theta)
{
	ASSERT(count >= 2 && theta > 0 && theta < 1);
	uint64_t n = count < SUMMED_MAX ? count : SUMMED_MAX;
	double zeta = 0, zeta2 = 1 + pow(0.5, theta);
	for (uint64_t i = 1; i <= n; i++)
		zeta += pow(1.0 / (double)i, theta);
	zeta += (pow((double)count, 1 - theta) - pow((double)n, 1 - theta)) / (1 - theta);
	*z = (struct load_zipf){
	    .count = count,
	    .theta = theta,
	    .zeta = zeta,
	    .alpha = 1 / (1 - theta),
	    .eta = (1 - pow(2.0 / (double)count, 1 - theta)) / (1 - zeta2 / zeta),
	    .step = (uint64_t)((double)count * 0.6180339887) | 1,
	};
	/* Multiplying by what shares no divisor with the count moves each rank to a place of its own. */
	while (common_divisor(z->step, count) != 1)
		z->step += 2;
}

uint64_t
load_zipf_rank(const struct load_zipf *z, uint64_t random)
{
	double u = (double)(random >> 11) / (double)(1ull << 53), uz = u * z->zeta;
	if (uz < 1)
		return 0;
	if (uz < 1 + pow(0.5, z->theta))
		return 1;
	double rank = (double)z->count * pow(z->eta * u - z->eta + 1, z->alpha);
	return rank < (double)(z->count - 1) ? (uint64_t)rank : z->count - 1;
}

uint64_t
load_zipf_place(const struct load_zipf *z, uint64_t rank)
{
	return (uint64_t)((unsigned __int128)rank * z->step % z->count);
}
