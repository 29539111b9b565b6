/* SPDX-License-Identifier: BSD-2-Clause */
/* READ, WRITE, VERIFY, WRITE AND VERIFY, PRE-FETCH, SYNCHRONIZE CACHE */
#include <errno.h>

#include "scsi/sbc_priv.h"
#include "store/fault.h"
#include "tests/unit/scsi/sbc_test.h"

#define BLOCKS (FX_LU_BYTES / BS)

static struct fx f;
static struct fx_nexus *n;
static uint8_t buf[4u << 20];

static int
up(void **state)
{
	(void)state;
	fx_up(&f, 1, 7);
	fx_add_lu(&f, "fault:1::ram:", NULL);
	n = fx_login(&f, 0, "iqn.a");
	return 0;
}

/* A unit that takes its store for a volatile one: what it asks of it is counted by the store. */
static int
up_volatile(void **state)
{
	(void)state;
	fx_up(&f, 1, 7);
	fx_add_lu(&f, "ram:", &(struct scsi_lu_args){.volatile_cache = true});
	f.lus[0]->caps |= BLK_CAP_VOLATILE;
	n = fx_login(&f, 0, "iqn.a");
	return 0;
}

static int
down(void **state)
{
	(void)state;
	fx_down(&f);
	return 0;
}

static void
every_write_is_read_by_every_read(void **state)
{
	(void)state;
	const struct cdb writes[] = {cdb6(0x0a, 40, 3), cdb10(0x2a, 0, 40, 3),
	    cdb12(0xaa, 0, 40, 3), cdb16(0x8a, 0, 40, 3), cdb10(0x2e, 0, 40, 3),
	    cdb12(0xae, 2, 40, 3), cdb16(0x8e, 2, 40, 3)};
	const struct cdb reads[] = {
	    cdb6(0x08, 40, 3), cdb10(0x28, 0, 40, 3), cdb12(0xa8, 0, 40, 3), cdb16(0x88, 0, 40, 3)};
	for (size_t w = 0; w < sizeof writes / sizeof *writes; w++) {
		memset(buf, (int)(w + 1), 3 * BS);
		fx_assert_good(run(n, writes[w], buf, 3 * BS, 0));
		for (size_t r = 0; r < sizeof reads / sizeof *reads; r++) {
			struct fx_cmd *c = run(n, reads[r], NULL, 0, 3 * BS);
			fx_assert_good(c);
			assert_int_equal(c->in_len, 3 * BS);
			assert_memory_equal(c->in, buf, 3 * BS);
		}
		assert_filled(n, 43, 1, 0);
		assert_filled(n, 39, 1, 0);
	}
}

static void
length_0_is_256_blocks_in_6_byte_cdbs(void **state)
{
	(void)state;
	memset(buf, 9, 256 * BS);
	fx_assert_good(run(n, cdb6(0x0a, 0, 0), buf, 256 * BS, 0));
	struct fx_cmd *c = run(n, cdb6(0x08, 0, 0), NULL, 0, 256 * BS);
	fx_assert_good(c);
	assert_int_equal(c->in_len, 256 * BS);
	assert_int_equal(c->in[256 * BS - 1], 9);
}

static void
length_0_moves_nothing_in_longer_cdbs(void **state)
{
	(void)state;
	const uint8_t ops10[] = {0x28, 0x2a, 0x2f, 0x2e}, ops16[] = {0x88, 0x8a, 0x8f, 0x8e};
	for (size_t i = 0; i < 4; i++) {
		fx_assert_good(run(n, cdb10(ops10[i], 0, 0, 0), NULL, 0, 0));
		fx_assert_good(run(n, cdb16(ops16[i], 0, 0, 0), NULL, 0, 0));
		assert_sense(run(n, cdb10(ops10[i], 0, BLOCKS + 1, 0), NULL, 0, 0), 5, 0x21, 0);
		assert_sense(run(n, cdb16(ops16[i], 0, UINT64_MAX, 0), NULL, 0, 0), 5, 0x21, 0);
	}
}

