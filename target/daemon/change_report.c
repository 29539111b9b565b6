/* SPDX-License-Identifier: BSD-2-Clause */
/* What is told of a change that has ended: log, history, an event, conditions. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "daemon/change_priv.h"

void
change_history(
    struct daemon *d, uid_t uid, const char *user, const char *command, const char *result)
{
	const struct health_order o = {
	    .uid = uid, .user = user, .command = command, .result = result};
	health_history_add(d->health, &o);
}

static void
set_condition(
    struct daemon *d, enum health_code code, const char *object, bool holds, const char *sentence)
{
	if (holds)
		(void)health_raise(d->health, code, object, "%s", sentence);
	else
		(void)health_clear(d->health, code, object);
}

static bool
is_in(const json_t *list, const char *word)
{
	size_t i;
	const json_t *v;
	json_array_foreach(list, i, v) if (strcmp(json_string_value(v), word) == 0) return true;
	return false;
}

/* What is configured and not in force before the next start. */
static void
tell_restart(struct daemon *d)
{
	static const char *const keys[] = {
	    "loops", "priority", "buffers", "state_dir", "control", "nbd", "inspect", "cache"};
	json_t *list = change_restart(d);
	for (size_t i = 0; list != NULL && i < sizeof keys / sizeof keys[0]; i++) {
		char text[128];
		snprintf(text, sizeof text, "%s is configured otherwise than terraced was started",
		    keys[i]);
		set_condition(d, HEALTH_RESTART_NEEDED, keys[i], is_in(list, keys[i]), text);
	}
	json_decref(list);
}

static void
tell_committed(const struct change *c)
{
	struct daemon *d = c->daemon;
	const struct change_engine *e = c->engine;
	char text[128];

	health_event(d->health, HEALTH_EVENT_CHANGED, "",
	    json_pack("{s:o, s:O}", "user", ctl_string(c->user), "changes", c->changes), "%s: %s",
	    c->user, c->command);
	snprintf(text, sizeof text, "%u object%s changed until the next start only",
	    e->runtime_count, e->runtime_count == 1 ? " is" : "s are");
	set_condition(d, HEALTH_RUNTIME_CHANGES, "", e->runtime_count > 0, text);
	tell_restart(d);
	monitor_config_changed(d->monitor);
}

void
change_report(struct change *c)
{
	struct daemon *d = c->daemon;
	bool reload = c->verb != NULL && c->verb->edit == NULL;
	const char *file = d->options->config_file;

	if (c->dry_run)
		return;
	if (c->code == 0)
		log_info("daemon", "%s: %s user=%s", c->command,
		    c->committed || c->grown ? "done" : "nothing to change", c->user);
	else
		log_warn("daemon", "%s: refused: %s user=%s", c->command, c->reason, c->user);
	change_history(d, c->uid, c->user, c->command,
	    c->code != 0   ? c->reason
	    : c->committed ? "done"
	                   : "nothing to change");
	/* Who asked for it by command has the answer; after a signal nobody has. */
	if (reload && file != NULL && (c->code == 0 || c->call == NULL))
		set_condition(d, HEALTH_RELOAD_REFUSED, file, c->code != 0, c->reason);
	if (c->committed || c->grown)
		tell_committed(c);
}

const char *const *
daemon_event_names(void)
{
	static const char *names[HEALTH_EVENT_COUNT + 2];
	if (names[0] != NULL)
		return names; /* filled before the loops run */
	for (unsigned i = 1; i < HEALTH_EVENT_COUNT; i++)
		names[i] = health_event_name((enum health_event_kind)i);
	names[HEALTH_EVENT_COUNT] = "all";
	names[0] = health_event_name((enum health_event_kind)0);
	return names;
}
