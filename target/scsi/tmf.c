/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Task management, SAM-5 7. A function that ends tasks is answered when ops->done of each of them
 * ran; it never holds the queue of changes while it waits, since a task that it ends may wait for a
 * change of its own.
 */
#include "scsi/scsi_priv.h"

#include <stdlib.h>

static void tmf_done(struct loop_defer *d);

static void
tmf_respond(struct scsi_tmf_req *r, enum scsi_tmf_response response)
{
	r->response = response;
	loop_defer(r->nexus->loop, &r->defer);
}

static void
tmf_done(struct loop_defer *d)
{
	struct scsi_tmf_req *r = container_of(d, struct scsi_tmf_req, defer);
	struct scsi_nexus *n = r->nexus;
	ASSERT(n->tmf_count > 0);
	n->tmf_count--;
	r->done(r);
	scsi_nexus_check_gone(n);
}

/* ---- waiting for aborted tasks ----------------------------------------------------------------- */

static bool
wait_matches(
    const struct scsi_abort_wait *w, const struct scsi_nexus_lu *nlu, uint64_t tag, uint64_t seq)
{
	return seq <= w->seq && (w->nlu == NULL || w->nlu == nlu) && (!w->one_tag || w->tag == tag);
}

void
scsi_abort_waits_task_done(
    struct list *waits, const struct scsi_nexus_lu *nlu, uint64_t tag, uint64_t seq)
{
	LIST_FOREACH_SAFE (l, waits) {
		struct scsi_abort_wait *w = container_of(l, struct scsi_abort_wait, link);
		if (!wait_matches(w, nlu, tag, seq))
			continue;
		ASSERT(w->waiting > 0);
		if (--w->waiting == 0) {
			list_remove(&w->link);
			w->done(w);
		}
	}
}

/* Aborts the task and makes `w` wait for it. Tasks that are done are left alone. */
static void
wait_abort(struct scsi_abort_wait *w, struct scsi_task *t, bool status)
{
	if (t->state != SCSI_TASK_DONE) {
		scsi_task_abort(t, status);
		t->tmf_pending = 1;
	}
	/* Also one that an earlier function aborted and that hasn't been answered yet. */
	if (t->tmf_pending != 0 && (t->flags & TASK_DONE_CALLED) == 0)
		w->waiting++;
}

static void
wait_abort_list(struct scsi_abort_wait *w, struct list *tasks, bool status)
{
	LIST_FOREACH (l, tasks)
		wait_abort(w, container_of(l, struct scsi_task, nexus_link), status);
}

/* ---- within one nexus ---------------------------------------------------------------------------- */

/* One of the things that it waits for has come. */
static void
req_put(struct scsi_tmf_req *r)
{
	ASSERT(r->waiting > 0);
	if (--r->waiting == 0)
		tmf_respond(r, SCSI_TMF_COMPLETE);
}

static void
req_wait_done(struct scsi_abort_wait *w)
{
	req_put(container_of(w, struct scsi_tmf_req, wait));
}

/* After the tasks were aborted: answers now (behind their ends, which are deferred too) or later. */
static void
req_wait(struct scsi_tmf_req *r)
{
	r->waiting++;
	if (r->wait.waiting == 0)
		req_put(r);
	else
		list_push_back(&r->nexus->abort_waits, &r->wait.link);
}

/* ---- tasks of units that the view shows no more: they end anyway, but the function says so ------ */

static bool
gone_matches(const struct scsi_tmf_req *r, const struct scsi_nexus_lu *nlu)
{
	return r->gone_lun < 0 || nlu->lun == r->gone_lun;
}

/* Does a task that the function covers still wait for its end? As in wait_abort(). */
static bool
gone_left(const struct scsi_tmf_req *r)
{
	LIST_FOREACH (l, &r->nexus->gone_lus) {
		struct scsi_nexus_lu *nlu = container_of(l, struct scsi_nexus_lu, gone_link);
		if (!gone_matches(r, nlu))
			continue;
		LIST_FOREACH (k, &nlu->tasks) {
			struct scsi_task *t = container_of(k, struct scsi_task, nexus_link);
			if (t->seq <= r->wait.seq && t->tmf_pending != 0 &&
			    (t->flags & TASK_DONE_CALLED) == 0)
				return true;
		}
	}
	return false;
}

