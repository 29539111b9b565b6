/* SPDX-License-Identifier: BSD-2-Clause */
/* Words → a verb and its parameters; what is wrong is said with the nearest that would be right. */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "tools/terracectl/terracectl.h"

#define USAGE_WIDTH 90u

const struct arg global_args[] = {
    {"--control", "control", ARG_LOCAL, false, "SOCKET", "control socket of the daemon", "file"},
    {"--json", "json", ARG_FLAG, false, NULL, "the answer as JSON", NULL},
    {"--help", "help", ARG_FLAG, false, NULL, "what this verb does and takes", NULL},
    {.name = NULL},
};

#define DRY_RUN                                                                                    \
	{                                                                                          \
		"--dry-run", "dry_run", ARG_FLAG, false, NULL, "only say what would change", NULL  \
	}
#define YES                                                                                        \
	{                                                                                          \
		"--yes", "yes", ARG_FLAG, false, NULL, "also if it takes something from sessions", \
		    NULL                                                                           \
	}

static const struct arg change_args[] = {
    DRY_RUN,
    YES,
    {"--runtime", "runtime", ARG_FLAG, false, NULL, "until the restart only: write no file", NULL},
    {.name = NULL},
};
static const struct arg change_running_args[] = {DRY_RUN, YES, {.name = NULL}};
static const struct arg change_dry_args[] = {DRY_RUN, {.name = NULL}};

const struct arg *
verb_change_args(const struct verb *v)
{
	if (!v->changes)
		return NULL;
	if (v->no_yes)
		return change_dry_args;
	return v->no_runtime ? change_running_args : change_args;
}

/* ---- verbs ------------------------------------------------------------------------------------------- */

static unsigned
word_count(const char *words)
{
	unsigned n = 1;
	for (; *words != '\0'; words++)
		n += *words == ' ';
	return n;
}

/* True if the `n`th word of `words` is `word`. */
static bool
is_word(const char *words, unsigned n, const char *word)
{
	for (; n > 0; n--) {
		words = strchr(words, ' ');
		if (words == NULL)
			return false;
		words++;
	}
	size_t len = strcspn(words, " ");
	return strlen(word) == len && strncmp(words, word, len) == 0;
}

bool
verb_is_group(const char *word)
{
	for (const struct verb *v = verbs; v->words != NULL; v++)
		if (word_count(v->words) > 1 && is_word(v->words, 0, word))
			return true;
	return false;
}

const struct verb *
verb_find(char *const *words, int count, int *ret_count)
{
	const struct verb *best = NULL;
	unsigned best_count = 0;

	*ret_count = count > 0 && verb_is_group(words[0]) ? 1 : 0;
	for (const struct verb *v = verbs; v->words != NULL; v++) {
		unsigned n = word_count(v->words), i = 0;
		if (n > (unsigned)count || n <= best_count)
			continue;
		while (i < n && is_word(v->words, i, words[i]))
			i++;
		if (i == n) {
			best = v;
			best_count = n;
		}
	}
	if (best != NULL)
		*ret_count = (int)best_count;
	return best;
}

/* ---- help ---------------------------------------------------------------------------------------------- */

static bool
is_option(const struct arg *a)
{
	return a->name[0] == '-';
}

static bool
has_value(const struct arg *a)
{
	return a->kind != ARG_FLAG && a->kind != ARG_NULL;
}

/* " [--size SIZE]" */
static void
arg_text(const struct arg *a, char *buf, size_t cap)
{
	bool many = a->kind == ARG_LIST || a->kind == ARG_PAIR || a->kind == ARG_VALUE;
	bool value = is_option(a) && has_value(a);

	snprintf(buf, cap, " %s%s%s%s%s%s", a->required ? "" : "[", a->name, value ? " " : "",
	    value ? a->value : "", a->required ? "" : "]", many ? "…" : "");
}

/* In lines of at most USAGE_WIDTH; `column`: where it begins. */
static void
print_args(const struct arg *args, unsigned *column, FILE *f)
{
	char text[96];

	for (const struct arg *a = args; a != NULL && a->name != NULL; a++) {
		arg_text(a, text, sizeof text);
		unsigned columns = text_columns(text);
		if (*column + columns > USAGE_WIDTH)
			*column = (unsigned)fprintf(f, "\n          ") - 1;
		fputs(text, f);
		*column += columns;
	}
}

