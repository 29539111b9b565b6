/* SPDX-License-Identifier: BSD-2-Clause */
/* Negotiation as bytes in and bytes out. */
#include "nbd/nbd_priv.h"
#include "tests/unit/store/harness.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MiB (1024u * 1024u)

static struct world *w;
static struct blk *blk;
static unsigned names; /* further exports to list */

static void
list(void *ctx, bool (*each)(void *each_ctx, const char *name), void *each_ctx)
{
	char name[NBD_NAME_MAX_BYTES];
	(void)ctx;
	if (!each(each_ctx, "disk"))
		return;
	memset(name, 'n', sizeof name);
	name[sizeof name - 1] = '\0';
	for (unsigned i = 0; i < names; i++)
		if (!each(each_ctx, name))
			return;
}

static int
open_export(void *ctx, const char *name, struct nbd_export *ret)
{
	(void)ctx;
	if (strcmp(name, "busy") == 0)
		return -EBUSY;
	if (name[0] != '\0' && strcmp(name, "disk") != 0 && strcmp(name, "rw") != 0)
		return -ENOENT;
	*ret = (struct nbd_export){name[0] != '\0' ? name : "disk", blk, strcmp(name, "rw") == 0};
	return 0;
}

static const struct nbd_ops ops = {.list = list, .open = open_export, .served = NULL};

/* ---- driving it ----------------------------------------------------------------------------------- */

static struct negotiation n;

static void
begin(uint32_t flags)
{
	uint8_t b[4];
	size_t room;
	negotiation_init(&n, &ops, NULL);
	assert_int_equal(n.out_len, 18);
	assert_memory_equal(n.out, "NBDMAGICIHAVEOPT\0\3", 18);
	n.out_len = 0;
	store_be32(b, flags);
	memcpy(negotiation_room(&n, &room), b, 4);
	n.in_len += 4;
	assert_true(negotiation_step(&n));
}

static void
feed(const void *p, size_t len)
{
	while (len > 0) {
		size_t room;
		uint8_t *at = negotiation_room(&n, &room);
		assert_true(room > 0);
		if (room > len)
			room = len;
		memcpy(at, p, room);
		n.in_len += room;
		p = (const uint8_t *)p + room;
		len -= room;
		while (n.out_len == 0 && negotiation_step(&n))
			;
	}
}

static void
option(uint32_t type, const void *data, size_t len)
{
	uint8_t h[16];
	n.out_len = 0;
	store_be64(h, NBD_OPTION_MAGIC);
	store_be32(h + 8, type);
	store_be32(h + 12, (uint32_t)len);
	feed(h, sizeof h);
	feed(data, len);
}

/* The replies to an option, as types in order; 0 ends them. */
static const uint32_t *
replies(uint32_t type)
{
	static uint32_t list_of[4096];
	unsigned count = 0;
	for (size_t at = 0; at < n.out_len;) {
		assert_true(n.out_len - at >= 20);
		assert_true(load_be64(n.out + at) == NBD_OPTION_REPLY_MAGIC);
		assert_int_equal(load_be32(n.out + at + 8), type);
		list_of[count++] = load_be32(n.out + at + 12);
		assert_true(load_be32(n.out + at + 16) <= n.out_len - at - 20);
		at += 20 + load_be32(n.out + at + 16);
		assert_true(count < 4095);
	}
	list_of[count] = 0;
	return list_of;
}

static void
expect(uint32_t type, uint32_t a, uint32_t b, uint32_t c)
{
	const uint32_t *got = replies(type);
	assert_int_equal(got[0], a);
	if (a != 0)
		assert_int_equal(got[1], b);
	if (a != 0 && b != 0)
		assert_int_equal(got[2], c);
}

static void
end(void)
{
	negotiation_fini(&n);
}

/* name, count, words of 16 bits */
static size_t
info(uint8_t *p, const char *name, unsigned count, const uint16_t *types)
{
	size_t len = strlen(name);
	store_be32(p, (uint32_t)len);
	memcpy(p + 4, name, len);
	store_be16(p + 4 + len, (uint16_t)count);
	for (unsigned i = 0; i < count; i++)
		store_be16(p + 6 + len + 2 * i, types[i]);
	return 6 + len + 2 * count;
}

static size_t
meta(uint8_t *p, const char *name, const char *query)
{
	size_t len = strlen(name);
	store_be32(p, (uint32_t)len);
	memcpy(p + 4, name, len);
	store_be32(p + 4 + len, query != NULL);
	if (query == NULL)
		return 8 + len;
	store_be32(p + 8 + len, (uint32_t)strlen(query));
	memcpy(p + 12 + len, query, strlen(query));
	return 12 + len + strlen(query);
}

/* ---- tests ------------------------------------------------------------------------------------------ */

static void
client_flags(void **state)
{
	(void)state;
	begin(3);
	assert_int_equal(n.state, NEGOTIATE_OPTIONS);
	assert_true(n.no_zeroes);
	end();
	begin(0);
	assert_int_equal(n.state, NEGOTIATE_OPTIONS);
	end();
	begin(4);
	assert_int_equal(n.state, NEGOTIATE_BROKEN);
	end();
}

