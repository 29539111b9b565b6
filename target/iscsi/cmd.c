/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * SCSI commands: command window, tasks, data-out (immediate, unsolicited, solicited by R2T), and
 * the core's callbacks. RFC 7143 §4.2.2.1, §4.2.5, §11.3, §11.7, §11.8.
 */
#include "iscsi/conn.h"

#include <errno.h>
#include <string.h>

/* ---- tasks by tag ---------------------------------------------------------------------------- */

static unsigned
bucket(uint32_t itt)
{
	return (itt ^ itt >> 8 ^ itt >> 16) % ISCSI_HASH_BUCKETS;
}

struct iscsi_task *
iscsi_task_find(const struct iscsi_conn *c, uint32_t itt)
{
	for (struct iscsi_task *t = c->hash[bucket(itt)]; t != NULL; t = t->hash_next)
		if (t->itt == itt)
			return t;
	return NULL;
}

const struct iscsi_finished *
iscsi_task_finished(const struct iscsi_conn *c, uint32_t itt)
{
	/* Newest first: tags are used again. */
	for (unsigned i = 1; i <= ISCSI_FINISHED_RING; i++) {
		const struct iscsi_finished *f =
		    &c->finished[(c->finished_at + ISCSI_FINISHED_RING - i) % ISCSI_FINISHED_RING];
		if (f->itt == itt)
			return f;
	}
	return NULL;
}

static void
hash_remove(struct iscsi_conn *c, struct iscsi_task *t)
{
	struct iscsi_task **at = &c->hash[bucket(t->itt)];
	while (*at != t) {
		ASSERT(*at != NULL);
		at = &(*at)->hash_next;
	}
	*at = t->hash_next;
	c->finished[c->finished_at] = (struct iscsi_finished){
	    .itt = t->itt,
	    .stat_sn = t->stat_sn,
	    .at_ns = loop_now_ns(c->il->loop),
	    .answered = t->answered,
	};
	c->finished_at = (c->finished_at + 1) % ISCSI_FINISHED_RING;
}

void
iscsi_task_slot_back(struct iscsi_task *t)
{
	if (t->slot_back)
		return;
	t->slot_back = true;
	if (t->immediate_cmd)
		t->conn->immediate_count--;
	else
		t->conn->window_used--;
}

/* The task has its buffers and waits for the initiator to fill them, or no longer does. */
static void
set_wants_data(struct iscsi_task *t, bool wants)
{
	struct iscsi_conn *c = t->conn;
	if (t->wants_data == wants)
		return;
	t->wants_data = wants;
	if (!wants) {
		ASSERT(c->awaited > 0);
		c->awaited--;
		return;
	}
	t->data_ns = loop_now_ns(c->il->loop);
	if (c->awaited++ == 0 && iscsi_conn_alive(c) && !loop_timer_armed(&c->timer))
		iscsi_conn_timer(c);
}

static void
not_owed(struct iscsi_task *t)
{
	if (t->owed)
		t->conn->owed_count--;
	t->owed = false;
}

void
iscsi_task_free(struct iscsi_task *t)
{
	struct iscsi_conn *c = t->conn;

	list_remove(&t->link);
	iscsi_rx_forget(c, t);
	set_wants_data(t, false);
	not_owed(t);
	hash_remove(c, t);
	iscsi_task_slot_back(t);
	scsi_task_release(&t->scsi);
	pool_put(&c->il->tasks, t);
}

/* ---- the core's callbacks ----------------------------------------------------------------------- */

static void solicit(struct iscsi_conn *c, struct iscsi_task *t);
static void data_complete(struct iscsi_task *t, int result);

static void
on_want_data(struct scsi_task *s)
{
	struct iscsi_task *t = container_of(s, struct iscsi_task, scsi);
	struct iscsi_conn *c = t->conn;

	set_wants_data(t, true);
	if (t->data_wrong)
		data_complete(t, -EIO);
	if (c->rx.state == RX_STALLED && c->rx.task == t)
		iscsi_rx_resume(c);
	else if (iscsi_conn_alive(c))
		solicit(c, t);
}

