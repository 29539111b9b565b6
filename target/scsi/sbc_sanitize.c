/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * SANITIZE and FORMAT UNIT: a job of the unit that erases it from end to end.
 *
 *	origin: execute ─▶ change "begin" (all loops refuse others, older tasks drained)
 *	home:   pass after pass, piece after piece ─▶ change "end" ─▶ origin: the task's answer
 *
 * A SANITIZE is kept from before "begin" to the "end" of one that succeeded: after a restart the unit says
 * that it failed and shows nothing. It isn't taken up again by itself as SBC-4 4.11.2 has it, since a state
 * directory put back from a backup would then erase a unit that is in use again.
 *
 * The job belongs to the unit, not to the task: aborts, resets and the loss of the nexus end the
 * task only (SBC-3 4.11), as the poll of a waiting task finds out. `task`, `answered` and `finished`
 * are touched on the origin loop alone; the memory is freed there by whoever comes last, the job's
 * last message or the task's cleanup.
 */
#include <errno.h>
#include <stdlib.h>

#include "scsi/sbc_priv.h"

#define PROGRESS_STEP 256u /* of 65536; and not more often than */
#define PROGRESS_NS UINT64_C(100000000)
/* How long an aborted SANITIZE that isn't IMMED may go unnoticed. */
#define ABORT_POLL_NS UINT64_C(20000000)

enum erase_kind {
	ERASE_OVERWRITE, /* the pattern, `passes` times */
	ERASE_BLOCKS,    /* zeros over every copy of the data, then the space goes back */
	ERASE_FORMAT,    /* reads as zeros, the cheapest way */
	ERASE_EXIT,      /* no job: EXIT FAILURE MODE */
};

struct erase_job {
	struct scsi_lu *lu;
	enum erase_kind kind;
	unsigned passes;
	bool invert; /* every second pass */
	bool immed;
	bool ause;
	bool refused; /* nothing was begun */
	struct sanitize_keep keep;
	uint32_t pattern_bytes;
	uint8_t pattern[4096];
	struct scsi_change change; /* begin on the origin, then progress and end on the home loop */
	struct loop *origin;
	struct loop_msg msg;
	/* origin loop */
	struct scsi_task *task; /* NULL: it has ended */
	bool answered;          /* it ends already, and only has to be cleaned up */
	bool finished;
	struct loop_timer poll;
	/* home loop; `result` is handed over with the last message */
	struct blk_io io;
	struct blk_sg sg; /* one piece of the pattern */
	struct loop_bufwait wait;
	unsigned pass;
	uint64_t at;       /* in blocks, within the pass */
	uint16_t progress; /* as last told to the loops */
	uint64_t progress_ns;
	bool telling; /* the progress change is under way */
	bool over;
	int result;
};

static void begin_kept(struct sanitize_keep *k, int result);
static void exit_kept(struct sanitize_keep *k, int result);
static void begin_done(struct scsi_change *c);
static void poll_abort(struct loop_timer *timer);
static void job_start(struct loop_msg *m);
static void job_pass(struct erase_job *j);
static void job_buffer(struct loop_bufwait *w);
static void job_step(struct erase_job *j);
static void job_step_done(struct blk_io *io);
static void job_flushed(struct blk_io *io);
static void job_end(struct erase_job *j, int result);
static void end_kept(struct sanitize_keep *k, int result);
static void end_done(struct scsi_change *c);
static void job_finished(struct loop_msg *m);

bool
sbc_sanitize_supported(const struct scsi_lu *lu)
{
	return lu->sanitize;
}

/* What is erased reads as unmapped afterwards: only where blocks can be unmapped. */
bool
sbc_block_erase_supported(const struct scsi_lu *lu)
{
	return lu->sanitize && lu->thin;
}

void
sbc_erase_cleanup(struct scsi_task *t)
{
	struct erase_job *j = t->priv;
	t->priv = NULL;
	if (j == NULL)
		return;
	if (j->finished)
		free(j);
	else
		j->task = NULL;
}

/* ---- the task's side -------------------------------------------------------------------------- */

/* False, with sense, while a job runs. SANITIZE itself passes the unit's state check, so that it can
 * end the state of a failed one. */
static bool
not_busy(struct scsi_task *t)
{
	const struct scsi_lu_state *st = &t->nlu->ll->st;
	if (st->sanitizing)
		return scsi_sense_progress(t, SENSE_NOT_READY_SANITIZE, st->progress);
	if (st->formatting)
		return scsi_sense_progress(t, SENSE_NOT_READY_FORMAT, st->progress);
	return true;
}

