/* SPDX-License-Identifier: BSD-2-Clause */
/* Task management, RFC 7143 §11.5, §11.6 and RFC 7144 §4; SAM-5 clause 7. */
#include "iscsi/conn.h"

#include <string.h>

static void
respond(struct iscsi_conn *c, uint32_t itt, enum iscsi_tmf_response response)
{
	struct iscsi_out *o = iscsi_out_get(c);
	if (o == NULL) {
		iscsi_conn_end(c, "out of buffers", false);
		return;
	}
	struct iscsi_tmf_rsp *p = (struct iscsi_tmf_rsp *)(void *)o->hdr;
	p->opcode = ISCSI_OP_TMF_RSP;
	p->flags = ISCSI_FLAG_FINAL;
	p->response = (uint8_t)response;
	be32_put(&p->itt, itt);
	iscsi_out_queue(c, o, true);
}

static enum iscsi_tmf_response
map_response(const struct scsi_tmf_req *r)
{
	switch (r->response) {
	case SCSI_TMF_COMPLETE:
		return ISCSI_TMF_RSP_COMPLETE;
	case SCSI_TMF_SUCCEEDED:
		return ISCSI_TMF_RSP_SUCCEEDED;
	case SCSI_TMF_NOT_SUPPORTED:
		return ISCSI_TMF_RSP_NOT_SUPPORTED;
	case SCSI_TMF_BAD_LUN:
		return ISCSI_TMF_RSP_NO_LUN;
	case SCSI_TMF_REJECTED:
		break;
	}
	return ISCSI_TMF_RSP_REJECTED;
}

static void
on_tmf_done(struct scsi_tmf_req *r)
{
	struct iscsi_tmf_slot *slot = container_of(r, struct iscsi_tmf_slot, req);
	struct iscsi_conn *c = slot->conn;
	bool cold = slot->cold_reset;

	list_push_back(&c->tmf_free, &slot->link);
	c->tmf_busy--;
	if (!iscsi_conn_alive(c)) {
		iscsi_conn_maybe_gone(c);
		return;
	}
	respond(c, slot->itt, map_response(r));
	if (cold && iscsi_conn_alive(c)) {
		/* TARGET COLD RESET ends the session (§11.5.1); the answer goes out first. */
		iscsi_tx_flush(c);
		iscsi_conn_end(c, "target cold reset", true);
	}
}

/* Which function of the core; false: answered with "not supported" (RFC 7144 needs level 2). */
static bool
map_function(const struct iscsi_conn *c, uint8_t function, enum scsi_tmf *ret)
{
	static const struct {
		uint8_t level;
		bool known;
		enum scsi_tmf function;
	} map[] = {
	    [ISCSI_TMF_ABORT_TASK] = {1, true, SCSI_TMF_ABORT_TASK},
	    [ISCSI_TMF_ABORT_TASK_SET] = {1, true, SCSI_TMF_ABORT_TASK_SET},
	    [ISCSI_TMF_CLEAR_TASK_SET] = {1, true, SCSI_TMF_CLEAR_TASK_SET},
	    [ISCSI_TMF_LU_RESET] = {1, true, SCSI_TMF_LU_RESET},
	    [ISCSI_TMF_TARGET_WARM_RESET] = {1, true, SCSI_TMF_TARGET_RESET},
	    [ISCSI_TMF_TARGET_COLD_RESET] = {1, true, SCSI_TMF_TARGET_RESET},
	    [ISCSI_TMF_QUERY_TASK] = {2, true, SCSI_TMF_QUERY_TASK},
	    [ISCSI_TMF_QUERY_TASK_SET] = {2, true, SCSI_TMF_QUERY_TASK_SET},
	    [ISCSI_TMF_I_T_NEXUS_RESET] = {2, true, SCSI_TMF_I_T_NEXUS_RESET},
	    [ISCSI_TMF_QUERY_ASYNC_EVENT] = {2, true, SCSI_TMF_QUERY_ASYNC_EVENT},
	};
	if (function >= sizeof map / sizeof map[0] || !map[function].known ||
	    c->params.protocol_level < map[function].level)
		return false;
	*ret = map[function].function;
	return true;
}

#define CROSSING_NS 1000000000ull

