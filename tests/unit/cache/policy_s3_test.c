/* SPDX-License-Identifier: BSD-2-Clause */
/* cache/policy/s3.c */
#include "tests/cmocka_all.h"

#include <errno.h>
#include <string.h>

#include "cache/policy/policy.h"

#define NODES 400u

static uint64_t
draw(uint64_t *s)
{
	*s = *s * 6364136223846793005ull + 1442695040888963407ull;
	return *s >> 33;
}

/* ---- the same order as the algorithm written down naively -------------------------------- */

enum { SMALL, MAIN };

struct naive {
	unsigned node[2][4096], n[2]; /* oldest first */
	bool hit[NODES];
	unsigned small_max;
};

static void
naive_push(struct naive *m, int q, unsigned node)
{
	m->node[q][m->n[q]++] = node;
}

static unsigned
naive_pop(struct naive *m, int q)
{
	unsigned node = m->node[q][0];
	memmove(m->node[q], m->node[q] + 1, --m->n[q] * sizeof node);
	return node;
}

static unsigned
naive_evict(struct naive *m)
{
	for (;;) {
		int q = m->n[SMALL] > m->small_max || !m->n[MAIN] ? SMALL : MAIN;
		unsigned node = naive_pop(m, q);
		if (!m->hit[node])
			return node;
		m->hit[node] = false;
		naive_push(m, MAIN, node);
	}
}

static void
evicts_in_the_order_of_the_plain_algorithm(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 20; seed++) {
		struct policy_s3 *s3;
		struct policy_s3_node node[NODES] = {0};
		struct naive model = {.small_max = 10};
		struct policy_s3_stats st;
		uint64_t rand = seed, key = 0, confused = 0;
		unsigned inserted = 0;
		assert_int_equal(policy_s3_create(100, &s3), 0);
		for (unsigned i = 0; i < 3000; i++) {
			unsigned n = (unsigned)draw(&rand) % NODES;
			if (policy_s3_inserted(&node[n])) {
				policy_s3_hit(s3, &node[n]);
				model.hit[n] = true;
				continue;
			}
			/* Fewer than 128, so that the bound of work can't differ. */
			if (inserted == 100) {
				unsigned want = naive_evict(&model);
				assert_ptr_equal(policy_s3_evict(s3), &node[want]);
				inserted--;
			}
			/* Keys never come back: the ghost knows only what it confuses. */
			policy_s3_insert(s3, &node[n], ++key, POLICY_S3_DEMAND);
			model.hit[n] = false;
			policy_s3_stats(s3, &st);
			naive_push(&model, st.ghost_hits > confused ? MAIN : SMALL, n);
			confused = st.ghost_hits;
			inserted++;
		}
		assert_true(confused <= 3);
		policy_s3_destroy(s3);
	}
}

/* ---- pins and dirty marks ----------------------------------------------------------------- */

struct shadow {
	unsigned pins;
	bool in, dirty;
};

static bool
shadow_busy(const struct shadow *s)
{
	return s->pins || s->dirty;
}

static void
random_step(struct policy_s3 *s3, struct policy_s3_node *node, struct shadow *s, uint64_t *rand)
{
	if (!s->in) {
		policy_s3_insert(s3, node, draw(rand) % 1000,
		    (enum policy_s3_kind)(draw(rand) % POLICY_S3_KIND_COUNT));
		*s = (struct shadow){.in = true};
		return;
	}
	switch (draw(rand) % 6) {
	case 0:
		policy_s3_pin(s3, node);
		s->pins++;
		break;
	case 1:
	case 2:
		if (s->pins) {
			policy_s3_unpin(s3, node);
			s->pins--;
		}
		break;
	case 3:
		s->dirty = draw(rand) % 2;
		policy_s3_set_dirty(s3, node, s->dirty);
		break;
	case 4:
		policy_s3_hit(s3, node);
		break;
	default:
		if (!shadow_busy(s)) {
			policy_s3_remove(s3, node);
			s->in = false;
		}
		break;
	}
}