static enum scsi_decision
begin_decide(struct scsi_change *c)
{
	struct erase_job *j = container_of(c, struct erase_job, change);
	if (j->lu->sanitize_job != NULL || j->lu->destroying)
		return CHANGE_REFUSED;
	j->lu->sanitize_job = j;
	j->keep.done = begin_kept;
	if (j->kind != ERASE_FORMAT && sbc_sanitize_keep(j->lu, j->ause, &j->keep))
		return CHANGE_PENDING;
	return CHANGE_GO;
}

static void
begin_kept(struct sanitize_keep *k, int result)
{
	struct erase_job *j = container_of(k, struct erase_job, keep);
	j->result = result;
	if (result < 0)
		j->lu->sanitize_job = NULL;
	scsi_change_decided(&j->change, result < 0 ? CHANGE_REFUSED : CHANGE_GO);
	if (result < 0)
		scsi_lu_job_ended(j->lu);
}

static void
begin_apply(struct scsi_change *c, struct scsi_lu_loop *ll)
{
	const struct erase_job *j = container_of(c, struct erase_job, change);
	ll->st.progress = 0;
	if (j->kind == ERASE_FORMAT) {
		ll->st.formatting = true;
	} else {
		ll->st.sanitizing = true;
		ll->st.sanitize_failed = false;
	}
}

static enum scsi_decision
exit_decide(struct scsi_change *c)
{
	struct erase_job *j = container_of(c, struct erase_job, change);
	j->keep.done = exit_kept;
	return sbc_sanitize_forget(j->lu, &j->keep) ? CHANGE_PENDING : CHANGE_GO;
}

static void
exit_kept(struct sanitize_keep *k, int result)
{
	struct erase_job *j = container_of(k, struct erase_job, keep);
	j->result = result;
	scsi_change_decided(&j->change, result < 0 ? CHANGE_REFUSED : CHANGE_GO);
}

static void
exit_apply(struct scsi_change *c, struct scsi_lu_loop *ll)
{
	(void)c;
	ll->st.sanitize_failed = false;
}

static void
exit_done(struct scsi_change *c)
{
	struct erase_job *j = container_of(c, struct erase_job, change);
	j->refused = c->refused;
	job_finished(&j->msg);
}

static struct erase_job *
job_create(struct scsi_task *t, enum erase_kind kind)
{
	struct erase_job *j = calloc(1, sizeof *j);
	if (j == NULL) {
		scsi_task_status(t, SCSI_BUSY);
		return NULL;
	}
	j->lu = scsi_task_lu(t);
	j->kind = kind;
	j->passes = 1;
	j->immed = kind != ERASE_FORMAT && (t->cdb[1] & 0x80) != 0;
	j->ause = (t->cdb[1] & 0x20) != 0;
	j->origin = t->nexus->loop;
	j->task = t;
	loop_timer_init(&j->poll, j->origin, poll_abort);
	t->priv = j;
	return j;
}

static void
job_submit(struct erase_job *j)
{
	j->change = (struct scsi_change){.lu = j->lu,
	    .decide = begin_decide,
	    .apply = begin_apply,
	    .done = begin_done,
	    .drain = true};
	scsi_task_suspend(j->task);
	scsi_change_submit(&j->change);
}

/* On the origin loop: everybody is locked out and what ran is done. */
static void
begin_done(struct scsi_change *c)
{
	struct erase_job *j = container_of(c, struct erase_job, change);
	j->refused = c->refused;
	if (c->refused) {
		if (j->result == 0)
			j->result = -EBUSY;
		job_finished(&j->msg);
		return;
	}
	struct scsi_task *t = j->task;
	if (j->immed) {
		j->answered = true;
		if (scsi_task_continue(t))
			scsi_task_good(t);
	} else {
		loop_timer_set(&j->poll, ABORT_POLL_NS);
	}
	j->msg.run = job_start;
	loop_send(j->lu->core->loops[0], &j->msg);
}

/* The task waits for the job, which an abort doesn't end: the task ends without it. */
static void
poll_abort(struct loop_timer *timer)
{
	struct erase_job *j = container_of(timer, struct erase_job, poll);
	if (j->task == NULL)
		return;
	if (!scsi_task_is_aborted(j->task)) {
		loop_timer_set(&j->poll, ABORT_POLL_NS);
		return;
	}
	j->answered = true;
	scsi_task_continue(j->task);
}

