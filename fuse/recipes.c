/* SPDX-License-Identifier: BSD-2-Clause */
/* What is in the files: made of answers of the daemon. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fuse/terrace_fuse.h"
#include "report/report.h"

#define TIME_TEXT_BYTES 32u

/* The text, as far as there was memory. */
static char *
take(struct text *t, size_t *ret_len)
{
	if (!t->failed && t->p == NULL)
		text_add(t, "%s", "");
	if (t->failed) {
		free(t->p);
		return NULL;
	}
	*ret_len = t->len;
	return t->p;
}

static char *
line(const char *value, size_t *ret_len)
{
	struct text t = {0};
	text_add(&t, "%s\n", value);
	return take(&t, ret_len);
}

/* A list's object of this name, or the object itself. NULL with *ret_err where it isn't. */
static json_t *
one_of(json_t *answer, const char *name, int *ret_err)
{
	json_t *o = json_is_array(answer) ? json_find(answer, "name", name) : answer;
	if (!json_is_object(o)) {
		*ret_err = -ENOENT;
		return NULL;
	}
	return o;
}

static json_t *
own(const struct node *n, json_t *const *answers, int *ret_err)
{
	return one_of(answers[0], node_object(n), ret_err);
}

/* Local time, without zone: as the log has it. */
static void
time_text(json_int_t seconds, char buf[TIME_TEXT_BYTES])
{
	time_t t = (time_t)seconds;
	struct tm tm;
	if (localtime_r(&t, &tm) == NULL || strftime(buf, TIME_TEXT_BYTES, "%F %T", &tm) == 0)
		snprintf(buf, TIME_TEXT_BYTES, "-");
}

/* ---- values ------------------------------------------------------------------------------------------ */

