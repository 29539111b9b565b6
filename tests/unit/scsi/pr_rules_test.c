/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The rules as functions: long random histories against what must hold after each step, TransportIDs
 * in every spelling, and parameter lists of random bytes.
 */
#include "tests/unit/scsi/pr_util.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t seed;

/* xorshift64*: the same histories everywhere. */
static uint64_t
rnd(void)
{
	seed ^= seed >> 12;
	seed ^= seed << 25;
	seed ^= seed >> 27;
	return seed * 2685821657736338717u;
}

#define INITIATORS 4
#define PORTS 2

static struct pr_tid tids[INITIATORS];
static const uint16_t ports[PORTS] = {1, 2};

static int
setup(void **state)
{
	(void)state;
	for (unsigned i = 0; i < INITIATORS; i++) {
		uint8_t buf[SCSI_TRANSPORT_ID_MAX];
		char name[64];
		snprintf(name, sizeof(name), "iqn.%c,i,0x00000000000%u", 'a' + i, i);
		size_t len = pr_make_tid(name, buf);
		assert_int_equal(pr_tid_parse(buf, len, &tids[i]), len);
	}
	return 0;
}

/* ---- histories -------------------------------------------------------------------------------------- */

static void
check_state(const struct pr_state *st)
{
	assert_true(st->count <= SCSI_PR_REGISTRATIONS_MAX);
	for (uint32_t i = 0; i < st->count; i++) {
		assert_true(st->regs[i].key != 0);
		assert_int_equal(pr_state_find(st, &st->regs[i].tid, st->regs[i].rel_port), i);
	}
	if (st->type == PR_NONE) {
		assert_int_equal(st->holder, PR_NO_HOLDER);
		return;
	}
	assert_true(pr_type_valid(st->type) && st->count > 0);
	if (pr_type_all_registrants(st->type))
		assert_int_equal(st->holder, PR_NO_HOLDER);
	else
		assert_true(st->holder < st->count);
	assert_int_equal(st->spc2_nexus, 0); /* never both */
}

static uint32_t
deny_of(const struct pr_state *st, unsigned initiator, unsigned port)
{
	return pr_state_deny(
	    st, pr_state_find(st, &tids[initiator], ports[port]), 1 + initiator * PORTS + port);
}

static void
check_fences(const struct pr_state *old, const struct pr_verdict *v)
{
	for (unsigned i = 0; i < INITIATORS; i++) {
		for (unsigned p = 0; p < PORTS; p++) {
			if (deny_of(v->next, i, p) & ~deny_of(old, i, p))
				assert_true(v->fences);
		}
	}
}

static void
check_told(const struct pr_state *old, const struct pr_request *req, const struct pr_verdict *v)
{
	for (uint32_t i = 0; i < old->count; i++) {
		const struct pr_reg *r = &old->regs[i];
		bool self = pr_tid_equal(&r->tid, &req->tid) && r->rel_port == req->rel_port;
		bool gone = pr_state_find(v->next, &r->tid, r->rel_port) < 0;
		if (self) {
			assert_int_equal(v->ua[i], 0);
			assert_false(v->preempted[i]);
			continue;
		}
		if (req->sa == PR_OUT_PREEMPT || req->sa == PR_OUT_PREEMPT_AND_ABORT)
			assert_int_equal(v->ua[i] == UA_REG_PREEMPTED + 1, gone);
		if (req->sa == PR_OUT_CLEAR)
			assert_int_equal(v->ua[i], UA_RES_PREEMPTED + 1);
		assert_int_equal(v->preempted[i], req->sa == PR_OUT_PREEMPT_AND_ABORT && gone);
	}
}

static void
check_generation(
    const struct pr_state *old, const struct pr_request *req, const struct pr_verdict *v)
{
	bool counts = req->sa == PR_OUT_REGISTER || req->sa == PR_OUT_REGISTER_AND_IGNORE ||
	              req->sa == PR_OUT_CLEAR || req->sa == PR_OUT_PREEMPT ||
	              req->sa == PR_OUT_PREEMPT_AND_ABORT || req->sa == PR_OUT_REGISTER_AND_MOVE;
	assert_int_equal(v->next->generation, old->generation + (counts ? 1 : 0));
}

