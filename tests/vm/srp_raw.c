/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An SRP initiator that sends what it likes, over librdmacm: logins and units that are malformed, that
 * lie, or that want too much. After each the target must have answered as it should, and still serve.
 * Usage: srp_raw ADDRESS PORT id_ext=HEX,ioc_guid=HEX [LOGINS]
 * With LOGINS it only logs in and out, so often.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <rdma/rdma_cma.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "srp/wire.h"

#define RECVS 160
#define RECV_BYTES 512u
#define MEM_BYTES (256u << 10)
#define WAIT_MS 60000
#define CHANNELS_MAX 16u /* of a session: limits.channels_per_session_max */

static struct sockaddr_in target;
static uint8_t target_port[16];
static uint8_t initiator = 0xab; /* each byte of its port's identifier */
static const char *what = "";

static void __attribute__((format(printf, 1, 2), noreturn)) fail(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	fprintf(stderr, "srp_raw: %s: ", what);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	exit(1);
}

/* ---- a connection ------------------------------------------------------------------------------ */

struct conn {
	struct rdma_event_channel *channel;
	struct rdma_cm_id *id;
	struct ibv_pd *pd;
	struct ibv_cq *cq;
	struct ibv_mr *mr;
	uint8_t *mem; /* RECVS buffers, one to send from, then data */
	uint8_t *send, *data;
	bool connected, over; /* over: the target let go */
	int rej_len;
	struct srp_login_rej rej;
	struct srp_login_rsp rsp;
	struct {
		uint8_t bytes[RECV_BYTES];
		uint32_t len;
	} last;
	unsigned messages;
	bool failed; /* the queue */
};

/* The next event within `ms`; -1: none. Events of the end are remembered. */
static int
next_event(struct conn *c, int ms)
{
	struct pollfd p = {.fd = c->channel->fd, .events = POLLIN};
	struct rdma_cm_event *e;
	if (poll(&p, 1, ms) <= 0 || rdma_get_cm_event(c->channel, &e) < 0)
		return -1;
	int kind = (int)e->event;
	if (kind == RDMA_CM_EVENT_REJECTED) {
		c->rej_len = e->param.conn.private_data_len;
		if (c->rej_len >= (int)sizeof c->rej)
			memcpy(&c->rej, e->param.conn.private_data, sizeof c->rej);
	}
	if (kind == RDMA_CM_EVENT_ESTABLISHED && e->param.conn.private_data != NULL)
		memcpy(&c->rsp, e->param.conn.private_data, sizeof c->rsp);
	if (kind == RDMA_CM_EVENT_DISCONNECTED) {
		c->over = true;
		(void)rdma_disconnect(c->id);
	}
	rdma_ack_cm_event(e);
	return kind;
}

static void
wait_event(struct conn *c, int kind)
{
	int got = next_event(c, WAIT_MS);
	if (got != kind)
		fail("event %d instead of %d", got, kind);
}

static void
post_recv(struct conn *c, unsigned i)
{
	struct ibv_sge sge = {.addr = (uintptr_t)(c->mem + i * RECV_BYTES),
	    .length = RECV_BYTES,
	    .lkey = c->mr->lkey};
	struct ibv_recv_wr wr = {.wr_id = i, .sg_list = &sge, .num_sge = 1}, *bad;
	(void)ibv_post_recv(c->id->qp, &wr, &bad);
}

