/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * EXTENDED COPY(LID1) and RECEIVE COPY RESULTS(LID1) (SPC-4 5.16, 6.3, 6.20): limits, what was
 * parsed, and what the files of the copy manager share.
 *
 * Thread rule: on the loop of the nexus. A copy is done by the loop that got the command, also where
 * it reads or writes other units than the addressed one.
 */
#ifndef SCSI_COPY_H
#define SCSI_COPY_H

#include "scsi/scsi_priv.h"

#define COPY_TARGETS_MAX 16u
#define COPY_SEGMENTS_MAX 32u
#define COPY_TARGET_BYTES 32u /* a target descriptor, SPC-4 6.3.6 */
#define COPY_SEG_BYTES 28u    /* a block to block segment descriptor, SPC-4 6.3.7.5 */
#define COPY_DESC_BYTES_MAX                                                                        \
	(COPY_TARGETS_MAX * COPY_TARGET_BYTES + COPY_SEGMENTS_MAX * COPY_SEG_BYTES)
#define COPY_SEGMENT_BYTES_MAX (256u * 1024u * 1024u) /* 65535 blocks of 4096 bytes fit */
#define COPY_GRANULARITY_SHIFT 9 /* log2: segments are multiples of 512 bytes */
#define COPY_RESULTS_MAX SCSI_COPIES_MAX
#define COPY_TOTAL_CONCURRENT SCSI_COPIES_MAX
#define COPY_PIECE_BYTES (1024u * 1024u) /* read, then written, under one range lock */

#define COPY_SEG_BLOCK_TO_BLOCK 0x02
#define COPY_TGT_IDENTIFICATION 0xe4

/* LIST ID USAGE, SPC-4 table 102. */
enum copy_list_id_usage {
	COPY_LIST_ID_HOLD = 0,
	COPY_LIST_ID_RESERVED = 1,
	COPY_LIST_ID_DISCARD = 2,
	COPY_LIST_ID_NONE = 3,
};

/* The parameter list, checked as a whole. `targets` and `segments` point into it. */
struct copy_list {
	uint8_t list_id;
	uint8_t list_id_usage;
	uint32_t target_count, segment_count;
	const uint8_t *targets, *segments;
	uint32_t segments_at; /* offset of the first in the list, for field pointers */
};

struct copy_segment {
	struct scsi_nexus_lu *src, *dst;
	uint64_t src_lba, dst_lba;
	uint32_t blocks;
};

/* ---- copy_parse.c ----------------------------------------------------------------------------- */

/* Form and limits. False: sense is set on the task. */
bool copy_parse(struct scsi_task *t, const uint8_t *p, size_t len, struct copy_list *ret);
/* One segment with its targets looked up in the nexus's view. False: sense is set. */
bool copy_parse_segment(
    struct scsi_task *t, const struct copy_list *l, uint32_t index, struct copy_segment *ret);

/* ---- copy.c -------------------------------------------------------------------------------------- */

bool copy_extended_prepare(struct scsi_task *t);
void copy_extended(struct scsi_task *t);
void copy_extended_cleanup(struct scsi_task *t);

/* ---- copy_results.c --------------------------------------------------------------------------------- */

bool copy_results_prepare(struct scsi_task *t);
void copy_results_status(struct scsi_task *t);
void copy_results_parameters(struct scsi_task *t);
void copy_results_failed(struct scsi_task *t);
/* The nexus's copy with this list id on this unit, active or remembered; NULL: none. */
struct scsi_copy *copy_results_find(
    struct scsi_nexus *n, const struct scsi_lu *lu, uint8_t list_id);
/* A place for a new copy: a free one, else the oldest that has ended. NULL: all are active. */
struct scsi_copy *copy_results_take(struct scsi_nexus *n);

/* The T10 vendor id designator of VPD page 83h; returns its length. `cap` ≥ 8. (spc_vpd.c) */
size_t scsi_lu_t10_designator(const struct scsi_lu *lu, uint8_t *buf, size_t cap);

#endif
