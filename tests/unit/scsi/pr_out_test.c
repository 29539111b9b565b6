/* SPDX-License-Identifier: BSD-2-Clause */
/* PERSISTENT RESERVE OUT: every service action, taken and refused (SPC-4 5.13.7 to 5.13.11). */
#include "tests/unit/scsi/pr_util.h"

#include <stdio.h>
#include <string.h>

static struct fx f;
static struct fx_nexus *a, *b, *c; /* on different loops, one initiator each, port 1 */

static int
setup(void **state)
{
	(void)state;
	pr_up(&f, 3, 11, "ram:");
	a = pr_login(&f, 0, "a", 1);
	b = pr_login(&f, 1, "b", 1);
	c = pr_login(&f, 2, "c", 1);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	fx_down(&f);
	return 0;
}

/* Keys 1, 2, 3 for a, b, c; `type` (0: none) reserved by a. */
static void
register_all(unsigned type)
{
	pr_register(a, 1);
	pr_register(b, 2);
	pr_register(c, 3);
	if (type != 0)
		pr_reserve(a, 1, type);
}

/* ---- REGISTER ------------------------------------------------------------------------------------ */

static void
register_needs_the_right_key(void **state)
{
	(void)state;
	assert_conflict(pr_out(a, PR_OUT_REGISTER, 0, 5, 1, 0)); /* not registered: key must be 0 */
	fx_assert_good(pr_out(a, PR_OUT_REGISTER, 0, 0, 1, 0));
	assert_keys(b, 1, 0);
	assert_conflict(pr_out(a, PR_OUT_REGISTER, 0, 0, 2, 0)); /* registered: its own */
	fx_assert_good(pr_out(a, PR_OUT_REGISTER, 0, 1, 2, 0));
	assert_keys(b, 2, 0);
	fx_assert_good(pr_out(a, PR_OUT_REGISTER, 0, 2, 0, 0));
	assert_keys(b, 0);
	assert_int_equal(pr_generation(a), 3);
}

static void
register_with_nothing_to_do_is_good(void **state)
{
	(void)state;
	fx_assert_good(pr_out(a, PR_OUT_REGISTER, 0, 0, 0, 0));
	fx_assert_good(pr_out(a, PR_OUT_REGISTER_AND_IGNORE, 0, 77, 0, 0));
	assert_int_equal(pr_generation(a), 0);
}

static void
register_and_ignore_takes_any_key(void **state)
{
	(void)state;
	fx_assert_good(pr_out(a, PR_OUT_REGISTER_AND_IGNORE, 0, 99, 1, 0));
	fx_assert_good(pr_out(a, PR_OUT_REGISTER_AND_IGNORE, 0, 98, 2, 0));
	assert_keys(a, 2, 0);
	fx_assert_good(pr_out(a, PR_OUT_REGISTER_AND_IGNORE, 0, 97, 0, 0));
	assert_keys(a, 0);
}

static void
register_ignores_scope_and_type(void **state)
{
	(void)state;
	fx_assert_good(pr_out(a, PR_OUT_REGISTER, 0xff, 0, 1, 0));
}

static void
ports_of_one_initiator_register_apart(void **state)
{
	struct fx_nexus *a2 = pr_login(&f, 1, "a", 2);

	(void)state;
	pr_register(a, 1);
	assert_conflict(pr_out(a2, PR_OUT_RESERVE, PR_WRITE_EXCLUSIVE, 1, 0, 0));
	pr_register(a2, 1);
	assert_keys(a, 1, 1, 0);
	fx_assert_good(pr_out(a, PR_OUT_REGISTER, 0, 1, 0, 0));
	assert_keys(a, 1, 0);
}

static void
all_target_ports_register_and_go_together(void **state)
{
	struct fx_nexus *a2 = pr_login(&f, 1, "a", 2);

	(void)state;
	fx_assert_good(pr_out(a, PR_OUT_REGISTER, 0, 0, 1, PRF_ALL_TG_PT));
	assert_keys(a, 1, 1, 0);
	pr_reserve(a2, 1, PR_EXCLUSIVE_ACCESS);
	assert_false(may_read(a));
	fx_assert_good(pr_out(a, PR_OUT_REGISTER, 0, 1, 2, PRF_ALL_TG_PT));
	assert_keys(a, 2, 2, 0);
	fx_assert_good(pr_out(a, PR_OUT_REGISTER, 0, 2, 0, PRF_ALL_TG_PT));
	assert_keys(a, 0);
	assert_reservation(a, 0, 0);
}

