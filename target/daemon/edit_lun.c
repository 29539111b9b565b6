/* SPDX-License-Identifier: BSD-2-Clause */
/* lun.create, delete, set, resize as edits. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "daemon/change_priv.h"

static int
set_options(struct change *c, struct conf_edit *e)
{
	json_t *options = json_object_get(c->params, "options"), *value;
	const char *key;

	json_object_foreach(options, key, value)
	{
		if (strcmp(key, "store") == 0 || strcmp(key, "size") == 0 ||
		    strcmp(key, "mode") == 0)
			return change_fail(
			    c, CTL_INVALID_PARAMS, "options: '%s' is a parameter of its own", key);
		if (json_is_null(value))
			continue;
		if (edit_set(c, e, key, value) < 0)
			return -1;
	}
	return 0;
}

/* Where the new LUN is to be seen, if anywhere. */
static int
map_new(struct change *c, const char *name)
{
	const char *to = edit_text_param(c, "to"), *group = edit_text_param(c, "group");
	const json_t *number = json_object_get(c->params, "number");
	const struct conf_head *h;
	const struct conf_target *t;

	if (to != NULL)
		return edit_map_to_pattern(c, name);
	if (group == NULL) {
		if (json_is_integer(number) || edit_text_param(c, "target") != NULL)
			return change_fail(c, CTL_INVALID_PARAMS,
			    "a number and a target need somebody to see the LUN: say to whom with "
			    "--to "
			    "PATTERN or --group GROUP");
		return 0;
	}
	json_int_t n;
	if (edit_number_param(c, &n) < 0 || edit_find(c, CONF_KIND_GROUP, group, &h, &t) < 0)
		return -1;
	return edit_map_to_group(
	    c, (const struct conf_group *)h, t, name, n, edit_bool_param(c, "read_only"));
}

int
edit_lun_create(struct change *c)
{
	const char *name = edit_text_param(c, "name");
	bool shown = edit_text_param(c, "to") != NULL || edit_text_param(c, "group") != NULL;
	struct conf_edit *e;

	if (edit_new(c, CONF_KIND_LUN, name, &e) < 0)
		return -1;
	int rc = edit_set_text(c, e, "store", edit_text_param(c, "store"));
	if (rc == 0)
		rc = edit_set(c, e, "size", json_object_get(c->params, "size"));
	if (rc == 0)
		rc = edit_set_text(c, e, "mode", edit_text_param(c, "mode"));
	if (rc == 0)
		rc = set_options(c, e);
	if (rc == 0 && !shown && edit_bool_param(c, "read_only"))
		rc = edit_set_text(c, e, "read_only", "yes");
	if (rc < 0) {
		conf_edit_destroy(e);
		return -1;
	}
	return edit_done(c, e) < 0 ? -1 : map_new(c, name);
}

/* ---- delete --------------------------------------------------------------------------------------- */

static const struct conf_group_lun *
line_of(const struct conf_group_lun *luns, unsigned count, const char *lun)
{
	for (unsigned i = 0; i < count; i++)
		if (strcmp(luns[i].lun, lun) == 0)
			return &luns[i];
	return NULL;
}

/* Takes the LUN from an object that shows it; one that was made just for it goes with it. */
static int
hide(struct change *c, enum conf_kind kind, const struct conf_head *h, const char *lun,
    const struct conf_group_lun *line, bool alone)
{
	char number[16], text[64];
	const char *const word = number;
	struct conf_edit *e;

	snprintf(number, sizeof number, "%u", line->number);
	snprintf(text, sizeof text, "-the line 'lun %u'", line->number);
	if (alone)
		return edit_remove(c, kind, h, text);
	if (edit_open(c, kind, h, text, &e) < 0)
		return -1;
	(void)conf_edit_remove(e, "lun", &word, 1);
	(void)lun;
	return edit_done(c, e);
}

int
edit_lun_delete(struct change *c)
{
	const char *name = edit_text_param(c, "name");
	const struct conf *conf = c->daemon->conf;
	const struct conf_head *h;

	if (edit_find(c, CONF_KIND_LUN, name, &h, NULL) < 0 ||
	    edit_remove(c, CONF_KIND_LUN, h, "-it") < 0)
		return -1;
	for (unsigned i = 0; i < conf->target_count; i++) {
		const struct conf_target *t = &conf->targets[i];
		const struct conf_group_lun *line = line_of(t->luns, t->lun_count, name);
		if (line != NULL &&
		    hide(c, CONF_KIND_TARGET, (const struct conf_head *)t, name, line, false) < 0)
			return -1;
		for (unsigned k = 0; k < t->group_count; k++) {
			const struct conf_group *g = &t->groups[k];
			line = line_of(g->luns, g->lun_count, name);
			bool alone = g->lun_count == 1 && strcmp(g->name, name) == 0;
			if (line != NULL && hide(c, CONF_KIND_GROUP, (const struct conf_head *)g,
			                        name, line, alone) < 0)
				return -1;
		}
	}
	const struct daemon_lun *l = daemon_lun_find(c->daemon, name);
	/* What was in memory is gone: whatever comes under this name is another disk. */
	bool forget =
	    edit_bool_param(c, "discard") || daemon_is_memory(((const struct conf_lun *)h)->store);
	if (forget && l != NULL && l->canonical != NULL) {
		c->forget = strdup(l->canonical);
		if (c->forget == NULL)
			return change_no_memory(c);
	}
	return 0;
}

/* ---- set, resize ------------------------------------------------------------------------------------ */

int
edit_lun_set(struct change *c)
{
	return edit_set_key(c, CONF_KIND_LUN);
}

int
edit_lun_resize(struct change *c)
{
	const char *name = edit_text_param(c, "name");
	const json_t *size = json_object_get(c->params, "size");
	const struct daemon_lun *l = daemon_lun_find(c->daemon, name);
	const struct conf_head *h;
	struct edit_words w;
	struct conf_edit *e;
	uint64_t bytes;
	char line[64];

	if (edit_find(c, CONF_KIND_LUN, name, &h, NULL) < 0)
		return -1;
	if (l == NULL || l->blk == NULL)
		return change_fail(c, CTL_FAILED, "the store of LUN %s isn't open: %s", name,
		    l != NULL && l->why != NULL ? l->why : "it comes back by itself");
	if (change_resizes(c, l) < 0)
		return -1;
	if (size == NULL)
		return 0; /* the size that the store has */
	if (edit_words(c, "size", size, &w) < 0)
		return -1;
	int rc = w.count == 1 ? text_parse_size(w.list[0], &bytes) : -1;
	edit_words_fini(&w);
	if (rc < 0)
		return change_fail(
		    c, CTL_INVALID_PARAMS, "size: write it as 512MiB, 10GiB or a number of bytes");
	/* A device has the size that it has: there is nothing to write. */
	if (bytes == blk_get_info(l->blk)->size_bytes)
		return 0;
	text_format_size(bytes, line, sizeof line);
	char text[80];
	snprintf(text, sizeof text, "size %" PRIu64, bytes);
	if (edit_open(c, CONF_KIND_LUN, h, text, &e) < 0)
		return -1;
	if (edit_set(c, e, "size", size) < 0) {
		conf_edit_destroy(e);
		return -1;
	}
	return edit_done(c, e);
}
