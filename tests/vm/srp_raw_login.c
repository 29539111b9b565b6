/* SPDX-License-Identifier: BSD-2-Clause */
/* Logins. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/vm/srp_raw.h"

#define CHANNELS_MAX 16u /* of a session: limits.channels_per_session_max */

static void
refused_login(
    const char *name, void (*change)(struct srp_login_req_rdma *w), uint8_t len, uint32_t reason)
{
	struct srp_login_req_rdma w;
	raw_what = name;
	struct raw_conn *c = raw_prepare(RAW_RECVS);
	raw_login_unit(&w);
	if (change != NULL)
		change(&w);
	memcpy(w.tag, "\1\2\3\4\5\6\7\x88", sizeof w.tag);
	raw_connect(c, &w, len);
	if (c->connected)
		raw_fail("it was admitted");
	if (c->rej_len < (int)sizeof c->rej || c->rej.opcode != SRP_LOGIN_REJ)
		raw_fail("it was refused without SRP_LOGIN_REJ");
	if (be32_get(c->rej.reason) != reason)
		raw_fail("reason %08x instead of %08x", be32_get(c->rej.reason), reason);
	if (len == sizeof w && w.opcode == SRP_LOGIN_REQ &&
	    memcmp(c->rej.tag, w.tag, sizeof w.tag) != 0)
		raw_fail("another tag");
	raw_release(c);
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
wrong_extension(struct srp_login_req_rdma *w)
{
	w->target_port[0] ^= 1;
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
longest_units(struct srp_login_req_rdma *w)
{
	be32_put(&w->it_iu_len, UINT32_MAX);
}
static void
no_format(struct srp_login_req_rdma *w)
{
	be16_put(&w->formats, 0);
}
static void
unknown_format(struct srp_login_req_rdma *w)
{
	be16_put(&w->formats, 0xfff9);
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
	    {8260, 51, false}, {8260, 52, true}, {8260, 65535, false}, {300, 300, false}};
	for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		raw_name(
		    "units of %u bytes, immediate data at %u", rows[i].it_iu_len, rows[i].offset);
		struct raw_conn *c =
		    raw_login_as(SRP_LOGIN_IMMEDIATE, rows[i].it_iu_len, rows[i].offset);
		if (((c->rsp.flags & SRP_LOGIN_IMMEDIATE) != 0) != rows[i].granted)
			raw_fail("flags %02x", c->rsp.flags);
		if (c->rsp.opcode != SRP_LOGIN_RSP || be32_get(c->rsp.req_lim_delta) == 0 ||
		    be32_get(c->rsp.max_it_iu_len) < rows[i].it_iu_len ||
		    be32_get(c->rsp.max_ti_iu_len) < 64)
			raw_fail("an answer that says nothing");
		raw_release(c);
	}
}

/* The last byte is reserved; the kernel puts it there in any case, and sends no 57th one. */
static void
a_byte_less(void)
{
	struct srp_login_req_rdma w;
	raw_what = "a login of 55 bytes";
	struct raw_conn *c = raw_prepare(RAW_RECVS);
	raw_login_unit(&w);
	raw_connect(c, &w, sizeof w - 1);
	if (!c->connected)
		raw_fail("refused: %08x", be32_get(c->rej.reason));
	raw_release(c);
}

/* A further channel that is the first, as many as there may be, and one more. */
static void
many_channels(void)
{
	struct raw_conn *all[CHANNELS_MAX];
	raw_initiator = 0xcd; /* no session of it may still be ending */
	raw_what = "a further channel of nothing";
	all[0] = raw_login_as(SRP_LOGIN_MULTI, 276, 0);
	if ((all[0]->rsp.flags & 3) != 0)
		raw_fail("flags %02x", all[0]->rsp.flags);
	raw_what = "many channels";
	for (unsigned i = 1; i < CHANNELS_MAX; i++) {
		all[i] = raw_login_as(SRP_LOGIN_MULTI, 276, 0);
		if ((all[i]->rsp.flags & 3) != SRP_LOGIN_RSP_MAINTAINED)
			raw_fail("flags %02x of channel %u", all[i]->rsp.flags, i);
	}
	refused_login("a channel too many", one_more, 56, SRP_REJ_CHANNELS);
	raw_what = "a login that ends many channels";
	struct raw_conn *c = raw_login();
	if ((c->rsp.flags & 3) != SRP_LOGIN_RSP_TERMINATED)
		raw_fail("flags %02x", c->rsp.flags);
	for (unsigned i = 0; i < CHANNELS_MAX; i++) {
		raw_wait_end(all[i]);
		raw_release(all[i]);
	}
	raw_ready(c);
	raw_release(c);
	raw_initiator = 0xab;
}

