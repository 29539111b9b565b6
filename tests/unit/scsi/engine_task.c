/* SPDX-License-Identifier: BSD-2-Clause */
/* The pipeline: checks, lengths, buffers, order, aborts, ends. */
#include "tests/unit/scsi/engine_ops.h"

#include <errno.h>

static struct fx fx;

static int
up(void **state)
{
	engine_reset();
	fx_up(&fx, 1, 11);
	fx_add_lu(&fx, "ram:", NULL);
	*state = &fx;
	return 0;
}

static int
down(void **state)
{
	fx_down(*state);
	return 0;
}

static void
let_go_nth(void *ctx)
{
	engine_let_go(*(unsigned *)ctx);
}

static void
let_go(unsigned n)
{
	fx_on_loop(&fx, 0, let_go_nth, &n);
	fx_run(&fx);
}

static struct fx_cmd *
hold(struct fx_nexus *n, unsigned order, uint32_t lba, uint32_t blocks, unsigned attr)
{
	uint8_t cdb[16] = {EO_HOLD, (uint8_t)order};
	store_be32(cdb + 2, lba);
	store_be32(cdb + 6, blocks);
	struct fx_cmd *c = fx_cmd(n, 0, cdb, 16, NULL, 0, 0);
	c->task.attr = (uint8_t)attr;
	fx_start(c);
	fx_run(&fx);
	return c;
}

static void
unknown_opcode_is_refused(void **state)
{
	struct fx_nexus *n = fx_login(*state, 0, "iqn.a");
	uint8_t cdb[6] = {0xee};
	fx_assert_sense(fx_exec(n, 0, cdb, 6, NULL, 0, 0), 0x5, 0x20, 0x00);
}

static void
unknown_service_action_points_at_its_field(void **state)
{
	struct fx_nexus *n = fx_login(*state, 0, "iqn.a");
	uint8_t cdb[16] = {EO_HOLD, 0x1e};
	struct fx_cmd *c = fx_exec(n, 0, cdb, 16, NULL, 0, 0);
	fx_assert_sense(c, 0x5, 0x24, 0x00);
	int bit;
	assert_int_equal(fx_sense_field(c, &bit), 1);
	assert_int_equal(bit, 4);
}

static void
reserved_bit_points_at_highest_bit_of_first_byte(void **state)
{
	struct fx_nexus *n = fx_login(*state, 0, "iqn.a");
	uint8_t cdb[6] = {EO_TUR, 0, 0x28, 0, 0x01, 0};
	struct fx_cmd *c = fx_exec(n, 0, cdb, 6, NULL, 0, 0);
	fx_assert_sense(c, 0x5, 0x24, 0x00);
	int bit;
	assert_int_equal(fx_sense_field(c, &bit), 2);
	assert_int_equal(bit, 5);
	assert_int_equal(c->xfer_bytes, 0);
	/* NACA in the control byte of the longest and the shortest. */
	uint8_t rd[16] = {EO_READ, [15] = 0x04};
	c = fx_exec(n, 0, rd, 16, NULL, 0, 0);
	assert_int_equal(fx_sense_field(c, &bit), 15);
	assert_int_equal(bit, 2);
}

static void
bytes_after_a_short_cdb_are_ignored(void **state)
{
	struct fx_nexus *n = fx_login(*state, 0, "iqn.a");
	uint8_t cdb[16] = {EO_TUR, [6] = 0xff, [15] = 0xff};
	fx_assert_good(fx_exec(n, 0, cdb, 16, NULL, 0, 0));
}

static void
cdb_shorter_than_its_opcode_is_refused(void **state)
{
	struct fx_nexus *n = fx_login(*state, 0, "iqn.a");
	uint8_t cdb[16] = {EO_READ};
	struct fx_cmd *c = fx_cmd(n, 0, cdb, 16, NULL, 0, 0);
	c->task.cdb_len = 12;
	fx_start(c);
	fx_run(&fx);
	fx_assert_sense(c, 0x5, 0x24, 0x00);
}

