/* JSON-RPC 2.0: a line in, a line out. Batches are refused: a line is a request. */
#include <stdlib.h>
#include <string.h>

#include "ctl/ctl.h"

#define OUT_OF_MEMORY                                                                              \
	"{\"jsonrpc\":\"2.0\",\"error\":{\"code\":-32603,\"message\":\"out of "                    \
	"memory\"},\"id\":null}"

/* Takes `value`. NULL only if not even that can be said. */
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
	return text != NULL ? text : strdup(OUT_OF_MEMORY);
}

static char *
render_error(json_t *id, int code, const char *message)
{
	return render(
	    id, "error", json_pack("{s:i, s:o}", "code", code, "message", ctl_string(message)));
}

char *
ctl_error_text(int code, const char *message)
{
	return render_error(NULL, code, message);
}

static json_t *
list_methods(const struct ctl_method *methods)
{
	json_t *list = json_array();
	json_array_append_new(
	    list, json_pack("{s:s, s:s}", "name", "methods", "help", "this list"));
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

/* Bytes of the UTF-8 character at `s` (RFC 3629 §4), 0 if there is none. */
static size_t
utf8_len(const unsigned char *s)
{
	/* Second bytes that the first one allows; the others are 80h to bfh. */
	unsigned char from = 0x80, to = 0xbf;
	size_t len = s[0] < 0x80 ? 1 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;

	if (len == 1)
		return 1;
	if (s[0] < 0xc2 || s[0] > 0xf4)
		return 0;
	if (s[0] == 0xe0)
		from = 0xa0; /* a shorter form exists */
	else if (s[0] == 0xed)
		to = 0x9f; /* surrogates */
	else if (s[0] == 0xf0)
		from = 0x90;
	else if (s[0] == 0xf4)
		to = 0x8f; /* beyond U+10FFFF */
	if (s[1] < from || s[1] > to)
		return 0;
	for (size_t i = 2; i < len; i++)
		if (s[i] < 0x80 || s[i] > 0xbf)
			return 0;
	return len;
}

json_t *
ctl_string(const char *s)
{
	json_t *plain = json_string(s);
	if (plain != NULL)
		return plain;
	char *text = malloc(3 * strlen(s) + 1), *to = text;
	if (text == NULL)
		return NULL;
	while (*s != '\0') {
		size_t len = utf8_len((const unsigned char *)s);
		memcpy(to, len > 0 ? s : "\xef\xbf\xbd", len > 0 ? len : 3);
		to += len > 0 ? len : 3;
		s += len > 0 ? len : 1;
	}
	*to = '\0';
	plain = json_string(text);
	free(text);
	return plain;
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
		return render_error(
		    NULL, CTL_INVALID_REQUEST, "id is a string, an integer or null");
	if (!json_is_string(version) || strcmp(json_string_value(version), "2.0") != 0 ||
	    !json_is_string(name))
		return render_error(id, CTL_INVALID_REQUEST,
		    "a request is {\"jsonrpc\":\"2.0\",\"method\":…,\"id\":…}");
	if (params != NULL && !json_is_object(params))
		return id != NULL ? render_error(id, CTL_INVALID_PARAMS, "params is an object")
		                  : NULL;
	if (params == NULL)
		params = none = json_object();
	struct ctl_failure failure = {CTL_INTERNAL_ERROR, "out of memory"};
	json_t *result = call(methods, ctx, json_string_value(name), params, &failure);
	json_decref(none);
	if (id == NULL) { /* a notification is never answered */
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
