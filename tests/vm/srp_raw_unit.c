/* SPDX-License-Identifier: BSD-2-Clause */
/* Information units, one at a time. */
#include <stdio.h>
#include <string.h>

#include "tests/vm/srp_raw.h"

#define BLOCK 512u

/* ---- units that are right ---------------------------------------------------------------------- */

size_t
raw_command(struct raw_conn *c, uint8_t formats, uint64_t tag)
{
	memset(c->send, 0, RAW_SEND_BYTES);
	c->send[0] = SRP_CMD;
	c->send[5] = formats;
	store_be64(c->send + 8, tag);
	return 48;
}

size_t
raw_add_desc(struct raw_conn *c, size_t at, uint64_t va, uint32_t key, uint32_t len)
{
	store_be64(c->send + at, va);
	store_be32(c->send + at + 8, key);
	store_be32(c->send + at + 12, len);
	return at + 16;
}

/* CDB of READ(10) or WRITE(10), in a command that is begun. */
static void
add_cdb(struct raw_conn *c, uint8_t opcode, uint32_t lba, uint16_t blocks)
{
	c->send[32] = opcode;
	store_be32(c->send + 34, lba);
	store_be16(c->send + 39, blocks);
}

size_t
raw_read(
    struct raw_conn *c, uint64_t tag, uint32_t lba, uint16_t blocks, const void *to, uint32_t key)
{
	size_t at = raw_command(c, SRP_FMT_DIRECT, tag);
	add_cdb(c, 0x28, lba, blocks);
	return raw_add_desc(c, at, (uintptr_t)to, key, blocks * BLOCK);
}

size_t
raw_write(
    struct raw_conn *c, uint64_t tag, uint32_t lba, uint16_t blocks, const void *from, uint32_t key)
{
	size_t at = raw_command(c, SRP_FMT_DIRECT << 4, tag);
	add_cdb(c, 0x2a, lba, blocks);
	return raw_add_desc(c, at, (uintptr_t)from, key, blocks * BLOCK);
}

uint8_t
raw_answer(struct raw_conn *c, uint64_t tag)
{
	if (!raw_wait_message(c, RAW_WAIT_MS) || c->last.bytes[0] != SRP_RSP)
		raw_fail("no answer but %02x", c->last.bytes[0]);
	if (load_be64(c->last.bytes + 8) != tag)
		raw_fail("an answer to %llu", (unsigned long long)load_be64(c->last.bytes + 8));
	return c->last.bytes[19];
}

void
raw_ready(struct raw_conn *c)
{
	for (uint64_t tag = 1; tag <= 8; tag++) {
		raw_send(c, raw_read(c, tag, 0, 8, c->data, c->mr->rkey));
		if (raw_answer(c, tag) == 0)
			return;
	}
	raw_fail("status %02x", c->last.bytes[19]);
}

void
raw_still_serves(void)
{
	raw_name("after: %s", raw_what);
	struct raw_conn *c = raw_login();
	raw_ready(c);
	raw_release(c);
}

/* ---- units that end their connection ------------------------------------------------------------ */

/* With this reason in T_LOGOUT. */
static void
logged_out(struct raw_conn *c, uint32_t reason)
{
	if (!raw_wait_message(c, RAW_WAIT_MS) || c->last.bytes[0] != SRP_T_LOGOUT)
		raw_fail("no T_LOGOUT but %02x", c->last.bytes[0]);
	if (load_be32(c->last.bytes + 4) != reason)
		raw_fail("reason %u instead of %u", load_be32(c->last.bytes + 4), reason);
	raw_wait_end(c);
	raw_release(c);
}

static void
fatal_as(const char *name, uint8_t flags, size_t (*fill)(struct raw_conn *c), uint32_t reason)
{
	raw_what = name;
	struct raw_conn *c = raw_login_as(flags, 8260, 68);
	raw_send(c, fill(c));
	logged_out(c, reason);
	raw_still_serves();
}

static void
fatal(const char *name, size_t (*fill)(struct raw_conn *c), uint32_t reason)
{
	fatal_as(name, SRP_LOGIN_IMMEDIATE, fill, reason);
}

