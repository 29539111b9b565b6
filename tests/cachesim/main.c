/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The cache in simulation: crashes at every instant, in every way.
 *
 *	sim-cache [-n COUNT] [-f FIRST] [FILE...]   seeds FIRST.., and those listed in files
 *	sim-cache -s SEED [-v [-v]]                 one seed, with its story on stderr, with I/O
 *	sim-cache -x COUNT                          short workloads, cut at every event
 *	sim-cache -r …                              as otherwise, and bits of the SSD decay
 *	sim-cache -z …                              as otherwise, and every seed compresses, not one in three
 *	sim-cache -R …                              as otherwise, and every seed resizes, not one in four
 *	sim-cache -T …                              as -R, and is cut at each step of it
 *	sim-cache -G …                              as otherwise, and in every seed volumes grow, not one in four
 *	sim-cache -t SECONDS                        new seeds for so long
 *	sim-cache -d[NAME]                          the stories (stories.c), or one of them, of several seeds
 *	sim-cache [-N SEEDS] -m[NAME]               without each guard in turn: the seed that misses it
 *	sim-cache -g NAME …                         without this guard
 *
 * Exit status 0: all held. Each batch of seeds runs in a child process, so that one that ends it is named.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/cachesim/world_priv.h"

#define STORY_SEEDS 8u
#define MUTANT_SEEDS 1500u /* at most, for each guard */

static uint64_t mutant_seeds = MUTANT_SEEDS;
static bool rot;                  /* in every seed */
static bool rewrite;              /* …much of what is hit, with zeros that stay dirty */
static const struct story *story; /* instead of what a seed makes of it */
/* What was found before there was compression is found again only without it. */
static enum { PACK_SOME, PACK_ALL, PACK_NONE } pack;
/* …and before a cache could become larger or smaller. */
static enum { RESIZE_SOME, RESIZE_ALL, RESIZE_STEPS, RESIZE_NONE } resize;

/* …and before a volume could become larger while it is used. */
static enum { GROW_SOME, GROW_ALL, GROW_NONE } grow;

struct shared {
	struct sim_totals totals;
	uint64_t seed;
};
static struct shared *shared;

static uint32_t
one_of(uint64_t *r, uint32_t a, uint32_t b, uint32_t c, uint32_t d)
{
	const uint32_t all[] = {a, b, c, d};
	return all[rng_below(r, 4)];
}

