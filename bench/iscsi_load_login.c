/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What happens before and after the load: login (RFC 7143 §6, straight into the operational stage),
 * waiting for the unit, its capacity, logout. Blocking, one PDU at a time, bounded by a deadline.
 */
#include "bench/iscsi_load.h"

#include "base/crc32c.h"
#include "base/text.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOGIN_TEXT_MAX 16384u
#define LOGIN_ROUNDS_MAX 16u
#define READY_RETRIES_MAX 1000u

void
load_params_init(struct load_params *p)
{
	/* The defaults of RFC 7143 §13. */
	*p = (struct load_params){
	    .initial_r2t = true,
	    .immediate_data = true,
	    .send_segment_bytes = 8192,
	    .first_burst_bytes = 65536,
	    .max_burst_bytes = 262144,
	};
}

static int
apply_number(uint32_t *field, const char *value, uint64_t offered_max)
{
	uint64_t v;
	if (text_parse_u64(value, 0xffffff, &v) || v < 512)
		return -EPROTO;
	*field = (uint32_t)(v < offered_max ? v : offered_max);
	return 0;
}

static int
apply_bool(bool *field, const char *value, const char *yes, const char *no)
{
	if (strcmp(value, yes) != 0 && strcmp(value, no) != 0)
		return -EPROTO;
	*field = strcmp(value, yes) == 0;
	return 0;
}

int
load_params_apply(struct load_params *p, const char *key, const char *value)
{
	if (strcmp(key, "HeaderDigest") == 0)
		return apply_bool(&p->header_digest, value, "CRC32C", "None");
	if (strcmp(key, "DataDigest") == 0)
		return apply_bool(&p->data_digest, value, "CRC32C", "None");
	if (strcmp(key, "InitialR2T") == 0)
		return apply_bool(&p->initial_r2t, value, "Yes", "No");
	if (strcmp(key, "ImmediateData") == 0)
		return apply_bool(&p->immediate_data, value, "Yes", "No");
	if (strcmp(key, "MaxRecvDataSegmentLength") == 0)
		return apply_number(&p->send_segment_bytes, value, 0xffffff);
	if (strcmp(key, "FirstBurstLength") == 0)
		return apply_number(&p->first_burst_bytes, value, LOAD_SEGMENT_BYTES);
	if (strcmp(key, "MaxBurstLength") == 0)
		return apply_number(&p->max_burst_bytes, value, LOAD_SEGMENT_BYTES);
	return 0;
}

/* Waits for the socket until the deadline. 0, -ETIMEDOUT, -errno. */
static int
wait_socket(int fd, short events, uint64_t deadline_ns)
{
	for (;;) {
		uint64_t now_ns = load_now_ns();
		if (now_ns >= deadline_ns)
			return -ETIMEDOUT;
		struct pollfd p = {.fd = fd, .events = events};
		int r = poll(&p, 1, (int)((deadline_ns - now_ns) / 1000000 + 1));
		if (r > 0)
			return 0;
		if (r < 0 && errno != EINTR)
			return -errno;
	}
}

static int
flush_all(struct load_session *s, uint64_t deadline_ns)
{
	for (;;) {
		int r = load_tx_flush(&s->tx, s->fd);
		if (r != -EAGAIN)
			return r;
		r = wait_socket(s->fd, POLLOUT, deadline_ns);
		if (r)
			return r;
	}
}

static int
recv_exact(struct load_session *s, void *buf, size_t len, uint64_t deadline_ns)
{
	uint8_t *p = buf;
	while (len > 0) {
		ssize_t n = recv(s->fd, p, len, MSG_DONTWAIT);
		if (n == 0)
			return -ECONNRESET;
		if (n > 0) {
			p += n;
			len -= (size_t)n;
			continue;
		}
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN)
			return -errno;
		int r = wait_socket(s->fd, POLLIN, deadline_ns);
		if (r)
			return r;
	}
	return 0;
}

static int
recv_digest(struct load_session *s, const void *covered, size_t len, uint64_t deadline_ns)
{
	le32 wire;
	int r = recv_exact(s, &wire, sizeof wire, deadline_ns);
	if (r == 0 && le32_get(wire) != crc32c(covered, len))
		r = -EBADMSG;
	return r;
}

