/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The full feature phase: which PDU may come, where its data goes, what happens when it is there.
 * RFC 7143 §11; unknown and unwanted PDUs are rejected, framing errors end the connection.
 */
#include "iscsi/conn.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void
iscsi_reject(struct iscsi_conn *c, const void *bhs, enum iscsi_reject_reason reason)
{
	struct iscsi_out *o = iscsi_out_get_data(c, bhs, ISCSI_BHS_BYTES);

	c->il->rejects++;
	if (o == NULL) {
		iscsi_conn_end(c, "out of buffers", false);
		return;
	}
	struct iscsi_reject *p = (struct iscsi_reject *)(void *)o->hdr;
	p->opcode = ISCSI_OP_REJECT;
	p->flags = ISCSI_FLAG_FINAL;
	p->reason = (uint8_t)reason;
	be32_put(&p->itt, ISCSI_TAG_NONE);
	iscsi_out_queue(c, o, true);
}

/* Data of a small PDU is collected on the heap, bounded. */
static enum iscsi_rx_go
collect(struct iscsi_conn *c, uint32_t max)
{
	struct iscsi_rx *rx = &c->rx;
	rx->take = rx->data_len < max ? rx->data_len : max;
	rx->ctl = calloc(1, rx->take + 1u);
	if (rx->ctl == NULL) {
		iscsi_conn_end(c, "out of memory", false);
		return RX_DEAD;
	}
	rx->dest = RX_CTL;
	return RX_GO;
}

/* ---- NOP ------------------------------------------------------------------------------------- */

static void
nop_out(struct iscsi_conn *c, const struct iscsi_nop_out *req)
{
	uint32_t itt = be32_get(req->itt);

	if (be32_get(req->ttt) == c->ping_ttt)
		c->ping_ttt = ISCSI_TAG_NONE;
	if (itt == ISCSI_TAG_NONE)
		return; /* an answer to our ping, or no answer wanted */
	struct iscsi_out *o = iscsi_out_get(c);
	if (o == NULL) {
		iscsi_conn_end(c, "out of buffers", false);
		return;
	}
	struct iscsi_nop_in *p = (struct iscsi_nop_in *)(void *)o->hdr;
	p->opcode = ISCSI_OP_NOP_IN;
	p->flags = ISCSI_FLAG_FINAL;
	be32_put(&p->itt, itt);
	be32_put(&p->ttt, ISCSI_TAG_NONE);
	if (c->rx.dest == RX_CTL && c->rx.take > 0) {
		o->flat = o->flat_free = c->rx.ctl;
		o->data_len =
		    c->rx.take < c->params.max_xmit_bytes ? c->rx.take : c->params.max_xmit_bytes;
		c->rx.ctl = NULL;
		c->rx.dest = RX_DISCARD;
	}
	iscsi_out_queue(c, o, true);
}

/* ---- Text ------------------------------------------------------------------------------------- */

static void
text_request(struct iscsi_conn *c, const struct iscsi_text_req *req)
{
	struct iscsi_text_who who = {
	    .env = &c->env,
	    .discovery = c->nexus == NULL,
	    .initiator = c->reg.initiator,
	    .user = c->reg.user,
	    .target = c->target,
	    .params = &c->params,
	};
	struct iscsi_text_rsp rsp;
	const char *text = NULL;
	size_t len = 0;
	uint8_t empty[1] = {0};
	char *data = c->rx.ctl != NULL ? (char *)c->rx.ctl : (char *)empty;

	memset(&rsp, 0, sizeof rsp);
	int rc = iscsi_text_request(&c->text, &who, req, data, c->rx.take, &rsp, &text, &len);
	if (rc < 0) {
		iscsi_conn_end(c, "text request breaks the protocol", false);
		return;
	}
	if (rc > 0) {
		iscsi_reject(c, req, (enum iscsi_reject_reason)rc);
		return;
	}
	struct iscsi_out *o = iscsi_out_get_data(c, text, len);
	if (o == NULL) {
		iscsi_conn_end(c, "out of buffers", false);
		return;
	}
	memcpy(o->hdr, &rsp, sizeof rsp);
	iscsi_out_queue(c, o, true);
}

/* ---- Logout ------------------------------------------------------------------------------------- */

static void
logout_answer(struct iscsi_conn *c, uint32_t itt, uint8_t response)
{
	struct iscsi_out *o = iscsi_out_get(c);
	if (o == NULL) {
		iscsi_conn_end(c, "out of buffers", false);
		return;
	}
	struct iscsi_logout_rsp *p = (struct iscsi_logout_rsp *)(void *)o->hdr;
	p->opcode = ISCSI_OP_LOGOUT_RSP;
	p->flags = ISCSI_FLAG_FINAL;
	p->response = response;
	be32_put(&p->itt, itt);
	be16_put(&p->time2wait, (uint16_t)c->params.default_time2wait);
	be16_put(&p->time2retain, 0);
	iscsi_out_queue(c, o, true);
	iscsi_tx_flush(c);
}

static void
on_nexus_gone_logout(void *ctx)
{
	struct iscsi_conn *c = ctx;
	c->nexus = NULL;
	if (c->state == CONN_LOGOUT) {
		logout_answer(c, c->logout_itt, 0);
		if (iscsi_conn_alive(c))
			iscsi_conn_end(c, "logout", true);
	} else {
		iscsi_conn_maybe_gone(c);
	}
}

