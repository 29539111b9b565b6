/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Several loops: changes that all see in one order, fences that drain, resets, and range locks under
 * which no read-modify-write loses an update, whatever order messages and completions come in.
 */
#include "tests/unit/scsi/engine_ops.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "store/fault.h"

/* Operations take different times, so that they overlap. */
#define SLOW "fault:5:delay_us=0-300:ram:"

static struct fx fx;

static void
begin(unsigned loops, uint64_t seed, const char *spec)
{
	engine_reset();
	fx_up(&fx, loops, seed);
	fx_add_lu(&fx, spec, NULL);
}

static struct fx_cmd *
start_cdb(struct fx_nexus *n, uint8_t op, uint32_t a, uint32_t b)
{
	uint8_t cdb[16] = {op};
	store_be32(cdb + 2, a);
	store_be32(cdb + 6, b);
	struct fx_cmd *c = fx_cmd(n, 0, cdb, 16, NULL, 0, 0);
	fx_start(c);
	return c;
}

static void
let_go_nth(void *ctx)
{
	engine_let_go(*(unsigned *)ctx);
}

/* ---- changes ------------------------------------------------------------------------------------- */

static void
fence_drains_other_loops_and_refuses_after(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 8; seed++) {
		begin(3, seed, "ram:");
		struct fx_nexus *a = fx_login(&fx, 1, "iqn.a");
		struct fx_nexus *d = fx_login(&fx, 2, "iqn.denied");
		uint8_t hold[16] = {EO_HOLD, ORD_WRITE, [5] = 9, [9] = 1};
		struct fx_cmd *w = fx_cmd(d, 0, hold, 16, NULL, 0, 0);
		fx_start(w);
		uint8_t data[512] = {7};
		struct fx_cmd *late = fx_rw16_cmd(d, 0, true, 3, 1, data);
		late->hold_data = true; /* passed the check, waits for its data */
		fx_start(late);
		fx_run(&fx);
		uint8_t on[16] = {EO_FENCE, 0, 1};
		struct fx_cmd *f = fx_cmd(a, 0, on, 16, NULL, 0, 0);
		fx_start(f);
		fx_run(&fx);
		assert_false(f->done); /* the write that runs isn't finished */
		fx_give_data(late);
		fx_run(&fx);
		assert_int_equal(late->status, SCSI_RESERVATION_CONFLICT);
		unsigned nth = 0;
		fx_on_loop(&fx, 2, let_go_nth, &nth);
		fx_run(&fx);
		assert_true(w->done && f->done && w->done_at_step < f->done_at_step);
		assert_int_equal(fx_read16(d, 0, 0, 1)->status, SCSI_RESERVATION_CONFLICT);
		fx_assert_good(fx_read16(a, 0, 3, 1));
		fx_down(&fx);
	}
}

static void
refused_change_is_applied_nowhere(void **state)
{
	(void)state;
	begin(2, 3, "ram:");
	struct fx_nexus *d = fx_login(&fx, 1, "iqn.denied");
	uint8_t cdb[16] = {EO_REFUSED, 0, 1};
	struct fx_cmd *c = fx_exec(d, 0, cdb, 16, NULL, 0, 0);
	assert_int_equal(c->status, SCSI_RESERVATION_CONFLICT);
	fx_assert_good(fx_read16(d, 0, 0, 1));
	fx_down(&fx);
}

static void
many_changes_leave_all_copies_equal(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 10; seed++) {
		begin(3, seed, "ram:");
		struct fx_nexus *n[3];
		for (unsigned i = 0; i < 3; i++)
			n[i] = fx_login(&fx, i, "iqn.x");
		for (unsigned k = 0; k < 60; k++) {
			uint8_t cdb[16] = {EO_FENCE, 0, (uint8_t)(loop_sim_rand(fx.world) & 1)};
			fx_start(fx_cmd(n[k % 3], 0, cdb, 16, NULL, 0, 0));
			fx_run_steps(&fx, loop_sim_rand(fx.world) % 5);
		}
		fx_run(&fx);
		struct scsi_lu *lu = fx.lus[0];
		for (unsigned i = 1; i < 3; i++) {
			assert_int_equal(
			    scsi_pr_reserved(&lu->ll[i]), scsi_pr_reserved(&lu->ll[0]));
			assert_int_equal(lu->ll[i].epoch, lu->ll[0].epoch);
		}
		assert_int_equal(lu->ll[0].epoch, 60);
		fx_down(&fx);
	}
}