static void
ranges_past_the_end_are_refused_with_the_lba(void **state)
{
	(void)state;
	const struct cdb all[] = {cdb10(0x28, 0, BLOCKS - 1, 2), cdb12(0xa8, 0, BLOCKS, 1),
	    cdb16(0x88, 0, UINT64_C(1) << 63, 1), cdb16(0x88, 0, UINT64_MAX, 1),
	    cdb10(0x2a, 0, BLOCKS - 1, 2), cdb12(0xaa, 0, BLOCKS, 1),
	    cdb16(0x8a, 0, UINT64_C(1) << 63, 1), cdb10(0x2f, 2, BLOCKS - 1, 2),
	    cdb12(0xaf, 0, BLOCKS, 1), cdb16(0x8f, 6, UINT64_MAX, 2), cdb10(0x2e, 0, BLOCKS, 1),
	    cdb16(0x8e, 2, UINT64_MAX, 1), cdb10(0x34, 0, BLOCKS, 1), cdb16(0x90, 0, UINT64_MAX, 0),
	    cdb10(0x35, 0, BLOCKS, 1), cdb16(0x91, 0, BLOCKS + 1, 0)};
	for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
		struct fx_cmd *c = run(n, all[i], buf, 2 * BS, 2 * BS);
		assert_sense(c, 5, 0x21, 0x00);
		assert_int_equal(c->in_len, 0);
	}
	uint64_t info;
	struct fx_cmd *c = run(n, cdb10(0x28, 0, BLOCKS, 1), NULL, 0, BS);
	assert_true(fx_sense_info(c, &info));
	assert_int_equal(info, BLOCKS);
}

static void
longer_than_the_maximum_is_refused(void **state)
{
	(void)state;
	struct scsi_sbc_limits lim;
	scsi_sbc_limits(f.lus[0], &lim);
	assert_int_equal(lim.xfer_blocks_max, SCSI_XFER_MAX_BYTES / BS);
	const uint32_t max = lim.xfer_blocks_max;
	fx_assert_good(run(n, cdb16(0x8a, 0, 0, max), buf, sizeof buf, 0));
	fx_assert_good(run(n, cdb16(0x88, 0, 0, max), NULL, 0, sizeof buf));
	assert_bad_field(run(n, cdb16(0x8a, 0, 0, max + 1), buf, sizeof buf, 0), 10, -1);
	assert_bad_field(run(n, cdb16(0x88, 0, 0, max + 1), NULL, 0, sizeof buf), 10, -1);
	assert_bad_field(run(n, cdb12(0xa8, 0, 0, max + 1), NULL, 0, sizeof buf), 6, -1);
	assert_bad_field(run(n, cdb10(0x28, 0, 0, (uint16_t)(max + 1)), NULL, 0, BS), 7, -1);
	assert_bad_field(run(n, cdb16(0x8f, 2, 0, max + 1), buf, sizeof buf, 0), 10, -1);
	/* Nothing is transferred: no limit. */
	fx_assert_good(run(n, cdb16(0x8f, 0, 0, max + 1), NULL, 0, 0));
}

static void
protection_fields_are_refused(void **state)
{
	(void)state;
	const uint8_t ops10[] = {0x28, 0x2a, 0x2f, 0x2e}, ops12[] = {0xa8, 0xaa, 0xaf, 0xae},
	              ops16[] = {0x88, 0x8a, 0x8f, 0x8e};
	for (unsigned p = 1; p < 8; p++) {
		const uint8_t flags = (uint8_t)(p << 5);
		const int bit = 31 - __builtin_clz(flags);
		for (size_t i = 0; i < 4; i++) {
			assert_bad_field(run(n, cdb10(ops10[i], flags, 0, 1), buf, BS, BS), 1, bit);
			assert_bad_field(run(n, cdb12(ops12[i], flags, 0, 1), buf, BS, BS), 1, bit);
			assert_bad_field(run(n, cdb16(ops16[i], flags, 0, 1), buf, BS, BS), 1, bit);
		}
	}
}

static void
dpo_and_fua_are_accepted(void **state)
{
	(void)state;
	const uint8_t flags[] = {0x10, 0x08, 0x02, 0x0a, 0x18};
	for (size_t i = 0; i < sizeof flags; i++) {
		fx_assert_good(run(n, cdb10(0x2a, flags[i], 0, 1), buf, BS, 0));
		fx_assert_good(run(n, cdb16(0x88, flags[i], 0, 1), NULL, 0, BS));
	}
}

static void
data_lengths_that_differ_leave_a_residual(void **state)
{
	(void)state;
	fill(n, 0, 2, 'a');
	memset(buf, 'b', 4 * BS);
	struct fx_cmd *c = run(n, cdb10(0x2a, 0, 0, 2), buf, BS, 0);
	fx_assert_good(c);
	assert_int_equal(c->xfer_bytes, 2 * BS);
	assert_filled(n, 0, 1, 'b');
	assert_filled(n, 1, 1, 'a');
	/* Less than a block: nothing is written. */
	fx_assert_good(run(n, cdb10(0x2a, 0, 1, 1), buf, 200, 0));
	assert_filled(n, 1, 1, 'a');
	c = run(n, cdb10(0x28, 0, 0, 2), NULL, 0, 200);
	fx_assert_good(c);
	assert_int_equal(c->in_len, 200);
	assert_int_equal(c->xfer_bytes, 2 * BS);
	c = run(n, cdb10(0x2e, 2, 0, 2), buf + BS, BS, 0);
	fx_assert_good(c);
	assert_filled(n, 1, 1, 'a');
}

