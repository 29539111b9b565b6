/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a session receives. PDUs are parsed in the receive buffer; the data of reads under load is
 * thrown away, in the kernel (MSG_TRUNC) where it is large. The target's bytes are not trusted: what
 * breaks RFC 7143 is counted, with a reason, and ends the session.
 */
#include "bench/iscsi_load.h"

#include "base/assert.h"
#include "base/crc32c.h"

#include <errno.h>
#include <string.h>

/* From this much on, discarding in the kernel is cheaper than copying out. */
#define RX_TRUNC_BYTES_MIN 12288u
/* In load mode one data digest of so many is checked: it needs the data, which load doesn't. */
#define RX_DIGEST_SAMPLE 64u

enum rx_step { RX_MORE, RX_WAIT, RX_FAILED };

static enum rx_step
broken(struct load_session *s, const char *what)
{
	struct load_engine *e = s->engine;
	load_error(e, &e->errors.protocol, "session %u: %s", s->idx, what);
	return RX_FAILED;
}

/* The task of a tag, or NULL if it names none that is in flight. */
static struct load_task *
task_of(struct load_session *s, be32 itt)
{
	uint32_t tag = be32_get(itt);
	uint32_t idx = tag & 0xffff;
	if (idx >= s->engine->opt->depth)
		return NULL;
	struct load_task *t = &s->tasks[idx];
	return t->busy && t->generation == tag >> 16 ? t : NULL;
}

/* MaxCmdSN never moves back (RFC 7143 §4.2.2.1). */
static void
take_window(struct load_session *s, uint32_t max_cmd_sn)
{
	if ((int32_t)(max_cmd_sn - s->max_cmd_sn) > 0)
		s->max_cmd_sn = max_cmd_sn;
}

static enum rx_step
complete(
    struct load_session *s, struct load_task *t, uint8_t status, bool residual, uint32_t stat_sn)
{
	struct load_engine *e = s->engine;
	if (stat_sn != s->exp_stat_sn)
		return broken(s, "StatSN is not the next one");
	s->exp_stat_sn++;
	bool good = status == 0 && !residual && (t->is_write || t->received == t->len);
	if (!good)
		load_error(e, &e->errors.status,
		    "session %u: %s of %u blocks at %llu: status %02x, %u of %u bytes", s->idx,
		    t->is_write ? "write" : "read", t->block_count, (unsigned long long)t->lba,
		    status, t->is_write ? t->len : t->received, t->len);
	if (e->measuring && good) {
		if (t->start_ns >= e->measure_start_ns)
			histogram_record(&e->latency, e->now_ns - t->start_ns);
		e->bytes += t->len;
		if (t->is_write)
			e->writes++;
		else
			e->reads++;
	}
	if (e->verify)
		load_verify_done(s, t, good);
	load_task_put(s, t);
	return RX_MORE;
}

/* Order and bounds of a Data-In, before its data is taken. */
static enum rx_step
check_data_in(struct load_session *s, const struct bench_data_in *in, uint32_t len)
{
	struct load_task *t = task_of(s, in->itt);
	if (!t || t->is_write)
		return broken(s, "Data-In for no read in flight");
	if (be32_get(in->data_sn) != t->data_sn || be32_get(in->offset) != t->received)
		return broken(s, "Data-In out of order");
	if (len > t->len - t->received)
		return broken(s, "Data-In past the end of the transfer");
	return RX_MORE;
}

static enum rx_step
take_data_in(struct load_session *s, const struct bench_bhs *bhs, const uint8_t *data, uint32_t len)
{
	struct bench_data_in in;
	memcpy(&in, bhs, sizeof in);
	struct load_task *t = task_of(s, in.itt);
	ASSERT(t && len <= t->len - t->received);
	if (data && s->engine->verify)
		memcpy(t->data + t->received, data, len);
	t->received += len;
	t->data_sn++;
	take_window(s, be32_get(in.max_cmd_sn));
	if (!(in.flags & BENCH_DATA_IN_STATUS))
		return RX_MORE;
	bool residual = in.flags & (BENCH_RESIDUAL_UNDER | BENCH_RESIDUAL_OVER);
	return complete(s, t, in.status, residual, be32_get(in.stat_sn));
}