static void
config(uint64_t seed, bool exhaustive, struct sim_cfg *c)
{
	uint64_t r = seed * 77 + 5;
	*c = (struct sim_cfg){
	    .seed = seed,
	    .loops = 1 + (unsigned)rng_below(&r, 2),
	    .ops = 20 + (uint32_t)rng_below(&r, 120),
	    .depth = 1 + (uint32_t)rng_below(&r, 3),
	    .cut_one_in = 20 + (uint32_t)rng_below(&r, 60),
	    .losses = 2,
	    .cuts_max = 250,
	    .segment_blocks = 16,
	    .segments = 6 + (uint32_t)rng_below(&r, 3),
	    .tasks = 1 + (uint32_t)rng_below(&r, TASKS_MAX),
	    .sectors = one_of(&r, 0, 16, 40, 96),
	    .weight = {10, 6, one_of(&r, 0, 1, 3, 5), one_of(&r, 0, 1, 2, 3), 1, 1,
	        one_of(&r, 0, 0, 1, 2), one_of(&r, 0, 1, 2, 3), one_of(&r, 0, 0, 0, 1), 0,
	        one_of(&r, 0, 0, 0, 1), 1},
	};
	c->ssd_write_error = one_of(&r, 0, 0, 0, 60);
	c->ssd_read_error = one_of(&r, 0, 0, 0, 50);
	c->ssd_flush_error = one_of(&r, 0, 0, 20, 3);
	c->store_flush_error = one_of(&r, 0, 0, 4, 10);
	c->store_write_error = one_of(&r, 0, 0, 0, 10);
	c->store_broken = one_of(&r, 0, 0, 0, 2);
	c->slow = one_of(&r, 0, 0, 30, 8);
	/* Then what was acknowledged may be gone; it must be said, or be without a witness. */
	c->lie = rng_below(&r, 8) == 0 ? 40 : 0;
	c->index_cap = rng_below(&r, 5) == 0;
	c->few_frames = rng_below(&r, 4) == 0;
	c->reopen = rng_below(&r, 4) == 0;
	c->ssd_breaks = rng_below(&r, 6) == 0;
	c->rot = rng_below(&r, 6) == 0 || rot ? 2 : 0;
	c->absent = rng_below(&r, 6) == 0;
	c->dies = rng_below(&r, 5) == 0;
	c->impatient = rng_below(&r, 5) == 0;
	if (c->ssd_breaks) {
		c->ssd_write_error = c->ssd_flush_error = c->lie = 0;
		c->store_flush_error = c->store_write_error = c->store_broken = 0;
	}
	if (rng_below(&r, 12) == 0) {
		/* Fills are sealed while checkpoints are written, and flushes fail. */
		c->weight[1] = 20;
		c->weight[6] = 6;
		c->weight[7] = 10;
		c->ssd_flush_error = 2;
		c->slow = 6;
	}
	/* By a chance of its own: what came before is the same for each seed as it was. */
	uint64_t own = seed * 131 + 7;
	c->controller = rng_below(&own, 2) == 0;
	if (rng_below(&own, 3) == 0 || rewrite) {
		/* Room for a segment of what is rewritten, and reads of the same again. */
		c->segments = 9 + (uint32_t)rng_below(&own, 4);
		c->weight[1] = 16;
		c->free_more = (uint32_t)rng_below(&own, 4);
		/* Zeros that stay dirty under what is clean already. */
		if ((rng_below(&own, 2) == 0 || rewrite) && !c->ssd_breaks && c->lie == 0) {
			c->weight[2] = c->weight[3] = 4;
			c->store_write_error = 4;
		}
	}
	c->ssd_goes = rng_below(&own, 6) == 0 && c->lie == 0 && !exhaustive;
	if (c->ssd_goes) {
		c->ssd_write_error = c->ssd_flush_error = 0;
		c->ssd_read_error = 50; /* reads may fail */
	}
	uint64_t third = seed * 193 + 11;
	c->compress = pack == PACK_ALL || (pack == PACK_SOME && rng_below(&third, 3) == 0);
	uint64_t fourth = seed * 389 + 3;
	c->resizes = resize == RESIZE_ALL || resize == RESIZE_STEPS ||
	             (resize == RESIZE_SOME && rng_below(&fourth, 4) == 0);
	c->cut_steps = resize == RESIZE_STEPS;
	if (c->resizes)
		c->weight[OP_RESIZE] = (c->cut_steps ? 4 : 1) + (uint32_t)rng_below(&fourth, 4);
	uint64_t fifth = seed * 547 + 29;
	if (rng_below(&fifth, 12) == 0 && !c->ssd_breaks) {
		/* Changes of the mode while flushes that will fail are under way. */
		c->store_flush_error = 3;
		c->slow = 4;
		c->weight[OP_BLK_FLUSH] += 8;
		c->weight[OP_MODE] += 6;
	}
	uint64_t sixth = seed * 701 + 17;
	c->grows = grow == GROW_ALL || (grow == GROW_SOME && rng_below(&sixth, 4) == 0);
	if (c->grows) {
		c->weight[OP_GROW] = 1 + (uint32_t)rng_below(&sixth, 3);
		c->sectors = 0;
	}
	if (exhaustive) {
		c->ops = 3 + (uint32_t)rng_below(&r, 8);
		c->depth = 1;
		c->cut_one_in = 1;
		c->losses = LOSS_COUNT;
		c->cuts_max = UINT32_MAX;
	}
}

