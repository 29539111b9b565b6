/* SPDX-License-Identifier: BSD-2-Clause */
/* Units as Linux's ib_srp sends them, byte by byte, and everything that is nearly one. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "srp/iu.h"
#include "tests/cmocka_all.h"

static const struct srp_cmd_limits limits = {.imm_data_offset = 68, .xfer_max_bytes = 4u << 20};
static struct srp_request req;
static enum srp_logout_reason reason;

/* From a copy of just this size, so that a read behind it is seen by the sanitizers. */
static enum srp_verdict
parse(const void *iu, size_t len, const struct srp_cmd_limits *l)
{
	static uint8_t *copy;
	free(copy);
	copy = malloc(len > 0 ? len : 1);
	assert_non_null(copy);
	memcpy(copy, iu, len);
	return srp_cmd_parse(copy, len, l, &req, &reason);
}

/* ---- logins ---------------------------------------------------------------------------------- */

/* Debian 12's ib_srp over the RDMA CM: first channel, immediate data wanted. */
static const uint8_t golden_login_rdma[56] = {0, 0, 0, 0, 0, 0, 0, 0, 0x00, 0x06, 0x80, 0x00, 0x00,
    0x00, 0x20, 0x44, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0x54, 0x00, 0xff, 0xfe, 0x12, 0x34, 0x56, 1, 2,
    3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 0x00, 0x44, 0, 0, 0, 0, 0, 0};

static void
test_login_over_rdma_cm(void **state)
{
	(void)state;
	struct srp_login l;
	assert_int_equal(srp_login_parse(golden_login_rdma, 56, true, &l), 0);
	assert_int_equal(l.it_iu_len, 8260);
	assert_int_equal(l.formats, SRP_FMT_BIT_DIRECT | SRP_FMT_BIT_INDIRECT);
	assert_int_equal(l.flags, SRP_LOGIN_IMMEDIATE);
	assert_int_equal(l.imm_data_offset, 68);
	assert_int_equal(l.initiator_port[8], 0x50);
	assert_int_equal(l.target_port[15], 16);
	for (size_t len = 0; len < 56; len++)
		assert_int_equal(srp_login_parse(golden_login_rdma, len, true, &l), -EINVAL);
	uint8_t wrong[56];
	memcpy(wrong, golden_login_rdma, 56);
	wrong[11] = SRP_CMD;
	assert_int_equal(srp_login_parse(wrong, 56, true, &l), -EINVAL);
}

/* The same login as the IB CM carries it, in 92 bytes. */
static void
test_login_over_ib_cm(void **state)
{
	(void)state;
	uint8_t p[92] = {0};
	struct srp_login a, b;
	p[19] = 0x44;
	p[18] = 0x20;
	p[25] = 0x06;
	p[26] = 0x80;
	p[29] = 0x44;
	memcpy(p + 32, golden_login_rdma + 16, 32);
	assert_int_equal(srp_login_parse(p, sizeof p, false, &a), 0);
	assert_int_equal(srp_login_parse(golden_login_rdma, 56, true, &b), 0);
	assert_memory_equal(&a, &b, sizeof a);
	for (size_t len = 0; len < 64; len++)
		assert_int_equal(srp_login_parse(p, len, false, &a), -EINVAL);
	assert_int_equal(srp_login_parse(p, 64, false, &a), 0);
	p[0] = 3;
	assert_int_equal(srp_login_parse(p, sizeof p, false, &a), -EINVAL);
}

static void
test_login_answers(void **state)
{
	(void)state;
	struct srp_login l = {.tag = {8, 7, 6, 5, 4, 3, 2, 1}};
	struct srp_login_rsp rsp;
	struct srp_login_rej rej;
	static const uint8_t golden_rsp[52] = {0xc0, 0, 0, 0, 0, 0, 0, 0x80, 8, 7, 6, 5, 4, 3, 2, 1,
	    0, 0, 0x21, 0, 0, 0, 1, 0, 0, 6, 0x81};
	static const uint8_t golden_rej[32] = {
	    0xc2, 0, 0, 0, 0, 1, 0, 2, 8, 7, 6, 5, 4, 3, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 6};
	srp_login_rsp_build(
	    &rsp, &l, 128, 8448, 256, SRP_LOGIN_RSP_TERMINATED | SRP_LOGIN_IMMEDIATE);
	assert_memory_equal(&rsp, golden_rsp, sizeof golden_rsp);
	srp_login_rej_build(&rej, &l, SRP_REJ_IU_LEN);
	assert_memory_equal(&rej, golden_rej, sizeof golden_rej);
}

