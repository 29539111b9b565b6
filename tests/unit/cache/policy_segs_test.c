/* SPDX-License-Identifier: BSD-2-Clause */
/* cache/policy/segs.c */
#include "tests/cmocka_all.h"

#include <errno.h>
#include <stdlib.h>

#include "cache/policy/policy.h"

#define SEGS 40u
#define BLOCKS 100u

static uint64_t
draw(uint64_t *s)
{
	*s = *s * 6364136223846793005ull + 1442695040888963407ull;
	return *s >> 33;
}

static struct policy_segs *
make(void)
{
	struct policy_segs *ps = NULL;
	struct policy_segs_config cfg = {.segs = SEGS, .blocks_per_seg = BLOCKS};
	assert_int_equal(policy_segs_create(&cfg, &ps), 0);
	return ps;
}

/* A sealed segment, `hits` of whose blocks were hit. */
static void
fill(struct policy_segs *ps, uint32_t seg, enum policy_class class, uint32_t live, uint32_t hits)
{
	policy_segs_open(ps, seg, class);
	policy_segs_count(ps, seg, (int32_t)live, 0);
	for (uint32_t b = 0; b < hits; b++)
		policy_segs_hit(ps, seg, b);
	policy_segs_seal(ps, seg);
}

static uint32_t
victim(struct policy_segs *ps)
{
	uint32_t seg = UINT32_MAX;
	assert_int_equal(policy_segs_victim(ps, &seg), 0);
	return seg;
}

static void
segments_come_and_go(void **state)
{
	(void)state;
	struct policy_segs *ps = make();
	struct policy_segs_stats st;
	fill(ps, 3, POLICY_SMALL, BLOCKS, 7);
	assert_int_equal(policy_segs_resize(ps, SEGS + 10), 0);
	assert_true(policy_segs_was_hit(ps, 3, 6) && !policy_segs_was_hit(ps, 3, 7));
	fill(ps, SEGS + 9, POLICY_SMALL, BLOCKS, 0);
	assert_int_equal(victim(ps), 3);
	assert_int_equal(victim(ps), SEGS + 9);
	policy_segs_count(ps, SEGS + 9, -(int32_t)BLOCKS, 0);
	policy_segs_free(ps, SEGS + 9);
	assert_int_equal(policy_segs_resize(ps, 1), -EINVAL);
	assert_int_equal(policy_segs_resize(ps, 5), 0);
	policy_segs_stats(ps, &st);
	assert_int_equal(st.free, 4);
	assert_int_equal(policy_segs_resize(ps, 6), 0);
	fill(ps, 5, POLICY_MAIN, BLOCKS, 0);
	assert_int_equal(victim(ps), 5);
	policy_segs_destroy(ps);
}

static void
small_is_emptied_oldest_first_down_to_a_tenth(void **state)
{
	(void)state;
	struct policy_segs *ps = make();
	for (uint32_t s = 0; s < 20; s++)
		fill(ps, s, POLICY_MAIN, BLOCKS, 0);
	for (uint32_t s = 20; s < 40; s++)
		fill(ps, s, POLICY_SMALL, BLOCKS, 0);
	for (uint32_t s = 20; s < 38; s++)
		assert_int_equal(victim(ps), s);
	assert_int_equal(victim(ps), 0);
	policy_segs_destroy(ps);
}

static void
what_is_dirty_stays(void **state)
{
	(void)state;
	struct policy_segs *ps = make();
	uint32_t seg;
	for (uint32_t s = 0; s < 4; s++)
		policy_segs_restore(ps, s, POLICY_SMALL, BLOCKS, s == 2 ? 0 : 1);
	assert_int_equal(victim(ps), 2);
	assert_int_equal(policy_segs_victim(ps, &seg), -EAGAIN);
	policy_segs_count(ps, 1, 0, -1);
	assert_int_equal(victim(ps), 1);
	policy_segs_count(ps, 0, 0, -1);
	policy_segs_keep(ps, 1);
	assert_int_equal(victim(ps), 1); /* the oldest, as it has been put back */
	policy_segs_destroy(ps);
}

