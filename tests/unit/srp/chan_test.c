/* SPDX-License-Identifier: BSD-2-Clause */
/* Channels over the fake backend: data in every format, credits, task management, ends. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "srp/iu.h"
#include "store/fault.h"
#include "tests/unit/srp/fake.h"

static struct fake f;
static uint8_t iu[12288], cdb[16];

static int
setup(void **state)
{
	(void)state;
	fake_up(&f, 2, 42);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	fake_down(&f);
	return 0;
}

static void
pattern(uint8_t *p, size_t len, unsigned seed)
{
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)(i * 31 + i / 256 + seed * 17);
}

/* The answer to `tag`: must be the last message. */
static const struct srp_rsp *
answer(struct fake_conn *fc, uint64_t tag)
{
	size_t len;
	const struct srp_rsp *r = (const void *)fake_message(fc, 0, &len);
	assert_non_null(r);
	assert_int_equal(r->opcode, SRP_RSP);
	assert_int_equal(load_be64(r->tag), tag);
	assert_int_equal(len, sizeof *r + be32_get(r->sense_len) + be32_get(r->data_len));
	return r;
}

static void
good(struct fake_conn *fc, uint64_t tag)
{
	const struct srp_rsp *r = answer(fc, tag);
	assert_int_equal(r->status, 0);
	assert_int_equal(r->flags, 0);
}

static int
code(struct fake_conn *fc, uint64_t tag)
{
	const struct srp_rsp *r = answer(fc, tag);
	assert_true(r->flags & SRP_RSP_RSPVALID);
	return ((const uint8_t *)r)[39];
}

/* The unit attention of a new nexus. */
static void
test_unit_ready(struct fake_conn *fc)
{
	memset(cdb, 0, sizeof cdb);
	for (unsigned i = 0; i < 4; i++) {
		assert_true(fake_send(fc, iu, fake_cmd(iu, 900 + i, cdb, 6)));
		fake_run_ms(&f, 10);
		if (answer(fc, 900 + i)->status == 0)
			return;
	}
	fail_msg("the unit isn't ready");
}

static struct fake_conn *
ready(unsigned n)
{
	struct fake_conn *fc = fake_login(&f, n, false);
	test_unit_ready(fc);
	return fc;
}

static void
at_rest(struct fake_conn *fc)
{
	assert_int_equal(fc->credits, f.limits.queue_depth);
	assert_int_equal(fc->recv_count, f.limits.queue_depth + 2);
	assert_int_equal(fc->sq_used, 0);
}

/* ---- logins ------------------------------------------------------------------------------------ */

static void
test_login_and_inquiry(void **state)
{
	(void)state;
	fake_serve(&f);
	struct fake_conn *fc = fake_login(&f, 1, false);
	assert_int_equal(f.logins, 1);
	assert_int_equal(be32_get(fc->rsp.req_lim_delta), 16);
	assert_int_equal(be32_get(fc->rsp.max_it_iu_len), f.limits.it_iu_max_bytes);
	assert_true(be32_get(fc->rsp.max_ti_iu_len) >= 36 + 4 + 96);
	memset(cdb, 0, sizeof cdb);
	cdb[0] = 0x12;
	cdb[4] = 96;
	size_t len = fake_add_direct(iu, fake_cmd(iu, 5, cdb, 6), false, 4096, 96);
	assert_true(fake_send(fc, iu, len));
	fake_run_ms(&f, 10);
	assert_int_equal(answer(fc, 5)->status, 0);
	assert_memory_equal(fc->mem + 4096 + 8, "TERRACE ", 8);
	struct srp_session_info info;
	assert_int_equal(srp_server_sessions(f.server, &info, 1), 1);
	assert_int_equal(info.channels, 1);
	assert_string_equal(info.initiator, "srp.00000000000000000000000000000001");
	assert_string_equal(info.target, "iqn.2024-01.x:t");
	assert_string_equal(info.address, "192.0.2.1:40000");
	at_rest(fc);
}

static void
test_refused_logins(void **state)
{
	(void)state;
	fake_serve(&f);
	uint8_t raw[56] = {0};
	for (size_t len = 0; len < 56; len += 11) {
		struct fake_conn *fc = fake_request_raw(&f, raw, len, false, "192.0.2.1");
		assert_true(fc->rejected);
		assert_int_equal(fc->rej_reason, SRP_REJ_UNSPECIFIED);
	}
	struct fake_conn *fc = fake_request(&f, 1, false, 12289);
	assert_true(fc->rejected);
	assert_int_equal(fc->rej_reason, SRP_REJ_IU_LEN);
	f.setup_fails = true;
	fc = fake_request(&f, 1, false, 8260);
	fake_run_ms(&f, 50);
	assert_true(fc->refused && fc->destroyed);
	assert_int_equal(fc->rej_reason, SRP_REJ_RESOURCES);
	assert_string_equal(f.reason, "no memory for its queue");
	f.setup_fails = false;
	f.accept_fails = true;
	fc = fake_request(&f, 1, false, 8260);
	fake_run_ms(&f, 50);
	assert_true(fc->destroyed && !fc->accepted);
	assert_int_equal(srp_server_session_count(f.server), 0);
	f.accept_fails = false;
	ready(1);
}

