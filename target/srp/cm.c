/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Connections by librdmacm: listeners on IP addresses and, where there is InfiniBand, for logins of
 * the IB CM (AF_IB in port space RDMA_PS_IB). The event channel is read on the home loop.
 */
#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <infiniband/ib.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bufpool.h"
#include "srp/verbs.h"

#define BACKLOG 64
#define SERVICE_ID                                                                                 \
	0x00000000013f0000ull /* of port space RDMA_PS_IB; the only ones that librdmacm takes */
#define CM_DEVICE "/dev/infiniband/rdma_cm"
#define RETRY_MAX 7u /* of a receiver that isn't ready: for ever */

static struct verbs *
verbs_of(struct srp_backend *b)
{
	return container_of(b, struct verbs, backend);
}

/* ---- addresses ------------------------------------------------------------------------------------ */

/* GIDs are shown as IPv6 addresses. */
static void
take_addr(const struct sockaddr *from, struct sockaddr_storage *to, uint16_t *ret_pkey)
{
	memset(to, 0, sizeof *to);
	if (from->sa_family == AF_INET) {
		memcpy(to, from, sizeof(struct sockaddr_in));
	} else if (from->sa_family == AF_INET6) {
		memcpy(to, from, sizeof(struct sockaddr_in6));
	} else if (from->sa_family == AF_IB) {
		const struct sockaddr_ib *ib = (const void *)from;
		struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
		memcpy(&in6.sin6_addr, &ib->sib_addr, sizeof in6.sin6_addr);
		memcpy(to, &in6, sizeof in6);
		if (ret_pkey != NULL)
			*ret_pkey = ntohs(ib->sib_pkey);
	}
}

/* ---- events ----------------------------------------------------------------------------------------- */

static void
on_request(struct verbs *v, struct rdma_cm_event *e)
{
	struct srp_listener *l = e->listen_id->context;
	struct rdma_cm_id *id = e->id;
	uint8_t private[SRP_REQ_PRIVATE_MAX] = {0};
	size_t len = e->param.conn.private_data_len;
	struct verbs_conn *vc = calloc(1, sizeof *vc);

	if (len > sizeof private)
		len = sizeof private;
	if (e->param.conn.private_data != NULL)
		memcpy(private, e->param.conn.private_data, len);
	uint8_t reads = e->param.conn.initiator_depth;
	(void)rdma_ack_cm_event(e);
	id->context = vc;
	if (vc == NULL) {
		(void)rdma_destroy_id(id);
		return;
	}
	vc->verbs = v;
	vc->id = id;
	verbs_user_begin(v, &vc->user, id->verbs);
	vc->reads_offered = reads;
	vc->conn.backend = &v->backend;
	vc->conn.native = l->native;
	/* Passive ids: the peer is the destination. */
	take_addr(rdma_get_peer_addr(id), &vc->conn.peer, &vc->conn.pkey);
	take_addr(rdma_get_local_addr(id), &vc->conn.local, NULL);
	if (id->verbs != NULL)
		snprintf(vc->conn.device, sizeof vc->conn.device, "%s",
		    ibv_get_device_name(id->verbs->device));
	v->events->request(v->ctx, l, &vc->conn, private, len);
}

static void
listener_gone(struct verbs *v, struct srp_listener *l)
{
	struct rdma_cm_id *id = l->id;
	v->events->unlistened(v->ctx, l);
	list_remove(&l->link);
	verbs_user_end(v, &l->user);
	(void)rdma_destroy_id(id);
	free(l);
}

static void
on_removal(struct verbs *v, struct rdma_cm_event *e)
{
	struct rdma_cm_id *id = e->id;
	struct srp_listener *l = NULL;
	char name[64] = "";
	if (id->verbs != NULL) {
		snprintf(name, sizeof name, "%s", ibv_get_device_name(id->verbs->device));
		verbs_device_removed(v, id->verbs);
	}
	LIST_FOREACH (k, &v->listeners)
		if (container_of(k, struct srp_listener, link)->id == id)
			l = container_of(k, struct srp_listener, link);
	if (l == NULL) {
		if (id->context != NULL)
			v->events->event(
			    &((struct verbs_conn *)id->context)->conn, SRP_CONN_REMOVED);
		(void)rdma_ack_cm_event(e);
		return;
	}
	(void)rdma_ack_cm_event(e); /* destroying the id waits for it */
	v->events->device(v->ctx, name, "the device was removed");
	listener_gone(v, l);
}

/*
 * A connection's id is destroyed by a worker, which waits for the acknowledgement of its events: until
 * then the connection is there.
 */