static void
count(struct iscsi_counts *n, const struct iscsi_task *t)
{
	if (t->is_write) {
		ISCSI_COUNT(n->writes, 1);
		ISCSI_COUNT(n->write_bytes, t->scsi.data_out_len);
	} else if (t->is_read) {
		ISCSI_COUNT(n->reads, 1);
		ISCSI_COUNT(n->read_bytes, t->scsi.data_in_len);
	} else {
		ISCSI_COUNT(n->others, 1);
	}
}

static void
on_done(struct scsi_task *s)
{
	struct iscsi_task *t = container_of(s, struct iscsi_task, scsi);
	struct iscsi_conn *c = t->conn;

	t->done = true;
	set_wants_data(t, false);
	not_owed(t);
	bool stalled = c->rx.state == RX_STALLED && c->rx.task == t;
	iscsi_rx_forget(c, t);
	if (s->aborted || !iscsi_conn_alive(c)) {
		iscsi_task_free(t);
		iscsi_conn_tell_window(c);
	} else {
		count(&c->counts, t);
		iscsi_tx_task(c, t);
	}
	if (stalled)
		iscsi_rx_resume(c);
}

static const struct scsi_transport_ops transport_ops = {
    .want_data = on_want_data,
    .done = on_done,
};

/* ---- command window ------------------------------------------------------------------------------- */

enum window { WINDOW_OK, WINDOW_IGNORE, WINDOW_GAP };

/* Advances ExpCmdSN past numbers that count as received (§11.6.1). */
static void
skip_received(struct iscsi_conn *c)
{
	for (uint32_t i = 0; i < c->skipped_count;) {
		if (c->skipped[i] == c->exp_cmd_sn) {
			c->exp_cmd_sn++;
			c->skipped[i] = c->skipped[--c->skipped_count];
			i = 0;
		} else {
			i++;
		}
	}
}

/*
 * Immediate commands carry the number but don't take it. One connection per session: numbers come
 * in order, so that a gap within the window can never be filled.
 */
static enum window
check_cmd_sn(struct iscsi_conn *c, uint32_t cmd_sn)
{
	if (cmd_sn == c->exp_cmd_sn && !iscsi_sn_lt(c->max_cmd_sn, cmd_sn)) {
		c->exp_cmd_sn++;
		skip_received(c);
		return WINDOW_OK;
	}
	if (iscsi_sn_lt(cmd_sn, c->exp_cmd_sn) || iscsi_sn_lt(c->max_cmd_sn, cmd_sn)) {
		c->il->ignored_cmds++;
		return WINDOW_IGNORE;
	}
	return WINDOW_GAP;
}

void
iscsi_cmd_sn_skip(struct iscsi_conn *c, uint32_t cmd_sn)
{
	if (c->skipped_count < sizeof c->skipped / sizeof c->skipped[0])
		c->skipped[c->skipped_count++] = cmd_sn;
	skip_received(c);
}

bool
iscsi_cmd_sn_ok(struct iscsi_conn *c, const struct iscsi_bhs *bhs, bool *ret_ignore)
{
	*ret_ignore = false;
	if (bhs->opcode & ISCSI_OPCODE_IMMEDIATE)
		return true;
	switch (check_cmd_sn(c, load_be32((const uint8_t *)bhs + 24))) {
	case WINDOW_OK:
		return true;
	case WINDOW_IGNORE:
		*ret_ignore = true;
		return true;
	case WINDOW_GAP:
		break;
	}
	iscsi_conn_end(c, "CmdSN leaves a gap", false);
	return false;
}

/* The window grows when an initiator fills it, as long as its first bursts fit the buffers. */
static void
grow_window(struct iscsi_conn *c)
{
	uint32_t add = c->window < c->limits->depth_max - c->window
	                   ? c->window
	                   : c->limits->depth_max - c->window;
	uint64_t each = c->window_bytes / c->window;
	struct iscsi_loop *il = c->il;
	if (each > 0 && il->window_bytes + add * each > il->window_bytes_max)
		add = il->window_bytes_max > il->window_bytes
		          ? (uint32_t)((il->window_bytes_max - il->window_bytes) / each)
		          : 0;
	c->window += add;
	c->window_bytes += add * each;
	il->window_bytes += add * each;
}

