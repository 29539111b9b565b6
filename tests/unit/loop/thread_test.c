/* SPDX-License-Identifier: BSD-2-Clause */
/* Loops on threads of their own: messages, jobs, stopping, moving sockets. */
#include "loop_fixture.h"

#include <errno.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* ---- messages ---- */

#define MSGS 20000u

struct numbered {
	struct loop_msg m;
	uint32_t n;
};

struct receiver {
	uint32_t next[2];
	unsigned done;
};

static struct receiver rx;
static struct loop *home;
static struct numbered burst[2][MSGS];

static void
on_numbered(struct loop_msg *m)
{
	struct numbered *x = container_of(m, struct numbered, m);
	unsigned from = x >= burst[1];
	assert_true(loop_is_current(home));
	assert_int_equal(x->n, rx.next[from]);
	if (++rx.next[from] == MSGS && ++rx.done == 2)
		loop_stop(home);
}

struct sender {
	struct loop_msg start;
	struct loop *l;
	unsigned id;
	uint32_t sent;
	struct loop_defer more;
};

static void
send_some(struct loop_defer *d)
{
	struct sender *s = container_of(d, struct sender, more);
	for (unsigned i = 0; i < 64 && s->sent < MSGS; i++) {
		struct numbered *x = &burst[s->id][s->sent];
		*x = (struct numbered){.m.run = on_numbered, .n = s->sent++};
		loop_send(home, &x->m);
	}
	if (s->sent < MSGS)
		loop_next_turn(s->l, d);
}

static void
on_start(struct loop_msg *m)
{
	struct sender *s = container_of(m, struct sender, start);
	loop_defer_init(&s->more, send_some);
	loop_defer(s->l, &s->more);
}

static void
messages_of_each_loop_arrive_in_order(void **state)
{
	struct fixture *f = *state;
	home = f->l;
	rx = (struct receiver){.done = 0};
	struct sender s[2];
	for (unsigned i = 0; i < 2; i++) {
		s[i] = (struct sender){.start.run = on_start, .l = make_loop(i + 1, 20), .id = i};
		assert_int_equal(loop_start_thread(s[i].l), 0);
		loop_send(s[i].l, &s[i].start);
	}
	fixture_run(f);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(rx.next[i], MSGS);
		loop_stop(s[i].l);
		loop_join(s[i].l);
		loop_destroy(s[i].l);
	}
}

/* One message back and forth: each hop finds the other asleep or spinning. */
struct ball {
	struct loop_msg m;
	struct loop *side[2];
	unsigned at, hops;
};

static void
on_ball(struct loop_msg *m)
{
	struct ball *b = container_of(m, struct ball, m);
	assert_true(loop_is_current(b->side[b->at]));
	if (++b->hops == 2000) {
		loop_stop(b->side[0]);
		return;
	}
	b->at ^= 1;
	loop_send(b->side[b->at], m);
}

static void
ping_pong(struct fixture *f, uint32_t spin_us)
{
	struct ball b = {.m.run = on_ball, .side = {f->l, make_loop(1, spin_us)}};
	assert_int_equal(loop_start_thread(b.side[1]), 0);
	loop_send(b.side[0], &b.m);
	fixture_run(f);
	loop_stop(b.side[1]);
	loop_join(b.side[1]);
	loop_destroy(b.side[1]);
	assert_int_equal(b.hops, 2000);
}

static void
sleeping_loop_is_woken_by_a_message(void **state)
{
	ping_pong(*state, 0);
}

static void
spinning_loop_sees_a_message(void **state)
{
	ping_pong(*state, 50);
}

/* ---- messages to itself ---- */

static char order[16];

static void
on_self(struct loop_msg *m)
{
	(void)m;
	strcat(order, "m");
	struct loop_stats st;
	loop_get_stats(home, &st);
	assert_int_equal(st.turns, 1);
	loop_stop(home);
}

static struct loop_msg self_msg = {.run = on_self};

static void
send_to_self(struct loop_defer *d)
{
	(void)d;
	loop_send(home, &self_msg);
	strcat(order, "s");
}

static void
message_to_itself_comes_later_in_the_turn(void **state)
{
	struct fixture *f = *state;
	home = f->l;
	order[0] = '\0';
	struct loop_defer d;
	loop_defer_init(&d, send_to_self);
	loop_defer(f->l, &d);
	fixture_run(f);
	assert_string_equal(order, "sm");
}

static void
stop_before_run_ends_after_one_turn(void **state)
{
	struct fixture *f = *state;
	loop_stop(f->l);
	fixture_run(f);
	struct loop_stats st;
	loop_get_stats(f->l, &st);
	assert_int_equal(st.turns, 1);
}

/* ---- jobs ---- */

#define JOBS 40

struct job {
	struct loop_job j;
	pthread_t worked_on;
	int n;
};

static unsigned jobs_done;

static int
job_work(struct loop_job *j)
{
	struct job *x = container_of(j, struct job, j);
	x->worked_on = pthread_self();
	assert_null(loop_current());
	nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
	return -x->n;
}

static void
job_done(struct loop_job *j, int result)
{
	struct job *x = container_of(j, struct job, j);
	assert_int_equal(result, -x->n);
	assert_true(loop_is_current(home));
	assert_false(pthread_equal(x->worked_on, pthread_self()));
	if (++jobs_done == JOBS)
		loop_stop(home);
}

