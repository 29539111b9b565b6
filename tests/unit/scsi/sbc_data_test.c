/* SPDX-License-Identifier: BSD-2-Clause */
/* Data-out that comes with its command, in memory that is gone when the submit returns. */
#include <string.h>

#include "tests/unit/scsi/sbc_test.h"

#define PLAIN_LUN 0 /* a store that copies short writes at once, where it can */
#define OTHER_LUN 1 /* one that never does */
#define LARGE_BLOCKS 8192u

static struct fx f;
static struct fx_nexus *n[2];
static uint8_t buf[4u << 20];

static void
up_with(unsigned loops)
{
	fx_up(&f, loops, 23);
	fx_add_lu(&f, "ram:", &(struct scsi_lu_args){.thin = true, .physical_exponent = 0xff});
	fx_add_lu(&f, "fault:1::ram:", NULL);
	n[0] = fx_login(&f, 0, "iqn.a");
	n[1] = fx_login(&f, loops - 1, "iqn.b");
}

static int
up(void **state)
{
	(void)state;
	up_with(1);
	return 0;
}

static int
up_two_loops(void **state)
{
	(void)state;
	up_with(2);
	return 0;
}

static int
down(void **state)
{
	(void)state;
	fx_down(&f);
	return 0;
}

static struct fx_cmd *
start(struct fx_nexus *nx, uint16_t lun, struct cdb cdb, const void *out, size_t len)
{
	struct fx_cmd *c = fx_cmd(nx, lun, cdb.b, cdb.len, out, len, 0);
	c->with_command = true;
	fx_start(c);
	return c;
}

static void
assert_reads(struct fx_nexus *nx, uint16_t lun, uint64_t lba, uint32_t blocks, const void *want)
{
	struct fx_cmd *c = fx_read16(nx, lun, lba, blocks);
	fx_assert_good(c);
	assert_int_equal(c->in_len, blocks * BS);
	assert_memory_equal(c->in, want, blocks * BS);
	fx_cmd_free(c);
}

static void
number_blocks(uint8_t *p, uint32_t blocks, uint32_t seed)
{
	for (uint32_t i = 0; i < blocks * BS / 4; i++)
		store_be32(p + i * 4, seed + i);
}

/* On both kinds of store, by both loops, within an extent of either and over their border. */
static void
every_write_takes_it(void **state)
{
	(void)state;
	const uint64_t lbas[] = {40, 2048 + 7, 2048 - 2};
	for (uint16_t lun = PLAIN_LUN; lun <= OTHER_LUN; lun++) {
		for (size_t i = 0; i < sizeof lbas / sizeof *lbas; i++) {
			const uint32_t lba = (uint32_t)lbas[i];
			const struct cdb all[] = {cdb6(0x0a, lba, 5), cdb10(0x2a, 0, lba, 5),
			    cdb12(0xaa, 0, lba, 5), cdb16(0x8a, 0, lba, 5), cdb10(0x2e, 2, lba, 5),
			    cdb16(0x8e, 2, lba, 5)};
			for (size_t k = 0; k < sizeof all / sizeof *all; k++) {
				number_blocks(buf, 5, (uint32_t)(lun * 100000 + i * 10000 + k));
				struct fx_cmd *c = start(n[k % 2], lun, all[k], buf, 5 * BS);
				assert_true(c->taken);
				fx_run(&f);
				fx_assert_good(c);
				fx_cmd_free(c);
				assert_reads(n[(k + 1) % 2], lun, lba, 5, buf);
			}
		}
	}
}

