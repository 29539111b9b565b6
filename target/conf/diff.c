/* SPDX-License-Identifier: BSD-2-Clause */
/* What one configuration says otherwise than another: both as sorted lists, merged. */
#include "conf/conf_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

const char *
conf_what_to_string(enum conf_what w)
{
	return w == CONF_ADD ? "add" : w == CONF_REMOVE ? "remove" : "change";
}

bool
conf_change_has(const struct conf_change *c, const char *key)
{
	for (unsigned i = 0; c != NULL && i < c->key_count; i++)
		if (strcmp(c->keys[i].key, key) == 0)
			return true;
	return false;
}

static void
change_fini(struct conf_change *c)
{
	for (unsigned i = 0; i < c->key_count; i++) {
		free(c->keys[i].key);
		free(c->keys[i].before);
		free(c->keys[i].after);
	}
	free(c->keys);
	free(c->name);
	free(c->target);
	*c = (struct conf_change){0};
}

void
conf_diff_destroy(struct conf_diff *d)
{
	if (d == NULL)
		return;
	for (unsigned i = 0; i < d->count; i++)
		change_fini(&d->list[i]);
	free(d->list);
	free(d);
}

/* ---- keys ------------------------------------------------------------------------------------ */

/* Arrays grow at powers of two. */
static void *
grow(void *list, unsigned count, size_t size)
{
	if ((count & (count - 1)) != 0)
		return list;
	return reallocarray(list, count == 0 ? 1 : count * 2u, size);
}

/* Takes the texts, also on failure; before or after may be NULL. */
static int
add_key(struct conf_change *c, const char *key, char *before, char *after)
{
	struct conf_key_change *keys = grow(c->keys, c->key_count, sizeof *keys);
	char *copy = strdup(key);

	if (keys != NULL)
		c->keys = keys;
	if (keys == NULL || copy == NULL) {
		free(copy);
		free(before);
		free(after);
		return -ENOMEM;
	}
	keys[c->key_count++] =
	    (struct conf_key_change){.key = copy, .before = before, .after = after};
	return 0;
}

/* One of them may be NULL. */
static int
add_items(struct conf_change *c, const struct conf_item *before, const struct conf_item *after)
{
	struct conf_item_name name;
	char *was = before != NULL ? conf_item_value(before) : NULL;
	char *is = after != NULL ? conf_item_value(after) : NULL;

	if ((before != NULL && was == NULL) || (after != NULL && is == NULL)) {
		free(was);
		free(is);
		return -ENOMEM;
	}
	return add_key(c, conf_item_name(&name, before != NULL ? before : after), was, is);
}

/* The change itself says whose an object is. */
static bool
is_identity(const struct conf_item *i)
{
	return i->block == NULL &&
	       (strcmp(i->key->key, "target") == 0 || strcmp(i->key->key, "discovery") == 0);
}

/* What one side alone has is a difference unless it is the default. */
static int
diff_items(struct conf_change *c, const struct conf_items *before, const struct conf_items *after)
{
	unsigned b = 0, a = 0;
	int rc = 0;

	while (rc == 0 && (b < before->count || a < after->count)) {
		const struct conf_item *x = b < before->count ? &before->list[b] : NULL;
		const struct conf_item *y = a < after->count ? &after->list[a] : NULL;
		int order = x == NULL ? 1 : y == NULL ? -1 : conf_item_compare(x, y);
		x = order <= 0 ? x : NULL;
		y = order >= 0 ? y : NULL;
		b += x != NULL;
		a += y != NULL;
		bool same = x == NULL   ? y->is_default
		            : y == NULL ? x->is_default
		                        : conf_item_equal(x, y);
		if (!same && !is_identity(x != NULL ? x : y))
			rc = add_items(c, x, y);
	}
	return rc;
}

/* ---- the order of groups --------------------------------------------------------------------- */

