/* SPDX-License-Identifier: BSD-2-Clause */
/* Attributes of targets and of the iSCSI driver: CHAP users, digests. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "tools/scstadmin/scstadmin.h"

#define USER "IncomingUser"
#define MUTUAL "OutgoingUser"

/* "user secret". False: it isn't, which was said. To be freed: *ret_user. */
static bool
split_user(struct admin *a, const char *value, char **ret_user, char **ret_secret)
{
	char *user = strdup(value), *rest = NULL;

	*ret_user = user;
	*ret_secret = NULL;
	if (user != NULL && strtok_r(user, " \t", &rest) != NULL)
		*ret_secret = strtok_r(NULL, " \t", &rest);
	if (*ret_secret != NULL)
		return true;
	(void)act_fail(a, "a user is given as " USER "=\"NAME SECRET\"");
	free(user);
	*ret_user = NULL;
	return false;
}

static void
forget(char *user, char *secret)
{
	if (secret != NULL)
		explicit_bzero(secret, strlen(secret));
	free(user);
}

/* The chap object of a target ("": discovery) with this user, or NULL. */
static const json_t *
find_user(struct admin *a, const char *target, const char *user)
{
	size_t i;
	const json_t *c;

	json_array_foreach(act_list(a, "chap.list"), i, c)
	{
		if (strcasecmp(get_text(c, "target"), target) == 0 &&
		    strcmp(get_text(c, "user"), user) == 0)
			return c;
	}
	return NULL;
}

/* A name for the object, which no other has. */
static void
object_name(struct admin *a, const char *user, char *ret, size_t cap)
{
	size_t i;
	const json_t *c;
	char base[61];

	snprintf(base, sizeof base, "%.60s", user);
	for (char *p = base; *p != '\0'; p++)
		if (!isalnum((unsigned char)*p) && strchr("-_.", *p) == NULL)
			*p = '-';
	if (!isalnum((unsigned char)base[0]))
		base[0] = 'u';
	snprintf(ret, cap, "%s", base);
	for (unsigned n = 2; n < 1000; n++) {
		bool taken = false;
		json_array_foreach(act_list(a, "chap.list"), i, c)
		{
			taken = taken || strcmp(get_text(c, "name"), ret) == 0;
		}
		if (!taken)
			return;
		snprintf(ret, cap, "%s-%u", base, n);
	}
}

/* ---- users of a target -------------------------------------------------------------------------------- */

/* SCST asks every initiator of a target that has users: so does each group here. */
static int
users_to_groups(struct admin *a, const char *target)
{
	json_t *groups = json_deep_copy(act_list(a, "group.list"));
	json_t *users = place_users(a, target);
	int status = TOOL_DONE;
	size_t i;
	const json_t *g;

	json_array_foreach(groups, i, g)
	{
		if (!act_good(status) || strcasecmp(get_text(g, "target"), target) != 0)
			continue;
		json_t *value = json_array_size(users) > 0 ? json_incref(users) : json_null();
		status = act(a, "group.set",
		    json_pack("{s:s, s:s, s:o}", "name", get_text(g, "name"), "key", "user",
		        "value", value));
	}
	json_decref(users);
	json_decref(groups);
	return status;
}

/* An open target admits without a password: its LUNs go to a group for everybody who has one. */
static int
close_target(struct admin *a, const char *target)
{
	json_t *t = json_deep_copy(place_target(a, target));
	char place[80];
	int status = TOOL_DONE;
	size_t i;
	const json_t *l;

	if (t == NULL || !get_bool(t, "open")) {
		json_decref(t);
		return a->failed ? TOOL_FAILED : TOOL_DONE;
	}
	if (!place_everyone(a, target, place, sizeof place))
		status = TOOL_FAILED;
	json_array_foreach(json_object_get(t, "luns"), i, l)
	{
		if (!act_good(status))
			break;
		json_t *params = json_pack("{s:s, s:s, s:I}", "group", place, "lun",
		    get_text(l, "lun"), "number", get_int(l, "number"));
		if (get_bool(l, "read_only"))
			json_object_set_new(params, "read_only", json_true());
		status = act(a, "group.map", params);
	}
	json_array_foreach(json_object_get(t, "luns"), i, l)
	{
		if (act_good(status))
			status = act(a, "group.unmap",
			    json_pack("{s:s, s:s}", "group", target, "lun", get_text(l, "lun")));
	}
	json_decref(t);
	if (!act_good(status))
		return status;
	return act(a, "target.set",
	    json_pack("{s:s, s:s, s:s}", "name", target, "key", "open", "value", "no"));
}

