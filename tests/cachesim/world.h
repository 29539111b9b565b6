/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A simulated world with a cache in it: an SSD, stores, and users of the volumes with an oracle. Its crash
 * is another world, made of what the drives are left with; this one goes on. So every instant of a run can
 * be cut, and what comes of it verified, without running up to it again.
 */
#ifndef TESTS_CACHESIM_WORLD_H
#define TESTS_CACHESIM_WORLD_H

#include "cache/cache_priv.h"
#include "tests/cachesim/drive.h"

#define VOLUMES 2u
#define SECTORS_MAX 160u /* of a volume */
#define ZEROS_KEPT 24u
#define TASKS_MAX 6u

/* What may be read from a volume. A value is the number of the request that wrote it; 0: never written. */
struct oracle {
	uint64_t issued;               /* last number given */
	uint64_t now[SECTORS_MAX];     /* acknowledged or read: not older than that, in this life */
	uint64_t durable[SECTORS_MAX]; /* …nor after a crash */
	uint64_t zeros[SECTORS_MAX][ZEROS_KEPT]; /* requests that zeroed it, newest first */
	uint64_t removals; /* bumped when the volume was removed: its ids start anew */
};

void zero_issued(struct oracle *o, uint64_t sector, uint64_t number);
/* What zeros can stand for, given that it isn't older than `floor`: the oldest such, or UINT64_MAX. */
uint64_t zero_value(const struct oracle *o, uint64_t sector, uint64_t floor);

struct world;
struct sim_cfg;

/* What is done in a certain order, for what chance meets too seldom; cut where it says. */
struct story {
	const char *name;
	void (*config)(struct sim_cfg *c);
	void (*run)(struct world *w);
	enum cache_mutant guards[3]; /* it misses these */
};

extern const struct story stories[];
extern const unsigned story_count;

struct sim_cfg {
	uint64_t seed;
	const struct story *story; /* instead of work by chance; NULL: none */
	unsigned loops;
	uint32_t ops;        /* in all */
	uint32_t depth;      /* of crashes within crashes */
	uint32_t cut_one_in; /* events; 1: all */
	uint32_t losses;     /* how many kinds of loss at each cut */
	uint32_t cuts_max;   /* of a seed */
	uint32_t ssd_write_error, ssd_read_error, ssd_flush_error, store_write_error,
	    store_flush_error, lie, store_broken, slow;
	uint32_t segment_blocks, segments;
	uint32_t weight[16]; /* of the kinds of operation */
	uint32_t tasks;
	uint32_t sectors;   /* part of each volume that is used */
	uint32_t free_more; /* segments that are to be free, beyond the least */
	bool controller;    /* …of destage decides when */
	bool index_cap;     /* a small index */
	bool few_frames;    /* of memory there is hardly any */
	bool reopen;        /* volumes are closed and opened again */
	bool ssd_breaks;    /* for a while */
	bool ssd_goes;      /* away, and comes back */
	bool absent;        /* after a crash one volume isn't opened */
	bool dies;          /* the SSD, before the cache is detached: takes nothing any more */
	bool impatient;     /* changes that wait are soon told BUSY */
	bool compress;      /* what is filled */
	bool resizes;       /* the cache becomes larger and smaller */
	bool cut_steps;     /* …and is cut when one step of it follows another */
	bool grows;         /* volumes do, and are cut likewise */
	uint32_t
	    rot; /* in one of so many crashes a bit of the SSD decays, once in a line of them */
};

struct sim_totals {
	uint64_t cuts, deep_cuts, ops, reads, verified, attaches, refused, epochs, reuses, copies,
	    fills, checkpoints, evicted, destaged, events, lied, rotten, rot_refused, rewritten,
	    slowed, gaps, grown, shrunk, resizes_failed, vols_grown, vols_not_grown, pack_in,
	    pack_out, pack_refused, pack_skipped;
};

extern struct sim_totals totals;
/* What a cache has done in its life. */
void totals_add(const struct cache_stats *s);
extern bool sim_verbose;

/* Runs the seed. Ends the process when something acknowledged is lost. */
void sim_run(const struct sim_cfg *cfg);

#endif
