/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/scsi/pr_util.h"

#include <stdio.h>
#include <string.h>

static void
add_port(void *ctx)
{
	struct fx *f = ctx;
	assert_int_equal(
	    scsi_core_add_port(f->core, 2, 1, "iqn.test:target", "iqn.test:target,t,0x0002"), 0);
}

void
pr_up(struct fx *f, unsigned loops, uint64_t seed, const char *spec)
{
	fx_up(f, loops, seed);
	fx_on_loop(f, 0, add_port, f);
	fx_run(f);
	fx_add_lu(f, spec, NULL);
}

size_t
pr_make_tid(const char *port_name, uint8_t buf[SCSI_TRANSPORT_ID_MAX])
{
	size_t len = fx_iscsi_transport_id(port_name, buf);
	buf[0] = 0x45;
	return len;
}

/* The fixture names devices; reservations are about ports. */
static void
rename_port(void *ctx)
{
	struct fx_nexus *n = ctx;

	n->n->transport_id_len = (uint16_t)pr_make_tid(n->initiator, n->n->transport_id);
	n->transport_id_len = n->n->transport_id_len;
	memcpy(n->transport_id, n->n->transport_id, n->transport_id_len);
	for (uint32_t i = 0; i < n->n->nlu_count; i++)
		scsi_pr_refresh(n->n->nlus[i]);
}

struct fx_nexus *
pr_login(struct fx *f, unsigned loop, const char *name, uint16_t rel_port)
{
	char port[64];

	snprintf(port, sizeof(port), "iqn.%s,i,0x000000000001", name);
	struct fx_nexus *n = fx_login_port(f, loop, port, rel_port, true);
	fx_on_loop(f, loop, rename_port, n);
	fx_assert_sense(fx_tur(n, 0), 0x6, 0x29, 0x00);
	return n;
}

static struct fx_cmd *
list_cmd(struct fx_nexus *n, enum pr_out_sa sa, unsigned type, const void *list, size_t len)
{
	uint8_t cdb[10] = {0x5f, (uint8_t)sa, (uint8_t)type};

	store_be32(cdb + 5, (uint32_t)len);
	return fx_cmd(n, 0, cdb, sizeof(cdb), list, len, 0);
}

struct fx_cmd *
pr_out_cmd(struct fx_nexus *n, enum pr_out_sa sa, unsigned type, uint64_t key, uint64_t sa_key,
    unsigned flags)
{
	/* Borrowed until the command is done; tests have few in flight. */
	static uint8_t lists[16][24];
	static unsigned turn;

	uint8_t *list = lists[turn++ % 16];
	memset(list, 0, 24);
	store_be64(list, key);
	store_be64(list + 8, sa_key);
	list[20] = (uint8_t)flags;
	return list_cmd(n, sa, type, list, 24);
}

static struct fx_cmd *
exec(struct fx_cmd *c)
{
	fx_start(c);
	fx_run(c->nexus->f);
	assert_true(c->done);
	return c;
}

struct fx_cmd *
pr_out(struct fx_nexus *n, enum pr_out_sa sa, unsigned type, uint64_t key, uint64_t sa_key,
    unsigned flags)
{
	return exec(pr_out_cmd(n, sa, type, key, sa_key, flags));
}

struct fx_cmd *
pr_out_list(struct fx_nexus *n, enum pr_out_sa sa, unsigned type, const void *list, size_t len)
{
	return exec(list_cmd(n, sa, type, list, len));
}

struct fx_cmd *
pr_in(struct fx_nexus *n, unsigned sa, uint16_t alloc)
{
	uint8_t cdb[10] = {0x5e, (uint8_t)sa};

	store_be16(cdb + 7, alloc);
	return fx_exec(n, 0, cdb, sizeof(cdb), NULL, 0, alloc);
}

struct fx_cmd *
spc2_cmd(struct fx_nexus *n, bool reserve)
{
	uint8_t cdb[6] = {reserve ? 0x16 : 0x17};

	return fx_exec(n, 0, cdb, sizeof(cdb), NULL, 0, 0);
}

void
assert_keys(struct fx_nexus *n, ...)
{
	struct fx_cmd *c = pr_in(n, 0, 4096);
	va_list ap;
	uint32_t count = 0;

	fx_assert_good(c);
	va_start(ap, n);
	for (uint64_t key; (key = va_arg(ap, unsigned)) != 0; count++) {
		assert_true(c->in_len >= 8 + 8 * (count + 1));
		assert_int_equal(load_be64(c->in + 8 + 8 * count), key);
	}
	va_end(ap);
	assert_int_equal(load_be32(c->in + 4), 8 * count);
	assert_int_equal(c->in_len, 8 + 8 * count);
}

void
assert_reservation(struct fx_nexus *n, unsigned type, uint64_t key)
{
	struct fx_cmd *c = pr_in(n, 1, 4096);

	fx_assert_good(c);
	if (type == 0) {
		assert_int_equal(c->in_len, 8);
		assert_int_equal(load_be32(c->in + 4), 0);
		return;
	}
	assert_int_equal(c->in_len, 24);
	assert_int_equal(load_be32(c->in + 4), 16);
	assert_int_equal(load_be64(c->in + 8), key);
	assert_int_equal(c->in[21], type);
}

uint32_t
pr_generation(struct fx_nexus *n)
{
	struct fx_cmd *c = pr_in(n, 0, 8);

	fx_assert_good(c);
	return load_be32(c->in);
}

void
assert_ua(struct fx_nexus *n, unsigned ascq)
{
	fx_assert_sense(fx_tur(n, 0), 0x6, 0x2a, (int)ascq);
	assert_no_ua(n);
}

void
assert_no_ua(struct fx_nexus *n)
{
	fx_assert_good(fx_tur(n, 0));
}

static bool
passes(const struct fx_cmd *c)
{
	if (c->status == SCSI_RESERVATION_CONFLICT)
		return false;
	fx_assert_good(c);
	return true;
}

bool
may_read(struct fx_nexus *n)
{
	return passes(fx_read16(n, 0, 0, 1));
}

bool
may_write(struct fx_nexus *n)
{
	static const uint8_t zero[512];

	return passes(fx_write16(n, 0, 0, 1, zero));
}
