/* SPDX-License-Identifier: BSD-2-Clause */
/* What all parts of the simulation share: failing, telling, chance. */
#ifndef TESTS_SIM_SIM_H
#define TESTS_SIM_SIM_H

#include <stdbool.h>
#include <stdint.h>

extern bool sim_verbose;
extern uint64_t sim_seed; /* of the run under way, for messages */

/* The property that this run was to hold is broken: prints it and aborts. */
_Noreturn void sim_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* A line of the run's story, when somebody wants to read it. */
void sim_say(uint64_t now_ns, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
#define SIM_CHECK(cond, ...)                                                                       \
	do {                                                                                       \
		if (!(cond))                                                                       \
			sim_fail(__VA_ARGS__);                                                     \
	} while (0)

/* The workload's own stream of chance, apart from the world's. */
struct sim_rng {
	uint64_t state;
};
uint64_t sim_draw(struct sim_rng *r);
/* 0..n-1 */
uint32_t sim_pick(struct sim_rng *r, uint32_t n);
/* True `percent` times of a hundred. */
bool sim_chance(struct sim_rng *r, uint32_t percent);
uint32_t sim_one_of(struct sim_rng *r, const uint32_t *values, uint32_t count);
/* One of the values that follow. */
#define ONE_OF(r, ...)                                                                             \
	sim_one_of(r, (const uint32_t[]){__VA_ARGS__},                                             \
	    sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t))

#endif
