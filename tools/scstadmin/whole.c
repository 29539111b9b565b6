/* SPDX-License-Identifier: BSD-2-Clause */
/* The whole configuration: -config, -check_config, -write_config, -clear_config; looking. */
#include <string.h>

#include "tools/scstadmin/scstadmin.h"

int
scst_look(struct admin *a)
{
	return act_look(a, a->order.verb->text);
}

int
scst_say_none(struct admin *a)
{
	return act_none(a, "%s", a->order.verb->text);
}

int
scst_say_nothing(struct admin *a)
{
	return act_nothing(a, "%s", a->order.verb->text);
}

/* ---- files --------------------------------------------------------------------------------------------- */

int
scst_config(struct admin *a)
{
	const char *file = a->order.name != NULL ? a->order.name : "/etc/scst.conf";

	return act_none(a,
	    "terraced keeps what it serves by itself, and a file of SCST's is imported once: "
	    "`terracectl import-scst %s -o /etc/terrace`, then read its remarks, then `systemctl "
	    "restart terraced`",
	    file);
}

/* What its import would say; the text itself isn't printed. */
int
scst_check_config(struct admin *a)
{
	json_t *params = json_pack("{s:[s], s:s}", "files", a->order.name, "output", "/");

	if (params == NULL)
		return act_fail(a, "out of memory");
	if (!a->tool->json)
		printf("Here: terracectl import-scst %s >/dev/null\n", a->order.name);
	a->tool->dry_run = true;
	a->failed = true; /* the import prints */
	int status = run_import(a->tool, NULL, params);
	json_decref(params);
	if (status == TOOL_DONE && !a->tool->json)
		puts("It can be imported.");
	return status;
}

static bool
any_runtime(struct admin *a)
{
	static const char *const lists[] = {
	    "lun.list", "target.list", "group.list", "chap.list", "portal.list"};
	size_t i;
	const json_t *o;

	for (unsigned n = 0; n < sizeof lists / sizeof lists[0]; n++)
		json_array_foreach(act_list(a, lists[n]), i, o)
		{
			if (get_bool(o, "runtime"))
				return true;
		}
	return false;
}

int
scst_write_config(struct admin *a)
{
	if (any_runtime(a))
		return act_none(a,
		    "some of what is served was made until the next start only (`runtime` in "
		    "`terracectl lun list`): the same commands without --runtime keep it");
	if (a->failed)
		return TOOL_FAILED;
	return act_nothing(a, "what a command changes is in conf.d at once; `terracectl config` "
	                      "shows each value with its file and line");
}

/* ---- -clear_config --------------------------------------------------------------------------------------- */

/* In the order in which they go. */
static const struct {
	const char *list, *method, *what;
	bool new_only; /* old scstadmin left targets to iscsi-scstd.conf */
} kinds[] = {
    {"group.list", "group.delete", "group", false},
    {"lun.list", "lun.delete", "LUN", false},
    {"target.list", "target.delete", "target", true},
};
#define KINDS (sizeof kinds / sizeof kinds[0])

static bool
can_go(const json_t *object)
{
	const char *owner = get_text(object, "owner");
	return strcmp(owner, "commands") == 0 || strcmp(owner, "runtime") == 0;
}

static void
tell_object(const char *what, const json_t *o)
{
	printf("  %s ", what);
	out_text(stdout, get_text(o, "name"));
	const char *store = get_text(o, "store");
	if (store[0] != '\0' && strncmp(store, "null:", 5) != 0 && strncmp(store, "ram:", 4) != 0) {
		fputs(" (", stdout);
		out_text(stdout, store);
		fputs(" stays as it is)", stdout);
	}
	putchar('\n');
}

/* Objects of a kind that a command made: their names; those of files are told. */
static json_t *
names_of(struct admin *a, unsigned kind)
{
	json_t *names = json_array();
	size_t i;
	const json_t *o;

	json_array_foreach(act_list(a, kinds[kind].list), i, o)
	{
		if (can_go(o)) {
			json_array_append_new(names, json_string(get_text(o, "name")));
			if (!a->tool->json)
				tell_object(kinds[kind].what, o);
		} else if (get_text(o, "origin")[0] != '\0') {
			act_remark(a, "%s %s is written in %s, which no command changes",
			    kinds[kind].what, get_text(o, "name"), get_text(o, "origin"));
		}
	}
	return names;
}

static void
tell_sessions(struct admin *a)
{
	const json_t *sessions = act_list(a, "session.list");
	size_t i;
	const json_t *s;

	if (a->tool->json)
		return;
	puts(json_array_size(sessions) > 0 ? "Connected:" : "Nobody is connected.");
	json_array_foreach(sessions, i, s)
	{
		fputs("  ", stdout);
		out_text(stdout, get_text(s, "initiator"));
		fputs(" (", stdout);
		out_text(stdout, get_text(s, "address"));
		fputs(") at ", stdout);
		out_text(stdout, get_text(s, "target"));
		putchar('\n');
	}
}

static int
remove_all(struct admin *a, const json_t *names, const char *method)
{
	int worst = TOOL_DONE;
	size_t i;
	const json_t *name;

	json_array_foreach(names, i, name)
	{
		int status = act(a, method, json_pack("{s:O}", "name", name));
		if (status != TOOL_DONE)
			worst = status;
		if (!act_good(status) && !a->order.goes_on)
			break;
	}
	return worst;
}

/* True: it may be done. Without a terminal nobody is asked, and nothing waits. */
static bool
may_clear(struct admin *a, int *ret)
{
	*ret = TOOL_DONE;
	if (a->tool->dry_run || act_is_sure(a))
		return true;
	*ret = TOOL_REFUSED;
	if (!a->tool->json && term_asks()) {
		fflush(stdout);
		if (term_confirm("Shall all this go?")) {
			a->order.sure = true;
			*ret = TOOL_DONE;
			return true;
		}
		fputs("Nothing was changed.\n", stderr);
	} else {
		a->failed = true;
		(void)tool_error(a->tool, TOOL_REFUSED,
		    "nothing was changed: -noprompt (or --yes) does it without asking");
	}
	return false;
}

int
scst_clear_config(struct admin *a)
{
	bool targets = strchr(a->order.typed, '_') != NULL;
	json_t *names[KINDS] = {NULL};
	size_t count = 0;
	int status;

	if (act_list(a, "target.list") == NULL)
		return TOOL_UNREACHABLE;
	if (!a->tool->json)
		puts("These go:");
	for (unsigned k = 0; k < KINDS; k++) {
		names[k] = kinds[k].new_only && !targets ? json_array() : names_of(a, k);
		count += json_array_size(names[k]);
	}
	if (!a->tool->json && count == 0)
		puts("  (nothing)");
	tell_sessions(a);
	bool go = !a->failed && count > 0 && may_clear(a, &status);
	if (a->failed || count == 0)
		status = a->failed ? TOOL_REFUSED : TOOL_DONE;
	for (unsigned k = 0; k < KINDS; k++) {
		if (go && (act_good(status) || a->order.goes_on)) {
			int now = remove_all(a, names[k], kinds[k].method);
			status = now != TOOL_DONE ? now : status;
		}
		json_decref(names[k]);
	}
	return status;
}
