/* I_T nexuses: their units, their end. */
#include "scsi/scsi_priv.h"

#include <stdlib.h>
#include <string.h>
#include <errno.h>

static void nexus_gone(struct loop_defer *d);

static void
nlu_init(struct scsi_nexus *n, struct scsi_nexus_lu *nlu, const struct scsi_view_entry *e)
{
	nlu->nexus = n;
	nlu->lu = e->lu;
	nlu->ll = scsi_lu_here(e->lu);
	nlu->lun = e->lun;
	nlu->read_only = e->read_only;
	list_init(&nlu->tasks);
	list_push_back(&nlu->ll->nexus_lus, &nlu->lu_link);
	scsi_ua_raise(nlu, UA_POWER_ON);
	scsi_pr_refresh(nlu);
}

int
scsi_nexus_create(struct scsi_core *c, const struct scsi_nexus_args *args, struct scsi_nexus **ret)
{
	ASSERT(loop_is_current(args->loop) && args->view->core == c);
	ASSERT(args->transport_id_len >= 24 && args->transport_id_len <= SCSI_TRANSPORT_ID_MAX &&
	       args->transport_id_len % 4 == 0);
	unsigned idx = scsi_loop_index(c);
	struct scsi_nexus *n = calloc(1, sizeof *n);
	if (n == NULL)
		return -ENOMEM;
	n->nlu_count = args->view->count;
	n->nlus = calloc(n->nlu_count > 0 ? n->nlu_count : 1, sizeof *n->nlus);
	n->initiator = strdup(args->initiator != NULL ? args->initiator : "");
	if (n->nlus == NULL || n->initiator == NULL) {
		free(n->nlus);
		free(n->initiator);
		free(n);
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
	loop_defer_init(&n->gone_defer, nexus_gone);
	n->view->users[idx]++;
	n->cl->nexus_count++;
	for (uint32_t i = 0; i < n->nlu_count; i++)
		nlu_init(n, &n->nlus[i], &args->view->entries[i]);
	*ret = n;
	return 0;
}

struct scsi_nexus_lu *
scsi_nexus_find(const struct scsi_nexus *n, uint16_t lun)
{
	/* Numbers without gaps, the usual case. */
	if (lun < n->nlu_count && n->nlus[lun].lun == lun)
		return &n->nlus[lun];
	uint32_t lo = 0, hi = n->nlu_count;
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		if (n->nlus[mid].lun == lun)
			return &n->nlus[mid];
		if (n->nlus[mid].lun < lun)
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

static void
prevent_edit(struct scsi_lu_state *st, void *arg)
{
	(void)arg;
	if (st->prevent_count > 0)
		st->prevent_count--;
}

void
scsi_nexus_lose_lus(struct scsi_nexus *n)
{
	for (uint32_t i = 0; i < n->nlu_count; i++) {
		struct scsi_nexus_lu *nlu = &n->nlus[i];
		scsi_pr_nexus_lost(nlu->lu, n->id);
		/* SBC-3 5.15: the prevention ends with the nexus. Without memory it stays: a medium that
		 * can't be taken out does less harm than one that was. */
		if (nlu->prevents_removal &&
		    scsi_change_state(nlu->lu, prevent_edit, 0, -1, 0, NULL, NULL) == 0)
			nlu->prevents_removal = false;
	}
}

static void
abort_list(struct list *tasks)
{
	LIST_FOREACH (l, tasks)
		scsi_task_abort(container_of(l, struct scsi_task, nexus_link), false);
}

void
scsi_nexus_abort_all(struct scsi_nexus *n)
{
	abort_list(&n->lunless_tasks);
	for (uint32_t i = 0; i < n->nlu_count; i++)
		abort_list(&n->nlus[i].tasks);
}

void
scsi_nexus_destroy(struct scsi_nexus *n, void (*gone)(void *ctx), void *ctx)
{
	ASSERT(loop_is_current(n->loop) && !n->dying);
	n->dying = true;
	n->gone = gone;
	n->gone_ctx = ctx;
	scsi_nexus_abort_all(n);
	scsi_nexus_lose_lus(n);
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
	for (uint32_t i = 0; i < n->nlu_count; i++) {
		ASSERT(list_empty(&n->nlus[i].tasks));
		list_remove(&n->nlus[i].lu_link);
	}
	unsigned idx = scsi_loop_index(n->core);
	ASSERT(n->view->users[idx] > 0 && n->cl->nexus_count > 0);
	n->view->users[idx]--;
	n->cl->nexus_count--;
	void (*gone)(void *ctx) = n->gone;
	void *ctx = n->gone_ctx;
	free(n->initiator);
	free(n->nlus);
	free(n);
	if (gone != NULL)
		gone(ctx);
}