/* What comes by the IB CM: the other form, GIDs for addresses, a partition. */
static void
test_native_login(void **state)
{
	(void)state;
	fake_serve(&f);
	uint8_t p[92] = {0};
	struct srp_login_req *w = (void *)p;
	be32_put(&w->it_iu_len, 8260);
	be16_put(&w->formats, 6);
	memset(w->target_port, 0x11, 16);
	w->initiator_port[15] = 9;
	struct fake_conn *fc = fake_request_raw(&f, p, sizeof p, true, "fe80::2:c903:a3:4271");
	fake_run_ms(&f, 50);
	fake_event(fc, SRP_CONN_ESTABLISHED);
	fake_run_ms(&f, 10);
	test_unit_ready(fc);
	struct srp_session_info info;
	assert_int_equal(srp_server_sessions(f.server, &info, 1), 1);
	assert_non_null(strstr(info.address, "fe80::2:c903:a3:4271"));
	assert_false(info.immediate);
}

/* A connection that isn't completed goes; one that sends before we heard of it is served. */
static void
test_half_open(void **state)
{
	(void)state;
	f.limits.login_timeout_ms = 2000;
	fake_serve(&f);
	struct fake_conn *fc = fake_request(&f, 1, false, 8260);
	fake_run_ms(&f, 500);
	assert_true(fc->accepted && !fc->destroyed);
	fake_run_ms(&f, 5000);
	assert_true(fc->destroyed);
	assert_int_equal(f.logins, 0);
	assert_int_equal(f.refused, 1);
	fc = fake_request(&f, 1, false, 8260);
	fake_run_ms(&f, 100);
	memset(cdb, 0, sizeof cdb);
	assert_true(fake_send(fc, iu, fake_cmd(iu, 1, cdb, 6)));
	fake_run_ms(&f, 10);
	assert_int_equal(fc->inbox_count, 0);
	fake_event(fc, SRP_CONN_ESTABLISHED);
	fake_run_ms(&f, 10);
	answer(fc, 1);
}

static void
test_no_device_yet(void **state)
{
	(void)state;
	f.no_device = true;
	fake_serve(&f);
	struct srp_portal_info info;
	assert_true(srp_server_portal(f.server, 0, &info));
	assert_false(info.listening);
	f.no_device = false;
	fake_run_ms(&f, 3000);
	assert_true(srp_server_portal(f.server, 0, &info));
	assert_true(info.listening);
	assert_int_equal(f.devices, 1);
	ready(1);
}

/* ---- data ---------------------------------------------------------------------------------------- */

enum how { DIRECT, INDIRECT, EXTERNAL, IMMEDIATE };

static size_t
build(struct fake_conn *fc, enum how how, uint64_t tag, bool write, uint32_t lba, uint32_t offset,
    uint32_t bytes)
{
	fake_rw_cdb(cdb, write, lba, (uint16_t)(bytes / 512));
	size_t at = fake_cmd(iu, tag, cdb, 16);
	switch (how) {
	case DIRECT:
		return fake_add_direct(iu, at, write, offset, bytes);
	case INDIRECT:
		return fake_add_indirect(fc, iu, at, write, offset, bytes, 7, 7, 0);
	case EXTERNAL:
		return fake_add_indirect(fc, iu, at, write, offset, bytes, 200, 3, 0);
	case IMMEDIATE:
		break;
	}
	return fake_add_immediate(iu, fc->mem + offset, bytes);
}

#define OUT_AT (64u << 10)
#define IN_AT (512u << 10)

static void
write_and_read(struct fake_conn *fc, enum how how, uint32_t bytes)
{
	static unsigned seed;
	uint64_t tag = 1000 + 2 * seed;
	pattern(fc->mem + OUT_AT, bytes, ++seed);
	memset(fc->mem + IN_AT, 0, bytes);
	assert_true(fake_send(fc, iu, build(fc, how, tag, true, 8, OUT_AT, bytes)));
	fake_run_ms(&f, 100);
	good(fc, tag);
	if (how == IMMEDIATE)
		how = DIRECT;
	assert_true(fake_send(fc, iu, build(fc, how, tag + 1, false, 8, IN_AT, bytes)));
	fake_run_ms(&f, 100);
	good(fc, tag + 1);
	assert_memory_equal(fc->mem + IN_AT, fc->mem + OUT_AT, bytes);
	at_rest(fc);
}

static void
every_format(void)
{
	struct fake_conn *fc = ready(1);
	write_and_read(fc, DIRECT, 4096);
	write_and_read(fc, DIRECT, 256 * 1024);
	write_and_read(fc, INDIRECT, 64 * 1024);
	write_and_read(fc, EXTERNAL, 256 * 1024);
	write_and_read(fc, IMMEDIATE, 512);
	write_and_read(fc, IMMEDIATE, 8192);
}

