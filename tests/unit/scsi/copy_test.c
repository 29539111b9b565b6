/* SPDX-License-Identifier: BSD-2-Clause */
/* EXTENDED COPY(LID1) and RECEIVE COPY RESULTS. */
#include "tests/unit/scsi/scsi_fixture.h"

#include "base/endian.h"
#include "scsi/copy.h"
#include "store/fault.h"

#include <errno.h>
#include <stdlib.h>

static struct fx f;

/* ---- parameter lists --------------------------------------------------------------------------- */

struct params {
	uint8_t b[8192];
	size_t len;
	uint16_t targets;
	uint32_t segments;
};

static void
list_start(struct params *l, uint8_t id, uint8_t usage)
{
	memset(l, 0, sizeof *l);
	l->len = 16;
	l->b[0] = id;
	l->b[1] = (uint8_t)(usage << 3);
}

/* By the NAA designator, as it stands in VPD page 83h. Before any segment. */
static uint8_t *
list_target(struct params *l, unsigned lu)
{
	uint8_t *d = l->b + l->len;
	d[0] = 0xe4;
	d[4] = 0x01;
	d[5] = 0x03;
	d[7] = 16;
	memcpy(d + 8, f.lus[lu]->id.naa, 16);
	store_be24(d + 29, f.lus[lu]->id.block_bytes);
	l->len += 32;
	l->targets++;
	store_be16(l->b + 2, (uint16_t)(l->targets * 32));
	return d;
}

static uint8_t *
list_segment(struct params *l, uint16_t src, uint16_t dst, uint64_t src_lba, uint64_t dst_lba,
    uint16_t blocks)
{
	uint8_t *d = l->b + l->len;
	d[0] = 0x02;
	store_be16(d + 2, 0x18);
	store_be16(d + 4, src);
	store_be16(d + 6, dst);
	store_be16(d + 10, blocks);
	store_be64(d + 12, src_lba);
	store_be64(d + 20, dst_lba);
	l->len += 28;
	l->segments++;
	store_be32(l->b + 8, l->segments * 28);
	return d;
}

static struct fx_cmd *
copy_cmd(struct fx_nexus *n, uint16_t lun, const struct params *l)
{
	uint8_t cdb[16] = {0x83, 0x00};
	store_be32(cdb + 10, (uint32_t)l->len);
	return fx_cmd(n, lun, cdb, sizeof cdb, l->b, l->len, 0);
}

static struct fx_cmd *
copy(struct fx_nexus *n, uint16_t lun, const struct params *l)
{
	struct fx_cmd *c = copy_cmd(n, lun, l);
	fx_start(c);
	fx_run(&f);
	assert_true(c->done);
	return c;
}

static struct fx_cmd *
results(struct fx_nexus *n, uint8_t sa, uint8_t list_id)
{
	uint8_t cdb[16] = {0x84, sa, list_id};
	store_be32(cdb + 10, 1024);
	return fx_exec(n, 0, cdb, sizeof cdb, NULL, 0, 1024);
}

/* ---- data ------------------------------------------------------------------------------------------ */

static uint8_t
pattern(uint64_t lba, unsigned at)
{
	return (uint8_t)(lba * 7 + at * 3 + (lba >> 8) + 1);
}

/* Writes a pattern that differs for each block. */
static void
fill(struct fx_nexus *n, uint16_t lun, uint64_t lba, uint32_t blocks)
{
	uint8_t *data = malloc((size_t)blocks * 512);
	for (uint32_t i = 0; i < blocks; i++) {
		for (unsigned j = 0; j < 512; j++)
			data[(size_t)i * 512 + j] = pattern(lba + i, j);
	}
	struct fx_cmd *c = fx_write16(n, lun, lba, blocks, data);
	fx_assert_good(c);
	fx_cmd_free(c);
	free(data);
}

/* The blocks at `lba` hold what was filled in at `from`. */
static void
assert_copied(struct fx_nexus *n, uint16_t lun, uint64_t lba, uint64_t from, uint32_t blocks)
{
	struct fx_cmd *c = fx_read16(n, lun, lba, blocks);
	fx_assert_good(c);
	for (uint32_t i = 0; i < blocks; i++) {
		for (unsigned j = 0; j < 512; j += 73)
			assert_int_equal(c->in[(size_t)i * 512 + j], pattern(from + i, j));
	}
	fx_cmd_free(c);
}

static void
assert_zero(struct fx_nexus *n, uint16_t lun, uint64_t lba, uint32_t blocks)
{
	struct fx_cmd *c = fx_read16(n, lun, lba, blocks);
	fx_assert_good(c);
	for (size_t i = 0; i < (size_t)blocks * 512; i++)
		assert_int_equal(c->in[i], 0);
	fx_cmd_free(c);
}

static struct fx_nexus *
up(unsigned loops, unsigned lus)
{
	fx_up(&f, loops, 21);
	for (unsigned i = 0; i < lus; i++)
		fx_add_lu(&f, "ram:", NULL);
	return fx_login(&f, 0, "iqn.test:a");
}

