/* SPDX-License-Identifier: BSD-2-Clause */
/* PERSISTENT RESERVE IN: from this loop's copy, which is as new as any answer given here. */
#include "scsi/pr.h"

#include <stdlib.h>

#define FULL_STATUS_HEAD_BYTES 24u

bool
pr_in_prepare(struct scsi_task *t)
{
	t->xfer_bytes = load_be16(t->cdb + 7);
	return true;
}

/* SPC-2 5.5.1: with RESERVE in force PERSISTENT RESERVE IN conflicts, also for its holder. */
static const struct pr_state *
readable_state(struct scsi_task *t)
{
	const struct pr_state *st = t->nlu->ll->pr->st;

	ASSERT(st->count <= SCSI_PR_REGISTRATIONS_MAX);
	if (st->spc2_nexus == 0)
		return st;
	scsi_task_status(t, SCSI_RESERVATION_CONFLICT);
	return NULL;
}

/* SPC-4 6.15.2. */
void
pr_in_read_keys(struct scsi_task *t)
{
	uint8_t buf[8 + 8 * SCSI_PR_REGISTRATIONS_MAX];
	const struct pr_state *st = readable_state(t);

	if (!st)
		return;
	store_be32(buf, st->generation);
	store_be32(buf + 4, 8 * st->count);
	for (uint32_t i = 0; i < st->count; i++)
		store_be64(buf + 8 + 8 * i, st->regs[i].key);
	scsi_task_reply(t, buf, 8 + 8 * (size_t)st->count);
}

/* SPC-4 6.15.3; the scope is always LU_SCOPE, 0. */
void
pr_in_read_reservation(struct scsi_task *t)
{
	uint8_t buf[24] = {0};
	const struct pr_state *st = readable_state(t);

	if (!st)
		return;
	store_be32(buf, st->generation);
	if (st->type == PR_NONE) {
		scsi_task_reply(t, buf, 8);
		return;
	}
	store_be32(buf + 4, 16);
	if (st->holder != PR_NO_HOLDER)
		store_be64(buf + 8, st->regs[st->holder].key);
	buf[21] = st->type;
	scsi_task_reply(t, buf, sizeof(buf));
}

/* SPC-4 6.15.4. */
void
pr_in_report_capabilities(struct scsi_task *t)
{
	enum {
		RLR_C = 0x80, /* REPLACE LOST RESERVATION */
		CRH = 0x10,
		SIP_C = 0x08,
		ATP_C = 0x04,
		PTPL_C = 0x01,
		TMV = 0x80,
		/* 011b: TEST UNIT READY through all types, MODE SENSE and such through write exclusive */
		ALLOW_COMMANDS = 0x30,
		PTPL_A = 0x01,
	};
	const struct pr_state *st = readable_state(t);

	if (!st)
		return;
	bool can_persist = scsi_task_lu(t)->core->persist.save != NULL;
	uint8_t buf[8] = {
	    0, 8, (uint8_t)(RLR_C | CRH | SIP_C | ATP_C | (can_persist ? PTPL_C : 0)),
	    (uint8_t)(TMV | ALLOW_COMMANDS | (st->aptpl ? PTPL_A : 0)), 0xea,
	    0x01, /* types 7, 6, 5, 3, 1; 8 */
	};
	scsi_task_reply(t, buf, sizeof(buf));
}

/* One full status descriptor, table 210; returns its length. */
static size_t
full_status(const struct pr_state *st, uint32_t i, uint8_t *p)
{
	const struct pr_reg *r = &st->regs[i];

	memset(p, 0, FULL_STATUS_HEAD_BYTES);
	store_be64(p, r->key);
	if (pr_state_is_holder(st, (int)i)) {
		p[12] = 0x01; /* R_HOLDER; each target port has its own registration: ALL_TG_PT=0 */
		p[13] = st->type;
	}
	store_be16(p + 18, r->rel_port);
	store_be32(p + 20, r->tid.len);
	memcpy(p + FULL_STATUS_HEAD_BYTES, r->tid.b, r->tid.len);
	return FULL_STATUS_HEAD_BYTES + r->tid.len;
}

/* SPC-4 6.15.5. */
void
pr_in_read_full_status(struct scsi_task *t)
{
	const struct pr_state *st = readable_state(t);

	if (!st)
		return;
	uint8_t *buf =
	    malloc(8 + (size_t)st->count * (FULL_STATUS_HEAD_BYTES + SCSI_TRANSPORT_ID_MAX));
	if (!buf) {
		scsi_task_status(t, SCSI_BUSY);
		return;
	}
	size_t at = 8;
	for (uint32_t i = 0; i < st->count; i++)
		at += full_status(st, i, buf + at);
	store_be32(buf, st->generation);
	store_be32(buf + 4, (uint32_t)(at - 8));
	scsi_task_reply(t, buf, at);
	free(buf);
}
