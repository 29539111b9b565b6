/* SPDX-License-Identifier: BSD-2-Clause */
/* cache/policy/destage.c, cache/policy/pick.c */
#include "tests/cmocka_all.h"

#include <stdlib.h>
#include <string.h>

#include "cache/policy/policy.h"

#define SEGS 1000u
#define DIRTY_MAX 100000u
#define TICK_S 0.02

static uint64_t
draw(uint64_t *s)
{
	*s = *s * 6364136223846793005ull + 1442695040888963407ull;
	return *s >> 33;
}

/* ---- order -------------------------------------------------------------------------------- */

#define ITEMS 300u

static uint32_t
random_items(struct policy_pick_item *items, uint32_t stripe, uint64_t *rand)
{
	uint64_t lba = draw(rand) % 50;
	uint32_t n = 0;
	for (uint32_t want = (uint32_t)draw(rand) % ITEMS; n < want;) {
		uint32_t blocks = 1 + (uint32_t)draw(rand) % 6;
		if (stripe && lba / stripe != (lba + blocks - 1) / stripe)
			blocks = stripe - (uint32_t)(lba % stripe);
		uint8_t kind = draw(rand) % 3 ? POLICY_PICK_DUE
		                              : (uint8_t)(POLICY_PICK_EXTRA + draw(rand) % 2);
		items[n] = (struct policy_pick_item){.lba = lba, .blocks = blocks, .kind = kind};
		lba += blocks + (draw(rand) % 3 ? 0 : draw(rand) % 9);
		n++;
	}
	for (uint32_t i = n; i-- > 1;) {
		uint32_t j = (uint32_t)draw(rand) % (i + 1);
		struct policy_pick_item t = items[i];
		items[i] = items[j];
		items[j] = t;
	}
	for (uint32_t i = 0; i < n; i++)
		items[i].ctx = &items[i];
	return n;
}

static void
check_run(const struct policy_pick_config *cfg, const struct policy_pick_item *items,
    const struct policy_pick_run *run, uint8_t *taken)
{
	uint64_t at = run->lba;
	bool due = false;
	for (uint32_t i = run->first; i < run->first + run->count; i++) {
		assert_int_equal(items[i].lba, at);
		at += items[i].blocks;
		due |= items[i].kind == POLICY_PICK_DUE;
		assert_int_equal(taken[i]++, 0);
	}
	assert_int_equal(at, run->lba + run->blocks);
	assert_true(due);
	assert_true(run->blocks <= cfg->run_max_blocks || run->count == 1);
	if (run->full) {
		assert_int_equal(run->lba % cfg->stripe_blocks, 0);
		assert_int_equal(run->blocks % cfg->stripe_blocks, 0);
	} else {
		assert_int_not_equal(items[run->first].kind, POLICY_PICK_GAP);
		assert_int_not_equal(items[run->first + run->count - 1].kind, POLICY_PICK_GAP);
	}
}

static void
each_due_item_is_in_one_run(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 3000; seed++) {
		struct policy_pick_item items[ITEMS];
		struct policy_pick_run runs[ITEMS], few[7];
		uint8_t taken[ITEMS] = {0};
		uint64_t rand = seed;
		struct policy_pick_config cfg = {.run_max_blocks = 1 + (uint32_t)draw(&rand) % 40,
		    .stripe_blocks = draw(&rand) % 2 ? 4 + (uint32_t)draw(&rand) % 8 : 0,
		    .cursor_lba = draw(&rand) % 1000};
		uint32_t n = random_items(items, cfg.stripe_blocks, &rand);
		uint32_t got = policy_pick(&cfg, items, n, runs, ITEMS);
		for (uint32_t i = 0; i < got; i++)
			check_run(&cfg, items, &runs[i], taken);
		for (uint32_t i = 0; i < n; i++)
			assert_true(taken[i] || items[i].kind != POLICY_PICK_DUE);
		for (uint32_t i = 1; i < got; i++)
			assert_true(runs[i - 1].full || !runs[i].full);
		uint32_t first = policy_pick(&cfg, items, n, few, 7);
		assert_int_equal(first, got < 7 ? got : 7);
		for (uint32_t i = 0; i < first; i++)
			assert_int_equal(few[i].lba, runs[i].lba);
	}
}

