/* SPDX-License-Identifier: BSD-2-Clause */
/* Which opcode tables there are. Alone in its file so that tests can link others. */
#include "scsi/scsi_priv.h"

const struct scsi_opcode *const scsi_op_families[] = {
    scsi_ops_block,
    scsi_ops_primary,
    scsi_ops_reserve,
    scsi_ops_copy,
    NULL,
};
