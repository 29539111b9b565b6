/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a VMware ESXi host sends, in its order: discovery of a unit, the tests for the offloads (ATS,
 * clone, zero, delete), then the offloads themselves and the heartbeat of VMFS. Each answer is checked
 * for what the host makes of it.
 */
#include "tests/unit/scsi/scsi_fixture.h"

#include "base/endian.h"

#define MIB_BLOCKS 2048u

static struct fx f;
static uint8_t naa[2][16]; /* as VPD page 83h told */

/* Two datastores and two hosts, each on its own loop. */
static void
up(struct fx_nexus *host[2])
{
	struct scsi_lu_args a = {.thin = true, .physical_exponent = 3};
	fx_up(&f, 2, 5);
	fx_add_lu(&f, "ram:", &a);
	fx_add_lu(&f, "ram:", &a);
	host[0] = fx_login(&f, 0, "iqn.1998-01.com.vmware:esx1");
	host[1] = fx_login(&f, 1, "iqn.1998-01.com.vmware:esx2");
}

static struct fx_cmd *
in(struct fx_nexus *n, uint16_t lun, const void *cdb, size_t len, uint32_t cap)
{
	struct fx_cmd *c = fx_exec(n, lun, cdb, len, NULL, 0, cap);
	fx_assert_good(c);
	return c;
}

static struct fx_cmd *
vpd(struct fx_nexus *n, uint16_t lun, uint8_t page)
{
	const uint8_t cdb[6] = {0x12, 0x01, page, 0, 255, 0};
	struct fx_cmd *c = in(n, lun, cdb, sizeof cdb, 255);
	assert_int_equal(c->in[1], page);
	return c;
}

/* REPORT SUPPORTED OPERATION CODES for one command: SUPPORT 011b. */
static void
assert_supported(struct fx_nexus *n, uint8_t options, uint8_t opcode, uint16_t sa)
{
	uint8_t cdb[12] = {0xa3, 0x0c, options, opcode};
	store_be16(cdb + 4, sa);
	store_be32(cdb + 6, 512);
	struct fx_cmd *c = in(n, 0, cdb, sizeof cdb, 512);
	assert_int_equal(c->in[1] & 0x07, 0x03);
}

static void
discovery(struct fx_nexus *n, uint16_t lun)
{
	const uint8_t inquiry[6] = {0x12, 0, 0, 0, 36, 0};
	struct fx_cmd *c = in(n, lun, inquiry, sizeof inquiry, 36);
	assert_int_equal(c->in[0], 0x00);
	assert_true(c->in[2] >= 5);
	assert_int_equal(c->in[5] & 0x08, 0x08); /* 3PC: clone is possible */
	assert_true((c->in[5] & 0x30) != 0);     /* TPGS: the ALUA plugin claims it */
	assert_memory_equal(c->in + 16, "VIRTUAL-DISK    ", 16);

	/* An answer to page 86h is what the host insists on; the others it looks for in page 00h. */
	static const uint8_t pages[] = {0x80, 0x83, 0x86, 0xb0, 0xb1, 0xb2};
	struct fx_cmd *list = vpd(n, lun, 0x00);
	for (size_t i = 0; i < sizeof pages; i++) {
		assert_non_null(memchr(list->in + 4, pages[i], list->in_len - 4));
		(void)vpd(n, lun, pages[i]);
	}
	c = vpd(n, lun, 0x83);
	assert_int_equal(c->in[5] & 0x3f, 0x03); /* NAA, of the unit, first */
	assert_int_equal(c->in[7], 16);
	assert_int_equal(c->in[8] >> 4, 6);
	memcpy(naa[lun], c->in + 8, 16);
	c = vpd(n, lun, 0xb0);
	assert_true(c->in[5] >= 1);             /* ATS */
	assert_true(load_be32(c->in + 20) > 0); /* UNMAP */
	assert_int_equal(MIB_BLOCKS % load_be32(c->in + 28), 0);
	c = vpd(n, lun, 0xb2);
	assert_int_equal(c->in[5] & 0xe4, 0xe4); /* LBPU LBPWS LBPWS10 LBPRZ */

	const uint8_t capacity10[10] = {0x25};
	c = in(n, lun, capacity10, sizeof capacity10, 8);
	assert_int_equal(load_be32(c->in), FX_LU_BYTES / 512 - 1);
	assert_int_equal(load_be32(c->in + 4), 512);
	const uint8_t capacity16[16] = {0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32};
	c = in(n, lun, capacity16, sizeof capacity16, 32);
	assert_int_equal(load_be64(c->in), FX_LU_BYTES / 512 - 1);
	assert_int_equal(c->in[13] & 0x0f, 3);    /* 4 KiB physical blocks */
	assert_int_equal(c->in[14] & 0xc0, 0xc0); /* LBPME LBPRZ */

	const uint8_t caching[6] = {0x1a, 0, 0x08, 0, 255, 0};
	c = in(n, lun, caching, sizeof caching, 255);
	assert_int_equal(c->in[2] & 0x80, 0);      /* not write protected */
	assert_int_equal(c->in[12 + 2] & 0x04, 0); /* WCE */
	const uint8_t exceptions[6] = {0x1a, 0x08, 0x1c, 0, 255, 0};
	c = in(n, lun, exceptions, sizeof exceptions, 255);
	assert_int_equal(c->in[4], 0x1c);
	const uint8_t rtpg[12] = {0xa3, 0x0a, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0};
	c = in(n, lun, rtpg, sizeof rtpg, 512);
	assert_true(load_be32(c->in) >= 12);
	assert_int_equal(c->in[4] & 0x0f, 0); /* active/optimized */
}

