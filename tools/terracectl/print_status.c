/* How it is: one screen for people, one line for monitoring. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/text.h"
#include "tools/terracectl/terracectl.h"

/* Between the two looks that rates come from. */
#define SAMPLE_NS 250000000l
/* The exit status that monitoring programs know as "unknown". */
#define HEALTH_UNKNOWN 3
#define HEALTH_TIMEOUT_MS 10000u

static const json_t *
conditions_of(const json_t *o)
{
	const json_t *health = json_object_get(o, "health");
	return json_object_get(health != NULL ? health : o, "conditions");
}

static const char *
state_of(const json_t *o)
{
	const json_t *health = json_object_get(o, "health");
	return get_text(health != NULL ? health : o, "state");
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

	if (gethostname(host, sizeof host - 1) < 0)
		snprintf(host, sizeof host, "localhost");
	host[strcspn(host, ".")] = '\0';
	snprintf(state, sizeof state, "%s", state_of(status));
	upper(state);
	if (conditions > 0)
		count_text(conditions, "condition", count, sizeof count);
	text_duration((uint64_t)get_int(status, "uptime_s"), up, sizeof up);
	snprintf(right, sizeof right, "terrace %s, up %s", get_text(status, "version"), up);

	unsigned left = text_columns(host) + 2 + text_columns(state) +
	                (conditions > 0 ? 2 + text_columns(count) : 0);
	printf("%s: ", host);
	out_styled(state_style(state_of(status)), state);
	if (conditions > 0)
		printf(", %s", count);
	width = width > 100 ? 100 : width;
	unsigned gap = width > left + text_columns(right) ? width - left - text_columns(right) : 2;
	printf("%*s%s\n", (int)gap, "", right);
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

/* True if the session's group shows the LUN, or it sees all. */
static bool
sees(const json_t *groups, const json_t *session, const char *lun)
{
	size_t i, j;
	const json_t *g, *m;

	if (get_text(session, "target")[0] == '\0')
		return false; /* discovery */
	json_array_foreach(groups, i, g)
	{
		if (strcmp(get_text(g, "name"), get_text(session, "group")) != 0 ||
		    strcmp(get_text(g, "target"), get_text(session, "target")) != 0)
			continue;
		json_array_foreach(json_object_get(g, "luns"), j,
		    m) if (strcmp(get_text(m, "lun"), lun) == 0) return true;
		return false;
	}
	return get_text(session, "group")[0] == '\0';
}

/* "esx1 esx2"; each initiator once, whatever sessions it has. */
static void
initiators_of(const json_t *sessions, const json_t *groups, const char *lun, char *buf, size_t cap)
{
	json_t *seen = json_object();
	size_t i, at = 0;
	const json_t *s;

	buf[0] = '\0';
	json_array_foreach(sessions, i, s)
	{
		const char *name = get_text(s, "initiator");
		if (json_object_get(seen, name) != NULL || !sees(groups, s, lun))
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
add_lun(struct table *t, const json_t *l, const struct io_rates *r, const char *initiators)
{
	const char *state = get_text(l, "state");
	char text[32];

	table_add(t, get_text(l, "name"));
	text_format_size((uint64_t)get_int(l, "size_bytes"), text, sizeof text);
	table_add(t, text);
	table_add(t, get_text(l, "mode"));
	table_add(t, state);
	table_style(t, strcmp(state, "ok") == 0 ? STYLE_OK : STYLE_BAD);
	text_rate(r->reads, text, sizeof text);
	table_add(t, text);
	text_rate(r->writes, text, sizeof text);
	table_add(t, text);
	if (r->p99_ms >= 0)
		table_addf(t, "%.1f", r->p99_ms);
	else
		table_add(t, "-");
	table_add(t, get_bool(l, "runtime") ? "runtime" : "");
	table_add(t, initiators);
}

static void
print_luns_live(const json_t *before, const json_t *after, const json_t *groups, double seconds)
{
	static const struct column columns[] = {{"LUN", false, false}, {"SIZE", true, false},
	    {"MODE", false, false}, {"STATE", false, false}, {"r/s", true, false},
	    {"w/s", true, false}, {"p99 ms", true, false}, {"", false, true},
	    {"INITIATORS", false, false}};
	const json_t *was = json_object_get(before, "luns"), *luns = json_object_get(after, "luns");
	struct table *t = table_create(columns, sizeof columns / sizeof columns[0]);
	size_t i;
	const json_t *l;

	json_array_foreach(luns, i, l)
	{
		const char *name = get_text(l, "name");
		char initiators[256];
		struct io_rates r;
		/* Usually in the same place. */
		const json_t *earlier = json_array_get(was, i);
		if (strcmp(get_text(earlier, "name"), name) != 0)
			earlier = find_named(was, name);
		io_rates(earlier, l, seconds, &r);
		initiators_of(json_object_get(after, "sessions"), groups, name, initiators,
		    sizeof initiators);
		add_lun(t, l, &r, initiators);
	}
	if (table_rows(t) > 0)
		table_print(t, true);
	else
		puts("No LUNs. `terracectl lun create --help` says how to make one.");
	table_destroy(t);
}

static double
now_s(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

int
run_status(struct tool *t, const struct verb *v, json_t *params)
{
	int status;
	size_t i;
	const json_t *c;

	(void)params;
	json_t *before = tool_call(t, v->method, NULL, &status);
	if (before == NULL)
		return status;
	if (t->json) {
		tool_print_json(before, false);
		json_decref(before);
		return TOOL_DONE;
	}
	double then = now_s();
	json_t *groups = tool_call(t, "group.list", NULL, &status);
	const struct timespec ts = {.tv_nsec = SAMPLE_NS};
	nanosleep(&ts, NULL);
	json_t *after = groups != NULL ? tool_call(t, v->method, NULL, &status) : NULL;
	if (after != NULL) {
		print_head(after);
		json_array_foreach(conditions_of(after), i, c) print_condition(c);
		print_luns_live(before, after, groups, now_s() - then);
	}
	json_decref(after);
	json_decref(groups);
	json_decref(before);
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