static void
goes_upwards_from_the_cursor(void **state)
{
	(void)state;
	struct policy_pick_item items[] = {{.lba = 90, .blocks = 1}, {.lba = 10, .blocks = 1},
	    {.lba = 50, .blocks = 1}, {.lba = 70, .blocks = 1}};
	struct policy_pick_run runs[4];
	struct policy_pick_config cfg = {.run_max_blocks = 8, .cursor_lba = 60};
	const uint64_t want[] = {70, 90, 10, 50};
	assert_int_equal(policy_pick(&cfg, items, 4, runs, 4), 4);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(runs[i].lba, want[i]);
}

static void
whole_stripes_then_long_runs_go_first(void **state)
{
	(void)state;
	struct policy_pick_item items[64];
	struct policy_pick_run runs[64];
	uint32_t n = 0;
	items[n++] = (struct policy_pick_item){.lba = 1, .blocks = 1};
	for (uint64_t lba = 22; lba < 27; lba++) /* five blocks, no stripe of eight */
		items[n++] = (struct policy_pick_item){.lba = lba, .blocks = 1};
	for (uint64_t lba = 38; lba < 58; lba++) /* two stripes at 40, with ragged ends */
		items[n++] = (struct policy_pick_item){.lba = lba, .blocks = 1};
	struct policy_pick_config cfg = {.run_max_blocks = 32, .stripe_blocks = 8};
	assert_int_equal(policy_pick(&cfg, items, n, runs, 64), 5);
	assert_true(runs[0].full);
	assert_int_equal(runs[0].lba, 40);
	assert_int_equal(runs[0].blocks, 16);
	assert_int_equal(runs[1].lba, 22);
	assert_int_equal(runs[2].lba, 1);
	assert_int_equal(runs[3].lba, 38);
	assert_int_equal(runs[4].lba, 56);
}

static void
a_gap_joins_and_an_extra_never_goes_alone(void **state)
{
	(void)state;
	struct policy_pick_item items[] = {{.lba = 1, .blocks = 1}, {.lba = 4, .blocks = 1},
	    {.lba = 2, .blocks = 2, .kind = POLICY_PICK_GAP},
	    {.lba = 5, .blocks = 1, .kind = POLICY_PICK_GAP},
	    {.lba = 20, .blocks = 4, .kind = POLICY_PICK_EXTRA},
	    {.lba = 30, .blocks = 1, .kind = POLICY_PICK_EXTRA}, {.lba = 31, .blocks = 1}};
	struct policy_pick_run runs[7];
	struct policy_pick_config cfg = {.run_max_blocks = 32};
	assert_int_equal(policy_pick(&cfg, items, 7, runs, 7), 2);
	assert_int_equal(runs[0].lba, 1);
	assert_int_equal(runs[0].blocks, 4);
	assert_int_equal(runs[1].lba, 30);
	assert_int_equal(runs[1].blocks, 2);
	assert_int_equal(policy_pick(&cfg, items, 0, runs, 7), 0);
}

/* ---- speed: a closed loop with a store that does `drain` blocks a second ------------------- */

struct world {
	struct policy_destage ctl;
	double dirty, drain, offered;
	struct policy_destage_in in;
	struct policy_destage_out out;
};

static void
world_init(struct world *w, double drain, double offered)
{
	*w = (struct world){.drain = drain,
	    .offered = offered,
	    .in = {.elapsed_ns = 20000000,
	        .segs = SEGS,
	        .segs_free = SEGS,
	        .dirty_max_blocks = DIRTY_MAX}};
	policy_destage_init(&w->ctl, &(struct policy_destage_config){0});
}

