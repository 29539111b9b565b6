/* SPDX-License-Identifier: BSD-2-Clause */
#include "bench/iscsi_load.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static double
percentile_us(const struct load_engine *e, uint32_t per_million)
{
	return (double)histogram_percentile(&e->latency, per_million) / 1000;
}

struct summary {
	uint64_t ios;
	double iops;
	double mb_s; /* 10^6 bytes */
	double cpu_us_per_io;
	double cpu_percent; /* of one core */
};

static struct summary
summarize(const struct load_engine *e)
{
	struct summary m = {.ios = e->reads + e->writes};
	double seconds = (double)e->measured_ns / 1e9;
	if (seconds > 0) {
		m.iops = (double)m.ios / seconds;
		m.mb_s = (double)e->bytes / 1e6 / seconds;
		m.cpu_percent = (double)e->cpu_ns / 1e7 / seconds;
	}
	if (m.ios)
		m.cpu_us_per_io = (double)e->cpu_ns / 1000 / (double)m.ios;
	return m;
}

static json_t *
threads_json(const struct load_engine *e)
{
	json_t *list = json_array();
	for (uint32_t i = 0; i < e->cpu_after.thread_count; i++) {
		const struct proc_cpu_thread *t = &e->cpu_after.threads[i];
		json_array_append_new(list, json_pack("{s:i, s:s, s:f}", "tid", (int)t->tid, "name",
		                                t->name, "ms", (double)t->run_ns / 1e6));
	}
	return list;
}

static void
report_json(const struct load_engine *e, const struct summary *m)
{
	static const char *const modes[] = {"load", "verify", "idle"};
	static const char *const patterns[] = {"rand", "seq", "zipf"};
	const struct load_options *o = e->opt;
	const struct load_params *p = &e->sessions[0].params;
	json_t *root = json_pack("{s:s, s:i, s:i, s:i, s:i, s:s, s:f, s:f, s:I, s:I, s:f, s:f}",
	    "mode", modes[o->mode], "sessions", (int)o->sessions, "depth", (int)o->depth, "block",
	    (int)o->block_bytes, "read_percent", (int)o->read_percent, "pattern",
	    patterns[o->pattern], "seconds", (double)e->measured_ns / 1e9, "pace_iops",
	    (double)o->pace_iops, "reads", (json_int_t)e->reads, "writes", (json_int_t)e->writes,
	    "iops", m->iops, "mb_s", m->mb_s);
	json_object_set_new(root, "latency_us",
	    json_pack("{s:f, s:f, s:f, s:f, s:f}", "mean", histogram_mean(&e->latency) / 1000,
	        "p50", percentile_us(e, 500000), "p99", percentile_us(e, 990000), "p999",
	        percentile_us(e, 999000), "max", (double)e->latency.max / 1000));
	json_object_set_new(root, "negotiated",
	    json_pack("{s:b, s:b, s:b, s:b, s:i, s:i, s:i}", "header_digest", p->header_digest,
	        "data_digest", p->data_digest, "initial_r2t", p->initial_r2t, "immediate_data",
	        p->immediate_data, "send_segment", (int)p->send_segment_bytes, "first_burst",
	        (int)p->first_burst_bytes, "max_burst", (int)p->max_burst_bytes));
	json_object_set_new(root, "errors",
	    json_pack("{s:I, s:I, s:I, s:s}", "status", (json_int_t)e->errors.status, "protocol",
	        (json_int_t)e->errors.protocol, "data", (json_int_t)e->errors.data, "first",
	        e->errors.first));
	if (o->mode == LOAD_MODE_VERIFY)
		json_object_set_new(root, "checked_blocks",
		    json_integer((json_int_t)load_verify_checked_blocks(e)));
	if (e->has_cpu) {
		json_object_set_new(root, "target_cpu",
		    json_pack("{s:f, s:f, s:I, s:I}", "us_per_io", m->cpu_us_per_io, "percent",
		        m->cpu_percent, "ticks", (json_int_t)e->cpu_after.ticks, "rss_bytes",
		        (json_int_t)e->cpu_after.rss_bytes));
		json_object_set_new(root, "target_threads", threads_json(e));
	}
	json_dumpf(root, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9));
	putchar('\n');
	json_decref(root);
}

static void
report_text(const struct load_engine *e, const struct summary *m)
{
	printf("%.0f IOPS, %.1f MB/s, %llu reads, %llu writes in %.2f s\n", m->iops, m->mb_s,
	    (unsigned long long)e->reads, (unsigned long long)e->writes,
	    (double)e->measured_ns / 1e9);
	printf("latency us: p50 %.1f  p99 %.1f  p99.9 %.1f  max %.1f\n", percentile_us(e, 500000),
	    percentile_us(e, 990000), percentile_us(e, 999000), (double)e->latency.max / 1000);
	if (e->has_cpu) {
		printf("target: %.2f us CPU per I/O, %.1f %% of a core, %llu ticks, %.1f MiB "
		       "resident\n",
		    m->cpu_us_per_io, m->cpu_percent, (unsigned long long)e->cpu_after.ticks,
		    (double)e->cpu_after.rss_bytes / 1048576);
		for (uint32_t i = 0; i < e->cpu_after.thread_count; i++)
			printf("  thread %d %-15s %.1f ms\n", (int)e->cpu_after.threads[i].tid,
			    e->cpu_after.threads[i].name,
			    (double)e->cpu_after.threads[i].run_ns / 1e6);
	}
	if (e->opt->mode == LOAD_MODE_VERIFY)
		printf("verified: %llu blocks read back\n",
		    (unsigned long long)load_verify_checked_blocks(e));
	printf("errors: %llu status, %llu protocol, %llu data\n",
	    (unsigned long long)e->errors.status, (unsigned long long)e->errors.protocol,
	    (unsigned long long)e->errors.data);
	if (e->errors.first[0])
		printf("first error: %s\n", e->errors.first);
}

void
load_report(const struct load_engine *e)
{
	struct summary m = summarize(e);
	if (e->opt->json)
		report_json(e, &m);
	else
		report_text(e, &m);
}
