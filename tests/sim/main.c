/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Simulated iSCSI: a whole target and its initiators in one thread, from a seed.
 *
 *	sim-iscsi [-n COUNT] [-f FIRST] [FILE...]   seeds FIRST.. and those listed in files
 *	sim-iscsi -s SEED [-v]                      one seed, with its story on stderr
 *	sim-iscsi -t SECONDS                        new seeds for so long
 *
 * Exit status 0: all held. Each seed runs in a child process, so that one that aborts is named.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/sim/workload.h"

#define TWICE_EVERY 16u /* every so many seeds one runs twice: the same must happen */
#define BATCH 32u       /* seeds per child */

static struct workload_stats total;

/* ---- one seed ---------------------------------------------------------------------------------- */

static void
pick_configs(uint64_t seed, struct world_cfg *w, struct workload_cfg *l)
{
	struct sim_rng r = {seed * 77 + 5};

	*w = (struct world_cfg){
	    .seed = seed,
	    .loops = 1 + sim_pick(&r, 3),
	    .net_delay_us = ONE_OF(&r, 1, 20, 100, 500),
	    .net_chunk_bytes = ONE_OF(&r, 0, 0, 65536, 9000, 1448, 300),
	    .store_delay_us = ONE_OF(&r, 0, 10, 200, 1000),
	    .store_errors = sim_chance(&r, 50) ? 0.02 : 0,
	    .buf_bytes = ONE_OF(&r, 2, 4, 16, 32) * 1024 * 1024,
	    .nop_interval_ms = ONE_OF(&r, 0, 5, 100, 15000),
	    .depth = ONE_OF(&r, 4, 16, 128),
	};
	iscsi_offer_default(&w->offer);
	w->offer.max_recv_bytes = ONE_OF(&r, 512, 8192, 65536, 262144);
	w->offer.initial_r2t = sim_chance(&r, 20);
	w->offer.max_outstanding_r2t = 1 + sim_pick(&r, 8);
	*l = (struct workload_cfg){
	    .actors = 1 + sim_pick(&r, ACTORS_MAX),
	    .ops = 40 + sim_pick(&r, 120),
	    .hot_sectors = ONE_OF(&r, 8, 64, 256),
	    .io_sectors_max = ONE_OF(&r, 16, 64, 256, 1024),
	    .trouble = ONE_OF(&r, 0, 2, 5, 15),
	};
	if (w->net_chunk_bytes > 0 && w->net_chunk_bytes < 1000)
		l->io_sectors_max = 16; /* each step moves so little */
	if (sim_chance(&r, 25))
		l->stop_at_ops = 1 + sim_pick(&r, l->actors * l->ops);
	if (sim_chance(&r, 50))
		l->change_us = ONE_OF(&r, 50, 300, 2000, 10000);
}

static uint64_t
run_once(uint64_t seed)
{
	struct world_cfg wc;
	struct workload_cfg lc;
	static struct world world;
	static struct sim_run run;

	sim_seed = seed;
	pick_configs(seed, &wc, &lc);
	world_up(&world, &wc);
	workload_run(&run, &world, &lc, seed ^ 0x5eed);
	total.ended += run.stats.ended;
	total.good += run.stats.good;
	total.aborted += run.stats.aborted;
	total.lost += run.stats.lost;
	total.conflicts += run.stats.conflicts;
	total.misses += run.stats.misses;
	total.checks += run.stats.checks;
	total.busy += run.stats.busy;
	total.tmfs += run.stats.tmfs;
	total.preempts += run.stats.preempts;
	total.fences += run.stats.fences;
	total.reconnects += run.stats.reconnects;
	total.changes += run.stats.changes;
	return world_down(&world);
}

static void
run_seed(uint64_t seed)
{
	uint64_t hash = run_once(seed);
	if (seed % TWICE_EVERY != 0)
		return;
	SIM_CHECK(run_once(seed) == hash, "the same seed went another way the second time");
}

static void
print_total(void)
{
	const struct workload_stats *t = &total;
	printf("%" PRIu64 " commands ended: good %" PRIu64 ", check condition %" PRIu64
	       ", conflict %" PRIu64 ", miscompare %" PRIu64 ", busy %" PRIu64 ", aborted %" PRIu64
	       ", lost %" PRIu64 "; %" PRIu64 " TMFs, %" PRIu64 " preempts (%" PRIu64
	       " fences), %" PRIu64 " logins, %" PRIu64 " changes\n",
	    t->ended, t->good, t->checks, t->conflicts, t->misses, t->busy, t->aborted, t->lost,
	    t->tmfs, t->preempts, t->fences, t->reconnects, t->changes);
}

