/* SPDX-License-Identifier: BSD-2-Clause */
/* Changes: what was or would be done, to whom, and what is to be known. */
#include <string.h>

#include "base/text.h"
#include "tools/terracectl/terracectl.h"

static const char *
sign_of(const char *what)
{
	return strcmp(what, "add") == 0 ? "+" : strcmp(what, "remove") == 0 ? "-" : "~";
}

static enum term_style
style_of(const char *what)
{
	return strcmp(what, "add") == 0      ? STYLE_OK
	       : strcmp(what, "remove") == 0 ? STYLE_BAD
	                                     : STYLE_WARN;
}

static void
print_keys(const json_t *keys, const char *what)
{
	size_t i;
	const json_t *k;

	json_array_foreach(keys, i, k)
	{
		const char *was = get_text(k, "old"), *is = get_text(k, "new");
		fputs("    ", stdout);
		out_text(stdout, get_text(k, "key"));
		fputc(' ', stdout);
		if (strcmp(what, "change") == 0) {
			out_text(stdout, was[0] != '\0' ? was : "(not set)");
			fputs(" → ", stdout);
			out_text(stdout, is[0] != '\0' ? is : "(not set)");
		} else {
			out_text(stdout, is[0] != '\0' ? is : was);
		}
		fputc('\n', stdout);
	}
}

static void
print_changes(const json_t *changes)
{
	size_t i;
	const json_t *c;

	json_array_foreach(changes, i, c)
	{
		const char *what = get_text(c, "what"), *target = get_text(c, "target");
		term_begin(style_of(what));
		printf("%s ", sign_of(what));
		out_text(stdout, get_text(c, "kind"));
		fputc(' ', stdout);
		out_text(stdout, get_text(c, "name"));
		term_end(style_of(what));
		if (target[0] != '\0') {
			fputs(" of ", stdout);
			out_text(stdout, target);
		}
		fputc('\n', stdout);
		print_keys(json_object_get(c, "keys"), what);
	}
}

void
print_sessions_affected(FILE *f, const json_t *data)
{
	const json_t *sessions = json_is_object(data) ? json_object_get(data, "sessions") : data;
	size_t i;
	const json_t *s;

	json_array_foreach(sessions, i, s)
	{
		fputs("  session ", f);
		fprintf(f, "%" JSON_INTEGER_FORMAT " of ", get_int(s, "tsih"));
		out_text(f, get_text(s, "initiator"));
		if (get_text(s, "address")[0] != '\0') {
			fputs(" (", f);
			out_text(f, get_text(s, "address"));
			fputc(')', f);
		}
		if (get_text(s, "reason")[0] != '\0') {
			fputs(": ", f);
			out_text(f, get_text(s, "reason"));
		}
		fputc('\n', f);
	}
}

/* Remarks about configuration say so themselves. */
static bool
says_remark(const char *text)
{
	return strstr(text, "remark: ") != NULL;
}

static void
print_notes(const json_t *list, const char *what)
{
	size_t i;
	const json_t *s;

	json_array_foreach(list, i, s)
	{
		const char *text = json_string_value(s);
		if (text == NULL)
			continue;
		if (!says_remark(text))
			out_styled(STYLE_WARN, what);
		out_text(stdout, text);
		fputc('\n', stdout);
	}
}

void
print_change(const json_t *result)
{
	const json_t *changes = json_object_get(result, "changes");
	const json_t *sessions = json_object_get(result, "sessions");
	bool applied = get_bool(result, "applied");
	json_int_t bytes = get_int(result, "size_bytes"); /* of a LUN that was to grow */
	char size[32];

	print_changes(changes);
	if (json_array_size(sessions) > 0) {
		puts(applied ? "Sessions that lost something:"
		             : "Sessions that would lose something:");
		print_sessions_affected(stdout, sessions);
	}
	print_notes(json_object_get(result, "remarks"), "remark: ");
	print_notes(json_object_get(result, "restart"), "needs a restart: ");
	if (applied) {
		puts("Done.");
	} else if (json_array_size(changes) + json_array_size(sessions) == 0 && bytes > 0) {
		text_format_size((uint64_t)bytes, size, sizeof size);
		printf("Nothing differs: it has %s.\n", size);
	} else if (json_array_size(changes) + json_array_size(sessions) == 0) {
		puts("Nothing differs.");
	} else {
		puts("Nothing was changed: this is what it would be.");
	}
}

int
judge_change(const json_t *result)
{
	return json_array_size(json_object_get(result, "remarks")) +
	                   json_array_size(json_object_get(result, "restart")) >
	               0
	           ? TOOL_REMARKS
	           : TOOL_DONE;
}

/* ---- configuration files ------------------------------------------------------------------------------- */

void
print_config_errors(FILE *f, const json_t *errors)
{
	size_t i;
	const json_t *e;

	json_array_foreach(errors, i, e)
	{
		if (get_bool(e, "remark") && !says_remark(get_text(e, "text")))
			fputs("remark: ", f);
		out_text(f, get_text(e, "file"));
		fprintf(f, ":%" JSON_INTEGER_FORMAT ":%" JSON_INTEGER_FORMAT ": ",
		    get_int(e, "line"), get_int(e, "column"));
		out_text(f, get_text(e, "text"));
		fputc('\n', f);
	}
}

static unsigned
count_errors(const json_t *list, bool remarks)
{
	unsigned n = 0;
	size_t i;
	const json_t *e;

	json_array_foreach(list, i, e) n += get_bool(e, "remark") == remarks;
	return n;
}

void
print_check(const json_t *result)
{
	const json_t *errors = json_object_get(result, "errors");
	json_int_t total = get_int(result, "errors_total");

	print_config_errors(stdout, errors);
	if (total > (json_int_t)count_errors(errors, false))
		printf("There are %" JSON_INTEGER_FORMAT " errors in all.\n", total);
	if (count_errors(errors, false) == 0)
		puts("The configuration has no errors.");
}

int
judge_check(const json_t *result)
{
	const json_t *errors = json_object_get(result, "errors");

	if (count_errors(errors, false) > 0)
		return TOOL_FAILED;
	return count_errors(errors, true) > 0 ? TOOL_REMARKS : TOOL_DONE;
}