uint32_t
iscsi_conn_max_cmd_sn(struct iscsi_conn *c)
{
	uint32_t free_slots = c->window > c->window_used ? c->window - c->window_used : 0;
	uint32_t max = c->exp_cmd_sn - 1 + free_slots;
	if (iscsi_sn_lt(c->max_cmd_sn, max))
		c->max_cmd_sn = max;
	return c->max_cmd_sn;
}

/* ---- commands --------------------------------------------------------------------------------------- */

/* An answer without a task: BUSY or a CHECK CONDITION with fixed sense. */
static void
answer_directly(struct iscsi_conn *c, uint32_t itt, uint32_t edtl, enum scsi_status status,
    const uint8_t sense[3])
{
	static const uint8_t none[3];
	struct iscsi_out *o = iscsi_out_get(c);
	if (o == NULL) {
		iscsi_conn_end(c, "out of buffers", false);
		return;
	}
	struct iscsi_scsi_rsp *p = (struct iscsi_scsi_rsp *)(void *)o->hdr;
	p->opcode = ISCSI_OP_SCSI_RSP;
	p->flags = ISCSI_FLAG_FINAL | (edtl > 0 ? ISCSI_RSP_UNDERFLOW : 0);
	p->status = (uint8_t)status;
	be32_put(&p->itt, itt);
	be32_put(&p->residual, edtl);
	if (memcmp(sense, none, sizeof none) != 0) {
		static const uint8_t invalid_opcode[20] = {
		    0, 18, 0x70, 0, 5, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x20};
		o->flat = invalid_opcode;
		o->data_len = sizeof invalid_opcode;
	}
	iscsi_out_queue(c, o, true);
}

/* Bidirectional and long CDBs are parsed and refused (RFC 7143 §11.2.2). False: Reject was sent. */
static bool
check_ahs(struct iscsi_conn *c, const struct iscsi_scsi_cmd *req, bool *ret_refuse)
{
	const uint8_t *p = (const uint8_t *)req + ISCSI_BHS_BYTES;
	uint32_t left = req->total_ahs_len * 4u;

	*ret_refuse = false;
	while (left > 0) {
		const struct iscsi_ahs *ahs = (const struct iscsi_ahs *)(const void *)p;
		uint32_t len = 3u + be16_get(ahs->len);
		len = (len + 3u) & ~3u;
		if (len < 4 || len > left) {
			iscsi_reject(c, req, ISCSI_REJECT_INVALID_FIELD);
			return false;
		}
		if (ahs->type == ISCSI_AHS_EXTENDED_CDB || ahs->type == ISCSI_AHS_BIDI_LENGTH)
			*ret_refuse = true;
		p += len;
		left -= len;
	}
	return true;
}

