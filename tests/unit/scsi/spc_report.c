/* SPDX-License-Identifier: BSD-2-Clause */
/* The REPORT commands, target port groups, LOG SENSE, REQUEST SENSE, SEND DIAGNOSTIC. */
#include "tests/unit/scsi/scsi_fixture.h"

#include "base/endian.h"
#include "scsi/scsi_priv.h"

static struct fx f;

static struct fx_nexus *
up(void)
{
	fx_up(&f, 1, 5);
	fx_add_lu(&f, "ram:", NULL);
	return fx_login(&f, 0, "iqn.test:a");
}

/* A 12 byte command with the allocation length in bytes 6..9. */
static struct fx_cmd *
in12(struct fx_nexus *n, uint16_t lun, uint8_t op, uint8_t b1, uint8_t b2, uint8_t b3, uint16_t b45,
    uint32_t alloc)
{
	uint8_t cdb[12] = {op, b1, b2, b3};
	store_be16(cdb + 4, b45);
	store_be32(cdb + 6, alloc);
	return fx_exec(n, lun, cdb, sizeof cdb, NULL, 0, alloc);
}

static void
assert_bytes(const struct fx_cmd *c, const void *want, size_t len)
{
	fx_assert_good(c);
	assert_int_equal(c->in_len, len);
	assert_memory_equal(c->in, want, len);
}

static void
assert_bad_cdb(const struct fx_cmd *c, int byte)
{
	int bit;
	fx_assert_sense(c, 5, 0x24, 0x00);
	assert_int_equal(fx_sense_field(c, &bit), byte);
}

/* ---- REPORT LUNS ------------------------------------------------------------------------------ */

static struct fx_nexus *
up_luns(const uint16_t *luns, uint32_t count)
{
	struct scsi_view_entry e[FX_LUS_MAX];
	fx_up(&f, 1, 5);
	for (uint32_t i = 0; i < count; i++)
		e[i] = (struct scsi_view_entry){.lun = luns[i], .lu = fx_add_lu(&f, "ram:", NULL)};
	return fx_login_view(&f, 0, "iqn.test:a", e, count);
}

static void
luns_are_sorted_and_encoded(void **state)
{
	(void)state;
	const uint16_t luns[] = {300, 7, 0, 16383};
	struct fx_nexus *n = up_luns(luns, 4);
	static const uint8_t want[8 + 32] = {0, 0, 0, 32, 0, 0, 0, 0, 0x00, 0x00, 0, 0, 0, 0, 0, 0,
	    0x00, 0x07, 0, 0, 0, 0, 0, 0, 0x41, 0x2c, 0, 0, 0, 0, 0, 0, 0x7f, 0xff};
	assert_bytes(in12(n, 0, 0xa0, 0, 0x00, 0, 0, 1024), want, sizeof want);
	assert_bytes(in12(n, 0, 0xa0, 0, 0x11, 0, 0, 1024), want, sizeof want);
	fx_down(&f);
}

static void
well_known_unit_is_listed_when_asked_for(void **state)
{
	(void)state;
	const uint16_t luns[] = {1};
	struct fx_nexus *n = up_luns(luns, 1);
	static const uint8_t only[16] = {0, 0, 0, 8, 0, 0, 0, 0, 0xc1, 0x01};
	static const uint8_t both[24] = {
	    0, 0, 0, 16, 0, 0, 0, 0, 0x00, 0x01, 0, 0, 0, 0, 0, 0, 0xc1, 1};
	assert_bytes(in12(n, 1, 0xa0, 0, 0x01, 0, 0, 1024), only, sizeof only);
	assert_bytes(in12(n, 1, 0xa0, 0, 0x02, 0, 0, 1024), both, sizeof both);
	fx_down(&f);
}

