/*
 * The catalogue in the state directory: which identity each store was given, and the reservations
 * that must survive a power loss. An LMDB environment, DIR/catalog.mdb (docs/format/catalog.md).
 * What was committed survives kill -9 and power loss at any instant, whole.
 *
 * Blocking calls: before the loops run, after they ended, or in a loop_job's work(). The
 * asynchronous ones: on one and the same loop.
 */
#ifndef DAEMON_CATALOG_H
#define DAEMON_CATALOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "loop/loop.h"
#include "scsi/scsi.h"

struct catalog;

#define CATALOG_MAP_BYTES (1ull << 30) /* the most it can grow to; the file is sparse */
#define CATALOG_SERIAL_MAX 64

/*
 * Opens or creates. `machine_id` is noted in it. On failure `reason` holds one sentence with the
 * path and the cure. 0; -EINVAL: damaged, or gone; -ENOTSUP: written by a newer version; -ENOMEM,
 * or what the file system says.
 */
int catalog_open(
    const char *dir, const char *machine_id, struct catalog **ret, char *reason, size_t reason_cap);
/* No save pending (asserted). Accepts NULL. */
void catalog_close(struct catalog *c);

/* ---- identities -------------------------------------------------------------------------------- */

struct catalog_identity {
	uint8_t uuid[16];
	char serial[CATALOG_SERIAL_MAX + 1];
	uint64_t size_bytes; /* as last seen, before this call */
	int64_t created_s;   /* seconds since 1970 */
	bool fresh;          /* made by this call */
};

/*
 * The identity of the store with the canonical name `key` (blk_get_name()), made up when it has
 * none: equal for ever after. `size_bytes` is noted. Blocking. 0, -EINVAL (the record is damaged),
 * -ENAMETOOLONG (over 8 KiB), -ENOSPC, -EIO, …
 */
int catalog_lu_identity(struct catalog *c, const char *key, uint64_t size_bytes, int64_t now_s,
    struct catalog_identity *ret);
/* Forgets identity and reservations of a store that is served no more. Blocking. 0, -ENOENT, … */
int catalog_lu_forget(struct catalog *c, const char *key);

/* ---- reservations ------------------------------------------------------------------------------ */

/* What was saved last; *ret is the caller's to free. Blocking. 0, -ENOENT, -ENOMEM, -EIO. */
int catalog_pr_load(struct catalog *c, const uint8_t lu_uuid[16], void **ret, size_t *ret_len);

/*
 * Saves a copy of the blob (len 0: forgets). `done` runs on `loop` (the current one, always the
 * same), exactly once, when it is committed and synced, in the order of the calls. 0, or -ENOMEM:
 * `done` won't run.
 */
int catalog_pr_save_async(struct catalog *c, struct loop *loop, const uint8_t lu_uuid[16],
    const void *blob, size_t len, void (*done)(void *ctx, int result), void *ctx);

/* The same for the SCSI core, whose home loop is `loop`; valid until catalog_close(). */
struct scsi_persist_ops catalog_persist_ops(struct catalog *c, struct loop *loop);

#endif
