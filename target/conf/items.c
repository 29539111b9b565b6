/* SPDX-License-Identifier: BSD-2-Clause */
/* Objects → keys and words, by the schema: for differences, for what holds, and for printing. */
#include "conf/conf_priv.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

/* Key in its object, and key in its block: what stands in the table earlier is less. */
#define RANK(outer, inner) ((uint64_t)(outer) << 48 | (uint64_t)(inner) << 32)

/* ---- list ------------------------------------------------------------------------------------ */

void
conf_items_fini(struct conf_items *items)
{
	for (unsigned i = 0; i < items->count; i++)
		free(items->list[i].made);
	free(items->list);
	*items = (struct conf_items){0};
}

static struct conf_item *
add(struct conf_items *items)
{
	if (items->count == items->cap) {
		unsigned cap = items->cap == 0 ? 16 : items->cap * 2;
		struct conf_item *list = reallocarray(items->list, cap, sizeof *list);
		if (list == NULL)
			return NULL;
		items->list = list;
		items->cap = cap;
	}
	struct conf_item *i = &items->list[items->count++];
	*i = (struct conf_item){0};
	return i;
}

/* ---- values ---------------------------------------------------------------------------------- */

struct walk {
	struct conf_items *items;
	const struct conf_key *block; /* NULL: in the object itself */
	unsigned outer;               /* index of the block */
};

static struct conf_item *
begin(struct walk *w, const struct conf_key *k, unsigned idx)
{
	struct conf_item *i = add(w->items);

	if (i == NULL)
		return NULL;
	i->key = k;
	i->block = w->block;
	i->rank = w->block != NULL ? RANK(w->outer, idx + 1) : RANK(idx, 0);
	return i;
}

/* One word; NULL: the default, and nothing at all where there is none. */
static int
one(struct walk *w, const struct conf_key *k, unsigned idx, const char *word)
{
	const char *text = word != NULL ? word : k->fallback;

	if (text == NULL)
		return 0;
	struct conf_item *i = begin(w, k, idx);
	if (i == NULL)
		return -ENOMEM;
	/* A text may happen to be the description of a default. */
	bool literal = k->type != CONF_TYPE_TEXT || k->literal;
	bool same = k->fallback != NULL && strcmp(text, k->fallback) == 0;
	i->is_default = word == NULL || (same && literal);
	i->first = text;
	i->word_count = 1;
	return 0;
}

/* The same of a text that isn't there when we return. */
static int
one_number(struct walk *w, const struct conf_key *k, unsigned idx, const char *text)
{
	unsigned at = w->items->count;
	int rc = one(w, k, idx, text);

	if (rc == 0 && text != NULL) {
		struct conf_item *i = &w->items->list[at];
		snprintf(i->number_text, sizeof i->number_text, "%s", text);
		i->first = NULL;
	}
	return rc;
}

static const void *
field(const struct conf_key *k, const void *base)
{
	return (const char *)base + k->offset;
}

static unsigned
count_of(const struct conf_key *k, const void *base)
{
	unsigned count;
	memcpy(&count, (const char *)base + k->aux, sizeof count);
	return count;
}

/* An exact size, in the largest unit that it is a whole number of. */
static const char *
size_text(char buf[32], uint64_t bytes)
{
	static const char *const units[] = {"", "KiB", "MiB", "GiB", "TiB", "PiB"};
	unsigned unit = 0;

	while (bytes != 0 && bytes % 1024 == 0 && unit + 1 < sizeof units / sizeof units[0]) {
		bytes /= 1024;
		unit++;
	}
	snprintf(buf, 32, "%" PRIu64 "%s", bytes, units[unit]);
	return buf;
}

static const char *
number_text(char buf[32], uint64_t number)
{
	snprintf(buf, 32, "%" PRIu64, number);
	return buf;
}

static int
item_bool(struct walk *w, const struct conf_key *k, unsigned idx, const void *base)
{
	bool v = *(const bool *)field(k, base);
	bool set = k->aux == 0 || *((const bool *)base + k->aux);
	return one(w, k, idx, !set ? NULL : v ? "yes" : "no");
}

static int
item_tristate(struct walk *w, const struct conf_key *k, unsigned idx, const void *base)
{
	int v;
	memcpy(&v, field(k, base), sizeof v);
	return one(w, k, idx, v < 0 ? NULL : v > 0 ? "yes" : "no");
}

