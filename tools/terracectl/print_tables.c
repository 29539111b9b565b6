/* SPDX-License-Identifier: BSD-2-Clause */
/* Lists as tables. */
#include <string.h>

#include "base/text.h"
#include "tools/terracectl/terracectl.h"

#define COLUMNS(c) (sizeof(c) / sizeof(c)[0])

static void
table_end(struct table *t, const char *none)
{
	if (table_rows(t) == 0)
		puts(none);
	else
		table_print(t, true);
	table_destroy(t);
}

static void
add_size(struct table *t, json_int_t bytes)
{
	char text[32];

	text_format_size(bytes > 0 ? (uint64_t)bytes : 0, text, sizeof text);
	table_add(t, text);
}

/* A list of texts, or of objects with names, as words. */
static void
add_words(struct table *t, const json_t *list)
{
	char text[512] = "";
	size_t i, at = 0;
	const json_t *e;

	json_array_foreach(list, i, e)
	{
		const char *word = json_is_string(e) ? json_string_value(e) : get_text(e, "name");
		int n = snprintf(text + at, sizeof text - at, "%s%s", at > 0 ? " " : "", word);
		if (n < 0 || (size_t)n >= sizeof text - at) {
			strcpy(text + sizeof text - 4, "…");
			break;
		}
		at += (size_t)n;
	}
	table_add(t, text);
}

/* Who has it: "admin", "command", "runtime", "command line". */
static const char *
mark_of(const json_t *o)
{
	return get_text(o, "owner");
}

void
print_luns(const json_t *result)
{
	static const struct column columns[] = {{"LUN", false, false}, {"SIZE", true, false},
	    {"MODE", false, false}, {"STATE", false, false}, {"", false, true},
	    {"SESSIONS", true, true}, {"OWNER", false, true}, {"STORE", false, false}};
	struct table *t = table_create(columns, COLUMNS(columns));
	size_t i;
	const json_t *l;

	json_array_foreach(result, i, l)
	{
		const char *state = get_text(l, "state");
		table_add(t, get_text(l, "name"));
		add_size(t, get_int(l, "size_bytes"));
		table_add(t, get_text(l, "mode"));
		table_add(t, state);
		table_style(t, strcmp(state, "ok") == 0 ? STYLE_OK : STYLE_BAD);
		table_add(t, get_bool(l, "read_only") ? "read only" : "");
		if (json_object_get(l, "sessions") != NULL)
			table_addf(t, "%" JSON_INTEGER_FORMAT, get_int(l, "sessions"));
		else
			table_add(t, "");
		table_add(t, mark_of(l));
		table_add(t, get_text(l, "store"));
	}
	table_end(t, "There are no LUNs. `terracectl lun create --help` says how to make one.");
}

void
print_targets(const json_t *result)
{
	static const struct column columns[] = {{"TARGET", false, false}, {"ALIAS", false, true},
	    {"PORTALS", false, false}, {"GROUPS", false, true}, {"", false, true},
	    {"SESSIONS", true, true}, {"OWNER", false, true}};
	struct table *t = table_create(columns, COLUMNS(columns));
	size_t i;
	const json_t *o;

	json_array_foreach(result, i, o)
	{
		table_add(t, get_text(o, "name"));
		table_add(t, get_text(o, "alias"));
		add_words(t, json_object_get(o, "portals"));
		add_words(t, json_object_get(o, "groups"));
		table_add(t, get_bool(o, "open") ? "open" : "");
		if (json_object_get(o, "sessions") != NULL)
			table_addf(t, "%" JSON_INTEGER_FORMAT, get_int(o, "sessions"));
		else
			table_add(t, "");
		table_add(t, mark_of(o));
	}
	table_end(
	    t, "There are no targets. `terracectl target create --help` says how to make one.");
}

void
print_portals(const json_t *result)
{
	static const struct column columns[] = {{"PORTAL", false, false}, {"TAG", true, true},
	    {"OWNER", false, true}, {"ADDRESSES", false, false}};
	struct table *t = table_create(columns, COLUMNS(columns));
	size_t i;
	const json_t *o;

	json_array_foreach(result, i, o)
	{
		const json_t *real = json_object_get(o, "addresses");
		table_add(t, get_text(o, "name"));
		if (json_object_get(o, "tag") != NULL)
			table_addf(t, "%" JSON_INTEGER_FORMAT, get_int(o, "tag"));
		else
			table_add(t, "");
		table_add(t, mark_of(o));
		add_words(t, json_array_size(real) > 0 ? real : json_object_get(o, "listen"));
	}
	table_end(
	    t, "There are no portals. `terracectl portal create --help` says how to make one.");
}

static void
add_map(struct table *t, const json_t *luns)
{
	char text[1024] = "";
	size_t i, at = 0;
	const json_t *m;

	json_array_foreach(luns, i, m)
	{
		int n = snprintf(text + at, sizeof text - at, "%s%" JSON_INTEGER_FORMAT ":%s%s",
		    at > 0 ? " " : "", get_int(m, "number"), get_text(m, "lun"),
		    get_bool(m, "read_only") ? "(ro)" : "");
		if (n < 0 || (size_t)n >= sizeof text - at) {
			strcpy(text + sizeof text - 4, "…");
			break;
		}
		at += (size_t)n;
	}
	table_add(t, text);
}

