/* SPDX-License-Identifier: BSD-2-Clause */
/* One change at a time: who may begin, who waits, who is told that another one is under way. */
#include "daemon/change_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/log.h"

#define MODES "mode of LUNs"

static const struct change_verb verbs[] = {
    {"reload", NULL},
    {"config.diff", NULL},
    {MODES, change_edit_nothing},
    {"lun.create", edit_lun_create},
    {"lun.delete", edit_lun_delete},
    {"lun.set", edit_lun_set},
    {"lun.resize", edit_lun_resize},
    {"cache.add", edit_cache_add},
    {"cache.remove", edit_cache_remove},
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
begin_verb(struct change_engine *e, struct ctl_call *call, const json_t *params, const char *method)
{
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
		change_finish(c);
	else
		change_run(c);
}

static void
begin(struct change_engine *e, struct ctl_call *call, const json_t *params)
{
	begin_verb(e, call, params, call != NULL ? ctl_call_method(call) : "reload");
}

bool
change_modes_due(struct change_engine *e)
{
	if (e->stopping || e->current != NULL || e->busy_itself)
		return false;
	begin_verb(e, NULL, NULL, MODES);
	return true;
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
	e->normal_priority = d->conf->normal_priority;
	e->buffer_bytes = d->conf->buffer_bytes;
	e->state_dir = d->conf->state_dir != NULL ? strdup(d->conf->state_dir) : NULL;
	e->control = d->conf->control != NULL ? strdup(d->conf->control) : NULL;
	e->nbd = d->conf->nbd != NULL ? strdup(d->conf->nbd) : NULL;
	e->inspect = d->conf->inspect != NULL ? strdup(d->conf->inspect) : NULL;
	if (d->options->config_file == NULL)
		e->base_text = conf_text(d->conf);
	if ((d->options->config_file == NULL && e->base_text == NULL) ||
	    (d->conf->state_dir != NULL && e->state_dir == NULL) ||
	    (d->conf->control != NULL && e->control == NULL) ||
	    (d->conf->nbd != NULL && e->nbd == NULL) ||
	    (d->conf->inspect != NULL && e->inspect == NULL)) {
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
	free(e->nbd);
	free(e->inspect);
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
