/* SPDX-License-Identifier: BSD-2-Clause */
/* Requests as bytes: what is answered, what is refused, and how. */
#include "tests/cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/ctl.h"

static unsigned calls;

static json_t *
echo(void *ctx, const json_t *params, struct ctl_failure *failure)
{
	(void)ctx;
	(void)failure;
	calls++;
	return json_deep_copy(params);
}

static json_t *
refuse(void *ctx, const json_t *params, struct ctl_failure *failure)
{
	(void)params;
	failure->code = CTL_INVALID_PARAMS;
	snprintf(failure->message, sizeof failure->message, "%s", (const char *)ctx);
	return NULL;
}

static json_t *
fail_call(void *ctx, const json_t *params, struct ctl_failure *failure)
{
	(void)ctx;
	(void)params;
	(void)failure;
	return NULL;
}

/* An object that can't be written as JSON, since it holds itself. */
static json_t *
loop_of_objects(void *ctx, const json_t *params, struct ctl_failure *failure)
{
	json_t *inner = json_object(), *outer = json_object();
	(void)params;
	(void)failure;
	json_object_set_new(outer, "inner", inner);
	json_object_set(inner, "outer", outer);
	*(json_t **)ctx = json_incref(inner);
	return outer;
}

static struct ctl_call *kept; /* by keep() */

static void
keep(void *ctx, struct ctl_call *call, const json_t *params)
{
	(void)ctx;
	(void)params;
	kept = call;
}

/* Answers before it returns: fails with data if there is a name. */
static void
soon(void *ctx, struct ctl_call *call, const json_t *params)
{
	const char *name = json_string_value(json_object_get(params, "name"));
	(void)ctx;
	calls++;
	assert_string_equal(ctl_call_method(call), "soon");
	assert_string_equal(ctl_call_peer(call)->user, "root");
	assert_false(ctl_call_client_gone(call));
	if (name != NULL)
		ctl_call_fail(call, CTL_NEEDS_YES, json_pack("[s]", name), "%s is in use", name);
	else
		ctl_call_done(call, json_integer(42));
}

static const struct ctl_param soon_params[] = {
    {"name", CTL_STRING, false, "a name"},
    {.name = NULL},
};
static const struct ctl_param typed_params[] = {
    {"text", CTL_STRING, true, "the text to work on"},
    {"number", CTL_INT, false, "a number"},
    {"flag", CTL_BOOL, false, "yes or no"},
    {"list", CTL_LIST, false, "some"},
    {"object", CTL_OBJECT, false, "an object"},
    {"any", CTL_ANY, false, "anything"},
    {.name = NULL},
};
static const struct ctl_param echo_params[] = {
    {"a", CTL_ANY, false, "what you like"},
    {.name = NULL},
};

static const struct ctl_method methods[] = {
    {.name = "echo", .help = "gives its parameters back", .params = echo_params, .call = echo},
    {.name = "refuse", .help = "fails with the context as message", .call = refuse},
    {.name = "fail", .help = "fails without a message", .call = fail_call},
    {.name = "loop", .help = "has a result that can't be written", .call = loop_of_objects},
    {.name = NULL},
};
static const struct ctl_method more_methods[] = {
    {.name = "typed", .help = "a parameter of each type", .params = typed_params, .call = echo},
    {.name = "soon",
        .help = "answers before it returns",
        .changes = true,
        .params = soon_params,
        .start = soon},
    {.name = "keep", .help = "answers later", .start = keep},
    {.name = NULL},
};
static const struct ctl_method *const tables[] = {methods, more_methods, NULL};
static const struct ctl_peer root = {.user = "root", .may_read = true, .may_change = true};

static json_t *
answer_of(const char *line, size_t len, void *ctx)
{
	char *text = ctl_handle(tables, ctx, &root, line, len);
	assert_non_null(text);
	assert_null(strchr(text, '\n'));
	json_t *answer = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(answer);
	free(text);
	assert_string_equal(json_string_value(json_object_get(answer, "jsonrpc")), "2.0");
	assert_non_null(json_object_get(answer, "id"));
	assert_int_equal(json_object_size(answer), 3);
	return answer;
}