/* What is out of its range was not said. */
static int
item_number(struct walk *w, const struct conf_key *k, unsigned idx, const void *base)
{
	uint32_t v;
	char buf[32];
	memcpy(&v, field(k, base), sizeof v);
	return one_number(w, k, idx, v < k->min || v > k->max ? NULL : number_text(buf, v));
}

static int
item_size(struct walk *w, const struct conf_key *k, unsigned idx, const void *base)
{
	uint64_t v;
	char buf[32];
	memcpy(&v, field(k, base), sizeof v);
	for (const struct conf_choice *c = k->choices; c != NULL && c->word != NULL; c++)
		if (c->value == v)
			return one_number(w, k, idx, c->word);
	return one_number(w, k, idx, v < k->min || v > k->max ? NULL : size_text(buf, v));
}

/* What follows from other keys holds, said or not; it is the default of this object. */
static int
item_implied(
    struct walk *w, const struct conf_key *k, unsigned idx, const void *base, const char *word)
{
	unsigned at = w->items->count, implied = k->implied(base);
	const struct conf_choice *c = k->choices;

	while (c->value != implied)
		c++;
	int rc = one(w, k, idx, word != NULL ? word : c->word);
	if (rc == 0)
		w->items->list[at].is_default = word == NULL || strcmp(word, c->word) == 0;
	return rc;
}

static int
item_choice(struct walk *w, const struct conf_key *k, unsigned idx, const void *base)
{
	unsigned v;

	if (k->size == sizeof(bool))
		v = *(const bool *)field(k, base);
	else
		memcpy(&v, field(k, base), sizeof v);
	const struct conf_choice *c = k->choices;
	while (c->word != NULL && c->value != v)
		c++;
	return k->implied != NULL ? item_implied(w, k, idx, base, c->word)
	                          : one(w, k, idx, c->word);
}

static int
item_text(struct walk *w, const struct conf_key *k, unsigned idx, const void *base)
{
	const char *text;
	memcpy(&text, field(k, base), sizeof text);
	return one(w, k, idx, text);
}

static int
item_secret(struct walk *w, const struct conf_key *k, unsigned idx, const void *base)
{
	unsigned before = w->items->count;
	const char *text;

	memcpy(&text, field(k, base), sizeof text);
	int rc = one(w, k, idx, text);
	if (rc == 0 && text != NULL) {
		ASSERT(w->items->count == before + 1);
		w->items->list[before].secret = true;
		w->items->list[before].is_default = false;
	}
	return rc;
}

static int
item_list(struct walk *w, const struct conf_key *k, unsigned idx, const void *base)
{
	const char *const *list;
	unsigned count = count_of(k, base);

	if (count == 0)
		return one(w, k, idx, NULL);
	struct conf_item *i = begin(w, k, idx);
	if (i == NULL)
		return -ENOMEM;
	memcpy(&list, field(k, base), sizeof list);
	i->list = list;
	i->word_count = count;
	return 0;
}

static int
item_limit(struct walk *w, const struct conf_key *k, unsigned idx, const void *base)
{
	const struct conf *c = base;
	uint64_t v;
	char buf[32];

	if (!conf_get_limit(c, k->key, &v))
		return one(w, k, idx, NULL);
	return one_number(
	    w, k, idx, k->type == CONF_TYPE_LIMIT ? number_text(buf, v) : size_text(buf, v));
}

/* An item a line. */
static int
item_lun_lines(struct walk *w, const struct conf_key *k, unsigned idx, const void *base)
{
	const struct conf_group_lun *luns;

	memcpy(&luns, field(k, base), sizeof luns);
	for (unsigned n = 0; n < count_of(k, base); n++) {
		struct conf_item *i = begin(w, k, idx);
		if (i == NULL)
			return -ENOMEM;
		i->rank += luns[n].number;
		i->number = luns[n].number;
		i->is_line = true;
		i->pos = luns[n].pos;
		i->first = luns[n].lun;
		i->second = "read_only";
		i->word_count = luns[n].read_only ? 2 : 1;
	}
	return 0;
}

static int
compare_hooks(const void *a, const void *b)
{
	const struct conf_hook *x = *(const struct conf_hook *const *)a,
	                       *y = *(const struct conf_hook *const *)b;
	int order = strcmp(x->event, y->event);
	return order != 0 ? order : strcmp(x->path, y->path);
}