static void
aca_attribute_is_refused(void **state)
{
	struct fx_nexus *n = fx_login(*state, 0, "iqn.a");
	struct fx_cmd *c = fx_cmd(n, 0, (uint8_t[6]){0}, 6, NULL, 0, 0);
	c->task.attr = SCSI_ACA;
	fx_start(c);
	fx_run(&fx);
	fx_assert_sense(c, 0x5, 0x24, 0x00);
}

static void
parameter_list_too_long_is_refused(void **state)
{
	struct fx_nexus *n = fx_login(*state, 0, "iqn.a");
	static uint8_t list[SCSI_PARAM_OUT_MAX];
	memset(list, 0x5a, sizeof list);
	uint8_t cdb[10] = {EO_PARAMS};
	store_be24(cdb + 3, sizeof list);
	fx_assert_good(fx_exec(n, 0, cdb, 10, list, sizeof list, 0));
	assert_int_equal(engine_params_len, sizeof list);
	store_be24(cdb + 3, sizeof list + 1);
	fx_assert_sense(fx_exec(n, 0, cdb, 10, list, sizeof list, 0), 0x5, 0x1a, 0x00);
}

static void
parameter_list_error_points_into_it(void **state)
{
	struct fx_nexus *n = fx_login(*state, 0, "iqn.a");
	uint8_t list[8] = {0x5a, 0x5a, 0x5a, 0};
	uint8_t cdb[10] = {EO_PARAMS, [5] = 8};
	struct fx_cmd *c = fx_exec(n, 0, cdb, 10, list, 8, 0);
	fx_assert_sense(c, 0x5, 0x26, 0x00);
	int bit;
	assert_int_equal(fx_sense_field(c, &bit), 3);
	assert_int_equal(bit, 6);
	/* The initiator sends less than the CDB says: the handler sees what came. */
	fx_exec(n, 0, cdb, 10, list, 2, 0);
	assert_int_equal(engine_params_len, 2);
}

static void
read_beyond_the_end_has_information(void **state)
{
	struct fx_nexus *n = fx_login(*state, 0, "iqn.a");
	struct fx_cmd *c = fx_read16(n, 0, FX_LU_BYTES / 512 - 1, 2);
	fx_assert_sense(c, 0x5, 0x21, 0x00);
	assert_int_equal(c->xfer_bytes, 0); /* nothing moved */
	uint64_t info;
	assert_true(fx_sense_info(c, &info));
	assert_int_equal(info, FX_LU_BYTES / 512 - 1);
	/* 64 bits don't fit the fixed format. */
	c = fx_read16(n, 0, UINT64_MAX, 2);
	fx_assert_sense(c, 0x5, 0x21, 0x00);
	assert_false(fx_sense_info(c, &info));
}

static void
transfer_over_the_maximum_is_refused(void **state)
{
	struct fx_nexus *n = fx_login(*state, 0, "iqn.a");
	uint8_t cdb[16] = {EO_READ};
	store_be32(cdb + 10, SCSI_XFER_MAX_BYTES / 512 + 1);
	fx_assert_sense(fx_exec(n, 0, cdb, 16, NULL, 0, 512), 0x5, 0x24, 0x00);
}

static void
failed_data_phase_ends_the_command(void **state)
{
	struct fx_nexus *n = fx_login(*state, 0, "iqn.a");
	static const int errs[] = {-EIO, -EBADMSG, -ECONNRESET};
	static const int want[] = {0xb4b00, 0xb4705, 0xb0000};
	uint8_t data[512] = {1};
	for (size_t i = 0; i < 3; i++) {
		struct fx_cmd *c = fx_rw16_cmd(n, 0, true, 9, 1, data);
		c->data_result = errs[i];
		fx_start(c);
		fx_run(&fx);
		assert_int_equal(fx_sense(c), want[i]);
	}
	assert_int_equal(fx_read16(n, 0, 9, 1)->in[0], 0);
	assert_int_equal(engine_cleanups, 4);
}

