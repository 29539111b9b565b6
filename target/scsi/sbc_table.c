/* SPDX-License-Identifier: BSD-2-Clause */
#include "scsi/sbc_priv.h"

/*
 * Usage masks: WRPROTECT, RDPROTECT, VRPROTECT, LBDATA, PBDATA and the control byte (NACA) are left
 * out, so that a bit set there is refused with a field pointer: there is no protection information
 * and NORMACA is 0. FUA_NV and SYNC_NV are obsolete but sent by initiators of SBC-2: accepted.
 */
/* clang-format off */
#define B2 0xff, 0xff
#define B4 B2, B2
#define B8 B4, B4
#define GROUP 0x3f
#define USAGE_6RW(op)         { op, 0x1f, B2, 0xff, 0 }
#define USAGE_10(op, flags)   { op, flags, B4, GROUP, B2, 0 }
#define USAGE_12(op, flags)   { op, flags, B4, B4, GROUP, 0 }
#define USAGE_16(op, flags)   { op, flags, B8, B4, GROUP, 0 }

#define RW_FLAGS 0x1a         /* DPO, FUA, FUA_NV */
#define VERIFY_FLAGS 0x16     /* DPO, BYTCHK */

#define T_FAST 10             /* seconds, RSOC's nominal and recommended timeouts */
#define T_RW 30
#define T_VERIFY 60
#define T_LONG 300
#define T_ERASE 0xffff        /* hours: as long as the store needs */

#define READ_ROW(op, len, use, nm)                                                                 \
	{ .opcode = op, .cdb_len = len, .dir = SCSI_DIR_READ, .pr = PRC_READ, .order = ORD_READ,   \
	  .timeout_s = T_RW, .name = nm, .section = "SBC-3 5", .usage = use,                       \
	  .prepare = sbc_prepare_rw, .execute = sbc_read }
#define WRITE_ROW(op, len, use, nm)                                                                \
	{ .opcode = op, .cdb_len = len, .dir = SCSI_DIR_WRITE, .pr = PRC_WRITE,                    \
	  .order = ORD_WRITE, .flags = OPF_WRITES | OPF_ONE_WRITE, .timeout_s = T_RW, .name = nm,  \
	  .section = "SBC-3 5", .usage = use, .prepare = sbc_prepare_rw, .execute = sbc_write }
#define VERIFY_ROW(op, len, use, nm)                                                               \
	{ .opcode = op, .cdb_len = len, .dir = SCSI_DIR_OUT_PLAIN, .pr = PRC_READ,                 \
	  .order = ORD_READ, .timeout_s = T_VERIFY, .name = nm, .section = "SBC-3 5",              \
	  .usage = use, .prepare = sbc_prepare_verify, .execute = sbc_verify }
#define WRITE_VERIFY_ROW(op, len, use, nm)                                                         \
	{ .opcode = op, .cdb_len = len, .dir = SCSI_DIR_OUT_PLAIN, .pr = PRC_WRITE,                \
	  .order = ORD_WRITE, .flags = OPF_WRITES, .timeout_s = T_VERIFY, .name = nm,              \
	  .section = "SBC-3 5", .usage = use, .prepare = sbc_prepare_write_verify,                 \
	  .execute = sbc_write_verify }
#define PRE_FETCH_ROW(op, len, use, nm)                                                            \
	{ .opcode = op, .cdb_len = len, .dir = SCSI_DIR_NONE, .pr = PRC_READ, .order = ORD_READ,   \
	  .timeout_s = T_RW, .name = nm, .section = "SBC-3 5", .usage = use,                       \
	  .prepare = sbc_prepare_to_end, .execute = sbc_pre_fetch }
#define SYNC_ROW(op, len, use, nm)                                                                 \
	{ .opcode = op, .cdb_len = len, .dir = SCSI_DIR_NONE, .pr = PRC_WRITE,                     \
	  .order = ORD_FLUSH, .timeout_s = T_VERIFY, .name = nm, .section = "SBC-3 5",             \
	  .usage = use, .prepare = sbc_prepare_to_end, .execute = sbc_sync_cache }
#define WRITE_SAME_ROW(op, len, use, nm)                                                           \
	{ .opcode = op, .cdb_len = len, .dir = SCSI_DIR_OUT_PLAIN, .pr = PRC_WRITE,                \
	  .order = ORD_WRITE, .flags = OPF_WRITES, .timeout_s = T_LONG, .name = nm,                \
	  .section = "SBC-3 5", .usage = use, .prepare = sbc_prepare_write_same,                   \
	  .execute = sbc_write_same }
#define SANITIZE_ROW(action, nm, d, prep, exec, sup)                                               \
	{ .opcode = 0x48, .has_sa = true, .sa = action, .cdb_len = 10, .dir = d, .pr = PRC_WRITE,  \
	  .order = ORD_EXCLUSIVE, .flags = OPF_WRITES | OPF_BUSY_OK, .timeout_s = T_ERASE,         \
	  .name = nm, .section = "SBC-3 5", .usage = { 0x48, 0xbf, 0, 0, 0, 0, 0, B2, 0 },         \
	  .prepare = prep, .execute = exec, .cleanup = sbc_erase_cleanup, .supported = sup }

