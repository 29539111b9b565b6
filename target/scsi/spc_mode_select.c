/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * MODE SELECT (SPC-4 6.11, 6.12). The whole list is checked before anything changes; then all
 * changes are made at once, on every loop, and the other nexuses get MODE PARAMETERS CHANGED.
 */
#include "scsi/spc.h"

/* The mode parameters as bits, for the argument of scsi_change_state(). */
#define MODE_SWP 0x1u
#define MODE_D_SENSE 0x2u
#define MODE_TAS 0x4u
#define MODE_WCE 0x8u

static bool
mode_select_prepare(struct scsi_task *t)
{
	if (t->cdb[1] & 0x01) /* SP */
		return scsi_sense(t, SENSE_SAVING_NOT_SUPPORTED);
	return true;
}

bool
spc_mode_select6_prepare(struct scsi_task *t)
{
	t->xfer_bytes = t->cdb[4];
	return mode_select_prepare(t);
}

bool
spc_mode_select10_prepare(struct scsi_task *t)
{
	t->xfer_bytes = load_be16(t->cdb + 7);
	return mode_select_prepare(t);
}

static unsigned
mode_pack(const struct scsi_mode *m)
{
	return (m->swp ? MODE_SWP : 0) | (m->d_sense ? MODE_D_SENSE : 0) | (m->tas ? MODE_TAS : 0) |
	       (m->wce ? MODE_WCE : 0);
}

/* Low half: which parameters change; high half (<< 8): their values. */
static void
mode_edit(struct scsi_lu_state *st, void *arg)
{
	unsigned bits = (unsigned)(uintptr_t)arg;
	unsigned changed = bits & 0xff, values = bits >> 8;
	if (changed & MODE_SWP)
		st->mode.swp = values & MODE_SWP;
	if (changed & MODE_D_SENSE)
		st->mode.d_sense = values & MODE_D_SENSE;
	if (changed & MODE_TAS)
		st->mode.tas = values & MODE_TAS;
	if (changed & MODE_WCE)
		st->mode.wce = values & MODE_WCE;
}

static void
mode_changed(void *ctx)
{
	struct scsi_task *t = ctx;
	if (scsi_task_continue(t))
		scsi_task_good(t);
}

/* The descriptor may repeat what is there (or say "the same", zero); it can't change it. */
static bool
check_block_descriptor(struct scsi_task *t, const uint8_t *p, size_t at, bool is_long)
{
	uint64_t capacity = t->nlu->ll->st.blocks;
	uint32_t block_bytes = t->nlu->lu->id.block_bytes;
	uint64_t blocks = is_long ? load_be64(p + at) : load_be32(p + at);
	uint32_t bytes = is_long ? load_be32(p + at + 12) : load_be24(p + at + 5);
	uint64_t same = is_long ? UINT64_MAX : UINT32_MAX;
	if (blocks != 0 && blocks != capacity && blocks != same)
		return scsi_sense_param(t, (unsigned)at, -1);
	if (bytes != block_bytes)
		return scsi_sense_param(t, (unsigned)at + (is_long ? 12 : 5), -1);
	return true;
}

static int
highest_bit(uint8_t v)
{
	int bit = 7;
	while (bit > 0 && !(v >> bit))
		bit--;
	return bit;
}

/*
 * One page at `at`: *ret_len its length with header, its changeable fields taken over into *m. The
 * page must be there whole, and differ from the current values only where it may.
 */
