/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The way of requests to ibv_post_send(). A real adapter takes them and works by itself. Soft-RoCE is a
 * driver that does the work in whoever posts: to post a MiB is to copy it, to add it up and to hand it to
 * the peer. A loop that did that would serve one channel at a time, whatever other CPUs there are. So a
 * helper posts what is long there, and what comes behind it meanwhile.
 *
 * There are two lanes, as to post a READ takes until its data is there, and answers must not wait for that:
 * READs, and the rest. Neither needs the other to be first.
 *
 * VO-1  In a lane, what is posted first is handed over first: nothing passes its ring while something is in it.
 * VO-2  While a helper posts, one chain isn't reported: neither does the frontend let go of the
 *       connection then, nor does the helper need it to stay otherwise.
 * VO-3  Chains are reported in the order in which the frontend posted them, also those that couldn't be
 *       handed over, as failed.
 */
#include <errno.h>
#include <stdlib.h>

#include "srp/verbs.h"

#define SOFT_ROCE_VENDOR 0xffffffu /* no adapter's */
/* Waking a helper costs what it takes to post some ten KiB. */
#define HELPER_BYTES_MIN (128u << 10)
/* Of one job: helpers have other work too. */
#define JOB_BYTES_MAX (1u << 20)

/* A chain that isn't reported. */
#define OF_READS 1u
#define COMPLETE 2u
#define FAILED 4u

static void start_job(struct verbs_lane *n);

int
verbs_out_init(struct verbs_conn *vc)
{
	struct verbs_out *o = &vc->out;
	o->order = calloc(vc->conn.queue_max, sizeof *o->order);
	if (o->order == NULL)
		return -ENOMEM;
	for (unsigned i = 0; i < VERBS_LANES; i++)
		o->lanes[i].conn = vc;
	if (vc->device->attr.vendor_id != SOFT_ROCE_VENDOR)
		return 0;
	o->helped = true;
	/* What a helper has may be complete, and the queue full again, before the helper is done. */
	o->cap = 2 * vc->conn.queue_max;
	for (unsigned i = 0; i < VERBS_LANES; i++) {
		struct verbs_lane *n = &o->lanes[i];
		n->wrs = calloc(o->cap, sizeof *n->wrs);
		n->sges = calloc((size_t)o->cap * VERBS_SEGMENTS_MAX, sizeof *n->sges);
		if (n->wrs == NULL || n->sges == NULL)
			return -ENOMEM;
	}
	return 0;
}

void
verbs_out_fini(struct verbs_conn *vc)
{
	ASSERT(!verbs_posting(&vc->conn));
	for (unsigned i = 0; i < VERBS_LANES; i++) {
		free(vc->out.lanes[i].wrs);
		free(vc->out.lanes[i].sges);
	}
	free(vc->out.order);
}

bool
verbs_posting(struct srp_conn *c)
{
	const struct verbs_out *o = &verbs_conn_of(c)->out;
	return o->lanes[0].in_job > 0 || o->lanes[1].in_job > 0;
}

/* ---- requests ----------------------------------------------------------------------------------- */

static void
fill(const struct verbs_conn *vc, const struct srp_wr *w, struct ibv_send_wr *ret,
    struct ibv_sge *sges)
{
	ASSERT(w->iovcnt <= VERBS_SEGMENTS_MAX);
	*ret = (struct ibv_send_wr){.sg_list = sges, .num_sge = (int)w->iovcnt};
	for (unsigned i = 0; i < w->iovcnt; i++) {
		uint32_t lkey = 0;
		bool known = verbs_find_key(vc, w->iov[i].iov_base, w->iov[i].iov_len, &lkey);
		ASSERT(known);
		sges[i] = (struct ibv_sge){.addr = (uintptr_t)w->iov[i].iov_base,
		    .length = (uint32_t)w->iov[i].iov_len,
		    .lkey = lkey};
	}
	if (w->kind == SRP_WR_SEND) {
		ret->opcode = IBV_WR_SEND;
		if (w->solicited)
			ret->send_flags |= IBV_SEND_SOLICITED;
		return;
	}
	ret->opcode = w->kind == SRP_WR_READ ? IBV_WR_RDMA_READ : IBV_WR_RDMA_WRITE;
	ret->wr.rdma.remote_addr = w->remote;
	ret->wr.rdma.rkey = w->key;
}

