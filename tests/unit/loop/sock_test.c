/* SPDX-License-Identifier: BSD-2-Clause */
/* Sockets over loopback on both backends of the kernel. */
#include "loop_fixture.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/un.h>
#include <unistd.h>

static struct fixture *fx;
static struct sock_listener *listener;

/* ---- a server that echoes, and clients that check ---- */

#define ECHO_BUF 65536

struct echo {
	struct sock *s;
	char buf[ECHO_BUF];
	size_t have, sent;
	bool eof;
};

static unsigned echo_open;

static void
echo_close(struct echo *e)
{
	sock_close(e->s);
	free(e);
	echo_open--;
}

static void
echo_event(void *ctx, unsigned events)
{
	(void)events;
	struct echo *e = ctx;
	for (;;) {
		while (e->sent < e->have) {
			struct iovec iov = {e->buf + e->sent, e->have - e->sent};
			ssize_t n = sock_send(e->s, &iov, 1);
			if (n == -EAGAIN)
				return;
			if (n < 0) {
				echo_close(e);
				return;
			}
			e->sent += (size_t)n;
		}
		e->have = e->sent = 0;
		struct iovec iov = {e->buf, sizeof e->buf};
		ssize_t n = sock_recv(e->s, &iov, 1);
		if (n == -EAGAIN)
			return;
		if (n <= 0) {
			echo_close(e);
			return;
		}
		e->have = (size_t)n;
	}
}

static void
echo_accept(void *ctx, struct sock *s)
{
	(void)ctx;
	struct echo *e = calloc(1, sizeof *e);
	assert_non_null(e);
	e->s = s;
	echo_open++;
	sock_set_callback(s, echo_event, e);
}

struct client {
	struct sock *s;
	size_t total, sent, got;
	uint32_t tx_rand, rx_rand;
	unsigned connected;
};

static unsigned clients_left;

static uint8_t
next_byte(uint32_t *x)
{
	*x = *x * 1664525u + 1013904223u;
	return (uint8_t)(*x >> 24);
}

static void
client_recv(struct client *c)
{
	uint8_t buf[30000];
	while (c->s) {
		struct iovec iov[2] = {{buf, 100}, {buf + 100, sizeof buf - 100}};
		ssize_t n = sock_recv(c->s, iov, 2);
		if (n == -EAGAIN)
			return;
		assert_true(n > 0);
		for (ssize_t i = 0; i < n; i++)
			assert_int_equal(buf[i], next_byte(&c->rx_rand));
		c->got += (size_t)n;
		if (c->got == c->total) {
			sock_close(c->s);
			c->s = NULL;
			if (--clients_left == 0)
				loop_stop(fx->l);
		}
	}
}

static void
client_send(struct client *c)
{
	uint8_t buf[100000];
	while (c->s && c->sent < c->total) {
		size_t want = c->total - c->sent < sizeof buf ? c->total - c->sent : sizeof buf;
		uint32_t x = c->tx_rand;
		for (size_t i = 0; i < want; i++)
			buf[i] = next_byte(&x);
		struct iovec iov = {buf, want};
		ssize_t n = sock_send(c->s, &iov, 1);
		if (n == -EAGAIN)
			return;
		assert_true(n > 0);
		for (ssize_t i = 0; i < n; i++)
			next_byte(&c->tx_rand);
		c->sent += (size_t)n;
	}
}

static void
client_event(void *ctx, unsigned events)
{
	struct client *c = ctx;
	if (!c->connected) {
		assert_int_equal(sock_error(c->s), 0);
		c->connected = 1;
	}
	if (events & LOOP_WRITABLE)
		client_send(c);
	if (events & LOOP_READABLE)
		client_recv(c);
}

