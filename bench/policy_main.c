/* SPDX-License-Identifier: BSD-2-Clause */
/* terrace-bench-policy: runs every trace through every policy; one JSON object on stdout. */
#include "bench/policy.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SIZES 4u
#define SEGS 128u
#define SEGS_FEW 32u /* as an SSD of 2 GiB has */

static const double shares[SIZES] = {0.01, 0.03, 0.1, 0.3};

struct options {
	struct trace_config trace;
	const char *only; /* a trace's name, or NULL */
};

static int
segs128(const struct trace *t, uint32_t blocks, struct run_result *ret)
{
	return run_segs(t, blocks, SEGS, ret);
}

static int
segs32(const struct trace *t, uint32_t blocks, struct run_result *ret)
{
	return run_segs(t, blocks, SEGS_FEW, ret);
}

static const struct {
	const char *name;
	int (*run)(const struct trace *t, uint32_t blocks, struct run_result *ret);
} policies[] = {
    {"belady", run_belady},
    {"lru", run_lru},
    {"arc", run_arc},
    {"s3", run_s3},
    {"ram", run_s3_streams},
    {"ssd", segs128},
    {"ssd32", segs32},
};

/* One trace at one size; NULL: no memory. */
static json_t *
run_size(const struct trace *t, uint32_t blocks, double share, double mrc)
{
	json_t *o =
	    json_pack("{s:f,s:I,s:f}", "share", share, "blocks", (json_int_t)blocks, "curve", mrc);
	for (unsigned p = 0; o && p < sizeof policies / sizeof policies[0]; p++) {
		struct run_result r = {0};
		if (policies[p].run(t, blocks, &r)) {
			json_decref(o);
			return NULL;
		}
		json_t *one = json_pack("{s:f,s:f,s:I}", "hits", r.hit_ratio, "ssd_writes_per_fill",
		    r.writes_per_fill, "resident_max", (json_int_t)r.resident_max);
		json_object_set_new(o, policies[p].name, one);
	}
	return o;
}

static json_t *
run_trace(const struct trace *t)
{
	json_t *sizes = json_array();
	uint32_t blocks[SIZES];
	double mrc[SIZES];
	for (unsigned i = 0; i < SIZES; i++)
		blocks[i] = (uint32_t)(shares[i] * t->unique);
	if (!sizes || run_mrc(t, blocks, SIZES, mrc)) {
		json_decref(sizes);
		return NULL;
	}
	for (unsigned i = 0; i < SIZES; i++) {
		json_t *one = run_size(t, blocks[i], shares[i], mrc[i]);
		if (!one) {
			json_decref(sizes);
			return NULL;
		}
		json_array_append_new(sizes, one);
	}
	return json_pack("{s:s,s:s,s:I,s:I,s:o}", "name", t->name, "title", t->title, "accesses",
	    (json_int_t)t->accesses, "unique", (json_int_t)t->unique, "sizes", sizes);
}

static int
run_traces(const struct options *opt, json_t *out)
{
	for (unsigned n = 0; n < trace_count(); n++) {
		struct trace t;
		if (trace_make(n, &opt->trace, &t))
			return -1;
		if (!opt->only || !strcmp(opt->only, t.name)) {
			json_t *one = run_trace(&t);
			if (!one || json_array_append_new(out, one)) {
				trace_fini(&t);
				return -1;
			}
		}
		trace_fini(&t);
	}
	return 0;
}

static int
run_destages(const struct options *opt, json_t *out)
{
	const uint32_t n = opt->trace.universe / 4;
	const struct {
		uint32_t ssd, offered, gap;
	} runs[] = {{4 * n, 20000, 0}, {4 * n, 100000, 0}, {4 * n, 100000, 4}, {n, 100000, 0}};
	for (unsigned i = 0; i < sizeof runs / sizeof runs[0]; i++) {
		struct destage_config cfg = {.blocks = n,
		    .ssd_blocks = runs[i].ssd,
		    .dirty_max = n / 2,
		    .gap_max = runs[i].gap,
		    .theta = 0.99,
		    .offered_per_s = runs[i].offered,
		    .seed = opt->trace.seed};
		struct destage_result r;
		if (run_destage(&cfg, &r))
			return -1;
		json_t *one = json_pack("{s:f,s:I,s:I,s:I,s:I,s:I,s:f,s:f,s:f,s:f}", "ssd_share",
		    (double)cfg.ssd_blocks / n, "offered_per_s", (json_int_t)cfg.offered_per_s,
		    "gap_max", (json_int_t)cfg.gap_max, "written", (json_int_t)r.written,
		    "store_writes", (json_int_t)r.store_writes, "drain_writes",
		    (json_int_t)r.drain_writes, "slow_from", r.slow_from, "dirty_max", r.dirty_max,
		    "stalled_s", r.stalled_s, "seconds", r.seconds);
		if (!one || json_array_append_new(out, one))
			return -1;
	}
	return 0;
}

static const char usage[] =
    "usage: terrace-bench-policy [--accesses N] [--universe N] [--writes PERCENT] [--seed N] "
    "[--trace NAME]\n";

static int
parse(int argc, char **argv, struct options *opt)
{
	for (int i = 1; i < argc; i += 2) {
		char *end = NULL;
		unsigned long long v = 0;
		if (i + 1 == argc)
			return -1;
		if (strcmp(argv[i], "--trace")) {
			v = strtoull(argv[i + 1], &end, 10);
			if (*end || end == argv[i + 1])
				return -1;
		}
		if (!strcmp(argv[i], "--trace"))
			opt->only = argv[i + 1];
		else if (!strcmp(argv[i], "--accesses") && v >= 1000 && v <= 100000000)
			opt->trace.accesses = v;
		else if (!strcmp(argv[i], "--universe") && v >= 65536 && v <= 1u << 26)
			opt->trace.universe = (uint32_t)v;
		else if (!strcmp(argv[i], "--writes") && v <= 100)
			opt->trace.write_percent = (uint32_t)v;
		else if (!strcmp(argv[i], "--seed"))
			opt->trace.seed = v;
		else
			return -1;
	}
	return 0;
}

int
main(int argc, char **argv)
{
	struct options opt = {.trace = {.universe = 1 << 18, .accesses = 2000000, .seed = 1}};
	if (parse(argc, argv, &opt)) {
		fputs(usage, stderr);
		return 2;
	}
	json_t *traces = json_array(), *destages = json_array();
	int rc = !traces || !destages || run_traces(&opt, traces) ||
	         (!opt.only && run_destages(&opt, destages));
	json_t *out = json_pack("{s:I,s:I,s:I,s:I,s:o,s:o}", "seed", (json_int_t)opt.trace.seed,
	    "accesses", (json_int_t)opt.trace.accesses, "universe", (json_int_t)opt.trace.universe,
	    "write_percent", (json_int_t)opt.trace.write_percent, "traces", traces, "destage",
	    destages);
	if (rc || !out) {
		fputs("terrace-bench-policy: out of memory\n", stderr);
		rc = 1;
	} else {
		rc = json_dumpf(out, stdout, JSON_REAL_PRECISION(6) | JSON_INDENT(1)) ||
		     puts("") < 0;
	}
	json_decref(out);
	return rc;
}
