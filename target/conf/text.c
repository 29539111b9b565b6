/* SPDX-License-Identifier: BSD-2-Clause */
/* Configurations for people and for programs: each value with where it comes from, and as text. */
#include "conf/conf_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- what holds ------------------------------------------------------------------------------ */

/* The statement of an item in the block of its object; NULL: there is none. */
static const struct conf_node *
statement(const struct conf_node *node, const struct conf_item *i, const char *key)
{
	if (node != NULL && i->block != NULL)
		node = conf_find(node, i->block->key);
	return node != NULL ? conf_find(node, key) : NULL;
}

/* Key beside a secret that names a file: what it says is no secret. */
static const struct conf_node *
file_of_secret(const struct conf_node *node, const struct conf_item *i)
{
	char key[64];
	if (!i->secret)
		return NULL;
	snprintf(key, sizeof key, "%s_file", i->key->key);
	return statement(node, i, key);
}

static int
show_item(const struct conf *c, const struct conf_ref *ref, const struct conf_item *i,
    conf_value_fn *fn, void *ctx)
{
	const struct conf_node *node = ref->head != NULL ? ref->head->node : c->root;
	struct conf_item_name name;
	const struct conf_node *file = file_of_secret(node, i), *said = file;
	char *value =
	    file != NULL && file->word_count > 1 ? strdup(file->words[1]) : conf_item_value(i);
	struct conf_value v = {
	    .kind = ref->kind,
	    .name = ref->name,
	    .target = ref->target,
	    .key = file != NULL ? file->words[0] : conf_item_name(&name, i),
	    .value = value,
	    .owner = ref->head != NULL ? ref->head->owner
	             : c->root != NULL ? CONF_OWNER_ADMIN
	                               : CONF_OWNER_COMMAND_LINE,
	};
	char *place = NULL;

	if (value == NULL)
		return -ENOMEM;
	if (said == NULL)
		said = statement(node, i, i->key->key);
	const struct conf_pos *pos = i->pos.file != NULL ? &i->pos
	                             : said != NULL      ? &said->pos
	                                                 : NULL;
	if (pos != NULL && asprintf(&place, "%s:%u", pos->file, pos->line) < 0) {
		free(value);
		return -ENOMEM;
	}
	v.is_default = pos == NULL && (node != NULL || i->is_default);
	v.origin = place != NULL ? place : v.is_default ? "default" : "command line";
	int rc = fn(ctx, &v);
	free(value);
	free(place);
	return rc;
}

int
conf_effective(const struct conf *c, conf_value_fn *fn, void *ctx)
{
	struct conf_ref *refs;
	unsigned count;
	int rc = conf_refs(c, &refs, &count);

	if (rc < 0)
		return rc;
	for (unsigned r = 0; rc == 0 && r < count; r++) {
		struct conf_items items;
		rc = conf_items_init(&items, refs[r].kind, refs[r].object);
		for (unsigned i = 0; rc == 0 && i < items.count; i++)
			rc = show_item(c, &refs[r], &items.list[i], fn, ctx);
		conf_items_fini(&items);
	}
	free(refs);
	return rc;
}

/* ---- as text --------------------------------------------------------------------------------- */

struct printer {
	struct conf_out out;
	const struct conf_target *target; /* whose object it is; NULL: none's */
};

static void
tabs(struct printer *p, unsigned depth)
{
	while (depth-- > 0)
		conf_out(&p->out, "\t");
}

/*
 * A command line admits paths that begin in its folder, and names of users that no object can have:
 * both are written as a configuration can say them.
 */
static const char *
store_word(struct printer *p, const char *word, char *buf, size_t cap)
{
	static const char *const kinds[] = {"file:", "block:", ""};
	struct conf_why why;
	char *kept, *folder;

	int rc = conf_text_store(NULL, word, &kept, &why);
	if (rc == 0)
		free(kept);
	p->out.failed |= rc == -ENOMEM;
	if (rc != -EINVAL)
		return word;
	for (unsigned i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
		size_t len = strlen(kinds[i]);
		if (strncmp(word, kinds[i], len) != 0)
			continue;
		folder = word[len] != '/' ? getcwd(NULL, 0) : NULL;
		snprintf(buf, cap, "%s%s%s%s", kinds[i], folder != NULL ? folder : "",
		    folder != NULL ? "/" : "", word + len);
		free(folder);
		return buf;
	}
	return word;
}

static const char *
chap_word(struct printer *p, const char *name, char *buf, size_t cap)
{
	struct conf_why why;
	char *kept;

	if (p->target == NULL)
		return name;
	int rc = conf_text_name(NULL, name, &kept, &why);
	if (rc == 0)
		free(kept);
	p->out.failed |= rc == -ENOMEM;
	if (rc != -EINVAL)
		return name;
	for (unsigned i = 0; i < p->target->chap_count; i++)
		if (strcmp(p->target->chaps[i].name, name) == 0)
			snprintf(buf, cap, "user-%u", i);
	return buf;
}

static void
print_words(struct printer *p, const struct conf_item *i)
{
	char buf[CONF_WORD_MAX_BYTES + 64];

	for (unsigned w = 0; w < i->word_count; w++) {
		const char *word = conf_item_word(i, w);
		if (i->key->text == conf_text_store)
			word = store_word(p, word, buf, sizeof buf);
		else if (i->key->type == CONF_TYPE_LIST && strcmp(i->key->key, "user") == 0)
			word = chap_word(p, word, buf, sizeof buf);
		conf_out(&p->out, " ");
		conf_out_word(&p->out, word);
	}
}

