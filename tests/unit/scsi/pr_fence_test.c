/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Fencing with writes in flight (INV-2), from seeds: when the command that takes access away returns
 * GOOD, no write of the victim is in the store, and none gets there any more. The victim writes all
 * the time, on another loop (or the same), to a store that takes its time.
 */
#include "tests/unit/scsi/pr_util.h"

#include <stdio.h>
#include <string.h>

#include "store/fault.h"

#define SEEDS 25
#define BLOCKS 8
#define DEPTH 12
#define WRITES_MAX 4000u

enum way {
	BY_RESERVE,
	BY_PREEMPT_REGISTRATION,
	BY_PREEMPT_HOLDER,
	BY_PREEMPT_AND_ABORT,
	BY_SPC2,
	WAYS
};

static const char *const way_names[] = {"RESERVE", "PREEMPT of a registrant",
    "PREEMPT of the holder", "PREEMPT AND ABORT", "RESERVE(6)"};

struct scene {
	struct fx f;
	struct fx_nexus *fencer, *victim;
	enum way way;
	bool stop;   /* the victim starts nothing new */
	bool fenced; /* the fencing command returned GOOD */
	unsigned started, good, conflicts, aborted, others;
	uint8_t data[DEPTH][512];
};

static void start_write(struct scene *s, unsigned slot);

static void
write_done(struct fx_cmd *c)
{
	struct scene *s = c->ctx;
	unsigned slot = (unsigned)(c->out - s->data[0]) / 512;

	if (c->aborted)
		s->aborted++;
	else if (c->status == SCSI_GOOD)
		s->good++;
	else if (c->status == SCSI_RESERVATION_CONFLICT)
		s->conflicts++;
	else
		s->others++; /* unit attentions */
	if (!s->stop && s->started < WRITES_MAX)
		start_write(s, slot);
}

/* On the victim's loop. */
static void
start_write(struct scene *s, unsigned slot)
{
	uint8_t cdb[16] = {0x8a, [13] = 1};

	cdb[9] = (uint8_t)(loop_sim_rand(s->f.world) % BLOCKS);
	memset(s->data[slot], 'v', 512);
	struct fx_cmd *c = fx_cmd(s->victim, 0, cdb, 16, s->data[slot], 512, 0);
	c->on_done = write_done;
	c->ctx = s;
	s->started++;
	fx_start_here(c);
}

static void
start_writing(void *ctx)
{
	struct scene *s = ctx;

	for (unsigned i = 0; i < DEPTH; i++)
		start_write(s, i);
}

/* How many writes of the victim the store holds now. */
static unsigned
in_store(const struct scene *s)
{
	const struct scsi_nexus_lu *nlu = s->victim->n->nlus[0];
	unsigned count = 0;

	LIST_FOREACH (l, &nlu->tasks)
		count += container_of(l, struct scsi_task, nexus_link)->in_store;
	return count;
}

static void
fence_done(struct fx_cmd *c)
{
	struct scene *s = c->ctx;

	fx_assert_good(c);
	s->fenced = true;
	assert_int_equal(in_store(s), 0);
}

static void
set_up(struct scene *s, uint64_t seed, enum way way)
{
	char spec[64];

	memset(s, 0, sizeof(*s));
	s->way = way;
	snprintf(spec, sizeof(spec), "fault:%u:delay_us=0-3000:ram:", (unsigned)seed);
	pr_up(&s->f, 3, seed, spec);
	s->fencer = pr_login(&s->f, (unsigned)(seed % 3), "fencer", 1);
	s->victim = pr_login(&s->f, (unsigned)(seed / 3 % 3), "victim", 1);
	if (way == BY_SPC2)
		return;
	pr_register(s->fencer, 1);
	pr_register(s->victim, 2);
	if (way == BY_PREEMPT_REGISTRATION || way == BY_PREEMPT_AND_ABORT)
		pr_reserve(s->fencer, 1, PR_WRITE_EXCLUSIVE_RO);
	if (way == BY_PREEMPT_HOLDER)
		pr_reserve(s->victim, 2, PR_EXCLUSIVE_ACCESS);
}

static struct fx_cmd *
fencing_command(struct scene *s)
{
	static const uint8_t reserve[6] = {0x16};
	struct fx_cmd *c = NULL;

	switch (s->way) {
	case BY_RESERVE:
		c = pr_out_cmd(s->fencer, PR_OUT_RESERVE, PR_EXCLUSIVE_ACCESS, 1, 0, 0);
		break;
	case BY_PREEMPT_REGISTRATION:
		c = pr_out_cmd(s->fencer, PR_OUT_PREEMPT, PR_WRITE_EXCLUSIVE_RO, 1, 2, 0);
		break;
	case BY_PREEMPT_HOLDER:
		c = pr_out_cmd(s->fencer, PR_OUT_PREEMPT, PR_EXCLUSIVE_ACCESS, 1, 2, 0);
		break;
	case BY_PREEMPT_AND_ABORT:
		c = pr_out_cmd(s->fencer, PR_OUT_PREEMPT_AND_ABORT, PR_WRITE_EXCLUSIVE_RO, 1, 2, 0);
		break;
	case BY_SPC2:
		c = fx_cmd(s->fencer, 0, reserve, sizeof(reserve), NULL, 0, 0);
		break;
	case WAYS:
		break;
	}
	assert_non_null(c);
	c->on_done = fence_done;
	c->ctx = s;
	return c;
}

