/* SPDX-License-Identifier: BSD-2-Clause */
/* How it is: one screen for people, one line for monitoring. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "tools/cachectl/cachectl.h"

/* The exit status that monitoring programs know as "unknown". */
#define HEALTH_UNKNOWN 3
#define HEALTH_TIMEOUT_MS 10000u

struct served {
	json_t *status, *groups, *targets, *stats;
};

static const json_t *
conditions_of(const json_t *o)
{
	return json_object_get(o, "conditions");
}

static const char *
state_of(const json_t *o)
{
	return get_text(o, "state");
}

static enum term_style
state_style(const char *state)
{
	if (strcmp(state, "ok") == 0)
		return STYLE_OK;
	return strcmp(state, "failed") == 0 ? STYLE_BAD : STYLE_WARN;
}

static void
upper(char *s)
{
	for (; *s != '\0'; s++)
		*s = (char)toupper((unsigned char)*s);
}

/* ---- the head ------------------------------------------------------------------------------------ */

static void
count_text(size_t n, const char *what, char *buf, size_t cap)
{
	snprintf(buf, cap, "%zu %s%s", n, what, n == 1 ? "" : "s");
}

/* "san1: DEGRADED, 1 condition                terrace 0.1.0, up 12 d" */
static void
print_head(const json_t *status)
{
	char host[65] = "", state[32], count[64], up[32], right[128];
	size_t conditions = json_array_size(conditions_of(status));
	unsigned width = term_columns();

	snprintf(host, sizeof host, "%s", get_text(status, "host"));
	host[strcspn(host, ".")] = '\0';
	snprintf(state, sizeof state, "%s", state_of(status));
	upper(state);
	if (conditions > 0)
		count_text(conditions, "condition", count, sizeof count);
	text_duration((uint64_t)get_int(status, "uptime_s"), up, sizeof up);
	snprintf(right, sizeof right, "terrace %s, up %s", get_text(status, "version"), up);

	unsigned left = text_columns(host) + 2 + text_columns(state) +
	                (conditions > 0 ? 2 + text_columns(count) : 0);
	out_text(stdout, host);
	fputs(": ", stdout);
	out_styled(state_style(state_of(status)), state);
	if (conditions > 0)
		printf(", %s", count);
	width = width > 100 ? 100 : width;
	unsigned gap = width > left + text_columns(right) ? width - left - text_columns(right) : 2;
	printf("%*s", (int)gap, "");
	out_text(stdout, right);
	putchar('\n');
}

static void
print_condition(const json_t *c)
{
	const char *code = get_text(c, "code"), *severity = get_text(c, "severity");

	term_begin(strcmp(severity, "failed") == 0     ? STYLE_BAD
	           : strcmp(severity, "degraded") == 0 ? STYLE_WARN
	                                               : STYLE_BOLD);
	putchar('[');
	out_text(stdout, code);
	putchar(']');
	term_end(STYLE_BOLD);
	putchar(' ');
	out_text(stdout, get_text(c, "sentence"));
	fputs("\n  effect: ", stdout);
	out_text(stdout, get_text(c, "effect"));
	fputs("\n  action: ", stdout);
	out_text(stdout, get_text(c, "action"));
	term_begin(STYLE_DIM);
	fputs("    see: terracectl explain ", stdout);
	out_text(stdout, code);
	term_end(STYLE_DIM);
	putchar('\n');
}

/* ---- LUNs ------------------------------------------------------------------------------------------- */

static bool
is_mapped(const json_t *luns, const char *lun)
{
	size_t i;
	const json_t *m;

	json_array_foreach(luns, i, m) if (strcmp(get_text(m, "lun"), lun) == 0) return true;
	return false;
}

/* True if the session's group shows the LUN; in no group it sees what the target shows to all. */
static bool
sees(const struct served *s, const json_t *session, const char *lun)
{
	const char *target = get_text(session, "target"), *group = get_text(session, "group");
	size_t i;
	const json_t *g;

	if (group[0] == '\0')
		return is_mapped(json_object_get(find_named(s->targets, target), "luns"), lun);
	json_array_foreach(
	    s->groups, i, g) if (strcmp(get_text(g, "name"), group) == 0 &&
	                         strcmp(get_text(g, "target"), target) ==
	                             0) return is_mapped(json_object_get(g, "luns"), lun);
	return false;
}

