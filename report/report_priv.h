/* SPDX-License-Identifier: BSD-2-Clause */
/* What the outputs share: text that grows, escaping, fields of answers, SVG. */
#ifndef REPORT_REPORT_PRIV_H
#define REPORT_REPORT_PRIV_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* ---- out.c: text that grows ------------------------------------------------------------------------ */

/* Zero-initialised. Once memory was short nothing is added any more. */
struct out {
	char *text;
	size_t len, cap;
	bool failed;
};
void out_add(struct out *o, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void out_bytes(struct out *o, const char *s, size_t len);
/* For people: what a terminal would obey is replaced. */
void out_plain(struct out *o, const char *s);
/* For XML and HTML, also within quotes; what XML can't hold is replaced. */
void out_xml(struct out *o, const char *s);
/* For the value of a parameter of a URL. */
void out_url(struct out *o, const char *s);
/* For the value of a label of OpenMetrics. */
void out_label(struct out *o, const char *s);
/* Gives the text away; NULL without memory. */
char *out_take(struct out *o, size_t *ret_len);

/* ---- fields: what isn't there is "", NULL, or NAN ------------------------------------------------------- */

const char *get_text(const json_t *o, const char *key);
double get_number(const json_t *o, const char *key);
/* The object of `windows` for so many seconds; NULL. */
const json_t *get_window(const json_t *lun, int window_s);

/* ---- numbers for people: "-" where nothing is known ------------------------------------------------------- */

struct short_text {
	char s[32];
};
struct short_text show_count(double n);    /* 0, 7.5, 812, 1.5k, 3.2M */
struct short_text show_bytes(double n);    /* 1.5GiB */
struct short_text show_percent(double n);  /* of a ratio: 94% */
struct short_text show_ms(double us);      /* 0.192, 4.10, 41.0, 1230 */
struct short_text show_time(double us);    /* 192 µs, 4.1 ms, 1.2 s */
struct short_text show_duration(double s); /* 12 d 3 h */
struct short_text show_date(double s);     /* of seconds since 1970: 2026-11-22 10:42:17 UTC */

/* ---- svg.c ------------------------------------------------------------------------------------------------- */

#define SVG_WIDTH 480.0

/* A title in it, and the styles of all pictures. */
void svg_begin(struct out *o, double height, const char *title, const char *name);
void svg_end(struct out *o);

/* A picture of curves over time. */
struct plot {
	double top, left, width, height; /* of the area inside the axes */
	double min, max;                 /* of the axis */
	bool log;
	unsigned count; /* values of each curve */
};
enum axis { AXIS_TIME_LOG, AXIS_COUNT, AXIS_BYTES, AXIS_RATIO };

/*
 * Heading, axes and marks; the axis reaches the greatest of the values of all lists (any of which may be
 * NULL). `slots` has slot_s and count.
 */
struct plot svg_plot(struct out *o, double top, const char *heading, const json_t *slots,
    enum axis axis, const char *const *keys, unsigned key_count);
/* One column of the slots; the greatest of those that share a place is shown. */
void svg_curve(struct out *o, const struct plot *p, const json_t *values, const char *style);
/* "— p50  — p99 …" on the right of a heading. */
struct svg_key {
	const char *label, *style;
};
void svg_keys(struct out *o, double top, const struct svg_key *keys, unsigned count);
#define SVG_PLOT_HEIGHT 150.0 /* of a plot with all that belongs to it */

#endif