static void
task_failed(struct scsi_task *t, const struct erase_job *j)
{
	if (j->result == -EBUSY)
		scsi_sense_progress(t,
		    t->nlu->ll->st.formatting ? SENSE_NOT_READY_FORMAT : SENSE_NOT_READY_SANITIZE,
		    t->nlu->ll->st.progress);
	else if (j->refused)
		scsi_sense(t, SENSE_INTERNAL_FAILURE);
	else if (j->kind == ERASE_FORMAT)
		scsi_sense_errno(t, j->result, BLK_WRITE, 0);
	else
		scsi_sense(t, SENSE_SANITIZE_FAILED);
	scsi_task_fail(t);
}

/* On the origin loop, last. */
static void
job_finished(struct loop_msg *m)
{
	struct erase_job *j = container_of(m, struct erase_job, msg);
	struct scsi_task *t = j->task;
	ASSERT(loop_is_current(j->origin));
	loop_timer_cancel(&j->poll);
	j->finished = true;
	if (t == NULL) {
		free(j);
		return;
	}
	/* From here on the task's cleanup frees it. */
	if (j->answered || !scsi_task_continue(t))
		return;
	if (j->result == 0)
		scsi_task_good(t);
	else
		task_failed(t, j);
}

/* ---- the home loop's side ------------------------------------------------------------------------ */

static void
job_start(struct loop_msg *m)
{
	struct erase_job *j = container_of(m, struct erase_job, msg);
	ASSERT(loop_is_current(j->lu->core->loops[0]) && j->lu->sanitize_job == j);
	loop_bufwait_init(&j->wait, job_buffer);
	j->progress_ns = loop_now_ns(loop_current());
	job_pass(j);
}

static bool
pass_writes(const struct erase_job *j)
{
	return j->kind == ERASE_OVERWRITE || (j->kind == ERASE_BLOCKS && j->pass == 0);
}

/* Begins the pass: the pattern's buffer first, where it writes one. */
static void
job_pass(struct erase_job *j)
{
	j->at = 0;
	if (pass_writes(j))
		job_buffer(&j->wait);
	else
		job_step(j);
}

static void
job_buffer(struct loop_bufwait *w)
{
	struct erase_job *j = container_of(w, struct erase_job, wait);
	struct loop *home = j->lu->core->loops[0];
	const uint32_t block_bytes = j->lu->id.block_bytes;
	if (j->lu->destroying) {
		job_end(j, -ECANCELED);
		return;
	}
	if (j->sg.len_bytes == 0 && blk_sg_get_plain(home, &j->sg, SBC_PIECE_BYTES) < 0) {
		loop_bufwait_queue(home, w);
		return;
	}
	/* The pattern starts anew in each block (SBC-3, initialization pattern). */
	uint8_t block[4096] = {0};
	const bool inverted = j->invert && j->pass % 2 == 1;
	for (uint32_t i = 0; i < block_bytes && j->pattern_bytes > 0; i++) {
		const uint8_t b = j->pattern[i % j->pattern_bytes];
		block[i] = inverted ? (uint8_t)~b : b;
	}
	for (uint64_t at = 0; at < SBC_PIECE_BYTES; at += block_bytes)
		blk_sg_copy_in(&j->sg, at, block, block_bytes);
	job_step(j);
}

static void
job_io(struct erase_job *j, enum blk_op op, uint32_t flags, uint64_t blocks,
    void (*done)(struct blk_io *io))
{
	const uint32_t shift = j->lu->block_shift;
	if (op != BLK_FLUSH && (j->lu->caps & BLK_CAP_VOLATILE) != 0)
		flags |= BLK_FUA;
	j->io = (struct blk_io){.op = op,
	    .flags = flags,
	    .offset_bytes = j->at << shift,
	    .len_bytes = blocks << shift,
	    .sg = op == BLK_WRITE ? &j->sg : NULL,
	    .done = done};
	blk_submit(j->lu->blk, &j->io);
}

static uint64_t
piece_blocks(const struct erase_job *j)
{
	const uint32_t bytes = pass_writes(j) ? SBC_PIECE_BYTES : SBC_ZERO_PIECE_BYTES;
	const uint64_t left = j->lu->ll[0].st.blocks - j->at, n = bytes >> j->lu->block_shift;
	return left < n ? left : n;
}

static void
job_step(struct erase_job *j)
{
	const struct scsi_lu *lu = j->lu;
	if (lu->destroying) {
		job_end(j, -ECANCELED);
		return;
	}
	/* The unit may grow or shrink under the job: what is there at the end of a pass counts. */
	if (j->at >= lu->ll[0].st.blocks) {
		if (++j->pass < j->passes)
			job_pass(j);
		else
			job_io(j, BLK_FLUSH, 0, 0, job_flushed);
		return;
	}
	if (pass_writes(j))
		job_io(j, BLK_WRITE, 0, piece_blocks(j), job_step_done);
	else if (lu->thin && (lu->caps & BLK_CAP_UNMAP_ZEROES) != 0)
		job_io(j, BLK_UNMAP, 0, piece_blocks(j), job_step_done);
	else
		job_io(j, BLK_WRITE_ZEROES, lu->thin ? 0 : BLK_NO_UNMAP, piece_blocks(j),
		    job_step_done);
}

