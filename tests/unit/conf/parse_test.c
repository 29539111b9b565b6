/* SPDX-License-Identifier: BSD-2-Clause */
/* Words, strings, blocks and bounds of the parser. Keys are of no matter here. */
#include "tests/unit/conf/conf_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Parses only. */
static const struct conf_node *
parse(struct fixture *f, const char *text)
{
	conf_tree_destroy(f->tree);
	conf_errors_fini(&f->errors);
	f->tree = NULL;
	f->parsed = conf_parse_text("t", text, strlen(text), &f->errors, &f->tree);
	assert_non_null(f->tree);
	assert_int_equal(f->parsed, f->errors.wrong > 0 ? -EINVAL : 0);
	return conf_tree_root(f->tree);
}

/* One error, at this place, that begins so. */
static void
expect_error(struct fixture *f, const char *text, unsigned line, unsigned column, const char *begin)
{
	parse(f, text);
	assert_int_equal(f->errors.count, 1);
	const struct conf_error *e = &f->errors.list[0];
	if (strncmp(e->text, begin, strlen(begin)) != 0 || e->pos.line != line ||
	    e->pos.column != column)
		fail_msg("'%s': %u:%u: %s", text, e->pos.line, e->pos.column, e->text);
	assert_string_equal(e->pos.file, "t");
}

static void
words_and_blocks(void **state)
{
	const struct conf_node *root = parse(*state, "a b\tc ; d { e f; g } h\ni");
	assert_int_equal(root->child_count, 4);
	const struct conf_node *a = root->children[0], *d = root->children[1];
	assert_int_equal(a->word_count, 3);
	assert_string_equal(a->words[2], "c");
	assert_int_equal(a->word_pos[2].column, 5);
	assert_false(a->has_block);
	assert_true(d->has_block);
	assert_int_equal(d->child_count, 2);
	assert_string_equal(d->children[0]->words[1], "f");
	assert_string_equal(d->children[1]->words[0], "g");
	assert_string_equal(root->children[2]->words[0], "h");
	assert_int_equal(root->children[3]->pos.line, 2);
	assert_int_equal(root->children[3]->pos.column, 1);
}

static void
strings_and_escapes(void **state)
{
	const struct conf_node *root =
	    parse(*state, "a \"\" \"b c\" \"q\\\"q\" \"s\\\\s\" \"l\\nl\" \"${x} #;{}\"");
	const struct conf_node *a = root->children[0];
	assert_int_equal(a->word_count, 7);
	assert_string_equal(a->words[1], "");
	assert_string_equal(a->words[2], "b c");
	assert_string_equal(a->words[3], "q\"q");
	assert_string_equal(a->words[4], "s\\s");
	assert_string_equal(a->words[5], "l\nl");
	assert_string_equal(a->words[6], "${x} #;{}");
}

static void
nothing_is_expanded(void **state)
{
	const struct conf_node *root = parse(*state, "a $HOME ~/x DOMAIN\\user `id` %41");
	assert_string_equal(root->children[0]->words[1], "$HOME");
	assert_string_equal(root->children[0]->words[2], "~/x");
	assert_string_equal(root->children[0]->words[3], "DOMAIN\\user");
	assert_string_equal(root->children[0]->words[4], "`id`");
	assert_string_equal(root->children[0]->words[5], "%41");
}

static void
comments_begin_where_a_word_would(void **state)
{
	const struct conf_node *root = parse(*state, "# x {\na b#c # d \"\ne;#f\n");
	assert_int_equal(root->child_count, 2);
	assert_int_equal(root->children[0]->word_count, 2);
	assert_string_equal(root->children[0]->words[1], "b#c");
	assert_int_equal(root->children[0]->pos.line, 2);
	assert_string_equal(root->children[1]->words[0], "e");
}

static void
line_ends_of_windows_and_a_byte_order_mark(void **state)
{
	const struct conf_node *root = parse(*state, "\xef\xbb\xbf"
	                                             "a {\r\n b c\r\n}\r\nd \"e\"\r\n");
	assert_int_equal(root->child_count, 2);
	assert_string_equal(root->children[0]->words[0], "a");
	assert_int_equal(root->children[0]->pos.column, 1);
	assert_string_equal(root->children[0]->children[0]->words[1], "c");
	assert_string_equal(root->children[1]->words[1], "e");
}