static struct conn *
prepare(unsigned recvs)
{
	struct conn *c = calloc(1, sizeof *c);
	size_t bytes = RECVS * RECV_BYTES + 16384 + MEM_BYTES;
	if (c == NULL || (c->channel = rdma_create_event_channel()) == NULL ||
	    rdma_create_id(c->channel, &c->id, c, RDMA_PS_TCP) < 0 ||
	    rdma_resolve_addr(c->id, NULL, (struct sockaddr *)&target, 2000) < 0)
		fail("no RDMA: %s", strerror(errno));
	wait_event(c, RDMA_CM_EVENT_ADDR_RESOLVED);
	if (rdma_resolve_route(c->id, 2000) < 0)
		fail("no route: %s", strerror(errno));
	wait_event(c, RDMA_CM_EVENT_ROUTE_RESOLVED);
	c->pd = ibv_alloc_pd(c->id->verbs);
	c->cq = ibv_create_cq(c->id->verbs, 2 * RECVS, NULL, NULL, 0);
	c->mem = aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
	memset(c->mem, 0, bytes);
	c->mr = ibv_reg_mr(c->pd, c->mem, bytes,
	    IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ);
	c->send = c->mem + RECVS * RECV_BYTES;
	c->data = c->send + 16384;
	struct ibv_qp_init_attr init = {.send_cq = c->cq,
	    .recv_cq = c->cq,
	    .qp_type = IBV_QPT_RC,
	    .cap = {
	        .max_send_wr = RECVS, .max_recv_wr = RECVS, .max_send_sge = 1, .max_recv_sge = 1}};
	if (c->mr == NULL || rdma_create_qp(c->id, c->pd, &init) < 0)
		fail("no queue: %s", strerror(errno));
	for (unsigned i = 0; i < recvs; i++)
		post_recv(c, i);
	return c;
}

static void
login_unit(struct srp_login_req_rdma *w)
{
	*w = (struct srp_login_req_rdma){.flags = SRP_LOGIN_IMMEDIATE};
	be16_put(&w->formats, SRP_FMT_BIT_DIRECT | SRP_FMT_BIT_INDIRECT);
	be32_put(&w->it_iu_len, 8260);
	be16_put(&w->imm_data_offset, 68);
	memset(w->initiator_port, initiator, 16);
	memcpy(w->target_port, target_port, 16);
}

static void
connect_with(struct conn *c, const void *unit, uint8_t len)
{
	struct rdma_conn_param p = {.private_data = unit,
	    .private_data_len = len,
	    .responder_resources = 4,
	    .initiator_depth = 4,
	    .retry_count = 7,
	    .rnr_retry_count = 7};
	if (rdma_connect(c->id, &p) < 0)
		fail("connect: %s", strerror(errno));
	int kind = next_event(c, WAIT_MS);
	c->connected = kind == RDMA_CM_EVENT_ESTABLISHED;
	if (!c->connected && kind != RDMA_CM_EVENT_REJECTED)
		fail("event %d instead of an answer", kind);
}

static void
release(struct conn *c)
{
	if (c->connected && !c->over)
		(void)rdma_disconnect(c->id);
	rdma_destroy_qp(c->id);
	(void)ibv_dereg_mr(c->mr);
	(void)ibv_destroy_cq(c->cq);
	(void)ibv_dealloc_pd(c->pd);
	(void)rdma_destroy_id(c->id);
	rdma_destroy_event_channel(c->channel);
	free(c->mem);
	free(c);
}

/* Takes what has come; true: a message. */
static bool
take(struct conn *c)
{
	struct ibv_wc wc;
	while (ibv_poll_cq(c->cq, 1, &wc) > 0) {
		if (wc.status != IBV_WC_SUCCESS) {
			c->failed = true;
			continue;
		}
		if (!(wc.opcode & IBV_WC_RECV))
			continue;
		memcpy(c->last.bytes, c->mem + wc.wr_id * RECV_BYTES, RECV_BYTES);
		c->last.len = wc.byte_len;
		c->messages++;
		post_recv(c, (unsigned)wc.wr_id);
		return true;
	}
	return false;
}

static bool
wait_message(struct conn *c, int ms)
{
	for (int i = 0; i < ms; i += 2) {
		if (take(c))
			return true;
		usleep(2000);
	}
	return false;
}

static void
send_unit(struct conn *c, size_t len)
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

static struct conn *
login_as(uint8_t flags, uint32_t it_iu_len, uint16_t imm_data_offset)
{
	struct srp_login_req_rdma w;
	struct conn *c = prepare(RECVS);
	login_unit(&w);
	w.flags = flags;
	be32_put(&w.it_iu_len, it_iu_len);
	be16_put(&w.imm_data_offset, imm_data_offset);
	connect_with(c, &w, sizeof w);
	if (!c->connected)
		fail("a login that is right was refused: %08x", be32_get(c->rej.reason));
	return c;
}

static struct conn *
login(void)
{
	return login_as(SRP_LOGIN_IMMEDIATE, 8260, 68);
}

/* The target lets go of the connection. */
static void
wait_end(struct conn *c)
{
	for (int i = 0; i < WAIT_MS && !c->over; i += 100)
		(void)next_event(c, 100);
	if (!c->over)
		fail("the target did not end the connection");
}

