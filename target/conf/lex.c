/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Text → tokens. A word is a run of bytes without blanks, braces, semicolons and quotes, or a
 * "string" on one line with the escapes \" \\ \n. '#' begins a comment where a word would begin; in
 * a word it is a letter, as a secret may have one.
 */
#include "conf/conf_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

void
conf_lexer_init(struct conf_lexer *l, const struct conf_source *s, struct conf_errors *errors)
{
	*l = (struct conf_lexer){
	    .errors = errors,
	    .file = s->path,
	    .at = s->text,
	    .end = s->text + s->text_len,
	    .line = 1,
	    .column = 1,
	};
	/* A byte order mark, as some editors write: not there. */
	if (s->text_len >= 3 && memcmp(s->text, "\xef\xbb\xbf", 3) == 0)
		l->at += 3;
}

static struct conf_pos
here(const struct conf_lexer *l)
{
	return (struct conf_pos){.file = l->file, .line = l->line, .column = l->column};
}

static void
step(struct conf_lexer *l)
{
	ASSERT(l->at < l->end);
	if (*l->at == '\n') {
		l->line++;
		l->column = 1;
	} else {
		l->column++;
	}
	l->at++;
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static bool
ends_word(char c)
{
	return is_blank(c) || c == '\n' || c == '{' || c == '}' || c == ';' || c == '"';
}

static void
skip_blanks(struct conf_lexer *l)
{
	while (l->at < l->end && is_blank(*l->at))
		step(l);
	if (l->at < l->end && *l->at == '#')
		while (l->at < l->end && *l->at != '\n')
			step(l);
}

static void
take(struct conf_token *ret, char *word, size_t len, struct conf_errors *errors)
{
	word[len] = '\0';
	if (len > CONF_WORD_MAX_BYTES) {
		conf_errors_add(errors, &ret->pos, "a word of %zu bytes: at most %u are read", len,
		    CONF_WORD_MAX_BYTES);
		explicit_bzero(word + CONF_WORD_MAX_BYTES, len - CONF_WORD_MAX_BYTES);
	}
	ret->kind = CONF_TOKEN_WORD;
	ret->word = word;
}

static int
lex_bare(struct conf_lexer *l, struct conf_token *ret)
{
	const char *from = l->at;

	while (l->at < l->end && !ends_word(*l->at))
		step(l);
	size_t len = (size_t)(l->at - from);
	if (l->at < l->end && *l->at == '"') {
		struct conf_pos pos = here(l);
		conf_errors_add(l->errors, &pos,
		    "a quote in the middle of a word: put the whole word in quotes, with \\\" for "
		    "a quote in it");
	}
	char *word = malloc(len + 1);
	if (word == NULL)
		return -ENOMEM;
	memcpy(word, from, len);
	take(ret, word, len, l->errors);
	return 0;
}

/* What stands behind a backslash; 0: no escape. */
static char
escape(char c)
{
	return c == 'n' ? '\n' : c == '"' || c == '\\' ? c : '\0';
}

static int
lex_string(struct conf_lexer *l, struct conf_token *ret)
{
	const char *line_end = memchr(l->at, '\n', (size_t)(l->end - l->at));
	size_t cap = (size_t)((line_end != NULL ? line_end : l->end) - l->at);
	char *word = malloc(cap + 1);
	size_t len = 0;

	if (word == NULL)
		return -ENOMEM;
	step(l);
	while (l->at < l->end && *l->at != '\n' && *l->at != '"') {
		char c = *l->at;
		if (c == '\\' && l->at + 1 < l->end && l->at[1] != '\n') {
			struct conf_pos pos = here(l);
			step(l);
			c = escape(*l->at);
			if (c == '\0') {
				conf_errors_add(l->errors, &pos,
				    "no escape: in quotes only \\\" \\\\ and \\n are known, write "
				    "\\\\ for a backslash");
				c = *l->at;
			}
		}
		ASSERT(len < cap);
		word[len++] = c;
		step(l);
	}
	if (l->at == l->end || *l->at == '\n') {
		conf_errors_add(l->errors, &ret->pos,
		    "this quote is never closed: a string ends on the line it begins on");
		take(ret, word, len, l->errors);
		return 0;
	}
	step(l);
	if (l->at < l->end && (!ends_word(*l->at) || *l->at == '"')) {
		struct conf_pos pos = here(l);
		conf_errors_add(l->errors, &pos, "a blank is missing after the closing quote");
	}
	take(ret, word, len, l->errors);
	return 0;
}

int
conf_lex(struct conf_lexer *l, struct conf_token *ret)
{
	skip_blanks(l);
	*ret = (struct conf_token){.kind = CONF_TOKEN_END, .pos = here(l)};
	if (l->at == l->end)
		return 0;
	switch (*l->at) {
	case '\n':
		ret->kind = CONF_TOKEN_LINE_END;
		break;
	case ';':
		ret->kind = CONF_TOKEN_SEMICOLON;
		break;
	case '{':
		ret->kind = CONF_TOKEN_OPEN;
		break;
	case '}':
		ret->kind = CONF_TOKEN_CLOSE;
		break;
	case '"':
		return lex_string(l, ret);
	default:
		return lex_bare(l, ret);
	}
	step(l);
	return 0;
}
