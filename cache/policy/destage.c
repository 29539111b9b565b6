/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How fast dirty data goes to the store. Curves over the dirty pressure p (0…1), which is the store's share
 * of what the others' dirty blocks leave it, or more where segments that can't be had without the store are
 * most of them:
 *
 *   rate    0 up to 45 % (but for what an idle store takes), at 55 % what turns dirty, rising on
 *   depth   growing with each tick while clients' latency at the store allows it, × 0.8 where it doesn't; from
 *           60 % on, or below a fifth free, there is a floor that rises to the maximum
 *   delay   from 60 % on writes are slowed to  drain rate × (1 - x) / x,  x = (p - 0.6) / 0.12:
 *           not at all at 60 %, to the store's speed at 66 %, never wholly. Likewise where segments come
 *           to an end: what is written over leaves holes in them, and room ends before blocks do. Then
 *           x is what is gone of the last few; without it writers would run into that end and stand still
 *           until a segment is empty, a tenth of a second, again and again
 *
 * Of stores that share an SSD all are slowed by what is dirty of it in all: by all of x who has its part of
 * that or more, the others by less of it, so that none has to wait for the room that a slower one takes.
 *
 * The drain rate is what the store did while it had something to do, whatever it was kept from doing at other
 * times; of the last half second of such time. So it is known as soon as the first blocks have gone, and
 * when the store changes its speed it is followed within that time.
 */
#include "cache/policy/policy.h"

#include "base/assert.h"

#define DEPTH_DEFAULT 32u
#define DELAY_MAX_DEFAULT_NS 10000000ull
#define RATE_SECONDS 0.5      /* over which rates are averaged */
#define DRAIN_SECONDS 0.5     /* of work of the store, likewise */
#define LATENCY_SECONDS 0.1   /* …and latencies */
#define LOW_DRIFT_PER_S 0.02  /* the lowest latency seen is forgotten at this rate */
#define TARGET_MIN_NS 200000. /* of latency: below it a busy store is no store in trouble */
#define IDLE_AFTER_NS 500000000ull
#define TRICKLE_SHARE 0.05 /* of the drain rate: writing slower than this counts as nearly idle */
#define TRICKLE_FROM 0.10
#define RATE_FROM 0.45
#define RATE_HOLD 0.55
#define SLOW_FROM 0.60
/* What is left is for moving dirty blocks together: with less of it, more is moved than written. */
#define SLOW_TO 0.72
#define HELD_FROM 0.90 /* of the segments: presses as SLOW_FROM of the blocks does */
#define FREE_LOW 0.20
#define DRAIN_MIN_PER_S 250. /* assumed of a store of which nothing is known */
#define SPREAD_SECONDS 10.   /* within which the excess over RATE_FROM goes, without writes */
#define WINDOW_MIN 2u
#define WINDOW_SHARE 4u /* 1/4 of the segments while there is time */

static double
clamp(double v, double lo, double hi)
{
	return v < lo ? lo : v > hi ? hi : v;
}

void
policy_destage_init(struct policy_destage *d, const struct policy_destage_config *cfg)
{
	*d = (struct policy_destage){.cfg = *cfg, .depth = 1};
	if (!d->cfg.depth_max)
		d->cfg.depth_max = DEPTH_DEFAULT;
	if (!d->cfg.delay_max_ns)
		d->cfg.delay_max_ns = DELAY_MAX_DEFAULT_NS;
}

static void
average(double *avg, double sample, double dt, double seconds)
{
	*avg += (sample - *avg) * dt / (dt + seconds);
}

/* Time in which the store had nothing to do says nothing about what it could do. */
static void
measure_drain(struct policy_destage *d, const struct policy_destage_in *in, double dt)
{
	double busy = clamp((double)in->busy_ns / 1e9, 0, dt);
	if (in->store_failing)
		busy = dt;
	if (busy <= 0)
		return;
	double keep = DRAIN_SECONDS / (DRAIN_SECONDS + busy);
	d->drain_blocks = d->drain_blocks * keep + (double)in->destaged_blocks;
	d->drain_s = d->drain_s * keep + busy;
	d->destaged_per_s = d->drain_blocks / d->drain_s;
}

static void
measure(struct policy_destage *d, const struct policy_destage_in *in, double dt)
{
	average(&d->written_per_s, (double)in->written_blocks / dt, dt, RATE_SECONDS);
	/* What turns dirty is less than what is written: the rest supersedes what is dirty. */
	double dirtied =
	    (double)in->dirty_blocks + (double)in->destaged_blocks - (double)d->dirty_blocks;
	average(&d->dirtied_per_s, dirtied > 0 ? dirtied / dt : 0, dt, RATE_SECONDS);
	d->dirty_blocks = in->dirty_blocks;
	measure_drain(d, in, dt);
	if (in->store_ops) {
		double latency = (double)in->store_ns / in->store_ops;
		if (d->latency_low_ns == 0)
			d->latency_ns = d->latency_low_ns = latency;
		average(&d->latency_ns, latency, dt, LATENCY_SECONDS);
		d->latency_low_ns *= 1 + LOW_DRIFT_PER_S * dt;
		if (latency < d->latency_low_ns)
			d->latency_low_ns = latency;
	}
	if (in->written_blocks || in->store_ops)
		d->idle_ns = 0;
	else if (d->idle_ns < IDLE_AFTER_NS)
		d->idle_ns += in->elapsed_ns;
}

static double
ratio(uint64_t part, uint64_t of)
{
	return of ? clamp((double)part / (double)of, 0, 1) : part > 0;
}

