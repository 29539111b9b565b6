/* SPDX-License-Identifier: BSD-2-Clause */
/* Who may reach what: groups, and sessions under another configuration. */
#include "iscsi/iscsi_priv.h"

#include <string.h>

#include "base/text.h"
#include "iscsi/login.h"

const struct iscsi_group *
iscsi_access_group(const struct iscsi_target *t, const char *initiator)
{
	for (unsigned g = 0; g < t->group_count; g++)
		for (unsigned i = 0; i < t->groups[g].initiator_count; i++)
			if (text_match(t->groups[g].initiators[i], initiator))
				return &t->groups[g];
	return NULL;
}

bool
iscsi_access_admits(const struct iscsi_login_env *env, const struct iscsi_target *t,
    const char *initiator, const struct iscsi_group **ret_group)
{
	const struct iscsi_group *g = iscsi_access_group(t, initiator);
	if (!iscsi_target_on_tag(t, env->portal_tag) ||
	    !subnet_list_allows(&env->config->acl, &env->peer) ||
	    !subnet_list_allows(&t->acl, &env->peer) || (!g && !t->open_view))
		return false;
	*ret_group = g;
	return true;
}

bool
iscsi_group_has_user(const struct iscsi_group *g, const char *user)
{
	for (unsigned i = 0; i < g->user_count; i++)
		if (strcmp(g->users[i]->name, user) == 0)
			return true;
	return false;
}

/* ---- sessions under another configuration --------------------------------------------------------- */

static bool
discovery_user_known(const struct iscsi_config *c, const char *user)
{
	for (unsigned i = 0; i < c->discovery_user_count; i++)
		if (strcmp(c->discovery_users[i].name, user) == 0)
			return true;
	return c->discovery_user_count == 0;
}

static bool
same_group(const struct iscsi_group *g, const char *name)
{
	return g != NULL && name != NULL ? strcmp(g->name, name) == 0 : g == NULL && name == NULL;
}

static const char *
regrant_user(const struct iscsi_group *g, const char *user)
{
	if (!g || g->user_count == 0 || iscsi_group_has_user(g, user))
		return NULL;
	return user[0] == '\0' ? "its group asks for CHAP now"
	                       : "its CHAP user may not log in any more";
}

const char *
iscsi_access_regrant(
    const struct iscsi_config *config, const struct iscsi_claim *claim, struct iscsi_grant *ret)
{
	struct iscsi_grant g = {0};
	if (!subnet_list_allows(&config->acl, claim->peer))
		return "its address is not allowed any more";
	if (claim->discovery) {
		if (!discovery_user_known(config, claim->user))
			return "its CHAP user may not discover any more";
		*ret = g;
		return NULL;
	}
	g.target = iscsi_config_find(config, claim->target);
	if (!g.target)
		return "its target is gone";
	if (!iscsi_target_on_tag(g.target, claim->portal_tag))
		return "its portal does not lead to the target any more";
	if (!subnet_list_allows(&g.target->acl, claim->peer))
		return "its address is not allowed any more";
	g.group = iscsi_access_group(g.target, claim->initiator);
	if (!g.group && !g.target->open_view)
		return "its initiator is in no group of the target any more";
	if (!same_group(g.group, claim->group))
		return "its initiator belongs to another group now";
	const char *reason = regrant_user(g.group, claim->user);
	if (reason)
		return reason;
	g.view = g.group ? g.group->view : g.target->open_view;
	if (claim->view && claim->view != g.view)
		return "its group was replaced by another of this name";
	g.rel_port_id = iscsi_target_rel_port(g.target, claim->portal_tag);
	if (claim->rel_port_id != 0 && claim->rel_port_id != g.rel_port_id)
		return "its target port got another number";
	*ret = g;
	return NULL;
}
