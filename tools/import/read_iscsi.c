/* SPDX-License-Identifier: BSD-2-Clause */
/* iscsi-scstd.conf: settings of the daemon, then a stanza for each "Target NAME". And the access files. */
#include <string.h>
#include <strings.h>

#include "tools/import/import_priv.h"

void
scst_read_iscsi(struct import *im, const char *file, char *text)
{
	struct import_pos pos = {.file = file};
	struct scst *s = &im->scst;
	struct scst_target *target = NULL;
	struct scst_line l;

	struct scst_driver *driver = scst_driver_get(im, &(struct import_pos){file, 1}, "iscsi");
	while (!im->no_memory && scst_line_next(im, &text, &pos, &l)) {
		if (strcasecmp(l.words[0], "Target") != 0) {
			scst_attr_add(im, target != NULL ? &target->attrs : &driver->attrs, &l.pos,
			    l.words[0], l.words + 1, l.count - 1);
			continue;
		}
		if (l.count != 2) {
			import_tell(im, &l.pos, IMPORT_WRONG, "expected Target NAME");
			continue;
		}
		target = import_grow(im, &s->targets, &s->target_count, sizeof *target);
		if (target != NULL)
			*target = (struct scst_target){.pos = l.pos,
			    .driver = driver->name,
			    .name = import_strdup(im, l.words[1])};
	}
}

/* "TARGET ADDRESS, ADDRESS": the target is a name or ALL. */
void
scst_read_access(struct import *im, const char *file, char *text, bool deny)
{
	struct import_pos pos = {.file = file};
	struct scst *s = &im->scst;
	struct scst_line l;

	while (!im->no_memory && scst_line_next(im, &text, &pos, &l)) {
		if (l.count < 2) {
			import_tell(
			    im, &l.pos, IMPORT_WRONG, "expected TARGET ADDRESS, or ALL for both");
			continue;
		}
		struct scst_access *a = import_grow(im, &s->access, &s->access_count, sizeof *a);
		if (a == NULL)
			return;
		*a = (struct scst_access){
		    .pos = l.pos, .deny = deny, .target = import_strdup(im, l.words[0])};
		for (unsigned i = 1; i < l.count; i++) {
			char *rest = NULL;
			for (char *w = strtok_r(l.words[i], ",", &rest); w != NULL;
			     w = strtok_r(NULL, ",", &rest)) {
				char **slot =
				    import_grow(im, &a->addresses, &a->address_count, sizeof *slot);
				if (slot != NULL)
					*slot = import_strdup(im, w);
			}
		}
	}
}
