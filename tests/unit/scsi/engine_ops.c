/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/scsi/engine_ops.h"

#include <stdlib.h>

struct scsi_task *engine_held[64];
unsigned engine_held_count;
unsigned engine_cleanups;
size_t engine_params_len;

void
engine_reset(void)
{
	engine_held_count = 0;
	engine_cleanups = 0;
	engine_params_len = SIZE_MAX;
}

/* ---- reservations: one bit, set by EO_FENCE --------------------------------------------------- */

struct scsi_pr {
	bool fenced;
};

struct scsi_pr *
scsi_pr_create(void)
{
	return calloc(1, sizeof(struct scsi_pr));
}

void
scsi_pr_destroy(struct scsi_pr *pr)
{
	free(pr);
}

void
scsi_pr_refresh(struct scsi_nexus_lu *nlu)
{
	bool denied = strncmp(nlu->nexus->initiator, "iqn.denied", 10) == 0;
	nlu->pr_deny = nlu->ll->pr->fenced && denied ? 1u << PRC_READ | 1u << PRC_WRITE : 0;
}

void
scsi_pr_nexus_lost(struct scsi_lu *lu, uint64_t nexus_id)
{
	(void)lu;
	(void)nexus_id;
}

void
scsi_pr_reset_spc2(struct scsi_lu_loop *ll)
{
	ll->pr->fenced = false;
	LIST_FOREACH (l, &ll->nexus_lus)
		scsi_pr_refresh(container_of(l, struct scsi_nexus_lu, lu_link));
}

bool
scsi_pr_reserved(const struct scsi_lu_loop *ll)
{
	return ll->pr->fenced;
}

/* ---- plain commands ----------------------------------------------------------------------------- */

static void
nothing(struct scsi_task *t)
{
	scsi_task_good(t);
}

static void
counted_cleanup(struct scsi_task *t)
{
	(void)t;
	/* From several threads in one of the tests. */
	__atomic_fetch_add(&engine_cleanups, 1, __ATOMIC_RELAXED);
}

static bool
inquiry_prepare(struct scsi_task *t)
{
	t->xfer_bytes = load_be16(t->cdb + 3);
	return true;
}

static void
inquiry(struct scsi_task *t)
{
	uint8_t data[36] = {t->nlu == NULL ? 0x7f : 0x00};
	scsi_task_reply(t, data, sizeof data);
}

static bool
rw_prepare(struct scsi_task *t)
{
	t->lba = load_be64(t->cdb + 2);
	t->blocks = load_be32(t->cdb + 10);
	t->xfer_bytes = t->blocks << scsi_task_lu(t)->block_shift;
	return scsi_check_range(t, t->lba, t->blocks);
}

static void
rw_done(struct scsi_task *t)
{
	if (t->io.result < 0) {
		scsi_sense_errno(t, t->io.result, t->io.op, t->lba);
		scsi_task_fail(t);
		return;
	}
	if (t->io.op == BLK_READ)
		t->data_in_len =
		    (uint32_t)(t->xfer_bytes < t->in_bytes ? t->xfer_bytes : t->in_bytes);
	scsi_task_good(t);
}

static void
rw(struct scsi_task *t)
{
	if (t->blocks == 0) {
		scsi_task_good(t);
		return;
	}
	scsi_task_blk(t, t->op->dir == SCSI_DIR_READ ? BLK_READ : BLK_WRITE, 0, t->lba, t->blocks,
	    &t->sg, rw_done);
}

static bool
params_prepare(struct scsi_task *t)
{
	t->xfer_bytes = load_be24(t->cdb + 3);
	return true;
}

static void
params(struct scsi_task *t)
{
	const uint8_t *p = scsi_task_params(t, &engine_params_len);
	for (size_t i = 0; i < engine_params_len; i++) {
		if (p[i] != 0x5a) {
			scsi_sense_param(t, (unsigned)i, 6);
			scsi_task_fail(t);
			return;
		}
	}
	scsi_task_good(t);
}

static bool
sg2_prepare(struct scsi_task *t)
{
	t->xfer_bytes = (uint64_t)load_be16(t->cdb + 4) * 1024;
	return true;
}

static void
sg2_run(struct scsi_task *t)
{
	scsi_task_get_sg2(t, t->xfer_bytes, nothing);
}

/* ---- holding -------------------------------------------------------------------------------------- */

static bool
hold_prepare(struct scsi_task *t)
{
	t->lba = load_be32(t->cdb + 2);
	t->blocks = load_be32(t->cdb + 6);
	return true;
}

static void
hold(struct scsi_task *t)
{
	engine_held[engine_held_count++] = t;
	scsi_task_suspend(t);
}

