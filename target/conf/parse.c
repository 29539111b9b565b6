/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Tokens → tree. After a mistake parsing goes on at the next statement, so that all of them are
 * told; what is over a bound ends it.
 */
#include "conf/conf_priv.h"

#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/assert.h"

struct parser {
	struct conf_tree *tree;
	struct conf_errors *errors;
	struct conf_source *source;
	struct conf_lexer lexer;
	struct conf_token token; /* one token ahead */
	bool stop;               /* a bound was passed: what follows isn't read */
};

static int parse_statements(
    struct parser *p, struct conf_node *parent, unsigned depth, const struct conf_pos *open);

/* ---- nodes ----------------------------------------------------------------------------------- */

/* Depth is bounded by CONF_DEPTH_MAX. Words may be secrets. */
static void
node_fini(struct conf_node *n)
{
	for (unsigned i = 0; i < n->child_count; i++) {
		node_fini(n->children[i]);
		free(n->children[i]);
	}
	for (unsigned i = 0; i < n->word_count; i++)
		conf_wipe(n->words[i]);
	free(n->children);
	free(n->words);
	free(n->word_pos);
	*n = (struct conf_node){0};
}

static void
node_destroy(struct conf_node *n)
{
	if (n != NULL)
		node_fini(n);
	free(n);
}

/* Room for one more; arrays grow at powers of two. */
static bool
must_grow(unsigned count)
{
	return (count & (count - 1)) == 0;
}

/* Takes `child` over, also on failure. */
static int
add_child(struct conf_node *parent, struct conf_node *child)
{
	unsigned count = parent->child_count;
	if (must_grow(count)) {
		unsigned cap = count == 0 ? 1 : count * 2;
		struct conf_node **list =
		    reallocarray(parent->children, cap, sizeof(struct conf_node *));
		if (list == NULL) {
			node_destroy(child);
			return -ENOMEM;
		}
		parent->children = list;
	}
	parent->children[parent->child_count++] = child;
	return 0;
}

static void
drop_word(struct conf_token *t)
{
	if (t->kind == CONF_TOKEN_WORD)
		conf_wipe(t->word);
	t->word = NULL;
}

/* Takes the word over, also on failure. */
static int
add_word(struct conf_node *n, struct conf_token *t)
{
	unsigned count = n->word_count;
	if (must_grow(count)) {
		unsigned cap = count == 0 ? 1 : count * 2;
		char **words = reallocarray(n->words, cap, sizeof(char *));
		if (words != NULL)
			n->words = words;
		struct conf_pos *pos = reallocarray(n->word_pos, cap, sizeof *pos);
		if (pos != NULL)
			n->word_pos = pos;
		if (words == NULL || pos == NULL) {
			drop_word(t);
			return -ENOMEM;
		}
	}
	n->words[count] = t->word;
	n->word_pos[count] = t->pos;
	n->word_count++;
	return 0;
}

/* ---- tokens ---------------------------------------------------------------------------------- */

static int
advance(struct parser *p)
{
	return conf_lex(&p->lexer, &p->token);
}

/* Ends everything, this file and those that include it: one error instead of thousands. */
static void
stop(struct parser *p, const struct conf_pos *pos, const char *what, unsigned max)
{
	if (!p->stop)
		conf_errors_add(
		    p->errors, pos, "too many %s: at most %u; the rest isn't read", what, max);
	p->stop = true;
}

static bool
within_bounds(struct parser *p)
{
	if (p->tree->word_count > CONF_WORDS_MAX)
		stop(p, &p->token.pos, "words", CONF_WORDS_MAX);
	else if (p->tree->node_count > CONF_NODES_MAX)
		stop(p, &p->token.pos, "statements", CONF_NODES_MAX);
	return !p->stop;
}

/* ---- include --------------------------------------------------------------------------------- */

