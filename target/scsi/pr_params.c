/* SPDX-License-Identifier: BSD-2-Clause */
/* The parameter lists of PERSISTENT RESERVE OUT: SPC-4 6.16.3 and, for REGISTER AND MOVE, 6.16.4. */
#include "scsi/pr.h"

#define MOVE_LIST_MIN_BYTES (PR_BASIC_LIST_BYTES + 24u) /* and the shortest TransportID */

void
pr_verdict_init(struct pr_verdict *v)
{
	memset(v, 0, sizeof(*v));
	v->status = SCSI_GOOD;
	v->cdb_byte = v->param_byte = v->bit = -1;
}

static bool
refuse(struct pr_verdict *v, enum scsi_sense sense)
{
	v->status = SCSI_CHECK_CONDITION;
	v->sense = sense;
	return false;
}

static bool
refuse_param(struct pr_verdict *v, int byte, int bit)
{
	v->param_byte = byte;
	v->bit = bit;
	return refuse(v, SENSE_INVALID_FIELD_PARAM);
}

static bool
parse_move(struct pr_request *req, struct pr_verdict *v)
{
	const uint8_t *list = req->list;

	if (req->list_len < MOVE_LIST_MIN_BYTES ||
	    load_be32(list + 20) != req->list_len - PR_BASIC_LIST_BYTES)
		return refuse(v, SENSE_PARAM_LIST_LENGTH);
	req->unreg = list[17] & 0x02;
	req->aptpl = list[17] & 0x01;
	if (req->aptpl && !req->aptpl_capable)
		return refuse_param(v, 17, 0);
	return true;
}

static bool
parse_register(struct pr_request *req, struct pr_verdict *v)
{
	const uint8_t *list = req->list;

	req->spec_i_pt = list[20] & 0x08;
	req->all_tg_pt = list[20] & 0x04;
	req->aptpl = list[20] & 0x01;
	if (req->spec_i_pt && req->sa == PR_OUT_REGISTER_AND_IGNORE)
		return refuse_param(v, 20, 3); /* table 69, note a */
	if (!req->spec_i_pt && req->list_len != PR_BASIC_LIST_BYTES)
		return refuse(v, SENSE_PARAM_LIST_LENGTH);
	if (req->spec_i_pt &&
	    (req->list_len < PR_TID_LIST_AT ||
	        load_be32(list + PR_BASIC_LIST_BYTES) != req->list_len - PR_TID_LIST_AT))
		return refuse(v, SENSE_PARAM_LIST_LENGTH);
	if (req->aptpl && !req->aptpl_capable)
		return refuse_param(v, 20, 0);
	return true;
}

bool
pr_request_parse(struct pr_request *req, const uint8_t *list, size_t len, struct pr_verdict *v)
{
	pr_verdict_init(v);
	if (len < PR_BASIC_LIST_BYTES)
		return refuse(v, SENSE_PARAM_LIST_LENGTH);
	req->key = load_be64(list);
	req->sa_key = load_be64(list + 8);
	req->list = list;
	req->list_len = len;
	req->aptpl = req->all_tg_pt = req->spec_i_pt = req->unreg = false;
	if (req->sa == PR_OUT_REGISTER_AND_MOVE)
		return parse_move(req, v);
	if (req->sa == PR_OUT_REGISTER || req->sa == PR_OUT_REGISTER_AND_IGNORE)
		return parse_register(req, v);
	if (len != PR_BASIC_LIST_BYTES)
		return refuse(v, SENSE_PARAM_LIST_LENGTH);
	return true;
}
