/* SPDX-License-Identifier: BSD-2-Clause */
/* INQUIRY and the VPD pages, byte by byte. */
#include "tests/unit/scsi/scsi_fixture.h"

#include "base/endian.h"

static struct fx f;

static const uint8_t uuid[16] = {
    0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f};

/* A unit whose every identifier is given, so that the expected bytes can be written down. */
static struct scsi_lu_args
golden_lu(void)
{
	struct scsi_lu_args a = {
	    .name = "disk",
	    .naa = {0x60, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x0c,
	        0x0d, 0x0e, 0x0f},
	    .serial = "SERIAL01",
	    .vendor = "ACME",
	    .product = "DISK",
	    .revision = "1.2",
	    .block_bytes = 512,
	    .physical_exponent = 3,
	    .thin = true,
	};
	memcpy(a.uuid, uuid, sizeof uuid);
	return a;
}

static struct fx_nexus *
up(const struct scsi_lu_args *a)
{
	fx_up(&f, 1, 7);
	fx_add_lu(&f, "ram:", a);
	return fx_login(&f, 0, "iqn.test:a");
}

static struct fx_cmd *
inquiry(struct fx_nexus *n, uint16_t lun, bool evpd, uint8_t page, uint16_t alloc)
{
	uint8_t cdb[6] = {0x12, evpd, page};
	store_be16(cdb + 3, alloc);
	return fx_exec(n, lun, cdb, sizeof cdb, NULL, 0, alloc);
}

static void
assert_bytes(const struct fx_cmd *c, const void *want, size_t len)
{
	fx_assert_good(c);
	assert_int_equal(c->in_len, len);
	assert_memory_equal(c->in, want, len);
}

static void
standard_data_is_as_written_down(void **state)
{
	(void)state;
	struct scsi_lu_args a = golden_lu();
	struct fx_nexus *n = up(&a);
	uint8_t want[96] = {0x00, 0x00, 0x06, 0x12, 91, 0x38, 0x00, 0x02};
	memcpy(want + 8, "ACME    DISK            1.2 ", 28);
	const uint8_t versions[] = {0x00, 0xa0, 0x09, 0x60, 0x04, 0x60, 0x04, 0xc0};
	memcpy(want + 58, versions, sizeof versions);
	assert_bytes(inquiry(n, 0, false, 0, 260), want, sizeof want);
	fx_down(&f);
}

static void
removable_medium_is_said(void **state)
{
	(void)state;
	struct scsi_lu_args a = golden_lu();
	a.removable = true;
	struct fx_nexus *n = up(&a);
	struct fx_cmd *c = inquiry(n, 0, false, 0, 36);
	assert_int_equal(c->in[1], 0x80);
	fx_down(&f);
}

static void
two_ports_are_said(void **state)
{
	(void)state;
	struct scsi_lu_args a = golden_lu();
	fx_up(&f, 1, 7);
	fx_add_lu(&f, "ram:", &a);
	assert_int_equal(
	    scsi_core_add_port(f.core, 2, 1, "iqn.test:target", "iqn.test:target,t,0x0002"), 0);
	struct fx_nexus *n = fx_login(&f, 0, "iqn.test:a");
	struct fx_cmd *c = inquiry(n, 0, false, 0, 36);
	assert_int_equal(c->in[6] & 0x10, 0x10);
	fx_down(&f);
}

static void
any_allocation_length_is_served(void **state)
{
	(void)state;
	struct scsi_lu_args a = golden_lu();
	struct fx_nexus *n = up(&a);
	uint8_t whole[96];
	memcpy(whole, inquiry(n, 0, false, 0, 255)->in, sizeof whole);
	for (unsigned i = 0; i < 256; i++) {
		struct fx_cmd *c = inquiry(n, 0, false, 0, (uint16_t)i);
		assert_bytes(c, whole, i < 96 ? i : 96);
		fx_cmd_free(c);
	}
	fx_down(&f);
}

static void
page_code_without_evpd_is_refused(void **state)
{
	(void)state;
	struct scsi_lu_args a = golden_lu();
	struct fx_nexus *n = up(&a);
	struct fx_cmd *c = inquiry(n, 0, false, 1, 256);
	int bit;
	fx_assert_sense(c, 5, 0x24, 0x00);
	assert_int_equal(fx_sense_field(c, &bit), 2);
	fx_down(&f);
}

