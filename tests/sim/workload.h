/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the initiators do, and what they must find. Unit 0 (over a store that errs and takes its
 * time) takes overlapping reads and writes, counters that COMPARE AND WRITE raises, and resets; unit
 * 1 is reserved (write exclusive, registrants only), and initiators preempt each other's
 * registrations.
 */
#ifndef TESTS_SIM_WORKLOAD_H
#define TESTS_SIM_WORKLOAD_H

#include "tests/sim/history.h"
#include "tests/sim/sim_initiator.h"
#include "tests/sim/world.h"

#define ACTORS_MAX 6u
#define DEPTH_MAX 40u
#define COUNTERS 4u

struct workload_cfg {
	unsigned actors;
	uint32_t ops; /* of each actor */
	uint32_t hot_sectors, io_sectors_max;
	uint32_t trouble;     /* percent of operations that are resets, losses, … */
	uint32_t stop_at_ops; /* the target stops when so many have ended; 0: at the end */
	uint32_t change_us;   /* the administrator changes something so often; 0: never */
};

struct workload_stats {
	uint64_t ended, good, aborted, lost, conflicts, misses, checks, busy;
	uint64_t tmfs, preempts, fences, reconnects, changes;
};

struct sim_run;
struct actor;

enum op_kind {
	OP_READ,
	OP_WRITE,
	OP_COUNT_READ, /* of a counter: COMPARE AND WRITE follows */
	OP_COUNT_UP,
	OP_REGISTER,
	OP_RESERVE,
	OP_PREEMPT,
	OP_OTHER,
};

struct op {
	struct ini_cmd cmd;
	struct actor *actor;
	struct list link; /* actor->idle, busy */
	enum op_kind kind;
	uint32_t lba, count;
	uint8_t *buf; /* both directions */
	struct hist_write *write;
	struct hist_read read;
	bool reading;
	bool aborting;        /* an ABORT TASK is under way */
	uint64_t base_stamp;  /* COUNT_UP */
	uint64_t fence;       /* the actor's fence number when it was started, 0: not fenced */
	struct actor *victim; /* PREEMPT */
	uint64_t victim_registers;
	bool resets; /* counts in sim_run.resets */
};

struct tmf_op {
	struct ini_tmf tmf;
	struct actor *actor;
	struct op *op;
	bool busy, resets;
	uint32_t level; /* iSCSIProtocolLevel of its session */
	uint64_t started_ns;
};

/* A write whose session ended without an answer: it may take effect until that session is gone. */
struct orphan {
	struct list link;
	struct hist_write *write;
};

struct actor {
	struct sim_run *run;
	unsigned idx;
	char name[64];
	char label[32]; /* for messages: host and port */
	uint8_t isid[6];
	struct ini_params params;
	struct ini *ini; /* the one that counts; older ones may still be ending */
	bool ready;      /* it is in the full feature phase */
	bool done;
	uint32_t depth, ops_left, tries;
	struct list idle, busy;
	struct op ops[DEPTH_MAX];
	struct tmf_op tmfs[4];
	struct list orphans; /* struct orphan: writes of sessions that ended */
	struct loop_timer again, check;
	/* reservations */
	uint64_t key, keys;
	uint64_t registers; /* commands started so far */
	uint32_t registers_busy, registers_lost;
	bool wants_register;
	uint64_t fence, fences; /* number of the fence in force, 0: none */
	uint32_t resets_lost[WORLD_NUMBERS];
	uint32_t verify_at, verify_tries;
};

struct sim_run {
	struct world *world;
	struct workload_cfg cfg;
	struct sim_rng rng;
	struct hist *hist;
	struct actor actors[ACTORS_MAX];
	unsigned actors_done;
	bool reserved; /* unit 1 is, for good */
	uint32_t
	    resets[WORLD_NUMBERS]; /* under way, that may end commands of others without a word */
	uint64_t count_good[COUNTERS], count_maybe[COUNTERS];
	struct workload_stats stats;
	bool verifying;
	bool finished;
};

/* Starts the actors; runs until all have finished their operations and what is on the units was
 * checked; stops the target. `steps_max` and the time of the world bound it. */
void workload_run(
    struct sim_run *r, struct world *w, const struct workload_cfg *cfg, uint64_t seed);

/* ops.c: makes and judges single operations. */
void op_start(struct actor *a);
void op_start_verify(struct actor *a);
void op_trouble(struct actor *a);
void op_check_times(struct actor *a);
void op_settle_orphans(struct actor *a);
void actor_fill(struct actor *a);
void actor_reconnect(struct actor *a);

#endif