static size_t
of_opcode(struct raw_conn *c, uint8_t opcode, size_t len)
{
	memset(c->send, 0, 64);
	c->send[0] = opcode;
	return len;
}
static size_t
unit_empty(struct raw_conn *c)
{
	(void)c;
	return 0;
}
static size_t
unit_unknown(struct raw_conn *c)
{
	memset(c->send, 0x55, 64);
	return 64;
}
static size_t
unit_login(struct raw_conn *c)
{
	return of_opcode(c, SRP_LOGIN_REQ, 64);
}
static size_t
unit_of_target(struct raw_conn *c)
{
	return of_opcode(c, SRP_RSP, 36);
}
static size_t
unit_cred_rsp(struct raw_conn *c)
{
	return of_opcode(c, SRP_CRED_RSP, 16);
}
static size_t
unit_aer_rsp(struct raw_conn *c)
{
	return of_opcode(c, SRP_AER_RSP, 16);
}
static size_t
unit_short_logout(struct raw_conn *c)
{
	return of_opcode(c, SRP_I_LOGOUT, 15);
}
static size_t
unit_short_tmf(struct raw_conn *c)
{
	return of_opcode(c, SRP_TSK_MGMT, 47);
}
static size_t
unit_many_descriptors(struct raw_conn *c)
{
	size_t at = raw_command(c, SRP_FMT_INDIRECT << 4, 1);
	c->send[6] = 255;
	return at + 20;
}
static size_t
unit_unknown_out(struct raw_conn *c)
{
	return raw_command(c, 0x50, 1);
}
static size_t
unit_unknown_in(struct raw_conn *c)
{
	return raw_command(c, SRP_FMT_IMMEDIATE, 1);
}
static size_t
immediate(struct raw_conn *c, uint32_t bytes)
{
	(void)raw_command(c, SRP_FMT_IMMEDIATE << 4, 1);
	add_cdb(c, 0x2a, RAW_LBA, 1);
	store_be32(c->send + 48, bytes);
	return 68 + BLOCK;
}
static size_t
unit_immediate(struct raw_conn *c)
{
	return immediate(c, BLOCK);
}
static size_t
unit_immediate_longer(struct raw_conn *c)
{
	return immediate(c, BLOCK + 1);
}
static size_t
unit_immediate_huge(struct raw_conn *c)
{
	return immediate(c, UINT32_MAX);
}
static size_t
unit_immediate_over_cdb(struct raw_conn *c)
{
	(void)raw_command(c, SRP_FMT_IMMEDIATE << 4, 1);
	c->send[31] = 32; /* bytes: the descriptor ends behind the data's place */
	return 68 + BLOCK;
}

/* A command ends anywhere. */
static void
cut_commands(void)
{
	for (size_t len = 1; len < 64; len++) {
		raw_name("%zu bytes of a command", len);
		struct raw_conn *c = raw_login();
		(void)raw_read(c, 1, 0, 8, c->data, c->mr->rkey);
		raw_send(c, len);
		logged_out(c, len < 48 ? SRP_LOGOUT_BAD_IU : SRP_LOGOUT_IN_COUNT);
	}
	raw_still_serves();
}

static void
longer_than_agreed(void)
{
	raw_what = "a unit longer than agreed";
	struct raw_conn *c = raw_login_as(0, 276, 0);
	(void)raw_read(c, 1, 0, 8, c->data, c->mr->rkey);
	raw_send(c, 12000);
	raw_wait_end(c);
	raw_release(c);
	raw_still_serves();
}

/* ---- units that are refused; the connection lives -------------------------------------------------- */

static void
alive(struct raw_conn *c)
{
	raw_send(c, raw_command(c, 0, 99)); /* TEST UNIT READY */
	(void)raw_answer(c, 99);
}

static void
invalid(const char *name, size_t (*fill)(struct raw_conn *c))
{
	raw_what = name;
	struct raw_conn *c = raw_login();
	raw_ready(c);
	raw_send(c, fill(c));
	(void)raw_answer(c, 1);
	if (!(c->last.bytes[18] & SRP_RSP_RSPVALID) ||
	    load_be32(c->last.bytes + 36) != SRP_RSP_INVALID_FIELDS)
		raw_fail("flags %02x, code %u", c->last.bytes[18], load_be32(c->last.bytes + 36));
	alive(c);
	raw_release(c);
}