static bool
is_in_itself(const struct conf_source *s)
{
	for (const struct conf_source *up = s->parent; up != NULL; up = up->parent)
		if (s->is_file && up->is_file && up->dev == s->dev && up->ino == s->ino)
			return true;
	return false;
}

static int parse_source(struct conf_tree *t, struct conf_errors *errors, struct conf_source *s,
    struct conf_node *parent, unsigned depth, bool *stopped);

static int
include_file(struct parser *p, const char *path, const struct conf_pos *at,
    struct conf_node *parent, unsigned depth)
{
	struct conf_source *s;

	if (p->tree->source_count >= CONF_SOURCES_MAX) {
		stop(p, at, "included files", CONF_SOURCES_MAX);
		return 0;
	}
	if (p->source->depth >= CONF_INCLUDE_DEPTH_MAX) {
		conf_errors_add(p->errors, at, "include is nested too deep: at most %u",
		    CONF_INCLUDE_DEPTH_MAX);
		return 0;
	}
	int rc = conf_source_read(p->tree, path, at, p->errors, &s);
	if (rc < 0)
		return rc == -EINVAL ? 0 : rc;
	s->parent = p->source;
	s->include_pos = *at;
	s->depth = p->source->depth + 1;
	if (is_in_itself(s)) {
		conf_errors_add(p->errors, at, "%s includes itself: remove one of the two", path);
		conf_source_drop_text(s);
		return 0;
	}
	return parse_source(p->tree, p->errors, s, parent, depth, &p->stop);
}

/* A folder that isn't there is an empty one; one that can't be read must not look empty. */
static int
glob_failed(const char *path, int error)
{
	(void)path;
	return error != ENOENT && error != ENOTDIR;
}