static void
world_tick(struct world *w)
{
	double write = w->offered * TICK_S, clean = w->drain * TICK_S;
	if (w->out.delay_ns && write > TICK_S * 1e9 / (double)w->out.delay_ns)
		write = TICK_S * 1e9 / (double)w->out.delay_ns;
	if (clean > (double)w->out.budget_blocks)
		clean = (double)w->out.budget_blocks;
	clean = clean * w->out.depth / 32;
	if (clean > w->dirty)
		clean = w->dirty;
	w->in.busy_ns = 0;
	if (w->out.depth)
		w->in.busy_ns = (uint64_t)(clean / (w->drain * w->out.depth / 32) * 1e9);
	w->dirty += write - clean;
	w->in.written_blocks = (uint64_t)write;
	w->in.destaged_blocks = (uint64_t)clean;
	w->in.dirty_blocks = (uint64_t)w->dirty;
	policy_destage_tick(&w->ctl, &w->in, &w->out);
}

static double
share(const struct world *w)
{
	return w->dirty / DIRTY_MAX;
}

static void
full_speed_to_60_percent_then_smoothly_to_the_stores_speed(void **state)
{
	(void)state;
	static const double drains[] = {400, 3000, 20000};
	for (unsigned k = 0; k < 3; k++) {
		struct world w;
		world_init(&w, drains[k], 60000);
		uint64_t last = 0;
		for (unsigned i = 0; i < 50 * 60; i++) {
			world_tick(&w);
			if (share(&w) < 0.6)
				assert_int_equal(w.out.delay_ns, 0);
			assert_true(w.out.delay_ns <= 4 * last || last < 200000);
			assert_true(w.out.delay_ns <= 10000000);
			assert_true(share(&w) < 1);
			last = w.out.delay_ns;
		}
		assert_true(share(&w) > 0.62 && share(&w) < 0.75);
		double writes = 1e9 / (double)w.out.delay_ns;
		assert_true(writes > drains[k] * 0.7 && writes < drains[k] * 1.4);
	}
}

static void
a_store_that_keeps_up_is_held_at_55_percent(void **state)
{
	(void)state;
	struct world w;
	world_init(&w, 50000, 20000);
	for (unsigned i = 0; i < 50 * 60; i++) {
		world_tick(&w);
		assert_int_equal(w.out.delay_ns, 0);
		if (share(&w) < 0.40)
			assert_int_equal(w.out.budget_blocks, 0);
	}
	assert_true(share(&w) > 0.5 && share(&w) < 0.6);
}

static void
an_idle_store_is_drained(void **state)
{
	(void)state;
	struct world w;
	world_init(&w, 20000, 0);
	w.dirty = 0.3 * DIRTY_MAX;
	world_tick(&w);
	assert_in_range(w.out.budget_blocks, 0, 10); /* not idle for long: a trickle */
	for (unsigned i = 0; i < 50 * 10; i++)
		world_tick(&w);
	assert_true(w.dirty < 1);
	assert_int_equal(w.out.depth, 0);
}

static void
reads_of_clients_keep_a_store_from_being_idle(void **state)
{
	(void)state;
	struct world w;
	world_init(&w, 20000, 0);
	w.dirty = 0.05 * DIRTY_MAX;
	w.in.store_ops = 10;
	w.in.store_ns = 10 * 1000000;
	for (unsigned i = 0; i < 200; i++) {
		world_tick(&w);
		assert_int_equal(w.out.budget_blocks, 0);
	}
}

static void
latency_counts_less_the_less_is_free(void **state)
{
	(void)state;
	struct world w;
	uint32_t depth[3];
	for (unsigned k = 0; k < 3; k++) {
		world_init(&w, 20000, 20000);
		w.in.store_ops = 10;
		w.in.store_ns = 10 * 1000000ull;
		w.dirty = (k == 0 ? 0.5 : k == 1 ? 0.7 : 0.99) * DIRTY_MAX;
		for (unsigned i = 0; i < 100; i++)
			policy_destage_tick(&w.ctl, &w.in, &w.out);
		w.in.dirty_blocks = (uint64_t)w.dirty;
		w.in.store_ns *= 20; /* far above what was seen before */
		for (unsigned i = 0; i < 40; i++)
			policy_destage_tick(&w.ctl, &w.in, &w.out);
		depth[k] = w.out.depth;
	}
	assert_int_equal(depth[0], 1);
	assert_in_range(depth[1], 5, 20);
	assert_in_range(depth[2], 30, 32);
}

