/* SPDX-License-Identifier: BSD-2-Clause */
/* Who sees what: targets, their portals and groups, LUNs and sessions in groups; LUNs nobody sees. */
#include <string.h>

#include "base/text.h"
#include "tools/terracectl/terracectl.h"

struct tree {
	json_t *targets, *groups, *portals, *luns, *sessions, *caches;
};

static bool
fetch(struct tool *t, const char *method, json_t **ret, int *ret_exit)
{
	json_t *params = json_object();

	if (!t->json && strcmp(method, "lun.list") == 0)
		json_object_set_new(params, "stats", json_false()); /* which aren't printed */
	*ret = tool_call(t, method, params, ret_exit);
	return *ret != NULL;
}

static void
tree_fini(struct tree *r)
{
	json_decref(r->targets);
	json_decref(r->groups);
	json_decref(r->portals);
	json_decref(r->luns);
	json_decref(r->sessions);
	json_decref(r->caches);
}

static void
line(const char *indent, const char *what, const char *name)
{
	printf("%s%s ", indent, what);
	out_styled(STYLE_BOLD, name);
}

static void
print_words(const char *label, const json_t *list)
{
	size_t i;
	const json_t *e;

	if (json_array_size(list) == 0)
		return;
	printf(" %s%s", label[0] != '\0' ? " " : "", label);
	json_array_foreach(list, i, e)
	{
		putchar(' ');
		out_text(stdout, json_is_string(e) ? json_string_value(e) : get_text(e, "name"));
	}
}

static void
print_portal(const struct tree *r, const char *name)
{
	const json_t *p = find_named(r->portals, name);
	const json_t *real = json_object_get(p, "addresses");

	line("  ", "portal", name);
	print_words("", json_array_size(real) > 0 ? real : json_object_get(p, "listen"));
	putchar('\n');
}

static void
print_lun(const struct tree *r, const json_t *m)
{
	const char *name = get_text(m, "lun");
	const json_t *l = find_named(r->luns, name);
	const char *state = get_text(l, "state");
	char size[32];

	text_format_size((uint64_t)get_int(l, "size_bytes"), size, sizeof size);
	printf("    lun %" JSON_INTEGER_FORMAT " ", get_int(m, "number"));
	out_styled(STYLE_BOLD, name);
	printf("  %s  ", size);
	out_styled(strcmp(state, "ok") == 0 ? STYLE_OK : STYLE_BAD, state);
	if (get_bool(m, "read_only") || get_bool(l, "read_only"))
		fputs("  read only", stdout);
	fputs("  ", stdout);
	out_text(stdout, get_text(l, "store"));
	putchar('\n');
}

static void
print_session(const json_t *s)
{
	printf("    session %" JSON_INTEGER_FORMAT " ", get_int(s, "tsih"));
	out_styled(STYLE_BOLD, get_text(s, "initiator"));
	fputs("  ", stdout);
	out_text(stdout, get_text(s, "address"));
	if (get_text(s, "user")[0] != '\0') {
		fputs("  as ", stdout);
		out_text(stdout, get_text(s, "user"));
	}
	putchar('\n');
}

static bool
in_group(const json_t *session, const char *target, const char *group)
{
	return strcmp(get_text(session, "target"), target) == 0 &&
	       strcmp(get_text(session, "group"), group) == 0;
}

static void
print_group_sessions(const struct tree *r, const char *target, const char *group)
{
	size_t i;
	const json_t *s;

	json_array_foreach(r->sessions, i, s) if (in_group(s, target, group)) print_session(s);
}

static void
print_group(const struct tree *r, const char *target, const json_t *g)
{
	size_t i;
	const json_t *m;

	line("  ", "group", get_text(g, "name"));
	print_words("", json_object_get(g, "initiators"));
	print_words("with", json_object_get(g, "users"));
	putchar('\n');
	json_array_foreach(json_object_get(g, "luns"), i, m) print_lun(r, m);
	print_group_sessions(r, target, get_text(g, "name"));
}