static void
registrations_end_at_their_limit(void **state)
{
	(void)state;
	uint8_t list[28 + 64 * SCSI_PR_REGISTRATIONS_MAX] = {0};
	size_t at = 28;

	store_be64(list + 8, 1);
	list[20] = PRF_SPEC_I_PT;
	for (unsigned i = 0; i < SCSI_PR_REGISTRATIONS_MAX; i++) {
		uint8_t tid[SCSI_TRANSPORT_ID_MAX];
		char name[64];
		snprintf(name, sizeof(name), "iqn.host%u,i,0x000000000001", i);
		size_t len = pr_make_tid(name, tid);
		memcpy(list + at, tid, len);
		at += len;
		store_be32(list + 24, (uint32_t)(at - 28));
		if (i ==
		    SCSI_PR_REGISTRATIONS_MAX - 2) { /* with a's own: exactly as many as may be */
			fx_assert_good(pr_out_list(a, PR_OUT_REGISTER, 0, list, at));
			fx_assert_sense(pr_out(b, PR_OUT_REGISTER, 0, 0, 2, 0), 0x5, 0x55, 0x04);
			fx_assert_good(pr_out(a, PR_OUT_CLEAR, 0, 1, 0, 0));
		}
	}
	fx_assert_sense(pr_out_list(a, PR_OUT_REGISTER, 0, list, at), 0x5, 0x55, 0x04);
	assert_keys(a, 0); /* nothing of it */
}

/* ---- SPEC_I_PT ------------------------------------------------------------------------------------- */

static size_t
spec_list(uint8_t *list, unsigned flags, const char *const *names)
{
	size_t at = 28;

	memset(list, 0, 28);
	store_be64(list + 8, 1);
	list[20] = (uint8_t)(PRF_SPEC_I_PT | flags);
	for (; *names; names++) {
		uint8_t tid[SCSI_TRANSPORT_ID_MAX];
		size_t len = pr_make_tid(*names, tid);
		memcpy(list + at, tid, len);
		at += len;
	}
	store_be32(list + 24, (uint32_t)(at - 28));
	return at;
}

static void
spec_i_pt_registers_the_listed_ports(void **state)
{
	static const char *const names[] = {
	    "iqn.b,i,0x000000000001", "iqn.z,i,0x00023d000001", NULL};
	uint8_t list[512];

	(void)state;
	size_t len = spec_list(list, 0, names);
	fx_assert_good(pr_out_list(a, PR_OUT_REGISTER, 0, list, len));
	assert_keys(a, 1, 1, 1, 0);
	pr_reserve(b, 1, PR_EXCLUSIVE_ACCESS); /* b is there */
	assert_false(may_read(c));
}

/* The same port, spelled in capitals and with a short session identifier. */
static void
spec_i_pt_spelling_doesnt_matter(void **state)
{
	static const char *const names[] = {"IQN.B,i,0x1", NULL};
	uint8_t list[512];

	(void)state;
	size_t len = spec_list(list, 0, names);
	fx_assert_good(pr_out_list(a, PR_OUT_REGISTER, 0, list, len));
	pr_reserve(b, 1, PR_EXCLUSIVE_ACCESS);
}

static void
spec_i_pt_with_all_ports(void **state)
{
	static const char *const names[] = {
	    "iqn.b,i,0x000000000001", "iqn.b,i,0x000000000001", "iqn.a,i,0x000000000001", NULL};
	uint8_t list[512];

	(void)state;
	size_t len = spec_list(list, PRF_ALL_TG_PT, names);
	fx_assert_good(pr_out_list(a, PR_OUT_REGISTER, 0, list, len));
	assert_keys(a, 1, 1, 1, 1, 0);
}

