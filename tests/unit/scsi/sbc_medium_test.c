/* SPDX-License-Identifier: BSD-2-Clause */
/* TEST UNIT READY, READ CAPACITY, START STOP UNIT, PREVENT ALLOW MEDIUM REMOVAL, READ DEFECT DATA */
#include "scsi/sbc.h"
#include "scsi/scsi_priv.h"
#include "tests/unit/scsi/sbc_test.h"

#define BLOCKS (FX_LU_BYTES / BS)

static struct fx f;
static struct fx_nexus *n, *other;

static int
up_as(bool removable)
{
	fx_up(&f, 2, 31);
	fx_add_lu(
	    &f, "ram:", &(struct scsi_lu_args){.removable = removable, .physical_exponent = 3});
	n = fx_login(&f, 0, "iqn.a");
	other = fx_login(&f, 1, "iqn.b");
	return 0;
}

static int
up(void **state)
{
	(void)state;
	return up_as(false);
}

static int
up_removable(void **state)
{
	(void)state;
	return up_as(true);
}

static int
down(void **state)
{
	(void)state;
	fx_down(&f);
	return 0;
}

static struct fx_cmd *
start_stop(struct fx_nexus *from, uint8_t immed, uint8_t byte4)
{
	const struct cdb c = {.b = {0x1b, immed, 0, 0, byte4}, .len = 6};
	return run(from, c, NULL, 0, 0);
}

static struct fx_cmd *
prevent(struct fx_nexus *from, uint8_t value)
{
	const struct cdb c = {.b = {0x1e, 0, 0, 0, value}, .len = 6};
	return run(from, c, NULL, 0, 0);
}

#define LOAD 0x03
#define EJECT 0x02

static void
capacity_tells_the_last_block_and_the_sizes(void **state)
{
	(void)state;
	struct fx_cmd *c = run(n, cdb10(0x25, 0, 0, 0), NULL, 0, 8);
	fx_assert_good(c);
	assert_int_equal(c->in_len, 8);
	assert_int_equal(load_be32(c->in), BLOCKS - 1);
	assert_int_equal(load_be32(c->in + 4), BS);
	c = run(n, cdb16(0x9e, 0x10, 0, 32), NULL, 0, 32);
	fx_assert_good(c);
	assert_int_equal(c->in_len, 32);
	assert_int_equal(load_be64(c->in), BLOCKS - 1);
	assert_int_equal(load_be32(c->in + 8), BS);
	assert_int_equal(c->in[13], 3);
	assert_int_equal(c->in[14], 0); /* not thin */
}

static void
capacity_16_truncates_to_the_allocation_length(void **state)
{
	(void)state;
	for (uint32_t alloc = 0; alloc <= 40; alloc++) {
		struct fx_cmd *c = run(n, cdb16(0x9e, 0x10, 0, alloc), NULL, 0, 64);
		fx_assert_good(c);
		assert_int_equal(c->in_len, alloc < 32 ? alloc : 32);
	}
}

static void
thin_units_say_so_in_capacity_16(void **state)
{
	(void)state;
	fx_up(&f, 1, 32);
	fx_add_lu(&f, "ram:", &(struct scsi_lu_args){.thin = true});
	n = fx_login(&f, 0, "iqn.a");
	struct fx_cmd *c = run(n, cdb16(0x9e, 0x10, 0, 32), NULL, 0, 32);
	assert_int_equal(c->in[14], 0xc0); /* LBPME, LBPRZ */
	fx_down(&f);
}

static void
capacity_10_saturates_above_2_tib(void **state)
{
	(void)state;
	fx_up(&f, 1, 33);
	fx_add_lu_size(&f, "null:", NULL, UINT64_C(4) << 40);
	n = fx_login(&f, 0, "iqn.a");
	struct fx_cmd *c = run(n, cdb10(0x25, 0, 0, 0), NULL, 0, 8);
	assert_int_equal(load_be32(c->in), UINT32_MAX);
	c = run(n, cdb16(0x9e, 0x10, 0, 32), NULL, 0, 32);
	assert_int_equal(load_be64(c->in), (UINT64_C(4) << 40) / BS - 1);
	fx_assert_good(fx_read16(n, 0, UINT64_C(1) << 32, 1));
	fx_down(&f);
}

static void
stopping_leaves_the_unit_ready(void **state)
{
	(void)state;
	for (uint8_t b = 0; b < 2; b++) {
		for (uint8_t no_flush = 0; no_flush <= 4; no_flush += 4) {
			fx_assert_good(start_stop(n, b, no_flush));
			fx_assert_good(fx_tur(n, 0));
			fx_assert_good(start_stop(n, b, no_flush | 1));
			fx_assert_good(fx_tur(n, 0));
		}
	}
}

static void
power_conditions_are_ignored_and_eject_nothing(void **state)
{
	(void)state;
	for (uint8_t pc = 1; pc < 16; pc++) {
		fx_assert_good(start_stop(n, 1, (uint8_t)(pc << 4 | EJECT)));
		fx_assert_good(fx_tur(n, 0));
	}
}

static void
fixed_media_cannot_be_ejected(void **state)
{
	(void)state;
	assert_bad_field(start_stop(n, 0, EJECT), 4, 1);
	assert_bad_field(start_stop(n, 1, LOAD), 4, 1);
	fx_assert_good(fx_tur(n, 0));
}