/* Tasks end first, then the answer goes out, then the connection (§11.14). */
static void
logout_request(struct iscsi_conn *c, const struct iscsi_logout_req *req)
{
	uint8_t reason = req->reason & 0x7f;

	if (reason == ISCSI_LOGOUT_RECOVERY) {
		logout_answer(c, be32_get(req->itt), 2); /* recovery isn't supported */
		return;
	}
	if (reason > ISCSI_LOGOUT_RECOVERY) {
		iscsi_reject(c, req, ISCSI_REJECT_INVALID_FIELD);
		return;
	}
	if (reason == ISCSI_LOGOUT_CONNECTION && be16_get(req->cid) != c->cid) {
		logout_answer(c, be32_get(req->itt), 1); /* no such CID */
		return;
	}
	c->logout_itt = be32_get(req->itt);
	c->state = CONN_LOGOUT;
	if (c->nexus != NULL) {
		c->nexus_ending = true;
		scsi_nexus_destroy(c->nexus, on_nexus_gone_logout, c);
	} else {
		on_nexus_gone_logout(c);
	}
}

/* ---- dispatch ------------------------------------------------------------------------------------ */

/* CmdSN of requests other than SCSI commands. *ret_go is what to return when false. */
static bool
take_cmd_sn(struct iscsi_conn *c, const struct iscsi_bhs *bhs, enum iscsi_rx_go *ret_go)
{
	bool ignore;
	if (!iscsi_cmd_sn_ok(c, bhs, &ignore)) {
		*ret_go = RX_DEAD;
		return false;
	}
	c->rx_ignored = ignore;
	*ret_go = RX_GO;
	return !ignore;
}

enum iscsi_rx_go
iscsi_ffp_header(struct iscsi_conn *c, const struct iscsi_bhs *bhs)
{
	enum iscsi_rx_go go = RX_GO;

	c->rx_ignored = false;
	switch (bhs->opcode & ISCSI_OPCODE_MASK) {
	case ISCSI_OP_SCSI_CMD:
		return iscsi_cmd_header(c, (const struct iscsi_scsi_cmd *)(const void *)bhs);
	case ISCSI_OP_DATA_OUT:
		return iscsi_data_out_header(c, (const struct iscsi_data_out *)(const void *)bhs);
	case ISCSI_OP_NOP_OUT:
		if (take_cmd_sn(c, bhs, &go))
			return collect(c, c->limits->nop_data_max_bytes);
		return go;
	case ISCSI_OP_TEXT_REQ:
		if (c->rx.data_len > ISCSI_CTL_DATA_MAX) {
			iscsi_conn_end(c, "text request too long", false);
			return RX_DEAD;
		}
		if (take_cmd_sn(c, bhs, &go))
			return collect(c, ISCSI_CTL_DATA_MAX);
		return go;
	case ISCSI_OP_TMF_REQ:
	case ISCSI_OP_LOGOUT_REQ:
		(void)take_cmd_sn(c, bhs, &go);
		return go;
	case ISCSI_OP_LOGIN_REQ:
		iscsi_conn_end(c, "login request in full feature phase", false);
		return RX_DEAD;
	case ISCSI_OP_SNACK_REQ:
		iscsi_reject(c, bhs, ISCSI_REJECT_SNACK);
		return RX_GO;
	default:
		iscsi_reject(c, bhs, ISCSI_REJECT_NOT_SUPPORTED);
		return RX_GO;
	}
}

enum iscsi_rx_go
iscsi_ffp_header_again(struct iscsi_conn *c)
{
	const struct iscsi_bhs *bhs = (const struct iscsi_bhs *)(const void *)c->rx.hdr;
	if ((bhs->opcode & ISCSI_OPCODE_MASK) == ISCSI_OP_DATA_OUT)
		return iscsi_data_out_header(c, (const struct iscsi_data_out *)(const void *)bhs);
	if (c->rx.task == NULL)
		return RX_GO; /* the command ended meanwhile: its data is discarded */
	return iscsi_cmd_header_again(c, c->rx.task);
}

void
iscsi_ffp_data(struct iscsi_conn *c)
{
	const void *hdr = c->rx.hdr;
	const struct iscsi_bhs *bhs = hdr;

	if (c->rx_ignored)
		return;
	switch (bhs->opcode & ISCSI_OPCODE_MASK) {
	case ISCSI_OP_SCSI_CMD:
		if (c->rx.task != NULL)
			iscsi_cmd_data(c, c->rx.task);
		break;
	case ISCSI_OP_DATA_OUT:
		if (c->rx.task != NULL)
			iscsi_data_out_done(c, c->rx.task);
		break;
	case ISCSI_OP_NOP_OUT:
		nop_out(c, hdr);
		break;
	case ISCSI_OP_TEXT_REQ:
		text_request(c, hdr);
		break;
	case ISCSI_OP_TMF_REQ:
		iscsi_tmf_request(c, hdr);
		break;
	case ISCSI_OP_LOGOUT_REQ:
		logout_request(c, hdr);
		break;
	default:
		break;
	}
}