static void
ordered_waits_for_older_and_holds_back_younger(void **state)
{
	struct fx_nexus *n = fx_login(*state, 0, "iqn.a");
	struct fx_cmd *a = hold(n, ORD_READ, 0, 1, SCSI_SIMPLE);
	struct fx_cmd *b = hold(n, ORD_READ, 8, 1, SCSI_ORDERED);
	struct fx_cmd *c = hold(n, ORD_READ, 16, 1, SCSI_SIMPLE);
	assert_int_equal(engine_held_count, 1);
	struct fx_cmd *h = hold(n, ORD_READ, 24, 1, SCSI_HEAD_OF_QUEUE);
	assert_int_equal(engine_held_count, 2); /* goes ahead of all */
	assert_ptr_equal(engine_held[1], &h->task);
	let_go(1);
	assert_int_equal(engine_held_count, 2);
	let_go(0);
	assert_int_equal(engine_held_count, 3);
	assert_ptr_equal(engine_held[2], &b->task);
	let_go(2);
	assert_int_equal(engine_held_count, 4);
	let_go(3);
	assert_true(a->done && b->done && c->done && h->done);
}

static void
ordered_of_one_nexus_leaves_others_alone(void **state)
{
	struct fx_nexus *n = fx_login(*state, 0, "iqn.a");
	struct fx_nexus *m = fx_login(*state, 0, "iqn.b");
	hold(n, ORD_READ, 0, 1, SCSI_ORDERED);
	fx_assert_good(fx_read16(m, 0, 0, 1));
	let_go(0);
}

static void
exclusive_waits_and_is_not_overtaken(void **state)
{
	struct fx_nexus *n = fx_login(*state, 0, "iqn.a");
	hold(n, ORD_READ, 0, 1, SCSI_SIMPLE);
	struct fx_cmd *x = hold(n, ORD_EXCLUSIVE, 0, 0, SCSI_SIMPLE);
	assert_int_equal(engine_held_count, 1);
	struct fx_cmd *r = fx_rw16_cmd(n, 0, false, 5, 1, NULL);
	fx_start(r);
	fx_run(&fx);
	assert_false(r->done);
	fx_assert_good(fx_tur(n, 0)); /* class NONE waits for nobody */
	let_go(0);
	assert_int_equal(engine_held_count, 2);
	assert_false(r->done);
	let_go(1);
	assert_true(x->done && r->done);
	fx_assert_good(r);
}

static void
abort_task_in_every_state(void **state)
{
	struct fx_nexus *n = fx_login(*state, 0, "iqn.a");
	bool found;
	uint8_t data[512] = {1};
	/* WAIT_DATA */
	struct fx_cmd *w = fx_rw16_cmd(n, 0, true, 3, 1, data);
	w->hold_data = true;
	fx_start(w);
	fx_run(&fx);
	assert_true(w->wanted && !w->done);
	assert_int_equal(
	    fx_tmf(n, SCSI_TMF_QUERY_TASK, 0, w->task.tag, &found), SCSI_TMF_SUCCEEDED);
	assert_int_equal(fx_tmf(n, SCSI_TMF_ABORT_TASK, 0, w->task.tag, &found), SCSI_TMF_COMPLETE);
	assert_true(found && w->done && w->aborted);
	/* BLOCKED */
	hold(n, ORD_READ, 0, 1, SCSI_SIMPLE);
	struct fx_cmd *b = hold(n, ORD_READ, 0, 1, SCSI_ORDERED);
	assert_int_equal(fx_tmf(n, SCSI_TMF_ABORT_TASK, 0, b->task.tag, &found), SCSI_TMF_COMPLETE);
	assert_true(found && b->aborted);
	/* RUNNING: answered when the handler came back */
	struct fx_tmf tm;
	fx_tmf_start(&tm, n, SCSI_TMF_ABORT_TASK, 0, engine_held[0]->tag);
	fx_run(&fx);
	assert_false(tm.done);
	let_go(0);
	assert_true(tm.done && tm.req.task_found);
	/* not there, not that unit */
	assert_int_equal(fx_tmf(n, SCSI_TMF_ABORT_TASK, 0, 0xdead, &found), SCSI_TMF_COMPLETE);
	assert_false(found);
	assert_int_equal(fx_tmf(n, SCSI_TMF_ABORT_TASK, 9, 0xdead, &found), SCSI_TMF_BAD_LUN);
	assert_int_equal(fx_tmf(n, SCSI_TMF_QUERY_TASK, 0, 0xdead, &found), SCSI_TMF_COMPLETE);
	assert_int_equal(engine_cleanups, 3);
}

