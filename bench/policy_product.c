/* SPDX-License-Identifier: BSD-2-Clause */
/* The product's own policy code, driven as the cache drives it, without data. */
#include "bench/policy.h"

#include <errno.h>
#include <stdlib.h>

#include "cache/policy/policy.h"

#define RESERVE_SEGS 2u     /* kept free, as the cache does */
#define CUTOFF_BLOCKS 1024u /* 4 MiB: profile vmware */
#define REQUEST_NS 100000u

/* ---- RAM tier ------------------------------------------------------------------------------- */

struct ram {
	struct policy_s3 *s3;
	struct policy_streams *streams; /* or NULL */
	struct policy_s3_node *node;    /* one a block */
	uint64_t resident, resident_max, size, hits;
};

static void
ram_access(struct ram *r, uint32_t b, bool write, bool scan)
{
	struct policy_s3_node *node = &r->node[b];
	if (policy_s3_inserted(node)) {
		r->hits += !write;
		policy_s3_hit(r->s3, node);
		return;
	}
	if (r->resident == r->size)
		policy_s3_evict(r->s3);
	else
		r->resident++;
	policy_s3_insert(r->s3, node, b, scan ? POLICY_S3_SCAN : POLICY_S3_DEMAND);
}

static void
ram_trace(struct ram *r, const struct trace *t)
{
	for (uint64_t i = 0; i < t->reqs; i++) {
		const struct trace_req *req = &t->req[i];
		bool scan = false;
		if (r->streams && !req->write) {
			struct policy_stream_answer a;
			policy_streams_read(
			    r->streams, i * REQUEST_NS, 0, req->lba, req->blocks, &a);
			scan = a.scan;
		}
		for (uint32_t b = 0; b < req->blocks; b++)
			ram_access(r, req->lba + b, req->write, scan);
	}
}

static int
run_ram(const struct trace *t, uint32_t blocks, bool streams, struct run_result *ret)
{
	struct ram r = {.size = blocks, .node = calloc(t->universe, sizeof(struct policy_s3_node))};
	struct policy_streams_config cfg = {.cutoff = CUTOFF_BLOCKS};
	int rc = -ENOMEM;
	if (r.node && !policy_s3_create(blocks, &r.s3) &&
	    (!streams || !policy_streams_create(&cfg, &r.streams))) {
		ram_trace(&r, t);
		struct policy_s3_stats st;
		policy_s3_stats(r.s3, &st);
		*ret = (struct run_result){
		    .hit_ratio = (double)r.hits / (double)t->accesses, .resident_max = st.count};
		rc = 0;
	}
	policy_s3_destroy(r.s3);
	policy_streams_destroy(r.streams);
	free(r.node);
	return rc;
}

int
run_s3(const struct trace *t, uint32_t blocks, struct run_result *ret)
{
	return run_ram(t, blocks, false, ret);
}

int
run_s3_streams(const struct trace *t, uint32_t blocks, struct run_result *ret)
{
	return run_ram(t, blocks, true, ret);
}

/* ---- SSD tier ------------------------------------------------------------------------------- */

#define NOWHERE UINT32_MAX

/* Open segments: fills and rewriting by class, and the log of writes. */
enum stream { STREAM_SMALL, STREAM_MAIN, STREAM_LOG, STREAMS };

struct ssd {
	struct policy_segs *ps;
	struct policy_streams *streams;
	uint32_t segs, per_seg;
	uint32_t *place; /* of a block: segment × per_seg + index, or NOWHERE */
	uint32_t *block; /* at a place */
	uint32_t open[STREAMS], used[STREAMS];
	uint32_t *free;
	uint32_t frees;
	uint64_t hits, filled, written;
};

static void ssd_empty_one(struct ssd *s);

static void
ssd_append(struct ssd *s, uint32_t b, enum stream to, bool hit)
{
	if (s->open[to] != NOWHERE && s->used[to] == s->per_seg) {
		policy_segs_seal(s->ps, s->open[to]);
		s->open[to] = NOWHERE;
	}
	if (s->open[to] == NOWHERE) {
		s->open[to] = s->free[--s->frees];
		s->used[to] = 0;
		policy_segs_open(
		    s->ps, s->open[to], to == STREAM_MAIN ? POLICY_MAIN : POLICY_SMALL);
	}
	uint32_t index = s->used[to]++;
	s->place[b] = s->open[to] * s->per_seg + index;
	s->block[s->place[b]] = b;
	s->written++;
	policy_segs_count(s->ps, s->open[to], 1, 0);
	if (hit)
		policy_segs_hit(s->ps, s->open[to], index);
}

static void
ssd_drop(struct ssd *s, uint32_t b)
{
	uint32_t seg = s->place[b] / s->per_seg;
	s->place[b] = NOWHERE;
	policy_segs_count(s->ps, seg, -1, 0);
}

static void
ssd_empty_one(struct ssd *s)
{
	uint32_t seg;
	if (policy_segs_victim(s->ps, &seg))
		return;
	for (uint32_t i = 0; i < s->per_seg; i++) {
		uint32_t place = seg * s->per_seg + i, b = s->block[place];
		if (b == NOWHERE || s->place[b] != place)
			continue;
		enum policy_verdict v = policy_segs_judge(s->ps, seg, i, b);
		ssd_drop(s, b);
		if (v != POLICY_DROP)
			ssd_append(s, b, STREAM_MAIN, v == POLICY_REWRITE_HIT);
	}
	for (uint32_t i = 0; i < s->per_seg; i++)
		s->block[seg * s->per_seg + i] = NOWHERE;
	policy_segs_free(s->ps, seg);
	s->free[s->frees++] = seg;
}