static void
a_host_discovers_its_units(void **state)
{
	(void)state;
	struct fx_nexus *host[2];
	up(host);
	const uint8_t report_luns[12] = {0xa0, 0, 0, 0, 0, 0, 0, 0, 0x02, 0x08};
	struct fx_cmd *c = in(host[0], 0, report_luns, sizeof report_luns, 520);
	assert_int_equal(load_be32(c->in), 16);
	for (uint16_t lun = 0; lun < 2; lun++)
		discovery(host[0], lun);
	assert_memory_not_equal(naa[0], naa[1], 16);
	/* The same disk by another path or host. */
	uint8_t first[16];
	memcpy(first, naa[0], sizeof first);
	discovery(host[1], 0);
	assert_memory_equal(naa[0], first, sizeof first);
	assert_supported(host[0], 0x01, 0x89, 0);
	assert_supported(host[0], 0x01, 0x93, 0);
	assert_supported(host[0], 0x01, 0x42, 0);
	assert_supported(host[0], 0x02, 0x83, 0x00);
	assert_supported(host[0], 0x02, 0x84, 0x03);
	assert_supported(host[0], 0x81, 0x2a, 0);
	fx_down(&f);
}

/* ---- ATS ------------------------------------------------------------------------------------- */

static struct fx_cmd *
ats_cmd(struct fx_nexus *n, uint64_t lba, const uint8_t both[1024])
{
	uint8_t cdb[16] = {0x89};
	store_be64(cdb + 2, lba);
	cdb[13] = 1;
	return fx_cmd(n, 0, cdb, sizeof cdb, both, 1024, 0);
}

static struct fx_cmd *
ats(struct fx_nexus *n, uint64_t lba, const uint8_t both[1024])
{
	struct fx_cmd *c = ats_cmd(n, lba, both);
	fx_start(c);
	fx_run(&f);
	assert_true(c->done);
	return c;
}

/* The heartbeat: read the block, then replace it if nobody else did. */
static void
heartbeats_go_on_and_foreign_changes_are_seen(void **state)
{
	(void)state;
	struct fx_nexus *host[2];
	uint8_t both[1024] = {0};
	up(host);
	for (unsigned beat = 1; beat <= 20; beat++) {
		struct fx_cmd *r = fx_read16(host[0], 0, 3000, 1);
		fx_assert_good(r);
		memcpy(both, r->in, 512);
		memcpy(both + 512, r->in, 512);
		store_be32(both + 512 + 16, beat);
		struct fx_cmd *c = ats(host[0], 3000, both);
		fx_assert_good(c);
	}
	struct fx_cmd *r = fx_read16(host[1], 0, 3000, 1);
	assert_int_equal(load_be32(r->in + 16), 20);
	struct fx_cmd *c = ats(host[1], 3000, both); /* expects beat 19 */
	uint64_t offset;
	fx_assert_sense(c, 0xe, 0x1d, 0x00);
	assert_true(fx_sense_info(c, &offset));
	assert_int_equal(offset, 19); /* the low byte of the counter */
	fx_down(&f);
}

