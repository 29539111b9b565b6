/* SPDX-License-Identifier: BSD-2-Clause */
/* Inside the backend over libibverbs and librdmacm: devices and queues (verbs.c), requests (verbs_out.c), connections (cm.c). */
#ifndef SRP_VERBS_H
#define SRP_VERBS_H

#include <infiniband/verbs.h>
#include <pthread.h>
#include <rdma/rdma_cma.h>

#include "base/assert.h"
#include "base/list.h"
#include "srp/backend.h"

#define VERBS_REGIONS_MAX (LOOP_COUNT_MAX + 32u)
#define VERBS_SEGMENTS_MAX 8u /* of a request */
/* wr_id of a chain's last request; others have 0. */
#define VERBS_ID_LAST 2u
#define VERBS_ID_LAST_READ 6u

struct verbs_region {
	char *base;
	size_t len;
};

/* A region as a device knows it; mr NULL: it couldn't be registered. */
struct verbs_mr {
	const char *base, *end;
	uint32_t lkey;
	struct ibv_mr *mr;
};

/* A device in use. Made and ended by workers under backend->lock. */
struct verbs_device {
	struct list link; /* backend->devices */
	struct ibv_context *ctx;
	struct ibv_pd *pd;
	struct ibv_device_attr attr;
	unsigned refs;
	bool removed;
	/* Only grows while the device is in use: entries below mr_count never change. */
	struct verbs_mr mrs[VERBS_REGIONS_MAX];
	unsigned mr_count; /* atomic */
	unsigned regions_seen;
};

/*
 * Whoever has an id of librdmacm on a device: listeners and connections. librdmacm opens a device once
 * and closes it when it likes; the last user of one that was removed sees to that
 * (verbs_user_end).
 */
struct verbs_user {
	struct list link; /* verbs->users */
	struct ibv_context *ctx;
	bool removed;
};

struct verbs {
	struct srp_backend backend;
	struct loop *home;
	const struct srp_backend_events *events;
	void *ctx;
	struct rdma_event_channel *channel;
	struct loop_watch watch;
	struct list listeners;
	bool loops_added;
	pthread_mutex_t
	    lock; /* devices, users, regions; only workers and home take it, never a data path */
	struct list devices, users;
	bool stale; /* atomic: librdmacm still knows a device that has gone */
	struct verbs_region regions[VERBS_REGIONS_MAX];
	unsigned region_count;
};

struct srp_listener {
	struct list link;
	struct verbs *verbs;
	struct rdma_cm_id *id;
	struct verbs_user user;
	bool native;
};

enum {
	VERBS_LANE_READS,
	VERBS_LANE_SENDS, /* and WRITEs */
	VERBS_LANES
};

/*
 * Requests on their way to ibv_post_send(), where helpers post. It is the loop's, but while a helper posts
 * `in_job` requests from `head` on: those, `job` and `bad` are the helper's then.
 */
struct verbs_lane {
	struct verbs_conn *conn;
	struct ibv_send_wr *wrs; /* ring of out.cap */
	struct ibv_sge *sges;    /* VERBS_SEGMENTS_MAX of each */
	uint32_t head, count, in_job;
	struct loop_job job;
	struct ibv_send_wr *bad; /* the first one that wasn't posted */
};

struct verbs_out {
	bool helped; /* by helpers: lanes have rings, of `cap` */
	bool dead;   /* something couldn't be posted */
	uint32_t cap;
	struct verbs_lane lanes[VERBS_LANES];
	uint8_t *order; /* chains: ring of queue_max */
	uint32_t first, unreported;
};

struct verbs_conn {
	struct srp_conn conn;
	struct verbs *verbs;
	struct rdma_cm_id *id;
	struct verbs_user user;
	uint8_t reads_offered; /* by the peer */
	struct verbs_device *device;
	struct ibv_comp_channel *comp;
	struct ibv_cq *cq;
	bool has_qp;
	uint32_t recv_bytes, recv_count;
	char *memory;
	size_t memory_len;
	struct ibv_mr *mr;
	struct loop *loop; /* while attached */
	struct loop_watch watch;
	struct loop_defer more;
	bool armed; /* the next completion makes an event; one that is there was not taken yet */
	unsigned quiet_turns; /* since the last completion */
	unsigned events;      /* taken; acknowledged all at once, at the end */
	struct verbs_out out;
};

static inline struct verbs_conn *
verbs_conn_of(struct srp_conn *c)
{
	return container_of(c, struct verbs_conn, conn);
}

/* ---- verbs.c ---------------------------------------------------------------------------------- */

int verbs_setup(
    struct srp_conn *c, const struct srp_queue_cfg *cfg, char *reason, size_t reason_cap);
/* All but the connection. */
void verbs_teardown(struct verbs_conn *vc);
void verbs_abandon(struct srp_conn *c);
int verbs_attach(struct srp_conn *c, struct loop *l);
void verbs_detach(struct srp_conn *c);
int verbs_post_recv(struct srp_conn *c, uint32_t idx);
void verbs_flush(struct srp_conn *c);
/* Loop. False: it isn't registered, or not in one piece. */
bool verbs_find_key(const struct verbs_conn *vc, const char *p, size_t len, uint32_t *ret_lkey);
bool verbs_is_local(struct srp_conn *c, const void *p, size_t len);
/* Home: it was removed; what it has is let go of with its last connection. */
void verbs_device_removed(struct verbs *v, const struct ibv_context *ctx);
void verbs_devices_end(struct verbs *v);
/* ctx NULL: no device yet, nothing to count. */
void verbs_user_begin(struct verbs *v, struct verbs_user *u, struct ibv_context *ctx);
/* Right before its id is destroyed; after all else that it has of the device. */
void verbs_user_end(struct verbs *v, struct verbs_user *u);
/* Home, before librdmacm is asked for anything: it learns which devices there are now. */
void verbs_refresh(struct verbs *v);

/* ---- verbs_out.c ------------------------------------------------------------------------------- */

/* Worker: the queue is there, its device is known. 0 or -ENOMEM; fini in both cases. */
int verbs_out_init(struct verbs_conn *vc);
void verbs_out_fini(struct verbs_conn *vc);
int verbs_post(struct srp_conn *c, const struct srp_wr *wrs, unsigned count);
bool verbs_posting(struct srp_conn *c);
/* Loop: the oldest chain of this lane that isn't complete is. */
void verbs_out_completed(struct verbs_conn *vc, unsigned lane, bool ok);

#endif