static void
run_seed(uint64_t seed, bool exhaustive)
{
	struct sim_cfg c = {.seed = seed, .story = story};
	shared->seed = seed;
	if (story != NULL)
		story->config(&c);
	else
		config(seed, exhaustive, &c);
	sim_run(&c);
	shared->totals = totals;
}

/* Seconds of the processor: a busy machine is no failure. */
static void
end_after(unsigned seconds)
{
	const struct itimerval t = {.it_value = {.tv_sec = seconds}};
	setitimer(ITIMER_PROF, &t, NULL);
}

/* In a child: the number of a seed that failed, or 0. */
static uint64_t
run_batch(uint64_t first, uint64_t count, bool exhaustive, unsigned seconds, bool quiet)
{
	time_t end = time(NULL) + seconds;
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) {
		totals = shared->totals;
		if (quiet && freopen("/dev/null", "w", stderr) == NULL)
			_exit(3);
		struct rlimit none = {0, 0};
		setrlimit(RLIMIT_CORE, &none);
		for (uint64_t s = first; count == 0 || s < first + count; s++) {
			if (quiet)
				end_after(120); /* without a guard a seed may never end */
			run_seed(s, exhaustive);
			if (seconds > 0 && time(NULL) >= end)
				break;
		}
		_exit(0);
	}
	int status;
	if (waitpid(pid, &status, 0) < 0)
		return 1;
	return status == 0 ? 0 : shared->seed;
}

static void
report(void)
{
	const struct sim_totals *t = &shared->totals;
	printf("cuts %" PRIu64 " (within recovery or after a crash %" PRIu64
	       "), operations %" PRIu64 ", sectors verified %" PRIu64 ", attached %" PRIu64
	       ", refused %" PRIu64 "\n",
	    t->cuts, t->deep_cuts, t->ops, t->verified, t->attaches, t->refused);
	printf(
	    "decayed bits: %" PRIu64 ", of which refused %" PRIu64 "\n", t->rotten, t->rot_refused);
	printf("drives that lied: %" PRIu64 " sectors lost in caches that attached\n", t->lied);
	printf("fills %" PRIu64 ", checkpoints %" PRIu64 ", evicted %" PRIu64 ", copies %" PRIu64
	       ", SSD errors in %" PRIu64 " lives\n",
	    t->fills, t->checkpoints, t->evicted, t->copies, t->epochs);
	printf("rewritten %" PRIu64 ", gaps written %" PRIu64 ", requests slowed %" PRIu64 "\n",
	    t->rewritten, t->gaps, t->slowed);
	printf("grown %" PRIu64 ", shrunk %" PRIu64 ", of these refused or given up %" PRIu64 "\n",
	    t->grown, t->shrunk, t->resizes_failed);
	printf("volumes grown %" PRIu64 ", not grown for an error %" PRIu64 "\n", t->vols_grown,
	    t->vols_not_grown);
	printf("compressed %" PRIu64 " KiB to %" PRIu64 ", refused %" PRIu64 ", not tried %" PRIu64
	       "\n",
	    t->pack_in >> 10, t->pack_out >> 10, t->pack_refused >> 10, t->pack_skipped >> 10);
}

