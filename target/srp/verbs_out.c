/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The way of requests to ibv_post_send(). A real adapter takes them and works by itself. Soft-RoCE is a
 * driver that does the work in whoever posts: to post a MiB is to copy it, to add it up and to hand it to
 * the peer. A loop that did that would serve one channel at a time, whatever other CPUs there are. So a
 * helper posts what is long there, and what comes behind it meanwhile, in order.
 *
 * VO-1  What is posted first is handed over first: nothing passes the ring while something is in it.
 * VO-2  While a helper posts, one chain isn't reported: neither does the frontend let go of the
 *       connection then, nor does the helper need it to stay otherwise.
 * VO-3  A chain that couldn't be posted is reported as failed, behind those that were.
 */
#include <errno.h>
#include <stdlib.h>

#include "srp/verbs.h"

#define SOFT_ROCE_VENDOR 0xffffffu /* no adapter's */
/* Waking a helper costs what it takes to post some ten KiB. */
#define HELPER_BYTES_MIN (128u << 10)
/* Of one job: helpers have other work too. */
#define JOB_BYTES_MAX (1u << 20)

static void start_job(struct verbs_conn *vc);

int
verbs_out_init(struct verbs_conn *vc)
{
	struct verbs_out *o = &vc->out;
	if (vc->device->attr.vendor_id != SOFT_ROCE_VENDOR)
		return 0;
	/* What a helper has may be complete, and the queue full again, before the helper is done. */
	o->cap = 2 * vc->conn.queue_max;
	o->wrs = calloc(o->cap, sizeof *o->wrs);
	o->sges = calloc((size_t)o->cap * VERBS_SEGMENTS_MAX, sizeof *o->sges);
	return o->wrs != NULL && o->sges != NULL ? 0 : -ENOMEM;
}

void
verbs_out_fini(struct verbs_conn *vc)
{
	ASSERT(vc->out.in_job == 0);
	free(vc->out.wrs);
	free(vc->out.sges);
}

bool
verbs_posting(struct srp_conn *c)
{
	return verbs_conn_of(c)->out.in_job > 0;
}

/* ---- requests ----------------------------------------------------------------------------------- */

/* Its length in bytes. */
static size_t
fill(const struct verbs_conn *vc, const struct srp_wr *w, struct ibv_send_wr *ret,
    struct ibv_sge *sges)
{
	size_t bytes = 0;
	ASSERT(w->iovcnt <= VERBS_SEGMENTS_MAX);
	*ret = (struct ibv_send_wr){.sg_list = sges, .num_sge = (int)w->iovcnt};
	for (unsigned i = 0; i < w->iovcnt; i++) {
		uint32_t lkey = 0;
		bool known = verbs_find_key(vc, w->iov[i].iov_base, w->iov[i].iov_len, &lkey);
		ASSERT(known);
		sges[i] = (struct ibv_sge){.addr = (uintptr_t)w->iov[i].iov_base,
		    .length = (uint32_t)w->iov[i].iov_len,
		    .lkey = lkey};
		bytes += w->iov[i].iov_len;
	}
	if (w->kind == SRP_WR_SEND) {
		ret->opcode = IBV_WR_SEND;
		if (w->solicited)
			ret->send_flags |= IBV_SEND_SOLICITED;
		return bytes;
	}
	ret->opcode = w->kind == SRP_WR_READ ? IBV_WR_RDMA_READ : IBV_WR_RDMA_WRITE;
	ret->wr.rdma.remote_addr = w->remote;
	ret->wr.rdma.rkey = w->key;
	return bytes;
}

static void
end_chain(struct ibv_send_wr *last)
{
	last->wr_id = VERBS_ID_LAST; /* VB-1 */
	last->send_flags |= IBV_SEND_SIGNALED;
}

static bool
ends_chain(const struct ibv_send_wr *wr)
{
	return wr->wr_id == VERBS_ID_LAST;
}

