/* SPDX-License-Identifier: BSD-2-Clause */
/* What every store has to do, whatever is behind it. The store starts out reading as zeros. */
#ifndef TESTS_STORE_SUITE_H
#define TESTS_STORE_SUITE_H

#include "harness.h"

#define SUITE_BYTES (6ull * 1024 * 1024) /* size the store must at least have */

void suite_basic(struct world *w, struct blk *b);
void suite_edges(struct world *w, struct blk *b);
void suite_big(struct world *w, struct blk *b);
void suite_zeroes(struct world *w, struct blk *b);
void suite_extents(struct world *w, struct blk *b);
void suite_foreign_memory(struct world *w, struct blk *b);
void suite_stats(struct world *w, struct blk *b);
/* Random operations against a model, `ops` of them one after another, from random loops. */
void suite_random(struct world *w, struct blk *b, uint64_t seed, unsigned ops);
/* The same with many in flight on ranges that don't overlap. */
void suite_parallel(struct world *w, struct blk *b, uint64_t seed, unsigned rounds);
/* All of the above. */
void suite_all(struct world *w, struct blk *b, uint64_t seed);

#endif