static void
a_short_write_needs_no_buffers(void **state)
{
	(void)state;
	number_blocks(buf, 8, 1);
	for (uint16_t lun = PLAIN_LUN; lun <= OTHER_LUN; lun++) {
		struct cdb cdb = cdb10(0x2a, 0, 8, 8);
		struct fx_cmd *c = fx_cmd(n[0], lun, cdb.b, cdb.len, buf, 8 * BS, 0);
		c->with_command = c->hold_release = true;
		fx_start(c);
		fx_run(&f);
		fx_assert_good(c);
		assert_true(c->taken);
		assert_int_equal(c->task.sg.iovcnt, lun == PLAIN_LUN ? 0 : 1);
		fx_release(c);
		assert_reads(n[0], lun, 8, 8, buf);
	}
}

static void
a_read_that_was_lent_before_keeps_its_bytes(void **state)
{
	(void)state;
	number_blocks(buf, 8, 1);
	fx_assert_good(fx_write16(n[0], PLAIN_LUN, 0, 8, buf));
	struct fx_cmd *r = fx_rw16_cmd(n[0], PLAIN_LUN, false, 0, 8, NULL);
	r->hold_release = true;
	fx_start(r);
	fx_run(&f);
	uint8_t other[8 * BS], lent[8 * BS];
	number_blocks(other, 8, 5000);
	struct fx_cmd *c = start(n[0], PLAIN_LUN, cdb10(0x2a, 0, 0, 8), other, sizeof other);
	fx_run(&f);
	fx_assert_good(c);
	blk_sg_copy_out(&r->task.sg, 0, lent, sizeof lent);
	assert_memory_equal(lent, buf, sizeof lent);
	assert_reads(n[0], PLAIN_LUN, 0, 8, other);
	fx_release(r);
}

static void
lengths_that_differ_from_the_cdb(void **state)
{
	(void)state;
	for (uint16_t lun = PLAIN_LUN; lun <= OTHER_LUN; lun++) {
		memset(buf, 0, 8 * BS);
		fx_assert_good(fx_write16(n[0], lun, 0, 8, buf));
		/* Less than the CDB says: the whole blocks of it. */
		number_blocks(buf, 8, 77);
		struct fx_cmd *c = start(n[0], lun, cdb10(0x2a, 0, 0, 8), buf, 3 * BS + 100);
		assert_true(c->taken);
		fx_run(&f);
		fx_assert_good(c);
		assert_int_equal(c->data_out_len, 3 * BS);
		memset(buf + 3 * BS, 0, 5 * BS);
		assert_reads(n[0], lun, 0, 8, buf);
		/* More: what the CDB says. */
		number_blocks(buf, 8, 99);
		c = start(n[0], lun, cdb10(0x2a, 0, 0, 4), buf, 6 * BS);
		fx_run(&f);
		fx_assert_good(c);
		memset(buf + 4 * BS, 0, 4 * BS);
		assert_reads(n[0], lun, 0, 8, buf);
	}
}

static void
a_refused_command_leaves_it(void **state)
{
	(void)state;
	const uint32_t end = FX_LU_BYTES / BS;
	struct fx_cmd *c = start(n[0], PLAIN_LUN, cdb10(0x2a, 0, end, 1), buf, BS);
	assert_false(c->taken);
	fx_run(&f);
	assert_sense(c, 5, 0x21, 0);
	c = start(n[0], 5, cdb10(0x2a, 0, 0, 1), buf, BS);
	assert_false(c->taken);
	fx_run(&f);
	assert_sense(c, 5, 0x25, 0);
	c = start(n[0], PLAIN_LUN, cdb6(0x00, 0, 0), buf, BS); /* TEST UNIT READY takes none */
	assert_false(c->taken);
	fx_run(&f);
	fx_assert_good(c);
}

