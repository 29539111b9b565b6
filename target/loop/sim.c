/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A world of simulated loops. What happens next is decided by the event queue and the seed alone:
 * either the earliest event, or a turn of a loop that has work left or a timer due. Each step takes
 * a little simulated time, so that a loop that goes on for ever doesn't keep others from going on.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "loop/sim_priv.h"

#define STEP_NS_MAX 1000u /* a step of local work takes 1..this */
#define MSG_DELAY_US_MAX 20u
#define WALL_S_START 1700000000

/* ---- the world ---- */

void *
sim_alloc(size_t bytes)
{
	void *p = calloc(1, bytes);
	ASSERT(p);
	return p;
}

uint64_t
loop_sim_rand(struct loop_sim *w)
{
	/* splitmix64 */
	uint64_t x = w->rand_state += 0x9e3779b97f4a7c15ull;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
	return x ^ (x >> 31);
}

uint64_t
sim_below(struct loop_sim *w, uint64_t n)
{
	ASSERT(n > 0);
	return loop_sim_rand(w) % n;
}

uint64_t
sim_later(struct loop_sim *w, uint32_t max_us)
{
	return w->now_ns + 1 + sim_below(w, (uint64_t)max_us * 1000 + 1);
}

void
sim_trace(struct loop_sim *w, enum sim_kind kind, uint64_t a, uint64_t b)
{
	const uint64_t words[] = {w->now_ns, kind, a, b};
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
		for (unsigned shift = 0; shift < 64; shift += 8) {
			w->hash ^= (words[i] >> shift) & 0xff;
			w->hash *= 1099511628211ull; /* FNV-1a */
		}
	}
}

static bool
event_before(const struct sim_event *a, const struct sim_event *b)
{
	return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->seq < b->seq;
}

void
sim_schedule(struct loop_sim *w, struct sim_event *e, uint64_t at_ns)
{
	ASSERT(at_ns >= w->now_ns);
	if (w->heap_count + 1 >= w->heap_cap) {
		w->heap_cap = w->heap_cap ? w->heap_cap * 2 : 256;
		w->heap = realloc(w->heap, w->heap_cap * sizeof(struct sim_event *));
		ASSERT(w->heap);
	}
	e->at_ns = at_ns;
	e->seq = w->seq++;
	size_t i = ++w->heap_count;
	for (; i > 1 && event_before(e, w->heap[i / 2]); i /= 2)
		w->heap[i] = w->heap[i / 2];
	w->heap[i] = e;
}

static struct sim_event *
pop_event(struct loop_sim *w)
{
	ASSERT(w->heap_count > 0);
	struct sim_event *first = w->heap[1], *last = w->heap[w->heap_count--];
	size_t i = 1;
	for (;;) {
		size_t child = i * 2;
		if (child > w->heap_count)
			break;
		if (child < w->heap_count && event_before(w->heap[child + 1], w->heap[child]))
			child++;
		if (event_before(last, w->heap[child]))
			break;
		w->heap[i] = w->heap[child];
		i = child;
	}
	w->heap[i] = last;
	return first;
}

void
sim_enter(struct loop *l)
{
	ASSERT(!loop_current());
	l->now_ns = sim_world(l)->now_ns;
	LOOP_STAT_ADD(l, turns);
	l->ran = true;
	loop_set_current(l);
}

void
sim_leave(struct loop *l)
{
	loop_turn_end(l);
	loop_set_current(NULL);
}

/* ---- what a loop asks of its backend ---- */

static uint64_t
sim_clock_ns(const struct loop *l)
{
	return sim_world(l)->now_ns;
}

static int64_t
sim_wall_s(const struct loop *l)
{
	return WALL_S_START + (int64_t)(sim_world(l)->now_ns / 1000000000u);
}

static void
sim_random_bytes(struct loop *l, void *buf, size_t len)
{
	uint8_t *p = buf;
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)loop_sim_rand(sim_world(l));
}

struct msg_event {
	struct sim_event ev; /* first */
	struct loop *dst;
	struct loop_msg *m;
};

static void
msg_arrives(struct sim_event *e)
{
	struct msg_event *me = (struct msg_event *)e;
	struct loop *dst = me->dst;
	struct loop_msg *m = me->m;
	free(me);
	sim_trace(sim_world(dst), SIM_MSG, dst->id, 0);
	m->next = NULL;
	sim_enter(dst);
	loop_run_msgs(dst, m);
	sim_leave(dst);
}

