/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Shared by the files of the simulated world: world.c runs it, faults.c breaks things in it.
 */
#ifndef TESTS_CACHESIM_WORLD_PRIV_H
#define TESTS_CACHESIM_WORLD_PRIV_H

#include <stdio.h>

#include "base/assert.h"
#include "tests/cachesim/world.h"

#define SAY(...)                                                                                   \
	do {                                                                                       \
		if (sim_verbose)                                                                   \
			fprintf(stderr, __VA_ARGS__);                                              \
	} while (0)

enum op_kind {
	OP_WRITE,
	OP_READ,
	OP_UNMAP,
	OP_ZERO,
	OP_BLK_FLUSH,
	OP_FLUSH,
	OP_EVICT,
	OP_CHECKPOINT,
	OP_MODE,
	OP_REOPEN,
	OP_REMOVE,
	OP_PAUSE,
	OP_RESIZE,
	OP_GROW,
	OP_COUNT
};

/* As the marker of a store: durable when it says so. */
struct marker {
	struct cache_marker now;
	struct loop_timer timer;
	struct world *w;
	cache_done_fn *done;
	void (*got)(void *ctx, int result, const struct cache_marker *m);
	void *ctx;
	struct cache_marker next;
	bool busy;
};

struct vol {
	struct world *w;
	unsigned idx;
	struct drive *store;
	struct marker marker;
	struct cache_volume *v;
	uint64_t sectors;
	uint64_t shown; /* …of which so many to users: a crash takes none of them */
	struct oracle o;
	enum cache_mode mode;
	bool weak;    /* an acknowledgement may be lost by a crash: bypass, or on the way there */
	bool managed; /* a change of the volume as a whole runs */
	bool gone;
	uint32_t users;
	uint64_t flush_errors;
	uint32_t changes; /* of mode, begun */
};

/* A user of a volume: one request at a time. */
struct task {
	struct world *w;
	struct vol *vol;
	struct blk_io io;
	struct blk_sg sg;
	uint64_t number, first, count;
	uint64_t floor[SECTORS_MAX]; /* a read: what was known when it began */
	bool busy, weak;
	enum cache_mode mode; /* when it was submitted */
	uint32_t changes;
	uint64_t flush_errors; /* of the store, likewise */
	uint8_t *mem;
	struct loop *loop;
	enum op_kind kind;
	struct loop_timer pause;
};

struct world {
	struct sim_cfg cfg;
	unsigned level;
	struct loop_sim *sim;
	struct loop *loops[2];
	struct drive *ssd;
	struct cache *c;
	struct vol vols[VOLUMES];
	struct task tasks[TASKS_MAX];
	uint64_t rng;
	uint64_t events, cut_at;
	uint64_t mend_at; /* event at which a broken SSD works again */
	uint32_t ops_left;
	uint32_t waiting; /* management calls in flight */
	int result;
	bool attached, failed_attach, detached, checkpointing;
	bool resizing;      /* the cache, to… */
	int resize_step;    /* …its last one seen */
	int grow_step;      /* of volumes that grow, likewise */
	uint64_t resize_to; /* …so many bytes */
	bool accepts;       /* the attach goes on although something is lost */
	bool forgiven;      /* it did: nothing is promised any more */
	bool unsettled;     /* …and no checkpoint could be written since */
	uint32_t told;      /* of what is lost */
	bool rotten;        /* something on the SSD has decayed, in this life or one before */
	const char *what;
	char reason[256];
	struct {
		void *mem;
		size_t bytes;
	} hog[24];
};

struct opening {
	struct world *w;
	struct vol *v;
	bool done;
	int result;
};

__attribute__((format(printf, 2, 3))) _Noreturn void world_lost(
    const struct world *w, const char *fmt, ...);
/* Runs fn on the home loop, now. */
void world_call(struct world *w, void (*fn)(void *ctx), void *ctx);
void world_until(struct world *w, const bool *flag, const char *what);
/* Until no request and no management call is in flight. */
void world_idle(struct world *w, const char *what);
void world_work(struct world *w);
/* One event; then crashes of the world, if it is time for them. */
void world_step(struct world *w);
/* One request by one user; …to its end. */
void world_ask_begin(struct world *w, unsigned task, struct vol *v, enum op_kind kind,
    uint64_t first, uint64_t count);
void world_ask(struct world *w, struct vol *v, enum op_kind kind, uint64_t first, uint64_t count);
void world_managed(void *ctx, int result); /* ctx a vol */
void vol_manage_begins(struct vol *v);     /* sets `managed` and `weak`; world_managed() ends it */
void vol_open(struct world *w, struct vol *v);
void vol_close(struct world *w, struct vol *v);
/* barrier.c */
void vol_flush(struct world *w, struct vol *v);
void vol_flush_begin(void *vol);                      /* home loop; as world_call() calls it */
void vol_set_mode(struct vol *v, enum cache_mode to); /* home loop; sets `managed` until then */
/* Crashes of this world as it is now. */
void world_cut(struct world *w, enum loss loss);

/* marker.c; ctx a struct marker */
extern const struct cache_marker_ops marker_ops;

/* faults.c */
/* The drives make the errors that the configuration says, or none. */
void faults_on(struct world *w);
void faults_off(struct world *w);
/* After each event: whether a crash is due. */
void faults_step(struct world *w);
/* After an attach: nothing of a segment that isn't covered may count as opened since [6]. */
void faults_look(const struct world *w);
/* ctx a world: takes nearly all memory of the cache away; gives it back. */
void faults_hog(void *ctx);
void faults_unhog(void *ctx);
/* The cache is to become larger or smaller, by any amount; counts as waiting until it has. Home loop; ctx a world. */
void faults_resize(void *ctx);
/* The volume's store grows, and the volume; counts as waiting until it has. Home loop. */
void faults_grow(struct vol *v);
/* A bit of the SSD decays. */
void faults_rot(struct world *w);
/* All of it is evicted, or a part; then world_managed(). Home loop. */
void faults_evict(struct world *w, struct vol *v);
/* Volumes are closed and opened again. */
void faults_reopen(struct world *w);
/* The SSD takes nothing for a while; the volumes go into bypass and on; then a crash. */
void faults_void(struct world *w);
/* The SSD disappears under work, and returns. */
void faults_away(struct world *w);

#endif
