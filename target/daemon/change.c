/*
 * A change from request to answer; change.h has the picture. Up to the commit everything can be taken
 * back: sockets, views, units (which takes messages between the loops), then stores and files.
 */
#include "daemon/change_priv.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/log.h"

static void undo(struct change *c);
static void finish(struct change *c);

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

static struct change *
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
	c->command = call != NULL ? command_text(method, params) : strdup("reload (signal)");
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

static void
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
	free(c->user);
	free(c->command);
	json_decref(c->data);
	json_decref(c->changes);
	json_decref(c->sessions);
	json_decref(c->remarks);
	json_decref(c->restart);
	free(c);
}

/* ---- load: on a worker ---------------------------------------------------------------------------- */

/* The text of the one object in a file of conf.d, printed as commands print it. NULL: there is none. */
static char *
text_on_disk(const char *path)
{
	struct conf_errors errors = {0};
	struct conf_tree *tree = NULL;
	struct conf_edit *e = NULL;
	char *text = NULL;

	if (conf_parse_file(path, &errors, &tree) == 0) {
		const struct conf_node *root = conf_tree_root(tree);
		if (root->child_count == 1 && conf_edit_from(root->children[0], &e) == 0)
			text = conf_edit_text(e);
	}
	conf_edit_destroy(e);
	conf_tree_destroy(tree);
	conf_errors_fini(&errors);
	return text;
}

/* An object whose file somebody has changed since it was read: the change would overwrite that. */
static int
check_disk(struct change *c, unsigned i)
{
	const struct change_edit *e = &c->edits[i];
	const char *conf = c->daemon->options->config_file;
	const char *slash = strrchr(conf, '/');
	char *path, *text;

	if (asprintf(&path, "%.*sconf.d/%s", slash != NULL ? (int)(slash + 1 - conf) : 0, conf,
	        c->files[i].name) < 0)
		return -ENOMEM;
	bool there = access(path, F_OK) == 0;
	if (e->on_disk != there) {
		(void)change_fail(c, CTL_FAILED,
		    there
		        ? "%s is there and isn't loaded: `terracectl reload` loads it, or remove it"
		        : "%s has been removed: `terracectl reload` makes that so",
		    path);
		free(path);
		return -EINVAL;
	}
	text = there ? text_on_disk(path) : NULL;
	if (there && (text == NULL || strcmp(text, e->before) != 0)) {
		(void)change_fail(c, CTL_FAILED,
		    "%s has been changed since it was loaded: `terracectl reload` first", path);
		conf_text_destroy(text);
		free(path);
		return -EINVAL;
	}
	conf_text_destroy(text);
	free(path);
	return 0;
}

static bool
is_edited(const struct change *c, const char *file)
{
	for (unsigned i = 0; i < c->edit_count; i++)
		if (strcmp(c->files[i].name, file) == 0)
			return true;
	return false;
}

/*
 * What holds on top of the files: what runtime changes left, and the edits. An object that is changed
 * for good isn't a matter of runtime any more.
 */
static struct conf_file *
overlay(struct change *c, unsigned *ret_count)
{
	const struct change_engine *e = c->engine;
	struct conf_file *list = calloc(e->runtime_count + c->edit_count + 1, sizeof *list);
	unsigned count = 0;
	if (list == NULL)
		return NULL;
	for (unsigned i = 0; i < e->runtime_count; i++)
		if (!is_edited(c, e->runtime[i].name))
			list[count++] = e->runtime[i];
	for (unsigned i = 0; i < c->edit_count; i++)
		list[count++] = c->files[i];
	*ret_count = count;
	return list;
}

/*
 * What is written is read again at the next start without what holds until then only: it must stand
 * by itself. Otherwise a start, maybe after a power cut, would find a configuration with errors.
 */
