/* SPDX-License-Identifier: BSD-2-Clause */
/* What a thin unit says about the space that is left: VPD B2h, mode page 1Ch/02h, log page 0Ch, 38h/07h. */
#include <errno.h>

#include "scsi/sbc.h"
#include "tests/unit/scsi/sbc_test.h"

#define LU_BYTES (200u << 20)
#define MIB (1u << 20)
#define THRESHOLD 20u /* a tenth of the unit, in sets of 1 MiB */

static struct fx f;
static struct fx_nexus *n, *other;

static int
up_as(bool thin)
{
	fx_up(&f, 2, 21);
	fx_add_lu_size(&f, "ram:", &(struct scsi_lu_args){.thin = thin}, LU_BYTES);
	n = fx_login(&f, 0, "iqn.a");
	other = fx_login(&f, 1, "iqn.b");
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

struct told {
	uint64_t used, left;
};

static void
tell(void *ctx)
{
	const struct told *t = ctx;
	assert_int_equal(scsi_lu_set_space(f.lus[0], t->used, t->left), 0);
}

/* In MiB. */
static void
space(uint64_t used, uint64_t left)
{
	struct told t = {used * MIB, left * MIB};
	fx_on_loop(&f, 0, tell, &t);
	fx_run(&f);
}

static void
assert_told(struct fx_nexus *nexus)
{
	struct fx_cmd *c = fx_tur(nexus, 0);
	fx_assert_sense(c, 6, 0x38, 0x07);
	fx_cmd_free(c);
	fx_assert_good(fx_tur(nexus, 0));
}

static void
assert_not_told(void)
{
	fx_assert_good(fx_tur(n, 0));
	fx_assert_good(fx_tur(other, 0));
}

static struct fx_cmd *
log_page(uint8_t page, uint16_t first)
{
	uint8_t cdb[10] = {0x4d, 0, (uint8_t)(0x40 | page), 0, 0, 0, 0, 0, 255};
	store_be16(cdb + 5, first);
	return fx_exec(n, 0, cdb, sizeof cdb, NULL, 0, 255);
}

static void
every_nexus_is_told_once_when_the_threshold_is_crossed(void **state)
{
	(void)state;
	space(50, THRESHOLD);
	assert_not_told();
	space(51, THRESHOLD - 1);
	assert_told(n);
	assert_told(other);
	space(60, 5);
	assert_not_told();
}

static void
a_count_that_wavers_is_no_news(void **state)
{
	(void)state;
	space(50, THRESHOLD - 1);
	assert_told(n);
	assert_told(other);
	space(50, THRESHOLD);
	space(50, THRESHOLD - 1);
	assert_not_told();
	space(50, THRESHOLD + THRESHOLD / 8 + 1);
	space(50, THRESHOLD - 1);
	assert_told(n);
	assert_told(other);
}

static void
who_needs_no_more_is_not_short(void **state)
{
	(void)state;
	space(LU_BYTES / MIB, 1);
	assert_not_told();
	space(LU_BYTES / MIB - 3, 3);
	assert_not_told();
	space(LU_BYTES / MIB - 4, 3);
	assert_told(n);
}

static void
counts_are_in_the_log_page(void **state)
{
	(void)state;
	struct fx_cmd *c = log_page(0x0c, 0);
	fx_assert_good(c);
	assert_int_equal(load_be16(c->in + 2), 0); /* nothing is known */
	space(70, 0x12345);
	c = log_page(0x0c, 0);
	fx_assert_good(c);
	static const uint8_t want[] = {0x8c, 0, 0, 24, 0, 1, 3, 8, 0, 1, 0x23, 0x45, 2, 0, 0, 0, 0,
	    2, 3, 8, 0, 0, 0, 70, 1, 0, 0, 0};
	assert_int_equal(c->in_len, sizeof want);
	assert_memory_equal(c->in, want, sizeof want);
	c = log_page(0x0c, 2);
	fx_assert_good(c);
	assert_int_equal(load_be16(c->in + 2), 12);
	assert_bad_field(log_page(0x0c, 3), 5, -1);
	c = log_page(0, 0);
	fx_assert_good(c);
	assert_non_null(memchr(c->in + 4, 0x0c, load_be16(c->in + 2)));
}

static void
the_threshold_is_in_the_mode_page(void **state)
{
	(void)state;
	const uint8_t cdb[6] = {0x1a, 0x08, 0x1c, 0x02, 255};
	struct fx_cmd *c = fx_exec(n, 0, cdb, sizeof cdb, NULL, 0, 255);
	fx_assert_good(c);
	uint8_t want[4 + 24] = {27, 0, 0x10, 0, 0x5c, 0x02, 0, 0x14};
	want[20] = 0x80;
	want[21] = 0x01;
	want[27] = THRESHOLD;
	assert_int_equal(c->in_len, sizeof want);
	assert_memory_equal(c->in, want, sizeof want);
	/* VPD B2h: threshold sets of 2^11 blocks are the 1 MiB of both pages */
	const uint8_t inquiry[6] = {0x12, 1, 0xb2, 0, 255};
	c = fx_exec(n, 0, inquiry, sizeof inquiry, NULL, 0, 255);
	fx_assert_good(c);
	assert_int_equal((uint64_t)BS << c->in[4], MIB);
}

static void
other_thresholds_cannot_be_set(void **state)
{
	(void)state;
	uint8_t list[4 + 24] = {0, 0, 0, 0, 0x5c, 0x02, 0, 0x14};
	list[20] = 0x80;
	list[21] = 0x01;
	list[27] = THRESHOLD;
	const uint8_t cdb[6] = {0x15, 0x10, 0, 0, sizeof list};
	fx_assert_good(fx_exec(n, 0, cdb, sizeof cdb, list, sizeof list, 0));
	list[27] = THRESHOLD / 2;
	assert_sense(fx_exec(n, 0, cdb, sizeof cdb, list, sizeof list, 0), 5, 0x26, 0x00);
}

static void
thick_units_have_none_of_it(void **state)
{
	(void)state;
	space(50, 1);
	assert_not_told();
	assert_bad_field(log_page(0x0c, 0), 2, 5);
	const uint8_t cdb[6] = {0x1a, 0x08, 0x1c, 0x02, 255};
	assert_bad_field(fx_exec(n, 0, cdb, sizeof cdb, NULL, 0, 255), 3, -1);
}

#define T(name) cmocka_unit_test_setup_teardown(name, up, down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    T(every_nexus_is_told_once_when_the_threshold_is_crossed),
	    T(a_count_that_wavers_is_no_news),
	    T(who_needs_no_more_is_not_short),
	    T(counts_are_in_the_log_page),
	    T(the_threshold_is_in_the_mode_page),
	    T(other_thresholds_cannot_be_set),
	    cmocka_unit_test_setup_teardown(thick_units_have_none_of_it, up_thick, down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
