/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Between the files of the primary commands: the handlers that spc_table.c lists, and what INQUIRY,
 * the VPD pages and the mode pages share. Nothing outside spc_*.c needs it.
 *
 * Thread rule: on the loop of the task.
 */
#ifndef SCSI_SPC_H
#define SCSI_SPC_H

#include "scsi/scsi_priv.h"

/* Longest VPD page: 88h with all target ports, each with a name of 256 bytes. */
#define SPC_VPD_MAX_BYTES 65535u
#define SPC_PAGE_BUF_BYTES 4096u /* longest data that a handler builds on its stack */

/* Bytes being put together; what doesn't fit is counted but not stored. */
struct spc_buf {
	uint8_t *data;
	size_t cap;
	size_t len;
};
static inline void
spc_buf_init(struct spc_buf *b, uint8_t *data, size_t cap)
{
	b->data = data;
	b->cap = cap;
	b->len = 0;
}
/* `len` zero bytes at the end: where they are, or NULL if they don't fit (then nothing is added). */
uint8_t *spc_buf_add(struct spc_buf *b, size_t len);

/* ---- spc_inquiry.c ------------------------------------------------------------------------- */

bool spc_inquiry_prepare(struct scsi_task *t);
void spc_inquiry(struct scsi_task *t);
/* Peripheral qualifier and device type of the addressed unit (SPC-4 table 175). */
uint8_t spc_peripheral(const struct scsi_task *t);
/* ASCII field: padded with spaces on the right, cut at `len`, 20h..7Eh only. */
void spc_ascii(uint8_t *dst, size_t len, const char *src);

/* ---- spc_vpd.c ------------------------------------------------------------------------------- */

/*
 * Builds the page into `buf`, with its header. False: there is no such page here (nothing is built).
 */
bool spc_vpd_build(const struct scsi_task *t, uint8_t page, struct spc_buf *buf);

/* ---- spc_mode.c ------------------------------------------------------------------------------- */

enum spc_mode_pc { SPC_PC_CURRENT, SPC_PC_CHANGEABLE, SPC_PC_DEFAULT, SPC_PC_SAVED };

bool spc_mode_sense6_prepare(struct scsi_task *t);
bool spc_mode_sense10_prepare(struct scsi_task *t);
void spc_mode_sense(struct scsi_task *t);
bool spc_write_protected(const struct scsi_task *t);

struct spc_mode_page {
	uint8_t code, subcode;
	const char *section;
	/* Fills in the body (after the 2 or 4 byte header) for these mode parameters. */
	void (*build)(const struct scsi_lu *lu, const struct scsi_mode *m, uint8_t *body);
	uint16_t body_bytes;
	/* Takes the changeable fields over from a body that was checked. NULL: nothing changeable. */
	void (*apply)(const uint8_t *body, struct scsi_mode *m);
	bool thin_only; /* only units with thin provisioning have it */
};
/* NULL if the unit has no such page. */
const struct spc_mode_page *spc_mode_page_find(
    const struct scsi_lu *lu, uint8_t code, uint8_t subcode);
/* Body of the page: its values, or with SPC_PC_CHANGEABLE the mask of changeable bits. */
void spc_mode_page_body(
    const struct scsi_lu *lu, const struct spc_mode_page *p, enum spc_mode_pc pc, uint8_t *body);
#define SPC_MODE_BODY_MAX 40u

/* ---- spc_mode_select.c ------------------------------------------------------------------------- */

bool spc_mode_select6_prepare(struct scsi_task *t);
bool spc_mode_select10_prepare(struct scsi_task *t);
void spc_mode_select(struct scsi_task *t);

/* ---- spc_log.c ------------------------------------------------------------------------------------ */

bool spc_log_sense_prepare(struct scsi_task *t);
void spc_log_sense(struct scsi_task *t);
/* Header of a log parameter, SPC-4 7.3.2.2: binary format list, not saved. Its `len` zero bytes. */
uint8_t *spc_log_param_add(struct spc_buf *b, uint16_t code, uint8_t len);

/* ---- spc_report.c ---------------------------------------------------------------------------------- */

bool spc_report_luns_prepare(struct scsi_task *t);
void spc_report_luns(struct scsi_task *t);
bool spc_rsoc_prepare(struct scsi_task *t);
void spc_rsoc(struct scsi_task *t);
bool spc_rstmf_prepare(struct scsi_task *t);
void spc_rstmf(struct scsi_task *t);

/* ---- spc_alua.c ---------------------------------------------------------------------------------- */

bool spc_rtpg_prepare(struct scsi_task *t);
void spc_rtpg(struct scsi_task *t);
bool spc_stpg_prepare(struct scsi_task *t);
void spc_stpg(struct scsi_task *t);

/* ---- spc_sense.c ------------------------------------------------------------------------------------ */

bool spc_request_sense_prepare(struct scsi_task *t);
void spc_request_sense(struct scsi_task *t);
bool spc_send_diagnostic_prepare(struct scsi_task *t);
void spc_send_diagnostic(struct scsi_task *t);

#endif