static void
target_reset_reaches_all_units_and_loops(void **state)
{
	(void)state;
	begin(3, 5, "ram:");
	fx_add_lu(&fx, "ram:", NULL);
	struct fx_nexus *a = fx_login(&fx, 1, "iqn.a");
	struct fx_nexus *b = fx_login(&fx, 2, "iqn.b");
	uint8_t cdb[16] = {EO_HOLD, ORD_READ};
	struct fx_cmd *h = fx_cmd(b, 1, cdb, 16, NULL, 0, 0);
	fx_start(h);
	fx_run(&fx);
	struct fx_tmf t;
	fx_tmf_start(&t, a, SCSI_TMF_TARGET_RESET, 0, 0);
	fx_run(&fx);
	assert_false(t.done);
	unsigned nth = 0;
	fx_on_loop(&fx, 2, let_go_nth, &nth);
	fx_run(&fx);
	assert_true(t.done && h->aborted);
	for (uint16_t lun = 0; lun < 2; lun++) {
		fx_assert_sense(fx_tur(a, lun), 0x6, 0x29, 0x03);
		fx_assert_sense(fx_tur(b, lun), 0x6, 0x29, 0x03);
	}
	fx_down(&fx);
}

/* A task that waits for its own change, behind the reset that aborts it. */
static void
reset_and_changes_do_not_wait_for_each_other(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 20; seed++) {
		begin(2, seed, "ram:");
		struct fx_nexus *a = fx_login(&fx, 0, "iqn.a");
		struct fx_nexus *b = fx_login(&fx, 1, "iqn.b");
		struct fx_tmf t[2];
		uint8_t cdb[16] = {EO_FENCE};
		for (unsigned i = 0; i < 5; i++)
			fx_start(fx_cmd(a, 0, cdb, 16, NULL, 0, 0));
		fx_tmf_start(&t[0], b, SCSI_TMF_LU_RESET, 0, 0);
		for (unsigned i = 0; i < 5; i++)
			fx_start(fx_cmd(b, 0, cdb, 16, NULL, 0, 0));
		fx_tmf_start(&t[1], a, SCSI_TMF_LU_RESET, 0, 0);
		fx_run(&fx);
		assert_true(t[0].done && t[1].done);
		fx_down(&fx);
	}
}

static void
shrink_store(void *ctx)
{
	fault_set_size(ctx, FX_LU_BYTES - 4096);
}

static void
capacity_change_is_told_to_all(void **state)
{
	(void)state;
	begin(2, 9, "fault:1::ram:");
	struct fx_nexus *a = fx_login(&fx, 0, "iqn.a");
	struct fx_nexus *b = fx_login(&fx, 1, "iqn.b");
	fx_on_loop(&fx, 0, shrink_store, fx.blks[0]);
	fx_run(&fx);
	fx_assert_sense(fx_tur(a, 0), 0x6, 0x2a, 0x09);
	fx_assert_sense(fx_tur(b, 0), 0x6, 0x2a, 0x09);
	fx_assert_good(fx_tur(b, 0));
	assert_int_equal(fx.lus[0]->ll[1].st.blocks, FX_LU_BYTES / 512 - 8);
	fx_assert_sense(fx_read16(b, 0, FX_LU_BYTES / 512 - 8, 1), 0x5, 0x21, 0x00);
	fx_down(&fx);
}

static void
store_goes(void *ctx)
{
	fault_set_gone(ctx, true);
}

static void
store_returns(void *ctx)
{
	fault_set_gone(ctx, false);
}

