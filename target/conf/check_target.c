/* SPDX-License-Identifier: BSD-2-Clause */
/* What holds in a target: portals, groups, LUN numbers, users and their secrets. */
#include "conf/conf_priv.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

/* ---- chap ------------------------------------------------------------------------------------------ */

static void
check_chap(struct conf_checker *c, const struct conf_chap *x)
{
	const struct conf_node *n = x->node;

	/* A secret that was refused has been told. */
	if (x->secret == NULL && conf_find(n, "secret") == NULL &&
	    conf_find(n, "secret_file") == NULL)
		conf_errors_add(c->errors, &x->pos,
		    "chap '%s' needs a secret: add secret_file PATH", CONF_SHOW(x->name));
	bool mutual = x->mutual_secret != NULL || conf_find(n, "mutual_secret") != NULL ||
	              conf_find(n, "mutual_secret_file") != NULL;
	if (mutual && conf_find(n, "mutual_user") == NULL)
		conf_errors_add(c->errors, &x->pos,
		    "chap '%s' has a mutual secret but no mutual_user: add mutual_user NAME",
		    CONF_SHOW(x->name));
	if (!mutual && x->mutual_user != NULL)
		conf_errors_add(c->errors, &x->pos,
		    "chap '%s' has a mutual_user but no mutual secret: add mutual_secret_file PATH",
		    CONF_SHOW(x->name));
}

/*
 * RFC 7143 §9.2.1: the secret of one direction must serve no other direction, with nobody who may
 * log in at the same place: a reflected challenge could be answered with it.
 */
static void
check_reflection(struct conf_checker *c, const struct conf_chap *chaps, unsigned count, unsigned i)
{
	for (unsigned k = 0; k < count; k++) {
		if (chaps[k].secret == NULL || strcmp(chaps[k].secret, chaps[i].mutual_secret) != 0)
			continue;
		if (k == i)
			conf_errors_add(c->errors, &chaps[i].pos,
			    "chap '%s' has the same secret in both directions: they must differ",
			    CONF_SHOW(chaps[i].name));
		else
			conf_errors_add(c->errors, &chaps[i].pos,
			    "the mutual secret of chap '%s' is the secret of chap '%s': they must "
			    "differ",
			    CONF_SHOW(chaps[i].name), CONF_SHOW(chaps[k].name));
	}
}

void
conf_check_chaps(struct conf_checker *c, const struct conf_chap *chaps, unsigned count)
{
	struct conf_entries names, users = {0};

	if (!conf_entries_init(c, &names, count) || !conf_entries_init(c, &users, count))
		goto out;
	for (unsigned i = 0; i < count; i++) {
		const struct conf_chap *x = &chaps[i];
		bool named = conf_find(x->node, "user") != NULL;
		check_chap(c, x);
		if (x->mutual_secret != NULL)
			check_reflection(c, chaps, count, i);
		conf_entries_add(
		    &names, (struct conf_entry){.text = x->name, .node = x->node, .order = i});
		conf_entries_add(&users, (struct conf_entry){.text = x->user,
		                             .node = x->node,
		                             .key = named ? "user" : NULL,
		                             .order = i});
	}
	unsigned before = c->errors->wrong;
	conf_entries_once(c, &names, "chap");
	if (c->errors->wrong == before) /* the same name twice is the same default user twice */
		conf_entries_once(c, &users, "user");
out:
	conf_entries_fini(&names);
	conf_entries_fini(&users);
}

/* ---- lun lines ------------------------------------------------------------------------------------- */

/* The word of a line; the line is found by its place, as wrong lines are in the tree only. */
static struct conf_pos
line_pos(const struct conf_node *block, const struct conf_group_lun *l, unsigned word)
{
	for (unsigned i = 0; i < block->child_count; i++) {
		const struct conf_node *n = block->children[i];
		if (n->pos.file == l->pos.file && n->pos.line == l->pos.line &&
		    n->pos.column == l->pos.column && word < n->word_count)
			return n->word_pos[word];
	}
	return l->pos;
}

static int
compare_numbers(const void *a, const void *b)
{
	const struct conf_group_lun *x = *(const struct conf_group_lun *const *)a,
	                            *y = *(const struct conf_group_lun *const *)b;
	if (x->number != y->number)
		return x->number < y->number ? -1 : 1;
	return x < y ? -1 : x > y; /* both are in one array */
}

static int
compare_luns(const void *a, const void *b)
{
	const struct conf_group_lun *x = *(const struct conf_group_lun *const *)a,
	                            *y = *(const struct conf_group_lun *const *)b;
	int order = strcmp(x->lun, y->lun);
	return order != 0 ? order : x < y ? -1 : x > y;
}

static void
check_lines(struct conf_checker *c, const struct conf_node *block,
    const struct conf_group_lun *luns, unsigned count)
{
	const struct conf_group_lun **sorted = calloc(count + 1u, sizeof *sorted);
	struct conf_place place;

	if (sorted == NULL) {
		c->no_memory = true;
		return;
	}
	for (unsigned i = 0; i < count; i++) {
		sorted[i] = &luns[i];
		const struct conf_entry *e = conf_entries_find(&c->luns, luns[i].lun);
		if (e != NULL) {
			c->lun_used[e->order] = true;
		} else {
			struct conf_pos pos = line_pos(block, &luns[i], 2);
			conf_entries_missing(c, &c->luns, luns[i].lun, &pos, "lun");
		}
	}
	qsort(sorted, count, sizeof *sorted, compare_numbers);
	for (unsigned i = 1; i < count; i++) {
		if (sorted[i]->number != sorted[i - 1]->number)
			continue;
		struct conf_pos pos = line_pos(block, sorted[i], 1);
		conf_errors_add(c->errors, &pos, "LUN number %u is there already (%s)",
		    sorted[i]->number, conf_show_place(&place, &sorted[i - 1]->pos, &pos));
	}
	qsort(sorted, count, sizeof *sorted, compare_luns);
	for (unsigned i = 1; i < count; i++) {
		if (strcmp(sorted[i]->lun, sorted[i - 1]->lun) != 0)
			continue;
		struct conf_pos pos = line_pos(block, sorted[i], 2);
		conf_errors_add(c->errors, &pos, "lun '%s' has a number already (%s)",
		    CONF_SHOW(sorted[i]->lun), conf_show_place(&place, &sorted[i - 1]->pos, &pos));
	}
	free(sorted);
}

