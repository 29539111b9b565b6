/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * EXTENDED COPY(LID1): copies segment by segment, in pieces that go through a buffer of the loop.
 *
 *	execute ─▶ check all ─▶ buffer ─┬▶ lock the destination ─▶ read ─▶ write ─▶ unlock ─▶ next turn ─┐
 *	                                └────────────────────────────────────────────────────────────────┘
 *
 * INV-1  Before each read and each write the unit that it goes to is looked at again: reservation,
 *        write protection, readiness, range. A copy that was fenced off stops at the next piece.
 * INV-2  A piece is written under a range lock of the destination, so that no COMPARE AND WRITE
 *        sees half of it. A copy waits for nothing but the store while it holds a lock.
 * INV-3  I/O on a unit that isn't the task's own is entered there as a guest (scsi_guest), so that a
 *        change of that unit which fences waits for it too.
 *
 * Overlapping source and destination: the result is as if everything had been read first.
 */
#include "scsi/copy.h"

#include <errno.h>

static void copy_next(struct scsi_task *t);
static void copy_lock(struct scsi_task *t);
static void copy_locked(struct scsi_lock *k);
static void copy_read_done(struct scsi_task *t);
static void copy_write_done(struct scsi_task *t);
static void copy_again(struct loop_defer *d);

bool
copy_extended_prepare(struct scsi_task *t)
{
	t->xfer_bytes = load_be32(t->cdb + 10);
	return true;
}

/* ---- checks ------------------------------------------------------------------------------- */

static bool
copy_refuse_reserved(struct scsi_task *t, const struct scsi_nexus_lu *nlu)
{
	if (nlu != t->nlu)
		return scsi_sense(t, SENSE_COPY_TARGET_FAILED);
	t->status = SCSI_RESERVATION_CONFLICT;
	t->sense_len = 0;
	return false;
}

/* INV-1. False: status and sense are set. */
static bool
copy_check(
    struct scsi_task *t, const struct scsi_nexus_lu *nlu, bool write, uint64_t lba, uint64_t blocks)
{
	const struct scsi_lu_state *st = &nlu->ll->st;
	if (nlu->gone)
		return scsi_sense(t, SENSE_COPY_TARGET_UNREACHABLE);
	if (nlu->pr_deny & (1u << (write ? PRC_WRITE : PRC_READ)))
		return copy_refuse_reserved(t, nlu);
	if (st->gone || st->stopped || st->ejected || st->formatting || st->sanitizing ||
	    st->sanitize_failed)
		return scsi_sense(t, SENSE_COPY_TARGET_FAILED);
	if (write && (st->read_only || nlu->read_only))
		return scsi_sense(t, SENSE_WRITE_PROTECTED);
	if (write && st->mode.swp)
		return scsi_sense(t, SENSE_WRITE_PROTECTED_SOFTWARE);
	if (blocks > st->blocks || lba > st->blocks - blocks)
		return scsi_sense(t, SENSE_COPY_ABORTED);
	return true;
}

static bool
copy_list_of(struct scsi_task *t, struct copy_list *ret)
{
	size_t len;
	const uint8_t *p = scsi_task_params(t, &len);
	return copy_parse(t, p, len, ret);
}

/* Everything is checked before anything is written. *ret_blocks: of the longest segment, in bytes. */
static bool
copy_check_all(struct scsi_task *t, const struct copy_list *l, uint64_t *ret_bytes_max)
{
	*ret_bytes_max = 0;
	for (uint32_t i = 0; i < l->segment_count; i++) {
		struct copy_segment s;
		if (!copy_parse_segment(t, l, i, &s))
			return false;
		if (!copy_check(t, s.src, false, s.src_lba, s.blocks) ||
		    !copy_check(t, s.dst, true, s.dst_lba, s.blocks))
			return false;
		uint64_t bytes = (uint64_t)s.blocks << s.src->lu->block_shift;
		if (bytes > *ret_bytes_max)
			*ret_bytes_max = bytes;
	}
	return true;
}

/* ---- start and end ------------------------------------------------------------------------ */

/* False: the task's status is set. */
static bool
copy_begin(struct scsi_task *t, const struct copy_list *l)
{
	struct scsi_nexus *n = t->nexus;
	if (l->list_id_usage != COPY_LIST_ID_NONE) {
		struct scsi_copy *old = copy_results_find(n, t->nlu->lu, l->list_id);
		if (old && old->state == SCSI_COPY_ACTIVE)
			return scsi_sense(t, SENSE_OPERATION_IN_PROGRESS);
		if (old)
			old->state = SCSI_COPY_FREE;
	}
	struct scsi_copy *c = copy_results_take(n);
	if (!c) {
		t->status = SCSI_BUSY;
		return false;
	}
	c->state = SCSI_COPY_ACTIVE;
	c->task = t;
	c->lu = t->nlu->lu;
	c->has_list_id = l->list_id_usage != COPY_LIST_ID_NONE;
	c->keep = l->list_id_usage == COPY_LIST_ID_HOLD;
	c->list_id = l->list_id;
	list_init(&c->guest.link);
	loop_defer_init(&c->yield, copy_again);
	t->priv = c;
	return true;
}

