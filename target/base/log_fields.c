/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A line of the log as fields of the journal: lines "NAME=value", where no value has a line's end (log.c leaves
 * none). What a line says as key=value may come from a peer: such fields have a prefix of their own, so that none
 * of the journal's can be forged.
 */
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"

#define KEY_MAX 40u
/* Of a message that tells a condition: these 14 bytes, then its number in two: C204 … 0204. */
#define MESSAGE_ID "9d1f5a0c7c3e4b0a86e2f54d31b7"

struct out {
	char *buf;
	size_t cap, len;
};

/* The whole line or nothing of it. */
__attribute__((format(printf, 2, 3))) static void
add(struct out *o, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	int n = vsnprintf(o->buf + o->len, o->cap - o->len, fmt, ap);
	va_end(ap);
	if (n > 0 && (size_t)n < o->cap - o->len)
		o->len += (size_t)n;
}

/* Length of "key" in "key=value", 0: it is another word. */
static size_t
key_length(const char *word)
{
	size_t n = 0;

	if (!islower((unsigned char)word[0]))
		return 0;
	while (islower((unsigned char)word[n]) || isdigit((unsigned char)word[n]) || word[n] == '_')
		n++;
	return word[n] == '=' && n <= KEY_MAX ? n : 0;
}

/* The end of a value that begins here: of a word, or of what is in quotes. */
static const char *
value_end(const char *value)
{
	const char *quote = value[0] == '"' ? strchr(value + 1, '"') : NULL;

	return quote != NULL ? quote + 1 : value + strcspn(value, " ");
}

static void
add_pairs(struct out *o, const char *text)
{
	while (*text != '\0') {
		size_t n = key_length(text);
		if (n > 0) {
			char key[KEY_MAX + 1];
			const char *value = text + n + 1, *end = value_end(value);
			int quoted = *value == '"' && end > value + 1 && end[-1] == '"';
			for (size_t i = 0; i < n; i++)
				key[i] = (char)toupper((unsigned char)text[i]);
			key[n] = '\0';
			add(o, "TERRACE_%s=%.*s\n", key, (int)(end - value - 2 * quoted),
			    value + quoted);
			text = end;
		} else {
			text += strcspn(text, " ");
		}
		text += strspn(text, " ");
	}
}

/* "[C204] …" */
static void
add_condition(struct out *o, const char *text)
{
	unsigned number;
	char close;

	if (sscanf(text, "[C%3u%c", &number, &close) != 2 || close != ']')
		return;
	add(o, "TERRACE_CODE=C%03u\n", number);
	add(o, "MESSAGE_ID=" MESSAGE_ID "%04u\n", number);
}

size_t
log_fields(enum log_level level, const char *mod, const char *line, char *buf, size_t cap)
{
	static const int priorities[LOG_LEVEL_COUNT] = {3, 4, 6, 7}; /* syslog(3) */
	struct out o = {.buf = buf, .cap = cap};
	const char *text = strstr(line, ": ");

	add(&o, "PRIORITY=%d\n", priorities[level]);
	add(&o, "SYSLOG_IDENTIFIER=%s\n", program_invocation_short_name);
	add(&o, "TERRACE_MODULE=%s\n", mod);
	add(&o, "MESSAGE=%s\n", line);
	text = text != NULL ? text + 2 : line;
	if (strcmp(mod, "health") == 0)
		add_condition(&o, text);
	add_pairs(&o, text);
	return o.len;
}
