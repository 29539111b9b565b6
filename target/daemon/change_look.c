/* SPDX-License-Identifier: BSD-2-Clause */
/* What a change would do: the difference as JSON, and to whom it would be done. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "daemon/caches.h"
#include "daemon/change_priv.h"
#include "daemon/srp.h"

json_t *
change_errors_json(const struct conf_errors *e)
{
	json_t *list = json_array();
	for (unsigned i = 0; list != NULL && i < e->count; i++) {
		const struct conf_error *error = &e->list[i];
		json_array_append_new(
		    list, json_pack("{s:o, s:i, s:i, s:o, s:b}", "file",
		              ctl_string(error->pos.file != NULL ? error->pos.file : ""), "line",
		              (int)error->pos.line, "column", (int)error->pos.column, "text",
		              ctl_string(error->text), "remark", error->remark));
	}
	return list;
}

/* ---- the difference -------------------------------------------------------------------------------- */

static json_t *
text_or_null(const char *s)
{
	return s != NULL ? ctl_string(s) : json_null();
}

static json_t *
describe_one(const struct conf_change *ch)
{
	json_t *keys = json_array();
	for (unsigned i = 0; keys != NULL && i < ch->key_count; i++)
		json_array_append_new(keys,
		    json_pack("{s:o, s:o, s:o}", "key", ctl_string(ch->keys[i].key), "old",
		        text_or_null(ch->keys[i].before), "new", text_or_null(ch->keys[i].after)));
	json_t *o = json_pack("{s:s, s:s, s:o, s:o}", "kind", conf_kind_to_string(ch->kind), "what",
	    conf_what_to_string(ch->what), "name", ctl_string(ch->name), "keys", keys);
	if (o != NULL && ch->target != NULL)
		json_object_set_new(o, "target", ctl_string(ch->target));
	return o;
}

/* Keys that are read at the start only. */
static bool
is_for_restart(const char *key)
{
	static const char *const keys[] = {
	    "loops", "priority", "buffers", "state_dir", "control", "nbd", "inspect", "events_max"};
	for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
		if (strcmp(keys[i], key) == 0)
			return true;
	return false;
}

/* A cache comes and goes while initiators work; another SSD under the same name doesn't. */
static bool
needs_restart(const struct conf_change *ch)
{
	bool other = false;
	for (unsigned i = 0; ch->what == CONF_CHANGE && i < ch->key_count; i++)
		other = other || strcmp(ch->keys[i].key, "ssd") == 0 ||
		        strcmp(ch->keys[i].key, "size") == 0 ||
		        strcmp(ch->keys[i].key, "index") == 0;
	return other;
}

int
change_describe(struct change *c)
{
	for (unsigned i = 0; i < c->diff->count; i++) {
		const struct conf_change *ch = &c->diff->list[i];
		if (json_array_append_new(c->changes, describe_one(ch)) < 0)
			return change_no_memory(c);
		if (ch->kind == CONF_KIND_CACHE && needs_restart(ch)) {
			char text[300];
			snprintf(text, sizeof text,
			    "cache %s changes at the next start of terraced", ch->name);
			json_array_append_new(c->restart, ctl_string(text));
		}
		for (unsigned k = 0; ch->kind == CONF_KIND_SETTINGS && k < ch->key_count; k++) {
			char text[300];
			if (!is_for_restart(ch->keys[k].key))
				continue;
			snprintf(text, sizeof text, "%s takes effect at the next start of terraced",
			    ch->keys[k].key);
			json_array_append_new(c->restart, ctl_string(text));
		}
	}
	return 0;
}

json_t *
change_restart(const struct daemon *d)
{
	const struct change_engine *e = d->changes;
	json_t *list = json_array();
	if (e == NULL || list == NULL)
		return list;
	if (d->conf->loops != e->loops)
		json_array_append_new(list, json_string("loops"));
	if (d->conf->normal_priority != e->normal_priority)
		json_array_append_new(list, json_string("priority"));
	if (d->conf->buffer_bytes != e->buffer_bytes)
		json_array_append_new(list, json_string("buffers"));
	const char *dir = d->conf->state_dir != NULL ? d->conf->state_dir : "";
	if (strcmp(dir, e->state_dir != NULL ? e->state_dir : "") != 0)
		json_array_append_new(list, json_string("state_dir"));
	bool caches = d->conf->cache_count != d->cache_count;
	for (unsigned i = 0; !caches && i < d->conf->cache_count; i++) {
		const struct conf_cache *x = &d->conf->caches[i];
		const struct daemon_cache *is = daemon_cache_find(d, x->name);
		caches = is == NULL || (is->spec == NULL) != (x->ssd == NULL) ||
		         (x->ssd != NULL && strcmp(is->spec, x->ssd) != 0) ||
		         is->size_bytes != x->size_bytes ||
		         (is->ram == NULL) != (daemon_ram_bytes(d->conf, x) == 0);
	}
	if (caches)
		json_array_append_new(list, json_string("cache"));
	const char *const now[] = {d->conf->control, d->conf->nbd, d->conf->inspect};
	const char *const then[] = {e->control, e->nbd, e->inspect};
	static const char *const keys[] = {"control", "nbd", "inspect"};
	for (unsigned i = 0; i < sizeof keys / sizeof keys[0]; i++)
		if (strcmp(now[i] != NULL ? now[i] : "", then[i] != NULL ? then[i] : "") != 0)
			json_array_append_new(list, json_string(keys[i]));
	return list;
}

