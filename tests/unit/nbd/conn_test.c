/* SPDX-License-Identifier: BSD-2-Clause */
/* Requests after negotiation, on a simulated loop against memory and a store that fails. */
#include "client.h"

#include <stdlib.h>
#include <string.h>

#define MiB (1024u * 1024u)

static struct blk *
ram(struct bench *b, uint32_t block_bytes)
{
	return world_open(b->w, "ram:", 64 * MiB, 0, block_bytes);
}

static uint8_t *
fill_ram(struct bench *b, struct blk *blk, uint64_t at, size_t len)
{
	uint8_t *data = malloc(len);
	pattern_fill(data, len, at + 7);
	for (size_t done = 0; done < len; done += 4 * MiB)
		assert_int_equal(io_write(b->w, 0, blk, 0, at + done,
		                     len - done < 4 * MiB ? len - done : 4 * MiB, data + done),
		    0);
	return data;
}

/* Any offset and length reads what is there, in any number of chunks. */
static void
reads_are_rounded(void **state)
{
	(void)state;
	struct bench *b = bench_new(1, 16 * MiB);
	struct blk *blk = ram(b, 4096);
	bench_export(b, "a", blk, false);
	uint8_t *want = fill_ram(b, blk, 0, 3 * MiB), *got = malloc(3 * MiB);
	struct client *c = client_go(b, "a", CLIENT_STRUCTURED);
	static const uint32_t ranges[][2] = {{0, 1}, {1, 1}, {511, 2}, {4095, 2}, {4096, 4096},
	    {262143, 2}, {262144, 262144}, {12345, 1000000}, {0, 3 * MiB}, {3 * MiB - 1, 1},
	    {1, 3 * MiB - 2}};

	for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
		memset(got, 0xee, 3 * MiB);
		assert_int_equal(client_read(c, ranges[i][0], ranges[i][1], got), 0);
		assert_memory_equal(got, want + ranges[i][0], ranges[i][1]);
	}
	/* The end of the export, and beyond it. */
	assert_int_equal(client_read(c, 64 * MiB - 1, 1, got), 0);
	assert_int_equal(client_read(c, 64 * MiB - 1, 2, got), NBD_EINVAL);
	assert_int_equal(client_read(c, 64 * MiB, 1, got), NBD_EINVAL);
	assert_int_equal(client_read(c, UINT64_MAX, 2, got), NBD_EINVAL);
	assert_int_equal(client_read(c, 0, 0, got), NBD_EINVAL);
	assert_int_equal(client_read(c, 0, NBD_REQUEST_MAX_BYTES + 1, got), NBD_EINVAL);
	free(got);
	free(want);
	client_free(c);
	bench_free(b);
}

/* A read of the largest size needs more pieces and buffers than a connection may have at once. */
static void
largest_read(void **state)
{
	(void)state;
	struct bench *b = bench_new(2, 4 * MiB);
	struct blk *blk = world_open(b->w, "ram:", 64 * MiB, 0, 512);
	bench_export(b, "a", blk, false);
	struct client *c = client_go(b, "a", CLIENT_STRUCTURED);
	uint8_t *got = malloc(NBD_REQUEST_MAX_BYTES), *want = malloc(MiB);

	pattern_fill(want, MiB, 3);
	for (unsigned i = 0; i < 32; i++)
		assert_int_equal(io_write(b->w, 1, blk, 0, (uint64_t)i * MiB, MiB, want), 0);
	assert_int_equal(client_read(c, 0, NBD_REQUEST_MAX_BYTES, got), 0);
	for (unsigned i = 0; i < 32; i++)
		assert_memory_equal(got + (size_t)i * MiB, want, MiB);
	free(got);
	free(want);
	client_free(c);
	bench_free(b);
}