static int
check_kept(struct change *c)
{
	struct conf_errors errors = {0};
	struct conf_tree *tree = NULL;
	struct conf *conf = NULL;
	const struct conf_load_args args = {
	    .path = c->daemon->options->config_file,
	    .overlay = c->files,
	    .overlay_count = c->edit_count,
	    .events = daemon_event_names(),
	};

	if (args.path == NULL || c->runtime || c->edit_count == 0 || c->engine->runtime_count == 0)
		return 0;
	int rc = conf_load(&args, &errors, &tree, &conf);
	if (rc < 0 && rc != -ENOMEM) {
		const struct conf_error *first = NULL;
		for (unsigned i = 0; first == NULL && i < errors.count; i++)
			if (!errors.list[i].remark)
				first = &errors.list[i];
		(void)change_fail(c, CTL_FAILED,
		    "this would be kept, but needs what was changed with --runtime and isn't (%s): "
		    "say "
		    "--runtime here too, or make that for good first",
		    first != NULL ? first->text : "the configuration can't be loaded without");
		rc = -EINVAL;
	}
	conf_errors_fini(&errors);
	conf_destroy(conf);
	conf_tree_destroy(tree);
	return rc;
}

static int
load_work(struct loop_job *j)
{
	struct change *c = container_of(j, struct change, job);
	const char *path = c->daemon->options->config_file;
	unsigned count;
	int rc = 0;

	for (unsigned i = 0; rc == 0 && path != NULL && !c->runtime && i < c->edit_count; i++)
		rc = check_disk(c, i);
	if (rc < 0)
		return rc;
	struct conf_file *files = overlay(c, &count);
	if (files == NULL)
		return -ENOMEM;
	struct conf_load_args args = {
	    .path = path,
	    .text = path == NULL ? c->engine->base_text : NULL,
	    .text_name = "command line",
	    .overlay = files,
	    .overlay_count = count,
	    .events = daemon_event_names(),
	};
	struct conf_tree *tree = NULL;
	struct conf *conf = NULL;
	rc = conf_load(&args, &c->errors, &tree, &conf);
	free(files);
	if (rc < 0) {
		c->tree = tree;
		return rc;
	}
	c->config = (struct daemon_config){tree, conf};
	rc = check_kept(c);
	return rc < 0 ? rc : conf_diff(c->daemon->conf, conf, &c->diff);
}

static void
load_failed(struct change *c, int rc)
{
	if (rc == -ENOMEM) {
		(void)change_no_memory(c);
	} else if (c->code == 0) {
		const struct conf_error *first = NULL;
		for (unsigned i = 0; first == NULL && i < c->errors.count; i++)
			if (!c->errors.list[i].remark)
				first = &c->errors.list[i];
		c->data = change_errors_json(&c->errors);
		if (first == NULL)
			(void)change_fail(
			    c, CTL_CONFIG_ERRORS, "the configuration can't be loaded");
		else if (c->errors.wrong > 1)
			(void)change_fail(c, CTL_CONFIG_ERRORS, "%s:%u:%u: %s (and %u more)",
			    first->pos.file, first->pos.line, first->pos.column, first->text,
			    c->errors.wrong - 1);
		else
			(void)change_fail(c, CTL_CONFIG_ERRORS, "%s:%u:%u: %s", first->pos.file,
			    first->pos.line, first->pos.column, first->text);
	}
	finish(c);
}

/* ---- look, open --------------------------------------------------------------------------------------- */

static void commit(struct change *c);

static int
open_work(struct loop_job *j)
{
	return plan_open(container_of(j, struct change, job)->plan);
}

static int
listen_failed_work(struct loop_job *j)
{
	struct change *c = container_of(j, struct change, job);
	portal_failed(c->failed_address, c->listen_error, c->reason, sizeof c->reason);
	return 0;
}

static void
listen_failed_done(struct change *c, int rc)
{
	(void)rc;
	c->code = CTL_FAILED;
	undo(c);
}