/* ---- logins ---------------------------------------------------------------------------------------- */

static void
refused_login(
    const char *name, void (*change)(struct srp_login_req_rdma *w), uint8_t len, uint32_t reason)
{
	struct srp_login_req_rdma w;
	what = name;
	struct conn *c = prepare(RECVS);
	login_unit(&w);
	if (change != NULL)
		change(&w);
	connect_with(c, &w, len);
	if (c->connected)
		fail("it was admitted");
	if (c->rej_len < (int)sizeof c->rej || c->rej.opcode != SRP_LOGIN_REJ)
		fail("it was refused without SRP_LOGIN_REJ");
	if (be32_get(c->rej.reason) != reason)
		fail("reason %08x instead of %08x", be32_get(c->rej.reason), reason);
	release(c);
}

static void
wrong_opcode(struct srp_login_req_rdma *w)
{
	w->opcode = SRP_CMD;
}
static void
wrong_target(struct srp_login_req_rdma *w)
{
	w->target_port[15] ^= 1;
}
static void
short_units(struct srp_login_req_rdma *w)
{
	be32_put(&w->it_iu_len, 63);
}
static void
long_units(struct srp_login_req_rdma *w)
{
	be32_put(&w->it_iu_len, 8449);
}
static void
no_format(struct srp_login_req_rdma *w)
{
	be16_put(&w->formats, 0);
}
static void
no_units(struct srp_login_req_rdma *w)
{
	be32_put(&w->it_iu_len, 0);
}
static void
wrong_action(struct srp_login_req_rdma *w)
{
	w->flags |= 3;
}
static void
one_more(struct srp_login_req_rdma *w)
{
	w->flags |= SRP_LOGIN_MULTI;
}

/* The shortest and the longest units; immediate data is granted where its place can be. */
static void
lengths(void)
{
	static const struct {
		uint32_t it_iu_len;
		uint16_t offset;
		bool granted;
	} rows[] = {{64, 68, false}, {8448, 68, true}, {8260, 0, false}, {8260, 47, false},
	    {8260, 52, true}, {8260, 65535, false}};
	for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		char text[80];
		snprintf(text, sizeof text, "units of %u bytes, immediate data at %u",
		    rows[i].it_iu_len, rows[i].offset);
		what = text;
		struct conn *c = login_as(SRP_LOGIN_IMMEDIATE, rows[i].it_iu_len, rows[i].offset);
		if (((c->rsp.flags & SRP_LOGIN_IMMEDIATE) != 0) != rows[i].granted)
			fail("flags %02x", c->rsp.flags);
		release(c);
	}
}

/* A further channel that is the first, as many as there may be, and one more. */
static void
many_channels(void)
{
	struct conn *all[CHANNELS_MAX];
	initiator = 0xcd; /* no session of it may still be ending */
	what = "a further channel of nothing";
	all[0] = login_as(SRP_LOGIN_MULTI, 276, 0);
	if ((all[0]->rsp.flags & 3) != 0)
		fail("flags %02x", all[0]->rsp.flags);
	what = "many channels";
	for (unsigned i = 1; i < CHANNELS_MAX; i++) {
		all[i] = login_as(SRP_LOGIN_MULTI, 276, 0);
		if ((all[i]->rsp.flags & 3) != SRP_LOGIN_RSP_MAINTAINED)
			fail("flags %02x of channel %u", all[i]->rsp.flags, i);
	}
	refused_login("a channel too many", one_more, 56, SRP_REJ_CHANNELS);
	for (unsigned i = 0; i < CHANNELS_MAX; i++)
		release(all[i]);
	initiator = 0xab;
}

