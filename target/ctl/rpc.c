/* JSON-RPC 2.0: a line in, a line out. Batches are refused: a line is a request. */
#include <stdlib.h>
#include <string.h>

#include "ctl/ctl.h"

static char *
render(json_t *id, const char *key, json_t *value)
{
	json_t *answer = json_object();
	char *text = NULL;

	if (answer != NULL && value != NULL) {
		json_object_set_new(answer, "jsonrpc", json_string("2.0"));
		json_object_set(answer, key, value);
		if (id != NULL)
			json_object_set(answer, "id", id);
		else
			json_object_set_new(answer, "id", json_null());
		text = json_dumps(answer, JSON_COMPACT);
	}
	json_decref(answer);
	json_decref(value);
	return text;
}

static char *
render_error(json_t *id, int code, const char *message)
{
	return render(id, "error", json_pack("{s:i, s:s}", "code", code, "message", message));
}

static json_t *
list_methods(const struct ctl_method *methods)
{
	json_t *list = json_array();
	for (const struct ctl_method *m = methods; list != NULL && m->name != NULL; m++)
		json_array_append_new(
		    list, json_pack("{s:s, s:s}", "name", m->name, "help", m->help));
	return list;
}

static json_t *
call(const struct ctl_method *methods, void *ctx, const char *name, const json_t *params,
    struct ctl_failure *failure)
{
	if (strcmp(name, "methods") == 0)
		return list_methods(methods);
	for (const struct ctl_method *m = methods; m->name != NULL; m++)
		if (strcmp(m->name, name) == 0)
			return m->call(ctx, params, failure);
	failure->code = CTL_METHOD_NOT_FOUND;
	snprintf(failure->message, sizeof failure->message,
	    "no such method; \"methods\" lists what there is");
	return NULL;
}

/* jansson's parser recurses: depth is bounded before it sees the text. */
static bool
too_deep(const char *line, size_t len)
{
	unsigned depth = 0;
	bool quoted = false;
	for (size_t i = 0; i < len; i++) {
		if (quoted) {
			if (line[i] == '\\')
				i++;
			else if (line[i] == '"')
				quoted = false;
		} else if (line[i] == '"') {
			quoted = true;
		} else if (line[i] == '{' || line[i] == '[') {
			if (++depth > CTL_DEPTH_MAX)
				return true;
		} else if ((line[i] == '}' || line[i] == ']') && depth > 0) {
			depth--;
		}
	}
	return false;
}

static char *
handle_object(const struct ctl_method *methods, void *ctx, json_t *req)
{
	json_t *id = json_object_get(req, "id");
	const json_t *name = json_object_get(req, "method");
	const json_t *version = json_object_get(req, "jsonrpc");
	json_t *params = json_object_get(req, "params"), *none = NULL;

	if (id != NULL && !json_is_string(id) && !json_is_integer(id) && !json_is_null(id))
		return render_error(NULL, CTL_INVALID_REQUEST, "id is a string, a number or null");
	if (!json_is_string(version) || strcmp(json_string_value(version), "2.0") != 0 ||
	    !json_is_string(name))
		return render_error(id, CTL_INVALID_REQUEST,
		    "a request is {\"jsonrpc\":\"2.0\",\"method\":…,\"id\":…}");
	if (params != NULL && !json_is_object(params))
		return render_error(id, CTL_INVALID_PARAMS, "params is an object");
	if (params == NULL)
		params = none = json_object();
	struct ctl_failure failure = {CTL_INTERNAL_ERROR, "out of memory"};
	json_t *result = call(methods, ctx, json_string_value(name), params, &failure);
	json_decref(none);
	if (id == NULL) { /* a notification isn't answered */
		json_decref(result);
		return NULL;
	}
	if (result == NULL)
		return render_error(id, failure.code, failure.message);
	return render(id, "result", result);
}

char *
ctl_handle(const struct ctl_method *methods, void *ctx, const char *line, size_t len)
{
	json_error_t error;

	if (too_deep(line, len))
		return render_error(NULL, CTL_PARSE_ERROR, "the request is nested too deeply");
	json_t *req = json_loadb(line, len, JSON_REJECT_DUPLICATES, &error);
	if (req == NULL)
		return render_error(NULL, CTL_PARSE_ERROR, error.text);
	char *answer = json_is_object(req) ? handle_object(methods, ctx, req)
	                                   : render_error(NULL, CTL_INVALID_REQUEST,
	                                         "a line is one request object");
	json_decref(req);
	return answer;
}
