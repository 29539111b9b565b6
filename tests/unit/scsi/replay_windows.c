/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What Windows Server sends: the disk and MPIO drivers at arrival of a disk, then what the cluster
 * disk driver and cluster validation do with persistent reservations (two nodes with two paths each,
 * type 5, Write Exclusive - Registrants Only). Each answer is checked for what they make of it.
 */
#include "tests/unit/scsi/pr_util.h"

#define WERO 5u /* Write Exclusive - Registrants Only */

static struct fx f;

/* Keys of cluster nodes: a random part and Microsoft's mask. */
#define KEY_A 0x70a1b2c3734d5346ull /* …"sMSF" */
#define KEY_B 0x70d4e5f6734d5346ull

static struct fx_cmd *
in(struct fx_nexus *n, const void *cdb, size_t len, uint32_t cap)
{
	struct fx_cmd *c = fx_exec(n, 0, cdb, len, NULL, 0, cap);
	fx_assert_good(c);
	return c;
}

static void
up_thin(struct fx_nexus **n)
{
	struct scsi_lu_args a = {.thin = true, .physical_exponent = 3};
	fx_up(&f, 1, 9);
	fx_add_lu(&f, "ram:", &a);
	*n = fx_login(&f, 0, "iqn.1991-05.com.microsoft:node-a");
}

/* ---- a disk arrives ------------------------------------------------------------------------- */

static struct fx_cmd *
vpd(struct fx_nexus *n, uint8_t page, uint8_t alloc)
{
	const uint8_t cdb[6] = {0x12, 0x01, page, 0, alloc, 0};
	struct fx_cmd *c = in(n, cdb, sizeof cdb, alloc);
	assert_int_equal(c->in[1], page);
	return c;
}

static void
identity_is_read_first_short_then_whole(void **state)
{
	(void)state;
	struct fx_nexus *n;
	up_thin(&n);
	const uint8_t report_luns[12] = {0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 16};
	struct fx_cmd *c = in(n, report_luns, sizeof report_luns, 16);
	assert_int_equal(load_be32(c->in), 8);
	const uint8_t std36[6] = {0x12, 0, 0, 0, 36, 0};
	c = in(n, std36, sizeof std36, 36);
	assert_int_equal(c->in[0], 0x00);
	assert_int_equal(c->in[5] & 0x30, 0x30); /* MSDSM: ALUA */
	assert_int_equal(c->in[7] & 0x02, 0x02); /* CMDQUE */
	uint8_t whole_len = (uint8_t)(c->in[4] + 5);
	const uint8_t whole[6] = {0x12, 0, 0, 0, whole_len, 0};
	c = in(n, whole, sizeof whole, whole_len);
	assert_int_equal(c->in_len, whole_len);

	/* The header tells the length of the second request. */
	static const uint8_t pages[] = {0x00, 0x80, 0x83};
	for (size_t i = 0; i < sizeof pages; i++) {
		struct fx_cmd *head = vpd(n, pages[i], 4);
		assert_int_equal(head->in_len, 4);
		uint8_t len = (uint8_t)(load_be16(head->in + 2) + 4);
		assert_int_equal(vpd(n, pages[i], len)->in_len, len);
	}
	/* A unique and lasting identifier of the unit: what validation insists on. */
	c = vpd(n, 0x83, 255);
	bool found = false;
	for (size_t at = 4; at + 4 <= c->in_len; at += 4u + c->in[at + 3])
		found |= (c->in[at + 1] & 0x3f) == 0x03 && c->in[at + 3] == 16;
	assert_true(found);
	fx_down(&f);
}

