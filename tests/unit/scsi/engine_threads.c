/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Two real loops on two threads: increments under range locks from both, with reads, changes and
 * resets between them. For the thread sanitizer above all; the sum is checked as well.
 */
#include "tests/unit/scsi/engine_ops.h"

#include <stdlib.h>

#define LOOPS 2u
#define DEPTH 4u
#define ROUNDS 300u

struct actor;

struct slot {
	struct scsi_task task;
	struct actor *a;
};

struct actor {
	struct loop_msg msg;
	struct world *w;
	struct loop *loop;
	struct scsi_nexus *n;
	struct slot slots[DEPTH];
	struct scsi_tmf_req tmf;
	bool tmf_busy;
	unsigned started, ended, good_increments, aborted_increments;
	bool leaving;
};

struct world {
	struct loop *loops[LOOPS];
	struct scsi_core *core;
	struct blk *blk;
	struct scsi_lu *lu;
	struct scsi_view *view;
	struct actor actors[LOOPS];
	struct blk_io io;
	struct blk_sg sg;
	unsigned gone;
	uint64_t value;
};

static void
want_data(struct scsi_task *t)
{
	(void)t;
	fail();
}

static void task_done(struct scsi_task *t);
static const struct scsi_transport_ops ops = {.want_data = want_data, .done = task_done};

static void
submit(struct slot *s)
{
	static const uint8_t kinds[] = {
	    EO_INCREMENT, EO_READ, EO_INCREMENT, EO_TUR, EO_INCREMENT, EO_FENCE};
	struct actor *a = s->a;
	struct scsi_task *t = &s->task;
	memset(t->cdb, 0, sizeof t->cdb);
	t->cdb[0] = kinds[a->started % sizeof kinds];
	if (t->cdb[0] == EO_READ)
		t->cdb[13] = 1;
	t->nexus = a->n;
	t->ops = &ops;
	t->tag = ++a->started;
	memset(t->lun, 0, 8);
	t->cdb_len = 16;
	t->attr = SCSI_SIMPLE;
	t->out_bytes = 0;
	t->out_data = NULL;
	t->in_bytes = 512;
	assert_int_equal(scsi_task_submit(t), SCSI_PENDING);
}

static void
lu_destroyed(void *ctx)
{
	struct world *w = ctx;
	for (unsigned i = 0; i < LOOPS; i++)
		loop_stop(w->loops[i]);
}

static void
value_read(struct blk_io *io)
{
	struct world *w = container_of(io, struct world, io);
	uint8_t b[8];
	assert_int_equal(io->result, 0);
	blk_sg_copy_out(&w->sg, 0, b, 8);
	w->value = load_be64(b);
	blk_sg_put(&w->sg);
	scsi_lu_destroy(w->lu, lu_destroyed, w);
}

static void
actor_gone_at_home(struct loop_msg *m)
{
	struct actor *a = container_of(m, struct actor, msg);
	struct world *w = a->w;
	if (++w->gone < LOOPS)
		return;
	/* All is at rest: the counter, then the unit's end. */
	blk_sg_init(&w->sg);
	assert_int_equal(blk_sg_get(w->blk, &w->sg, BLK_READ, 0, 512), 0);
	w->io = (struct blk_io){.op = BLK_READ, .len_bytes = 512, .sg = &w->sg, .done = value_read};
	blk_submit(w->blk, &w->io);
}

static void
actor_gone(void *ctx)
{
	struct actor *a = ctx;
	a->msg.run = actor_gone_at_home;
	loop_send(a->w->loops[0], &a->msg);
}

static void
maybe_leave(struct actor *a)
{
	if (a->ended == ROUNDS + DEPTH && !a->tmf_busy && !a->leaving) {
		a->leaving = true;
		scsi_nexus_destroy(a->n, actor_gone, a);
	}
}

static void
tmf_done(struct scsi_tmf_req *r)
{
	struct actor *a = container_of(r, struct actor, tmf);
	a->tmf_busy = false;
	maybe_leave(a);
}

