/* SPDX-License-Identifier: BSD-2-Clause */
/* Vital product data: one builder per page (SPC-4 7.8, SBC-3 6.6). */
#include "scsi/copy.h"
#include "scsi/sbc.h"
#include "scsi/spc.h"

struct vpd_page {
	uint8_t code;
	const char *section;
	/* Appends what follows the header. */
	void (*build)(const struct scsi_task *t, struct spc_buf *b);
	/* NULL: every unit has it. */
	bool (*present)(const struct scsi_lu *lu);
};

/* ---- designators (SPC-4 7.8.6) ------------------------------------------------------------- */

enum code_set { CODE_BINARY = 1, CODE_ASCII = 2, CODE_UTF8 = 3 };
enum association { ASSOC_LU = 0, ASSOC_PORT = 1, ASSOC_DEVICE = 2 };
enum designator {
	DESIG_T10 = 1,
	DESIG_EUI64 = 2,
	DESIG_NAA = 3,
	DESIG_REL_PORT = 4,
	DESIG_PORT_GROUP = 5,
	DESIG_SCSI_NAME = 8
};

#define SCSI_NAME_MAX_BYTES 256u /* with terminating zero and padding, SPC-4 7.8.6.11 */

/* Adds header and `len` zero bytes; the caller fills them in. NULL: no room. */
static uint8_t *
designator_add(struct spc_buf *b, const struct scsi_nexus *n, enum code_set set,
    enum association assoc, enum designator type, size_t len)
{
	ASSERT(len <= 255 || type == DESIG_SCSI_NAME);
	uint8_t *d = spc_buf_add(b, 4 + len);
	if (!d)
		return NULL;
	d[0] = (uint8_t)set;
	d[1] = (uint8_t)((unsigned)assoc << 4 | (unsigned)type);
	if (assoc != ASSOC_LU) {
		d[0] |= (uint8_t)((n->transport_id[0] & 0x0f) << 4);
		d[1] |= 0x80; /* PIV */
	}
	d[3] = (uint8_t)len;
	return d + 4;
}

/* A name that is too long for its length byte is left out: a cut name would be another name. */
static void
designator_add_name(
    struct spc_buf *b, const struct scsi_nexus *n, enum association assoc, const char *name)
{
	size_t len = (strlen(name) + 1 + 3) & ~(size_t)3;
	if (len > SCSI_NAME_MAX_BYTES - 4)
		return;
	uint8_t *d = designator_add(b, n, CODE_UTF8, assoc, DESIG_SCSI_NAME, len);
	if (d)
		memcpy(d, name, strlen(name));
}

static bool
all_zero(const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (p[i] != 0)
			return false;
	}
	return true;
}

static const struct scsi_port *
port_find(const struct scsi_core *c, uint16_t rel_port_id)
{
	LIST_FOREACH (pos, scsi_core_ports(c)) {
		const struct scsi_port *p = container_of(pos, struct scsi_port, link);
		if (p->rel_port_id == rel_port_id)
			return p;
	}
	return NULL;
}

size_t
scsi_lu_t10_designator(const struct scsi_lu *lu, uint8_t *buf, size_t cap)
{
	size_t id_len = strlen(lu->id.t10_id);
	ASSERT(cap >= 8);
	if (id_len > cap - 8)
		id_len = cap - 8;
	spc_ascii(buf, 8, lu->id.vendor);
	spc_ascii(buf + 8, id_len, lu->id.t10_id);
	return 8 + id_len;
}

/* ---- the pages --------------------------------------------------------------------------------- */

static void vpd_supported(const struct scsi_task *t, struct spc_buf *b);

/* SPC-4 7.8.15. */
static void
vpd_serial(const struct scsi_task *t, struct spc_buf *b)
{
	const char *serial = t->nlu->lu->id.serial;
	size_t len = strlen(serial);
	uint8_t *d = spc_buf_add(b, len);
	if (d)
		spc_ascii(d, len, serial);
}

