/* SPDX-License-Identifier: BSD-2-Clause */
/* Mode pages and MODE SENSE (SPC-4 6.13, 6.14, 7.5; SBC-3 6.5). */
#include "scsi/sbc.h"
#include "scsi/spc.h"

/* ---- the pages: body after the header -------------------------------------------------------- */

#define CACHING_WCE 0x04
#define CONTROL_D_SENSE 0x04
#define CONTROL_SWP 0x08
#define CONTROL_TAS 0x40

/* SBC-3 6.5.9: the store reallocates by itself. */
static void
page_error_recovery(const struct scsi_lu *lu, const struct scsi_mode *m, uint8_t *body)
{
	(void)lu;
	(void)m;
	body[0] = 0xc0; /* AWRE, ARRE */
}

/* SPC-4 7.5.10: no limits but those of the transport. */
static void
page_disconnect(const struct scsi_lu *lu, const struct scsi_mode *m, uint8_t *body)
{
	(void)lu;
	(void)m;
	(void)body;
}

/* SBC-2 6.3.3 (obsolete since, some systems still ask): a geometry that any capacity fits. */
static void
page_format(const struct scsi_lu *lu, const struct scsi_mode *m, uint8_t *body)
{
	(void)m;
	store_be16(body + 8, 256); /* sectors per track */
	store_be16(body + 10, (uint16_t)lu->id.block_bytes);
	store_be16(body + 12, 1);                                   /* interleave */
	body[18] = (uint8_t)(0x40 | (lu->id.removable ? 0x20 : 0)); /* HSEC, RMB */
}

/* SBC-3 6.5.6. */
static void
page_caching(const struct scsi_lu *lu, const struct scsi_mode *m, uint8_t *body)
{
	(void)lu;
	body[0] = m->wce ? CACHING_WCE : 0;
}

static void
apply_caching(const uint8_t *body, struct scsi_mode *m)
{
	m->wce = body[0] & CACHING_WCE;
}

/*
 * SPC-4 7.5.8. TST 001b: a task set per I_T nexus. Queue algorithm modifier 1: SIMPLE tasks are
 * reordered freely. GLTSD: nothing is saved. QERR 00b: other tasks go on after an error.
 */
static void
page_control(const struct scsi_lu *lu, const struct scsi_mode *m, uint8_t *body)
{
	(void)lu;
	body[0] = (uint8_t)(0x20 | 0x02 | (m->d_sense ? CONTROL_D_SENSE : 0));
	body[1] = 0x10;
	body[2] = m->swp ? CONTROL_SWP : 0;
	body[3] = m->tas ? CONTROL_TAS : 0;
}

static void
apply_control(const uint8_t *body, struct scsi_mode *m)
{
	m->d_sense = body[0] & CONTROL_D_SENSE;
	m->swp = body[2] & CONTROL_SWP;
	m->tas = body[3] & CONTROL_TAS;
}

/* SPC-4 7.5.9. */
static void
page_control_extension(const struct scsi_lu *lu, const struct scsi_mode *m, uint8_t *body)
{
	(void)lu;
	(void)m;
	body[0] = 0x01; /* IALUAE, as TPGS in INQUIRY says */
	body[2] = SCSI_SENSE_MAX_BYTES;
}

/* SPC-4 7.5.13: no power conditions but active. */
static void
page_power_condition(const struct scsi_lu *lu, const struct scsi_mode *m, uint8_t *body)
{
	(void)lu;
	(void)m;
	(void)body;
}

/* SPC-4 7.5.11: informational exceptions are not reported. */
static void
page_exceptions(const struct scsi_lu *lu, const struct scsi_mode *m, uint8_t *body)
{
	(void)lu;
	(void)m;
	body[0] = 0x08; /* DEXCPT */
}