static void
export_name(void **state)
{
	(void)state;
	begin(3);
	option(NBD_OPT_EXPORT_NAME, "disk", 4);
	assert_int_equal(n.state, NEGOTIATE_CHOSEN);
	assert_int_equal(n.out_len, 10);
	assert_true(load_be64(n.out) == 16 * MiB);
	assert_int_equal(load_be16(n.out + 8),
	    NBD_FLAG_HAS_FLAGS | NBD_FLAG_READ_ONLY | NBD_FLAG_CAN_MULTI_CONN);
	assert_false(n.chosen.structured);
	end();
	begin(1);
	option(NBD_OPT_EXPORT_NAME, "", 0);
	assert_int_equal(n.state, NEGOTIATE_CHOSEN);
	assert_int_equal(n.out_len, 134);
	end();
	begin(3);
	option(NBD_OPT_EXPORT_NAME, "none", 4);
	assert_int_equal(n.state, NEGOTIATE_BROKEN);
	end();
}

static void
info_and_go(void **state)
{
	(void)state;
	static const uint16_t all[] = {NBD_INFO_NAME, NBD_INFO_BLOCK_SIZE, 77};
	uint8_t d[600];
	begin(3);
	option(NBD_OPT_INFO, d, info(d, "disk", 0, NULL));
	expect(NBD_OPT_INFO, NBD_REP_INFO, NBD_REP_INFO, NBD_REP_ACK);
	assert_int_equal(n.state, NEGOTIATE_OPTIONS);
	option(NBD_OPT_INFO, d, info(d, "", 3, all));
	assert_memory_equal(n.out + n.out_len - 20 - 4, "disk", 4);
	option(NBD_OPT_INFO, d, info(d, "none", 0, NULL));
	expect(NBD_OPT_INFO, NBD_REP_ERR_UNKNOWN, 0, 0);
	option(NBD_OPT_GO, d, info(d, "busy", 0, NULL));
	expect(NBD_OPT_GO, NBD_REP_ERR_POLICY, 0, 0);
	/* Lengths that lie. */
	for (size_t len = 0; len < 12; len++) {
		(void)info(d, "disk", 1, all);
		option(NBD_OPT_GO, d, len);
		expect(NBD_OPT_GO, NBD_REP_ERR_INVALID, 0, 0);
	}
	store_be32(d, UINT32_MAX);
	option(NBD_OPT_GO, d, 12);
	expect(NBD_OPT_GO, NBD_REP_ERR_INVALID, 0, 0);
	/* A name with a zero byte is nobody's. */
	(void)info(d, "disk", 0, NULL);
	d[7] = 0;
	option(NBD_OPT_GO, d, 10);
	expect(NBD_OPT_GO, NBD_REP_ERR_UNKNOWN, 0, 0);
	option(NBD_OPT_GO, d, info(d, "rw", 0, NULL));
	expect(NBD_OPT_GO, NBD_REP_INFO, NBD_REP_INFO, NBD_REP_ACK);
	assert_int_equal(n.state, NEGOTIATE_CHOSEN);
	assert_true(n.chosen.writable && n.chosen.can_trim && n.chosen.holes_are_zeros);
	assert_int_equal(load_be16(n.out + 20 + 10), NBD_FLAG_HAS_FLAGS | NBD_FLAG_SEND_FLUSH |
	                                                 NBD_FLAG_SEND_FUA | NBD_FLAG_SEND_TRIM |
	                                                 NBD_FLAG_SEND_WRITE_ZEROES);
	assert_int_equal(load_be32(n.out + 32 + 20 + 2), 4096); /* a block at least */
	end();
}

