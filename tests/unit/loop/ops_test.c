/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Devices work while the loop looks at what they have done: what is queued is handed over first, few
 * completions are looked at in a turn, twice as many in the next; and the first of a burst don't wait for the
 * end of the turn. On a backend of the test's own, whose device does what the test says, and on io_uring.
 */
#include "loop_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "loop/loop_priv.h"

#define OPS_MAX 128u
#define LOG_MAX 1024u

/* ---- a device that the test moves -------------------------------------------------------------------- */

static struct bench {
	struct loop *l;
	struct loop_poll sock; /* stands for one that has something to read */
	struct loop_op ops[OPS_MAX];
	unsigned made;         /* of ops, from the first */
	unsigned with_arrival; /* that many are submitted by the socket's callback */
	bool chain;            /* each completion submits one more */
	char log[LOG_MAX + 1]; /* s: handed over; r: the socket's callback; d: a completion */
	unsigned log_len;
} b;

static void
note(char what)
{
	assert_true(b.log_len < LOG_MAX);
	b.log[b.log_len++] = what;
	b.log[b.log_len] = '\0';
}

static void
bench_submit(struct loop *l)
{
	note('s');
	while (list_pop_front(&l->op_queue))
		;
}

static void
bench_file_submit(struct loop *l, struct loop_op *op)
{
	list_push_back(&l->op_queue, &op->link);
}

static const struct loop_ops bench_ops = {
    .name = "test",
    .submit = bench_submit,
    .file_submit = bench_file_submit,
};

static void on_done(struct loop_op *op, int result);

static void
submit_one(void)
{
	assert_true(b.made < OPS_MAX);
	struct loop_op *op = &b.ops[b.made++];
	*op = (struct loop_op){.op = LOOP_FILE_FSYNC, .fd = -1, .done = on_done};
	loop_file_submit(b.l, op);
}

static void
on_done(struct loop_op *op, int result)
{
	(void)op;
	assert_int_equal(result, 0);
	note('d');
	if (b.chain)
		submit_one();
}

static void
on_arrival(struct loop_poll *p, uint32_t events)
{
	(void)p;
	assert_int_equal(events, EPOLLIN);
	note('r');
	for (unsigned i = 0; i < b.with_arrival; i++)
		submit_one();
}

static int
bench_setup(void **state)
{
	(void)state;
	memset(&b, 0, sizeof b);
	b.l = aligned_alloc(_Alignof(struct loop), sizeof *b.l);
	assert_non_null(b.l);
	assert_int_equal(loop_init(b.l, &bench_ops, 0, (size_t)1 << 20), 0);
	b.l->sim = true; /* no thread's: it is moved from here */
	b.sock = (struct loop_poll){.loop = b.l, .fd = -1, .fn = on_arrival};
	list_init(&b.sock.ready);
	list_init(&b.sock.link);
	return 0;
}

static int
bench_teardown(void **state)
{
	(void)state;
	loop_fini(b.l);
	free(b.l);
	return 0;
}

/* `count` operations are in the device, and it has done them all. */
static void
device_completes(unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		submit_one();
	bench_submit(b.l);
	for (unsigned i = b.made - count; i < b.made; i++)
		loop_file_done(b.l, &b.ops[i]);
	b.log_len = 0;
	b.log[0] = '\0';
}

/* A turn; what happened in it. */
static const char *
one_turn(void)
{
	b.log_len = 0;
	b.log[0] = '\0';
	loop_run_ready(b.l);
	return b.log;
}

static void
assert_completions(const char *log, unsigned count)
{
	assert_int_equal(strlen(log), count);
	assert_int_equal(strspn(log, "d"), count);
}

static void
few_are_looked_at_first_then_twice_as_many(void **state)
{
	(void)state;
	device_completes(100);
	for (unsigned n = 4; n <= 32; n *= 2) {
		assert_completions(one_turn(), n);
		assert_true(loop_has_work(b.l)); /* it won't sleep on the rest */
	}
	assert_completions(one_turn(), 40);
	assert_true(list_empty(&b.l->op_done));
	/* The next burst begins with few again. */
	device_completes(10);
	assert_completions(one_turn(), 4);
	assert_completions(one_turn(), 6);
	assert_completions(one_turn(), 0);
}

static void
what_is_queued_is_handed_over_before_completions_are_looked_at(void **state)
{
	(void)state;
	device_completes(10);
	b.with_arrival = 3;
	loop_poll_event(&b.sock, EPOLLIN);
	assert_string_equal(one_turn(), "rsdddd");
	assert_true(list_empty(&b.l->op_queue));
	/* Nothing came: nothing is handed over. */
	assert_string_equal(one_turn(), "dddddd");
}

/* The end of the turn does it: one system call, not two. */
static void
without_completions_nothing_is_handed_over_early(void **state)
{
	(void)state;
	b.with_arrival = 3;
	loop_poll_event(&b.sock, EPOLLIN);
	assert_string_equal(one_turn(), "r");
	assert_false(list_empty(&b.l->op_queue));
	bench_submit(b.l);
}

/* What answers lead to goes with the next turn's, while the rest is looked at. */
static void
what_completions_lead_to_is_handed_over_between_turns(void **state)
{
	(void)state;
	device_completes(12);
	b.chain = true;
	assert_string_equal(one_turn(), "dddd");
	assert_string_equal(one_turn(), "sdddddddd");
	assert_int_equal(b.made, 24);
	assert_false(list_empty(&b.l->op_queue));
	bench_submit(b.l);
}

