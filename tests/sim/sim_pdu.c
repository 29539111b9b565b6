/* SPDX-License-Identifier: BSD-2-Clause */
/* The initiator's side of the full feature phase: what the target may send, RFC 7143 §11. */
#include <string.h>

#include "tests/sim/sim_initiator.h"

/* StatSN, ExpCmdSN, MaxCmdSN of every PDU; `advances`: it takes a StatSN (§4.2.2.2). */
static void
take_numbers(struct ini *i, const uint8_t *bhs, bool stat_sn, bool advances)
{
	uint32_t sn = load_be32(bhs + 24), exp = load_be32(bhs + 28), max = load_be32(bhs + 32);

	SIM_CHECK(!stat_sn || sn == i->exp_stat_sn, "%s: StatSN %u instead of %u, opcode %02xh",
	    i->name, sn, i->exp_stat_sn, bhs[0]);
	if (advances)
		i->exp_stat_sn++;
	SIM_CHECK((int32_t)(exp - i->exp_cmd_sn) >= 0, "%s: ExpCmdSN moves back", i->name);
	SIM_CHECK((int32_t)(i->cmd_sn - exp) >= 0, "%s: ExpCmdSN %u above CmdSN %u", i->name, exp,
	    i->cmd_sn);
	SIM_CHECK((int32_t)(max - i->max_cmd_sn) >= 0, "%s: MaxCmdSN moves back", i->name);
	SIM_CHECK((int32_t)(max - exp) >= -1, "%s: MaxCmdSN below ExpCmdSN - 1", i->name);
	i->exp_cmd_sn = exp;
	i->max_cmd_sn = max;
}

static struct ini_cmd *
need_cmd(struct ini *i, const uint8_t *bhs)
{
	struct ini_cmd *c = ini_find(i, load_be32(bhs + 16));
	SIM_CHECK(c != NULL, "%s: opcode %02xh for tag %u, which isn't under way", i->name, bhs[0],
	    load_be32(bhs + 16));
	return c;
}

/* §11.4.5: what was moved and what is said to be missing make up what was expected. */
static void
check_residual(const struct ini *i, const struct ini_cmd *c, uint8_t flags, uint32_t residual)
{
	uint32_t edtl = c->out_len > 0 ? c->out_len : c->in_cap;

	SIM_CHECK((flags & 0x06) != 0x06, "%s: overflow and underflow", i->name);
	SIM_CHECK((flags & 0x06) || residual == 0, "%s: residual without flag", i->name);
	SIM_CHECK(!(flags & ISCSI_RSP_UNDERFLOW) || residual <= edtl,
	    "%s: residual %u of %u expected bytes, opcode %02xh", i->name, residual, edtl,
	    c->cdb[0]);
	if (c->status != 0 || c->out_len > 0)
		return;
	uint32_t missing = flags & ISCSI_RSP_UNDERFLOW ? residual : 0;
	SIM_CHECK(c->in_have + missing == edtl,
	    "%s: %u bytes came and %u are said to be missing, of %u", i->name, c->in_have, missing,
	    edtl);
}

static void
data_in(struct ini *i, const uint8_t *bhs, const uint8_t *data, uint32_t len)
{
	struct iscsi_data_in r;
	memcpy(&r, bhs, sizeof r);
	bool status = (r.flags & ISCSI_DATA_IN_STATUS) != 0;
	take_numbers(i, bhs, status, status);
	struct ini_cmd *c = need_cmd(i, bhs);
	uint32_t off = be32_get(r.buffer_offset);

	SIM_CHECK(be32_get(r.data_sn) == c->data_in_sn, "%s: DataSN %u instead of %u", i->name,
	    be32_get(r.data_sn), c->data_in_sn);
	c->data_in_sn++;
	SIM_CHECK(off == c->in_have, "%s: Data-In at %u instead of %u", i->name, off, c->in_have);
	SIM_CHECK(
	    len <= c->in_cap && off <= c->in_cap - len, "%s: more data than expected", i->name);
	memcpy(c->in + off, data, len);
	c->in_have += len;
	c->burst += len;
	SIM_CHECK(c->burst <= i->agreed.max_burst_bytes, "%s: Data-In burst of %u, at most %u",
	    i->name, c->burst, i->agreed.max_burst_bytes);
	if (r.flags & ISCSI_FLAG_FINAL)
		c->burst = 0;
	SIM_CHECK(!status || (r.flags & ISCSI_FLAG_FINAL), "%s: S without F", i->name);
	if (!status)
		return;
	c->status = r.status;
	check_residual(i, c, r.flags, be32_get(r.residual));
	ini_cmd_finish(c, INI_ANSWERED);
}

