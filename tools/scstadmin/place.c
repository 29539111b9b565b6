/* SPDX-License-Identifier: BSD-2-Clause */
/* Targets, groups and initiators. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "tools/scstadmin/scstadmin.h"

#define EVERYONE "everyone"
#define GROUP_ORDER_FIRST 1000
#define GROUP_ORDER_LAST 1000000

/* ---- drivers ------------------------------------------------------------------------------------------ */

/* TOOL_DONE: iSCSI is meant. Else it was said. */
static int
check_driver(struct admin *a)
{
	const char *driver = a->order.value[OPT_DRIVER];

	if (driver == NULL || strcmp(driver, "iscsi") == 0)
		return TOOL_DONE;
	if (strcmp(driver, "copy_manager") == 0)
		return act_nothing(a, "EXTENDED COPY needs no target");
	if (strcmp(driver, "ib_srpt") == 0)
		return act_none(a,
		    "SRP is served under an address of the adapter, by the targets that iSCSI has: "
		    "`terracectl portal create rdma --listen ADDRESS:5000`, `terracectl portal set "
		    "rdma protocol srp`, `terracectl target set IQN portals san rdma`");
	return act_none(a, "driver %s: iSCSI and SRP are served", driver);
}

/* ---- targets -------------------------------------------------------------------------------------------- */

const json_t *
place_target(struct admin *a, const char *target)
{
	size_t i;
	const json_t *t;

	json_array_foreach(act_list(a, "target.list"), i, t)
	{
		if (strcasecmp(get_text(t, "name"), target) == 0)
			return t;
	}
	return NULL;
}

bool
place_is_default(const char *group)
{
	return group == NULL || strcmp(group, "Default") == 0 || strncmp(group, "Default_", 8) == 0;
}

json_t *
place_targets(struct admin *a, int *ret)
{
	const char *group = a->order.value[OPT_GROUP], *target = a->order.value[OPT_TARGET];
	json_t *names;
	size_t i;
	const json_t *t;

	*ret = check_driver(a);
	if (*ret != TOOL_DONE || json_array_size(a->remarks) > 0)
		return NULL;
	if (a->order.value[OPT_DRIVER] != NULL && strcmp(a->order.value[OPT_DRIVER], "iscsi") != 0)
		return NULL;
	if (target == NULL && group != NULL && strncmp(group, "Default_", 8) == 0)
		target = group + 8;
	const json_t *list = act_list(a, "target.list");
	if (list == NULL) {
		*ret = TOOL_UNREACHABLE;
		return NULL;
	}
	if (target == NULL && json_array_size(list) == 0) {
		*ret = act_none(a,
		    "there is no target yet; old SCST had it in iscsi-scstd.conf. `terracectl "
		    "scstadmin -add_target iqn.2026-11.example:storage -driver iscsi` makes one");
		return NULL;
	}
	if (target != NULL && place_target(a, target) == NULL) {
		*ret = act_fail(a, "there is no target '%s': `terracectl target list`", target);
		return NULL;
	}
	names = json_array();
	json_array_foreach(list, i, t)
	{
		if (target == NULL || strcasecmp(get_text(t, "name"), target) == 0)
			json_array_append_new(names, json_string(get_text(t, "name")));
	}
	return names;
}

/* Portals of iSCSI, all of them: SCST's targets are found on every address. */
static json_t *
iscsi_portals(struct admin *a)
{
	json_t *names = json_array();
	size_t i;
	const json_t *p;

	json_array_foreach(act_list(a, "portal.list"), i, p)
	{
		if (strcmp(get_text(p, "protocol"), "srp") != 0 && get_text(p, "name")[0] != '\0')
			json_array_append_new(names, json_string(get_text(p, "name")));
	}
	return names;
}

int
scst_add_target(struct admin *a)
{
	int status = check_driver(a);

	if (status != TOOL_DONE || strcmp(a->order.value[OPT_DRIVER], "iscsi") != 0)
		return status;
	json_t *portals = iscsi_portals(a);
	if (a->failed) {
		json_decref(portals);
		return TOOL_FAILED;
	}
	if (json_array_size(portals) == 0) {
		status = act(a, "portal.create",
		    json_pack("{s:s, s:[s, s]}", "name", "all", "listen", "0.0.0.0", "[::]"));
		json_array_append_new(portals, json_string("all"));
	}
	if (!act_good(status)) {
		json_decref(portals);
		return status;
	}
	return act(
	    a, "target.create", json_pack("{s:s, s:o}", "name", a->order.name, "portals", portals));
}

int
scst_rem_target(struct admin *a)
{
	int status = check_driver(a);

	if (status != TOOL_DONE)
		return status;
	return act(a, "target.delete", json_pack("{s:s}", "name", a->order.name));
}

int
scst_enable(struct admin *a)
{
	return act_nothing(a, "a target serves as soon as it is there");
}

int
scst_disable(struct admin *a)
{
	return act_none(a,
	    "a target that is there serves. `terracectl target delete %s` ends it; `terracectl "
	    "portal delete NAME` ends listening",
	    a->order.name);
}

