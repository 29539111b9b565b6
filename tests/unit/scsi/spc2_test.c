/* SPDX-License-Identifier: BSD-2-Clause */
/* RESERVE and RELEASE of SPC-2, alone and beside persistent reservations (SPC-4 5.13.3). */
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
	b = pr_login(&f, 1, "b", 1);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	fx_down(&f);
	return 0;
}

static struct fx_cmd *
mode_sense(struct fx_nexus *n)
{
	static const uint8_t cdb[6] = {0x1a, 0x08, 0x3f, 0, 255, 0};
	return fx_exec(n, 0, cdb, 6, NULL, 0, 255);
}

static void
reserve_excludes_the_other_and_release_by_the_other_does_nothing(void **state)
{
	static const uint8_t inquiry[6] = {0x12, [4] = 36};

	(void)state;
	fx_assert_good(spc2_cmd(a, true));
	fx_assert_good(spc2_cmd(a, true));
	assert_conflict(spc2_cmd(b, true));
	fx_assert_good(spc2_cmd(b, false));
	fx_assert_good(mode_sense(a));
	assert_conflict(mode_sense(b));
	assert_conflict(fx_tur(b, 0));
	assert_false(may_read(b));
	assert_false(may_write(b));
	fx_assert_good(fx_exec(b, 0, inquiry, 6, NULL, 0, 36));
	assert_true(may_write(a));
	assert_conflict(spc2_cmd(b, true));
	fx_assert_good(spc2_cmd(a, false));
	fx_assert_good(spc2_cmd(b, true));
	fx_assert_good(spc2_cmd(b, false));
}

static void
ten_byte_forms_are_the_same(void **state)
{
	static const uint8_t reserve[10] = {0x56}, release[10] = {0x57};

	(void)state;
	fx_assert_good(fx_exec(a, 0, reserve, 10, NULL, 0, 0));
	assert_conflict(spc2_cmd(b, true));
	fx_assert_good(fx_exec(b, 0, release, 10, NULL, 0, 0));
	assert_false(may_read(b));
	fx_assert_good(fx_exec(a, 0, release, 10, NULL, 0, 0));
	assert_true(may_read(b));
}

static void
extents_and_third_parties_are_refused(void **state)
{
	static const uint8_t bits[] = {0x01, 0x10, 0x02};
	int bit;

	(void)state;
	for (size_t i = 0; i < sizeof(bits); i++) {
		uint8_t six[6] = {0x16, bits[i]}, ten[10] = {0x56, bits[i]};
		struct fx_cmd *c = fx_exec(a, 0, six, 6, NULL, 0, 0);
		fx_assert_sense(c, 0x5, 0x24, 0x00);
		assert_int_equal(fx_sense_field(c, &bit), 1);
		fx_assert_sense(fx_exec(a, 0, ten, 10, NULL, 0, 0), 0x5, 0x24, 0x00);
	}
}

static void
ends_with_the_nexus(void **state)
{
	(void)state;
	fx_assert_good(spc2_cmd(a, true));
	fx_logout(a);
	fx_assert_good(fx_tur(b, 0));
	fx_assert_good(spc2_cmd(b, true));
}

static void
loss_of_another_nexus_leaves_it(void **state)
{
	(void)state;
	fx_assert_good(spc2_cmd(a, true));
	fx_logout(b);
	b = pr_login(&f, 1, "a", 2);
	assert_false(may_read(b));
}

static void
ends_with_resets(void **state)
{
	static const enum scsi_tmf tmfs[] = {SCSI_TMF_LU_RESET, SCSI_TMF_TARGET_RESET};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		fx_assert_good(spc2_cmd(a, true));
		assert_int_equal(fx_tmf(b, tmfs[i], 0, 0, NULL), SCSI_TMF_COMPLETE);
		while (fx_tur(b, 0)->status == SCSI_CHECK_CONDITION)
			;
		while (fx_tur(a, 0)->status == SCSI_CHECK_CONDITION)
			;
		fx_assert_good(spc2_cmd(b, true));
		assert_conflict(spc2_cmd(a, true));
		fx_assert_good(spc2_cmd(b, false));
	}
}

static void
persistent_reservations_outlive_resets(void **state)
{
	(void)state;
	pr_register(a, 1);
	pr_reserve(a, 1, PR_EXCLUSIVE_ACCESS);
	assert_int_equal(fx_tmf(b, SCSI_TMF_LU_RESET, 0, 0, NULL), SCSI_TMF_COMPLETE);
	while (fx_tur(b, 0)->status == SCSI_CHECK_CONDITION)
		;
	assert_reservation(b, PR_EXCLUSIVE_ACCESS, 1);
	assert_false(may_read(b));
}

static void
pr_commands_conflict_while_reserved_even_for_the_holder(void **state)
{
	(void)state;
	fx_assert_good(spc2_cmd(a, true));
	for (unsigned sa = 0; sa < 4; sa++) {
		assert_conflict(pr_in(a, sa, 255));
		assert_conflict(pr_in(b, sa, 255));
	}
	assert_conflict(pr_out(a, PR_OUT_REGISTER, 0, 0, 1, 0));
	assert_conflict(pr_out(b, PR_OUT_REGISTER_AND_IGNORE, 0, 0, 1, 0));
	fx_assert_good(spc2_cmd(a, false));
	assert_keys(a, 0);
}

static void
conflicts_while_anybody_is_registered(void **state)
{
	(void)state;
	pr_register(a, 1);
	assert_conflict(spc2_cmd(a, true));
	assert_conflict(spc2_cmd(b, true));
	assert_conflict(spc2_cmd(a, false));
	fx_assert_good(pr_out(a, PR_OUT_REGISTER, 0, 1, 0, 0));
	fx_assert_good(spc2_cmd(a, true));
}

static void
is_good_and_does_nothing_for_who_has_access_by_persistent_reservation(void **state)
{
	(void)state;
	pr_register(a, 1);
	pr_register(b, 2);
	pr_reserve(a, 1, PR_WRITE_EXCLUSIVE);
	fx_assert_good(spc2_cmd(a, true));
	fx_assert_good(spc2_cmd(a, false));
	assert_conflict(spc2_cmd(b, true));
	assert_reservation(b, PR_WRITE_EXCLUSIVE, 1);
	assert_true(may_read(b));
	fx_assert_good(pr_out(a, PR_OUT_RELEASE, PR_WRITE_EXCLUSIVE, 1, 0, 0));
	pr_reserve(a, 1, PR_WRITE_EXCLUSIVE_RO);
	fx_assert_good(spc2_cmd(b, true)); /* a registrant is enough here */
	fx_assert_good(spc2_cmd(b, false));
	assert_reservation(b, PR_WRITE_EXCLUSIVE_RO, 1);
	struct fx_nexus *c = pr_login(&f, 0, "c", 1);
	assert_conflict(spc2_cmd(c, true));
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    T(reserve_excludes_the_other_and_release_by_the_other_does_nothing),
	    T(ten_byte_forms_are_the_same),
	    T(extents_and_third_parties_are_refused),
	    T(ends_with_the_nexus),
	    T(loss_of_another_nexus_leaves_it),
	    T(ends_with_resets),
	    T(persistent_reservations_outlive_resets),
	    T(pr_commands_conflict_while_reserved_even_for_the_holder),
	    T(conflicts_while_anybody_is_registered),
	    T(is_good_and_does_nothing_for_who_has_access_by_persistent_reservation),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
