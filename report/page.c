/* SPDX-License-Identifier: BSD-2-Clause */
/* The page: health with what to do, what goes on, LUNs, caches, targets, sessions. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "report/report.h"
#include "report/report_priv.h"

#define ROWS_MAX 200u /* of a table; the others are counted */

/* ---- pieces ---------------------------------------------------------------------------------------------- */

/* A cell; its heading is shown beside it where the table is narrow. */
static void
cell(struct out *o, const char *heading, const char *class, const char *text)
{
	out_add(o, "<td data-of=\"%s\"%s%s%s>", heading, class[0] != '\0' ? " class=\"" : "", class,
	    class[0] != '\0' ? "\"" : "");
	out_xml(o, text[0] != '\0' ? text : "\xe2\x80\x93");
	out_add(o, "</td>");
}

static void
number(struct out *o, const char *heading, struct short_text text)
{
	cell(o, heading, "n", text.s);
}

static void
head(struct out *o, const char *const *headings, unsigned count, unsigned first_number)
{
	out_add(o, "<table><thead><tr>");
	for (unsigned i = 0; i < count; i++)
		out_add(o, "<th%s>%s</th>", i >= first_number ? " class=\"n\"" : "", headings[i]);
	out_add(o, "</tr></thead>\n<tbody>\n");
}

static void
foot(struct out *o, size_t rows)
{
	out_add(o, "</tbody></table>\n");
	if (rows > ROWS_MAX)
		out_add(o, "<p class=\"m\">%zu more aren't shown.</p>\n", rows - ROWS_MAX);
}

/* Good, a remark, bad. */
static const char *
class_of(const char *state)
{
	if (strcmp(state, "ok") == 0)
		return "ok";
	if (strcmp(state, "degraded") == 0)
		return "degraded";
	return strcmp(state, "remark") == 0 ? "remark" : "failed";
}

static void
badge(struct out *o, const char *state)
{
	out_add(o, "<span class=\"badge %s\">", class_of(state));
	out_xml(o, state[0] != '\0' ? state : "unknown");
	out_add(o, "</span>");
}

static void
tile(struct out *o, const char *name, struct short_text value, const char *unit)
{
	out_add(o, "<div class=\"tile\"><b>");
	out_xml(o, value.s);
	out_add(o, "</b><i>%s</i><span>%s</span></div>\n", unit, name);
}

/* ---- health -------------------------------------------------------------------------------------------------- */

static void
line(struct out *o, const char *name, const char *text)
{
	if (text[0] == '\0')
		return;
	out_add(o, "<dt>%s</dt><dd>", name);
	out_xml(o, text);
	out_add(o, "</dd>");
}

static void
health(struct out *o, const json_t *overview)
{
	const json_t *c, *list = json_object_get(overview, "conditions");
	size_t i;

	if (json_array_size(list) == 0)
		return;
	out_add(o, "<section><h2>Health</h2>\n");
	json_array_foreach(list, i, c)
	{
		if (i == ROWS_MAX)
			break;
		out_add(o, "<article class=\"%s\"><h3>", class_of(get_text(c, "severity")));
		badge(o, get_text(c, "severity"));
		out_add(o, " ");
		out_xml(o, get_text(c, "code"));
		out_add(o, " ");
		out_xml(o, get_text(c, "sentence"));
		out_add(o, "</h3><dl>");
		line(o, "since", show_date(get_number(c, "since")).s);
		line(o, "effect", get_text(c, "effect"));
		line(o, "action", get_text(c, "action"));
		out_add(o, "</dl></article>\n");
	}
	out_add(o, "</section>\n");
}

/* ---- what goes on -------------------------------------------------------------------------------------------- */

static double
greater(double a, double b)
{
	return isnan(a) ? b : isnan(b) ? a : fmax(a, b);
}

/* Of reads and writes, over ten seconds. */
static double
p99_us(const json_t *lun)
{
	const json_t *w = get_window(lun, 10);
	return greater(get_number(json_object_get(w, "read_latency"), "p99_us"),
	    get_number(json_object_get(w, "write_latency"), "p99_us"));
}

static double
sum(double a, double b)
{
	return isnan(a) ? b : isnan(b) ? a : a + b;
}

/* What RAM and then the SSD had of what was read. */
static double
hit_ratio(const json_t *lun)
{
	const json_t *w = get_window(lun, 60);
	double ram = get_number(w, "ram_hit_ratio"), ssd = get_number(w, "ssd_hit_ratio");

	if (isnan(ram) || isnan(ssd))
		return isnan(ram) ? ssd : ram;
	return ram + (1 - ram) * ssd;
}

