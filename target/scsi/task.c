/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The life of a task, from submit to release.
 *
 *	submit ─▶ checks ─▶ [WAIT_BUF] ─▶ [WAIT_DATA] ─▶ [BLOCKED] ─▶ RUNNING ─▶ DONE ─▶ release
 *
 * Data that came with the command is taken in submit (task_take_data()).
 *
 * From every state but DONE an abort leads to DONE, from RUNNING only when the handler comes back
 * (INV-5). DONE is entered in one place, task_end(); what follows, up to ops->done, in
 * task_complete(), which is called from a deferred call, or directly when a step of the handler was
 * called by the store's completion, which is one already (INV-3).
 */
#include "scsi/scsi_priv.h"

#include <errno.h>

static bool task_start(struct scsi_task *t);
static void task_buffers(struct scsi_task *t);
static bool task_take_data(struct scsi_task *t);
static void task_buf_retry(struct loop_bufwait *w);
static void task_admit(struct scsi_task *t);
static void task_run(struct scsi_task *t);
static void task_end(struct scsi_task *t);
static void task_ended(struct loop_defer *d);
static void task_complete(struct scsi_task *t);

/* ---- checks ---------------------------------------------------------------------------------- */

/* A bit outside of the usage mask: 5/24/00 pointing at the first such byte's highest bit. */
static bool
mask_fail(struct scsi_task *t)
{
	for (unsigned i = 1; i < t->op->cdb_len; i++) {
		unsigned bad = t->cdb[i] & (unsigned)(uint8_t)~t->op->usage[i];
		if (bad != 0)
			return scsi_sense_cdb(t, i, 31 - __builtin_clz(bad));
	}
	return true;
}

static inline uint64_t
outside_mask(const uint8_t *cdb, const uint8_t *usage)
{
	uint64_t c, u;
	memcpy(&c, cdb, 8);
	memcpy(&u, usage, 8);
	return c & ~u;
}

static bool
check_mask(struct scsi_task *t)
{
	const struct scsi_opcode *op = t->op;
	if (t->cdb_len < op->cdb_len)
		/* The transport brought less than the opcode's length (SPC-4 4.2.5.1). */
		return scsi_sense_cdb(t, 0, -1);
	uint64_t bad = 0;
	unsigned i = 0, len = op->cdb_len;
	for (; i + 8 <= len; i += 8)
		bad |= outside_mask(t->cdb + i, op->usage + i);
	if (i < len) /* little-endian: the first bytes are the low ones */
		bad |= outside_mask(t->cdb + i, op->usage + i) & ((1ull << (len - i) * 8) - 1);
	/* Byte 0 is the opcode; tables may say it or ff. */
	if (__builtin_expect(bad == 0, 1))
		return true;
	return mask_fail(t);
}

static bool
check_special(struct scsi_task *t)
{
	const struct scsi_lu_state *st = &t->nlu->ll->st;
	unsigned flags = t->op->flags;
	if ((flags & OPF_BUSY_OK) == 0) {
		if (st->formatting)
			return scsi_sense_progress(t, SENSE_NOT_READY_FORMAT, st->progress);
		if (st->sanitizing)
			return scsi_sense_progress(t, SENSE_NOT_READY_SANITIZE, st->progress);
		if (st->sanitize_failed)
			return scsi_sense(t, SENSE_SANITIZE_FAILED); /* SBC-3 4.11.4 */
	}
	bool not_ready_ok = (flags & OPF_NOT_READY_OK) != 0;
	if (st->gone && (!not_ready_ok || (flags & OPF_GONE_FAILS) != 0))
		return scsi_sense(t, SENSE_NOT_READY_MANUAL);
	if (st->ejected && !not_ready_ok)
		return scsi_sense(t, SENSE_MEDIUM_NOT_PRESENT_TRAY_OPEN);
	if (st->stopped && !not_ready_ok)
		return scsi_sense(t, SENSE_NOT_READY_INITIALIZING_REQUIRED);
	return true;
}

static bool
check_protection(struct scsi_task *t)
{
	if (t->nlu->read_only || t->nlu->ll->st.read_only)
		return scsi_sense(t, SENSE_WRITE_PROTECTED);
	if (t->nlu->ll->st.mode.swp)
		return scsi_sense(t, SENSE_WRITE_PROTECTED_SOFTWARE);
	return true;
}

