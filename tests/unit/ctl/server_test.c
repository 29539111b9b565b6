/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The server over real sockets. The loop runs on the test's thread, the client is a thread with
 * blocking sockets that plays one scene and then stops the loop.
 */
#include "tests/cmocka_all.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "ctl/ctl.h"

#define PING "{\"jsonrpc\":\"2.0\",\"method\":\"ping\",\"id\":1}\n"
#define PONG "{\"jsonrpc\":\"2.0\",\"result\":\"pong\",\"id\":1}\n"
#define BIG_BYTES (2u << 20)

static struct loop *loop;
static struct ctl_server *server;
static char dir[] = "/tmp/terrace-ctl-XXXXXX", path[64];
static atomic_uint big_calls; /* counted on the loop, read by the client */
static const char *wrong;     /* what the client thread found wrong; it can't assert */

static json_t *
ping(void *ctx, const json_t *params, struct ctl_failure *failure)
{
	(void)ctx;
	(void)params;
	(void)failure;
	return json_string("pong");
}

static json_t *
big(void *ctx, const json_t *params, struct ctl_failure *failure)
{
	char *s = malloc(BIG_BYTES + 1);
	(void)ctx;
	(void)params;
	(void)failure;
	if (s == NULL)
		return NULL;
	big_calls++;
	memset(s, 'x', BIG_BYTES);
	s[BIG_BYTES] = '\0';
	json_t *j = json_string(s);
	free(s);
	return j;
}

/* Calls that wait for "release", which says how many there were and how many of nobody. */
static struct ctl_call *waiting[2 * CTL_CALLS_MAX];
static unsigned waiting_count;

static void
wait_call(void *ctx, struct ctl_call *call, const json_t *params)
{
	(void)ctx;
	(void)params;
	waiting[waiting_count++] = call;
}

static json_t *
release(void *ctx, const json_t *params, struct ctl_failure *failure)
{
	unsigned gone = 0, count = waiting_count;
	(void)ctx;
	(void)params;
	(void)failure;
	waiting_count = 0;
	for (unsigned i = 0; i < count; i++) {
		gone += ctl_call_client_gone(waiting[i]);
		ctl_call_done(waiting[i], json_string("released"));
	}
	return json_pack("[i, i]", (int)count, (int)gone);
}

/* Who asks, as the server sees it; answers from the next turn on. */
static struct ctl_call *who_call;
static struct loop_defer who_defer;

static void
who_answer(struct loop_defer *d)
{
	const struct ctl_peer *p = ctl_call_peer(who_call);
	(void)d;
	ctl_call_done(
	    who_call, json_pack("[i, i, s, b]", (int)p->uid, (int)p->gid, p->user, p->may_change));
}

static void
who(void *ctx, struct ctl_call *call, const json_t *params)
{
	(void)ctx;
	(void)params;
	who_call = call;
	loop_defer_init(&who_defer, who_answer);
	loop_next_turn(loop, &who_defer);
}

/* Answers that a helper thread makes: says whether it was one; a parameter may make it fail. */
struct built {
	struct ctl_build b;
	bool fails;
};
static unsigned built_count;

static json_t *
build_it(struct ctl_build *b)
{
	usleep(50000);
	return container_of(b, struct built, b)->fails ? NULL
	                                               : json_boolean(loop_current() != loop);
}

static void
built_it(struct ctl_build *b)
{
	built_count++;
	free(container_of(b, struct built, b));
}

static void
build(void *ctx, struct ctl_call *call, const json_t *params)
{
	struct built *s = calloc(1, sizeof *s);
	(void)ctx;
	assert_non_null(s);
	s->fails = json_is_true(json_object_get(params, "fails"));
	s->b = (struct ctl_build){.build = build_it, .built = built_it};
	ctl_call_build(call, loop, &s->b);
}

static json_t *
built(void *ctx, const json_t *params, struct ctl_failure *failure)
{
	(void)ctx;
	(void)params;
	(void)failure;
	return json_integer(built_count);
}