static size_t
unit_wraps(struct raw_conn *c)
{
	return raw_add_desc(c, raw_command(c, SRP_FMT_DIRECT, 1), UINT64_MAX - 100, 1, 4096);
}
static size_t
unit_too_much(struct raw_conn *c)
{
	return raw_add_desc(c, raw_command(c, SRP_FMT_DIRECT, 1), 4096, 1, UINT32_MAX);
}
static size_t
unit_long_cdb(struct raw_conn *c)
{
	(void)raw_command(c, 0, 1);
	c->send[31] = 0xfc;
	return 48 + 0xfc;
}
static size_t
unit_both_ways(struct raw_conn *c)
{
	size_t at = raw_command(c, SRP_FMT_DIRECT << 4 | SRP_FMT_DIRECT, 1);
	at = raw_add_desc(c, at, (uintptr_t)c->data, c->mr->rkey, 4096);
	return raw_add_desc(c, at, (uintptr_t)c->data + 4096, c->mr->rkey, 4096);
}

/* READ of eight blocks by a table of so many bytes at c->data, for so much data, with one descriptor of
 * it in the unit. */
static size_t
table(struct raw_conn *c, uint32_t table_bytes, uint32_t bytes, uint32_t first)
{
	size_t at = raw_add_desc(
	    c, raw_command(c, SRP_FMT_INDIRECT, 1), (uintptr_t)c->data, c->mr->rkey, table_bytes);
	c->send[7] = 1;
	add_cdb(c, 0x28, RAW_LBA, 8);
	store_be32(c->send + at, bytes);
	return raw_add_desc(c, at + 4, (uintptr_t)c->data + 8192, c->mr->rkey, first);
}

/* The list at c->data: eight pieces of 512 bytes, in c->data + 8192. */
static void
list(struct raw_conn *c)
{
	for (uint32_t i = 0; i < 8; i++) {
		store_be64(c->data + i * 16, (uintptr_t)c->data + 8192 + i * BLOCK);
		store_be32(c->data + i * 16 + 8, c->mr->rkey);
		store_be32(c->data + i * 16 + 12, BLOCK);
	}
}
static size_t
unit_part_of_descriptor(struct raw_conn *c)
{
	return table(c, 33, BLOCK, BLOCK);
}
static size_t
unit_wrong_sum(struct raw_conn *c)
{
	return table(c, 16, 513, BLOCK);
}
static size_t
unit_long_table(struct raw_conn *c)
{
	return table(c, 16 * 2049, 1u << 20, BLOCK);
}
static size_t
unit_longest_table(struct raw_conn *c)
{
	return table(c, UINT32_MAX & ~15u, 1u << 20, BLOCK);
}
static size_t
unit_fewer_than_sent(struct raw_conn *c)
{
	size_t at = table(c, 16, 2 * BLOCK, BLOCK);
	c->send[7] = 2;
	return raw_add_desc(c, at, (uintptr_t)c->data, c->mr->rkey, BLOCK);
}
static size_t
unit_no_table(struct raw_conn *c)
{
	size_t len = table(c, 0, BLOCK, BLOCK);
	c->send[7] = 0;
	return len;
}
static size_t
unit_table_of_nothing(struct raw_conn *c)
{
	return table(c, 16, 0, BLOCK);
}
static size_t
unit_empty_piece(struct raw_conn *c)
{
	size_t at = table(c, 32, BLOCK, BLOCK);
	c->send[7] = 2;
	return raw_add_desc(c, at, (uintptr_t)c->data, c->mr->rkey, 0);
}
static size_t
unit_list_wraps(struct raw_conn *c)
{
	size_t len = table(c, 16, BLOCK, BLOCK);
	store_be64(c->send + len - 16, UINT64_MAX - 100);
	return len;
}
static size_t
unit_table_wraps(struct raw_conn *c)
{
	size_t len = table(c, 16 * 8, 8 * BLOCK, BLOCK);
	store_be64(c->send + 48, UINT64_MAX - 100);
	return len;
}
/* What the unit holds is right; what is fetched isn't. */
static size_t
unit_list_lies(struct raw_conn *c)
{
	list(c);
	store_be32(c->data + 7 * 16 + 12, BLOCK + 1);
	return table(c, 16 * 8, 8 * BLOCK, BLOCK);
}
static size_t
unit_list_has_nothing(struct raw_conn *c)
{
	list(c);
	store_be32(c->data + 3 * 16 + 12, 2 * BLOCK);
	store_be32(c->data + 4 * 16 + 12, 0);
	return table(c, 16 * 8, 8 * BLOCK, BLOCK);
}
static size_t
unit_list_goes_round(struct raw_conn *c)
{
	list(c);
	store_be64(c->data + 5 * 16, UINT64_MAX - 100);
	return table(c, 16 * 8, 8 * BLOCK, BLOCK);
}