/* What depends on the unit's shared state, and is looked at again when that changed (INV-2). */
static bool
check_unit(struct scsi_task *t)
{
	const struct scsi_nexus_lu *nlu = t->nlu;
	t->epoch = nlu->ll->epoch;
	if (__builtin_expect((nlu->pr_deny >> t->op->pr & 1u) != 0, 0)) {
		t->status = SCSI_RESERVATION_CONFLICT;
		return false;
	}
	if (__builtin_expect(nlu->ll->special, 0) && !check_special(t))
		return false;
	if ((t->op->flags & OPF_WRITES) != 0 && !check_protection(t))
		return false;
	return true;
}

/* ---- submit ---------------------------------------------------------------------------------- */

static void
task_init(struct scsi_task *t)
{
	struct scsi_nexus *n = t->nexus;
	ASSERT(loop_is_current(n->loop) && !n->dying);
	ASSERT(t->cdb_len >= 6 && t->cdb_len <= SCSI_CDB_MAX_BYTES);
	t->data_out_len = 0;
	t->data_in_len = 0;
	t->xfer_bytes = 0;
	blk_sg_init(&t->sg);
	t->status = SCSI_GOOD;
	t->sense_len = 0;
	t->aborted = false;
	t->state = SCSI_TASK_RUNNING; /* on its way; in no list but the nexus's */
	t->flags = 0;
	t->tmf_pending = 0;
	t->in_store = false;
	t->data_failed = false;
	t->op = NULL;
	t->nlu = NULL;
	t->seq = n->cl->task_seq + 1;
	__atomic_store_n(&n->cl->task_seq, t->seq, __ATOMIC_RELAXED);
	list_init(&t->loop_link);
	loop_defer_init(&t->defer, task_ended);
	loop_bufwait_init(&t->bufwait, task_buf_retry);
	t->start_ns = loop_now_ns(n->loop);
	t->lba = 0;
	t->blocks = 0;
	blk_sg_init(&t->sg2);
	t->at = 0;
	t->priv = NULL;
	t->resume = NULL;
	n->task_count++;
}

/* Finds the unit and enters the task set. */
static void
task_find_lu(struct scsi_task *t)
{
	struct scsi_nexus *n = t->nexus;
	uint16_t lun;
	if (scsi_lun_decode(t->lun, &lun))
		t->nlu = scsi_nexus_find(n, lun);
	if (t->nlu == NULL) {
		list_push_back(&n->lunless_tasks, &t->nexus_link);
		return;
	}
	list_push_back(&t->nlu->tasks, &t->nexus_link);
	if (t->attr != SCSI_SIMPLE)
		t->nlu->ordered_count++;
	SCSI_STAT_ADD(t->nlu->ll->stats.in_flight, 1);
}

/* Commands that work without a unit, or on the REPORT LUNS well known one (SPC-4 8.2). */
static bool
works_without_lu(const struct scsi_task *t)
{
	return (t->op->flags & OPF_NO_LUN) != 0 ||
	       ((t->op->flags & OPF_WLUN) != 0 && scsi_lun_is_report_luns(t->lun));
}

static bool
check_opcode(struct scsi_task *t)
{
	bool bad_sa;
	t->op = scsi_opcode_find(t->cdb, t->cdb_len, &bad_sa);
	if (t->nlu == NULL) {
		if (t->op == NULL || !works_without_lu(t)) {
			t->op = NULL;
			return scsi_sense(t, SENSE_LUN_NOT_SUPPORTED);
		}
		return check_mask(t);
	}
	if (t->op == NULL && bad_sa)
		return t->cdb[0] == 0x7f ? scsi_sense_cdb(t, 8, -1) : scsi_sense_cdb(t, 1, 4);
	if (t->op == NULL || !scsi_opcode_supported(t->op, t->nlu->lu)) {
		t->op = NULL;
		return scsi_sense(t, SENSE_INVALID_OPCODE);
	}
	return check_mask(t);
}

