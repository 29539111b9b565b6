/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The way of a change of the reservations: request → home loop decides (pr_rules.c), stores it where
 * APTPL asks for that → every loop replaces its copy, tells its nexuses, ends preempted tasks → answer.
 *
 * After a kill at any moment the stored form is either the one before the change, which then wasn't
 * answered, or the one after it (PR-3).
 */
#include "scsi/pr.h"

#include <errno.h>
#include <stdlib.h>

struct pr_change {
	struct scsi_change c;
	struct scsi_task *t; /* NULL: nobody waits */
	struct pr_request req;
	struct pr_verdict v;
	struct pr_state *copies[LOOP_COUNT_MAX]; /* by loop index; each loop takes its own */
	uint16_t *ports;
	uint8_t *blob; /* while it is being stored */
	uint8_t list[];
};

bool
pr_out_prepare(struct scsi_task *t)
{
	t->xfer_bytes = load_be32(t->cdb + 5);
	if (t->xfer_bytes < PR_BASIC_LIST_BYTES) /* 6.16.2; the rest needs the list itself */
		return scsi_sense(t, SENSE_PARAM_LIST_LENGTH);
	return true;
}

static void
answer(struct scsi_task *t, const struct pr_verdict *v)
{
	if (v->status == SCSI_GOOD) {
		scsi_task_good(t);
		return;
	}
	if (v->status != SCSI_CHECK_CONDITION) {
		scsi_task_status(t, (enum scsi_status)v->status);
		return;
	}
	if (v->cdb_byte >= 0)
		scsi_sense_cdb(t, (unsigned)v->cdb_byte, v->bit);
	else if (v->param_byte >= 0)
		scsi_sense_param(t, (unsigned)v->param_byte, v->bit);
	else
		scsi_sense(t, v->sense);
	scsi_task_fail(t);
}

static void
change_free(struct pr_change *pc)
{
	for (unsigned i = 0; i < LOOP_COUNT_MAX; i++)
		free(pc->copies[i]);
	free(pc->v.next);
	free(pc->ports);
	free(pc->blob);
	free(pc);
}

/* ---- home loop ------------------------------------------------------------------------------------ */

static enum scsi_decision
refuse(struct pr_change *pc, enum scsi_sense sense)
{
	free(pc->v.next);
	pc->v.next = NULL;
	pc->v.changed = false;
	pc->v.status = SCSI_CHECK_CONDITION;
	pc->v.sense = sense;
	return CHANGE_REFUSED;
}

static bool
collect_ports(struct pr_change *pc)
{
	const struct list *ports = scsi_core_ports(pc->c.lu->core);
	uint32_t count = 0;

	LIST_FOREACH (l, ports)
		count++;
	pc->ports = calloc(count + 1, sizeof(pc->ports[0]));
	if (!pc->ports)
		return false;
	LIST_FOREACH (l, ports)
		pc->ports[pc->req.port_count++] =
		    container_of(l, struct scsi_port, link)->rel_port_id;
	pc->req.ports = pc->ports;
	return true;
}

static bool
make_copies(struct pr_change *pc)
{
	for (unsigned i = 0; i < pc->c.lu->core->loop_count; i++) {
		pc->copies[i] = pr_state_copy(pc->v.next);
		if (!pc->copies[i])
			return false;
	}
	return true;
}

static enum scsi_decision
commit(struct pr_change *pc)
{
	struct scsi_pr *master = pc->c.lu->pr_master;

	free(master->st);
	master->st = pc->v.next;
	pc->v.next = NULL;
	return CHANGE_GO;
}

static void
on_saved(void *ctx, int result)
{
	struct pr_change *pc = ctx;
	enum scsi_decision d;

	free(pc->blob);
	pc->blob = NULL;
	if (result == 0)
		d = commit(pc);
	else
		d = refuse(pc,
		    result == -ENOSPC ? SENSE_INSUFFICIENT_REG_RESOURCES : SENSE_INTERNAL_FAILURE);
	scsi_change_decided(&pc->c, d);
}

static enum scsi_decision
save(struct pr_change *pc)
{
	const struct scsi_lu *lu = pc->c.lu;
	const struct scsi_persist_ops *persist = &lu->core->persist;
	const struct pr_state *next = pc->v.next;
	size_t len = 0;

	if (next->aptpl) {
		len = pr_blob_bytes(next);
		pc->blob = malloc(len);
		if (!pc->blob)
			return refuse(pc, SENSE_INSUFFICIENT_RESOURCES);
		pr_blob_encode(next, lu->id.uuid, pc->blob);
	}
	persist->save(persist->ctx, SCSI_PERSIST_PR, lu->id.uuid, pc->blob, len, on_saved, pc);
	return CHANGE_PENDING;
}