static void
obsolete_cmddt_bit_is_refused(void **state)
{
	(void)state;
	struct scsi_lu_args a = golden_lu();
	struct fx_nexus *n = up(&a);
	const uint8_t cdb[6] = {0x12, 0x02, 0, 0, 36, 0};
	struct fx_cmd *c = fx_exec(n, 0, cdb, sizeof cdb, NULL, 0, 36);
	int bit;
	fx_assert_sense(c, 5, 0x24, 0x00);
	assert_int_equal(fx_sense_field(c, &bit), 1);
	assert_int_equal(bit, 1);
	fx_down(&f);
}

static void
inquiry_keeps_a_pending_unit_attention(void **state)
{
	(void)state;
	struct scsi_lu_args a = golden_lu();
	fx_up(&f, 1, 7);
	fx_add_lu(&f, "ram:", &a);
	struct fx_nexus *n = fx_login_port(&f, 0, "iqn.test:a", 1, true);
	fx_assert_good(inquiry(n, 0, false, 0, 36));
	struct fx_cmd *c = fx_tur(n, 0);
	fx_assert_sense(c, 6, 0x29, 0x00);
	fx_down(&f);
}

/* SPC-4 table 175: LUN 0 could have a unit, others couldn't. */
static void
unmapped_units_have_a_qualifier(void **state)
{
	(void)state;
	struct scsi_lu_args a = golden_lu();
	fx_up(&f, 1, 7);
	struct scsi_view_entry e = {.lun = 3, .lu = fx_add_lu(&f, "ram:", &a)};
	struct fx_nexus *n = fx_login_view(&f, 0, "iqn.test:a", &e, 1);
	assert_int_equal(inquiry(n, 0, false, 0, 36)->in[0], 0x3f);
	assert_int_equal(inquiry(n, 5, false, 0, 36)->in[0], 0x7f);
	assert_int_equal(inquiry(n, 3, false, 0, 36)->in[0], 0x00);
	const uint8_t pages[] = {0x3f, 0x00, 0x00, 0x01, 0x00};
	assert_bytes(inquiry(n, 0, true, 0x00, 255), pages, sizeof pages);
	struct fx_cmd *c = inquiry(n, 0, true, 0x83, 255);
	fx_assert_sense(c, 5, 0x24, 0x00);
	fx_down(&f);
}

static void
report_luns_well_known_unit_answers(void **state)
{
	(void)state;
	struct scsi_lu_args a = golden_lu();
	struct fx_nexus *n = up(&a);
	const uint8_t cdb[6] = {0x12, 0, 0, 0, 36, 0};
	struct fx_cmd *c = fx_cmd(n, 0, cdb, sizeof cdb, NULL, 0, 36);
	const uint8_t lun[8] = {0xc1, 0x01};
	memcpy(c->task.lun, lun, sizeof lun);
	fx_start(c);
	fx_run(&f);
	fx_assert_good(c);
	assert_int_equal(c->in[0], 0x1e);
	fx_down(&f);
}

/* ---- VPD ------------------------------------------------------------------------------------- */

static void
vpd_00_lists_the_pages(void **state)
{
	(void)state;
	struct scsi_lu_args a = golden_lu();
	struct fx_nexus *n = up(&a);
	const uint8_t want[] = {
	    0x00, 0x00, 0x00, 0x0a, 0x00, 0x80, 0x83, 0x86, 0x87, 0x88, 0x8f, 0xb0, 0xb1, 0xb2};
	assert_bytes(inquiry(n, 0, true, 0x00, 255), want, sizeof want);
	fx_down(&f);
}

static void
vpd_pages_are_there_if_and_only_if_listed(void **state)
{
	(void)state;
	struct scsi_lu_args a = golden_lu();
	a.thin = false;
	struct fx_nexus *n = up(&a);
	struct fx_cmd *list = inquiry(n, 0, true, 0x00, 255);
	assert_int_equal(list->in_len, 13); /* no B2h */
	for (unsigned page = 0; page < 256; page++) {
		bool listed = memchr(list->in + 4, (int)page, list->in_len - 4) != NULL;
		struct fx_cmd *c = inquiry(n, 0, true, (uint8_t)page, 255);
		if (listed) {
			fx_assert_good(c);
			assert_int_equal(c->in[1], page);
			assert_true(4u + load_be16(c->in + 2) == c->in_len || c->in_len == 255);
		} else {
			fx_assert_sense(c, 5, 0x24, 0x00);
		}
		fx_cmd_free(c);
	}
	fx_down(&f);
}

static void
vpd_80_is_the_serial_number(void **state)
{
	(void)state;
	struct scsi_lu_args a = golden_lu();
	struct fx_nexus *n = up(&a);
	assert_bytes(inquiry(n, 0, true, 0x80, 255), "\x00\x80\x00\x08SERIAL01", 12);
	fx_down(&f);
}

