/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A change from request to answer; change.h has the picture. Up to the commit everything can be taken
 * back: sockets, views, units (which takes messages between the loops), then stores and files.
 */
#include "daemon/change_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/log.h"
#include "daemon/caches.h"

#define PATIENCE_NS (20 * 1000000000ull) /* then the answer comes without the end of what went */

static void undo(struct change *c);
static void on_patience(struct loop_timer *t);

/* ---- load ---------------------------------------------------------------------------------------------- */

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
	change_finish(c);
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

/* Stores are open, and caches in front of them. */
static void
make(struct change *c)
{
	struct plan *p = c->plan;
	for (unsigned i = 0; i < p->lun_count; i++) {
		const struct daemon_lun *l = p->luns[i].after;
		if (l != NULL && l != p->luns[i].before && l->blk != NULL && l->why != NULL)
			(void)change_fail(c, CTL_FAILED, "%s", l->why);
	}
	if (c->code != 0) {
		undo(c);
		return;
	}
	c->units_made = true;
	int rc = plan_make(p);
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

static void
attached(void *ctx, int result)
{
	(void)result; /* the LUN says why */
	change_release(ctx);
}

static void
caches_there(struct change *c)
{
	const struct plan *p = c->plan;
	if (c->code != 0) {
		undo(c);
		return;
	}
	c->after_waits = make;
	change_hold(c);
	for (unsigned i = 0; i < p->lun_count; i++) {
		struct daemon_lun *l = p->luns[i].after;
		if (l == NULL || l == p->luns[i].before || l->blk == NULL)
			continue;
		change_hold(c);
		daemon_lun_attach(l, attached, c);
	}
	change_release(c);
}

static void
open_done(struct change *c, int rc)
{
	if (rc < 0) {
		(void)change_fail(c, CTL_FAILED, "%s", c->plan->reason);
		undo(c);
	} else {
		change_caches_come(c, caches_there);
	}
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
	return c->verb->edit == NULL || change_edits(c, slash != NULL ? slash + 1 : file);
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
	if (change_describe(c) < 0 || change_check_foreign(c) < 0) {
		change_finish(c);
		return;
	}
	if (c->diff->count == 0 && !change_has_modes(c)) {
		c->done = change_finish;
		change_sizes(c);
		return;
	}
	struct daemon_config config = c->config;
	c->config = (struct daemon_config){0};
	char reason[1024];
	rc = plan_create(c->daemon, config, false, c, &c->plan, reason, sizeof reason);
	if (rc < 0) {
		(void)change_fail(c, CTL_FAILED, "%s", reason);
		change_finish(c);
		return;
	}
	c->plan->live = true;
	change_remark_modes(c);
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
		if (change_edits(c, e->runtime[i].name)) {
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
	loop_timer_init(&c->patience, c->daemon->loops[0], on_patience);
	loop_timer_set(&c->patience, PATIENCE_NS);
	change_apply(c, change_finish);
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
	change_finish(c);
}

static void
caches_gone(struct change *c)
{
	change_work(c, close_work, close_done);
}

static void
volumes_gone(struct change *c)
{
	/* A store that was watched has a timer here; files and identities are the worker's. */
	for (unsigned i = 0; c->units_made && i < c->plan->lun_count; i++) {
		struct daemon_lun *l = c->plan->luns[i].after;
		if (l == NULL || l == c->plan->luns[i].before)
			continue;
		blk_close(l->blk);
		l->blk = NULL;
	}
	change_caches_go(c, caches_gone);
}

static void
units_gone(struct change *c)
{
	struct plan *p = c->plan;
	c->after_waits = volumes_gone;
	change_hold(c);
	for (unsigned i = 0; i < p->lun_count; i++) {
		struct daemon_lun *l = p->luns[i].after;
		if (l == NULL || l == p->luns[i].before || l->volume == NULL)
			continue;
		change_hold(c);
		daemon_lun_detach(l, l->volume_is_new, attached, c);
	}
	change_release(c);
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
		daemon_lun_unwatch(l);
		change_hold(c);
		daemon_lun_end_unit(l, lu, change_released, c);
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
	if (c->call == NULL)
		return;
	if (c->code != 0) {
		ctl_call_fail(c->call, c->code, c->data, "%s", c->reason);
		c->data = NULL;
	} else {
		json_t *result = json_pack("{s:b, s:O, s:O, s:O, s:O}", "applied",
		    c->committed || c->grown, "changes", c->changes, "sessions", c->sessions,
		    "remarks", c->remarks, "restart", c->restart);
		if (c->resized_to > 0)
			json_object_set_new(
			    result, "size_bytes", json_integer((json_int_t)c->resized_to));
		ctl_call_done(c->call, result);
	}
	c->call = NULL;
}

/* It is written and in force; what goes is held by somebody, a store that doesn't answer perhaps. */
static void
on_patience(struct loop_timer *t)
{
	struct change *c = container_of(t, struct change, patience);
	change_remark(c, "it is in force; what was taken away is still in use (a store that "
	                 "doesn't answer?), and "
	                 "until that has ended nothing else can be changed");
	log_warn("daemon", "%s: in force, what was taken away is still in use", c->command);
	answer(c);
}

static void
settled(struct change *c, int rc)
{
	struct change_engine *e = c->engine;
	(void)rc;
	change_report(c);
	answer(c);
	ASSERT(e->current == c);
	e->current = NULL;
	change_free(c);
	change_engine_idle(e);
}

void
change_finish(struct change *c)
{
	loop_timer_cancel(&c->patience);
	if (c->plan != NULL && (c->units_made || c->committed))
		change_work(c, settle_work, settled);
	else
		settled(c, 0);
}

void
change_run(struct change *c)
{
	change_work(c, change_load_work, load_done);
}