static void
store_that_is_gone_is_not_ready_until_it_is_back(void **state)
{
	(void)state;
	begin(2, 9, "fault:1::ram:");
	struct fx_nexus *b = fx_login(&fx, 1, "iqn.b");
	fx_on_loop(&fx, 0, store_goes, fx.blks[0]);
	fx_run(&fx);
	fx_assert_sense(fx_read16(b, 0, 0, 1), 0x2, 0x04, 0x03);
	fx_on_loop(&fx, 0, store_returns, fx.blks[0]);
	/* Events while the change is under way are merged into one more. */
	fx_on_loop(&fx, 0, store_goes, fx.blks[0]);
	fx_on_loop(&fx, 0, store_returns, fx.blks[0]);
	fx_run(&fx);
	fx_assert_sense(fx_read16(b, 0, 0, 1), 0x6, 0x28, 0x00);
	fx_assert_good(fx_read16(b, 0, 0, 1));
	fx_on_loop(&fx, 0, store_goes, fx.blks[0]);
	fx_on_loop(&fx, 0, store_returns, fx.blks[0]);
	fx_run(&fx);
	fx_assert_sense(fx_read16(b, 0, 0, 1), 0x6, 0x28, 0x00);
	fx_assert_good(fx_read16(b, 0, 0, 1));
	fx_down(&fx);
}

static void
errors_of_the_store_become_sense(void **state)
{
	(void)state;
	begin(1, 9, "fault:1::ram:");
	struct fx_nexus *a = fx_login(&fx, 0, "iqn.a");
	static const struct {
		int err, read_sense, write_sense;
	} rows[] = {
	    {-EIO, 0x31100, 0x30c00},
	    {-ENOSPC, 0x72707, 0x72707},
	    {-ENODEV, 0x20403, 0x20403},
	    {-EROFS, 0x72700, 0x72700},
	    {-ENOTTY, 0x44400, 0x44400},
	};
	uint8_t data[512] = {0};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		fault_fail(fx.blks[0], BLK_READ, 0, 1, rows[i].err);
		struct fx_cmd *c = fx_read16(a, 0, 77, 1);
		assert_int_equal(fx_sense(c), rows[i].read_sense);
		assert_int_equal(c->in_len, 0);
		fault_fail(fx.blks[0], BLK_WRITE, 0, 1, rows[i].err);
		assert_int_equal(fx_sense(fx_write16(a, 0, 77, 1, data)), rows[i].write_sense);
	}
	fault_fail(fx.blks[0], BLK_READ, 0, 1, -EIO);
	uint64_t info;
	assert_true(fx_sense_info(fx_read16(a, 0, 77, 1), &info));
	assert_int_equal(info, 77);
	fault_fail(fx.blks[0], BLK_READ, 0, 1, -ENOMEM);
	assert_int_equal(fx_read16(a, 0, 77, 1)->status, SCSI_BUSY);
	fx_down(&fx);
}

/* A write in a store that doesn't answer: the abort waits for it (INV-5). */
static void
abort_waits_for_the_store(void **state)
{
	(void)state;
	begin(2, 9, "fault:1::ram:");
	struct fx_nexus *a = fx_login(&fx, 0, "iqn.a");
	struct fx_nexus *b = fx_login(&fx, 1, "iqn.b");
	fault_hold(fx.blks[0], 1u << BLK_WRITE);
	uint8_t data[512] = {9};
	struct fx_cmd *w = fx_rw16_cmd(b, 0, true, 5, 1, data);
	fx_start(w);
	fx_run(&fx);
	struct fx_tmf t, r;
	fx_tmf_start(&t, b, SCSI_TMF_ABORT_TASK, 0, w->task.tag);
	fx_tmf_start(&r, a, SCSI_TMF_LU_RESET, 0, 0);
	fx_logout_start(b);
	fx_run(&fx);
	assert_false(w->done || t.done || r.done || b->gone);
	fault_hold(fx.blks[0], 0);
	fx_run(&fx);
	assert_true(w->aborted && t.done && r.done && b->gone);
	fx_down(&fx);
}

/* ---- locks --------------------------------------------------------------------------------------- */

#define COUNTERS 4u
#define WRITE_LBA 64u

struct load {
	uint64_t want[COUNTERS];  /* increments that were answered with GOOD */
	uint64_t maybe[COUNTERS]; /* …and those that were aborted: done or not */
};