static void
on_conn_event(struct verbs *v, struct rdma_cm_event *e)
{
	struct verbs_conn *vc = e->id->context;
	switch (e->event) {
	case RDMA_CM_EVENT_ESTABLISHED:
		v->events->event(&vc->conn, SRP_CONN_ESTABLISHED);
		break;
	case RDMA_CM_EVENT_DISCONNECTED:
	case RDMA_CM_EVENT_CONNECT_ERROR:
	case RDMA_CM_EVENT_UNREACHABLE:
	case RDMA_CM_EVENT_REJECTED:
		v->events->event(&vc->conn, SRP_CONN_DISCONNECTED);
		break;
	default: /* TIMEWAIT_EXIT, and what only callers see */
		break;
	}
	(void)rdma_ack_cm_event(e);
}

static void
on_channel(struct loop_watch *w)
{
	struct verbs *v = container_of(w, struct verbs, watch);
	struct rdma_cm_event *e;
	verbs_refresh(v);
	for (unsigned i = 0; i < 64 && rdma_get_cm_event(v->channel, &e) == 0; i++) {
		if (e->event == RDMA_CM_EVENT_CONNECT_REQUEST)
			on_request(v, e);
		else if (e->event == RDMA_CM_EVENT_DEVICE_REMOVAL)
			on_removal(v, e);
		else if (e->listen_id == NULL && e->id->context != NULL)
			on_conn_event(v, e);
		else
			(void)rdma_ack_cm_event(e);
	}
}

/* ---- the backend -------------------------------------------------------------------------------------- */

static int
add_region(struct verbs *v, void *base, size_t len)
{
	int rc = -ENOSPC;
	pthread_mutex_lock(&v->lock);
	if (v->region_count < VERBS_REGIONS_MAX) {
		v->regions[v->region_count++] = (struct verbs_region){.base = base, .len = len};
		rc = 0;
	}
	pthread_mutex_unlock(&v->lock);
	return rc;
}

static int
op_start(struct srp_backend *b, struct loop *const *loops, unsigned loop_count,
    const struct srp_backend_events *events, void *ctx)
{
	struct verbs *v = verbs_of(b);
	/* Without the device librdmacm complains on stderr each time. */
	if (access(CM_DEVICE, F_OK) < 0)
		return -ENODEV;
	v->channel = rdma_create_event_channel();
	if (v->channel == NULL)
		return errno == EACCES || errno == EPERM ? -EACCES : -ENODEV;
	int flags = fcntl(v->channel->fd, F_GETFL);
	int rc = flags < 0 || fcntl(v->channel->fd, F_SETFL, flags | O_NONBLOCK) < 0
	             ? -errno
	             : loop_watch_start(loops[0], &v->watch, v->channel->fd, on_channel);
	if (rc < 0) {
		rdma_destroy_event_channel(v->channel);
		v->channel = NULL;
		return rc;
	}
	v->home = loops[0];
	v->events = events;
	v->ctx = ctx;
	for (unsigned i = 0; i < loop_count && !v->loops_added; i++) {
		size_t len;
		void *base = bufpool_region(loop_bufpool(loops[i]), &len);
		(void)add_region(v, base, len);
	}
	v->loops_added = true;
	return 0;
}

static void
op_stop(struct srp_backend *b)
{
	struct verbs *v = verbs_of(b);
	ASSERT(list_empty(&v->listeners));
	loop_watch_stop(&v->watch);
	verbs_devices_end(v);
	rdma_destroy_event_channel(v->channel);
	v->channel = NULL;
}

static int
bind_addr(struct srp_listener *l, const struct sockaddr *addr)
{
	int on = 1;
	struct sockaddr_storage copy = {0};
	if (!l->native) {
		bool v6 = addr->sa_family == AF_INET6;
		memcpy(&copy, addr, v6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in));
		if (v6 && rdma_set_option(
		              l->id, RDMA_OPTION_ID, RDMA_OPTION_ID_AFONLY, &on, sizeof on) < 0)
			return -errno;
		return rdma_bind_addr(l->id, (struct sockaddr *)&copy) < 0 ? -errno : 0;
	}
	struct srp_ib_addr ours;
	memcpy(&ours, addr, sizeof ours);
	struct sockaddr_ib ib = {.sib_family = AF_IB};
	ib.sib_sid = htobe64(SERVICE_ID | ours.port);
	ib.sib_sid_mask = UINT64_MAX;
	memcpy(&copy, &ib, sizeof ib);
	return rdma_bind_addr(l->id, (struct sockaddr *)&copy) < 0 ? -errno : 0;
}

