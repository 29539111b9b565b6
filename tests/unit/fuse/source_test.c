/* SPDX-License-Identifier: BSD-2-Clause */
/* Answers of a daemon that says what it likes: connection, errors, and what is kept for how long. */
#include "tests/cmocka_all.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "fuse/terrace_fuse.h"

/* One client at a time; each line is answered with `say`, in which %d is the number of the request. */
static struct fake {
	struct events ev;
	struct watch listener, client;
	char dir[64], path[96];
	const char *say; /* NULL: nothing */
	unsigned asked;
	struct rpc *rpc;
	struct source *source;
	struct timer end;
} fake;

static void
on_client(struct watch *w, uint32_t events)
{
	char buf[65536], line[65536];
	ssize_t n = recv(w->fd, buf, sizeof buf, 0);
	(void)events;

	if (n <= 0) {
		(void)events_watch(&fake.ev, w, 0);
		close(w->fd);
		w->fd = -1;
		return;
	}
	for (ssize_t i = 0; i < n; i++) {
		if (buf[i] != '\n')
			continue;
		fake.asked++;
		if (fake.say == NULL)
			continue;
		/* "id":N} is what a request without parameters ends with */
		const char *id = strstr(buf, "\"id\":");
		int len = snprintf(line, sizeof line, "%s", fake.say);
		char *at = strstr(line, "@");
		if (at != NULL && id != NULL) {
			char rest[65536];
			snprintf(rest, sizeof rest, "%s", at + 1);
			len = (int)(at - line) + snprintf(at, sizeof line - (size_t)(at - line),
			                             "%d%s", atoi(id + 5), rest);
		}
		assert_int_equal(send(w->fd, line, (size_t)len, MSG_NOSIGNAL), len);
	}
}

static void
on_accept(struct watch *w, uint32_t events)
{
	(void)events;
	fake.client = (struct watch){.fd = accept(w->fd, NULL, NULL), .fire = on_client};
	assert_int_equal(events_watch(&fake.ev, &fake.client, EPOLLIN), 0);
}

static void
start_listening(void)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	memcpy(un.sun_path, fake.path, strlen(fake.path));
	fake.listener =
	    (struct watch){.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), .fire = on_accept};
	assert_int_equal(bind(fake.listener.fd, (struct sockaddr *)&un, sizeof un), 0);
	assert_int_equal(listen(fake.listener.fd, 5), 0);
	assert_int_equal(events_watch(&fake.ev, &fake.listener, EPOLLIN), 0);
}

static int
setup(void **state)
{
	(void)state;
	memset(&fake, 0, sizeof fake);
	strcpy(fake.dir, "/tmp/terrace-unit-XXXXXX");
	assert_non_null(mkdtemp(fake.dir));
	snprintf(fake.path, sizeof fake.path, "%s/sock", fake.dir);
	fake.client.fd = fake.listener.fd = -1;
	assert_int_equal(events_init(&fake.ev), 0);
	assert_int_equal(rpc_create(&fake.ev, fake.path, &fake.rpc), 0);
	assert_int_equal(source_create(&fake.ev, fake.rpc, &fake.source), 0);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	source_destroy(fake.source);
	rpc_destroy(fake.rpc);
	if (fake.client.fd >= 0)
		close(fake.client.fd);
	if (fake.listener.fd >= 0)
		close(fake.listener.fd);
	events_fini(&fake.ev);
	unlink(fake.path);
	rmdir(fake.dir);
	return 0;
}

static void
on_end(struct timer *t)
{
	(void)t;
	fake.ev.stop = true;
}

/* Turns of the loop for so long, or until somebody stops it. */
#define PATIENCE_MS 30000u /* for what ends before */

static void
run_for(unsigned ms)
{
	fake.ev.stop = false;
	timer_init(&fake.end, on_end);
	timer_set(&fake.ev, &fake.end, ms);
	assert_int_equal(events_run(&fake.ev), 0);
	timer_cancel(&fake.end);
}

