/* SPDX-License-Identifier: BSD-2-Clause */
/* Pictures: frames, axes, curves. Colours of both pages are in the style; nothing outside is named. */
#include <math.h>
#include <stdio.h>

#include "report/report_priv.h"

#define LEFT 58.0 /* of the area: numbers of the axis are before it */
#define RIGHT 12.0
#define HEADING 26.0 /* above the area */
#define FOOTING 24.0 /* below it */
#define AREA (SVG_PLOT_HEIGHT - HEADING - FOOTING)
#define POINTS_MAX 410u /* places of a curve: about one a pixel */

static const char styles[] =
    "<style>"
    ".bg{fill:#ffffff}.t{fill:#1f2328}.m{fill:#59636e}.g{stroke:#d1d9e0;fill:none}"
    ".a{stroke:#818b98;fill:none}"
    ".c{fill:none;stroke-width:1.6;stroke-linejoin:round;stroke-linecap:round}"
    ".k1{stroke:#0969da}.k2{stroke:#bc4c00}.k3{stroke:#8250df}.k4{stroke:#1a7f37}"
    ".f1{fill:#0969da}.f2{fill:#bc4c00}.f3{fill:#1a7f37}.f4{fill:#8250df}"
    ".e{fill:#eaeef2}"
    "@media(prefers-color-scheme:dark){"
    ".bg{fill:#0d1117}.t{fill:#f0f6fc}.m{fill:#9198a1}.g{stroke:#30363d}.a{stroke:#656c76}"
    ".k1{stroke:#58a6ff}.k2{stroke:#f0883e}.k3{stroke:#bc8cff}.k4{stroke:#3fb950}"
    ".f1{fill:#58a6ff}.f2{fill:#f0883e}.f3{fill:#3fb950}.f4{fill:#bc8cff}"
    ".e{fill:#212830}}"
    /* of the picture as it is shown: on a telephone letters shrink less than it does */
    "@media(max-width:430px){text{font-size:13.5px}text.m{font-size:12.5px}}"
    "</style>\n";

void
svg_begin(struct out *o, double height, const char *title, const char *name)
{
	out_add(o,
	    "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %.0f %.0f\" width=\"%.0f\" "
	    "height=\"%.0f\" font-family=\"system-ui,sans-serif\" font-size=\"12\" "
	    "role=\"img\">\n<title>%s ",
	    SVG_WIDTH, height, SVG_WIDTH, height, title);
	out_xml(o, name);
	out_add(o, "</title>\n%s<rect class=\"bg\" width=\"100%%\" height=\"100%%\"/>\n", styles);
	out_add(o, "<text class=\"t\" x=\"12\" y=\"20\" font-size=\"15\" font-weight=\"600\">%s ",
	    title);
	/* Long names are cut by the picture's edge. */
	out_xml(o, name);
	out_add(o, "</text>\n");
}

void
svg_end(struct out *o)
{
	out_add(o, "</svg>\n");
}

/* ---- axes ------------------------------------------------------------------------------------------------ */

static double
y_of(const struct plot *p, double v)
{
	double part;

	if (v < p->min)
		v = p->min;
	part = p->log ? log(v / p->min) / log(p->max / p->min) : (v - p->min) / (p->max - p->min);
	return p->top + p->height * (1 - (part < 1 ? part : 1));
}

static struct short_text
show(enum axis axis, double v)
{
	switch (axis) {
	case AXIS_TIME_LOG:
		return show_time(v);
	case AXIS_BYTES:
		return show_bytes(v);
	case AXIS_RATIO:
		return show_percent(v);
	case AXIS_COUNT:
		break;
	}
	return show_count(v);
}

static void
line_at(struct out *o, const struct plot *p, enum axis axis, double v)
{
	double y = y_of(p, v);

	out_add(o, "<path class=\"g\" d=\"M%.1f %.1fh%.1f\"/>", p->left, y, p->width);
	out_add(o,
	    "<text class=\"m\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\" font-size=\"11\">%s"
	    "</text>\n",
	    p->left - 6, y + 4, show(axis, v).s);
}

static double
greatest(const json_t *list)
{
	double max = 0;
	const json_t *v;
	size_t i;

	json_array_foreach(list, i, v)
	{
		double n = json_number_value(v); /* of a null: 0 */
		if (isfinite(n) && n > max)
			max = n;
	}
	return max;
}

static double
least(const json_t *list)
{
	double min = INFINITY;
	const json_t *v;
	size_t i;

	json_array_foreach(list, i, v)
	{
		double n = json_number_value(v);
		if (isfinite(n) && n > 0 && n < min)
			min = n;
	}
	return min;
}

/* Decades that hold all values, two at least. */
static void
scale_log(struct plot *p, double min, double max)
{
	if (!isfinite(min) || max <= 0)
		min = 10, max = 10000;
	if (min < 1)
		min = 1;
	p->min = pow(10, floor(log10(min)));
	p->max = pow(10, ceil(log10(max)));
	if (p->max < p->min * 100)
		p->max = p->min * 100;
	p->log = true;
}

