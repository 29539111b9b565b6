/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * `doctor`: what is served, from the daemon that runs or else from the configuration's file, to the checks
 * of tools/doctor, and what they found to people, or as JSON.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conf/conf.h"
#include "tools/doctor/doctor.h"
#include "tools/terracectl/terracectl.h"

#define CONFIG_DEFAULT "/etc/terrace/terrace.conf"

struct ward {
	struct tool *tool;
	struct doctor_facts facts;
	bool running;      /* a daemon answered: what is served is what it says */
	char config[4096]; /* file of the configuration; "": none is known */
	char said[4096];   /* where the daemon has its objects from */
};

/* ---- from the daemon ------------------------------------------------------------------------------ */

/* The result of a method that only looks, a new reference, or NULL: an older daemon, or it is busy. */
static json_t *
ask(struct ward *w, const char *method)
{
	struct answer a;
	json_t *params = NULL;

	if (strcmp(method, "lun.list") == 0)
		params = json_pack("{s:b}", "stats", 0);
	client_call(w->tool->client, method, params, ANSWER_TIMEOUT_MS, &a);
	json_t *result = json_incref(a.result);
	answer_fini(&a);
	return result;
}

/* "/etc/terrace/terrace.conf:12" of what the administrator wrote. */
static void
note_origin(struct ward *w, const json_t *o)
{
	const char *origin = get_text(o, "origin"), *colon = strrchr(origin, ':');

	if (w->said[0] == '\0' && colon != NULL &&
	    strcmp(get_text(o, "owner"), "administrator") == 0)
		snprintf(w->said, sizeof w->said, "%.*s", (int)(colon - origin), origin);
}

static void
take_luns(struct ward *w, const json_t *list)
{
	size_t i;
	const json_t *o;

	json_array_foreach(list, i, o)
	{
		const char *origin = get_text(o, "origin");
		note_origin(w, o);
		doctor_add_lun(&w->facts, get_text(o, "name"), get_text(o, "store"),
		    get_text(o, "mode"), get_text(o, "cache"),
		    strcmp(origin, "command line") == 0 ? "" : origin);
	}
}

static void
take_caches(struct ward *w, const json_t *list)
{
	size_t i;
	const json_t *o;

	json_array_foreach(list, i, o)
	    doctor_add_cache(&w->facts, get_text(o, "name"), get_text(o, "ssd"), "");
}

static void
take_portals(struct ward *w, const json_t *list)
{
	size_t i, k;
	const json_t *o, *address;

	json_array_foreach(list, i, o)
	{
		note_origin(w, o);
		json_array_foreach(json_object_get(o, "addresses"), k, address)
		    doctor_add_address(&w->facts, get_text(o, "name"),
		        json_is_string(address) ? json_string_value(address) : "",
		        strcmp(get_text(o, "protocol"), "srp") == 0);
	}
}

/* LUNs of a mapping, seen by these initiators. */
static void
take_viewers(struct ward *w, const json_t *luns, const json_t *initiators)
{
	size_t i, k;
	const json_t *lun, *initiator;

	json_array_foreach(luns, i, lun)
	{
		json_array_foreach(initiators, k, initiator)
		    doctor_add_viewer(&w->facts, get_text(lun, "lun"),
		        json_is_string(initiator) ? json_string_value(initiator) : "",
		        !get_bool(lun, "read_only"), false);
	}
}

/* A session sees what its group has, or its target where it is in none. */
static void
take_sessions(struct ward *w, const json_t *sessions, const json_t *owners, bool groups)
{
	size_t i, k, n;
	const json_t *s, *o, *lun;

	json_array_foreach(sessions, i, s)
	{
		const char *group = get_text(s, "group"), *target = get_text(s, "target");
		if (groups == (group[0] == '\0'))
			continue;
		json_array_foreach(owners, k, o)
		{
			if (groups ? strcmp(get_text(o, "name"), group) != 0 ||
			                 strcmp(get_text(o, "target"), target) != 0
			           : strcmp(get_text(o, "name"), target) != 0)
				continue;
			json_array_foreach(json_object_get(o, "luns"), n, lun)
			    doctor_add_viewer(&w->facts, get_text(lun, "lun"),
			        get_text(s, "initiator"), !get_bool(lun, "read_only"), true);
		}
	}
}

