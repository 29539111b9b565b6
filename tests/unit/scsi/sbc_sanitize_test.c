/* SPDX-License-Identifier: BSD-2-Clause */
/* SANITIZE and FORMAT UNIT */
#include <errno.h>

#include "scsi/sbc.h"
#include "store/fault.h"
#include "tests/unit/scsi/sbc_test.h"

#define BLOCKS (FX_LU_BYTES / BS)
#define SANITIZE 0x48
#define OVERWRITE 0x01
#define BLOCK_ERASE 0x02
#define CRYPTO_ERASE 0x03
#define EXIT_FAILURE_MODE 0x1f
#define IMMED 0x80
#define AUSE 0x20

static struct fx f;
static struct fx_nexus *n, *other;
static uint8_t list[4 + BS + 8];

static int
up_on(const char *spec)
{
	fx_up(&f, 2, 41);
	fx_add_lu(&f, spec, &(struct scsi_lu_args){.thin = true, .sanitize = true});
	n = fx_login(&f, 0, "iqn.a");
	other = fx_login(&f, 1, "iqn.b");
	return 0;
}

static int
up(void **state)
{
	(void)state;
	return up_on("fault:1::ram:");
}

/* 16 pieces of 1 MiB at 50 ms each: 0.8 s a pass. */
static int
up_slow(void **state)
{
	(void)state;
	return up_on("fault:1:delay_us=50000:ram:");
}

static int
down(void **state)
{
	(void)state;
	fx_down(&f);
	return 0;
}

static size_t
overwrite_list(uint8_t byte0, uint16_t pattern_bytes, uint8_t byte)
{
	memset(list, 0, sizeof list);
	list[0] = byte0;
	store_be16(list + 2, pattern_bytes);
	memset(list + 4, byte, pattern_bytes < BS ? pattern_bytes : BS);
	return 4u + pattern_bytes;
}

static struct cdb
cdb_sanitize(uint8_t byte1, size_t len)
{
	struct cdb c = {.b = {SANITIZE, byte1}, .len = 10};
	store_be16(c.b + 7, (uint16_t)len);
	return c;
}

static struct fx_cmd *
start(struct fx_nexus *from, struct cdb c, const void *out, size_t out_len)
{
	struct fx_cmd *cmd = fx_cmd(from, 0, c.b, c.len, out, out_len, 0);
	fx_start(cmd);
	return cmd;
}

/* Lets the world's clock go on by `ms`. */
static void
pass_ms(uint64_t ms)
{
	loop_sim_run(f.world, loop_sim_now_ns(f.world) + ms * 1000000u, 1000000);
}

/* A command that must be answered while something else goes on: no waiting for rest. */
static struct fx_cmd *
soon(struct fx_nexus *from, struct cdb c, size_t in_cap)
{
	struct fx_cmd *cmd = fx_cmd(from, 0, c.b, c.len, NULL, 0, in_cap);
	fx_start(cmd);
	pass_ms(5);
	assert_true(cmd->done);
	return cmd;
}

static const struct cdb tur = {.len = 6};

static int
progress_of(const struct fx_cmd *c)
{
	assert_true(c->sense_len >= 18 && (c->sense[15] & 0x80) != 0);
	return load_be16(c->sense + 16);
}

static void
overwrite_fills_the_unit_with_the_pattern(void **state)
{
	(void)state;
	fill(n, 0, 256, 'a');
	fill(n, BLOCKS - 256, 256, 'a');
	const size_t len = overwrite_list(1, BS, 0xaa);
	fx_assert_good(run(n, cdb_sanitize(OVERWRITE, len), list, len, 0));
	for (uint32_t lba = 0; lba < BLOCKS; lba += 4096)
		assert_filled(n, lba, 4096, 0xaa);
	fx_assert_good(fx_tur(other, 0));
}

static void
short_patterns_are_repeated_in_each_block(void **state)
{
	(void)state;
	const size_t len = overwrite_list(1, 3, 0);
	memcpy(list + 4, "abc", 3);
	fx_assert_good(run(n, cdb_sanitize(OVERWRITE, len), list, len, 0));
	struct fx_cmd *c = fx_read16(n, 0, BLOCKS - 2, 2);
	for (size_t i = 0; i < 2 * BS; i++)
		assert_int_equal(c->in[i], "abc"[i % BS % 3]);
}

