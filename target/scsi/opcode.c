/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The index over the families' tables: all rows sorted by opcode and service action, and where each
 * opcode starts. Built once, before the first loop runs.
 */
#include "scsi/scsi_priv.h"

#include <stdio.h>
#include <stdlib.h>

#define ROWS_MAX 256u

static const struct scsi_opcode *rows[ROWS_MAX];
static unsigned row_count;
static uint16_t first[257]; /* rows of opcode o: first[o] .. first[o + 1] - 1 */
static bool built;

static int
row_cmp(const void *a, const void *b)
{
	const struct scsi_opcode *x = *(const struct scsi_opcode *const *)a;
	const struct scsi_opcode *y = *(const struct scsi_opcode *const *)b;
	if (x->opcode != y->opcode)
		return x->opcode < y->opcode ? -1 : 1;
	if (x->sa != y->sa)
		return x->sa < y->sa ? -1 : 1;
	return 0;
}

static void
check_row(const struct scsi_opcode *op)
{
	ASSERT(op->cdb_len >= 6 && op->cdb_len <= SCSI_CDB_MAX_BYTES);
	ASSERT(op->execute != NULL);
	ASSERT(op->usage[0] == 0xff || op->usage[0] == op->opcode);
	ASSERT(op->dir <= SCSI_DIR_OUT_PLAIN && op->pr < PRC_COUNT && op->order < ORD_COUNT);
	/* Without a unit there is no store and no state to serialize on. */
	ASSERT((op->flags & (OPF_NO_LUN | OPF_WLUN)) == 0 || op->dir == SCSI_DIR_NONE ||
	       op->dir == SCSI_DIR_IN);
}

void
scsi_opcode_build(void)
{
	if (built)
		return;
	for (unsigned f = 0; scsi_op_families[f] != NULL; f++) {
		for (const struct scsi_opcode *op = scsi_op_families[f]; op->name != NULL; op++) {
			check_row(op);
			ASSERT(row_count < ROWS_MAX);
			rows[row_count++] = op;
		}
	}
	qsort(rows, row_count, sizeof rows[0], row_cmp);
	unsigned i = 0;
	for (unsigned o = 0; o <= 256; o++) {
		while (i < row_count && rows[i]->opcode < o)
			i++;
		first[o] = (uint16_t)i;
	}
	for (i = 1; i < row_count; i++) {
		/* One row per command; an opcode has service actions everywhere or nowhere. */
		ASSERT(row_cmp(&rows[i - 1], &rows[i]) != 0);
		ASSERT(rows[i - 1]->opcode != rows[i]->opcode ||
		       (rows[i - 1]->has_sa && rows[i]->has_sa));
	}
	built = true;
}

static uint16_t
service_action(const uint8_t *cdb, unsigned cdb_len)
{
	if (cdb[0] != 0x7f)
		return cdb[1] & 0x1f;
	return cdb_len >= 10 ? load_be16(cdb + 8) : UINT16_MAX;
}

const struct scsi_opcode *
scsi_opcode_find(const uint8_t *cdb, unsigned cdb_len, bool *ret_bad_sa)
{
	if (!built)
		scsi_opcode_build();
	*ret_bad_sa = false;
	unsigned i = first[cdb[0]], end = first[cdb[0] + 1u];
	if (i == end)
		return NULL;
	if (!rows[i]->has_sa)
		return rows[i];
	uint16_t sa = service_action(cdb, cdb_len);
	for (; i < end; i++) {
		if (rows[i]->sa == sa)
			return rows[i];
	}
	*ret_bad_sa = true;
	return NULL;
}

bool
scsi_opcode_supported(const struct scsi_opcode *op, const struct scsi_lu *lu)
{
	return op->supported == NULL || lu == NULL || op->supported(lu);
}

const char *
scsi_opcode_name(const uint8_t *cdb)
{
	static __thread char unknown[24];
	bool bad_sa;
	const struct scsi_opcode *op = scsi_opcode_find(cdb, cdb[0] == 0x7f ? 32 : 16, &bad_sa);
	if (op != NULL)
		return op->name;
	if (bad_sa)
		snprintf(unknown, sizeof unknown, "opcode %02xh/%02xh", cdb[0], cdb[1] & 0x1fu);
	else
		snprintf(unknown, sizeof unknown, "opcode %02xh", cdb[0]);
	return unknown;
}
