/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Limits of the block commands: what VPD pages B0h and B2h, READ CAPACITY(16) and the mode
 * parameter header say, and what the handlers enforce, from one place so that they can't differ.
 *
 * Thread rule: any loop; the values are constant while the unit exists.
 */
#ifndef SCSI_SBC_H
#define SCSI_SBC_H

#include <stdbool.h>
#include <stdint.h>

struct scsi_lu;

/* All lengths in logical blocks. Zero in an unmap_* or atomic_* field: not supported. */
struct scsi_sbc_limits {
	uint32_t caw_blocks_max;      /* COMPARE AND WRITE, 1..255 */
	uint32_t xfer_blocks_max;     /* every command with a block buffer: SCSI_XFER_MAX_BYTES */
	uint32_t xfer_blocks_optimal; /* a stripe where the store knows one */
	/* Transfers are best multiples of this: a member's part of a stripe, or a physical block. */
	uint32_t xfer_blocks_granularity; /* 1..65535 */
	uint32_t unmap_blocks_max;        /* per UNMAP command, sum of all descriptors */
	uint32_t unmap_descs_max;
	uint32_t unmap_granularity_blocks; /* divides 1 MiB */
	uint32_t unmap_alignment_blocks;   /* offset of the first granule; valid with granularity */
	uint64_t write_same_blocks_max;
	uint32_t atomic_blocks_max; /* WRITE ATOMIC(16) */
	uint32_t atomic_align_blocks;
	uint32_t atomic_granularity_blocks;
	bool lbpu;    /* UNMAP */
	bool lbpws;   /* WRITE SAME(16) with UNMAP */
	bool lbpws10; /* WRITE SAME(10) with UNMAP */
	bool lbprz;   /* unmapped blocks read as zeros */
	bool anc_sup; /* anchored blocks: never */
};
void scsi_sbc_limits(const struct scsi_lu *lu, struct scsi_sbc_limits *ret);
/* The caw_blocks_max of the above. */
uint32_t scsi_sbc_caw_blocks_max(const struct scsi_lu *lu);

/* ---- sbc_space.c: what a thin unit says about space, for the tables of pages ------------------------ */

struct scsi_mode;
struct scsi_task;
struct spc_buf;

/* THRESHOLD EXPONENT of VPD B2h: log2 of a threshold set in logical blocks. */
uint8_t sbc_space_exponent(const struct scsi_lu *lu);
void sbc_space_mode_page(const struct scsi_lu *lu, const struct scsi_mode *m, uint8_t *body);
bool sbc_space_log_page(const struct scsi_task *t, uint16_t first, struct spc_buf *b);

#endif
