/* SPDX-License-Identifier: BSD-2-Clause */
/* MODE SENSE and MODE SELECT. */
#include "tests/unit/scsi/scsi_fixture.h"

#include "base/endian.h"

static struct fx f;

static struct fx_nexus *
up(const struct scsi_lu_args *a)
{
	fx_up(&f, 2, 11);
	fx_add_lu(&f, "ram:", a);
	return fx_login(&f, 0, "iqn.test:a");
}

static struct fx_cmd *
sense6(struct fx_nexus *n, uint8_t flags, uint8_t page, uint8_t subpage, uint8_t alloc)
{
	const uint8_t cdb[6] = {0x1a, flags, page, subpage, alloc, 0};
	return fx_exec(n, 0, cdb, sizeof cdb, NULL, 0, alloc);
}

static struct fx_cmd *
sense10(struct fx_nexus *n, uint8_t flags, uint8_t page, uint8_t subpage, uint16_t alloc)
{
	uint8_t cdb[10] = {0x5a, flags, page, subpage};
	store_be16(cdb + 7, alloc);
	return fx_exec(n, 0, cdb, sizeof cdb, NULL, 0, alloc);
}

static struct fx_cmd *
select6(struct fx_nexus *n, uint8_t flags, const void *list, size_t len)
{
	const uint8_t cdb[6] = {0x15, flags, 0, 0, (uint8_t)len, 0};
	return fx_exec(n, 0, cdb, sizeof cdb, list, len, 0);
}

static struct fx_cmd *
select10(struct fx_nexus *n, uint8_t flags, const void *list, size_t len)
{
	uint8_t cdb[10] = {0x55, flags};
	store_be16(cdb + 7, (uint16_t)len);
	return fx_exec(n, 0, cdb, sizeof cdb, list, len, 0);
}

/* A MODE SELECT(6) list: header, control page as it is after login. */
#define CONTROL_LIST_BYTES 16
#define LIST_D_SENSE 6 /* offsets of the fields in the list */
#define LIST_SWP 8
#define LIST_TAS 9
static void
control_list(uint8_t list[CONTROL_LIST_BYTES])
{
	static const uint8_t page[12] = {0x0a, 0x0a, 0x22, 0x10};
	memset(list, 0, 4);
	memcpy(list + 4, page, sizeof page);
}

static void
assert_refused_at(const struct fx_cmd *c, int byte, int bit)
{
	int got;
	fx_assert_sense(c, 5, 0x26, 0x00);
	assert_int_equal(fx_sense_field(c, &got), byte);
	assert_int_equal(got, bit);
}

static void
all_pages_are_as_written_down(void **state)
{
	(void)state;
	struct fx_nexus *n = up(NULL);
	static const uint8_t want[] = {
	    0x93,
	    0x00,
	    0x10,
	    0x08, /* DPOFUA, one block descriptor */
	    0x00,
	    0x00,
	    0x80,
	    0x00,
	    0x00,
	    0x00,
	    0x02,
	    0x00, /* 32768 blocks of 512 bytes */
	    0x01,
	    0x0a,
	    0xc0,
	    0,
	    0,
	    0,
	    0,
	    0,
	    0,
	    0,
	    0,
	    0, /**/
	    0x02,
	    0x0e,
	    0,
	    0,
	    0,
	    0,
	    0,
	    0,
	    0,
	    0,
	    0,
	    0,
	    0,
	    0,
	    0,
	    0,
	    0x03,
	    0x16,
	    0,
	    0,
	    0,
	    0,
	    0,
	    0,
	    0,
	    0,
	    0x01,
	    0x00,
	    0x02,
	    0x00,
	    0x00,
	    0x01,
	    0,
	    0,
	    0,
	    0,
	    0x40,
	    0,
	    0,
	    0,
	    0x08,
	    0x12,
	    0,
	    0,
	    0,
	    0,
	    0,
	    0,
	    0,
	    0,
	    0,
	    0,
	    0,
	    0,
	    0,
	    0,
	    0,
	    0,
	    0,
	    0, /**/
	    0x0a,
	    0x0a,
	    0x22,
	    0x10,
	    0,
	    0,
	    0,
	    0,
	    0,
	    0,
	    0,
	    0, /**/
	    0x1a,
	    0x26,
	    0,
	    0,
	    0,
	    0,
	    0,
	    0,
	    0,
	    0,
	    0,
	    0,
	    0,
	    0,
	    0,
	    0,
	    0,
	    0,
	    0,
	    0,
	    0,
	    0,
	    0,
	    0,
	    0,
	    0,
	    0,
	    0,
	    0,
	    0,
	    0,
	    0,
	    0,
	    0,
	    0,
	    0,
	    0,
	    0,
	    0,
	    0,
	    0x1c,
	    0x0a,
	    0x08,
	    0,
	    0,
	    0,
	    0,
	    0,
	    0,
	    0,
	    0,
	    0,
	};
	struct fx_cmd *c = sense6(n, 0, 0x3f, 0, 255);
	fx_assert_good(c);
	assert_int_equal(c->in_len, sizeof want);
	assert_memory_equal(c->in, want, sizeof want);
	fx_down(&f);
}

