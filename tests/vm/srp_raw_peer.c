/* SPDX-License-Identifier: BSD-2-Clause */
/* Initiators whose units are right and whose behaviour isn't. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/vm/srp_raw.h"

#define XFER_BLOCKS 256u
#define XFER_BYTES (XFER_BLOCKS * 512u)
#define PEERS_MAX 80u

/* ---- memory that isn't the initiator's to give ------------------------------------------------------- */

/* Which of a descriptor's fields is wrong. */
enum wrong { WRONG_KEY, WRONG_ADDRESS, WRONG_TABLE_KEY };

static size_t
wrong_unit(struct raw_conn *c, bool write, enum wrong how)
{
	uint32_t bad = c->mr->rkey ^ 0xff00;
	if (how == WRONG_TABLE_KEY) {
		size_t at = raw_command(c, write ? SRP_FMT_INDIRECT << 4 : SRP_FMT_INDIRECT, 9);
		c->send[32] = write ? 0x2a : 0x28;
		store_be32(c->send + 34, RAW_LBA);
		store_be16(c->send + 39, 8);
		at = raw_add_desc(c, at, (uintptr_t)c->data, bad, 8 * 16);
		store_be32(c->send + at, 4096);
		return at + 4;
	}
	uint64_t va =
	    (uintptr_t)c->data + (how == WRONG_ADDRESS ? RAW_DATA_BYTES + (64u << 20) : 0);
	uint32_t key = how == WRONG_KEY ? bad : c->mr->rkey;
	const void *p = (const void *)(uintptr_t)va;
	return write ? raw_write(c, 9, RAW_LBA, 8, p, key) : raw_read(c, 9, RAW_LBA, 8, p, key);
}

/* The connection fails. What was to be written there is as it was: nothing is read over it. */
static void
wrong_memory(const char *name, bool write, enum wrong how)
{
	uint8_t before[4096];
	raw_what = name;
	for (unsigned lun = 0; lun < 2; lun++) { /* the second one has a copy in memory */
		struct raw_conn *c = raw_login();
		raw_ready(c);
		memset(c->data, 0x40 + how, 4096);
		memcpy(before, c->data, sizeof before);
		for (uint64_t tag = 1; tag <= 3; tag++) { /* each LUN has its unit attention */
			size_t len = raw_write(c, tag, RAW_LBA, 8, c->data, c->mr->rkey);
			c->send[21] = (uint8_t)lun;
			raw_send(c, len);
			if (raw_answer(c, tag) == 0)
				break;
		}
		size_t len = wrong_unit(c, write, how);
		c->send[21] = (uint8_t)lun;
		raw_send(c, len);
		raw_wait_end(c);
		raw_release(c);
		c = raw_login();
		raw_ready(c);
		for (uint64_t tag = 1; tag <= 3; tag++) {
			len = raw_read(c, tag, RAW_LBA, 8, c->data, c->mr->rkey);
			c->send[21] = (uint8_t)lun;
			raw_send(c, len);
			if (raw_answer(c, tag) == 0)
				break;
		}
		if (c->last.bytes[19] != 0 || memcmp(before, c->data, sizeof before) != 0)
			raw_fail("LUN %u: status %02x, or other data", lun, c->last.bytes[19]);
		raw_release(c);
	}
	raw_still_serves();
}