static unsigned
lane_of(const struct srp_wr *w)
{
	return w->kind == SRP_WR_READ ? VERBS_LANE_READS : VERBS_LANE_SENDS;
}

static void
end_chain(struct ibv_send_wr *last, unsigned lane)
{
	last->wr_id = lane == VERBS_LANE_READS ? VERBS_ID_LAST_READ : VERBS_ID_LAST; /* VB-1 */
	last->send_flags |= IBV_SEND_SIGNALED;
}

static bool
ends_chain(const struct ibv_send_wr *wr)
{
	return wr->wr_id != 0;
}

static int
post_here(struct verbs_conn *vc, const struct srp_wr *wrs, unsigned count)
{
	struct ibv_send_wr list[SRP_WR_CHAIN_MAX], *bad;
	struct ibv_sge sges[SRP_WR_CHAIN_MAX][VERBS_SEGMENTS_MAX];
	for (unsigned i = 0; i < count; i++) {
		fill(vc, &wrs[i], &list[i], sges[i]);
		if (i > 0)
			list[i - 1].next = &list[i];
	}
	end_chain(&list[count - 1], lane_of(wrs));
	/* Part of a chain may be posted: it does no harm, the queue is flushed and destroyed. */
	return ibv_post_send(vc->id->qp, list, &bad) == 0 ? 0 : -EIO;
}

static bool
is_long(const struct srp_wr *wrs, unsigned count)
{
	size_t bytes = 0;
	for (unsigned i = 0; i < count; i++)
		for (unsigned k = 0; k < wrs[i].iovcnt; k++)
			bytes += wrs[i].iov[k].iov_len;
	return bytes >= HELPER_BYTES_MIN;
}

/* ---- what isn't reported --------------------------------------------------------------------------- */

static uint8_t *
order_at(const struct verbs_conn *vc, uint32_t i)
{
	ASSERT(i < vc->out.unreported);
	return &vc->out.order[(vc->out.first + i) % vc->conn.queue_max];
}

static void
order_add(struct verbs_conn *vc, unsigned lane)
{
	struct verbs_out *o = &vc->out;
	ASSERT(o->unreported < vc->conn.queue_max); /* each takes a place of the queue at least */
	o->unreported++;
	*order_at(vc, o->unreported - 1) = lane == VERBS_LANE_READS ? OF_READS : 0;
}

static void
report(struct verbs_conn *vc)
{
	struct verbs_out *o = &vc->out;
	while (vc->loop != NULL && o->unreported > 0) {
		uint8_t is = *order_at(vc, 0);
		bool only = o->unreported == 1;
		if ((is & COMPLETE) == 0 || (only && verbs_posting(&vc->conn)))
			return; /* VO-3, VO-2 */
		o->first = (o->first + 1) % vc->conn.queue_max;
		o->unreported--;
		vc->verbs->events->sent(&vc->conn, (is & FAILED) == 0);
	}
}

/* The newest ones of a lane won't be posted. */
static void
lose(struct verbs_conn *vc, const struct verbs_lane *n, uint32_t chains)
{
	uint8_t lane = n == &vc->out.lanes[VERBS_LANE_READS] ? OF_READS : 0;
	for (uint32_t i = vc->out.unreported; i > 0 && chains > 0; i--) {
		uint8_t *is = order_at(vc, i - 1);
		if ((*is & OF_READS) == lane) {
			ASSERT((*is & COMPLETE) == 0);
			*is |= COMPLETE | FAILED;
			chains--;
		}
	}
	ASSERT(chains == 0);
}

/* ---- lanes ------------------------------------------------------------------------------------------- */