static void
spec_i_pt_refusals(void **state)
{
	static const char *const names[] = {"iqn.b,i,0x000000000001", NULL};
	uint8_t list[512];
	int bit;

	(void)state;
	size_t len = spec_list(list, 0, names);
	fx_assert_sense(pr_out_list(a, PR_OUT_REGISTER, 0, list, len - 4), 0x5, 0x1a, 0x00);
	fx_assert_sense(pr_out_list(a, PR_OUT_REGISTER, 0, list, 27), 0x5, 0x1a, 0x00);
	store_be32(list + 24, (uint32_t)(len - 28 + 4));
	fx_assert_sense(pr_out_list(a, PR_OUT_REGISTER, 0, list, len), 0x5, 0x1a, 0x00);
	store_be32(list + 24, (uint32_t)(len - 28));
	/* Only with REGISTER. */
	struct fx_cmd *r = pr_out_list(a, PR_OUT_REGISTER_AND_IGNORE, 0, list, len);
	fx_assert_sense(r, 0x5, 0x26, 0x00);
	assert_int_equal(fx_sense_field(r, &bit), 20);
	assert_int_equal(bit, 3);
	/* Another protocol, a device instead of a port, a name without end. */
	static const uint8_t bad_first[] = {0x44, 0x46, 0x05, 0x85, 0x75, 0x4f};
	for (size_t i = 0; i < sizeof(bad_first); i++) {
		list[28] = bad_first[i];
		r = pr_out_list(a, PR_OUT_REGISTER, 0, list, len);
		fx_assert_sense(r, 0x5, 0x26, 0x00);
		assert_int_equal(fx_sense_field(r, &bit), 28);
	}
	list[28] = 0x45;
	uint8_t whole[512];
	memcpy(whole, list, sizeof(list));
	memset(list + 32, 'x', len - 32);
	fx_assert_sense(pr_out_list(a, PR_OUT_REGISTER, 0, list, len), 0x5, 0x26, 0x00);
	/* Listed, but registered already (table 67, note b): nobody is registered then. */
	memcpy(list, whole, sizeof(list));
	pr_register(b, 9);
	fx_assert_sense(pr_out_list(a, PR_OUT_REGISTER, 0, list, len), 0x5, 0x26, 0x00);
	assert_keys(a, 9, 0);
	/* By a registered nexus. */
	fx_assert_good(pr_out(b, PR_OUT_REGISTER, 0, 9, 0, 0));
	pr_register(a, 1);
	store_be64(list, 1);
	fx_assert_sense(pr_out_list(a, PR_OUT_REGISTER, 0, list, len), 0x5, 0x26, 0x00);
	assert_keys(a, 1, 0);
}

/* ---- unregistering -------------------------------------------------------------------------------------- */

static void
holder_that_unregisters_releases_by_type(void **state)
{
	(void)state;
	static const struct {
		uint8_t type;
		bool stays, told;
	} rows[] = {
	    {PR_WRITE_EXCLUSIVE, false, false},
	    {PR_EXCLUSIVE_ACCESS, false, false},
	    {PR_WRITE_EXCLUSIVE_RO, false, true},
	    {PR_EXCLUSIVE_ACCESS_RO, false, true},
	    {PR_WRITE_EXCLUSIVE_AR, true, false},
	    {PR_EXCLUSIVE_ACCESS_AR, true, false},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		pr_register(a, 1);
		pr_register(b, 2);
		pr_reserve(a, 1, rows[i].type);
		fx_assert_good(pr_out(a, PR_OUT_REGISTER, 0, 1, 0, 0));
		if (rows[i].told)
			assert_ua(b, 0x04);
		else
			assert_no_ua(b);
		assert_no_ua(a);
		assert_no_ua(c); /* wasn't registered */
		assert_reservation(a, rows[i].stays ? rows[i].type : 0, 0);
		assert_int_equal(may_write(a), !rows[i].stays);
		/* The last registrant takes an all registrants reservation along. */
		fx_assert_good(pr_out(b, PR_OUT_REGISTER, 0, 2, 0, 0));
		assert_reservation(a, 0, 0);
		assert_true(may_write(a));
	}
}

/* ---- RESERVE, RELEASE, CLEAR -------------------------------------------------------------------------------- */

