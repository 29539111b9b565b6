/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Inside the simulation: the world, its loops and its queue of events. sim.c has time, loops,
 * messages, files and jobs; sim_net.c the sockets.
 */
#ifndef LOOP_SIM_PRIV_H
#define LOOP_SIM_PRIV_H

#include "loop/loop_priv.h"

/* What an event is, for the trace. */
enum sim_kind {
	SIM_MSG = 1,
	SIM_OP,
	SIM_JOB,
	SIM_TIMERS,
	SIM_LOCAL, /* a turn for work left in the loop */
	SIM_CALL,
	SIM_CONNECT,
	SIM_DATA,
	SIM_END,
	SIM_RESET,
	SIM_SPACE,
	SIM_NOTIFY,
};

/* Something that will happen; embedded first in what it is about, freed by its run(). */
struct sim_event {
	uint64_t at_ns;
	uint64_t seq; /* equal times in order of scheduling */
	enum sim_kind kind;
	void (*run)(struct sim_event *e);  /* with the world's time at at_ns */
	void (*drop)(struct sim_event *e); /* the world ends: free only */
};

/* Messages from one sender arrive in order: none before this time. */
struct sim_loop {
	struct loop loop; /* first */
	struct loop_sim *world;
	uint64_t last_msg_ns[LOOP_COUNT_MAX + 1]; /* by sender; the last is whoever is no loop */
};

struct loop_sim {
	struct loop_sim_cfg cfg;
	uint64_t now_ns;
	uint64_t rand_state;
	uint64_t hash;
	uint64_t seq;
	struct sim_event **heap; /* from index 1, by (at_ns, seq) */
	size_t heap_count, heap_cap;
	struct sim_loop *loops;
	struct list listeners; /* sim_net.c's */
	struct list conns;
	uint16_t next_port;
};

static inline struct loop_sim *
sim_world(const struct loop *l)
{
	ASSERT(l->sim);
	return ((const struct sim_loop *)l)->world;
}

/* 0 .. n-1; n > 0. */
uint64_t sim_below(struct loop_sim *w, uint64_t n);
/* Now plus a random delay of up to `max_us`, at least 1 ns. */
uint64_t sim_later(struct loop_sim *w, uint32_t max_us);
void sim_trace(struct loop_sim *w, enum sim_kind kind, uint64_t a, uint64_t b);
/* Allocation failure ends the test: the world is for tests only. */
void *sim_alloc(size_t bytes);
/* `e` with kind, run and drop set. */
void sim_schedule(struct loop_sim *w, struct sim_event *e, uint64_t at_ns);
/* A callback on `l` and what belongs to its turn: bracket the calls with these. */
void sim_enter(struct loop *l);
void sim_leave(struct loop *l);

extern const struct loop_net_ops loop_sim_net_ops;
void sim_net_fini(struct loop_sim *w);

#endif
