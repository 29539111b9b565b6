/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What all backends share: life cycle, the turn, deferred calls, hooks, messages, watches.
 *
 * A turn: completions and readiness → messages → timers → next-turn calls → deferred calls (with
 * messages to itself) → waiters for buffers → hooks, and again from the deferred calls if hooks
 * queued some → hand over to the kernel. Then the next turn if work is left, else spin, else sleep.
 */
#include "loop/loop.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "loop/loop_priv.h"

#define BUF_BYTES_DEFAULT ((size_t)64 << 20)
#define SPIN_US_DEFAULT 50u

/* Bounds of one turn, so that readiness is looked at again under any load. */
#define DEFERRED_PER_TURN_MAX 4096u
#define ROUNDS_PER_TURN_MAX 8u
#define OPS_FIRST 4u /* file operations that a turn looks at, at first… */
#define OPS_MOST 1024u

/*
 * What a loop does at a time is short, and initiators wait for it: with a slice of that length the
 * kernel lets it run before threads that work through longer ones (Linux 6.12 and newer; older
 * ones don't look at it).
 */
#define SLICE_NS 100000u

static _Thread_local struct loop *current;

/* ---- life cycle ---- */

void
loop_cfg_default(struct loop_cfg *cfg)
{
	*cfg = (struct loop_cfg){
	    .id = 0,
	    .cpu = -1,
	    .nice = 0,
	    .spin_us_max = SPIN_US_DEFAULT,
	    .buf_bytes = BUF_BYTES_DEFAULT,
	    .force_epoll = false,
	};
}

int
loop_init(struct loop *l, const struct loop_ops *ops, unsigned id, size_t buf_bytes)
{
	ASSERT(id < LOOP_COUNT_MAX);
	*l = (struct loop){
	    .ops = ops,
	    .id = id,
	    .cpu = -1,
	    .gaps = {{.last_ns = UINT64_MAX}, {.last_ns = UINT64_MAX}},
	    .mailbox = {.event_fd = -1},
	};
	list_init(&l->deferred);
	list_init(&l->next_turn);
	list_init(&l->hooks);
	list_init(&l->bufwaits);
	list_init(&l->polls);
	list_init(&l->ready);
	list_init(&l->dead);
	list_init(&l->op_queue);
	list_init(&l->op_done);
	l->op_share = OPS_FIRST;
	int r = timer_heap_init(&l->timers);
	if (r < 0)
		return r;
	r = bufpool_create(buf_bytes, &l->bufs);
	if (r < 0)
		timer_heap_fini(&l->timers);
	return r;
}

static void
free_dead_polls(struct loop *l)
{
	for (struct list *n; (n = list_pop_front(&l->dead));)
		free(container_of(n, struct loop_poll, all));
}

void
loop_fini(struct loop *l)
{
	free_dead_polls(l);
	list_splice_back(&l->dead, &l->polls);
	free_dead_polls(l);
	bufpool_destroy(l->bufs);
	timer_heap_fini(&l->timers);
}

static void
on_wake_event(struct loop_poll *p, uint32_t events)
{
	(void)events;
	mailbox_drain_event(&p->loop->mailbox);
}

static int
create_backend(struct loop *l, bool force_epoll)
{
	if (!force_epoll) {
		l->ops = &loop_uring_ops;
		int r = loop_uring_create(l);
		if (r == 0 || r == -ENOMEM || r == -EMFILE || r == -ENFILE)
			return r;
	}
	l->ops = &loop_epoll_ops;
	return loop_epoll_create(l);
}

int
loop_create(const struct loop_cfg *cfg, struct loop **ret)
{
	struct loop *l = aligned_alloc(_Alignof(struct loop), sizeof *l);
	if (!l)
		return -ENOMEM;
	int r = loop_init(l, NULL, cfg->id, cfg->buf_bytes);
	if (r < 0)
		goto err_free;
	l->cpu = cfg->cpu;
	l->nice = cfg->nice;
	l->spin_ns_max = (uint64_t)cfg->spin_us_max * 1000;
	r = create_backend(l, cfg->force_epoll);
	if (r < 0)
		goto err_fini;
	r = mailbox_init(&l->mailbox);
	if (r < 0)
		goto err_backend;
	l->now_ns = l->ops->clock_ns(l);
	r = loop_poll_start(l, l->mailbox.event_fd, EPOLLIN, on_wake_event, NULL, &l->wake_poll);
	if (r < 0)
		goto err_mailbox;
	uint64_t seed[2];
	l->ops->random_bytes(l, seed, sizeof seed);
	loop_seed_rand(l, seed);
	worker_hold();
	*ret = l;
	return 0;

err_mailbox:
	mailbox_fini(&l->mailbox);
err_backend:
	l->ops->destroy(l);
err_fini:
	loop_fini(l);
err_free:
	free(l);
	return r;
}