/* Ends them without an answer. Before req_wait() or reset_units(), which may answer. */
static void
gone_abort(struct scsi_tmf_req *r, int32_t lun)
{
	r->gone_lun = lun;
	LIST_FOREACH (l, &r->nexus->gone_lus) {
		struct scsi_nexus_lu *nlu = container_of(l, struct scsi_nexus_lu, gone_link);
		if (!gone_matches(r, nlu))
			continue;
		LIST_FOREACH (k, &nlu->tasks) {
			struct scsi_task *t = container_of(k, struct scsi_task, nexus_link);
			if (t->state == SCSI_TASK_DONE)
				continue;
			scsi_task_abort(t, false);
			t->tmf_pending = 1;
		}
	}
	if (!gone_left(r))
		return;
	r->waiting++;
	list_push_back(&r->nexus->gone_waits, &r->gone_link);
}

void
scsi_gone_waits_check(struct scsi_nexus *n)
{
	LIST_FOREACH_SAFE (l, &n->gone_waits) {
		struct scsi_tmf_req *r = container_of(l, struct scsi_tmf_req, gone_link);
		if (gone_left(r))
			continue;
		list_remove(&r->gone_link);
		req_put(r);
	}
}

static struct scsi_task *
find_tag(const struct list *tasks, uint64_t tag)
{
	LIST_FOREACH (l, tasks) {
		struct scsi_task *t = container_of(l, struct scsi_task, nexus_link);
		if (t->tag == tag)
			return t;
	}
	return NULL;
}

/* Among the tasks of units that had this number, and that end since the view doesn't show them. */
static struct scsi_task *
find_tag_gone(const struct scsi_tmf_req *r)
{
	uint16_t lun;
	if (!scsi_lun_decode(r->lun, &lun))
		return NULL;
	LIST_FOREACH (l, &r->nexus->gone_lus) {
		struct scsi_nexus_lu *nlu = container_of(l, struct scsi_nexus_lu, gone_link);
		struct scsi_task *t = nlu->lun == lun ? find_tag(&nlu->tasks, r->tag) : NULL;
		if (t != NULL)
			return t;
	}
	return NULL;
}

static void
abort_task(struct scsi_tmf_req *r, struct scsi_nexus_lu *nlu)
{
	struct scsi_task *t =
	    find_tag(nlu != NULL ? &nlu->tasks : &r->nexus->lunless_tasks, r->tag);
	if (t == NULL)
		t = find_tag_gone(r);
	if (t != NULL)
		nlu = t->nlu;
	r->task_found = t != NULL;
	if (t == NULL && nlu == NULL) {
		tmf_respond(r, SCSI_TMF_BAD_LUN);
		return;
	}
	r->wait.nlu = nlu;
	r->wait.one_tag = true;
	r->wait.tag = r->tag;
	if (t != NULL)
		wait_abort(&r->wait, t, false);
	req_wait(r);
}

/* TST=001b: the task set is this nexus's own, so CLEAR TASK SET is the same (SAM-5 7.5). */
static void
abort_task_set(struct scsi_tmf_req *r, struct scsi_nexus_lu *nlu)
{
	gone_abort(r, nlu->lun);
	r->wait.nlu = nlu;
	wait_abort_list(&r->wait, &nlu->tasks, false);
	req_wait(r);
}

static void
query_task(struct scsi_tmf_req *r, struct scsi_nexus_lu *nlu)
{
	const struct scsi_task *t = nlu != NULL ? find_tag(&nlu->tasks, r->tag) : NULL;
	if (t == NULL)
		t = find_tag_gone(r);
	r->task_found = t != NULL && t->state != SCSI_TASK_DONE;
	if (t == NULL && nlu == NULL)
		tmf_respond(r, SCSI_TMF_BAD_LUN);
	else
		tmf_respond(r, r->task_found ? SCSI_TMF_SUCCEEDED : SCSI_TMF_COMPLETE);
}