/* Everything up to the buffers. False: the status is set. */
static bool
task_start(struct scsi_task *t)
{
	if (!check_opcode(t))
		return false;
	if (t->attr == SCSI_ACA)
		/* No ACA condition is ever established: NORMACA is 0 (SAM-5 5.10). */
		return scsi_sense_cdb(t, t->op->cdb_len == 32 ? 1 : t->op->cdb_len - 1u, 2);
	if (t->nlu != NULL) {
		if (__builtin_expect(t->nlu->ua != 0, 0) && (t->op->flags & OPF_NO_UA) == 0 &&
		    scsi_ua_take(t->nlu, t))
			return false;
		if (!check_unit(t))
			return false;
	}
	t->flags |= TASK_PREPARED;
	return t->op->prepare == NULL || t->op->prepare(t);
}

/*
 * How much is moved. An initiator that offers less data than its CDB says gets whole blocks written
 * and a residual from xfer_bytes; one that offers more, the rest dropped (RFC 7143 §11.3.4, §4.6.1).
 */
static bool
task_lengths(struct scsi_task *t)
{
	uint64_t max = SCSI_XFER_MAX_BYTES;
	switch (t->op->dir) {
	case SCSI_DIR_NONE:
	case SCSI_DIR_IN:
		return true;
	case SCSI_DIR_OUT:
		if (t->xfer_bytes > SCSI_PARAM_OUT_MAX)
			return scsi_sense(t, SENSE_PARAM_LIST_LENGTH);
		break;
	default:
		if (t->xfer_bytes > max)
			return scsi_sense(t, SENSE_INVALID_FIELD_CDB);
		if (t->op->dir == SCSI_DIR_READ)
			return true;
		break;
	}
	t->data_out_len = (uint32_t)(t->xfer_bytes < t->out_bytes ? t->xfer_bytes : t->out_bytes);
	if (t->op->dir == SCSI_DIR_WRITE && t->data_out_len < t->xfer_bytes) {
		uint32_t shift = t->nlu->lu->block_shift;
		t->blocks = t->data_out_len >> shift;
		t->data_out_len = (uint32_t)(t->blocks << shift);
	}
	return true;
}

enum scsi_submit
scsi_task_submit(struct scsi_task *t)
{
	task_init(t);
	task_find_lu(t);
	if (!task_start(t) || !task_lengths(t)) {
		task_end(t);
		return SCSI_PENDING;
	}
	if (t->out_data != NULL && t->data_out_len > 0)
		return task_take_data(t) ? SCSI_TOOK_DATA : SCSI_PENDING;
	task_buffers(t);
	return t->state == SCSI_TASK_WAIT_DATA ? SCSI_WANT_DATA : SCSI_PENDING;
}

/* ---- buffers --------------------------------------------------------------------------------- */

static void
flat_release(struct blk_sg *sg)
{
	loop_buf_put(sg->loop, sg->iov[0].iov_base, sg->iov[0].iov_len);
}

/* One segment, for parameter lists. */
static int
flat_get(struct loop *l, struct blk_sg *sg, uint64_t len)
{
	void *p = loop_buf_get(l, len);
	if (p == NULL)
		return -ENOBUFS;
	sg->inline_iov[0] = (struct iovec){.iov_base = p, .iov_len = len};
	sg->iov = sg->inline_iov;
	sg->iovcnt = 1;
	sg->len_bytes = len;
	sg->loop = l;
	sg->release = flat_release;
	return 0;
}

static int
buffers_get(struct scsi_task *t)
{
	struct loop *l = t->nexus->loop;
	uint64_t len;
	switch (t->op->dir) {
	case SCSI_DIR_IN:
		len = t->xfer_bytes < SCSI_PARAM_IN_MAX ? t->xfer_bytes : SCSI_PARAM_IN_MAX;
		return len > 0 ? blk_sg_get_plain(l, &t->sg, len) : 0;
	case SCSI_DIR_OUT:
		return t->data_out_len > 0 ? flat_get(l, &t->sg, t->data_out_len) : 0;
	case SCSI_DIR_OUT_PLAIN:
		return t->data_out_len > 0 ? blk_sg_get_plain(l, &t->sg, t->data_out_len) : 0;
	case SCSI_DIR_READ:
		len = t->xfer_bytes;
		if (len == 0)
			return 0;
		return blk_sg_get(
		    t->nlu->lu->blk, &t->sg, BLK_READ, t->lba << t->nlu->lu->block_shift, len);
	case SCSI_DIR_WRITE:
		len = t->data_out_len;
		if (len == 0)
			return 0;
		return blk_sg_get(
		    t->nlu->lu->blk, &t->sg, BLK_WRITE, t->lba << t->nlu->lu->block_shift, len);
	default:
		return 0;
	}
}

