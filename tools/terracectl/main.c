/* SPDX-License-Identifier: BSD-2-Clause */
/* terracectl: the verb, its arguments, the exit status. */
#include <locale.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "tools/terracectl/terracectl.h"

static bool is_cachectl;

bool
tool_is_cachectl(void)
{
	return is_cachectl;
}

const char *
tool_name(void)
{
	return is_cachectl ? "cachectl" : "terracectl";
}

/* The names that may stand where a word isn't known: verbs' first words, or second ones of a group. */
static const char *
nearest_verb(const char *group, const char *word)
{
	char *names[128] = {NULL};
	static char near[64];
	unsigned n = 0;

	for (const struct verb *v = verbs; v->words != NULL && n < 127; v++) {
		const char *space = strchr(v->words, ' ');
		if (v->hidden)
			continue;
		if (group == NULL)
			names[n++] = strndup(v->words, strcspn(v->words, " "));
		else if (space != NULL && strncmp(v->words, group, strlen(group)) == 0)
			names[n++] = strdup(space + 1);
	}
	const char *found = text_nearest(word, (const char *const *)names);
	if (found != NULL)
		snprintf(near, sizeof near, "%s", found);
	while (n > 0)
		free(names[--n]);
	return found != NULL ? near : NULL;
}

static int
unknown_verb(const char *group, const char *word)
{
	const char *near = nearest_verb(group, word);

	if (tool_is_cachectl() && group != NULL && strcmp(group, CACHE_GROUP) == 0) {
		fputs("cachectl: there is no verb \"", stderr);
		out_text(stderr, word);
		fputs("\"", stderr);
		if (near != NULL)
			fprintf(stderr, "; did you mean \"%s\"?", near);
		fputs("\n`cachectl --help` lists them.\n", stderr);
		return TOOL_USAGE;
	}
	fprintf(stderr, "terracectl: there is no %s%s\"", group != NULL ? group : "verb",
	    group != NULL ? " verb " : " ");
	out_text(stderr, word);
	fputs("\"", stderr);
	if (near != NULL)
		fprintf(stderr, "; did you mean \"%s%s%s\"?", group != NULL ? group : "",
		    group != NULL ? " " : "", near);
	fprintf(stderr, "\n`terracectl%s%s --help` lists them.\n", group != NULL ? " " : "",
	    group != NULL ? group : "");
	return TOOL_USAGE;
}

int
run_help(struct tool *t, const struct verb *v, json_t *params)
{
	(void)v;
	(void)params;
	const json_t *words = json_object_get(params, "words");
	char *list[4];
	int count = (int)json_array_size(words), used;

	(void)t;
	if (count == 0) {
		verb_print_all();
		return TOOL_DONE;
	}
	count = count < 4 ? count : 4;
	for (int i = 0; i < count; i++)
		list[i] = (char *)(uintptr_t)json_string_value(json_array_get(words, (size_t)i));
	const struct verb *found = verb_find(list, count, &used);
	if (verb_is_group(list[0]) && count == 1)
		verb_print_group(list[0]);
	else if (found != NULL)
		verb_print_help(found);
	else
		return unknown_verb(used > 0 ? list[0] : NULL, list[used]);
	return TOOL_DONE;
}

static int
run_verb(struct tool *t, char *const *words, int count)
{
	int used;
	const struct verb *v = verb_find(words, count, &used);

	if (v == NULL && used == 1 && (count == 1 || words[1][0] == '-')) {
		/* "lun" alone lists what there is; "lun --help" what can be done. */
		char *list[] = {words[0], (char *)(uintptr_t) "list"};
		if (count > 1 && (strcmp(words[1], "--help") == 0 || strcmp(words[1], "-h") == 0)) {
			verb_print_group(words[0]);
			return TOOL_DONE;
		}
		int ignored;
		v = verb_find(list, 2, &ignored);
		if (v == NULL) { /* "cache" */
			list[1] = (char *)(uintptr_t) "status";
			v = verb_find(list, 2, &ignored);
		}
	}
	if (v == NULL)
		return unknown_verb(used > 0 ? words[0] : NULL, words[used]);
	int own = v->complete != NULL ? used : count;
	for (int i = used; v->takes_command && own == count && i < count; i++)
		if (strcmp(words[i], "--") == 0)
			own = i;
	int dashes = v->complete == NULL && own < count;
	t->command = words + own + dashes;
	t->command_count = count - own - dashes;
	json_t *params = args_parse(t, v, words + used, own - used);
	if (params == NULL)
		return TOOL_USAGE;
	int status = TOOL_DONE;
	if (t->help)
		verb_print_help(v);
	else
		status = v->run != NULL ? v->run(t, v, params) : tool_run(t, v, params);
	json_decref(params);
	return status;
}