/* SPC-4 7.8.6. The NAA designator first: some initiators look no further. */
static void
vpd_device_id(const struct scsi_task *t, struct spc_buf *b)
{
	const struct scsi_lu *lu = t->nlu->lu;
	const struct scsi_nexus *n = t->nexus;
	uint8_t *d = NULL;
	if (lu->id.naa_bytes > 0)
		d = designator_add(b, n, CODE_BINARY, ASSOC_LU, DESIG_NAA, lu->id.naa_bytes);
	if (d)
		memcpy(d, lu->id.naa, lu->id.naa_bytes);

	uint8_t t10[252];
	size_t t10_len = scsi_lu_t10_designator(lu, t10, sizeof t10);
	d = designator_add(b, n, CODE_ASCII, ASSOC_LU, DESIG_T10, t10_len);
	if (d)
		memcpy(d, t10, t10_len);

	if (!all_zero(lu->id.eui64, sizeof lu->id.eui64)) {
		d = designator_add(b, n, CODE_BINARY, ASSOC_LU, DESIG_EUI64, sizeof lu->id.eui64);
		if (d)
			memcpy(d, lu->id.eui64, sizeof lu->id.eui64);
	}

	d = designator_add(b, n, CODE_BINARY, ASSOC_PORT, DESIG_REL_PORT, 4);
	if (d)
		store_be16(d + 2, n->rel_port_id);
	const struct scsi_port *port = port_find(n->core, n->rel_port_id);
	if (!port)
		return;
	d = designator_add(b, n, CODE_BINARY, ASSOC_PORT, DESIG_PORT_GROUP, 4);
	if (d)
		store_be16(d + 2, port->group_id);
	designator_add_name(b, n, ASSOC_PORT, port->name);
	designator_add_name(b, n, ASSOC_DEVICE, port->device_name);
}

/* SPC-4 7.8.7. */
static void
vpd_extended_inquiry(const struct scsi_task *t, struct spc_buf *b)
{
	uint8_t *d = spc_buf_add(b, 0x3c);
	if (!d)
		return;
	d[1] = 0x07;                                        /* HEADSUP, ORDSUP, SIMPSUP */
	d[2] = t->nlu->lu->id.volatile_cache ? 0x01 : 0x00; /* V_SUP */
	d[9] = SCSI_SENSE_MAX_BYTES;
}

/* SPC-4 7.8.10: every page has one value for all nexuses. */
static void
vpd_mode_policy(const struct scsi_task *t, struct spc_buf *b)
{
	(void)t;
	uint8_t *d = spc_buf_add(b, 4);
	if (!d)
		return;
	d[0] = 0x3f;
	d[1] = 0xff;
}

/* SPC-4 7.8.13. A port that doesn't fit any more is left out whole. */
static void
vpd_ports(const struct scsi_task *t, struct spc_buf *b)
{
	LIST_FOREACH (pos, scsi_core_ports(t->nexus->core)) {
		const struct scsi_port *p = container_of(pos, struct scsi_port, link);
		if (b->cap - b->len < 12 + 4 + SCSI_NAME_MAX_BYTES)
			return;
		size_t at = b->len;
		uint8_t *d = spc_buf_add(b, 12);
		store_be16(d + 2, p->rel_port_id);
		designator_add_name(b, t->nexus, ASSOC_PORT, p->name);
		store_be16(d + 10, (uint16_t)(b->len - at - 12));
	}
}

/* SPC-4 7.8.17: what copy_table.c and copy_parse.c implement. */
static void
vpd_third_party(const struct scsi_task *t, struct spc_buf *b)
{
	(void)t;
	/* 0001h: EXTENDED COPY(LID1); RECEIVE COPY STATUS, PARAMETERS, FAILED SEGMENT DETAILS. */
	static const uint8_t commands[16] = {
	    0x00, 0x01, 0x00, 0x0c, 0x08, 0x83, 0x01, 0x00, 0x84, 0x03, 0x00, 0x03, 0x04};
	uint8_t *d = spc_buf_add(b, sizeof commands);
	if (d)
		memcpy(d, commands, sizeof commands);

	d = spc_buf_add(b, 4 + 0x1c); /* 0004h: parameter data */
	if (d) {
		store_be16(d, 0x0004);
		store_be16(d + 2, 0x001c);
		store_be16(d + 8, COPY_TARGETS_MAX);
		store_be16(d + 10, COPY_SEGMENTS_MAX);
		store_be32(d + 12, COPY_DESC_BYTES_MAX);
	}

	static const uint8_t descriptors[8] = {
	    0x00, 0x08, 0x00, 0x04, 0x02, COPY_SEG_BLOCK_TO_BLOCK, COPY_TGT_IDENTIFICATION};
	d = spc_buf_add(b, sizeof descriptors);
	if (d)
		memcpy(d, descriptors, sizeof descriptors);

	d = spc_buf_add(b, 4 + 0x20); /* 8001h: general copy operations */
	if (d) {
		store_be16(d, 0x8001);
		store_be16(d + 2, 0x0020);
		store_be32(d + 4, COPY_TOTAL_CONCURRENT);
		store_be32(d + 8, COPY_RESULTS_MAX);
		store_be32(d + 12, COPY_SEGMENT_BYTES_MAX);
		d[16] = COPY_GRANULARITY_SHIFT;
	}
}