/* One PDU: header to `ret_bhs`, data segment to the start of rx.buf. The digests are checked. */
static int
recv_pdu(struct load_session *s, const struct load_params *p, struct bench_bhs *ret_bhs,
    uint32_t *ret_len, uint64_t deadline_ns)
{
	int r = recv_exact(s, ret_bhs, BENCH_BHS_BYTES, deadline_ns);
	if (r == 0 && p->header_digest)
		r = recv_digest(s, ret_bhs, BENCH_BHS_BYTES, deadline_ns);
	if (r)
		return r;
	uint32_t len = be24_get(ret_bhs->data_len);
	if (ret_bhs->ahs_words || len > LOAD_SEGMENT_BYTES)
		return -EPROTO;
	uint32_t padded = (len + 3) & ~3u;
	r = recv_exact(s, s->rx.buf, padded, deadline_ns);
	if (r == 0 && p->data_digest && len > 0)
		r = recv_digest(s, s->rx.buf, padded, deadline_ns);
	if (r)
		return r;
	*ret_len = len;
	return 0;
}

static uint32_t
login_text(const struct load_session *s, char *buf, size_t cap)
{
	const struct load_options *o = s->engine->opt;
	int n = snprintf(buf, cap,
	    "InitiatorName=%s:%u%cSessionType=Normal%cTargetName=%s%c"
	    "HeaderDigest=%s%cDataDigest=%s%cInitialR2T=No%cImmediateData=Yes%c"
	    "MaxRecvDataSegmentLength=%u%cMaxBurstLength=%u%cFirstBurstLength=%u%c"
	    "MaxOutstandingR2T=1%cMaxConnections=1%cErrorRecoveryLevel=0%c"
	    "DefaultTime2Wait=2%cDefaultTime2Retain=0%c"
	    "DataPDUInOrder=Yes%cDataSequenceInOrder=Yes%c",
	    o->initiator, s->idx, 0, 0, o->target, 0, o->header_digest ? "CRC32C" : "None", 0,
	    o->data_digest ? "CRC32C" : "None", 0, 0, 0, LOAD_SEGMENT_BYTES, 0, LOAD_SEGMENT_BYTES,
	    0, LOAD_SEGMENT_BYTES, 0, 0, 0, 0, 0, 0, 0, 0);
	return (uint32_t)n;
}

static int
apply_text(struct load_params *p, char *text, uint32_t len)
{
	for (char *at = text, *end = text + len; at < end;) {
		size_t pair_len = strnlen(at, (size_t)(end - at));
		if (at + pair_len == end)
			return -EPROTO; /* The last pair isn't terminated. */
		char *eq = memchr(at, '=', pair_len);
		if (!eq)
			return -EPROTO;
		*eq = '\0';
		if (load_params_apply(p, at, eq + 1))
			return -EPROTO;
		at += pair_len + 1;
	}
	return 0;
}

static int
send_login(struct load_session *s, const struct load_params *plain, uint16_t tsih, bool transit,
    const char *text, uint32_t len, uint64_t deadline_ns)
{
	struct bench_login_req req = {
	    .opcode = BENCH_OP_LOGIN_REQ | BENCH_IMMEDIATE,
	    .flags = (uint8_t)((transit ? BENCH_LOGIN_TRANSIT : 0) | BENCH_STAGE_OPERATIONAL << 2 |
	                       (transit ? BENCH_STAGE_FULL_FEATURE : 0)),
	};
	memcpy(req.isid, s->isid, sizeof req.isid);
	be16_put(&req.tsih, tsih);
	be32_put(&req.cmd_sn, s->cmd_sn);
	be32_put(&req.exp_stat_sn, s->exp_stat_sn);
	load_tx_add(&s->tx, plain, &req, text, len, 0);
	return flush_all(s, deadline_ns);
}

static int
login_failed(struct load_session *s, const char *what, int error)
{
	struct load_engine *e = s->engine;
	load_error(e, &e->errors.protocol, "session %u: login: %s%s%s", s->idx, what,
	    error ? ": " : "", error ? strerror(-error) : "");
	return -EIO;
}

