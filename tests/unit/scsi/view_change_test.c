/* SPDX-License-Identifier: BSD-2-Clause */
/* Views that change while nexuses work. */
#include "tests/unit/scsi/scsi_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "scsi/scsi_priv.h"
#include "store/fault.h"

#define SLOW "fault:5:delay_us=0-300:ram:"
#define STUCK "fault:3:delay_us=1000000-1000000:ram:"

static struct fx f;

/* ---- one change --------------------------------------------------------------------------------- */

struct change {
	struct scsi_view *view;
	struct scsi_view_entry e[FX_LUS_MAX];
	uint32_t count;
	int rc;
	bool done;
	uint64_t done_at_step;
};

static void
change_done(void *ctx)
{
	struct change *c = ctx;
	assert_true(loop_is_current(f.loops[0]));
	assert_false(c->done);
	c->done = true;
	c->done_at_step = ++f.done_count;
}

static void
change_call(void *ctx)
{
	struct change *c = ctx;
	c->rc = scsi_view_change(c->view, c->e, c->count, change_done, c);
	assert_false(c->done); /* never inside */
}

/* Which of the units 0..7, as number = index + shift. */
static void
change_start(struct change *c, struct scsi_view *view, unsigned units, unsigned shift)
{
	memset(c, 0, sizeof *c);
	c->view = view;
	for (unsigned i = 0; i < f.lu_count; i++)
		if (units >> i & 1)
			c->e[c->count++] =
			    (struct scsi_view_entry){.lun = (uint16_t)(i + shift), .lu = f.lus[i]};
	fx_on_loop(&f, 0, change_call, c);
	assert_int_equal(c->rc, 0);
}

static void
change_now(struct scsi_view *view, unsigned units, unsigned shift)
{
	struct change c;
	change_start(&c, view, units, shift);
	fx_run(&f);
	assert_true(c.done);
}

static void
begin(unsigned loops, uint64_t seed, const char *spec, unsigned units)
{
	fx_up(&f, loops, seed);
	for (unsigned i = 0; i < units; i++)
		fx_add_lu(&f, spec, NULL);
}

/* What REPORT LUNS shows, as bits. */
static unsigned
reported(struct fx_nexus *n)
{
	uint8_t cdb[12] = {0xa0};
	store_be32(cdb + 6, 4096);
	struct fx_cmd *c = fx_exec(n, 0, cdb, sizeof cdb, NULL, 0, 4096);
	fx_assert_good(c);
	unsigned bits = 0;
	uint32_t len = load_be32(c->in);
	for (uint32_t i = 0; i < len; i += 8)
		bits |= 1u << c->in[8 + i + 1];
	return bits;
}

/* ---- what an initiator sees ------------------------------------------------------------------------ */

static void
a_unit_that_comes_says_power_on_and_the_others_that_the_list_changed(void **state)
{
	(void)state;
	begin(3, 1, "ram:", 3);
	struct scsi_view_entry e = {.lun = 0, .lu = f.lus[0]};
	struct fx_nexus *n = fx_login_view(&f, 2, "iqn.a", &e, 1);
	fx_assert_sense(fx_tur(n, 0), 0x6, 0x29, 0x00);
	change_now(n->view, 7, 0);
	fx_assert_sense(fx_tur(n, 0), 0x6, 0x3f, 0x0e);
	fx_assert_good(fx_tur(n, 0));
	fx_assert_sense(fx_tur(n, 1), 0x6, 0x29, 0x00);
	fx_assert_good(fx_tur(n, 1));
	fx_assert_sense(fx_tur(n, 2), 0x6, 0x29, 0x00);
	assert_int_equal(reported(n), 7);
	fx_down(&f);
}

