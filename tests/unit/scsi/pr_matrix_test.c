/* SPDX-License-Identifier: BSD-2-Clause */
/* Who may do what: every reservation type, every role, every class of commands. */
#include "tests/unit/scsi/pr_util.h"

#include <stdlib.h>
#include <string.h>

enum role { HOLDER, REGISTRANT, OTHER, ROLE_COUNT };

/* SPC-4 table 65, SBC-3 table 13: refused classes as "R" and "W" (read, write). */
static const struct row {
	uint8_t type;
	const char *refused[ROLE_COUNT];
} matrix[] = {
    {PR_NONE, {"", "", ""}},
    {PR_WRITE_EXCLUSIVE, {"", "W", "W"}},
    {PR_EXCLUSIVE_ACCESS, {"", "RW", "RW"}},
    {PR_WRITE_EXCLUSIVE_RO, {"", "", "W"}},
    {PR_EXCLUSIVE_ACCESS_RO, {"", "", "RW"}},
    {PR_WRITE_EXCLUSIVE_AR, {"", "", "W"}},
    {PR_EXCLUSIVE_ACCESS_AR, {"", "", "RW"}},
};
#define ROWS (sizeof(matrix) / sizeof(matrix[0]))

static uint32_t
mask_of(const char *refused)
{
	uint32_t m = 0;

	if (strchr(refused, 'R'))
		m |= 1u << PRC_READ;
	if (strchr(refused, 'W'))
		m |= 1u << PRC_WRITE;
	return m;
}

/* Every class of scsi_pr_class is in the mask or not: the whole column set at once. */
static void
classes_by_type_and_role(void **state)
{
	(void)state;
	for (size_t r = 0; r < ROWS; r++) {
		struct pr_state *st = pr_state_alloc(2);
		st->count = 2;
		st->regs[0].key = st->regs[1].key = 1;
		st->type = matrix[r].type;
		if (st->type != PR_NONE && !pr_type_all_registrants(st->type))
			st->holder = 0;
		for (int role = 0; role < ROLE_COUNT; role++) {
			int idx = role == OTHER ? -1 : role;
			if (pr_state_deny(st, idx, 7) != mask_of(matrix[r].refused[role]))
				fail_msg("type %u role %d: %x", st->type, role,
				    pr_state_deny(st, idx, 7));
		}
		free(st);
	}
}

static void
spc2_reservation_leaves_others_only_the_harmless(void **state)
{
	struct pr_state *st = pr_state_alloc(0);

	(void)state;
	st->spc2_nexus = 7;
	assert_int_equal(pr_state_deny(st, -1, 7), 0);
	assert_int_equal(
	    pr_state_deny(st, -1, 8), 1u << PRC_READ | 1u << PRC_WRITE | 1u << PRC_SPC2_ALLOWED);
	free(st);
}

static void
commands_by_type_and_role(void **state)
{
	(void)state;
	for (size_t r = 0; r < ROWS; r++) {
		struct fx f;
		struct fx_nexus *n[ROLE_COUNT];
		pr_up(&f, 2, r + 1, "ram:");
		n[HOLDER] = pr_login(&f, 0, "holder", 1);
		n[REGISTRANT] = pr_login(&f, 1, "registrant", 1);
		n[OTHER] = pr_login(&f, 1, "other", 1);
		pr_register(n[HOLDER], 1);
		pr_register(n[REGISTRANT], 2);
		if (matrix[r].type != PR_NONE)
			pr_reserve(n[HOLDER], 1, matrix[r].type);
		for (int role = 0; role < ROLE_COUNT; role++) {
			const char *refused = matrix[r].refused[role];
			static const uint8_t inquiry[6] = {0x12, [4] = 36};
			assert_int_equal(may_read(n[role]), !strchr(refused, 'R'));
			assert_int_equal(may_write(n[role]), !strchr(refused, 'W'));
			fx_assert_good(fx_tur(n[role], 0));
			fx_assert_good(fx_exec(n[role], 0, inquiry, 6, NULL, 0, 36));
			fx_assert_good(pr_in(n[role], 1, 24));
		}
		fx_down(&f);
	}
}

/* A nexus that comes later has what its port has, from its first command. */
static void
new_nexus_of_a_registered_port_has_its_rights(void **state)
{
	struct fx f;

	(void)state;
	pr_up(&f, 2, 3, "ram:");
	struct fx_nexus *a = pr_login(&f, 0, "a", 1), *b = pr_login(&f, 1, "b", 1);
	pr_register(a, 1);
	pr_register(b, 2);
	pr_reserve(a, 1, PR_EXCLUSIVE_ACCESS_RO);
	fx_logout(b);
	b = pr_login(&f, 0, "b", 1);
	assert_true(may_write(b));
	struct fx_nexus *other_port = pr_login(&f, 0, "b", 2);
	assert_false(may_read(other_port));
	fx_logout(a);
	assert_false(may_read(other_port)); /* reservations outlive their holder's session */
	fx_down(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(classes_by_type_and_role),
	    cmocka_unit_test(spc2_reservation_leaves_others_only_the_harmless),
	    cmocka_unit_test(commands_by_type_and_role),
	    cmocka_unit_test(new_nexus_of_a_registered_port_has_its_rights),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
