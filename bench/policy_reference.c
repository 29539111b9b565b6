/* SPDX-License-Identifier: BSD-2-Clause */
/* What the product's policies are compared with: LRU, ARC (FAST 2003, fig. 4) and Belady's MIN. */
#include "bench/policy.h"

#include <errno.h>
#include <stdlib.h>

#include "base/list.h"

/* Calls `fn` for each block access of the trace, in order. */
#define FOR_ACCESSES(t, block)                                                                     \
	for (uint64_t req_ = 0; req_ < (t)->reqs; req_++)                                          \
		for (uint32_t block = (t)->req[req_].lba, end_ = block + (t)->req[req_].blocks;    \
		     block < end_; block++)

static void
set_ratio(struct run_result *ret, uint64_t hits, const struct trace *t, uint64_t resident)
{
	*ret = (struct run_result){
	    .hit_ratio = (double)hits / (double)t->accesses, .resident_max = resident};
}

/* ---- LRU ------------------------------------------------------------------------------------ */

int
run_lru(const struct trace *t, uint32_t blocks, struct run_result *ret)
{
	struct list *node = calloc(t->universe, sizeof *node), order;
	if (!node)
		return -ENOMEM;
	list_init(&order);
	uint64_t hits = 0, resident = 0;
	FOR_ACCESSES(t, b)
	{
		if (node[b].next) {
			hits += !t->req[req_].write;
			list_remove(&node[b]);
		} else if (resident == blocks) {
			list_pop_front(&order)->next = NULL;
		} else {
			resident++;
		}
		list_push_back(&order, &node[b]);
	}
	set_ratio(ret, hits, t, resident);
	free(node);
	return 0;
}

/* ---- ARC ------------------------------------------------------------------------------------ */

enum arc_list { ARC_NONE, ARC_T1, ARC_T2, ARC_B1, ARC_B2, ARC_LISTS };

struct arc {
	struct list *node;
	uint8_t *in;
	struct list head[ARC_LISTS]; /* least recent first */
	uint64_t n[ARC_LISTS];
	uint64_t size;
	double target; /* of T1 */
};

static void
arc_put(struct arc *a, uint32_t b, enum arc_list to)
{
	if (a->in[b] != ARC_NONE) {
		list_remove(&a->node[b]);
		a->n[a->in[b]]--;
	}
	a->in[b] = (uint8_t)to;
	a->n[to]++;
	if (to != ARC_NONE)
		list_push_back(&a->head[to], &a->node[b]);
}

static void
arc_drop_oldest(struct arc *a, enum arc_list from, enum arc_list to)
{
	arc_put(a, (uint32_t)(a->head[from].next - a->node), to);
}

static void
arc_replace(struct arc *a, bool in_b2)
{
	double t1 = (double)a->n[ARC_T1];
	if (a->n[ARC_T1] && (t1 > a->target || (in_b2 && t1 == a->target) || !a->n[ARC_T2]))
		arc_drop_oldest(a, ARC_T1, ARC_B1);
	else
		arc_drop_oldest(a, ARC_T2, ARC_B2);
}

static void
arc_ghost_hit(struct arc *a, uint32_t b)
{
	bool in_b2 = a->in[b] == ARC_B2;
	double b1 = (double)a->n[ARC_B1], b2 = (double)a->n[ARC_B2];
	if (in_b2) {
		a->target -= b1 > b2 ? b1 / b2 : 1;
		if (a->target < 0)
			a->target = 0;
	} else {
		a->target += b2 > b1 ? b2 / b1 : 1;
		if (a->target > (double)a->size)
			a->target = (double)a->size;
	}
	arc_replace(a, in_b2);
	arc_put(a, b, ARC_T2);
}

static void
arc_miss(struct arc *a, uint32_t b)
{
	uint64_t l1 = a->n[ARC_T1] + a->n[ARC_B1];
	uint64_t all = l1 + a->n[ARC_T2] + a->n[ARC_B2];
	if (l1 == a->size) {
		if (a->n[ARC_T1] < a->size) {
			arc_drop_oldest(a, ARC_B1, ARC_NONE);
			arc_replace(a, false);
		} else {
			arc_drop_oldest(a, ARC_T1, ARC_NONE);
		}
	} else if (all >= a->size) {
		if (all == 2 * a->size)
			arc_drop_oldest(a, ARC_B2, ARC_NONE);
		arc_replace(a, false);
	}
	arc_put(a, b, ARC_T1);
}

