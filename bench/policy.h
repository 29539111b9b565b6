/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The comparison of cache policies: traces, the policies they are run through, and what comes out.
 * Deterministic: a trace is made from its name and a seed. One thread.
 */
#ifndef BENCH_POLICY_H
#define BENCH_POLICY_H

#include <stdbool.h>
#include <stdint.h>

/* ---- traces ------------------------------------------------------------------------------ */

/* One request: `blocks` blocks from `lba` on, at most 64. */
struct trace_req {
	uint32_t lba;
	uint16_t blocks;
	bool write;
};

struct trace {
	const char *name, *title;
	struct trace_req *req;
	uint64_t reqs;
	uint64_t accesses; /* blocks of all requests */
	uint32_t universe; /* blocks are 0…universe-1 */
	uint32_t unique;   /* of them accessed */
};

struct trace_config {
	uint32_t universe; /* of the random part, ≥ 1024 */
	uint64_t accesses;
	uint32_t write_percent;
	uint64_t seed;
};

unsigned trace_count(void);
/* Trace number `n`. 0 or -ENOMEM; freed with trace_fini(). */
int trace_make(unsigned n, const struct trace_config *cfg, struct trace *ret);
void trace_fini(struct trace *t);

/* Zipf ranks 0…n-1 with exponent `theta`; 0 or -ENOMEM. */
struct zipf {
	double *cdf;
	uint32_t n;
};
int zipf_init(struct zipf *z, uint32_t n, double theta);
void zipf_fini(struct zipf *z);
uint64_t bench_rand(uint64_t *state);
uint32_t zipf_draw(const struct zipf *z, uint64_t *rand);

/* ---- policies ---------------------------------------------------------------------------- */

struct run_result {
	double hit_ratio;       /* of block accesses */
	double writes_per_fill; /* SSD blocks written for each block that came in; 0: no SSD */
	uint64_t resident_max;  /* blocks: never above the size asked for */
};

/* Each takes a trace and a size in blocks. 0 or -ENOMEM. */
int run_lru(const struct trace *t, uint32_t blocks, struct run_result *ret);
int run_arc(const struct trace *t, uint32_t blocks, struct run_result *ret);
int run_belady(const struct trace *t, uint32_t blocks, struct run_result *ret);
/* The product's RAM tier, as it is, and with what its stream detector says of scans. */
int run_s3(const struct trace *t, uint32_t blocks, struct run_result *ret);
int run_s3_streams(const struct trace *t, uint32_t blocks, struct run_result *ret);
/* The product's SSD tier: `segs` segments that together have `blocks` blocks, all counted. */
int run_segs(const struct trace *t, uint32_t blocks, uint32_t segs, struct run_result *ret);
/* Read hits of all accesses, as the product's miss-ratio curve tells them. */
int run_mrc(const struct trace *t, const uint32_t *blocks, unsigned n, double *ret_ratios);

/* ---- destage ----------------------------------------------------------------------------- */

struct destage_config {
	uint32_t blocks;     /* of the volume; four times as many are written, zipf */
	uint32_t ssd_blocks; /* log, dead blocks included */
	uint32_t dirty_max;  /* blocks */
	uint32_t gap_max;    /* clean cached blocks that are written to join two runs */
	double theta;
	uint32_t offered_per_s; /* blocks that clients would write */
	uint64_t seed;
};

struct destage_result {
	uint64_t written;      /* blocks */
	uint64_t store_writes; /* until the last of them was accepted… */
	uint64_t drain_writes; /* …and to clean what was dirty then */
	double slow_from;      /* dirty share at which a write was delayed first; 0: never */
	double dirty_max;      /* largest dirty share */
	double stalled_s;      /* without room in the log */
	double seconds;        /* simulated, until the last write was accepted */
};

/*
 * Zipf writes through the product's controller and order onto a store whose every operation takes
 * 5 ms, up to 32 at a time. 0 or -ENOMEM.
 */
int run_destage(const struct destage_config *cfg, struct destage_result *ret);

#endif