static void
capacity_and_thin_provisioning_agree(void **state)
{
	(void)state;
	struct fx_nexus *n;
	up_thin(&n);
	const uint8_t capacity16[16] = {0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32};
	struct fx_cmd *c = in(n, capacity16, sizeof capacity16, 32);
	assert_int_equal(load_be64(c->in), FX_LU_BYTES / 512 - 1);
	assert_int_equal(c->in[14] & 0x80, 0x80); /* LBPME */
	const uint8_t capacity10[10] = {0x25};
	c = in(n, capacity10, sizeof capacity10, 8);
	assert_int_equal(load_be32(c->in), FX_LU_BYTES / 512 - 1);
	c = vpd(n, 0xb2, 64);
	assert_int_equal(c->in[5] & 0x80, 0x80); /* LBPU */
	assert_int_equal(c->in[6] & 0x07, 0x02);
	c = vpd(n, 0xb0, 64);
	assert_int_equal(c->in_len, 64);
	assert_true(load_be32(c->in + 20) > 0 && load_be32(c->in + 24) > 0);
	c = vpd(n, 0xb1, 64);
	assert_int_equal(load_be16(c->in + 4), 1); /* no defragmentation */
	/* ODX asks page 8Fh for block ROD tokens (descriptor 0000h): there is none. */
	c = vpd(n, 0x8f, 255);
	for (size_t at = 4; at + 4 <= c->in_len; at += 4u + load_be16(c->in + at + 2))
		assert_int_not_equal(load_be16(c->in + at), 0x0000);
	fx_down(&f);
}

static void
mode_pages_are_read_with_192_bytes(void **state)
{
	(void)state;
	struct fx_nexus *n;
	up_thin(&n);
	static const uint8_t pages[] = {0x3f, 0x08, 0x1c};
	for (size_t i = 0; i < sizeof pages; i++) {
		const uint8_t cdb[6] = {0x1a, 0, pages[i], 0, 192, 0};
		struct fx_cmd *c = in(n, cdb, sizeof cdb, 192);
		assert_int_equal(c->in_len, c->in[0] + 1u);
		assert_int_equal(c->in[2] & 0x80, 0); /* writable */
		assert_int_equal(c->in[3], 8);
		if (pages[i] != 0x3f)
			assert_int_equal(c->in[12] & 0x3f, pages[i]);
	}
	const uint8_t caching10[10] = {0x5a, 0x08, 0x08, 0, 0, 0, 0, 0, 192, 0};
	struct fx_cmd *c = in(n, caching10, sizeof caching10, 192);
	assert_int_equal(c->in[8], 0x08);
	fx_down(&f);
}

/* TRIM by the optimizer, then a look at what is mapped. */
static void
unmapped_slabs_show_in_lba_status(void **state)
{
	(void)state;
	struct fx_nexus *n;
	static uint8_t data[2 * 1024 * 1024];
	uint8_t cdb[10] = {0x42}, list[24] = {0}, status[16] = {0x9e, 0x12};
	up_thin(&n);
	memset(data, 0x11, sizeof data);
	struct fx_cmd *c = fx_write16(n, 0, 0, 4096, data);
	fx_assert_good(c);
	store_be16(list, 22);
	store_be16(list + 2, 16);
	store_be32(list + 16, 2048);
	store_be16(cdb + 7, sizeof list);
	c = fx_exec(n, 0, cdb, sizeof cdb, list, sizeof list, 0);
	fx_assert_good(c);
	store_be32(status + 10, 24);
	c = in(n, status, sizeof status, 24);
	assert_true(load_be32(c->in) >= 20);
	assert_int_equal(load_be64(c->in + 8), 0);
	assert_int_equal(load_be32(c->in + 16), 2048);
	assert_int_equal(c->in[20] & 0x0f, 0x01); /* deallocated */
	store_be64(status + 2, 2048);
	c = in(n, status, sizeof status, 24);
	assert_int_equal(c->in[20] & 0x0f, 0x00); /* mapped */
	fx_down(&f);
}

static void
flush_verify_and_prevent_are_good(void **state)
{
	(void)state;
	struct fx_nexus *n;
	up_thin(&n);
	const uint8_t sync10[10] = {0x35};
	const uint8_t verify10[10] = {0x2f, 0, 0, 0, 0, 0, 0, 0, 16};
	const uint8_t prevent[6] = {0x1e, 0, 0, 0, 1}, allow[6] = {0x1e};
	(void)in(n, sync10, sizeof sync10, 0);
	(void)in(n, verify10, sizeof verify10, 0);
	(void)in(n, prevent, sizeof prevent, 0);
	(void)in(n, allow, sizeof allow, 0);
	fx_down(&f);
}

/* ---- the cluster ------------------------------------------------------------------------------- */

struct cluster {
	struct fx_nexus *a[2], *b[2]; /* paths of the nodes, through ports 1 and 2 */
	struct fx_nexus *stranger;
};

