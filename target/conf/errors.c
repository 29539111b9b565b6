/* SPDX-License-Identifier: BSD-2-Clause */
/* Collected errors, and the order in which a reader of the files meets them. */
#include "conf/conf_priv.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

__attribute__((format(printf, 4, 0))) static void
add(struct conf_errors *e, const struct conf_pos *pos, bool remark, const char *fmt, va_list ap)
{
	char *text = NULL, *whole = NULL;

	e->wrong += !remark;
	/* Remarks leave room for errors. */
	if (e->count >= (remark ? CONF_ERRORS_MAX / 2 : CONF_ERRORS_MAX)) {
		e->dropped++;
		return;
	}
	struct conf_error *list = reallocarray(e->list, e->count + 1u, sizeof *list);
	if (list != NULL)
		e->list = list;
	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	if (text != NULL && remark) {
		if (asprintf(&whole, "remark: %s", text) < 0)
			whole = NULL;
		free(text);
		text = whole;
	}
	if (list == NULL || text == NULL) {
		free(text);
		e->dropped++;
		return;
	}
	list[e->count++] = (struct conf_error){.pos = *pos, .text = text, .remark = remark};
}

void
conf_errors_add(struct conf_errors *e, const struct conf_pos *pos, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	add(e, pos, false, fmt, ap);
	va_end(ap);
}

void
conf_errors_remark(struct conf_errors *e, const struct conf_pos *pos, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	add(e, pos, true, fmt, ap);
	va_end(ap);
}

void
conf_errors_fini(struct conf_errors *e)
{
	for (unsigned i = 0; i < e->count; i++)
		free(e->list[i].text);
	free(e->list);
	*e = (struct conf_errors){0};
}

/* ---- order ----------------------------------------------------------------------------------- */

const struct conf_source *
conf_tree_source(const struct conf_tree *t, const struct conf_pos *pos)
{
	for (unsigned i = 0; i < t->source_count; i++)
		if (t->sources[i]->path == pos->file)
			return t->sources[i];
	return NULL;
}

enum conf_owner
conf_tree_owner(const struct conf_tree *t, const struct conf_pos *pos, unsigned *hint)
{
	for (unsigned i = 0; i < t->source_count; i++) {
		unsigned idx = (*hint + i) % t->source_count;
		if (t->sources[idx]->path == pos->file) {
			*hint = idx;
			return t->sources[idx]->owner;
		}
	}
	return CONF_OWNER_ADMIN;
}

/* ---- what is taken back ---------------------------------------------------------------------- */

void
conf_errors_cut(struct conf_errors *e, const struct conf_errors *mark)
{
	for (unsigned i = mark->count; i < e->count; i++)
		free(e->list[i].text);
	e->count = mark->count;
	e->wrong = mark->wrong;
	e->dropped = mark->dropped;
}

/* ---- comparison ------------------------------------------------------------------------------ */

static int
compare_in_file(const struct conf_pos *a, const struct conf_pos *b)
{
	if (a->line != b->line)
		return a->line < b->line ? -1 : 1;
	return a->column < b->column ? -1 : a->column > b->column;
}

/* Both are lifted to the file that includes them until they are in the same one. */
static int
compare(const struct conf_tree *t, struct conf_pos a, struct conf_pos b)
{
	const struct conf_source *sa = conf_tree_source(t, &a), *sb = conf_tree_source(t, &b);

	if (sa == NULL || sb == NULL)
		return (sa != NULL) - (sb != NULL); /* strangers first */
	unsigned depth_a = sa->depth, depth_b = sb->depth;
	while (sa != sb) {
		if (sa->depth == 0 && sb->depth == 0)
			return sa->idx < sb->idx ? -1 : 1;
		/* The deeper one is lifted; of two equally deep ones both are, in two turns. */
		if (sa->depth >= sb->depth) {
			a = sa->include_pos;
			sa = sa->parent;
		} else {
			b = sb->include_pos;
			sb = sb->parent;
		}
		/* Every source descends from one of depth 0. */
		ASSERT(sa != NULL && sb != NULL);
	}
	int order = compare_in_file(&a, &b);
	/* One of them is the include statement itself: it stands before what it includes. */
	return order != 0 ? order : (depth_a > depth_b) - (depth_a < depth_b);
}

/* Insertion sort: stable, and there are at most CONF_ERRORS_MAX. */
void
conf_errors_sort(struct conf_errors *e, const struct conf_tree *t)
{
	ASSERT(e->count <= CONF_ERRORS_MAX);
	for (unsigned i = 1; i < e->count; i++) {
		struct conf_error x = e->list[i];
		unsigned k = i;
		for (; k > 0 && compare(t, e->list[k - 1].pos, x.pos) > 0; k--)
			e->list[k] = e->list[k - 1];
		e->list[k] = x;
	}
}