static void
all_subpages_come_with_subpage_ff(void **state)
{
	(void)state;
	struct fx_nexus *n = up(NULL);
	struct fx_cmd *c = sense6(n, 0x08, 0x0a, 0xff, 255);
	fx_assert_good(c);
	static const uint8_t extension[] = {
	    0x4a, 0x01, 0x00, 0x1c, 0x01, 0x00, SCSI_SENSE_MAX_BYTES};
	assert_int_equal(c->in_len, 4 + 12 + 32);
	assert_memory_equal(c->in + 16, extension, sizeof extension);
	assert_int_equal(sense6(n, 0x08, 0x3f, 0xff, 255)->in_len, 0x94 - 8 + 32);
	fx_down(&f);
}

static void
a_short_allocation_truncates_without_overflow(void **state)
{
	(void)state;
	struct fx_nexus *n = up(NULL);
	struct fx_cmd *c = sense6(n, 0, 0x3f, 0, 4);
	fx_assert_good(c);
	assert_int_equal(c->in_len, 4);
	assert_int_equal(c->xfer_bytes, 4);
	assert_int_equal(c->in[0], 0x93);
	fx_down(&f);
}

static void
long_block_descriptor_has_64_bits(void **state)
{
	(void)state;
	struct fx_nexus *n = up(NULL);
	struct fx_cmd *c = sense10(n, 0x10, 0x0a, 0, 255);
	static const uint8_t want[] = {0x00, 34, 0x00, 0x10, 0x01, 0x00, 0x00, 0x10, 0, 0, 0, 0, 0,
	    0, 0x80, 0x00, 0, 0, 0, 0, 0, 0, 0x02, 0x00};
	fx_assert_good(c);
	assert_int_equal(c->in_len, 36);
	assert_memory_equal(c->in, want, sizeof want);
	fx_down(&f);
}

static void
dbd_leaves_the_descriptor_out(void **state)
{
	(void)state;
	struct fx_nexus *n = up(NULL);
	struct fx_cmd *c = sense10(n, 0x08, 0x08, 0, 255);
	static const uint8_t want[8 + 20] = {0x00, 26, 0x00, 0x10, 0, 0, 0, 0, 0x08, 0x12};
	fx_assert_good(c);
	assert_int_equal(c->in_len, sizeof want);
	assert_memory_equal(c->in, want, sizeof want);
	fx_down(&f);
}

static void
changeable_values_are_swp_dsense_tas(void **state)
{
	(void)state;
	struct fx_nexus *n = up(NULL);
	struct fx_cmd *c = sense6(n, 0x08, 0x40 | 0x0a, 0, 255);
	static const uint8_t want[] = {0x0a, 0x0a, 0x04, 0x00, 0x08, 0x40, 0, 0, 0, 0, 0, 0};
	fx_assert_good(c);
	assert_memory_equal(c->in + 4, want, sizeof want);
	struct fx_cmd *caching = sense6(n, 0x08, 0x40 | 0x08, 0, 255);
	assert_int_equal(caching->in[6], 0); /* WCE: the store is durable */
	fx_down(&f);
}

