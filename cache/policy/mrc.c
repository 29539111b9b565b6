/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Miss ratios at several sizes from miniature caches (Waldspurger et al., ATC 2017): a cache of a
 * share r of the size that sees the share r of the keys misses as often as the whole. The thresholds
 * are nested, so a key that no miniature samples costs one hash and one comparison.
 */
#include "cache/policy/policy.h"

#include <errno.h>
#include <stdlib.h>

#include "base/assert.h"
#include "cache/policy/policy_priv.h"

#define ENTRIES_DEFAULT 4096u
#define ENTRIES_MAX (1u << 24)
#define RATE_SHIFT_MAX 20u
#define SAMPLES_KEPT 1000u /* of each point */
#define NIL UINT32_MAX

struct entry {
	struct policy_s3_node node;
	uint32_t next; /* in its bucket, or the next free one */
};

struct mini {
	uint64_t blocks;
	uint64_t threshold; /* sampled if the hash is at most this */
	double rate;
	struct policy_s3 *s3;
	struct entry *entries;
	uint32_t *buckets;
	uint32_t count, bucket_mask, free;
	double samples, misses;
};

struct policy_mrc {
	uint32_t points;
	uint64_t threshold; /* the largest */
	double reads;
	struct mini mini[POLICY_MRC_POINTS_MAX];
};

static bool
config_ok(const struct policy_mrc_config *cfg)
{
	if (!cfg->points || cfg->points > POLICY_MRC_POINTS_MAX || cfg->entries_max > ENTRIES_MAX ||
	    cfg->rate_shift > RATE_SHIFT_MAX)
		return false;
	for (uint32_t i = 0; i < cfg->points; i++)
		if (cfg->blocks[i] <= (i ? cfg->blocks[i - 1] : 0))
			return false;
	return true;
}

static int
mini_init(struct mini *mini, uint64_t blocks, uint32_t entries_max, double rate_max)
{
	double rate = (double)entries_max / (double)blocks;
	mini->blocks = blocks;
	mini->rate = rate < rate_max ? rate : rate_max;
	mini->count = (uint32_t)((double)blocks * mini->rate + 0.5);
	if (!mini->count)
		mini->count = 1;
	mini->threshold =
	    mini->rate < 1 ? (uint64_t)(mini->rate * 18446744073709551615.0) : UINT64_MAX;
	uint32_t buckets = 1;
	while (buckets < mini->count)
		buckets *= 2;
	mini->bucket_mask = buckets - 1;
	mini->entries = calloc(mini->count, sizeof *mini->entries);
	mini->buckets = malloc(buckets * sizeof *mini->buckets);
	if (!mini->entries || !mini->buckets || policy_s3_create(mini->count, &mini->s3))
		return -ENOMEM;
	for (uint32_t i = 0; i < buckets; i++)
		mini->buckets[i] = NIL;
	for (uint32_t i = 0; i < mini->count; i++)
		mini->entries[i].next = i + 1 < mini->count ? i + 1 : NIL;
	return 0;
}

int
policy_mrc_create(const struct policy_mrc_config *cfg, struct policy_mrc **ret_mrc)
{
	if (!config_ok(cfg))
		return -EINVAL;
	struct policy_mrc *m = calloc(1, sizeof *m);
	if (!m)
		return -ENOMEM;
	m->points = cfg->points;
	uint32_t entries = cfg->entries_max ? cfg->entries_max : ENTRIES_DEFAULT;
	for (uint32_t i = 0; i < cfg->points; i++) {
		struct mini *mini = &m->mini[i];
		if (mini_init(
		        mini, cfg->blocks[i], entries, 1.0 / (double)(1u << cfg->rate_shift))) {
			policy_mrc_destroy(m);
			return -ENOMEM;
		}
		if (mini->threshold > m->threshold)
			m->threshold = mini->threshold;
	}
	*ret_mrc = m;
	return 0;
}

void
policy_mrc_destroy(struct policy_mrc *m)
{
	if (!m)
		return;
	for (uint32_t i = 0; i < m->points; i++) {
		policy_s3_destroy(m->mini[i].s3);
		free(m->mini[i].entries);
		free(m->mini[i].buckets);
	}
	free(m);
}

/* Bits of the key that sampling doesn't look at. */
static uint32_t *
bucket_of(const struct mini *mini, uint64_t key)
{
	return &mini->buckets[policy_mix(key ^ 0xd1b54a32d192ed03ull) & mini->bucket_mask];
}

/* The victim's entry, out of its bucket. */
static uint32_t
evict(struct mini *mini)
{
	struct policy_s3_node *node = policy_s3_evict(mini->s3);
	ASSERT(node != NULL);
	uint32_t n = (uint32_t)(container_of(node, struct entry, node) - mini->entries);
	uint32_t *link = bucket_of(mini, node->key);
	while (*link != n) {
		ASSERT(*link != NIL);
		link = &mini->entries[*link].next;
	}
	*link = mini->entries[n].next;
	return n;
}

static void
mini_access(struct mini *mini, uint64_t key, enum policy_mrc_kind kind)
{
	bool read = kind != POLICY_MRC_WRITE;
	mini->samples += read;
	uint32_t *bucket = bucket_of(mini, key);
	for (uint32_t i = *bucket; i != NIL; i = mini->entries[i].next) {
		if (mini->entries[i].node.key == key) {
			policy_s3_hit(mini->s3, &mini->entries[i].node);
			return;
		}
	}
	mini->misses += read;
	if (kind == POLICY_MRC_PASS)
		return;
	uint32_t n = mini->free;
	if (n != NIL)
		mini->free = mini->entries[n].next;
	else
		n = evict(mini);
	mini->entries[n].next = *bucket;
	*bucket = n;
	policy_s3_insert(mini->s3, &mini->entries[n].node, key,
	    kind == POLICY_MRC_SCAN ? POLICY_S3_SCAN : POLICY_S3_DEMAND);
}

void
policy_mrc_access(struct policy_mrc *m, uint64_t key, enum policy_mrc_kind kind)
{
	m->reads += kind != POLICY_MRC_WRITE;
	uint64_t h = policy_mix(key + 0x632be59bd9b4e019ull);
	if (h > m->threshold)
		return;
	for (uint32_t i = 0; i < m->points; i++)
		if (h <= m->mini[i].threshold)
			mini_access(&m->mini[i], key, kind);
}

void
policy_mrc_decay(struct policy_mrc *m)
{
	for (uint32_t i = 0; i < m->points; i++)
		if (m->mini[i].samples < 2. * SAMPLES_KEPT)
			return;
	m->reads /= 2;
	for (uint32_t i = 0; i < m->points; i++) {
		m->mini[i].samples /= 2;
		m->mini[i].misses /= 2;
	}
}

uint32_t
policy_mrc_read(const struct policy_mrc *m, struct policy_mrc_point points[POLICY_MRC_POINTS_MAX])
{
	double floor = 0;
	for (uint32_t i = 0; i < m->points; i++) {
		const struct mini *mini = &m->mini[i];
		double expected = m->reads * mini->rate;
		double ratio = expected > 0 ? 1 - mini->misses / expected : 0;
		if (ratio < floor) /* a sample's accident: more never hits less */
			ratio = floor;
		floor = ratio;
		points[i] = (struct policy_mrc_point){
		    .blocks = mini->blocks, .hit_ratio = ratio, .samples = (uint64_t)mini->samples};
	}
	return m->points;
}
