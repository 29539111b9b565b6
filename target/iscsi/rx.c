/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Receiving. Bytes come into the loop's one receive buffer and are consumed before the callback
 * returns; a connection keeps only an unfinished header. The data segment of a PDU goes where it
 * will stay: what is in the receive buffer is copied there, the rest is received there directly,
 * with the receive buffer as second element for the headers that follow (one system call). A command
 * whose data is all in the receive buffer may take it from there.
 *
 *   RX_HEADER   collecting 48 bytes + AHS + header digest
 *   RX_DATA     data segment, padding, data digest
 *   RX_STALLED  the PDU waits for buffers: bytes behind it are stashed, the socket isn't read
 */
#include "iscsi/conn.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"

static uint32_t
pad_bytes(uint32_t len)
{
	return (4 - (len & 3)) & 3;
}

/* Adds where [at, at + len) of the scatter list lies. Returns the number of iovecs, 0: too many. */
static unsigned
sg_slice(const struct blk_sg *sg, uint64_t at, uint64_t len, struct iovec *iov, unsigned cap)
{
	unsigned n = 0;
	for (uint32_t i = 0; i < sg->iovcnt && len > 0; i++) {
		size_t seg = sg->iov[i].iov_len;
		if (at >= seg) {
			at -= seg;
			continue;
		}
		if (n == cap)
			return 0;
		size_t part = seg - at < len ? seg - at : len;
		iov[n].iov_base = (char *)sg->iov[i].iov_base + at;
		iov[n].iov_len = part;
		n++;
		len -= part;
		at = 0;
	}
	ASSERT(len == 0);
	return n;
}

/* The segment's bytes at data_have that land somewhere (not discarded). */
static uint32_t
landing_left(const struct iscsi_rx *rx)
{
	if (rx->dest == RX_DISCARD || rx->data_have >= rx->take)
		return 0;
	return rx->take - rx->data_have;
}

/* Takes `len` bytes of the data segment that are in memory at `p`. */
static void
take_data(struct iscsi_conn *c, const uint8_t *p, uint32_t len)
{
	struct iscsi_rx *rx = &c->rx;
	uint32_t land = landing_left(rx);

	if (land > len)
		land = len;
	if (land > 0) {
		if (rx->dest == RX_TASK)
			blk_sg_copy_in(&rx->task->scsi.sg, rx->dest_off + rx->data_have, p, land);
		else
			memcpy(rx->ctl + rx->data_have, p, land);
	}
	if (c->params.data_digest)
		rx->crc = crc32c_update(rx->crc, p, len);
	rx->data_have += len;
}

/* Is `crc`, of the whole segment, what the padding and digest in rx->tail say? */
static bool
data_digest_ok(const struct iscsi_conn *c, uint32_t crc)
{
	const struct iscsi_rx *rx = &c->rx;
	if (!c->params.data_digest)
		return true;
	uint32_t pad = rx->tail_need - ISCSI_DIGEST_BYTES;
	crc = crc32c_final(crc32c_update(crc, rx->tail, pad));
	uint32_t got;
	memcpy(&got, rx->tail + pad, sizeof got); /* little-endian on the wire, RFC 7143 §13.1 */
	return crc == got;
}

const void *
iscsi_rx_segment(struct iscsi_conn *c)
{
	struct iscsi_rx *rx = &c->rx;
	if (rx->data_len == 0 || rx->ahead_len < rx->data_len + rx->tail_need)
		return NULL;
	memcpy(rx->tail, rx->ahead + rx->data_len, rx->tail_need);
	rx->ahead_crc = CRC32C_INIT;
	if (c->params.data_digest)
		rx->ahead_crc = crc32c_update(CRC32C_INIT, rx->ahead, rx->data_len);
	/* A wrong one is dealt with when the PDU is complete. */
	return data_digest_ok(c, rx->ahead_crc) ? rx->ahead : NULL;
}

