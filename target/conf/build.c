/* SPDX-License-Identifier: BSD-2-Clause */
/* Tree → objects: a walk over the schema, one handler a type. */
#include "conf/conf_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/assert.h"
#include "base/text.h"

struct build {
	const struct conf_tree *tree;
	struct conf_errors *errors;
	unsigned source; /* index of the one that was asked for last */
};

static int build_block(
    struct build *b, const struct conf_object *o, const struct conf_node *n, void *base);

/* ---- shapes of statements -------------------------------------------------------------------- */

static bool
no_block(struct build *b, const struct conf_key *k, const struct conf_node *n)
{
	if (!n->has_block)
		return true;
	conf_errors_add(
	    b->errors, &n->pos, "'%s' takes no block: write %s %s", k->key, k->key, k->argument);
	return false;
}

/* The value of KEY VALUE; NULL, with an error. */
static const char *
one_value(struct build *b, const struct conf_key *k, const struct conf_node *n)
{
	if (!no_block(b, k, n))
		return NULL;
	if (n->word_count < 2) {
		conf_errors_add(b->errors, &n->pos, "'%s' needs a value: write %s %s", k->key,
		    k->key, k->argument);
		return NULL;
	}
	if (n->word_count > 2) {
		conf_errors_add(b->errors, &n->word_pos[2],
		    "'%s' takes one value: put it in quotes if it has blanks, or end the statement "
		    "with ;",
		    k->key);
		return NULL;
	}
	return n->words[1];
}

static void *
field(const struct conf_key *k, void *base)
{
	return (char *)base + k->offset;
}

static void *
field_aux(const struct conf_key *k, void *base)
{
	return (char *)base + k->aux;
}

/* One more element, zeroed, of the array at `offset` with its count at `aux`. NULL: no memory. */
static void *
append(const struct conf_key *k, void *base, size_t size)
{
	void *list;
	unsigned *count = field_aux(k, base);

	memcpy(&list, field(k, base), sizeof list);
	/* Room grows at powers of two. */
	if ((*count & (*count - 1u)) == 0) {
		list = reallocarray(list, *count == 0 ? 1 : *count * 2u, size);
		if (list == NULL)
			return NULL;
	}
	memcpy(field(k, base), &list, sizeof list);
	void *element = (char *)list + *count * size;
	memset(element, 0, size);
	(*count)++;
	return element;
}

/* ---- plain values ------------------------------------------------------------------------------ */

/* 1, 0, or -1 with an error. */
static int
yes_or_no(struct build *b, const struct conf_key *k, const struct conf_node *n)
{
	const char *word = one_value(b, k, n);
	if (word == NULL)
		return -1;
	if (strcmp(word, "yes") == 0 || strcmp(word, "no") == 0)
		return word[0] == 'y';
	conf_errors_add(b->errors, &n->word_pos[1],
	    "'%s' is neither yes nor no: write %s yes or %s no", CONF_SHOW(word), k->key, k->key);
	return -1;
}

static int
build_bool(struct build *b, const struct conf_key *k, const struct conf_node *n, void *base)
{
	int v = yes_or_no(b, k, n);
	if (v >= 0) {
		*(bool *)field(k, base) = v > 0;
		if (k->aux != 0)
			*(bool *)field_aux(k, base) = true;
	}
	return 0;
}

static int
build_tristate(struct build *b, const struct conf_key *k, const struct conf_node *n, void *base)
{
	int v = yes_or_no(b, k, n);
	if (v >= 0)
		*(int *)field(k, base) = v;
	return 0;
}

static bool
parse_number(struct build *b, const struct conf_key *k, const struct conf_node *n, uint64_t *ret)
{
	const char *word = one_value(b, k, n);
	if (word == NULL)
		return false;
	if (text_parse_u64(word, k->max, ret) == 0 && *ret >= k->min)
		return true;
	conf_errors_add(b->errors, &n->word_pos[1], "'%s' is no %s: a number from %llu to %llu",
	    CONF_SHOW(word), k->key, (unsigned long long)k->min, (unsigned long long)k->max);
	return false;
}