static void
there_are_no_administrative_units(void **state)
{
	(void)state;
	struct fx_nexus *n = up();
	static const uint8_t none[8] = {0};
	assert_bytes(in12(n, 0, 0xa0, 0, 0x10, 0, 0, 1024), none, sizeof none);
	assert_bad_cdb(in12(n, 0, 0xa0, 0, 0x12, 0, 0, 1024), 2);
	assert_bad_cdb(in12(n, 0, 0xa0, 0, 0x03, 0, 0, 1024), 2);
	fx_down(&f);
}

static void
report_luns_needs_room_for_one(void **state)
{
	(void)state;
	const uint16_t luns[] = {1, 2};
	struct fx_nexus *n = up_luns(luns, 2);
	assert_bad_cdb(in12(n, 1, 0xa0, 0, 0x00, 0, 0, 15), 6);
	struct fx_cmd *c = in12(n, 1, 0xa0, 0, 0x00, 0, 0, 16);
	static const uint8_t want[16] = {0, 0, 0, 16, 0, 0, 0, 0, 0x00, 0x01};
	assert_bytes(c, want, sizeof want);
	c = in12(n, 1, 0xa0, 0, 0x00, 0, 0, 19); /* cut within an entry */
	assert_int_equal(c->in_len, 19);
	fx_down(&f);
}

static void
report_luns_works_on_an_unmapped_lun(void **state)
{
	(void)state;
	const uint16_t luns[] = {5};
	struct fx_nexus *n = up_luns(luns, 1);
	static const uint8_t want[16] = {0, 0, 0, 8, 0, 0, 0, 0, 0x00, 0x05};
	assert_bytes(in12(n, 0, 0xa0, 0, 0x00, 0, 0, 1024), want, sizeof want);
	fx_down(&f);
}

static void
raise_luns_changed(void *ctx)
{
	struct fx_nexus *n = ctx;
	scsi_ua_raise(n->n->nlus[0], UA_LUNS_CHANGED);
}

static void
report_luns_clears_luns_changed(void **state)
{
	(void)state;
	struct fx_nexus *n = up();
	fx_on_loop(&f, 0, raise_luns_changed, n);
	fx_assert_good(in12(n, 0, 0xa0, 0, 0x00, 0, 0, 1024));
	struct fx_cmd *c = fx_tur(n, 0);
	fx_assert_good(c);
	fx_on_loop(&f, 0, raise_luns_changed, n);
	c = fx_tur(n, 0);
	fx_assert_sense(c, 6, 0x3f, 0x0e);
	fx_down(&f);
}

/* ---- REPORT SUPPORTED OPERATION CODES ------------------------------------------------------------ */

static struct fx_cmd *
rsoc(struct fx_nexus *n, uint8_t options, uint8_t opcode, uint16_t sa)
{
	return in12(n, 0, 0xa3, 0x0c, options, opcode, sa, 65535);
}

/* Every listed command can be asked for by itself, in the way that fits it and in no other. */
static void
each_listed_command_describes_itself(void **state)
{
	(void)state;
	struct fx_nexus *n = up();
	struct fx_cmd *all = rsoc(n, 0x00, 0, 0);
	fx_assert_good(all);
	uint32_t len = load_be32(all->in);
	assert_int_equal(all->in_len, len + 4);
	assert_int_equal(len % 8, 0);
	assert_true(len / 8 > 40);
	for (uint32_t at = 4; at < len + 4; at += 8) {
		const uint8_t *d = all->in + at;
		bool has_sa = d[5] & 0x01;
		uint16_t sa = load_be16(d + 2);
		assert_int_equal(d[5] & 0x02, 0); /* no timeouts asked for */
		assert_true(has_sa || sa == 0);
		struct fx_cmd *c = rsoc(n, 0x01, d[0], sa);
		if (has_sa)
			assert_bad_cdb(c, 2);
		else
			fx_assert_good(c);
		struct fx_cmd *e = rsoc(n, 0x02, d[0], sa);
		if (has_sa)
			fx_assert_good(e);
		else
			assert_bad_cdb(e, 2);
		struct fx_cmd *one = rsoc(n, 0x03, d[0], sa);
		fx_assert_good(one);
		assert_int_equal(one->in[1], 0x03);
		assert_int_equal(load_be16(one->in + 2), load_be16(d + 6));
		assert_int_equal(one->in_len, 4u + load_be16(d + 6));
		assert_int_equal(one->in[4], d[0]);
		fx_cmd_free(c);
		fx_cmd_free(e);
		fx_cmd_free(one);
	}
	fx_down(&f);
}

