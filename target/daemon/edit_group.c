/* SPDX-License-Identifier: BSD-2-Clause */
/* Groups: create, delete, set, map, unmap; where a new LUN goes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "daemon/change_priv.h"

int
edit_group_create(struct change *c)
{
	struct conf_edit *e;
	const struct conf_head *t;

	if (edit_find(c, CONF_KIND_TARGET, edit_text_param(c, "target"), &t, NULL) < 0 ||
	    edit_new(c, CONF_KIND_GROUP, edit_text_param(c, "name"), &e) < 0)
		return -1;
	int rc = edit_set_text(c, e, "target", t->name);
	if (rc == 0)
		rc = edit_set(c, e, "order", json_object_get(c->params, "order"));
	if (rc == 0)
		rc = edit_set(c, e, "initiators", json_object_get(c->params, "initiators"));
	if (rc == 0)
		rc = edit_set(c, e, "user", json_object_get(c->params, "users"));
	if (rc < 0) {
		conf_edit_destroy(e);
		return -1;
	}
	return edit_done(c, e);
}

int
edit_group_delete(struct change *c)
{
	const struct conf_head *h;
	if (edit_find(c, CONF_KIND_GROUP, edit_text_param(c, "name"), &h, NULL) < 0)
		return -1;
	return edit_remove(c, CONF_KIND_GROUP, h, "-it");
}

int
edit_group_set(struct change *c)
{
	return edit_set_key(c, CONF_KIND_GROUP);
}

/* ---- map and unmap ---------------------------------------------------------------------------------- */

static int
free_number(const struct conf_group *g)
{
	for (unsigned n = 0; n <= SCSI_LUN_MAX; n++) {
		bool taken = false;
		for (unsigned i = 0; i < g->lun_count; i++)
			taken = taken || g->luns[i].number == n;
		if (!taken)
			return (int)n;
	}
	return -1;
}

/* The number that is wanted, checked, or the next free one. -1 with an error. */
static json_int_t
choose_number(struct change *c, const struct conf_group *g, const char *lun, json_int_t number)
{
	for (unsigned i = 0; i < g->lun_count; i++) {
		if (strcmp(g->luns[i].lun, lun) == 0)
			return change_fail(c, CTL_EXISTS,
			    "group %s shows LUN %s already, as number %u", g->name, lun,
			    g->luns[i].number);
		if ((json_int_t)g->luns[i].number == number)
			return change_fail(c, CTL_EXISTS,
			    "number %u of group %s is taken by LUN %s: the next free one is %d",
			    g->luns[i].number, g->name, g->luns[i].lun, free_number(g));
	}
	if (number >= 0)
		return number;
	int next = free_number(g);
	return next >= 0 ? next
	                 : change_fail(c, CTL_FAILED, "group %s has no free number", g->name);
}

static int
add_line(struct change *c, struct conf_edit *e, const char *lun, json_int_t number, bool read_only)
{
	char text[16];
	const char *const words[] = {text, lun, "read_only"};
	snprintf(text, sizeof text, "%d", (int)number);
	if (conf_edit_add(e, "lun", words, read_only ? 3 : 2) == 0)
		return 0;
	return change_no_memory(c);
}

int
edit_map_to_group(struct change *c, const struct conf_group *g, const struct conf_target *t,
    const char *lun, json_int_t number, bool read_only)
{
	struct conf_edit *e;
	char line[400];

	(void)t;
	number = choose_number(c, g, lun, number);
	if (number < 0)
		return -1;
	snprintf(
	    line, sizeof line, "'lun %d %s%s'", (int)number, lun, read_only ? " read_only" : "");
	if (edit_open(c, CONF_KIND_GROUP, (const struct conf_head *)g, line, &e) < 0)
		return -1;
	if (add_line(c, e, lun, number, read_only) < 0) {
		conf_edit_destroy(e);
		return -1;
	}
	return edit_done(c, e);
}

/* A name of iSCSI is no name of a group: an open target's own LUNs are meant. */
static bool
is_target_name(const char *name)
{
	return strncasecmp(name, "iqn.", 4) == 0 || strncasecmp(name, "eui.", 4) == 0 ||
	       strncasecmp(name, "naa.", 4) == 0;
}

/* A target's own lines as those of a group, for what looks at them. */
static struct conf_group
as_group(const struct conf_target *t)
{
	return (struct conf_group){.name = t->name, .luns = t->luns, .lun_count = t->lun_count};
}

int
edit_number_param(struct change *c, json_int_t *ret)
{
	const json_t *number = json_object_get(c->params, "number");
	json_int_t n = json_is_integer(number) ? json_integer_value(number) : -1;
	if (json_is_integer(number) && (n < 0 || n > (json_int_t)SCSI_LUN_MAX))
		return change_fail(
		    c, CTL_INVALID_PARAMS, "numbers of LUNs go from 0 to %u", SCSI_LUN_MAX);
	*ret = n;
	return 0;
}

