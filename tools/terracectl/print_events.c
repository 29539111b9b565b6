/* SPDX-License-Identifier: BSD-2-Clause */
/* Events: what happened, and on demand what happens. */
#include <string.h>

#include "tools/terracectl/terracectl.h"

#define WAIT_MS 20000 /* a request waits for an event at most so long */

static enum term_style
style_of(const json_t *e)
{
	const char *severity = get_text(e, "severity");

	if (strcmp(get_text(e, "event"), "cleared") == 0)
		return STYLE_OK;
	if (strcmp(severity, "failed") == 0)
		return STYLE_BAD;
	return severity[0] != '\0' || strcmp(get_text(e, "event"), "refused") == 0 ? STYLE_WARN
	                                                                           : STYLE_NONE;
}

static void
print_event(const json_t *e)
{
	char time[32];

	text_time(get_number(e, "time"), time, sizeof time);
	printf("%6" JSON_INTEGER_FORMAT "  %s  ", get_int(e, "id"), time);
	term_begin(style_of(e));
	printf("%-8s", get_text(e, "event"));
	term_end(style_of(e));
	fputs("  ", stdout);
	if (get_text(e, "code")[0] != '\0') {
		putchar('[');
		out_text(stdout, get_text(e, "code"));
		fputs("] ", stdout);
	}
	out_text(stdout, get_text(e, "text"));
	putchar('\n');
}

static void
print_events(const struct tool *t, const json_t *answer)
{
	const json_t *list = json_object_get(answer, "events");
	size_t i;
	const json_t *e;

	if (t->json && json_object_get(answer, "next") == NULL)
		return;
	if (get_int(answer, "lost") > 0 && !t->json)
		printf("(%" JSON_INTEGER_FORMAT " events before these are kept no longer)\n",
		    get_int(answer, "lost"));
	json_array_foreach(list, i, e)
	{
		if (t->json)
			tool_print_json(e, true);
		else
			print_event(e);
	}
}

static int
follow(struct tool *t, json_t *params)
{
	bool first = true;

	for (;;) {
		int status;
		json_t *p = json_copy(params);
		if (!first) {
			json_object_del(p, "limit");
			json_object_set_new(p, "wait_ms", json_integer(WAIT_MS));
		}
		json_t *answer = tool_call(t, "events", p, &status);
		if (answer == NULL)
			return status;
		print_events(t, answer);
		if (fflush(stdout) != 0)
			return TOOL_FAILED;
		json_object_set(params, "since", json_object_get(answer, "next"));
		json_decref(answer);
		first = false;
	}
}

int
run_events(struct tool *t, const struct verb *v, json_t *params)
{
	int status;

	if (json_object_del(params, "follow") == 0)
		return follow(t, params);
	json_t *answer = tool_call(t, v->method, json_incref(params), &status);
	if (answer == NULL)
		return status;
	if (t->json) {
		tool_print_json(answer, false);
	} else {
		print_events(t, answer);
		if (json_array_size(json_object_get(answer, "events")) == 0)
			puts("Nothing happened yet.");
	}
	json_decref(answer);
	return TOOL_DONE;
}