static void
reading_the_list_clears_the_attention(void **state)
{
	(void)state;
	begin(2, 1, "ram:", 3);
	struct fx_nexus *n = fx_login(&f, 1, "iqn.a");
	change_now(n->view, 3, 0);
	assert_int_equal(reported(n), 3);
	fx_assert_good(fx_tur(n, 0));
	fx_assert_good(fx_tur(n, 1));
	fx_assert_sense(fx_tur(n, 2), 0x5, 0x25, 0x00);
	fx_down(&f);
}

static void
the_same_again_tells_nobody(void **state)
{
	(void)state;
	begin(2, 1, "ram:", 3);
	struct fx_nexus *n = fx_login(&f, 1, "iqn.a");
	change_now(n->view, 7, 0);
	for (uint16_t i = 0; i < 3; i++)
		fx_assert_good(fx_tur(n, i));
	fx_down(&f);
}

static void
a_number_that_changes_its_unit_is_a_new_unit(void **state)
{
	(void)state;
	begin(2, 1, "ram:", 3);
	struct scsi_view_entry e[2] = {{.lun = 0, .lu = f.lus[0]}, {.lun = 1, .lu = f.lus[1]}};
	struct fx_nexus *n = fx_login_view(&f, 1, "iqn.a", e, 2);
	fx_tur(n, 0);
	fx_tur(n, 1);
	uint8_t one[512] = {1}, two[512] = {2};
	fx_assert_good(fx_write16(n, 1, 5, 1, one));
	struct change c = {.view = n->view,
	    .e = {{.lun = 0, .lu = f.lus[1]}, {.lun = 1, .lu = f.lus[2]}},
	    .count = 2};
	fx_on_loop(&f, 0, change_call, &c);
	fx_run(&f);
	assert_true(c.done);
	fx_assert_sense(fx_tur(n, 0), 0x6, 0x29, 0x00);
	fx_assert_sense(fx_tur(n, 1), 0x6, 0x29, 0x00);
	struct fx_cmd *r = fx_read16(n, 0, 5, 1);
	fx_assert_good(r);
	assert_memory_equal(r->in, one, 512); /* unit 1 has number 0 now */
	fx_assert_good(fx_write16(n, 1, 5, 1, two));
	fx_end_lu(&f, 0); /* nobody has it any more */
	fx_down(&f);
}

static void
read_only_is_a_mode_change_and_drains(void **state)
{
	(void)state;
	begin(2, 1, STUCK, 1);
	struct fx_nexus *n = fx_login(&f, 1, "iqn.a");
	uint8_t data[512] = {1};
	struct fx_cmd *w = fx_rw16_cmd(n, 0, true, 1, 1, data);
	fx_start(w); /* in the store for a second */
	struct fx_cmd *held = fx_rw16_cmd(n, 0, true, 2, 1, data);
	held->hold_data = true;
	fx_start(held);
	struct change c = {
	    .view = n->view, .e = {{.lun = 0, .lu = f.lus[0], .read_only = true}}, .count = 1};
	fx_on_loop(&f, 0, change_call, &c);
	fx_run(&f);
	assert_true(w->done && c.done && w->done_at_step < c.done_at_step);
	fx_assert_good(w);
	fx_give_data(held);
	fx_run(&f);
	fx_assert_sense(held, 0x7, 0x27, 0x00);
	fx_assert_sense(fx_tur(n, 0), 0x6, 0x2a, 0x01);
	fx_assert_sense(fx_write16(n, 0, 1, 1, data), 0x7, 0x27, 0x00);
	c.e[0].read_only = false;
	c.done = false;
	fx_on_loop(&f, 0, change_call, &c);
	fx_run(&f);
	fx_assert_sense(fx_tur(n, 0), 0x6, 0x2a, 0x01);
	fx_assert_good(fx_write16(n, 0, 1, 1, data));
	fx_down(&f);
}

/* ---- what is under way when a unit goes --------------------------------------------------------------- */