/* `target` NULL: for discovery. */
static int
add_user(struct admin *a, const char *target, const char *value)
{
	char *user, *secret, name[80];

	if (!split_user(a, value, &user, &secret))
		return TOOL_FAILED;
	act_remark(a, "a secret on the command line can be seen by every user of this machine: "
	              "`terracectl chap create` asks for it");
	object_name(a, user, name, sizeof name);
	json_t *params = json_pack("{s:s, s:s, s:s}", "name", name, "user", user, "secret", secret);
	if (target != NULL)
		json_object_set_new(params, "target", json_string(target));
	else
		json_object_set_new(params, "discovery", json_true());
	int status = act(a, "chap.create", params);
	forget(user, secret);
	if (target == NULL || !act_good(status) || a->tool->dry_run)
		return status;
	status = users_to_groups(a, target);
	return act_good(status) ? close_target(a, target) : status;
}

static int
remove_user(struct admin *a, const char *target, const char *value)
{
	char *user = strdup(value);
	int status = TOOL_FAILED;

	if (user == NULL)
		return act_fail(a, "out of memory");
	user[strcspn(user, " \t")] = '\0';
	const json_t *c = find_user(a, target, user);
	json_t *left = c != NULL ? place_users(a, target) : NULL;
	if (c == NULL && !a->failed)
		(void)act_fail(a, "there is no user '%s'", user);
	else if (c != NULL && target[0] != '\0' && json_array_size(left) < 2)
		/* Without a user the groups would admit without a password. */
		status = act_none(a,
		    "'%s' is the last user of %s, and without one its groups would admit by name "
		    "alone: `terracectl group set GROUP user --default` for each of them, then "
		    "`terracectl chap delete %s`",
		    user, target, get_text(c, "name"));
	else if (c != NULL) {
		char name[300];
		size_t i;
		const json_t *g;
		snprintf(name, sizeof name, "%s", get_text(c, "name"));
		json_t *groups = json_deep_copy(act_list(a, "group.list"));
		status = TOOL_DONE;
		for (i = json_array_size(left); i > 0; i--)
			if (strcmp(json_string_value(json_array_get(left, i - 1)), name) == 0)
				json_array_remove(left, i - 1);
		json_array_foreach(groups, i, g)
		{
			if (target[0] != '\0' && act_good(status) &&
			    strcasecmp(get_text(g, "target"), target) == 0)
				status = act(a, "group.set",
				    json_pack("{s:s, s:s, s:O}", "name", get_text(g, "name"), "key",
				        "user", "value", left));
		}
		json_decref(groups);
		if (act_good(status))
			status = act(a, "chap.delete", json_pack("{s:s}", "name", name));
	}
	json_decref(left);
	free(user);
	return status;
}

static int
mutual(struct admin *a, const char *target)
{
	return act_none(a,
	    "the target's own secret belongs to a user here: `terracectl chap create NAME %s%s "
	    "--user USER --mutual-user " MUTUAL "` asks for both",
	    target != NULL ? "--target " : "--discovery", target != NULL ? target : "");
}

/* ---- the others ---------------------------------------------------------------------------------------- */