static void
logins(void)
{
	/* The kernel fills up to 56 bytes with zeros: a login to no target. */
	refused_login("no login at all", NULL, 0, SRP_REJ_NEXUS);
	refused_login("half a login", wrong_opcode, 30, SRP_REJ_UNSPECIFIED);
	refused_login("another opcode", wrong_opcode, 56, SRP_REJ_UNSPECIFIED);
	refused_login("another target", wrong_target, 56, SRP_REJ_NEXUS);
	refused_login("no units", no_units, 56, SRP_REJ_UNSPECIFIED);
	refused_login("short units", short_units, 56, SRP_REJ_UNSPECIFIED);
	refused_login("long units", long_units, 56, SRP_REJ_IU_LEN);
	refused_login("no format", no_format, 56, SRP_REJ_FORMATS);
	refused_login("another action", wrong_action, 56, SRP_REJ_MULTI);
	what = "two logins of the same port";
	struct conn *a = login(), *b = login();
	if ((b->rsp.flags & 3) != SRP_LOGIN_RSP_TERMINATED)
		fail("flags %02x", b->rsp.flags);
	wait_end(a);
	release(a);
	release(b);
	lengths();
	many_channels();
}

/* ---- units ------------------------------------------------------------------------------------------- */

static size_t
command(struct conn *c, uint8_t formats, uint64_t tag)
{
	memset(c->send, 0, 16384);
	c->send[0] = SRP_CMD;
	c->send[5] = formats;
	store_be64(c->send + 8, tag);
	return 48;
}

static size_t
add_desc(struct conn *c, size_t at, uint64_t va, uint32_t key, uint32_t len)
{
	store_be64(c->send + at, va);
	store_be32(c->send + at + 8, key);
	store_be32(c->send + at + 12, len);
	return at + 16;
}

static size_t
read_blocks(struct conn *c, uint64_t tag, uint16_t blocks)
{
	size_t at = command(c, SRP_FMT_DIRECT, tag);
	c->send[32] = 0x28;
	store_be16(c->send + 39, blocks);
	return add_desc(c, at, (uintptr_t)c->data, c->mr->rkey, blocks * 512u);
}

/* Whoever logs in now is served. */
static void
still_serves(void)
{
	const char *was = what;
	char text[100];
	snprintf(text, sizeof text, "after: %s", was);
	what = text;
	struct conn *c = login();
	for (uint64_t tag = 1; tag <= 3; tag++) { /* the unit attention of the login first */
		send_unit(c, read_blocks(c, tag, 8));
		if (!wait_message(c, WAIT_MS) || c->last.bytes[0] != SRP_RSP ||
		    load_be64(c->last.bytes + 8) != tag)
			fail("no answer");
		if (c->last.bytes[19] == 0)
			break;
		if (tag == 3)
			fail("status %02x", c->last.bytes[19]);
	}
	release(c);
}

/* A unit that ends the connection, with this reason in T_LOGOUT. */
static void
fatal(const char *name, size_t (*fill)(struct conn *c), uint32_t reason)
{
	what = name;
	struct conn *c = login();
	send_unit(c, fill(c));
	if (!wait_message(c, WAIT_MS) || c->last.bytes[0] != SRP_T_LOGOUT)
		fail("no T_LOGOUT but %02x", c->last.bytes[0]);
	if (load_be32(c->last.bytes + 4) != reason)
		fail("reason %u instead of %u", load_be32(c->last.bytes + 4), reason);
	wait_end(c);
	release(c);
	still_serves();
}

/* A unit that is answered with "fields invalid"; the connection lives. */
static void
invalid(const char *name, size_t (*fill)(struct conn *c))
{
	what = name;
	struct conn *c = login();
	send_unit(c, fill(c));
	if (!wait_message(c, WAIT_MS) || c->last.bytes[0] != SRP_RSP ||
	    !(c->last.bytes[18] & SRP_RSP_RSPVALID) || c->last.bytes[39] != SRP_RSP_INVALID_FIELDS)
		fail("no such answer but %02x", c->last.bytes[0]);
	send_unit(c, command(c, 0, 9));
	if (!wait_message(c, WAIT_MS) || load_be64(c->last.bytes + 8) != 9)
		fail("the channel is dead");
	release(c);
}