static void
query_task_set(struct scsi_tmf_req *r, struct scsi_nexus_lu *nlu)
{
	LIST_FOREACH (l, &nlu->tasks) {
		if (container_of(l, struct scsi_task, nexus_link)->state != SCSI_TASK_DONE) {
			tmf_respond(r, SCSI_TMF_SUCCEEDED);
			return;
		}
	}
	tmf_respond(r, SCSI_TMF_COMPLETE);
}

static void
query_async_event(struct scsi_tmf_req *r, struct scsi_nexus_lu *nlu)
{
	tmf_respond(r, nlu->ua != 0 ? SCSI_TMF_SUCCEEDED : SCSI_TMF_COMPLETE);
}

/* SAM-5 6.3.4, 7.6. */
static void
nexus_reset(struct scsi_tmf_req *r)
{
	struct scsi_nexus *n = r->nexus;
	wait_abort_list(&r->wait, &n->lunless_tasks, false);
	for (uint32_t i = 0; i < n->nlu_count; i++) {
		wait_abort_list(&r->wait, &n->nlus[i]->tasks, false);
		scsi_ua_raise(n->nlus[i], UA_NEXUS_LOSS);
	}
	LIST_FOREACH (l, &n->gone_lus)
		wait_abort_list(
		    &r->wait, &container_of(l, struct scsi_nexus_lu, gone_link)->tasks, false);
	scsi_nexus_lose_lus(n);
	req_wait(r);
}

/* ---- resets of whole units: on all loops ----------------------------------------------------------- */

struct reset_part {
	struct scsi_abort_wait wait;
	struct loop_msg msg;
	struct scsi_reset *reset;
};

struct scsi_reset {
	struct scsi_change change;
	struct scsi_tmf_req *req;
	struct scsi_reset *next; /* while a target reset is put together */
	uint64_t nexus_id;       /* of the one that asked */
	struct loop *origin;
	uint32_t waiting; /* the change, and each loop's tasks */
	struct reset_part parts[LOOP_COUNT_MAX];
};

/* On the origin's loop. */
static void
reset_put(struct scsi_reset *rs)
{
	ASSERT(loop_is_current(rs->origin) && rs->waiting > 0);
	if (--rs->waiting > 0)
		return;
	struct scsi_tmf_req *r = rs->req;
	free(rs);
	req_put(r);
}

static void
reset_part_done(struct loop_msg *m)
{
	reset_put(container_of(m, struct reset_part, msg)->reset);
}

static void
reset_tasks_done(struct scsi_abort_wait *w)
{
	struct reset_part *p = container_of(w, struct reset_part, wait);
	p->msg.run = reset_part_done;
	scsi_deliver(p->reset->origin, &p->msg);
}

static void
reset_nexus(struct scsi_reset *rs, struct reset_part *p, struct scsi_nexus_lu *nlu)
{
	/* SAM-5 5.6: with TAS=1 the others are told with TASK ABORTED status. */
	bool status = nlu->nexus->id != rs->nexus_id && scsi_lu_tas(nlu->ll);
	wait_abort_list(&p->wait, &nlu->tasks, status);
	scsi_ua_raise(nlu, UA_DEVICE_RESET);
	nlu->prevents_removal = false;
}

/* SAM-5 6.3.3: aborts, unit attentions, mode parameters, SPC-2 reservations, removal. */
static void
reset_apply(struct scsi_change *c, struct scsi_lu_loop *ll)
{
	struct scsi_reset *rs = container_of(c, struct scsi_reset, change);
	unsigned idx = scsi_loop_index(ll->lu->core);
	struct reset_part *p = &rs->parts[idx];
	p->reset = rs;
	p->wait = (struct scsi_abort_wait){
	    .seq = ll->lu->core->per_loop[idx].task_seq, .done = reset_tasks_done};
	list_init(&p->wait.link);
	LIST_FOREACH (l, &ll->nexus_lus)
		reset_nexus(rs, p, container_of(l, struct scsi_nexus_lu, lu_link));
	ll->st.mode = scsi_lu_default_mode(ll->lu);
	ll->st.prevent_count = 0;
	scsi_pr_reset_spc2(ll);
	if (idx == 0)
		SCSI_STAT_ADD(ll->stats.resets, 1);
	if (p->wait.waiting > 0)
		list_push_back(&ll->abort_waits, &p->wait.link);
	else
		reset_tasks_done(&p->wait);
}