/* SBC-3 6.6.3. */
static void
vpd_block_limits(const struct scsi_task *t, struct spc_buf *b)
{
	const struct scsi_lu *lu = t->nlu->lu;
	struct scsi_sbc_limits lim;
	scsi_sbc_limits(lu, &lim);
	uint8_t *p = spc_buf_add(b, 0x3c);
	if (!p)
		return;
	uint8_t *d = p - 4; /* offsets as in the standard, from the start of the page */
	/* WSNZ is zero: WRITE SAME with zero blocks goes to the end of the medium. */
	d[5] = (uint8_t)lim.caw_blocks_max;
	store_be16(d + 6, (uint16_t)lim.xfer_blocks_granularity);
	store_be32(d + 8, lim.xfer_blocks_max);
	store_be32(d + 12, lim.xfer_blocks_optimal);
	store_be32(d + 20, lim.unmap_blocks_max);
	store_be32(d + 24, lim.unmap_descs_max);
	store_be32(d + 28, lim.unmap_granularity_blocks);
	if (lim.unmap_granularity_blocks != 0)
		store_be32(d + 32, 0x80000000u | lim.unmap_alignment_blocks);
	store_be64(d + 36, lim.write_same_blocks_max);
	store_be32(d + 44, lim.atomic_blocks_max);
	store_be32(d + 48, lim.atomic_align_blocks);
	store_be32(d + 52, lim.atomic_granularity_blocks);
}

/* SBC-3 6.6.2. The rate of a rotating medium behind a file or a volume is not known: 0. */
static void
vpd_block_characteristics(const struct scsi_task *t, struct spc_buf *b)
{
	const struct scsi_lu *lu = t->nlu->lu;
	uint8_t *d = spc_buf_add(b, 0x3c);
	if (!d)
		return;
	store_be16(d, lu->id.rotational ? 0x0000 : 0x0001);
	/* WABEREQ 01b: blocks can be read after SANITIZE BLOCK ERASE without a write before. */
	if (lu->sanitize && lu->thin)
		d[3] = 0x40;
}

/* SBC-3 6.6.4. */
static void
vpd_provisioning(const struct scsi_task *t, struct spc_buf *b)
{
	struct scsi_sbc_limits lim;
	scsi_sbc_limits(t->nlu->lu, &lim);
	uint8_t *d = spc_buf_add(b, 4);
	if (!d)
		return;
	d[0] = sbc_space_exponent(t->nlu->lu);
	d[1] = (uint8_t)((lim.lbpu ? 0x80 : 0) | (lim.lbpws ? 0x40 : 0) | (lim.lbpws10 ? 0x20 : 0) |
	                 (lim.lbprz ? 0x04 : 0) | (lim.anc_sup ? 0x02 : 0));
	d[2] = 0x02; /* thin provisioned */
}

static bool
lu_is_thin(const struct scsi_lu *lu)
{
	return lu->thin;
}

/* In ascending order, as page 00h lists them. */
static const struct vpd_page vpd_pages[] = {
    {0x00, "SPC-4 7.8.14", vpd_supported, NULL},
    {0x80, "SPC-4 7.8.15", vpd_serial, NULL},
    {0x83, "SPC-4 7.8.6", vpd_device_id, NULL},
    {0x86, "SPC-4 7.8.7", vpd_extended_inquiry, NULL},
    {0x87, "SPC-4 7.8.10", vpd_mode_policy, NULL},
    {0x88, "SPC-4 7.8.13", vpd_ports, NULL},
    {0x8f, "SPC-4 7.8.17", vpd_third_party, NULL},
    {0xb0, "SBC-3 6.6.3", vpd_block_limits, NULL},
    {0xb1, "SBC-3 6.6.2", vpd_block_characteristics, NULL},
    {0xb2, "SBC-3 6.6.4", vpd_provisioning, lu_is_thin},
};
#define VPD_PAGE_COUNT (sizeof vpd_pages / sizeof vpd_pages[0])

/* Where no unit is mapped there is nothing to identify: page 00h alone. */
static bool
vpd_present(const struct scsi_task *t, const struct vpd_page *p)
{
	if (!t->nlu)
		return p->code == 0x00;
	return !p->present || p->present(t->nlu->lu);
}

static void
vpd_supported(const struct scsi_task *t, struct spc_buf *b)
{
	for (size_t i = 0; i < VPD_PAGE_COUNT; i++) {
		uint8_t *d = vpd_present(t, &vpd_pages[i]) ? spc_buf_add(b, 1) : NULL;
		if (d)
			*d = vpd_pages[i].code;
	}
}

bool
spc_vpd_build(const struct scsi_task *t, uint8_t page, struct spc_buf *b)
{
	for (size_t i = 0; i < VPD_PAGE_COUNT; i++) {
		const struct vpd_page *p = &vpd_pages[i];
		if (p->code != page || !vpd_present(t, p))
			continue;
		uint8_t *head = spc_buf_add(b, 4);
		ASSERT(head);
		head[0] = spc_peripheral(t);
		head[1] = page;
		p->build(t, b);
		ASSERT(b->len >= 4 && b->len - 4 <= UINT16_MAX);
		store_be16(head + 2, (uint16_t)(b->len - 4));
		return true;
	}
	return false;
}
