/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Configurations of SCST → a configuration of terraced, as text: the present grammar of scst.conf(5)
 * (blocks), the old one (sections), iscsi-scstd.conf, initiators.allow and initiators.deny.
 *
 *	files ─▶ readers (read_*.c) ─▶ struct scst ─▶ map_*.c ─▶ text, with comments ─▶ conf_load() checks it
 *
 * What initiators recognise a disk by is kept; where the meaning of something changes, a comment says
 * so; what can't be carried over is listed at the end. All input is hostile. One thread; what is
 * allocated lives until import_fini(). Without memory everything fails with -ENOMEM.
 */
#ifndef TOOLS_IMPORT_H
#define TOOLS_IMPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct import_pos {
	const char *file;
	unsigned line; /* from 1 */
};

enum import_severity {
	IMPORT_REMARK, /* carried over with another meaning, or to be looked at */
	IMPORT_LOST,   /* not carried over */
	IMPORT_WRONG,  /* can't be read: nothing is imported */
};

struct import_note {
	struct import_pos pos;
	enum import_severity severity;
	char *text; /* one sentence */
};

struct import_args {
	const char *const *files;
	unsigned file_count;
	const char *ssd;     /* PATH[:SIZE] for the LUNs with NV_CACHE; NULL: none */
	bool nv_cache_is_nv; /* NV_CACHE becomes mode nv (needs ssd), else writethrough */
	const char
	    *target_name; /* for LUNs of old files without iscsi-scstd.conf; NULL: a default */
};

/*
 * What becomes of an attribute of a device with this value: *ret_text is one sentence, or NULL where
 * nothing is to be said. False: it isn't known.
 */
bool import_attribute(
    const char *name, const char *value, enum import_severity *ret_severity, const char **ret_text);

struct import;

/*
 * Reads and maps. 0: *ret has the text and the notes; -EINVAL: notes say what is wrong (no text);
 * -ENOMEM: *ret is NULL. *ret is the caller's otherwise.
 */
int import_scst(const struct import_args *args, struct import **ret);
void import_free(struct import *im); /* wipes; accepts NULL */

const char *import_text(const struct import *im); /* NULL: there is none */
unsigned import_note_count(const struct import *im);
const struct import_note *import_note(const struct import *im, unsigned n);
unsigned import_count(const struct import *im, enum import_severity severity);
/* The text has secrets: it may be readable by its owner only. */
bool import_has_secrets(const struct import *im);

#endif
