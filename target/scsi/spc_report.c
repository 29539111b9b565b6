/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * REPORT LUNS, REPORT SUPPORTED OPERATION CODES and TASK MANAGEMENT FUNCTIONS (SPC-4 6.33, 6.35,
 * 6.36).
 */
#include "scsi/spc.h"

/* ---- REPORT LUNS ------------------------------------------------------------------------------ */

/* SELECT REPORT, SPC-4 table 281. */
enum select_report {
	SELECT_ALL_BUT_WELL_KNOWN = 0x00,
	SELECT_WELL_KNOWN = 0x01,
	SELECT_ALL = 0x02,
	SELECT_ADMINISTRATIVE = 0x10,
	SELECT_NOT_SUBSIDIARY = 0x11,
	SELECT_SUBSIDIARY = 0x12,
};

static bool
report_luns_has_plain(uint8_t select)
{
	return select == SELECT_ALL_BUT_WELL_KNOWN || select == SELECT_ALL ||
	       select == SELECT_NOT_SUBSIDIARY;
}

static bool
report_luns_has_well_known(uint8_t select)
{
	return select == SELECT_WELL_KNOWN || select == SELECT_ALL;
}

bool
spc_report_luns_prepare(struct scsi_task *t)
{
	uint8_t select = t->cdb[2];
	t->xfer_bytes = load_be32(t->cdb + 6);
	if (t->xfer_bytes < 16)
		return scsi_sense_cdb(t, 6, -1);
	/*
	 * There are no administrative logical units: 10h is an empty list; 12h asks for the
	 * subsidiaries of the addressed one, which isn't one.
	 */
	if (report_luns_has_plain(select) || report_luns_has_well_known(select) ||
	    select == SELECT_ADMINISTRATIVE)
		return true;
	return scsi_sense_cdb(t, 2, -1);
}

void
spc_report_luns(struct scsi_task *t)
{
	static const uint8_t well_known[8] = {0xc1, 0x01};
	const struct scsi_nexus *n = t->nexus;
	uint8_t select = t->cdb[2];
	uint32_t plain = report_luns_has_plain(select) ? n->nlu_count : 0;
	uint32_t total = plain + (report_luns_has_well_known(select) ? 1 : 0);
	uint64_t len = 8 + 8ull * total;
	/* The list may be longer than any buffer on the stack: entry by entry into the task's. */
	uint64_t room = t->xfer_bytes < t->in_bytes ? t->xfer_bytes : t->in_bytes;
	if (room > t->sg.len_bytes)
		room = t->sg.len_bytes;
	uint64_t at = 0;
	for (uint32_t i = 0; i <= total && at < room; i++, at += 8) {
		uint8_t entry[8] = {0};
		if (i == 0)
			store_be32(entry, total * 8);
		else if (i <= plain)
			scsi_lun_encode(n->nlus[i - 1]->lun, entry);
		else
			memcpy(entry, well_known, sizeof entry);
		blk_sg_copy_in(&t->sg, at, entry, room - at < 8 ? (size_t)(room - at) : 8);
	}
	t->data_in_len = (uint32_t)(len < room ? len : room);
	t->xfer_bytes = len < t->xfer_bytes ? len : t->xfer_bytes;
	/* SAM-5 5.14: whoever has read the list knows of its changes. */
	if (report_luns_has_plain(select))
		scsi_ua_clear(t->nexus, UA_LUNS_CHANGED);
	scsi_task_good(t);
}

/* ---- REPORT SUPPORTED OPERATION CODES ---------------------------------------------------------- */

enum rsoc_options { RSOC_ALL, RSOC_OPCODE, RSOC_OPCODE_SA, RSOC_EITHER, RSOC_OPTION_COUNT };

#define RSOC_TIMEOUT_BYTES 12u
#define RSOC_ALL_MAX_BYTES (4u + 256u * (8u + RSOC_TIMEOUT_BYTES))
#define OPCODE_VARIABLE_LENGTH 0x7f

bool
spc_rsoc_prepare(struct scsi_task *t)
{
	t->xfer_bytes = load_be32(t->cdb + 6);
	if ((t->cdb[2] & 0x07) >= RSOC_OPTION_COUNT)
		return scsi_sense_cdb(t, 2, 2);
	return true;
}

/* SPC-4 6.35.4: nominal time not indicated, recommended timeout in seconds. */
static void
rsoc_timeouts(const struct scsi_opcode *op, uint8_t *d)
{
	store_be16(d, RSOC_TIMEOUT_BYTES - 2);
	store_be32(d + 8, op->timeout_s);
}

static void
rsoc_all(struct scsi_task *t, bool timeouts)
{
	uint8_t data[RSOC_ALL_MAX_BYTES];
	struct spc_buf b;
	spc_buf_init(&b, data, sizeof data);
	(void)spc_buf_add(&b, 4);
	for (size_t f = 0; scsi_op_families[f]; f++) {
		for (const struct scsi_opcode *op = scsi_op_families[f]; op->name; op++) {
			if (!scsi_opcode_supported(op, t->nlu->lu))
				continue;
			uint8_t *d = spc_buf_add(&b, 8 + (timeouts ? RSOC_TIMEOUT_BYTES : 0));
			ASSERT(d);
			d[0] = op->opcode;
			store_be16(d + 2, op->has_sa ? op->sa : 0);
			d[5] = (uint8_t)((timeouts ? 0x02 : 0) | (op->has_sa ? 0x01 : 0));
			store_be16(d + 6, op->cdb_len);
			if (timeouts)
				rsoc_timeouts(op, d + 8);
		}
	}
	store_be32(data, (uint32_t)(b.len - 4));
	scsi_task_reply(t, data, b.len);
}