static void
check_stats(const struct policy_s3 *s3, const struct shadow *shadow)
{
	struct policy_s3_stats st;
	uint64_t count = 0, busy = 0;
	policy_s3_stats(s3, &st);
	for (unsigned i = 0; i < NODES; i++) {
		count += shadow[i].in;
		busy += shadow[i].in && shadow_busy(&shadow[i]);
	}
	assert_int_equal(st.count, count);
	assert_int_equal(st.busy, busy);
	assert_int_equal(st.inserted, st.evicted + st.removed + st.count);
	assert_true(st.small + st.main + st.scan <= count);
	assert_true(st.small + st.main + st.scan >= count - busy);
}

static void
never_gives_a_busy_entry_and_never_loses_an_idle_one(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 50; seed++) {
		struct policy_s3 *s3;
		struct policy_s3_node node[NODES] = {0};
		struct shadow shadow[NODES] = {0};
		uint64_t rand = seed * 77;
		assert_int_equal(policy_s3_create(1 + draw(&rand) % NODES, &s3), 0);
		for (unsigned i = 0; i < 4000; i++) {
			unsigned n = (unsigned)draw(&rand) % NODES;
			random_step(s3, &node[n], &shadow[n], &rand);
			if (draw(&rand) % 4 == 0) {
				struct policy_s3_node *got = policy_s3_evict(s3);
				bool idle = false;
				for (unsigned k = 0; k < NODES; k++)
					idle |= shadow[k].in && !shadow_busy(&shadow[k]);
				assert_int_equal(got != NULL, idle);
				if (got) {
					assert_true(shadow[got - node].in);
					assert_false(shadow_busy(&shadow[got - node]));
					assert_false(policy_s3_inserted(got));
					shadow[got - node].in = false;
				}
			}
			if (i % 97 == 0)
				check_stats(s3, shadow);
		}
		check_stats(s3, shadow);
		policy_s3_destroy(s3);
	}
}

static void
a_busy_entry_is_looked_at_once(void **state)
{
	(void)state;
	struct policy_s3 *s3;
	struct policy_s3_node node[NODES] = {0};
	struct policy_s3_stats st;
	assert_int_equal(policy_s3_create(NODES, &s3), 0);
	for (unsigned i = 0; i < NODES; i++) {
		policy_s3_insert(s3, &node[i], i, POLICY_S3_DEMAND);
		if (i != NODES - 1)
			policy_s3_set_dirty(s3, &node[i], true);
	}
	assert_ptr_equal(policy_s3_evict(s3), &node[NODES - 1]);
	for (unsigned i = 0; i < 100; i++)
		assert_null(policy_s3_evict(s3));
	policy_s3_stats(s3, &st);
	assert_int_equal(st.parked, NODES - 1);
	policy_s3_set_dirty(s3, &node[7], false);
	assert_ptr_equal(policy_s3_evict(s3), &node[7]);
	policy_s3_destroy(s3);
}

/* ---- ghost, scans, read-ahead, bounds ------------------------------------------------------ */

/* Fills with strange keys from `key` on, `n` of them through one node. */
static void
pass_through(struct policy_s3 *s3, uint64_t key, unsigned n)
{
	struct policy_s3_node node = {0};
	for (unsigned i = 0; i < n; i++) {
		policy_s3_insert(s3, &node, key + i, POLICY_S3_DEMAND);
		assert_ptr_equal(policy_s3_evict(s3), &node);
	}
}

static uint64_t
ghost_hits_of(struct policy_s3 *s3, uint64_t key, unsigned n)
{
	struct policy_s3_stats before, after;
	policy_s3_stats(s3, &before);
	pass_through(s3, key, n);
	policy_s3_stats(s3, &after);
	return after.ghost_hits - before.ghost_hits;
}

static void
what_comes_back_soon_goes_to_main(void **state)
{
	(void)state;
	struct policy_s3 *s3;
	assert_int_equal(policy_s3_create(1000, &s3), 0);
	pass_through(s3, 1000000, 500);
	assert_true(ghost_hits_of(s3, 1000000, 500) >= 490);
	pass_through(s3, 2000000, 500);
	pass_through(s3, 3000000, 2000);
	assert_true(ghost_hits_of(s3, 2000000, 500) <= 5);
	policy_s3_destroy(s3);
}

