/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A server of the NBD protocol (fixed newstyle, structured replies, base:allocation) on a UNIX
 * socket: what an administrator's tools read LUNs with, through the same block interface as
 * initiators. It knows no daemon and no LUN: whoever creates it brings callbacks that list exports by
 * name and open them. Protocol: doc/proto.md of the NetworkBlockDevice project.
 *
 * Thread rule: every call on loops[0], the home loop, or before the loops run. Connections negotiate
 * there and then live on the loop with the fewest of them; no callback of the caller's runs elsewhere,
 * but for ops->served.
 *
 * Bytes of a client end at most its connection. Connections, what each has under way, and the buffers
 * of all together are bounded; a client that doesn't take its answers holds its own share of them
 * and nobody else's.
 */
#ifndef NBD_NBD_H
#define NBD_NBD_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/list.h"
#include "loop/loop.h"
#include "store/blk.h"

#define NBD_NAME_MAX_BYTES 256u    /* of an export; longer ones aren't found */
#define NBD_HALF_OPEN_MAX 32u      /* negotiating; one more ends the oldest */
#define NBD_CONNS_PER_LOOP_MAX 16u /* then clients are refused */
#define NBD_DEPTH_MAX 64u          /* requests of a connection under way; more aren't read */
#define NBD_REQUEST_MAX_BYTES (32u * 1024u * 1024u) /* READ and WRITE */
#define NBD_NEGOTIATE_NS 30000000000ull             /* the whole of it */
#define NBD_LINGER_NS 1000000000ull /* for answers that a client doesn't take when it ends */

/* What an export is, when it is opened. */
struct nbd_export {
	const char *name; /* its own one, for a client that asked for "" ; borrowed for the call */
	struct blk *blk;  /* see nbd_server_release() */
	bool writable;    /* otherwise clients may only read, whatever the blk allows */
};

struct nbd_ops {
	/* Tells `each` of every export; a call that returns false ends it. */
	void (*list)(void *ctx, bool (*each)(void *each_ctx, const char *name), void *each_ctx);
	/*
	 * The export of a name, or of "", the default one. 0, -ENOENT: none, else -errno: not now.
	 * Called for information as well: opening holds nothing that must be given back.
	 */
	int (*open)(void *ctx, const char *name, struct nbd_export *ret);
	/*
	 * Commands of initiators so far, of all loops together; called on any loop. While it grows, the
	 * connections move less in a turn, and in a second only what nbd_server_set_rate() allows. NULL:
	 * there are no initiators.
	 */
	uint64_t (*served)(void *ctx);
};

struct nbd_server;

struct nbd_server_args {
	struct loop *const *loops; /* copied; all that the blks know */
	unsigned loop_count;
	const struct nbd_ops *ops; /* borrowed */
	void *ctx;                 /* of ops */
	const char *path;          /* borrowed during create; NULL: nbd_server_accept() alone */
	/*
	 * The socket's permissions. 0660 and this group when root creates it and the group exists,
	 * otherwise 0600. NULL: no group.
	 */
	const char *group;
};

/*
 * Listens at `path`; a socket there that nobody listens on is replaced. On failure `reason` holds
 * one sentence, except for -ENOMEM. 0, -EADDRINUSE (somebody listens there), -EEXIST (something else
 * is there), -EINVAL (an empty path), -ENAMETOOLONG, -ENOMEM, or what bind and chown say.
 */
int nbd_server_create(
    const struct nbd_server_args *args, struct nbd_server **ret, char *reason, size_t reason_cap);
/* Takes over a connected socket of the home loop as if it had come in at the path. */
void nbd_server_accept(struct nbd_server *s, struct sock *sock);
/*
 * Removes the socket, accepts nothing more, ends all connections. `done` runs once, on the home loop,
 * not before this returns: no connection is left then and no blk is used.
 */
void nbd_server_stop(struct nbd_server *s, void (*done)(void *ctx), void *ctx);
/* No connection is left: after stop is done, or when the loops never ran. Accepts NULL. */
void nbd_server_destroy(struct nbd_server *s);

/*
 * Ends every connection that uses `blk`, which ops->open must not return any more. What was begun
 * in the blk completes, and a client has NBD_LINGER_NS to take the answers. `done` runs once, on the
 * home loop, not before this returns; from then on the blk isn't used. *r is the caller's and
 * borrowed until then.
 */
struct nbd_release {
	/* the server's */
	struct list link;
	struct loop_defer defer;
	const struct blk *blk;
	void (*done)(void *ctx);
	void *ctx;
};
void nbd_server_release(struct nbd_server *s, const struct blk *blk, struct nbd_release *r,
    void (*done)(void *ctx), void *ctx);

/*
 * Ends the connections that may write to `blk`, or to any (NULL); they aren't waited for: what was begun
 * completes. Whoever connects again gets what ops->open says then.
 */
void nbd_server_end_writers(struct nbd_server *s, const struct blk *blk);
/* Connections that may write, and aren't being ended. */
unsigned nbd_server_writer_count(const struct nbd_server *s);

/*
 * What all connections together may move in a second while initiators work; 0, the default: any
 * amount. From now on, for what waits as well. A connection that is ending isn't held up by it.
 */
void nbd_server_set_rate(struct nbd_server *s, uint64_t bytes_s);

uint64_t nbd_server_rate(const struct nbd_server *s);

/* Of the loop of this index in args.loops, since create. */
struct nbd_stats {
	uint64_t moved_bytes; /* data and headers of both directions */
	uint64_t paused_ns;   /* that connections waited for the rate */
};
void nbd_server_get_stats(const struct nbd_server *s, unsigned loop, struct nbd_stats *ret);

/* Connections that have an export, and those that negotiate. */
unsigned nbd_server_conn_count(const struct nbd_server *s);
unsigned nbd_server_half_open_count(const struct nbd_server *s);

#endif
