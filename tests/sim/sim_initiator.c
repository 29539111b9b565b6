/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/sim/sim_initiator.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"

#define OUT_LOW_BYTES 16384u /* more Data-Out PDUs are made when less than this waits */

/* ---- bytes ------------------------------------------------------------------------------------- */

static void
bytes_add(struct ini_bytes *b, const void *p, size_t len)
{
	if (b->at == b->len)
		b->at = b->len = 0;
	if (b->len + len > b->cap) {
		b->cap = (b->len + len) * 2 + 1024;
		b->p = realloc(b->p, b->cap);
		SIM_CHECK(b->p != NULL, "out of memory");
	}
	if (len > 0)
		memcpy(b->p + b->len, p, len);
	b->len += len;
}

static void
over(struct ini *i)
{
	if (i->state == INI_OVER)
		return;
	i->was_full = i->state == INI_FULL || i->state == INI_LOGOUT;
	i->state = INI_OVER;
	loop_timer_cancel(&i->pause);
	loop_defer_cancel(&i->pump);
	if (i->sock != NULL)
		sock_close(i->sock);
	i->sock = NULL;
	loop_defer(i->loop, &i->over);
}

static void
on_over(struct loop_defer *d)
{
	struct ini *i = container_of(d, struct ini, over);

	while (!list_empty(&i->sent))
		ini_cmd_finish(container_of(i->sent.next, struct ini_cmd, link), INI_LOST);
	while (!list_empty(&i->waiting))
		ini_cmd_finish(container_of(i->waiting.next, struct ini_cmd, link), INI_LOST);
	for (struct list *l; (l = list_pop_front(&i->tmfs)) != NULL;) {
		struct ini_tmf *t = container_of(l, struct ini_tmf, link);
		t->done(t, true);
	}
	if (i->was_full)
		i->ops->ended(i);
	else
		i->ops->refused(i, i->refused_status);
	free(i->in.p);
	free(i->outb.p);
	free(i);
}

static void
flush(struct ini *i)
{
	while (i->state != INI_OVER && i->outb.at < i->outb.len) {
		struct iovec iov = {i->outb.p + i->outb.at, i->outb.len - i->outb.at};
		ssize_t n = sock_send(i->sock, &iov, 1);
		if (n == -EAGAIN)
			return;
		if (n < 0) {
			over(i);
			return;
		}
		i->outb.at += (size_t)n;
	}
}

/* The sequence numbers of requests are the caller's; lengths and digests are filled in here. */
void
ini_put_pdu(struct ini *i, const void *bhs, const void *data, uint32_t len)
{
	uint8_t h[ISCSI_BHS_BYTES];
	static const uint8_t zero[4];
	bool full = i->state == INI_FULL || i->state == INI_LOGOUT;
	uint32_t pad = (4 - (len & 3)) & 3, crc;

	memcpy(h, bhs, sizeof h);
	store_be24(h + 5, len);
	bytes_add(&i->outb, h, sizeof h);
	if (full && i->agreed.header_digest) {
		crc = crc32c(h, sizeof h);
		bytes_add(&i->outb, &crc, sizeof crc);
	}
	if (len == 0)
		return;
	bytes_add(&i->outb, data, len);
	bytes_add(&i->outb, zero, pad);
	if (full && i->agreed.data_digest) {
		crc = crc32c_update(CRC32C_INIT, data, len);
		crc = crc32c_final(crc32c_update(crc, zero, pad));
		bytes_add(&i->outb, &crc, sizeof crc);
	}
}

/* ---- login ------------------------------------------------------------------------------------- */