static int
compare_words(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Names of the groups of `t` that are in `other` as well, in their order. 0, -ENOMEM. */
static int
common_groups(const struct conf_target *t, const struct conf_target *other, char **ret)
{
	struct conf_out o = {0};
	const char **names = calloc(other->group_count + 1u, sizeof *names);

	if (names == NULL)
		return -ENOMEM;
	for (unsigned i = 0; i < other->group_count; i++)
		names[i] = other->groups[i].name;
	if (other->group_count > 0)
		qsort(names, other->group_count, sizeof *names, compare_words);
	for (unsigned i = 0; other->group_count > 0 && i < t->group_count; i++) {
		const char *name = t->groups[i].name;
		if (bsearch(&name, names, other->group_count, sizeof *names, compare_words) == NULL)
			continue;
		conf_out(&o, o.len > 0 ? " " : "");
		conf_out(&o, name);
	}
	free(names);
	*ret = conf_out_take(&o);
	return *ret != NULL ? 0 : -ENOMEM;
}

static int
diff_group_order(
    struct conf_change *c, const struct conf_target *before, const struct conf_target *after)
{
	char *was = NULL, *is = NULL;
	int rc = common_groups(before, after, &was);

	if (rc == 0)
		rc = common_groups(after, before, &is);
	if (rc == 0 && strcmp(was, is) != 0)
		return add_key(c, "groups", was, is);
	free(was);
	free(is);
	return rc;
}

/* ---- objects --------------------------------------------------------------------------------- */

static int
compare_refs(const void *a, const void *b)
{
	const struct conf_ref *x = a, *y = b;

	if (x->kind != y->kind)
		return x->kind < y->kind ? -1 : 1;
	int order = strcmp(x->target != NULL ? x->target : "", y->target != NULL ? y->target : "");
	return order != 0 ? order : strcmp(x->name, y->name);
}

static int
items_of(struct conf_items *items, const struct conf_ref *ref)
{
	*items = (struct conf_items){0};
	return ref != NULL ? conf_items_init(items, ref->kind, ref->object) : 0;
}

/* One of them may be NULL. */
static int
diff_object(struct conf_change *c, const struct conf_ref *before, const struct conf_ref *after)
{
	const struct conf_ref *any = before != NULL ? before : after;
	struct conf_items was, is = {0};

	*c = (struct conf_change){
	    .kind = any->kind,
	    .what = before == NULL  ? CONF_ADD
	            : after == NULL ? CONF_REMOVE
	                            : CONF_CHANGE,
	    .name = strdup(any->name),
	    .target = any->target != NULL ? strdup(any->target) : NULL,
	    .before = before != NULL ? before->head : NULL,
	    .after = after != NULL ? after->head : NULL,
	};
	int rc = items_of(&was, before);
	if (rc == 0)
		rc = items_of(&is, after);
	if (c->name == NULL || (any->target != NULL && c->target == NULL))
		rc = -ENOMEM;
	if (rc == 0)
		rc = diff_items(c, &was, &is);
	if (rc == 0 && c->what == CONF_CHANGE && c->kind == CONF_KIND_TARGET)
		rc = diff_group_order(c, before->object, after->object);
	conf_items_fini(&was);
	conf_items_fini(&is);
	return rc;
}

static int
add_object(struct conf_diff *d, const struct conf_ref *before, const struct conf_ref *after)
{
	struct conf_change c;
	int rc = diff_object(&c, before, after);

	if (rc < 0 || (c.what == CONF_CHANGE && c.key_count == 0)) {
		change_fini(&c);
		return rc;
	}
	struct conf_change *list = grow(d->list, d->count, sizeof *list);
	if (list == NULL) {
		change_fini(&c);
		return -ENOMEM;
	}
	d->list = list;
	list[d->count++] = c;
	return 0;
}

static int
diff_refs(struct conf_diff *d, const struct conf_ref *before, unsigned before_count,
    const struct conf_ref *after, unsigned after_count)
{
	unsigned b = 0, a = 0;
	int rc = 0;

	while (rc == 0 && (b < before_count || a < after_count)) {
		int order = b == before_count  ? 1
		            : a == after_count ? -1
		                               : compare_refs(&before[b], &after[a]);
		rc = add_object(d, order <= 0 ? &before[b] : NULL, order >= 0 ? &after[a] : NULL);
		b += order <= 0;
		a += order >= 0;
	}
	return rc;
}

int
conf_diff(const struct conf *before, const struct conf *after, struct conf_diff **ret)
{
	struct conf_ref *was = NULL, *is = NULL;
	unsigned was_count, is_count;
	struct conf_diff *d = calloc(1, sizeof *d);
	int rc = d != NULL ? conf_refs(before, &was, &was_count) : -ENOMEM;

	if (rc == 0)
		rc = conf_refs(after, &is, &is_count);
	if (rc == 0) {
		qsort(was, was_count, sizeof *was, compare_refs);
		qsort(is, is_count, sizeof *is, compare_refs);
		rc = diff_refs(d, was, was_count, is, is_count);
	}
	free(was);
	free(is);
	if (rc < 0)
		conf_diff_destroy(d);
	else
		*ret = d;
	return rc;
}
