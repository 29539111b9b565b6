/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The administrator of a run: changes views, units, groups, configurations, limits, ports and portals
 * and drops sessions, on the target's home loop, while the initiators work. What it leaves at the
 * end admits everybody to everything.
 */
#ifndef TESTS_SIM_CHANGES_H
#define TESTS_SIM_CHANGES_H

#include "tests/sim/world.h"

struct changes;

/* `verifying`: the administrator puts all in order and rests once it is true. From outside. */
struct changes *changes_start(
    struct world *w, uint32_t period_us, uint64_t seed, const bool *verifying);
/* The world is at rest, the server destroyed: everything must have come back. Frees it. */
void changes_down(struct changes *c);
/* How many were made, and how many sessions they ended. */
uint64_t changes_made(const struct changes *c);

#endif