static void
commands_of_a_unit_that_goes_end_when_the_store_lets_go(void **state)
{
	(void)state;
	begin(2, 1, STUCK, 2);
	struct fx_nexus *n = fx_login(&f, 1, "iqn.a");
	uint8_t data[512] = {1};
	struct fx_cmd *in_store = fx_rw16_cmd(n, 1, true, 1, 1, data);
	fx_start(in_store);
	struct fx_cmd *waits = fx_rw16_cmd(n, 1, true, 2, 1, data);
	waits->hold_data = true;
	fx_start(waits);
	struct fx_cmd *other = fx_rw16_cmd(n, 0, true, 2, 1, data);
	fx_start(other);
	struct change c;
	change_start(&c, n->view, 1, 0);
	loop_sim_run(f.world, 500000000, 100000); /* half the time that the store takes */
	assert_true(waits->done && !waits->aborted);
	fx_assert_sense(waits, 0x5, 0x25, 0x00);
	assert_false(in_store->done || c.done);
	struct fx_cmd *late = fx_tur(n, 1);
	(void)late;
	fx_run(&f);
	fx_assert_sense(in_store, 0xb, 0x00, 0x00); /* it may have been written */
	fx_assert_good(other);
	assert_true(c.done && in_store->done_at_step < c.done_at_step);
	fx_end_lu(&f, 1);
	fx_down(&f);
}

static void
a_task_not_yet_released_holds_the_unit(void **state)
{
	(void)state;
	begin(2, 1, "ram:", 2);
	struct fx_nexus *n = fx_login(&f, 1, "iqn.a");
	struct fx_cmd *r = fx_rw16_cmd(n, 1, false, 0, 8, NULL);
	r->hold_release = true; /* its answer is being sent */
	fx_start(r);
	fx_run(&f);
	fx_assert_good(r);
	struct change c;
	change_start(&c, n->view, 1, 0);
	fx_run(&f);
	assert_false(c.done);
	fx_release(r);
	fx_run(&f);
	assert_true(c.done);
	fx_down(&f);
}

static void
abort_task_finds_commands_of_a_unit_that_is_gone(void **state)
{
	(void)state;
	begin(2, 1, STUCK, 2);
	struct fx_nexus *n = fx_login(&f, 1, "iqn.a");
	uint8_t data[512] = {1};
	struct fx_cmd *w = fx_rw16_cmd(n, 1, true, 1, 1, data);
	fx_start(w);
	struct change c;
	change_start(&c, n->view, 1, 0);
	loop_sim_run(f.world, 100000000, 100000);
	struct fx_tmf t;
	fx_tmf_start(&t, n, SCSI_TMF_ABORT_TASK, 1, w->task.tag);
	fx_run(&f);
	assert_true(t.done && t.req.task_found);
	assert_int_equal(t.req.response, SCSI_TMF_COMPLETE);
	assert_true(w->aborted && w->done_at_step < t.done_at_step && c.done);
	bool found;
	assert_int_equal(fx_tmf(n, SCSI_TMF_ABORT_TASK, 1, w->task.tag, &found), SCSI_TMF_BAD_LUN);
	assert_int_equal(fx_tmf(n, SCSI_TMF_LU_RESET, 1, 0, NULL), SCSI_TMF_BAD_LUN);
	fx_down(&f);
}