static void
task_buffers(struct scsi_task *t)
{
	int err = buffers_get(t);
	if (__builtin_expect(err < 0 && t->no_wait && t->data_out_len > 0, 0)) {
		scsi_task_status(t, SCSI_TASK_SET_FULL);
		return;
	}
	if (__builtin_expect(err < 0, 0)) {
		/* No memory in the pool: its turn comes when some is put back. */
		t->state = SCSI_TASK_WAIT_BUF;
		loop_bufwait_queue(t->nexus->loop, &t->bufwait);
		return;
	}
	if (t->data_out_len > 0)
		t->state = SCSI_TASK_WAIT_DATA;
	else
		task_admit(t);
}

/*
 * The data is in memory already. Where the store copies it at once and nothing holds the task back,
 * it goes there from where it is; else into buffers, and if there are none the transport keeps it.
 */
static bool
task_take_data(struct scsi_task *t)
{
	uint32_t len = t->data_out_len;
	if ((t->op->flags & OPF_ONE_WRITE) != 0 && scsi_order_admits(t) &&
	    blk_copies_now(t->nlu->lu->blk, t->lba << t->nlu->lu->block_shift, len)) {
		blk_sg_borrow(&t->sg, t->out_data, len);
		task_run(t);
		blk_sg_init(&t->sg); /* the store has it; the memory is the transport's again */
		return true;
	}
	task_buffers(t);
	if (t->state != SCSI_TASK_WAIT_DATA)
		return false;
	blk_sg_copy_in(&t->sg, 0, t->out_data, len);
	task_admit(t);
	return true;
}

static void
task_buf_retry(struct loop_bufwait *w)
{
	struct scsi_task *t = container_of(w, struct scsi_task, bufwait);
	ASSERT(t->state == SCSI_TASK_WAIT_BUF);
	task_buffers(t);
	if (t->state == SCSI_TASK_WAIT_DATA)
		t->ops->want_data(t);
}

void
scsi_task_data_ready(struct scsi_task *t, int result)
{
	ASSERT(loop_is_current(t->nexus->loop) && result <= 0);
	if (t->state == SCSI_TASK_DONE)
		return; /* aborted meanwhile; done comes */
	ASSERT(t->state == SCSI_TASK_WAIT_DATA);
	if (result < 0) {
		t->data_failed = true;
		scsi_sense(t, result == -EIO       ? SENSE_DATA_PHASE_ERROR
		              : result == -EBADMSG ? SENSE_PROTOCOL_CRC_ERROR
		                                   : SENSE_COMMAND_ABORTED);
		task_end(t);
		return;
	}
	task_admit(t);
}

/* ---- admission ------------------------------------------------------------------------------- */

/* From WAIT_DATA, or right away without data-out. */
static void
task_admit(struct scsi_task *t)
{
	if (t->nlu == NULL) {
		t->state = SCSI_TASK_RUNNING;
		t->op->execute(t);
		return;
	}
	struct scsi_lu_loop *ll = t->nlu->ll;
	if (__builtin_expect(t->epoch != ll->epoch, 0) && !check_unit(t)) {
		task_end(t);
		return;
	}
	if (__builtin_expect(!scsi_order_admits(t), 0)) {
		t->state = SCSI_TASK_BLOCKED;
		list_push_back(&ll->blocked, &t->loop_link);
		ll->excl_blocked += t->op->order == ORD_EXCLUSIVE;
		return;
	}
	task_run(t);
}

static void
task_run(struct scsi_task *t)
{
	struct scsi_lu_loop *ll = t->nlu->ll;
	t->state = SCSI_TASK_RUNNING;
	list_push_back(&ll->running, &t->loop_link);
	ll->running_count[t->op->order]++;
	t->op->execute(t);
}

static void
leave_blocked(struct scsi_task *t)
{
	struct scsi_lu_loop *ll = t->nlu->ll;
	ASSERT(t->state == SCSI_TASK_BLOCKED);
	list_remove(&t->loop_link);
	ll->excl_blocked -= t->op->order == ORD_EXCLUSIVE;
}

void
scsi_unblock(struct scsi_lu_loop *ll)
{
	if (!list_empty(&ll->blocked) && !loop_defer_queued(&ll->unblock))
		loop_defer(ll->loop, &ll->unblock);
}

