/* SPDX-License-Identifier: BSD-2-Clause */
/* Task management, SRP r16a §6.5; SAM-5 clause 7. */
#include "srp/chan.h"

#include <string.h>

static const struct {
	uint8_t wire;
	enum scsi_tmf function;
} functions[] = {
    {SRP_TSK_ABORT_TASK, SCSI_TMF_ABORT_TASK},
    {SRP_TSK_ABORT_TASK_SET, SCSI_TMF_ABORT_TASK_SET},
    {SRP_TSK_CLEAR_TASK_SET, SCSI_TMF_CLEAR_TASK_SET},
    {SRP_TSK_LUN_RESET, SCSI_TMF_LU_RESET},
};

static enum srp_rsp_code
code_of(enum scsi_tmf_response r)
{
	switch (r) {
	case SCSI_TMF_COMPLETE:
	case SCSI_TMF_SUCCEEDED:
		return SRP_RSP_COMPLETE;
	case SCSI_TMF_NOT_SUPPORTED:
		return SRP_RSP_TMF_UNSUPPORTED;
	case SCSI_TMF_BAD_LUN:
	case SCSI_TMF_REJECTED:
		break;
	}
	return SRP_RSP_TMF_FAILED;
}

/* Does the function cover this command? */
static bool
covers(const struct srp_task *tmf, const struct srp_task *t)
{
	if (t->is_tmf || t->seq >= tmf->seq)
		return false;
	if (tmf->tmf.function == SCSI_TMF_ABORT_TASK)
		return t->seq == tmf->wait_seq;
	return memcmp(t->lun, tmf->lun, sizeof t->lun) == 0;
}

/* CH-4: commands that the core is done with may still be moving data. */
static bool
is_quiet(const struct srp_task *tmf)
{
	LIST_FOREACH (l, &tmf->chan->session->chans) {
		const struct srp_chan *c = container_of(l, struct srp_chan, link);
		LIST_FOREACH (k, &c->busy)
			if (covers(tmf, container_of(k, struct srp_task, link)))
				return false;
	}
	return true;
}

static void
respond(struct srp_task *t)
{
	ASSERT(t->done);
	if (t->waits_tasks) {
		t->waits_tasks = false;
		list_remove(&t->wait_link);
	}
	if (srp_chan_is_live(t->chan))
		srp_task_answer(t);
	else
		srp_task_free(t);
}

void
srp_tmf_check(struct srp_session *s)
{
	/* Answering may free tasks and come here again: one at a time. */
	if (list_empty(&s->tmf_waits) || s->tmf_checking)
		return;
	s->tmf_checking = true;
again:
	LIST_FOREACH (l, &s->tmf_waits) {
		struct srp_task *t = container_of(l, struct srp_task, wait_link);
		if (is_quiet(t)) {
			respond(t);
			goto again;
		}
	}
	s->tmf_checking = false;
}

static void
on_tmf_done(struct scsi_tmf_req *r)
{
	struct srp_task *t = container_of(r, struct srp_task, tmf);
	t->done = true;
	t->code = (int)code_of(r->response);
	if (is_quiet(t)) {
		respond(t);
		return;
	}
	t->waits_tasks = true;
	list_push_back(&t->chan->session->tmf_waits, &t->wait_link);
}

/* The command with this tag: on the channel of the function first. */
static struct srp_task *
find(struct srp_chan *c, const uint8_t tag[SRP_TAG_BYTES])
{
	LIST_FOREACH (l, &c->busy) {
		struct srp_task *t = container_of(l, struct srp_task, link);
		if (!t->is_tmf && memcmp(t->tag, tag, SRP_TAG_BYTES) == 0)
			return t;
	}
	return NULL;
}

static struct srp_task *
find_anywhere(struct srp_chan *c, const uint8_t tag[SRP_TAG_BYTES])
{
	struct srp_task *t = find(c, tag);
	LIST_FOREACH (l, &c->session->chans)
		if (t == NULL)
			t = find(container_of(l, struct srp_chan, link), tag);
	return t;
}

static void
refuse(struct srp_task *t, enum srp_rsp_code code)
{
	t->done = true;
	t->code = (int)code;
	srp_task_answer(t);
}

void
srp_tmf_start(struct srp_task *t, const struct srp_tsk_mgmt *req)
{
	struct srp_chan *c = t->chan;
	struct srp_task *other = NULL;
	size_t i = 0;

	t->is_tmf = true;
	t->waits_tasks = false;
	list_init(&t->wait_link);
	memcpy(t->tag, req->tag, sizeof t->tag);
	memcpy(t->lun, req->lun, sizeof t->lun);
	t->sol_not = req->sol_not;
	while (i < sizeof functions / sizeof functions[0] && functions[i].wire != req->function)
		i++;
	if (i == sizeof functions / sizeof functions[0]) {
		refuse(t, SRP_RSP_TMF_UNSUPPORTED);
		return;
	}
	if (req->function == SRP_TSK_ABORT_TASK)
		other = find_anywhere(c, req->task_tag);
	memset(&t->tmf, 0, sizeof t->tmf);
	t->tmf.function = functions[i].function;
	if (req->function == SRP_TSK_ABORT_TASK) {
		if (other == NULL) {
			/* It was answered: the answer is ahead of this one. */
			refuse(t, SRP_RSP_COMPLETE);
			return;
		}
		t->wait_seq = other->seq;
		t->tmf.tag = other->seq;
		memcpy(t->lun, other->lun, sizeof t->lun);
	}
	t->tmf.nexus = c->session->nexus;
	memcpy(t->tmf.lun, t->lun, sizeof t->tmf.lun);
	t->tmf.done = on_tmf_done;
	scsi_tmf_submit(&t->tmf);
}