static void
test_every_format(void **state)
{
	(void)state;
	fake_serve(&f);
	every_format();
	struct srp_session_info info;
	assert_int_equal(srp_server_sessions(f.server, &info, 1), 1);
	assert_int_equal(info.copied_bytes, 0);
	assert_int_equal(info.immediate_bytes, 512 + 8192);
	assert_int_equal(info.writes, 6);
	assert_int_equal(info.reads, 6);
	assert_int_equal(info.write_bytes, info.read_bytes);
}

/* The queue has room for little at a time: everything is cut. */
static void
test_narrow_queue(void **state)
{
	(void)state;
	f.queue_max = 2;
	f.segments_max = 1;
	f.reads_max = 1;
	fake_serve(&f);
	every_format();
}

static void
test_memory_that_is_not_registered(void **state)
{
	(void)state;
	f.nothing_is_local = true;
	fake_serve(&f);
	every_format();
	struct srp_session_info info;
	assert_int_equal(srp_server_sessions(f.server, &info, 1), 1);
	assert_true(info.copied_bytes > 0);
}

static void
test_residuals(void **state)
{
	(void)state;
	fake_serve(&f);
	struct fake_conn *fc = ready(1);
	fake_rw_cdb(cdb, false, 0, 1);
	assert_true(
	    fake_send(fc, iu, fake_add_direct(iu, fake_cmd(iu, 1, cdb, 10), false, IN_AT, 4096)));
	fake_run_ms(&f, 50);
	assert_int_equal(answer(fc, 1)->flags, SRP_RSP_DIUNDER);
	assert_int_equal(be32_get(answer(fc, 1)->in_residual), 4096 - 512);
	fake_rw_cdb(cdb, false, 0xfffffff0, 1);
	assert_true(
	    fake_send(fc, iu, fake_add_direct(iu, fake_cmd(iu, 2, cdb, 10), false, IN_AT, 512)));
	fake_run_ms(&f, 50);
	const struct srp_rsp *r = answer(fc, 2);
	assert_int_equal(r->status, 2);
	assert_int_equal(r->flags, SRP_RSP_SNSVALID | SRP_RSP_DIUNDER);
	assert_int_equal(((const uint8_t *)(r + 1))[2], 5);
}

/* READs that wait don't hold up answers. */
static void
test_answers_pass_reads(void **state)
{
	(void)state;
	f.reads_max = 1;
	fake_serve(&f);
	struct fake_conn *fc = ready(1);
	fc->automatic = false;
	for (uint64_t tag = 1; tag <= 5; tag++)
		assert_true(fake_send(fc, iu, build(fc, DIRECT, tag, true, 0, OUT_AT, 4096)));
	fake_run_ms(&f, 10);
	assert_int_equal(fc->reads_out, 1);
	memset(cdb, 0, sizeof cdb);
	assert_true(fake_send(fc, iu, fake_cmd(iu, 9, cdb, 6)));
	fake_run_ms(&f, 10);
	assert_int_equal(fc->chain_count, 2); /* one READ, and the answer */
	fake_complete(fc);
	fake_complete(fc);
	good(fc, 9);
	fc->automatic = true;
	fake_run_ms(&f, 10);
	while (fake_complete(fc))
		fake_run_ms(&f, 10);
	at_rest(fc);
}

/* What one turn answers goes out together, is done together, and fails together. */
static void
test_one_chain_a_turn(void **state)
{
	(void)state;
	fake_serve(&f);
	struct fake_conn *fc = ready(1);
	for (unsigned round = 0; round < 3; round++) {
		unsigned answers = fc->inbox_count;
		fc->automatic = false;
		memset(cdb, 0, sizeof cdb);
		for (uint64_t tag = 1; tag <= 6; tag++)
			assert_true(fake_send_more(fc, iu, fake_cmd(iu, tag, cdb, 6)));
		assert_true(fake_send(fc, iu, fake_cmd(iu, 7, cdb, 6)));
		fake_run_ms(&f, 10);
		assert_int_equal(fc->chain_count, 1);
		assert_int_equal(fc->sq_used, 7);
		assert_int_equal(fc->inbox_count, answers);
		if (round == 2)
			break;
		fake_complete(fc);
		assert_int_equal(fc->inbox_count, answers + 7);
		good(fc, 7);
		fc->automatic = true;
		fake_run_ms(&f, 10);
		at_rest(fc);
	}
	fake_event(fc, SRP_CONN_DISCONNECTED);
	fake_run_ms(&f, 20000);
	assert_true(fc->destroyed);
}

