/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * RESERVE and RELEASE (6 and 10) of SPC-2, for initiators that know nothing newer. Whole units only:
 * extents and third parties were optional there and are refused by the CDB masks. What they do
 * beside persistent reservations is decided in pr_rules.c.
 */
#include "scsi/pr.h"

void
spc2_reserve(struct scsi_task *t)
{
	struct pr_request req = {.sa = PR_SPC2_RESERVE};

	pr_change_submit(t, &req);
}

void
spc2_release(struct scsi_task *t)
{
	struct pr_request req = {.sa = PR_SPC2_RELEASE};

	pr_change_submit(t, &req);
}