static bool
parse_size(struct build *b, const struct conf_key *k, const struct conf_node *n, uint64_t *ret)
{
	char min[32], max[32];
	const char *word = one_value(b, k, n);
	if (word == NULL)
		return false;
	for (const struct conf_choice *c = k->choices; c != NULL && c->word != NULL; c++) {
		*ret = c->value;
		if (strcmp(word, c->word) == 0)
			return true;
	}
	int rc = text_parse_size(word, ret);
	if (rc == 0 && *ret >= k->min && *ret <= k->max)
		return true;
	if (rc == -EINVAL) {
		conf_errors_add(b->errors, &n->word_pos[1],
		    "'%s' is no size: write it as 512MiB, 10GiB, 2TiB or bytes", CONF_SHOW(word));
		return false;
	}
	text_format_size(k->min, min, sizeof min);
	text_format_size(k->max, max, sizeof max);
	conf_errors_add(b->errors, &n->word_pos[1], "'%s' is out of range: %s is %s to %s",
	    CONF_SHOW(word), k->key, min, max);
	return false;
}

static int
build_number(struct build *b, const struct conf_key *k, const struct conf_node *n, void *base)
{
	uint64_t v;
	ASSERT(k->size == sizeof(uint32_t) && k->max <= INT32_MAX);
	if (parse_number(b, k, n, &v)) {
		uint32_t v32 = (uint32_t)v;
		memcpy(field(k, base), &v32, sizeof v32);
	}
	return 0;
}

static int
build_size(struct build *b, const struct conf_key *k, const struct conf_node *n, void *base)
{
	uint64_t v;
	ASSERT(k->size == sizeof v);
	if (parse_size(b, k, n, &v))
		memcpy(field(k, base), &v, sizeof v);
	return 0;
}

static int
build_limit(struct build *b, const struct conf_key *k, const struct conf_node *n, void *base)
{
	uint64_t v;
	bool ok = k->type == CONF_TYPE_LIMIT ? parse_number(b, k, n, &v) : parse_size(b, k, n, &v);
	if (!ok)
		return 0;
	struct conf_limit *l = append(k, base, sizeof *l);
	if (l == NULL)
		return -ENOMEM;
	*l = (struct conf_limit){.pos = n->pos, .key = k->key, .value = v};
	return 0;
}

static int
build_choice(struct build *b, const struct conf_key *k, const struct conf_node *n, void *base)
{
	const char *words[8], *word = one_value(b, k, n);
	unsigned count = 0;

	if (word == NULL)
		return 0;
	for (const struct conf_choice *c = k->choices; c->word != NULL; c++) {
		if (strcmp(c->word, word) == 0) {
			if (k->size == sizeof(bool))
				*(bool *)field(k, base) = c->value != 0;
			else
				memcpy(field(k, base), &c->value, sizeof c->value);
			return 0;
		}
		ASSERT(count < 7);
		words[count++] = c->word;
	}
	words[count] = NULL;
	const char *near = text_nearest(word, words);
	conf_errors_add(b->errors, &n->word_pos[1],
	    "'%s' is no %s that this version knows: %s%s%s%s", CONF_SHOW(word), k->key, k->argument,
	    near != NULL ? "; did you mean '" : "", near != NULL ? near : "",
	    near != NULL ? "'?" : "");
	return 0;
}

/* ---- text -------------------------------------------------------------------------------------- */

static int
build_text(struct build *b, const struct conf_key *k, const struct conf_node *n, void *base)
{
	struct conf_why why;
	char *value;
	const char *word = one_value(b, k, n);

	if (word == NULL)
		return 0;
	int rc = k->text(k, word, &value, &why);
	if (rc == -EINVAL)
		conf_errors_add(b->errors, &n->word_pos[1], "'%s' is no %s: %s", CONF_SHOW(word),
		    k->key, why.text);
	if (rc < 0)
		return rc == -EINVAL ? 0 : rc;
	memcpy(field(k, base), &value, sizeof value);
	return 0;
}

