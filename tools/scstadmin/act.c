/* SPDX-License-Identifier: BSD-2-Clause */
/* Doing what an order means: methods, the verbs of terracectl that are the same, what is said. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "tools/scstadmin/scstadmin.h"

/* ---- the same as a command ------------------------------------------------------------------------ */

static const struct verb *
verb_of(const char *method)
{
	for (const struct verb *v = verbs; v->words != NULL; v++)
		if (v->method != NULL && v->changes && strcmp(v->method, method) == 0 &&
		    strncmp(v->words, method, strcspn(v->words, " ")) == 0)
			return v;
	return NULL;
}

/* As a shell takes it. */
static void
put_word(FILE *f, const char *word)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	                            "_./:@%+=,-";

	if (word[0] != '\0' && word[strspn(word, plain)] == '\0') {
		fputs(word, f);
		return;
	}
	fputc('\'', f);
	for (; *word != '\0'; word++) {
		if (*word == '\'')
			fputs("'\\''", f);
		else
			fputc(*word, f);
	}
	fputc('\'', f);
}

static void
put_value(FILE *f, const struct arg *a, const json_t *value)
{
	if (a->name[0] == '-') {
		fprintf(f, " %s", a->name);
		if (json_is_boolean(value) || json_is_null(value))
			return;
	}
	fputc(' ', f);
	if (json_is_integer(value))
		fprintf(f, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
	else
		put_word(f, json_is_string(value) ? json_string_value(value) : "");
}

static void
put_pairs(FILE *f, const struct arg *a, const json_t *object)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)object, key, value)
	{
		const char *text = json_string_value(value);
		size_t cap = strlen(key) + (text != NULL ? strlen(text) : 0) + 2;
		char *pair = malloc(cap);
		if (pair == NULL)
			return;
		snprintf(pair, cap, "%s=%s", key, text != NULL ? text : "");
		fprintf(f, " %s ", a->name);
		put_word(f, pair);
		free(pair);
	}
}

static void
put_arg(FILE *f, const struct arg *a, const json_t *params)
{
	const json_t *value = json_object_get(params, a->param);
	size_t i;
	const json_t *one;

	/* Of two rows for one parameter, the one that takes this value. */
	if (value == NULL || a->kind == ARG_LOCAL || json_is_null(value) != (a->kind == ARG_NULL))
		return;
	if (json_is_object(value)) {
		put_pairs(f, a, value);
	} else if (json_is_array(value)) {
		json_array_foreach(value, i, one) put_value(f, a, one);
	} else {
		put_value(f, a, value);
	}
}

/* "terracectl lun create a --store …": to be freed, or NULL. Secrets are parameters that no row shows. */
static char *
command_text(const struct admin *a, const char *method, const json_t *params)
{
	const struct verb *v = verb_of(method);
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	if (f == NULL)
		return NULL;
	fprintf(f, "terracectl %s", v != NULL ? v->words : method);
	for (const struct arg *r = v != NULL ? v->args : NULL; r != NULL && r->name != NULL; r++)
		put_arg(f, r, params);
	if (a->tool->runtime)
		fputs(" --runtime", f);
	if (fclose(f) != 0) {
		free(text);
		return NULL;
	}
	return text;
}

/* ---- saying ------------------------------------------------------------------------------------------ */

__attribute__((format(printf, 1, 0))) static char *
format(const char *fmt, va_list ap)
{
	char *text = NULL;
	return vasprintf(&text, fmt, ap) < 0 ? NULL : text;
}

static void
add_remark(struct admin *a, const char *before, const char *text)
{
	json_array_append_new(a->remarks, json_string(text != NULL ? text : ""));
	if (a->tool->json)
		return;
	fflush(stdout);
	fprintf(stderr, "%s", before);
	out_text(stderr, text != NULL ? text : "out of memory");
	fputc('\n', stderr);
}