static int
one_event(struct walk *w, const struct conf_key *k, unsigned idx,
    const struct conf_hook *const *hooks, unsigned count)
{
	struct conf_item *i = begin(w, k, idx);
	const char **paths = calloc(count, sizeof *paths);

	if (i == NULL || paths == NULL) {
		free(paths);
		return -ENOMEM;
	}
	for (unsigned n = 0; n < count; n++)
		paths[n] = hooks[n]->path;
	i->made = paths;
	i->list = paths;
	i->word_count = count;
	i->is_line = true;
	i->event = hooks[0]->event;
	i->pos = hooks[0]->pos;
	return 0;
}

/* An item an event, with its programs. */
static int
item_hook_lines(struct walk *w, const struct conf_key *k, unsigned idx, const void *base)
{
	const struct conf_hook *hooks;
	unsigned count = count_of(k, base);
	const struct conf_hook **sorted = calloc(count + 1u, sizeof *sorted);
	int rc = sorted != NULL ? 0 : -ENOMEM;

	memcpy(&hooks, field(k, base), sizeof hooks);
	for (unsigned n = 0; rc == 0 && n < count; n++)
		sorted[n] = &hooks[n];
	if (rc == 0 && count > 0)
		qsort(sorted, count, sizeof *sorted, compare_hooks);
	for (unsigned n = 0, same; rc == 0 && n < count; n += same) {
		for (same = 1; n + same < count; same++)
			if (strcmp(sorted[n + same]->event, sorted[n]->event) != 0)
				break;
		rc = one_event(w, k, idx, sorted + n, same);
	}
	free(sorted);
	return rc;
}

/* ---- the walk -------------------------------------------------------------------------------- */

typedef int item_fn(struct walk *w, const struct conf_key *k, unsigned idx, const void *base);

static item_fn *const handlers[CONF_TYPE_COUNT] = {
    [CONF_TYPE_BOOL] = item_bool,
    [CONF_TYPE_TRISTATE] = item_tristate,
    [CONF_TYPE_NUMBER] = item_number,
    [CONF_TYPE_SIZE] = item_size,
    [CONF_TYPE_CHOICE] = item_choice,
    [CONF_TYPE_TEXT] = item_text,
    [CONF_TYPE_LIST] = item_list,
    [CONF_TYPE_SECRET] = item_secret,
    [CONF_TYPE_SECRET_FILE] = NULL, /* the secret in it is that of the key beside it */
    [CONF_TYPE_LIMIT] = item_limit,
    [CONF_TYPE_LIMIT_BYTES] = item_limit,
    [CONF_TYPE_LUN_LINE] = item_lun_lines,
    [CONF_TYPE_HOOK_LINE] = item_hook_lines,
    [CONF_TYPE_OBJECTS] = NULL, /* for themselves */
    [CONF_TYPE_BLOCK] = NULL,   /* below */
};

static int
walk(struct walk *w, const struct conf_object *o, unsigned first, const void *base)
{
	int rc = 0;

	for (unsigned idx = first; rc == 0 && idx < o->key_count; idx++) {
		const struct conf_key *k = &o->keys[idx];
		if (k->type == CONF_TYPE_BLOCK) {
			struct walk inner = {.items = w->items, .block = k, .outer = idx};
			ASSERT(w->block == NULL); /* names have one dot for it */
			rc = walk(&inner, k->object, 0, field(k, base));
		} else if (handlers[k->type] != NULL) {
			rc = handlers[k->type](w, k, idx, base);
		}
	}
	return rc;
}

int
conf_item_compare(const struct conf_item *a, const struct conf_item *b)
{
	if (a->rank != b->rank)
		return a->rank < b->rank ? -1 : 1;
	return a->event != NULL && b->event != NULL ? strcmp(a->event, b->event) : 0;
}

static int
compare_items(const void *a, const void *b)
{
	return conf_item_compare(a, b);
}

int
conf_items_init(struct conf_items *items, enum conf_kind kind, const void *object)
{
	struct walk w = {.items = items};
	bool inner = (kind == CONF_KIND_GROUP && !((const struct conf_group *)object)->top_level) ||
	             (kind == CONF_KIND_CHAP && !((const struct conf_chap *)object)->top_level);

	*items = (struct conf_items){0};
	int rc = walk(&w, conf_schema_object(kind), inner ? CONF_TOP_ONLY : 0, object);
	if (rc == 0 && items->count > 0)
		qsort(items->list, items->count, sizeof *items->list, compare_items);
	return rc;
}

