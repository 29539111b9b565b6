/* SPDX-License-Identifier: BSD-2-Clause */
/* WRITE SAME, UNMAP, GET LBA STATUS */
#include <errno.h>

#include "scsi/sbc.h"
#include "store/fault.h"
#include "tests/unit/scsi/sbc_test.h"

#define LU_BYTES (96u << 20) /* more than MAXIMUM WRITE SAME LENGTH */
#define BLOCKS (LU_BYTES / BS)

static struct fx f;
static struct fx_nexus *n;
static uint8_t buf[65536];

static int
up_as(bool thin)
{
	fx_up(&f, 1, 21);
	fx_add_lu_size(&f,
	    "fault:1::ram:", &(struct scsi_lu_args){.thin = thin, .physical_exponent = 3},
	    LU_BYTES);
	n = fx_login(&f, 0, "iqn.a");
	return 0;
}

static int
up(void **state)
{
	(void)state;
	return up_as(true);
}

static int
up_thick(void **state)
{
	(void)state;
	return up_as(false);
}

static int
down(void **state)
{
	(void)state;
	fx_down(&f);
	return 0;
}

static uint64_t
ops(enum blk_op op)
{
	struct blk_stats s;
	blk_get_stats(f.blks[0], &s);
	return s.ops[op];
}

#define WS10 0x41
#define WS16 0x93
#define UNMAP_BIT 0x08
#define ANCHOR_BIT 0x10
#define NDOB_BIT 0x01

/* ---- WRITE SAME ------------------------------------------------------------------------------ */

static void
a_pattern_is_repeated(void **state)
{
	(void)state;
	for (size_t i = 0; i < BS; i++)
		buf[i] = (uint8_t)(i * 31 + 1);
	fx_assert_good(run(n, cdb16(WS16, 0, 10, 5000), buf, BS, 0));
	struct fx_cmd *c = fx_read16(n, 0, 10, 5000);
	fx_assert_good(c);
	for (size_t i = 0; i < 5000; i++)
		assert_memory_equal(c->in + i * BS, buf, BS);
	assert_filled(n, 9, 1, 0);
	assert_filled(n, 5010, 1, 0);
	fx_assert_good(run(n, cdb10(WS10, 0, BLOCKS - 3, 3), buf, BS, 0));
	c = fx_read16(n, 0, BLOCKS - 3, 3);
	assert_memory_equal(c->in + 2 * BS, buf, BS);
}

static void
zeros_stay_allocated_without_unmap(void **state)
{
	(void)state;
	fill(n, 0, 1000, 'x');
	memset(buf, 0, BS);
	const uint64_t unmaps = ops(BLK_UNMAP), zeroes = ops(BLK_WRITE_ZEROES);
	fx_assert_good(run(n, cdb16(WS16, 0, 1, 998), buf, BS, 0));
	assert_int_equal(ops(BLK_UNMAP), unmaps);
	assert_true(ops(BLK_WRITE_ZEROES) > zeroes);
	assert_filled(n, 0, 1, 'x');
	assert_filled(n, 1, 998, 0);
	assert_filled(n, 999, 1, 'x');
}

static void
unmap_reads_as_zeros_with_ragged_edges_too(void **state)
{
	(void)state;
	for (unsigned i = 1; i < 40; i += 3) {
		fill(n, 0, 200, 'x');
		memset(buf, 0, BS);
		fx_assert_good(run(n, cdb10(WS10, UNMAP_BIT, i, (uint16_t)(i * 2)), buf, BS, 0));
		assert_filled(n, 0, i, 'x');
		assert_filled(n, i, i * 2, 0);
		assert_filled(n, i * 3, 1, 'x');
	}
}

/* The deviation in sbc_provision.c. */
static void
unmap_unmaps_whatever_the_data(void **state)
{
	(void)state;
	fill(n, 0, 64, 0xff);
	memset(buf, 0xff, BS);
	fx_assert_good(run(n, cdb10(WS10, UNMAP_BIT, 8, 8), buf, BS, 0));
	fx_assert_good(run(n, cdb16(WS16, UNMAP_BIT, 32, 8), buf, BS, 0));
	assert_filled(n, 8, 8, 0);
	assert_filled(n, 16, 16, 0xff);
	assert_filled(n, 32, 8, 0);
}