static void
open_done(struct change *c, int rc)
{
	struct plan *p = c->plan;
	if (rc == 0) {
		c->units_made = true;
		rc = plan_make(p);
	}
	if (rc < 0) {
		(void)change_fail(c, CTL_FAILED, "%s", p->reason);
		undo(c);
		return;
	}
	rc = plan_listen(p, &c->failed_address);
	if (rc < 0) {
		c->listen_error = rc;
		change_work(c, listen_failed_work, listen_failed_done);
		return;
	}
	commit(c);
}

static int
numbers_work(struct loop_job *j)
{
	return plan_numbers(container_of(j, struct change, job)->plan, false);
}

static void
numbers_done(struct change *c, int rc)
{
	struct plan *p = c->plan;
	if (rc == 0)
		rc = plan_preview(p);
	if (rc < 0)
		(void)change_fail(c, CTL_FAILED, "%s", p->reason);
	else if (change_impact(c) == 0 && json_array_size(c->sessions) > 0 && !c->yes &&
	         !c->dry_run) {
		size_t count = json_array_size(c->sessions);
		c->data = json_pack("{s:O, s:O}", "sessions", c->sessions, "changes", c->changes);
		const json_t *first = json_array_get(c->sessions, 0);
		(void)change_fail(c, CTL_NEEDS_YES,
		    "%zu session%s would lose something (session %d of %s: %s): --yes does it",
		    count, count == 1 ? "" : "s",
		    (int)json_integer_value(json_object_get(first, "tsih")),
		    json_string_value(json_object_get(first, "initiator")),
		    json_string_value(json_object_get(first, "reason")));
	}
	if (c->code != 0 || c->dry_run) {
		undo(c);
		return;
	}
	change_work(c, open_work, open_done);
}

/* A command has to do with what it edits; a reload with all. */
static bool
concerns(const struct change *c, const struct conf_error *remark)
{
	const char *file = remark->pos.file != NULL ? remark->pos.file : "";
	const char *slash = strrchr(file, '/');
	return c->verb->edit == NULL || is_edited(c, slash != NULL ? slash + 1 : file);
}

static void
load_done(struct change *c, int rc)
{
	if (rc < 0) {
		load_failed(c, rc);
		return;
	}
	for (unsigned i = 0; i < c->errors.count; i++)
		if (concerns(c, &c->errors.list[i]))
			change_remark(c, "%s:%u: %s", c->errors.list[i].pos.file,
			    c->errors.list[i].pos.line, c->errors.list[i].text);
	if (change_describe(c) < 0 || change_check_foreign(c) < 0 || c->diff->count == 0) {
		finish(c);
		return;
	}
	struct daemon_config config = c->config;
	c->config = (struct daemon_config){0};
	char reason[1024];
	rc = plan_create(c->daemon, config, false, &c->plan, reason, sizeof reason);
	if (rc < 0) {
		(void)change_fail(c, CTL_FAILED, "%s", reason);
		finish(c);
		return;
	}
	c->plan->live = true;
	change_work(c, numbers_work, numbers_done);
}

/* ---- commit, apply ------------------------------------------------------------------------------------ */

/* The files as they were, after a step behind the commit has failed. */
static void
commit_back(struct change *c)
{
	struct conf_file *files = calloc(c->edit_count + 1, sizeof *files);
	char reason[512];
	if (files == NULL)
		return;
	for (unsigned i = 0; i < c->edit_count; i++)
		files[i] = (struct conf_file){c->files[i].name, c->edits[i].before, false};
	if (conf_commit(
	        c->daemon->options->config_file, files, c->edit_count, reason, sizeof reason) < 0)
		log_err("daemon", "the configuration can't be taken back: %s", reason);
	free(files);
}

static int
commit_work(struct loop_job *j)
{
	struct change *c = container_of(j, struct change, job);
	bool write = !c->runtime && c->edit_count > 0;
	int rc = 0;
	if (write)
		rc = conf_commit(c->daemon->options->config_file, c->files, c->edit_count,
		    c->reason, sizeof c->reason);
	if (rc < 0)
		return rc;
	rc = plan_grow(c->plan);
	if (rc < 0) {
		snprintf(c->reason, sizeof c->reason, "%s", c->plan->reason);
		if (write)
			commit_back(c);
	}
	return rc;
}