static void
empty_texts(void **state)
{
	assert_int_equal(parse(*state, "")->child_count, 0);
	assert_int_equal(parse(*state, "\n;;\n # x")->child_count, 0);
}

static void
columns_count_bytes(void **state)
{
	const struct conf_node *root = parse(*state, "a \"\xc3\xa4\" b");
	assert_int_equal(root->children[0]->word_pos[2].column, 8);
}

static void
unclosed_brace_is_told_where_it_opens(void **state)
{
	expect_error(*state, "a {\n b {\n c }\n\n", 1, 3, "this '{' is never closed");
}

static void
every_unclosed_brace_is_told(void **state)
{
	struct fixture *f = *state;
	parse(f, "a {\n  b {\n");
	assert_int_equal(f->errors.count, 2);
	assert_int_equal(f->errors.list[0].pos.line, 1);
	assert_int_equal(f->errors.list[1].pos.line, 2);
	assert_int_equal(f->errors.list[1].pos.column, 5);
}

static void
unclosed_quote_is_told_where_it_opens(void **state)
{
	expect_error(*state, "a\nb \"c d\ne", 2, 3, "this quote is never closed");
	expect_error(*state, "b \"c", 1, 3, "this quote is never closed");
	expect_error(*state, "b \"c\\", 1, 3, "this quote is never closed");
	expect_error(*state, "b \"", 1, 3, "this quote is never closed");
}

static void
stray_braces(void **state)
{
	expect_error(*state, "a\n}\nb", 2, 1, "'}' closes nothing");
	expect_error(*state, "a\n{ b }", 2, 1, "'{' must be on the line of its 'a' (line 1)");
	expect_error(
	    *state, "\"a\\nb\"\n{ }", 2, 1, "'{' must be on the line of its 'a b' (line 1)");
	expect_error(*state, "{ b }", 1, 1, "a block without a name");
}

static void
quotes_in_the_middle(void **state)
{
	expect_error(*state, "a b\"c\"", 1, 4, "a quote in the middle of a word");
	expect_error(*state, "a \"b\"c", 1, 6, "a blank is missing after the closing quote");
	expect_error(*state, "a \"b\"\"c\"", 1, 6, "a blank is missing after the closing quote");
}

static void
unknown_escape(void **state)
{
	expect_error(*state, "a \"b\\tc\"", 1, 5, "no escape");
}

static void
bytes_that_are_no_text(void **state)
{
	struct fixture *f = *state;
	expect_error(f, "a\nb\x01", 2, 2, "control character 0x01");
	expect_error(f, "a \x7f", 1, 3, "control character 0x7f");
	expect_error(f, "a \"\xc2\x9b\"", 1, 4, "control character 0x9b");
	expect_error(f, "a \rb", 1, 3, "control character 0x0d");
	expect_error(f, "a \xff", 1, 3, "byte 0xff is no UTF-8");
	expect_error(f, "a \xc3", 1, 3, "byte 0xc3 is no UTF-8");
}

static void
nul_bytes_hide_nothing(void **state)
{
	struct fixture *f = *state;
	f->parsed = conf_parse_text("t", "a\0b }", 5, &f->errors, &f->tree);
	assert_int_equal(f->parsed, -EINVAL);
	assert_int_equal(f->errors.count, 2);
	assert_int_equal(f->errors.list[0].pos.column, 2);
	assert_string_equal(
	    f->errors.list[0].text, "control character 0x00: a configuration is text, remove it");
	assert_int_equal(f->errors.list[1].pos.column, 5);
}

static void
a_binary_file_gives_a_few_errors(void **state)
{
	struct fixture *f = *state;
	char bytes[5000];
	memset(bytes, 0x02, sizeof bytes);
	f->parsed = conf_parse_text("t", bytes, sizeof bytes, &f->errors, &f->tree);
	assert_int_equal(f->parsed, -EINVAL);
	assert_in_range(f->errors.count, 1, 10);
	assert_int_equal(f->errors.dropped, 0);
}

static char *
repeat(const char *s, unsigned count)
{
	size_t len = strlen(s);
	char *buf = malloc(len * count + 1);
	assert_non_null(buf);
	for (unsigned i = 0; i < count; i++)
		memcpy(buf + len * i, s, len);
	buf[len * count] = '\0';
	return buf;
}