static void
ndob_needs_no_data(void **state)
{
	(void)state;
	fill(n, 0, 64, 'x');
	fx_assert_good(run(n, cdb16(WS16, NDOB_BIT, 8, 8), NULL, 0, 0));
	fx_assert_good(run(n, cdb16(WS16, NDOB_BIT | UNMAP_BIT, 32, 8), NULL, 0, 0));
	assert_filled(n, 0, 8, 'x');
	assert_filled(n, 8, 8, 0);
	assert_filled(n, 16, 16, 'x');
	assert_filled(n, 32, 8, 0);
	assert_filled(n, 40, 24, 'x');
	/* WRITE SAME(10) has no such bit. */
	assert_bad_field(run(n, cdb10(WS10, NDOB_BIT, 0, 1), buf, BS, 0), 1, 0);
}

static void
zero_blocks_means_to_the_end(void **state)
{
	(void)state;
	memset(buf, 'e', BS);
	fx_assert_good(run(n, cdb16(WS16, 0, BLOCKS - 7, 0), buf, BS, 0));
	assert_filled(n, BLOCKS - 7, 7, 'e');
	assert_filled(n, BLOCKS - 8, 1, 0);
	/* More than the maximum from here. */
	assert_bad_field(run(n, cdb16(WS16, 0, 0, 0), buf, BS, 0), 10, -1);
	assert_bad_field(run(n, cdb10(WS10, 0, 0, 0), buf, BS, 0), 7, -1);
	assert_sense(run(n, cdb16(WS16, 0, BLOCKS + 1, 0), buf, BS, 0), 5, 0x21, 0x00);
	assert_sense(run(n, cdb16(WS16, 0, UINT64_MAX, 0), buf, BS, 0), 5, 0x21, 0x00);
}

static void
the_maximum_length_holds(void **state)
{
	(void)state;
	struct scsi_sbc_limits lim;
	scsi_sbc_limits(f.lus[0], &lim);
	const uint32_t max = (uint32_t)lim.write_same_blocks_max;
	assert_true(max < BLOCKS);
	memset(buf, 0, BS);
	fx_assert_good(run(n, cdb16(WS16, UNMAP_BIT, 0, max), buf, BS, 0));
	assert_bad_field(run(n, cdb16(WS16, UNMAP_BIT, 0, max + 1), buf, BS, 0), 10, -1);
}

static void
write_same_refuses_what_it_cannot_do(void **state)
{
	(void)state;
	assert_bad_field(run(n, cdb10(WS10, ANCHOR_BIT, 0, 1), buf, BS, 0), 1, 4);
	assert_bad_field(run(n, cdb16(WS16, ANCHOR_BIT | UNMAP_BIT, 0, 1), buf, BS, 0), 1, 4);
	assert_bad_field(run(n, cdb16(WS16, 0x20, 0, 1), buf, BS, 0), 1, 5);
	assert_bad_field(run(n, cdb10(WS10, 0x80, 0, 1), buf, BS, 0), 1, 7);
	/* Another amount of data than one block. */
	assert_bad_field(run(n, cdb10(WS10, UNMAP_BIT, 0, 1), buf, BS / 2, 0), 7, -1);
	assert_bad_field(run(n, cdb16(WS16, UNMAP_BIT, 0, 1), buf, BS * 2, 0), 10, -1);
	assert_sense(run(n, cdb16(WS16, 0, BLOCKS - 1, 2), buf, BS, 0), 5, 0x21, 0x00);
}

static void
thick_units_refuse_to_unmap(void **state)
{
	(void)state;
	assert_bad_field(run(n, cdb10(WS10, UNMAP_BIT, 0, 1), buf, BS, 0), 1, 3);
	assert_bad_field(run(n, cdb16(WS16, UNMAP_BIT, 0, 1), buf, BS, 0), 1, 3);
	memset(buf, 0, 64);
	assert_sense(run(n, cdb10(0x42, 0, 0, 24), buf, 24, 0), 5, 0x20, 0x00);
	fx_assert_good(run(n, cdb16(WS16, 0, 0, 1), buf, BS, 0));
}

static void
an_error_in_the_middle_ends_a_write_same(void **state)
{
	(void)state;
	memset(buf, 'p', BS);
	fault_fail(f.blks[0], BLK_WRITE, 2, 1, -EIO);
	assert_sense(run(n, cdb16(WS16, 0, 0, 10000), buf, BS, 0), 3, 0x0c, 0x00);
	assert_filled(n, 0, 4096, 'p');
}

/* ---- UNMAP ------------------------------------------------------------------------------------ */

struct range {
	uint64_t lba;
	uint32_t blocks;
};

static size_t
unmap_list(const struct range *r, size_t count)
{
	memset(buf, 0, 8 + 16 * count);
	store_be16(buf, (uint16_t)(6 + 16 * count));
	store_be16(buf + 2, (uint16_t)(16 * count));
	for (size_t i = 0; i < count; i++) {
		store_be64(buf + 8 + 16 * i, r[i].lba);
		store_be32(buf + 16 + 16 * i, r[i].blocks);
	}
	return 8 + 16 * count;
}