void
conf_check_group_luns(struct conf_checker *c, const struct conf_group *g)
{
	check_lines(c, g->node, g->luns, g->lun_count);
}

/* ---- groups ---------------------------------------------------------------------------------------- */

static void
check_group(struct conf_checker *c, const struct conf_group *g, const struct conf_entries *chaps,
    bool *chap_used)
{
	for (unsigned i = 0; i < g->user_count; i++) {
		if (g->users[i][0] == '\0')
			continue;
		const struct conf_entry *e = conf_entries_find(chaps, g->users[i]);
		if (e != NULL) {
			chap_used[e->order] = true;
		} else {
			struct conf_pos pos = conf_value_pos(g->node, "user", i);
			conf_entries_missing(
			    c, chaps, g->users[i], &pos, "chap in this target named");
		}
	}
	conf_check_group_luns(c, g);
	if (conf_find(g->node, "lun") == NULL)
		conf_errors_remark(c->errors, &g->pos, "group '%s' shows no LUN: add lun N NAME",
		    CONF_SHOW(g->name));
}

static void
check_groups(struct conf_checker *c, const struct conf_target *t)
{
	struct conf_entries names, chaps = {0};
	bool *chap_used = calloc(t->chap_count + 1u, sizeof *chap_used);

	if (!conf_entries_init(c, &names, t->group_count) ||
	    !conf_entries_init(c, &chaps, t->chap_count) || chap_used == NULL) {
		c->no_memory = true;
		goto out;
	}
	for (unsigned i = 0; i < t->chap_count; i++)
		conf_entries_add(
		    &chaps, (struct conf_entry){
		                .text = t->chaps[i].name, .node = t->chaps[i].node, .order = i});
	conf_entries_sort(&chaps); /* twice the same one has been told */
	for (unsigned i = 0; i < t->group_count; i++) {
		conf_entries_add(
		    &names, (struct conf_entry){
		                .text = t->groups[i].name, .node = t->groups[i].node, .order = i});
		check_group(c, &t->groups[i], &chaps, chap_used);
	}
	conf_entries_once(c, &names, "group");
	for (unsigned i = 0; c->errors->wrong == 0 && i < t->chap_count; i++)
		if (!chap_used[i])
			conf_errors_remark(c->errors, &t->chaps[i].pos,
			    "no group asks for chap '%s': add user %s to one", t->chaps[i].name,
			    t->chaps[i].name);
out:
	conf_entries_fini(&names);
	conf_entries_fini(&chaps);
	free(chap_used);
}

/* ---- targets --------------------------------------------------------------------------------------- */

#define PORTALS_MAX 64u /* of a target: relative port identifiers */

static void
check_target_portals(struct conf_checker *c, const struct conf_target *t)
{
	struct conf_entries names;

	if (!conf_entries_init(c, &names, t->portal_count))
		return;
	for (unsigned i = 0; i < t->portal_count; i++) {
		if (t->portals[i][0] == '\0')
			continue;
		const struct conf_entry *e = conf_entries_find(&c->portals, t->portals[i]);
		if (e != NULL) {
			c->portal_used[e->order] = true;
		} else {
			struct conf_pos pos = conf_value_pos(t->node, "portals", i);
			conf_entries_missing(c, &c->portals, t->portals[i], &pos, "portal");
		}
		conf_entries_add(
		    &names, (struct conf_entry){
		                .text = t->portals[i], .node = t->node, .key = "portals", .n = i});
	}
	conf_entries_once(c, &names, "portal");
	conf_entries_fini(&names);
	if (t->portal_count > PORTALS_MAX) {
		struct conf_pos pos = conf_value_pos(t->node, "portals", PORTALS_MAX);
		conf_errors_add(
		    c->errors, &pos, "too many portals of one target: at most %u", PORTALS_MAX);
	}
}

void
conf_check_target(struct conf_checker *c, const struct conf_target *t)
{
	const struct conf_node *open = conf_find(t->node, "open"), *lun = conf_find(t->node, "lun");

	check_target_portals(c, t);
	conf_check_chaps(c, t->chaps, t->chap_count);
	check_groups(c, t);
	check_lines(c, t->node, t->luns, t->lun_count);
	if (t->open && lun == NULL)
		conf_errors_remark(c->errors, &open->pos,
		    "an open target shows its own lun lines and has none: add lun N NAME");
	if (!t->open && lun != NULL)
		conf_errors_add(c->errors, &lun->pos,
		    "nobody would see this: say open yes, or move the line into a group");
	if (!t->open && lun == NULL && t->group_count == 0)
		conf_errors_remark(c->errors, &t->pos,
		    "target %s admits nobody: add a group, or say open yes and lun lines",
		    CONF_SHOW(t->name));
}
