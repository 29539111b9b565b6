/* SPDX-License-Identifier: BSD-2-Clause */
/* I_T nexuses: their units, their end. */
#include "scsi/scsi_priv.h"

#include <stdlib.h>
#include <string.h>
#include <errno.h>

static void nexus_gone(struct loop_defer *d);
static void nlu_end(struct loop_defer *d);

/* ---- its units ------------------------------------------------------------------------------- */

struct scsi_nexus_lu *
scsi_nexus_lu_alloc(void)
{
	/* Home may get it for another loop: on lines of its own. */
	struct scsi_nexus_lu *nlu;
	return aligned_alloc(64, (sizeof *nlu + 63) & ~(size_t)63);
}

void
scsi_nexus_lu_init(struct scsi_nexus *n, struct scsi_nexus_lu *nlu, const struct scsi_view_entry *e)
{
	memset(nlu, 0, sizeof *nlu);
	nlu->nexus = n;
	nlu->lu = e->lu;
	nlu->ll = scsi_lu_here(e->lu);
	nlu->lun = e->lun;
	nlu->read_only = e->read_only;
	list_init(&nlu->tasks);
	list_init(&nlu->gone_link);
	loop_defer_init(&nlu->end, nlu_end);
	list_push_back(&nlu->ll->nexus_lus, &nlu->lu_link);
	scsi_ua_raise(nlu, UA_POWER_ON);
	scsi_pr_refresh(nlu);
}

static void
prevent_edit(struct scsi_lu_state *st, void *arg)
{
	(void)arg;
	if (st->prevent_count > 0)
		st->prevent_count--;
}

/* What the nexus had of the unit and doesn't outlive it. */
static void
nlu_lose(struct scsi_nexus_lu *nlu)
{
	scsi_pr_nexus_lost(nlu->lu, nlu->nexus->id);
	/* SBC-3 5.15: the prevention ends with the nexus. Without memory it stays: a medium that can't
	 * be taken out does less harm than one that was. */
	if (nlu->prevents_removal &&
	    scsi_change_state(nlu->lu, prevent_edit, 0, -1, 0, NULL, NULL) == 0)
		nlu->prevents_removal = false;
}

static void
abort_list(struct list *tasks, bool status)
{
	LIST_FOREACH (l, tasks)
		scsi_task_abort(container_of(l, struct scsi_task, nexus_link), status);
}

void
scsi_nexus_lu_leave(struct scsi_nexus_lu *nlu, struct scsi_view_part *part)
{
	struct scsi_nexus *n = nlu->nexus;
	ASSERT(loop_is_current(n->loop) && !nlu->gone);
	nlu->gone = true;
	nlu->part = part;
	n->watched = true;
	list_push_back(&n->gone_lus, &nlu->gone_link);
	/* With a status of their own: task.c, outcome(). */
	if (!n->dying) {
		abort_list(&nlu->tasks, true);
		nlu_lose(nlu);
	}
	scsi_nexus_lu_check(nlu);
}

void
scsi_nexus_lu_check(struct scsi_nexus_lu *nlu)
{
	/* Deferred: whoever calls may look at it until it returns. */
	if (nlu->gone && list_empty(&nlu->tasks) && nlu->copies == 0 &&
	    !loop_defer_queued(&nlu->end))
		loop_defer(nlu->nexus->loop, &nlu->end);
}

static void
nlu_free(struct scsi_nexus_lu *nlu)
{
	ASSERT(list_empty(&nlu->tasks) && nlu->copies == 0);
	list_remove(&nlu->lu_link);
	free(nlu);
}

static void
nlu_end(struct loop_defer *d)
{
	struct scsi_nexus_lu *nlu = container_of(d, struct scsi_nexus_lu, end);
	struct scsi_nexus *n = nlu->nexus;
	struct scsi_view_part *part = nlu->part;
	ASSERT(nlu->gone);
	list_remove(&nlu->gone_link);
	scsi_copies_forget(n, nlu->lu);
	nlu_free(nlu);
	n->watched = n->dying || !list_empty(&n->gone_lus);
	scsi_view_part_put(part);
}

/* ---- start ----------------------------------------------------------------------------------- */

static void
nexus_free(struct scsi_nexus *n)
{
	free(n->initiator);
	free(n->nlus);
	free(n);
}

/* Memory for all units of the map, uninitialised. */
static int
nexus_alloc_lus(struct scsi_nexus *n, const struct scsi_view_map *map)
{
	n->nlus = calloc(map->count > 0 ? map->count : 1, sizeof(struct scsi_nexus_lu *));
	if (n->nlus == NULL)
		return -ENOMEM;
	for (; n->nlu_count < map->count; n->nlu_count++) {
		n->nlus[n->nlu_count] = scsi_nexus_lu_alloc();
		if (n->nlus[n->nlu_count] == NULL)
			goto err_free;
	}
	return 0;
err_free:
	while (n->nlu_count > 0)
		free(n->nlus[--n->nlu_count]);
	return -ENOMEM;
}