/* The key is taken back while data is on its way by it. */
static void
key_goes(bool write)
{
	raw_what = write ? "a key taken back while it is read by"
	                 : "a key taken back while it is written by";
	struct raw_conn *c = raw_login();
	volatile uint8_t *data = aligned_alloc(4096, 4 * XFER_BYTES);
	if (data == NULL)
		raw_fail("no memory");
	memset((void *)(uintptr_t)data, 0xee, 4 * XFER_BYTES);
	raw_ready(c);
	raw_send(c, raw_write(c, 1, RAW_LBA, XFER_BLOCKS, c->data, c->mr->rkey));
	if (raw_answer(c, 1) != 0)
		raw_fail("status %02x", c->last.bytes[19]);
	struct ibv_mr *mr = ibv_reg_mr(c->pd, (void *)(uintptr_t)data, 4 * XFER_BYTES,
	    IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ);
	if (mr == NULL)
		raw_fail("no key");
	for (uint64_t tag = 2; tag < 34; tag++) {
		const uint8_t *p = (const uint8_t *)(uintptr_t)data + tag % 4 * XFER_BYTES;
		raw_send(c, write ? raw_write(c, tag, RAW_LBA, XFER_BLOCKS, p, mr->rkey)
		                  : raw_read(c, tag, RAW_LBA, XFER_BLOCKS, p, mr->rkey));
	}
	/* Some of it has arrived, or been fetched. */
	if (write) {
		if (!raw_wait_message(c, RAW_WAIT_MS) || c->last.bytes[0] != SRP_RSP)
			raw_fail("no answer but %02x", c->last.bytes[0]); /* to any of them */
	} else {
		int i = 0;
		while (data[2 * XFER_BYTES] == 0xee && i++ < RAW_WAIT_MS)
			usleep(1000);
		if (i >= RAW_WAIT_MS)
			raw_fail("no data");
	}
	uint32_t key = mr->rkey;
	if (ibv_dereg_mr(mr) != 0)
		raw_fail("the key can't be taken back");
	for (uint64_t tag = 34; tag < 38; tag++) {
		const void *p = (const void *)(uintptr_t)data;
		raw_send(c, write ? raw_write(c, tag, RAW_LBA, XFER_BLOCKS, p, key)
		                  : raw_read(c, tag, RAW_LBA, XFER_BLOCKS, p, key));
	}
	raw_wait_end(c);
	raw_release(c);
	free((void *)(uintptr_t)data);
	raw_still_serves();
}

/* ---- credit ---------------------------------------------------------------------------------------------- */

/* An initiator that takes no answers can have no new credit: the target sees it in time. */
static void
greedy(void)
{
	raw_what = "more requests than credit";
	struct srp_login_req_rdma w;
	struct raw_conn *c = raw_prepare(0);
	raw_login_unit(&w);
	raw_connect(c, &w, sizeof w);
	if (!c->connected)
		raw_fail("refused");
	size_t len = raw_command(c, 0, 1); /* TEST UNIT READY */
	for (unsigned i = 0; i < RAW_SENDS; i++) {
		raw_send(c, len);
		(void)raw_take(c);
	}
	raw_wait_end(c);
	raw_release(c);
	raw_still_serves();
}

static void
no_receives(void)
{
	raw_what = "nowhere to answer to, then gone";
	struct srp_login_req_rdma w;
	struct raw_conn *c = raw_prepare(0);
	raw_login_unit(&w);
	raw_connect(c, &w, sizeof w);
	for (uint64_t tag = 1; tag <= 20; tag++)
		raw_send(c, raw_read(c, tag, RAW_LBA, 64, c->data, c->mr->rkey));
	usleep(500000);
	raw_release(c);
	raw_still_serves();
}

/* ---- initiators that stop ---------------------------------------------------------------------------------- */

/* Its queue is in this state from one moment to the next, with data on its way, and nobody says so. */
static struct raw_conn *
silent(uint8_t initiator, enum ibv_qp_state state)
{
	uint8_t was = raw_initiator;
	raw_initiator = initiator;
	struct raw_conn *c = raw_login();
	raw_ready(c);
	for (uint64_t tag = 1; tag <= 20; tag++)
		raw_send(c, raw_read(c, tag, RAW_LBA, XFER_BLOCKS, c->data, c->mr->rkey));
	struct ibv_qp_attr attr = {.qp_state = state};
	if (ibv_modify_qp(c->id->qp, &attr, IBV_QP_STATE) != 0)
		raw_fail("the queue's state can't be changed");
	raw_initiator = was;
	return c;
}

/* A new login takes its place at once. */
static void
silent_then_back(enum ibv_qp_state state)
{
	raw_what = "a queue that is gone while data is on its way, and a new login";
	struct raw_conn *c = silent(raw_initiator, state);
	raw_still_serves();
	raw_wait_end(c);
	raw_release(c);
}

/* ---- logins that are never completed ------------------------------------------------------------------------- */

/* Without a queue librdmacm leaves it to us to complete the connection. */
static struct raw_conn *
half_login(uint8_t initiator)
{
	static uint32_t queue =
	    0x7000; /* each another one: the kernel knows those that have gone */
	struct srp_login_req_rdma w;
	struct raw_conn *c = raw_resolve();
	raw_login_unit(&w);
	memset(w.initiator_port, initiator, sizeof w.initiator_port);
	struct rdma_conn_param p = {.private_data = &w,
	    .private_data_len = sizeof w,
	    .responder_resources = 4,
	    .initiator_depth = 4,
	    .qp_num = queue++};
	if (rdma_connect(c->id, &p) < 0)
		raw_fail("it can't connect");
	int kind = raw_event(c, RAW_WAIT_MS);
	if (kind != RDMA_CM_EVENT_CONNECT_RESPONSE && kind != RDMA_CM_EVENT_REJECTED)
		raw_fail("event %d instead of an answer", kind);
	c->connected = false;
	c->over = kind == RDMA_CM_EVENT_REJECTED;
	return c;
}