static struct fx_cmd *
unmap(const struct range *r, size_t count)
{
	const size_t len = unmap_list(r, count);
	struct cdb c = cdb10(0x42, 0, 0, (uint16_t)len);
	return run(n, c, buf, len, 0);
}

static void
every_range_is_unmapped(void **state)
{
	(void)state;
	fill(n, 0, 100, 'x');
	const struct range r[] = {{0, 8}, {16, 16}, {50, 0}, {33, 5}, {33, 5}, {BLOCKS, 0}};
	fx_assert_good(unmap(r, 6));
	assert_filled(n, 0, 8, 0);
	assert_filled(n, 8, 8, 'x');
	assert_filled(n, 16, 16, 0);
	assert_filled(n, 32, 1, 'x');
	assert_filled(n, 33, 5, 0);
	assert_filled(n, 38, 62, 'x');
}

static void
an_empty_list_is_no_error(void **state)
{
	(void)state;
	fx_assert_good(unmap(NULL, 0));
	fx_assert_good(run(n, cdb10(0x42, 0, 0, 0), NULL, 0, 0));
}

static void
broken_lists_unmap_nothing(void **state)
{
	(void)state;
	fill(n, 0, 32, 'x');
	const struct range ok = {0, 8};
	const size_t len = unmap_list(&ok, 1);
	for (uint16_t l = 1; l < 8; l++)
		assert_sense(run(n, cdb10(0x42, 0, 0, l), buf, l, 0), 5, 0x1a, 0x00);
	/* Shorter than its own descriptors, and than the CDB says. */
	assert_sense(run(n, cdb10(0x42, 0, 0, 20), buf, 20, 0), 5, 0x1a, 0x00);
	assert_sense(run(n, cdb10(0x42, 0, 0, (uint16_t)len), buf, 12, 0), 5, 0x1a, 0x00);
	/* A good range first, a bad one behind it. */
	const struct range bad[] = {{0, 8}, {BLOCKS - 1, 2}};
	assert_sense(unmap(bad, 2), 5, 0x21, 0x00);
	const struct range wrap[] = {{0, 8}, {UINT64_MAX, UINT32_MAX}};
	assert_sense(unmap(wrap, 2), 5, 0x21, 0x00);
	assert_filled(n, 0, 32, 'x');
	assert_bad_field(run(n, cdb10(0x42, 1, 0, 0), NULL, 0, 0), 1, 0); /* ANCHOR */
}

static void
an_incomplete_last_descriptor_is_ignored(void **state)
{
	(void)state;
	fill(n, 0, 32, 'x');
	const struct range r[] = {{0, 8}, {16, 8}};
	unmap_list(r, 2);
	store_be16(buf + 2, 31);
	fx_assert_good(run(n, cdb10(0x42, 0, 0, 39), buf, 39, 0));
	assert_filled(n, 0, 8, 0);
	assert_filled(n, 8, 24, 'x');
}

static void
unmap_limits_hold(void **state)
{
	(void)state;
	static struct range many[4096];
	struct scsi_sbc_limits lim;
	scsi_sbc_limits(f.lus[0], &lim);
	assert_true(lim.unmap_blocks_max <= 1u << 20);
	assert_int_equal(lim.unmap_descs_max, 4095);
	assert_int_equal((1u << 20) % (lim.unmap_granularity_blocks * BS), 0);
	for (size_t i = 0; i < 4095; i++)
		many[i] = (struct range){i, 1};
	fx_assert_good(unmap(many, 4095));
	for (size_t i = 0; i < 6; i++)
		many[i] = (struct range){0, BLOCKS};
	/* 5 × 192 Ki blocks are below a Mi, 6 are above. */
	fx_assert_good(unmap(many, 5));
	struct fx_cmd *c = unmap(many, 6);
	int bit;
	assert_sense(c, 5, 0x26, 0x00);
	assert_int_equal(fx_sense_field(c, &bit), 8 + 16 * 5 + 8);
}

/* ---- GET LBA STATUS ---------------------------------------------------------------------------- */

static struct fx_cmd *
lba_status(uint64_t lba, uint32_t alloc)
{
	struct cdb c = cdb16(0x9e, 0x12, lba, alloc);
	return run(n, c, NULL, 0, alloc);
}

