/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Rows are changed through here, so that the record of the format knows how many there are and the sum of
 * their checksums: LMDB has none, and a row that is lost, or whose key is damaged, would look like one that
 * never was. That record is of the same transaction.
 */
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "base/crc32c.h"
#include "daemon/catalog_priv.h"

static const char *
table_name(const struct catalog *c, MDB_dbi table)
{
	if (table == c->identity)
		return "identity";
	if (table == c->lu[SCSI_PERSIST_PR])
		return "reservations";
	if (table == c->lu[SCSI_PERSIST_SANITIZE])
		return "sanitize";
	if (table == c->numbers)
		return "numbers";
	ASSERT(table == c->intents);
	return "intents";
}

/* Of the table's name with its end, the length of the key (16 bits), the key, the value. */
static uint32_t
row_crc(const struct catalog *c, MDB_dbi table, const MDB_val *key, const MDB_val *val)
{
	const char *name = table_name(c, table);
	le16 key_bytes;

	le16_put(&key_bytes, (uint16_t)key->mv_size);
	uint32_t crc = crc32c_update(CRC32C_INIT, name, strlen(name) + 1);
	crc = crc32c_update(crc, &key_bytes, sizeof key_bytes);
	crc = crc32c_update(crc, key->mv_data, key->mv_size);
	return crc32c_final(crc32c_update(crc, val->mv_data, val->mv_size));
}

/* ---- the record of the format -------------------------------------------------------------------- */

static uint32_t
format_crc(const struct catalog_format *f)
{
	struct catalog_format zeroed = *f;

	le32_put(&zeroed.crc, 0);
	return crc32c(&zeroed, sizeof zeroed);
}

int
catalog_format_get(struct catalog *c, MDB_txn *txn, struct catalog_format *f)
{
	MDB_val key = {.mv_size = 6, .mv_data = (void *)(uintptr_t) "format"}, val;
	struct catalog_format was = {0};

	int err = catalog_errno(mdb_get(txn, c->meta, &key, &val));
	if (err < 0)
		return err;
	if (val.mv_size < CATALOG_FORMAT_BYTES_OLD)
		return -EINVAL;
	bool old = val.mv_size < sizeof was;
	memcpy(&was, val.mv_data, old ? CATALOG_FORMAT_BYTES_OLD : sizeof was);
	bool sums = le32_get(was.incompat) & CATALOG_INCOMPAT_SUMS;
	if (le32_get(was.version) == 0 || (!old && le32_get(was.crc) != format_crc(&was)))
		return -EINVAL;
	*f = was;
	if (le32_get(was.version) != CATALOG_FORMAT_VERSION ||
	    (le32_get(was.incompat) & ~CATALOG_INCOMPAT_SUMS) != 0 || le32_get(was.ro_compat) != 0)
		return -ENOTSUP;
	return sums == !old && val.mv_size == (old ? CATALOG_FORMAT_BYTES_OLD : sizeof was)
	           ? 0
	           : -EINVAL;
}

int
catalog_format_put(struct catalog *c, MDB_txn *txn, struct catalog_format *f)
{
	MDB_val key = {.mv_size = 6, .mv_data = (void *)(uintptr_t) "format"};
	MDB_val val = {.mv_size = sizeof *f, .mv_data = f};

	le32_put(&f->incompat, CATALOG_INCOMPAT_SUMS);
	le32_put(&f->crc, format_crc(f));
	return catalog_errno(mdb_put(txn, c->meta, &key, &val, 0));
}

/* ---- changes --------------------------------------------------------------------------------------- */

static int
count_row(struct catalog *c, MDB_txn *txn, uint32_t was, uint32_t is, int more)
{
	struct catalog_format f;

	int err = catalog_format_get(c, txn, &f);
	if (err < 0)
		return err == -ENOENT ? -EINVAL : err;
	le64_put(&f.sum, le64_get(f.sum) - was + is);
	le32_put(&f.rows, le32_get(f.rows) + (uint32_t)more);
	return catalog_format_put(c, txn, &f);
}

int
catalog_put(struct catalog *c, MDB_txn *txn, MDB_dbi table, MDB_val *key, MDB_val *val)
{
	uint32_t was = 0, is = row_crc(c, table, key, val);
	MDB_val old;

	int err = catalog_errno(mdb_get(txn, table, key, &old));
	bool there = err == 0;
	if (err < 0 && err != -ENOENT)
		return err;
	if (there)
		was = row_crc(c, table, key, &old);
	err = catalog_errno(mdb_put(txn, table, key, val, 0));
	return err < 0 ? err : count_row(c, txn, was, is, there ? 0 : 1);
}

int
catalog_del(struct catalog *c, MDB_txn *txn, MDB_dbi table, MDB_val *key)
{
	MDB_val old;

	int err = catalog_errno(mdb_get(txn, table, key, &old));
	if (err < 0)
		return err;
	uint32_t was = row_crc(c, table, key, &old);
	err = catalog_errno(mdb_del(txn, table, key, NULL));
	return err < 0 ? err : count_row(c, txn, was, 0, -1);
}

/* ---- all of them ----------------------------------------------------------------------------------- */

static int
sum_table(struct catalog *c, MDB_txn *txn, MDB_dbi table, uint64_t *sum, uint32_t *rows)
{
	MDB_cursor *cur;
	MDB_val key, val;

	int err = catalog_errno(mdb_cursor_open(txn, table, &cur));
	if (err < 0)
		return err;
	while ((err = catalog_errno(mdb_cursor_get(cur, &key, &val, MDB_NEXT))) == 0) {
		*sum += row_crc(c, table, &key, &val);
		++*rows;
	}
	mdb_cursor_close(cur);
	return err == -ENOENT ? 0 : err;
}

int
catalog_sum(struct catalog *c, MDB_txn *txn, uint64_t *ret_sum, uint32_t *ret_rows)
{
	*ret_sum = 0;
	*ret_rows = 0;
	int err = sum_table(c, txn, c->identity, ret_sum, ret_rows);
	for (unsigned i = 0; err == 0 && i < SCSI_PERSIST_COUNT; i++)
		err = sum_table(c, txn, c->lu[i], ret_sum, ret_rows);
	if (err == 0)
		err = sum_table(c, txn, c->numbers, ret_sum, ret_rows);
	if (err == 0)
		err = sum_table(c, txn, c->intents, ret_sum, ret_rows);
	return err;
}
