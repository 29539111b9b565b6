/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The fault store. An operation gets a wrapper from its loop's pool; the wrapper's own io goes to
 * the inner store, so the caller's stays whole. Decisions are drawn at submit, in an order that
 * depends on nothing but the submissions of that loop.
 */
#include "store/fault.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/pool.h"
#include "base/text.h"
#include "store/store_priv.h"

#define WRAPPERS_MAX 65536u /* operations under way per loop; more wait */
#define OPTIONS_BYTES 512
#define NAME_BYTES 4200

struct fault_config {
	uint64_t seed;
	double error[BLK_OP_COUNT]; /* chances, 0..1 */
	double torn_write, lost_write;
	uint32_t delay_min_us, delay_max_us;   /* before an operation is passed on */
	uint32_t answer_min_us, answer_max_us; /* after it came back */
	uint64_t range_start, range_end;       /* bytes */
};

struct fault_loop {
	struct fault *fault;
	struct loop *loop;
	struct pool wrappers;
	struct list waiting; /* ios for which there was no wrapper */
	struct list held;    /* struct wrapper */
	uint64_t rng;
	struct loop_msg release_msg;
	bool release_sent; /* exchanged atomically: any thread may send */
} __attribute__((aligned(64)));

/* On demand, written by any thread. */
struct fault_switch {
	uint64_t fail_skip[BLK_OP_COUNT], fail_count[BLK_OP_COUNT];
	int fail_err[BLK_OP_COUNT];
	uint64_t lose_count;
	uint32_t hold_mask;
	uint64_t held;
};

struct fault {
	struct blk b;
	struct blk *inner;
	struct fault_config cfg;
	struct fault_switch sw;
	struct fault_loop *loops;
	bool gone; /* by switch; home's */
};

enum decision { PASS, FAIL, TEAR, LOSE };

struct wrapper {
	struct blk_io io; /* the inner store's */
	struct blk_io *outer;
	struct fault_loop *fl;
	struct loop_timer timer;
	struct list link; /* held */
	enum decision decision;
	int err; /* FAIL, TEAR */
};

static void fault_start(struct fault_loop *fl, struct blk_io *io);

static struct fault *
fault_of(const struct blk *b)
{
	return container_of((struct blk *)(uintptr_t)b, struct fault, b);
}

/* ---- chance ------------------------------------------------------------------------------ */