/* The answer is this error, to this id (as JSON text). */
static void
assert_error_n(const char *line, size_t len, int code, const char *id)
{
	static char context[] = "not today";
	json_t *answer = answer_of(line, len, context);
	const json_t *error = json_object_get(answer, "error");
	char *got = json_dumps(json_object_get(answer, "id"), JSON_ENCODE_ANY);

	assert_int_equal(json_integer_value(json_object_get(error, "code")), code);
	assert_true(json_string_length(json_object_get(error, "message")) > 0);
	assert_string_equal(got, id);
	free(got);
	json_decref(answer);
}

static void
assert_error(const char *line, int code, const char *id)
{
	assert_error_n(line, strlen(line), code, id);
}

static void
assert_result(const char *line, const char *result, const char *id)
{
	json_t *answer = answer_of(line, strlen(line), NULL);
	char *r = json_dumps(json_object_get(answer, "result"), JSON_COMPACT | JSON_ENCODE_ANY);
	char *i = json_dumps(json_object_get(answer, "id"), JSON_ENCODE_ANY);

	assert_string_equal(r, result);
	assert_string_equal(i, id);
	free(r);
	free(i);
	json_decref(answer);
}

static void
a_request_is_answered_with_its_id(void **state)
{
	(void)state;
	assert_result("{\"jsonrpc\":\"2.0\",\"method\":\"echo\",\"params\":{\"a\":1},\"id\":7}",
	    "{\"a\":1}", "7");
	assert_result("{\"jsonrpc\":\"2.0\",\"method\":\"echo\",\"id\":\"x\"}\r", "{}", "\"x\"");
	assert_result("{\"jsonrpc\":\"2.0\",\"method\":\"echo\",\"id\":null}", "{}", "null");
	assert_result(
	    " { \"id\" : -1 , \"method\":\"ec\\u0068o\",\"jsonrpc\":\"2.0\"}", "{}", "-1");
}

static void
what_is_no_json_is_a_parse_error(void **state)
{
	static const char *const lines[] = {" ", "\r", "{", "}", "{]", "\"", "{\"a\"", "nul",
	    "{\"a\":}", "{\"jsonrpc\":\"2.0\",\"method\":\"echo\",\"id\":1}}",
	    "{\"jsonrpc\":\"2.0\",\"method\":\"echo\",\"id\":1} {}",
	    "{\"jsonrpc\":\"2.0\",\"method\":\"echo\",\"id\":99999999999999999999}",
	    "{\"jsonrpc\":\"2.0\",\"method\":\"\\u0000\",\"id\":1}", "{\"a\":\"\\ud800\"}",
	    "{\"a\":\"\xff\"}", "{\"a\":\"\xc0\x80\"}", "\xef\xbb\xbf{}", "{'a':1}", "\"\\",
	    "[1,]"};
	(void)state;
	for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
		assert_error(lines[i], CTL_PARSE_ERROR, "null");
	assert_error_n("", 0, CTL_PARSE_ERROR, "null");
	assert_error_n("{\0}", 3, CTL_PARSE_ERROR, "null");
	assert_error_n("\0", 1, CTL_PARSE_ERROR, "null");
}

static void
duplicate_keys_are_refused(void **state)
{
	(void)state;
	assert_error("{\"jsonrpc\":\"2.0\",\"method\":\"echo\",\"method\":\"fail\",\"id\":1}",
	    CTL_PARSE_ERROR, "null");
	assert_error(
	    "{\"jsonrpc\":\"2.0\",\"method\":\"echo\",\"params\":{\"a\":1,\"a\":2},\"id\":1}",
	    CTL_PARSE_ERROR, "null");
}