/* Reads the counters at the end. */
static void
check_counters(struct fx_nexus *n, const struct load *l)
{
	for (uint32_t i = 0; i < COUNTERS; i++) {
		struct fx_cmd *c = fx_read16(n, 0, i, 1);
		fx_assert_good(c);
		uint64_t v = load_be64(c->in);
		if (v < l->want[i] || v > l->want[i] + l->maybe[i])
			fail_msg("counter %u is %llu, %llu..%llu expected", i,
			    (unsigned long long)v, (unsigned long long)l->want[i],
			    (unsigned long long)(l->want[i] + l->maybe[i]));
	}
}

static void
account(struct load *l, const struct fx_cmd *c)
{
	const uint8_t *cdb = c->task.cdb;
	if (cdb[0] != EO_INCREMENT && cdb[0] != EO_SWAP)
		return;
	assert_true(c->aborted || c->status == SCSI_GOOD || c->status == SCSI_BUSY);
	uint32_t a = load_be32(cdb + 2), b = load_be32(cdb + 6);
	uint64_t *to = c->aborted ? l->maybe : l->want;
	if (c->status == SCSI_BUSY)
		return;
	to[a]++;
	if (cdb[0] == EO_SWAP && b != a)
		to[b]++;
}

static void
one_load(unsigned loops, uint64_t seed, bool aborts, const char *spec)
{
	begin(loops, seed, spec);
	struct fx_nexus *n[6];
	for (unsigned i = 0; i < 6; i++) {
		char name[16];
		snprintf(name, sizeof name, "iqn.n%u", i);
		n[i] = fx_login(&fx, i % loops, name);
	}
	static struct fx_tmf tmf[64];
	unsigned tmfs = 0;
	struct load load = {0};
	static uint8_t data[4 * 512];
	for (unsigned k = 0; k < 400; k++) {
		struct fx_nexus *x = n[loop_sim_rand(fx.world) % 6];
		uint32_t a = (uint32_t)(loop_sim_rand(fx.world) % COUNTERS);
		uint32_t b = (uint32_t)(loop_sim_rand(fx.world) % COUNTERS);
		struct fx_cmd *c = NULL;
		switch (loop_sim_rand(fx.world) % 8) {
		case 0:
		case 1:
		case 2:
			c = start_cdb(x, EO_INCREMENT, a, a);
			break;
		case 3:
			c = start_cdb(x, EO_SWAP, a, b);
			break;
		case 4:
			c = fx_rw16_cmd(x, 0, false, a, 4, NULL);
			fx_start(c);
			break;
		case 5:
			c = fx_rw16_cmd(x, 0, true, WRITE_LBA + a, 2, data);
			fx_start(c);
			break;
		default:
			break;
		}
		if (aborts && c != NULL && loop_sim_rand(fx.world) % 6 == 0 && tmfs < 64) {
			fx_run_steps(&fx, loop_sim_rand(fx.world) % 20);
			fx_tmf_start(&tmf[tmfs++], x, SCSI_TMF_ABORT_TASK, 0, c->task.tag);
		}
		fx_run_steps(&fx, loop_sim_rand(fx.world) % 12);
	}
	fx_run(&fx);
	LIST_FOREACH (l, &fx.cmds) {
		const struct fx_cmd *c = container_of(l, struct fx_cmd, link);
		assert_true(c->done);
		account(&load, c);
	}
	for (unsigned i = 0; i < tmfs; i++)
		assert_true(tmf[i].done);
	check_counters(n[0], &load);
	for (unsigned i = 0; i < loops; i++) {
		const struct scsi_lu_loop *ll = &fx.lus[0]->ll[i];
		assert_int_equal(ll->lock_count, 0);
		assert_int_equal(ll->own_locks, 0);
		assert_true(list_empty(&ll->running) && list_empty(&ll->blocked));
	}
	fx_down(&fx);
}

static void
no_update_is_lost_on_one_loop(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 20; seed++)
		one_load(1, seed, false, SLOW);
}

static void
no_update_is_lost_on_several_loops(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 30; seed++)
		one_load((unsigned)(2 + seed % 2), seed * 77, false, SLOW);
}

