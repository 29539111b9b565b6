/* SPDX-License-Identifier: BSD-2-Clause */
/* Groups and chap objects that are written at the top level, one a file perhaps, find their targets. */
#include "conf/conf_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

/* One of them: where it goes to, and its place there. */
struct guest {
	unsigned from; /* index at the top level */
	unsigned home; /* index of the target; HOMELESS; DISCOVERY */
	uint32_t order;
	const char *name;
};
#define HOMELESS UINT32_MAX
#define DISCOVERY (UINT32_MAX - 1)

static int
compare_guests(const void *a, const void *b)
{
	const struct guest *x = a, *y = b;

	if (x->home != y->home)
		return x->home < y->home ? -1 : 1;
	if (x->order != y->order)
		return x->order < y->order ? -1 : 1;
	int order = strcmp(x->name, y->name);
	return order != 0 ? order : x->from < y->from ? -1 : x->from > y->from;
}

static int
compare_names(const void *a, const void *b)
{
	const struct guest *x = a, *y = b;
	int order = strcmp(x->name, y->name);
	return order != 0 ? order : x->from < y->from ? -1 : x->from > y->from;
}

static unsigned
home_of(struct conf_checker *c, const struct conf_entries *targets, const char *target,
    const struct conf_node *node)
{
	if (target == NULL)
		return HOMELESS;
	const struct conf_entry *e = conf_entries_find(targets, target);
	if (e != NULL)
		return e->order;
	struct conf_pos pos = conf_value_pos(node, "target", 0);
	conf_entries_missing(c, targets, target, &pos, "target");
	return HOMELESS;
}

/*
 * Commands name them, and their files, by kind and name alone. Two of one target are told where those
 * of a target are looked at.
 */
static void
check_names(struct conf_checker *c, struct guest *guests, unsigned count, const void *objects,
    size_t size, const char *what)
{
	struct conf_place place;

	if (count == 0)
		return;
	qsort(guests, count, sizeof *guests, compare_names);
	for (unsigned i = 1; i < count; i++) {
		const struct guest *x = &guests[i], *before = &guests[i - 1];
		const struct conf_head *h, *first;
		if (strcmp(x->name, before->name) != 0 || x->home == before->home)
			continue;
		h = (const void *)((const char *)objects + x->from * size);
		first = (const void *)((const char *)objects + before->from * size);
		struct conf_pos pos = conf_name_pos(h->node), at = conf_name_pos(first->node);
		conf_errors_add(c->errors, &pos,
		    "%s '%s' is at the top level already (%s): a name is there once, whatever the "
		    "target",
		    what, CONF_SHOW(x->name), conf_show_place(&place, &at, &pos));
	}
}

/* Appends `count` elements, in the order of `guests`, to the array whose pointer is at `list`. */
static int
move(void *list, unsigned *list_count, const struct guest *guests, unsigned count, void *objects,
    size_t size)
{
	char *grown;

	memcpy(&grown, list, sizeof grown);
	grown = reallocarray(grown, *list_count + count, size);
	if (grown == NULL)
		return -ENOMEM;
	memcpy(list, &grown, sizeof grown);
	for (unsigned i = 0; i < count; i++) {
		char *from = (char *)objects + guests[i].from * size;
		memcpy(grown + (*list_count + i) * size, from, size);
		memset(from, 0, size);
	}
	*list_count += count;
	return 0;
}

/* The list that takes them in: where its pointer is, and its count. */
static void
list_of(struct conf *c, bool groups, unsigned home, void **ret_list, unsigned **ret_count)
{
	ASSERT(home == DISCOVERY || home < c->target_count);
	if (home == DISCOVERY) {
		*ret_list = &c->discovery_chaps;
		*ret_count = &c->discovery_chap_count;
	} else if (groups) {
		*ret_list = &c->targets[home].groups;
		*ret_count = &c->targets[home].group_count;
	} else {
		*ret_list = &c->targets[home].chaps;
		*ret_count = &c->targets[home].chap_count;
	}
}

