/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Admission: the rules of SAM-5 8.6 within a task set (TST=001b: one per nexus and unit), the order
 * table between the classes of the unit, the range locks.
 */
#include "scsi/scsi_priv.h"

static bool
ended(const struct scsi_task *t)
{
	return t->state == SCSI_TASK_DONE;
}

/*
 * SAM-5 8.6: ORDERED waits for everything older, SIMPLE for older ORDERED and HEAD OF QUEUE ones,
 * HEAD OF QUEUE for nothing. Commands of class NONE (INQUIRY, TEST UNIT READY…) touch nothing that
 * an order could be about; they still hold back and are held back as ORDERED tasks.
 */
static bool
set_admits(const struct scsi_task *t)
{
	if (t->attr == SCSI_HEAD_OF_QUEUE)
		return true;
	const struct list *head = &t->nlu->tasks;
	for (struct list *l = t->nexus_link.prev; l != head; l = l->prev) {
		const struct scsi_task *older = container_of(l, struct scsi_task, nexus_link);
		if (ended(older))
			continue;
		if (t->attr == SCSI_ORDERED || older->attr != SCSI_SIMPLE)
			return false;
	}
	return true;
}

/* An EXCLUSIVE task that waits already isn't overtaken for ever by those that it waits for. */
static bool
older_exclusive_waits(const struct scsi_lu_loop *ll, const struct scsi_task *t)
{
	LIST_FOREACH (l, &ll->blocked) {
		const struct scsi_task *b = container_of(l, struct scsi_task, loop_link);
		if (b == t)
			return false;
		/* One that its own task set holds back may wait for a silent initiator. */
		if (b->op->order == ORD_EXCLUSIVE && set_admits(b))
			return true;
	}
	return false;
}

static bool
unit_admits(const struct scsi_lu_loop *ll, const struct scsi_task *t)
{
	const uint8_t *row = scsi_order_table[t->op->order];
	for (unsigned c = 0; c < ORD_COUNT; c++) {
		if (row[c] == ORDER_BLOCK && ll->running_count[c] > 0)
			return false;
	}
	if (ll->excl_blocked > 0 && row[ORD_EXCLUSIVE] == ORDER_BLOCK &&
	    t->attr != SCSI_HEAD_OF_QUEUE && older_exclusive_waits(ll, t))
		return false;
	/* ATOMIC tasks take their own place in the order of the locks. */
	if (ll->lock_count > 0 && row[ORD_ATOMIC] == ORDER_RANGE && t->op->order != ORD_ATOMIC &&
	    scsi_lock_blocks(ll, t))
		return false;
	return true;
}

bool
scsi_order_admits(const struct scsi_task *t)
{
	const struct scsi_lu_loop *ll = t->nlu->ll;
	if (t->nlu->ordered_count > 0 && !set_admits(t))
		return false;
	/* The usual case: a read or write, and nothing of the kinds that could hold it back. */
	if ((t->op->order == ORD_READ || t->op->order == ORD_WRITE) && ll->lock_count == 0 &&
	    ll->running_count[ORD_EXCLUSIVE] == 0 && ll->excl_blocked == 0)
		return true;
	return unit_admits(ll, t);
}