static void
send_login(struct ini *i, bool first)
{
	struct iscsi_login_req r;
	char text[1024];
	size_t len = 0;

	memset(&r, 0, sizeof r);
	r.opcode = ISCSI_OP_LOGIN_REQ | ISCSI_OPCODE_IMMEDIATE;
	r.flags = 0x87; /* T, operational to full feature phase */
	memcpy(r.isid, i->isid, sizeof r.isid);
	be32_put(&r.itt, 1);
	be32_put(&r.cmd_sn, i->cmd_sn);
	be32_put(&r.exp_stat_sn, i->exp_stat_sn);
	if (first) {
		const struct ini_params *w = &i->want;
		len = (size_t)snprintf(text, sizeof text,
		    "InitiatorName=%s%cTargetName=%s%cSessionType=Normal%cHeaderDigest=%s%c"
		    "DataDigest=%s%cInitialR2T=%s%cImmediateData=%s%cMaxRecvDataSegmentLength=%u%c"
		    "MaxBurstLength=%u%cFirstBurstLength=%u%cMaxOutstandingR2T=%u%c"
		    "ErrorRecoveryLevel=0%cMaxConnections=1%ciSCSIProtocolLevel=%u",
		    i->name, 0, i->target, 0, 0, w->header_digest ? "CRC32C" : "None", 0,
		    w->data_digest ? "CRC32C,None" : "None", 0, w->initial_r2t ? "Yes" : "No", 0,
		    w->immediate_data ? "Yes" : "No", 0, w->max_recv_bytes, 0, w->max_burst_bytes,
		    0, w->first_burst_bytes, 0, w->max_r2t, 0, 0, 0, w->protocol_level);
		len++; /* the last NUL */
		SIM_CHECK(len < sizeof text, "login text too long");
	}
	ini_put_pdu(i, &r, text, (uint32_t)len);
	flush(i);
}

/* What was agreed on: the answers of the target, or the defaults of RFC 7143 §13. */
static void
take_login_text(struct ini *i, const char *p, size_t len)
{
	for (size_t at = 0; at < len; at += strlen(p + at) + 1) {
		const char *kv = p + at, *v = strchr(kv, '=');
		SIM_CHECK(v != NULL, "login answer without '='");
		size_t k = (size_t)(v++ - kv);
		uint32_t n = (uint32_t)strtoul(v, NULL, 10);
#define KEY(name) (k == sizeof(name) - 1 && memcmp(kv, name, k) == 0)
		if (KEY("HeaderDigest"))
			i->agreed.header_digest = strcmp(v, "CRC32C") == 0;
		else if (KEY("DataDigest"))
			i->agreed.data_digest = strcmp(v, "CRC32C") == 0;
		else if (KEY("InitialR2T"))
			i->agreed.initial_r2t = strcmp(v, "Yes") == 0;
		else if (KEY("ImmediateData"))
			i->agreed.immediate_data = strcmp(v, "Yes") == 0;
		else if (KEY("MaxBurstLength"))
			i->agreed.max_burst_bytes = n;
		else if (KEY("FirstBurstLength"))
			i->agreed.first_burst_bytes = n;
		else if (KEY("MaxOutstandingR2T"))
			i->agreed.max_r2t = n;
		else if (KEY("iSCSIProtocolLevel"))
			i->agreed.protocol_level = n;
		else if (KEY("MaxRecvDataSegmentLength"))
			i->target_recv_bytes = n;
#undef KEY
	}
}

static void
check_agreed(const struct ini *i)
{
	const struct ini_params *w = &i->want, *a = &i->agreed;
	SIM_CHECK(a->max_burst_bytes <= w->max_burst_bytes, "MaxBurstLength above the offer");
	SIM_CHECK(a->first_burst_bytes <= w->first_burst_bytes, "FirstBurstLength above the offer");
	SIM_CHECK(a->first_burst_bytes <= a->max_burst_bytes, "FirstBurst above MaxBurst");
	SIM_CHECK(a->max_r2t >= 1 && a->max_r2t <= w->max_r2t, "MaxOutstandingR2T above the offer");
	SIM_CHECK(a->initial_r2t || !w->initial_r2t, "InitialR2T isn't OR");
	SIM_CHECK(!a->immediate_data || w->immediate_data, "ImmediateData isn't AND");
	SIM_CHECK(a->header_digest == w->header_digest, "HeaderDigest isn't what was offered");
}

