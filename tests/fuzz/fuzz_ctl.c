/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Requests on the control socket: the input is a sequence of lines. Every answer is one line of JSON
 * with the version, an id and either a result or an error.
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "ctl/ctl.h"
#include "tests/fuzz/fuzz.h"

static json_t *
echo(void *ctx, const json_t *params, struct ctl_failure *failure)
{
	(void)ctx;
	(void)failure;
	return json_deep_copy(params);
}

/* Says what it was asked in its failure, as a real method would. */
static json_t *
refuse(void *ctx, const json_t *params, struct ctl_failure *failure)
{
	const char *name = json_string_value(json_object_get(params, "name"));
	(void)ctx;
	failure->code = CTL_INVALID_PARAMS;
	/* May cut a character in two. */
	snprintf(failure->message, sizeof failure->message, "there is no \"%s\"",
	    name != NULL ? name : "");
	return NULL;
}

/* Answers at once, later (never, that is), or fails, as it is told. */
static void
start(void *ctx, struct ctl_call *call, const json_t *params)
{
	struct ctl_call **pending = ctx;
	const char *name = json_string_value(json_object_get(params, "name"));

	if (json_is_true(json_object_get(params, "later")))
		*pending = call;
	else if (name != NULL)
		ctl_call_fail(
		    call, CTL_NEEDS_YES, json_deep_copy(params), "\"%s\" is in use", name);
	else
		ctl_call_done(call, json_deep_copy(params));
}

static const struct ctl_param params_of_all[] = {
    {"name", CTL_STRING, false, "a name"},
    {"number", CTL_INT, false, "a number"},
    {"later", CTL_BOOL, false, "answers later"},
    {"list", CTL_LIST, false, "a list"},
    {"options", CTL_OBJECT, false, "an object"},
    {"value", CTL_ANY, false, "whatever"},
    {.name = NULL},
};
static const struct ctl_param params_of_start[] = {
    {"name", CTL_STRING, false, "a name"},
    {"later", CTL_BOOL, true, "answers later"},
    {.name = NULL},
};

static const struct ctl_method methods[] = {
    {.name = "echo", .help = "gives its parameters back", .params = params_of_all, .call = echo},
    {.name = "refuse", .help = "fails and says a name", .params = params_of_all, .call = refuse},
    {.name = NULL},
};
static const struct ctl_method more_methods[] = {
    {.name = "start",
        .help = "answers now or later",
        .changes = true,
        .params = params_of_start,
        .start = start},
    {.name = NULL},
};
static const struct ctl_method *const tables[] = {methods, more_methods, NULL};

static void
check_answer(char *text)
{
	if (text == NULL)
		return;
	ASSERT(strchr(text, '\n') == NULL);
	json_t *answer = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	ASSERT(answer != NULL);
	ASSERT(json_object_get(answer, "jsonrpc") != NULL);
	ASSERT(json_object_get(answer, "id") != NULL);
	ASSERT((json_object_get(answer, "result") != NULL) !=
	       (json_object_get(answer, "error") != NULL));
	json_decref(answer);
	free(text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *at = (const char *)data, *end = at + size;
	while (at < end) {
		const char *nl = memchr(at, '\n', (size_t)(end - at));
		size_t len = (size_t)((nl != NULL ? nl : end) - at);
		/* As somebody who may everything, only read, nothing: by the line's last byte. */
		const struct ctl_peer peer = {.uid = 1000,
		    .user = "anna",
		    .may_read = len == 0 || at[len - 1] != '\t',
		    .may_change = len == 0 || (at[len - 1] != '\t' && at[len - 1] != ' ')};
		struct ctl_call *pending = NULL;
		check_answer(ctl_handle(tables, &pending, &peer, at, len));
		if (pending != NULL) {
			ASSERT(peer.may_change && ctl_call_client_gone(pending));
			ctl_call_done(pending, json_true());
		}
		at += len + 1;
	}
	json_t *s = NULL;
	char *text = malloc(size + 1);
	ASSERT(text != NULL);
	memcpy(text, data, size);
	text[size] = '\0';
	s = ctl_string(text);
	ASSERT(s != NULL);
	json_decref(s);
	free(text);
	return 0;
}