/* splitmix64: a stream of the loop's own, so that nothing else that asks for numbers disturbs it. */
static uint64_t
draw(struct fault_loop *fl)
{
	uint64_t z = (fl->rng += 0x9e3779b97f4a7c15ull);
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

static bool
chance(struct fault_loop *fl, double p)
{
	return p > 0 && (double)(draw(fl) >> 11) < p * 0x1p53;
}

static bool
in_range(const struct fault_config *c, const struct blk_io *io)
{
	if (io->op == BLK_FLUSH)
		return true;
	return io->offset_bytes < c->range_end && io->offset_bytes + io->len_bytes > c->range_start;
}

/* Takes one of a switch's count. */
static bool
take_one(uint64_t *count)
{
	uint64_t n = __atomic_load_n(count, __ATOMIC_RELAXED);
	while (n > 0) {
		if (__atomic_compare_exchange_n(
		        count, &n, n - 1, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
			return true;
	}
	return false;
}

static void
decide(struct wrapper *w)
{
	struct fault_loop *fl = w->fl;
	struct fault *f = fl->fault;
	const struct blk_io *io = w->outer;
	w->decision = PASS;
	w->err = -EIO;
	if (!take_one(&f->sw.fail_skip[io->op]) && take_one(&f->sw.fail_count[io->op])) {
		w->decision = FAIL;
		w->err = __atomic_load_n(&f->sw.fail_err[io->op], __ATOMIC_RELAXED);
		return;
	}
	if (io->op == BLK_WRITE && take_one(&f->sw.lose_count)) {
		w->decision = LOSE;
		return;
	}
	if (!in_range(&f->cfg, io))
		return;
	if (chance(fl, f->cfg.error[io->op]))
		w->decision = FAIL;
	else if (io->op == BLK_WRITE && chance(fl, f->cfg.torn_write))
		w->decision = TEAR;
	else if (io->op == BLK_WRITE && chance(fl, f->cfg.lost_write))
		w->decision = LOSE;
}

/* ---- an operation's way ------------------------------------------------------------------- */

static void
wrapper_end(struct wrapper *w, int result)
{
	struct fault_loop *fl = w->fl;
	struct blk_io *outer = w->outer;
	outer->extent_count = w->io.extent_count;
	pool_put(&fl->wrappers, w);
	struct list *next = list_pop_front(&fl->waiting);
	if (next != NULL)
		fault_start(fl, container_of(next, struct blk_io, link));
	blk_complete(outer, result);
}

static void
answer(struct wrapper *w)
{
	int result = w->io.result;
	wrapper_end(w, result == 0 && w->decision == TEAR ? w->err : result);
}

static void
answer_over(struct loop_timer *t)
{
	answer(container_of(t, struct wrapper, timer));
}

static uint64_t
draw_ns(struct fault_loop *fl, uint32_t min_us, uint32_t max_us)
{
	return (min_us + draw(fl) % (max_us - min_us + 1ull)) * 1000;
}

static void
inner_done(struct blk_io *io)
{
	struct wrapper *w = container_of(io, struct wrapper, io);
	const struct fault_config *c = &w->fl->fault->cfg;
	if (c->answer_max_us == 0) {
		answer(w);
		return;
	}
	loop_timer_init(&w->timer, w->fl->loop, answer_over);
	loop_timer_set(&w->timer, draw_ns(w->fl, c->answer_min_us, c->answer_max_us));
}

static void
end_later(struct loop_defer *d)
{
	struct wrapper *w = container_of(d, struct wrapper, io.defer);
	wrapper_end(w, w->decision == LOSE ? 0 : w->err);
}

static void
wrapper_submit(struct wrapper *w)
{
	const struct blk_io *o = w->outer;
	struct fault *f = w->fl->fault;
	w->io = (struct blk_io){.op = o->op,
	    .flags = o->flags,
	    .offset_bytes = o->offset_bytes,
	    .len_bytes = o->len_bytes,
	    .sg = o->sg,
	    .extents = o->extents,
	    .extent_cap = o->extent_cap,
	    .done = inner_done};
	if (w->decision == TEAR) {
		uint64_t blocks = o->len_bytes / f->b.info.block_bytes;
		w->io.len_bytes = draw(w->fl) % blocks * f->b.info.block_bytes;
	}
	bool nothing = w->decision == TEAR && w->io.len_bytes == 0;
	if (w->decision == FAIL || w->decision == LOSE || nothing) {
		loop_defer_init(&w->io.defer, end_later);
		loop_defer(w->fl->loop, &w->io.defer);
		return;
	}
	blk_submit(f->inner, &w->io);
}

static void
hold_or_submit(struct wrapper *w)
{
	struct fault_switch *sw = &w->fl->fault->sw;
	if (__atomic_load_n(&sw->hold_mask, __ATOMIC_RELAXED) & 1u << w->outer->op) {
		list_push_back(&w->fl->held, &w->link);
		__atomic_fetch_add(&sw->held, 1, __ATOMIC_RELAXED);
		return;
	}
	wrapper_submit(w);
}

static void
delay_over(struct loop_timer *t)
{
	hold_or_submit(container_of(t, struct wrapper, timer));
}

static void
fault_start(struct fault_loop *fl, struct blk_io *io)
{
	const struct fault_config *c = &fl->fault->cfg;
	struct wrapper *w = pool_get(&fl->wrappers);
	if (w == NULL) {
		list_push_back(&fl->waiting, &io->link);
		return;
	}
	w->outer = io;
	w->fl = fl;
	w->io.extent_count = 0;
	list_init(&w->link);
	decide(w);
	if (c->delay_max_us == 0) {
		hold_or_submit(w);
		return;
	}
	loop_timer_init(&w->timer, fl->loop, delay_over);
	loop_timer_set(&w->timer, draw_ns(fl, c->delay_min_us, c->delay_max_us));
}

static void
fault_submit(struct blk *b, struct blk_io *io)
{
	struct fault *f = fault_of(b);
	fault_start(&f->loops[blk_loop_idx(b, io->loop)], io);
}

static int
fault_sg_get(
    struct blk *b, struct blk_sg *sg, enum blk_op op, uint64_t offset_bytes, uint64_t len_bytes)
{
	return blk_sg_get(fault_of(b)->inner, sg, op, offset_bytes, len_bytes);
}

/* ---- switches ---------------------------------------------------------------------------- */

void
fault_fail(struct blk *b, enum blk_op op, uint64_t skip, uint64_t count, int err)
{
	struct fault_switch *sw = &fault_of(b)->sw;
	ASSERT(blk_is_fault(b) && (unsigned)op < BLK_OP_COUNT && err < 0);
	__atomic_store_n(&sw->fail_count[op], 0, __ATOMIC_RELAXED);
	__atomic_store_n(&sw->fail_err[op], err, __ATOMIC_RELAXED);
	__atomic_store_n(&sw->fail_skip[op], skip, __ATOMIC_RELAXED);
	__atomic_store_n(&sw->fail_count[op], count, __ATOMIC_RELAXED);
}

void
fault_lose_writes(struct blk *b, uint64_t count)
{
	ASSERT(blk_is_fault(b));
	__atomic_store_n(&fault_of(b)->sw.lose_count, count, __ATOMIC_RELAXED);
}

static void
release_arrived(struct loop_msg *m)
{
	struct fault_loop *fl = container_of(m, struct fault_loop, release_msg);
	struct list held = LIST_INIT(held);
	__atomic_store_n(&fl->release_sent, false, __ATOMIC_RELEASE);
	list_splice_back(&held, &fl->held);
	for (struct list *n; (n = list_pop_front(&held)) != NULL;) {
		__atomic_fetch_sub(&fl->fault->sw.held, 1, __ATOMIC_RELAXED);
		hold_or_submit(container_of(n, struct wrapper, link));
	}
}

void
fault_hold(struct blk *b, uint32_t op_mask)
{
	struct fault *f = fault_of(b);
	ASSERT(blk_is_fault(b));
	__atomic_store_n(&f->sw.hold_mask, op_mask, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < b->loop_count; i++) {
		struct fault_loop *fl = &f->loops[i];
		if (__atomic_exchange_n(&fl->release_sent, true, __ATOMIC_ACQ_REL))
			continue; /* it is on its way and will see the new mask */
		fl->release_msg.run = release_arrived;
		loop_send(fl->loop, &fl->release_msg);
	}
}

uint64_t
fault_held(const struct blk *b)
{
	ASSERT(blk_is_fault(b));
	return __atomic_load_n(&fault_of(b)->sw.held, __ATOMIC_RELAXED);
}

/* Gone is who is switched off or whose inner store is gone. */
static void
update_state(struct fault *f)
{
	bool gone = f->gone || blk_get_state(f->inner) == BLK_GONE;
	if (gone == (f->b.state == BLK_GONE))
		return;
	blk_set_state(&f->b, gone ? BLK_GONE : BLK_OK);
	blk_raise(&f->b, gone ? BLK_EVENT_GONE : BLK_EVENT_BACK);
}

void
fault_set_gone(struct blk *b, bool gone)
{
	struct fault *f = fault_of(b);
	ASSERT(blk_is_fault(b) && loop_is_current(b->loops[0]));
	f->gone = gone;
	update_state(f);
}

void
fault_set_size(struct blk *b, uint64_t size_bytes)
{
	struct fault *f = fault_of(b);
	ASSERT(blk_is_fault(b) && loop_is_current(b->loops[0]));
	ASSERT(size_bytes <= blk_get_info(f->inner)->size_bytes);
	blk_set_size(b, size_bytes);
	blk_raise(b, BLK_EVENT_SIZE);
}

static void
inner_event(void *ctx, enum blk_event ev)
{
	struct fault *f = ctx;
	if (ev == BLK_EVENT_SIZE) {
		blk_set_size(&f->b, blk_get_info(f->inner)->size_bytes);
		blk_raise(&f->b, ev);
		return;
	}
	update_state(f);
}

/* ---- options ----------------------------------------------------------------------------- */

static int
parse_chance(const char *s, double *ret)
{
	char *end;
	if ((s[0] < '0' || s[0] > '9') && s[0] != '.')
		return -EINVAL;
	double p = strtod(s, &end);
	if (*end != '\0' || !(p >= 0 && p <= 1))
		return -EINVAL;
	*ret = p;
	return 0;
}

/* "A-B", or "A" for both. Splits `s` in place. */
static char *
second_half(char *s)
{
	char *dash = strchr(s, '-');
	if (dash == NULL)
		return s;
	*dash = '\0';
	return dash + 1;
}

static int
parse_delay(char *s, uint32_t *ret_min, uint32_t *ret_max)
{
	uint64_t a, b;
	const char *to = second_half(s);
	if (text_parse_u64(s, 60000000, &a) < 0 || text_parse_u64(to, 60000000, &b) < 0 || a > b)
		return -EINVAL;
	*ret_min = (uint32_t)a;
	*ret_max = (uint32_t)b;
	return 0;
}

static int
parse_range(char *s, struct fault_config *c)
{
	uint64_t a, b;
	char *to = second_half(s);
	if (to == s || text_parse_size(s, &a) < 0 || text_parse_size(to, &b) < 0 || a >= b)
		return -EINVAL;
	c->range_start = a;
	c->range_end = b;
	return 0;
}

static int
parse_option(char *opt, struct fault_config *c)
{
	char *value = strchr(opt, '=');
	if (value == NULL)
		return -EINVAL;
	*value++ = '\0';
	struct {
		const char *name;
		double *p;
	} chances[] = {
	    {"read_error", &c->error[BLK_READ]},
	    {"write_error", &c->error[BLK_WRITE]},
	    {"flush_error", &c->error[BLK_FLUSH]},
	    {"unmap_error", &c->error[BLK_UNMAP]},
	    {"torn_write", &c->torn_write},
	    {"lost_write", &c->lost_write},
	};
	for (size_t i = 0; i < sizeof chances / sizeof *chances; i++) {
		if (strcmp(opt, chances[i].name) == 0)
			return parse_chance(value, chances[i].p);
	}
	if (strcmp(opt, "delay_us") == 0)
		return parse_delay(value, &c->delay_min_us, &c->delay_max_us);
	if (strcmp(opt, "answer_us") == 0)
		return parse_delay(value, &c->answer_min_us, &c->answer_max_us);
	if (strcmp(opt, "range") == 0)
		return parse_range(value, c);
	return -EINVAL;
}

/* "SEED:OPTIONS:SPEC". *ret_inner points into `spec`. */
static int
parse_spec(
    const char *spec, struct fault_config *c, const char **ret_inner, const struct blk_reason *why)
{
	char text[OPTIONS_BYTES], *save = NULL;
	const char *seed_end = strchr(spec, ':');
	const char *opts_end = seed_end != NULL ? strchr(seed_end + 1, ':') : NULL;
	if (opts_end == NULL || opts_end[1] == '\0' || (size_t)(opts_end - spec) >= sizeof text)
		return blk_refuse(why, -EINVAL,
		    "fault:%s: write fault:SEED:OPTIONS:STORE, options separated by commas", spec);
	*c = (struct fault_config){.range_end = UINT64_MAX};
	memcpy(text, spec, (size_t)(opts_end - spec));
	text[opts_end - spec] = '\0';
	char *opts = text + (seed_end - spec);
	*opts++ = '\0';
	if (text_parse_u64(text, UINT64_MAX, &c->seed) < 0)
		return blk_refuse(why, -EINVAL, "fault: the seed %s is not a number", text);
	for (char *o = strtok_r(opts, ",", &save); o != NULL; o = strtok_r(NULL, ",", &save)) {
		char shown[64];
		snprintf(shown, sizeof shown, "%.60s", o);
		if (parse_option(o, c) < 0)
			return blk_refuse(why, -EINVAL,
			    "fault: option %s is not one of read_error=P write_error=P "
			    "flush_error=P "
			    "unmap_error=P torn_write=P lost_write=P delay_us=A-B answer_us=A-B "
			    "range=A-B",
			    shown);
	}
	*ret_inner = opts_end + 1;
	return 0;
}

/* ---- open and close ---------------------------------------------------------------------- */

static void
fault_free(struct fault *f)
{
	for (unsigned i = 0; f->loops != NULL && i < f->b.loop_count; i++)
		pool_fini(&f->loops[i].wrappers);
	free(f->loops);
	blk_fini(&f->b);
	free(f);
}

static void
fault_close(struct blk *b)
{
	struct fault *f = fault_of(b);
	blk_close(f->inner);
	fault_free(f);
}

static void
fault_may_shrink(struct blk *b, uint64_t size_bytes)
{
	blk_may_shrink(fault_of(b)->inner, size_bytes);
}

static void
fault_watched(struct blk *b)
{
	struct fault *f = fault_of(b);
	blk_set_events(f->inner, inner_event, f);
}

static const struct blk *
fault_below(const struct blk *b)
{
	return fault_of(b)->inner;
}

static const struct blk_ops fault_ops = {
    .name = "fault",
    .submit = fault_submit,
    .sg_get = fault_sg_get,
    .close = fault_close,
    .watched = fault_watched,
    .may_shrink = fault_may_shrink,
    .below = fault_below,
};

bool
blk_is_fault(const struct blk *b)
{
	return b->ops == &fault_ops;
}

static int
loops_init(struct fault *f)
{
	size_t bytes = f->b.loop_count * sizeof *f->loops;
	f->loops = aligned_alloc(_Alignof(struct fault_loop), bytes);
	if (f->loops == NULL)
		return -ENOMEM;
	memset(f->loops, 0, bytes);
	for (unsigned i = 0; i < f->b.loop_count; i++) {
		struct fault_loop *fl = &f->loops[i];
		fl->fault = f;
		fl->loop = f->b.loops[i];
		fl->rng = f->cfg.seed + i * 0xd1b54a32d192ed03ull;
		list_init(&fl->waiting);
		list_init(&fl->held);
		int err = pool_init(
		    &fl->wrappers, "fault wrappers", sizeof(struct wrapper), WRAPPERS_MAX);
		if (err < 0)
			return err;
	}
	return 0;
}

int
fault_open(const struct blk_open_args *args, const char *rest, struct blk **ret,
    const struct blk_reason *why)
{
	struct fault_config cfg;
	const char *inner_spec = NULL;
	char name[NAME_BYTES];
	int err = parse_spec(rest, &cfg, &inner_spec, why);
	if (err < 0)
		return err;
	struct fault *f = calloc(1, sizeof *f);
	if (f == NULL)
		return blk_refuse(why, -ENOMEM, "fault: out of memory");
	struct blk_open_args inner_args = *args;
	inner_args.spec = inner_spec;
	err = blk_open(&inner_args, &f->inner, why->buf, why->cap);
	if (err < 0) {
		free(f);
		return err;
	}
	struct blk_info info = *blk_get_info(f->inner);
	info.driver = "fault";
	if (cfg.torn_write > 0 || cfg.lost_write > 0)
		info.atomic_max_bytes = 0;
	snprintf(name, sizeof name, "fault:%s", blk_get_name(f->inner));
	f->cfg = cfg;
	err = blk_init(&f->b, &fault_ops, &info, name, args);
	if (err == 0)
		err = loops_init(f);
	if (err < 0) {
		blk_close(f->inner);
		fault_free(f);
		return blk_refuse(why, err, "fault: out of memory");
	}
	if (!(args->flags & BLK_OPEN_WATCH_LATER))
		fault_watched(&f->b);
	*ret = &f->b;
	return 0;
}