/* Text, number or boolean; lists by blanks. */
static void
add_value(struct text *t, const json_t *v)
{
	size_t i;
	json_t *e;

	switch (v == NULL ? JSON_NULL : json_typeof(v)) {
	case JSON_STRING:
		text_add(t, "%s", json_string_value(v));
		break;
	case JSON_INTEGER:
		text_add(t, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
		break;
	case JSON_REAL:
		text_add(t, "%g", json_real_value(v));
		break;
	case JSON_TRUE:
	case JSON_FALSE:
		text_add(t, "%s", json_is_true(v) ? "yes" : "no");
		break;
	case JSON_ARRAY:
		json_array_foreach(v, i, e)
		{
			text_add(t, i > 0 ? " " : "%s", "");
			add_value(t, e);
		}
		break;
	case JSON_OBJECT:
	case JSON_NULL:
		text_add(t, "-");
		break;
	}
}

/* One value a file, for scripts. */
static char *
value(const struct node *n, json_t *const *answers, const char *key, size_t *ret_len, int *ret_err)
{
	const json_t *o = own(n, answers, ret_err);
	struct text t = {0};

	if (o == NULL)
		return NULL;
	add_value(&t, json_object_get(o, key));
	text_add(&t, "\n");
	return take(&t, ret_len);
}

/* Lines "key  value" of these fields, those that are there. */
static char *
fields(const json_t *o, const char *const *keys, size_t *ret_len)
{
	struct text t = {0};

	for (; *keys != NULL; keys++) {
		const json_t *v = json_object_get(o, *keys);
		if (v == NULL)
			continue;
		text_add(&t, "%-16s ", *keys);
		add_value(&t, v);
		text_add(&t, "\n");
	}
	return take(&t, ret_len);
}

/* ---- the root ------------------------------------------------------------------------------------------ */

static char *
render_readme(const struct node *n, json_t *const *answers, size_t *ret_len, int *ret_err)
{
	(void)n;
	(void)answers;
	(void)ret_err;
	*ret_len = strlen(readme_text);
	return strdup(readme_text);
}
const struct recipe recipe_readme = {.render = render_readme};

static char *
render_health(const struct node *n, json_t *const *answers, size_t *ret_len, int *ret_err)
{
	(void)n;
	(void)ret_err;
	return report_health_text(answers[0], ret_len);
}

/* Whoever looks at the first word shall learn of this as well. */
static char *
health_down(const struct node *n, int err, size_t *ret_len)
{
	struct text t = {0};
	(void)n;
	text_add(&t, "failed\nterraced %s\n",
	    err == -EHOSTDOWN ? "doesn't run: nobody listens at its control socket"
	                      : "doesn't answer");
	return take(&t, ret_len);
}
const struct recipe recipe_health = {
    .methods = {"health"}, .render = render_health, .render_down = health_down};

static char *
render_version(const struct node *n, json_t *const *answers, size_t *ret_len, int *ret_err)
{
	(void)n;
	(void)ret_err;
	return line(json_text(answers[0], "version"), ret_len);
}
const struct recipe recipe_version = {.methods = {"version"}, .render = render_version};

static char *
render_json(const struct node *n, json_t *const *answers, size_t *ret_len, int *ret_err)
{
	(void)n;
	(void)ret_err;
	return report_json(answers[0], ret_len);
}
const struct recipe recipe_stats_json = {.methods = {"overview"}, .render = render_json};

static char *
render_metrics(const struct node *n, json_t *const *answers, size_t *ret_len, int *ret_err)
{
	(void)n;
	(void)ret_err;
	return report_metrics(answers[0], ret_len);
}
const struct recipe recipe_metrics = {.methods = {"overview"}, .render = render_metrics};

static char *
render_events(const struct node *n, json_t *const *answers, size_t *ret_len, int *ret_err)
{
	struct text t = {0};
	char when[TIME_TEXT_BYTES];
	size_t i;
	json_t *e;

	(void)n;
	(void)ret_err;
	json_array_foreach(json_object_get(answers[0], "events"), i, e)
	{
		const char *object = json_text(e, "object"), *code = json_text(e, "code");
		time_text(json_number(e, "time", 0), when);
		text_add(&t, "%s %-8s %s%s%s%s%s\n", when, json_text(e, "event"), code,
		    code[0] != '\0' ? " " : "", object, object[0] != '\0' ? ": " : "",
		    json_text(e, "text"));
	}
	return take(&t, ret_len);
}
const struct recipe recipe_events = {.methods = {"events"}, .render = render_events};

/* ---- targets ------------------------------------------------------------------------------------------- */

/* "NAME ADDRESS" for each address of each portal. */
static char *
render_portals(const struct node *n, json_t *const *answers, size_t *ret_len, int *ret_err)
{
	const json_t *target = own(n, answers, ret_err);
	struct text t = {0};
	size_t i, k;
	json_t *name, *a;

	if (target == NULL)
		return NULL;
	json_array_foreach(json_object_get(target, "portals"), i, name)
	{
		const char *portal = json_string_value(name);
		const json_t *o = portal != NULL ? json_find(answers[1], "name", portal) : NULL;
		json_array_foreach(json_object_get(o, "addresses"), k, a)
		{
			text_add(&t, "%s ", portal);
			add_value(&t, json_is_object(a) ? json_object_get(a, "address") : a);
			text_add(&t, "\n");
		}
	}
	return take(&t, ret_len);
}
const struct recipe recipe_target_portals = {
    .methods = {"target.list", "portal.list"}, .render = render_portals};

static char *
render_initiators(const struct node *n, json_t *const *answers, size_t *ret_len, int *ret_err)
{
	const struct node *group = n->parent, *target = group->parent->parent;
	struct text t = {0};
	bool found = false;
	size_t i, k;
	json_t *o, *pattern;

	json_array_foreach(answers[0], i, o)
	{
		if (strcmp(json_text(o, "target"), target->name) != 0 ||
		    strcmp(json_text(o, "name"), group->name) != 0)
			continue;
		found = true;
		json_array_foreach(json_object_get(o, "initiators"), k, pattern)
		{
			add_value(&t, pattern);
			text_add(&t, "\n");
		}
	}
	if (!found) {
		*ret_err = -ENOENT;
		free(t.p);
		return NULL;
	}
	return take(&t, ret_len);
}
const struct recipe recipe_group_initiators = {
    .methods = {"group.list"}, .render = render_initiators};

/* ---- sessions ------------------------------------------------------------------------------------------ */

static const json_t *
session(const struct node *n, json_t *const *answers, int *ret_err)
{
	size_t i;
	json_t *o;
	char tsih[32];

	json_array_foreach(answers[0], i, o)
	{
		snprintf(tsih, sizeof tsih, "%lld", (long long)json_number(o, "tsih", 0));
		if (strcmp(tsih, node_object(n)) == 0)
			return o;
	}
	*ret_err = -ENOENT;
	return NULL;
}

#define SESSION(what, expression)                                                                  \
	static char *render_session_##what(                                                        \
	    const struct node *n, json_t *const *answers, size_t *ret_len, int *ret_err)           \
	{                                                                                          \
		const json_t *s = session(n, answers, ret_err);                                    \
		return s != NULL ? (expression) : NULL;                                            \
	}                                                                                          \
	const struct recipe recipe_session_##what = {                                              \
	    .methods = {"session.list"}, .render = render_session_##what}