static int
op_listen(struct srp_backend *b, const struct sockaddr *addr, socklen_t addr_len,
    struct srp_listener **ret, struct sockaddr_storage *ret_bound)
{
	struct verbs *v = verbs_of(b);
	struct srp_listener *l = calloc(1, sizeof *l);
	int rc;
	if (l == NULL)
		return -ENOMEM;
	verbs_refresh(v);
	l->verbs = v;
	l->native = addr->sa_family == AF_IB;
	if (rdma_create_id(v->channel, &l->id, l, l->native ? RDMA_PS_IB : RDMA_PS_TCP) < 0) {
		rc = -errno;
		free(l);
		return rc;
	}
	rc = bind_addr(l, addr);
	if (rc == 0 && rdma_listen(l->id, BACKLOG) < 0)
		rc = -errno;
	if (rc < 0) {
		(void)rdma_destroy_id(l->id);
		free(l);
		return rc;
	}
	memset(ret_bound, 0, sizeof *ret_bound);
	memcpy(ret_bound, addr, addr_len);
	if (!l->native)
		take_addr(rdma_get_local_addr(l->id), ret_bound, NULL);
	list_push_back(&v->listeners, &l->link);
	verbs_user_begin(v, &l->user, l->id->verbs);
	*ret = l;
	return 0;
}

static void
op_unlisten(struct srp_listener *l)
{
	list_remove(&l->link);
	verbs_user_end(l->verbs, &l->user);
	(void)rdma_destroy_id(l->id);
	free(l);
}

static void
op_refuse(struct srp_conn *c, const void *data, size_t len)
{
	(void)rdma_reject(verbs_conn_of(c)->id, data, (uint8_t)len);
}

static void
op_reject(struct srp_conn *c, const void *data, size_t len)
{
	struct verbs_conn *vc = verbs_conn_of(c);
	op_refuse(c, data, len);
	verbs_user_end(vc->verbs, &vc->user);
	(void)rdma_destroy_id(vc->id);
	free(vc);
}

static int
op_accept(struct srp_conn *c, const void *data, size_t len)
{
	struct verbs_conn *vc = verbs_conn_of(c);
	struct rdma_conn_param p = {
	    .private_data = data,
	    .private_data_len = (uint8_t)len,
	    .initiator_depth = (uint8_t)c->reads_max,
	    .flow_control = 1,
	    .rnr_retry_count = RETRY_MAX,
	};
	return rdma_accept(vc->id, &p) < 0 ? -errno : 0;
}

static void
op_disconnect(struct srp_conn *c)
{
	(void)rdma_disconnect(verbs_conn_of(c)->id);
}

static bool
op_can_reach(struct srp_conn *c)
{
	struct verbs_conn *vc = verbs_conn_of(c);
	struct ibv_port_attr attr;
	if (vc->id->verbs == NULL || ibv_query_port(vc->id->verbs, vc->id->port_num, &attr) != 0)
		return true;
	return attr.state != IBV_PORT_DOWN;
}

static void
op_destroy(struct srp_conn *c)
{
	struct verbs_conn *vc = verbs_conn_of(c);
	verbs_teardown(vc);
	verbs_user_end(vc->verbs, &vc->user);
	(void)rdma_destroy_id(vc->id);
	free(vc);
}

static const struct srp_backend_ops ops = {
    .start = op_start,
    .stop = op_stop,
    .listen = op_listen,
    .unlisten = op_unlisten,
    .reject = op_reject,
    .setup = verbs_setup,
    .accept = op_accept,
    .refuse = op_refuse,
    .disconnect = op_disconnect,
    .can_reach = op_can_reach,
    .abandon = verbs_abandon,
    .destroy = op_destroy,
    .attach = verbs_attach,
    .detach = verbs_detach,
    .post = verbs_post,
    .posting = verbs_posting,
    .post_recv = verbs_post_recv,
    .flush = verbs_flush,
    .is_local = verbs_is_local,
};

int
srp_verbs_create(struct srp_backend **ret)
{
	struct verbs *v = calloc(1, sizeof *v);
	if (v == NULL)
		return -ENOMEM;
	v->backend.ops = &ops;
	list_init(&v->listeners);
	list_init(&v->devices);
	list_init(&v->users);
	pthread_mutex_init(&v->lock, NULL);
	*ret = &v->backend;
	return 0;
}

int
srp_verbs_add_memory(struct srp_backend *b, void *base, size_t len)
{
	return add_region(verbs_of(b), base, len);
}

void
srp_verbs_destroy(struct srp_backend *b)
{
	if (b == NULL)
		return;
	struct verbs *v = verbs_of(b);
	ASSERT(v->channel == NULL);
	pthread_mutex_destroy(&v->lock);
	free(v);
}
