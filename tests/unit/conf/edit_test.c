/* SPDX-License-Identifier: BSD-2-Clause */
/* Objects as text: what is printed is read as the same words, whatever they are. */
#include "tests/unit/conf/conf_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct conf_edit *
new_edit(enum conf_kind kind, const char *name)
{
	struct conf_edit *e = NULL;
	char reason[256];
	assert_int_equal(conf_edit_new(kind, name, &e, reason, sizeof reason), 0);
	return e;
}

static void
expect_text(const struct conf_edit *e, const char *text)
{
	char *got = conf_edit_text(e);
	assert_string_equal(got, text);
	conf_text_destroy(got);
}

static int
add(struct conf_edit *e, const char *key, const char *a, const char *b, const char *c)
{
	const char *words[] = {a, b, c};
	return conf_edit_add(e, key, words, a == NULL ? 0 : b == NULL ? 1 : c == NULL ? 2 : 3);
}

/* ---- changes --------------------------------------------------------------------------------- */

static void
statements_are_set_added_and_removed(void **state)
{
	(void)state;
	struct conf_edit *e = new_edit(CONF_KIND_GROUP, "esx");
	const char *const *words, *three = "3";
	unsigned count;
	expect_text(e, "group esx {\n}\n");
	assert_int_equal(conf_edit_set1(e, "target", "iqn.2026-11.x:y"), 0);
	assert_int_equal(add(e, "lun", "0", "a", NULL), 0);
	assert_int_equal(add(e, "initiators", "*", NULL, NULL), 0);
	assert_int_equal(add(e, "lun", "3", "b", "read_only"), 0);
	assert_int_equal(conf_edit_set1(e, "target", "iqn.2026-11.x:z"), 0);
	expect_text(e, "group esx {\n\ttarget iqn.2026-11.x:z\n\tlun 0 a\n\tlun 3 b read_only\n"
	               "\tinitiators *\n}\n");
	assert_true(conf_edit_get(e, "lun", 1, &words, &count));
	assert_int_equal(count, 3);
	assert_string_equal(words[1], "b");
	assert_false(conf_edit_get(e, "lun", 2, &words, &count));
	assert_int_equal(conf_edit_remove(e, "lun", &three, 1), 1);
	assert_int_equal(conf_edit_remove(e, "lun", &three, 1), 0);
	assert_int_equal(conf_edit_unset(e, "initiators"), 1);
	assert_int_equal(conf_edit_unset(e, "initiators"), 0);
	expect_text(e, "group esx {\n\ttarget iqn.2026-11.x:z\n\tlun 0 a\n}\n");
	assert_int_equal(conf_edit_kind(e), CONF_KIND_GROUP);
	assert_string_equal(conf_edit_name(e), "esx");
	conf_edit_destroy(e);
}

static void
set_replaces_all_of_a_key_in_the_place_of_the_first(void **state)
{
	(void)state;
	struct conf_edit *e = new_edit(CONF_KIND_PORTAL, "p");
	assert_int_equal(add(e, "protocol", "iscsi", NULL, NULL), 0);
	assert_int_equal(add(e, "listen", "a", NULL, NULL), 0);
	assert_int_equal(add(e, "listen", "b", "c", NULL), 0);
	assert_int_equal(add(e, "x", "d", NULL, NULL), 0);
	assert_int_equal(conf_edit_set1(e, "listen", "e"), 0);
	expect_text(e, "portal p {\n\tprotocol iscsi\n\tlisten e\n\tx d\n}\n");
	conf_edit_destroy(e);
}

static void
what_no_configuration_holds_is_refused(void **state)
{
	(void)state;
	struct conf_edit *e = new_edit(CONF_KIND_LUN, "a");
	static char long_word[4098];
	memset(long_word, 'x', sizeof long_word - 1);
	static const char *const bad[] = {"a\x01", "\x7f", "a\rb", "\xff", "\xc3", "\xc2\x80",
	    "a\r\n", "\xed\xa0\x80", long_word};
	for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		assert_int_equal(conf_edit_set1(e, "product", bad[i]), -EINVAL);
		assert_int_equal(add(e, "product", "good", bad[i], NULL), -EINVAL);
	}
	static const char *const keys[] = {"", "include", "a b", "a{", "#", "A", "a\n"};
	for (unsigned i = 0; i < sizeof keys / sizeof keys[0]; i++)
		assert_int_equal(conf_edit_set1(e, keys[i], "x"), -EINVAL);
	assert_int_equal(add(e, "product", NULL, NULL, NULL), -EINVAL);
	expect_text(e, "lun a {\n}\n");
	long_word[4096] = '\0';
	assert_int_equal(conf_edit_set1(e, "product", long_word), 0);
	conf_edit_destroy(e);
}

static void
names_are_those_of_the_kind(void **state)
{
	(void)state;
	struct conf_edit *e = NULL;
	char reason[256];
	static const char *const bad[] = {"", "a/b", "../a", ".a", "a b", "a\n", "ä"};
	for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_int_equal(
		    conf_edit_new(CONF_KIND_LUN, bad[i], &e, reason, sizeof reason), -EINVAL);
	assert_string_equal(
	    reason, "'ä' is no name for a lun: a name begins with a letter or digit");
	assert_int_equal(conf_edit_new(CONF_KIND_TARGET, "x", &e, reason, sizeof reason), -EINVAL);
	assert_null(e);
	e = new_edit(CONF_KIND_TARGET, "IQN.2026-11.example:T");
	assert_string_equal(conf_edit_name(e), "iqn.2026-11.example:t");
	char *file = conf_file_name(conf_edit_kind(e), conf_edit_name(e));
	assert_string_equal(file, "target-iqn.2026-11.example:t.conf");
	free(file);
	conf_edit_destroy(e);
}

