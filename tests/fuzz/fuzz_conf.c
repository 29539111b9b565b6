/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A configuration: text → tree → objects. No file is read but what secret_file names; an include
 * leads into a folder that isn't there.
 */
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <string.h>

#include "base/assert.h"
#include "conf/conf.h"

#define DEPTH_MAX 16u

static void
check_node(const struct conf_node *n, unsigned depth)
{
	ASSERT(
	    depth <= DEPTH_MAX + 1); /* the root is one, and so is what stands in the last block */
	ASSERT(depth == 0 || n->has_block || n->child_count == 0);
	for (unsigned i = 0; i < n->word_count; i++) {
		ASSERT(n->words[i] != NULL);
		ASSERT(n->word_pos[i].line >= 1 && n->word_pos[i].column >= 1);
		ASSERT(i == 0 || n->word_pos[i].column > n->word_pos[i - 1].column);
		ASSERT(n->word_pos[i].line == n->pos.line);
	}
	for (unsigned i = 0; i < n->child_count; i++) {
		ASSERT(n->children[i]->word_count > 0);
		check_node(n->children[i], depth + 1);
	}
}

static void
check_errors(const struct conf_errors *e)
{
	unsigned wrong = 0;
	ASSERT(e->count <= CONF_ERRORS_MAX);
	for (unsigned i = 0; i < e->count; i++) {
		const struct conf_pos *pos = &e->list[i].pos;
		ASSERT(pos->file != NULL && pos->line >= 1 && pos->column >= 1);
		ASSERT(e->list[i].text[0] != '\0' && strlen(e->list[i].text) < 8192);
		ASSERT(strchr(e->list[i].text, '\n') == NULL);
		wrong += !e->list[i].remark;
		if (i == 0)
			continue;
		const struct conf_pos *before = &e->list[i - 1].pos;
		ASSERT(before->line < pos->line ||
		       (before->line == pos->line && before->column <= pos->column));
	}
	ASSERT(wrong <= e->wrong);
}

static void
find_lun(const struct conf *c, const struct conf_group_lun *l, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		bool found = false;
		for (unsigned k = 0; k < c->lun_count; k++)
			found |= strcmp(c->luns[k].name, l[i].lun) == 0;
		ASSERT(found && l[i].number <= 16383);
	}
}

/* What the daemon relies on without looking again. */
static void
check_conf(const struct conf *c)
{
	for (unsigned i = 0; i < c->lun_count; i++) {
		ASSERT(c->luns[i].store != NULL && c->luns[i].name[0] != '\0');
		ASSERT(c->luns[i].block_size == 512 || c->luns[i].block_size == 4096);
		ASSERT(c->luns[i].size_bytes % c->luns[i].block_size == 0);
	}
	for (unsigned i = 0; i < c->target_count; i++) {
		const struct conf_target *t = &c->targets[i];
		ASSERT(t->portal_count > 0 && t->portal_count <= 64);
		find_lun(c, t->luns, t->lun_count);
		for (unsigned k = 0; k < t->chap_count; k++) {
			size_t len = strlen(t->chaps[k].secret);
			ASSERT(t->chaps[k].user != NULL && len >= 12 && len <= 256);
			ASSERT(!t->chaps[k].mutual_user == !t->chaps[k].mutual_secret);
		}
		for (unsigned k = 0; k < t->group_count; k++) {
			ASSERT(t->groups[k].initiator_count > 0);
			find_lun(c, t->groups[k].luns, t->groups[k].lun_count);
		}
	}
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
	int parsed = conf_parse_text("/nowhere/at/all/t", (const char *)data, size, &errors, &tree);
	ASSERT(parsed == -ENOMEM || tree != NULL);
	if (tree == NULL)
		return 0;
	ASSERT((parsed < 0) == (errors.wrong > 0));
	check_node(conf_tree_root(tree), 0);
	check_errors(&errors);
	int built = conf_build(tree, &errors, &conf);
	ASSERT((built == 0) == (conf != NULL));
	ASSERT((parsed < 0 || built < 0) == (errors.wrong > 0));
	check_errors(&errors);
	if (built == 0)
		check_conf(conf);
	conf_destroy(conf);
	conf_tree_destroy(tree);
	conf_errors_fini(&errors);
	return 0;
}
