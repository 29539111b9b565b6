/* The engine with the real opcode tables: the paths that every initiator takes first. */
#include "tests/unit/scsi/scsi_fixture.h"

#include <string.h>

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

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(first_command_gets_power_on_once, up, down),
	    cmocka_unit_test_setup_teardown(data_written_is_read_back, up, down),
	    cmocka_unit_test_setup_teardown(short_write_writes_whole_blocks_only, up, down),
	    cmocka_unit_test_setup_teardown(short_read_gives_what_fits, up, down),
	    cmocka_unit_test_setup_teardown(unmapped_lun, up, down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