/* ---- progress ---------------------------------------------------------------------------------- */

static void
progress_apply(struct scsi_change *c, struct scsi_lu_loop *ll)
{
	ll->st.progress = container_of(c, struct erase_job, change)->progress;
}

static void
progress_done(struct scsi_change *c)
{
	struct erase_job *j = container_of(c, struct erase_job, change);
	j->telling = false;
	if (j->over)
		job_end(j, j->result);
}

static void
tell_progress(struct erase_job *j)
{
	const uint64_t blocks = j->lu->ll[0].st.blocks;
	const uint64_t unit = blocks * j->passes / 65536 + 1;
	const uint64_t p = (blocks * j->pass + j->at) / unit;
	const uint64_t now = loop_now_ns(loop_current());
	if (j->telling || p < j->progress + PROGRESS_STEP || now < j->progress_ns + PROGRESS_NS)
		return;
	j->progress = p < UINT16_MAX ? (uint16_t)p : UINT16_MAX;
	j->progress_ns = now;
	j->telling = true;
	j->change =
	    (struct scsi_change){.lu = j->lu, .apply = progress_apply, .done = progress_done};
	scsi_change_submit(&j->change);
}

static void
job_step_done(struct blk_io *io)
{
	struct erase_job *j = container_of(io, struct erase_job, io);
	if (io->result < 0) {
		job_end(j, io->result);
		return;
	}
	j->at += io->len_bytes >> j->lu->block_shift;
	tell_progress(j);
	job_step(j);
}

static void
job_flushed(struct blk_io *io)
{
	job_end(container_of(io, struct erase_job, io), io->result);
}

/* ---- the end -------------------------------------------------------------------------------------- */

/* What a restart would take for unfinished is forgotten before anybody is let in. */
static enum scsi_decision
end_decide(struct scsi_change *c)
{
	struct erase_job *j = container_of(c, struct erase_job, change);
	j->keep.done = end_kept;
	if (j->kind != ERASE_FORMAT && j->result == 0 && sbc_sanitize_forget(j->lu, &j->keep))
		return CHANGE_PENDING;
	return CHANGE_GO;
}

static void
end_kept(struct sanitize_keep *k, int result)
{
	struct erase_job *j = container_of(k, struct erase_job, keep);
	j->result = result;
	scsi_change_decided(&j->change, CHANGE_GO);
}

static void
end_apply(struct scsi_change *c, struct scsi_lu_loop *ll)
{
	const struct erase_job *j = container_of(c, struct erase_job, change);
	ll->st.progress = 0;
	ll->st.formatting = false;
	ll->st.sanitizing = false;
	if (j->kind != ERASE_FORMAT && j->result < 0) {
		ll->st.sanitize_failed = true;
		ll->st.sanitize_restricted = !j->ause;
	}
}

static void
job_end(struct erase_job *j, int result)
{
	j->result = result;
	j->over = true;
	if (j->telling)
		return; /* its done comes back here */
	blk_sg_put(&j->sg);
	j->change = (struct scsi_change){
	    .lu = j->lu, .decide = end_decide, .apply = end_apply, .done = end_done};
	scsi_change_submit(&j->change);
}

static void
end_done(struct scsi_change *c)
{
	struct erase_job *j = container_of(c, struct erase_job, change);
	struct scsi_lu *lu = j->lu;
	j->msg.run = job_finished;
	loop_send(j->origin, &j->msg);
	lu->sanitize_job = NULL;
	scsi_lu_job_ended(lu);
}

/* ---- SANITIZE --------------------------------------------------------------------------------------- */

#define SANITIZE_LENGTH_BYTE 7
#define OVERWRITE_HEADER_BYTES 4u

bool
sbc_prepare_overwrite(struct scsi_task *t)
{
	const uint32_t len = load_be16(t->cdb + SANITIZE_LENGTH_BYTE);
	const uint32_t block_bytes = scsi_task_lu(t)->id.block_bytes;
	/* The header and one byte at least, one block of pattern at most. */
	if (len <= OVERWRITE_HEADER_BYTES || len > OVERWRITE_HEADER_BYTES + block_bytes)
		return scsi_sense_cdb(t, SANITIZE_LENGTH_BYTE, -1);
	t->xfer_bytes = len;
	return not_busy(t);
}

