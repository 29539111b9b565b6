/* SPDX-License-Identifier: BSD-2-Clause */
/* An object as statements that can be changed and printed. */
#include "conf/conf_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

/* A statement: its words, the key first, and what its block holds. */
struct line {
	char **words; /* NULL-terminated */
	unsigned word_count;
	bool has_block;
	struct line *lines;
	unsigned line_count;
};

struct conf_edit {
	enum conf_kind kind;
	struct line top; /* KIND NAME { … } */
};

static void
line_fini(struct line *l)
{
	for (unsigned i = 0; i < l->word_count; i++)
		conf_wipe(l->words[i]);
	for (unsigned i = 0; i < l->line_count; i++)
		line_fini(&l->lines[i]); /* no deeper than what was parsed: CONF_DEPTH_MAX */
	free(l->words);
	free(l->lines);
	*l = (struct line){0};
}

void
conf_edit_destroy(struct conf_edit *e)
{
	if (e == NULL)
		return;
	line_fini(&e->top);
	free(e);
}

void
conf_text_destroy(char *text)
{
	conf_wipe(text);
}

/* ---- making ---------------------------------------------------------------------------------- */

/* A copy of `key` and `words`. 0, -ENOMEM. */
static int
line_init(struct line *l, const char *key, const char *const *words, unsigned count)
{
	*l = (struct line){.words = calloc(count + 2u, sizeof(char *))};
	if (l->words == NULL)
		return -ENOMEM;
	for (unsigned i = 0; i < count + 1u; i++) {
		l->words[i] = strdup(i == 0 ? key : words[i - 1]);
		if (l->words[i] == NULL) {
			line_fini(l);
			return -ENOMEM;
		}
		l->word_count++;
	}
	return 0;
}

/* Depth is bounded by CONF_DEPTH_MAX, as the node was parsed. */
static int
line_copy(struct line *l, const struct conf_node *n)
{
	const char **words = calloc(n->word_count + 1u, sizeof *words);

	if (words == NULL)
		return -ENOMEM;
	for (unsigned i = 0; i < n->word_count; i++)
		words[i] = n->words[i];
	int rc = line_init(l, words[0], words + 1, n->word_count - 1);
	free(words);
	if (rc < 0)
		return rc;
	l->has_block = n->has_block;
	l->lines = calloc(n->child_count + 1u, sizeof *l->lines);
	rc = l->lines == NULL ? -ENOMEM : 0;
	for (unsigned i = 0; rc == 0 && i < n->child_count; i++) {
		rc = line_copy(&l->lines[i], n->children[i]);
		l->line_count += rc == 0;
	}
	if (rc < 0)
		line_fini(l);
	return rc;
}

int
conf_edit_new(
    enum conf_kind kind, const char *name, struct conf_edit **ret, char *reason, size_t reason_cap)
{
	struct conf_why why = {"out of memory"};
	char *kept = NULL;
	const char *word;

	ASSERT(kind > CONF_KIND_SETTINGS && kind < CONF_KIND_COUNT);
	const struct conf_object *o = conf_schema_object(kind);
	int rc = o->name_text(NULL, name, &kept, &why);
	if (rc == -EINVAL)
		snprintf(reason, reason_cap, "'%s' is no name for %s: %s", CONF_SHOW(name),
		    o->title, why.text);
	else if (rc < 0)
		snprintf(reason, reason_cap, "%s", why.text);
	if (rc < 0)
		return rc;
	word = kept;
	struct conf_edit *e = calloc(1, sizeof *e);
	rc = e != NULL ? line_init(&e->top, conf_kind_to_string(kind), &word, 1) : -ENOMEM;
	free(kept);
	if (rc < 0) {
		free(e);
		snprintf(reason, reason_cap, "out of memory");
		return rc;
	}
	e->kind = kind;
	e->top.has_block = true;
	*ret = e;
	return 0;
}

int
conf_edit_from(const struct conf_node *node, struct conf_edit **ret)
{
	enum conf_kind kind;
	struct conf_why why;
	char *name = NULL;

	if (node->word_count != 2 || !node->has_block ||
	    conf_kind_from_string(node->words[0], &kind) < 0)
		return -EINVAL;
	int rc = conf_schema_object(kind)->name_text(NULL, node->words[1], &name, &why);
	if (rc < 0)
		return rc;
	struct conf_edit *e = calloc(1, sizeof *e);
	rc = e != NULL ? line_copy(&e->top, node) : -ENOMEM;
	if (rc < 0) {
		free(name);
		free(e);
		return rc;
	}
	conf_wipe(e->top.words[1]);
	e->top.words[1] = name;
	e->kind = kind;
	*ret = e;
	return 0;
}

enum conf_kind
conf_edit_kind(const struct conf_edit *e)
{
	return e->kind;
}

const char *
conf_edit_name(const struct conf_edit *e)
{
	return e->top.words[1];
}

/* ---- changing -------------------------------------------------------------------------------- */

static bool
word_ok(const char *word)
{
	size_t len = strlen(word);
	return len <= CONF_WORD_MAX_BYTES && conf_bytes_ok(word, len) && strchr(word, '\r') == NULL;
}