void
scsi_unblock_now(struct scsi_lu_loop *ll)
{
	LIST_FOREACH_SAFE (l, &ll->blocked) {
		struct scsi_task *t = container_of(l, struct scsi_task, loop_link);
		if (t->epoch != ll->epoch && !check_unit(t)) {
			leave_blocked(t);
			task_end(t);
		} else if (scsi_order_admits(t)) {
			leave_blocked(t);
			task_run(t);
		}
	}
}

/* ---- the end --------------------------------------------------------------------------------- */

static void
task_end(struct scsi_task *t)
{
	ASSERT(t->state != SCSI_TASK_DONE && t->state != SCSI_TASK_FREE);
	ASSERT(!t->in_store);
	t->state = SCSI_TASK_DONE;
	if ((t->flags & TASK_IN_NEXT) == 0)
		loop_defer(t->nexus->loop, &t->defer);
}

static void
task_ended(struct loop_defer *d)
{
	task_complete(container_of(d, struct scsi_task, defer));
}

static void
outcome(struct scsi_task *t)
{
	if ((t->flags & TASK_ABORTED) != 0) {
		t->sense_len = 0;
		t->status = SCSI_TASK_ABORTED;
		t->aborted = (t->flags & TASK_ABORT_STATUS) == 0;
		/* Only what never ran may say that nothing was done. */
		if (t->nlu != NULL && t->nlu->gone)
			scsi_sense(t, list_empty(&t->loop_link) ? SENSE_LUN_NOT_SUPPORTED
			                                        : SENSE_COMMAND_ABORTED);
	}
	if (t->status != SCSI_GOOD || t->aborted) {
		t->data_in_len = 0;
		t->xfer_bytes = t->data_out_len; /* what really moved */
	}
	ASSERT(t->data_in_len <= t->in_bytes);
	ASSERT(t->status != SCSI_CHECK_CONDITION || t->sense_len > 0);
}

static unsigned
latency_bucket(const struct scsi_task *t)
{
	return scsi_latency_bucket(loop_now_ns(t->nexus->loop) - t->start_ns);
}

static void
count(const struct scsi_task *t)
{
	struct scsi_lu_stats *s = &t->nlu->ll->stats;
	struct scsi_heat *heat = t->nlu->ll->heat;
	SCSI_STAT_ADD(s->in_flight, -1);
	if (t->op == NULL || (t->op->dir != SCSI_DIR_READ && t->op->dir != SCSI_DIR_WRITE)) {
		SCSI_STAT_ADD(s->others, 1);
	} else if (t->op->dir == SCSI_DIR_READ) {
		SCSI_STAT_ADD(s->read_latency.buckets[latency_bucket(t)], 1);
		SCSI_STAT_ADD(s->reads, 1);
		SCSI_STAT_ADD(s->read_bytes, t->data_in_len);
		if (t->status == SCSI_GOOD)
			scsi_heat_count(heat->reads, heat->shift, t->lba);
	} else {
		SCSI_STAT_ADD(s->write_latency.buckets[latency_bucket(t)], 1);
		SCSI_STAT_ADD(s->writes, 1);
		if (t->status == SCSI_GOOD) {
			SCSI_STAT_ADD(s->write_bytes, t->data_out_len);
			scsi_heat_count(heat->writes, heat->shift, t->lba);
		}
	}
	if ((t->flags & TASK_ABORTED) != 0)
		SCSI_STAT_ADD(s->aborts, 1);
	else if (t->status == SCSI_CHECK_CONDITION)
		SCSI_STAT_ADD(s->check_conditions, 1);
	else if (t->status == SCSI_RESERVATION_CONFLICT)
		SCSI_STAT_ADD(s->reservation_conflicts, 1);
}

/* Leaves the lists of the unit; what waited for it goes on. */
static void
leave_unit(struct scsi_task *t)
{
	struct scsi_lu_loop *ll = t->nlu->ll;
	if (!list_empty(&t->loop_link)) { /* it ran */
		list_remove(&t->loop_link);
		ASSERT(ll->running_count[t->op->order] > 0);
		ll->running_count[t->op->order]--;
		scsi_lock_task_done(ll, t);
	}
	if (t->attr != SCSI_SIMPLE) {
		ASSERT(t->nlu->ordered_count > 0);
		t->nlu->ordered_count--;
	}
	if ((t->flags & TASK_DRAIN) != 0 && --ll->drain_left == 0)
		scsi_change_drained(ll);
	scsi_unblock(ll);
}

