/* SPDX-License-Identifier: BSD-2-Clause */
/* What of a unit and of the ports changes while nexuses work, and how long commands take. */
#include "tests/unit/scsi/scsi_fixture.h"

#include <errno.h>
#include <string.h>

#include "base/endian.h"
#include "store/fault.h"

static struct fx f;

/* ---- read only --------------------------------------------------------------------------------- */

struct set_read_only {
	struct scsi_lu *lu;
	bool value, done;
	int rc;
	uint64_t done_at_step;
};

static void
set_done(void *ctx)
{
	struct set_read_only *s = ctx;
	assert_false(s->done);
	s->done = true;
	s->done_at_step = ++f.done_count;
}

static void
set_call(void *ctx)
{
	struct set_read_only *s = ctx;
	s->rc = scsi_lu_set_read_only(s->lu, s->value, set_done, s);
	assert_false(s->done);
	if (s->rc == 0)
		assert_int_equal(scsi_lu_read_only(s->lu), s->value);
}

static void
read_only_stops_writes_everywhere_after_those_under_way(void **state)
{
	(void)state;
	fx_up(&f, 3, 7);
	fx_add_lu(&f, "fault:3:delay_us=1000000-1000000:ram:", NULL);
	struct fx_nexus *a = fx_login(&f, 1, "iqn.a"), *b = fx_login(&f, 2, "iqn.b");
	uint8_t data[512] = {1};
	struct fx_cmd *w = fx_rw16_cmd(a, 0, true, 1, 1, data);
	fx_start(w);
	struct set_read_only s = {.lu = f.lus[0], .value = true};
	fx_on_loop(&f, 0, set_call, &s);
	assert_int_equal(s.rc, 0);
	loop_sim_run(f.world, 500000000, 100000);
	assert_false(s.done);
	fx_run(&f);
	fx_assert_good(w);
	assert_true(s.done && w->done_at_step < s.done_at_step);
	for (unsigned i = 0; i < 2; i++) {
		struct fx_nexus *n = i == 0 ? a : b;
		fx_assert_sense(fx_tur(n, 0), 0x6, 0x2a, 0x01);
		fx_assert_sense(fx_write16(n, 0, 1, 1, data), 0x7, 0x27, 0x00);
		uint8_t sense6[6] = {0x1a, 0x08, 0x3f, [4] = 255};
		struct fx_cmd *c = fx_exec(n, 0, sense6, 6, NULL, 0, 255);
		fx_assert_good(c);
		assert_int_equal(c->in[2] & 0x80, 0x80); /* WP */
	}
	s = (struct set_read_only){.lu = f.lus[0], .value = true};
	fx_on_loop(&f, 0, set_call, &s); /* again: nobody is told */
	fx_run(&f);
	assert_true(s.done);
	fx_assert_good(fx_tur(a, 0));
	s = (struct set_read_only){.lu = f.lus[0], .value = false};
	fx_on_loop(&f, 0, set_call, &s);
	fx_run(&f);
	fx_assert_sense(fx_tur(a, 0), 0x6, 0x2a, 0x01);
	fx_assert_good(fx_write16(a, 0, 1, 1, data));
	fx_down(&f);
}

/* ---- ports ---------------------------------------------------------------------------------------- */

struct port_op {
	uint16_t id;
	int rc;
};

static void
add_port(void *ctx)
{
	struct port_op *p = ctx;
	p->rc = scsi_core_add_port(f.core, p->id, 1, "iqn.test:target", "iqn.test:target,t,0x0002");
}

static void
remove_port(void *ctx)
{
	scsi_core_remove_port(f.core, ((struct port_op *)ctx)->id);
}

/* The ports in REPORT TARGET PORT GROUPS, as bits of their numbers. */
static unsigned
ports_seen(struct fx_nexus *n)
{
	uint8_t cdb[12] = {0xa3, 0x0a};
	store_be32(cdb + 6, 1024);
	struct fx_cmd *c = fx_exec(n, 0, cdb, 12, NULL, 0, 1024);
	fx_assert_good(c);
	unsigned bits = 0;
	uint32_t len = load_be32(c->in) + 4;
	for (uint32_t at = 4; at < len;) {
		unsigned count = c->in[at + 7];
		for (unsigned i = 0; i < count; i++)
			bits |= 1u << load_be16(c->in + at + 8 + 4 * i + 2);
		at += 8 + 4 * count;
	}
	return bits;
}