static void
msg_dropped(struct sim_event *e)
{
	free(e);
}

static void
sim_send(struct loop *dst, struct loop_msg *m)
{
	struct loop_sim *w = sim_world(dst);
	const struct loop *src = loop_current();
	uint64_t *last = &((struct sim_loop *)dst)->last_msg_ns[src ? src->id : LOOP_COUNT_MAX];
	uint64_t at = sim_later(w, MSG_DELAY_US_MAX);
	if (at < *last)
		at = *last; /* equal times keep the order of scheduling */
	*last = at;
	struct msg_event *me = sim_alloc(sizeof *me);
	*me = (struct msg_event){
	    .ev = {.kind = SIM_MSG, .run = msg_arrives, .drop = msg_dropped},
	    .dst = dst,
	    .m = m,
	};
	sim_schedule(w, &me->ev, at);
}

/* A file operation or a job that ends. */
struct done_event {
	struct sim_event ev; /* first */
	struct loop *loop;
	struct loop_op *op;
	struct loop_job *job;
};

static void
op_ends(struct sim_event *e)
{
	struct done_event *de = (struct done_event *)e;
	struct loop *l = de->loop;
	struct loop_op *op = de->op;
	free(de);
	sim_trace(sim_world(l), SIM_OP, l->id, (uint64_t)(int64_t)op->result);
	sim_enter(l);
	LOOP_STAT_ADD(l, ops);
	op->done(op, op->result);
	sim_leave(l);
}

static void
job_ends(struct sim_event *e)
{
	struct done_event *de = (struct done_event *)e;
	struct loop *l = de->loop;
	struct loop_job *j = de->job;
	free(de);
	sim_trace(sim_world(l), SIM_JOB, l->id, (uint64_t)(int64_t)j->result);
	sim_enter(l);
	j->done(j, j->result);
	sim_leave(l);
}

static void
schedule_done(struct loop *l, struct loop_op *op, struct loop_job *j)
{
	struct loop_sim *w = sim_world(l);
	struct done_event *de = sim_alloc(sizeof *de);
	*de = (struct done_event){
	    .ev = {.kind = op ? SIM_OP : SIM_JOB,
	        .run = op ? op_ends : job_ends,
	        .drop = msg_dropped},
	    .loop = l,
	    .op = op,
	    .job = j,
	};
	sim_schedule(w, &de->ev, sim_later(w, w->cfg.op_delay_us_max));
}

static void
sim_file_submit(struct loop *l, struct loop_op *op)
{
	/* At once, so that the order of effects is the order of submission. */
	op->result = loop_file_exec(op);
	schedule_done(l, op, NULL);
}

static void
sim_job_submit(struct loop *l, struct loop_job *j)
{
	/* At once: whoever waits for the work itself, outside the loop, must not wait for ever. */
	struct loop *caller = loop_current();
	loop_set_current(NULL); /* as on a helper thread */
	j->result = j->work(j);
	loop_set_current(caller);
	schedule_done(l, NULL, j);
}

static const struct loop_ops sim_ops = {
    .name = "simulation",
    .net = &loop_sim_net_ops,
    .send = sim_send,
    .job_submit = sim_job_submit,
    .file_submit = sim_file_submit,
    .clock_ns = sim_clock_ns,
    .wall_s = sim_wall_s,
    .random_bytes = sim_random_bytes,
};

/* ---- life cycle ---- */

int
loop_sim_create(const struct loop_sim_cfg *cfg, struct loop_sim **ret)
{
	ASSERT(cfg->loops >= 1);
	ASSERT(cfg->loops <= LOOP_COUNT_MAX);
	struct loop_sim *w = calloc(1, sizeof *w);
	if (!w)
		return -ENOMEM;
	w->cfg = *cfg;
	w->now_ns = 1; /* 0 is nobody's time */
	w->rand_state = cfg->seed;
	w->hash = 14695981039346656037ull;
	w->next_port = 40000;
	list_init(&w->listeners);
	list_init(&w->conns);
	unsigned made = 0;
	int r = -ENOMEM;
	w->loops = aligned_alloc(_Alignof(struct sim_loop), cfg->loops * sizeof *w->loops);
	if (!w->loops)
		goto err;
	for (; made < cfg->loops; made++) {
		struct sim_loop *sl = &w->loops[made];
		memset(sl->last_msg_ns, 0, sizeof sl->last_msg_ns);
		sl->world = w;
		r = loop_init(&sl->loop, &sim_ops, made, cfg->buf_bytes);
		if (r < 0)
			goto err;
		sl->loop.sim = true;
		sl->loop.now_ns = w->now_ns;
		const uint64_t seed[2] = {loop_sim_rand(w), loop_sim_rand(w)};
		loop_seed_rand(&sl->loop, seed);
	}
	*ret = w;
	return 0;

err:
	while (made > 0)
		loop_fini(&w->loops[--made].loop);
	free(w->loops);
	free(w);
	return r;
}

