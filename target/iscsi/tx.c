/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sending. Answers are queued as tasks (`ready`) and become PDUs (`out`) shortly before they are
 * sent; StatSN, ExpCmdSN and MaxCmdSN are given then, in the order of sending. Data is sent
 * straight from the frames of the scatter list. Answers leave early: with few busy connections
 * every 16 answers or 512 KiB, with many once per connection and turn.
 */
#include "iscsi/conn.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"

#define PREFETCH_MAX_BYTES 8192u

static const uint8_t zero_pad[4];

struct iscsi_out *
iscsi_out_get(struct iscsi_conn *c)
{
	struct iscsi_out *o = pool_get(&c->il->outs);
	if (o == NULL)
		return NULL;
	memset(o->hdr, 0, ISCSI_BHS_BYTES);
	list_init(&o->link);
	o->hdr_len = ISCSI_BHS_BYTES;
	o->tail_len = 0;
	o->last = false;
	o->data_off = o->data_len = 0;
	o->sg = NULL;
	o->flat = NULL;
	o->flat_free = NULL;
	o->task = NULL;
	return o;
}

struct iscsi_out *
iscsi_out_get_data(struct iscsi_conn *c, const void *data, size_t len)
{
	struct iscsi_out *o = iscsi_out_get(c);
	if (o == NULL || len == 0)
		return o;
	void *copy = malloc(len);
	if (copy == NULL) {
		pool_put(&c->il->outs, o);
		return NULL;
	}
	memcpy(copy, data, len);
	o->flat = o->flat_free = copy;
	o->data_len = (uint32_t)len;
	return o;
}

static uint32_t
sg_crc(uint32_t crc, const struct blk_sg *sg, uint64_t at, uint64_t len)
{
	for (uint32_t i = 0; i < sg->iovcnt && len > 0; i++) {
		size_t seg = sg->iov[i].iov_len;
		if (at >= seg) {
			at -= seg;
			continue;
		}
		size_t part = seg - at < len ? seg - at : len;
		crc = crc32c_update(crc, (const char *)sg->iov[i].iov_base + at, part);
		len -= part;
		at = 0;
	}
	return crc;
}

/* Length fields, padding, digests, sequence numbers; to the end of the queue. */
static void
append(struct iscsi_conn *c, struct iscsi_out *o, bool stat_sn, bool advance)
{
	struct iscsi_bhs *bhs = (struct iscsi_bhs *)(void *)o->hdr;

	be24_put(&bhs->data_len, o->data_len);
	if (stat_sn)
		store_be32(o->hdr + 24, c->stat_sn);
	if (advance)
		c->stat_sn++;
	store_be32(o->hdr + 28, c->exp_cmd_sn);
	store_be32(o->hdr + 32, iscsi_conn_max_cmd_sn(c));
	if (c->params.header_digest) {
		uint32_t crc = crc32c(o->hdr, ISCSI_BHS_BYTES);
		memcpy(o->hdr + ISCSI_BHS_BYTES, &crc, sizeof crc);
		o->hdr_len = ISCSI_BHS_BYTES + ISCSI_DIGEST_BYTES;
	}
	if (o->data_len > 0) {
		uint8_t pad = (uint8_t)((4 - (o->data_len & 3)) & 3);
		memset(o->tail, 0, pad);
		o->tail_len = pad;
		if (c->params.data_digest) {
			uint32_t crc = CRC32C_INIT;
			if (o->sg != NULL)
				crc = sg_crc(crc, o->sg, o->data_off, o->data_len);
			else
				crc = crc32c_update(crc, o->flat, o->data_len);
			crc = crc32c_final(crc32c_update(crc, zero_pad, pad));
			memcpy(o->tail + pad, &crc, sizeof crc);
			o->tail_len = (uint8_t)(pad + ISCSI_DIGEST_BYTES);
		}
	}
	list_push_back(&c->out, &o->link);
	c->out_count++;
}

/* Residual of the whole command, RFC 7143 §11.4.5. Returns the O/U flag bits. */
static uint8_t
residual(const struct iscsi_task *t, uint32_t *ret)
{
	const struct scsi_task *s = &t->scsi;
	uint64_t moved = s->xfer_bytes;

	if (s->status != SCSI_GOOD && s->status != SCSI_CONDITION_MET)
		moved = t->is_read ? s->data_in_len : t->landed;
	*ret = 0;
	if (moved > t->edtl) {
		uint64_t over = moved - t->edtl;
		*ret = over > UINT32_MAX ? UINT32_MAX : (uint32_t)over;
		return ISCSI_RSP_OVERFLOW;
	}
	if (moved < t->edtl) {
		*ret = t->edtl - (uint32_t)moved;
		return ISCSI_RSP_UNDERFLOW;
	}
	return 0;
}