static void
check_stored_form(const struct pr_state *st)
{
	static const uint8_t uuid[16] = {1};
	static uint8_t blob[65536];
	struct pr_state *back;

	size_t len = pr_blob_bytes(st);
	assert_true(len <= sizeof(blob));
	pr_blob_encode(st, uuid, blob);
	assert_int_equal(pr_blob_decode(blob, len, uuid, &back), 0);
	assert_int_equal(back->count, st->count);
	assert_int_equal(back->type, st->type);
	assert_int_equal(back->holder, st->holder);
	assert_memory_equal(back->regs, st->regs, st->count * sizeof(st->regs[0]));
	free(back);
}

/* A parameter list that is mostly right. */
static size_t
random_list(uint8_t *list, unsigned sa)
{
	size_t len = 24;

	memset(list, 0, 512);
	store_be64(list, rnd() % 4);
	store_be64(list + 8, rnd() % 4);
	if (sa == PR_OUT_REGISTER_AND_MOVE) {
		const struct pr_tid *t = &tids[rnd() % INITIATORS];
		list[17] = (uint8_t)(rnd() % 4);
		store_be16(list + 18, (uint16_t)(rnd() % 4));
		store_be32(list + 20, t->len);
		memcpy(list + 24, t->b, t->len);
		len = 24u + t->len;
	} else if (rnd() % 3 == 0) {
		list[20] = (uint8_t)(rnd() & (PRF_APTPL | PRF_ALL_TG_PT | PRF_SPEC_I_PT));
	}
	if (list[20] & PRF_SPEC_I_PT && sa == PR_OUT_REGISTER) {
		len = 28;
		for (unsigned n = (unsigned)(rnd() % 3); n > 0; n--) {
			const struct pr_tid *t = &tids[rnd() % INITIATORS];
			memcpy(list + len, t->b, t->len);
			len += t->len;
		}
		store_be32(list + 24, (uint32_t)(len - 28));
	}
	if (rnd() % 20 == 0)
		list[rnd() % len] = (uint8_t)rnd();
	return rnd() % 50 == 0 ? len - 1 - rnd() % 8 : len;
}

static struct pr_state *
step(struct pr_state *st, unsigned *changes)
{
	static const uint8_t types[] = {1, 3, 5, 6, 7, 8, 0, 2};
	uint8_t list[512];
	unsigned who = (unsigned)(rnd() % INITIATORS), port = (unsigned)(rnd() % PORTS);
	struct pr_request req = {
	    .sa = (uint8_t)(rnd() % (PR_SPC2_LOST + 1)),
	    .type = types[rnd() % (rnd() % 8 ? 6 : 8)],
	    .scope = rnd() % 50 ? 0 : 1,
	    .nexus_id = 1 + who * PORTS + port,
	    .tid = tids[who],
	    .rel_port = ports[port],
	    .aptpl_capable = rnd() % 10 != 0,
	    .ports = ports,
	    .port_count = PORTS,
	};
	struct pr_verdict v;
	struct pr_state *before = pr_state_copy(st);

	if (req.sa == PR_SPC2_RESERVE && rnd() % 8) /* it would hold up everything else */
		req.sa = PR_SPC2_RELEASE;

	if (req.sa <= PR_OUT_REPLACE_LOST &&
	    !pr_request_parse(&req, list, random_list(list, req.sa), &v)) {
		assert_int_equal(v.status, SCSI_CHECK_CONDITION);
		free(before);
		return st;
	}
	/* Half of the time with the right key, or nothing would ever happen. */
	int own = pr_state_find(st, &req.tid, req.rel_port);
	if (rnd() % 2)
		req.key = own < 0 ? 0 : st->regs[own].key;
	pr_evaluate(st, &req, &v);
	assert_memory_equal(before, st,
	    sizeof(*st) + st->count * sizeof(st->regs[0])); /* the old one is untouched */
	free(before);
	if (v.status != SCSI_GOOD || !v.changed) {
		assert_null(v.next);
		assert_true(v.status == SCSI_GOOD || v.status == SCSI_CHECK_CONDITION ||
		            v.status == SCSI_RESERVATION_CONFLICT);
		return st;
	}
	(*changes)++;
	check_state(v.next);
	check_fences(st, &v);
	check_told(st, &req, &v);
	check_generation(st, &req, &v);
	check_stored_form(v.next);
	free(st);
	return v.next;
}

