/* SPDX-License-Identifier: BSD-2-Clause */
/* Edits of objects of conf.d: whose an object is, values of JSON as words, files of the change. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/text.h"
#include "daemon/change_priv.h"

/* ---- parameters ----------------------------------------------------------------------------------- */

const char *
edit_text_param(const struct change *c, const char *name)
{
	return json_string_value(json_object_get(c->params, name));
}

bool
edit_bool_param(const struct change *c, const char *name)
{
	return json_is_true(json_object_get(c->params, name));
}

static char *
word_of(const json_t *v)
{
	char *word = NULL;
	if (json_is_string(v))
		return strlen(json_string_value(v)) == json_string_length(v)
		           ? strdup(json_string_value(v))
		           : NULL;
	if (json_is_boolean(v))
		return strdup(json_is_true(v) ? "yes" : "no");
	if (json_is_integer(v) &&
	    asprintf(&word, "%" JSON_INTEGER_FORMAT, json_integer_value(v)) >= 0)
		return word;
	return NULL;
}

void
edit_words_fini(struct edit_words *w)
{
	for (unsigned i = 0; i < w->count; i++) {
		explicit_bzero(w->list[i], strlen(w->list[i])); /* it may be a secret */
		free(w->list[i]);
	}
	free(w->list);
	*w = (struct edit_words){0};
}

int
edit_words(struct change *c, const char *what, const json_t *value, struct edit_words *ret)
{
	size_t count = json_is_array(value) ? json_array_size(value) : 1;
	*ret = (struct edit_words){.list = calloc(count + 1, sizeof(char *))};
	if (ret->list == NULL)
		return change_no_memory(c);
	for (size_t i = 0; i < count; i++) {
		char *word = word_of(json_is_array(value) ? json_array_get(value, i) : value);
		if (word == NULL) {
			edit_words_fini(ret);
			return change_fail(c, CTL_INVALID_PARAMS,
			    "%s: a value is text, a number, true, false, or a list of them", what);
		}
		ret->list[ret->count++] = word;
	}
	if (count > 0)
		return 0;
	edit_words_fini(ret);
	return change_fail(
	    c, CTL_INVALID_PARAMS, "%s: an empty list; null takes the key away", what);
}

/* ---- finding ---------------------------------------------------------------------------------------- */

/* The n-th object of a kind; of groups and chap objects with their target (NULL: discovery's). */
static const struct conf_head *
nth(const struct conf *c, enum conf_kind kind, unsigned n, const struct conf_target **ret_target)
{
	*ret_target = NULL;
	switch (kind) {
	case CONF_KIND_CACHE:
		return n < c->cache_count ? (const struct conf_head *)&c->caches[n] : NULL;
	case CONF_KIND_LUN:
		return n < c->lun_count ? (const struct conf_head *)&c->luns[n] : NULL;
	case CONF_KIND_PORTAL:
		return n < c->portal_count ? (const struct conf_head *)&c->portals[n] : NULL;
	case CONF_KIND_TARGET:
		return n < c->target_count ? (const struct conf_head *)&c->targets[n] : NULL;
	default:
		break;
	}
	for (unsigned i = 0; i < c->target_count; i++) {
		const struct conf_target *t = &c->targets[i];
		unsigned count = kind == CONF_KIND_GROUP ? t->group_count : t->chap_count;
		*ret_target = t;
		if (n < count)
			return kind == CONF_KIND_GROUP ? (const struct conf_head *)&t->groups[n]
			                               : (const struct conf_head *)&t->chaps[n];
		n -= count;
	}
	*ret_target = NULL;
	if (kind == CONF_KIND_CHAP && n < c->discovery_chap_count)
		return (const struct conf_head *)&c->discovery_chaps[n];
	return NULL;
}

static int
not_found(struct change *c, enum conf_kind kind, const char *name)
{
	const struct conf_target *t;
	const struct conf_head *h;
	unsigned count = 0;
	while (nth(c->daemon->conf, kind, count, &t) != NULL)
		count++;
	const char **names = calloc(count + 1, sizeof *names);
	const char *near = NULL;
	for (unsigned i = 0; names != NULL && (h = nth(c->daemon->conf, kind, i, &t)) != NULL; i++)
		names[i] = h->name;
	if (names != NULL)
		near = text_nearest(name, names);
	free(names);
	return change_fail(c, CTL_NO_OBJECT, "there is no %s '%s'%s%s%s", conf_kind_to_string(kind),
	    name, near != NULL ? ": did you mean '" : "", near != NULL ? near : "",
	    near != NULL ? "'?" : "");
}