struct asked {
	struct rpc_call call;
	struct wish wish;
	unsigned done;
	int err;
	json_int_t value;
	char message[100];
};

static void
on_call(struct rpc_call *c)
{
	struct asked *a = container_of(c, struct asked, call);
	a->done++;
	a->err = c->err;
	a->value = c->err == 0 ? json_number(c->result, "value", -1) : -1;
	snprintf(a->message, sizeof a->message, "%s", c->message);
	fake.ev.stop = true;
}

static void
on_wish(struct wish *w, int err, json_t *answer)
{
	struct asked *a = container_of(w, struct asked, wish);
	a->done++;
	a->err = err;
	a->value = json_number(answer, "value", -1);
	fake.ev.stop = true;
}

static void
ask(struct asked *a, unsigned timeout_ms)
{
	*a = (struct asked){.call.done = on_call};
	rpc_submit(fake.rpc, &a->call, "any", NULL, timeout_ms);
}

static void
answers_and_errors(void **state)
{
	static const struct {
		const char *say;
		int err;
		json_int_t value;
	} rows[] = {
	    {"{\"jsonrpc\":\"2.0\",\"id\":@,\"result\":{\"value\":7}}\n", 0, 7},
	    {"{\"id\":@,\"error\":{\"code\":-32004,\"message\":\"none\"}}\n", -ENOENT, -1},
	    {"{\"id\":@,\"error\":{\"code\":-32601,\"message\":\"?\"}}\n", -EOPNOTSUPP, -1},
	    {"{\"id\":@,\"error\":{\"code\":-32000,\"message\":\"tried\"}}\n", -EIO, -1},
	    {"{\"id\":null,\"error\":{\"code\":-32003,\"message\":\"no\"}}\n", -EACCES, -1},
	    {"{\"id\":4711,\"result\":{}}\n", -EPROTO, -1},
	    {"{\"id\":@}\n", -EPROTO, -1},
	    {"{\"id\":@,\"id\":1,\"result\":{}}\n", -EPROTO, -1},
	    {"nonsense\n", -EPROTO, -1},
	    {"\n", -EPROTO, -1},
	    {"[[[[[[[[\n", -EPROTO, -1},
	    {"{\"jsonrpc\":\"2.0\",\"id\":@,\"result\":{\"value\":8}}\n", 0, 8},
	};
	(void)state;
	start_listening();
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct asked a;
		fake.say = rows[i].say;
		ask(&a, 1000);
		assert_int_equal(a.done, 0); /* not before rpc_submit() returns */
		run_for(2000);
		assert_int_equal(a.done, 1);
		assert_int_equal(a.err, rows[i].err);
		assert_int_equal(a.value, rows[i].value);
		run_for(20); /* its end of the connection is noticed */
	}
}

static void
silence(void **state)
{
	struct asked a, b;

	(void)state;
	start_listening();
	ask(&a, 200);
	run_for(1000);
	assert_int_equal(a.err, -ETIMEDOUT);
	run_for(20);
	/* The next one isn't waited for as long as it says. */
	uint64_t begin = fake.ev.now_ms;
	ask(&b, 60000);
	run_for(5000);
	assert_int_equal(b.err, -ETIMEDOUT);
	assert_true(fake.ev.now_ms - begin < 2000);
}

static void
nobody_listens(void **state)
{
	struct asked a, b, c;

	(void)state;
	uint64_t begin = fake.ev.now_ms;
	ask(&a, ANSWER_TIMEOUT_MS);
	run_for(6000);
	assert_int_equal(a.err, -EHOSTDOWN);
	assert_true(fake.ev.now_ms - begin < 5000);
	begin = fake.ev.now_ms;
	ask(&b, ANSWER_TIMEOUT_MS); /* at once: it is known */
	run_for(1000);
	assert_int_equal(b.err, -EHOSTDOWN);
	assert_true(fake.ev.now_ms - begin < 500);
	start_listening();
	fake.say = "{\"id\":@,\"result\":{\"value\":1}}\n";
	ask(&c, ANSWER_TIMEOUT_MS);
	run_for(2000);
	assert_int_equal(c.err, 0);
}