static void
timeouts_come_with_rctd(void **state)
{
	(void)state;
	struct fx_nexus *n = up();
	struct fx_cmd *all = rsoc(n, 0x80, 0, 0);
	uint32_t len = load_be32(all->in);
	assert_int_equal(len % 20, 0);
	for (uint32_t at = 4; at < len + 4; at += 20) {
		assert_int_equal(all->in[at + 5] & 0x02, 0x02);
		assert_int_equal(load_be16(all->in + at + 8), 10);
		assert_true(load_be32(all->in + at + 16) > 0);
	}
	static const uint8_t want[] = {0x00, 0x83, 0x00, 0x06, 0x12, 0x01, 0xff, 0xff, 0xff, 0x00,
	    0x00, 0x0a, 0x00, 0x00, 0, 0, 0, 0, 0, 0, 0, 10};
	assert_bytes(rsoc(n, 0x81, 0x12, 0), want, sizeof want);
	fx_down(&f);
}

/* SPC-4 6.35.3: the example in the standard. */
static void
usage_data_carries_the_service_action(void **state)
{
	(void)state;
	struct fx_nexus *n = up();
	static const uint8_t want[] = {0x00, 0x03, 0x00, 0x0c, 0xa3, 0x0c, 0x87, 0xff, 0xff, 0xff,
	    0xff, 0xff, 0xff, 0xff, 0x00, 0x00};
	assert_bytes(rsoc(n, 0x02, 0xa3, 0x0c), want, sizeof want);
	fx_down(&f);
}

static void
unknown_commands_are_not_supported(void **state)
{
	(void)state;
	struct fx_nexus *n = up();
	static const uint8_t want[] = {0x00, 0x01, 0x00, 0x00};
	assert_bytes(rsoc(n, 0x01, 0xff, 0), want, sizeof want);
	assert_bytes(rsoc(n, 0x02, 0xa3, 0x1f), want, sizeof want);
	assert_bytes(rsoc(n, 0x03, 0x12, 5), want, sizeof want);
	assert_bad_cdb(rsoc(n, 0x04, 0x12, 0), 2);
	fx_down(&f);
}

static void
commands_of_thin_units_are_absent_elsewhere(void **state)
{
	(void)state;
	struct fx_nexus *n = up(); /* not thin */
	struct fx_cmd *c = rsoc(n, 0x01, 0x42, 0);
	fx_assert_good(c);
	assert_int_equal(c->in[1], 0x01);
	fx_down(&f);
	fx_up(&f, 1, 5);
	struct scsi_lu_args a = {.thin = true};
	fx_add_lu(&f, "ram:", &a);
	n = fx_login(&f, 0, "iqn.test:a");
	c = rsoc(n, 0x01, 0x42, 0);
	assert_int_equal(c->in[1], 0x03);
	fx_down(&f);
}

static void
task_management_functions_are_listed(void **state)
{
	(void)state;
	struct fx_nexus *n = up();
	static const uint8_t want[16] = {0xde, 0x07, 0x00, 0x0c};
	assert_bytes(in12(n, 0, 0xa3, 0x0d, 0x80, 0, 0, 255), want, sizeof want);
	static const uint8_t brief[4] = {0xde, 0x07, 0x00, 0x00};
	assert_bytes(in12(n, 0, 0xa3, 0x0d, 0x00, 0, 0, 255), brief, sizeof brief);
	assert_bad_cdb(in12(n, 0, 0xa3, 0x0d, 0x00, 0, 0, 3), 6);
	fx_down(&f);
}

