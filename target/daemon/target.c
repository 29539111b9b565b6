/* SPDX-License-Identifier: BSD-2-Clause */
/* Targets from the configuration: groups, users, access. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "daemon/plan.h"

static void
chap_user(const struct conf_chap *c, struct iscsi_chap_user *u)
{
	*u = (struct iscsi_chap_user){
	    .name = c->user,
	    .secret = c->secret,
	    .secret_len = strlen(c->secret),
	    .mutual_name = c->mutual_user,
	    .mutual_secret = c->mutual_secret,
	    .mutual_secret_len = c->mutual_secret != NULL ? strlen(c->mutual_secret) : 0,
	};
}

/* CHAP users are named by their object in the configuration, by their CHAP name in the protocol. */
static const char *
chap_name(const struct conf_target *t, const char *object)
{
	for (unsigned i = 0; i < t->chap_count; i++)
		if (strcmp(t->chaps[i].name, object) == 0)
			return t->chaps[i].user;
	ASSERT(false); /* conf_build() checked the names */
	return NULL;
}

static struct scsi_view *
view_of(const struct daemon_objects *o, const char *target, const char *group)
{
	char *key = daemon_view_key(target, group);
	if (key == NULL)
		return NULL;
	const struct daemon_view *v = names_find(&o->view_names, key);
	free(key);
	ASSERT(v != NULL && v->view != NULL);
	return v->view;
}

/* What a target's arguments point to while it is added. */
struct parts {
	struct iscsi_chap_user *users;
	struct iscsi_group_args *groups;
	const char ***user_lists; /* of each group */
	uint16_t *tags, *rel_ids; /* of each portal */
};

static void
parts_fini(struct parts *p, const struct conf_target *t)
{
	for (unsigned i = 0; p->user_lists != NULL && i < t->group_count; i++)
		free(p->user_lists[i]);
	free(p->user_lists);
	free(p->groups);
	free(p->users);
	free(p->tags);
	free(p->rel_ids);
}

static int
fill_groups(const struct conf_target *t, const struct daemon_objects *o, struct parts *p)
{
	for (unsigned i = 0; i < t->group_count; i++) {
		const struct conf_group *g = &t->groups[i];
		p->user_lists[i] = calloc(g->user_count + 1, sizeof *p->user_lists[i]);
		struct scsi_view *view = view_of(o, t->name, g->name);
		if (p->user_lists[i] == NULL || view == NULL)
			return -ENOMEM;
		for (unsigned u = 0; u < g->user_count; u++)
			p->user_lists[i][u] = chap_name(t, g->users[u]);
		p->groups[i] = (struct iscsi_group_args){
		    .name = g->name,
		    .initiators = (const char *const *)g->initiators,
		    .initiator_count = g->initiator_count,
		    .users = p->user_lists[i],
		    .user_count = g->user_count,
		    .view = view,
		};
	}
	return 0;
}

static int
fill_parts(
    const struct conf_target *t, const struct daemon_objects *o, uint16_t base, struct parts *p)
{
	p->users = calloc(t->chap_count + 1, sizeof *p->users);
	p->groups = calloc(t->group_count + 1, sizeof *p->groups);
	p->user_lists = calloc(t->group_count + 1, sizeof *p->user_lists);
	p->tags = calloc(t->portal_count + 1, sizeof *p->tags);
	p->rel_ids = calloc(t->portal_count + 1, sizeof *p->rel_ids);
	if (p->users == NULL || p->groups == NULL || p->user_lists == NULL || p->tags == NULL ||
	    p->rel_ids == NULL)
		return -ENOMEM;
	for (unsigned i = 0; i < t->portal_count; i++) {
		const struct daemon_portal *portal = names_find(&o->portal_names, t->portals[i]);
		ASSERT(portal != NULL && portal->tag != 0);
		p->tags[i] = portal->tag;
		p->rel_ids[i] = (uint16_t)(base + portal->tag - 1);
	}
	for (unsigned i = 0; i < t->chap_count; i++)
		chap_user(&t->chaps[i], &p->users[i]);
	return fill_groups(t, o, p);
}

static int
add_target(struct iscsi_config *config, const struct conf_target *t, const struct parts *p,
    struct scsi_view *open_view, char *reason, size_t cap)
{
	struct iscsi_target_args args = {
	    .name = t->name,
	    .alias = t->alias,
	    .rel_port_ids = p->rel_ids,
	    .users = p->users,
	    .user_count = t->chap_count,
	    .groups = p->groups,
	    .group_count = t->group_count,
	    .open_view = open_view,
	    .allow = (const char *const *)t->allow,
	    .allow_count = t->allow_count,
	    .deny = (const char *const *)t->deny,
	    .deny_count = t->deny_count,
	    .portal_tags = p->tags,
	    .portal_tag_count = t->portal_count,
	};
	iscsi_offer_default(&args.offer);
	if (t->header_digest_required)
		args.offer.header_digest = 2;
	if (t->data_digest_required)
		args.offer.data_digest = 2;
	return iscsi_config_add_target(config, &args, reason, cap);
}

static int
create_target(struct iscsi_config *config, const struct conf_target *t,
    const struct daemon_objects *o, uint16_t base, char *reason, size_t cap)
{
	struct parts parts = {0};
	struct scsi_view *open_view = NULL;
	int rc = fill_parts(t, o, base, &parts);

	if (rc == 0 && t->open && (open_view = view_of(o, t->name, NULL)) == NULL)
		rc = -ENOMEM;
	if (rc < 0)
		snprintf(reason, cap, "out of memory");
	else
		rc = add_target(config, t, &parts, open_view, reason, cap);
	parts_fini(&parts, t);
	return rc;
}

static int
create_discovery(struct iscsi_config *config, const struct conf *conf, char *reason, size_t cap)
{
	for (unsigned i = 0; i < conf->discovery_chap_count; i++) {
		struct iscsi_chap_user u;
		chap_user(&conf->discovery_chaps[i], &u);
		int rc = iscsi_config_add_discovery_user(config, &u, reason, cap);
		if (rc < 0)
			return rc;
	}
	return iscsi_config_set_access(config, (const char *const *)conf->allow, conf->allow_count,
	    (const char *const *)conf->deny, conf->deny_count, reason, cap);
}

int
target_config(const struct conf *conf, const struct daemon_objects *o, const uint16_t *bases,
    struct iscsi_config **ret, char *reason, size_t cap)
{
	struct iscsi_config *config;
	int rc = iscsi_config_create(&config);
	if (rc < 0) {
		snprintf(reason, cap, "out of memory");
		return rc;
	}
	for (unsigned i = 0; rc == 0 && i < conf->target_count; i++)
		rc = create_target(config, &conf->targets[i], o, bases[i], reason, cap);
	if (rc == 0)
		rc = create_discovery(config, conf, reason, cap);
	if (rc < 0) {
		iscsi_config_destroy(config);
		return rc;
	}
	*ret = config;
	return 0;
}