const char *
conf_item_word(const struct conf_item *item, unsigned idx)
{
	ASSERT(idx < item->word_count);
	if (item->list != NULL)
		return item->list[idx];
	return idx == 1 ? item->second : item->first != NULL ? item->first : item->number_text;
}

const char *
conf_item_name(struct conf_item_name *buf, const struct conf_item *item)
{
	const char *block = item->block != NULL ? item->block->key : "", *line = "";
	char number[16];

	if (item->is_line && item->event == NULL)
		snprintf(number, sizeof number, "%u", item->number);
	if (item->is_line)
		line = item->event != NULL ? item->event : number;
	snprintf(buf->text, sizeof buf->text, "%s%s%s%s%s", block, block[0] != '\0' ? "." : "",
	    item->key->key, line[0] != '\0' ? "." : "", line);
	return buf->text;
}

char *
conf_item_value(const struct conf_item *item)
{
	struct conf_out o = {0};

	if (item->secret)
		return strdup("(secret)");
	for (unsigned w = 0; w < item->word_count; w++) {
		conf_out(&o, w > 0 ? " " : "");
		conf_out(&o, conf_item_word(item, w));
	}
	return conf_out_take(&o);
}

bool
conf_item_equal(const struct conf_item *a, const struct conf_item *b)
{
	if (a->is_default && b->is_default)
		return true;
	if (a->is_default != b->is_default || a->word_count != b->word_count)
		return false;
	for (unsigned w = 0; w < a->word_count; w++)
		if (strcmp(conf_item_word(a, w), conf_item_word(b, w)) != 0)
			return false;
	return true;
}

/* ---- objects --------------------------------------------------------------------------------- */

static struct conf_ref *
add_refs(struct conf_ref *to, enum conf_kind kind, const char *target, const void *list,
    unsigned count, size_t size)
{
	for (unsigned i = 0; i < count; i++) {
		const struct conf_head *h = (const void *)((const char *)list + i * size);
		*to++ = (struct conf_ref){
		    .kind = kind, .name = h->name, .target = target, .head = h, .object = h};
	}
	return to;
}

int
conf_refs(const struct conf *c, struct conf_ref **ret, unsigned *ret_count)
{
	size_t count = 1u + c->portal_count + c->cache_count + c->lun_count + c->target_count +
	               c->discovery_chap_count;

	for (unsigned i = 0; i < c->target_count; i++)
		count += c->targets[i].chap_count + c->targets[i].group_count;
	struct conf_ref *refs = calloc(count, sizeof *refs), *to = refs;
	if (refs == NULL)
		return -ENOMEM;
	*to++ = (struct conf_ref){.kind = CONF_KIND_SETTINGS, .name = "", .object = c};
	to = add_refs(to, CONF_KIND_PORTAL, NULL, c->portals, c->portal_count, sizeof *c->portals);
	to = add_refs(to, CONF_KIND_CACHE, NULL, c->caches, c->cache_count, sizeof *c->caches);
	to = add_refs(to, CONF_KIND_LUN, NULL, c->luns, c->lun_count, sizeof *c->luns);
	to = add_refs(to, CONF_KIND_TARGET, NULL, c->targets, c->target_count, sizeof *c->targets);
	to = add_refs(to, CONF_KIND_CHAP, NULL, c->discovery_chaps, c->discovery_chap_count,
	    sizeof *c->discovery_chaps);
	for (unsigned i = 0; i < c->target_count; i++) {
		const struct conf_target *t = &c->targets[i];
		to = add_refs(
		    to, CONF_KIND_CHAP, t->name, t->chaps, t->chap_count, sizeof *t->chaps);
	}
	for (unsigned i = 0; i < c->target_count; i++) {
		const struct conf_target *t = &c->targets[i];
		to = add_refs(
		    to, CONF_KIND_GROUP, t->name, t->groups, t->group_count, sizeof *t->groups);
	}
	ASSERT((size_t)(to - refs) == count);
	*ret = refs;
	*ret_count = (unsigned)count;
	return 0;
}