static void
parameter_lists_are_taken(void **state)
{
	(void)state;
	uint8_t list[24] = {0, 22, 0, 16};
	number_blocks(buf, 8, 3);
	fx_assert_good(fx_write16(n[0], PLAIN_LUN, 0, 16, buf));
	store_be64(list + 8, 8);
	store_be32(list + 16, 8);
	struct cdb unmap = cdb10(0x42, 0, 0, sizeof list);
	struct fx_cmd *c = start(n[0], PLAIN_LUN, unmap, list, sizeof list);
	assert_true(c->taken);
	fx_run(&f);
	fx_assert_good(c);
	assert_reads(n[0], PLAIN_LUN, 0, 8, buf);
	assert_filled(n[0], 8, 8, 0);
	/* COMPARE AND WRITE: both halves, the first looked at after the submit. */
	uint8_t both[2 * BS];
	memcpy(both, buf, BS);
	memset(both + BS, 0x5a, BS);
	c = start(n[0], PLAIN_LUN, cdb_caw(0, 1), both, sizeof both);
	assert_true(c->taken);
	fx_run(&f);
	fx_assert_good(c);
	assert_filled(n[0], 0, 1, 0x5a);
}

/* What an older ORDERED task holds back is kept, and done after it. */
static void
a_blocked_write_keeps_it(void **state)
{
	(void)state;
	memset(buf, 1, BS);
	struct fx_cmd *older = fx_rw16_cmd(n[0], PLAIN_LUN, true, 0, 1, buf);
	older->task.attr = SCSI_ORDERED;
	older->hold_data = true;
	fx_start(older);
	uint8_t second[BS];
	memset(second, 2, BS);
	struct fx_cmd *c = start(n[0], PLAIN_LUN, cdb10(0x2a, 0, 0, 1), second, BS);
	fx_run(&f);
	assert_true(c->taken && !c->done);
	assert_int_equal(c->task.state, SCSI_TASK_BLOCKED);
	fx_give_data(older);
	fx_run(&f);
	fx_assert_good(older);
	fx_assert_good(c);
	assert_filled(n[0], 0, 1, 2);
}

/* All buffers are in use: a short write goes on, what needs buffers asks for its data later. */
static void
without_buffers_the_transport_keeps_it(void **state)
{
	(void)state;
	struct fx_cmd *holders[9];
	for (unsigned i = 0; i < 9; i++) {
		struct cdb cdb = cdb10(0x2e, 2, LARGE_BLOCKS * 2, LARGE_BLOCKS);
		holders[i] = fx_cmd(n[0], PLAIN_LUN, cdb.b, cdb.len, buf, sizeof buf, 0);
		holders[i]->hold_data = true;
		fx_start(holders[i]);
	}
	fx_run(&f);
	assert_true(holders[0]->wanted && !holders[8]->wanted);
	uint8_t data[BS];
	memset(data, 7, BS);
	struct fx_cmd *quick = start(n[0], PLAIN_LUN, cdb10(0x2a, 0, 3, 1), data, BS);
	assert_true(quick->taken);
	struct fx_cmd *slow = start(n[0], OTHER_LUN, cdb10(0x2a, 0, 3, 1), data, BS);
	assert_false(slow->taken);
	fx_run(&f);
	fx_assert_good(quick);
	assert_true(!slow->wanted && !slow->done);
	for (unsigned i = 0; i < 9; i++) {
		holders[i]->hold_data = false;
		if (holders[i]->wanted && !holders[i]->done)
			fx_give_data(holders[i]);
		fx_run(&f);
	}
	assert_true(slow->wanted);
	fx_assert_good(slow);
	assert_reads(n[0], PLAIN_LUN, 3, 1, data);
	assert_reads(n[0], OTHER_LUN, 3, 1, data);
}

#define T(name) cmocka_unit_test_setup_teardown(name, up, down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    T(every_write_takes_it),
	    cmocka_unit_test_setup_teardown(every_write_takes_it, up_two_loops, down),
	    T(a_short_write_needs_no_buffers),
	    T(a_read_that_was_lent_before_keeps_its_bytes),
	    T(lengths_that_differ_from_the_cdb),
	    T(a_refused_command_leaves_it),
	    T(parameter_lists_are_taken),
	    T(a_blocked_write_keeps_it),
	    T(without_buffers_the_transport_keeps_it),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
