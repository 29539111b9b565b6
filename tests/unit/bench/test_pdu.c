/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Bytes that the load generator puts on the wire, written out by hand from RFC 7143 §11 and SBC-3.
 * Sent through a socket pair by the program's own engine parts.
 */
#include "base/crc32c.h"
#include "bench/iscsi_load.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static struct load_options opt;
static struct load_engine engine;
static int peer;

/* An engine of one logged-in session over a socket pair, against a unit of 2^20 blocks of 512. */
static void
start(uint32_t block_bytes, uint32_t read_percent, bool digests)
{
	opt = (struct load_options){.sessions = 1,
	    .depth = 4,
	    .block_bytes = block_bytes,
	    .read_percent = read_percent,
	    .pattern = LOAD_PATTERN_SEQUENTIAL,
	    .seed = 1,
	    .lun = 3};
	assert_int_equal(load_engine_init(&engine, &opt), 0);
	int fds[2];
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	struct load_session *s = &engine.sessions[0];
	s->fd = fds[0];
	peer = fds[1];
	load_params_init(&s->params);
	s->params.header_digest = s->params.data_digest = digests;
	s->cmd_sn = 0x11223344;
	s->max_cmd_sn = 0x11223344; /* One command only. */
	s->exp_stat_sn = 0x55667788;
	engine.alive_count = 1;
	engine.logical_block_bytes = 512;
	engine.capacity_blocks = engine.region_blocks = 1u << 20;
	engine.io_blocks = block_bytes / 512;
	engine.issuing = true;
	s->seq_lba = 0x12340;
}

static int
stop(void **state)
{
	(void)state;
	load_engine_fini(&engine);
	close(peer);
	return 0;
}

static size_t
sent_bytes(uint8_t *buf, size_t cap)
{
	load_tx_fill(&engine.sessions[0]);
	assert_int_equal(load_tx_flush(&engine.sessions[0].tx, engine.sessions[0].fd), 0);
	ssize_t n = recv(peer, buf, cap, 0);
	return n < 0 ? 0 : (size_t)n;
}

static void
answer(const void *pdu, size_t len)
{
	assert_int_equal(send(peer, pdu, len, 0), (ssize_t)len);
}

static void
test_read_command(void **state)
{
	(void)state;
	start(4096, 100, false);
	uint8_t got[256];
	static const uint8_t expected[48] = {
	    0x01, 0xc1, 0, 0, 0, 0, 0, 0, /* SCSI command, F R simple, no data */
	    0, 3, 0, 0, 0, 0, 0, 0,       /* LUN 3 */
	    0, 0, 0, 0,                   /* tag of slot 0 */
	    0, 0, 0x10, 0,                /* 4096 expected */
	    0x11, 0x22, 0x33, 0x44,       /* CmdSN */
	    0x55, 0x66, 0x77, 0x88,       /* ExpStatSN */
	    0x28, 0, 0, 1, 0x23, 0x40, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, /* READ(10) */
	};
	assert_int_equal(sent_bytes(got, sizeof got), sizeof expected);
	assert_memory_equal(got, expected, sizeof expected);
}

static void
test_closed_window_sends_nothing_more(void **state)
{
	(void)state;
	start(4096, 100, false);
	uint8_t got[256];
	assert_int_equal(sent_bytes(got, sizeof got), 48);
	assert_int_equal(sent_bytes(got, sizeof got), 0);
	assert_int_equal(engine.busy_count, 1);
}

static void
test_write_with_digests_carries_immediate_data(void **state)
{
	(void)state;
	start(4096, 0, true);
	uint8_t got[8192];
	assert_int_equal(sent_bytes(got, sizeof got), 48 + 4 + 4096 + 4);
	static const uint8_t head[24] = {
	    0x01, 0xa1, 0, 0, 0, 0, 0x10, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10, 0};
	static const uint8_t cdb[10] = {0x2a, 0, 0, 1, 0x23, 0x40, 0, 0, 8, 0};
	assert_memory_equal(got, head, sizeof head);
	assert_memory_equal(got + 32, cdb, sizeof cdb);
	uint32_t header_crc = crc32c(got, 48);
	uint32_t data_crc = crc32c(got + 52, 4096);
	/* Least significant byte first (RFC 7143 §13.1). */
	for (int i = 0; i < 4; i++) {
		assert_int_equal(got[48 + i], header_crc >> 8 * i & 0xff);
		assert_int_equal(got[52 + 4096 + i], data_crc >> 8 * i & 0xff);
	}
}