/* "esx1 esx2"; each initiator once, whatever sessions it has. */
static void
initiators_of(const struct served *served, const char *lun, char *buf, size_t cap)
{
	json_t *seen = json_object();
	size_t i, at = 0;
	const json_t *s;

	buf[0] = '\0';
	json_array_foreach(json_object_get(served->status, "sessions"), i, s)
	{
		const char *name = get_text(s, "initiator");
		if (json_object_get(seen, name) != NULL || !sees(served, s, lun))
			continue;
		json_object_set_new(seen, name, json_true());
		int n =
		    snprintf(buf + at, cap - at, "%s%s", at > 0 ? " " : "", text_short_name(name));
		if (n < 0 || (size_t)n >= cap - at) {
			snprintf(buf + (at < cap - 4 ? at : cap - 4), 4, "…");
			break;
		}
		at += (size_t)n;
	}
	json_decref(seen);
}

static void
add_rate(struct table *t, const json_t *rates, const char *key)
{
	char text[32];

	text_rate(get_number(rates, key), text, sizeof text);
	table_add(t, text);
}

/* Of LUNs behind a cache; elsewhere nothing. */
static void
add_cached(struct table *t, const json_t *l, const json_t *stats)
{
	char dirty[32] = "";
	double hit = cache_hit_percent(find_named(stats, get_text(l, "name")));

	if (json_is_number(json_object_get(l, "dirty_bytes")))
		text_format_size((uint64_t)get_int(l, "dirty_bytes"), dirty, sizeof dirty);
	table_add(t, dirty);
	if (hit >= 0)
		table_addf(t, "%.0f%%", hit);
	else
		table_add(t, "");
}

static void
add_lun(struct table *t, const json_t *l, const json_t *stats, const char *initiators)
{
	const char *state = get_text(l, "state");
	const json_t *rates = json_object_get(l, "rates");
	char size[32];

	table_add(t, get_text(l, "name"));
	text_format_size((uint64_t)get_int(l, "size_bytes"), size, sizeof size);
	table_add(t, size);
	table_add(t, get_text(l, "mode"));
	table_add(t, state);
	table_style(t, strcmp(state, "ok") == 0 ? STYLE_OK : STYLE_BAD);
	add_cached(t, l, stats);
	add_rate(t, rates, "reads_per_s");
	add_rate(t, rates, "writes_per_s");
	if (json_is_number(json_object_get(rates, "p99_ms")))
		table_addf(t, "%.1f", get_number(rates, "p99_ms"));
	else
		table_add(t, "-");
	table_add(t, get_bool(l, "runtime") ? "runtime" : "");
	table_add(t, initiators);
}

static void
print_luns_live(const struct served *served)
{
	static const struct column columns[] = {{"LUN", false, false}, {"SIZE", true, false},
	    {"MODE", false, false}, {"STATE", false, false}, {"DIRTY", true, true},
	    {"HIT", true, true}, {"r/s", true, false}, {"w/s", true, false},
	    {"p99 ms", true, false}, {"", false, true}, {"INITIATORS", false, false}};
	struct table *t = table_create(columns, sizeof columns / sizeof columns[0]);
	size_t i;
	const json_t *l;

	json_array_foreach(json_object_get(served->status, "luns"), i, l)
	{
		char initiators[256];
		initiators_of(served, get_text(l, "name"), initiators, sizeof initiators);
		add_lun(t, l, served->stats, initiators);
	}
	if (table_rows(t) > 0)
		table_print(t, true);
	table_destroy(t);
}

/* An address of this machine that others may reach, or a word in its place. */
static void
example_address(char *buf, size_t cap)
{
	json_t *any = json_pack("[s]", "0.0.0.0:3260"), *list = tool_reachable(any);
	const char *first = json_string_value(json_array_get(list, 0));

	snprintf(buf, cap, "%s", first != NULL && first[0] != '0' ? first : "ADDRESS");
	char *port = strstr(buf, ":3260");
	if (port != NULL) /* which it has if nobody says */
		*port = '\0';
	json_decref(list);
	json_decref(any);
}

/* Nothing is served: what is to be typed so that something is, with what is there already. */
static void
print_next(struct tool *t, const struct served *s)
{
	char address[80];
	int ignored;
	json_t *portals = tool_call(t, "portal.list", NULL, &ignored);
	const char *portal = get_text(json_array_get(portals, 0), "name");

	puts("Nothing is served yet. Next:");
	if (json_array_size(portals) == 0) {
		example_address(address, sizeof address);
		printf("  terracectl portal create san --listen %s\n", address);
		portal = "san";
	}
	if (json_array_size(s->targets) == 0) {
		fputs(
		    "  terracectl target create iqn.2026-11.com.example:storage --portal ", stdout);
		out_text(stdout, portal);
		putchar('\n');
	}
	puts("  terracectl lun create vm1 --store file:/srv/vm1.img --size 10GiB --to INITIATOR");
	puts("INITIATOR is the name of who may use it, iqn.…; `terracectl refused` shows who "
	     "tried.");
	json_decref(portals);
}

