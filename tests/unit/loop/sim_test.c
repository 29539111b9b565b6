/* SPDX-License-Identifier: BSD-2-Clause */
/* The simulated world: determinism, order, sockets, time. */
#include "tests/cmocka_all.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "loop/loop.h"

#define MS 1000000ull

static struct loop_sim *
make_world(uint64_t seed, unsigned loops)
{
	const struct loop_sim_cfg cfg = {
	    .seed = seed,
	    .loops = loops,
	    .buf_bytes = 1 << 20,
	    .net_delay_us_max = 200,
	    .op_delay_us_max = 500,
	    .net_chunk_max_bytes = 3000,
	};
	struct loop_sim *w;
	assert_int_equal(loop_sim_create(&cfg, &w), 0);
	return w;
}

static struct sockaddr_in
addr_of(uint16_t port)
{
	return (struct sockaddr_in){
	    .sin_family = AF_INET,
	    .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	    .sin_port = htons(port),
	};
}

/* ---- an echo between two loops, as a load for the other tests ---- */

struct echo_world {
	struct loop_sim *w;
	struct loop *server, *client;
	struct sock_listener *sl;
	struct sock *ss, *cs;
	size_t total, sent, got;
	uint8_t echo_buf[5000];
	size_t have, echoed;
	bool finished, server_closed;
	int server_end, client_end; /* what ended the connection: 0 or -errno */
};

static uint8_t
byte_at(size_t i)
{
	return (uint8_t)(i * 31 + (i >> 8));
}

static void
server_end_at(struct echo_world *e, int why)
{
	sock_close(e->ss);
	e->ss = NULL;
	e->server_end = why;
	e->server_closed = true;
}

static void
server_event(void *ctx, unsigned events)
{
	(void)events;
	struct echo_world *e = ctx;
	for (;;) {
		while (e->echoed < e->have) {
			struct iovec iov = {e->echo_buf + e->echoed, e->have - e->echoed};
			ssize_t n = sock_send(e->ss, &iov, 1);
			if (n == -EAGAIN)
				return;
			if (n < 0) {
				server_end_at(e, (int)n);
				return;
			}
			e->echoed += (size_t)n;
		}
		e->have = e->echoed = 0;
		struct iovec iov[2] = {{e->echo_buf, 7}, {e->echo_buf + 7, sizeof e->echo_buf - 7}};
		ssize_t n = sock_recv(e->ss, iov, 2);
		if (n == -EAGAIN)
			return;
		if (n <= 0) {
			server_end_at(e, (int)n);
			return;
		}
		e->have = (size_t)n;
	}
}

static void
server_accept(void *ctx, struct sock *s)
{
	struct echo_world *e = ctx;
	assert_true(loop_is_current(e->server));
	e->ss = s;
	sock_set_callback(s, server_event, e);
}

static void
client_event(void *ctx, unsigned events)
{
	(void)events;
	struct echo_world *e = ctx;
	assert_true(loop_is_current(e->client));
	uint8_t buf[4000];
	while (e->sent < e->total) {
		size_t want = e->total - e->sent < sizeof buf ? e->total - e->sent : sizeof buf;
		for (size_t i = 0; i < want; i++)
			buf[i] = byte_at(e->sent + i);
		struct iovec iov = {buf, want};
		ssize_t n = sock_send(e->cs, &iov, 1);
		if (n < 0)
			break;
		e->sent += (size_t)n;
	}
	for (;;) {
		struct iovec iov = {buf, sizeof buf};
		ssize_t n = sock_recv(e->cs, &iov, 1);
		if (n == -EAGAIN)
			return;
		if (n > 0) {
			for (ssize_t i = 0; i < n; i++)
				assert_int_equal(buf[i], byte_at(e->got + (size_t)i));
			e->got += (size_t)n;
			if (e->got < e->total)
				continue;
		}
		e->client_end = (int)(n > 0 ? 0 : n);
		e->finished = true;
		sock_close(e->cs);
		e->cs = NULL;
		return;
	}
}

static void
listen_now(void *ctx)
{
	struct echo_world *e = ctx;
	struct sockaddr_in a = addr_of(3260);
	assert_int_equal(
	    sock_listen(e->server, (struct sockaddr *)&a, sizeof a, server_accept, e, &e->sl), 0);
}

static void
connect_now(void *ctx)
{
	struct echo_world *e = ctx;
	struct sockaddr_in a = addr_of(3260);
	assert_int_equal(sock_connect(e->client, (struct sockaddr *)&a, sizeof a, &e->cs), 0);
	sock_set_callback(e->cs, client_event, e);
}

static void
close_listener(void *ctx)
{
	struct echo_world *e = ctx;
	sock_listener_close(e->sl);
}

static void
echo_begin(struct echo_world *e, uint64_t seed, size_t total)
{
	*e = (struct echo_world){.w = make_world(seed, 2), .total = total};
	e->server = loop_sim_loop(e->w, 0);
	e->client = loop_sim_loop(e->w, 1);
	loop_sim_call(e->server, listen_now, e);
	loop_sim_call(e->client, connect_now, e);
}