static void
write_cache_is_changeable_on_volatile_units(void **state)
{
	(void)state;
	struct scsi_lu_args a = {.volatile_cache = true};
	struct fx_nexus *n = up(&a);
	assert_int_equal(sense6(n, 0x08, 0x08, 0, 255)->in[6], 0x04);
	assert_int_equal(sense6(n, 0x08, 0x40 | 0x08, 0, 255)->in[6], 0x04);
	const uint8_t off[4 + 20] = {0, 0, 0, 0, 0x08, 0x12};
	struct fx_cmd *c = select6(n, 0x10, off, sizeof off);
	fx_assert_good(c);
	assert_int_equal(sense6(n, 0x08, 0x08, 0, 255)->in[6], 0x00);
	assert_int_equal(sense6(n, 0x08, 0x80 | 0x08, 0, 255)->in[6], 0x04); /* default */
	fx_down(&f);
}

static void
saved_values_are_not_supported(void **state)
{
	(void)state;
	struct fx_nexus *n = up(NULL);
	struct fx_cmd *c = sense6(n, 0, 0xc0 | 0x3f, 0, 255);
	fx_assert_sense(c, 5, 0x39, 0x00);
	c = select6(n, 0x11, NULL, 0);
	fx_assert_sense(c, 5, 0x39, 0x00);
	fx_down(&f);
}

static void
unknown_pages_are_refused_with_a_pointer(void **state)
{
	(void)state;
	struct fx_nexus *n = up(NULL);
	int bit;
	struct fx_cmd *c = sense6(n, 0, 0x05, 0, 255);
	fx_assert_sense(c, 5, 0x24, 0x00);
	assert_int_equal(fx_sense_field(c, &bit), 2);
	assert_int_equal(bit, 5);
	c = sense6(n, 0, 0x0a, 0x02, 255);
	fx_assert_sense(c, 5, 0x24, 0x00);
	assert_int_equal(fx_sense_field(c, &bit), 3);
	fx_down(&f);
}

static void
wp_is_set_for_read_only_units(void **state)
{
	(void)state;
	struct scsi_lu_args a = {.read_only = true};
	struct fx_nexus *n = up(&a);
	assert_int_equal(sense6(n, 0, 0x3f, 0, 255)->in[2], 0x90);
	fx_down(&f);
}

static void
wp_is_set_for_a_read_only_view(void **state)
{
	(void)state;
	fx_up(&f, 1, 3);
	struct scsi_view_entry e = {.lun = 0, .read_only = true, .lu = fx_add_lu(&f, "ram:", NULL)};
	struct fx_nexus *n = fx_login_view(&f, 0, "iqn.test:a", &e, 1);
	fx_tur(n, 0); /* takes the unit attention */
	assert_int_equal(sense6(n, 0, 0x3f, 0, 255)->in[2], 0x90);
	fx_down(&f);
}

/* ---- MODE SELECT --------------------------------------------------------------------------------- */

static void
swp_protects_at_once_on_every_loop(void **state)
{
	(void)state;
	struct fx_nexus *n = up(NULL);
	struct fx_nexus *other = fx_login(&f, 1, "iqn.test:b");
	uint8_t list[CONTROL_LIST_BYTES], block[512] = {1};
	control_list(list);
	list[LIST_SWP] = 0x08;
	struct fx_cmd *c = select6(n, 0x10, list, sizeof list);
	fx_assert_good(c);
	c = fx_write16(n, 0, 0, 1, block);
	fx_assert_sense(c, 7, 0x27, 0x02);
	c = fx_read16(n, 0, 0, 1);
	fx_assert_good(c);
	assert_int_equal(sense6(n, 0, 0x0a, 0, 255)->in[2], 0x90);
	c = fx_tur(other, 0);
	fx_assert_sense(c, 6, 0x2a, 0x01);
	c = fx_write16(other, 0, 0, 1, block);
	fx_assert_sense(c, 7, 0x27, 0x02);
	list[LIST_SWP] = 0;
	c = select6(n, 0x10, list, sizeof list);
	fx_assert_good(c);
	c = fx_write16(n, 0, 0, 1, block);
	fx_assert_good(c);
	fx_down(&f);
}

