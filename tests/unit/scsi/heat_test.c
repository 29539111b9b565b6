/* SPDX-License-Identifier: BSD-2-Clause */
/* Where a unit is read and written, as it is counted on each loop. */
#include "tests/unit/scsi/scsi_fixture.h"

#include <string.h>

#include "store/blk_driver.h"

static struct fx f;

static uint64_t
sum(const uint32_t *counts)
{
	uint64_t n = 0;
	for (unsigned i = 0; i < SCSI_HEAT_PARTS; i++)
		n += counts[i];
	return n;
}

/* 16 MiB of 512 bytes: 32768 blocks, 32 to a part. */
static void
good_reads_and_writes_count_where_they_begin(void **state)
{
	(void)state;
	fx_up(&f, 2, 5);
	fx_add_lu(&f, "ram:", NULL);
	struct fx_nexus *a = fx_login(&f, 0, "iqn.a"), *b = fx_login(&f, 1, "iqn.b");
	uint8_t data[2048] = {1};
	struct scsi_heat h;

	fx_assert_good(fx_read16(a, 0, 0, 1));
	fx_assert_good(fx_read16(a, 0, 31, 4)); /* goes on in the next part */
	fx_assert_good(fx_read16(b, 0, 32, 1));
	fx_assert_good(fx_write16(b, 0, 32767, 1, data));
	fx_assert_good(fx_write16(a, 0, 32767, 1, data));
	assert_int_not_equal(fx_read16(a, 0, 32768, 1)->status, SCSI_GOOD);
	assert_int_not_equal(fx_read16(a, 0, UINT64_MAX, 1)->status, SCSI_GOOD);
	fx_assert_good(fx_tur(a, 0));
	assert_true(scsi_lu_get_heat(f.lus[0], &h));
	assert_int_equal(h.shift, 5);
	assert_int_equal(h.reads[0], 2);
	assert_int_equal(h.reads[1], 1);
	assert_int_equal(h.writes[1023], 2);
	assert_int_equal(sum(h.reads), 3);
	assert_int_equal(sum(h.writes), 2);
	fx_down(&f);
}

static void
grow(void *ctx)
{
	(void)ctx;
	scsi_lu_blk_event(f.lus[0], BLK_EVENT_SIZE);
}

static void
set_size(uint64_t bytes)
{
	scsi_lu_blk(f.lus[0])->info.size_bytes = bytes;
	fx_on_loop(&f, 0, grow, NULL);
	fx_run(&f);
}

static void
parts_grow_with_the_unit_and_keep_what_they_counted(void **state)
{
	(void)state;
	fx_up(&f, 2, 6);
	fx_add_lu(&f, "ram:", NULL);
	struct fx_nexus *a = fx_login(&f, 0, "iqn.a"), *b = fx_login(&f, 1, "iqn.b");
	struct scsi_heat h;

	/* The unit is told to be small at first: what the store is stays. */
	set_size(1024 * 512);
	fx_assert_sense(fx_tur(a, 0), 0x6, 0x2a, 0x09);
	fx_assert_sense(fx_tur(b, 0), 0x6, 0x2a, 0x09);
	assert_true(scsi_lu_get_heat(f.lus[0], &h));
	assert_int_equal(h.shift, 5); /* parts don't become smaller */
	fx_assert_good(fx_read16(a, 0, 31, 1));
	fx_assert_good(fx_read16(b, 0, 32, 1));
	fx_assert_good(fx_read16(b, 0, 1023, 1));
	set_size(4 * FX_LU_BYTES);
	assert_true(scsi_lu_get_heat(f.lus[0], &h));
	assert_int_equal(h.shift, 7);
	assert_int_equal(h.reads[0], 2);
	assert_int_equal(h.reads[7], 1);
	assert_int_equal(sum(h.reads), 3);
	set_size(FX_LU_BYTES);
	fx_tur(a, 0);
	fx_assert_good(fx_read16(a, 0, 32767, 1));
	assert_true(scsi_lu_get_heat(f.lus[0], &h));
	assert_int_equal(h.reads[255], 1);
	fx_down(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(good_reads_and_writes_count_where_they_begin),
	    cmocka_unit_test(parts_grow_with_the_unit_and_keep_what_they_counted),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