static uint64_t
echo_hash(uint64_t seed)
{
	struct echo_world e;
	echo_begin(&e, seed, 1000000);
	loop_sim_run(e.w, UINT64_MAX, 1000000);
	assert_true(e.finished && e.server_closed);
	assert_int_equal(e.got, e.total);
	assert_int_equal(e.server_end, 0);
	assert_int_equal(e.client_end, 0);
	loop_sim_call(e.server, close_listener, &e);
	assert_false(loop_sim_step(e.w));
	uint64_t h = loop_sim_trace_hash(e.w);
	loop_sim_destroy(e.w);
	return h;
}

static void
bytes_cross_whole_in_small_pieces(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 20; seed++)
		echo_hash(seed);
}

static void
equal_seeds_give_equal_traces(void **state)
{
	(void)state;
	assert_true(echo_hash(5) == echo_hash(5));
	assert_true(echo_hash(6) == echo_hash(6));
	assert_true(echo_hash(5) != echo_hash(6));
}

static void
reset_reaches_both_ends(void **state)
{
	(void)state;
	struct echo_world e;
	echo_begin(&e, 9, 1 << 30);
	loop_sim_run(e.w, UINT64_MAX, 3000);
	assert_non_null(e.cs);
	loop_sim_sock_reset(e.cs);
	loop_sim_run(e.w, UINT64_MAX, 100000);
	assert_true(e.finished && e.server_closed);
	assert_int_equal(e.client_end, -ECONNRESET);
	assert_true(e.server_end == -ECONNRESET || e.server_end == -EPIPE);
	loop_sim_call(e.server, close_listener, &e);
	loop_sim_destroy(e.w);
}

static void
world_ends_with_connections_open(void **state)
{
	(void)state;
	struct echo_world e;
	echo_begin(&e, 11, 1 << 30);
	loop_sim_run(e.w, UINT64_MAX, 5000);
	assert_false(e.finished);
	loop_sim_destroy(e.w);
}

static int refused;

static void
on_refused(void *ctx, unsigned events)
{
	struct sock **s = ctx;
	assert_true(events & LOOP_HANGUP);
	refused = sock_error(*s);
	sock_close(*s);
}

static struct sock *lonely;

static void
connect_nowhere(void *ctx)
{
	struct sockaddr_in a = addr_of(1);
	assert_int_equal(sock_connect(ctx, (struct sockaddr *)&a, sizeof a, &lonely), 0);
	sock_set_callback(lonely, on_refused, &lonely);
}

static void
connecting_to_nobody_is_refused(void **state)
{
	(void)state;
	struct loop_sim *w = make_world(1, 1);
	refused = 0;
	loop_sim_call(loop_sim_loop(w, 0), connect_nowhere, loop_sim_loop(w, 0));
	loop_sim_run(w, UINT64_MAX, 100);
	assert_int_equal(refused, -ECONNREFUSED);
	loop_sim_destroy(w);
}

/* ---- messages ---- */

#define MSGS 200

struct sim_msg {
	struct loop_msg m;
	unsigned from, n;
};

static struct {
	struct loop *to;
	struct loop *from[3];
	struct sim_msg msg[3][MSGS];
	unsigned next[3], switches, last_from;
} mx;

static void
on_sim_msg(struct loop_msg *m)
{
	struct sim_msg *x = container_of(m, struct sim_msg, m);
	assert_true(loop_is_current(mx.to));
	assert_int_equal(x->n, mx.next[x->from]);
	mx.next[x->from]++;
	mx.switches += x->from != mx.last_from;
	mx.last_from = x->from;
}

static void
send_all(void *ctx)
{
	unsigned from = (unsigned)(uintptr_t)ctx;
	for (unsigned n = 0; n < MSGS; n++) {
		mx.msg[from][n] = (struct sim_msg){.m.run = on_sim_msg, .from = from, .n = n};
		loop_send(mx.to, &mx.msg[from][n].m);
	}
}

static void
messages_keep_order_per_pair_and_mix_between_pairs(void **state)
{
	(void)state;
	struct loop_sim *w = make_world(77, 4);
	memset(&mx, 0, sizeof mx);
	mx.to = loop_sim_loop(w, 3);
	for (unsigned i = 0; i < 3; i++)
		loop_sim_call(loop_sim_loop(w, i), send_all, (void *)(uintptr_t)i);
	loop_sim_run(w, UINT64_MAX, 100000);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(mx.next[i], MSGS);
	assert_in_range(mx.switches, 3, 3 * MSGS);
	loop_sim_destroy(w);
}

/* ---- time ---- */

static uint64_t fired_at[2];

static void
on_timer(struct loop_timer *t)
{
	assert_true(loop_now_ns(t->loop) >= t->deadline_ns);
	assert_true(loop_now_ns(t->loop) < t->deadline_ns + MS);
	fired_at[loop_id(t->loop)] = t->deadline_ns;
}

