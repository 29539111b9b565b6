/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A simulated drive: a block device in memory with a volatile write cache. What isn't flushed may be lost
 * in any subset of its sectors by a crash; requests take time and end in any order; reads, writes and
 * flushes can fail; flushes can lie; a write can go astray.
 */
#ifndef TESTS_CACHESIM_DRIVE_H
#define TESTS_CACHESIM_DRIVE_H

#include "base/list.h"
#include "store/blk_driver.h"

struct drive_cfg {
	uint64_t size_bytes;
	uint64_t seed;
	uint32_t delay_us_max;
	uint32_t slow;       /* one in so many takes fifty times as long */
	uint64_t room_bytes; /* it may grow to; 0: it doesn't */
	bool is_ssd;         /* may be asked to write the same place twice at once */
	bool is_volatile;    /* else every write is durable when it ends */
	/* one in so many, 0: never */
	uint32_t read_error, write_error, flush_error, lie;
};

struct drive {
	struct blk b; /* first */
	struct drive_cfg cfg;
	uint64_t rng;
	uint8_t *now, *durable; /* what can be read; what a crash leaves at least */
	uint64_t *stamp;        /* of each sector: number of the write that is durable there */
	struct list writes;     /* not durable yet, by number */
	struct list requests;   /* in flight */
	uint64_t count;         /* writes so far */
	uint64_t *events;       /* counts what a crash could come before or after */
	uint64_t size_kept;     /* bytes: a crash leaves as many at least… */
	uint64_t grown_at;      /* …until a flush that was asked for after this event */
	bool broken;            /* every write and flush fails */
	bool deaf;              /* every read fails */
	uint32_t read_us;       /* …that reads take besides */
	uint32_t write_us;      /* …and writes */
	uint64_t bad_bytes;     /* at its start: writes there fail and leave nothing */
	bool no_zeros;          /* every unmap and zero fails */
	bool holds;             /* flushes wait for drive_flush_end() */
	bool lands;             /* …but of the next one that does, all is there */
	uint64_t write_errors, flush_errors, lies;
};

/* What a crash does to what isn't durable. */
enum loss {
	LOSS_ALL,     /* all of it is lost, requests in flight too */
	LOSS_NONE,    /* nothing, not even what was in flight */
	LOSS_DONE,    /* what was in flight is lost */
	LOSS_WRITES,  /* some writes, whole */
	LOSS_SECTORS, /* some sectors */
	LOSS_KILL,    /* the process alone died: the drive's cache stays as it is, volatile */
	LOSS_COUNT
};

struct drive *drive_create(const struct drive_cfg *cfg, struct loop *const *loops, unsigned count,
    const char *name, uint64_t *events);
void drive_destroy(struct drive *d);
/* A new drive with what a crash of `d` leaves now. */
struct drive *drive_after_crash(struct drive *d, enum loss loss, uint64_t seed,
    struct loop *const *loops, unsigned count, uint64_t *events);

/* Flushes that wait; the one that came first ends. */
unsigned drive_held(const struct drive *d);
void drive_flush_end(struct drive *d, bool fails);

extern bool drive_verbose; /* each request on stderr */

/* The device has more sectors from now on: of zeros, or what they were before it was cut. */
void drive_grow(struct drive *d, uint64_t size_bytes);
/* …and until it is flushed a crash may take them again. */
void drive_grow_cached(struct drive *d, uint64_t size_bytes);
/* …or fewer. Nothing is in flight there. */
void drive_cut(struct drive *d, uint64_t size_bytes);

uint64_t rng_next(uint64_t *state);
uint64_t rng_below(uint64_t *state, uint64_t n);
static inline bool
rng_one_in(uint64_t *state, uint32_t n)
{
	return n > 0 && rng_below(state, n) == 0;
}

#endif