/* ---- groups ------------------------------------------------------------------------------------------------ */

/* "g" and "g-2", which the second target with such a group has. */
static bool
is_group_name(const char *is, const char *wanted)
{
	size_t len = strlen(wanted);

	if (strncmp(is, wanted, len) != 0)
		return false;
	if (is[len] == '\0')
		return true;
	return is[len] == '-' && is[len + 1] != '\0' &&
	       is[len + 1 + strspn(is + len + 1, "0123456789")] == '\0';
}

const json_t *
place_group(struct admin *a, const char *target, const char *name)
{
	const json_t *found = NULL, *g;
	size_t i;

	json_array_foreach(act_list(a, "group.list"), i, g)
	{
		if (strcasecmp(get_text(g, "target"), target) != 0)
			continue;
		if (strcmp(get_text(g, "name"), name) == 0)
			return g;
		if (found == NULL && is_group_name(get_text(g, "name"), name))
			found = g;
	}
	return found;
}

const json_t *
place_group_needed(struct admin *a, const char *target, const char *name)
{
	const json_t *g = place_group(a, target, name);

	if (g == NULL && !a->failed)
		(void)act_fail(a, "target %s has no group '%s': -add_group makes it", target, name);
	return g;
}

json_t *
place_users(struct admin *a, const char *target)
{
	json_t *names = json_array();
	size_t i;
	const json_t *c;

	json_array_foreach(act_list(a, "chap.list"), i, c)
	{
		if (strcasecmp(get_text(c, "target"), target) == 0)
			json_array_append_new(names, json_string(get_text(c, "name")));
	}
	return names;
}

/* Behind the groups that the target has, since the first that matches counts. */
static json_int_t
next_order(struct admin *a, const char *target, bool last)
{
	json_int_t order = GROUP_ORDER_FIRST - 1;
	size_t i;
	const json_t *g;

	if (last)
		return GROUP_ORDER_LAST;
	json_array_foreach(act_list(a, "group.list"), i, g)
	{
		json_int_t is = get_int(g, "order");
		if (strcasecmp(get_text(g, "target"), target) == 0 && is > order &&
		    is < GROUP_ORDER_LAST)
			order = is;
	}
	return order < GROUP_ORDER_LAST - 1 ? order + 1 : order;
}

int
place_create_group(
    struct admin *a, const char *target, const char *name, json_t *patterns, char *ret, size_t cap)
{
	bool last = strcmp(name, EVERYONE) == 0;
	size_t i;
	const json_t *g;

	snprintf(ret, cap, "%s", name);
	for (unsigned n = 2; n < 10000; n++) {
		bool taken = false;
		json_array_foreach(act_list(a, "group.list"), i, g)
		{
			taken = taken || strcmp(get_text(g, "name"), ret) == 0;
		}
		if (!taken)
			break;
		snprintf(ret, cap, "%.58s-%u", name, n);
	}
	json_t *params = json_pack("{s:s, s:s, s:o, s:I}", "name", ret, "target", target,
	    "initiators", patterns, "order", next_order(a, target, last));
	json_t *users = place_users(a, target);
	if (json_array_size(users) > 0)
		json_object_set(params, "users", users);
	json_decref(users);
	if (a->failed) {
		json_decref(params);
		return TOOL_FAILED;
	}
	return act(a, "group.create", params);
}

bool
place_everyone(struct admin *a, const char *target, char *ret, size_t cap)
{
	const json_t *t = place_target(a, target);
	json_t *users = place_users(a, target);
	bool by_chap = json_array_size(users) > 0;
	int status = TOOL_DONE;

	json_decref(users);
	snprintf(ret, cap, "%s", target);
	if (a->failed)
		return false;
	if (by_chap) {
		const json_t *g = place_group(a, target, EVERYONE);
		if (g != NULL)
			snprintf(ret, cap, "%s", get_text(g, "name"));
		else
			status = place_create_group(
			    a, target, EVERYONE, json_pack("[s]", "*"), ret, cap);
	} else if (!get_bool(t, "open")) {
		act_remark(a,
		    "whoever reaches a portal of %s gets these LUNs: name the initiators in a "
		    "group "
		    "instead",
		    target);
		status = act(a, "target.set",
		    json_pack("{s:s, s:s, s:s}", "name", target, "key", "open", "value", "yes"));
	}
	return act_good(status);
}

/* ---- orders about groups ------------------------------------------------------------------------------------ */

int
place_each(struct admin *a, target_order order)
{
	int worst;
	size_t i;
	const json_t *name;
	json_t *targets = place_targets(a, &worst);

	json_array_foreach(targets, i, name)
	{
		int status = order(a, json_string_value(name));
		if (status != TOOL_DONE)
			worst = status;
		if (!act_good(status) && !a->order.goes_on)
			break;
	}
	json_decref(targets);
	return worst;
}

