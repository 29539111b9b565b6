/* SPDX-License-Identifier: BSD-2-Clause */
/* A RAM tier over a fault store over a memory store, driven by synchronous calls. */
#ifndef TESTS_UNIT_CACHE_RAM_FIXTURE_H
#define TESTS_UNIT_CACHE_RAM_FIXTURE_H

#include "tests/unit/store/suite.h"
#include "cache/ram/ram_tier.h"

#define RAM_COST_BYTES 4160u /* of a frame: its 4 KiB and what is kept for it */
#define RAM_LOWER_BYTES (8ull << 20)

struct ram_fixture {
	struct world *w;
	struct blk *lower;
	struct ram_tier *t;
	struct ram_volume *v;
	struct blk *b; /* the volume's */
};

/* `frames` per loop. `spec` is the lower blk's; NULL: a fault store without faults. */
void ram_setup(struct ram_fixture *f, struct world *w, uint32_t frames, const char *spec);
void ram_teardown(struct ram_fixture *f);
struct ram_volume *ram_open_volume(struct ram_fixture *f, struct blk *lower);
void ram_close_volume(struct ram_fixture *f, struct ram_volume *v);

void ram_set(struct ram_fixture *f, bool enabled, uint32_t ahead_bytes, uint64_t cutoff_bytes);
void ram_drop(struct ram_fixture *f);
/* Starts a resize; *ret_done is set to 1 + result negated when it is done. */
void ram_resize_start(struct ram_fixture *f, uint32_t frames, int *ret_done);
int ram_resize(struct ram_fixture *f, uint32_t frames);
struct ram_tier_stats ram_stats(struct ram_fixture *f);
/* READs that reached the lower blk. */
uint64_t ram_lower_reads(struct ram_fixture *f);

#endif