void
copy_extended(struct scsi_task *t)
{
	if (t->xfer_bytes == 0) { /* SPC-4 6.3.1: not an error */
		scsi_task_good(t);
		return;
	}
	struct copy_list l;
	uint64_t bytes_max;
	if (!copy_list_of(t, &l) || !copy_check_all(t, &l, &bytes_max) || !copy_begin(t, &l)) {
		scsi_task_fail(t);
		return;
	}
	if (bytes_max == 0)
		copy_next(t);
	else
		scsi_task_get_sg2(
		    t, bytes_max < COPY_PIECE_BYTES ? bytes_max : COPY_PIECE_BYTES, copy_next);
}

/* The units of the segment that the copy is in. They stay until it means others, also if the view of
 * the nexus loses them (it fails at its next look at them then). */
static void
copy_mean(struct scsi_copy *c, struct scsi_nexus_lu *src, struct scsi_nexus_lu *dst)
{
	struct scsi_nexus_lu *old[] = {c->src, c->dst};
	c->src = src;
	c->dst = dst;
	if (src != NULL) {
		src->copies++;
		dst->copies++;
	}
	for (unsigned i = 0; i < 2; i++) {
		if (old[i] == NULL)
			continue;
		ASSERT(old[i]->copies > 0);
		old[i]->copies--;
		scsi_nexus_lu_check(old[i]);
	}
}

void
scsi_copies_forget(struct scsi_nexus *n, const struct scsi_lu *lu)
{
	for (unsigned i = 0; i < SCSI_COPIES_MAX; i++)
		if (n->copies[i].state == SCSI_COPY_ENDED && n->copies[i].lu == lu)
			n->copies[i].state = SCSI_COPY_FREE;
}

void
copy_extended_cleanup(struct scsi_task *t)
{
	struct scsi_copy *c = t->priv;
	if (!c)
		return;
	t->priv = NULL;
	ASSERT(c->state == SCSI_COPY_ACTIVE && list_empty(&c->guest.link));
	loop_defer_cancel(&c->yield);
	if (c->lock)
		scsi_lock_release(c->lock);
	c->lock = NULL;
	copy_mean(c, NULL, NULL);
	c->task = NULL;
	if (!c->keep) {
		c->state = SCSI_COPY_FREE;
		return;
	}
	c->state = SCSI_COPY_ENDED;
	c->status = t->aborted ? SCSI_TASK_ABORTED : t->status;
	c->sense_len = c->status == SCSI_CHECK_CONDITION ? t->sense_len : 0;
	memcpy(c->sense, t->sense, c->sense_len);
}

/* ---- I/O on the task's own unit and on others ------------------------------------------------ */

static void
guest_done(struct blk_io *io)
{
	struct scsi_task *t = container_of(io, struct scsi_task, io);
	struct scsi_copy *c = t->priv;
	bool wrote = io->op == BLK_WRITE;
	struct scsi_lu_loop *ll = wrote ? c->dst->ll : c->src->ll;
	scsi_guest_leave(ll, &c->guest);
	if (!scsi_task_continue(t))
		return;
	if (wrote)
		copy_write_done(t);
	else
		copy_read_done(t);
}

static void
copy_io(
    struct scsi_task *t, struct scsi_nexus_lu *nlu, enum blk_op op, uint32_t flags, uint64_t lba)
{
	struct scsi_copy *c = t->priv;
	struct scsi_lu *lu = nlu->lu;
	if (nlu == t->nlu) {
		scsi_task_blk(t, op, flags, lba, c->piece, &t->sg2,
		    op == BLK_WRITE ? copy_write_done : copy_read_done);
		return;
	}
	scsi_guest_enter(nlu->ll, &c->guest);
	scsi_task_suspend(t);
	t->io = (struct blk_io){
	    .op = op,
	    .flags = flags,
	    .offset_bytes = lba << lu->block_shift,
	    .len_bytes = (uint64_t)c->piece << lu->block_shift,
	    .sg = &t->sg2,
	    .done = guest_done,
	};
	blk_submit(lu->blk, &t->io);
}

/* Out of space is said as it is (initiators pause the guest then), all else as a copy that failed. */
static void
copy_io_failed(struct scsi_task *t)
{
	if (t->io.result == -ENOSPC)
		scsi_sense_errno(t, t->io.result, BLK_WRITE, 0);
	else
		scsi_sense(t, SENSE_COPY_TARGET_FAILED);
	scsi_task_fail(t);
}