/* An attribute of a target; what has no key is said. */
static int
set_attribute(struct admin *a, const char *target, const char *attribute, const char *value)
{
	static const struct {
		const char *attribute, *key;
	} digests[] = {{"HeaderDigest", "header_digest"}, {"DataDigest", "data_digest"}};

	for (unsigned i = 0; i < 2; i++)
		if (strcasecmp(attribute, digests[i].attribute) == 0)
			return act(a, "target.set",
			    json_pack("{s:s, s:s, s:s}", "name", target, "key", digests[i].key,
			        "value",
			        strcasecmp(value, "CRC32C") == 0 ? "required" : "offered"));
	if (strcasecmp(attribute, "Alias") == 0)
		return act(a, "target.set",
		    json_pack("{s:s, s:s, s:s}", "name", target, "key", "alias", "value", value));
	if (strcasecmp(attribute, "enabled") == 0)
		return act_is_on(value) ? scst_enable(a) : scst_disable(a);
	if (strcasecmp(attribute, "allowed_portal") == 0)
		return act_none(a,
		    "a portal lists the addresses it listens on: `terracectl portal create NAME "
		    "--listen %s`, then `terracectl target set %s portals NAME`",
		    value, target);
	return act_none(a,
	    "%s: what initiators and target agree on is the best that both can, and `limits` in "
	    "terrace.conf(5) bounds it",
	    attribute);
}

static int
set_one(struct admin *a, const char *target, const char *attribute, const char *value)
{
	if (strcasecmp(attribute, USER) == 0)
		return add_user(a, target, value);
	if (strcasecmp(attribute, MUTUAL) == 0)
		return mutual(a, target);
	if (target != NULL)
		return set_attribute(a, target, attribute, value);
	if (strcasecmp(attribute, "enabled") == 0)
		return act_is_on(value) ? act_nothing(a, "terraced serves as soon as it runs")
		                        : act_none(a, "`systemctl stop terraced` ends serving");
	return strncasecmp(attribute, "iSNS", 4) == 0
	           ? act_none(a, "iSNS isn't used: initiators discover by address")
	           : act_none(a, "%s: a setting that isn't known", attribute);
}

static int
remove_one(struct admin *a, const char *target, const char *attribute, const char *value)
{
	if (strcasecmp(attribute, USER) == 0)
		return remove_user(a, target != NULL ? target : "", value);
	return act_none(a, "only " USER " can be removed; others are set");
}

/* Attributes of -attributes, one after the other; `target` NULL: of discovery. */
static int
each(struct admin *a, const char *target,
    int (*order)(struct admin *, const char *, const char *, const char *))
{
	json_t *attributes = act_attributes(a, a->order.value[OPT_ATTRIBUTES]), *value;
	const char *name;
	int worst = attributes != NULL ? TOOL_DONE : TOOL_FAILED;

	json_object_foreach(attributes, name, value)
	{
		int status = order(a, target, name, json_string_value(value));
		if (status != TOOL_DONE)
			worst = status;
		if (!act_good(status) && !a->order.goes_on)
			break;
	}
	json_decref(attributes);
	return worst;
}

static int
of_target(struct admin *a, int (*order)(struct admin *, const char *, const char *, const char *))
{
	int status;
	char name[300];

	a->order.value[OPT_TARGET] = a->order.name;
	json_t *targets = place_targets(a, &status);
	if (targets == NULL)
		return status;
	snprintf(name, sizeof name, "%s", json_string_value(json_array_get(targets, 0)));
	json_decref(targets);
	return each(a, name, order);
}

int
scst_add_tgt_attr(struct admin *a)
{
	return of_target(a, set_one);
}

int
scst_rem_tgt_attr(struct admin *a)
{
	return of_target(a, remove_one);
}

int
scst_add_drv_attr(struct admin *a)
{
	return strcmp(a->order.name, "iscsi") == 0
	           ? each(a, NULL, set_one)
	           : act_none(a, "driver %s: only iSCSI has attributes", a->order.name);
}

int
scst_rem_drv_attr(struct admin *a)
{
	return strcmp(a->order.name, "iscsi") == 0
	           ? each(a, NULL, remove_one)
	           : act_none(a, "driver %s: only iSCSI has attributes", a->order.name);
}