static const char *const session_keys[] = {"isid", "target", "group", "user", "discovery",
    "local_address", "portal_tag", "header_digest", "data_digest", "ending", "connected_s", "loop",
    NULL};

SESSION(initiator, line(json_text(s, "initiator"), ret_len));
SESSION(address, line(json_text(s, "address"), ret_len));
SESSION(parameters, fields(s, session_keys, ret_len));
SESSION(stats, report_session_text(s, ret_len));

/* ---- caches -------------------------------------------------------------------------------------------- */

static char *
render_cache_state(const struct node *n, json_t *const *answers, size_t *ret_len, int *ret_err)
{
	return value(n, answers, "state", ret_len, ret_err);
}
const struct recipe recipe_cache_state = {.methods = {"cache.list"}, .render = render_cache_state};

static char *
render_cache_status(const struct node *n, json_t *const *answers, size_t *ret_len, int *ret_err)
{
	const json_t *o = own(n, answers, ret_err);
	return o != NULL ? report_cache_text(o, ret_len) : NULL;
}
const struct recipe recipe_cache_status = {
    .methods = {"cache.list"}, .render = render_cache_status};

static char *
render_own_json(const struct node *n, json_t *const *answers, size_t *ret_len, int *ret_err)
{
	const json_t *o = own(n, answers, ret_err);
	return o != NULL ? report_json(o, ret_len) : NULL;
}
const struct recipe recipe_cache_stats_json = {
    .methods = {"cache.list"}, .render = render_own_json};

/* ---- LUNs ---------------------------------------------------------------------------------------------- */

static char *
render_lun_stats(const struct node *n, json_t *const *answers, size_t *ret_len, int *ret_err)
{
	const json_t *o = own(n, answers, ret_err);
	return o != NULL ? report_lun_text(o, ret_len) : NULL;
}
const struct recipe recipe_lun_stats = {.methods = {LUN_STATS}, .render = render_lun_stats};
const struct recipe recipe_lun_stats_json = {.methods = {LUN_STATS}, .render = render_own_json};

#define VALUE(what, key)                                                                           \
	static char *render_lun_##what(                                                            \
	    const struct node *n, json_t *const *answers, size_t *ret_len, int *ret_err)           \
	{                                                                                          \
		return value(n, answers, key, ret_len, ret_err);                                   \
	}                                                                                          \
	const struct recipe recipe_lun_##what = {.methods = {LUN_LIST}, .render = render_lun_##what}

VALUE(size, "size_bytes");
VALUE(uuid, "uuid");
VALUE(naa, "naa");
VALUE(mode, "mode");
VALUE(profile, "profile");
VALUE(state, "state");
VALUE(store, "store");

/* Without a cache nothing is dirty. */
static char *
render_lun_dirty_bytes(const struct node *n, json_t *const *answers, size_t *ret_len, int *ret_err)
{
	const json_t *o = own(n, answers, ret_err);
	char text[32];

	snprintf(text, sizeof text, "%lld", (long long)json_number(o, "dirty_bytes", 0));
	return o != NULL ? line(text, ret_len) : NULL;
}
const struct recipe recipe_lun_dirty_bytes = {
    .methods = {LUN_LIST}, .render = render_lun_dirty_bytes};

static char *
render_lun_latency(const struct node *n, json_t *const *answers, size_t *ret_len, int *ret_err)
{
	(void)n;
	(void)ret_err;
	return report_latency_svg(answers[0], ret_len);
}
const struct recipe recipe_lun_latency = {
    .methods = {"lun.latency " LUN_KEY}, .render = render_lun_latency};

static char *
render_lun_heatmap(const struct node *n, json_t *const *answers, size_t *ret_len, int *ret_err)
{
	(void)n;
	(void)ret_err;
	return report_heatmap_svg(answers[0], ret_len);
}
const struct recipe recipe_lun_heatmap = {
    .methods = {"lun.heatmap " LUN_KEY}, .render = render_lun_heatmap};