/* Without structured replies a reply is one run of bytes, and none is overtaken by another's. */
static void
simple_replies_in_order(void **state)
{
	(void)state;
	struct bench *b = bench_new(3, 16 * MiB);
	struct blk *blk = ram(b, 512);
	bench_export(b, "a", blk, false);
	uint8_t *want = fill_ram(b, blk, 0, 4 * MiB);
	struct client *c = client_go(b, "a", 0);
	static const uint32_t ranges[][2] = {{5, 10}, {100, 2 * MiB}, {4096, 512}, {3, 3 * MiB},
	    {1 * MiB - 1, 7}, {0, 262144}, {1, 262144}, {9, 4 * MiB - 9}};
	const size_t count = sizeof ranges / sizeof *ranges;
	bool seen[8] = {false};

	for (size_t i = 0; i < count; i++)
		client_request(c, NBD_CMD_READ, 0, i, ranges[i][0], ranges[i][1]);
	for (size_t i = 0; i < count; i++) {
		struct nbd_simple_reply r;
		memcpy(&r, client_need(c, sizeof r), sizeof r);
		assert_int_equal(be32_get(r.magic), NBD_SIMPLE_REPLY_MAGIC);
		assert_int_equal(be32_get(r.error), 0);
		uint64_t n = be64_get(r.cookie);
		assert_true(n < count && !seen[n]);
		seen[n] = true;
		assert_memory_equal(
		    client_need(c, ranges[n][1]), want + ranges[n][0], ranges[n][1]);
	}
	assert_int_equal(client_settle(c), 0);
	free(want);
	client_free(c);
	bench_free(b);
}

static void
writes_and_their_kin(void **state)
{
	(void)state;
	struct bench *b = bench_new(4, 16 * MiB);
	struct blk *blk = ram(b, 4096);
	bench_export(b, "a", blk, true);
	struct client *c = client_go(b, "a", CLIENT_STRUCTURED);
	uint8_t *data = malloc(5 * MiB), *got = malloc(5 * MiB);

	pattern_fill(data, 5 * MiB, 9);
	assert_int_equal(client_write(c, 0, 8192, data, 5 * MiB), 0);
	assert_int_equal(client_write(c, NBD_CMD_FLAG_FUA, 0, data, 4096), 0);
	assert_int_equal(client_read(c, 8192, 5 * MiB, got), 0);
	assert_memory_equal(got, data, 5 * MiB);
	assert_int_equal(io_read(b->w, 1, blk, 0, 4096, got), 0);
	assert_memory_equal(got, data, 4096);
	/* Refused ones are swallowed with their data, and the next request is understood. */
	assert_int_equal(client_write(c, 0, 512, data, 4096), NBD_EINVAL);
	assert_int_equal(client_write(c, 0, 0, data, 512), NBD_EINVAL);
	assert_int_equal(client_write(c, 0, 64 * MiB - 4096, data, 8192), NBD_ENOSPC);
	assert_int_equal(client_write(c, 1u << 9, 0, data, 4096), NBD_EINVAL);
	client_request(c, NBD_CMD_FLUSH, 0, 1, 0, 0);
	assert_int_equal(client_simple(c, 1), 0);
	client_request(c, NBD_CMD_WRITE_ZEROES, NBD_CMD_FLAG_NO_HOLE, 2, 8192, 4096);
	assert_int_equal(client_simple(c, 2), 0);
	client_request(c, NBD_CMD_WRITE_ZEROES, 0, 3, 1, 4096);
	assert_int_equal(client_simple(c, 3), NBD_EINVAL);
	/* A hint about less than a block is well taken, and nothing. */
	client_request(c, NBD_CMD_TRIM, NBD_CMD_FLAG_FUA, 4, 12289, 4095);
	assert_int_equal(client_simple(c, 4), 0);
	client_request(c, NBD_CMD_TRIM, 0, 5, 16385, 8192);
	assert_int_equal(client_simple(c, 5), 0);
	memset(data, 0, 4096);                /* zeroed: 8192 */
	memset(data + 20480 - 8192, 0, 4096); /* trimmed: the whole block within the range */
	assert_int_equal(client_read(c, 8192, 5 * MiB, got), 0);
	assert_memory_equal(got, data, 5 * MiB);
	free(data);
	free(got);
	client_free(c);
	bench_free(b);
}