/* An initiator is told of what its transport can carry. */
static void
functions_that_the_transport_lacks_are_not_listed(void **state)
{
	(void)state;
	struct fx_nexus *n = up();
	n->n->tmfs = 1u << SCSI_TMF_ABORT_TASK | 1u << SCSI_TMF_LU_RESET;
	static const uint8_t want[4] = {0x88, 0x00, 0x00, 0x00};
	assert_bytes(in12(n, 0, 0xa3, 0x0d, 0x00, 0, 0, 255), want, sizeof want);
	fx_down(&f);
}

/* ---- target port groups ------------------------------------------------------------------------- */

static void
groups_list_their_ports(void **state)
{
	(void)state;
	fx_up(&f, 1, 5);
	fx_add_lu(&f, "ram:", NULL);
	assert_int_equal(scsi_core_add_port(f.core, 2, 9, "iqn.t", "iqn.t,t,0x0002"), 0);
	assert_int_equal(scsi_core_add_port(f.core, 3, 1, "iqn.t", "iqn.t,t,0x0003"), 0);
	struct fx_nexus *n = fx_login(&f, 0, "iqn.test:a");
	static const uint8_t want[] = {0, 0, 0, 28, 0x00, 0x01, 0x00, 0x01, 0, 0, 0, 2, 0, 0, 0, 1,
	    0, 0, 0, 3, 0x00, 0x01, 0x00, 0x09, 0, 0, 0, 1, 0, 0, 0, 2};
	assert_bytes(in12(n, 0, 0xa3, 0x0a, 0, 0, 0, 255), want, sizeof want);
	struct fx_cmd *c = in12(n, 0, 0xa3, 0x2a, 0, 0, 0, 255); /* extended header */
	fx_assert_good(c);
	assert_int_equal(load_be32(c->in), 32);
	assert_int_equal(c->in[4], 0x10);
	assert_memory_equal(c->in + 8, want + 4, 28);
	assert_bad_cdb(in12(n, 0, 0xa3, 0x4a, 0, 0, 0, 255), 1);
	fx_down(&f);
}

static struct fx_cmd *
stpg(struct fx_nexus *n, const void *list, uint32_t len)
{
	uint8_t cdb[12] = {0xa4, 0x0a};
	store_be32(cdb + 6, len);
	return fx_exec(n, 0, cdb, sizeof cdb, list, len, 0);
}

static void
only_the_present_state_can_be_set(void **state)
{
	(void)state;
	struct fx_nexus *n = up();
	uint8_t list[8] = {0, 0, 0, 0, 0x00, 0, 0x00, 0x01};
	int bit;
	struct fx_cmd *c = stpg(n, list, sizeof list);
	fx_assert_good(c);
	list[4] = 0x02; /* standby */
	c = stpg(n, list, sizeof list);
	fx_assert_sense(c, 5, 0x26, 0x00);
	assert_int_equal(fx_sense_field(c, &bit), 4);
	list[4] = 0x00;
	list[7] = 0x07; /* no such group */
	c = stpg(n, list, sizeof list);
	fx_assert_sense(c, 5, 0x26, 0x00);
	assert_int_equal(fx_sense_field(c, &bit), 6);
	c = stpg(n, list, 7);
	fx_assert_sense(c, 5, 0x1a, 0x00);
	c = stpg(n, NULL, 0);
	fx_assert_good(c);
	fx_down(&f);
}

/* ---- LOG SENSE ---------------------------------------------------------------------------------- */

static struct fx_cmd *
log_sense(struct fx_nexus *n, uint8_t page, uint8_t subpage, uint16_t first)
{
	uint8_t cdb[10] = {0x4d, 0x00, page, subpage};
	store_be16(cdb + 5, first);
	store_be16(cdb + 7, 512);
	return fx_exec(n, 0, cdb, sizeof cdb, NULL, 0, 512);
}