static int
run_file(const char *path)
{
	FILE *f = fopen(path, "r");
	char line[256];
	uint64_t bad = 0;
	if (f == NULL) {
		perror(path);
		return 2;
	}
	while (bad == 0 && fgets(line, sizeof line, f) != NULL) {
		uint64_t seed;
		grow = GROW_ALL;
		if (sscanf(line, "growing %" SCNu64, &seed) == 1)
			bad = run_batch(seed, 1, false, 0, false);
		grow = GROW_NONE;
		resize = RESIZE_ALL;
		if (bad == 0 && sscanf(line, "resized %" SCNu64, &seed) == 1)
			bad = run_batch(seed, 1, false, 0, false);
		if (bad == 0 && sscanf(line, "resized short %" SCNu64, &seed) == 1)
			bad = run_batch(seed, 1, true, 0, false);
		resize = RESIZE_SOME;
		if (bad == 0 && sscanf(line, "mixed %" SCNu64, &seed) == 1)
			bad = run_batch(seed, 1, false, 0, false);
		resize = RESIZE_NONE;
		pack = PACK_ALL;
		if (bad == 0 && sscanf(line, "packed %" SCNu64, &seed) == 1)
			bad = run_batch(seed, 1, false, 0, false);
		pack = PACK_NONE;
		if (bad == 0 && sscanf(line, "seed %" SCNu64, &seed) == 1)
			bad = run_batch(seed, 1, false, 0, false);
		else if (bad == 0 && sscanf(line, "short %" SCNu64, &seed) == 1)
			bad = run_batch(seed, 1, true, 0, false);
		rot = sscanf(line, "decay %" SCNu64, &seed) == 1;
		if (bad == 0 && rot)
			bad = run_batch(seed, 1, false, 0, false);
		rot = false;
		pack = PACK_SOME;
		resize = RESIZE_SOME;
		grow = GROW_SOME;
	}
	fclose(f);
	if (bad != 0)
		printf("%s: seed %" PRIu64 " failed\n", path, bad);
	return bad != 0;
}

static const char *const mutant_names[] = {
#define NAME(name) #name,
    CACHE_MUTANTS(NAME)
#undef NAME
};

/* What these prevent needs decay. */
static bool
needs_rot(unsigned m)
{
	return m == CACHE_MUTANT_NO_SLOTS_CRC || m == CACHE_MUTANT_NO_USED ||
	       m == CACHE_MUTANT_HEADER_ONCE || m == CACHE_MUTANT_PACK_NO_CRC;
}