static void
other_values_than_an_object_are_invalid(void **state)
{
	static const char *const lines[] = {"[]", "{}", "[{}]",
	    "[{\"jsonrpc\":\"2.0\",\"method\":\"echo\",\"id\":1}]",
	    "{\"method\":\"echo\",\"id\":null}", "{\"jsonrpc\":2.0,\"method\":\"echo\"}",
	    "{\"jsonrpc\":\"1.0\",\"method\":\"echo\"}", "{\"jsonrpc\":\"2.0\"}",
	    "{\"jsonrpc\":\"2.0\",\"method\":1}", "{\"jsonrpc\":\"2.0\",\"method\":[\"echo\"]}"};
	(void)state;
	for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
		assert_error(lines[i], CTL_INVALID_REQUEST, "null");
	assert_error("{\"method\":\"echo\",\"id\":4}", CTL_INVALID_REQUEST, "4");
}

static void
bad_ids_are_answered_with_none(void **state)
{
	static const char *const ids[] = {"1.5", "true", "[]", "{}", "[1]", "1e3"};
	char line[128];
	(void)state;
	calls = 0;
	for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
		snprintf(line, sizeof line, "{\"jsonrpc\":\"2.0\",\"method\":\"echo\",\"id\":%s}",
		    ids[i]);
		assert_error(line, CTL_INVALID_REQUEST, "null");
	}
	assert_int_equal(calls, 0);
}

static void
unknown_methods_are_told(void **state)
{
	(void)state;
	assert_error(
	    "{\"jsonrpc\":\"2.0\",\"method\":\"ech\",\"id\":1}", CTL_METHOD_NOT_FOUND, "1");
	assert_error("{\"jsonrpc\":\"2.0\",\"method\":\"\",\"id\":2}", CTL_METHOD_NOT_FOUND, "2");
	assert_error(
	    "{\"jsonrpc\":\"2.0\",\"method\":\"ECHO\",\"id\":3}", CTL_METHOD_NOT_FOUND, "3");
}

static void
params_are_an_object(void **state)
{
	static const char *const params[] = {"[]", "null", "1", "\"a\"", "[{}]"};
	char line[128];
	(void)state;
	calls = 0;
	for (size_t i = 0; i < sizeof params / sizeof params[0]; i++) {
		snprintf(line, sizeof line,
		    "{\"jsonrpc\":\"2.0\",\"method\":\"echo\",\"id\":1,\"params\":%s}", params[i]);
		assert_error(line, CTL_INVALID_PARAMS, "1");
	}
	assert_int_equal(calls, 0);
}

static void
a_notification_runs_and_is_not_answered(void **state)
{
	static const char *const lines[] = {"{\"jsonrpc\":\"2.0\",\"method\":\"echo\"}",
	    "{\"jsonrpc\":\"2.0\",\"method\":\"nothing\"}",
	    "{\"jsonrpc\":\"2.0\",\"method\":\"fail\"}",
	    "{\"jsonrpc\":\"2.0\",\"method\":\"echo\",\"params\":[]}"};
	(void)state;
	calls = 0;
	for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
		assert_null(ctl_handle(tables, NULL, &root, lines[i], strlen(lines[i])));
	assert_int_equal(calls, 1);
}

static void
failures_carry_code_and_message(void **state)
{
	static const char line[] = "{\"jsonrpc\":\"2.0\",\"method\":\"refuse\",\"id\":5}";
	static char said[] = "the LUN is called \"a\xff\"";
	(void)state;
	assert_error(line, CTL_INVALID_PARAMS, "5");
	assert_error("{\"jsonrpc\":\"2.0\",\"method\":\"fail\",\"id\":6}", CTL_INTERNAL_ERROR, "6");
	json_t *answer = answer_of(line, strlen(line), said);
	assert_string_equal(
	    json_string_value(json_object_get(json_object_get(answer, "error"), "message")),
	    "the LUN is called \"a\xef\xbf\xbd\"");
	json_decref(answer);
}

static void
a_result_that_cannot_be_written_is_an_internal_error(void **state)
{
	static const char line[] = "{\"jsonrpc\":\"2.0\",\"method\":\"loop\",\"id\":5}";
	json_t *inner = NULL;
	(void)state;
	json_t *answer = answer_of(line, strlen(line), &inner);
	assert_int_equal(
	    json_integer_value(json_object_get(json_object_get(answer, "error"), "code")),
	    CTL_INTERNAL_ERROR);
	json_decref(answer);
	json_object_clear(inner); /* opens the ring */
	json_decref(inner);
}