/* The supported row for opcode and service action; *ret_known, *ret_has_sa tell of the opcode. */
static const struct scsi_opcode *
rsoc_find(const struct scsi_lu *lu, uint8_t opcode, uint16_t sa, bool *ret_has_sa)
{
	const struct scsi_opcode *found = NULL;
	*ret_has_sa = false;
	for (size_t f = 0; scsi_op_families[f]; f++) {
		for (const struct scsi_opcode *op = scsi_op_families[f]; op->name; op++) {
			if (op->opcode != opcode || !scsi_opcode_supported(op, lu))
				continue;
			*ret_has_sa |= op->has_sa;
			if (!op->has_sa || op->sa == sa)
				found = op;
		}
	}
	return found;
}

/* SPC-4 6.35.3: the operation code and service action stand as they are in the usage data. */
static void
rsoc_usage(const struct scsi_opcode *op, uint8_t *d)
{
	memcpy(d, op->usage, op->cdb_len);
	d[0] = op->opcode;
	if (!op->has_sa)
		return;
	if (op->opcode == OPCODE_VARIABLE_LENGTH)
		store_be16(d + 8, op->sa);
	else
		d[1] = (uint8_t)((d[1] & 0xe0) | op->sa);
}

static void
rsoc_one(struct scsi_task *t, enum rsoc_options option, bool timeouts)
{
	uint8_t opcode = t->cdb[3];
	uint16_t sa = load_be16(t->cdb + 4);
	bool has_sa;
	const struct scsi_opcode *op = rsoc_find(t->nlu->lu, opcode, sa, &has_sa);
	bool bad = false;
	if (option == RSOC_OPCODE && has_sa)
		bad = true; /* must be asked for with its service action */
	if (option == RSOC_OPCODE_SA && op && !op->has_sa)
		bad = true; /* has none */
	if (bad) {
		scsi_sense_cdb(t, 2, 2);
		scsi_task_fail(t);
		return;
	}
	if (option == RSOC_EITHER && op && !op->has_sa && sa != 0)
		op = NULL;
	uint8_t data[4 + SCSI_CDB_MAX_BYTES + RSOC_TIMEOUT_BYTES] = {0};
	size_t len = 4;
	data[1] = 0x01; /* SUPPORT 001b: not supported */
	if (op) {
		data[1] = (uint8_t)(0x03 | (timeouts ? 0x80 : 0)); /* in conformance; CTDP */
		store_be16(data + 2, op->cdb_len);
		rsoc_usage(op, data + len);
		len += op->cdb_len;
		if (timeouts) {
			rsoc_timeouts(op, data + len);
			len += RSOC_TIMEOUT_BYTES;
		}
	}
	scsi_task_reply(t, data, len);
}

void
spc_rsoc(struct scsi_task *t)
{
	enum rsoc_options option = (enum rsoc_options)(t->cdb[2] & 0x07);
	bool timeouts = t->cdb[2] & 0x80;
	if (option == RSOC_ALL)
		rsoc_all(t, timeouts);
	else
		rsoc_one(t, option, timeouts);
}

/* ---- REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS -------------------------------------------------- */

bool
spc_rstmf_prepare(struct scsi_task *t)
{
	t->xfer_bytes = load_be32(t->cdb + 6);
	if (t->xfer_bytes < 4)
		return scsi_sense_cdb(t, 6, -1);
	return true;
}

/* Where the functions stand in the parameter data. CLEAR ACA and WAKEUP don't exist here. */
static const struct {
	uint8_t function; /* enum scsi_tmf */
	uint8_t byte, bit;
} rstmf_bits[] = {
    {SCSI_TMF_ABORT_TASK, 0, 0x80},
    {SCSI_TMF_ABORT_TASK_SET, 0, 0x40},
    {SCSI_TMF_CLEAR_TASK_SET, 0, 0x10},
    {SCSI_TMF_LU_RESET, 0, 0x08},
    {SCSI_TMF_QUERY_TASK, 0, 0x04},
    {SCSI_TMF_TARGET_RESET, 0, 0x02},
    {SCSI_TMF_QUERY_ASYNC_EVENT, 1, 0x04},
    {SCSI_TMF_QUERY_TASK_SET, 1, 0x02},
    {SCSI_TMF_I_T_NEXUS_RESET, 1, 0x01},
};

/* SPC-4 6.36.2 and 6.36.3. In the extended form no timeouts are given: TMFTMOV is zero. */
void
spc_rstmf(struct scsi_task *t)
{
	bool extended = t->cdb[2] & 0x80; /* REPD */
	uint8_t d[16] = {0};
	for (size_t i = 0; i < sizeof rstmf_bits / sizeof rstmf_bits[0]; i++) {
		if (t->nexus->tmfs & (1u << rstmf_bits[i].function))
			d[rstmf_bits[i].byte] |= rstmf_bits[i].bit;
	}
	d[3] = extended ? 12 : 0;
	scsi_task_reply(t, d, extended ? 16 : 4);
}