static void
few_free_segments_press_as_dirty_blocks_do(void **state)
{
	(void)state;
	struct world w;
	world_init(&w, 1000, 10000);
	w.in.segs_free = SEGS / 20;
	w.dirty = 100;
	for (unsigned i = 0; i < 50; i++)
		world_tick(&w);
	assert_true(w.out.delay_ns > 1000);
	assert_true(w.out.depth > 20);
	assert_in_range(w.out.window_segs, 2, 80);
}

/* Slower from little room on, to the store's speed at half of that; however few are dirty. */
static void
little_room_slows(void **state)
{
	uint64_t delay[5];
	(void)state;
	for (unsigned i = 0; i < 5; i++) {
		struct world w;
		world_init(&w, 1000, 10000);
		w.dirty = DIRTY_MAX / 2;
		w.in.room_low_blocks = i < 4 ? 3000 : 0;
		w.in.room_blocks = (uint64_t[]){6000, 2400, 1500, 0, 0}[i];
		for (unsigned k = 0; k < 100; k++) {
			w.dirty = DIRTY_MAX / 2;
			world_tick(&w);
		}
		delay[i] = w.out.delay_ns;
		if (i == 2)
			assert_in_range(delay[i], 1e9 / w.ctl.destaged_per_s * 0.9,
			    1e9 / w.ctl.destaged_per_s * 1.1);
	}
	assert_int_equal(delay[0], 0);
	assert_true(delay[1] > 0 && delay[1] < delay[2] / 2);
	assert_true(delay[3] > 5 * delay[2]);
	assert_int_equal(delay[4], 0); /* room is no matter */
}

/* What a store could do is seen while it works, however seldom it is let. */
static void
the_drain_rate_is_that_of_the_time_it_works(void **state)
{
	(void)state;
	struct world w;
	world_init(&w, 0, 0);
	w.in.dirty_blocks = DIRTY_MAX / 2;
	w.in.destaged_blocks = 100;
	w.in.busy_ns = 2000000;
	policy_destage_tick(&w.ctl, &w.in, &w.out);
	assert_in_range((uint64_t)w.ctl.destaged_per_s, 49000, 51000);
	w.in.destaged_blocks = w.in.busy_ns = 0;
	for (unsigned i = 0; i < 500; i++)
		policy_destage_tick(&w.ctl, &w.in, &w.out);
	assert_in_range((uint64_t)w.ctl.destaged_per_s, 49000, 51000);
	/* It hangs. */
	w.in.busy_ns = 20000000;
	w.in.dirty_blocks = DIRTY_MAX * 68 / 100;
	for (unsigned i = 0; i < 500; i++)
		policy_destage_tick(&w.ctl, &w.in, &w.out);
	assert_in_range(w.out.delay_ns, 5000000, 10000000);
	/* It works again. */
	w.in.destaged_blocks = 1000;
	for (unsigned i = 0; i < 100; i++)
		policy_destage_tick(&w.ctl, &w.in, &w.out);
	assert_in_range(w.out.delay_ns, 1, 100000);
}

/* Two thirds of the log are one store's: the other's writes are hardly slowed, as long as it has its part. */
static void
each_store_is_slowed_for_its_part(void **state)
{
	(void)state;
	struct policy_destage slow, fast;
	struct policy_destage_out of_slow, of_fast;
	policy_destage_init(&slow, &(struct policy_destage_config){0});
	policy_destage_init(&fast, &(struct policy_destage_config){0});
	struct policy_destage_in in = {.elapsed_ns = 20000000,
	    .segs = SEGS,
	    .segs_free = SEGS / 5,
	    .all_dirty_blocks = DIRTY_MAX * 68 / 100,
	    .all_max_blocks = DIRTY_MAX,
	    .stores = 2,
	    .busy_ns = 20000000};
	for (unsigned i = 0; i < 100; i++) {
		in.dirty_blocks = DIRTY_MAX * 65 / 100;
		in.dirty_max_blocks = DIRTY_MAX * 97 / 100;
		in.destaged_blocks = 20;
		policy_destage_tick(&slow, &in, &of_slow);
		in.dirty_blocks = DIRTY_MAX * 3 / 100;
		in.dirty_max_blocks = DIRTY_MAX * 35 / 100;
		in.destaged_blocks = 1000;
		policy_destage_tick(&fast, &in, &of_fast);
	}
	assert_in_range(of_slow.delay_ns, 1000000, 3000000);
	assert_in_range(of_fast.delay_ns, 0, 4000);
}