/* ---- commands --------------------------------------------------------------------------------- */

/* READ(10) of 8 blocks, one direct descriptor. */
static const uint8_t golden_read[64] = {0x02, 0, 0, 0, 0, 0x01, 0, 0, 0x2a, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x28, 0, 0, 0, 0, 0x10, 0, 0, 8, 0, 0, 0, 0, 0, 0,
    0, 0xff, 0xff, 0x88, 0x80, 0x12, 0x34, 0x50, 0x00, 0x00, 0x00, 0x12, 0x34, 0x00, 0x00, 0x10,
    0x00};

static void
test_direct(void **state)
{
	(void)state;
	assert_int_equal(parse(golden_read, sizeof golden_read, &limits), SRP_GO_ON);
	assert_int_equal(req.tag[0], 0x2a);
	assert_int_equal(req.lun[1], 3);
	assert_int_equal(req.cdb_len, 16);
	assert_int_equal(req.cdb[0], 0x28);
	assert_int_equal(req.in.bytes, 4096);
	assert_int_equal(req.in.desc_count, 1);
	struct srp_desc d = srp_desc_get(req.in.descs, 0);
	assert_true(d.va == 0xffff888012345000ull && d.key == 0x1234 && d.len == 4096);
	assert_int_equal(req.out.format, SRP_FMT_NONE);
	for (size_t len = 0; len < sizeof golden_read; len++)
		assert_int_equal(parse(golden_read, len, &limits), SRP_END);
}

static void
test_direct_that_lies(void **state)
{
	(void)state;
	uint8_t iu[64];
	memcpy(iu, golden_read, 64);
	store_be32(iu + 60, 0);
	assert_int_equal(parse(iu, 64, &limits), SRP_GO_ON); /* nothing to move */
	assert_int_equal(req.in.desc_count, 0);
	store_be64(iu + 48, UINT64_MAX - 4095);
	store_be32(iu + 60, 4096);
	assert_int_equal(parse(iu, 64, &limits), SRP_REFUSE); /* wraps */
	store_be64(iu + 48, UINT64_MAX - 4096);
	assert_int_equal(parse(iu, 64, &limits), SRP_GO_ON);
	store_be64(iu + 48, 0);
	store_be32(iu + 60, (4u << 20) + 1);
	assert_int_equal(parse(iu, 64, &limits), SRP_REFUSE); /* too much */
	assert_int_equal(req.tag[0], 0x2a);
}

/* WRITE with an indirect list: `total` entries, `in_iu` of them here, of 4096 bytes each. */
static size_t
indirect(uint8_t *iu, uint32_t total, uint32_t in_iu, uint32_t bytes)
{
	memset(iu, 0, 68 + 16 * (size_t)in_iu);
	iu[0] = SRP_CMD;
	iu[5] = SRP_FMT_INDIRECT << 4;
	iu[6] = (uint8_t)in_iu;
	iu[32] = 0x2a;
	store_be64(iu + 48, 0x1000);
	store_be32(iu + 56, 77);
	store_be32(iu + 60, 16 * total);
	store_be32(iu + 64, bytes);
	for (uint32_t i = 0; i < in_iu; i++) {
		store_be64(iu + 68 + 16 * i, 0x100000 * (i + 1));
		store_be32(iu + 76 + 16 * i, i);
		store_be32(iu + 80 + 16 * i, 4096);
	}
	return 68 + 16 * (size_t)in_iu;
}

static void
test_indirect(void **state)
{
	(void)state;
	uint8_t iu[68 + 16 * 255];
	size_t len = indirect(iu, 3, 3, 3 * 4096);
	assert_int_equal(parse(iu, len, &limits), SRP_GO_ON);
	assert_int_equal(req.out.bytes, 3 * 4096);
	assert_false(srp_buffer_is_external(&req.out));
	assert_int_equal(srp_desc_get(req.out.descs, 2).key, 2);
	for (size_t cut = 0; cut < len; cut++)
		assert_int_equal(parse(iu, cut, &limits), SRP_END);
	len = indirect(iu, 255, 255, 255 * 4096);
	assert_int_equal(parse(iu, len, &limits), SRP_GO_ON);
}