static void
client_start(struct client *c, const struct sockaddr_storage *addr, size_t total, uint32_t seed)
{
	*c = (struct client){.total = total, .tx_rand = seed, .rx_rand = seed};
	socklen_t len = addr->ss_family == AF_INET    ? sizeof(struct sockaddr_in)
	                : addr->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6)
	                                              : sizeof(struct sockaddr_un);
	assert_int_equal(sock_connect(fx->l, (const struct sockaddr *)addr, len, &c->s), 0);
	sock_set_callback(c->s, client_event, c);
	clients_left++;
}

static struct sockaddr_storage
listen_on_loopback(sock_accept_fn *accepted)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	assert_int_equal(
	    sock_listen(fx->l, (struct sockaddr *)&a, sizeof a, accepted, fx, &listener), 0);
	struct sockaddr_storage ss;
	sock_listener_addr(listener, &ss);
	assert_int_not_equal(((struct sockaddr_in *)&ss)->sin_port, 0);
	return ss;
}

static void
stop_at(struct loop_timer *t)
{
	loop_stop(t->loop);
}

/* Lets the server see what the clients did last. */
static void
settle(void)
{
	struct loop_timer t;
	loop_timer_init(&t, fx->l, stop_at);
	for (unsigned i = 0; i < 200 && echo_open > 0; i++) {
		loop_timer_set(&t, 5 * MS);
		fixture_run(fx);
	}
	assert_int_equal(echo_open, 0);
}

static void
bytes_come_back_whole_though_sends_are_partial(void **state)
{
	fx = *state;
	struct sockaddr_storage a = listen_on_loopback(echo_accept);
	struct client c;
	client_start(&c, &a, (size_t)8 << 20, 7);
	sock_set_buffers(c.s, 20000, 20000);
	fixture_run(fx);
	assert_int_equal(c.got, c.total);
	settle();
	sock_listener_close(listener);
}

static void
many_connections_are_served(void **state)
{
	fx = *state;
	struct sockaddr_storage a = listen_on_loopback(echo_accept);
	static struct client c[300];
	for (unsigned i = 0; i < 300; i++)
		client_start(&c[i], &a, 1 + i * 37u, i + 1);
	fixture_run(fx);
	for (unsigned i = 0; i < 300; i++)
		assert_int_equal(c[i].got, c[i].total);
	settle();
	sock_listener_close(listener);
}

static void
ipv6_and_unix_work_too(void **state)
{
	fx = *state;
	struct sockaddr_in6 a6 = {.sin6_family = AF_INET6, .sin6_addr = in6addr_loopback};
	struct sock_listener *l6 = NULL, *lu;
	int r = sock_listen(fx->l, (struct sockaddr *)&a6, sizeof a6, echo_accept, NULL, &l6);
	struct client c6, cu;
	struct sockaddr_storage ss;
	if (r == 0) { /* a machine may have no IPv6 */
		sock_listener_addr(l6, &ss);
		client_start(&c6, &ss, 1000, 3);
	}
	struct sockaddr_un au = {.sun_family = AF_UNIX};
	snprintf(au.sun_path, sizeof au.sun_path, "/tmp/terrace-test-%d.sock", (int)getpid());
	unlink(au.sun_path);
	assert_int_equal(
	    sock_listen(fx->l, (struct sockaddr *)&au, sizeof au, echo_accept, NULL, &lu), 0);
	memcpy(&ss, &au, sizeof au);
	client_start(&cu, &ss, 500000, 4);
	fixture_run(fx);
	settle();
	sock_listener_close(l6);
	sock_listener_close(lu);
	unlink(au.sun_path);
}

static void
listener_reports_address_in_use(void **state)
{
	fx = *state;
	struct sockaddr_storage a = listen_on_loopback(echo_accept);
	struct sock_listener *second = NULL;
	assert_int_equal(sock_listen(fx->l, (struct sockaddr *)&a, sizeof(struct sockaddr_in),
	                     echo_accept, NULL, &second),
	    -EADDRINUSE);
	assert_null(second);
	sock_listener_close(listener);
	/* The port is free as soon as the first is closed, though the kernel may still hold it. */
	assert_int_equal(sock_listen(fx->l, (struct sockaddr *)&a, sizeof(struct sockaddr_in),
	                     echo_accept, NULL, &second),
	    0);
	sock_listener_close(second);
	sock_listener_close(NULL);
}

