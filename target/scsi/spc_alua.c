/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Target port groups (SPC-4 5.15, 6.37, 6.45). Every port reaches every unit by the same way: all
 * groups are active/optimized, and nothing else can be set.
 */
#include "scsi/spc.h"

#define STATE_ACTIVE_OPTIMIZED 0x0u
#define ALUA_BUF_BYTES 16384u

/* Groups aren't stored: they are the distinct group ids of the ports. */
static bool
group_seen_before(const struct scsi_core *c, const struct scsi_port *port)
{
	LIST_FOREACH (pos, scsi_core_ports(c)) {
		const struct scsi_port *p = container_of(pos, struct scsi_port, link);
		if (p == port)
			return false;
		if (p->group_id == port->group_id)
			return true;
	}
	return false;
}

static bool
group_exists(const struct scsi_core *c, uint16_t group_id)
{
	LIST_FOREACH (pos, scsi_core_ports(c)) {
		if (container_of(pos, struct scsi_port, link)->group_id == group_id)
			return true;
	}
	return false;
}

/* A port that doesn't fit any more is left out whole, and the counts say so. */
static void
group_add(const struct scsi_core *c, uint16_t group_id, struct spc_buf *b)
{
	uint8_t *d = spc_buf_add(b, 8);
	if (!d)
		return;
	d[0] = STATE_ACTIVE_OPTIMIZED;
	d[1] = 0x01; /* AO_SUP */
	store_be16(d + 2, group_id);
	LIST_FOREACH (pos, scsi_core_ports(c)) {
		const struct scsi_port *p = container_of(pos, struct scsi_port, link);
		if (p->group_id != group_id || d[7] == UINT8_MAX)
			continue;
		uint8_t *port = spc_buf_add(b, 4);
		if (!port)
			return;
		store_be16(port + 2, p->rel_port_id);
		d[7]++;
	}
}

bool
spc_rtpg_prepare(struct scsi_task *t)
{
	t->xfer_bytes = load_be32(t->cdb + 6);
	if (t->cdb[1] >> 5 > 1) /* PARAMETER DATA FORMAT */
		return scsi_sense_cdb(t, 1, 7);
	return true;
}

void
spc_rtpg(struct scsi_task *t)
{
	const struct scsi_core *c = t->nexus->core;
	bool extended = t->cdb[1] >> 5 == 1;
	uint8_t data[ALUA_BUF_BYTES];
	struct spc_buf b;
	spc_buf_init(&b, data, sizeof data);
	uint8_t *head = spc_buf_add(&b, extended ? 8 : 4);
	if (extended)
		head[4] = 0x10; /* format type 001b; no implicit transition time */
	LIST_FOREACH (pos, scsi_core_ports(c)) {
		const struct scsi_port *p = container_of(pos, struct scsi_port, link);
		if (!group_seen_before(c, p))
			group_add(c, p->group_id, &b);
	}
	store_be32(head, (uint32_t)(b.len - 4));
	scsi_task_reply(t, data, b.len);
}

bool
spc_stpg_prepare(struct scsi_task *t)
{
	t->xfer_bytes = load_be32(t->cdb + 6);
	return true;
}

/* Descriptors of 4 bytes after 4 reserved ones. */
static bool
stpg_check(struct scsi_task *t, const uint8_t *p, size_t len)
{
	if (len < 4 || len % 4 != 0)
		return scsi_sense(t, SENSE_PARAM_LIST_LENGTH);
	for (size_t at = 4; at < len; at += 4) {
		if (!group_exists(t->nexus->core, load_be16(p + at + 2)))
			return scsi_sense_param(t, (unsigned)at + 2, -1);
		if ((p[at] & 0x0f) != STATE_ACTIVE_OPTIMIZED)
			return scsi_sense_param(t, (unsigned)at, 3);
	}
	return true;
}

void
spc_stpg(struct scsi_task *t)
{
	if (t->xfer_bytes != 0) { /* an empty list is no error, SPC-4 6.45 */
		size_t len;
		const uint8_t *p = scsi_task_params(t, &len);
		if (!stpg_check(t, p, len)) {
			scsi_task_fail(t);
			return;
		}
	}
	scsi_task_good(t);
}
