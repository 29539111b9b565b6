/* SPDX-License-Identifier: BSD-2-Clause */
/* Destage order: neighbours become one store write, whole stripes go first, the rest as a sweep. */
#include "cache/policy/policy.h"

#include "base/assert.h"

static void
sift_down(struct policy_pick_item *items, uint32_t root, uint32_t n)
{
	struct policy_pick_item moved = items[root];
	for (uint32_t child; (child = 2 * root + 1) < n; root = child) {
		if (child + 1 < n && items[child + 1].lba > items[child].lba)
			child++;
		if (items[child].lba <= moved.lba)
			break;
		items[root] = items[child];
	}
	items[root] = moved;
}

/* Heapsort: in place, never slow on hostile orders, and qsort() may take memory. */
static void
sort(struct policy_pick_item *items, uint32_t n)
{
	for (uint32_t i = n / 2; i-- > 0;)
		sift_down(items, i, n);
	for (uint32_t i = n; i-- > 1;) {
		struct policy_pick_item last = items[i];
		items[i] = items[0];
		items[0] = last;
		sift_down(items, 0, i);
	}
}

struct maker {
	const struct policy_pick_config *cfg;
	const struct policy_pick_item *items;
	uint32_t n;
	uint32_t at; /* the first item that is in no run yet */
};

static uint64_t
end_of(const struct policy_pick_item *item)
{
	return item->lba + item->blocks;
}

/* One past the last of the items from `first` on that touch each other. */
static uint32_t
neighbours_end(const struct maker *m, uint32_t first)
{
	uint32_t i = first + 1;
	while (i < m->n && m->items[i].lba == end_of(&m->items[i - 1]))
		i++;
	return i;
}

/* The end of the longest piece of [first, end) that is whole stripes, or `first`. */
static uint32_t
whole_stripes_end(const struct maker *m, uint32_t first, uint32_t end)
{
	uint64_t stripe = m->cfg->stripe_blocks, start = m->items[first].lba;
	uint32_t found = first;
	if (!stripe || start % stripe)
		return first;
	for (uint32_t i = first; i < end; i++) {
		uint64_t len = end_of(&m->items[i]) - start;
		if (len > m->cfg->run_max_blocks)
			break;
		if (len % stripe == 0)
			found = i + 1;
	}
	return found;
}

/* The end of a piece that isn't whole stripes: up to the next whole stripe or the longest run. */
static uint32_t
rest_end(const struct maker *m, uint32_t first, uint32_t end)
{
	uint64_t stripe = m->cfg->stripe_blocks, start = m->items[first].lba;
	uint32_t i = first + 1;
	for (; i < end; i++) {
		if (end_of(&m->items[i]) - start > m->cfg->run_max_blocks)
			break;
		if (stripe && m->items[i].lba % stripe == 0 && whole_stripes_end(m, i, end) > i)
			break;
	}
	return i;
}

/* A gap at an end joins nothing. */
static void
trim(const struct maker *m, uint32_t *first, uint32_t *stop)
{
	while (*first < *stop && m->items[*first].kind == POLICY_PICK_GAP)
		++*first;
	while (*first < *stop && m->items[*stop - 1].kind == POLICY_PICK_GAP)
		--*stop;
}

static bool
next_run(struct maker *m, struct policy_pick_run *ret)
{
	while (m->at < m->n) {
		uint32_t first = m->at, end = neighbours_end(m, first);
		uint32_t stop = whole_stripes_end(m, first, end);
		bool full = stop > first;
		if (!full)
			stop = rest_end(m, first, end);
		m->at = stop;
		if (!full)
			trim(m, &first, &stop);
		bool due = false;
		for (uint32_t i = first; i < stop; i++)
			due |= m->items[i].kind == POLICY_PICK_DUE;
		if (!due)
			continue;
		uint64_t blocks = end_of(&m->items[stop - 1]) - m->items[first].lba;
		ASSERT(blocks <= UINT32_MAX);
		*ret = (struct policy_pick_run){.lba = m->items[first].lba,
		    .blocks = (uint32_t)blocks,
		    .first = first,
		    .count = stop - first,
		    .full = full};
		return true;
	}
	return false;
}

static void
check(const struct policy_pick_config *cfg, const struct policy_pick_item *items, uint32_t n)
{
	ASSERT(cfg->run_max_blocks > 0);
	for (uint32_t i = 0; i < n; i++) {
		const struct policy_pick_item *it = &items[i];
		ASSERT(it->blocks > 0 && it->lba + it->blocks > it->lba);
		ASSERT(i == 0 || end_of(it - 1) <= it->lba);
		ASSERT(!cfg->stripe_blocks ||
		       it->lba / cfg->stripe_blocks == (end_of(it) - 1) / cfg->stripe_blocks);
	}
}

/* Whole stripes, then by length: where not all can go, those that clean most with one operation. */
#define CLASSES 5u
static unsigned
class_of(const struct policy_pick_run *run)
{
	static const uint32_t at_least[] = {64, 8, 3};
	unsigned class = 1;
	if (run->full)
		return 0;
	while (class < CLASSES - 1 && run->blocks < at_least[class - 1])
		class ++;
	return class;
}

uint32_t
policy_pick(const struct policy_pick_config *cfg, struct policy_pick_item *items, uint32_t n,
    struct policy_pick_run *runs, uint32_t cap)
{
	uint32_t got = 0;
	struct policy_pick_config eff = *cfg;
	if (eff.stripe_blocks > eff.run_max_blocks)
		eff.stripe_blocks = 0;
	sort(items, n);
	check(&eff, items, n);
	/* For each class two passes: what is above the cursor, then below. */
	for (unsigned pass = 0; pass < 2 * CLASSES; pass++) {
		struct maker m = {.cfg = &eff, .items = items, .n = n};
		struct policy_pick_run run;
		while (got < cap && next_run(&m, &run))
			if (class_of(&run) == pass / 2 && (run.lba < cfg->cursor_lba) == (pass % 2))
				runs[got++] = run;
	}
	return got;
}