static void
assert_desc(const struct fx_cmd *c, unsigned i, uint64_t lba, uint32_t blocks, uint8_t status)
{
	const uint8_t *d = c->in + 8 + 16 * i;
	assert_true(c->in_len >= 24 + 16 * i);
	assert_int_equal(load_be64(d), lba);
	assert_int_equal(load_be32(d + 8), blocks);
	assert_int_equal(d[12], status);
}

static void
extents_become_descriptors(void **state)
{
	(void)state;
	struct fx_cmd *c = lba_status(0, 256);
	fx_assert_good(c);
	assert_int_equal(c->in_len, 24);
	assert_int_equal(load_be32(c->in), 20);
	assert_desc(c, 0, 0, BLOCKS, 1);

	fill(n, 4096, 2048, 'x');
	c = lba_status(0, 256);
	fx_assert_good(c);
	assert_int_equal(c->in_len, 8 + 3 * 16);
	assert_desc(c, 0, 0, 4096, 1);
	assert_desc(c, 1, 4096, 2048, 0);
	assert_desc(c, 2, 6144, BLOCKS - 6144, 1);

	/* From the middle of an extent, and with room for one only. */
	c = lba_status(5000, 24);
	fx_assert_good(c);
	assert_int_equal(c->in_len, 24);
	assert_desc(c, 0, 5000, 1144, 0);
	c = lba_status(BLOCKS - 1, 24);
	assert_desc(c, 0, BLOCKS - 1, 1, 1);
}

static void
one_unmapped_physical_block_is_told_apart(void **state)
{
	(void)state;
	fill(n, 0, 264, 'A');
	for (uint32_t i = 0; i + 8 <= 256; i += 8) {
		const struct range r = {i, 8};
		fx_assert_good(unmap(&r, 1));
		struct fx_cmd *c = lba_status(i, 24);
		fx_assert_good(c);
		assert_desc(c, 0, i, 8, 1);
		c = lba_status(i + 8, 24);
		assert_desc(c, 0, i + 8, load_be32(c->in + 16), 0);
		fill(n, i, 8, 'A');
	}
}

static void
short_allocation_lengths_truncate(void **state)
{
	(void)state;
	for (uint32_t alloc = 0; alloc < 24; alloc++) {
		struct fx_cmd *c = lba_status(0, alloc);
		fx_assert_good(c);
		assert_int_equal(c->in_len, alloc);
		if (alloc >= 4)
			assert_int_equal(load_be32(c->in), 20);
	}
}

static void
many_extents_fill_the_answer(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < 300; i++)
		fill(n, i * 256, 8, 'x');
	struct fx_cmd *c = lba_status(0, 65536);
	fx_assert_good(c);
	const uint32_t descs = (load_be32(c->in) - 4) / 16;
	assert_in_range(descs, 100, 600);
	assert_int_equal(c->in_len, 8 + 16 * descs);
	uint64_t lba = 0;
	for (uint32_t i = 0; i < descs; i++) {
		assert_int_equal(load_be64(c->in + 8 + 16 * i), lba);
		assert_int_equal(c->in[8 + 16 * i + 12], i % 2);
		lba += load_be32(c->in + 16 + 16 * i);
	}
}

static void
status_past_the_end_is_refused(void **state)
{
	(void)state;
	assert_sense(lba_status(BLOCKS, 24), 5, 0x21, 0x00);
	assert_sense(lba_status(UINT64_C(1) << 63, 24), 5, 0x21, 0x00);
	assert_sense(lba_status(UINT64_MAX, 24), 5, 0x21, 0x00);
}

#define T(name) cmocka_unit_test_setup_teardown(name, up, down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    T(a_pattern_is_repeated),
	    T(zeros_stay_allocated_without_unmap),
	    T(unmap_reads_as_zeros_with_ragged_edges_too),
	    T(unmap_unmaps_whatever_the_data),
	    T(ndob_needs_no_data),
	    T(zero_blocks_means_to_the_end),
	    T(the_maximum_length_holds),
	    T(write_same_refuses_what_it_cannot_do),
	    cmocka_unit_test_setup_teardown(thick_units_refuse_to_unmap, up_thick, down),
	    T(an_error_in_the_middle_ends_a_write_same),
	    T(every_range_is_unmapped),
	    T(an_empty_list_is_no_error),
	    T(broken_lists_unmap_nothing),
	    T(an_incomplete_last_descriptor_is_ignored),
	    T(unmap_limits_hold),
	    T(extents_become_descriptors),
	    T(one_unmapped_physical_block_is_told_apart),
	    T(short_allocation_lengths_truncate),
	    T(many_extents_fill_the_answer),
	    T(status_past_the_end_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