static void
inverted_passes_alternate(void **state)
{
	(void)state;
	struct blk_stats before, after;
	blk_get_stats(f.blks[0], &before);
	size_t len = overwrite_list(0x82, 4, 0x0f);
	fx_assert_good(run(n, cdb_sanitize(OVERWRITE, len), list, len, 0));
	blk_get_stats(f.blks[0], &after);
	assert_int_equal(after.bytes[BLK_WRITE] - before.bytes[BLK_WRITE], 2 * FX_LU_BYTES);
	assert_filled(n, 0, 4096, 0xf0);
	len = overwrite_list(0x83, 4, 0x0f);
	fx_assert_good(run(n, cdb_sanitize(OVERWRITE, len), list, len, 0));
	assert_filled(n, 0, 4096, 0x0f);
}

static void
block_erase_overwrites_and_unmaps(void **state)
{
	(void)state;
	fill(n, 0, 256, 'a');
	struct blk_stats before, after;
	blk_get_stats(f.blks[0], &before);
	fx_assert_good(run(n, cdb_sanitize(BLOCK_ERASE, 0), NULL, 0, 0));
	blk_get_stats(f.blks[0], &after);
	assert_int_equal(after.bytes[BLK_WRITE] - before.bytes[BLK_WRITE], FX_LU_BYTES);
	assert_filled(n, 0, 4096, 0);
	struct fx_cmd *c = run(n, cdb16(0x9e, 0x12, 0, 256), NULL, 0, 256);
	fx_assert_good(c);
	assert_int_equal(c->in_len, 24);
	assert_int_equal(load_be32(c->in + 16), BLOCKS);
	assert_int_equal(c->in[20], 1);
}

static void
parameter_lists_are_checked(void **state)
{
	(void)state;
	fill(n, 0, 256, 'a');
	size_t len = overwrite_list(1, BS, 0xaa);
	for (size_t l = 0; l < 5; l++)
		assert_bad_field(run(n, cdb_sanitize(OVERWRITE, l), list, l, 0), 7, -1);
	assert_bad_field(run(n, cdb_sanitize(OVERWRITE, BS + 5), list, BS + 5, 0), 7, -1);
	int bit;
	len = overwrite_list(0, BS, 0); /* OVERWRITE COUNT 0 */
	struct fx_cmd *c = run(n, cdb_sanitize(OVERWRITE, len), list, len, 0);
	assert_sense(c, 5, 0x26, 0x00);
	assert_int_equal(fx_sense_field(c, &bit), 0);
	overwrite_list(1, 0, 0);
	assert_sense(run(n, cdb_sanitize(OVERWRITE, 4 + BS), list, 4 + BS, 0), 5, 0x26, 0x00);
	overwrite_list(1, BS + 4, 0);
	assert_sense(run(n, cdb_sanitize(OVERWRITE, 4 + BS), list, 4 + BS, 0), 5, 0x26, 0x00);
	overwrite_list(0x41, BS, 0); /* TEST */
	assert_sense(run(n, cdb_sanitize(OVERWRITE, 4 + BS), list, 4 + BS, 0), 5, 0x26, 0x00);
	overwrite_list(1, BS, 0);
	assert_sense(run(n, cdb_sanitize(OVERWRITE, 4 + BS), list, 10, 0), 5, 0x1a, 0x00);
	assert_bad_field(run(n, cdb_sanitize(BLOCK_ERASE, 8), list, 8, 0), 7, -1);
	assert_bad_field(run(n, cdb_sanitize(EXIT_FAILURE_MODE, 8), list, 8, 0), 7, -1);
	assert_filled(n, 0, 256, 'a');
}

static void
crypto_erase_and_reserved_bits_are_refused(void **state)
{
	(void)state;
	assert_sense(run(n, cdb_sanitize(CRYPTO_ERASE, 0), NULL, 0, 0), 5, 0x24, 0x00);
	assert_sense(run(n, cdb_sanitize(0, 0), NULL, 0, 0), 5, 0x24, 0x00);
	for (unsigned i = 2; i < 7; i++) {
		struct cdb c = cdb_sanitize(BLOCK_ERASE, 0);
		c.b[i] = 1;
		assert_bad_field(run(n, c, NULL, 0, 0), (int)i, 0);
	}
	assert_bad_field(run(n, cdb_sanitize(BLOCK_ERASE | 0x40, 0), NULL, 0, 0), 1, 6);
}

