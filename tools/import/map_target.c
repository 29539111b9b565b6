/* SPDX-License-Identifier: BSD-2-Clause */
/* Targets, groups, users and access lists of SCST → those of terrace.conf(5). */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "tools/import/import_priv.h"

#define SECRET_MIN 12u

/* Attributes of targets that nothing has to be done for; told where `text` says what is different. */
static const struct {
	const char *name, *text;
	enum import_severity severity;
} target_others[] = {
    {"enabled", NULL, IMPORT_REMARK},
    {"IncomingUser", NULL, IMPORT_REMARK},
    {"OutgoingUser", NULL, IMPORT_REMARK},
    {"Alias", NULL, IMPORT_REMARK},
    {"HeaderDigest", NULL, IMPORT_REMARK},
    {"DataDigest", NULL, IMPORT_REMARK},
    {"allowed_portal", NULL, IMPORT_REMARK},
    {"rel_tgt_id", "port numbers are given when a portal is first used", IMPORT_REMARK},
    {"QueuedCommands", "the window follows what an initiator uses: see limits", IMPORT_REMARK},
    {"MaxSessions", "see limits { sessions_per_initiator_max }", IMPORT_REMARK},
    {"InitialR2T", NULL, IMPORT_REMARK}, /* negotiated, the best for both */
    {"ImmediateData", NULL, IMPORT_REMARK},
    {"MaxRecvDataSegmentLength", NULL, IMPORT_REMARK},
    {"MaxXmitDataSegmentLength", NULL, IMPORT_REMARK},
    {"MaxBurstLength", NULL, IMPORT_REMARK},
    {"FirstBurstLength", NULL, IMPORT_REMARK},
    {"MaxOutstandingR2T", NULL, IMPORT_REMARK},
    {"MaxConnections", NULL, IMPORT_REMARK},
    {"DefaultTime2Wait", NULL, IMPORT_REMARK},
    {"DefaultTime2Retain", NULL, IMPORT_REMARK},
    {"DataPDUInOrder", NULL, IMPORT_REMARK},
    {"DataSequenceInOrder", NULL, IMPORT_REMARK},
    {"ErrorRecoveryLevel", NULL, IMPORT_REMARK},
    {"RspTimeout", "see limits", IMPORT_REMARK},
    {"NopInInterval", "see limits { nop_interval_ms }", IMPORT_REMARK},
    {"NopInTimeout", "see limits { nop_timeout_ms }", IMPORT_REMARK},
    {"addr_method", NULL, IMPORT_REMARK},
    {"cpu_mask", "threads aren't bound to processors: see loops", IMPORT_REMARK},
    {"io_grouping_type", NULL, IMPORT_REMARK},
    {"black_hole", NULL, IMPORT_REMARK},
    {"comment", NULL, IMPORT_REMARK},
    {"forwarding", "nothing is forwarded to another target", IMPORT_LOST},
    {"redirect", "initiators aren't redirected", IMPORT_LOST},
    {"per_portal_acl", "groups match initiators by name only", IMPORT_LOST},
};

/* Of TARGET_DRIVER iscsi, or the first part of iscsi-scstd.conf. */
static const char *const driver_known[] = {"enabled", "IncomingUser", "OutgoingUser", "link_local"};

/* ---- users ------------------------------------------------------------------------------------------------- */

static bool
has_users(const struct scst_attrs *a)
{
	return scst_attr_find(a, "IncomingUser") != NULL;
}

/* "user secret" as two values, or as one in quotes. */
static bool
user_of(struct import *im, const struct scst_attr *a, char **user, char **secret)
{
	char *rest = NULL;

	*user = *secret = NULL;
	if (a->value_count >= 2) {
		*user = a->values[0];
		*secret = a->values[1];
	} else if (a->value_count == 1) {
		char *both = import_strdup(im, a->values[0]);
		*user = both != NULL ? strtok_r(both, " \t", &rest) : NULL;
		*secret = *user != NULL ? strtok_r(NULL, " \t", &rest) : NULL;
	}
	return *user != NULL && *secret != NULL;
}

/* False: some user can't be carried over, and without it everybody would be let in. */
static bool
users_fit(struct import *im, const struct scst_attrs *a)
{
	bool fit = true;

	for (unsigned i = 0; i < a->count; i++) {
		char *user, *secret;
		if (strcasecmp(a->list[i].name, "IncomingUser") != 0)
			continue;
		if (!user_of(im, &a->list[i], &user, &secret)) {
			import_tell(
			    im, &a->list[i].pos, IMPORT_LOST, "expected IncomingUser NAME SECRET");
			fit = false;
		} else if (strlen(secret) < SECRET_MIN) {
			import_tell(im, &a->list[i].pos, IMPORT_LOST,
			    "the secret of user '%s' is shorter than %u characters: give it a "
			    "longer one "
			    "on both sides",
			    user, SECRET_MIN);
			fit = false;
		}
	}
	return fit;
}