/* A wrong value leaves "" in its place, so that the n-th value stays the n-th. */
static int
build_list(struct build *b, const struct conf_key *k, const struct conf_node *n, void *base)
{
	if (!no_block(b, k, n))
		return 0;
	if (n->word_count < 2)
		conf_errors_add(b->errors, &n->pos, "'%s' needs at least one value: write %s %s",
		    k->key, k->key, k->argument);
	for (unsigned i = 1; i < n->word_count; i++) {
		struct conf_why why;
		char *value = NULL;
		int rc = k->text(k, n->words[i], &value, &why);
		if (rc == -EINVAL) {
			conf_errors_add(b->errors, &n->word_pos[i], "%s: '%s': %s", k->key,
			    CONF_SHOW(n->words[i]), why.text);
			value = strdup("");
		}
		char **element = value != NULL ? append(k, base, sizeof *element) : NULL;
		if (element == NULL) {
			free(value);
			return -ENOMEM;
		}
		*element = value;
	}
	return 0;
}

/* ---- secrets ------------------------------------------------------------------------------------- */

static bool
others_read(const struct build *b, const struct conf_pos *pos)
{
	const struct conf_source *s = conf_tree_source(b->tree, pos);
	return s != NULL && s->is_file && (s->mode & S_IRWXO) != 0;
}

static int
build_secret(struct build *b, const struct conf_key *k, const struct conf_node *n, void *base)
{
	struct conf_why why;
	char *value = NULL, *path, *before;
	const char *word = one_value(b, k, n);
	int rc;

	if (word == NULL)
		return 0;
	memcpy(&before, field(k, base), sizeof before);
	if (before != NULL) {
		conf_errors_add(b->errors, &n->pos,
		    "the secret is there already: remove it, or this '%s'", k->key);
		return 0;
	}
	if (k->type == CONF_TYPE_SECRET_FILE) {
		path = conf_path_from(n->pos.file, word);
		rc = path != NULL ? conf_secret_read(path, &value, &why) : -ENOMEM;
		free(path);
	} else {
		if (others_read(b, &n->pos))
			conf_errors_add(b->errors, &n->word_pos[1],
			    "others may read this secret: chmod o= the file, or put the secret in "
			    "a "
			    "file of its own (%s_file)",
			    k->key);
		value = strdup(word);
		rc = value != NULL ? 0 : -ENOMEM;
	}
	if (rc == 0)
		rc = conf_secret_check(value, &why);
	if (rc == 0 && strlen(value) > CONF_SECRET_WINDOWS_MAX)
		conf_errors_remark(b->errors, &n->word_pos[1],
		    "Windows takes secrets of %u to %u characters, this one has %zu",
		    CONF_SECRET_MIN, CONF_SECRET_WINDOWS_MAX, strlen(value));
	if (rc == -EINVAL)
		conf_errors_add(b->errors, &n->word_pos[1], "%s: %s", k->key, why.text);
	if (rc < 0) {
		conf_wipe(value);
		return rc == -EINVAL ? 0 : rc;
	}
	memcpy(field(k, base), &value, sizeof value);
	return 0;
}

/* ---- lun N NAME [read_only] ---------------------------------------------------------------------- */

#define LUN_NUMBER_MAX 16383u /* SAM-5 4.7.6.4: flat space addressing */

