/* SPDX-License-Identifier: BSD-2-Clause */
/* What is stored with APTPL, and what comes back: bytes, order of things, damage. */
#include "tests/unit/scsi/pr_util.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"

static const uint8_t uuid[16] = {
    0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf};

/* Two registrations, the second one holds type 5. */
/* clang-format off */
static const uint8_t golden[] = {
	/* header */
	0x54, 0x52, 0x50, 0x52, 0x01, 0x00, 0x00, 0x00, 0x84, 0x00, 0x00, 0x00, 0x62, 0xb5, 0x37, 0x13,
	0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf,
	0x05, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	/* key, port 1, 28 bytes of TransportID: iqn.a,i,0x000000000001 */
	0x08, 0x07, 0x06, 0x05, 0x04, 0x03, 0x02, 0x01, 0x01, 0x00, 0x1c, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x45, 0x00, 0x00, 0x18, 0x69, 0x71, 0x6e, 0x2e, 0x61, 0x2c, 0x69, 0x2c, 0x30, 0x78, 0x30, 0x30,
	0x30, 0x30, 0x30, 0x30, 0x30, 0x30, 0x30, 0x30, 0x30, 0x31, 0x00, 0x00,
	/* key, port 2, 24 bytes of TransportID: SRP */
	0x11, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x00, 0x18, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x04, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08,
	0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f, 0x10,
};
/* clang-format on */

static struct pr_state *
golden_state(void)
{
	static const uint8_t srp[24] = {
	    0x04, [8] = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
	uint8_t tid[SCSI_TRANSPORT_ID_MAX];
	struct pr_state *st = pr_state_alloc(2);

	st->count = 2;
	st->type = PR_WRITE_EXCLUSIVE_RO;
	st->holder = 1;
	st->aptpl = true;
	st->generation = 99;
	st->regs[0].key = 0x0102030405060708;
	st->regs[0].rel_port = 1;
	size_t len = pr_make_tid("iqn.a,i,0x000000000001", tid);
	assert_int_equal(pr_tid_parse(tid, len, &st->regs[0].tid), len);
	st->regs[1].key = 0x11;
	st->regs[1].rel_port = 2;
	assert_int_equal(pr_tid_parse(srp, 24, &st->regs[1].tid), 24);
	return st;
}

static void
encodes_to_the_golden_bytes(void **state)
{
	struct pr_state *st = golden_state();
	uint8_t buf[sizeof(golden)];

	(void)state;
	assert_int_equal(pr_blob_bytes(st), sizeof(golden));
	pr_blob_encode(st, uuid, buf);
	assert_memory_equal(buf, golden, sizeof(golden));
	free(st);
}

static void
golden_bytes_decode(void **state)
{
	struct pr_state *st, *want = golden_state();

	(void)state;
	assert_int_equal(pr_blob_decode(golden, sizeof(golden), uuid, &st), 0);
	assert_int_equal(st->count, 2);
	assert_int_equal(st->type, PR_WRITE_EXCLUSIVE_RO);
	assert_int_equal(st->holder, 1);
	assert_true(st->aptpl);
	assert_int_equal(st->generation, 0);
	assert_memory_equal(st->regs, want->regs, 2 * sizeof(st->regs[0]));
	free(st);
	free(want);
}

static void
every_changed_byte_and_length_is_noticed(void **state)
{
	struct pr_state *st;
	uint8_t buf[sizeof(golden) + 8] = {0};

	(void)state;
	for (size_t i = 0; i < sizeof(golden); i++) {
		memcpy(buf, golden, sizeof(golden));
		buf[i] ^= 0x10;
		assert_int_equal(pr_blob_decode(buf, sizeof(golden), uuid, &st), -EINVAL);
	}
	memcpy(buf, golden, sizeof(golden));
	for (size_t len = 0; len < sizeof(buf); len++) {
		if (len != sizeof(golden))
			assert_int_equal(pr_blob_decode(buf, len, uuid, &st), -EINVAL);
	}
	assert_int_equal(
	    pr_blob_decode(golden, sizeof(golden), (const uint8_t[16]){1}, &st), -EINVAL);
}

static void
fix_crc(uint8_t *buf, size_t len)
{
	memset(buf + 12, 0, 4);
	uint32_t crc = crc32c(buf, len);
	memcpy(buf + 12, &crc, 4);
}

/* Wrong contents under a right CRC: whoever writes it, it is refused or it is consistent. */
static void
hostile_contents_are_refused_or_consistent(void **state)
{
	unsigned accepted = 0;

	(void)state;
	srandom(4711);
	for (unsigned round = 0; round < 20000; round++) {
		uint8_t buf[sizeof(golden)];
		struct pr_state *st;
		memcpy(buf, golden, sizeof(golden));
		for (unsigned n = 1 + (unsigned)random() % 3; n > 0; n--)
			buf[(size_t)random() % sizeof(buf)] = (uint8_t)random();
		memcpy(buf + 16, uuid, 16);
		fix_crc(buf, sizeof(buf));
		if (pr_blob_decode(buf, sizeof(buf), uuid, &st) != 0)
			continue;
		accepted++;
		assert_int_equal(st->count, 2);
		assert_true(st->type == PR_NONE || pr_type_valid(st->type));
		bool one = st->type != PR_NONE && !pr_type_all_registrants(st->type);
		assert_true(one ? st->holder < 2 : st->holder == PR_NO_HOLDER);
		assert_true(st->regs[0].key != 0 && st->regs[1].key != 0);
		free(st);
	}
	assert_true(accepted > 0); /* keys and names may be any */
}

static void
particular_lies_are_refused(void **state)
{
	static const struct {
		uint8_t at, value;
	} lies[] = {{4, 2}, {6, 1}, {32, 2}, {32, 0}, {32, 7}, {32, 9}, {33, 1}, {36, 2}, {40, 1},
	    {40, 3}, {43, 0xff}, {44, 1}, {58, 24}, {58, 27}, {59, 1}, {60, 1}, {68, 'I'},
	    {64, 0x05}};
	struct pr_state *st;

	(void)state;
	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		uint8_t buf[sizeof(golden)];
		memcpy(buf, golden, sizeof(golden));
		buf[lies[i].at] = lies[i].value;
		fix_crc(buf, sizeof(buf));
		int err = pr_blob_decode(buf, sizeof(buf), uuid, &st);
		if (lies[i].at == 64) { /* no port name of a known form: kept as it is */
			assert_int_equal(err, 0);
			free(st);
		} else if (err != -EINVAL) {
			fail_msg("lie %zu at %u: %d", i, lies[i].at, err);
		}
	}
}

