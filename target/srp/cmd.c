/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Commands: from the unit to the core, data out by READ, data in by WRITE, the answer.
 *
 *     submitted ─(wants)─▶ list ─▶ data ─▶ core ─(done)─▶ list ─▶ answer ─▶ free
 *
 * The list of descriptors is fetched only where it isn't all in the unit: before the data of a write,
 * before the answer of a read. The core may end a command any time; what is in flight for it is waited
 * for first (CH-3).
 */
#include "srp/chan.h"

#include <errno.h>
#include <string.h>

static void on_want_data(struct scsi_task *s);
static void on_done(struct scsi_task *s);
static void data_out(struct srp_task *t);
static void finish(struct srp_task *t);

static const struct scsi_transport_ops transport_ops = {
    .want_data = on_want_data,
    .done = on_done,
};

/* ---- tasks ---------------------------------------------------------------------------------------- */

static struct srp_task *
task_get(struct srp_chan *c, uint32_t recv)
{
	struct srp_task *t = container_of(list_pop_front(&c->free), struct srp_task, link);
	t->recv = (int32_t)recv;
	t->seq = ++c->session->next_seq;
	t->is_tmf = t->submitted = t->wants = t->answered = t->ends_chan = false;
	t->done = t->bounced = t->waits_buf = false;
	t->code = -1;
	t->buf = (struct srp_buffer){0};
	t->table = NULL;
	t->wait_seq = 0;
	t->sol_not = 0;
	ASSERT(!t->op.busy && t->op.in_flight == 0);
	list_push_back(&c->busy, &t->link);
	c->busy_count++;
	return t;
}

static void
put_recv(struct srp_task *t)
{
	if (t->recv < 0)
		return;
	uint32_t idx = (uint32_t)t->recv;
	t->recv = -1;
	srp_chan_repost(t->chan, idx);
}

void
srp_task_free(struct srp_task *t)
{
	struct srp_chan *c = t->chan;
	ASSERT(!t->op.busy && !t->waits_buf);
	put_recv(t);
	if (t->table != NULL)
		loop_buf_put(c->loop, t->table, t->table_bytes);
	if (t->bounced)
		blk_sg_put(&t->bounce);
	if (t->submitted)
		scsi_task_release(&t->scsi);
	if (!t->answered)
		c->owed++;
	bool ends = t->ends_chan && t->answered;
	list_remove(&t->link);
	list_push_back(&c->free, &t->link);
	c->busy_count--;
	srp_tmf_check(c->session);
	if (ends)
		srp_chan_end(c, "it logged out", true);
	srp_chan_unpark(c);
	srp_chan_check_owed(c);
	srp_chan_check(c);
}

const struct iovec *
srp_task_segments(const struct srp_task *t, uint32_t *ret_count)
{
	if (t->op.kind == SRP_OP_TABLE) {
		*ret_count = 1;
		return &t->table_iov;
	}
	const struct blk_sg *sg = t->bounced ? &t->bounce : &t->scsi.sg;
	*ret_count = sg->iovcnt;
	return sg->iov;
}

struct srp_desc
srp_task_remote(const struct srp_task *t, uint32_t i)
{
	if (t->op.kind == SRP_OP_TABLE)
		return t->buf.table;
	const struct srp_direct_desc *list = t->table != NULL ? t->table : t->buf.descs;
	ASSERT(i < (t->table != NULL ? t->buf.table_count : t->buf.desc_count));
	return srp_desc_get(list, i);
}

/* ---- memory ------------------------------------------------------------------------------------------ */

static void
on_buf(struct loop_bufwait *w)
{
	struct srp_task *t = container_of(w, struct srp_task, bufwait);
	t->waits_buf = false;
	if (t->done)
		finish(t);
	else
		data_out(t);
}

static void
wait_buf(struct srp_task *t)
{
	t->waits_buf = true;
	loop_bufwait_init(&t->bufwait, on_buf);
	loop_bufwait_queue(t->chan->loop, &t->bufwait);
}

static void
no_buf(struct srp_task *t)
{
	if (t->waits_buf)
		loop_bufwait_cancel(&t->bufwait);
	t->waits_buf = false;
}

/* True: the whole list is there. Else it is being fetched, or waits for memory. */
static bool
have_list(struct srp_task *t)
{
	struct srp_chan *c = t->chan;
	if (!srp_buffer_is_external(&t->buf) || t->table != NULL)
		return true;
	t->table_bytes = t->buf.table.len;
	t->table = loop_buf_get(c->loop, t->table_bytes);
	if (t->table == NULL) {
		wait_buf(t);
		return false;
	}
	t->table_iov = (struct iovec){.iov_base = t->table, .iov_len = t->table_bytes};
	srp_op_queue(c, &t->op, SRP_OP_TABLE, t->table_bytes);
	srp_pump_soon(c);
	return false;
}