static const struct ctl_param build_params[] = {
    {"fails", CTL_BOOL, false, "no memory"}, {.name = NULL}};

static const struct ctl_method methods[] = {
    {.name = "build", .help = "built elsewhere", .params = build_params, .start = build},
    {.name = "built", .help = "how many were built", .call = built},
    {.name = "wait", .help = "answers when released", .start = wait_call},
    {.name = "release", .help = "releases those that wait", .call = release},
    {.name = "who", .help = "who you are", .start = who},
    {.name = "change", .help = "changes something", .changes = true, .call = ping},
    {.name = "ping", .help = "answers pong", .call = ping},
    {.name = "big", .help = "answers 2 MiB", .call = big},
    {.name = NULL},
};
static const struct ctl_method *const tables[] = {methods, NULL};

/* ---- the client's side -------------------------------------------------------------------------- */

#define CHECK(cond)                                                                                \
	do {                                                                                       \
		if (!(cond) && wrong == NULL)                                                      \
			wrong = #cond;                                                             \
	} while (0)

static int
connect_client(void)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	struct timeval tv = {.tv_sec = 20};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(un.sun_path, path);
	CHECK(fd >= 0 && connect(fd, (const struct sockaddr *)&un, sizeof un) == 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof tv);
	return fd;
}

static void
say(int fd, const char *text)
{
	CHECK(send(fd, text, strlen(text), MSG_NOSIGNAL) == (ssize_t)strlen(text));
}

/* Receives exactly this. */
static void
expect(int fd, const char *text)
{
	char buf[4096];
	size_t len = strlen(text);
	CHECK(len <= sizeof buf && recv(fd, buf, len, MSG_WAITALL) == (ssize_t)len &&
	      memcmp(buf, text, len) == 0);
}

static void
expect_end(int fd)
{
	char c;
	ssize_t n = recv(fd, &c, 1, 0);
	CHECK(n == 0 || (n < 0 && errno == ECONNRESET));
}

/* A line, of which only the beginning is kept. Its length, or -1. */
static ssize_t
read_line(int fd, char *buf, size_t cap)
{
	ssize_t len = 0;
	char c;
	while (recv(fd, &c, 1, 0) == 1) {
		if (c == '\n')
			return len;
		if ((size_t)len < cap - 1) {
			buf[len] = c;
			buf[len + 1] = '\0';
		}
		len++;
	}
	return -1;
}

static void
pings_are_answered(void)
{
	int fd = connect_client();
	say(fd, PING);
	expect(fd, PONG);
	close(fd);
}

static void *
play(void *scene)
{
	void (*fn)(void);
	memcpy(&fn, scene, sizeof fn);
	fn();
	loop_stop(loop);
	return NULL;
}

static void
run_scene(void (*fn)(void))
{
	pthread_t t;
	wrong = NULL;
	assert_int_equal(pthread_create(&t, NULL, play, &fn), 0);
	loop_run(loop);
	pthread_join(t, NULL);
	if (wrong != NULL)
		fail_msg("%s", wrong);
}

/* ---- scenes ------------------------------------------------------------------------------------------ */

static void
scene_split(void)
{
	int fd = connect_client();
	for (size_t i = 0; i < strlen(PING); i++)
		CHECK(send(fd, &PING[i], 1, MSG_NOSIGNAL) == 1);
	expect(fd, PONG);
	close(fd);
}

static void
a_request_may_come_in_bytes(void **state)
{
	(void)state;
	run_scene(scene_split);
}

static void
scene_many(void)
{
	int fd = connect_client();
	say(fd, "\n\n" PING "\n" PING PING);
	for (unsigned i = 0; i < 3; i++)
		expect(fd, PONG);
	/* More than the share of a turn. */
	for (unsigned i = 0; i < 500; i++)
		say(fd, PING);
	for (unsigned i = 0; i < 500; i++)
		expect(fd, PONG);
	close(fd);
}