static void
done_task_is_not_aborted(void **state)
{
	struct fx_nexus *n = fx_login(*state, 0, "iqn.a");
	struct fx_cmd *r = fx_rw16_cmd(n, 0, false, 3, 1, NULL);
	r->hold_release = true;
	fx_start(r);
	fx_run(&fx);
	assert_true(r->done);
	bool found;
	assert_int_equal(fx_tmf(n, SCSI_TMF_ABORT_TASK, 0, r->task.tag, &found), SCSI_TMF_COMPLETE);
	assert_true(found);
	fx_release(r);
	assert_false(r->aborted);
}

static void
two_functions_for_one_task_are_both_answered(void **state)
{
	struct fx_nexus *n = fx_login(*state, 0, "iqn.a");
	struct fx_cmd *h = hold(n, ORD_READ, 0, 1, SCSI_SIMPLE);
	struct fx_tmf a, b, l;
	fx_tmf_start(&a, n, SCSI_TMF_ABORT_TASK, 0, h->task.tag);
	fx_tmf_start(&b, n, SCSI_TMF_ABORT_TASK_SET, 0, 0);
	fx_tmf_start(&l, n, SCSI_TMF_LU_RESET, 0, 0);
	fx_run(&fx);
	assert_false(a.done || b.done || l.done);
	let_go(0);
	assert_true(a.done && b.done && l.done);
	assert_true(h->done_at_step < a.done_at_step && h->done_at_step < l.done_at_step);
}

static void
functions_wait_only_for_what_was_there(void **state)
{
	struct fx_nexus *n = fx_login(*state, 0, "iqn.a");
	struct fx_tmf a, b;
	hold(n, ORD_READ, 0, 1, SCSI_SIMPLE);
	fx_tmf_start(&a, n, SCSI_TMF_ABORT_TASK_SET, 0, 0);
	hold(n, ORD_READ, 0, 1, SCSI_SIMPLE);
	fx_tmf_start(&b, n, SCSI_TMF_ABORT_TASK, 0, engine_held[1]->tag);
	fx_run(&fx);
	let_go(1); /* the younger one ends first */
	assert_true(b.done && !a.done);
	let_go(0);
	assert_true(a.done);
}

static void
abort_task_set_leaves_other_nexuses_alone(void **state)
{
	struct fx_nexus *n = fx_login(*state, 0, "iqn.a");
	struct fx_nexus *m = fx_login(*state, 0, "iqn.b");
	struct fx_cmd *mine = hold(n, ORD_READ, 0, 1, SCSI_SIMPLE);
	struct fx_cmd *other = hold(m, ORD_READ, 0, 1, SCSI_SIMPLE);
	struct fx_tmf t;
	fx_tmf_start(&t, n, SCSI_TMF_CLEAR_TASK_SET, 0, 0);
	assert_int_equal(fx_tmf(m, SCSI_TMF_QUERY_TASK_SET, 0, 0, NULL), SCSI_TMF_SUCCEEDED);
	let_go(0);
	assert_true(t.done && mine->aborted && !other->done);
	let_go(1);
	fx_assert_good(other);
	fx_assert_good(fx_tur(m, 0));
	assert_int_equal(fx_tmf(m, SCSI_TMF_QUERY_TASK_SET, 0, 0, NULL), SCSI_TMF_COMPLETE);
}