/* More than a chain holds: READs and answers, each in their own. */
static void
test_more_than_a_chain(void **state)
{
	(void)state;
	fake_serve(&f);
	struct fake_conn *fc = ready(1);
	unsigned answers = fc->inbox_count;
	for (uint64_t tag = 1; tag < 16; tag++)
		assert_true(fake_send_more(fc, iu,
		    build(fc, tag % 2 ? DIRECT : INDIRECT, tag, tag % 3 == 0, 0,
		        (uint32_t)tag * 4096, 4096)));
	assert_true(fake_send(fc, iu, build(fc, DIRECT, 16, true, 0, OUT_AT, 4096)));
	fake_run_ms(&f, 500);
	assert_int_equal(fc->inbox_count, answers + 16);
	for (unsigned back = 0; back < 16; back++) {
		const struct srp_rsp *r = (const void *)fake_message(fc, back, NULL);
		assert_int_equal(r->status, 0);
	}
	at_rest(fc);
}

/* ---- what initiators may not do ------------------------------------------------------------------ */

static void
ends_with(struct fake_conn *fc, uint32_t reason, const char *word)
{
	fake_run_ms(&f, 20000);
	assert_true(fc->destroyed && fc->left);
	size_t len;
	const uint8_t *m = fake_message(fc, 0, &len);
	assert_non_null(m);
	assert_int_equal(m[0], SRP_T_LOGOUT);
	assert_int_equal(load_be32(m + 4), reason);
	assert_non_null(strstr(f.reason, word));
}

static void
test_malformed_units(void **state)
{
	(void)state;
	fake_serve(&f);
	struct fake_conn *good_one = ready(1);
	static const struct {
		uint8_t bytes[8];
		size_t len;
		uint32_t reason;
		const char *word;
	} rows[] = {
	    {{0}, 0, SRP_LOGOUT_BAD_IU, "too short"},
	    {{SRP_CMD}, 15, SRP_LOGOUT_BAD_IU, "too short"},
	    {{SRP_CMD}, 47, SRP_LOGOUT_BAD_IU, "malformed"},
	    {{SRP_LOGIN_REQ}, 64, SRP_LOGOUT_BAD_IU, "known kind"},
	    {{0x55}, 64, SRP_LOGOUT_BAD_IU, "known kind"},
	    {{SRP_RSP}, 64, SRP_LOGOUT_BAD_IU, "known kind"},
	    {{SRP_CRED_RSP}, 16, SRP_LOGOUT_UNASKED_RSP, "nobody asked"},
	    {{SRP_AER_RSP}, 16, SRP_LOGOUT_UNASKED_RSP, "nobody asked"},
	    {{SRP_TSK_MGMT}, 47, SRP_LOGOUT_BAD_IU, "too short"},
	    {{SRP_CMD, 0, 0, 0, 0, 0x10}, 63, SRP_LOGOUT_OUT_COUNT, "malformed"},
	    {{SRP_CMD, 0, 0, 0, 0, 0x02, 0, 200}, 68, SRP_LOGOUT_IN_COUNT, "malformed"},
	    {{SRP_CMD, 0, 0, 0, 0, 0x40}, 64, SRP_LOGOUT_OUT_FORMAT, "malformed"},
	    {{SRP_CMD, 0, 0, 0, 0, 0x03}, 64, SRP_LOGOUT_IN_FORMAT, "malformed"},
	};
	for (unsigned i = 0; i < 2 * (sizeof rows / sizeof rows[0]); i++) {
		/* Each twice: on a channel that is live, and before we heard that it is. */
		unsigned row = i / 2;
		bool early = (i & 1) != 0;
		struct fake_conn *fc =
		    early ? fake_request(&f, 2, false, 8260) : fake_login(&f, 2, false);
		fake_run_ms(&f, 100);
		memset(iu, 0, 128);
		memcpy(iu, rows[row].bytes, sizeof rows[row].bytes);
		assert_true(fake_send(fc, iu, rows[row].len));
		fake_run_ms(&f, 10);
		if (early)
			fake_event(fc, SRP_CONN_ESTABLISHED);
		ends_with(fc, rows[row].reason, rows[row].word);
		test_unit_ready(good_one);
	}
	assert_int_equal(srp_server_session_count(f.server), 1);
}

static void
test_refused_requests(void **state)
{
	(void)state;
	fake_serve(&f);
	struct fake_conn *fc = ready(1);
	fake_rw_cdb(cdb, true, 0, 8);
	size_t len = fake_add_direct(iu, fake_cmd(iu, 1, cdb, 10), true, OUT_AT, 4096);
	store_be64(iu + 48, UINT64_MAX - 10);
	assert_true(fake_send(fc, iu, len));
	fake_run_ms(&f, 20);
	assert_int_equal(code(fc, 1), SRP_RSP_INVALID_FIELDS);
	/* A list that says something else than the command when it is fetched. */
	for (unsigned write = 0; write < 2; write++) {
		len = build(fc, EXTERNAL, 2 + write, write != 0, 0, OUT_AT, 64 * 1024);
		store_be32(fc->mem + 16 * 100 + 12, 1 << 20);
		assert_true(fake_send(fc, iu, len));
		fake_run_ms(&f, 20);
		assert_int_equal(code(fc, 2 + write), SRP_RSP_INVALID_FIELDS);
	}
	at_rest(fc);
	test_unit_ready(fc);
}

