/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/names.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

#define CAP_MIN 16u

/* FNV-1a: names are the administrator's own, nobody gains by making them collide. */
static size_t
hash(const char *s)
{
	uint64_t h = 0xcbf29ce484222325ull;
	for (; *s != '\0'; s++)
		h = (h ^ (unsigned char)*s) * 0x100000001b3ull;
	return (size_t)(h ^ h >> 32);
}

/* The row of the name, or the free one where it would be. The table is never full. */
static struct names_row *
row_of(const struct names *t, const char *name)
{
	ASSERT(t->count < t->cap);
	size_t i = hash(name) & (t->cap - 1);
	while (t->rows[i].name != NULL && strcmp(t->rows[i].name, name) != 0)
		i = (i + 1) & (t->cap - 1);
	return &t->rows[i];
}

int
names_reserve(struct names *t, size_t count)
{
	size_t cap = t->cap != 0 ? t->cap : CAP_MIN;
	while (cap / 4 * 3 <= count)
		cap *= 2;
	if (cap == t->cap)
		return 0;
	struct names_row *rows = calloc(cap, sizeof *rows);
	if (rows == NULL)
		return -ENOMEM;
	struct names next = {.rows = rows, .cap = cap, .count = 0};
	for (size_t i = 0; i < t->cap; i++) {
		if (t->rows[i].name == NULL)
			continue;
		*row_of(&next, t->rows[i].name) = t->rows[i];
		next.count++;
	}
	ASSERT(next.count == t->count);
	free(t->rows);
	*t = next;
	return 0;
}

int
names_add(struct names *t, const char *name, void *object)
{
	ASSERT(object != NULL);
	if (names_reserve(t, t->count + 1) < 0)
		return -ENOMEM;
	struct names_row *row = row_of(t, name);
	if (row->name != NULL)
		return -EEXIST;
	*row = (struct names_row){name, object};
	t->count++;
	return 0;
}

void *
names_find(const struct names *t, const char *name)
{
	return t->count > 0 ? row_of(t, name)->object : NULL;
}

void *
names_remove(struct names *t, const char *name)
{
	struct names_row *row = t->count > 0 ? row_of(t, name) : NULL;
	if (row == NULL || row->name == NULL)
		return NULL;
	void *object = row->object;
	*row = (struct names_row){0};
	t->count--;
	/* Rows behind it may have been pushed there by it: they take their places anew. */
	size_t mask = t->cap - 1;
	for (size_t i = ((size_t)(row - t->rows) + 1) & mask; t->rows[i].name != NULL;
	     i = (i + 1) & mask) {
		struct names_row moved = t->rows[i];
		t->rows[i] = (struct names_row){0};
		*row_of(t, moved.name) = moved;
	}
	return object;
}

void
names_fini(struct names *t)
{
	free(t->rows);
	*t = (struct names){0};
}