/* ---- copying ---------------------------------------------------------------------------------------- */

static void
copies_within_a_unit(void **state)
{
	(void)state;
	struct fx_nexus *n = up(1, 1);
	struct params l;
	fill(n, 0, 0, 2048);
	list_start(&l, 1, COPY_LIST_ID_DISCARD);
	list_target(&l, 0);
	list_segment(&l, 0, 0, 0, 30720, 2048);
	struct fx_cmd *c = copy(n, 0, &l);
	fx_assert_good(c);
	assert_copied(n, 0, 30720, 0, 2048);
	fx_down(&f);
}

/* More than a piece, not a multiple of it. */
static void
copies_to_another_unit_in_pieces(void **state)
{
	(void)state;
	struct fx_nexus *n = up(2, 2);
	struct params l;
	fill(n, 0, 100, 5001);
	list_start(&l, 0, COPY_LIST_ID_NONE);
	list_target(&l, 0);
	list_target(&l, 1);
	list_segment(&l, 0, 1, 100, 7, 5001);
	struct fx_cmd *c = copy(n, 0, &l);
	fx_assert_good(c);
	assert_copied(n, 1, 7, 100, 5001);
	assert_zero(n, 1, 0, 7);
	assert_zero(n, 1, 7 + 5001, 8);
	fx_down(&f);
}

/* The addressed unit needs to be neither source nor destination. */
static void
copies_between_two_other_units(void **state)
{
	(void)state;
	struct fx_nexus *n = up(2, 3);
	struct params l;
	fill(n, 1, 0, 64);
	list_start(&l, 0, COPY_LIST_ID_NONE);
	list_target(&l, 1);
	list_target(&l, 2);
	list_segment(&l, 0, 1, 0, 32, 64);
	struct fx_cmd *c = copy(n, 0, &l);
	fx_assert_good(c);
	assert_copied(n, 2, 32, 0, 64);
	fx_down(&f);
}

static void
copies_all_segments_in_order(void **state)
{
	(void)state;
	struct fx_nexus *n = up(1, 1);
	struct params l;
	fill(n, 0, 0, 32);
	list_start(&l, 0, COPY_LIST_ID_NONE);
	list_target(&l, 0);
	list_segment(&l, 0, 0, 0, 100, 16);
	list_segment(&l, 0, 0, 5, 300, 0); /* nothing to copy is no error */
	list_segment(&l, 0, 0, 100, 200, 16);
	struct fx_cmd *c = copy(n, 0, &l);
	fx_assert_good(c);
	assert_copied(n, 0, 200, 0, 16);
	assert_zero(n, 0, 300, 1);
	fx_down(&f);
}

static void
overlap_copies_as_if_read_first(void **state)
{
	(void)state;
	struct fx_nexus *n = up(1, 1);
	struct params l;
	fill(n, 0, 1000, 8000);
	list_start(&l, 0, COPY_LIST_ID_NONE);
	list_target(&l, 0);
	list_segment(&l, 0, 0, 1000, 1003, 8000); /* upwards */
	struct fx_cmd *c = copy(n, 0, &l);
	fx_assert_good(c);
	assert_copied(n, 0, 1003, 1000, 8000);
	list_start(&l, 0, COPY_LIST_ID_NONE);
	list_target(&l, 0);
	list_segment(&l, 0, 0, 1003, 998, 8000); /* downwards */
	c = copy(n, 0, &l);
	fx_assert_good(c);
	assert_copied(n, 0, 998, 1000, 8000);
	fx_down(&f);
}

static void
blocks_of_4096_bytes_are_copied(void **state)
{
	(void)state;
	struct scsi_lu_args a = {.block_bytes = 4096, .physical_exponent = 0xff};
	fx_up(&f, 1, 21);
	fx_add_lu(&f, "ram:", &a);
	struct fx_nexus *n = fx_login(&f, 0, "iqn.test:a");
	uint8_t data[4096];
	memset(data, 0x5a, sizeof data);
	struct fx_cmd *c = fx_write16(n, 0, 3, 1, data);
	fx_assert_good(c);
	struct params l;
	list_start(&l, 0, COPY_LIST_ID_NONE);
	list_target(&l, 0);
	list_segment(&l, 0, 0, 3, 9, 1);
	c = copy(n, 0, &l);
	fx_assert_good(c);
	c = fx_read16(n, 0, 9, 1);
	assert_memory_equal(c->in, data, sizeof data);
	fx_down(&f);
}

static void
eui64_and_t10_designators_name_units_too(void **state)
{
	(void)state;
	struct scsi_lu_args a = {
	    .eui64 = {1, 2, 3, 4, 5, 6, 7, 8}, .vendor = "ACME", .t10_id = "disk-01"};
	fx_up(&f, 1, 21);
	fx_add_lu(&f, "ram:", &a);
	struct fx_nexus *n = fx_login(&f, 0, "iqn.test:a");
	struct params l;
	fill(n, 0, 0, 4);
	list_start(&l, 0, COPY_LIST_ID_NONE);
	uint8_t *d = list_target(&l, 0);
	d[5] = 0x02;
	d[7] = 8;
	memcpy(d + 8, a.eui64, 8);
	d = list_target(&l, 0);
	d[4] = 0x02;
	d[5] = 0x01;
	d[7] = 15;
	memcpy(d + 8, "ACME    disk-01", 15);
	list_segment(&l, 0, 1, 0, 16, 4);
	struct fx_cmd *c = copy(n, 0, &l);
	fx_assert_good(c);
	assert_copied(n, 0, 16, 0, 4);
	fx_down(&f);
}