int
edit_find(struct change *c, enum conf_kind kind, const char *name, const struct conf_head **ret,
    const struct conf_target **ret_target)
{
	const struct conf_target *t;
	const struct conf_head *h, *found = NULL;
	char *lower = NULL, why[256];

	if (kind == CONF_KIND_TARGET &&
	    conf_word(CONF_WORD_ISCSI_NAME, name, &lower, why, sizeof why) == 0)
		name = lower;
	for (unsigned i = 0; (h = nth(c->daemon->conf, kind, i, &t)) != NULL; i++) {
		if (strcmp(h->name, name) != 0)
			continue;
		/* Names are there once among those of conf.d; in targets they may be there again. */
		if (found != NULL && h->owner != CONF_OWNER_COMMANDS &&
		    h->owner != CONF_OWNER_RUNTIME)
			continue;
		found = h;
		if (ret_target != NULL)
			*ret_target = t;
	}
	if (found == NULL)
		(void)not_found(c, kind, name);
	free(lower);
	*ret = found;
	return found != NULL ? 0 : -1;
}

/* ---- whose it is -------------------------------------------------------------------------------------- */

static bool
is_ours(const struct conf_head *h)
{
	return h->owner == CONF_OWNER_COMMANDS || h->owner == CONF_OWNER_RUNTIME;
}

static int
not_ours(struct change *c, enum conf_kind kind, const struct conf_head *h, const char *line)
{
	if (h->owner == CONF_OWNER_COMMAND_LINE)
		return change_fail(c, CTL_FAILED,
		    "%s %s comes from terraced's command line and stays as it is until the next "
		    "start",
		    conf_kind_to_string(kind), h->name);
	return change_fail(c, CTL_FAILED,
	    "%s %s is written in %s:%u, which no command changes: %s%s there, then `terracectl "
	    "reload`",
	    conf_kind_to_string(kind), h->name, h->pos.file, h->pos.line,
	    line[0] == '-' ? "remove " : "write ", line[0] == '-' ? line + 1 : line);
}

static int
check_place(struct change *c)
{
	if (c->daemon->options->config_file != NULL || c->runtime)
		return 0;
	return change_fail(c, CTL_FAILED,
	    "terraced runs without a configuration file, so nothing can be kept: --runtime changes "
	    "what "
	    "runs until it ends; start it with --config to keep changes");
}

static int
add_edit(
    struct change *c, enum conf_kind kind, const char *name, char *text, char *before, bool on_disk)
{
	struct conf_file *files = reallocarray(c->files, c->edit_count + 1, sizeof *files);
	if (files != NULL)
		c->files = files;
	struct change_edit *edits = reallocarray(c->edits, c->edit_count + 1, sizeof *edits);
	if (edits != NULL)
		c->edits = edits;
	char *file = conf_file_name(kind, name), *copy = strdup(name);
	if (files == NULL || edits == NULL || file == NULL || copy == NULL) {
		free(file);
		free(copy);
		conf_text_destroy(text);
		conf_text_destroy(before);
		return change_no_memory(c);
	}
	c->files[c->edit_count] = (struct conf_file){file, text, c->runtime};
	c->edits[c->edit_count++] = (struct change_edit){kind, copy, before, on_disk};
	return 0;
}

/* ---- edits ---------------------------------------------------------------------------------------------- */

static char *
text_of_node(const struct conf_node *node)
{
	struct conf_edit *e;
	if (node == NULL || conf_edit_from(node, &e) < 0)
		return NULL;
	char *text = conf_edit_text(e);
	conf_edit_destroy(e);
	return text;
}

int
edit_new(struct change *c, enum conf_kind kind, const char *name, struct conf_edit **ret)
{
	const struct conf_target *t;
	const struct conf_head *h;
	char reason[512];

	if (check_place(c) < 0)
		return -1;
	int rc = conf_edit_new(kind, name, ret, reason, sizeof reason);
	if (rc < 0)
		return rc == -ENOMEM ? change_no_memory(c)
		                     : change_fail(c, CTL_FAILED, "%s", reason);
	for (unsigned i = 0; (h = nth(c->daemon->conf, kind, i, &t)) != NULL; i++) {
		if (strcmp(h->name, conf_edit_name(*ret)) != 0)
			continue;
		conf_edit_destroy(*ret);
		if (h->pos.file != NULL)
			return change_fail(c, CTL_EXISTS, "%s %s exists already (%s:%u)",
			    conf_kind_to_string(kind), h->name, h->pos.file, h->pos.line);
		return change_fail(
		    c, CTL_EXISTS, "%s %s exists already", conf_kind_to_string(kind), h->name);
	}
	return 0;
}

int
edit_open(struct change *c, enum conf_kind kind, const struct conf_head *h, const char *line,
    struct conf_edit **ret)
{
	if (!is_ours(h))
		return not_ours(c, kind, h, line);
	if (check_place(c) < 0)
		return -1;
	return conf_edit_from(h->node, ret) < 0 ? change_no_memory(c) : 0;
}

int
edit_done(struct change *c, struct conf_edit *e)
{
	const struct conf_target *t;
	const struct conf_head *h, *was = NULL;
	enum conf_kind kind = conf_edit_kind(e);
	char *text = conf_edit_text(e), *before = NULL;
	int rc = -1;

	for (unsigned i = 0; (h = nth(c->daemon->conf, kind, i, &t)) != NULL; i++)
		if (is_ours(h) && strcmp(h->name, conf_edit_name(e)) == 0)
			was = h;
	if (was != NULL)
		before = text_of_node(was->node);
	if (text == NULL || (was != NULL && before == NULL)) {
		conf_text_destroy(text);
		conf_text_destroy(before);
		(void)change_no_memory(c);
	} else {
		rc = add_edit(c, kind, conf_edit_name(e), text, before,
		    was != NULL && was->owner == CONF_OWNER_COMMANDS);
	}
	conf_edit_destroy(e);
	return rc;
}

