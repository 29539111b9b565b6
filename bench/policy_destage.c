/* SPDX-License-Identifier: BSD-2-Clause */
/* A log of segments, clients and a slow store around the product's destage controller and order. */
#include "bench/policy.h"

#include <errno.h>
#include <stdlib.h>

#include "cache/policy/policy.h"

#define SEGS 128u
#define TICK_S 0.02
#define STORE_OPS_PER_TICK 4u /* of each in flight: 5 ms an operation */
#define RUN_MAX 256u
#define NOWHERE UINT32_MAX
#define TICKS_MAX 1000000u

struct log {
	const struct destage_config *cfg;
	uint32_t per_seg;
	uint32_t *place; /* of a cached block, else NOWHERE */
	bool *is_dirty;
	uint32_t *block; /* at a place */
	uint32_t seg_dirty[SEGS];
	uint64_t seg_age[SEGS]; /* in order of opening; 0: never used */
	uint32_t open, used;
	uint64_t ages, dirty;
	struct policy_pick_item *items;
	struct policy_pick_run *runs;
	struct policy_destage ctl;
	uint64_t cursor, destaged, debt_ns, busy_ns;
};

static uint32_t
free_segs(const struct log *l)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < SEGS; i++)
		n += i != l->open && !l->seg_dirty[i];
	return n;
}

/* The next segment without dirty blocks, the oldest first. False: there is none. */
static bool
open_next(struct log *l)
{
	uint32_t best = NOWHERE;
	for (uint32_t i = 0; i < SEGS; i++)
		if (i != l->open && !l->seg_dirty[i] &&
		    (best == NOWHERE || l->seg_age[i] < l->seg_age[best]))
			best = i;
	if (best == NOWHERE)
		return false;
	for (uint32_t i = best * l->per_seg; i < (best + 1) * l->per_seg; i++)
		if (l->block[i] != NOWHERE && l->place[l->block[i]] == i)
			l->place[l->block[i]] = NOWHERE;
	l->open = best;
	l->used = 0;
	l->seg_age[best] = ++l->ages;
	return true;
}

static void
clean(struct log *l, uint32_t b)
{
	l->seg_dirty[l->place[b] / l->per_seg]--;
	l->is_dirty[b] = false;
	l->dirty--;
}

static bool
write_block(struct log *l, uint32_t b)
{
	if (l->used == l->per_seg && !open_next(l))
		return false;
	if (l->is_dirty[b])
		clean(l, b);
	uint32_t place = l->open * l->per_seg + l->used++;
	l->place[b] = place;
	l->block[place] = b;
	l->seg_dirty[l->open]++;
	l->is_dirty[b] = true;
	l->dirty++;
	return true;
}

/* The age above which a segment is outside of the window. */
static uint64_t
window_age(const struct log *l, uint32_t window)
{
	uint64_t after = 0;
	for (uint32_t n = 0; n < window; n++) {
		uint64_t next = UINT64_MAX;
		for (uint32_t i = 0; i < SEGS; i++)
			if (l->seg_dirty[i] && l->seg_age[i] > after && l->seg_age[i] < next)
				next = l->seg_age[i];
		if (next == UINT64_MAX)
			return after;
		after = next;
	}
	return after;
}

/* The dirty blocks, and between them what is cached. */
static uint32_t
gather(struct log *l, uint64_t age)
{
	uint32_t n = 0, gap = 0;
	for (uint32_t b = 0; b < l->cfg->blocks; b++) {
		if (l->place[b] == NOWHERE || (!l->is_dirty[b] && gap == l->cfg->gap_max)) {
			n -= gap;
			gap = 0;
			continue;
		}
		uint64_t of = l->seg_age[l->place[b] / l->per_seg];
		uint8_t kind = !l->is_dirty[b] ? POLICY_PICK_GAP
		               : of > age      ? POLICY_PICK_EXTRA
		                               : POLICY_PICK_DUE;
		gap = l->is_dirty[b] ? 0 : gap + 1;
		l->items[n++] = (struct policy_pick_item){.lba = b, .blocks = 1, .kind = kind};
	}
	return n - gap;
}

/* What the controller allows for one tick; returns the store writes. */
static uint64_t
destage(struct log *l, const struct policy_destage_out *out)
{
	l->destaged = l->busy_ns = 0;
	if (!out->depth)
		return 0;
	uint32_t n = gather(l, window_age(l, out->window_segs));
	struct policy_pick_config cfg = {.run_max_blocks = RUN_MAX, .cursor_lba = l->cursor};
	uint32_t runs = policy_pick(&cfg, l->items, n, l->runs, l->cfg->blocks);
	uint64_t ops = 0, ops_max = (uint64_t)out->depth * STORE_OPS_PER_TICK;
	for (; ops < runs && ops < ops_max && l->destaged < out->budget_blocks; ops++) {
		const struct policy_pick_run *run = &l->runs[ops];
		for (uint32_t i = 0; i < run->blocks; i++) {
			if (!l->is_dirty[run->lba + i])
				continue;
			clean(l, (uint32_t)run->lba + i);
			l->destaged++;
		}
		l->cursor = run->lba + run->blocks;
	}
	l->busy_ns = (uint64_t)((double)ops / (double)ops_max * TICK_S * 1e9);
	return ops;
}