void
act_remark(struct admin *a, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	char *text = format(fmt, ap);
	va_end(ap);
	add_remark(a, "remark: ", text);
	free(text);
}

int
act_none(struct admin *a, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	char *text = format(fmt, ap);
	va_end(ap);
	add_remark(a, "Nothing was done: ", text);
	free(text);
	return TOOL_REMARKS;
}

int
act_fail(struct admin *a, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	char *text = format(fmt, ap);
	va_end(ap);
	a->failed = true;
	int status = tool_error(a->tool, TOOL_FAILED, "%s", text != NULL ? text : "out of memory");
	free(text);
	return status;
}

int
act_nothing(struct admin *a, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	char *text = format(fmt, ap);
	va_end(ap);
	if (!a->tool->json) {
		fputs("Nothing needs to be done: ", stdout);
		out_text(stdout, text != NULL ? text : "");
		putchar('\n');
	}
	free(text);
	return TOOL_DONE;
}

bool
act_is_sure(const struct admin *a)
{
	return a->tool->yes || a->order.sure;
}

/* ---- doing ------------------------------------------------------------------------------------------- */

static json_t *
with_flags(const struct admin *a, const json_t *params, bool yes)
{
	json_t *p = json_copy((json_t *)(uintptr_t)params);

	if (a->tool->dry_run)
		json_object_set_new(p, "dry_run", json_true());
	if (yes)
		json_object_set_new(p, "yes", json_true());
	if (a->tool->runtime)
		json_object_set_new(p, "runtime", json_true());
	return p;
}

/* A person may say yes at once. */
static bool
ask(const struct admin *a, const struct answer *answer)
{
	if (answer->code != CODE_NEEDS_YES || a->tool->json || act_is_sure(a) || !term_asks())
		return false;
	fflush(stdout);
	out_text(stderr, answer->message != NULL ? answer->message : "");
	fputc('\n', stderr);
	print_sessions_affected(stderr, answer->data);
	return term_confirm("Go on?");
}

static int
call(struct admin *a, const char *method, const json_t *params, const char *command)
{
	struct answer answer;
	int status = tool_connect(a->tool);

	if (status != TOOL_DONE) {
		a->failed = true;
		return status;
	}
	client_call(a->tool->client, method, with_flags(a, params, act_is_sure(a)), 0, &answer);
	if (answer.result == NULL && ask(a, &answer)) {
		answer_fini(&answer);
		client_call(a->tool->client, method, with_flags(a, params, true), 0, &answer);
	}
	if (answer.result == NULL) {
		a->failed = true;
		status = tool_fail(a->tool, &answer);
	} else {
		/* That nobody sees a device yet is so until the order that comes next. */
		if (json_array_size(json_object_get(answer.result, "restart")) > 0)
			status = TOOL_REMARKS;
		if (a->tool->json)
			json_array_append_new(a->commands,
			    json_pack("{s:s, s:O}", "command", command, "result", answer.result));
		else
			print_change(answer.result);
	}
	answer_fini(&answer);
	return status;
}

int
act(struct admin *a, const char *method, json_t *params)
{
	char *command = command_text(a, method, params);
	int status = TOOL_DONE;

	if (command == NULL) {
		json_decref(params);
		return act_fail(a, "out of memory");
	}
	if (!a->tool->json) {
		fputs("Here: ", stdout);
		out_text(stdout, command);
		putchar('\n');
	}
	/* What follows another order would find its result, which a dry run doesn't make. */
	if (!a->tool->dry_run || a->acts == 0)
		status = call(a, method, params, command);
	else if (a->tool->json)
		json_array_append_new(
		    a->commands, json_pack("{s:s, s:n}", "command", command, "result"));
	a->acts++;
	json_object_clear(a->lists);
	free(command);
	json_decref(params);
	return status;
}

