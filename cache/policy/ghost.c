/* SPDX-License-Identifier: BSD-2-Clause */
#include "cache/policy/policy_priv.h"

#include <errno.h>
#include <stdlib.h>

#include "base/assert.h"

#define GHOST_WAYS 16u
#define GHOST_EPOCHS 256u /* of a key's life: the resolution of time */

struct place {
	uint32_t *set;
	uint32_t print; /* in the upper half */
};

static struct place
place_of(const struct policy_ghost *g, uint64_t key)
{
	uint64_t h = policy_mix(key + 0x9e3779b97f4a7c15ull);
	uint32_t print = (uint32_t)(h & 0xffff);
	return (struct place){.set = g->slots + policy_scale(h, g->sets) * GHOST_WAYS,
	    .print = (print ? print : 1) << 16};
}

static uint16_t
epoch_of(const struct policy_ghost *g)
{
	return (uint16_t)(g->added / g->epoch_len);
}

/* Epochs since the slot was set. Wraps after 2^16: by then its set was overwritten many times. */
static uint16_t
age_of(const struct policy_ghost *g, uint32_t slot)
{
	return (uint16_t)(epoch_of(g) - (uint16_t)slot);
}

int
policy_ghost_init(struct policy_ghost *g, uint64_t entries)
{
	ASSERT(entries > 0);
	uint64_t sets = (entries + entries / 4 + GHOST_WAYS - 1) / GHOST_WAYS;
	uint64_t epoch_len = entries / GHOST_EPOCHS;
	if (!epoch_len)
		epoch_len = 1;
	*g = (struct policy_ghost){.sets = sets,
	    .slots = calloc(sets * GHOST_WAYS, sizeof(uint32_t)),
	    .epoch_len = epoch_len,
	    .life = (uint16_t)(entries / epoch_len)};
	return g->slots ? 0 : -ENOMEM;
}

void
policy_ghost_fini(struct policy_ghost *g)
{
	free(g->slots);
	g->slots = NULL;
}

static uint32_t *
find(struct place p)
{
	for (unsigned i = 0; i < GHOST_WAYS; i++)
		if ((p.set[i] & 0xffff0000u) == p.print)
			return &p.set[i];
	return NULL;
}

void
policy_ghost_add(struct policy_ghost *g, uint64_t key)
{
	struct place p = place_of(g, key);
	uint32_t *slot = find(p);
	if (!slot) {
		slot = p.set;
		for (unsigned i = 0; i < GHOST_WAYS && *slot; i++)
			if (!p.set[i] || age_of(g, p.set[i]) > age_of(g, *slot))
				slot = &p.set[i];
		g->added++;
	}
	*slot = p.print | epoch_of(g);
}

bool
policy_ghost_has(const struct policy_ghost *g, uint64_t key)
{
	const uint32_t *slot = find(place_of(g, key));
	return slot && age_of(g, *slot) < g->life;
}

void
policy_ghost_forget(struct policy_ghost *g, uint64_t key)
{
	uint32_t *slot = find(place_of(g, key));
	if (slot)
		*slot = 0;
}