static void
vpd_83_has_all_designators(void **state)
{
	(void)state;
	struct scsi_lu_args a = golden_lu();
	memcpy(a.eui64, "\x01\x02\x03\x04\x05\x06\x07\x08", 8);
	struct fx_nexus *n = up(&a);
	/* clang-format off */
	static const char want[] =
	    "\x00\x83\x00\x78"
	    "\x01\x03\x00\x10\x60\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f"
	    "\x02\x01\x00\x10" "ACME    SERIAL01"
	    "\x01\x02\x00\x08\x01\x02\x03\x04\x05\x06\x07\x08"
	    "\x51\x94\x00\x04\x00\x00\x00\x01"
	    "\x51\x95\x00\x04\x00\x00\x00\x01"
	    "\x53\x98\x00\x1c" "iqn.test:target,t,0x0001\0\0\0\0"
	    "\x53\xa8\x00\x10" "iqn.test:target\0";
	/* clang-format on */
	assert_bytes(inquiry(n, 0, true, 0x83, 255), want, sizeof want - 1);
	fx_down(&f);
}

/* What initiators knew a disk by elsewhere decides, not what we would like to add. */
static void
vpd_83_may_lack_the_naa_designator(void **state)
{
	(void)state;
	struct scsi_lu_args a = golden_lu();
	a.no_naa = true;
	struct fx_nexus *n = up(&a);
	struct fx_cmd *c = inquiry(n, 0, true, 0x83, 255);
	fx_assert_good(c);
	assert_int_equal(c->in[5] & 0x3f, 0x01); /* T10 comes first */
	for (size_t at = 4; at < c->in_len; at += 4u + c->in[at + 3])
		assert_true((c->in[at + 1] & 0x3f) != 0x03);
	memset(a.eui64, 0, sizeof a.eui64);
	a.uuid[0] ^= 0xff;
	a.serial = a.name = "another";
	fx_add_lu(&f, "ram:", &a); /* two that have none don't have the same one */
	fx_down(&f);
}

static void
vpd_83_takes_a_short_naa_designator(void **state)
{
	(void)state;
	struct scsi_lu_args a = golden_lu();
	const uint8_t want[] = {0x01, 0x03, 0x00, 0x08, 0x50, 1, 2, 3, 4, 5, 6, 7};
	memset(a.naa, 0, sizeof a.naa);
	memcpy(a.naa, want + 4, 8);
	a.naa_bytes = 8;
	struct fx_nexus *n = up(&a);
	struct fx_cmd *c = inquiry(n, 0, true, 0x83, 255);
	fx_assert_good(c);
	assert_memory_equal(c->in + 4, want, sizeof want);
	fx_down(&f);
}

static void
vpd_83_names_the_port_of_the_nexus(void **state)
{
	(void)state;
	struct scsi_lu_args a = golden_lu();
	fx_up(&f, 1, 7);
	fx_add_lu(&f, "ram:", &a);
	assert_int_equal(
	    scsi_core_add_port(f.core, 2, 9, "iqn.test:target", "iqn.test:target,t,0x0002"), 0);
	struct fx_nexus *n = fx_login_port(&f, 0, "iqn.test:a", 2, false);
	struct fx_cmd *c = inquiry(n, 0, true, 0x83, 255);
	const uint8_t rel[] = {0x51, 0x94, 0x00, 0x04, 0x00, 0x00, 0x00, 0x02};
	const uint8_t group[] = {0x51, 0x95, 0x00, 0x04, 0x00, 0x00, 0x00, 0x09};
	assert_memory_equal(c->in + 44, rel, sizeof rel);
	assert_memory_equal(c->in + 52, group, sizeof group);
	fx_down(&f);
}

static void
vpd_86_says_what_the_queue_does(void **state)
{
	(void)state;
	struct scsi_lu_args a = golden_lu();
	struct fx_nexus *n = up(&a);
	uint8_t want[64] = {0x00, 0x86, 0x00, 0x3c, 0x00, 0x07, 0x00};
	want[13] = SCSI_SENSE_MAX_BYTES;
	assert_bytes(inquiry(n, 0, true, 0x86, 255), want, sizeof want);
	fx_down(&f);
}

static void
vpd_86_says_volatile_only_of_volatile_units(void **state)
{
	(void)state;
	struct scsi_lu_args a = golden_lu();
	a.volatile_cache = true;
	struct fx_nexus *n = up(&a);
	assert_int_equal(inquiry(n, 0, true, 0x86, 255)->in[6], 0x01);
	fx_down(&f);
}