static void
an_empty_list_is_good(void **state)
{
	(void)state;
	struct fx_nexus *n = up(1, 1);
	struct params l = {.len = 0};
	struct fx_cmd *c = copy(n, 0, &l);
	fx_assert_good(c);
	fx_down(&f);
}

/* ---- refusals --------------------------------------------------------------------------------------- */

static void
a_cut_list_is_a_length_error_at_every_length(void **state)
{
	(void)state;
	struct fx_nexus *n = up(1, 1);
	struct params l;
	list_start(&l, 1, 0);
	list_target(&l, 0);
	list_segment(&l, 0, 0, 0, 100, 8);
	fill(n, 0, 0, 8);
	size_t whole = l.len;
	for (l.len = 1; l.len < whole; l.len++) {
		struct fx_cmd *c = copy(n, 0, &l);
		fx_assert_sense(c, 5, 0x1a, 0x00);
		fx_cmd_free(c);
	}
	assert_zero(n, 0, 100, 8);
	fx_down(&f);
}

static void
limits_are_those_that_are_reported(void **state)
{
	(void)state;
	struct fx_nexus *n = up(1, 1);
	struct fx_cmd *c = results(n, 0x03, 0);
	fx_assert_good(c);
	assert_int_equal(c->in_len, 46);
	assert_int_equal(load_be32(c->in), 42);
	assert_int_equal(c->in[4], 1);
	unsigned targets = load_be16(c->in + 8), segments = load_be16(c->in + 10);
	unsigned desc_bytes = load_be32(c->in + 12);
	assert_int_equal(c->in[43], 2);
	assert_int_equal(c->in[44], 0x02);
	assert_int_equal(c->in[45], 0xe4);
	struct params l;
	list_start(&l, 1, 0);
	for (unsigned i = 0; i < targets; i++)
		list_target(&l, 0);
	for (unsigned i = 0; i < segments; i++)
		list_segment(&l, 0, 0, 0, 100, 1);
	assert_true(l.len - 16 <= desc_bytes);
	c = copy(n, 0, &l);
	fx_assert_good(c);

	list_start(&l, 1, 0);
	for (unsigned i = 0; i < targets + 1; i++)
		list_target(&l, 0);
	list_segment(&l, 0, 0, 0, 100, 1);
	c = copy(n, 0, &l);
	fx_assert_sense(c, 5, 0x26, 0x06);

	list_start(&l, 1, 0);
	list_target(&l, 0);
	for (unsigned i = 0; i < segments + 1; i++)
		list_segment(&l, 0, 0, 0, 100, 1);
	c = copy(n, 0, &l);
	fx_assert_sense(c, 5, 0x26, 0x08);

	list_start(&l, 1, 0);
	for (unsigned i = 0; i < targets + 1; i++)
		list_target(&l, 0);
	for (unsigned i = 0; i < segments + 1; i++)
		list_segment(&l, 0, 0, 0, 100, 1);
	c = copy(n, 0, &l);
	fx_assert_sense(c, 5, 0x1a, 0x00);
	fx_down(&f);
}

static void
unknown_descriptor_types_are_refused(void **state)
{
	(void)state;
	struct fx_nexus *n = up(1, 1);
	struct params l;
	list_start(&l, 1, 0);
	list_target(&l, 0)[0] = 0xe0;
	list_segment(&l, 0, 0, 0, 100, 8);
	struct fx_cmd *c = copy(n, 0, &l);
	fx_assert_sense(c, 5, 0x26, 0x07);
	list_start(&l, 1, 0);
	list_target(&l, 0);
	list_segment(&l, 0, 0, 0, 100, 8)[0] = 0x03;
	c = copy(n, 0, &l);
	fx_assert_sense(c, 5, 0x26, 0x09);
	fx_down(&f);
}