/* What is told to have ended must have: no write of it lands later. */
static void
functions_wait_for_commands_of_units_that_are_gone(void **state)
{
	(void)state;
	static const enum scsi_tmf functions[] = {SCSI_TMF_TARGET_RESET, SCSI_TMF_I_T_NEXUS_RESET,
	    SCSI_TMF_ABORT_TASK_SET, SCSI_TMF_LU_RESET, SCSI_TMF_CLEAR_TASK_SET};
	for (unsigned k = 0; k < 5; k++) {
		begin(3, k + 1, STUCK, 3);
		struct scsi_view_entry e = {.lun = 1, .lu = f.lus[1]};
		struct fx_nexus *n = fx_login_view(&f, 1, "iqn.a", &e, 1);
		fx_tur(n, 1);
		uint8_t data[512] = {1};
		struct fx_cmd *w = fx_rw16_cmd(n, 1, true, 1, 1, data);
		fx_start(w);
		/* The number gets another unit while the write is in the store. */
		struct change c = {.view = n->view, .e = {{.lun = 1, .lu = f.lus[2]}}, .count = 1};
		fx_on_loop(&f, 0, change_call, &c);
		loop_sim_run(f.world, 100000000, 100000);
		struct fx_tmf q, t;
		fx_tmf_start(&q, n, SCSI_TMF_QUERY_TASK, 1, w->task.tag);
		fx_tmf_start(&t, n, functions[k], 1, 0);
		loop_sim_run(f.world, 300000000, 100000);
		assert_true(q.done && q.req.response == SCSI_TMF_SUCCEEDED);
		assert_false(t.done || w->done);
		fx_run(&f);
		assert_true(t.done && w->aborted && c.done);
		assert_int_equal(t.req.response, SCSI_TMF_COMPLETE);
		assert_true(w->done_at_step < t.done_at_step);
		fx_down(&f);
	}
}

static void
the_end_of_a_nexus_ends_the_units_that_are_gone(void **state)
{
	(void)state;
	begin(2, 1, STUCK, 2);
	struct fx_nexus *n = fx_login(&f, 1, "iqn.a");
	uint8_t data[512] = {1};
	struct fx_cmd *w = fx_rw16_cmd(n, 1, true, 1, 1, data);
	fx_start(w);
	struct change c;
	change_start(&c, n->view, 1, 0);
	loop_sim_run(f.world, 100000000, 100000);
	fx_logout_start(n);
	fx_run(&f);
	assert_true(n->gone && w->done && w->aborted && c.done);
	fx_end_lu(&f, 1);
	fx_down(&f);
}

static void
reservations_of_spc2_go_and_registrations_stay(void **state)
{
	(void)state;
	begin(2, 1, "ram:", 2);
	struct fx_nexus *a = fx_login(&f, 1, "iqn.a"), *b = fx_login(&f, 0, "iqn.b");
	uint8_t reserve[6] = {0x16};
	fx_assert_good(fx_exec(a, 1, reserve, 6, NULL, 0, 0));
	assert_int_equal(fx_read16(b, 1, 0, 1)->status, SCSI_RESERVATION_CONFLICT);
	change_now(a->view, 1, 0);
	fx_assert_good(fx_read16(b, 1, 0, 1));
	/* A registration with key 7, then the unit goes and comes back. */
	change_now(a->view, 3, 0);
	fx_assert_sense(fx_tur(a, 1), 0x6, 0x29, 0x00);
	uint8_t out[10] = {0x5f, 0x00, [8] = 24}, params[24] = {[15] = 7};
	fx_assert_good(fx_exec(a, 1, out, 10, params, 24, 0));
	uint8_t hold[10] = {0x5f, 0x01, 0x03, [8] = 24}, key[24] = {[7] = 7};
	fx_assert_good(fx_exec(a, 1, hold, 10, key, 24, 0));
	change_now(a->view, 1, 0);
	assert_int_equal(fx_read16(b, 1, 0, 1)->status, SCSI_RESERVATION_CONFLICT);
	change_now(a->view, 3, 0);
	fx_assert_sense(fx_tur(a, 1), 0x6, 0x29, 0x00);
	fx_assert_good(fx_read16(a, 1, 0, 1)); /* it still holds it */
	fx_down(&f);
}

