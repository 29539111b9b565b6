/* SPDX-License-Identifier: BSD-2-Clause */
/* Portals, targets and chap objects as edits. */
#include <string.h>

#include "daemon/change_priv.h"

/* ---- portals -------------------------------------------------------------------------------------- */

int
edit_portal_create(struct change *c)
{
	struct conf_edit *e;
	if (edit_new(c, CONF_KIND_PORTAL, edit_text_param(c, "name"), &e) < 0)
		return -1;
	if (edit_set(c, e, "listen", json_object_get(c->params, "listen")) < 0) {
		conf_edit_destroy(e);
		return -1;
	}
	return edit_done(c, e);
}

int
edit_portal_delete(struct change *c)
{
	const char *name = edit_text_param(c, "name");
	const struct conf *conf = c->daemon->conf;
	const struct conf_head *h;

	if (edit_find(c, CONF_KIND_PORTAL, name, &h, NULL) < 0)
		return -1;
	for (unsigned i = 0; i < conf->target_count; i++)
		for (unsigned k = 0; k < conf->targets[i].portal_count; k++)
			if (strcmp(conf->targets[i].portals[k], name) == 0)
				return change_fail(c, CTL_FAILED,
				    "target %s is found on portal %s: `terracectl target set %s "
				    "portals ...` "
				    "gives it others first",
				    conf->targets[i].name, name, conf->targets[i].name);
	return edit_remove(c, CONF_KIND_PORTAL, h, "-it");
}

int
edit_portal_set(struct change *c)
{
	return edit_set_key(c, CONF_KIND_PORTAL);
}

/* ---- targets ---------------------------------------------------------------------------------------- */

int
edit_target_create(struct change *c)
{
	struct conf_edit *e;
	if (edit_new(c, CONF_KIND_TARGET, edit_text_param(c, "name"), &e) < 0)
		return -1;
	int rc = edit_set(c, e, "portals", json_object_get(c->params, "portals"));
	if (rc == 0)
		rc = edit_set_text(c, e, "alias", edit_text_param(c, "alias"));
	if (rc == 0 && edit_bool_param(c, "open"))
		rc = edit_set_text(c, e, "open", "yes");
	if (rc < 0) {
		conf_edit_destroy(e);
		return -1;
	}
	return edit_done(c, e);
}

/* Groups and chap objects that name it from the top level go with their target. */
int
edit_target_delete(struct change *c)
{
	const struct conf_head *h;
	if (edit_find(c, CONF_KIND_TARGET, edit_text_param(c, "name"), &h, NULL) < 0 ||
	    edit_remove(c, CONF_KIND_TARGET, h, "-it") < 0)
		return -1;
	const struct conf_target *t = (const struct conf_target *)h;
	for (unsigned i = 0; i < t->group_count; i++)
		if (t->groups[i].top_level &&
		    edit_remove(
		        c, CONF_KIND_GROUP, (const struct conf_head *)&t->groups[i], "-it") < 0)
			return -1;
	for (unsigned i = 0; i < t->chap_count; i++)
		if (t->chaps[i].top_level && edit_remove(c, CONF_KIND_CHAP,
		                                 (const struct conf_head *)&t->chaps[i], "-it") < 0)
			return -1;
	return 0;
}

int
edit_target_set(struct change *c)
{
	return edit_set_key(c, CONF_KIND_TARGET);
}

/* ---- chap objects ------------------------------------------------------------------------------------- */

static int
chap_place(struct change *c, struct conf_edit *e)
{
	const char *target = edit_text_param(c, "target");
	bool discovery = edit_bool_param(c, "discovery");
	const struct conf_head *t;

	if ((target != NULL) == discovery)
		return change_fail(c, CTL_INVALID_PARAMS,
		    "a chap object is for a target (--target IQN) or for discovery (--discovery)");
	if (discovery)
		return edit_set_text(c, e, "discovery", "yes");
	if (edit_find(c, CONF_KIND_TARGET, target, &t, NULL) < 0)
		return -1;
	return edit_set_text(c, e, "target", t->name);
}

int
edit_chap_create(struct change *c)
{
	struct conf_edit *e;
	if (edit_new(c, CONF_KIND_CHAP, edit_text_param(c, "name"), &e) < 0)
		return -1;
	int rc = chap_place(c, e);
	if (rc == 0)
		rc = edit_set_text(c, e, "user", edit_text_param(c, "user"));
	if (rc == 0)
		rc = edit_set_text(c, e, "secret", edit_text_param(c, "secret"));
	if (rc == 0)
		rc = edit_set_text(c, e, "mutual_user", edit_text_param(c, "mutual_user"));
	if (rc == 0)
		rc = edit_set_text(c, e, "mutual_secret", edit_text_param(c, "mutual_secret"));
	if (rc < 0) {
		conf_edit_destroy(e);
		return -1;
	}
	return edit_done(c, e);
}

int
edit_chap_delete(struct change *c)
{
	const struct conf_head *h;
	if (edit_find(c, CONF_KIND_CHAP, edit_text_param(c, "name"), &h, NULL) < 0)
		return -1;
	return edit_remove(c, CONF_KIND_CHAP, h, "-it");
}

int
edit_chap_set(struct change *c)
{
	return edit_set_key(c, CONF_KIND_CHAP);
}
