/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Devices and queues. Each connection has a completion queue and an event channel of its own, which
 * its loop watches: completions are polled in each turn until there are none, then the next one is asked
 * to wake the loop. To ask and to be woken costs system calls, to poll costs none.
 *
 * VB-1  Only the last request of a chain is signaled. What fails before it is followed by the last
 *       one's completion, flushed, so one completion in order ends each chain.
 * VB-2  No memory of ours is ever given rights to the peer: local write only.
 */
#include "srp/verbs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bufpool.h"

#define QUEUE_MAX 1024u
#define QUEUE_MIN 64u
#define READS_MAX 16u
#define POLL_BATCH 16
#define POLL_TURN 128u /* completions of a turn; then others have theirs */
/* Turns without a completion until the next one shall wake the loop: what arrived is submitted in one, answered in
 * the next, and the answer's completion is often there in the third. */
#define QUIET_TURNS 2u

/* wr_id: what a completion is of. */
#define ID_RECV 1u /* with the buffer's number above; else VERBS_ID_LAST…, or 0 */

/* ---- devices ---------------------------------------------------------------------------------- */

static void
device_free(struct verbs_device *d)
{
	for (unsigned i = 0; i < d->mr_count; i++)
		(void)ibv_dereg_mr(d->mrs[i].mr);
	if (d->pd != NULL)
		(void)ibv_dealloc_pd(d->pd);
	list_remove(&d->link);
	free(d);
}

/* Regions that came since. What can't be registered is copied from and to. */
static void
register_regions(struct verbs *v, struct verbs_device *d)
{
	for (; d->regions_seen < v->region_count; d->regions_seen++) {
		const struct verbs_region *r = &v->regions[d->regions_seen];
		struct ibv_mr *mr = ibv_reg_mr(d->pd, r->base, r->len, IBV_ACCESS_LOCAL_WRITE);
		if (mr == NULL)
			continue;
		d->mrs[d->mr_count] = (struct verbs_mr){
		    .base = r->base, .end = r->base + r->len, .lkey = mr->lkey, .mr = mr};
		__atomic_store_n(&d->mr_count, d->mr_count + 1, __ATOMIC_RELEASE);
	}
}

static struct verbs_device *
device_create(struct verbs *v, struct ibv_context *ctx)
{
	struct verbs_device *d = calloc(1, sizeof *d);
	if (d == NULL)
		return NULL;
	list_init(&d->link);
	d->ctx = ctx;
	d->pd = ibv_alloc_pd(ctx);
	if (d->pd == NULL || ibv_query_device(ctx, &d->attr) != 0) {
		device_free(d);
		return NULL;
	}
	list_push_back(&v->devices, &d->link);
	return d;
}

/* NULL: `reason` says why. */
static struct verbs_device *
device_get(struct verbs *v, struct ibv_context *ctx, char *reason, size_t cap)
{
	struct verbs_device *found = NULL;
	pthread_mutex_lock(&v->lock);
	LIST_FOREACH (l, &v->devices) {
		struct verbs_device *d = container_of(l, struct verbs_device, link);
		if (d->ctx == ctx && !d->removed)
			found = d;
	}
	if (found == NULL)
		found = device_create(v, ctx);
	if (found != NULL) {
		found->refs++;
		register_regions(v, found);
	} else {
		snprintf(reason, cap, "can't use %s: %s", ibv_get_device_name(ctx->device),
		    strerror(errno));
	}
	pthread_mutex_unlock(&v->lock);
	return found;
}

static void
device_put(struct verbs *v, struct verbs_device *d)
{
	pthread_mutex_lock(&v->lock);
	ASSERT(d->refs > 0);
	d->refs--;
	if (d->refs == 0 && d->removed)
		device_free(d);
	pthread_mutex_unlock(&v->lock);
}

void
verbs_device_removed(struct verbs *v, const struct ibv_context *ctx)
{
	pthread_mutex_lock(&v->lock);
	LIST_FOREACH_SAFE (l, &v->devices) {
		struct verbs_device *d = container_of(l, struct verbs_device, link);
		if (d->ctx != ctx)
			continue;
		d->removed = true;
		if (d->refs == 0)
			device_free(d);
	}
	LIST_FOREACH (l, &v->users) {
		struct verbs_user *u = container_of(l, struct verbs_user, link);
		if (u->ctx == ctx)
			u->removed = true;
	}
	pthread_mutex_unlock(&v->lock);
}