void
verb_print_usage(const struct verb *v, FILE *f)
{
	unsigned column = 7 + (unsigned)fprintf(f, "%s %s", tool_name(), verb_shown(v));

	print_args(v->args, &column, f);
	print_args(verb_change_args(v), &column, f);
	if (v->takes_command)
		fputs(" -- COMMAND…", f);
	fputc('\n', f);
}

static void
print_args_help(const struct arg *args)
{
	for (const struct arg *a = args; a != NULL && a->name != NULL; a++) {
		char left[80];
		snprintf(left, sizeof left, "%s%s%s", a->name,
		    is_option(a) && has_value(a) ? " " : "",
		    is_option(a) && has_value(a) ? a->value : "");
		printf("  %-24s  %s\n", left, a->help);
	}
}

void
verb_print_help(const struct verb *v)
{
	fputs("usage: ", stdout);
	verb_print_usage(v, stdout);
	printf("\n%c%s.\n", v->help[0] >= 'a' && v->help[0] <= 'z' ? v->help[0] - 32 : v->help[0],
	    v->help + 1);
	if (v->more != NULL)
		printf("%s\n", v->more);
	fputc('\n', stdout);
	print_args_help(v->args);
	print_args_help(verb_change_args(v));
	print_args_help(global_args);
}

static const char statuses[] =
    "Exit status: 0 done, 1 failed, 2 wrong usage, 3 done with remarks, 4 terraced isn't\n"
    "reachable, 5 refused without --yes.\n";

const char *
verb_shown(const struct verb *v)
{
	size_t len = strlen(CACHE_GROUP);
	bool short_form = tool_is_cachectl() && strncmp(v->words, CACHE_GROUP " ", len + 1) == 0;
	return short_form ? v->words + len + 1 : v->words;
}

static void
print_verbs(const char *group)
{
	for (const struct verb *v = verbs; v->words != NULL; v++)
		if (!v->hidden && (group == NULL ? !is_word(v->words, 0, CACHE_GROUP)
		                                 : is_word(v->words, 0, group)))
			printf("  %-14s  %s\n", verb_shown(v), v->help);
}

void
verb_print_group(const char *word)
{
	bool whole = tool_is_cachectl() && strcmp(word, CACHE_GROUP) == 0;

	printf("usage: %s%s%s VERB …\n\n", tool_name(), whole ? "" : " ", whole ? "" : word);
	print_verbs(word);
	if (whole) {
		printf(
		    "\n`cachectl VERB --help` says what each takes; cachectl(8) is the manual.\n%s",
		    statuses);
		return;
	}
	puts("\n`terracectl VERB --help` says what each takes.");
}

void
verb_print_all(void)
{
	puts("usage: terracectl [--control SOCKET] [--json] VERB …\n");
	print_verbs(NULL);
	printf("\n`terracectl VERB --help` says what each takes; terracectl(8) is the manual. "
	       "Caches have a\n"
	       "program of their own, cachectl, which is also `terracectl cache`.\n%s",
	    statuses);
}

/* ---- parsing ------------------------------------------------------------------------------------------- */

struct parse {
	struct tool *tool;
	const struct verb *verb; /* NULL: only what every verb has */
	json_t *params;
};

static bool
wrong(const struct parse *p, const char *before, const char *word, const char *after)
{
	fprintf(stderr, "%s: %s", tool_name(), before);
	out_text(stderr, word);
	fprintf(stderr, "%s\n", after);
	if (p->verb != NULL) {
		fputs("usage: ", stderr);
		verb_print_usage(p->verb, stderr);
	}
	return false;
}

/* A string that isn't UTF-8 can't be sent. */
static bool
add_text(const struct parse *p, const struct arg *a, json_t *to, const char *text)
{
	json_t *s = json_string(text);

	if (s == NULL)
		return wrong(p, a->name, ": this isn't UTF-8", "");
	if (json_is_array(to))
		json_array_append_new(to, s);
	else
		json_object_set_new(to, a->param, s);
	return true;
}

