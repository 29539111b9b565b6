/* SPDX-License-Identifier: BSD-2-Clause */
/* EXTENDED COPY and RECEIVE COPY RESULTS: one row each (SPC-4 6.3, 6.20). */
#include "scsi/copy.h"

/*
 * RECEIVE DATA (01h) isn't there: nothing is held for it. The addressed unit's reservation is
 * checked as for a write (SPC-4 table 51); those of the copy's source and destination by copy.c.
 */
/* clang-format off */
const struct scsi_opcode scsi_ops_copy[] = {
	{
		.opcode = 0x83, .has_sa = true, .sa = 0x00, .cdb_len = 16, .dir = SCSI_DIR_OUT,
		.pr = PRC_WRITE, .order = ORD_ATOMIC, .timeout_s = 120,
		.name = "EXTENDED COPY(LID1)", .section = "SPC-4 6.3",
		.usage = {0x83, 0x1f, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff,
		    0xff, 0x00, 0x00},
		.prepare = copy_extended_prepare, .execute = copy_extended,
		.cleanup = copy_extended_cleanup,
	},
	{
		.opcode = 0x84, .has_sa = true, .sa = 0x00, .cdb_len = 16, .dir = SCSI_DIR_IN,
		.pr = PRC_WRITE, .order = ORD_NONE, .flags = OPF_NOT_READY_OK, .timeout_s = 10,
		.name = "RECEIVE COPY STATUS(LID1)", .section = "SPC-4 6.20.2",
		.usage = {0x84, 0x1f, 0xff, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff,
		    0xff, 0x00, 0x00},
		.prepare = copy_results_prepare, .execute = copy_results_status,
	},
	{
		.opcode = 0x84, .has_sa = true, .sa = 0x03, .cdb_len = 16, .dir = SCSI_DIR_IN,
		.pr = PRC_WRITE, .order = ORD_NONE, .flags = OPF_NOT_READY_OK, .timeout_s = 10,
		.name = "RECEIVE COPY OPERATING PARAMETERS", .section = "SPC-4 6.20.4",
		.usage = {0x84, 0x1f, 0xff, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff,
		    0xff, 0x00, 0x00},
		.prepare = copy_results_prepare, .execute = copy_results_parameters,
	},
	{
		.opcode = 0x84, .has_sa = true, .sa = 0x04, .cdb_len = 16, .dir = SCSI_DIR_IN,
		.pr = PRC_WRITE, .order = ORD_NONE, .flags = OPF_NOT_READY_OK, .timeout_s = 10,
		.name = "RECEIVE COPY FAILURE DETAILS(LID1)", .section = "SPC-4 6.20.5",
		.usage = {0x84, 0x1f, 0xff, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff,
		    0xff, 0x00, 0x00},
		.prepare = copy_results_prepare, .execute = copy_results_failed,
	},
	{.name = NULL},
};
/* clang-format on */
