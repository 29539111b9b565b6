/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/vm/srp_raw.h"

void
raw_name(const char *fmt, ...)
{
	static char text[200];
	char made[sizeof text];
	va_list ap;
	va_start(ap, fmt);
	(void)vsnprintf(made, sizeof made, fmt, ap);
	va_end(ap);
	memcpy(text, made, sizeof text);
	raw_what = text;
}

void
raw_fail(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	fprintf(stderr, "srp_raw: %s: ", raw_what);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	exit(1);
}

int
raw_event(struct raw_conn *c, int ms)
{
	struct pollfd p = {.fd = c->channel->fd, .events = POLLIN};
	struct rdma_cm_event *e;
	if (poll(&p, 1, ms) <= 0 || rdma_get_cm_event(c->channel, &e) < 0)
		return -1;
	int kind = (int)e->event;
	const struct rdma_conn_param *conn = &e->param.conn;
	if (kind == RDMA_CM_EVENT_REJECTED) {
		c->rej_len = conn->private_data_len;
		if (c->rej_len >= (int)sizeof c->rej)
			memcpy(&c->rej, conn->private_data, sizeof c->rej);
	}
	if ((kind == RDMA_CM_EVENT_ESTABLISHED || kind == RDMA_CM_EVENT_CONNECT_RESPONSE) &&
	    conn->private_data != NULL)
		memcpy(&c->rsp, conn->private_data, sizeof c->rsp);
	if (kind == RDMA_CM_EVENT_DISCONNECTED) {
		c->over = true;
		(void)rdma_disconnect(c->id);
	}
	rdma_ack_cm_event(e);
	return kind;
}

static void
wait_event(struct raw_conn *c, int kind)
{
	int got = raw_event(c, RAW_WAIT_MS);
	if (got != kind)
		raw_fail("event %d instead of %d", got, kind);
}

static void
post_recv(struct raw_conn *c, unsigned i)
{
	struct ibv_sge sge = {.addr = (uintptr_t)(c->mem + i * RAW_RECV_BYTES),
	    .length = RAW_RECV_BYTES,
	    .lkey = c->mr->lkey};
	struct ibv_recv_wr wr = {.wr_id = i, .sg_list = &sge, .num_sge = 1}, *bad;
	(void)ibv_post_recv(c->id->qp, &wr, &bad);
}

struct raw_conn *
raw_resolve(void)
{
	struct raw_conn *c = calloc(1, sizeof *c);
	if (c == NULL || (c->channel = rdma_create_event_channel()) == NULL ||
	    rdma_create_id(c->channel, &c->id, c, RDMA_PS_TCP) < 0 ||
	    rdma_resolve_addr(c->id, NULL, (struct sockaddr *)&raw_target, 2000) < 0)
		raw_fail("no RDMA: %s", strerror(errno));
	wait_event(c, RDMA_CM_EVENT_ADDR_RESOLVED);
	if (rdma_resolve_route(c->id, 2000) < 0)
		raw_fail("no route: %s", strerror(errno));
	wait_event(c, RDMA_CM_EVENT_ROUTE_RESOLVED);
	return c;
}

struct raw_conn *
raw_prepare(unsigned recvs)
{
	size_t bytes = RAW_RECVS * RAW_RECV_BYTES + RAW_SEND_BYTES + RAW_DATA_BYTES;
	struct raw_conn *c = raw_resolve();
	c->pd = ibv_alloc_pd(c->id->verbs);
	c->cq = ibv_create_cq(c->id->verbs, RAW_RECVS + RAW_SENDS, NULL, NULL, 0);
	c->mem = aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
	if (c->pd == NULL || c->cq == NULL || c->mem == NULL)
		raw_fail("no memory for a queue");
	memset(c->mem, 0, bytes);
	c->mr = ibv_reg_mr(c->pd, c->mem, bytes,
	    IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ);
	c->send = c->mem + RAW_RECVS * RAW_RECV_BYTES;
	c->data = c->send + RAW_SEND_BYTES;
	struct ibv_qp_init_attr init = {.send_cq = c->cq,
	    .recv_cq = c->cq,
	    .qp_type = IBV_QPT_RC,
	    .cap = {.max_send_wr = RAW_SENDS,
	        .max_recv_wr = RAW_RECVS,
	        .max_send_sge = 1,
	        .max_recv_sge = 1}};
	if (c->mr == NULL || rdma_create_qp(c->id, c->pd, &init) < 0)
		raw_fail("no queue: %s", strerror(errno));
	for (unsigned i = 0; i < recvs; i++)
		post_recv(c, i);
	return c;
}

