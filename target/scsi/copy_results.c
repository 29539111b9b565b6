/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * RECEIVE COPY RESULTS(LID1), SPC-4 6.20. A nexus remembers its last copies that had a list id, as
 * many as it can have active ones.
 */
#include "scsi/copy.h"

bool
copy_results_prepare(struct scsi_task *t)
{
	t->xfer_bytes = load_be32(t->cdb + 10);
	return true;
}

struct scsi_copy *
copy_results_find(struct scsi_nexus *n, const struct scsi_lu *lu, uint8_t list_id)
{
	for (unsigned i = 0; i < SCSI_COPIES_MAX; i++) {
		struct scsi_copy *c = &n->copies[i];
		if (c->state != SCSI_COPY_FREE && c->has_list_id && c->lu == lu &&
		    c->list_id == list_id)
			return c;
	}
	return NULL;
}

struct scsi_copy *
copy_results_take(struct scsi_nexus *n)
{
	struct scsi_copy *best = NULL;
	for (unsigned i = 0; i < SCSI_COPIES_MAX; i++) {
		struct scsi_copy *c = &n->copies[i];
		if (c->state == SCSI_COPY_FREE) {
			best = c;
			break;
		}
		if (c->state == SCSI_COPY_ENDED && (!best || c->serial < best->serial))
			best = c;
	}
	if (best) {
		memset(best, 0, sizeof *best);
		best->serial = ++n->copy_serial;
	}
	return best;
}

/* NULL: the task has ended with 5/24/00 at the list id. */
static struct scsi_copy *
results_of(struct scsi_task *t)
{
	struct scsi_copy *c = copy_results_find(t->nexus, t->nlu->lu, t->cdb[2]);
	if (!c) {
		scsi_sense_cdb(t, 2, -1);
		scsi_task_fail(t);
	}
	return c;
}

/* SPC-4 6.20.2. */
void
copy_results_status(struct scsi_task *t)
{
	const struct scsi_copy *c = results_of(t);
	if (!c)
		return;
	uint8_t d[12] = {0};
	store_be32(d, sizeof d - 4);
	if (c->state == SCSI_COPY_ENDED)
		d[4] = c->status == SCSI_GOOD ? 0x01 : 0x02;
	store_be16(d + 5, (uint16_t)c->segments_done);
	d[7] = 0x01; /* the count is in KiB */
	uint64_t kib = c->bytes_done / 1024;
	store_be32(d + 8, kib > UINT32_MAX ? UINT32_MAX : (uint32_t)kib);
	scsi_task_reply(t, d, sizeof d);
}

/* SPC-4 6.20.4. */
void
copy_results_parameters(struct scsi_task *t)
{
	uint8_t d[46] = {0};
	store_be32(d, sizeof d - 4);
	d[4] = 0x01; /* SNLID: copies without list id are possible */
	store_be16(d + 8, COPY_TARGETS_MAX);
	store_be16(d + 10, COPY_SEGMENTS_MAX);
	store_be32(d + 12, COPY_DESC_BYTES_MAX);
	store_be32(d + 16, COPY_SEGMENT_BYTES_MAX);
	/* No inline data, no held data, no stream devices: 20..31 zero. */
	store_be16(d + 34, COPY_TOTAL_CONCURRENT);
	d[36] = COPY_RESULTS_MAX;
	d[37] = COPY_GRANULARITY_SHIFT;
	d[43] = 2;
	d[44] = COPY_SEG_BLOCK_TO_BLOCK;
	d[45] = COPY_TGT_IDENTIFICATION;
	scsi_task_reply(t, d, sizeof d);
}

/* SPC-4 6.20.5: the status and sense data of a copy that failed, once; nothing of others. */
void
copy_results_failed(struct scsi_task *t)
{
	struct scsi_copy *c = results_of(t);
	if (!c)
		return;
	uint8_t d[60 + SCSI_SENSE_MAX_BYTES] = {0};
	size_t len = 4;
	if (c->state == SCSI_COPY_ENDED && c->status != SCSI_GOOD) {
		ASSERT(c->sense_len <= SCSI_SENSE_MAX_BYTES);
		len = 60u + c->sense_len;
		store_be32(d, (uint32_t)len - 4);
		d[56] = c->status;
		store_be16(d + 58, c->sense_len);
		memcpy(d + 60, c->sense, c->sense_len);
		c->state = SCSI_COPY_FREE;
	}
	scsi_task_reply(t, d, len);
}