int
act_look(struct admin *a, const char *words)
{
	char *list[4] = {NULL}, *copy = strdup(words), *rest = NULL;
	int count = 0, used;

	if (copy == NULL)
		return act_fail(a, "out of memory");
	for (char *w = strtok_r(copy, " ", &rest); w != NULL && count < 4;
	     w = strtok_r(NULL, " ", &rest))
		list[count++] = w;
	const struct verb *v = verb_find(list, count, &used);
	int status = TOOL_FAILED;
	if (v != NULL) {
		json_t *params = json_object();
		if (!a->tool->json)
			printf("Here: terracectl %s\n", words);
		a->failed = true; /* it prints its answer itself */
		status = v->run != NULL ? v->run(a->tool, v, params) : tool_run(a->tool, v, params);
		json_decref(params);
	}
	free(copy);
	return status;
}

const json_t *
act_list(struct admin *a, const char *method)
{
	json_t *answer = json_object_get(a->lists, method);
	int status;

	if (answer != NULL)
		return answer;
	json_t *params = strcmp(method, "lun.list") == 0 ? json_pack("{s:b}", "stats", 0) : NULL;
	answer = tool_call(a->tool, method, params, &status);
	if (answer == NULL)
		a->failed = true;
	else
		json_object_set_new(a->lists, method, answer);
	return answer;
}

/* ---- attributes --------------------------------------------------------------------------------------- */

json_t *
act_attributes(struct admin *a, const char *text)
{
	json_t *object = json_object();
	char *copy = strdup(text != NULL ? text : ""), *rest = NULL;
	bool good = copy != NULL && object != NULL;

	for (char *one = good ? strtok_r(copy, ",", &rest) : NULL; one != NULL && good;
	     one = strtok_r(NULL, ",", &rest)) {
		char *equals = strchr(one, '=');
		json_t *value = equals != NULL ? json_string(equals + 1) : NULL;
		if (equals == NULL || equals == one || value == NULL) {
			(void)act_fail(a, "-attributes takes NAME=VALUE,NAME=VALUE, not %s", one);
			json_decref(value);
			good = false;
			break;
		}
		*equals = '\0';
		for (char *p = one; *p != '\0'; p++)
			if ((unsigned char)*p >= 0x80)
				good = false;
		if (!good || json_object_set_new(object, one, value) < 0) {
			(void)act_fail(a, "-attributes: a name that isn't ASCII");
			good = false;
		}
	}
	free(copy);
	if (good)
		return object;
	json_decref(object);
	return NULL;
}

bool
act_is_on(const char *value)
{
	return value != NULL && strcmp(value, "0") != 0 && strcmp(value, "no") != 0 &&
	       value[0] != '\0';
}

/* ---- the verb ------------------------------------------------------------------------------------------ */

/* Names and values go to the daemon as JSON, which is UTF-8. */
static bool
are_text(char *const *words, int count)
{
	for (int i = 0; i < count; i++) {
		json_t *s = json_string(words[i]);
		if (s == NULL)
			return false;
		json_decref(s);
	}
	return true;
}

int
run_scstadmin(struct tool *t, const struct verb *v, json_t *params)
{
	struct admin a = {.tool = t};

	(void)params;
	if (!are_text(t->command, t->command_count))
		return tool_error(t, TOOL_USAGE, "a word isn't UTF-8");
	if (!scst_parse(t, t->command, t->command_count, &a.order))
		return TOOL_USAGE;
	if (t->help) {
		verb_print_help(v);
		scst_print_help();
		return TOOL_DONE;
	}
	a.lists = json_object();
	a.commands = json_array();
	a.remarks = json_array();
	int status = a.order.verb->run(&a);
	if (json_array_size(a.remarks) > 0 && status == TOOL_DONE)
		status = TOOL_REMARKS;
	if (t->json && !a.failed) {
		json_t *result =
		    json_pack("{s:O, s:O}", "commands", a.commands, "remarks", a.remarks);
		tool_print_json(result, false);
		json_decref(result);
	}
	json_decref(a.lists);
	json_decref(a.commands);
	json_decref(a.remarks);
	return status;
}
