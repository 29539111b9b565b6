/* SPDX-License-Identifier: BSD-2-Clause */
/* The methods that change something, and those about the configuration. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "daemon/change_priv.h"
#include "daemon/control.h"
#include "daemon/srp.h"

/* ---- the configuration as it is -------------------------------------------------------------------- */

static json_t *
check_json(const struct picture *p)
{
	const struct conf_load_args args = {
	    .path = p->options->config_file, .events = daemon_event_names()};
	struct conf_errors errors = {0};
	struct conf_tree *tree = NULL;
	struct conf *conf = NULL;
	json_t *result = NULL;

	int rc = conf_load(&args, &errors, &tree, &conf);
	if (rc != -ENOMEM)
		result = json_pack("{s:b, s:i, s:o}", "ok", rc == 0, "errors_total",
		    (int)errors.wrong, "errors", change_errors_json(&errors));
	conf_errors_fini(&errors);
	conf_destroy(conf);
	conf_tree_destroy(tree);
	return result;
}

static void
config_check(void *ctx, struct ctl_call *call, const json_t *params)
{
	struct daemon *d = ctx;
	(void)params;
	if (d->options->config_file == NULL)
		ctl_call_fail(call, CTL_FAILED, NULL,
		    "terraced runs without a configuration file: there is nothing to check");
	else
		control_answer(d, call, 0, NULL, check_json);
}

static int
add_value(void *ctx, const struct conf_value *v)
{
	json_t *o = json_pack("{s:s, s:o, s:o, s:o, s:o, s:s, s:b}", "kind",
	    conf_kind_to_string(v->kind), "name", ctl_string(v->name), "key", ctl_string(v->key),
	    "value", ctl_string(v->value), "origin", ctl_string(v->origin), "owner",
	    conf_owner_to_string(v->owner), "default", v->is_default);
	if (o != NULL && v->target != NULL)
		json_object_set_new(o, "target", ctl_string(v->target));
	return json_array_append_new(ctx, o) < 0 ? -ENOMEM : 0;
}

static json_t *
effective_json(const struct picture *p)
{
	json_t *list = json_array();
	if (list != NULL && conf_effective(p->conf, add_value, list) < 0) {
		json_decref(list);
		return NULL;
	}
	return list;
}

static void
config_effective(void *ctx, struct ctl_call *call, const json_t *params)
{
	(void)params;
	control_answer(ctx, call, 0, NULL, effective_json);
}

/* ---- sessions, log level ------------------------------------------------------------------------------ */

static const struct daemon_session *
find_session(struct daemon_session *list, uint32_t count, json_int_t tsih)
{
	for (uint32_t i = 0; i < count; i++)
		if (list[i].number == tsih)
			return &list[i];
	return NULL;
}

static void
drop(struct daemon *d, struct ctl_call *call, const json_t *params,
    const struct daemon_session *which)
{
	const struct iscsi_session_info *s = &which->info;
	bool dry = json_is_true(json_object_get(params, "dry_run"));
	json_t *sessions = json_pack("[{s:i, s:o, s:o, s:s, s:s}]", "tsih", (int)which->number,
	    "initiator", ctl_string(s->initiator), "target", ctl_string(s->target), "address",
	    s->address, "reason", "it is told to log out, then ended");
	char command[64];

	if (!dry && !json_is_true(json_object_get(params, "yes"))) {
		ctl_call_fail(call, CTL_NEEDS_YES, json_pack("{s:o}", "sessions", sessions),
		    "session %u of %s (%s) would end: --yes does it; it may log in again",
		    which->number, s->initiator, s->address);
		return;
	}
	if (!dry && daemon_session_drop(d, which, "dropped by command") < 0) {
		json_decref(sessions);
		ctl_call_fail(
		    call, CTL_NO_OBJECT, NULL, "session %u has just ended", which->number);
		return;
	}
	if (!dry) {
		snprintf(command, sizeof command, "session drop %u --yes", which->number);
		log_info("daemon", "session dropped by command session=%u initiator=%s",
		    which->number, s->initiator);
		change_history(
		    d, ctl_call_peer(call)->uid, ctl_call_peer(call)->user, command, "done");
	}
	ctl_call_done(call, json_pack("{s:b, s:[], s:o, s:[], s:[]}", "applied", !dry, "changes",
	                        "sessions", sessions, "remarks", "restart"));
}

