/* SPDX-License-Identifier: BSD-2-Clause */
/* One verb: the request, the answer, and what an error becomes. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "tools/terracectl/terracectl.h"

void
tool_print_json(const json_t *result, bool one_line)
{
	json_t *whole = json_object();

	json_object_set_new(whole, "schema", json_integer(TOOL_SCHEMA));
	json_object_set(whole, "result", (json_t *)(uintptr_t)result);
	json_dumpf(whole, stdout, one_line ? JSON_COMPACT : JSON_INDENT(2));
	putchar('\n');
	fflush(stdout);
	json_decref(whole);
}

static void
print_error_json(int code, const char *message, json_t *data)
{
	json_t *error = json_object(), *whole = json_object();

	json_object_set_new(error, "code", json_integer(code));
	json_object_set_new(error, "message", json_string(message));
	if (data != NULL)
		json_object_set(error, "data", data);
	json_object_set_new(whole, "schema", json_integer(TOOL_SCHEMA));
	json_object_set_new(whole, "error", error);
	json_dumpf(whole, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(whole);
}

int
tool_error(const struct tool *t, int status, const char *fmt, ...)
{
	char message[4096];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(message, sizeof message, fmt, ap);
	va_end(ap);
	if (t->json) {
		print_error_json(status, message, NULL);
	} else {
		fflush(stdout);
		fprintf(stderr, "%s: ", tool_name());
		out_text(stderr, message);
		fputc('\n', stderr);
	}
	return status;
}

int
tool_status_of(int code)
{
	switch (code) {
	case CODE_NEEDS_YES:
		return TOOL_REFUSED;
	case CODE_INVALID_PARAMS:
		return TOOL_USAGE;
	case CODE_LOST:
		return TOOL_UNREACHABLE;
	default:
		return TOOL_FAILED;
	}
}

int
tool_fail(const struct tool *t, const struct answer *a)
{
	const char *message = a->message != NULL ? a->message : "out of memory";
	int status = tool_status_of(a->code);

	if (t->json) {
		print_error_json(a->code, message, a->data);
		return status;
	}
	if (a->code == CODE_METHOD_NOT_FOUND)
		return tool_error(
		    t, status, "this terraced can't do that: it is older than this program");
	if (a->code == CODE_CONFIG_ERRORS && json_array_size(a->data) > 0) {
		tool_error(t, status, "the configuration wouldn't be right; nothing was changed:");
		print_config_errors(stderr, a->data);
		return status;
	}
	tool_error(t, status, "%s", message);
	if (a->code == CODE_NEEDS_YES) {
		print_sessions_affected(stderr, a->data);
		fputs("Nothing was changed. With --yes it is done.\n", stderr);
	}
	return status;
}

int
tool_connect(struct tool *t)
{
	char reason[5000];

	if (t->client == NULL)
		t->client = client_open(t->control, reason, sizeof reason);
	return t->client != NULL ? TOOL_DONE : tool_error(t, TOOL_UNREACHABLE, "%s", reason);
}

json_t *
tool_call(struct tool *t, const char *method, json_t *params, int *ret_exit)
{
	struct answer a;

	*ret_exit = tool_connect(t);
	if (*ret_exit != TOOL_DONE) {
		json_decref(params);
		return NULL;
	}
	client_call(t->client, method, params, ANSWER_TIMEOUT_MS, &a);
	if (a.result == NULL)
		*ret_exit = tool_fail(t, &a);
	json_t *result = json_incref(a.result);
	answer_fini(&a);
	return result;
}

static json_t *
with_flags(const struct tool *t, const struct verb *v, const json_t *params, bool yes)
{
	json_t *p = json_copy((json_t *)(uintptr_t)params);

	if (v->unprinted != NULL && !t->json)
		json_object_set_new(p, v->unprinted, json_false());
	if (v->changes && t->dry_run)
		json_object_set_new(p, "dry_run", json_true());
	if (v->changes && yes)
		json_object_set_new(p, "yes", json_true());
	if (v->changes && t->runtime)
		json_object_set_new(p, "runtime", json_true());
	return p;
}

/* A person may say yes at once. */
static bool
ask(const struct tool *t, const struct answer *a)
{
	if (a->code != CODE_NEEDS_YES || t->json || t->yes || !term_asks())
		return false;
	fprintf(stderr, "%s: ", tool_name());
	out_text(stderr, a->message != NULL ? a->message : "");
	fputc('\n', stderr);
	print_sessions_affected(stderr, a->data);
	return term_confirm("Go on?");
}

int
tool_run(struct tool *t, const struct verb *v, json_t *params)
{
	/* A change takes as long as it takes: what is left of it is the daemon's anyway. */
	unsigned timeout_ms = v->changes ? 0 : ANSWER_TIMEOUT_MS;
	struct answer a;
	bool asked = false;

	int status = tool_connect(t);
	if (status != TOOL_DONE)
		return status;
	client_call(t->client, v->method, with_flags(t, v, params, t->yes), timeout_ms, &a);
	if (a.result == NULL && a.code == CODE_NEEDS_YES && !t->json && !t->yes && term_asks()) {
		asked = true;
		if (ask(t, &a)) {
			answer_fini(&a);
			client_call(
			    t->client, v->method, with_flags(t, v, params, true), timeout_ms, &a);
			asked = false;
		}
	}
	if (asked) {
		fputs("Nothing was changed.\n", stderr);
		status = TOOL_REFUSED;
	} else if (a.result == NULL) {
		status = tool_fail(t, &a);
	} else {
		if (t->json)
			tool_print_json(a.result, false);
		else
			v->print(a.result);
		status = v->judge != NULL ? v->judge(a.result) : TOOL_DONE;
	}
	answer_fini(&a);
	return status;
}

/* The method depends on the arguments. */
static int
run_as(struct tool *t, const struct verb *v, json_t *params, const char *method, bool changes,
    void (*print)(const json_t *result))
{
	struct verb row = *v;

	row.method = method;
	row.changes = changes;
	row.print = print;
	return tool_run(t, &row, params);
}

int
run_config(struct tool *t, const struct verb *v, json_t *params)
{
	if (json_object_del(params, "diff") == 0)
		return run_as(t, v, params, "config.diff", false, print_change);
	(void)json_object_del(params, "effective");
	return run_as(t, v, params, "config.effective", false, print_config);
}

int
run_level(struct tool *t, const struct verb *v, json_t *params)
{
	bool change = json_object_size(params) > 0;
	return run_as(
	    t, v, params, change ? "log-level.set" : "log-level.get", change, print_level);
}