static void
units_without_the_option_have_no_sanitize(void **state)
{
	(void)state;
	fx_up(&f, 1, 42);
	fx_add_lu(&f, "ram:", &(struct scsi_lu_args){.thin = true});
	fx_add_lu(&f, "ram:", &(struct scsi_lu_args){.sanitize = true});
	n = fx_login(&f, 0, "iqn.a");
	assert_sense(run(n, cdb_sanitize(BLOCK_ERASE, 0), NULL, 0, 0), 5, 0x20, 0x00);
	/* Not thin: nothing could be unmapped. */
	const struct cdb e = cdb_sanitize(BLOCK_ERASE, 0);
	assert_sense(fx_exec(n, 1, e.b, e.len, NULL, 0, 0), 5, 0x20, 0x00);
	const size_t len = overwrite_list(1, 1, 0);
	const struct cdb o = cdb_sanitize(OVERWRITE, len);
	fx_assert_good(fx_exec(n, 1, o.b, o.len, list, len, 0));
	fx_down(&f);
}

static void
others_are_told_the_progress_on_all_loops(void **state)
{
	(void)state;
	const size_t len = overwrite_list(2, 1, 0x77);
	struct fx_cmd *s = start(n, cdb_sanitize(OVERWRITE, len), list, len);
	pass_ms(30);
	int last = 0;
	for (unsigned i = 0; i < 5; i++) {
		assert_false(s->done);
		struct fx_cmd *c = soon(i % 2 == 0 ? other : n, tur, 0);
		fx_assert_sense(c, 2, 0x04, 0x1b);
		assert_true(progress_of(c) >= last);
		last = progress_of(c);
		assert_int_equal(
		    fx_sense(soon(other, cdb16(0x88, 0, 0, 1), BS)), FX_SENSE(2, 0x04, 0x1b));
		assert_int_equal(
		    fx_sense(soon(n, (struct cdb){.b = {0x1b, 0, 0, 0, 1}, .len = 6}, 0)),
		    FX_SENSE(2, 0x04, 0x1b));
		assert_int_equal(fx_sense(soon(other, cdb_sanitize(BLOCK_ERASE, 0), 0)),
		    FX_SENSE(2, 0x04, 0x1b));
		pass_ms(200);
	}
	assert_true(last > 16384);
	/* INQUIRY works, REQUEST SENSE reports it as data. */
	fx_assert_good(soon(other, (struct cdb){.b = {0x12, 0, 0, 0, 36}, .len = 6}, 36));
	struct fx_cmd *rs = soon(other, (struct cdb){.b = {0x03, 0, 0, 0, 18}, .len = 6}, 18);
	fx_assert_good(rs);
	assert_int_equal(rs->in[2], 2);
	assert_int_equal(load_be16(rs->in + 12), 0x041b);
	fx_run(&f);
	fx_assert_good(s);
	fx_assert_good(fx_tur(other, 0));
	assert_filled(n, 0, 4096, 0x77);
}

static void
immed_answers_at_once(void **state)
{
	(void)state;
	struct fx_cmd *s = start(other, cdb_sanitize(BLOCK_ERASE | IMMED, 0), NULL, 0);
	pass_ms(20);
	assert_true(s->done);
	fx_assert_good(s);
	assert_int_equal(fx_sense(soon(n, tur, 0)), FX_SENSE(2, 0x04, 0x1b));
	fx_run(&f);
	fx_assert_good(fx_tur(n, 0));
	assert_filled(n, 0, 4096, 0);
}

static void
it_survives_the_loss_of_its_nexus(void **state)
{
	(void)state;
	const size_t len = overwrite_list(3, 1, 0x5a);
	struct fx_cmd *s = start(other, cdb_sanitize(OVERWRITE, len), list, len);
	pass_ms(60);
	assert_false(s->done);
	fx_logout_start(other);
	pass_ms(60);
	assert_true(other->gone);
	assert_true(s->done && s->aborted);
	assert_int_equal(fx_sense(soon(n, tur, 0)), FX_SENSE(2, 0x04, 0x1b));
	fx_run(&f);
	fx_assert_good(fx_tur(n, 0));
	for (uint32_t lba = 0; lba < BLOCKS; lba += 4096)
		assert_filled(n, lba, 4096, 0x5a);
}

static struct scsi_tmf_req tmf_req;
static bool tmf_ended;

static void
tmf_done(struct scsi_tmf_req *r)
{
	assert_int_equal(r->response, SCSI_TMF_COMPLETE);
	tmf_ended = true;
}

static void
tmf_submit(void *ctx)
{
	(void)ctx;
	scsi_tmf_submit(&tmf_req);
}

