/* SPDX-License-Identifier: BSD-2-Clause */
/* What is looked at one LUN at a time: reservations. */
#include <stdlib.h>

#include "daemon/control.h"

#define TEXT_MAX_BYTES (SCSI_PR_REGISTRATIONS_MAX * 640u) /* a registration's line is shorter */

const struct ctl_param control_reservations_params[] = {
    {"lun", CTL_STRING, true, "which"},
    {.name = NULL},
};

json_t *
control_reservations(void *ctx, const json_t *params, struct ctl_failure *failure)
{
	const struct daemon *d = ctx;
	const char *name = json_string_value(json_object_get(params, "lun"));
	const struct daemon_lun *l = d->stopping ? NULL : daemon_lun_find(d, name);
	char *text = calloc(1, TEXT_MAX_BYTES + 1);
	json_t *o = NULL;

	if (l == NULL) {
		failure->code = CTL_NO_OBJECT;
		snprintf(
		    failure->message, sizeof failure->message, "there is no LUN \"%.64s\"", name);
	} else if (text != NULL) {
		if (l->lu != NULL)
			text[scsi_lu_describe_pr(l->lu, text, TEXT_MAX_BYTES)] = '\0';
		o = json_pack("{s:o, s:o}", "name", ctl_string(name), "text", ctl_string(text));
	}
	free(text);
	return o;
}
