/* SPDX-License-Identifier: BSD-2-Clause */
/* What the tests of the block commands share: CDBs, and a world with one nexus on LUN 0. */
#ifndef TESTS_SBC_TEST_H
#define TESTS_SBC_TEST_H

#include <string.h>

#include "base/endian.h"
#include "tests/unit/scsi/scsi_fixture.h"

#define BS 512u

struct cdb {
	uint8_t b[16];
	size_t len;
};

static inline struct cdb
cdb6(uint8_t op, uint32_t lba, uint8_t blocks)
{
	struct cdb c = {.len = 6};
	store_be24(c.b + 1, lba);
	c.b[0] = op;
	c.b[4] = blocks;
	return c;
}

static inline struct cdb
cdb10(uint8_t op, uint8_t flags, uint32_t lba, uint16_t blocks)
{
	struct cdb c = {.b = {op, flags}, .len = 10};
	store_be32(c.b + 2, lba);
	store_be16(c.b + 7, blocks);
	return c;
}

static inline struct cdb
cdb12(uint8_t op, uint8_t flags, uint32_t lba, uint32_t blocks)
{
	struct cdb c = {.b = {op, flags}, .len = 12};
	store_be32(c.b + 2, lba);
	store_be32(c.b + 6, blocks);
	return c;
}

static inline struct cdb
cdb16(uint8_t op, uint8_t flags, uint64_t lba, uint32_t blocks)
{
	struct cdb c = {.b = {op, flags}, .len = 16};
	store_be64(c.b + 2, lba);
	store_be32(c.b + 10, blocks);
	return c;
}

/* COMPARE AND WRITE and WRITE ATOMIC(16) have their own places for the length. */
static inline struct cdb
cdb_caw(uint64_t lba, uint8_t blocks)
{
	struct cdb c = cdb16(0x89, 0, lba, 0);
	c.b[13] = blocks;
	return c;
}

static inline struct fx_cmd *
run(struct fx_nexus *n, struct cdb c, const void *out, size_t out_len, size_t in_cap)
{
	return fx_exec(n, 0, c.b, c.len, out, out_len, in_cap);
}

/* The range reads as `byte` all over. */
static inline void
assert_filled(struct fx_nexus *n, uint64_t lba, uint32_t blocks, uint8_t byte)
{
	struct fx_cmd *c = fx_read16(n, 0, lba, blocks);
	fx_assert_good(c);
	assert_true(c->in_len > 0 && c->in_len % blocks == 0);
	for (size_t i = 0; i < c->in_len; i++)
		assert_int_equal(c->in[i], byte);
	fx_cmd_free(c);
}

static inline void
fill(struct fx_nexus *n, uint64_t lba, uint32_t blocks, uint8_t byte)
{
	static uint8_t buf[4u << 20];
	memset(buf, byte, (size_t)blocks * BS);
	struct fx_cmd *c = fx_write16(n, 0, lba, blocks, buf);
	fx_assert_good(c);
	fx_cmd_free(c);
}

/* A function, unlike fx_assert_sense(): the command may be made in the argument. */
static inline void
assert_sense(struct fx_cmd *c, int key, int asc, int ascq)
{
	fx_assert_sense(c, key, asc, ascq);
}

/* A refused CDB, with a field pointer at `byte`. */
static inline void
assert_bad_field(struct fx_cmd *c, int byte, int bit)
{
	int b;
	assert_sense(c, 5, 0x24, 0x00);
	assert_int_equal(fx_sense_field(c, &b), byte);
	assert_int_equal(b, bit);
}

#endif