static void
reserve_by_the_unregistered_conflicts(void **state)
{
	(void)state;
	assert_conflict(pr_out(a, PR_OUT_RESERVE, PR_WRITE_EXCLUSIVE, 0, 0, 0));
	pr_register(a, 1);
	assert_conflict(pr_out(a, PR_OUT_RESERVE, PR_WRITE_EXCLUSIVE, 2, 0, 0));
	assert_conflict(pr_out(b, PR_OUT_RELEASE, PR_WRITE_EXCLUSIVE, 1, 0, 0));
	assert_conflict(pr_out(b, PR_OUT_CLEAR, 0, 1, 0, 0));
	assert_conflict(pr_out(b, PR_OUT_PREEMPT, PR_WRITE_EXCLUSIVE, 1, 1, 0));
	assert_conflict(pr_out(b, PR_OUT_PREEMPT_AND_ABORT, PR_WRITE_EXCLUSIVE, 1, 1, 0));
	assert_reservation(a, 0, 0);
}

static void
reserve_again_is_good_only_for_the_holder_and_the_type(void **state)
{
	(void)state;
	register_all(PR_WRITE_EXCLUSIVE);
	uint32_t generation = pr_generation(a);
	pr_reserve(a, 1, PR_WRITE_EXCLUSIVE);
	assert_conflict(pr_out(a, PR_OUT_RESERVE, PR_EXCLUSIVE_ACCESS, 1, 0, 0));
	assert_conflict(pr_out(b, PR_OUT_RESERVE, PR_WRITE_EXCLUSIVE, 2, 0, 0));
	assert_reservation(b, PR_WRITE_EXCLUSIVE, 1);
	fx_assert_good(pr_out(a, PR_OUT_RELEASE, PR_WRITE_EXCLUSIVE, 1, 0, 0));
	pr_reserve(a, 1, PR_EXCLUSIVE_ACCESS_AR);
	pr_reserve(b, 2, PR_EXCLUSIVE_ACCESS_AR); /* a holder, too */
	assert_reservation(b, PR_EXCLUSIVE_ACCESS_AR, 0);
	assert_int_equal(pr_generation(a), generation); /* neither counts */
}

static void
scope_and_type_are_checked(void **state)
{
	int bit;

	(void)state;
	pr_register(a, 1);
	for (unsigned type = 0; type < 16; type++) {
		if (pr_type_valid(type))
			continue;
		struct fx_cmd *r = pr_out(a, PR_OUT_RESERVE, type, 1, 0, 0);
		fx_assert_sense(r, 0x5, 0x24, 0x00);
		assert_int_equal(fx_sense_field(r, &bit), 2);
		assert_int_equal(bit, 3);
	}
	for (unsigned scope = 1; scope < 16; scope++) {
		struct fx_cmd *r =
		    pr_out(a, PR_OUT_RESERVE, scope << 4 | PR_WRITE_EXCLUSIVE, 1, 0, 0);
		fx_assert_sense(r, 0x5, 0x24, 0x00);
		assert_int_equal(fx_sense_field(r, &bit), 2);
		assert_int_equal(bit, 7);
	}
}

static void
release_must_fit(void **state)
{
	(void)state;
	register_all(PR_WRITE_EXCLUSIVE_RO);
	fx_assert_sense(pr_out(a, PR_OUT_RELEASE, PR_WRITE_EXCLUSIVE, 1, 0, 0), 0x5, 0x26, 0x04);
	fx_assert_sense(
	    pr_out(a, PR_OUT_RELEASE, 0x10 | PR_WRITE_EXCLUSIVE_RO, 1, 0, 0), 0x5, 0x26, 0x04);
	assert_conflict(pr_out(a, PR_OUT_RELEASE, PR_WRITE_EXCLUSIVE_RO, 2, 0, 0));
	/* Not the holder: GOOD, and nothing happens. */
	fx_assert_good(pr_out(b, PR_OUT_RELEASE, PR_WRITE_EXCLUSIVE_RO, 2, 0, 0));
	assert_reservation(b, PR_WRITE_EXCLUSIVE_RO, 1);
	fx_assert_good(pr_out(a, PR_OUT_RELEASE, PR_WRITE_EXCLUSIVE_RO, 1, 0, 0));
	assert_ua(b, 0x04);
	assert_ua(c, 0x04);
	assert_no_ua(a);
	assert_reservation(b, 0, 0);
	fx_assert_good(pr_out(a, PR_OUT_RELEASE, PR_WRITE_EXCLUSIVE_RO, 1, 0, 0)); /* none there */
}

static void
release_of_single_holder_types_is_silent(void **state)
{
	(void)state;
	register_all(PR_EXCLUSIVE_ACCESS);
	fx_assert_good(pr_out(a, PR_OUT_RELEASE, PR_EXCLUSIVE_ACCESS, 1, 0, 0));
	assert_no_ua(b);
	assert_true(may_write(b));
}