static void
methods_lists_all_of_them(void **state)
{
	static const char line[] = "{\"jsonrpc\":\"2.0\",\"method\":\"methods\",\"id\":1}";
	static const char *const names[] = {
	    "methods", "echo", "refuse", "fail", "loop", "typed", "soon", "keep"};
	(void)state;
	json_t *answer = answer_of(line, strlen(line), NULL);
	const json_t *list = json_object_get(answer, "result");
	assert_int_equal(json_array_size(list), sizeof names / sizeof names[0]);
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		const json_t *m = json_array_get(list, i);
		assert_string_equal(json_string_value(json_object_get(m, "name")), names[i]);
		assert_true(json_string_length(json_object_get(m, "help")) > 0);
		assert_int_equal(
		    json_is_true(json_object_get(m, "changes")), strcmp(names[i], "soon") == 0);
	}
	const json_t *params = json_object_get(json_array_get(list, 5), "params");
	assert_int_equal(json_array_size(params), 6);
	const json_t *first = json_array_get(params, 0);
	assert_string_equal(json_string_value(json_object_get(first, "name")), "text");
	assert_string_equal(json_string_value(json_object_get(first, "type")), "text");
	assert_true(json_is_true(json_object_get(first, "required")));
	assert_true(json_is_false(json_object_get(json_array_get(params, 1), "required")));
	json_decref(answer);
}

/* ---- parameters ---- */

static json_t *
answer_to(const struct ctl_peer *peer, const char *method, const char *params)
{
	char line[512];
	snprintf(line, sizeof line,
	    "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"%s\",\"params\":%s}", method, params);
	char *text = ctl_handle(tables, NULL, peer, line, strlen(line));
	assert_non_null(text);
	json_t *answer = json_loads(text, 0, NULL);
	assert_non_null(answer);
	free(text);
	return answer;
}

/* The error has this code, and its message all that is in `says` ('|' between). */
static void
assert_refused(
    const struct ctl_peer *peer, const char *method, const char *params, int code, const char *says)
{
	json_t *answer = answer_to(peer, method, params);
	const json_t *error = json_object_get(answer, "error");
	char parts[256], *at = parts;

	assert_int_equal(json_integer_value(json_object_get(error, "code")), code);
	const char *message = json_string_value(json_object_get(error, "message"));
	snprintf(parts, sizeof parts, "%s", says);
	for (const char *part; (part = strsep(&at, "|")) != NULL;)
		if (strstr(message, part) == NULL)
			fail_msg("\"%s\" isn't in: %s", part, message);
	json_decref(answer);
}

static void
assert_echo(const char *params, const char *result)
{
	json_t *answer = answer_to(&root, "typed", params);
	char *got = json_dumps(json_object_get(answer, "result"), JSON_COMPACT | JSON_ENCODE_ANY);

	assert_non_null(got);
	assert_string_equal(got, result);
	free(got);
	json_decref(answer);
}

static void
parameters_are_checked_against_the_schema(void **state)
{
	static const struct {
		const char *params, *says;
	} wrong[] = {
	    {"{}", "needs \"text\"|the text to work on"},
	    {"{\"text\":null}", "needs \"text\""},
	    {"{\"text\":\"a\",\"numbr\":1}", "no parameter \"numbr\"|did you mean \"number\"?"},
	    {"{\"text\":\"a\",\"qqqqqqq\":1}", "no parameter \"qqqqqqq\""},
	    {"{\"text\":1}", "\"text\"|it is a text"},
	    {"{\"text\":\"a\",\"number\":1.5}", "\"number\"|it is an integer"},
	    {"{\"text\":\"a\",\"number\":\"1\"}", "\"number\"|it is an integer"},
	    {"{\"text\":\"a\",\"flag\":1}", "\"flag\"|it is a boolean"},
	    {"{\"text\":\"a\",\"list\":{}}", "\"list\"|it is a list"},
	    {"{\"text\":\"a\",\"object\":[]}", "\"object\"|it is an object"},
	};
	(void)state;
	calls = 0;
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
		assert_refused(&root, "typed", wrong[i].params, CTL_INVALID_PARAMS, wrong[i].says);
	assert_refused(
	    &root, "refuse", "{\"a\":1}", CTL_INVALID_PARAMS, "takes no parameters|\"a\"");
	assert_refused(&root, "methods", "{\"a\":1}", CTL_INVALID_PARAMS, "takes no parameters");
	assert_int_equal(calls, 0);
	assert_echo("{\"text\":\"\",\"number\":-1,\"flag\":false,\"list\":[],\"object\":{},"
	            "\"any\":null}",
	    "{\"text\":\"\",\"number\":-1,\"flag\":false,\"list\":[],\"object\":{},\"any\":null}");
	assert_echo("{\"text\":\"a\",\"number\":null,\"flag\":null}", "{\"text\":\"a\"}");
}

