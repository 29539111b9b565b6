/* SPDX-License-Identifier: BSD-2-Clause */
/* The engine with the real opcode tables: the paths that every initiator takes first. */
#include "tests/unit/scsi/scsi_fixture.h"

#include <errno.h>
#include <string.h>

#include "scsi/scsi_priv.h"

static int
up(void **state)
{
	static struct fx f;
	fx_up(&f, 1, 7);
	fx_add_lu(&f, "ram:", NULL);
	*state = &f;
	return 0;
}

static int
down(void **state)
{
	fx_down(*state);
	return 0;
}

static void
first_command_gets_power_on_once(void **state)
{
	struct fx_nexus *n = fx_login_port(*state, 0, "iqn.a", 1, true);
	fx_assert_sense(fx_tur(n, 0), 0x6, 0x29, 0x00);
	fx_assert_good(fx_tur(n, 0));
}

static void
data_written_is_read_back(void **state)
{
	struct fx_nexus *n = fx_login(*state, 0, "iqn.a");
	uint8_t buf[8 * 512];
	for (size_t i = 0; i < sizeof buf; i++)
		buf[i] = (uint8_t)(i * 7 + i / 512);
	fx_assert_good(fx_write16(n, 0, 100, 8, buf));
	struct fx_cmd *c = fx_read16(n, 0, 100, 8);
	fx_assert_good(c);
	assert_int_equal(c->in_len, sizeof buf);
	assert_memory_equal(c->in, buf, sizeof buf);
	struct scsi_lu_stats st;
	scsi_lu_get_stats(((struct fx *)*state)->lus[0], &st);
	assert_int_equal(st.read_bytes, sizeof buf);
	assert_int_equal(st.write_bytes, sizeof buf);
}

static void
short_write_writes_whole_blocks_only(void **state)
{
	struct fx_nexus *n = fx_login(*state, 0, "iqn.a");
	uint8_t a[1024], b[1024];
	memset(a, 'a', sizeof a);
	memset(b, 'b', sizeof b);
	fx_assert_good(fx_write16(n, 0, 0, 2, a));
	/* Two blocks in the CDB; EDTL 700: one block is written, 324 bytes are residual overflow. */
	uint8_t cdb[16] = {0x8a, [13] = 2};
	struct fx_cmd *c = fx_exec(n, 0, cdb, 16, b, 700, 0);
	fx_assert_good(c);
	assert_int_equal(c->xfer_bytes, 1024);
	assert_int_equal(c->data_out_len, 512);
	c = fx_read16(n, 0, 0, 2);
	assert_memory_equal(c->in, b, 512);
	assert_memory_equal(c->in + 512, a, 512);
	/* EDTL 0 and 200: nothing is written. */
	cdb[13] = 1;
	c = fx_exec(n, 0, cdb, 16, a, 0, 0);
	fx_assert_good(c);
	assert_int_equal(c->xfer_bytes, 512);
	c = fx_exec(n, 0, cdb, 16, a, 200, 0);
	fx_assert_good(c);
	assert_int_equal(c->xfer_bytes, 512);
	assert_memory_equal(fx_read16(n, 0, 0, 1)->in, b, 512);
	/* EDTL two blocks, CDB one. */
	c = fx_exec(n, 0, cdb, 16, a, 1024, 0);
	fx_assert_good(c);
	assert_int_equal(c->xfer_bytes, 512);
	assert_int_equal(c->data_out_len, 512);
}

static void
short_read_gives_what_fits(void **state)
{
	struct fx_nexus *n = fx_login(*state, 0, "iqn.a");
	uint8_t cdb[16] = {0x88, [13] = 1};
	static const size_t caps[] = {0, 200, 512, 10000};
	for (size_t i = 0; i < 4; i++) {
		struct fx_cmd *c = fx_exec(n, 0, cdb, 16, NULL, 0, caps[i]);
		fx_assert_good(c);
		assert_int_equal(c->xfer_bytes, 512);
		assert_int_equal(c->in_len, caps[i] < 512 ? caps[i] : 512);
	}
}

static void
unmapped_lun(void **state)
{
	struct fx_nexus *n = fx_login(*state, 0, "iqn.a");
	fx_assert_sense(fx_tur(n, 5), 0x5, 0x25, 0x00);
	uint8_t inq[6] = {0x12, 0, 0, 0, 96, 0};
	struct fx_cmd *c = fx_exec(n, 5, inq, 6, NULL, 0, 96);
	fx_assert_good(c);
	assert_int_equal(c->in[0] >> 5, 3);
	fx_assert_sense(fx_read16(n, 300, 0, 1), 0x5, 0x25, 0x00);
}

static struct fx_cmd *
exec_wlun(struct fx_nexus *n, const uint8_t *cdb, size_t in_cap)
{
	struct fx_cmd *c = fx_cmd(n, 0, cdb, 6, NULL, 0, in_cap);
	memcpy(c->task.lun, (uint8_t[8]){0xc1, 0x01}, 8);
	fx_start(c);
	fx_run(n->f);
	return c;
}

static void
report_luns_well_known_unit(void **state)
{
	struct fx_nexus *n = fx_login(*state, 0, "iqn.a");
	fx_assert_good(exec_wlun(n, (uint8_t[6]){0x00}, 0));
	fx_assert_good(exec_wlun(n, (uint8_t[6]){0x12, 0, 0, 0, 36, 0}, 36));
	fx_assert_good(exec_wlun(n, (uint8_t[6]){0x03, 0, 0, 0, 18, 0}, 18));
	fx_assert_sense(exec_wlun(n, (uint8_t[6]){0x08, 0, 0, 0, 1, 0}, 512), 0x5, 0x25, 0x00);
}