/* The answer is refused, which ends the session that was to be. */
static void
rejects_answer(void)
{
	for (unsigned i = 0; i < 10; i++) {
		raw_what = "an answer that is refused";
		struct raw_conn *c = half_login(0xab);
		if (c->over)
			raw_fail("refused: %08x", be32_get(c->rej.reason));
		if (rdma_reject(c->id, "no", 2) < 0)
			raw_fail("the answer can't be refused");
		if (i % 3 == 0)
			raw_still_serves(); /* at once */
		raw_release(c);
	}
	raw_still_serves();
}

/* Gone while their answer is on its way. */
static void
vanish(void)
{
	raw_what = "logins whose initiator is gone at once";
	struct srp_login_req_rdma w;
	raw_login_unit(&w);
	for (unsigned i = 0; i < 10; i++) {
		struct raw_conn *c = raw_prepare(RAW_RECVS);
		struct rdma_conn_param p = {
		    .private_data = &w, .private_data_len = sizeof w, .responder_resources = 4};
		(void)rdma_connect(c->id, &p);
		raw_release(c);
	}
	raw_still_serves();
}

/* So many that no more are taken; whoever is logged in doesn't notice. */
static void
too_many_halves(void)
{
	static struct raw_conn *all[PEERS_MAX];
	unsigned n = 0;
	struct raw_conn *c = raw_login();
	raw_what = "as many logins as there can be that nobody completes";
	raw_ready(c);
	for (;;) {
		all[n] = half_login((uint8_t)n);
		if (all[n++]->over)
			break;
		if (n == PEERS_MAX)
			raw_fail("there is no limit");
	}
	if (be32_get(all[n - 1]->rej.reason) != SRP_REJ_RESOURCES)
		raw_fail("reason %08x", be32_get(all[n - 1]->rej.reason));
	raw_send(c, raw_read(c, 7, RAW_LBA, 8, c->data, c->mr->rkey));
	if (raw_answer(c, 7) != 0)
		raw_fail("status %02x", c->last.bytes[19]);
	for (unsigned i = 0; i < n; i++)
		raw_release(all[i]);
	raw_what = "after as many logins as there can be";
	struct raw_conn *again = NULL;
	for (int i = 0; i < RAW_WAIT_MS && again == NULL; i += 100) {
		uint32_t reason;
		again = raw_try_login(0, &reason);
		if (again == NULL && reason != SRP_REJ_RESOURCES)
			raw_fail("reason %08x", reason);
		if (again == NULL)
			usleep(100000);
	}
	if (again == NULL)
		raw_fail("nobody is admitted any more");
	raw_wait_end(c); /* `again` took its place */
	raw_release(c);
	raw_ready(again);
	raw_release(again);
}

void
raw_peers(void)
{
	/* The target finds these two by itself, while others are served; see the end. */
	raw_what = "an initiator that falls silent";
	struct raw_conn *mute = silent(0xe1, IBV_QPS_RESET);
	raw_what = "a login that nobody completes";
	struct raw_conn *half = half_login(0xe2);
	if (half->over)
		raw_fail("refused: %08x", be32_get(half->rej.reason));

	wrong_memory("a wrong key of data in", false, WRONG_KEY);
	wrong_memory("a wrong key of data out", true, WRONG_KEY);
	wrong_memory("a wrong address of data in", false, WRONG_ADDRESS);
	wrong_memory("a wrong address of data out", true, WRONG_ADDRESS);
	wrong_memory("a wrong key of a table of data in", false, WRONG_TABLE_KEY);
	wrong_memory("a wrong key of a table of data out", true, WRONG_TABLE_KEY);
	key_goes(false);
	key_goes(true);
	greedy();
	no_receives();
	silent_then_back(IBV_QPS_ERR);
	silent_then_back(IBV_QPS_RESET);
	rejects_answer();
	vanish();
	too_many_halves();

	raw_what = "an initiator that falls silent";
	raw_wait_end(mute);
	raw_release(mute);
	raw_what = "a login that nobody completes";
	if (raw_event(half, RAW_WAIT_MS) < 0)
		raw_fail("the target waits for ever");
	raw_release(half);
	raw_still_serves();
}