static void
keep_runtime(struct change *c)
{
	struct change_engine *e = c->engine;
	unsigned kept = 0;
	for (unsigned i = 0; i < e->runtime_count; i++) {
		if (is_edited(c, e->runtime[i].name)) {
			free(e->runtime[i].name);
			conf_text_destroy(e->runtime[i].text);
		} else {
			e->runtime[kept++] = e->runtime[i];
		}
	}
	e->runtime_count = kept;
	if (!c->runtime)
		return;
	/* Room for them was made before the change was written. */
	for (unsigned i = 0; i < c->edit_count; i++) {
		e->runtime[e->runtime_count++] = c->files[i];
		c->files[i] = (struct conf_file){0};
	}
}

static void
commit_done(struct change *c, int rc)
{
	if (rc < 0) {
		c->code = CTL_FAILED;
		undo(c);
		return;
	}
	c->committed = true;
	keep_runtime(c);
	change_apply(c, finish);
}

static void
commit(struct change *c)
{
	struct change_engine *e = c->engine;
	struct conf_file *more =
	    reallocarray(e->runtime, e->runtime_count + c->edit_count + 1, sizeof *more);
	if (more == NULL) {
		(void)change_no_memory(c);
		undo(c);
		return;
	}
	e->runtime = more;
	change_work(c, commit_work, commit_done);
}

/* ---- undo ---------------------------------------------------------------------------------------------- */

static int
close_work(struct loop_job *j)
{
	plan_close(container_of(j, struct change, job)->plan);
	return 0;
}

static void
close_done(struct change *c, int rc)
{
	(void)rc;
	finish(c);
}

static void
units_gone(struct change *c)
{
	change_work(c, close_work, close_done);
}

static void
undo(struct change *c)
{
	struct plan *p = c->plan;
	c->after_waits = units_gone;
	change_hold(c);
	plan_unlisten(p);
	plan_unmake(p);
	for (unsigned i = 0; c->units_made && i < p->lun_count; i++) {
		struct daemon_lun *l = p->luns[i].after;
		if (l == NULL || l == p->luns[i].before || l->lu == NULL)
			continue;
		struct scsi_lu *lu = l->lu;
		l->lu = NULL;
		blk_set_events(l->blk, NULL, NULL);
		change_hold(c);
		scsi_lu_destroy(lu, change_released, c);
	}
	change_release(c);
}

/* ---- the end -------------------------------------------------------------------------------------------- */

/* What was noted about files is settled; an identity is forgotten. */
static int
settle_work(struct loop_job *j)
{
	struct change *c = container_of(j, struct change, job);
	const struct plan *p = c->plan;
	for (unsigned i = 0; p != NULL && i < p->lun_count; i++) {
		const struct conf_lun *lun = p->luns[i].conf;
		const char *path = lun != NULL ? daemon_lun_file(lun->store) : NULL;
		if (path != NULL && p->luns[i].before != p->luns[i].after && lun->size_bytes > 0)
			(void)catalog_intent_clear(c->daemon->catalog, path);
	}
	if (c->committed && c->forget != NULL)
		(void)catalog_lu_forget(c->daemon->catalog, c->forget);
	return 0;
}

static void
answer(struct change *c)
{
	bool done = c->code == 0;
	change_report(c);
	if (c->call == NULL)
		return;
	if (!done) {
		ctl_call_fail(c->call, c->code, c->data, "%s", c->reason);
		c->data = NULL;
	} else {
		ctl_call_done(
		    c->call, json_pack("{s:b, s:O, s:O, s:O, s:O}", "applied", c->committed,
		                 "changes", c->changes, "sessions", c->sessions, "remarks",
		                 c->remarks, "restart", c->restart));
	}
	c->call = NULL;
}