static void
task_management_ends_the_task_but_not_the_job(void **state)
{
	(void)state;
	static const enum scsi_tmf all[] = {SCSI_TMF_ABORT_TASK_SET, SCSI_TMF_LU_RESET,
	    SCSI_TMF_TARGET_RESET, SCSI_TMF_I_T_NEXUS_RESET};
	for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
		const size_t len = overwrite_list(2, 1, (uint8_t)(i + 1));
		struct fx_cmd *s = start(other, cdb_sanitize(OVERWRITE, len), list, len);
		pass_ms(60);
		assert_false(s->done);
		tmf_req =
		    (struct scsi_tmf_req){.nexus = other->n, .function = all[i], .done = tmf_done};
		tmf_ended = false;
		fx_on_loop(&f, 1, tmf_submit, NULL);
		pass_ms(60);
		assert_true(tmf_ended && s->done && s->aborted);
		struct fx_cmd *c = soon(other, tur, 0);
		if (fx_sense(c) >> 16 == 6) /* the reset's unit attention */
			c = soon(other, tur, 0);
		assert_int_equal(fx_sense(c), FX_SENSE(2, 0x04, 0x1b));
		fx_run(&f);
		fx_tur(n, 0);
		fx_assert_good(fx_tur(n, 0));
		fx_assert_good(fx_tur(other, 0));
		assert_filled(n, BLOCKS - 4096, 4096, (uint8_t)(i + 1));
	}
}

static void
commands_in_the_store_end_before_it_begins(void **state)
{
	(void)state;
	static uint8_t data[8 * BS];
	memset(data, 'w', sizeof data);
	fault_hold(f.blks[0], 1u << BLK_WRITE);
	const struct cdb w = cdb16(0x8a, 0, 0, 8);
	struct fx_cmd *write = start(other, w, data, sizeof data);
	pass_ms(5);
	assert_int_equal(fault_held(f.blks[0]), 1);
	struct fx_cmd *s = start(n, cdb_sanitize(BLOCK_ERASE, 0), NULL, 0);
	pass_ms(50);
	assert_false(s->done);
	assert_int_equal(fault_held(f.blks[0]), 1); /* the job hasn't written */
	fault_hold(f.blks[0], 0);
	fx_run(&f);
	fx_assert_good(write);
	fx_assert_good(s);
	assert_filled(n, 0, 8, 0);
}

static void
a_failed_one_locks_the_unit_until_it_is_left(void **state)
{
	(void)state;
	/* Restricted: only another SANITIZE helps. */
	fault_fail(f.blks[0], BLK_WRITE, 3, 1, -EIO);
	assert_sense(run(n, cdb_sanitize(BLOCK_ERASE, 0), NULL, 0, 0), 3, 0x31, 0x03);
	assert_sense(fx_tur(other, 0), 3, 0x31, 0x03);
	assert_sense(fx_read16(other, 0, 0, 1), 3, 0x31, 0x03);
	assert_sense(run(n, cdb_sanitize(EXIT_FAILURE_MODE, 0), NULL, 0, 0), 3, 0x31, 0x03);
	fx_assert_good(run(other, cdb_sanitize(BLOCK_ERASE, 0), NULL, 0, 0));
	fx_assert_good(fx_tur(n, 0));
	/* With AUSE the initiator may give up. */
	fault_fail(f.blks[0], BLK_WRITE, 3, 1, -EIO);
	assert_sense(run(n, cdb_sanitize(BLOCK_ERASE | AUSE, 0), NULL, 0, 0), 3, 0x31, 0x03);
	assert_sense(fx_tur(other, 0), 3, 0x31, 0x03);
	fx_assert_good(run(other, cdb_sanitize(EXIT_FAILURE_MODE, 0), NULL, 0, 0));
	fx_assert_good(fx_tur(n, 0));
	fx_assert_good(fx_tur(other, 0));
	fx_assert_good(run(n, cdb_sanitize(EXIT_FAILURE_MODE, 0), NULL, 0, 0));
}

/* The unit can be taken away while it is being erased: fx_down() waits for the job's last step. */
static void
a_running_job_ends_with_its_unit(void **state)
{
	(void)state;
	struct fx_cmd *s = start(n, cdb_sanitize(BLOCK_ERASE | IMMED, 0), NULL, 0);
	pass_ms(120);
	assert_true(s->done);
	assert_int_equal(fx_sense(soon(n, tur, 0)), FX_SENSE(2, 0x04, 0x1b));
}

/* ---- over a restart ---- */

static struct scsi_lu *lu0;