static void
test_wrong_key_ends_the_channel_only(void **state)
{
	(void)state;
	fake_serve(&f);
	struct fake_conn *other = ready(1);
	for (unsigned write = 0; write < 2; write++) {
		struct fake_conn *fc = ready(2);
		size_t len = build(fc, DIRECT, 1, write != 0, 0, OUT_AT, 4096);
		store_be32(iu + 56, FAKE_KEY + 1);
		assert_true(fake_send(fc, iu, len));
		fake_run_ms(&f, 20000);
		assert_true(fc->destroyed && !fc->abandoned);
		test_unit_ready(other);
	}
}

static void
test_greedy(void **state)
{
	(void)state;
	fake_serve(&f);
	struct fake_conn *fc = ready(1);
	fault_hold(f.blk, 1u << BLK_READ);
	unsigned sent = 0;
	while (fc->left == false && sent < 100 &&
	       fake_send(fc, iu, build(fc, DIRECT, sent + 1, false, 0, IN_AT, 512))) {
		sent++;
		fake_run_ms(&f, 1);
	}
	assert_int_equal(sent, f.limits.queue_depth + 1);
	fault_hold(f.blk, 0);
	ends_with(fc, SRP_LOGOUT_NONE, "more requests");
}

/* ---- task management -------------------------------------------------------------------------------- */

static void
send_tmf(struct fake_conn *fc, uint64_t tag, uint8_t function, uint64_t task)
{
	assert_true(fake_send(fc, iu, fake_tmf(iu, tag, function, task)));
	fake_run_ms(&f, 5);
}

static bool
answered(const struct fake_conn *fc, uint64_t tag)
{
	for (unsigned i = 0; i < FAKE_INBOX_MAX; i++) {
		const uint8_t *m = fake_message(fc, i, NULL);
		if (m != NULL && m[0] == SRP_RSP && load_be64(m + 8) == tag)
			return true;
	}
	return false;
}

/* Does a request that is posted touch the initiator's data? */
static bool
data_in_flight(const struct fake_conn *fc)
{
	for (unsigned i = 0; i < fc->chain_count; i++) {
		const struct fake_chain *ch = &fc->chains[(fc->chain_head + i) % fc->chain_max];
		for (unsigned k = 0; k < ch->count; k++)
			if (ch->wrs[k].kind != SRP_WR_SEND && ch->wrs[k].iovcnt > 0)
				return true;
	}
	return false;
}

/*
 * A command is aborted after `steps` completions of its queue, by every function: it is answered only
 * when nothing of the command can touch the initiator's memory any more.
 */
static void
abort_after(enum how how, bool write, unsigned steps, uint8_t function, bool hold_store)
{
	struct fake_conn *fc = ready(1);
	fc->automatic = false;
	fault_hold(f.blk, hold_store ? 1u << BLK_READ | 1u << BLK_WRITE : 0);
	assert_true(
	    fake_send(fc, iu, build(fc, how, 1, write, 0, write ? OUT_AT : IN_AT, 64 * 1024)));
	fake_run_ms(&f, 5);
	for (unsigned i = 0; i < steps; i++) {
		fake_complete(fc);
		fake_run_ms(&f, 5);
	}
	send_tmf(fc, 2, function, 1);
	if (hold_store) {
		fault_hold(f.blk, 0);
		fake_run_ms(&f, 5);
	}
	for (unsigned i = 0; i < 200 && !answered(fc, 2); i++) {
		for (unsigned k = 0; k < fc->chain_count; k++) {
			const struct fake_chain *ch =
			    &fc->chains[(fc->chain_head + k) % fc->chain_max];
			const struct srp_wr *last = &ch->wrs[ch->count - 1];
			const uint8_t *m = last->iov[0].iov_base;
			/* Posted, the answer to the function is the last thing. */
			if (last->kind == SRP_WR_SEND && load_be64(m + 8) == 2)
				assert_false(data_in_flight(fc));
		}
		fake_complete(fc);
		fake_run_ms(&f, 5);
	}
	assert_true(answered(fc, 2));
	assert_false(data_in_flight(fc));
	while (fake_complete(fc))
		fake_run_ms(&f, 5);
	at_rest(fc); /* the credit came back too */
	fc->automatic = true;
	test_unit_ready(fc);
	fake_event(fc, SRP_CONN_DISCONNECTED);
	fake_run_ms(&f, 100);
	assert_true(fc->destroyed);
}

static void
test_abort_at_every_step(void **state)
{
	(void)state;
	static const uint8_t functions[] = {
	    SRP_TSK_ABORT_TASK, SRP_TSK_ABORT_TASK_SET, SRP_TSK_CLEAR_TASK_SET, SRP_TSK_LUN_RESET};
	f.queue_max = 6;
	f.segments_max = 2;
	f.reads_max = 2;
	fake_serve(&f);
	for (unsigned how = DIRECT; how <= EXTERNAL; how++)
		for (unsigned write = 0; write < 2; write++)
			for (unsigned steps = 0; steps < 8; steps++)
				for (unsigned fn = 0; fn < 4; fn++)
					abort_after((enum how)how, write != 0, steps, functions[fn],
					    (steps + fn) % 2 == 0);
}

