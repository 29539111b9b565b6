/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the frontend needs of RDMA: connections with a queue pair each. Implemented with libibverbs and
 * librdmacm (srp_verbs_create()), and by tests. Knows nothing of SRP but how long its units are.
 *
 * Threads, by function: "home", "worker" (loop_job_submit(): may block), "loop" (the one the
 * connection was attached to). Calls for one connection never overlap, but for `disconnect`.
 */
#ifndef SRP_BACKEND_H
#define SRP_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "loop/loop.h"

struct srp_backend;
struct srp_conn;
struct srp_listener;

#define SRP_WR_SEGMENTS_MAX 16u /* local segments of a request */
#define SRP_WR_CHAIN_MAX 16u    /* requests posted at once */
#define SRP_REQ_PRIVATE_MAX 92u

/* ---- queues -------------------------------------------------------------------------------- */

enum srp_wr_kind {
	SRP_WR_READ,  /* from the peer's memory */
	SRP_WR_WRITE, /* to the peer's memory; without segments: a probe that touches none */
	SRP_WR_SEND,
};
struct srp_wr {
	enum srp_wr_kind kind;
	struct iovec iov[SRP_WR_SEGMENTS_MAX];
	unsigned iovcnt; /* ≤ conn->segments_max */
	uint64_t remote;
	uint32_t key;
	bool solicited;
};

/* Memory of a connection: `count` pieces of `bytes` each, at multiples of `bytes`. */
struct srp_queue_cfg {
	uint32_t recv_count, recv_bytes;
	uint32_t send_count, send_bytes;
};

/* Filled by the backend: identity at the request, the rest by setup(). */
struct srp_conn {
	struct srp_backend *backend;
	struct sockaddr_storage peer, local; /* IB: AF_INET6 with the GIDs */
	uint16_t pkey;                       /* 0: not known */
	bool native;                         /* IB CM: the login is in the IB form */
	char device[64];
	uint8_t *recv_base, *send_base;
	uint32_t queue_max;    /* requests of the send queue */
	uint32_t segments_max; /* ≤ SRP_WR_SEGMENTS_MAX */
	uint32_t reads_max;    /* READs that may be in flight */
	void *user;            /* the frontend's; set before setup() */
};

enum srp_conn_event {
	SRP_CONN_ESTABLISHED,
	SRP_CONN_DISCONNECTED, /* the peer went, or can't be reached */
	SRP_CONN_REMOVED,      /* its device goes */
};
/* The frontend's. */
struct srp_backend_events {
	/*
	 * Home: somebody asks to connect. Answered by reject() in the call, or by setup() and
	 * accept() later. `private` is gone afterwards.
	 */
	void (*request)(
	    void *ctx, struct srp_listener *l, struct srp_conn *c, const void *private, size_t len);
	/* Home, after setup(). */
	void (*event)(struct srp_conn *c, enum srp_conn_event ev);
	/* Home: the device that this listener was bound to has gone, and the listener with it. */
	void (*unlistened)(void *ctx, struct srp_listener *l);
	/* Home: an RDMA device came, went or failed; `what` for people. */
	void (*device)(void *ctx, const char *device, const char *what);
	/*
	 * Loop: the oldest chain that was posted and not reported is done, in order. Not ok: the
	 * queue is dead, nothing of the rest of it happened for certain.
	 */
	void (*sent)(struct srp_conn *c, bool ok);
	/* Loop: buffer `idx` is the frontend's again; not ok: nothing was received. */
	void (*received)(struct srp_conn *c, uint32_t idx, uint32_t len, bool ok);
};

struct srp_backend_ops {
	/* Home, once, before the rest. 0, -ENODEV (no RDMA here; listen() may work later), … */
	int (*start)(struct srp_backend *b, struct loop *const *loops, unsigned loop_count,
	    const struct srp_backend_events *events, void *ctx);
	/* Home; no connection and no listener is left. */
	void (*stop)(struct srp_backend *b);
	/* Home. 0 and the address bound to; -ENODEV, -EADDRINUSE, -EADDRNOTAVAIL, -EACCES, … */
	int (*listen)(struct srp_backend *b, const struct sockaddr *addr, socklen_t addr_len,
	    struct srp_listener **ret, struct sockaddr_storage *ret_bound);
	/* Home; accepts no request of it any more. */
	void (*unlisten)(struct srp_listener *l);

	/* Home, instead of setup(): the connection is gone afterwards. */
	void (*reject)(struct srp_conn *c, const void *data, size_t len);
	/*
	 * Worker: queue pair, memory, all receive buffers posted. 0 or -errno and a sentence; in both
	 * cases destroy() follows sometime.
	 */
	int (*setup)(
	    struct srp_conn *c, const struct srp_queue_cfg *cfg, char *reason, size_t reason_cap);
	/* Worker. After it, requests may arrive. 0 or -errno. */
	int (*accept)(struct srp_conn *c, const void *data, size_t len);
	/* Worker: instead of accept(), with an answer. */
	void (*refuse)(struct srp_conn *c, const void *data, size_t len);
	/* Worker, any time between accept() and destroy(). */
	void (*disconnect)(struct srp_conn *c);
	/*
	 * Worker: false while its port is down. disconnect() and destroy() tell the peer, which would be
	 * in vain; and soft-RoCE never takes a login again once it had to send such a message then.
	 */
	bool (*can_reach)(struct srp_conn *c);
	/*
	 * Worker, detached: what was posted doesn't come back. Ends the queue by force: afterwards
	 * nothing of it touches memory any more.
	 */
	void (*abandon)(struct srp_conn *c);
	/* Worker: no longer attached. Frees everything, `c` too. */
	void (*destroy)(struct srp_conn *c);

	/* Loop: events come on this loop from now on. 0 or -errno. */
	int (*attach)(struct srp_conn *c, struct loop *l);
	/* Loop, not posting(): no `sent` nor `received` any more. */
	void (*detach)(struct srp_conn *c);
	/*
	 * Loop. Posts a chain, all or nothing; one `sent` for it, which may say that it couldn't be
	 * posted. 0, -EIO: the queue is dead.
	 */
	int (*post)(struct srp_conn *c, const struct srp_wr *wrs, unsigned count);
	/*
	 * Loop: a helper thread is still posting something, and needs the connection for the time of a
	 * system call. Never when each chain was reported.
	 */
	bool (*posting)(struct srp_conn *c);
	int (*post_recv)(struct srp_conn *c, uint32_t idx);
	/* Loop: everything posted comes back, not ok, if it hasn't been done. */
	void (*flush)(struct srp_conn *c);
	/* Loop: may this memory be named in requests? */
	bool (*is_local)(struct srp_conn *c, const void *p, size_t len);
};

struct srp_backend {
	const struct srp_backend_ops *ops;
};

/*
 * An address to listen on for logins of the IB CM: any InfiniBand port, service id
 * 00000000013fPPPP. A family of its own for sockaddr_storage.
 */
struct srp_ib_addr {
	sa_family_t family; /* AF_IB */
	uint16_t port;
};

/* ---- with verbs ------------------------------------------------------------------------------ */

/* 0; -ENOMEM; -ENOTSUP: built without libibverbs and librdmacm. */
int srp_verbs_create(struct srp_backend **ret);
/*
 * Home: memory that data may lie in, beside the loops' buffers. Connections that are made from now on
 * move data from and to it without a copy. It stays as long as the backend. 0; -ENOSPC: no more.
 */
int srp_verbs_add_memory(struct srp_backend *b, void *base, size_t len);
void srp_verbs_destroy(struct srp_backend *b); /* stopped, or never started; accepts NULL */

#endif
