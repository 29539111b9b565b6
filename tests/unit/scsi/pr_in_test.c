/* SPDX-License-Identifier: BSD-2-Clause */
/* PERSISTENT RESERVE IN: the bytes (SPC-4 6.15), and what a short allocation length leaves of them. */
#include "tests/unit/scsi/pr_util.h"

#include <string.h>

static struct fx f;
static struct fx_nexus *a, *b;

static int
setup(void **state)
{
	(void)state;
	pr_up(&f, 2, 5, "ram:");
	a = pr_login(&f, 0, "a", 1);
	b = pr_login(&f, 1, "b", 2);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	fx_down(&f);
	return 0;
}

#define assert_data(cmd, text)                                                                     \
	do {                                                                                       \
		const struct fx_cmd *cmd_ = (cmd);                                                 \
		fx_assert_good(cmd_);                                                              \
		assert_int_equal(cmd_->in_len, sizeof(text) - 1);                                  \
		assert_memory_equal(cmd_->in, text, sizeof(text) - 1);                             \
	} while (0)

static void
nothing_registered_is_eight_bytes(void **state)
{
	(void)state;
	assert_data(pr_in(a, 0, 1024), "\0\0\0\0\0\0\0\0");
	assert_data(pr_in(a, 1, 1024), "\0\0\0\0\0\0\0\0");
	assert_data(pr_in(a, 3, 1024), "\0\0\0\0\0\0\0\0");
}

static void
read_keys_golden(void **state)
{
	(void)state;
	pr_register(a, 0x0102030405060708);
	pr_register(b, 0xffeeddccbbaa9988);
	assert_data(pr_in(a, 0, 1024), "\0\0\0\x02\0\0\0\x10"
	                               "\x01\x02\x03\x04\x05\x06\x07\x08"
	                               "\xff\xee\xdd\xcc\xbb\xaa\x99\x88");
}

static void
read_reservation_golden(void **state)
{
	(void)state;
	pr_register(a, 0x0102030405060708);
	pr_register(b, 0x11);
	pr_reserve(a, 0x0102030405060708, PR_WRITE_EXCLUSIVE_RO);
	assert_data(pr_in(b, 1, 1024), "\0\0\0\x02\0\0\0\x10"
	                               "\x01\x02\x03\x04\x05\x06\x07\x08"
	                               "\0\0\0\0\0\x05\0\0");
	fx_assert_good(pr_out(a, PR_OUT_RELEASE, PR_WRITE_EXCLUSIVE_RO, 0x0102030405060708, 0, 0));
	pr_reserve(a, 0x0102030405060708, PR_EXCLUSIVE_ACCESS_AR);
	assert_data(pr_in(a, 1, 1024), "\0\0\0\x02\0\0\0\x10"
	                               "\0\0\0\0\0\0\0\0"
	                               "\0\0\0\0\0\x08\0\0");
}

static void
report_capabilities_golden(void **state)
{
	(void)state;
	/* RLR_C CRH SIP_C ATP_C PTPL_C; TMV, ALLOW COMMANDS 3; types 7 6 5 3 1, 8 */
	assert_data(pr_in(a, 2, 1024), "\0\x08\x9d\xb0\xea\x01\0\0");
	fx_assert_good(pr_out(a, PR_OUT_REGISTER, 0, 0, 1, PRF_APTPL));
	assert_data(pr_in(a, 2, 1024), "\0\x08\x9d\xb1\xea\x01\0\0");
	fx_assert_good(pr_out(a, PR_OUT_REGISTER, 0, 1, 1, 0));
	assert_data(pr_in(a, 2, 1024), "\0\x08\x9d\xb0\xea\x01\0\0");
}

static void
read_full_status_golden(void **state)
{
	(void)state;
	pr_register(a, 0x0102030405060708);
	pr_register(b, 0x11);
	pr_reserve(a, 0x0102030405060708, PR_EXCLUSIVE_ACCESS);
	assert_data(pr_in(a, 3, 1024),
	    "\0\0\0\x02\0\0\0\x68"
	    /* a: holder, type 3, port 1, 28 bytes of TransportID */
	    "\x01\x02\x03\x04\x05\x06\x07\x08\0\0\0\0\x01\x03\0\0\0\0\0\x01\0\0\0\x1c"
	    "\x45\0\0\x18"
	    "iqn.a,i,0x000000000001\0\0"
	    /* b: port 2 */
	    "\0\0\0\0\0\0\0\x11\0\0\0\0\0\0\0\0\0\0\0\x02\0\0\0\x1c"
	    "\x45\0\0\x18"
	    "iqn.b,i,0x000000000001\0\0");
}