static void
random_histories_keep_the_state_sound(void **state)
{
	(void)state;
	for (uint64_t s = 1; s <= 60; s++) {
		unsigned changes = 0;
		seed = s * 0x9e3779b97f4a7c15u;
		struct pr_state *st = pr_state_alloc(0);
		for (unsigned i = 0; i < 1500; i++)
			st = step(st, &changes);
		assert_true(changes > 100);
		free(st);
	}
}

/* ---- TransportIDs -------------------------------------------------------------------------------------- */

static size_t
parse_name(const char *name, struct pr_tid *ret)
{
	uint8_t buf[SCSI_TRANSPORT_ID_MAX];
	size_t len = pr_make_tid(name, buf);

	return pr_tid_parse(buf, len, ret) == len ? len : 0;
}

static void
spellings_of_one_port_are_equal(void **state)
{
	static const char *const same[] = {"iqn.2026-11.x:h,i,0x00000000ab01",
	    "IQN.2026-11.X:H,i,0xAB01", "iqn.2026-11.x:h,i,0x0ab01",
	    "Iqn.2026-11.x:h,I,0X00000000AB01"};
	struct pr_tid first, t;

	(void)state;
	assert_true(parse_name(same[0], &first) > 0);
	for (size_t i = 1; i < sizeof(same) / sizeof(same[0]); i++) {
		assert_true(parse_name(same[i], &t) > 0);
		assert_true(pr_tid_equal(&first, &t));
	}
	/* More padding than needed is no other port. */
	uint8_t buf[SCSI_TRANSPORT_ID_MAX];
	size_t len = pr_make_tid(same[0], buf);
	memset(buf + len, 0, 16);
	store_be16(buf + 2, (uint16_t)(len - 4 + 16));
	assert_int_equal(pr_tid_parse(buf, len + 16, &t), len + 16);
	assert_true(pr_tid_equal(&first, &t));
	/* The own form parses to itself. */
	assert_int_equal(pr_tid_parse(first.b, first.len, &t), first.len);
	assert_true(pr_tid_equal(&first, &t));
}

static void
different_ports_differ(void **state)
{
	struct pr_tid a, b;

	(void)state;
	assert_true(parse_name("iqn.x,i,0x000000000001", &a) > 0);
	assert_true(parse_name("iqn.x,i,0x000000000002", &b) > 0);
	assert_false(pr_tid_equal(&a, &b));
	assert_true(parse_name("iqn.y,i,0x000000000001", &b) > 0);
	assert_false(pr_tid_equal(&a, &b));
}

static void
names_that_are_no_port_are_refused(void **state)
{
	static const char *const bad[] = {"iqn.x", "iqn.x,i,0x", ",i,0x000000000001", "iqn.x,i,0xg",
	    "iqn.x,t,0x0001", "iqn.x,i,0x0000000000001", "iqn. x,i,0x01", "iqn.\x7fx,i,0x01", "",
	    "iqn.x,i,0x01 "};
	struct pr_tid t;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (parse_name(bad[i], &t) != 0)
			fail_msg("\"%s\" was taken", bad[i]);
	}
}

static void
forms_of_24_bytes_keep_what_identifies(void **state)
{
	static const struct {
		uint8_t protocol, first, count;
	} forms[] = {{0, 8, 8}, {3, 8, 8}, {4, 8, 16}, {6, 4, 8}};
	struct pr_tid t, u;

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		uint8_t p[32];
		memset(p, 0x77, sizeof(p));
		p[0] = forms[i].protocol;
		assert_int_equal(pr_tid_parse(p, sizeof(p), &t), 24);
		for (size_t b = 1; b < 24; b++) {
			bool matters = b >= forms[i].first && b < forms[i].first + forms[i].count;
			p[b] ^= 1;
			assert_int_equal(pr_tid_parse(p, 24, &u), 24);
			assert_int_equal(pr_tid_equal(&t, &u), !matters);
			p[b] ^= 1;
		}
		assert_int_equal(pr_tid_parse(p, 23, &u), 0);
		p[0] |= 0x40;
		assert_int_equal(pr_tid_parse(p, 24, &u), 0);
	}
}

