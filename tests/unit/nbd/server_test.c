/* SPDX-License-Identifier: BSD-2-Clause */
/* Connections as a whole: limits, clients that don't take their answers, exports that go, the end. */
#include "client.h"

#include <stdlib.h>
#include <string.h>

#include "store/fault.h"

#define MiB (1024u * 1024u)
#define SECOND_NS 1000000000ull

/* One that asks for much and takes nothing holds up nobody, on the same loop neither. */
static void
deaf_clients(void **state)
{
	(void)state;
	struct bench *b = bench_new(1, 4 * MiB);
	struct blk *blk = world_open(b->w, "ram:", 64 * MiB, 0, 512);
	struct client *deaf[NBD_CONNS_PER_LOOP_MAX * 2 - 1];
	const unsigned count = sizeof deaf / sizeof *deaf;
	uint8_t *got = malloc(8 * MiB);

	bench_export(b, "a", blk, false);
	for (unsigned i = 0; i < count; i++) {
		deaf[i] = client_go(b, "a", CLIENT_STRUCTURED);
		deaf[i]->deaf = true;
		for (unsigned k = 0; k < 40; k++)
			client_request(deaf[i], NBD_CMD_READ, 0, k, 0, NBD_REQUEST_MAX_BYTES);
	}
	world_pass(b->w, SECOND_NS);
	struct client *c = client_go(b, "a", CLIENT_STRUCTURED);
	assert_int_equal(client_read(c, 3, 8 * MiB, got), 0);
	/* All that was asked comes when it is taken. */
	deaf[0]->deaf = false;
	(void)client_need(deaf[0], 32 * MiB);
	for (unsigned i = 0; i < count; i++)
		client_free(deaf[i]);
	client_free(c);
	world_pass(b->w, 10 * SECOND_NS);
	assert_int_equal(bench_conns(b), 0);
	free(got);
	bench_free(b);
}

/* When all places are taken a client hears so; a place that is free again is given. */
static void
places(void **state)
{
	(void)state;
	struct bench *b = bench_new(2, 4 * MiB);
	struct client *c[NBD_CONNS_PER_LOOP_MAX * 2 + 1];
	const unsigned count = sizeof c / sizeof *c;
	uint8_t got[512];

	bench_export(b, "a", world_open(b->w, "ram:", 1 * MiB, 0, 512), false);
	for (unsigned i = 0; i < count; i++)
		c[i] = client_go(b, "a", CLIENT_STRUCTURED);
	assert_int_equal(bench_conns(b), count - 1);
	/* It is told, and may do something else, or end. */
	client_option(c[count - 1], NBD_OPT_ABORT, NULL, 0);
	assert_int_equal(client_option_reply(c[count - 1], NBD_OPT_ABORT, NULL, NULL), NBD_REP_ACK);
	client_expect_end(c[count - 1]);
	client_free(c[count - 1]);
	client_free(c[5]);
	world_pass(b->w, SECOND_NS);
	c[5] = client_go(b, "a", CLIENT_STRUCTURED);
	assert_int_equal(client_read(c[5], 0, 512, got), 0);
	for (unsigned i = 0; i < count - 1; i++)
		client_free(c[i]);
	world_pass(b->w, SECOND_NS);
	assert_int_equal(bench_conns(b), 0);
	bench_free(b);
}

/* Negotiation has a time limit, and so many at once; the oldest goes first. */
static void
half_open(void **state)
{
	(void)state;
	struct bench *b = bench_new(3, 4 * MiB);
	struct client *c[NBD_HALF_OPEN_MAX + 3];
	const unsigned count = sizeof c / sizeof *c;

	for (unsigned i = 0; i < count; i++) {
		c[i] = client_new(b);
		(void)client_need(c[i], sizeof(struct nbd_greeting));
	}
	(void)client_settle(c[0]);
	assert_int_equal(bench_half_open(b), NBD_HALF_OPEN_MAX);
	for (unsigned i = 0; i < count; i++)
		assert_int_equal(c[i]->over, i < 3);
	world_pass(b->w, NBD_NEGOTIATE_NS + SECOND_NS);
	assert_int_equal(bench_half_open(b), 0);
	for (unsigned i = 0; i < count; i++) {
		client_expect_end(c[i]);
		client_free(c[i]);
	}
	bench_free(b);
}

/* An export goes: what was begun is answered, its connections end, others go on, then it may close. */
static void
release_ends_connections(void **state)
{
	(void)state;
	struct bench *b = bench_new(4, 16 * MiB);
	struct blk *going = world_open(b->w, "fault:1::ram:", 16 * MiB, 0, 512);
	struct blk *staying = world_open(b->w, "ram:", 16 * MiB, 0, 512);
	struct client *c[4];
	uint8_t got[4096];
	bool done;

	bench_export(b, "going", going, true);
	bench_export(b, "staying", staying, false);
	for (unsigned i = 0; i < 3; i++)
		c[i] = client_go(b, "going", CLIENT_STRUCTURED);
	c[3] = client_go(b, "staying", CLIENT_STRUCTURED);
	fault_hold(going, 1u << BLK_READ);
	client_request(c[0], NBD_CMD_READ, 0, 1, 0, 4096);
	client_request(c[1], NBD_CMD_WRITE, 0, 1, 0, 1 * MiB); /* and no data */
	(void)client_settle(c[0]);
	assert_int_equal(fault_held(going), 1);
	bench_release(b, going, &done);
	world_pass(b->w, 10 * SECOND_NS);
	assert_false(done); /* an I/O is under way */
	fault_hold(going, 0);
	for (unsigned i = 0; i < 50 && !done; i++)
		world_pass(b->w, SECOND_NS / 10);
	assert_true(done);
	world_close(b->w, going);
	b->exports[0].blk = NULL;
	(void)client_need(c[0], sizeof(struct nbd_chunk_data) + 4096); /* its answer */
	for (unsigned i = 0; i < 3; i++) {
		client_expect_end(c[i]);
		client_free(c[i]);
	}
	assert_int_equal(client_read(c[3], 5, 4000, got), 0);
	assert_int_equal(bench_conns(b), 1);
	/* Nobody uses it: at once, but not before it returns. */
	struct blk *other = world_open(b->w, "ram:", 1 * MiB, 0, 512);
	bench_release(b, other, &done);
	world_pass(b->w, SECOND_NS);
	assert_true(done);
	world_close(b->w, other);
	client_free(c[3]);
	bench_free(b);
}