static void
an_unknown_method_has_a_neighbour(void **state)
{
	(void)state;
	assert_refused(&root, "ecko", "{}", CTL_METHOD_NOT_FOUND, "did you mean echo?");
	assert_refused(&root, "sooon", "{}", CTL_METHOD_NOT_FOUND, "did you mean soon?");
	assert_refused(&root, "metods", "{}", CTL_METHOD_NOT_FOUND, "did you mean methods?");
}

/* ---- rights ---- */

static void
who_may_not_is_told_the_group(void **state)
{
	static const struct ctl_peer reader = {.uid = 7, .user = "anna", .may_read = true};
	static const struct ctl_peer stranger = {.uid = 8, .user = "bob"};
	(void)state;
	calls = 0;
	assert_refused(&reader, "soon", "{}", CTL_NOT_PERMITTED,
	    "anna|only to read|join group terrace |usermod -aG terrace anna");
	assert_refused(&stranger, "echo", "{}", CTL_NOT_PERMITTED,
	    "bob|terrace-ro to read|terrace to change|usermod -aG terrace-ro bob");
	/* Not even what there is. */
	assert_refused(&stranger, "methods", "{}", CTL_NOT_PERMITTED, "bob");
	assert_refused(&stranger, "nothing", "{}", CTL_NOT_PERMITTED, "bob");
	assert_int_equal(calls, 0);
	json_t *answer = answer_to(&reader, "echo", "{}");
	assert_non_null(json_object_get(answer, "result"));
	json_decref(answer);
}

/* ---- calls ---- */

static void
a_call_may_be_answered_before_start_returns(void **state)
{
	(void)state;
	calls = 0;
	json_t *answer = answer_to(&root, "soon", "{}");
	assert_int_equal(json_integer_value(json_object_get(answer, "result")), 42);
	json_decref(answer);
	answer = answer_to(&root, "soon", "{\"name\":\"vm1\"}");
	const json_t *error = json_object_get(answer, "error");
	assert_int_equal(json_integer_value(json_object_get(error, "code")), CTL_NEEDS_YES);
	assert_string_equal(json_string_value(json_object_get(error, "message")), "vm1 is in use");
	assert_string_equal(
	    json_string_value(json_array_get(json_object_get(error, "data"), 0)), "vm1");
	json_decref(answer);
	static const char line[] = "{\"jsonrpc\":\"2.0\",\"method\":\"soon\"}";
	assert_null(ctl_handle(tables, NULL, &root, line, strlen(line)));
	assert_int_equal(calls, 3);
}

static void
a_call_outlives_whoever_asked(void **state)
{
	(void)state;
	kept = NULL;
	json_t *answer = answer_to(&root, "keep", "{}");
	assert_non_null(json_object_get(answer, "error"));
	json_decref(answer);
	assert_non_null(kept);
	assert_true(ctl_call_client_gone(kept));
	assert_string_equal(ctl_call_method(kept), "keep");
	ctl_call_fail(kept, CTL_FAILED, json_array(), "nobody hears this");
}