static void
prevention_of_removal_goes_with_the_unit(void **state)
{
	(void)state;
	fx_up(&f, 2, 1);
	fx_add_lu(&f, "ram:", NULL);
	fx_add_lu(&f, "ram:", &(struct scsi_lu_args){.removable = true});
	struct fx_nexus *a = fx_login(&f, 1, "iqn.a"), *b = fx_login(&f, 0, "iqn.b");
	uint8_t prevent[6] = {0x1e, [4] = 1}, eject[6] = {0x1b, [4] = 2};
	fx_assert_good(fx_exec(a, 1, prevent, 6, NULL, 0, 0));
	fx_assert_sense(fx_exec(b, 1, eject, 6, NULL, 0, 0), 0x5, 0x53, 0x02);
	change_now(a->view, 1, 0);
	fx_assert_good(fx_exec(b, 1, eject, 6, NULL, 0, 0));
	fx_down(&f);
}

/* ---- copies -------------------------------------------------------------------------------------------- */

static void
target(uint8_t *d, const struct scsi_lu *lu)
{
	memset(d, 0, 32);
	d[0] = 0xe4;
	d[4] = 0x01;
	d[5] = 0x03;
	d[7] = 16;
	memcpy(d + 8, lu->id.naa, 16);
	store_be24(d + 29, 512);
}

/* From unit 1 to unit 2, addressed to unit 0: `blocks` blocks. */
static struct fx_cmd *
copy_cmd(struct fx_nexus *n, uint16_t blocks, uint8_t list[16 + 64 + 28])
{
	memset(list, 0, 16 + 64 + 28);
	list[0] = 9;
	store_be16(list + 2, 64);
	store_be32(list + 8, 28);
	target(list + 16, f.lus[1]);
	target(list + 48, f.lus[2]);
	uint8_t *s = list + 80;
	s[0] = 0x02;
	store_be16(s + 2, 0x18);
	store_be16(s + 6, 1);
	store_be16(s + 10, blocks);
	uint8_t cdb[16] = {0x83};
	store_be32(cdb + 10, 16 + 64 + 28);
	return fx_cmd(n, 0, cdb, 16, list, 16 + 64 + 28, 0);
}

static void
a_copy_stops_when_its_source_or_destination_goes(void **state)
{
	(void)state;
	static const unsigned left[] = {3, 5, 1, 6};
	for (unsigned k = 0; k < 4; k++) {
		begin(3, k + 1, "fault:3:delay_us=100000-100000:ram:", 3);
		struct fx_nexus *n = fx_login(&f, 1, "iqn.a");
		uint8_t list[16 + 64 + 28];
		struct fx_cmd *c = copy_cmd(n, 20000, list); /* ten pieces, two seconds */
		fx_start(c);
		loop_sim_run(f.world, 550000000, 100000);
		assert_false(c->done);
		struct change ch;
		change_start(&ch, n->view, left[k], 0);
		fx_run(&f);
		assert_true(c->done && ch.done);
		assert_false(c->aborted);
		if ((left[k] & 1) != 0)
			fx_assert_sense(c, 0xa, 0x0d, 0x02);
		else
			fx_assert_sense(c, 0xb, 0x00, 0x00);
		for (unsigned i = 0; i < 3; i++)
			if ((left[k] >> i & 1) == 0)
				fx_end_lu(&f, i);
		fx_down(&f);
	}
}

/* ---- refusals and order ---------------------------------------------------------------------------------- */

static void
bad_lists_change_nothing(void **state)
{
	(void)state;
	begin(2, 1, "ram:", 2);
	struct fx_nexus *n = fx_login(&f, 1, "iqn.a");
	struct change c = {.view = n->view,
	    .e = {{.lun = 3, .lu = f.lus[0]}, {.lun = 3, .lu = f.lus[1]}},
	    .count = 2};
	fx_on_loop(&f, 0, change_call, &c);
	assert_int_equal(c.rc, -EEXIST);
	c.e[1] = (struct scsi_view_entry){.lun = 4, .lu = f.lus[0]};
	fx_on_loop(&f, 0, change_call, &c);
	assert_int_equal(c.rc, -EEXIST);
	fx_run(&f);
	assert_false(c.done);
	assert_int_equal(reported(n), 3);
	fx_assert_good(fx_tur(n, 0));
	fx_down(&f);
}

