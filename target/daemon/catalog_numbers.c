/* SPDX-License-Identifier: BSD-2-Clause */
/* The numbers of portals and targets: given once, kept. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/endian.h"
#include "daemon/catalog_priv.h"

#define PORTS_PER_TARGET CATALOG_PORTALS_MAX
_Static_assert(CATALOG_TARGETS_MAX *PORTS_PER_TARGET <= 65535, "identifiers have 16 bits");

struct number_record {
	le16 version;  /*  0  1 */
	le16 number;   /*  2 */
	le32 reserved; /*  4  0 */
};
_Static_assert(sizeof(struct number_record) == 8, "format");

/* By kind: first byte of the key, numbers there are, how they begin and step. */
static const struct {
	char tag;
	uint16_t count, first, step;
} kinds[] = {
    [CATALOG_PORTAL] = {'p', CATALOG_PORTALS_MAX, 1, 1},
    [CATALOG_TARGET] = {'t', CATALOG_TARGETS_MAX, 1, PORTS_PER_TARGET},
};
#define KIND_COUNT (sizeof kinds / sizeof kinds[0])

/* Which numbers are taken, by index; by whom it doesn't matter. */
struct taken {
	bool by_present[CATALOG_TARGETS_MAX]; /* by an object of the configuration */
	bool by_past[CATALOG_TARGETS_MAX];    /* by one that isn't there any more */
};

static int
decode(const MDB_val *val, enum catalog_number_kind kind, unsigned *ret_idx)
{
	struct number_record r;
	if (val->mv_size != sizeof r)
		return -EINVAL;
	memcpy(&r, val->mv_data, sizeof r);
	unsigned n = le16_get(r.number);
	if (le16_get(r.version) != 1 || le32_get(r.reserved) != 0 || n < kinds[kind].first ||
	    (n - kinds[kind].first) % kinds[kind].step != 0)
		return -EINVAL;
	n = (n - kinds[kind].first) / kinds[kind].step;
	if (n >= kinds[kind].count)
		return -EINVAL;
	*ret_idx = n;
	return 0;
}

static uint16_t
number_of(enum catalog_number_kind kind, unsigned idx)
{
	return (uint16_t)(kinds[kind].first + idx * kinds[kind].step);
}

/* Those that are in the table keep theirs; 0 is "none yet". */
static int
look_up(struct catalog *c, MDB_txn *txn, struct catalog_number_request *r, struct taken *taken)
{
	struct catalog_key k;
	MDB_val val;
	unsigned idx;

	r->number = 0;
	int err = catalog_make_key(r->name, kinds[r->kind].tag, &k);
	if (err < 0)
		return err;
	MDB_val mk = {.mv_size = k.len, .mv_data = k.b};
	err = catalog_errno(mdb_get(txn, c->numbers, &mk, &val));
	if (err == -ENOENT)
		return 0;
	if (err == 0)
		err = decode(&val, r->kind, &idx);
	if (err < 0)
		return err;
	if (taken[r->kind].by_present[idx])
		return -EINVAL; /* two rows, one number */
	taken[r->kind].by_present[idx] = true;
	r->number = number_of(r->kind, idx);
	return 0;
}

/* The numbers of all rows, those of the past too. */
static int
look_at_all(struct catalog *c, MDB_txn *txn, struct taken *taken)
{
	MDB_cursor *cur;
	MDB_val key, val;
	int err = catalog_errno(mdb_cursor_open(txn, c->numbers, &cur));
	if (err < 0)
		return err;
	while ((err = catalog_errno(mdb_cursor_get(cur, &key, &val, MDB_NEXT))) == 0) {
		char tag = key.mv_size > 0 ? *(const char *)key.mv_data : '\0';
		for (unsigned kind = 0; kind < KIND_COUNT; kind++) {
			unsigned idx;
			if (tag == kinds[kind].tag &&
			    decode(&val, (enum catalog_number_kind)kind, &idx) == 0)
				taken[kind].by_past[idx] = true;
		}
	}
	mdb_cursor_close(cur);
	return err == -ENOENT ? 0 : err;
}