/* Every key with its value and where it is said, as `config --effective` of terracectl. */
static char *
render_lun_config(const struct node *n, json_t *const *answers, size_t *ret_len, int *ret_err)
{
	struct text t = {0};
	size_t i;
	json_t *o;

	json_array_foreach(answers[0], i, o)
	{
		if (strcmp(json_text(o, "kind"), "lun") != 0 ||
		    strcmp(json_text(o, "name"), node_object(n)) != 0)
			continue;
		text_add(&t, "%-18s %-40s # %s\n", json_text(o, "key"), json_text(o, "value"),
		    json_text(o, "origin"));
	}
	if (t.len == 0)
		*ret_err = -ENOENT;
	return t.len > 0 ? take(&t, ret_len) : NULL;
}
const struct recipe recipe_lun_config = {
    .methods = {"config.effective"}, .render = render_lun_config};

static const char *const lun_cache_keys[] = {"cache", "mode", "profile", "dirty_bytes",
    "cached_bytes", "cache_reads", "cache_hits", "ram_bytes", "ram_hits", "ram_misses",
    "marker_is_local", NULL};

static char *
render_lun_cache(const struct node *n, json_t *const *answers, size_t *ret_len, int *ret_err)
{
	const json_t *o = own(n, answers, ret_err);
	return o != NULL ? fields(o, lun_cache_keys, ret_len) : NULL;
}
const struct recipe recipe_lun_cache = {.methods = {LUN_LIST}, .render = render_lun_cache};

/* What initiators reserved: the answer has the lines. */
static char *
render_lun_reservations(const struct node *n, json_t *const *answers, size_t *ret_len, int *ret_err)
{
	struct text t = {0};

	(void)n;
	(void)ret_err;
	text_add(&t, "%s", json_text(answers[0], "text"));
	return take(&t, ret_len);
}
const struct recipe recipe_lun_reservations = {
    .methods = {"lun.reservations " LUN_KEY}, .render = render_lun_reservations};

/* ---- what comes in pages -------------------------------------------------------------------------------- */

/* "OFFSET BYTES", in bytes; what is lost and what is known to be zeros is said. */
static char *
render_lun_dirty(const struct node *n, json_t *const *answers, size_t *ret_len, int *ret_err)
{
	struct text t = {0};
	size_t i;
	json_t *r;

	(void)n;
	(void)ret_err;
	json_array_foreach(json_object_get(answers[0], "ranges"), i, r)
	{
		text_add(&t, "%lld %lld%s%s\n", (long long)json_number(r, "offset", 0),
		    (long long)json_number(r, "bytes", 0),
		    json_is_true(json_object_get(r, "zeros")) ? " zeros" : "",
		    json_is_true(json_object_get(r, "lost")) ? " lost" : "");
	}
	return take(&t, ret_len);
}
const struct recipe recipe_lun_dirty = {
    .methods = {"lun.dirty " LUN_KEY}, .paged = "ranges", .render = render_lun_dirty};

static char *
render_segments(const struct node *n, json_t *const *answers, size_t *ret_len, int *ret_err)
{
	static const char *const counts[] = {
	    "generation", "used_blocks", "live_blocks", "dirty_blocks", "errors"};
	struct text t = {0};
	size_t i;
	json_t *s;

	(void)n;
	(void)ret_err;
	if (json_is_true(json_object_get(answers[0], "first")))
		text_add(&t, "%8s %-10s %-10s %12s %8s %8s %8s %6s\n", "number", "state", "stream",
		    "generation", "used", "live", "dirty", "errors");
	json_array_foreach(json_object_get(answers[0], "segments"), i, s)
	{
		text_add(&t, "%8lld %-10s %-10s", (long long)json_number(s, "number", 0),
		    json_text(s, "state"), json_text(s, "stream"));
		for (unsigned k = 0; k < sizeof counts / sizeof counts[0]; k++)
			text_add(&t, " %*lld",
			    k == 0   ? 12
			    : k == 4 ? 6
			             : 8,
			    (long long)json_number(s, counts[k], 0));
		text_add(&t, "\n");
	}
	return take(&t, ret_len);
}
const struct recipe recipe_cache_segments = {
    .methods = {"cache.segments name"}, .paged = "segments", .render = render_segments};
