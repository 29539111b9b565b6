/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Text → tree → statements → text → tree: the same words. And configuration → text → configuration:
 * no difference.
 */
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <string.h>

#include "base/assert.h"
#include "conf/conf.h"

#define PLACE "/nowhere/at/all/t"

static void
expect_same(const struct conf_node *a, const struct conf_node *b)
{
	ASSERT(a->word_count == b->word_count && a->child_count == b->child_count);
	ASSERT(a->has_block == b->has_block);
	for (unsigned i = 0; i < a->word_count; i++)
		ASSERT(strcmp(a->words[i], b->words[i]) == 0);
	for (unsigned i = 0; i < a->child_count; i++)
		expect_same(a->children[i], b->children[i]);
}

static void
check_statement(const struct conf_node *n)
{
	struct conf_errors errors = {0};
	struct conf_tree *tree;
	struct conf_edit *e, *copy;

	if (conf_edit_from(n, &e) < 0)
		return;
	char *text = conf_edit_text(e);
	ASSERT(conf_parse_text("t", text, strlen(text), &errors, &tree) == 0);
	ASSERT(conf_tree_root(tree)->child_count == 1);
	const struct conf_node *again = conf_tree_root(tree)->children[0];
	/* A target's name is kept in lower case. */
	ASSERT(strcasecmp(n->words[1], again->words[1]) == 0);
	ASSERT(n->child_count == again->child_count);
	for (unsigned i = 0; i < n->child_count; i++)
		expect_same(n->children[i], again->children[i]);
	ASSERT(conf_edit_from(again, &copy) == 0);
	char *text_again = conf_edit_text(copy);
	ASSERT(strcmp(text, text_again) == 0);
	conf_text_destroy(text_again);
	conf_text_destroy(text);
	conf_edit_destroy(copy);
	conf_edit_destroy(e);
	conf_tree_destroy(tree);
	conf_errors_fini(&errors);
}

static int
check_value(void *ctx, const struct conf_value *v)
{
	(void)ctx;
	ASSERT(v->key[0] != '\0' && v->value != NULL && v->origin[0] != '\0');
	ASSERT(v->is_default == (strcmp(v->origin, "default") == 0));
	return 0;
}

static void
check_conf(const struct conf *c)
{
	struct conf_errors errors = {0};
	struct conf_tree *tree;
	struct conf *again;
	struct conf_diff *d;
	char *text = conf_text(c);
	const struct conf_load_args args = {.text = text, .text_name = PLACE};

	ASSERT(conf_load(&args, &errors, &tree, &again) == 0);
	ASSERT(conf_diff(c, again, &d) == 0);
	ASSERT(d->count == 0);
	ASSERT(conf_effective(again, check_value, NULL) == 0);
	conf_diff_destroy(d);
	conf_destroy(again);
	conf_tree_destroy(tree);
	conf_errors_fini(&errors);
	conf_text_destroy(text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct conf_errors errors = {0};
	struct conf_tree *tree;
	struct conf *conf = NULL;

	/* A pattern from "/" would search the machine's folders. */
	if (memmem(data, size, "include", 7) != NULL && memchr(data, '/', size) != NULL)
		return 0;
	int parsed = conf_parse_text(PLACE, (const char *)data, size, &errors, &tree);
	if (parsed == 0) {
		for (unsigned i = 0; i < conf_tree_root(tree)->child_count; i++)
			check_statement(conf_tree_root(tree)->children[i]);
		if (conf_build(tree, &errors, &conf) == 0)
			check_conf(conf);
	}
	conf_destroy(conf);
	conf_tree_destroy(tree);
	conf_errors_fini(&errors);
	return 0;
}