/* ---- librdmacm's handle of a device ------------------------------------------------------------- */

void
verbs_user_begin(struct verbs *v, struct verbs_user *u, struct ibv_context *ctx)
{
	list_init(&u->link);
	u->ctx = ctx;
	u->removed = false;
	pthread_mutex_lock(&v->lock);
	if (ctx != NULL)
		list_push_back(&v->users, &u->link);
	pthread_mutex_unlock(&v->lock);
}

/*
 * Where a driver can't take a device from its users, as soft-RoCE, its removal waits until all have
 * closed it, and librdmacm keeps it open as long as there is no other one. So the kernel gets its file
 * back here: /dev/null is in its place until librdmacm closes it, and answers nothing to anybody.
 */
static void
let_go(const struct ibv_context *ctx)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return; /* the removal waits for our end */
	(void)dup3(fd, ctx->cmd_fd, O_CLOEXEC);
	if (ctx->async_fd >= 0)
		(void)dup3(fd, ctx->async_fd, O_CLOEXEC);
	(void)close(fd);
}

void
verbs_user_end(struct verbs *v, struct verbs_user *u)
{
	bool last = u->removed;
	pthread_mutex_lock(&v->lock);
	list_remove(&u->link);
	LIST_FOREACH (l, &v->users)
		last &= container_of(l, struct verbs_user, link)->ctx != u->ctx;
	if (last) {
		let_go(u->ctx);
		__atomic_store_n(&v->stale, true, __ATOMIC_RELAXED);
	}
	pthread_mutex_unlock(&v->lock);
}

/* A device that returns may have the number of the one that went: librdmacm would take it for that. */
void
verbs_refresh(struct verbs *v)
{
	if (!__atomic_load_n(&v->stale, __ATOMIC_RELAXED))
		return;
	struct ibv_context **all = rdma_get_devices(NULL);
	if (all == NULL)
		return; /* there is none: nothing was learnt */
	__atomic_store_n(&v->stale, false, __ATOMIC_RELAXED);
	rdma_free_devices(all);
}

void
verbs_devices_end(struct verbs *v)
{
	LIST_FOREACH_SAFE (l, &v->devices) {
		struct verbs_device *d = container_of(l, struct verbs_device, link);
		ASSERT(d->refs == 0);
		device_free(d);
	}
}

/* ---- memory ------------------------------------------------------------------------------------- */

bool
verbs_find_key(const struct verbs_conn *vc, const char *p, size_t len, uint32_t *ret_lkey)
{
	if (p >= vc->memory && p + len <= vc->memory + vc->memory_len) {
		*ret_lkey = vc->mr->lkey;
		return true;
	}
	const struct verbs_device *d = vc->device;
	unsigned count = __atomic_load_n(&d->mr_count, __ATOMIC_ACQUIRE);
	for (unsigned i = 0; i < count; i++) {
		if (p >= d->mrs[i].base && p + len <= d->mrs[i].end) {
			*ret_lkey = d->mrs[i].lkey;
			return true;
		}
	}
	return false;
}

bool
verbs_is_local(struct srp_conn *c, const void *p, size_t len)
{
	uint32_t lkey;
	return verbs_find_key(verbs_conn_of(c), p, len, &lkey);
}

/* ---- queues --------------------------------------------------------------------------------------- */

