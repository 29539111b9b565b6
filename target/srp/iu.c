/* SPDX-License-Identifier: BSD-2-Clause */
#include "srp/iu.h"

#include <errno.h>
#include <string.h>

#include "base/assert.h"

/* ---- logins ------------------------------------------------------------------------------ */

int
srp_login_parse(const void *p, size_t len, bool rdma, struct srp_login *ret)
{
	*ret = (struct srp_login){0};
	if (rdma) {
		const struct srp_login_req_rdma *w = p;
		if (len < sizeof *w || w->opcode != SRP_LOGIN_REQ)
			return -EINVAL;
		memcpy(ret->tag, w->tag, sizeof ret->tag);
		ret->it_iu_len = be32_get(w->it_iu_len);
		ret->formats = be16_get(w->formats);
		ret->flags = w->flags;
		ret->imm_data_offset = be16_get(w->imm_data_offset);
		memcpy(ret->initiator_port, w->initiator_port, SRP_PORT_ID_BYTES);
		memcpy(ret->target_port, w->target_port, SRP_PORT_ID_BYTES);
		return 0;
	}
	const struct srp_login_req *w = p;
	if (len < sizeof *w || w->opcode != SRP_LOGIN_REQ)
		return -EINVAL;
	memcpy(ret->tag, w->tag, sizeof ret->tag);
	ret->it_iu_len = be32_get(w->it_iu_len);
	ret->formats = be16_get(w->formats);
	ret->flags = w->flags;
	ret->imm_data_offset = be16_get(w->imm_data_offset);
	memcpy(ret->initiator_port, w->initiator_port, SRP_PORT_ID_BYTES);
	memcpy(ret->target_port, w->target_port, SRP_PORT_ID_BYTES);
	return 0;
}

void
srp_login_rsp_build(struct srp_login_rsp *ret, const struct srp_login *req, uint32_t credit,
    uint32_t max_it_iu_len, uint32_t max_ti_iu_len, uint8_t flags)
{
	*ret = (struct srp_login_rsp){.opcode = SRP_LOGIN_RSP, .flags = flags};
	be32_put(&ret->req_lim_delta, credit);
	memcpy(ret->tag, req->tag, sizeof ret->tag);
	be32_put(&ret->max_it_iu_len, max_it_iu_len);
	be32_put(&ret->max_ti_iu_len, max_ti_iu_len);
	be16_put(&ret->formats, SRP_FMT_BIT_DIRECT | SRP_FMT_BIT_INDIRECT);
}

void
srp_login_rej_build(
    struct srp_login_rej *ret, const struct srp_login *req, enum srp_login_reason reason)
{
	*ret = (struct srp_login_rej){.opcode = SRP_LOGIN_REJ};
	be32_put(&ret->reason, reason);
	memcpy(ret->tag, req->tag, sizeof ret->tag);
	be16_put(&ret->formats, SRP_FMT_BIT_DIRECT | SRP_FMT_BIT_INDIRECT);
}

/* ---- descriptors ------------------------------------------------------------------------- */

struct srp_desc
srp_desc_get(const struct srp_direct_desc *list, uint32_t i)
{
	return (struct srp_desc){
	    .va = be64_get(list[i].va),
	    .key = be32_get(list[i].key),
	    .len = be32_get(list[i].len),
	};
}

static bool
desc_ok(const struct srp_desc *d)
{
	return d->len > 0 && d->va <= UINT64_MAX - d->len;
}

/* Their lengths; UINT64_MAX: one of them is wrong. No overflow: 2048 × 2^32. */
static uint64_t
sum(const struct srp_direct_desc *list, uint32_t count)
{
	uint64_t total = 0;
	for (uint32_t i = 0; i < count; i++) {
		struct srp_desc d = srp_desc_get(list, i);
		if (!desc_ok(&d))
			return UINT64_MAX;
		total += d.len;
	}
	return total;
}

bool
srp_table_check(const struct srp_direct_desc *list, uint32_t count, uint32_t bytes)
{
	return sum(list, count) == bytes;
}