static void
take_sense(const struct ini *i, struct ini_cmd *c, const uint8_t *data, uint32_t len)
{
	SIM_CHECK(c->status != 2 || len > 2, "%s: CHECK CONDITION without sense", i->name);
	if (len < 2)
		return;
	uint32_t n = load_be16(data);
	SIM_CHECK(n + 2 <= len && n >= 8, "%s: SenseLength %u of %u", i->name, n, len);
	const uint8_t *s = data + 2;
	uint8_t format = s[0] & 0x7f;
	SIM_CHECK(format == 0x70 || format == 0x72, "%s: sense format %02xh", i->name, format);
	if (format == 0x72) {
		c->key = s[1] & 0xf;
		c->asc = s[2];
		c->ascq = s[3];
		return;
	}
	SIM_CHECK(n >= 14, "%s: fixed sense of %u bytes", i->name, n);
	c->key = s[2] & 0xf;
	c->asc = s[12];
	c->ascq = s[13];
}

static void
scsi_response(struct ini *i, const uint8_t *bhs, const uint8_t *data, uint32_t len)
{
	struct iscsi_scsi_rsp r;
	memcpy(&r, bhs, sizeof r);
	take_numbers(i, bhs, true, true);
	struct ini_cmd *c = need_cmd(i, bhs);

	SIM_CHECK(r.response == 0, "%s: response %02xh", i->name, r.response);
	c->status = r.status;
	take_sense(i, c, data, len);
	uint32_t sn = c->out_len > 0 ? c->r2t_sn : c->data_in_sn;
	SIM_CHECK(be32_get(r.exp_data_sn) == sn, "%s: ExpDataSN %u instead of %u", i->name,
	    be32_get(r.exp_data_sn), sn);
	check_residual(i, c, r.flags, be32_get(r.residual));
	ini_cmd_finish(c, INI_ANSWERED);
}

static void
r2t(struct ini *i, const uint8_t *bhs)
{
	struct iscsi_r2t r;
	memcpy(&r, bhs, sizeof r);
	take_numbers(i, bhs, true, false);
	struct ini_cmd *c = need_cmd(i, bhs);
	uint32_t off = be32_get(r.buffer_offset), len = be32_get(r.desired_len);

	SIM_CHECK(be32_get(r.r2t_sn) == c->r2t_sn, "%s: R2TSN %u instead of %u", i->name,
	    be32_get(r.r2t_sn), c->r2t_sn);
	c->r2t_sn++;
	SIM_CHECK(be32_get(r.ttt) != ISCSI_TAG_NONE, "%s: R2T without tag", i->name);
	SIM_CHECK(
	    off == c->solicit_at, "%s: R2T for %u instead of %u", i->name, off, c->solicit_at);
	SIM_CHECK(len > 0 && len <= i->agreed.max_burst_bytes && len <= c->out_len - off,
	    "%s: R2T of %u bytes", i->name, len);
	SIM_CHECK(c->unsolicited_at == c->unsolicited_end,
	    "%s: R2T before the unsolicited data is complete", i->name);
	SIM_CHECK(c->job_count < i->agreed.max_r2t && c->job_count < INI_JOBS_MAX,
	    "%s: more R2Ts than agreed", i->name);
	c->solicit_at += len;
	if (c->job_count == 0)
		list_push_back(&i->solicited, &c->data_link);
	c->jobs[(c->job_first + c->job_count++) % INI_JOBS_MAX] =
	    (struct ini_job){.ttt = be32_get(r.ttt), .offset = off, .len = len};
}

/* Commands that a function which succeeded has ended without answer. */
static void
end_aborted(struct ini *i, const struct ini_tmf *t)
{
	bool all =
	    t->function == ISCSI_TMF_TARGET_WARM_RESET || t->function == ISCSI_TMF_I_T_NEXUS_RESET;
	bool again = true;

	while (again) {
		again = false;
		LIST_FOREACH (l, &i->sent) {
			struct ini_cmd *c = container_of(l, struct ini_cmd, link);
			if (c->order > t->order || (!all && c->lun != t->lun))
				continue;
			/* Its callback may submit: start again. */
			ini_cmd_finish(c, INI_ABORTED);
			again = true;
			break;
		}
	}
}

static void
tmf_response(struct ini *i, const uint8_t *bhs)
{
	struct ini_tmf *t = NULL;
	take_numbers(i, bhs, true, true);
	LIST_FOREACH (l, &i->tmfs) {
		struct ini_tmf *at = container_of(l, struct ini_tmf, link);
		if (at->itt == load_be32(bhs + 16))
			t = at;
	}
	SIM_CHECK(t != NULL, "%s: answer to task management that isn't under way", i->name);
	list_remove(&t->link);
	t->response = bhs[2];
	switch (t->function) {
	case ISCSI_TMF_ABORT_TASK: {
		struct ini_cmd *c = ini_find(i, t->ref_itt);
		t->cmd_found = c != NULL;
		if (c != NULL && t->response == ISCSI_TMF_RSP_COMPLETE)
			ini_cmd_finish(c, INI_ABORTED);
		break;
	}
	case ISCSI_TMF_QUERY_TASK:
		t->cmd_found = ini_find(i, t->ref_itt) != NULL;
		break;
	case ISCSI_TMF_QUERY_TASK_SET:
	case ISCSI_TMF_QUERY_ASYNC_EVENT:
		break;
	default:
		if (t->response == ISCSI_TMF_RSP_COMPLETE)
			end_aborted(i, t);
		break;
	}
	t->done(t, false);
}