static json_t *
list_of(json_t *params, const char *param)
{
	json_t *list = json_object_get(params, param);
	if (list == NULL) {
		list = json_array();
		json_object_set_new(params, param, list);
	}
	return list;
}

static bool
add_pair(const struct parse *p, const struct arg *a, const char *text)
{
	const char *equals = strchr(text, '=');

	if (equals == NULL || equals == text)
		return wrong(p, "this isn't KEY=VALUE: ", text, "");
	json_t *object = json_object_get(p->params, a->param);
	if (object == NULL) {
		object = json_object();
		json_object_set_new(p->params, a->param, object);
	}
	char *key = strndup(text, (size_t)(equals - text));
	json_t *value = json_string(equals + 1);
	bool twice = key != NULL && json_object_get(object, key) != NULL;
	int rc = key == NULL || value == NULL ? -1 : json_object_set(object, key, value);
	json_decref(value);
	free(key);
	if (twice)
		return wrong(p, "this key is given twice: ", text, "");
	return rc == 0 || wrong(p, a->name, ": this isn't UTF-8", "");
}

/* Turns one text of `a` into a list if there is a second one. */
static bool
add_value(const struct parse *p, const struct arg *a, const char *text)
{
	json_t *was = json_object_get(p->params, a->param);

	if (was == NULL)
		return add_text(p, a, p->params, text);
	if (json_is_null(was))
		return wrong(p, "a value and --default exclude each other", "", "");
	if (!json_is_array(was))
		json_object_set_new(p->params, a->param, json_pack("[O]", was));
	return add_text(p, a, json_object_get(p->params, a->param), text);
}

static bool
add_int(const struct parse *p, const struct arg *a, const char *text)
{
	uint64_t n;

	if (text_parse_u64(text, UINT32_MAX, &n) < 0)
		return wrong(p, a->name, " takes a whole number from 0 on, not ", text);
	json_object_set_new(p->params, a->param, json_integer((json_int_t)n));
	return true;
}

static bool
add(const struct parse *p, const struct arg *a, const char *text)
{
	json_t *into = a->kind == ARG_LOCAL ? p->tool->local : p->params;
	bool many = a->kind == ARG_LIST || a->kind == ARG_PAIR || a->kind == ARG_VALUE;

	if (!many && json_object_get(into, a->param) != NULL)
		return wrong(p, a->name,
		    a->kind == ARG_NULL ? " and a value exclude each other" : " is given twice",
		    "");
	switch (a->kind) {
	case ARG_TEXT:
	case ARG_LOCAL:
		return add_text(p, a, into, text);
	case ARG_INT:
		return add_int(p, a, text);
	case ARG_FLAG:
		json_object_set_new(into, a->param, json_true());
		return true;
	case ARG_NULL:
		json_object_set_new(into, a->param, json_null());
		return true;
	case ARG_LIST:
		return add_text(p, a, list_of(into, a->param), text);
	case ARG_PAIR:
		return add_pair(p, a, text);
	case ARG_VALUE:
		return add_value(p, a, text);
	}
	return false;
}

/* A flag or option that every verb, or every verb that changes something, has. */
static bool
add_common(const struct parse *p, const struct arg *a, const char *value)
{
	struct tool *t = p->tool;

	if (strcmp(a->param, "control") == 0)
		t->control = value;
	else if (strcmp(a->param, "json") == 0)
		t->json = true;
	else if (strcmp(a->param, "help") == 0)
		t->help = true;
	else if (strcmp(a->param, "dry_run") == 0)
		t->dry_run = true;
	else if (strcmp(a->param, "yes") == 0)
		t->yes = true;
	else
		t->runtime = true;
	return true;
}

static const struct arg *
find_option(const struct arg *args, const char *word, size_t len)
{
	for (const struct arg *a = args; a != NULL && a->name != NULL; a++)
		if (is_option(a) && strlen(a->name) == len && strncmp(a->name, word, len) == 0)
			return a;
	return NULL;
}