/* ---- with the core ------------------------------------------------------------------------------------ */

struct restore {
	struct scsi_lu *lu;
	const void *blob;
	size_t len;
	int err;
};

static void
restore(void *ctx)
{
	struct restore *r = ctx;
	r->err = scsi_lu_restore_pr(r->lu, r->blob, r->len);
}

static int
restore_lu(struct fx *f, const void *blob, size_t len)
{
	struct restore r = {f->lus[0], blob, len, 0};
	fx_on_loop(f, 0, restore, &r);
	return r.err;
}

static void
saves_only_with_aptpl_and_before_the_answer(void **state)
{
	struct fx f;

	(void)state;
	pr_up(&f, 2, 1, "ram:");
	struct fx_nexus *a = pr_login(&f, 1, "a", 1);
	pr_register(a, 1);
	pr_reserve(a, 1, PR_WRITE_EXCLUSIVE);
	assert_int_equal(f.save_count, 0);
	fx_assert_good(pr_out(a, PR_OUT_REGISTER, 0, 1, 2, PRF_APTPL));
	assert_int_equal(f.save_count, 1);
	assert_true(f.saved_len > 0);
	fx_assert_good(pr_out(a, PR_OUT_RELEASE, PR_WRITE_EXCLUSIVE, 2, 0, 0));
	assert_int_equal(f.save_count, 2);
	assert_int_equal(f.saved[32], PR_NONE);
	/* The last APTPL counts: 0 forgets what was stored. */
	fx_assert_good(pr_out(a, PR_OUT_REGISTER, 0, 2, 2, 0));
	assert_int_equal(f.save_count, 3);
	assert_int_equal(f.saved_len, 0);
	pr_reserve(a, 2, PR_WRITE_EXCLUSIVE);
	assert_int_equal(f.save_count, 3);
	fx_down(&f);
}

static void
clear_forgets_what_was_stored(void **state)
{
	struct fx f;

	(void)state;
	pr_up(&f, 1, 1, "ram:");
	struct fx_nexus *a = pr_login(&f, 0, "a", 1);
	fx_assert_good(pr_out(a, PR_OUT_REGISTER, 0, 0, 1, PRF_APTPL));
	fx_assert_good(pr_out(a, PR_OUT_CLEAR, 0, 1, 0, 0));
	assert_int_equal(f.saved_len, 0);
	assert_int_equal(f.save_count, 2);
	fx_down(&f);
}