/* The `n`-th user's object. */
static char *
chap_name(struct import *im, const char *user, unsigned n)
{
	return n == 0 ? import_name(im, user)
	              : import_sprintf(im, "%.60s-%u", import_name(im, user), n);
}

/* chap objects for all users; their names in `names`, of which there are as many as users. */
static unsigned
put_users(struct import *im, FILE *out, const struct scst_attrs *a, char **names)
{
	const struct scst_attr *mutual = scst_attr_find(a, "OutgoingUser");
	char *mutual_user = NULL, *mutual_secret = NULL;
	unsigned count = 0;

	if (mutual != NULL && (!user_of(im, mutual, &mutual_user, &mutual_secret) ||
	                          strlen(mutual_secret) < SECRET_MIN)) {
		import_tell(im, &mutual->pos, IMPORT_LOST,
		    "OutgoingUser needs a name and a secret of at least %u characters", SECRET_MIN);
		mutual_user = NULL;
	}
	for (unsigned i = 0; i < a->count; i++) {
		char *user, *secret;
		if (strcasecmp(a->list[i].name, "IncomingUser") != 0 ||
		    !user_of(im, &a->list[i], &user, &secret))
			continue;
		names[count] = chap_name(im, user, 0);
		for (unsigned k = 0; k < count; k++)
			if (names[k] != NULL && names[count] != NULL &&
			    strcmp(names[k], names[count]) == 0)
				names[count] = chap_name(im, user, count + 1);
		fprintf(out, "    chap %s {\n", names[count] != NULL ? names[count] : "");
		count++;
		import_put(im, out, 2, "user", user);
		import_put(im, out, 2, "secret", secret);
		im->has_secrets = true;
		if (mutual_user != NULL && strcmp(secret, mutual_secret) == 0) {
			import_tell(im, &mutual->pos, IMPORT_LOST,
			    "OutgoingUser has the secret of '%s': the target needs one of its own",
			    user);
		} else if (mutual_user != NULL) {
			import_put(im, out, 2, "mutual_user", mutual_user);
			import_put(im, out, 2, "mutual_secret", mutual_secret);
		}
		fputs("    }\n", out);
	}
	return count;
}

/* ---- LUNs and groups --------------------------------------------------------------------------------------- */

void
import_put_luns(struct import *im, FILE *out, unsigned depth, const struct scst_luns *luns)
{
	for (unsigned i = 0; i < luns->count; i++) {
		const struct scst_lun *l = &luns->list[i];
		const struct scst_device *d = scst_device_find(&im->scst, l->device);
		if (d == NULL) {
			import_tell(im, &l->pos, IMPORT_LOST, "LUN %u: there is no device '%s'",
			    (unsigned)l->number, l->device);
			continue;
		}
		if (d->lun == NULL)
			continue; /* was told with the device */
		fprintf(out, "%*slun %u %s%s\n", (int)(4 * depth), "", (unsigned)l->number, d->lun,
		    scst_attr_is_on(&l->attrs, "read_only") ? " read_only" : "");
	}
}

static void
put_user_names(FILE *out, char *const *names, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		fprintf(out, "        user %s\n", names[i] != NULL ? names[i] : "");
}

/* Fibre Channel and InfiniBand names in a group that iSCSI initiators go through, too. */
static bool
is_iscsi_pattern(const char *p)
{
	const char *bare = p + strspn(p, "!");
	return strncasecmp(bare, "0x", 2) != 0 &&
	       strspn(bare, "0123456789abcdefABCDEF:") != strlen(bare);
}

static void
put_group(struct import *im, FILE *out, const struct scst_group *g, char *const *users,
    unsigned user_count)
{
	unsigned patterns = 0;

	for (unsigned i = 0; i < g->pattern_count; i++)
		patterns += is_iscsi_pattern(g->patterns[i].text);
	if (patterns < g->pattern_count)
		import_tell(im, &g->pos, IMPORT_REMARK,
		    "group '%s': names of Fibre Channel and SRP initiators are left out of iSCSI "
		    "targets",
		    g->name);
	if (patterns == 0) {
		import_tell(im, &g->pos, IMPORT_REMARK,
		    "group '%s' has no initiators: it matched nobody", g->name);
		return;
	}
	fprintf(out, "    group %s {\n", import_name(im, g->name));
	for (unsigned i = 0; i < g->pattern_count; i++)
		if (is_iscsi_pattern(g->patterns[i].text))
			import_put(im, out, 2, "initiators", g->patterns[i].text);
	put_user_names(out, users, user_count);
	import_put_luns(im, out, 2, &g->luns);
	fputs("    }\n", out);
}