static enum rx_step
take_response(struct load_session *s, const struct bench_bhs *bhs)
{
	struct bench_scsi_rsp rsp;
	memcpy(&rsp, bhs, sizeof rsp);
	struct load_task *t = task_of(s, rsp.itt);
	if (!t)
		return broken(s, "a response for no command in flight");
	if (rsp.response)
		return broken(s, "a command was not completed at the target");
	take_window(s, be32_get(rsp.max_cmd_sn));
	bool residual = rsp.flags & (BENCH_RESIDUAL_UNDER | BENCH_RESIDUAL_OVER);
	return complete(s, t, rsp.status, residual, be32_get(rsp.stat_sn));
}

static enum rx_step
take_r2t(struct load_session *s, const struct bench_bhs *bhs)
{
	struct bench_r2t r2t;
	memcpy(&r2t, bhs, sizeof r2t);
	struct load_task *t = task_of(s, r2t.itt);
	if (!t || !t->is_write)
		return broken(s, "R2T for no write in flight");
	uint32_t offset = be32_get(r2t.offset);
	uint32_t len = be32_get(r2t.desired_len);
	if (len == 0 || len > s->params.max_burst_bytes || offset > t->len || len > t->len - offset)
		return broken(s, "R2T outside the transfer");
	if (t->burst_link.next != &t->burst_link)
		return broken(s, "R2T before the last burst was sent");
	take_window(s, be32_get(r2t.max_cmd_sn));
	t->burst_offset = offset;
	t->burst_end = offset + len;
	t->burst_ttt = be32_get(r2t.ttt);
	t->burst_data_sn = 0;
	list_push_back(&s->bursts, &t->burst_link);
	return RX_MORE;
}

static enum rx_step
take_nop_in(struct load_session *s, const struct bench_bhs *bhs)
{
	struct bench_nop in;
	memcpy(&in, bhs, sizeof in);
	take_window(s, be32_get(in.max_cmd_sn));
	if (be32_get(in.ttt) == BENCH_TAG_NONE)
		return RX_MORE; /* No answer is wanted. */
	if (s->nop_pending)
		return broken(s, "a second ping before the first was answered");
	s->nop_out = (struct bench_nop){
	    .opcode = BENCH_OP_NOP_OUT | BENCH_IMMEDIATE,
	    .flags = BENCH_FINAL,
	    .ttt = in.ttt,
	};
	memcpy(s->nop_out.lun, in.lun, sizeof s->nop_out.lun);
	be32_put(&s->nop_out.itt, BENCH_TAG_NONE);
	s->nop_pending = true;
	return RX_MORE;
}

static enum rx_step
take_pdu(struct load_session *s, const struct bench_bhs *bhs, const uint8_t *data, uint32_t len)
{
	switch (bhs->opcode & BENCH_OPCODE_MASK) {
	case BENCH_OP_DATA_IN:
		return take_data_in(s, bhs, data, len);
	case BENCH_OP_SCSI_RSP:
		return take_response(s, bhs);
	case BENCH_OP_R2T:
		return take_r2t(s, bhs);
	case BENCH_OP_NOP_IN:
		return take_nop_in(s, bhs);
	case BENCH_OP_REJECT: {
		char what[64] = "Reject, reason 00";
		static const char hex[] = "0123456789abcdef";
		what[15] = hex[bhs->specific1[0] >> 4];
		what[16] = hex[bhs->specific1[0] & 15];
		return broken(s, what);
	}
	case BENCH_OP_ASYNC:
		return broken(s, "the target asked to end the session");
	default:
		return broken(s, "a PDU of an unexpected kind");
	}
}

static bool
digest_ok(const uint8_t *covered, uint32_t len)
{
	le32 wire;
	memcpy(&wire, covered + len, sizeof wire);
	return le32_get(wire) == crc32c(covered, len);
}

