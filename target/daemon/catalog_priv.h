/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of the catalogue share. */
#ifndef DAEMON_CATALOG_PRIV_H
#define DAEMON_CATALOG_PRIV_H

#include <limits.h>
#include <lmdb.h>

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

/* Short names are their own key (`tag` + name), long ones go by their digest ('h' + SHA-256). */
#define CATALOG_KEY_PLAIN_MAX 400u /* LMDB keys end at 511 bytes */
struct catalog_key {
	size_t len;
	uint8_t b[CATALOG_KEY_PLAIN_MAX + 1];
};
/* 0; -ENAMETOOLONG: empty, or over 8 KiB; -EIO. */
int catalog_make_key(const char *name, char tag, struct catalog_key *k);

#endif