static void
an_ejected_medium_is_gone_for_everybody_until_loaded(void **state)
{
	(void)state;
	static uint8_t block[BS];
	fx_assert_good(start_stop(n, 1, EJECT));
	assert_sense(fx_tur(n, 0), 2, 0x3a, 0x02);
	assert_sense(fx_tur(other, 0), 2, 0x3a, 0x02);
	assert_sense(fx_read16(other, 0, 0, 1), 2, 0x3a, 0x02);
	assert_sense(fx_write16(n, 0, 0, 1, block), 2, 0x3a, 0x02);
	assert_sense(run(n, cdb10(0x25, 0, 0, 0), NULL, 0, 8), 2, 0x3a, 0x02);
	assert_sense(run(n, cdb16(0x91, 6, 0, 1), NULL, 0, 0), 2, 0x3a, 0x02);
	fx_assert_good(start_stop(n, 0, EJECT)); /* once more: it is out */
	fx_assert_good(start_stop(n, 0, LOAD));
	fx_assert_good(fx_tur(n, 0));
	assert_sense(fx_tur(other, 0), 6, 0x28, 0x00);
	fx_assert_good(fx_tur(other, 0));
}

static void
prevention_holds_for_all_nexuses(void **state)
{
	(void)state;
	fx_assert_good(prevent(n, 1));
	fx_assert_good(prevent(n, 1)); /* counts once */
	assert_sense(start_stop(n, 0, EJECT), 5, 0x53, 0x02);
	assert_sense(start_stop(other, 0, EJECT), 5, 0x53, 0x02);
	fx_assert_good(prevent(other, 1));
	fx_assert_good(prevent(n, 0));
	assert_sense(start_stop(n, 0, EJECT), 5, 0x53, 0x02);
	fx_assert_good(prevent(other, 0));
	fx_assert_good(prevent(other, 0));
	fx_assert_good(start_stop(n, 0, EJECT));
	/* Works without a medium too, and keeps it out. */
	fx_assert_good(prevent(n, 1));
	assert_sense(start_stop(n, 0, LOAD), 5, 0x53, 0x02);
	fx_assert_good(prevent(n, 0));
	fx_assert_good(start_stop(n, 0, LOAD));
	assert_bad_field(prevent(n, 2), 4, 1);
}

static void
resets_and_lost_nexuses_end_prevention(void **state)
{
	(void)state;
	fx_assert_good(prevent(n, 1));
	assert_int_equal(fx_tmf(other, SCSI_TMF_LU_RESET, 0, 0, NULL), SCSI_TMF_COMPLETE);
	fx_tur(n, 0);
	fx_tur(other, 0);
	fx_assert_good(start_stop(n, 0, EJECT));
	fx_assert_good(start_stop(n, 0, LOAD));
	fx_tur(other, 0);
	fx_assert_good(prevent(n, 1));
	fx_assert_good(prevent(other, 1));
	fx_logout(other);
	assert_sense(start_stop(n, 0, EJECT), 5, 0x53, 0x02);
	fx_assert_good(prevent(n, 0));
	fx_assert_good(start_stop(n, 0, EJECT));
}

static void
an_aborted_eject_leaves_nothing_behind(void **state)
{
	(void)state;
	for (uint64_t steps = 0; steps < 12; steps++) {
		const uint8_t eject[6] = {0x1b, 0, 0, 0, EJECT};
		struct fx_cmd *c = fx_cmd(other, 0, eject, 6, NULL, 0, 0);
		c->task.tag = 77;
		fx_start(c);
		fx_run_steps(&f, steps);
		assert_int_equal(
		    fx_tmf(other, SCSI_TMF_ABORT_TASK_SET, 0, 0, NULL), SCSI_TMF_COMPLETE);
		fx_run(&f);
		assert_true(c->done);
		fx_tur(other, 0);
		fx_assert_good(start_stop(other, 0, LOAD));
		fx_tur(n, 0);
		fx_assert_good(fx_tur(n, 0));
	}
}

static void
there_are_no_defects(void **state)
{
	(void)state;
	struct cdb c = {.b = {0x37, 0, 0x1d, 0, 0, 0, 0, 0, 32}, .len = 10};
	struct fx_cmd *r = run(n, c, NULL, 0, 32);
	fx_assert_good(r);
	assert_int_equal(r->in_len, 4);
	assert_memory_equal(r->in, "\0\x1d\0\0", 4);
	struct cdb d = {.b = {0xb7, 0x0d, 0, 0, 0, 0, 0, 0, 0, 32}, .len = 12};
	r = run(n, d, NULL, 0, 32);
	fx_assert_good(r);
	assert_int_equal(r->in_len, 8);
	assert_memory_equal(r->in, "\0\x0d\0\0\0\0\0\0", 8);
}

#define T(name) cmocka_unit_test_setup_teardown(name, up, down)
#define R(name) cmocka_unit_test_setup_teardown(name, up_removable, down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    T(capacity_tells_the_last_block_and_the_sizes),
	    T(capacity_16_truncates_to_the_allocation_length),
	    cmocka_unit_test(thin_units_say_so_in_capacity_16),
	    cmocka_unit_test(capacity_10_saturates_above_2_tib),
	    T(stopping_leaves_the_unit_ready),
	    R(stopping_leaves_the_unit_ready),
	    R(power_conditions_are_ignored_and_eject_nothing),
	    T(fixed_media_cannot_be_ejected),
	    R(an_ejected_medium_is_gone_for_everybody_until_loaded),
	    R(prevention_holds_for_all_nexuses),
	    R(resets_and_lost_nexuses_end_prevention),
	    R(an_aborted_eject_leaves_nothing_behind),
	    T(there_are_no_defects),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