static void
set_mode(struct scsi_lu_state *st, void *arg)
{
	uintptr_t bits = (uintptr_t)arg;
	st->mode.tas = (bits & 1) != 0;
	st->mode.swp = (bits & 2) != 0;
	st->mode.d_sense = (bits & 4) != 0;
	st->stopped = (bits & 8) != 0;
	st->ejected = (bits & 16) != 0;
	st->formatting = (bits & 32) != 0;
	st->sanitizing = (bits & 64) != 0;
	st->progress = 0x1234;
}

static void
set_mode_here(void *ctx)
{
	assert_int_equal(
	    scsi_change_state(fx.lus[0], set_mode, *(uint64_t *)ctx, -1, 0, NULL, NULL), 0);
}

static void
set_state(uint64_t bits)
{
	fx_on_loop(&fx, 0, set_mode_here, &bits);
	fx_run(&fx);
}

static void
lu_reset_tells_others_by_tas(void **state)
{
	struct fx_nexus *n = fx_login(*state, 0, "iqn.a");
	struct fx_nexus *m = fx_login(*state, 0, "iqn.b");
	for (unsigned tas = 0; tas < 2; tas++) {
		engine_held_count = 0;
		set_state(tas | 2 | 4);
		struct fx_cmd *mine = hold(n, ORD_READ, 0, 1, SCSI_SIMPLE);
		struct fx_cmd *other = hold(m, ORD_READ, 0, 1, SCSI_SIMPLE);
		struct fx_tmf t;
		fx_tmf_start(&t, n, SCSI_TMF_LU_RESET, 0, 0);
		fx_run(&fx);
		let_go(0);
		assert_false(t.done);
		let_go(1);
		assert_true(t.done && mine->aborted);
		assert_int_equal(other->aborted, tas == 0);
		if (tas == 1)
			assert_int_equal(other->status, SCSI_TASK_ABORTED);
		fx_assert_sense(fx_tur(n, 0), 0x6, 0x29, 0x03);
		fx_assert_sense(fx_tur(m, 0), 0x6, 0x29, 0x03);
		fx_assert_good(fx_tur(m, 0));
		/* Mode parameters are back at their defaults. */
		uint8_t data[512] = {0};
		fx_assert_good(fx_write16(n, 0, 0, 1, data));
		assert_false(fx.lus[0]->ll[0].st.mode.d_sense);
	}
}

static void
states_of_the_unit_refuse(void **state)
{
	struct fx_nexus *n = fx_login(*state, 0, "iqn.a");
	uint8_t data[512] = {0};
	static const struct {
		uint64_t bits;
		int sense;
	} rows[] = {{8, 0x20402}, {16, 0x23a02}, {32, 0x20404}, {64, 0x2041b}, {32 | 4, 0x20404}};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		set_state(rows[i].bits);
		struct fx_cmd *c = fx_read16(n, 0, 0, 1);
		assert_int_equal(fx_sense(c), rows[i].sense);
		int bit;
		if ((rows[i].bits & 0x60) != 0)
			assert_int_equal(fx_sense_field(c, &bit), 0x1234); /* progress */
		uint8_t inq[6] = {EO_INQUIRY, 0, 0, 0, 36, 0};
		fx_assert_good(fx_exec(n, 0, inq, 6, NULL, 0, 36));
	}
	set_state(2);
	fx_assert_sense(fx_write16(n, 0, 0, 1, data), 0x7, 0x27, 0x02);
	fx_assert_good(fx_read16(n, 0, 0, 1));
	set_state(0);
	fx_assert_good(fx_write16(n, 0, 0, 1, data));
}