static size_t
unit_empty(struct conn *c)
{
	(void)c;
	return 0;
}
static size_t
unit_unknown(struct conn *c)
{
	memset(c->send, 0x55, 64);
	return 64;
}
static size_t
unit_short_command(struct conn *c)
{
	return command(c, 0, 1) - 1;
}
static size_t
unit_cut_descriptor(struct conn *c)
{
	return read_blocks(c, 1, 8) - 1;
}
static size_t
unit_many_descriptors(struct conn *c)
{
	size_t at = command(c, SRP_FMT_INDIRECT << 4, 1);
	c->send[6] = 255;
	return at + 20;
}
static size_t
unit_unknown_format(struct conn *c)
{
	return command(c, 0x50, 1);
}
static size_t
unit_unasked(struct conn *c)
{
	memset(c->send, 0, 16);
	c->send[0] = SRP_CRED_RSP;
	return 16;
}
static size_t
unit_immediate_too_long(struct conn *c)
{
	(void)command(c, SRP_FMT_IMMEDIATE << 4, 1);
	store_be32(c->send + 48, 1u << 30);
	return 100;
}
static size_t
unit_wraps(struct conn *c)
{
	return add_desc(c, command(c, SRP_FMT_DIRECT, 1), UINT64_MAX - 100, 1, 4096);
}
static size_t
unit_too_much(struct conn *c)
{
	return add_desc(c, command(c, SRP_FMT_DIRECT, 1), 4096, 1, UINT32_MAX);
}
static size_t
unit_long_cdb(struct conn *c)
{
	(void)command(c, 0, 1);
	c->send[31] = 0xfc;
	return 48 + 0xfc;
}

static size_t
table(struct conn *c, uint32_t table_bytes, uint32_t bytes)
{
	size_t at = add_desc(
	    c, command(c, SRP_FMT_INDIRECT, 1), (uintptr_t)c->data, c->mr->rkey, table_bytes);
	c->send[7] = 1;
	c->send[32] = 0x28;
	store_be16(c->send + 39, 8);
	store_be32(c->send + at, bytes);
	return add_desc(c, at + 4, (uintptr_t)c->data, c->mr->rkey, 512);
}
static size_t
unit_part_of_descriptor(struct conn *c)
{
	return table(c, 33, 512);
}
static size_t
unit_wrong_sum(struct conn *c)
{
	return table(c, 16, 513);
}
static size_t
unit_long_table(struct conn *c)
{
	return table(c, 16 * 2049, 1u << 20);
}

/* READ data to, or WRITE data from, memory that isn't the initiator's to give. */
static void
wrong_key(bool write)
{
	what = write ? "a wrong key of data out" : "a wrong key of data in";
	struct conn *c = login();
	for (uint64_t tag = 1; tag <= 3 && !c->failed; tag++) {
		size_t at = command(c, write ? SRP_FMT_DIRECT << 4 : SRP_FMT_DIRECT, tag);
		c->send[32] = write ? 0x2a : 0x28;
		store_be16(c->send + 39, 8);
		send_unit(c, add_desc(c, at, (uintptr_t)c->data, c->mr->rkey ^ 0xff00, 4096));
		(void)wait_message(c, 3000); /* the unit attention of the login */
	}
	wait_end(c);
	release(c);
	still_serves();
}

static void
greedy(void)
{
	what = "more requests than credit";
	struct conn *c = login();
	uint32_t credit = be32_get(c->rsp.req_lim_delta);
	(void)read_blocks(c, 1, 256);
	for (uint32_t i = 0; i < credit + 2; i++)
		send_unit(c, 64);
	/* It may keep up with them: then there was credit each time. */
	for (int i = 0; i < 5000 && !c->over; i += 100) {
		while (take(c))
			;
		(void)next_event(c, 100);
	}
	release(c);
	still_serves();
}

/* A command ends anywhere. */
static void
cut_commands(void)
{
	for (size_t len = 1; len < 64; len += 7) {
		char text[40];
		snprintf(text, sizeof text, "%zu bytes of a command", len);
		what = text;
		struct conn *c = login();
		(void)read_blocks(c, 1, 8);
		send_unit(c, len);
		if (!wait_message(c, WAIT_MS) || c->last.bytes[0] != SRP_T_LOGOUT)
			fail("no T_LOGOUT but %02x", c->last.bytes[0]);
		uint32_t reason = len < 48 ? SRP_LOGOUT_BAD_IU : SRP_LOGOUT_IN_COUNT;
		if (load_be32(c->last.bytes + 4) != reason)
			fail("reason %u instead of %u", load_be32(c->last.bytes + 4), reason);
		wait_end(c);
		release(c);
	}
	still_serves();
}

