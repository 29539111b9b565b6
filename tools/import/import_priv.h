/* SPDX-License-Identifier: BSD-2-Clause */
/* Inside the import: what files of SCST say, and the notes on it. */
#ifndef TOOLS_IMPORT_PRIV_H
#define TOOLS_IMPORT_PRIV_H

#include "tools/import/import.h"

#define WORDS_MAX 64u
#define FILE_MAX_BYTES (4u << 20)
#define OBJECTS_MAX 16384u

/* "name value [value]" of any object; a name may be there several times. */
struct scst_attr {
	struct import_pos pos;
	char *name;
	char **values;
	unsigned value_count;
};

struct scst_attrs {
	struct scst_attr *list;
	unsigned count;
};

struct scst_device {
	struct import_pos pos;
	char *handler, *name;
	struct scst_attrs attrs;
	bool old;  /* of the old grammar: its identity was made in another way */
	char *lun; /* what it is called here; NULL: not carried over */
};

struct scst_lun {
	struct import_pos pos;
	uint64_t number;
	char *device;
	struct scst_attrs attrs;
};

struct scst_luns {
	struct scst_lun *list;
	unsigned count;
};

struct scst_pattern {
	struct import_pos pos;
	char *text;
};

struct scst_group {
	struct import_pos pos;
	char *name;
	struct scst_attrs attrs;
	struct scst_luns luns;
	struct scst_pattern *patterns;
	unsigned pattern_count;
};

/* Of one driver; old groups without a target have driver "" until the end of reading. */
struct scst_target {
	struct import_pos pos;
	char *driver, *name;
	struct scst_attrs attrs;
	struct scst_luns luns;
	struct scst_group *groups;
	unsigned group_count;
};

struct scst_driver {
	struct import_pos pos;
	char *name;
	struct scst_attrs attrs;
};

/* A line of initiators.allow or .deny. */
struct scst_access {
	struct import_pos pos;
	bool deny;
	char *target; /* "ALL" or a name */
	char **addresses;
	unsigned address_count;
};

struct scst {
	char *setup_id;
	struct scst_device *devices;
	unsigned device_count;
	struct scst_driver *drivers;
	unsigned driver_count;
	struct scst_target *targets;
	unsigned target_count;
	struct scst_group *old_groups; /* of the old grammar: for every target */
	unsigned old_group_count;
	struct scst_access *access;
	unsigned access_count;
};

struct import {
	const struct import_args *args;
	struct scst scst;
	struct import_note *notes;
	unsigned note_count;
	char *text;
	bool has_secrets;
	bool no_memory;
	void **blocks; /* all memory of the model */
	size_t block_count, block_cap;
};

/* ---- model.c ------------------------------------------------------------------------------------ */

/* Zeroed memory of the import, or NULL with no_memory set. */
void *import_alloc(struct import *im, size_t size);
char *import_strdup(struct import *im, const char *s);
__attribute__((format(printf, 2, 3))) char *import_sprintf(struct import *im, const char *fmt, ...);
/* A zeroed element more at the end of an array, or NULL. */
void *import_grow(struct import *im, void *list_field, unsigned *count, size_t size);
__attribute__((format(printf, 4, 5))) void import_tell(struct import *im,
    const struct import_pos *pos, enum import_severity severity, const char *fmt, ...);

/* The last one of the name wins, as in SCST; NULL: there is none. Names match without case. */
const struct scst_attr *scst_attr_find(const struct scst_attrs *a, const char *name);
/* Its first value, or NULL. */
const char *scst_attr_value(const struct scst_attrs *a, const char *name);
/* "1", "yes", "enable", … */
bool scst_attr_is_on(const struct scst_attrs *a, const char *name);
void scst_attr_add(struct import *im, struct scst_attrs *a, const struct import_pos *pos,
    const char *name, char *const *values, unsigned count);
struct scst_device *scst_device_find(struct scst *s, const char *name);
struct scst_driver *scst_driver_get(
    struct import *im, const struct import_pos *pos, const char *name);

/* ---- readers: they add to im->scst, and tell what they can't read -------------------------------- */

/* A line as words: '#' comments as scst.conf(5) has them, double quotes. */
struct scst_line {
	struct import_pos pos;
	char *words[WORDS_MAX];
	unsigned count;
};
/* False: at the end. Lines without words are left out. `text` is cut into pieces. */
bool scst_line_next(struct import *im, char **text, struct import_pos *pos, struct scst_line *ret);

void scst_read_present(struct import *im, const char *file, char *text);
void scst_read_old(struct import *im, const char *file, char *text);
void scst_read_iscsi(struct import *im, const char *file, char *text);
void scst_read_access(struct import *im, const char *file, char *text, bool deny);

/* ---- map_*.c: from the model to the text ------------------------------------------------------------ */

/* "    KEY WORD\n" with the words quoted as terrace.conf(5) wants them. */
void import_put(struct import *im, FILE *out, unsigned depth, const char *key, const char *word);
/*
 * What `put` writes of an object, behind an empty line and the notes that were told meanwhile, as
 * comments. `comment`, if not NULL: set by `put` where its text is to be one, too.
 */
void import_put_noted(struct import *im, FILE *out,
    void (*put)(struct import *im, FILE *out, void *object), void *object, const bool *comment);
/* `name` as the name of an object of ours: other characters become '-'. */
char *import_name(struct import *im, const char *name);
void import_map_devices(struct import *im, FILE *out);
void import_map_targets(struct import *im, FILE *out);
void import_put_luns(struct import *im, FILE *out, unsigned depth, const struct scst_luns *luns);
/* LUNs for whom no group matches; with users a group. */
void import_put_everyone(struct import *im, FILE *out, const struct import_pos *pos,
    const struct scst_luns *luns, char *const *users, unsigned user_count);
/* Of targets of ib_srpt (map_srp.c): the portals of all of them, then one target. */
void import_map_srp_portals(struct import *im, FILE *out);
void import_put_srp_target(struct import *im, FILE *out, const struct scst_target *t);
void import_map_access(struct import *im, FILE *out, const char *target, unsigned depth);

#endif
