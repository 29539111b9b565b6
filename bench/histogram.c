/* SPDX-License-Identifier: BSD-2-Clause */
#include "bench/histogram.h"

#include "base/assert.h"

#include <string.h>

void
histogram_init(struct histogram *h)
{
	memset(h, 0, sizeof *h);
	h->min = UINT64_MAX;
}

uint32_t
histogram_bucket(uint64_t value)
{
	if (value < HISTOGRAM_SUB_COUNT)
		return (uint32_t)value;
	if (value >> HISTOGRAM_VALUE_BITS)
		return HISTOGRAM_BUCKETS - 1;
	/* The top SUB_BITS + 1 bits choose the bucket; the leading one of them is implied. */
	uint32_t shift = 63u - (uint32_t)__builtin_clzll(value) - HISTOGRAM_SUB_BITS;
	uint32_t sub = (uint32_t)(value >> shift) - HISTOGRAM_SUB_COUNT;
	return (shift + 1) * HISTOGRAM_SUB_COUNT + sub;
}

uint64_t
histogram_bucket_top(uint32_t bucket_idx)
{
	ASSERT(bucket_idx < HISTOGRAM_BUCKETS);
	if (bucket_idx < HISTOGRAM_SUB_COUNT)
		return bucket_idx;
	uint32_t shift = bucket_idx / HISTOGRAM_SUB_COUNT - 1;
	uint64_t sub = bucket_idx % HISTOGRAM_SUB_COUNT + HISTOGRAM_SUB_COUNT;
	return ((sub + 1) << shift) - 1;
}

void
histogram_merge(struct histogram *to, const struct histogram *from)
{
	to->count += from->count;
	to->sum += from->sum;
	if (from->max > to->max)
		to->max = from->max;
	if (from->min < to->min)
		to->min = from->min;
	for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++)
		to->buckets[i] += from->buckets[i];
}

uint64_t
histogram_percentile(const struct histogram *h, uint32_t per_million)
{
	ASSERT(per_million <= 1000000);
	if (h->count == 0)
		return 0;
	/* Nearest rank, rounded up, counted from 1; 128 bits because count × 10^6 may not fit. */
	uint64_t rank = (uint64_t)(((unsigned __int128)h->count * per_million + 999999) / 1000000);
	if (rank == 0)
		rank = 1;
	uint64_t seen = 0;
	for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
		seen += h->buckets[i];
		if (seen < rank)
			continue;
		/* The last bucket has no top of its own: values over 2^40 share it. */
		uint64_t top = i == HISTOGRAM_BUCKETS - 1 ? h->max : histogram_bucket_top(i);
		return top < h->max ? top : h->max;
	}
	return h->max;
}

double
histogram_mean(const struct histogram *h)
{
	return h->count ? (double)h->sum / (double)h->count : 0;
}