static void
requests_in_a_row_are_answered_in_order(void **state)
{
	(void)state;
	run_scene(scene_many);
}

static void
scene_half_closed(void)
{
	int fd = connect_client();
	char buf[64];
	say(fd, "{\"jsonrpc\":\"2.0\",\"method\":\"big\",\"id\":1}\n" PING "{\"jsonrpc\":");
	shutdown(fd, SHUT_WR);
	CHECK(read_line(fd, buf, sizeof buf) > (ssize_t)BIG_BYTES);
	expect(fd, PONG);
	expect_end(fd); /* half a line is no request */
	close(fd);
}

static void
whoever_sends_no_more_still_gets_all_answers(void **state)
{
	(void)state;
	run_scene(scene_half_closed);
}

static void
scene_rubbish(void)
{
	char buf[300];
	uint32_t x = 12345;
	int fd = connect_client();
	for (unsigned line = 0; line < 200; line++) {
		char rubbish[201];
		for (unsigned i = 0; i < 200; i++) {
			x = x * 1664525u + 1013904223u;
			rubbish[i] = (char)(x >> 24);
			if (rubbish[i] == '\n')
				rubbish[i] = '{';
		}
		rubbish[200] = '\n';
		CHECK(send(fd, rubbish, sizeof rubbish, MSG_NOSIGNAL) == sizeof rubbish);
		CHECK(read_line(fd, buf, sizeof buf) > 0 && strstr(buf, "-32700") != NULL);
	}
	say(fd, PING);
	expect(fd, PONG);
	close(fd);
}

static void
rubbish_is_answered_and_forgotten(void **state)
{
	(void)state;
	run_scene(scene_rubbish);
}

static void
scene_endless(void)
{
	static char chunk[1 << 16];
	char buf[200];
	size_t sent = 0;
	int fd = connect_client();

	memset(chunk, ' ', sizeof chunk);
	while (sent < 100u << 20) {
		ssize_t n = send(fd, chunk, sizeof chunk, MSG_NOSIGNAL);
		if (n < 0)
			break;
		sent += (size_t)n;
	}
	CHECK(sent >= sizeof chunk && sent < 8u << 20); /* what buffers hold, then it is cut */
	CHECK(read_line(fd, buf, sizeof buf) > 0 && strstr(buf, "64 KiB") != NULL);
	expect_end(fd);
	close(fd);
	pings_are_answered();
}

static void
a_line_that_never_ends_ends_the_connection(void **state)
{
	(void)state;
	run_scene(scene_endless);
}

static void
scene_longest(void)
{
	static char line[CTL_REQUEST_MAX_BYTES];
	int fd = connect_client();
	memset(line, ' ', sizeof line);
	memcpy(line, PING, strlen(PING) - 1);
	line[sizeof line - 1] = '\n';
	CHECK(send(fd, line, sizeof line, MSG_NOSIGNAL) == sizeof line);
	expect(fd, PONG);
	CHECK(send(fd, line, sizeof line, MSG_NOSIGNAL) == sizeof line);
	expect(fd, PONG);
	close(fd);
}

static void
the_longest_line_is_a_request(void **state)
{
	(void)state;
	run_scene(scene_longest);
}

static void
scene_stalled(void)
{
	int fd = connect_client();
	big_calls = 0;
	for (unsigned i = 0; i < 100; i++)
		say(fd, "{\"jsonrpc\":\"2.0\",\"method\":\"big\",\"id\":1}\n");
	pings_are_answered();
	pings_are_answered();
	CHECK(big_calls == 1); /* of the others nothing was computed yet */
	close(fd);
	pings_are_answered();
}

static void
a_client_that_does_not_read_holds_one_answer(void **state)
{
	(void)state;
	run_scene(scene_stalled);
}