static void
ssd_access(struct ssd *s, uint32_t b, bool write, bool scan)
{
	uint32_t place = s->place[b];
	bool hit = place != NOWHERE;
	s->hits += hit && !write;
	if (hit && !write) {
		policy_segs_hit(s->ps, place / s->per_seg, place % s->per_seg);
		return;
	}
	if (scan)
		return;
	while (s->frees < RESERVE_SEGS)
		ssd_empty_one(s);
	hit = s->place[b] != NOWHERE; /* the victim may have held it */
	if (hit)
		ssd_drop(s, b);
	s->filled++;
	if (write)
		ssd_append(s, b, STREAM_LOG, hit);
	else
		ssd_append(s, b,
		    policy_segs_place(s->ps, b) == POLICY_MAIN ? STREAM_MAIN : STREAM_SMALL, false);
}

static int
ssd_init(struct ssd *s, const struct trace *t, uint32_t blocks, uint32_t segs)
{
	*s = (struct ssd){.segs = segs, .per_seg = blocks / segs};
	struct policy_segs_config cfg = {.segs = segs, .blocks_per_seg = s->per_seg};
	struct policy_streams_config streams = {.cutoff = CUTOFF_BLOCKS};
	s->place = malloc(t->universe * sizeof *s->place);
	s->block = malloc((size_t)segs * s->per_seg * sizeof *s->block);
	s->free = malloc(segs * sizeof *s->free);
	if (!s->place || !s->block || !s->free || policy_segs_create(&cfg, &s->ps) ||
	    policy_streams_create(&streams, &s->streams))
		return -ENOMEM;
	for (uint32_t i = 0; i < t->universe; i++)
		s->place[i] = NOWHERE;
	for (uint32_t i = 0; i < segs * s->per_seg; i++)
		s->block[i] = NOWHERE;
	for (uint32_t i = 0; i < segs; i++)
		s->free[s->frees++] = i;
	for (unsigned i = 0; i < STREAMS; i++)
		s->open[i] = NOWHERE;
	return 0;
}

int
run_segs(const struct trace *t, uint32_t blocks, uint32_t segs, struct run_result *ret)
{
	struct ssd s;
	int rc = ssd_init(&s, t, blocks, segs);
	for (uint64_t i = 0; !rc && i < t->reqs; i++) {
		const struct trace_req *req = &t->req[i];
		struct policy_stream_answer a = {.scan = false};
		if (!req->write)
			policy_streams_read(
			    s.streams, i * REQUEST_NS, 0, req->lba, req->blocks, &a);
		for (uint32_t b = 0; b < req->blocks; b++)
			ssd_access(&s, req->lba + b, req->write, a.scan);
	}
	if (!rc)
		*ret = (struct run_result){.hit_ratio = (double)s.hits / (double)t->accesses,
		    .writes_per_fill = s.filled ? (double)s.written / (double)s.filled : 0,
		    .resident_max = (uint64_t)segs * s.per_seg};
	policy_segs_destroy(s.ps);
	policy_streams_destroy(s.streams);
	free(s.place);
	free(s.block);
	free(s.free);
	return rc;
}

/* ---- curve ---------------------------------------------------------------------------------- */

int
run_mrc(const struct trace *t, const uint32_t *blocks, unsigned n, double *ret_ratios)
{
	struct policy_mrc_config cfg = {.points = n};
	for (unsigned i = 0; i < n; i++)
		cfg.blocks[i] = blocks[i];
	struct policy_mrc *m;
	struct policy_streams *streams;
	struct policy_streams_config stream_cfg = {.cutoff = CUTOFF_BLOCKS};
	if (policy_mrc_create(&cfg, &m))
		return -ENOMEM;
	if (policy_streams_create(&stream_cfg, &streams)) {
		policy_mrc_destroy(m);
		return -ENOMEM;
	}
	uint64_t reads = 0;
	for (uint64_t i = 0; i < t->reqs; i++) {
		struct policy_stream_answer a = {.scan = false};
		if (!t->req[i].write)
			policy_streams_read(
			    streams, i * REQUEST_NS, 0, t->req[i].lba, t->req[i].blocks, &a);
		enum policy_mrc_kind kind = t->req[i].write ? POLICY_MRC_WRITE
		                            : a.scan        ? POLICY_MRC_SCAN
		                                            : POLICY_MRC_READ;
		reads += t->req[i].write ? 0 : t->req[i].blocks;
		for (uint32_t b = 0; b < t->req[i].blocks; b++)
			policy_mrc_access(m, t->req[i].lba + b, kind);
	}
	struct policy_mrc_point points[POLICY_MRC_POINTS_MAX];
	policy_mrc_read(m, points);
	for (unsigned i = 0; i < n; i++)
		ret_ratios[i] = points[i].hit_ratio * (double)reads / (double)t->accesses;
	policy_mrc_destroy(m);
	policy_streams_destroy(streams);
	return 0;
}