/* ---- units that are odd and yet right ------------------------------------------------------------------ */

/* `from` to `to` of c->data are as they were filled. */
static void
untouched(const struct raw_conn *c, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++)
		if (c->data[i] != 0xee)
			raw_fail("byte %zu was written", i);
}

/* What the command moves and what the buffer takes differ: the smaller is moved, and told. */
static void
residuals(void)
{
	static const struct {
		uint16_t blocks;
		uint32_t buffer;
		uint8_t flags;
		uint32_t residual;
	} rows[] = {{8, BLOCK, SRP_RSP_DIOVER, 7 * BLOCK},
	    {1, 8 * BLOCK, SRP_RSP_DIUNDER, 7 * BLOCK}, {8, 8 * BLOCK, 0, 0}};
	struct raw_conn *c = raw_login();
	raw_what = "a buffer of another length";
	raw_ready(c);
	for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		memset(c->data, 0xee, 16384);
		(void)raw_read(c, 1, 0, rows[i].blocks, c->data, c->mr->rkey);
		store_be32(c->send + 48 + 12, rows[i].buffer);
		raw_send(c, 64);
		if (raw_answer(c, 1) != 0)
			raw_fail("status %02x", c->last.bytes[19]);
		uint32_t moved = rows[i].blocks * BLOCK;
		untouched(c, moved < rows[i].buffer ? moved : rows[i].buffer, 16384);
		if (c->last.bytes[18] != rows[i].flags ||
		    load_be32(c->last.bytes + 24) != rows[i].residual)
			raw_fail("flags %02x, residual %u", c->last.bytes[18],
			    load_be32(c->last.bytes + 24));
	}
	raw_what = "no buffer at all";
	memset(c->data, 0xee, 16384);
	(void)raw_read(c, 2, 0, 8, c->data, c->mr->rkey);
	c->send[5] = 0;
	raw_send(c, 48);
	(void)raw_answer(c, 2);
	untouched(c, 0, 16384);
	raw_what = "a buffer of the other direction";
	(void)raw_read(c, 3, 0, 8, c->data, c->mr->rkey);
	c->send[5] = SRP_FMT_DIRECT << 4;
	raw_send(c, 64);
	(void)raw_answer(c, 3);
	untouched(c, 0, 16384);
	alive(c);
	raw_release(c);
}

/* A table most of which has to be fetched. */
static void
external_table(void)
{
	raw_what = "a table in the initiator's memory";
	struct raw_conn *c = raw_login();
	raw_ready(c);
	raw_send(c, raw_read(c, 1, RAW_LBA, 8, c->data, c->mr->rkey));
	if (raw_answer(c, 1) != 0)
		raw_fail("status %02x", c->last.bytes[19]);
	uint8_t whole[8 * BLOCK];
	memcpy(whole, c->data, sizeof whole);
	list(c);
	memset(c->data + 8192, 0xee, sizeof whole);
	raw_send(c, table(c, 16 * 8, 8 * BLOCK, BLOCK));
	if (raw_answer(c, 1) != 0 || memcmp(whole, c->data + 8192, sizeof whole) != 0)
		raw_fail("status %02x, or other data", c->last.bytes[19]);
	raw_release(c);
}

