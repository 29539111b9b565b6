/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A cache over devices that take the time they are told to, in a simulated world: what is asserted of rates
 * and latencies is simulated time, the same on any machine. Initiators write all the time; stores remember
 * which writes they got.
 */
#ifndef TESTS_UNIT_CACHE_RIG_H
#define TESTS_UNIT_CACHE_RIG_H

#include "tests/unit/store/harness.h"

#include "cache/cache.h"

#define RIG_MIB (1u << 20)
#define RIG_BLOCK 4096u
#define RIG_VOLUMES 2u
#define RIG_MS 1000000ull /* ns */

/* What a device was asked for. */
struct rig_op {
	enum blk_op op;
	uint64_t at, len; /* bytes */
};

/* What a device does; may be changed while it is used. */
struct rig_device {
	uint64_t size_bytes, op_ns;
	uint32_t depth; /* operations it works on at once, in the order they came; 0: any number */
	uint32_t optimal_bytes;
	bool is_rotational;
	bool holds; /* answers nothing */
	int err;    /* what it answers, if not 0 */
	/* what it was asked: changes only, the first `log_cap` of them */
	struct rig_op *log;
	uint32_t log_cap, logged;
	uint64_t writes, flushes, blocks; /* that ended well */
	uint32_t reads, reads_most;       /* that it has, and had at most */
};

struct rig {
	struct world *w;
	struct rig_device ssd, store[RIG_VOLUMES];
	uint32_t segment_blocks;
	struct cache *cache;
	struct cache_volume *vol[RIG_VOLUMES];
	struct blk *ssd_blk, *store_blk[RIG_VOLUMES];
	struct rig_marker {
		struct cache_marker now;
		int err; /* what setting it answers */
	} marker[RIG_VOLUMES];
	struct cache_tuning tuning; /* as by default */
};

/* One world at a time. Fill in the devices first; those of volumes without a size don't exist. */
void rig_init(struct rig *r, uint64_t ssd_bytes, uint32_t segment_blocks);
void rig_begin(struct rig *r);
/* What waits on the SSD stays there. */
void rig_end(struct rig *r);
/* Lets time pass until the device does what it is told now. */
void rig_device_resume(struct rig *r, struct rig_device *d);
void rig_run(struct rig *r, uint64_t ns);
/* A call of cache.h that ends by cache_done_fn: what it ended with. */
int rig_flush(struct rig *r, unsigned vol);
/* What it ended with: the volume is open, or not. */
int rig_open(struct rig *r, unsigned vol);
void rig_close(struct rig *r, unsigned vol);
/* Closes the volume and opens it again, where the store answers `err` meanwhile. */
void rig_reopen(struct rig *r, unsigned vol, int err);
struct cache_volume_stats rig_stats(const struct rig *r, unsigned vol);
struct cache_stats rig_cache_stats(const struct rig *r);
/* Percent of the SSD that is dirty. */
double rig_dirty_percent(const struct rig *r);
/* One write, waited for. */
int rig_write(struct rig *r, unsigned vol, uint64_t block, uint32_t blocks);

/* ---- initiators ------------------------------------------------------------------------------- */

struct rig_load {
	struct rig *r;
	unsigned vol;
	uint32_t depth;
	uint64_t blocks;     /* random ones below this */
	double zipf_theta;   /* 0: each as likely as the others */
	uint64_t writes_max; /* 0: until it is stopped */
	/* since the last rig_load_reset() */
	uint64_t acked, busy, errors;
	uint64_t latency_max_ns;
	uint64_t *latency_ns; /* of the first RIG_LATENCIES */
	/* its own */
	struct rig_write *writes;
	double *zipf;
	uint32_t *order;
	uint64_t begun, running, seed;
	bool stops;
};
#define RIG_LATENCIES 65536u

void rig_load_start(struct rig_load *l);
/* Waits until all that it may write is written. */
void rig_load_wait(struct rig_load *l);
/* Begins nothing more, and waits for what runs. */
void rig_load_stop(struct rig_load *l);
void rig_load_reset(struct rig_load *l);
/* Of those answered since the reset, at most RIG_LATENCIES. */
uint64_t rig_load_p99_ns(struct rig_load *l);

#endif