static void
put(struct verbs_lane *n, const struct srp_wr *wrs, unsigned count)
{
	struct verbs_conn *vc = n->conn;
	struct ibv_send_wr *wr = NULL;
	ASSERT(n->count + count <= vc->out.cap);
	for (unsigned i = 0; i < count; i++) {
		uint32_t at = (n->head + n->count++) % vc->out.cap;
		wr = &n->wrs[at];
		fill(vc, &wrs[i], wr, &n->sges[(size_t)at * VERBS_SEGMENTS_MAX]);
	}
	end_chain(wr, lane_of(wrs));
	if (n->in_job == 0)
		start_job(n);
}

/* On a helper. The loop leaves alone what is `in_job`. */
static int
work(struct loop_job *j)
{
	struct verbs_lane *n = container_of(j, struct verbs_lane, job);
	return ibv_post_send(n->conn->id->qp, &n->wrs[n->head], &n->bad) == 0 ? 0 : -EIO;
}

/* The queue takes nothing any more: what the lane has from `from` on is lost. */
static void
empty(struct verbs_lane *n, uint32_t from)
{
	uint32_t chains = 0;
	for (uint32_t i = from; i < n->count; i++)
		chains += ends_chain(&n->wrs[(n->head + i) % n->conn->out.cap]);
	n->head = n->count = 0;
	lose(n->conn, n, chains);
}

static void
on_posted(struct loop_job *j, int result)
{
	struct verbs_lane *n = container_of(j, struct verbs_lane, job);
	struct verbs_out *o = &n->conn->out;
	uint32_t done = n->in_job;
	n->in_job = 0;
	if (result < 0) {
		o->dead = true;
		done = ((uint32_t)(n->bad - n->wrs) + o->cap - n->head) % o->cap;
	}
	if (o->dead) {
		empty(n, done);
	} else {
		n->head = (n->head + done) % o->cap;
		n->count -= done;
		if (n->count > 0)
			start_job(n);
	}
	report(n->conn);
}

/* Whole chains, the first one however long it is. READs cost nothing but the room that they have in the queue. */
static void
start_job(struct verbs_lane *n)
{
	const struct verbs_out *o = &n->conn->out;
	struct ibv_send_wr *prev = NULL;
	size_t bytes = 0;
	ASSERT(n->in_job == 0 && n->count > 0);
	for (uint32_t i = 0; i < n->count; i++) {
		struct ibv_send_wr *wr = &n->wrs[(n->head + i) % o->cap];
		if (prev != NULL) {
			if (ends_chain(prev) && bytes >= JOB_BYTES_MAX)
				break;
			prev->next = wr;
		}
		wr->next = NULL;
		for (int k = 0; k < wr->num_sge && wr->opcode != IBV_WR_RDMA_READ; k++)
			bytes += wr->sg_list[k].length;
		prev = wr;
		n->in_job++;
	}
	n->job = (struct loop_job){.work = work, .done = on_posted};
	loop_job_submit(n->conn->loop, &n->job);
}

/* ---- for the frontend, and for completions ------------------------------------------------------ */

int
verbs_post(struct srp_conn *c, const struct srp_wr *wrs, unsigned count)
{
	struct verbs_conn *vc = verbs_conn_of(c);
	struct verbs_out *o = &vc->out;
	ASSERT(count > 0 && count <= SRP_WR_CHAIN_MAX);
	unsigned lane = lane_of(wrs);
	struct verbs_lane *n = &o->lanes[lane];
	if (o->dead)
		return -EIO;
	if (n->count > 0 || (o->helped && is_long(wrs, count))) {
		put(n, wrs, count); /* VO-1 */
	} else if (post_here(vc, wrs, count) < 0) {
		o->dead = true;
		return -EIO;
	}
	order_add(vc, lane);
	return 0;
}

void
verbs_out_completed(struct verbs_conn *vc, unsigned lane, bool ok)
{
	uint8_t of = lane == VERBS_LANE_READS ? OF_READS : 0;
	uint32_t i = 0;
	while ((*order_at(vc, i) & (OF_READS | COMPLETE)) != of)
		i++;
	*order_at(vc, i) |= ok ? COMPLETE : COMPLETE | FAILED;
	report(vc);
}