static void
of_hosts_that_race_for_a_lock_one_wins(void **state)
{
	(void)state;
	struct fx_nexus *host[2];
	static uint8_t both[2][1024];
	up(host);
	for (unsigned round = 0; round < 10; round++) {
		struct fx_cmd *c[2];
		for (unsigned i = 0; i < 2; i++) {
			memset(both[i], 0, 1024);
			both[i][512] = (uint8_t)(i + 1);
			c[i] = ats_cmd(host[i], 100 + round, both[i]);
			fx_start(c[i]);
		}
		fx_run(&f);
		assert_true(c[0]->done && c[1]->done);
		bool won[2] = {c[0]->status == SCSI_GOOD, c[1]->status == SCSI_GOOD};
		assert_true(won[0] != won[1]);
		fx_assert_sense(c[won[0] ? 1 : 0], 0xe, 0x1d, 0x00);
		struct fx_cmd *r = fx_read16(host[0], 0, 100 + round, 1);
		assert_int_equal(r->in[0], won[0] ? 1 : 2);
	}
	fx_down(&f);
}

/* ---- zero, clone, delete --------------------------------------------------------------------------- */

static void
fill(struct fx_nexus *n, uint16_t lun, uint64_t lba, uint32_t blocks, uint8_t byte)
{
	static uint8_t data[4 * MIB_BLOCKS * 512];
	assert_true(blocks <= 4 * MIB_BLOCKS);
	memset(data, byte, (size_t)blocks * 512);
	struct fx_cmd *c = fx_write16(n, lun, lba, blocks, data);
	fx_assert_good(c);
}

static void
assert_filled(struct fx_nexus *n, uint16_t lun, uint64_t lba, uint32_t blocks, uint8_t byte)
{
	struct fx_cmd *c = fx_read16(n, lun, lba, blocks);
	fx_assert_good(c);
	assert_int_equal(c->in_len, (size_t)blocks * 512);
	for (size_t i = 0; i < c->in_len; i++) {
		if (c->in[i] != byte)
			assert_int_equal(c->in[i], byte);
	}
	fx_cmd_free(c);
}

static void
write_same_zeroes_a_megabyte(void **state)
{
	(void)state;
	struct fx_nexus *host[2];
	const uint8_t zeros[512] = {0};
	uint8_t cdb[16] = {0x93};
	up(host);
	fill(host[0], 0, 0, 2 * MIB_BLOCKS, 0xaa);
	store_be64(cdb + 2, 16);
	store_be32(cdb + 10, MIB_BLOCKS);
	struct fx_cmd *c = fx_exec(host[0], 0, cdb, sizeof cdb, zeros, sizeof zeros, 0);
	fx_assert_good(c);
	assert_filled(host[1], 0, 0, 16, 0xaa);
	assert_filled(host[1], 0, 16, MIB_BLOCKS, 0x00);
	assert_filled(host[1], 0, 16 + MIB_BLOCKS, 16, 0xaa);
	fx_down(&f);
}

/* Operating parameters first, then 4 MiB a segment, without list id. */
static void
clone_goes_from_one_datastore_to_the_other(void **state)
{
	(void)state;
	struct fx_nexus *host[2];
	uint8_t rcr[16] = {0x84, 0x03}, xcopy[16] = {0x83}, list[16 + 64 + 28] = {0};
	up(host);
	discovery(host[0], 0);
	discovery(host[0], 1);
	store_be32(rcr + 10, 0x200);
	struct fx_cmd *c = in(host[0], 0, rcr, sizeof rcr, 0x200);
	assert_int_equal(c->in[4] & 0x01, 0x01); /* SNLID */
	assert_true(load_be16(c->in + 8) >= 2 && load_be16(c->in + 10) >= 1);
	assert_true(load_be32(c->in + 12) >= sizeof list - 16);
	assert_true(load_be32(c->in + 16) >= 4 * 1024 * 1024);
	assert_non_null(memchr(c->in + 44, 0x02, c->in[43]));
	assert_non_null(memchr(c->in + 44, 0xe4, c->in[43]));

	fill(host[0], 0, 4096, 4 * MIB_BLOCKS, 0x77);
	list[1] = 0x18; /* no list id */
	store_be16(list + 2, 64);
	store_be32(list + 8, 28);
	for (unsigned i = 0; i < 2; i++) {
		uint8_t *d = list + 16 + 32 * i;
		d[0] = 0xe4;
		d[4] = 0x01;
		d[5] = 0x03;
		d[7] = 16;
		memcpy(d + 8, naa[i], 16);
		store_be24(d + 29, 512);
	}
	uint8_t *s = list + 80;
	s[0] = 0x02;
	s[1] = 0x02; /* DC */
	s[3] = 0x18;
	store_be16(s + 6, 1);
	store_be16(s + 10, 4 * MIB_BLOCKS);
	store_be64(s + 12, 4096);
	store_be64(s + 20, 8192);
	store_be32(xcopy + 10, sizeof list);
	c = fx_exec(host[0], 0, xcopy, sizeof xcopy, list, sizeof list, 0);
	fx_assert_good(c);
	assert_filled(host[1], 1, 8192, 4 * MIB_BLOCKS, 0x77);
	assert_filled(host[1], 1, 8191, 1, 0x00);
	assert_filled(host[1], 1, 8192 + 4 * MIB_BLOCKS, 1, 0x00);
	fx_down(&f);
}