static void
print_target(const struct tree *r, const json_t *target)
{
	const char *name = get_text(target, "name");
	size_t i;
	const json_t *e;

	line("", "target", name);
	if (get_text(target, "alias")[0] != '\0') {
		fputs("  ", stdout);
		out_text(stdout, get_text(target, "alias"));
	}
	putchar('\n');
	json_array_foreach(json_object_get(target, "portals"), i, e)
	    print_portal(r, json_is_string(e) ? json_string_value(e) : get_text(e, "name"));
	json_array_foreach(r->groups, i, e) if (strcmp(get_text(e, "target"), name) == 0)
	    print_group(r, name, e);
	if (get_bool(target, "open")) {
		puts("  everybody else");
		json_array_foreach(json_object_get(target, "luns"), i, e) print_lun(r, e);
		print_group_sessions(r, name, "");
	}
}

static void
add_mapped(json_t *mapped, const json_t *luns)
{
	size_t i;
	const json_t *m;

	json_array_foreach(luns, i, m) json_object_set_new(mapped, get_text(m, "lun"), json_true());
}

static void
print_caches(const struct tree *r)
{
	size_t i, k;
	const json_t *c, *l;

	json_array_foreach(r->caches, i, c)
	{
		const char *state = get_text(c, "state");
		line("", "cache", get_text(c, "name"));
		fputs("  ", stdout);
		out_styled(strcmp(state, "ok") == 0 ? STYLE_OK : STYLE_BAD, state);
		fputs("  ", stdout);
		out_text(stdout, get_text(c, "ssd"));
		putchar('\n');
		json_array_foreach(r->luns, k, l)
		{
			char dirty[32];
			if (strcmp(get_text(l, "cache"), get_text(c, "name")) != 0)
				continue;
			text_format_size((uint64_t)get_int(l, "dirty_bytes"), dirty, sizeof dirty);
			fputs("  lun ", stdout);
			out_styled(STYLE_BOLD, get_text(l, "name"));
			printf("  %s  %s dirty\n", get_text(l, "mode"), dirty);
		}
	}
}

/* LUNs that no group and no open target shows. */
static void
print_unmapped(const struct tree *r)
{
	json_t *mapped = json_object();
	size_t i;
	const json_t *e;
	bool first = true;

	json_array_foreach(r->targets, i, e) if (get_bool(e, "open"))
	    add_mapped(mapped, json_object_get(e, "luns"));
	json_array_foreach(r->groups, i, e) add_mapped(mapped, json_object_get(e, "luns"));
	json_array_foreach(r->luns, i, e)
	{
		if (json_object_get(mapped, get_text(e, "name")) != NULL)
			continue;
		fputs(first ? "seen by nobody: " : " ", stdout);
		out_text(stdout, get_text(e, "name"));
		first = false;
	}
	if (!first)
		putchar('\n');
	json_decref(mapped);
}

int
run_tree(struct tool *t, const struct verb *v, json_t *params)
{
	struct tree r = {0};
	size_t i;
	const json_t *target;
	int status;

	(void)v;
	(void)params;
	if (fetch(t, "target.list", &r.targets, &status) &&
	    fetch(t, "group.list", &r.groups, &status) &&
	    fetch(t, "portal.list", &r.portals, &status) &&
	    fetch(t, "lun.list", &r.luns, &status) &&
	    fetch(t, "session.list", &r.sessions, &status) &&
	    fetch(t, "cache.list", &r.caches, &status)) {
		if (t->json) {
			json_t *o = json_pack("{s:O, s:O, s:O, s:O, s:O, s:O}", "targets",
			    r.targets, "groups", r.groups, "portals", r.portals, "luns", r.luns,
			    "sessions", r.sessions, "caches", r.caches);
			tool_print_json(o, false);
			json_decref(o);
		} else {
			json_array_foreach(r.targets, i, target) print_target(&r, target);
			if (json_array_size(r.targets) == 0)
				puts("There are no targets.");
			print_caches(&r);
			print_unmapped(&r);
		}
	}
	tree_fini(&r);
	return status;
}