static void
test_r2t_is_answered_in_segments(void **state)
{
	(void)state;
	start(32768, 0, false);
	engine.sessions[0].params.immediate_data = false;
	uint8_t got[65536];
	assert_int_equal(sent_bytes(got, sizeof got), 48);
	static const uint8_t r2t[48] = {
	    0x31, 0x80, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, /* R2T */
	    0, 0, 0, 0, 0xca, 0xfe, 0, 1,                         /* ITT, TTT */
	    0x55, 0x66, 0x77, 0x88, 0x11, 0x22, 0x33, 0x45, 0x11, 0x22, 0x33, 0x44, 0, 0, 0, 0, 0,
	    0, 0x10, 0, 0, 0, 0x30, 0, /* offset 4096, 12288 bytes */
	};
	answer(r2t, sizeof r2t);
	assert_true(load_rx_pump(&engine.sessions[0]));
	assert_int_equal(sent_bytes(got, sizeof got), 48 + 8192 + 48 + 4096);
	static const uint8_t first[48] = {
	    0x05, 0, 0, 0, 0, 0, 0x20, 0, 0, 3, 0, 0, 0, 0, 0, 0, /* not final, 8192 bytes */
	    0, 0, 0, 0, 0xca, 0xfe, 0, 1, 0, 0, 0, 0, 0x55, 0x66, 0x77, 0x88, 0, 0, 0, 0, 0, 0, 0,
	    0, 0, 0, 0x10, 0, 0, 0, 0, 0, /* DataSN 0, offset 4096 */
	};
	static const uint8_t second[48] = {
	    0x05, 0x80, 0, 0, 0, 0, 0x10, 0, 0, 3, 0, 0, 0, 0, 0, 0, /* final, 4096 bytes */
	    0, 0, 0, 0, 0xca, 0xfe, 0, 1, 0, 0, 0, 0, 0x55, 0x66, 0x77, 0x88, 0, 0, 0, 0, 0, 0, 0,
	    1, 0, 0, 0x30, 0, 0, 0, 0, 0, /* DataSN 1, offset 12288 */
	};
	assert_memory_equal(got, first, sizeof first);
	assert_memory_equal(got + 48 + 8192, second, sizeof second);
}

/* First burst 12 KiB in segments of 8: 8 with the command, 4 unasked, the rest only by R2T. */
static void
test_unsolicited_data_ends_at_the_first_burst(void **state)
{
	(void)state;
	start(32768, 0, false);
	engine.sessions[0].params.initial_r2t = false;
	engine.sessions[0].params.first_burst_bytes = 12288;
	uint8_t got[65536];
	assert_int_equal(sent_bytes(got, sizeof got), 48 + 8192 + 48 + 4096);
	assert_int_equal(got[1], 0x21); /* W, simple, and not F: data-out follows */
	static const uint8_t none[4] = {0xff, 0xff, 0xff, 0xff};
	const uint8_t *out = got + 48 + 8192;
	assert_int_equal(out[0], 0x05);
	assert_int_equal(out[1], 0x80);
	assert_memory_equal(out + 20, none, 4);
	assert_int_equal(load_be32(out + 40), 8192);
}

/* Data-In with the S bit completes the command. */
static void
test_status_in_data_in_completes(void **state)
{
	(void)state;
	start(4096, 100, false);
	uint8_t got[256];
	assert_int_equal(sent_bytes(got, sizeof got), 48);
	static uint8_t in[48 + 4096] = {
	    0x25,
	    0x81,
	    0,
	    0,
	    0,
	    0,
	    0x10,
	    0,
	    0,
	    0,
	    0,
	    0,
	    0,
	    0,
	    0,
	    0,
	    0,
	    0,
	    0,
	    0,
	    0xff,
	    0xff,
	    0xff,
	    0xff,
	    0x55,
	    0x66,
	    0x77,
	    0x88,
	    0x11,
	    0x22,
	    0x33,
	    0x45,
	    0x11,
	    0x22,
	    0x33,
	    0x65,
	    0,
	    0,
	    0,
	    0,
	    0,
	    0,
	    0,
	    0,
	};
	answer(in, sizeof in);
	engine.measuring = true;
	assert_true(load_rx_pump(&engine.sessions[0]));
	assert_int_equal(engine.busy_count, 0);
	assert_int_equal(engine.reads, 1);
	assert_int_equal(engine.sessions[0].exp_stat_sn, 0x55667789);
	assert_int_equal(engine.sessions[0].max_cmd_sn, 0x11223365);
}

/* The same cut at every byte, with several receives, is the same PDU. */
static void
test_split_pdus_are_joined(void **state)
{
	(void)state;
	static uint8_t in[48 + 512] = {0x25, 0x81, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
	    0, 0, 0xff, 0xff, 0xff, 0xff, 0x55, 0x66, 0x77, 0x88, 0x11, 0x22, 0x33, 0x45, 0x11,
	    0x22, 0x33, 0x44, 0, 0, 0, 0, 0, 0, 0, 0};
	uint8_t got[256];
	for (size_t cut = 1; cut < sizeof in; cut += 13) {
		start(512, 100, false);
		assert_int_equal(sent_bytes(got, sizeof got), 48);
		answer(in, cut);
		assert_true(load_rx_pump(&engine.sessions[0]));
		assert_int_equal(engine.busy_count, 1);
		answer(in + cut, sizeof in - cut);
		assert_true(load_rx_pump(&engine.sessions[0]));
		assert_int_equal(engine.busy_count, 0);
		assert_int_equal(engine.errors.status + engine.errors.protocol, 0);
		if (cut + 13 < sizeof in)
			stop(NULL);
	}
}