static void
reset_done(struct scsi_change *c)
{
	reset_put(container_of(c, struct scsi_reset, change));
}

static struct scsi_reset *
reset_new(struct scsi_tmf_req *r, struct scsi_lu *lu)
{
	struct scsi_reset *rs = calloc(1, sizeof *rs);
	if (rs == NULL)
		return NULL;
	rs->req = r;
	rs->nexus_id = r->nexus->id;
	rs->origin = r->nexus->loop;
	rs->waiting = lu->core->loop_count + 1;
	rs->change = (struct scsi_change){.lu = lu, .apply = reset_apply, .done = reset_done};
	return rs;
}

/* All or none, so that a shortage of memory doesn't reset half a target. gone_lun: as for
 * gone_abort(). */
static void
reset_units(
    struct scsi_tmf_req *r, struct scsi_nexus_lu *const *nlus, uint32_t count, int32_t gone_lun)
{
	struct scsi_reset *all = NULL;
	for (uint32_t i = 0; i < count; i++) {
		struct scsi_reset *rs = reset_new(r, nlus[i]->lu);
		if (rs == NULL) {
			while (all != NULL) {
				rs = all;
				all = rs->next;
				free(rs);
			}
			tmf_respond(r, SCSI_TMF_REJECTED);
			return;
		}
		rs->next = all;
		all = rs;
	}
	r->waiting = count + 1;
	gone_abort(r, gone_lun);
	while (all != NULL) {
		struct scsi_reset *rs = all;
		all = rs->next;
		scsi_change_submit(&rs->change);
	}
	req_put(r);
}

/* ---- submit -------------------------------------------------------------------------------------- */

static void
tmf_unit(struct scsi_tmf_req *r, struct scsi_nexus_lu *nlu)
{
	switch (r->function) {
	case SCSI_TMF_ABORT_TASK_SET:
	case SCSI_TMF_CLEAR_TASK_SET:
		abort_task_set(r, nlu);
		break;
	case SCSI_TMF_LU_RESET:
		reset_units(r, &nlu, 1, nlu->lun);
		break;
	case SCSI_TMF_QUERY_TASK_SET:
		query_task_set(r, nlu);
		break;
	case SCSI_TMF_QUERY_ASYNC_EVENT:
		query_async_event(r, nlu);
		break;
	default:
		tmf_respond(r, SCSI_TMF_NOT_SUPPORTED);
		break;
	}
}

void
scsi_tmf_submit(struct scsi_tmf_req *r)
{
	struct scsi_nexus *n = r->nexus;
	ASSERT(loop_is_current(n->loop) && !n->dying && r->done != NULL);
	loop_defer_init(&r->defer, tmf_done);
	r->task_found = false;
	r->waiting = 0;
	r->wait = (struct scsi_abort_wait){.seq = n->cl->task_seq, .done = req_wait_done};
	list_init(&r->wait.link);
	list_init(&r->gone_link);
	n->tmf_count++;
	if (r->function == SCSI_TMF_TARGET_RESET) {
		reset_units(r, n->nlus, n->nlu_count, -1);
		return;
	}
	if (r->function == SCSI_TMF_I_T_NEXUS_RESET) {
		nexus_reset(r);
		return;
	}
	uint16_t lun;
	struct scsi_nexus_lu *nlu = scsi_lun_decode(r->lun, &lun) ? scsi_nexus_find(n, lun) : NULL;
	if (r->function == SCSI_TMF_ABORT_TASK)
		abort_task(r, nlu);
	else if (r->function == SCSI_TMF_QUERY_TASK)
		query_task(r, nlu);
	else if (nlu == NULL)
		tmf_respond(r, SCSI_TMF_BAD_LUN);
	else
		tmf_unit(r, nlu);
}
