/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What can stand where the cursor is: the words of a line, the last one maybe begun, → one candidate a
 * line. Names of objects are asked of the daemon, with little patience and no word about errors.
 */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "health/health.h"
#include "tools/terracectl/terracectl.h"

#define PATIENCE_MS 1000u

/* Prints it if it begins with what is typed. */
static void
offer(const char *typed, const char *candidate)
{
	if (candidate[0] != '\0' && strncmp(candidate, typed, strlen(typed)) == 0)
		puts(candidate);
}

/* ---- objects ------------------------------------------------------------------------------------- */

static const struct {
	const char *kind, *method, *key;
} listed[] = {
    {"lun", "lun.list", "name"},
    {"target", "target.list", "name"},
    {"group", "group.list", "name"},
    {"portal", "portal.list", "name"},
    {"chap", "chap.list", "name"},
    {"session", "session.list", "tsih"},
    {"cache", "cache.list", "name"},
};

static void
offer_listed(struct tool *t, const char *typed, const char *method, const char *key)
{
	char reason[5000], number[24];
	struct answer a;
	size_t i;
	const json_t *o;

	t->client = client_open(t->control, reason, sizeof reason);
	if (t->client == NULL)
		return;
	json_t *params = json_object();
	if (strcmp(method, "lun.list") == 0)
		json_object_set_new(params, "stats", json_false());
	client_call(t->client, method, params, PATIENCE_MS, &a);
	json_array_foreach(a.result, i, o)
	{
		const json_t *value = json_object_get(o, key);
		if (json_is_integer(value))
			snprintf(number, sizeof number, "%" JSON_INTEGER_FORMAT,
			    json_integer_value(value));
		offer(typed, json_is_integer(value) ? number : get_text(o, key));
	}
	answer_fini(&a);
}

/* "linux|windows|esxi" */
static void
offer_words(const char *typed, const char *words)
{
	char word[64];

	while (words[0] != '\0') {
		size_t len = strcspn(words, "|");
		snprintf(word, sizeof word, "%.*s", (int)len, words);
		offer(typed, word);
		words += len + (words[len] == '|');
	}
}

static void
offer_objects(struct tool *t, const char *typed, const char *objects)
{
	if (objects == NULL)
		return;
	for (size_t i = 0; i < sizeof listed / sizeof listed[0]; i++)
		if (strcmp(objects, listed[i].kind) == 0)
			offer_listed(t, typed, listed[i].method, listed[i].key);
	if (strcmp(objects, "code") == 0)
		for (unsigned i = 0; i < HEALTH_CODE_COUNT; i++)
			offer(typed, health_condition((enum health_code)i)->code);
	else if (strcmp(objects, "store") == 0)
		offer_words(typed, "file:|block:|lvm:|ram:|null:");
	else if (strchr(objects, '|') != NULL)
		offer_words(typed, objects);
	/* "file": the shell knows better. */
}

/* ---- where the cursor is --------------------------------------------------------------------------- */

static void
offer_options(const char *typed, const struct arg *args)
{
	for (const struct arg *a = args; a != NULL && a->name != NULL; a++)
		if (a->name[0] == '-')
			offer(typed, a->name);
}

static const struct arg *
option_of(const struct verb *v, const char *word)
{
	const struct arg *tables[] = {v->args, global_args, verb_change_args(v)};

	for (unsigned i = 0; i < 3; i++)
		for (const struct arg *a = tables[i]; a != NULL && a->name != NULL; a++)
			if (a->name[0] == '-' && strcmp(a->name, word) == 0)
				return a;
	return NULL;
}

static bool
takes_value(const struct arg *a)
{
	return a != NULL && a->kind != ARG_FLAG && a->kind != ARG_NULL;
}

/* The argument by position after `count` of them. */
static const struct arg *
position(const struct verb *v, unsigned count)
{
	for (const struct arg *a = v->args; a != NULL && a->name != NULL; a++) {
		if (a->name[0] == '-')
			continue;
		if (count == 0 || a->kind == ARG_LIST || a->kind == ARG_VALUE)
			return a;
		count--;
	}
	return NULL;
}

/* `words` after the verb's, the last one typed so far. */
static void
complete_args(struct tool *t, const struct verb *v, char *const *words, int count)
{
	const char *typed = words[count - 1];
	const struct arg *wanted = NULL; /* the option whose value comes next */
	unsigned by_position = 0;

	for (int i = 0; i < count - 1; i++) {
		if (wanted != NULL) {
			if (strcmp(wanted->name, "--control") == 0)
				t->control = words[i];
			wanted = NULL;
		} else if (words[i][0] == '-') {
			const struct arg *a = option_of(v, words[i]);
			wanted = takes_value(a) ? a : NULL;
		} else {
			by_position++;
		}
	}
	const struct arg *a = wanted != NULL ? wanted : position(v, by_position);
	if (wanted == NULL && typed[0] == '-') {
		offer_options(typed, v->args);
		offer_options(typed, verb_change_args(v));
		offer_options(typed, global_args);
	} else if (a != NULL) {
		offer_objects(t, typed, a->objects);
	}
}

/* The words of verbs that begin with `group`, or first words; each once. */
static void
offer_verbs(const char *group, const char *typed)
{
	char word[64], last[64] = "";

	for (const struct verb *v = verbs; v->words != NULL; v++) {
		const char *space = strchr(v->words, ' ');
		size_t len = strcspn(v->words, " ");
		if (v->hidden)
			continue;
		if (group == NULL)
			snprintf(word, sizeof word, "%.*s", (int)len, v->words);
		else if (space != NULL && strlen(group) == len &&
		         strncmp(v->words, group, len) == 0)
			snprintf(word, sizeof word, "%s", space + 1);
		else
			continue;
		if (strcmp(word, last) != 0)
			offer(typed, word);
		strcpy(last, word);
	}
}

void
complete_cache_words(struct tool *t, char *const *words, int count)
{
	char **list = calloc((size_t)count + 2, sizeof *list);
	int at = 0, n = 0;

	if (list == NULL)
		return;
	while (at < count - 1 && words[at][0] == '-') {
		bool value = strcmp(words[at], "--control") == 0;
		list[n++] = words[at++];
		if (value && at < count - 1)
			list[n++] = words[at++];
	}
	if (at < count && words[at][0] != '-')
		list[n++] = (char *)(uintptr_t)CACHE_GROUP;
	while (at < count)
		list[n++] = words[at++];
	complete_words(t, list, n);
	free(list);
}

void
complete_words(struct tool *t, char *const *words, int count)
{
	int used;

	/* Options before the verb. */
	while (count > 1 && words[0][0] == '-') {
		int n = args_global(t, words, count - 1);
		if (n <= 0)
			return;
		words += n;
		count -= n;
	}
	if (count == 0)
		return;
	const char *typed = words[count - 1];
	if (count == 1) {
		if (typed[0] == '-')
			offer_options(typed, global_args);
		else
			offer_verbs(NULL, typed);
		return;
	}
	const struct verb *v = verb_find(words, count - 1, &used);
	bool help = strcmp(words[0], "help") == 0;
	if (help && count <= 3)
		offer_verbs(count == 3 ? words[1] : NULL, typed);
	else if (v != NULL && v->complete != NULL)
		v->complete(words + used, count - used);
	else if (v != NULL)
		complete_args(t, v, words + used, count - used);
	else if (count == 2 && verb_is_group(words[0]))
		offer_verbs(words[0], typed);
}