void
loop_destroy(struct loop *l)
{
	if (!l)
		return;
	ASSERT(!l->sim);
	ASSERT(!l->running);
	worker_quiesce(l);
	worker_release();
	l->ops->destroy(l);
	mailbox_fini(&l->mailbox);
	loop_fini(l);
	free(l);
}

/* ---- the turn ---- */

/*
 * Few at first: their answers leave, and what comes for them is received and handed over, while the others
 * are worked on. A device that completes all that it had at once would wait for us otherwise, as we do for
 * it. Twice as many in each turn that follows: who has more to do than he can needs fewer turns.
 */
static void
run_ops(struct loop *l)
{
	for (uint32_t left = l->op_share; left > 0 && !list_empty(&l->op_done); left--) {
		struct loop_op *op =
		    container_of(list_pop_front(&l->op_done), struct loop_op, link);
		l->ops_busy--;
		l->ran = true;
		LOOP_STAT_ADD(l, ops);
		op->done(op, op->result);
	}
	if (list_empty(&l->op_done))
		l->op_share = OPS_FIRST;
	else if (l->op_share < OPS_MOST)
		l->op_share *= 2;
}

void
loop_run_ready(struct loop *l)
{
	/* Work left from before this turn's callbacks only: they may add to the list. */
	struct list ready;
	list_init(&ready);
	list_splice_back(&ready, &l->ready);
	for (struct list *n; (n = list_pop_front(&ready));) {
		struct loop_poll *p = container_of(n, struct loop_poll, ready);
		uint32_t events = p->events;
		p->events = 0;
		l->ran = true;
		p->fn(p, events);
	}
	/* Devices work while we look at what they have done. */
	if (!list_empty(&l->op_queue) && !list_empty(&l->op_done))
		l->ops->submit(l);
	run_ops(l);
}

void
loop_run_msgs(struct loop *l, struct loop_msg *first)
{
	while (first) {
		struct loop_msg *m = first;
		first = m->next;
		m->next = NULL;
		l->ran = true;
		LOOP_STAT_ADD(l, messages);
		m->run(m);
	}
}

void
loop_run_timers(struct loop *l)
{
	/* Timers set by the callbacks wait for the next turn, even with no delay. */
	uint64_t limit = l->timers.seq;
	for (struct loop_timer *t; (t = timer_heap_pop_due(&l->timers, l->now_ns, limit));) {
		l->ran = true;
		LOOP_STAT_ADD(l, timers_fired);
		t->fire(t);
	}
}

static void
run_defer(struct loop *l, struct list *n)
{
	struct loop_defer *d = container_of(n, struct loop_defer, link);
	l->ran = true;
	d->run(d);
}

void
loop_run_next_turn(struct loop *l)
{
	struct list now;
	list_init(&now);
	list_splice_back(&now, &l->next_turn);
	for (struct list *n; (n = list_pop_front(&now));)
		run_defer(l, n);
}

static struct loop_msg *
take_self_msgs(struct loop *l)
{
	struct loop_msg *first = l->self_first;
	l->self_first = l->self_last = NULL;
	return first;
}

static void
run_deferred(struct loop *l)
{
	for (unsigned n = 0; n < DEFERRED_PER_TURN_MAX; n++) {
		if (l->self_first)
			loop_run_msgs(l, take_self_msgs(l));
		struct list *d = list_pop_front(&l->deferred);
		if (d)
			run_defer(l, d);
		else if (!l->self_first)
			break;
	}
}