static void
test_tmf_answers(void **state)
{
	(void)state;
	fake_serve(&f);
	struct fake_conn *fc = ready(1);
	send_tmf(fc, 1, SRP_TSK_ABORT_TASK, 12345);
	assert_int_equal(code(fc, 1), SRP_RSP_COMPLETE);
	send_tmf(fc, 2, SRP_TSK_CLEAR_ACA, 0);
	assert_int_equal(code(fc, 2), SRP_RSP_TMF_UNSUPPORTED);
	send_tmf(fc, 3, 0x77, 0);
	assert_int_equal(code(fc, 3), SRP_RSP_TMF_UNSUPPORTED);
	send_tmf(fc, 4, SRP_TSK_LUN_RESET, UINT64_MAX);
	assert_int_equal(code(fc, 4), SRP_RSP_COMPLETE);
	fake_tmf(iu, 5, SRP_TSK_LUN_RESET, 0);
	iu[21] = 77;
	assert_true(fake_send(fc, iu, 48));
	fake_run_ms(&f, 10);
	assert_int_equal(code(fc, 5), SRP_RSP_TMF_FAILED);
	at_rest(fc);
}

/* Another nexus resets the unit: the command ends, and its credit isn't lost. */
static void
test_reset_by_another(void **state)
{
	(void)state;
	fake_serve(&f);
	struct fake_conn *a = ready(1), *b = ready(2);
	fault_hold(f.blk, 1u << BLK_READ);
	for (uint64_t tag = 1; tag <= 3; tag++)
		assert_true(fake_send(a, iu, build(a, DIRECT, tag, false, 0, IN_AT, 512)));
	fake_run_ms(&f, 5);
	send_tmf(b, 9, SRP_TSK_LUN_RESET, 0);
	fault_hold(f.blk, 0);
	fake_run_ms(&f, 50);
	assert_int_equal(code(b, 9), SRP_RSP_COMPLETE);
	/* By answers, or by a message of its own. */
	const uint8_t *m = fake_message(a, 0, NULL);
	if (m[0] == SRP_CRED_REQ) {
		uint8_t rsp[16] = {SRP_CRED_RSP};
		memcpy(rsp + 8, m + 8, 8);
		assert_true(fake_send(a, rsp, sizeof rsp));
		fake_run_ms(&f, 5);
	}
	at_rest(a);
	test_unit_ready(a);
	assert_int_equal(a->credits, f.limits.queue_depth);
}

/* ---- channels of one session --------------------------------------------------------------------------- */

static void
test_channels_are_one_nexus(void **state)
{
	(void)state;
	fake_serve(&f);
	struct fake_conn *a = ready(1), *b = fake_login(&f, 1, true);
	assert_int_equal(f.logins, 1);
	assert_int_equal(f.channels, 1);
	assert_int_equal(b->rsp.flags & 3, SRP_LOGIN_RSP_MAINTAINED);
	/* The unit attention was told on the other channel. */
	memset(cdb, 0, sizeof cdb);
	assert_true(fake_send(b, iu, fake_cmd(iu, 1, cdb, 6)));
	fake_run_ms(&f, 10);
	good(b, 1);
	/* The same tag on both; an abort goes to its own channel's command. */
	fault_hold(f.blk, 1u << BLK_READ);
	assert_true(fake_send(a, iu, build(a, DIRECT, 7, false, 0, IN_AT, 512)));
	assert_true(fake_send(b, iu, build(b, DIRECT, 7, false, 0, IN_AT, 512)));
	fake_run_ms(&f, 5);
	assert_true(fake_send(b, iu, fake_tmf(iu, 8, SRP_TSK_ABORT_TASK, 7)));
	fake_run_ms(&f, 5);
	fault_hold(f.blk, 0);
	fake_run_ms(&f, 50);
	assert_true(answered(a, 7));
	assert_false(answered(b, 7));
	assert_true(answered(b, 8));
	at_rest(a);
	at_rest(b);
	/* One goes, the session stays. */
	fake_event(b, SRP_CONN_DISCONNECTED);
	fake_run_ms(&f, 100);
	assert_true(b->destroyed);
	test_unit_ready(a);
	assert_int_equal(srp_server_session_count(f.server), 1);
	fake_event(a, SRP_CONN_DISCONNECTED);
	fake_run_ms(&f, 100);
	assert_int_equal(srp_server_session_count(f.server), 0);
	assert_int_equal(f.logouts, 1);
}

