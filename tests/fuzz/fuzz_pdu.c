/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Bytes after a successful login, in pieces of chance sizes, against a whole target on a simulated
 * loop. Input: one byte of parameters (below), one that decides the pieces, then the stream. At the
 * end everything must be back where it came from.
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "iscsi/wire.h"
#include "tests/fuzz/fuzz.h"
#include "tests/sim/world.h"

#define INITIAL_R2T 1u
#define IMMEDIATE_DATA 2u
#define HEADER_DIGEST 4u     /* with both of these: nobody guesses a CRC, */
#define HEADER_DIGEST_TOO 8u /* so it is rarely worth trying */
#define DATA_DIGEST 16u
#define SMALL_BURSTS 32u
#define DISCOVERY 64u
#define LEVEL_2 128u
#define STEPS_MAX 300000u
#define SETTLE_NS 50000000u

struct client {
	struct world *w;
	struct sock *sock;
	const uint8_t *at;
	size_t left;
	bool over;
	uint8_t got[ISCSI_BHS_BYTES]; /* the first bytes of the answer to the login */
	size_t got_len;
	uint8_t flags;
};

static void
close_it(struct client *c)
{
	if (c->sock != NULL)
		sock_close(c->sock);
	c->sock = NULL;
	c->over = true;
}

/* Takes all that comes, looks at the login's answer only. */
static void
drain(struct client *c)
{
	uint8_t buf[16384];
	while (!c->over) {
		struct iovec iov = {buf, sizeof buf};
		ssize_t n = sock_recv(c->sock, &iov, 1);
		if (n == -EAGAIN)
			return;
		if (n <= 0) {
			close_it(c);
			return;
		}
		for (ssize_t i = 0; i < n && c->got_len < sizeof c->got; i++)
			c->got[c->got_len++] = buf[i];
	}
}

static void
on_event(void *ctx, unsigned events)
{
	struct client *c = ctx;
	if (events & LOOP_READABLE)
		drain(c);
	if (!c->over && (events & LOOP_HANGUP))
		close_it(c);
}

static void
connect_to(void *ctx)
{
	struct client *c = ctx;
	int rc = sock_connect(c->w->client, (const struct sockaddr *)&c->w->portal,
	    sizeof(struct sockaddr_in), &c->sock);
	SIM_CHECK(rc == 0, "sock_connect: %d", rc);
	sock_set_callback(c->sock, on_event, c);
}

static void
send_some(void *ctx)
{
	struct client *c = ctx;
	if (c->over)
		return;
	struct iovec iov = {(void *)(uintptr_t)c->at, c->left};
	ssize_t n = sock_send(c->sock, &iov, 1);
	if (n == -EAGAIN)
		return;
	if (n < 0) {
		close_it(c);
		return;
	}
	c->at += n;
	c->left -= (size_t)n;
}

static void
finish(void *ctx)
{
	close_it(ctx);
}

static void
run(struct client *c)
{
	/* Not for ever: the login has a time limit. */
	uint64_t until = loop_sim_now_ns(c->w->sim) + SETTLE_NS;
	uint64_t steps = loop_sim_run(c->w->sim, until, STEPS_MAX);
	SIM_CHECK(steps < STEPS_MAX, "the target doesn't come to rest");
}

/* Sends all of `p` in the pieces that the world lets pass. */
static void
feed(struct client *c, const void *p, size_t len)
{
	c->at = p;
	c->left = len;
	for (unsigned tries = 0; !c->over && c->left > 0; tries++) {
		size_t before = c->left;
		loop_sim_call(c->w->client, send_some, c);
		loop_sim_run(c->w->sim, loop_sim_now_ns(c->w->sim) + SETTLE_NS,
		    1 + sim_pick(&(struct sim_rng){len + before}, 40));
		if (c->left == before)
			run(c);
		/* A target that has stopped reading for good has a reason that ends by itself. */
		SIM_CHECK(c->left < before || tries < 100000, "the target doesn't read any more");
	}
	run(c);
}

static size_t
login_text(const struct client *c, char *text, size_t cap)
{
	uint8_t f = c->flags;
	uint32_t burst = f & SMALL_BURSTS ? 4096 : 262144;
	bool digest =
	    (f & (HEADER_DIGEST | HEADER_DIGEST_TOO)) == (HEADER_DIGEST | HEADER_DIGEST_TOO);
	int len;

	if (f & DISCOVERY)
		len = snprintf(
		    text, cap, "InitiatorName=iqn.2024-01.com.example:i%cSessionType=Discovery", 0);
	else
		len = snprintf(text, cap,
		    "InitiatorName=iqn.2024-01.com.example:i%cTargetName=%s%cHeaderDigest=%s%c"
		    "DataDigest=%s%cInitialR2T=%s%cImmediateData=%s%cMaxBurstLength=%u%c"
		    "FirstBurstLength=%u%cMaxOutstandingR2T=4%ciSCSIProtocolLevel=%u",
		    0, WORLD_TARGET, 0, digest ? "CRC32C" : "None", 0,
		    digest && (f & DATA_DIGEST) ? "CRC32C" : "None", 0,
		    f & INITIAL_R2T ? "Yes" : "No", 0, f & IMMEDIATE_DATA ? "Yes" : "No", 0, burst,
		    0, burst / 4, 0, 0, f & LEVEL_2 ? 2 : 1);
	SIM_CHECK(len > 0 && (size_t)len < cap, "login text too long");
	return (size_t)len + 1;
}

static void
log_in(struct client *c)
{
	uint8_t pdu[ISCSI_BHS_BYTES + 1024] = {0};
	struct iscsi_login_req r;
	size_t len = login_text(c, (char *)pdu + ISCSI_BHS_BYTES, 1000);

	memset(&r, 0, sizeof r);
	r.opcode = ISCSI_OP_LOGIN_REQ | ISCSI_OPCODE_IMMEDIATE;
	r.flags = 0x87;
	r.isid[0] = 0x80;
	be24_put(&r.data_len, (uint32_t)len);
	be32_put(&r.itt, 1);
	be32_put(&r.cmd_sn, 1);
	memcpy(pdu, &r, sizeof r);
	feed(c, pdu, ISCSI_BHS_BYTES + ((len + 3) & ~(size_t)3));
	SIM_CHECK(c->got_len == sizeof c->got && c->got[0] == ISCSI_OP_LOGIN_RSP && c->got[36] == 0,
	    "the login failed: %02x%02x", c->got[36], c->got[37]);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct world w;
	struct client c = {.w = &w};

	if (size < 2)
		return 0;
	c.flags = data[0];
	struct world_cfg cfg = {
	    .seed = data[1],
	    .loops = 1,
	    .net_delay_us = 5,
	    .net_chunk_bytes = data[1] & 3 ? 1u << (data[1] & 15) : 0,
	    .store_delay_us = data[1] & 16 ? 20 : 0,
	    .buf_bytes = 4u << 20,
	    .depth = 32,
	};
	iscsi_offer_default(&cfg.offer);
	sim_seed = data[1];
	world_up(&w, &cfg);
	loop_sim_call(w.client, connect_to, &c);
	run(&c);
	log_in(&c);
	feed(&c, data + 2, size - 2);
	if (!c.over)
		loop_sim_call(w.client, finish, &c);
	run(&c);
	world_stop_server(&w, 0);
	loop_sim_run(w.sim, UINT64_MAX, STEPS_MAX);
	SIM_CHECK(w.stopped, "the target doesn't stop");
	(void)world_down(&w);
	return 0;
}