/* What was moved left zeros: those that stay close up. */
static unsigned
close_up(void *objects, unsigned count, size_t size)
{
	unsigned kept = 0;
	for (unsigned i = 0; i < count; i++) {
		char *from = (char *)objects + i * size;
		if (((const struct conf_head *)(const void *)from)->name == NULL)
			continue;
		if (i != kept) {
			memcpy((char *)objects + kept * size, from, size);
			memset(from, 0, size);
		}
		kept++;
	}
	return kept;
}

static int
move_all(struct conf *c, bool groups, struct guest *guests, unsigned count, void *objects,
    unsigned *object_count, size_t size)
{
	int rc = 0;

	if (count > 0)
		qsort(guests, count, sizeof *guests, compare_guests);
	for (unsigned i = 0, n; rc == 0 && i < count; i += n) {
		void *list;
		unsigned *list_count;
		for (n = 1; i + n < count && guests[i + n].home == guests[i].home;)
			n++;
		if (guests[i].home == HOMELESS)
			continue;
		list_of(c, groups, guests[i].home, &list, &list_count);
		rc = move(list, list_count, guests + i, n, objects, size);
	}
	*object_count = close_up(objects, *object_count, size);
	return rc;
}

static int
attach_groups(struct conf *c, struct conf_checker *checker, const struct conf_entries *targets)
{
	unsigned count = c->group_count;
	struct guest *guests = calloc(count + 1u, sizeof *guests);

	if (guests == NULL)
		return -ENOMEM;
	for (unsigned i = 0; i < count; i++) {
		const struct conf_group *g = &c->groups[i];
		guests[i] = (struct guest){.from = i,
		    .home = home_of(checker, targets, g->target, g->node),
		    .order = g->order,
		    .name = g->name};
	}
	check_names(checker, guests, count, c->groups, sizeof *c->groups, "group");
	int rc = move_all(c, true, guests, count, c->groups, &c->group_count, sizeof *c->groups);
	free(guests);
	return rc;
}

static int
attach_chaps(struct conf *c, struct conf_checker *checker, const struct conf_entries *targets)
{
	unsigned count = c->chap_count;
	struct guest *guests = calloc(count + 1u, sizeof *guests);

	if (guests == NULL)
		return -ENOMEM;
	for (unsigned i = 0; i < count; i++) {
		const struct conf_chap *x = &c->chaps[i];
		unsigned home = home_of(checker, targets, x->target, x->node);
		/* A target that was refused has been told. */
		bool said = x->target != NULL || conf_find(x->node, "target") != NULL;
		if (said == x->discovery)
			conf_errors_add(checker->errors, &x->pos,
			    "chap '%s' needs either a target or discovery: add target NAME, or "
			    "discovery yes",
			    CONF_SHOW(x->name));
		guests[i] = (struct guest){
		    .from = i, .home = x->discovery && !said ? DISCOVERY : home, .name = x->name};
	}
	check_names(checker, guests, count, c->chaps, sizeof *c->chaps, "chap");
	int rc = move_all(c, false, guests, count, c->chaps, &c->chap_count, sizeof *c->chaps);
	free(guests);
	return rc;
}

int
conf_attach(struct conf *c, struct conf_errors *errors)
{
	struct conf_checker checker = {.conf = c, .errors = errors};
	struct conf_entries targets;
	int rc = 0;

	if (c->group_count == 0 && c->chap_count == 0)
		return 0;
	if (!conf_entries_init(&checker, &targets, c->target_count))
		return -ENOMEM;
	for (unsigned i = 0; i < c->target_count; i++)
		conf_entries_add(&targets,
		    (struct conf_entry){
		        .text = c->targets[i].name, .node = c->targets[i].node, .order = i});
	conf_entries_sort(&targets);
	rc = attach_groups(c, &checker, &targets);
	if (rc == 0)
		rc = attach_chaps(c, &checker, &targets);
	conf_entries_fini(&targets);
	return rc;
}