static void
vpd_87_shares_every_mode_page(void **state)
{
	(void)state;
	struct scsi_lu_args a = golden_lu();
	struct fx_nexus *n = up(&a);
	const uint8_t want[] = {0x00, 0x87, 0x00, 0x04, 0x3f, 0xff, 0x00, 0x00};
	assert_bytes(inquiry(n, 0, true, 0x87, 255), want, sizeof want);
	fx_down(&f);
}

static void
vpd_88_lists_the_ports(void **state)
{
	(void)state;
	struct scsi_lu_args a = golden_lu();
	fx_up(&f, 1, 7);
	fx_add_lu(&f, "ram:", &a);
	assert_int_equal(
	    scsi_core_add_port(f.core, 2, 1, "iqn.test:target", "iqn.test:target,t,0x0002"), 0);
	struct fx_nexus *n = fx_login(&f, 0, "iqn.test:a");
	static const char want[] =
	    "\x00\x88\x00\x58"
	    "\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x20\x53\x98\x00\x1c"
	    "iqn.test:target,t,0x0001\0\0\0\0"
	    "\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x20\x53\x98\x00\x1c"
	    "iqn.test:target,t,0x0002\0\0\0\0";
	assert_bytes(inquiry(n, 0, true, 0x88, 255), want, sizeof want - 1);
	fx_down(&f);
}

static void
vpd_8f_lists_the_copy_commands(void **state)
{
	(void)state;
	struct scsi_lu_args a = golden_lu();
	struct fx_nexus *n = up(&a);
	uint8_t want[4 + 16 + 32 + 8 + 36] = {0x00, 0x8f, 0x00, 0x5c};
	const uint8_t commands[] = {
	    0x00, 0x01, 0x00, 0x0c, 0x08, 0x83, 0x01, 0x00, 0x84, 0x03, 0x00, 0x03, 0x04};
	const uint8_t data[] = {
	    0x00, 0x04, 0x00, 0x1c, 0, 0, 0, 0, 0x00, 0x10, 0x00, 0x20, 0x00, 0x00, 0x05, 0x80};
	const uint8_t descriptors[] = {0x00, 0x08, 0x00, 0x04, 0x02, 0x02, 0xe4, 0x00};
	const uint8_t general[] = {
	    0x80, 0x01, 0x00, 0x20, 0, 0, 0, 8, 0, 0, 0, 8, 0x10, 0, 0, 0, 9};
	memcpy(want + 4, commands, sizeof commands);
	memcpy(want + 20, data, sizeof data);
	memcpy(want + 52, descriptors, sizeof descriptors);
	memcpy(want + 60, general, sizeof general);
	assert_bytes(inquiry(n, 0, true, 0x8f, 1024), want, sizeof want);
	fx_down(&f);
}

/* The numbers are those of scsi_sbc_limits() over a ram store. */
static void
vpd_b0_has_the_limits(void **state)
{
	(void)state;
	struct scsi_lu_args a = golden_lu();
	struct fx_nexus *n = up(&a);
	struct fx_cmd *c = inquiry(n, 0, true, 0xb0, 64);
	fx_assert_good(c);
	assert_int_equal(c->in_len, 64);
	assert_int_equal(load_be16(c->in + 2), 0x3c);
	assert_true(c->in[5] >= 1);                /* COMPARE AND WRITE */
	assert_int_equal(load_be16(c->in + 6), 8); /* granularity: physical block */
	assert_int_equal(load_be32(c->in + 8), SCSI_XFER_MAX_BYTES / 512);
	assert_true(load_be32(c->in + 20) >= 1 && load_be32(c->in + 20) <= 1024 * 1024);
	assert_true(load_be32(c->in + 24) >= 1 && load_be32(c->in + 24) <= 1024 * 1024);
	uint32_t granularity = load_be32(c->in + 28);
	assert_true(granularity >= 1 && (1024 * 1024 / 512) % granularity == 0);
	assert_int_equal(load_be32(c->in + 32) & 0x80000000u, 0x80000000u); /* UGAVALID */
	assert_true(load_be64(c->in + 36) > 0);
	fx_down(&f);
}