static void
run_hooks(struct loop *l)
{
	/* Each moves to the end before it runs: it and all others may be removed meanwhile. */
	struct list hooks;
	list_init(&hooks);
	list_splice_back(&hooks, &l->hooks);
	l->ran = false;
	for (struct list *n; (n = list_pop_front(&hooks));) {
		list_push_back(&l->hooks, n);
		struct loop_hook *h = container_of(n, struct loop_hook, link);
		h->run(h);
	}
}

static bool
has_deferred(const struct loop *l)
{
	return l->self_first || !list_empty(&l->deferred);
}

static bool
has_retries(const struct loop *l)
{
	return l->buf_returned && !list_empty(&l->bufwaits);
}

void
loop_turn_end(struct loop *l)
{
	for (unsigned round = 0; round < ROUNDS_PER_TURN_MAX; round++) {
		run_deferred(l);
		loop_run_bufwaits(l);
		if (has_deferred(l))
			run_deferred(l);
		if (!l->ran)
			break;
		run_hooks(l);
		if (!has_deferred(l) && !has_retries(l))
			break;
	}
	free_dead_polls(l);
}

bool
loop_has_work(const struct loop *l)
{
	return has_deferred(l) || has_retries(l) || l->ran || !list_empty(&l->next_turn) ||
	       !list_empty(&l->ready) || !list_empty(&l->op_done);
}

static void
turn(struct loop *l)
{
	LOOP_STAT_ADD(l, turns);
	l->ops->reap(l);
	uint64_t now_ns = l->ops->clock_ns(l);
	loop_note_turn(l, now_ns);
	l->now_ns = now_ns;
	l->in_turn = true;
	loop_run_ready(l);
	loop_run_msgs(l, mailbox_take(&l->mailbox));
	loop_run_timers(l);
	loop_run_next_turn(l);
	loop_turn_end(l);
}

/* ---- running ---- */

/* sched_setattr(2): C libraries before 2.41 don't declare it. */
struct thread_sched {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime_ns, deadline_ns, period_ns;
};
#define THREAD_SCHED_RESET_ON_FORK 1u

/*
 * Not for what it starts: helpers and children work at length. Nor where somebody has chosen a policy,
 * or a nice level.
 */
static void
want_priority(int nice)
{
	struct thread_sched a = {0};

	if (syscall(SYS_sched_getattr, 0, &a, sizeof a, 0) < 0 || a.policy != SCHED_OTHER)
		return;
	int own = a.nice;
	a.size = sizeof a;
	a.flags = THREAD_SCHED_RESET_ON_FORK;
	a.runtime_ns = SLICE_NS;
	a.nice = own == 0 ? nice : own;
	if (syscall(SYS_sched_setattr, 0, &a, 0) == 0 || a.nice == own)
		return;
	a.nice = own; /* not permitted */
	(void)syscall(SYS_sched_setattr, 0, &a, 0);
}

bool
loop_may_be_nice(int nice)
{
	struct thread_sched a = {0}, own;

	if (syscall(SYS_sched_getattr, 0, &a, sizeof a, 0) < 0 || a.policy != SCHED_OTHER)
		return false;
	a.size = sizeof a;
	own = a;
	a.nice = nice;
	if (syscall(SYS_sched_setattr, 0, &a, 0) < 0)
		return false;
	(void)syscall(SYS_sched_setattr, 0, &own, 0);
	return true;
}

void
loop_run(struct loop *l)
{
	ASSERT(!l->sim);
	ASSERT(!current);
	if (l->cpu >= 0) {
		cpu_set_t set;
		CPU_ZERO(&set);
		CPU_SET((unsigned)l->cpu, &set);
		/* Not ours to have under a narrower cpuset: then the loop runs unpinned. */
		(void)pthread_setaffinity_np(pthread_self(), sizeof set, &set);
	}
	want_priority(l->nice);
	l->running = true;
	current = l;
	l->ops->run_begin(l);
	for (;;) {
		turn(l);
		if (mailbox_stopping(&l->mailbox))
			break;
		if (loop_has_work(l))
			l->ops->submit(l);
		else
			loop_wait(l);
	}
	l->ops->submit(l);
	loop_note_turn(l, l->ops->clock_ns(l));
	l->ops->run_end(l);
	mailbox_clear_stop(&l->mailbox);
	current = NULL;
	l->running = false;
}

static void *
thread_main(void *arg)
{
	struct loop *l = arg;
	char name[16];
	snprintf(name, sizeof name, "loop-%u", l->id);
	pthread_setname_np(pthread_self(), name);
	loop_run(l);
	return NULL;
}