static void
any_registrant_releases_an_all_registrants_reservation(void **state)
{
	(void)state;
	register_all(PR_EXCLUSIVE_ACCESS_AR);
	fx_assert_good(pr_out(c, PR_OUT_RELEASE, PR_EXCLUSIVE_ACCESS_AR, 3, 0, 0));
	assert_reservation(c, 0, 0);
	assert_ua(a, 0x04);
	assert_ua(b, 0x04);
	assert_no_ua(c);
}

static void
clear_removes_everything_and_tells_the_others(void **state)
{
	(void)state;
	register_all(PR_EXCLUSIVE_ACCESS);
	uint32_t generation = pr_generation(a);
	fx_assert_good(pr_out(b, PR_OUT_CLEAR, 0xff, 2, 0, 0));
	assert_ua(a, 0x03);
	assert_ua(c, 0x03);
	assert_no_ua(b);
	assert_keys(b, 0);
	assert_reservation(b, 0, 0);
	assert_int_equal(pr_generation(a), generation + 1);
}

/* ---- PREEMPT --------------------------------------------------------------------------------------------- */

static void
preempt_of_the_holder_takes_the_reservation(void **state)
{
	(void)state;
	register_all(PR_EXCLUSIVE_ACCESS);
	uint32_t generation = pr_generation(a);
	fx_assert_good(pr_out(b, PR_OUT_PREEMPT, PR_EXCLUSIVE_ACCESS, 2, 1, 0));
	assert_ua(a, 0x05);
	assert_no_ua(b);
	assert_no_ua(c); /* the type is the same */
	assert_reservation(b, PR_EXCLUSIVE_ACCESS, 2);
	assert_keys(b, 2, 3, 0);
	assert_false(may_read(a));
	assert_true(may_write(b));
	assert_int_equal(pr_generation(b), generation + 1);
}

static void
preempt_that_changes_the_type_tells_who_stays(void **state)
{
	(void)state;
	register_all(PR_WRITE_EXCLUSIVE);
	fx_assert_good(pr_out(b, PR_OUT_PREEMPT, PR_WRITE_EXCLUSIVE_RO, 2, 1, 0));
	assert_ua(a, 0x05);
	assert_ua(c, 0x04);
	assert_no_ua(b);
	assert_reservation(b, PR_WRITE_EXCLUSIVE_RO, 2);
}

static void
preempt_of_another_registrant_leaves_the_reservation(void **state)
{
	(void)state;
	register_all(PR_WRITE_EXCLUSIVE_RO);
	/* Scope and type don't count when only registrations go. */
	fx_assert_good(pr_out(b, PR_OUT_PREEMPT, 0xf2, 2, 3, 0));
	assert_ua(c, 0x05);
	assert_no_ua(a);
	assert_reservation(b, PR_WRITE_EXCLUSIVE_RO, 1);
	assert_keys(b, 1, 2, 0);
	assert_false(may_write(c));
}

static void
preempt_without_reservation_removes_registrations_only(void **state)
{
	(void)state;
	register_all(0);
	fx_assert_good(pr_out(b, PR_OUT_PREEMPT, PR_EXCLUSIVE_ACCESS, 2, 1, 0));
	assert_ua(a, 0x05);
	assert_keys(b, 2, 3, 0);
	assert_reservation(b, 0, 0);
}

static void
preempt_of_nobody_conflicts(void **state)
{
	(void)state;
	register_all(PR_WRITE_EXCLUSIVE);
	assert_conflict(pr_out(b, PR_OUT_PREEMPT, PR_WRITE_EXCLUSIVE, 2, 44, 0));
	assert_keys(b, 1, 2, 3, 0);
}