static void
drain_goes_all_out_and_a_failing_store_gets_one_at_a_time(void **state)
{
	(void)state;
	struct world w;
	world_init(&w, 1000, 10000);
	w.in.drain = true;
	w.dirty = 1000;
	world_tick(&w);
	assert_int_equal(w.out.depth, 32);
	assert_int_equal(w.out.budget_blocks, UINT64_MAX);
	assert_int_equal(w.out.window_segs, SEGS);
	w.in.store_failing = true;
	world_tick(&w);
	assert_int_equal(w.out.depth, 1);
	assert_int_equal(w.out.budget_blocks, 1);
}

/* Whatever comes in, what comes out is usable. */
static void
any_input_gives_bounded_output(void **state)
{
	(void)state;
	uint64_t rand = 4;
	struct policy_destage d;
	policy_destage_init(&d, &(struct policy_destage_config){.depth_max = 5});
	for (unsigned i = 0; i < 200000; i++) {
		struct policy_destage_in in = {.elapsed_ns = draw(&rand) << draw(&rand) % 33,
		    .segs = (uint32_t)draw(&rand) >> draw(&rand) % 31,
		    .dirty_blocks = draw(&rand) << draw(&rand) % 20,
		    .dirty_max_blocks = draw(&rand) >> draw(&rand) % 32,
		    .written_blocks = draw(&rand) << draw(&rand) % 30,
		    .destaged_blocks = draw(&rand) << draw(&rand) % 30,
		    .busy_ns = draw(&rand) << draw(&rand) % 30,
		    .all_dirty_blocks = draw(&rand) << draw(&rand) % 20,
		    .all_max_blocks = draw(&rand) % 2 ? draw(&rand) >> draw(&rand) % 32 : 0,
		    .stores = (uint32_t)draw(&rand) >> draw(&rand) % 31,
		    .store_ops = draw(&rand) % 2 ? (uint32_t)draw(&rand) % 1000 : 0,
		    .store_ns = draw(&rand) << draw(&rand) % 30,
		    .drain = draw(&rand) % 16 == 0,
		    .store_failing = draw(&rand) % 16 == 0};
		in.segs_free = in.segs ? (uint32_t)draw(&rand) % (in.segs + 1) : 0;
		struct policy_destage_out out;
		policy_destage_tick(&d, &in, &out);
		assert_true(out.depth <= 5);
		assert_int_equal(out.depth == 0, out.budget_blocks == 0);
		assert_true(out.delay_ns <= 10000000);
		assert_true(in.dirty_blocks || !out.budget_blocks);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(each_due_item_is_in_one_run),
	    cmocka_unit_test(goes_upwards_from_the_cursor),
	    cmocka_unit_test(whole_stripes_then_long_runs_go_first),
	    cmocka_unit_test(a_gap_joins_and_an_extra_never_goes_alone),
	    cmocka_unit_test(full_speed_to_60_percent_then_smoothly_to_the_stores_speed),
	    cmocka_unit_test(a_store_that_keeps_up_is_held_at_55_percent),
	    cmocka_unit_test(an_idle_store_is_drained),
	    cmocka_unit_test(reads_of_clients_keep_a_store_from_being_idle),
	    cmocka_unit_test(latency_counts_less_the_less_is_free),
	    cmocka_unit_test(few_free_segments_press_as_dirty_blocks_do),
	    cmocka_unit_test(little_room_slows),
	    cmocka_unit_test(the_drain_rate_is_that_of_the_time_it_works),
	    cmocka_unit_test(each_store_is_slowed_for_its_part),
	    cmocka_unit_test(drain_goes_all_out_and_a_failing_store_gets_one_at_a_time),
	    cmocka_unit_test(any_input_gives_bounded_output),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
