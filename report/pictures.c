/* SPDX-License-Identifier: BSD-2-Clause */
/* Latency and activity over time. */
#include "report/report.h"
#include "report/report_priv.h"

#define TOP 30.0 /* the title */

struct curve {
	const char *key, *label, *style;
};
struct panel {
	const char *heading, *slots;
	enum axis axis;
	struct curve curves[3]; /* those behind are drawn first */
	unsigned count;
};

static void
draw(struct out *o, double top, const json_t *answer, const struct panel *panel)
{
	const json_t *slots = json_object_get(answer, panel->slots);
	const char *keys[3];
	struct svg_key legend[3];

	for (unsigned i = 0; i < panel->count; i++) {
		keys[i] = panel->curves[i].key;
		legend[panel->count - 1 - i] =
		    (struct svg_key){panel->curves[i].label, panel->curves[i].style};
	}
	struct plot p = svg_plot(o, top, panel->heading, slots, panel->axis, keys, panel->count);
	svg_keys(o, top, legend, panel->count);
	for (unsigned i = 0; i < panel->count; i++)
		svg_curve(o, &p, json_object_get(slots, keys[i]), panel->curves[i].style);
}

static char *
picture(const json_t *answer, const char *title, const struct panel *panels, unsigned count,
    size_t *ret_len)
{
	struct out o = {.text = NULL};
	const char *name = get_text(answer, "name");

	svg_begin(
	    &o, TOP + count * SVG_PLOT_HEIGHT + 4, title, name[0] != '\0' ? name : "all LUNs");
	for (unsigned i = 0; i < count; i++)
		draw(&o, TOP + i * SVG_PLOT_HEIGHT, answer, &panels[i]);
	svg_end(&o);
	return out_take(&o, ret_len);
}

#define READS                                                                                      \
	{                                                                                          \
		{"read_max_us", "max", "k2"}, {"read_p99_us", "p99", "k3"},                        \
		{                                                                                  \
			"read_p50_us", "median", "k1"                                              \
		}                                                                                  \
	}
#define WRITES                                                                                     \
	{                                                                                          \
		{"write_max_us", "max", "k2"}, {"write_p99_us", "p99", "k3"},                      \
		{                                                                                  \
			"write_p50_us", "median", "k1"                                             \
		}                                                                                  \
	}

char *
report_latency_svg(const json_t *latency, size_t *ret_len)
{
	static const struct panel panels[] = {
	    {"Reads, 10 minutes", "seconds", AXIS_TIME_LOG, READS, 3},
	    {"Writes, 10 minutes", "seconds", AXIS_TIME_LOG, WRITES, 3},
	    {"Reads, a day", "minutes", AXIS_TIME_LOG, READS, 3},
	    {"Writes, a day", "minutes", AXIS_TIME_LOG, WRITES, 3},
	};

	return picture(latency, "Latency of", panels, sizeof panels / sizeof panels[0], ret_len);
}

char *
report_activity_svg(const json_t *latency, size_t *ret_len)
{
	static const struct panel panels[] = {
	    {"Commands a second", "seconds", AXIS_COUNT,
	        {{"reads_per_s", "reads", "k1"}, {"writes_per_s", "writes", "k2"}}, 2},
	    {"Bytes a second", "seconds", AXIS_BYTES,
	        {{"read_bytes_per_s", "reads", "k1"}, {"write_bytes_per_s", "writes", "k2"}}, 2},
	    {"Hits of reads", "seconds", AXIS_RATIO,
	        {{"ssd_hit_ratio", "SSD", "k3"}, {"ram_hit_ratio", "RAM", "k4"}}, 2},
	    {"Dirty data", "seconds", AXIS_BYTES, {{"dirty_bytes", "dirty", "k3"}}, 1},
	    {"Commands a second, a day", "minutes", AXIS_COUNT,
	        {{"reads_per_s", "reads", "k1"}, {"writes_per_s", "writes", "k2"}}, 2},
	    {"Dirty data, a day", "minutes", AXIS_BYTES, {{"dirty_bytes", "dirty", "k3"}}, 1},
	};

	return picture(latency, "Activity of", panels, sizeof panels / sizeof panels[0], ret_len);
}