static void
ports_come_and_go_on_all_loops(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 10; seed++) {
		fx_up(&f, 3, seed);
		fx_add_lu(&f, "ram:", NULL);
		struct fx_nexus *n[3];
		for (unsigned i = 0; i < 3; i++)
			n[i] = fx_login(&f, i, "iqn.a");
		struct port_op two = {.id = 2}, three = {.id = 3};
		/* Without a turn between them: each loop gets them in this order. */
		fx_on_loop(&f, 0, add_port, &two);
		fx_on_loop(&f, 0, remove_port, &two);
		fx_on_loop(&f, 0, add_port, &two);
		fx_on_loop(&f, 0, add_port, &three);
		fx_on_loop(&f, 0, remove_port, &two);
		fx_on_loop(&f, 0, remove_port, &two); /* not there: nothing */
		fx_on_loop(&f, 0, add_port, &two);
		assert_int_equal(two.rc, 0);
		fx_on_loop(&f, 0, add_port, &two);
		assert_int_equal(two.rc, -EEXIST);
		fx_run(&f);
		for (unsigned i = 0; i < 3; i++)
			assert_int_equal(ports_seen(n[i]), 1u << 1 | 1u << 2 | 1u << 3);
		fx_on_loop(&f, 0, remove_port, &three);
		fx_run(&f);
		for (unsigned i = 0; i < 3; i++)
			assert_int_equal(ports_seen(n[i]), 1u << 1 | 1u << 2);
		fx_on_loop(&f, 0, remove_port, &two); /* still under way when the core ends */
		if (seed % 2 == 0)
			fx_run(&f);
		fx_down(&f);
	}
}

/* ---- latency ---------------------------------------------------------------------------------------- */

static void
buckets_are_without_gaps(void **state)
{
	(void)state;
	assert_int_equal(scsi_latency_floor_ns(0), 0);
	for (unsigned b = 1; b < SCSI_LATENCY_BUCKETS; b++)
		assert_true(scsi_latency_floor_ns(b) > scsi_latency_floor_ns(b - 1));
	/* Four to each doubling: none wider than a quarter of what it holds. */
	for (unsigned b = 4; b + 1 < SCSI_LATENCY_BUCKETS; b++) {
		uint64_t at = scsi_latency_floor_ns(b);
		assert_true(scsi_latency_floor_ns(b + 1) - at <= at / 4);
	}
	assert_true(scsi_latency_floor_ns(SCSI_LATENCY_BUCKETS - 1) > 60000000000ull);
}

static void
percentiles_count(void **state)
{
	(void)state;
	struct scsi_latency l = {{0}}, earlier = {{0}}, since;
	assert_int_equal(scsi_latency_percentile_ns(&l, 500), 0);
	l.buckets[10] = 990;
	l.buckets[50] = 9;
	l.buckets[SCSI_LATENCY_BUCKETS - 1] = 1;
	assert_int_equal(scsi_latency_count(&l), 1000);
	assert_int_equal(scsi_latency_percentile_ns(&l, 0), scsi_latency_floor_ns(11));
	assert_int_equal(scsi_latency_percentile_ns(&l, 500), scsi_latency_floor_ns(11));
	assert_int_equal(scsi_latency_percentile_ns(&l, 990), scsi_latency_floor_ns(11));
	assert_int_equal(scsi_latency_percentile_ns(&l, 991), scsi_latency_floor_ns(51));
	assert_int_equal(
	    scsi_latency_percentile_ns(&l, 1000), scsi_latency_floor_ns(SCSI_LATENCY_BUCKETS - 1));
	earlier.buckets[10] = 980;
	scsi_latency_since(&since, &l, &earlier);
	assert_int_equal(scsi_latency_count(&since), 20);
	assert_int_equal(scsi_latency_percentile_ns(&since, 500), scsi_latency_floor_ns(11));
	assert_int_equal(scsi_latency_percentile_ns(&since, 950), scsi_latency_floor_ns(51));
}

static void
commands_are_counted_by_their_time(void **state)
{
	(void)state;
	fx_up(&f, 2, 3);
	fx_add_lu(&f, "fault:3:delay_us=1000-1000:ram:", NULL);
	struct fx_nexus *n = fx_login(&f, 1, "iqn.a");
	uint8_t data[512] = {1};
	for (unsigned i = 0; i < 3; i++)
		fx_assert_good(fx_write16(n, 0, i, 1, data));
	fx_assert_good(fx_read16(n, 0, 0, 1));
	struct scsi_lu_stats st;
	scsi_lu_get_stats(f.lus[0], &st);
	assert_int_equal(scsi_latency_count(&st.write_latency), 3);
	assert_int_equal(scsi_latency_count(&st.read_latency), 1);
	uint64_t p = scsi_latency_percentile_ns(&st.write_latency, 1000);
	assert_true(p >= 1000000 && p <= 1500000);
	fx_down(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(read_only_stops_writes_everywhere_after_those_under_way),
	    cmocka_unit_test(ports_come_and_go_on_all_loops),
	    cmocka_unit_test(buckets_are_without_gaps),
	    cmocka_unit_test(percentiles_count),
	    cmocka_unit_test(commands_are_counted_by_their_time),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