static void
take_targets(struct ward *w, const json_t *targets, const json_t *groups, const json_t *sessions)
{
	json_t *all = json_pack("[s]", "*");
	size_t i;
	const json_t *o;

	json_array_foreach(targets, i, o)
	{
		note_origin(w, o);
		doctor_add_target(&w->facts, get_text(o, "name"),
		    json_array_size(json_object_get(o, "chaps")) > 0);
		if (get_bool(o, "open"))
			take_viewers(w, json_object_get(o, "luns"), all);
	}
	json_array_foreach(groups, i, o)
	    take_viewers(w, json_object_get(o, "luns"), json_object_get(o, "initiators"));
	take_sessions(w, sessions, groups, true);
	take_sessions(w, sessions, targets, false);
	json_decref(all);
}

/* False: no daemon answers, and the file says what would be served. */
static bool
ask_daemon(struct ward *w)
{
	char reason[5000];
	struct tool *t = w->tool;

	if (t->client == NULL)
		t->client = client_open(t->control, reason, sizeof reason);
	json_t *status = t->client != NULL ? ask(w, "status") : NULL;
	if (status == NULL)
		return false;
	json_t *luns = ask(w, "lun.list"), *caches = ask(w, "cache.list"),
	       *portals = ask(w, "portal.list"), *targets = ask(w, "target.list"),
	       *groups = ask(w, "group.list");
	w->facts.daemon_pid = (long)get_int(status, "pid");
	take_luns(w, luns);
	take_caches(w, caches);
	take_portals(w, portals);
	take_targets(w, targets, groups, json_object_get(status, "sessions"));
	json_decref(status);
	json_decref(luns);
	json_decref(caches);
	json_decref(portals);
	json_decref(targets);
	json_decref(groups);
	return true;
}

/* ---- from the file ---------------------------------------------------------------------------------- */

static void
position(const struct conf_pos *pos, char *buf, size_t cap)
{
	buf[0] = '\0';
	if (pos->file != NULL)
		snprintf(buf, cap, "%s:%u", pos->file, pos->line);
}

static void
add_chaps(struct ward *w, const struct conf_chap *chaps, unsigned count, const char *target)
{
	for (unsigned i = 0; i < count; i++)
		doctor_add_chap(&w->facts, chaps[i].name, target, chaps[i].user, chaps[i].secret,
		    chaps[i].mutual_secret);
}

static void
add_viewers(
    struct ward *w, const struct conf_group_lun *luns, unsigned count, const char *initiator)
{
	for (unsigned i = 0; i < count; i++)
		doctor_add_viewer(&w->facts, luns[i].lun, initiator, !luns[i].read_only, false);
}

static void
add_targets(struct ward *w, const struct conf *c)
{
	for (unsigned i = 0; i < c->target_count; i++) {
		const struct conf_target *t = &c->targets[i];
		doctor_add_target(&w->facts, t->name, t->chap_count > 0);
		if (t->open)
			add_viewers(w, t->luns, t->lun_count, "*");
		for (unsigned g = 0; g < t->group_count; g++)
			for (unsigned k = 0; k < t->groups[g].initiator_count; k++)
				add_viewers(w, t->groups[g].luns, t->groups[g].lun_count,
				    t->groups[g].initiators[k]);
	}
}

static void
add_served(struct ward *w, const struct conf *c)
{
	char where[4352];

	for (unsigned i = 0; i < c->lun_count; i++) {
		const struct conf_lun *l = &c->luns[i];
		position(&l->pos, where, sizeof where);
		doctor_add_lun(&w->facts, l->name, l->store, conf_mode_to_string(conf_lun_mode(l)),
		    l->cache, where);
	}
	for (unsigned i = 0; i < c->cache_count; i++) {
		position(&c->caches[i].pos, where, sizeof where);
		doctor_add_cache(&w->facts, c->caches[i].name, c->caches[i].ssd, where);
	}
	for (unsigned i = 0; i < c->portal_count; i++)
		for (unsigned k = 0; k < c->portals[i].listen_count; k++)
			doctor_add_address(&w->facts, c->portals[i].name, c->portals[i].listen[k],
			    c->portals[i].protocol == CONF_PROTOCOL_SRP);
	add_targets(w, c);
}

