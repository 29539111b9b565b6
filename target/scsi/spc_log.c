/* SPDX-License-Identifier: BSD-2-Clause */
/* LOG SENSE (SPC-4 6.8, 7.3). Log parameters can't be saved, changed or cleared. */
#include "scsi/sbc.h"
#include "scsi/spc.h"

#define LOG_PC_CUMULATIVE 1u
#define SUBPAGE_ALL 0xff

struct log_page {
	uint8_t code;
	const char *section;
	/* Appends the parameters with codes ≥ first; false: there is none. */
	bool (*build)(const struct scsi_task *t, uint16_t first, struct spc_buf *b);
	bool cumulative_only;
	bool thin_only; /* only units with thin provisioning have it */
};

static bool log_supported_pages(const struct scsi_task *t, uint16_t first, struct spc_buf *b);

uint8_t *
spc_log_param_add(struct spc_buf *b, uint16_t code, uint8_t len)
{
	uint8_t *d = spc_buf_add(b, 4u + len);
	ASSERT(d);
	store_be16(d, code);
	d[2] = 0x03; /* format and linking: binary list */
	d[3] = len;
	return d + 4;
}

/*
 * SPC-4 7.3.9. Processing intervals are not measured, and the time interval descriptor that would
 * give their unit is zero with them.
 */
static bool
log_statistics(const struct scsi_task *t, uint16_t first, struct spc_buf *b)
{
	const struct scsi_lu *lu = t->nlu->lu;
	struct scsi_lu_stats st;
	scsi_lu_get_stats(lu, &st);
	if (first <= 1) {
		uint8_t *d = spc_log_param_add(b, 0x0001, 0x40);
		store_be64(d, st.reads);
		store_be64(d + 8, st.writes);
		store_be64(d + 16, st.write_bytes >> lu->block_shift);
		store_be64(d + 24, st.read_bytes >> lu->block_shift);
	}
	if (first <= 3)
		(void)spc_log_param_add(b, 0x0003, 0x08);
	return first <= 3;
}

/* SPC-4 7.3.11: no exception; the temperature isn't known. */
static bool
log_exceptions(const struct scsi_task *t, uint16_t first, struct spc_buf *b)
{
	(void)t;
	if (first != 0)
		return false;
	uint8_t *d = spc_log_param_add(b, 0x0000, 0x04);
	d[2] = 0xff;
	return true;
}

/* In ascending order. */
static const struct log_page log_pages[] = {
    {0x00, "SPC-4 7.3.18", log_supported_pages, false, false},
    {0x0c, "SBC-3 6.4.4", sbc_space_log_page, false, true},
    {0x19, "SPC-4 7.3.9", log_statistics, true, false},
    {0x2f, "SPC-4 7.3.11", log_exceptions, false, false},
};
#define LOG_PAGE_COUNT (sizeof log_pages / sizeof log_pages[0])

static bool
has_page(const struct scsi_lu *lu, const struct log_page *p)
{
	return lu->thin || !p->thin_only;
}

static const struct log_page *
log_page_find(const struct scsi_lu *lu, uint8_t code)
{
	for (size_t i = 0; i < LOG_PAGE_COUNT; i++) {
		if (log_pages[i].code == code)
			return has_page(lu, &log_pages[i]) ? &log_pages[i] : NULL;
	}
	return NULL;
}

static bool
log_supported_pages(const struct scsi_task *t, uint16_t first, struct spc_buf *b)
{
	if (first != 0)
		return false;
	for (size_t i = 0; i < LOG_PAGE_COUNT; i++) {
		if (has_page(t->nlu->lu, &log_pages[i]))
			*spc_buf_add(b, 1) = log_pages[i].code;
	}
	return true;
}

/* SPC-4 7.3.19: of page 00h every page with every subpage, of another page its own. */
static bool
log_supported_subpages(const struct scsi_lu *lu, uint8_t code, uint16_t first, struct spc_buf *b)
{
	if (first != 0)
		return false;
	for (size_t i = 0; i < LOG_PAGE_COUNT; i++) {
		if ((code != 0 && log_pages[i].code != code) || !has_page(lu, &log_pages[i]))
			continue;
		uint8_t *d = spc_buf_add(b, 4);
		d[0] = d[2] = log_pages[i].code;
		d[3] = SUBPAGE_ALL;
	}
	return true;
}

bool
spc_log_sense_prepare(struct scsi_task *t)
{
	uint8_t pc = t->cdb[2] >> 6, subpage = t->cdb[3];
	t->xfer_bytes = load_be16(t->cdb + 7);
	const struct log_page *page = log_page_find(t->nlu->lu, t->cdb[2] & 0x3f);
	if (!page)
		return scsi_sense_cdb(t, 2, 5);
	if (subpage != 0 && subpage != SUBPAGE_ALL)
		return scsi_sense_cdb(t, 3, -1);
	if (subpage == 0 && page->cumulative_only && pc != LOG_PC_CUMULATIVE)
		return scsi_sense_cdb(t, 2, 7);
	return true;
}

void
spc_log_sense(struct scsi_task *t)
{
	uint8_t code = t->cdb[2] & 0x3f, subpage = t->cdb[3];
	uint16_t first = load_be16(t->cdb + 5);
	const struct log_page *page = log_page_find(t->nlu->lu, code);
	ASSERT(page);
	uint8_t data[256];
	struct spc_buf b;
	spc_buf_init(&b, data, sizeof data);
	uint8_t *head = spc_buf_add(&b, 4);
	head[0] = code;
	if (subpage != 0) {
		head[0] |= 0x40; /* SPF */
		head[1] = subpage;
	} else if (code != 0) {
		head[0] |= 0x80; /* DS: not saved */
	}
	const struct scsi_lu *lu = t->nlu->lu;
	bool found =
	    subpage ? log_supported_subpages(lu, code, first, &b) : page->build(t, first, &b);
	if (!found) {
		scsi_sense_cdb(t, 5, -1);
		scsi_task_fail(t);
		return;
	}
	store_be16(head + 2, (uint16_t)(b.len - 4));
	scsi_task_reply(t, data, b.len);
}