static void
scene_too_many(void)
{
	int fds[3 * CTL_CLIENTS_MAX];
	int busy = connect_client();
	for (unsigned i = 0; i < 3 * CTL_CLIENTS_MAX; i++) {
		fds[i] = connect_client();
		say(fds[i], PING);
		expect(fds[i], PONG);
		say(busy, PING);
		expect(busy, PONG);
	}
	expect_end(fds[0]);
	say(fds[3 * CTL_CLIENTS_MAX - 2], PING);
	expect(fds[3 * CTL_CLIENTS_MAX - 2], PONG);
	for (unsigned i = 0; i < 3 * CTL_CLIENTS_MAX; i++)
		close(fds[i]);
	close(busy);
}

static void
the_client_silent_longest_makes_way(void **state)
{
	(void)state;
	run_scene(scene_too_many);
}

static void
scene_vanish(void)
{
	for (unsigned i = 0; i < 200; i++) {
		int fd = connect_client();
		say(fd,
		    i % 2 == 0 ? "{\"jsonrpc\":\"2.0\",\"method\":\"big\",\"id\":1}\n" : "{\"jso");
		close(fd);
	}
	pings_are_answered();
}

static void
clients_may_vanish_at_any_time(void **state)
{
	(void)state;
	run_scene(scene_vanish);
}

static void
scene_leave_open(void)
{
	int fd = connect_client();
	say(fd, "{\"jsonrpc\":\"2.0\",\"method\":\"big\",\"id\":1}\n");
	pings_are_answered();
	/* Stays connected, with an answer on its way, when the server is destroyed. */
	(void)fd;
}

static void
the_server_ends_with_clients(void **state)
{
	(void)state;
	run_scene(scene_leave_open);
}

/* ---- calls under way ---------------------------------------------------------------------------------- */

#define REQUEST(name) "{\"jsonrpc\":\"2.0\",\"method\":\"" name "\",\"id\":1}\n"
#define RESULT(json) "{\"jsonrpc\":\"2.0\",\"result\":" json ",\"id\":1}\n"

static void
scene_later(void)
{
	int a = connect_client(), b = connect_client();
	say(a, REQUEST("wait") PING); /* the second waits for its turn */
	pings_are_answered();
	say(b, REQUEST("release"));
	expect(b, RESULT("[1,0]"));
	expect(a, RESULT("\"released\"") PONG);
	say(a, REQUEST("wait"));
	shutdown(a, SHUT_WR); /* half closed: it still wants the answer */
	pings_are_answered();
	say(b, REQUEST("release"));
	expect(b, RESULT("[1,0]"));
	expect(a, RESULT("\"released\""));
	expect_end(a);
	close(a);
	close(b);
}

static void
an_answer_may_come_later(void **state)
{
	(void)state;
	run_scene(scene_later);
}

static void
scene_gone(void)
{
	int b = connect_client();
	for (unsigned i = 0; i < 3; i++) {
		int a = connect_client();
		say(a, REQUEST("wait") "{\"jso");
		pings_are_answered();
		close(a);
		pings_are_answered();
	}
	say(b, REQUEST("release"));
	expect(b, RESULT("[3,3]"));
	close(b);
	pings_are_answered();
}

static void
a_call_goes_on_without_its_client(void **state)
{
	(void)state;
	run_scene(scene_gone);
}

static void
scene_full(void)
{
	char buf[300];
	int b = connect_client();
	for (unsigned i = 0; i < CTL_CALLS_MAX; i++) {
		int a = connect_client();
		say(a, REQUEST("wait"));
		pings_are_answered();
		close(a);
	}
	say(b, REQUEST("wait"));
	CHECK(read_line(b, buf, sizeof buf) > 0 && strstr(buf, "-32002") != NULL);
	say(b, PING);
	expect(b, PONG);
	say(b, REQUEST("release"));
	expect(b, RESULT("[64,64]"));
	say(b, REQUEST("who"));
	CHECK(read_line(b, buf, sizeof buf) > 0 && strstr(buf, "result") != NULL);
	close(b);
}

static void
calls_under_way_are_bounded(void **state)
{
	(void)state;
	_Static_assert(CTL_CALLS_MAX == 64, "in the scene's text");
	run_scene(scene_full);
}