static void
tiles(struct out *o, const json_t *overview)
{
	const json_t *all = json_object_get(overview, "all"), *w = get_window(all, 10);

	out_add(o, "<section class=\"tiles\">\n");
	tile(o, "reads", show_count(get_number(w, "reads_per_s")), "/s");
	tile(o, "writes", show_count(get_number(w, "writes_per_s")), "/s");
	tile(o, "read", show_bytes(get_number(w, "read_bytes_per_s")), "/s");
	tile(o, "written", show_bytes(get_number(w, "write_bytes_per_s")), "/s");
	tile(o, "p99 latency", show_ms(p99_us(all)), "ms");
	tile(o, "hits of reads", show_percent(hit_ratio(all)), "");
	tile(o, "dirty", show_bytes(get_number(all, "dirty_bytes")), "");
	tile(o, "under way", show_count(get_number(all, "in_flight")), "");
	out_add(o, "</section>\n");
}

/* ---- LUNs ------------------------------------------------------------------------------------------------------ */

struct busy {
	const json_t *lun;
	bool bad;
	double commands;
	size_t place;
};

/* Those that aren't well, then the busiest, else as configured. */
static int
compare(const void *va, const void *vb)
{
	const struct busy *a = va, *b = vb;
	if (a->bad != b->bad)
		return a->bad ? -1 : 1;
	if (a->commands != b->commands)
		return a->commands > b->commands ? -1 : 1;
	return a->place < b->place ? -1 : a->place > b->place;
}

static double
commands_per_s(const json_t *lun)
{
	const json_t *w = get_window(lun, 10);
	double n = sum(get_number(w, "reads_per_s"), get_number(w, "writes_per_s"));
	return isfinite(n) ? n : 0;
}

static struct busy *
sorted(const json_t *luns, size_t count)
{
	struct busy *list = calloc(count + 1, sizeof *list);
	const json_t *l;
	size_t i;

	json_array_foreach(luns, i, l)
	{
		if (list == NULL)
			return NULL;
		list[i] = (struct busy){.lun = l,
		    .bad = strcmp(get_text(l, "state"), "ok") != 0,
		    .commands = commands_per_s(l),
		    .place = i};
	}
	if (count > 1)
		qsort(list, count, sizeof *list, compare);
	return list;
}

static void
lun_row(struct out *o, const json_t *l)
{
	const json_t *w = get_window(l, 10);
	const char *name = get_text(l, "name");
	double size = get_number(l, "size_bytes");

	out_add(o, "<tr><td data-of=\"LUN\"><a href=\"?lun=");
	out_url(o, name);
	out_add(o, "#lun\">");
	out_xml(o, name);
	out_add(o, "</a></td><td data-of=\"state\">");
	badge(o, get_text(l, "state"));
	out_add(o, "</td>");
	cell(o, "mode", "", get_text(l, "mode"));
	number(o, "size", show_bytes(size > 0 ? size : NAN)); /* of one that isn't open */
	number(o, "reads/s", show_count(get_number(w, "reads_per_s")));
	number(o, "writes/s", show_count(get_number(w, "writes_per_s")));
	number(o, "bytes/s",
	    show_bytes(sum(get_number(w, "read_bytes_per_s"), get_number(w, "write_bytes_per_s"))));
	number(o, "p99 ms", show_ms(p99_us(l)));
	number(o, "hits", show_percent(hit_ratio(l)));
	number(o, "dirty", show_bytes(get_number(l, "dirty_bytes")));
	number(o, "queue", show_count(get_number(l, "in_flight")));
	out_add(o, "</tr>\n");
}

static void
luns(struct out *o, const json_t *overview)
{
	static const char *const headings[] = {"LUN", "state", "mode", "size", "reads/s",
	    "writes/s", "bytes/s", "p99 ms", "hits", "dirty", "queue"};
	const json_t *list = json_object_get(overview, "luns");
	size_t count = json_array_size(list);
	struct busy *order = sorted(list, count);

	if (order == NULL) {
		o->failed = true;
		return;
	}
	out_add(o, "<section><h2>LUNs</h2>\n");
	if (count > 0) {
		head(o, headings, sizeof headings / sizeof headings[0], 3);
		for (size_t i = 0; i < count && i < ROWS_MAX; i++)
			lun_row(o, order[i].lun);
		foot(o, count);
	} else {
		out_add(o, "<p class=\"m\">There are none.</p>\n");
	}
	out_add(o, "</section>\n");
	free(order);
}