static void
luns_are_decoded_in_both_methods(void **state)
{
	(void)state;
	static const struct {
		uint8_t lun[8];
		int number;
	} rows[] = {
	    {{0, 0}, 0},
	    {{0, 255}, 255},
	    {{0x40, 0}, 0},
	    {{0x41, 4}, 260},
	    {{0x7f, 0xff}, SCSI_LUN_MAX},
	    {{0x01, 0}, -1},    /* bus 1 */
	    {{0x80, 1}, -1},    /* logical unit addressing */
	    {{0xc1, 0x01}, -1}, /* well known */
	    {{0, 1, 0, 1}, -1}, /* a second level */
	    {{0, 0, 0, 0, 0, 0, 0, 1}, -1},
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		uint16_t got = 0xffff;
		assert_int_equal(scsi_lun_decode(rows[i].lun, &got), rows[i].number >= 0);
		if (rows[i].number < 0)
			continue;
		assert_int_equal(got, rows[i].number);
		uint8_t enc[8];
		scsi_lun_encode(got, enc);
		assert_true(scsi_lun_decode(enc, &got));
		assert_int_equal(got, rows[i].number);
	}
}

static void
create_bad_views(void *ctx)
{
	struct fx *f = ctx;
	struct scsi_view *v;
	struct scsi_view_entry e[3] = {
	    {.lun = 9, .lu = f->lus[0]}, {.lun = 1, .lu = f->lus[1]}, {.lun = 9, .lu = f->lus[2]}};
	assert_int_equal(scsi_view_create(f->core, e, 3, &v), -EEXIST);
	e[2].lun = 3;
	e[2].lu = f->lus[0];
	assert_int_equal(scsi_view_create(f->core, e, 3, &v), -EEXIST);
	e[2].lu = f->lus[2];
	assert_int_equal(scsi_view_create(f->core, e, 3, &v), 0);
	assert_int_equal(scsi_view_count(v), 3);
	assert_int_equal(scsi_view_entry(v, 0)->lun, 1);
	assert_int_equal(scsi_view_entry(v, 2)->lun, 9);
	scsi_view_destroy(v);
}

static void
views_refuse_numbers_and_units_twice(void **state)
{
	fx_add_lu(*state, "ram:", NULL);
	fx_add_lu(*state, "ram:", NULL);
	fx_on_loop(*state, 0, create_bad_views, *state);
}

static void
create_bad_lus(void *ctx)
{
	struct fx *f = ctx;
	struct scsi_lu *lu;
	struct scsi_lu_args a = {.name = "x",
	    .uuid = {9},
	    .block_bytes = 512,
	    .physical_exponent = 0xff,
	    .blk = f->blks[0]};
	memcpy(a.uuid, f->lus[0]->id.uuid, 16);
	assert_int_equal(scsi_lu_create(f->core, &a, &lu), -EEXIST);
	a.uuid[0] ^= 1;
	a.serial = f->lus[0]->id.serial;
	assert_int_equal(scsi_lu_create(f->core, &a, &lu), -EEXIST);
	a.serial = NULL;
	memcpy(a.naa, f->lus[0]->id.naa, 16);
	assert_int_equal(scsi_lu_create(f->core, &a, &lu), -EEXIST);
	memset(a.naa, 0, 16);
	a.block_bytes = 1024;
	assert_int_equal(scsi_lu_create(f->core, &a, &lu), -EINVAL);
	a.block_bytes = 512;
	a.vendor = "NINECHARS";
	assert_int_equal(scsi_lu_create(f->core, &a, &lu), -EINVAL);
}

static void
units_refuse_doubled_identities_and_bad_sizes(void **state)
{
	fx_on_loop(*state, 0, create_bad_lus, *state);
}

static void
change_ports(void *ctx)
{
	struct fx *f = ctx;
	assert_int_equal(scsi_core_add_port(f->core, 1, 2, "d", "p"), -EEXIST);
	assert_int_equal(scsi_core_add_port(f->core, 2, 2, "d", "p"), 0);
	scsi_core_remove_port(f->core, 1);
	scsi_core_remove_port(f->core, 77);
}

static void
check_ports(void *ctx)
{
	struct fx *f = ctx;
	const struct list *ports = scsi_core_ports(f->core);
	assert_ptr_equal(ports->next, ports->prev);
	assert_int_equal(container_of(ports->next, struct scsi_port, link)->rel_port_id, 2);
}

static void
ports_are_copied_to_every_loop(void **state)
{
	(void)state;
	struct fx f;
	fx_up(&f, 3, 3);
	fx_on_loop(&f, 0, change_ports, &f);
	fx_run(&f);
	for (unsigned i = 0; i < 3; i++)
		fx_on_loop(&f, i, check_ports, &f);
	fx_down(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(first_command_gets_power_on_once, up, down),
	    cmocka_unit_test_setup_teardown(data_written_is_read_back, up, down),
	    cmocka_unit_test_setup_teardown(short_write_writes_whole_blocks_only, up, down),
	    cmocka_unit_test_setup_teardown(short_read_gives_what_fits, up, down),
	    cmocka_unit_test_setup_teardown(unmapped_lun, up, down),
	    cmocka_unit_test_setup_teardown(report_luns_well_known_unit, up, down),
	    cmocka_unit_test_setup_teardown(views_refuse_numbers_and_units_twice, up, down),
	    cmocka_unit_test_setup_teardown(
	        units_refuse_doubled_identities_and_bad_sizes, up, down),
	    cmocka_unit_test(luns_are_decoded_in_both_methods),
	    cmocka_unit_test(ports_are_copied_to_every_loop),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