int
edit_remove(struct change *c, enum conf_kind kind, const struct conf_head *h, const char *line)
{
	if (!is_ours(h))
		return not_ours(c, kind, h, line);
	if (check_place(c) < 0)
		return -1;
	char *before = text_of_node(h->node);
	if (before == NULL)
		return change_no_memory(c);
	return add_edit(c, kind, h->name, NULL, before, h->owner == CONF_OWNER_COMMANDS);
}

static int
edit_failed(struct change *c, const char *key, int rc)
{
	if (rc == -ENOMEM)
		return change_no_memory(c);
	return change_fail(c, CTL_INVALID_PARAMS,
	    "%s: this value can't be written in a configuration (control characters, or too long)",
	    key);
}

int
edit_set(struct change *c, struct conf_edit *e, const char *key, const json_t *value)
{
	struct edit_words w;
	if (value == NULL)
		return 0;
	if (edit_words(c, key, value, &w) < 0)
		return -1;
	int rc = conf_edit_set(e, key, (const char *const *)w.list, w.count);
	edit_words_fini(&w);
	return rc < 0 ? edit_failed(c, key, rc) : 0;
}

int
edit_set_text(struct change *c, struct conf_edit *e, const char *key, const char *value)
{
	if (value == NULL)
		return 0;
	int rc = conf_edit_set1(e, key, value);
	return rc < 0 ? edit_failed(c, key, rc) : 0;
}

/* "KEY WORD..." for the administrator; a secret isn't shown. */
static char *
line_to_write(const char *key, const struct edit_words *w)
{
	static const char *const hidden[] = {"..."};
	if (strstr(key, "secret") != NULL && strstr(key, "_file") == NULL)
		return conf_line_text(key, hidden, 1);
	return conf_line_text(key, (const char *const *)w->list, w->count);
}

/* Keys of which an object may have several lines can't be set as a whole. */
static int
check_key(struct change *c, enum conf_kind kind, const char *key)
{
	if (strcmp(key, "lun") == 0 && kind != CONF_KIND_LUN)
		return change_fail(c, CTL_FAILED,
		    "LUNs are shown and hidden with `terracectl group map` and `group unmap`");
	if (strcmp(key, "group") == 0 || strcmp(key, "chap") == 0 ||
	    strcmp(key, "initiators") == 0) {
		if (kind == CONF_KIND_TARGET)
			return change_fail(c, CTL_FAILED,
			    "'%s' of a target is a block: use `terracectl group` and `terracectl "
			    "chap`, or "
			    "the configuration file",
			    key);
	}
	if (key[0] == '\0' || strcmp(key, "include") == 0)
		return change_fail(c, CTL_INVALID_PARAMS, "'%s' is no key of a %s", key,
		    conf_kind_to_string(kind));
	if (kind == CONF_KIND_GROUP && strcmp(key, "target") == 0)
		return change_fail(
		    c, CTL_FAILED, "a group stays with its target: create another one there");
	return 0;
}

int
edit_set_key(struct change *c, enum conf_kind kind)
{
	const char *name = edit_text_param(c, "name"), *key = edit_text_param(c, "key");
	const json_t *value = json_object_get(c->params, "value");
	const struct conf_head *h;
	struct edit_words w = {0};
	struct conf_edit *e;
	char unset[300];

	if (edit_find(c, kind, name, &h, NULL) < 0 || check_key(c, kind, key) < 0)
		return -1;
	bool take_away = value == NULL || json_is_null(value);
	if (!take_away && edit_words(c, key, value, &w) < 0)
		return -1;
	snprintf(unset, sizeof unset, "-the line '%s'", key);
	char *line = take_away ? strdup(unset) : line_to_write(key, &w);
	int rc = line == NULL ? change_no_memory(c) : edit_open(c, kind, h, line, &e);
	conf_text_destroy(line);
	if (rc == 0 && take_away)
		(void)conf_edit_unset(e, key);
	else if (rc == 0) {
		int err = conf_edit_set(e, key, (const char *const *)w.list, w.count);
		/* A secret is said in one way. */
		if (err == 0 && kind == CONF_KIND_CHAP && strcmp(key, "secret") == 0)
			(void)conf_edit_unset(e, "secret_file");
		if (err == 0 && kind == CONF_KIND_CHAP && strcmp(key, "mutual_secret") == 0)
			(void)conf_edit_unset(e, "mutual_secret_file");
		if (err < 0) {
			conf_edit_destroy(e);
			rc = edit_failed(c, key, err);
		}
	}
	edit_words_fini(&w);
	return rc < 0 ? -1 : edit_done(c, e);
}
