/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Inside the block commands (sbc_*.c): what they share, and the handlers that sbc_table.c lists.
 */
#ifndef SCSI_SBC_PRIV_H
#define SCSI_SBC_PRIV_H

#include "scsi/sbc.h"
#include "scsi/scsi_priv.h"

/* Handlers that work in pieces move at most this much between two looks for an abort. */
#define SBC_PIECE_BYTES (1024u * 1024u)
/* The same where no data is moved (UNMAP, WRITE_ZEROES). */
#define SBC_ZERO_PIECE_BYTES (16u * 1024u * 1024u)

#define SBC_FUA 0x08u    /* byte 1: FUA of READ, WRITE, COMPARE AND WRITE, ORWRITE, WRITE ATOMIC */
#define SBC_FUA_NV 0x02u /* byte 1: FUA_NV; obsolete, there is no second cache: same as FUA */

/* ---- sbc_rw.c ------------------------------------------------------------------------------ */

/* LBA and number of blocks by CDB length; 0 of READ(6) and WRITE(6) is 256. No check. */
void sbc_parse_range(struct scsi_task *t);
/* First byte of the length field, for the field pointer. */
unsigned sbc_length_byte(const struct scsi_task *t);
/* Parse, range, MAXIMUM TRANSFER LENGTH; xfer_bytes is set. */
bool sbc_prepare_rw(struct scsi_task *t);
/* BLK_FUA where GOOD must mean durable: FUA in the CDB, or WCE=0, on a volatile store. */
uint32_t sbc_write_flags(const struct scsi_task *t, bool fua);
/* True: the blk operation failed and the task ended with its sense. */
bool sbc_io_failed(struct scsi_task *t, enum blk_op op);
/* Whole blocks that came in the data-out buffer. */
uint64_t sbc_blocks_received(const struct scsi_task *t);

void sbc_read(struct scsi_task *t);
void sbc_write(struct scsi_task *t);
bool sbc_prepare_verify(struct scsi_task *t);
void sbc_verify(struct scsi_task *t);
bool sbc_prepare_write_verify(struct scsi_task *t);
void sbc_write_verify(struct scsi_task *t);
bool sbc_prepare_to_end(struct scsi_task *t);
void sbc_pre_fetch(struct scsi_task *t);
void sbc_sync_cache(struct scsi_task *t);

/* ---- sbc_atomic.c -------------------------------------------------------------------------- */

bool sbc_prepare_compare_write(struct scsi_task *t);
void sbc_compare_write(struct scsi_task *t);
void sbc_orwrite(struct scsi_task *t);
bool sbc_prepare_write_atomic(struct scsi_task *t);
void sbc_write_atomic(struct scsi_task *t);
bool sbc_write_atomic_supported(const struct scsi_lu *lu);
void sbc_unlock(struct scsi_task *t);

/* ---- sbc_provision.c ----------------------------------------------------------------------- */

bool sbc_prepare_write_same(struct scsi_task *t);
void sbc_write_same(struct scsi_task *t);
bool sbc_prepare_unmap(struct scsi_task *t);
void sbc_unmap(struct scsi_task *t);
bool sbc_unmap_supported(const struct scsi_lu *lu);
bool sbc_prepare_lba_status(struct scsi_task *t);
void sbc_lba_status(struct scsi_task *t);

/* ---- sbc_medium.c -------------------------------------------------------------------------- */

void sbc_test_unit_ready(struct scsi_task *t);
bool sbc_prepare_read_capacity10(struct scsi_task *t);
void sbc_read_capacity10(struct scsi_task *t);
bool sbc_prepare_read_capacity16(struct scsi_task *t);
void sbc_read_capacity16(struct scsi_task *t);
void sbc_start_stop(struct scsi_task *t);
bool sbc_prepare_prevent(struct scsi_task *t);
void sbc_prevent(struct scsi_task *t);
void sbc_medium_cleanup(struct scsi_task *t);
bool sbc_prepare_defects10(struct scsi_task *t);
void sbc_defects10(struct scsi_task *t);
bool sbc_prepare_defects12(struct scsi_task *t);
void sbc_defects12(struct scsi_task *t);

/* ---- sbc_sanitize.c ------------------------------------------------------------------------ */

bool sbc_prepare_overwrite(struct scsi_task *t);
void sbc_overwrite(struct scsi_task *t);
bool sbc_prepare_no_params(struct scsi_task *t);
void sbc_block_erase(struct scsi_task *t);
void sbc_exit_failure_mode(struct scsi_task *t);
bool sbc_prepare_format(struct scsi_task *t);
void sbc_format(struct scsi_task *t);
void sbc_erase_cleanup(struct scsi_task *t);
bool sbc_sanitize_supported(const struct scsi_lu *lu);
bool sbc_block_erase_supported(const struct scsi_lu *lu);

/* ---- sbc_sanitize_keep.c: what a restart mustn't forget ----------------------------------------- */

/* One save or removal under way; the caller's, until `done`. */
struct sanitize_keep {
	uint8_t record[16];
	void (*done)(struct sanitize_keep *k, int result);
};
/*
 * Home loop. Keeps that the unit isn't sanitized yet (`ause` as in the command), or forgets it. False:
 * nothing is kept here, `done` doesn't run; else it runs later with 0 or -errno.
 */
bool sbc_sanitize_keep(const struct scsi_lu *lu, bool ause, struct sanitize_keep *k);
bool sbc_sanitize_forget(const struct scsi_lu *lu, struct sanitize_keep *k);

#endif
