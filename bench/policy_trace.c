/* SPDX-License-Identifier: BSD-2-Clause */
#include "bench/policy.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define THETA 0.9

uint64_t
bench_rand(uint64_t *state)
{
	uint64_t x = *state += 0x9e3779b97f4a7c15ull;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
	return x ^ (x >> 31);
}

static uint32_t
below(uint64_t *rand, uint32_t n)
{
	return (uint32_t)(bench_rand(rand) % n);
}

int
zipf_init(struct zipf *z, uint32_t n, double theta)
{
	z->n = n;
	z->cdf = malloc(n * sizeof *z->cdf);
	if (!z->cdf)
		return -ENOMEM;
	double sum = 0;
	for (uint32_t i = 0; i < n; i++)
		z->cdf[i] = sum += pow(i + 1.0, -theta);
	for (uint32_t i = 0; i < n; i++)
		z->cdf[i] /= sum;
	return 0;
}

void
zipf_fini(struct zipf *z)
{
	free(z->cdf);
}

uint32_t
zipf_draw(const struct zipf *z, uint64_t *rand)
{
	double u = (double)(bench_rand(rand) >> 11) / 9007199254740992.0;
	uint32_t lo = 0, hi = z->n - 1;
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		if (z->cdf[mid] < u)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

struct maker {
	struct trace *t;
	const struct trace_config *cfg;
	struct zipf zipf;
	uint32_t *place; /* rank → block: a random order */
	uint64_t rand, cap;
	int rc;
};

static void
add(struct maker *m, uint32_t lba, uint32_t blocks, bool write)
{
	struct trace *t = m->t;
	if (t->reqs == m->cap) {
		uint64_t cap = m->cap ? m->cap * 2 : 1 << 16;
		struct trace_req *req = reallocarray(t->req, cap, sizeof *req);
		if (!req) {
			m->rc = -ENOMEM;
			t->accesses = m->cfg->accesses;
			return;
		}
		t->req = req;
		m->cap = cap;
	}
	t->req[t->reqs++] =
	    (struct trace_req){.lba = lba, .blocks = (uint16_t)blocks, .write = write};
	t->accesses += blocks;
	if (lba + blocks > t->universe)
		t->universe = lba + blocks;
}

static bool
more(const struct maker *m)
{
	return m->t->accesses < m->cfg->accesses;
}

/* A single block by popularity; ranks are moved on by `shift`. */
static void
add_zipf(struct maker *m, uint32_t shift)
{
	uint32_t rank = zipf_draw(&m->zipf, &m->rand);
	bool write = below(&m->rand, 100) < m->cfg->write_percent;
	add(m, m->place[(rank + shift) % m->cfg->universe], 1, write);
}

static void
make_zipf(struct maker *m)
{
	while (more(m))
		add_zipf(m, 0);
}

/* A fifth of all accesses belong to sequential reads of what is never read again. */
static void
make_scan(struct maker *m)
{
	uint32_t at = m->cfg->universe;
	while (more(m)) {
		if (below(&m->rand, 128) == 0) {
			add(m, at, 32, false);
			at += 32;
		}
		add_zipf(m, 0);
	}
}

/* Half is a cycle over a tenth of the blocks, single blocks in no order a stream detector sees. */
static void
make_loop(struct maker *m)
{
	uint32_t len = m->cfg->universe / 7, i = 0;
	while (more(m)) {
		uint32_t at = (uint32_t)((uint64_t)i * 7919 % len);
		add(m, m->cfg->universe + at, 1, false);
		i = (i + 1) % len;
		add_zipf(m, 0);
	}
}

/* The popular blocks are others every tenth of the time. */
static void
make_shift(struct maker *m)
{
	while (more(m)) {
		uint64_t period = m->t->accesses * 10 / m->cfg->accesses;
		add_zipf(m, (uint32_t)period * (m->cfg->universe / 20));
	}
}

/*
 * Machines that are clones start together, three times a day: each reads the same pieces of the
 * image in about the same order, some of it twice, and pieces of its own. Meanwhile, and between
 * the storms, others work.
 */
#define VMS 48u
#define PIECES 600u
#define PIECE_BLOCKS 12u

static uint32_t
boot_base(const struct maker *m, uint32_t vm)
{
	return m->cfg->universe + vm * PIECES * PIECE_BLOCKS * 2;
}

static void
boot_piece(struct maker *m, uint32_t vm, uint32_t piece)
{
	uint64_t own = (uint64_t)piece * 2654435761u + 12345;
	bool shared = piece % 4 != 0;
	uint32_t blocks = 1 + (uint32_t)(bench_rand(&own) % (2 * PIECE_BLOCKS - 1));
	uint32_t slot = (uint32_t)((uint64_t)piece * 379 % PIECES);
	uint32_t at = boot_base(m, shared ? 0 : vm + 1) + slot * PIECE_BLOCKS * 2;
	add(m, at, blocks, false);
	if (below(&m->rand, 5) == 0)
		add(m, at, blocks, false);
}

static void
storm(struct maker *m)
{
	uint32_t done[VMS] = {0}, left = VMS * PIECES;
	for (uint64_t turn = 0; left && more(m); turn++) {
		uint32_t vm = below(&m->rand, VMS);
		/* They start one after the other: the last when the first is half through. */
		if (done[vm] < PIECES && turn >= (uint64_t)vm * PIECES / 2) {
			boot_piece(m, vm, done[vm]++);
			left--;
		}
		for (unsigned i = 0; i < 5; i++)
			add_zipf(m, 0);
	}
}

static void
make_boot(struct maker *m)
{
	for (uint64_t day = 1; more(m); day++) {
		storm(m);
		while (more(m) && m->t->accesses < day * m->cfg->accesses / 3)
			add_zipf(m, 0);
	}
}

static const struct {
	const char *name, *title;
	void (*make)(struct maker *m);
} kinds[] = {
    {"zipf", "zipf 0.9", make_zipf},
    {"scan", "zipf with scans", make_scan},
    {"loop", "half a loop", make_loop},
    {"shift", "shifting set", make_shift},
    {"boot", "boot storm", make_boot},
};

unsigned
trace_count(void)
{
	return sizeof kinds / sizeof kinds[0];
}

static int
count_unique(struct trace *t)
{
	uint8_t *seen = calloc(t->universe + 1, 1);
	if (!seen)
		return -ENOMEM;
	for (uint64_t i = 0; i < t->reqs; i++) {
		for (uint32_t b = 0; b < t->req[i].blocks; b++) {
			uint8_t *s = &seen[t->req[i].lba + b];
			t->unique += !*s;
			*s = 1;
		}
	}
	free(seen);
	return 0;
}

static int
make_places(struct maker *m)
{
	uint32_t n = m->cfg->universe;
	m->place = malloc(n * sizeof *m->place);
	if (!m->place)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++) {
		uint32_t j = below(&m->rand, i + 1);
		m->place[i] = m->place[j];
		m->place[j] = i;
	}
	return 0;
}

int
trace_make(unsigned n, const struct trace_config *cfg, struct trace *ret)
{
	*ret = (struct trace){.name = kinds[n].name, .title = kinds[n].title};
	struct maker m = {.t = ret, .cfg = cfg, .rand = cfg->seed * 1000003 + n};
	m.rc = zipf_init(&m.zipf, cfg->universe, THETA);
	if (!m.rc)
		m.rc = make_places(&m);
	if (!m.rc)
		kinds[n].make(&m);
	if (!m.rc)
		m.rc = count_unique(ret);
	zipf_fini(&m.zipf);
	free(m.place);
	if (m.rc)
		trace_fini(ret);
	return m.rc;
}

void
trace_fini(struct trace *t)
{
	free(t->req);
	t->req = NULL;
}