/* Could the statement be read back as what it is? */
static bool
statement_ok(const char *key, const char *const *words, unsigned count)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789_";

	if (key[0] == '\0' || strspn(key, letters) != strlen(key) ||
	    strlen(key) > CONF_WORD_MAX_BYTES || strcmp(key, "include") == 0 || count == 0)
		return false;
	for (unsigned i = 0; i < count; i++)
		if (!word_ok(words[i]))
			return false;
	return true;
}

/* Takes the line, also on failure, to stand at index `at`. */
static int
insert(struct conf_edit *e, struct line *l, unsigned at)
{
	struct line *top = &e->top;
	struct line *lines = reallocarray(top->lines, top->line_count + 1u, sizeof *lines);

	ASSERT(at <= top->line_count);
	if (lines == NULL) {
		line_fini(l);
		return -ENOMEM;
	}
	top->lines = lines;
	memmove(lines + at + 1, lines + at, (top->line_count - at) * sizeof *lines);
	lines[at] = *l;
	top->line_count++;
	return 0;
}

static void
drop(struct conf_edit *e, unsigned at)
{
	struct line *top = &e->top;
	line_fini(&top->lines[at]);
	top->line_count--;
	memmove(top->lines + at, top->lines + at + 1, (top->line_count - at) * sizeof *top->lines);
}

/* Index behind the last statement of a key; the end, without one. */
static unsigned
behind(const struct conf_edit *e, const char *key)
{
	for (unsigned i = e->top.line_count; i > 0; i--)
		if (strcmp(e->top.lines[i - 1].words[0], key) == 0)
			return i;
	return e->top.line_count;
}

int
conf_edit_add(struct conf_edit *e, const char *key, const char *const *words, unsigned count)
{
	struct line l;

	if (!statement_ok(key, words, count))
		return -EINVAL;
	int rc = line_init(&l, key, words, count);
	return rc < 0 ? rc : insert(e, &l, behind(e, key));
}

int
conf_edit_set(struct conf_edit *e, const char *key, const char *const *words, unsigned count)
{
	struct line l;
	unsigned at = e->top.line_count;

	if (!statement_ok(key, words, count))
		return -EINVAL;
	int rc = line_init(&l, key, words, count);
	if (rc < 0)
		return rc;
	for (unsigned i = e->top.line_count; i > 0; i--)
		if (strcmp(e->top.lines[i - 1].words[0], key) == 0)
			at = i - 1; /* the first one */
	/* Where the first one was; it and the others follow and go. */
	rc = insert(e, &l, at);
	for (unsigned i = e->top.line_count; rc == 0 && i > at + 1; i--)
		if (strcmp(e->top.lines[i - 1].words[0], key) == 0)
			drop(e, i - 1);
	return rc;
}

int
conf_edit_set1(struct conf_edit *e, const char *key, const char *word)
{
	return conf_edit_set(e, key, &word, 1);
}

static bool
begins_with(const struct line *l, const char *key, const char *const *words, unsigned count)
{
	if (strcmp(l->words[0], key) != 0 || l->word_count < count + 1u)
		return false;
	for (unsigned i = 0; i < count; i++)
		if (strcmp(l->words[i + 1], words[i]) != 0)
			return false;
	return true;
}

unsigned
conf_edit_remove(struct conf_edit *e, const char *key, const char *const *words, unsigned count)
{
	unsigned before = e->top.line_count;

	for (unsigned i = before; i > 0; i--)
		if (begins_with(&e->top.lines[i - 1], key, words, count))
			drop(e, i - 1);
	return before - e->top.line_count;
}

unsigned
conf_edit_unset(struct conf_edit *e, const char *key)
{
	return conf_edit_remove(e, key, NULL, 0);
}

bool
conf_edit_get(const struct conf_edit *e, const char *key, unsigned n, const char *const **ret_words,
    unsigned *ret_count)
{
	for (unsigned i = 0; i < e->top.line_count; i++) {
		const struct line *l = &e->top.lines[i];
		if (strcmp(l->words[0], key) != 0 || n-- > 0)
			continue;
		*ret_words = (const char *const *)l->words + 1;
		*ret_count = l->word_count - 1;
		return true;
	}
	return false;
}

/* ---- printing -------------------------------------------------------------------------------- */

static void
print(struct conf_out *o, const struct line *l, unsigned depth)
{
	conf_out_line(o, depth, l->words[0], (const char *const *)l->words + 1, l->word_count - 1);
	if (!l->has_block) {
		conf_out(o, "\n");
		return;
	}
	conf_out(o, " {\n");
	for (unsigned i = 0; i < l->line_count; i++)
		print(o, &l->lines[i], depth + 1);
	for (unsigned i = 0; i < depth; i++)
		conf_out(o, "\t");
	conf_out(o, "}\n");
}

char *
conf_edit_text(const struct conf_edit *e)
{
	struct conf_out o = {0};
	print(&o, &e->top, 0);
	return conf_out_take(&o);
}

char *
conf_line_text(const char *key, const char *const *words, unsigned count)
{
	struct conf_out o = {0};
	conf_out_line(&o, 0, key, words, count);
	return conf_out_take(&o);
}
