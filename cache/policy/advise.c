/* SPDX-License-Identifier: BSD-2-Clause */
/* What a person wants to know of a curve: would more help, how much, and does the SSD run full? */
#include "cache/policy/policy.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define SAMPLES_MIN 500u
#define WORTH 0.01 /* of the hit ratio: less isn't worth memory */
#define NO_LOSS 0.005
#define KNEE 0.8       /* of what the largest size would gain */
#define SHRINK_TO 0.75 /* of the size now, or it isn't worth the trouble */
#define FULL_S_MAX 604800.

/* Between the points, and flat beyond them. */
static double
ratio_at(const struct policy_mrc_point *points, uint32_t n, uint64_t blocks)
{
	if (blocks <= points[0].blocks)
		return points[0].hit_ratio;
	for (uint32_t i = 1; i < n; i++) {
		const struct policy_mrc_point *a = &points[i - 1], *b = &points[i];
		if (blocks > b->blocks)
			continue;
		double part = (double)(blocks - a->blocks) / (double)(b->blocks - a->blocks);
		return a->hit_ratio + part * (b->hit_ratio - a->hit_ratio);
	}
	return points[n - 1].hit_ratio;
}

static struct policy_tier_result
tier(const struct policy_mrc_point *points, uint32_t n, uint64_t now_blocks, bool may_shrink)
{
	struct policy_tier_result r = {.what = POLICY_TIER_NONE};
	if (!n || n > POLICY_MRC_POINTS_MAX || !now_blocks)
		return r;
	r.what = POLICY_TIER_UNKNOWN;
	for (uint32_t i = 0; i < n; i++)
		if (points[i].samples < SAMPLES_MIN)
			return r;
	r.now_ratio = r.then_ratio = ratio_at(points, n, now_blocks);
	r.what = POLICY_TIER_KEEP;
	double gain = points[n - 1].hit_ratio - r.now_ratio;
	for (uint32_t i = 0; i < n; i++) {
		const struct policy_mrc_point *p = &points[i];
		bool larger = p->blocks > now_blocks;
		if (larger && gain >= WORTH && p->hit_ratio - r.now_ratio >= KNEE * gain) {
			r.what = POLICY_TIER_GROW;
			r.more_blocks = p->blocks - now_blocks;
		} else if (may_shrink && !larger && gain < WORTH &&
		           r.now_ratio - p->hit_ratio <= NO_LOSS &&
		           (double)p->blocks <= SHRINK_TO * (double)now_blocks) {
			r.what = POLICY_TIER_SHRINK;
			r.more_blocks = now_blocks - p->blocks;
		} else {
			continue;
		}
		r.then_ratio = p->hit_ratio;
		break;
	}
	return r;
}

/* With the RAM of now in front of it. It isn't to be smaller for its hits: it holds what was written, too. */
static struct policy_tier_result
ssd(const struct policy_advise_in *in, const struct policy_tier_result *ram)
{
	struct policy_mrc_point points[POLICY_MRC_POINTS_MAX];
	bool known = ram->what != POLICY_TIER_NONE && ram->what != POLICY_TIER_UNKNOWN;
	double above = known ? ram->now_ratio : in->ram_hit_ratio;
	uint32_t n = in->ssd_points <= POLICY_MRC_POINTS_MAX ? in->ssd_points : 0;
	for (uint32_t i = 0; i < n; i++) {
		points[i] = in->ssd[i];
		points[i].hit_ratio = above + (1 - above) * in->ssd[i].hit_ratio;
	}
	return tier(points, n, in->ssd_blocks, false);
}

struct text {
	char *at;
	size_t cap, len;
};

__attribute__((format(printf, 2, 3))) static void
say(struct text *t, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(t->at + t->len, t->cap - t->len, fmt, ap);
	va_end(ap);
	if (n > 0)
		t->len = t->len + (size_t)n < t->cap ? t->len + (size_t)n : t->cap - 1;
}

static void
say_size(struct text *t, uint64_t blocks)
{
	static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB"};
	double v = (double)blocks * (POLICY_BLOCK_BYTES / 1024);
	unsigned u = 0;
	for (; v >= 1024 && u + 1 < sizeof units / sizeof units[0]; u++)
		v /= 1024;
	say(t, v < 10 && v != (double)(uint64_t)v ? "%.1f %s" : "%.0f %s", v, units[u]);
}

static void
say_time(struct text *t, uint64_t seconds)
{
	if (seconds < 120)
		say(t, "%llu s", (unsigned long long)seconds);
	else if (seconds < 2 * 3600)
		say(t, "%llu min", (unsigned long long)(seconds / 60));
	else if (seconds < 48 * 3600)
		say(t, "%llu h", (unsigned long long)(seconds / 3600));
	else
		say(t, "%llu days", (unsigned long long)(seconds / 86400));
}

static void
say_tier(struct text *t, const char *name, const char *of, const struct policy_tier_result *r)
{
	if (r->what == POLICY_TIER_NONE)
		return;
	if (t->len)
		say(t, "; ");
	switch (r->what) {
	case POLICY_TIER_GROW:
	case POLICY_TIER_SHRINK:
		say_size(t, r->more_blocks);
		say(t, " %s %s: %.0f → %.0f %% %s", r->what == POLICY_TIER_GROW ? "more" : "less",
		    name, r->now_ratio * 100, r->then_ratio * 100, of);
		break;
	case POLICY_TIER_KEEP:
		say(t, "more %s would not help: %.0f %% %s", name, r->now_ratio * 100, of);
		break;
	default:
		say(t, "%s: too few reads so far to tell", name);
		break;
	}
}

static void
say_dirty(struct text *t, const struct policy_advise_in *in, struct policy_advise_out *ret)
{
	if (!in->ssd_blocks || !in->dirty_max_blocks)
		return;
	if (t->len)
		say(t, "; ");
	double left = in->dirty_blocks < in->dirty_max_blocks
	                  ? (double)(in->dirty_max_blocks - in->dirty_blocks)
	                  : 0;
	double growth = in->written_per_s - in->destaged_per_s;
	ret->fills = growth > 0 && left / growth <= FULL_S_MAX;
	if (ret->fills) {
		ret->full_s = (uint64_t)(left / growth);
		if (ret->full_s == 0) {
			say(t, "SSD is full of dirty data: writes go at the store's speed");
		} else {
			say(t, "SSD full in ");
			say_time(t, ret->full_s);
			say(t, " at this rate");
		}
	} else {
		say(t, "the store keeps up with the writes");
	}
}

void
policy_advise(const struct policy_advise_in *in, struct policy_advise_out *ret)
{
	memset(ret, 0, sizeof *ret);
	struct text t = {.at = ret->text, .cap = sizeof ret->text};
	ret->ram = tier(in->ram, in->ram_points, in->ram_blocks, true);
	ret->ssd = ssd(in, &ret->ram);
	say_tier(&t, "RAM", "hits", &ret->ram);
	say_tier(&t, "SSD", "of reads without the store", &ret->ssd);
	say_dirty(&t, in, ret);
}