/* Where nearly all segments are held by what only the stores can take, room ends whatever the share of blocks. */
static double
held(const struct policy_destage_in *in)
{
	double share = in->segs ? 1 - (double)in->segs_free / in->segs : 0;
	if (share < HELD_FROM)
		return 0;
	return SLOW_FROM + (share - HELD_FROM) * (1 - SLOW_FROM) / (1 - HELD_FROM);
}

static double
pressure(const struct policy_destage_in *in)
{
	double blocks = ratio(in->dirty_blocks, in->dirty_max_blocks), segs = held(in);
	return blocks > segs ? blocks : segs;
}

/* How much clients are slowed: 0 not at all, 1 as much as may be. */
static double
slowing(const struct policy_destage_in *in)
{
	double own = ratio(in->dirty_blocks, in->dirty_max_blocks);
	double all = in->all_max_blocks ? ratio(in->all_dirty_blocks, in->all_max_blocks) : own;
	double part = 1, segs = held(in);
	if (in->all_max_blocks && in->all_dirty_blocks)
		part = clamp(
		    (double)in->dirty_blocks * in->stores / (double)in->all_dirty_blocks, 0, 1);
	all = (all > segs ? all : segs) - SLOW_FROM;
	own -= SLOW_FROM;
	double x = clamp(all * part > own ? all * part : own, 0, SLOW_TO - SLOW_FROM) /
	           (SLOW_TO - SLOW_FROM);
	double tight = in->room_low_blocks ? 1 - ratio(in->room_blocks, in->room_low_blocks) : 0;
	return x > tight ? x : tight;
}

/* 0: there is time; 1: space goes before latency. */
static double
urgency(const struct policy_destage_in *in, double p)
{
	double free = in->segs ? (double)in->segs_free / in->segs : 1;
	double from_dirty = clamp((p - SLOW_FROM) / (1 - SLOW_FROM), 0, 1);
	double from_free = clamp((FREE_LOW - free) / FREE_LOW, 0, 1);
	return from_dirty > from_free ? from_dirty : from_free;
}

static bool
latency_is_high(const struct policy_destage *d, const struct policy_destage_in *in, double urgent)
{
	if (!in->store_ops)
		return false;
	double target = 2 * d->latency_low_ns;
	if (d->cfg.latency_target_ns)
		target = (double)d->cfg.latency_target_ns;
	if (target < TARGET_MIN_NS)
		target = TARGET_MIN_NS;
	return d->latency_ns > target * (1 + 3 * urgent);
}

static void
set_depth(struct policy_destage *d, const struct policy_destage_in *in, double urgent)
{
	double most = d->cfg.depth_max;
	if (latency_is_high(d, in, urgent))
		d->depth *= 0.8;
	else
		d->depth += 1 + (in->store_ops ? 0 : d->depth / 4);
	d->depth = clamp(d->depth, 1 + urgent * (most - 1), most);
	if (in->drain)
		d->depth = most;
}

static double
drain_rate(const struct policy_destage *d)
{
	return d->destaged_per_s > DRAIN_MIN_PER_S ? d->destaged_per_s : DRAIN_MIN_PER_S;
}

/* Blocks per second that should go out; < 0: as many as the depth gives. */
static double
wanted_rate(const struct policy_destage *d, const struct policy_destage_in *in, double p)
{
	if (in->drain || d->idle_ns >= IDLE_AFTER_NS)
		return -1;
	if (p > RATE_FROM) {
		double excess = (p - RATE_FROM) * (double)in->dirty_max_blocks / SPREAD_SECONDS;
		return d->dirtied_per_s * (p - RATE_FROM) / (RATE_HOLD - RATE_FROM) + excess;
	}
	double trickle = TRICKLE_SHARE * drain_rate(d);
	return p > TRICKLE_FROM && d->written_per_s < trickle ? trickle : 0;
}

static void
set_delay(struct policy_destage *d, double x)
{
	double most = (double)d->cfg.delay_max_ns, want = 0;
	if (x >= 1)
		want = most;
	else if (x > 0)
		want = clamp(1e9 * x / (drain_rate(d) * (1 - x)), 0, most);
	d->delay_ns = (uint64_t)want;
}

void
policy_destage_tick(
    struct policy_destage *d, const struct policy_destage_in *in, struct policy_destage_out *ret)
{
	ASSERT(in->segs_free <= in->segs);
	double dt = clamp((double)in->elapsed_ns / 1e9, 1e-3, 1);
	measure(d, in, dt);
	double p = pressure(in), urgent = urgency(in, p);
	set_depth(d, in, urgent);
	set_delay(d, slowing(in));
	double rate = in->dirty_blocks ? wanted_rate(d, in, p) : 0;
	double budget = rate * (double)POLICY_DESTAGE_TICK_NS / 1e9;
	if (rate < 0)
		d->budget_blocks = UINT64_MAX;
	else
		d->budget_blocks = budget > 0 && budget < 1 ? 1 : (uint64_t)budget;
	double window = WINDOW_MIN + (1 - urgent) * in->segs / WINDOW_SHARE;
	*ret = (struct policy_destage_out){.depth = (uint32_t)d->depth,
	    .budget_blocks = d->budget_blocks,
	    .delay_ns = d->delay_ns,
	    .window_segs = (uint32_t)window};
	if (rate < 0 && in->segs > ret->window_segs)
		ret->window_segs = in->segs;
	if (in->store_failing && ret->budget_blocks) {
		ret->depth = 1;
		ret->budget_blocks = d->budget_blocks = 1;
	}
	if (!ret->budget_blocks)
		ret->depth = 0;
}