static void
read_file(struct ward *w)
{
	const struct conf_load_args args = {.path = w->config};
	struct conf_errors errors = {0};
	struct conf_tree *tree = NULL;
	struct conf *conf = NULL;
	char where[4352];

	w->facts.configuration = w->config;
	(void)conf_load(&args, &errors, &tree, &conf);
	for (unsigned i = 0; i < errors.count; i++) {
		const struct conf_error *e = &errors.list[i];
		position(&e->pos, where, sizeof where);
		doctor_add_trouble(&w->facts, where[0] != '\0' ? where : w->config,
		    e->remark && strncmp(e->text, "remark: ", 8) == 0 ? e->text + 8 : e->text,
		    e->remark);
	}
	if (conf == NULL && errors.count == 0)
		doctor_add_trouble(&w->facts, w->config, "it can't be read", false);
	for (unsigned i = 0; conf != NULL && i < conf->target_count; i++)
		add_chaps(
		    w, conf->targets[i].chaps, conf->targets[i].chap_count, conf->targets[i].name);
	if (conf != NULL)
		add_chaps(w, conf->discovery_chaps, conf->discovery_chap_count, "");
	if (conf != NULL && !w->running)
		add_served(w, conf);
	conf_destroy(conf);
	conf_errors_fini(&errors);
	conf_tree_destroy(tree);
}

/* What was named, what is usual, what the daemon's objects come from. */
static void
find_file(struct ward *w, const char *named, const char *root)
{
	char usual[4096];

	if (named != NULL) {
		snprintf(w->config, sizeof w->config, "%s", named);
		return;
	}
	if (w->said[0] != '\0') {
		snprintf(w->config, sizeof w->config, "%s", w->said);
		return;
	}
	if (snprintf(usual, sizeof usual, "%s%s", root, CONFIG_DEFAULT) < (int)sizeof usual &&
	    !w->running && access(usual, F_OK) == 0)
		memcpy(w->config, usual, sizeof usual);
}

/* ---- what was found -------------------------------------------------------------------------------------- */

static json_t *
report_json(const struct doctor_report *r)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < r->count; i++) {
		const struct doctor_finding *x = &r->list[i];
		json_t *o = json_pack("{s:s, s:s, s:s*, s:s*, s:s*}", "check", x->check, "level",
		    doctor_level_to_string(x->level), "object", x->object, "text", x->text,
		    "action", x->action);
		if (o != NULL)
			json_array_append_new(list, o);
	}
	return json_pack("{s:s, s:o}", "worst", doctor_level_to_string(r->worst), "findings", list);
}

static void
print_report(const struct doctor_report *r)
{
	static const enum term_style styles[] = {
	    [DOCTOR_OK] = STYLE_OK, [DOCTOR_REMARK] = STYLE_WARN, [DOCTOR_BAD] = STYLE_BAD};

	for (unsigned i = 0; i < r->count; i++) {
		const struct doctor_finding *x = &r->list[i];
		char level[16];
		snprintf(level, sizeof level, "%-6s", doctor_level_to_string(x->level));
		out_styled(styles[x->level], level);
		printf("  %-13s  ", x->check);
		out_text(stdout, x->text);
		putchar('\n');
		if (x->action[0] == '\0')
			continue;
		printf("%-23s", "");
		out_styled(STYLE_DIM, "action: ");
		out_text(stdout, x->action);
		putchar('\n');
	}
}

int
run_doctor(struct tool *t, const struct verb *v, json_t *params)
{
	static const int statuses[] = {
	    [DOCTOR_OK] = TOOL_DONE, [DOCTOR_REMARK] = TOOL_REMARKS, [DOCTOR_BAD] = TOOL_FAILED};
	const char *root = json_string_value(json_object_get(t->local, "root"));
	struct ward w = {.tool = t};
	struct doctor_report report;

	(void)v;
	(void)params;
	if (root != NULL && access(root, F_OK) < 0)
		return tool_error(t, TOOL_USAGE, "there is no folder %s", root);
	doctor_facts_init(&w.facts, root != NULL ? root : "");
	if (root == NULL) {
		w.running = ask_daemon(&w);
		doctor_add_interfaces(&w.facts);
	}
	find_file(&w, json_string_value(json_object_get(t->local, "config")), w.facts.root);
	if (w.config[0] != '\0')
		read_file(&w);
	w.facts.unknown =
	    !w.running && w.facts.lun_count + w.facts.target_count + w.facts.address_count == 0;
	int status = doctor_run(&w.facts, &report);
	if (status < 0) {
		status = tool_error(t, TOOL_FAILED, "out of memory");
	} else {
		status = statuses[report.worst];
		if (t->json) {
			json_t *result = report_json(&report);
			tool_print_json(result, false);
			json_decref(result);
		} else {
			print_report(&report);
		}
	}
	doctor_report_fini(&report);
	doctor_facts_fini(&w.facts);
	return status;
}
