/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of the catalogue share. */
#ifndef DAEMON_CATALOG_PRIV_H
#define DAEMON_CATALOG_PRIV_H

#include <limits.h>
#include <lmdb.h>

#include "base/assert.h"
#include "base/endian.h"
#include "base/list.h"
#include "base/pool.h"
#include "daemon/catalog.h"

struct catalog {
	char path[PATH_MAX];
	MDB_env *env;
	MDB_dbi meta, identity, numbers, intents;
	MDB_dbi lu[SCSI_PERSIST_COUNT]; /* by enum scsi_persist */
	struct loop *loop;              /* of the asynchronous calls */
	struct pool saves;
	struct list queue; /* struct save, waiting */
	struct list batch; /* in the job */
	struct loop_job job;
	bool busy;
};

/* What LMDB says as -errno; 0 stays 0, "not found" is -ENOENT. */
int catalog_errno(int rc);

/*
 * catalog_check.c: LMDB can work with this file, whatever happened to it. Blocking; changes nothing. 0;
 * -EINVAL: damaged; -ENOMEM, or what open and read say.
 */
int catalog_check_file(const char *path);

/* catalog_rows.c: what the catalogue knows of itself, row `format` of the table `meta`. */
#define CATALOG_FORMAT_VERSION 1u
#define CATALOG_FORMAT_BYTES_OLD 80u    /* before there were sums */
#define CATALOG_INCOMPAT_SUMS (1u << 0) /* `sum`, `rows` and `crc` are there */
struct catalog_format {
	le32 version;        /*  0 */
	le32 incompat;       /*  4  unknown bits: refused */
	le32 ro_compat;      /*  8  unknown bits: refused, as there is no reading without writing */
	le32 compat;         /* 12  unknown bits: ignored */
	char machine_id[64]; /* 16  zero padded */
	le64 sum;            /* 80  of the CRC32Cs of all rows of the other tables */
	le32 rows;           /* 88  of the other tables */
	le32 crc;            /* 92  CRC32C of the record with this field 0 */
};
_Static_assert(sizeof(struct catalog_format) == 96, "format");

/* 0; -ENOENT: none yet; -EINVAL: damaged; -ENOTSUP, with *f. */
int catalog_format_get(struct catalog *c, MDB_txn *txn, struct catalog_format *f);
/* With its checksum. */
int catalog_format_put(struct catalog *c, MDB_txn *txn, struct catalog_format *f);
/* Rows of all tables but `meta` change through these. Return as mdb_put and mdb_del, as -errno. */
int catalog_put(struct catalog *c, MDB_txn *txn, MDB_dbi table, MDB_val *key, MDB_val *val);
int catalog_del(struct catalog *c, MDB_txn *txn, MDB_dbi table, MDB_val *key);
/* What `sum` and `rows` should be. */
int catalog_sum(struct catalog *c, MDB_txn *txn, uint64_t *ret_sum, uint32_t *ret_rows);

/* Short names are their own key (`tag` + name), long ones go by their digest ('h' + SHA-256). */
#define CATALOG_KEY_PLAIN_MAX 400u /* LMDB keys end at 511 bytes */
struct catalog_key {
	size_t len;
	uint8_t b[CATALOG_KEY_PLAIN_MAX + 1];
};
/* 0; -ENAMETOOLONG: empty, or over 8 KiB; -EIO. */
int catalog_make_key(const char *name, char tag, struct catalog_key *k);

#endif