static void
what_is_cancelled_is_forgotten(void **state)
{
	struct asked a, b;

	(void)state;
	start_listening();
	ask(&a, 1000);
	run_for(50);
	assert_int_equal(fake.asked, 1);
	rpc_cancel(fake.rpc, &a.call); /* its answer would still come */
	ask(&b, 1000);
	rpc_cancel(fake.rpc, &b.call); /* not sent yet */
	run_for(50);
	assert_int_equal(a.done + b.done, 0);
	assert_int_equal(fake.asked, 1);
}

static void
answers_are_shared_and_kept(void **state)
{
	struct asked a = {.wish.done = on_wish}, b = a, c = a, d = a, e = a;

	(void)state;
	start_listening();
	fake.say = "{\"id\":@,\"result\":{\"value\":1}}\n";
	source_get(fake.source, &a.wish, &(struct gather_need){.method = "any"});
	source_get(
	    fake.source, &b.wish, &(struct gather_need){.method = "any -"}); /* another question */
	source_get(fake.source, &c.wish, &(struct gather_need){.method = "any"});
	while (a.done + b.done + c.done < 3)
		run_for(PATIENCE_MS);
	assert_int_equal(fake.asked, 2);
	source_get(fake.source, &d.wish, &(struct gather_need){.method = "any"});
	assert_int_equal(d.done, 1); /* at once */
	assert_int_equal(d.value, 1);
	assert_int_equal(fake.asked, 2);
	source_expire(fake.source);
	source_get(fake.source, &e.wish, &(struct gather_need){.method = "any"});
	assert_int_equal(e.done, 0);
	run_for(PATIENCE_MS);
	assert_int_equal(e.done, 1);
	assert_int_equal(fake.asked, 3);
	fake.ev.now_ms += CACHED_MS + 1;
	a.done = 0;
	source_get(fake.source, &a.wish, &(struct gather_need){.method = "any"});
	assert_int_equal(a.done, 0); /* too old */
	source_forget(&a.wish);
	run_for(50);
	assert_int_equal(a.done, 0);
}

/* {"id":@,"result":[0,0,…]} */
static char *
list_answer(unsigned count)
{
	char *text = malloc(2 * count + 64), *at = text;
	at += sprintf(at, "{\"id\":@,\"result\":[0");
	for (unsigned i = 1; i < count; i++)
		at += sprintf(at, ",0");
	strcpy(at, "]}\n");
	return text;
}

/* Milliseconds from one answer to that to the same question, asked when the first is too old. */
static uint64_t
between_answers(const char *method)
{
	struct asked a = {.wish.done = on_wish}, b = a;
	unsigned asked = fake.asked;

	source_get(fake.source, &a.wish, &(struct gather_need){.method = method});
	while (!a.done)
		run_for(PATIENCE_MS);
	assert_int_equal(fake.asked, asked + 1);
	uint64_t came_ms = fake.ev.now_ms;
	run_for(CACHED_MS + 10);
	source_get(fake.source, &b.wish, &(struct gather_need){.method = method});
	assert_int_equal(b.done, 0);
	while (!b.done)
		run_for(PATIENCE_MS);
	assert_int_equal(fake.asked, asked + 2);
	return fake.ev.now_ms - came_ms;
}