static void
log_pages_and_subpages_are_listed(void **state)
{
	(void)state;
	struct fx_nexus *n = up();
	static const uint8_t pages[] = {0x00, 0x00, 0x00, 0x03, 0x00, 0x19, 0x2f};
	static const uint8_t subpages[] = {0x40, 0xff, 0x00, 0x0c, 0x00, 0x00, 0x00, 0xff, 0x19,
	    0x00, 0x19, 0xff, 0x2f, 0x00, 0x2f, 0xff};
	static const uint8_t own[] = {0x6f, 0xff, 0x00, 0x04, 0x2f, 0x00, 0x2f, 0xff};
	assert_bytes(log_sense(n, 0x40, 0, 0), pages, sizeof pages);
	assert_bytes(log_sense(n, 0x40, 0xff, 0), subpages, sizeof subpages);
	assert_bytes(log_sense(n, 0x40 | 0x2f, 0xff, 0), own, sizeof own);
	fx_down(&f);
}

static void
statistics_count_what_was_done(void **state)
{
	(void)state;
	struct fx_nexus *n = up();
	uint8_t data[4 * 512] = {1};
	struct fx_cmd *c = fx_write16(n, 0, 8, 4, data);
	fx_assert_good(c);
	c = fx_read16(n, 0, 8, 2);
	fx_assert_good(c);
	c = fx_read16(n, 0, 0, 1);
	fx_assert_good(c);
	c = log_sense(n, 0x40 | 0x19, 0, 0);
	fx_assert_good(c);
	assert_int_equal(c->in_len, 4 + 68 + 12);
	static const uint8_t head[] = {0x99, 0x00, 0x00, 80, 0x00, 0x01, 0x03, 0x40};
	assert_memory_equal(c->in, head, sizeof head);
	assert_int_equal(load_be64(c->in + 8), 2);  /* reads */
	assert_int_equal(load_be64(c->in + 16), 1); /* writes */
	assert_int_equal(load_be64(c->in + 24), 4); /* blocks received */
	assert_int_equal(load_be64(c->in + 32), 3); /* blocks sent */
	fx_down(&f);
}

static void
parameter_pointer_skips_parameters(void **state)
{
	(void)state;
	struct fx_nexus *n = up();
	struct fx_cmd *c = log_sense(n, 0x40 | 0x19, 0, 2);
	fx_assert_good(c);
	assert_int_equal(load_be16(c->in + 4), 3);
	assert_bad_cdb(log_sense(n, 0x40 | 0x19, 0, 4), 5);
	assert_bad_cdb(log_sense(n, 0x40, 0, 1), 5);
	fx_down(&f);
}

static void
wrong_log_pages_are_refused(void **state)
{
	(void)state;
	struct fx_nexus *n = up();
	assert_bad_cdb(log_sense(n, 0x40 | 0x0d, 0, 0), 2);
	assert_bad_cdb(log_sense(n, 0x40 | 0x19, 0x20, 0), 3);
	assert_bad_cdb(log_sense(n, 0x19, 0, 0), 2); /* thresholds: there are none */
	fx_down(&f);
}

static void
no_informational_exception_is_reported(void **state)
{
	(void)state;
	struct fx_nexus *n = up();
	static const uint8_t want[] = {0xaf, 0x00, 0x00, 0x08, 0, 0, 0x03, 0x04, 0, 0, 0xff, 0};
	assert_bytes(log_sense(n, 0x40 | 0x2f, 0, 0), want, sizeof want);
	fx_down(&f);
}

/* ---- REQUEST SENSE, SEND DIAGNOSTIC ---------------------------------------------------------------- */

static struct fx_cmd *
request_sense(struct fx_nexus *n, uint16_t lun, bool desc)
{
	const uint8_t cdb[6] = {0x03, desc, 0, 0, 252, 0};
	return fx_exec(n, lun, cdb, sizeof cdb, NULL, 0, 252);
}

