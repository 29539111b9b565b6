/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The loop: look at the sockets, take what came, send what is due, again. With few sessions the
 * sockets are tried directly; with many, epoll tells which have something. It never sleeps while
 * commands are in flight, unless it was told to; idle mode only sleeps.
 */
#include "bench/iscsi_load.h"

#include "base/assert.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#define ENGINE_DIRECT_SESSIONS_MAX 4u
#define ENGINE_EVENTS_MAX 64u
#define ENGINE_TX_RETRY_NS 5000u
#define ENGINE_SLEEP_NS 1000000u
#define ENGINE_DRAIN_NS (10ull * 1000000000)

void
load_task_put(struct load_session *s, struct load_task *t)
{
	ASSERT(t->busy);
	ASSERT(s->engine->busy_count > 0);
	list_remove(&t->burst_link); /* An early error response may leave data unsent. */
	t->busy = false;
	t->generation = (uint16_t)((t->generation + 1) & 0x7fff); /* Never the reserved tag. */
	s->free_tasks[s->free_count++] = t->idx;
	s->engine->busy_count--;
}

void
load_session_fail(struct load_session *s)
{
	if (s->fd < 0)
		return;
	close(s->fd); /* epoll forgets it. */
	s->fd = -1;
	s->engine->alive_count--;
	for (uint32_t i = 0; i < s->engine->opt->depth; i++) {
		struct load_task *t = &s->tasks[i];
		if (!t->busy)
			continue;
		if (s->engine->verify)
			load_verify_done(s, t, false);
		load_task_put(s, t);
	}
}

static void
send_due(struct load_session *s)
{
	struct load_engine *e = s->engine;
	if (s->fd < 0)
		return;
	load_tx_fill(s);
	if (load_tx_empty(&s->tx) || e->now_ns < s->tx_retry_ns)
		return;
	int r = load_tx_flush(&s->tx, s->fd);
	if (r == -EAGAIN) {
		s->tx_retry_ns = e->now_ns + ENGINE_TX_RETRY_NS;
	} else if (r) {
		load_error(e, &e->errors.protocol, "session %u: send: %s", s->idx, strerror(-r));
		load_session_fail(s);
	}
}

static void
receive_and_send(struct load_session *s)
{
	if (s->fd >= 0 && !load_rx_pump(s))
		load_session_fail(s);
	send_due(s);
}

/* One look at everything. `wait_ns` is 0 except in idle mode and where it sleeps. */
static void
turn(struct load_engine *e, uint64_t wait_ns)
{
	const uint32_t count = e->opt->sessions;
	const struct timespec wait = {
	    .tv_sec = (time_t)(wait_ns / 1000000000), .tv_nsec = (long)(wait_ns % 1000000000)};
	e->now_ns = load_now_ns();
	if (count <= ENGINE_DIRECT_SESSIONS_MAX && wait_ns == 0) {
		for (uint32_t i = 0; i < count; i++)
			receive_and_send(&e->sessions[i]);
		return;
	}
	struct epoll_event events[ENGINE_EVENTS_MAX];
	int n = epoll_pwait2(e->epoll_fd, events, ENGINE_EVENTS_MAX, &wait, NULL);
	e->now_ns = load_now_ns();
	for (int i = 0; i < n; i++)
		receive_and_send(events[i].data.ptr);
	/* What is due without having received: first commands, paced ones, a full socket's rest. */
	for (uint32_t i = 0; i < count; i++) {
		struct load_session *s = &e->sessions[i];
		if (s->fd >= 0 && (s->free_count > 0 || !load_tx_empty(&s->tx)))
			send_due(s);
	}
}

/*
 * Until something may be due: a command that comes late because the sleep was too long would count as one
 * that took long.
 */
static uint64_t
sleep_ns(const struct load_engine *e)
{
	bool room = false;

	if (e->pace_interval_ns == 0)
		return ENGINE_SLEEP_NS;
	for (uint32_t i = 0; i < e->opt->sessions; i++)
		room |= e->sessions[i].fd >= 0 && e->sessions[i].free_count > 0;
	if (!room || e->pace_due_ns >= e->now_ns + ENGINE_SLEEP_NS)
		return ENGINE_SLEEP_NS;
	return e->pace_due_ns > e->now_ns ? e->pace_due_ns - e->now_ns : 0;
}