/* Of the processor, all children: the machine may have other things to do. */
static double
seconds_used(void)
{
	struct rusage r;
	getrusage(RUSAGE_CHILDREN, &r);
	return (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) +
	       (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1e6;
}

/* …rewriting under which zeros are dirty. */
static bool
needs_rewrite(unsigned m)
{
	return m == CACHE_MUTANT_REWRITE_NO_CHECK;
}

/* …compression. */
static bool
needs_pack(unsigned m)
{
	return m == CACHE_MUTANT_PACK_NO_CRC || m == CACHE_MUTANT_PACK_ONE_BIT;
}

static const struct story *
story_of(unsigned mutant)
{
	for (unsigned i = 0; i < story_count; i++)
		for (unsigned k = 0; k < sizeof stories[i].guards / sizeof stories[i].guards[0];
		     k++)
			if (stories[i].guards[k] == mutant)
				return &stories[i];
	return NULL;
}

static int
run_stories(const char *only)
{
	int failed = 0, run = 0;
	for (unsigned i = 0; i < story_count; i++) {
		if (only != NULL && strcmp(only, stories[i].name) != 0)
			continue;
		story = &stories[i];
		uint64_t bad = run_batch(1, STORY_SEEDS, false, 0, false);
		if (bad != 0)
			printf("story %s: seed %" PRIu64 " failed\n", story->name, bad);
		failed += bad != 0;
		run++;
	}
	story = NULL;
	report();
	return failed > 0 || run == 0;
}

/* What this prevents needs more blocks than volumes have here: unit-cache-guards shows it. */
static bool
is_missed_elsewhere(unsigned m)
{
	return m == CACHE_MUTANT_STUCK_NO_CAP;
}

/* …an SSD that grows and shrinks; the others are missed without. */
static bool
needs_resize(unsigned m)
{
	return m == CACHE_MUTANT_GROW_NO_CHECKPOINT || m == CACHE_MUTANT_GROW_OLD_GENERATION ||
	       m == CACHE_MUTANT_GROW_SAME_GENERATION || m == CACHE_MUTANT_GROW_SUPER_LATE ||
	       m == CACHE_MUTANT_SHRINK_NOT_EMPTY || m == CACHE_MUTANT_SHRINK_SUPER_FIRST;
}

/* …a volume that grows while it is used. */
static bool
needs_grow(unsigned m)
{
	return m == CACHE_MUTANT_GROW_SHOWN_EARLY || m == CACHE_MUTANT_GROW_STORE_NO_FLUSH;
}

/* The table guard → seed and seconds until the simulation misses it. */
static int
mutants(const char *only)
{
	int missed = 0;
	unsigned as_said = pack;
	for (unsigned m = 1; m < CACHE_MUTANT_COUNT; m++) {
		if (only != NULL && strcmp(only, mutant_names[m]) != 0)
			continue;
		if (is_missed_elsewhere(m))
			continue;
		cache_mutant = m;
		rot = needs_rot(m);
		rewrite = needs_rewrite(m);
		resize = needs_resize(m) ? RESIZE_STEPS : RESIZE_NONE;
		grow = needs_grow(m) ? GROW_ALL : GROW_NONE;
		pack = needs_pack(m) ? PACK_ALL : as_said;
		story = story_of(m);
		double began = seconds_used();
		uint64_t bad = run_batch(1, mutant_seeds, false, 0, true);
		double took = seconds_used() - began;
		if (bad != 0)
			printf("%-22s seed %4" PRIu64 "  %.1f s%s%s\n", mutant_names[m], bad, took,
			    story != NULL ? "  story " : "", story != NULL ? story->name : "");
		else
			printf("%-22s not missed in %" PRIu64 " seeds, %.1f s\n", mutant_names[m],
			    mutant_seeds, took);
		fflush(stdout);
		missed += bad == 0;
	}
	return missed > 0;
}

int
main(int argc, char **argv)
{
	uint64_t first = 1, count = 0, bad = 0;
	int opt;
	shared =
	    mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		return 2;
	while ((opt = getopt(argc, argv, "n:f:s:x:t:m::g:vS:N:rRTGzd::")) != -1) {
		switch (opt) {
		case 'n':
			count = strtoull(optarg, NULL, 0);
			break;
		case 'f':
			first = strtoull(optarg, NULL, 0);
			break;
		case 'v':
			drive_verbose = sim_verbose;
			sim_verbose = true;
			break;
		case 'g':
			for (unsigned m = 0; m < CACHE_MUTANT_COUNT; m++)
				if (strcmp(optarg, mutant_names[m]) == 0)
					cache_mutant = m;
			break;
		case 's':
			run_seed(strtoull(optarg, NULL, 0), false);
			report();
			return 0;
		case 'S':
			run_seed(strtoull(optarg, NULL, 0), true);
			report();
			return 0;
		case 'x':
			bad = run_batch(first, strtoull(optarg, NULL, 0), true, 0, false);
			break;
		case 't':
			bad = run_batch((uint64_t)time(NULL) * 1000003, 0, false,
			    (unsigned)atoi(optarg), false);
			break;
		case 'r':
			rot = true;
			break;
		case 'R':
			resize = RESIZE_ALL;
			break;
		case 'T':
			resize = RESIZE_STEPS;
			break;
		case 'G':
			grow = GROW_ALL;
			break;
		case 'z':
			pack = PACK_ALL;
			break;
		case 'N':
			mutant_seeds = strtoull(optarg, NULL, 0);
			break;
		case 'd':
			return run_stories(optarg);
		case 'm':
			return mutants(optarg);
		default:
			return 2;
		}
	}
	if (bad == 0 && count > 0)
		bad = run_batch(first, count, false, 0, false);
	for (int i = optind; bad == 0 && i < argc; i++)
		if (run_file(argv[i]) != 0)
			return 1;
	if (bad != 0) {
		printf("seed %" PRIu64 " failed\n", bad);
		return 1;
	}
	report();
	return 0;
}
