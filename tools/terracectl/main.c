/* terracectl: the verb, its arguments, the exit status. */
#include <locale.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "tools/terracectl/terracectl.h"

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
	}
	if (v == NULL)
		return unknown_verb(used > 0 ? words[0] : NULL, words[used]);
	json_t *params = args_parse(t, v, words + used, count - used);
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
			puts("terracectl " TERRACE_VERSION);
			exit(TOOL_DONE);
		}
		int n = args_global(t, words + at, count - at);
		if (n == 0) {
			fputs("terracectl: there is no option ", stderr);
			out_text(stderr, words[at]);
			fputs(" before a verb; `terracectl --help` lists the verbs.\n", stderr);
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
	if (count == 0 || strcmp(words[0], "complete") != 0)
		return false;
	int skip = count > 1 && strcmp(words[1], "--") == 0 ? 2 : 1;
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
	if (t->help) {
		verb_print_all();
		return TOOL_DONE;
	}
	fputs("terracectl: what is to be done? `terracectl --help` lists the verbs.\n", stderr);
	return TOOL_USAGE;
}

int
main(int argc, char **argv)
{
	struct tool t = {.local = json_object()};

	setlocale(LC_TIME, "");
	int status = run(&t, argv + 1, argc - 1);
	/* What couldn't be written wasn't said. */
	if ((fflush(stdout) != 0 || ferror(stdout)) && status == TOOL_DONE)
		status = TOOL_FAILED;
	client_close(t.client);
	json_decref(t.local);
	return status;
}