static void
scene_waiting_stays(void)
{
	int fds[2 * CTL_CLIENTS_MAX];
	int a = connect_client();
	say(a, REQUEST("wait"));
	pings_are_answered();
	for (unsigned i = 0; i < 2 * CTL_CLIENTS_MAX; i++) {
		fds[i] = connect_client();
		say(fds[i], PING);
		expect(fds[i], PONG);
	}
	say(fds[2 * CTL_CLIENTS_MAX - 1], REQUEST("release"));
	expect(fds[2 * CTL_CLIENTS_MAX - 1], RESULT("[1,0]"));
	expect(a, RESULT("\"released\""));
	for (unsigned i = 0; i < 2 * CTL_CLIENTS_MAX; i++)
		close(fds[i]);
	close(a);
}

static void
who_waits_for_an_answer_is_not_silent(void **state)
{
	(void)state;
	run_scene(scene_waiting_stays);
}

static void
scene_built(void)
{
	char buf[300];
	int a = connect_client(), b = connect_client();
	say(a, REQUEST("build") PING);
	say(b, PING);
	expect(b, PONG); /* nobody waits for it but who asked */
	expect(a, RESULT("true") PONG);
	say(a, "{\"jsonrpc\":\"2.0\",\"method\":\"build\",\"params\":{\"fails\":true},\"id\":1}\n");
	CHECK(read_line(a, buf, sizeof buf) > 0 && strstr(buf, "out of memory") != NULL);
	/* Nobody waits for these: a notification, and one whose client has gone. */
	say(a, "{\"jsonrpc\":\"2.0\",\"method\":\"build\"}\n" PING);
	expect(a, PONG);
	say(b, REQUEST("build"));
	close(b);
	for (unsigned i = 0; i < 100 && strcmp(buf, "4") != 0; i++) {
		usleep(20000);
		say(a, REQUEST("built"));
		CHECK(read_line(a, buf, sizeof buf) > 0);
		if (strstr(buf, "\"result\":4,") != NULL)
			strcpy(buf, "4");
	}
	CHECK(strcmp(buf, "4") == 0);
	close(a);
}

static void
an_answer_may_be_made_elsewhere(void **state)
{
	(void)state;
	built_count = 0;
	run_scene(scene_built);
}

static void
scene_leave_waiting(void)
{
	say(connect_client(), REQUEST("wait"));
	pings_are_answered();
}

static void
a_call_outlives_the_server(void **state)
{
	(void)state;
	run_scene(scene_leave_waiting);
	ctl_server_destroy(server);
	server = NULL;
	assert_int_equal(waiting_count, 1);
	assert_true(ctl_call_client_gone(waiting[0]));
	ctl_call_done(waiting[0], json_string("to nobody"));
	waiting_count = 0;
}

/* ---- who asks ------------------------------------------------------------------------------------------ */

#define NOBODY 65534

/* Of this thread alone, which is what the server sees: libc would change all threads. */
static void
become(uid_t uid, gid_t gid, size_t count, const gid_t *groups)
{
	CHECK(syscall(SYS_setgroups, count, groups) == 0);
	CHECK(syscall(SYS_setresgid, gid, gid, gid) == 0);
	CHECK(syscall(SYS_setresuid, uid, uid, uid) == 0);
}

/* The answer to a request holds this. */
static void
expect_in(const char *request, const char *part)
{
	char buf[700];
	int fd = connect_client();
	say(fd, request);
	CHECK(read_line(fd, buf, sizeof buf) > 0 && strstr(buf, part) != NULL);
	close(fd);
}

static void
scene_root(void)
{
	expect_in(REQUEST("who"), "[0,0,\"root\",true]");
}