static void
test_indirect_that_lies(void **state)
{
	(void)state;
	uint8_t iu[68 + 16 * 4];
	size_t len = indirect(iu, 3, 3, 3 * 4096 - 1);
	assert_int_equal(parse(iu, len, &limits), SRP_REFUSE); /* sum */
	len = indirect(iu, 2, 3, 3 * 4096);
	assert_int_equal(parse(iu, len, &limits), SRP_REFUSE); /* fewer than are here */
	len = indirect(iu, 3, 3, 3 * 4096);
	store_be32(iu + 60, 47);
	assert_int_equal(parse(iu, len, &limits), SRP_REFUSE); /* part of a descriptor */
	len = indirect(iu, 3, 3, 3 * 4096);
	store_be32(iu + 80, 0);
	store_be32(iu + 96, 8192);
	assert_int_equal(parse(iu, len, &limits), SRP_REFUSE); /* an empty descriptor */
	len = indirect(iu, 2, 2, 2);
	store_be32(iu + 80, UINT32_MAX);
	store_be32(iu + 96, 3);
	assert_int_equal(parse(iu, len, &limits), SRP_REFUSE); /* a sum of 32 bits would be right */
	len = indirect(iu, 0, 0, 0);
	assert_int_equal(parse(iu, len, &limits), SRP_GO_ON);
	len = indirect(iu, 0, 0, 1);
	assert_int_equal(parse(iu, len, &limits), SRP_REFUSE);
}

static void
test_external_table(void **state)
{
	(void)state;
	uint8_t iu[68 + 16 * 4];
	size_t len = indirect(iu, 13, 4, 512 * 1024);
	assert_int_equal(parse(iu, len, &limits), SRP_GO_ON);
	assert_true(srp_buffer_is_external(&req.out));
	assert_int_equal(req.out.table_count, 13);
	assert_int_equal(req.out.table.key, 77);
	len = indirect(iu, SRP_TABLE_MAX, 4, 1u << 20);
	assert_int_equal(parse(iu, len, &limits), SRP_GO_ON);
	len = indirect(iu, SRP_TABLE_MAX + 1, 4, 1u << 20);
	assert_int_equal(parse(iu, len, &limits), SRP_REFUSE);
	struct srp_direct_desc table[2] = {0};
	be32_put(&table[0].len, 1000);
	be32_put(&table[1].len, 24);
	assert_true(srp_table_check(table, 2, 1024));
	assert_false(srp_table_check(table, 2, 1023));
	assert_false(srp_table_check(table, 1, 1024));
}

/* WRITE(10) of one block whose data begin at 68, as ib_srp puts them. */
static void
test_immediate(void **state)
{
	(void)state;
	uint8_t iu[68 + 512] = {SRP_CMD, 0, 0, 0, 0, SRP_FMT_IMMEDIATE << 4};
	store_be32(iu + 48, 512);
	memset(iu + 68, 0x5a, 512);
	assert_int_equal(parse(iu, sizeof iu, &limits), SRP_GO_ON);
	assert_int_equal(req.out.bytes, 512);
	assert_int_equal(req.out.data[0], 0x5a);
	assert_int_equal(req.out.data[511], 0x5a);
	for (size_t cut = 0; cut < sizeof iu; cut++)
		assert_int_equal(parse(iu, cut, &limits), SRP_END);
	const struct srp_cmd_limits not_granted = {.xfer_max_bytes = 4096};
	assert_int_equal(parse(iu, sizeof iu, &not_granted), SRP_END);
	assert_int_equal(reason, SRP_LOGOUT_OUT_FORMAT);
	store_be32(iu + 48, UINT32_MAX);
	assert_int_equal(parse(iu, sizeof iu, &limits), SRP_END);
	store_be32(iu + 48, 512);
	iu[31] = 16; /* additional CDB up to the 64th byte, then the length: 68 */
	store_be32(iu + 64, 512);
	assert_int_equal(parse(iu, sizeof iu, &limits), SRP_GO_ON);
	assert_int_equal(req.cdb_len, 32);
	iu[31] = 20; /* its length would be where data are */
	assert_int_equal(parse(iu, sizeof iu, &limits), SRP_END);
	iu[31] = 0;
	iu[5] = SRP_FMT_IMMEDIATE; /* data in can't be */
	assert_int_equal(parse(iu, sizeof iu, &limits), SRP_END);
	assert_int_equal(reason, SRP_LOGOUT_IN_FORMAT);
}