static void
cluster_up(struct cluster *k)
{
	pr_up(&f, 2, 33, "ram:");
	for (uint16_t p = 0; p < 2; p++) {
		k->a[p] = pr_login(&f, 0, "1991-05.com.microsoft:node-a", (uint16_t)(p + 1));
		k->b[p] = pr_login(&f, 1, "1991-05.com.microsoft:node-b", (uint16_t)(p + 1));
	}
	k->stranger = pr_login(&f, 1, "2000-01.org.other:host", 1);
}

/* Node A owns the disk, node B is registered. */
static void
cluster_form(struct cluster *k)
{
	cluster_up(k);
	for (unsigned p = 0; p < 2; p++) {
		pr_register(k->a[p], KEY_A);
		pr_register(k->b[p], KEY_B);
	}
	pr_reserve(k->a[0], KEY_A, WERO);
}

/* READ KEYS returns `count` of them, in the order of registration. */
static void
assert_node_keys(struct fx_nexus *n, const uint64_t *want, unsigned count)
{
	struct fx_cmd *c = pr_in(n, 0, 4096);
	fx_assert_good(c);
	assert_int_equal(load_be32(c->in + 4), count * 8);
	assert_int_equal(c->in_len, 8 + count * 8);
	for (unsigned i = 0; i < count; i++)
		assert_int_equal(load_be64(c->in + 8 + i * 8), want[i]);
}

static const uint64_t both_nodes[] = {KEY_A, KEY_B, KEY_A, KEY_B};

static void
both_nodes_register_on_every_path(void **state)
{
	(void)state;
	struct cluster k;
	cluster_up(&k);
	/* First whether the disk can it at all. */
	struct fx_cmd *c = pr_in(k.a[0], 2, 8);
	fx_assert_good(c);
	assert_int_equal(load_be16(c->in), 8);
	assert_int_equal(c->in[3] & 0x80, 0x80); /* TMV */
	assert_int_equal(c->in[4] & 0xea, 0xea); /* all types but the obsolete ones */
	assert_node_keys(k.a[0], NULL, 0);
	for (unsigned p = 0; p < 2; p++) {
		pr_register(k.a[p], KEY_A);
		pr_register(k.b[p], KEY_B);
	}
	assert_node_keys(k.a[0], both_nodes, 4);
	/* With room for the header alone: how much there is. */
	c = pr_in(k.a[0], 0, 8);
	fx_assert_good(c);
	assert_int_equal(c->in_len, 8);
	assert_int_equal(load_be32(c->in + 4), 32);
	fx_down(&f);
}

static void
the_owner_reserves_and_registrants_write(void **state)
{
	(void)state;
	struct cluster k;
	cluster_form(&k);
	assert_reservation(k.b[0], WERO, KEY_A);
	for (unsigned p = 0; p < 2; p++) {
		assert_true(may_write(k.a[p]));
		assert_true(may_write(k.b[p]));
	}
	assert_true(may_read(k.stranger));
	assert_false(may_write(k.stranger));
	/* Reserving again what one holds is no conflict; for another one it is. */
	pr_reserve(k.a[0], KEY_A, WERO);
	struct fx_cmd *c = pr_out(k.b[0], PR_OUT_RESERVE, WERO, KEY_B, 0, 0);
	assert_conflict(c);
	fx_down(&f);
}

/* SPC-4 6.15.5; validation compares it with the registrations it made. */
static void
full_status_names_every_path(void **state)
{
	(void)state;
	struct cluster k;
	cluster_form(&k);
	struct fx_cmd *c = pr_in(k.b[1], 3, 4096);
	fx_assert_good(c);
	assert_int_equal(load_be32(c->in + 4), c->in_len - 8);
	unsigned count = 0, holders = 0, ports = 0;
	for (size_t at = 8; at + 24 <= c->in_len; at += 24 + load_be32(c->in + at + 20), count++) {
		const uint8_t *d = c->in + at;
		uint64_t key = load_be64(d);
		assert_true(key == KEY_A || key == KEY_B);
		if (d[12] & 0x01) {
			holders++;
			assert_int_equal(d[13], WERO);
			assert_int_equal(key, KEY_A);
		}
		ports |= 1u << load_be16(d + 18);
		uint32_t tid = load_be32(d + 20);
		assert_true(tid >= 24 && tid % 4 == 0);
		assert_int_equal(d[24] & 0x0f, 0x05); /* iSCSI */
	}
	assert_int_equal(count, 4);
	assert_int_equal(holders, 1);
	assert_int_equal(ports, 1u << 1 | 1u << 2);
	fx_down(&f);
}

