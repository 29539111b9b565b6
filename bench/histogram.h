/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A latency histogram of fixed size: 64 buckets for each power of two, so that any percentile is at
 * most 1/64 above the exact one, and recording is a shift and an increment. Knows nothing of what
 * it counts. Not thread-safe.
 */
#ifndef BENCH_HISTOGRAM_H
#define BENCH_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_SUB_BITS 6u
#define HISTOGRAM_SUB_COUNT (1u << HISTOGRAM_SUB_BITS)
/* Values up to 2^40 - 1 (18 minutes in nanoseconds) are told apart; larger ones share the last. */
#define HISTOGRAM_VALUE_BITS 40u
#define HISTOGRAM_BUCKETS ((HISTOGRAM_VALUE_BITS - HISTOGRAM_SUB_BITS + 1) * HISTOGRAM_SUB_COUNT)

struct histogram {
	uint64_t count;
	uint64_t sum;
	uint64_t max; /* exact */
	uint64_t min; /* exact; UINT64_MAX while empty */
	uint64_t buckets[HISTOGRAM_BUCKETS];
};

void histogram_init(struct histogram *h);

/* Bucket of a value, and the largest value that falls into a bucket. */
uint32_t histogram_bucket(uint64_t value);
uint64_t histogram_bucket_top(uint32_t bucket_idx);

static inline void
histogram_record(struct histogram *h, uint64_t value)
{
	h->count++;
	h->sum += value;
	if (value > h->max)
		h->max = value;
	if (value < h->min)
		h->min = value;
	h->buckets[histogram_bucket(value)]++;
}

/* Adds all of `from` to `to`. */
void histogram_merge(struct histogram *to, const struct histogram *from);

/*
 * The smallest recorded value that at least `per_million` of all values don't exceed (nearest rank:
 * 500000 is the median, 999000 p99.9), rounded up to its bucket's top but never over `max`.
 * 0 if nothing was recorded.
 */
uint64_t histogram_percentile(const struct histogram *h, uint32_t per_million);

/* 0 if nothing was recorded. */
double histogram_mean(const struct histogram *h);

#endif