/* In ascending order, as page 3Fh returns them. */
static const struct spc_mode_page mode_pages[] = {
    {0x01, 0x00, "SBC-3 6.5.9", page_error_recovery, 0x0a, NULL, false},
    {0x02, 0x00, "SPC-4 7.5.10", page_disconnect, 0x0e, NULL, false},
    {0x03, 0x00, "SBC-2 6.3.3", page_format, 0x16, NULL, false},
    {0x08, 0x00, "SBC-3 6.5.6", page_caching, 0x12, apply_caching, false},
    {0x0a, 0x00, "SPC-4 7.5.8", page_control, 0x0a, apply_control, false},
    {0x0a, 0x01, "SPC-4 7.5.9", page_control_extension, 0x1c, NULL, false},
    {0x1a, 0x00, "SPC-4 7.5.13", page_power_condition, 0x26, NULL, false},
    {0x1c, 0x00, "SPC-4 7.5.11", page_exceptions, 0x0a, NULL, false},
    {0x1c, 0x02, "SBC-3 6.5.8", sbc_space_mode_page, 0x14, NULL, true},
};
#define MODE_PAGE_COUNT (sizeof mode_pages / sizeof mode_pages[0])

#define PAGE_ALL 0x3f
#define SUBPAGE_ALL 0xff

static bool
has_page(const struct scsi_lu *lu, const struct spc_mode_page *p)
{
	return lu->thin || !p->thin_only;
}

const struct spc_mode_page *
spc_mode_page_find(const struct scsi_lu *lu, uint8_t code, uint8_t subcode)
{
	for (size_t i = 0; i < MODE_PAGE_COUNT; i++) {
		const struct spc_mode_page *p = &mode_pages[i];
		if (p->code == code && p->subcode == subcode)
			return has_page(lu, p) ? p : NULL;
	}
	return NULL;
}

/*
 * The changeable mask is what the body differs by between all changeable parameters set and none
 * set: it can't disagree with the builder.
 */
static void
mode_changeable(const struct scsi_lu *lu, const struct spc_mode_page *p, uint8_t *mask)
{
	if (!p->apply)
		return;
	const struct scsi_mode none = {0};
	const struct scsi_mode all = {
	    .swp = true, .d_sense = true, .tas = true, .wce = lu->id.volatile_cache};
	uint8_t with[SPC_MODE_BODY_MAX] = {0}, without[SPC_MODE_BODY_MAX] = {0};
	p->build(lu, &all, with);
	p->build(lu, &none, without);
	for (unsigned i = 0; i < p->body_bytes; i++)
		mask[i] = with[i] ^ without[i];
}

void
spc_mode_page_body(
    const struct scsi_lu *lu, const struct spc_mode_page *p, enum spc_mode_pc pc, uint8_t *body)
{
	ASSERT(p->body_bytes <= SPC_MODE_BODY_MAX);
	memset(body, 0, p->body_bytes);
	struct scsi_mode m;
	switch (pc) {
	case SPC_PC_CHANGEABLE:
		mode_changeable(lu, p, body);
		return;
	case SPC_PC_DEFAULT:
		m = scsi_lu_default_mode(lu);
		break;
	default:
		m = scsi_lu_here(lu)->st.mode;
	}
	p->build(lu, &m, body);
}

bool
spc_write_protected(const struct scsi_task *t)
{
	const struct scsi_lu *lu = t->nlu->lu;
	return t->nlu->ll->st.read_only || t->nlu->read_only || (lu->caps & BLK_CAP_READ_ONLY) ||
	       t->nlu->ll->st.mode.swp;
}

/* ---- MODE SENSE ---------------------------------------------------------------------------------- */

static bool
mode_wanted(const struct scsi_lu *lu, uint8_t code, uint8_t subcode, const struct spc_mode_page *p)
{
	bool code_ok = code == PAGE_ALL || code == p->code;
	bool sub_ok = subcode == SUBPAGE_ALL || subcode == p->subcode;
	return code_ok && sub_ok && has_page(lu, p);
}