/* A stripe of three 64 KiB parts; then parts that can't be told as they are. */
static void
vpd_b0_tells_a_stripe(void **state)
{
	(void)state;
	static const struct {
		uint32_t minimum, optimal;
		uint16_t want;
	} rows[] = {
	    {65536, 196608, 128},
	    {65536, 0, 128},
	    {512, 196608, 8},        /* less than a physical block */
	    {6144, 12288, 8},        /* not whole ones */
	    {65536, 98304, 8},       /* not whole parts */
	    {1u << 25, 1u << 26, 8}, /* 65536 blocks: one too many */
	    {65535u << 9, 0, 8},
	    {65528u << 9, 0, 65528},
	};
	struct scsi_lu_args a = golden_lu();
	struct fx_nexus *n = up(&a);
	/* Of an open store it is constant: only tests write it. */
	struct blk_info *info = (void *)(uintptr_t)blk_get_info(f.blks[0]);
	for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		info->minimum_bytes = rows[i].minimum;
		info->optimal_bytes = rows[i].optimal;
		struct fx_cmd *c = inquiry(n, 0, true, 0xb0, 64);
		fx_assert_good(c);
		assert_int_equal(load_be16(c->in + 6), rows[i].want);
		uint32_t optimal =
		    rows[i].optimal < SCSI_XFER_MAX_BYTES ? rows[i].optimal : SCSI_XFER_MAX_BYTES;
		assert_int_equal(load_be32(c->in + 12), optimal / 512);
	}
	fx_down(&f);
}

static void
vpd_b0_without_unmap_has_no_unmap_limits(void **state)
{
	(void)state;
	struct scsi_lu_args a = golden_lu();
	a.thin = false;
	struct fx_nexus *n = up(&a);
	struct fx_cmd *c = inquiry(n, 0, true, 0xb0, 64);
	const uint8_t zeros[16] = {0};
	assert_memory_equal(c->in + 20, zeros, sizeof zeros);
	fx_down(&f);
}

static void
vpd_b1_says_solid_state_or_unknown(void **state)
{
	(void)state;
	struct scsi_lu_args a = golden_lu();
	struct fx_nexus *n = up(&a);
	uint8_t want[64] = {0x00, 0xb1, 0x00, 0x3c, 0x00, 0x01};
	assert_bytes(inquiry(n, 0, true, 0xb1, 255), want, sizeof want);
	fx_down(&f);
	a.rotational = true;
	n = up(&a);
	want[5] = 0x00;
	assert_bytes(inquiry(n, 0, true, 0xb1, 255), want, sizeof want);
	fx_down(&f);
}

static void
vpd_b2_says_thin(void **state)
{
	(void)state;
	struct scsi_lu_args a = golden_lu();
	struct fx_nexus *n = up(&a);
	const uint8_t want[] = {0x00, 0xb2, 0x00, 0x04, 0x0b, 0xe4, 0x02, 0x00};
	assert_bytes(inquiry(n, 0, true, 0xb2, 255), want, sizeof want);
	fx_down(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(standard_data_is_as_written_down),
	    cmocka_unit_test(removable_medium_is_said),
	    cmocka_unit_test(two_ports_are_said),
	    cmocka_unit_test(any_allocation_length_is_served),
	    cmocka_unit_test(page_code_without_evpd_is_refused),
	    cmocka_unit_test(obsolete_cmddt_bit_is_refused),
	    cmocka_unit_test(inquiry_keeps_a_pending_unit_attention),
	    cmocka_unit_test(unmapped_units_have_a_qualifier),
	    cmocka_unit_test(report_luns_well_known_unit_answers),
	    cmocka_unit_test(vpd_00_lists_the_pages),
	    cmocka_unit_test(vpd_pages_are_there_if_and_only_if_listed),
	    cmocka_unit_test(vpd_80_is_the_serial_number),
	    cmocka_unit_test(vpd_83_has_all_designators),
	    cmocka_unit_test(vpd_83_may_lack_the_naa_designator),
	    cmocka_unit_test(vpd_83_takes_a_short_naa_designator),
	    cmocka_unit_test(vpd_83_names_the_port_of_the_nexus),
	    cmocka_unit_test(vpd_86_says_what_the_queue_does),
	    cmocka_unit_test(vpd_86_says_volatile_only_of_volatile_units),
	    cmocka_unit_test(vpd_87_shares_every_mode_page),
	    cmocka_unit_test(vpd_88_lists_the_ports),
	    cmocka_unit_test(vpd_8f_lists_the_copy_commands),
	    cmocka_unit_test(vpd_b0_has_the_limits),
	    cmocka_unit_test(vpd_b0_tells_a_stripe),
	    cmocka_unit_test(vpd_b0_without_unmap_has_no_unmap_limits),
	    cmocka_unit_test(vpd_b1_says_solid_state_or_unknown),
	    cmocka_unit_test(vpd_b2_says_thin),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
