/* SPDX-License-Identifier: BSD-2-Clause */
/* Text that grows, and words as the lexer reads them. */
#include "conf/conf_priv.h"

#include <stdlib.h>
#include <string.h>

/* No realloc(): it would leave what it moved away from, which may be a secret. */
static bool
grow(struct conf_out *o, size_t more)
{
	size_t cap = o->cap != 0 ? o->cap : 256;

	if (more >= SIZE_MAX / 4 - o->len) {
		o->failed = true;
		return false;
	}
	while (cap < o->len + more + 1)
		cap *= 2;
	char *text = malloc(cap);
	if (text == NULL) {
		o->failed = true;
		return false;
	}
	if (o->len > 0)
		memcpy(text, o->text, o->len);
	if (o->text != NULL)
		explicit_bzero(o->text, o->len);
	free(o->text);
	o->text = text;
	o->cap = cap;
	return true;
}

void
conf_out_bytes(struct conf_out *o, const void *bytes, size_t len)
{
	if (o->failed || (o->len + len + 1 > o->cap && !grow(o, len)))
		return;
	memcpy(o->text + o->len, bytes, len);
	o->len += len;
	o->text[o->len] = '\0';
}

void
conf_out(struct conf_out *o, const char *text)
{
	conf_out_bytes(o, text, strlen(text));
}

void
conf_out_word(struct conf_out *o, const char *word)
{
	if (word[0] != '\0' && word[0] != '#' && strpbrk(word, " \t\n{};\"") == NULL) {
		conf_out(o, word);
		return;
	}
	conf_out(o, "\"");
	for (; *word != '\0'; word++) {
		if (*word == '"' || *word == '\\')
			conf_out(o, "\\");
		if (*word == '\n')
			conf_out(o, "\\n");
		else
			conf_out_bytes(o, word, 1);
	}
	conf_out(o, "\"");
}

void
conf_out_line(
    struct conf_out *o, unsigned depth, const char *key, const char *const *words, unsigned count)
{
	for (unsigned i = 0; i < depth; i++)
		conf_out(o, "\t");
	conf_out_word(o, key);
	for (unsigned i = 0; i < count; i++) {
		conf_out(o, " ");
		conf_out_word(o, words[i]);
	}
}

char *
conf_out_take(struct conf_out *o)
{
	if (o->text == NULL)
		conf_out(o, "");
	char *text = o->failed ? NULL : o->text;
	if (text == NULL)
		conf_out_fini(o);
	*o = (struct conf_out){0};
	return text;
}

void
conf_out_fini(struct conf_out *o)
{
	if (o->text != NULL)
		explicit_bzero(o->text, o->len);
	free(o->text);
	*o = (struct conf_out){0};
}