/* LUNs for whom no group matches. */
void
import_put_everyone(struct import *im, FILE *out, const struct import_pos *pos,
    const struct scst_luns *luns, char *const *users, unsigned user_count)
{
	unsigned served = 0;

	for (unsigned i = 0; i < luns->count; i++) {
		const struct scst_device *d = scst_device_find(&im->scst, luns->list[i].device);
		served += d == NULL || d->lun != NULL;
	}
	if (served == 0)
		return; /* none, or nothing but what filled LUN 0 */
	if (user_count > 0) {
		fputs("    group everyone {\n", out);
		import_put(im, out, 2, "initiators", "*");
		put_user_names(out, users, user_count);
		import_put_luns(im, out, 2, luns);
		fputs("    }\n", out);
		return;
	}
	import_tell(im, pos, IMPORT_REMARK,
	    "whoever reaches a portal gets these LUNs: name the initiators in a group instead");
	fputs("    open yes\n", out);
	import_put_luns(im, out, 1, luns);
}

/* Old files: groups are of all targets, Default and Default_TARGET for whom no other matches. */
static const struct scst_group *
old_default(const struct scst *s, const char *target)
{
	const struct scst_group *general = NULL;

	for (unsigned i = 0; i < s->old_group_count; i++) {
		const char *name = s->old_groups[i].name;
		if (strncmp(name, "Default_", 8) == 0 && strcasecmp(name + 8, target) == 0)
			return &s->old_groups[i];
		if (strcmp(name, "Default") == 0)
			general = &s->old_groups[i];
	}
	return general;
}

static void
put_old_groups(struct import *im, FILE *out, const struct scst_target *t, char *const *users,
    unsigned user_count)
{
	const struct scst *s = &im->scst;

	for (unsigned i = 0; i < s->old_group_count; i++)
		if (strncmp(s->old_groups[i].name, "Default", 7) != 0 ||
		    (s->old_groups[i].name[7] != '\0' && s->old_groups[i].name[7] != '_'))
			put_group(im, out, &s->old_groups[i], users, user_count);
	const struct scst_group *d = old_default(s, t->name);
	if (d != NULL)
		import_put_everyone(im, out, &d->pos, &d->luns, users, user_count);
}

/* ---- targets ------------------------------------------------------------------------------------------------- */

static void
put_digest(
    struct import *im, FILE *out, const struct scst_attrs *a, const char *attr, const char *key)
{
	const char *v = scst_attr_value(a, attr);

	if (v != NULL && strcasecmp(v, "CRC32C") == 0)
		import_put(im, out, 1, key, "required");
}

static void
tell_target(struct import *im, const struct scst_target *t)
{
	for (unsigned k = 0; k < t->attrs.count; k++) {
		const struct scst_attr *a = &t->attrs.list[k];
		bool known = false;
		for (size_t i = 0; i < sizeof target_others / sizeof target_others[0] && !known;
		     i++) {
			known = strcasecmp(target_others[i].name, a->name) == 0;
			bool off = a->value_count == 0 || strcmp(a->values[0], "0") == 0;
			if (known && target_others[i].text != NULL &&
			    !(off && target_others[i].severity == IMPORT_LOST))
				import_tell(im, &a->pos, target_others[i].severity, "%s: %s",
				    a->name, target_others[i].text);
		}
		if (!known)
			import_tell(
			    im, &a->pos, IMPORT_LOST, "%s: an attribute that isn't known", a->name);
	}
}

static bool
uses_all_addresses(const struct scst_attrs *a)
{
	bool any = false;

	for (unsigned i = 0; i < a->count; i++) {
		if (strcasecmp(a->list[i].name, "allowed_portal") != 0 ||
		    a->list[i].value_count == 0)
			continue;
		any = true;
		if (strpbrk(a->list[i].values[0], "*?!") != NULL)
			return true;
	}
	return !any;
}