/* A new login takes the place of the old one, not before its last command has ended. */
static void
test_takes_the_place(void **state)
{
	(void)state;
	fake_serve(&f);
	struct fake_conn *a = ready(1), *b = fake_login(&f, 1, true);
	fault_hold(f.blk, 1u << BLK_WRITE);
	assert_true(fake_send(a, iu, build(a, DIRECT, 7, true, 0, OUT_AT, 4096)));
	fake_run_ms(&f, 20);
	struct fake_conn *c = fake_request(&f, 1, false, 8260);
	struct fake_conn *d = fake_request(&f, 1, true, 8260); /* before the first one is through */
	fake_run_ms(&f, 200);
	assert_true(a->left && b->left);
	assert_false(c->accepted || d->accepted);
	fault_hold(f.blk, 0);
	fake_run_ms(&f, 200);
	assert_true(a->destroyed && b->destroyed && c->accepted && d->accepted);
	assert_int_equal(c->rsp.flags & 3, SRP_LOGIN_RSP_TERMINATED);
	assert_int_equal(d->rsp.flags & 3, SRP_LOGIN_RSP_MAINTAINED);
	fake_event(c, SRP_CONN_ESTABLISHED);
	fake_event(d, SRP_CONN_ESTABLISHED);
	fake_run_ms(&f, 10);
	test_unit_ready(c);
	assert_int_equal(srp_server_session_count(f.server), 1);
	/* Again and again, faster than sessions end. */
	struct fake_conn *last = NULL;
	for (unsigned i = 0; i < 5; i++)
		last = fake_request(&f, 1, false, 8260);
	fake_run_ms(&f, 500);
	assert_true(last->accepted);
	fake_event(last, SRP_CONN_ESTABLISHED);
	fake_run_ms(&f, 10);
	test_unit_ready(last);
	assert_int_equal(srp_server_session_count(f.server), 1);
}

/* ---- ends ------------------------------------------------------------------------------------------------ */

static void
test_logout(void **state)
{
	(void)state;
	fake_serve(&f);
	struct fake_conn *fc = ready(1);
	uint8_t m[16] = {SRP_I_LOGOUT, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3};
	assert_true(fake_send(fc, m, sizeof m));
	fake_run_ms(&f, 100);
	assert_int_equal(code(fc, 3), SRP_RSP_COMPLETE);
	assert_true(fc->left && fc->destroyed);
	assert_int_equal(f.logouts, 1);
}

/* The peer or the device goes, with a command at every step. */
static void
test_end_at_every_step(void **state)
{
	(void)state;
	f.queue_max = 6;
	f.segments_max = 2;
	f.reads_max = 2;
	fake_serve(&f);
	for (unsigned how = DIRECT; how <= EXTERNAL; how++) {
		for (unsigned n = 0; n < 48; n++) {
			bool write = n % 2 != 0, hold = n / 2 % 2 != 0;
			unsigned steps = n / 4 % 6;
			struct fake_conn *fc = ready(1);
			fc->automatic = false;
			fault_hold(f.blk, hold ? 1u << BLK_READ | 1u << BLK_WRITE : 0);
			for (uint64_t tag = 1; tag <= 3; tag++)
				assert_true(fake_send(fc, iu,
				    build(fc, (enum how)how, tag, write, 0, write ? OUT_AT : IN_AT,
				        64 * 1024)));
			fake_run_ms(&f, 5);
			for (unsigned i = 0; i < steps; i++) {
				fake_complete(fc);
				fake_run_ms(&f, 5);
			}
			fake_event(fc, n % 3 == 0 ? SRP_CONN_REMOVED : SRP_CONN_DISCONNECTED);
			fake_run_ms(&f, 50);
			assert_true(fc->left);
			assert_false(
			    hold && steps > 3 && write && fc->destroyed && fault_held(f.blk) > 0);
			fault_hold(f.blk, 0);
			fake_run_ms(&f, 200);
			assert_true(fc->destroyed && !fc->abandoned);
		}
	}
	assert_int_equal(srp_server_session_count(f.server), 0);
}

/* A queue that gives nothing back is ended by force, but not under a helper that posts. */
static void
test_abandoned(void **state)
{
	(void)state;
	fake_serve(&f);
	struct fake_conn *fc = ready(1);
	fc->automatic = false;
	fc->holds_back = true;
	assert_true(fake_send(fc, iu, build(fc, DIRECT, 1, true, 0, OUT_AT, 4096)));
	assert_true(fake_send(fc, iu, build(fc, DIRECT, 2, false, 0, IN_AT, 4096)));
	fake_run_ms(&f, 10);
	assert_true(fc->chain_count > 0);
	fake_event(fc, SRP_CONN_REMOVED);
	fake_run_ms(&f, 9000);
	assert_false(fc->abandoned);
	fc->posting = true;
	fake_run_ms(&f, 2000);
	assert_non_null(fc->loop);
	fc->posting = false;
	fake_run_ms(&f, 100);
	assert_true(fc->abandoned && fc->destroyed);
	assert_int_equal(srp_server_session_count(f.server), 0);
}