int
scsi_nexus_create(struct scsi_core *c, const struct scsi_nexus_args *args, struct scsi_nexus **ret)
{
	ASSERT(loop_is_current(args->loop) && args->view->core == c);
	ASSERT(args->transport_id_len >= 24 && args->transport_id_len <= SCSI_TRANSPORT_ID_MAX &&
	       args->transport_id_len % 4 == 0);
	unsigned idx = scsi_loop_index(c);
	struct scsi_view_loop *vl = &args->view->per_loop[idx];
	struct scsi_nexus *n = calloc(1, sizeof *n);
	if (n == NULL)
		return -ENOMEM;
	n->initiator = strdup(args->initiator != NULL ? args->initiator : "");
	if (n->initiator == NULL || nexus_alloc_lus(n, vl->map) < 0) {
		nexus_free(n);
		return -ENOMEM;
	}
	n->core = c;
	n->loop = args->loop;
	n->view = args->view;
	n->rel_port_id = args->rel_port_id;
	n->tmfs = args->tmfs != 0 ? args->tmfs : UINT32_MAX;
	n->cl = &c->per_loop[idx];
	n->id = ++n->cl->nexus_seq * LOOP_COUNT_MAX + idx;
	memcpy(n->transport_id, args->transport_id, args->transport_id_len);
	n->transport_id_len = (uint16_t)args->transport_id_len;
	list_init(&n->lunless_tasks);
	list_init(&n->abort_waits);
	list_init(&n->gone_lus);
	list_init(&n->gone_waits);
	loop_defer_init(&n->gone_defer, nexus_gone);
	list_push_back(&vl->nexuses, &n->view_link);
	__atomic_store_n(&vl->users, vl->users + 1, __ATOMIC_RELAXED);
	n->cl->nexus_count++;
	for (uint32_t i = 0; i < n->nlu_count; i++)
		scsi_nexus_lu_init(n, n->nlus[i], &vl->map->entries[i]);
	*ret = n;
	return 0;
}

struct scsi_nexus_lu *
scsi_nexus_find(const struct scsi_nexus *n, uint16_t lun)
{
	/* Numbers without gaps, the usual case. */
	if (lun < n->nlu_count && n->nlus[lun]->lun == lun)
		return n->nlus[lun];
	uint32_t lo = 0, hi = n->nlu_count;
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		if (n->nlus[mid]->lun == lun)
			return n->nlus[mid];
		if (n->nlus[mid]->lun < lun)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

uint32_t
scsi_nexus_task_count(const struct scsi_nexus *n)
{
	return n->task_count;
}

/* ---- end ------------------------------------------------------------------------------------- */

void
scsi_nexus_lose_lus(struct scsi_nexus *n)
{
	for (uint32_t i = 0; i < n->nlu_count; i++)
		nlu_lose(n->nlus[i]);
}

void
scsi_nexus_abort_all(struct scsi_nexus *n)
{
	abort_list(&n->lunless_tasks, false);
	for (uint32_t i = 0; i < n->nlu_count; i++)
		abort_list(&n->nlus[i]->tasks, false);
	LIST_FOREACH (l, &n->gone_lus)
		abort_list(&container_of(l, struct scsi_nexus_lu, gone_link)->tasks, false);
}

void
scsi_nexus_destroy(struct scsi_nexus *n, void (*gone)(void *ctx), void *ctx)
{
	ASSERT(loop_is_current(n->loop) && !n->dying);
	n->dying = true;
	n->watched = true;
	n->gone = gone;
	n->gone_ctx = ctx;
	scsi_nexus_abort_all(n);
	scsi_nexus_lose_lus(n);
	scsi_nexus_check_gone(n);
}

void
scsi_nexus_task_gone(struct scsi_nexus *n, struct scsi_nexus_lu *nlu)
{
	if (nlu != NULL)
		scsi_nexus_lu_check(nlu);
	scsi_nexus_check_gone(n);
}

void
scsi_nexus_check_gone(struct scsi_nexus *n)
{
	if (n->dying && n->task_count == 0 && n->tmf_count == 0 &&
	    !loop_defer_queued(&n->gone_defer))
		loop_defer(n->loop, &n->gone_defer);
}

static void
nexus_gone(struct loop_defer *d)
{
	struct scsi_nexus *n = container_of(d, struct scsi_nexus, gone_defer);
	ASSERT(n->task_count == 0 && n->tmf_count == 0 && list_empty(&n->lunless_tasks));
	for (uint32_t i = 0; i < n->nlu_count; i++)
		nlu_free(n->nlus[i]);
	/* Those that are gone have no task either: their end is due, or comes now. */
	LIST_FOREACH_SAFE (l, &n->gone_lus) {
		struct scsi_nexus_lu *nlu = container_of(l, struct scsi_nexus_lu, gone_link);
		loop_defer_cancel(&nlu->end);
		nlu_end(&nlu->end);
	}
	struct scsi_view_loop *vl = &n->view->per_loop[scsi_loop_index(n->core)];
	ASSERT(vl->users > 0 && n->cl->nexus_count > 0);
	list_remove(&n->view_link);
	__atomic_store_n(&vl->users, vl->users - 1, __ATOMIC_RELAXED);
	n->cl->nexus_count--;
	void (*gone)(void *ctx) = n->gone;
	void *ctx = n->gone_ctx;
	nexus_free(n);
	if (gone != NULL)
		gone(ctx);
}
