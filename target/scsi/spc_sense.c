/* SPDX-License-Identifier: BSD-2-Clause */
/* REQUEST SENSE and SEND DIAGNOSTIC (SPC-4 6.39, 6.42). */
#include "scsi/spc.h"

bool
spc_request_sense_prepare(struct scsi_task *t)
{
	t->xfer_bytes = t->cdb[4];
	return true;
}

/* What the unit has to say when no unit attention is pending. */
static enum scsi_sense
sense_of_state(const struct scsi_lu_state *st)
{
	if (st->formatting)
		return SENSE_NOT_READY_FORMAT;
	if (st->sanitizing)
		return SENSE_NOT_READY_SANITIZE;
	if (st->sanitize_failed)
		return SENSE_SANITIZE_FAILED;
	if (st->gone)
		return SENSE_NOT_READY_MANUAL;
	if (st->ejected)
		return SENSE_MEDIUM_NOT_PRESENT;
	if (st->stopped)
		return SENSE_NOT_READY_INITIALIZING_REQUIRED;
	return SENSE_NONE;
}

void
spc_request_sense(struct scsi_task *t)
{
	bool descriptor = t->cdb[1] & 0x01;
	uint8_t buf[SCSI_SENSE_MAX_BYTES];
	size_t len;
	if (!t->nlu) {
		enum scsi_sense s =
		    scsi_lun_is_report_luns(t->lun) ? SENSE_NONE : SENSE_LUN_NOT_SUPPORTED;
		len = scsi_sense_build(s, descriptor, buf);
		scsi_task_reply(t, buf, len);
		return;
	}
	len = scsi_ua_take_sense(t->nlu, descriptor, buf);
	if (len == 0) {
		const struct scsi_lu_state *st = &t->nlu->ll->st;
		enum scsi_sense s = sense_of_state(st);
		if (st->formatting || st->sanitizing)
			len = scsi_sense_build_progress(s, st->progress, descriptor, buf);
		else
			len = scsi_sense_build(s, descriptor, buf);
	}
	scsi_task_reply(t, buf, len);
}

/* ---- SEND DIAGNOSTIC ------------------------------------------------------------------------ */

#define DIAG_SELFTEST 0x04

/*
 * The default self-test is there, nothing else: no self-test codes (they'd run in the background),
 * no diagnostic pages.
 */
bool
spc_send_diagnostic_prepare(struct scsi_task *t)
{
	if (t->cdb[1] >> 5 != 0)
		return scsi_sense_cdb(t, 1, 7);
	if (t->cdb[1] & 0x10) /* PF */
		return scsi_sense_cdb(t, 1, 4);
	if (load_be16(t->cdb + 3) != 0)
		return scsi_sense_cdb(t, 3, -1);
	if (!(t->cdb[1] & DIAG_SELFTEST) && (t->cdb[1] & 0x03)) /* DEVOFFL, UNITOFFL without test */
		return scsi_sense_cdb(t, 1, 1);
	return true;
}

static void
self_test_read_done(struct scsi_task *t)
{
	if (t->io.result == 0) {
		scsi_task_good(t);
		return;
	}
	scsi_sense_errno(t, t->io.result, BLK_READ, 0);
	scsi_task_fail(t);
}

static void
self_test_read(struct scsi_task *t)
{
	scsi_task_blk(t, BLK_READ, 0, 0, 1, &t->sg2, self_test_read_done);
}

/* Reads the first block: the one thing that can be tested without side effects. */
void
spc_send_diagnostic(struct scsi_task *t)
{
	bool empty = t->nlu->ll->st.blocks == 0;
	if (!(t->cdb[1] & DIAG_SELFTEST) || empty)
		scsi_task_good(t);
	else
		scsi_task_get_sg2(t, t->nlu->lu->id.block_bytes, self_test_read);
}