void
iscsi_rx_segment_taken(struct iscsi_conn *c)
{
	struct iscsi_rx *rx = &c->rx;
	rx->data_have = rx->data_len;
	rx->tail_have = rx->tail_need;
	rx->crc = rx->ahead_crc;
	rx->ahead_used = rx->data_len + rx->tail_need;
}

static void
rx_next(struct iscsi_conn *c)
{
	struct iscsi_rx *rx = &c->rx;
	rx->state = RX_HEADER;
	rx->hdr_have = 0;
	rx->hdr_need = ISCSI_BHS_BYTES;
	rx->dest = RX_DISCARD;
	rx->task = NULL;
	free(rx->ctl);
	rx->ctl = NULL;
}

/* The PDU is complete. */
static void
pdu_done(struct iscsi_conn *c)
{
	if (c->rx.data_len > 0 && !data_digest_ok(c, c->rx.crc)) {
		/* ErrorRecoveryLevel 0: Reject, then the connection ends (RFC 7143 §7.8). */
		c->il->digest_errors++;
		iscsi_reject(c, c->rx.hdr, ISCSI_REJECT_DATA_DIGEST);
		iscsi_tx_flush(c);
		iscsi_conn_end(c, "data digest error", false);
		return;
	}
	iscsi_ffp_data(c);
	if (iscsi_conn_alive(c))
		rx_next(c);
}

/* The header behind this PDU, if it is there: the processor doesn't see it coming. */
static void
prefetch_next(const struct iscsi_rx *rx)
{
	size_t at = rx->data_len + rx->tail_need;
	if (rx->ahead_len < at + ISCSI_BHS_BYTES)
		return;
	__builtin_prefetch(rx->ahead + at);
	__builtin_prefetch(rx->ahead + at + ISCSI_BHS_BYTES - 1);
}

/* The header is complete in rx->hdr: checks its digest and decides where the data goes. */
static bool
header_done(struct iscsi_conn *c)
{
	struct iscsi_rx *rx = &c->rx;
	const struct iscsi_bhs *bhs = (const struct iscsi_bhs *)(const void *)rx->hdr;

	if (c->params.header_digest) {
		uint32_t len = rx->hdr_need - ISCSI_DIGEST_BYTES;
		uint32_t got;
		memcpy(&got, rx->hdr + len, sizeof got);
		if (crc32c(rx->hdr, len) != got) {
			c->il->digest_errors++;
			iscsi_conn_end(c, "header digest error", false);
			return false;
		}
	}
	rx->data_len = be24_get(bhs->data_len);
	if (rx->data_len > c->params.max_recv_bytes) {
		iscsi_conn_end(c, "data segment longer than MaxRecvDataSegmentLength", false);
		return false;
	}
	rx->data_have = 0;
	rx->take = 0;
	rx->tail_have = 0;
	rx->tail_need = 0;
	if (rx->data_len > 0)
		rx->tail_need =
		    pad_bytes(rx->data_len) + (c->params.data_digest ? ISCSI_DIGEST_BYTES : 0);
	rx->crc = CRC32C_INIT;
	rx->state = RX_DATA;
	prefetch_next(rx);
	switch (iscsi_ffp_header(c, bhs)) {
	case RX_GO:
		return iscsi_conn_alive(c);
	case RX_WAIT:
		rx->state = RX_STALLED;
		return true;
	case RX_DEAD:
		break;
	}
	return false;
}

/* Collects the header; returns bytes used. *ret_ok false: the connection is over. */
static size_t
take_header(struct iscsi_conn *c, const uint8_t *p, size_t len, bool *ret_ok)
{
	struct iscsi_rx *rx = &c->rx;
	size_t used = 0;

	*ret_ok = true;
	for (;;) {
		size_t part = rx->hdr_need - rx->hdr_have;
		if (part > len - used)
			part = len - used;
		memcpy(rx->hdr + rx->hdr_have, p + used, part);
		rx->hdr_have += (uint32_t)part;
		used += part;
		if (rx->hdr_have < rx->hdr_need)
			return used;
		if (rx->hdr_need == ISCSI_BHS_BYTES) {
			const struct iscsi_bhs *bhs =
			    (const struct iscsi_bhs *)(const void *)rx->hdr;
			uint32_t ahs = bhs->total_ahs_len * 4u;
			if (ahs > c->limits->ahs_max_bytes || ahs > 64) {
				iscsi_conn_end(c, "additional header segments too long", false);
				*ret_ok = false;
				return used;
			}
			rx->hdr_need += ahs + (c->params.header_digest ? ISCSI_DIGEST_BYTES : 0);
			if (rx->hdr_need > ISCSI_BHS_BYTES)
				continue;
		}
		rx->ahead = p + used;
		rx->ahead_len = len - used;
		rx->ahead_used = 0;
		*ret_ok = header_done(c);
		rx->ahead_len = 0;
		return used + rx->ahead_used;
	}
}