static void
read_only_view_protects(void **state)
{
	struct fx *f = *state;
	struct scsi_view_entry e = {.lun = 260, .read_only = true, .lu = f->lus[0]};
	struct fx_nexus *n = fx_login_view(f, 0, "iqn.ro", &e, 1);
	uint8_t data[512] = {0};
	fx_assert_sense(fx_tur(n, 260), 0x6, 0x29, 0x00);
	fx_assert_sense(fx_write16(n, 260, 0, 1, data), 0x7, 0x27, 0x00);
	fx_assert_good(fx_read16(n, 260, 0, 1));
	fx_assert_sense(fx_read16(n, 0, 0, 1), 0x5, 0x25, 0x00);
	uint8_t inq[6] = {EO_INQUIRY, 0, 0, 0, 36, 0};
	struct fx_cmd *c = fx_exec(n, 1, inq, 6, NULL, 0, 36);
	fx_assert_good(c);
	assert_int_equal(c->in[0], 0x7f);
}

static void
clear_luns_changed(void *ctx)
{
	scsi_ua_clear(ctx, UA_LUNS_CHANGED);
}

static void
unit_attentions_by_priority_and_once(void **state)
{
	struct fx_nexus *n = fx_login(*state, 0, "iqn.a");
	struct scsi_nexus_lu *nlu = scsi_nexus_find(n->n, 0);
	scsi_ua_raise(nlu, UA_LUNS_CHANGED);
	scsi_ua_raise(nlu, UA_MODE_CHANGED);
	scsi_ua_raise(nlu, UA_MODE_CHANGED);
	scsi_ua_raise(nlu, UA_DEVICE_RESET);
	uint8_t inq[6] = {EO_INQUIRY, 0, 0, 0, 36, 0};
	fx_assert_good(fx_exec(n, 0, inq, 6, NULL, 0, 36));
	assert_int_equal(fx_tmf(n, SCSI_TMF_QUERY_ASYNC_EVENT, 0, 0, NULL), SCSI_TMF_SUCCEEDED);
	fx_assert_sense(fx_tur(n, 0), 0x6, 0x29, 0x03);
	fx_assert_sense(fx_tur(n, 0), 0x6, 0x2a, 0x01);
	fx_assert_sense(fx_tur(n, 0), 0x6, 0x3f, 0x0e);
	fx_assert_good(fx_tur(n, 0));
	assert_int_equal(fx_tmf(n, SCSI_TMF_QUERY_ASYNC_EVENT, 0, 0, NULL), SCSI_TMF_COMPLETE);
	scsi_ua_raise(nlu, UA_LUNS_CHANGED);
	fx_on_loop(&fx, 0, clear_luns_changed, n->n);
	fx_assert_good(fx_tur(n, 0));
}

static void
nexus_reset_aborts_and_tells(void **state)
{
	struct fx_nexus *n = fx_login(*state, 0, "iqn.a");
	uint8_t data[512] = {1};
	struct fx_cmd *w = fx_rw16_cmd(n, 0, true, 3, 1, data);
	w->hold_data = true;
	fx_start(w);
	assert_int_equal(fx_tmf(n, SCSI_TMF_I_T_NEXUS_RESET, 0, 0, NULL), SCSI_TMF_COMPLETE);
	assert_true(w->aborted);
	fx_assert_sense(fx_tur(n, 0), 0x6, 0x29, 0x07);
}