static void
blocks_nest_sixteen_deep(void **state)
{
	char *text = repeat("a {", 16);
	parse(*state, text);
	assert_int_equal(((struct fixture *)*state)->errors.count, 16); /* unclosed, nothing else */
	free(text);
}

static void
deeper_blocks_are_refused_and_passed_over(void **state)
{
	struct fixture *f = *state;
	char *open = repeat("a {", 5000), *close = repeat("}", 5000), *text;
	assert_true(asprintf(&text, "%s%s\nb }", open, close) > 0);
	parse(f, text);
	assert_int_equal(f->errors.count, 2);
	assert_string_equal(
	    f->errors.list[0].text, "blocks are nested too deep: at most 16 levels");
	assert_int_equal(f->errors.list[0].pos.column, 16 * 3 + 3);
	assert_int_equal(f->errors.list[1].pos.line, 2);
	free(open);
	free(close);
	free(text);
}

static void
statements_are_bounded(void **state)
{
	struct fixture *f = *state;
	char *text = repeat("a;\n", 70000);
	const struct conf_node *root = parse(f, text);
	assert_int_equal(f->errors.count, 1);
	assert_string_equal(
	    f->errors.list[0].text, "too many statements: at most 65536; the rest isn't read");
	assert_in_range(root->child_count, 65536, 65537);
	free(text);
}

static void
words_are_bounded(void **state)
{
	struct fixture *f = *state;
	char *text = repeat("a a a a a a a a a a a a\n", 30000);
	parse(f, text);
	assert_int_equal(f->errors.count, 1);
	assert_string_equal(
	    f->errors.list[0].text, "too many words: at most 262144; the rest isn't read");
	free(text);
}

static void
a_word_is_bounded(void **state)
{
	struct fixture *f = *state;
	char *text = repeat("a", 4097);
	const struct conf_node *root = parse(f, text);
	assert_int_equal(f->errors.count, 1);
	assert_int_equal(strlen(root->children[0]->words[0]), 4096);
	text[4096] = '\0';
	parse(f, text);
	assert_int_equal(f->errors.count, 0);
	free(text);
}

static void
a_text_is_bounded(void **state)
{
	struct fixture *f = *state;
	char *text = repeat("#", (1u << 20) + 1);
	parse(f, text);
	assert_int_equal(f->errors.count, 1);
	assert_string_equal(f->errors.list[0].text, "over 1024 KiB: divide it with include");
	text[1u << 20] = '\0';
	parse(f, text);
	assert_int_equal(f->errors.count, 0);
	free(text);
}

static void
a_hundred_errors_are_kept_the_others_counted(void **state)
{
	struct fixture *f = *state;
	char *text = repeat("}\n", 250);
	parse(f, text);
	assert_int_equal(f->errors.count, CONF_ERRORS_MAX);
	assert_int_equal(f->errors.dropped, 250 - CONF_ERRORS_MAX);
	assert_int_equal(f->errors.wrong, 250);
	free(text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(words_and_blocks),
	    TEST(strings_and_escapes),
	    TEST(nothing_is_expanded),
	    TEST(comments_begin_where_a_word_would),
	    TEST(line_ends_of_windows_and_a_byte_order_mark),
	    TEST(empty_texts),
	    TEST(columns_count_bytes),
	    TEST(unclosed_brace_is_told_where_it_opens),
	    TEST(every_unclosed_brace_is_told),
	    TEST(unclosed_quote_is_told_where_it_opens),
	    TEST(stray_braces),
	    TEST(quotes_in_the_middle),
	    TEST(unknown_escape),
	    TEST(bytes_that_are_no_text),
	    TEST(nul_bytes_hide_nothing),
	    TEST(a_binary_file_gives_a_few_errors),
	    TEST(blocks_nest_sixteen_deep),
	    TEST(deeper_blocks_are_refused_and_passed_over),
	    TEST(statements_are_bounded),
	    TEST(words_are_bounded),
	    TEST(a_word_is_bounded),
	    TEST(a_text_is_bounded),
	    TEST(a_hundred_errors_are_kept_the_others_counted),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