static void
scene_stranger(void)
{
	char buf[700];
	become(4242, NOBODY, 0, NULL);
	expect_in(PING, "-32003");
	expect_in(PING, "uid 4242");
	expect_in(PING, "join group sys to read, daemon to change");
	expect_in(REQUEST("methods"), "-32003");
	int fd = connect_client();
	say(fd, PING PING); /* one answer, then the end */
	CHECK(read_line(fd, buf, sizeof buf) > 0);
	expect_end(fd);
	close(fd);
	/* Connections of their own number: those of others stay. */
	int many[3 * CTL_STRANGERS_MAX];
	for (unsigned i = 0; i < 3 * CTL_STRANGERS_MAX; i++)
		many[i] = connect_client();
	say(many[3 * CTL_STRANGERS_MAX - 1], PING);
	CHECK(read_line(many[3 * CTL_STRANGERS_MAX - 1], buf, sizeof buf) > 0);
	expect_end(many[0]);
	for (unsigned i = 0; i < 3 * CTL_STRANGERS_MAX; i++)
		close(many[i]);
}

static void
scene_reader(void)
{
	static const gid_t groups[] = {77, 3};
	become(4242, NOBODY, 2, groups);
	expect_in(PING, "pong");
	expect_in(REQUEST("who"), "[4242,65534,\"uid 4242\",false]");
	expect_in(REQUEST("change"), "-32003");
	expect_in(REQUEST("change"), "join group daemon");
}

static void
scene_changer(void)
{
	become(4242, 1, 0, NULL);
	expect_in(REQUEST("change"), "pong");
	expect_in(REQUEST("who"), "[4242,1,\"uid 4242\",true]");
}

static void
scene_changer_by_second_group(void)
{
	static const gid_t groups[] = {1};
	become(1, 77, 1, groups); /* uid 1 has a name */
	expect_in(REQUEST("change"), "pong");
	expect_in(REQUEST("who"), "[1,77,\"daemon\",true]");
}

static void
rights_come_from_the_process_that_connects(void **state)
{
	(void)state;
	if (geteuid() != 0)
		skip();
	run_scene(scene_root);
	run_scene(scene_stranger);
	run_scene(scene_reader);
	run_scene(scene_changer);
	run_scene(scene_changer_by_second_group);
}

static void
scene_rich(void)
{
	char buf[700];
	int fds[CTL_CLIENTS_MAX];
	for (unsigned i = 0; i < CTL_CLIENTS_MAX; i++) {
		fds[i] = connect_client();
		say(fds[i], PING);
		expect(fds[i], PONG);
	}
	become(4242, NOBODY, 0, NULL);
	int fd = connect_client();
	say(fd, PING);
	CHECK(read_line(fd, buf, sizeof buf) > 0 && strstr(buf, "-32003") != NULL);
	for (unsigned i = 0; i < CTL_CLIENTS_MAX; i++) {
		say(fds[i], PING);
		expect(fds[i], PONG);
		close(fds[i]);
	}
	close(fd);
}

static void
strangers_end_no_connection_of_others(void **state)
{
	(void)state;
	if (geteuid() != 0)
		skip();
	run_scene(scene_rich);
}

/* ---- the path ------------------------------------------------------------------------------------------ */

static void
the_socket_has_the_right_mode(void **state)
{
	struct stat st;
	(void)state;
	assert_int_equal(stat(path, &st), 0);
	assert_true(S_ISSOCK(st.st_mode));
	assert_int_equal(st.st_mode & 0777, geteuid() == 0 ? 0666 : 0600);
}

static int
create_at(const char *p, char *reason, size_t cap)
{
	struct ctl_server *s = NULL;
	const struct ctl_server_args args = {.path = p, .tables = tables};
	int rc = ctl_server_create(loop, &args, &s, reason, cap);
	if (rc == 0)
		ctl_server_destroy(s);
	else
		assert_null(s);
	return rc;
}

static void
a_path_that_somebody_listens_at_is_refused(void **state)
{
	char reason[300];
	(void)state;
	assert_int_equal(create_at(path, reason, sizeof reason), -EADDRINUSE);
	assert_non_null(strstr(reason, path));
	assert_non_null(strstr(reason, "--control"));
	assert_int_equal(access(path, F_OK), 0);
}