/* Bytes that aren't to be: nothing changes, nothing breaks but what has to. */
static void
read_only_and_unknown(void **state)
{
	(void)state;
	struct bench *b = bench_new(5, 16 * MiB);
	struct blk *blk = ram(b, 512);
	bench_export(b, "a", blk, false);
	struct client *c = client_go(b, "a", 0);
	uint8_t data[4096] = {1}, got[4096];

	assert_int_equal(client_write(c, 0, 0, data, sizeof data), NBD_EPERM);
	client_request(c, NBD_CMD_TRIM, 0, 1, 0, 4096);
	assert_int_equal(client_simple(c, 1), NBD_EPERM);
	client_request(c, NBD_CMD_WRITE_ZEROES, 0, 2, 0, 4096);
	assert_int_equal(client_simple(c, 2), NBD_EPERM);
	client_request(c, NBD_CMD_FLUSH, 0, 3, 0, 0);
	assert_int_equal(client_simple(c, 3), NBD_EINVAL);
	client_request(c, 5, 0, 4, 0, 4096);
	assert_int_equal(client_simple(c, 4), NBD_EINVAL);
	client_request(c, 999, 0, 5, 0, 4096);
	assert_int_equal(client_simple(c, 5), NBD_EINVAL);
	client_request(c, NBD_CMD_BLOCK_STATUS, 0, 6, 0, 4096);
	assert_int_equal(client_simple(c, 6), NBD_EINVAL);
	client_request(c, NBD_CMD_READ, 1u << 2, 7, 0, 512);
	assert_int_equal(client_simple(c, 7), NBD_EINVAL);
	assert_int_equal(io_read(b->w, 0, blk, 0, sizeof got, got), 0);
	for (unsigned i = 0; i < sizeof got; i++)
		assert_int_equal(got[i], 0);
	client_request(c, NBD_CMD_DISC, 0, 0, 0, 0);
	client_expect_end(c);
	client_free(c);
	/* More data than a request may have: nobody waits for its end. */
	c = client_go(b, "a", 0);
	client_request(c, NBD_CMD_WRITE, 0, 1, 0, NBD_REQUEST_MAX_BYTES + 1);
	client_expect_end(c);
	client_free(c);
	c = client_go(b, "a", 0);
	client_send(c, data, 28); /* no magic */
	client_expect_end(c);
	client_free(c);
	assert_int_equal(bench_conns(b), 0);
	bench_free(b);
}

/* Descriptors of a BLOCK_STATUS over the whole range, as many as come. */
static unsigned
status(struct client *c, uint16_t flags, uint64_t at, uint32_t len, struct nbd_status *ret,
    unsigned cap)
{
	struct nbd_chunk_status h;
	client_request(c, NBD_CMD_BLOCK_STATUS, flags, 77, at, len);
	memcpy(&h, client_need(c, sizeof h), sizeof h);
	assert_int_equal(be16_get(h.c.type), NBD_CHUNK_BLOCK_STATUS);
	assert_int_equal(be16_get(h.c.flags), NBD_CHUNK_DONE);
	assert_int_equal(be32_get(h.context), 1);
	unsigned count = (be32_get(h.c.len) - 4) / sizeof *ret;
	assert_true(count > 0 && count <= cap);
	memcpy(ret, client_need(c, count * sizeof *ret), count * sizeof *ret);
	return count;
}