static void
session_drop(void *ctx, struct ctl_call *call, const json_t *params)
{
	struct daemon *d = ctx;
	json_int_t tsih = json_integer_value(json_object_get(params, "tsih"));
	uint32_t count = daemon_session_count(d);
	struct daemon_session *list = calloc(count + 1, sizeof *list);

	if (list == NULL) {
		ctl_call_fail(call, CTL_FAILED, NULL, "out of memory");
		return;
	}
	count = daemon_sessions(d, list, count);
	const struct daemon_session *s = find_session(list, count, tsih);
	if (s == NULL)
		ctl_call_fail(call, CTL_NO_OBJECT, NULL,
		    "there is no session %lld: `terracectl session list` shows those there are",
		    (long long)tsih);
	else
		drop(d, call, params, s);
	free(list);
}

static const char *const level_names[] = {"error", "warning", "info", "debug"};

static json_t *
log_level_get(void *ctx, const json_t *params, struct ctl_failure *failure)
{
	(void)ctx;
	(void)params;
	(void)failure;
	return json_pack("{s:s}", "level", level_names[log_get_level()]);
}

static json_t *
log_level_set(void *ctx, const json_t *params, struct ctl_failure *failure)
{
	const char *word = json_string_value(json_object_get(params, "level"));
	enum log_level level;
	if (log_level_parse(word, &level) < 0) {
		failure->code = CTL_INVALID_PARAMS;
		snprintf(failure->message, sizeof failure->message,
		    "'%s' is no level: error, warning, info or debug", word);
		return NULL;
	}
	log_set_level(level);
	return log_level_get(ctx, params, failure);
}

/* ---- the table -------------------------------------------------------------------------------------------- */

/* clang-format off */
#define CHANGE_PARAMS                                                                            \
	{"dry_run", CTL_BOOL, false, "only say what would change"},                                 \
	{"yes", CTL_BOOL, false, "also if it takes something from sessions"},                       \
	{"runtime", CTL_BOOL, false, "until terraced ends: nothing is written"},                    \
	{NULL, CTL_ANY, false, NULL}
#define NAME {"name", CTL_STRING, true, "its name"}

static const struct ctl_param reload_params[] = {
	{"dry_run", CTL_BOOL, false, "only say what would change"},
	{"yes", CTL_BOOL, false, "also if it takes something from sessions"},
	{NULL, CTL_ANY, false, NULL}};
static const struct ctl_param delete_params[] = {NAME, CHANGE_PARAMS};
static const struct ctl_param set_params[] = {
	NAME,
	{"key", CTL_STRING, true, "a key of terrace.conf(5)"},
	{"value", CTL_ANY, false, "its value, a list of them, or null: as if it weren't there"},
	CHANGE_PARAMS};
static const struct ctl_param lun_create_params[] = {
	NAME,
	{"store", CTL_STRING, true, "file:PATH, block:PATH, lvm:VG/LV, ram: or null:"},
	{"size", CTL_ANY, false, "10GiB, or bytes; a file that isn't there is created with it"},
	{"mode", CTL_STRING, false, "writethrough or volatile"},
	{"options", CTL_OBJECT, false, "other keys of a lun with their values"},
	{"to", CTL_STRING, false, "pattern of initiator names that see it"},
	{"target", CTL_STRING, false, "under which target, where there are several"},
	{"group", CTL_STRING, false, "which group sees it; with `to`, name of a new one"},
	{"number", CTL_INT, false, "at which number; else the next free one"},
	{"read_only", CTL_BOOL, false, "they may only read"},
	CHANGE_PARAMS};
static const struct ctl_param lun_delete_params[] = {
	NAME,
	{"discard", CTL_BOOL, false, "forget its identity and reservations too"},
	CHANGE_PARAMS};
static const struct ctl_param lun_resize_params[] = {
	NAME,
	{"size", CTL_ANY, false, "the new size; without: the one that its store has"},
	CHANGE_PARAMS};
static const struct ctl_param cache_add_params[] = {
	NAME,
	{"ssd", CTL_STRING, false, "of a new cache: block:PATH, file:PATH, lvm:VG/LV"},
	{"size", CTL_ANY, false, "of a file that is made for it"},
	{"ram", CTL_ANY, false, "memory of a new cache"},
	{"luns", CTL_LIST, false, "names of those that get it"},
	CHANGE_PARAMS};
static const struct ctl_param cache_remove_params[] = {
	NAME,
	{"luns", CTL_LIST, false, "those that lose it; without: all, and the cache goes"},
	CHANGE_PARAMS};
static const struct ctl_param portal_create_params[] = {
	NAME,
	{"listen", CTL_LIST, true, "addresses, with :PORT if it isn't 3260"},
	CHANGE_PARAMS};
