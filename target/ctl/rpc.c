/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * JSON-RPC 2.0: a line in, a line out. Batches are refused: a line is a request. Here a request is
 * measured against what its sender may and what its method takes.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/text.h"
#include "ctl/ctl_priv.h"

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

/* Takes `data`. */
static char *
render_error_data(json_t *id, int code, const char *message, json_t *data)
{
	json_t *error = json_pack("{s:i, s:o}", "code", code, "message", ctl_string(message));

	if (error != NULL && data != NULL)
		json_object_set(error, "data", data);
	json_decref(data);
	return render(id, "error", error);
}

static char *
render_error(json_t *id, int code, const char *message)
{
	return render_error_data(id, code, message, NULL);
}

char *
ctl_error_text(int code, const char *message)
{
	return render_error(NULL, code, message);
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

/* ---- what there is -------------------------------------------------------------------------------- */

static const char *const type_names[] = {
    [CTL_STRING] = "text",
    [CTL_INT] = "integer",
    [CTL_BOOL] = "boolean",
    [CTL_LIST] = "list",
    [CTL_OBJECT] = "object",
    [CTL_ANY] = "any",
};

static const struct ctl_method list_method = {.name = "methods", .help = "this list"};

static json_t *
describe_params(const struct ctl_param *p)
{
	json_t *list = json_array();

	for (; list != NULL && p != NULL && p->name != NULL; p++)
		json_array_append_new(
		    list, json_pack("{s:s, s:s, s:b, s:s}", "name", p->name, "type",
		              type_names[p->type], "required", p->required, "help", p->help));
	return list;
}

static json_t *
describe(const struct ctl_method *m)
{
	return json_pack("{s:s, s:s, s:b, s:o}", "name", m->name, "help", m->help, "changes",
	    m->changes, "params", describe_params(m->params));
}

static json_t *
list_methods(const struct ctl_method *const *tables)
{
	json_t *list = json_array();

	json_array_append_new(list, describe(&list_method));
	for (; list != NULL && *tables != NULL; tables++)
		for (const struct ctl_method *m = *tables; m->name != NULL; m++)
			json_array_append_new(list, describe(m));
	return list;
}

static const struct ctl_method *
find_method(const struct ctl_method *const *tables, const char *name)
{
	if (strcmp(name, list_method.name) == 0)
		return &list_method;
	for (; *tables != NULL; tables++)
		for (const struct ctl_method *m = *tables; m->name != NULL; m++)
			if (strcmp(m->name, name) == 0)
				return m;
	return NULL;
}

static void __attribute__((format(printf, 3, 4)))
fail(struct ctl_failure *f, int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(f->message, sizeof f->message, fmt, ap);
	va_end(ap);
	f->code = code;
}

static void
fail_no_method(const struct ctl_method *const *tables, const char *name, struct ctl_failure *f)
{
	size_t count = 1, n = 0;

	for (const struct ctl_method *const *t = tables; *t != NULL; t++)
		for (const struct ctl_method *m = *t; m->name != NULL; m++)
			count++;
	const char **names = calloc(count + 1, sizeof *names);
	if (names == NULL)
		return;
	names[n++] = list_method.name;
	for (const struct ctl_method *const *t = tables; *t != NULL; t++)
		for (const struct ctl_method *m = *t; m->name != NULL; m++)
			names[n++] = m->name;
	const char *near = text_nearest(name, names);
	free(names);
	fail(f, CTL_METHOD_NOT_FOUND, "no such method%s%s%s; \"methods\" lists what there is",
	    near != NULL ? "; did you mean " : "", near != NULL ? near : "",
	    near != NULL ? "?" : "");
}

/* ---- parameters against their schema -------------------------------------------------------------- */

static bool
has_type(const json_t *value, enum ctl_type type)
{
	switch (type) {
	case CTL_STRING:
		return json_is_string(value);
	case CTL_INT:
		return json_is_integer(value);
	case CTL_BOOL:
		return json_is_boolean(value);
	case CTL_LIST:
		return json_is_array(value);
	case CTL_OBJECT:
		return json_is_object(value);
	case CTL_ANY:
		return true;
	}
	return false;
}

static const struct ctl_param *
find_param(const struct ctl_method *m, const char *name)
{
	for (const struct ctl_param *p = m->params; p != NULL && p->name != NULL; p++)
		if (strcmp(p->name, name) == 0)
			return p;
	return NULL;
}

static bool
refuse_unknown(const struct ctl_method *m, const char *name, struct ctl_failure *f)
{
	const char *names[64] = {NULL};
	unsigned n = 0;

	for (const struct ctl_param *p = m->params; p != NULL && p->name != NULL && n < 63; p++)
		names[n++] = p->name;
	if (n == 0) {
		fail(f, CTL_INVALID_PARAMS, "%s takes no parameters, and \"%.64s\" is one", m->name,
		    name);
		return false;
	}
	const char *near = text_nearest(name, names);
	fail(f, CTL_INVALID_PARAMS, "%s has no parameter \"%.64s\"%s%s%s", m->name, name,
	    near != NULL ? "; did you mean \"" : "", near != NULL ? near : "",
	    near != NULL ? "\"?" : "");
	return false;
}

/* Takes nulls that mean "not given" out of `params`, which is the request's own. */
static bool
check_params(const struct ctl_method *m, json_t *params, struct ctl_failure *f)
{
	const char *name;
	json_t *value;
	void *next;

	json_object_foreach_safe(params, next, name, value)
	{
		const struct ctl_param *p = find_param(m, name);
		if (p == NULL)
			return refuse_unknown(m, name, f);
		if (json_is_null(value) && p->type != CTL_ANY) {
			json_object_del(params, name);
		} else if (!has_type(value, p->type)) {
			fail(f, CTL_INVALID_PARAMS, "%s: \"%s\" has the wrong type: it is %s %s",
			    m->name, p->name,
			    p->type == CTL_INT || p->type == CTL_OBJECT ? "an" : "a",
			    type_names[p->type]);
			return false;
		}
	}
	for (const struct ctl_param *p = m->params; p != NULL && p->name != NULL; p++) {
		if (p->required && json_object_get(params, p->name) == NULL) {
			fail(f, CTL_INVALID_PARAMS, "%s needs \"%s\": %s", m->name, p->name,
			    p->help);
			return false;
		}
	}
	return true;
}

static bool
check_rights(const struct rpc_env *env, const struct ctl_method *m, struct ctl_failure *f)
{
	const struct ctl_peer *p = env->peer;
	const char *change = env->groups->change.name, *read = env->groups->read.name;

	if (!p->may_read)
		fail(f, CTL_NOT_PERMITTED,
		    "%s isn't permitted to use this target: join group %s to read, %s to change "
		    "(`usermod -aG %s %s`, then log in again)",
		    p->user, read, change, read, p->user);
	else if (m != NULL && m->changes && !p->may_change)
		fail(f, CTL_NOT_PERMITTED,
		    "%s isn't permitted to change anything, only to read: join group %s "
		    "(`usermod -aG %s %s`, then log in again)",
		    p->user, change, change, p->user);
	else
		return true;
	return false;
}

/* ---- calls ------------------------------------------------------------------------------------------ */

const struct ctl_peer *
ctl_call_peer(const struct ctl_call *call)
{
	return &call->peer;
}

const char *
ctl_call_method(const struct ctl_call *call)
{
	return call->method->name;
}

bool
ctl_call_client_gone(const struct ctl_call *call)
{
	return call->gone;
}

static void
call_free(struct ctl_call *call)
{
	json_decref(call->request);
	json_decref(call->params);
	free(call);
}

/* Takes `text`, NULL for a notification. */
static void
call_answer(struct ctl_call *call, char *text)
{
	ASSERT(!call->answered);
	call->answered = true;
	if (call->inside) {
		call->text = text;
		return;
	}
	if (call->deliver != NULL)
		call->deliver(call, text);
	else
		free(text);
	call_free(call);
}

static json_t *
call_id(const struct ctl_call *call)
{
	return json_object_get(call->request, "id");
}

void
ctl_call_done(struct ctl_call *call, json_t *result)
{
	json_t *id = call_id(call);
	char *text = NULL;

	if (id != NULL && !call->gone)
		text = render(id, "result", result);
	else
		json_decref(result);
	call_answer(call, text);
}

void
ctl_call_fail(struct ctl_call *call, int code, json_t *data, const char *fmt, ...)
{
	struct ctl_failure f = {0};
	json_t *id = call_id(call);
	char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(f.message, sizeof f.message, fmt, ap);
	va_end(ap);
	if (id != NULL && !call->gone)
		text = render_error_data(id, code, f.message, data);
	else
		json_decref(data);
	call_answer(call, text);
}

static int
build_work(struct loop_job *j)
{
	struct ctl_build *b = container_of(j, struct ctl_build, job);
	json_t *result = b->build(b);

	if (b->wanted)
		b->text = render(call_id(b->call), "result", result);
	else
		json_decref(result);
	return 0;
}

static void
build_done(struct loop_job *j, int result)
{
	struct ctl_build *b = container_of(j, struct ctl_build, job);
	struct ctl_call *call = b->call;
	char *text = b->text;

	(void)result;
	b->built(b);
	call_answer(call, text);
}

void
ctl_call_build(struct ctl_call *call, struct loop *l, struct ctl_build *b)
{
	b->call = call;
	b->wanted = call_id(call) != NULL && !call->gone;
	b->text = NULL;
	b->job = (struct loop_job){.work = build_work, .done = build_done};
	loop_job_submit(l, &b->job);
}

/* The answer, or NULL: none, or *ret_pending. */
static char *
start_call(const struct rpc_env *env, const struct ctl_method *m, json_t *req, json_t *params,
    struct ctl_call **ret_pending)
{
	struct ctl_call *call = calloc(1, sizeof *call);

	if (call == NULL)
		return render_error(
		    json_object_get(req, "id"), CTL_INTERNAL_ERROR, "out of memory");
	list_init(&call->link);
	call->request = json_incref(req);
	call->params = json_incref(params);
	call->method = m;
	call->peer = *env->peer;
	call->inside = true;
	m->start(env->ctx, call, params);
	call->inside = false;
	if (!call->answered) {
		*ret_pending = call;
		return NULL;
	}
	char *text = call->text;
	call_free(call);
	return text;
}

/* ---- requests ----------------------------------------------------------------------------------------- */

static char *
call_at_once(
    const struct rpc_env *env, const struct ctl_method *m, json_t *id, const json_t *params)
{
	struct ctl_failure f = {.code = CTL_INTERNAL_ERROR, .message = "out of memory"};
	json_t *result =
	    m == &list_method ? list_methods(env->tables) : m->call(env->ctx, params, &f);

	if (id == NULL) { /* a notification is never answered */
		json_decref(result);
		json_decref(f.data);
		return NULL;
	}
	if (result == NULL)
		return render_error_data(id, f.code, f.message, f.data);
	json_decref(f.data);
	return render(id, "result", result);
}

static char *
handle_method(const struct rpc_env *env, json_t *req, json_t *params, struct ctl_call **ret_pending)
{
	struct ctl_failure f = {.code = CTL_INTERNAL_ERROR, .message = "out of memory"};
	json_t *id = json_object_get(req, "id");
	const char *name = json_string_value(json_object_get(req, "method"));
	const struct ctl_method *m = NULL;
	bool fits = check_rights(env, NULL, &f);

	if (fits && (m = find_method(env->tables, name)) == NULL) {
		fail_no_method(env->tables, name, &f);
		fits = false;
	}
	fits = fits && check_rights(env, m, &f) && check_params(m, params, &f);
	if (fits && m->start != NULL && env->full) {
		fail(&f, CTL_BUSY, "%u requests are under way: ask again later", CTL_CALLS_MAX);
		fits = false;
	}
	if (!fits)
		return id != NULL ? render_error(id, f.code, f.message) : NULL;
	return m->start != NULL ? start_call(env, m, req, params, ret_pending)
	                        : call_at_once(env, m, id, params);
}

static char *
handle_object(const struct rpc_env *env, json_t *req, struct ctl_call **ret_pending)
{
	json_t *id = json_object_get(req, "id");
	const json_t *name = json_object_get(req, "method");
	const json_t *version = json_object_get(req, "jsonrpc");
	json_t *params = json_object_get(req, "params");

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
	params = params != NULL ? json_incref(params) : json_object();
	char *text = params != NULL ? handle_method(env, req, params, ret_pending)
	                            : render_error(id, CTL_INTERNAL_ERROR, "out of memory");
	json_decref(params);
	return text;
}

char *
rpc_handle(const struct rpc_env *env, const char *line, size_t len, struct ctl_call **ret_pending)
{
	json_error_t error;

	if (too_deep(line, len))
		return render_error(NULL, CTL_PARSE_ERROR, "the request is nested too deeply");
	json_t *req = json_loadb(line, len, JSON_REJECT_DUPLICATES, &error);
	if (req == NULL)
		return render_error(NULL, CTL_PARSE_ERROR, error.text);
	char *answer = json_is_object(req) ? handle_object(env, req, ret_pending)
	                                   : render_error(NULL, CTL_INVALID_REQUEST,
	                                         "a line is one request object");
	json_decref(req);
	return answer;
}

char *
ctl_handle(const struct ctl_method *const *tables, void *ctx, const struct ctl_peer *peer,
    const char *line, size_t len)
{
	static const struct peer_groups groups = {
	    .change = {.name = "terrace"}, .read = {.name = "terrace-ro"}};
	const struct rpc_env env = {.tables = tables, .ctx = ctx, .peer = peer, .groups = &groups};
	struct ctl_call *pending = NULL;
	char *text = rpc_handle(&env, line, len, &pending);

	if (pending == NULL)
		return text;
	pending->gone = true; /* nobody waits any more */
	json_t *id = call_id(pending);
	return id != NULL ? render_error(id, CTL_INTERNAL_ERROR, "this is answered later") : NULL;
}