static void
changes_in_quick_succession_are_done_in_order(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 20; seed++) {
		begin(3, seed, STUCK, 3);
		struct fx_nexus *n = fx_login(&f, 2, "iqn.a"),
		                *m = fx_login_shared(&f, 1, "iqn.b", n->view);
		uint8_t data[512] = {1};
		struct fx_cmd *w = fx_rw16_cmd(n, 2, true, 1, 1, data);
		fx_start(w);
		struct change c[4];
		change_start(&c[0], n->view, 3, 0); /* 2 goes, the write holds it */
		change_start(&c[1], n->view, 1, 0);
		change_start(&c[2], n->view, 7, 0);
		change_start(&c[3], n->view, 6, 0);
		fx_run(&f);
		for (unsigned i = 0; i < 4; i++)
			assert_true(c[i].done);
		for (unsigned i = 1; i < 4; i++)
			assert_true(c[i - 1].done_at_step < c[i].done_at_step);
		fx_assert_sense(w, 0xb, 0x00, 0x00);
		assert_int_equal(reported(n), 6);
		assert_int_equal(reported(m), 6);
		fx_end_lu(&f, 0);
		fx_logout(n);
		fx_logout(m);
		fx_down(&f);
	}
}

/* ---- everything at once ------------------------------------------------------------------------------------ */

#define STORM_NEXUSES 6u
#define STORM_UNITS 6u

static struct {
	struct scsi_view *view[2];
	unsigned shown[2]; /* as last asked for */
	unsigned under_way;
	unsigned used[FX_LUS_MAX]; /* views, and changes that may still speak of it */
	struct fx_nexus *n[STORM_NEXUSES];
} storm;

struct storm_change {
	struct change c;
	unsigned before;
};

static void
storm_done(void *ctx)
{
	struct storm_change *s = ctx;
	for (unsigned i = 0; i < f.lu_count; i++)
		storm.used[i] -= s->before >> i & 1;
	storm.under_way--;
	free(s);
}

static void
storm_change_call(void *ctx)
{
	struct storm_change *s = ctx;
	assert_int_equal(scsi_view_change(s->c.view, s->c.e, s->c.count, storm_done, s), 0);
}

static unsigned
rnd(unsigned n)
{
	return (unsigned)(loop_sim_rand(f.world) % n);
}

static void
storm_change(unsigned v)
{
	struct storm_change *s = calloc(1, sizeof *s);
	unsigned shown = 0;
	s->c.view = storm.view[v];
	s->before = storm.shown[v];
	for (unsigned i = 0; i < f.lu_count; i++) {
		if (f.lus[i] == NULL || rnd(3) == 0)
			continue;
		shown |= 1u << i;
		storm.used[i]++;
		s->c.e[s->c.count++] = (struct scsi_view_entry){
		    .lun = (uint16_t)i, .lu = f.lus[i], .read_only = rnd(6) == 0};
	}
	storm.shown[v] = shown;
	storm.under_way++;
	fx_on_loop(&f, 0, storm_change_call, s);
}

