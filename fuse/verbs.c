/* SPDX-License-Identifier: BSD-2-Clause */
/* What may be written to a control file, and what comes of it. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "fuse/terrace_fuse.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define WORD_MAX 16u
#define RANGE_MAX 64u

static const struct {
	const char *word, *method;
} verbs[] = {
    {"flush", "cache.flush"},
    {"evict", "cache.evict"},
};

__attribute__((format(printf, 3, 4))) static int
refuse(char *reason, size_t cap, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(reason, cap, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

/* What follows the verb. False: it is no range. */
static bool
add_range(json_t *params, const char *text, size_t len)
{
	char range[RANGE_MAX];
	uint64_t from, bytes;

	while (len > 0 && text[0] == ' ') {
		text++;
		len--;
	}
	if (len >= sizeof range || memchr(text, '\0', len) != NULL)
		return false;
	memcpy(range, text, len);
	range[len] = '\0';
	if (text_parse_range(range, &from, &bytes) < 0)
		return false;
	json_object_set_new(params, "from", json_integer((json_int_t)from));
	json_object_set_new(params, "bytes", json_integer((json_int_t)bytes));
	return true;
}

int
verb_parse(const char *line, size_t len, bool is_cache, const char *object, struct verb *ret,
    char *reason, size_t cap)
{
	char word[WORD_MAX + 1];

	while (len > 0 && (line[len - 1] == '\n' || line[len - 1] == ' '))
		len--;
	while (len > 0 && line[0] == ' ') {
		line++;
		len--;
	}
	if (len == 0)
		return refuse(reason, cap, "there is no verb; there are: flush, evict");
	if (memchr(line, '\n', len) != NULL)
		return refuse(reason, cap, "one verb a write");
	size_t end = 0;
	while (end < len && line[end] != ' ')
		end++;
	snprintf(word, sizeof word, "%.*s", (int)(end < WORD_MAX ? end : WORD_MAX), line);
	for (unsigned i = 0; i < COUNT(verbs); i++) {
		if (strlen(verbs[i].word) != end || strcmp(verbs[i].word, word) != 0)
			continue;
		ret->method = verbs[i].method;
		ret->params = json_pack("{s:s}", is_cache ? "cache" : "lun", object);
		if (ret->params == NULL)
			return -ENOMEM;
		if (end == len)
			return 0;
		if (!is_cache && add_range(ret->params, line + end, len - end))
			return 0;
		json_decref(ret->params);
		ret->params = NULL;
		return refuse(reason, cap,
		    is_cache ? "'%s' takes nothing more"
		             : "'%s' takes a range and nothing more, like 1GiB+64MiB",
		    word);
	}
	for (char *p = word; *p != '\0'; p++)
		if ((unsigned char)*p < 0x20 || (unsigned char)*p >= 0x7f)
			*p = '?';
	return refuse(reason, cap, "there is no verb '%s'; there are: flush, evict", word);
}

const char *
verb_help(bool is_cache)
{
	return is_cache
	           ? "flush   what was acknowledged goes to the stores of all LUNs of this cache\n"
	             "evict   the same, then the cache forgets what it has of them\n"
	           : "flush [RANGE]   what was acknowledged goes to the store of this LUN\n"
	             "evict [RANGE]   the same, then the cache forgets what it has of it\n"
	             "RANGE: where it begins and its size, as 1GiB+64MiB or 4096+512\n";
}

char *
verb_result(const json_t *answer)
{
	struct text t = {0};
	size_t i;
	json_t *l;

	text_add(&t, "done in %.3f s\n", json_number_value(json_object_get(answer, "seconds")));
	json_array_foreach(json_object_get(answer, "luns"), i, l)
	    text_add(&t, "%s dirty_bytes %lld\n", json_text(l, "name"),
	        (long long)json_number(l, "dirty_bytes", 0));
	if (t.failed) {
		free(t.p);
		return NULL;
	}
	return t.p;
}