static void
restore(void *ctx)
{
	*(int *)ctx = scsi_lu_restore_sanitize(lu0, f.saved, f.saved_len);
}

/* The same store under a unit that was made anew, as after a restart; 0 or -errno of the restoring. */
static int
restart(size_t saved_len)
{
	uint8_t saved[64];
	int rc;
	assert_true(saved_len <= sizeof saved);
	memcpy(saved, f.saved, saved_len);
	fx_down(&f);
	fx_up(&f, 2, 41);
	memcpy(f.saved, saved, saved_len);
	f.saved_len = saved_len;
	fx_add_lu(&f, "fault:1::ram:", &(struct scsi_lu_args){.thin = true, .sanitize = true});
	lu0 = f.lus[0];
	fx_on_loop(&f, 0, restore, &rc);
	n = fx_login(&f, 0, "iqn.a");
	other = fx_login(&f, 1, "iqn.b");
	return rc;
}

static void
one_that_succeeds_is_kept_until_its_end(void **state)
{
	(void)state;
	struct fx_cmd *s = start(n, cdb_sanitize(BLOCK_ERASE | IMMED, 0), NULL, 0);
	pass_ms(120);
	assert_true(s->done);
	assert_int_equal(f.save_count, 1);
	assert_int_equal(f.saved_what, SCSI_PERSIST_SANITIZE);
	assert_int_equal(f.saved_len, 16);
	fx_run(&f);
	assert_int_equal(f.save_count, 2);
	assert_int_equal(f.saved_len, 0);
	fx_assert_good(fx_tur(other, 0));
	assert_int_equal(restart(0), 0);
	fx_assert_good(fx_tur(n, 0));
}

static void
an_interrupted_one_has_failed(void **state)
{
	(void)state;
	struct fx_cmd *s = start(n, cdb_sanitize(BLOCK_ERASE | IMMED, 0), NULL, 0);
	pass_ms(120);
	assert_true(s->done);
	assert_int_equal(restart(f.saved_len), 0);
	for (unsigned i = 0; i < 2; i++) {
		struct fx_nexus *from = i == 0 ? n : other;
		assert_sense(fx_tur(from, 0), 3, 0x31, 0x03);
		assert_sense(fx_read16(from, 0, 0, 1), 3, 0x31, 0x03);
		assert_sense(
		    run(from, cdb_sanitize(EXIT_FAILURE_MODE, 0), NULL, 0, 0), 3, 0x31, 0x03);
	}
	fx_assert_good(run(other, cdb_sanitize(BLOCK_ERASE, 0), NULL, 0, 0));
	assert_int_equal(f.saved_len, 0);
	fx_assert_good(fx_tur(n, 0));
	assert_filled(n, 0, 4096, 0);
}

static void
a_failed_one_is_kept_and_forgotten_on_exit(void **state)
{
	(void)state;
	fault_fail(f.blks[0], BLK_WRITE, 3, 1, -EIO);
	assert_sense(run(n, cdb_sanitize(BLOCK_ERASE | AUSE, 0), NULL, 0, 0), 3, 0x31, 0x03);
	assert_int_equal(restart(f.saved_len), 0);
	assert_sense(fx_tur(other, 0), 3, 0x31, 0x03);
	/* What can't be forgotten isn't over: after a restart it would be there again. */
	f.save_result = -EIO;
	assert_sense(run(n, cdb_sanitize(EXIT_FAILURE_MODE, 0), NULL, 0, 0), 4, 0x44, 0x00);
	assert_sense(fx_tur(other, 0), 3, 0x31, 0x03);
	f.save_result = 0;
	fx_assert_good(run(n, cdb_sanitize(EXIT_FAILURE_MODE, 0), NULL, 0, 0));
	assert_int_equal(f.saved_len, 0);
	fx_assert_good(fx_tur(other, 0));
}

static void
one_that_cannot_be_kept_does_not_begin(void **state)
{
	(void)state;
	fill(n, 0, 256, 'a');
	f.save_result = -ENOSPC;
	assert_sense(run(n, cdb_sanitize(BLOCK_ERASE, 0), NULL, 0, 0), 4, 0x44, 0x00);
	fx_assert_good(fx_tur(other, 0));
	assert_filled(n, 0, 256, 'a');
	f.save_result = 0;
	fx_assert_good(run(other, cdb_sanitize(BLOCK_ERASE, 0), NULL, 0, 0));
}