/* Each takes the place of the one before, whose end nobody waits for. */
static void
one_after_another(void)
{
	struct raw_conn *all[8];
	const unsigned count = sizeof all / sizeof all[0];
	raw_what = "logins of the same port, one after another";
	for (unsigned i = 0; i < count; i++)
		all[i] = raw_login();
	if ((all[1]->rsp.flags & 3) != SRP_LOGIN_RSP_TERMINATED)
		raw_fail("flags %02x", all[1]->rsp.flags);
	raw_ready(all[count - 1]);
	for (unsigned i = 0; i < count; i++) {
		if (i + 1 < count)
			raw_wait_end(all[i]);
		raw_release(all[i]);
	}
}

void
raw_logins(void)
{
	/* The kernel fills up to 56 bytes with zeros: a login to no target. */
	refused_login("no login at all", NULL, 0, SRP_REJ_NEXUS);
	refused_login("half a login", wrong_opcode, 30, SRP_REJ_UNSPECIFIED);
	refused_login("another opcode", wrong_opcode, 56, SRP_REJ_UNSPECIFIED);
	refused_login("another target", wrong_target, 56, SRP_REJ_NEXUS);
	refused_login("another extension", wrong_extension, 56, SRP_REJ_NEXUS);
	refused_login("no units", no_units, 56, SRP_REJ_UNSPECIFIED);
	refused_login("short units", short_units, 56, SRP_REJ_UNSPECIFIED);
	refused_login("long units", long_units, 56, SRP_REJ_IU_LEN);
	refused_login("the longest units", longest_units, 56, SRP_REJ_IU_LEN);
	refused_login("no format", no_format, 56, SRP_REJ_FORMATS);
	refused_login("unknown formats", unknown_format, 56, SRP_REJ_FORMATS);
	refused_login("another action", wrong_action, 56, SRP_REJ_MULTI);
	a_byte_less();
	lengths();
	one_after_another();
	many_channels();
	raw_still_serves();
}

/* ---- rights that change ------------------------------------------------------------------------- */

static void
change_access(const char *command, const char *to)
{
	char line[300];
	snprintf(line, sizeof line, "%s %s", command, to);
	if (system(line) != 0)
		raw_fail("'%s' failed", line);
}

/* A further channel of a session that ends is refused; when it is gone there is a new session. */
static void
joins_later(uint8_t lun_blocks)
{
	struct raw_conn *c = NULL;
	for (int i = 0; i < RAW_WAIT_MS && c == NULL; i += 50) {
		uint32_t reason = 0;
		c = raw_try_login(SRP_LOGIN_MULTI, &reason);
		if (c == NULL && reason != SRP_REJ_MULTI)
			raw_fail("reason %08x", reason);
		if (c == NULL)
			usleep(50000);
	}
	if (c == NULL)
		raw_fail("refused for ever");
	if ((c->rsp.flags & 3) != 0)
		raw_fail("flags %02x: a channel of a session that lost its LUNs", c->rsp.flags);
	raw_ready(c);
	raw_send(c, raw_read(c, 50, 0, lun_blocks, c->data, c->mr->rkey));
	if (raw_answer(c, 50) != 0)
		raw_fail("status %02x", c->last.bytes[19]);
	raw_release(c);
}

void
raw_access(const char *command)
{
	uint32_t reason = 0;
	raw_what = "further channels after the session lost its rights";
	struct raw_conn *a = raw_login(), *b = raw_login_as(SRP_LOGIN_MULTI, 8260, 68);
	if ((b->rsp.flags & 3) != SRP_LOGIN_RSP_MAINTAINED)
		raw_fail("flags %02x", b->rsp.flags);
	raw_ready(a);
	change_access(command, "none");
	raw_wait_end(a);
	raw_wait_end(b);
	if (raw_try_login(SRP_LOGIN_MULTI, &reason) != NULL || reason != SRP_REJ_NEXUS)
		raw_fail("reason %08x of a further channel", reason);
	if (raw_try_login(0, &reason) != NULL || reason != SRP_REJ_NEXUS)
		raw_fail("reason %08x of a login", reason);
	raw_release(a);
	raw_release(b);

	raw_what = "further channels after the session was given other LUNs";
	change_access(command, "all");
	a = raw_login();
	raw_ready(a);
	change_access(command, "other");
	joins_later(8);
	raw_wait_end(a);
	raw_release(a);
	change_access(command, "all");
	raw_still_serves();
}