static void
delete_unmaps_aligned_megabytes(void **state)
{
	(void)state;
	struct fx_nexus *host[2];
	uint8_t cdb[10] = {0x42}, list[8 + 32] = {0};
	up(host);
	fill(host[0], 0, 0, 4 * MIB_BLOCKS, 0xcc);
	store_be16(list, sizeof list - 2);
	store_be16(list + 2, 32);
	store_be64(list + 8, 0);
	store_be32(list + 16, MIB_BLOCKS);
	store_be64(list + 24, 2 * MIB_BLOCKS);
	store_be32(list + 32, MIB_BLOCKS);
	store_be16(cdb + 7, sizeof list);
	struct fx_cmd *c = fx_exec(host[0], 0, cdb, sizeof cdb, list, sizeof list, 0);
	fx_assert_good(c);
	assert_filled(host[1], 0, 0, MIB_BLOCKS, 0x00);
	assert_filled(host[1], 0, MIB_BLOCKS, MIB_BLOCKS, 0xcc);
	assert_filled(host[1], 0, 2 * MIB_BLOCKS, MIB_BLOCKS, 0x00);
	uint8_t status[16] = {0x9e, 0x12};
	store_be32(status + 10, 512);
	c = in(host[0], 0, status, sizeof status, 512);
	assert_int_equal(c->in[8 + 12] & 0x0f, 0x01); /* deallocated */
	fx_down(&f);
}

/* ---- without ATS: RESERVE and RELEASE ------------------------------------------------------------- */

static void
reserve_keeps_the_other_host_out_until_release(void **state)
{
	(void)state;
	struct fx_nexus *host[2];
	const uint8_t reserve[6] = {0x16}, release[6] = {0x17};
	up(host);
	struct fx_cmd *c = fx_exec(host[0], 0, reserve, sizeof reserve, NULL, 0, 0);
	fx_assert_good(c);
	fill(host[0], 0, 0, 1, 1);
	c = fx_read16(host[1], 0, 0, 1);
	assert_int_equal(c->status, SCSI_RESERVATION_CONFLICT);
	c = fx_exec(host[1], 0, reserve, sizeof reserve, NULL, 0, 0);
	assert_int_equal(c->status, SCSI_RESERVATION_CONFLICT);
	c = fx_exec(
	    host[1], 0, release, sizeof release, NULL, 0, 0); /* of another's: does nothing */
	fx_assert_good(c);
	c = fx_read16(host[1], 0, 0, 1);
	assert_int_equal(c->status, SCSI_RESERVATION_CONFLICT);
	c = fx_exec(host[0], 0, release, sizeof release, NULL, 0, 0);
	fx_assert_good(c);
	c = fx_read16(host[1], 0, 0, 1);
	fx_assert_good(c);
	fx_down(&f);
}

/* A host that dies with a reservation: the reset by another one frees the unit. */
static void
a_reset_breaks_the_reservation(void **state)
{
	(void)state;
	struct fx_nexus *host[2];
	const uint8_t reserve[6] = {0x16};
	up(host);
	struct fx_cmd *c = fx_exec(host[0], 0, reserve, sizeof reserve, NULL, 0, 0);
	fx_assert_good(c);
	assert_int_equal(fx_tmf(host[1], SCSI_TMF_LU_RESET, 0, 0, NULL), SCSI_TMF_COMPLETE);
	c = fx_tur(host[1], 0);
	fx_assert_sense(c, 6, 0x29, 0x03);
	c = fx_exec(host[1], 0, reserve, sizeof reserve, NULL, 0, 0);
	fx_assert_good(c);
	fx_down(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_host_discovers_its_units),
	    cmocka_unit_test(heartbeats_go_on_and_foreign_changes_are_seen),
	    cmocka_unit_test(of_hosts_that_race_for_a_lock_one_wins),
	    cmocka_unit_test(write_same_zeroes_a_megabyte),
	    cmocka_unit_test(clone_goes_from_one_datastore_to_the_other),
	    cmocka_unit_test(delete_unmaps_aligned_megabytes),
	    cmocka_unit_test(reserve_keeps_the_other_host_out_until_release),
	    cmocka_unit_test(a_reset_breaks_the_reservation),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