/* The LUN that is shown closely, in words. */
static void
closely(struct out *o, const json_t *overview, const char *name)
{
	const json_t *l;
	size_t i;

	json_array_foreach(json_object_get(overview, "luns"), i, l)
	{
		if (strcmp(get_text(l, "name"), name) != 0)
			continue;
		char *text = report_lun_text(l, NULL);
		if (text == NULL) {
			o->failed = true;
			return;
		}
		out_add(o, "<section><h2>LUN ");
		out_xml(o, name);
		out_add(o, "</h2>\n<pre>");
		for (char *line = text, *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
			*end = '\0';
			out_xml(o, line);
			out_add(o, "\n");
		}
		out_add(o, "</pre></section>\n");
		free(text);
		return;
	}
	out_add(o, "<section><p class=\"m\">There is no LUN ");
	out_xml(o, name);
	out_add(o, ".</p></section>\n");
}

/* ---- caches, targets, sessions ------------------------------------------------------------------------------- */

static void
caches(struct out *o, const json_t *overview)
{
	static const char *const headings[] = {"cache", "state", "SSD", "size", "cached", "dirty",
	    "SSD hits", "RAM", "RAM hits", "LUNs"};
	const json_t *c, *list = json_object_get(overview, "caches");
	size_t i;

	if (json_array_size(list) == 0)
		return;
	out_add(o, "<section><h2>Caches</h2>\n");
	head(o, headings, sizeof headings / sizeof headings[0], 3);
	json_array_foreach(list, i, c)
	{
		double reads = get_number(c, "reads"), ram = get_number(c, "ram_hits");
		double blocks = ram + get_number(c, "ram_misses");
		if (i == ROWS_MAX)
			break;
		out_add(o, "<tr>");
		cell(o, "cache", "", get_text(c, "name"));
		out_add(o, "<td data-of=\"state\">");
		badge(o, get_text(c, "state"));
		out_add(o, "</td>");
		cell(o, "SSD", "w", get_text(c, "ssd"));
		number(o, "size", show_bytes(get_number(c, "size_bytes")));
		number(o, "cached", show_bytes(get_number(c, "cached_bytes")));
		number(o, "dirty", show_bytes(get_number(c, "dirty_bytes")));
		number(o, "SSD hits",
		    show_percent(reads > 0 ? get_number(c, "read_hits") / reads : NAN));
		number(o, "RAM", show_bytes(get_number(c, "ram_bytes")));
		number(o, "RAM hits", show_percent(blocks > 0 ? ram / blocks : NAN));
		number(o, "LUNs", show_count(get_number(c, "luns")));
		out_add(o, "</tr>\n");
	}
	foot(o, json_array_size(list));
	out_add(o, "</section>\n");
}

static void
words(struct out *o, const char *heading, const json_t *list)
{
	const json_t *w;
	size_t i;

	out_add(o, "<td data-of=\"%s\" class=\"w\">", heading);
	json_array_foreach(list, i, w)
	{
		const char *s = json_string_value(w);
		out_add(o, i > 0 ? ", " : "");
		out_xml(o, s != NULL ? s : "");
	}
	if (json_array_size(list) == 0)
		out_add(o, "\xe2\x80\x93");
	out_add(o, "</td>");
}

static void
targets(struct out *o, const json_t *list)
{
	static const char *const headings[] = {"target", "alias", "portals", "groups", "sessions"};
	const json_t *t;
	size_t i;

	if (json_array_size(list) == 0)
		return;
	out_add(o, "<section><h2>Targets</h2>\n");
	head(o, headings, sizeof headings / sizeof headings[0], 4);
	json_array_foreach(list, i, t)
	{
		if (i == ROWS_MAX)
			break;
		out_add(o, "<tr>");
		cell(o, "target", "w", get_text(t, "name"));
		cell(o, "alias", "", get_text(t, "alias"));
		words(o, "portals", json_object_get(t, "portals"));
		words(o, "groups", json_object_get(t, "groups"));
		number(o, "sessions", show_count(get_number(t, "sessions")));
		out_add(o, "</tr>\n");
	}
	foot(o, json_array_size(list));
	out_add(o, "</section>\n");
}