void
print_groups(const json_t *result)
{
	static const struct column columns[] = {{"GROUP", false, false}, {"TARGET", false, false},
	    {"OWNER", false, true}, {"USERS", false, true}, {"INITIATORS", false, false},
	    {"LUNS", false, false}};
	struct table *t = table_create(columns, COLUMNS(columns));
	size_t i;
	const json_t *o;

	json_array_foreach(result, i, o)
	{
		table_add(t, get_text(o, "name"));
		table_add(t, text_short_name(get_text(o, "target")));
		table_add(t, mark_of(o));
		add_words(t, json_object_get(o, "users"));
		add_words(t, json_object_get(o, "initiators"));
		add_map(t, json_object_get(o, "luns"));
	}
	table_end(t, "There are no groups. `terracectl group create --help` says how to make one.");
}

void
print_chaps(const json_t *result)
{
	static const struct column columns[] = {{"CHAP", false, false}, {"USER", false, false},
	    {"FOR", false, false}, {"MUTUAL", false, true}, {"OWNER", false, true}};
	struct table *t = table_create(columns, COLUMNS(columns));
	size_t i;
	const json_t *o;

	json_array_foreach(result, i, o)
	{
		table_add(t, get_text(o, "name"));
		table_add(t, get_text(o, "user"));
		table_add(t, get_bool(o, "discovery") ? "discovery" : get_text(o, "target"));
		table_add(t, get_text(o, "mutual_user"));
		table_add(t, mark_of(o));
	}
	table_end(
	    t, "There are no CHAP users. `terracectl chap create --help` says how to make one.");
}

void
print_sessions(const json_t *result)
{
	static const struct column columns[] = {{"SESSION", true, false},
	    {"INITIATOR", false, false}, {"ADDRESS", false, false}, {"USER", false, true},
	    {"TARGET", false, false}, {"GROUP", false, true}, {"SINCE", true, true}};
	struct table *t = table_create(columns, COLUMNS(columns));
	size_t i;
	const json_t *s;

	json_array_foreach(result, i, s)
	{
		const char *target = get_text(s, "target");
		char since[32] = "";
		if (json_object_get(s, "connected_s") != NULL)
			text_duration((uint64_t)get_int(s, "connected_s"), since, sizeof since);
		table_addf(t, "%" JSON_INTEGER_FORMAT, get_int(s, "tsih"));
		table_add(t, get_text(s, "initiator"));
		table_add(t, get_text(s, "address"));
		table_add(t, get_text(s, "user"));
		table_add(t, target[0] != '\0' ? text_short_name(target) : "(discovery)");
		table_add(t, get_text(s, "group"));
		table_add(t, since);
	}
	table_end(
	    t, "There are no sessions. `terracectl connect` says what to type on initiators.");
}

void
print_history(const json_t *result)
{
	static const struct column columns[] = {{"TIME", false, false}, {"USER", false, false},
	    {"COMMAND", false, false}, {"RESULT", false, false}};
	struct table *t = table_create(columns, COLUMNS(columns));
	size_t i;
	const json_t *h;

	json_array_foreach(result, i, h)
	{
		const char *said = get_text(h, "result");
		char time[32];
		text_time(get_number(h, "time"), time, sizeof time);
		table_add(t, time);
		table_add(t, get_text(h, "user"));
		table_add(t, get_text(h, "command"));
		table_add(t, said);
		table_style(t, strcmp(said, "done") == 0 ? STYLE_OK : STYLE_WARN);
	}
	table_end(t, "Nothing was ordered yet.");
}

void
print_refused(const json_t *result)
{
	size_t i;
	const json_t *r;

	json_array_foreach(result, i, r)
	{
		char time[32];
		text_time(get_number(r, "time"), time, sizeof time);
		out_styled(STYLE_BOLD, get_text(r, "initiator"));
		fputs(" from ", stdout);
		out_text(stdout, get_text(r, "address"));
		if (get_text(r, "target")[0] != '\0') {
			fputs(" to ", stdout);
			out_text(stdout, get_text(r, "target"));
		}
		printf("\n  %s, %" JSON_INTEGER_FORMAT " %s: ", time, get_int(r, "count"),
		    get_int(r, "count") == 1 ? "time" : "times");
		out_text(stdout, get_text(r, "reason"));
		fputc('\n', stdout);
		if (get_text(r, "action")[0] != '\0') {
			fputs("  to admit it: ", stdout);
			out_text(stdout, get_text(r, "action"));
			fputc('\n', stdout);
		}
	}
	if (json_array_size(result) == 0)
		puts("Nobody was turned away.");
}

void
print_level(const json_t *result)
{
	puts(json_is_string(result) ? json_string_value(result) : get_text(result, "level"));
}

/* "lun vm1", "group esx of iqn.2026-11.example:san"; "" of what isn't in an object. */
static void
object_text(const json_t *v, char *buf, size_t cap)
{
	const char *kind = get_text(v, "kind"), *name = get_text(v, "name");
	const char *target = get_text(v, "target");

	snprintf(buf, cap, "%s%s%s%s%s", name[0] != '\0' ? kind : "", name[0] != '\0' ? " " : "",
	    name, target[0] != '\0' ? " of " : "", target);
}

/* Values that nobody gave are dim. */
void
print_config(const json_t *result)
{
	static const struct column columns[] = {{"OBJECT", false, false}, {"KEY", false, false},
	    {"VALUE", false, false}, {"ORIGIN", false, false}};
	struct table *t = table_create(columns, COLUMNS(columns));
	size_t i;
	const json_t *v;

	json_array_foreach(result, i, v)
	{
		enum term_style style = get_bool(v, "default") ? STYLE_DIM : STYLE_NONE;
		char object[600];
		object_text(v, object, sizeof object);
		table_add(t, object);
		table_add(t, get_text(v, "key"));
		table_add(t, get_text(v, "value"));
		table_style(t, style);
		table_add(t, get_text(v, "origin"));
		table_style(t, style);
	}
	table_end(t, "There is no configuration.");
}