static uint32_t
least(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

static uint32_t
at_most(int device, uint32_t ours)
{
	return device > 0 ? least((uint32_t)device, ours) : ours;
}

static int
map_memory(struct verbs_conn *vc, const struct srp_queue_cfg *cfg)
{
	size_t recv = (size_t)cfg->recv_count * cfg->recv_bytes;
	vc->memory_len = recv + (size_t)cfg->send_count * cfg->send_bytes;
	void *p =
	    mmap(NULL, vc->memory_len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return -ENOMEM;
	vc->memory = p;
	vc->mr = ibv_reg_mr(vc->device->pd, p, vc->memory_len, IBV_ACCESS_LOCAL_WRITE);
	vc->conn.recv_base = p;
	vc->conn.send_base = (uint8_t *)p + recv;
	vc->recv_bytes = cfg->recv_bytes;
	vc->recv_count = cfg->recv_count;
	return vc->mr != NULL ? 0 : -errno;
}

/* As long as the device will have it. */
static int
create_queue(struct verbs_conn *vc)
{
	const struct ibv_device_attr *a = &vc->device->attr;
	int error = ENOMEM;
	for (uint32_t depth = at_most(a->max_qp_wr, QUEUE_MAX); depth >= QUEUE_MIN; depth /= 2) {
		uint32_t cqes = vc->recv_count + depth + 1;
		if (a->max_cqe > 0 && cqes > (uint32_t)a->max_cqe)
			continue;
		vc->cq = ibv_create_cq(vc->id->verbs, (int)cqes, vc, vc->comp, 0);
		if (vc->cq == NULL) {
			error = errno;
			continue;
		}
		struct ibv_qp_init_attr init = {
		    .send_cq = vc->cq,
		    .recv_cq = vc->cq,
		    .qp_type = IBV_QPT_RC,
		    .cap = {.max_send_wr = depth,
		        .max_recv_wr = vc->recv_count,
		        .max_send_sge = at_most(a->max_sge, VERBS_SEGMENTS_MAX),
		        .max_recv_sge = 1},
		};
		uint32_t sges = init.cap.max_send_sge;
		if (rdma_create_qp(vc->id, vc->device->pd, &init) == 0) {
			vc->has_qp = true;
			vc->conn.queue_max = depth;
			vc->conn.segments_max = sges;
			return 0;
		}
		error = errno;
		(void)ibv_destroy_cq(vc->cq);
		vc->cq = NULL;
	}
	return -error;
}

static int
no_wait(int fd)
{
	int flags = fcntl(fd, F_GETFL);
	return flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ? -errno : 0;
}

int
verbs_setup(struct srp_conn *c, const struct srp_queue_cfg *cfg, char *reason, size_t reason_cap)
{
	struct verbs_conn *vc = verbs_conn_of(c);
	if (vc->id->verbs == NULL) {
		snprintf(reason, reason_cap, "its device is gone");
		return -ENODEV;
	}
	vc->device = device_get(vc->verbs, vc->id->verbs, reason, reason_cap);
	if (vc->device == NULL)
		return -ENODEV;
	c->reads_max =
	    least(vc->reads_offered, at_most(vc->device->attr.max_qp_init_rd_atom, READS_MAX));
	if (c->reads_max == 0) {
		snprintf(reason, reason_cap, "it takes no RDMA READ");
		return -EPROTO;
	}
	int rc = map_memory(vc, cfg);
	if (rc < 0) {
		snprintf(reason, reason_cap,
		    "can't register memory with %s: %s; raise the limit of locked memory",
		    c->device, strerror(-rc));
		return rc;
	}
	vc->comp = ibv_create_comp_channel(vc->id->verbs);
	rc = vc->comp != NULL ? no_wait(vc->comp->fd) : -errno;
	if (rc == 0)
		rc = create_queue(vc);
	if (rc == 0)
		rc = verbs_out_init(vc);
	for (uint32_t i = 0; rc == 0 && i < cfg->recv_count; i++)
		rc = verbs_post_recv(c, i);
	if (rc < 0)
		snprintf(
		    reason, reason_cap, "can't make a queue on %s: %s", c->device, strerror(-rc));
	return rc;
}

void
verbs_abandon(struct srp_conn *c)
{
	struct verbs_conn *vc = verbs_conn_of(c);
	ASSERT(vc->loop == NULL);
	if (vc->has_qp)
		rdma_destroy_qp(vc->id);
	vc->has_qp = false;
}

void
verbs_teardown(struct verbs_conn *vc)
{
	verbs_abandon(&vc->conn);
	if (vc->cq != NULL) {
		ibv_ack_cq_events(vc->cq, vc->events); /* it waits for that */
		(void)ibv_destroy_cq(vc->cq);
	}
	if (vc->comp != NULL)
		(void)ibv_destroy_comp_channel(vc->comp);
	verbs_out_fini(vc);
	if (vc->mr != NULL)
		(void)ibv_dereg_mr(vc->mr);
	if (vc->memory != NULL)
		(void)munmap(vc->memory, vc->memory_len);
	if (vc->device != NULL)
		device_put(vc->verbs, vc->device);
}

/* ---- receiving ----------------------------------------------------------------------------------------- */

int
verbs_post_recv(struct srp_conn *c, uint32_t idx)
{
	struct verbs_conn *vc = verbs_conn_of(c);
	ASSERT(idx < vc->recv_count);
	struct ibv_sge sge = {
	    .addr = (uintptr_t)(c->recv_base + (size_t)idx * vc->recv_bytes),
	    .length = vc->recv_bytes,
	    .lkey = vc->mr->lkey,
	};
	struct ibv_recv_wr wr = {
	    .wr_id = (uint64_t)idx << 2 | ID_RECV, .sg_list = &sge, .num_sge = 1};
	struct ibv_recv_wr *bad;
	return ibv_post_recv(vc->id->qp, &wr, &bad) == 0 ? 0 : -EIO;
}

void
verbs_flush(struct srp_conn *c)
{
	struct verbs_conn *vc = verbs_conn_of(c);
	struct ibv_qp_attr attr = {.qp_state = IBV_QPS_ERR};
	(void)ibv_modify_qp(vc->id->qp, &attr, IBV_QP_STATE); /* a failure: it is abandoned */
}

/* ---- completions ---------------------------------------------------------------------------------------- */

static void
completed(struct verbs_conn *vc, const struct ibv_wc *wc)
{
	bool ok = wc->status == IBV_WC_SUCCESS;
	if (wc->wr_id & ID_RECV)
		vc->verbs->events->received(
		    &vc->conn, (uint32_t)(wc->wr_id >> 2), ok ? wc->byte_len : 0, ok);
	else if (wc->wr_id == VERBS_ID_LAST)
		verbs_out_completed(vc, VERBS_LANE_SENDS, ok);
	else if (wc->wr_id == VERBS_ID_LAST_READ)
		verbs_out_completed(vc, VERBS_LANE_READS, ok);
}

/* True: there were some. */
static bool
poll(struct verbs_conn *vc)
{
	struct ibv_wc wcs[POLL_BATCH];
	unsigned done = 0;
	while (done < POLL_TURN) {
		int n = ibv_poll_cq(vc->cq, POLL_BATCH, wcs);
		if (n <= 0)
			break;
		for (int i = 0; i < n; i++)
			completed(vc, &wcs[i]);
		done += (unsigned)n;
		if (n < POLL_BATCH)
			break;
	}
	return done > 0;
}

/*
 * Until nothing has come for some turns: then it is armed, and looked at once more, since what came before
 * wakes nobody. What is found there came with an event, or before it was armed: either way it goes on.
 */
static void
poll_turn(struct verbs_conn *vc)
{
	bool some = poll(vc);
	if (vc->loop == NULL)
		return;
	vc->quiet_turns = some ? 0 : vc->quiet_turns + 1;
	if (vc->quiet_turns >= QUIET_TURNS) {
		if (vc->armed)
			return;
		vc->armed = true;
		(void)ibv_req_notify_cq(vc->cq, 0);
		if (!poll(vc) || vc->loop == NULL)
			return;
		vc->quiet_turns = 0;
	}
	if (!loop_defer_queued(&vc->more))
		loop_next_turn(vc->loop, &vc->more);
}

static void
on_more(struct loop_defer *d)
{
	poll_turn(container_of(d, struct verbs_conn, more));
}

/* Armed once it has one event, until that is taken. */
static void
on_comp(struct loop_watch *w)
{
	struct verbs_conn *vc = container_of(w, struct verbs_conn, watch);
	struct ibv_cq *cq;
	void *ctx;
	if (ibv_get_cq_event(vc->comp, &cq, &ctx) != 0)
		return;
	vc->events++;
	vc->armed = false;
	vc->quiet_turns = 0;
	if (!loop_defer_queued(&vc->more))
		poll_turn(vc);
}

int
verbs_attach(struct srp_conn *c, struct loop *l)
{
	struct verbs_conn *vc = verbs_conn_of(c);
	int rc = loop_watch_start(l, &vc->watch, vc->comp->fd, on_comp);
	if (rc < 0)
		return rc;
	vc->loop = l;
	loop_defer_init(&vc->more, on_more);
	if (ibv_req_notify_cq(vc->cq, 0) != 0) {
		verbs_detach(c);
		return -EIO;
	}
	vc->armed = true;
	vc->quiet_turns = 0;
	loop_next_turn(l, &vc->more);
	return 0;
}

void
verbs_detach(struct srp_conn *c)
{
	struct verbs_conn *vc = verbs_conn_of(c);
	if (vc->loop == NULL)
		return;
	ASSERT(!verbs_posting(c)); /* VO-2 */
	loop_defer_cancel(&vc->more);
	loop_watch_stop(&vc->watch);
	vc->loop = NULL;
}