static void
words_are_quoted_where_they_must_be(void **state)
{
	(void)state;
	const char *words[] = {
	    "", "a b", "#x", "x#", "a;b", "{", "q\"q", "b\\b", "b\\ ", "l\nl", "ü"};
	char *line = conf_line_text("key", words, sizeof words / sizeof words[0]);
	assert_string_equal(line,
	    "key \"\" \"a b\" \"#x\" x# \"a;b\" \"{\" \"q\\\"q\" b\\b \"b\\\\ \" \"l\\nl\" ü");
	conf_text_destroy(line);
}

static void
an_object_is_copied_with_its_blocks(void **state)
{
	struct fixture *f = *state;
	struct conf_edit *e;
	fixture_text(f,
	    "lun a { store /a }\nportal p { listen 10.0.0.1 }\n"
	    "target IQN.2026-11.x:Y { portals p # why\n alias \"a b\"; initiators { allow "
	    "ALL }\n group g { initiators x; lun 0 a } }");
	assert_string_equal(f->messages, "");
	assert_int_equal(conf_edit_from(f->conf->targets[0].node, &e), 0);
	expect_text(e, "target iqn.2026-11.x:y {\n\tportals p\n\talias \"a b\"\n\tinitiators {\n"
	               "\t\tallow ALL\n\t}\n\tgroup g {\n\t\tinitiators x\n\t\tlun 0 a\n\t}\n}\n");
	assert_int_equal(conf_edit_unset(e, "group"), 1);
	conf_edit_destroy(e);
	assert_int_equal(conf_edit_from(f->conf->root, &e), -EINVAL);
	assert_int_equal(conf_edit_from(f->conf->luns[0].node->children[0], &e), -EINVAL);
}

/* ---- any words ------------------------------------------------------------------------------- */

static uint32_t seed = 1;

static uint32_t
rnd(uint32_t n)
{
	seed = seed * 1664525u + 1013904223u;
	return (seed >> 8) % n;
}

/* Pieces that are special to the lexer, to quoting, to UTF-8. */
static const char *
random_word(char buf[64])
{
	static const char *const pieces[] = {"a", "0", " ", "\t", "\n", "\"", "\\", "{", "}", ";",
	    "#", "\\n", "ü", "€", "𝄞", "include", "\xef\xbb\xbf", "'", "$", "*", "\xc2\xa0"};
	buf[0] = '\0';
	for (unsigned n = rnd(8); n > 0; n--)
		strcat(buf, pieces[rnd(sizeof pieces / sizeof pieces[0])]);
	return buf;
}

/* Model: the statements in order. */
struct model {
	char key[32][4];
	char words[32][3][64];
	unsigned count[32], lines;
};

static void
random_object(struct model *m, struct conf_edit *e)
{
	m->lines = 0;
	for (unsigned n = rnd(32); n > 0; n--) {
		const char *words[3];
		/* In the order of keys, as those of a key stay together. */
		snprintf(m->key[m->lines], 4, "%c", (char)('a' + m->lines / 4));
		m->count[m->lines] = 1 + rnd(3);
		for (unsigned w = 0; w < m->count[m->lines]; w++)
			words[w] = random_word(m->words[m->lines][w]);
		assert_int_equal(conf_edit_add(e, m->key[m->lines], words, m->count[m->lines]), 0);
		m->lines++;
	}
}

static void
expect_model(const struct model *m, const struct conf_node *n)
{
	assert_int_equal(n->child_count, m->lines);
	for (unsigned i = 0; i < m->lines; i++) {
		const struct conf_node *line = n->children[i];
		assert_int_equal(line->word_count, m->count[i] + 1);
		assert_string_equal(line->words[0], m->key[i]);
		for (unsigned w = 0; w < m->count[i]; w++)
			assert_string_equal(line->words[w + 1], m->words[i][w]);
	}
}

static void
what_is_printed_is_read_back(void **state)
{
	(void)state;
	static struct model m;
	for (unsigned round = 0; round < 3000; round++) {
		struct conf_errors errors = {0};
		struct conf_tree *tree;
		struct conf_edit *e = new_edit(CONF_KIND_LUN, "a"), *copy;
		seed = round;
		random_object(&m, e);
		char *text = conf_edit_text(e);
		int rc = conf_parse_text("t", text, strlen(text), &errors, &tree);
		if (rc < 0)
			fail_msg("round %u: %s\n%s", round, errors.list[0].text, text);
		assert_int_equal(conf_tree_root(tree)->child_count, 1);
		expect_model(&m, conf_tree_root(tree)->children[0]);
		assert_int_equal(conf_edit_from(conf_tree_root(tree)->children[0], &copy), 0);
		expect_text(copy, text);
		conf_text_destroy(text);
		conf_edit_destroy(copy);
		conf_edit_destroy(e);
		conf_tree_destroy(tree);
		conf_errors_fini(&errors);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(statements_are_set_added_and_removed),
	    TEST(set_replaces_all_of_a_key_in_the_place_of_the_first),
	    TEST(what_no_configuration_holds_is_refused),
	    TEST(names_are_those_of_the_kind),
	    TEST(words_are_quoted_where_they_must_be),
	    TEST(an_object_is_copied_with_its_blocks),
	    TEST(what_is_printed_is_read_back),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