static void
login_pdu(struct ini *i, const uint8_t *bhs, const uint8_t *data, uint32_t len)
{
	struct iscsi_login_rsp r;
	memcpy(&r, bhs, sizeof r);
	SIM_CHECK(r.opcode == ISCSI_OP_LOGIN_RSP, "login answered with opcode %02xh", r.opcode);
	if (r.status_class != 0) {
		i->refused_status = (uint16_t)(r.status_class << 8 | r.status_detail);
		over(i);
		return;
	}
	i->exp_stat_sn = be32_get(r.stat_sn) + 1;
	take_login_text(i, (const char *)data, len);
	if (!(r.flags & ISCSI_LOGIN_TRANSIT)) {
		send_login(i, false);
		return;
	}
	SIM_CHECK(ISCSI_LOGIN_NSG(r.flags) == ISCSI_STAGE_FULL, "login goes to another stage");
	SIM_CHECK(be16_get(r.tsih) != 0, "TSIH 0 in the final answer");
	check_agreed(i);
	i->state = INI_FULL;
	i->exp_cmd_sn = be32_get(r.exp_cmd_sn);
	i->max_cmd_sn = be32_get(r.max_cmd_sn);
	SIM_CHECK(i->exp_cmd_sn == i->cmd_sn, "ExpCmdSN %u after login, CmdSN %u", i->exp_cmd_sn,
	    i->cmd_sn);
	i->ops->logged_in(i);
}

/* ---- receiving --------------------------------------------------------------------------------- */

/* Takes one PDU from the received bytes. False: not all of it is there. */
static bool
take_pdu(struct ini *i)
{
	const uint8_t *p = i->in.p + i->in.at;
	size_t have = i->in.len - i->in.at;
	bool full = i->state == INI_FULL || i->state == INI_LOGOUT;
	size_t hd = full && i->agreed.header_digest ? ISCSI_DIGEST_BYTES : 0;

	if (have < ISCSI_BHS_BYTES + hd)
		return false;
	uint32_t len = load_be24(p + 5), crc, got;
	SIM_CHECK(p[4] == 0, "additional header segments from the target");
	SIM_CHECK(!full || len <= i->want.max_recv_bytes, "data segment of %u bytes, at most %u",
	    len, i->want.max_recv_bytes);
	size_t dd = len > 0 && full && i->agreed.data_digest ? ISCSI_DIGEST_BYTES : 0;
	size_t padded = (len + 3u) & ~(size_t)3;
	if (have < ISCSI_BHS_BYTES + hd + padded + dd)
		return false;
	const uint8_t *data = p + ISCSI_BHS_BYTES + hd;
	if (hd > 0) {
		memcpy(&got, p + ISCSI_BHS_BYTES, sizeof got);
		SIM_CHECK(got == crc32c(p, ISCSI_BHS_BYTES), "bad header digest");
	}
	if (dd > 0) {
		memcpy(&got, data + padded, sizeof got);
		crc = crc32c(data, padded);
		SIM_CHECK(got == crc, "bad data digest of a PDU with opcode %02xh", p[0]);
	}
	/* The handler may end the session, but frees nothing yet. */
	i->in.at += ISCSI_BHS_BYTES + hd + padded + dd;
	if (full)
		ini_receive_pdu(i, p, data, len);
	else
		login_pdu(i, p, data, len);
	return true;
}

static void
receive(struct ini *i)
{
	uint8_t buf[8192];

	while (i->state != INI_OVER) {
		struct iovec iov = {buf, sizeof buf};
		ssize_t n = sock_recv(i->sock, &iov, 1);
		if (n == -EAGAIN)
			break;
		if (n <= 0) {
			over(i);
			return;
		}
		bytes_add(&i->in, buf, (size_t)n);
		while (i->state != INI_OVER && take_pdu(i))
			;
		if (i->state == INI_FULL && i->want.read_pause_us > 0) {
			loop_timer_set(
			    &i->pause, 1000ull * (1 + sim_pick(i->rng, i->want.read_pause_us)));
			return;
		}
	}
}

static void
on_pause(struct loop_timer *t)
{
	struct ini *i = container_of(t, struct ini, pause);
	receive(i);
	if (i->state != INI_OVER)
		ini_pump(i);
}