static void
every_registrant_holds_an_all_registrants_reservation(void **state)
{
	(void)state;
	pr_register(a, 1);
	pr_register(b, 2);
	pr_reserve(b, 2, PR_WRITE_EXCLUSIVE_AR);
	struct fx_cmd *c = pr_in(a, 3, 1024);
	fx_assert_good(c);
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(c->in[8 + 52 * i + 12], 0x01);
		assert_int_equal(c->in[8 + 52 * i + 13], PR_WRITE_EXCLUSIVE_AR);
	}
}

/* The first bytes of the whole, with the length field of the whole, at every allocation length. */
static void
allocation_length_truncates_and_changes_nothing(void **state)
{
	uint8_t whole[256];

	(void)state;
	pr_register(a, 1);
	pr_register(b, 2);
	pr_reserve(a, 1, PR_WRITE_EXCLUSIVE);
	for (unsigned sa = 0; sa < 4; sa++) {
		struct fx_cmd *c = pr_in(a, sa, sizeof(whole));
		fx_assert_good(c);
		size_t len = c->in_len;
		assert_true(len >= 8 && len <= sizeof(whole));
		memcpy(whole, c->in, len);
		for (uint16_t n = 0; n < len; n++) {
			c = pr_in(a, sa, n);
			fx_assert_good(c);
			assert_int_equal(c->in_len, n);
			assert_memory_equal(c->in, whole, n);
			fx_cmd_free(c);
		}
	}
}

static void
unknown_service_actions_are_refused(void **state)
{
	int bit;

	(void)state;
	for (unsigned sa = 4; sa < 32; sa++) {
		struct fx_cmd *c = pr_in(a, sa, 1024);
		fx_assert_sense(c, 0x5, 0x24, 0x00);
		assert_int_equal(fx_sense_field(c, &bit), 1);
	}
}

static void
reserved_bits_of_the_cdb_are_refused(void **state)
{
	(void)state;
	for (unsigned i = 2; i <= 6; i++) {
		uint8_t cdb[10] = {0x5e, [8] = 24};
		cdb[i] = 1;
		fx_assert_sense(fx_exec(a, 0, cdb, 10, NULL, 0, 24), 0x5, 0x24, 0x00);
	}
}

static void
full_table_fits_the_answer(void **state)
{
	uint8_t list[28 + 256 * SCSI_PR_REGISTRATIONS_MAX] = {0};
	size_t at = 28;

	(void)state;
	store_be64(list + 8, 1);
	list[20] = PRF_SPEC_I_PT;
	for (unsigned i = 0; i < SCSI_PR_REGISTRATIONS_MAX - 1; i++) {
		uint8_t tid[SCSI_TRANSPORT_ID_MAX];
		char name[241]; /* as long as iSCSI names get: 223 and the ISID */
		memset(name, 'n', sizeof(name));
		memcpy(name, "iqn.", 4);
		name[4] = (char)('a' + i / 26);
		name[5] = (char)('a' + i % 26);
		strcpy(name + 223, ",i,0x00000000abcd");
		size_t len = pr_make_tid(name, tid);
		memcpy(list + at, tid, len);
		at += len;
	}
	store_be32(list + 24, (uint32_t)(at - 28));
	fx_assert_good(pr_out_list(a, PR_OUT_REGISTER, 0, list, at));
	struct fx_cmd *c = pr_in(a, 3, 65535);
	fx_assert_good(c);
	assert_int_equal(load_be32(c->in + 4), c->in_len - 8);
	assert_int_equal(c->in_len, 8 + 52 + 127 * (24 + 248));
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    T(nothing_registered_is_eight_bytes),
	    T(read_keys_golden),
	    T(read_reservation_golden),
	    T(report_capabilities_golden),
	    T(read_full_status_golden),
	    T(every_registrant_holds_an_all_registrants_reservation),
	    T(allocation_length_truncates_and_changes_nothing),
	    T(unknown_service_actions_are_refused),
	    T(reserved_bits_of_the_cdb_are_refused),
	    T(full_table_fits_the_answer),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