static void
run_for(struct load_engine *e, double seconds)
{
	uint64_t end_ns = load_now_ns() + (uint64_t)(seconds * 1e9);
	bool idle = e->opt->mode == LOAD_MODE_IDLE;
	do {
		uint64_t wait_ns = e->opt->sleep ? sleep_ns(e) : 0;
		if (idle && end_ns > e->now_ns)
			wait_ns = end_ns - e->now_ns;
		turn(e, wait_ns);
		if (e->opt->commands != 0 && e->begun >= e->opt->commands && e->busy_count == 0)
			break;
	} while (e->now_ns < end_ns && e->alive_count > 0);
}

static int
read_cpu(struct load_engine *e, struct proc_cpu *ret)
{
	if (!e->opt->target_pid)
		return 0;
	int r = proc_cpu_read(e->opt->target_pid, ret);
	if (r)
		load_error(e, &e->errors.protocol, "CPU time of the target: %s", strerror(-r));
	return r;
}

static int
measure(struct load_engine *e)
{
	int r = read_cpu(e, &e->cpu_before);
	if (r)
		return r;
	e->measure_start_ns = load_now_ns();
	e->measuring = true;
	run_for(e, e->opt->seconds);
	e->measuring = false;
	e->measured_ns = load_now_ns() - e->measure_start_ns;
	r = read_cpu(e, &e->cpu_after);
	if (r || !e->opt->target_pid)
		return r;
	e->cpu_ns = proc_cpu_delta(&e->cpu_after, &e->cpu_before);
	e->has_cpu = true;
	return 0;
}

/* Lets what is in flight end; in verify mode reads everything back first. */
static int
drain(struct load_engine *e)
{
	if (e->verify) {
		uint64_t checked_blocks = load_verify_checked_blocks(e);
		uint64_t stuck_ns = load_now_ns() + ENGINE_DRAIN_NS;
		while (!load_verify_finish(e) && e->alive_count > 0) {
			turn(e, 0);
			if (checked_blocks != load_verify_checked_blocks(e)) {
				checked_blocks = load_verify_checked_blocks(e);
				stuck_ns = e->now_ns + ENGINE_DRAIN_NS;
			}
			if (e->now_ns > stuck_ns)
				return -ETIMEDOUT;
		}
	}
	e->issuing = false;
	uint64_t end_ns = load_now_ns() + ENGINE_DRAIN_NS;
	while (e->busy_count > 0) {
		turn(e, 0);
		if (e->now_ns > end_ns)
			return -ETIMEDOUT;
	}
	return 0;
}

static int
watch(struct load_engine *e)
{
	for (uint32_t i = 0; i < e->opt->sessions; i++) {
		struct load_session *s = &e->sessions[i];
		struct epoll_event ev = {.events = EPOLLIN, .data.ptr = s};
		if (epoll_ctl(e->epoll_fd, EPOLL_CTL_ADD, s->fd, &ev))
			return -errno;
	}
	return 0;
}

int
load_engine_run(struct load_engine *e)
{
	int r = watch(e);
	if (r)
		return r;
	if (e->opt->sleep)
		(void)prctl(PR_SET_TIMERSLACK, 1ul); /* ns; 50 us otherwise */
	e->now_ns = load_now_ns();
	e->issuing = e->opt->mode != LOAD_MODE_IDLE;
	if (e->opt->pace_iops) {
		e->pace_interval_ns = 1000000000 / e->opt->pace_iops;
		e->pace_due_ns = e->now_ns;
	}
	if (e->opt->mode != LOAD_MODE_VERIFY)
		run_for(e, e->opt->warmup_seconds);
	r = measure(e);
	if (r)
		return r;
	r = drain(e);
	if (r == -ETIMEDOUT)
		load_error(e, &e->errors.protocol, "%llu commands did not end within 10 s",
		    (unsigned long long)e->busy_count);
	const struct load_errors *x = &e->errors;
	return r || x->status || x->protocol || x->data ? -EIO : 0;
}