static void
test_silence_is_probed(void **state)
{
	(void)state;
	f.limits.keepalive_ms = 1000;
	f.limits.stall_ms = 5000;
	fake_serve(&f);
	struct fake_conn *fc = ready(1);
	fake_run_ms(&f, 4500);
	assert_true(fc->probes >= 3 && fc->probes <= 5);
	fc->automatic = false; /* the peer is gone, and nobody says so */
	fake_run_ms(&f, 10000);
	assert_true(fc->destroyed);
	assert_int_equal(f.dropped, 1);
	assert_string_equal(f.reason, "it does not answer");
}

/* ---- changes ----------------------------------------------------------------------------------------------- */

static struct srp_config *next_config, *retired;

static void
on_retired(void *ctx, struct srp_config *old)
{
	(void)ctx;
	retired = old;
}

static void
change(void *ctx)
{
	(void)ctx;
	struct srp_session_info info;
	assert_int_equal(srp_server_affected(f.server, next_config, &info, 1), 1);
	assert_int_equal(srp_server_set_config(f.server, next_config, on_retired, NULL), 0);
}

static void
drop(void *ctx)
{
	(void)ctx;
	struct srp_session_info info;
	assert_int_equal(srp_server_sessions(f.server, &info, 1), 1);
	assert_int_equal(srp_server_drop(f.server, info.id, "told to go"), 0);
	assert_int_equal(srp_server_drop(f.server, 9999, "told to go"), -ENOENT);
}

static void
test_changes(void **state)
{
	(void)state;
	fake_serve(&f);
	struct fake_conn *fc = ready(1);
	fake_on_home(&f, drop, NULL);
	fake_run_ms(&f, 200);
	assert_true(fc->destroyed);
	assert_string_equal(f.reason, "told to go");
	fc = ready(1);
	fault_hold(f.blk, 1u << BLK_WRITE);
	assert_true(fake_send(fc, iu, build(fc, DIRECT, 7, true, 0, OUT_AT, 4096)));
	fake_run_ms(&f, 20);
	assert_int_equal(srp_config_create(&next_config), 0);
	struct srp_config *old = f.config;
	fake_on_home(&f, change, NULL);
	fake_run_ms(&f, 200);
	assert_null(retired); /* a command of its view is still in the store */
	fault_hold(f.blk, 0);
	fake_run_ms(&f, 200);
	assert_ptr_equal(retired, old);
	assert_true(fc->destroyed);
	assert_string_equal(f.reason, "its target is gone");
	fc = fake_request(&f, 1, false, 8260);
	assert_int_equal(fc->rej_reason, SRP_REJ_NEXUS);
	srp_config_destroy(old);
	f.config = next_config;
}

/* Who can't be reached isn't told until he can be, nor stands in the way of his own return by another port. */
static void
test_port_down(void **state)
{
	(void)state;
	fake_serve(&f);
	struct fake_conn *fc = ready(1);
	f.port_down = true;
	fake_event(fc, SRP_CONN_DISCONNECTED);
	fake_run_ms(&f, 20000);
	assert_true(!fc->left && !fc->destroyed);
	assert_int_equal(f.logouts + f.dropped, 1);
	struct fake_conn *again = ready(1);
	assert_true(!fc->destroyed);
	f.port_down = false;
	fake_run_ms(&f, 5000);
	assert_true(fc->destroyed && !again->destroyed);
	test_unit_ready(again);

	f.port_down = true;
	fake_event(again, SRP_CONN_DISCONNECTED);
	fake_run_ms(&f, 5000);
	assert_false(again->destroyed);
	fake_event(again, SRP_CONN_REMOVED);
	fake_run_ms(&f, 50);
	assert_true(again->destroyed);

	fc = ready(2); /* the server stops with it */
	fake_event(fc, SRP_CONN_DISCONNECTED);
	fake_run_ms(&f, 5000);
	assert_false(fc->destroyed);
}

int
main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(test_login_and_inquiry),
	    TEST(test_refused_logins),
	    TEST(test_native_login),
	    TEST(test_half_open),
	    TEST(test_no_device_yet),
	    TEST(test_every_format),
	    TEST(test_narrow_queue),
	    TEST(test_memory_that_is_not_registered),
	    TEST(test_residuals),
	    TEST(test_answers_pass_reads),
	    TEST(test_one_chain_a_turn),
	    TEST(test_more_than_a_chain),
	    TEST(test_malformed_units),
	    TEST(test_refused_requests),
	    TEST(test_wrong_key_ends_the_channel_only),
	    TEST(test_greedy),
	    TEST(test_abort_at_every_step),
	    TEST(test_tmf_answers),
	    TEST(test_reset_by_another),
	    TEST(test_channels_are_one_nexus),
	    TEST(test_takes_the_place),
	    TEST(test_logout),
	    TEST(test_end_at_every_step),
	    TEST(test_abandoned),
	    TEST(test_silence_is_probed),
	    TEST(test_changes),
	    TEST(test_port_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