static void
a_socket_that_was_left_behind_is_replaced(void **state)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	char reason[300];
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	(void)state;
	snprintf(un.sun_path, sizeof un.sun_path, "%s/old", dir);
	assert_int_equal(bind(fd, (const struct sockaddr *)&un, sizeof un), 0);
	close(fd);
	assert_int_equal(create_at(un.sun_path, reason, sizeof reason), 0);
	assert_int_equal(access(un.sun_path, F_OK), -1); /* removed with the server */
}

static void
a_file_at_the_path_is_not_touched(void **state)
{
	char file[64], reason[300];
	struct stat st;
	(void)state;
	snprintf(file, sizeof file, "%s/file", dir);
	FILE *f = fopen(file, "w");
	assert_non_null(f);
	fputs("mine", f);
	fclose(f);
	assert_int_equal(create_at(file, reason, sizeof reason), -EEXIST);
	assert_non_null(strstr(reason, file));
	assert_int_equal(stat(file, &st), 0);
	assert_int_equal(st.st_size, 4);
	unlink(file);
}

static void
paths_that_cannot_be_are_told(void **state)
{
	char reason[300], file[200];
	(void)state;
	assert_int_equal(create_at("", reason, sizeof reason), -EINVAL);
	memset(file, 'a', sizeof file);
	file[sizeof file - 1] = '\0';
	assert_int_equal(create_at(file, reason, sizeof reason), -ENAMETOOLONG);
	assert_non_null(strstr(reason, "107"));
	snprintf(file, sizeof file, "%s/no/such/folder", dir);
	assert_int_equal(create_at(file, reason, sizeof reason), -ENOENT);
	assert_non_null(strstr(reason, file));
}

static int
setup(void **state)
{
	struct loop_cfg cfg;
	char reason[300];
	(void)state;
	loop_cfg_default(&cfg);
	cfg.spin_us_max = 0;
	cfg.buf_bytes = (size_t)1 << 20;
	if (loop_create(&cfg, &loop) < 0)
		return -1;
	const struct ctl_server_args args = {
	    .path = path, .tables = tables, .change_group = "daemon", .read_group = "sys"};
	return ctl_server_create(loop, &args, &server, reason, sizeof reason);
}

static int
teardown(void **state)
{
	(void)state;
	ctl_server_destroy(server);
	loop_destroy(loop);
	return access(path, F_OK) == 0; /* the socket is gone */
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_request_may_come_in_bytes),
	    TEST(requests_in_a_row_are_answered_in_order),
	    TEST(whoever_sends_no_more_still_gets_all_answers),
	    TEST(rubbish_is_answered_and_forgotten),
	    TEST(a_line_that_never_ends_ends_the_connection),
	    TEST(the_longest_line_is_a_request),
	    TEST(a_client_that_does_not_read_holds_one_answer),
	    TEST(the_client_silent_longest_makes_way),
	    TEST(clients_may_vanish_at_any_time),
	    TEST(the_server_ends_with_clients),
	    TEST(an_answer_may_come_later),
	    TEST(a_call_goes_on_without_its_client),
	    TEST(an_answer_may_be_made_elsewhere),
	    TEST(calls_under_way_are_bounded),
	    TEST(who_waits_for_an_answer_is_not_silent),
	    TEST(a_call_outlives_the_server),
	    TEST(rights_come_from_the_process_that_connects),
	    TEST(strangers_end_no_connection_of_others),
	    TEST(the_socket_has_the_right_mode),
	    TEST(a_path_that_somebody_listens_at_is_refused),
	    TEST(a_socket_that_was_left_behind_is_replaced),
	    TEST(a_file_at_the_path_is_not_touched),
	    TEST(paths_that_cannot_be_are_told),
	};
	if (mkdtemp(dir) == NULL || chmod(dir, 0711) < 0)
		return 1;
	snprintf(path, sizeof path, "%s/control.sock", dir);
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	rmdir(dir);
	return failed;
}