/* ---- closing ---- */

static unsigned calls_after_close;
static bool stop_at_call;
static struct sock *victim[2];

static void
count_call(void *ctx, unsigned events)
{
	(void)ctx;
	(void)events;
	calls_after_close++;
	if (stop_at_call)
		loop_stop(fx->l);
}

static void
close_other(void *ctx, unsigned events)
{
	(void)events;
	struct sock **other = ctx;
	/* Both became ready in the same turn: whichever comes second is never called. */
	if (victim[0] && victim[1]) {
		sock_close(*other);
		*other = NULL;
		loop_stop(fx->l);
	} else {
		calls_after_close++;
	}
}

static int
raw_pair(struct loop *l, struct sock **ret)
{
	int fd[2];
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
	assert_int_equal(sock_from_fd(l, fd[0], ret), 0);
	return fd[1];
}

static void
no_callback_after_close_in_the_same_turn(void **state)
{
	fx = *state;
	int fd0 = raw_pair(fx->l, &victim[0]), fd1 = raw_pair(fx->l, &victim[1]);
	calls_after_close = 0;
	assert_int_equal(write(fd0, "x", 1), 1);
	assert_int_equal(write(fd1, "x", 1), 1);
	sock_set_callback(victim[0], close_other, &victim[1]);
	sock_set_callback(victim[1], close_other, &victim[0]);
	fixture_run(fx); /* until the first of them closes the other */
	struct loop_timer t;
	loop_timer_init(&t, fx->l, stop_at);
	loop_timer_set(&t, 20 * MS);
	fixture_run(fx);
	assert_int_equal(calls_after_close, 0);
	assert_true(!victim[0] != !victim[1]);
	sock_close(victim[0] ? victim[0] : victim[1]);
	close(fd0);
	close(fd1);
}

/* Events are on their way from the kernel when the socket closes, later ones when it is gone. */
static void
no_callback_after_close_with_events_underway(void **state)
{
	fx = *state;
	calls_after_close = 0;
	struct loop_timer t;
	loop_timer_init(&t, fx->l, stop_at);
	for (unsigned round = 0; round < 50; round++) {
		int fd = raw_pair(fx->l, &victim[0]);
		sock_set_callback(victim[0], count_call, NULL);
		stop_at_call = true;
		fixture_run(fx);
		assert_int_equal(calls_after_close, 1); /* writable from the start */
		stop_at_call = false;
		calls_after_close = 0;
		assert_int_equal(write(fd, "x", 1), 1);
		sock_close(victim[0]);
		close(fd);
		/* The next pair takes the same descriptors; its events are its own. */
		loop_timer_set(&t, MS / 10);
		fixture_run(fx);
		assert_int_equal(calls_after_close, 0);
	}
}

static ssize_t first_result;

static void
recv_once(void *ctx, unsigned events)
{
	(void)events;
	struct sock **s = ctx;
	char b[16];
	struct iovec iov = {b, sizeof b};
	ssize_t n = sock_recv(*s, &iov, 1);
	if (n == -EAGAIN)
		return;
	first_result = n;
	sock_close(*s);
	*s = NULL;
	loop_stop(fx->l);
}

static struct sock *accepted_sock;

static void
accept_and_abort(void *ctx, struct sock *s)
{
	(void)ctx;
	sock_close_abort(s);
}

static void
accept_and_close(void *ctx, struct sock *s)
{
	(void)ctx;
	sock_close(s);
}

static void
accept_and_watch(void *ctx, struct sock *s)
{
	(void)ctx;
	accepted_sock = s;
	sock_set_callback(s, recv_once, &accepted_sock);
}

static void
connect_for(struct sock **s, const struct sockaddr_storage *a)
{
	assert_int_equal(
	    sock_connect(fx->l, (const struct sockaddr *)a, sizeof(struct sockaddr_in), s), 0);
}