static void
preempt_with_zero_key_is_for_all_registrants(void **state)
{
	(void)state;
	int bit;
	register_all(PR_WRITE_EXCLUSIVE_RO);
	struct fx_cmd *r = pr_out(b, PR_OUT_PREEMPT, PR_WRITE_EXCLUSIVE, 2, 0, 0);
	fx_assert_sense(r, 0x5, 0x26, 0x00);
	assert_int_equal(fx_sense_field(r, &bit), 8);
	fx_assert_good(pr_out(a, PR_OUT_CLEAR, 0, 1, 0, 0));
	assert_ua(b, 0x03);
	assert_ua(c, 0x03);
	register_all(PR_WRITE_EXCLUSIVE_AR);
	fx_assert_good(pr_out(b, PR_OUT_PREEMPT, PR_EXCLUSIVE_ACCESS, 2, 0, 0));
	assert_ua(a, 0x05);
	assert_ua(c, 0x05);
	assert_keys(b, 2, 0);
	assert_reservation(b, PR_EXCLUSIVE_ACCESS, 2);
}

static void
preempt_by_key_leaves_an_all_registrants_reservation(void **state)
{
	(void)state;
	register_all(PR_EXCLUSIVE_ACCESS_AR);
	fx_assert_good(pr_out(b, PR_OUT_PREEMPT, PR_EXCLUSIVE_ACCESS_AR, 2, 1, 0));
	assert_reservation(b, PR_EXCLUSIVE_ACCESS_AR, 0);
	assert_ua(a, 0x05);
	assert_false(may_read(a));
	assert_true(may_write(c));
}

static void
preempt_takes_all_with_the_key(void **state)
{
	(void)state;
	pr_register(a, 1);
	pr_register(b, 2);
	pr_register(c, 1);
	pr_reserve(a, 1, PR_WRITE_EXCLUSIVE);
	fx_assert_good(pr_out(b, PR_OUT_PREEMPT, PR_WRITE_EXCLUSIVE, 2, 1, 0));
	assert_ua(a, 0x05);
	assert_ua(c, 0x05);
	assert_keys(b, 2, 0);
}

static void
holder_may_preempt_itself_and_stays(void **state)
{
	(void)state;
	register_all(PR_WRITE_EXCLUSIVE);
	fx_assert_good(pr_out(a, PR_OUT_PREEMPT, PR_EXCLUSIVE_ACCESS, 1, 1, 0));
	assert_no_ua(a);
	assert_reservation(a, PR_EXCLUSIVE_ACCESS, 1);
	assert_keys(a, 1, 2, 3, 0);
	assert_ua(b, 0x04);
}

/* 5.13.11.2.5: without a reservation to preempt, one's own registration goes, too. */
static void
preempt_with_ones_own_key_removes_the_registration(void **state)
{
	(void)state;
	register_all(PR_WRITE_EXCLUSIVE);
	fx_assert_good(pr_out(b, PR_OUT_PREEMPT, PR_WRITE_EXCLUSIVE, 2, 2, 0));
	assert_no_ua(b);
	assert_keys(b, 1, 3, 0);
	assert_reservation(b, PR_WRITE_EXCLUSIVE, 1);
}

static void
preempt_checks_the_new_type(void **state)
{
	(void)state;
	register_all(PR_WRITE_EXCLUSIVE);
	fx_assert_sense(pr_out(b, PR_OUT_PREEMPT, 2, 2, 1, 0), 0x5, 0x24, 0x00);
	assert_reservation(b, PR_WRITE_EXCLUSIVE, 1);
}

/* ---- REGISTER AND MOVE --------------------------------------------------------------------------------------- */

static size_t
move_list(
    uint8_t *list, uint64_t key, uint64_t sa_key, unsigned flags, uint16_t port, const char *name)
{
	memset(list, 0, 24);
	store_be64(list, key);
	store_be64(list + 8, sa_key);
	list[17] = (uint8_t)flags;
	store_be16(list + 18, port);
	size_t len = pr_make_tid(name, list + 24);
	store_be32(list + 20, (uint32_t)len);
	return 24 + len;
}

static void
move_gives_the_reservation_away(void **state)
{
	uint8_t list[512];

	(void)state;
	register_all(PR_EXCLUSIVE_ACCESS);
	size_t len = move_list(list, 1, 22, 0, 1, "iqn.b,i,0x000000000001");
	fx_assert_good(pr_out_list(a, PR_OUT_REGISTER_AND_MOVE, 0, list, len));
	assert_reservation(a, PR_EXCLUSIVE_ACCESS, 22);
	assert_keys(a, 1, 22, 3, 0);
	assert_false(may_read(a));
	assert_true(may_write(b));
}