static void
contexts(void **state)
{
	(void)state;
	uint8_t d[600];
	begin(3);
	option(NBD_OPT_SET_META_CONTEXT, d, meta(d, "disk", NBD_META_ALLOCATION));
	expect(NBD_OPT_SET_META_CONTEXT, NBD_REP_ERR_INVALID, 0, 0); /* no structured replies */
	option(NBD_OPT_STRUCTURED_REPLY, "x", 1);
	expect(NBD_OPT_STRUCTURED_REPLY, NBD_REP_ERR_INVALID, 0, 0);
	option(NBD_OPT_STRUCTURED_REPLY, NULL, 0);
	expect(NBD_OPT_STRUCTURED_REPLY, NBD_REP_ACK, 0, 0);
	option(NBD_OPT_LIST_META_CONTEXT, d, meta(d, "disk", NULL));
	expect(NBD_OPT_LIST_META_CONTEXT, NBD_REP_META_CONTEXT, NBD_REP_ACK, 0);
	option(NBD_OPT_LIST_META_CONTEXT, d, meta(d, "disk", "base:"));
	expect(NBD_OPT_LIST_META_CONTEXT, NBD_REP_META_CONTEXT, NBD_REP_ACK, 0);
	option(NBD_OPT_LIST_META_CONTEXT, d, meta(d, "disk", "qemu:dirty"));
	expect(NBD_OPT_LIST_META_CONTEXT, NBD_REP_ACK, 0, 0);
	option(NBD_OPT_SET_META_CONTEXT, d, meta(d, "disk", "base:"));
	expect(NBD_OPT_SET_META_CONTEXT, NBD_REP_ACK, 0, 0);
	option(NBD_OPT_SET_META_CONTEXT, d, meta(d, "none", NBD_META_ALLOCATION));
	expect(NBD_OPT_SET_META_CONTEXT, NBD_REP_ERR_UNKNOWN, 0, 0);
	option(NBD_OPT_SET_META_CONTEXT, d, meta(d, "rw", NBD_META_ALLOCATION));
	expect(NBD_OPT_SET_META_CONTEXT, NBD_REP_META_CONTEXT, NBD_REP_ACK, 0);
	size_t len = meta(d, "disk", NBD_META_ALLOCATION);
	for (size_t i = 0; i < len; i++) {
		option(NBD_OPT_LIST_META_CONTEXT, d, i);
		expect(NBD_OPT_LIST_META_CONTEXT, NBD_REP_ERR_INVALID, 0, 0);
	}
	store_be32(d + 8, UINT32_MAX); /* queries */
	option(NBD_OPT_LIST_META_CONTEXT, d, len);
	expect(NBD_OPT_LIST_META_CONTEXT, NBD_REP_ERR_INVALID, 0, 0);
	/* It was chosen for another export. */
	option(NBD_OPT_GO, d, info(d, "disk", 0, NULL));
	assert_true(n.chosen.structured && !n.chosen.allocation);
	end();
	begin(3);
	option(NBD_OPT_STRUCTURED_REPLY, NULL, 0);
	option(NBD_OPT_SET_META_CONTEXT, d, meta(d, "disk", NBD_META_ALLOCATION));
	option(NBD_OPT_GO, d, info(d, "disk", 0, NULL));
	assert_true(n.chosen.structured && n.chosen.allocation);
	end();
}

static void
lists(void **state)
{
	(void)state;
	begin(3);
	names = 1000;
	option(NBD_OPT_LIST, NULL, 0);
	const uint32_t *got = replies(NBD_OPT_LIST);
	for (unsigned i = 0; i < 1001; i++)
		assert_int_equal(got[i], NBD_REP_SERVER);
	assert_int_equal(got[1001], NBD_REP_ACK);
	names = 100000; /* more than an answer may hold */
	option(NBD_OPT_LIST, NULL, 0);
	expect(NBD_OPT_LIST, NBD_REP_ERR_TOO_BIG, 0, 0);
	names = 0;
	option(NBD_OPT_LIST, "x", 1);
	expect(NBD_OPT_LIST, NBD_REP_ERR_INVALID, 0, 0);
	option(NBD_OPT_STARTTLS, NULL, 0);
	expect(NBD_OPT_STARTTLS, NBD_REP_ERR_UNSUP, 0, 0);
	option(12345, "some data", 9);
	expect(12345, NBD_REP_ERR_UNSUP, 0, 0);
	option(NBD_OPT_ABORT, NULL, 0);
	expect(NBD_OPT_ABORT, NBD_REP_ACK, 0, 0);
	assert_int_equal(n.state, NEGOTIATE_ENDED);
	end();
}

static void
long_options(void **state)
{
	(void)state;
	uint8_t *d = calloc(1, NEGOTIATE_SKIP_MAX_BYTES + 1);
	begin(3);
	option(NBD_OPT_GO, d, NEGOTIATE_OPTION_MAX_BYTES); /* not too long, and nonsense */
	expect(NBD_OPT_GO, NBD_REP_ERR_INVALID, 0, 0);
	option(NBD_OPT_GO, d, NEGOTIATE_OPTION_MAX_BYTES + 1);
	expect(NBD_OPT_GO, NBD_REP_ERR_TOO_BIG, 0, 0);
	option(99, d, NEGOTIATE_SKIP_MAX_BYTES);
	expect(99, NBD_REP_ERR_TOO_BIG, 0, 0);
	option(NBD_OPT_LIST, NULL, 0); /* it goes on */
	expect(NBD_OPT_LIST, NBD_REP_SERVER, NBD_REP_ACK, 0);
	option(99, d, 0);
	uint8_t h[16];
	store_be64(h, NBD_OPTION_MAGIC);
	store_be32(h + 8, 99);
	store_be32(h + 12, NEGOTIATE_SKIP_MAX_BYTES + 1);
	n.out_len = 0;
	feed(h, sizeof h);
	assert_int_equal(n.state, NEGOTIATE_BROKEN);
	end();
	begin(3);
	memset(h, 0, sizeof h);
	feed(h, sizeof h);
	assert_int_equal(n.state, NEGOTIATE_BROKEN);
	end();
	free(d);
}

static int
setup(void **state)
{
	(void)state;
	w = world_sim(1, 1, MiB);
	blk = world_open(w, "ram:", 16 * MiB, 0, 4096);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	world_close(w, blk);
	world_destroy(w);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(client_flags),
	    cmocka_unit_test(export_name),
	    cmocka_unit_test(info_and_go),
	    cmocka_unit_test(contexts),
	    cmocka_unit_test(lists),
	    cmocka_unit_test(long_options),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