static enum scsi_decision
decide(struct scsi_change *c)
{
	struct pr_change *pc = container_of(c, struct pr_change, c);
	const struct pr_state *old = c->lu->pr_master->st;

	if (!collect_ports(pc))
		return refuse(pc, SENSE_INSUFFICIENT_RESOURCES);
	pr_evaluate(old, &pc->req, &pc->v);
	if (!pc->v.changed)
		return CHANGE_REFUSED;
	if (!make_copies(pc))
		return refuse(pc, SENSE_INSUFFICIENT_RESOURCES);
	c->drain = pc->v.fences;
	bool stored = old->aptpl || old->lost || pc->v.next->aptpl;
	if (stored && c->lu->core->persist.save)
		return save(pc);
	return commit(pc);
}

/* ---- every loop --------------------------------------------------------------------------------------- */

static void
allow_removal(struct scsi_lu_state *st, void *arg)
{
	(void)arg;
	if (st->prevent_count > 0)
		st->prevent_count--;
}

/* SPC-4 5.13.11.2.6 c and h, SAM-5 5.6: the preempted nexus's commands end. */
static void
end_tasks(struct scsi_nexus_lu *nlu)
{
	bool tas = scsi_lu_tas(nlu->ll), any = false;

	LIST_FOREACH_SAFE (l, &nlu->tasks) {
		struct scsi_task *t = container_of(l, struct scsi_task, nexus_link);
		if (t->state == SCSI_TASK_DONE)
			continue;
		scsi_task_abort(t, tas);
		any = true;
	}
	if (any && !tas)
		scsi_ua_raise(nlu, UA_COMMANDS_CLEARED);
	if (nlu->prevents_removal) {
		nlu->prevents_removal = false;
		/* No memory: removal stays prevented until the next reset. */
		(void)scsi_change_state(nlu->lu, allow_removal, 0, -1, 0, NULL, NULL);
	}
}

static void
apply(struct scsi_change *c, struct scsi_lu_loop *ll)
{
	struct pr_change *pc = container_of(c, struct pr_change, c);
	size_t idx = (size_t)(ll - c->lu->ll);
	struct pr_state *old = ll->pr->st;

	ASSERT(pc->copies[idx]);
	ll->pr->st = pc->copies[idx];
	pc->copies[idx] = NULL;
	LIST_FOREACH (l, &ll->nexus_lus) {
		struct scsi_nexus_lu *nlu = container_of(l, struct scsi_nexus_lu, lu_link);
		struct pr_tid tid;
		scsi_pr_refresh(nlu);
		pr_tid_of_nexus(nlu->nexus, &tid);
		int was = pr_state_find(old, &tid, nlu->nexus->rel_port_id);
		if (was < 0)
			continue;
		if (pc->v.ua[was] != 0)
			scsi_ua_raise(nlu, (enum scsi_ua)(pc->v.ua[was] - 1));
		if (pc->v.preempted[was])
			end_tasks(nlu);
	}
	free(old);
}

/* ---- where the command came from ------------------------------------------------------------------------- */

static void
done(struct scsi_change *c)
{
	struct pr_change *pc = container_of(c, struct pr_change, c);

	if (pc->t && scsi_task_continue(pc->t))
		answer(pc->t, &pc->v);
	change_free(pc);
}

static struct pr_change *
change_new(struct scsi_lu *lu, const struct pr_request *req)
{
	struct pr_change *pc = calloc(1, sizeof(*pc) + req->list_len);
	if (!pc)
		return NULL;
	pc->c.lu = lu;
	pc->c.decide = decide;
	pc->c.apply = apply;
	pc->c.done = done;
	pc->req = *req;
	if (req->list_len > 0) {
		memcpy(pc->list, req->list, req->list_len);
		pc->req.list = pc->list;
	}
	return pc;
}

void
pr_change_submit(struct scsi_task *t, struct pr_request *req)
{
	const struct scsi_nexus *n = t->nlu->nexus;

	req->nexus_id = n->id;
	req->rel_port = n->rel_port_id;
	pr_tid_of_nexus(n, &req->tid);
	struct pr_change *pc = change_new(scsi_task_lu(t), req);
	if (!pc) {
		scsi_task_status(t, SCSI_BUSY);
		return;
	}
	pc->t = t;
	scsi_task_suspend(t);
	scsi_change_submit(&pc->c);
}

void
pr_change_nexus_lost(struct scsi_lu *lu, uint64_t nexus_id)
{
	const struct pr_request req = {.sa = PR_SPC2_LOST, .nexus_id = nexus_id};
	struct pr_change *pc = change_new(lu, &req);

	/* No memory: a reservation that this nexus held stays until the next reset. */
	if (pc)
		scsi_change_submit(&pc->c);
}

void
pr_out_execute(struct scsi_task *t)
{
	struct pr_request req = {
	    .sa = t->cdb[1] & 0x1f,
	    .scope = t->cdb[2] >> 4,
	    .type = t->cdb[2] & 0x0f,
	    .aptpl_capable = scsi_task_lu(t)->core->persist.save != NULL,
	};
	struct pr_verdict v;
	size_t len;
	const uint8_t *list = scsi_task_params(t, &len);

	if (!pr_request_parse(&req, list, len, &v)) {
		answer(t, &v);
		return;
	}
	pr_change_submit(t, &req);
}