static void
verify_without_bytchk_reads_the_medium(void **state)
{
	(void)state;
	fx_assert_good(run(n, cdb10(0x2f, 0, 0, 8), buf, 8 * BS, 0));
	struct blk_stats before, after;
	blk_get_stats(f.blks[0], &before);
	fx_assert_good(run(n, cdb16(0x8f, 0, 0, BLOCKS), NULL, 0, 0));
	blk_get_stats(f.blks[0], &after);
	assert_int_equal(after.bytes[BLK_READ] - before.bytes[BLK_READ], FX_LU_BYTES);
	fault_fail(f.blks[0], BLK_READ, 3, 1, -EIO);
	assert_sense(run(n, cdb16(0x8f, 0, 0, BLOCKS), NULL, 0, 0), 3, 0x11, 0x00);
}

static void
verify_compares_and_tells_where_it_differs(void **state)
{
	(void)state;
	const uint32_t blocks = 4096; /* more than one piece */
	for (size_t i = 0; i < blocks * BS; i++)
		buf[i] = (uint8_t)(i * 7 + i / BS);
	fx_assert_good(fx_write16(n, 0, 10, blocks, buf));
	fx_assert_good(run(n, cdb10(0x2f, 2, 10, (uint16_t)blocks), buf, blocks * BS, 0));
	fx_assert_good(run(n, cdb12(0xaf, 2, 10, blocks), buf, blocks * BS, 0));
	fx_assert_good(run(n, cdb16(0x8f, 2, 10, blocks), buf, blocks * BS, 0));
	const size_t places[] = {0, 511, 512, 1048575, 1048576, 2000000, blocks * BS - 1};
	for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
		buf[places[i]] ^= 0x55;
		struct fx_cmd *c = run(n, cdb16(0x8f, 2, 10, blocks), buf, blocks * BS, 0);
		uint64_t info;
		assert_sense(c, 0xe, 0x1d, 0x00);
		assert_true(fx_sense_info(c, &info));
		assert_int_equal(info, places[i]);
		buf[places[i]] ^= 0x55;
	}
}

static void
verify_compares_each_block_with_one(void **state)
{
	(void)state;
	fill(n, 0, 5000, 'x');
	memset(buf, 'x', BS);
	fx_assert_good(run(n, cdb16(0x8f, 6, 0, 5000), buf, BS, 0));
	fill(n, 4999, 1, 'y');
	struct fx_cmd *c = run(n, cdb16(0x8f, 6, 0, 5000), buf, BS, 0);
	assert_sense(c, 0xe, 0x1d, 0x00);
	fx_assert_good(run(n, cdb16(0x8f, 6, 0, 4999), buf, BS, 0));
	/* Without the whole block there is nothing to compare with. */
	assert_sense(run(n, cdb16(0x8f, 6, 0, 1), buf, 100, 0), 5, 0x24, 0x00);
}

static void
reserved_bytchk_values_are_refused(void **state)
{
	(void)state;
	assert_bad_field(run(n, cdb10(0x2f, 4, 0, 1), buf, BS, 0), 1, 2);
	assert_bad_field(run(n, cdb10(0x2e, 4, 0, 1), buf, BS, 0), 1, 2);
	assert_bad_field(run(n, cdb16(0x8e, 6, 0, 1), buf, BS, 0), 1, 2);
}

static void
write_and_verify_finds_a_lost_write(void **state)
{
	(void)state;
	fill(n, 0, 4, 'o');
	memset(buf, 'n', 4 * BS);
	fault_lose_writes(f.blks[0], 1);
	struct fx_cmd *c = run(n, cdb10(0x2e, 2, 0, 4), buf, 4 * BS, 0);
	uint64_t info;
	assert_sense(c, 0xe, 0x1d, 0x00);
	assert_true(fx_sense_info(c, &info));
	assert_int_equal(info, 0);
}

static void
store_errors_become_medium_errors(void **state)
{
	(void)state;
	fault_fail(f.blks[0], BLK_READ, 0, 1, -EIO);
	assert_sense(fx_read16(n, 0, 0, 1), 3, 0x11, 0x00);
	fault_fail(f.blks[0], BLK_WRITE, 0, 1, -EIO);
	assert_sense(fx_write16(n, 0, 0, 1, buf), 3, 0x0c, 0x00);
	fault_fail(f.blks[0], BLK_WRITE, 0, 1, -ENOSPC);
	assert_sense(fx_write16(n, 0, 0, 1, buf), 7, 0x27, 0x07);
	fx_assert_good(fx_write16(n, 0, 0, 1, buf));
}