static int
build_lun_line(struct build *b, const struct conf_key *k, const struct conf_node *n, void *base)
{
	uint64_t number = 0;

	if (!no_block(b, k, n))
		return 0;
	if (n->word_count < 3 || n->word_count > 4) {
		conf_errors_add(b->errors, &n->pos, "'lun' takes a number and a name: write lun %s",
		    k->argument);
		return 0;
	}
	if (text_parse_u64(n->words[1], LUN_NUMBER_MAX, &number) < 0) {
		conf_errors_add(b->errors, &n->word_pos[1], "'%s' is no LUN number: 0 to %u",
		    CONF_SHOW(n->words[1]), LUN_NUMBER_MAX);
		return 0;
	}
	bool read_only = n->word_count == 4;
	if (read_only && strcmp(n->words[3], "read_only") != 0)
		conf_errors_add(b->errors, &n->word_pos[3],
		    "'%s' can't stand here: only read_only can follow the name",
		    CONF_SHOW(n->words[3]));
	char *name = strdup(n->words[2]);
	struct conf_group_lun *l = name != NULL ? append(k, base, sizeof *l) : NULL;
	if (l == NULL) {
		free(name);
		return -ENOMEM;
	}
	*l = (struct conf_group_lun){
	    .pos = n->pos, .number = (unsigned)number, .lun = name, .read_only = read_only};
	return 0;
}

/* ---- on EVENT PATH --------------------------------------------------------------------------------- */

static bool
known_event(const struct build *b, const char *event)
{
	const char *const *events = b->tree->events;

	if (events == NULL || strcmp(event, "all") == 0)
		return true;
	while (*events != NULL && strcmp(*events, event) != 0)
		events++;
	return *events != NULL;
}

static int
build_hook_line(struct build *b, const struct conf_key *k, const struct conf_node *n, void *base)
{
	static const struct conf_key path_key = {.max = 4096};
	char *event = NULL, *path = NULL;
	struct conf_why why;
	unsigned at = 1;

	if (!no_block(b, k, n))
		return 0;
	if (n->word_count != 3) {
		conf_errors_add(b->errors, &n->pos,
		    "'on' takes an event and a program: write on all /usr/local/sbin/tell-me");
		return 0;
	}
	int rc = conf_text_event(NULL, n->words[1], &event, &why);
	if (rc == 0) {
		at = 2;
		rc = conf_text_path(&path_key, n->words[2], &path, &why);
	}
	if (rc == -EINVAL)
		conf_errors_add(
		    b->errors, &n->word_pos[at], "'%s': %s", CONF_SHOW(n->words[at]), why.text);
	if (rc == 0 && !known_event(b, event)) {
		const char *near = text_nearest(event, b->tree->events);
		conf_errors_add(b->errors, &n->word_pos[1], "there is no event '%s'%s%s%s",
		    CONF_SHOW(event), near != NULL ? "; did you mean '" : "",
		    near != NULL ? near : "", near != NULL ? "'?" : "");
	}
	struct conf_hook *h = rc == 0 ? append(k, base, sizeof *h) : NULL;
	if (h == NULL) {
		free(event);
		free(path);
		return rc == -EINVAL ? 0 : -ENOMEM;
	}
	*h = (struct conf_hook){.pos = n->pos, .event = event, .path = path};
	return 0;
}

/* ---- blocks -------------------------------------------------------------------------------------- */

/* NAME { … }. A wrong name is kept: what refers to it shall not be wrong as well. */
static int
build_object(struct build *b, const struct conf_key *k, const struct conf_node *n, void *base)
{
	const struct conf_object *o = k->object;
	struct conf_why why;

	if (n->word_count < 2) {
		conf_errors_add(
		    b->errors, &n->pos, "%s needs a name: write %s NAME { ... }", o->title, k->key);
	} else if (n->word_count > 2) {
		conf_errors_add(b->errors, &n->word_pos[2],
		    "'%s' can't stand here: write %s NAME { ... }", CONF_SHOW(n->words[2]), k->key);
	} else if (!n->has_block) {
		conf_errors_add(b->errors, &n->pos, "%s '%s' lacks its block: write %s %s { ... }",
		    k->key, CONF_SHOW(n->words[1]), k->key, CONF_SHOW(n->words[1]));
	}
	struct conf_head *head = append(k, base, o->size);
	if (head == NULL)
		return -ENOMEM;
	head->pos = n->pos;
	head->node = n;
	head->owner = conf_tree_owner(b->tree, &n->pos, &b->source);
	int rc = n->word_count < 2 ? -EINVAL : o->name_text(NULL, n->words[1], &head->name, &why);
	if (rc == -EINVAL) {
		if (n->word_count >= 2)
			conf_errors_add(b->errors, &n->word_pos[1], "'%s' is no name for %s: %s",
			    CONF_SHOW(n->words[1]), o->title, why.text);
		head->name = strdup(n->word_count >= 2 ? n->words[1] : "");
		rc = head->name != NULL ? 0 : -ENOMEM;
	}
	if (rc < 0)
		return rc;
	if (o->defaults != NULL)
		o->defaults(head);
	return n->has_block ? build_block(b, o, n, head) : 0;
}