static int
compare_paths(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int
include_pattern(struct parser *p, const char *pattern, const struct conf_pos *at,
    struct conf_node *parent, unsigned depth)
{
	glob_t g = {0};
	int rc = glob(pattern, GLOB_NOSORT | GLOB_NOESCAPE, glob_failed, &g);

	if (rc == GLOB_NOSPACE) {
		globfree(&g);
		return -ENOMEM;
	}
	if (rc == GLOB_ABORTED)
		conf_errors_add(
		    p->errors, at, "can't read the folder of %s: %s", pattern, strerror(errno));
	int result = 0;
	if (rc == 0 && g.gl_pathc > 0)
		qsort(g.gl_pathv, g.gl_pathc, sizeof *g.gl_pathv, compare_paths);
	for (size_t i = 0; rc == 0 && result == 0 && !p->stop && i < g.gl_pathc; i++)
		result = include_file(p, g.gl_pathv[i], at, parent, depth);
	globfree(&g);
	return result;
}

/* What exists under the whole name is that file, whatever letters it has. */
static int
include(struct parser *p, const struct conf_node *n, struct conf_node *parent, unsigned depth)
{
	struct stat st;

	if (n->has_block || n->word_count != 2 || n->words[1][0] == '\0' ||
	    strchr(n->words[1], '\n') != NULL) {
		conf_errors_add(
		    p->errors, &n->pos, "include takes one path or pattern: include conf.d/*.conf");
		return 0;
	}
	char *path = conf_path_from(p->source->path, n->words[1]);
	if (path == NULL)
		return -ENOMEM;
	bool pattern = strpbrk(path, "*?[") != NULL && lstat(path, &st) < 0;
	int rc = pattern ? include_pattern(p, path, &n->word_pos[1], parent, depth)
	                 : include_file(p, path, &n->word_pos[1], parent, depth);
	free(path);
	return rc;
}

/* ---- statements ------------------------------------------------------------------------------ */

/* Over the depth: the block is passed over without a call for each level. */
static int
skip_block(struct parser *p)
{
	unsigned level = 1;

	while (level > 0 && p->token.kind != CONF_TOKEN_END) {
		int rc = advance(p);
		if (rc < 0)
			return rc;
		drop_word(&p->token);
		level += p->token.kind == CONF_TOKEN_OPEN;
		level -= p->token.kind == CONF_TOKEN_CLOSE;
	}
	return p->token.kind == CONF_TOKEN_END ? 0 : advance(p);
}

/* At '{'; ends behind '}'. */
static int
parse_block(struct parser *p, struct conf_node *n, unsigned depth)
{
	struct conf_pos open = p->token.pos;

	ASSERT(p->token.kind == CONF_TOKEN_OPEN);
	n->has_block = true;
	if (depth >= CONF_DEPTH_MAX) {
		conf_errors_add(p->errors, &open, "blocks are nested too deep: at most %u levels",
		    CONF_DEPTH_MAX);
		return skip_block(p);
	}
	int rc = advance(p);
	return rc < 0 ? rc : parse_statements(p, n, depth + 1, &open);
}

/*
 * A '{' where a statement should begin. Written on a line of its own it belongs to the statement
 * above; anything else is read for its mistakes and forgotten.
 */
static int
stray_block(struct parser *p, struct conf_node *parent, unsigned depth)
{
	struct conf_node nobody = {0}, *n = &nobody;

	if (parent->child_count > 0) {
		struct conf_node *above = parent->children[parent->child_count - 1];
		if (!above->has_block && above->pos.file == p->token.pos.file)
			n = above;
	}
	if (n != &nobody)
		conf_errors_add(p->errors, &p->token.pos,
		    "'{' must be on the line of its '%s' (line %u): the end of a line ends a "
		    "statement",
		    CONF_SHOW(n->words[0]), n->pos.line);
	else
		conf_errors_add(p->errors, &p->token.pos,
		    "a block without a name: say before '{' what it describes");
	int rc = parse_block(p, n, depth);
	node_fini(&nobody);
	return rc;
}

/* At the first word; ends behind the statement, but before a '}' that isn't its own. */
static int
parse_statement(struct parser *p, struct conf_node *parent, unsigned depth)
{
	struct conf_node *n = calloc(1, sizeof *n);
	int rc = 0;

	if (n == NULL) {
		drop_word(&p->token);
		return -ENOMEM;
	}
	n->pos = p->token.pos;
	p->tree->node_count++;
	while (rc == 0 && p->token.kind == CONF_TOKEN_WORD) {
		p->tree->word_count++;
		rc = add_word(n, &p->token);
		if (rc == 0)
			rc = advance(p);
	}
	if (rc == 0 && p->token.kind == CONF_TOKEN_OPEN)
		rc = parse_block(p, n, depth);
	if (rc < 0) {
		node_destroy(n);
		return rc;
	}
	if (parent == &p->tree->root) {
		p->source->top_count++;
		p->source->top_last = n;
	}
	if (strcmp(n->words[0], "include") != 0)
		return add_child(parent, n);
	p->source->has_include = true;
	p->source->top_last = NULL;
	rc = p->stop ? 0 : include(p, n, parent, depth);
	node_destroy(n);
	return rc;
}

/* Until the '}' of `open` (which is passed) or, without one, the end of the source. */
static int
parse_statements(
    struct parser *p, struct conf_node *parent, unsigned depth, const struct conf_pos *open)
{
	int rc = 0;

	while (rc == 0 && within_bounds(p)) {
		switch (p->token.kind) {
		case CONF_TOKEN_WORD:
			rc = parse_statement(p, parent, depth);
			break;
		case CONF_TOKEN_OPEN:
			rc = stray_block(p, parent, depth);
			break;
		case CONF_TOKEN_CLOSE:
			if (open != NULL)
				return advance(p);
			conf_errors_add(p->errors, &p->token.pos,
			    "'}' closes nothing: remove it, or look for a missing '{' above");
			rc = advance(p);
			break;
		case CONF_TOKEN_SEMICOLON:
		case CONF_TOKEN_LINE_END:
			rc = advance(p);
			break;
		case CONF_TOKEN_END:
			if (open != NULL)
				conf_errors_add(
				    p->errors, open, "this '{' is never closed: a '}' is missing");
			return 0;
		}
	}
	return rc;
}

static int
parse_source(struct conf_tree *t, struct conf_errors *errors, struct conf_source *s,
    struct conf_node *parent, unsigned depth, bool *stopped)
{
	struct parser p = {.tree = t, .errors = errors, .source = s, .stop = *stopped};
	struct conf_pos top = {.file = s->path, .line = 1, .column = 1};

	t->total_bytes += s->text_len;
	if (t->total_bytes > CONF_TOTAL_MAX_BYTES) {
		stop(&p, &top, "bytes in all files", CONF_TOTAL_MAX_BYTES);
		*stopped = true;
		conf_source_drop_text(s);
		return 0;
	}
	conf_source_check_bytes(s, errors);
	conf_lexer_init(&p.lexer, s, errors);
	int rc = advance(&p);
	if (rc == 0)
		rc = parse_statements(&p, parent, depth, NULL);
	drop_word(&p.token); /* a bound was passed, or memory failed, with a word in hand */
	conf_source_drop_text(s);
	*stopped = p.stop;
	return rc;
}

int
conf_parse_source(
    struct conf_tree *t, struct conf_errors *errors, struct conf_source *s, bool *stopped)
{
	return parse_source(t, errors, s, &t->root, 0, stopped);
}

/* ---- entry ------------------------------------------------------------------------------------- */

static int
parse_first(struct conf_tree *t, struct conf_errors *errors, struct conf_source *s)
{
	unsigned before = errors->wrong;
	bool stopped = false;
	int rc = conf_parse_source(t, errors, s, &stopped);

	t->root.pos = (struct conf_pos){.file = s->path, .line = 1, .column = 1};
	conf_errors_sort(errors, t);
	if (rc < 0)
		return rc;
	return errors->wrong > before ? -EINVAL : 0;
}

int
conf_parse_text(const char *file, const char *text, size_t len, struct conf_errors *errors,
    struct conf_tree **ret)
{
	struct conf_source *s;
	struct conf_tree *t = calloc(1, sizeof *t);
	int rc = -ENOMEM;

	*ret = NULL;
	if (t == NULL)
		return rc;
	bool over = len > CONF_FILE_MAX_BYTES;
	rc = conf_source_add(t, file, text, over ? 0 : len, &s);
	if (rc == 0)
		rc = parse_first(t, errors, s);
	if (rc != -ENOMEM && over) {
		conf_errors_add(errors, &t->root.pos, "over %u KiB: divide it with include",
		    CONF_FILE_MAX_BYTES / 1024);
		rc = -EINVAL;
	}
	if (rc == -ENOMEM) {
		conf_tree_destroy(t);
		return rc;
	}
	*ret = t;
	return rc;
}

int
conf_parse_file(const char *path, struct conf_errors *errors, struct conf_tree **ret)
{
	struct conf_source *s;
	struct conf_tree *t = calloc(1, sizeof *t);

	*ret = NULL;
	if (t == NULL)
		return -ENOMEM;
	int rc = conf_source_read(t, path, NULL, errors, &s);
	if (rc == 0)
		rc = parse_first(t, errors, s);
	if (rc == -ENOMEM) {
		conf_tree_destroy(t);
		return rc;
	}
	*ret = t;
	return rc;
}

const struct conf_node *
conf_tree_root(const struct conf_tree *t)
{
	return &t->root;
}

void
conf_tree_destroy(struct conf_tree *t)
{
	if (t == NULL)
		return;
	node_fini(&t->root);
	for (unsigned i = 0; i < t->source_count; i++) {
		conf_source_drop_text(t->sources[i]);
		free(t->sources[i]->path);
		free(t->sources[i]);
	}
	free(t->sources);
	free(t);
}