/* Requests and answers until the target agrees to full feature phase. */
static int
negotiate(struct load_session *s, uint64_t deadline_ns)
{
	/* Digests start after login (RFC 7143 §13.1), so the exchange itself has none. */
	const struct load_params plain = {.header_digest = false};
	char request[1024];
	uint32_t request_len = login_text(s, request, sizeof request);
	static char text[LOGIN_TEXT_MAX];
	uint32_t text_len = 0;
	uint16_t tsih = 0;
	bool transit = true;
	for (uint32_t round = 0; round < LOGIN_ROUNDS_MAX; round++) {
		int r = send_login(s, &plain, tsih, transit, request, request_len, deadline_ns);
		if (r)
			return login_failed(s, "send", r);
		struct bench_bhs bhs;
		uint32_t len;
		r = recv_pdu(s, &plain, &bhs, &len, deadline_ns);
		if (r)
			return login_failed(s, "receive", r);
		struct bench_login_rsp rsp;
		memcpy(&rsp, &bhs, sizeof rsp);
		if ((rsp.opcode & BENCH_OPCODE_MASK) != BENCH_OP_LOGIN_RSP)
			return login_failed(s, "the answer is not a login response", 0);
		if (rsp.status_class) {
			char what[64];
			snprintf(what, sizeof what, "refused with status %02x%02x",
			    rsp.status_class, rsp.status_detail);
			return login_failed(s, what, 0);
		}
		if (len > LOGIN_TEXT_MAX - text_len)
			return login_failed(s, "the answer is too long", 0);
		memcpy(text + text_len, s->rx.buf, len);
		text_len += len;
		s->exp_stat_sn = be32_get(rsp.stat_sn) + 1;
		s->cmd_sn = be32_get(rsp.exp_cmd_sn);
		s->max_cmd_sn = be32_get(rsp.max_cmd_sn);
		tsih = be16_get(rsp.tsih);
		request_len = 0;
		/* While the target's text continues, we may only send empty requests without T. */
		transit = !(rsp.flags & BENCH_LOGIN_CONTINUE);
		if (!transit)
			continue;
		if (apply_text(&s->params, text, text_len))
			return login_failed(s, "the answer has a bad key or value", 0);
		text_len = 0;
		if (rsp.flags & BENCH_LOGIN_TRANSIT && (rsp.flags & 3) == BENCH_STAGE_FULL_FEATURE)
			return 0;
	}
	return login_failed(s, "no end after many rounds", 0);
}

int
load_session_login(struct load_session *s, uint64_t deadline_ns)
{
	const struct load_options *o = s->engine->opt;
	load_params_init(&s->params);
	s->fd = socket(o->portal.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s->fd < 0)
		return login_failed(s, "socket", -errno);
	const int one = 1;
	setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	if (connect(s->fd, (const struct sockaddr *)&o->portal, o->portal_len) &&
	    errno != EINPROGRESS)
		return login_failed(s, "connect", -errno);
	int r = wait_socket(s->fd, POLLOUT, deadline_ns);
	int error = 0;
	socklen_t error_len = sizeof error;
	if (r == 0 && getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &error, &error_len) == 0)
		r = -error;
	if (r)
		return login_failed(s, "connect", r);
	s->cmd_sn = 1;
	r = negotiate(s, deadline_ns);
	if (r)
		return r;
	if (s->params.header_digest != o->header_digest || s->params.data_digest != o->data_digest)
		return login_failed(s, "the target did not agree to the digests", 0);
	return 0;
}

/*
 * One command that reads up to `cap` bytes, to its end. The SCSI status, or -errno. A target may
 * ping meanwhile; that is left unanswered, since the deadline is near.
 */
