/* SPDX-License-Identifier: BSD-2-Clause */
/* COMPARE AND WRITE, ORWRITE(16), WRITE ATOMIC(16) */
#include <stdio.h>

#include "scsi/sbc.h"
#include "tests/unit/scsi/sbc_test.h"

#define BLOCKS (FX_LU_BYTES / BS)

static struct fx f;
static struct fx_nexus *n;
static uint8_t buf[1u << 20];

static int
up(void **state)
{
	(void)state;
	fx_up(&f, 1, 11);
	fx_add_lu(&f, "ram:", &(struct scsi_lu_args){.physical_exponent = 3});
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

/* Compare half of `was`, write half of `will`. */
static struct fx_cmd *
caw(struct fx_nexus *from, uint64_t lba, uint8_t blocks, uint8_t was, uint8_t will)
{
	memset(buf, was, (size_t)blocks * BS);
	memset(buf + blocks * BS, will, (size_t)blocks * BS);
	return run(from, cdb_caw(lba, blocks), buf, 2u * blocks * BS, 0);
}

static void
equal_blocks_are_replaced(void **state)
{
	(void)state;
	static const uint8_t counts[] = {1, 2, 8, 100, 255};
	for (size_t i = 0; i < sizeof counts; i++) {
		fill(n, 5, 256, 'A');
		fx_assert_good(caw(n, 5, counts[i], 'A', 'B'));
		assert_filled(n, 5, counts[i], 'B');
		assert_filled(n, 5u + counts[i], 1, 'A');
		fx_assert_good(caw(n, BLOCKS - counts[i], counts[i], 0, 0));
	}
}

static void
the_first_difference_is_told_and_nothing_written(void **state)
{
	(void)state;
	fill(n, 0, 255, 'A');
	const uint32_t places[] = {0, 1, 511, 512, 4096, 255 * BS - 27, 255 * BS - 1};
	for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
		uint64_t info;
		memset(buf, 'A', 255 * BS);
		memset(buf + 255 * BS, 'B', 255 * BS);
		buf[places[i]] = 'C';
		struct fx_cmd *c = run(n, cdb_caw(0, 255), buf, 2 * 255 * BS, 0);
		assert_sense(c, 0xe, 0x1d, 0x00);
		assert_true(fx_sense_info(c, &info));
		assert_int_equal(info, places[i]);
		assert_filled(n, 0, 255, 'A');
	}
}

static void
no_blocks_are_no_error_unless_out_of_range(void **state)
{
	(void)state;
	fx_assert_good(run(n, cdb_caw(0, 0), NULL, 0, 0));
	assert_sense(run(n, cdb_caw(BLOCKS + 1, 0), NULL, 0, 0), 5, 0x21, 0x00);
	assert_sense(caw(n, BLOCKS, 1, 0, 0), 5, 0x21, 0x00);
	assert_sense(caw(n, BLOCKS - 1, 2, 0, 0), 5, 0x21, 0x00);
	assert_sense(caw(n, UINT64_MAX, 1, 0, 0), 5, 0x21, 0x00);
}

static void
a_data_out_buffer_of_another_size_is_refused(void **state)
{
	(void)state;
	assert_bad_field(run(n, cdb_caw(0, 1), buf, 4 * BS, 0), 13, -1);
	assert_bad_field(run(n, cdb_caw(0, 3), buf, 4 * BS, 0), 13, -1);
	assert_bad_field(run(n, cdb_caw(0, 1), buf, BS, 0), 13, -1);
}

static void
protection_fields_are_refused(void **state)
{
	(void)state;
	for (unsigned p = 1; p < 8; p++) {
		const int bit = 31 - __builtin_clz(p << 5);
		struct cdb c = cdb_caw(0, 1);
		c.b[1] = (uint8_t)(p << 5);
		assert_bad_field(run(n, c, buf, 2 * BS, 0), 1, bit);
		assert_bad_field(run(n, cdb16(0x8b, (uint8_t)(p << 5), 0, 1), buf, BS, 0), 1, bit);
		c = cdb16(0x9c, (uint8_t)(p << 5), 0, 0);
		c.b[13] = 8;
		assert_bad_field(run(n, c, buf, 8 * BS, 0), 1, bit);
	}
}

static void
orwrite_sets_bits(void **state)
{
	(void)state;
	fill(n, 7, 300, 0xa0);
	memset(buf, 0x05, 300 * BS);
	fx_assert_good(run(n, cdb16(0x8b, 0, 7, 300), buf, 300 * BS, 0));
	assert_filled(n, 7, 300, 0xa5);
	assert_filled(n, 6, 1, 0);
	assert_filled(n, 307, 1, 0);
	fx_assert_good(run(n, cdb16(0x8b, 0, 0, 0), NULL, 0, 0));
	assert_sense(run(n, cdb16(0x8b, 0, BLOCKS, 1), buf, BS, 0), 5, 0x21, 0x00);
}