/* Addresses of ours that the target was reached by; with a pattern in them: all. */
static const char *
portal_of(struct import *im, FILE *out, const struct scst_target *t)
{
	char *listen = NULL;
	const struct scst_attr *last = NULL;

	for (unsigned i = 0; i < t->attrs.count; i++) {
		const struct scst_attr *a = &t->attrs.list[i];
		if (strcasecmp(a->name, "allowed_portal") != 0 || a->value_count == 0)
			continue;
		last = a;
		if (strpbrk(a->values[0], "*?!") != NULL) {
			import_tell(im, &a->pos, IMPORT_LOST,
			    "allowed_portal %s: a portal lists its addresses; all addresses of "
			    "this machine "
			    "are listened on until you write those that are meant",
			    a->values[0]);
			return "all";
		}
		const char *address = strchr(a->values[0], ':') != NULL && a->values[0][0] != '['
		                          ? import_sprintf(im, "[%s]", a->values[0])
		                          : a->values[0];
		listen = import_sprintf(
		    im, "%s%s%s", listen != NULL ? listen : "", listen != NULL ? " " : "", address);
	}
	if (last == NULL || listen == NULL)
		return "all";
	char *name = import_sprintf(im, "line-%u", last->pos.line);
	fprintf(out, "portal %s { listen %s }\n", name != NULL ? name : "", listen);
	return name;
}

static bool
is_off(const struct scst_attrs *a)
{
	const char *v = scst_attr_value(a, "enabled");
	return v != NULL && strcmp(v, "0") == 0;
}

static void
put_target(struct import *im, FILE *out, const struct scst_target *t)
{
	const char *alias = scst_attr_value(&t->attrs, "Alias");
	char **users = import_alloc(im, (t->attrs.count + 1) * sizeof *users);
	unsigned user_count;

	if (users == NULL)
		return;
	const char *portal = portal_of(im, out, t);
	fprintf(out, "target %s {\n    portals %s\n", t->name, portal != NULL ? portal : "");
	if (alias != NULL)
		import_put(im, out, 1, "alias", alias);
	put_digest(im, out, &t->attrs, "HeaderDigest", "header_digest");
	put_digest(im, out, &t->attrs, "DataDigest", "data_digest");
	import_map_access(im, out, t->name, 1);
	user_count = put_users(im, out, &t->attrs, users);
	for (unsigned i = 0; i < t->group_count; i++)
		put_group(im, out, &t->groups[i], users, user_count);
	put_old_groups(im, out, t, users, user_count);
	import_put_everyone(im, out, &t->pos, &t->luns, users, user_count);
	fputs("}\n", out);
	tell_target(im, t);
}

static bool
is_iscsi_name(const char *name)
{
	return strncasecmp(name, "iqn.", 4) == 0 || strncasecmp(name, "eui.", 4) == 0 ||
	       strncasecmp(name, "naa.", 4) == 0;
}

/* A target as it is written, perhaps as a comment: it was off. */
struct written {
	const struct scst_target *target;
	bool off;
};

static void
write_target(struct import *im, FILE *out, void *object)
{
	struct written *w = object;
	const struct scst_target *t = w->target;

	if (strcmp(t->driver, "ib_srpt") == 0)
		import_put_srp_target(im, out, t);
	else if (users_fit(im, &t->attrs))
		put_target(im, out, t);
	else
		import_tell(im, &t->pos, IMPORT_LOST,
		    "target '%s': left out, since it would admit without a password", t->name);
	w->off = is_off(&t->attrs);
	if (w->off)
		import_tell(im, &t->pos, IMPORT_REMARK,
		    "target '%s' wasn't enabled: it is written as a comment", t->name);
}

static void
map_target(struct import *im, FILE *out, const struct scst_target *t)
{
	struct written w = {.target = t};

	if (strcmp(t->driver, "copy_manager") == 0)
		return; /* EXTENDED COPY needs no target here */
	bool srp = strcmp(t->driver, "ib_srpt") == 0;
	if (!srp && (strcmp(t->driver, "iscsi") != 0 || !is_iscsi_name(t->name))) {
		import_tell(im, &t->pos, IMPORT_LOST,
		    "target '%s' of driver %s isn't served: only iSCSI and SRP are", t->name,
		    t->driver);
		return;
	}
	import_put_noted(im, out, write_target, &w, &w.off);
}