static void
scans_leave_first_and_teach_the_ghost_nothing(void **state)
{
	(void)state;
	struct policy_s3 *s3;
	struct policy_s3_node node[100] = {0}, scan[20] = {0};
	assert_int_equal(policy_s3_create(100, &s3), 0);
	for (unsigned i = 0; i < 80; i++)
		policy_s3_insert(s3, &node[i], i, POLICY_S3_DEMAND);
	for (unsigned i = 0; i < 20; i++)
		policy_s3_insert(s3, &scan[i], 1000 + i, POLICY_S3_SCAN);
	for (unsigned i = 0; i < 15; i++)
		assert_ptr_equal(policy_s3_evict(s3), &scan[i]);
	assert_ptr_equal(policy_s3_evict(s3), &node[0]);
	struct policy_s3_stats st;
	policy_s3_insert(s3, &scan[0], 1000, POLICY_S3_DEMAND);
	policy_s3_stats(s3, &st);
	assert_int_equal(st.ghost_hits, 0);
	policy_s3_destroy(s3);
}

static void
the_first_use_of_what_was_read_ahead_is_no_hit(void **state)
{
	(void)state;
	struct policy_s3 *s3;
	struct policy_s3_node once = {0}, twice = {0}, never = {0};
	struct policy_s3_stats st;
	assert_int_equal(policy_s3_create(10, &s3), 0);
	policy_s3_insert(s3, &twice, 1, POLICY_S3_AHEAD);
	policy_s3_insert(s3, &once, 2, POLICY_S3_AHEAD);
	policy_s3_insert(s3, &never, 3, POLICY_S3_AHEAD);
	policy_s3_hit(s3, &twice);
	policy_s3_hit(s3, &twice);
	policy_s3_hit(s3, &once);
	assert_ptr_equal(policy_s3_evict(s3), &once);
	policy_s3_stats(s3, &st);
	assert_int_equal(st.promoted, 1);
	policy_s3_remove(s3, &twice);
	assert_ptr_equal(policy_s3_evict(s3), &never);
	policy_s3_stats(s3, &st);
	assert_int_equal(st.ahead_used, 2);
	assert_int_equal(st.ahead_wasted, 1);
	policy_s3_destroy(s3);
}

static void
one_eviction_does_bounded_work(void **state)
{
	(void)state;
	static struct policy_s3_node node[20000];
	struct policy_s3 *s3;
	struct policy_s3_stats st;
	assert_int_equal(policy_s3_create(20000, &s3), 0);
	for (unsigned i = 0; i < 20000; i++) {
		policy_s3_insert(s3, &node[i], i, POLICY_S3_DEMAND);
		policy_s3_hit(s3, &node[i]);
	}
	assert_non_null(policy_s3_evict(s3));
	policy_s3_stats(s3, &st);
	assert_in_range(st.promoted + st.reinserted, 1, 256);
	policy_s3_destroy(s3);
}

static void
capacity_is_checked_and_can_change(void **state)
{
	(void)state;
	struct policy_s3 *s3 = NULL;
	assert_int_equal(policy_s3_create(0, &s3), -EINVAL);
	assert_int_equal(policy_s3_create((uint64_t)1 << 41, &s3), -EINVAL);
	assert_null(s3);
	policy_s3_destroy(NULL);
	struct policy_s3_node node[4] = {0};
	assert_int_equal(policy_s3_create(1, &s3), 0);
	for (unsigned i = 0; i < 4; i++)
		policy_s3_insert(s3, &node[i], i, POLICY_S3_DEMAND);
	assert_int_equal(policy_s3_resize(s3, 0), -EINVAL);
	assert_int_equal(policy_s3_resize(s3, 1000), 0);
	for (unsigned i = 0; i < 4; i++)
		assert_ptr_equal(policy_s3_evict(s3), &node[i]);
	assert_null(policy_s3_evict(s3));
	policy_s3_destroy(s3);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(evicts_in_the_order_of_the_plain_algorithm),
	    cmocka_unit_test(never_gives_a_busy_entry_and_never_loses_an_idle_one),
	    cmocka_unit_test(a_busy_entry_is_looked_at_once),
	    cmocka_unit_test(what_comes_back_soon_goes_to_main),
	    cmocka_unit_test(scans_leave_first_and_teach_the_ghost_nothing),
	    cmocka_unit_test(the_first_use_of_what_was_read_ahead_is_no_hit),
	    cmocka_unit_test(one_eviction_does_bounded_work),
	    cmocka_unit_test(capacity_is_checked_and_can_change),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