/* True: data can be moved from where it is, or from a copy. Else it waits for memory. */
static bool
have_memory(struct srp_task *t, uint32_t bytes)
{
	struct srp_chan *c = t->chan;
	struct blk_sg *sg = &t->scsi.sg;
	bool local = true;
	if (t->bounced)
		return true;
	for (uint32_t i = 0; local && i < sg->iovcnt; i++)
		local = c->ops->is_local(c->conn, sg->iov[i].iov_base, sg->iov[i].iov_len);
	if (local)
		return true;
	blk_sg_init(&t->bounce);
	if (blk_sg_get_plain(c->loop, &t->bounce, bytes) < 0) {
		wait_buf(t);
		return false;
	}
	t->bounced = true;
	return true;
}

static void
copy(const struct blk_sg *from, const struct blk_sg *to, uint32_t bytes)
{
	uint64_t at = 0;
	for (uint32_t i = 0; i < from->iovcnt && at < bytes; i++) {
		size_t n = from->iov[i].iov_len;
		if (n > bytes - at)
			n = (size_t)(bytes - at);
		blk_sg_copy_in(to, at, from->iov[i].iov_base, n);
		at += n;
	}
}

/* ---- data out ------------------------------------------------------------------------------------------ */

static void
data_ready(struct srp_task *t, int result)
{
	t->wants = false;
	scsi_task_data_ready(&t->scsi, result);
}

static void
data_out(struct srp_task *t)
{
	struct srp_chan *c = t->chan;
	struct scsi_task *s = &t->scsi;
	if (!srp_chan_is_live(c)) {
		data_ready(t, -EIO);
	} else if (t->buf.format == SRP_FMT_IMMEDIATE) {
		blk_sg_copy_in(&s->sg, 0, t->buf.data, s->data_out_len);
		SRP_COUNT(c->session->counts.immediate_bytes, s->data_out_len);
		data_ready(t, 0);
	} else if (have_list(t) && have_memory(t, s->data_out_len)) {
		srp_op_queue(c, &t->op, SRP_OP_DATA_OUT, s->data_out_len);
		srp_pump_soon(c);
	}
}

static void
on_want_data(struct scsi_task *s)
{
	struct srp_task *t = container_of(s, struct srp_task, scsi);
	t->wants = true;
	data_out(t);
}

static void
data_arrived(struct srp_task *t)
{
	struct srp_chan *c = t->chan;
	if (t->bounced) {
		copy(&t->bounce, &t->scsi.sg, t->scsi.data_out_len);
		SRP_COUNT(c->session->counts.copied_bytes, t->scsi.data_out_len);
	}
	data_ready(t, 0);
}

/* ---- the end -------------------------------------------------------------------------------------------- */

static void
count(struct srp_task *t)
{
	struct srp_counts *n = &t->chan->session->counts;
	if (t->scsi.out_bytes > 0) {
		SRP_COUNT(n->writes, 1);
		SRP_COUNT(n->write_bytes, t->scsi.data_out_len);
	} else if (t->scsi.in_bytes > 0) {
		SRP_COUNT(n->reads, 1);
		SRP_COUNT(n->read_bytes, t->scsi.data_in_len);
	} else {
		SRP_COUNT(n->others, 1);
	}
}

void
srp_task_answer(struct srp_task *t)
{
	struct srp_chan *c = t->chan;
	bool data = t->submitted && t->code < 0;
	srp_op_queue(c, &t->op, SRP_OP_ANSWER, data ? t->scsi.data_in_len : 0);
	srp_pump_soon(c);
}

/* The core is done, nothing is in flight. */
static void
finish(struct srp_task *t)
{
	struct srp_chan *c = t->chan;
	struct scsi_task *s = &t->scsi;
	if (!srp_chan_is_live(c) || s->aborted) {
		srp_task_free(t);
		return;
	}
	if (t->code < 0 && s->data_in_len > 0) {
		if (!have_list(t) || !have_memory(t, s->data_in_len))
			return;
		if (t->bounced) {
			copy(&s->sg, &t->bounce, s->data_in_len);
			SRP_COUNT(c->session->counts.copied_bytes, s->data_in_len);
		}
	}
	count(t);
	srp_task_answer(t);
}

static void
on_done(struct scsi_task *s)
{
	struct srp_task *t = container_of(s, struct srp_task, scsi);
	t->done = true;
	t->wants = false;
	no_buf(t);
	if (srp_op_cancel(t->chan, &t->op))
		finish(t);
}

void
srp_cmd_op_done(struct srp_task *t)
{
	struct srp_op *op = &t->op;
	if (op->kind == SRP_OP_ANSWER) {
		srp_task_free(t);
		return;
	}
	if (op->kind == SRP_OP_TABLE && !op->failed &&
	    !srp_table_check(t->table, t->buf.table_count, t->buf.bytes))
		t->code = SRP_RSP_INVALID_FIELDS; /* the list isn't what the command said */
	if (t->done) {
		finish(t);
	} else if (op->failed || t->code >= 0) {
		data_ready(t, -EIO);
	} else if (op->kind == SRP_OP_TABLE) {
		data_out(t);
	} else {
		data_arrived(t);
	}
}