static struct cdb
cdb_atomic(uint64_t lba, uint16_t blocks)
{
	struct cdb c = cdb16(0x9c, 0, lba, 0);
	store_be16(c.b + 12, blocks);
	return c;
}

static void
write_atomic_keeps_to_alignment_granularity_and_maximum(void **state)
{
	(void)state;
	struct scsi_sbc_limits lim;
	scsi_sbc_limits(f.lus[0], &lim);
	assert_int_equal(lim.atomic_align_blocks, 8);
	assert_int_equal(lim.atomic_granularity_blocks, 8);
	assert_int_equal(lim.atomic_blocks_max, SCSI_XFER_MAX_BYTES / BS);
	memset(buf, 'w', 256 * BS);
	fx_assert_good(run(n, cdb_atomic(8, 256), buf, 256 * BS, 0));
	assert_filled(n, 8, 256, 'w');
	fx_assert_good(run(n, cdb_atomic(0, 0), NULL, 0, 0));
	assert_bad_field(run(n, cdb_atomic(1, 8), buf, 8 * BS, 0), 2, -1);
	assert_bad_field(run(n, cdb_atomic(8, 9), buf, 9 * BS, 0), 12, -1);
	assert_bad_field(
	    run(n, cdb_atomic(0, (uint16_t)(lim.atomic_blocks_max + 8)), buf, BS, 0), 12, -1);
	/* Less data than blocks would tear it. */
	assert_bad_field(run(n, cdb_atomic(0, 16), buf, 8 * BS, 0), 12, -1);
	assert_sense(run(n, cdb_atomic(BLOCKS, 8), buf, 8 * BS, 0), 5, 0x21, 0x00);
	/* An atomic boundary isn't offered. */
	struct cdb c = cdb_atomic(0, 8);
	c.b[11] = 8;
	assert_bad_field(run(n, c, buf, 8 * BS, 0), 11, 3);
}

static void
write_atomic_needs_a_store_that_is(void **state)
{
	(void)state;
	fx_up(&f, 1, 12);
	fx_add_lu(&f, "fault:1:torn_write=0.5:ram:", NULL);
	n = fx_login(&f, 0, "iqn.a");
	struct scsi_sbc_limits lim;
	scsi_sbc_limits(f.lus[0], &lim);
	assert_int_equal(lim.atomic_blocks_max, 0);
	assert_sense(run(n, cdb_atomic(0, 8), buf, 8 * BS, 0), 5, 0x20, 0x00);
	fx_down(&f);
}

/* ---- against each other, on two loops --------------------------------------------------------- */

#define SEEDS 40u
#define RACERS 6u
#define RANGE 16u /* blocks */

static struct fx_nexus *racers[RACERS];
static uint8_t race_buf[RACERS][2 * RANGE * BS];

static void
race_up(uint64_t seed)
{
	fx_up(&f, 2, seed);
	fx_add_lu(&f, "fault:3:delay_us=0-400:ram:", NULL);
	for (unsigned i = 0; i < RACERS; i++) {
		char name[16];
		snprintf(name, sizeof name, "iqn.%u", i);
		racers[i] = fx_login(&f, i % 2, name);
	}
}

static uint8_t
uniform_byte(struct fx_nexus *from)
{
	struct fx_cmd *c = fx_read16(from, 0, 0, RANGE);
	fx_assert_good(c);
	assert_int_equal(c->in_len, RANGE * BS);
	for (size_t i = 1; i < c->in_len; i++)
		assert_int_equal(c->in[i], c->in[0]);
	return c->in[0];
}

/* Of all that expect the same, one wins; what is there then is the winner's, whole. */
static void
one_of_many_compare_and_writes_wins(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		race_up(seed);
		struct fx_cmd *c[RACERS];
		for (unsigned i = 0; i < RACERS; i++) {
			memset(race_buf[i], 0, RANGE * BS);
			memset(race_buf[i] + RANGE * BS, (int)(i + 1), RANGE * BS);
			const struct cdb b = cdb_caw(0, RANGE);
			c[i] = fx_cmd(racers[i], 0, b.b, b.len, race_buf[i], 2 * RANGE * BS, 0);
			fx_start(c[i]);
		}
		fx_run(&f);
		unsigned won = 0, winner = 0;
		for (unsigned i = 0; i < RACERS; i++) {
			assert_true(c[i]->done);
			if (c[i]->status == SCSI_GOOD) {
				won++;
				winner = i;
			} else {
				fx_assert_sense(c[i], 0xe, 0x1d, 0x00);
			}
		}
		assert_int_equal(won, 1);
		assert_int_equal(uniform_byte(racers[0]), winner + 1);
		fx_down(&f);
	}
}