/* As for a WRITE without FUA: GOOD means durable where WCE is zero. */
static uint32_t
copy_write_flags(const struct scsi_nexus_lu *nlu)
{
	bool is_volatile = nlu->lu->caps & BLK_CAP_VOLATILE;
	return is_volatile && !nlu->ll->st.mode.wce ? BLK_FUA : 0;
}

/* ---- the pieces ------------------------------------------------------------------------------------ */

/* The next segment with blocks in it. False: there is none. */
static bool
copy_load_segment(struct scsi_task *t, bool *ret_failed)
{
	struct scsi_copy *c = t->priv;
	struct copy_list l;
	struct copy_segment s;
	bool ok = copy_list_of(t, &l);
	ASSERT(ok);
	for (; c->segments_done < l.segment_count; c->segments_done++) {
		/* The range may have left a unit that shrank. */
		*ret_failed = !copy_parse_segment(t, &l, c->segments_done, &s);
		if (*ret_failed)
			return false;
		if (s.blocks == 0)
			continue;
		copy_mean(c, s.src, s.dst);
		c->src_lba = s.src_lba;
		c->dst_lba = s.dst_lba;
		c->blocks = s.blocks;
		c->done = 0;
		c->backward = s.src->lu == s.dst->lu && s.dst_lba > s.src_lba &&
		              s.dst_lba - s.src_lba < s.blocks;
		return true;
	}
	return false;
}

/* Offset of the piece in its segment. */
static uint32_t
copy_at(const struct scsi_copy *c)
{
	return c->backward ? c->blocks - c->done - c->piece : c->done;
}

static void
copy_next(struct scsi_task *t)
{
	struct scsi_copy *c = t->priv;
	bool failed = false;
	if (c->done == c->blocks && !copy_load_segment(t, &failed)) {
		if (failed)
			scsi_task_fail(t);
		else
			scsi_task_good(t);
		return;
	}
	uint32_t piece_max = (uint32_t)(t->sg2.len_bytes >> c->dst->lu->block_shift);
	uint32_t left = c->blocks - c->done;
	c->piece = left < piece_max ? left : piece_max;
	ASSERT(c->piece > 0);
	copy_lock(t);
}

static void
copy_lock(struct scsi_task *t)
{
	struct scsi_copy *c = t->priv;
	ASSERT(!c->lock);
	c->lock = scsi_lock_acquire(t, c->dst->lu, c->dst_lba + copy_at(c), c->piece, copy_locked);
	if (!c->lock)
		scsi_task_status(t, SCSI_BUSY);
	else
		scsi_task_suspend(t);
}

static void
copy_locked(struct scsi_lock *k)
{
	struct scsi_task *t = k->owner;
	struct scsi_copy *c = t->priv;
	if (!scsi_task_continue(t))
		return;
	uint64_t lba = c->src_lba + copy_at(c);
	if (copy_check(t, c->src, false, lba, c->piece))
		copy_io(t, c->src, BLK_READ, 0, lba);
	else
		scsi_task_fail(t);
}

static void
copy_read_done(struct scsi_task *t)
{
	struct scsi_copy *c = t->priv;
	uint64_t lba = c->dst_lba + copy_at(c);
	if (t->io.result != 0)
		copy_io_failed(t);
	else if (copy_check(t, c->dst, true, lba, c->piece))
		copy_io(t, c->dst, BLK_WRITE, copy_write_flags(c->dst), lba);
	else
		scsi_task_fail(t);
}

static void
copy_write_done(struct scsi_task *t)
{
	struct scsi_copy *c = t->priv;
	if (t->io.result != 0) {
		copy_io_failed(t);
		return;
	}
	scsi_lock_release(c->lock);
	c->lock = NULL;
	c->done += c->piece;
	c->bytes_done += (uint64_t)c->piece << c->dst->lu->block_shift;
	if (c->done == c->blocks)
		c->segments_done++;
	/* Others of this loop have their turn between two pieces. */
	scsi_task_suspend(t);
	loop_next_turn(t->nexus->loop, &c->yield);
}

static void
copy_again(struct loop_defer *d)
{
	struct scsi_task *t = container_of(d, struct scsi_copy, yield)->task;
	if (scsi_task_continue(t))
		copy_next(t);
}

/* ---- guests ------------------------------------------------------------------------------------------ */

void
scsi_guest_enter(struct scsi_lu_loop *ll, struct scsi_guest *g)
{
	ASSERT(list_empty(&g->link));
	g->drain = false;
	list_push_back(&ll->guests, &g->link);
}

void
scsi_guest_leave(struct scsi_lu_loop *ll, struct scsi_guest *g)
{
	ASSERT(!list_empty(&g->link));
	list_remove(&g->link);
	if (!g->drain)
		return;
	ASSERT(ll->drain_left > 0);
	ll->drain_left--;
	scsi_change_drained(ll);
}