/* What is left of a unit. */
struct cursor {
	const uint8_t *iu;
	size_t at, len;
};

static const void *
take(struct cursor *c, size_t bytes)
{
	if (c->len - c->at < bytes)
		return NULL;
	const void *p = c->iu + c->at;
	c->at += bytes;
	return p;
}

static enum srp_verdict
parse_direct(struct cursor *c, struct srp_buffer *b)
{
	b->descs = take(c, sizeof *b->descs);
	if (b->descs == NULL)
		return SRP_END;
	b->desc_count = b->table_count = 1;
	struct srp_desc d = srp_desc_get(b->descs, 0);
	b->bytes = d.len;
	if (d.len == 0) { /* nothing to move: as good as no buffer */
		b->desc_count = b->table_count = 0;
		return SRP_GO_ON;
	}
	return desc_ok(&d) ? SRP_GO_ON : SRP_REFUSE;
}

static enum srp_verdict
parse_indirect(struct cursor *c, uint32_t count, struct srp_buffer *b)
{
	const struct srp_indirect_head *h = take(c, sizeof *h);
	if (h == NULL)
		return SRP_END;
	b->descs = take(c, count * sizeof *b->descs);
	if (b->descs == NULL)
		return SRP_END;
	b->desc_count = count;
	b->bytes = be32_get(h->len);
	b->table = srp_desc_get(&h->table, 0);
	b->table_count = b->table.len / (uint32_t)sizeof *b->descs;
	if (b->table.len % sizeof *b->descs != 0 || b->table_count > SRP_TABLE_MAX ||
	    b->table_count < count)
		return SRP_REFUSE;
	if ((b->table_count == 0) != (b->bytes == 0))
		return SRP_REFUSE;
	if (srp_buffer_is_external(b))
		return desc_ok(&b->table) ? SRP_GO_ON : SRP_REFUSE;
	return sum(b->descs, count) == b->bytes ? SRP_GO_ON : SRP_REFUSE;
}

/* The data begins where the login said, behind what was parsed, and ends with the unit. */
static enum srp_verdict
parse_immediate(struct cursor *c, uint16_t offset, struct srp_buffer *b)
{
	const be32 *len = take(c, sizeof *len);
	if (len == NULL || offset == 0 || offset < c->at || offset > c->len)
		return SRP_END;
	b->bytes = be32_get(*len);
	if (b->bytes > c->len - offset)
		return SRP_END;
	b->data = c->iu + offset;
	return SRP_GO_ON;
}

static enum srp_verdict
parse_buffer(struct cursor *c, unsigned format, uint32_t count, const struct srp_cmd_limits *limits,
    struct srp_buffer *b)
{
	b->format = (enum srp_format)format;
	switch (format) {
	case SRP_FMT_NONE:
		return SRP_GO_ON;
	case SRP_FMT_DIRECT:
		return parse_direct(c, b);
	case SRP_FMT_INDIRECT:
		return parse_indirect(c, count, b);
	default:
		return parse_immediate(c, limits->imm_data_offset, b);
	}
}

/* ---- requests ---------------------------------------------------------------------------- */

static void
worse(enum srp_verdict *v, enum srp_verdict other)
{
	if (other > *v)
		*v = other;
}

enum srp_verdict
srp_cmd_parse(const void *iu, size_t len, const struct srp_cmd_limits *limits,
    struct srp_request *ret, enum srp_logout_reason *ret_reason)
{
	const struct srp_cmd *w = iu;
	enum srp_verdict v = SRP_GO_ON;