static void
longer_than_agreed(void)
{
	what = "a unit longer than agreed";
	struct conn *c = login_as(0, 276, 0);
	(void)read_blocks(c, 1, 8);
	send_unit(c, 12000);
	wait_end(c);
	release(c);
	still_serves();
}

/* The queue is gone, and nobody says so; the target writes to it. */
static void
silent_end(void)
{
	what = "a queue that is gone while data is on its way";
	struct conn *c = login();
	for (uint64_t tag = 1; tag <= 20; tag++)
		send_unit(c, read_blocks(c, tag, 256));
	struct ibv_qp_attr attr = {.qp_state = IBV_QPS_ERR};
	(void)ibv_modify_qp(c->id->qp, &attr, IBV_QP_STATE);
	still_serves(); /* takes the place of the session too */
	release(c);
}

static void
no_receives(void)
{
	what = "nowhere to answer to, then gone";
	struct srp_login_req_rdma w;
	struct conn *c = prepare(0);
	login_unit(&w);
	connect_with(c, &w, sizeof w);
	for (uint64_t tag = 1; tag <= 20; tag++)
		send_unit(c, read_blocks(c, tag, 64));
	usleep(500000);
	release(c);
	still_serves();
}

static void
half_open(void)
{
	what = "connections that nobody completes";
	struct srp_login_req_rdma w;
	login_unit(&w);
	for (unsigned i = 0; i < 10; i++) {
		struct conn *c = prepare(RECVS);
		struct rdma_conn_param p = {
		    .private_data = &w, .private_data_len = sizeof w, .responder_resources = 4};
		(void)rdma_connect(c->id, &p);
		rdma_destroy_qp(c->id);
		(void)rdma_destroy_id(c->id);
		rdma_destroy_event_channel(c->channel);
	}
	usleep(500000);
	still_serves();
}

static void
units(void)
{
	fatal("an empty unit", unit_empty, SRP_LOGOUT_BAD_IU);
	fatal("an unknown unit", unit_unknown, SRP_LOGOUT_BAD_IU);
	fatal("a command that is cut", unit_short_command, SRP_LOGOUT_BAD_IU);
	fatal("a descriptor that is cut", unit_cut_descriptor, SRP_LOGOUT_IN_COUNT);
	fatal("255 descriptors that aren't there", unit_many_descriptors, SRP_LOGOUT_OUT_COUNT);
	fatal("an unknown format", unit_unknown_format, SRP_LOGOUT_OUT_FORMAT);
	fatal("an answer to nothing", unit_unasked, SRP_LOGOUT_UNASKED_RSP);
	fatal("immediate data that aren't there", unit_immediate_too_long, SRP_LOGOUT_OUT_COUNT);
	invalid("an address that wraps", unit_wraps);
	invalid("4 GiB", unit_too_much);
	invalid("a long CDB", unit_long_cdb);
	invalid("part of a descriptor", unit_part_of_descriptor);
	invalid("a wrong sum", unit_wrong_sum);
	invalid("a table of 2049", unit_long_table);
}

static int
hex(const char *s, uint8_t *ret, unsigned len)
{
	for (unsigned i = 0; i < len; i++) {
		unsigned v;
		if (sscanf(s + 2 * i, "%2x", &v) != 1)
			return -1;
		ret[i] = (uint8_t)v;
	}
	return 0;
}

int
main(int argc, char **argv)
{
	if (argc != 4 && argc != 5)
		fail("usage: srp_raw ADDRESS PORT id_ext=HEX,ioc_guid=HEX [LOGINS]");
	target =
	    (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[2]))};
	const char *ext = strstr(argv[3], "id_ext="), *guid = strstr(argv[3], "ioc_guid=");
	if (inet_pton(AF_INET, argv[1], &target.sin_addr) != 1 || ext == NULL || guid == NULL ||
	    hex(ext + 7, target_port, 8) < 0 || hex(guid + 9, target_port + 8, 8) < 0)
		fail("wrong arguments");
	if (argc == 5) {
		what = "many logins";
		for (int i = 0; i < atoi(argv[4]); i++)
			release(login());
		return 0;
	}
	logins();
	units();
	cut_commands();
	longer_than_agreed();
	wrong_key(false);
	wrong_key(true);
	greedy();
	silent_end();
	no_receives();
	half_open();
	puts("srp_raw: done");
	return 0;
}
