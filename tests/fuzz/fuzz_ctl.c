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

static const struct ctl_method methods[] = {
    {"echo", "gives its parameters back", echo},
    {"refuse", "fails and says a name", refuse},
    {NULL, NULL, NULL},
};

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
		check_answer(ctl_handle(methods, NULL, at, len));
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