/* The challenge: node A is silent, node B takes the disk over. */
static void
preempt_moves_the_disk_to_the_other_node(void **state)
{
	(void)state;
	struct cluster k;
	cluster_form(&k);
	struct fx_cmd *c = pr_out(k.b[0], PR_OUT_PREEMPT, WERO, KEY_B, KEY_A, 0);
	fx_assert_good(c);
	assert_reservation(k.b[1], WERO, KEY_B);
	const uint64_t left[] = {KEY_B, KEY_B};
	assert_node_keys(k.b[0], left, 2);
	for (unsigned p = 0; p < 2; p++) {
		assert_ua(k.a[p], 0x05); /* REGISTRATIONS PREEMPTED */
		assert_false(may_write(k.a[p]));
		assert_true(may_write(k.b[p]));
	}
	/* What A tries with its old key conflicts; it can come back only by registering anew. */
	c = pr_out(k.a[0], PR_OUT_RESERVE, WERO, KEY_A, 0, 0);
	assert_conflict(c);
	pr_register(k.a[0], KEY_A);
	assert_true(may_write(k.a[0]));
	fx_down(&f);
}

static void
release_tells_the_registrants(void **state)
{
	(void)state;
	struct cluster k;
	cluster_form(&k);
	struct fx_cmd *c = pr_out(k.a[0], PR_OUT_RELEASE, WERO, KEY_A, 0, 0);
	fx_assert_good(c);
	assert_reservation(k.a[0], 0, 0);
	assert_ua(k.b[0], 0x04); /* RESERVATIONS RELEASED */
	assert_true(may_write(k.stranger));
	pr_reserve(k.b[0], KEY_B, WERO);
	assert_reservation(k.a[0], WERO, KEY_B);
	fx_down(&f);
}

static void
clear_wipes_the_disk_for_a_new_cluster(void **state)
{
	(void)state;
	struct cluster k;
	cluster_form(&k);
	uint32_t generation = pr_generation(k.a[0]);
	struct fx_cmd *c = pr_out(k.a[0], PR_OUT_CLEAR, 0, KEY_A, 0, 0);
	fx_assert_good(c);
	assert_int_equal(pr_generation(k.a[0]), generation + 1);
	assert_node_keys(k.a[0], NULL, 0);
	assert_reservation(k.a[0], 0, 0);
	assert_ua(k.b[0], 0x03); /* RESERVATIONS PREEMPTED */
	assert_true(may_write(k.stranger));
	fx_down(&f);
}

/* Validation pulls a node's cable: the registration stays, the disk doesn't change its owner. */
static void
a_lost_session_keeps_its_registration(void **state)
{
	(void)state;
	struct cluster k;
	cluster_form(&k);
	fx_logout(k.a[0]);
	assert_node_keys(k.b[0], both_nodes, 4);
	assert_reservation(k.b[0], WERO, KEY_A);
	struct fx_nexus *again = pr_login(&f, 1, "1991-05.com.microsoft:node-a", 1);
	assert_true(may_write(again));
	fx_down(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(identity_is_read_first_short_then_whole),
	    cmocka_unit_test(capacity_and_thin_provisioning_agree),
	    cmocka_unit_test(mode_pages_are_read_with_192_bytes),
	    cmocka_unit_test(unmapped_slabs_show_in_lba_status),
	    cmocka_unit_test(flush_verify_and_prevent_are_good),
	    cmocka_unit_test(both_nodes_register_on_every_path),
	    cmocka_unit_test(the_owner_reserves_and_registrants_write),
	    cmocka_unit_test(full_status_names_every_path),
	    cmocka_unit_test(preempt_moves_the_disk_to_the_other_node),
	    cmocka_unit_test(release_tells_the_registrants),
	    cmocka_unit_test(clear_wipes_the_disk_for_a_new_cluster),
	    cmocka_unit_test(a_lost_session_keeps_its_registration),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