static void
abort_is_a_reset_for_the_peer(void **state)
{
	fx = *state;
	struct sockaddr_storage a = listen_on_loopback(accept_and_abort);
	struct sock *s;
	connect_for(&s, &a);
	sock_set_callback(s, recv_once, &s);
	fixture_run(fx);
	assert_int_equal(first_result, -ECONNRESET);
	sock_listener_close(listener);
}

static void
close_is_an_end_for_the_peer(void **state)
{
	fx = *state;
	struct sockaddr_storage a = listen_on_loopback(accept_and_close);
	struct sock *s;
	connect_for(&s, &a);
	sock_set_callback(s, recv_once, &s);
	fixture_run(fx);
	assert_int_equal(first_result, 0);
	sock_listener_close(listener);
}

static void
reset_by_the_peer_reaches_the_callback(void **state)
{
	fx = *state;
	struct sockaddr_storage a = listen_on_loopback(accept_and_watch);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(struct sockaddr_in)), 0);
	struct linger lg = {1, 0};
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &lg, sizeof lg);
	accepted_sock = NULL;
	struct loop_timer t;
	loop_timer_init(&t, fx->l, stop_at);
	for (unsigned i = 0; i < 1000 && !accepted_sock; i++) {
		loop_timer_set(&t, 10 * MS);
		fixture_run(fx);
	}
	assert_non_null(accepted_sock);
	close(fd);
	first_result = 99;
	fixture_run(fx);
	assert_int_equal(first_result, -ECONNRESET);
	sock_listener_close(listener);
}

static int connect_result;

static void
on_connect_result(void *ctx, unsigned events)
{
	(void)events;
	struct sock **s = ctx;
	connect_result = sock_error(*s);
	sock_close(*s);
	loop_stop(fx->l);
}

static void
refused_connection_is_told_by_sock_error(void **state)
{
	fx = *state;
	struct sockaddr_storage a = listen_on_loopback(accept_and_close);
	sock_listener_close(listener);
	struct sock *s;
	connect_for(&s, &a);
	sock_set_callback(s, on_connect_result, &s);
	connect_result = 99;
	fixture_run(fx);
	assert_int_equal(connect_result, -ECONNREFUSED);
}

static void
accept_and_close_listener(void *ctx, struct sock *s)
{
	(void)ctx;
	sock_close(s);
	sock_listener_close(listener);
	listener = NULL;
	loop_stop(fx->l);
}

static void
listener_may_be_closed_within_accepted(void **state)
{
	fx = *state;
	struct sockaddr_storage a = listen_on_loopback(accept_and_close_listener);
	struct sock *s[3];
	for (unsigned i = 0; i < 3; i++)
		connect_for(&s[i], &a);
	fixture_run(fx);
	assert_null(listener);
	for (unsigned i = 0; i < 3; i++)
		sock_close(s[i]);
}

static void
sending_to_a_closed_peer_raises_no_signal(void **state)
{
	fx = *state;
	struct sock *s;
	int fd = raw_pair(fx->l, &s);
	close(fd);
	struct iovec iov = {"x", 1};
	assert_int_equal(sock_send(s, &iov, 1), -EPIPE);
	sock_close(s);
}

static void
accepted_options(void *ctx, struct sock *s)
{
	(void)ctx;
	struct sockaddr_storage own, peer, la;
	sock_local_addr(s, &own);
	sock_peer_addr(s, &peer);
	sock_listener_addr(listener, &la);
	assert_memory_equal(&own, &la, sizeof(struct sockaddr_in));
	assert_int_equal(peer.ss_family, AF_INET);
	accepted_sock = s;
	loop_stop(fx->l);
}

