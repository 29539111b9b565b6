/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The medium as a whole: TEST UNIT READY, READ CAPACITY, START STOP UNIT, PREVENT ALLOW MEDIUM
 * REMOVAL, READ DEFECT DATA.
 */
#include <stdlib.h>

#include "scsi/sbc_priv.h"

/* Everything that can be said against the unit was said before it got here. */
void
sbc_test_unit_ready(struct scsi_task *t)
{
	scsi_task_good(t);
}

/* ---- READ CAPACITY --------------------------------------------------------------------------- */

#define CAPACITY10_BYTES 8u
#define CAPACITY16_BYTES 32u

bool
sbc_prepare_read_capacity10(struct scsi_task *t)
{
	t->xfer_bytes = CAPACITY10_BYTES;
	return true;
}

void
sbc_read_capacity10(struct scsi_task *t)
{
	const uint64_t last = t->nlu->ll->st.blocks - 1;
	uint8_t r[CAPACITY10_BYTES];
	store_be32(r, last > UINT32_MAX ? UINT32_MAX : (uint32_t)last);
	store_be32(r + 4, scsi_task_lu(t)->id.block_bytes);
	scsi_task_reply(t, r, sizeof r);
}

bool
sbc_prepare_read_capacity16(struct scsi_task *t)
{
	t->xfer_bytes = load_be32(t->cdb + 10);
	return true;
}

void
sbc_read_capacity16(struct scsi_task *t)
{
	const struct scsi_lu *lu = scsi_task_lu(t);
	struct scsi_sbc_limits lim;
	scsi_sbc_limits(lu, &lim);
	uint8_t r[CAPACITY16_BYTES] = {0};
	store_be64(r, t->nlu->ll->st.blocks - 1);
	store_be32(r + 8, lu->id.block_bytes);
	r[13] = lu->physical_exponent;
	r[14] = (uint8_t)((lu->thin ? 0x80 : 0) | (lim.lbprz ? 0x40 : 0)); /* LBPME, LBPRZ */
	scsi_task_reply(t, r, sizeof r);
}

/* ---- changes that two commands below make -------------------------------------------------------- */

/* Belongs to the task until either the change is done or the task has ended, then to the other. */
struct medium_change {
	struct scsi_change change;
	struct scsi_task *task; /* NULL: it has ended */
	uint64_t nexus_id;
	bool done;
	bool eject;  /* else load */
	int prevent; /* what is added to prevent_count */
};

void
sbc_medium_cleanup(struct scsi_task *t)
{
	struct medium_change *m = t->priv;
	t->priv = NULL;
	if (m == NULL)
		return;
	if (m->done)
		free(m);
	else
		m->task = NULL;
}

static void
medium_done(struct scsi_change *c)
{
	struct medium_change *m = container_of(c, struct medium_change, change);
	struct scsi_task *t = m->task;
	m->done = true;
	if (t == NULL) {
		free(m);
		return;
	}
	/* From here on the task's cleanup frees it. */
	const bool refused = c->refused;
	if (!scsi_task_continue(t))
		return;
	if (refused) {
		scsi_sense(t, SENSE_MEDIUM_REMOVAL_PREVENTED);
		scsi_task_fail(t);
	} else {
		scsi_task_good(t);
	}
}

static struct medium_change *
medium_change(struct scsi_task *t)
{
	struct medium_change *m = calloc(1, sizeof *m);
	if (m == NULL) {
		scsi_task_status(t, SCSI_BUSY);
		return NULL;
	}
	m->change.lu = scsi_task_lu(t);
	m->change.done = medium_done;
	m->task = t;
	m->nexus_id = t->nexus->id;
	t->priv = m;
	return m;
}

/* Stopping, ejecting and preventing conflict with others' reservations, the opposites don't. */
static bool
conflicts(struct scsi_task *t)
{
	if ((t->nlu->pr_deny & (1u << PRC_WRITE)) == 0)
		return false;
	scsi_task_status(t, SCSI_RESERVATION_CONFLICT);
	return true;
}

/* ---- START STOP UNIT ------------------------------------------------------------------------------ */

#define SSU_START 0x01u
#define SSU_LOEJ 0x02u
#define SSU_NO_FLUSH 0x04u
#define SSU_POWER_CONDITION 0xf0u

static enum scsi_decision
eject_decide(struct scsi_change *c)
{
	/* SPC-4: the medium stays where it is while any nexus prevents its removal. */
	return c->lu->ll[0].st.prevent_count > 0 ? CHANGE_REFUSED : CHANGE_GO;
}

