/* SPDX-License-Identifier: BSD-2-Clause */
/* Intents: what a change is about to do to files, for the start after a crash. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/endian.h"
#include "daemon/catalog_priv.h"

struct intent_record {
	le16 version;    /*  0  1 */
	le16 kind;       /*  2  enum catalog_intent_kind */
	le32 crc;        /*  4  CRC32C of the record with this field 0 */
	le64 size_bytes; /*  8 */
	                 /* 16: the path, not terminated */
};
_Static_assert(sizeof(struct intent_record) == 16, "format");

static uint32_t
intent_crc(const struct intent_record *r, const char *path, size_t len)
{
	struct intent_record zeroed = *r;
	le32_put(&zeroed.crc, 0);
	uint32_t crc = crc32c_update(CRC32C_INIT, &zeroed, sizeof zeroed);
	return crc32c_final(crc32c_update(crc, path, len));
}

static int
decode(const MDB_val *val, struct catalog_intent *ret)
{
	struct intent_record r;
	if (val->mv_size <= sizeof r || val->mv_size - sizeof r >= sizeof ret->path)
		return -EINVAL;
	memcpy(&r, val->mv_data, sizeof r);
	size_t len = val->mv_size - sizeof r;
	const char *path = (const char *)val->mv_data + sizeof r;
	unsigned kind = le16_get(r.kind);
	if (le16_get(r.version) != 1 || kind != CATALOG_CREATE || memchr(path, '\0', len) != NULL ||
	    le32_get(r.crc) != intent_crc(&r, path, len))
		return -EINVAL;
	ret->kind = (enum catalog_intent_kind)kind;
	ret->size_bytes = le64_get(r.size_bytes);
	memcpy(ret->path, path, len);
	ret->path[len] = '\0';
	return 0;
}

int
catalog_intent_put(struct catalog *c, const struct catalog_intent *i)
{
	struct intent_record r = {0};
	struct catalog_key k;
	MDB_txn *txn;
	size_t len = strlen(i->path);

	int err = catalog_make_key(i->path, 'n', &k);
	uint8_t *rec = malloc(sizeof r + len);
	if (err == 0 && rec == NULL)
		err = -ENOMEM;
	if (err == 0)
		err = catalog_errno(mdb_txn_begin(c->env, NULL, 0, &txn));
	if (err < 0) {
		free(rec);
		return err;
	}
	le16_put(&r.version, 1);
	le16_put(&r.kind, (uint16_t)i->kind);
	le64_put(&r.size_bytes, i->size_bytes);
	le32_put(&r.crc, intent_crc(&r, i->path, len));
	memcpy(rec, &r, sizeof r);
	memcpy(rec + sizeof r, i->path, len);
	MDB_val mk = {.mv_size = k.len, .mv_data = k.b};
	MDB_val val = {.mv_size = sizeof r + len, .mv_data = rec};
	err = catalog_put(c, txn, c->intents, &mk, &val);
	free(rec);
	if (err == 0)
		return catalog_errno(mdb_txn_commit(txn));
	mdb_txn_abort(txn);
	return err;
}

int
catalog_intent_clear(struct catalog *c, const char *path)
{
	struct catalog_key k;
	MDB_txn *txn;

	int err = catalog_make_key(path, 'n', &k);
	if (err == 0)
		err = catalog_errno(mdb_txn_begin(c->env, NULL, 0, &txn));
	if (err < 0)
		return err;
	MDB_val mk = {.mv_size = k.len, .mv_data = k.b};
	err = catalog_del(c, txn, c->intents, &mk);
	if (err == 0)
		return catalog_errno(mdb_txn_commit(txn));
	mdb_txn_abort(txn);
	return err;
}

static int
read_all(struct catalog *c, MDB_txn *txn, struct catalog_intent **list, unsigned *count)
{
	MDB_cursor *cur;
	MDB_val key, val;
	int err = catalog_errno(mdb_cursor_open(txn, c->intents, &cur));
	if (err < 0)
		return err;
	while ((err = catalog_errno(mdb_cursor_get(cur, &key, &val, MDB_NEXT))) == 0) {
		struct catalog_intent *more = reallocarray(*list, *count + 1, sizeof *more);
		if (more == NULL) {
			err = -ENOMEM;
			break;
		}
		*list = more;
		err = decode(&val, &more[*count]);
		if (err < 0)
			break;
		++*count;
	}
	mdb_cursor_close(cur);
	return err == -ENOENT ? 0 : err;
}

int
catalog_intent_list(struct catalog *c, struct catalog_intent **ret, unsigned *ret_count)
{
	struct catalog_intent *list = NULL;
	unsigned count = 0;
	MDB_txn *txn;

	int err = catalog_errno(mdb_txn_begin(c->env, NULL, MDB_RDONLY, &txn));
	if (err < 0)
		return err;
	err = read_all(c, txn, &list, &count);
	mdb_txn_abort(txn);
	if (err < 0) {
		free(list);
		return err;
	}
	*ret = list;
	*ret_count = count;
	return 0;
}