static void
build_data_in(struct iscsi_conn *c, struct iscsi_task *t, struct iscsi_out *o)
{
	struct iscsi_data_in *p = (struct iscsi_data_in *)(void *)o->hdr;
	uint32_t left = t->scsi.data_in_len - t->built;
	uint32_t len = left < c->params.max_xmit_bytes ? left : c->params.max_xmit_bytes;
	uint32_t to_burst_end = c->params.max_burst_bytes - t->built % c->params.max_burst_bytes;
	if (len > to_burst_end)
		len = to_burst_end;
	if (len > ISCSI_DATA_IN_MAX)
		len = ISCSI_DATA_IN_MAX;
	bool end = len == left;
	bool collapse = end && t->scsi.status == SCSI_GOOD;

	p->opcode = ISCSI_OP_DATA_IN;
	p->flags = end || len == to_burst_end ? ISCSI_FLAG_FINAL : 0;
	be32_put(&p->itt, t->itt);
	be32_put(&p->ttt, ISCSI_TAG_NONE);
	be32_put(&p->data_sn, t->data_sn++);
	be32_put(&p->buffer_offset, t->built);
	if (collapse) {
		uint32_t res;
		t->stat_sn = c->stat_sn;
		t->answered = true;
		p->flags |= ISCSI_DATA_IN_STATUS | residual(t, &res);
		p->status = t->scsi.status;
		be32_put(&p->residual, res);
	}
	o->sg = &t->scsi.sg;
	o->data_off = t->built;
	o->data_len = len;
	o->task = t;
	o->last = collapse;
	t->built += len;
	if (collapse)
		iscsi_task_slot_back(t);
	append(c, o, collapse, collapse);
}

static void
build_response(struct iscsi_conn *c, struct iscsi_task *t, struct iscsi_out *o)
{
	struct iscsi_scsi_rsp *p = (struct iscsi_scsi_rsp *)(void *)o->hdr;
	uint32_t res;

	t->stat_sn = c->stat_sn;
	t->answered = true;
	p->opcode = ISCSI_OP_SCSI_RSP;
	p->flags = ISCSI_FLAG_FINAL | residual(t, &res);
	p->status = t->scsi.status;
	be32_put(&p->itt, t->itt);
	be32_put(&p->exp_data_sn, t->is_read ? t->data_sn : t->r2t_sn);
	be32_put(&p->residual, res);
	if (t->scsi.sense_len > 0) {
		store_be16(t->sense_len_buf, t->scsi.sense_len);
		memcpy(t->sense_len_buf + 2, t->scsi.sense, t->scsi.sense_len);
		o->flat = t->sense_len_buf;
		o->data_len = 2u + t->scsi.sense_len;
	}
	o->task = t;
	o->last = true;
	iscsi_task_slot_back(t);
	append(c, o, true, true);
}

/* Turns ready tasks into PDUs until `max` wait. */
static void
build(struct iscsi_conn *c, uint32_t max)
{
	while (c->out_count < max && !list_empty(&c->ready)) {
		struct iscsi_task *t = container_of(c->ready.next, struct iscsi_task, link);
		struct iscsi_out *o = iscsi_out_get(c);
		if (o == NULL)
			return; /* stays dirty: tried again when others of this loop have sent */
		if (t->built < t->scsi.data_in_len)
			build_data_in(c, t, o);
		else
			build_response(c, t, o);
		if (o->last)
			list_remove(&t->link);
	}
}

void
iscsi_out_queue(struct iscsi_conn *c, struct iscsi_out *o, bool advance_stat_sn)
{
	/* What was answered before goes first (RFC 7143 §4.2.3.3, response fence). */
	build(c, UINT32_MAX);
	append(c, o, true, advance_stat_sn);
	c->queued_bytes += o->data_len;
	iscsi_tx_mark(c);
}

void
iscsi_tx_mark(struct iscsi_conn *c)
{
	if (c->dirty || c->tx_blocked)
		return;
	c->dirty = true;
	list_push_back(&c->il->dirty, &c->dirty_link);
	c->il->dirty_count++;
}

/*
 * Short data is fetched into the cache while other answers are collected: the digest and the copy to
 * the socket, a few answers later, don't wait for memory then. Long data is fetched by its reader.
 */
static void
prefetch_data(const struct iscsi_task *t)
{
	const struct blk_sg *sg = &t->scsi.sg;
	if (t->scsi.data_in_len == 0 || t->scsi.data_in_len > PREFETCH_MAX_BYTES)
		return;
	for (uint32_t i = 0; i < sg->iovcnt; i++)
		for (size_t at = 0; at < sg->iov[i].iov_len; at += 64)
			__builtin_prefetch((const char *)sg->iov[i].iov_base + at);
}

void
iscsi_tx_task(struct iscsi_conn *c, struct iscsi_task *t)
{
	prefetch_data(t);
	list_remove(&t->link);
	list_push_back(&c->ready, &t->link);
	c->queued_bytes += t->scsi.data_in_len;
	c->out_responses++;
	iscsi_tx_mark(c);
	uint32_t busy =
	    c->il->busy_last_turn > c->il->dirty_count ? c->il->busy_last_turn : c->il->dirty_count;
	if (busy <= ISCSI_TX_FEW_CONNS && !c->tx_blocked &&
	    (c->out_responses >= ISCSI_TX_RESPONSES || c->queued_bytes >= ISCSI_TX_BYTES))
		iscsi_tx_flush(c);
}