static void
move_to_an_unknown_port_registers_it_and_may_unregister_us(void **state)
{
	uint8_t list[512];

	(void)state;
	pr_register(a, 1);
	pr_reserve(a, 1, PR_WRITE_EXCLUSIVE_RO);
	size_t len = move_list(list, 1, 7, 0x02, 2, "iqn.new,i,0x000000000001");
	fx_assert_good(pr_out_list(a, PR_OUT_REGISTER_AND_MOVE, 0, list, len));
	assert_keys(a, 7, 0);
	assert_reservation(a, PR_WRITE_EXCLUSIVE_RO, 7);
	assert_false(may_write(a));
	struct fx_nexus *n = pr_login(&f, 1, "new", 2);
	assert_true(may_write(n));
	fx_assert_good(pr_out(n, PR_OUT_RELEASE, PR_WRITE_EXCLUSIVE_RO, 7, 0, 0));
}

static void
move_refusals(void **state)
{
	static const char there[] = "iqn.b,i,0x000000000001";
	uint8_t list[512];
	int bit;

	(void)state;
	size_t len = move_list(list, 1, 7, 0, 1, there);
	assert_conflict(
	    pr_out_list(a, PR_OUT_REGISTER_AND_MOVE, 0, list, len)); /* not registered */
	pr_register(a, 1);
	pr_register(b, 2);
	fx_assert_sense(pr_out_list(a, PR_OUT_REGISTER_AND_MOVE, 0, list, len), 0x5, 0x24,
	    0x00); /* no reservation */
	pr_reserve(a, 1, PR_WRITE_EXCLUSIVE);
	len = move_list(list, 2, 7, 0, 1, "iqn.c,i,0x000000000001");
	assert_conflict(
	    pr_out_list(b, PR_OUT_REGISTER_AND_MOVE, 0, list, len)); /* not the holder */
	assert_conflict(pr_out_list(a, PR_OUT_REGISTER_AND_MOVE, 0, list, len)); /* wrong key */
	len = move_list(list, 1, 0, 0, 1, there);
	struct fx_cmd *r = pr_out_list(a, PR_OUT_REGISTER_AND_MOVE, 0, list, len);
	fx_assert_sense(r, 0x5, 0x26, 0x00);
	assert_int_equal(fx_sense_field(r, &bit), 8);
	len = move_list(list, 1, 7, 0, 99, there);
	r = pr_out_list(a, PR_OUT_REGISTER_AND_MOVE, 0, list, len);
	fx_assert_sense(r, 0x5, 0x26, 0x00);
	assert_int_equal(fx_sense_field(r, &bit), 18);
	len = move_list(list, 1, 7, 0, 2, "iqn.a,i,0x000000000001"); /* itself, by another port */
	fx_assert_sense(pr_out_list(a, PR_OUT_REGISTER_AND_MOVE, 0, list, len), 0x5, 0x26, 0x00);
	len = move_list(list, 1, 7, 0, 1, there);
	fx_assert_sense(
	    pr_out_list(a, PR_OUT_REGISTER_AND_MOVE, 0, list, len - 4), 0x5, 0x1a, 0x00);
	fx_assert_sense(pr_out_list(a, PR_OUT_REGISTER_AND_MOVE, 0, list, 24), 0x5, 0x1a, 0x00);
	list[24] = 0x44;
	fx_assert_sense(pr_out_list(a, PR_OUT_REGISTER_AND_MOVE, 0, list, len), 0x5, 0x26, 0x00);
	assert_reservation(a, PR_WRITE_EXCLUSIVE, 1);
	fx_assert_good(pr_out(a, PR_OUT_RELEASE, PR_WRITE_EXCLUSIVE, 1, 0, 0));
	pr_reserve(a, 1, PR_WRITE_EXCLUSIVE_AR);
	len = move_list(list, 1, 7, 0, 1, there);
	assert_conflict(pr_out_list(a, PR_OUT_REGISTER_AND_MOVE, 0, list, len));
}

/* ---- lists and the rest ------------------------------------------------------------------------------------------ */

