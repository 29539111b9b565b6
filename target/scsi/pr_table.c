/* SPDX-License-Identifier: BSD-2-Clause */
/* Opcode rows: PERSISTENT RESERVE IN and OUT (SPC-4 6.15, 6.16), RESERVE and RELEASE (SPC-2 7.21ff). */
#include "scsi/pr.h"

/* clang-format off */
#define PR_IN(service_action, handler, title)                                                      \
	{.opcode = 0x5e, .has_sa = true, .sa = (service_action), .cdb_len = 10,                    \
	 .dir = SCSI_DIR_IN, .pr = PRC_SPC2_ALLOWED, .order = ORD_NONE,                            \
	 .flags = OPF_NOT_READY_OK, .timeout_s = 30, .name = "PERSISTENT RESERVE IN " title,       \
	 .section = "SPC-4 6.15",                                                                  \
	 .usage = {0x5e, 0x1f, 0, 0, 0, 0, 0, 0xff, 0xff, 0},                                      \
	 .prepare = pr_in_prepare, .execute = (handler)}
#define PR_OUT(service_action, title)                                                              \
	{.opcode = 0x5f, .has_sa = true, .sa = (service_action), .cdb_len = 10,                    \
	 .dir = SCSI_DIR_OUT, .pr = PRC_PR_OUT, .order = ORD_CONFIG,                               \
	 .flags = OPF_NOT_READY_OK, .timeout_s = 60, .name = "PERSISTENT RESERVE OUT " title,      \
	 .section = "SPC-4 6.16",                                                                  \
	 .usage = {0x5f, 0x1f, 0xff, 0, 0, 0xff, 0xff, 0xff, 0xff, 0},                             \
	 .prepare = pr_out_prepare, .execute = pr_out_execute}
/* Neither extents nor third parties: those bits are outside the mask. */
#define SPC2(code, length, pr_class, handler, title)                                               \
	{.opcode = (code), .cdb_len = (length), .dir = SCSI_DIR_NONE, .pr = (pr_class),            \
	 .order = ORD_CONFIG, .flags = OPF_NOT_READY_OK, .timeout_s = 30, .name = (title),         \
	 .section = "SPC-2 7.17, 7.21", .usage = {(code)}, .execute = (handler)}

const struct scsi_opcode scsi_ops_reserve[] = {
	PR_IN(0, pr_in_read_keys, "READ KEYS"),
	PR_IN(1, pr_in_read_reservation, "READ RESERVATION"),
	PR_IN(2, pr_in_report_capabilities, "REPORT CAPABILITIES"),
	PR_IN(3, pr_in_read_full_status, "READ FULL STATUS"),
	PR_OUT(PR_OUT_REGISTER, "REGISTER"),
	PR_OUT(PR_OUT_RESERVE, "RESERVE"),
	PR_OUT(PR_OUT_RELEASE, "RELEASE"),
	PR_OUT(PR_OUT_CLEAR, "CLEAR"),
	PR_OUT(PR_OUT_PREEMPT, "PREEMPT"),
	PR_OUT(PR_OUT_PREEMPT_AND_ABORT, "PREEMPT AND ABORT"),
	PR_OUT(PR_OUT_REGISTER_AND_IGNORE, "REGISTER AND IGNORE EXISTING KEY"),
	PR_OUT(PR_OUT_REGISTER_AND_MOVE, "REGISTER AND MOVE"),
	PR_OUT(PR_OUT_REPLACE_LOST, "REPLACE LOST RESERVATION"),
	SPC2(0x16, 6, PRC_PR_OUT, spc2_reserve, "RESERVE(6)"),
	SPC2(0x17, 6, PRC_RELEASE, spc2_release, "RELEASE(6)"),
	SPC2(0x56, 10, PRC_PR_OUT, spc2_reserve, "RESERVE(10)"),
	SPC2(0x57, 10, PRC_RELEASE, spc2_release, "RELEASE(10)"),
	{.name = NULL},
};
/* clang-format on */