/*
 * Consumes bytes that are in memory; stops early only when stalled or ended. Returns bytes used. What
 * comes behind a Logout Request is dropped: the nexus is going away (RFC 7143 §11.14).
 */
static size_t
consume(struct iscsi_conn *c, const uint8_t *p, size_t len)
{
	struct iscsi_rx *rx = &c->rx;
	size_t used = 0;
	bool ok;

	while (iscsi_conn_alive(c) && rx->state != RX_STALLED) {
		if (c->state == CONN_LOGOUT)
			return len;
		if (rx->state == RX_HEADER) {
			if (used == len)
				break;
			used += take_header(c, p + used, len - used, &ok);
			if (!ok)
				break;
			continue;
		}
		if (rx->data_have < rx->data_len) {
			if (used == len)
				break;
			uint32_t part = rx->data_len - rx->data_have;
			if (part > len - used)
				part = (uint32_t)(len - used);
			take_data(c, p + used, part);
			used += part;
			continue;
		}
		if (rx->tail_have < rx->tail_need) {
			if (used == len)
				break;
			uint32_t part = rx->tail_need - rx->tail_have;
			if (part > len - used)
				part = (uint32_t)(len - used);
			memcpy(rx->tail + rx->tail_have, p + used, part);
			rx->tail_have += part;
			used += part;
			continue;
		}
		pdu_done(c);
	}
	return used;
}

/* Keeps what was received behind a PDU that has to wait. */
static bool
stash(struct iscsi_conn *c, const uint8_t *p, size_t len)
{
	if (len == 0)
		return true;
	ASSERT(c->rx.stash == NULL);
	c->rx.stash = malloc(len);
	if (c->rx.stash == NULL) {
		iscsi_conn_end(c, "out of memory", false);
		return false;
	}
	memcpy(c->rx.stash, p, len);
	c->rx.stash_len = len;
	return true;
}

/* Works off the stash; false: stalled again or ended. */
static bool
consume_stash(struct iscsi_conn *c)
{
	struct iscsi_rx *rx = &c->rx;
	if (rx->stash == NULL)
		return true;
	uint8_t *buf = rx->stash;
	size_t len = rx->stash_len;
	rx->stash = NULL;
	rx->stash_len = 0;
	size_t used = consume(c, buf, len);
	bool ok = iscsi_conn_alive(c);
	if (ok && used < len) {
		ASSERT(rx->state == RX_STALLED);
		(void)stash(c, buf + used, len - used);
		ok = false;
	}
	free(buf);
	return ok && rx->state != RX_STALLED;
}

/* One receive: into the landing place first, then into the loop's buffer. */
static ssize_t
receive(struct iscsi_conn *c, struct iovec *landing, unsigned landing_cnt, size_t landing_bytes,
    size_t *ret_room)
{
	struct iovec iov[ISCSI_RX_LAND_MAX_IOV + 1];
	unsigned n = 0;
	for (; n < landing_cnt; n++)
		iov[n] = landing[n];
	size_t tail = ISCSI_RX_TURN_BYTES;
	if (landing_bytes > 0)
		tail = landing_bytes < ISCSI_RX_TURN_BYTES ? ISCSI_RX_TURN_BYTES - landing_bytes
		                                           : 4096;
	iov[n].iov_base = c->il->rx_buf;
	iov[n].iov_len = tail;
	*ret_room = landing_bytes + tail;
	return sock_recv(c->sock, iov, n + 1);
}