static void
jobs_work_on_helpers_and_end_on_the_loop(void **state)
{
	struct fixture *f = *state;
	home = f->l;
	jobs_done = 0;
	static struct job jobs[JOBS];
	for (int i = 0; i < JOBS; i++) {
		jobs[i] = (struct job){.j = {.work = job_work, .done = job_done}, .n = i};
		loop_job_submit(f->l, &jobs[i].j);
	}
	fixture_run(f);
	assert_int_equal(jobs_done, JOBS);
}

/* ---- moving a socket ---- */

struct mover {
	struct loop_msg m;
	struct sock *s;
	struct loop *to;
	int fd;
};

static void
on_moved_readable(void *ctx, unsigned events)
{
	struct mover *mv = ctx;
	if (!(events & LOOP_READABLE))
		return;
	char b[8];
	struct iovec iov = {b, sizeof b};
	ssize_t n = sock_recv(mv->s, &iov, 1);
	if (n == -EAGAIN)
		return;
	assert_int_equal(n, 2);
	assert_true(loop_is_current(mv->to));
	sock_close(mv->s);
	loop_stop(home);
}

static void
on_arrival(struct loop_msg *m)
{
	struct mover *mv = container_of(m, struct mover, m);
	sock_attach(mv->s, mv->to);
	sock_set_callback(mv->s, on_moved_readable, mv);
}

static void
on_first_readable(void *ctx, unsigned events)
{
	struct mover *mv = ctx;
	if (!(events & LOOP_READABLE))
		return;
	assert_true(loop_is_current(home));
	sock_detach(mv->s);
	loop_send(mv->to, &mv->m);
}

static void
socket_moves_with_its_unread_bytes(void **state)
{
	struct fixture *f = *state;
	home = f->l;
	int fd[2];
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
	struct mover mv = {.m.run = on_arrival, .to = make_loop(1, 0)};
	assert_int_equal(sock_from_fd(f->l, fd[0], &mv.s), 0);
	sock_set_callback(mv.s, on_first_readable, &mv);
	assert_int_equal(loop_start_thread(mv.to), 0);
	assert_int_equal(write(fd[1], "hi", 2), 2);
	fixture_run(f);
	loop_stop(mv.to);
	loop_join(mv.to);
	loop_destroy(mv.to);
	close(fd[1]);
}

static void
counters_can_be_read_from_elsewhere(void **state)
{
	(void)state;
	struct loop *other = make_loop(1, 0);
	struct loop_stats st;
	const struct timespec pause = {.tv_nsec = 1000000};
	assert_int_equal(loop_start_thread(other), 0);
	loop_get_stats(other, &st);
	for (unsigned i = 0; st.sleeps == 0 && i < 10000; i++) {
		nanosleep(&pause, NULL);
		loop_get_stats(other, &st);
	}
	assert_true(st.sleeps > 0);
	assert_true(st.turns >= st.sleeps);
	loop_stop(other);
	loop_join(other);
	loop_destroy(other);
}

/* The nice level of a loop's thread, and of a thread that it started. */
struct levels {
	struct loop_msg msg;
	struct loop_job job;
	struct loop *l, *home;
	int of_loop, of_helper;
};

static void
on_levels(struct loop_msg *m)
{
	loop_stop(container_of(m, struct levels, msg)->home);
}

static int
helper_level(struct loop_job *j)
{
	container_of(j, struct levels, job)->of_helper = getpriority(PRIO_PROCESS, 0);
	return 0;
}

static void
helper_done(struct loop_job *j, int result)
{
	struct levels *x = container_of(j, struct levels, job);
	(void)result;
	x->msg.run = on_levels;
	loop_send(x->home, &x->msg);
}

static void
look_at_levels(struct loop_msg *m)
{
	struct levels *x = container_of(m, struct levels, msg);
	x->of_loop = getpriority(PRIO_PROCESS, 0);
	x->job = (struct loop_job){.work = helper_level, .done = helper_done};
	loop_job_submit(x->l, &x->job);
}

static void
a_loop_has_the_level_it_may_have(void **state)
{
	struct fixture *f = *state;
	const int own = getpriority(PRIO_PROCESS, 0), wanted[] = {-5, 5};
	for (unsigned i = 0; i < 2; i++) {
		struct levels x = {.msg.run = look_at_levels, .home = f->l};
		struct loop_cfg cfg;
		loop_cfg_default(&cfg);
		cfg.id = 1;
		cfg.nice = wanted[i];
		assert_int_equal(loop_create(&cfg, &x.l), 0);
		bool may = loop_may_be_nice(wanted[i]);
		assert_true(may || wanted[i] < own);
		assert_int_equal(getpriority(PRIO_PROCESS, 0), own);
		assert_int_equal(loop_start_thread(x.l), 0);
		loop_send(x.l, &x.msg);
		fixture_run(f);
		assert_int_equal(x.of_loop, own == 0 && may ? wanted[i] : own);
		assert_true(x.of_helper >= 0 || own < 0);
		loop_stop(x.l);
		loop_join(x.l);
		loop_destroy(x.l);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    LOOP_TEST(messages_of_each_loop_arrive_in_order),
	    LOOP_TEST(sleeping_loop_is_woken_by_a_message),
	    LOOP_TEST(spinning_loop_sees_a_message),
	    LOOP_TEST(message_to_itself_comes_later_in_the_turn),
	    LOOP_TEST(stop_before_run_ends_after_one_turn),
	    LOOP_TEST(jobs_work_on_helpers_and_end_on_the_loop),
	    LOOP_TEST(socket_moves_with_its_unread_bytes),
	    LOOP_TEST(counters_can_be_read_from_elsewhere),
	    LOOP_TEST(a_loop_has_the_level_it_may_have),
	};
	return RUN_ON_BOTH_BACKENDS(tests);
}