static void
one_that_cannot_be_forgotten_has_failed(void **state)
{
	(void)state;
	struct fx_cmd *s = start(n, cdb_sanitize(BLOCK_ERASE, 0), NULL, 0);
	pass_ms(120);
	assert_int_equal(f.saved_len, 16);
	f.save_result = -EIO;
	fx_run(&f);
	assert_sense(s, 3, 0x31, 0x03);
	assert_sense(fx_tur(other, 0), 3, 0x31, 0x03);
	f.save_result = 0;
	fx_assert_good(run(other, cdb_sanitize(BLOCK_ERASE, 0), NULL, 0, 0));
	fx_assert_good(fx_tur(n, 0));
}

static void
damaged_records_lock_the_unit(void **state)
{
	(void)state;
	fault_fail(f.blks[0], BLK_WRITE, 3, 1, -EIO);
	assert_sense(run(n, cdb_sanitize(BLOCK_ERASE | AUSE, 0), NULL, 0, 0), 3, 0x31, 0x03);
	uint8_t good[16];
	memcpy(good, f.saved, sizeof good);
	for (unsigned bit = 0; bit < 8 * sizeof good; bit += 7) {
		memcpy(f.saved, good, sizeof good);
		f.saved[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_int_equal(restart(sizeof good), -EINVAL);
		assert_sense(fx_tur(n, 0), 3, 0x31, 0x03);
		assert_sense(run(n, cdb_sanitize(EXIT_FAILURE_MODE, 0), NULL, 0, 0), 3, 0x31, 0x03);
	}
	assert_int_equal(restart(15), -EINVAL);
	assert_sense(fx_tur(n, 0), 3, 0x31, 0x03);
}

static void
format_makes_zeros_with_progress(void **state)
{
	(void)state;
	fill(n, 0, 256, 'a');
	const uint8_t immed[4] = {0, 0x02, 0, 0};
	struct fx_cmd *s = start(n, (struct cdb){.b = {0x04, 0x10}, .len = 6}, immed, sizeof immed);
	pass_ms(20);
	assert_true(s->done);
	fx_assert_good(s);
	assert_int_equal(fx_sense(soon(other, tur, 0)), FX_SENSE(2, 0x04, 0x04));
	fx_run(&f);
	fx_assert_good(fx_tur(other, 0));
	assert_filled(n, 0, 4096, 0);
	fx_assert_good(run(n, (struct cdb){.b = {0x04}, .len = 6}, NULL, 0, 0));
}

static void
format_refuses_what_it_cannot_do(void **state)
{
	(void)state;
	static const uint8_t lists[][4] = {
	    {1, 0, 0, 0}, {0, 0x08, 0, 0}, {0, 0, 0, 8}, {0, 0, 1, 0}};
	const struct cdb c = {.b = {0x04, 0x10}, .len = 6};
	for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
		assert_sense(run(n, c, lists[i], 4, 0), 5, 0x26, 0x00);
	assert_sense(run(n, c, lists[0], 2, 0), 5, 0x1a, 0x00);
	assert_bad_field(run(n, (struct cdb){.b = {0x04, 0x80}, .len = 6}, NULL, 0, 0), 1, 7);
}

#define T(name) cmocka_unit_test_setup_teardown(name, up, down)
#define S(name) cmocka_unit_test_setup_teardown(name, up_slow, down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    T(overwrite_fills_the_unit_with_the_pattern),
	    T(short_patterns_are_repeated_in_each_block),
	    T(inverted_passes_alternate),
	    T(block_erase_overwrites_and_unmaps),
	    T(parameter_lists_are_checked),
	    T(crypto_erase_and_reserved_bits_are_refused),
	    cmocka_unit_test(units_without_the_option_have_no_sanitize),
	    S(others_are_told_the_progress_on_all_loops),
	    S(immed_answers_at_once),
	    S(it_survives_the_loss_of_its_nexus),
	    S(task_management_ends_the_task_but_not_the_job),
	    T(commands_in_the_store_end_before_it_begins),
	    T(a_failed_one_locks_the_unit_until_it_is_left),
	    S(a_running_job_ends_with_its_unit),
	    S(one_that_succeeds_is_kept_until_its_end),
	    S(an_interrupted_one_has_failed),
	    T(a_failed_one_is_kept_and_forgotten_on_exit),
	    T(one_that_cannot_be_kept_does_not_begin),
	    S(one_that_cannot_be_forgotten_has_failed),
	    T(damaged_records_lock_the_unit),
	    S(format_makes_zeros_with_progress),
	    T(format_refuses_what_it_cannot_do),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