static void
the_changer_gets_no_unit_attention(void **state)
{
	(void)state;
	struct fx_nexus *n = up(NULL);
	uint8_t list[CONTROL_LIST_BYTES];
	control_list(list);
	list[LIST_TAS] = 0x40;
	struct fx_cmd *c = select6(n, 0x10, list, sizeof list);
	fx_assert_good(c);
	c = fx_tur(n, 0);
	fx_assert_good(c);
	fx_down(&f);
}

static void
a_list_without_change_raises_nothing(void **state)
{
	(void)state;
	struct fx_nexus *n = up(NULL);
	struct fx_nexus *other = fx_login(&f, 1, "iqn.test:b");
	uint8_t list[CONTROL_LIST_BYTES];
	control_list(list);
	struct fx_cmd *c = select6(n, 0x10, list, sizeof list);
	fx_assert_good(c);
	c = fx_tur(other, 0);
	fx_assert_good(c);
	fx_down(&f);
}

static void
d_sense_switches_to_descriptor_format(void **state)
{
	(void)state;
	struct fx_nexus *n = up(NULL);
	uint8_t list[CONTROL_LIST_BYTES];
	control_list(list);
	list[LIST_D_SENSE] |= 0x04;
	struct fx_cmd *c = select6(n, 0x10, list, sizeof list);
	fx_assert_good(c);
	c = fx_read16(n, 0, UINT64_MAX, 1);
	fx_assert_sense(c, 5, 0x21, 0x00);
	assert_int_equal(c->sense[0] & 0x7f, 0x72);
	fx_down(&f);
}

static void
an_unchangeable_bit_is_refused_where_it_is(void **state)
{
	(void)state;
	struct fx_nexus *n = up(NULL);
	uint8_t list[CONTROL_LIST_BYTES];
	control_list(list);
	list[LIST_D_SENSE] ^= 0x20; /* TST */
	assert_refused_at(select6(n, 0x10, list, sizeof list), LIST_D_SENSE, 5);
	fx_down(&f);
}

/* The first page is right, the second isn't: neither is applied. */
static void
nothing_changes_when_any_page_is_wrong(void **state)
{
	(void)state;
	struct fx_nexus *n = up(NULL);
	uint8_t list[CONTROL_LIST_BYTES + 20] = {0};
	control_list(list);
	list[LIST_SWP] = 0x08;
	list[CONTROL_LIST_BYTES] = 0x08;
	list[CONTROL_LIST_BYTES + 1] = 0x12;
	list[CONTROL_LIST_BYTES + 2] = 0x04; /* WCE */
	assert_refused_at(select6(n, 0x10, list, sizeof list), CONTROL_LIST_BYTES + 2, 2);
	assert_int_equal(sense6(n, 0x08, 0x0a, 0, 255)->in[8], 0x00);
	fx_down(&f);
}

static void
a_cut_list_is_a_length_error_at_every_length(void **state)
{
	(void)state;
	struct fx_nexus *n = up(NULL);
	uint8_t list[CONTROL_LIST_BYTES];
	control_list(list);
	list[LIST_SWP] = 0x08;
	for (size_t len = 1; len < sizeof list; len++) {
		struct fx_cmd *c = select6(n, 0x10, list, len);
		if (len == 4) /* the header alone is a list without pages */
			fx_assert_good(c);
		else
			fx_assert_sense(c, 5, 0x1a, 0x00);
	}
	assert_int_equal(sense6(n, 0x08, 0x0a, 0, 255)->in[8], 0x00);
	fx_down(&f);
}

static void
an_empty_list_is_good(void **state)
{
	(void)state;
	struct fx_nexus *n = up(NULL);
	struct fx_cmd *c = select6(n, 0x10, NULL, 0);
	fx_assert_good(c);
	c = select10(n, 0x10, NULL, 0);
	fx_assert_good(c);
	fx_down(&f);
}

