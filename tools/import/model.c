/* SPDX-License-Identifier: BSD-2-Clause */
/* Memory, notes and small helpers of the import. */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "tools/import/import_priv.h"

static bool
keep_block(struct import *im, void *p)
{
	if (p != NULL && im->block_count == im->block_cap) {
		size_t cap = im->block_cap == 0 ? 256 : im->block_cap * 2;
		void **more = realloc(im->blocks, cap * sizeof *more);
		if (more == NULL) {
			free(p);
			p = NULL;
		} else {
			im->blocks = more;
			im->block_cap = cap;
		}
	}
	if (p == NULL) {
		im->no_memory = true;
		return false;
	}
	im->blocks[im->block_count++] = p;
	return true;
}

void *
import_alloc(struct import *im, size_t size)
{
	void *p = calloc(1, size);
	return keep_block(im, p) ? p : NULL;
}

char *
import_strdup(struct import *im, const char *s)
{
	char *p = strdup(s);
	return keep_block(im, p) ? p : NULL;
}

char *
import_sprintf(struct import *im, const char *fmt, ...)
{
	char *p;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&p, fmt, ap) < 0)
		p = NULL;
	va_end(ap);
	return keep_block(im, p) ? p : NULL;
}

/* Capacities are powers of two from 8 on: the array moves when the count reaches one. */
void *
import_grow(struct import *im, void *list_field, unsigned *count, size_t size)
{
	char *list;
	memcpy(&list, list_field, sizeof list);
	bool full = *count == 0 || (*count >= 8 && (*count & (*count - 1)) == 0);

	if (*count >= OBJECTS_MAX) {
		im->no_memory = true;
		return NULL;
	}
	if (full) {
		char *more = import_alloc(im, (*count < 8 ? 8 : *count * 2u) * size);
		if (more == NULL)
			return NULL;
		if (*count > 0)
			memcpy(more, list, *count * size);
		list = more;
		memcpy(list_field, &list, sizeof list);
	}
	return list + (*count)++ * size;
}

void
import_tell(struct import *im, const struct import_pos *pos, enum import_severity severity,
    const char *fmt, ...)
{
	char *text;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	va_end(ap);
	if (!keep_block(im, text))
		return;
	struct import_note *n = import_grow(im, &im->notes, &im->note_count, sizeof *n);
	if (n != NULL)
		*n = (struct import_note){.pos = *pos, .severity = severity, .text = text};
}

/* ---- attributes ------------------------------------------------------------------------------------ */

const struct scst_attr *
scst_attr_find(const struct scst_attrs *a, const char *name)
{
	for (unsigned i = a->count; i-- > 0;)
		if (strcasecmp(a->list[i].name, name) == 0)
			return &a->list[i];
	return NULL;
}

const char *
scst_attr_value(const struct scst_attrs *a, const char *name)
{
	const struct scst_attr *x = scst_attr_find(a, name);
	return x != NULL && x->value_count > 0 && x->values[0][0] != '\0' ? x->values[0] : NULL;
}

bool
scst_attr_is_on(const struct scst_attrs *a, const char *name)
{
	const char *v = scst_attr_value(a, name);
	return v != NULL && (strcmp(v, "1") == 0 || strcasecmp(v, "yes") == 0 ||
	                        strcasecmp(v, "on") == 0 || strcasecmp(v, "true") == 0);
}

void
scst_attr_add(struct import *im, struct scst_attrs *a, const struct import_pos *pos,
    const char *name, char *const *values, unsigned count)
{
	char **copies = import_alloc(im, (count + 1) * sizeof *copies);
	struct scst_attr *x = import_grow(im, &a->list, &a->count, sizeof *x);

	if (copies == NULL || x == NULL)
		return;
	for (unsigned i = 0; i < count; i++)
		copies[i] = import_strdup(im, values[i]);
	*x = (struct scst_attr){
	    .pos = *pos, .name = import_strdup(im, name), .values = copies, .value_count = count};
}

/* ---- objects ---------------------------------------------------------------------------------------- */

struct scst_device *
scst_device_find(struct scst *s, const char *name)
{
	for (unsigned i = 0; i < s->device_count; i++)
		if (strcmp(s->devices[i].name, name) == 0)
			return &s->devices[i];
	return NULL;
}

struct scst_driver *
scst_driver_get(struct import *im, const struct import_pos *pos, const char *name)
{
	struct scst *s = &im->scst;

	for (unsigned i = 0; i < s->driver_count; i++)
		if (strcmp(s->drivers[i].name, name) == 0)
			return &s->drivers[i];
	struct scst_driver *d = import_grow(im, &s->drivers, &s->driver_count, sizeof *d);
	if (d != NULL)
		*d = (struct scst_driver){.pos = *pos, .name = import_strdup(im, name)};
	return d;
}

/* ---- lines --------------------------------------------------------------------------------------------- */

/* The next word in `s`, unescaped in place; NULL at the end of the line. */
static char *
next_word(struct import *im, char **s, const struct import_pos *pos)
{
	char *p = *s + strspn(*s, " \t\r"), *start = p, *to = p;

	if (*p == '\0' || *p == '#')
		return NULL;
	if (*p == '"') {
		start = to = ++p;
		while (*p != '\0' && *p != '"') {
			if (p[0] == '\\' && p[1] != '\0')
				p++;
			*to++ = *p++;
		}
		if (*p == '\0')
			import_tell(im, pos, IMPORT_WRONG, "a quote (\") that doesn't end");
		else
			p++;
	} else {
		while (*p != '\0' && strchr(" \t\r#", *p) == NULL) {
			if (p[0] == '\\' && p[1] == '#')
				p++;
			*to++ = *p++;
		}
	}
	*s = *p == '\0' || *p == '#' ? p : p + 1;
	bool comment = *p == '#';
	*to = '\0';
	if (comment)
		*s = to; /* the rest of the line is a comment */
	return start;
}

bool
scst_line_next(struct import *im, char **text, struct import_pos *pos, struct scst_line *ret)
{
	while (*text != NULL && **text != '\0') {
		char *line = *text, *end = strchr(line, '\n');
		*text = end != NULL ? end + 1 : NULL;
		if (end != NULL)
			*end = '\0';
		pos->line++;
		*ret = (struct scst_line){.pos = *pos};
		for (char *w; (w = next_word(im, &line, pos)) != NULL;) {
			if (ret->count == WORDS_MAX) {
				import_tell(im, pos, IMPORT_WRONG, "more than %u words", WORDS_MAX);
				break;
			}
			ret->words[ret->count++] = w;
		}
		if (ret->count > 0)
			return true;
	}
	return false;
}