static void
functions(void)
{
	static const struct {
		uint8_t function, lun;
		uint32_t code;
	} rows[] = {{SRP_TSK_ABORT_TASK, 0, SRP_RSP_COMPLETE},
	    {SRP_TSK_LUN_RESET, 77, SRP_RSP_TMF_FAILED},
	    {SRP_TSK_CLEAR_ACA, 0, SRP_RSP_TMF_UNSUPPORTED}, {0, 0, SRP_RSP_TMF_UNSUPPORTED},
	    {0xff, 0, SRP_RSP_TMF_UNSUPPORTED}, {SRP_TSK_ABORT_TASK_SET, 0, SRP_RSP_COMPLETE}};
	struct raw_conn *c = raw_login();
	raw_ready(c);
	for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		raw_name("task management function %02x of LUN %u", rows[i].function, rows[i].lun);
		memset(c->send, 0, 48);
		c->send[0] = SRP_TSK_MGMT;
		store_be64(c->send + 8, i);
		c->send[21] = rows[i].lun;
		c->send[30] = rows[i].function;
		memset(c->send + 32, 0x77, 8);
		raw_send(c, 48);
		(void)raw_answer(c, i);
		if (!(c->last.bytes[18] & SRP_RSP_RSPVALID) ||
		    load_be32(c->last.bytes + 36) != rows[i].code)
			raw_fail("code %u", load_be32(c->last.bytes + 36));
	}
	raw_what = "a LUN that isn't there";
	(void)raw_read(c, 7, 0, 8, c->data, c->mr->rkey);
	c->send[21] = 77;
	raw_send(c, 64);
	if (raw_answer(c, 7) != 2)
		raw_fail("status %02x", c->last.bytes[19]);
	alive(c);
	raw_release(c);
}

static void
logout(void)
{
	raw_what = "I_LOGOUT";
	struct raw_conn *c = raw_login();
	memset(c->send, 0, 16);
	c->send[0] = SRP_I_LOGOUT;
	store_be64(c->send + 8, 4711);
	raw_send(c, 16);
	(void)raw_answer(c, 4711);
	if (!(c->last.bytes[18] & SRP_RSP_RSPVALID) || load_be32(c->last.bytes + 36) != 0)
		raw_fail("flags %02x", c->last.bytes[18]);
	raw_wait_end(c);
	raw_release(c);
	raw_still_serves();
}

void
raw_units(void)
{
	fatal("an empty unit", unit_empty, SRP_LOGOUT_BAD_IU);
	fatal("an unknown unit", unit_unknown, SRP_LOGOUT_BAD_IU);
	fatal("a login on a channel", unit_login, SRP_LOGOUT_BAD_IU);
	fatal("a unit that only targets send", unit_of_target, SRP_LOGOUT_BAD_IU);
	fatal("a credit nobody asked for", unit_cred_rsp, SRP_LOGOUT_UNASKED_RSP);
	fatal("an event nobody told", unit_aer_rsp, SRP_LOGOUT_UNASKED_RSP);
	fatal("a logout that is cut", unit_short_logout, SRP_LOGOUT_BAD_IU);
	fatal("task management that is cut", unit_short_tmf, SRP_LOGOUT_BAD_IU);
	fatal("255 descriptors that aren't there", unit_many_descriptors, SRP_LOGOUT_OUT_COUNT);
	fatal("an unknown format of data out", unit_unknown_out, SRP_LOGOUT_OUT_FORMAT);
	fatal("immediate data in", unit_unknown_in, SRP_LOGOUT_IN_FORMAT);
	fatal("immediate data a byte longer than the unit", unit_immediate_longer,
	    SRP_LOGOUT_OUT_COUNT);
	fatal("4 GiB of immediate data", unit_immediate_huge, SRP_LOGOUT_OUT_COUNT);
	fatal("immediate data over the CDB", unit_immediate_over_cdb, SRP_LOGOUT_OUT_COUNT);
	fatal_as("immediate data that wasn't granted", 0, unit_immediate, SRP_LOGOUT_OUT_FORMAT);
	cut_commands();
	longer_than_agreed();
	invalid("an address that wraps", unit_wraps);
	invalid("4 GiB", unit_too_much);
	invalid("a long CDB", unit_long_cdb);
	invalid("data both ways", unit_both_ways);
	invalid("part of a descriptor", unit_part_of_descriptor);
	invalid("a wrong sum", unit_wrong_sum);
	invalid("a table of 2049", unit_long_table);
	invalid("a table of 4 GiB", unit_longest_table);
	invalid("a table that is smaller than what was sent of it", unit_fewer_than_sent);
	invalid("data without a table", unit_no_table);
	invalid("a table without data", unit_table_of_nothing);
	invalid("a piece of no length", unit_empty_piece);
	invalid("a list that wraps", unit_list_wraps);
	invalid("a table that wraps", unit_table_wraps);
	invalid("a fetched list that lies", unit_list_lies);
	invalid("a fetched list with a piece of nothing", unit_list_has_nothing);
	invalid("a fetched list that wraps", unit_list_goes_round);
	residuals();
	external_table();
	functions();
	logout();
}
