/* SPDX-License-Identifier: BSD-2-Clause */
/* What a condition means: known without a daemon. */
#include <string.h>

#include "base/text.h"
#include "health/health.h"
#include "tools/terracectl/terracectl.h"

#define WIDTH_MAX 100u

/* Words of a text in lines; an empty line between paragraphs. */
static void
print_wrapped(const char *text, unsigned indent)
{
	unsigned width = term_columns() < WIDTH_MAX ? term_columns() : WIDTH_MAX, column = 0;

	while (*text != '\0') {
		size_t len = strcspn(text, " \n");
		char word[512];
		snprintf(word, sizeof word, "%.*s", (int)len, text);
		unsigned columns = text_columns(word);
		if (column > indent && column + 1 + columns > width) {
			putchar('\n');
			column = 0;
		}
		if (len > 0) {
			if (column == 0)
				column = (unsigned)printf("%*s", (int)indent, "");
			else if (column > indent)
				column += (unsigned)printf(" ");
			fputs(word, stdout);
			column += columns;
		}
		text += len;
		if (*text == '\n') {
			putchar('\n');
			column = 0;
		}
		text += *text != '\0';
	}
	putchar('\n');
}

static json_t *
condition_json(const struct health_condition *c)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "code", c->code, "name", c->name,
	    "severity", health_severity_name(c->severity), "title", c->title, "effect", c->effect,
	    "action", c->action, "explanation", c->explanation);
}

static int
list_all(const struct tool *t)
{
	static const struct column columns[] = {{"CODE", false, false}, {"NAME", false, false},
	    {"SEVERITY", false, false}, {"MEANING", false, false}};
	json_t *list = json_array();
	struct table *table = table_create(columns, sizeof columns / sizeof columns[0]);

	for (unsigned i = 0; i < HEALTH_CODE_COUNT; i++) {
		const struct health_condition *c = health_condition((enum health_code)i);
		json_array_append_new(list, condition_json(c));
		table_add(table, c->code);
		table_add(table, c->name);
		table_add(table, health_severity_name(c->severity));
		table_add(table, c->title);
	}
	if (t->json)
		tool_print_json(list, false);
	else
		table_print(table, true);
	table_destroy(table);
	json_decref(list);
	return TOOL_DONE;
}

static const char *
nearest_condition(const char *word)
{
	const char *names[HEALTH_CODE_COUNT + 1] = {NULL};

	for (unsigned i = 0; i < HEALTH_CODE_COUNT; i++)
		names[i] = health_condition((enum health_code)i)->name;
	const char *near = text_nearest(word, names);
	for (unsigned i = 0; near == NULL && i < HEALTH_CODE_COUNT; i++)
		names[i] = health_condition((enum health_code)i)->code;
	return near != NULL ? near : text_nearest(word, names);
}

int
run_explain(struct tool *t, const struct verb *v, json_t *params)
{
	const char *word = get_text(t->local, "code");

	(void)v;
	(void)params;
	if (word[0] == '\0')
		return list_all(t);
	const struct health_condition *c = health_condition_find(word);
	if (c == NULL) {
		const char *near = nearest_condition(word);
		return tool_error(t, TOOL_USAGE,
		    "there is no condition \"%s\"%s%s%s; `terracectl explain` lists all", word,
		    near != NULL ? "; did you mean " : "", near != NULL ? near : "",
		    near != NULL ? "?" : "");
	}
	if (t->json) {
		json_t *o = condition_json(c);
		tool_print_json(o, false);
		json_decref(o);
		return TOOL_DONE;
	}
	term_begin(STYLE_BOLD);
	printf("[%s] %s", c->code, c->title);
	term_end(STYLE_BOLD);
	printf(" (%s, %s)\n", c->name, health_severity_name(c->severity));
	print_wrapped("effect:", 2);
	print_wrapped(c->effect, 4);
	print_wrapped("action:", 2);
	print_wrapped(c->action, 4);
	putchar('\n');
	print_wrapped(c->explanation, 0);
	return TOOL_DONE;
}