int
loop_start_thread(struct loop *l)
{
	ASSERT(!l->sim);
	ASSERT(!l->running);
	ASSERT(!l->has_thread);
	/* Signals are the main thread's business. */
	sigset_t all, old;
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	l->running = true;
	int r = pthread_create(&l->thread, NULL, thread_main, l);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r != 0) {
		l->running = false;
		return -r;
	}
	l->has_thread = true;
	return 0;
}

void
loop_join(struct loop *l)
{
	if (!l->has_thread)
		return;
	ASSERT(current != l);
	int r = pthread_join(l->thread, NULL);
	ASSERT(r == 0);
	l->has_thread = false;
}

void
loop_stop(struct loop *l)
{
	mailbox_stop(&l->mailbox);
}

uint64_t
loop_turn(const struct loop *l)
{
	return __atomic_load_n(&l->stats.turns, __ATOMIC_RELAXED);
}

unsigned
loop_id(const struct loop *l)
{
	return l->id;
}

struct loop *
loop_current(void)
{
	return current;
}

void
loop_set_current(struct loop *l)
{
	current = l;
}

bool
loop_is_uring(const struct loop *l)
{
	return l->ops == &loop_uring_ops;
}

void
loop_get_stats(const struct loop *l, struct loop_stats *ret)
{
#define GET(field) ret->field = __atomic_load_n(&l->stats.field, __ATOMIC_RELAXED)
	GET(turns);
	GET(sleeps);
	GET(spins_hit);
	GET(spins_missed);
	GET(messages);
	GET(timers_fired);
	GET(ops);
	GET(turn_max_ns);
#undef GET
}

/* ---- time and randomness ---- */

uint64_t
loop_now_ns(const struct loop *l)
{
	/* Before it runs the loop has no turns that would refresh it. */
	return l->running ? l->now_ns : l->ops->clock_ns(l);
}

uint64_t
loop_clock_ns(const struct loop *l)
{
	return l->ops->clock_ns(l);
}

int64_t
loop_wall_s(const struct loop *l)
{
	return l->ops->wall_s(l);
}

void
loop_seed_rand(struct loop *l, const uint64_t seed[2])
{
	l->rand_state[0] = seed[0];
	l->rand_state[1] = seed[1] | 1; /* not both zero */
}

uint64_t
loop_rand(struct loop *l)
{
	/* xorshift128+ */
	uint64_t a = l->rand_state[0], b = l->rand_state[1];
	l->rand_state[0] = b;
	a ^= a << 23;
	l->rand_state[1] = a ^ b ^ (a >> 17) ^ (b >> 26);
	return l->rand_state[1] + b;
}

void
loop_random_bytes(struct loop *l, void *buf, size_t len)
{
	l->ops->random_bytes(l, buf, len);
}

/* ---- work within a loop and between loops ---- */

void
loop_defer(struct loop *l, struct loop_defer *d)
{
	loop_assert_owner(l);
	ASSERT(list_empty(&d->link));
	list_push_back(&l->deferred, &d->link);
}

void
loop_defer_cancel(struct loop_defer *d)
{
	list_remove(&d->link);
}

void
loop_next_turn(struct loop *l, struct loop_defer *d)
{
	loop_assert_owner(l);
	ASSERT(list_empty(&d->link));
	list_push_back(&l->next_turn, &d->link);
}

void
loop_hook_add(struct loop *l, struct loop_hook *h)
{
	loop_assert_owner(l);
	list_push_back(&l->hooks, &h->link);
}

void
loop_hook_remove(struct loop_hook *h)
{
	list_remove(&h->link);
}

void
loop_send(struct loop *dst, struct loop_msg *m)
{
	ASSERT(m->run);
	if (dst != current) {
		dst->ops->send(dst, m);
		return;
	}
	m->next = NULL;
	if (dst->self_last)
		dst->self_last->next = m;
	else
		dst->self_first = m;
	dst->self_last = m;
}

void
loop_job_submit(struct loop *l, struct loop_job *j)
{
	loop_assert_owner(l);
	ASSERT(j->work);
	ASSERT(j->done);
	j->loop = l;
	l->ops->job_submit(l, j);
}