void
srp_cmd_chan_ends(struct srp_task *t)
{
	bool was_busy = t->op.busy;
	no_buf(t);
	if (!srp_op_cancel(t->chan, &t->op))
		return; /* its completion goes on */
	if (t->is_tmf) {
		if (t->done && (was_busy || !t->waits_tasks))
			srp_task_free(t);
		return;
	}
	if (!t->submitted || t->done)
		srp_task_free(t); /* it was to be answered, or waited for memory to be */
	else if (t->wants)
		data_ready(t, -EIO);
}

size_t
srp_task_build_answer(struct srp_task *t, bool *ret_solicited)
{
	struct srp_chan *c = t->chan;
	const struct scsi_task *s = &t->scsi;
	struct srp_answer a = {.tag = t->tag, .code = t->code};
	bool good = t->code <= 0;
	if (t->submitted && t->code < 0) {
		a.status = s->status;
		a.out_bytes = s->out_bytes;
		a.in_bytes = s->in_bytes;
		a.xfer_bytes = s->xfer_bytes;
		a.sense = s->sense;
		a.sense_len = s->sense_len;
		good = s->status == SCSI_GOOD || s->status == SCSI_CONDITION_MET;
	}
	a.solicited = (t->sol_not & (good ? SRP_SOL_GOOD : SRP_SOL_BAD)) != 0;
	put_recv(t); /* CH-2 */
	a.req_lim_delta = 1 + c->owed;
	c->credits += a.req_lim_delta;
	c->owed = 0;
	t->answered = true;
	*ret_solicited = a.solicited;
	return srp_rsp_build(c->conn->send_base + (size_t)t->idx * SRP_SEND_STRIDE, &a);
}

/* ---- the beginning ----------------------------------------------------------------------------------------- */

static enum scsi_attr
attribute(uint8_t attr)
{
	switch (attr) {
	case 1:
		return SCSI_HEAD_OF_QUEUE;
	case 2:
		return SCSI_ORDERED;
	case 4:
		return SCSI_ACA;
	default: /* reserved ones are served as simple */
		return SCSI_SIMPLE;
	}
}

static void
submit(struct srp_task *t, const struct srp_request *r)
{
	struct srp_chan *c = t->chan;
	struct scsi_task *s = &t->scsi;
	bool immediate = r->out.format == SRP_FMT_IMMEDIATE && r->out.bytes > 0;
	s->nexus = c->session->nexus;
	s->ops = &transport_ops;
	s->tag = t->seq; /* tags of the wire are unique within a channel only */
	memcpy(s->lun, r->lun, sizeof s->lun);
	memset(s->cdb, 0, sizeof s->cdb);
	memcpy(s->cdb, r->cdb, r->cdb_len);
	s->cdb_len = r->cdb_len;
	s->attr = (uint8_t)attribute(r->attr);
	s->priority = 0;
	s->immediate = s->no_wait = false;
	s->out_bytes = r->out.bytes;
	s->in_bytes = r->in.bytes;
	s->out_data = immediate ? r->out.data : NULL;
	t->buf = r->out.format != SRP_FMT_NONE ? r->out : r->in;
	t->submitted = true;
	switch (scsi_task_submit(s)) {
	case SCSI_WANT_DATA:
		on_want_data(s);
		break;
	case SCSI_TOOK_DATA:
		SRP_COUNT(c->session->counts.immediate_bytes, r->out.bytes);
		break;
	case SCSI_PENDING:
		break;
	}
}

/* The channel ends, and nobody counts credits any more. */
static void
malformed(struct srp_task *t, enum srp_logout_reason reason, const char *what)
{
	struct srp_chan *c = t->chan;
	t->done = t->answered = true;
	srp_chan_logout(c, reason, what);
	srp_task_free(t);
}

static void
command(struct srp_task *t, const uint8_t *iu, uint32_t len)
{
	struct srp_chan *c = t->chan;
	struct srp_request r;
	enum srp_logout_reason reason;
	enum srp_verdict v = srp_cmd_parse(iu, len, &c->cmd_limits, &r, &reason);
	memcpy(t->tag, r.tag, sizeof t->tag);
	memcpy(t->lun, r.lun, sizeof t->lun);
	t->sol_not = r.sol_not;
	if (v == SRP_GO_ON) {
		submit(t, &r);
		return;
	}
	t->done = true;
	if (v == SRP_END) {
		malformed(t, reason, "a command is malformed");
		return;
	}
	t->code = SRP_RSP_INVALID_FIELDS;
	srp_task_answer(t);
}

void
srp_request_start(struct srp_chan *c, uint32_t idx, uint32_t len)
{
	const uint8_t *iu = srp_chan_recv_buf(c, idx);
	struct srp_task *t = task_get(c, idx);
	if (iu[0] == SRP_CMD) {
		command(t, iu, len);
		return;
	}
	if (iu[0] == SRP_I_LOGOUT) {
		const struct srp_short *m = (const void *)iu;
		memcpy(t->tag, m->tag, sizeof t->tag);
		t->done = true;
		t->code = SRP_RSP_COMPLETE;
		t->ends_chan = true;
		srp_task_answer(t);
		return;
	}
	if (len < sizeof(struct srp_tsk_mgmt)) {
		malformed(t, SRP_LOGOUT_BAD_IU, "a task management request is too short");
		return;
	}
	srp_tmf_start(t, (const void *)iu);
}
