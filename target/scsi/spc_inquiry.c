/* SPDX-License-Identifier: BSD-2-Clause */
/* INQUIRY: standard data and the way to the VPD pages (SPC-4 6.6). */
#include "scsi/spc.h"

#define INQUIRY_STD_BYTES 96u
#define INQUIRY_VERSION_SPC4 0x06

/* SPC-4 annex F.4. */
#define VERSION_SAM5 0x00a0
#define VERSION_SPC4 0x0460
#define VERSION_SBC3 0x04c0
#define VERSION_ISCSI 0x0960
#define VERSION_SRP 0x0940

/* SPC-4 table 175 and 176: qualifier in bits 7..5, device type in bits 4..0. */
#define PERIPHERAL_DISK 0x00
#define PERIPHERAL_WELL_KNOWN 0x1e
#define PERIPHERAL_NOT_CONNECTED 0x3f /* 001b, type unknown: nothing there now, but could be */
#define PERIPHERAL_NO_LUN 0x7f        /* 011b, type unknown: never anything there */

uint8_t *
spc_buf_add(struct spc_buf *b, size_t len)
{
	ASSERT(b->len <= b->cap);
	if (len > b->cap - b->len)
		return NULL;
	uint8_t *p = b->data + b->len;
	memset(p, 0, len);
	b->len += len;
	return p;
}

void
spc_ascii(uint8_t *dst, size_t len, const char *src)
{
	size_t i = 0;
	for (; i < len && src[i] != '\0'; i++)
		dst[i] = src[i] >= 0x20 && src[i] <= 0x7e ? (uint8_t)src[i] : '?';
	memset(dst + i, ' ', len - i);
}

uint8_t
spc_peripheral(const struct scsi_task *t)
{
	if (t->nlu)
		return PERIPHERAL_DISK;
	if (scsi_lun_is_report_luns(t->lun))
		return PERIPHERAL_WELL_KNOWN;
	uint16_t lun;
	if (scsi_lun_decode(t->lun, &lun) && lun == 0)
		return PERIPHERAL_NOT_CONNECTED;
	return PERIPHERAL_NO_LUN;
}

bool
spc_inquiry_prepare(struct scsi_task *t)
{
	bool evpd = t->cdb[1] & 0x01;
	if (!evpd && t->cdb[2] != 0)
		return scsi_sense_cdb(t, 2, -1);
	t->xfer_bytes = load_be16(t->cdb + 3);
	return true;
}

/* SPC-4 7.6.4.1: the protocol identifier of the initiator's TransportID is that of the port. */
static uint16_t
inquiry_transport_version(const struct scsi_nexus *n)
{
	return (n->transport_id[0] & 0x0f) == 0x4 ? VERSION_SRP : VERSION_ISCSI;
}

static bool
inquiry_multi_port(const struct scsi_core *c)
{
	const struct list *ports = scsi_core_ports(c);
	return !list_empty(ports) && ports->next != ports->prev;
}

static void
inquiry_standard(struct scsi_task *t)
{
	const struct scsi_lu *lu = t->nlu ? t->nlu->lu : NULL;
	const struct scsi_core *c = t->nexus->core;
	uint8_t d[INQUIRY_STD_BYTES] = {0};
	d[0] = spc_peripheral(t);
	d[1] = lu && lu->id.removable ? 0x80 : 0x00;
	d[2] = INQUIRY_VERSION_SPC4;
	d[3] = 0x10 | 0x02; /* HISUP; response data format 2 */
	d[4] = INQUIRY_STD_BYTES - 5;
	if (lu)
		d[5] = 0x30 | 0x08; /* TPGS: implicit and explicit; 3PC */
	d[6] = inquiry_multi_port(c) ? 0x10 : 0x00;
	d[7] = 0x02; /* CMDQUE */
	spc_ascii(d + 8, 8, lu ? lu->id.vendor : c->vendor);
	spc_ascii(d + 16, 16, lu ? lu->id.product : "VIRTUAL-DISK");
	spc_ascii(d + 32, 4, lu ? lu->id.revision : TERRACE_VERSION);
	store_be16(d + 58, VERSION_SAM5);
	store_be16(d + 60, inquiry_transport_version(t->nexus));
	store_be16(d + 62, VERSION_SPC4);
	if (lu)
		store_be16(d + 64, VERSION_SBC3);
	scsi_task_reply(t, d, sizeof d);
}

static void
inquiry_vpd(struct scsi_task *t)
{
	uint8_t data[SPC_VPD_MAX_BYTES];
	struct spc_buf b;
	spc_buf_init(&b, data, sizeof data);
	if (!spc_vpd_build(t, t->cdb[2], &b)) {
		scsi_sense_cdb(t, 2, -1);
		scsi_task_fail(t);
		return;
	}
	scsi_task_reply(t, data, b.len);
}

void
spc_inquiry(struct scsi_task *t)
{
	if (t->cdb[1] & 0x01)
		inquiry_vpd(t);
	else
		inquiry_standard(t);
}