static void
run_scene(uint64_t seed, enum way way)
{
	static struct scene scene;
	struct scene *s = &scene;
	uint8_t mine[BLOCKS * 512];

	set_up(s, seed, way);
	fx_on_loop(&s->f, s->victim->loop, start_writing, s);
	fx_run_steps(&s->f, loop_sim_rand(s->f.world) % 400);
	fx_start(fencing_command(s));
	while (!s->fenced)
		assert_true(loop_sim_step(s->f.world));
	unsigned good = s->good;
	/* What the fencer writes now nobody overwrites. */
	memset(mine, 'f', sizeof(mine));
	uint8_t cdb[16] = {0x8a, [13] = BLOCKS};
	struct fx_cmd *w = fx_cmd(s->fencer, 0, cdb, 16, mine, sizeof(mine), 0);
	fx_start(w);
	for (unsigned i = 0; i < 3000 && loop_sim_step(s->f.world); i++) {
		if (in_store(s) != 0)
			fail_msg("a write of the victim is in the store after %s", way_names[way]);
	}
	s->stop = true;
	fx_run(&s->f);
	assert_int_equal(s->victim->in_flight, 0);
	fx_assert_good(w);
	struct fx_cmd *r = fx_read16(s->fencer, 0, 0, BLOCKS);
	fx_assert_good(r);
	assert_memory_equal(r->in, mine, sizeof(mine));
	/* Answers that were under way at the fence may still arrive; no more than those. */
	assert_true(s->good - good <= DEPTH);
	assert_true(s->conflicts + s->aborted > 0);
	fx_down(&s->f);
}

static void
run_seeds(enum way way)
{
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		print_message("%s seed %llu\r", way_names[way], (unsigned long long)seed);
		run_scene(seed * 7 + way, way);
	}
}

static void
reserve_fences(void **state)
{
	(void)state;
	run_seeds(BY_RESERVE);
}

static void
preempt_of_a_registrant_fences(void **state)
{
	(void)state;
	run_seeds(BY_PREEMPT_REGISTRATION);
}

static void
preempt_of_the_holder_fences(void **state)
{
	(void)state;
	run_seeds(BY_PREEMPT_HOLDER);
}

static void
preempt_and_abort_fences(void **state)
{
	(void)state;
	run_seeds(BY_PREEMPT_AND_ABORT);
}

static void
spc2_reserve_fences(void **state)
{
	(void)state;
	run_seeds(BY_SPC2);
}

/* ---- what PREEMPT AND ABORT does to tasks ----------------------------------------------------------- */

/* The store holds three writes of the victim and one of the fencer. */
static void
preempt_and_abort_ends_only_the_victims_tasks(void **state)
{
	static const uint8_t data[512];
	static const uint8_t cdb[16] = {0x8a, [13] = 1};
	struct fx f;

	(void)state;
	pr_up(&f, 2, 9, "fault:1::ram:");
	struct fx_nexus *a = pr_login(&f, 0, "a", 1), *b = pr_login(&f, 1, "b", 1);
	pr_register(a, 1);
	pr_register(b, 2);
	pr_reserve(a, 1, PR_WRITE_EXCLUSIVE_RO);
	fault_hold(f.blks[0], 1u << BLK_WRITE);
	struct fx_cmd *victims[3], *own = fx_cmd(a, 0, cdb, 16, data, 512, 0);
	fx_start(own);
	for (unsigned i = 0; i < 3; i++) {
		victims[i] = fx_cmd(b, 0, cdb, 16, data, 512, 0);
		fx_start(victims[i]);
	}
	fx_run(&f);
	assert_int_equal(fault_held(f.blks[0]), 4);
	struct fx_cmd *p = pr_out_cmd(a, PR_OUT_PREEMPT_AND_ABORT, PR_WRITE_EXCLUSIVE_RO, 1, 2, 0);
	fx_start(p);
	fx_run(&f);
	assert_false(p->done || victims[0]->done || own->done);
	fault_hold(f.blks[0], 0);
	fx_run(&f);
	fx_assert_good(p);
	fx_assert_good(own);
	for (unsigned i = 0; i < 3; i++) {
		assert_true(victims[i]->done && victims[i]->aborted);
		assert_true(victims[i]->done_at_step < p->done_at_step);
	}
	/* TAS=0: the initiator gets no answers; two conditions say why (SAM-5 5.6, SPC-4 5.13.11.2.4). */
	fx_assert_sense(fx_tur(b, 0), 0x6, 0x2f, 0x00);
	fx_assert_sense(fx_tur(b, 0), 0x6, 0x2a, 0x05);
	assert_no_ua(b);
	assert_no_ua(a);
	fx_down(&f);
}