static void
request_sense_takes_the_unit_attention(void **state)
{
	(void)state;
	fx_up(&f, 1, 5);
	fx_add_lu(&f, "ram:", NULL);
	struct fx_nexus *n = fx_login_port(&f, 0, "iqn.test:a", 1, true);
	struct fx_cmd *c = request_sense(n, 0, false);
	fx_assert_good(c);
	assert_int_equal(c->in_len, 18);
	assert_int_equal(c->in[2], 0x06);
	assert_int_equal(c->in[12], 0x29);
	c = request_sense(n, 0, false);
	assert_int_equal(c->in[2], 0x00);
	c = fx_tur(n, 0);
	fx_assert_good(c);
	fx_down(&f);
}

static void
request_sense_has_both_formats(void **state)
{
	(void)state;
	struct fx_nexus *n = up();
	static const uint8_t desc[8] = {0x72};
	static const uint8_t fixed[18] = {0x70, 0, 0, 0, 0, 0, 0, 10};
	assert_bytes(request_sense(n, 0, true), desc, sizeof desc);
	assert_bytes(request_sense(n, 0, false), fixed, sizeof fixed);
	fx_down(&f);
}

static void
request_sense_of_an_unmapped_lun_says_so(void **state)
{
	(void)state;
	struct fx_nexus *n = up();
	struct fx_cmd *c = request_sense(n, 9, false);
	fx_assert_good(c);
	assert_int_equal(c->in[2], 0x05);
	assert_int_equal(c->in[12], 0x25);
	fx_down(&f);
}

static struct fx_cmd *
send_diagnostic(struct fx_nexus *n, uint8_t b1, uint16_t len)
{
	uint8_t cdb[6] = {0x1d, b1};
	store_be16(cdb + 3, len);
	return fx_exec(n, 0, cdb, sizeof cdb, NULL, 0, 0);
}

static void
only_the_default_self_test_is_there(void **state)
{
	(void)state;
	struct fx_nexus *n = up();
	struct fx_cmd *c = send_diagnostic(n, 0x04, 0);
	fx_assert_good(c);
	c = send_diagnostic(n, 0x00, 0);
	fx_assert_good(c);
	assert_bad_cdb(send_diagnostic(n, 0x20, 0), 1);
	assert_bad_cdb(send_diagnostic(n, 0x10, 0), 1);
	assert_bad_cdb(send_diagnostic(n, 0x00, 8), 3);
	fx_down(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(luns_are_sorted_and_encoded),
	    cmocka_unit_test(well_known_unit_is_listed_when_asked_for),
	    cmocka_unit_test(there_are_no_administrative_units),
	    cmocka_unit_test(report_luns_needs_room_for_one),
	    cmocka_unit_test(report_luns_works_on_an_unmapped_lun),
	    cmocka_unit_test(report_luns_clears_luns_changed),
	    cmocka_unit_test(each_listed_command_describes_itself),
	    cmocka_unit_test(timeouts_come_with_rctd),
	    cmocka_unit_test(usage_data_carries_the_service_action),
	    cmocka_unit_test(unknown_commands_are_not_supported),
	    cmocka_unit_test(commands_of_thin_units_are_absent_elsewhere),
	    cmocka_unit_test(task_management_functions_are_listed),
	    cmocka_unit_test(functions_that_the_transport_lacks_are_not_listed),
	    cmocka_unit_test(groups_list_their_ports),
	    cmocka_unit_test(only_the_present_state_can_be_set),
	    cmocka_unit_test(log_pages_and_subpages_are_listed),
	    cmocka_unit_test(statistics_count_what_was_done),
	    cmocka_unit_test(parameter_pointer_skips_parameters),
	    cmocka_unit_test(wrong_log_pages_are_refused),
	    cmocka_unit_test(no_informational_exception_is_reported),
	    cmocka_unit_test(request_sense_takes_the_unit_attention),
	    cmocka_unit_test(request_sense_has_both_formats),
	    cmocka_unit_test(request_sense_of_an_unmapped_lun_says_so),
	    cmocka_unit_test(only_the_default_self_test_is_there),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