static int
map_to_target(struct change *c, const char *lun, json_int_t number)
{
	const struct conf_head *h;
	struct conf_edit *e;
	char line[400];
	bool read_only = edit_bool_param(c, "read_only");

	if (edit_find(c, CONF_KIND_TARGET, edit_text_param(c, "group"), &h, NULL) < 0)
		return -1;
	const struct conf_target *t = (const struct conf_target *)h;
	const struct conf_group own = as_group(t);
	if (!t->open)
		return change_fail(c, CTL_FAILED,
		    "target %s isn't open: its LUNs are shown to groups, or `terracectl target set "
		    "%s open "
		    "yes` opens it to everybody",
		    t->name, t->name);
	number = choose_number(c, &own, lun, number);
	if (number < 0)
		return -1;
	snprintf(
	    line, sizeof line, "'lun %d %s%s'", (int)number, lun, read_only ? " read_only" : "");
	if (edit_open(c, CONF_KIND_TARGET, h, line, &e) < 0)
		return -1;
	if (add_line(c, e, lun, number, read_only) < 0) {
		conf_edit_destroy(e);
		return -1;
	}
	return edit_done(c, e);
}

int
edit_group_map(struct change *c)
{
	const char *lun = edit_text_param(c, "lun"), *group = edit_text_param(c, "group");
	const struct conf_head *h, *l;
	const struct conf_target *t;
	json_int_t number;

	if (edit_number_param(c, &number) < 0)
		return -1;
	if (is_target_name(group))
		return edit_find(c, CONF_KIND_LUN, lun, &l, NULL) < 0
		           ? -1
		           : map_to_target(c, lun, number);
	if (edit_find(c, CONF_KIND_GROUP, group, &h, &t) < 0 ||
	    edit_find(c, CONF_KIND_LUN, lun, &l, NULL) < 0)
		return -1;
	return edit_map_to_group(
	    c, (const struct conf_group *)h, t, lun, number, edit_bool_param(c, "read_only"));
}

int
edit_group_unmap(struct change *c)
{
	const char *lun = edit_text_param(c, "lun"), *group = edit_text_param(c, "group");
	enum conf_kind kind = is_target_name(group) ? CONF_KIND_TARGET : CONF_KIND_GROUP;
	const struct conf_head *h;
	const struct conf_group_lun *line = NULL;
	char number[16], text[64];
	const char *const word = number;
	struct conf_edit *e;

	if (edit_find(c, kind, group, &h, NULL) < 0)
		return -1;
	const struct conf_group g = kind == CONF_KIND_GROUP
	                                ? *(const struct conf_group *)h
	                                : as_group((const struct conf_target *)h);
	for (unsigned i = 0; i < g.lun_count; i++)
		if (strcmp(g.luns[i].lun, lun) == 0)
			line = &g.luns[i];
	if (line == NULL)
		return change_fail(c, CTL_NO_OBJECT, "%s %s doesn't show a LUN '%s'",
		    conf_kind_to_string(kind), g.name, lun);
	snprintf(number, sizeof number, "%u", line->number);
	snprintf(text, sizeof text, "-the line 'lun %u'", line->number);
	if (edit_open(c, kind, h, text, &e) < 0)
		return -1;
	(void)conf_edit_remove(e, "lun", &word, 1);
	return edit_done(c, e);
}

/* ---- a new LUN for somebody ------------------------------------------------------------------------- */

static const struct conf_target *
choose_target(struct change *c)
{
	const char *name = edit_text_param(c, "target");
	const struct conf *conf = c->daemon->conf;
	const struct conf_head *h;

	if (name != NULL)
		return edit_find(c, CONF_KIND_TARGET, name, &h, NULL) < 0
		           ? NULL
		           : (const struct conf_target *)h;
	if (conf->target_count == 1)
		return &conf->targets[0];
	if (conf->target_count == 0)
		(void)change_fail(c, CTL_FAILED,
		    "there is no target yet: `terracectl portal create san --listen ADDRESS` and "
		    "`terracectl target create IQN --portal san` make one");
	else
		(void)change_fail(c, CTL_FAILED,
		    "there are %u targets: say under which one with --target, as --target %s",
		    conf->target_count, conf->targets[0].name);
	return NULL;
}

/* A group made for this LUN alone, after all others that say nothing about their order. */
static int
group_for(struct change *c, const struct conf_target *t, const char *lun, const char *pattern,
    json_int_t number)
{
	struct conf_edit *e;
	const char *group = edit_text_param(c, "group");

	if (edit_new(c, CONF_KIND_GROUP, group != NULL ? group : lun, &e) < 0)
		return -1;
	int rc = edit_set_text(c, e, "target", t->name);
	if (rc == 0)
		rc = edit_set_text(c, e, "initiators", pattern);
	if (rc == 0)
		rc = add_line(c, e, lun, number < 0 ? 0 : number, edit_bool_param(c, "read_only"));
	if (rc < 0) {
		conf_edit_destroy(e);
		return -1;
	}
	return edit_done(c, e);
}

int
edit_map_to_pattern(struct change *c, const char *lun)
{
	const char *to = edit_text_param(c, "to"), *group = edit_text_param(c, "group");
	const struct conf_target *t = choose_target(c);
	json_int_t number;

	if (t == NULL || edit_number_param(c, &number) < 0)
		return -1;
	for (unsigned i = 0; i < t->group_count; i++) {
		const struct conf_group *g = &t->groups[i];
		if (g->initiator_count == 1 && strcmp(g->initiators[0], to) == 0 &&
		    (group == NULL || strcmp(group, g->name) == 0))
			return edit_map_to_group(
			    c, g, t, lun, number, edit_bool_param(c, "read_only"));
	}
	return group_for(c, t, lun, to, number);
}