static void
nexus_ends_with_tasks_in_all_states(void **state)
{
	struct fx_nexus *n = fx_login(*state, 0, "iqn.a");
	uint8_t data[512] = {1};
	struct fx_cmd *w = fx_rw16_cmd(n, 0, true, 3, 1, data);
	w->hold_data = true;
	fx_start(w);
	struct fx_cmd *r = hold(n, ORD_READ, 0, 1, SCSI_SIMPLE);
	struct fx_cmd *b = hold(n, ORD_READ, 0, 1, SCSI_ORDERED);
	struct fx_cmd *d = fx_cmd(n, 0, (uint8_t[6]){0}, 6, NULL, 0, 0);
	d->task.attr = SCSI_HEAD_OF_QUEUE;
	d->hold_release = true;
	fx_start(d);
	struct fx_cmd *s = fx_rw16_cmd(n, 0, true, 3, 1, data);
	s->task.attr = SCSI_HEAD_OF_QUEUE;
	fx_start(s);
	fx_logout_start(n);
	fx_run(&fx);
	assert_true(w->aborted && b->aborted && !r->done && !n->gone);
	fx_release(d);
	assert_true(d->done && !d->aborted);
	let_go(0);
	assert_true(r->aborted && n->gone);
}

static void
waits_for_buffers_and_goes_on(void **state)
{
	struct fx_nexus *n = fx_login(*state, 0, "iqn.a");
	/* 32 MiB of buffers: eight parameter sets of 4 MiB take them all. */
	static uint8_t big[4 * 1024 * 1024];
	struct fx_cmd *c[12];
	uint8_t cdb[10] = {EO_GET_SG2};
	store_be16(cdb + 4, 4096);
	for (unsigned i = 0; i < 12; i++) {
		c[i] = fx_cmd(n, 0, cdb, 10, big, sizeof big, 0);
		c[i]->hold_data = true;
		fx_start(c[i]);
	}
	fx_run(&fx);
	unsigned wanted = 0;
	for (unsigned i = 0; i < 12; i++)
		wanted += c[i]->wanted;
	assert_true(wanted >= 7 && wanted < 12);
	/* One that waits for buffers is aborted; it leaves the queue. */
	fx_tmf(n, SCSI_TMF_ABORT_TASK, 0, c[11]->task.tag, NULL);
	assert_true(c[11]->aborted);
	unsigned busy = 0, good = 0;
	for (unsigned round = 0; round < 12; round++) {
		for (unsigned i = 0; i < 11; i++) {
			if (c[i]->wanted && !c[i]->done && c[i]->hold_data) {
				c[i]->hold_data = false;
				fx_give_data(c[i]);
				break;
			}
		}
		fx_run(&fx);
	}
	for (unsigned i = 0; i < 11; i++) {
		assert_true(c[i]->done);
		busy += c[i]->status == SCSI_BUSY;
		good += c[i]->status == SCSI_GOOD;
	}
	assert_int_equal(busy + good, 11);
	assert_true(good > 0);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, up, down)
	const struct CMUnitTest tests[] = {
	    T(unknown_opcode_is_refused),
	    T(unknown_service_action_points_at_its_field),
	    T(reserved_bit_points_at_highest_bit_of_first_byte),
	    T(bytes_after_a_short_cdb_are_ignored),
	    T(cdb_shorter_than_its_opcode_is_refused),
	    T(aca_attribute_is_refused),
	    T(parameter_list_too_long_is_refused),
	    T(parameter_list_error_points_into_it),
	    T(read_beyond_the_end_has_information),
	    T(transfer_over_the_maximum_is_refused),
	    T(failed_data_phase_ends_the_command),
	    T(ordered_waits_for_older_and_holds_back_younger),
	    T(ordered_of_one_nexus_leaves_others_alone),
	    T(exclusive_waits_and_is_not_overtaken),
	    T(abort_task_in_every_state),
	    T(done_task_is_not_aborted),
	    T(two_functions_for_one_task_are_both_answered),
	    T(functions_wait_only_for_what_was_there),
	    T(abort_task_set_leaves_other_nexuses_alone),
	    T(lu_reset_tells_others_by_tas),
	    T(states_of_the_unit_refuse),
	    T(read_only_view_protects),
	    T(unit_attentions_by_priority_and_once),
	    T(nexus_reset_aborts_and_tells),
	    T(nexus_ends_with_tasks_in_all_states),
	    T(waits_for_buffers_and_goes_on),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