static void
fields_that_mean_something_else_are_refused(void **state)
{
	(void)state;
	struct fx_nexus *n = up(1, 1);
	struct params l;
	int bit;
	list_start(&l, 1, 0);
	list_target(&l, 0)[1] = 0x01; /* a tape */
	list_segment(&l, 0, 0, 0, 100, 8);
	struct fx_cmd *c = copy(n, 0, &l);
	fx_assert_sense(c, 5, 0x26, 0x00);
	assert_int_equal(fx_sense_field(c, &bit), 17);

	list_start(&l, 1, 0);
	list_target(&l, 0)[1] = 0xc0; /* LU ID TYPE means nothing here */
	list_segment(&l, 0, 0, 0, 100, 8);
	c = copy(n, 0, &l);
	fx_assert_good(c);

	list_start(&l, 1, 0);
	list_target(&l, 0)[7] = 21; /* longer than its field */
	list_segment(&l, 0, 0, 0, 100, 8);
	c = copy(n, 0, &l);
	fx_assert_sense(c, 5, 0x26, 0x00);
	assert_int_equal(fx_sense_field(c, &bit), 23);

	list_start(&l, 1, 0);
	store_be24(list_target(&l, 0) + 29, 4096); /* another block length */
	list_segment(&l, 0, 0, 0, 100, 8);
	c = copy(n, 0, &l);
	fx_assert_sense(c, 5, 0x26, 0x00);
	assert_int_equal(fx_sense_field(c, &bit), 45);

	list_start(&l, 1, 0);
	list_target(&l, 0);
	store_be32(l.b + 12, 4); /* inline data */
	l.len += 4;
	c = copy(n, 0, &l);
	fx_assert_sense(c, 5, 0x26, 0x0b);

	list_start(&l, 1, COPY_LIST_ID_NONE); /* a list id where there is none */
	c = copy(n, 0, &l);
	fx_assert_sense(c, 5, 0x26, 0x00);
	fx_down(&f);
}

static void
targets_that_are_not_there_abort_the_copy(void **state)
{
	(void)state;
	struct fx_nexus *n = up(1, 1);
	struct params l;
	list_start(&l, 1, 0);
	list_target(&l, 0);
	list_segment(&l, 0, 1, 0, 100, 8); /* no such descriptor */
	struct fx_cmd *c = copy(n, 0, &l);
	fx_assert_sense(c, 0xa, 0x0d, 0x02);
	list_start(&l, 1, 0);
	list_target(&l, 0)[1] = 0x20; /* NUL */
	list_segment(&l, 0, 0, 0, 100, 8);
	c = copy(n, 0, &l);
	fx_assert_sense(c, 0xa, 0x0d, 0x02);
	list_start(&l, 1, 0);
	list_target(&l, 0)[8] ^= 1; /* nobody's name */
	list_segment(&l, 0, 0, 0, 100, 8);
	c = copy(n, 0, &l);
	fx_assert_sense(c, 0xa, 0x0d, 0x02);
	fx_down(&f);
}

/* A name that one knows doesn't open a unit that one doesn't see. */
static void
only_units_of_the_own_view_are_reached(void **state)
{
	(void)state;
	fx_up(&f, 1, 21);
	struct scsi_view_entry e = {.lun = 0, .lu = fx_add_lu(&f, "ram:", NULL)};
	fx_add_lu(&f, "ram:", NULL);
	struct fx_nexus *all = fx_login(&f, 0, "iqn.test:all");
	struct fx_nexus *n = fx_login_view(&f, 0, "iqn.test:a", &e, 1);
	fx_tur(n, 0);
	struct params l;
	fill(all, 1, 0, 8);
	list_start(&l, 1, 0);
	list_target(&l, 0);
	list_target(&l, 1);
	list_segment(&l, 1, 0, 0, 100, 8);
	struct fx_cmd *c = copy(n, 0, &l);
	fx_assert_sense(c, 0xa, 0x0d, 0x02);
	assert_zero(all, 0, 100, 8);
	fx_down(&f);
}

/* The second segment is wrong: the first isn't done either. */
static void
ranges_are_checked_before_anything_is_written(void **state)
{
	(void)state;
	struct fx_nexus *n = up(1, 1);
	struct params l;
	fill(n, 0, 0, 8);
	list_start(&l, 1, 0);
	list_target(&l, 0);
	list_segment(&l, 0, 0, 0, 100, 8);
	list_segment(&l, 0, 0, 0, 32767, 2);
	struct fx_cmd *c = copy(n, 0, &l);
	fx_assert_sense(c, 0xa, 0x00, 0x00);
	assert_zero(n, 0, 100, 8);
	list_start(&l, 1, 0);
	list_target(&l, 0);
	list_segment(&l, 0, 0, UINT64_MAX, 100, 8);
	c = copy(n, 0, &l);
	fx_assert_sense(c, 0xa, 0x00, 0x00);
	fx_down(&f);
}

static void
write_protected_destinations_are_refused(void **state)
{
	(void)state;
	fx_up(&f, 1, 21);
	struct scsi_view_entry e[2] = {{.lun = 0, .lu = fx_add_lu(&f, "ram:", NULL)},
	    {.lun = 1, .read_only = true, .lu = fx_add_lu(&f, "ram:", NULL)}};
	struct fx_nexus *n = fx_login_view(&f, 0, "iqn.test:a", e, 2);
	fx_tur(n, 0);
	struct params l;
	list_start(&l, 0, COPY_LIST_ID_NONE);
	list_target(&l, 0);
	list_target(&l, 1);
	list_segment(&l, 0, 1, 0, 100, 8);
	struct fx_cmd *c = copy(n, 0, &l);
	fx_assert_sense(c, 7, 0x27, 0x00);
	list_start(&l, 0, COPY_LIST_ID_NONE);
	list_target(&l, 0);
	list_target(&l, 1);
	list_segment(&l, 1, 0, 0, 100, 8); /* reading from it is allowed */
	c = copy(n, 0, &l);
	fx_assert_good(c);
	fx_down(&f);
}