static int
post_here(struct verbs_conn *vc, const struct srp_wr *wrs, unsigned count)
{
	struct ibv_send_wr list[SRP_WR_CHAIN_MAX], *bad;
	struct ibv_sge sges[SRP_WR_CHAIN_MAX][VERBS_SEGMENTS_MAX];
	for (unsigned i = 0; i < count; i++) {
		(void)fill(vc, &wrs[i], &list[i], sges[i]);
		if (i > 0)
			list[i - 1].next = &list[i];
	}
	end_chain(&list[count - 1]);
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

/* ---- the ring ------------------------------------------------------------------------------------ */

static void
put(struct verbs_conn *vc, const struct srp_wr *wrs, unsigned count)
{
	struct verbs_out *o = &vc->out;
	ASSERT(o->count + count <= o->cap);
	struct ibv_send_wr *wr = NULL;
	for (unsigned i = 0; i < count; i++) {
		uint32_t at = (o->head + o->count++) % o->cap;
		wr = &o->wrs[at];
		(void)fill(vc, &wrs[i], wr, &o->sges[(size_t)at * VERBS_SEGMENTS_MAX]);
	}
	end_chain(wr);
	if (o->in_job == 0)
		start_job(vc);
}

/* On a helper. The loop leaves alone what is `in_job`. */
static int
work(struct loop_job *j)
{
	struct verbs_conn *vc = container_of(j, struct verbs_conn, out.job);
	struct verbs_out *o = &vc->out;
	return ibv_post_send(vc->id->qp, &o->wrs[o->head], &o->bad) == 0 ? 0 : -EIO;
}

static void
report(struct verbs_conn *vc, bool ok)
{
	struct verbs_out *o = &vc->out;
	ASSERT(o->unreported > 0);
	o->unreported--;
	vc->verbs->events->sent(&vc->conn, ok);
}

static void
report_lost(struct verbs_conn *vc)
{
	struct verbs_out *o = &vc->out;
	while (vc->loop != NULL && o->lost > 0 && o->unreported == o->lost) {
		o->lost--;
		report(vc, false);
	}
}

/* The queue takes nothing any more: what is in the ring from `from` on is lost. */
static void
lose(struct verbs_out *o, uint32_t from)
{
	o->dead = true;
	for (uint32_t i = from; i < o->count; i++)
		if (ends_chain(&o->wrs[(o->head + i) % o->cap]))
			o->lost++;
	o->head = o->count = 0;
}

static void
on_posted(struct loop_job *j, int result)
{
	struct verbs_conn *vc = container_of(j, struct verbs_conn, out.job);
	struct verbs_out *o = &vc->out;
	uint32_t done = o->in_job;
	o->in_job = 0;
	if (result < 0) {
		lose(o, ((uint32_t)(o->bad - o->wrs) + o->cap - o->head) % o->cap);
	} else {
		o->head = (o->head + done) % o->cap;
		o->count -= done;
		if (o->count > 0)
			start_job(vc);
	}
	if (o->held) {
		o->held = false;
		report(vc, o->held_ok);
	}
	report_lost(vc);
}

/* Whole chains, the first one however long it is. */
static void
start_job(struct verbs_conn *vc)
{
	struct verbs_out *o = &vc->out;
	struct ibv_send_wr *prev = NULL;
	size_t bytes = 0;
	ASSERT(o->in_job == 0 && o->count > 0);
	for (uint32_t i = 0; i < o->count; i++) {
		struct ibv_send_wr *wr = &o->wrs[(o->head + i) % o->cap];
		if (prev != NULL) {
			if (ends_chain(prev) && bytes >= JOB_BYTES_MAX)
				break;
			prev->next = wr;
		}
		wr->next = NULL;
		for (int k = 0; k < wr->num_sge; k++)
			bytes += wr->sg_list[k].length;
		prev = wr;
		o->in_job++;
	}
	o->job = (struct loop_job){.work = work, .done = on_posted};
	loop_job_submit(vc->loop, &o->job);
}

/* ---- for the frontend, and for completions ------------------------------------------------------ */

int
verbs_post(struct srp_conn *c, const struct srp_wr *wrs, unsigned count)
{
	struct verbs_conn *vc = verbs_conn_of(c);
	struct verbs_out *o = &vc->out;
	ASSERT(count > 0 && count <= SRP_WR_CHAIN_MAX);
	if (o->dead)
		return -EIO;
	if (o->count > 0 || (o->cap > 0 && is_long(wrs, count))) {
		put(vc, wrs, count); /* VO-1 */
	} else if (post_here(vc, wrs, count) < 0) {
		o->dead = true;
		return -EIO;
	}
	o->unreported++;
	return 0;
}

void
verbs_out_completed(struct verbs_conn *vc, bool ok)
{
	struct verbs_out *o = &vc->out;
	ASSERT(!o->held);
	if (o->in_job > 0 && o->unreported == 1) {
		o->held = true; /* VO-2 */
		o->held_ok = ok;
		return;
	}
	report(vc, ok);
	report_lost(vc);
}