static void
sessions(struct out *o, const json_t *overview)
{
	static const char *const headings[] = {"initiator", "address", "target", "group",
	    "connected", "reads", "writes", "read", "written"};
	const json_t *s, *list = json_object_get(overview, "sessions");
	size_t i;

	out_add(o, "<section><h2>Sessions</h2>\n");
	if (json_array_size(list) == 0) {
		out_add(o, "<p class=\"m\">Nobody is connected.</p></section>\n");
		return;
	}
	head(o, headings, sizeof headings / sizeof headings[0], 4);
	json_array_foreach(list, i, s)
	{
		if (i == ROWS_MAX)
			break;
		out_add(o, "<tr>");
		cell(o, "initiator", "w", get_text(s, "initiator"));
		cell(o, "address", "a", get_text(s, "address"));
		cell(o, "target", "w", get_text(s, "target"));
		cell(o, "group", "", get_text(s, "group"));
		number(o, "connected", show_duration(get_number(s, "connected_s")));
		number(o, "reads", show_count(get_number(s, "reads")));
		number(o, "writes", show_count(get_number(s, "writes")));
		number(o, "read", show_bytes(get_number(s, "read_bytes")));
		number(o, "written", show_bytes(get_number(s, "write_bytes")));
		out_add(o, "</tr>\n");
	}
	foot(o, json_array_size(list));
	out_add(o, "</section>\n");
}

/* ---- the page -------------------------------------------------------------------------------------------------- */

static void
live(struct out *o, const struct report_page *page)
{
	const json_t *overview = page->overview;

	out_add(o, "<header><h1>");
	out_xml(o, overview != NULL ? get_text(overview, "host") : "Terrace");
	out_add(o, "</h1>");
	if (overview == NULL) {
		badge(o, "no answer");
		out_add(o, "</header>\n<section><article class=\"failed\"><h3>");
		out_xml(o, page->problem != NULL ? page->problem : "terraced doesn't answer");
		out_add(o, "</h3></article></section>\n");
		return;
	}
	badge(o, get_text(overview, "state"));
	out_add(o, "<span class=\"m\">terrace ");
	out_xml(o, get_text(overview, "version"));
	out_add(o, ", up %s</span></header>\n", show_duration(get_number(overview, "uptime_s")).s);
	health(o, overview);
	tiles(o, overview);
	if (page->lun != NULL)
		closely(o, overview, page->lun);
	luns(o, overview);
	caches(o, overview);
	targets(o, page->targets);
	sessions(o, overview);
}

static void
image(struct out *o, const char *file, const char *lun, const char *what)
{
	out_add(o, "<img class=\"plot\" src=\"%s", file);
	if (lun != NULL) {
		out_add(o, "?lun=");
		out_url(o, lun);
	}
	out_add(o, "\" alt=\"%s", what);
	if (lun != NULL) {
		out_add(o, " of ");
		out_xml(o, lun);
	}
	out_add(o, "\">\n");
}

char *
report_live_html(const struct report_page *page, size_t *ret_len)
{
	struct out o = {.text = NULL};
	live(&o, page);
	return out_take(&o, ret_len);
}

char *
report_page_html(const struct report_page *page, size_t *ret_len)
{
	struct out o = {.text = NULL};

	out_add(&o, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
	            "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
	            "<meta name=\"color-scheme\" content=\"light dark\">\n<title>Terrace: ");
	out_xml(&o, page->overview != NULL ? get_text(page->overview, "host") : "no answer");
	out_add(&o,
	    "</title>\n<link rel=\"stylesheet\" href=\"style.css\">\n"
	    "<link rel=\"icon\" href=\"icon.svg\">\n"
	    "<script src=\"page.js\" defer></script>\n"
	    "<noscript><meta http-equiv=\"refresh\" content=\"5\"></noscript>\n</head>\n<body>\n"
	    "<p id=\"stale\" class=\"stale\" hidden>No answer: what is shown is old.</p>\n"
	    "<main id=\"live\" data-from=\"live");
	if (page->lun != NULL) {
		out_add(&o, "?lun=");
		out_url(&o, page->lun);
	}
	out_add(&o, "\">\n");
	live(&o, page);
	out_add(&o, "</main>\n");
	if (page->overview != NULL && page->lun != NULL) {
		out_add(&o, "<section id=\"lun\"><h2>LUN ");
		out_xml(&o, page->lun);
		out_add(&o, " over time</h2>\n<p><a href=\"?\">all LUNs together</a></p>\n"
		            "<div class=\"plots\">\n");
		image(&o, "latency.svg", page->lun, "latency");
		image(&o, "activity.svg", page->lun, "activity");
		image(&o, "heatmap.svg", page->lun, "heat map");
		out_add(&o, "</div></section>\n");
	} else if (page->overview != NULL) {
		out_add(&o, "<section><h2>All LUNs</h2>\n<div class=\"plots\">\n");
		image(&o, "latency.svg", NULL, "latency of all LUNs");
		image(&o, "activity.svg", NULL, "activity of all LUNs");
		out_add(&o, "</div></section>\n");
	}
	out_add(&o, "</body>\n</html>\n");
	return out_take(&o, ret_len);
}