static int
command(struct load_session *s, const uint8_t *cdb, uint8_t *buf, uint32_t cap, uint32_t *ret_len,
    uint64_t deadline_ns)
{
	struct bench_scsi_cmd cmd = {
	    .opcode = BENCH_OP_SCSI_CMD,
	    .flags = (uint8_t)(BENCH_FINAL | (cap ? BENCH_CMD_READ : 0) | BENCH_ATTR_SIMPLE),
	};
	load_pdu_lun(cmd.lun, s->engine->opt->lun);
	be32_put(&cmd.expected_len, cap);
	be32_put(&cmd.cmd_sn, s->cmd_sn++);
	be32_put(&cmd.exp_stat_sn, s->exp_stat_sn);
	memcpy(cmd.cdb, cdb, sizeof cmd.cdb);
	load_tx_add(&s->tx, &s->params, &cmd, NULL, 0, 0);
	int r = flush_all(s, deadline_ns);
	uint32_t got = 0;
	while (r == 0) {
		struct bench_bhs bhs;
		uint32_t len;
		r = recv_pdu(s, &s->params, &bhs, &len, deadline_ns);
		if (r)
			break;
		uint8_t op = bhs.opcode & BENCH_OPCODE_MASK;
		if (op == BENCH_OP_NOP_IN)
			continue;
		if (op != BENCH_OP_SCSI_RSP && op != BENCH_OP_DATA_IN)
			return -EPROTO;
		struct bench_data_in in;
		memcpy(&in, &bhs, sizeof in);
		s->max_cmd_sn = be32_get(in.max_cmd_sn);
		if (op == BENCH_OP_DATA_IN) {
			if (len > cap - got)
				return -EPROTO;
			memcpy(buf + got, s->rx.buf, len);
			got += len;
			if (!(in.flags & BENCH_DATA_IN_STATUS))
				continue;
		} else if (in.reserved != 0) {
			return -EPROTO; /* Byte 2 of a response: not completed at the target. */
		}
		s->exp_stat_sn = be32_get(in.stat_sn) + 1;
		*ret_len = got;
		return in.status;
	}
	return r;
}

int
load_session_prepare(struct load_session *s, uint64_t deadline_ns)
{
	struct load_engine *e = s->engine;
	static const uint8_t test_unit_ready[16];
	static const uint8_t read_capacity[16] = {0x9e, 0x10, [13] = 32};
	uint8_t data[32];
	uint32_t len;
	int r = -1;
	/* Each unit attention costs one try; a unit that becomes ready, some. */
	for (uint32_t i = 0; i < READY_RETRIES_MAX; i++) {
		r = command(s, test_unit_ready, NULL, 0, &len, deadline_ns);
		if (r <= 0 || load_now_ns() > deadline_ns)
			break;
		if (i >= 8)
			usleep(10000);
	}
	if (r)
		goto failed;
	r = command(s, read_capacity, data, sizeof data, &len, deadline_ns);
	if (r || len < 12)
		goto failed;
	uint64_t last_lba = load_be64(data);
	uint32_t block_bytes = load_be32(data + 8);
	if (block_bytes < 512 || block_bytes > 65536 || block_bytes & (block_bytes - 1) ||
	    last_lba > UINT64_MAX / 65536 - 1)
		goto failed;
	e->capacity_blocks = last_lba + 1;
	e->logical_block_bytes = block_bytes;
	return 0;
failed:
	if (r < 0)
		load_error(e, &e->errors.protocol, "session %u: waiting for the unit: %s", s->idx,
		    strerror(-r));
	else
		load_error(e, &e->errors.status,
		    "session %u: the unit is not ready or has no capacity (status %02x)", s->idx,
		    (unsigned)r);
	return -EIO;
}

/* Politely, but not longer than a second; the connection ends anyway. */
void
load_session_logout(struct load_session *s)
{
	if (s->fd < 0)
		return;
	uint64_t deadline_ns = load_now_ns() + 1000000000;
	struct bench_logout_req req = {
	    .opcode = BENCH_OP_LOGOUT_REQ | BENCH_IMMEDIATE,
	    .flags = BENCH_FINAL,
	};
	be32_put(&req.cmd_sn, s->cmd_sn);
	be32_put(&req.exp_stat_sn, s->exp_stat_sn);
	if (load_tx_empty(&s->tx) && load_tx_has_room(&s->tx) && s->rx.start == s->rx.end) {
		load_tx_add(&s->tx, &s->params, &req, NULL, 0, 0);
		struct bench_bhs bhs;
		uint32_t len;
		int r = flush_all(s, deadline_ns);
		while (r == 0) {
			r = recv_pdu(s, &s->params, &bhs, &len, deadline_ns);
			if (r == 0 && (bhs.opcode & BENCH_OPCODE_MASK) == BENCH_OP_LOGOUT_RSP)
				break;
		}
	}
	close(s->fd);
	s->fd = -1;
}