static void
out_free(struct iscsi_conn *c, struct iscsi_out *o)
{
	list_remove(&o->link);
	c->out_count--;
	if (o->sg != NULL || o->task == NULL) {
		ASSERT(c->queued_bytes >= o->data_len);
		c->queued_bytes -= o->data_len;
	}
	free(o->flat_free);
	if (o->last)
		iscsi_task_free(o->task);
	pool_put(&c->il->outs, o);
}

static unsigned
gather(struct iscsi_conn *c, struct iovec *iov, size_t *ret_bytes)
{
	unsigned n = 0;
	size_t bytes = 0, skip = c->out_sent;

	LIST_FOREACH (l, &c->out) {
		struct iscsi_out *o = container_of(l, struct iscsi_out, link);
		if (n + 4 > ISCSI_TX_IOV || bytes >= ISCSI_TX_BYTES)
			break;
		iov[n].iov_base = o->hdr;
		iov[n++].iov_len = o->hdr_len;
		uint64_t at = o->data_off;
		uint32_t left = o->data_len;
		if (o->sg != NULL) {
			for (uint32_t i = 0; i < o->sg->iovcnt && left > 0 && n + 2 < ISCSI_TX_IOV;
			     i++) {
				size_t seg = o->sg->iov[i].iov_len;
				if (at >= seg) {
					at -= seg;
					continue;
				}
				size_t part = seg - at < left ? seg - at : left;
				iov[n].iov_base = (char *)o->sg->iov[i].iov_base + at;
				iov[n++].iov_len = part;
				left -= (uint32_t)part;
				at = 0;
			}
		} else if (left > 0) {
			iov[n].iov_base = (void *)(uintptr_t)o->flat;
			iov[n++].iov_len = left;
			left = 0;
		}
		bytes += o->hdr_len + o->data_len - left;
		if (left > 0)
			break; /* the rest of a scattered PDU with the next call */
		if (o->tail_len > 0) {
			iov[n].iov_base = o->tail;
			iov[n++].iov_len = o->tail_len;
			bytes += o->tail_len;
		}
	}
	/* The first PDU may be partly sent. */
	unsigned first = 0;
	bytes -= skip;
	while (skip > 0 && first < n) {
		if (skip < iov[first].iov_len) {
			iov[first].iov_base = (char *)iov[first].iov_base + skip;
			iov[first].iov_len -= skip;
			break;
		}
		skip -= iov[first++].iov_len;
	}
	if (first > 0)
		memmove(iov, iov + first, (n - first) * sizeof *iov);
	*ret_bytes = bytes;
	return n - first;
}

static void
sent(struct iscsi_conn *c, size_t bytes)
{
	bytes += c->out_sent;
	while (!list_empty(&c->out)) {
		struct iscsi_out *o = container_of(c->out.next, struct iscsi_out, link);
		size_t total = (size_t)o->hdr_len + o->data_len + o->tail_len;
		if (bytes < total)
			break;
		bytes -= total;
		out_free(c, o);
	}
	c->out_sent = (uint32_t)bytes;
}

void
iscsi_tx_flush(struct iscsi_conn *c)
{
	struct iovec iov[ISCSI_TX_IOV];
	bool was_full = iscsi_tx_full(c);

	c->out_responses = 0;
	while (iscsi_conn_alive(c)) {
		build(c, ISCSI_OUT_QUEUE_MAX);
		if (list_empty(&c->out))
			break;
		size_t bytes;
		unsigned n = gather(c, iov, &bytes);
		ssize_t done = sock_send(c->sock, iov, n);
		if (done == -EAGAIN) {
			c->tx_blocked = true;
			break;
		}
		if (done < 0) {
			iscsi_conn_end(c, "connection lost", false);
			return;
		}
		c->last_tx_ns = loop_now_ns(c->il->loop);
		sent(c, (size_t)done);
	}
	if (!iscsi_conn_alive(c))
		return;
	if (was_full && !iscsi_tx_full(c))
		iscsi_rx_resume(c);
	if (c->tx_blocked && !loop_timer_armed(&c->timer))
		iscsi_conn_timer(c);
}

bool
iscsi_tx_empty(const struct iscsi_conn *c)
{
	return list_empty(&c->out) && list_empty(&c->ready);
}

void
iscsi_tx_fini(struct iscsi_conn *c)
{
	while (!list_empty(&c->out))
		out_free(c, container_of(c->out.next, struct iscsi_out, link));
	/* A task whose first PDUs are out but not its last is still in `ready`. */
	while (!list_empty(&c->ready)) {
		struct iscsi_task *t = container_of(c->ready.next, struct iscsi_task, link);
		list_remove(&t->link);
		iscsi_task_free(t);
	}
	if (c->dirty) {
		list_remove(&c->dirty_link);
		c->il->dirty_count--;
		c->dirty = false;
	}
	c->queued_bytes = 0;
	c->out_sent = 0;
}