static void
settled(struct change *c, int rc)
{
	struct change_engine *e = c->engine;
	(void)rc;
	answer(c);
	ASSERT(e->current == c);
	e->current = NULL;
	change_free(c);
	change_engine_idle(e);
}

static void
finish(struct change *c)
{
	if (c->plan != NULL && (c->units_made || c->committed))
		change_work(c, settle_work, settled);
	else
		settled(c, 0);
}

/* ---- the engine ------------------------------------------------------------------------------------------ */

static const struct change_verb verbs[] = {
    {"reload", NULL},
    {"config.diff", NULL},
    {"lun.create", edit_lun_create},
    {"lun.delete", edit_lun_delete},
    {"lun.set", edit_lun_set},
    {"lun.resize", edit_lun_resize},
    {"portal.create", edit_portal_create},
    {"portal.delete", edit_portal_delete},
    {"portal.set", edit_portal_set},
    {"target.create", edit_target_create},
    {"target.delete", edit_target_delete},
    {"target.set", edit_target_set},
    {"group.create", edit_group_create},
    {"group.delete", edit_group_delete},
    {"group.set", edit_group_set},
    {"group.map", edit_group_map},
    {"group.unmap", edit_group_unmap},
    {"chap.create", edit_chap_create},
    {"chap.delete", edit_chap_delete},
    {"chap.set", edit_chap_set},
};

static const struct change_verb *
find_verb(const char *method)
{
	for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++)
		if (strcmp(verbs[i].method, method) == 0)
			return &verbs[i];
	ASSERT(false); /* the table of methods names no other */
	return NULL;
}

static void
begin(struct change_engine *e, struct ctl_call *call, const json_t *params)
{
	const char *method = call != NULL ? ctl_call_method(call) : "reload";
	struct change *c = change_new(e, call, params, method);
	if (c == NULL) {
		if (call != NULL)
			ctl_call_fail(call, CTL_FAILED, NULL, "out of memory");
		return;
	}
	e->current = c;
	c->verb = find_verb(method);
	if (c->code == 0 && c->verb->edit != NULL)
		(void)c->verb->edit(c);
	else if (c->code == 0 && e->base_text != NULL)
		(void)change_fail(c, CTL_FAILED,
		    "terraced runs without a configuration file: there is nothing to reload");
	if (c->code != 0)
		finish(c);
	else
		change_work(c, load_work, load_done);
}

/* Behind what the daemon does by itself; never behind another change. */
static void
wait_a_little(struct change_engine *e, struct ctl_call *call, const json_t *params)
{
	struct change_waiting *w = calloc(1, sizeof *w);
	if (w == NULL) {
		if (call != NULL)
			ctl_call_fail(call, CTL_FAILED, NULL, "out of memory");
		return;
	}
	w->call = call;
	w->params = params;
	list_push_back(&e->waiting, &w->link);
}

static void
busy(struct change_engine *e, struct ctl_call *call)
{
	const struct change *c = e->current;
	int64_t for_s = loop_wall_s(e->daemon->loops[0]) - c->since_s;
	json_t *data = change_current(e->daemon);
	ctl_call_fail(call, CTL_BUSY, data,
	    "%s is changing something else (%s, for %lld s): try again when that is done", c->user,
	    c->command, (long long)for_s);
}

void
change_start(void *ctx, struct ctl_call *call, const json_t *params)
{
	struct change_engine *e = ((struct daemon *)ctx)->changes;
	if (e->stopping)
		ctl_call_fail(call, CTL_FAILED, NULL, "terraced is ending");
	else if (e->current != NULL)
		busy(e, call);
	else if (e->busy_itself)
		wait_a_little(e, call, params);
	else
		begin(e, call, params);
}

void
change_reload(struct daemon *d)
{
	struct change_engine *e = d->changes;
	if (e->stopping)
		return;
	if (e->current != NULL || e->busy_itself)
		wait_a_little(e, NULL, NULL);
	else
		begin(e, NULL, NULL);
}

