/* SPDX-License-Identifier: BSD-2-Clause */
/* Answers whose fields may be missing or of another type, and text that grows. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuse/terrace_fuse.h"

#define LONG_LIST 32u

const char *
json_text(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));
	return s != NULL ? s : "";
}

json_int_t
json_number(const json_t *o, const char *key, json_int_t fallback)
{
	const json_t *v = json_object_get(o, key);
	if (json_is_integer(v))
		return json_integer_value(v);
	return json_is_boolean(v) ? json_is_true(v) : fallback;
}

/* The first one, by looking at each. */
static json_t *
find_slowly(const json_t *list, const char *key, const char *value)
{
	size_t i;
	json_t *o;

	json_array_foreach(list, i, o)
	{
		const char *s = json_string_value(json_object_get(o, key));
		if (s != NULL && strcmp(s, value) == 0)
			return o;
	}
	return NULL;
}

/*
 * Who reads the files of all LUNs looks a thousand times for one of a thousand: the names of the last long
 * list, and the list, which can't become another one at the same place while it is held.
 */
static struct {
	json_t *list, *by_name;
} known;

void
json_forget_list(void)
{
	json_decref(known.list);
	json_decref(known.by_name);
	known.list = known.by_name = NULL;
}

/* NULL without memory. */
static const json_t *
names_of(json_t *list)
{
	size_t i;
	json_t *o;

	if (known.list == list)
		return known.by_name;
	json_t *names = json_object();
	json_array_foreach(list, i, o)
	{
		const char *name = json_string_value(json_object_get(o, "name"));
		if (name == NULL || json_object_get(names, name) != NULL)
			continue;
		if (json_object_set_nocheck(names, name, o) < 0) {
			json_decref(names);
			return NULL;
		}
	}
	json_forget_list();
	known.list = json_incref(list);
	known.by_name = names;
	return names;
}

json_t *
json_find(json_t *list, const char *key, const char *value)
{
	const json_t *names = NULL;

	if (json_array_size(list) >= LONG_LIST && strcmp(key, "name") == 0)
		names = names_of(list);
	return names != NULL ? json_object_get(names, value) : find_slowly(list, key, value);
}

static bool
room(struct text *t, size_t more)
{
	if (t->failed || more > SIZE_MAX / 4 - t->len) {
		t->failed = true;
		return false;
	}
	if (t->len + more + 1 <= t->cap)
		return true;
	size_t cap = t->cap > 0 ? t->cap : 256;
	while (cap < t->len + more + 1)
		cap *= 2;
	char *p = realloc(t->p, cap);
	if (p == NULL) {
		t->failed = true;
		return false;
	}
	t->p = p;
	t->cap = cap;
	return true;
}

void
text_add_bytes(struct text *t, const char *p, size_t len)
{
	if (!room(t, len))
		return;
	memcpy(t->p + t->len, p, len);
	t->len += len;
	t->p[t->len] = '\0';
}

void
text_add(struct text *t, const char *fmt, ...)
{
	va_list ap, again;

	va_start(ap, fmt);
	va_copy(again, ap);
	int len = vsnprintf(NULL, 0, fmt, ap);
	if (len >= 0 && room(t, (size_t)len)) {
		vsnprintf(t->p + t->len, (size_t)len + 1, fmt, again);
		t->len += (size_t)len;
	} else {
		t->failed = true;
	}
	va_end(again);
	va_end(ap);
}