int
run_arc(const struct trace *t, uint32_t blocks, struct run_result *ret)
{
	struct arc a = {.node = calloc(t->universe, sizeof(struct list)),
	    .in = calloc(t->universe, 1),
	    .size = blocks};
	if (!a.node || !a.in) {
		free(a.node);
		free(a.in);
		return -ENOMEM;
	}
	for (unsigned i = 0; i < ARC_LISTS; i++)
		list_init(&a.head[i]);
	uint64_t hits = 0, resident = 0;
	FOR_ACCESSES(t, b)
	{
		if (a.in[b] == ARC_T1 || a.in[b] == ARC_T2) {
			hits += !t->req[req_].write;
			arc_put(&a, b, ARC_T2);
		} else if (a.in[b] != ARC_NONE) {
			arc_ghost_hit(&a, b);
		} else {
			arc_miss(&a, b);
		}
		if (a.n[ARC_T1] + a.n[ARC_T2] > resident)
			resident = a.n[ARC_T1] + a.n[ARC_T2];
	}
	set_ratio(ret, hits, t, resident);
	free(a.node);
	free(a.in);
	return 0;
}

/* ---- Belady's MIN --------------------------------------------------------------------------- */

#define NEVER UINT32_MAX

/* Of the resident blocks the one that is used last; entries of former uses are left until met. */
struct heap {
	struct heap_entry {
		uint32_t next_use, block;
	} * entry;
	uint64_t n;
};

static void
heap_push(struct heap *h, uint32_t next_use, uint32_t block)
{
	uint64_t i = h->n++;
	for (; i && h->entry[(i - 1) / 2].next_use < next_use; i = (i - 1) / 2)
		h->entry[i] = h->entry[(i - 1) / 2];
	h->entry[i] = (struct heap_entry){next_use, block};
}

static struct heap_entry
heap_pop(struct heap *h)
{
	struct heap_entry top = h->entry[0], last = h->entry[--h->n];
	uint64_t i = 0;
	for (uint64_t child; (child = 2 * i + 1) < h->n; i = child) {
		if (child + 1 < h->n && h->entry[child + 1].next_use > h->entry[child].next_use)
			child++;
		if (h->entry[child].next_use <= last.next_use)
			break;
		h->entry[i] = h->entry[child];
	}
	h->entry[i] = last;
	return top;
}

/* For each access the number of the next access to the same block. */
static int
next_uses(const struct trace *t, uint32_t **ret_next)
{
	uint32_t *next = malloc(t->accesses * sizeof *next);
	uint32_t *last = malloc(t->universe * sizeof *last);
	if (!next || !last) {
		free(next);
		free(last);
		return -ENOMEM;
	}
	for (uint32_t b = 0; b < t->universe; b++)
		last[b] = NEVER;
	uint64_t i = t->accesses;
	for (uint64_t r = t->reqs; r-- > 0;) {
		for (uint32_t k = t->req[r].blocks; k-- > 0;) {
			uint32_t b = t->req[r].lba + k;
			next[--i] = last[b];
			last[b] = (uint32_t)i;
		}
	}
	free(last);
	*ret_next = next;
	return 0;
}

int
run_belady(const struct trace *t, uint32_t blocks, struct run_result *ret)
{
	uint32_t *next;
	if (next_uses(t, &next))
		return -ENOMEM;
	struct heap h = {.entry = malloc((t->accesses + 1) * sizeof(struct heap_entry))};
	uint32_t *current = calloc(t->universe, sizeof *current); /* next use + 1 while resident */
	if (!h.entry || !current) {
		free(next);
		free(h.entry);
		free(current);
		return -ENOMEM;
	}
	uint64_t hits = 0, resident = 0, i = 0;
	FOR_ACCESSES(t, b)
	{
		if (current[b]) {
			hits += !t->req[req_].write;
		} else if (resident == blocks) {
			struct heap_entry e;
			do {
				e = heap_pop(&h);
			} while (current[e.block] != e.next_use);
			current[e.block] = 0;
		} else {
			resident++;
		}
		uint32_t use = next[i] == NEVER ? NEVER : next[i] + 1;
		current[b] = use;
		heap_push(&h, use, b);
		i++;
	}
	set_ratio(ret, hits, t, resident);
	free(next);
	free(h.entry);
	free(current);
	return 0;
}