/* A client that takes nothing has a second; it crosses with the release, in all orders. */
static void
release_of_the_deaf(void **state)
{
	(void)state;
	for (uint64_t seed = 100; seed < 130; seed++) {
		struct bench *b = bench_new(seed, 4 * MiB);
		struct blk *blk = world_open(b->w, "ram:", 64 * MiB, 0, 512);
		bool done;
		bench_export(b, "a", blk, false);
		struct client *deaf = client_go(b, "a", CLIENT_STRUCTURED);
		struct client *leaving = client_go(b, "a", CLIENT_STRUCTURED);
		deaf->deaf = true;
		for (unsigned k = 0; k < 8; k++)
			client_request(deaf, NBD_CMD_READ, 0, k, 0, NBD_REQUEST_MAX_BYTES);
		client_request(leaving, NBD_CMD_DISC, 0, 0, 0, 0);
		for (uint64_t i = 0; i < seed - 100; i++)
			(void)loop_sim_step(b->w->sim);
		bench_release(b, blk, &done);
		world_pass(b->w, 2 * NBD_LINGER_NS);
		assert_true(done);
		assert_int_equal(bench_conns(b), 0);
		client_free(deaf);
		client_free(leaving);
		bench_free(b);
	}
}

/* The end with everything under way; also when it crosses with clients that go. */
static void
stop_ends_everything(void **state)
{
	(void)state;
	for (uint64_t seed = 200; seed < 220; seed++) {
		struct bench *b = bench_new(seed, 4 * MiB);
		bench_export(b, "a", world_open(b->w, "ram:", 64 * MiB, 0, 512), true);
		struct client *c[6];
		for (unsigned i = 0; i < 5; i++)
			c[i] = client_go(b, "a", CLIENT_STRUCTURED);
		c[5] = client_new(b);
		client_request(c[0], NBD_CMD_READ, 0, 1, 7, 8 * MiB);
		client_request(c[1], NBD_CMD_WRITE, 0, 1, 0, 8 * MiB);
		client_request(c[2], NBD_CMD_DISC, 0, 0, 0, 0);
		client_request(c[3], NBD_CMD_FLUSH, 0, 1, 0, 0);
		for (uint64_t i = 0; i < (seed - 200) * 3; i++)
			(void)loop_sim_step(b->w->sim);
		bench_stop(b);
		assert_int_equal(bench_half_open(b), 0);
		for (unsigned i = 0; i < 6; i++)
			client_free(c[i]);
		/* What is released after the end is told once, and the end not again. */
		bool done;
		bench_release(b, b->exports[0].blk, &done);
		world_pass(b->w, SECOND_NS);
		assert_true(done);
		bench_free(b);
	}
}

struct size {
	struct blk *blk;
	uint64_t bytes;
};

static void
set_size(void *ctx)
{
	const struct size *s = ctx;
	fault_set_size(s->blk, s->bytes);
}

/* An export that has grown is as large as it is for those who open it then. */
static void
sizes_follow(void **state)
{
	(void)state;
	struct bench *b = bench_new(5, 4 * MiB);
	struct blk *blk = world_open(b->w, "fault:1::ram:", 16 * MiB, 0, 512);
	uint8_t got[512];
	struct size size = {blk, 8 * MiB};

	bench_export(b, "a", blk, false);
	world_call(b->w, 0, set_size, &size);
	struct client *old = client_go(b, "a", CLIENT_STRUCTURED);
	assert_int_equal(client_read(old, 8 * MiB, 512, got), NBD_EINVAL);
	size.bytes = 16 * MiB;
	world_call(b->w, 0, set_size, &size);
	struct client *c = client_go(b, "a", CLIENT_STRUCTURED);
	assert_int_equal(client_read(c, 16 * MiB - 512, 512, got), 0);
	assert_int_equal(client_read(c, 16 * MiB, 512, got), NBD_EINVAL);
	/* One that has shrunk fails what isn't there any more. */
	size.bytes = 4 * MiB;
	world_call(b->w, 0, set_size, &size);
	assert_int_equal(client_read(c, 5 * MiB, 512, got), NBD_EIO);
	assert_int_equal(client_read(old, 1 * MiB, 512, got), 0);
	client_free(old);
	client_free(c);
	bench_free(b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(deaf_clients),
	    cmocka_unit_test(places),
	    cmocka_unit_test(half_open),
	    cmocka_unit_test(release_ends_connections),
	    cmocka_unit_test(release_of_the_deaf),
	    cmocka_unit_test(stop_ends_everything),
	    cmocka_unit_test(sizes_follow),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