static void
pre_fetch_says_whether_all_was_fetched(void **state)
{
	(void)state;
	assert_int_equal(run(n, cdb10(0x34, 0, 0, 64), NULL, 0, 0)->status, SCSI_CONDITION_MET);
	assert_int_equal(run(n, cdb16(0x90, 2, 0, 8192), NULL, 0, 0)->status, SCSI_CONDITION_MET);
	/* 0: to the end, which is more than one transfer from here… */
	fx_assert_good(run(n, cdb10(0x34, 0, 0, 0), NULL, 0, 0));
	/* …and less from there. */
	assert_int_equal(
	    run(n, cdb10(0x34, 0, BLOCKS - 10, 0), NULL, 0, 0)->status, SCSI_CONDITION_MET);
}

static uint64_t
flushes(void)
{
	struct blk_stats s;
	blk_get_stats(f.blks[0], &s);
	return s.ops[BLK_FLUSH];
}

static void
synchronize_cache_has_nothing_to_do_on_a_durable_store(void **state)
{
	(void)state;
	const uint64_t before = flushes();
	fx_assert_good(run(n, cdb10(0x35, 0, 0, 0), NULL, 0, 0));
	fx_assert_good(run(n, cdb16(0x91, 6, 5, 10), NULL, 0, 0));
	assert_int_equal(flushes(), before);
}

static void
limits_are_consistent(void **state)
{
	(void)state;
	struct scsi_sbc_limits lim;
	scsi_sbc_limits(f.lus[0], &lim);
	assert_int_equal(lim.caw_blocks_max, 255);
	assert_int_equal(scsi_sbc_caw_blocks_max(f.lus[0]), 255);
	assert_false(lim.lbpu); /* not thin */
	assert_int_equal(lim.unmap_blocks_max, 0);
	assert_false(lim.anc_sup);
	assert_true(lim.write_same_blocks_max > 0);
	assert_true(lim.atomic_blocks_max <= lim.xfer_blocks_max);
}

static void
a_volatile_store_is_flushed_by_synchronize_cache_and_fua_reads(void **state)
{
	(void)state;
	const uint64_t before = flushes();
	memset(buf, 'v', BS);
	fx_assert_good(run(n, cdb10(0x2a, 0x08, 3, 1), buf, BS, 0));
	fx_assert_good(run(n, cdb10(0x2a, 0x00, 4, 1), buf, BS, 0));
	fx_assert_good(run(n, cdb10(0x28, 0x00, 3, 1), NULL, 0, BS));
	assert_int_equal(flushes(), before);
	fx_assert_good(run(n, cdb10(0x28, 0x08, 3, 1), NULL, 0, BS));
	assert_int_equal(flushes(), before + 1);
	fx_assert_good(run(n, cdb10(0x35, 0, 0, 0), NULL, 0, 0));
	fx_assert_good(run(n, cdb16(0x91, 2, 0, 1), NULL, 0, 0));
	assert_int_equal(flushes(), before + 3);
	assert_filled(n, 3, 2, 'v');
}

static void
writes_are_durable_where_fua_or_wce_ask_for_it(void **state)
{
	(void)state;
	struct scsi_lu_loop *ll = &f.lus[0]->ll[0];
	struct scsi_nexus_lu nlu = {.lu = f.lus[0], .ll = ll};
	const struct scsi_task t = {.nlu = &nlu};
	assert_true(ll->st.mode.wce);
	assert_int_equal(sbc_write_flags(&t, false), 0);
	assert_int_equal(sbc_write_flags(&t, true), BLK_FUA);
	ll->st.mode.wce = false; /* by MODE SELECT */
	assert_int_equal(sbc_write_flags(&t, false), BLK_FUA);
	f.lus[0]->caps &= ~BLK_CAP_VOLATILE;
	assert_int_equal(sbc_write_flags(&t, true), 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, up, down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    T(every_write_is_read_by_every_read),
	    T(length_0_is_256_blocks_in_6_byte_cdbs),
	    T(length_0_moves_nothing_in_longer_cdbs),
	    T(ranges_past_the_end_are_refused_with_the_lba),
	    T(longer_than_the_maximum_is_refused),
	    T(protection_fields_are_refused),
	    T(dpo_and_fua_are_accepted),
	    T(data_lengths_that_differ_leave_a_residual),
	    T(verify_without_bytchk_reads_the_medium),
	    T(verify_compares_and_tells_where_it_differs),
	    T(verify_compares_each_block_with_one),
	    T(reserved_bytchk_values_are_refused),
	    T(write_and_verify_finds_a_lost_write),
	    T(store_errors_become_medium_errors),
	    T(pre_fetch_says_whether_all_was_fetched),
	    T(synchronize_cache_has_nothing_to_do_on_a_durable_store),
	    T(limits_are_consistent),
	    cmocka_unit_test_setup_teardown(
	        a_volatile_store_is_flushed_by_synchronize_cache_and_fua_reads, up_volatile, down),
	    cmocka_unit_test_setup_teardown(
	        writes_are_durable_where_fua_or_wce_ask_for_it, up_volatile, down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