/* After an answer with the statistics of many the daemon rests: others wait, and are answered. */
static void
statistics_of_many_are_asked_seldom(void **state)
{
	struct asked gone = {.wish.done = on_wish}, last = gone;

	(void)state;
	start_listening();
	char *many = list_answer(1000);
	fake.say = many;
	assert_true(between_answers("lun.stats") >= 250);
	/* Who doesn't wait any more leaves nothing behind. */
	run_for(CACHED_MS + 10);
	source_get(fake.source, &gone.wish, &(struct gather_need){.method = "lun.stats"});
	source_forget(&gone.wish);
	run_for(600);
	assert_int_equal(gone.done, 0);
	source_get(fake.source, &last.wish, &(struct gather_need){.method = "lun.stats"});
	while (!last.done)
		run_for(PATIENCE_MS);
	/* At most a second, however many. */
	free(many);
	many = list_answer(20000);
	fake.say = many;
	assert_true(between_answers("overview") >= 1000);
	/* Waiting when the source ends. */
	run_for(CACHED_MS + 10);
	source_get(fake.source, &gone.wish, &(struct gather_need){.method = "overview"});
	assert_int_equal(gone.done, 0);
	source_forget(&gone.wish);
	free(many);
}

/* A list of LUNs, measured so long ago. */
static char *
measured_answer(unsigned age_ms)
{
	char *text = NULL;
	assert_true(asprintf(&text,
	                "{\"id\":@,\"result\":[{\"name\":\"a\",\"age_ms\":%u},{\"name\":\"b\"},"
	                "{\"name\":\"c\",\"age_ms\":10}]}\n",
	                age_ms) > 0);
	return text;
}

/* How old an answer to this may be that is given again, in steps of 50 ms. Takes need.params. */
static unsigned
given_again_for(struct gather_need need, const char *say)
{
	struct asked first = {.wish.done = on_wish};
	const unsigned step_ms = 50;
	unsigned age_ms = 0;
	bool given = true;

	fake.say = say;
	source_expire(fake.source);
	run_for(2);
	json_incref(need.params);
	source_get(fake.source, &first.wish, &need);
	while (!first.done)
		run_for(PATIENCE_MS);
	while (given) {
		struct asked again = {.wish.done = on_wish};
		fake.ev.now_ms += step_ms;
		json_incref(need.params);
		source_get(fake.source, &again.wish, &need);
		given = again.done != 0;
		age_ms += given ? step_ms : 0;
		source_forget(&again.wish);
	}
	run_for(50); /* the clock is right again, and the answer comes */
	json_decref(need.params);
	return age_ms;
}

static void
answers_are_kept_as_long_as_another_would_be_the_same(void **state)
{
	struct gather_need stats = {.method = "lun.stats"}, list = {.method = "lun.list"},
	                   one = stats;
	struct gather_need lately = {.method = "lun.list", .max_age_ms = 600};
	char *just = measured_answer(100), *long_ago = measured_answer(700),
	     *late = measured_answer(5000);

	(void)state;
	start_listening();
	unsigned kept = given_again_for(stats, just);
	assert_in_range(kept, 700, 900);
	kept = given_again_for(stats, long_ago);
	assert_in_range(kept, 150, 300);
	assert_in_range(given_again_for(stats, late), 50, CACHED_MS); /* it should have been */
	assert_in_range(given_again_for(list, just), 50, CACHED_MS);
	assert_in_range(given_again_for(lately, just), 500, 600);
	one.params = json_pack("{s:s}", "lun", "a");
	assert_in_range(given_again_for(one, just), 50, CACHED_MS);
	/* A list of things that aren't measured. */
	assert_in_range(given_again_for(stats, "{\"id\":@,\"result\":[1,2,{\"name\":\"x\"}]}\n"),
	    50, CACHED_MS);
	free(just);
	free(long_ago);
	free(late);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(answers_and_errors, setup, teardown),
	    cmocka_unit_test_setup_teardown(silence, setup, teardown),
	    cmocka_unit_test_setup_teardown(nobody_listens, setup, teardown),
	    cmocka_unit_test_setup_teardown(what_is_cancelled_is_forgotten, setup, teardown),
	    cmocka_unit_test_setup_teardown(answers_are_shared_and_kept, setup, teardown),
	    cmocka_unit_test_setup_teardown(statistics_of_many_are_asked_seldom, setup, teardown),
	    cmocka_unit_test_setup_teardown(
	        answers_are_kept_as_long_as_another_would_be_the_same, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
