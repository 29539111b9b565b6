/* SPDX-License-Identifier: BSD-2-Clause */
/* The primary commands: one row each (SPC-4 6). */
#include "scsi/spc.h"

/*
 * Reservation classes from SPC-4 table 51. The CONTROL byte is all zero in the usage data: NACA=1
 * is refused because there is no ACA, the rest of it is reserved or vendor specific.
 */
/* clang-format off */
const struct scsi_opcode scsi_ops_primary[] = {
	{
		.opcode = 0x03, .cdb_len = 6, .dir = SCSI_DIR_IN, .pr = PRC_ALWAYS, .order = ORD_NONE,
		.flags = OPF_NO_LUN | OPF_NO_UA | OPF_NOT_READY_OK | OPF_BUSY_OK, .timeout_s = 10,
		.name = "REQUEST SENSE", .section = "SPC-4 6.39",
		.usage = {0x03, 0x01, 0x00, 0x00, 0xff, 0x00},
		.prepare = spc_request_sense_prepare, .execute = spc_request_sense,
	},
	{
		.opcode = 0x12, .cdb_len = 6, .dir = SCSI_DIR_IN, .pr = PRC_ALWAYS, .order = ORD_NONE,
		.flags = OPF_NO_LUN | OPF_NO_UA | OPF_NOT_READY_OK | OPF_BUSY_OK, .timeout_s = 10,
		.name = "INQUIRY", .section = "SPC-4 6.6",
		.usage = {0x12, 0x01, 0xff, 0xff, 0xff, 0x00},
		.prepare = spc_inquiry_prepare, .execute = spc_inquiry,
	},
	{
		.opcode = 0x15, .cdb_len = 6, .dir = SCSI_DIR_OUT, .pr = PRC_WRITE, .order = ORD_CONFIG,
		.flags = OPF_NOT_READY_OK, .timeout_s = 30,
		.name = "MODE SELECT(6)", .section = "SPC-4 6.11",
		.usage = {0x15, 0x11, 0x00, 0x00, 0xff, 0x00},
		.prepare = spc_mode_select6_prepare, .execute = spc_mode_select,
	},
	{
		.opcode = 0x1a, .cdb_len = 6, .dir = SCSI_DIR_IN, .pr = PRC_READ, .order = ORD_NONE,
		.flags = OPF_NOT_READY_OK, .timeout_s = 10,
		.name = "MODE SENSE(6)", .section = "SPC-4 6.13",
		.usage = {0x1a, 0x08, 0xff, 0xff, 0xff, 0x00},
		.prepare = spc_mode_sense6_prepare, .execute = spc_mode_sense,
	},
	{
		.opcode = 0x1d, .cdb_len = 6, .dir = SCSI_DIR_NONE, .pr = PRC_WRITE, .order = ORD_READ,
		.timeout_s = 30,
		.name = "SEND DIAGNOSTIC", .section = "SPC-4 6.42",
		.usage = {0x1d, 0xf7, 0x00, 0xff, 0xff, 0x00},
		.prepare = spc_send_diagnostic_prepare, .execute = spc_send_diagnostic,
	},
	{
		.opcode = 0x4d, .cdb_len = 10, .dir = SCSI_DIR_IN, .pr = PRC_ALWAYS, .order = ORD_NONE,
		.flags = OPF_NOT_READY_OK | OPF_BUSY_OK, .timeout_s = 10,
		.name = "LOG SENSE", .section = "SPC-4 6.8",
		.usage = {0x4d, 0x00, 0xff, 0xff, 0x00, 0xff, 0xff, 0xff, 0xff, 0x00},
		.prepare = spc_log_sense_prepare, .execute = spc_log_sense,
	},
	{
		.opcode = 0x55, .cdb_len = 10, .dir = SCSI_DIR_OUT, .pr = PRC_WRITE, .order = ORD_CONFIG,
		.flags = OPF_NOT_READY_OK, .timeout_s = 30,
		.name = "MODE SELECT(10)", .section = "SPC-4 6.12",
		.usage = {0x55, 0x11, 0x00, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0x00},
		.prepare = spc_mode_select10_prepare, .execute = spc_mode_select,
	},
	{
		.opcode = 0x5a, .cdb_len = 10, .dir = SCSI_DIR_IN, .pr = PRC_READ, .order = ORD_NONE,
		.flags = OPF_NOT_READY_OK, .timeout_s = 10,
		.name = "MODE SENSE(10)", .section = "SPC-4 6.14",
		.usage = {0x5a, 0x18, 0xff, 0xff, 0x00, 0x00, 0x00, 0xff, 0xff, 0x00},
		.prepare = spc_mode_sense10_prepare, .execute = spc_mode_sense,
	},
	{
		.opcode = 0xa0, .cdb_len = 12, .dir = SCSI_DIR_IN, .pr = PRC_ALWAYS, .order = ORD_NONE,
		.flags = OPF_NO_LUN | OPF_NO_UA | OPF_NOT_READY_OK | OPF_BUSY_OK, .timeout_s = 10,
		.name = "REPORT LUNS", .section = "SPC-4 6.33",
		.usage = {0xa0, 0x00, 0xff, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0x00, 0x00},
		.prepare = spc_report_luns_prepare, .execute = spc_report_luns,
	},
	{
		.opcode = 0xa3, .has_sa = true, .sa = 0x0a, .cdb_len = 12, .dir = SCSI_DIR_IN,
		.pr = PRC_ALWAYS, .order = ORD_NONE,
		.flags = OPF_NOT_READY_OK | OPF_BUSY_OK, .timeout_s = 10,
		.name = "REPORT TARGET PORT GROUPS", .section = "SPC-4 6.37",
		.usage = {0xa3, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0x00, 0x00},
		.prepare = spc_rtpg_prepare, .execute = spc_rtpg,
	},
	{
		.opcode = 0xa3, .has_sa = true, .sa = 0x0c, .cdb_len = 12, .dir = SCSI_DIR_IN,
		.pr = PRC_READ, .order = ORD_NONE,
		.flags = OPF_NOT_READY_OK | OPF_BUSY_OK, .timeout_s = 10,
		.name = "REPORT SUPPORTED OPERATION CODES", .section = "SPC-4 6.35",
		.usage = {0xa3, 0x1f, 0x87, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00, 0x00},
		.prepare = spc_rsoc_prepare, .execute = spc_rsoc,
	},
	{
		.opcode = 0xa3, .has_sa = true, .sa = 0x0d, .cdb_len = 12, .dir = SCSI_DIR_IN,
		.pr = PRC_READ, .order = ORD_NONE,
		.flags = OPF_NOT_READY_OK | OPF_BUSY_OK, .timeout_s = 10,
		.name = "REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS", .section = "SPC-4 6.36",
		.usage = {0xa3, 0x1f, 0x80, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0x00, 0x00},
		.prepare = spc_rstmf_prepare, .execute = spc_rstmf,
	},
	{
		.opcode = 0xa4, .has_sa = true, .sa = 0x0a, .cdb_len = 12, .dir = SCSI_DIR_OUT,
		.pr = PRC_WRITE, .order = ORD_NONE,
		.flags = OPF_NOT_READY_OK | OPF_BUSY_OK, .timeout_s = 30,
		.name = "SET TARGET PORT GROUPS", .section = "SPC-4 6.45",
		.usage = {0xa4, 0x1f, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0x00, 0x00},
		.prepare = spc_stpg_prepare, .execute = spc_stpg,
	},
	{.name = NULL},
};
/* clang-format on */