/* RESERVE(6) by another nexus: of the addressed unit a conflict, of another one a failed target. */
static void
reservations_of_all_units_are_respected(void **state)
{
	(void)state;
	struct fx_nexus *n = up(2, 2);
	struct fx_nexus *other = fx_login(&f, 1, "iqn.test:b");
	const uint8_t reserve[6] = {0x16}, release[6] = {0x17};
	struct params l;
	list_start(&l, 0, COPY_LIST_ID_NONE);
	list_target(&l, 0);
	list_target(&l, 1);
	list_segment(&l, 0, 1, 0, 100, 8);
	struct fx_cmd *c = fx_exec(other, 1, reserve, 6, NULL, 0, 0);
	fx_assert_good(c);
	c = copy(n, 0, &l);
	fx_assert_sense(c, 0xa, 0x0d, 0x01);
	c = copy(n, 1, &l);
	assert_int_equal(c->status, SCSI_RESERVATION_CONFLICT);
	c = fx_exec(other, 1, release, 6, NULL, 0, 0);
	fx_assert_good(c);
	c = copy(n, 0, &l);
	fx_assert_good(c);
	fx_down(&f);
}

/* ---- while it runs ---------------------------------------------------------------------------------- */

/* Runs until the copy has moved at least one piece. */
static void
run_into_the_copy(struct fx_nexus *n, const struct fx_cmd *c)
{
	const struct scsi_copy *k = c->task.priv;
	for (unsigned i = 0; i < 100000 && !c->done; i++) {
		fx_run_steps(&f, 1);
		k = c->task.priv;
		if (k && k->bytes_done > 0)
			return;
	}
	(void)n;
	fail_msg("the copy ended before it could be looked at");
}

static void
an_aborted_copy_stops_between_pieces(void **state)
{
	(void)state;
	struct fx_nexus *n = up(1, 2);
	struct params l;
	bool found;
	fill(n, 0, 0, 8192);
	list_start(&l, 9, COPY_LIST_ID_HOLD);
	list_target(&l, 0);
	list_target(&l, 1);
	list_segment(&l, 0, 1, 0, 0, 8192);
	struct fx_cmd *c = copy_cmd(n, 0, &l);
	fx_start(c);
	run_into_the_copy(n, c);
	struct fx_cmd *s = NULL;
	assert_int_equal(fx_tmf(n, SCSI_TMF_ABORT_TASK, 0, c->task.tag, &found), SCSI_TMF_COMPLETE);
	assert_true(found);
	assert_true(c->done && c->aborted);
	assert_zero(n, 1, 8191, 1);
	s = results(n, 0x00, 9);
	fx_assert_good(s);
	assert_int_equal(s->in[4], 0x02); /* ended with errors */
	uint64_t kib = load_be32(s->in + 8);
	assert_true(kib >= 1024 && kib < 4096);
	/* Nothing is left locked. */
	fill(n, 1, 0, 64);
	fx_down(&f);
}

/* What INV-1 says: the reservation that comes while the copy runs stops it. */
static void
a_fence_on_the_destination_stops_the_copy(void **state)
{
	(void)state;
	struct fx_nexus *n = up(2, 2);
	struct fx_nexus *other = fx_login(&f, 1, "iqn.test:b");
	struct params l;
	const uint8_t reserve[6] = {0x16};
	fill(n, 0, 0, 8192);
	list_start(&l, 0, COPY_LIST_ID_NONE);
	list_target(&l, 0);
	list_target(&l, 1);
	list_segment(&l, 0, 1, 0, 0, 8192);
	struct fx_cmd *c = copy_cmd(n, 0, &l);
	fx_start(c);
	run_into_the_copy(n, c);
	struct fx_cmd *r = fx_exec(other, 1, reserve, 6, NULL, 0, 0);
	fx_assert_good(r);
	fx_run(&f);
	assert_true(c->done);
	fx_assert_sense(c, 0xa, 0x0d, 0x01);
	assert_zero(other, 1, 8191, 1);
	fx_down(&f);
}

static void
a_nexus_loss_ends_its_copies(void **state)
{
	(void)state;
	struct fx_nexus *n = up(1, 2);
	struct fx_nexus *other = fx_login(&f, 0, "iqn.test:b");
	struct params l;
	fill(n, 0, 0, 8192);
	list_start(&l, 9, COPY_LIST_ID_HOLD);
	list_target(&l, 0);
	list_target(&l, 1);
	list_segment(&l, 0, 1, 0, 0, 8192);
	struct fx_cmd *c = copy_cmd(n, 0, &l);
	fx_start(c);
	run_into_the_copy(n, c);
	fx_logout(n);
	assert_true(c->done && c->aborted);
	fill(other, 1, 0, 64); /* nothing is left locked */
	fx_down(&f);
}

