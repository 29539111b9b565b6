/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * S3-FIFO with one bit. New entries stand in the small queue, which gets a tenth; those that were
 * hit there, and those that come back while the ghost remembers them, stand in main, where a hit
 * earns another round. Blocks of long scans have a queue of their own within the small one's tenth,
 * so that they push out each other first.
 *
 * Busy entries (pinned or dirty) leave their queue for `parked` when an eviction meets them, and
 * return to the end that is evicted next once they aren't busy: so that each is met once, however
 * many there are.
 */
#include "cache/policy/policy.h"

#include <errno.h>
#include <stdlib.h>

#include "base/assert.h"
#include "cache/policy/policy_priv.h"

#define SMALL_PERCENT 10u
#define SCAN_PERCENT 5u /* within the small queue's */
#define GHOST_PERCENT 150u
#define CAPACITY_MAX ((uint64_t)1 << 40)
#define TURNS_MAX 128u /* entries given another round in one eviction */

enum queue { Q_NONE, Q_SMALL, Q_MAIN, Q_SCAN, Q_COUNT };

#define F_HIT (1u << 0)
#define F_AHEAD (1u << 1)
#define F_DIRTY (1u << 2)
#define F_PARKED (1u << 3)

struct policy_s3 {
	struct list queue[Q_COUNT]; /* oldest first */
	struct list parked;
	uint64_t n[Q_COUNT]; /* without the parked */
	uint64_t small_max, scan_max;
	struct policy_ghost ghost;
	struct policy_s3_stats stats;
};

static int
set_capacity(struct policy_s3 *s3, uint64_t capacity)
{
	if (!capacity || capacity > CAPACITY_MAX)
		return -EINVAL;
	struct policy_ghost ghost;
	uint64_t entries = capacity * GHOST_PERCENT / 100;
	int rc = policy_ghost_init(&ghost, entries ? entries : 1);
	if (rc)
		return rc;
	policy_ghost_fini(&s3->ghost);
	s3->ghost = ghost;
	s3->small_max = capacity * SMALL_PERCENT / 100;
	s3->scan_max = capacity * SCAN_PERCENT / 100;
	return 0;
}

int
policy_s3_create(uint64_t capacity, struct policy_s3 **ret_s3)
{
	struct policy_s3 *s3 = calloc(1, sizeof *s3);
	if (!s3)
		return -ENOMEM;
	int rc = set_capacity(s3, capacity);
	if (rc) {
		free(s3);
		return rc;
	}
	for (unsigned q = 0; q < Q_COUNT; q++)
		list_init(&s3->queue[q]);
	list_init(&s3->parked);
	*ret_s3 = s3;
	return 0;
}

void
policy_s3_destroy(struct policy_s3 *s3)
{
	if (!s3)
		return;
	policy_ghost_fini(&s3->ghost);
	free(s3);
}

int
policy_s3_resize(struct policy_s3 *s3, uint64_t capacity)
{
	return set_capacity(s3, capacity);
}

static void
append(struct policy_s3 *s3, struct policy_s3_node *node, enum queue q)
{
	node->queue = (uint8_t)q;
	list_push_back(&s3->queue[q], &node->link);
	s3->n[q]++;
}

void
policy_s3_insert(
    struct policy_s3 *s3, struct policy_s3_node *node, uint64_t key, enum policy_s3_kind kind)
{
	ASSERT(node->queue == Q_NONE);
	ASSERT(kind < POLICY_S3_KIND_COUNT);
	bool ahead = kind == POLICY_S3_AHEAD || kind == POLICY_S3_SCAN_AHEAD;
	bool scan = kind == POLICY_S3_SCAN || kind == POLICY_S3_SCAN_AHEAD;
	enum queue q = scan ? Q_SCAN : Q_SMALL;
	*node = (struct policy_s3_node){.key = key, .flags = ahead ? F_AHEAD : 0};
	if (!scan && policy_ghost_has(&s3->ghost, key)) {
		policy_ghost_forget(&s3->ghost, key);
		s3->stats.ghost_hits++;
		q = Q_MAIN;
	}
	append(s3, node, q);
	s3->stats.inserted++;
	s3->stats.count++;
}

void
policy_s3_hit(struct policy_s3 *s3, struct policy_s3_node *node)
{
	ASSERT(node->queue != Q_NONE);
	if (node->flags & F_AHEAD) {
		node->flags &= (uint8_t)~F_AHEAD;
		s3->stats.ahead_used++;
	} else {
		node->flags |= F_HIT;
	}
}