static void
the_dead_go_first_and_hit_blocks_are_rewritten(void **state)
{
	(void)state;
	struct policy_segs *ps = make();
	fill(ps, 0, POLICY_SMALL, BLOCKS, 3);
	fill(ps, 1, POLICY_SMALL, BLOCKS, 0);
	fill(ps, 2, POLICY_SMALL, BLOCKS, 0);
	policy_segs_count(ps, 2, -(int32_t)BLOCKS, 0);
	assert_int_equal(victim(ps), 2);
	policy_segs_free(ps, 2);
	assert_int_equal(victim(ps), 0);
	for (uint32_t b = 0; b < BLOCKS; b++)
		assert_int_equal(
		    policy_segs_judge(ps, 0, b, 5000 + b), b < 3 ? POLICY_REWRITE : POLICY_DROP);
	/* What was dropped comes back into main, what is unknown into small. */
	assert_int_equal(policy_segs_place(ps, 5050), POLICY_MAIN);
	assert_int_equal(policy_segs_place(ps, 5001), POLICY_SMALL);
	assert_int_equal(policy_segs_place(ps, 5050), POLICY_SMALL); /* told once */
	policy_segs_destroy(ps);
}

static void
a_segment_that_is_hot_throughout_is_not_copied(void **state)
{
	(void)state;
	struct policy_segs *ps = make();
	struct policy_segs_stats st;
	fill(ps, 0, POLICY_SMALL, BLOCKS, 90);
	fill(ps, 1, POLICY_SMALL, BLOCKS, 70);
	assert_int_equal(victim(ps), 1);
	policy_segs_stats(ps, &st);
	assert_int_equal(st.promoted, 1);
	assert_int_equal(st.main, 1);
	assert_false(policy_segs_was_hit(ps, 0, 0));
	policy_segs_destroy(ps);
}

static void
all_hot_ends_after_one_round(void **state)
{
	(void)state;
	struct policy_segs *ps = make();
	struct policy_segs_stats st;
	for (uint32_t s = 0; s < SEGS; s++)
		fill(ps, s, s % 2 ? POLICY_MAIN : POLICY_SMALL, BLOCKS, BLOCKS);
	victim(ps);
	policy_segs_stats(ps, &st);
	assert_in_range(st.promoted, 1, SEGS);
	policy_segs_destroy(ps);
}

static void
holes_in_main_are_packed_without_loss(void **state)
{
	(void)state;
	struct policy_segs *ps = make();
	fill(ps, 0, POLICY_MAIN, BLOCKS, 0);
	fill(ps, 1, POLICY_MAIN, BLOCKS, 2);
	policy_segs_count(ps, 1, -60, 0);
	assert_int_equal(victim(ps), 1);
	assert_int_equal(policy_segs_judge(ps, 1, 0, 1), POLICY_REWRITE_HIT);
	assert_int_equal(policy_segs_judge(ps, 1, 5, 2), POLICY_REWRITE);
	policy_segs_destroy(ps);
}

static void
neighbours_share_a_ghost_entry(void **state)
{
	(void)state;
	struct policy_segs *ps;
	struct policy_segs_config cfg = {.segs = 64, .blocks_per_seg = 256, .ghost_shift = 4};
	assert_int_equal(policy_segs_create(&cfg, &ps), 0);
	fill(ps, 0, POLICY_SMALL, 1, 0);
	assert_int_equal(victim(ps), 0);
	assert_int_equal(policy_segs_judge(ps, 0, 0, policy_key(3, 160)), POLICY_DROP);
	assert_int_equal(policy_segs_place(ps, policy_key(3, 175)), POLICY_MAIN);
	assert_int_equal(policy_segs_place(ps, policy_key(3, 176)), POLICY_SMALL);
	assert_int_equal(policy_segs_place(ps, policy_key(4, 160)), POLICY_SMALL);
	policy_segs_destroy(ps);
}

static void
bad_configurations_are_refused(void **state)
{
	(void)state;
	struct policy_segs *ps = NULL;
	const struct policy_segs_config bad[] = {{.segs = 1, .blocks_per_seg = 1},
	    {.segs = 2, .blocks_per_seg = 0}, {.segs = 2, .blocks_per_seg = (1u << 20) + 1},
	    {.segs = 2, .blocks_per_seg = 1, .ghost_shift = 13}};
	for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_int_equal(policy_segs_create(&bad[i], &ps), -EINVAL);
	assert_null(ps);
	policy_segs_destroy(NULL);
}

/* ---- random life of a small SSD against a plain model ------------------------------------- */

enum state { FREE, OPEN, SEALED, EMPTYING };