static const struct ctl_param target_create_params[] = {
	NAME,
	{"portals", CTL_LIST, true, "names of portals"},
	{"alias", CTL_STRING, false, "a name for people"},
	{"open", CTL_BOOL, false, "admit whom no group names"},
	CHANGE_PARAMS};
static const struct ctl_param group_create_params[] = {
	NAME,
	{"target", CTL_STRING, true, "whose group"},
	{"initiators", CTL_LIST, true, "patterns of initiator names"},
	{"users", CTL_LIST, false, "chap objects, one of which must log in"},
	{"order", CTL_INT, false, "place among the groups: the first that matches counts"},
	CHANGE_PARAMS};
static const struct ctl_param group_map_params[] = {
	{"group", CTL_STRING, true, "who sees it: a group, or an open target"},
	{"lun", CTL_STRING, true, "which"},
	{"number", CTL_INT, false, "at which number; else the next free one"},
	{"read_only", CTL_BOOL, false, "they may only read"},
	CHANGE_PARAMS};
static const struct ctl_param group_unmap_params[] = {
	{"group", CTL_STRING, true, "who sees it no more"},
	{"lun", CTL_STRING, true, "which"},
	CHANGE_PARAMS};
static const struct ctl_param chap_create_params[] = {
	NAME,
	{"target", CTL_STRING, false, "for which target"},
	{"discovery", CTL_BOOL, false, "for discovery"},
	{"user", CTL_STRING, false, "what initiators say; else the name"},
	{"secret", CTL_STRING, true, "12 to 256 bytes"},
	{"mutual_user", CTL_STRING, false, "what the target says"},
	{"mutual_secret", CTL_STRING, false, "the target's secret"},
	CHANGE_PARAMS};
static const struct ctl_param session_drop_params[] = {
	{"tsih", CTL_INT, true, "number of the session"},
	{"dry_run", CTL_BOOL, false, "only say which one"},
	{"yes", CTL_BOOL, false, "do it"},
	{NULL, CTL_ANY, false, NULL}};
static const struct ctl_param log_level_params[] = {
	{"level", CTL_STRING, true, "error, warning, info or debug"},
	{NULL, CTL_ANY, false, NULL}};

#define CHANGE(method, text, parameters)                                                         \
	{.name = method, .help = text, .changes = true, .params = parameters, .start = change_start}

const struct ctl_method change_methods[] = {
	CHANGE("reload", "apply what differs in the configuration files", reload_params),
	{.name = "config.diff", .help = "what a reload would change", .start = change_start},
	{.name = "config.check", .help = "mistakes in the configuration files as they are",
	    .start = config_check},
	{.name = "config.effective", .help = "each value with its origin",
	    .start = config_effective},
	CHANGE("lun.create", "a new LUN, perhaps shown to somebody", lun_create_params),
	CHANGE("lun.delete", "a LUN goes; its data stays", lun_delete_params),
	CHANGE("lun.set", "a key of a LUN", set_params),
	CHANGE("lun.resize", "a LUN grows", lun_resize_params),
	CHANGE("cache.add", "a cache comes, LUNs get one", cache_add_params),
	CHANGE("cache.remove", "LUNs lose their cache, or it goes with them", cache_remove_params),
	CHANGE("portal.create", "addresses to listen on", portal_create_params),
	CHANGE("portal.delete", "a portal goes", delete_params),
	CHANGE("portal.set", "a key of a portal", set_params),
	CHANGE("target.create", "a new target", target_create_params),
	CHANGE("target.delete", "a target goes, with its groups", delete_params),
	CHANGE("target.set", "a key of a target", set_params),
	CHANGE("group.create", "who sees the same LUNs", group_create_params),
	CHANGE("group.delete", "a group goes", delete_params),
	CHANGE("group.set", "a key of a group", set_params),
	CHANGE("group.map", "a group sees a LUN", group_map_params),
	CHANGE("group.unmap", "a group sees a LUN no more", group_unmap_params),
	CHANGE("chap.create", "a CHAP user", chap_create_params),
	CHANGE("chap.delete", "a CHAP user goes", delete_params),
	CHANGE("chap.set", "a key of a chap object", set_params),
	{.name = "session.drop", .help = "ends a session", .changes = true,
	    .params = session_drop_params, .start = session_drop},
	{.name = "log-level.get", .help = "what is logged", .call = log_level_get},
	{.name = "log-level.set", .help = "what is logged from now on", .changes = true,
	    .params = log_level_params, .call = log_level_set},
	{.name = NULL},
};