static void
no_update_is_lost_when_tasks_are_aborted(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 40; seed++)
		one_load((unsigned)(1 + seed % 3), seed * 1001, true, SLOW);
}

/* A write of the same block waits for the lock's holder, and the lock for a write that runs. */
static void
lock_and_plain_writes_exclude_each_other(void **state)
{
	(void)state;
	begin(2, 4, "ram:");
	struct fx_nexus *a = fx_login(&fx, 0, "iqn.a");
	struct fx_nexus *b = fx_login(&fx, 1, "iqn.b");
	uint8_t hold[16] = {EO_HOLD, ORD_WRITE, [5] = 1, [9] = 1};
	struct fx_cmd *w = fx_cmd(b, 0, hold, 16, NULL, 0, 0);
	fx_start(w);
	fx_run(&fx);
	struct fx_cmd *inc = start_cdb(a, EO_INCREMENT, 1, 1);
	fx_run(&fx);
	assert_false(inc->done);
	/* Younger ones queue behind the lock, others pass. */
	struct fx_cmd *r = fx_rw16_cmd(b, 0, false, 1, 1, NULL);
	fx_start(r);
	fx_run(&fx);
	assert_false(r->done);
	fx_assert_good(fx_read16(b, 0, 2, 1));
	/* The owner is aborted while it waits: its lock goes when its turn comes. */
	struct fx_tmf t;
	fx_tmf_start(&t, a, SCSI_TMF_ABORT_TASK, 0, inc->task.tag);
	fx_run(&fx);
	unsigned nth = 0;
	fx_on_loop(&fx, 1, let_go_nth, &nth);
	fx_run(&fx);
	assert_true(inc->aborted && t.done && r->done);
	assert_int_equal(load_be64(r->in), 0);
	fx_down(&fx);
}

static void
never_granted(struct scsi_lock *k)
{
	(void)k;
	fail();
}

static void
acquire_and_release(void *ctx)
{
	(void)ctx;
	struct scsi_task *t = engine_held[0];
	for (unsigned i = 0; i < 3; i++) {
		struct scsi_lock *k = scsi_lock_acquire(t, fx.lus[0], 2, 4, never_granted);
		assert_non_null(k);
		scsi_lock_release(k);
	}
}

static void
lock_released_while_it_waits_is_never_granted(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 10; seed++) {
		begin(3, seed, "ram:");
		struct fx_nexus *a = fx_login(&fx, 1, "iqn.a");
		struct fx_nexus *b = fx_login(&fx, 2, "iqn.b");
		uint8_t hold[16] = {EO_HOLD, ORD_FLUSH};
		fx_start(fx_cmd(a, 0, hold, 16, NULL, 0, 0));
		fx_run(&fx);
		struct fx_cmd *i = start_cdb(b, EO_INCREMENT, 3, 3);
		fx_run_steps(&fx, loop_sim_rand(fx.world) % 12);
		fx_on_loop(&fx, 1, acquire_and_release, NULL);
		fx_run(&fx);
		fx_assert_good(i);
		i = start_cdb(b, EO_INCREMENT, 3, 3);
		fx_run(&fx);
		fx_assert_good(i);
		unsigned nth = 0;
		fx_on_loop(&fx, 1, let_go_nth, &nth);
		fx_run(&fx);
		fx_down(&fx);
	}
}

/* The unit goes right after its last nexus, while the locks' messages are under way. */
static void
unit_ends_after_its_locks(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 20; seed++) {
		begin(3, seed, "ram:");
		struct fx_nexus *b = fx_login(&fx, 2, "iqn.b");
		for (unsigned k = 0; k < 3; k++)
			start_cdb(b, EO_INCREMENT, k, k);
		fx_logout_start(b);
		while (!b->gone)
			assert_true(loop_sim_step(fx.world));
		fx_end_lu(&fx, 0);
		fx_down(&fx);
	}
}