static void
time_jumps_to_the_next_timer(void **state)
{
	(void)state;
	struct loop_sim *w = make_world(3, 2);
	struct loop_timer t[2];
	fired_at[0] = fired_at[1] = 0;
	uint64_t start = loop_sim_now_ns(w);
	for (unsigned i = 0; i < 2; i++) {
		loop_timer_init(&t[i], loop_sim_loop(w, i), on_timer);
		loop_timer_set(&t[i], (i + 1) * 3600000 * MS);
	}
	loop_sim_run(w, start + 5400000 * MS, 1000);
	assert_true(fired_at[0] == start + 3600000 * MS);
	assert_true(fired_at[1] == 0);
	assert_true(loop_sim_now_ns(w) == start + 5400000 * MS);
	assert_int_equal(loop_sim_run(w, UINT64_MAX, 1000), 1);
	assert_true(fired_at[1] == start + 7200000 * MS);
	loop_sim_destroy(w);
}

static struct loop_defer forever;
static unsigned forever_count;

static void
run_forever(struct loop_defer *d)
{
	forever_count++;
	loop_next_turn(loop_current(), d);
}

static void
start_forever(void *ctx)
{
	(void)ctx;
	loop_defer_init(&forever, run_forever);
	loop_next_turn(loop_current(), &forever);
}

static void
endless_work_of_one_loop_lets_others_go_on(void **state)
{
	(void)state;
	struct loop_sim *w = make_world(3, 2);
	struct loop_timer t;
	fired_at[1] = 0;
	loop_timer_init(&t, loop_sim_loop(w, 1), on_timer);
	loop_timer_set(&t, MS);
	forever_count = 0;
	loop_sim_call(loop_sim_loop(w, 0), start_forever, NULL);
	loop_sim_run(w, UINT64_MAX, 20000);
	assert_int_not_equal(fired_at[1], 0);
	assert_in_range(forever_count, 100, 20000);
	loop_sim_destroy(w);
}

/* ---- files and jobs ---- */

static unsigned ended;

static void
on_op(struct loop_op *op, int result)
{
	assert_int_equal(result, 5);
	assert_true(loop_is_current(op->loop));
	ended++;
}

static int
work(struct loop_job *j)
{
	(void)j;
	assert_null(loop_current());
	return -7;
}

static void
on_job(struct loop_job *j, int result)
{
	assert_int_equal(result, -7);
	assert_true(loop_is_current(j->loop));
	ended++;
}

static struct loop_op file_op[2];
static struct loop_job a_job = {.work = work, .done = on_job};
static char out_bytes[] = "bytes", in_bytes[6];
static struct iovec file_iov[2] = {{out_bytes, 5}, {in_bytes, 5}};

static void
submit_ops(void *ctx)
{
	int fd = *(int *)ctx;
	struct loop *l = loop_current();
	for (unsigned i = 0; i < 2; i++) {
		file_op[i] = (struct loop_op){.op = i ? LOOP_FILE_READV : LOOP_FILE_WRITEV,
		    .fd = fd,
		    .iov = &file_iov[i],
		    .iovcnt = 1,
		    .done = on_op};
		loop_file_submit(l, &file_op[i]);
	}
	loop_job_submit(l, &a_job);
	assert_int_equal(ended, 0);
}

static void
files_and_jobs_end_later(void **state)
{
	(void)state;
	struct loop_sim *w = make_world(3, 1);
	char path[] = "/tmp/terrace-sim-XXXXXX";
	int fd = mkostemp(path, O_CLOEXEC);
	assert_true(fd >= 0);
	unlink(path);
	ended = 0;
	loop_sim_call(loop_sim_loop(w, 0), submit_ops, &fd);
	assert_int_equal(ended, 0);
	loop_sim_run(w, UINT64_MAX, 100);
	assert_int_equal(ended, 3);
	assert_string_equal(in_bytes, "bytes");
	close(fd);
	loop_sim_destroy(w);
}

static void
random_bytes_come_from_the_seed(void **state)
{
	(void)state;
	uint8_t b[3][16];
	uint64_t r[3];
	static const uint64_t seeds[3] = {1, 1, 2};
	for (unsigned i = 0; i < 3; i++) {
		struct loop_sim *w = make_world(seeds[i], 1);
		loop_random_bytes(loop_sim_loop(w, 0), b[i], 16);
		r[i] = loop_rand(loop_sim_loop(w, 0));
		loop_sim_destroy(w);
	}
	assert_memory_equal(b[0], b[1], 16);
	assert_memory_not_equal(b[0], b[2], 16);
	assert_true(r[0] == r[1] && r[0] != r[2]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(bytes_cross_whole_in_small_pieces),
	    cmocka_unit_test(equal_seeds_give_equal_traces),
	    cmocka_unit_test(reset_reaches_both_ends),
	    cmocka_unit_test(world_ends_with_connections_open),
	    cmocka_unit_test(connecting_to_nobody_is_refused),
	    cmocka_unit_test(messages_keep_order_per_pair_and_mix_between_pairs),
	    cmocka_unit_test(time_jumps_to_the_next_timer),
	    cmocka_unit_test(endless_work_of_one_loop_lets_others_go_on),
	    cmocka_unit_test(files_and_jobs_end_later),
	    cmocka_unit_test(random_bytes_come_from_the_seed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
