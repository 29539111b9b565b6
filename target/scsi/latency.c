/* SPDX-License-Identifier: BSD-2-Clause */
/* Histograms of how long commands took: four buckets to each doubling of a microsecond. */
#include "scsi/scsi_priv.h"

#define SUB_BITS 2u /* four buckets to a doubling */
#define SUB (1u << SUB_BITS)

unsigned
scsi_latency_bucket(uint64_t ns)
{
	uint64_t us = ns / 1000;
	if (us < SUB)
		return (unsigned)us;
	unsigned msb = 63u - (unsigned)__builtin_clzll(us);
	unsigned b = SUB * (msb - SUB_BITS + 1) + (unsigned)(us >> (msb - SUB_BITS) & (SUB - 1));
	return b < SCSI_LATENCY_BUCKETS ? b : SCSI_LATENCY_BUCKETS - 1;
}

uint64_t
scsi_latency_floor_ns(unsigned bucket)
{
	ASSERT(bucket < SCSI_LATENCY_BUCKETS);
	if (bucket < SUB)
		return bucket * 1000ull;
	return (uint64_t)(SUB + bucket % SUB) * 1000 << (bucket / SUB - 1);
}

uint64_t
scsi_latency_count(const struct scsi_latency *l)
{
	uint64_t n = 0;
	for (unsigned b = 0; b < SCSI_LATENCY_BUCKETS; b++)
		n += l->buckets[b];
	return n;
}

uint64_t
scsi_latency_percentile_ns(const struct scsi_latency *l, unsigned permille)
{
	uint64_t all = scsi_latency_count(l), below = 0;
	if (all == 0)
		return 0;
	if (permille > 1000)
		permille = 1000;
	/* Rounded up, at least one: what fraction of the commands, without overflow. */
	uint64_t want = all / 1000 * permille + (all % 1000 * permille + 999) / 1000;
	if (want == 0)
		want = 1;
	for (unsigned b = 0; b + 1 < SCSI_LATENCY_BUCKETS; b++) {
		below += l->buckets[b];
		if (below >= want)
			return scsi_latency_floor_ns(b + 1);
	}
	return scsi_latency_floor_ns(SCSI_LATENCY_BUCKETS - 1);
}

void
scsi_latency_since(
    struct scsi_latency *ret, const struct scsi_latency *now, const struct scsi_latency *earlier)
{
	for (unsigned b = 0; b < SCSI_LATENCY_BUCKETS; b++)
		ret->buckets[b] = now->buckets[b] - earlier->buckets[b];
}