static struct iscsi_task *
task_create(struct iscsi_conn *c, const struct iscsi_scsi_cmd *req)
{
	struct iscsi_task *t = pool_get(&c->il->tasks);
	if (t == NULL)
		return NULL;
	memset(t, 0, sizeof *t);
	t->conn = c;
	t->itt = be32_get(req->itt);
	t->cmd_sn = be32_get(req->cmd_sn);
	t->edtl = be32_get(req->edtl);
	t->immediate_cmd = (req->opcode & ISCSI_OPCODE_IMMEDIATE) != 0;
	t->is_read = (req->flags & ISCSI_CMD_READ) != 0;
	t->is_write = (req->flags & ISCSI_CMD_WRITE) != 0;
	t->unsolicited = t->is_write && !(req->flags & ISCSI_FLAG_FINAL);
	struct scsi_task *s = &t->scsi;
	s->nexus = c->nexus;
	s->ops = &transport_ops;
	s->tag = t->itt;
	memcpy(s->lun, req->lun, sizeof s->lun);
	memcpy(s->cdb, req->cdb, sizeof req->cdb);
	s->cdb_len = sizeof req->cdb;
	s->immediate = t->immediate_cmd;
	s->priority = req->priority & 0xf;
	switch (req->flags & ISCSI_CMD_ATTR_MASK) {
	case 2:
		s->attr = SCSI_ORDERED;
		break;
	case 3:
		s->attr = SCSI_HEAD_OF_QUEUE;
		break;
	case 4:
		s->attr = SCSI_ACA;
		break;
	default: /* 0 untagged, 1 simple; 5–7 are reserved and served as simple */
		s->attr = SCSI_SIMPLE;
		break;
	}
	s->out_bytes = t->is_write ? t->edtl : 0;
	/* Waiting for buffers with data behind the command stops the connection, and with it the data
	 * that other tasks hold buffers for: nobody would ever go on. */
	s->no_wait =
	    c->owed_count > 0 && t->is_write && (be24_get(req->data_len) > 0 || t->unsolicited);
	t->owed = t->is_write && t->edtl > be24_get(req->data_len);
	c->owed_count += t->owed;
	s->in_bytes = t->is_read ? t->edtl : 0;
	list_push_back(&c->tasks, &t->link);
	t->hash_next = c->hash[bucket(t->itt)];
	c->hash[bucket(t->itt)] = t;
	if (t->immediate_cmd)
		c->immediate_count++;
	else
		c->window_used++;
	return t;
}

/* Unsolicited data that breaks what was negotiated ends the connection (§4.2.5.2, §13.10, §13.11). */
static bool
unsolicited_ok(struct iscsi_conn *c, const struct iscsi_scsi_cmd *req)
{
	uint32_t len = be24_get(req->data_len);
	bool write = (req->flags & ISCSI_CMD_WRITE) != 0;
	if (len > 0 && (!write || !c->params.immediate_data || len > c->params.first_burst_bytes ||
	                   len > be32_get(req->edtl))) {
		iscsi_conn_end(c, "immediate data against the negotiated parameters", false);
		return false;
	}
	if (write && !(req->flags & ISCSI_FLAG_FINAL) && c->params.initial_r2t) {
		iscsi_conn_end(c, "unsolicited data with InitialR2T=Yes", false);
		return false;
	}
	return true;
}

/* The data of the command goes to its buffers, or nowhere. */
static enum iscsi_rx_go
aim_immediate(struct iscsi_conn *c, struct iscsi_task *t)
{
	struct iscsi_rx *rx = &c->rx;
	rx->task = t;
	rx->dest = RX_DISCARD;
	if (t->scsi.state == SCSI_TASK_WAIT_BUF && rx->data_len > 0)
		return RX_WAIT; /* goes on in on_want_data() or on_done() */
	if (t->wants_data && rx->data_len > 0) {
		rx->dest = RX_TASK;
		rx->dest_off = 0;
		rx->take =
		    rx->data_len < t->scsi.data_out_len ? rx->data_len : t->scsi.data_out_len;
	}
	return RX_GO;
}