static void
print_item(struct printer *p, const struct conf_item *i, unsigned depth)
{
	char number[16];

	if (i->key->type == CONF_TYPE_HOOK_LINE) {
		for (unsigned w = 0; w < i->word_count; w++) {
			const char *words[] = {i->event, conf_item_word(i, w)};
			conf_out_line(&p->out, depth, i->key->key, words, 2);
			conf_out(&p->out, "\n");
		}
		return;
	}
	tabs(p, depth);
	conf_out(&p->out, i->key->key);
	if (i->key->type == CONF_TYPE_LUN_LINE) {
		snprintf(number, sizeof number, " %u", i->number);
		conf_out(&p->out, number);
	}
	print_words(p, i);
	conf_out(&p->out, "\n");
}

/* What isn't default. Items of one block follow one another. */
static int
print_items(struct printer *p, enum conf_kind kind, const void *object, unsigned depth)
{
	const struct conf_key *block = NULL;
	struct conf_items items;
	int rc = conf_items_init(&items, kind, object);

	for (unsigned n = 0; rc == 0 && n < items.count; n++) {
		const struct conf_item *i = &items.list[n];
		if (i->is_default)
			continue;
		if (block != NULL && i->block != block) {
			tabs(p, depth);
			conf_out(&p->out, "}\n");
		}
		if (i->block != NULL && i->block != block) {
			tabs(p, depth);
			conf_out(&p->out, i->block->key);
			conf_out(&p->out, " {\n");
		}
		block = i->block;
		print_item(p, i, depth + (block != NULL));
	}
	if (block != NULL) {
		tabs(p, depth);
		conf_out(&p->out, "}\n");
	}
	conf_items_fini(&items);
	return rc;
}

static void
open_block(struct printer *p, enum conf_kind kind, const char *name, unsigned depth)
{
	conf_out_line(&p->out, depth, conf_kind_to_string(kind), &name, 1);
	conf_out(&p->out, " {\n");
}

static void
close_block(struct printer *p, unsigned depth)
{
	tabs(p, depth);
	conf_out(&p->out, "}\n");
}

static int
print_object(struct printer *p, enum conf_kind kind, const struct conf_head *h, unsigned depth)
{
	char buf[32];
	const char *name =
	    kind == CONF_KIND_CHAP ? chap_word(p, h->name, buf, sizeof buf) : h->name;

	open_block(p, kind, name, depth);
	int rc = print_items(p, kind, h, depth + 1);
	close_block(p, depth);
	return rc;
}

/* Those in the target and, apart, those of the top level. */
static int
print_guests(struct printer *p, bool top_level)
{
	const struct conf_target *t = p->target;
	unsigned depth = top_level ? 0 : 1;
	int rc = 0;

	for (unsigned i = 0; rc == 0 && i < t->chap_count; i++)
		if (t->chaps[i].top_level == top_level)
			rc = print_object(p, CONF_KIND_CHAP, (const void *)&t->chaps[i], depth);
	for (unsigned i = 0; rc == 0 && i < t->group_count; i++)
		if (t->groups[i].top_level == top_level)
			rc = print_object(p, CONF_KIND_GROUP, (const void *)&t->groups[i], depth);
	return rc;
}

static int
print_target(struct printer *p, const struct conf_target *t)
{
	p->target = t;
	open_block(p, CONF_KIND_TARGET, t->name, 0);
	int rc = print_items(p, CONF_KIND_TARGET, t, 1);
	if (rc == 0)
		rc = print_guests(p, false);
	close_block(p, 0);
	if (rc == 0)
		rc = print_guests(p, true);
	p->target = NULL;
	return rc;
}

static int
print_discovery(struct printer *p, const struct conf *c)
{
	bool opened = false;
	int rc = 0;

	for (unsigned i = 0; rc == 0 && i < c->discovery_chap_count; i++) {
		const struct conf_chap *x = &c->discovery_chaps[i];
		if (x->top_level)
			continue;
		conf_out(&p->out, opened ? "" : "discovery {\n");
		opened = true;
		rc = print_object(p, CONF_KIND_CHAP, (const void *)x, 1);
	}
	conf_out(&p->out, opened ? "}\n" : "");
	for (unsigned i = 0; rc == 0 && i < c->discovery_chap_count; i++)
		if (c->discovery_chaps[i].top_level)
			rc = print_object(
			    p, CONF_KIND_CHAP, (const void *)&c->discovery_chaps[i], 0);
	return rc;
}

char *
conf_text(const struct conf *c)
{
	struct printer p = {0};
	int rc = print_items(&p, CONF_KIND_SETTINGS, c, 0);

	for (unsigned i = 0; rc == 0 && i < c->portal_count; i++)
		rc = print_object(&p, CONF_KIND_PORTAL, (const void *)&c->portals[i], 0);
	for (unsigned i = 0; rc == 0 && i < c->cache_count; i++)
		rc = print_object(&p, CONF_KIND_CACHE, (const void *)&c->caches[i], 0);
	for (unsigned i = 0; rc == 0 && i < c->lun_count; i++)
		rc = print_object(&p, CONF_KIND_LUN, (const void *)&c->luns[i], 0);
	for (unsigned i = 0; rc == 0 && i < c->target_count; i++)
		rc = print_target(&p, &c->targets[i]);
	if (rc == 0)
		rc = print_discovery(&p, c);
	if (rc < 0)
		p.out.failed = true;
	return conf_out_take(&p.out);
}
