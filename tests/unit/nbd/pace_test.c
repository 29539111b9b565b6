/* SPDX-License-Identifier: BSD-2-Clause */
/* What NBD may move in a second while initiators work; times are those of the simulated loop. */
#include "client.h"

#include <stdlib.h>
#include <string.h>

#define MiB (1024u * 1024u)
#define S_NS 1000000000ull
#define RATE MiB          /* bytes a second */
#define LEN (2u * MiB)    /* what is read: two seconds at the rate */
#define SLACK_NS 50000000 /* of the simulated network */

struct rig {
	struct bench *b;
	struct client *c;
	uint8_t *want, *got;
};

struct set_rate {
	struct bench *b;
	uint64_t bytes_s;
};

static void
set_rate_call(void *ctx)
{
	const struct set_rate *s = ctx;
	nbd_server_set_rate(s->b->server, s->bytes_s);
}

static void
set_rate(struct bench *b, uint64_t bytes_s)
{
	struct set_rate s = {b, bytes_s};
	world_call(b->w, 0, set_rate_call, &s);
	assert_int_equal(nbd_server_rate(b->server), bytes_s);
}

static uint64_t
now_ns(const struct bench *b)
{
	return loop_clock_ns(b->w->loops[0]);
}

static uint64_t
paused_ns(const struct bench *b)
{
	uint64_t sum_ns = 0;
	for (unsigned i = 0; i < b->server->loop_count; i++) {
		struct nbd_stats st;
		nbd_server_get_stats(b->server, i, &st);
		sum_ns += st.paused_ns;
	}
	return sum_ns;
}

/* They do from now on, and every loop has noticed. */
static void
let_initiators_work(struct bench *b)
{
	b->initiators_work = true;
	bench_pass(b, 3 * NBD_ALONE_NS);
}

/* A LUN with data and a connection to it; nobody works, no rate is set. */
static struct rig
rig_new(uint64_t seed)
{
	struct rig r = {.b = bench_new(seed, 16 * MiB), .want = malloc(LEN), .got = malloc(LEN)};
	bench_export(r.b, "a", world_open(r.b->w, "ram:", 64 * MiB, 0, 4096), true);
	r.c = client_go(r.b, "a", CLIENT_STRUCTURED);
	for (uint32_t i = 0; i < LEN; i++)
		r.want[i] = (uint8_t)(i * 5 + i / 4096 + seed);
	assert_int_equal(client_write(r.c, 0, 0, r.want, LEN), 0);
	return r;
}

static void
rig_free(struct rig *r)
{
	client_free(r->c);
	free(r->want);
	free(r->got);
	bench_free(r->b);
}

/* How long it takes to read all of it. */
static uint64_t
read_ns(struct rig *r)
{
	uint64_t begin_ns = now_ns(r->b);
	memset(r->got, 0xee, LEN);
	assert_int_equal(client_read(r->c, 0, LEN, r->got), 0);
	assert_memory_equal(r->got, r->want, LEN);
	return now_ns(r->b) - begin_ns;
}

/* `bytes` at the rate, but for a burst at either end. */
static void
assert_paced(uint64_t took_ns, uint64_t bytes)
{
	assert_true(took_ns >= (bytes - 2 * NBD_BURST_BYTES) * S_NS / RATE);
	assert_true(took_ns <= (bytes + 2 * NBD_BURST_BYTES) * S_NS / RATE + SLACK_NS);
}

static void
rate_holds_while_initiators_work(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed < 4; seed++) {
		struct rig r = rig_new(seed);
		let_initiators_work(r.b);
		uint64_t free_ns = read_ns(&r);
		assert_true(free_ns < S_NS / 2); /* no rate is set */
		assert_int_equal(paused_ns(r.b), 0);

		set_rate(r.b, RATE);
		assert_paced(read_ns(&r), LEN);
		assert_true(paused_ns(r.b) >= S_NS && paused_ns(r.b) <= 3 * S_NS);
		/* What is written counts as well. */
		uint64_t begin_ns = now_ns(r.b);
		assert_int_equal(client_write(r.c, 0, 0, r.want, LEN), 0);
		uint64_t took_ns = now_ns(r.b) - begin_ns;
		assert_true(took_ns >= S_NS && took_ns <= 3 * S_NS);

		set_rate(r.b, 0);
		assert_true(read_ns(&r) < S_NS / 2);
		rig_free(&r);
	}
}

static void
nothing_is_paced_without_initiators(void **state)
{
	(void)state;
	struct rig r = rig_new(5);
	set_rate(r.b, RATE);
	assert_true(read_ns(&r) < S_NS / 2);
	assert_int_equal(paused_ns(r.b), 0);
	rig_free(&r);
}

/* Reads some of the answer, while the rest waits for the rate. */
static void
begin_read(struct rig *r)
{
	client_request(r->c, NBD_CMD_READ, 0, 77, 0, LEN);
	(void)client_need(r->c, NBD_BURST_BYTES / 2);
	assert_true(r->c->in_len < LEN / 2);
}