/* params with `depth` arrays in it: the request's object and params' are two more. */
static char *
nested(unsigned depth)
{
	size_t cap = 2 * (size_t)depth + 128;
	char *line = malloc(cap);
	assert_non_null(line);
	size_t at = (size_t)snprintf(
	    line, cap, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"echo\",\"params\":{\"a\":");
	memset(line + at, '[', depth);
	memset(line + at + depth, ']', depth);
	strcpy(line + at + 2 * (size_t)depth, "}}");
	return line;
}

static void
nesting_is_bounded(void **state)
{
	(void)state;
	char *line = nested(CTL_DEPTH_MAX - 2);
	json_decref(answer_of(line, strlen(line), NULL));
	calls = 0;
	json_t *answer = answer_of(line, strlen(line), NULL);
	assert_non_null(json_object_get(answer, "result"));
	json_decref(answer);
	free(line);
	line = nested(CTL_DEPTH_MAX - 1);
	assert_error(line, CTL_PARSE_ERROR, "null");
	free(line);
	line = nested(30000);
	assert_error(line, CTL_PARSE_ERROR, "null");
	/* Never closed, as deep as a line may be long. */
	memset(line, '[', 60000);
	assert_error_n(line, 60000, CTL_PARSE_ERROR, "null");
	free(line);
	assert_int_equal(calls, 1);
}

static void
brackets_in_strings_are_no_nesting(void **state)
{
	(void)state;
	assert_result("{\"jsonrpc\":\"2.0\",\"method\":\"echo\",\"id\":1,\"params\":{\"a\":"
	              "\"[[[[[[[[[[[[[[[[[[[[\\\"[[[[\"}}",
	    "{\"a\":\"[[[[[[[[[[[[[[[[[[[[\\\"[[[[\"}", "1");
}

static void
assert_string(const char *in, const char *out)
{
	json_t *s = ctl_string(in);
	assert_non_null(s);
	assert_string_equal(json_string_value(s), out);
	json_decref(s);
}

#define FFFD "\xef\xbf\xbd"

static void
any_bytes_become_a_string(void **state)
{
	(void)state;
	assert_string("", "");
	assert_string("/srv/Größe \xf0\x9f\x98\x80.img", "/srv/Größe \xf0\x9f\x98\x80.img");
	assert_string("a\xffz", "a" FFFD "z");
	assert_string("\xc3", FFFD);
	assert_string("\xc0\x80", FFFD FFFD);                   /* longer than need be */
	assert_string("\xe0\x9f\xbf", FFFD FFFD FFFD);          /* the same */
	assert_string("\xed\xa0\x80", FFFD FFFD FFFD);          /* a surrogate */
	assert_string("\xf4\x90\x80\x80", FFFD FFFD FFFD FFFD); /* beyond Unicode */
	assert_string("\xff\xe2\x82\xac\xf0\x9f\x98", FFFD "\xe2\x82\xac" FFFD FFFD FFFD);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_request_is_answered_with_its_id),
	    cmocka_unit_test(what_is_no_json_is_a_parse_error),
	    cmocka_unit_test(duplicate_keys_are_refused),
	    cmocka_unit_test(other_values_than_an_object_are_invalid),
	    cmocka_unit_test(bad_ids_are_answered_with_none),
	    cmocka_unit_test(unknown_methods_are_told),
	    cmocka_unit_test(params_are_an_object),
	    cmocka_unit_test(a_notification_runs_and_is_not_answered),
	    cmocka_unit_test(failures_carry_code_and_message),
	    cmocka_unit_test(a_result_that_cannot_be_written_is_an_internal_error),
	    cmocka_unit_test(methods_lists_all_of_them),
	    cmocka_unit_test(parameters_are_checked_against_the_schema),
	    cmocka_unit_test(an_unknown_method_has_a_neighbour),
	    cmocka_unit_test(who_may_not_is_told_the_group),
	    cmocka_unit_test(a_call_may_be_answered_before_start_returns),
	    cmocka_unit_test(a_call_outlives_whoever_asked),
	    cmocka_unit_test(nesting_is_bounded),
	    cmocka_unit_test(brackets_in_strings_are_no_nesting),
	    cmocka_unit_test(any_bytes_become_a_string),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
