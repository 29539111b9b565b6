/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The old grammar of scst.conf: sections in [ ], a line an object, fields separated by commas.
 *
 *	[HANDLER vdisk]       DEVICE name,/path,OPTION|OPTION,block size,t10 id
 *	[GROUP name]          USER pattern
 *	[ASSIGNMENT group]    DEVICE name,lun,OPTION
 *	[TARGETS enable]      HOST wwn
 */
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "tools/import/import_priv.h"

enum section { SECTION_NONE, SECTION_HANDLER, SECTION_GROUP, SECTION_ASSIGNMENT, SECTION_TARGETS };

#define FIELDS_MAX 8u

struct old_reader {
	struct import *im;
	enum section section;
	char *handler;
	struct scst_group *group;
};

/* Options of a device: in full, short, and as a help text once misprinted one. */
static const struct {
	const char *name, *brief, *attr;
} options[] = {
    {"WRITE_THROUGH", "WT", "write_through"},
    {"READ_ONLY", "RO", "read_only"},
    {"O_DIRECT", "DR", "o_direct"},
    {"NULLIO", "NIO", NULL},
    {"NV_CACHE", "NV", "nv_cache"},
    {"BLOCKIO", "BIO", NULL},
    {"BLOCK_IO", "BIO", NULL},
    {"REMOVABLE", "RM", "removable"},
};

static struct scst_group *
group_get(struct import *im, const struct import_pos *pos, const char *name)
{
	struct scst *s = &im->scst;

	for (unsigned i = 0; i < s->old_group_count; i++)
		if (strcmp(s->old_groups[i].name, name) == 0)
			return &s->old_groups[i];
	struct scst_group *g = import_grow(im, &s->old_groups, &s->old_group_count, sizeof *g);
	if (g != NULL)
		*g = (struct scst_group){.pos = *pos, .name = import_strdup(im, name)};
	return g;
}

static unsigned
split(char *s, char separator, char *fields[FIELDS_MAX])
{
	unsigned n = 0;

	for (char *p = s; p != NULL && n < FIELDS_MAX;) {
		char *end = strchr(p, separator);
		if (end != NULL)
			*end = '\0';
		fields[n++] = p;
		p = end != NULL ? end + 1 : NULL;
	}
	return n;
}

static void
section_begin(struct old_reader *r, const struct import_pos *pos, char *line)
{
	char *end = strchr(line, ']'), *name, *rest = NULL;

	r->section = SECTION_NONE;
	if (end == NULL) {
		import_tell(r->im, pos, IMPORT_WRONG, "a section that doesn't end: expected ]");
		return;
	}
	*end = '\0';
	name = strtok_r(line + 1, " \t", &rest);
	rest += strspn(rest, " \t");
	rest[strcspn(rest, " \t\r")] = '\0';
	if (name != NULL && strcasecmp(name, "HANDLER") == 0 && *rest != '\0') {
		r->section = SECTION_HANDLER;
		r->handler = import_strdup(r->im, rest);
	} else if (name != NULL && strcasecmp(name, "GROUP") == 0 && *rest != '\0') {
		r->section = SECTION_GROUP;
		r->group = group_get(r->im, pos, rest);
	} else if (name != NULL && strcasecmp(name, "ASSIGNMENT") == 0 && *rest != '\0') {
		r->section = SECTION_ASSIGNMENT;
		r->group = group_get(r->im, pos, rest);
	} else if (name != NULL && strcasecmp(name, "TARGETS") == 0) {
		r->section = SECTION_TARGETS;
	} else {
		import_tell(r->im, pos, IMPORT_WRONG,
		    "this section isn't known: expected [HANDLER name], [GROUP name], [ASSIGNMENT "
		    "group] or [TARGETS enable]");
	}
}

/* What the handler's name is in the present grammar, and the attribute that an option stands for. */
static void
device_option(struct old_reader *r, struct scst_device *d, const struct import_pos *pos, char *o)
{
	char *const on[] = {(char[]){"1"}};

	for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
		if (strcasecmp(o, options[i].name) != 0 && strcasecmp(o, options[i].brief) != 0)
			continue;
		if (options[i].attr != NULL)
			scst_attr_add(r->im, &d->attrs, pos, options[i].attr, on, 1);
		else if (strncmp(options[i].name, "NULL", 4) == 0)
			d->handler = import_strdup(r->im, "vdisk_nullio");
		else
			d->handler = import_strdup(r->im, "vdisk_blockio");
		return;
	}
	import_tell(r->im, pos, IMPORT_WRONG,
	    "option '%s' isn't known: expected WRITE_THROUGH, READ_ONLY, O_DIRECT, NULLIO, "
	    "NV_CACHE, "
	    "BLOCKIO or REMOVABLE",
	    o);
}