/* Nexuses come and go, units are reset, stores are slow, while all of it runs. */
static void
nexuses_end_in_the_middle(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 30; seed++) {
		begin((unsigned)(1 + seed % 3), seed * 31, SLOW);
		unsigned loops = fx.loop_count;
		static uint8_t data[512];
		static struct fx_tmf tmf[32];
		unsigned tmfs = 0;
		for (unsigned round = 0; round < 4; round++) {
			struct fx_nexus *n[4];
			for (unsigned i = 0; i < 4; i++)
				n[i] = fx_login_port(&fx, i % loops, "iqn.x", 1, true);
			for (unsigned k = 0; k < 60; k++) {
				struct fx_nexus *x = n[loop_sim_rand(fx.world) % 4];
				uint32_t a = (uint32_t)(loop_sim_rand(fx.world) % COUNTERS);
				struct fx_cmd *c;
				switch (loop_sim_rand(fx.world) % 6) {
				case 0:
					c = fx_rw16_cmd(x, 0, true, a, 1, data);
					c->task.attr = (uint8_t)(loop_sim_rand(fx.world) % 3);
					fx_start(c);
					break;
				case 1:
					start_cdb(x, EO_SWAP, a, (a + 1) % COUNTERS);
					break;
				case 2:
					start_cdb(x, EO_FENCE, 0, 0);
					break;
				case 3:
					if (tmfs < 32 && k % 8 == 0)
						fx_tmf_start(
						    &tmf[tmfs++], x, SCSI_TMF_LU_RESET, 0, 0);
					break;
				default:
					start_cdb(x, EO_INCREMENT, a, a);
					break;
				}
				fx_run_steps(&fx, loop_sim_rand(fx.world) % 10);
			}
			for (unsigned i = 0; i < 4; i++)
				fx_logout_start(n[i]);
			fx_run(&fx);
			for (unsigned i = 0; i < 4; i++)
				assert_true(n[i]->gone);
		}
		for (unsigned i = 0; i < tmfs; i++)
			assert_true(tmf[i].done);
		fx_down(&fx);
	}
}

/* ---- the order table ------------------------------------------------------------------------------- */

