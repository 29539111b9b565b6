/* SPDX-License-Identifier: BSD-2-Clause */
/* Where a LUN is hot: a square for each part, the first one at the top left, line by line. */
#include <math.h>
#include <string.h>

#include "report/report.h"
#include "report/report_priv.h"

#define COLUMNS 64u
#define PARTS_MAX 4096u
#define CELL 6.0
#define LEFT 66.0
#define TOP 30.0
#define HEADING 24.0
#define FOOTING 14.0
#define LEVELS 8u

struct map {
	const char *heading, *key, *fill;
	bool ratio; /* 0 to 1; else counts, from the greatest down by the logarithm */
};

static const struct map maps[] = {
    {"Reads", "reads", "f1", false},
    {"Writes", "writes", "f2", false},
    {"On the SSD", "cached", "f3", true},
    {"Dirty", "dirty", "f4", true},
};

static unsigned
parts_of(const json_t *list)
{
	size_t n = json_array_size(list);
	return n < PARTS_MAX ? (unsigned)n : PARTS_MAX;
}

static double
part(const json_t *list, unsigned i)
{
	double v = json_number_value(json_array_get(list, i));
	return isfinite(v) && v > 0 ? v : 0;
}

/* 0: nothing (not even a little); 1 to LEVELS. */
static unsigned
level_of(const struct map *m, double v, double max)
{
	if (v <= 0 || max <= 0)
		return 0;
	double share = m->ratio ? v : log1p(v) / log1p(max);
	unsigned level = (unsigned)ceil(share * LEVELS);
	return level < 1 ? 1 : level > LEVELS ? LEVELS : level;
}

/* All squares of a level, neighbours joined. */
static void
squares(
    struct out *o, double top, const struct map *m, const json_t *list, double max, unsigned level)
{
	unsigned count = parts_of(list);
	bool any = false;

	for (unsigned i = 0; i < count;) {
		unsigned n = 1;
		if (level_of(m, part(list, i), max) != level) {
			i++;
			continue;
		}
		while (i + n < count && (i + n) % COLUMNS != 0 &&
		       level_of(m, part(list, i + n), max) == level)
			n++;
		if (!any)
			out_add(o, "<path class=\"%s\" fill-opacity=\"%.3g\" d=\"", m->fill,
			    0.1 + 0.9 * level / LEVELS);
		any = true;
		out_add(o, "M%.0f %.0fh%.0fv%.0fh-%.0fz", LEFT + i % COLUMNS * CELL,
		    top + i / COLUMNS * CELL, n * CELL, CELL, n * CELL);
		i += n;
	}
	if (any)
		out_add(o, "\"/>\n");
}

static void
legend(struct out *o, double top, const struct map *m, double max)
{
	double x = LEFT + COLUMNS * CELL - LEVELS * 12 - 28;

	out_add(o,
	    "<text class=\"m\" x=\"%.0f\" y=\"%.0f\" text-anchor=\"end\" "
	    "font-size=\"11\">%s</text>",
	    x - 6, top + 14, m->ratio ? "a little" : "few");
	for (unsigned i = 1; i <= LEVELS; i++)
		out_add(o,
		    "<rect class=\"%s\" fill-opacity=\"%.3g\" x=\"%.0f\" y=\"%.0f\" width=\"12\" "
		    "height=\"10\"/>",
		    m->fill, 0.1 + 0.9 * i / LEVELS, x + (i - 1) * 12, top + 5);
	out_add(o, "<text class=\"m\" x=\"%.0f\" y=\"%.0f\" font-size=\"11\">%s</text>\n",
	    x + LEVELS * 12 + 4, top + 14, m->ratio ? "all" : show_count(max).s);
}

/* Where each fourth line begins. */
static void
addresses(struct out *o, double top, unsigned count, double part_bytes)
{
	unsigned rows = (count + COLUMNS - 1) / COLUMNS, every = (rows + 3) / 4;

	for (unsigned r = 0; r<rows; r += every> 0 ? every : 1)
		out_add(o,
		    "<text class=\"m\" x=\"%.0f\" y=\"%.0f\" text-anchor=\"end\" "
		    "font-size=\"11\">%s</text>\n",
		    LEFT - 6, top + r * CELL + 9, show_bytes(r * COLUMNS * part_bytes).s);
}

static double
draw(struct out *o, double top, const struct map *m, const json_t *heatmap)
{
	const json_t *list = json_object_get(heatmap, m->key);
	unsigned count = parts_of(list), rows = (count + COLUMNS - 1) / COLUMNS;
	double max = 0, area = top + HEADING;

	for (unsigned i = 0; i < count; i++)
		max = fmax(max, part(list, i));
	out_add(o, "<text class=\"t\" x=\"12\" y=\"%.0f\" font-weight=\"600\">%s</text>\n",
	    top + 14, m->heading);
	legend(o, top, m, max);
	if (count > 0) {
		unsigned full = count / COLUMNS;
		if (full > 0)
			out_add(o,
			    "<rect class=\"e\" x=\"%.0f\" y=\"%.0f\" width=\"%.0f\" "
			    "height=\"%.0f\"/>",
			    LEFT, area, COLUMNS * CELL, full * CELL);
		if (count % COLUMNS > 0)
			out_add(o,
			    "<rect class=\"e\" x=\"%.0f\" y=\"%.0f\" width=\"%.0f\" "
			    "height=\"%.0f\"/>",
			    LEFT, area + full * CELL, count % COLUMNS * CELL, CELL);
	}
	addresses(o, area, count, get_number(heatmap, "part_bytes"));
	for (unsigned level = 1; level <= LEVELS; level++)
		squares(o, area, m, list, max, level);
	return HEADING + rows * CELL + FOOTING;
}

static double
height_of(const json_t *heatmap)
{
	double height = TOP;

	for (unsigned i = 0; i < sizeof maps / sizeof maps[0]; i++) {
		const json_t *list = json_object_get(heatmap, maps[i].key);
		if (json_is_array(list))
			height +=
			    HEADING + FOOTING + (parts_of(list) + COLUMNS - 1) / COLUMNS * CELL;
	}
	return height + 22;
}

char *
report_heatmap_svg(const json_t *heatmap, size_t *ret_len)
{
	struct out o = {.text = NULL};
	double top = TOP, height = height_of(heatmap);
	double half_life = get_number(heatmap, "half_life_s");

	svg_begin(&o, height, "Where it is hot:", get_text(heatmap, "name"));
	for (unsigned i = 0; i < sizeof maps / sizeof maps[0]; i++)
		if (json_is_array(json_object_get(heatmap, maps[i].key)))
			top += draw(&o, top, &maps[i], heatmap);
	out_add(&o,
	    "<text class=\"m\" x=\"12\" y=\"%.0f\" font-size=\"11\">a square is %s; of commands "
	    "those "
	    "of the last",
	    height - 10, show_bytes(get_number(heatmap, "part_bytes")).s);
	if (isfinite(half_life) && half_life > 0)
		out_add(&o, " %s minutes count most", show_count(half_life / 60).s);
	else
		out_add(&o, " minutes count most");
	out_add(&o, "</text>\n");
	svg_end(&o);
	return out_take(&o, ret_len);
}
