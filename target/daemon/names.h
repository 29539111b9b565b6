/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A table of objects by name: open addressing, grows, never asserts on a name. The names belong to
 * the objects and must outlive their rows. Home loop, or before the loops run.
 */
#ifndef DAEMON_NAMES_H
#define DAEMON_NAMES_H

#include <stddef.h>

struct names_row {
	const char *name; /* NULL: free */
	void *object;
};

/* Zero-initialised. */
struct names {
	struct names_row *rows;
	size_t cap; /* a power of two, or 0 */
	size_t count;
};

/* Room for `count` names: the adds up to there can't fail. 0 or -ENOMEM. */
int names_reserve(struct names *t, size_t count);
/* 0, -EEXIST, -ENOMEM. */
int names_add(struct names *t, const char *name, void *object);
/* NULL: no such name. */
void *names_find(const struct names *t, const char *name);
/* What was under the name, or NULL. */
void *names_remove(struct names *t, const char *name);
void names_fini(struct names *t);

#endif