/* The next PDU of the buffer, or what is there of it. */
static enum rx_step
parse_one(struct load_session *s)
{
	struct load_engine *e = s->engine;
	struct load_rx *rx = &s->rx;
	uint32_t header_bytes =
	    BENCH_BHS_BYTES + (s->params.header_digest ? BENCH_DIGEST_BYTES : 0);
	uint32_t have = rx->end - rx->start;
	if (have < header_bytes)
		return RX_WAIT;
	const uint8_t *at = rx->buf + rx->start;
	if (s->params.header_digest && !digest_ok(at, BENCH_BHS_BYTES)) {
		e->errors.data++;
		return broken(s, "bad header digest");
	}
	struct bench_bhs bhs;
	memcpy(&bhs, at, sizeof bhs);
	uint32_t len = be24_get(bhs.data_len);
	if (bhs.ahs_words || len > LOAD_SEGMENT_BYTES)
		return broken(s, "a header with an AHS or an oversized segment");
	uint32_t padded = (len + 3) & ~3u;
	bool digest = s->params.data_digest && len > 0;
	uint32_t segment = padded + (digest ? BENCH_DIGEST_BYTES : 0);
	bool data_in = (bhs.opcode & BENCH_OPCODE_MASK) == BENCH_OP_DATA_IN;
	bool check_digest =
	    digest && (e->verify || !data_in || rx->digest_turn % RX_DIGEST_SAMPLE == 0);
	if (data_in) {
		struct bench_data_in in;
		memcpy(&in, &bhs, sizeof in);
		if (check_data_in(s, &in, len) == RX_FAILED)
			return RX_FAILED;
		if (!e->verify && !check_digest) {
			rx->digest_turn++;
			rx->pdu = bhs;
			rx->pdu_open = true;
			rx->skip_bytes = segment;
			rx->start += header_bytes;
			return RX_MORE;
		}
	}
	if (have < header_bytes + segment)
		return RX_WAIT;
	const uint8_t *data = at + header_bytes;
	if (check_digest && !digest_ok(data, padded)) {
		e->errors.data++;
		return broken(s, "bad data digest");
	}
	rx->digest_turn++;
	rx->start += header_bytes + segment;
	return take_pdu(s, &bhs, data, len);
}

static bool
parse(struct load_session *s)
{
	struct load_rx *rx = &s->rx;
	for (;;) {
		if (rx->pdu_open) {
			uint32_t have = rx->end - rx->start;
			uint32_t n = have < rx->skip_bytes ? have : rx->skip_bytes;
			rx->start += n;
			rx->skip_bytes -= n;
			if (rx->skip_bytes)
				break;
			rx->pdu_open = false;
			if (take_pdu(s, &rx->pdu, NULL, be24_get(rx->pdu.data_len)) == RX_FAILED)
				return false;
		}
		enum rx_step step = parse_one(s);
		if (step == RX_FAILED)
			return false;
		if (step == RX_WAIT)
			break;
	}
	if (rx->start == rx->end) {
		rx->start = rx->end = 0;
	} else if (rx->start > LOAD_RX_SLIDE_BYTES) {
		memmove(rx->buf, rx->buf + rx->start, rx->end - rx->start);
		rx->end -= rx->start;
		rx->start = 0;
	}
	return true;
}

/*
 * One receive. Data to be discarded is dropped in the kernel; when large Data-In is expected, only
 * its header is taken, so that the data after it can be dropped as well.
 */
static ssize_t
receive(struct load_session *s)
{
	struct load_rx *rx = &s->rx;
	const struct load_options *o = s->engine->opt;
	if (rx->skip_bytes >= RX_TRUNC_BYTES_MIN) {
		ASSERT(rx->start == rx->end);
		ssize_t n = recv(s->fd, NULL, rx->skip_bytes, MSG_DONTWAIT | MSG_TRUNC);
		if (n > 0)
			rx->skip_bytes -= (uint32_t)n;
		return n;
	}
	size_t room = LOAD_RX_BYTES - rx->end;
	if (!s->engine->verify && o->read_percent > 0 && o->block_bytes >= RX_TRUNC_BYTES_MIN &&
	    rx->start == rx->end) {
		room = rx->skip_bytes + BENCH_BHS_BYTES;
		if (s->params.header_digest)
			room += BENCH_DIGEST_BYTES;
	}
	ssize_t n = recv(s->fd, rx->buf + rx->end, room, MSG_DONTWAIT);
	if (n > 0)
		rx->end += (uint32_t)n;
	return n;
}

bool
load_rx_pump(struct load_session *s)
{
	struct load_engine *e = s->engine;
	/* A bound, so that one busy session can't starve the others. */
	for (uint32_t i = 0; i < 64; i++) {
		ssize_t n = receive(s);
		if (n == 0) {
			load_error(e, &e->errors.protocol,
			    "session %u: the target closed the connection", s->idx);
			return false;
		}
		if (n < 0) {
			if (errno == EAGAIN || errno == EINTR)
				return true;
			load_error(e, &e->errors.protocol, "session %u: receive: %s", s->idx,
			    strerror(errno));
			return false;
		}
		e->now_ns = load_now_ns();
		if (!parse(s))
			return false;
		/* Small PDUs: answer what has come before looking for more. */
		if (!s->rx.skip_bytes && e->opt->block_bytes < RX_TRUNC_BYTES_MIN)
			return true;
	}
	return true;
}