/* ---- many seeds -------------------------------------------------------------------------------- */

/* Runs seeds in a child, which says what it is at before each. 0: all held. */
static int
run_batch(const uint64_t *seeds, unsigned count)
{
	int fds[2];
	uint64_t at = seeds[0];
	int status = 0;

	if (pipe(fds) < 0)
		return -1;
	fflush(stdout);
	pid_t pid = fork();
	if (pid < 0)
		return -1;
	if (pid == 0) {
		memset(&total, 0, sizeof total);
		close(fds[0]);
		for (unsigned i = 0; i < count; i++) {
			if (write(fds[1], &seeds[i], sizeof seeds[i]) < 0)
				_exit(2);
			run_seed(seeds[i]);
		}
		if (write(fds[1], &total, sizeof total) < 0)
			_exit(2);
		exit(0);
	}
	close(fds[1]);
	struct workload_stats s;
	unsigned told = 0;
	while (told < count && read(fds[0], &at, sizeof at) == (ssize_t)sizeof at)
		told++;
	bool whole = read(fds[0], &s, sizeof s) == (ssize_t)sizeof s;
	close(fds[0]);
	if (waitpid(pid, &status, 0) < 0 || status != 0 || !whole) {
		fprintf(stderr,
		    "sim-iscsi: seed %" PRIu64 " failed; see: sim-iscsi -v -s %" PRIu64 "\n", at,
		    at);
		return -1;
	}
	uint64_t *sum = (uint64_t *)&total;
	const uint64_t *add = (const uint64_t *)&s;
	for (size_t i = 0; i < sizeof total / sizeof *sum; i++)
		sum[i] += add[i];
	return 0;
}

static uint64_t batch[BATCH];
static unsigned batch_count;
static uint64_t seeds_run;
static int failed;

static void
batch_end(void)
{
	if (batch_count > 0 && run_batch(batch, batch_count) < 0)
		failed = 1;
	seeds_run += batch_count;
	batch_count = 0;
}

static void
batch_add(uint64_t seed)
{
	batch[batch_count++] = seed;
	if (batch_count == BATCH)
		batch_end();
}

/* Lines "SEED  what it found"; '#' starts a comment. */
static void
add_file(const char *path)
{
	char line[512];
	FILE *f = fopen(path, "r");
	if (f == NULL) {
		fprintf(stderr, "sim-iscsi: %s: %s\n", path, strerror(errno));
		failed = 1;
		return;
	}
	while (fgets(line, sizeof line, f) != NULL) {
		char *end;
		uint64_t seed = strtoull(line, &end, 10);
		if (end != line)
			batch_add(seed);
	}
	fclose(f);
}

int
main(int argc, char **argv)
{
	uint64_t first = 1, count = 0, one = 0;
	bool have_one = false;
	time_t seconds = 0;
	int opt;

	while ((opt = getopt(argc, argv, "n:f:s:t:v")) != -1) {
		switch (opt) {
		case 'n':
			count = strtoull(optarg, NULL, 10);
			break;
		case 'f':
			first = strtoull(optarg, NULL, 10);
			break;
		case 's':
			one = strtoull(optarg, NULL, 10);
			have_one = true;
			break;
		case 't':
			seconds = (time_t)strtoll(optarg, NULL, 10);
			break;
		case 'v':
			sim_verbose = true;
			break;
		default:
			fprintf(stderr, "usage: sim-iscsi [-n COUNT] [-f FIRST] [-t SECONDS] [-v] "
			                "[-s SEED] [FILE...]\n");
			return 2;
		}
	}
	if (have_one) {
		run_seed(one);
		print_total();
		return 0;
	}
	for (; optind < argc; optind++)
		add_file(argv[optind]);
	for (uint64_t i = 0; i < count; i++)
		batch_add(first + i);
	if (seconds > 0) {
		time_t end = time(NULL) + seconds;
		uint64_t seed = (uint64_t)time(NULL) << 20 | ((uint64_t)getpid() & 0xfff) << 8;
		while (!failed && time(NULL) < end)
			batch_add(seed++);
	}
	batch_end();
	printf("%" PRIu64 " seeds: ", seeds_run);
	print_total();
	return failed || seeds_run == 0;
}