enum iscsi_rx_go
iscsi_cmd_header(struct iscsi_conn *c, const struct iscsi_scsi_cmd *req)
{
	bool immediate = (req->opcode & ISCSI_OPCODE_IMMEDIATE) != 0, ignore, refuse;
	uint32_t itt = be32_get(req->itt);

	if (c->nexus == NULL) {
		iscsi_conn_end(c, "SCSI command in a discovery session", false);
		return RX_DEAD;
	}
	if (!unsolicited_ok(c, req))
		return RX_DEAD;
	if (immediate && c->immediate_count >= c->limits->immediate_max) {
		iscsi_reject(c, req, ISCSI_REJECT_IMMEDIATE);
		return RX_GO;
	}
	if (!iscsi_cmd_sn_ok(c, (const struct iscsi_bhs *)req, &ignore))
		return RX_DEAD;
	if (ignore)
		return RX_GO;
	if (itt == ISCSI_TAG_NONE || iscsi_task_find(c, itt) != NULL) {
		iscsi_reject(c, req,
		    itt == ISCSI_TAG_NONE ? ISCSI_REJECT_INVALID_FIELD
		                          : ISCSI_REJECT_TASK_IN_PROGRESS);
		return RX_GO;
	}
	if (!check_ahs(c, req, &refuse))
		return RX_GO;
	if (refuse || (req->flags & (ISCSI_CMD_READ | ISCSI_CMD_WRITE)) ==
	                  (ISCSI_CMD_READ | ISCSI_CMD_WRITE)) {
		/* ILLEGAL REQUEST, INVALID COMMAND OPERATION CODE: no such command is offered. */
		answer_directly(c, itt, be32_get(req->edtl), SCSI_CHECK_CONDITION,
		    (const uint8_t[3]){5, 0x20, 0});
		return RX_GO;
	}
	struct iscsi_task *t = task_create(c, req);
	if (t == NULL) {
		answer_directly(c, itt, be32_get(req->edtl), SCSI_BUSY, (const uint8_t[3]){0});
		return RX_GO;
	}
	if (c->window_used >= c->window && c->window < c->limits->depth_max)
		grow_window(c);
	if (t->is_write && !t->owed && !t->unsolicited)
		t->scsi.out_data = iscsi_rx_segment(c);
	enum scsi_submit submitted = scsi_task_submit(&t->scsi);
	set_wants_data(t, submitted == SCSI_WANT_DATA);
	if (submitted == SCSI_TOOK_DATA) {
		t->landed = t->scsi.data_out_len;
		iscsi_rx_segment_taken(c);
	}
	t->unsolicited_at = be24_get(req->data_len);
	return aim_immediate(c, t);
}

enum iscsi_rx_go
iscsi_cmd_header_again(struct iscsi_conn *c, struct iscsi_task *t)
{
	return aim_immediate(c, t);
}

/* ---- data-out ------------------------------------------------------------------------------------------ */

/* Asks for data that hasn't been asked for: as many R2Ts as negotiated (§11.8). */
static void
solicit(struct iscsi_conn *c, struct iscsi_task *t)
{
	if (!t->wants_data || t->unsolicited)
		return;
	if (t->r2t_at < t->unsolicited_at)
		t->r2t_at = t->unsolicited_at;
	while (t->r2t_at < t->scsi.data_out_len && t->r2t_count < c->params.max_outstanding_r2t &&
	       t->r2t_count < ISCSI_R2T_MAX) {
		struct iscsi_out *o = iscsi_out_get(c);
		if (o == NULL) {
			iscsi_conn_end(c, "out of buffers", false);
			return;
		}
		struct iscsi_r2t_state *r =
		    &t->r2t[(t->r2t_first + t->r2t_count++) % ISCSI_R2T_MAX];
		r->ttt = c->next_ttt++;
		if (r->ttt == ISCSI_TAG_NONE)
			r->ttt = c->next_ttt++;
		r->offset = t->r2t_at;
		r->len = t->scsi.data_out_len - t->r2t_at;
		if (r->len > c->params.max_burst_bytes)
			r->len = c->params.max_burst_bytes;
		r->data_sn = 0;
		t->r2t_at += r->len;
		struct iscsi_r2t *p = (struct iscsi_r2t *)(void *)o->hdr;
		p->opcode = ISCSI_OP_R2T;
		p->flags = ISCSI_FLAG_FINAL;
		memcpy(p->lun, t->scsi.lun, sizeof p->lun);
		be32_put(&p->itt, t->itt);
		be32_put(&p->ttt, r->ttt);
		be32_put(&p->r2t_sn, t->r2t_sn++);
		be32_put(&p->buffer_offset, r->offset);
		be32_put(&p->desired_len, r->len);
		iscsi_out_queue(c, o, false);
	}
}

/* All that was wanted is there, or it never will be. */
static void
data_complete(struct iscsi_task *t, int result)
{
	set_wants_data(t, false);
	not_owed(t);
	scsi_task_data_ready(&t->scsi, result);
}

static void
check_complete(struct iscsi_conn *c, struct iscsi_task *t)
{
	if (!t->wants_data)
		return;
	if (t->landed >= t->scsi.data_out_len)
		data_complete(t, 0);
	else
		solicit(c, t);
}