/* ---- io_uring --------------------------------------------------------------------------------------- */

#define EARLY 4u /* of uring.c */
#define HELD_MAX (EARLY + 1)

static struct early {
	struct loop *l;
	struct loop_msg start;
	struct loop_op ops[EARLY + 1], held[HELD_MAX];
	struct iovec iov[EARLY], held_iov[HELD_MAX];
	char bytes[EARLY], held_bytes[HELD_MAX];
	int fd, pipe[2];
	unsigned pending;
	unsigned hold;              /* so many others run meanwhile */
	unsigned queued[EARLY + 1]; /* after so many were submitted */
} e;

static unsigned
queue_length(void)
{
	unsigned n = 0;
	LIST_FOREACH (i, &e.l->op_queue) {
		(void)i;
		n++;
	}
	return n;
}

static void
early_done(struct loop_op *op, int result)
{
	assert_int_equal(result, 1);
	(void)op;
	if (--e.pending == 0)
		loop_stop(e.l);
	else if (e.pending == e.hold)
		assert_int_equal(write(e.pipe[1], "!!!!!", e.hold), e.hold);
}

/* One callback: how much of what it submits is still queued is noted each time. */
static void
submit_in_one_callback(struct loop_msg *m)
{
	(void)m;
	for (unsigned i = 0; i < EARLY; i++) {
		e.bytes[i] = (char)('a' + i);
		e.iov[i] = (struct iovec){&e.bytes[i], 1};
		e.ops[i] = (struct loop_op){.op = LOOP_FILE_WRITEV,
		    .fd = e.fd,
		    .iov = &e.iov[i],
		    .iovcnt = 1,
		    .offset_bytes = i,
		    .done = early_done};
		loop_file_submit(e.l, &e.ops[i]);
		e.queued[i + 1] = queue_length();
	}
}

/* Those that are held are with the kernel when the others are submitted. */
static void
hold_some(struct loop_msg *m)
{
	for (unsigned i = 0; i < e.hold; i++) {
		e.held_iov[i] = (struct iovec){&e.held_bytes[i], 1};
		e.held[i] = (struct loop_op){.op = LOOP_FILE_READV,
		    .fd = e.pipe[0],
		    .iov = &e.held_iov[i],
		    .iovcnt = 1,
		    .done = early_done};
		loop_file_submit(e.l, &e.held[i]);
	}
	e.l->ops->submit(e.l);
	assert_int_equal(queue_length(), 0);
	submit_in_one_callback(m);
}

static void
run_early(struct fixture *f, unsigned hold)
{
	char path[] = "/tmp/terrace-file-XXXXXX", back[EARLY + 1] = "";
	memset(&e, 0, sizeof e);
	e.l = f->l;
	e.hold = hold;
	e.pending = EARLY + hold;
	e.fd = mkostemp(path, O_CLOEXEC);
	assert_true(e.fd >= 0);
	unlink(path);
	assert_int_equal(pipe2(e.pipe, O_CLOEXEC), 0);
	e.start.run = hold > 0 ? hold_some : submit_in_one_callback;
	loop_send(e.l, &e.start);
	fixture_run(f);
	assert_int_equal(pread(e.fd, back, EARLY, 0), EARLY);
	assert_string_equal(back, "abcd");
	close(e.fd);
	close(e.pipe[0]);
	close(e.pipe[1]);
}

static void
first_of_a_burst_do_not_wait_for_the_end_of_the_turn(void **state)
{
	struct fixture *f = *state;
	if (!loop_is_uring(f->l))
		skip();
	run_early(f, 0);
	for (unsigned i = 1; i < EARLY; i++)
		assert_int_equal(e.queued[i], i);
	assert_int_equal(e.queued[EARLY], 0);
}

static void
as_many_as_a_device_works_on_follow(void **state)
{
	struct fixture *f = *state;
	if (!loop_is_uring(f->l))
		skip();
	run_early(f, EARLY);
	for (unsigned i = 1; i < EARLY; i++)
		assert_int_equal(e.queued[i], i);
	assert_int_equal(e.queued[EARLY], 0);
}

static void
while_a_device_has_more_they_go_together(void **state)
{
	struct fixture *f = *state;
	if (!loop_is_uring(f->l))
		skip();
	run_early(f, HELD_MAX);
	for (unsigned i = 1; i <= EARLY; i++)
		assert_int_equal(e.queued[i], i);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, bench_setup, bench_teardown)
	const struct CMUnitTest tests[] = {
	    T(few_are_looked_at_first_then_twice_as_many),
	    T(what_is_queued_is_handed_over_before_completions_are_looked_at),
	    T(without_completions_nothing_is_handed_over_early),
	    T(what_completions_lead_to_is_handed_over_between_turns),
	};
	const struct CMUnitTest uring_tests[] = {
	    LOOP_TEST(first_of_a_burst_do_not_wait_for_the_end_of_the_turn),
	    LOOP_TEST(as_many_as_a_device_works_on_follow),
	    LOOP_TEST(while_a_device_has_more_they_go_together),
	};
	int failed = cmocka_run_group_tests_name("any device", tests, NULL, NULL);
	return failed + cmocka_run_group_tests_name("io_uring", uring_tests, NULL, NULL);
}