static void
wrong_list_lengths_are_refused(void **state)
{
	uint8_t list[64] = {0};

	(void)state;
	list[15] = 1;
	pr_register(a, 1);
	for (unsigned sa = 0; sa <= PR_OUT_REPLACE_LOST; sa++) {
		static const size_t bad[] = {0, 1, 8, 23, 25, 28, 64};
		for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
			fx_assert_sense(
			    pr_out_list(a, sa, PR_WRITE_EXCLUSIVE, list, bad[i]), 0x5, 0x1a, 0x00);
	}
	/* The CDB promises 24 bytes, the initiator sends 8. */
	static const uint8_t cdb[10] = {0x5f, 0, 0, 0, 0, 0, 0, 0, 24};
	struct fx_cmd *r = fx_exec(a, 0, cdb, 10, list, 8, 0);
	fx_assert_sense(r, 0x5, 0x1a, 0x00);
	assert_keys(a, 1, 0);
}

static void
unknown_service_actions_are_refused(void **state)
{
	int bit;

	(void)state;
	for (unsigned sa = PR_OUT_REPLACE_LOST + 1; sa < 32; sa++) {
		struct fx_cmd *r = pr_out(a, (enum pr_out_sa)sa, 0, 0, 1, 0);
		fx_assert_sense(r, 0x5, 0x24, 0x00);
		assert_int_equal(fx_sense_field(r, &bit), 1);
	}
}

static void
replace_lost_reservation_needs_a_loss(void **state)
{
	(void)state;
	fx_assert_sense(
	    pr_out(a, PR_OUT_REPLACE_LOST, PR_WRITE_EXCLUSIVE, 0, 1, 0), 0x5, 0x26, 0x04);
}

/* What fence_scsi does: two nodes register, reserve type 5; one fences the other. */
static void
fence_scsi_sequence(void **state)
{
	(void)state;
	pr_register(a, 0xa);
	pr_register(b, 0xb);
	pr_reserve(a, 0xa, PR_WRITE_EXCLUSIVE_RO);
	assert_true(may_write(b));
	fx_assert_good(pr_out(a, PR_OUT_PREEMPT_AND_ABORT, PR_WRITE_EXCLUSIVE_RO, 0xa, 0xb, 0));
	assert_ua(b, 0x05);
	assert_false(may_write(b));
	assert_true(may_read(b));
	assert_true(may_write(a));
	assert_conflict(pr_out(b, PR_OUT_PREEMPT, PR_WRITE_EXCLUSIVE_RO, 0xb, 0xa, 0));
	pr_register(b, 0xb); /* unfence */
	assert_true(may_write(b));
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    T(register_needs_the_right_key),
	    T(register_with_nothing_to_do_is_good),
	    T(register_and_ignore_takes_any_key),
	    T(register_ignores_scope_and_type),
	    T(ports_of_one_initiator_register_apart),
	    T(all_target_ports_register_and_go_together),
	    T(registrations_end_at_their_limit),
	    T(spec_i_pt_registers_the_listed_ports),
	    T(spec_i_pt_spelling_doesnt_matter),
	    T(spec_i_pt_with_all_ports),
	    T(spec_i_pt_refusals),
	    T(holder_that_unregisters_releases_by_type),
	    T(reserve_by_the_unregistered_conflicts),
	    T(reserve_again_is_good_only_for_the_holder_and_the_type),
	    T(scope_and_type_are_checked),
	    T(release_must_fit),
	    T(release_of_single_holder_types_is_silent),
	    T(any_registrant_releases_an_all_registrants_reservation),
	    T(clear_removes_everything_and_tells_the_others),
	    T(preempt_of_the_holder_takes_the_reservation),
	    T(preempt_that_changes_the_type_tells_who_stays),
	    T(preempt_of_another_registrant_leaves_the_reservation),
	    T(preempt_without_reservation_removes_registrations_only),
	    T(preempt_of_nobody_conflicts),
	    T(preempt_with_zero_key_is_for_all_registrants),
	    T(preempt_by_key_leaves_an_all_registrants_reservation),
	    T(preempt_takes_all_with_the_key),
	    T(holder_may_preempt_itself_and_stays),
	    T(preempt_with_ones_own_key_removes_the_registration),
	    T(preempt_checks_the_new_type),
	    T(move_gives_the_reservation_away),
	    T(move_to_an_unknown_port_registers_it_and_may_unregister_us),
	    T(move_refusals),
	    T(wrong_list_lengths_are_refused),
	    T(unknown_service_actions_are_refused),
	    T(replace_lost_reservation_needs_a_loss),
	    T(fence_scsi_sequence),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