static bool
unknown_option(const struct parse *p, const char *word)
{
	const char *names[64] = {NULL};
	const struct arg *tables[] = {p->verb != NULL ? p->verb->args : NULL, global_args,
	    p->verb != NULL ? verb_change_args(p->verb) : NULL};
	char message[128];
	unsigned n = 0;

	if (strncmp(word, "--secret=", 9) == 0 || strcmp(word, "--secret") == 0 ||
	    strncmp(word, "--mutual-secret", 15) == 0)
		return wrong(p,
		    "a secret on the command line can be seen by every user of this machine: it "
		    "is asked for on the terminal, or read with --secret-file",
		    "", "");
	for (unsigned i = 0; i < sizeof tables / sizeof tables[0]; i++)
		for (const struct arg *a = tables[i]; a != NULL && a->name != NULL && n < 63; a++)
			if (is_option(a))
				names[n++] = a->name;
	const char *near = text_nearest(word, names);
	if (near == NULL)
		return wrong(p, "there is no option ", word, "");
	snprintf(message, sizeof message, "; did you mean %s?", near);
	return wrong(p, "there is no option ", word, message);
}

/* Words taken, or -1. `only_global`: 0 also for what isn't known. */
static int
parse_option(const struct parse *p, char *const *words, int count, bool only_global)
{
	const char *word = words[0], *equals = strchr(word, '=');
	size_t len = equals != NULL ? (size_t)(equals - word) : strlen(word);
	bool common = true;

	if (strcmp(word, "-h") == 0) {
		p->tool->help = true;
		return 1;
	}
	if (strcmp(word, "-o") == 0) {
		word = "--output";
		len = strlen(word);
	}
	const struct arg *a = find_option(global_args, word, len);
	if (a == NULL && p->verb != NULL)
		a = find_option(verb_change_args(p->verb), word, len);
	if (a == NULL && p->verb != NULL) {
		a = find_option(p->verb->args, word, len);
		common = false;
	}
	if (a == NULL)
		return only_global ? 0 : unknown_option(p, word) - 1;
	const char *value = NULL;
	int used = 1;
	if (has_value(a) && equals != NULL) {
		value = equals + 1;
	} else if (has_value(a)) {
		if (count < 2)
			return wrong(p, a->name, " needs a value: ", a->value) - 1;
		value = words[1];
		used = 2;
	} else if (equals != NULL) {
		return wrong(p, a->name, " takes no value", "") - 1;
	}
	return (common ? add_common(p, a, value) : add(p, a, value)) ? used : -1;
}

int
args_global(struct tool *t, char *const *words, int count)
{
	const struct parse p = {.tool = t};
	return parse_option(&p, words, count, true);
}

/* The argument that the next word by position is for. */
static const struct arg *
next_position(const struct parse *p, const struct arg *last)
{
	const struct arg *a = p->verb->args;

	if (last != NULL && (last->kind == ARG_LIST || last->kind == ARG_VALUE))
		return last;
	if (last != NULL)
		a = last + 1;
	while (a != NULL && a->name != NULL && is_option(a))
		a++;
	return a != NULL && a->name != NULL ? a : NULL;
}

static bool
check_required(const struct parse *p)
{
	for (const struct arg *a = p->verb->args; a != NULL && a->name != NULL; a++) {
		const json_t *in = a->kind == ARG_LOCAL ? p->tool->local : p->params;
		if (a->required && json_object_get(in, a->param) == NULL)
			return wrong(p, a->name, " is missing: ", a->help);
	}
	return true;
}

static bool
parse(struct parse *p, char *const *words, int count)
{
	const struct arg *position = NULL;
	bool options = true;

	for (int i = 0; i < count;) {
		if (options && strcmp(words[i], "--") == 0) {
			options = false;
			i++;
		} else if (options && words[i][0] == '-' && words[i][1] != '\0') {
			int n = parse_option(p, words + i, count - i, false);
			if (n < 0)
				return false;
			i += n;
		} else {
			position = next_position(p, position);
			if (position == NULL)
				return wrong(p, "one word too many: ", words[i], "");
			if (!add(p, position, words[i]))
				return false;
			i++;
		}
	}
	return p->tool->help || check_required(p);
}

json_t *
args_parse(struct tool *t, const struct verb *v, char *const *words, int count)
{
	struct parse p = {.tool = t, .verb = v, .params = json_object()};

	if (p.params == NULL || !parse(&p, words, count)) {
		json_decref(p.params);
		return NULL;
	}
	return p.params;
}