/*
 * A task that has finished. Whoever has seen its response (ExpStatSN acknowledges it) or must have by
 * now is told "complete": ESXi takes "task does not exist" badly. When the response and the request
 * have just crossed, "complete" would mean that no response comes; the truth is that one is on its
 * way, and the task doesn't exist.
 */
static enum iscsi_tmf_response
finished_response(
    const struct iscsi_conn *c, const struct iscsi_finished *f, const struct iscsi_tmf_req *req)
{
	bool seen = iscsi_sn_lt(f->stat_sn, be32_get(req->exp_stat_sn));
	bool old = loop_now_ns(c->il->loop) - f->at_ns >= CROSSING_NS;
	return !f->answered || seen || old ? ISCSI_TMF_RSP_COMPLETE : ISCSI_TMF_RSP_NO_TASK;
}

/*
 * ABORT TASK and QUERY TASK name a task. §11.6.1: one that never arrived, but whose CmdSN is in the
 * window and before the request's, counts as received from now on.
 */
static bool
refers_to_task(struct iscsi_conn *c, const struct iscsi_tmf_req *req, uint8_t function)
{
	uint32_t itt = be32_get(req->itt), ref = be32_get(req->ref_task_tag);
	uint32_t ref_sn = be32_get(req->ref_cmd_sn);
	struct iscsi_task *t = iscsi_task_find(c, ref);

	if (t != NULL && !t->done) {
		if (memcmp(t->scsi.lun, req->lun, sizeof req->lun) == 0)
			return true;
		respond(c, itt, ISCSI_TMF_RSP_NO_LUN);
		return false;
	}
	const struct iscsi_finished *f = t == NULL ? iscsi_task_finished(c, ref) : NULL;
	if (f != NULL) {
		respond(c, itt, finished_response(c, f, req));
		return false;
	}
	if (t != NULL) { /* its response waits to be sent */
		respond(c, itt, ISCSI_TMF_RSP_NO_TASK);
		return false;
	}
	if (function == ISCSI_TMF_ABORT_TASK && !iscsi_sn_lt(ref_sn, c->exp_cmd_sn) &&
	    !iscsi_sn_lt(c->max_cmd_sn, ref_sn) && iscsi_sn_lt(ref_sn, be32_get(req->cmd_sn))) {
		iscsi_cmd_sn_skip(c, ref_sn);
		respond(c, itt, ISCSI_TMF_RSP_COMPLETE);
		return false;
	}
	respond(c, itt,
	    function == ISCSI_TMF_QUERY_TASK ? ISCSI_TMF_RSP_COMPLETE : ISCSI_TMF_RSP_NO_TASK);
	return false;
}

void
iscsi_tmf_request(struct iscsi_conn *c, const struct iscsi_tmf_req *req)
{
	uint8_t function = req->function & 0x7f;
	uint32_t itt = be32_get(req->itt);
	enum scsi_tmf scsi_function;

	if (c->nexus == NULL) {
		iscsi_conn_end(c, "task management in a discovery session", false);
		return;
	}
	if (function == ISCSI_TMF_TASK_REASSIGN) {
		respond(c, itt, ISCSI_TMF_RSP_NO_REASSIGN); /* ErrorRecoveryLevel < 2 */
		return;
	}
	if (!map_function(c, function, &scsi_function)) {
		respond(c, itt, ISCSI_TMF_RSP_NOT_SUPPORTED);
		return;
	}
	if ((function == ISCSI_TMF_ABORT_TASK || function == ISCSI_TMF_QUERY_TASK) &&
	    !refers_to_task(c, req, function))
		return;
	if (list_empty(&c->tmf_free)) {
		iscsi_reject(c, req, ISCSI_REJECT_IMMEDIATE);
		return;
	}
	struct iscsi_tmf_slot *slot =
	    container_of(list_pop_front(&c->tmf_free), struct iscsi_tmf_slot, link);
	c->tmf_busy++;
	slot->itt = itt;
	slot->cold_reset = function == ISCSI_TMF_TARGET_COLD_RESET;
	memset(&slot->req, 0, sizeof slot->req);
	slot->req.nexus = c->nexus;
	slot->req.function = scsi_function;
	memcpy(slot->req.lun, req->lun, sizeof slot->req.lun);
	slot->req.tag = be32_get(req->ref_task_tag);
	slot->req.done = on_tmf_done;
	scsi_tmf_submit(&slot->req);
}