bool
engine_let_go(unsigned n)
{
	struct scsi_task *t = engine_held[n];
	if (!scsi_task_continue(t))
		return false;
	scsi_task_good(t);
	return true;
}

/* ---- read-modify-write under locks ---------------------------------------------------------------- */

/* t->priv: the last lock got; t->at: how many of the two blocks are done. */
static void rmw_granted(struct scsi_lock *k);
static void rmw_read(struct scsi_task *t);
static void rmw_have_read(struct scsi_task *t);
static void rmw_written(struct scsi_task *t);

struct rmw {
	struct scsi_lock *locks[2];
	uint64_t lbas[2];
	unsigned count, got;
};

static bool
rmw_prepare(struct scsi_task *t)
{
	uint32_t a = load_be32(t->cdb + 2), b = load_be32(t->cdb + 6);
	t->lba = a < b ? a : b;
	t->blocks = 1;
	return scsi_check_range(t, a, 1) && scsi_check_range(t, b, 1);
}

static void
rmw_next_lock(struct scsi_task *t)
{
	struct rmw *r = t->priv;
	unsigned i = r->got;
	r->locks[i] = scsi_lock_acquire(t, scsi_task_lu(t), r->lbas[i], 1, rmw_granted);
	if (r->locks[i] == NULL) {
		scsi_task_status(t, SCSI_BUSY);
		return;
	}
	scsi_task_suspend(t);
}

static void
rmw_start(struct scsi_task *t)
{
	struct rmw *r = calloc(1, sizeof *r);
	assert_non_null(r);
	uint32_t a = load_be32(t->cdb + 2), b = load_be32(t->cdb + 6);
	r->count = t->op->opcode == EO_SWAP && a != b ? 2 : 1;
	if (t->op->opcode == EO_INCREMENT)
		b = a;
	r->lbas[0] = a < b ? a : b;
	r->lbas[1] = a < b ? b : a;
	t->priv = r;
	rmw_next_lock(t);
}

static void
rmw_granted(struct scsi_lock *k)
{
	struct scsi_task *t = k->owner;
	struct rmw *r = t->priv;
	r->got++;
	if (!scsi_task_continue(t))
		return;
	if (r->got < r->count) {
		rmw_next_lock(t);
		return;
	}
	t->at = 0;
	assert_int_equal(blk_sg_get_plain(t->nexus->loop, &t->sg, 512), 0);
	rmw_read(t);
}

static void
rmw_read(struct scsi_task *t)
{
	struct rmw *r = t->priv;
	blk_sg_init(&t->sg2);
	assert_int_equal(
	    blk_sg_get(scsi_task_lu(t)->blk, &t->sg2, BLK_READ, r->lbas[t->at] * 512, 512), 0);
	scsi_task_blk(t, BLK_READ, 0, r->lbas[t->at], 1, &t->sg2, rmw_have_read);
}

static void
rmw_have_read(struct scsi_task *t)
{
	struct rmw *r = t->priv;
	uint8_t block[512];
	assert_int_equal(t->io.result, 0);
	blk_sg_copy_out(&t->sg2, 0, block, 512);
	blk_sg_put(&t->sg2);
	store_be64(block, load_be64(block) + 1);
	blk_sg_copy_in(&t->sg, 0, block, 512);
	scsi_task_blk(t, BLK_WRITE, 0, r->lbas[t->at], 1, &t->sg, rmw_written);
}

static void
rmw_written(struct scsi_task *t)
{
	struct rmw *r = t->priv;
	assert_int_equal(t->io.result, 0);
	if (++t->at < r->count)
		rmw_read(t);
	else
		scsi_task_good(t);
}

static void
rmw_cleanup(struct scsi_task *t)
{
	struct rmw *r = t->priv;
	if (r == NULL)
		return;
	for (unsigned i = 0; i < 2; i++) {
		if (r->locks[i] != NULL)
			scsi_lock_release(r->locks[i]);
	}
	free(r);
}

/* ---- changes -------------------------------------------------------------------------------------- */

struct fence {
	struct scsi_change c;
	struct scsi_task *t;
	bool on;
};

static void
fence_apply(struct scsi_change *c, struct scsi_lu_loop *ll)
{
	ll->pr->fenced = container_of(c, struct fence, c)->on;
	LIST_FOREACH (l, &ll->nexus_lus)
		scsi_pr_refresh(container_of(l, struct scsi_nexus_lu, lu_link));
}

static enum scsi_decision
fence_refuse(struct scsi_change *c)
{
	(void)c;
	return CHANGE_REFUSED;
}

static void
fence_done(struct scsi_change *c)
{
	struct fence *f = container_of(c, struct fence, c);
	struct scsi_task *t = f->t;
	bool refused = c->refused;
	free(f);
	if (!scsi_task_continue(t))
		return;
	if (refused)
		scsi_task_status(t, SCSI_RESERVATION_CONFLICT);
	else
		scsi_task_good(t);
}