static const struct {
	uint8_t fresh, running, cell;
	const char *why;
} reasons[] = {
#define ROW(n, r, c, why)                                                                          \
	{                                                                                          \
		ORD_##n, ORD_##r, ORDER_##c, why                                                   \
	}
#define ALL(n, c, why)                                                                             \
	ROW(n, NONE, c, why), ROW(n, READ, c, why), ROW(n, WRITE, c, why), ROW(n, ATOMIC, c, why), \
	    ROW(n, FLUSH, c, why), ROW(n, CONFIG, c, why), ROW(n, EXCLUSIVE, c, why)
    /* clang-format off */
	ALL(NONE, PASS, "INQUIRY, REQUEST SENSE must answer whatever else goes on (progress of FORMAT)"),
	ROW(READ, NONE, PASS, "touches no data"),
	ROW(READ, READ, PASS, "reads commute"),
	ROW(READ, WRITE, PASS, "SIMPLE tasks may be reordered (QAM 1h)"),
	ROW(READ, ATOMIC, RANGE, "must not see half of an atomic command"),
	ROW(READ, FLUSH, PASS, "a flush changes nothing"),
	ROW(READ, CONFIG, PASS, "changes fence by epoch and drain"),
	ROW(READ, EXCLUSIVE, BLOCK, "the medium is being erased"),
	ROW(WRITE, NONE, PASS, "touches no data"),
	ROW(WRITE, READ, PASS, "SIMPLE tasks may be reordered (QAM 1h)"),
	ROW(WRITE, WRITE, PASS, "SIMPLE tasks may be reordered (QAM 1h)"),
	ROW(WRITE, ATOMIC, RANGE, "must not fall between the read and the write"),
	ROW(WRITE, FLUSH, PASS, "the flush covers what completed before it"),
	ROW(WRITE, CONFIG, PASS, "changes fence by epoch and drain"),
	ROW(WRITE, EXCLUSIVE, BLOCK, "the medium is being erased"),
	ROW(ATOMIC, NONE, PASS, "touches no data"),
	ROW(ATOMIC, READ, RANGE, "its lock waits for reads that see the old data"),
	ROW(ATOMIC, WRITE, RANGE, "its lock waits for writes under way"),
	ROW(ATOMIC, ATOMIC, RANGE, "locks in the order of home"),
	ROW(ATOMIC, FLUSH, PASS, "a flush changes nothing"),
	ROW(ATOMIC, CONFIG, PASS, "changes fence by epoch and drain"),
	ROW(ATOMIC, EXCLUSIVE, BLOCK, "the medium is being erased"),
	ROW(FLUSH, NONE, PASS, "touches no data"),
	ROW(FLUSH, READ, PASS, "nothing to make durable"),
	ROW(FLUSH, WRITE, PASS, "only completed writes are covered"),
	ROW(FLUSH, ATOMIC, PASS, "only completed writes are covered"),
	ROW(FLUSH, FLUSH, PASS, "idempotent"),
	ROW(FLUSH, CONFIG, PASS, "changes fence by epoch and drain"),
	ROW(FLUSH, EXCLUSIVE, BLOCK, "the medium is being erased"),
	ROW(CONFIG, NONE, PASS, "touches no state"),
	ROW(CONFIG, READ, PASS, "the change drains where it must"),
	ROW(CONFIG, WRITE, PASS, "the change drains where it must"),
	ROW(CONFIG, ATOMIC, PASS, "the change drains where it must"),
	ROW(CONFIG, FLUSH, PASS, "the change drains where it must"),
	ROW(CONFIG, CONFIG, PASS, "changes queue on the home loop"),
	ROW(CONFIG, EXCLUSIVE, PASS, "PR OUT must work while a unit is erased"),
	ROW(EXCLUSIVE, NONE, PASS, "touches no data"),
	ROW(EXCLUSIVE, READ, BLOCK, "alone with the medium"),
	ROW(EXCLUSIVE, WRITE, BLOCK, "alone with the medium"),
	ROW(EXCLUSIVE, ATOMIC, BLOCK, "alone with the medium"),
	ROW(EXCLUSIVE, FLUSH, BLOCK, "alone with the medium"),
	ROW(EXCLUSIVE, CONFIG, PASS, "its own change queues behind"),
	ROW(EXCLUSIVE, EXCLUSIVE, BLOCK, "one at a time"),
    /* clang-format on */
};

static void
order_table_is_complete_and_as_reasoned(void **state)
{
	(void)state;
	unsigned seen[ORD_COUNT][ORD_COUNT] = {{0}};
	for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++) {
		assert_true(strlen(reasons[i].why) > 0);
		seen[reasons[i].fresh][reasons[i].running]++;
		assert_int_equal(
		    scsi_order_table[reasons[i].fresh][reasons[i].running], reasons[i].cell);
	}
	for (unsigned a = 0; a < ORD_COUNT; a++) {
		for (unsigned b = 0; b < ORD_COUNT; b++)
			assert_int_equal(seen[a][b], 1);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(order_table_is_complete_and_as_reasoned),
	    cmocka_unit_test(fence_drains_other_loops_and_refuses_after),
	    cmocka_unit_test(refused_change_is_applied_nowhere),
	    cmocka_unit_test(many_changes_leave_all_copies_equal),
	    cmocka_unit_test(target_reset_reaches_all_units_and_loops),
	    cmocka_unit_test(reset_and_changes_do_not_wait_for_each_other),
	    cmocka_unit_test(capacity_change_is_told_to_all),
	    cmocka_unit_test(store_that_is_gone_is_not_ready_until_it_is_back),
	    cmocka_unit_test(errors_of_the_store_become_sense),
	    cmocka_unit_test(abort_waits_for_the_store),
	    cmocka_unit_test(lock_and_plain_writes_exclude_each_other),
	    cmocka_unit_test(no_update_is_lost_on_one_loop),
	    cmocka_unit_test(no_update_is_lost_on_several_loops),
	    cmocka_unit_test(no_update_is_lost_when_tasks_are_aborted),
	    cmocka_unit_test(lock_released_while_it_waits_is_never_granted),
	    cmocka_unit_test(unit_ends_after_its_locks),
	    cmocka_unit_test(nexuses_end_in_the_middle),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