static void
block_status(void **state)
{
	(void)state;
	struct bench *b = bench_new(6, 16 * MiB);
	struct blk *blk = ram(b, 4096);
	bench_export(b, "a", blk, false);
	free(fill_ram(b, blk, 8192, 8192));
	struct client *c = client_go(b, "a", CLIENT_STRUCTURED | CLIENT_META);
	struct nbd_status s[NBD_STATUS_MAX];
	const uint32_t hole = NBD_STATE_HOLE | NBD_STATE_ZERO;

	assert_int_equal(status(c, 0, 0, 65536, s, NBD_STATUS_MAX), 3);
	assert_int_equal(be32_get(s[0].len_bytes), 8192);
	assert_int_equal(be32_get(s[0].flags), hole);
	assert_int_equal(be32_get(s[1].len_bytes), 8192);
	assert_int_equal(be32_get(s[1].flags), 0);
	assert_int_equal(be32_get(s[2].len_bytes), 65536 - 16384);
	assert_int_equal(be32_get(s[2].flags), hole);
	/* Unaligned ends are those of the question. */
	assert_int_equal(status(c, 0, 8191, 3, s, NBD_STATUS_MAX), 2);
	assert_int_equal(be32_get(s[0].len_bytes), 1);
	assert_int_equal(be32_get(s[1].len_bytes), 2);
	assert_int_equal(status(c, NBD_CMD_FLAG_REQ_ONE, 0, 65536, s, NBD_STATUS_MAX), 1);
	assert_int_equal(be32_get(s[0].len_bytes), 8192);
	assert_true(status(c, 0, 0, 64 * MiB, s, NBD_STATUS_MAX) >= 1);
	client_free(c);
	bench_free(b);
}

/* What a store can't read is an error of that request, and the connection goes on. */
static void
store_errors(void **state)
{
	(void)state;
	struct bench *b = bench_new(7, 16 * MiB);
	struct blk *blk = world_open(b->w, "fault:1:read_error=1:ram:", 16 * MiB, 0, 512);
	bench_export(b, "a", blk, false);
	uint8_t *got = malloc(2 * MiB);
	struct client *c = client_go(b, "a", CLIENT_STRUCTURED);
	assert_int_equal(client_read(c, 0, 4096, got), NBD_EIO);
	assert_int_equal(client_read(c, 100, 2 * MiB, got), NBD_EIO);
	client_free(c);
	c = client_go(b, "a", 0);
	client_request(c, NBD_CMD_READ, 0, 1, 3, 2 * MiB);
	assert_int_equal(client_simple(c, 1), NBD_EIO);
	client_request(c, NBD_CMD_READ, 0, 2, 0, 512);
	assert_int_equal(client_simple(c, 2), NBD_EIO);
	client_request(c, 999, 0, 3, 0, 4096);
	assert_int_equal(client_simple(c, 3), NBD_EINVAL);
	assert_int_equal(client_settle(c), 0);
	free(got);
	client_free(c);
	bench_free(b);
}

/*
 * A simple reply that began as a success and can't be finished: no byte that isn't the store's is told
 * as one.
 */
static void
error_in_the_middle(void **state)
{
	(void)state;
	for (uint64_t seed = 20; seed < 28; seed++) {
		struct bench *b = bench_new(seed, 16 * MiB);
		struct blk *blk = world_open(b->w,
		    "fault:1:read_error=1,delay_us=1-500,range=3MiB-4MiB:ram:", 16 * MiB, 0, 512);
		bench_export(b, "a", blk, false);
		uint8_t *want = fill_ram(b, blk, 0, 3 * MiB);
		struct client *c = client_go(b, "a", 0);
		client_request(c, NBD_CMD_READ, 0, 1, 1, 4 * MiB - 1);
		size_t n = client_settle(c);
		if (n > 16) {
			client_expect_end_after(c, n);
			const uint8_t *p = c->in + c->in_at;
			assert_int_equal(load_be32(p + 4), 0);
			assert_true(n - 16 <= 3 * MiB - 1);
			assert_memory_equal(p + 16, want + 1, n - 16);
		} else {
			assert_int_equal(client_simple(c, 1), NBD_EIO);
			assert_false(c->over);
		}
		free(want);
		client_free(c);
		bench_free(b);
	}
}