static void
storm_command(struct fx_nexus *n)
{
	static uint8_t data[16 * 512];
	static uint8_t lists[64][16 + 64 + 28];
	static unsigned list_at;
	uint16_t lun = (uint16_t)rnd(f.lu_count);
	struct fx_cmd *c;
	uint8_t cdb[16] = {0};
	unsigned what;
	switch (rnd(9)) {
	case 0:
	case 1: /* WRITE(16), READ(16): the number may have no unit */
	case 2:
		what = rnd(3);
		cdb[0] = what == 0 ? 0x88 : 0x8a;
		cdb[9] = (uint8_t)rnd(64);
		cdb[13] = (uint8_t)(1 + rnd(8));
		c = fx_cmd(n, lun, cdb, 16, data, what == 0 ? 0 : cdb[13] * 512u,
		    what == 0 ? cdb[13] * 512u : 0);
		c->hold_data = what == 1;
		break;
	case 3: /* COMPARE AND WRITE */
		cdb[0] = 0x89;
		cdb[9] = (uint8_t)rnd(64);
		cdb[13] = 1;
		c = fx_cmd(n, lun, cdb, 16, data, 1024, 0);
		break;
	case 4: /* RESERVE, RELEASE */
		cdb[0] = rnd(2) ? 0x16 : 0x17;
		c = fx_cmd(n, lun, cdb, 6, NULL, 0, 0);
		break;
	case 5: /* registers and ignores what is there */
		cdb[0] = 0x5f;
		cdb[1] = 0x06;
		cdb[8] = 24;
		c = fx_cmd(n, lun, cdb, 10, data, 24, 0);
		break;
	case 6:
		if (f.lus[1] != NULL && f.lus[2] != NULL) {
			c = copy_cmd(n, (uint16_t)(100 + rnd(8000)), lists[list_at++ % 64]);
			break;
		}
		__attribute__((fallthrough));
	case 7: /* MODE SELECT of the control page, TAS on and off */
		cdb[0] = 0x15;
		cdb[1] = 0x10;
		cdb[4] = 16;
		static const uint8_t page[2][16] = {
		    {[4] = 0x0a, 0x0a, [9] = 0x40}, {[4] = 0x0a, 0x0a}};
		c = fx_cmd(n, lun, cdb, 6, page[rnd(2)], 16, 0);
		break;
	default: /* REPORT LUNS */
		cdb[0] = 0xa0;
		store_be32(cdb + 6, 4096);
		c = fx_cmd(n, lun, cdb, 12, NULL, 0, 4096);
		break;
	}
	c->hold_release = rnd(4) == 0;
	if (rnd(5) == 0)
		c->task.attr = SCSI_ORDERED;
	fx_start(c);
}

/* What was held back goes on. */
static void
storm_let_go(unsigned permille)
{
	LIST_FOREACH_SAFE (l, &f.cmds) {
		struct fx_cmd *c = container_of(l, struct fx_cmd, link);
		if (rnd(1000) >= permille)
			continue;
		if (c->hold_data && c->wanted && !c->done) {
			c->hold_data = false;
			fx_give_data(c);
		} else if (c->done) {
			c->hold_release = false;
			fx_cmd_free(c);
		}
	}
}

static void
storm_login(unsigned i)
{
	char name[32];
	snprintf(name, sizeof name, "iqn.%u", i);
	if (f.nexus_count < FX_NEXUSES_MAX)
		storm.n[i] = fx_login_shared(&f, i % f.loop_count, name, storm.view[i % 2]);
	else
		storm.n[i] = NULL;
}

static void
storm_step(struct fx_tmf *tmfs, unsigned *tmf_count, unsigned tmf_max)
{
	static const enum scsi_tmf functions[] = {SCSI_TMF_ABORT_TASK_SET, SCSI_TMF_LU_RESET,
	    SCSI_TMF_TARGET_RESET, SCSI_TMF_I_T_NEXUS_RESET, SCSI_TMF_CLEAR_TASK_SET};
	unsigned i = rnd(STORM_NEXUSES);
	unsigned what = rnd(100);
	if (what < 12) {
		storm_change(rnd(2));
	} else if (what < 15 && storm.n[i] != NULL) {
		/* Its commands are released first or later: both happen. */
		fx_logout_start(storm.n[i]);
		storm_login(i);
	} else if (what < 20 && storm.n[i] != NULL && *tmf_count < tmf_max) {
		fx_tmf_start(&tmfs[(*tmf_count)++], storm.n[i], functions[rnd(5)],
		    (uint16_t)rnd(f.lu_count), 0);
	} else if (what < 30) {
		unsigned u = rnd(f.lu_count);
		if (f.lus[u] != NULL && storm.used[u] == 0 && storm.under_way == 0)
			fx_end_lu(&f, u);
		else if (f.lu_count < 12)
			fx_add_lu(&f, SLOW, NULL);
	} else if (what < 45) {
		storm_let_go(300);
	} else if (storm.n[i] != NULL) {
		storm_command(storm.n[i]);
	}
	fx_run_steps(&f, rnd(30));
}