static void
fence(struct scsi_task *t)
{
	struct fence *f = calloc(1, sizeof *f);
	assert_non_null(f);
	f->t = t;
	f->on = t->cdb[2] != 0;
	f->c = (struct scsi_change){.lu = scsi_task_lu(t),
	    .decide = t->op->opcode == EO_REFUSED ? fence_refuse : NULL,
	    .apply = fence_apply,
	    .done = fence_done,
	    .drain = true};
	scsi_task_suspend(t);
	scsi_change_submit(&f->c);
}

/* ---- tables --------------------------------------------------------------------------------------- */

#define ANY16                                                                                      \
	{                                                                                          \
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,      \
		    0xff, 0xff, 0                                                                  \
	}
#define HOLD(o, f)                                                                                 \
	{                                                                                          \
		.opcode = EO_HOLD, .has_sa = true, .sa = (o), .cdb_len = 16, .order = (o),         \
		.pr = PRC_ALWAYS, .flags = (f), .name = "HOLD", .usage = ANY16,                    \
		.prepare = hold_prepare, .execute = hold, .cleanup = counted_cleanup               \
	}

/* clang-format off */
static const struct scsi_opcode ops[] = {
	{.opcode = EO_TUR, .cdb_len = 6, .name = "TEST UNIT READY", .pr = PRC_ALWAYS, .execute = nothing},
	{.opcode = EO_INQUIRY, .cdb_len = 6, .dir = SCSI_DIR_IN, .name = "INQUIRY", .pr = PRC_ALWAYS,
	 .flags = OPF_NO_LUN | OPF_NO_UA | OPF_NOT_READY_OK | OPF_BUSY_OK,
	 .usage = {0xff, 0x01, 0xff, 0xff, 0xff, 0}, .prepare = inquiry_prepare, .execute = inquiry},
	{.opcode = EO_READ, .cdb_len = 16, .dir = SCSI_DIR_READ, .name = "READ(16)", .pr = PRC_READ,
	 .order = ORD_READ, .usage = ANY16, .prepare = rw_prepare, .execute = rw,
	 .cleanup = counted_cleanup},
	{.opcode = EO_WRITE, .cdb_len = 16, .dir = SCSI_DIR_WRITE, .name = "WRITE(16)", .pr = PRC_WRITE,
	 .order = ORD_WRITE, .flags = OPF_WRITES, .usage = ANY16, .prepare = rw_prepare, .execute = rw,
	 .cleanup = counted_cleanup},
	{.opcode = EO_INCREMENT, .cdb_len = 16, .name = "INCREMENT", .pr = PRC_WRITE, .order = ORD_ATOMIC,
	 .flags = OPF_WRITES, .usage = ANY16, .prepare = rmw_prepare, .execute = rmw_start,
	 .cleanup = rmw_cleanup},
	{.opcode = EO_SWAP, .cdb_len = 16, .name = "SWAP", .pr = PRC_WRITE, .order = ORD_ATOMIC,
	 .flags = OPF_WRITES, .usage = ANY16, .prepare = rmw_prepare, .execute = rmw_start,
	 .cleanup = rmw_cleanup},
	HOLD(ORD_NONE, 0), HOLD(ORD_READ, 0), HOLD(ORD_WRITE, 0), HOLD(ORD_FLUSH, 0),
	HOLD(ORD_CONFIG, 0), HOLD(ORD_EXCLUSIVE, 0),
	{.opcode = EO_PARAMS, .cdb_len = 10, .dir = SCSI_DIR_OUT, .name = "PARAMS", .pr = PRC_ALWAYS,
	 .order = ORD_CONFIG, .usage = {0xff, 0, 0, 0xff, 0xff, 0xff, 0, 0, 0, 0},
	 .prepare = params_prepare, .execute = params},
	{.opcode = EO_FENCE, .cdb_len = 16, .name = "FENCE", .pr = PRC_ALWAYS, .order = ORD_CONFIG,
	 .usage = ANY16, .execute = fence},
	{.opcode = EO_REFUSED, .cdb_len = 16, .name = "REFUSED", .pr = PRC_ALWAYS, .order = ORD_CONFIG,
	 .usage = ANY16, .execute = fence},
	{.opcode = EO_GET_SG2, .cdb_len = 10, .dir = SCSI_DIR_OUT_PLAIN, .name = "SG2", .pr = PRC_ALWAYS,
	 .order = ORD_READ, .usage = {0xff, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0},
	 .prepare = sg2_prepare, .execute = sg2_run},
	{.name = NULL},
};
/* clang-format on */

const struct scsi_opcode *const scsi_op_families[] = {ops, NULL};