void
loop_sim_destroy(struct loop_sim *w)
{
	if (!w)
		return;
	while (w->heap_count > 0) {
		struct sim_event *e = pop_event(w);
		e->drop(e);
	}
	sim_net_fini(w);
	for (unsigned i = 0; i < w->cfg.loops; i++)
		loop_fini(&w->loops[i].loop);
	free(w->loops);
	free(w->heap);
	free(w);
}

struct loop *
loop_sim_loop(struct loop_sim *w, unsigned id)
{
	ASSERT(id < w->cfg.loops);
	return &w->loops[id].loop;
}

void
loop_sim_call(struct loop *l, void (*fn)(void *ctx), void *ctx)
{
	sim_trace(sim_world(l), SIM_CALL, l->id, 0);
	sim_enter(l);
	fn(ctx);
	sim_leave(l);
}

/* ---- stepping ---- */

/* A turn without outside events: timers that are due, and work left from before. */
static void
local_turn(struct loop_sim *w, struct loop *l)
{
	sim_trace(w, SIM_LOCAL, l->id, l->timers.count);
	sim_enter(l);
	loop_run_timers(l);
	loop_run_next_turn(l);
	sim_leave(l);
}

static bool
wants_turn(const struct loop_sim *w, const struct loop *l)
{
	return loop_has_work(l) || timer_heap_next_ns(&l->timers) <= w->now_ns;
}

/* When the next thing happens by itself, or UINT64_MAX. */
static uint64_t
next_time(const struct loop_sim *w)
{
	uint64_t t = w->heap_count > 0 ? w->heap[1]->at_ns : UINT64_MAX;
	for (unsigned i = 0; i < w->cfg.loops; i++) {
		uint64_t n = timer_heap_next_ns(&w->loops[i].loop.timers);
		if (n < t)
			t = n;
	}
	return t;
}

static bool
has_ready(const struct loop_sim *w)
{
	for (unsigned i = 0; i < w->cfg.loops; i++)
		if (wants_turn(w, &w->loops[i].loop))
			return true;
	return false;
}

bool
loop_sim_step(struct loop_sim *w)
{
	ASSERT(!loop_current());
	struct loop *ready[LOOP_COUNT_MAX];
	unsigned n = 0;
	for (unsigned pass = 0; pass < 2; pass++) {
		for (unsigned i = 0; i < w->cfg.loops; i++)
			if (wants_turn(w, &w->loops[i].loop))
				ready[n++] = &w->loops[i].loop;
		if (n > 0 || (w->heap_count > 0 && w->heap[1]->at_ns <= w->now_ns))
			break;
		uint64_t t = next_time(w);
		if (t == UINT64_MAX)
			return false;
		w->now_ns = t;
	}
	/* An event that is due is one more candidate. */
	bool due = w->heap_count > 0 && w->heap[1]->at_ns <= w->now_ns;
	uint64_t pick = sim_below(w, n + (due ? 1u : 0u));
	if (pick < n) {
		w->now_ns += 1 + sim_below(w, STEP_NS_MAX);
		local_turn(w, ready[pick]);
		return true;
	}
	struct sim_event *e = pop_event(w);
	e->run(e);
	return true;
}

uint64_t
loop_sim_run(struct loop_sim *w, uint64_t until_ns, uint64_t steps_max)
{
	uint64_t steps = 0;
	while (steps < steps_max && w->now_ns < until_ns) {
		if (!has_ready(w)) {
			uint64_t t = next_time(w);
			if (t == UINT64_MAX)
				break;
			if (t >= until_ns) {
				w->now_ns = until_ns;
				break;
			}
		}
		if (!loop_sim_step(w))
			break;
		steps++;
	}
	return steps;
}

uint64_t
loop_sim_now_ns(const struct loop_sim *w)
{
	return w->now_ns;
}

uint64_t
loop_sim_trace_hash(const struct loop_sim *w)
{
	return w->hash;
}