static void
create_views(void *ctx)
{
	(void)ctx;
	for (unsigned v = 0; v < 2; v++)
		assert_int_equal(scsi_view_create(f.core, NULL, 0, &storm.view[v]), 0);
}

static void
destroy_views(void *ctx)
{
	(void)ctx;
	for (unsigned v = 0; v < 2; v++)
		scsi_view_destroy(storm.view[v]);
}

static void
storm_run(uint64_t seed)
{
	static struct fx_tmf tmfs[200];
	unsigned tmf_count = 0;
	memset(&storm, 0, sizeof storm);
	begin(3, seed, SLOW, STORM_UNITS);
	fx_on_loop(&f, 0, create_views, NULL);
	for (unsigned i = 0; i < STORM_NEXUSES; i++)
		storm_login(i);
	storm_change(0);
	storm_change(1);
	for (unsigned k = 0; k < 400; k++)
		storm_step(tmfs, &tmf_count, 200);
	for (unsigned k = 0; k < 20; k++) {
		storm_let_go(1000);
		fx_run(&f);
	}
	assert_int_equal(storm.under_way, 0);
	for (unsigned k = 0; k < tmf_count; k++)
		assert_true(tmfs[k].done);
	assert_true(list_empty(&f.cmds)); /* each ended exactly once */
	for (unsigned i = 0; i < STORM_NEXUSES; i++)
		if (storm.n[i] != NULL)
			assert_int_equal(reported(storm.n[i]), storm.shown[i % 2]);
	for (unsigned i = 0; i < f.nexus_count; i++)
		if (f.nexuses[i].n != NULL)
			fx_logout(&f.nexuses[i]);
	fx_on_loop(&f, 0, destroy_views, NULL);
	fx_down(&f);
}

static void
a_storm_of_changes_and_commands_leaves_nothing_behind(void **state)
{
	(void)state;
	const char *env = getenv("TERRACE_STORM_SEEDS");
	uint64_t seeds = env != NULL ? strtoull(env, NULL, 10) : 60;
	for (uint64_t seed = 1; seed <= seeds; seed++)
		storm_run(seed);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_unit_that_comes_says_power_on_and_the_others_that_the_list_changed),
	    cmocka_unit_test(reading_the_list_clears_the_attention),
	    cmocka_unit_test(the_same_again_tells_nobody),
	    cmocka_unit_test(a_number_that_changes_its_unit_is_a_new_unit),
	    cmocka_unit_test(read_only_is_a_mode_change_and_drains),
	    cmocka_unit_test(commands_of_a_unit_that_goes_end_when_the_store_lets_go),
	    cmocka_unit_test(a_task_not_yet_released_holds_the_unit),
	    cmocka_unit_test(abort_task_finds_commands_of_a_unit_that_is_gone),
	    cmocka_unit_test(functions_wait_for_commands_of_units_that_are_gone),
	    cmocka_unit_test(the_end_of_a_nexus_ends_the_units_that_are_gone),
	    cmocka_unit_test(reservations_of_spc2_go_and_registrations_stay),
	    cmocka_unit_test(prevention_of_removal_goes_with_the_unit),
	    cmocka_unit_test(a_copy_stops_when_its_source_or_destination_goes),
	    cmocka_unit_test(bad_lists_change_nothing),
	    cmocka_unit_test(changes_in_quick_succession_are_done_in_order),
	    cmocka_unit_test(a_storm_of_changes_and_commands_leaves_nothing_behind),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