static void
test_short_read_is_an_error(void **state)
{
	(void)state;
	start(4096, 100, false);
	uint8_t got[256];
	assert_int_equal(sent_bytes(got, sizeof got), 48);
	static const uint8_t rsp[48] = {0x21, 0x80, 0, 0, [24] = 0x55, 0x66, 0x77, 0x88};
	answer(rsp, sizeof rsp);
	assert_true(load_rx_pump(&engine.sessions[0]));
	assert_int_equal(engine.errors.status, 1);
	assert_int_equal(engine.busy_count, 0);
}

/* What a broken target may send ends the session, and is not believed. */
static void
test_hostile_pdus_end_the_session(void **state)
{
	(void)state;
	static const uint8_t bad[][48] = {
	    {0x3f, 0x80, 0x04},                          /* Reject */
	    {0x21, 0x80, [19] = 9},                      /* response for an unknown tag */
	    {0x21, 0x80, [24] = 1},                      /* wrong StatSN */
	    {0x25, 0x80, [5] = 0xff, 0xff, 0xff},        /* segment over the declared */
	    {0x25, 0x80, [6] = 0x10, [40] = 0, 0, 0x10}, /* data at a wrong offset */
	    {0x25, 0x80, [6] = 0x20},                    /* more data than asked for */
	    {0x31, 0x80, [46] = 0x10},                   /* R2T for a read */
	    {0x25, 0x80, [4] = 1},                       /* AHS */
	    {0x15, 0x80},                                /* unknown opcode */
	};
	uint8_t got[256];
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		start(4096, 100, false);
		assert_int_equal(sent_bytes(got, sizeof got), 48);
		answer(bad[i], sizeof bad[i]);
		assert_false(load_rx_pump(&engine.sessions[0]));
		assert_int_equal(engine.errors.protocol, 1);
		if (i + 1 < sizeof bad / sizeof bad[0])
			stop(NULL);
	}
}

static void
test_ping_is_answered(void **state)
{
	(void)state;
	start(4096, 100, false);
	engine.issuing = false;
	static const uint8_t ping[48] = {0x20, 0x80, [9] = 3, [16] = 0xff, 0xff, 0xff, 0xff, 0xab,
	    0xcd, 0, 2, 0x55, 0x66, 0x77, 0x88};
	answer(ping, sizeof ping);
	assert_true(load_rx_pump(&engine.sessions[0]));
	uint8_t got[256];
	assert_int_equal(sent_bytes(got, sizeof got), 48);
	static const uint8_t expected[48] = {0x40, 0x80, [9] = 3, [16] = 0xff, 0xff, 0xff, 0xff,
	    0xab, 0xcd, 0, 2, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88};
	assert_memory_equal(got, expected, sizeof expected);
}

static void
test_large_addresses_use_16_byte_commands(void **state)
{
	(void)state;
	uint8_t cdb[16];
	load_pdu_cdb(cdb, false, 0x123456789aull, 0x100);
	static const uint8_t expected[16] = {
	    0x88, 0, 0, 0, 0, 0x12, 0x34, 0x56, 0x78, 0x9a, 0, 0, 1, 0, 0, 0};
	assert_memory_equal(cdb, expected, sizeof cdb);
}

static void
test_large_luns_use_flat_addressing(void **state)
{
	(void)state;
	uint8_t field[8];
	load_pdu_lun(field, 0x1234);
	static const uint8_t expected[8] = {0x52, 0x34};
	assert_memory_equal(field, expected, sizeof field);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_teardown(test_read_command, stop),
	    cmocka_unit_test_teardown(test_closed_window_sends_nothing_more, stop),
	    cmocka_unit_test_teardown(test_write_with_digests_carries_immediate_data, stop),
	    cmocka_unit_test_teardown(test_r2t_is_answered_in_segments, stop),
	    cmocka_unit_test_teardown(test_unsolicited_data_ends_at_the_first_burst, stop),
	    cmocka_unit_test_teardown(test_status_in_data_in_completes, stop),
	    cmocka_unit_test_teardown(test_split_pdus_are_joined, stop),
	    cmocka_unit_test_teardown(test_short_read_is_an_error, stop),
	    cmocka_unit_test_teardown(test_hostile_pdus_end_the_session, stop),
	    cmocka_unit_test_teardown(test_ping_is_answered, stop),
	    cmocka_unit_test(test_large_addresses_use_16_byte_commands),
	    cmocka_unit_test(test_large_luns_use_flat_addressing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