static void
task_done(struct scsi_task *t)
{
	struct slot *s = container_of(t, struct slot, task);
	struct actor *a = s->a;
	if (t->cdb[0] == EO_INCREMENT) {
		a->good_increments += !t->aborted && t->status == SCSI_GOOD;
		a->aborted_increments += t->aborted;
	}
	scsi_task_release(t);
	a->ended++;
	if (a->ended % 50 == 0 && !a->tmf_busy) {
		a->tmf_busy = true;
		a->tmf = (struct scsi_tmf_req){
		    .nexus = a->n, .function = SCSI_TMF_ABORT_TASK_SET, .done = tmf_done};
		if (a->ended == 150)
			a->tmf.function = SCSI_TMF_LU_RESET;
		scsi_tmf_submit(&a->tmf);
	}
	if (a->started < ROUNDS + DEPTH)
		submit(s);
	else
		maybe_leave(a);
}

static void
actor_start(struct loop_msg *m)
{
	struct actor *a = container_of(m, struct actor, msg);
	uint8_t tid[SCSI_TRANSPORT_ID_MAX];
	size_t len = fx_iscsi_transport_id("iqn.thread", tid);
	struct scsi_nexus_args args = {.loop = a->loop,
	    .view = a->w->view,
	    .rel_port_id = 1,
	    .transport_id = tid,
	    .transport_id_len = len,
	    .initiator = "iqn.thread"};
	assert_int_equal(scsi_nexus_create(a->w->core, &args, &a->n), 0);
	for (unsigned i = 0; i < DEPTH; i++) {
		a->slots[i].a = a;
		submit(&a->slots[i]);
	}
}

static void
world_up(struct world *w)
{
	for (unsigned i = 0; i < LOOPS; i++) {
		struct loop_cfg cfg;
		loop_cfg_default(&cfg);
		cfg.id = i;
		cfg.buf_bytes = 16u * 1024 * 1024;
		assert_int_equal(loop_create(&cfg, &w->loops[i]), 0);
	}
	struct scsi_core_args ca = {.loops = w->loops, .loop_count = LOOPS, .tasks_per_loop = 64};
	assert_int_equal(scsi_core_create(&ca, &w->core), 0);
	struct blk_open_args ba = {
	    .spec = "ram:", .size_bytes = 1u << 20, .loops = w->loops, .loop_count = LOOPS};
	char reason[200];
	assert_int_equal(blk_open(&ba, &w->blk, reason, sizeof reason), 0);
	struct scsi_lu_args la = {.name = "lu",
	    .uuid = {1},
	    .block_bytes = 512,
	    .physical_exponent = 0xff,
	    .blk = w->blk};
	assert_int_equal(scsi_lu_create(w->core, &la, &w->lu), 0);
	struct scsi_view_entry e = {.lun = 0, .lu = w->lu};
	assert_int_equal(scsi_view_create(w->core, &e, 1, &w->view), 0);
}

static void
no_update_is_lost_on_two_threads(void **state)
{
	(void)state;
	struct world *w = calloc(1, sizeof *w);
	assert_non_null(w);
	engine_reset();
	world_up(w);
	for (unsigned i = 0; i < LOOPS; i++) {
		struct actor *a = &w->actors[i];
		a->w = w;
		a->loop = w->loops[i];
		a->msg.run = actor_start;
		loop_send(a->loop, &a->msg);
	}
	for (unsigned i = 0; i < LOOPS; i++)
		assert_int_equal(loop_start_thread(w->loops[i]), 0);
	for (unsigned i = 0; i < LOOPS; i++)
		loop_join(w->loops[i]);
	unsigned good = 0, maybe = 0;
	for (unsigned i = 0; i < LOOPS; i++) {
		assert_int_equal(w->actors[i].ended, ROUNDS + DEPTH);
		good += w->actors[i].good_increments;
		maybe += w->actors[i].aborted_increments;
	}
	assert_true(good > 0);
	assert_in_range(w->value, good, good + maybe);
	scsi_view_destroy(w->view);
	scsi_core_destroy(w->core);
	blk_close(w->blk);
	for (unsigned i = 0; i < LOOPS; i++)
		loop_destroy(w->loops[i]);
	free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(no_update_is_lost_on_two_threads),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