static void
take_rest(struct rig *r)
{
	while (r->c->in_len < LEN)
		(void)client_need(r->c, r->c->in_len - r->c->in_at + 1);
}

/* Who waits goes on at once: when a rate is taken back, and when initiators have gone. */
static void
what_waits_goes_on(void **state)
{
	(void)state;
	for (unsigned gone = 0; gone < 2; gone++) {
		struct rig r = rig_new(8 + gone);
		set_rate(r.b, RATE);
		let_initiators_work(r.b);
		begin_read(&r);
		uint64_t begin_ns = now_ns(r.b);
		if (gone)
			r.b->initiators_work = false;
		else
			set_rate(r.b, 0);
		take_rest(&r);
		assert_true(now_ns(r.b) - begin_ns < S_NS / 2);
		rig_free(&r);
	}
}

/* The rate is that of all connections, whichever loop they are on; none of them starves. */
static void
connections_share_the_rate(void **state)
{
	(void)state;
	struct rig r = rig_new(12);
	struct client *more[3];
	for (unsigned i = 0; i < 3; i++)
		more[i] = client_go(r.b, "a", CLIENT_STRUCTURED);
	set_rate(r.b, RATE);
	let_initiators_work(r.b);
	uint64_t begin_ns = now_ns(r.b);
	for (unsigned i = 0; i < 3; i++)
		client_request(more[i], NBD_CMD_READ, 0, i, 0, LEN / 2);
	assert_int_equal(client_read(r.c, 0, LEN / 2, r.got), 0);
	uint64_t first_ns = now_ns(r.b) - begin_ns;
	for (unsigned i = 0; i < 3; i++)
		while (more[i]->in_len < LEN / 2)
			(void)client_need(more[i], more[i]->in_len - more[i]->in_at + 1);
	/* Two loops with two connections each. */
	assert_paced(now_ns(r.b) - begin_ns, 4 * (LEN / 2));
	assert_true(first_ns >= S_NS);
	for (unsigned i = 0; i < 3; i++)
		client_free(more[i]);
	rig_free(&r);
}

static void
client_goes_while_it_waits(void **state)
{
	(void)state;
	for (uint64_t seed = 20; seed < 26; seed++) {
		struct rig r = rig_new(seed);
		set_rate(r.b, RATE);
		let_initiators_work(r.b);
		begin_read(&r);
		client_free(r.c);
		r.c = NULL;
		world_pass(r.b->w, S_NS / 4);
		assert_int_equal(bench_conns(r.b), 0);
		/* The loop serves the next one. */
		r.c = client_go(r.b, "a", CLIENT_STRUCTURED);
		assert_int_equal(client_read(r.c, 0, 4096, r.got), 0);
		assert_memory_equal(r.got, r.want, 4096);
		rig_free(&r);
	}
}

static void
export_goes_while_a_client_waits(void **state)
{
	(void)state;
	for (uint64_t seed = 30; seed < 36; seed++) {
		struct rig r = rig_new(seed);
		set_rate(r.b, RATE);
		let_initiators_work(r.b);
		begin_read(&r);
		bool done = false;
		uint64_t begin_ns = now_ns(r.b);
		bench_release(r.b, r.b->exports[0].blk, &done);
		while (!done && now_ns(r.b) - begin_ns < 10 * S_NS)
			world_pass(r.b->w, S_NS / 100);
		/* What was read is sent at once: not even a quarter of the time for it passes. */
		assert_true(done);
		assert_true(now_ns(r.b) - begin_ns < NBD_LINGER_NS / 4);
		assert_int_equal(bench_conns(r.b), 0);
		rig_free(&r);
	}
}

static void
server_stops_while_clients_wait(void **state)
{
	(void)state;
	for (uint64_t seed = 40; seed < 46; seed++) {
		struct rig r = rig_new(seed);
		struct client *other = client_go(r.b, "a", CLIENT_STRUCTURED);
		struct client *third = client_go(r.b, "a", CLIENT_STRUCTURED);
		set_rate(r.b, RATE);
		let_initiators_work(r.b);
		begin_read(&r);
		client_request(other, NBD_CMD_READ, 0, 5, 0, LEN);
		client_request(third, NBD_CMD_READ, 0, 6, 0, LEN);
		(void)client_settle(other);
		bench_stop(r.b);
		client_free(other);
		client_free(third);
		rig_free(&r);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(rate_holds_while_initiators_work),
	    cmocka_unit_test(nothing_is_paced_without_initiators),
	    cmocka_unit_test(what_waits_goes_on),
	    cmocka_unit_test(connections_share_the_rate),
	    cmocka_unit_test(client_goes_while_it_waits),
	    cmocka_unit_test(export_goes_while_a_client_waits),
	    cmocka_unit_test(server_stops_while_clients_wait),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