/* An upgrade changes files; what runs goes on until somebody restarts it. */
static void
print_installed(const json_t *status)
{
	const char *running = get_text(status, "version");

	if (running[0] == '\0' || strcmp(running, TERRACE_VERSION) == 0)
		return;
	fputs("running ", stdout);
	out_text(stdout, running);
	puts(", installed " TERRACE_VERSION
	     ": `systemctl restart terraced` changes over, with a short pause for initiators");
}

/* Ways in that nobody has seen working yet. */
static void
print_untested(struct tool *t)
{
	int ignored;
	json_t *portals = tool_call(t, "portal.list", NULL, &ignored);
	size_t i, k;
	const json_t *portal, *address;

	json_array_foreach(portals, i, portal)
	{
		json_array_foreach(json_object_get(portal, "addresses"), k, address)
		{
			const char *text = json_string_value(address);
			if (text == NULL || strncmp(text, "ib:", 3) != 0)
				continue;
			out_text(stdout, text);
			puts(": logins by the InfiniBand connection manager have never been tried "
			     "on hardware");
		}
	}
	json_decref(portals);
}

int
run_status(struct tool *t, const struct verb *v, json_t *params)
{
	struct served s = {0};
	int status;
	size_t i;
	const json_t *c;

	(void)params;
	s.status = tool_call(t, v->method, NULL, &status);
	if (s.status != NULL && t->json) {
		tool_print_json(s.status, false);
	} else if (s.status != NULL &&
	           (s.groups = tool_call(t, "group.list", NULL, &status)) != NULL &&
	           (s.targets = tool_call(t, "target.list", NULL, &status)) != NULL &&
	           (s.stats = tool_call(t, "lun.stats", NULL, &status)) != NULL) {
		print_head(s.status);
		print_installed(s.status);
		print_untested(t);
		json_array_foreach(conditions_of(s.status), i, c) print_condition(c);
		if (json_array_size(json_object_get(s.status, "luns")) > 0)
			print_luns_live(&s);
		else
			print_next(t, &s);
	}
	json_decref(s.status);
	json_decref(s.groups);
	json_decref(s.targets);
	json_decref(s.stats);
	return status;
}

/* ---- health -------------------------------------------------------------------------------------------- */

static int
unknown(const struct tool *t, const char *why)
{
	if (t->json) {
		json_t *o = json_pack("{s:s, s:s}", "state", "unknown", "reason", why);
		tool_print_json(o, false);
		json_decref(o);
	} else {
		fputs("UNKNOWN: ", stdout);
		out_text(stdout, why);
		putchar('\n');
	}
	return HEALTH_UNKNOWN;
}

/* One line, whatever there is: "DEGRADED: store of vmfs2 … [C204]; and 2 more". */
static void
print_health_line(const char *state, const json_t *conditions)
{
	char word[32];
	size_t n = json_array_size(conditions);
	const json_t *worst = json_array_get(conditions, 0);

	snprintf(word, sizeof word, "%s", state);
	upper(word);
	out_text(stdout, word);
	if (n > 0) {
		fputs(": ", stdout);
		out_text(stdout, get_text(worst, "sentence"));
		fputs(" [", stdout);
		out_text(stdout, get_text(worst, "code"));
		putchar(']');
	}
	if (n > 1)
		printf("; and %zu more", n - 1);
	putchar('\n');
}

int
run_health(struct tool *t, const struct verb *v, json_t *params)
{
	char reason[5000];
	struct answer a;

	(void)params;
	t->client = client_open(t->control, reason, sizeof reason);
	if (t->client == NULL)
		return unknown(t, reason);
	client_call(t->client, v->method, NULL, HEALTH_TIMEOUT_MS, &a);
	if (a.result == NULL) {
		int status = unknown(t, a.message != NULL ? a.message : "out of memory");
		answer_fini(&a);
		return status;
	}
	const char *state = state_of(a.result);
	int status = strcmp(state, "ok") == 0         ? 0
	             : strcmp(state, "degraded") == 0 ? 1
	             : strcmp(state, "failed") == 0   ? 2
	                                              : HEALTH_UNKNOWN;
	if (t->json)
		tool_print_json(a.result, false);
	else
		print_health_line(state, conditions_of(a.result));
	answer_fini(&a);
	return status;
}