static void
task_complete(struct scsi_task *t)
{
	ASSERT(t->state == SCSI_TASK_DONE && (t->flags & TASK_DONE_CALLED) == 0);
	struct scsi_nexus *n = t->nexus;
	struct scsi_nexus_lu *nlu = t->nlu;
	outcome(t);
	if ((t->flags & TASK_PREPARED) != 0 && t->op->cleanup != NULL)
		t->op->cleanup(t);
	if (t->sg2.iovcnt > 0)
		blk_sg_put(&t->sg2);
	if (nlu != NULL) {
		leave_unit(t);
		count(t);
	}
	bool waited_for = t->tmf_pending != 0;
	uint64_t tag = t->tag, seq = t->seq;
	t->flags |= TASK_DONE_CALLED;
	t->ops->done(t); /* may release it, and submit it anew */
	if (waited_for) {
		/* A dying nexus is freed from a deferred call, not before this one returns. */
		scsi_abort_waits_task_done(&n->abort_waits, nlu, tag, seq);
		if (nlu != NULL)
			scsi_abort_waits_task_done(&nlu->ll->abort_waits, nlu, tag, seq);
		if (nlu != NULL && nlu->gone)
			scsi_gone_waits_check(n);
	}
}

void
scsi_task_release(struct scsi_task *t)
{
	struct scsi_nexus *n = t->nexus;
	ASSERT(loop_is_current(n->loop));
	ASSERT(t->state == SCSI_TASK_DONE && (t->flags & TASK_DONE_CALLED) != 0);
	blk_sg_put(&t->sg);
	list_remove(&t->nexus_link);
	t->state = SCSI_TASK_FREE;
	ASSERT(n->task_count > 0);
	n->task_count--;
	if (__builtin_expect(n->watched, 0))
		scsi_nexus_task_gone(n, t->nlu);
}

void
scsi_task_abort(struct scsi_task *t, bool send_task_aborted_status)
{
	ASSERT(loop_is_current(t->nexus->loop));
	switch (t->state) {
	case SCSI_TASK_DONE:
		return;
	case SCSI_TASK_WAIT_BUF:
		loop_bufwait_cancel(&t->bufwait);
		break;
	case SCSI_TASK_BLOCKED:
		leave_blocked(t);
		break;
	default:
		break;
	}
	/* Once without response stays without: the nexus that asked knows. */
	if ((t->flags & TASK_ABORTED) == 0 && send_task_aborted_status)
		t->flags |= TASK_ABORT_STATUS;
	else if (!send_task_aborted_status)
		t->flags &= (uint8_t)~TASK_ABORT_STATUS;
	t->flags |= TASK_ABORTED;
	if (t->state != SCSI_TASK_RUNNING) {
		task_end(t);
	} else if ((t->flags & TASK_WAITS_SG2) != 0) {
		loop_bufwait_cancel(&t->bufwait);
		t->flags &= (uint8_t)~TASK_WAITS_SG2;
		t->nexus->cl->sg2_waiters--;
		task_end(t);
	}
}

/* ---- what handlers call ---------------------------------------------------------------------- */

void
scsi_task_good(struct scsi_task *t)
{
	t->status = SCSI_GOOD;
	task_end(t);
}

void
scsi_task_status(struct scsi_task *t, enum scsi_status status)
{
	t->status = (uint8_t)status;
	t->data_in_len = 0;
	task_end(t);
}

void
scsi_task_fail(struct scsi_task *t)
{
	ASSERT(t->status != SCSI_GOOD);
	task_end(t);
}

void
scsi_task_reply(struct scsi_task *t, const void *data, size_t len)
{
	uint64_t n = len < t->xfer_bytes ? len : t->xfer_bytes;
	t->xfer_bytes = n;
	if (n > t->sg.len_bytes)
		n = t->sg.len_bytes;
	if (n > t->in_bytes)
		n = t->in_bytes;
	if (n > 0)
		blk_sg_copy_in(&t->sg, 0, data, n);
	t->data_in_len = (uint32_t)n;
	scsi_task_good(t);
}