static void
test_every_format_with_every_count(void **state)
{
	(void)state;
	uint8_t iu[48 + 4];
	for (unsigned formats = 0; formats < 256; formats++) {
		for (unsigned n = 0; n < 256; n += 5) {
			memset(iu, 0, sizeof iu);
			iu[0] = SRP_CMD;
			iu[5] = (uint8_t)formats;
			iu[6] = iu[7] = (uint8_t)n;
			enum srp_verdict v = parse(iu, sizeof iu, &limits);
			if (formats == 0)
				assert_int_equal(v, SRP_GO_ON);
			else
				assert_int_not_equal(v, SRP_GO_ON);
		}
	}
}

static void
test_additional_cdb(void **state)
{
	(void)state;
	uint8_t iu[48 + 252] = {SRP_CMD};
	for (unsigned add = 0; add < 256; add++) {
		iu[31] = (uint8_t)add; /* the low two bits are reserved */
		enum srp_verdict v = parse(iu, 48 + (add & 0xfcu), &limits);
		assert_int_equal(v, (add & 0xfcu) <= 16 ? SRP_GO_ON : SRP_REFUSE);
		if ((add & 0xfcu) > 0)
			assert_int_equal(parse(iu, 47 + (add & 0xfcu), &limits), SRP_END);
	}
}

static void
test_both_directions_are_refused(void **state)
{
	(void)state;
	uint8_t iu[80];
	memcpy(iu, golden_read, 64);
	memcpy(iu + 64, golden_read + 48, 16);
	iu[5] = 0x11;
	assert_int_equal(parse(iu, 80, &limits), SRP_REFUSE);
	assert_int_equal(parse(iu, 79, &limits), SRP_END);
}

/* ---- answers ------------------------------------------------------------------------------------ */

static void
test_rsp_good(void **state)
{
	(void)state;
	static const uint8_t tag[8] = {1, 2, 3, 4, 5, 6, 7, 8};
	uint8_t buf[SRP_RSP_MAX_BYTES];
	static const uint8_t golden[36] = {0xc1, 0, 0, 0, 0, 0, 0, 2, 1, 2, 3, 4, 5, 6, 7, 8};
	const struct srp_answer a = {
	    .tag = tag, .req_lim_delta = 2, .code = -1, .in_bytes = 512, .xfer_bytes = 512};
	memset(buf, 0xee, sizeof buf);
	assert_int_equal(srp_rsp_build(buf, &a), 36);
	assert_memory_equal(buf, golden, 36);
}

static void
test_rsp_sense_and_residual(void **state)
{
	(void)state;
	static const uint8_t tag[8], sense[18] = {0x70, 0, 5};
	uint8_t buf[SRP_RSP_MAX_BYTES];
	struct srp_answer a = {.tag = tag,
	    .status = 2,
	    .code = -1,
	    .in_bytes = 36,
	    .xfer_bytes = 10,
	    .sense = sense,
	    .sense_len = sizeof sense};
	assert_int_equal(srp_rsp_build(buf, &a), 36 + 18);
	assert_int_equal(buf[18], SRP_RSP_SNSVALID | SRP_RSP_DIUNDER);
	assert_int_equal(load_be32(buf + 24), 26);
	assert_int_equal(load_be32(buf + 28), 18);
	assert_int_equal(load_be32(buf + 32), 0);
	assert_memory_equal(buf + 36, sense, 18);
	a.in_bytes = 0;
	a.out_bytes = 5;
	a.code = SRP_RSP_INVALID_FIELDS;
	assert_int_equal(srp_rsp_build(buf, &a), 36 + 4 + 18);
	assert_int_equal(buf[18], SRP_RSP_SNSVALID | SRP_RSP_RSPVALID | SRP_RSP_DOOVER);
	assert_int_equal(load_be32(buf + 20), 5);
	assert_int_equal(buf[39], SRP_RSP_INVALID_FIELDS);
	assert_memory_equal(buf + 40, sense, 18); /* behind the response data */
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_login_over_rdma_cm),
	    cmocka_unit_test(test_login_over_ib_cm),
	    cmocka_unit_test(test_login_answers),
	    cmocka_unit_test(test_direct),
	    cmocka_unit_test(test_direct_that_lies),
	    cmocka_unit_test(test_indirect),
	    cmocka_unit_test(test_indirect_that_lies),
	    cmocka_unit_test(test_external_table),
	    cmocka_unit_test(test_immediate),
	    cmocka_unit_test(test_every_format_with_every_count),
	    cmocka_unit_test(test_additional_cdb),
	    cmocka_unit_test(test_both_directions_are_refused),
	    cmocka_unit_test(test_rsp_good),
	    cmocka_unit_test(test_rsp_sense_and_residual),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