static void
random_bytes_never_overrun(void **state)
{
	(void)state;
	seed = 99;
	for (unsigned i = 0; i < 200000; i++) {
		size_t len = rnd() % 300;
		uint8_t *p =
		    malloc(len + 1); /* exactly as long: the sanitizer sees one byte more */
		struct pr_tid t, u;
		for (size_t k = 0; k < len; k++)
			p[k] = rnd() % 3 ? (uint8_t)("iqn.,i,0x1a"[rnd() % 11]) : (uint8_t)rnd();
		if (len > 4 && rnd() % 2) {
			p[0] = 0x45;
			store_be16(p + 2, (uint16_t)(20 + 4 * (rnd() % 64)));
		}
		if (len > 40 && rnd() % 2)
			strcpy((char *)p + 24, ",i,0x12");
		p = realloc(p, len ? len : 1);
		size_t used = pr_tid_parse(p, len, &t);
		assert_true(used <= len);
		if (used > 0) {
			assert_true(
			    t.len >= 24 && t.len <= SCSI_TRANSPORT_ID_MAX && t.len % 4 == 0);
			assert_int_equal(pr_tid_parse(t.b, t.len, &u), t.len);
			assert_true(pr_tid_equal(&t, &u));
		}
		free(p);
	}
}

/* ---- random bytes as parameter lists, through the whole core ---------------------------------------------- */

static void
random_lists_are_answered_and_change_nothing_when_refused(void **state)
{
	struct fx f;
	unsigned good = 0, refused = 0;

	(void)state;
	pr_up(&f, 2, 77, "ram:");
	struct fx_nexus *a = pr_login(&f, 0, "a", 1), *b = pr_login(&f, 1, "b", 1);
	seed = 4242;
	for (unsigned i = 0; i < 3000; i++) {
		uint8_t list[512];
		unsigned sa = (unsigned)(rnd() % 9);
		size_t len = random_list(list, sa);
		for (unsigned n = (unsigned)(rnd() % 4); n > 0; n--)
			list[rnd() % sizeof(list)] = (uint8_t)rnd();
		if (rnd() % 10 == 0)
			len = rnd() % sizeof(list);
		struct fx_cmd *before = pr_in(b, 3, 65535);
		while (before->status == SCSI_CHECK_CONDITION)
			before = pr_in(b, 3, 65535);
		struct fx_cmd *c =
		    pr_out_list(a, (enum pr_out_sa)sa, (unsigned)(rnd() % 10), list, len);
		struct fx_cmd *after = pr_in(b, 3, 65535);
		while (after->status == SCSI_CHECK_CONDITION)
			after = pr_in(b, 3, 65535);
		if (c->status == SCSI_GOOD) {
			good++;
		} else {
			refused++;
			assert_true(
			    c->status == SCSI_RESERVATION_CONFLICT || fx_sense(c) >> 16 == 0x5);
			assert_int_equal(before->in_len, after->in_len);
			assert_memory_equal(before->in, after->in, after->in_len);
		}
	}
	assert_true(good > 100 && refused > 100);
	fx_down(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(random_histories_keep_the_state_sound),
	    cmocka_unit_test(spellings_of_one_port_are_equal),
	    cmocka_unit_test(different_ports_differ),
	    cmocka_unit_test(names_that_are_no_port_are_refused),
	    cmocka_unit_test(forms_of_24_bytes_keep_what_identifies),
	    cmocka_unit_test(random_bytes_never_overrun),
	    cmocka_unit_test(random_lists_are_answered_and_change_nothing_when_refused),
	};
	return cmocka_run_group_tests(tests, setup, NULL);
}