static bool
check_page(struct scsi_task *t, const uint8_t *p, size_t len, size_t at, struct scsi_mode *m,
    size_t *ret_len)
{
	const struct scsi_lu *lu = t->nlu->lu;
	bool spf = p[at] & 0x40;
	size_t head = spf ? 4 : 2;
	if (len - at < head)
		return scsi_sense(t, SENSE_PARAM_LIST_LENGTH);
	if (p[at] & 0x80) /* PS is reserved here */
		return scsi_sense_param(t, (unsigned)at, 7);
	uint8_t code = p[at] & 0x3f, subcode = spf ? p[at + 1] : 0;
	const struct spc_mode_page *page = spc_mode_page_find(lu, code, subcode);
	if (!page || (spf && subcode == 0))
		return scsi_sense_param(t, (unsigned)(page ? at + 1 : at), page ? -1 : 5);
	size_t body_bytes = spf ? load_be16(p + at + 2) : p[at + 1];
	if (body_bytes != page->body_bytes)
		return scsi_sense_param(t, (unsigned)at + (spf ? 2 : 1), -1);
	if (len - at - head < body_bytes)
		return scsi_sense(t, SENSE_PARAM_LIST_LENGTH);

	const uint8_t *body = p + at + head;
	uint8_t current[SPC_MODE_BODY_MAX], mask[SPC_MODE_BODY_MAX];
	spc_mode_page_body(lu, page, SPC_PC_CURRENT, current);
	spc_mode_page_body(lu, page, SPC_PC_CHANGEABLE, mask);
	for (size_t i = 0; i < body_bytes; i++) {
		uint8_t wrong = (uint8_t)((body[i] ^ current[i]) & ~mask[i]);
		if (wrong)
			return scsi_sense_param(t, (unsigned)(at + head + i), highest_bit(wrong));
	}
	if (page->apply)
		page->apply(body, m);
	if (!lu->id.volatile_cache)
		m->wce = t->nlu->ll->st.mode.wce;
	*ret_len = head + body_bytes;
	return true;
}

/* True: *ret holds the mode parameters that the list asks for. */
static bool
mode_parse(struct scsi_task *t, const uint8_t *p, size_t len, struct scsi_mode *ret)
{
	bool ten = t->cdb[0] == 0x55;
	size_t head = ten ? 8 : 4;
	if (len < head)
		return scsi_sense(t, SENSE_PARAM_LIST_LENGTH);
	bool is_long = ten && (p[4] & 0x01);
	size_t desc_bytes = ten ? load_be16(p + 6) : p[3];
	size_t one_desc = is_long ? 16 : 8;
	if (desc_bytes != 0 && desc_bytes != one_desc)
		return scsi_sense_param(t, ten ? 6 : 3, -1);
	if (len - head < desc_bytes)
		return scsi_sense(t, SENSE_PARAM_LIST_LENGTH);
	if (desc_bytes != 0 && !check_block_descriptor(t, p, head, is_long))
		return false;
	size_t at = head + desc_bytes;
	if (at < len && !(t->cdb[1] & 0x10)) /* PF=0: the pages would be vendor specific */
		return scsi_sense_cdb(t, 1, 4);
	while (at < len) {
		size_t page_bytes = 0;
		if (!check_page(t, p, len, at, ret, &page_bytes))
			return false;
		at += page_bytes;
	}
	return true;
}

void
spc_mode_select(struct scsi_task *t)
{
	if (t->xfer_bytes == 0) { /* SPC-4 6.11: not an error */
		scsi_task_good(t);
		return;
	}
	size_t len;
	const uint8_t *p = scsi_task_params(t, &len);
	const struct scsi_mode *current = &t->nlu->ll->st.mode;
	struct scsi_mode wanted = *current;
	if (!mode_parse(t, p, len, &wanted)) {
		scsi_task_fail(t);
		return;
	}
	unsigned values = mode_pack(&wanted), changed = values ^ mode_pack(current);
	if (changed == 0) {
		scsi_task_good(t);
		return;
	}
	scsi_task_suspend(t);
	int err = scsi_change_state(t->nlu->lu, mode_edit, changed | values << 8, UA_MODE_CHANGED,
	    t->nexus->id, mode_changed, t);
	if (err != 0 && scsi_task_continue(t))
		scsi_task_status(t, SCSI_BUSY);
}