void
change_engine_idle(struct change_engine *e)
{
	struct list *l = list_pop_front(&e->waiting);
	if (l != NULL) {
		struct change_waiting *w = container_of(l, struct change_waiting, link);
		struct ctl_call *call = w->call;
		const json_t *params = w->params;
		free(w);
		if (!e->stopping)
			begin(e, call, params);
		else if (call != NULL)
			ctl_call_fail(call, CTL_FAILED, NULL, "terraced is ending");
	}
	if (e->stopping && e->current == NULL && !e->busy_itself && list_empty(&e->waiting) &&
	    e->stopped != NULL) {
		void (*stopped)(void *ctx) = e->stopped;
		e->stopped = NULL;
		stopped(e->stopped_ctx);
	}
}

int
change_engine_create(struct daemon *d)
{
	struct change_engine *e = calloc(1, sizeof *e);
	if (e == NULL)
		return -ENOMEM;
	e->daemon = d;
	list_init(&e->waiting);
	e->loops = d->conf->loops;
	e->buffer_bytes = d->conf->buffer_bytes;
	e->state_dir = d->conf->state_dir != NULL ? strdup(d->conf->state_dir) : NULL;
	e->control = d->conf->control != NULL ? strdup(d->conf->control) : NULL;
	if (d->options->config_file == NULL)
		e->base_text = conf_text(d->conf);
	if ((d->options->config_file == NULL && e->base_text == NULL) ||
	    (d->conf->state_dir != NULL && e->state_dir == NULL) ||
	    (d->conf->control != NULL && e->control == NULL)) {
		change_engine_destroy(e);
		return -ENOMEM;
	}
	d->changes = e;
	reopen_start(e);
	return 0;
}

void
change_engine_destroy(struct change_engine *e)
{
	if (e == NULL)
		return;
	ASSERT(e->current == NULL && !e->busy_itself && list_empty(&e->waiting));
	reopen_stop(e);
	conf_files_destroy(e->runtime, e->runtime_count);
	conf_text_destroy(e->base_text);
	free(e->state_dir);
	free(e->control);
	free(e);
}

void
change_recover(struct daemon *d)
{
	struct catalog_intent *list;
	unsigned count;
	int rc = catalog_intent_list(d->catalog, &list, &count);
	if (rc < 0) {
		log_err("daemon", "what an interrupted change has left can't be read: %s",
		    strerror(-rc));
		return;
	}
	for (unsigned i = 0; i < count; i++) {
		bool used = false;
		struct stat st;
		for (unsigned k = 0; !used && k < d->conf->lun_count; k++) {
			const char *path = daemon_lun_file(d->conf->luns[k].store);
			used = path != NULL && strcmp(path, list[i].path) == 0;
		}
		/* Nothing was ever written to it: it is the one that was made. */
		if (!used && lstat(list[i].path, &st) == 0 && S_ISREG(st.st_mode) &&
		    st.st_nlink == 1 && st.st_blocks == 0 &&
		    ((uint64_t)st.st_size == list[i].size_bytes || st.st_size == 0) &&
		    unlink(list[i].path) == 0)
			log_info("daemon", "%s, made by a change that was interrupted, is removed",
			    list[i].path);
		(void)catalog_intent_clear(d->catalog, list[i].path);
	}
	free(list);
}

void
change_engine_stop(struct change_engine *e, void (*done)(void *ctx), void *ctx)
{
	e->stopping = true;
	e->stopped = done;
	e->stopped_ctx = ctx;
	reopen_stop(e);
	if (e->current == NULL && !e->busy_itself)
		change_engine_idle(e);
}

json_t *
change_current(const struct daemon *d)
{
	const struct change *c = d->changes != NULL ? d->changes->current : NULL;
	if (c == NULL)
		return json_null();
	return json_pack("{s:o, s:o, s:I}", "user", ctl_string(c->user), "command",
	    ctl_string(c->command), "since", (json_int_t)c->since_s);
}