/* Data of the command PDU itself is complete (or it had none). */
void
iscsi_cmd_data(struct iscsi_conn *c, struct iscsi_task *t)
{
	if (c->rx.dest == RX_TASK)
		t->landed = c->rx.take;
	if (t->unsolicited && t->unsolicited_at >= c->params.first_burst_bytes)
		t->unsolicited = false; /* nothing more may come: §13.14 */
	check_complete(c, t);
}

/* A Data-Out that doesn't fit: its command doesn't end with GOOD (§7.8, ERL 0). */
static enum iscsi_rx_go
data_out_wrong(struct iscsi_task *t)
{
	t->data_wrong = true; /* it may still wait for buffers: on_want_data() */
	if (t->wants_data)
		data_complete(t, -EIO);
	return RX_GO;
}

enum iscsi_rx_go
iscsi_data_out_header(struct iscsi_conn *c, const struct iscsi_data_out *req)
{
	uint32_t itt = be32_get(req->itt), ttt = be32_get(req->ttt);
	uint32_t off = be32_get(req->buffer_offset), len = be24_get(req->data_len);
	struct iscsi_task *t = iscsi_task_find(c, itt);

	if (t == NULL || t->done) {
		/* For an aborted or finished task: discarded up to its F bit. */
		if (t == NULL && iscsi_task_finished(c, itt) == NULL)
			iscsi_reject(c, req, ISCSI_REJECT_PROTOCOL);
		return RX_GO;
	}
	if (ttt == ISCSI_TAG_NONE) {
		if (!t->unsolicited || off != t->unsolicited_at ||
		    be32_get(req->data_sn) != t->unsolicited_sn ||
		    len > c->params.first_burst_bytes - off || len > t->edtl - off)
			return data_out_wrong(t);
	} else {
		struct iscsi_r2t_state *r = &t->r2t[t->r2t_first];
		if (t->r2t_count == 0 || r->ttt != ttt || off != r->offset || len > r->len ||
		    be32_get(req->data_sn) != r->data_sn)
			return data_out_wrong(t);
	}
	c->rx.task = t;
	c->rx.dest = RX_DISCARD;
	if (t->wants_data && off < t->scsi.data_out_len) {
		uint32_t room = t->scsi.data_out_len - off;
		c->rx.dest = RX_TASK;
		c->rx.dest_off = off;
		c->rx.take = len < room ? len : room;
	} else if (t->scsi.state == SCSI_TASK_WAIT_BUF && len > 0) {
		return RX_WAIT;
	}
	return RX_GO;
}

/* A whole Data-Out has landed. */
void
iscsi_data_out_done(struct iscsi_conn *c, struct iscsi_task *t)
{
	const struct iscsi_data_out *req = (const struct iscsi_data_out *)(const void *)c->rx.hdr;
	uint32_t len = c->rx.data_len;
	bool final = (req->flags & ISCSI_FLAG_FINAL) != 0;

	t->data_ns = loop_now_ns(c->il->loop);
	if (c->rx.dest == RX_TASK)
		t->landed = c->rx.dest_off + c->rx.take;
	if (be32_get(req->ttt) == ISCSI_TAG_NONE) {
		t->unsolicited_at += len;
		t->unsolicited_sn++;
		if (final)
			t->unsolicited = false;
		else if (t->unsolicited_at >= c->params.first_burst_bytes ||
		         t->unsolicited_at >= t->edtl) {
			(void)data_out_wrong(t); /* the sequence had to end here */
			return;
		}
	} else {
		struct iscsi_r2t_state *r = &t->r2t[t->r2t_first];
		r->offset += len;
		r->len -= len;
		r->data_sn++;
		if (final != (r->len == 0)) {
			(void)data_out_wrong(t);
			return;
		}
		if (final) {
			t->r2t_first = (uint8_t)((t->r2t_first + 1) % ISCSI_R2T_MAX);
			t->r2t_count--;
		}
	}
	check_complete(c, t);
}