const struct scsi_opcode scsi_ops_block[] = {
	{ .opcode = 0x00, .cdb_len = 6, .dir = SCSI_DIR_NONE, .pr = PRC_SPC2_ALLOWED,
	  .order = ORD_NONE, .flags = OPF_WLUN, .timeout_s = T_FAST, .name = "TEST UNIT READY",
	  .section = "SPC-4 6", .usage = { 0x00, 0, 0, 0, 0, 0 }, .execute = sbc_test_unit_ready },
	{ .opcode = 0x04, .cdb_len = 6, .dir = SCSI_DIR_OUT, .pr = PRC_WRITE,
	  .order = ORD_EXCLUSIVE, .flags = OPF_WRITES, .timeout_s = T_ERASE,
	  .name = "FORMAT UNIT", .section = "SBC-3 5", .usage = { 0x04, 0x3f, 0, 0, 0, 0 },
	  .prepare = sbc_prepare_format, .execute = sbc_format, .cleanup = sbc_erase_cleanup },

	READ_ROW(0x08, 6, USAGE_6RW(0x08), "READ(6)"),
	READ_ROW(0x28, 10, USAGE_10(0x28, RW_FLAGS), "READ(10)"),
	READ_ROW(0xa8, 12, USAGE_12(0xa8, RW_FLAGS), "READ(12)"),
	READ_ROW(0x88, 16, USAGE_16(0x88, RW_FLAGS), "READ(16)"),
	WRITE_ROW(0x0a, 6, USAGE_6RW(0x0a), "WRITE(6)"),
	WRITE_ROW(0x2a, 10, USAGE_10(0x2a, RW_FLAGS), "WRITE(10)"),
	WRITE_ROW(0xaa, 12, USAGE_12(0xaa, RW_FLAGS), "WRITE(12)"),
	WRITE_ROW(0x8a, 16, USAGE_16(0x8a, RW_FLAGS), "WRITE(16)"),
	VERIFY_ROW(0x2f, 10, USAGE_10(0x2f, VERIFY_FLAGS), "VERIFY(10)"),
	VERIFY_ROW(0xaf, 12, USAGE_12(0xaf, VERIFY_FLAGS), "VERIFY(12)"),
	VERIFY_ROW(0x8f, 16, USAGE_16(0x8f, VERIFY_FLAGS), "VERIFY(16)"),
	WRITE_VERIFY_ROW(0x2e, 10, USAGE_10(0x2e, VERIFY_FLAGS), "WRITE AND VERIFY(10)"),
	WRITE_VERIFY_ROW(0xae, 12, USAGE_12(0xae, VERIFY_FLAGS), "WRITE AND VERIFY(12)"),
	WRITE_VERIFY_ROW(0x8e, 16, USAGE_16(0x8e, VERIFY_FLAGS), "WRITE AND VERIFY(16)"),
	PRE_FETCH_ROW(0x34, 10, USAGE_10(0x34, 0x02), "PRE-FETCH(10)"),
	PRE_FETCH_ROW(0x90, 16, USAGE_16(0x90, 0x02), "PRE-FETCH(16)"),
	SYNC_ROW(0x35, 10, USAGE_10(0x35, 0x06), "SYNCHRONIZE CACHE(10)"),
	SYNC_ROW(0x91, 16, USAGE_16(0x91, 0x06), "SYNCHRONIZE CACHE(16)"),

	{ .opcode = 0x89, .cdb_len = 16, .dir = SCSI_DIR_OUT_PLAIN, .pr = PRC_WRITE,
	  .order = ORD_ATOMIC, .flags = OPF_WRITES, .timeout_s = T_RW,
	  .name = "COMPARE AND WRITE", .section = "SBC-3 5",
	  .usage = { 0x89, RW_FLAGS, B8, 0, 0, 0, 0xff, GROUP, 0 },
	  .prepare = sbc_prepare_compare_write, .execute = sbc_compare_write,
	  .cleanup = sbc_unlock },
	{ .opcode = 0x8b, .cdb_len = 16, .dir = SCSI_DIR_OUT_PLAIN, .pr = PRC_WRITE,
	  .order = ORD_ATOMIC, .flags = OPF_WRITES, .timeout_s = T_RW, .name = "ORWRITE(16)",
	  .section = "SBC-3 5", .usage = USAGE_16(0x8b, RW_FLAGS), .prepare = sbc_prepare_rw,
	  .execute = sbc_orwrite, .cleanup = sbc_unlock },
	{ .opcode = 0x9c, .cdb_len = 16, .dir = SCSI_DIR_WRITE, .pr = PRC_WRITE,
	  .order = ORD_ATOMIC, .flags = OPF_WRITES, .timeout_s = T_RW,
	  .name = "WRITE ATOMIC(16)", .section = "SBC-4 5",
	  .usage = { 0x9c, 0x18, B8, 0, 0, B2, GROUP, 0 },
	  .prepare = sbc_prepare_write_atomic, .execute = sbc_write_atomic,
	  .cleanup = sbc_unlock, .supported = sbc_write_atomic_supported },

	WRITE_SAME_ROW(0x41, 10, USAGE_10(0x41, 0x18), "WRITE SAME(10)"),
	WRITE_SAME_ROW(0x93, 16, USAGE_16(0x93, 0x19), "WRITE SAME(16)"),
	{ .opcode = 0x42, .cdb_len = 10, .dir = SCSI_DIR_OUT, .pr = PRC_WRITE,
	  .order = ORD_WRITE, .flags = OPF_WRITES, .timeout_s = T_LONG, .name = "UNMAP",
	  .section = "SBC-3 5", .usage = { 0x42, 0x01, 0, 0, 0, 0, GROUP, B2, 0 },
	  .prepare = sbc_prepare_unmap, .execute = sbc_unmap, .supported = sbc_unmap_supported },
	{ .opcode = 0x9e, .has_sa = true, .sa = 0x12, .cdb_len = 16, .dir = SCSI_DIR_IN,
	  .pr = PRC_READ, .order = ORD_READ, .timeout_s = T_VERIFY, .name = "GET LBA STATUS",
	  .section = "SBC-3 5", .usage = { 0x9e, 0x1f, B8, B4, 0, 0 },
	  .prepare = sbc_prepare_lba_status, .execute = sbc_lba_status },

	{ .opcode = 0x25, .cdb_len = 10, .dir = SCSI_DIR_IN, .pr = PRC_ALWAYS, .order = ORD_NONE,
	  .timeout_s = T_FAST, .name = "READ CAPACITY(10)", .section = "SBC-3 5",
	  .usage = { 0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0 },
	  .prepare = sbc_prepare_read_capacity10, .execute = sbc_read_capacity10 },
	{ .opcode = 0x9e, .has_sa = true, .sa = 0x10, .cdb_len = 16, .dir = SCSI_DIR_IN,
	  .pr = PRC_ALWAYS, .order = ORD_NONE, .timeout_s = T_FAST,
	  .name = "READ CAPACITY(16)", .section = "SBC-3 5",
	  .usage = { 0x9e, 0x1f, 0, 0, 0, 0, 0, 0, 0, 0, B4, 0, 0 },
	  .prepare = sbc_prepare_read_capacity16, .execute = sbc_read_capacity16 },
	/* The two below conflict only when they stop, eject or prevent: the handlers look. */
	{ .opcode = 0x1b, .cdb_len = 6, .dir = SCSI_DIR_NONE, .pr = PRC_ALWAYS,
	  .order = ORD_CONFIG, .flags = OPF_NOT_READY_OK | OPF_GONE_FAILS, .timeout_s = T_VERIFY,
	  .name = "START STOP UNIT", .section = "SBC-3 5",
	  .usage = { 0x1b, 0x01, 0, 0x0f, 0xf7, 0 }, .execute = sbc_start_stop,
	  .cleanup = sbc_medium_cleanup },
	{ .opcode = 0x1e, .cdb_len = 6, .dir = SCSI_DIR_NONE, .pr = PRC_ALWAYS,
	  .order = ORD_CONFIG, .flags = OPF_NOT_READY_OK, .timeout_s = T_FAST,
	  .name = "PREVENT ALLOW MEDIUM REMOVAL", .section = "SBC-3 5",
	  .usage = { 0x1e, 0, 0, 0, 0x03, 0 }, .prepare = sbc_prepare_prevent,
	  .execute = sbc_prevent, .cleanup = sbc_medium_cleanup },
	{ .opcode = 0x37, .cdb_len = 10, .dir = SCSI_DIR_IN, .pr = PRC_READ, .order = ORD_NONE,
	  .timeout_s = T_FAST, .name = "READ DEFECT DATA(10)", .section = "SBC-3 5",
	  .usage = { 0x37, 0, 0x1f, 0, 0, 0, 0, B2, 0 },
	  .prepare = sbc_prepare_defects10, .execute = sbc_defects10 },
	{ .opcode = 0xb7, .cdb_len = 12, .dir = SCSI_DIR_IN, .pr = PRC_READ, .order = ORD_NONE,
	  .timeout_s = T_FAST, .name = "READ DEFECT DATA(12)", .section = "SBC-3 5",
	  .usage = { 0xb7, 0x1f, B4, B4, 0, 0 },
	  .prepare = sbc_prepare_defects12, .execute = sbc_defects12 },

	SANITIZE_ROW(0x01, "SANITIZE OVERWRITE", SCSI_DIR_OUT, sbc_prepare_overwrite,
	    sbc_overwrite, sbc_sanitize_supported),
	SANITIZE_ROW(0x02, "SANITIZE BLOCK ERASE", SCSI_DIR_NONE, sbc_prepare_no_params,
	    sbc_block_erase, sbc_block_erase_supported),
	SANITIZE_ROW(0x1f, "SANITIZE EXIT FAILURE MODE", SCSI_DIR_NONE, sbc_prepare_no_params,
	    sbc_exit_failure_mode, sbc_sanitize_supported),
	{ .name = NULL },
};
/* clang-format on */