static void
on_event(void *ctx, unsigned events)
{
	struct ini *i = ctx;

	if (i->state == INI_CONNECTING) {
		if (sock_error(i->sock) < 0) {
			over(i);
			return;
		}
		if (!(events & LOOP_WRITABLE))
			return;
		i->state = INI_LOGIN;
		send_login(i, true);
	}
	if (i->state != INI_OVER && (events & LOOP_WRITABLE))
		flush(i);
	if (i->state != INI_OVER && (events & LOOP_READABLE) && !loop_timer_armed(&i->pause))
		receive(i);
	if (i->state != INI_OVER && (events & LOOP_HANGUP))
		over(i);
	if (i->state != INI_OVER)
		ini_pump(i);
}

/* ---- sending ----------------------------------------------------------------------------------- */

static bool
window_open(const struct ini *i)
{
	return (int32_t)(i->max_cmd_sn - i->cmd_sn) >= 0;
}

static void
send_command(struct ini *i, struct ini_cmd *c)
{
	struct iscsi_scsi_cmd r;
	uint32_t immediate = 0, edtl = c->out_len > 0 ? c->out_len : c->in_cap;

	memset(&r, 0, sizeof r);
	r.opcode = ISCSI_OP_SCSI_CMD;
	r.flags = (uint8_t)(ISCSI_FLAG_FINAL | c->attr);
	if (c->out_len > 0)
		r.flags |= ISCSI_CMD_WRITE;
	else if (c->in_cap > 0)
		r.flags |= ISCSI_CMD_READ;
	r.lun[1] = c->lun;
	c->itt = i->next_itt++;
	c->order = ++i->orders;
	c->on_wire = true;
	c->started_ns = loop_now_ns(i->loop);
	be32_put(&r.itt, c->itt);
	be32_put(&r.edtl, edtl);
	c->cmd_sn = i->cmd_sn++;
	be32_put(&r.cmd_sn, c->cmd_sn);
	be32_put(&r.exp_stat_sn, i->exp_stat_sn);
	memcpy(r.cdb, c->cdb, sizeof r.cdb);
	uint32_t first =
	    c->out_len < i->agreed.first_burst_bytes ? c->out_len : i->agreed.first_burst_bytes;
	if (i->agreed.immediate_data && c->out_len > 0 && sim_chance(i->rng, 90)) {
		immediate = first < i->target_recv_bytes ? first : i->target_recv_bytes;
		if (immediate > i->want.pdu_max_bytes)
			immediate = i->want.pdu_max_bytes;
	}
	c->unsolicited_at = c->unsolicited_end = immediate;
	if (!i->agreed.initial_r2t && first > immediate && sim_chance(i->rng, 80)) {
		r.flags &= (uint8_t)~ISCSI_FLAG_FINAL;
		c->unsolicited_end = first;
		list_push_back(&i->unsolicited, &c->data_link);
	}
	c->solicit_at = c->unsolicited_end;
	list_remove(&c->link);
	list_push_back(&i->sent, &c->link);
	ini_put_pdu(i, &r, c->out, immediate);
}

/* One Data-Out PDU of `left` bytes at most. Returns its length; *final: the sequence ends. */
static uint32_t
send_data_out(
    struct ini *i, struct ini_cmd *c, uint32_t ttt, uint32_t at, uint32_t left, uint32_t data_sn)
{
	struct iscsi_data_out r;
	uint32_t len = left < i->target_recv_bytes ? left : i->target_recv_bytes;

	if (len > i->want.pdu_max_bytes)
		len = i->want.pdu_max_bytes;
	memset(&r, 0, sizeof r);
	r.opcode = ISCSI_OP_DATA_OUT;
	r.flags = len == left ? ISCSI_FLAG_FINAL : 0;
	r.lun[1] = c->lun;
	be32_put(&r.itt, c->itt);
	be32_put(&r.ttt, ttt);
	be32_put(&r.exp_stat_sn, i->exp_stat_sn);
	be32_put(&r.data_sn, data_sn);
	be32_put(&r.buffer_offset, at);
	ini_put_pdu(i, &r, c->out + at, len);
	return len;
}