/* SBC-3, SANITIZE, overwrite service action parameter list. */
static bool
overwrite_check(struct scsi_task *t, const uint8_t *p, size_t len)
{
	if (len < t->xfer_bytes)
		return scsi_sense(t, SENSE_PARAM_LIST_LENGTH);
	if ((p[0] & 0x60) != 0) /* TEST: vendor specific */
		return scsi_sense_param(t, 0, 6);
	if ((p[0] & 0x1f) == 0) /* OVERWRITE COUNT */
		return scsi_sense_param(t, 0, 4);
	const uint32_t pattern_bytes = load_be16(p + 2);
	if (pattern_bytes == 0 || pattern_bytes > len - OVERWRITE_HEADER_BYTES)
		return scsi_sense_param(t, 2, -1);
	return true;
}

void
sbc_overwrite(struct scsi_task *t)
{
	size_t len;
	const uint8_t *p = scsi_task_params(t, &len);
	if (!overwrite_check(t, p, len)) {
		scsi_task_fail(t);
		return;
	}
	struct erase_job *j = job_create(t, ERASE_OVERWRITE);
	if (j == NULL)
		return;
	j->invert = (p[0] & 0x80) != 0;
	j->passes = p[0] & 0x1f;
	j->pattern_bytes = load_be16(p + 2);
	ASSERT(j->pattern_bytes <= sizeof j->pattern);
	memcpy(j->pattern, p + OVERWRITE_HEADER_BYTES, j->pattern_bytes);
	job_submit(j);
}

bool
sbc_prepare_no_params(struct scsi_task *t)
{
	if (load_be16(t->cdb + SANITIZE_LENGTH_BYTE) != 0)
		return scsi_sense_cdb(t, SANITIZE_LENGTH_BYTE, -1);
	return not_busy(t);
}

void
sbc_block_erase(struct scsi_task *t)
{
	struct erase_job *j = job_create(t, ERASE_BLOCKS);
	if (j == NULL)
		return;
	j->passes = 2;
	job_submit(j);
}

void
sbc_exit_failure_mode(struct scsi_task *t)
{
	const struct scsi_lu_state *st = &t->nlu->ll->st;
	if (!st->sanitize_failed) {
		scsi_task_good(t);
		return;
	}
	/* Without AUSE only a SANITIZE that succeeds gets the unit out (SBC-3 4.11). */
	if (st->sanitize_restricted) {
		scsi_sense(t, SENSE_SANITIZE_FAILED);
		scsi_task_fail(t);
		return;
	}
	struct erase_job *j = job_create(t, ERASE_EXIT);
	if (j == NULL)
		return;
	j->change = (struct scsi_change){
	    .lu = j->lu, .decide = exit_decide, .apply = exit_apply, .done = exit_done};
	scsi_task_suspend(t);
	scsi_change_submit(&j->change);
}

/* ---- FORMAT UNIT -------------------------------------------------------------------------------------- */

#define FORMAT_FMTDATA 0x10u
#define FORMAT_LONGLIST 0x20u

bool
sbc_prepare_format(struct scsi_task *t)
{
	if ((t->cdb[1] & FORMAT_FMTDATA) != 0)
		t->xfer_bytes = (t->cdb[1] & FORMAT_LONGLIST) != 0 ? 8 : 4;
	return true;
}

/* SBC-3, FORMAT UNIT parameter list: no protection information, no defects, no pattern. */
static bool
format_check(struct scsi_task *t, const uint8_t *p, size_t len)
{
	if (len < t->xfer_bytes)
		return scsi_sense(t, SENSE_PARAM_LIST_LENGTH);
	if (p[0] != 0)
		return scsi_sense_param(t, 0, -1);
	if ((p[1] & 0x08) != 0) /* IP */
		return scsi_sense_param(t, 1, 3);
	/* Short header: DEFECT LIST LENGTH in bytes 2–3; long one: P_I_INFORMATION and 4–7. */
	if (load_be16(p + 2) != 0)
		return scsi_sense_param(t, 2, -1);
	if (t->xfer_bytes == 8 && load_be32(p + 4) != 0)
		return scsi_sense_param(t, 4, -1);
	return true;
}

void
sbc_format(struct scsi_task *t)
{
	bool immed = false;
	if (t->xfer_bytes > 0) {
		size_t len;
		const uint8_t *p = scsi_task_params(t, &len);
		if (!format_check(t, p, len)) {
			scsi_task_fail(t);
			return;
		}
		immed = (p[1] & 0x02) != 0;
	}
	struct erase_job *j = job_create(t, ERASE_FORMAT);
	if (j == NULL)
		return;
	j->immed = immed;
	job_submit(j);
}