/* Removes the row of an object of the past that has the number. */
static int
take_away(struct catalog *c, MDB_txn *txn, enum catalog_number_kind kind, unsigned idx)
{
	uint8_t name[CATALOG_KEY_PLAIN_MAX + 1];
	MDB_cursor *cur;
	MDB_val key, val;
	int err = catalog_errno(mdb_cursor_open(txn, c->numbers, &cur));
	if (err < 0)
		return err;
	while ((err = catalog_errno(mdb_cursor_get(cur, &key, &val, MDB_NEXT))) == 0) {
		unsigned at;
		if (key.mv_size > 0 && key.mv_size <= sizeof name &&
		    *(const char *)key.mv_data == kinds[kind].tag && decode(&val, kind, &at) == 0 &&
		    at == idx) {
			memcpy(name, key.mv_data, key.mv_size);
			key.mv_data = name;
			break;
		}
	}
	mdb_cursor_close(cur);
	return err < 0 ? err : catalog_del(c, txn, c->numbers, &key);
}

/* A number for an object that has none: one that nobody ever had, else one of the past. */
static int
give(struct catalog *c, MDB_txn *txn, struct catalog_number_request *r, struct taken *taken)
{
	struct taken *t = &taken[r->kind];
	unsigned count = kinds[r->kind].count, idx;
	for (idx = 0; idx < count && (t->by_present[idx] || t->by_past[idx]); idx++)
		;
	if (idx == count) {
		for (idx = 0; idx < count && t->by_present[idx]; idx++)
			;
		if (idx == count)
			return -ERANGE;
		int err = take_away(c, txn, r->kind, idx);
		if (err < 0)
			return err;
	}
	t->by_present[idx] = true;
	r->number = number_of(r->kind, idx);
	struct number_record rec = {0};
	le16_put(&rec.version, 1);
	le16_put(&rec.number, r->number);
	struct catalog_key k;
	int err = catalog_make_key(r->name, kinds[r->kind].tag, &k);
	MDB_val mk = {.mv_size = k.len, .mv_data = k.b};
	MDB_val val = {.mv_size = sizeof rec, .mv_data = &rec};
	return err < 0 ? err : catalog_put(c, txn, c->numbers, &mk, &val);
}

static int
give_all(struct catalog *c, MDB_txn *txn, struct catalog_number_request *list, unsigned count,
    unsigned *ret_failed, bool *ret_write)
{
	struct taken *taken = calloc(KIND_COUNT, sizeof *taken);
	unsigned missing = 0;
	int err = taken != NULL ? 0 : -ENOMEM;
	for (unsigned i = 0; err == 0 && i < count; i++) {
		*ret_failed = i;
		ASSERT((unsigned)list[i].kind < KIND_COUNT);
		err = look_up(c, txn, &list[i], taken);
		missing += err == 0 && list[i].number == 0;
	}
	if (err == 0 && missing > 0)
		err = look_at_all(c, txn, taken);
	for (unsigned i = 0; err == 0 && missing > 0 && i < count; i++) {
		*ret_failed = i;
		if (list[i].number == 0)
			err = give(c, txn, &list[i], taken);
	}
	*ret_write = missing > 0;
	free(taken);
	return err;
}

int
catalog_numbers(struct catalog *c, struct catalog_number_request *list, unsigned count, bool keep,
    unsigned *ret_failed)
{
	MDB_txn *txn;
	bool write = false;

	*ret_failed = 0;
	int err = catalog_errno(mdb_txn_begin(c->env, NULL, 0, &txn));
	if (err < 0)
		return err;
	err = give_all(c, txn, list, count, ret_failed, &write);
	if (err == 0 && write && keep)
		return catalog_errno(mdb_txn_commit(txn));
	mdb_txn_abort(txn);
	return err;
}