/* Options before the verb. The number of words they are, or -1. */
static int
leading_options(struct tool *t, char *const *words, int count)
{
	int at = 0;

	while (at < count && words[at][0] == '-') {
		if (strcmp(words[at], "--version") == 0 || strcmp(words[at], "-V") == 0) {
			printf("%s %s\n", tool_name(), TERRACE_VERSION);
			exit(TOOL_DONE);
		}
		int n = args_global(t, words + at, count - at);
		if (n == 0) {
			fprintf(stderr, "%s: there is no option ", tool_name());
			out_text(stderr, words[at]);
			fprintf(
			    stderr, " before a verb; `%s --help` lists the verbs.\n", tool_name());
			return -1;
		}
		if (n < 0)
			return -1;
		at += n;
	}
	return at;
}

/* The words are somebody's half-typed line: nothing of them is parsed as ours. */
static bool
complete(struct tool *t, char *const *words, int count)
{
	if (tool_is_cachectl() && count > 1 && strcmp(words[0], CACHE_GROUP) == 0) {
		words++;
		count--;
	}
	if (count == 0 || strcmp(words[0], "complete") != 0)
		return false;
	int skip = count > 1 && strcmp(words[1], "--") == 0 ? 2 : 1;
	if (tool_is_cachectl())
		complete_cache_words(t, words + skip, count - skip);
	else
		complete_words(t, words + skip, count - skip);
	return true;
}

static int
run(struct tool *t, char *const *words, int count)
{
	int used = leading_options(t, words, count);
	if (used < 0)
		return TOOL_USAGE;
	if (complete(t, words + used, count - used))
		return TOOL_DONE;
	if (used < count)
		return run_verb(t, words + used, count - used);
	if (t->help && tool_is_cachectl())
		verb_print_group(CACHE_GROUP);
	else if (t->help)
		verb_print_all();
	if (t->help)
		return TOOL_DONE;
	fprintf(stderr, "%s: what is to be done? `%s --help` lists the verbs.\n", tool_name(),
	    tool_name());
	return TOOL_USAGE;
}

/* As cachectl every verb is one of the group "cache", but `help`. */
static int
arrange(char *const *words, int count, char **ret)
{
	int at = 0, n = 0;

	if (is_cachectl) {
		while (at < count && words[at][0] == '-') {
			bool value = strcmp(words[at], "--control") == 0;
			ret[n++] = words[at++];
			if (value && at < count)
				ret[n++] = words[at++];
		}
		if (at < count && strcmp(words[at], "help") == 0)
			ret[n++] = words[at++];
		if (at < count)
			ret[n++] = (char *)(uintptr_t)CACHE_GROUP;
	}
	while (at < count)
		ret[n++] = words[at++];
	return n;
}

int
main(int argc, char **argv)
{
	struct tool t = {.local = json_object()};
	const char *slash = strrchr(argc > 0 ? argv[0] : "", '/');
	char **words = calloc((size_t)argc + 2, sizeof *words);

	is_cachectl = strcmp(slash != NULL ? slash + 1 : argc > 0 ? argv[0] : "", "cachectl") == 0;
	setlocale(LC_TIME, "");
	if (words == NULL) {
		fputs("out of memory\n", stderr);
		return TOOL_FAILED;
	}
	int count = arrange(argv + 1, argc - 1, words);
	int status = run(&t, words, count);
	free(words);
	/* What couldn't be written wasn't said. */
	if ((fflush(stdout) != 0 || ferror(stdout)) && status == TOOL_DONE)
		status = TOOL_FAILED;
	client_close(t.client);
	json_decref(t.local);
	return status;
}