static int
build_inner(struct build *b, const struct conf_key *k, const struct conf_node *n, void *base)
{
	if (n->word_count > 1)
		conf_errors_add(b->errors, &n->word_pos[1], "'%s' takes no name: write %s { ... }",
		    k->key, k->key);
	if (!n->has_block) {
		conf_errors_add(
		    b->errors, &n->pos, "'%s' lacks its block: write %s { ... }", k->key, k->key);
		return 0;
	}
	return build_block(b, k->object, n, field(k, base));
}

typedef int build_fn(
    struct build *b, const struct conf_key *k, const struct conf_node *n, void *base);

static build_fn *const handlers[CONF_TYPE_COUNT] = {
    [CONF_TYPE_BOOL] = build_bool,
    [CONF_TYPE_TRISTATE] = build_tristate,
    [CONF_TYPE_NUMBER] = build_number,
    [CONF_TYPE_SIZE] = build_size,
    [CONF_TYPE_CHOICE] = build_choice,
    [CONF_TYPE_TEXT] = build_text,
    [CONF_TYPE_LIST] = build_list,
    [CONF_TYPE_SECRET] = build_secret,
    [CONF_TYPE_SECRET_FILE] = build_secret,
    [CONF_TYPE_LIMIT] = build_limit,
    [CONF_TYPE_LIMIT_BYTES] = build_limit,
    [CONF_TYPE_LUN_LINE] = build_lun_line,
    [CONF_TYPE_HOOK_LINE] = build_hook_line,
    [CONF_TYPE_OBJECTS] = build_object,
    [CONF_TYPE_BLOCK] = build_inner,
};

/* ---- the walk ------------------------------------------------------------------------------------ */

#define KEYS_MAX 32u

/* Where else does the key belong? NULL: nowhere. Only one level is looked at, which is enough. */
static const struct conf_object *
home_of(const char *key)
{
	for (unsigned i = 0; i < conf_schema.key_count; i++) {
		const struct conf_object *o = conf_schema.keys[i].object;
		if (o != NULL && conf_schema_find(o, key) != NULL)
			return o;
	}
	return conf_schema_find(&conf_schema, key) != NULL ? &conf_schema : NULL;
}

static void
unknown_key(struct build *b, const struct conf_object *o, const struct conf_node *n)
{
	const char *keys[KEYS_MAX + 1];

	ASSERT(o->key_count <= KEYS_MAX);
	for (unsigned i = 0; i < o->key_count; i++)
		keys[i] = o->keys[i].key;
	keys[o->key_count] = NULL;
	const struct conf_object *home = home_of(n->words[0]);
	const char *near = text_nearest(n->words[0], keys);
	if (home != NULL && strcmp(home->name, o->name) == 0)
		conf_errors_add(b->errors, &n->pos,
		    "'%s' can't stand in %s of a target or of discovery: only one at the top level "
		    "says it",
		    CONF_SHOW(n->words[0]), o->title);
	else if (home != NULL)
		conf_errors_add(b->errors, &n->pos, "'%s' can't stand in %s: it belongs to %s",
		    CONF_SHOW(n->words[0]), o->title, home->title);
	else if (near != NULL)
		conf_errors_add(b->errors, &n->pos,
		    "'%s' isn't known by this version in %s; did you mean '%s'?",
		    CONF_SHOW(n->words[0]), o->title, near);
	else
		conf_errors_add(b->errors, &n->pos,
		    "'%s' isn't known by this version in %s (terrace.conf(5) lists what is)",
		    CONF_SHOW(n->words[0]), o->title);
}