static void
send_unsolicited(struct ini *i)
{
	struct ini_cmd *c = container_of(i->unsolicited.next, struct ini_cmd, data_link);
	c->unsolicited_at += send_data_out(i, c, ISCSI_TAG_NONE, c->unsolicited_at,
	    c->unsolicited_end - c->unsolicited_at, c->unsolicited_sn++);
	if (c->unsolicited_at == c->unsolicited_end)
		list_remove(&c->data_link);
}

static void
send_solicited(struct ini *i)
{
	uint32_t n = 0;
	LIST_FOREACH (l, &i->solicited)
		n++;
	n = sim_pick(i->rng, n);
	struct list *at = i->solicited.next;
	while (n-- > 0)
		at = at->next;
	struct ini_cmd *c = container_of(at, struct ini_cmd, data_link);
	struct ini_job *j = &c->jobs[c->job_first];
	uint32_t len = send_data_out(i, c, j->ttt, j->offset, j->len, j->data_sn++);
	j->offset += len;
	j->len -= len;
	if (j->len > 0)
		return;
	c->job_first = (c->job_first + 1) % INI_JOBS_MAX;
	if (--c->job_count == 0)
		list_remove(&c->data_link);
}

/* Sends what may be sent, in an order that chance decides where the RFC leaves it open. */
void
ini_pump(struct ini *i)
{
	while (i->state == INI_FULL || i->state == INI_LOGOUT) {
		flush(i);
		if (i->state == INI_OVER || i->outb.len - i->outb.at >= OUT_LOW_BYTES)
			return;
		bool cmd = i->state == INI_FULL && !list_empty(&i->waiting) && window_open(i);
		bool un = !list_empty(&i->unsolicited), so = !list_empty(&i->solicited);
		uint32_t choices = (uint32_t)cmd + un + so;
		if (choices == 0)
			return;
		uint32_t pick = sim_pick(i->rng, choices);
		if (cmd && pick-- == 0)
			send_command(i, container_of(i->waiting.next, struct ini_cmd, link));
		else if (un && pick-- == 0)
			send_unsolicited(i);
		else
			send_solicited(i);
	}
}

static void
on_pump(struct loop_defer *d)
{
	ini_pump(container_of(d, struct ini, pump));
}

static void
want_pump(struct ini *i)
{
	if (!loop_defer_queued(&i->pump))
		loop_defer(i->loop, &i->pump);
}

/* ---- requests ---------------------------------------------------------------------------------- */

void
ini_cmd_finish(struct ini_cmd *c, enum ini_end end)
{
	list_remove(&c->link);
	list_remove(&c->data_link);
	c->job_count = 0;
	c->ini->in_flight--;
	c->done(c, end);
}

struct ini_cmd *
ini_find(struct ini *i, uint32_t itt)
{
	LIST_FOREACH (l, &i->sent) {
		struct ini_cmd *c = container_of(l, struct ini_cmd, link);
		if (c->itt == itt)
			return c;
	}
	return NULL;
}

void
ini_submit(struct ini *i, struct ini_cmd *c)
{
	SIM_CHECK(i->state == INI_FULL, "submit without a session");
	c->ini = i;
	list_init(&c->data_link);
	list_push_back(&i->waiting, &c->link);
	i->in_flight++;
	c->started_ns = loop_now_ns(i->loop);
	want_pump(i);
}

void
ini_manage(struct ini *i, struct ini_tmf *t)
{
	struct iscsi_tmf_req r;

	memset(&r, 0, sizeof r);
	r.opcode = ISCSI_OP_TMF_REQ;
	r.function = (uint8_t)(0x80 | t->function);
	r.lun[1] = t->lun;
	t->itt = i->next_itt++;
	t->order = ++i->orders;
	be32_put(&r.itt, t->itt);
	be32_put(&r.ref_task_tag, ISCSI_TAG_NONE);
	if (t->cmd != NULL) {
		SIM_CHECK(t->cmd->on_wire, "task management for a command that wasn't sent");
		t->ref_itt = t->cmd->itt;
		be32_put(&r.ref_task_tag, t->ref_itt);
		be32_put(&r.ref_cmd_sn, t->cmd->cmd_sn);
	}
	if (!window_open(i))
		t->immediate = true;
	be32_put(&r.cmd_sn, i->cmd_sn);
	if (t->immediate)
		r.opcode |= ISCSI_OPCODE_IMMEDIATE;
	else
		i->cmd_sn++;
	be32_put(&r.exp_stat_sn, i->exp_stat_sn);
	list_push_back(&i->tmfs, &t->link);
	ini_put_pdu(i, &r, NULL, 0);
	want_pump(i);
}

