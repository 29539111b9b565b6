/* SPDX-License-Identifier: BSD-2-Clause */
/* A change as an object: who asked for what, its errors and remarks, what it waits for, its end. */
#include "daemon/change_priv.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"

/* ---- errors, remarks, waiting --------------------------------------------------------------------- */

int
change_fail(struct change *c, int code, const char *fmt, ...)
{
	va_list ap;
	if (c->code != 0)
		return -1;
	c->code = code;
	va_start(ap, fmt);
	vsnprintf(c->reason, sizeof c->reason, fmt, ap);
	va_end(ap);
	return -1;
}

int
change_no_memory(struct change *c)
{
	return change_fail(c, CTL_FAILED, "out of memory");
}

void
change_remark(struct change *c, const char *fmt, ...)
{
	char text[1024];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	json_array_append_new(c->remarks, ctl_string(text));
}

static void
job_done(struct loop_job *j, int result)
{
	struct change *c = container_of(j, struct change, job);
	c->after_job(c, result);
}

void
change_work(
    struct change *c, int (*work)(struct loop_job *j), void (*after)(struct change *c, int rc))
{
	c->after_job = after;
	c->job = (struct loop_job){.work = work, .done = job_done};
	loop_job_submit(c->daemon->loops[0], &c->job);
}

void
change_hold(struct change *c)
{
	c->waits++;
}

void
change_release(struct change *c)
{
	ASSERT(c->waits > 0);
	if (--c->waits == 0)
		c->after_waits(c);
}

void
change_released(void *change)
{
	change_release(change);
}

/* ---- who and what ------------------------------------------------------------------------------------ */

static bool
is_secret(const char *key)
{
	return strstr(key, "secret") != NULL && strstr(key, "_file") == NULL;
}

struct text {
	char buf[512];
	size_t at;
};

static void
append(struct text *t, const char *s)
{
	for (; *s != '\0' && t->at < sizeof t->buf - 1; s++)
		t->buf[t->at++] = *s;
	t->buf[t->at] = '\0';
}

/* One value; several of a list are given one after another. */
static void
append_value(struct text *t, const json_t *v)
{
	if (json_is_string(v) && json_string_value(v)[0] != '\0' &&
	    strpbrk(json_string_value(v), " \t\"'\\$*?!;&|<>()#") == NULL) {
		append(t, json_string_value(v));
		return;
	}
	char *dump = json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY);
	append(t, dump != NULL ? dump : "?");
	free(dump);
}

static void
append_param(struct text *t, const char *key, const json_t *value)
{
	size_t i;
	const json_t *v;
	char option[80] = " --";
	size_t at = 3;

	if (json_is_false(value) || json_is_null(value))
		return;
	for (const char *k = key; *k != '\0' && at < sizeof option - 1; k++)
		option[at++] = *k == '_' ? '-' : *k;
	option[at] = '\0';
	if (!json_is_array(value)) {
		append(t, option);
		if (json_is_true(value))
			return;
		append(t, " ");
		append_value(t, value);
		return;
	}
	if (option[at - 1] == 's') /* "portals" is --portal, several times */
		option[at - 1] = '\0';
	json_array_foreach((json_t *)(uintptr_t)value, i, v)
	{
		append(t, option);
		append(t, " ");
		append_value(t, v);
	}
}

/* {"serial": "7f"} is --set serial=7f. */
static void
append_options(struct text *t, const json_t *options)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)options, key, value)
	{
		append(t, " --set ");
		append(t, key);
		append(t, "=");
		append_value(t, value);
	}
}

/* What stands without an option: `lun set a serial 7f`, `lun resize a 20GiB`. */
static void
append_words(struct text *t, const json_t *value)
{
	size_t i;
	const json_t *v;

	if (json_is_null(value))
		append(t, " --default");
	if (json_is_null(value) || json_array_size(value) > 0) {
		json_array_foreach((json_t *)(uintptr_t)value, i, v)
		{
			append(t, " ");
			append_value(t, v);
		}
		return;
	}
	append(t, " ");
	append_value(t, value);
}