/* 1, 2 or 5 of a power, so that three or four lines do. */
static double
step_of(double max, bool binary)
{
	double base = binary ? 1024 : 10, unit = 1;

	while (binary && unit * 1024 <= max)
		unit *= base;
	double n = max / unit / 3, power = pow(10, floor(log10(n > 0 ? n : 1)));
	double m = n / power;
	return (m <= 1 ? 1 : m <= 2 ? 2 : m <= 5 ? 5 : 10) * power * unit;
}

static void
lines(struct out *o, struct plot *p, enum axis axis, double min, double max)
{
	if (axis == AXIS_TIME_LOG) {
		scale_log(p, min, max);
		for (double v = p->min; v < p->max * 1.5; v *= 10)
			line_at(o, p, axis, v);
		return;
	}
	double step = axis == AXIS_RATIO ? 0.5 : step_of(max > 0 ? max : 1, axis == AXIS_BYTES);
	p->min = 0;
	p->max = axis == AXIS_RATIO ? 1 : step * ceil((max > 0 ? max : 1) / step - 1e-9);
	for (double v = 0; v < p->max + step / 2; v += step)
		line_at(o, p, axis, v);
}

static void
marks(struct out *o, const struct plot *p, const json_t *slots)
{
	double seconds = get_number(slots, "slot_s") * p->count;
	double y = p->top + p->height + 16;
	double unit = seconds >= 7200 ? 3600 : seconds >= 120 ? 60 : 1;
	struct short_text from = {""};

	if (isfinite(seconds) && seconds > 0 && seconds < 1e9)
		snprintf(from.s, sizeof from.s, "\xe2\x88\x92%.3g %s", seconds / unit,
		    unit > 60  ? "h"
		    : unit > 1 ? "min"
		               : "s");
	out_add(
	    o, "<path class=\"a\" d=\"M%.1f %.1fh%.1f\"/>", p->left, p->top + p->height, p->width);
	out_add(o, "<text class=\"m\" x=\"%.1f\" y=\"%.1f\" font-size=\"11\">%s</text>", p->left, y,
	    from.s);
	out_add(o,
	    "<text class=\"m\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\" "
	    "font-size=\"11\">now</text>\n",
	    p->left + p->width, y);
}

struct plot
svg_plot(struct out *o, double top, const char *heading, const json_t *slots, enum axis axis,
    const char *const *keys, unsigned key_count)
{
	struct plot p = {
	    .top = top + HEADING,
	    .left = LEFT,
	    .width = SVG_WIDTH - LEFT - RIGHT,
	    .height = AREA,
	};
	double max = 0, min = INFINITY;

	for (unsigned k = 0; k < key_count; k++) {
		const json_t *list = json_object_get(slots, keys[k]);
		max = fmax(max, greatest(list));
		min = fmin(min, least(list));
		if (json_array_size(list) > p.count)
			p.count = (unsigned)json_array_size(list);
	}
	out_add(o, "<text class=\"t\" x=\"12\" y=\"%.1f\" font-weight=\"600\">%s</text>\n",
	    top + 14, heading);
	lines(o, &p, axis, min, max);
	marks(o, &p, slots);
	if (p.count == 0)
		out_add(o, "<text class=\"m\" x=\"%.1f\" y=\"%.1f\">nothing is known yet</text>\n",
		    p.left + 20, p.top + p.height / 2);
	return p;
}

void
svg_keys(struct out *o, double top, const struct svg_key *keys, unsigned count)
{
	double x = SVG_WIDTH - RIGHT - 78.0 * count;

	for (unsigned i = 0; i < count; i++, x += 78) {
		out_add(
		    o, "<path class=\"c %s\" d=\"M%.1f %.1fh14\"/>", keys[i].style, x, top + 10);
		out_add(o, "<text class=\"t\" x=\"%.1f\" y=\"%.1f\">%s</text>\n", x + 19, top + 14,
		    keys[i].label);
	}
}

/* ---- curves -------------------------------------------------------------------------------------------------- */

/* The greatest of the values from..to; NAN if none is known. */
static double
value_of(const json_t *values, size_t from, size_t to)
{
	double max = NAN;

	for (size_t i = from; i < to; i++) {
		const json_t *v = json_array_get(values, i);
		if (json_is_number(v) && !(json_number_value(v) <= max))
			max = json_number_value(v);
	}
	return max;
}

void
svg_curve(struct out *o, const struct plot *p, const json_t *values, const char *style)
{
	size_t count = json_array_size(values);
	size_t share = (count + POINTS_MAX - 1) / POINTS_MAX;
	bool down = false; /* the pen */

	if (count == 0)
		return;
	out_add(o, "<path class=\"c %s\" d=\"", style);
	for (size_t i = 0; i < count; i += share) {
		size_t end = i + share < count ? i + share : count;
		double v = value_of(values, i, end);
		if (!isfinite(v)) {
			down = false;
			continue;
		}
		double x = p->left + p->width * (double)end / (double)count;
		/* A point alone is a line without length, which has round ends. */
		out_add(o, "%s%.1f %.1f%s", down ? "L" : "M", x, y_of(p, v), down ? "" : "h0");
		down = true;
	}
	out_add(o, "\"/>\n");
}