const uint8_t *
scsi_task_params(const struct scsi_task *t, size_t *ret_len)
{
	*ret_len = t->data_out_len;
	return t->data_out_len > 0 ? t->sg.iov[0].iov_base : (const uint8_t *)"";
}

/* A step of the handler, called from a callback of the loop: if the task ends in it, it is completed
 * here, without another deferred call. */
static void
step(struct scsi_task *t, void (*next)(struct scsi_task *t))
{
	t->flags |= TASK_IN_NEXT;
	if ((t->flags & TASK_ABORTED) != 0)
		task_end(t);
	else
		next(t);
	t->flags &= (uint8_t)~TASK_IN_NEXT;
	if (t->state == SCSI_TASK_DONE)
		task_complete(t);
}

static void
blk_io_done(struct blk_io *io)
{
	struct scsi_task *t = container_of(io, struct scsi_task, io);
	ASSERT(t->in_store && t->state == SCSI_TASK_RUNNING);
	t->in_store = false;
	step(t, t->resume);
}

void
scsi_task_blk(struct scsi_task *t, enum blk_op op, uint32_t flags, uint64_t lba, uint64_t blocks,
    struct blk_sg *sg, void (*next)(struct scsi_task *t))
{
	ASSERT(t->state == SCSI_TASK_RUNNING && !t->in_store);
	if (__builtin_expect((t->flags & TASK_ABORTED) != 0, 0)) {
		task_end(t);
		return;
	}
	uint32_t shift = t->nlu->lu->block_shift;
	t->resume = next;
	t->in_store = true;
	t->io.op = op;
	t->io.flags = flags;
	t->io.offset_bytes = lba << shift;
	t->io.len_bytes = blocks << shift;
	t->io.sg = sg;
	t->io.done = blk_io_done;
	blk_submit(t->nlu->lu->blk, &t->io);
}

void
scsi_task_suspend(struct scsi_task *t)
{
	ASSERT(t->state == SCSI_TASK_RUNNING && !t->in_store);
}

bool
scsi_task_continue(struct scsi_task *t)
{
	ASSERT(t->state == SCSI_TASK_RUNNING && !t->in_store);
	if ((t->flags & TASK_ABORTED) == 0)
		return true;
	task_end(t);
	return false;
}

bool
scsi_task_is_aborted(const struct scsi_task *t)
{
	return (t->flags & TASK_ABORTED) != 0;
}

static void
sg2_retry(struct loop_bufwait *w)
{
	struct scsi_task *t = container_of(w, struct scsi_task, bufwait);
	if (blk_sg_get_plain(t->nexus->loop, &t->sg2, t->sg2_bytes) < 0) {
		loop_bufwait_queue(t->nexus->loop, w);
		return;
	}
	t->flags &= (uint8_t)~TASK_WAITS_SG2;
	t->nexus->cl->sg2_waiters--;
	step(t, t->resume);
}

void
scsi_task_get_sg2(struct scsi_task *t, uint64_t len_bytes, void (*next)(struct scsi_task *t))
{
	ASSERT(t->state == SCSI_TASK_RUNNING && !t->in_store && t->sg2.iovcnt == 0);
	struct scsi_core_loop *cl = t->nexus->cl;
	if (blk_sg_get_plain(t->nexus->loop, &t->sg2, len_bytes) == 0) {
		next(t);
		return;
	}
	/*
	 * Tasks that hold buffers while they wait for more could wait for each other for ever: only one
	 * at a time may, the others give theirs back and are tried again by the initiator.
	 */
	if (cl->sg2_waiters > 0) {
		scsi_task_status(t, SCSI_BUSY);
		return;
	}
	cl->sg2_waiters++;
	t->flags |= TASK_WAITS_SG2;
	t->sg2_bytes = len_bytes;
	t->resume = next;
	loop_bufwait_init(&t->bufwait, sg2_retry);
	loop_bufwait_queue(t->nexus->loop, &t->bufwait);
}

bool
scsi_check_range(struct scsi_task *t, uint64_t lba, uint64_t blocks)
{
	uint64_t max = t->nlu->ll->st.blocks;
	if (__builtin_expect(lba <= max && blocks <= max - lba, 1))
		return true;
	return scsi_sense_info(t, SENSE_LBA_OUT_OF_RANGE, lba);
}