static void
accepted_socket_has_addresses(void **state)
{
	fx = *state;
	struct sockaddr_storage a = listen_on_loopback(accepted_options);
	struct sock *s;
	connect_for(&s, &a);
	fixture_run(fx);
	struct sockaddr_storage own, peer;
	sock_local_addr(s, &own);
	sock_peer_addr(accepted_sock, &peer);
	assert_memory_equal(&own, &peer, sizeof(struct sockaddr_in));
	sock_close(s);
	sock_close(accepted_sock);
	sock_listener_close(listener);
}

/* ---- running out of descriptors ---- */

static unsigned accepted_count;

static void
accept_count(void *ctx, struct sock *s)
{
	(void)ctx;
	sock_close(s);
	accepted_count++;
	loop_stop(fx->l);
}

static struct rlimit rl_before;

static void
raise_limit(struct loop_timer *t)
{
	(void)t;
	assert_int_equal(accepted_count, 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &rl_before), 0);
}

static void
accepting_pauses_when_descriptors_run_out(void **state)
{
	fx = *state;
	struct sockaddr_storage a = listen_on_loopback(accept_count);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(struct sockaddr_in)), 0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &rl_before), 0);
	struct rlimit rl = {.rlim_cur = (rlim_t)fd, .rlim_max = rl_before.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &rl), 0);
	struct loop_timer t;
	loop_timer_init(&t, fx->l, raise_limit);
	loop_timer_set(&t, 30 * MS);
	accepted_count = 0;
	fixture_run(fx);
	struct loop_stats st;
	loop_get_stats(fx->l, &st);
	assert_int_equal(accepted_count, 1);
	assert_in_range(st.turns, 1, 20); /* it didn't try again and again */
	close(fd);
	sock_listener_close(listener);
}

/* ---- events ---- */

static unsigned initial_events;

static void
on_initial(void *ctx, unsigned events)
{
	(void)ctx;
	initial_events |= events;
	loop_stop(fx->l);
}

static void
every_new_callback_gets_the_initial_event(void **state)
{
	fx = *state;
	struct sock *s;
	int fd = raw_pair(fx->l, &s);
	assert_int_equal(write(fd, "x", 1), 1);
	for (unsigned i = 0; i < 3; i++) {
		initial_events = 0;
		sock_set_callback(s, on_initial, NULL);
		fixture_run(fx);
		assert_int_equal(initial_events, LOOP_READABLE | LOOP_WRITABLE);
		sock_set_callback(s, NULL, NULL);
	}
	sock_close(s);
	close(fd);
}

static void
hangup_is_reported(void **state)
{
	fx = *state;
	struct sock *s;
	int fd = raw_pair(fx->l, &s);
	close(fd);
	initial_events = 0;
	sock_set_callback(s, on_initial, NULL);
	fixture_run(fx);
	assert_true(initial_events & LOOP_HANGUP);
	assert_true(initial_events & LOOP_READABLE);
	sock_close(s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    LOOP_TEST(bytes_come_back_whole_though_sends_are_partial),
	    LOOP_TEST(many_connections_are_served),
	    LOOP_TEST(ipv6_and_unix_work_too),
	    LOOP_TEST(listener_reports_address_in_use),
	    LOOP_TEST(no_callback_after_close_in_the_same_turn),
	    LOOP_TEST(no_callback_after_close_with_events_underway),
	    LOOP_TEST(abort_is_a_reset_for_the_peer),
	    LOOP_TEST(close_is_an_end_for_the_peer),
	    LOOP_TEST(reset_by_the_peer_reaches_the_callback),
	    LOOP_TEST(refused_connection_is_told_by_sock_error),
	    LOOP_TEST(listener_may_be_closed_within_accepted),
	    LOOP_TEST(sending_to_a_closed_peer_raises_no_signal),
	    LOOP_TEST(accepted_socket_has_addresses),
	    LOOP_TEST(accepting_pauses_when_descriptors_run_out),
	    LOOP_TEST(every_new_callback_gets_the_initial_event),
	    LOOP_TEST(hangup_is_reported),
	};
	return RUN_ON_BOTH_BACKENDS(tests);
}