void
raw_login_unit(struct srp_login_req_rdma *w)
{
	*w = (struct srp_login_req_rdma){.flags = SRP_LOGIN_IMMEDIATE};
	be16_put(&w->formats, SRP_FMT_BIT_DIRECT | SRP_FMT_BIT_INDIRECT);
	be32_put(&w->it_iu_len, 8260);
	be16_put(&w->imm_data_offset, 68);
	memset(w->initiator_port, raw_initiator, 16);
	memcpy(w->target_port, raw_target_port, 16);
}

void
raw_connect(struct raw_conn *c, const void *unit, uint8_t len)
{
	struct rdma_conn_param p = {.private_data = unit,
	    .private_data_len = len,
	    .responder_resources = 4,
	    .initiator_depth = 4,
	    .retry_count = 7,
	    .rnr_retry_count = 7};
	if (rdma_connect(c->id, &p) < 0)
		raw_fail("connect: %s", strerror(errno));
	int kind = raw_event(c, RAW_WAIT_MS);
	c->connected = kind == RDMA_CM_EVENT_ESTABLISHED;
	if (!c->connected && kind != RDMA_CM_EVENT_REJECTED)
		raw_fail("event %d instead of an answer", kind);
}

void
raw_release(struct raw_conn *c)
{
	if (c->connected && !c->over)
		(void)rdma_disconnect(c->id);
	if (c->id->qp != NULL)
		rdma_destroy_qp(c->id);
	if (c->mr != NULL)
		(void)ibv_dereg_mr(c->mr);
	if (c->cq != NULL)
		(void)ibv_destroy_cq(c->cq);
	if (c->pd != NULL)
		(void)ibv_dealloc_pd(c->pd);
	(void)rdma_destroy_id(c->id);
	rdma_destroy_event_channel(c->channel);
	free(c->mem);
	free(c);
}

bool
raw_take(struct raw_conn *c)
{
	struct ibv_wc wc;
	while (ibv_poll_cq(c->cq, 1, &wc) > 0) {
		if (wc.status != IBV_WC_SUCCESS) {
			c->failed = true;
			continue;
		}
		if (!(wc.opcode & IBV_WC_RECV))
			continue;
		memcpy(c->last.bytes, c->mem + wc.wr_id * RAW_RECV_BYTES, RAW_RECV_BYTES);
		c->last.len = wc.byte_len;
		post_recv(c, (unsigned)wc.wr_id);
		return true;
	}
	return false;
}

bool
raw_wait_message(struct raw_conn *c, int ms)
{
	for (int i = 0; i < ms; i += 2) {
		if (raw_take(c))
			return true;
		usleep(2000);
	}
	return false;
}

void
raw_send(struct raw_conn *c, size_t len)
{
	struct ibv_sge sge = {
	    .addr = (uintptr_t)c->send, .length = (uint32_t)len, .lkey = c->mr->lkey};
	struct ibv_send_wr wr = {.sg_list = &sge,
	                       .num_sge = len > 0,
	                       .opcode = IBV_WR_SEND,
	                       .send_flags = IBV_SEND_SIGNALED},
	                   *bad;
	(void)ibv_post_send(c->id->qp, &wr, &bad);
}

struct raw_conn *
raw_login_as(uint8_t flags, uint32_t it_iu_len, uint16_t imm_data_offset)
{
	struct srp_login_req_rdma w;
	struct raw_conn *c = raw_prepare(RAW_RECVS);
	raw_login_unit(&w);
	w.flags = flags;
	be32_put(&w.it_iu_len, it_iu_len);
	be16_put(&w.imm_data_offset, imm_data_offset);
	raw_connect(c, &w, sizeof w);
	if (!c->connected)
		raw_fail("a login that is right was refused: %08x", be32_get(c->rej.reason));
	return c;
}

struct raw_conn *
raw_try_login(uint8_t flags, uint32_t *ret_reason)
{
	struct srp_login_req_rdma w;
	struct raw_conn *c = raw_prepare(RAW_RECVS);
	raw_login_unit(&w);
	w.flags |= flags;
	raw_connect(c, &w, sizeof w);
	if (c->connected)
		return c;
	if (c->rej_len < (int)sizeof c->rej || c->rej.opcode != SRP_LOGIN_REJ)
		raw_fail("it was refused without SRP_LOGIN_REJ");
	*ret_reason = be32_get(c->rej.reason);
	raw_release(c);
	return NULL;
}

struct raw_conn *
raw_login(void)
{
	return raw_login_as(SRP_LOGIN_IMMEDIATE, 8260, 68);
}

void
raw_wait_end(struct raw_conn *c)
{
	for (int i = 0; i < RAW_WAIT_MS && !c->over; i += 100)
		(void)raw_event(c, 100);
	if (!c->over)
		raw_fail("the target did not end the connection");
}