static void
failed_save_changes_nothing(void **state)
{
	struct fx f;

	(void)state;
	pr_up(&f, 2, 1, "ram:");
	struct fx_nexus *a = pr_login(&f, 0, "a", 1), *b = pr_login(&f, 1, "b", 1);
	f.save_result = -ENOSPC;
	fx_assert_sense(pr_out(b, PR_OUT_REGISTER, 0, 0, 1, PRF_APTPL), 0x5, 0x55, 0x04);
	f.save_result = -EIO;
	fx_assert_sense(pr_out(b, PR_OUT_REGISTER, 0, 0, 1, PRF_APTPL), 0x4, 0x44, 0x00);
	assert_keys(a, 0);
	f.save_result = 0;
	fx_assert_good(pr_out(b, PR_OUT_REGISTER, 0, 0, 1, PRF_APTPL));
	f.save_result = -EIO;
	fx_assert_sense(pr_out(b, PR_OUT_RESERVE, PR_EXCLUSIVE_ACCESS, 1, 0, 0), 0x4, 0x44, 0x00);
	assert_reservation(a, 0, 0);
	assert_true(may_write(a));
	fx_down(&f);
}

static void
reservations_come_back_after_a_restart(void **state)
{
	struct fx f;
	uint8_t blob[4096];

	(void)state;
	pr_up(&f, 2, 1, "ram:");
	struct fx_nexus *a = pr_login(&f, 0, "a", 1), *b = pr_login(&f, 1, "b", 1);
	fx_assert_good(pr_out(a, PR_OUT_REGISTER, 0, 0, 1, PRF_APTPL));
	fx_assert_good(pr_out(b, PR_OUT_REGISTER, 0, 0, 2, PRF_APTPL));
	pr_reserve(b, 2, PR_EXCLUSIVE_ACCESS_RO);
	size_t len = f.saved_len;
	memcpy(blob, f.saved, len);
	fx_down(&f);

	pr_up(&f, 3, 2, "ram:");
	assert_int_equal(restore_lu(&f, blob, len), 0);
	struct fx_nexus *other = pr_login(&f, 2, "c", 1);
	a = pr_login(&f, 1, "a", 1);
	b = pr_login(&f, 0, "b", 1);
	assert_keys(other, 1, 2, 0);
	assert_reservation(other, PR_EXCLUSIVE_ACCESS_RO, 2);
	assert_false(may_read(other));
	assert_true(may_write(a));
	assert_int_equal(pr_generation(other), 0);
	/* APTPL is still in force. */
	fx_assert_good(pr_out(b, PR_OUT_RELEASE, PR_EXCLUSIVE_ACCESS_RO, 2, 0, 0));
	assert_int_equal(f.save_count, 1);
	char text[1024];
	size_t n = scsi_lu_describe_pr(f.lus[0], text, sizeof(text) - 1);
	text[n] = '\0';
	assert_non_null(strstr(text, "iqn.a,i,0x000000000001"));
	fx_down(&f);
}

static void
damage_keeps_everybody_out_until_it_is_replaced(void **state)
{
	struct fx f;
	uint8_t bad[64] = {0};

	(void)state;
	pr_up(&f, 2, 1, "ram:");
	assert_int_equal(restore_lu(&f, bad, sizeof(bad)), -EINVAL);
	struct fx_nexus *a = pr_login(&f, 0, "a", 1), *b = pr_login(&f, 1, "b", 1);
	assert_false(may_read(a));
	assert_false(may_write(b));
	assert_conflict(pr_out(a, PR_OUT_REGISTER_AND_IGNORE, 0, 0, 1, 0));
	assert_conflict(spc2_cmd(a, true));
	fx_assert_sense(
	    pr_out(a, PR_OUT_REPLACE_LOST, PR_WRITE_EXCLUSIVE, 9, 1, 0), 0x5, 0x26, 0x00);
	fx_assert_sense(
	    pr_out(a, PR_OUT_REPLACE_LOST, PR_WRITE_EXCLUSIVE, 0, 0, 0), 0x5, 0x26, 0x00);
	fx_assert_sense(pr_out(a, PR_OUT_REPLACE_LOST, 2, 0, 1, 0), 0x5, 0x24, 0x00);
	fx_assert_good(pr_out(a, PR_OUT_REPLACE_LOST, PR_WRITE_EXCLUSIVE, 0, 1, 0));
	assert_int_equal(f.save_count, 1); /* the damaged one is overwritten */
	assert_keys(b, 1, 0);
	assert_reservation(b, PR_WRITE_EXCLUSIVE, 1);
	assert_true(may_write(a));
	assert_true(may_read(b));
	assert_false(may_write(b));
	fx_down(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(encodes_to_the_golden_bytes),
	    cmocka_unit_test(golden_bytes_decode),
	    cmocka_unit_test(every_changed_byte_and_length_is_noticed),
	    cmocka_unit_test(hostile_contents_are_refused_or_consistent),
	    cmocka_unit_test(particular_lies_are_refused),
	    cmocka_unit_test(saves_only_with_aptpl_and_before_the_answer),
	    cmocka_unit_test(clear_forgets_what_was_stored),
	    cmocka_unit_test(failed_save_changes_nothing),
	    cmocka_unit_test(reservations_come_back_after_a_restart),
	    cmocka_unit_test(damage_keeps_everybody_out_until_it_is_replaced),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
