/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the statistics of terraced look like: text for people, JSON for programs, OpenMetrics for
 * collectors, SVG for browsers. Made from the answers of the control socket, terrace-control(7), and
 * from nothing else: no socket, no file, no clock, no state.
 *
 * Thread rule: any thread; an answer is only looked at.
 *
 * Answers are of a program that may be another version: a field that isn't there, or is of another
 * type, is shown as unknown ("-", a gap in a plot), never an error. Names come from administrators and
 * initiators: every output is well-formed whatever they are. SVG has no script and refers to nothing.
 *
 * Every function returns text that the caller frees with free(), ended by '\0' and, where it isn't
 * empty, by a line feed; NULL without memory. `ret_len`, which may be NULL, gets its length.
 */
#ifndef REPORT_REPORT_H
#define REPORT_REPORT_H

#include <jansson.h>
#include <stddef.h>

/* ---- for people: aligned, with units ------------------------------------------------------------- */

/* An object of lun.stats. */
char *report_lun_text(const json_t *lun, size_t *ret_len);
/* An object of cache.list. */
char *report_cache_text(const json_t *cache, size_t *ret_len);
/* An object of session.list. */
char *report_session_text(const json_t *session, size_t *ret_len);
/* The answer of health: its first word is the state. */
char *report_health_text(const json_t *health, size_t *ret_len);

/* ---- for programs -------------------------------------------------------------------------------- */

/* Any answer or part of one, indented, keys in their order. What lun.stats and stats say is in
 * terrace-control(7). */
char *report_json(const json_t *answer, size_t *ret_len);
/* The answer of stats, or an object of lun.stats (then of this LUN alone): OpenMetrics 1.0 text. */
char *report_metrics(const json_t *stats, size_t *ret_len);
#define REPORT_METRICS_TYPE "application/openmetrics-text; version=1.0.0; charset=utf-8"

/* ---- pictures: SVG, legible on a light and on a dark page ------------------------------------------ */

/* The answer of lun.latency: percentiles of reads and writes over ten minutes and over a day. */
char *report_latency_svg(const json_t *latency, size_t *ret_len);
/* The same answer: commands and bytes a second, hit ratio, dirty data. */
char *report_activity_svg(const json_t *latency, size_t *ret_len);
/* The answer of lun.heatmap: where it is read, written, cached, dirty. */
char *report_heatmap_svg(const json_t *heatmap, size_t *ret_len);

/* ---- the page: HTML5, without script or style of its own --------------------------------------------- */

struct report_page {
	const json_t *overview; /* the answer of overview; NULL: there is none */
	const json_t *targets;  /* the answer of target.list; may be NULL */
	const char *problem;    /* why there is no overview: a sentence; else NULL */
	const char *lun;        /* the LUN that is shown closely; NULL: none */
};
/*
 * It names style.css, page.js, icon.svg, live, latency.svg, activity.svg and heatmap.svg of the same folder.
 * report_live_html() is what changes all the time: the contents of its element "live".
 */
char *report_page_html(const struct report_page *page, size_t *ret_len);
char *report_live_html(const struct report_page *page, size_t *ret_len);

#endif