static void
eject_apply(struct scsi_change *c, struct scsi_lu_loop *ll)
{
	const struct medium_change *m = container_of(c, struct medium_change, change);
	const bool loaded = ll->st.ejected && !m->eject;
	ll->st.ejected = m->eject;
	if (!loaded)
		return;
	LIST_FOREACH (l, &ll->nexus_lus) {
		struct scsi_nexus_lu *nlu = container_of(l, struct scsi_nexus_lu, lu_link);
		if (nlu->nexus->id != m->nexus_id)
			scsi_ua_raise(nlu, UA_MEDIUM_CHANGED);
	}
}

static void
eject_or_load(struct scsi_task *t)
{
	struct medium_change *m = medium_change(t);
	if (m == NULL)
		return;
	m->eject = (t->cdb[4] & SSU_START) == 0;
	m->change.decide = eject_decide;
	m->change.apply = eject_apply;
	m->change.drain = m->eject;
	scsi_task_suspend(t);
	scsi_change_submit(&m->change);
}

static void
stop_flushed(struct scsi_task *t)
{
	if (sbc_io_failed(t, BLK_FLUSH))
		return;
	if ((t->cdb[4] & SSU_LOEJ) != 0)
		eject_or_load(t);
	else
		scsi_task_good(t);
}

/*
 * There is no spindle: stopping flushes and leaves the unit ready, so that one initiator that shuts
 * down doesn't take a shared unit from the others. Power conditions are accepted and ignored. With
 * LOEJ a removable unit loses its medium or gets it back. IMMED changes nothing: it is done at once.
 */
void
sbc_start_stop(struct scsi_task *t)
{
	const struct scsi_lu *lu = scsi_task_lu(t);
	const uint8_t b = t->cdb[4];
	const bool power = (b & SSU_POWER_CONDITION) != 0;
	const bool start = (b & SSU_START) != 0;
	if ((power || !start) && conflicts(t))
		return;
	if (power) {
		scsi_task_good(t);
		return;
	}
	if ((b & SSU_LOEJ) != 0 && !lu->id.removable) {
		scsi_sense_cdb(t, 4, 1);
		scsi_task_fail(t);
		return;
	}
	if (!start && (b & SSU_NO_FLUSH) == 0 && (lu->caps & BLK_CAP_VOLATILE) != 0)
		scsi_task_blk(t, BLK_FLUSH, 0, 0, 0, NULL, stop_flushed);
	else if ((b & SSU_LOEJ) != 0)
		eject_or_load(t);
	else
		scsi_task_good(t);
}

/* ---- PREVENT ALLOW MEDIUM REMOVAL ------------------------------------------------------------------ */

bool
sbc_prepare_prevent(struct scsi_task *t)
{
	/* 10b and 11b are obsolete (media changers). */
	if ((t->cdb[4] & 2) != 0)
		return scsi_sense_cdb(t, 4, 1);
	return true;
}

static void
prevent_apply(struct scsi_change *c, struct scsi_lu_loop *ll)
{
	const struct medium_change *m = container_of(c, struct medium_change, change);
	/* A reset that came in between has set it to 0: what it took isn't taken twice. */
	if (m->prevent > 0)
		ll->st.prevent_count++;
	else if (ll->st.prevent_count > 0)
		ll->st.prevent_count--;
}

void
sbc_prevent(struct scsi_task *t)
{
	const bool prevent = (t->cdb[4] & 1) != 0;
	if (prevent && conflicts(t))
		return;
	if (t->nlu->prevents_removal == prevent) {
		scsi_task_good(t);
		return;
	}
	struct medium_change *m = medium_change(t);
	if (m == NULL)
		return;
	/* Flag and change leave this loop together, so that an I_T nexus loss later takes back what
	 * this one adds, in this order. */
	t->nlu->prevents_removal = prevent;
	m->prevent = prevent ? 1 : -1;
	m->change.apply = prevent_apply;
	scsi_task_suspend(t);
	scsi_change_submit(&m->change);
}

/* ---- READ DEFECT DATA: a virtual disk has none ---------------------------------------------------- */

bool
sbc_prepare_defects10(struct scsi_task *t)
{
	t->xfer_bytes = load_be16(t->cdb + 7);
	return true;
}

void
sbc_defects10(struct scsi_task *t)
{
	const uint8_t r[4] = {0, t->cdb[2] & 0x1f, 0, 0};
	scsi_task_reply(t, r, sizeof r);
}

bool
sbc_prepare_defects12(struct scsi_task *t)
{
	t->xfer_bytes = load_be32(t->cdb + 6);
	return true;
}

void
sbc_defects12(struct scsi_task *t)
{
	const uint8_t r[8] = {0, t->cdb[1] & 0x1f, 0, 0, 0, 0, 0, 0};
	scsi_task_reply(t, r, sizeof r);
}
