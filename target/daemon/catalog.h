/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The catalogue in the state directory: which identity each store was given, and what of its unit must
 * survive a power loss (reservations, a SANITIZE that isn't done). An LMDB environment, DIR/catalog.mdb (docs/format/catalog.md).
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
 * Opens or creates. Verifies all of it first (docs/format/catalog.md), and keeps a copy of what is right, in
 * DIR/catalog.mdb.last. `machine_id` is noted in it. On failure `reason` holds one sentence with the
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
/*
 * The same for many, in one transaction: all or none. On failure *ret_failed is the index of the
 * request that failed (0 when the transaction did).
 */
struct catalog_identity_request {
	const char *key;
	uint64_t size_bytes;
	struct catalog_identity identity; /* out */
};
int catalog_lu_identities(struct catalog *c, struct catalog_identity_request *list, unsigned count,
    int64_t now_s, unsigned *ret_failed);
/* The identity that a store was given. Blocking. 0, -ENOENT, -EINVAL, … */
int catalog_lu_find(struct catalog *c, const char *key, struct catalog_identity *ret);
/*
 * The store is this LUN, whatever the catalogue knew of it: its cache outranks the catalogue. The serial
 * number is the one that the uuid was given with. Blocking. As above.
 */
int catalog_lu_adopt(
    struct catalog *c, const char *key, const uint8_t uuid[16], uint64_t size_bytes, int64_t now_s);
/* Forgets identity, and all that its unit remembers, of a store that is served no more. Blocking. 0, -ENOENT, … */
int catalog_lu_forget(struct catalog *c, const char *key);

/* ---- numbers of ports ---------------------------------------------------------------------- */

/*
 * Portal group tags (1 to 64) and bases of relative target port identifiers (1, 65, 129, …): what an
 * object was given stays its own, over restarts and changes. `list` names all objects of the
 * configuration; the number of one that isn't there any more is given to a new one when no other is
 * left. One transaction; with `keep` false nothing is written, the answer is what it would be.
 * Blocking. 0; -ERANGE: too many objects, *ret_failed is the first one
 * without a number; -ENAMETOOLONG, -ENOSPC, -EIO, …
 */
enum catalog_number_kind { CATALOG_PORTAL, CATALOG_TARGET };
struct catalog_number_request {
	enum catalog_number_kind kind;
	const char *name;
	uint16_t number; /* out */
};
#define CATALOG_PORTALS_MAX 64u
#define CATALOG_TARGETS_MAX 1023u
int catalog_numbers(struct catalog *c, struct catalog_number_request *list, unsigned count,
    bool keep, unsigned *ret_failed);

/* ---- intents --------------------------------------------------------------------------------- */

/*
 * What a change is about to do to a file before it is in the configuration; the next start takes it
 * back when the change was interrupted. One row a path. Blocking.
 */
enum catalog_intent_kind {
	CATALOG_CREATE = 1, /* a file is made: it goes again if the configuration doesn't name it */
};
struct catalog_intent {
	enum catalog_intent_kind kind;
	uint64_t size_bytes; /* with which it is made */
	char path[4096];
};
/* Replaces what is there for the path. 0, -ENAMETOOLONG, -ENOSPC, … */
int catalog_intent_put(struct catalog *c, const struct catalog_intent *i);
/* 0; -ENOENT: there is none. */
int catalog_intent_clear(struct catalog *c, const char *path);
/* All of them; *ret is the caller's to free. 0, -EINVAL (damaged), -ENOMEM, … */
int catalog_intent_list(struct catalog *c, struct catalog_intent **ret, unsigned *ret_count);

/* ---- what units remember -------------------------------------------------------------------- */

/* What was saved last; *ret is the caller's to free. Blocking. 0, -ENOENT, -ENOMEM, -EIO. */
int catalog_lu_load(struct catalog *c, enum scsi_persist what, const uint8_t lu_uuid[16],
    void **ret, size_t *ret_len);

/*
 * Saves a copy of the blob (len 0: forgets). `done` runs on `loop` (the current one, always the
 * same), exactly once, when it is committed and synced, in the order of the calls. 0, or -ENOMEM:
 * `done` won't run.
 */
int catalog_lu_save_async(struct catalog *c, struct loop *loop, enum scsi_persist what,
    const uint8_t lu_uuid[16], const void *blob, size_t len, void (*done)(void *ctx, int result),
    void *ctx);

/* The same for the SCSI core, whose home loop is `loop`; valid until catalog_close(). */
struct scsi_persist_ops catalog_persist_ops(struct catalog *c, struct loop *loop);

#endif