/* After a receive with landing: accounts for the bytes that landed. */
static void
landed(struct iscsi_conn *c, const struct iovec *landing, unsigned cnt, size_t bytes)
{
	struct iscsi_rx *rx = &c->rx;
	if (c->params.data_digest) {
		size_t left = bytes;
		for (unsigned i = 0; i < cnt && left > 0; i++) {
			size_t part = landing[i].iov_len < left ? landing[i].iov_len : left;
			rx->crc = crc32c_update(rx->crc, landing[i].iov_base, part);
			left -= part;
		}
	}
	rx->data_have += (uint32_t)bytes;
}

static bool
want_to_read(const struct iscsi_conn *c)
{
	return iscsi_conn_alive(c) && c->state != CONN_LOGOUT && c->rx.state != RX_STALLED &&
	       !iscsi_tx_full(c);
}

void
iscsi_rx_event(struct iscsi_conn *c)
{
	if (!want_to_read(c) || !consume_stash(c) || !want_to_read(c))
		return;
	struct iovec landing[ISCSI_RX_LAND_MAX_IOV];
	unsigned cnt = 0;
	size_t land_bytes = 0, room;
	if (c->rx.state == RX_DATA && c->rx.dest == RX_TASK) {
		land_bytes = landing_left(&c->rx);
		if (land_bytes > 0)
			cnt = sg_slice(&c->rx.task->scsi.sg, c->rx.dest_off + c->rx.data_have,
			    land_bytes, landing, ISCSI_RX_LAND_MAX_IOV);
		if (cnt == 0)
			land_bytes = 0; /* too scattered: by way of the receive buffer */
	}
	ssize_t n = receive(c, landing, cnt, land_bytes, &room);
	if (n == -EAGAIN)
		return;
	if (n <= 0) {
		iscsi_conn_end(c, n == 0 ? "closed by the initiator" : "connection lost", false);
		return;
	}
	c->last_rx_ns = loop_now_ns(c->il->loop);
	size_t got = (size_t)n;
	size_t direct = got < land_bytes ? got : land_bytes;
	if (direct > 0)
		landed(c, landing, cnt, direct);
	size_t rest = got - direct;
	size_t used = consume(c, c->il->rx_buf, rest);
	if (!iscsi_conn_alive(c))
		return;
	if (used < rest && !stash(c, c->il->rx_buf + used, rest - used))
		return;
	/* A full receive leaves more in the socket: others first. A short one has emptied it, and
	 * what comes later raises a new event. */
	bool more = got == room || !sock_short_is_empty(c->sock);
	if (more && want_to_read(c) && !loop_defer_queued(&c->rx_again))
		loop_next_turn(c->il->loop, &c->rx_again);
}

void
iscsi_rx_resume(struct iscsi_conn *c)
{
	if (!iscsi_conn_alive(c))
		return;
	if (c->rx.state == RX_STALLED) {
		c->rx.state = RX_DATA;
		switch (iscsi_ffp_header_again(c)) {
		case RX_GO:
			break;
		case RX_WAIT:
			c->rx.state = RX_STALLED;
			return;
		case RX_DEAD:
			return;
		}
		(void)consume(c, NULL, 0);
	}
	if (want_to_read(c) && !loop_defer_queued(&c->rx_again))
		loop_next_turn(c->il->loop, &c->rx_again);
}

void
iscsi_rx_forget(struct iscsi_conn *c, struct iscsi_task *t)
{
	if (c->rx.task != t)
		return;
	c->rx.task = NULL;
	c->rx.dest = RX_DISCARD;
}

void
iscsi_rx_fini(struct iscsi_conn *c)
{
	free(c->rx.ctl);
	free(c->rx.stash);
	c->rx.ctl = c->rx.stash = NULL;
	c->rx.stash_len = 0;
	c->rx.task = NULL;
	c->rx.dest = RX_DISCARD;
	loop_defer_cancel(&c->rx_again);
}