struct model {
	enum state state[SEGS];
	uint32_t live[SEGS], dirty[SEGS];
};

static void
change_counts(struct policy_segs *ps, struct model *m, uint32_t s, uint64_t *rand)
{
	uint32_t live = (uint32_t)draw(rand) % (BLOCKS + 1);
	uint32_t dirty = draw(rand) % 2 ? 0 : (uint32_t)draw(rand) % (live + 1);
	policy_segs_count(
	    ps, s, (int32_t)live - (int32_t)m->live[s], (int32_t)dirty - (int32_t)m->dirty[s]);
	m->live[s] = live;
	m->dirty[s] = dirty;
}

static void
take_victim(struct policy_segs *ps, struct model *m)
{
	uint32_t seg = UINT32_MAX, clean = 0;
	for (uint32_t s = 0; s < SEGS; s++)
		clean += m->state[s] == SEALED && !m->dirty[s];
	int rc = policy_segs_victim(ps, &seg);
	assert_int_equal(rc, clean ? 0 : -EAGAIN);
	if (rc)
		return;
	assert_int_equal(m->state[seg], SEALED);
	assert_int_equal(m->dirty[seg], 0);
	m->state[seg] = EMPTYING;
	uint32_t rewritten = 0;
	for (uint32_t b = 0; b < m->live[seg]; b++)
		rewritten += policy_segs_judge(ps, seg, b, b) != POLICY_DROP;
	assert_true(rewritten * 100 <= BLOCKS * 75);
}

static void
step(struct policy_segs *ps, struct model *m, uint64_t *rand)
{
	uint32_t s = (uint32_t)draw(rand) % SEGS;
	if (draw(rand) % 8 == 0) {
		take_victim(ps, m);
	} else if (m->state[s] == FREE) {
		policy_segs_open(ps, s, (enum policy_class)(draw(rand) % 2));
		m->state[s] = OPEN;
		m->live[s] = m->dirty[s] = 0;
	} else if (draw(rand) % 3 == 0) {
		change_counts(ps, m, s, rand);
	} else if (m->state[s] == OPEN) {
		policy_segs_seal(ps, s);
		m->state[s] = SEALED;
	} else if (m->state[s] == EMPTYING && (m->dirty[s] || draw(rand) % 4 == 0)) {
		policy_segs_keep(ps, s);
		m->state[s] = SEALED;
	} else if (m->state[s] == EMPTYING) {
		policy_segs_free(ps, s);
		m->state[s] = FREE;
	} else {
		for (uint32_t i = 0; i < BLOCKS; i++)
			policy_segs_hit(ps, s, (uint32_t)draw(rand) % BLOCKS);
	}
}

static void
agrees_with_a_plain_model(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 40; seed++) {
		struct policy_segs *ps = make();
		struct model m = {0};
		uint64_t rand = seed;
		for (unsigned i = 0; i < 5000; i++) {
			step(ps, &m, &rand);
			struct policy_segs_stats st;
			uint32_t n[4] = {0};
			for (uint32_t s = 0; s < SEGS; s++)
				n[m.state[s]]++;
			policy_segs_stats(ps, &st);
			assert_int_equal(st.free, n[FREE]);
			assert_int_equal(st.open, n[OPEN]);
			assert_int_equal(st.emptying, n[EMPTYING]);
			assert_int_equal(st.small + st.main + st.dead, n[SEALED]);
		}
		for (uint32_t s = 0; s < SEGS; s++) {
			assert_int_equal(policy_segs_live(ps, s), m.state[s] ? m.live[s] : 0);
			assert_int_equal(policy_segs_dirty(ps, s), m.state[s] ? m.dirty[s] : 0);
		}
		policy_segs_destroy(ps);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(small_is_emptied_oldest_first_down_to_a_tenth),
	    cmocka_unit_test(what_is_dirty_stays),
	    cmocka_unit_test(the_dead_go_first_and_hit_blocks_are_rewritten),
	    cmocka_unit_test(a_segment_that_is_hot_throughout_is_not_copied),
	    cmocka_unit_test(all_hot_ends_after_one_round),
	    cmocka_unit_test(holes_in_main_are_packed_without_loss),
	    cmocka_unit_test(neighbours_share_a_ghost_entry),
	    cmocka_unit_test(segments_come_and_go),
	    cmocka_unit_test(bad_configurations_are_refused),
	    cmocka_unit_test(agrees_with_a_plain_model),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