static void
wrong_page_length_ps_and_unknown_page_are_refused(void **state)
{
	(void)state;
	struct fx_nexus *n = up(NULL);
	uint8_t list[CONTROL_LIST_BYTES];
	control_list(list);
	list[5] = 0x09;
	assert_refused_at(select6(n, 0x10, list, sizeof list), 5, -1);
	control_list(list);
	list[4] |= 0x80;
	assert_refused_at(select6(n, 0x10, list, sizeof list), 4, 7);
	control_list(list);
	list[4] = 0x05;
	assert_refused_at(select6(n, 0x10, list, sizeof list), 4, 5);
	fx_down(&f);
}

static void
pages_need_the_pf_bit(void **state)
{
	(void)state;
	struct fx_nexus *n = up(NULL);
	uint8_t list[CONTROL_LIST_BYTES];
	control_list(list);
	struct fx_cmd *c = select6(n, 0x00, list, sizeof list);
	fx_assert_sense(c, 5, 0x24, 0x00);
	fx_down(&f);
}

static void
block_descriptor_may_say_what_is_there(void **state)
{
	(void)state;
	struct fx_nexus *n = up(NULL);
	uint8_t list[4 + 8] = {0, 0, 0, 8, 0x00, 0x00, 0x80, 0x00, 0x00, 0x00, 0x02, 0x00};
	struct fx_cmd *c = select6(n, 0x10, list, sizeof list);
	fx_assert_good(c);
	list[6] = 0x40; /* another capacity */
	assert_refused_at(select6(n, 0x10, list, sizeof list), 4, -1);
	list[6] = 0x80;
	list[10] = 0x10; /* 4096 byte blocks */
	assert_refused_at(select6(n, 0x10, list, sizeof list), 9, -1);
	list[3] = 7;
	assert_refused_at(select6(n, 0x10, list, sizeof list), 3, -1);
	fx_down(&f);
}

static void
select10_takes_the_long_descriptor(void **state)
{
	(void)state;
	struct fx_nexus *n = up(NULL);
	uint8_t list[8 + 16 + 12] = {0};
	list[4] = 0x01; /* LONGLBA */
	list[7] = 16;
	store_be64(list + 8, 32768);
	store_be32(list + 20, 512);
	static const uint8_t page[12] = {0x0a, 0x0a, 0x22, 0x10, 0x00, 0x40};
	memcpy(list + 24, page, sizeof page);
	struct fx_cmd *c = select10(n, 0x10, list, sizeof list);
	fx_assert_good(c);
	assert_int_equal(sense6(n, 0x08, 0x0a, 0, 255)->in[9], 0x40); /* TAS */
	fx_down(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(all_pages_are_as_written_down),
	    cmocka_unit_test(all_subpages_come_with_subpage_ff),
	    cmocka_unit_test(a_short_allocation_truncates_without_overflow),
	    cmocka_unit_test(long_block_descriptor_has_64_bits),
	    cmocka_unit_test(dbd_leaves_the_descriptor_out),
	    cmocka_unit_test(changeable_values_are_swp_dsense_tas),
	    cmocka_unit_test(write_cache_is_changeable_on_volatile_units),
	    cmocka_unit_test(saved_values_are_not_supported),
	    cmocka_unit_test(unknown_pages_are_refused_with_a_pointer),
	    cmocka_unit_test(wp_is_set_for_read_only_units),
	    cmocka_unit_test(wp_is_set_for_a_read_only_view),
	    cmocka_unit_test(swp_protects_at_once_on_every_loop),
	    cmocka_unit_test(the_changer_gets_no_unit_attention),
	    cmocka_unit_test(a_list_without_change_raises_nothing),
	    cmocka_unit_test(d_sense_switches_to_descriptor_format),
	    cmocka_unit_test(an_unchangeable_bit_is_refused_where_it_is),
	    cmocka_unit_test(nothing_changes_when_any_page_is_wrong),
	    cmocka_unit_test(a_cut_list_is_a_length_error_at_every_length),
	    cmocka_unit_test(an_empty_list_is_good),
	    cmocka_unit_test(wrong_page_length_ps_and_unknown_page_are_refused),
	    cmocka_unit_test(pages_need_the_pf_bit),
	    cmocka_unit_test(block_descriptor_may_say_what_is_there),
	    cmocka_unit_test(select10_takes_the_long_descriptor),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