static bool
mode_sense_prepare(struct scsi_task *t)
{
	uint8_t code = t->cdb[2] & 0x3f, subcode = t->cdb[3];
	bool found = false;
	for (size_t i = 0; i < MODE_PAGE_COUNT; i++)
		found |= mode_wanted(t->nlu->lu, code, subcode, &mode_pages[i]);
	if (!found && spc_mode_page_find(t->nlu->lu, code, 0x00) == NULL && code != PAGE_ALL)
		return scsi_sense_cdb(t, 2, 5);
	if (!found)
		return scsi_sense_cdb(t, 3, -1);
	if (t->cdb[2] >> 6 == SPC_PC_SAVED)
		return scsi_sense(t, SENSE_SAVING_NOT_SUPPORTED);
	return true;
}

bool
spc_mode_sense6_prepare(struct scsi_task *t)
{
	t->xfer_bytes = t->cdb[4];
	return mode_sense_prepare(t);
}

bool
spc_mode_sense10_prepare(struct scsi_task *t)
{
	t->xfer_bytes = load_be16(t->cdb + 7);
	return mode_sense_prepare(t);
}

/* SBC-3 6.5.2: short, or long with 64 bit number and 32 bit length. */
static void
mode_block_descriptor(const struct scsi_task *t, struct spc_buf *b, bool is_long)
{
	const struct scsi_lu_state *st = &t->nlu->ll->st;
	uint64_t blocks = st->ejected ? 0 : st->blocks;
	uint32_t block_bytes = t->nlu->lu->id.block_bytes;
	uint8_t *d = spc_buf_add(b, is_long ? 16 : 8);
	ASSERT(d);
	if (is_long) {
		store_be64(d, blocks);
		store_be32(d + 12, block_bytes);
	} else {
		store_be32(d, blocks > UINT32_MAX ? UINT32_MAX : (uint32_t)blocks);
		store_be24(d + 5, block_bytes);
	}
}

static void
mode_page_add(
    const struct scsi_lu *lu, const struct spc_mode_page *p, enum spc_mode_pc pc, struct spc_buf *b)
{
	size_t head = p->subcode == 0 ? 2 : 4;
	uint8_t *d = spc_buf_add(b, head + p->body_bytes);
	ASSERT(d);
	d[0] = p->code;
	if (p->subcode == 0) {
		d[1] = (uint8_t)p->body_bytes;
	} else {
		d[0] |= 0x40; /* SPF */
		d[1] = p->subcode;
		store_be16(d + 2, p->body_bytes);
	}
	spc_mode_page_body(lu, p, pc, d + head);
}

void
spc_mode_sense(struct scsi_task *t)
{
	const struct scsi_lu *lu = t->nlu->lu;
	bool ten = t->cdb[0] == 0x5a;
	bool dbd = t->cdb[1] & 0x08;
	bool is_long = ten && !dbd && (t->cdb[1] & 0x10);
	enum spc_mode_pc pc = (enum spc_mode_pc)(t->cdb[2] >> 6);
	uint8_t data[512];
	struct spc_buf b;
	spc_buf_init(&b, data, sizeof data);
	uint8_t *head = spc_buf_add(&b, ten ? 8 : 4);
	uint8_t device_specific =
	    (uint8_t)(0x10 | (spc_write_protected(t) ? 0x80 : 0)); /* DPOFUA, WP */
	size_t desc_bytes = dbd ? 0 : is_long ? 16 : 8;
	if (!dbd)
		mode_block_descriptor(t, &b, is_long);
	for (size_t i = 0; i < MODE_PAGE_COUNT; i++) {
		if (mode_wanted(lu, t->cdb[2] & 0x3f, t->cdb[3], &mode_pages[i]))
			mode_page_add(lu, &mode_pages[i], pc, &b);
	}
	if (ten) {
		store_be16(head, (uint16_t)(b.len - 2));
		head[3] = device_specific;
		head[4] = is_long ? 0x01 : 0x00; /* LONGLBA */
		store_be16(head + 6, (uint16_t)desc_bytes);
	} else {
		ASSERT(b.len - 1 <= UINT8_MAX);
		head[0] = (uint8_t)(b.len - 1);
		head[2] = device_specific;
		head[3] = (uint8_t)desc_bytes;
	}
	scsi_task_reply(t, data, b.len);
}