/* COMPARE AND WRITE of a block that is being overwritten sees the old one or the new one. */
static void
compare_and_write_is_atomic_against_a_copy(void **state)
{
	(void)state;
	struct fx_nexus *n = up(2, 2);
	struct fx_nexus *other = fx_login(&f, 1, "iqn.test:b");
	struct params l;
	uint8_t caw[16] = {0x89};
	uint8_t data[1024] = {0};
	caw[13] = 1;
	memset(data + 512, 0xee, 512);
	fill(n, 0, 0, 8192);
	list_start(&l, 0, COPY_LIST_ID_NONE);
	list_target(&l, 0);
	list_target(&l, 1);
	list_segment(&l, 0, 1, 0, 0, 8192);
	struct fx_cmd *c = copy_cmd(n, 0, &l);
	fx_start(c);
	struct fx_cmd *w[16];
	for (unsigned i = 0; i < 16; i++) {
		store_be64(caw + 2, 8191 - i * 400);
		w[i] = fx_cmd(other, 1, caw, sizeof caw, data, sizeof data, 0);
		fx_start(w[i]);
		fx_run_steps(&f, 7);
	}
	fx_run(&f);
	fx_assert_good(c);
	for (unsigned i = 0; i < 16; i++) {
		assert_true(w[i]->done);
		/* Either it came first and the copy went over it, or it found what was copied. */
		if (w[i]->status != SCSI_GOOD)
			fx_assert_sense(w[i], 0xe, 0x1d, 0x00);
	}
	assert_copied(n, 1, 0, 0, 8192);
	fx_down(&f);
}

/* ---- stores that fail or take their time --------------------------------------------------------- */

/* Unit 0 over ram, unit 1 over a store whose faults the test throws. */
static struct fx_nexus *
up_fault(unsigned loops, struct params *l, uint8_t list_id)
{
	fx_up(&f, loops, 21);
	fx_add_lu(&f, "ram:", NULL);
	fx_add_lu(&f, "fault:1::ram:", NULL);
	struct fx_nexus *n = fx_login(&f, 0, "iqn.test:a");
	fill(n, 0, 0, 8);
	list_start(l, list_id, COPY_LIST_ID_HOLD);
	list_target(l, 0);
	list_target(l, 1);
	return n;
}

static void
a_read_error_fails_the_copy_with_details(void **state)
{
	(void)state;
	struct params l;
	struct fx_nexus *n = up_fault(1, &l, 7);
	list_segment(&l, 0, 1, 0, 100, 8);
	list_segment(&l, 1, 0, 0, 100, 8);
	fault_fail(f.blks[1], BLK_READ, 0, 1, -EIO);
	struct fx_cmd *c = copy(n, 0, &l);
	fx_assert_sense(c, 0xa, 0x0d, 0x01);
	struct fx_cmd *s = results(n, 0x00, 7);
	fx_assert_good(s);
	assert_int_equal(s->in[4], 0x02);
	assert_int_equal(load_be16(s->in + 5), 1); /* the first segment was done */
	s = results(n, 0x04, 7);
	fx_assert_good(s);
	assert_int_equal(load_be32(s->in), s->in_len - 4);
	assert_int_equal(s->in[56], SCSI_CHECK_CONDITION);
	assert_int_equal(load_be16(s->in + 58), c->sense_len);
	assert_memory_equal(s->in + 60, c->sense, c->sense_len);
	s = results(n, 0x04, 7); /* told once */
	fx_assert_sense(s, 5, 0x24, 0x00);
	fx_down(&f);
}

static void
a_full_destination_is_out_of_space(void **state)
{
	(void)state;
	struct params l;
	struct fx_nexus *n = up_fault(1, &l, 7);
	list_segment(&l, 0, 1, 0, 100, 8);
	fault_fail(f.blks[1], BLK_WRITE, 0, 1, -ENOSPC);
	struct fx_cmd *c = copy(n, 0, &l);
	fx_assert_sense(c, 7, 0x27, 0x07);
	fx_down(&f);
}

static void
a_destination_that_is_gone_fails_the_copy(void **state)
{
	(void)state;
	struct params l;
	struct fx_nexus *n = up_fault(1, &l, 7);
	list_segment(&l, 0, 1, 0, 100, 8);
	fault_fail(f.blks[1], BLK_WRITE, 0, 1, -ENODEV);
	struct fx_cmd *c = copy(n, 0, &l);
	fx_assert_sense(c, 0xa, 0x0d, 0x01);
	fx_down(&f);
}

static void
an_abort_waits_for_the_write_on_the_other_unit(void **state)
{
	(void)state;
	struct params l;
	struct fx_nexus *n = up_fault(1, &l, 7);
	list_segment(&l, 0, 1, 0, 100, 8);
	fault_hold(f.blks[1], 1u << BLK_WRITE);
	struct fx_cmd *c = copy_cmd(n, 0, &l);
	fx_start(c);
	fx_run(&f);
	assert_int_equal(fault_held(f.blks[1]), 1);
	fx_logout_start(n);
	fx_run(&f);
	assert_false(c->done); /* its buffer is in the store's hands */
	fault_hold(f.blks[1], 0);
	fx_run(&f);
	assert_true(c->done && c->aborted && n->gone);
	fx_down(&f);
}