/* A WRITE of another initiator falls before or behind a COMPARE AND WRITE, never into it; a READ
 * sees none of them half. */
static void
compare_and_write_is_atomic_against_writes_and_reads(void **state)
{
	(void)state;
	unsigned wins = 0;
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		race_up(seed);
		const struct cdb caw_cdb = cdb_caw(0, RANGE), rd = cdb16(0x88, 0, 0, RANGE),
		                 wr = cdb16(0x8a, 0, 0, RANGE);
		memset(race_buf[0], 0, RANGE * BS);
		memset(race_buf[0] + RANGE * BS, 'C', RANGE * BS);
		memset(race_buf[1], 'W', RANGE * BS);
		struct fx_cmd *x =
		    fx_cmd(racers[0], 0, caw_cdb.b, caw_cdb.len, race_buf[0], 2 * RANGE * BS, 0);
		struct fx_cmd *w = fx_cmd(racers[1], 0, wr.b, wr.len, race_buf[1], RANGE * BS, 0);
		struct fx_cmd *r = fx_cmd(racers[2], 0, rd.b, rd.len, NULL, 0, RANGE * BS);
		struct fx_cmd *all[] = {x, w, r};
		for (unsigned i = 0; i < 3; i++) {
			fx_start(all[(seed + i) % 3]);
			fx_run_steps(&f, seed * 5 % 37);
		}
		fx_run(&f);
		fx_assert_good(w);
		fx_assert_good(r);
		/* The WRITE is last wherever it isn't first. */
		const uint8_t end = uniform_byte(racers[3]);
		if (x->status == SCSI_GOOD) {
			assert_int_equal(end, 'W');
			wins++;
		} else {
			fx_assert_sense(x, 0xe, 0x1d, 0x00);
			assert_int_equal(end, 'W');
		}
		fx_down(&f);
	}
	assert_in_range(wins, 1, SEEDS - 1); /* both orders happened */
}

static void
no_bit_of_concurrent_orwrites_is_lost(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		race_up(seed);
		for (unsigned i = 0; i < RACERS; i++) {
			memset(race_buf[i], 1 << i, RANGE * BS);
			const struct cdb b = cdb16(0x8b, 0, 0, RANGE);
			fx_start(fx_cmd(racers[i], 0, b.b, b.len, race_buf[i], RANGE * BS, 0));
		}
		fx_run(&f);
		assert_int_equal(uniform_byte(racers[0]), (1 << RACERS) - 1);
		fx_down(&f);
	}
}

/* An abort at any moment leaves no lock behind. */
static void
aborted_compare_and_writes_let_go(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		race_up(seed);
		for (unsigned i = 0; i < RACERS; i++) {
			memset(race_buf[i], 0, 2 * RANGE * BS);
			const struct cdb b = cdb_caw(0, RANGE);
			fx_start(fx_cmd(racers[i], 0, b.b, b.len, race_buf[i], 2 * RANGE * BS, 0));
		}
		fx_run_steps(&f, seed * 3);
		assert_int_equal(fx_tmf(racers[seed % RACERS], SCSI_TMF_LU_RESET, 0, 0, NULL),
		    SCSI_TMF_COMPLETE);
		fx_run(&f);
		for (unsigned i = 0; i < RACERS; i++)
			fx_tur(racers[i], 0); /* takes the unit attention */
		fx_assert_good(fx_write16(racers[0], 0, 0, RANGE, race_buf[0]));
		fx_assert_good(fx_read16(racers[1], 0, 0, RANGE));
		fx_down(&f);
	}
}

#define T(name) cmocka_unit_test_setup_teardown(name, up, down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    T(equal_blocks_are_replaced),
	    T(the_first_difference_is_told_and_nothing_written),
	    T(no_blocks_are_no_error_unless_out_of_range),
	    T(a_data_out_buffer_of_another_size_is_refused),
	    T(protection_fields_are_refused),
	    T(orwrite_sets_bits),
	    T(write_atomic_keeps_to_alignment_granularity_and_maximum),
	    cmocka_unit_test(write_atomic_needs_a_store_that_is),
	    cmocka_unit_test(one_of_many_compare_and_writes_wins),
	    cmocka_unit_test(compare_and_write_is_atomic_against_writes_and_reads),
	    cmocka_unit_test(no_bit_of_concurrent_orwrites_is_lost),
	    cmocka_unit_test(aborted_compare_and_writes_let_go),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