static bool
may_repeat(const struct conf_key *k)
{
	return k->type == CONF_TYPE_LIST || k->type == CONF_TYPE_LUN_LINE ||
	       k->type == CONF_TYPE_HOOK_LINE || k->type == CONF_TYPE_OBJECTS;
}

static int
build_block(struct build *b, const struct conf_object *o, const struct conf_node *n, void *base)
{
	const struct conf_node *seen[KEYS_MAX] = {NULL};
	struct conf_place place;
	int rc = 0;

	ASSERT(o->key_count <= KEYS_MAX);
	for (unsigned i = 0; rc == 0 && i < n->child_count; i++) {
		const struct conf_node *child = n->children[i];
		const struct conf_key *k = conf_schema_find(o, child->words[0]);
		if (k == NULL) {
			unknown_key(b, o, child);
			continue;
		}
		unsigned idx = (unsigned)(k - o->keys);
		if (seen[idx] != NULL && !may_repeat(k)) {
			conf_errors_add(b->errors, &child->pos,
			    "'%s' is there already (%s): remove one of them", k->key,
			    conf_show_place(&place, &seen[idx]->pos, &child->pos));
			continue;
		}
		if (seen[idx] == NULL)
			seen[idx] = child;
		rc = handlers[k->type](b, k, child, base);
	}
	for (unsigned i = 0; rc == 0 && i < o->key_count; i++)
		if (o->keys[i].required && seen[i] == NULL)
			conf_errors_add(b->errors, &n->pos, "%s needs '%s': add %s %s", o->title,
			    o->keys[i].key, o->keys[i].key, o->keys[i].argument);
	return rc;
}

/* CHAP's name is the object's where no other is given. */
static int
default_users(struct conf_chap *chaps, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		if (chaps[i].user == NULL)
			chaps[i].user = strdup(chaps[i].name);
		if (chaps[i].user == NULL)
			return -ENOMEM;
	}
	return 0;
}

/* A name that no cache has is an error of the check. */
static void
resolve_caches(struct conf *c)
{
	for (unsigned i = 0; i < c->lun_count; i++) {
		struct conf_lun *l = &c->luns[i];
		for (unsigned k = 0; l->cache != NULL && k < c->cache_count; k++)
			if (c->caches[k].name != NULL && strcmp(c->caches[k].name, l->cache) == 0)
				l->has_ssd = c->caches[k].ssd != NULL;
	}
}

int
conf_build(const struct conf_tree *t, struct conf_errors *errors, struct conf **ret)
{
	struct build b = {.tree = t, .errors = errors};
	unsigned before = errors->wrong;
	struct conf *c = calloc(1, sizeof *c);

	if (c == NULL)
		return -ENOMEM;
	c->root = &t->root;
	int rc = build_block(&b, &conf_schema, &t->root, c);
	if (rc == 0)
		rc = default_users(c->chaps, c->chap_count);
	if (rc == 0)
		rc = conf_attach(c, errors);
	if (rc == 0)
		rc = default_users(c->discovery_chaps, c->discovery_chap_count);
	for (unsigned i = 0; rc == 0 && i < c->target_count; i++)
		rc = default_users(c->targets[i].chaps, c->targets[i].chap_count);
	if (rc == 0)
		resolve_caches(c);
	if (rc == 0)
		rc = conf_check(c, errors);
	conf_errors_sort(errors, t);
	if (rc == 0 && errors->wrong > before)
		rc = -EINVAL;
	if (rc < 0) {
		conf_destroy(c);
		return rc;
	}
	*ret = c;
	return 0;
}