void
ini_nop(struct ini *i)
{
	struct iscsi_nop_out r;

	if (i->nop_itt != 0)
		return;
	memset(&r, 0, sizeof r);
	r.opcode = ISCSI_OP_NOP_OUT | ISCSI_OPCODE_IMMEDIATE;
	r.flags = ISCSI_FLAG_FINAL;
	i->nop_itt = i->next_itt++;
	be32_put(&r.itt, i->nop_itt);
	be32_put(&r.ttt, ISCSI_TAG_NONE);
	be32_put(&r.cmd_sn, i->cmd_sn);
	be32_put(&r.exp_stat_sn, i->exp_stat_sn);
	i->nop_len = sim_pick(i->rng, sizeof i->nop_data + 1);
	for (uint32_t k = 0; k < i->nop_len; k++)
		i->nop_data[k] = (uint8_t)sim_draw(i->rng);
	ini_put_pdu(i, &r, i->nop_data, i->nop_len);
	want_pump(i);
}

void
ini_logout(struct ini *i)
{
	struct iscsi_logout_req r;

	if (i->state != INI_FULL)
		return;
	memset(&r, 0, sizeof r);
	r.opcode = ISCSI_OP_LOGOUT_REQ | ISCSI_OPCODE_IMMEDIATE;
	r.reason = 0x80 | ISCSI_LOGOUT_SESSION;
	i->logout_itt = i->next_itt++;
	be32_put(&r.itt, i->logout_itt);
	be32_put(&r.cmd_sn, i->cmd_sn);
	be32_put(&r.exp_stat_sn, i->exp_stat_sn);
	i->state = INI_LOGOUT;
	ini_put_pdu(i, &r, NULL, 0);
	want_pump(i);
}

void
ini_close(struct ini *i, bool reset)
{
	if (i->state == INI_OVER)
		return;
	if (reset) {
		sock_close_abort(i->sock);
		i->sock = NULL;
	}
	over(i);
}

struct ini *
ini_start(struct loop *l, const struct sockaddr_storage *to, const char *name,
    const uint8_t isid[6], const char *target, const struct ini_params *want, struct sim_rng *rng,
    const struct ini_ops *ops, void *ctx)
{
	struct ini *i = calloc(1, sizeof *i);
	SIM_CHECK(i != NULL, "out of memory");
	i->loop = l;
	i->ops = ops;
	i->ctx = ctx;
	i->rng = rng;
	i->want = *want;
	/* Before anything is agreed on: RFC 7143 §13. */
	i->agreed = (struct ini_params){.initial_r2t = true,
	    .immediate_data = true,
	    .max_burst_bytes = 262144,
	    .first_burst_bytes = 65536,
	    .max_r2t = 1,
	    .protocol_level = 1};
	i->target_recv_bytes = 8192;
	snprintf(i->name, sizeof i->name, "%s", name);
	memcpy(i->isid, isid, sizeof i->isid);
	i->target = target;
	i->cmd_sn = (uint32_t)sim_draw(rng);
	i->next_itt = 1;
	list_init(&i->waiting);
	list_init(&i->sent);
	list_init(&i->tmfs);
	list_init(&i->unsolicited);
	list_init(&i->solicited);
	loop_timer_init(&i->pause, l, on_pause);
	loop_defer_init(&i->over, on_over);
	loop_defer_init(&i->pump, on_pump);
	int rc = sock_connect(l, (const struct sockaddr *)to, sizeof(struct sockaddr_in), &i->sock);
	SIM_CHECK(rc == 0, "sock_connect: %d", rc);
	sock_set_callback(i->sock, on_event, i);
	return i;
}