	*ret = (struct srp_request){0};
	*ret_reason = SRP_LOGOUT_BAD_IU;
	if (len < sizeof *w || w->opcode != SRP_CMD)
		return SRP_END;
	unsigned add_cdb = w->add_cdb_len & SRP_ADD_CDB_MASK;
	unsigned out = w->formats >> 4, in = w->formats & 0x0f;
	struct cursor c = {.iu = iu, .at = sizeof *w, .len = len};
	memcpy(ret->tag, w->tag, sizeof ret->tag);
	memcpy(ret->lun, w->lun, sizeof ret->lun);
	ret->attr = w->attr & SRP_ATTR_MASK;
	ret->sol_not = w->sol_not;
	ret->cdb = w->cdb;
	ret->cdb_len = (uint8_t)(sizeof w->cdb + add_cdb);
	if (take(&c, add_cdb) == NULL)
		return SRP_END;
	if (sizeof w->cdb + add_cdb > SRP_CDB_MAX_BYTES)
		v = SRP_REFUSE;
	*ret_reason = SRP_LOGOUT_OUT_FORMAT;
	if (out > SRP_FMT_IMMEDIATE || (out == SRP_FMT_IMMEDIATE && limits->imm_data_offset == 0))
		return SRP_END;
	*ret_reason = SRP_LOGOUT_IN_FORMAT;
	if (in > SRP_FMT_INDIRECT)
		return SRP_END;
	*ret_reason = SRP_LOGOUT_OUT_COUNT;
	worse(&v, parse_buffer(&c, out, w->out_desc_count, limits, &ret->out));
	if (v == SRP_END)
		return v;
	*ret_reason = SRP_LOGOUT_IN_COUNT;
	worse(&v, parse_buffer(&c, in, w->in_desc_count, limits, &ret->in));
	if (v == SRP_END)
		return v;
	if (out == SRP_FMT_IMMEDIATE && c.at > limits->imm_data_offset)
		return SRP_END; /* descriptors where data should be */
	/* Both directions: no command that we have moves data both ways. */
	if ((out != SRP_FMT_NONE && in != SRP_FMT_NONE) ||
	    ret->out.bytes > limits->xfer_max_bytes || ret->in.bytes > limits->xfer_max_bytes)
		worse(&v, SRP_REFUSE);
	return v;
}

/* ---- answers ----------------------------------------------------------------------------- */

static void
residual(struct srp_rsp *w, const struct srp_answer *a)
{
	bool out = a->out_bytes > 0;
	uint32_t expected = out ? a->out_bytes : a->in_bytes;
	if (a->xfer_bytes == expected)
		return;
	bool under = a->xfer_bytes < expected;
	uint64_t diff = under ? expected - a->xfer_bytes : a->xfer_bytes - expected;
	be32 count;
	be32_put(&count, diff > UINT32_MAX ? UINT32_MAX : (uint32_t)diff);
	if (out) {
		w->out_residual = count;
		w->flags |= under ? SRP_RSP_DOUNDER : SRP_RSP_DOOVER;
	} else {
		w->in_residual = count;
		w->flags |= under ? SRP_RSP_DIUNDER : SRP_RSP_DIOVER;
	}
}

size_t
srp_rsp_build(void *buf, const struct srp_answer *a)
{
	struct srp_rsp *w = buf;
	uint8_t *at = (uint8_t *)buf + sizeof *w;

	*w = (struct srp_rsp){.opcode = SRP_RSP, .status = a->status};
	ASSERT(a->sense_len <= SRP_SENSE_MAX_BYTES);
	w->sol_not = a->solicited ? SRP_RSP_SOLICITED : 0;
	be32_put(&w->req_lim_delta, a->req_lim_delta);
	memcpy(w->tag, a->tag, sizeof w->tag);
	residual(w, a);
	if (a->code >= 0) {
		w->flags |= SRP_RSP_RSPVALID;
		be32_put(&w->data_len, 4);
		store_be32(at, (uint32_t)a->code);
		at += 4;
	}
	if (a->sense_len > 0) {
		w->flags |= SRP_RSP_SNSVALID;
		be32_put(&w->sense_len, a->sense_len);
		memcpy(at, a->sense, a->sense_len);
		at += a->sense_len;
	}
	return (size_t)(at - (uint8_t *)buf);
}

void
srp_short_build(struct srp_short *ret, enum srp_opcode opcode, uint32_t word, uint64_t tag)
{
	*ret = (struct srp_short){.opcode = (uint8_t)opcode};
	be32_put(&ret->word, word);
	memcpy(ret->tag, &tag, sizeof tag);
}