/* As a person would have typed it: the method's words, then the parameters. Never a secret. */
static char *
command_text(const char *method, const json_t *params)
{
	static const char *const bare[] = {"name", "group", "lun", "key"};
	struct text t = {.at = 0};
	const char *key, *set_key = json_string_value(json_object_get(params, "key"));
	bool resize = strcmp(method, "lun.resize") == 0;
	json_t *value;

	for (; *method != '\0'; method++)
		append(&t, *method == '.' ? " " : (const char[]){*method, '\0'});
	for (size_t i = 0; i < sizeof bare / sizeof bare[0]; i++) {
		const json_t *v = json_object_get(params, bare[i]);
		/* Where a name comes first, a group is an option. */
		if (v != NULL && (i != 1 || json_object_get(params, "name") == NULL))
			append_words(&t, v);
	}
	json_object_foreach((json_t *)(uintptr_t)params, key, value)
	{
		bool is_bare =
		    strcmp(key, "name") == 0 || strcmp(key, "lun") == 0 ||
		    strcmp(key, "key") == 0 ||
		    (strcmp(key, "group") == 0 && json_object_get(params, "name") == NULL);
		bool is_value = strcmp(key, "value") == 0;
		if (is_bare)
			continue;
		if (is_secret(key) || (is_value && set_key != NULL && is_secret(set_key)))
			append(&t, is_value ? " (secret)" : " --secret (secret)");
		else if (is_value || (resize && strcmp(key, "size") == 0))
			append_words(&t, value);
		else if (json_is_object(value))
			append_options(&t, value);
		else
			append_param(&t, key, value);
	}
	return strdup(t.buf);
}

struct change *
change_new(struct change_engine *e, struct ctl_call *call, const json_t *params, const char *method)
{
	struct change *c = calloc(1, sizeof *c);
	if (c == NULL)
		return NULL;
	const struct ctl_peer *peer = call != NULL ? ctl_call_peer(call) : NULL;
	c->engine = e;
	c->daemon = e->daemon;
	c->call = call;
	c->params = params;
	c->since_s = loop_wall_s(e->daemon->loops[0]);
	c->uid = peer != NULL ? peer->uid : geteuid();
	c->user = strdup(peer != NULL ? peer->user : "terraced");
	c->command = call != NULL                    ? command_text(method, params)
	             : strcmp(method, "reload") == 0 ? strdup("reload (signal)")
	                                             : strdup(method);
	c->dry_run =
	    json_is_true(json_object_get(params, "dry_run")) || strcmp(method, "config.diff") == 0;
	c->yes = json_is_true(json_object_get(params, "yes"));
	c->runtime = json_is_true(json_object_get(params, "runtime"));
	c->changes = json_array();
	c->sessions = json_array();
	c->remarks = json_array();
	c->restart = json_array();
	if (c->user == NULL || c->command == NULL || c->changes == NULL || c->sessions == NULL ||
	    c->remarks == NULL || c->restart == NULL)
		(void)change_no_memory(c);
	return c;
}

void
change_free(struct change *c)
{
	plan_destroy(c->plan);
	conf_diff_destroy(c->diff);
	conf_errors_fini(&c->errors);
	daemon_config_fini(&c->config);
	conf_tree_destroy(c->tree);
	if (c->files != NULL)
		conf_files_destroy(c->files, c->edit_count);
	for (unsigned i = 0; i < c->edit_count; i++) {
		free(c->edits[i].name);
		conf_text_destroy(c->edits[i].before);
	}
	free(c->edits);
	free(c->forget);
	free(c->resized);
	free(c->user);
	free(c->command);
	json_decref(c->data);
	json_decref(c->changes);
	json_decref(c->sessions);
	json_decref(c->remarks);
	json_decref(c->restart);
	free(c);
}