/* Many small requests at once, cut anywhere; all are answered, each once. */
static void
depth(void **state)
{
	(void)state;
	for (uint64_t seed = 10; seed < 14; seed++) {
		struct bench *b = bench_new(seed, 4 * MiB);
		struct blk *blk = ram(b, 512);
		bench_export(b, "a", blk, true);
		struct client *c = client_go(b, "a", CLIENT_STRUCTURED);
		enum { COUNT = 500 };
		struct nbd_request *h = calloc(COUNT, sizeof *h);
		bool seen[COUNT] = {false};
		for (unsigned i = 0; i < COUNT; i++) {
			be32_put(&h[i].magic, NBD_REQUEST_MAGIC);
			be16_put(&h[i].type, i % 3 == 0 ? NBD_CMD_FLUSH : NBD_CMD_TRIM);
			be64_put(&h[i].cookie, i);
			be64_put(&h[i].offset_bytes, (uint64_t)i * 512);
			be32_put(&h[i].len_bytes, i % 3 == 0 ? 0 : 512);
		}
		client_send(c, h, COUNT * sizeof *h);
		for (unsigned i = 0; i < COUNT; i++) {
			struct nbd_simple_reply r;
			memcpy(&r, client_need(c, sizeof r), sizeof r);
			assert_int_equal(be32_get(r.error), 0);
			assert_true(be64_get(r.cookie) < COUNT && !seen[be64_get(r.cookie)]);
			seen[be64_get(r.cookie)] = true;
		}
		free(h);
		client_free(c);
		bench_free(b);
	}
}

/* What is moved in a turn, at most, while all of a LUN is read; a request may be received as well. */
static uint64_t
most_in_a_turn(struct bench *b, struct client *c, const uint8_t *want, uint32_t len)
{
	uint8_t *got = malloc(len);
	bench_pass(b, 3 * NBD_ALONE_NS);
	b->turn_max_bytes = 0;
	for (unsigned i = 0; i < b->server->loop_count; i++)
		b->server->loops[i].turn_bytes = 0; /* of a turn that is over */
	assert_int_equal(client_read(c, 0, len, got), 0);
	assert_memory_equal(got, want, len);
	free(got);
	return b->turn_max_bytes;
}

/* Initiators come first. */
static void
turns_are_short_while_initiators_work(void **state)
{
	const uint32_t len = 4 * MiB, shared = NBD_TURN_SHARED_BYTES + NBD_IN_BYTES;
	(void)state;
	for (uint64_t seed = 20; seed < 23; seed++) {
		struct bench *b = bench_new(seed, 16 * MiB);
		struct blk *blk = ram(b, 4096);
		bench_export(b, "a", blk, true);
		struct client *c = client_go(b, "a", CLIENT_STRUCTURED);
		uint8_t *want = malloc(len);
		for (uint32_t i = 0; i < len; i++)
			want[i] = (uint8_t)(i * 7 + i / 4096);
		assert_int_equal(client_write(c, 0, 0, want, len), 0);
		assert_true(most_in_a_turn(b, c, want, len) > shared);
		b->initiators_work = true;
		assert_true(most_in_a_turn(b, c, want, len) <= shared);
		b->initiators_work = false;
		assert_true(most_in_a_turn(b, c, want, len) > shared);
		free(want);
		client_free(c);
		bench_free(b);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(reads_are_rounded),
	    cmocka_unit_test(largest_read),
	    cmocka_unit_test(simple_replies_in_order),
	    cmocka_unit_test(writes_and_their_kin),
	    cmocka_unit_test(read_only_and_unknown),
	    cmocka_unit_test(block_status),
	    cmocka_unit_test(store_errors),
	    cmocka_unit_test(error_in_the_middle),
	    cmocka_unit_test(depth),
	    cmocka_unit_test(turns_are_short_while_initiators_work),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