static int
add_group(struct admin *a, const char *target)
{
	char name[80];

	if (place_group(a, target, a->order.name) != NULL)
		return act_fail(a, "target %s has a group '%s' already", target, a->order.name);
	return place_create_group(
	    a, target, a->order.name, json_pack("[s]", NOBODY), name, sizeof name);
}

int
scst_add_group(struct admin *a)
{
	if (strlen(a->order.name) > 64)
		return act_fail(a, "names of groups have 64 characters at most");
	return place_is_default(a->order.name)
	           ? act_nothing(a, "-assigndev … -group Default shows LUNs to everybody")
	           : place_each(a, add_group);
}

static int
rem_group(struct admin *a, const char *target)
{
	const json_t *g = place_group_needed(a, target, a->order.name);

	if (g == NULL)
		return TOOL_FAILED;
	return act(a, "group.delete", json_pack("{s:s}", "name", get_text(g, "name")));
}

int
scst_rem_group(struct admin *a)
{
	return place_each(a, rem_group);
}

/* ---- initiators ------------------------------------------------------------------------------------------------ */

/* The group's patterns with one more, or without one (`pattern` NULL: without all). */
static json_t *
changed_patterns(const json_t *group, const char *pattern, bool more)
{
	json_t *list = json_array();
	size_t i;
	const json_t *p;

	json_array_foreach(json_object_get(group, "initiators"), i, p)
	{
		const char *is = json_string_value(p);
		if (is != NULL && strcmp(is, NOBODY) != 0 && pattern != NULL &&
		    (more || strcmp(is, pattern) != 0))
			json_array_append_new(list, json_string(is));
	}
	if (more)
		json_array_append_new(list, json_string(pattern));
	if (json_array_size(list) == 0)
		json_array_append_new(list, json_string(NOBODY));
	return list;
}

static bool
has_pattern(const json_t *group, const char *pattern)
{
	size_t i;
	const json_t *p;

	json_array_foreach(json_object_get(group, "initiators"), i, p)
	{
		if (json_is_string(p) && strcmp(json_string_value(p), pattern) == 0)
			return true;
	}
	return false;
}

/* Sets them; takes `list`. */
static int
set_patterns(struct admin *a, const json_t *group, json_t *list)
{
	return act(a, "group.set",
	    json_pack("{s:s, s:s, s:o}", "name", get_text(group, "name"), "key", "initiators",
	        "value", list));
}

/* The group that -group names; NULL: failed, or there is nothing to it, which was said (*ret). */
static const json_t *
group_meant(struct admin *a, const char *target, int *ret)
{
	const char *name = a->order.value[OPT_GROUP];

	*ret = TOOL_FAILED;
	if (!place_is_default(name))
		return place_group_needed(a, target, name);
	*ret = act_none(a, "whoever no other group names is in group Default: there is nobody to "
	                   "add or to take away");
	return NULL;
}

static int
add_init(struct admin *a, const char *target)
{
	int status;
	const json_t *g = group_meant(a, target, &status);

	if (g == NULL)
		return status;
	if (has_pattern(g, a->order.name))
		return act_nothing(
		    a, "group %s names %s already", get_text(g, "name"), a->order.name);
	return set_patterns(a, g, changed_patterns(g, a->order.name, true));
}

int
scst_add_init(struct admin *a)
{
	return place_each(a, add_init);
}

static int
rem_init(struct admin *a, const char *target)
{
	int status;
	const json_t *g = group_meant(a, target, &status);

	if (g == NULL)
		return status;
	if (!has_pattern(g, a->order.name))
		return act_fail(a, "group %s doesn't name %s", get_text(g, "name"), a->order.name);
	return set_patterns(a, g, changed_patterns(g, a->order.name, false));
}

int
scst_rem_init(struct admin *a)
{
	return place_each(a, rem_init);
}

/* First where it goes to: in between nobody is worse off, since the first group that matches counts. */
static int
move_init(struct admin *a, const char *target)
{
	int status;
	const json_t *from = group_meant(a, target, &status), *to;

	if (from == NULL)
		return status;
	if (!has_pattern(from, a->order.name))
		return act_fail(
		    a, "group %s doesn't name %s", get_text(from, "name"), a->order.name);
	to = place_group_needed(a, target, a->order.value[OPT_TO]);
	if (to == NULL)
		return TOOL_FAILED;
	status = TOOL_DONE;
	if (!has_pattern(to, a->order.name))
		status = set_patterns(a, to, changed_patterns(to, a->order.name, true));
	if (!act_good(status))
		return status;
	from = place_group_needed(a, target, a->order.value[OPT_GROUP]);
	return from == NULL ? TOOL_FAILED
	                    : set_patterns(a, from, changed_patterns(from, a->order.name, false));
}

int
scst_move_init(struct admin *a)
{
	return place_each(a, move_init);
}

static int
clear_inits(struct admin *a, const char *target)
{
	int status;
	const json_t *g = group_meant(a, target, &status);

	return g == NULL ? status : set_patterns(a, g, changed_patterns(g, NULL, false));
}

int
scst_clear_inits(struct admin *a)
{
	return place_each(a, clear_inits);
}