static double
share(const struct log *l)
{
	return (double)l->dirty / l->cfg->dirty_max;
}

static uint64_t
tick(struct log *l, uint64_t written, struct policy_destage_out *out)
{
	struct policy_destage_in in = {.elapsed_ns = (uint64_t)(TICK_S * 1e9),
	    .segs = SEGS,
	    .segs_free = free_segs(l),
	    .dirty_blocks = l->dirty,
	    .dirty_max_blocks = l->cfg->dirty_max,
	    .written_blocks = written,
	    .destaged_blocks = l->destaged,
	    .busy_ns = l->busy_ns};
	policy_destage_tick(&l->ctl, &in, out);
	return destage(l, out);
}

/* Clients for one tick: as much as they offer, at most one block in delay_ns. */
static uint64_t
clients(struct log *l, const struct zipf *z, const uint32_t *order, uint64_t *rand, uint64_t left,
    const struct policy_destage_out *out)
{
	uint64_t most = (uint64_t)(l->cfg->offered_per_s * TICK_S), n = 0;
	if (most > left)
		most = left;
	if (out->delay_ns) {
		l->debt_ns += (uint64_t)(TICK_S * 1e9);
		uint64_t paced = l->debt_ns / out->delay_ns;
		most = most < paced ? most : paced;
		l->debt_ns = most < paced ? 0 : l->debt_ns % out->delay_ns;
	}
	while (n < most && write_block(l, order[zipf_draw(z, rand)]))
		n++;
	return n;
}

static void
run(struct log *l, const struct zipf *z, const uint32_t *order, struct destage_result *ret)
{
	uint64_t rand = l->cfg->seed, total = 4ull * l->cfg->blocks, written = 0;
	struct policy_destage_out out = {0};
	uint32_t ticks = 0;
	for (; ret->written < total && ticks < TICKS_MAX; ticks++) {
		written = clients(l, z, order, &rand, total - ret->written, &out);
		ret->written += written;
		if (l->used == l->per_seg && !free_segs(l))
			ret->stalled_s += TICK_S;
		if (share(l) > ret->dirty_max)
			ret->dirty_max = share(l);
		ret->store_writes += tick(l, written, &out);
		if (out.delay_ns && ret->slow_from == 0)
			ret->slow_from = share(l);
	}
	ret->seconds = ticks * TICK_S;
	for (; l->dirty && ticks < TICKS_MAX; ticks++)
		ret->drain_writes += tick(l, 0, &out);
}

int
run_destage(const struct destage_config *cfg, struct destage_result *ret)
{
	*ret = (struct destage_result){0};
	struct zipf z = {0};
	struct log l = {.cfg = cfg, .per_seg = cfg->ssd_blocks / SEGS};
	uint32_t *order = malloc(cfg->blocks * sizeof *order);
	l.place = malloc(cfg->blocks * sizeof *l.place);
	l.is_dirty = calloc(cfg->blocks, sizeof *l.is_dirty);
	l.block = malloc((size_t)SEGS * l.per_seg * sizeof *l.block);
	l.items = malloc(cfg->blocks * sizeof *l.items);
	l.runs = malloc(cfg->blocks * sizeof *l.runs);
	int rc = -ENOMEM;
	if (order && l.place && l.is_dirty && l.block && l.items && l.runs &&
	    !zipf_init(&z, cfg->blocks, cfg->theta)) {
		uint64_t rand = cfg->seed + 1;
		for (uint32_t i = 0; i < cfg->blocks; i++) {
			uint32_t j = (uint32_t)(bench_rand(&rand) % (i + 1));
			order[i] = order[j];
			order[j] = i;
			l.place[i] = NOWHERE;
		}
		for (uint32_t i = 0; i < SEGS * l.per_seg; i++)
			l.block[i] = NOWHERE;
		policy_destage_init(&l.ctl, &(struct policy_destage_config){0});
		l.seg_age[0] = ++l.ages;
		run(&l, &z, order, ret);
		rc = 0;
	}
	zipf_fini(&z);
	free(order);
	free(l.place);
	free(l.is_dirty);
	free(l.block);
	free(l.items);
	free(l.runs);
	return rc;
}