/* INV-3: the change of the destination that fences. */
static struct {
	struct scsi_change change;
	bool done;
} fence;

static void
fence_apply(struct scsi_change *c, struct scsi_lu_loop *ll)
{
	(void)c;
	(void)ll;
}

static void
fence_done(struct scsi_change *c)
{
	(void)c;
	fence.done = true;
}

static void
fence_submit(void *ctx)
{
	memset(&fence, 0, sizeof fence);
	fence.change.lu = ctx;
	fence.change.apply = fence_apply;
	fence.change.done = fence_done;
	fence.change.drain = true;
	scsi_change_submit(&fence.change);
}

static void
a_fencing_change_waits_for_guests(void **state)
{
	(void)state;
	for (unsigned op = BLK_READ; op <= BLK_WRITE; op++) {
		struct params l;
		struct fx_nexus *n = up_fault(2, &l, 7);
		list_segment(&l, op == BLK_READ ? 1 : 0, op == BLK_READ ? 0 : 1, 0, 100, 8);
		fault_hold(f.blks[1], 1u << op);
		struct fx_cmd *c = copy_cmd(n, 0, &l);
		fx_start(c);
		fx_run(&f);
		assert_int_equal(fault_held(f.blks[1]), 1);
		fx_on_loop(&f, 0, fence_submit, f.lus[1]);
		fx_run(&f);
		assert_false(fence.done);
		fault_hold(f.blks[1], 0);
		fx_run(&f);
		assert_true(fence.done);
		fx_assert_good(c);
		fx_down(&f);
	}
}

static void
a_change_of_another_unit_does_not_wait(void **state)
{
	(void)state;
	struct params l;
	struct fx_nexus *n = up_fault(2, &l, 7);
	fx_add_lu(&f, "ram:", NULL);
	list_segment(&l, 0, 1, 0, 100, 8);
	fault_hold(f.blks[1], 1u << BLK_WRITE);
	struct fx_cmd *c = copy_cmd(n, 0, &l);
	fx_start(c);
	fx_run(&f);
	fx_on_loop(&f, 0, fence_submit, f.lus[2]);
	fx_run(&f);
	assert_true(fence.done && !c->done);
	fault_hold(f.blks[1], 0);
	fx_run(&f);
	fx_assert_good(c);
	fx_down(&f);
}

/* ---- results ----------------------------------------------------------------------------------------- */

static void
status_of_a_held_copy_is_remembered(void **state)
{
	(void)state;
	struct fx_nexus *n = up(1, 1);
	struct params l;
	int bit;
	struct fx_cmd *c = results(n, 0x00, 1);
	fx_assert_sense(c, 5, 0x24, 0x00);
	assert_int_equal(fx_sense_field(c, &bit), 2);
	list_start(&l, 1, COPY_LIST_ID_HOLD);
	list_target(&l, 0);
	list_segment(&l, 0, 0, 0, 4096, 2048);
	list_segment(&l, 0, 0, 0, 8192, 2048);
	c = copy(n, 0, &l);
	fx_assert_good(c);
	static const uint8_t want[12] = {0, 0, 0, 8, 0x01, 0, 2, 0x01, 0, 0, 0x08, 0x00};
	c = results(n, 0x00, 1);
	fx_assert_good(c);
	assert_int_equal(c->in_len, sizeof want);
	assert_memory_equal(c->in, want, sizeof want);
	c = results(n, 0x04, 1); /* nothing failed */
	fx_assert_good(c);
	assert_int_equal(c->in_len, 4);
	fx_down(&f);
}

static void
results_are_of_the_nexus_that_copied(void **state)
{
	(void)state;
	struct fx_nexus *n = up(1, 1);
	struct fx_nexus *other = fx_login(&f, 0, "iqn.test:b");
	struct params l;
	list_start(&l, 1, COPY_LIST_ID_HOLD);
	list_target(&l, 0);
	list_segment(&l, 0, 0, 0, 4096, 8);
	struct fx_cmd *c = copy(n, 0, &l);
	fx_assert_good(c);
	c = results(other, 0x00, 1);
	fx_assert_sense(c, 5, 0x24, 0x00);
	fx_down(&f);
}

static void
discarded_copies_leave_nothing(void **state)
{
	(void)state;
	struct fx_nexus *n = up(1, 1);
	struct params l;
	list_start(&l, 1, COPY_LIST_ID_DISCARD);
	list_target(&l, 0);
	list_segment(&l, 0, 0, 0, 4096, 8);
	struct fx_cmd *c = copy(n, 0, &l);
	fx_assert_good(c);
	c = results(n, 0x00, 1);
	fx_assert_sense(c, 5, 0x24, 0x00);
	fx_down(&f);
}

