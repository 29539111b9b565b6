/* SPDX-License-Identifier: BSD-2-Clause */
/* cache.add, cache.remove as edits. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/change_priv.h"

/* The LUN behind this cache from now on; NULL: behind none. */
static int
move_lun(struct change *c, const char *lun, const char *cache)
{
	const struct conf_head *h;
	struct conf_edit *e;
	char line[128];

	snprintf(line, sizeof line, cache != NULL ? "cache %s" : "-the line 'cache'%s",
	    cache != NULL ? cache : "");
	if (edit_find(c, CONF_KIND_LUN, lun, &h, NULL) < 0 ||
	    edit_open(c, CONF_KIND_LUN, h, line, &e) < 0)
		return -1;
	if (cache == NULL)
		(void)conf_edit_unset(e, "cache");
	else if (edit_set_text(c, e, "cache", cache) < 0) {
		conf_edit_destroy(e);
		return -1;
	}
	return edit_done(c, e);
}

static int
create(struct change *c, const char *name)
{
	struct conf_edit *e;

	if (edit_new(c, CONF_KIND_CACHE, name, &e) < 0)
		return -1;
	int rc = edit_set_text(c, e, "ssd", edit_text_param(c, "ssd"));
	if (rc == 0)
		rc = edit_set(c, e, "size", json_object_get(c->params, "size"));
	if (rc == 0)
		rc = edit_set(c, e, "ram", json_object_get(c->params, "ram"));
	if (rc < 0) {
		conf_edit_destroy(e);
		return -1;
	}
	return edit_done(c, e);
}

static bool
repeated(const json_t *luns, size_t at)
{
	for (size_t i = 0; i < at; i++)
		if (json_equal(json_array_get(luns, i), json_array_get(luns, at)))
			return true;
	return false;
}

/* Of the list; each once. */
static int
move_luns(struct change *c, const json_t *luns, const char *cache)
{
	for (size_t i = 0; i < json_array_size(luns); i++) {
		const char *lun = json_string_value(json_array_get(luns, i));
		if (lun == NULL)
			return change_fail(c, CTL_INVALID_PARAMS, "luns: a list of names");
		if (!repeated(luns, i) && move_lun(c, lun, cache) < 0)
			return -1;
	}
	return 0;
}

int
edit_cache_add(struct change *c)
{
	const char *name = edit_text_param(c, "name");
	const json_t *luns = json_object_get(c->params, "luns");
	bool makes = json_object_get(c->params, "ssd") != NULL ||
	             json_object_get(c->params, "size") != NULL ||
	             json_object_get(c->params, "ram") != NULL;
	const struct conf_head *h;

	if (!makes && edit_find(c, CONF_KIND_CACHE, name, &h, NULL) < 0)
		return -1;
	if (!makes && json_array_size(luns) == 0)
		return change_fail(c, CTL_INVALID_PARAMS,
		    "cache %s is there: which LUNs are to be behind it?", name);
	if (makes && create(c, name) < 0)
		return -1;
	return move_luns(c, luns, name);
}

int
edit_cache_remove(struct change *c)
{
	const char *name = edit_text_param(c, "name");
	const json_t *luns = json_object_get(c->params, "luns");
	const struct conf *conf = c->daemon->conf;
	const struct conf_head *h;

	if (edit_find(c, CONF_KIND_CACHE, name, &h, NULL) < 0)
		return -1;
	for (size_t i = 0; i < json_array_size(luns); i++) {
		const char *lun = json_string_value(json_array_get(luns, i));
		const struct conf_head *l;
		if (lun == NULL || edit_find(c, CONF_KIND_LUN, lun, &l, NULL) < 0)
			return lun == NULL
			           ? change_fail(c, CTL_INVALID_PARAMS, "luns: a list of names")
			           : -1;
		const char *is = ((const struct conf_lun *)(const void *)l)->cache;
		if (is == NULL || strcmp(is, name) != 0)
			return change_fail(
			    c, CTL_FAILED, "LUN %s isn't behind cache %s", lun, name);
	}
	if (json_array_size(luns) > 0)
		return move_luns(c, luns, NULL);
	if (edit_remove(c, CONF_KIND_CACHE, h, "-it") < 0)
		return -1;
	for (unsigned i = 0; i < conf->lun_count; i++)
		if (conf->luns[i].cache != NULL && strcmp(conf->luns[i].cache, name) == 0 &&
		    move_lun(c, conf->luns[i].name, NULL) < 0)
			return -1;
	return 0;
}