/* ---- what somebody else has changed in the files ----------------------------------------------------- */

static bool
is_own(const struct change *c, const struct conf_change *ch)
{
	bool group = false;
	for (unsigned i = 0; i < c->edit_count; i++) {
		if (c->edits[i].kind == ch->kind && strcmp(c->edits[i].name, ch->name) == 0)
			return true;
		group = group || c->edits[i].kind == CONF_KIND_GROUP;
	}
	/* The order of the groups of a target follows from its groups. */
	return group && ch->kind == CONF_KIND_TARGET && ch->what == CONF_CHANGE &&
	       ch->key_count == 1 && strcmp(ch->keys[0].key, "groups") == 0;
}

int
change_check_foreign(struct change *c)
{
	if (c->verb->edit == NULL)
		return 0;
	for (unsigned i = 0; i < c->diff->count; i++) {
		const struct conf_change *ch = &c->diff->list[i];
		if (!is_own(c, ch))
			return change_fail(c, CTL_FAILED,
			    "the configuration files say otherwise than what runs (%s%s%s): "
			    "`terracectl "
			    "reload --dry-run` shows it, `terracectl reload` first",
			    conf_kind_to_string(ch->kind), ch->name[0] != '\0' ? " " : "",
			    ch->name);
	}
	return 0;
}

/* ---- whom it concerns ---------------------------------------------------------------------------------- */

static const struct conf_group_lun *
by_number(const struct plan_view *pv, unsigned number)
{
	for (unsigned i = 0; i < pv->lun_count; i++)
		if (pv->luns[i].number == number)
			return &pv->luns[i];
	return NULL;
}

/* What a session with this view would lose, as text; "": nothing. */
static void
losses(const struct plan *p, const struct plan_view *pv, char *buf, size_t cap)
{
	const struct scsi_view *view = pv->before->view;
	unsigned count = 0;
	size_t at = 0;

	buf[0] = '\0';
	for (uint32_t i = 0; i < scsi_view_count(view); i++) {
		const struct scsi_view_entry *e = scsi_view_entry(view, i);
		const struct conf_group_lun *line = by_number(pv, e->lun);
		const struct daemon_lun *l =
		    line != NULL ? names_find(&p->next.lun_names, line->lun) : NULL;
		const struct conf_lun *conf = NULL;
		for (unsigned k = 0; l != NULL && conf == NULL && k < p->lun_count; k++)
			if (p->luns[k].after == l)
				conf = p->luns[k].conf;
		bool lost = l == NULL || l->lu != e->lu;
		bool fenced = !lost && !e->read_only && !scsi_lu_read_only(e->lu) &&
		              (line->read_only || (conf != NULL && conf->read_only));
		if (!lost && !fenced)
			continue;
		if (++count > 4) {
			snprintf(buf + at, cap - at, ", …");
			return;
		}
		int n = snprintf(buf + at, cap - at, "%s%s LUN %u (%s)", at > 0 ? ", " : "",
		    lost ? "loses" : "may only read", e->lun, scsi_lu_name(e->lu));
		at += n > 0 && (size_t)n < cap - at ? (size_t)n : 0;
	}
}

static int
add_session(struct change *c, const struct daemon_session *which, const char *reason)
{
	const struct iscsi_session_info *s = &which->info;
	json_t *o = json_pack("{s:i, s:o, s:o, s:s, s:o}", "tsih", (int)which->number, "initiator",
	    ctl_string(s->initiator), "target", ctl_string(s->target), "address", s->address,
	    "reason", ctl_string(reason));
	return json_array_append_new(c->sessions, o) < 0 ? change_no_memory(c) : 0;
}

static const struct daemon_session *
find_session(const struct daemon_session *list, uint32_t count, uint32_t number)
{
	for (uint32_t i = 0; i < count; i++)
		if (list[i].number == number)
			return &list[i];
	return NULL;
}

int
change_impact(struct change *c)
{
	const struct plan *p = c->plan;
	const struct daemon *d = c->daemon;
	uint32_t cap = daemon_session_count(d) + 1;
	struct daemon_session *all = calloc(cap, sizeof *all);
	struct daemon_session *end = calloc(cap, sizeof *end);
	char(*texts)[512] = calloc(p->view_count + 1, sizeof *texts);
	int rc = 0;

	if (all == NULL || end == NULL || texts == NULL) {
		rc = change_no_memory(c);
		goto out;
	}
	for (unsigned i = 0; i < p->view_count; i++)
		if (p->views[i].before != NULL && p->views[i].after != NULL)
			losses(p, &p->views[i], texts[i], sizeof texts[i]);
	uint32_t count = daemon_sessions(d, all, cap);
	uint32_t ends = daemon_sessions_affected(d, p, end, cap);
	for (uint32_t i = 0; rc == 0 && i < count; i++) {
		const struct daemon_session *e = find_session(end, ends, all[i].number);
		if (e != NULL) {
			rc = add_session(
			    c, e, e->info.reason != NULL ? e->info.reason : "it would end");
			continue;
		}
		for (unsigned k = 0; rc == 0 && k < p->view_count; k++)
			if (p->views[k].before != NULL &&
			    p->views[k].before->view == all[i].info.view && texts[k][0] != '\0')
				rc = add_session(c, &all[i], texts[k]);
	}
out:
	free(all);
	free(end);
	free(texts);
	return rc;
}