static void
the_last_copies_are_remembered(void **state)
{
	(void)state;
	struct fx_nexus *n = up(1, 1);
	struct params l;
	for (uint8_t id = 1; id <= SCSI_COPIES_MAX + 1; id++) {
		list_start(&l, id, COPY_LIST_ID_HOLD);
		list_target(&l, 0);
		list_segment(&l, 0, 0, 0, 4096, 8);
		struct fx_cmd *c = copy(n, 0, &l);
		fx_assert_good(c);
	}
	struct fx_cmd *c = results(n, 0x00, 1);
	fx_assert_sense(c, 5, 0x24, 0x00);
	for (uint8_t id = 2; id <= SCSI_COPIES_MAX + 1; id++) {
		c = results(n, 0x00, id);
		fx_assert_good(c);
	}
	fx_down(&f);
}

static void
a_list_id_in_use_is_refused(void **state)
{
	(void)state;
	struct fx_nexus *n = up(1, 1);
	struct params l;
	fill(n, 0, 0, 8192);
	list_start(&l, 5, COPY_LIST_ID_HOLD);
	list_target(&l, 0);
	list_segment(&l, 0, 0, 0, 16384, 8192);
	struct fx_cmd *c = copy_cmd(n, 0, &l);
	fx_start(c);
	run_into_the_copy(n, c);
	struct fx_cmd *s = copy_cmd(n, 0, &l);
	fx_start(s);
	fx_run(&f);
	fx_assert_good(c);
	fx_assert_sense(s, 5, 0x00, 0x16);
	fx_down(&f);
}

static void
more_copies_than_places_are_busy(void **state)
{
	(void)state;
	struct fx_nexus *n = up(1, 1);
	struct params l;
	struct fx_cmd *c[SCSI_COPIES_MAX + 1];
	unsigned busy = 0;
	fill(n, 0, 0, 4096);
	list_start(&l, 0, COPY_LIST_ID_NONE);
	list_target(&l, 0);
	list_segment(&l, 0, 0, 0, 16384, 4096);
	for (unsigned i = 0; i < SCSI_COPIES_MAX + 1; i++) {
		c[i] = copy_cmd(n, 0, &l);
		fx_start(c[i]);
	}
	fx_run(&f);
	for (unsigned i = 0; i < SCSI_COPIES_MAX + 1; i++) {
		if (c[i]->status == SCSI_BUSY)
			busy++;
		else
			fx_assert_good(c[i]);
	}
	assert_int_equal(busy, 1);
	assert_copied(n, 0, 16384, 0, 4096);
	fx_down(&f);
}

static void
receive_data_is_not_there(void **state)
{
	(void)state;
	struct fx_nexus *n = up(1, 1);
	struct fx_cmd *c = results(n, 0x01, 1);
	int bit;
	fx_assert_sense(c, 5, 0x24, 0x00);
	assert_int_equal(fx_sense_field(c, &bit), 1);
	fx_down(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(copies_within_a_unit),
	    cmocka_unit_test(copies_to_another_unit_in_pieces),
	    cmocka_unit_test(copies_between_two_other_units),
	    cmocka_unit_test(copies_all_segments_in_order),
	    cmocka_unit_test(overlap_copies_as_if_read_first),
	    cmocka_unit_test(blocks_of_4096_bytes_are_copied),
	    cmocka_unit_test(eui64_and_t10_designators_name_units_too),
	    cmocka_unit_test(an_empty_list_is_good),
	    cmocka_unit_test(a_cut_list_is_a_length_error_at_every_length),
	    cmocka_unit_test(limits_are_those_that_are_reported),
	    cmocka_unit_test(unknown_descriptor_types_are_refused),
	    cmocka_unit_test(fields_that_mean_something_else_are_refused),
	    cmocka_unit_test(targets_that_are_not_there_abort_the_copy),
	    cmocka_unit_test(only_units_of_the_own_view_are_reached),
	    cmocka_unit_test(ranges_are_checked_before_anything_is_written),
	    cmocka_unit_test(write_protected_destinations_are_refused),
	    cmocka_unit_test(reservations_of_all_units_are_respected),
	    cmocka_unit_test(an_aborted_copy_stops_between_pieces),
	    cmocka_unit_test(a_fence_on_the_destination_stops_the_copy),
	    cmocka_unit_test(a_nexus_loss_ends_its_copies),
	    cmocka_unit_test(compare_and_write_is_atomic_against_a_copy),
	    cmocka_unit_test(a_read_error_fails_the_copy_with_details),
	    cmocka_unit_test(a_full_destination_is_out_of_space),
	    cmocka_unit_test(a_destination_that_is_gone_fails_the_copy),
	    cmocka_unit_test(an_abort_waits_for_the_write_on_the_other_unit),
	    cmocka_unit_test(a_fencing_change_waits_for_guests),
	    cmocka_unit_test(a_change_of_another_unit_does_not_wait),
	    cmocka_unit_test(status_of_a_held_copy_is_remembered),
	    cmocka_unit_test(results_are_of_the_nexus_that_copied),
	    cmocka_unit_test(discarded_copies_leave_nothing),
	    cmocka_unit_test(the_last_copies_are_remembered),
	    cmocka_unit_test(a_list_id_in_use_is_refused),
	    cmocka_unit_test(more_copies_than_places_are_busy),
	    cmocka_unit_test(receive_data_is_not_there),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