/* PREEMPT alone waits for the victim's writes, which are answered as ever. */
static void
preempt_lets_writes_in_the_store_finish_first(void **state)
{
	static const uint8_t data[512];
	static const uint8_t cdb[16] = {0x8a, [13] = 1};
	struct fx f;

	(void)state;
	pr_up(&f, 2, 9, "fault:1::ram:");
	struct fx_nexus *a = pr_login(&f, 0, "a", 1), *b = pr_login(&f, 1, "b", 1);
	pr_register(a, 1);
	pr_register(b, 2);
	pr_reserve(a, 1, PR_WRITE_EXCLUSIVE_RO);
	fault_hold(f.blks[0], 1u << BLK_WRITE);
	struct fx_cmd *w = fx_cmd(b, 0, cdb, 16, data, 512, 0);
	fx_start(w);
	fx_run(&f);
	struct fx_cmd *p = pr_out_cmd(a, PR_OUT_PREEMPT, PR_WRITE_EXCLUSIVE_RO, 1, 2, 0);
	fx_start(p);
	fx_run(&f);
	assert_false(p->done || w->done);
	fault_hold(f.blks[0], 0);
	fx_run(&f);
	fx_assert_good(p);
	fx_assert_good(w);
	assert_true(w->done_at_step < p->done_at_step);
	assert_ua(b, 0x05);
	fx_down(&f);
}

/* A fenced nexus's removal prevention ends, too (5.13.11.2.6 h). */
static void
preempt_and_abort_allows_medium_removal(void **state)
{
	static const uint8_t prevent[6] = {0x1e, [4] = 1};
	struct fx f;

	(void)state;
	fx_up(&f, 2, 3);
	fx_add_lu(&f, "ram:", &(struct scsi_lu_args){.removable = true, .physical_exponent = 0xff});
	struct fx_nexus *a = pr_login(&f, 0, "a", 1), *b = pr_login(&f, 1, "b", 1);
	pr_register(a, 1);
	pr_register(b, 2);
	fx_assert_good(fx_exec(b, 0, prevent, 6, NULL, 0, 0));
	assert_int_equal(f.lus[0]->ll[0].st.prevent_count, 1);
	fx_assert_good(pr_out(a, PR_OUT_PREEMPT_AND_ABORT, PR_WRITE_EXCLUSIVE, 1, 2, 0));
	assert_int_equal(f.lus[0]->ll[0].st.prevent_count, 0);
	assert_int_equal(f.lus[0]->ll[1].st.prevent_count, 0);
	fx_logout(b);
	assert_int_equal(f.lus[0]->ll[0].st.prevent_count, 0);
	fx_down(&f);
}

/* Both fence each other at the same moment: one of them is in, never none, never both. */
static void
mutual_preemption_leaves_exactly_one(void **state)
{
	unsigned won[2] = {0};

	(void)state;
	for (uint64_t seed = 1; seed <= 2 * SEEDS; seed++) {
		struct fx f;
		pr_up(&f, 2, seed, "ram:");
		struct fx_nexus *n[2] = {pr_login(&f, 0, "a", 1), pr_login(&f, 1, "b", 1)};
		pr_register(n[0], 1);
		pr_register(n[1], 2);
		pr_reserve(n[seed % 2], 1 + seed % 2, PR_WRITE_EXCLUSIVE_RO);
		struct fx_cmd *c[2];
		for (unsigned i = 0; i < 2; i++)
			c[i] = pr_out_cmd(
			    n[i], PR_OUT_PREEMPT_AND_ABORT, PR_WRITE_EXCLUSIVE_RO, 1 + i, 2 - i, 0);
		fx_start(c[seed / 2 % 2]);
		fx_run_steps(&f, seed / 4 % 4);
		fx_start(c[1 - seed / 2 % 2]);
		fx_run(&f);
		unsigned good = 0, who = 0;
		for (unsigned i = 0; i < 2; i++) {
			assert_true(c[i]->done);
			if (!c[i]->aborted && c[i]->status == SCSI_GOOD) {
				good++;
				who = i;
			}
		}
		assert_int_equal(good, 1);
		won[who]++;
		assert_reservation(n[who], PR_WRITE_EXCLUSIVE_RO, 1 + who);
		assert_true(may_write(n[who]));
		while (fx_tur(n[1 - who], 0)->status == SCSI_CHECK_CONDITION)
			;
		assert_false(may_write(n[1 - who]));
		fx_down(&f);
	}
	assert_true(won[0] > 0 && won[1] > 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(reserve_fences),
	    cmocka_unit_test(preempt_of_a_registrant_fences),
	    cmocka_unit_test(preempt_of_the_holder_fences),
	    cmocka_unit_test(preempt_and_abort_fences),
	    cmocka_unit_test(spc2_reserve_fences),
	    cmocka_unit_test(preempt_and_abort_ends_only_the_victims_tasks),
	    cmocka_unit_test(preempt_lets_writes_in_the_store_finish_first),
	    cmocka_unit_test(preempt_and_abort_allows_medium_removal),
	    cmocka_unit_test(mutual_preemption_leaves_exactly_one),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