/* Who may ask for the list of targets. */
static void
map_drivers(struct import *im, FILE *out)
{
	for (unsigned i = 0; i < im->scst.driver_count; i++) {
		const struct scst_driver *d = &im->scst.drivers[i];
		bool iscsi = strcmp(d->name, "iscsi") == 0;
		for (unsigned k = 0; iscsi && k < d->attrs.count; k++) {
			const struct scst_attr *a = &d->attrs.list[k];
			bool known = false;
			for (size_t n = 0; n < sizeof driver_known / sizeof driver_known[0]; n++)
				known = known || strcasecmp(driver_known[n], a->name) == 0;
			if (!known)
				import_tell(im, &a->pos, IMPORT_LOST, "%s: %s", a->name,
				    strncasecmp(a->name, "iSNS", 4) == 0
				        ? "iSNS isn't used: initiators discover by address"
				        : "a setting that isn't known");
		}
		if (!iscsi || !has_users(&d->attrs))
			continue;
		char **names = import_alloc(im, (d->attrs.count + 1) * sizeof *names);
		if (names == NULL)
			return;
		if (!users_fit(im, &d->attrs)) {
			import_tell(im, &d->pos, IMPORT_LOST,
			    "discovery: without these users everybody may ask which targets there "
			    "are");
			continue;
		}
		fputs("\ndiscovery {\n", out);
		(void)put_users(im, out, &d->attrs, names);
		fputs("}\n", out);
	}
}

static bool
any_iscsi(const struct scst *s)
{
	for (unsigned i = 0; i < s->target_count; i++)
		if (strcmp(s->targets[i].driver, "iscsi") == 0)
			return true;
	return false;
}

void
import_map_targets(struct import *im, FILE *out)
{
	struct scst *s = &im->scst;
	bool all = false;

	if (!any_iscsi(s) && s->old_group_count > 0) {
		struct scst_target *t = import_grow(im, &s->targets, &s->target_count, sizeof *t);
		if (t == NULL)
			return;
		*t = (struct scst_target){.pos = s->old_groups[0].pos,
		    .driver = import_strdup(im, "iscsi"),
		    .name = import_strdup(im, im->args->target_name != NULL
		                                  ? im->args->target_name
		                                  : "iqn.2026-11.example.terrace:scst")};
		import_tell(im, &t->pos, IMPORT_REMARK,
		    "no iscsi-scstd.conf was given: the LUNs are served by the target %s", t->name);
	}
	for (unsigned i = 0; i < s->target_count; i++)
		all = all || (strcmp(s->targets[i].driver, "iscsi") == 0 &&
		                 uses_all_addresses(&s->targets[i].attrs));
	if (all)
		fputs("\n# SCST listens on all addresses; write those that are meant.\n"
		      "portal all { listen 0.0.0.0:3260 [::]:3260 }\n",
		    out);
	map_drivers(im, out);
	import_map_srp_portals(im, out);
	for (unsigned i = 0; i < s->target_count && !im->no_memory; i++)
		map_target(im, out, &s->targets[i]);
}

/* ---- access by address ------------------------------------------------------------------------------------------ */

static bool
is_for(const struct scst_access *a, const char *target)
{
	return strcasecmp(a->target, "ALL") == 0 || strcasecmp(a->target, target) == 0;
}

/* SCST asks initiators.deny first, lines of ALL and of the target alike; initiators.allow overrules it. */
void
import_map_access(struct import *im, FILE *out, const char *target, unsigned depth)
{
	const struct scst *s = &im->scst;
	const struct scst_access *allow = NULL;
	bool denies = false;

	for (unsigned i = 0; i < s->access_count; i++) {
		if (!is_for(&s->access[i], target))
			continue;
		denies = denies || s->access[i].deny;
		if (!s->access[i].deny && allow == NULL)
			allow = &s->access[i];
	}
	if (!denies && allow != NULL)
		import_tell(im, &allow->pos, IMPORT_REMARK,
		    "without a line for %s in initiators.deny every address was admitted, and is",
		    target);
	if (!denies)
		return;
	fprintf(out, "%*sinitiators {\n", (int)(4 * depth), "");
	for (unsigned i = 0; i < s->access_count; i++) {
		const struct scst_access *a = &s->access[i];
		for (unsigned k = 0; is_for(a, target) && k < a->address_count; k++) {
			char *address = a->addresses[k], *end;
			if (address[0] == '[' && (end = strchr(address, ']')) != NULL) {
				/* [2001:db8::]/32 */
				address = import_sprintf(
				    im, "%.*s%s", (int)(end - address - 1), address + 1, end + 1);
			} else if (address[0] == '\0') {
				continue;
			}
			if (address != NULL)
				import_put(im, out, depth + 1, a->deny ? "deny" : "allow", address);
		}
	}
	fprintf(out, "%*s}\n", (int)(4 * depth), "");
}