static void
take_out(struct policy_s3 *s3, struct policy_s3_node *node)
{
	ASSERT(node->queue != Q_NONE && node->queue < Q_COUNT);
	list_remove(&node->link);
	if (!(node->flags & F_PARKED)) {
		ASSERT(s3->n[node->queue] > 0);
		s3->n[node->queue]--;
	}
}

void
policy_s3_remove(struct policy_s3 *s3, struct policy_s3_node *node)
{
	ASSERT(!policy_s3_busy(node));
	take_out(s3, node);
	node->queue = Q_NONE;
	node->flags = 0;
	s3->stats.removed++;
	s3->stats.count--;
}

bool
policy_s3_busy(const struct policy_s3_node *node)
{
	return node->pins || (node->flags & F_DIRTY);
}

/* After a pin or the dirty mark went: counts, and returns a parked entry to its queue. */
static void
maybe_idle(struct policy_s3 *s3, struct policy_s3_node *node)
{
	if (policy_s3_busy(node))
		return;
	ASSERT(s3->stats.busy > 0);
	s3->stats.busy--;
	if (!(node->flags & F_PARKED))
		return;
	list_remove(&node->link);
	node->flags &= (uint8_t)~F_PARKED;
	list_push_front(&s3->queue[node->queue], &node->link);
	s3->n[node->queue]++;
}

void
policy_s3_pin(struct policy_s3 *s3, struct policy_s3_node *node)
{
	ASSERT(node->queue != Q_NONE && node->pins < UINT32_MAX);
	s3->stats.busy += !policy_s3_busy(node);
	node->pins++;
}

void
policy_s3_unpin(struct policy_s3 *s3, struct policy_s3_node *node)
{
	ASSERT(node->queue != Q_NONE && node->pins > 0);
	node->pins--;
	maybe_idle(s3, node);
}

void
policy_s3_set_dirty(struct policy_s3 *s3, struct policy_s3_node *node, bool dirty)
{
	ASSERT(node->queue != Q_NONE);
	if (dirty == !!(node->flags & F_DIRTY))
		return;
	if (dirty) {
		s3->stats.busy += !policy_s3_busy(node);
		node->flags |= F_DIRTY;
	} else {
		node->flags &= (uint8_t)~F_DIRTY;
		maybe_idle(s3, node);
	}
}

/* Which queue gives next, or Q_NONE. */
static enum queue
choose(const struct policy_s3 *s3)
{
	if (s3->n[Q_SCAN] > s3->scan_max)
		return Q_SCAN;
	if (s3->n[Q_SMALL] + s3->n[Q_SCAN] > s3->small_max || !s3->n[Q_MAIN]) {
		if (s3->n[Q_SMALL])
			return Q_SMALL;
		if (s3->n[Q_SCAN])
			return Q_SCAN;
	}
	return s3->n[Q_MAIN] ? Q_MAIN : Q_NONE;
}

static void
park(struct policy_s3 *s3, struct policy_s3_node *node)
{
	take_out(s3, node);
	node->flags |= F_PARKED;
	list_push_back(&s3->parked, &node->link);
	s3->stats.parked++;
}

static void
another_round(struct policy_s3 *s3, struct policy_s3_node *node)
{
	if (node->queue == Q_MAIN)
		s3->stats.reinserted++;
	else
		s3->stats.promoted++;
	take_out(s3, node);
	node->flags &= (uint8_t)~F_HIT;
	append(s3, node, Q_MAIN);
}

struct policy_s3_node *
policy_s3_evict(struct policy_s3 *s3)
{
	unsigned turns = 0;
	for (;;) {
		enum queue q = choose(s3);
		if (q == Q_NONE)
			return NULL;
		struct policy_s3_node *node =
		    container_of(s3->queue[q].next, struct policy_s3_node, link);
		if (policy_s3_busy(node)) {
			park(s3, node);
		} else if ((node->flags & F_HIT) && turns < TURNS_MAX) {
			turns++;
			another_round(s3, node);
		} else {
			take_out(s3, node);
			if (q == Q_SMALL)
				policy_ghost_add(&s3->ghost, node->key);
			s3->stats.ahead_wasted += !!(node->flags & F_AHEAD);
			s3->stats.evicted++;
			s3->stats.count--;
			node->queue = Q_NONE;
			node->flags = 0;
			return node;
		}
	}
}

void
policy_s3_stats(const struct policy_s3 *s3, struct policy_s3_stats *ret)
{
	*ret = s3->stats;
	ret->small = s3->n[Q_SMALL];
	ret->main = s3->n[Q_MAIN];
	ret->scan = s3->n[Q_SCAN];
}
