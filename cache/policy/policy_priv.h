/* SPDX-License-Identifier: BSD-2-Clause */
/* Shared by the policy's files: hashing and the ghost, the memory of what was evicted. */
#ifndef CACHE_POLICY_POLICY_PRIV_H
#define CACHE_POLICY_POLICY_PRIV_H

#include <stdbool.h>
#include <stdint.h>

/* A bijection whose output bits all depend on all input bits (splitmix64's finaliser). */
static inline uint64_t
policy_mix(uint64_t x)
{
	x ^= x >> 30;
	x *= 0xbf58476d1ce4e5b9ull;
	x ^= x >> 27;
	x *= 0x94d049bb133111ebull;
	return x ^ (x >> 31);
}

/* `hash` scaled to 0…n-1 by its upper bits, without a division. */
static inline uint64_t
policy_scale(uint64_t hash, uint64_t n)
{
	return (uint64_t)(((unsigned __int128)hash * n) >> 64);
}

/*
 * Remembers about the last `entries` keys that were added, in 5 bytes each: sets of 16 slots, a slot
 * is a fingerprint and a coarse time, counted in additions. Says yes to one strange key in 4,000.
 */
struct policy_ghost {
	uint64_t sets;
	uint32_t *slots; /* sets × 16: fingerprint (never 0) << 16 | time; 0: empty */
	uint64_t added, epoch_len;
	uint16_t life; /* epochs that a key is remembered for */
};

int policy_ghost_init(struct policy_ghost *g, uint64_t entries); /* 0, -ENOMEM */
void policy_ghost_fini(struct policy_ghost *g);
/* A key that is there already becomes the youngest. */
void policy_ghost_add(struct policy_ghost *g, uint64_t key);
bool policy_ghost_has(const struct policy_ghost *g, uint64_t key);
void policy_ghost_forget(struct policy_ghost *g, uint64_t key);

#endif