static void
nop_in(struct ini *i, const uint8_t *bhs, const uint8_t *data, uint32_t len)
{
	uint32_t itt = load_be32(bhs + 16), ttt = load_be32(bhs + 20);
	struct iscsi_nop_out r;

	take_numbers(i, bhs, true, itt != ISCSI_TAG_NONE);
	if (itt != ISCSI_TAG_NONE) {
		SIM_CHECK(i->nop_itt == itt, "%s: NOP-In for tag %u", i->name, itt);
		SIM_CHECK(len == i->nop_len && memcmp(data, i->nop_data, len) == 0,
		    "%s: NOP-In with other data", i->name);
		i->nop_itt = 0;
		return;
	}
	SIM_CHECK(len == 0, "%s: ping with data", i->name);
	if (ttt == ISCSI_TAG_NONE || i->want.deaf)
		return;
	memset(&r, 0, sizeof r);
	r.opcode = ISCSI_OP_NOP_OUT | ISCSI_OPCODE_IMMEDIATE;
	r.flags = ISCSI_FLAG_FINAL;
	memcpy(r.lun, bhs + 8, sizeof r.lun);
	be32_put(&r.itt, ISCSI_TAG_NONE);
	be32_put(&r.ttt, ttt);
	be32_put(&r.cmd_sn, i->cmd_sn);
	be32_put(&r.exp_stat_sn, i->exp_stat_sn);
	ini_put_pdu(i, &r, NULL, 0);
}

/* The only thing that this initiator may be rejected for is more immediate requests than the
 * target takes: task management then counts as never sent. */
static void
reject(struct ini *i, const uint8_t *bhs, const uint8_t *data, uint32_t len)
{
	take_numbers(i, bhs, true, true);
	SIM_CHECK(len == ISCSI_BHS_BYTES, "%s: Reject with %u bytes", i->name, len);
	SIM_CHECK(
	    bhs[2] == ISCSI_REJECT_IMMEDIATE && (data[0] & ISCSI_OPCODE_MASK) == ISCSI_OP_TMF_REQ,
	    "%s: Reject, reason %02xh, of opcode %02xh tag %u", i->name, bhs[2], data[0],
	    load_be32(data + 16));
	LIST_FOREACH (l, &i->tmfs) {
		struct ini_tmf *t = container_of(l, struct ini_tmf, link);
		if (t->itt == load_be32(data + 16)) {
			list_remove(&t->link);
			t->response = ISCSI_TMF_RSP_REJECTED;
			t->done(t, false);
			return;
		}
	}
	sim_fail("%s: Reject of a request that isn't under way", i->name);
}

static void
logout_response(struct ini *i, const uint8_t *bhs)
{
	take_numbers(i, bhs, true, true);
	SIM_CHECK(i->state == INI_LOGOUT && load_be32(bhs + 16) == i->logout_itt,
	    "%s: logout answer that nobody asked for", i->name);
	SIM_CHECK(bhs[2] == 0, "%s: logout answered with %u", i->name, bhs[2]);
	ini_close(i, false);
}

void
ini_receive_pdu(struct ini *i, const uint8_t *bhs, const uint8_t *data, uint32_t len)
{
	switch (bhs[0]) {
	case ISCSI_OP_DATA_IN:
		data_in(i, bhs, data, len);
		break;
	case ISCSI_OP_SCSI_RSP:
		scsi_response(i, bhs, data, len);
		break;
	case ISCSI_OP_R2T:
		r2t(i, bhs);
		break;
	case ISCSI_OP_TMF_RSP:
		tmf_response(i, bhs);
		break;
	case ISCSI_OP_NOP_IN:
		nop_in(i, bhs, data, len);
		break;
	case ISCSI_OP_LOGOUT_RSP:
		logout_response(i, bhs);
		break;
	case ISCSI_OP_REJECT:
		reject(i, bhs, data, len);
		break;
	case ISCSI_OP_ASYNC:
		take_numbers(i, bhs, true, true);
		if (bhs[36] == ISCSI_ASYNC_LOGOUT_REQUEST)
			i->ops->logout_wanted(i);
		break;
	default:
		sim_fail("%s: opcode %02xh from the target", i->name, bhs[0]);
	}
}