static void
add_device(struct old_reader *r, const struct import_pos *pos, char *rest)
{
	struct scst *s = &r->im->scst;
	char *f[FIELDS_MAX], *o[FIELDS_MAX];
	unsigned n = split(rest, ',', f);

	if (f[0][0] == '\0') {
		import_tell(
		    r->im, pos, IMPORT_WRONG, "expected DEVICE NAME,PATH,OPTIONS,BLOCK SIZE");
		return;
	}
	if (scst_device_find(s, f[0]) != NULL)
		import_tell(r->im, pos, IMPORT_WRONG, "device '%s' is there already", f[0]);
	struct scst_device *d = import_grow(r->im, &s->devices, &s->device_count, sizeof *d);
	if (d == NULL)
		return;
	bool vdisk = strcasecmp(r->handler, "vdisk") == 0;
	*d = (struct scst_device){.pos = *pos,
	    .handler = vdisk ? import_strdup(r->im, "vdisk_fileio") : r->handler,
	    .name = import_strdup(r->im, f[0]),
	    .old = true};
	if (n > 1 && f[1][0] != '\0')
		scst_attr_add(r->im, &d->attrs, pos, "filename", &f[1], 1);
	unsigned options_count = n > 2 && f[2][0] != '\0' ? split(f[2], '|', o) : 0;
	for (unsigned i = 0; i < options_count; i++)
		device_option(r, d, pos, o[i]);
	if (n > 3 && f[3][0] != '\0')
		scst_attr_add(r->im, &d->attrs, pos, "blocksize", &f[3], 1);
	if (n > 4 && f[4][0] != '\0')
		scst_attr_add(r->im, &d->attrs, pos, "t10_dev_id", &f[4], 1);
}

static void
add_assignment(struct old_reader *r, const struct import_pos *pos, char *rest)
{
	struct scst_group *g = r->group;
	char *f[FIELDS_MAX], *const on[] = {(char[]){"1"}};
	unsigned n = split(rest, ',', f);
	uint64_t number;

	if (n < 2 || text_parse_u64(f[1], 16383, &number) < 0) {
		import_tell(r->im, pos, IMPORT_WRONG,
		    "expected DEVICE NAME,LUN, with a LUN from 0 to 16383");
		return;
	}
	struct scst_lun *l = import_grow(r->im, &g->luns.list, &g->luns.count, sizeof *l);
	if (l == NULL)
		return;
	*l = (struct scst_lun){.pos = *pos, .number = number, .device = import_strdup(r->im, f[0])};
	if (n > 2 && (strcasecmp(f[2], "READ_ONLY") == 0 || strcasecmp(f[2], "RO") == 0))
		scst_attr_add(r->im, &l->attrs, pos, "read_only", on, 1);
	else if (n > 2 && f[2][0] != '\0')
		import_tell(
		    r->im, pos, IMPORT_WRONG, "option '%s' isn't known: expected READ_ONLY", f[2]);
}

static void
add_user(struct old_reader *r, const struct import_pos *pos, const char *pattern)
{
	struct scst_group *g = r->group;
	struct scst_pattern *p = import_grow(r->im, &g->patterns, &g->pattern_count, sizeof *p);

	if (p != NULL)
		*p = (struct scst_pattern){.pos = *pos, .text = import_strdup(r->im, pattern)};
}

static void
object(struct old_reader *r, const struct import_pos *pos, char *key, char *rest)
{
	if (r->section == SECTION_HANDLER && strcasecmp(key, "DEVICE") == 0)
		add_device(r, pos, rest);
	else if (r->section == SECTION_GROUP && strcasecmp(key, "USER") == 0 && *rest != '\0')
		add_user(r, pos, rest);
	else if (r->section == SECTION_ASSIGNMENT && strcasecmp(key, "DEVICE") == 0)
		add_assignment(r, pos, rest);
	else if (r->section == SECTION_TARGETS && strcasecmp(key, "HOST") == 0)
		import_tell(r->im, pos, IMPORT_LOST,
		    "host %s: Fibre Channel and other hardware targets aren't served", rest);
	else
		import_tell(r->im, pos, IMPORT_WRONG,
		    "'%s' can't be read here: expected a section, DEVICE, USER or HOST", key);
}

void
scst_read_old(struct import *im, const char *file, char *text)
{
	struct old_reader r = {.im = im};
	struct import_pos pos = {.file = file};

	while (!im->no_memory && text != NULL && *text != '\0') {
		char *line = text, *end = strchr(line, '\n');
		text = end != NULL ? end + 1 : NULL;
		if (end != NULL)
			*end = '\0';
		pos.line++;
		line[strcspn(line, "#")] = '\0';
		line += strspn(line, " \t\r");
		size_t len = strlen(line);
		while (len > 0 && strchr(" \t\r", line[len - 1]) != NULL)
			line[--len] = '\0';
		if (len == 0)
			continue;
		if (line[0] == '[') {
			section_begin(&r, &pos, line);
			continue;
		}
		char *rest = line + strcspn(line, " \t");
		if (*rest != '\0')
			*rest++ = '\0';
		object(&r, &pos, line, rest + strspn(rest, " \t"));
	}
}
